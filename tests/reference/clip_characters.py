#!/usr/bin/env python3
"""Writes src/text/clip_unicode.cpp and src/text/html_entities.cpp: what CLIP's two reference tokenizers make of every
code point, read off the libraries they use. The tokenizers library (transformers) and Python with its modules regex,
unicodedata and ftfy (OpenAI, open_clip) follow different versions of Unicode; where they differ, the table says so.

    pip install tokenizers==0.23.3 regex==2026.11.15 ftfy==6.3.1 && python3.11 tests/reference/clip_characters.py
"""
import html
import pathlib
import sys
import textwrap
import unicodedata

import ftfy
import regex
import tokenizers
from ftfy import chardata, fixes
from tokenizers import Regex, normalizers, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSIONS = (f"tokenizers {tokenizers.__version__}, regex {regex.__version__}, ftfy {ftfy.__version__} and Python "
            f"{sys.version_info[0]}.{sys.version_info[1]} (Unicode {unicodedata.unidata_version})")
HEAD = f"// Written by tests/reference/clip_characters.py. Do not edit.\n// clang-format off\n// From {VERSIONS}.\n"
code_points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
nfd, nfc, lower = (n().normalize_str for n in (normalizers.NFD, normalizers.NFC, normalizers.Lowercase))


def hexadecimal(value):
    return f"{value:#x}" if value > 9 else str(value)


def runs(values):
    """[first, last, value] of neighbours with one value; those with None are left out."""
    out = []
    for c in code_points:
        value = values.get(c)
        if value is None:
            continue
        if out and out[-1][1] == c - 1 and out[-1][2] == value:
            out[-1][1] = c
        else:
            out.append([c, c, value])
    return out


def table(comment, kind, name, entries):
    body = textwrap.fill(", ".join("{" + ",".join(hexadecimal(x) if isinstance(x, int) else x for x in e) + "}" for e in entries),
                         width=118, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False,
                         break_long_words=False)
    return f"// {comment}\nconstexpr {kind} {name}[] = {{\n{body}}};\n"


def known_to_tokenizers(pattern):
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True).pre_tokenize_str
    return {c for c in code_points if split(chr(c))}


def categories():
    kinds = {}
    for pattern, name in ((r"\p{L}", "letter"), (r"\p{N}", "number")):
        old = known_to_tokenizers(pattern)
        for c in code_points:
            if regex.match(f"[{pattern}]", chr(c), regex.IGNORECASE):
                kinds[c] = name if c in old else "new_" + name
            else:
                assert c not in old
    spaces = {c for c in code_points if regex.match(r"\s", chr(c))}
    assert spaces == known_to_tokenizers(r"\s")
    kinds.update((c, "space") for c in spaces)
    others = {c for c in code_points if regex.match(r"[^\s\p{L}\p{N}]", chr(c), regex.IGNORECASE)}
    assert others.isdisjoint(kinds)
    kinds.update((c, "skipped") for c in code_points if c not in kinds and c not in others)
    return runs(kinds)


def lower_kept():
    """Capital letters that Python's lower() does not know yet. All others agree, and with what BERT's tables say."""
    kept = {c: "" for c in code_points if lower(chr(c)) != chr(c).lower()}
    assert all(chr(c).lower() == chr(c) for c in kept)
    return [(a, b) for a, b, _ in runs(kept)]


def casing():
    """What Python looks at around a capital sigma."""
    kinds = {}
    for c in code_points:
        if (chr(c) + "Σ").lower()[-1] == "ς":
            kinds[c] = "cased"
        elif ("A" + chr(c) + "Σ").lower()[-1] == "ς":
            kinds[c] = "ignorable"
    return runs(kinds)


def marks():
    first, last = "\u0334", "\u0345"  # of the classes 1 and 240
    classes = {}
    for c in code_points:
        rank = unicodedata.combining(chr(c))
        if rank == 0:
            assert nfd(last + chr(c)) == nfd(last) + nfd(chr(c)) or len(nfd(chr(c))) > 1
            continue
        known = nfd(last + chr(c)) != last + nfd(chr(c)) or nfd(chr(c) + first) != nfd(chr(c)) + first
        classes[c] = (rank, 0 if known or c in (ord(first), ord(last)) else 1)
    return [(a, b, *v) for a, b, v in runs(classes)]


