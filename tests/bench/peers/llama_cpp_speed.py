#!/usr/bin/env python3
"""Speed of llama.cpp on a GGUF, through the low-level interface of the package llama-cpp-python.

Prints one line of JSON with the keys of `spnl-host bench --json`. Prompts are synthetic; a first round warms up; the
median round counts. Decode steps carry all sequences at once: the rate is their sum.
"""
import argparse
import ctypes
import json
import os
import statistics
import time

import llama_cpp as llama


class Context:
    """One model and its context; times batches of (token, position, sequence, wants logits)."""

    def __init__(self, options):
        self.quiet = llama.llama_log_callback(lambda level, text, data: None)
        llama.llama_log_set(self.quiet, ctypes.c_void_p(0))
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(options.model.encode(), llama.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"cannot load {options.model}")
        params = llama.llama_context_default_params()
        params.n_ctx = options.sequences * (options.prompt + options.gen + 32)
        params.n_batch = max(512, options.prompt)
        params.n_threads = params.n_threads_batch = options.threads
        params.n_seq_max = options.sequences
        self.context = llama.llama_init_from_model(self.model, params)
        self.batch = llama.llama_batch_init(params.n_batch, 0, options.sequences)
        self.vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))

    def clear(self):
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)

    def seconds(self, rows):
        self.batch.n_tokens = len(rows)
        for i, (token, position, sequence, logits) in enumerate(rows):
            self.batch.token[i], self.batch.pos[i], self.batch.logits[i] = token, position, logits
            self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, sequence
        begin = time.perf_counter()
        if llama.llama_decode(self.context, self.batch):
            raise SystemExit("llama_decode failed")
        llama.llama_synchronize(self.context)
        return time.perf_counter() - begin


def measure(context, options):
    token = lambda n: 256 + 7919 * n % (context.vocab - 512)
    context.clear()
    prefill = sum(
        context.seconds([(token(i + s), i, s, i + 1 == options.prompt) for i in range(options.prompt)])
        for s in range(options.sequences))
    decode = sum(
        context.seconds([(token(g + s), options.prompt + g, s, True) for s in range(options.sequences)])
        for g in range(options.gen))
    return options.sequences * options.prompt / prefill, options.sequences * options.gen / decode


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    for name, value in (("prompt", 512), ("gen", 128), ("threads", os.cpu_count()), ("repeat", 3), ("sequences", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    context = Context(options)
    rounds = [measure(context, options) for _ in range(options.repeat + 1)][1:]
    print(json.dumps({"engine": f"llama.cpp (llama-cpp-python {llama.__version__})",
                      "prefill_tok_s": round(statistics.median(r[0] for r in rounds), 1),
                      "decode_tok_s": round(statistics.median(r[1] for r in rounds), 1)}))


if __name__ == "__main__":
    main()
