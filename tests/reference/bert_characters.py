#!/usr/bin/env python3
"""Writes src/text/bert_unicode.cpp: what the tokenizers library's BERT normaliser and splitter make of every code point.

The library's three tables are of three Unicode versions (categories, decompositions, lower case), so no version of any
other Unicode library agrees with it. Hence they are read off the library itself.

    pip install tokenizers==0.23.3 && python3 tests/reference/bert_characters.py > src/text/bert_unicode.cpp
"""
import textwrap

import tokenizers
from tokenizers import normalizers, pre_tokenizers


def normalizer(clean=False, chinese=False, strip=False, lower=False):
    return normalizers.BertNormalizer(
        clean_text=clean, handle_chinese_chars=chinese, strip_accents=strip, lowercase=lower).normalize_str


clean, chinese, strip, lower = (normalizer(**{name: True}) for name in ("clean", "chinese", "strip", "lower"))
nfd = normalizers.NFD().normalize_str
split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
hangul = range(0xAC00, 0xAC00 + 11172)  # decomposed by a formula
code_points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]

# One character of each combining class, found by how marks change places: nothing says the classes as such.
decomposed = {c: nfd(chr(c)) for c in code_points}
simple = [c for c in code_points if decomposed[c] == chr(c)]
first, last = "\u0334", "\u0345"  # of the classes 1 and 240, the lowest and the highest


def swaps(a, b):
    return nfd(a + b) != a + b


marks = {c for c in simple if swaps(last, chr(c)) or chr(c) == last}  # a class other than 0

kind, dropped = {}, set()
for c in code_points:
    text = chr(c)
    cleaned = clean(text)
    assert cleaned in ("", " ", text)
    if cleaned in ("", " "):
        kind[c] = "control" if cleaned == "" else "space"
        continue
    if chinese(text) != text:
        assert chinese(text) == f" {text} "
        kind[c] = "chinese"
    elif strip(text) == "":
        kind[c] = "mark" if all(ord(d) in marks for d in decomposed[c]) else "starting_mark"
        dropped.add(c)
    words = [word for word, _ in split(f"a{text}b")]
    if words == ["a", text, "b"]:
        assert c not in kind
        kind[c] = "punctuation"
    else:
        assert words == [f"a{text}b"]

# Marks that stripping keeps must be put in canonical order. Their classes are told by comparing with one another; the
# numbers are ranks, which is all that sorting needs.
kept = sorted(marks - dropped)
below = {c: sum(swaps(chr(c), chr(other)) for other in kept) for c in kept}
rank = {value: i + 1 for i, value in enumerate(sorted(set(below.values())))}
ranks = {c: rank[below[c]] for c in kept}

stripped = {}
for c, parts in decomposed.items():
    if c in hangul or parts == chr(c) or c in dropped:
        continue
    stripped[c] = [ord(d) for d in parts if ord(d) not in dropped]
    assert ord(parts[0]) not in marks and "".join(map(chr, stripped[c])) == strip(chr(c))
    assert len(stripped[c]) == 1 or not any(d in kind for d in stripped[c])
for c in hangul:
    index = c - 0xAC00
    jamo = [0x1100 + index // 588, 0x1161 + index // 28 % 21] + ([0x11A7 + index % 28] if index % 28 else [])
    assert decomposed[c] == strip(chr(c)) == "".join(map(chr, jamo))

lowered = {c: lower(chr(c)) for c in code_points if lower(chr(c)) != chr(c)}
assert lowered.pop(0x130) == "i\u0307" and all(len(text) == 1 for text in lowered.values())


def runs(values, step=1):
    """Runs of equal values over keys that are `step` apart: [first, last, value]."""
    out = []
    for key in sorted(values):
        if out and out[-1][1] == key - step and out[-1][2] == values[key]:
            out[-1][1] = key
        else:
            out.append([key, key, values[key]])
    return out


def lower_runs():
    """Runs of one distance: neighbours, or every second code point where capitals and small letters alternate."""
    rest, out = {c: ord(text) - c for c, text in lowered.items()}, []
    for step in (2, 1):
        for a, b, distance in runs(rest, step):
            if step == 1 or (b - a >= 4 and distance == 1):
                out.append((a, b, step, distance))
                for c in range(a, b + 1, step):
                    del rest[c]
    assert not rest
    return sorted(out)


def stripped_runs():
    """Neighbours that become one character each: [first, what they become]."""
    out = []
    for c, parts in sorted(stripped.items()):
        if len(parts) == 1 and out and c == out[-1][0] + len(out[-1][1]):
            out[-1][1].append(parts[0])
        elif len(parts) == 1:
            out.append([c, list(parts)])
    return out


def literal(code_points):
    return '"' + "".join(chr(c) if 0x3B <= c < 0x7F else f"\\u{c:04x}" if c < 0x10000 else f"\\U{c:08x}"
                         for c in code_points) + '"'


def braces(*values):
    return "{" + ",".join(hex(v) if isinstance(v, int) and v > 9 else str(v) for v in values) + "}"


def table(comment, declaration, items):
    print(f"\n// {comment}\n{declaration} = {{")
    text = textwrap.fill(", ".join(items), width=116, initial_indent="    ", subsequent_indent="    ",
                         break_on_hyphens=False, break_long_words=False)
    for line in text.split("\n"):
        while len(line) > 116:  # a long literal goes on in the next line
            cut = max(line.rfind("\\", 0, 110), 100 if "\\" not in line else 0)
            print(line[:cut] + '"')
            line = '      U"' + line[cut:]
        print(line)
    print("};")


print(f"// Written by tests/reference/bert_characters.py from tokenizers {tokenizers.__version__}. Do not edit.")
print("// clang-format off")
print('#include "src/text/bert_unicode.hpp"\n')
print("namespace clip {\nnamespace {")
print("using enum BertCategory;")
table("First and last code point, category.", "constexpr BertRange ranges[]", (braces(*r) for r in runs(kind)))
table("First and last code point, rank of the combining class.", "constexpr BertMarks marks[]",
      (braces(*r) for r in runs(ranks)))
table("First and last code point, step, distance to the small letter.", "constexpr BertLower lower[]",
      (braces(*r) for r in lower_runs()))
table("First code point, what it and its neighbours decompose to without marks.", "constexpr BertStripped stripped[]",
      (f"{{{hex(first)},U{literal(parts)}}}" for first, parts in stripped_runs()))
table("Code point, the several it decomposes to.", "constexpr BertParts parts[]",
      (braces(c, braces(*parts)) for c, parts in sorted(stripped.items()) if len(parts) > 1))
print("""
}  // namespace

const std::span<const BertRange> bert_ranges = ranges;
const std::span<const BertMarks> bert_marks = marks;
const std::span<const BertLower> bert_lower = lower;
const std::span<const BertStripped> bert_stripped = stripped;
const std::span<const BertParts> bert_parts = parts;

}  // namespace clip""")
