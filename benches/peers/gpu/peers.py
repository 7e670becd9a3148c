"""Calls of other people's kernels.

Each entry takes a problem and its inputs in the axis order of the definitions, brings them into the order that the
kernel wants, outside of the measured time, and returns a `Call`.
"""

import contextlib
import dataclasses
import importlib
import importlib.metadata
import inspect
import os

import torch
import torch.nn.functional as F

from . import problems

# Where FlashQLA is installed, flash-linear-attention would call it; it is a peer of its own here.
os.environ["FLA_FLASH_QLA"] = "0"


@dataclasses.dataclass
class Call:
    """`run` gives the output in the kernel's order of axes and `back` brings that, and gradients, into ours."""

    run: object
    leaves: dict
    back: object


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    package: str
    mixers: tuple
    make: object
    directions: tuple = ("forward", "backward")

    def version(self):
        """Of the package; an error says why it cannot be used."""
        importlib.import_module(self.package)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(self.package.replace("_", "-"))
        return getattr(importlib.import_module(self.package), "__version__", "?")


def leaves(problem, tensors):
    """Tensors that gradients can be asked of."""
    if problem.direction == "backward":
        return {n: t.detach().requires_grad_(t.is_floating_point()) for n, t in tensors.items()}
    return tensors


def time_first(tensors):
    """[B, H, T, ...] to [B, T, H, ...]."""
    return {n: t.transpose(1, 2).contiguous() if t.dim() > 2 else t for n, t in tensors.items()}


def swap(x):
    return x.transpose(1, 2) if x.dim() > 2 else x


def same(x):
    return x


# Softmax attention


def sdpa(backend):
    def make(problem, tensors):
        from torch.nn.attention import SDPBackend, sdpa_kernel

        if problem.window is not None:
            raise NotImplementedError("scaled_dot_product_attention has no window")
        x = leaves(problem, tensors)
        queries, keys = x["q"].shape[2], x["k"].shape[2]
        # A single query is the last position and sees every key.
        causal = problem.causal and queries > 1
        if causal and queries != keys:
            raise NotImplementedError("is_causal aligns the first query with the first key")
        grouped = x["q"].shape[1] != x["k"].shape[1]

        def run():
            with sdpa_kernel(getattr(SDPBackend, backend)):
                return F.scaled_dot_product_attention(
                    x["q"], x["k"], x["v"], is_causal=causal, enable_gqa=grouped
                )

        return Call(run, x, same)

    return make


def flash_attention(package):
    def make(problem, tensors):
        function = importlib.import_module(package).flash_attn_func
        x = leaves(problem, time_first(tensors))
        window = (-1, -1) if problem.window is None else (problem.window, 0 if problem.causal else -1)

        def run():
            out = function(x["q"], x["k"], x["v"], causal=problem.causal, window_size=window)
            return out[0] if isinstance(out, tuple) else out

        return Call(run, x, swap)

    return make


# Linear recurrences


def fla(module, function):
    def make(problem, tensors):
        chosen = getattr(importlib.import_module(module), function)
        x = leaves(problem, time_first(tensors))
        options = dict(x)
        # Older releases take heads before time unless told otherwise.
        if "head_first" in inspect.signature(chosen).parameters:
            options["head_first"] = False
        return Call(lambda: chosen(**options)[0], x, swap)

    return make


def flash_qla(problem, tensors):
    import flash_qla as package

    x = leaves(problem, time_first(tensors))
    return Call(lambda: package.chunk_gated_delta_rule(**x)[0], x, swap)


def flashinfer(problem, tensors):
    from flashinfer.gdn_prefill import chunk_gated_delta_rule

    batch, time = tensors["q"].shape[0], tensors["q"].shape[2]
    x = {n: t.flatten(0, 1) for n, t in time_first(tensors).items()}
    # It takes the decay itself.
    x["g"], x["beta"] = x["g"].exp(), x["beta"].float()
    ends = torch.arange(batch + 1, device=x["q"].device) * time
    scale = x["q"].shape[-1] ** -0.5

    def run():
        out = chunk_gated_delta_rule(**x, scale=scale, cu_seqlens=ends)
        return out[0] if isinstance(out, tuple) else out

    return Call(run, x, lambda o: o.unflatten(0, (batch, time)).transpose(1, 2))


