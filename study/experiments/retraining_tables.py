"""What the stored retrainings of study.experiments.retraining say: areas under ROAR's and over
KAR's curves, differences from random, tests, agreement.

`accuracies` is a table as of `study.experiments.retraining.tidy`, a row a retraining; `area_table`
one as of `areas`, a row a method, mode and seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pandas as pd
import torch

from lib import attribution, metrics
from lib.metrics.statistics import (
    holm,
    one_way,
    spearman_interval,
    t_half_width,
    t_interval,
    t_test,
    two_way_residual,
)
from study.experiments.retraining import (
    FRACTIONS,
    HOLES,
    MODES,
    PRINTED,
    SHORT,
    channel_mean,
    occluded,
    ranks,
    tidy,
)
from study.store import cells
from study.subjects.subject import Subject
from study.subjects.training import Protocol


def stored(
    protocol: Protocol = SHORT,
    dataset: str = "cifar10",
    model: str = "rectgrad_cnn",
    weights: str | None = None,
    current: str | None = None,
) -> pd.DataFrame:
    """What is stored at this protocol, as `tidy` returns it; `current`: of maps of these weights
    alone (their fingerprint)."""
    kept = [
        c
        for c in _stored_cells(protocol, dataset, model, weights, current)
        if c["parameters"]["mode"] != HOLES
    ]
    accuracies = tidy(kept)
    accuracies.attrs["test_data"] = kept[0]["parameters"]["test_data"] if kept else ""
    return accuracies


def _stored_cells(protocol, dataset, model, weights, current) -> list[dict]:
    """Cells of this protocol; of two copies of the data, those of the one that has more."""
    wanted = {"dataset": dataset, "model": model, "weights": weights or dataset, "count": None}
    if current:
        wanted["weights_hash"] = current

    def same_protocol(p):
        return replace(Protocol(**p["protocol"]), seed=0) == replace(protocol, seed=0)

    kept = [
        c
        for c in cells.of("roar")
        if wanted.items() <= c["parameters"].items() and same_protocol(c["parameters"])
    ]
    pixels = [(c["parameters"]["data"], c["parameters"]["test_data"]) for c in kept]
    most = max(pixels, key=lambda p: (pixels.count(p), p), default=None)
    return [c for c, p in zip(kept, pixels, strict=True) if p == most]


def flags(
    protocol: Protocol = SHORT,
    dataset: str = "cifar10",
    model: str = "rectgrad_cnn",
    weights: str | None = None,
    current: str | None = None,
) -> dict[tuple[str, str, int], np.ndarray]:
    """Which test pictures the stored retrained networks get right, of whole curves alone:
    (method, mode, seed) -> bool [fractions,N].

    Of those that saw everything, ("none", "none", seed) -> bool [1,N].
    """
    return curves_of(_stored_cells(protocol, dataset, model, weights, current))


def curves_of(
    contents: Sequence[dict], fractions: Sequence[float] = FRACTIONS
) -> dict[tuple[str, str, int], np.ndarray]:
    """`flags` of these retrainings, as study.experiments.retraining.retrain returns them with their
    "parameters"."""
    curves: dict = {}
    for c in contents:
        p = c["parameters"]
        curve = curves.setdefault((p["method"], p["mode"], p["seed"]), {})
        curve[p["fraction"]] = cells.unpack(c["correct"]).numpy()
    shares = {key: (0.0,) if key[0] == "none" else fractions for key in curves}
    return {
        key: np.stack([curve[f] for f in shares[key]])
        for key, curve in curves.items()
        if set(curve) >= set(shares[key])
    }


def repeated(
    explained: np.ndarray, current: str | None = None, protocol: Protocol = SHORT
) -> pd.DataFrame:
    """Do networks retrained on a tenth of the pixels (KAR) of CIFAR-10 repeat the explained one? A
    row a method of Table 1 and "none", which saw everything.

    Columns right, wrong: their accuracy where the explained network is right (`explained`, bool
    [N]) and where it is wrong, mean over stored seeds. Empty unless every method is stored.
    """
    wanted = {"none", *PRINTED}
    rows = [
        {
            "method": method,
            "right": right[0][explained].mean(),
            "wrong": right[0][~explained].mean(),
        }
        for (method, mode, _), right in flags(protocol, current=current).items()
        if mode in ("kar", "none") and method in wanted
    ]
    of_seeds = pd.DataFrame(rows, columns=["method", "right", "wrong"])
    if set(of_seeds["method"]) != wanted:
        return of_seeds.iloc[:0].set_index("method")
    return of_seeds.groupby("method").mean()


def weights_of_span(fractions: Sequence[float] = FRACTIONS) -> np.ndarray:
    """What each fraction counts in an area over the span, [F]: the trapezoid rule."""
    steps = np.diff(fractions)
    return (np.append(steps, 0) + np.insert(steps, 0, 0)) / 2 / (fractions[-1] - fractions[0])


def areas(accuracies: pd.DataFrame, classes: int = 10) -> pd.DataFrame:
    """Table 1's numbers, one a method, mode and seed: columns method, mode, seed, span, extended.

    ROAR: area under accuracy against fraction, lower is better. KAR: area over it, lower is better
    as well. The paper does not say how the area is taken. `span`: the trapezoid over the fractions,
    divided by their span. `extended`: with the accuracy without occlusion at the end where nothing
    is removed and 1/`classes` where everything is. Curves that lack a fraction are left out.
    """
    whole = accuracies[accuracies["method"] == "none"].set_index("seed")["accuracy"]
    occluded = accuracies[accuracies["method"] != "none"]
    fractions = sorted(occluded["fraction"].unique())
    rows = []
    for (method, mode, seed), curve in occluded.groupby(["method", "mode", "seed"], sort=False):
        curve = curve.set_index("fraction")["accuracy"]
        if sorted(curve.index) != fractions or len(fractions) < 2 or seed not in whole.index:
            continue
        heights = curve.loc[fractions].tolist()
        ends = (whole[seed], 1 / classes) if mode == "roar" else (1 / classes, whole[seed])
        under = metrics.auc(fractions, torch.tensor(heights, dtype=torch.float64))
        span = under / (fractions[-1] - fractions[0])
        extended = metrics.auc(
            [0, *fractions, 1], torch.tensor([ends[0], *heights, ends[1]], dtype=torch.float64)
        )
        if mode != "roar":
            span, extended = 1 - span, 1 - extended
        rows.append(
            {"method": method, "mode": mode, "seed": seed, "span": span, "extended": extended}
        )
    return pd.DataFrame(rows, columns=["method", "mode", "seed", "span", "extended"])


def against_random(area_table: pd.DataFrame, rule: str = "span") -> pd.DataFrame:
    """Every method's area less that of the random baseline, paired by seed: method, mode, seeds,
    area, area_low, area_high, difference, low, high.

    Below zero: the method finds what matters sooner than chance. Over the seeds that all methods
    have. Intervals: of an area by the variance over seeds pooled over methods, of a difference by
    what is left of it when each seed's mean is taken out.
    """
    columns = [
        "method",
        "mode",
        "seeds",
        "area",
        "area_low",
        "area_high",
        "difference",
        "low",
        "high",
    ]
    rows = []
    for mode, part in area_table.groupby("mode", sort=False):
        wide = part.pivot(index="method", columns="seed", values=rule)
        wide = wide.loc[list(dict.fromkeys(part["method"]))].dropna(axis=1)
        if "random" not in wide.index or not wide.shape[1]:
            continue
        rows += _differences(mode, wide)
    return pd.DataFrame(rows, columns=columns)


def _differences(mode: str, wide: pd.DataFrame) -> list[dict]:
    """The rows of `against_random` of one mode; `wide` are its areas, methods by seeds."""
    seeds = wide.shape[1]
    means, half = t_interval(wide.to_numpy())
    reach = t_half_width(*two_way_residual(wide.to_numpy()), seeds, seeds)
    rows = []
    for method, area in zip(wide.index, means, strict=True):
        change = area - means[wide.index.get_loc("random")]
        wings = 0.0 if method == "random" else reach
        rows.append(
            {
                "method": method,
                "mode": mode,
                "seeds": seeds,
                "area": area,
                "area_low": area - half,
                "area_high": area + half,
                "difference": change,
                "low": change - wings,
                "high": change + wings,
            }
        )
    return rows


def mean_of_both(area_table: pd.DataFrame, rule: str = "span") -> pd.DataFrame:
    """`against_random` of the mean of a method's ROAR and KAR areas (`areas`), one a seed; mode is
    "mean".

    At one share both cut the picture along the same line. What the line gives away raises one area
    and lowers the other.
    """
    sides = area_table.pivot(index=["method", "seed"], columns="mode", values=rule)
    sides = sides.reindex(columns=MODES).loc[list(dict.fromkeys(area_table["method"]))]
    # a method and seed that lacks one of the two areas has no mean
    means = sides.mean(axis=1, skipna=False).dropna().rename(rule)
    return against_random(means.reset_index().assign(mode="mean"), rule)


def compared(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Every pair of methods, paired by seed and fraction: mode, first, second, n, difference of
    accuracies, p, p_corrected.

    A t-test against what is left of the accuracies when, at every fraction, the means of methods
    and of seeds are taken out; corrected by Holm's rule over all pairs of a mode. It speaks of
    other seeds on the same test pictures. Seeds that lack a fraction are left out; NaN for one
    seed. A signed-rank test could not reach 0.05: two seeds by five fractions leave 0.002 at best,
    before correction.
    """
    rows, occluded = [], accuracies[accuracies["method"] != "none"]
    for mode, part in occluded.groupby("mode", sort=False):
        wide = part.pivot(index="method", columns=["seed", "fraction"], values="accuracy")
        wide = wide.loc[list(dict.fromkeys(part["method"]))]
        seeds, fractions = part["seed"].unique(), sorted(part["fraction"].unique())
        wide = wide.reindex(columns=product(seeds, fractions))
        whole = [s for s in seeds if not wide[s].isna().any(axis=None)]
        if not whole:
            continue
        cube = np.stack([wide[s].to_numpy() for s in whole], 1)  # [M,S,F]
        rows += _pairs(mode, list(wide.index), cube)
    return pd.DataFrame(
        rows, columns=["mode", "first", "second", "n", "difference", "p", "p_corrected"]
    )


