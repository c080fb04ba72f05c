"""Figures of chapter 3, and rows of maps with a colour bar, which chapter 4 draws too."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from .pictures import as_rgb, draw_map, draw_picture
from .style import REGIONS, verbatim

WIDTH = 7.0  # inches: the column of the book


def map_rows(
    images: Tensor,
    maps: dict[str, Tensor],
    rows: Sequence[str],
    *,
    square: int = 0,
    capped: str = "0.5 % at either end capped",
) -> Figure:
    """A row for each picture [N,3,H,W] uint8, a column for each entry of `maps` (title -> [N,H,W]).

    One bar explains the colours: every map is on its own scale, symmetric about 0, with its
    extremes capped. `square` outlines that many pixels of the upper left corner.
    """
    shown = as_rgb(images)
    columns = 1 + len(maps)
    size = (WIDTH - 0.9) / columns
    figure, axes = plt.subplots(
        len(shown), columns, figsize=(WIDTH, len(shown) * size + 0.85), squeeze=False
    )
    for row, picture in enumerate(shown):
        draw_picture(axes[row, 0], picture, "Picture" if row == 0 else "")
        name = verbatim(textwrap.fill(rows[row], 11))
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for axis, (title, values) in zip(axes[row, 1:], maps.items(), strict=True):
            draw_map(axis, values[row], title if row == 0 else "")
        for axis in axes[row] if square else ():
            corner = Rectangle(
                (-0.5, -0.5), square, square, fill=False, edgecolor="#CC0000", linewidth=1.2
            )
            axis.add_patch(corner)
    colours = ScalarMappable(Normalize(-1, 1), "RdBu_r")
    bar = figure.colorbar(colours, ax=axes, location="bottom", aspect=60, fraction=0.04, pad=0.02)
    bar.set_ticks([-1, 0, 1], labels=["against the class", "0", "for the class"])
    bar.set_label(f"attribution, each map up to its own largest value, {capped}", fontsize=8)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
    return figure


def firing_against_brightness(table: pd.DataFrame, explained: pd.DataFrame) -> Figure:
    """How bright a background is against how often units fire on it, a dot a picture.

    A panel a network, from the tables of `study.experiments.hypothesis.backgrounds` and
    `explained`.
    """
    figure, axes = plt.subplots(1, len(explained), figsize=(WIDTH, 2.7), sharey=True, squeeze=False)
    for axis, row in zip(axes[0], explained.itertuples(), strict=True):
        part = table[(table["network"] == row.network) & (table["brightness"] > 0)]
        axis.scatter(part["rate"], part["brightness"], s=9, color="#0072B2", alpha=0.5, linewidth=0)
        axis.axhline(1, color="#333333", linewidth=0.8)
        title = verbatim(row.network).replace(", ", ",\n").replace(" (", "\n(")
        axis.set_title(f"{title}\nrank correlation {row.correlation:.2f}", fontsize=9)
        axis.set(yscale="log", xlabel="background units that fire")
        axis.xaxis.set_major_formatter(plt.FuncFormatter(lambda x, _: f"{x:.0%}"))
    low, high = axes[0, 0].get_ylim()
    ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5) if low <= t <= high]
    axes[0, 0].set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes[0, 0].minorticks_off()
    axes[0, 0].set_ylabel("saliency a pixel,\nbackground over object")
    return figure


def firing_differences(rates: pd.DataFrame) -> Figure:
    """How much more often units fire on the object than on the background, by layer.

    Dots: the difference of the two shares; whiskers: 95 % intervals over pictures. A panel a
    network, from the table of `study.experiments.hypothesis.firing_rates`.
    """
    panels = list(rates.groupby("network", sort=False))
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 2.8), sharey=True, squeeze=False)
    for axis, (network, part) in zip(axes[0], panels, strict=True):
        for r in part.itertuples():
            axis.errorbar(
                r.layer,
                r.lift,
                yerr=[[max(r.lift - r.lift_low, 0)], [max(r.lift_high - r.lift, 0)]],
                color=REGIONS["object" if r.lift > 0 else "background"],
                marker="o",
                markersize=5,
                elinewidth=1.6,
                capsize=4,
            )
        axis.axhline(0, color="#333333", linewidth=0.8)
        axis.set(
            title=verbatim(network).replace(", ", ",\n").replace(" (", "\n("),
            xlabel="convolution",
            xticks=sorted(part["layer"]),
        )
        axis.margins(x=0.15)
        axis.grid(axis="x", visible=False)
    reach = 1.25 * rates[["lift_low", "lift_high"]].abs().to_numpy().max()
    axes[0, 0].set(ylim=(-reach, reach), ylabel="share that fires, object\nminus background")
    for words, y, va, region in (
        ("more on the object", 0.97, "top", "object"),
        ("more on the background", 0.03, "bottom", "background"),
    ):
        axes[0, 0].text(
            0.03, y, words, transform=axes[0, 0].transAxes, va=va, color=REGIONS[region], fontsize=8
        )
    return figure
