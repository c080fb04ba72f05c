"""Figures of the chapters on the sign of the gradient and on all classes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from .labelled import panels
from .pictures import as_rgb, class_name, draw_picture
from .style import verbatim

if TYPE_CHECKING:
    from study.subjects.pictures import Dataset


def zero_dots(table: pd.DataFrame) -> Figure:
    """The grey at which a zero gradient is drawn: median (dot) and the range of 90 % of pictures
    (bar), a row a subject; `table` as of `study.experiments.deletion_tables.zero_greys`."""
    figure, axis = plt.subplots(figsize=(6.9, 0.42 * len(table) + 1.0))
    axis.imshow(
        np.linspace(0, 1, 256)[None],
        cmap="gray",
        extent=(0, 1, len(table) - 0.3, -0.7),
        aspect="auto",
    )
    for y, row in enumerate(table.itertuples()):
        axis.plot([row.p5, row.p95], [y, y], color="#D55E00", linewidth=4, solid_capstyle="round")
        axis.plot(row.median, y, "o", color="#ffffff", markeredgecolor="#D55E00", markersize=7)
    axis.set_yticks(range(len(table)), [verbatim(s) for s in table["subject"]])
    axis.set_xlabel("grey at which a zero gradient is drawn (0 black, 1 white)", fontsize=9)
    axis.grid(visible=False)
    return figure


def strongest(gradients: Tensor) -> Tensor:
    """Of every pixel the channel whose gradient is largest in size, signed: [N,C,H,W] to
    [N,H,W]."""
    return gradients.gather(1, gradients.abs().argmax(1, keepdim=True))[:, 0]


def signed_rows(rows: Sequence[tuple[str, Dataset, Tensor]]) -> Figure:
    """Pictures, each beside its gradient in red (brighter helps) and blue (darker helps).

    A row for each of (subject, pictures of length n, gradients [n,C,H,W]); each map on its own
    scale, symmetric around 0.
    """
    count = len(rows[0][1])
    figure, axes = plt.subplots(
        len(rows), 2 * count, figsize=(6.9, 1.3 * len(rows) + 0.75), squeeze=False
    )
    for line, (subject, pictures, gradients) in zip(axes, rows, strict=True):
        shown = as_rgb(pictures.images)
        signed_maps = strongest(gradients)
        reach = signed_maps.abs().flatten(1).amax(1).clamp(min=torch.finfo(signed_maps.dtype).tiny)
        for n in range(count):
            title = "\n".join(textwrap.wrap(class_name(pictures, n), 12)[:2])
            draw_picture(line[2 * n], shown[n], title)
            scaled = (signed_maps[n] / reach[n]).numpy()
            options = {"cmap": "RdBu_r", "vmin": -0.5, "vmax": 0.5}
            draw_picture(line[2 * n + 1], scaled, **options)
            line[2 * n].title.set_fontsize(8)
        if len(rows) > 1:
            name = verbatim(subject).replace(", ", ",\n")
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    bar = figure.colorbar(
        axes[-1, -1].images[0], ax=axes, location="bottom", aspect=60, fraction=0.05, extend="both"
    )
    bar.set_label("gradient, as a share of the picture's largest", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def kept_panels(
    tables: dict[str, pd.DataFrame], kept: pd.DataFrame, maps: dict[str, Sequence[str]]
) -> Figure:
    """Allegiance of the maps of each fill, the first of them left out, with an upright line at the
    mean share of pixels each keeps.

    `tables` as of `study.experiments.deletion.curve_table`, `kept` as of
    `study.experiments.deletion_tables.joined` of `deletion.kept_pixels`.
    """
    upright = {(r.subject, r.map): r.mean for r in kept[["subject", "map", "mean"]].itertuples()}
    shown = {fill: names[1:] for fill, names in maps.items()}
    return panels(tables, "allegiance", shown, upright=upright)
