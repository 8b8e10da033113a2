#!/usr/bin/env bash
# Installs the Debian packages that building needs, when one is missing. Quick when all are there.
set -euo pipefail

packages=(
  cmake ninja-build ccache g++ pkg-config python3-venv
  libboost-dev libboost-filesystem-dev libboost-program-options-dev libboost-test-dev
  libpcre2-dev rapidjson-dev libedit-dev libyaml-cpp-dev
)
missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [[ $status == "install ok installed" ]] || missing+=("$package")
done
((${#missing[@]} == 0)) && exit 0

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "error: need root to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
