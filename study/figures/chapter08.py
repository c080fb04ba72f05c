"""Figures of chapter 8: places under every metric, and how far metrics agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from lib.attribution.crosses import label

from .pictures import as_rgb, draw_map, draw_picture
from .style import GROUPS, ordered

if TYPE_CHECKING:
    from study.subjects.subject import Subject


def _head(metric) -> str:
    """A metric's name and whether more of it is better."""
    return f"{metric.label} {'↑' if metric.better > 0 else '↓'}"


def place_table(
    summary: pd.DataFrame, axis: Axes | None = None, *, intervals: bool = False
) -> Figure:
    """Who ranks where: a row a name, a column a metric, the place written in its cell.

    `summary` as of study.experiments.ranking.summary. On `axis` if there is one; `intervals` writes
    that of each place below it.
    """
    relative = (summary["rank"] - 1) / (summary["of"] - 1).clip(lower=1)
    place = summary.assign(place=relative).pivot(index="name", columns="metric", values="place")
    metrics, order = summary.drop_duplicates("metric").set_index("metric"), ordered(summary)
    columns = list(metrics.index)
    axis = axis or plt.subplots(figsize=(6.9, 0.235 * len(order) + 1.35))[1]
    sns.heatmap(
        place.loc[order, columns].clip(0, 1),
        cmap="PuOr_r",
        vmin=0,
        vmax=1,
        linewidths=0.8,
        ax=axis,
        cbar_kws={"shrink": 0.4, "aspect": 12, "ticks": [0, 1], "pad": 0.02},
    )
    axis.collections[0].colorbar.set_ticklabels(["best", "last"])
    axis.collections[0].colorbar.ax.invert_yaxis()
    for r in summary.itertuples():
        dark = abs(min(place.loc[r.name, r.metric], 1) - 0.5) > 0.3
        x, y = columns.index(r.metric) + 0.5, order.index(r.name) + 0.5
        _write_place(axis, x, y, r, "white" if dark else "#222222", intervals)
    for k in np.cumsum([sum(n in group for n in order) for group in GROUPS.values()])[:-1]:
        axis.axhline(k, color="#444444", linewidth=1.4)
    for k in range(1, len(columns)):
        if metrics["family"].iloc[k] != metrics["family"].iloc[k - 1]:
            axis.axvline(k, color="#444444", linewidth=1.4)
    most = metrics["of"].max()
    heads = [_head(m) + (f" (of {m.of})" if m.of < most else "") for m in metrics.itertuples()]
    axis.set(xlabel="", ylabel="", xticks=np.arange(len(columns)) + 0.5)
    axis.set_xticklabels(heads, rotation=35, ha="left", rotation_mode="anchor", fontsize=8)
    axis.set_yticks(np.arange(len(order)) + 0.5, [label(n) for n in order], rotation=0, fontsize=8)
    axis.xaxis.tick_top()
    axis.tick_params(length=0, pad=1)
    axis.grid(False)
    return axis.get_figure()


def _write_place(axis: Axes, x: float, y: float, row, ink: str, interval: bool) -> None:
    """A place and, small below it, its interval, about the middle of a cell."""
    centred = {"ha": "center", "va": "center", "color": ink}
    axis.text(x, y - 0.16 * interval, f"{row.rank:g}", fontsize=8 + 1.5 * interval, **centred)
    if interval:
        ends = f"{np.floor(row.rank_low):.0f}–{np.ceil(row.rank_high):.0f}"
        axis.text(x, y + 0.24, ends, fontsize=7, **centred)


def _alike_beside_each_other(correlated: pd.DataFrame) -> list[str]:
    """The names of a square table of correlations, ordered by a clustering of 1 less these."""
    if len(correlated) < 3:
        return list(correlated.index)
    apart = (1 - correlated).fillna(1).to_numpy(copy=True)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
    return [correlated.index[k] for k in leaves_list(tree)]


def _write(axis: Axes, row: int, column: int, value: float, sure: bool) -> None:
    """A correlation in its cell, bold and framed where it is `sure`."""
    axis.text(
        column + 0.5,
        row + 0.5,
        f"{round(value, 2) + 0:.2f}".replace("-", "−"),
        ha="center",
        va="center",
        fontsize=7.5,
        color="white" if abs(value) > 0.65 else "#222222",
        fontweight="bold" if sure else "normal",
    )
    if sure:
        corner = (column + 0.04, row + 0.04)
        frame = Rectangle(corner, 0.92, 0.92, fill=False, edgecolor="#111111", linewidth=1.4)
        axis.add_patch(frame)


def correlations(table: pd.DataFrame) -> Figure:
    """Rank correlation of every pair of metrics, alike ones beside each other; framed where it is
    significant after correction.

    `table` as of study.experiments.ranking.kinds.
    """
    called = dict(zip(table["first"], table["first_label"], strict=True))
    called |= dict(zip(table["second"], table["second_label"], strict=True))
    names = list(called)
    full = pd.DataFrame(np.nan, index=names, columns=names)
    sure = {}
    for r in table.itertuples():
        full.loc[r.first, r.second] = full.loc[r.second, r.first] = r.correlation
        sure[r.first, r.second] = sure[r.second, r.first] = r.p_corrected < 0.05
    names = _alike_beside_each_other(full)
    shown = full.loc[names[1:], names[:-1]]  # below the diagonal
    figure, axis = plt.subplots(figsize=(6.6, 0.36 * len(names) + 1.3))
    sns.heatmap(
        shown,
        mask=np.triu(np.ones(shown.shape, bool), 1),
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        linewidths=0.6,
        ax=axis,
        cbar_kws={"label": "rank correlation over methods", "shrink": 0.7},
    )
    for i, first in enumerate(names[1:]):
        for j, second in enumerate(names[: i + 1]):
            value = full.loc[first, second]
            if not np.isnan(value):
                _write(axis, i, j, value, sure.get((first, second), False))
    axis.set(xlabel="", ylabel="")
    heads = [called[m] for m in names[:-1]]
    axis.set_xticklabels(heads, rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
    axis.set_yticklabels([called[m] for m in names[1:]], rotation=0, fontsize=8)
    axis.grid(False)
    return figure


def map_strip(studied: Subject, maps: dict[str, Tensor]) -> Figure:
    """A row a method, a column a picture of `studied`, in two blocks; `maps`: name -> [n,H,W]."""
    images, names = as_rgb(studied.pictures.images), ["", *maps]
    width, lines = len(images), -(-len(names) // 2)
    # a narrow column for the names before each block
    ratios = ([1.25] + [1] * width) * 2
    size = (6.9, 0.76 * lines)
    figure, axes = plt.subplots(lines, 2 * (width + 1), figsize=size, width_ratios=ratios)
    for axis in axes.flat:
        axis.set_axis_off()
    for k, name in enumerate(names):
        row = axes[k % lines, k // lines * (width + 1) :][: width + 1]
        shown = label(name).replace(", ", ",\n").replace(" back", "\nback") if name else "Picture"
        row[0].text(1, 0.5, shown.replace("Integrated ", "Integrated\n"), ha="right", va="center")
        row[0].texts[0].set_fontsize(8)
        for n, axis in enumerate(row[1:]):
            axis.set_axis_on()
            draw_map(axis, maps[name][n]) if name else draw_picture(axis, images[n])
    return figure
