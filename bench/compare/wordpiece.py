#!/usr/bin/env python3
"""Times the WordPiece tokenizer against Hugging Face's tokenizers on the same texts, in turns.

    scripts/get_minilm.sh && cmake --preset release && cmake --build --preset release --target text_bench
    pip install tokenizers && python3 bench/compare/wordpiece.py
"""
import json
import os
import pathlib
import subprocess
import time

os.chdir(pathlib.Path(__file__).parents[2])
folder = "models/all-MiniLM-L6-v2"
rounds = 5


def sentences(accents):  # as bench/text/wordpiece_bench.cpp makes them
    with open(f"{folder}/vocab.txt", encoding="utf-8") as file:
        words = [w for w in file.read().split("\n") if w.isascii() and w.isalpha() and w.islower()]
    state = 1

    def random(below):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % below

    texts = []
    for _ in range(50000):
        text = "A"
        for _ in range(6 + random(15)):
            text += " " + words[random(len(words))]
            text += ["", "", "", ",", ".", "s", "ing", "est"][random(8)]
        texts.append(text.replace("e", "é").replace("o", "ö") if accents else text)
    return texts


def ours(name):
    out = subprocess.run(["build/release/bin/text_bench", f"--benchmark_filter=/{name}/", "--benchmark_format=json"],
                         check=True, capture_output=True, text=True).stdout
    result = json.loads(out)["benchmarks"][0]
    return result["real_time"] / 1e3, int(result["tokens"])


def theirs(texts):
    start = time.perf_counter()
    encoded = tokenizer.encode_batch_fast(texts)
    return time.perf_counter() - start, sum(len(e.ids) for e in encoded)


print(f"{'texts':<10} {'threads':<8} {'ours':>12} {'tokenizers':>12}  ratio")
for threads in ("one", "all"):
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads == "all" else "false"
    from tokenizers import Tokenizer, __version__
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    for kind in ("plain", "accents"):
        texts = sentences(kind == "accents")
        megabytes = sum(len(t.encode()) for t in texts) / 1e6
        best = [1e9, 1e9]
        for _ in range(rounds):
            for i, (seconds, tokens) in enumerate((ours(kind + ("" if threads == "one" else "_all_threads")),
                                                   theirs(texts))):
                best[i] = min(best[i], seconds)
                count = tokens if i == 0 else count
                assert count == tokens, f"{count} tokens of ours, {tokens} of theirs"
        rates = [megabytes / seconds for seconds in best]
        print(f"{kind:<10} {threads:<8} {rates[0]:>7.1f} MB/s {rates[1]:>7.1f} MB/s  {rates[0] / rates[1]:.1f}x")
print(f"best of {rounds}; tokenizers {__version__}, encode_batch_fast")
