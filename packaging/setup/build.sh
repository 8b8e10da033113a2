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
if ! cmake --build --preset "$preset" "${targets[@]}" -- -n 2>/dev/null | grep -q 'no work to do'; then
  echo "building build/$preset" >&2
  cmake --build --preset "$preset" "${targets[@]}" >&2
fi
