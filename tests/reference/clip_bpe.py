#!/usr/bin/env python3
"""Golden token ids of CLIP's two reference tokenizers: python3.11 tests/reference/clip_bpe.py

Needs open_clip_torch and transformers. Writes tests/data/clip_bpe.json: a small vocabulary (all bytes and the first
merges of the real one), texts, and their ids by transformers and by open_clip."""
import gzip
import json
import pathlib
import struct
import tempfile

import ftfy
import open_clip
import open_clip.tokenizer
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]


def real_merges():
    return gzip.open(open_clip.tokenizer.default_bpe()).read().decode().split("\n")[1:49152 - 256 - 2 + 1]


def write_folder(folder, pipeline, merges=None, context=77):
    """A model folder with the tokenizer alone."""
    merges = real_merges() if merges is None else merges
    vocab = list(open_clip.tokenizer.bytes_to_unicode().values())
    vocab += [v + "</w>" for v in vocab] + ["".join(m.split()) for m in merges]
    vocab += ["<start_of_text>", "<end_of_text>"] if pipeline == "openai" else ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({v: i for i, v in enumerate(vocab)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(m + "\n" for m in merges))
    (folder / "config.json").write_text('{"model_type": "clip"}')
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"pipeline": pipeline, "model_max_length": context, "tokenizer_class": "CLIPTokenizer"}))


def texts():
    import random
    import unicodedata
    lines = ["", " ", "a photo of a cat", "A Photo OF a CAT.", "It's the dog's, isn't it? We'll, they've, I'm, you'd, WE'RE", "'s'S'T'RE'VE'M'LL'D'x",
             "in 2024: 3.14, ½, ٣٤, Ⅷ", "  many\t\u00a0spaces\u3000here \x0b\x0c ", "<|startoftext|> a <|endoftext|>", "a<|endoftext|>b!<|endoftext|>",
             "<|ENDOFTEXT|>! x<|StartOfText|>", "<start_of_text> and !<end_of_text>", "&amp; &lt;b&gt; &amp;amp;amp; it&rsquo;s &eacute &EACUTE; &notit;",
             "&lt;b> < &amp;lt; &#39; &#x27; &#150; &#0; &#xD800; &#27; &#59; &&; &#; &#x;", "&am&#112;; &amp&semi; x&#894;", "“curly” ‘quotes’ ʼn ‚x„",
             "ﬁﬂﬀĳǅŉ ＦＵＬＬ　ｗｉｄｔｈ ｶﾞ ﾀﾞ", "\x1b[31mred\x1b[0m \x1b[ \x00\x1f\x7f\ufeff\ufffc", "e\u0301 a\u0327\u0301 a\u0301\u0327 \u1100\u1161\u11a8 \uac00\u11a8 \u212b \u1e9b\u0323",
             "İstanbul ISTANBUL ıI", "ΟΔΥΣΣΕΥΣ ΑΣ. Σ ΑΣ\u0301 ΑΣ'Β Α'Σ", "'ſ dogſ <ſtart_of_text>", "café CAFÉ naïve Straße ẞ", "Привет, МИР", "中文字符 日本語テキスト 한국어",
             "😀👩\u200d👩\u200d👧🇩🇪❤\ufe0f", "नमस्ते สวัสดี مرحبا שלום", "!!! ... ?!? -- __ ## @user #tag http://x.y/z?a=b&c=d", "\u037e \u1fef \u0340\u0341\u0343",
             "a" * 200, "the" * 60, "\u0085 \u2028x\u2029y", "\U0001d15e \u0958 \ufb1d \u0fb2\u0f71\u0f80"]
    rng = random.Random(3)
    by_category = {}
    for c in range(0x110000):
        by_category.setdefault(unicodedata.category(chr(c)), []).append(c)
    del by_category["Cs"]
    for category in sorted(by_category):
        for _ in range(3):
            chosen = rng.choices([c for c in by_category[category] if c != 10], k=5)
            lines.append(f"{category} a" + "b ".join(map(chr, chosen)) + "c " + "".join(map(chr, chosen)))
    marks = [c for name in ("Mn", "Mc", "Me") for c in by_category[name]]
    for _ in range(40):
        lines.append("".join(map(chr, rng.choices(marks, k=5) + rng.choices([0x41, 0xE9, 0x1B44, 0xAC01, 0x1100, 0x1161], k=3))))
    return lines


def fnv(ids, value=0xCBF29CE484222325):
    for byte in struct.pack(f"<{len(ids)}i", *ids):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def main():
    ftfy.fix_encoding = lambda text: text  # its repairs are out of scope
    merges, lines, out = real_merges()[:400], texts(), {}
    blocks = ["".join(f"{chr(c)} a{chr(c)}b " for c in range(first, first + 256) if not 0xD800 <= c < 0xE000 and c != 10)
              for first in range(0, 0x110000, 256)]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_folder(folder, "huggingface", merges, 100_000)
        fast = transformers.AutoTokenizer.from_pretrained(folder)
        with gzip.open(folder / "bpe.txt.gz", "wt", encoding="utf-8") as file:
            file.write("\n".join(["#version: 0.2", *merges]))
        slow = open_clip.tokenizer.SimpleTokenizer(folder / "bpe.txt.gz")
        fast.save_pretrained(folder / "saved")
        whole = json.loads((folder / "saved/tokenizer.json").read_text())
    encoders = {"huggingface": lambda t: fast(t)["input_ids"], "openai": lambda t: [slow.sot_token_id, *slow.encode(t), slow.eot_token_id]}
    out["versions"] = f"transformers {transformers.__version__}, open_clip {open_clip.__version__}, ftfy {ftfy.__version__}"
    out["merges"], out["texts"] = merges, lines
    whole["model"]["vocab"], whole["model"]["merges"] = {}, []
    out["tokenizer.json"] = whole
    for name, encode in encoders.items():
        out[name] = [encode(t) for t in lines]
    for name, encode in encoders.items():
        hashes = []
        for first in range(0, len(blocks), 16):
            value = fnv([])
            for block in blocks[first:first + 16]:
                value = fnv(encode(block), value)
            hashes.append(f"{value:016x}")
        out["characters of " + name] = hashes
    with open(ROOT / "tests/data/clip_bpe.json", "w") as file:
        file.write("{\n" + ",\n".join(json.dumps(k) + ": " + json.dumps(v, separators=(",", ":")) for k, v in out.items()) + "\n}\n")


if __name__ == "__main__":
    main()
