import type { Found, LocatedSite } from '../attention/find';
import { presetOf } from '../attention/presets';
import {
  type CachedKeys,
  DOMAIN,
  DOMAIN_VERSION,
  type FunctionForm,
  MIX_INPUT,
  type RewrittenLayer,
} from '../attention/record';
import { secondProjections } from '../attention/second-projections';
import type { Branch } from '../attention/site';
import { errors } from '../errors';
import type { Model, Use, Value } from '../ir';
import { DataType, dataTypeName } from '../onnx';
import { attribute } from './attributes';
import { Builder, takeOver } from './builder';
import { doubledType } from './cache-types';
import {
  FUNCTION_NAMES,
  type FunctionFeatures,
  functionBody,
  functionInputs,
  functionProto,
} from './differential-function';
import type { HalvedMap } from './halved-maps';
import { lambdaLogits } from './lambda-projection';
import { mapReaders, refuseMapReaders, standBehind } from './map-readers';
import { DEFAULT_EPSILON, epsilonOfNorm } from './norm-epsilon';
import type { RewriteOptions } from './options';
import { ParameterBook } from './parameters';
import { floatTensor } from './tensors';

/** Where the result of a site goes. */
export interface Placement {
  /** What stands in the place of the old output. */
  readonly result: Value;
  /** What the differential attention gave, before it was laid out like the old output. */
  readonly attended: Value;
  /** Who read the old output before the rewrite of this site began. */
  readonly uses: readonly Use[];
  /** The differential attention map, for readers of the old one. */
  readonly map?: Value | undefined;
  readonly caches?: readonly CachedKeys[];
}

/** What a value with twice the key heads belongs to. */
export interface DoubledKeys {
  readonly site: LocatedSite;
  /** The axis of the heads. */
  readonly axis: number;
}

/** State of one rewrite: what the lowerings share. */
export class RewriteSession {
  readonly parameters: ParameterBook;
  readonly layers: RewrittenLayer[] = [];
  /** Maps that others see, of half as many heads as before. */
  readonly halvedMaps: HalvedMap[] = [];
  readonly #features = new Map<string, FunctionFeatures>();
  readonly #pasts = new Map<Value, { positive: Value; negative: Value }>();
  readonly #positives = new Map<Value, Value>();
  readonly #doubled = new Map<Value, DoubledKeys>();
  readonly #layerOf = new Map<LocatedSite, number>();
  readonly #second = new Map<Value, Value>();
  /** How many attentions read each value that gets a second one. */
  #readers: ReadonlyMap<Value, number> | undefined;
  #mix: Value | undefined;

  constructor(
    readonly model: Model,
    readonly found: Found,
    /** The attentions to rewrite. */
    readonly sites: readonly LocatedSite[],
    readonly options: RewriteOptions,
  ) {
    this.parameters = new ParameterBook(model, options);
  }

  /** The form in which a site is written. */
  formOf(site: LocatedSite): FunctionForm {
    if (site.core.kind === 'operator' || site.core.joined) return 'outputs';
    return this.options.heads === 'duplicate' && site.core.plain ? 'scores' : 'probabilities';
  }

  /** What the function that a site calls contains: all that the sites of its form and element types need. */
  features(site: LocatedSite): FunctionFeatures {
    const { dataType, logitsType } = this.#kindOf(site);
    const key = this.#keyOf(site);
    let features = this.#features.get(key);
    if (!features) {
      const sites = this.sites.filter((each) => this.#keyOf(each) === key);
      const plain = sites.map(({ core }) => (core.kind === 'written-out' ? core.plain : undefined));
      const { lambda, normWeight, timesOneMinusLambdaInit } = presetOf(this.options);
      features = {
        scale: plain.some((scores) => scores?.scale?.operator === 'Mul'),
        divisor: plain.some((scores) => scores?.scale?.operator === 'Div'),
        bias: plain.some((scores) => scores?.bias),
        lambda,
        norm: this.options.sublayerNorm,
        normWeight,
        timesOneMinusLambdaInit,
        mix: this.options.mixInput,
        gain: this.options.init === 'preserve',
        map: sites.some(
          ({ core }) =>
            core.kind === 'written-out' && (core.probabilities.isOutput || mapReaders(core).length > 0),
        ),
        dataType,
        logitsType,
      };
      this.#features.set(key, features);
    }
    return features;
  }

  /** Sites of one kind call one function. */
  #kindOf(site: LocatedSite) {
    const { dataType, inputType } = site;
    const { lambda } = presetOf(this.options);
    return {
      form: this.formOf(site),
      dataType,
      logitsType: lambda === 'projection' ? inputType : dataType,
    };
  }

