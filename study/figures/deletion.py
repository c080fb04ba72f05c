"""Figures of the deletion benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .labelled import named, panels
from .pictures import draw_frame, draw_picture
from .style import colour, verbatim

CONTROLS = ("edges", "random")


def control_curves(tables: dict[str, pd.DataFrame], maps: dict[str, Sequence[str]]) -> Figure:
    """Allegiance of the maps of each fill, of edges and of random pixels, from tables as of
    `study.experiments.deletion.curve_table`: a row a subject, a column a fill."""
    shown = {fill: (*names, *CONTROLS) for fill, names in maps.items()}
    return panels(tables, "allegiance", shown)


def beside_random(table: pd.DataFrame) -> Figure:
    """By how much each map's area differs from that of random pixels, with its interval: a row a
    subject, a column a fill; `table` as of
    `study.experiments.deletion_tables.against_random`."""
    subjects = list(dict.fromkeys(table["subject"]))
    maps = {
        fill: list(dict.fromkeys(part["map"])) for fill, part in table.groupby("fill", sort=False)
    }
    figure, axes = plt.subplots(
        1, 2, figsize=(6.9, 0.62 * len(subjects) + 1.3), sharex=True, sharey=True
    )
    for axis, (fill, names) in zip(axes, maps.items(), strict=True):
        for place, name in enumerate(names):
            part = table[(table["fill"] == fill) & (table["map"] == name)].set_index("subject")
            part = part.loc[subjects]
            axis.errorbar(
                part["difference"],
                [y + 0.19 * (place - 1.5) for y in range(len(subjects))],
                xerr=[part["difference"] - part["low"], part["high"] - part["difference"]],
                fmt="o",
                color=colour(name),
                markersize=4,
                capsize=2,
            )
        axis.axvline(0, color=colour("random"), linewidth=1)
        axis.set_title(f"{fill} deletion", fontsize=10)
        axis.set_xlabel("area less that of random pixels", fontsize=9)
        axis.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(subjects)), [verbatim(s) for s in subjects])
    axes[0].set_ylim(len(subjects) - 0.45, -0.55)
    # the controls last
    names = sorted(dict.fromkeys(table["map"]), key=lambda name: name in CONTROLS)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour(name), label=named(name))
        for name in names
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=6, fontsize=9)
    return figure


def promise(soft: dict[str, pd.DataFrame], maps: dict[str, Sequence[str]]) -> Figure:
    """Mean change of the logit when a tenth of the pixels move the way their sign asks, by the
    strength of the move; tables as of `study.experiments.deletion.soft_replacement`, and the maps
    that ask for each fill."""
    figure = panels(
        soft,
        "logit",
        maps,
        x="strength",
        xlabel="strength of the move (1: all the way)",
        ylabel="change of the logit",
        title="towards {fill}",
    )
    for axis in figure.axes:
        axis.axhline(0, color="#333333", linewidth=0.8)
    return figure


def at_work(table: pd.DataFrame) -> Figure:
    """One picture as its pixels go, black deletion left and white deletion right, a row a map; of
    three fractions there are six columns.

    A red frame: the prediction has changed. `table` as of
    `study.experiments.deletion.one_by_one`.
    """
    fractions = list(dict.fromkeys(table["fraction"]))
    blocks = list(dict.fromkeys(zip(table["fill"], table["map"], strict=True)))
    lines, width = len(blocks) // 2, len(fractions)
    figure, axes = plt.subplots(
        lines, 2 * width + 1, figsize=(6.0, 2.75), width_ratios=[1] * width + [0.4] + [1] * width
    )
    for axis in axes.flat:
        axis.axis("off")
    for k, (fill, name) in enumerate(blocks):
        start = k // lines * (width + 1)
        row = axes[k % lines, start : start + width]
        part = table[(table["map"] == name) & (table["fill"] == fill)]
        for axis, shown in zip(row, part.itertuples(), strict=True):
            axis.axis("on")
            title = f"{fill}, {shown.fraction:.0%}" if k % lines == 0 else ""
            draw_picture(axis, shown.picture.permute(1, 2, 0).clamp(0, 1).numpy(), title)
            axis.title.set_fontsize(8)
            draw_frame(axis, shown.same)
        row[0].set_ylabel(named(name), rotation=90, fontsize=8)
    return figure
