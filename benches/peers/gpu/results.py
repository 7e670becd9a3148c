"""Rows and files of the kind that `mixc-runner` writes (crates/mixc-launch/src/results.rs). Needs no torch."""

import datetime
import json
import math
import os

VERSION = 1


def quantile(ordered, q):
    """By linear interpolation between the neighbours in rank (Hyndman & Fan 1996, type 7)."""
    rank = q * (len(ordered) - 1)
    below, above = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    return below + (above - below) * (rank - math.floor(rank))


def timing(samples, runs_per_sample=1):
    """Statistics of samples in microseconds."""
    ordered = sorted(samples)
    median = quantile(ordered, 0.5)
    return {
        "median_us": median,
        "p10_us": quantile(ordered, 0.1),
        "p90_us": quantile(ordered, 0.9),
        "mad_us": quantile(sorted(abs(s - median) for s in samples), 0.5),
        "samples": len(samples),
        "runs_per_sample": runs_per_sample,
    }


def row(problem, form, target, status, **more):
    """One peer on one problem; `status` is ok, wrong, failed, unsupported or unverified."""
    label = {
        "mixer": problem.mixer,
        "form": form,
        "target": target,
        "dtype": problem.dtype,
        "shape": problem.shape,
        "params": {**problem.params, "direction": problem.direction},
        "version": "",
        "definition": "",
    }
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in more.items()}
    return {"label": label, "ok": status == "ok", "status": status, **finite}


def rates(problem, us):
    """TFLOP/s and GB/s where the problem's work is known."""
    rate = lambda count, unit: count / (us * 1e-6) / unit if count and us > 0 else None
    return {"tflops": rate(problem.flops(), 1e12), "gbps": rate(problem.bytes(), 1e9)}


def write(path, device, rows, missing):
    """Writes what there is so far, in one step."""
    results = {
        "version": VERSION,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "device": device,
        "rows": rows,
        "missing": missing,
    }
    part = f"{path}.part{os.getpid()}"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(results, file, indent=2)
        file.write("\n")
    os.replace(part, path)
