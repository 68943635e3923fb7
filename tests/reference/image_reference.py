#!/usr/bin/env python3
"""Makes tests/data/image: small pictures of every kind, and hashes of what Pillow, torchvision, transformers and timm make
of them. Run from the repository's root, in an environment with those and numpy. Everything is seeded."""
import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
import PIL
import timm
import timm.data
import torch
import torchvision
import torchvision.transforms as T
import transformers
from PIL import Image, ImageDraw

warnings.filterwarnings("ignore")
root = pathlib.Path("tests/data/image")
root.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(20261122)


def fnv(data: bytes) -> str:
    """FNV-1a, 64 bits."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def picture(width, height, channels=3):
    """Waves with a little noise and hard edges: neither flat nor incompressible."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 110 * np.sin(x / (5 + 3 * c) + c) * np.cos(y / (9 - 2 * c) - c) for c in range(channels)]
    samples = np.stack(planes, -1) + random.integers(-6, 7, (height, width, channels))
    samples[height // 4 : height // 3, width // 3 :] = [250, 4, 120, 60][:channels]
    return samples.clip(0, 255).astype(np.uint8)


def mode(name, width, height):
    if name == "P":
        return Image.fromarray(picture(width, height)).quantize(37)
    if name == "1":
        return Image.fromarray(picture(width, height)).convert("1")
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[name]
    samples = picture(width, height, channels)
    return Image.frombytes(name, (width, height), samples.tobytes())


# --- pictures ---------------------------------------------------------------------------------------------------------
def jpegs():
    rgb = mode("RGB", 61, 47)
    for name, options in {
        "444": dict(subsampling=0), "422": dict(subsampling=1), "420": dict(subsampling=2),
        "progressive": dict(progressive=True), "restart": dict(restart_marker_blocks=3, subsampling=2),
        "rgb": dict(keep_rgb=True), "optimized": dict(optimize=True, quality=50),
    }.items():
        rgb.save(root / f"{name}.jpg", **{"quality": 90} | options)
    exif = Image.Exif()
    exif[0x112] = 6  # turned by a quarter: to be ignored
    rgb.save(root / "turned.jpg", exif=exif)
    mode("RGB", 1, 1).save(root / "one.jpg")
    mode("RGB", 320, 213).save(root / "photo.jpg", quality=75)
    mode("RGB", 150, 301).save(root / "upright.jpg", quality=75)
    mode("L", 50, 39).save(root / "gray.jpg")
    mode("L", 50, 39).save(root / "gray_progressive.jpg", progressive=True)
    cmyk = io.BytesIO()
    mode("CMYK", 45, 38).save(cmyk, "JPEG", quality=90)
    data = bytearray(cmyk.getvalue())
    (root / "cmyk.jpg").write_bytes(data)
    data[data.index(b"Adobe") + 11] = 2  # the transform: now its components are taken for YCCK
    (root / "ycck.jpg").write_bytes(data)


def png(name, samples, depth, color, palette=b"", transparency=b"", interlaced=False):
    """A PNG written by hand: Pillow writes not all kinds. samples: [height][width][channels] integers."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def lines(part):
        if part.size == 0:
            return b""
        flat = part.reshape(part.shape[0], -1).astype(np.uint32)
        bits = (flat[..., None] >> np.arange(depth - 1, -1, -1) & 1).reshape(part.shape[0], -1).astype(np.uint8)
        packed = np.packbits(bits, axis=1).astype(np.uint8)
        out, before = b"", np.zeros_like(packed[0])
        for i, row in enumerate(packed):  # filters 0 and 2
            out += bytes([2 * (i % 2)]) + (row - before if i % 2 else row).astype(np.uint8).tobytes()
            before = row
        return out

    height, width = samples.shape[:2]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        data = b"".join(lines(samples[y::dy, x::dx]) for y, x, dy, dx in passes)
    else:
        data = lines(samples)
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))
    body += chunk(b"PLTE", palette) if palette else b""
    body += chunk(b"tRNS", transparency) if transparency else b""
    body += chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    (root / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def pngs():
    size = (23, 29)
    for depth in (1, 2, 4, 8, 16):
        gray = random.integers(0, 1 << depth, (*size, 1))
        if depth == 16:
            gray[::2] //= 200  # so that not all are clipped
        png(f"gray{depth}", gray, depth, 0)
        if depth <= 8:
            colors = random.integers(0, 256, (1 << depth) * 3, dtype=np.uint8).tobytes()
            png(f"palette{depth}", gray, depth, 3, colors, bytes([0, 128]))
        if depth >= 8:
            png(f"rgb{depth}", random.integers(0, 1 << depth, (*size, 3)), depth, 2)
            png(f"gray_alpha{depth}", random.integers(0, 1 << depth, (*size, 2)), depth, 4)
            png(f"rgba{depth}", random.integers(0, 1 << depth, (*size, 4)), depth, 6)
    png("interlaced", random.integers(0, 256, (*size, 3)), 8, 2, interlaced=True)
    png("gray_transparent", random.integers(0, 256, (*size, 1)), 8, 0, transparency=b"\0\5")
    faded = picture(90, 70, 4)
    faded[20:50, 30:60, 3] = 0
    faded[:20, :, 3] = 255
    Image.fromarray(faded, "RGBA").save(root / "faded.png")
    mode("P", 90, 70).save(root / "palette.png")
    mode("LA", 40, 30).save(root / "la.png")


def bmps():
    for name in ("1", "L", "P", "RGB", "RGBA"):
        mode(name, 21, 13).save(root / f"{name.lower()}.bmp")
    def write(name, bits, height, compression, masks, rows):
        header = struct.pack("<IiiHHIIiiII", 40, 21, height, 1, bits, compression, 0, 0, 0, 0, 0)
        extra = b"".join(struct.pack("<I", m) for m in masks)
        at = 14 + len(header) + len(extra)
        (root / f"{name}.bmp").write_bytes(struct.pack("<2sIHHI", b"BM", at + len(rows), 0, 0, at) + header + extra + rows)
    words = random.integers(0, 65536, (13, 22), dtype=np.uint16)
    write("bits16", 16, 13, 0, [], words.tobytes())
    write("bits565", 16, 13, 3, [0xF800, 0x7E0, 0x1F], words.tobytes())
    write("bits32", 32, -13, 0, [], random.integers(0, 256, (13, 21, 4), dtype=np.uint8).tobytes())  # top down
    core = struct.pack("<IHHHH", 12, 21, 13, 1, 24)
    rows = random.integers(0, 256, (13, 64), dtype=np.uint8).tobytes()
    (root / "core.bmp").write_bytes(struct.pack("<2sIHHI", b"BM", 26 + len(rows), 0, 0, 26) + core + rows)


def gifs():
    mode("P", 40, 30).save(root / "palette.gif", interlace=0)
    mode("P", 40, 31).save(root / "interlaced.gif", interlace=1)
    mode("L", 40, 30).save(root / "gray.gif")
    shapes = mode("P", 40, 30)
    shapes.save(root / "transparent.gif", transparency=5)
    frames = [mode("P", 25, 20), mode("P", 25, 20)]
    frames[0].save(root / "animated.gif", save_all=True, append_images=frames[1:])
    data = bytearray((root / "transparent.gif").read_bytes())
    data[6:10] = struct.pack("<HH", 50, 44)  # a screen larger than the frame
    (root / "framed.gif").write_bytes(data)
    data[6:10] = struct.pack("<HH", 10, 60)  # and one that is narrower
    (root / "outside.gif").write_bytes(data)


def pnms():
    mode("RGB", 17, 11).save(root / "rgb.ppm")
    mode("L", 17, 11).save(root / "gray.pgm")


# --- goldens ----------------------------------------------------------------------------------------------------------
def decoded():
    """name, width, height, hash of convert("RGB")"""
    lines = []
    for path in sorted(root.iterdir()):
        if path.suffix in (".jpg", ".png", ".bmp", ".gif", ".ppm", ".pgm"):
            image = Image.open(path).convert("RGB")
            lines.append(f"{path.name} {image.width} {image.height} {fnv(image.tobytes())}")
    return lines


def synthetic(width, height, channels):
    """The same in tests/image/resize_test.cpp."""
    i = np.arange(width * height * channels, dtype=np.uint32)
    i = (i ^ i >> np.uint32(7)) * np.uint32(2654435761)
    return ((i ^ i >> np.uint32(15)) >> np.uint32(9) & np.uint32(255)).astype(np.uint8)


def resized():
    """mode, size, new size, filter, hash"""
    filters = {"nearest": 0, "bilinear": 2, "bicubic": 3, "box": 4}
    sizes = [(1, 1, 7, 5), (7, 5, 1, 1), (64, 48, 32, 24), (33, 21, 33, 40), (33, 21, 50, 21), (50, 40, 50, 40),
             (100, 1, 3, 9), (1, 100, 9, 3), (640, 3, 5, 3), (37, 91, 224, 224), (500, 400, 224, 224), (17, 16, 16, 17)]
    for _ in range(24):
        sizes.append(tuple(int(v) for v in random.integers(1, 90, 4)))
    lines = []
    for color, channels in (("RGB", 3), ("RGBA", 4), ("CMYK", 4)):
        for w, h, ow, oh in sizes:
            image = Image.frombytes(color, (w, h), synthetic(w, h, channels).tobytes())
            for name, number in filters.items():
                if w * h * ow * oh > 1e9 and (color != "RGB" or name in ("nearest", "box")):
                    continue
                lines.append(f"{color} {w} {h} {ow} {oh} {name} {fnv(image.resize((ow, oh), number).tobytes())}")
    return lines


def preprocessed():
    """config file, picture, height, width, hash of f32 [H, W, 3]"""
    lines = []

    def add(config, function):
        for name in ("photo.jpg", "upright.jpg", "420.jpg", "faded.png", "palette.png", "gray.jpg", "cmyk.jpg", "rgba16.png"):
            pixels = np.ascontiguousarray(function(Image.open(root / name)), dtype=np.float32)
            lines.append(f"{config} {name} {pixels.shape[0]} {pixels.shape[1]} {fnv(pixels.tobytes())}")

    def huggingface(name, kind, config):
        folder = root / name
        folder.mkdir(exist_ok=True)
        (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=1) + "\n")
        processor = getattr(transformers, kind + "Pil").from_pretrained(folder)
        # converted first: newer versions of transformers put transparent pictures on white, older ones drop alpha
        add(name, lambda image: processor(image.convert("RGB"), return_tensors="np")["pixel_values"][0].transpose(1, 2, 0))

    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    huggingface("clip", "CLIPImageProcessor", {"image_processor_type": "CLIPImageProcessor"})
    huggingface("clip_old", "CLIPImageProcessor", {
        "feature_extractor_type": "CLIPFeatureExtractor", "size": 97, "crop_size": 90, "resample": 3,
        "do_normalize": True, "do_resize": True, "do_center_crop": True} | imagenet)
    huggingface("bit", "BitImageProcessor", {
        "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 75}, "resample": 2,
        "crop_size": {"height": 80, "width": 71}, "rescale_factor": 0.0078125})
    huggingface("vit", "ViTImageProcessor", {
        "image_processor_type": "ViTImageProcessor", "size": {"height": 90, "width": 110}} | imagenet)
    huggingface("vit_raw", "ViTImageProcessor", {
        "feature_extractor_type": "ViTFeatureExtractor", "size": 64, "resample": 4, "do_rescale": False,
        "image_mean": 120.5, "image_std": 60})
    huggingface("deit", "DeiTImageProcessor", {"image_processor_type": "DeiTImageProcessorFast", "do_normalize": False})
    huggingface("convnext", "ConvNextImageProcessor", {
        "feature_extractor_type": "ConvNextFeatureExtractor", "size": {"shortest_edge": 224}, "crop_pct": 0.875} | imagenet)
    huggingface("convnext384", "ConvNextImageProcessor", {"image_processor_type": "ConvNextImageProcessor"})

    def own(name, config, function):
        folder = root / name
        folder.mkdir(exist_ok=True)
        (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=1) + "\n")
        add(name, lambda image: function(image).numpy().transpose(1, 2, 0))

    for size, weights in ((256, "v1"), (232, "v2")):
        transform = T.Compose([
            T.Resize(size, T.InterpolationMode.BILINEAR), T.CenterCrop(224), T.ToTensor(),
            T.Normalize(imagenet["image_mean"], imagenet["image_std"])])
        own(f"torchvision_{weights}", {
            "image_processor_type": "BitImageProcessor", "pipeline": "torchvision", "size": {"shortest_edge": size},
            "crop_size": 224, "resample": 2} | imagenet, lambda image: transform(image.convert("RGB")))
    openai = T.Compose([
        T.Resize(75, T.InterpolationMode.BICUBIC), T.CenterCrop(70), lambda image: image.convert("RGB"), T.ToTensor(),
        T.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))])
    own("openai", {"image_processor_type": "CLIPImageProcessor", "pipeline": "openai", "size": 75, "crop_size": 70}, openai)

    for mode_ in ("center", "squash"):
        folder = root / f"timm_{mode_}"
        folder.mkdir(exist_ok=True)
        config = {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": mode_,
                  "mean": imagenet["image_mean"], "std": imagenet["image_std"]}
        (folder / "config.json").write_text(json.dumps({"architecture": "resnet50", "pretrained_cfg": config}, indent=1) + "\n")
        transform = timm.data.create_transform(
            tuple(config["input_size"]), interpolation="bicubic", crop_pct=0.95, crop_mode=mode_,
            mean=tuple(config["mean"]), std=tuple(config["std"]))
        add(folder.name, lambda image: transform(image.convert("RGB")).numpy().transpose(1, 2, 0))
    return lines


def write(name, lines):
    versions = f"# Pillow {PIL.__version__}, torchvision {torchvision.__version__}, transformers {transformers.__version__}, timm {timm.__version__}, seed 20261122"
    (root / name).write_text("\n".join([f"# {globals()[name[:-4]].__doc__}", versions, *lines]) + "\n")


jpegs()
pngs()
bmps()
gifs()
pnms()
write("decoded.txt", decoded())
write("resized.txt", resized())
write("preprocessed.txt", preprocessed())
