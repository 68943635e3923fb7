"""The soft-target loss against PyTorch (eager), and a step of training both heads on cached features against PyTorch
(eager, compiled), on this machine, in f32: python3 bench/compare/losses.py

Needs torch and safetensors, and build/release/bin/training_time. All take the same inputs and run in turns; the first
losses are shown; printed are median milliseconds. A step is both heads (768 -> 256 and 2048 -> 256,
dropout 0.1), the loss, backward and AdamW; as in training, they follow one another: a turn of at least 50 ms is timed.
The loss is taken of rows that point anywhere, and of rows around one point, each of which has many targets."""
import argparse
import itertools
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/reference"))
from training import Head, soft_target_loss  # noqa: E402


class Ours:
    def __init__(self, folder, mode):
        self.process = subprocess.Popen([ROOT / "build/release/bin/training_time", folder, mode],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.loss = float(self.process.stdout.readline())

    def milliseconds(self, runs):
        self.process.stdin.write(f"{runs}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline()) / runs


class Peer:
    def __init__(self, run):
        self.run = run
        self.loss = run()

    def milliseconds(self, runs):
        start = time.perf_counter()
        for _ in range(runs):
            self.run()
        return 1e3 * (time.perf_counter() - start) / runs


def loss_peer(text, image):
    def run():
        text.grad = image.grad = None
        loss = soft_target_loss(text, image)
        loss.backward()
        return loss.item()
    return Peer(run)


def step_peer(heads, text, image, compiled):
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-3, weight_decay=1e-3, fused=True)

    def forward(t, v):
        return soft_target_loss(heads["text_projection"](t), heads["image_projection"](v))
    forward = torch.compile(forward) if compiled else forward

    def run():
        optimizer.zero_grad()
        loss = forward(text, image)
        loss.backward()
        optimizer.step()
        return loss.item()
    return Peer(run)


def compare(name, runners, rounds):
    times = {key: [] for key in runners}
    runs = {key: math.ceil(50 / min(runner.milliseconds(2), 50)) for key, runner in runners.items()}
    for _ in range(rounds):
        for key, runner in runners.items():
            time.sleep(0.25)  # the others' threads wait for work by spinning, for a while
            runner.milliseconds(1)  # what they left in the caches is gone
            times[key].append(runner.milliseconds(runs[key]))
    median = {key: statistics.median(t) for key, t in times.items()}
    print(f"{name}: " + ", ".join(f"{key} {median[key]:.2f} ms ({median[key] / median['ours']:.2f}x)"
                                  for key in runners), flush=True)


def make_heads(dropout):
    torch.manual_seed(1)
    return nn.ModuleDict({"text_projection": Head(768, dropout), "image_projection": Head(2048, dropout)})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, nargs="*", default=[32, 256])
    parser.add_argument("--pairs", type=int, nargs="*", default=[1024, 8192])
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads")
    for batch in args.batch:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            text, image = torch.randn(batch, 768), torch.randn(batch, 2048).abs()
            np.save(folder / "text.npy", text.numpy())
            np.save(folder / "image.npy", image.numpy())
            save_file(make_heads(0.1).state_dict(), folder / "heads.safetensors")
            runners = {"ours": Ours(folder, "step"), "torch": step_peer(make_heads(0.1), text, image, False),
                       "torch compiled": step_peer(make_heads(0.1), text, image, True)}
            print("first losses:", ", ".join(f"{key} {r.loss:.4f}" for key, r in runners.items()), "(own dropout each)")
            compare(f"step, batch {batch}", runners, args.rounds)
            runners["ours"].process.stdin.close()
    centre = torch.randn(256)
    for pairs, alike in itertools.product(args.pairs, (False, True)):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            rows = [centre + 0.3 * torch.randn(pairs, 256) if alike else torch.randn(pairs, 256) for _ in range(2)]
            np.save(folder / "text.npy", rows[0].numpy())
            np.save(folder / "image.npy", rows[1].numpy())
            runners = {"ours": Ours(folder, "loss"), "torch": loss_peer(*(r.requires_grad_() for r in rows))}
            print("losses:", ", ".join(f"{key} {r.loss:.6f}" for key, r in runners.items()))
            compare(f"loss, {pairs} pairs of rows {'around one point' if alike else 'that point anywhere'}", runners,
                    min(args.rounds, 3) if pairs > 4096 else args.rounds)
            runners["ours"].process.stdin.close()


if __name__ == "__main__":
    main()
