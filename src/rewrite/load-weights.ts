import { elementCount, tensorShape } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { presetOf } from '../attention/presets';
import { isProjected, type Side } from '../attention/site';
import { errors } from '../errors';
import type { Model, Value } from '../ir';
import { biasPositions, columnPositions, rowPositions } from '../match/projection';
import { type ByteRange, computedBytes, type DataType, dataTypeName, memoryBytes } from '../onnx';
import { decodeFloats, encodeFloats, isFloatType } from '../onnx/floats';
import { KeyIndex } from '../weights/match-names';
import type { Safetensors, StoredTensor } from '../weights/safetensors';
import { inHalves } from './checkpoint-rows';
import { placeRows, transposedRows } from './columns';
import { type ErasedLayers, findErased } from './erased-weights';
import { type GuessedModule, guessModules } from './guess-modules';
import { namedWeights } from './parameter-names';
import type { RewriteSession } from './session';
import { sameStored } from './stored-tensors';
import { makeTensor } from './tensors';
import { withTied } from './tied-weights';

/** What became of the tensors of a checkpoint. */
export interface LoadReport {
  /** Parameter of the model, and the key it was filled from. */
  readonly loaded: readonly { readonly parameter: string; readonly key: string }[];
  /** New parameters that the checkpoint lacks: they keep their initial values. */
  readonly initialised: readonly string[];
  /** Keys that belong nowhere. */
  readonly unused: readonly string[];
  /** Attentions whose own name the model has lost, and the modules of the checkpoint that they were taken for. */
  readonly guessed: readonly GuessedModule[];
}

/** Part of a checkpoint tensor: `rows` of its first axis from `from` on. */
interface Rows {
  readonly key: string;
  readonly tensor: StoredTensor;
  readonly from: number;
  readonly rows: number;
}

/**
 * Fills a rewritten model from a checkpoint: the names of SPEC section 2, and the layout of the reference
 * implementation, whose `q_proj.weight` [2 * h * d, in] holds the positive projection before the negative one, or their
 * heads in turn.
 * @param erased linear layers without a name
 * @throws nothingFits where no attention is filled: by nothing at all, or although there are parameters of attentions
 */
export function loadWeights(
  session: RewriteSession,
  checkpoint: Safetensors,
  path: string,
  erased: ErasedLayers,
): LoadReport {
  const loader = new Loader(session.model, checkpoint, path);
  const { storesLambdaInit } = presetOf(session.options);
  const sites = [...oneOfEachPath(session.sites)];
  loader.guess(sites, session);
  for (const site of sites) {
    for (const [suffix, value] of session.parameters.of(site)) {
      const expected = suffix !== 'lambda_init' || storesLambdaInit;
      if (!/^[qk]2_proj\./.test(suffix)) loader.fill(value, site.path, suffix, expected);
    }
    loader.fillSide(site, 'q', site.query, session);
    if (isProjected(site.key)) loader.fillSide(site, 'k', site.key, session);
  }
  loader.fillShared(session);
  const filled = loader.report().loaded.length > 0;
  loader.fillOthers(session);
  for (const site of sites) loader.fillErased(site, erased);
  const report = loader.report();
  if (!filled && (report.loaded.length === 0 || report.unused.some((key) => NEW_PARAMETER.test(key))))
    throw errors.nothingFits(
      path,
      sites.map((site) => site.path),
      checkpoint.names,
    );
  return report;
}

/** Keys that only a checkpoint of differential attentions has. */
const NEW_PARAMETER = /\.(lambda_[qk][12]|lambda_proj\.weight|[qk]2_proj(\.\d+)?\.weight)$/;

/** One attention for each set of weights; where keys are fed in one branch, that which projects them. */
export function oneOfEachPath(sites: readonly LocatedSite[]): Iterable<LocatedSite> {
  const found = new Map<string, LocatedSite>();
  for (const site of sites) if (isProjected(site.key) || !found.has(site.path)) found.set(site.path, site);
  return found.values();
}

