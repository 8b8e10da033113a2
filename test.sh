#!/usr/bin/env bash
# Installs what is missing, builds and runs every test: which room includes which, all but libtorch's part under the
# address sanitizer, core under the thread sanitizer, and everything in the release build.
# usage: ./test.sh [PRESET...]   default: release asan tsan
set -euo pipefail
cd "$(dirname "$0")"
presets=("$@")
((${#presets[@]})) || presets=(asan tsan release)

python3 tools/check_rooms.py
python3 tools/check_docs.py
for preset in "${presets[@]}"; do
  case $preset in
    # The thread sanitizer is for what has threads of its own and no libtorch.
    tsan) packaging/setup/build.sh tsan core_tests && ctest --preset tsan --tests-regex '^core_' ;;
    *) packaging/setup/build.sh "$preset" && ctest --preset "$preset" --parallel 2 ;;
  esac
done
