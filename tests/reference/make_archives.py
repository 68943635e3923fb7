#!/usr/bin/env python3
"""Writes tests/data/archive/: small files of torch.save and TorchScript, and what is in them (expected.json).

Needs torch. Run from anywhere: python3 tests/reference/make_archives.py
"""
import collections
import json
import pathlib
import warnings

import torch

warnings.filterwarnings("ignore")  # TorchScript is deprecated; its archives are still around
folder = pathlib.Path(__file__).resolve().parent.parent / "data" / "archive"
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)

expected = {"torch": torch.__version__, "seed": 0, "files": {}}


def record(file, tensors):
    expected["files"][file] = [
        {
            "name": name,
            "type": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "values": tensor.detach().double().flatten().tolist(),
        }
        for name, tensor in tensors.items()
    ]


def save(name, content, tensors):
    for suffix, zipped in (("zip", True), ("old", False)):
        file = f"{name}.{suffix}.pt"
        torch.save(content, folder / file, _use_new_zipfile_serialization=zipped)
        record(file, tensors)


# Every element type.
numbers = [0.5, -1.5, 3.25, 100, 0, 7]
types = {
    str(t).removeprefix("torch."): torch.tensor(numbers).to(t)
    for t in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
              torch.int8, torch.uint8, torch.bool)
}
types["int64"][0] = -(2**62)
save("types", types, types)

# Views: one storage for several tensors, offsets, strides of every kind.
base = torch.arange(24, dtype=torch.float32)
cube = base.view(2, 3, 4)
views = {
    "whole": base,
    "shared": base,
    "offset": base[5:9],
    "transposed": base.view(4, 6).t(),
    "permuted": cube.permute(2, 0, 1),
    "every_other": base[::2],
    "column": base.view(4, 6)[:, 1],
    "expanded": base[3].expand(2, 5),
    "empty": base[24:],
    "empty2": torch.zeros(0, 3),
    "scalar": torch.tensor(2.5),
    "ones": base[2:5].view(1, 3, 1),
}
save("views", views, views)

# A training checkpoint: things beside the tensors, parameters, metadata.
module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
with torch.no_grad():
    for tensor in module.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape) * 3)
state = module.state_dict()
checkpoint = {
    "epoch": 3,
    "loss": 0.25,
    "big": 2**80,
    "minus": -(2**40),
    "name": "net",
    "flag": True,
    "nothing": None,
    "history": [1.0, [2.0, (3, "x")]],
    "state_dict": state,
    "optimizer": {"state": {0: {"momentum": torch.zeros(2)}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
}
save("checkpoint", checkpoint, state)
save("model", {"model": dict(module.named_parameters()), "args": {"lr": 1}}, dict(module.named_parameters()))
plain = collections.OrderedDict(weight=torch.nn.Parameter(torch.randn(2, 2)))
save("parameter", {**plain, "nested": {"inner": torch.zeros(1)}, 5: torch.zeros(1)}, plain)
torch.save(state, folder / "protocol4.zip.pt", pickle_protocol=4)
record("protocol4.zip.pt", state)

# TorchScript: all modules' tensors by path; code and constants are not read.
class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = module
        self.scale = torch.nn.Parameter(torch.tensor(1.5))
        self.sizes = [1, 2]
        self.register_buffer("positions", torch.arange(6).reshape(3, 2).t())

    def forward(self, x):
        return self.visual(x) * self.scale


for name, script in (
    ("script", torch.jit.script(Outer())),
    ("trace", torch.jit.trace(Outer().eval(), torch.zeros(1, 3, 8, 8))),
):
    script.save(str(folder / f"{name}.pt"))
    record(f"{name}.pt", script.state_dict())

(folder / "expected.json").write_text(json.dumps(expected) + "\n")
