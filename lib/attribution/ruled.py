"""Attributions that change the backward pass.

Deconvolution, guided backpropagation, RectGrad, epsilon-LRP and DeepLIFT.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from . import rules
from .engine import Engine, OtherShape
from .gradients import Baseline, _baseline
from .graph import (
    Mixed,
    Model,
    Target,
    as_percentile,
    as_targets,
    check_images,
    finite_number,
    in_parts,
    input_gradient,
    input_graph,
    logits,
    real_number,
    refuse_nan,
)
from .path import MAXIMA, warn


def ruled_gradient(
    model: Model, images: Tensor, target: Target, method: str, engine: Engine
) -> Tensor:
    """The target's gradient with the backward rules of an engine.

    Parameters
    ----------
    model, images, target
        As in `saliency`.
    method : str
        The name of the method, for messages.
    engine : Engine
        What has other rules.

    Returns
    -------
    Tensor
        [N,C,H,W].

    Raises
    ------
    ValueError
        For a network in which an operation cannot be seen or none has another rule, and as in
        `saliency`.
    """
    check_images(images)
    try:
        return _ruled_gradient(model, images, target, method, engine)
    except Mixed:
        each = [
            _ruled_gradient(model, image, its_target, method, engine)
            for image, its_target in in_parts(images, target, 1)
        ]
    return torch.cat(each)


def _ruled_gradient(
    model: Model, images: Tensor, target: Target, method: str, engine: Engine
) -> Tensor:
    with input_graph(model, images, method, engine) as (leaf, outputs):
        own = outputs.gather(1, as_targets(outputs, target)[:, None])
        gradient = input_gradient(own, leaf).contiguous()
        refuse_nan(images, outputs, gradient)
        return gradient


def deconvolution(model: Model, images: Tensor, target: Target = None) -> Tensor:
    """Gradient whose negative values are cut at every ReLU, whatever the forward pass did.

    Parameters and units are those of `saliency`.

    Returns
    -------
    Tensor
        [N,C,H,W].

    Raises
    ------
    ValueError
        For a network that calls no ReLU on the picture's way, and as in `saliency`.

    References
    ----------
    Zeiler & Fergus 2014; paper Noise, eq. 3.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten())
    >>> deconvolution(net, torch.tensor([[[[-1.0, 1.0]]]]), 0).tolist()
    [[[[1.0, 0.0]]]]
    """
    engine = Engine(rules.deconvolution, from_output=True)
    return ruled_gradient(model, images, target, "deconvolution", engine)


def guided_backprop(model: Model, images: Tensor, target: Target = None) -> Tensor:
    """Gradient whose negative values are cut at every ReLU that let something through.

    Parameters and units are those of `saliency`.

    Returns
    -------
    Tensor
        [N,C,H,W].

    Raises
    ------
    ValueError
        For a network that calls no ReLU on the picture's way, and as in `saliency`.

    References
    ----------
    Springenberg et al. 2015; paper Noise, eq. 5.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten())
    >>> guided_backprop(net, torch.tensor([[[[-1.0, 1.0]]]]), 1).tolist()
    [[[[0.0, 1.0]]]]
    """
    engine = Engine(rules.guided, from_output=True)
    return ruled_gradient(model, images, target, "guided backpropagation", engine)


def rectgrad(
    model: Model,
    images: Tensor,
    target: Target = None,
    *,
    q: float = 98.0,
    tau: float | None = None,
    rule: str = "PR1",
    eps: float = 0.0,
    padding_trick: bool = True,
    border: str = "padded",
    prr: bool = False,
    final_threshold: bool = True,
    multiply_input: bool = True,
) -> Tensor:
    """Rectified Gradient: the input times what comes back through important units alone.

    A unit with activation a and gradient R passes R if its score exceeds the threshold of its
    layer. Smooth activations (GELU, SiLU) multiply by their derivative.

    Parameters
    ----------
    model, images, target
        As in `saliency`.
    q : float
        The threshold is the q-th percentile of the scores of a layer, per image.
    tau : float, optional
        The threshold itself, in place of a percentile.
    rule : str
        The score: a R ("PR1"), `|a R|` ("PR2"), a ("PR3"), R ("PR4"), or "PR1+PR2", PR1 at the
        last activation and PR2 elsewhere (Fig. 17).
    eps : float
        Added to a in the score.
    padding_trick : bool
        Zero the border of the gradient entering zero-padded convolutions (appendix C.1).
    border : str
        How much of it: one pixel ("padded"), half the kernel ("half_kernel"), or one pixel at every
        convolution that keeps its size, 1x1 too ("released").
    prr : bool
        Redistribute through max pooling in proportion to the activations (appendix C.2).
    final_threshold : bool
        Set negative results to 0.
    multiply_input : bool
        End in the product with the picture, as the paper does. Under it a pixel of value 0
        (mid-grey where pixels run from -1 to 1) gets no attribution, and brighter or darker ones
        get more (Brocki and Chung 2020). Without it, what comes back is returned.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits; without `multiply_input` in logits a unit of the picture.

    Raises
    ------
    ValueError
        For options that are none of these, a `tau` or `eps` that is not finite, a network with
        nothing to change on the picture's way, and as in `saliency`.

    References
    ----------
    Paper Noise, section 4 and appendices B and C.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    >>> _ = net.requires_grad_(False)[2].weight.copy_(torch.tensor([[1.0, 2.0, -1.0], [0, 0, 0]]))
    >>> rectgrad(net, torch.tensor([[[[3.0, 2.0, 1.0]]]]), 0, q=50).tolist()
    [[[[0.0, 4.0, 0.0]]]]
    """
    q, eps = as_percentile(q), finite_number("eps", eps)
    tau = None if tau is None else finite_number("tau", tau)
    if rule not in (*rules.SCORES, "PR1+PR2"):
        raise ValueError(
            f"unknown rule {rule!r}; accepted are {', '.join(rules.SCORES)} and PR1+PR2."
        )
    if border not in ("padded", "half_kernel", "released"):
        raise ValueError(
            f"unknown border {border!r}; accepted are padded, half_kernel and released."
        )
    engine = Engine(
        partial(rules.rectgrad, q=q, tau=tau, rule=rule, eps=eps),
        smooth=True,
        max_pool=rules.proportional if prr else None,
        border=border if padding_trick else None,
        from_output=True,
        by_image=tau is None,
    )
    gradient = ruled_gradient(model, images, target, "RectGrad", engine)
    result = images.detach() * gradient if multiply_input else gradient
    return result.clamp(min=0) if final_threshold else result


def rectgrad_prr(model: Model, images: Tensor, target: Target = None, **options: Any) -> Tensor:
    """`rectgrad` with proportional redistribution (PRR) through max pooling.

    Parameters, errors and units are those of `rectgrad`.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits.

    References
    ----------
    Paper Noise, appendix C.2.

    Examples
    --------
    >>> import torch
    >>> pool = torch.nn.MaxPool2d((1, 2))
    >>> net = torch.nn.Sequential(torch.nn.ReLU(), pool, torch.nn.Flatten())
    >>> rectgrad_prr(net, torch.tensor([[[[3.0, 1.0]]]]), 1, tau=0).round(decimals=4).tolist()
    [[[[2.25, 0.25]]]]
    """
    return rectgrad(model, images, target, prr=True, **options)


def epsilon_lrp(
    model: Model, images: Tensor, target: Target = None, *, epsilon: float = 1e-4
) -> Tensor:
    """Layer-wise relevance propagation with the epsilon rule.

    It is written as a gradient (Ancona et al. 2018). Relevance starts as the target's logit. On
    ReLU networks it tends to input * gradient as `epsilon` goes to 0.

    Parameters
    ----------
    model, images, target
        As in `saliency`.
    epsilon : float
        Added to the size of every activation's input, in its own unit.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits.

    Raises
    ------
    ValueError
        For an epsilon that is not above 0, a network that calls no activation on the picture's way,
        and as in `saliency`.

    References
    ----------
    Bach et al. 2015.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten())
    >>> epsilon_lrp(net, torch.tensor([[[[3.0, 1.0]]]]), 0, epsilon=1.0).tolist()
    [[[[2.25, 0.0]]]]
    """
    epsilon = real_number("epsilon", epsilon, above=True)
    rule = partial(rules.epsilon_lrp, epsilon=epsilon)
    engine = Engine(rule, smooth=True, from_output=True)
    gradient = ruled_gradient(model, images, target, "epsilon-LRP", engine)
    return images.detach() * gradient


def deeplift(
    model: Model,
    images: Tensor,
    target: Target = None,
    *,
    baseline: Baseline = None,
    max_pool: str = "gradient",
) -> Tensor:
    """DeepLIFT with the Rescale rule: contributions to the logit's difference from the baseline's.

    A baseline that all images share goes through the network once. Rescale is right for any
    function of one number; norms by statistics of the picture (layer, group, instance, local
    response) and products of activations (gates) keep their plain gradient, are named in a warning,
    and do not add up.

    Parameters
    ----------
    model, images, target
        As in `saliency`.
    baseline : float, sequence of float or Tensor, optional
        As in `integrated_gradients`.
    max_pool : str
        "gradient" sends everything through the image's own maximum, as released with paper Noise,
        and does not add up; "rescale" makes contributions add up through max pooling too.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits.

    Raises
    ------
    ValueError
        For options that are none of these, a network that calls no activation on the picture's way
        or takes another way for the baseline, and as in `saliency`.

    Warns
    -----
    UserWarning
        For operations that keep their plain gradient, and where contributions do not add up to the
        logit's difference, but for max_pool="gradient".

    References
    ----------
    Shrikumar et al. 2017.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten())
    >>> deeplift(net, torch.tensor([[[[3.0, 1.0]]]]), 0, baseline=-1.0).tolist()
    [[[[3.0, 0.0]]]]
    """
    if max_pool not in ("gradient", "rescale"):
        raise ValueError(f"unknown max_pool {max_pool!r}; accepted are gradient and rescale.")
    check_images(images)
    images = images.detach()
    start = _baseline(images, baseline)
    try:
        return _deeplift(model, images, target, start, max_pool)
    except OtherShape:
        if len(start) == len(images):
            raise ValueError(_ANOTHER_WAY) from None
    try:
        # the batch is not where one baseline can stand for it
        return _deeplift(model, images, target, start.expand_as(images), max_pool)
    except OtherShape:
        raise ValueError(_ANOTHER_WAY) from None


_ANOTHER_WAY = (
    "DeepLIFT compares a picture with its baseline, operation by operation, and this network takes "
    "another way for the baseline; give a baseline for which it computes the same."
)
_APART = (
    "DeepLIFT's contributions do not add up to the difference of the logits on this network: they "
    "part by more than {} %; integrated_gradients adds up on any continuous network as its steps "
    "grow."
)


def _deeplift(model: Model, images: Tensor, target: Target, start: Tensor, max_pool: str) -> Tensor:
    through_pools = rules.rescale_max_pool if max_pool == "rescale" else None
    seen: list[Tensor] = []
    reference = Engine(smooth=True, elementwise=True, max_pool=through_pools, record=seen)
    with input_graph(model, start, "DeepLIFT", reference, check_batch=False) as (_, at_start):
        before = at_start.detach()
    if before.isnan().any():
        refuse_nan(images, logits(model, images))
        raise ValueError("the network returns NaN for the baseline; give another baseline.")
    engine = Engine(
        rules.rescale, smooth=True, elementwise=True, max_pool=through_pools, reference=seen
    )
    with input_graph(model, images, "DeepLIFT", engine) as (leaf, outputs):
        if engine.met != len(seen):
            raise OtherShape
        targets = as_targets(outputs, target)[:, None]
        own = outputs.gather(1, targets)
        multipliers = input_gradient(own, leaf)
        contributions = ((images - start) * multipliers).contiguous()
        refuse_nan(images, outputs, contributions)
        through_maxima = engine.path and not MAXIMA.isdisjoint(engine.path.names)
        if max_pool == "rescale" or not through_maxima:
            change = own.detach() - before.expand_as(outputs).gather(1, targets)
            _warn_where_apart(contributions, change[:, 0])
        return contributions


def _warn_where_apart(contributions: Tensor, change: Tensor) -> None:
    """Compare the sums of contributions [N,C,H,W] with the changes [N] of the logits."""
    coarse = torch.finfo(change.dtype).bits < 32 or torch.is_autocast_enabled(
        contributions.device.type
    )
    share = 0.1 if coarse else 0.01
    wide = torch.promote_types(contributions.dtype, torch.float32)
    size = contributions.abs().sum((1, 2, 3), dtype=wide)
    gap = (contributions.sum((1, 2, 3), dtype=wide) - change).abs()
    if bool((gap > share * torch.maximum(change.abs(), share * size)).any()):
        warn(_APART.format(round(100 * share)))
