"""Every figure and table of the book. A figure ends in a line that says which data, network, profile and commit made it.

Each function returns the matplotlib figure. Alt texts live in the metadata of the cell that shows it, where the book
builder finds them.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import seaborn as sns
import torch
from IPython.display import Image, Markdown
from matplotlib.figure import Figure
from torch import Tensor

from lib import published, results
from lib.attribution import normalize
from lib.data import Dataset
from lib.experiments import MATCHED
from lib.metrics import PAPER_FRACTIONS
from lib.subjects import Subject

# Okabe and Ito's colours: told apart by colour-blind readers; a map has one colour in the whole book
COLOURS = {
    "original": "#7f7f7f",
    "positive": "#D55E00",
    "negative": "#0072B2",
    "active": "#E69F00",
    "inactive": "#56B4E9",
}
DASHES = {
    "original": (0, (1, 1)),
    "positive": "-",
    "negative": "-",
    "active": (0, (5, 2)),
    "inactive": (0, (5, 2)),
}
LABELS = {name: name.capitalize() for name in COLOURS}


def style() -> None:
    """The look of all figures; call it once, at the top of a chapter."""
    sns.set_theme(
        style="whitegrid",
        rc={
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.labelsize": 10,
            "legend.fontsize": 9,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "axes.edgecolor": "#999999",
            "grid.color": "#e6e6e6",
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "image.interpolation": "nearest",
        },
    )


def signed(figure: Figure, text: str, profile: str) -> Figure:
    """The figure with its provenance line, below everything else."""
    told = f"{text} · {profile} profile · commit {results.commit().rstrip('+')}"
    figure.supxlabel(
        textwrap.fill(told, max(60, int(17 * figure.get_figwidth()))), fontsize=7, color="#767676"
    )  # 17 letters an inch
    return figure


def compact(figure: Figure, dpi: int = 76, colours: int = 128) -> Image:
    """The figure as a PNG of few colours: pictures full of speckles are several times smaller so. It is closed and shown once."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi)
    plt.close(figure)
    reduced, small = (
        PIL.Image.open(raw).convert("RGB").quantize(colours, dither=PIL.Image.Dither.NONE),
        io.BytesIO(),
    )
    reduced.save(small, format="png", optimize=True)
    return Image(small.getvalue(), format="png")


def table(frame: pd.DataFrame, **formats: str) -> Markdown:
    """A data frame as a Markdown table; `formats` gives a column's format, such as auc=".3f". Missing values stay blank."""
    shown = frame.copy()
    for column, spec in formats.items():
        shown[column] = ["" if pd.isna(v) else format(v, spec) for v in frame[column]]
    cell = lambda value: "" if pd.isna(value) else str(value).replace("|", "\\|")
    numeric = [pd.api.types.is_numeric_dtype(frame[c]) or c in formats for c in frame.columns]
    rows = [
        "| " + " | ".join(map(cell, shown.columns)) + " |",
        "|" + "|".join("---:" if n else ":---" for n in numeric) + "|",
    ]
    rows += ["| " + " | ".join(map(cell, row)) + " |" for row in shown.itertuples(index=False)]
    return Markdown("\n".join(rows))


def sections(frames: dict[str, pd.DataFrame]) -> Markdown:
    """One table after another, each under its name where there are several; a line that says so where there is none."""
    if not frames:
        return Markdown(NOTHING)
    return Markdown(
        "\n\n".join(
            (f"**{name}**\n\n" if len(frames) > 1 else "") + table(frame).data
            for name, frame in frames.items()
        )
    )


def beside_table(frame: pd.DataFrame | None) -> Markdown:
    """Printed beside reproduced numbers with interval and verdict, or a line that says there are none to compare."""
    if frame is None:
        return Markdown("*The papers print no number for what is studied here.*")
    rows = [
        {
            "number": f"{r.table}, {r.row}",
            "network": published.network(r.table, r.column),
            "printed": published.shown(r.paper, r.table, r.published),
            "reproduced": r.reproduced,
            "95 % interval": interval(r.low, r.high),
            "verdict": r.verdict,
            "at tolerance 0": r.verdict_at_zero,
        }
        for r in frame.itertuples()
    ]
    how = "; ".join(
        f"{published.network(part.iloc[0]['table'], column)}: {part.iloc[0]['data']}, {part.iloc[0]['protocol']}"
        for column, part in frame.groupby("column", sort=False)
    )
    return Markdown(f"{table(pd.DataFrame(rows), reproduced='.3f').data}\n\n*{how}.*")