/** True if second projections begin as copies of the first: of what the checkpoint has, where it has it. */
function copies({ options }: RewriteSession): boolean {
  return options.init === 'mirror' || options.init === 'preserve';
}

class Loader {
  readonly #index: KeyIndex;
  readonly #loaded: { parameter: string; key: string }[] = [];
  readonly #initialised: string[] = [];
  readonly #used = new Set<string>();
  readonly #filled = new Set<Value>();
  /** What the checkpoint calls the attentions that it has something for. */
  readonly #modules = new Map<string, string>();
  #guessed: readonly GuessedModule[] = [];

  constructor(
    readonly model: Model,
    readonly checkpoint: Safetensors,
    readonly path: string,
  ) {
    this.#index = new KeyIndex(checkpoint.names);
  }

  report(): LoadReport {
    const used = [...this.#used];
    // Tied weights that were saved twice are used once.
    const unused = [...this.checkpoint.names].filter(
      (name) => !this.#used.has(name) && !used.some((each) => sameStored(this.checkpoint, each, name)),
    );
    return { loaded: [...this.#loaded], initialised: this.#initialised, unused, guessed: this.#guessed };
  }

  /** Looks for attentions that the checkpoint has nothing for under their own paths. */
  guess(sites: readonly LocatedSite[], session: RewriteSession): void {
    const keyOf = (name: string) => [this.#index.find(name) ?? []].flat()[0];
    this.#guessed = guessModules(sites, session, keyOf, this.checkpoint);
  }

  /** What the checkpoint has for a tensor of an attention. */
  #findOf(path: string, suffix: string): Rows | undefined {
    const guessed = this.#guessed.find((each) => each.path === path);
    const found = this.#find(`${guessed?.module ?? path}.${suffix}`);
    if (found) this.#modules.set(path, found.key.slice(0, -suffix.length - 1));
    return found;
  }

  #find(name: string): Rows | undefined {
    const key = this.#index.find(name);
    if (key === undefined) return undefined;
    if (typeof key !== 'string') throw errors.ambiguousKeys(this.path, name, key);
    const tensor = this.checkpoint.get(key);
    return tensor && { key, tensor, from: 0, rows: tensor.shape[0] ?? 1 };
  }

  #note(parameter: string, key: string): void {
    this.#loaded.push({ parameter, key });
    this.#used.add(key);
  }

  /**
   * Fills one new parameter from the key of its own name.
   * @param expected false where no checkpoint of the reference has it
   */
  fill(value: Value, path: string, suffix: string, expected: boolean): void {
    const found = this.#findOf(path, suffix);
    if (found) this.#put(value, found);
    else if (expected) this.#initialised.push(value.name);
  }

  #put(value: Value, { key, tensor, from, rows }: Rows): void {
    const shape = value.initializer ? tensorShape(value.initializer) : [];
    const given = tensor.shape.length === 0 ? [] : [rows, ...tensor.shape.slice(1)];
    // A number may be stored as [] or as [1], a vector as a row.
    const [wanted, there] = [shape, given].map((sizes) => sizes.filter((size) => size !== 1).join());
    if (wanted !== there) {
      throw errors.wrongShape(this.path, key, tensor.shape, value.name, shape);
    }
    const dataType = value.initializer?.dataType ?? 0;
    const data = converted(tensor, from, rows, dataType, `${this.path}: ${key}`);
    this.model.replaceInitializer(value, { ...makeTensor(dataType, shape, data), name: value.name });
    this.#note(value.name, key);
  }

