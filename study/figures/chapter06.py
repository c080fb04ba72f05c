"""Figures of chapter 6."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lib.attribution.crosses import label

from .style import colour

# treatment of the maps -> its name, how far above its row its dot stands, and how it looks
MARKERS = {
    "none": ("as they are", 0.25, {"marker": "o", "markerfacecolor": "white", "markersize": 4.5}),
    "released": ("released thresholds", -0.25, {"marker": "s", "markersize": 4}),
    "matched": ("equal sparsity", 0.0, {"marker": "o", "markersize": 7}),
}
WIDTH = 7.0  # inches: the column of the book


def background_dots(table: pd.DataFrame, covered: float) -> Figure:
    """Mean share of each map on the background, the least at equal sparsity on top.

    `table`: "outside" of `study.experiments.cleanliness.amounts_and_edges`. A dashed line stands at
    `covered`, what an even map has. Whiskers: 95 % intervals over pictures.
    """
    shares = table[table["share"]]
    equal = shares[shares["treatment"] == "matched"].set_index("method")["mean"]
    order = list(equal.sort_values(ascending=False, kind="stable").index)
    figure, axis = plt.subplots(figsize=(WIDTH, 0.3 * len(order) + 1.0))
    for treatment, (name, above, look) in MARKERS.items():
        part = shares[shares["treatment"] == treatment].set_index("method").loc[order]
        for y, (method, r) in enumerate(part.iterrows()):
            reach = [[r["mean"] - r["mean_low"]], [r["mean_high"] - r["mean"]]]
            shade = colour(method)
            axis.errorbar(
                r["mean"], y + above, xerr=reach, color=shade, elinewidth=1, zorder=3, **look
            )
        axis.plot([], [], color="#555555", linestyle="none", label=name, **look)
    axis.axvline(covered, color="#333333", linestyle="--", linewidth=1)
    axis.text(
        covered, len(order) - 0.4, " an even map", fontsize=8, va="top", ha="left", color="#333333"
    )
    axis.set_yticks(range(len(order)), [label(method) for method in order])
    axis.set_xlim(0, max(0.7, covered + 0.14))
    axis.set_ylim(-0.6, len(order) - 0.3)
    axis.xaxis.set_major_formatter(plt.FuncFormatter(lambda x, _: f"{x:.0%}"))
    axis.set_xlabel("share of the absolute map on the background, mean over pictures")
    axis.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def spread_boxes(table: pd.DataFrame, share: bool, xlabel: str) -> Figure:
    """How a quantity spreads over pictures, at equal sparsity, on a logarithmic axis.

    Box: quartiles; whiskers: 5 to 95 % of pictures; bar: median; diamond: mean, both printed at the
    right. The smallest median stands on top; what is 0 stands at the left edge. `table` is of
    `study.experiments.cleanliness.amounts_and_edges`.
    """
    part = table[(table["treatment"] == "matched") & (table["share"] == share)]
    part = part.sort_values("median", ascending=False, kind="stable").reset_index(drop=True)
    numbers = part[["p5", "q25", "median", "q75", "p95", "mean"]]
    floor = numbers[numbers > 0].min().min() / 1.5
    numbers = numbers.clip(lower=max(floor, numbers.max().max() / 1e5))
    figure, axis = plt.subplots(figsize=(WIDTH, 0.27 * len(part) + 0.95))
    for y, r in numbers.iterrows():
        shade = colour(part.loc[y, "method"])
        axis.plot([r["p5"], r["p95"]], [y, y], color=shade, linewidth=1.2, zorder=1)
        box = Rectangle(
            (r["q25"], y - 0.3), r["q75"] - r["q25"], 0.6, facecolor=shade, alpha=0.45, zorder=2
        )
        axis.add_patch(box)
        axis.plot([r["median"]] * 2, [y - 0.3, y + 0.3], color="#222222", linewidth=2, zorder=3)
        axis.plot(r["mean"], y, "D", color="#222222", markersize=4.5, zorder=4)
    _printed(axis, part, share)
    axis.set(xscale="log", xlabel=xlabel, ylim=(-0.6, len(part) - 0.4))
    axis.set_yticks(range(len(part)), [label(method) for method in part["method"]])
    if share:
        axis.xaxis.set_major_formatter(plt.FuncFormatter(lambda x, _: f"{100 * x:g} %"))
    axis.grid(axis="y", visible=False)
    return figure


def _printed(axis, part: pd.DataFrame, share: bool) -> None:
    """Median and mean as numbers, in two columns at the right of the panel."""
    for x, name in ((1.09, "median"), (1.21, "mean")):
        axis.text(x, 1.0, name, transform=axis.transAxes, ha="right", va="bottom", fontsize=8)
        for y, value in enumerate(part[name]):
            place = axis.get_yaxis_transform()
            axis.text(
                x, y, _written(value, share), transform=place, ha="right", va="center", fontsize=8
            )


def _written(value: float, share: bool) -> str:
    """A share in percent; else three digits, without an exponent below a million."""
    return f"{value:.1%}" if share else f"{float(f'{value:.3g}'):,g}"
