#!/usr/bin/env python3
"""Speed of mistral.rs on a GGUF, through the package mistralrs; prints one line of JSON as llama_cpp_speed.py does.

The rates are what the engine itself reports; it takes text, so the prompt is near the wanted length, not exact. One
sequence only.
"""
import argparse
import json
import os
import pathlib
import statistics

from mistralrs import CompletionRequest, Runner, Which


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    for name, value in (("prompt", 512), ("gen", 128), ("threads", os.cpu_count()), ("repeat", 3), ("sequences", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    if options.sequences != 1:
        raise SystemExit("one sequence only")
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)
    runner = Runner(which=Which.GGUF(quantized_model_id=str(options.model.parent),
                                     quantized_filename=options.model.name))
    rounds = []
    for number in range(options.repeat + 1):
        prompt = f"{number} " + "and so on " * (options.prompt // 3)  # another start: no cached prefix
        usage = runner.send_completion_request(
            CompletionRequest(model="default", prompt=prompt, max_tokens=options.gen, temperature=0.0)).usage
        rounds.append((usage.avg_prompt_tok_per_sec, usage.avg_compl_tok_per_sec))
    print(json.dumps({"engine": "mistral.rs", "prefill_tok_s": round(statistics.median(r[0] for r in rounds[1:]), 1),
                      "decode_tok_s": round(statistics.median(r[1] for r in rounds[1:]), 1)}))


if __name__ == "__main__":
    main()
