"""Figures of the synthesis: who ranks where, which metrics agree, what sparsity alone brings, where the order of methods turns."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lib import attribution, crossed
from lib.figures import as_rgb, draw_picture
from lib.figures_noise import COLOURS, draw_map
from lib.subjects import Subject
from lib.synthesis import METRICS, SHUFFLED, label

GROUPS = {
    "published": tuple(attribution.METHODS),
    "tried here": tuple(crossed.NEW),
    "controls": tuple(crossed.CONTROLS),
}
HIGHLIGHTED = {
    m: COLOURS[m]
    for m in (
        "random",
        "rectgrad",
        "saliency",
        "active",
        "positive",
        "deeplift",
        "integrated_gradients",
    )
}  # those that the text speaks of; the others are grey and named at their ends


def ordered(summary: pd.DataFrame) -> list[str]:
    """All names: published, tried here, controls; within a group by the mean over families of their mean relative rank."""
    place = summary.assign(
        place=(summary["rank"] - 1) / (summary["of"] - 1).clip(lower=1),
        family=[METRICS[m].family for m in summary["metric"]],
    )
    mean = (
        place.groupby(["name", "family"])["place"]
        .mean()
        .groupby("name")
        .mean()
        .sort_values(kind="stable")
    )
    return [n for group in GROUPS.values() for n in mean.index if n in group]


def strip(who: Subject, maps: dict[str, Tensor], blocks: int = 2) -> Figure:
    """A row for each method, a column for each picture of `who`, in `blocks` beside each other; name -> [n,H,W]."""
    images, names = as_rgb(who.pictures.images), ["", *maps]
    lines, width = -(-len(names) // blocks), len(images)
    figure, axes = plt.subplots(
        lines, blocks * width, figsize=(blocks * (width + 1.25), 1.02 * lines), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for k, name in enumerate(names):
        row = axes[k % lines, k // lines * width :][:width]
        for n, axis in enumerate(row):
            axis.set_axis_on()
            if name:
                draw_map(axis, maps[name][n])
            else:
                draw_picture(axis, images[n])
        row[0].set_ylabel(
            (label(name) if name else "Picture")
            .replace(", ", ",\n")
            .replace("Integrated gradients", "Integrated\ngradients")
            .replace("Guided back", "Guided\nback"),
            rotation=0,
            ha="right",
            va="center",
            fontsize=8,
        )
    return figure


def league(summary: pd.DataFrame, axis=None) -> Figure:
    """Who ranks where: a row for each name, a column for each metric, the rank written and its interval below it; on `axis` if there is one."""
    place = summary.assign(place=(summary["rank"] - 1) / (summary["of"] - 1).clip(lower=1)).pivot(
        index="name", columns="metric", values="place"
    )
    columns, order = [m for m in METRICS if m in place], ordered(summary)
    axis = axis or plt.subplots(figsize=(2.6 + 0.74 * len(columns), 0.43 * len(order) + 1.5))[1]
    sns.heatmap(
        place.loc[order, columns].clip(0, 1),
        cmap="PuOr_r",
        vmin=0,
        vmax=1,
        linewidths=1.2,
        ax=axis,
        cbar_kws={"shrink": 0.35, "aspect": 12, "ticks": [0, 1], "pad": 0.02},
    )
    axis.collections[0].colorbar.set_ticklabels(["best", "last"])
    axis.collections[0].colorbar.ax.invert_yaxis()
    for r in summary.itertuples():
        x, y = columns.index(r.metric) + 0.5, order.index(r.name) + 0.5
        ink = "white" if abs(min(place.loc[r.name, r.metric], 1) - 0.5) > 0.3 else "#222222"
        axis.text(x, y - 0.16, f"{r.rank:g}", ha="center", va="center", fontsize=9.5, color=ink)
        axis.text(
            x,
            y + 0.24,
            f"{np.floor(r.rank_low):.0f}–{np.ceil(r.rank_high):.0f}",
            ha="center",
            va="center",
            fontsize=7,
            color=ink,
        )
    for k in np.cumsum([sum(n in group for n in order) for group in GROUPS.values()])[:-1]:
        axis.axhline(k, color="#444444", linewidth=1.4)
    for k in range(1, len(columns)):
        if METRICS[columns[k]].family != METRICS[columns[k - 1]].family:
            axis.axvline(k, color="#444444", linewidth=1.4)
    axis.set(
        xlabel="",
        ylabel="",
        yticks=np.arange(len(order)) + 0.5,
        xticks=np.arange(len(columns)) + 0.5,
    )
    axis.set_yticklabels([label(n) for n in order], rotation=0)
    of = summary.drop_duplicates("metric").set_index("metric")["of"]
    axis.set_xticklabels(
        [
            f"{METRICS[m].label} {'↑' if METRICS[m].better > 0 else '↓'}"
            + (f" (of {of[m]})" if of[m] < of.max() else "")
            for m in columns
        ],
        rotation=40,
        ha="left",
        rotation_mode="anchor",
    )
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.grid(False)
    return axis.get_figure()


def agreement(table: pd.DataFrame) -> Figure:
    """Spearman's correlation of every pair of metrics, alike ones beside each other; framed where it is significant after correction."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    names = [m for m in METRICS if m in set(table["first"]) | set(table["second"])]
    full, sure = pd.DataFrame(np.nan, index=names, columns=names), {}
    for r in table.itertuples():
        full.loc[r.first, r.second] = full.loc[r.second, r.first] = r.correlation
        sure[r.first, r.second] = sure[r.second, r.first] = r.p_corrected < 0.05
    apart = (1 - full).fillna(1).to_numpy(copy=True)
    np.fill_diagonal(apart, 0)
    names = [
        names[k]
        for k in leaves_list(
            linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
        )
    ]
    size = 1.7 + 0.52 * len(names)
    figure, axis = plt.subplots(figsize=(size + 0.8, size))
    shown = full.loc[names[1:], names[:-1]]  # below the diagonal
    sns.heatmap(
        shown,
        mask=np.triu(np.ones(shown.shape, bool), 1),
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        square=True,
        linewidths=0.6,
        ax=axis,
        cbar_kws={"label": "rank correlation over methods", "shrink": 0.6},
    )
    for i, first in enumerate(names[1:]):
        for j, second in enumerate(names[: i + 1]):
            value = full.loc[first, second]
            if not np.isnan(value):
                axis.text(
                    j + 0.5,
                    i + 0.5,
                    f"{round(value, 2) + 0:.2f}".replace("-", "−"),
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color="white" if abs(value) > 0.65 else "#222222",
                    fontweight="bold" if sure.get((first, second)) else "normal",
                )
                if sure.get((first, second)):
                    axis.add_patch(
                        Rectangle(
                            (j + 0.04, i + 0.04),
                            0.92,
                            0.92,
                            fill=False,
                            edgecolor="#111111",
                            linewidth=1.4,
                        )
                    )
    axis.set(xlabel="", ylabel="")
    axis.set_xticklabels(
        [METRICS[m].label for m in names[:-1]], rotation=40, ha="right", rotation_mode="anchor"
    )
    axis.set_yticklabels([METRICS[m].label for m in names[1:]], rotation=0)
    axis.grid(False)
    return figure


