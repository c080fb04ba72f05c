"""What the synthesis's numbers say: values and ranks with intervals, whether metrics agree, and
what they reward.

Every function takes numbers as study.experiments.synthesis gives them: metric -> name -> [S,N],
seeds by pictures, NaN where a picture has none. Intervals are 95 % percentile intervals over
pictures and seeds drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, pairwise, permutations

import numpy as np
import pandas as pd
from scipy.stats import rankdata, ttest_1samp
from torch import Tensor

from lib import attribution
from lib.attribution import crosses
from lib.metrics import spearman
from study.experiments import retraining_tables
from study.experiments.synthesis import METRICS


def resampled_means(values: Sequence[Tensor], resamples: int, seed: int) -> np.ndarray:
    """Means [resamples,M] of M sets of numbers [S,N] over seeds and pictures, both drawn again,
    alike for all sets; NaN left out.

    A few seeds drawn again know little of how seeds differ: of two or three the intervals are
    somewhat narrow.
    """
    rng, count = np.random.default_rng(seed), values[0].shape[1]
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    sizes = sorted({len(of_name) for of_name in values})
    picked = {size: rng.integers(size, size=(size, resamples)) for size in sizes}
    out = np.empty((resamples, len(values)))
    for k, of_name in enumerate(values):
        numbers = of_name.numpy().astype(np.float64)
        there = ~np.isnan(numbers)
        sums, counts = np.where(there, numbers, 0) @ drawn.T, there @ drawn.T  # [S,resamples]
        of_seed = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        out[:, k] = np.take_along_axis(of_seed, picked[len(numbers)], 0).mean(0)
    # a resample in which some set has no number at all is replaced by one in which all have
    void = np.isnan(out).any(1)
    if void.any() and not void.all():
        out[void] = out[rng.choice(np.flatnonzero(~void), void.sum())]
    return out


def plain_means(values: Sequence[Tensor]) -> np.ndarray:
    """Means [M] of M sets of numbers [S,N], NaN left out; each seed counts the same."""
    return np.array([float(v.nanmean(1).mean()) for v in values])


def _shown(found: dict[str, dict[str, Tensor]]) -> list[str]:
    """The metrics that have a number for any picture and any name that is not shuffled, in the
    order of `METRICS`."""

    def plain_names(metric):
        return [n for n in _there(found[metric]) if ":" not in n]

    return [m for m in METRICS if m in found and plain_names(m)]


def _there(of: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that have a number for any picture."""
    return {n: v for n, v in of.items() if (~v.isnan()).any()}


def _ranks(merit: np.ndarray, published: Sequence[int]) -> np.ndarray:
    """Place [...,M] among the published methods, 1 is best, half a place for a tie: of the others,
    the one that each would take."""
    rivals = merit[..., None, list(published)]
    ahead = (rivals > merit[..., None]).astype(float) + 0.5 * (rivals == merit[..., None])
    ahead[..., list(published), np.arange(len(published))] = 0  # nobody is ahead of itself
    return 1 + ahead.sum(-1)


def summary(found: dict[str, dict[str, Tensor]], *, resamples: int = 2000) -> pd.DataFrame:
    """Value and rank of every name under every metric, with 95 % intervals over pictures (and
    seeds).

    Columns metric, name, value, low, high, rank (1 is best) among the published methods, of others
    the rank that they would take, rank_low, rank_high, of (how many published ones have a value), n
    (pictures).
    """
    columns = ["metric", "name", "value", "low", "high", "rank", "rank_low", "rank_high", "of", "n"]
    rows = []
    for metric in _shown(found):
        better = METRICS[metric].better
        names = [n for n in _there(found[metric]) if ":" not in n]
        values = [found[metric][n] for n in names]
        published = [k for k, n in enumerate(names) if n in attribution.METHODS]
        means, drawn = plain_means(values), resampled_means(values, resamples, 0)
        low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
        ranks = _ranks(better * means, published)
        ranks_drawn = _ranks(better * drawn, published)
        rank_low, rank_high = np.quantile(ranks_drawn, [0.025, 0.975], axis=0)
        for k, name in enumerate(names):
            rows.append(
                {
                    "metric": metric,
                    "name": name,
                    "value": means[k],
                    "low": low[k],
                    "high": high[k],
                    "rank": ranks[k],
                    "rank_low": rank_low[k],
                    "rank_high": rank_high[k],
                    "of": len(published),
                    "n": int((~values[k].isnan()).any(0).sum()),
                }
            )
    return pd.DataFrame(rows, columns=columns)


