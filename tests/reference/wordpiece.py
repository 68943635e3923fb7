#!/usr/bin/env python3
"""Writes tests/data/wordpiece.json: texts of all kinds and the ids that Hugging Face's fast BERT tokenizer gives them,
and a hash of what it makes of every code point, in blocks.

    scripts/get_minilm.sh
    pip install tokenizers==0.23.3 transformers==5.23.0 && python3 tests/reference/wordpiece.py
"""
import json
import pathlib
import random
import struct
import sys
import unicodedata

import tokenizers
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

root = pathlib.Path(__file__).parents[2]
special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
settings = {  # as tokenizer_config.json says them
    "uncased": {},
    "cased": {"do_lower_case": False},
    "accents": {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False},
    "stripped": {"do_lower_case": False, "strip_accents": True},
}


def normalizer(do_lower_case=True, strip_accents=None, tokenize_chinese_chars=True):
    return normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=tokenize_chinese_chars,
                                      strip_accents=strip_accents, lowercase=do_lower_case)


def tokenizer(vocab, setting):
    t = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocab)}, unk_token="[UNK]"))
    t.add_special_tokens(special)
    t.normalizer = normalizer(**setting)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t


def fnv(data, value=0xCBF29CE484222325):
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


written = """
A dog runs along the beach.|Two children play; one (the taller) laughs!|don't can't it's o'clock 'quoted' "double"
e-mail: someone@example.org, https://example.org/a_b?c=d&e=f#g|1,234.56 $5 €10 £3 ¥7 50% 3×4=12 2^10 ~1/2~ a|b\\c`d`|UPPER lower MiXeD
   leading and   inner   and trailing   |tab\there|two words|non breaking narrow　ideographic em en
Crème brûlée, naïve façade, Ångström, Český, Łódź, smørrebrød, ÆØÅ æøå, Straße, ẞ, ÿ, Ÿ|Zażółć gęślą jaźń|İstanbul ISPARTA ısı İİ iİ
Ελληνικά ΟΔΥΣΣΕΥΣ ΟΔΟΣ ἀρχή ᾳ ᾼ ΐ Ω Ω ;|Привет, мир! Ёлка йод Їжак ЩЁ|Српски Ђурђевак|Қазақша Ғ ң ө|ქართული ᲥᲐᲠᲗᲣᲚᲘ ႠႡ|Հայերեն ԵՎ և
שלום עולם שָׁלוֹם|مرحبا بالعالم مَرْحَبًا ـ لا|فارسی می‌خواهم|اردو ہے|ܫܠܡܐ|ދިވެހި|नमस्ते दुनिया क़ ख़|বাংলা ড় ঢ় য় কো|ਪੰਜਾਬੀ ਸ਼|ગુજરાતી|ଓଡ଼ିଆ|தமிழ் கொ
తెలుగు ై|ಕನ್ನಡ ೀ ೋ|മലയാളം ൊ|සිංහල ේ|ภาษาไทย น้ำ|ພາສາລາວ|བོད་སྐད གྷ ཷ|မြန်မာ ဦ|ខ្មែរ|አማርኛ|ᏣᎳᎩ ꭰꭱ|ᐃᓄᒃᑎᑐᑦ|ᚠᚢᚦ ᚁᚂ|ᠮᠣᠩᠭᠣᠯ|ⵜⴰⵎⴰⵣⵉⵖⵜ|ᬩᬮᬶ ᬻ ᬽ
中文字符测试 abc中文def|漢字とひらがなとカタカナ ガギグ ﾊﾟﾋﾟ ー|豈更車 﨎 﨑 侮|𠀀𠀁 𪜀 𫝀 𫠠 𬺰 𰀀|한국어 텍스트 각 가 힣|ㄱㄴㄷ|〆〇々 〒 ㊗ ㍿ ｆｕｌｌｗｉｄｔｈ ＦＵＬＬ！
😀 😂👍 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 1️⃣ ©️ ™ ♥️ ☃︎|¯\\_(ツ)_/¯ ʕ•ᴥ•ʔ (╯°□°)╯︵ ┻━┻|→ ↛ ≠ ≤ ∄ ∉ ∑ ∫ √ ∞ ≮ ℵ ℝ Å K|½ ⅓ ² ³ ₁ Ⅷ ⅷ ① ⒜ 𝐀𝓑𝔠 𝟘 ﬁ ﬂ ﬀ ﬃ ﬅ ĳ ǆ ǅ ǈ
a\u0301 a\u0300\u0301 a\u0323\u0307 a\u0307\u0323 e\u0302\u0301\u0323|\u0301 alone|\u0301\u0302\u0303|x\u20dd y\u20e3 z\u0489|q\u0337\u0345\u0360 r|\u0344 \u0340 \u0374|a\u034f\u0301b
\U0001d15e \U0001d160\u0323 \U0001d157\U0001d165\U0001d16d\U0001d165 \U0001d1bb\U0001d1c0|\u302f\U0001d16d\U0001d165\u1b44x \U0001d16d\u302e\U0001d165|\u302e\u0301\U0001d165 \u302e\u0bcdx\U0001d165 \u302e\u093f\U0001d165 \u302e\u0941\U0001d165 \u302e\u200d\U0001d165
\u1dfb\u302e\U0001e000\u08d4 \ua9c0\u0334 \U0001e94a\U0001e944\U00011446|\u1100\u1161\u11a8 \u1100\u1161 \uac00\u11a8 \u1112\u1175|\u0b95\u0bca \u0b95\u0bc6\u0bbe \u0c48 \u0cca \u0dda \u0ddd \u1026 \U0001112e \U000114bb
a\u0000b c\u0001d\u007f \u0085x \u009f y\u00adz zero\u200bwidth\u200cnon\u200djoin \u200e\u200f \u202amark\u202c \u2060 \ufeffbom|\u000b \u000c \u001c \u001d \u001e \u001f|line\u2028sep\u2029para|\ufffd replaced \ufffe \uffff
\ue000 private \uf8ff \U000f0000 \U0010ffff|\u0378 unassigned \u05ff \U0001fbff \U000e0fff|\U000e0041\U000e0042 tags \U000e0100 \ufe0f \u180e \u061c \u2066x\u2069
[MASK] [SEP] [CLS] [PAD] [UNK]|[mask] [Mask] [ MASK ] [MASK|a[MASK]b [MASK][MASK] [[MASK]] [SE[SEP]P]|[MASK]\u0301 \u0301[SEP] x[UNK]y|[unused1] ##ing # ## a##b [SEP [CLS
the runs running runner played playing unplayable ununun xyzzy ing ##ing beaches 's|can`t ‘curly’ “quotes” – — … ‐ ‑ ‒ ― · • † ‡ ‰ ′ ″ ‹ › « » ¿ ¡ § ¶ ª º ¬ ± µ ¼ ¦ ¨ ¯ ´ ¸
_under_score_ __ <tag> {brace} [bracket] ^caret ~tilde +plus =equals |pipe $dollar|\u0964 \u0965 \u06d4 \u061f \u060c \u3001\u3002 \uff01 \u3008x\u3009 \u2329y\u232a \u037e \u0387 \u1fef \u055a \u2e2e \ua6f7 \u2e43 \U0001f57f
"""


