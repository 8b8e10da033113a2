#!/usr/bin/env python3
"""Time from starting `spnl-host generate` to its first token and to its end, with the files in the page cache and out of it.

  tests/bench/cold_start.py MODEL.gguf [--runs 9]

Out of the cache: what the program has mapped is dropped first, as far as no other process has it mapped.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import time

BINARY = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin/spnl-host"


def run(model):
    """(seconds to the first token, seconds to the end, files mapped at the first token)"""
    begin = time.perf_counter()
    command = [BINARY, "generate", "-m", f"mistralrs/{model.resolve()}", "--temperature", "0", "--max-tokens", "4", "Hi"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        if not os.read(process.stdout.fileno(), 1):
            raise SystemExit("no token came")
        first = time.perf_counter() - begin
        maps = pathlib.Path(f"/proc/{process.pid}/maps").read_text()
        process.stdout.read()
    files = {line.split(maxsplit=5)[5] for line in maps.splitlines() if line.count("/") and "/dev/" not in line}
    return first, time.perf_counter() - begin, files


def drop(files):
    for file in filter(os.path.isfile, files):
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    files = run(options.model)[2] | {str(options.model.resolve())}
    for name in ("in the page cache", "out of it"):
        times = []
        for _ in range(options.runs):
            if name == "out of it":
                drop(files)
            times.append(run(options.model)[:2])
        for what, values in zip(("first token", "end"), zip(*times)):
            print(f"{name:18} {what:12} median {statistics.median(values):.3f} s ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
