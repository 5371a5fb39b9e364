/** Names and options of execution providers, and what their failures are taken for. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { DiffxError } from '../../src/errors';
import {
  parseProvider,
  parseProviders,
  settleTf32,
  toBinding,
  usesTf32,
  whyUnavailable,
} from '../../src/verify/providers';
import { type Machine, recogniseProblem } from '../../src/verify/providers/problems';
import { notHandedOn } from '../../src/verify/providers/session-options';
import { tryProvider } from '../../src/verify/providers/try';
import { temporaryFolder } from '../support/fixtures';

test.each([
  ['cpu', {}, { name: 'cpu' }],
  ['cuda:1', { device_id: '1' }, { name: 'cuda', deviceId: 1 }],
  [
    'cuda:device_id=1,cudnn_conv_algo_search=HEURISTIC',
    { device_id: '1', cudnn_conv_algo_search: 'HEURISTIC' },
    { name: 'cuda', deviceId: 1 },
  ],
  ['dml:deviceId=2', { device_id: '2' }, { name: 'dml', deviceId: 2 }],
  ['coreml:coreml_flags=16', { coreml_flags: '16' }, { name: 'coreml', coreMlFlags: 16 }],
  ['webgpu:validationMode=full', { validation_mode: 'full' }, { name: 'webgpu', validationMode: 'full' }],
  [
    'tensorrt:0,trt_fp16_enable=1',
    { device_id: '0', trt_fp16_enable: '1' },
    { name: 'tensorrt', deviceId: 0 },
  ],
])('%s is read', (text, options, binding) => {
  const spec = parseProvider(text);
  expect(spec).toEqual({ provider: text.split(':')[0], options, text });
  expect(toBinding(spec)).toEqual(binding);
});

test.each([
  ['gpu', "'gpu' is no execution provider that diffx knows"],
  ['CUDA', "'CUDA' is no execution provider that diffx knows"],
  ['cuda,cpu', "'cuda,cpu' is no execution provider that diffx knows"],
  ['cuda:', "--ep cuda:: '' is not of the form name=value"],
  ['cuda:device_id', "--ep cuda:device_id: 'device_id' is not of the form name=value"],
  ['cuda:device_id=one', "--ep cuda:device_id=one: 'one' is no value of device_id"],
  ['cuda:1,deviceId=2', "--ep cuda:1,deviceId=2: 'device_id' is given twice"],
  [
    'cuda:cudnn_conv_algo_search=FAST',
    "--ep cuda:cudnn_conv_algo_search=FAST: 'FAST' is no value of cudnn_conv_algo_search",
  ],
  ['cpu:1', '--ep cpu:1: cpu takes no number of a device'],
  ['webgpu:device_id=1', "--ep webgpu:device_id=1: webgpu has no option 'device_id'"],
])('%s is refused', (text, message) => {
  expect(() => parseProvider(text)).toThrow(new DiffxError('', 2, message, ''));
});

test('without --ep it is the CPU, and the same one twice is one', () => {
  expect(parseProviders(undefined).map(({ text }) => text)).toEqual(['cpu']);
  expect(parseProviders([]).map(({ text }) => text)).toEqual(['cpu']);
  expect(parseProviders('cuda:1').map(({ text }) => text)).toEqual(['cuda:1']);
  expect(parseProviders(['cuda', 'cpu', 'cuda', 'cuda:1']).map(({ text }) => text)).toEqual([
    'cuda',
    'cpu',
    'cuda:1',
  ]);
});

test('options that the binding does not hand on are known', () => {
  expect(notHandedOn(parseProvider('cuda:1,prefer_nhwc=1,use_tf32=0'))).toEqual(['prefer_nhwc']);
  expect(notHandedOn(parseProvider('webgpu:preferred_layout=NHWC'))).toEqual([]);
});

test('TF32 is off for NVIDIA unless it is asked for, and nobody else is concerned', () => {
  const before = process.env['NVIDIA_TF32_OVERRIDE'];
  delete process.env['NVIDIA_TF32_OVERRIDE'];
  const [cuda, asking, webgpu] = [
    parseProvider('cuda'),
    parseProvider('cuda:use_tf32=1'),
    parseProvider('webgpu'),
  ];
  settleTf32([webgpu]);
  settleTf32([asking, webgpu]);
  expect(process.env['NVIDIA_TF32_OVERRIDE']).toBeUndefined();
  expect([usesTf32(asking), usesTf32(webgpu)]).toEqual([true, false]);
  settleTf32([cuda]);
  expect(process.env['NVIDIA_TF32_OVERRIDE']).toBe('0');
  expect(usesTf32(cuda)).toBe(false);
  expect(() => settleTf32([cuda, asking])).toThrow('TF32 is on or off for a whole process');
  if (before === undefined) delete process.env['NVIDIA_TF32_OVERRIDE'];
  else process.env['NVIDIA_TF32_OVERRIDE'] = before;
});

const complete: Machine = {
  platform: 'linux x64',
  hasProviderLibrary: () => true,
  hasLibrary: () => true,
  hasNvidiaDriver: () => true,
  vulkanDrivers: () => 1,
};
const absent = (): boolean => false;
const install = /^node .*onnxruntime-node\/script\/install\.js --onnxruntime-node-install$/;
const cannotOpen = (library: string) =>
  `OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library\n[E:onnxruntime] Failed to load library /n/libonnxruntime_providers_cuda.so with error: ${library}: cannot open shared object file: No such file or directory`;

test.each([
  [
    'cuda',
    cannotOpen('/n/libonnxruntime_providers_shared.so'),
    { hasProviderLibrary: absent },
    'not-installed',
    install,
  ],
  [
    'cuda',
    'Failed to load shared library',
    { hasProviderLibrary: absent, platform: 'darwin arm64' },
    'not-in-build',
    /Linux on x64/,
  ],
  ['cuda', cannotOpen('libcudnn.so.9'), {}, 'library-missing', /cudnn9-cuda-12/],
  ['cuda', cannotOpen('libcublasLt.so.12'), {}, 'library-missing', /libcublas-12/],
  ['tensorrt', cannotOpen('libnvinfer.so.10'), {}, 'library-missing', /libnvinfer10/],
  ['cuda', cannotOpen('libcuda.so.1'), {}, 'driver-missing', /nvidia-driver/],
  [
    'cuda',
    'CUDA failure 100: no CUDA-capable device is detected',
    { hasNvidiaDriver: () => false },
    'driver-missing',
    /nvidia-driver/,
  ],
  [
    'cuda',
    'CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=0',
    {},
    'driver-missing',
    /525/,
  ],
  ['cuda', 'CUDA failure 100: no CUDA-capable device is detected ; GPU=-1', {}, 'no-device', /nvidia-smi/],
  ['cuda:7', 'CUDA failure 101: invalid device ordinal ; GPU=7', {}, 'no-device', /nvidia-smi/],
  ['cuda', 'CUDA failure 2: out of memory ; GPU=0', {}, 'out-of-memory', /memory/],
  ['cuda', 'CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0', {}, 'out-of-memory', /memory/],
  [
    'webgpu',
    'Failed to get a WebGPU adapter: No supported adapters',
    { hasLibrary: () => false },
    'library-missing',
    /libvulkan1/,
  ],
  [
    'webgpu',
    'Failed to get a WebGPU adapter: No supported adapters',
    { vulkanDrivers: () => 0 },
    'driver-missing',
    /mesa-vulkan-drivers/,
  ],
  ['webgpu', 'Failed to get a WebGPU adapter: No supported adapters', {}, 'no-device', /driver/],
  ['webgpu', 'vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY', {}, 'out-of-memory', /memory/],
  ['webgpu', 'the process crashed (SIGSEGV)', {}, 'crash', /driver/],
  ['dml', 'no available backend found. ERR: [dml] backend not found.', {}, 'not-in-build', /Windows/],
  ['webgpu', 'something new\nand more', {}, 'other', /doctor/],
] as const)('%s, %p is recognised', (text, said, machine, kind, remedy) => {
  const problem = recogniseProblem(parseProvider(text).provider, said, { ...complete, ...machine });
  expect(problem.kind).toBe(kind);
  expect(problem.remedy).toMatch(remedy);
  expect(problem.missing).not.toContain('\n');
});

test('a provider is tried by running a node: the CPU ran it, and what cannot start says why', async () => {
  expect(await tryProvider(parseProvider('cpu'))).toEqual({ ranOn: 'CPUExecutionProvider', said: '' });
  expect(await whyUnavailable(parseProvider('cpu'))).toBeUndefined();
  const elsewhere = process.platform === 'darwin' ? 'dml' : 'coreml';
  expect(await whyUnavailable(parseProvider(elsewhere))).toMatchObject({ kind: 'not-in-build' });
});

test('a driver that crashes takes nothing with it', async () => {
  const file = path.join(temporaryFolder(), 'crash.js');
  fs.writeFileSync(file, "process.kill(process.pid, 'SIGSEGV');");
  const before = process.env['NODE_OPTIONS'];
  process.env['NODE_OPTIONS'] = `--require ${file}`;
  try {
    expect((await tryProvider(parseProvider('webgpu'))).said).toBe('the process crashed (SIGSEGV)');
    expect(await whyUnavailable(parseProvider('webgpu'))).toMatchObject({ kind: 'crash' });
  } finally {
    if (before === undefined) delete process.env['NODE_OPTIONS'];
    else process.env['NODE_OPTIONS'] = before;
  }
});
