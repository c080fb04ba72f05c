"""Chapter 6, how clean maps are: tables in, sentences and layouts out."""

from __future__ import annotations

import pandas as pd

from lib.attribution.crosses import label

from .phrases import ends, listed, span

TREATMENTS = {
    "none": "as they are",
    "released": "released thresholds",
    "matched": "equal sparsity",
}


def in_short(least: pd.DataFrame, area: float, table: pd.DataFrame, n: int) -> list[str]:
    """Three sentences, from the first network of `least_on_background` and `side_by_side`.

    `area`: the background's share of the picture. `n`: pictures with a patch, and of those whose
    total variation was taken.
    """
    first = least[least["network"] == least["network"].iloc[0]]
    equal = first[first["treatment"] == "matched"].iloc[0]
    return [
        f"The background holds {equal['rectgrad']:.0%} of RectGrad's attribution (best older "
        f"method {equal['baseline']:.0%}, edge detector {equal['edges']:.0%}, even map "
        f"{area:.0%}; means, n = {equal['n']:,}).",
        _patch(table, n),
        _variation(table, n),
    ]


def _patch(table: pd.DataFrame, n: int) -> str:
    """Who puts least on the patch, by means and by medians."""
    networks = table[table["method"] != "edges"].set_index("method")
    by_mean, by_median = networks["patch_mean"].idxmin(), networks["patch_median"].idxmin()
    mean, median = networks["patch_mean"].min(), networks["patch_median"].min()
    if by_mean == by_median:
        return (
            f"In the patch that tells nothing, {label(by_mean)} has least by means ({mean:.2%}) "
            f"and by medians ({median:.2%}; n = {n:,})."
        )
    return (
        f"In the patch that tells nothing, {label(by_mean)} has least by means ({mean:.2%}), but "
        f"{label(by_median)} by medians ({median:.2%}; n = {n:,})."
    )


def _variation(table: pd.DataFrame, n: int) -> str:
    """Which method varies least, as a sum and divided by the map's total, and where the edge
    detector varies less still."""
    by = table.set_index("method")
    of_methods = by.drop(index="edges")
    as_sum, scaled = of_methods["variation"].idxmin(), of_methods["scaled"].idxmin()
    if as_sum == scaled:
        least = f"{label(as_sum)} has the least total variation, as a sum and divided by"
    else:
        least = f"{label(as_sum)} has the least total variation as a sum, {label(scaled)} over"
    told = f"Of the methods, {least} the map's total (medians, n = {n:,})."
    less = [
        f"{by.loc['edges', column]:{spec}} against {of_methods[column].min():{spec}} {measured}"
        for column, spec, measured in (
            ("variation", ".3g", "as a sum"),
            ("scaled", ".2f", "over the total"),
        )
        if by.loc["edges", column] < of_methods[column].min()
    ]
    return f"{told} The edge detector has less still: {listed(less)}." if less else told


def sparsity(table: pd.DataFrame) -> list[str]:
    """How many pixels each treatment leaves, from `amounts` of any quantity."""
    kept = _kept(table)
    others = kept.drop(index=["rectgrad", "rectgrad_prr", "edges"], errors="ignore")["released"]
    return [
        f"RectGrad keeps {kept.loc['rectgrad', 'released']:.0%} of the pixels, its variant PRR "
        f"{kept.loc['rectgrad_prr', 'released']:.0%}; the released threshold leaves an older "
        f"method {span(others, '.0%')}."
    ]


def _kept(table: pd.DataFrame) -> pd.DataFrame:
    """Share of pixels that are not zero: a row a method, a column a treatment."""
    of_each = table.drop_duplicates(["method", "treatment"])
    return of_each.pivot(index="method", columns="treatment", values="kept")


def tail(patch: pd.DataFrame) -> list[str]:
    """Why means and medians may differ, from `amounts` of "patch": the upper end of RectGrad's."""
    equal = patch[(patch["treatment"] == "matched") & patch["share"]].set_index("method")
    ours, other = equal.loc["rectgrad_prr"], equal.loc["deeplift"]
    return [
        f"RectGrad PRR: half the pictures have at most {ours['median']:.1%} of it in the patch, "
        f"one in twenty more than {ours['p95']:.0%}; mean {ours['mean']:.1%}.",
        f"DeepLIFT: half have at most {other['median']:.1%}, one in twenty more than "
        f"{other['p95']:.0%}; mean {other['mean']:.1%}.",
    ]


# --- layouts -------------------------------------------------------------------------------------


def side_by_side_table(table: pd.DataFrame) -> pd.DataFrame:
    """`side_by_side` to be read."""
    return pd.DataFrame(
        {
            "method": [label(method) for method in table["method"]],
            "background (mean)": [f"{v:.1%}" for v in table["background"]],
            "patch (mean)": [f"{v:.2%}" for v in table["patch_mean"]],
            "patch (median)": [f"{v:.2%}" for v in table["patch_median"]],
            "total variation (median)": [f"{v:.3g}" for v in table["variation"]],
            "… over the map's total": [f"{v:.2f}" for v in table["scaled"]],
        }
    )


def kept_table(table: pd.DataFrame) -> pd.DataFrame:
    """Share of pixels that are not zero, from `amounts` of any quantity."""
    kept = _kept(table)
    methods = list(dict.fromkeys(table["method"]))
    columns = {
        name: [f"{value:.1%}" for value in kept.loc[methods, treatment]]
        for treatment, name in TREATMENTS.items()
    }
    return pd.DataFrame({"method": [label(method) for method in methods], **columns})


def spread_table(table: pd.DataFrame, share: bool) -> pd.DataFrame:
    """Median with its interval, and mean, of each method under each treatment.

    The least mean under the released treatment comes first. From `amounts`, as a `share` of the
    map's total or as a sum.
    """
    spec = ".2%" if share else ".3g"
    part = table[table["share"] == share].set_index(["method", "treatment"])
    order = part.xs("released", level="treatment")["mean"].sort_values(kind="stable").index
    rows = []
    for method in order:
        row = {"method": label(method)}
        for treatment, name in TREATMENTS.items():
            r = part.loc[(method, treatment)]
            interval = ends(r["low"], r["high"], spec)
            row[name] = f"{r['median']:{spec}} ({interval}); mean {r['mean']:{spec}}"
        rows.append(row)
    return pd.DataFrame(rows)


def least_table(least: pd.DataFrame) -> pd.DataFrame:
    """`least_on_background` to be read."""
    return pd.DataFrame(
        {
            "network": least["network"],
            "treatment": least["treatment"].map(TREATMENTS),
            "RectGrad": [f"{v:.1%}" for v in least["rectgrad"]],
            "RectGrad PRR": [f"{v:.1%}" for v in least["rectgrad_prr"]],
            "best older method": [
                f"{r.baseline:.1%} ({label(r.which)})" for r in least.itertuples()
            ],
            "edge detector": [f"{v:.1%}" for v in least["edges"]],
        }
    )


def both_splits_table(test: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Total variation under the released thresholds on both splits, from `amounts` of each."""
    columns = {}
    for split, table in (("test", test), ("train", train)):
        for share, unit in ((False, "sum"), (True, "over the total")):
            part = table[(table["treatment"] == "released") & (table["share"] == share)]
            part = part.set_index("method")
            columns[f"{split}, {unit}"] = {
                method: f"{r['median']:.3g} ({r['low']:.3g} to {r['high']:.3g})"
                for method, r in part.iterrows()
            }
    wide = pd.DataFrame(columns).dropna()
    return wide.rename(index=label).rename_axis(index="method").reset_index()
