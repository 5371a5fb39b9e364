/** diffx as a library: everything the command line does, without process.exit and without output. */
export { inspectModel, inspectModel as inspect } from './api/inspect';
export { monitorModel, monitorModel as monitor, writeMonitorLogs } from './api/monitor';
export {
  type RewriteFileSettings,
  type RewriteOutput,
  rewriteModel,
  rewriteModel as rewrite,
  rewrittenBytes,
  writeRewritten,
} from './api/rewrite';
export { verifyModels, verifyModels as verify } from './api/verify';
export { version } from './api/version';
export { type SaveWeightsSettings, saveWeights } from './api/weights';
export { DiffxError, ExitCode } from './errors';
export type { LoggedStep, MonitorReport, MonitorSettings } from './monitor/run';
export { warmUpMix } from './monitor/schedule';
export type * from './report/inspection';
export type { SavedWeights, WeightsReport } from './report/weights';
export type { Check, Finding, VerifyReport } from './verify/report';
export type { VerifySettings } from './verify/verify';