def texts():
    lines = [part for line in written.strip("\n").split("\n") for part in line.split("|")]
    lines += ["", " ", "\u3000", "\n\r\t", "a" * 100, "a" * 101, "é" * 100 + " " + "é" * 101, "e\u0301" * 100, "e\u0301" * 101,
              "x" + "\u0301" * 300 + "y", "\u302e\U0001d165" * 30, "가" * 50 + " " + "가" * 51, "中" * 120, "!" * 120,
              "𐐀" * 100 + " " + "𐐀" * 101, "ab " * 40 + "c" * 99 + "\u0300d", "\u200b" * 150 + "z", "İ" * 50, "İ" * 51]
    rng = random.Random(1)
    by_category = {}
    for c in range(0x110000):
        by_category.setdefault(unicodedata.category(chr(c)), []).append(c)
    del by_category["Cs"]  # no text has them
    for category in sorted(by_category):
        for _ in range(4):
            chosen = rng.choices(by_category[category], k=4)
            lines.append(f"{category} a" + "b ".join(map(chr, chosen)) + "c " + "".join(map(chr, chosen)))
    marks = [c for name in ("Mn", "Mc", "Me", "Cf") for c in by_category[name]]
    reordered = [0x302E, 0x302F, 0x1D165, 0x1D16D, 0x1B44, 0x8D4, 0x1E000, 0x1E944, 0x11446, 0xA9C0]
    for _ in range(60):  # what interacts: marks, what decomposes, what is dropped
        pool = rng.choices(marks, k=3) + rng.choices(reordered, k=6) + rng.choices([0x41, 0xE9, 0x1D160, 0xAC01, 0xF900], k=2)
        lines.append("".join(chr(c) for c in rng.choices(pool, k=rng.randint(4, 12))))
    return lines


