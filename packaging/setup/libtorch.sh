#!/usr/bin/env bash
# Provides libtorch from the PyPI wheel in a folder shared by all clones, unless SPNL_LIBTORCH names the user's own.
# The wheel serves as libtorch; of its dependencies a CPU program needs only the CUDA runtime and CUPTI libraries.
# Prints the folder.
set -euo pipefail

if [[ -n ${SPNL_LIBTORCH:-} ]]; then
  echo "$SPNL_LIBTORCH"
  exit 0
fi
version=2.11.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/spnl
folder=$cache/libtorch-$version
mkdir -p "$cache"
exec 9>"$cache/libtorch.lock"
flock 9  # two first builds at once must not fill one folder
if [[ ! -e $folder/complete ]]; then
  echo "installing libtorch $version into $folder (0.6 GB to download, once)" >&2
  rm -rf "$folder"
  python3 -m venv "$folder" >&2
  "$folder/bin/python" -m pip install --quiet --no-deps --no-cache-dir --disable-pip-version-check \
    "torch==$version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 >&2
  touch "$folder/complete"
fi
echo "$folder"
