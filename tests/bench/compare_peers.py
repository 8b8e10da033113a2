#!/usr/bin/env python3
"""Speed beside other engines on the same files and the same threads, and beside what the machine can do.

Ours and each peer run one after the other, round after round, so that whatever else the machine does meets all alike.
Printed are medians, the ratio of each round's pair (median, least, most), and shares of two limits measured in the same
run: int8 multiply-adds of oneDNN's matrix product for prefill, reading memory for decode.

  cmake --preset release -DSPNL_BENCHMARKS=ON && cmake --build --preset release --target spnl-host kernel_bench gemm_peak
  tests/bench/compare_peers.py --peer-python VENV/bin/python --json out.json --chart out.png MODEL.gguf...

VENV: a virtual environment with llama-cpp-python (built for this machine: pip install --no-binary :all:), and mistralrs
where that is wanted (--peers llama_cpp,mistral_rs). The chart needs matplotlib.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BINARIES = HERE.parents[1] / "build/release/bin"
# name, prompt, new tokens, sequences
CASES = [("one sequence", 512, 48, 1), ("8 sequences", 64, 32, 8), ("long prompt", 4096, 8, 1)]


def run_json(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure_limits(threads):
    return {**run_json([BINARIES / "gemm_peak", threads]), **run_json([BINARIES / "kernel_bench", threads, "", "peaks"])}


class Case:
    def __init__(self, options, model, name, prompt, gen, sequences):
        self.options, self.model, self.name = options, model, name
        self.prompt, self.gen, self.sequences = prompt, gen, sequences
        self.facts = run_json([BINARIES / "spnl-host", "inspect", model, "--json"])

    def ours(self):
        return run_json([BINARIES / "spnl-host", "bench", "--json", "--model", f"mistralrs/{self.model.resolve()}",
                         "--prompt-tokens", self.prompt, "--gen-tokens", self.gen, "--sequences", self.sequences,
                         "--threads", self.options.threads, "--repeat", 2])

    def peer(self, name):
        return run_json([self.options.peer_python, HERE / f"peers/{name}_speed.py", self.model, "--prompt", self.prompt,
                         "--gen", self.gen, "--sequences", self.sequences, "--threads", self.options.threads,
                         "--repeat", 2])

    def measure(self, limits):
        peers = [p for p in self.options.peers if self.sequences == 1 or p != "mistral_rs"]
        rounds = [{"ours": self.ours(), **{p: self.peer(p) for p in peers}} for _ in range(self.options.rounds)]
        result = {"model": self.model.name, "case": self.name, "rates": {}, "ratios": {}, "shares": {}}
        for part in ("prefill", "decode"):
            rates = {e: [r[e][f"{part}_tok_s"] for r in rounds] for e in ("ours", *peers)}
            result["rates"][part] = {e: statistics.median(values) for e, values in rates.items()}
            result["ratios"][part] = {p: sorted(o / t for o, t in zip(rates["ours"], rates[p])) for p in peers}
            result["shares"][part] = result["rates"][part]["ours"] / self.limit(part, limits)
        return result

    def limit(self, part, limits):
        """Tokens per second that nothing on this machine can exceed."""
        products = limits["int8_gemm_gmacs"] * 1e9 / self.facts["parameters"]
        if part == "prefill":
            return products
        reading = limits["read_gbytes"] * 1e9 / self.facts["memory"]["weights_bytes"]
        return min(products, self.sequences * reading)


def show(result):
    for part in ("prefill", "decode"):
        rates, ratios = result["rates"][part], result["ratios"][part]
        beside = "; ".join(f"{peer} {rates[peer]:.1f}: {statistics.median(r):.2f} x ({r[0]:.2f} to {r[-1]:.2f})"
                           for peer, r in ratios.items())
        print(f"{result['model']:36} {result['case']:13} {part:8} {rates['ours']:8.1f} tokens/s, "
              f"{100 * result['shares'][part]:3.0f}% of the limit; {beside}", flush=True)


def draw(results, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars = [(f"{r['model'].removesuffix('.gguf')}\n{r['case']}, {part}", 100 * r["shares"][part],
             {p: 100 * r["shares"][part] * rate / r["rates"][part]["ours"]
              for p, rate in r["rates"][part].items() if p != "ours"})
            for r in results for part in ("prefill", "decode")]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.45 * len(bars)))
    places = range(len(bars))
    axes.barh(places, [share for _, share, _ in bars], height=0.6, color="#4477aa", label="spnl")
    for name, mark in (("llama_cpp", "o"), ("mistral_rs", "s")):
        points = [(at, bar[2][name]) for at, bar in zip(places, bars) if name in bar[2]]
        if points:
            axes.plot([x for _, x in points], [at for at, _ in points], mark, color="#cc6644", label=name)
    axes.set_yticks(list(places), [label for label, _, _ in bars], fontsize=7)
    axes.set_xlabel("% of what the machine's int8 products (prefill) or memory (decode) allow")
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--peers", type=lambda text: text.split(","), default=["llama_cpp"])
    parser.add_argument("--cases", type=lambda text: text.split(","), default=[name for name, *_ in CASES])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--chart", type=pathlib.Path)
    options = parser.parse_args()
    limits = measure_limits(options.threads)
    print(f"{options.threads} threads; oneDNN int8 {limits['int8_gemm_gmacs']} GMAC/s, "
          f"bare instructions {limits['int8_gmacs']} GMAC/s, memory {limits['read_gbytes']} GB/s", flush=True)
    results = []
    for model in options.models:
        for name, *shape in CASES:
            if name not in options.cases:
                continue
            results.append(Case(options, model, name, *shape).measure(limits))
            show(results[-1])
    if options.json:
        options.json.write_text(json.dumps({"limits": limits, "results": results}, indent=1) + "\n")
    if options.chart:
        draw(results, options.chart)


if __name__ == "__main__":
    main()