def agreement(
    found: dict[str, dict[str, Tensor]], *, without: Sequence[str] = (), resamples: int = 1000
) -> pd.DataFrame:
    """Do two metrics rank the methods alike? Spearman's correlation over the published methods that
    both have, but those in `without`.

    Turned so that better goes with better. Columns first, second, correlation, low, high (methods
    and pictures drawn again; rough for so few methods), methods, p (permutations of the methods),
    p_corrected (Holm, over the pairs of this table).
    """
    names, means, drawn = {}, {}, {}
    for metric in _shown(found):
        there = _there(found[metric])
        methods = [n for n in there if n in attribution.METHODS and n not in without]
        if not methods:
            continue
        better, values = METRICS[metric].better, [there[n] for n in methods]
        names[metric] = methods
        means[metric] = better * plain_means(values)
        drawn[metric] = better * resampled_means(values, resamples, 0)
    rng, rows = np.random.default_rng(0), []
    for first, second in combinations(names, 2):
        both = [n for n in names[first] if n in names[second]]
        if len(both) < 4:
            continue
        in_first = [names[first].index(n) for n in both]
        in_second = [names[second].index(n) for n in both]
        pick = rng.integers(len(both), size=(resamples, len(both)))
        low, high = _interval(
            _spearman_rows(
                np.take_along_axis(drawn[first][:, in_first], pick, 1),
                np.take_along_axis(drawn[second][:, in_second], pick, 1),
            )
        )
        sides = means[first][in_first], means[second][in_second]
        rows.append(
            {
                "first": first,
                "second": second,
                "correlation": spearman(*sides),
                "low": low,
                "high": high,
                "methods": len(both),
                "p": permutation_p(*sides),
            }
        )
    _add_corrected(rows)
    return pd.DataFrame(
        rows,
        columns=["first", "second", "correlation", "low", "high", "methods", "p", "p_corrected"],
    )


def _add_corrected(rows: list[dict]) -> None:
    """Give every row, beside its "p", the one that is corrected for their number."""
    corrected = retraining_tables.holm([row["p"] for row in rows])
    for row, p_corrected in zip(rows, corrected, strict=True):
        row["p_corrected"] = p_corrected


def _interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of those that are not NaN; NaN of none."""
    if np.isnan(values).all():
        return np.nan, np.nan
    low, high = np.nanquantile(values, [0.025, 0.975])
    return low, high


def _spearman_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of [R,M] with the same row of the other, [R]; NaN where
    all of one are equal."""
    a, b = rankdata(first, axis=1), rankdata(second, axis=1)
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


@lru_cache
def _orders(count: int) -> np.ndarray:
    """All orders of up to seven things, 20,000 drawn ones of more, [...,count]."""
    if count <= 7:
        return np.array(list(permutations(range(count))))
    rng = np.random.default_rng(0)
    return np.stack([np.arange(count), *(rng.permutation(count) for _ in range(19_999))])


def permutation_p(first: np.ndarray, second: np.ndarray) -> float:
    """How often Spearman's correlation is at least as far from 0 when one of two rows of M numbers
    is put in another order, two-sided.

    Exact up to seven, else from 20,000 orders, the given one among them. Of four methods none is
    below 1/12.
    """
    a, b = (rankdata(v) - (len(v) + 1) / 2 for v in (first, second))
    return float((np.abs(a[_orders(len(a))] @ b) >= abs(a @ b) - 1e-9).mean())


def sparsity(found: dict[str, dict[str, Tensor]], *, resamples: int = 1000) -> pd.DataFrame:
    """Does a metric reward sparsity alone? Each method's map against the same map with its pixels
    shuffled.

    Columns metric; kept (Spearman's correlation over methods of the shuffled maps' merit with the
    share of pixels that are not zero; -1: the sparser the better, whatever is shown); explained (of
    the methods' merit with that of their own shuffled maps), each with *_low, *_high over methods
    and pictures; beaten (methods that do no better than their shuffled map), of.
    """
    columns = [
        "metric",
        "kept",
        "kept_low",
        "kept_high",
        "explained",
        "explained_low",
        "explained_high",
        "beaten",
        "of",
    ]
    rows, share = [], found.get("kept", {})
    for metric in _shown(found):
        there = _there(found[metric])
        names = [n for n in there if f"shuffled:{n}" in there and n in share]
        if len(names) < 4:
            continue
        values = [there[n] for n in names]
        shuffled_values = [there[f"shuffled:{n}"] for n in names]
        density = plain_means([share[n] for n in names])
        rows.append(_sparsity_row(metric, values, shuffled_values, density, resamples))
    return pd.DataFrame(rows, columns=columns)


