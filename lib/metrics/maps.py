"""What a map is like.

Its total variation, how much of it lies off the object, how alike two maps are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..attribution.graph import check_tensor, numbers_of
from .statistics import spearman_rows


def total_variation(maps: Tensor) -> Tensor:
    """Sum of the absolute differences between horizontal and vertical neighbours.

    Parameters
    ----------
    maps : Tensor
        [N,H,W].

    Returns
    -------
    Tensor
        [N], in the unit of the maps; of narrower ones in float32.

    Raises
    ------
    ValueError
        For what is no [N,H,W], and for NaN or infinite values.

    References
    ----------
    Paper Noise, section 5.3, Fig. 8 bottom.

    Examples
    --------
    >>> import torch
    >>> total_variation(torch.tensor([[[1.0, 4.0], [2.0, 0.0]]])).item()
    10.0
    """
    check_tensor(maps)
    maps = numbers_of(maps, infinite=False)
    return maps.diff(dim=1).abs().sum((1, 2)) + maps.diff(dim=2).abs().sum((1, 2))


def attribution_outside(maps: Tensor, masks: Tensor, share: bool = False) -> Tensor:
    """Sum of `|map|` off the object.

    Parameters
    ----------
    maps : Tensor
        [N,H,W].
    masks : Tensor
        Bool [N,H,W], True on the object.
    share : bool
        Divide by the sum over the whole map; a map of zeros has share 0.

    Returns
    -------
    Tensor
        [N], in the unit of the maps, or a share; of narrower ones in float32.

    Raises
    ------
    ValueError
        For maps and masks that are not of one shape, and for NaN or infinite values.

    References
    ----------
    Paper Noise, section 5.3, Fig. 8 top.

    Examples
    --------
    >>> import torch
    >>> maps, masks = torch.tensor([[[1.0, -3.0]]]), torch.tensor([[[True, False]]])
    >>> attribution_outside(maps, masks).item(), attribution_outside(maps, masks, True).item()
    (3.0, 0.75)
    """
    check_tensor(maps)
    if not isinstance(masks, Tensor):
        raise ValueError(f"masks must be a bool tensor [N,H,W]; got {type(masks).__name__}.")
    if masks.shape != maps.shape or masks.dtype != torch.bool:
        raise ValueError(
            f"maps and masks must be [N,H,W] of one shape, masks bool; got {tuple(maps.shape)} "
            f"and {tuple(masks.shape)} {masks.dtype}."
        )
    size = numbers_of(maps, infinite=False).abs()
    outside = (size * ~masks).sum((1, 2))
    if not share:
        return outside
    whole = size.sum((1, 2))
    return torch.where(whole > 0, outside / torch.where(whole > 0, whole, 1), 0)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of two maps, image by image.

    Ties share their mean rank, a constant map gives 0.

    Parameters
    ----------
    first, second : Tensor
        [N,H,W] each, in any unit.

    Returns
    -------
    Tensor
        [N], float64, from -1 to 1.

    Raises
    ------
    ValueError
        For maps that are not of one shape, and for NaN.

    Examples
    --------
    >>> import torch
    >>> first = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> rank_correlation(first, first.exp()).round(decimals=6).item()
    1.0
    """
    check_tensor(first)
    check_tensor(second)
    if first.shape != second.shape:
        raise ValueError(
            f"maps must be two tensors [N,H,W] of one shape; got {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
    rows = [numbers_of(maps).flatten(1).double().cpu().numpy() for maps in (first, second)]
    # a constant map has no rank correlation, and counts as not at all alike
    return torch.from_numpy(spearman_rows(*rows)).nan_to_num(0).to(first.device)
