#!/usr/bin/env python3
"""Checks what libraries export and need. usage: tools/check_symbols.py BUILD_FOLDER

Backends export their entry symbol and nothing else; libspnl and the host need nothing of libtorch, CUDA or OpenMP."""
import pathlib
import re
import subprocess
import sys

ENTRY = "spnl_backend_v1"
FOREIGN = re.compile(r"^(_ZNK?(2at|3c10|5torch)|GOMP_|omp_|cuda)")


def symbols(library, *options):
    out = subprocess.run(["nm", "-D", *options, library], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines() if line.strip()}


def main():
    build = pathlib.Path(sys.argv[1])
    backends = sorted((build / "lib/spnl/backends").glob("*.so"))
    problems = [] if backends else [f"{build}: no backends are built"]
    for backend in backends:
        exported = symbols(backend, "--defined-only")
        if exported != {ENTRY}:
            problems.append(f"{backend}: exports {', '.join(sorted(exported ^ {ENTRY}))}")
    for program in (build / "lib/libspnl.so", build / "bin/spnl-host", build / "lib/spnl/backends/cpu_ref.so"):
        foreign = sorted(name for name in symbols(program, "--undefined-only") if FOREIGN.match(name))
        if foreign:
            problems.append(f"{program}: needs {', '.join(foreign)}")
    print("\n".join(problems) if problems else f"symbols: {len(backends)} backends export {ENTRY} alone")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
