#!/usr/bin/env bash
# Installs what is missing and builds a preset. usage: build.sh PRESET [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/../.."
preset=$1
shift
packaging/setup/packages.sh
if [[ $preset == release || $preset == dev ]]; then
  SPNL_LIBTORCH=$(packaging/setup/libtorch.sh)
  export SPNL_LIBTORCH
fi
if [[ ! -e build/$preset/build.ninja ]]; then
  echo "configuring build/$preset" >&2
  log=$(cmake --preset "$preset" 2>&1) || { echo "$log" >&2; exit 1; }
fi
targets=()
(($#)) && targets=(--target "$@")
build=(cmake --build --preset "$preset" "${targets[@]}")
# Looking for new files in globbed folders is a step of each build; only other steps are worth showing.
if "${build[@]}" -- -n 2>/dev/null | grep '^\[' | grep -qv 'Re-checking globbed'; then
  echo "building build/$preset" >&2
  "${build[@]}" >&2
else
  log=$("${build[@]}" 2>&1) || { echo "$log" >&2; exit 1; }
fi
