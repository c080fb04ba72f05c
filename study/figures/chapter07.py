"""Figures of chapter 7: what networks learn from what a map leaves."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.attribution.crosses import label

from .labelled import LEADER, spread
from .pictures import as_rgb, draw_picture
from .style import HIGHLIGHTED, MODES, colour, ink

GREY = "#999999"


def left_to_see(picture: Tensor, left: pd.DataFrame) -> Figure:
    """A picture [3,H,W] uint8 as retrained networks see it: a row a method and mode, a column a
    share of pixels; `left` as of study.experiments.retraining_tables.left_to_see."""
    rows = list(left.groupby(["method", "mode"], sort=False))
    columns = 1 + left["fraction"].nunique()
    size = (6.8, 0.3 + 0.85 * len(rows))
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for n, (line, ((method, mode), part)) in enumerate(zip(axes, rows, strict=True)):
        draw_picture(line[0], as_rgb(picture[None])[0], "Picture" if n == 0 else "")
        line[0].set_ylabel(f"{label(method)}\n{mode.upper()}", rotation=0, ha="right", va="center")
        for axis, r in zip(line[1:], part.itertuples(), strict=True):
            title = f"{r.fraction:.0%}" if n == 0 else ""
            draw_picture(axis, as_rgb(r.picture[None])[0], title)
    return figure


def retraining_differences(table: pd.DataFrame) -> Figure:
    """Areas less that of random pixels, with their intervals: a panel a mode, a row a method, in
    the order of ROAR, best above.

    `table` as of study.experiments.retraining_tables.differences.
    """
    maps = table[table["method"] != "random"]
    roar = maps[maps["mode"] == "roar"].sort_values("difference")["method"]
    names = list(dict.fromkeys([*roar, *maps["method"]]))
    size = (6.8, 0.24 * len(names) + 1.1)
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True)
    for axis, mode in zip(axes, MODES, strict=True):
        for r in maps[maps["mode"] == mode].itertuples():
            reach = np.nan_to_num([[r.difference - r.low], [r.high - r.difference]])
            axis.errorbar(
                r.difference,
                names.index(r.method),
                xerr=reach,
                color=colour(r.method),
                marker="o",
                markersize=5,
                capsize=2,
            )
        axis.axvline(0, color="#000000", linestyle="--", linewidth=1)
        axis.set(title=mode.upper(), xlabel="area less that of random pixels\n(lower is better)")
        axis.set_yticks(range(len(names)), [label(n) for n in names])
        axis.locator_params(axis="x", nbins=5)
    axes[0].invert_yaxis()
    return figure


def retraining_lines(accuracies: pd.DataFrame) -> Figure:
    """Accuracy after retraining against the share of pixels, a panel a mode, named at the ends of
    the lines; bands from the lowest to the highest seed.

    `accuracies` as of study.experiments.retraining.tidy. Random pixels are dashed, a dotted line is
    networks that saw whole pictures; lines of methods that the text speaks of least are thin.
    """
    whole = accuracies[accuracies["method"] == "none"]["accuracy"].mean()
    kept = accuracies[accuracies["method"] != "none"]
    figure, axes = plt.subplots(1, 2, figsize=(6.8, 4.2), sharey=True)
    for axis, (mode, what) in zip(axes, MODES.items(), strict=True):
        part = kept[kept["mode"] == mode]
        ends = {m: _line(axis, part[part["method"] == m], m) for m in part["method"].unique()}
        axis.axhline(whole, color="#333333", linestyle=":", linewidth=1)
        axis.set(title=mode.upper(), xlabel=f"share of pixels {what},\nthe most important first")
        axis.set_xticks(sorted(part["fraction"].unique()))
        _name_at_ends(axis, ends, part["fraction"].max())
    axes[0].set_ylabel("test accuracy after retraining")
    return figure


def _line(axis: Axes, part: pd.DataFrame, method: str) -> float:
    """Draw one method's curve; returns its height at the end."""
    by = part.groupby("fraction")["accuracy"]
    middle = by.mean()
    strong = method in HIGHLIGHTED
    axis.plot(
        middle.index,
        middle,
        color=colour(method),
        linestyle="--" if method == "random" else "-",
        linewidth=1.8 if strong else 1,
        zorder=3 if strong else 2,
    )
    axis.fill_between(
        middle.index, by.min(), by.max(), color=colour(method), alpha=0.15, linewidth=0
    )
    return float(middle.iloc[-1])


def _name_at_ends(axis: Axes, ends: dict[str, float], x: float) -> None:
    """The names of lines beside their ends, as near as they may come without overlapping."""
    order = sorted(ends, key=ends.get)
    low, high = axis.get_ylim()
    heights = spread([ends[m] for m in order], 0.042 * (high - low), low, high)
    for method, height in zip(order, heights, strict=True):
        axis.annotate(
            label(method),
            (x, ends[method]),
            xytext=(1.04, (height - low) / (high - low)),
            textcoords="axes fraction",
            fontsize=7.5,
            va="center",
            color=ink(colour(method)),
            annotation_clip=False,
            arrowprops={**LEADER, "color": colour(method)},
        )


def repeated(least: pd.DataFrame, classes: int) -> Figure:
    """Accuracy where the explained network is right (dot) and where it is wrong (ring), a row a
    method, a panel a mode, where least is left to see; chance dotted.

    `least` as of study.experiments.retraining_tables.least_left.
    """
    names = [m for m in dict.fromkeys(least["method"]) if m != "none"]
    gap = least[least["mode"] == "kar"].pivot(index="method", columns="side", values="accuracy")
    if "right" in gap and "wrong" in gap:
        names.sort(key=lambda m: gap["wrong"].get(m, 1) - gap["right"].get(m, 0))
    rows = ["none", *names]
    size = (6.8, 0.24 * len(rows) + 1.1)
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True, sharex=True)
    for axis, mode in zip(axes, MODES, strict=True):
        part = least[least["mode"].isin([mode, "none"])]
        for y, method in enumerate(rows):
            shade = "#333333" if method == "none" else colour(method)
            of_method = part[part["method"] == method].set_index("side")["accuracy"]
            axis.plot(of_method, [y] * len(of_method), color=shade, linewidth=1.2, zorder=2)
            for side, face in (("right", shade), ("wrong", "white")):
                if side in of_method:
                    axis.scatter(of_method[side], y, s=34, c=face, edgecolor=shade, zorder=3)
        axis.axvline(1 / classes, color=GREY, linestyle=":")
        share = part.loc[part["mode"] == mode, "fraction"]
        title = f"{mode.upper()}, {share.iloc[0]:.0%} {MODES[mode]}" if len(share) else mode.upper()
        axis.set(title=title, xlabel="accuracy", xlim=(0, 1))
        axis.set_yticks(range(len(rows)), ["Whole pictures", *(label(method) for method in names)])
    axes[0].invert_yaxis()
    return figure
