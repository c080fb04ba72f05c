"""One forward pass and gradients with respect to the input alone; what may be asked of it: images, targets, classes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .engine import Engine, alone, replaced


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


def _check_images(images) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        what = (
            f"{images.dtype} of shape {tuple(images.shape)}"
            if isinstance(images, Tensor)
            else type(images).__name__
        )
        raise ValueError(f"images must be a floating-point tensor [N,C,H,W]; got {what}.")


@contextmanager
def input_graph(model: nn.Module, images: Tensor, method: str = "", engine: Engine | None = None):
    """One forward pass that remembers how to go back to the input: yields (leaf [N,C,H,W], logits [N,K]).

    With an `engine`, operations met on the way get its backward rules; `method` names who asks for them.
    """
    _check_images(images)
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        leaf = images.detach().clone(memory_format=torch.channels_last).requires_grad_()
        with replaced(model, method, engine) if engine else alone():
            logits = model(leaf.clone())  # the copy lets a model begin with an in-place operation
        yield leaf, _check_logits(logits, len(images))


def _check_logits(logits, count: int) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != count:
        what = (
            f"shape {tuple(logits.shape)}"
            if isinstance(logits, Tensor)
            else f"a {type(logits).__name__}"
        )
        raise ValueError(
            f"the model must return logits [N,K]; for {count} images it returned {what}."
        )
    return logits


def as_targets(logits: Tensor, target) -> Tensor:
    """`target` as an int64 tensor [N] on the device of the logits [N,K]."""
    count, classes = logits.shape
    if target is None:
        return logits.detach().argmax(1)
    if isinstance(target, bool) or not (
        isinstance(target, int) or isinstance(target, Tensor) and target.dtype == torch.int64
    ):
        what = target.dtype if isinstance(target, Tensor) else repr(target)
        raise ValueError(f"target must be None, an int or an int64 tensor [N]; got {what}.")
    if isinstance(target, Tensor) and target.ndim and target.shape != (count,):
        raise ValueError(
            f"target has shape {tuple(target.shape)}; for {count} images it must be [{count}]."
        )
    target = (
        torch.as_tensor(target, device=logits.device).expand(count).clone()
    )  # the caller's may be an inference tensor
    if count and not (0 <= int(target.min()) and int(target.max()) < classes):
        raise ValueError(
            f"target names class {int(target.min() if target.min() < 0 else target.max())}; the model has classes 0 to {classes - 1}."
        )
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


def input_gradient(scores: Tensor, leaf: Tensor, keep: bool = False) -> Tensor:
    """Gradient of the summed scores with respect to the input alone, in the layout of the images."""
    return torch.autograd.grad(scores.sum(), leaf, retain_graph=keep)[0]