def shuffled(
    found: dict[str, dict[str, Tensor]],
    shown: Sequence[str] = (
        "black_deletion",
        "white_deletion",
        "black_insertion",
        "white_insertion",
        "outside",
        "variation",
    ),
) -> Figure:
    """What sparsity alone brings: a row for each method, the sparsest above, its value (dot) and that of its map with shuffled pixels (ring); a line for random numbers."""
    pairs = {
        m: [n for n in found[m] if f"{SHUFFLED}{n}" in found[m] and n in attribution.METHODS]
        for m in shown
        if m in found
    }
    pairs = {m: names for m, names in pairs.items() if names}
    kept = {
        n: float(found["kept"][n].nanmean())
        for n in dict.fromkeys(n for names in pairs.values() for n in names)
    }
    order = sorted(kept, key=kept.get, reverse=True)
    figure, axes = plt.subplots(
        1,
        len(pairs),
        figsize=(2.2 + 1.65 * len(pairs), 0.27 * len(order) + 1.1),
        sharey=True,
        squeeze=False,
    )
    for axis, (metric, names) in zip(axes[0], pairs.items()):
        for name in names:
            y, value, chance = (
                order.index(name),
                *(float(found[metric][n].nanmean()) for n in (name, f"{SHUFFLED}{name}")),
            )
            colour = HIGHLIGHTED.get(name, "#888888")
            axis.plot([value, chance], [y, y], color=colour, linewidth=1.4, zorder=2)
            axis.scatter([value], [y], s=30, color=colour, zorder=4)
            axis.scatter([chance], [y], s=30, facecolor="white", edgecolor=colour, zorder=3)
        if "random" in found[metric]:
            axis.axvline(
                float(found[metric]["random"].nanmean()),
                color="#333333",
                linestyle=":",
                linewidth=1,
                zorder=1,
            )
        axis.set(
            title=f"{METRICS[metric].label} {'↑' if METRICS[metric].better > 0 else '↓'}",
            yticks=range(len(order)),
        )
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticklabels([f"{label(n)} ({kept[n]:.0%})" for n in order])
    return figure


