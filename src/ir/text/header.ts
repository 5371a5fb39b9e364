/** The `<…>` at the top of a model or a function. */
import type { FunctionProto, ModelProto, OperatorSetId } from '../../onnx';
import { parseEntries } from './tensors';
import type { Tokens } from './tokens';

/** The items of a header; models and functions share the syntax. */
export type Header = Partial<
  Pick<ModelProto, 'irVersion' | 'modelVersion' | 'producerName' | 'producerVersion'> &
    Pick<FunctionProto, 'domain' | 'docString' | 'overload' | 'metadataProps' | 'opsetImport'>
>;

/** `<ir_version: 8, opset_import: [...]>` of a model or a function. */
export function parseHeader(tokens: Tokens): Header {
  let header: Header = {};
  tokens.list('<', '>', 'the items of the header', () => {
    header = { ...header, ...parseItem(tokens) };
  });
  return header;
}

function parseItem(tokens: Tokens): Header {
  const start = tokens.peek();
  const keyword = tokens.identifier('an item such as ir_version or opset_import');
  tokens.expect(':', `after ${keyword}`);
  const text = (): string => tokens.string(`the value of ${keyword}`);
  const number = (): bigint => tokens.integer(`the value of ${keyword}`);
  switch (keyword) {
    case 'ir_version':
      return { irVersion: number() };
    case 'model_version':
      return { modelVersion: number() };
    case 'producer_name':
      return { producerName: text() };
    case 'producer_version':
      return { producerVersion: text() };
    case 'domain':
      return { domain: text() };
    case 'overload':
      return { overload: text() };
    case 'doc_string':
      return { docString: text() };
    case 'metadata_props':
      return { metadataProps: parseEntries(tokens, 'metadata_props') };
    case 'opset_import':
      return { opsetImport: parseOpsets(tokens) };
    default:
      throw tokens.error(`unknown item '${keyword}' of a header`, start);
  }
}

function parseOpsets(tokens: Tokens): OperatorSetId[] {
  const opsets: OperatorSetId[] = [];
  tokens.list('[', ']', 'the imported operator sets', () => {
    const domain = tokens.string('a domain');
    tokens.expect(':', `after "${domain}"`);
    opsets.push({ domain, version: tokens.integer('the version of the operator set') });
  });
  return opsets;
}
