/** An ONNX model, IR version 8, opset 13, graph `g`: float x[2, 2] -> MatMul(x, x) -> float y[2, 2]. */
export function oneNodeModel(): Uint8Array {
  const message = (field: number, ...content: number[]) => [(field << 3) | 2, content.length, ...content];
  const text = (field: number, value: string) => message(field, ...Buffer.from(value));
  const integer = (field: number, value: number) => [field << 3, value];
  const two = message(1, ...integer(1, 2));
  const type = message(2, ...message(1, ...integer(1, 1), ...message(2, ...two, ...two)));
  const node = [...text(1, 'x'), ...text(1, 'x'), ...text(2, 'y'), ...text(4, 'MatMul')];
  const graph = [
    ...message(1, ...node),
    ...text(2, 'g'),
    ...message(11, ...text(1, 'x'), ...type),
    ...message(12, ...text(1, 'y'), ...type),
  ];
  return Uint8Array.from([...integer(1, 8), ...message(7, ...graph), ...message(8, ...integer(2, 13))]);
}
