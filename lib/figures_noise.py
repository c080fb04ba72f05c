"""Figures of the chapters on paper Noise; `lib.figures` has the look, the tables and the provenance line."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lib import roar
from lib.figures import as_rgb, draw_frame, draw_picture
from lib.noise import THRESHOLDED, label
from lib.subjects import Subject

REGIONS = {"object": "#D55E00", "background": "#0072B2"}  # Okabe and Ito's colours
# one colour a method in all figures that compare them; Okabe and Ito's for those that the text speaks of most
COLOURS = {
    "random": "#000000",
    "rectgrad": "#D55E00",
    "saliency": "#7f7f7f",
    "active": "#E69F00",
    "positive": "#CC79A7",
    "deeplift": "#009E73",
    "integrated_gradients": "#0072B2",
    "smoothgrad": "#56B4E9",
    "input_x_gradient": "#882255",
    "guided_backprop": "#999933",
    "rectgrad_prr": "#F4A582",
    "negative": "#6A51A3",
    "inactive": "#DDCC77",
    "edges": "#44AA99",
    "epsilon_lrp": "#117733",
    "deconvolution": "#8C564B",
}
SHORT = {
    "guided_backprop": "Guided BP",
    "integrated_gradients": "IntegGrad",
    "input_x_gradient": "Grad * input",
    "saliency": "Saliency",
    "rectgrad_prr": "RectGrad\nPRR",
}


def short(method: str) -> str:
    """A method's name as paper Noise abbreviates it, for narrow columns."""
    return SHORT.get(method, label(method))


def colour(method: str) -> str:
    """The colour of a method, thresholded or not."""
    return COLOURS[method.removeprefix(THRESHOLDED)]


def _clipped(found: Tensor, q: float = 0.5) -> Tensor:
    """A map [H,W] with outliers capped at the q-th and (100 - q)-th percentiles (paper Noise, appendix F.1)."""
    low, high = (
        found.double().flatten().quantile(torch.tensor([q, 100 - q], dtype=torch.float64) / 100)
    )
    return found.double().clamp(low, high)


def draw_map(axis, found: Tensor, title: str = "") -> None:
    """A map on colours that diverge from white at 0: red speaks for the class, blue against it."""
    shown = _clipped(found)
    reach = shown.abs().max().item() or 1.0
    draw_picture(axis, shown.numpy(), title, cmap="RdBu_r", vmin=-reach, vmax=reach)


def map_grid(
    images: Tensor,
    maps: dict[str, Tensor],
    rows: Sequence[str] | None = None,
    *,
    square: int = 0,
    frames: Sequence[bool] | None = None,
    size: float = 1.15,
) -> Figure:
    """A row for each picture [N,3,H,W] uint8, a column for each entry of `maps` (title -> [N,H,W]).

    `square` outlines that many pixels of the upper left corner; `frames[n]` False puts a red frame around picture n.
    """
    shown = as_rgb(images)
    figure, axes = plt.subplots(
        len(shown),
        1 + len(maps),
        figsize=(size * (1 + len(maps)) + (0.8 if rows else 0), size * 1.08 * len(shown) + 0.25),
        squeeze=False,
    )
    for row, picture in enumerate(shown):
        draw_picture(axes[row, 0], picture, "Picture" if row == 0 else "")
        if rows:
            axes[row, 0].set_ylabel(rows[row], rotation=0, ha="right", va="center")
        if frames:
            draw_frame(axes[row, 0], frames[row])
        for axis, (title, found) in zip(axes[row, 1:], maps.items()):
            draw_map(axis, found[row], title if row == 0 else "")
        for axis in axes[row] if square else ():
            axis.add_patch(
                Rectangle(
                    (-0.5, -0.5), square, square, fill=False, edgecolor="#CC0000", linewidth=1.2
                )
            )
    for axis in axes[0] if len(maps) > 6 else ():
        axis.title.set_fontsize(8)
    return figure


