"""Curves in small panels, a row a network and a column a fill, each line named at its end."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from lib.attribution.crosses import label

from .style import DASHES, LABELS, colour, ink, verbatim

SMALL = 8  # points, of the names at the ends of lines
# from a point to its name, whose left edge it ends at, so that it crosses no other
LEADER = {"arrowstyle": "-", "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 1}


def named(name: str) -> str:
    """What a signed map, a method or a control is called."""
    return LABELS.get(name) or label(name)


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The values moved as little as needed (least squares) to lie `gap` apart and, where that fits,
    in [low, high].

    Their order stays.
    """
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(order))
    # with the gaps taken out, values that may not change places are an isotonic regression
    placed = isotonic_regression(np.asarray(values, float)[order] - steps).x
    placed = placed.clip(max=high - steps[-1]).clip(min=low) + steps
    return placed[np.argsort(order)].tolist()


def end_labels(axis: Axes, x: float, ends: dict[str, tuple[float, str]]) -> None:
    """Names at the right of lines that end at `x`: name -> height and colour, moved apart.

    Call it when the limits of the axis are final.
    """
    low, high = axis.get_ylim()
    figure = axis.figure
    inches = axis.get_position().height * figure.get_figheight()
    gap = 1.15 * SMALL / 72 / inches * (high - low)
    heights = spread([y for y, _ in ends.values()], gap, low + gap / 2, high - gap / 2)
    for (name, (_, shade)), height in zip(ends.items(), heights, strict=True):
        axis.annotate(
            verbatim(name),
            (x, height),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=ink(shade),
            annotation_clip=False,
        )


def panels(
    tables: dict[str, pd.DataFrame],
    value: str,
    shown: dict[str, Sequence[str]],
    *,
    x: str = "fraction",
    xlabel: str = "share of pixels deleted",
    ylabel: str = "allegiance",
    title: str = "{fill} deletion",
    upright: dict[tuple[str, str], float] | None = None,
) -> Figure:
    """`value` against `x`, with its band: a row a subject, a column a fill, at most six lines each.

    `tables`: columns map, fill, `x`, `value` and its ends, `low` and `high` or `value`_low and
    `value`_high. `shown`: the maps of each fill. `upright`: (subject, map) -> where a thin upright
    line of the map's colour stands.
    """
    figure, axes = plt.subplots(
        len(tables),
        len(shown),
        figsize=(6.9, 1.75 * len(tables) + 0.6),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for row, (subject, frame) in zip(axes, tables.items(), strict=True):
        for axis, (fill, names) in zip(row, shown.items(), strict=True):
            for name in names:
                part = frame[(frame["map"] == name) & (frame["fill"] == fill)]
                _line(axis, part, x, value, name)
                if upright:
                    axis.axvline(upright[subject, name], color=colour(name), linewidth=0.9)
            axis.set_title(f"{verbatim(subject)}: {title.format(fill=fill)}", fontsize=9)
        row[0].set_ylabel(ylabel, fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel(xlabel, fontsize=9)
    _name_the_ends(figure, axes, tables, value, shown, x)
    return figure


def _line(axis: Axes, part: pd.DataFrame, x: str, value: str, name: str) -> None:
    low, high = ("low", "high") if "low" in part else (f"{value}_low", f"{value}_high")
    axis.plot(
        part[x],
        part[value],
        color=colour(name),
        linestyle=DASHES.get(name, "-"),
        linewidth=1.4,
        marker="o",
        markersize=2,
    )
    axis.fill_between(part[x], part[low], part[high], color=colour(name), alpha=0.18, linewidth=0)


def _name_the_ends(figure, axes, tables, value, shown, x) -> None:
    """Names right of each panel's last points, once heights are known; widths give way to them."""
    figure.canvas.draw()
    for row, frame in zip(axes, tables.values(), strict=True):
        for axis, (fill, names) in zip(row, shown.items(), strict=True):
            part = frame[frame["fill"] == fill].groupby("map").last()
            ends = {named(name): (part.loc[name, value], colour(name)) for name in names}
            last = part.loc[list(names), x].max()
            axis.set_xlim(right=last)
            end_labels(axis, last, ends)