def mamba(problem, tensors):
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    x = leaves(problem, time_first(tensors))
    # A decay per head is one-dimensional and stays as it is.
    arguments = (x["x"], x["dt"], x["A"], x["Bt"], x["Ct"])
    return Call(lambda: mamba_chunk_scan_combined(*arguments, chunk_size=256, z=x["z"], dt_softplus=True), x, swap)


# Convolutions


def torch_fft(problem, tensors):
    x = leaves(problem, tensors)
    n = 2 * x["u"].shape[-1]

    def run():
        u = x["u"] * x["pregate"] if "pregate" in x else x["u"]
        y = torch.fft.irfft(torch.fft.rfft(u.float(), n) * torch.fft.rfft(x["k"], n), n)[..., : n // 2]
        y = y.to(u.dtype)
        return y * x["postgate"] if "postgate" in x else y

    return Call(run, x, same)


def flash_fft_conv(problem, tensors):
    from flashfftconv import FlashFFTConv

    x = leaves(problem, tensors)
    convolve = FlashFFTConv(2 * x["u"].shape[-1], dtype=x["u"].dtype).to(x["u"].device)
    gates = (x["pregate"], x["postgate"]) if "pregate" in x else ()
    return Call(lambda: convolve(x["u"], x["k"], *gates), x, same)


def short_conv(problem, tensors):
    from causal_conv1d import causal_conv1d_fn

    x = leaves(problem, tensors)
    return Call(lambda: causal_conv1d_fn(x["x"], x["weight"], activation="silu"), x, same)


def torch_conv(problem, tensors):
    x = leaves(problem, tensors)
    width = x["weight"].shape[1]

    def run():
        return F.silu(F.conv1d(F.pad(x["x"], (width - 1, 0)), x["weight"][:, None], groups=x["x"].shape[1]))

    return Call(run, x, same)


CONV = ("long_conv", "long_conv_gated")
PEERS = [
    Peer("sdpa flash", "torch", problems.ATTENTION, sdpa("FLASH_ATTENTION")),
    Peer("sdpa cudnn", "torch", problems.ATTENTION, sdpa("CUDNN_ATTENTION")),
    Peer("flash-attention 2", "flash_attn", problems.ATTENTION, flash_attention("flash_attn")),
    Peer("flash-attention 3", "flash_attn_interface", problems.ATTENTION, flash_attention("flash_attn_interface")),
    Peer("fla chunk", "fla", ("retention", "retention_scan"), fla("fla.ops.retention", "chunk_retention")),
    Peer("fla parallel", "fla", ("retention",), fla("fla.ops.retention", "parallel_retention")),
    Peer("fla chunk", "fla", ("simple_gla",), fla("fla.ops.simple_gla", "chunk_simple_gla")),
    Peer("fla chunk", "fla", ("gla",), fla("fla.ops.gla", "chunk_gla")),
    Peer("fla chunk", "fla", ("gated_delta_rule",), fla("fla.ops.gated_delta_rule", "chunk_gated_delta_rule")),
    Peer("FlashQLA", "flash_qla", ("gated_delta_rule",), flash_qla),
    Peer("FlashInfer", "flashinfer", ("gated_delta_rule",), flashinfer, ("forward",)),
    Peer("mamba-ssm", "mamba_ssm", ("ssd",), mamba),
    Peer("fft", "torch", CONV, torch_fft),
    Peer("FlashFFTConv", "flashfftconv", CONV, flash_fft_conv),
    Peer("conv1d", "torch", ("causal_conv1d",), torch_conv),
    Peer("causal-conv1d", "causal_conv1d", ("causal_conv1d",), short_conv),
]
