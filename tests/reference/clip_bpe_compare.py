#!/usr/bin/env python3
"""Compares the CLIP tokenizer with both references over every code point and random strings, by running embed:

    pip install open_clip_torch==3.3.0 transformers==5.23.0 && python3.11 tests/reference/clip_bpe_compare.py --random 300000

Takes the vocabulary that open_clip brings. ftfy's repairs of broken encodings (mojibake) are turned off."""
import argparse
import html
import json
import pathlib
import random
import subprocess
import tempfile
import unicodedata

import ftfy
import numpy as np
import open_clip.tokenizer
import transformers

from clip_bpe import write_folder

ROOT = pathlib.Path(__file__).resolve().parents[2]
points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and c != 10]


def code_point_texts():
    """Each by itself, before, behind and between letters, digits, signs and marks."""
    for around in ("{}", "a{}", "{}b", "a{}b", "1{}2", "!{}?", "'{}", "a{}\u0301\u0327", "a\u0327{}\u0301", "AΣ{}", "Σ{}Σ b", "aΣ{}B", "\uac00{}", "&{}lt; {}amp"):
        step = 64
        for i in range(0, len(points), step):
            yield "   ".join(around.replace("{}", chr(c)) for c in points[i:i + step])


def entity_texts():
    names = sorted(html.entities.html5) + [n.upper() for n in html.entities.html5] + [n.lower() for n in html.entities.html5]
    for name in names:
        plain = name.rstrip(";")
        for text in (f"a &{plain}; b", f"a &{plain} b", f"&{plain}x", f"<i> &{plain}; {plain}", f"&amp;{plain};", f"&amp;amp;{plain}; <"):
            yield text
    for n in list(range(0, 400)) + [894, 8490, 65286, 65307, 0xD800, 0xDFFF, 0xFDD0, 0xFFFE, 0x1FFFF, 0x110000, 10**30]:
        for text in (f"a&#{n};b", f"a&#{n}b", f"<&#{n};", f"&#x{n:x};", f"&#X{n:X}g <", f"&amp;#{n};", f"&am&#{n};; x"):
            yield text


def random_texts(count, seed):
    rng = random.Random(seed)
    by_category = {}
    for c in points:
        by_category.setdefault(unicodedata.category(chr(c)), []).append(c)
    pools = list(by_category.values())
    words = ["the", "dog", "It's", "don't", "WE'LL", "'S", "'re", "&amp;", "&lt", "&#39;", "&rsquo;", "<", ">", ";", "&", "#",
             "<|startoftext|>", "<|endoftext|>", "<start_of_text>", "<end_of_text>", "<|ENDOFTEXT|>", "ſ", "'ſ", "Σ", "ΣΑΣ", "İ",
             "\u0301", "\u0327\u0301", "\u1100\u1161\u11a8", "ﬁ", "Ａ", "ﾞ", "ｶ", "“x”", "’s", "\x1b[31m", "\x1b", "\x00", "\x0b",
             "\u200d", "👩‍👩‍👧", "🇩🇪", "e\u0301", "12", "½", "٣", "\u3000", "\u00a0", "\ufeff", "\u0345", "…", "café", "中文", "été"]
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(1, 9)):
            kind = rng.random()
            if kind < .55:
                parts.append(rng.choice(words))
            elif kind < .8:
                parts.append("".join(chr(rng.choice(rng.choice(pools))) for _ in range(rng.randint(1, 4))))
            else:
                parts.append("".join(chr(rng.randint(33, 126)) for _ in range(rng.randint(1, 8))))
            parts.append(rng.choice(["", "", " ", "  ", "\t"]))
        yield "".join(parts).replace("\n", " ")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--random", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--embed", default=ROOT / "build/release/bin/embed")
    args = parser.parse_args()
    ftfy.fix_encoding = lambda text: text
    texts = list(code_point_texts()) + list(entity_texts()) + list(random_texts(args.random, args.seed))
    texts = [t.rstrip("\r") for t in texts]
    for pipeline in ("huggingface", "openai"):
        different = 0
        with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as out_name:
            folder, out = pathlib.Path(name), pathlib.Path(out_name)
            write_folder(folder, pipeline, context=100_000)
            if pipeline == "openai":
                reference = open_clip.tokenizer.SimpleTokenizer()
                begin, end = reference.sot_token_id, reference.eot_token_id
            else:
                reference = transformers.AutoTokenizer.from_pretrained(folder)
                end = reference.eos_token_id
            for at in range(0, len(texts), 20_000):
                some = texts[at:at + 20_000]
                (out / "texts.txt").write_bytes("".join(t + "\n" for t in some).encode())
                subprocess.run([args.embed, "--model", folder, "--text", out / "texts.txt", "--tokens", out / "ids.npy",
                                "--quiet"], check=True)
                ids = np.load(out / "ids.npy")
                assert len(ids) == len(some), (len(ids), len(some))
                for text, row in zip(some, ids):
                    want = [begin, *reference.encode(text), end] if pipeline == "openai" else reference(text)["input_ids"]
                    row = row.tolist()
                    if row[:len(want)] != want or any(x not in (0, end) for x in row[len(want):]):
                        different += 1
                        if different <= 20:
                            print(ascii(text), row[:len(want) + 2], want)
        print(f"{pipeline}: {len(texts)} texts, {different} different", flush=True)


if __name__ == "__main__":
    main()
