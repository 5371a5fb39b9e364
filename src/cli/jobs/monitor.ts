import { performance } from 'node:perf_hooks';
import { monitorModel, writeMonitorLogs } from '../../api/monitor';
import { logFiles } from '../../monitor/logs';
import { checkTargets } from '../../onnx';
import { monitorText, monitorWarnings } from '../../report/monitor';
import { serve } from '../serve';

serve<'monitor'>(async ({ model, logDir, force, ...settings }, ui) => {
  const started = performance.now();
  checkTargets(logFiles(logDir), force, '--log-dir');
  ui.phase(`reading ${model}`);
  const onStep = (step: number, of: number) => ui.phase(`step ${step} of ${of}`);
  const report = await monitorModel(model, { ...settings, onStep });
  for (const warning of monitorWarnings(report)) ui.warn(warning);
  ui.usesFolder(logDir);
  const files = writeMonitorLogs(report, logDir, force);
  const milliseconds = Math.round(performance.now() - started);
  return {
    document: { ...report, files, milliseconds },
    text: monitorText({ ...report, files, milliseconds }, ui),
  };
});
