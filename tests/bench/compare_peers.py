#!/usr/bin/env python3
"""Speed beside other engines on the same files and the same threads, and beside what the machine can do.

Ours and each peer run one after the other, round after round, and the machine's limits are measured right before and
after each run of ours: other guests of a host change them by half within seconds. Printed are medians, the ratio of
each round's pair (median, least, most), shares of the mean of the two limits, and whether the bars below are reached.

  cmake --preset release -DSPNL_BENCHMARKS=ON
  cmake --build --preset release --target spnl-host mistralrs kernel_bench gemm_peak
  tests/bench/compare_peers.py --json out.json --chart out.png MODEL.gguf...

Needs the Python package gguf; the chart matplotlib. Peers: llama_cpp (package llama-cpp-python, built for this machine:
pip install --no-binary :all:), mistral_rs (package mistralrs, one sequence only), and any llama-batched-bench of
llama.cpp or a fork: --batched-bench NAME=PROGRAM.
"""
import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BINARIES = HERE.parents[1] / "build/release/bin"


@dataclasses.dataclass
class Case:
    name: str
    prompt: int
    gen: int
    sequences: int
    repeat: int


CASES = [Case("one sequence", 512, 48, 1, 2), Case("8 sequences", 64, 32, 8, 2), Case("long prompt", 4096, 8, 1, 1)]

# Model (part of its file's name), case, part: least ratio to llama_cpp, least share of the limit; None: no bar.
BARS = [
    ("SmolLM2-135M", "one sequence", "prefill", 5.0, 0.50),
    ("gemma-3-270m", "one sequence", "prefill", 2.5, 0.50),
    ("llama-1b-Q4_K_M", "one sequence", "prefill", 2.0, 0.65),
    ("llama-1b-Q8_0", "one sequence", "prefill", 2.5, 0.65),
    ("SmolLM2-135M", "one sequence", "decode", 1.6, 0.75),
    ("gemma-3-270m", "one sequence", "decode", 1.5, 0.80),
    ("llama-1b-Q4_K_M", "one sequence", "decode", 1.0, 0.90),
    ("llama-1b-Q8_0", "one sequence", "decode", 1.0, 0.90),
    ("llama-1b-Q4_K_M", "8 sequences", "decode", 5.0, 0.65),
    ("llama-1b-Q4_K_M", "long prompt", "prefill", 2.0, None),
]
MOST_ATTENTION = ("llama-1b-Q4_K_M", 0.35)  # of the time of the long prompt


def run_json(options, command):
    command = [*options.prefix, *(str(part) for part in command)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)} failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


class Model:
    """What of a file takes part: the matrices of its layers in prefill, the output matrix too in decode."""

    def __init__(self, options, path):
        from gguf import GGUFReader

        self.path, self.name = path.resolve(), path.name.removesuffix(".gguf")
        tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
        layers = [t for name, t in tensors.items() if name.startswith("blk.")]
        output = tensors.get("output.weight", tensors["token_embd.weight"])
        self.layer_products = sum(int(t.n_elements) for t in layers if len(t.shape) > 1)
        self.products = self.layer_products + int(output.n_elements)
        self.bytes = sum(int(t.n_bytes) for t in layers) + int(output.n_bytes)
        facts = run_json(options, [BINARIES / "spnl-host", "inspect", path, "--json"])
        self.kv_bytes, self.window = facts["memory"]["kv_bytes_per_1000_tokens"] / 1000, facts.get("window")

    def step_bytes(self, case):
        """What a decode step must read. Keys and values that windows leave out differ by layer: then none count."""
        depth = case.prompt + case.gen / 2
        kept = 0 if self.window and self.window < case.prompt else self.kv_bytes * depth
        return self.bytes + case.sequences * kept

    def limit(self, part, case, machine):
        """Tokens per second that nothing on this machine can exceed."""
        products = machine["int8_gemm_gmacs"] * 1e9
        if part == "prefill":
            return products / self.layer_products
        return min(products / self.products, case.sequences * machine["read_gbytes"] * 1e9 / self.step_bytes(case))


def machine_now(options):
    return {**run_json(options, [BINARIES / "gemm_peak", options.threads]),
            **run_json(options, [BINARIES / "kernel_bench", options.threads, "", "peaks"])}


