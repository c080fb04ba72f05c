"""Metrics of attribution maps, and the intervals that go with them.

Images are [N,C,H,W], maps [N,H,W], per-image scores [N], curves [F,N] over fractions. A fill is a value in the units of
the images, a scalar or one a channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from lib.attribution import evaluating

PAPER_FRACTIONS = (0, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def _check(images: Tensor, maps: Tensor, fractions: Sequence[float], fill) -> Tensor:
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
    if (
        not values or not all(0 <= v <= 1 for v in values) or values != sorted(values)
    ):  # NaN fails the first
        raise ValueError(f"fractions must ascend within 0 and 1; got {tuple(fractions)}.")
    fill = torch.as_tensor(fill, dtype=images.dtype, device=images.device)
    if fill.ndim > 1 or fill.ndim == 1 and len(fill) != images.shape[1]:
        raise ValueError(
            f"fill has shape {tuple(fill.shape)}; it must be a scalar or one value for each of {images.shape[1]} channels."
        )
    return fill.reshape(1, -1, 1, 1)


def _thresholds(maps: Tensor, fractions: Sequence[float]) -> Tensor:
    """[F,N]: the value at rank round(p*H*W) of each map in descending order; -inf where the rank is past the last pixel."""
    ordered = maps.detach().flatten(1)
    if ordered.device.type == "cpu" and ordered.dtype in (
        torch.float32,
        torch.float64,
    ):  # NumPy sorts thirty times faster there
        ordered = torch.from_numpy(np.sort(ordered.numpy(), axis=1)).flip(1)
    else:
        ordered = ordered.sort(1, descending=True).values
    pixels = ordered.shape[1]
    lowest = ordered.new_full((len(maps),), -torch.inf)
    ranks = [round(float(p) * pixels) for p in fractions]
    return torch.stack([ordered[:, rank] if rank < pixels else lowest for rank in ranks])


def _blend(images: Tensor, chosen: Tensor, fill: Tensor, insert: bool, strength: float) -> Tensor:
    """Images whose `chosen` [N,H,W] pixels move to the fill (insert: all but those), all the way if `strength` is 1."""
    altered = fill if strength == 1 else images + strength * (fill - images)
    chosen = chosen[:, None]
    return torch.where(~chosen if insert else chosen, altered, images)


def delete(images: Tensor, maps: Tensor, fraction: float, fill, *, strength: float = 1.0) -> Tensor:
    """Images [N,C,H,W] without the `fraction` most important pixels: the released rule of paper Sign, section 4.2.

    The threshold is the map's value at rank round(fraction * H*W) in descending order; pixels strictly above it and not
    zero take the fill in all channels, so ties at the threshold stay and fraction 1 deletes all that is not zero. Maps
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
    fill,
    fractions: Sequence[float] = PAPER_FRACTIONS,
    insert: bool = False,
    batch_size: int = 256,
    strength: float = 1.0,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each batch: its place, the logits [n,K] of the images, and those of the altered images [F,n,K].

    What `allegiance` and `class_scores` are computed from, with their options. Each map is sorted once. The sets of chosen
    pixels are nested, so an image whose set has not grown since the last fraction keeps its logits without another
    forward pass.
    """
    fill = _check(images, maps, fractions, fill)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}.")
    for start in range(0, len(images), batch_size):
        place = slice(start, start + batch_size)
        batch, scores = images[place].contiguous(memory_format=torch.channels_last), maps[place]
        yield place, *_curve(model, batch, scores, fill, fractions, insert, strength)


@torch.no_grad()
def _curve(model, batch, scores, fill, fractions, insert, strength) -> tuple[Tensor, Tensor]:
    """Logits of one batch [n,K] and along its curve [F,n,K]; at return the model's mode and the caller's grad mode are back."""
    with evaluating(model):
        original = current = model(
            batch.clone()
        )  # the copy lets a model begin with an in-place operation
        rows, before = (
            [],
            -1 if insert else 0,
        )  # pixels chosen so far: a canvas is always new, an untouched image is not
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
    fill,
    fractions: Sequence[float] = PAPER_FRACTIONS,
    insert: bool = False,
    batch_size: int = 256,
    strength: float = 1.0,
) -> Tensor:
    """Bool [F,N]: is the predicted class still that of the unaltered image (paper Sign, section 4.2, Figs. 3 and 4)?

    `insert=True` starts from a canvas of `fill` and reveals the same pixels in the same order; `strength` as in `delete`.
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
    fill,
    fractions: Sequence[float] = PAPER_FRACTIONS,
    insert: bool = False,
    batch_size: int = 256,
    strength: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Softmax probability and logit, each [F,N], of the class predicted for the unaltered image; options as in `allegiance`."""
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


def auc(fractions: Sequence[float], values: Tensor):
    """Area under values [F] (a float) or [F,N] (a tensor [N]) by the trapezoid rule, neither rescaled nor extended to 1."""
    values = torch.as_tensor(values)
    if values.ndim not in (1, 2) or len(values) != len(fractions):
        raise ValueError(
            f"values have shape {tuple(values.shape)}; they must be [F] or [F,N] with F = {len(fractions)} fractions."
        )
    if sorted(fractions) != list(fractions):
        raise ValueError(f"fractions must ascend; got {tuple(fractions)}.")
    values = values if values.is_floating_point() else values.double()
    area = torch.trapezoid(
        values, torch.as_tensor(fractions, dtype=values.dtype, device=values.device), dim=0
    )
    return area.item() if values.ndim == 1 else area


def total_variation(maps: Tensor) -> Tensor:
    """Sum of the absolute differences between horizontal and vertical neighbours, [N] (paper Noise, section 5.3, Fig. 8 bottom)."""
    if maps.ndim != 3:
        raise ValueError(f"maps must be [N,H,W]; got shape {tuple(maps.shape)}.")
    return maps.diff(dim=1).abs().sum((1, 2)) + maps.diff(dim=2).abs().sum((1, 2))


def attribution_outside(maps: Tensor, masks: Tensor, share: bool = False) -> Tensor:
    """Sum of |map| where the mask [N,H,W] is False, off the object, [N] (paper Noise, section 5.3, Fig. 8 top).

    `share=True` divides by the sum over the whole map; a map of zeros has share 0.
    """
    if maps.ndim != 3 or masks.shape != maps.shape or masks.dtype != torch.bool:
        raise ValueError(
            f"maps and masks must be [N,H,W] of one shape, masks bool; got {tuple(maps.shape)} and {tuple(masks.shape)} {masks.dtype}."
        )
    size = maps.abs()
    outside = (size * ~masks).sum((1, 2))
    if not share:
        return outside
    whole = size.sum((1, 2))
    return torch.where(whole > 0, outside / torch.where(whole > 0, whole, 1), 0)


def occlude_pixels(
    images: Tensor,
    maps: Tensor,
    fraction: float,
    fill,
    *,
    keep: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Images whose round(fraction * H*W) most important pixels take the fill (ROAR), or keep alone their own values (KAR, `keep`).

    Paper Noise, section 5.3. As released, noise of scale 1e-4 from `generator` (None: a fresh one with seed 0) is added to
    the maps, so that equal values fall in a random order.
    """
    fill = _check(images, maps, (fraction,), fill)
    generator = generator or torch.Generator().manual_seed(0)
    noise = torch.randn(maps.shape, generator=generator, device=generator.device).to(maps)
    order = (maps + 1e-4 * noise).flatten(1).argsort(1, descending=True)
    count = round(float(fraction) * order.shape[1])
    chosen = (
        torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, :count], True).view_as(maps)
    )
    return _blend(images, chosen, fill, keep, 1.0)


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share, by Wilson's score (1927)."""
    share, centre = successes / n, (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * (n * share * (1 - share) + z * z / 4) ** 0.5
    return centre - half, centre + half


def bootstrap(
    values: Tensor, resamples: int = 2000, generator: torch.Generator | None = None
) -> tuple[float, float]:
    """95 % percentile interval of the mean of values [N], resampled over images.

    Equal values are drawn together, by one multinomial count a resample: the same distribution, and far fewer draws.
    """
    seed = torch.randint(2**31, (), generator=generator or torch.Generator().manual_seed(0)).item()
    distinct, counts = np.unique(torch.as_tensor(values).double().cpu().numpy(), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(
        counts.sum(), counts / counts.sum(), size=resamples
    )
    low, high = np.quantile(drawn @ distinct / counts.sum(), [0.025, 0.975])
    return float(low), float(high)


def median_interval(values: Tensor) -> tuple[float, float]:
    """95 % interval of the median of values [N], from its order statistics: free of any distribution."""
    from scipy.stats import binom

    ordered = np.sort(torch.as_tensor(values).double().cpu().numpy())
    low, high = binom.ppf([0.025, 0.975], len(ordered), 0.5).astype(int)
    return float(ordered[max(low - 1, 0)]), float(ordered[min(high, len(ordered) - 1)])


def bootstrap_of(
    statistic, *columns: Tensor, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Value and 95 % percentile interval of `statistic(*columns)`, a number, over images resampled jointly.

    Each column is [...,N] with the images last; `statistic` takes NumPy arrays of that shape, so a minimum over methods is
    taken within each resample. Columns of another N are other images, resampled by themselves.
    """
    arrays = [torch.as_tensor(c).double().cpu().numpy() for c in columns]
    counts, rng = dict.fromkeys(a.shape[-1] for a in arrays), np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        index = {count: rng.integers(count, size=count) for count in counts}
        drawn.append(statistic(*(a[..., index[a.shape[-1]]] for a in arrays)))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(statistic(*arrays)), float(low), float(high)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two rows of numbers; ties share their mean rank, NaN where one row is constant."""
    a, b = rankdata(first), rankdata(second)
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else float("nan")


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of two maps [N,H,W], image by image, [N]; ties share their mean rank, a constant map gives 0."""
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(
            f"maps must be two tensors [N,H,W] of one shape; got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    ranks = [
        torch.from_numpy(rankdata(m.flatten(1).double().cpu().numpy(), axis=1))
        for m in (first, second)
    ]
    ranks = [r - r.mean(1, keepdim=True) for r in ranks]
    norm = ranks[0].norm(dim=1) * ranks[1].norm(dim=1)
    return torch.where(norm > 0, (ranks[0] * ranks[1]).sum(1) / norm.clamp(min=1e-300), 0).to(
        first.device
    )
