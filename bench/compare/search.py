"""Exact top-10 search against faiss on this machine, in turns: python3 bench/compare/search.py

Needs faiss-cpu and numpy, and build/release/bin/search_time. Rows are f32 (IndexFlatIP) and f16 (IndexScalarQuantizer of
QT_fp16); both search the same rows with the same queries and threads, and what they find is compared."""
import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import faiss
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Ours:
    def __init__(self, folder, queries, storage, threads):
        np.save(folder / "queries.npy", queries)
        self.process = subprocess.Popen(
            [ROOT / "build/release/bin/search_time", folder / "rows.npy", folder / "queries.npy", folder / "found.npy",
             storage], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"OMP_NUM_THREADS": str(threads)})
        self.milliseconds()
        self.found = np.load(folder / "found.npy")

    def milliseconds(self):
        self.process.stdin.write("1\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


class Faiss:
    def __init__(self, index, queries):
        self.index, self.queries = index, queries
        self.found = index.search(queries, 10)[1]

    def milliseconds(self):
        start = time.perf_counter()
        self.index.search(self.queries, 10)
        return 1e3 * (time.perf_counter() - start)


def alone(runner):
    time.sleep(0.25)  # threads of the other one's OpenMP spin on for up to 200 ms
    runner.milliseconds()
    return runner.milliseconds()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    faiss.omp_set_num_threads(args.threads)
    random = np.random.default_rng(0)
    print(f"faiss {faiss.__version__}, {args.threads} threads, medians of {args.rounds}")
    for count, size in ((100_000, 512), (1_000_000, 256)):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            rows = random.standard_normal((count, size), dtype=np.float32)
            np.save(folder / "rows.npy", rows)
            for storage in ("f32", "f16"):
                index = faiss.IndexFlatIP(size) if storage == "f32" else faiss.IndexScalarQuantizer(
                    size, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
                index.train(rows)
                index.add(rows)
                for queries in (1, 64):
                    asked = random.standard_normal((queries, size), dtype=np.float32)
                    ours, peer = Ours(folder, asked, storage, args.threads), Faiss(index, asked)
                    same = np.mean(ours.found == peer.found)
                    assert same > 0.99, f"only {same:.0%} of the rows found are the same"
                    times = [(alone(ours), alone(peer)) for _ in range(args.rounds)]
                    mine, theirs = (statistics.median(column) for column in zip(*times))
                    print(f"{count} x {size} {storage}, {queries:2} queries: ours {mine:.1f} ms, faiss {theirs:.1f} ms "
                          f"({theirs / mine:.2f}x), same rows {same:.1%}", flush=True)
                    ours.process.stdin.close()


if __name__ == "__main__":
    main()
