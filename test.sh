#!/usr/bin/env bash
# Installs what is missing, builds and runs every test: which room includes which, all but libtorch's part under the
# address sanitizer, core under the thread sanitizer, and everything in the release build.
# usage: ./test.sh [PRESET...]   default: asan tsan release
set -euo pipefail
cd "$(dirname "$0")"
presets=("$@")
((${#presets[@]})) || presets=(asan tsan release)

packaging/setup/packages.sh
python3 tools/check_rooms.py
python3 tools/check_docs.py
for preset in "${presets[@]}"; do
  targets=() only=()
  if [[ $preset == tsan ]]; then
    targets=(core_tests) only=(--tests-regex '^core_')  # what has threads of its own and no libtorch
  fi
  packaging/setup/build.sh "$preset" "${targets[@]}"
  if [[ $preset == release ]]; then
    python3 packaging/setup/default_model.py # the quality of span modes is tested on it
    python3 tools/check_symbols.py build/release
  fi
  ctest --preset "$preset" --parallel 2 "${only[@]}"
done
