/** Which provider ran which node: ONNX Runtime says so in its profile only. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../onnx/folders';

/** One run of one node. */
export interface NodeRun {
  readonly name: string;
  readonly opType: string;
  /** As ONNX Runtime calls it: `CPUExecutionProvider`. */
  readonly provider: string;
  readonly microseconds: number;
  /** Element types of what it gives, such as `float` and `int64`. */
  readonly outputTypes: readonly string[];
  /** The same of what it reads. */
  readonly inputTypes: readonly string[];
}

/** A folder of its own for one profile: ONNX Runtime puts the date into the file's name. */
export interface ProfileFolder {
  readonly prefix: string;
  /** Reads the profile that lies in the folder and removes both. Empty where there is none. */
  collect(): NodeRun[];
  discard(): void;
}

/**
 * Makes a folder for a profile; whoever made it collects or discards it.
 * @throws noTemporaryFolder
 */
export function makeProfileFolder(): ProfileFolder {
  const folder = temporaryFolder('profile');
  const discard = () => rmSync(folder, { recursive: true, force: true });
  return {
    prefix: join(folder, 'profile'),
    collect() {
      try {
        return readdirSync(folder).flatMap((file) => parseProfile(readFileSync(join(folder, file), 'utf8')));
      } finally {
        discard();
      }
    },
    discard,
  };
}

interface EventArguments {
  readonly provider?: string;
  readonly op_name?: string;
  readonly input_type_shape?: readonly object[];
  readonly output_type_shape?: readonly object[];
}

/** Node events of a profile in ONNX Runtime's form (Chrome's trace events). */
export function parseProfile(json: string): NodeRun[] {
  const events: unknown = JSON.parse(json);
  if (!Array.isArray(events)) return [];
  return events.flatMap((event: { cat?: string; name?: string; dur?: number; args?: EventArguments }) => {
    const {
      provider,
      op_name: opType,
      input_type_shape: inputs,
      output_type_shape: outputs,
    } = event.args ?? {};
    if (event.cat !== 'Node' || provider === undefined || opType === undefined) return [];
    const name = (event.name ?? '').replace(/_kernel_time$/, '');
    const microseconds = event.dur ?? 0;
    return [{ name, opType, provider, microseconds, inputTypes: types(inputs), outputTypes: types(outputs) }];
  });
}

/** `[{"float":[1,4]},{"int64":[2]}]` */
function types(given: readonly object[] = []): string[] {
  return given.flatMap((each) => Object.keys(each));
}
