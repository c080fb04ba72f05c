"""What a map is like.

Its total variation, how much of it lies off the object, how alike two maps are.
"""

from __future__ import annotations

import torch
from scipy.stats import rankdata
from torch import Tensor


def total_variation(maps: Tensor) -> Tensor:
    """Sum of the absolute differences between horizontal and vertical neighbours, [N].

    Paper Noise, section 5.3, Fig. 8 bottom.
    """
    if maps.ndim != 3:
        raise ValueError(f"maps must be [N,H,W]; got shape {tuple(maps.shape)}.")
    return maps.diff(dim=1).abs().sum((1, 2)) + maps.diff(dim=2).abs().sum((1, 2))


def attribution_outside(maps: Tensor, masks: Tensor, share: bool = False) -> Tensor:
    """Sum of |map| where the mask [N,H,W] is False, off the object, [N].

    Paper Noise, section 5.3, Fig. 8 top. `share=True` divides by the sum over the whole map; a
    map of zeros has share 0.
    """
    if maps.ndim != 3 or masks.shape != maps.shape or masks.dtype != torch.bool:
        raise ValueError(
            f"maps and masks must be [N,H,W] of one shape, masks bool; got {tuple(maps.shape)} "
            f"and {tuple(masks.shape)} {masks.dtype}."
        )
    size = maps.abs()
    outside = (size * ~masks).sum((1, 2))
    if not share:
        return outside
    whole = size.sum((1, 2))
    return torch.where(whole > 0, outside / torch.where(whole > 0, whole, 1), 0)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of two maps [N,H,W], image by image, [N].

    Ties share their mean rank, a constant map gives 0.
    """
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(
            f"maps must be two tensors [N,H,W] of one shape; got {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
    ranks = [
        torch.from_numpy(rankdata(m.flatten(1).double().cpu().numpy(), axis=1))
        for m in (first, second)
    ]
    ranks = [r - r.mean(1, keepdim=True) for r in ranks]
    norm = ranks[0].norm(dim=1) * ranks[1].norm(dim=1)
    correlation = (ranks[0] * ranks[1]).sum(1) / norm.clamp(min=1e-300)
    return torch.where(norm > 0, correlation, 0).to(first.device)
