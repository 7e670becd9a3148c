"""What is measured: the published shapes of other people's kernels, or the cases of a bundle. Needs no torch."""

import dataclasses
import json
import zipfile

ATTENTION = ("attention_causal", "attention_full", "attention_window", "softmax_attention")
RECURRENT = ("retention", "retention_scan", "simple_gla", "gla", "gated_delta_rule")
DTYPE_BYTES = {"f64": 8, "f32": 4, "bf16": 2, "f16": 2, "i64": 8, "i32": 4, "bool": 1}


@dataclasses.dataclass(frozen=True)
class Problem:
    """Sizes by the axis letters of the definition in ir/; `case` is the number of a bundle's case."""

    mixer: str
    shape: dict
    params: dict = dataclasses.field(default_factory=dict)
    dtype: str = "bf16"
    direction: str = "forward"
    case: int | None = None
    counts: dict | None = None

    @property
    def causal(self):
        right = self.params.get("window_right", 0 if self.mixer == "attention_window" else -1)
        if right > 0:
            raise NotImplementedError("no peer here sees keys ahead up to a limit")
        return self.mixer == "attention_causal" or bool(self.params.get("causal", 0)) or right == 0

    @property
    def window(self):
        """Keys that a query sees behind its own; None without a limit."""
        left = self.params.get("window_left")
        return None if left is None or left < 0 else left

    def pairs(self):
        """Pairs of a query and a key that it sees."""
        queries, keys = self.shape["I"], self.shape["J"]
        offset = keys - queries
        if not self.causal and self.window is None:
            return queries * keys
        reach = keys if self.window is None else self.window
        return sum(min(i + offset, reach) + 1 for i in range(queries) if i + offset >= 0)

    def flops(self):
        """Work as the definition counts it; a multiply-add is two. None where no common count exists."""
        if self.counts is not None and self.direction == "forward":
            return self.counts["flops"]
        if self.mixer not in ATTENTION:
            return None
        s = self.shape
        forward = 2 * s["B"] * s["H"] * self.pairs() * (s["D"] + s["E"])
        # Five products against two (Dao 2023, arXiv 2307.08691).
        return forward if self.direction == "forward" else forward * 5 // 2

    def bytes(self):
        """Inputs read once and outputs written once; known for cases of a bundle only."""
        return self.counts["bytes"] if self.counts is not None and self.direction == "forward" else None

    def small(self):
        """The same problem with a short sequence, for a reference to judge."""
        short = {}
        for axis in ("T", "I", "J", "L"):
            if axis in self.shape:
                short[axis] = min(self.shape[axis], 256)
        params = dict(self.params)
        if self.window is not None:
            params["window_left"] = min(self.window, 100)
        shape = {**self.shape, **short, "B": 1}
        return dataclasses.replace(self, shape=shape, params=params, case=None, counts=None)

    def __str__(self):
        sizes = ",".join(f"{k}={v}" for k, v in self.shape.items())
        return f"{self.mixer} {self.direction} {self.dtype} {sizes}"


def attention(mixer, b, h, g, t, d, direction="forward", **params):
    shape = {"B": b, "H": h, "G": g, "I": t, "J": t, "D": d, "E": d}
    return Problem(mixer, shape, params, direction=direction)


def recurrent(mixer, b, t, h, d, direction="forward"):
    return Problem(mixer, {"B": b, "H": h, "T": t, "K": d, "V": d}, direction=direction)


def targets():
    """Shapes for which fast kernels have been published."""
    both = ("forward", "backward")
    found = []
    for direction in both:
        found += [attention("attention_causal", 1, 64, 8, t, 128, direction) for t in (2048, 8192, 32768)]
        found.append(attention("attention_causal", 1, 16, 16, 8192, 128, direction))
        found.append(attention("attention_window", 2, 64, 8, 32768, 64, direction, window_left=1023))
    found.append(attention("attention_full", 1, 16, 16, 8192, 128))
    # Published figures are for 16 heads of queries and keys that the 32 heads of values share. The definition has as
    # many of each, so all kernels read more here.
    for direction, sizes in (("forward", ((1, 32768), (1, 8192), (8, 4096))), ("backward", ((1, 32768), (1, 8192)))):
        found += [recurrent("gated_delta_rule", b, t, 32, 128, direction) for b, t in sizes]
    for mixer in ("retention", "simple_gla", "gla"):
        found += [recurrent(mixer, 8, 4096, 16, 128), recurrent(mixer, 1, 32768, 32, 128)]
    found.append(Problem("ssd", {"B": 8, "H": 80, "G": 1, "L": 32768, "P": 64, "N": 128}))
    for length in (1024, 4096, 8192, 32768):
        found.append(Problem("long_conv_gated", {"B": 64, "H": 768, "L": length}))
    found.append(Problem("causal_conv1d", {"B": 16, "D": 2048, "T": 4096, "W": 5}))
    return found


def manifest(path):
    """`bundle.json` of a bundle."""
    with zipfile.ZipFile(path) as bundle:
        return json.loads(bundle.read("bundle.json"))


def from_bundle(path):
    """One problem for each mixer, shape, element type and direction of a bundle, whatever the form."""
    found = {}
    for number, case in enumerate(manifest(path)["cases"]):
        label, params = case["label"], case["label"].get("params", {})
        scalars = {k: v for k, v in params.items() if k in ("causal", "window_left", "window_right")}
        direction = params.get("direction", "forward")
        key = json.dumps([label["mixer"], label["shape"], label["dtype"], scalars, direction], sort_keys=True)
        if key not in found:
            sizes, dtype, counts = label["shape"], label["dtype"], case["counts"]
            found[key] = Problem(label["mixer"], sizes, scalars, dtype, direction, number, counts)
    return list(found.values())
