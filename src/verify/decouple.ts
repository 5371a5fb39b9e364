import type { LocatedSite } from '../attention/find';
import type { RewriteRecord } from '../attention/record';
import type { Model, Value } from '../ir';
import type { DataType } from '../onnx';
import { addNode, firstReaderPlace, tensorAttribute } from './edit';
import { findValue } from './stored';
import { zeros } from './tensor';

/** Nobody reads what the attentions give: what flows into each of them no longer depends on the others. */
export function decouple(model: Model, record: RewriteRecord, sites: readonly LocatedSite[]): void {
  for (const { output } of record.layers) {
    const value = findValue(model, output);
    const site = sites.find(({ core }) => core.output.name === output);
    if (value && site) silence(value, site.dataType as DataType);
  }
}

/** Readers read zeros of the same shape: not a product with 0, which NaN survives. */
function silence(value: Value, dataType: DataType): void {
  const { scope, name } = value;
  const uses = [...value.uses];
  const place = firstReaderPlace(value);
  const shape = addNode(scope, place, 'Shape', [value], `${name}/shape`);
  const zero = [tensorAttribute('value', zeros(dataType, [1]))];
  const silent = addNode(scope, place, 'ConstantOfShape', [shape], `${name}/silent`, zero);
  for (const { node, index } of uses) node.graph.setInput(node, index, silent);
}
