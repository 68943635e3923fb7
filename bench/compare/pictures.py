"""A folder of JPEGs to the input of a model, against Pillow and torchvision in PyTorch's DataLoader with as many workers
as we have threads: python3 bench/compare/pictures.py

Needs torch, torchvision, numpy and Pillow, and build/release/bin/picture_time. Pixels are compared; both run in turns;
printed are medians."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONFIG = {"pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bilinear", "crop_pct": 0.875,
                             "mean": MEAN, "std": STD, "crop_mode": "center"}}


class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder):
        self.files = sorted(folder.iterdir())
        self.transform = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), T.Normalize(MEAN, STD)])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return self.transform(Image.open(self.files[i]).convert("RGB"))


class Ours:
    def __init__(self, folder, threads):
        self.process = subprocess.Popen(
            [ROOT / "build/release/bin/picture_time", folder, folder / "Images", folder / "first.npy"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})

    def seconds(self):
        self.process.stdin.write("1\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline()) / 1e3


class Peer:
    def __init__(self, pictures, threads):
        self.loader = torch.utils.data.DataLoader(pictures, 32, num_workers=threads, persistent_workers=True)

    def seconds(self):
        start = time.perf_counter()
        for batch in self.loader:
            pass
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=1024)
    args = parser.parse_args()
    random = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        (folder / "Images").mkdir()
        for i in range(args.pictures):  # smooth, with the noise of a camera: 500 x 375 as in Flickr8k
            smooth = Image.fromarray(random.integers(0, 256, (25, 32, 3), np.uint8)).resize((500, 375), Image.BICUBIC)
            noisy = np.asarray(smooth).astype(int) + random.integers(-6, 7, (375, 500, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"Images/{i:05}.jpg", quality=90)
        pictures = Pictures(folder / "Images")
        runners = {"ours": Ours(folder, args.threads), "DataLoader": Peer(pictures, args.threads)}
        times = {key: [] for key in runners}
        for runner in runners.values():
            runner.seconds()
        for _ in range(args.rounds):
            for key, runner in runners.items():
                time.sleep(0.25)
                times[key].append(runner.seconds())
        first = np.load(folder / "first.npy").transpose(0, 3, 1, 2)
        same = np.array_equal(first, torch.stack([pictures[i] for i in range(len(first))]).numpy())
        median = {key: statistics.median(t) for key, t in times.items()}
        print(f"{args.pictures} pictures, {args.threads} threads or workers, pixels {'identical' if same else 'DIFFERENT'}")
        for key, t in median.items():
            print(f"{key}: {1e3 * t / args.pictures:.2f} ms a picture ({t / median['ours']:.2f}x)")
        runners["ours"].process.stdin.close()


if __name__ == "__main__":
    main()