def two_readings(beside: pd.DataFrame) -> Markdown:
    """Table 1 of paper Noise in two readings, as of `lib.table1.beside`: areas, and in brackets their differences from the random
    baseline with the half-width of the interval."""

    def area(method, value: float, difference: float, low: float, high: float) -> str:
        if pd.isna(value):
            return ""
        return (
            f"{value:.3f}"
            if method == "random"
            else f"{value:.3f} ({give_or_take(difference, low, high, '+.3f')})"
        )

    rows = [
        {
            "row": r.row,
            "column": r.column,
            "printed": f"{r.printed:.4f}"
            + ("" if r.row == "Random" else f" ({r.printed_difference:+.4f})"),
            "the text: thresholded baselines": area(
                r.text_method, r.text_area, r.text_difference, r.text_low, r.text_high
            ),
            "verdict": r.text_verdict,
            "released code: whole maps": area(r.method, r.area, r.difference, r.low, r.high),
            "its verdict": r.verdict,
        }
        for r in beside.itertuples()
    ]
    seeds = int(beside[["seeds", "text_seeds"]].max(axis=None))
    return Markdown(
        f"{table(pd.DataFrame(rows)).data}\n\n*{beside['epochs'].iloc[0]} epochs a network, {seeds} seeds; in brackets the difference from the random baseline, with the half-width of its 95 % interval over seeds. "
        "Verdicts are on that difference; the random baseline has none, being what the others are measured against.*"
    )


def give_or_take(value: float, low: float, high: float, spec: str = ".3f") -> str:
    """A value and the half-width of its interval as text."""
    return f"{value:{spec}} ± {(high - low) / 2:{spec.lstrip('+')}}"


def wide(frame: pd.DataFrame, index: str | list[str], columns: str, values: str) -> pd.DataFrame:
    """The long table as a wide one: a row for each `index`, a column for each of `columns`, both in order of appearance."""
    keys = [index] if isinstance(index, str) else index
    found = frame.pivot(index=keys, columns=columns, values=values)
    order = frame[keys].drop_duplicates()
    return (
        found.loc[
            [tuple(r) if len(keys) > 1 else r[0] for r in order.values.tolist()],
            list(dict.fromkeys(frame[columns])),
        ]
        .rename_axis(columns=None)
        .reset_index()
    )


NOTHING = "*There is nothing to show for what is studied here.*"  # an empty Markdown would show as the name of its class


def lines(*sentences: str) -> Markdown:
    """Sentences as a Markdown list: the summary of a chapter, its numbers filled in by code."""
    if not sentences:
        return Markdown(NOTHING)
    return Markdown("\n".join(f"- {sentence}" for sentence in sentences))


def interval(low: float, high: float, spec: str = ".3f") -> str:
    """An interval as text."""
    return f"{low:{spec}} to {high:{spec}}"


def claims(*kinds: str, stored: bool) -> Markdown:
    """The papers' claims in words that belong to these experiments, as measured at the paper profile; one line where nothing is read from results."""
    if not stored:
        return Markdown(
            "*What the papers claim in words is judged at the paper profile, on their own data; here nothing is read from stored results.*"
        )
    from lib.claims import LIST, table as judged, told

    rows = []
    for name, part in judged().query("experiment in @kinds").groupby("id", sort=False):
        first = part.iloc[0]
        unit = (
            ", as a share"
            if first.id.endswith("-share")
            else ", divided by the total"
            if first.id.endswith("-scaled")
            else ", ROAR"
            if "-roar-" in first.id
            else ", KAR"
            if "-kar-" in first.id
            else ""
        )
        rows.append(
            {
                "claim": f"“{first.quotation}” ({first.paper} {first.section}{unit})",
                "holds if": first.holds_if,
                "measured (95 % interval)": told(part),
                "verdict": first.verdict,
            }
        )
    return Markdown(
        f"{table(pd.DataFrame(rows)).data}\n\n*Low and high: the ends of the interval. Statistic and threshold of each claim were fixed beforehand, in `data/{LIST.name}`.*"
    )


