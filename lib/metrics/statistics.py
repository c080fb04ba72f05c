"""Intervals, drawing data again, rank correlation and tests: arrays go in, numbers come out.

Intervals are at the 95 % level. Arrays may be NumPy's or tensors; what comes out is NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binom, f_oneway, permutation_test, rankdata, t, ttest_1samp
from torch import Tensor

Array = npt.NDArray[Any]
ENDS = (0.025, 0.975)  # of a 95 % interval
ORDERS = 20_000  # of which the permutation test asks, where there are more


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Interval of a share, by Wilson's score.

    Parameters
    ----------
    successes, n : int
        How many of how many.
    z : float
        Quantile of the normal distribution; as it is, 95 %.

    Returns
    -------
    low, high : float
        Shares between 0 and 1.

    Raises
    ------
    ValueError
        Of no trials, or of more successes than trials.

    References
    ----------
    Wilson, Probable inference, the law of succession, and statistical inference (1927).

    Examples
    --------
    >>> low, high = wilson(7, 10)
    >>> round(low, 3), round(high, 3)
    (0.397, 0.892)
    """
    if not 0 <= successes <= n or not n:
        raise ValueError(
            f"successes must lie between 0 and n, and n be at least 1; got {successes} of {n}."
        )
    share, centre = successes / n, (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * (n * share * (1 - share) + z * z / 4) ** 0.5
    # rounding could take it out of the range, to "-0.000"
    return max(centre - half, 0.0), min(centre + half, 1.0)


# ---- drawing data again


def percentile_interval(drawn: npt.ArrayLike) -> tuple[Array, Array]:
    """Interval between the 2.5 and 97.5 percentiles of a statistic's values on data drawn again.

    Parameters
    ----------
    drawn : array [R,...]
        A value a resample. A resample without a value is NaN and is left out.

    Returns
    -------
    low, high : array [...]
        NaN where no resample has a value.

    References
    ----------
    Efron and Tibshirani, An introduction to the bootstrap (1993), chapter 13.

    Examples
    --------
    >>> low, high = percentile_interval(np.arange(41.0))
    >>> float(low), float(high)
    (1.0, 39.0)
    """
    values = np.asarray(drawn, dtype=np.float64)
    void = np.isnan(values).all(0)
    low, high = np.nanquantile(np.where(void, 0, values), ENDS, axis=0)
    return np.where(void, np.nan, low)[()], np.where(void, np.nan, high)[()]


def resample(
    statistic: Callable[..., Any],
    *arrays: Tensor | Array,
    axes: Sequence[Mapping[str, int]],
    counted: Collection[str] = (),
    resamples: int = 2000,
    seed: int | np.random.Generator = 0,
) -> Array:
    """Values of a statistic on data that are drawn again, with replacement: the bootstrap.

    What is drawn together is a group: pictures, seeds, methods. Every array says which of its axes
    is which group. A resample draws each group once, alike for all arrays that have it, and groups
    independently of one another; that two axes are equally long means nothing.

    Parameters
    ----------
    statistic : callable
        Takes the arrays, drawn again, and returns a number or an array; NaN says that this resample
        has no value (see `percentile_interval`).
    *arrays : array
    axes : sequence of {group: axis}
        One for each array: {"seeds": 0, "pictures": -1}; {} for what is not drawn again.
    counted : collection of str
        Groups that the arrays keep whole. Instead the statistic is told how often each of the
        group's members is drawn, [N], as a keyword of the group's name: sums with such weights are
        much faster than what they stand for.
    resamples : int
    seed : int or numpy.random.Generator
        A generator goes on where it is.

    Returns
    -------
    drawn : array [resamples,...]

    Raises
    ------
    ValueError
        If `axes` has not one entry for each array, `counted` names no group, or a group is of
        another length in another array, or empty.

    References
    ----------
    Davison and Hinkley, Bootstrap methods and their application (1997).

    Examples
    --------
    Accuracies of two seeds on the same four pictures, pictures and seeds drawn again:

    >>> right = np.array([[1.0, 1, 0, 0], [1, 0, 1, 1]])
    >>> drawn = resample(np.mean, right, axes=[{"seeds": 0, "pictures": 1}], resamples=500)
    >>> low, high = percentile_interval(drawn)
    >>> drawn.shape, float(low), float(high)
    ((500,), 0.25, 1.0)
    """
    data = [_numpy(array) for array in arrays]
    sizes = _group_sizes(data, axes)
    if unknown := sorted(set(counted) - set(sizes)):
        raise ValueError(f"counted names {unknown[0]!r}; the groups are {', '.join(sizes)}.")
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        times, places_of = {}, {}
        for group, size in sizes.items():
            if group in counted:
                times[group] = _times_drawn(np.ones(size), 1, rng)[0]
            else:
                places_of[group] = rng.integers(size, size=size)
        again = [_taken(*pair, places_of) for pair in zip(data, axes, strict=True)]
        values.append(statistic(*again, **times))
    return np.array(values)


def _taken(array: Array, groups: Mapping[str, int], places_of: Mapping[str, Array]) -> Array:
    """The array with the members at these places along each group's axis."""
    for group, axis in groups.items():
        if group in places_of:
            array = array[(slice(None),) * (axis % array.ndim) + (places_of[group],)]
    return array


def _numpy(values: Any) -> Array:
    """Tensors, arrays or lists as arrays of NumPy."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def _numbers(values: Any) -> Array:
    """The same as float64."""
    if isinstance(values, Tensor):
        values = values.double()
    return _numpy(values).astype(np.float64, copy=False)


def _group_sizes(data: Sequence[Array], axes: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """How many members each group has, in the order in which they are first named."""
    if len(axes) != len(data):
        raise ValueError(
            f"axes must say of each array which axis is which group; got {len(axes)} for "
            f"{len(data)} arrays."
        )
    sizes: dict[str, int] = {}
    for array, groups in zip(data, axes, strict=True):
        for group, axis in groups.items():
            size = array.shape[axis]
            if size != sizes.setdefault(group, size):
                raise ValueError(
                    f"{group} number {sizes[group]} in one array and {size} in another; give those "
                    "that are others a group of their own."
                )
            if not size:
                raise ValueError(f"there are no {group} to draw from; give at least one.")
    return sizes


def _times_drawn(copies: Array, resamples: int, rng: np.random.Generator) -> Array:
    """How often each value is drawn when as many are drawn as there are, [resamples,D].

    `copies` [D]: how many there are of each.
    """
    return rng.multinomial(int(copies.sum()), copies / copies.sum(), size=resamples)


def bootstrap(
    values: Tensor, resamples: int = 2000, generator: torch.Generator | None = None
) -> tuple[float, float]:
    """Percentile interval of the mean of numbers, images drawn again.

    Equal values are drawn together, by one multinomial count a resample: the distribution of
    `bootstrap_of` with a mean, and far fewer draws.

    Parameters
    ----------
    values : array [N]
        A number (or a flag) an image.
    resamples : int
    generator : torch.Generator, optional
        None: a fresh one with seed 0.

    Returns
    -------
    low, high : float

    Raises
    ------
    ValueError
        Of no values.

    References
    ----------
    Efron, Bootstrap methods: another look at the jackknife (1979).

    Examples
    --------
    >>> bootstrap(torch.tensor([True, True, False, True]))
    (0.25, 1.0)
    """
    generator = generator or torch.Generator().manual_seed(0)
    seed = int(torch.randint(2**31, (), generator=generator))
    distinct, copies = np.unique(_some(values), return_counts=True)
    drawn = _times_drawn(copies, resamples, np.random.default_rng(seed))
    low, high = np.quantile(drawn @ distinct / copies.sum(), ENDS)
    return float(low), float(high)


def _some(values: Any) -> Array:
    """`_numbers`, of which there must be one."""
    numbers = _numbers(values)
    if not numbers.size:
        raise ValueError("values are empty, and no values have no interval; give at least one.")
    return numbers


def median_interval(values: Tensor) -> tuple[float, float]:
    """Interval of the median, from two order statistics; free of any distribution.

    Parameters
    ----------
    values : array [N]

    Returns
    -------
    low, high : float
        Two of the values; of five and fewer, the smallest and the largest, which is less than 95 %.

    Raises
    ------
    ValueError
        Of no values, and of NaN.

    References
    ----------
    Conover, Practical nonparametric statistics (1999), section 3.2.

    Examples
    --------
    >>> median_interval(torch.arange(1, 21))
    (6.0, 15.0)
    """
    ordered = np.sort(_some(values))
    if np.isnan(ordered).any():
        raise ValueError("values contain NaN, which has no rank; leave it out.")
    low, high = binom.ppf(ENDS, len(ordered), 0.5).astype(int)
    return float(ordered[max(low - 1, 0)]), float(ordered[min(high, len(ordered) - 1)])


def bootstrap_of(
    statistic: Callable[..., float],
    *columns: Tensor,
    groups: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Value and percentile interval of any statistic, images drawn again: `resample`, in short.

    Parameters
    ----------
    statistic : callable
        Takes the columns as NumPy arrays of float64 and returns a number, so that a minimum over
        methods is taken within each resample. Resamples in which it is NaN are left out.
    *columns : array [...,N]
        Images last.
    groups : sequence of str, optional
        What images each column is of: columns of one name are drawn alike, of different names
        independently. None: all are of the same images.
    resamples, seed : int

    Returns
    -------
    value, low, high : float

    Raises
    ------
    ValueError
        If columns of the same images differ in N, or there are none.

    References
    ----------
    Efron and Tibshirani, An introduction to the bootstrap (1993).

    Examples
    --------
    How much larger the first of two paired columns is, at every image by 1:

    >>> x = torch.arange(10.0)
    >>> bootstrap_of(lambda a, b: (a - b).mean(), x + 1, x)
    (1.0, 1.0, 1.0)

    and if they were of other images:

    >>> value, low, high = bootstrap_of(
    ...     lambda a, b: (a - b).mean(), x + 1, x, groups=("these", "others")
    ... )
    >>> value, low < 0 < high
    (1.0, True)
    """
    arrays = [_numbers(column) for column in columns]
    names = ["images"] * len(arrays) if groups is None else groups
    axes = [{name: -1} for name in names]
    drawn = resample(statistic, *arrays, axes=axes, resamples=resamples, seed=seed)
    low, high = percentile_interval(drawn)
    return float(statistic(*arrays)), float(low), float(high)


def plain_means(values: Sequence[Tensor | Array]) -> Array:
    """Means of sets of numbers over pictures and seeds; every seed counts the same.

    Parameters
    ----------
    values : M arrays [S,N]
        Seeds by pictures, NaN where a picture has no number; it is left out.

    Returns
    -------
    means : array [M]

    Examples
    --------
    >>> plain_means([torch.tensor([[1.0, 3.0], [6.0, torch.nan]])]).tolist()
    [4.0]
    """
    return np.array([float(torch.as_tensor(v).nanmean(1).mean()) for v in values])


def resampled_means(
    values: Sequence[Tensor | Array],
    resamples: int = 2000,
    seed: int = 0,
    seeds_of: Sequence[Hashable] | None = None,
) -> Array:
    """`plain_means` when pictures and seeds are drawn again, all resamples at once.

    The same distribution as `resample` of means, without a pass over the numbers a resample. Two
    or three seeds drawn again know little of how seeds differ: their intervals are somewhat narrow.

    Parameters
    ----------
    values : M arrays [S,N]
        Seeds by pictures, all of the same pictures; NaN where a picture has no number.
    resamples, seed : int
    seeds_of : sequence of M names, optional
        What seeds each set is of: sets of one name are drawn alike, of different names
        independently. None: all are of the same seeds.

    Returns
    -------
    means : array [resamples,M]
        A resample in which some set has no number at all is replaced by one, drawn from the others,
        in which all have; NaN where there is none.

    Raises
    ------
    ValueError
        If sets differ in N, or sets of the same seeds in S.

    References
    ----------
    Davison and Hinkley, Bootstrap methods and their application (1997), section 3.8.

    Examples
    --------
    Two sets that differ by 2 at every seed and picture do so in every resample:

    >>> x = torch.tensor([[0.0, 1, 5], [2, 2, 3]])
    >>> drawn = resampled_means([x, x + 2], resamples=100)
    >>> bool(np.allclose(drawn[:, 1] - drawn[:, 0], 2))
    True
    """
    data = [_numbers(v) for v in values]
    names = ["seeds"] * len(data) if seeds_of is None else [f"seeds of {n}" for n in seeds_of]
    axes = [{"pictures": 1, name: 0} for name in names]
    sizes = _group_sizes(data, axes)
    rng = np.random.default_rng(seed)
    times = _times_drawn(np.ones(sizes.pop("pictures")), resamples, rng).astype(np.float64)
    picked = {
        name: rng.integers(size, size=(size, resamples)) for name, size in sorted(sizes.items())
    }
    means = np.empty((resamples, len(data)))
    for k, (numbers, name) in enumerate(zip(data, names, strict=True)):
        there = ~np.isnan(numbers)
        sums, counts = np.where(there, numbers, 0) @ times.T, there @ times.T  # [S,resamples]
        of_seed = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        means[:, k] = np.take_along_axis(of_seed, picked[name], 0).mean(0)
    void = np.isnan(means).any(1)
    if void.any() and not void.all():
        means[void] = means[rng.choice(np.flatnonzero(~void), void.sum())]
    return means


# ---- ranks


def spearman(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Spearman's rank correlation of two rows of numbers.

    Parameters
    ----------
    first, second : array [M]

    Returns
    -------
    correlation : float
        Ties share their mean rank; NaN where all numbers of one row are equal, or one is NaN.

    Raises
    ------
    ValueError
        If the two are not rows of one length.

    References
    ----------
    Spearman, The proof and measurement of association between two things (1904).

    Examples
    --------
    >>> spearman([1, 2, 3, 4], [10, 30, 20, 40])
    0.8
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"spearman takes two rows of one length; got {a.shape} and {b.shape}.")
    return float(spearman_rows(a[None], b[None])[0])


def spearman_rows(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    """Spearman's rank correlation of each row of one table with the same row of another.

    Parameters
    ----------
    first, second : array [R,M]

    Returns
    -------
    correlations : array [R]
        Of each row as `spearman`.

    Examples
    --------
    >>> spearman_rows([[1, 2, 3], [1, 2, 3]], [[2, 4, 9], [7, 7, 7]]).tolist()
    [1.0, nan]
    """
    a, b = rankdata(first, axis=1), rankdata(second, axis=1)
    # ranks and their mean are multiples of 1/2, so that all sums are exact
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        correlations: Array = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return correlations


def spearman_interval(
    first: npt.ArrayLike, second: npt.ArrayLike, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """`bootstrap_of` of Spearman's correlation, all resamples at once.

    Parameters
    ----------
    first, second : array [M]
        Numbers of the same M things, which are drawn again. Resamples in which all numbers of one
        row are equal are left out.
    resamples, seed : int

    Returns
    -------
    correlation, low, high : float

    Raises
    ------
    ValueError
        If the two are not rows of one length.

    Examples
    --------
    >>> spearman_interval([1, 2, 3, 4, 5], [10, 20, 30, 40, 50])
    (1.0, 1.0, 1.0)
    """
    a, b = _numbers(first), _numbers(second)
    value = spearman(a, b)
    picked = np.random.default_rng(seed).integers(len(a), size=(resamples, len(a)))
    low, high = percentile_interval(spearman_rows(a[picked], b[picked]))
    return value, float(low), float(high)


def places(merit: npt.ArrayLike, among: Sequence[int]) -> Array:
    """Which place each takes among some of them: 1 has the most merit.

    Parameters
    ----------
    merit : array [...,M]
        More is better.
    among : sequence of int
        Those that are ranked, as places on the last axis. The others get the place that each alone
        would take among these, and change nobody's.

    Returns
    -------
    places : array [...,M]
        Equals share the mean of their places: half a place for each that is level.

    Examples
    --------
    >>> places([5, 3, 3, 4], among=[0, 1, 2]).tolist()
    [1.0, 2.5, 2.5, 2.0]
    """
    of_all = np.asarray(merit)
    rivals, own = of_all[..., None, list(among)], of_all[..., None]
    ahead = (rivals > own).astype(float) + 0.5 * (rivals == own)
    ahead[..., list(among), np.arange(len(among))] = 0  # nobody is ahead of itself
    result: Array = 1 + ahead.sum(-1)
    return result


def weighted_roc_auc(scores: Array, positive: Array, weights: Array) -> float:
    """Area under the ROC curve: how often a positive scores more than a negative.

    The probability for one of each, drawn by their weights; a tie counts half. It is not the area
    under a deletion curve (`auc`).

    Parameters
    ----------
    scores : array [N]
    positive : bool array [N]
    weights : array [N]
        At least 0; those with 0 do not count.

    Returns
    -------
    area : float
        0.5 if scores tell nothing; NaN without any positive or any negative.

    References
    ----------
    Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic
    (ROC) curve (1982).

    Examples
    --------
    >>> weighted_roc_auc(np.array([1, 2, 3]), np.array([False, True, True]), np.ones(3))
    1.0
    >>> weighted_roc_auc(np.array([2, 2, 1]), np.array([False, True, True]), np.array([1, 3, 1]))
    0.375
    """
    order = np.argsort(scores, kind="stable")
    of_positive, of_negative = (weights * positive)[order], (weights * ~positive)[order]
    if not of_positive.sum() or not of_negative.sum():
        return float("nan")
    _, level = np.unique(scores[order], return_inverse=True)
    at_level = np.bincount(level, of_negative)
    below = np.cumsum(at_level) - at_level / 2
    pairs_won = (of_positive * below[level]).sum()
    return float(pairs_won / of_positive.sum() / of_negative.sum())


# ---- tests


def permutation_p(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Two-sided p of Spearman's correlation of two rows, by permutation.

    How often the correlation is at least as far from 0 when one row is put in another order: all
    orders up to seven numbers, else 20,000 with the given one among them, always the same ones.

    Parameters
    ----------
    first, second : array [M]

    Returns
    -------
    p : float
        Of four numbers none is below 1/12; NaN if a number is NaN.

    References
    ----------
    Phipson and Smyth, Permutation p-values should never be zero (2010).

    Examples
    --------
    >>> permutation_p([1, 2, 3, 4, 5], [2, 4, 6, 8, 10]) == 2 / 120
    True
    """
    a, b = (rankdata(v) - (np.size(v) + 1) / 2 for v in (first, second))
    if np.isnan(a).any() or np.isnan(b).any():
        return float("nan")

    def strength(ranks: Array, axis: int) -> Array:
        """Proportional to the size of the correlation, and exact."""
        size: Array = np.abs(ranks @ b)
        return size

    result = permutation_test(
        (a,),
        strength,
        vectorized=True,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=ORDERS - 1,
        random_state=np.random.default_rng(0),
    )
    return float(result.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down rule.

    Parameters
    ----------
    p : sequence of float
        NaN where no test was made; these stay NaN and do not count.

    Returns
    -------
    corrected : list of float
        In the order of `p`.

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure (1979).

    Examples
    --------
    >>> holm([0.01, 0.2, 0.02])
    [0.03, 0.2, 0.04]
    """
    given = np.asarray(p, dtype=np.float64)
    corrected = np.full(len(given), np.nan)
    order = np.argsort(given)[: (~np.isnan(given)).sum()]  # NaN is sorted to the end
    steps = [(len(order) - k) * given[i] for k, i in enumerate(order)]
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1) if steps else []
    return [float(value) for value in corrected]


def smallest_significant(n: int, tests: int, level: float = 0.05) -> float:
    """The smallest rank correlation, in size, that can be significant as one of several.

    Parameters
    ----------
    n : int
        Numbers in each of the two rows.
    tests : int
        How many correlations are tested: Holm's first step asks for `level / tests`.
    level : float

    Returns
    -------
    bound : float
        By the t approximation; NaN where so few numbers have too few orders for any to be.

    Examples
    --------
    >>> round(smallest_significant(14, 1), 2), round(smallest_significant(14, 78), 2)
    (0.53, 0.8)
    """
    at = level / tests
    if n < 3 or 2 / factorial(n) > at:
        return float("nan")
    bound = t.isf(at / 2, n - 2)
    return float(bound / (n - 2 + bound**2) ** 0.5)


def mean_test(values: npt.ArrayLike) -> tuple[float, float, float]:
    """The t interval of a mean, and the one-sided p that the mean is not above 0.

    Parameters
    ----------
    values : array [N]
        Two or more; paired differences, say.

    Returns
    -------
    low, high : float
        0 where all values are 0.
    p : float
        1 where all values are 0.

    References
    ----------
    Student, The probable error of a mean (1908).

    Examples
    --------
    >>> [round(number, 3) for number in mean_test([1.0, 2.0, 3.0])]
    [-0.484, 4.484, 0.037]
    """
    numbers = np.asarray(values)
    if not numbers.any():  # the test would divide by 0
        return 0.0, 0.0, 1.0
    low, high = ttest_1samp(numbers, 0).confidence_interval()
    p = ttest_1samp(numbers, 0, alternative="greater").pvalue
    return float(low), float(high), float(p)


# ---- seeds


def pooled_variance(groups: Sequence[npt.ArrayLike]) -> tuple[float, int]:
    """Variance within groups, and its degrees of freedom.

    Parameters
    ----------
    groups : sequence of array
        Their sizes may differ; one of a single number says nothing of the variance.

    Returns
    -------
    variance : float
        NaN without a degree of freedom.
    degrees : int

    Examples
    --------
    >>> pooled_variance([[1.0, 3.0], [5.0, 5.0, 8.0], [7.0]])
    (2.6666666666666665, 3)
    """
    spread = [np.asarray(group, dtype=np.float64) for group in groups if np.size(group) > 1]
    degrees = sum(len(group) - 1 for group in spread)
    if not degrees:
        return float("nan"), degrees
    squares = sum(group.var(ddof=1) * (len(group) - 1) for group in spread)
    return float(squares / degrees), degrees


def one_way(groups: Sequence[npt.ArrayLike]) -> tuple[float, float, float]:
    """Do groups (methods) differ by more than the numbers (seeds) in them? One-way analysis of
    variance.

    Parameters
    ----------
    groups : sequence of array
        Two groups or more, each of two numbers or more.

    Returns
    -------
    between : float
        Standard deviation of the groups' means.
    within : float
        Standard deviation in a group, the mean of the variances taken over groups.
    p : float

    References
    ----------
    Fisher, Statistical methods for research workers (1925), chapter 7.

    Examples
    --------
    >>> [round(number, 4) for number in one_way([[0.29, 0.31], [0.49, 0.51]])]
    [0.1414, 0.0141, 0.005]
    """
    numbers = [np.asarray(group, dtype=np.float64) for group in groups]
    between = np.std([group.mean() for group in numbers], ddof=1)
    within = np.mean([group.var(ddof=1) for group in numbers]) ** 0.5
    return float(between), float(within), float(f_oneway(*numbers).pvalue)


def t_test(difference: float, variance: float, degrees: int, *counts: int) -> float:
    """Two-sided p that a mean, or a difference of two means, is 0.

    Parameters
    ----------
    difference : float
    variance : float
        Of one number, estimated with so many degrees of freedom.
    degrees : int
    *counts : int
        Over how many numbers the mean, or each of the two, is taken.

    Returns
    -------
    p : float
        NaN without a degree of freedom. Where nothing varies any difference is certain: 0, and 1
        if there is none.

    References
    ----------
    Student, The probable error of a mean (1908).

    Examples
    --------
    >>> round(t_test(2.818, 4.0, 10, 5, 5), 3)
    0.05
    """
    if not degrees:
        return float("nan")
    error = (variance * sum(1 / n for n in counts)) ** 0.5
    if not error:
        return float(difference == 0)
    return float(2 * t.sf(abs(difference) / error, degrees))


def t_half_width(variance: float, degrees: int, *counts: int) -> float:
    """Half the width of the t interval of a mean, or of the difference of two means.

    Parameters
    ----------
    variance : float
        Of one number, estimated with so many degrees of freedom.
    degrees : int
    *counts : int
        Over how many numbers the mean, or each of the two, is taken.

    Returns
    -------
    half_width : float
        NaN without a degree of freedom.

    References
    ----------
    Student, The probable error of a mean (1908).

    Examples
    --------
    >>> round(t_half_width(4.0, 10, 5, 5), 3)
    2.818
    """
    if not degrees:
        return float("nan")
    return float(t.ppf(ENDS[1], degrees) * (variance * sum(1 / n for n in counts)) ** 0.5)


def t_interval(values: npt.ArrayLike) -> tuple[Array, float]:
    """Means over seeds and the half-width of their t intervals, one for all rows.

    The variance over seeds is pooled over the rows: two seeds alone leave one degree of freedom, an
    interval nine times as wide as what it measures.

    Parameters
    ----------
    values : array [M,S]
        Rows (methods) by seeds.

    Returns
    -------
    means : array [M]
    half_width : float
        NaN of one seed.

    Examples
    --------
    >>> means, half_width = t_interval([[1.0, 3.0], [5.0, 5.0]])
    >>> means.tolist(), round(half_width, 3)
    ([2.0, 5.0], 3.042)
    """
    numbers = np.asarray(values, dtype=np.float64)
    means: Array = numbers.mean(1)
    rows, seeds = numbers.shape
    degrees = rows * (seeds - 1)
    if not degrees:
        return means, float("nan")
    squares = ((numbers - means[:, None]) ** 2).sum()
    return means, t_half_width(float(squares / degrees), degrees, seeds)


def two_way_residual(values: npt.ArrayLike) -> tuple[float, int]:
    """Variance that is left when the mean of every row and of every seed is taken out.

    Parameters
    ----------
    values : array [M,S,...]
        Rows (methods) by seeds; further axes are tables of their own, whose squares are added.

    Returns
    -------
    variance : float
        NaN without a degree of freedom.
    degrees : int
        Degrees of freedom.

    References
    ----------
    Fisher, The design of experiments (1935), on randomised blocks.

    Examples
    --------
    >>> two_way_residual([[1.0, 2.0], [3.0, 5.0]])
    (0.25, 1)
    """
    numbers = np.asarray(values, dtype=np.float64)
    rows, seeds = numbers.shape[:2]
    rest = (
        numbers
        - numbers.mean(0, keepdims=True)
        - numbers.mean(1, keepdims=True)
        + numbers.mean((0, 1), keepdims=True)
    )
    degrees = (rows - 1) * (seeds - 1) * int(np.prod(numbers.shape[2:]))
    return float((rest**2).sum() / degrees) if degrees else float("nan"), degrees
