import { byteSize, DataType, type DimensionProto, dataTypeName, type TensorProto } from '../onnx';
import type { Graph } from './graph';
import type { Model } from './model';
import { canonicalDomain, type Node } from './node';
import { dependencies } from './order';
import type { Value } from './value';

/** A rule that every model obeys between passes. Numbers are for messages and never reused. */
export interface Invariant {
  readonly id: string;
  readonly says: string;
  /**
   * Gives one line for each violation.
   * @param scopes those of the model
   */
  check(model: Model, scopes: readonly Graph[]): Iterable<string>;
}

export interface Violation {
  readonly id: string;
  readonly message: string;
}

export const invariants: readonly Invariant[] = [
  {
    id: 'I1',
    says: 'a value has one definition, and the scope lists it under its name',
    *check(_model, scopes) {
      for (const graph of scopes) {
        const seen = new Set<Value>();
        for (const node of graph.nodes) {
          for (const value of node.outputs) {
            if (!value) continue;
            if (seen.has(value) || graph.values.get(value.name) !== value || value.producer !== node) {
              yield `'${value.name}' in ${graph.label}`;
            }
            seen.add(value);
          }
        }
      }
    },
  },
  {
    id: 'I2',
    says: 'a node stands behind the producers of everything it reads',
    *check(_model, scopes) {
      for (const graph of scopes) {
        const seen = new Set<Node>();
        for (const node of graph.nodes) {
          for (const value of dependencies(node)) {
            if (value.scope === graph && value.producer && !seen.has(value.producer)) {
              yield `node '${node.label}' reads '${value.name}' too early`;
            }
          }
          seen.add(node);
        }
      }
    },
  },
  {
    id: 'I3',
    says: 'every value that is read is defined in the scope of its reader or around it',
    *check(_model, scopes) {
      for (const graph of scopes) {
        for (const node of graph.nodes) {
          for (const value of node.inputs) {
            if (value && !isVisible(value, graph)) yield `node '${node.label}' reads '${value.name}'`;
          }
        }
      }
    },
  },
  {
    id: 'I4',
    says: 'every output of a graph is defined',
    *check(_model, scopes) {
      for (const graph of scopes) {
        for (const value of graph.outputs) {
          if (!isVisible(value, graph)) yield `output '${value.name}' of ${graph.label}`;
          else if (!value.producer && !value.isInput && !value.initializer && !value.sparse) {
            yield `output '${value.name}' of ${graph.label} has no producer`;
          }
        }
      }
    },
  },
  {
    id: 'I5',
    says: 'use lists agree with the inputs of the nodes',
    *check(_model, scopes) {
      const counted = new Map<Value, number>();
      for (const graph of scopes) {
        for (const node of graph.nodes) {
          for (const value of node.inputs) if (value) counted.set(value, (counted.get(value) ?? 0) + 1);
        }
      }
      for (const graph of scopes) {
        for (const value of graph.values.values()) {
          if (value.uses.size !== (counted.get(value) ?? 0)) {
            yield `'${value.name}' lists ${value.uses.size} uses, has ${counted.get(value) ?? 0}`;
          }
        }
      }
    },
  },
  {
    id: 'I6',
    says: 'the domain of every operator is imported, and a local function that is called exists',
    *check(model, scopes) {
      const local = new Set(
        [...model.functions.map(({ proto }) => proto), ...model.newFunctions].map(
          (fn) => `${canonicalDomain(fn.domain)}:${fn.name ?? ''}`,
        ),
      );
      const domains = new Set([...local].map((key) => key.slice(0, key.lastIndexOf(':'))));
      const missing = new Set<string>();
      for (const graph of scopes) {
        for (const node of graph.nodes) {
          if (graph.proto && !model.opsets.has(node.domain)) missing.add(node.domain);
          else if (
            domains.has(node.domain) &&
            node.domain !== '' &&
            !local.has(`${node.domain}:${node.opType}`)
          ) {
            yield `node '${node.label}': no function ${node.operator}`;
          }
        }
      }
      // Not for each node: what is copied from a model that lacks an import is no fault of the copy.
      for (const domain of missing) yield `domain '${domain}'`;
    },
  },
  {
    id: 'I7',
    says: 'no two initializers, inputs or values of a scope share a name with a scope around it',
    *check(_model, scopes) {
      for (const graph of scopes) {
        for (const [name, value] of graph.values) {
          if (value.name !== name) yield `'${value.name}' is listed as '${name}'`;
          if (graph.parent?.find(name)) yield `'${name}' in ${graph.label} has the name of a value around it`;
        }
      }
    },
  },
  {
    id: 'I8',
    says: 'the size of an initializer agrees with its dimensions',
    *check(_model, scopes) {
      for (const graph of scopes) {
        for (const value of graph.values.values()) {
          const tensor = value.initializer;
          if (!tensor || tensor.dataType === DataType.STRING) continue;
          if (tensor.dims.some((dim) => dim < 0n))
            yield `initializer '${value.name}' has a negative dimension`;
          else if (wrongSize(tensor))
            yield `initializer '${value.name}' has more or fewer elements than its dimensions say`;
          else if (tensor.name !== value.name)
            yield `initializer '${value.name}' is stored as '${tensor.name}'`;
        }
      }
    },
  },
  {
    id: 'I9',
    says: 'a declared type agrees with the initializer it is declared for',
    *check(_model, scopes) {
      for (const graph of scopes) {
        for (const value of graph.values.values()) {
          const tensor = value.initializer;
          const declared = value.type?.tensorType;
          if (!tensor || !declared) continue;
          if (declared.elemType !== undefined && declared.elemType !== tensor.dataType) {
            yield `'${value.name}' is declared ${dataTypeName(declared.elemType)}, holds ${dataTypeName(tensor.dataType ?? 0)}`;
          }
          const dims = declared.shape?.dim;
          const differs = (dim: DimensionProto, axis: number) =>
            dim.dimValue !== undefined && dim.dimValue !== tensor.dims[axis];
          if (dims && (dims.length !== tensor.dims.length || dims.some(differs))) {
            yield `'${value.name}' is declared with other dimensions than it has`;
          }
        }
      }
    },
  },
];

/** Looks at tensors that hold their bytes themselves; those of side files are checked when they are read. */
function wrongSize(tensor: TensorProto): boolean {
  if (!tensor.rawData) return false;
  const count = tensor.dims.reduce((all, dim) => all * Number(dim), 1);
  const expected = byteSize(tensor.dataType ?? 0, count);
  return expected !== undefined && expected !== tensor.rawData.length;
}

function isVisible(value: Value, from: Graph): boolean {
  for (let scope: Graph | undefined = from; scope; scope = scope.parent) {
    if (scope.values.get(value.name) === value) return true;
    if (scope.values.has(value.name)) return false;
  }
  return false;
}

/** Checks every invariant and gives all violations. */
export function checkInvariants(model: Model): Violation[] {
  const scopes = [...model.scopes()];
  return invariants.flatMap((invariant) =>
    [...invariant.check(model, scopes)].map((what) => ({
      id: invariant.id,
      message: `${invariant.id} (${invariant.says}): ${what}`,
    })),
  );
}
