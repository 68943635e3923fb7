"""How much of the time to index a folder of JPEGs is the image tower's: python3 bench/compare/index.py --pictures 1000

Needs numpy, pillow, open_clip_torch (for its vocabulary), torch and transformers, and build/release/bin. Makes JPEGs with the spectrum of photographs,
500x375, and a ViT-B/32 of random weights; indexes them with `search`; and times the tower alone on as large batches, before
and after, each on data that is in the page cache."""
import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import transformers
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/reference"))
from clip_bpe import write_folder  # noqa: E402

BATCH = 32  # pictures that the programs encode at a time


def photograph(rng, width=500, height=375):
    """Noise whose amplitude falls with the frequency, as in pictures of the world."""
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    fall = 1 / np.maximum(np.hypot(x, y), 1 / width) ** 1.2
    gray, *colors = (np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * fall, (height, width)) for _ in range(3))
    planes = [gray + 0.3 * c for c in (colors[0], colors[1], -colors[0])]
    return Image.fromarray(np.stack([np.clip(128 + 50 * p / p.std(), 0, 255) for p in planes], -1).astype(np.uint8))


def tower_ms(folder, dtype):
    """The median of a batch."""
    np.save(folder / "input.npy", np.random.default_rng(0).standard_normal((BATCH, 224, 224, 3)).astype(np.float32))
    command = [ROOT / "build/release/bin/encoder_time", folder, folder / "input.npy", folder / "output.npy", dtype]
    return statistics.median(map(float, subprocess.run(command, input="1\n" * 9, capture_output=True, text=True, check=True).stdout.split()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for what is made, and taken from there the next time")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or pathlib.Path(name)
        model, pictures = folder / "model", folder / f"pictures{args.pictures}"
        if not pictures.exists():
            model.mkdir(parents=True, exist_ok=True)
            write_folder(model, "openai")
            (model / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPImageProcessor"}')
            transformers.CLIPModel(transformers.CLIPConfig()).save_pretrained(model)
            pictures.mkdir()
            rng = np.random.default_rng(0)
            some = [photograph(rng) for _ in range(20)]  # turned and cut differently, so that no two are the same file
            for i in range(args.pictures):
                picture = some[i % 20].transpose(i // 20 % 4)
                picture.crop((i // 80, 0, picture.width, picture.height)).save(pictures / f"{i:05}.jpg", quality=90)
        size = statistics.mean(p.stat().st_size for p in pictures.iterdir()) / 1e3

        def search(cache):
            start = time.perf_counter()
            subprocess.run([ROOT / "build/release/bin/search", "--model", model, "--images", pictures, "--query", "a dog", "--dtype", args.dtype,
                            "--cache", cache, "--quiet"], check=True, capture_output=True)
            return time.perf_counter() - start

        with tempfile.TemporaryDirectory() as cache:
            before = tower_ms(model, args.dtype)
            index = search(cache)
            after = tower_ms(model, args.dtype)
            again = search(cache)
        batch = (before + after) / 2
        tower = batch / 1e3 * args.pictures / BATCH
        print(f"{args.pictures} JPEGs of {size:.0f} kB, {args.dtype}: {index:.1f} s until searched, {index / args.pictures * 1e3:.1f} ms a picture; "
              f"tower alone {before / BATCH:.1f} and {after / BATCH:.1f} ms a picture, {100 * tower / index:.0f} % of the time; "
              f"searched again {again:.2f} s")


if __name__ == "__main__":
    main()
