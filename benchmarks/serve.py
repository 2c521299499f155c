"""A student behind HTTP against the same student called in one process: 200 requests, eight at once, on loopback.

The student is small and has random weights; what is measured is the server. It prints how many answers were lost or
differ, the requests a second of both, their ratio, and the memory of all processes of the server as it goes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
import psutil

from pkdot.inference.live import live_student
from tests.inference.serving import face_bundle, serving, write_clip

ROUNDS = 5


def memory(process) -> float:
    """Megabytes of a process and of those that it started."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(one.memory_info().rss for one in family) / 1e6


def main() -> None:
    """Measure, and print a line a round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bundle, path = face_bundle(Path(scratch, "student")), write_clip(Path(scratch, "clip.mp4"), seconds=2.0)
        clip, alone = path.read_bytes(), live_student(bundle, threads=psutil.cpu_count())
        wanted = [{key: one[key] for key in one if key != "event"} for one in alone.predict({"file": path})]
        begin = time.perf_counter()
        for _ in range(20):
            list(alone.predict({"file": path}))
        peer = 20 / (time.perf_counter() - begin)
        with serving(bundle) as (url, process), httpx.Client(base_url=url, timeout=600) as client:
            lost, seconds = 0, 0.0
            for number in range(ROUNDS):
                begin = time.perf_counter()
                with ThreadPoolExecutor(chosen.at_once) as pool:
                    tasks = [
                        pool.submit(client.post, "/predict", content=clip) for _ in range(chosen.requests // ROUNDS)
                    ]
                    answers = [task.result() for task in tasks]
                seconds += time.perf_counter() - begin
                lost += sum(one.status_code != 200 or one.json()["windows"] != wanted for one in answers)
                print(f"after {(number + 1) * len(answers)} requests: {memory(process):.0f} MB")
    own = chosen.requests / seconds
    print(f"lost or different: {lost} of {chosen.requests}")
    print(f"server {own:.2f} requests/s, one process {peer:.2f}, ratio {own / peer:.2f}")


if __name__ == "__main__":
    main()
