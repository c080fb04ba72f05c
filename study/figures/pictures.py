"""Grids of pictures and maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.attribution import normalize

from .style import verbatim

if TYPE_CHECKING:
    from study.subjects.pictures import Dataset
    from study.subjects.subject import Subject


def draw_picture(axis, image, title: str = "", **options) -> None:
    """A picture or map [H,W] or [H,W,3] without ticks, pixels as squares where they are few."""
    # a photograph shown smaller; in a map, averaging would let red and blue cancel
    if len(image) > 64 and image.ndim == 3:
        options = {"interpolation": "antialiased", **options}
    axis.imshow(image, **options)
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set_visible(False)
    if title:
        axis.set_title(verbatim(title))


def as_rgb(images: Tensor) -> np.ndarray:
    """Pictures [N,C,H,W] as matplotlib wants them, [N,H,W,C]."""
    return images.permute(0, 2, 3, 1).numpy()


def class_name(pictures: Dataset, place: int) -> str:
    """The name of a picture's class; "unlabelled" where nobody gave it one (label -1)."""
    number = int(pictures.labels[place])
    return "unlabelled" if number < 0 else pictures.classes[number]


def gallery(
    studied: Subject,
    places: Tensor,
    maps: dict[str, Tensor],
    after: tuple[str, Tensor, Sequence[bool]] | None = None,
) -> Figure:
    """A row for each picture: the picture, then its maps, each stretched to its own range (white
    is most); large maps at half size.

    `after` adds a column: its title, altered pictures [N,3,H,W] in [0,1], and whether the
    prediction stayed (else a red frame).
    """
    shown = as_rgb(studied.pictures.images[places])
    columns = 1 + len(maps) + (after is not None)
    figure, axes = plt.subplots(
        len(places), columns, figsize=(1.05 * columns + 0.7, 1.08 * len(places)), squeeze=False
    )
    for row, place in enumerate(places.tolist()):
        draw_picture(axes[row, 0], shown[row], "Picture" if row == 0 else "")
        axes[row, 0].set_ylabel(
            verbatim(class_name(studied.pictures, place)), rotation=0, ha="right", va="center"
        )
    for column, (name, values) in enumerate(maps.items(), 1):
        if values.shape[-1] > 128:
            # drawn at half its size: of four pixels the largest, or single bright ones would be
            # lost
            values = torch.nn.functional.max_pool2d(values[:, None], 2)[:, 0]
        for row, stretched in enumerate(normalize(values)):
            draw_picture(
                axes[row, column],
                stretched.numpy(),
                name.capitalize() if row == 0 else "",
                cmap="gray",
                vmin=0,
                vmax=1,
            )
    if after:
        title, altered, stayed = after
        for row in range(len(places)):
            picture = altered[row].permute(1, 2, 0).numpy()
            draw_picture(axes[row, -1], picture, title if row == 0 else "")
            draw_frame(axes[row, -1], stayed[row])
    return figure


def draw_frame(axis, kept: bool) -> None:
    """A red frame around a picture whose prediction has changed."""
    for side in axis.spines.values():
        side.set(visible=not kept, color="#CC0000", linewidth=2.5)


def clipped(attribution_map: Tensor, q: float = 0.5) -> Tensor:
    """A map [H,W] with outliers capped at the q-th and (100 - q)-th percentiles (paper Noise,
    appendix F.1)."""
    shares = torch.tensor([q, 100 - q], dtype=torch.float64) / 100
    low, high = attribution_map.double().flatten().quantile(shares)
    return attribution_map.double().clamp(low, high)


def draw_map(axis, attribution_map: Tensor, title: str = "") -> None:
    """A map on colours that diverge from white at 0: red speaks for the class, blue against it."""
    shown = clipped(attribution_map)
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

    `square` outlines that many pixels of the upper left corner; `frames[n]` False puts a red frame
    around picture n.
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
            axes[row, 0].set_ylabel(verbatim(rows[row]), rotation=0, ha="right", va="center")
        if frames:
            draw_frame(axes[row, 0], frames[row])
        for axis, (title, values) in zip(axes[row, 1:], maps.items(), strict=True):
            draw_map(axis, values[row], title if row == 0 else "")
        if square:
            for axis in axes[row]:
                corner = Rectangle(
                    (-0.5, -0.5), square, square, fill=False, edgecolor="#CC0000", linewidth=1.2
                )
                axis.add_patch(corner)
    if len(maps) > 6:
        for axis in axes[0]:
            axis.title.set_fontsize(8)
    return figure


def feature_maps(
    image: Tensor, saliency: Tensor, layers: Sequence[Tensor], count: int = 8
) -> Figure:
    """A picture, its saliency map, and of every layer `count` evenly spaced feature maps [C,h,w]
    of one picture (Fig. 13)."""
    figure, axes = plt.subplots(
        len(layers) + 1, count, figsize=(0.86 * count, 0.92 * (len(layers) + 1)), squeeze=False
    )
    draw_picture(axes[0, 0], image.permute(1, 2, 0).numpy(), "Picture")
    draw_map(axes[0, 1], saliency, "Saliency map")
    for axis in axes[0, 2:]:
        axis.axis("off")
    for number, (row, channels) in enumerate(zip(axes[1:], layers, strict=True), 1):
        spaced = channels[torch.linspace(0, len(channels) - 1, count).long()]
        for axis, channel in zip(row, spaced, strict=True):
            draw_picture(axis, channel.numpy(), cmap="gray", vmin=0)
        row[0].set_ylabel(f"conv. {number}", rotation=0, ha="right", va="center")
    return figure
