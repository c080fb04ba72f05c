"""Deleting, revealing and occluding the pixels that a map ranks first.

Paper Sign, section 4.2; ROAR and KAR.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..attribution.graph import (
    Model,
    check_alone,
    check_generator,
    check_images,
    check_tensor,
    logits,
    numbers_of,
    real_number,
    refuse_nan,
    whole_number,
)

Fill = Tensor | float | Sequence[float]

PAPER_FRACTIONS = (0, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def _check(
    images: Tensor, maps: Tensor, fractions: Sequence[float], fill: Fill
) -> tuple[Tensor, Tensor]:
    """Maps, and the fill [1,C|1,1,1], as tensors; ValueError for what does not fit together."""
    check_images(images)
    check_tensor(maps)
    expected = (images.shape[0], *images.shape[2:])
    if tuple(maps.shape) != expected:
        raise ValueError(
            f"maps have shape {tuple(maps.shape)}; for these images they must be {expected}."
        )
    maps = numbers_of(maps)
    values = _numbers(fractions)
    within = all(0 <= v <= 1 for v in values)  # NaN is not
    if not values or not within or values != sorted(values):
        raise ValueError(f"fractions must ascend within 0 and 1; got {tuple(fractions)}.")
    try:
        fill = torch.as_tensor(fill, dtype=images.dtype, device=images.device)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"fill is {fill!r}; {_fill_must(images)}.") from None
    if tuple(fill.shape) not in ((), (images.shape[1],), (images.shape[1], 1, 1)):
        raise ValueError(f"fill has shape {tuple(fill.shape)}; {_fill_must(images)}.")
    if not fill.isfinite().all():
        raise ValueError(f"fill is {fill.tolist()}; {_fill_must(images)}, all finite.")
    return maps, fill.reshape(1, -1, 1, 1)


def _numbers(fractions: Sequence[float]) -> list[float]:
    try:
        return [float(f) for f in fractions]
    except (TypeError, ValueError):
        raise ValueError(
            f"fractions must be several numbers that ascend within 0 and 1; got {fractions!r}."
        ) from None


def _strength(value: float) -> float:
    strength = real_number("strength", value)
    if strength > 1:
        raise ValueError(f"strength is {value!r}; it must be at most 1, the whole way.")
    return strength


def _fill_must(images: Tensor) -> str:
    return f"it must be a scalar or one value for each of {images.shape[1]} channels"


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
    fill: Fill,
    *,
    strength: float = 1.0,
) -> Tensor:
    """Images without their most important pixels.

    The threshold is the map's value at rank round(fraction * H*W) in descending order; pixels
    strictly above it and not zero take the fill in all channels, so ties at the threshold stay and
    fraction 1 deletes all that is not zero. Maps are taken as they come.

    Parameters
    ----------
    images : Tensor
        [N,C,H,W].
    maps : Tensor
        [N,H,W], in any unit; no NaN.
    fraction : float
        Share of the pixels, from 0 to 1.
    fill : float, sequence of float or Tensor
        What deleted pixels become, in the units of the images: one value, or one a channel
        ([C] or [C,1,1]).
    strength : float
        Below 1 a pixel moves only that share of the way to the fill.

    Returns
    -------
    Tensor
        [N,C,H,W].

    Raises
    ------
    ValueError
        For what does not fit together.

    References
    ----------
    Paper Sign, section 4.2, as released.

    Examples
    --------
    >>> import torch
    >>> images = torch.tensor([[[[5.0, 6.0, 7.0, 8.0]]]])
    >>> delete(images, torch.tensor([[[4.0, 1.0, 3.0, 2.0]]]), 0.5, 0).tolist()
    [[[[0.0, 6.0, 0.0, 8.0]]]]
    """
    maps, fill = _check(images, maps, (fraction,), fill)
    strength = _strength(strength)
    chosen = (maps > _thresholds(maps, (fraction,))[0][:, None, None]) & (maps != 0)
    return _blend(images, chosen, fill, False, strength)


def altered_logits(
    model: Model,
    images: Tensor,
    maps: Tensor,
    *,
    fill: Fill,
    fractions: Sequence[float] = PAPER_FRACTIONS,
    insert: bool = False,
    batch_size: int = 256,
    strength: float = 1.0,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Logits along a deletion curve: what `allegiance` and `class_scores` are computed from.

    Each map is sorted once. The sets of chosen pixels are nested, so an image whose set has not
    grown since the last fraction keeps its logits without another forward pass.

    Parameters
    ----------
    model : callable
        A network, as in `lib.attribution.logits`.
    images : Tensor
        [N,C,H,W], in the model's own input range.
    maps : Tensor
        [N,H,W], in any unit; no NaN.
    fill : float, sequence of float or Tensor
        What deleted pixels become, in the units of the images: one value, or one a channel
        ([C] or [C,1,1]).
    fractions : sequence of float
        Shares of the pixels, ascending within 0 and 1.
    insert : bool
        Start from a canvas of `fill` and reveal the same pixels in the same order.
    batch_size : int
        How many images go through the network at once.
    strength : float
        As in `delete`.

    Yields
    ------
    tuple
        For each batch: its place (a slice), the logits [n,K] of the images, and [F,n,K] of the
        altered images.

    Raises
    ------
    ValueError
        For what does not fit together, and what `lib.attribution.logits` refuses.

    Examples
    --------
    >>> import torch
    >>> images = torch.ones(1, 1, 1, 2)
    >>> net, maps = (lambda x: x.sum((2, 3)) * torch.tensor([1.0, -1.0])), torch.rand(1, 1, 2)
    >>> for place, _, altered in altered_logits(net, images, maps, fill=0.0, fractions=(0, 1)):
    ...     altered[:, 0, 0].tolist()
    [2.0, 0.0]
    """
    fractions = _numbers(fractions)
    maps, fill = _check(images, maps, fractions, fill)
    strength = _strength(strength)
    batch_size = whole_number("batch_size", batch_size)
    for start in range(0, len(images), batch_size):
        place = slice(start, start + batch_size)
        batch, scores = images[place].detach(), maps[place]
        original, altered = _curve(model, batch, scores, fill, fractions, insert, strength)
        if start == 0:
            check_alone(model, batch, original)
        yield place, original, altered


