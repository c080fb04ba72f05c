"""Figures of chapter 9: from deletion to ROAR, shuffled maps, shock and legible places."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lib.attribution.crosses import label

from .labelled import LEADER, spread
from .style import HIGHLIGHTED, MODES, colour, ink, short


def step_ladder(table: pd.DataFrame) -> Figure:
    """The place of every method at each step from deletion to ROAR, one line a method, the best
    above; `table` as the first of study.experiments.ladder.turns."""
    stages = list(dict.fromkeys(table["step"]))
    rank = table.pivot(index="name", columns="step", values="rank")[stages]
    figure, axis = plt.subplots(figsize=(6.9, 0.27 * len(rank) + 1.0))
    for name in sorted(rank.index, key=lambda n: n in HIGHLIGHTED):
        strong = name in HIGHLIGHTED
        axis.plot(
            range(len(stages)),
            rank.loc[name],
            color=colour(name),
            marker="o",
            markersize=4.5,
            linewidth=2 if strong else 1.1,
            zorder=3 if strong else 2,
        )
    last = len(stages) - 1
    for stage, x, side in ((stages[0], -0.1, "right"), (stages[-1], last + 0.1, "left")):
        for name, y in rank[stage].rank(method="first").items():
            shade = ink(colour(name))
            axis.text(x, y, label(name), ha=side, va="center", fontsize=8, color=shade)
    axis.set(xlim=(-1.5, last + 1.5), ylim=(len(rank) + 0.6, 0.4), yticks=[], ylabel="best above")
    shown = [stage.replace(" ", "\n", 1) for stage in stages]
    axis.set_xticks(range(len(stages)), shown, fontsize=8)
    axis.grid(False)
    sns.despine(ax=axis, left=True, bottom=True)
    return figure


def shuffled_maps(table: pd.DataFrame) -> Figure:
    """What sparsity alone brings: a row a method, the sparsest above, its value (dot) and that of
    its map with its pixels in other places (ring); random numbers dotted.

    `table` as of study.account.summaries.ladder.beside_shuffled.
    """
    kept = table.dropna(subset="kept").drop_duplicates("name").set_index("name")["kept"].to_dict()
    order = sorted(kept, key=kept.get, reverse=True)
    panels = list(table.groupby(["label", "better"], sort=False))
    size = (6.9, 0.24 * len(order) + 0.9)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, ((metric, better), part) in zip(axes[0], panels, strict=True):
        for r in part[part["name"] != "random"].itertuples():
            y, shade = order.index(r.name), colour(r.name)
            axis.plot([r.value, r.shuffled], [y, y], color=shade, linewidth=1.4, zorder=2)
            axis.scatter(r.value, y, s=26, color=shade, zorder=4)
            axis.scatter(r.shuffled, y, s=26, facecolor="white", edgecolor=shade, zorder=3)
        for value in part.loc[part["name"] == "random", "value"]:
            axis.axvline(value, color="#333333", linestyle=":", linewidth=1)
        arrow = "more" if better > 0 else "less"
        axis.set_title(f"{metric}\n({arrow} is better)", fontsize=9)
        axis.grid(axis="y", visible=False)
        axis.tick_params(labelsize=8)
        axis.locator_params(axis="x", nbins=4)
    axes[0, 0].set_yticks(range(len(order)))
    names = [short(n).replace("\n", " ") for n in order]
    axes[0, 0].set_yticklabels(
        [f"{name} ({kept[n]:.0%})" for name, n in zip(names, order, strict=True)]
    )
    return figure


def shock_panels(table: pd.DataFrame) -> Figure:
    """Accuracy before and after retraining; how far pictures move; how likely one that fails has
    moved farther. `table` as of study.experiments.ladder.shock."""
    figure, axes = plt.subplots(1, 3, figsize=(6.9, 2.7))
    share = table["fraction"]
    for column, line, name in (("retrained", "-", "retrained"), ("before", "--", "as it is")):
        axes[0].plot(
            share, table[column], line, marker="o", markersize=4, color="#333333", label=name
        )
    axes[0].set(title="Test accuracy", ylim=(0, None))
    axes[0].legend(fontsize=8)
    axes[1].plot(share, table["moved"], marker="o", markersize=4, color="#333333")
    axes[1].axhline(0, color="#999999", linestyle=":")
    axes[1].set_title("Distance gained from\ntraining pictures (medians)")
    reach = np.abs([table["farther"] - table["low"], table["high"] - table["farther"]])
    axes[2].errorbar(
        share, table["farther"], yerr=reach, marker="o", markersize=4, color="#333333", capsize=3
    )
    axes[2].axhline(0.5, color="#999999", linestyle=":")
    # small departures from one half should look small
    low, high = table["low"].min() - 0.02, table["high"].max() + 0.02
    axes[2].set(ylim=(np.nanmin([0.3, low]), np.nanmax([0.7, high])))
    axes[2].set_title("How often the failing\npicture moved farther")
    for axis in axes:
        axis.title.set_fontsize(9)
        axis.tick_params(labelsize=8)
        axis.set_xlabel("share of pixels removed", fontsize=8.5)
    return figure


def legible_places(points: pd.DataFrame) -> Figure:
    """The area against the accuracy of retrained networks where the explained one is wrong, a point
    a method, a panel a mode; `points` as of study.experiments.ladder.legible."""
    modes = [m for m in MODES if m in set(points["mode"])]
    figure, axes = plt.subplots(1, len(modes), figsize=(6.9, 3.4), squeeze=False)
    for axis, mode in zip(axes[0], modes, strict=True):
        part = points[points["mode"] == mode].sort_values("area")
        shades = [colour(m) for m in part["method"]]
        axis.scatter(part["wrong"], part["area"], color=shades, s=30, zorder=3)
        axis.margins(x=0.08, y=0.08)
        low, high = axis.get_ylim()
        heights = spread(part["area"].tolist(), 0.055 * (high - low), low, high)
        for r, height, shade in zip(part.itertuples(), heights, shades, strict=True):
            axis.annotate(
                short(r.method).replace("\n", " "),
                (r.wrong, r.area),
                xytext=(1.03, (height - low) / (high - low)),
                textcoords="axes fraction",
                fontsize=7.5,
                va="center",
                color=ink(shade),
                annotation_clip=False,
                arrowprops={**LEADER, "color": shade},
            )
        axis.set_title(f"{mode.upper()} (lower area is better)", fontsize=9)
        axis.set_xlabel(
            "accuracy where the explained network\nis wrong, mean over shares", fontsize=8.5
        )
        axis.tick_params(labelsize=8)
        axis.locator_params(axis="x", nbins=4)
    axes[0, 0].set_ylabel("area", fontsize=8.5)
    return figure
