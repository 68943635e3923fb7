"""Training a ResNet-18 of width 32 on 64 x 64 pictures against PyTorch (eager, compiled), on this machine: InfoNCE with
frozen text features, batch 256, bf16, augmentation, AdamW and a running average of the weights:
python3 bench/compare/encoder_training.py

Needs torch, torchvision, transformers, numpy and Pillow, and build/release/bin/encoder_training_time. All do the same
work from random weights of one configuration, and keep the decoded pictures in memory; PyTorch's are varied by
torchvision's transforms in a DataLoader with as many workers as serve it best. They run in turns; printed are median
milliseconds a step."""
import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
import transformers
from PIL import Image
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import v2

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIDE, BATCH, TEXT = 64, 256, 384
PREPROCESSOR = """{"image_processor_type": "ViTImageProcessor", "do_resize": true, "size": {"height": 64, "width": 64},
"resample": 2, "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true,
"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"""


class Head(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.projection, self.fc = nn.Linear(size, 256), nn.Linear(256, 256)
        self.layer_norm, self.dropout = nn.LayerNorm(256), nn.Dropout(0.1)

    def forward(self, x):
        h = self.projection(x)
        return nn.functional.normalize(self.layer_norm(self.dropout(self.fc(nn.functional.gelu(h))) + h), dim=-1)


class Trained(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.text, self.image = encoder, Head(TEXT), Head(256)
        self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self, text, pixels):
        with torch.autocast("cpu", torch.bfloat16):
            features = self.encoder(pixels).pooler_output.flatten(1)
        logits = self.scale.exp() * self.text(text) @ self.image(features.float()).T
        target = torch.arange(len(text))
        return (nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)) / 2


class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder, text):
        self.pictures = [torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).permute(2, 0, 1)
                         for path in sorted((folder / "Images").iterdir())]
        self.text = text
        self.vary = v2.Compose([v2.RandomResizedCrop(SIDE, (0.5, 1), antialias=True), v2.RandomHorizontalFlip(),
                                v2.ColorJitter(0.2, 0.2, 0.2), v2.ToDtype(torch.float32, scale=True),
                                v2.Normalize([0.5] * 3, [0.5] * 3)])

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        return self.text[i], self.vary(self.pictures[i])


class Peer:
    def __init__(self, encoder, pictures, workers, compiled):
        self.model = Trained(encoder).to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True)
        self.forward = torch.compile(self.model) if compiled else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0, fused=True)
        self.loader = torch.utils.data.DataLoader(pictures, BATCH, shuffle=True, drop_last=True, num_workers=workers,
                                                  persistent_workers=workers > 0)
        self.batches = iter(())

    def milliseconds(self, steps):
        start = time.perf_counter()
        batches = iter(self.loader)
        for _ in range(steps):
            text, pixels = next(batches)
            self.optimizer.zero_grad()
            self.loss = self.forward(text, pixels.contiguous(memory_format=torch.channels_last))
            self.loss.backward()
            self.optimizer.step()
            self.average.update_parameters(self.model)
        return 1e3 * (time.perf_counter() - start)


class Ours:
    def __init__(self, folder):
        self.process = subprocess.Popen([ROOT / "build/release/bin/encoder_training_time", folder],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.loss = float(self.process.stdout.readline())

    def milliseconds(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--compiled", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads")
    config = transformers.ResNetConfig(embedding_size=32, hidden_sizes=[32, 64, 128, 256], depths=[2, 2, 2, 2],
                                       layer_type="basic")
    encoder = transformers.ResNetModel(config).train()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        encoder.save_pretrained(folder / "model")
        (folder / "model/preprocessor_config.json").write_text(PREPROCESSOR)
        (folder / "Images").mkdir()
        count = BATCH * args.steps
        for i in range(count):
            blocks = np.random.default_rng(i).integers(0, 256, (6, 6, 3), np.uint8).repeat(16, 0).repeat(16, 1)
            Image.fromarray(blocks).save(folder / f"Images/{i:05}.png")
        text = torch.randn(count, TEXT)
        np.save(folder / "text.npy", text.numpy())
        pictures = Pictures(folder, text)
        runners = {"ours": Ours(folder)}
        for workers in (0, args.threads):
            runners[f"torch, {workers} workers"] = Peer(transformers.ResNetModel(config).train(), pictures, workers, False)
        if args.compiled:
            runners["torch compiled"] = Peer(transformers.ResNetModel(config).train(), pictures, args.threads, True)
        times = {key: [] for key in runners}
        for runner in runners.values():
            runner.milliseconds(1)
        for _ in range(args.rounds):
            for key, runner in runners.items():
                time.sleep(0.5)  # the others' threads wait for work by spinning, for a while
                times[key].append(runner.milliseconds(args.steps) / args.steps)
        median = {key: statistics.median(t) for key, t in times.items()}
        for key, t in median.items():
            print(f"{key}: {', '.join(f'{x:.0f}' for x in times[key])}; {t:.0f} ms a step, {1e3 * BATCH / t:.0f} pictures/s, {t / median['ours']:.2f}x ours")
        runners["ours"].process.stdin.close()


if __name__ == "__main__":
    main()
