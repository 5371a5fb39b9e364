import type {
  AttributeProto,
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  StringStringEntry,
  TensorProto,
  ValueInfoProto,
} from '../../onnx';
import { type AttributeContext, parseAttribute } from './attributes';
import { type Header, parseHeader } from './header';
import { type Fill, parseTensor } from './tensors';
import { Tokens } from './tokens';
import { isType, parseType } from './types';

export interface ParseOptions {
  /** Gives the elements of tensors written as `{...}`; without it they are an error. */
  readonly fill?: Fill;
}

/**
 * Reads a model in ONNX's text syntax (onnx/docs/Syntax.md), as `onnx.parser.parse_model` of Python does.
 *
 *     <ir_version: 8, opset_import: ["" : 17]>
 *     graph (float[N, 8] x) => (float[N, 8] y)
 *     <float[8] "model.scale" = {1, 2, 3, 4, 5, 6, 7, 8}>
 *     {
 *       ["/model/Mul"] y = Mul (x, "model.scale")
 *     }
 *
 * Names that are no identifiers stand in double quotes. Beyond Python's parser: a text without the `<…>` at the top gets
 * IR version 8 and opset 17; decimal literals of float16 and bfloat16 are values; `{...}` is a tensor whose elements
 * `options.fill` gives; domains, attribute names and names of subgraphs may be in quotes; the comment `#: {"key": "value"}`
 * after a node is its metadata.
 *
 * Tensors get `rawData` in memory. Node domains that are not written stay undefined.
 * @throws TextSyntaxError whose message begins with line:column
 */
export function parseText(text: string, options: ParseOptions = {}): ModelProto {
  return new Parser(new Tokens(text), options.fill).model();
}

class Parser {
  private readonly context: AttributeContext;

  constructor(
    private readonly tokens: Tokens,
    private readonly fill: Fill | undefined,
  ) {
    this.context = { parseGraph: () => this.graph(), fill };
  }

  model(): ModelProto {
    const header: Header = this.tokens.isSymbol('<')
      ? parseHeader(this.tokens)
      : { irVersion: 8n, opsetImport: [{ domain: '', version: 17n }] };
    const graph = this.graph();
    const functions: FunctionProto[] = [];
    while (this.tokens.peek().kind !== 'end') {
      functions.push(this.function());
    }
    return {
      opsetImport: [],
      metadataProps: [],
      trainingInfo: [],
      configuration: [],
      ...header,
      graph,
      functions,
    };
  }

  private graph(): GraphProto {
    const { tokens } = this;
    const name = tokens.name('the name of the graph');
    const initializer: TensorProto[] = [];
    const input: ValueInfoProto[] = [];
    const output: ValueInfoProto[] = [];
    const valueInfo: ValueInfoProto[] = [];
    tokens.list('(', ')', 'the inputs of the graph', () => {
      const value = this.value();
      input.push(value);
      this.optionalInitializer(value, initializer);
    });
    tokens.expect('=>', 'before the outputs of the graph');
    tokens.list('(', ')', 'the outputs of the graph', () => output.push(this.value()));
    if (tokens.isSymbol('<')) {
      tokens.list('<', '>', 'the initializers and value infos', () => {
        const value = this.value();
        if (!this.optionalInitializer(value, initializer)) {
          valueInfo.push(value);
        }
      });
    }
    const node = this.nodes();
    return {
      node,
      name,
      initializer,
      sparseInitializer: [],
      input,
      output,
      valueInfo,
      quantizationAnnotation: [],
      metadataProps: [],
    };
  }

  /** `float[N] x`, or only `x`. */
  private value(): ValueInfoProto {
    const type = isType(this.tokens) ? { type: parseType(this.tokens) } : {};
    return { name: this.tokens.name('the name of a value'), ...type, metadataProps: [] };
  }

  /** `= {…}` after a value. */
  private optionalInitializer(value: ValueInfoProto, initializers: TensorProto[]): boolean {
    const { tokens } = this;
    if (!tokens.accept('=')) {
      return false;
    }
    if (!tokens.isSymbol('{') && !tokens.isSymbol('[')) {
      throw tokens.expected(
        `the elements of ${value.name} in braces, or the place of a side file in brackets`,
      );
    }
    initializers.push(parseTensor(tokens, value.type ?? {}, value.name, this.fill));
    return true;
  }

