"""The published methods by name, and how an attribution [N,C,H,W] becomes a map [N,H,W]."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .gradients import (
    active,
    inactive,
    input_x_gradient,
    integrated_gradients,
    negative,
    positive,
    saliency,
    smoothgrad,
)
from .graph import check_tensor, numbers_of
from .ruled import deconvolution, deeplift, epsilon_lrp, guided_backprop, rectgrad, rectgrad_prr


class Method(NamedTuple):
    """An entry of `METHODS`: the function, its label in figures and its source.

    `reduce` is how each paper turns the attribution into a map.
    """

    function: Callable[..., Tensor]
    label: str
    reference: str
    reduce: dict[str, str]


_REDUCE = {"sign": "absmax", "noise": "sum"}
_ALWAYS_ABSMAX = {"sign": "absmax", "noise": "absmax"}


METHODS: dict[str, Method] = {
    "saliency": Method(saliency, "Saliency map", "Simonyan et al. 2014; Sign eq. 2", _REDUCE),
    "positive": Method(positive, "Positive", "Sign eq. 3", _REDUCE),
    "negative": Method(negative, "Negative", "Sign eq. 4", _REDUCE),
    "active": Method(active, "Active", "Sign eq. 5", _ALWAYS_ABSMAX),
    "inactive": Method(inactive, "Inactive", "Sign eq. 6", _ALWAYS_ABSMAX),
    "input_x_gradient": Method(
        input_x_gradient, "Gradient * input", "Shrikumar et al. 2016", _REDUCE
    ),
    "smoothgrad": Method(smoothgrad, "SmoothGrad", "Smilkov et al. 2017", _REDUCE),
    "integrated_gradients": Method(
        integrated_gradients, "Integrated gradients", "Sundararajan et al. 2017", _REDUCE
    ),
    "deconvolution": Method(
        deconvolution, "Deconvolution", "Zeiler & Fergus 2014; Noise eq. 3", _REDUCE
    ),
    "guided_backprop": Method(
        guided_backprop, "Guided backpropagation", "Springenberg et al. 2015; Noise eq. 5", _REDUCE
    ),
    "rectgrad": Method(rectgrad, "RectGrad", "Noise section 4.1", _REDUCE),
    "rectgrad_prr": Method(rectgrad_prr, "RectGrad PRR", "Noise appendix C.2", _REDUCE),
    "epsilon_lrp": Method(
        epsilon_lrp, "Epsilon-LRP", "Bach et al. 2015; Ancona et al. 2018", _REDUCE
    ),
    "deeplift": Method(deeplift, "DeepLIFT", "Shrikumar et al. 2017", _REDUCE),
}


_REDUCERS: dict[str, Callable[[Tensor], Tensor]] = {
    "absmax": lambda a: a.abs().amax(1),
    "sum": lambda a: a.sum(1, dtype=torch.promote_types(a.dtype, torch.float32)),
    "max": lambda a: a.amax(1),
}


def to_map(attributions: Tensor, reduce: str) -> Tensor:
    """Attributions as maps, reduced over the channels.

    Parameters
    ----------
    attributions : Tensor
        [N,C,H,W].
    reduce : str
        "absmax", the largest absolute value (paper Sign), "sum" (paper Noise) or "max".

    Returns
    -------
    Tensor
        [N,H,W], in the unit of the attributions; sums of narrower ones are in float32.

    Raises
    ------
    ValueError
        For another `reduce`, for what is no [N,C,H,W], and for NaN.

    Examples
    --------
    >>> import torch
    >>> attributions = torch.tensor([[[[1.0]], [[-5.0]]]])
    >>> [to_map(attributions, reduce).item() for reduce in ("absmax", "sum", "max")]
    [5.0, -4.0, 1.0]
    """
    if reduce not in _REDUCERS:
        raise ValueError(f"unknown reduce {reduce!r}; accepted are {', '.join(_REDUCERS)}.")
    check_tensor(attributions, "attributions", "[N,C,H,W]")
    maps = _REDUCERS[reduce](attributions)
    if maps.isnan().any():
        raise ValueError("attributions contain NaN; a map needs a number for every pixel.")
    return maps


def normalize(maps: Tensor) -> Tensor:
    """Each map stretched to [0,1] for display.

    A constant map becomes zeros (the released code makes it NaN).

    Parameters
    ----------
    maps : Tensor
        [N,H,W], in any unit.

    Returns
    -------
    Tensor
        [N,H,W], without a unit, in the dtype of the maps.

    Raises
    ------
    ValueError
        For what is no [N,H,W], and for NaN or infinite values.

    Examples
    --------
    >>> import torch
    >>> normalize(torch.tensor([[[1.0, 3.0], [2.0, 5.0]]])).tolist()
    [[[0.0, 0.5], [0.25, 1.0]]]
    """
    check_tensor(maps)
    values = numbers_of(maps, infinite=False).double()  # the difference of two may overflow
    low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    width = torch.where(high > low, high - low, 1)
    stretched = torch.where(high > low, (values - low) / width, 0)
    return stretched.to(maps.dtype if maps.is_floating_point() else torch.float64)
