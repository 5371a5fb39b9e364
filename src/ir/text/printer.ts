import type {
  AttributeProto,
  FunctionProto,
  GraphProto,
  ModelProto,
  NodeProto,
  OperatorSetId,
  StringStringEntry,
  ValueInfoProto,
} from '../../onnx';
import { printAttribute } from './attributes';
import { printEntries, printTensor } from './tensors';
import { printName, printType, quote } from './types';

export interface PrintOptions {
  /**
   * Tensors with more elements than this print as `float[32, 32] w = {...}`, and their bytes are not read. Such a text
   * does not have the weights any more: `parseText` refuses it, or fills in what its option `fill` gives.
   */
  readonly maxElements?: number;
  /** Prints the metadata of nodes, as comments: `#: {"key": "value"}`. Exporters write much of it. */
  readonly metadata?: boolean;
}

/**
 * Writes a model in ONNX's text syntax, so that `parseText` gives an equal model and Python's `onnx.parser` reads it
 * too (subgraphs whose names need quotes excepted). Not in the text: doc strings and metadata below the model (but see
 * `options.metadata`), quantization annotations, sparse tensors, maps and opaque types, unknown fields, and whether a
 * tensor has its elements in `rawData` or not.
 */
export function printText(model: ModelProto, options: PrintOptions = {}): string {
  return new Printer(options).model(model);
}

/** The text of one node, as `printText` has it. */
export function printNode(node: NodeProto, options: PrintOptions = {}): string {
  return new Printer(options).node(node, '');
}

function names(list: readonly string[]): string {
  return list.map(printName).join(', ');
}

function value(info: ValueInfoProto): string {
  return `${printType(info.type)} ${printName(info.name ?? '')}`.trimStart();
}

function opsets(imports: readonly OperatorSetId[]): string {
  return `[${imports.map(({ domain = '', version = 0n }) => `${quote(domain)}: ${version}`).join(', ')}]`;
}

/** An operator with its domain; domains are identifiers with dots, others are quoted. */
function operator({ domain = '', opType = '', overload = '' }: NodeProto): string {
  const plain = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/.test(domain);
  const prefix = domain === '' ? '' : `${plain ? domain : quote(domain)}.`;
  return `${prefix}${/^\w+$/.test(opType) ? opType : quote(opType)}${overload === '' ? '' : `:${overload}`}`;
}

function metadata(entries: readonly StringStringEntry[]): string {
  return JSON.stringify(Object.fromEntries(entries.map(({ key = '', value: text = '' }) => [key, text])));
}

class Printer {
  private readonly maxElements: number;
  private readonly withMetadata: boolean;

  constructor(options: PrintOptions) {
    this.maxElements = options.maxElements ?? Number.POSITIVE_INFINITY;
    this.withMetadata = options.metadata ?? false;
  }

  model(model: ModelProto): string {
    const { graph } = model;
    const texts = [this.header(model), ...(graph === undefined ? [] : [this.graph(graph, '')])];
    return `${[...texts, ...model.functions.map((body) => this.function(body))].filter(Boolean).join('\n')}\n`;
  }

  private header(model: ModelProto): string {
    const { irVersion, producerName, producerVersion, domain, modelVersion, docString } = model;
    const items: readonly (readonly [string, string | undefined])[] = [
      ['ir_version', irVersion?.toString()],
      ['opset_import', opsets(model.opsetImport)],
      ['producer_name', producerName === undefined ? undefined : quote(producerName)],
      ['producer_version', producerVersion === undefined ? undefined : quote(producerVersion)],
      ['domain', domain === undefined ? undefined : quote(domain)],
      ['model_version', modelVersion?.toString()],
      ['doc_string', docString === undefined ? undefined : quote(docString)],
      ['metadata_props', model.metadataProps.length === 0 ? undefined : printEntries(model.metadataProps)],
    ];
    const written = items.filter(([, text]) => text !== undefined);
    return `<${written.map(([keyword, text]) => `${keyword}: ${text}`).join(', ')}>`;
  }

  private graph(graph: GraphProto, indent: string): string {
    const inputs = graph.input.map(value).join(', ');
    const outputs = graph.output.map(value).join(', ');
    const declared = [
      ...graph.initializer.map((tensor) => printTensor(tensor, ' =', this.maxElements)),
      ...graph.valueInfo.map(value),
    ];
    const head = `${printName(graph.name ?? '')} (${inputs}) => (${outputs})`;
    return `${head}${this.declarations(declared, indent)}${this.body(graph.node, indent)}`;
  }

  private declarations(items: readonly string[], indent: string): string {
    if (items.length === 0) {
      return ' ';
    }
    const lines = items.map((item) => `${indent}  ${item}`).join(',\n');
    return ` <\n${lines}\n${indent}> `;
  }

  private body(nodes: readonly NodeProto[], indent: string): string {
    return `{\n${nodes.map((node) => `${this.node(node, `${indent}  `)}\n`).join('')}${indent}}`;
  }

  node(node: NodeProto, indent: string): string {
    const name = node.name === undefined ? '' : `[${printName(node.name)}] `;
    const { metadataProps } = node;
    const note = this.withMetadata && metadataProps.length > 0 ? ` #: ${metadata(metadataProps)}` : '';
    return `${indent}${name}${names(node.output)} = ${this.call(node, indent)}${note}`;
  }

  /** Operator, attributes and inputs; graphs stand after the inputs, each on lines of its own. */
  private call(node: NodeProto, indent: string): string {
    const inputs = `(${names(node.input)})`;
    if (node.attribute.length === 0) {
      return `${operator(node)} ${inputs}`;
    }
    if (node.attribute.some(({ g, graphs }) => g !== undefined || graphs.length > 0)) {
      const lines = this.attributes(node.attribute, `${indent}  `).map((text) => `${indent}  ${text}`);
      return `${operator(node)} ${inputs} <\n${lines.join(',\n')}\n${indent}>`;
    }
    return `${operator(node)} <${this.attributes(node.attribute, indent).join(', ')}> ${inputs}`;
  }

  private attributes(attributes: readonly AttributeProto[], indent: string): string[] {
    const printGraph = (graph: GraphProto): string => this.graph(graph, indent);
    return attributes.map((attribute) =>
      printAttribute(attribute, { printGraph, maxElements: this.maxElements }),
    );
  }

  private function(body: FunctionProto): string {
    const { overload = '', docString } = body;
    const header = [
      `domain: ${quote(body.domain ?? '')}`,
      ...(overload === '' ? [] : [`overload: ${quote(overload)}`]),
      `opset_import: ${opsets(body.opsetImport)}`,
      ...(docString === undefined ? [] : [`doc_string: ${quote(docString)}`]),
    ].join(', ');
    const attributes = [...body.attribute.map(printName), ...this.attributes(body.attributeProto, '')].join(
      ', ',
    );
    const list = attributes === '' ? '' : ` <${attributes}>`;
    const head = `${printName(body.name ?? '')}${list} (${names(body.input)}) => (${names(body.output)})`;
    return `<${header}>\n${head}${this.declarations(body.valueInfo.map(value), '')}${this.body(body.node, '')}`;
  }
}
