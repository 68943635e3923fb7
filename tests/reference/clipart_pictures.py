"""Picks 200 pictures of openclipart, public domain, from those that models/clipart has not seen, and writes them small.

    scripts/get_clipart.sh && python tests/reference/clipart_pictures.py

writes tests/data/clipart/: Images/*.png, 96 pixels at most and of at most 128 colours, and captions.txt. Made with pillow 13.
"""
import csv
import hashlib
from pathlib import Path

from PIL import Image

source, target = Path("data/clipart-free"), Path("tests/data/clipart")
held_back = (source / "Flickr_8k.testImages.txt").read_text(encoding="utf-8").split("\n")
names = sorted((n for n in held_back if n.startswith("openclipart-")), key=lambda n: hashlib.sha256(n.encode()).digest())[:200]
(target / "Images").mkdir(parents=True, exist_ok=True)
for name in names:
    picture = Image.open(source / "Images" / name).convert("RGBA")
    picture.thumbnail((96, 96), Image.Resampling.BOX)
    picture.quantize(128, Image.Quantize.FASTOCTREE).save(target / "Images" / name, optimize=True)
with open(source / "captions.txt", encoding="utf-8", newline="") as file:
    rows = [row for row in csv.reader(file) if row[0] in names]
with open(target / "captions.txt", "w", encoding="utf-8", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows([["image", "caption"]] + sorted(rows))