def occlusion(table: pd.DataFrame) -> Figure:
    """The margin as units of a layer are set to 0, background or object, with the interval over pictures (Fig. 3)."""
    layers = sorted(table["layer"].unique())
    figure, axes = plt.subplots(1, len(layers), figsize=(7.2, 2.7), sharey=True, squeeze=False)
    for axis, layer in zip(axes[0], layers):
        for region, colour in REGIONS.items():
            part = table[(table["layer"] == layer) & (table["region"] == region)]
            axis.plot(part["fraction"], part["margin"], color=colour, label=region)
            axis.fill_between(
                part["fraction"], part["low"], part["high"], color=colour, alpha=0.2, linewidth=0
            )
            axis.plot(
                part["fraction"],
                part["released"],
                color=colour,
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
    """Share of units that fire, on the object and on the background, by layer; bars are means, whiskers 95 % intervals."""
    figure, axes = plt.subplots(
        1, len(tables), figsize=(max(4.6, 2.5 * len(tables)), 2.9), sharey=True, squeeze=False
    )
    for axis, (title, table) in zip(axes[0], tables.items()):
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
            title=title.replace(", ", ",\n"),
            xlabel="convolution",
            ylabel="share of units that fire",
        )
        axis.get_legend().remove()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def feature_maps(
    image: Tensor, saliency: Tensor, layers: Sequence[Tensor], count: int = 8
) -> Figure:
    """A picture, its saliency map, and of every layer `count` evenly spaced feature maps [C,h,w] of one picture (Fig. 13)."""
    figure, axes = plt.subplots(
        len(layers) + 1, count, figsize=(0.86 * count, 0.92 * (len(layers) + 1)), squeeze=False
    )
    draw_picture(axes[0, 0], image.permute(1, 2, 0).numpy(), "Picture")
    draw_map(axes[0, 1], saliency, "Saliency")
    for axis in axes[0, 2:]:
        axis.axis("off")
    for row, (number, found) in zip(axes[1:], enumerate(layers, 1)):
        for axis, channel in zip(row, found[torch.linspace(0, len(found) - 1, count).long()]):
            draw_picture(axis, channel.numpy(), cmap="gray", vmin=0)
        row[0].set_ylabel(f"conv. {number}", rotation=0, ha="right", va="center")
    return figure


def rivals(path: pd.DataFrame, turns: pd.DataFrame) -> Figure:
    """Left: the score on the way from grey to the picture, and its slope. Right: how far noise turns the gradient."""
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 2.8))
    share = path.assign(
        score=path["score"] / path["rise"].where(path["rise"] > 0),
        slope=path["slope"] / path["rise"].where(path["rise"] > 0),
    )
    for column, colour, name in (("score", "#0072B2", "score"), ("slope", "#D55E00", "slope")):
        spread = share.groupby("position")[column].quantile([0.25, 0.5, 0.75]).unstack()
        axes[0].plot(spread.index, spread[0.5], color=colour, label=name)
        axes[0].fill_between(
            spread.index, spread[0.25], spread[0.75], color=colour, alpha=0.2, linewidth=0
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
    """Box plots from their stored quantiles (box: quartiles, whiskers: 5 to 95 % of pictures, dot: mean), a panel a treatment."""
    treatments = {
        "none": "as they are",
        "released": "released thresholds",
        "matched": "equal sparsity",
    }
    shown = [t for t in treatments if t in set(table["treatment"])]
    figure, axes = plt.subplots(1, len(shown), figsize=(7.2, 2.9), sharey=True, squeeze=False)
    for axis, treatment in zip(axes[0], shown):
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
        axis.bxp(
            stats,
            orientation="horizontal",
            manage_ticks=axis is axes[0, 0],
            showfliers=False,
            showmeans=True,
            widths=0.6,
            patch_artist=True,
            boxprops={"facecolor": "#cfe3f2", "edgecolor": "#0072B2"},
            medianprops={"color": "#D55E00", "linewidth": 1.6},
            whiskerprops={"color": "#0072B2"},
            capprops={"color": "#0072B2"},
            meanprops={
                "marker": "o",
                "markersize": 3,
                "markerfacecolor": "#333333",
                "markeredgecolor": "#333333",
            },
        )
        axis.set(title=treatments[treatment], xlabel=xlabel)
        axis.grid(axis="y", visible=False)
        axis.locator_params(axis="x", nbins=4)
    axes[0, 0].invert_yaxis()
    return figure


def totals(table: pd.DataFrame, xlabel: str) -> Figure:
    """One bar a method, mean with its 95 % interval over pictures, a panel a treatment (Fig. 8 top)."""
    treatments = {
        "none": "as they are",
        "released": "released thresholds",
        "matched": "equal sparsity",
    }
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.9), sharey=True)
    for axis, (treatment, title) in zip(axes, treatments.items()):
        part = table[table["treatment"] == treatment]
        axis.barh(
            [short(m) for m in part["method"]],
            part["mean"],
            xerr=[part["mean"] - part["mean_low"], part["mean_high"] - part["mean"]],
            color=["#E69F00" if m.startswith("rectgrad") else "#8fb8d6" for m in part["method"]],
            error_kw={"linewidth": 1},
        )
        axis.set(title=title, xlabel=xlabel)
        axis.grid(axis="y", visible=False)
        axis.locator_params(axis="x", nbins=4)
    axes[0].invert_yaxis()
    return figure


