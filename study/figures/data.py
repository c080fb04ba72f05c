"""Figures of the chapter on data and models."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure

from .labelled import end_labels
from .pictures import as_rgb, draw_picture
from .style import verbatim

if TYPE_CHECKING:
    from study.subjects.pictures import Dataset

TEST, TRAINING = "#0072B2", "#E69F00"


def accuracy_dots(table: pd.DataFrame) -> Figure:
    """Accuracy on test pictures with its interval, on the pictures trained on, and as printed.

    A row for each of network; columns test, low, high, train and printed, the last two NaN where
    there is none.
    """
    figure, axis = plt.subplots(figsize=(6.9, 0.36 * len(table) + 1.2))
    for y, row in enumerate(table.itertuples()):
        axis.plot([row.test, row.train], [y, y], color="#c4c4c4", linewidth=1, zorder=1)
        reach = [[row.test - row.low], [row.high - row.test]]
        axis.errorbar(row.test, y, xerr=reach, fmt="o", color=TEST, markersize=5, capsize=2)
    places = range(len(table))
    axis.plot([], [], "o", color=TEST, label="test pictures, 95 % interval")
    axis.plot(
        table["train"], places, "o", color=TRAINING, markerfacecolor="none", label="trained on"
    )
    if table["printed"].notna().any():
        axis.plot(table["printed"], places, "x", color="#000000", label="printed, test")
    axis.set_yticks(places, [verbatim(n) for n in table["network"]])
    axis.set_ylim(len(table) - 0.4, -0.6)
    axis.set_xlabel("share of pictures classified correctly", fontsize=9)
    axis.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


def one_of_each(rows: dict[str, Dataset], seed: int = 0) -> Figure:
    """Two lines of five for each set of pictures: one of every class of the first ten, drawn by
    `seed`."""
    figure, axes = plt.subplots(
        2 * len(rows), 5, figsize=(5.2, 2.05 * len(rows)), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for lines, (name, pictures) in zip(axes.reshape(-1, 10), rows.items(), strict=True):
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
        for k, (axis, title) in enumerate(zip(lines, pictures.classes, strict=False)):
            first = order[pictures.labels[order] == k][:1]
            if len(first):
                axis.axis("on")
                # a long name in two lines, over its own picture
                title = "\n".join(textwrap.wrap(title.split("/")[-1], 14)[:2])
                draw_picture(axis, as_rgb(pictures.images[first])[0], title)
                axis.title.set_fontsize(8)
        lines[0].set_ylabel(verbatim(name), rotation=90, va="center", fontsize=9)
    return figure


def learning_lines(cards: dict[str, dict[str, dict]]) -> Figure:
    """Training accuracy by epoch (line) and test accuracy at the end (dot): a panel a dataset.

    `cards`: dataset -> network -> the card of its weights, at most six networks each.
    """
    palette = sns.color_palette("colorblind")
    figure, axes = plt.subplots(
        1, len(cards), figsize=(6.9, 2.9), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (dataset, networks) in zip(axes[0], cards.items(), strict=True):
        for shade, card in zip(palette, networks.values(), strict=False):
            rows = card["epochs"]
            epochs = [r["epoch"] for r in rows]
            axis.plot(epochs, [r["accuracy"] for r in rows], color=shade)
            axis.plot(epochs[-1], card["test_accuracy"], "o", color=shade, markersize=5)
        axis.set_title(verbatim(dataset))
        axis.set_xlabel("epoch", fontsize=9)
    axes[0, 0].set(ylim=(0, 1.03))
    axes[0, 0].set_ylabel("accuracy; dot: test pictures", fontsize=9)
    figure.canvas.draw()
    for axis, networks in zip(axes[0], cards.values(), strict=True):
        last = max(card["epochs"][-1]["epoch"] for card in networks.values())
        ends = {
            name: (card["epochs"][-1]["accuracy"], shade)
            for shade, (name, card) in zip(palette, networks.items(), strict=False)
        }
        end_labels(axis, last, ends)
    return figure
