#!/usr/bin/env bash
# The tests of what a person sees in a browser. `npm test` runs them where a Chromium is there; this installs Debian's
# where it is not and apt can, and runs them then. Where there is none to be had, says so and succeeds. Arguments go to jest.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

there() { [ -n "${DIFFX_CHROMIUM:-}" ] || command -v chromium chromium-browser google-chrome > /dev/null; }

if there; then
  if [ "${1:-}" = --unless-there ]; then echo 'browser: tested with the others'; exit 0; fi
elif [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo 'browser: not tested, since there is no Chromium and no way to install one'
  exit 0
else
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if ! { timeout 180 apt-get -q update && timeout 300 apt-get -q -y --no-install-recommends install chromium; } > "$log" 2>&1 || ! there; then
    echo "browser: not tested, since Chromium cannot be installed: $(grep -m 1 -E '^(E|Err):?' "$log" || tail -n 1 "$log")"
    exit 0
  fi
fi
[ "${1:-}" = --unless-there ] && shift
npx jest test/browser "$@"
status=$?
if [ "$status" = 0 ]; then echo 'browser: tested'; else echo 'browser: tested, with failures'; fi
exit "$status"
