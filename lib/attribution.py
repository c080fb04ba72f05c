"""Attribution methods: what each input value does to a class score.

Every method is `f(model, images, target=None, *, ...) -> Tensor[N,C,H,W]`, and one line in `METHODS`. Images are
[N,C,H,W] in the model's own input range; `target` is None (the predicted class), an int, or an int64 tensor [N]. Nothing
is made absolute, reduced or normalised behind the caller's back: `to_map` and `normalize` do that. No method changes the
model, its mode, its gradients or the images.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn


class SignedMaps(NamedTuple):
    """The five maps of paper Sign, each [N,H,W], not normalised: eqs. 2 to 6, the channel maximum taken of absolute values."""

    original: Tensor
    positive: Tensor
    negative: Tensor
    active: Tensor
    inactive: Tensor


@contextmanager
def evaluating(model: nn.Module):
    """The model in eval mode; every submodule gets its own mode back, also after an exception."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _graph(model: nn.Module, images: Tensor):
    """One forward pass that remembers how to go back to the input: yields (leaf [N,C,H,W], logits [N,K])."""
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        what = f"{images.dtype} of shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images must be a floating-point tensor [N,C,H,W]; got {what}.")
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        leaf = images.detach().clone(memory_format=torch.channels_last).requires_grad_()
        logits = model(leaf.clone())  # the copy lets a model begin with an in-place operation
        if logits.ndim != 2 or len(logits) != len(images):
            raise ValueError(f"the model must return logits [N,K]; for {len(images)} images it returned shape {tuple(logits.shape)}.")
        yield leaf, logits


def _targets(logits: Tensor, target) -> Tensor:
    """`target` as an int64 tensor [N] on the device of the logits [N,K]."""
    count, classes = logits.shape
    if target is None:
        return logits.detach().argmax(1)
    if isinstance(target, bool) or not (isinstance(target, int) or isinstance(target, Tensor) and target.dtype == torch.int64):
        what = target.dtype if isinstance(target, Tensor) else repr(target)
        raise ValueError(f"target must be None, an int or an int64 tensor [N]; got {what}.")
    if isinstance(target, Tensor) and target.ndim and target.shape != (count,):
        raise ValueError(f"target has shape {tuple(target.shape)}; for {count} images it must be [{count}].")
    target = torch.as_tensor(target, device=logits.device).expand(count)
    if count and not (0 <= int(target.min()) and int(target.max()) < classes):
        raise ValueError(f"target names class {int(target.min() if target.min() < 0 else target.max())}; the model has classes 0 to {classes - 1}.")
    return target


def _class_list(logits: Tensor, classes: Sequence[int] | None) -> list[int]:
    count = logits.shape[1]
    if classes is None:
        return list(range(count))
    chosen = [int(c) for c in classes]
    wrong = [c for c in chosen if not 0 <= c < count]
    if wrong:
        raise ValueError(f"classes names {wrong[0]}; the model has classes 0 to {count - 1}.")
    return chosen


def _gradient(scores: Tensor, leaf: Tensor, keep: bool = False) -> Tensor:
    """Gradient of the summed scores with respect to the input alone, in the layout of the images."""
    return torch.autograd.grad(scores.sum(), leaf, retain_graph=keep)[0]