def draw_picture(axis, image, title: str = "", **options) -> None:
    """A picture or map [H,W] or [H,W,3] without ticks, pixels as squares where they are few."""
    if (
        len(image) > 64 and image.ndim == 3
    ):  # a photograph shown smaller; in a map, averaging would let red and blue cancel
        options = {"interpolation": "antialiased", **options}
    axis.imshow(image, **options)
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set_visible(False)
    if title:
        axis.set_title(title)


def as_rgb(images: Tensor) -> np.ndarray:
    """Pictures [N,C,H,W] as matplotlib wants them, [N,H,W,C]."""
    return images.permute(0, 2, 3, 1).numpy()


def class_name(pictures: Dataset, place: int) -> str:
    """The name of a picture's class; "unlabelled" where nobody gave it one (label -1)."""
    label = int(pictures.labels[place])
    return "unlabelled" if label < 0 else pictures.classes[label]


def contact_sheet(pictures, seed: int = 0, columns: int = 8) -> Figure:
    """A row of pictures for each class, drawn by `seed`."""
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
    rows = len(pictures.classes)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * 0.85, rows * 0.85), squeeze=False)
    for k, name in enumerate(pictures.classes):
        chosen = order[pictures.labels[order] == k][:columns]
        shown = as_rgb(pictures.images[chosen])
        for column, axis in enumerate(axes[k]):
            if column < len(shown):
                draw_picture(axis, shown[column])
            else:
                axis.axis("off")
        axes[k, 0].set_ylabel(name.split("/")[-1], rotation=0, ha="right", va="center")
    return figure


def learning_curves(cards: dict[str, dict]) -> Figure:
    """Training accuracy by epoch (line) and test accuracy at the end (dot) of each network, from the cards of its weights."""
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    for colour, (label, card) in zip(sns.color_palette("colorblind"), cards.items()):
        rows = card["epochs"]
        axis.plot(
            [r["epoch"] for r in rows], [r["accuracy"] for r in rows], color=colour, label=label
        )
        axis.plot(rows[-1]["epoch"], card["test_accuracy"], "o", color=colour)
    axis.plot([], [], "o", color="#7f7f7f", label="test split, after the last epoch")
    axis.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02))
    axis.legend(loc="lower right")
    return figure


def trainings(found: pd.DataFrame) -> Figure:
    """Test accuracies of single trainings, as of `lib.variants.trainings`: a dot each, a row for each setting of each network, the
    printed accuracy dashed."""
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
    for axis, (model, part) in zip(axes[:, 0], parts):
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
        axis.set_title(model, loc="left", fontweight="bold")
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


def effects_table(effects: pd.DataFrame, twice: pd.DataFrame) -> Markdown:
    """What each setting moves, as of `lib.variants.effects`, in points of accuracy, and how far the same seed moves when it is run twice."""
    rows = [
        {
            "network": r.model,
            "changed": r.what,
            "trainings": f"{r.n_before} and {r.n_after}",
            "accuracy": f"{r.before:.3f} to {r.after:.3f}",
            "moves by (95 % interval)": f"{100 * r.change:+.1f} ({interval(100 * r.low, 100 * r.high, '+.1f')})",
            "": "within luck" if r.within_luck else "more than luck",
        }
        for r in effects.itertuples()
    ]
    apart = (
        f"The same seed run twice on a GPU, {len(twice)} times: {100 * twice['apart'].min():.1f} to {100 * twice['apart'].max():.1f} points apart."
        if len(twice)
        else ""
    )
    return Markdown(
        f"{table(pd.DataFrame(rows)).data}\n\n*In points of accuracy; intervals by a t-distribution on the spread of trainings that differ in seed or run alone, pooled over the settings of a network. {apart}*"
    )


