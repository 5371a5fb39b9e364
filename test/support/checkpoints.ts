/** Checkpoints as files. */
import * as path from 'node:path';
import { randomFill, temporaryFolder } from './fixtures';
import { floatTensor, type Tensor, type Tensors, writeTensors } from './run';

let files = 0;

/** A safetensors file in the temporary folder of this test file; gives the path. */
export function checkpoint(tensors: Tensors): string {
  const file = path.join(temporaryFolder(), `checkpoint-${files++}.safetensors`);
  writeTensors(file, tensors);
  return file;
}

/** Numbers that depend on seed and name. */
export function randomTensor(seed: number): (name: string, ...shape: number[]) => Tensor {
  return (name, ...shape) =>
    floatTensor(
      shape,
      randomFill(seed)(
        name,
        shape.reduce((all, size) => all * size, 1),
      ),
    );
}