def mechanism(layers: dict[str, pd.DataFrame]) -> Figure:
    """Share of units at 0, whose importance score is 0 with them, by layer, and how many layers have a positive threshold and how many a negative mean one, by q (section 5.1)."""
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 2.8))
    for colour, (title, table) in zip(sns.color_palette("colorblind"), layers.items()):
        silent = table.groupby("layer")["silent"].mean()
        axes[0].plot(silent.index, silent, marker="o", markersize=3, color=colour, label=title)
        positive = table.groupby("q")["positive"].mean()
        axes[1].plot(positive.index, positive, marker="o", markersize=3, color=colour, label=title)
        negative = (table.set_index("q")["tau"] < 0).groupby(level="q").mean()
        axes[1].plot(
            negative.index, negative, marker="o", markersize=3, color=colour, linestyle="--"
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


def layerwise(image: Tensor, rows: dict[str, Sequence[Tensor]], names: Sequence[str]) -> Figure:
    """The picture and, for each method, one map [h,w] a layer from the input (left) to the output (Fig. 6)."""
    columns = 1 + len(names)
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(0.92 * columns + 0.8, 1.1 * len(rows) + 0.25), squeeze=False
    )
    for k, (row, (method, found)) in enumerate(zip(axes, rows.items())):
        draw_picture(row[0], image.permute(1, 2, 0).numpy())
        row[0].set_ylabel(method, rotation=0, ha="right", va="center")
        for axis, one, name in zip(row[1:], found, names):
            draw_map(axis, one, name if k == 0 else "")
    return figure


