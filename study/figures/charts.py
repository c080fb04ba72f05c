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
from matplotlib.patches import Rectangle
from torch import Tensor

from lib import attribution
from lib.attribution.crosses import label
from lib.metrics import PAPER_FRACTIONS
from study.account import published, verdicts
from study.experiments import retraining
from study.experiments.deletion import MATCHED
from study.experiments.synthesis import METRICS, SHUFFLED
from study.subjects.names import network

from .pictures import draw_picture
from .style import (
    COLOURS,
    DASHES,
    GROUPS,
    HIGHLIGHTED,
    LABELS,
    REGIONS,
    colour,
    ordered,
    short,
    verbatim,
)


def learning_curves(cards: dict[str, dict]) -> Figure:
    """Training accuracy by epoch (line) and test accuracy at the end (dot) of each network, from
    the cards of its weights."""
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    palette = sns.color_palette("colorblind")
    for shade, (title, card) in zip(palette, cards.items(), strict=False):
        rows = card["epochs"]
        axis.plot(
            [r["epoch"] for r in rows],
            [r["accuracy"] for r in rows],
            color=shade,
            label=verbatim(title),
        )
        axis.plot(rows[-1]["epoch"], card["test_accuracy"], "o", color=shade)
    axis.plot([], [], "o", color="#7f7f7f", label="test split, after the last epoch")
    axis.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02))
    axis.legend(loc="lower right")
    return figure


def trainings(found: pd.DataFrame) -> Figure:
    """Test accuracies of single trainings, as of `study.account.variants.trainings`: a dot each,
    a row for each setting of each network, the printed accuracy dashed."""
    settings = ["pixels", "initial_weights", "order", "precision"]
    parts = [
        (model, part)
        for model, part in found.groupby("model", sort=False)
        if model in PRINTED_ACCURACY
    ]
    heights = [part[settings].drop_duplicates().shape[0] for _, part in parts]
    figure, axes = plt.subplots(
        len(parts),
        1,
        figsize=(6.7, 0.9 + 0.3 * sum(heights) + 0.5 * len(parts)),
        height_ratios=[h + 1 for h in heights],
        squeeze=False,
    )
    for axis, (model, part) in zip(axes[:, 0], parts, strict=True):
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
        axis.axvline(PRINTED_ACCURACY[model], color="#666666", linestyle="--", linewidth=1)
        axis.set(
            yticks=range(0, -len(labels), -1), yticklabels=labels, ylim=(-len(labels) + 0.4, 0.6)
        )
        title = " ".join(map(network, model.split()))
        axis.set_title(title, loc="left", fontweight="bold")
    axes[-1, 0].set_xlabel("test accuracy")
    return figure


PRINTED_ACCURACY = {
    name: next(
        n.published for n in published.numbers() if n.row == "Accuracy" and n.column == column
    )
    for name, column in (
        ("rectgrad_cnn", "CIFAR-10"),
        ("basic_cnn", "CIFAR-10 CNN"),
        ("resnet18 CIFAR-10", "CIFAR-10 ResNet-18"),
    )
}


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


def histogram(
    values: dict[str, Tensor], xlabel: str, bins: int = 40, line: float | None = None
) -> Figure:
    """Distributions over images, one outline a label."""
    figure, axis = plt.subplots(figsize=(6.4, 2.8))
    palette = sns.color_palette("colorblind")
    for shade, (title, numbers) in zip(palette, values.items(), strict=False):
        sns.histplot(
            x=numbers.numpy(),
            bins=bins,
            stat="probability",
            element="step",
            fill=len(values) == 1,
            color=shade,
            label=verbatim(title),
            ax=axis,
        )
    if line is not None:
        axis.axvline(line, color="#333333", linestyle=":")
    axis.set(xlabel=xlabel, ylabel="share of images")
    if len(values) > 1:
        axis.legend()
    return figure


