/** `diffx doctor`: what starts on this machine. */
import { diffx, documentOf, workFolder } from './run-cli';

const folder = workFolder(null);
const absent = process.platform === 'darwin' ? 'dml' : 'coreml';
/** A machine without any Vulkan driver, whatever this one has. */
const noDriver = { VK_ICD_FILENAMES: '/nowhere.json', VK_DRIVER_FILES: '/nowhere.json' };

test('what starts, what does not, and what to install', () => {
  const run = diffx(['doctor'], folder, noDriver);
  expect([run.code, run.stderr]).toEqual([0, '']);
  expect(run.stdout).toMatch(/^ONNX Runtime 1\.\d+\.\d+, Node \d+\.\d+\.\d+, /);
  expect(run.stdout).toMatch(/\n {2}cpu +starts\n/);
  expect(run.stdout).toMatch(new RegExp(`\\n {2}${absent} +missing: .* built without it\\n +to do: `));
});

test('--json has every provider, with what was found and what is missing', () => {
  const document = documentOf(diffx(['doctor', '--json'], folder, noDriver));
  expect(document).toMatchObject({
    schemaVersion: 1,
    command: 'doctor',
    onnxRuntime: '1.30.0',
    passed: false,
  });
  const providers = document['providers'] as { name: string; starts: boolean; problem?: object }[];
  expect(providers.map(({ name }) => name)).toEqual(['cpu', 'cuda', 'tensorrt', 'webgpu', 'dml', 'coreml']);
  for (const { starts, problem } of providers) expect(problem === undefined).toBe(starts);
});

test('--ep asks for some: exit 4 if one does not start, 2 for a name that does not exist', () => {
  expect(diffx(['doctor', '--ep', 'cpu', '-q'], folder)).toMatchObject({ code: 0, stdout: '', stderr: '' });
  const run = diffx(['doctor', '--ep', 'cpu', '--ep', absent], folder);
  expect(run.code).toBe(4);
  expect(run.stderr).toMatch(
    new RegExp(`^error: the execution provider '${absent}' is not available: .*\nhint: .+\n$`),
  );
  expect(diffx(['doctor', '--ep', 'gpu'], folder).code).toBe(2);
});
