"""What the benchmarks share: their options, pictures, and ratios of interleaved repeats."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from study.subjects import sources


def options(
    about: str, batch: int
) -> tuple[argparse.Namespace, Callable[[], float], sources.Dataset]:
    """The chosen options, the clock and the pictures; prints what is measured."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--size", type=int, default=32, help="height and width in pixels")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=["basic_cnn", "resnet18"])
    parser.add_argument(
        "--weights",
        help="a tag or file that study.subjects.networks.load accepts; default: freshly drawn",
    )
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    pictures = sources.load("shapes10", "test", size=chosen.size, count=chosen.batch)
    print(
        f"{chosen.batch} pictures of {chosen.size} pixels, {chosen.threads} thread(s), "
        f"{chosen.repeats} repeats, {chosen.clock} clock, "
        f"weights {chosen.weights or 'freshly drawn'}, PyTorch {torch.__version__}"
    )
    return chosen, time.perf_counter if chosen.clock == "wall" else time.process_time, pictures


def interleaved(
    runs: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each run, `repeats` times in turn, so that a busy moment falls on all of them."""
    seconds = {name: [] for name in runs}
    for _ in range(repeats):
        for name, function in runs.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> str:
    """Median and range of the ratios of paired repeats."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return f"{statistics.median(ratios):.2f} times  (from {min(ratios):.2f} to {max(ratios):.2f})"
