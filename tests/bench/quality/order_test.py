#!/usr/bin/env python3
"""usage: order_test.py QUALITY_BENCH: whether the default model shows the order of span modes that docs/spans.md states; exit
code 77 where that model is not installed (packaging/setup/default_model.py)."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "packaging/setup"))
sys.dont_write_bytecode = True
import default_model  # noqa: E402

models = sorted((default_model.cache_folder() / default_model.REPOSITORY).glob("snapshots/*/*.gguf"))
if not models:
    print("skipped: the default model is not installed")
    sys.exit(77)
sys.exit(subprocess.run([sys.argv[1], models[0], "--order"]).returncode)
