import type { RewriteSettings } from '../rewrite/options';
import type { Requirement } from '../verify/requirement';

/**
 * The work of a command, done in a thread of its own: the main thread stays free for progress and signals, and starts
 * fast because it does not load the compiler. Everything here crosses between threads, so it is plain data.
 */
export interface Jobs {
  rewrite: RewriteJob;
  inspect: InspectJob;
  verify: VerifyJob;
  doctor: DoctorJob;
  weights: WeightsJob;
  monitor: MonitorJob;
}
export type JobName = keyof Jobs;

export interface RewriteJob extends RewriteSettings {
  readonly input: string;
  /** A path, or `-` for standard output. */
  readonly output: string;
  readonly weights?: string;
  readonly strictWeights?: boolean;
  /** Where to save the attention parameters as a checkpoint. */
  readonly saveWeights?: string;
  readonly stripPrefix?: string;
  readonly verify: boolean;
  /** A file of inputs for that, instead of generated ones. */
  readonly inputs?: string;
  /** Providers to verify on, and what must run there. */
  readonly ep?: readonly string[];
  readonly requireEp?: Requirement;
  readonly force: boolean;
  /** Whether to make the folder of the output. */
  readonly makeFolder?: boolean;
  /** The updated configuration, which appears with the model. */
  readonly config?: { readonly path: string; readonly text: string };
  /** Where to write the report as HTML. */
  readonly report?: string;
  /** Compare the model before and after. */
  readonly debug?: boolean;
  /** Warnings that are known before the work begins. */
  readonly warnings?: readonly string[];
  /** Passes after which the model is printed. */
  readonly dumpAfter: readonly string[];
  /** Folder for what is printed. Default: standard error. */
  readonly dumpFolder?: string;
}

export interface InspectJob {
  readonly input: string;
  readonly explain: boolean;
  /** Where to write the report as HTML. */
  readonly report?: string;
  readonly force: boolean;
}

export interface VerifyJob {
  readonly original: string;
  readonly rewritten: string;
  readonly inputs?: string;
  readonly against?: string;
  /** Where to write the checks as JUnit XML. */
  readonly junit?: string;
  /** Where to write the report as HTML. */
  readonly report?: string;
  readonly force: boolean;
  readonly atol?: number;
  readonly rtol?: number;
  readonly ep?: readonly string[];
  readonly requireEp?: Requirement;
  readonly seed?: number;
}

export interface DoctorJob {
  /** Providers to try; none: all. */
  readonly ep: readonly string[];
}

export interface WeightsJob {
  readonly original: string;
  readonly rewritten: string;
  readonly output: string;
  readonly stripPrefix?: string;
}

export interface MonitorJob {
  readonly model: string;
  /** Files or patterns. */
  readonly inputs: readonly string[];
  readonly logEvery?: number;
  readonly numMonitorLayers?: number;
  readonly warmupSteps?: number;
  /** Folder for the logs. */
  readonly logDir: string;
  readonly force: boolean;
}

/** How text shall look. */
export interface Look {
  /** Columns of the terminal; undefined where it goes to a file or a program. */
  readonly width: number | undefined;
  readonly colour: boolean;
}

/** What the thread of a job is given. */
export interface WorkerData<Name extends JobName = JobName> {
  readonly settings: Jobs[Name];
  readonly look: Look;
  /** What must not be interrupted goes through it. */
  readonly gate: SharedArrayBuffer;
}

/** An error on its way between threads. */
export interface PlainError {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  readonly exitCode: number;
  readonly stack: string | undefined;
}

/** What a job came to. */
export interface JobResult {
  /** For `--json`. */
  readonly document: object;
  /** For a person. */
  readonly text: readonly string[];
  /** Set where standard output holds a model. */
  readonly outputTaken?: boolean;
  /** A result that is a failure, such as a verification that did not pass. */
  readonly error?: PlainError;
}

/** What a job says to the main thread. */
export type Message =
  | { readonly kind: 'phase'; readonly text: string }
  | { readonly kind: 'warning'; readonly text: string }
  /** Text for standard error as it is. */
  | { readonly kind: 'dump'; readonly text: string }
  /** A folder in which files of this process may lie that must not outlive it. */
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'result'; readonly result: JobResult }
  | { readonly kind: 'failure'; readonly error: PlainError };
