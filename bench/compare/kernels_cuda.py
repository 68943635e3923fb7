"""Kernels, losses and a step of training on a GPU against PyTorch on the same GPU, eager and, where that takes little to
compile, compiled: python3 bench/compare/kernels_cuda.py --bin build/gpu_check/bin

Needs torch, and cuda_bench in --bin. Every case of cuda_bench that is named here has a peer which computes the same of
inputs of the same shape and dtype. All are timed by the GPU's clock, cuda_bench before PyTorch and again after; printed are
median microseconds, and for losses how much memory they take beside their inputs. That both compute the same is shown by
tests, not here."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import torch
import torch._functorch.config
from torch.nn import functional as F

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reference"))
from training import Head, soft_target_loss  # noqa: E402

DEVICE, ELEMENTS, ROWS, ROUNDS = "cuda", 1 << 27, 1 << 15, 21


def random(*shape, dtype=torch.bfloat16, grad=False):
    return torch.randn(shape, dtype=dtype, device=DEVICE).requires_grad_(grad)


def forward(op, *shape):
    x = random(*shape)
    return lambda: op(x)


def backward(op, *shape):
    x, dy = random(*shape, grad=True), random(*shape)
    y = op(x)
    return lambda: torch.autograd.grad(y, x, dy, retain_graph=True)


def layer_norm_backward(op, *shape):  # with the gradients of scale and shift, which forward cannot do without either
    x, dy, w, b = random(*shape, grad=True), random(*shape), random(shape[1], grad=True), random(shape[1], grad=True)
    y = op(x, w, b)
    return lambda: torch.autograd.grad(y, (x, w, b), dy, retain_graph=True)


def head(op, size):
    x, dy = random(ROWS, size), random(ROWS, 256)
    model = Head(size, 0.1).to(DEVICE, torch.bfloat16)
    run = op(model)

    def step():
        run(x).backward(dy)
        model.zero_grad()
    return step


def loss(op, n, d):
    text, image = (F.normalize(random(n, d)).requires_grad_() for _ in range(2))

    def step():
        op(text, image).backward()
        text.grad = image.grad = None
    return step


def info_nce(text, image):
    logits = (14.3 * text @ image.T).float()
    target = torch.arange(len(text), device=text.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def siglip(text, image):
    logits = (10 * text @ image.T).float() - 10
    return -F.logsigmoid(logits * (2 * torch.eye(len(text), device=text.device) - 1)).sum() / len(text)


def soft_targets(text, image):
    logits = (text @ image.T).float()
    targets = (((image @ image.T).float() + (text @ text.T).float()) / 2).softmax(-1)
    texts, images = -targets * logits.log_softmax(-1), -targets.T * logits.T.log_softmax(-1)
    return (texts.sum(1) + images.sum(1)).mean() / 2


def step(op):
    heads = torch.nn.ModuleDict({"text": Head(768, 0.1), "image": Head(2048, 0.1)}).to(DEVICE)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-3, weight_decay=1e-3, fused=True)
    text, image = random(32, 768, dtype=torch.float32), random(32, 2048, dtype=torch.float32)
    run = op(lambda t, v: soft_target_loss(heads["text"](t), heads["image"](v)))

    def train():
        optimizer.zero_grad()
        run(text, image).backward()
        optimizer.step()
    return train


def cases():
    """Of cuda_bench's name: a function of `op`, which compiles or does not, that gives the peer; whether to compile."""
    def layer_norm(x, *weights):
        return F.layer_norm(x, x.shape[1:], *weights)

    def softmax(x):
        return x.softmax(-1)

    found = {}
    for cols in (256, 1024, 4096):
        shape, compiled = (ELEMENTS // cols, cols), cols == 1024
        w = random(2, cols)
        found[f"layer_norm_forward<bf16>/{cols}"] = (
            lambda op, s=shape, w=w: forward(op(lambda x: layer_norm(x, w[0], w[1])), *s), compiled)
        found[f"layer_norm_backward<bf16>/{cols}"] = (lambda op, s=shape: layer_norm_backward(op(layer_norm), *s), compiled)
        found[f"softmax_forward<bf16>/{cols}"] = (lambda op, s=shape: forward(op(softmax), *s), compiled)
        found[f"softmax_backward<bf16>/{cols}"] = (lambda op, s=shape: backward(op(softmax), *s), compiled)
    found["gelu_forward<bf16>"] = (lambda op: forward(op(F.gelu), ELEMENTS), True)
    found["gelu_backward<bf16>"] = (lambda op: backward(op(F.gelu), ELEMENTS), True)
    for size in (768, 2048):
        found[f"projection_head<bf16>/in:{size}/out:256"] = (lambda op, s=size: head(op, s), True)
    for d in (256, 512):
        found[f"info_nce<bf16>/n:{ROWS}/d:{d}"] = (lambda op, d=d: loss(op(info_nce), ROWS, d), False)
        found[f"siglip<bf16>/n:{ROWS}/d:{d}"] = (lambda op, d=d: loss(op(siglip), ROWS, d), False)
        found[f"soft_targets<bf16, false>/n:{ROWS}/d:{d}"] = (lambda op, d=d: loss(op(soft_targets), ROWS, d), False)
    found["head_training_step/batch:32"] = (step, True)
    return found


def ours(binary, names):
    """Median microseconds and peak bytes by name, of those that cuda_bench has; what failed there is only said."""
    only = "^(" + "|".join(names) + ")/"
    out = subprocess.run([binary / "cuda_bench", f"--benchmark_filter={only}", "--benchmark_format=json"], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    times = {}
    for run in json.loads(out)["benchmarks"]:
        name = run["run_name"].split("/iterations")[0]
        if run.get("error_occurred"):
            print(f"{name}: ours FAILED: {run['error_message']}")
        else:
            times[name] = run["median_us"], run.get("peak_bytes", 0)
    return times


def measure(work):
    """Median microseconds, and peak bytes beside what was there."""
    for _ in range(3):
        work()
    torch.cuda.reset_peak_memory_stats()
    before, times = torch.cuda.memory_allocated(), []
    for _ in range(ROUNDS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(1e3 * begin.elapsed_time(end))
    return statistics.median(times), torch.cuda.max_memory_allocated() - before


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/cuda/bin")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    args = parser.parse_args()
    torch._functorch.config.donated_buffer = False  # backward of one graph runs many times
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    names = {name: case for name, case in cases().items() if args.only in name}
    before = ours(args.bin, names)
    if not before:
        sys.exit("ours FAILED: none of the cases ran")
    for name, (mine, memory) in before.items():
        make, compiled = names[name]
        line = f"{name}: ours {mine:.1f} us"
        for how, op in {"eager": lambda f: f, "compiled": torch.compile}.items():
            if how == "eager" or compiled:
                try:
                    time, peak = measure(make(op))
                    line += f", torch {how} {time:.1f} ({time / mine:.2f}x"
                    line += f", {peak / 1e6:.0f} MB, {peak / max(memory, 1):.0f}x)" if "/n:" in name else ")"
                except torch.OutOfMemoryError:
                    line += f", torch {how} out of memory"
                torch.cuda.empty_cache()
        print(line, flush=True)
    after = ours(args.bin, before)
    again = [after[name][0] / before[name][0] for name in after]
    print(f"ours again, over the first time: {min(again):.2f} to {max(again):.2f}")


if __name__ == "__main__":
    main()
