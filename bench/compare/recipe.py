"""How long the default recipe takes on data of Flickr8k's shape, 8,091 JPEGs of 500 x 375 with five captions each, from
the files to a searchable index: python3 bench/compare/recipe.py --bin build/cuda/bin --device cuda:0 --dtype bf16

Needs torch, torchvision, transformers and safetensors, which make a DistilBERT and a ResNet50 of random weights, and
make_flickr8k and train_flickr8k in --bin. What is made is kept in --folder, apart from the run. At the targets of the
encoders (bench/models/encoders_cuda_bench.cpp) 8,091 pictures are 0.2 s, 40,455 captions of about 15 tokens 0.2 s and
4 epochs of 1,011 steps at 40 us 0.2 s: what decides is decoding, 8,091 times about 3 ms shared among the cores, 1.5 s on
16, and whatever waits: about 2.1 s. Target: less than 10 s."""
import argparse
import pathlib
import re
import shutil
import subprocess
import time

from encoders import distilbert, resnet50

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make(args):
    data, text, image = args.folder / f"data{args.pictures}", args.folder / "distilbert", args.folder / "resnet50"
    if not data.exists():
        subprocess.run([args.bin / "make_flickr8k", data, "--pictures", str(args.pictures)], check=True,
                       stdout=subprocess.DEVNULL)
    if not text.exists():
        text.mkdir()
        distilbert(text, 1, 8)
        words = set(re.findall(r"\w+|[^\w\s]", (data / "captions.txt").read_text().lower()))
        vocabulary = SPECIAL + sorted(words)
        vocabulary += [f"[unused{i}]" for i in range(30522 - len(vocabulary))]
        (text / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    if not image.exists():
        image.mkdir()
        resnet50(image, 1)
        (image / "preprocessor_config.json").write_text(
            '{"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 2}')
    return data, text, image


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "data/recipe")
    parser.add_argument("--pictures", type=int, default=8091)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    data, text, image = make(args)
    for _ in range(args.rounds):  # the first reads the files from the disk
        run = args.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        start = time.perf_counter()
        subprocess.run([args.bin / "train_flickr8k", "--data", data, "--text-model", text, "--image-model", image,
                        "--output", run, "--device", args.device, "--dtype", args.dtype, "--quiet"], check=True,
                       stdout=subprocess.DEVNULL)
        print(f"{args.pictures} pictures, {args.device}, {args.dtype}: {time.perf_counter() - start:.2f} s", flush=True)


if __name__ == "__main__":
    main()
