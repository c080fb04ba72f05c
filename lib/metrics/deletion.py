"""Deleting, revealing and occluding the pixels that a map ranks first.

Paper Sign, section 4.2; ROAR and KAR.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..attribution.graph import evaluating

PAPER_FRACTIONS = (0, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def _check(
    images: Tensor,
    maps: Tensor,
    fractions: Sequence[float],
    fill: Tensor | float | Sequence[float],
) -> Tensor:
    """The fill as a tensor [1,C|1,1,1], or ValueError for what does not fit together."""
    if images.ndim != 4:
        raise ValueError(f"images must be [N,C,H,W]; got shape {tuple(images.shape)}.")
    expected = (images.shape[0], *images.shape[2:])
    if tuple(maps.shape) != expected:
        raise ValueError(
            f"maps have shape {tuple(maps.shape)}; for these images they must be {expected}."
        )
    if maps.isnan().any():
        raise ValueError("maps contain NaN; a map needs a number for every pixel.")
    values = [float(f) for f in fractions]
    within = all(0 <= v <= 1 for v in values)  # NaN is not
    if not values or not within or values != sorted(values):
        raise ValueError(f"fractions must ascend within 0 and 1; got {tuple(fractions)}.")
    fill = torch.as_tensor(fill, dtype=images.dtype, device=images.device)
    if fill.ndim > 1 or (fill.ndim == 1 and len(fill) != images.shape[1]):
        raise ValueError(
            f"fill has shape {tuple(fill.shape)}; it must be a scalar or one value for each of "
            f"{images.shape[1]} channels."
        )
    return fill.reshape(1, -1, 1, 1)


def _thresholds(maps: Tensor, fractions: Sequence[float]) -> Tensor:
    """[F,N]: the value at rank round(p*H*W) of each map in descending order.

    -inf where the rank is past the last pixel.
    """
    ordered = maps.detach().flatten(1)
    if ordered.device.type == "cpu" and ordered.dtype in (torch.float32, torch.float64):
        # NumPy sorts thirty times faster there
        ordered = torch.from_numpy(np.sort(ordered.numpy(), axis=1)).flip(1)
    else:
        ordered = ordered.sort(1, descending=True).values
    pixels = ordered.shape[1]
    lowest = ordered.new_full((len(maps),), -torch.inf)
    ranks = [round(float(p) * pixels) for p in fractions]
    return torch.stack([ordered[:, rank] if rank < pixels else lowest for rank in ranks])


def _blend(images: Tensor, chosen: Tensor, fill: Tensor, insert: bool, strength: float) -> Tensor:
    """Images whose `chosen` [N,H,W] pixels move to the fill (insert: all but those).

    All the way if `strength` is 1.
    """
    altered = fill if strength == 1 else images + strength * (fill - images)
    chosen = chosen[:, None]
    return torch.where(~chosen if insert else chosen, altered, images)


def delete(
    images: Tensor,
    maps: Tensor,
    fraction: float,
    fill: Tensor | float | Sequence[float],
    *,
    strength: float = 1.0,
) -> Tensor:
    """Images [N,C,H,W] without the `fraction` most important pixels.

    The released rule of paper Sign, section 4.2. The threshold is the map's value at rank
    round(fraction * H*W) in descending order; pixels strictly above it and not zero take the fill
    in all channels, so ties at the threshold stay and fraction 1 deletes all that is not zero. Maps
    are taken as they come. `strength` below 1 moves a pixel only that share of the way to the fill.
    """
    fill = _check(images, maps, (fraction,), fill)
    chosen = (maps > _thresholds(maps, (fraction,))[0][:, None, None]) & (maps != 0)
    return _blend(images, chosen, fill, False, strength)


def altered_logits(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    *,
    fill: Tensor | float | Sequence[float],
    fractions: Sequence[float] = PAPER_FRACTIONS,
    insert: bool = False,
    batch_size: int = 256,
    strength: float = 1.0,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each batch: its place, the logits [n,K] of the images, and [F,n,K] of the altered images.

    What `allegiance` and `class_scores` are computed from, with their options. Each map is sorted
    once. The sets of chosen pixels are nested, so an image whose set has not grown since the last
    fraction keeps its logits without another forward pass.
    """
    fill = _check(images, maps, fractions, fill)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}.")
    for start in range(0, len(images), batch_size):
        place = slice(start, start + batch_size)
        batch, scores = images[place].contiguous(memory_format=torch.channels_last), maps[place]
        yield place, *_curve(model, batch, scores, fill, fractions, insert, strength)