def gallery(
    who: Subject,
    places: Tensor,
    maps: dict[str, Tensor],
    after: tuple[str, Tensor, Sequence[bool]] | None = None,
) -> Figure:
    """A row for each picture: the picture, then its maps, each stretched to its own range (white is most); large maps at half size.

    `after` adds a column: its title, altered pictures [N,3,H,W] in [0,1], and whether the prediction stayed (else a red frame).
    """
    shown = as_rgb(who.pictures.images[places])
    columns = 1 + len(maps) + (after is not None)
    figure, axes = plt.subplots(
        len(places), columns, figsize=(1.05 * columns + 0.7, 1.08 * len(places)), squeeze=False
    )
    for row, place in enumerate(places.tolist()):
        draw_picture(axes[row, 0], shown[row], "Picture" if row == 0 else "")
        axes[row, 0].set_ylabel(
            class_name(who.pictures, place), rotation=0, ha="right", va="center"
        )
    for column, (name, values) in enumerate(maps.items(), 1):
        if (
            values.shape[-1] > 128
        ):  # drawn at half its size: of four pixels the largest, or single bright ones would be lost
            values = torch.nn.functional.max_pool2d(values[:, None], 2)[:, 0]
        for row, values_of_one in enumerate(normalize(values)):
            draw_picture(
                axes[row, column],
                values_of_one.numpy(),
                name.capitalize() if row == 0 else "",
                cmap="gray",
                vmin=0,
                vmax=1,
            )
    for row in range(len(places) if after else 0):
        draw_picture(
            axes[row, -1], after[1][row].permute(1, 2, 0).numpy(), after[0] if row == 0 else ""
        )
        draw_frame(axes[row, -1], after[2][row])
    return figure


def draw_frame(axis, kept: bool) -> None:
    """A red frame around a picture whose prediction has changed."""
    for side in axis.spines.values():
        side.set(visible=not kept, color="#CC0000", linewidth=2.5)


def sign_panel(image: Tensor, gradient: Tensor) -> Figure:
    """One picture [3,H,W] uint8 and its gradient [3,H,W]: stretched as it is, on a scale around zero, absolute, by sign."""
    strongest = gradient.gather(0, gradient.abs().argmax(0, keepdim=True))[
        0
    ]  # of each pixel, the channel with most to say
    low, high = strongest.min(), strongest.max()
    span = (high - low).clamp(
        min=torch.finfo(strongest.dtype).tiny
    )  # a gradient of zeros stays zeros, never NaN
    reach = strongest.abs().max().item()
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
    for axis, (title, picture, options) in zip(axes.flat, panels):
        draw_picture(axis, picture, title, **options)
    return figure


def histogram(
    values: dict[str, Tensor], xlabel: str, bins: int = 40, line: float | None = None
) -> Figure:
    """Distributions over images, one outline a label."""
    figure, axis = plt.subplots(figsize=(6.4, 2.8))
    for colour, (label, numbers) in zip(sns.color_palette("colorblind"), values.items()):
        sns.histplot(
            x=numbers.numpy(),
            bins=bins,
            stat="probability",
            element="step",
            fill=len(values) == 1,
            color=colour,
            label=label,
            ax=axis,
        )
    if line is not None:
        axis.axvline(line, color="#333333", linestyle=":")
    axis.set(xlabel=xlabel, ylabel="share of images")
    if len(values) > 1:
        axis.legend()
    return figure


