#!/usr/bin/env python3
"""Results of mixc-runner beside those of torch_gpu.py, as a table in Markdown.

    compare.py RESULTS.json [RESULTS.peers.json]

One row for each problem and set of kernels. Attention is counted as the field counts it: two products over the pairs
that the mask leaves, 2 (D + E) operations each; other mixers show times only. The ratio is the fastest peer's time over
ours: above 1 is ahead.
"""

import argparse
import json
import re

from gpu import problems


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def problem(label):
    scalars = {k: v for k, v in label.get("params", {}).items() if k in ("causal", "window_left", "window_right")}
    return problems.Problem(label["mixer"], label["shape"], scalars, label["dtype"])


def key(label):
    # A window of the definition is a parameter of ours and no part of a peer's label.
    return label["mixer"], json.dumps(label["shape"], sort_keys=True), label["dtype"]


def rate(label, micros):
    one = problem(label)
    if one.mixer not in problems.ATTENTION:
        return ""
    return f"{one.flops() / micros / 1e6:.0f}"


def sizes(label):
    return " ".join(f"{name}{size}" for name, size in sorted(label["shape"].items()))


def peers_of(rows):
    """The times of peers by problem."""
    found = {}
    for row in rows:
        if row["ok"] and row.get("median_us"):
            name = re.sub(r"^\S+ \S+ ", "", row["label"]["form"])
            found.setdefault(key(row["label"]), {})[name] = row["median_us"]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results")
    parser.add_argument("peers", nargs="?")
    options = parser.parse_args()
    results = load(options.results)
    peers = peers_of(load(options.peers)["rows"]) if options.peers else {}
    device = results["device"]
    print(f"{device['name']}, driver {device['driver']}, {results['date']}\n")
    print("| mixer | sizes | target | form | us | TFLOP/s | peers, us | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for row in results["rows"]:
        label, micros = row["label"], row.get("median_us")
        # Cases that verify others have outputs of their own, and are no problems to time.
        if not micros or row.get("rel_err") is not None:
            continue
        other = peers.get(key(label), {})
        named = ", ".join(f"{name} {us:.0f}" for name, us in sorted(other.items(), key=lambda p: p[1]))
        ratio = f"{min(other.values()) / micros:.2f}" if other else ""
        cells = [label["mixer"], sizes(label), label["target"], label["form"], f"{micros:.0f}", rate(label, micros)]
        print("| " + " | ".join([*cells, named, ratio]) + " |")


if __name__ == "__main__":
    main()
