"""Figures of chapter 4."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from lib.attribution.crosses import label

from .style import colour, ink


def redrawn_dots(checked: pd.DataFrame) -> Figure:
    """What remains of each method's map when weights are redrawn, most unmoved method first.

    Filled dot: the output layer alone; ring: all layers. Whiskers: 95 % intervals over pictures.
    `checked` is the table of `study.experiments.response.sanity`.
    """
    cascading = checked[checked["mode"] == "cascading"]
    output = cascading[cascading["depth"] == 1].sort_values("rank").set_index("method")
    everything = cascading[cascading["depth"] == cascading["depth"].max()].set_index("method")
    figure, axis = plt.subplots(figsize=(7.0, 0.24 * len(output) + 0.9))
    for y, method in enumerate(output.index):
        shade = colour(method)
        for row, filled in ((everything.loc[method], False), (output.loc[method], True)):
            axis.errorbar(
                row["rank"],
                y,
                xerr=[
                    [max(row["rank"] - row["rank_low"], 0)],
                    [max(row["rank_high"] - row["rank"], 0)],
                ],
                color=shade,
                marker="o",
                markersize=6,
                markerfacecolor=shade if filled else "white",
                linestyle="none",
                elinewidth=1.2,
            )
    axis.plot([], [], "o", color="#555555", label="output layer redrawn")
    axis.plot([], [], "o", color="#555555", markerfacecolor="white", label="all layers redrawn")
    axis.axvline(0, color="#333333", linewidth=0.8)
    axis.set_yticks(range(len(output)), [label(method) for method in output.index])
    axis.set_xlabel("rank correlation with the intact network's map")
    axis.set_ylim(-0.6, len(output) - 0.4)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def growth_lines(grown: pd.DataFrame) -> Figure:
    """Attribution on the background over that on the object, from the last layer to the input.

    Median and quartiles over pictures, a line a method; `grown` is the table of
    `study.experiments.response.accumulation`.
    """
    figure, axis = plt.subplots(figsize=(7.0, 2.9))
    for method, part in grown.groupby("method", sort=False):
        spread = part.groupby("layer")["ratio"].quantile([0.25, 0.5, 0.75]).unstack()
        shade = colour(method)
        axis.plot(spread.index, spread[0.5], color=shade, marker="o", markersize=4)
        axis.fill_between(
            spread.index, spread[0.25], spread[0.75], color=shade, alpha=0.2, linewidth=0
        )
        axis.annotate(
            label(method),
            (spread.index[0], spread[0.5].iloc[0]),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=ink(shade),
        )
    axis.axhline(1, color="#333333", linewidth=0.8)
    layers = sorted(grown["layer"].unique())
    axis.set_xticks(layers, [f"layer {k}" if k else "input" for k in layers])
    axis.set_xlim(max(layers) + 0.3, -0.9)  # towards the input, with room for names
    axis.set(yscale="log", ylabel="background over object")
    low, high = axis.get_ylim()
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if low <= t <= high]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()
    return figure
