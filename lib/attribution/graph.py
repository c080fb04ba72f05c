"""One forward pass and gradients with respect to the input alone.

Also what may be asked of that pass: images, targets, classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .engine import Engine, alone, replaced


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode; every submodule gets its own mode back, also after an exception."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _check_images(images: object) -> None:
    if isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point():
        return
    what = type(images).__name__
    if isinstance(images, Tensor):
        what = f"{images.dtype} of shape {tuple(images.shape)}"
    raise ValueError(f"images must be a floating-point tensor [N,C,H,W]; got {what}.")


@contextmanager
def input_graph(
    model: nn.Module, images: Tensor, method: str = "", engine: Engine | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """One forward pass that remembers how to go back to the input.

    Yields (leaf [N,C,H,W], logits [N,K]). With an `engine`, operations met on the way get its
    backward rules; `method` names who asks for them.
    """
    _check_images(images)
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        leaf = images.detach().clone(memory_format=torch.channels_last).requires_grad_()
        with replaced(model, method, engine) if engine else alone():
            logits = model(leaf.clone())  # the copy lets a model begin with an in-place operation
        yield leaf, _check_logits(logits, len(images))


def _check_logits(logits: object, count: int) -> Tensor:
    if isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == count:
        return logits
    what = f"a {type(logits).__name__}"
    if isinstance(logits, Tensor):
        what = f"shape {tuple(logits.shape)}"
    raise ValueError(f"the model must return logits [N,K]; for {count} images it returned {what}.")


def as_targets(logits: Tensor, target: Tensor | int | None) -> Tensor:
    """`target` as an int64 tensor [N] on the device of the logits [N,K]."""
    count, classes = logits.shape
    if target is None:
        return logits.detach().argmax(1)
    if isinstance(target, Tensor):
        if target.dtype != torch.int64:
            raise ValueError(
                f"target must be None, an int or an int64 tensor [N]; got {target.dtype}."
            )
        if target.ndim and target.shape != (count,):
            raise ValueError(
                f"target has shape {tuple(target.shape)}; for {count} images it must be [{count}]."
            )
    elif isinstance(target, bool) or not isinstance(target, int):
        raise ValueError(f"target must be None, an int or an int64 tensor [N]; got {target!r}.")
    # a clone, for the caller's may be an inference tensor
    targets = torch.as_tensor(target, device=logits.device).expand(count).clone()
    if count:
        lowest, highest = int(targets.min()), int(targets.max())
        if lowest < 0 or highest >= classes:
            raise ValueError(
                f"target names class {lowest if lowest < 0 else highest}; "
                f"the model has classes 0 to {classes - 1}."
            )
    return targets


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
    """Gradient of the summed scores with respect to the input alone, laid out as the images."""
    return torch.autograd.grad(scores.sum(), leaf, retain_graph=keep)[0]