def ours(options, model, case):
    return run_json(options, [BINARIES / "spnl-host", "bench", "--json", "--model", f"mistralrs/{model.path}",
                              "--prompt-tokens", case.prompt, "--gen-tokens", case.gen, "--sequences", case.sequences,
                              "--threads", options.threads, "--repeat", case.repeat])


def peer(options, name, model, case):
    program = options.batched_bench.get(name)
    repeat = 1 if name == "mistral_rs" else case.repeat  # a prompt takes it half a minute
    script = ["batched_bench_speed.py", program] if program else [f"{name}_speed.py"]
    return run_json(options, [options.peer_python, HERE / "peers" / script[0], *script[1:], model.path,
                              "--prompt", case.prompt, "--gen", case.gen, "--sequences", case.sequences,
                              "--threads", options.threads, "--repeat", repeat])


def measure(options, model, case):
    peers = [p for p in options.peers if p != "mistral_rs" or (case.sequences == 1 and case.prompt <= 512)]
    rounds = []
    for _ in range(options.rounds):
        before, mine, after = machine_now(options), ours(options, model, case), machine_now(options)
        rounds.append({"machine": {key: (before[key] + after[key]) / 2 for key in before}, "ours": mine,
                       **{p: peer(options, p, model, case) for p in peers}})
    return [row(model, case, part, rounds, peers) for part in ("prefill", "decode")]


def row(model, case, part, rounds, peers):
    rates = {engine: [r[engine][f"{part}_tok_s"] for r in rounds] for engine in ("ours", *peers)}
    shares = [r["ours"][f"{part}_tok_s"] / model.limit(part, case, r["machine"]) for r in rounds]
    result = {"model": model.name, "case": case.name, "part": part, "rates": rates, "shares": shares,
              "ratios": {p: sorted(o / t for o, t in zip(rates["ours"], rates[p])) for p in peers},
              "machine": [r["machine"] for r in rounds],
              "products_per_token": model.layer_products if part == "prefill" else model.products,
              "products_per_byte": products_per_byte(model, case, part)}
    return {**result, "bars": bars_of(result)}


def products_per_byte(model, case, part):
    """Of what must be read: a chunk of up to 512 rows of prompt, or a step, reads each weight once."""
    if part == "prefill":
        return min(case.prompt * case.sequences, 512) * model.layer_products / model.bytes
    return case.sequences * model.products / model.step_bytes(case)


def bars_of(result):
    """(what, bar, reached) of each bar that this row has and this run measured."""
    bars = []
    for model, case, part, ratio, share in BARS:
        if model not in result["model"] or (case, part) != (result["case"], result["part"]):
            continue
        if ratio is not None and "llama_cpp" in result["ratios"]:
            bars.append(("ratio", ratio, statistics.median(result["ratios"]["llama_cpp"]) >= ratio))
        if share is not None:
            bars.append(("share", share, statistics.median(result["shares"]) >= share))
    return bars


def attention_share(rows):
    """Of the long prompt's time, by model, from what each token costs more than in a prompt of 512: the cost grows with
    the tokens before it, and what does not grow is no attention."""
    shares = {}
    for model in dict.fromkeys(r["model"] for r in rows):
        cost = {r["case"]: 1 / statistics.median(r["rates"]["ours"]) for r in rows
                if r["model"] == model and r["part"] == "prefill"}
        if "one sequence" in cost and "long prompt" in cost:
            growth = (cost["long prompt"] - cost["one sequence"]) / (4096 - 512)
            shares[model] = growth * 4096 / cost["long prompt"]
    return shares


def show_header(options):
    print(f"| {'model':26} | {'case':12} | part    | tokens/s | of limit | "
          + " | ".join(f"{'x ' + peer:>22}" for peer in options.peers) + " | bars |")
    print("|" + " --- |" * (6 + len(options.peers)), flush=True)