def steps(table: pd.DataFrame) -> Figure:
    """From allegiance to ROAR in small steps: the rank of every method at each, one line a method; `table` as the first of lib.ranking.rungs."""
    stages, names = list(dict.fromkeys(table["step"])), list(dict.fromkeys(table["name"]))
    figure, axis = plt.subplots(figsize=(1.75 * len(stages) + 1.6, 0.3 * len(names) + 1.2))
    rank = table.pivot(index="name", columns="step", values="rank")
    for name in sorted(names, key=lambda n: n in HIGHLIGHTED):
        colour, lit = HIGHLIGHTED.get(name, "#c4c4c4"), name in HIGHLIGHTED
        axis.plot(
            range(len(stages)),
            rank.loc[name, stages],
            color=colour,
            marker="o",
            markersize=5,
            linewidth=2 if lit else 1.2,
            zorder=2 + lit,
        )
    ends = pd.concat([rank[stages[0]].rename("first"), rank[stages[-1]].rename("last")], axis=1)
    for side, x, align in (("first", -0.08, "right"), ("last", len(stages) - 0.92, "left")):
        for name, y in ends[side].rank(method="first").items():
            axis.text(
                x,
                y,
                label(name),
                ha=align,
                va="center",
                fontsize=8,
                color=HIGHLIGHTED.get(name, "#777777"),
            )
    axis.set(
        xticks=range(len(stages)),
        xlim=(-1.5, len(stages) + 0.5),
        ylim=(len(names) + 0.6, 0.4),
        yticks=[],
        ylabel="best above",
    )
    axis.set_xticklabels([s.replace(", ", ",\n") for s in stages], fontsize=8)
    axis.grid(False)
    sns.despine(ax=axis, left=True, bottom=True)
    return figure


def shock(table: pd.DataFrame) -> Figure:
    """Accuracy before and after retraining, how far pictures move, and how likely one that fails has moved farther; `table` as lib.ranking.shock returns it."""
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.1))
    axes[0].plot(
        table["fraction"],
        table["before"],
        marker="o",
        color="#D55E00",
        label="the network as it is",
    )
    axes[0].plot(
        table["fraction"], table["retrained"], marker="o", color="#0072B2", label="retrained"
    )
    axes[0].set(
        xlabel="share of pixels removed", ylabel="test accuracy, mean over methods", ylim=(0, None)
    )
    axes[0].legend()
    axes[1].plot(table["fraction"], table["moved"], marker="o", color="#333333")
    axes[1].axhline(0, color="#999999", linestyle=":")
    axes[1].set(xlabel="share of pixels removed", ylabel="farther from the training pictures")
    axes[2].errorbar(
        table["fraction"],
        table["farther"],
        yerr=[
            (table["farther"] - table["low"]).clip(lower=0),
            (table["high"] - table["farther"]).clip(lower=0),
        ],
        marker="o",
        color="#333333",
        capsize=3,
    )
    axes[2].axhline(0.5, color="#999999", linestyle=":")
    axes[2].set(
        xlabel="share of pixels removed",
        ylabel="probability that the failing\npicture moved farther",
        ylim=(min(0.3, table["low"].min() - 0.02), max(0.7, table["high"].max() + 0.02)),
    )  # small departures from one half should look small
    return figure
