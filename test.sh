#!/usr/bin/env bash
# Installs what is missing, builds and runs every test: the release build, core, sdk and cpu_ref under the address
# and the thread sanitizer, the includes that rooms may make, and the symbols that libraries export.
# usage: ./test.sh [PRESET...]   default: release asan tsan
set -euo pipefail
cd "$(dirname "$0")"
presets=("$@")
((${#presets[@]})) || presets=(asan tsan release)

python3 tools/check_rooms.py
for preset in "${presets[@]}"; do
  packaging/setup/build.sh "$preset"
  [[ $preset == release ]] && python3 packaging/setup/default_model.py
  ctest --preset "$preset" --parallel 2
done
