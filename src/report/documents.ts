/** The JSON documents of `--json`, command by command. `schemas/documents.schema.json` is made from this file. */
import type { Diagnosis } from '../verify/doctor';
import type { VerifyReport } from '../verify/report';
import type { DebugReport } from './debug';
import type { Inspection } from './inspection';
import type { WrittenMonitorReport } from './monitor';
import type { RewriteReport } from './rewrite';
import type { SavedWeights } from './weights';

/** Of the JSON documents. Grows when a field goes or changes its meaning, not when one is added. */
export const SCHEMA_VERSION = 1;

/** What every document holds beside what the command found. */
interface Envelope<Command extends string> {
  readonly schemaVersion: typeof SCHEMA_VERSION;
  readonly command: Command;
  readonly warnings: readonly string[];
}

/** Why a command failed. */
export interface ErrorDocument {
  /** Stable and kebab-case. */
  readonly code: string;
  readonly message: string;
  /** What to do about it. */
  readonly remedy: string;
  readonly exitCode: number;
}

/** What a command found; with an error, where what it found is a failure; or an error alone. */
type DocumentOf<Command extends string, Result> =
  | (Envelope<Command> & Result & { readonly error?: ErrorDocument })
  | (Envelope<Command> & { readonly error: ErrorDocument });

/** Of `diffx rewrite`: all of it where a model was written, the verification where it refused one. */
export interface RewriteResult extends RewriteReport {
  /** What `--verify` found; null without it. */
  readonly verification: VerifyReport | null;
  /** What `--debug` found. */
  readonly debug?: DebugReport;
}

/** Of `diffx rewrite --verify` where the result did not pass, and nothing was written. */
export interface RefusedRewrite {
  readonly input: string;
  readonly output: string;
  readonly verification: VerifyReport;
}

export type RewriteDocument = DocumentOf<'rewrite', RewriteResult> | DocumentOf<'rewrite', RefusedRewrite>;
export type InspectDocument = DocumentOf<'inspect', Inspection>;
export type VerifyDocument = DocumentOf<'verify', VerifyReport>;
export type DoctorDocument = DocumentOf<'doctor', Diagnosis>;
export type WeightsDocument = DocumentOf<'weights', SavedWeights>;
export type MonitorDocument = DocumentOf<'monitor', WrittenMonitorReport>;

/** What a command prints on standard output with `--json`. */
export type Document =
  | RewriteDocument
  | InspectDocument
  | VerifyDocument
  | DoctorDocument
  | WeightsDocument
  | MonitorDocument;
