/** Originals and their rewrites as files, for verification. */
import * as path from 'node:path';
import { type RewriteFileSettings, rewriteModel, writeRewritten } from '../../../src/api/rewrite';
import type { RewrittenLayer } from '../../../src/attention/record';
import type { Check, CheckName, VerifyReport } from '../../../src/verify/report';
import { openExport, temporaryFolder } from '../../support/fixtures';

export interface WrittenPair {
  readonly original: string;
  readonly rewritten: string;
  /** In the order of the data. */
  readonly layers: readonly RewrittenLayer[];
}

const pairs = new Map<string, WrittenPair>();

/** The rewrite of an export; made once for the same settings. */
export function pairOf(name: string, settings: RewriteFileSettings = {}): WrittenPair {
  return pairOfModel(openExport(name).model, settings);
}

/** The rewrite of a model; made once for the same settings. */
export function pairOfModel(original: string, settings: RewriteFileSettings = {}): WrittenPair {
  const key = `${original} ${JSON.stringify(settings)}`;
  let pair = pairs.get(key);
  if (!pair) {
    const output = rewriteModel(original, settings);
    const rewritten = path.join(temporaryFolder(), `rewritten-${pairs.size}.onnx`);
    writeRewritten(output, rewritten, false);
    pair = { original, rewritten, layers: output.layers };
    pairs.set(key, pair);
  }
  return pair;
}

export function checkOf(report: VerifyReport, name: CheckName): Check {
  const check = report.checks.find((each) => each.name === name);
  if (!check) throw new Error(`no check ${name} among ${report.checks.map((each) => each.name).join(', ')}`);
  return check;
}

/** Names of the checks that failed. */
export function failedChecks({ checks }: VerifyReport): CheckName[] {
  return checks.flatMap(({ name, passed }) => (passed ? [] : [name]));
}

/** The same of those that concern a provider beside the CPU; all of them where nothing ran there. */
export function failedOn({ checks }: VerifyReport, ep: string): CheckName[] {
  const there = checks.filter(({ provider }) => provider === ep);
  return (there.length > 0 ? there : checks).flatMap(({ name, passed }) => (passed ? [] : [name]));
}

/** Everything that was found, one line each, for messages of tests. */
export function findingsOf({ checks }: VerifyReport): string[] {
  return checks.flatMap(({ name, passed, findings }) =>
    findings.length > 0 || passed
      ? findings.map(({ message }) => `${name}: ${message}`)
      : [`${name}: compared nothing`],
  );
}
