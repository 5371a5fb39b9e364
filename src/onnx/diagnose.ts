/** Files that are often taken for ONNX models, so that the error can say what they are. */
import type { Source } from './source';

const HEAD = 512;

/** What bytes that are no model are instead, as far as their beginning tells. */
export function otherFormat(source: Source): string | undefined {
  if (source.length === 0) return 'the file is empty';
  const head = Buffer.from(source.view(0, Math.min(HEAD, source.length))).subarray(0, HEAD);
  const text = head.toString('latin1');
  if (text.startsWith('version https://git-lfs'))
    return "a Git LFS pointer; fetch the file with 'git lfs pull'";
  if (text.startsWith('PK\x03\x04')) return 'a zip archive, such as a PyTorch checkpoint';
  if (text.startsWith('GGUF')) return 'a GGUF file';
  if (text.startsWith('\x89HDF')) return 'an HDF5 file';
  if (text.slice(4, 8) === 'ORTM') return "ONNX Runtime's own .ort format";
  if (text.slice(4, 8) === 'TFL3') return 'a TensorFlow Lite model';
  if (text.slice(7, 10) === '\0{"') return 'a safetensors file';
  if (/^[\t\n\r\x20-\x7E]+$/.test(text)) return 'a text file';
  return undefined;
}
