"""Methods that cross the two papers, and controls that look at no network.

What the synthesis tries beside `METHODS`. The signs of paper Sign are taken of paper Noise's
gradients: of RectGrad's, and of integrated gradients. Each function is
`f(model, images, target=None, *, ...) -> [N,C,H,W]` as in lib.attribution; controls are
`f(images, generator) -> [N,H,W]`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from . import rules
from .engine import Engine
from .gradients import against_rivals, class_gradients
from .graph import as_targets, evaluating
from .registry import _ALWAYS_ABSMAX, _REDUCE, METHODS, Method
from .ruled import ruled_gradient

PARTS = ("positive", "negative", "active", "inactive")


def both_tails(g: Tensor, unit: rules.Activation, *, q: float = 98.0) -> Tensor:
    """RectGrad with a signed percentile.

    R passes where a R is among the highest or the lowest (100 - q) / 2 % of its layer, per image.
    Paper Noise's rule (section 4.1) lets through evidence for the class alone; this one, as many
    units, for and against.
    """
    score = unit.a * g
    shape = (-1, *[1] * (g.ndim - 1))
    low = rules.percentile(score, (100 - q) / 2).view(shape)
    high = rules.percentile(score, (100 + q) / 2).view(shape)
    return torch.where((score > high) | (score < low), unit.ungated(g), 0)


def rectgrad_both_tails(
    model: nn.Module, images: Tensor, target: Tensor | int | None = None, *, q: float = 98.0
) -> Tensor:
    """The input times what comes back through the most important units of either sign.

    As in `both_tails`, with the padding trick.
    """
    engine = Engine(partial(both_tails, q=q), smooth=True, border="padded")
    return images.detach() * ruled_gradient(model, images, target, "RectGrad", engine)


def _part(own: Tensor, largest: Tensor, smallest: Tensor, part: str) -> Tensor:
    """Paper Sign's eqs. 3 to 6 of any attribution, before the channel maximum.

    Active and inactive are as released.
    """
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; accepted are {', '.join(PARTS)}.")
    if part == "positive":
        return own.clamp(min=0)
    if part == "negative":
        return own.neg().clamp(min=0)
    return own * ((own > largest) if part == "active" else (own < smallest))


def rectgrad_part(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    part: str,
    q: float = 98.0,
) -> Tensor:
    """The positive, negative, active or inactive `part` of RectGrad's gradient.

    It is not multiplied by the input.
    """
    engine = Engine(partial(rules.rectgrad, q=q), smooth=True, border="padded")
    if part in ("positive", "negative"):
        own = ruled_gradient(model, images, target, "RectGrad", engine)
        return _part(own, own, own, part)
    return _part(*against_rivals(model, images, target, None, "RectGrad", engine), part)


def integrated_part(
    model: nn.Module,
    images: Tensor,
    target: Tensor | int | None = None,
    *,
    part: str,
    steps: int = 25,
) -> Tensor:
    """The active or inactive `part` of integrated gradients.

    Kept where the class gains more, or less, than every rival. Baseline 0, a right Riemann sum of
    `steps`: half of lib.attribution's, for all classes at once.
    """
    images = images.detach()
    with torch.no_grad(), evaluating(model):
        targets = as_targets(model(images.clone()), target)
    total = sum(class_gradients(model, k / steps * images)[1] for k in range(1, steps + 1))
    gained = images[:, None] * total / steps
    classes = torch.arange(gained.shape[1], device=images.device)
    own = gained[torch.arange(len(images), device=images.device), targets]
    rival = (classes != targets[:, None])[:, :, None, None, None]
    return _part(
        own,
        gained.masked_fill(~rival, -torch.inf).amax(1),
        gained.masked_fill(~rival, torch.inf).amin(1),
        part,
    )


NEW: dict[str, Method] = {
    **{
        f"rectgrad_{part}": Method(
            partial(rectgrad_part, part=part),
            f"RectGrad, {part}",
            f"Noise section 4.1 and Sign eq. {eq}",
            reduce,
        )
        for part, eq, reduce in (
            ("positive", 3, _REDUCE),
            ("negative", 4, _REDUCE),
            ("active", 5, _ALWAYS_ABSMAX),
            ("inactive", 6, _ALWAYS_ABSMAX),
        )
    },
    "rectgrad_both_tails": Method(
        rectgrad_both_tails, "RectGrad, both tails", "Noise section 4.1", _REDUCE
    ),
    "integrated_active": Method(
        partial(integrated_part, part="active"),
        "Integrated gradients, active",
        "Sundararajan et al. 2017 and Sign eq. 5",
        _ALWAYS_ABSMAX,
    ),
    "integrated_inactive": Method(
        partial(integrated_part, part="inactive"),
        "Integrated gradients, inactive",
        "Sundararajan et al. 2017 and Sign eq. 6",
        _ALWAYS_ABSMAX,
    ),
}


PARENTS = {
    **{f"rectgrad_{part}": ("rectgrad", part) for part in PARTS},
    # input * gradient is what is left of it at q = 0, but for the border
    "rectgrad_both_tails": ("rectgrad", "input_x_gradient"),
    "integrated_active": ("integrated_gradients", "active"),
    "integrated_inactive": ("integrated_gradients", "inactive"),
}


def noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform random numbers, drawn anew at every call."""
    return torch.rand(images.shape[0], *images.shape[2:], generator=generator)


def edges(images: Tensor, generator: torch.Generator) -> Tensor:
    """Sobel's edges of the grey picture: the root of the mean square of both slopes."""
    grey = images.mean(1).cpu().numpy()
    if grey.dtype != np.float64:
        grey = grey.astype(np.float32)  # SciPy filters nothing narrower
    down = np.outer([1, 0, -1], [0.25, 0.5, 0.25])
    square = np.zeros_like(grey)
    for kernel in (down, down.T):
        square += ndimage.convolve(grey, kernel[None]) ** 2  # the picture mirrored at its border
    return torch.from_numpy(np.sqrt(square) / np.sqrt(2, dtype=square.dtype)).to(images.dtype)


CONTROLS: dict[str, tuple[Callable[[Tensor, torch.Generator], Tensor], str]] = {
    "random": (noise, "Random"),
    "edges": (edges, "Edge detector"),
}


def shuffled(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Maps [...,N,H,W] whose pixels change places at random: a random map as sparse as each.

    The places are alike in all leading dimensions.
    """
    flat = maps.flatten(-2)
    places = torch.stack(
        [torch.randperm(flat.shape[-1], generator=generator) for _ in range(flat.shape[-2])]
    )
    return flat.gather(-1, places.expand_as(flat)).view_as(maps)


def label(name: str) -> str:
    """The name of a method, a cross or a control as tables and figures show it.

    "<treatment>:<name>" names its map as treated.
    """
    treatment, _, name = name.rpartition(":")
    shown = CONTROLS[name][1] if name in CONTROLS else (METHODS | NEW)[name].label
    return f"{shown}, {treatment}" if treatment else shown
