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
# The first build takes minutes and shows its progress; later ones speak only of what fails.
verbosity=()
if [[ -e build/$preset/.ninja_log ]]; then
  verbosity=(-- --quiet)
else
  echo "building build/$preset" >&2
fi
cmake --build --preset "$preset" "${targets[@]}" "${verbosity[@]}" | { grep -v '^ninja: no work to do' || true; } >&2