@torch.no_grad()
def _curve(
    model: Model,
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
    original = current = logits(model, batch)
    refuse_nan(batch, original)
    rows = []
    # pixels chosen so far: a canvas is always new, an untouched image is not
    before: Tensor | int = -1 if insert else 0
    for threshold in _thresholds(scores, fractions):
        chosen = (scores > threshold[:, None, None]) & (scores != 0)
        count = chosen.flatten(1).sum(1)
        grown = count > before
        if grown.all():
            current = logits(model, _blend(batch, chosen, fill, insert, strength))
        elif grown.any():
            some = _blend(batch[grown], chosen[grown], fill, insert, strength)
            current = current.clone()
            current[grown] = logits(model, some)
        rows.append(current)
        before = count
    return original, torch.stack(rows)


def allegiance(
    model: Model,
    images: Tensor,
    maps: Tensor,
    *,
    fill: Fill,
    fractions: Sequence[float] = PAPER_FRACTIONS,
    insert: bool = False,
    batch_size: int = 256,
    strength: float = 1.0,
) -> Tensor:
    """Is the predicted class still that of the unaltered image?

    Parameters and errors are those of `altered_logits`.

    Returns
    -------
    Tensor
        Bool [F,N].

    References
    ----------
    Paper Sign, section 4.2, Figs. 3 and 4.

    Examples
    --------
    >>> import torch
    >>> images = torch.ones(1, 1, 1, 2)
    >>> net, maps = (lambda x: x.sum((1, 2, 3))[:, None] - 1), torch.tensor([[[2.0, 1.0]]])
    >>> allegiance(net, images, maps, fill=0.0, fractions=(0, 0.5, 1)).flatten().tolist()
    [True, False, False]
    """
    check_images(images)
    fractions = _numbers(fractions)  # what may be read once alone
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
    model: Model,
    images: Tensor,
    maps: Tensor,
    *,
    fill: Fill,
    fractions: Sequence[float] = PAPER_FRACTIONS,
    insert: bool = False,
    batch_size: int = 256,
    strength: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Probability and logit of the class predicted for the unaltered image.

    Parameters and errors are those of `altered_logits`.

    Returns
    -------
    tuple of Tensor
        Softmax probability and logit, each [F,N]. Of a network with one logit z: the sigmoid of z,
        and z, where it decides for, else of -z, and 0.

    Examples
    --------
    >>> import torch
    >>> images = torch.ones(1, 1, 1, 2)
    >>> net, maps = (lambda x: x.sum((1, 2, 3))[:, None] - 1), torch.tensor([[[2.0, 1.0]]])
    >>> _, logit = class_scores(net, images, maps, fill=0.0, fractions=(0, 0.5, 1))
    >>> logit.flatten().tolist()
    [1.0, 0.0, -1.0]
    """
    check_images(images)
    fractions = _numbers(fractions)  # what may be read once alone
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
    """Area under a curve by the trapezoid rule, neither rescaled nor extended to 1.

    Parameters
    ----------
    fractions : sequence of float
        F places, ascending.
    values : Tensor
        [F] or [F,N].

    Returns
    -------
    float or Tensor
        A float for [F], [N] for [F,N], in the unit of the values.

    Raises
    ------
    ValueError
        For values of another shape, NaN among them, and fractions that do not ascend.

    Examples
    --------
    >>> import torch
    >>> auc((0, 0.5, 1), torch.tensor([1.0, 0.0, 0.0]))
    0.25
    """
    values, fractions = torch.as_tensor(values), _numbers(fractions)
    if values.ndim not in (1, 2) or len(values) != len(fractions):
        raise ValueError(
            f"values have shape {tuple(values.shape)}; they must be [F] or [F,N] with "
            f"F = {len(fractions)} fractions."
        )
    if sorted(fractions) != fractions or np.isnan(fractions).any():
        raise ValueError(f"fractions must ascend; got {tuple(fractions)}.")
    if values.isnan().any():
        raise ValueError("values contain NaN, and a curve with a gap has no area; leave it out.")
    wide = torch.promote_types(values.dtype, torch.float32)  # half precision adds up to inf
    values = values.to(wide) if values.is_floating_point() else values.double()
    places = torch.as_tensor(fractions, dtype=values.dtype, device=values.device)
    area = torch.trapezoid(values, places, dim=0)
    return area.item() if values.ndim == 1 else area


def pixel_order(
    maps: Tensor, *, noise: float | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Each pixel's place in its map, the most important first; equal values in a random order.

    Parameters
    ----------
    maps : Tensor
        [N,H,W], in any unit; no NaN.
    noise : float, optional
        Standard deviation of Gaussian noise that is added to the maps, in their unit: 1e-4 in the
        released code of paper Noise, which drowns maps of that size and below. None decides between
        equal values alone, whatever the unit.
    generator : torch.Generator, optional
        What the order of equal values, or the noise, is drawn from; None means a fresh one with
        seed 0.

    Returns
    -------
    Tensor
        int64 [N,H,W], from 0 to H*W - 1.

    Raises
    ------
    ValueError
        For what is no [N,H,W], for NaN, and for noise that is not above 0.

    References
    ----------
    Paper Noise, section 5.3.

    Examples
    --------
    >>> import torch
    >>> pixel_order(torch.tensor([[[1e-9, 3e-9], [2e-9, 4e-9]]])).tolist()
    [[[3, 1], [2, 0]]]
    """
    check_tensor(maps)
    if noise is not None and not 0 < noise < torch.inf:
        raise ValueError(f"noise is {noise!r}; it must be None or a number above 0.")
    check_generator(generator)
    values = numbers_of(maps).flatten(1)
    generator = generator or torch.Generator().manual_seed(0)
    drawn = torch.randn(maps.shape, generator=generator, device=generator.device)
    drawn = drawn.to(values).flatten(1)
    if noise is None:
        order = drawn.argsort(1, descending=True)
        ranked = values.gather(1, order).argsort(dim=1, descending=True, stable=True)
        order = order.gather(1, ranked)
    else:
        order = (values + noise * drawn).argsort(dim=1, descending=True, stable=True)
    return order.argsort(1).view(maps.shape)


def occlude_pixels(
    images: Tensor,
    maps: Tensor,
    fraction: float,
    fill: Fill,
    *,
    keep: bool = False,
    generator: torch.Generator | None = None,
    noise: float | None = None,
) -> Tensor:
    """Images whose round(fraction * H*W) most important pixels take the fill (ROAR).

    Parameters
    ----------
    images : Tensor
        [N,C,H,W].
    maps : Tensor
        [N,H,W], in any unit; no NaN.
    fraction : float
        Share of the pixels, from 0 to 1.
    fill : float, sequence of float or Tensor
        What occluded pixels become, in the units of the images: one value, or one a channel
        ([C] or [C,1,1]).
    keep : bool
        The pixels keep their own values and all others take the fill (KAR).
    generator, noise
        As in `pixel_order`: without noise, equal values alone fall in a random order; noise=1e-4 is
        the released rule.

    Returns
    -------
    Tensor
        [N,C,H,W].

    Raises
    ------
    ValueError
        For what does not fit together.

    References
    ----------
    Paper Noise, section 5.3.

    Examples
    --------
    >>> import torch
    >>> images = torch.tensor([[[[5.0, 6.0, 7.0, 8.0]]]])
    >>> maps = torch.tensor([[[4.0, 1.0, 3.0, 2.0]]])
    >>> occlude_pixels(images, maps, 0.5, 0).tolist()
    [[[[0.0, 6.0, 0.0, 8.0]]]]
    >>> occlude_pixels(images, maps, 0.5, 0, keep=True).tolist()
    [[[[5.0, 0.0, 7.0, 0.0]]]]
    """
    maps, fill = _check(images, maps, (fraction,), fill)
    places = pixel_order(maps, noise=noise, generator=generator)
    chosen = places < round(float(fraction) * maps[0].numel()) if len(maps) else maps > 0
    return _blend(images, chosen, fill, keep, 1.0)