def _sparsity_row(
    metric: str,
    values: Sequence[Tensor],
    shuffled_values: Sequence[Tensor],
    density: np.ndarray,
    resamples: int,
) -> dict:
    """A row of `sparsity`: numbers of M maps and of these shuffled, and the share of pixels that
    are not zero, [M]."""
    better, count = METRICS[metric].better, len(values)
    own, shuffled = better * plain_means(values), better * plain_means(shuffled_values)
    own_drawn = better * resampled_means(values, resamples, 0)
    shuffled_drawn = better * resampled_means(shuffled_values, resamples, 0)
    gain = np.quantile(own_drawn - shuffled_drawn, 0.025, axis=0)
    # methods are drawn again, too
    pick = np.random.default_rng(0).integers(count, size=(resamples, count))
    own_picked = np.take_along_axis(own_drawn, pick, 1)
    shuffled_picked = np.take_along_axis(shuffled_drawn, pick, 1)
    kept_low, kept_high = _interval(_spearman_rows(shuffled_picked, density[pick]))
    explained_low, explained_high = _interval(_spearman_rows(own_picked, shuffled_picked))
    return {
        "metric": metric,
        "kept": spearman(shuffled, density),
        "kept_low": kept_low,
        "kept_high": kept_high,
        "explained": spearman(own, shuffled),
        "explained_low": explained_low,
        "explained_high": explained_high,
        "beaten": int((gain <= 0).sum()),
        "of": count,
    }


