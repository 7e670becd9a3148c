"""Judging and timing a peer, in the way of crates/mixc-cuda/src/timing.rs: cold caches, events, medians."""

import contextlib

import torch

from . import inputs, reference, results

MAX_COPIES = 64
SAMPLE_US = 100.0
WARMUP_US = 50_000.0
# Relative error of the norm that rounding to the element type explains.
TOLERANCE = {"bf16": 2e-2, "f16": 5e-3, "f32": 2e-3}


def thunk(problem, call):
    """What is run once: the forward pass, or the backward pass of one that was run before."""
    if problem.direction == "forward":

        def forward():
            with torch.no_grad():
                return call.run()

        return forward
    out = call.run()
    wanted = [x for x in call.leaves.values() if x.requires_grad]
    cotangent = torch.randn(out.shape, generator=torch.Generator(out.device).manual_seed(9), device=out.device)
    cotangent = cotangent.to(out.dtype)
    return lambda: torch.autograd.grad(out, wanted, cotangent, retain_graph=True)


def error_on_small(problem, peer, device):
    """Relative error of the peer's output, or of the worst gradient, on a short sequence."""
    small = problem.small()
    tensors = inputs.make(small, device)
    call = peer.make(small, tensors)
    if problem.direction == "forward":
        with torch.no_grad():
            return relative(call.back(call.run()), reference.output(small, tensors))
    leaves = {n: t.detach().double().requires_grad_() for n, t in tensors.items()}
    wanted = reference.output(small, leaves)
    out = call.run()
    generator = torch.Generator(device).manual_seed(9)
    cotangent = torch.randn(out.shape, generator=generator, device=device).to(out.dtype)
    names = [n for n, x in call.leaves.items() if x.requires_grad]
    found = torch.autograd.grad(out, [call.leaves[n] for n in names], cotangent)
    exact = torch.autograd.grad(wanted, [leaves[n] for n in names], call.back(cotangent).double())
    return max(relative(call.back(f), e) for f, e in zip(found, exact))


def relative(found, exact):
    return ((found.double() - exact).norm() / exact.norm()).item()


def copies_of(tensors, l2_bytes, device):
    """Sets of inputs that together exceed twice the cache, as far as memory allows."""
    one = sum(t.numel() * t.element_size() for t in tensors.values())
    wanted = min(2 * l2_bytes // max(one, 1) + 2, MAX_COPIES)
    free = torch.cuda.mem_get_info(device)[0]
    # Outputs and intermediate results need room too.
    possible = 1 + int(free * 0.8) // max(6 * one, 1)
    count = max(1, min(wanted, possible))
    copies = [tensors] + [{n: t.clone() for n, t in tensors.items()} for _ in range(count - 1)]
    return copies, count * one > 2 * l2_bytes


def captured(run):
    """A CUDA graph of one run, so that the host's time is not measured; None if it cannot be captured."""
    with contextlib.suppress(Exception):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = run()
        graph.replay()
        torch.cuda.synchronize()
        # The graph writes into these results whenever it is replayed.
        graph.kept = kept
        return graph
    torch.cuda.synchronize()
    return None


def elapsed_us(runs):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for run in runs:
        run()
    end.record()
    return start, end


def time(problem, peer, tensors, device, samples):
    """Statistics, and whether graphs were replayed."""
    l2_bytes = torch.cuda.get_device_properties(device).L2_cache_size
    sets, cold = copies_of(tensors, l2_bytes, device)
    runs = [thunk(problem, peer.make(problem, copy)) for copy in sets]
    for run in runs:
        run()
    torch.cuda.synchronize()
    graphs = [captured(run) for run in runs]
    replayed = all(graphs)
    if replayed:
        runs = [graph.replay for graph in graphs]
    flush = None if cold else torch.empty(2 * l2_bytes, dtype=torch.int8, device=device)

    batch, total, run_us = 1, 0.0, 0.0
    while total < WARMUP_US:
        start, end = elapsed_us(runs[n % len(runs)] for n in range(batch))
        torch.cuda.synchronize()
        us = start.elapsed_time(end) * 1e3
        run_us, total, batch = us / batch, total + us, min(batch * 2, 100_000)
    group = max(1, min(len(runs), round(SAMPLE_US / max(run_us, 0.01))))

    events, turn = [], 0
    for _ in range(samples):
        if flush is not None:
            flush.zero_()
        events.append(elapsed_us(runs[(turn + n) % len(runs)] for n in range(group)))
        turn += group
    torch.cuda.synchronize()
    us = [start.elapsed_time(end) * 1e3 / group for start, end in events]
    return results.timing(us, group), replayed
