#!/usr/bin/env bash
# From a fresh clone to an answer: installs what is missing, builds, installs the default model, runs a query.
# usage: ./quickstart.sh ['QUERY' | --build-only]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
default_query='(generate (model "mistralrs/smollm2:135m") (max-tokens 40) (temperature 0)
  (input "What is the capital of France?"))'

"$here/packaging/setup/build.sh" release spnl_host mistralrs cpu_ref
[[ ${1:-} == --build-only ]] && exit 0
python3 "$here/packaging/setup/default_model.py"
exec "$here/build/release/bin/spnl-host" -c "${1:-$default_query}"
