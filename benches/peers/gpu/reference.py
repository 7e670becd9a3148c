"""The definitions, as plain and as exact as possible: f64, for short sequences only."""

import torch
import torch.nn.functional as F

from . import problems


def output(problem, tensors):
    """The first output of the mixer, in f64."""
    x = {name: t.double() for name, t in tensors.items()}
    if problem.mixer in problems.ATTENTION:
        return attention(problem, **x)
    if problem.mixer in problems.RECURRENT:
        return recurrent(problem, **x)
    if problem.mixer == "ssd":
        return ssd(**x)
    if problem.mixer in ("long_conv", "long_conv_gated"):
        return long_conv(**x)
    if problem.mixer == "causal_conv1d":
        return causal_conv1d(**x)
    raise LookupError(f"no reference for {problem.mixer}")


def attention(problem, q, k, v):
    queries, keys, groups = q.shape[2], k.shape[2], q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(groups, 1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    behind = (torch.arange(queries)[:, None] + keys - queries - torch.arange(keys)).to(q.device)
    keep = torch.ones_like(behind, dtype=torch.bool)
    if problem.causal:
        keep &= behind >= 0
    if problem.window is not None:
        keep &= behind <= problem.window
    return scores.masked_fill(~keep, float("-inf")).softmax(-1) @ v


def recurrent(problem, q, k, v, g=None, beta=None):
    heads, steps = q.shape[1], q.shape[2]
    if problem.mixer.startswith("retention"):
        gamma = 1 - torch.exp2(-5 - torch.arange(heads, dtype=torch.float64, device=q.device))
        g = gamma.log()[None, :, None].expand(*q.shape[:3])
    decay = g.exp() if g.dim() == 4 else g.exp()[..., None].expand(*q.shape)
    state = q.new_zeros(*q.shape[:2], q.shape[3], v.shape[3])
    outputs = []
    for t in range(steps):
        state = decay[:, :, t, :, None] * state
        value = v[:, :, t]
        if beta is not None:
            value = beta[:, :, t, None] * (value - torch.einsum("bhk,bhkv->bhv", k[:, :, t], state))
        state = state + k[:, :, t, :, None] * value[:, :, None]
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], state))
    return torch.stack(outputs, 2) * q.shape[-1] ** -0.5


def ssd(x, dt, A, Bt, Ct, z):
    groups = x.shape[1] // Bt.shape[1]
    Bt, Ct = (y.repeat_interleave(groups, 1) for y in (Bt, Ct))
    step = F.softplus(dt)
    state = x.new_zeros(*x.shape[:2], x.shape[3], Bt.shape[3])
    outputs = []
    for t in range(x.shape[2]):
        now = step[:, :, t, None, None]
        state = torch.exp(now * A[:, None, None]) * state + now * x[:, :, t, :, None] * Bt[:, :, t, None]
        outputs.append(torch.einsum("bhn,bhpn->bhp", Ct[:, :, t], state))
    return torch.stack(outputs, 2) * F.silu(z)


def long_conv(u, k, pregate=None, postgate=None):
    x = u if pregate is None else u * pregate
    n = 2 * u.shape[-1]
    y = torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(k, n), n)[..., : u.shape[-1]]
    return y if postgate is None else y * postgate


def causal_conv1d(x, weight):
    width = weight.shape[1]
    padded = F.pad(x, (width - 1, 0))
    return F.silu(F.conv1d(padded, weight[:, None], groups=x.shape[1]))