  #keyOf(site: LocatedSite): string {
    const { form, dataType, logitsType } = this.#kindOf(site);
    return `${form}/${dataType}/${logitsType}`;
  }

  /** Name of the function that a site calls; where a form has several element types, those behind the first are named. */
  functionName(site: LocatedSite): string {
    const { form, dataType, logitsType } = this.#kindOf(site);
    const first = this.sites.find((each) => this.formOf(each) === form);
    const name = FUNCTION_NAMES[form];
    if (!first || this.#keyOf(first) === this.#keyOf(site)) return name;
    const types = dataType === logitsType ? [dataType] : [dataType, logitsType];
    return [name, ...types.map(dataTypeName)].join('_');
  }

  /**
   * The input of SPEC section 6, added when it is first asked for.
   * @throws nameTaken: whoever feeds it knows it by its name
   */
  get mix(): Value {
    if (!this.#mix) {
      const { file, names } = this.model;
      if (names.has(MIX_INPUT)) throw errors.nameTaken(file.path, '--mix-input', MIX_INPUT);
      const type = { tensorType: { elemType: DataType.FLOAT, shape: { dim: [] } } };
      this.#mix = this.model.graph.addInput(MIX_INPUT, type);
      this.model.journal.record(() => {
        this.#mix = undefined;
      });
    }
    return this.#mix;
  }

  /**
   * The halves of a past. The input gets twice the heads; whoever read it reads the positive half, so that it sees what
   * it saw before. Asked for again (a past that several bodies read), the halves are the same.
   */
  splitInput(source: Value, axis: number, heads: number): { positive: Value; negative: Value } {
    const known = this.#pasts.get(this.originalInput(source));
    if (known) return known;
    const { graph } = this.model;
    const uses = [...source.uses];
    const builder = new Builder(graph, graph.nodes[0], source.name);
    const [positive, negative] = builder.halves(source, axis, heads, 'halves_of_past');
    for (const { node, index } of uses) node.graph.setInput(node, index, positive);
    graph.setType(source, doubledType(source.type, axis));
    const halves = { positive, negative };
    this.#pasts.set(source, halves);
    this.#positives.set(positive, source);
    this.model.journal.record(() => {
      this.#pasts.delete(source);
      this.#positives.delete(positive);
    });
    return halves;
  }

  /** The graph input behind a value that may be the positive half of one. */
  originalInput(value: Value): Value {
    return this.#positives.get(value) ?? value;
  }

  /** Values that hold twice the key heads, as far as bodies hand them on. */
  get doubled(): ReadonlyMap<Value, DoubledKeys> {
    return this.#doubled;
  }

  /** True for a projection that several attentions read: keys shared by layers, queries of two sets of keys. */
  isShared({ separated }: Branch): boolean {
    this.#readers ??= this.#countReaders();
    return (this.#readers.get(separated) ?? 0) > 1;
  }

  #countReaders(): Map<Value, number> {
    const readers = new Map<Value, number>();
    for (const site of this.sites) {
      const read = new Set(secondProjections(site, this.options).map(({ branch }) => branch.separated));
      for (const value of read) readers.set(value, (readers.get(value) ?? 0) + 1);
    }
    return readers;
  }

  /** The second projection beside such a one, made the first time it is asked for. */
  once({ separated }: Branch, make: () => Value): Value {
    const known = this.#second.get(separated);
    if (known) return known;
    const made = make();
    this.#second.set(separated, made);
    this.model.journal.record(() => {
      this.#second.delete(separated);
    });
    return made;
  }

  /** Notes that a value holds twice the key heads; false if that was noted before. */
  markDoubled(value: Value, keys: DoubledKeys): boolean {
    if (this.#doubled.has(value)) return false;
    this.#doubled.set(value, keys);
    this.model.journal.record(() => {
      this.#doubled.delete(value);
    });
    return true;
  }

  epsilon(site: LocatedSite): number | undefined {
    if (!this.options.sublayerNorm) return undefined;
    const known = this.options.normEps ?? presetOf(this.options).normEps;
    return known ?? epsilonOfNorm(site.query.projection.input, this.model) ?? DEFAULT_EPSILON;
  }

  /** A scalar that changes nothing, for inputs that another layer of the model needs. */
  neutral(value: 0 | 1, dataType: number): Value {
    const key = `ai.diffx/${value === 0 ? 'zero' : 'one'}/${dataType}`;
    return this.model.sharedConstant(key, () => floatTensor(dataType, [], Float32Array.of(value)));
  }

  /** Adds what lambda is computed from to what the differential attention starts from, where it depends on the input. */
  addLambda(site: LocatedSite, form: FunctionForm, start: Record<string, Value>, builder: Builder): void {
    if (presetOf(this.options).lambda !== 'projection') return;
    start['lambda_logits'] = lambdaLogits(builder, site, form, start, this.parameters.of(site));
  }

  /**
   * Writes the differential attention of a site in front of the builder's anchor.
   * @param start the values the form begins with, by input name; scale, divisor and bias where the site has them
   * @returns C, and the attention map where the features ask for it
   */
  differentialAttention(
    site: LocatedSite,
    form: FunctionForm,
    start: Record<string, Value>,
    builder: Builder,
  ): Value[] {
    const features = this.features(site);
    const given: Record<string, Value | undefined> = {
      ...start,
      scale: start['scale'] ?? (features.scale ? this.neutral(1, site.dataType) : undefined),
      divisor: start['divisor'] ?? (features.divisor ? this.neutral(1, site.dataType) : undefined),
      bias: start['bias'] ?? (features.bias ? this.neutral(0, site.dataType) : undefined),
      mix: features.mix ? this.mix : undefined,
    };
    for (const [suffix, value] of this.parameters.of(site)) given[suffix.replace('.', '_')] = value;
    const epsilon = this.epsilon(site);
    return this.options.emit === 'inline'
      ? this.#inline(form, features, given, epsilon, builder)
      : this.#call(site, features, given, epsilon, builder);
  }

  #call(
    site: LocatedSite,
    features: FunctionFeatures,
    given: Record<string, Value | undefined>,
    epsilon: number | undefined,
    builder: Builder,
  ): Value[] {
    const form = this.formOf(site);
    const inputs = functionInputs(form, features).map((name) => given[name]);
    const count = features.map && form !== 'outputs' ? 2 : 1;
    return builder.ops(this.functionName(site), inputs, {
      domain: DOMAIN,
      outputs: count,
      attributes: epsilon === undefined ? [] : [attribute.float('epsilon', epsilon)],
    });
  }

  #inline(
    form: FunctionForm,
    features: FunctionFeatures,
    given: Record<string, Value | undefined>,
    epsilon: number | undefined,
    builder: Builder,
  ): Value[] {
    const body = functionBody(form, features, this.model.opset);
    const values = new Map<string, Value | undefined>(Object.entries(given));
    for (const node of body.nodes) {
      const attributes = node.attribute.map((entry) =>
        entry.refAttrName === 'epsilon'
          ? attribute.float(entry.name ?? '', epsilon ?? DEFAULT_EPSILON)
          : entry,
      );
      const result = builder.op(
        node.opType ?? '',
        node.input.map((name) => values.get(name)),
        { attributes, name: `${FUNCTION_NAMES[form]}/${node.name}` },
      );
      values.set(node.output[0] ?? '', result);
    }
    return body.outputs.flatMap((name) => values.get(name) ?? []);
  }

  /**
   * Puts the result of a site in the place of what it gave before, and notes what was done.
   * @param start the values that the differential attention was given
   */
  finish(
    site: LocatedSite,
    form: FunctionForm,
    start: Readonly<Record<string, Value>>,
    place: Placement,
  ): void {
    const { result, attended, uses, map } = place;
    const { core } = site;
    const node = attended.producer?.label ?? '';
    const output = core.output.name;
    takeOver(core.output, result, uses);
    if (map && core.kind === 'written-out') {
      refuseMapReaders(site, core, this.options);
      const readers = mapReaders(core);
      takeOver(core.probabilities, map, readers);
      standBehind(map, readers);
      if (this.options.heads === 'split')
        this.#noteHalved({ site, core, map, readers: readers.map(({ node }) => node) });
    }
    this.#layerOf.set(site, this.layers.length);
    this.layers.push({
      path: site.path,
      depth: site.depth,
      form,
      heads: site.heads,
      kvHeads: site.kvHeads,
      headWidth: site.headWidth,
      valueWidth: site.valueWidth,
      epsilon: this.epsilon(site),
      output,
      node,
      attended: attended.name,
      caches: place.caches ?? [],
      start: Object.fromEntries(Object.entries(start).map(([name, value]) => [name, value.name])),
    });
  }

  #noteHalved(map: HalvedMap): void {
    this.halvedMaps.push(map);
    this.model.journal.record(() => {
      this.halvedMaps.pop();
    });
  }

  /** Notes a further cache of a site that was rewritten. */
  addCache(site: LocatedSite, cache: CachedKeys): void {
    const index = this.#layerOf.get(site);
    const layer = index === undefined ? undefined : this.layers[index];
    if (index === undefined || !layer) throw new Error(`${site.path} was not rewritten`);
    this.layers[index] = { ...layer, caches: [...layer.caches, cache] };
  }

  /** Adds the functions that the rewritten sites call. */
  defineFunctions(): void {
    if (this.options.emit === 'inline') return;
    const defined = new Set<string>();
    for (const site of this.#layerOf.keys()) {
      const name = this.functionName(site);
      if (defined.has(name)) continue;
      defined.add(name);
      const proto = functionProto(name, this.formOf(site), this.features(site), this.model.opset);
      this.model.addFunction(proto);
      this.model.importOpset(DOMAIN, DOMAIN_VERSION);
    }
  }
}
