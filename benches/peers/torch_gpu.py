#!/usr/bin/env python3
"""Other people's kernels on an NVIDIA GPU: PyTorch's attention with its flash and cuDNN back ends, FlashAttention,
flash-linear-attention, FlashQLA, FlashInfer, mamba-ssm, FlashFFTConv, causal-conv1d.

    torch_gpu.py [--bundle X.mixb [--runner PATH]] [--out results.json] [--filter REGEX] [--samples N]

Without a bundle the problems are the published shapes in gpu/problems.py. With one they are its cases, on the very
inputs if the path of mixc-runner is given, or else on inputs of the same kind. Each peer is first compared
with the definition on a short sequence; what is wrong there is not timed. Rows have the form of `mixc-runner --out`.
A peer that is not installed, or cannot do a problem, is listed with the reason. Exit codes: 0 done, 1 a peer is
wrong, 3 no CUDA card or no torch.
"""

import argparse
import re
import sys

from gpu import problems, results

NAMES = ("torch", "flash_attn", "flash_attn_interface", "fla", "flash_qla", "flashinfer", "mamba_ssm",
         "flashfftconv", "causal_conv1d")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle")
    parser.add_argument("--runner", metavar="PATH")
    parser.add_argument("--out")
    parser.add_argument("--filter", default="", metavar="REGEX")
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--list", action="store_true", help="print the problems and stop")
    parser.add_argument("--check-only", action="store_true", help="compare with the definitions, time nothing")
    parser.add_argument("--device", default="cuda", help="cpu only with --check-only")
    options = parser.parse_args()
    chosen = problems.from_bundle(options.bundle) if options.bundle else problems.targets()
    chosen = [p for p in chosen if re.search(options.filter, str(p))]
    if options.list:
        print("\n".join(map(str, chosen)))
        return 0
    try:
        import torch
    except ImportError as error:
        return nothing(options, f"torch cannot be imported: {error}")
    if options.device != "cpu" and not torch.cuda.is_available():
        return nothing(options, "torch sees no CUDA card")
    return compare(options, chosen, torch)


def nothing(options, reason):
    """No card or no torch: every peer is missing."""
    print(f"torch_gpu.py: {reason}", file=sys.stderr)
    if options.out:
        device = {"name": "none", "cc": "", "memory_bytes": 0}
        results.write(options.out, device, [], [{"name": name, "reason": reason} for name in NAMES])
    return 3


def describe(torch, name):
    if name == "cpu":
        return {"name": "cpu", "cc": "", "memory_bytes": 0}, "cpu"
    card = torch.cuda.get_device_properties(name)
    return {
        "name": card.name,
        "cc": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
        "sms": card.multi_processor_count,
        "memory_bytes": card.total_memory,
        "l2_bytes": card.L2_cache_size,
    }, f"sm_{card.major}{card.minor}"


def compare(options, chosen, torch):
    from gpu import peers

    device, target = describe(torch, options.device)
    rows, missing, versions = [], [], {}
    for name in dict.fromkeys(peer.package for peer in peers.PEERS):
        try:
            versions[name] = next(p for p in peers.PEERS if p.package == name).version()
        except Exception as error:
            missing.append({"name": name, "reason": f"{type(error).__name__}: {error}"})
            print(f"missing: {name}: {error}", file=sys.stderr)
    for problem in chosen:
        known = [p for p in peers.PEERS if problem.mixer in p.mixers]
        if not known:
            missing.append({"name": str(problem), "reason": "no peer for this mixer is known here"})
        for peer in known:
            if problem.direction not in peer.directions:
                missing.append({"name": f"{peer.name}: {problem}", "reason": f"no {problem.direction} pass"})
            elif peer.package in versions:
                form = f"{peer.package} {versions[peer.package]} {peer.name}"
                rows.append(one(options, problem, peer, form, target))
                print(line(problem, peer, rows[-1]), file=sys.stderr)
                if options.out:
                    results.write(options.out, device, rows, missing)
    if options.out:
        results.write(options.out, device, rows, missing)
    return 1 if any(row["status"] == "wrong" for row in rows) else 0


def one(options, problem, peer, form, target):
    """A row, whatever happens."""
    import torch

    from gpu import inputs, measure

    try:
        error = measure.error_on_small(problem, peer, options.device)
        if not error <= measure.TOLERANCE[problem.dtype]:
            return results.row(problem, form, target, "wrong", rel_err=error, error="wrong on a short sequence")
        if options.check_only:
            return results.row(problem, form, target, "ok", rel_err=error)
        if options.runner and problem.case is not None:
            tensors = inputs.dumped(problem, options.bundle, options.runner, options.device)
        else:
            tensors = inputs.make(problem, options.device)
        timing, graph = measure.time(problem, peer, tensors, options.device, options.samples)
        rates = results.rates(problem, timing["median_us"])
        row = results.row(problem, form, target, "ok", rel_err=error, **timing, **rates)
        row["label"]["params"]["cuda_graph"] = graph
        return row
    except NotImplementedError as error:
        return results.row(problem, form, target, "unsupported", error=str(error))
    except Exception as error:  # A peer may raise anything; it must not end the run.
        return results.row(problem, form, target, "failed", error=f"{type(error).__name__}: {error}"[:2000])
    finally:
        if options.device != "cpu":
            torch.cuda.empty_cache()


def line(problem, peer, row):
    words = [f"{problem}: {peer.name}: {row['status']}"]
    if row.get("rel_err") is not None:
        words.append(f"(relative error {row['rel_err']:.2e})")
    if "median_us" in row:
        words.append(f"{row['median_us']:.2f} us")
    if row.get("tflops"):
        words.append(f"{row['tflops']:.1f} TFLOP/s")
    if row.get("error"):
        words.append(row["error"].splitlines()[0])
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(main())
