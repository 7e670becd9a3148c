"""Tensors for problems, in the axis order of the definitions."""

import os
import subprocess
import tempfile

import torch

from . import problems

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "f64": torch.float64}
STORED = {**DTYPES, "i32": torch.int32, "i64": torch.int64, "bool": torch.bool}


def shapes(problem):
    """The inputs of a mixer by name, with their shapes."""
    s, mixer = problem.shape, problem.mixer
    if mixer in problems.ATTENTION:
        q, k = (s["B"], s["H"], s["I"], s["D"]), (s["B"], s["G"], s["J"], s["D"])
        return {"q": q, "k": k, "v": (*k[:3], s["E"])}
    if mixer in problems.RECURRENT:
        row = (s["B"], s["H"], s["T"])
        found = {"q": (*row, s["K"]), "k": (*row, s["K"]), "v": (*row, s["V"])}
        if mixer in ("simple_gla", "gated_delta_rule"):
            found["g"] = row
        if mixer == "gla":
            found["g"] = (*row, s["K"])
        if mixer == "gated_delta_rule":
            found["beta"] = row
        return found
    if mixer == "ssd":
        x, group = (s["B"], s["H"], s["L"], s["P"]), (s["B"], s["G"], s["L"], s["N"])
        return {"x": x, "dt": x[:3], "A": (s["H"],), "Bt": group, "Ct": group, "z": x}
    if mixer in ("long_conv", "long_conv_gated"):
        u = (s["B"], s["H"], s["L"])
        gates = {"pregate": u, "postgate": u} if mixer == "long_conv_gated" else {}
        return {"u": u, "k": u[1:], **gates}
    if mixer == "causal_conv1d":
        return {"x": (s["B"], s["D"], s["T"]), "weight": (s["D"], s["W"])}
    raise LookupError(f"no inputs are known for {mixer}")


def make(problem, device, seed=1):
    """Normal values, inside the ranges that the definition declares."""
    tensors = {}
    for number, (name, shape) in enumerate(shapes(problem).items()):
        generator = torch.Generator(device).manual_seed(seed + number)
        x = torch.randn(shape, generator=generator, device=device)
        if name == "g":
            x = torch.nn.functional.logsigmoid(x + 3)
        elif name == "beta":
            x = torch.sigmoid(x)
        elif name == "A":
            x = -x.abs()
        elif name == "dt":
            x = x - 2
        elif name == "k" and problem.mixer == "gated_delta_rule":
            x = torch.nn.functional.normalize(x, dim=-1)
        elif name == "k" and problem.mixer.startswith("long_conv"):
            x = x / problem.shape["L"] ** 0.5
        # Gates are kept in f32 by all kernels.
        exact = name in ("g", "A", "dt") or (name == "k" and problem.mixer.startswith("long_conv"))
        tensors[name] = x if exact else x.to(DTYPES[problem.dtype])
    return tensors


def dumped(problem, bundle, runner, device):
    """The inputs of a case of a bundle, as mixc-runner makes them."""
    buffers = {b["name"]: b for b in problems.manifest(bundle)["cases"][problem.case]["buffers"]}
    tensors = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([runner, bundle, "--dump-inputs", folder, "--case", str(problem.case)], check=True)
        folder = os.path.join(folder, str(problem.case))
        for file_name in os.listdir(folder):
            spec = buffers[file_name.removesuffix(".bin")]
            with open(os.path.join(folder, file_name), "rb") as file:
                flat = torch.frombuffer(bytearray(file.read()), dtype=STORED[spec["dtype"]])
            shape = spec["shape"]
            tensor = flat.as_strided(shape, spec["strides"]) if spec.get("strides") else flat.view(shape)
            tensors[spec["name"]] = tensor.to(device)
    wanted = shapes(problem)
    for name, shape in wanted.items():
        if name not in tensors or tuple(tensors[name].shape) != tuple(shape):
            raise LookupError(f"case {problem.case} has no dumped input '{name}' of shape {tuple(shape)}")
    return {name: tensors[name] for name in wanted}
