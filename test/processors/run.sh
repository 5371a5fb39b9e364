#!/usr/bin/env bash
# The tests of what depends on the processor, as other processors: ONNX Runtime has kernels of integers for each, and some of
# them saturate. qemu-user runs Node as each of DIFFX_PROCESSORS, names as `qemu-x86_64 -cpu help` lists them. Default:
# Haswell (AVX2, neither AVX-512 nor VNNI) and Nehalem (SSE4.2, no AVX). Arguments go to jest; without any, the tests of
# quantized models run. Slow: minutes for each processor. What a test starts in a process of its own runs as this processor.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

skip() {
  echo "processors: not tested: $1"
  exit 0
}

[ "$(uname -m)" = x86_64 ] || skip "$(uname -m)"
command -v qemu-x86_64 > /dev/null || skip qemu-user

node=$(node --print process.execPath) || exit 1
if [ $# = 0 ]; then set -- test/verify/optimizations; fi
status=0
for processor in ${DIFFX_PROCESSORS:-Haswell Nehalem}; do
  # Code that V8 compiles has to be translated again and again.
  qemu-x86_64 -cpu "$processor" "$node" --no-opt --no-sparkplug node_modules/jest/bin/jest.js \
    --runInBand --testTimeout=3600000 "$@" 2> >(grep --invert-match "TCG doesn't support" >&2)
  this=$?
  if [ "$this" = 0 ]; then echo "processors: $processor: tested"; else echo "processors: $processor: tested, with failures"; fi
  [ "$this" = 0 ] || status=1
done
exit "$status"
