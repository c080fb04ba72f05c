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
from torch import Tensor

from . import rules
from .engine import Engine
from .gradients import against_rivals, class_gradients
from .graph import Model, Target, as_percentile, as_targets, logits, whole_number
from .registry import _ALWAYS_ABSMAX, _REDUCE, METHODS, Method
from .ruled import ruled_gradient

PARTS = ("positive", "negative", "active", "inactive")


def both_tails(g: Tensor, unit: rules.Activation, *, q: float = 98.0) -> Tensor:
    """RectGrad with a signed percentile.

    R passes where a R is among the highest or the lowest (100 - q) / 2 % of its layer, per image.
    Paper Noise's rule (section 4.1) lets through evidence for the class alone; this one, as many
    units, for and against.

    Parameters
    ----------
    g : Tensor
        The gradient R at the output of an activation.
    unit : Activation
        The activation.
    q : float
        Percent of the units that do not pass.

    Returns
    -------
    Tensor
        The gradient at its input.

    Examples
    --------
    >>> a = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    >>> unit = rules.Activation(a, a, 0, True, float("inf"), None)
    >>> both_tails(torch.tensor([[-1.0, 1.0, 1.0, 1.0, 1.0]]), unit, q=50).tolist()
    [[-1.0, 0.0, 0.0, 0.0, 1.0]]
    """
    score = unit.a * g
    low = rules.image_percentile(score, (100 - q) / 2, unit.images)
    high = rules.image_percentile(score, (100 + q) / 2, unit.images)
    return torch.where((score > high) | (score < low), unit.ungated(g), 0)


def rectgrad_both_tails(
    model: Model, images: Tensor, target: Target = None, *, q: float = 98.0
) -> Tensor:
    """The input times what comes back through the most important units of either sign.

    As in `both_tails`, with the padding trick.

    Parameters
    ----------
    model, images, target
        As in `saliency`.
    q : float
        Percent of the units of a layer that do not pass, per image.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits.

    Raises
    ------
    ValueError
        As in `rectgrad`.

    Examples
    --------
    >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten())
    >>> rectgrad_both_tails(net, torch.tensor([[[[3.0, 1.0, 2.0]]]]), 0, q=40).tolist()
    [[[[3.0, 0.0, 0.0]]]]
    """
    rule = partial(both_tails, q=as_percentile(q))
    engine = Engine(rule, smooth=True, border="padded", from_output=True, by_image=True)
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
    model: Model,
    images: Tensor,
    target: Target = None,
    *,
    part: str,
    q: float = 98.0,
) -> Tensor:
    """The positive, negative, active or inactive `part` of RectGrad's gradient.

    It is not multiplied by the input.

    Parameters
    ----------
    model, images, target
        As in `saliency`.
    part : str
        One of `PARTS`.
    q : float
        As in `rectgrad`.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits per unit of the images.

    Raises
    ------
    ValueError
        For another part, and as in `rectgrad`.

    Examples
    --------
    >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten())
    >>> rectgrad_part(net, torch.tensor([[[[3.0, 1.0]]]]), 0, part="positive", q=50).tolist()
    [[[[1.0, 0.0]]]]
    """
    rule = partial(rules.rectgrad, q=as_percentile(q))
    engine = Engine(rule, smooth=True, border="padded", from_output=True, by_image=True)
    if part in ("positive", "negative"):
        own = ruled_gradient(model, images, target, "RectGrad", engine)
        return _part(own, own, own, part)
    return _part(*against_rivals(model, images, target, None, "RectGrad", engine), part)


