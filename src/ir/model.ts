import type { FunctionProto, ModelFile, ModelProto, StringStringEntry, TensorProto } from '../onnx';
import type { Graph } from './graph';
import { Journal } from './journal';
import { Names } from './names';
import { canonicalDomain } from './node';
import { pushAll } from './push-all';
import type { Value } from './value';

/** A local function: its message and its body as a graph. */
export interface LocalFunction {
  readonly proto: FunctionProto;
  readonly body: Graph;
}

/** A model as the compiler works on it. */
export class Model {
  readonly journal = new Journal();
  readonly names = new Names(this.journal);
  readonly functions: LocalFunction[] = [];
  /** Functions that the rewrite adds; written behind the model's own. */
  readonly newFunctions: FunctionProto[] = [];
  /** Operator set versions by domain ('' for the standard set). */
  readonly opsets = new Map<string, number>();
  readonly metadata: StringStringEntry[];
  graph!: Graph; // set by `load`, the only maker of models, before anyone sees it

  constructor(
    readonly file: ModelFile,
    readonly proto: ModelProto,
  ) {
    for (const { domain, version } of proto.opsetImport) {
      this.opsets.set(canonicalDomain(domain), Number(version ?? 0n));
    }
    this.metadata = [...proto.metadataProps];
  }

  /** Version of the standard operator set. */
  get opset(): number {
    return this.opsets.get('') ?? 0;
  }

  /** The bytes of a tensor, wherever they lie. */
  bytes(tensor: TensorProto): Uint8Array {
    return this.file.tensorBytes(tensor).read();
  }

  /** Declares that the model uses a domain. */
  importOpset(domain: string, version: number): void {
    if (this.opsets.has(domain)) return;
    this.opsets.set(domain, version);
    this.journal.record(() => {
      this.opsets.delete(domain);
    });
  }

  readonly #shared = new Map<string, Value>();

  /** A constant that equal requests share, told by its key and not by the name that it gets. */
  sharedConstant(key: string, make: () => TensorProto): Value {
    let value = this.#shared.get(key);
    if (!value) {
      value = this.graph.addInitializer(key, make());
      this.#shared.set(key, value);
      this.journal.record(() => {
        this.#shared.delete(key);
      });
    }
    return value;
  }

  /** Gives an initializer other contents. */
  replaceInitializer(value: Value, tensor: TensorProto): void {
    const old = value.initializer;
    value.initializer = tensor;
    this.journal.record(() => {
      value.initializer = old;
    });
  }

  /** Adds a local function. */
  addFunction(proto: FunctionProto): void {
    this.newFunctions.push(proto);
    this.journal.record(() => {
      this.newFunctions.splice(this.newFunctions.indexOf(proto), 1);
    });
  }

  /** Takes local functions out that nobody calls. */
  removeFunctions(gone: ReadonlySet<LocalFunction>): void {
    const old = [...this.functions];
    const set = (functions: readonly LocalFunction[]) => {
      this.functions.length = 0;
      pushAll(this.functions, functions);
    };
    set(old.filter((fn) => !gone.has(fn)));
    this.journal.record(() => set(old));
  }

  /** Sets a metadata entry. */
  setMetadata(key: string, value: string): void {
    this.setEntry({ key, value });
  }

  /** Sets a metadata entry that may be computed later. */
  setEntry(entry: StringStringEntry): void {
    const old = [...this.metadata];
    const at = this.metadata.findIndex(({ key }) => key === entry.key);
    if (at >= 0) this.metadata[at] = entry;
    else this.metadata.push(entry);
    this.journal.record(() => {
      this.metadata.splice(0, this.metadata.length, ...old);
    });
  }

  metadataValue(key: string): string | undefined {
    return this.metadata.find((entry) => entry.key === key)?.value;
  }

  /** Every scope: the main graph, its bodies, and the functions with theirs. */
  *scopes(): Iterable<Graph> {
    yield* this.graph.scopes();
    for (const { body } of this.functions) yield* body.scopes();
  }
}
