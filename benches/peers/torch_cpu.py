#!/usr/bin/env python3
"""The problems of benches/run.sh in PyTorch on the CPU, one thread.

Prints a table and, with --append FILE, adds JSON lines of the same kind as `mixc bench --append`.
Needs torch; nothing else in the project does.
"""

import argparse
import datetime
import json
import platform
import statistics
import time

import torch
import torch.nn.functional as F

HEADS, TIME, KEY, VALUE = 8, 4096, 64, 64


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator)


def attention(causal):
    q, k, v = (normal(1, HEADS, TIME, KEY, seed=n) for n in range(3))
    # Work that a mask makes unnecessary is not counted.
    flops = 4 * HEADS * TIME * TIME * KEY * (0.5 if causal else 1.0)
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal), flops


def chunkwise(decay, chunk=64):
    """Linear attention with a scalar decay for each step, by chunks (Dao & Gu 2024, listing 1)."""
    q, k, v = (normal(1, HEADS, TIME, KEY, seed=n) for n in range(3))
    g = F.logsigmoid(normal(1, HEADS, TIME, seed=3)) if decay else torch.zeros(1, HEADS, TIME)
    parts = TIME // chunk
    flops = 2 * HEADS * TIME * chunk * (KEY + VALUE) + 4 * HEADS * TIME * KEY * VALUE

    def run():
        qc, kc, vc = (x.view(1, HEADS, parts, chunk, -1) for x in (q, k, v))
        total = g.view(1, HEADS, parts, chunk).cumsum(-1)
        mask = (total[..., :, None] - total[..., None, :]).exp().tril()
        inside = ((qc @ kc.transpose(-1, -2)) * mask) @ vc
        added = (kc * (total[..., -1:] - total).exp()[..., None]).transpose(-1, -2) @ vc
        kept = total[..., -1].exp()[..., None, None]
        state = torch.zeros(1, HEADS, KEY, VALUE)
        before = []
        for part in range(parts):
            before.append(state)
            state = kept[:, :, part] * state + added[:, :, part]
        across = (qc * total.exp()[..., None]) @ torch.stack(before, 2)
        return (inside + across).view(1, HEADS, TIME, VALUE), state

    return run, flops


def stepwise():
    """Linear attention as a loop over time, one step after the other."""
    q, k, v = (normal(1, HEADS, TIME, KEY, seed=n) for n in range(3))

    def run():
        state = torch.zeros(1, HEADS, KEY, VALUE)
        out = torch.empty(1, HEADS, TIME, VALUE)
        for t in range(TIME):
            state = state + k[:, :, t, :, None] * v[:, :, t, None, :]
            out[:, :, t] = (q[:, :, t, :, None] * state).sum(-2)
        return out, state

    return run, 4 * HEADS * TIME * KEY * VALUE


def measure(run, samples):
    run()
    times = []
    for _ in range(samples):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--append")
    parser.add_argument("--samples", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    attention_shape = {"B": 1, "H": HEADS, "I": TIME, "J": TIME, "D": KEY, "E": VALUE}
    recurrence_shape = {"B": 1, "H": HEADS, "T": TIME, "K": KEY, "V": VALUE}
    problems = [
        ("attention_causal", "sdpa", attention_shape, attention(True)),
        ("attention_full", "sdpa", attention_shape, attention(False)),
        ("linear_attention_scan", "chunkwise", recurrence_shape, chunkwise(False)),
        ("linear_attention_scan", "stepwise", recurrence_shape, stepwise()),
        ("simple_gla", "chunkwise", recurrence_shape, chunkwise(True)),
    ]
    for mixer, form, shape, (run, flops) in problems:
        seconds = measure(run, options.samples)
        row = {
            "mixer": mixer,
            "form": f"torch {torch.__version__} {form}",
            "shape": shape,
            "target": "cpu",
            "dtype": "f32",
            "median_ms": seconds * 1e3,
            "gflops": flops / seconds / 1e9,
            "threads": 1,
            "machine": platform.processor() or platform.machine(),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        }
        print(f"{mixer:24} {form:10} {row['median_ms']:10.2f} ms {row['gflops']:8.2f} GFLOP/s")
        if options.append:
            with open(options.append, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