def integrated_part(
    model: Model,
    images: Tensor,
    target: Target = None,
    *,
    part: str,
    steps: int = 25,
) -> Tensor:
    """The active or inactive `part` of integrated gradients.

    Kept where the class gains more, or less, than every rival. Baseline 0, a right Riemann sum of
    `steps`: half of lib.attribution's, for all classes at once.

    Parameters
    ----------
    model, images, target
        As in `saliency`.
    part : str
        One of `PARTS`.
    steps : int
        How many points on the way from 0.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits.

    Raises
    ------
    ValueError
        For another part, a number of steps below 1, and as in `saliency`.

    Examples
    --------
    >>> weight = torch.tensor([[2.0, -1.0], [1.0, 3.0]])
    >>> net, images = (lambda x: x.flatten(1) @ weight.T), torch.ones(1, 1, 1, 2)
    >>> integrated_part(net, images, 0, part="inactive", steps=2).tolist()
    [[[[0.0, -1.0]]]]
    """
    steps = whole_number("steps", steps)
    targets = as_targets(logits(model, images), target)
    images = images.detach()
    wide = torch.promote_types(images.dtype, torch.float32)
    points = (k / steps * images for k in range(1, steps + 1))
    total = sum(class_gradients(model, point)[1].to(wide) for point in points)
    gained = (images[:, None] * total / steps).to(images.dtype)
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
    """Uniform random numbers, drawn anew at every call: the control that looks at nothing.

    Parameters
    ----------
    images : Tensor
        [N,C,H,W]; only their number and size count.
    generator : torch.Generator
        What is drawn from.

    Returns
    -------
    Tensor
        [N,H,W], from 0 to 1.

    Examples
    --------
    >>> noise(torch.ones(2, 3, 4, 5), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 4, 5])
    """
    drawn = torch.rand(images.shape[0], *images.shape[2:], generator=generator)
    return drawn.to(images.device)


def edges(images: Tensor, generator: torch.Generator) -> Tensor:
    """Sobel's edges of the grey picture: the root of the mean square of both slopes.

    Parameters
    ----------
    images : Tensor
        [N,C,H,W].
    generator : torch.Generator
        Not used; controls are called alike.

    Returns
    -------
    Tensor
        [N,H,W], in the unit of the images.

    Examples
    --------
    >>> step = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 4, 4)
    >>> edges(step, torch.Generator())[0, 0].square().round(decimals=4).tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    grey = images.mean(1).cpu().numpy()
    if grey.dtype != np.float64:
        grey = grey.astype(np.float32)  # SciPy filters nothing narrower
    down = np.outer([1, 0, -1], [0.25, 0.5, 0.25])
    square = np.zeros_like(grey)
    for kernel in (down, down.T):
        square += ndimage.convolve(grey, kernel[None]) ** 2  # the picture mirrored at its border
    return torch.from_numpy(np.sqrt(square) / np.sqrt(2, dtype=square.dtype)).to(images)


CONTROLS: dict[str, tuple[Callable[[Tensor, torch.Generator], Tensor], str]] = {
    "random": (noise, "Random"),
    "edges": (edges, "Edge detector"),
}


def shuffled(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Maps [...,N,H,W] whose pixels change places at random: a random map as sparse as each.

    The places are alike in all leading dimensions.

    Parameters
    ----------
    maps : Tensor
        [...,N,H,W].
    generator : torch.Generator
        What the places are drawn from.

    Returns
    -------
    Tensor
        [...,N,H,W].

    Examples
    --------
    >>> maps = torch.arange(6.0).view(1, 2, 3)
    >>> shuffled(maps, torch.Generator().manual_seed(0)).flatten().sort().values.tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    flat = maps.flatten(-2)
    places = torch.stack(
        [torch.randperm(flat.shape[-1], generator=generator) for _ in range(flat.shape[-2])]
    )
    return flat.gather(-1, places.to(flat.device).expand_as(flat)).view_as(maps)


def label(name: str) -> str:
    """The name of a method, a cross or a control as tables and figures show it.

    Parameters
    ----------
    name : str
        A key of `METHODS`, `NEW` or `CONTROLS`; "<treatment>:<name>" is its map as treated.

    Returns
    -------
    str

    Raises
    ------
    KeyError
        For a name that is none of these.

    Examples
    --------
    >>> label("rectgrad"), label("smoothed:edges")
    ('RectGrad', 'Edge detector, smoothed')
    """
    treatment, _, name = name.rpartition(":")
    shown = CONTROLS[name][1] if name in CONTROLS else (METHODS | NEW)[name].label
    return f"{shown}, {treatment}" if treatment else shown
