"""What the synthesis's numbers say: values and ranks with intervals, whether metrics agree, and
what they reward.

Every function takes `numbers` as study.experiments.synthesis gives them: metric -> name -> [S,N],
seeds by pictures, NaN where a picture has none. Intervals are 95 % percentile intervals over
pictures and seeds drawn again (lib.metrics.statistics).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from torch import Tensor

from lib import attribution
from lib.attribution import crosses
from lib.metrics import spearman
from lib.metrics.statistics import (
    holm,
    mean_test,
    percentile_interval,
    permutation_p,
    places,
    plain_means,
    resample,
    resampled_means,
    spearman_rows,
    weighted_roc_auc,
)
from study.experiments.synthesis import METRICS, Metric

Numbers = dict[str, dict[str, Tensor]]


def _drawn_means(values: Sequence[Tensor], resamples: int) -> np.ndarray:
    """`resampled_means` of one metric's sets, [resamples,M].

    Sets with as many seeds are of the same ones: networks retrained from the same seeds, or the
    same new weights.
    """
    return resampled_means(values, resamples, seeds_of=[len(of_name) for of_name in values])


def _with_numbers(of_metric: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that have a number for any picture."""
    return {n: v for n, v in of_metric.items() if (~v.isnan()).any()}


def _plain_names(of_metric: dict[str, Tensor]) -> list[str]:
    """Those of them that are not shuffled."""
    return [n for n in _with_numbers(of_metric) if ":" not in n]


def _metrics_of(numbers: Numbers) -> list[str]:
    """The metrics that have a number for any picture and any name that is not shuffled, in the
    order of `METRICS`."""
    return [m for m in METRICS if m in numbers and _plain_names(numbers[m])]


def summary(numbers: Numbers, *, resamples: int = 2000) -> pd.DataFrame:
    """Value and rank of every name under every metric, with 95 % intervals over pictures (and
    seeds).

    Columns metric, name, value, low, high, rank (1 is best) among the published methods, of others
    the rank that they would take, rank_low, rank_high, of (how many published ones have a value), n
    (pictures), and what `METRICS` says of the metric: label, better, family.
    """
    columns = ["metric", "name", "value", "low", "high", "rank", "rank_low", "rank_high", "of", "n"]
    columns += Metric._fields
    rows = []
    for metric in _metrics_of(numbers):
        better, names = METRICS[metric].better, _plain_names(numbers[metric])
        values = [numbers[metric][n] for n in names]
        published = [k for k, n in enumerate(names) if n in attribution.METHODS]
        means, drawn = plain_means(values), _drawn_means(values, resamples)
        low, high = percentile_interval(drawn)
        ranks = places(better * means, published)
        rank_low, rank_high = percentile_interval(places(better * drawn, published))
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
                | METRICS[metric]._asdict()
            )
    return pd.DataFrame(rows, columns=columns)


def agreement(
    numbers: Numbers, *, without: Sequence[str] = (), resamples: int = 1000
) -> pd.DataFrame:
    """Do two metrics rank the methods alike? Spearman's correlation over the published methods that
    both have, but those in `without`.

    Turned so that better goes with better. Columns first, second, correlation, low, high (methods
    and pictures drawn again; rough for so few methods), methods, p (permutations of the methods),
    p_corrected (Holm, over the pairs of this table).
    """
    names, means, drawn = {}, {}, {}
    for metric in _metrics_of(numbers):
        of_metric = _with_numbers(numbers[metric])
        methods = [n for n in of_metric if n in attribution.METHODS and n not in without]
        if not methods:
            continue
        better, values = METRICS[metric].better, [of_metric[n] for n in methods]
        names[metric] = methods
        means[metric] = better * plain_means(values)
        drawn[metric] = better * _drawn_means(values, resamples)
    rng, rows = np.random.default_rng(0), []
    for first, second in combinations(names, 2):
        both = [n for n in names[first] if n in names[second]]
        if len(both) < 4:
            continue
        in_first = [names[first].index(n) for n in both]
        in_second = [names[second].index(n) for n in both]
        sides = means[first][in_first], means[second][in_second]
        low, high = _over_methods(drawn[first][:, in_first], drawn[second][:, in_second], rng)
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


