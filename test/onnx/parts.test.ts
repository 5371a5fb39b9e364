/** Messages that are not repeated may be stored in parts, which protobuf merges; how many there are must not matter. */
import { decode, type TypeProto } from '../../src/onnx';
import { field, varint } from './build';

/** Minutes where every part is merged with all that went before. */
const SECONDS = 20_000;

test(
  'a graph in 20,000 parts is read once',
  () => {
    const count = 20_000;
    const node = (index: number) => field(7, field(1, field(1, 'a'.repeat(200)), field(2, `v${index}`)));
    const parts = Array.from({ length: count }, (_, index) => node(index));
    const { graph } = decode('ModelProto', Buffer.concat(parts));
    expect(graph?.node).toHaveLength(count);
    expect(graph?.node.at(-1)?.output).toEqual([`v${count - 1}`]);
  },
  SECONDS,
);

/** What a sequence is of; messages.ts has no fields of sequences. */
const innerOf = ({ sequenceType }: TypeProto) =>
  (sequenceType as { readonly elemType?: TypeProto } | undefined)?.elemType;

/** Each level in two parts, the first of which holds all that lies inside. */
function nested(levels: number): Uint8Array {
  let type: Uint8Array = field(1, varint(1, 1));
  for (let level = 0; level < levels; level++) type = Buffer.concat([field(4, field(1, type)), field(4)]);
  return type;
}

test(
  'parts inside parts take no longer with every level',
  () => {
    let type = decode('TypeProto', nested(45));
    let depth = 0;
    for (let inner = innerOf(type); inner; inner = innerOf(type)) {
      type = inner;
      depth++;
    }
    expect(depth).toBe(45);
    expect(type.tensorType?.elemType).toBe(1);
  },
  SECONDS,
);

test('of a message that may be one of several, the last one counts, and its parts begin anew', () => {
  const tensor = (shape: string) => field(1, field(2, field(1, field(2, shape))));
  const sequence = field(4, field(1, field(1, varint(1, 1))));
  const last = decode('TypeProto', Buffer.concat([tensor('a'), sequence, tensor('b'), tensor('c')]));
  expect(last.sequenceType).toBeUndefined();
  expect(last.tensorType?.shape?.dim.map(({ dimParam }) => dimParam)).toEqual(['b', 'c']);
  const other = decode('TypeProto', Buffer.concat([tensor('a'), tensor('b'), sequence]));
  expect(other.tensorType).toBeUndefined();
  expect(innerOf(other)?.tensorType?.elemType).toBe(1);
});
