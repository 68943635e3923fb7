#!/usr/bin/env python3
"""Times build/release/bin/image_bench against Pillow and torchvision: CPU time of one thread, one 500x400 picture, in
alternation. Also checks that the pixels are identical. Run from the repository's root, in an environment with both."""
import io
import json
import os
import statistics
import subprocess
import tempfile
import time

import numpy as np
import PIL
import torch
import torchvision
import torchvision.transforms as T
from PIL import Image

torch.set_num_threads(1)
random = np.random.default_rng(7)
smooth = Image.fromarray(random.integers(0, 256, (25, 32, 3), dtype=np.uint8)).resize((500, 400), Image.Resampling.BICUBIC)
noisy = np.asarray(smooth).astype(int) + random.integers(-6, 7, (400, 500, 3))
buffer = io.BytesIO()
Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
jpeg = buffer.getvalue()
decoded = Image.open(io.BytesIO(jpeg)).convert("RGB")

bilinear, bicubic = T.InterpolationMode.BILINEAR, T.InterpolationMode.BICUBIC
finish = [T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
transforms = {
    "square_bilinear": T.Compose([T.Resize((224, 224), bilinear), *finish]),
    "square_bicubic": T.Compose([T.Resize((224, 224), bicubic), *finish]),
    "resnet": T.Compose([T.Resize(256, bilinear), T.CenterCrop(224), *finish]),
    "clip": T.Compose([T.Resize(224, bicubic), T.CenterCrop(224), *finish]),
}
cases = {}
for name, transform in transforms.items():
    cases[f"resize_normalize/{name}"] = lambda t=transform: t(decoded)
    cases[f"decode_resize_normalize/{name}"] = lambda t=transform: t(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return str(h)


def milliseconds(function, runs=25):
    times = []
    for _ in range(runs):
        start = time.thread_time()
        function()
        times.append(time.thread_time() - start)
    return statistics.median(times) * 1e3


ours, theirs, labels = {c: [] for c in cases}, {c: [] for c in cases}, {}
with tempfile.NamedTemporaryFile(suffix=".jpg") as picture:
    picture.write(jpeg)
    picture.flush()
    environment = os.environ | {"CLIP_BENCH_PICTURE": picture.name, "OMP_NUM_THREADS": "1"}
    for _ in range(5):
        output = subprocess.run(["build/release/bin/image_bench", "--benchmark_format=json", "--benchmark_min_time=0.1"],
                                env=environment, check=True, capture_output=True).stdout
        for result in json.loads(output)["benchmarks"]:
            ours[result["name"]].append(result["cpu_time"])
            labels[result["name"]] = result["label"]
        for case, function in cases.items():
            theirs[case].append(milliseconds(function))

print(f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}; {len(jpeg)} bytes of JPEG; medians in ms of CPU time")
print(f"{'':41}{'ours':>8}{'theirs':>8}{'ratio':>8}  pixels")
for case, function in sorted(cases.items(), reverse=True):
    pixels = np.ascontiguousarray(function().numpy().transpose(1, 2, 0))
    same = "identical" if fnv(pixels.tobytes()) == labels[case] else "DIFFERENT"
    a, b = statistics.median(ours[case]), statistics.median(theirs[case])
    print(f"{case:41}{a:8.3f}{b:8.3f}{b / a:8.2f}  {same}")