def character_blocks():
    """Every code point by itself and between letters, a text for each block of 256; a hash for sixteen of these."""
    vocab = special + [text for c in range(0x21, 0x2FA20) if not 0xD800 <= c < 0xE000 for text in (chr(c), "##" + chr(c))]
    blocks = []
    for first in range(0, 0x110000, 256):
        codes = [c for c in range(first, first + 256) if not 0xD800 <= c < 0xE000]
        blocks.append("".join(f"{chr(c)} a{chr(c)}b " for c in codes))
    hashes = {}
    for name, setting in settings.items():
        encoded = tokenizer(vocab, setting).encode_batch_fast(blocks)
        hashes[name] = []
        for first in range(0, len(blocks), 16):
            value = 0xCBF29CE484222325
            for e in encoded[first:first + 16]:
                value = fnv(struct.pack(f"<{len(e.ids)}i", *e.ids), value)
            hashes[name].append(f"{value:016x}")
    return hashes


lines = texts()
characters = set()
for setting in settings.values():
    for line in lines:
        characters |= set(normalizer(**setting).normalize_str(line))
characters = sorted(c for c in characters if not c.isspace())
left_out = set(random.Random(2).sample([c for c in characters if ord(c) > 0x7F], 20))  # these are unknown
vocab = special + [c for c in characters if c not in left_out] + [
    "##" + c for c in characters if c not in left_out] + [
    "the", "dog", "run", "##s", "##ning", "##ner", "play", "##ed", "##ing", "un", "##un", "##able", "beach", "##es", "and",
    "ing", "##play", "##a", "the", "привет", "##ет", "нам", "ab", "##cd"]  # some twice: the last counts

minilm = root / "models/all-MiniLM-L6-v2"
real = AutoTokenizer.from_pretrained(minilm)
ids = {name: [e.ids for e in tokenizer(vocab, setting).encode_batch(lines)] for name, setting in settings.items()}
out = root / "tests/data/wordpiece.json"
out.parent.mkdir(exist_ok=True)
with open(out, "w") as file:
    def write(key, value, end=",\n"):
        file.write(f'"{key}": ' + json.dumps(value, separators=(",", ":")) + end)

    file.write("{\n")
    write("versions", f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}")
    write("vocab", vocab)
    write("texts", lines)
    for name in settings:
        write(name, ids[name])
    write("minilm", [f"{fnv(struct.pack(f'<{len(i)}i', *i)):016x}" for i in real(lines, max_length=256, truncation=True)["input_ids"]])
    write("characters", character_blocks(), "\n}\n")
print(f"{len(lines)} texts, {len(vocab)} tokens, {out.stat().st_size} bytes", file=sys.stderr)