def deletion_strip(
    images: Tensor,
    altered: dict[str, Sequence[Tensor]],
    fractions: Sequence[float],
    kept: dict[str, Sequence[bool]],
) -> Figure:
    """One picture as pixels go: a row a map, a column a fraction; a red frame where the prediction has changed."""
    figure, axes = plt.subplots(
        len(altered),
        len(fractions),
        figsize=(1.05 * len(fractions) + 0.9, 1.15 * len(altered) + 0.2),
        squeeze=False,
    )
    for row, (name, pictures) in enumerate(altered.items()):
        for column, picture in enumerate(pictures):
            axis = axes[row, column]
            draw_picture(
                axis,
                picture.permute(1, 2, 0).clamp(0, 1).numpy(),
                f"{fractions[column]:.0%}" if row == 0 else "",
            )
            draw_frame(axis, kept[name][column])
        axes[row, 0].set_ylabel(name.replace(" ", "\n"), rotation=0, ha="right", va="center")
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
    """`value` against the fraction of deleted pixels, with its band: a row a subject, a column a fill."""
    figure, axes = plt.subplots(
        len(tables),
        2,
        figsize=(6.8, _height(len(tables))),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for row, (title, frame) in enumerate(tables.items()):
        for axis, (fill, shown) in zip(axes[row], names.items()):
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
            axis.set_title(f"{title}\n{fill} deletion")
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
    """`value` against the strength of the replacement, with its interval: a row a subject, a column a fill."""
    figure, axes = plt.subplots(
        len(tables),
        2,
        figsize=(6.8, _height(len(tables))),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for row, (title, frame) in enumerate(tables.items()):
        for axis, (fill, shown) in zip(axes[row], names.items()):
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
            axis.set_title(f"{title}\ntowards {fill}")
            axis.set_xscale("log")
            axis.set_xticks(list(part["strength"]), [f"{s:g}" for s in part["strength"]])
            axis.minorticks_off()
            axis.legend(loc="best")
        axes[row, 0].set_ylabel(ylabel)
    for axis in axes[-1]:
        axis.set_xlabel("strength of the replacement")
    return figure


def who_gains(image: Tensor, gradients: Tensor, classes: Sequence[str], predicted: int) -> Figure:
    """A picture [3,H,W] uint8 and, from class gradients [K,H,W], the class that gains most at each pixel, brighter or darker."""
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
        matplotlib.patches.Patch(color=palette[predicted], label=classes[predicted]),
        matplotlib.patches.Patch(color="#a0a0a0", label="another class, a shade of grey each"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def kept_curves(found: dict[str, dict], kept: dict[str, pd.DataFrame]) -> Figure:
    """Allegiance of the signed maps, each with a vertical line at the mean share of pixels that it keeps."""
    figure, axes = plt.subplots(
        len(found), 2, figsize=(6.8, _height(len(found))), sharex=True, sharey=True, squeeze=False
    )
    for row, ((title, flags), shares) in enumerate(zip(found.items(), kept.values())):
        for axis, (fill, names) in zip(axes[row], MATCHED.items()):
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
            axis.set_title(f"{title}\n{fill} deletion")
            axis.legend(
                frameon=True, framealpha=1, edgecolor="none"
            )  # the upright lines pass behind it
        axes[row, 0].set_ylabel("allegiance")
    for axis in axes[-1]:
        axis.set_xlabel("fraction of pixels deleted")
    return figure


def published_beside_reproduced(frame: pd.DataFrame) -> Figure:
    """A row for each number: the printed one (cross), ours with its interval (dot), the tolerance (band)."""
    figure, axis = plt.subplots(figsize=(6.4, 0.3 * len(frame) + 0.9))
    for y, row in enumerate(frame.itertuples()):
        reach = max(0.02, (row.high - row.low) / 2)
        axis.barh(y, 2 * reach, left=row.published - reach, height=0.55, color="#dddddd", zorder=1)
        colour = "#009E73" if row.verdict == "agree" else "#CC0000"
        axis.errorbar(
            row.reproduced,
            y,
            xerr=[[row.reproduced - row.low], [row.high - row.reproduced]],
            color=colour,
            marker="o",
            markersize=4,
            capsize=2,
            zorder=3,
        )
        axis.plot(row.published, y, "x", color="#000000", zorder=2)
    axis.set_yticks(
        range(len(frame)),
        [
            f"{r.row}, {r.column}"
            + (" (black)" if r.table == "Table 2" else " (white)" if r.table == "Table 3" else "")
            for r in frame.itertuples()
        ],
    )
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.04)
    axis.set_xlabel("× printed   ● computed here, 95 % interval\ngrey: what counts as agreement")
    return figure


def digest(**arrays: Tensor) -> None:
    """Print mean, standard deviation and extremes of what a figure shows, to three digits, for those who compare reruns."""
    for name, values in arrays.items():
        v = values.double()
        print(
            f"{name}: mean {v.mean():.3g}, sd {v.std() if v.numel() > 1 else 0:.3g}, from {v.min():.3g} to {v.max():.3g}"
        )
