"""Attributions that change the backward pass.

Deconvolution, guided backpropagation, RectGrad, epsilon-LRP and DeepLIFT.
"""

from __future__ import annotations

import numbers
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from . import rules
from .engine import Engine
from .gradients import _baseline
from .graph import _check_images, as_targets, input_gradient, input_graph


def ruled_gradient(
    model: nn.Module, images: Tensor, target: Tensor | int | None, method: str, engine: Engine
) -> Tensor:
    """The target's gradient with the backward rules of `engine`, [N,C,H,W]."""
    with input_graph(model, images, method, engine) as (leaf, logits):
        own = logits.gather(1, as_targets(logits, target)[:, None])
        return input_gradient(own, leaf).contiguous()


def deconvolution(model: nn.Module, images: Tensor, target: Tensor | int | None = None) -> Tensor:
    """Gradient whose negative values are cut at every ReLU, [N,C,H,W] (Zeiler & Fergus 2014).

    They are cut whatever the forward pass did.
    """
    return ruled_gradient(model, images, target, "deconvolution", Engine(rules.deconvolution))


def guided_backprop(model: nn.Module, images: Tensor, target: Tensor | int | None = None) -> Tensor:
    """Gradient whose negative values are cut at every ReLU that let something through, [N,C,H,W].

    Springenberg et al. 2015.
    """
    return ruled_gradient(model, images, target, "guided backpropagation", Engine(rules.guided))


def rectgrad(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    q: float = 98.0,
    tau: float | None = None,
    rule: str = "PR1",
    eps: float = 0.0,
    padding_trick: bool = True,
    border: str = "padded",
    prr: bool = False,
    final_threshold: bool = True,
) -> Tensor:
    """Rectified Gradient: the input times what comes back through important units alone, [N,C,H,W].

    Paper Noise, section 4. A unit with activation a and gradient R passes R if its score exceeds
    the threshold of its layer. `rule`: the score, a R ("PR1"), |a R| ("PR2"), a ("PR3"), R ("PR4"),
    or "PR1+PR2", PR1 at the last activation and PR2 elsewhere (Fig. 17); `eps` is added to a.
    Threshold: the `q`-th percentile of the scores of the layer, per image, or `tau` where given.
    `padding_trick` zeroes the border of the gradient entering zero-padded convolutions (appendix
    C.1); `border`: one pixel ("padded"), half the kernel ("half_kernel"), or one pixel at every
    convolution that keeps its size, 1x1 too ("released"). `prr` redistributes through max pooling
    in proportion to the activations (appendix C.2). `final_threshold` sets negative results to 0.
    Smooth activations (GELU, SiLU) multiply by their derivative. Raises ValueError where there is
    nothing to change.
    """
    if not isinstance(q, numbers.Real) or not 0 <= q <= 100:
        raise ValueError(f"q is {q!r}; it must be a percentile between 0 and 100.")
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
    )
    result = images.detach() * ruled_gradient(model, images, target, "RectGrad", engine)
    return result.clamp_(min=0) if final_threshold else result


def rectgrad_prr(
    model: nn.Module, images: Tensor, target: Tensor | int | None = None, **options: Any
) -> Tensor:
    """`rectgrad` with proportional redistribution (PRR), [N,C,H,W] (paper Noise, appendix C.2)."""
    return rectgrad(model, images, target, prr=True, **options)


def epsilon_lrp(
    model: nn.Module, images: Tensor, target: Tensor | int | None = None, *, epsilon: float = 1e-4
) -> Tensor:
    """Layer-wise relevance propagation with the epsilon rule, [N,C,H,W] (Bach et al. 2015).

    It is written as a gradient (Ancona et al. 2018). Relevance starts as the target's logit. On
    ReLU networks it tends to input * gradient as `epsilon` goes to 0.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon!r}; it must be greater than 0.")
    engine = Engine(partial(rules.epsilon_lrp, epsilon=epsilon), smooth=True)
    return images.detach() * ruled_gradient(model, images, target, "epsilon-LRP", engine)


def deeplift(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    baseline: Tensor | float | None = None,
    max_pool: str = "gradient",
) -> Tensor:
    """DeepLIFT with the Rescale rule, [N,C,H,W] (Shrikumar et al. 2017).

    Contributions to the logit's difference from the baseline's; `baseline` as in
    `integrated_gradients`. `max_pool`: "gradient" sends everything through the image's own maximum,
    as released with paper Noise; "rescale" makes contributions add up through max pooling too.
    Networks that multiply activations with each other (gates) do not add up.
    """
    if max_pool not in ("gradient", "rescale"):
        raise ValueError(f"unknown max_pool {max_pool!r}; accepted are gradient and rescale.")
    _check_images(images)
    start = _baseline(images, baseline)
    engine = Engine(
        rules.rescale,
        smooth=True,
        max_pool=rules.rescale_max_pool if max_pool == "rescale" else None,
    )
    pairs = torch.cat([images.detach(), start])
    with input_graph(model, pairs, "DeepLIFT", engine) as (leaf, logits):
        own = logits[: len(images)]
        scores = own.gather(1, as_targets(own, target)[:, None])
        multipliers = input_gradient(scores, leaf)[: len(images)]
        return ((images.detach() - start) * multipliers).contiguous()
