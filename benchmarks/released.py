"""What the code released with paper Sign does, pass by pass, for two kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.attribution import SignedMaps
from lib.metrics import PAPER_FRACTIONS


def _full_pass(model: nn.Module, images: Tensor, label: int | None = None) -> Tensor:
    """Gradient [N,C,H,W] of one class, or of the predicted one.

    A forward and a backward pass through everything, which also fills the gradients of the weights.
    """
    images = images.clone().requires_grad_()
    logits = model(images)
    score = logits.amax(1) if label is None else logits[:, label]
    score.sum().backward()
    model.zero_grad()
    return images.grad


def _versus_rivals(model: nn.Module, images: Tensor, loses: Callable) -> Tensor:
    """Absolute gradient where no rival `loses` it, [N,H,W]: K + 1 passes."""
    own = _full_pass(model, images)
    with torch.no_grad():
        classes = model(images).shape[1]
        predicted = model(images).argmax(1).view(-1, 1, 1, 1)
    for label in range(classes):
        own[(predicted != label) & loses(own, _full_pass(model, images, label))] = 0
    return own.abs().amax(1)


def signed_maps(model: nn.Module, images: Tensor) -> SignedMaps:
    """The five maps of the predicted class, each on its own: 2K + 5 passes for K classes."""
    return SignedMaps(
        _full_pass(model, images).abs().amax(1),
        _full_pass(model, images).relu().amax(1),
        (-_full_pass(model, images)).relu().amax(1),
        _versus_rivals(model, images, torch.le),
        _versus_rivals(model, images, torch.ge),
    )


@torch.no_grad()
def allegiance(model: nn.Module, images: Tensor, maps: Tensor, fill: float) -> Tensor:
    """Unchanged predictions [F,N]: sorted anew, copied and run for every fraction.

    Under no_grad, which the released code does not have.
    """
    original = model(images).argmax(1)
    rows = []
    for fraction in PAPER_FRACTIONS:
        ordered = maps.flatten(1).sort(descending=True).values
        threshold = ordered[:, round(fraction * ordered.shape[1])].view(-1, 1, 1)
        mask = ((maps > threshold) & (maps != 0))[:, None].repeat(1, images.shape[1], 1, 1)
        altered = images.clone()
        altered[mask] = fill
        rows.append(model(altered).argmax(1) == original)
    return torch.stack(rows)


def batches_of(model: nn.Module, curve: Callable[[], Tensor]) -> list[Tensor]:
    """The batches that `curve` gives the model, in their order."""
    batches: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, given: batches.append(given[0].clone()))
    try:
        curve()
    finally:
        handle.remove()
    return batches


@torch.no_grad()
def bare(model: nn.Module, batches: list[Tensor]) -> Tensor:
    """The model alone on those batches: what sorting, selecting and filling come on top of."""
    for batch in batches:
        logits = model(batch)
    return logits
