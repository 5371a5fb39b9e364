import type { VerifyReport } from '../../verify/report';
import type { ErrorDocument } from '../documents';
import type { DifferentialByDiffx, Inspection } from '../inspection';
import type { RewriteReport } from '../rewrite';
import type { Picture } from './pictures';

/** Everything that a page shows. What a command has not found out is undefined, and its section left out. */
export interface ReportContent {
  readonly command: 'rewrite' | 'inspect' | 'verify';
  /** File name of the model that the page is about. */
  readonly title: string;
  readonly made: Made;
  readonly files: readonly ReportFile[];
  /** Of the model before the rewrite, or of the one that was inspected. */
  readonly inspection: Inspection | undefined;
  readonly rewrite: RewriteReport | undefined;
  /** What the rewritten model says of itself. */
  readonly differential: DifferentialByDiffx | undefined;
  readonly verification: VerifyReport | undefined;
  readonly pictures: readonly Picture[];
  /** What the command spent its time on. */
  readonly phases: readonly Phase[];
  readonly warnings: readonly string[];
  /** Why nothing was written, or why it was not verified. */
  readonly error: ErrorDocument | undefined;
}

/** When, by what and where a report was made. */
export interface Made {
  /** ISO 8601. */
  readonly at: string;
  readonly diffx: string;
  /** Undefined where no model was run. */
  readonly onnxRuntime: string | undefined;
  readonly node: string;
  readonly platform: string;
  readonly cores: number;
}

export interface ReportFile {
  readonly role: 'original' | 'rewritten' | 'model' | 'side file';
  readonly path: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

export interface Phase {
  readonly what: string;
  readonly milliseconds: number;
}