def over_shuffled(found: dict[str, dict[str, Tensor]], *, resamples: int = 2000) -> pd.DataFrame:
    """What a map gains over the same map with its pixels in other places: columns metric, name,
    gain (positive is better), low, high."""
    rows = []
    for metric in _shown(found):
        better, there = METRICS[metric].better, _there(found[metric])
        for name in there:
            if f"shuffled:{name}" not in there:
                continue
            pair = [there[name], there[f"shuffled:{name}"]]
            drawn = better * -np.diff(resampled_means(pair, resamples, 0))[:, 0]
            low, high = np.nanquantile(drawn, [0.025, 0.975])
            gain = better * float(-np.diff(plain_means(pair))[0])
            rows.append({"metric": metric, "name": name, "gain": gain, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["metric", "name", "gain", "low", "high"])


def blindness(
    found: dict[str, dict[str, Tensor]],
    first: str = "positive",
    second: str = "negative",
    *,
    margin: float = 0.2,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Does a metric see the sign? The difference of the positive map's value from the negative's,
    in standard deviations over the other published methods.

    Columns metric, difference, low, high (paired over pictures), spread (that standard deviation),
    verdict: "blind" if the interval lies within `margin` of 0, "sees it" if it lies beyond,
    "hardly" if it leaves out 0 alone, else "unknown".
    """
    rows = []
    for metric in _shown(found):
        there = _there(found[metric])
        if not {first, second} <= set(there):
            continue
        others = [
            v for n, v in there.items() if n in attribution.METHODS and n not in (first, second)
        ]
        spread = float(np.std(plain_means(others), ddof=1)) if len(others) > 1 else np.nan
        if spread == 0:  # others that are all alike are no scale
            spread = np.nan
        pair = [there[first], there[second]]
        low = high = np.nan
        if np.isfinite(spread):
            change = -np.diff(resampled_means(pair, resamples, 0))[:, 0] / spread
            low, high = np.nanquantile(change, [0.025, 0.975])
        rows.append(
            {
                "metric": metric,
                "difference": float(-np.diff(plain_means(pair))[0]) / spread,
                "low": low,
                "high": high,
                "spread": spread,
                "verdict": _verdict(low, high, margin),
            }
        )
    return pd.DataFrame(rows, columns=["metric", "difference", "low", "high", "spread", "verdict"])


def _verdict(low: float, high: float, margin: float) -> str:
    """What an interval of the difference says of a metric's sight of the sign."""
    if np.isnan(low):
        return "unknown"
    if max(abs(low), abs(high)) <= margin:
        return "blind"
    if low > margin or high < -margin:
        return "sees it"
    if low > 0 or high < 0:
        return "hardly"
    return "unknown"


def _known(values: Tensor) -> Tensor:
    return values[~values.isnan()]


def _halves(values: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two random halves of the pictures."""
    count = next(iter(values.values())).shape[1]
    order = np.random.default_rng(0).permutation(count)
    first, second = np.sort(order[: count // 2]), np.sort(order[count // 2 :])
    return {n: v[:, first] for n, v in values.items()}, {n: v[:, second] for n, v in values.items()}


def tried(
    found: dict[str, dict[str, Tensor]],
    held_out: dict[str, dict[str, Tensor]],
    chosen: Sequence[str],
) -> pd.DataFrame:
    """Are the new methods ahead of both parents, on one set of pictures and again on another?

    Metrics that were not measured on held-out pictures are judged on two halves of theirs. Columns
    name, metric, parent, ahead (merit less the parent's on the first pictures), held, held_low,
    held_high (on the held-out ones, 95 % interval), p (paired t-test, one-sided): a row for each of
    the two parents.
    """
    rows = []
    for metric in chosen:
        if metric not in found:
            continue
        sides = (found[metric], held_out[metric]) if metric in held_out else _halves(found[metric])
        for name, parents in crosses.PARENTS.items():
            if not all({name, *parents} <= set(side) for side in sides):
                continue
            for parent in parents:
                ahead, held = (_margins(metric, side[name], side[parent]) for side in sides)
                if min(len(ahead), len(held)) < 2:
                    continue
                low, high, p = _held_test(held)
                rows.append(
                    {
                        "name": name,
                        "metric": metric,
                        "parent": parent,
                        "ahead": float(ahead.mean()),
                        "held": float(held.mean()),
                        "held_low": low,
                        "held_high": high,
                        "p": p,
                    }
                )
    return pd.DataFrame(
        rows, columns=["name", "metric", "parent", "ahead", "held", "held_low", "held_high", "p"]
    )


def _margins(metric: str, own: Tensor, parents: Tensor) -> np.ndarray:
    """By how much a method is better than its parent, for every picture on which both have a
    number."""
    return _known(METRICS[metric].better * (own.nanmean(0) - parents.nanmean(0))).numpy()


def _held_test(margins: np.ndarray) -> tuple[float, float, float]:
    """The 95 % interval of the mean of margins, and p that it is not above 0."""
    if not margins.any():  # a method equal to its parent; the test would divide by 0
        return 0.0, 0.0, 1.0
    low, high = ttest_1samp(margins, 0).confidence_interval()
    p = ttest_1samp(margins, 0, alternative="greater").pvalue
    return float(low), float(high), float(p)


def judged(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a network, new method and metric: p (the larger against the two parents), p_corrected
    (Holm, over all rows), beats.

    A method beats its parents if it is ahead of both on both sets of pictures and the corrected p
    is below 0.05. Further columns: ahead, held (the smaller of the two margins).
    """
    rows = []
    for network, table in tables.items():
        for (name, metric), part in table.groupby(["name", "metric"], sort=False):
            rows.append(
                {
                    "network": network,
                    "name": name,
                    "metric": metric,
                    "ahead": part["ahead"].min(),
                    "held": part["held"].min(),
                    "p": part["p"].max(),
                }
            )
    _add_corrected(rows)
    for row in rows:
        ahead_of_both = min(row["ahead"], row["held"]) > 0
        row["beats"] = bool(ahead_of_both and row["p_corrected"] < 0.05)
    return pd.DataFrame(
        rows, columns=["network", "name", "metric", "ahead", "held", "p", "p_corrected", "beats"]
    ).astype({"beats": bool})


def rungs(
    steps: dict[str, dict[str, Tensor]], *, resamples: int = 1000
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """From one metric to another in small steps: where does the order of the methods turn?

    `steps`: name of a step -> method -> areas [S,N] over the same pictures, lower is better. First
    table: step, name, value, rank among the methods that all steps have. Second: step (the later of
    two), correlation (Spearman's, of the two steps' orders), low, high over pictures, least (how
    often, over pictures, it is the smallest).
    """
    names = [n for n in next(iter(steps.values())) if all(n in step for step in steps.values())]
    rows, means, drawn = [], {}, {}
    for step, values in steps.items():
        shared = [values[n] for n in names]
        means[step], drawn[step] = plain_means(shared), resampled_means(shared, resamples, 0)
        ranks = rankdata(means[step])
        for name, value, rank in zip(names, means[step], ranks, strict=True):
            rows.append({"step": step, "name": name, "value": value, "rank": rank})
    pairs = list(pairwise(steps))
    again = np.array(
        [_spearman_rows(drawn[first], drawn[second]) for first, second in pairs]
    ).reshape(len(pairs), resamples)
    # a step without an order (all methods alike) is no turn
    lowest = again == np.fmin.reduce(again, axis=0) if pairs else again
    turns = []
    for (first, second), values, least in zip(pairs, again, lowest, strict=True):
        low, high = _interval(values)
        turns.append(
            {
                "step": second,
                "correlation": spearman(means[first], means[second]),
                "low": low,
                "high": high,
                "least": float((least / lowest.sum(0).clip(1)).mean()),
            }
        )
    return (
        pd.DataFrame(rows),
        pd.DataFrame(turns, columns=["step", "correlation", "low", "high", "least"]),
    )


def _farther(moved: np.ndarray, failed: np.ndarray, weights: np.ndarray) -> float:
    """Probability that a picture which fails has moved farther than one which does not (a tie
    counts half), pictures weighted; NaN without both."""
    order = np.argsort(moved, kind="stable")
    fails, stays = (weights * failed)[order], (weights * ~failed)[order]
    if not fails.sum() or not stays.sum():
        return np.nan
    _, group = np.unique(moved[order], return_inverse=True)
    at = np.bincount(group, stays)
    below = np.cumsum(at) - at / 2
    return float((fails * below[group]).sum() / fails.sum() / stays.sum())


def _mean_known(values: Sequence[float]) -> float:
    """The mean of those that are not NaN; NaN of none."""
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else np.nan


def shock(
    right: dict[str, Tensor],
    moved: dict[str, Tensor],
    after: dict[str, Tensor],
    fractions: Sequence[float],
    whole: Tensor,
    *,
    resamples: int = 200,
) -> pd.DataFrame:
    """Does a picture's distance from the training pictures explain why the network fails on it and
    a retrained one does not?

    Of each method: `right` bool [F,N] without retraining, `moved` [F,N], `after` bool [S,F,N];
    `whole` bool [N]: which whole pictures the network as it is gets right. Among these, where every
    retrained network is right, within a method and fraction: the probability that one which the
    network as it is gets wrong has moved farther than one which it gets right (0.5: distance
    explains nothing). Columns fraction, methods, before, retrained (mean accuracies), moved (mean
    over methods and pictures), failed (share of those pictures), farther (mean over methods) with
    low, high over pictures.
    """
    columns = [
        "fraction",
        "methods",
        "before",
        "retrained",
        "moved",
        "failed",
        "farther",
        "low",
        "high",
    ]
    names = [n for n in right if n in moved and n in after]
    rng, rows = np.random.default_rng(0), []
    for k, fraction in enumerate(fractions):
        cases = [_case(right[n][k], moved[n][k], after[n][:, k], whole) for n in names]
        count = len(cases[0][0])
        again = [
            _mean_farther(cases, rng.multinomial(count, np.full(count, 1 / count)))
            for _ in range(resamples)
        ]
        low, high = _interval(np.array(again))
        shares = [failed[there > 0].mean() for _, failed, there in cases if there.any()]
        rows.append(
            {
                "fraction": fraction,
                "methods": len(names),
                "before": float(np.mean([right[n][k].double().mean() for n in names])),
                "retrained": float(np.mean([after[n][:, k].double().mean() for n in names])),
                "moved": float(np.mean([moved[n][k].double().mean() for n in names])),
                "failed": _mean_known(shares),
                "farther": _mean_farther(cases, np.ones(count)),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows, columns=columns)


def _case(right: Tensor, moved: Tensor, after: Tensor, whole: Tensor) -> tuple[np.ndarray, ...]:
    """Of a method and fraction, [N] each: how far pictures have moved, which fail, and 1 for those
    that count, 0 for the others."""
    there = after.all(0) & whole
    return moved.numpy(), ~right.numpy(), there.numpy().astype(float)


def _mean_farther(cases: Sequence[tuple[np.ndarray, ...]], weights: np.ndarray) -> float:
    """The mean of `_farther` over the methods' `_case`s, pictures weighted."""
    return _mean_known([_farther(far, failed, there * weights) for far, failed, there in cases])