  /**
   * Fills both projections of one side: from `q2_proj` by its own name, and from `q_proj`, which holds the positive
   * rows, and behind them the negative ones where it is twice as tall.
   */
  fillSide(site: LocatedSite, letter: 'q' | 'k', side: Side, session: RewriteSession): void {
    for (const part of ['weight', 'bias'] as const) {
      const stored = side.projection.quantized?.parts.some(({ role }) => role === part);
      if (stored) {
        this.#keepQuantized(site, `${letter}2_proj.${part}`, session);
        continue;
      }
      const { path, name } = site.names.get(side) ?? { path: site.path, name: `${letter}2_proj` };
      const made = session.parameters.ofProjection(site, { path, name }).get(`${name}.${part}`);
      // What another side shares is filled once.
      const second = made && !this.#filled.has(made) ? made : undefined;
      const own = second && this.#findOf(path, `${name}.${part}`);
      const packed = this.#packed(site, `${letter}_proj.${part}`, side, session);
      const height = side.columns.length;
      const rows = packed?.tensor.shape[0];
      if (packed && rows !== height && !(made && rows === 2 * height)) {
        const wanted = [made ? 2 * height : height, ...(part === 'weight' ? side.projection.rowShape : [])];
        const parameter = `${site.path}.${letter}_proj.${part}`;
        throw errors.wrongShape(this.path, packed.key, packed.tensor.shape, parameter, wanted);
      }
      if (packed) this.#putPositive(site, side, part, { ...packed, rows: height });
      if (!second) continue;
      this.#filled.add(second);
      if (own) this.#put(second, own);
      else if (packed && rows === 2 * height) this.#put(second, { ...packed, from: height, rows: height });
      else if (packed && copies(session)) this.#put(second, { ...packed, rows: height });
      else this.#initialised.push(second.name);
    }
    // Further projections of the side have no other name than their own.
    const further = new RegExp(`^${letter}2_proj\\.\\d`);
    for (const [suffix, value] of session.parameters.of(site))
      if (further.test(suffix)) this.fill(value, site.path, suffix, true);
  }

  /** Fills second projections that are named by an attention which is not rewritten itself. */
  fillShared({ parameters, sites }: RewriteSession): void {
    const rewritten = new Set(sites.map(({ path }) => path));
    for (const path of parameters.paths.filter((each) => !rewritten.has(each)))
      for (const [suffix, value] of parameters.at(path)) this.fill(value, path, suffix, true);
  }

  /** Fills linear layers that have lost their names, of an attention that the checkpoint has. */
  fillErased(site: LocatedSite, erased: ErasedLayers): void {
    const module = this.#modules.get(site.path);
    if (module === undefined) return;
    const done = new Set(this.#loaded.map(({ parameter }) => parameter));
    const layers = (erased.get(site) ?? []).filter(({ projection }) => !done.has(projection.holder.name));
    const free = this.checkpoint.names.filter((name) => !this.#used.has(name));
    for (const found of findErased(layers, module, free, this.checkpoint)) {
      const { projection, transposed } = found;
      const whole = { projection, columns: Int32Array.from({ length: projection.outFeatures }, (_, i) => i) };
      for (const part of ['weight', 'bias'] as const) {
        const rows = found[part] === undefined ? undefined : this.#find(found[part]);
        if (rows) this.#putPositive(site, whole, part, part === 'weight' && transposed ? turned(rows) : rows);
      }
    }
  }

  /** What a checkpoint has of both components, positive ones first. */
  #packed(site: LocatedSite, suffix: string, side: Side, { options }: RewriteSession): Rows | undefined {
    const found = this.#findOf(site.path, suffix);
    const both = found?.tensor.shape[0] === 2 * side.columns.length;
    if (!found || !both) return found;
    const data = inHalves(found.tensor.data, side.heads, presetOf(options).pairing);
    return { ...found, tensor: { ...found.tensor, data } };
  }

  /** Quantized weights keep what they have; the keys for them show up as unused. */
  #keepQuantized(site: LocatedSite, prefix: string, session: RewriteSession): void {
    for (const [suffix, value] of session.parameters.of(site)) {
      if (suffix.startsWith(prefix)) this.#initialised.push(value.name);
    }
  }