def decompositions():
    """One step each. how: 0 only taken apart, 1 also put together, 2 the same for Python only."""
    entries = []
    for c in code_points:
        text = unicodedata.decomposition(chr(c))
        if not text or text.startswith("<"):
            continue
        parts = [int(x, 16) for x in text.split()]
        assert len(parts) <= 2
        joined = "".join(map(chr, parts))
        how = 0
        if len(parts) == 2 and unicodedata.normalize("NFC", joined) == chr(c):
            how = 1 if nfc(joined) == chr(c) else 2
        if nfd(chr(c)) != unicodedata.normalize("NFD", chr(c)):
            assert how == 2
        first, second = (hexadecimal(x) for x in (*parts, 0)[:2])
        entries.append((c, f"{{{first},{second}}}", how))
    return entries


def replacements():
    """What ftfy makes of single characters, Unicode's normalisation aside."""
    def fix(text):
        while True:
            before = text
            for step in (fixes.fix_c1_controls, fixes.fix_latin_ligatures, fixes.fix_character_width, fixes.uncurl_quotes,
                         fixes.remove_control_chars):
                text = step(text)
            if text == before:
                return text
    entries = []
    for c in code_points:
        fixed = fix(chr(c))
        if fixed != chr(c):
            assert len(fixed) <= 3
            entries.append((c, "{" + ",".join(hexadecimal(ord(x)) for x in fixed.ljust(3, "\0")) + "}"))
    return entries


def write_unicode():
    with open(ROOT / "src/text/clip_unicode.cpp", "w", encoding="utf-8") as out:
        out.write(HEAD + '#include "src/text/clip_unicode.hpp"\n\nnamespace clip {\nnamespace {\nusing enum ClipCategory;\nusing enum ClipCasing;\n\n')
        out.write(table("First and last code point, category.", "ClipRange", "ranges", categories()))
        out.write(table("The same for casing.", "ClipCasingRange", "casing", casing()))
        out.write(table("First, last.", "ClipKept", "kept", lower_kept()))
        out.write(table("First, last, combining class, whether newer than the tokenizers library.", "ClipMarks", "marks", marks()))
        out.write(table("Code point, the two it is made of, how.", "ClipDecomposition", "decompositions", decompositions()))
        out.write(table("Code point, up to three that replace it.", "ClipReplacement", "replacements", replacements()))
        out.write("\n}  // namespace\n\n")
        for kind, name in (("ClipRange", "ranges"), ("ClipCasingRange", "casing"), ("ClipKept", "kept"), ("ClipMarks", "marks"),
                           ("ClipDecomposition", "decompositions"), ("ClipReplacement", "replacements")):
            out.write(f"const std::span<const {kind}> clip_{name} = {name};\n")
        out.write("\n}  // namespace clip\n")


def write_entities():
    names = {}
    for name, text in html.entities.html5.items():
        plain = name.rstrip(";")
        assert names.setdefault(plain, [text, False, False])[0] == text
        names[plain][1] |= not name.endswith(";")
    for entity, text in chardata.HTML_ENTITIES.items():
        plain = entity[1:-1]
        if plain not in names:
            names[plain] = [text, False, True]
        assert names[plain][0] == text

    def literal(text):
        return '"' + "".join(c if " " <= c <= "~" and c not in '"\\?' else "".join(f"\\{b:03o}" for b in c.encode()) for c in text) + '"'
    entries = [('"' + name + '"', literal(text), "bare" if bare else "upper" if upper else "closed")
               for name, (text, bare, upper) in sorted(names.items())]
    with open(ROOT / "src/text/html_entities.cpp", "w", encoding="utf-8") as out:
        out.write(HEAD + '#include "src/text/html_entities.hpp"\n\nnamespace clip {\nnamespace {\nusing enum HtmlEntity::Form;\n\n')
        out.write(table("Sorted by name.", "HtmlEntity", "entities", entries))
        out.write("\n}  // namespace\n\nconst std::span<const HtmlEntity> html_entities = entities;\n\n}  // namespace clip\n")


write_unicode()
write_entities()
