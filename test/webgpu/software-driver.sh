#!/usr/bin/env bash
# A Vulkan driver that needs no GPU (Mesa's lavapipe), so that ONNX Runtime's WebGPU provider runs anywhere.
#
#   eval "$(test/webgpu/software-driver.sh)"          # then DIFFX_TEST_EP=webgpu npx jest test/verify
#
# Debian packages are unpacked into a folder (DIFFX_VULKAN_FOLDER, else ~/.cache/diffx-vulkan); nothing is installed and
# root is not needed. Prints the two variables that a process needs to find the driver. Where it cannot be had (no apt,
# no network), it says why in one line on standard error and exits 1. Debian 12's own Mesa 22 does not work with WebGPU:
# there, backports are read.
set -euo pipefail

folder=${DIFFX_VULKAN_FOLDER:-${XDG_CACHE_HOME:-$HOME/.cache}/diffx-vulkan}
ready=$folder/ready
fail() { echo "no software Vulkan driver: $1" >&2; exit 1; }

variables() {
  local libraries icd
  libraries=$(dirname "$(find "$folder/root" -name 'libvulkan.so.1' | head -n 1)")
  icd=$(find "$folder/root" -name 'lvp_icd*.json' | head -n 1)
  echo "export VK_ICD_FILENAMES='$icd'"
  echo "export LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
}

if [ -f "$ready" ]; then variables; exit 0; fi
command -v apt-get > /dev/null && command -v dpkg-deb > /dev/null || fail 'apt-get and dpkg-deb are not here'

rm -rf "$folder"
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/root" || fail "$folder cannot be written"
options=(-q -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o Debug::NoLocking=true
  -o Acquire::Retries=0 -o Acquire::http::Timeout=15 -o APT::Sandbox::User=root)
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
if [ "$release" = bookworm ]; then
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  for suite in bookworm bookworm-backports; do
    echo "deb [signed-by=$key] http://deb.debian.org/debian $suite main"
  done > "$folder/sources.list"
  options+=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=- -t bookworm-backports)
fi
log=$folder/log
timeout 180 apt-get "${options[@]}" -o APT::Update::Error-Mode=any update > "$log" 2>&1 \
  || fail "apt-get update: $(grep -m 1 -E '^(E|Err):?' "$log" || echo 'took too long')"
timeout 300 apt-get "${options[@]}" --no-install-recommends --download-only --reinstall --assume-yes install \
  mesa-vulkan-drivers libvulkan1 > "$log" 2>&1 \
  || fail "apt-get install: $(grep -m 1 -E '^(E|Err):?' "$log" || echo 'took too long')"
for package in "$folder"/cache/archives/*.deb; do
  case $(basename "$package") in
    libc6_* | libgcc-s1_* | libstdc++6_*) ;; # Node's own must stay.
    *) dpkg-deb -x "$package" "$folder/root" || fail "$package cannot be unpacked" ;;
  esac
done
# The driver is named by its full path: it does not lie where the loader looks.
library=$(find "$folder/root" -name 'libvulkan_lvp.so' | head -n 1)
[ -n "$library" ] || fail 'the package of Mesa has no lavapipe'
find "$folder/root" -name 'lvp_icd*.json' -exec \
  sed -i "s|\"library_path\": *\"[^\"]*\"|\"library_path\": \"$library\"|" {} +
rm -rf "$folder/cache" "$folder/lists"
touch "$ready"
variables