def _over_methods(
    first: np.ndarray, second: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """The interval of Spearman's correlation of two metrics' means [resamples,M], methods drawn
    again as well."""
    count = first.shape[-1]
    picked = rng.integers(count, size=(len(first), count))
    sides = [np.take_along_axis(side, picked, 1) for side in (first, second)]
    return percentile_interval(spearman_rows(*sides))


def _add_corrected(rows: list[dict]) -> None:
    """Give every row, beside its "p", the one that is corrected for their number."""
    corrected = holm([row["p"] for row in rows])
    for row, p_corrected in zip(rows, corrected, strict=True):
        row["p_corrected"] = p_corrected


def sparsity(numbers: Numbers, *, resamples: int = 1000) -> pd.DataFrame:
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
    rows, share = [], numbers.get("kept", {})
    for metric in _metrics_of(numbers):
        of_metric = _with_numbers(numbers[metric])
        names = [n for n in of_metric if f"shuffled:{n}" in of_metric and n in share]
        if len(names) < 4:
            continue
        values = [of_metric[n] for n in names]
        shuffled_values = [of_metric[f"shuffled:{n}"] for n in names]
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
    better = METRICS[metric].better
    own, shuffled = better * plain_means(values), better * plain_means(shuffled_values)
    own_drawn = better * _drawn_means(values, resamples)
    shuffled_drawn = better * _drawn_means(shuffled_values, resamples)
    least_gain, _ = percentile_interval(own_drawn - shuffled_drawn)
    densities = np.broadcast_to(density, shuffled_drawn.shape)
    # both times the same methods
    kept_low, kept_high = _over_methods(shuffled_drawn, densities, np.random.default_rng(0))
    explained_low, explained_high = _over_methods(
        own_drawn, shuffled_drawn, np.random.default_rng(0)
    )
    return {
        "metric": metric,
        "kept": spearman(shuffled, density),
        "kept_low": kept_low,
        "kept_high": kept_high,
        "explained": spearman(own, shuffled),
        "explained_low": explained_low,
        "explained_high": explained_high,
        "beaten": int((least_gain <= 0).sum()),
        "of": len(values),
    }


def over_shuffled(numbers: Numbers, *, resamples: int = 2000) -> pd.DataFrame:
    """What a map gains over the same map with its pixels in other places: columns metric, name,
    gain (positive is better), low, high."""
    rows = []
    for metric in _metrics_of(numbers):
        better, of_metric = METRICS[metric].better, _with_numbers(numbers[metric])
        names = [n for n in of_metric if f"shuffled:{n}" in of_metric]
        if not names:
            continue
        both = [of_metric[n] for n in names] + [of_metric[f"shuffled:{n}"] for n in names]
        own, shuffled = better * plain_means(both).reshape(2, -1)
        own_drawn, shuffled_drawn = np.split(better * _drawn_means(both, resamples), 2, axis=1)
        low, high = percentile_interval(own_drawn - shuffled_drawn)
        for k, name in enumerate(names):
            rows.append(
                {
                    "metric": metric,
                    "name": name,
                    "gain": own[k] - shuffled[k],
                    "low": low[k],
                    "high": high[k],
                }
            )
    return pd.DataFrame(rows, columns=["metric", "name", "gain", "low", "high"])


def blindness(
    numbers: Numbers,
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
    for metric in _metrics_of(numbers):
        of_metric = _with_numbers(numbers[metric])
        if not {first, second} <= set(of_metric):
            continue
        compared = {first, second}
        scale = _scale(
            [v for n, v in of_metric.items() if n in attribution.METHODS and n not in compared]
        )
        pair = [of_metric[first], of_metric[second]]
        mean, other = plain_means(pair)
        drawn, other_drawn = _drawn_means(pair, resamples).T
        low, high = percentile_interval((drawn - other_drawn) / scale)
        rows.append(
            {
                "metric": metric,
                "difference": (mean - other) / scale,
                "low": low,
                "high": high,
                "spread": scale,
                "verdict": _verdict(low, high, margin),
            }
        )
    return pd.DataFrame(rows, columns=["metric", "difference", "low", "high", "spread", "verdict"])


def _scale(others: Sequence[Tensor]) -> float:
    """Standard deviation over methods of their values; NaN of fewer than two, or if all are
    alike, which is no scale."""
    deviation = float(np.std(plain_means(others), ddof=1)) if len(others) > 1 else np.nan
    return deviation or np.nan


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


def halves(values: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two random halves of the pictures."""
    count = next(iter(values.values())).shape[1]
    order = np.random.default_rng(0).permutation(count)
    first, second = np.sort(order[: count // 2]), np.sort(order[count // 2 :])
    return {n: v[:, first] for n, v in values.items()}, {n: v[:, second] for n, v in values.items()}


def tried(numbers: Numbers, held_out: Numbers, chosen: Sequence[str]) -> pd.DataFrame:
    """Are the new methods ahead of both parents, on one set of pictures and again on another?

    Metrics that were not measured on held-out pictures are judged on two halves of theirs. Columns
    name, metric, parent, ahead (merit less the parent's on the first pictures), held, held_low,
    held_high (on the held-out ones, 95 % interval), p (paired t-test, one-sided): a row for each of
    the two parents.
    """
    rows = []
    for metric in chosen:
        if metric not in numbers:
            continue
        if metric in held_out:
            sides = numbers[metric], held_out[metric]
        else:
            sides = halves(numbers[metric])
        for name, parents in crosses.PARENTS.items():
            if all({name, *parents} <= set(side) for side in sides):
                rows += _trials(metric, name, parents, sides)
    return pd.DataFrame(
        rows, columns=["name", "metric", "parent", "ahead", "held", "held_low", "held_high", "p"]
    )


def _trials(
    metric: str, name: str, parents: Sequence[str], sides: Sequence[dict[str, Tensor]]
) -> list[dict]:
    """The rows of `tried` of one method under one metric; the second of the sides is held out."""
    rows = []
    for parent in parents:
        ahead, held = (_margins(metric, side[name], side[parent]) for side in sides)
        if min(len(ahead), len(held)) < 2:
            continue
        low, high, p = mean_test(held)
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
    return rows


def _margins(metric: str, own: Tensor, parents: Tensor) -> np.ndarray:
    """By how much a method is better than its parent, for every picture on which both have a
    number."""
    margins = METRICS[metric].better * (own.nanmean(0) - parents.nanmean(0))
    return margins[~margins.isnan()].numpy()


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
    for step, of_step in steps.items():
        shared = [of_step[n] for n in names]
        means[step], drawn[step] = plain_means(shared), _drawn_means(shared, resamples)
        ranks = rankdata(means[step])
        for name, value, rank in zip(names, means[step], ranks, strict=True):
            rows.append({"step": step, "name": name, "value": value, "rank": rank})
    pairs = list(pairwise(steps))
    correlations = np.array(
        [spearman_rows(drawn[first], drawn[second]) for first, second in pairs]
    ).reshape(len(pairs), resamples)
    # of the smallest ones of a resample each counts its share; a step without an order (all methods
    # alike) is no turn
    smallest = correlations == np.fmin.reduce(correlations, axis=0, initial=np.inf)
    least = (smallest / smallest.sum(0).clip(1)).mean(1)
    turns = []
    for (first, second), of_pair, how_often in zip(pairs, correlations, least, strict=True):
        low, high = percentile_interval(of_pair)
        turns.append(
            {
                "step": second,
                "correlation": spearman(means[first], means[second]),
                "low": low,
                "high": high,
                "least": how_often,
            }
        )
    return (
        pd.DataFrame(rows),
        pd.DataFrame(turns, columns=["step", "correlation", "low", "high", "least"]),
    )


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
        distances = np.stack([moved[n][k].numpy() for n in names])
        fails = np.stack([~right[n][k].numpy() for n in names])
        counted = np.stack([(after[n][:, k].all(0) & whole).numpy() for n in names])
        drawn = resample(
            _mean_roc_auc,
            distances,
            fails,
            counted,
            axes=[{"pictures": 1}] * 3,
            counted=("pictures",),
            resamples=resamples,
            seed=rng,
        )
        low, high = percentile_interval(drawn)
        shares = [f[c].mean() for f, c in zip(fails, counted, strict=True) if c.any()]
        rows.append(
            {
                "fraction": fraction,
                "methods": len(names),
                "before": float(np.mean([right[n][k].double().mean() for n in names])),
                "retrained": float(np.mean([after[n][:, k].double().mean() for n in names])),
                "moved": float(np.mean([moved[n][k].double().mean() for n in names])),
                "failed": _mean_known(shares),
                "farther": _mean_roc_auc(distances, fails, counted, 1),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows, columns=columns)


def _mean_roc_auc(
    distances: np.ndarray, fails: np.ndarray, counted: np.ndarray, pictures: np.ndarray | int
) -> float:
    """Mean over methods of the probability that a picture which fails has moved farther than one
    which does not.

    All [M,N]; `counted`: the pictures that count, of each method; `pictures` [N] or 1: how often.
    """
    areas = [
        weighted_roc_auc(distance, failed, there * pictures)
        for distance, failed, there in zip(distances, fails, counted, strict=True)
    ]
    return _mean_known(areas)


def _mean_known(values: Sequence[float]) -> float:
    """The mean of those that are not NaN; NaN of none."""
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else np.nan


# ---- what the chapters say of the tables


def over_control(numbers: Numbers, control: str, *, resamples: int = 2000) -> pd.DataFrame:
    """What every published map gains over a control ("random", "edges"), as `over_shuffled` has it:
    columns metric, name, gain (positive is better), low, high."""
    rows = []
    for metric in _metrics_of(numbers):
        better, of_metric = METRICS[metric].better, _with_numbers(numbers[metric])
        names = [n for n in of_metric if n in attribution.METHODS]
        if not names or control not in of_metric:
            continue
        values = [of_metric[control], *(of_metric[n] for n in names)]
        means, drawn = better * plain_means(values), better * _drawn_means(values, resamples)
        low, high = percentile_interval(drawn[:, 1:] - drawn[:, :1])
        for k, name in enumerate(names):
            gain = means[k + 1] - means[0]
            rows.append(
                {"metric": metric, "name": name, "gain": gain, "low": low[k], "high": high[k]}
            )
    return pd.DataFrame(rows, columns=["metric", "name", "gain", "low", "high"])


def ahead(gains: pd.DataFrame) -> pd.DataFrame:
    """How many are ahead of what they were compared with, by more than the interval: a row a
    metric.

    `gains`: columns metric, name, gain (positive is better), low, high, as of `over_control` or
    `study.experiments.retraining_tables.gains_over_random`. Columns metric, ahead (low above 0),
    behind (high below 0), open (all others, those without an interval too), of.
    """
    told = gains.assign(ahead=gains["low"] > 0, behind=gains["high"] < 0)
    counted = told.groupby("metric", sort=False)[["ahead", "behind"]].sum()
    counted["of"] = told.groupby("metric", sort=False).size()
    counted["open"] = counted["of"] - counted["ahead"] - counted["behind"]
    return counted.reset_index()[["metric", "ahead", "behind", "open", "of"]]


def kinds(table: pd.DataFrame) -> pd.DataFrame:
    """`agreement` with the labels of both metrics, first_label and second_label, and a column
    "within": are both of one family?"""
    sides = [[METRICS[m] for m in table[side]] for side in ("first", "second")]
    families = [first.family == second.family for first, second in zip(*sides, strict=True)]
    return table.assign(
        first_label=[metric.label for metric in sides[0]],
        second_label=[metric.label for metric in sides[1]],
        within=np.array(families, dtype=bool),
    )


def between_kinds(numbers: Numbers, *, resamples: int = 300) -> dict:
    """The median over pairs of metrics of different families of `agreement`'s correlation.

    Keys pairs, methods (of the published ones, how many any pair has), median, low, high (methods
    and pictures drawn again, the same methods for all pairs); NaN without a pair.
    """
    merits, drawn = {}, {}
    for metric in _metrics_of(numbers):
        of_metric = _with_numbers(numbers[metric])
        names = [n for n in of_metric if n in attribution.METHODS]
        if names:
            better, values = METRICS[metric].better, [of_metric[n] for n in names]
            merits[metric] = dict(zip(names, better * plain_means(values), strict=True))
            of_resamples = better * _drawn_means(values, resamples)
            drawn[metric] = [dict(zip(names, row, strict=True)) for row in of_resamples]
    pairs = [
        (first, second)
        for first, second in combinations(merits, 2)
        if METRICS[first].family != METRICS[second].family
        and len(set(merits[first]) & set(merits[second])) >= 4
    ]
    everyone = [n for n in attribution.METHODS if any(n in of for of in merits.values())]
    rng, medians = np.random.default_rng(0), []
    for k in range(resamples if pairs else 0):
        picked = rng.choice(everyone, len(everyone))
        of_pairs = [_correlation(drawn[a][k], drawn[b][k], picked) for a, b in pairs]
        medians.append(np.nanmedian(of_pairs) if not np.isnan(of_pairs).all() else np.nan)
    correlations = [
        _correlation(merits[first], merits[second], everyone) for first, second in pairs
    ]
    low, high = percentile_interval(np.array(medians)) if pairs else (np.nan, np.nan)
    return {
        "pairs": len(pairs),
        "methods": len(everyone),
        "median": float(np.nanmedian(correlations)) if pairs else np.nan,
        "low": float(low),
        "high": float(high),
    }


def _correlation(first: dict, second: dict, names: Sequence[str]) -> float:
    """Spearman's correlation of two metrics over those of `names` that both have."""
    both = [n for n in names if n in first and n in second]
    return spearman([first[n] for n in both], [second[n] for n in both]) if both else np.nan


def winners(table: pd.DataFrame) -> pd.DataFrame:
    """The best published method under each metric of `summary`, the first of equals: columns
    metric, name, of."""
    first = table[table["name"].isin(attribution.METHODS)]
    best = first.loc[first.groupby("metric", sort=False)["rank"].idxmin()]
    return best[["metric", "name", "of"]].reset_index(drop=True)


def won(verdicts: pd.DataFrame, summaries: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of `judged` in which a cross beats both parents, with a column "clear": has it also
    a better value than every control? `summaries`: network -> `summary`."""
    rows = verdicts[verdicts["beats"]]
    clear = []
    for r in rows.itertuples():
        of_metric = summaries[r.network].query("metric == @r.metric").set_index("name")["value"]
        controls = [name for name in crosses.CONTROLS if name in of_metric]
        better = METRICS[r.metric].better
        clear.append(all(better * (of_metric[r.name] - of_metric[name]) > 0 for name in controls))
    return rows.assign(clear=np.array(clear, dtype=bool))


def behind_both(trials: dict[str, pd.DataFrame]) -> int:
    """In how many trials of `tried` a cross is behind both parents on the held-out pictures, by
    more than the interval."""
    return sum(
        bool((part["held_high"] < 0).all())
        for table in trials.values()
        for _, part in table.groupby(["name", "metric"])
    )


def harder_parent(trials: dict[str, pd.DataFrame], verdicts: pd.DataFrame) -> pd.DataFrame:
    """`judged` with the row of `tried` of the parent against which each cross does worse on the
    held-out pictures: further columns parent, ahead, held, held_low, held_high."""
    worse = pd.concat(
        [
            table.loc[table.groupby(["name", "metric"], sort=False)["held"].idxmin()].assign(
                network=network
            )
            for network, table in trials.items()
            if len(table)
        ]
        or [pd.DataFrame(columns=["network", "name", "metric"])]
    ).drop(columns="p", errors="ignore")
    of_both = verdicts.drop(columns=["ahead", "held"])
    return of_both.merge(worse, on=["network", "name", "metric"])