def growth(tables: dict[str, pd.DataFrame]) -> Figure:
    """Attribution on the background over that on the object, from the last convolution to the input: median and quartiles."""
    figure, axes = plt.subplots(
        1, len(tables), figsize=(max(5.0, 3.5 * len(tables)), 2.8), sharey=True, squeeze=False
    )
    for axis, (title, table) in zip(axes[0], tables.items()):
        for method, colour in (("saliency", "#0072B2"), ("rectgrad", "#E69F00")):
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
                color=colour,
                label=label(method),
            )
            axis.fill_between(
                spread.index, spread[0.25], spread[0.75], color=colour, alpha=0.2, linewidth=0
            )
        axis.axhline(1, color="#333333", linewidth=0.8)
        axis.set(
            title=title,
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
    """What remains of a map as weights are redrawn, from the output down (cascading) or one layer at a time."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 4.0), sharey=True)
    order = table[(table["mode"] == "cascading") & (table["depth"] == 1)].sort_values(
        value, ascending=False
    )["method"]
    palette = dict(zip(order, sns.color_palette("husl", len(order))))
    for axis, mode in zip(axes, ("cascading", "independent")):
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
        axis.set(
            title=mode,
            xlabel="layers redrawn, from the output"
            if mode == "cascading"
            else "the one layer redrawn, from the output",
            xticks=sorted(table["depth"].unique()),
        )
        axis.axhline(0, color="#333333", linewidth=0.8)
    axes[0].set_ylabel(ylabel)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def sensitivity(table: pd.DataFrame) -> Figure:
    """Rank correlation of the maps before and after an attack, where the prediction changed and where it did not."""
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


def occluded_strip(who: Subject, methods: Sequence[str], fractions: Sequence[float]) -> Figure:
    """The first training picture of `who` as retrained networks see it: a row for each method and mode, a column for each fraction.

    What is gone has the channel mean of all pictures of `who`.
    """
    mean, who = (
        roar.channel_mean(who.pictures.images).to(torch.uint8),
        who._replace(pictures=who.pictures.take(slice(0, 1))),
    )
    image = who.pictures.images
    rows = [(method, mode) for method in methods for mode in roar.MODES]
    figure, axes = plt.subplots(
        len(rows),
        1 + len(fractions),
        figsize=(1.05 * (1 + len(fractions)) + 1.2, 1.08 * len(rows) + 0.3),
        squeeze=False,
    )
    for n, (method, mode) in enumerate(rows):
        line, places = (
            axes[n],
            (1, *image.shape[2:]) if method == "random" else roar.ranks(who, method),
        )
        draw_picture(line[0], as_rgb(image)[0], "Picture" if n == 0 else "")
        line[0].set_ylabel(f"{label(method)}\n{mode.upper()}", rotation=0, ha="right", va="center")
        for axis, fraction in zip(line[1:], fractions):
            gone = roar.occluded(places, fraction, mode)
            draw_picture(
                axis,
                as_rgb(torch.where(gone[:, None], mean, image))[0],
                f"{fraction:.0%}" if n == 0 else "",
            )
    return figure


def retraining(found: pd.DataFrame) -> Figure:
    """Accuracy after retraining against the occluded share, a panel for ROAR and one for KAR; bands from lowest to highest seed.

    `found` as lib.roar.tidy returns it. The random baseline is black, the network that saw everything a dotted line.
    """
    kept = found[found["method"] != "none"]
    methods = list(dict.fromkeys(kept["method"]))
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 4.6), sharey=True)
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
    """Do retrained networks repeat the explained one? A panel for ROAR and one for KAR, a line a method, a point a fraction, the larger the more pixels are left.

    Across: accuracy where the explained network is wrong; up: where it is right. `found` as lib.roar.tidy returns it with
    `explained`. A star: the network that saw everything; a dotted line: chance, one in `classes`.
    """
    kept, whole = found[found["method"] != "none"], found[found["method"] == "none"]
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 4.3), sharey=True, sharex=True)
    for axis, mode in zip(axes, roar.MODES):
        for method in dict.fromkeys(kept["method"]):
            by = (
                kept[(kept["mode"] == mode) & (kept["method"] == method)]
                .groupby("fraction")[["where_right", "where_wrong"]]
                .mean()
            )
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
    """Which methods differ, a panel a mode: a cell is the mean difference of accuracies, row less column, in points; a dot
    where it is significant at `level` after correction. `found` as lib.roar_tables.compared returns it; ValueError for a single method."""
    modes = list(dict.fromkeys(found["mode"]))
    if not modes:
        raise ValueError("there is no pair of methods to compare; give at least two.")
    figure, axes = plt.subplots(1, len(modes), figsize=(7.2, 3.5), squeeze=False)
    reach = 100 * found["difference"].abs().max()
    for axis, mode in zip(axes[0], modes):
        part = found[found["mode"] == mode]
        names = list(dict.fromkeys([*part["first"], *part["second"]]))
        grid, marks = pd.DataFrame(np.nan, names, names), pd.DataFrame("", names, names)
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
