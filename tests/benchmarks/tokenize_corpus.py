"""The tokenization job against a bare loop, and its memory against the corpus's size.

    python tests/benchmarks/tokenize_corpus.py [--num-images 1500] [--threads 2]

Speed: images per second of the job once its actors are up (from its first finished block to its
last), against a plain Python loop in one process that decodes, embeds and encodes the same images
with the same number of threads. Job, loop, job, loop run in turn; medians are compared.

Memory: peak of driver and workers together, as the sum of proportional set sizes (shared pages
counted once, by share), for a corpus and for one ten times as large.

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from pipelines.corpus.sources.coco import CocoSource
from pipelines.storage import Place
from samtok import SAMTok
from samtok.scenes.files import write_scene_files

ROOT = Path(__file__).parents[2]


def make_corpus(folder: Path, num_images: int) -> None:
    """Scenes as PNG files with COCO annotations, made by the project's own writer."""
    write_scene_files(folder, num_images=num_images, seed=0, split="test")


def run_bare_loop(corpus: Path, num_images: int, threads: int) -> float:
    """Images per second of decode + embed + encode in this process."""
    torch.set_num_threads(threads)
    tokenizer = SAMTok.from_pretrained("tiny", device="cpu")
    source = CocoSource(annotations=str(corpus / "instances.json"), images=str(corpus / "images"))
    with tempfile.TemporaryDirectory() as scratch:
        place = Place.at(scratch)
        index = source.write_index(place, limit=num_images)
        rows = [r for shard in index.shards for r in place.read_parquet(shard).to_pylist()]
    start = time.perf_counter()
    for row in rows:
        image = source.decode(row["image_id"], row["payload"])
        if image.pixels is not None and image.masks:
            tokenizer.encode(tokenizer.embed(image.pixels), [mask.rle for mask in image.masks])
    return len(rows) / (time.perf_counter() - start)


def run_job(corpus: Path, num_images: int, threads: int) -> tuple[float, float]:
    """Images per second once actors are up, and peak memory in MiB."""
    output = Path(tempfile.mkdtemp())
    command = [
        *(sys.executable, "jobs/tokenize_corpus.py", "--source", "coco"),
        *("--annotations", str(corpus / "instances.json"), "--images", str(corpus / "images")),
        *("--output", str(output / "out"), "--limit", str(num_images)),
        *("--num-actors", str(threads), "--preview-images", "0"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    meter = MemoryMeter(process.pid)
    printed, _ = process.communicate()
    peak = meter.stop()
    if process.returncode:
        raise SystemExit(printed.decode())
    counts = json.loads((output / "out" / "_manifest.json").read_text())["counts"]
    shutil.rmtree(output)
    seconds = counts["seconds_streaming"]  # 0 for a single block, which has no rate
    return counts["images_streamed"] / seconds if seconds else 0.0, peak


class MemoryMeter:
    """Follows a process and all its descendants; peak of their summed PSS, in MiB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._stopped.wait(0.5):
            self._peak = max(self._peak, sum(map(read_pss, descendants(self._pid))))


def descendants(root: int) -> set[int]:
    """Process ids below `root`, itself included."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
            except OSError:
                continue
    found, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def read_pss(pid: int) -> float:
    """Proportional set size in MiB; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-images", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        make_corpus(corpus, args.num_images)
        jobs, loops = [], []
        for _ in range(args.rounds):
            jobs.append(run_job(corpus, args.num_images, args.threads))
            loops.append(run_bare_loop(corpus, args.num_images, args.threads))
        _, small_peak = run_job(corpus, args.num_images // 10, args.threads)
    job_speed = statistics.median(speed for speed, _ in jobs)
    loop_speed = statistics.median(loops)
    large_peak = max(peak for _, peak in jobs)
    print(
        json.dumps(
            {
                "images": args.num_images,
                "threads": args.threads,
                "job_images_per_second": round(job_speed, 2),
                "bare_loop_images_per_second": round(loop_speed, 2),
                "job_over_bare_loop": round(job_speed / loop_speed, 3),
                "peak_mib": round(large_peak),
                "peak_mib_tenth_of_corpus": round(small_peak),
                "memory_growth": round(large_peak / small_peak - 1, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
