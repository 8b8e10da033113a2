#!/usr/bin/env python3
"""Speed of a llama.cpp or a fork of it on a GGUF, through its own program llama-batched-bench.

Prints one line of JSON as llama_cpp_speed.py does. The prompts of all sequences are evaluated together, then each decode
step carries all sequences; a first round warms up, the median round counts.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile


def rows_of(options):
    """(prefill, decode) tokens per second of each round."""
    rounds = options.repeat + 1
    context = options.sequences * (options.prompt + options.gen) + 64
    command = [options.program.resolve(), "-m", options.model.resolve(), "-c", context, "-t", options.threads,
               "-npp", ",".join([str(options.prompt)] * rounds), "-ntg", options.gen, "-npl", options.sequences]
    with tempfile.TemporaryDirectory() as folder:  # it leaves a log where it runs
        done = subprocess.run([str(part) for part in command], cwd=folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
    cells = [line.strip("|").split("|") for line in done.stdout.splitlines() if line.startswith("|")]
    rows = [(float(c[5]), float(c[7])) for c in cells if len(c) >= 8 and c[0].strip().isdigit()]
    if done.returncode or len(rows) != rounds:
        raise SystemExit(f"{options.program} failed: {done.stdout.strip()[-300:]}")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    for name, value in (("prompt", 512), ("gen", 128), ("threads", os.cpu_count()), ("repeat", 3), ("sequences", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    rows = rows_of(options)[1:]
    print(json.dumps({"engine": options.program.name, "prefill_tok_s": round(statistics.median(r[0] for r in rows), 1),
                      "decode_tok_s": round(statistics.median(r[1] for r in rows), 1)}))


if __name__ == "__main__":
    main()
