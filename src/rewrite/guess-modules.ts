import { tensorShape } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { isProjected } from '../attention/site';
import { errors } from '../errors';
import { isFloatType } from '../onnx/floats';
import { modulesBelow } from '../weights/match-names';
import type { Safetensors } from '../weights/safetensors';
import type { RewriteSession } from './session';

/** An attention of the model, and the module of a checkpoint that it was taken for. */
export interface GuessedModule {
  /** Of the attention, as the model has it. */
  readonly path: string;
  /** Of the checkpoint. */
  readonly module: string;
}

/** The shapes that an attention takes, by what stands behind the module path in the names of its tensors. */
type Acceptable = ReadonlyMap<string, readonly (readonly number[])[]>;

/** An attention that a checkpoint has nothing for under its own path. */
interface Lost {
  readonly site: LocatedSite;
  readonly accepts: Acceptable;
}

/**
 * Optimizers erase the names of an attention's weights and leave those around it: `model.layers.0.attention`, or
 * `model.layers.0`, stands for the `model.layers.0.self_attn` of a checkpoint. Of the modules below the same parent that
 * hold parameters of an attention, the one is taken all of whose tensors have shapes that fit.
 * @param sites the attentions, each set of weights once
 * @param keyOf the key that a checkpoint has for a name, if it has one
 * @throws guessedTwice where several modules fit one attention, or several attentions one module
 */
export function guessModules(
  sites: readonly LocatedSite[],
  session: RewriteSession,
  keyOf: (name: string) => string | undefined,
  checkpoint: Safetensors,
): GuessedModule[] {
  const taken = new Set<string>();
  const lost: Lost[] = [];
  for (const site of sites) {
    const accepts = acceptable(site, session);
    const keys = [...accepts.keys()].map((suffix) => [suffix, keyOf(`${site.path}.${suffix}`)] as const);
    const own = keys.flatMap(([suffix, key]) => (key === undefined ? [] : [withoutSuffix(key, suffix)]));
    if (own.length === 0) lost.push({ site, accepts });
    for (const module of own) taken.add(module);
  }
  const suffixes = new Set(lost.flatMap(({ accepts }) => [...accepts.keys()]));
  const free = attentionModules(checkpoint, suffixes).filter((module) => !taken.has(module));
  return [...groupsOf(lost, free)].flatMap(([parent, group]) => assigned(parent, group, free, checkpoint));
}

/** The shapes that a checkpoint may have for the parameters of an attention; quantized ones are not loaded. */
function acceptable(site: LocatedSite, { parameters }: RewriteSession): Acceptable {
  const shapes = new Map<string, number[][]>();
  for (const [suffix, { initializer }] of parameters.of(site))
    if (initializer && isFloatType(initializer.dataType)) shapes.set(suffix, [tensorShape(initializer)]);
  const sides = [['q', site.query] as const, ...(isProjected(site.key) ? [['k', site.key] as const] : [])];
  for (const [letter, { projection, columns }] of sides) {
    if (projection.quantized) continue;
    const heights = [columns.length, 2 * columns.length];
    shapes.set(
      `${letter}_proj.weight`,
      heights.map((height) => [height, ...projection.rowShape]),
    );
    if (projection.bias)
      shapes.set(
        `${letter}_proj.bias`,
        heights.map((height) => [height]),
      );
  }
  return shapes;
}

/** The modules that hold a parameter of an attention. */
function attentionModules({ names }: Safetensors, suffixes: ReadonlySet<string>): string[] {
  const modules = new Set<string>();
  for (const name of names) {
    const suffix = [...suffixes].find((each) => name.endsWith(`.${each}`));
    if (suffix !== undefined) modules.add(withoutSuffix(name, suffix));
  }
  return [...modules];
}

function withoutSuffix(key: string, suffix: string): string {
  return key.slice(0, -suffix.length - 1);
}

/** The attentions by the module under which theirs are looked for. */
function groupsOf(lost: readonly Lost[], modules: readonly string[]): Map<string, Lost[]> {
  const groups = new Map<string, Lost[]>();
  for (const each of lost) {
    const parent = parentOf(each.site, modules);
    if (parent !== undefined) groups.set(parent, [...(groups.get(parent) ?? []), each]);
  }
  return groups;
}

/** What diffx calls an attention that has no name, with a number where there are several. */
const PLACEHOLDER = /^attention\d*$/;

/**
 * A path that the model has may be that of a module around the attention. Behind that, `attention` is a word for want of a
 * better one; any other name that the model has is not taken for another one of the checkpoint.
 */
function parentOf({ path, named }: LocatedSite, modules: readonly string[]): string | undefined {
  if (named && modulesBelow(path, modules).length > 0) return path;
  const [last = '', ...above] = path.split('.').reverse();
  return PLACEHOLDER.test(last) && above.length > 0 ? above.reverse().join('.') : undefined;
}

/** Each attention of a group with the one module that fits it. */
function assigned(
  parent: string,
  group: readonly Lost[],
  free: readonly string[],
  checkpoint: Safetensors,
): GuessedModule[] {
  const modules = modulesBelow(parent, free);
  const guessed: GuessedModule[] = [];
  let open = group.map(({ site, accepts }) => ({
    path: site.path,
    fitting: modules.filter((module) => fits(checkpoint, module, accepts)),
  }));
  for (;;) {
    open = open.filter(({ fitting }) => fitting.length > 0);
    const sure = open.filter(({ fitting }) => fitting.length === 1);
    const [first] = sure.length > 0 ? sure : open;
    if (!first) return guessed;
    const [module = ''] = first.fitting;
    const rivals = sure.filter(({ fitting }) => fitting[0] === module).map(({ path }) => path);
    if (first.fitting.length > 1) throw errors.guessedTwice(checkpoint.path, [first.path], first.fitting);
    if (rivals.length > 1) throw errors.guessedTwice(checkpoint.path, rivals, [module]);
    guessed.push({ path: first.path, module });
    open = open
      .filter((each) => each !== first)
      .map(({ path, fitting }) => ({ path, fitting: fitting.filter((each) => each !== module) }));
  }
}

/** True if all that a module has of an attention is of a shape that this one takes. */
function fits(checkpoint: Safetensors, module: string, accepts: Acceptable): boolean {
  return [...accepts].every(([suffix, shapes]) => {
    const given = checkpoint.get(`${module}.${suffix}`)?.shape;
    return given === undefined || shapes.some((shape) => significant(shape) === significant(given));
  });
}

/** A number may be stored as [] or as [1], a vector as a row. */
function significant(shape: readonly number[]): string {
  return shape.filter((size) => size !== 1).join();
}
