import { writeLogs } from '../monitor/logs';
import { type MonitorReport, type MonitorSettings, runMonitor } from '../monitor/run';
import { startRuntime } from '../runtime';

/**
 * Runs a rewritten model over batches and collects its metrics, as `diffx monitor` does.
 * @throws DiffxError for models that diffx has not written, and for batches that do not run
 */
export function monitorModel(path: string, settings: MonitorSettings): Promise<MonitorReport> {
  startRuntime();
  return runMonitor(path, settings);
}

/**
 * Writes what was collected as JSON lines and as an event file of TensorBoard.
 * @returns paths of the files
 */
export function writeMonitorLogs(report: MonitorReport, folder: string, force = false): string[] {
  return writeLogs(report, folder, force);
}