def _height(rows: int) -> float:
    """Inches for so many rows of curves: lower ones where there are many."""
    return (2.9 if rows < 3 else 2.3) * rows + 0.3


def curves(
    tables: dict[str, pd.DataFrame],
    value: str,
    ylabel: str,
    *,
    names: dict[str, Sequence[str]] = MATCHED,
    zero: bool = False,
) -> Figure:
    """`value` against the fraction of deleted pixels, with its band: a row a subject, a column a
    fill."""
    figure, axes = plt.subplots(
        len(tables),
        2,
        figsize=(6.8, _height(len(tables))),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for row, (title, frame) in enumerate(tables.items()):
        for axis, (fill, shown) in zip(axes[row], names.items(), strict=True):
            for name in shown:
                part = frame[(frame["map"] == name) & (frame["fill"] == fill)]
                low, high = ("low", "high") if "low" in part else (f"{value}_low", f"{value}_high")
                axis.plot(
                    part["fraction"],
                    part[value],
                    color=COLOURS[name],
                    linestyle=DASHES[name],
                    marker="o",
                    markersize=2.5,
                    label=LABELS[name],
                )
                axis.fill_between(
                    part["fraction"],
                    part[low],
                    part[high],
                    color=COLOURS[name],
                    alpha=0.18,
                    linewidth=0,
                )
            if zero:
                axis.axhline(0, color="#333333", linewidth=0.8)
            axis.set_title(f"{verbatim(title)}\n{fill} deletion")
            axis.legend(loc="best")
        axes[row, 0].set_ylabel(ylabel)
    for axis in axes[-1]:
        axis.set_xlabel("fraction of pixels deleted")
    return figure


def sweep(
    tables: dict[str, pd.DataFrame],
    value: str,
    ylabel: str,
    *,
    names: dict[str, Sequence[str]] = MATCHED,
    zero: bool = False,
) -> Figure:
    """`value` against the strength of the replacement, with its interval: a row a subject, a
    column a fill."""
    figure, axes = plt.subplots(
        len(tables),
        2,
        figsize=(6.8, _height(len(tables))),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for row, (title, frame) in enumerate(tables.items()):
        for axis, (fill, shown) in zip(axes[row], names.items(), strict=True):
            for name in shown:
                part = frame[(frame["map"] == name) & (frame["fill"] == fill)]
                reach = [part[value] - part[f"{value}_low"], part[f"{value}_high"] - part[value]]
                axis.errorbar(
                    part["strength"],
                    part[value],
                    reach,
                    color=COLOURS[name],
                    linestyle=DASHES[name],
                    marker="o",
                    markersize=3,
                    capsize=2,
                    label=LABELS[name],
                )
            if zero:
                axis.axhline(0, color="#333333", linewidth=0.8)
            axis.set_title(f"{verbatim(title)}\ntowards {fill}")
            axis.set_xscale("log")
            axis.set_xticks(list(part["strength"]), [f"{s:g}" for s in part["strength"]])
            axis.minorticks_off()
            axis.legend(loc="best")
        axes[row, 0].set_ylabel(ylabel)
    for axis in axes[-1]:
        axis.set_xlabel("strength of the replacement")
    return figure


def who_gains(image: Tensor, gradients: Tensor, classes: Sequence[str], predicted: int) -> Figure:
    """A picture [3,H,W] uint8 and, from class gradients [K,H,W], the class that gains most at each
    pixel, brighter or darker."""
    palette = sns.color_palette("Greys", len(classes) + 3)[1 : len(classes) + 1]
    palette[predicted] = COLOURS["positive"]
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


def kept_curves(found: dict[str, dict], kept: dict[str, pd.DataFrame]) -> Figure:
    """Allegiance of the signed maps, each with a vertical line at the mean share of pixels that it
    keeps."""
    figure, axes = plt.subplots(
        len(found), 2, figsize=(6.8, _height(len(found))), sharex=True, sharey=True, squeeze=False
    )
    for row, ((title, flags), shares) in enumerate(zip(found.items(), kept.values(), strict=True)):
        for axis, (fill, names) in zip(axes[row], MATCHED.items(), strict=True):
            for name in names[1:]:
                axis.plot(
                    PAPER_FRACTIONS,
                    flags[name, fill].double().mean(1),
                    color=COLOURS[name],
                    linestyle=DASHES[name],
                    marker="o",
                    markersize=2.5,
                    label=LABELS[name],
                )
                axis.axvline(
                    shares[shares["map"] == name]["mean"].item(), color=COLOURS[name], linewidth=1
                )
            axis.set_title(f"{verbatim(title)}\n{fill} deletion")
            # opaque: the upright lines pass behind it
            axis.legend(frameon=True, framealpha=1, edgecolor="none")
        axes[row, 0].set_ylabel("allegiance")
    for axis in axes[-1]:
        axis.set_xlabel("fraction of pixels deleted")
    return figure


def published_beside_reproduced(frame: pd.DataFrame) -> Figure:
    """A row for each number: the printed one (cross), ours with its interval (dot), the tolerance
    (band)."""
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
        [
            f"{r.row}{fills.get(r.table, '')}: {verdicts.printed_network(r.column)}"
            for r in frame.itertuples()
        ],
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


def firing(tables: dict[str, pd.DataFrame]) -> Figure:
    """Share of units that fire, on the object and on the background, by layer; bars are means,
    whiskers 95 % intervals."""
    figure, axes = plt.subplots(
        1, len(tables), figsize=(max(4.6, 2.5 * len(tables)), 2.9), sharey=True, squeeze=False
    )
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        long = table.melt(
            id_vars=["picture", "layer"],
            value_vars=list(REGIONS),
            var_name="region",
            value_name="rate",
        )
        sns.barplot(
            long,
            x="layer",
            y="rate",
            hue="region",
            palette=REGIONS,
            errorbar=("ci", 95),
            n_boot=500,
            seed=0,
            ax=axis,
            err_kws={"linewidth": 1},
        )
        axis.set(
            title=verbatim(title).replace(", ", ",\n"),
            xlabel="convolution",
            ylabel="share of units that fire",
        )
        axis.get_legend().remove()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
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


def boxes(table: pd.DataFrame, xlabel: str) -> Figure:
    """Box plots from their stored quantiles (box: quartiles, whiskers: 5 to 95 % of pictures, dot:
    mean), a panel a treatment."""
    treatments = {
        "none": "as they are",
        "released": "released thresholds",
        "matched": "equal sparsity",
    }
    shown = [t for t in treatments if t in set(table["treatment"])]
    figure, axes = plt.subplots(1, len(shown), figsize=(6.9, 2.9), sharey=True, squeeze=False)
    for axis, treatment in zip(axes[0], shown, strict=True):
        part = table[table["treatment"] == treatment]
        stats = [
            {
                "label": short(r.method),
                "med": r.median,
                "q1": r.q25,
                "q3": r.q75,
                "whislo": r.p5,
                "whishi": r.p95,
                "mean": r.mean,
            }
            for r in part.itertuples()
        ]
        drawn = axis.bxp(
            stats,
            orientation="horizontal",
            manage_ticks=axis is axes[0, 0],
            showfliers=False,
            showmeans=True,
            widths=0.6,
            patch_artist=True,
            medianprops={"color": "#333333", "linewidth": 1.6},
            meanprops={
                "marker": "o",
                "markersize": 3,
                "markerfacecolor": "#333333",
                "markeredgecolor": "#333333",
            },
        )
        for box, method in zip(drawn["boxes"], part["method"], strict=True):
            box.set(facecolor=(colour(method), 0.4), edgecolor=colour(method))
        axis.set(title=treatments[treatment], xlabel=xlabel)
        axis.grid(axis="y", visible=False)
        axis.locator_params(axis="x", nbins=4)
    axes[0, 0].invert_yaxis()
    return figure


def totals(table: pd.DataFrame, xlabel: str) -> Figure:
    """One bar a method, mean with its 95 % interval over pictures, a panel a treatment (Fig. 8
    top)."""
    treatments = {
        "none": "as they are",
        "released": "released thresholds",
        "matched": "equal sparsity",
    }
    figure, axes = plt.subplots(1, 3, figsize=(6.9, 2.9), sharey=True)
    for axis, (treatment, title) in zip(axes, treatments.items(), strict=True):
        part = table[table["treatment"] == treatment]
        axis.barh(
            [short(m) for m in part["method"]],
            part["mean"],
            xerr=[part["mean"] - part["mean_low"], part["mean_high"] - part["mean"]],
            color=[colour(m) for m in part["method"]],
            error_kw={"linewidth": 1},
        )
        axis.set(title=title, xlabel=xlabel)
        axis.grid(axis="y", visible=False)
        axis.locator_params(axis="x", nbins=4)
    axes[0].invert_yaxis()
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


def growth(tables: dict[str, pd.DataFrame]) -> Figure:
    """Attribution on the background over that on the object, from the last convolution to the
    input: median and quartiles."""
    figure, axes = plt.subplots(
        1, len(tables), figsize=(max(5.0, 3.5 * len(tables)), 2.8), sharey=True, squeeze=False
    )
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        for method, shade in (("saliency", "#0072B2"), ("rectgrad", "#E69F00")):
            spread = (
                table[table["method"] == method]
                .groupby("layer")["ratio"]
                .quantile([0.25, 0.5, 0.75])
                .unstack()
            )
            axis.plot(
                spread.index,
                spread[0.5],
                marker="o",
                markersize=3,
                color=shade,
                label=label(method),
            )
            axis.fill_between(
                spread.index, spread[0.25], spread[0.75], color=shade, alpha=0.2, linewidth=0
            )
        axis.axhline(1, color="#333333", linewidth=0.8)
        axis.set(
            title=verbatim(title),
            xlabel="layer (0 is the input)",
            ylabel="background over object",
            yscale="log",
            xticks=list(spread.index),
        )
        axis.invert_xaxis()
        axis.legend()
    return figure


def sanity(
    table: pd.DataFrame,
    value: str = "rank",
    ylabel: str = "rank correlation with the intact network",
) -> Figure:
    """What remains of a map as weights are redrawn, from the output down (cascading) or one layer
    at a time."""
    figure, axes = plt.subplots(1, 2, figsize=(6.9, 4.0), sharey=True)
    order = table[(table["mode"] == "cascading") & (table["depth"] == 1)].sort_values(
        value, ascending=False
    )["method"]
    palette = dict(zip(order, sns.color_palette("husl", len(order)), strict=True))
    for axis, mode, xlabel in (
        (axes[0], "cascading", "layers redrawn, from the output"),
        (axes[1], "independent", "the one layer redrawn, from the output"),
    ):
        for k, method in enumerate(order):
            part = table[(table["mode"] == mode) & (table["method"] == method)]
            strong = method.startswith("rectgrad")
            axis.plot(
                part["depth"],
                part[value],
                color="#E69F00" if strong else palette[method],
                linewidth=2.4 if strong else 1.1,
                linestyle=("-", "--", ":")[k % 3],
                marker="o",
                markersize=2.5,
                label=label(method),
            )
        axis.set(title=mode, xlabel=xlabel, xticks=sorted(table["depth"].unique()))
        axis.axhline(0, color="#333333", linewidth=0.8)
    axes[0].set_ylabel(ylabel)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def sensitivity(table: pd.DataFrame) -> Figure:
    """Rank correlation of the maps before and after an attack, where the prediction changed and
    where it did not."""
    shown = table.assign(
        method=table["method"].map(short),
        prediction=np.where(table["changed"], "changed", "unchanged"),
    )
    figure, axis = plt.subplots(figsize=(6.6, 3.6))
    sns.boxplot(
        shown,
        x="correlation",
        y="method",
        hue="prediction",
        hue_order=["changed", "unchanged"],
        palette={"changed": "#D55E00", "unchanged": "#8fb8d6"},
        whis=(5, 95),
        fliersize=0,
        linewidth=0.9,
        ax=axis,
    )
    axis.set(xlabel="rank correlation of the maps before and after the attack", ylabel="")
    axis.legend(title="prediction", loc="lower left")
    return figure


def retraining_curves(found: pd.DataFrame) -> Figure:
    """Accuracy after retraining against the occluded share, a panel for ROAR and one for KAR;
    bands from lowest to highest seed.

    `found` as study.experiments.retraining.tidy returns it. The random baseline is black, the
    network that saw everything a dotted line.
    """
    kept = found[found["method"] != "none"]
    methods = list(dict.fromkeys(kept["method"]))
    figure, axes = plt.subplots(1, 2, figsize=(6.9, 4.6), sharey=True)
    for axis, mode, what in (
        (axes[0], "roar", "ROAR: share removed,\nthe most important first"),
        (axes[1], "kar", "KAR: share kept,\nthe most important first"),
    ):
        for method in methods:
            by = kept[(kept["mode"] == mode) & (kept["method"] == method)].groupby("fraction")[
                "accuracy"
            ]
            middle = by.mean()
            axis.plot(
                middle.index,
                middle,
                color=colour(method),
                marker="o",
                markersize=3,
                linestyle="--" if method == "random" else "-",
                label=label(method),
            )
            axis.fill_between(
                middle.index, by.min(), by.max(), color=colour(method), alpha=0.15, linewidth=0
            )
        whole = found[found["method"] == "none"]["accuracy"]
        if len(whole):
            axis.axhline(whole.mean(), color="#333333", linestyle=":", label="nothing removed")
        axis.set(xlabel=what, xlim=(0, 1), xticks=(0.1, 0.3, 0.5, 0.7, 0.9))
    axes[0].set_ylabel("test accuracy after retraining")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def copied(found: pd.DataFrame, classes: int = 10) -> Figure:
    """Do retrained networks repeat the explained one? A panel for ROAR and one for KAR, a line a
    method, a point a fraction, the larger the more pixels are left.

    Across: accuracy where the explained network is wrong; up: where it is right. `found` as
    study.experiments.retraining.tidy returns it with `explained`. A star: the network that saw
    everything; a dotted line: chance, one in `classes`.
    """
    kept = found[found["method"] != "none"]
    whole = found[found["method"] == "none"]
    figure, axes = plt.subplots(1, 2, figsize=(6.9, 4.3), sharey=True, sharex=True)
    for axis, mode in zip(axes, retraining.MODES, strict=True):
        for method in dict.fromkeys(kept["method"]):
            part = kept[(kept["mode"] == mode) & (kept["method"] == method)]
            by = part.groupby("fraction")[["where_right", "where_wrong"]].mean()
            left = by.index if mode == "kar" else 1 - by.index
            axis.plot(
                by["where_wrong"],
                by["where_right"],
                color=colour(method),
                linewidth=1,
                linestyle="--" if method == "random" else "-",
            )
            axis.scatter(
                by["where_wrong"],
                by["where_right"],
                s=6 + 40 * np.asarray(left),
                color=colour(method),
                label=label(method),
                zorder=3,
            )
        axis.scatter(
            whole["where_wrong"].mean(),
            whole["where_right"].mean(),
            marker="*",
            s=130,
            color="#333333",
            label="nothing removed",
            zorder=4,
        )
        axis.axvline(1 / classes, color="#999999", linestyle=":", zorder=1)
        axis.set(
            title=mode.upper(),
            xlabel="accuracy where the explained\nnetwork is wrong",
            xlim=(0, None),
        )
    axes[0].set_ylabel("accuracy where the explained\nnetwork is right")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def pairwise(found: pd.DataFrame, level: float = 0.05) -> Figure:
    """Which methods differ, a panel a mode: a cell is the mean difference of accuracies, row less
    column, in points; a dot where it is significant at `level` after correction.

    `found` as study.experiments.retraining_tables.compared returns it; ValueError for a single
    method."""
    modes = list(dict.fromkeys(found["mode"]))
    if not modes:
        raise ValueError("there is no pair of methods to compare; give at least two.")
    figure, axes = plt.subplots(1, len(modes), figsize=(6.9, 3.5), squeeze=False)
    reach = 100 * found["difference"].abs().max()
    for axis, mode in zip(axes[0], modes, strict=True):
        part = found[found["mode"] == mode]
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


def _arrow(metric: str) -> str:
    """A metric's name and whether more of it is better."""
    return f"{METRICS[metric].label} {'↑' if METRICS[metric].better > 0 else '↓'}"


def _write_rank(axis, x: float, y: float, row, ink: str) -> None:
    """A rank and, small below it, its interval, about the middle of a cell."""
    centred = {"ha": "center", "va": "center", "color": ink}
    ends = f"{np.floor(row.rank_low):.0f}–{np.ceil(row.rank_high):.0f}"
    axis.text(x, y - 0.16, f"{row.rank:g}", fontsize=9.5, **centred)
    axis.text(x, y + 0.24, ends, fontsize=7, **centred)


def league(summary: pd.DataFrame, axis=None) -> Figure:
    """Who ranks where: a row for each name, a column for each metric, the rank written and its
    interval below it; on `axis` if there is one."""
    place = summary.assign(place=(summary["rank"] - 1) / (summary["of"] - 1).clip(lower=1)).pivot(
        index="name", columns="metric", values="place"
    )
    columns = [m for m in METRICS if m in place]
    order = ordered(summary)
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
        ink = "white" if abs(min(place.loc[r.name, r.metric], 1) - 0.5) > 0.3 else "#222222"
        _write_rank(axis, columns.index(r.metric) + 0.5, order.index(r.name) + 0.5, r, ink)
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
        [_arrow(m) + (f" (of {of[m]})" if of[m] < of.max() else "") for m in columns],
        rotation=40,
        ha="left",
        rotation_mode="anchor",
    )
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.grid(False)
    return axis.get_figure()


def _alike_beside_each_other(correlations: pd.DataFrame) -> list[str]:
    """The names of a square table of correlations, ordered by a clustering of 1 less these."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    apart = (1 - correlations).fillna(1).to_numpy(copy=True)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
    return [correlations.index[k] for k in leaves_list(tree)]


def _write_correlation(axis, i: int, j: int, value: float, sure: bool) -> None:
    """A correlation in row `i` and column `j`, bold and framed where it is `sure`."""
    axis.text(
        j + 0.5,
        i + 0.5,
        f"{round(value, 2) + 0:.2f}".replace("-", "−"),
        ha="center",
        va="center",
        fontsize=7.5,
        color="white" if abs(value) > 0.65 else "#222222",
        fontweight="bold" if sure else "normal",
    )
    if sure:
        axis.add_patch(
            Rectangle(
                (j + 0.04, i + 0.04), 0.92, 0.92, fill=False, edgecolor="#111111", linewidth=1.4
            )
        )


def agreement(table: pd.DataFrame) -> Figure:
    """Spearman's correlation of every pair of metrics, alike ones beside each other; framed where
    it is significant after correction."""
    names = [m for m in METRICS if m in set(table["first"]) | set(table["second"])]
    full = pd.DataFrame(np.nan, index=names, columns=names)
    sure = {}
    for r in table.itertuples():
        full.loc[r.first, r.second] = full.loc[r.second, r.first] = r.correlation
        sure[r.first, r.second] = sure[r.second, r.first] = r.p_corrected < 0.05
    names = _alike_beside_each_other(full)
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
                _write_correlation(axis, i, j, value, sure.get((first, second), False))
    axis.set(xlabel="", ylabel="")
    axis.set_xticklabels(
        [METRICS[m].label for m in names[:-1]], rotation=40, ha="right", rotation_mode="anchor"
    )
    axis.set_yticklabels([METRICS[m].label for m in names[1:]], rotation=0)
    axis.grid(False)
    return figure


def _mean(values: Tensor) -> float:
    """The mean of the numbers that are there."""
    return float(values.nanmean())


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
    """What sparsity alone brings: a row for each method, the sparsest above, its value (dot) and
    that of its map with shuffled pixels (ring); a line for random numbers."""
    pairs = {
        m: [n for n in found[m] if f"{SHUFFLED}{n}" in found[m] and n in attribution.METHODS]
        for m in shown
        if m in found
    }
    pairs = {m: names for m, names in pairs.items() if names}
    kept = {n: _mean(found["kept"][n]) for names in pairs.values() for n in names}
    order = sorted(kept, key=kept.get, reverse=True)
    figure, axes = plt.subplots(
        1,
        len(pairs),
        figsize=(2.2 + 1.65 * len(pairs), 0.27 * len(order) + 1.1),
        sharey=True,
        squeeze=False,
    )
    for axis, (metric, names) in zip(axes[0], pairs.items(), strict=True):
        for name in names:
            y = order.index(name)
            value = _mean(found[metric][name])
            chance = _mean(found[metric][f"{SHUFFLED}{name}"])
            shade = HIGHLIGHTED.get(name, "#888888")
            axis.plot([value, chance], [y, y], color=shade, linewidth=1.4, zorder=2)
            axis.scatter([value], [y], s=30, color=shade, zorder=4)
            axis.scatter([chance], [y], s=30, facecolor="white", edgecolor=shade, zorder=3)
        if "random" in found[metric]:
            random = _mean(found[metric]["random"])
            axis.axvline(random, color="#333333", linestyle=":", linewidth=1, zorder=1)
        axis.set(title=_arrow(metric), yticks=range(len(order)))
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticklabels([f"{label(n)} ({kept[n]:.0%})" for n in order])
    return figure


def steps(table: pd.DataFrame) -> Figure:
    """From allegiance to ROAR in small steps: the rank of every method at each, one line a method;
    `table` as the first of study.experiments.ranking.rungs."""
    stages = list(dict.fromkeys(table["step"]))
    names = list(dict.fromkeys(table["name"]))
    figure, axis = plt.subplots(figsize=(1.75 * len(stages) + 1.6, 0.3 * len(names) + 1.2))
    rank = table.pivot(index="name", columns="step", values="rank")
    for name in sorted(names, key=lambda n: n in HIGHLIGHTED):
        highlighted = name in HIGHLIGHTED
        axis.plot(
            range(len(stages)),
            rank.loc[name, stages],
            color=HIGHLIGHTED.get(name, "#c4c4c4"),
            marker="o",
            markersize=5,
            linewidth=2 if highlighted else 1.2,
            zorder=3 if highlighted else 2,
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
    """Accuracy before and after retraining, how far pictures move, and how likely one that fails
    has moved farther; `table` as study.experiments.ranking.shock returns it."""
    figure, axes = plt.subplots(1, 3, figsize=(6.9, 2.6))
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
        table["fraction"].to_numpy(),
        table["farther"].to_numpy(),
        yerr=[
            (table["farther"] - table["low"]).clip(lower=0).to_numpy(),
            (table["high"] - table["farther"]).clip(lower=0).to_numpy(),
        ],
        marker="o",
        color="#333333",
        capsize=3,
    )
    axes[2].axhline(0.5, color="#999999", linestyle=":")
    axes[2].set(
        xlabel="share of pixels removed",
        ylabel="probability that the failing\npicture moved farther",
        # small departures from one half should look small
        ylim=(min(0.3, table["low"].min() - 0.02), max(0.7, table["high"].max() + 0.02)),
    )
    return figure