def show(options, result):
    def ratio(peer):
        values = result["ratios"].get(peer)
        return f"{statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})" if values else ""

    bars = ", ".join(f"{bar:g} x {verdict(reached)}" if what == "ratio" else f"{100 * bar:.0f}% {verdict(reached)}"
                     for what, bar, reached in result["bars"])
    print(f"| {result['model']:26} | {result['case']:12} | {result['part']:7} | "
          f"{statistics.median(result['rates']['ours']):8.1f} | {100 * statistics.median(result['shares']):7.0f}% | "
          + " | ".join(f"{ratio(peer):>22}" for peer in options.peers) + f" | {bars} |", flush=True)


def verdict(reached):
    return "pass" if reached else "FAIL"


def show_attention(shares):
    for model, share in shares.items():
        bar = f", at most {100 * MOST_ATTENTION[1]:.0f}%: {verdict(share <= MOST_ATTENTION[1])}"
        print(f"{model}: attention takes {100 * share:.0f}% of a prompt of 4096"
              + (bar if MOST_ATTENTION[0] in model else ""))


def medians(results, key):
    return statistics.median(m[key] for r in results for m in r["machine"])


def draw(results, path):
    """Products per second over products per byte: each case below the machine's two limits."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    products, reading = medians(results, "int8_gemm_gmacs"), medians(results, "read_gbytes")
    figure, axes = pyplot.subplots(figsize=(9, 6))
    span = [min(r["products_per_byte"] for r in results) / 2, max(r["products_per_byte"] for r in results) * 2]
    edges = sorted([*span, products / reading])
    axes.plot(edges, [min(products, reading * x) for x in edges], "k-", lw=1,
              label=f"{products:.0f} GMAC/s of int8 products, {reading:.0f} GB/s of reading")
    marks = dict(zip(dict.fromkeys(r["model"] for r in results), itertools.cycle("os^Dvp*")))
    engines = list(dict.fromkeys(e for r in results for e in r["rates"]))
    colours = dict(zip(engines, itertools.cycle(("#4477aa", "#cc6644", "#88aa44", "#aa66aa", "#888888"))))
    for result in results:
        for engine, rates in result["rates"].items():
            axes.plot(result["products_per_byte"], statistics.median(rates) * result["products_per_token"] * 1e-9,
                      marks[result["model"]], color=colours[engine], ms=7 if engine == "ours" else 5)
    for model, mark in marks.items():
        axes.plot([], [], mark, color="black", label=model)
    for engine in engines:
        axes.plot([], [], "s", color=colours[engine], label="spnl" if engine == "ours" else engine)
    axes.set(xscale="log", yscale="log", xlabel="multiply-adds per byte that must be read", ylabel="GMAC/s")
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(True, which="both", lw=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--peers", type=lambda text: [p for p in text.split(",") if p], default=["llama_cpp"],
                        help="llama_cpp,mistral_rs or empty")
    parser.add_argument("--batched-bench", action="append", default=[], metavar="NAME=PROGRAM")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=[case.name for case in CASES])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prefix", type=shlex.split, default=[],
                        help="command to run each measurement under: 'chrt -f 1', 'flock FILE'")
    parser.add_argument("--earlier", type=pathlib.Path, nargs="+", default=[], help="what --json wrote: shown again too")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--chart", type=pathlib.Path)
    options = parser.parse_args()
    options.batched_bench = dict(text.split("=", 1) for text in options.batched_bench)
    options.peers += options.batched_bench
    return options


def main():
    options = arguments()
    show_header(options)
    results = [result for path in options.earlier for result in json.loads(path.read_text())["results"]]
    for result in results:
        show(options, result)
    for path in options.models:
        model = Model(options, path)
        for case in CASES:
            if case.name in options.cases:
                results += measure(options, model, case)
                for result in results[-2:]:
                    show(options, result)
    shares = attention_share(results)
    show_attention(shares)
    products, bare, reading = (medians(results, key) for key in ("int8_gemm_gmacs", "int8_gmacs", "read_gbytes"))
    print(f"{options.threads} threads; medians: oneDNN int8 {products:.0f} GMAC/s, bare instructions {bare:.0f} GMAC/s, "
          f"reading {reading:.1f} GB/s")
    if options.json:
        options.json.write_text(json.dumps({"results": results, "attention": shares}, indent=1) + "\n")
    if options.chart:
        draw(results, options.chart)


if __name__ == "__main__":
    main()