def class_gradients(model: nn.Module, images: Tensor, classes: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """Logits [N,K] and the gradient of every class in `classes` (default all), [N,len(classes),C,H,W]; one forward pass.

    Holds all gradients at once; `signed_maps` streams them. Raises ValueError for a class that the model has not.
    """
    with _graph(model, images) as (leaf, logits):
        chosen = _class_list(logits, classes)
        gradients = images.new_empty(len(images), len(chosen), *images.shape[1:])
        for k, c in enumerate(chosen):
            gradients[:, k] = _gradient(logits[:, c], leaf, keep=k + 1 < len(chosen))
        return logits.detach(), gradients


def _against_rivals(model, images, target, classes) -> tuple[Tensor, Tensor, Tensor]:
    """The target's gradient and the largest and smallest gradient of its rivals, each [N,C,H,W], streamed over the classes.

    With no rival the extremes are -inf and +inf, so that every gradient stands alone.
    """
    with _graph(model, images) as (leaf, logits):
        target = _targets(logits, target)
        own = torch.empty_like(leaf, requires_grad=False)
        largest, smallest = torch.full_like(own, -torch.inf), torch.full_like(own, torch.inf)
        chosen = list(dict.fromkeys(_class_list(logits, classes)))
        outside = ~torch.isin(target, torch.tensor(chosen, device=target.device, dtype=target.dtype))
        for c in chosen:
            gradient = _gradient(logits[:, c], leaf, keep=True)
            rows = (target == c).nonzero()[:, 0]
            own[rows], mine_large, mine_small = gradient[rows], largest[rows], smallest[rows]
            torch.maximum(largest, gradient, out=largest)
            torch.minimum(smallest, gradient, out=smallest)
            largest[rows], smallest[rows] = mine_large, mine_small  # a class is no rival of itself
        if outside.any():
            own[outside] = _gradient(logits.gather(1, target[:, None]), leaf)[outside]
        return own, largest, smallest


def signed_maps(model: nn.Module, images: Tensor, target=None, classes: Sequence[int] | None = None) -> SignedMaps:
    """Original, positive, negative, active and inactive map of each image (paper Sign, eqs. 2 to 6), from one forward pass.

    Memory does not grow with the number of classes. `classes` restricts the rivals that active and inactive maps consider.
    Active and inactive follow the released code: the absolute value before the channel maximum, ties dropped.
    """
    own, largest, smallest = _against_rivals(model, images, target, classes)
    size = own.abs()
    parts = size, own.clamp(min=0), own.neg().clamp_(min=0), size * (own > largest), size * (own < smallest)
    return SignedMaps(*(part.amax(1) for part in parts))


def saliency(model: nn.Module, images: Tensor, target=None) -> Tensor:
    """The signed gradient of the target's logit, [N,C,H,W] (paper Sign, inside eq. 2; paper Noise, section 2)."""
    with _graph(model, images) as (leaf, logits):
        return _gradient(logits.gather(1, _targets(logits, target)[:, None]), leaf).contiguous()


def positive(model: nn.Module, images: Tensor, target=None) -> Tensor:
    """ReLU of the gradient, [N,C,H,W]: values to increase (paper Sign, eq. 3 before the channel maximum)."""
    return saliency(model, images, target).clamp_(min=0)


def negative(model: nn.Module, images: Tensor, target=None) -> Tensor:
    """ReLU of the negated gradient, [N,C,H,W]: values to decrease (paper Sign, eq. 4 before the channel maximum)."""
    return saliency(model, images, target).neg_().clamp_(min=0)


def active(model: nn.Module, images: Tensor, target=None, *, classes: Sequence[int] | None = None, ties: bool = False) -> Tensor:
    """The gradient where it exceeds every rival class's, else 0, [N,C,H,W], signed (paper Sign, eq. 5 before the maximum).

    `ties=True` also keeps a gradient that a rival equals, as eq. 5 is printed; the released code drops it.
    """
    own, largest, _ = _against_rivals(model, images, target, classes)
    return (own * ((own >= largest) if ties else (own > largest))).contiguous()


def inactive(model: nn.Module, images: Tensor, target=None, *, classes: Sequence[int] | None = None, ties: bool = False) -> Tensor:
    """The gradient where it is below every rival class's, else 0, [N,C,H,W], signed (paper Sign, eq. 6 before the maximum).

    `ties=True` also keeps a gradient that a rival equals, as eq. 6 is printed; the released code drops it.
    """
    own, _, smallest = _against_rivals(model, images, target, classes)
    return (own * ((own <= smallest) if ties else (own < smallest))).contiguous()


class Method(NamedTuple):
    """An entry of `METHODS`: the function, its label in figures, its source, and how each paper turns it into a map."""

    function: Callable[..., Tensor]
    label: str
    reference: str
    reduce: dict[str, str]


_REDUCE = {"sign": "absmax", "noise": "sum"}
_ALWAYS_ABSMAX = {"sign": "absmax", "noise": "absmax"}
METHODS: dict[str, Method] = {
    "saliency": Method(saliency, "Original", "Simonyan et al. 2014; Sign eq. 2", _REDUCE),
    "positive": Method(positive, "Positive", "Sign eq. 3", _REDUCE),
    "negative": Method(negative, "Negative", "Sign eq. 4", _REDUCE),
    "active": Method(active, "Active", "Sign eq. 5", _ALWAYS_ABSMAX),
    "inactive": Method(inactive, "Inactive", "Sign eq. 6", _ALWAYS_ABSMAX),
}

_REDUCERS = {"absmax": lambda a: a.abs().amax(1), "sum": lambda a: a.sum(1), "max": lambda a: a.amax(1)}


def to_map(attributions: Tensor, reduce: str) -> Tensor:
    """Attributions [N,C,H,W] as maps [N,H,W]: "absmax" (paper Sign), "sum" (paper Noise) or "max" over the channels."""
    if reduce not in _REDUCERS:
        raise ValueError(f"unknown reduce {reduce!r}; accepted are {', '.join(_REDUCERS)}.")
    if attributions.ndim != 4:
        raise ValueError(f"attributions must be [N,C,H,W]; got shape {tuple(attributions.shape)}.")
    return _REDUCERS[reduce](attributions)


def normalize(maps: Tensor) -> Tensor:
    """Each map [N,H,W] stretched to [0,1] for display; a constant map becomes zeros (the released code makes it NaN)."""
    if maps.ndim != 3:
        raise ValueError(f"maps must be [N,H,W]; got shape {tuple(maps.shape)}.")
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny), 0)