  /** Fills whatever else the checkpoint has a key for: the unchanged part of the model. */
  fillOthers(session: RewriteSession): void {
    const done = new Set(this.#loaded.map(({ parameter }) => parameter));
    for (const site of session.sites)
      for (const value of session.parameters.of(site).values()) done.add(value.name);
    for (const weight of withTied(this.model, namedWeights(this.model), (name) => this.#find(name))) {
      const { value, transposed, found } = weight;
      const tensor = value.initializer;
      if (done.has(value.name) || !tensor || !isFloatType(tensor.dataType)) continue;
      const shape = tensorShape(tensor);
      const given = transposed ? [...found.tensor.shape].reverse() : found.tensor.shape;
      if (given.join() !== shape.join()) {
        throw errors.wrongShape(
          this.path,
          found.key,
          found.tensor.shape,
          value.name,
          transposed ? [...shape].reverse() : shape,
        );
      }
      const dataType = tensor.dataType ?? 0;
      const rows = converted(found.tensor, 0, found.rows, dataType, `${this.path}: ${found.key}`);
      const data = transposed ? transposedRows(rows, found.tensor.shape, dataType) : rows;
      this.model.replaceInitializer(value, { ...makeTensor(dataType, shape, data), name: value.name });
      this.#note(value.name, found.key);
    }
  }

  /** Puts rows into the model's own projection. */
  #putPositive(
    site: LocatedSite,
    side: Pick<Side, 'projection' | 'columns'>,
    part: 'weight' | 'bias',
    rows: Rows,
  ): void {
    const { projection, columns } = side;
    const source = part === 'weight' ? projection.holder : projection.bias?.holder;
    const current = source?.initializer;
    if (!source || !current) {
      throw errors.noPlace(this.path, rows.key, `${site.path} has no such ${part}`);
    }
    const width = part === 'weight' ? projection.inFeatures : 1;
    if (elementCount(rows.tensor.shape.slice(1)) !== width) {
      throw errors.wrongShape(this.path, rows.key, rows.tensor.shape, source.name, tensorShape(current));
    }
    const dataType = current.dataType ?? 0;
    const data = converted(rows.tensor, 0, rows.rows, dataType, `${this.path}: ${rows.key}`);
    const { bias } = projection;
    const merged =
      part === 'bias' && bias
        ? placeRows(this.model, current, data, biasPositions(bias, columns), Int32Array.of(0))
        : placeRows(
            this.model,
            current,
            data,
            columnPositions(projection, columns),
            rowPositions(projection),
          );
    this.model.replaceInitializer(source, {
      ...makeTensor(dataType, tensorShape(current), merged),
      name: source.name,
    });
    this.#note(source.name, rows.key);
  }
}

/** A matrix of a checkpoint with its axes exchanged. */
function turned(found: Rows): Rows {
  const { tensor } = found;
  const shape = [...tensor.shape].reverse();
  const data = transposedRows(tensor.data, tensor.shape, tensor.dtype);
  return { ...found, tensor: { ...tensor, shape, data }, rows: shape[0] ?? 1 };
}

/** Rows of a checkpoint tensor in the element type of the model. */
function converted(tensor: StoredTensor, from: number, rows: number, to: number, where: string): ByteRange {
  const { dtype, shape, data } = tensor;
  if (!isFloatType(dtype) || !isFloatType(to)) throw errors.wrongType(where, dataTypeName(dtype));
  const width = elementCount(shape.slice(1));
  const take = (bytes: Uint8Array): Uint8Array => {
    const size = shape.length === 0 ? bytes.length : bytes.length / (shape[0] ?? 1);
    const part = shape.length === 0 ? bytes : bytes.subarray(from * size, (from + rows) * size);
    return dtype === to ? part : encodeFloats(to, decodeFloats(dtype as DataType, part));
  };
  if (rows * width <= 1 << 16) return memoryBytes(take(data.read()));
  const elementSize = encodeFloats(to, new Float32Array(1)).length;
  return computedBytes(rows * width * elementSize, () => [take(data.read())]);
}