@torch.no_grad()
def _curve(
    model: nn.Module,
    batch: Tensor,
    scores: Tensor,
    fill: Tensor,
    fractions: Sequence[float],
    insert: bool,
    strength: float,
) -> tuple[Tensor, Tensor]:
    """Logits of one batch [n,K] and along its curve [F,n,K].

    At return the model's mode and the caller's grad mode are back.
    """
    with evaluating(model):
        # the copy lets a model begin with an in-place operation
        original = current = model(batch.clone())
        rows = []
        # pixels chosen so far: a canvas is always new, an untouched image is not
        before: Tensor | int = -1 if insert else 0
        for threshold in _thresholds(scores, fractions):
            chosen = (scores > threshold[:, None, None]) & (scores != 0)
            count = chosen.flatten(1).sum(1)
            grown = count > before
            if grown.all():
                current = model(_blend(batch, chosen, fill, insert, strength))
            elif grown.any():
                current = current.clone()
                current[grown] = model(_blend(batch[grown], chosen[grown], fill, insert, strength))
            rows.append(current)
            before = count
        return original, torch.stack(rows)


def allegiance(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    *,
    fill: Tensor | float | Sequence[float],
    fractions: Sequence[float] = PAPER_FRACTIONS,
    insert: bool = False,
    batch_size: int = 256,
    strength: float = 1.0,
) -> Tensor:
    """Bool [F,N]: is the predicted class still that of the unaltered image?

    Paper Sign, section 4.2, Figs. 3 and 4. `insert=True` starts from a canvas of `fill` and reveals
    the same pixels in the same order; `strength` as in `delete`.
    """
    out = torch.empty(len(fractions), len(images), dtype=torch.bool, device=images.device)
    for place, original, altered in altered_logits(
        model,
        images,
        maps,
        fill=fill,
        fractions=fractions,
        insert=insert,
        batch_size=batch_size,
        strength=strength,
    ):
        out[:, place] = altered.argmax(2) == original.argmax(1)
    return out


def class_scores(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    *,
    fill: Tensor | float | Sequence[float],
    fractions: Sequence[float] = PAPER_FRACTIONS,
    insert: bool = False,
    batch_size: int = 256,
    strength: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Softmax probability and logit, each [F,N], of the class predicted for the unaltered image.

    Options as in `allegiance`.
    """
    probability = torch.empty(len(fractions), len(images), dtype=images.dtype, device=images.device)
    logit = torch.empty_like(probability)
    for place, original, altered in altered_logits(
        model,
        images,
        maps,
        fill=fill,
        fractions=fractions,
        insert=insert,
        batch_size=batch_size,
        strength=strength,
    ):
        index = original.argmax(1).expand(len(altered), -1)[..., None]
        probability[:, place] = altered.softmax(2).gather(2, index)[..., 0]
        logit[:, place] = altered.gather(2, index)[..., 0]
    return probability, logit


def auc(fractions: Sequence[float], values: Tensor) -> Tensor | float:
    """Area under values [F] (a float) or [F,N] (a tensor [N]) by the trapezoid rule.

    Neither rescaled nor extended to 1.
    """
    values = torch.as_tensor(values)
    if values.ndim not in (1, 2) or len(values) != len(fractions):
        raise ValueError(
            f"values have shape {tuple(values.shape)}; they must be [F] or [F,N] with "
            f"F = {len(fractions)} fractions."
        )
    if sorted(fractions) != list(fractions):
        raise ValueError(f"fractions must ascend; got {tuple(fractions)}.")
    values = values if values.is_floating_point() else values.double()
    places = torch.as_tensor(fractions, dtype=values.dtype, device=values.device)
    area = torch.trapezoid(values, places, dim=0)
    return area.item() if values.ndim == 1 else area


def occlude_pixels(
    images: Tensor,
    maps: Tensor,
    fraction: float,
    fill: Tensor | float | Sequence[float],
    *,
    keep: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Images whose round(fraction * H*W) most important pixels take the fill (ROAR).

    With `keep`, they alone keep their own values (KAR). Paper Noise, section 5.3. As released,
    noise of scale 1e-4 from `generator` (None: a fresh one with seed 0) is added to the maps, so
    that equal values fall in a random order.
    """
    fill = _check(images, maps, (fraction,), fill)
    generator = generator or torch.Generator().manual_seed(0)
    noise = torch.randn(maps.shape, generator=generator, device=generator.device).to(maps)
    order = (maps + 1e-4 * noise).flatten(1).argsort(1, descending=True)
    count = round(float(fraction) * order.shape[1])
    chosen = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, :count], True)
    return _blend(images, chosen.view_as(maps), fill, keep, 1.0)