  private nodes(): NodeProto[] {
    const nodes: NodeProto[] = [];
    this.tokens.expect('{', 'before the nodes');
    while (!this.tokens.accept('}')) {
      nodes.push(this.node());
    }
    return nodes;
  }

  private node(): NodeProto {
    const { tokens } = this;
    let name: string | undefined;
    if (tokens.accept('[')) {
      name = tokens.name('the name of the node');
      tokens.expect(']', 'after the name of the node');
    }
    const output = this.names();
    tokens.expect('=', output.length === 0 ? 'or a node' : 'after the outputs of the node');
    const path = [tokens.name('an operator')];
    while (tokens.accept('.')) {
      path.push(tokens.name('the operator after its domain'));
    }
    const opType = path.pop() ?? '';
    const overload = tokens.accept(':') ? { overload: tokens.identifier('the overload') } : {};
    const before = this.attributes();
    tokens.expect('(', `before the inputs of ${opType}`);
    const input = this.names();
    tokens.expect(')', `or ',' after the inputs of ${opType}`);
    return {
      input,
      output,
      ...(name === undefined ? {} : { name }),
      opType,
      ...(path.length === 0 ? {} : { domain: path.join('.') }),
      ...overload,
      attribute: before.length > 0 ? before : this.attributes(),
      metadataProps: this.note(),
    };
  }

  /** Names of inputs or outputs; one that is absent is written as nothing, or as `""`. A last comma says nothing. */
  private names(): string[] {
    const names: string[] = [];
    while (this.tokens.isName() || this.tokens.isSymbol(',')) {
      names.push(this.tokens.isName() ? this.tokens.next().text : '');
      if (!this.tokens.accept(',')) {
        break;
      }
    }
    return names;
  }

  private attributes(): AttributeProto[] {
    const attributes: AttributeProto[] = [];
    if (this.tokens.isSymbol('<')) {
      this.tokens.list('<', '>', 'the attributes', () =>
        attributes.push(parseAttribute(this.tokens, this.context)),
      );
    }
    return attributes;
  }

  /** Metadata in a comment. */
  private note(): StringStringEntry[] {
    if (this.tokens.peek().kind !== 'note') {
      return [];
    }
    const token = this.tokens.next();
    try {
      const entries: Record<string, unknown> = JSON.parse(token.text);
      return Object.entries(entries).map(([key, value]) => ({ key, value: String(value) }));
    } catch {
      throw this.tokens.error('expected metadata after #: such as #: {"key": "value"}', token);
    }
  }

  private function(): FunctionProto {
    const { tokens } = this;
    const header = tokens.isSymbol('<') ? parseHeader(tokens) : {};
    const name = tokens.name('the name of a function');
    const attribute: string[] = [];
    const attributeProto: AttributeProto[] = [];
    if (tokens.isSymbol('<')) {
      tokens.list('<', '>', 'the attributes of the function', () => {
        if (tokens.isSymbol(':', 1) || tokens.isSymbol('=', 1)) {
          attributeProto.push(parseAttribute(tokens, this.context));
        } else {
          attribute.push(tokens.name('the name of an attribute'));
        }
      });
    }
    const values: ValueInfoProto[] = [];
    const input = this.parameters('inputs', values);
    tokens.expect('=>', 'before the outputs of the function');
    const output = this.parameters('outputs', values);
    if (tokens.isSymbol('<')) {
      tokens.list('<', '>', 'the value infos', () => values.push(this.value()));
    }
    const node = this.nodes();
    const body = { name, input, output, attribute, attributeProto, node, valueInfo: values };
    return { opsetImport: [], metadataProps: [], ...header, ...body };
  }

  private parameters(what: string, values: ValueInfoProto[]): string[] {
    const names: string[] = [];
    this.tokens.list('(', ')', `the ${what} of the function`, () => {
      const value = this.value();
      names.push(value.name ?? '');
      if (value.type !== undefined) {
        values.push(value);
      }
    });
    return names;
  }
}
