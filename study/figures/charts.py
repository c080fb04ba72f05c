"""Curves, dots, boxes and heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor

from .pictures import draw_picture
from .style import (
    REGIONS,
    short,
    verbatim,
)

PREDICTED = "#D55E00"  # the class that a network names


def trainings(table: pd.DataFrame) -> Figure:
    """Test accuracies of single trainings, as of `study.account.summaries.data.beside_print`: a
    dot each, a row for each setting of each network, the printed accuracy dashed."""
    settings = ["pixels", "initial_weights", "order", "precision"]
    parts = list(table.groupby("network", sort=False))
    heights = [part[settings].drop_duplicates().shape[0] for _, part in parts]
    figure, axes = plt.subplots(
        len(parts),
        1,
        figsize=(6.7, 0.9 + 0.3 * sum(heights) + 0.5 * len(parts)),
        height_ratios=[h + 1 for h in heights],
        squeeze=False,
    )
    for axis, (network, part) in zip(axes[:, 0], parts, strict=True):
        labels = []
        for y, (setting, group) in enumerate(part.groupby(settings, sort=False)):
            axis.plot(
                group["test_accuracy"],
                [-y] * len(group),
                "o",
                color="#0072B2",
                markersize=5,
                alpha=0.7,
            )
            labels.append(
                ", ".join(setting)
                .replace("Glorot uniform and zero biases", "Glorot's weights")
                .replace("PyTorch's default", "PyTorch's weights")
                .replace("JPEG copy (quality 75)", "JPEG copy")
            )
        axis.axvline(part["printed"].iloc[0], color="#666666", linestyle="--", linewidth=1)
        axis.set(
            yticks=range(0, -len(labels), -1), yticklabels=labels, ylim=(-len(labels) + 0.4, 0.6)
        )
        axis.set_title(network, loc="left", fontweight="bold")
    axes[-1, 0].set_xlabel("test accuracy")
    return figure


def sign_panel(image: Tensor, gradient: Tensor) -> Figure:
    """One picture [3,H,W] uint8 and its gradient [3,H,W]: stretched as it is, on a scale around
    zero, absolute, by sign."""
    # of each pixel, the channel with most to say
    strongest = gradient.gather(0, gradient.abs().argmax(0, keepdim=True))[0]
    low, high = strongest.min(), strongest.max()
    # a gradient of zeros stays zeros, never NaN
    span = (high - low).clamp(min=torch.finfo(strongest.dtype).tiny)
    reach = strongest.abs().max().item() or 1.0
    panels = [
        ("Picture", image.permute(1, 2, 0).numpy(), {}),
        (
            f"Gradient, stretched\n(0 is grey {((0 - low) / span).item():.2f})",
            ((strongest - low) / span).numpy(),
            {"cmap": "gray", "vmin": 0, "vmax": 1},
        ),
        (
            "Gradient,\nwhite at 0",
            strongest.numpy(),
            {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach},
        ),
        ("Original:\nabsolute value", gradient.abs().amax(0).numpy(), {"cmap": "gray"}),
        ("Positive", gradient.clamp(min=0).amax(0).numpy(), {"cmap": "gray"}),
        ("Negative", gradient.neg().clamp(min=0).amax(0).numpy(), {"cmap": "gray"}),
    ]
    figure, axes = plt.subplots(2, 3, figsize=(6.4, 4.8))
    for axis, (title, picture, options) in zip(axes.flat, panels, strict=True):
        draw_picture(axis, picture, title, **options)
    around_zero = axes.flat[2]
    bar = figure.colorbar(
        around_zero.images[0], ax=around_zero, shrink=0.8, ticks=[-reach, 0, reach]
    )
    bar.ax.set_yticklabels([f"{-reach:.2g}", "0", f"{reach:.2g}"])
    bar.set_label("logits a unit of the picture")
    return figure


def who_gains(image: Tensor, gradients: Tensor, classes: Sequence[str], predicted: int) -> Figure:
    """A picture [3,H,W] uint8 and, from class gradients [K,H,W], the class that gains most at each
    pixel, brighter or darker."""
    palette = sns.color_palette("Greys", len(classes) + 3)[1 : len(classes) + 1]
    palette[predicted] = PREDICTED
    lookup = np.array([matplotlib.colors.to_rgb(c) for c in palette])
    figure, axes = plt.subplots(1, 3, figsize=(6.8, 3.0))
    draw_picture(axes[0], image.permute(1, 2, 0).numpy(), "Picture")
    for axis, winner, title in (
        (axes[1], gradients.argmax(0), "Gains if brighter"),
        (axes[2], gradients.argmin(0), "Gains if darker"),
    ):
        share = (winner == predicted).double().mean().item()
        draw_picture(
            axis, lookup[winner.numpy()], f"{title}\n{classes[predicted]}: {share:.0%} of pixels"
        )
    handles = [
        matplotlib.patches.Patch(color=palette[predicted], label=verbatim(classes[predicted])),
        matplotlib.patches.Patch(color="#a0a0a0", label="another class, a shade of grey each"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def published_beside_reproduced(frame: pd.DataFrame) -> Figure:
    """A row for each number: the printed one (cross), ours with its interval (dot), the tolerance
    (band); `frame` as of `study.account.summaries.judged.numbers`."""
    fills = {"Table 2": " (black)", "Table 3": " (white)"}
    figure, axis = plt.subplots(figsize=(6.9, 0.24 * len(frame) + 0.9))
    for y, row in enumerate(frame.itertuples()):
        reach = max(0.02, (row.high - row.low) / 2)
        axis.barh(y, 2 * reach, left=row.published - reach, height=0.55, color="#dddddd", zorder=1)
        shade = "#009E73" if row.verdict == "agree" else "#CC0000"
        axis.errorbar(
            row.reproduced,
            y,
            xerr=[[row.reproduced - row.low], [row.high - row.reproduced]],
            color=shade,
            marker="o",
            markersize=4,
            capsize=2,
            zorder=3,
        )
        axis.plot(row.published, y, "x", color="#000000", zorder=2)
    axis.set_yticks(
        range(len(frame)),
        [f"{r.row}{fills.get(r.table, '')}: {r.network}" for r in frame.itertuples()],
    )
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.04)
    axis.set_xlabel("× printed   ● computed here, 95 % interval\ngrey: what counts as agreement")
    return figure


def occlusion(table: pd.DataFrame) -> Figure:
    """The margin as units of a layer are set to 0, background or object, with the interval over
    pictures (Fig. 3)."""
    layers = sorted(table["layer"].unique())
    figure, axes = plt.subplots(1, len(layers), figsize=(6.9, 2.5), sharey=True, squeeze=False)
    for axis, layer in zip(axes[0], layers, strict=True):
        for region, shade in REGIONS.items():
            part = table[(table["layer"] == layer) & (table["region"] == region)]
            axis.plot(part["fraction"], part["margin"], color=shade, label=region)
            axis.fill_between(
                part["fraction"], part["low"], part["high"], color=shade, alpha=0.2, linewidth=0
            )
            axis.plot(
                part["fraction"],
                part["released"],
                color=shade,
                linestyle=(0, (1, 1.5)),
                linewidth=1,
            )
        axis.axhline(0, color="#333333", linewidth=0.8)
        axis.set(title=f"convolution {layer}", xlabel="share set to 0", xticks=[0, 0.5, 1])
    axes[0, 0].set_ylabel("margin (logits)")
    axes[0, -1].plot(
        [], [], color="#7f7f7f", linestyle=(0, (1, 1.5)), linewidth=1, label="logits averaged first"
    )
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def rivals(path: pd.DataFrame, turns: pd.DataFrame) -> Figure:
    """Left: the score on the way from grey to the picture, and its slope. Right: how far noise
    turns the gradient."""
    figure, axes = plt.subplots(1, 2, figsize=(6.9, 2.8))
    share = path.assign(
        score=path["score"] / path["rise"].where(path["rise"] > 0),
        slope=path["slope"] / path["rise"].where(path["rise"] > 0),
    )
    for column, shade in (("score", "#0072B2"), ("slope", "#D55E00")):
        spread = share.groupby("position")[column].quantile([0.25, 0.5, 0.75]).unstack()
        axes[0].plot(spread.index, spread[0.5], color=shade, label=column)
        axes[0].fill_between(
            spread.index, spread[0.25], spread[0.75], color=shade, alpha=0.2, linewidth=0
        )
    axes[0].set(
        xlabel="position between grey (0) and picture (1)",
        ylabel="share of the whole rise",
        title="saturation",
    )
    axes[0].legend()
    spread = turns.groupby("level")["cosine"].quantile([0.25, 0.5, 0.75]).unstack()
    axes[1].plot(spread.index, spread[0.5], color="#009E73", marker="o", markersize=3)
    axes[1].fill_between(
        spread.index, spread[0.25], spread[0.75], color="#009E73", alpha=0.2, linewidth=0
    )
    axes[1].set(
        xlabel="noise, share of the picture's range",
        ylabel="cosine of the gradients",
        title="discontinuity",
        xscale="log",
        ylim=(min(0, spread.min().min()), 1.02),
    )
    axes[1].set_xticks(list(spread.index), [f"{level:g}" for level in spread.index])
    axes[1].minorticks_off()
    return figure


def mechanism(layers: dict[str, pd.DataFrame]) -> Figure:
    """Share of units at 0, whose importance score is 0 with them, by layer, and how many layers
    have a positive threshold and how many a negative mean one, by q (section 5.1)."""
    figure, axes = plt.subplots(1, 2, figsize=(6.9, 2.8))
    palette = sns.color_palette("colorblind")
    for shade, (title, table) in zip(palette, layers.items(), strict=False):
        silent = table.groupby("layer")["silent"].mean()
        axes[0].plot(
            silent.index, silent, marker="o", markersize=3, color=shade, label=verbatim(title)
        )
        positive = table.groupby("q")["positive"].mean()
        axes[1].plot(
            positive.index, positive, marker="o", markersize=3, color=shade, label=verbatim(title)
        )
        negative = (table.set_index("q")["tau"] < 0).groupby(level="q").mean()
        axes[1].plot(
            negative.index, negative, marker="o", markersize=3, color=shade, linestyle="--"
        )
    axes[0].set(
        xlabel="layer, from the input",
        ylabel="share of units at 0",
        ylim=(0, 1),
        title="silent units",
    )
    axes[1].axvspan(20, 80, color="#dddddd", zorder=0)
    axes[1].set(
        xlabel="percentile q",
        ylabel="share of layers",
        ylim=(-0.03, 1.03),
        title="τ > 0 (solid), τ < 0 (dashed)",
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def pairwise(pairs: pd.DataFrame, level: float = 0.05) -> Figure:
    """Which methods differ, a panel a mode: a cell is the mean difference of accuracies, row less
    column, in points; a dot where it is significant at `level` after correction.

    `pairs` as study.experiments.retraining_tables.compared returns it; ValueError for a single
    method."""
    modes = list(dict.fromkeys(pairs["mode"]))
    if not modes:
        raise ValueError("there is no pair of methods to compare; give at least two.")
    figure, axes = plt.subplots(1, len(modes), figsize=(6.9, 3.5), squeeze=False)
    reach = 100 * pairs["difference"].abs().max()
    for axis, mode in zip(axes[0], modes, strict=True):
        part = pairs[pairs["mode"] == mode]
        names = list(dict.fromkeys([*part["first"], *part["second"]]))
        grid = pd.DataFrame(np.nan, names, names)
        marks = pd.DataFrame("", names, names)
        for r in part.itertuples():
            for row, column, sign in ((r.first, r.second, 1), (r.second, r.first, -1)):
                grid.loc[row, column] = 100 * sign * r.difference
                marks.loc[row, column] = "•" if r.p_corrected < level else ""
        shown = [short(n).replace("\n", " ") for n in names]
        sns.heatmap(
            grid,
            annot=marks,
            fmt="",
            cmap="RdBu_r",
            vmin=-reach,
            vmax=reach,
            square=True,
            cbar=axis is axes[0, -1],
            xticklabels=shown,
            yticklabels=shown,
            ax=axis,
            cbar_kws={"shrink": 0.6, "label": "points of accuracy, row − column"},
        )
        axis.set_title(mode.upper())
        axis.grid(False)  # it would show on the diagonal
        axis.tick_params(axis="both", labelsize=7)
    return figure