def _pairs(mode: str, methods: list[str], cube: np.ndarray) -> list[dict]:
    """The rows of `compared` of one mode; `cube` are the accuracies [M,S,F] of its methods."""
    variance, degrees = two_way_residual(cube)
    size = cube[0].size
    tests = []
    for i, j in combinations(range(len(methods)), 2):
        change = float((cube[i] - cube[j]).mean())
        tests.append(
            {
                "mode": mode,
                "first": methods[i],
                "second": methods[j],
                "n": size,
                "difference": change,
                "p": t_test(change, variance, degrees, size, size),
            }
        )
    corrected = holm([test["p"] for test in tests])
    return [
        test | {"p_corrected": p_corrected}
        for test, p_corrected in zip(tests, corrected, strict=True)
    ]


def analysis_of_variance(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Do methods differ by more than seeds do? Columns mode, fraction, between (sd of the methods'
    means), within (sd over seeds, pooled over methods), ratio, p (one-way analysis of variance)."""
    occluded = accuracies[accuracies["method"] != "none"]
    rows = []
    for (mode, fraction), part in occluded.groupby(["mode", "fraction"], sort=False):
        groups = [g["accuracy"].to_numpy() for _, g in part.groupby("method") if len(g) > 1]
        if len(groups) < 2:
            continue
        between, within, p = one_way(groups)
        rows.append(
            {
                "mode": mode,
                "fraction": fraction,
                "between": between,
                "within": within,
                "ratio": between / within,
                "p": p,
            }
        )
    return pd.DataFrame(rows, columns=["mode", "fraction", "between", "within", "ratio", "p"])


# ---- what a chapter shows of a grid that may have holes


def left_to_see(
    training: Subject, methods: Sequence[str], fractions: Sequence[float]
) -> pd.DataFrame:
    """What retrained networks see of the first training picture: random pixels and up to two of
    the methods, RectGrad first.

    Columns method, mode, fraction, picture ([C,H,W] uint8; what is gone has the channel mean of all
    pictures of `training`).
    """
    mean = channel_mean(training.pictures.images).to(torch.uint8)
    first = training.take(slice(0, 1))
    image = first.pictures.images
    preferred = sorted((m for m in methods if m != "random"), key=lambda m: m != "rectgrad")
    rows = []
    for method in ("random", *preferred[:2]):
        # random places need no ranks, only the shape of what is occluded
        places = (1, *image.shape[2:]) if method == "random" else ranks(first, method)
        for mode, fraction in product(MODES, fractions):
            gone = occluded(places, fraction, mode)
            picture = torch.where(gone[:, None], mean, image)[0]
            rows.append({"method": method, "mode": mode, "fraction": fraction, "picture": picture})
    return pd.DataFrame(rows)


def whole_curves(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Without the curves (of a method, mode and seed) that lack a fraction which another one has,
    and without methods that have none left."""
    occluded = accuracies[accuracies["method"] != "none"]
    fractions = occluded.groupby(["method", "mode", "seed"])["fraction"].transform("nunique")
    kept = occluded[fractions == occluded["fraction"].nunique()]
    return pd.concat([accuracies[accuracies["method"] == "none"], kept])


def whole_grid(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Without the methods that lack a mode, a fraction or a seed which another one has, so that
    those left can be compared with one another."""
    kinds = ["mode", "fraction", "seed"]
    occluded = accuracies[accuracies["method"] != "none"]
    cells_of = occluded.groupby("method")[kinds[0]].size()
    complete = cells_of.index[cells_of == len(occluded[kinds].drop_duplicates())]
    return accuracies[accuracies["method"].isin(["none", *complete])]


def seeds_measured(area_table: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """How many seeds have a whole curve: columns method, then one a mode, 0 where none has."""
    counts = area_table.groupby(["method", "mode"])["seed"].nunique().unstack()
    counts = counts.reindex(index=list(methods), columns=list(MODES)).fillna(0).astype(int)
    return counts.rename_axis(columns=None).rename_axis("method").reset_index()


def differences(area_table: pd.DataFrame, rule: str = "span") -> pd.DataFrame:
    """Every method's area less that of the random baseline over the seeds that both have: columns
    method, mode, seeds, area, difference, low, high.

    As `against_random`, but a method that lacks a seed keeps the others of theirs: each is paired
    with random on its own seeds. The variance between seeds is that of the methods which have all
    of them, so that fewer seeds make an interval wider. NaN ends where no seed is repeated.
    """
    columns = ["method", "mode", "seeds", "area", "difference", "low", "high"]
    rows = []
    for mode, part in area_table.groupby("mode", sort=False):
        wide = part.pivot(index="method", columns="seed", values=rule)
        wide = wide.loc[list(dict.fromkeys(part["method"]))]
        if "random" in wide.index:
            rows += _paired_with_random(mode, wide)
    return pd.DataFrame(rows, columns=columns)


def _paired_with_random(mode: str, wide: pd.DataFrame) -> list[dict]:
    """The rows of `differences` of one mode; `wide` are its areas, methods by seeds."""
    complete = wide.dropna()
    variance, degrees = float("nan"), 0
    if len(complete) > 1:
        variance, degrees = two_way_residual(complete.to_numpy())
    rows = []
    for method, areas_of in wide.iterrows():
        both = areas_of.notna() & wide.loc["random"].notna()
        seeds = int(both.sum())
        if not seeds:
            continue
        change = float((areas_of - wide.loc["random"])[both].mean())
        reach = 0.0 if method == "random" else t_half_width(variance, degrees, seeds, seeds)
        rows.append(
            {
                "method": method,
                "mode": mode,
                "seeds": seeds,
                "area": float(areas_of[both].mean()),
                "difference": change,
                "low": change - reach,
                "high": change + reach,
            }
        )
    return rows


def gains_over_random(differences_table: pd.DataFrame) -> pd.DataFrame:
    """`differences` of the published methods as `study.experiments.ranking.ahead` reads them:
    columns metric, name, gain (more is better), low, high."""
    rows = differences_table[differences_table["method"].isin(attribution.METHODS)]
    return pd.DataFrame(
        {
            "metric": rows["mode"],
            "name": rows["method"],
            "gain": -rows["difference"],
            "low": -rows["high"],
            "high": -rows["low"],
        }
    )


def places_among(differences_table: pd.DataFrame) -> pd.DataFrame:
    """The published methods' places by their difference from random, 1 the lowest: columns mode,
    method, place, of. Equals share the mean of their places."""
    rows = differences_table[differences_table["method"].isin(attribution.METHODS)]
    by_mode = rows.groupby("mode", sort=False)["difference"]
    return rows[["mode", "method"]].assign(place=by_mode.rank(), of=by_mode.transform("size"))


def accuracies_of(
    flags: dict[tuple[str, str, int], np.ndarray], fractions: Sequence[float]
) -> pd.DataFrame:
    """`flags` as `study.experiments.retraining.tidy` returns retrainings: a row a network, with its
    accuracy."""
    rows = []
    for (method, mode, seed), right in flags.items():
        shares = (0.0,) if method == "none" else fractions
        rows += [
            {"method": method, "mode": mode, "fraction": f, "seed": seed, "accuracy": of.mean()}
            for f, of in zip(shares, right, strict=True)
        ]
    return pd.DataFrame(rows, columns=["method", "mode", "fraction", "seed", "accuracy"])


def gains_of(
    flags: dict[tuple[str, str, int], np.ndarray],
    fractions: Sequence[float],
    methods: Sequence[str],
) -> pd.DataFrame:
    """`gains_over_random` of these methods from `flags`."""
    accuracies = accuracies_of(flags, fractions)
    kept = accuracies[accuracies["method"].isin(["none", "random", *methods])]
    return gains_over_random(differences(areas(kept)))


def sides(accuracies: pd.DataFrame, explained: torch.Tensor) -> pd.DataFrame:
    """Are retrained networks right where the explained one is, and where it is wrong?

    `explained` bool [N]. Columns method, mode, fraction, side ("right", "wrong"), accuracy (mean
    over seeds), low, high (Wilson, over the pictures of one seed), n (pictures).
    """
    counts = {"right": int(explained.sum()), "wrong": int((~explained).sum())}
    rows = []
    for kind, part in accuracies.groupby(["method", "mode", "fraction"], sort=False):
        for side, count in counts.items():
            if not count:
                continue
            share = part[f"where_{side}"].mean()
            low, high = metrics.wilson(round(share * count), count)
            named = dict(zip(("method", "mode", "fraction"), kind, strict=True))
            rows.append(
                {**named, "side": side, "accuracy": share, "low": low, "high": high, "n": count}
            )
    columns = ["method", "mode", "fraction", "side", "accuracy", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def least_left(side_table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `sides` where least is left to see, the largest share removed (ROAR) and the
    smallest kept (KAR), and those of networks that saw everything."""
    ends = {"roar": "max", "kar": "min"}
    kept = [side_table[side_table["mode"] == "none"]]
    for mode, end in ends.items():
        part = side_table[side_table["mode"] == mode]
        kept.append(part[part["fraction"] == part["fraction"].agg(end)])
    return pd.concat(kept)


def places_with_areas(differences_table: pd.DataFrame, alone: pd.DataFrame) -> pd.DataFrame:
    """Do maps whose places tell much have large areas? Spearman's correlation over methods of the
    area with the accuracy from places alone (`alone`: `tidy` of holes), random left out.

    Columns mode, fraction, methods, correlation, low, high (methods drawn again).
    """
    maps = differences_table[differences_table["method"] != "random"]
    rows = []
    for (mode, fraction), pair in maps.merge(
        alone[["method", "fraction", "accuracy"]], on="method"
    ).groupby(["mode", "fraction"], sort=False):
        if len(pair) < 3:
            continue
        value, low, high = spearman_interval(pair["area"], pair["accuracy"])
        rows.append(
            {
                "mode": mode,
                "fraction": fraction,
                "methods": len(pair),
                "correlation": value,
                "low": low,
                "high": high,
            }
        )
    columns = ["mode", "fraction", "methods", "correlation", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def stuck(accuracies: pd.DataFrame, classes: int) -> tuple[int, int]:
    """How many networks that were trained by a map did not learn (less than one and a half times
    chance), and how many there are."""
    mapped = accuracies[~accuracies["method"].isin(("none", "random"))]
    return int((mapped["accuracy"] < 1.5 / classes).sum()), len(mapped)


def protocol_change(short: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    """What another protocol changes, over the methods that both have: a row a mode.

    `short`, `full`: as of `differences`. Columns mode, methods, correlation (Spearman's, of areas,
    random included), low, high (methods drawn again), times (root mean square difference from
    random by the second over that by the first).
    """
    rows = []
    both = short.merge(full, on=["mode", "method"], suffixes=("", "_full"))
    for mode, part in both.groupby("mode", sort=False):
        if len(part) < 3:
            continue
        value, low, high = spearman_interval(part["area"], part["area_full"])
        times = ((part["difference_full"] ** 2).mean() / (part["difference"] ** 2).mean()) ** 0.5
        rows.append(
            {
                "mode": mode,
                "methods": len(part),
                "correlation": value,
                "low": low,
                "high": high,
                "times": float(times),
            }
        )
    return pd.DataFrame(rows, columns=["mode", "methods", "correlation", "low", "high", "times"])


def balanced(accuracies: pd.DataFrame, classes: int = 10) -> pd.DataFrame:
    """`mean_of_both` of all test pictures and of those that the explained network gets right and
    wrong, one below the other, of methods with a whole grid: further column pictures ("all",
    "where right", "where wrong")."""
    complete, tables = whole_grid(accuracies), []
    for pictures, column in (
        ("all", "accuracy"),
        ("where right", "where_right"),
        ("where wrong", "where_wrong"),
    ):
        if complete[column].notna().all():
            of_side = areas(complete.assign(accuracy=complete[column]), classes)
            tables.append(mean_of_both(of_side).assign(pictures=pictures))
    return pd.concat(tables, ignore_index=True)
