#!/usr/bin/env bash
# The tests of what depends on the execution provider, on WebGPU. Uses the Vulkan driver that is there, else a software
# driver from Debian packages; where neither can be had, says why and succeeds. Arguments go to jest; without any, all of
# these tests run.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

starts() { node dist/src/cli/main.js doctor --ep webgpu --quiet > /dev/null 2>&1; }

if ! starts; then
  if ! variables=$(test/webgpu/software-driver.sh 2> >(cat >&2)); then
    echo 'webgpu: not tested, since there is no Vulkan driver'
    exit 0
  fi
  eval "$variables"
  if ! starts; then
    echo "webgpu: not tested: $(node dist/src/cli/main.js doctor --ep webgpu --quiet 2>&1 | grep -m 1 '^error:')"
    exit 0
  fi
fi
if [ $# = 0 ]; then set -- test/verify/second-provider test/verify/elsewhere test/verify/mutations; fi
DIFFX_TEST_EP=webgpu npx jest "$@"
status=$?
if [ "$status" = 0 ]; then echo 'webgpu: tested'; else echo 'webgpu: tested, with failures'; fi
exit "$status"
