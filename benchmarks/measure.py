"""Seconds of runs that take turns, their ratios, peak memory, exponents, and where time goes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

Run = Callable[[], torch.Tensor]


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of some numbers."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Spread(float(middle), float(low), float(high))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Median and quartiles of the quotients of paired rounds."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def seconds_of(run: Run) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def alternating(
    runs: dict[str, Run], seconds: float, least: int = 5, most: int = 40
) -> dict[str, list[float]]:
    """Seconds of each run, round by round, until about `seconds` have passed.

    Every round takes all runs, the even ones in reverse order, so that a busy moment or a warm
    cache falls on all of them. There are at least `least` rounds and at most `most`.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    for turn in range(most):
        if turn >= least and time.perf_counter() > end:
            break
        for name in list(runs)[:: -1 if turn % 2 else 1]:
            taken[name].append(seconds_of(runs[name]))
    return taken


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The distance of two results as a share of the second's size."""
    theirs = theirs.detach()
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-30))


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The power of the size with which the cost grows: the slope of least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def peak_memory(run: Run) -> int:
    """Bytes of tensors that a call holds at its fullest, beyond those that were there before it."""
    run()  # what is built once is no part of it
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run()
    events = watched.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return int(max(np.cumsum([bytes_ for _, bytes_ in changes]), default=0))


def _shares(run: Run) -> tuple[Counter, float]:
    """Seconds within each operation, and those of the whole call."""
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        whole = seconds_of(run)
    within = {e.key: e.self_cpu_time_total / 1e6 for e in watched.key_averages()}
    return Counter({name: s for name, s in within.items() if name.startswith("aten::")}), whole


def explained(ours: Run, theirs: Run, most: int = 3) -> str:
    """One line: on which operations the first run spends more than the second.

    Shares are of the first run's time, under the profiler. What is no operation of PyTorch is the
    interpreter's: rules, hooks and NumPy.
    """
    for run in (ours, theirs):
        run()
    (spent, whole), (needed, base) = _shares(ours), _shares(theirs)
    more = Counter({name: s - needed[name] for name, s in spent.items()})
    more["outside PyTorch's operations"] = (whole - spent.total()) - (base - needed.total())
    named = [f"{name.removeprefix('aten::')} {s / whole:.0%}" for name, s in more.most_common(most)]
    return f"more time in {', '.join(named)} of {whole * 1e3:.0f} ms"
