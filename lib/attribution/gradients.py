"""Maps made of plain gradients.

Saliency, the signed maps of paper Sign, SmoothGrad and integrated gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .engine import Engine, alone
from .graph import (
    _check_images,
    _check_logits,
    _class_list,
    as_targets,
    evaluating,
    input_gradient,
    input_graph,
)


class SignedMaps(NamedTuple):
    """The five maps of paper Sign, each [N,H,W], not normalised.

    Eqs. 2 to 6, the channel maximum taken of absolute values.
    """

    original: Tensor
    positive: Tensor
    negative: Tensor
    active: Tensor
    inactive: Tensor


def class_gradients(
    model: nn.Module, images: Tensor, classes: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Logits [N,K] and the gradient of every class in `classes` (default all), in one forward pass.

    The gradients are [N,len(classes),C,H,W], all held at once; `signed_maps` streams them. Raises
    ValueError for a class that the model has not.
    """
    with input_graph(model, images) as (leaf, logits):
        chosen = _class_list(logits, classes)
        gradients = images.new_empty(len(images), len(chosen), *images.shape[1:])
        for k, c in enumerate(chosen):
            gradients[:, k] = input_gradient(logits[:, c], leaf, keep=k + 1 < len(chosen))
        return logits.detach(), gradients


def against_rivals(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None,
    classes: Sequence[int] | None,
    method: str = "",
    engine: Engine | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The target's gradient and the largest and smallest gradient of its rivals, each [N,C,H,W].

    They are streamed over the classes. With no rival the extremes are -inf and +inf, so that every
    gradient stands alone. With an `engine`, its gradients.
    """
    with input_graph(model, images, method, engine) as (leaf, logits):
        targets = as_targets(logits, target)
        own = torch.empty_like(leaf, requires_grad=False)
        largest, smallest = torch.full_like(own, -torch.inf), torch.full_like(own, torch.inf)
        chosen = list(dict.fromkeys(_class_list(logits, classes)))
        outside = ~torch.isin(
            targets, torch.tensor(chosen, device=targets.device, dtype=targets.dtype)
        )
        for c in chosen:
            gradient = input_gradient(logits[:, c], leaf, keep=True)
            rows = (targets == c).nonzero()[:, 0]
            own[rows], mine_large, mine_small = gradient[rows], largest[rows], smallest[rows]
            torch.maximum(largest, gradient, out=largest)
            torch.minimum(smallest, gradient, out=smallest)
            largest[rows], smallest[rows] = mine_large, mine_small  # a class is no rival of itself
        if outside.any():
            own[outside] = input_gradient(logits.gather(1, targets[:, None]), leaf)[outside]
        return own, largest, smallest


def signed_maps(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    classes: Sequence[int] | None = None,
) -> SignedMaps:
    """Original, positive, negative, active and inactive map of each image.

    Paper Sign, eqs. 2 to 6, from one forward pass; memory does not grow with the number of classes.
    `classes` restricts the rivals that active and inactive maps consider. Active and inactive
    follow the released code: the absolute value before the channel maximum, ties dropped.
    """
    own, largest, smallest = against_rivals(model, images, target, classes)
    size = own.abs()
    parts = (
        size,
        own.clamp(min=0),
        own.neg().clamp_(min=0),
        size * (own > largest),
        size * (own < smallest),
    )
    return SignedMaps(*(part.amax(1) for part in parts))


def saliency(model: nn.Module, images: Tensor, target: Tensor | int | None = None) -> Tensor:
    """The signed gradient of the target's logit, [N,C,H,W].

    Paper Sign, inside eq. 2; paper Noise, section 2.
    """
    with input_graph(model, images) as (leaf, logits):
        own = logits.gather(1, as_targets(logits, target)[:, None])
        return input_gradient(own, leaf).contiguous()


def positive(model: nn.Module, images: Tensor, target: Tensor | int | None = None) -> Tensor:
    """ReLU of the gradient, [N,C,H,W]: values to increase.

    Paper Sign, eq. 3 before the channel maximum.
    """
    return saliency(model, images, target).clamp_(min=0)


def negative(model: nn.Module, images: Tensor, target: Tensor | int | None = None) -> Tensor:
    """ReLU of the negated gradient, [N,C,H,W]: values to decrease.

    Paper Sign, eq. 4 before the channel maximum.
    """
    return saliency(model, images, target).neg_().clamp_(min=0)


def active(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    classes: Sequence[int] | None = None,
    ties: bool = False,
) -> Tensor:
    """The gradient where it exceeds every rival class's, else 0, [N,C,H,W], signed.

    Paper Sign, eq. 5 before the maximum. `ties=True` also keeps a gradient that a rival equals, as
    eq. 5 is printed; the released code drops it.
    """
    own, largest, _ = against_rivals(model, images, target, classes)
    kept = (own >= largest) if ties else (own > largest)
    return (own * kept).contiguous()


def inactive(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    classes: Sequence[int] | None = None,
    ties: bool = False,
) -> Tensor:
    """The gradient where it is below every rival class's, else 0, [N,C,H,W], signed.

    Paper Sign, eq. 6 before the maximum. `ties=True` also keeps a gradient that a rival equals, as
    eq. 6 is printed; the released code drops it.
    """
    own, _, smallest = against_rivals(model, images, target, classes)
    kept = (own <= smallest) if ties else (own < smallest)
    return (own * kept).contiguous()


def input_x_gradient(
    model: nn.Module, images: Tensor, target: Tensor | int | None = None
) -> Tensor:
    """The input times its gradient, [N,C,H,W] (Shrikumar et al. 2016; paper Noise, section 2.2)."""
    return images.detach() * saliency(model, images, target)


def _mean_gradient(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None,
    steps: int,
    point: Callable[[int, int], Tensor],
    batch_size: int,
) -> Tensor:
    """Mean of the gradients at `steps` points for each image, [N,C,H,W].

    Never more than `batch_size` points are in memory. `point(n, k)` is the k-th point of image n,
    [C,H,W], asked for in order; the target is that of the image itself.
    """
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1.")
    with torch.inference_mode(False), torch.no_grad(), evaluating(model), alone():
        batches = torch.split(images, batch_size)
        logits = [_check_logits(model(batch.clone()), len(batch)) for batch in batches]
        targets = as_targets(torch.cat(logits), target)
    total = torch.zeros_like(images, requires_grad=False)
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(steps)).view(-1, 2)
    for part in torch.split(pairs, batch_size) if len(images) else ():
        owner = part[:, 0].to(images.device)
        points = torch.stack([point(n, k) for n, k in part.tolist()])
        total.index_add_(0, owner, saliency(model, points, targets[owner]))
    return total.div_(steps)


def smoothgrad(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    noise_level: float = 0.1,
    steps: int = 50,
    generator: torch.Generator | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Mean gradient over `steps` copies with Gaussian noise, [N,C,H,W].

    Smilkov et al. 2017; paper Noise, section 2.2. The noise has standard deviation `noise_level`
    times the range of each image. It is drawn image after image from `generator`; without one,
    every image draws from a fresh one with seed 0, as if it were alone.
    """
    _check_images(images)
    images = images.detach()
    reach = noise_level * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
    stream = generator

    def point(n: int, k: int) -> Tensor:
        nonlocal stream
        if stream is None or (generator is None and k == 0):
            stream = torch.Generator().manual_seed(0)
        noise = torch.randn(
            images.shape[1:], generator=stream, device=stream.device, dtype=torch.float32
        )
        return images[n] + reach[n] * noise.to(images)

    return _mean_gradient(model, images, target, steps, point, batch_size)


def _baseline(images: Tensor, baseline: Tensor | float | None) -> Tensor:
    """`baseline` (None is 0, a number, [C,H,W] or [N,C,H,W]) as a tensor shaped as the images."""
    try:
        start = torch.as_tensor(
            0.0 if baseline is None else baseline, dtype=images.dtype, device=images.device
        ).detach()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"baseline is {baseline!r}; it must be None, a number or a tensor."
        ) from None
    try:
        return start.expand_as(images)
    except RuntimeError:
        raise ValueError(
            f"baseline has shape {tuple(start.shape)}; it must be None, a number or a tensor that "
            f"broadcasts to {tuple(images.shape)}."
        ) from None


def integrated_gradients(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    steps: int = 50,
    baseline: Tensor | float | None = None,
    batch_size: int = 64,
) -> Tensor:
    """(x - x0) times the mean gradient on the way from the baseline x0 to x, [N,C,H,W].

    Sundararajan et al. 2017. A right Riemann sum at 1/steps ... 1, as released with paper Noise.
    `baseline`: None (0 in the units of the images), a number, [C,H,W] or [N,C,H,W].
    """
    _check_images(images)
    images = images.detach()
    start = _baseline(images, baseline)
    way = images - start

    def point(n: int, k: int) -> Tensor:
        return start[n] + (k + 1) / steps * way[n]

    return way * _mean_gradient(model, images, target, steps, point, batch_size)
