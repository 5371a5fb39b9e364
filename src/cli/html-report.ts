import { accessSync, constants } from 'node:fs';
import * as path from 'node:path';
import { performance } from 'node:perf_hooks';
import type { ReportParts } from '../api/html-report';
import { writing } from '../onnx/file-errors';
import type { ErrorDocument } from '../report/documents';
import type { Phase } from '../report/html/content';
import type { PlainError } from './job';
import type { Ui } from './serve';

/** The report of `--report`: says before the work whether its folder can be written to, and writes it when all is known. */
export class HtmlReport {
  readonly #phases: { what: string; started: number }[] = [];
  /** Whether its folder may not be there yet: where nothing comes of the job, it is made for the report alone. */
  readonly #makeFolder: boolean;

  /**
   * @param folderToCome a folder that the job itself will make
   * @param target as `checkTargets` has found it
   * @throws DiffxError unwritable
   */
  constructor(
    readonly target: string,
    private readonly force: boolean,
    folderToCome?: string,
  ) {
    const folder = path.dirname(target);
    this.#makeFolder = folderToCome !== undefined && path.resolve(folder) === path.resolve(folderToCome);
    if (!this.#makeFolder) writing(target, () => accessSync(folder, constants.W_OK));
  }

  /** Begins something that takes time, and ends what went before. */
  phase(what: string): void {
    this.#phases.push({ what, started: performance.now() });
  }

  /** Writes the page. What it is made with is loaded here: nobody else needs it. */
  async write(parts: Omit<ReportParts, 'phases'>, ui: Ui): Promise<void> {
    const phases = this.#ended();
    ui.phase(`writing ${this.target}`);
    ui.usesFolder(path.dirname(this.target));
    const { writeHtmlReport } = await import('../api/html-report.js');
    const makeFolder = this.#makeFolder;
    await writeHtmlReport({ ...parts, phases }, this.target, { force: this.force, makeFolder });
  }

  #ended(): Phase[] {
    const ends = [...this.#phases.slice(1).map(({ started }) => started), performance.now()];
    return this.#phases.map(({ what, started }, index) => ({
      what,
      milliseconds: Math.round((ends[index] ?? started) - started),
    }));
  }
}

/** The report of a job, if it was asked for. */
export function htmlReportOf(
  { report, force }: { report?: string; force: boolean },
  folderToCome?: string,
): HtmlReport | undefined {
  return report === undefined ? undefined : new HtmlReport(report, force, folderToCome);
}

/** An error as a report shows it. */
export function shownError({ code, message, remedy, exitCode }: PlainError): ErrorDocument {
  return { code, message, remedy, exitCode };
}
