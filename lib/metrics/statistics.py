"""Intervals and rank correlations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import binom, rankdata
from torch import Tensor


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share, by Wilson's score (1927)."""
    share, centre = successes / n, (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * (n * share * (1 - share) + z * z / 4) ** 0.5
    return centre - half, centre + half


def bootstrap(
    values: Tensor, resamples: int = 2000, generator: torch.Generator | None = None
) -> tuple[float, float]:
    """95 % percentile interval of the mean of values [N], resampled over images.

    Equal values are drawn together, by one multinomial count a resample: the same distribution, and
    far fewer draws.
    """
    generator = generator or torch.Generator().manual_seed(0)
    seed = int(torch.randint(2**31, (), generator=generator))
    distinct, counts = np.unique(torch.as_tensor(values).double().cpu().numpy(), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(
        counts.sum(), counts / counts.sum(), size=resamples
    )
    low, high = np.quantile(drawn @ distinct / counts.sum(), [0.025, 0.975])
    return float(low), float(high)


def median_interval(values: Tensor) -> tuple[float, float]:
    """95 % interval of the median of values [N], from its order statistics.

    Free of any distribution.
    """
    ordered = np.sort(torch.as_tensor(values).double().cpu().numpy())
    low, high = binom.ppf([0.025, 0.975], len(ordered), 0.5).astype(int)
    return float(ordered[max(low - 1, 0)]), float(ordered[min(high, len(ordered) - 1)])


def bootstrap_of(
    statistic: Callable[..., float], *columns: Tensor, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Value and 95 % percentile interval of `statistic(*columns)`, a number.

    Images are resampled jointly. Each column is [...,N] with the images last; `statistic` takes
    NumPy arrays of that shape, so a minimum over methods is taken within each resample. Columns of
    another N are other images, resampled by themselves.
    """
    arrays = [torch.as_tensor(c).double().cpu().numpy() for c in columns]
    counts = dict.fromkeys(a.shape[-1] for a in arrays)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        index = {count: rng.integers(count, size=count) for count in counts}
        drawn.append(statistic(*(a[..., index[a.shape[-1]]] for a in arrays)))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(statistic(*arrays)), float(low), float(high)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two rows of numbers.

    Ties share their mean rank, NaN where one row is constant.
    """
    a, b = rankdata(first), rankdata(second)
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else float("nan")
