"""Maps made of plain gradients.

Saliency, the signed maps of paper Sign, SmoothGrad and integrated gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .engine import Engine
from .graph import (
    Mixed,
    Model,
    Target,
    _class_list,
    as_targets,
    check_generator,
    check_images,
    in_parts,
    input_gradient,
    input_graph,
    logits,
    real_number,
    refuse_nan,
    target_tensor,
    whole_number,
)

Baseline = Tensor | float | Sequence[float] | None


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
    model: Model, images: Tensor, classes: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Logits and the gradient of every class, from one forward pass.

    All gradients are held at once; `signed_maps` streams them.

    Parameters
    ----------
    model : callable
        A network, as in `logits`.
    images : Tensor
        [N,C,H,W], in the model's own input range.
    classes : sequence of int, optional
        The classes whose gradients are wanted, in this order; default all.

    Returns
    -------
    tuple of Tensor
        Logits [N,K], and gradients [N,len(classes),C,H,W] in logits per unit of the images.

    Raises
    ------
    ValueError
        For a class that the model has not, and what `input_graph` refuses.

    Examples
    --------
    >>> import torch
    >>> outputs, gradients = class_gradients(lambda x: x.sum((2, 3)), torch.zeros(1, 2, 1, 1))
    >>> gradients.flatten().tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    with input_graph(model, images) as (leaf, outputs):
        chosen = _class_list(outputs, classes)
        gradients = images.new_empty(len(images), len(chosen), *images.shape[1:])
        for k, c in enumerate(chosen):
            gradients[:, k] = input_gradient(outputs[:, c], leaf, keep=k + 1 < len(chosen))
        refuse_nan(images, outputs, gradients)
        return outputs.detach(), gradients


def against_rivals(
    model: Model,
    images: Tensor,
    target: Target,
    classes: Sequence[int] | None,
    method: str = "",
    engine: Engine | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The target's gradient, and the largest and smallest gradient of its rivals.

    They are streamed over the classes.

    Parameters
    ----------
    model, images, target, classes
        As in `signed_maps`.
    method, engine
        As in `input_graph`: with an engine, the gradients that its rules give.

    Returns
    -------
    tuple of Tensor
        Three of [N,C,H,W]. With no rival the extremes are -inf and +inf, so that every gradient
        stands alone.
    """
    try:
        return _against_rivals(model, images, target, classes, method, engine)
    except Mixed:
        each = [
            _against_rivals(model, image, its_target, classes, method, engine)
            for image, its_target in in_parts(images, target, 1)
        ]
    own, largest, smallest = (torch.cat(part) for part in zip(*each, strict=True))
    return own, largest, smallest


def _against_rivals(
    model: Model,
    images: Tensor,
    target: Target,
    classes: Sequence[int] | None,
    method: str,
    engine: Engine | None,
) -> tuple[Tensor, Tensor, Tensor]:
    with input_graph(model, images, method, engine) as (leaf, outputs):
        targets = as_targets(outputs, target)
        own = torch.empty_like(leaf, requires_grad=False)
        largest, smallest = torch.full_like(own, -torch.inf), torch.full_like(own, torch.inf)
        chosen = list(dict.fromkeys(_class_list(outputs, classes)))
        outside = ~torch.isin(
            targets, torch.tensor(chosen, device=targets.device, dtype=targets.dtype)
        )
        for c in chosen:
            gradient = input_gradient(outputs[:, c], leaf, keep=True)
            rows = (targets == c).nonzero()[:, 0]
            own[rows], mine_large, mine_small = gradient[rows], largest[rows], smallest[rows]
            torch.maximum(largest, gradient, out=largest)
            torch.minimum(smallest, gradient, out=smallest)
            largest[rows], smallest[rows] = mine_large, mine_small  # a class is no rival of itself
        if outside.any():
            own[outside] = input_gradient(outputs.gather(1, targets[:, None]), leaf)[outside]
        refuse_nan(images, outputs, own, largest)
        return own, largest, smallest


# pictures that are taken together on a processor: more fall out of its cache between two classes
_PART = 50


def _parts(images: Tensor, target: Target) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Images and targets in parts of much the same size; all at once on a GPU."""
    count = max(len(images), 1)
    parts = math.ceil(count / _PART) if images.device.type == "cpu" else 1
    return in_parts(images, target, math.ceil(count / parts))


def signed_maps(
    model: Model,
    images: Tensor,
    target: Target = None,
    classes: Sequence[int] | None = None,
) -> SignedMaps:
    """Original, positive, negative, active and inactive map of each image.

    One forward pass; memory does not grow with the number of classes. Active and inactive follow
    the released code: the absolute value before the channel maximum, ties dropped.

    Parameters
    ----------
    model : callable
        A network, as in `logits`.
    images : Tensor
        [N,C,H,W], in the model's own input range.
    target : int, sequence of int or Tensor, optional
        The class to explain, one for all images or one each; default the predicted one.
    classes : sequence of int, optional
        The rivals that active and inactive maps consider; default all.

    Returns
    -------
    SignedMaps
        Five maps [N,H,W], not normalised, in logits per unit of the images.

    Raises
    ------
    ValueError
        For a class that the model has not, and what `input_graph` refuses.

    References
    ----------
    Paper Sign, eqs. 2 to 6.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[2.0, -1.0], [1.0, 3.0]])
    >>> maps = signed_maps(lambda x: x.flatten(1) @ weight.T, torch.ones(1, 1, 1, 2), 0)
    >>> maps.original.tolist(), maps.positive.tolist(), maps.active.tolist()
    ([[[2.0, 1.0]]], [[[2.0, 0.0]]], [[[2.0, 0.0]]])
    """
    check_images(images)
    parts = [_signed_maps(model, *part, classes) for part in _parts(images, target)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return _signed_maps(model, images, target, classes)
    return SignedMaps(*(torch.cat(maps) for maps in zip(*parts, strict=True)))


def _signed_maps(
    model: Model, images: Tensor, target: Target, classes: Sequence[int] | None
) -> SignedMaps:
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


def saliency(model: Model, images: Tensor, target: Target = None) -> Tensor:
    """The signed gradient of the target's logit.

    Parameters
    ----------
    model : callable
        A network, as in `logits`.
    images : Tensor
        [N,C,H,W], in the model's own input range.
    target : int, sequence of int or Tensor, optional
        The class to explain, one for all images or one each; default the predicted one.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits per unit of the images.

    Raises
    ------
    ValueError
        For a class that the model has not, and what `input_graph` refuses.

    References
    ----------
    Simonyan et al. 2014; paper Sign, inside eq. 2; paper Noise, section 2.

    Examples
    --------
    >>> import torch
    >>> saliency(lambda x: 3 * x.sum((2, 3)), torch.ones(1, 2, 1, 1), 1).flatten().tolist()
    [0.0, 3.0]
    """
    gradient, outputs = _gradient(model, images, target)
    refuse_nan(images, outputs, gradient)
    return gradient


def _gradient(
    model: Model, images: Tensor, target: Target, check_batch: bool = True
) -> tuple[Tensor, Tensor]:
    """The gradient of the target's logit, and the logits."""
    with input_graph(model, images, check_batch=check_batch) as (leaf, outputs):
        own = outputs.gather(1, as_targets(outputs, target)[:, None])
        return input_gradient(own, leaf).contiguous(), outputs.detach()


def positive(model: Model, images: Tensor, target: Target = None) -> Tensor:
    """ReLU of the gradient: values to increase.

    Parameters, errors and units are those of `saliency`.

    Returns
    -------
    Tensor
        [N,C,H,W], nowhere negative.

    References
    ----------
    Paper Sign, eq. 3 before the channel maximum.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[2.0, -1.0], [1.0, 3.0]])
    >>> positive(lambda x: x.flatten(1) @ weight.T, torch.ones(1, 1, 1, 2), 0).tolist()
    [[[[2.0, 0.0]]]]
    """
    return saliency(model, images, target).clamp_(min=0)


def negative(model: Model, images: Tensor, target: Target = None) -> Tensor:
    """ReLU of the negated gradient: values to decrease.

    Parameters, errors and units are those of `saliency`.

    Returns
    -------
    Tensor
        [N,C,H,W], nowhere negative.

    References
    ----------
    Paper Sign, eq. 4 before the channel maximum.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[2.0, -1.0], [1.0, 3.0]])
    >>> negative(lambda x: x.flatten(1) @ weight.T, torch.ones(1, 1, 1, 2), 0).tolist()
    [[[[0.0, 1.0]]]]
    """
    return saliency(model, images, target).neg_().clamp_(min=0)


def active(
    model: Model,
    images: Tensor,
    target: Target = None,
    *,
    classes: Sequence[int] | None = None,
    ties: bool = False,
) -> Tensor:
    """The gradient where it exceeds every rival class's, else 0; signed.

    Parameters
    ----------
    model, images, target, classes
        As in `signed_maps`.
    ties : bool
        Also keep a gradient that a rival equals, as eq. 5 is printed; the released code drops it.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits per unit of the images.

    Raises
    ------
    ValueError
        As in `signed_maps`.

    References
    ----------
    Paper Sign, eq. 5 before the channel maximum.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[2.0, -1.0], [1.0, 3.0]])
    >>> active(lambda x: x.flatten(1) @ weight.T, torch.ones(1, 1, 1, 2), 0).tolist()
    [[[[2.0, -0.0]]]]
    """

    def kept(own: Tensor, largest: Tensor, smallest: Tensor) -> Tensor:
        return (own >= largest) if ties else (own > largest)

    return _own_where(kept, model, images, target, classes)


def inactive(
    model: Model,
    images: Tensor,
    target: Target = None,
    *,
    classes: Sequence[int] | None = None,
    ties: bool = False,
) -> Tensor:
    """The gradient where it is below every rival class's, else 0; signed.

    Parameters
    ----------
    model, images, target, classes
        As in `signed_maps`.
    ties : bool
        Also keep a gradient that a rival equals, as eq. 6 is printed; the released code drops it.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits per unit of the images.

    Raises
    ------
    ValueError
        As in `signed_maps`.

    References
    ----------
    Paper Sign, eq. 6 before the channel maximum.

    Examples
    --------
    >>> import torch
    >>> weight = torch.tensor([[2.0, -1.0], [1.0, 3.0]])
    >>> inactive(lambda x: x.flatten(1) @ weight.T, torch.ones(1, 1, 1, 2), 0).tolist()
    [[[[0.0, -1.0]]]]
    """

    def kept(own: Tensor, largest: Tensor, smallest: Tensor) -> Tensor:
        return (own <= smallest) if ties else (own < smallest)

    return _own_where(kept, model, images, target, classes)


def _own_where(
    kept: Callable[[Tensor, Tensor, Tensor], Tensor],
    model: Model,
    images: Tensor,
    target: Target,
    classes: Sequence[int] | None,
) -> Tensor:
    """The target's gradient where `kept(own, largest, smallest)`, else 0, [N,C,H,W].

    The three are those of `against_rivals`.
    """
    check_images(images)

    def part(some: Tensor, of: Target) -> Tensor:
        rivals = against_rivals(model, some, of, classes)
        return (rivals[0] * kept(*rivals)).contiguous()

    results = [part(some, of) for some, of in _parts(images, target)]
    if not results:
        return part(images, target)
    return results[0] if len(results) == 1 else torch.cat(results)


def input_x_gradient(model: Model, images: Tensor, target: Target = None) -> Tensor:
    """The input times its gradient.

    Parameters and errors are those of `saliency`.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits.

    References
    ----------
    Shrikumar et al. 2016; paper Noise, section 2.2.

    Examples
    --------
    >>> import torch
    >>> images = torch.full((1, 2, 1, 1), 5.0)
    >>> input_x_gradient(lambda x: 3 * x.sum((2, 3)), images, 1).flatten().tolist()
    [0.0, 15.0]
    """
    gradient = saliency(model, images, target)
    return images.detach() * gradient


def _mean_gradient(
    model: Model,
    images: Tensor,
    target: Target,
    steps: int,
    points: Callable[[int, int], Tensor],
    batch_size: int,
) -> Tensor:
    """Mean of the gradients at `steps` points for each image, [N,C,H,W], added up in float32.

    Never more than `batch_size` points are in memory, in batches of much the same size.
    `points(start, stop)` are so many of them, [stop-start,C,H,W], image after image, asked for in
    order; the target is that of the image itself.
    """
    targets = target_tensor(target, len(images))
    if targets is None:
        predicted = [logits(model, batch) for batch in torch.split(images, batch_size)]
        targets = as_targets(torch.cat(predicted), None)
    targets = targets.to(images.device)
    wide = torch.promote_types(images.dtype, torch.float32)
    total = torch.zeros_like(images, dtype=wide, requires_grad=False)
    sums = []
    owners = torch.arange(len(images), device=images.device).repeat_interleave(steps)
    count = len(owners)
    parts = max(math.ceil(count / batch_size), 1)
    size = max(math.ceil(count / parts), 1)
    for start in range(0, count, size):
        owner = owners[start : start + size]
        some = points(start, start + len(owner))
        gradient, outputs = _gradient(model, some, targets[owner], check_batch=start == 0)
        total.index_add_(0, owner, gradient.to(wide))
        sums.append(outputs.sum())
    if sums:
        refuse_nan(images, torch.stack(sums), total)
    return total.div_(steps).to(images.dtype)


# points that are taken together on a processor: at most so many, of at most so many pixels
_POINTS, _PIXELS = 64, 2**19


def _batch_size(images: Tensor, given: int | None) -> int:
    """How many points go through a network at once: as given, or as suits images and device."""
    if given is not None:
        return whole_number("batch_size", given)
    if images.device.type != "cpu":
        return 64
    # of more, the activations fall out of the processor's cache
    pixels = max(images.shape[-2] * images.shape[-1], 1)
    return min(max(_PIXELS // pixels, 1), _POINTS)


def smoothgrad(
    model: Model,
    images: Tensor,
    target: Target = None,
    *,
    noise_level: float = 0.1,
    steps: int = 50,
    generator: torch.Generator | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Mean gradient over copies of an image with Gaussian noise.

    Parameters
    ----------
    model, images, target
        As in `saliency`.
    noise_level : float
        The standard deviation of the noise, as a share of the range of each image.
    steps : int
        How many copies.
    generator : torch.Generator, optional
        The noise is drawn image after image from it; without one, every image draws from a fresh
        one with seed 0, as if it were alone.
    batch_size : int, optional
        How many copies go through the network at once, which changes speed and memory alone; by
        default fewer the larger the images are.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits per unit of the images.

    Raises
    ------
    ValueError
        For a number of steps or a batch size below 1, a noise level below 0, and as in `saliency`.

    References
    ----------
    Smilkov et al. 2017; paper Noise, section 2.2.

    Examples
    --------
    >>> import torch
    >>> smoothgrad(lambda x: 3 * x.sum((2, 3)), torch.ones(1, 2, 1, 1), 1, steps=4).flatten()
    tensor([0., 3.])
    """
    check_images(images)
    steps, batch_size = whole_number("steps", steps), _batch_size(images, batch_size)
    noise_level = real_number("noise_level", noise_level)
    check_generator(generator)
    images = images.detach()
    reach = noise_level * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
    stream = generator or torch.Generator()
    # the noise of an image, where all have the same and it fits
    shared = None
    if generator is None and steps <= batch_size:
        shared = _draws(images, steps, stream.manual_seed(0)).to(images)

    def noise(k: int, stop: int) -> Tensor:
        if shared is not None:
            return shared[k:stop]
        if generator is None and k == 0:
            stream.manual_seed(0)
        return _draws(images, stop - k, stream).to(images)

    def points(start: int, stop: int) -> Tensor:
        pieces = []
        for n in range(start // steps, (stop - 1) // steps + 1):
            first, last = max(start - n * steps, 0), min(stop - n * steps, steps)
            pieces.append(images[n] + reach[n] * noise(first, last))
        return torch.cat(pieces)

    return _mean_gradient(model, images, target, steps, points, batch_size)


def _draws(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Standard normal numbers [count,C,H,W], the same whether drawn at once or one by one."""
    shape = images.shape[1:]
    options: dict[str, Any] = {
        "generator": generator,
        "device": generator.device,
        "dtype": torch.float32,
    }
    # a processor fills sixteen at a time, and begins anew with each call
    if generator.device.type == "cpu" and shape.numel() % 16 == 0:
        return torch.randn(count, *shape, **options)
    return torch.stack([torch.randn(shape, **options) for _ in range(count)])


def _baseline(images: Tensor, baseline: Baseline) -> Tensor:
    """`baseline` as a tensor [N,C,H,W], or [1,C,H,W] where it is the same for all images."""
    accepted = (
        f"it must be None, a number, one for each of {images.shape[1]} channels, or a tensor that "
        f"broadcasts to {tuple(images.shape)}"
    )
    try:
        start = torch.as_tensor(
            0.0 if baseline is None else baseline, dtype=images.dtype, device=images.device
        ).detach()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"baseline is {baseline!r}; {accepted}.") from None
    if not start.isfinite().all():
        raise ValueError(f"baseline holds NaN or infinity; {accepted}, all finite.")
    shape = tuple(start.shape)
    if start.ndim == 1 and len(start) in (1, images.shape[1]):
        start = start[:, None, None]
    own = start.ndim == 4 and len(start) == len(images) != 1
    try:
        if start.ndim == 1 or start.ndim > 4:
            raise RuntimeError
        return start.expand(len(images) if own else 1, *images.shape[1:])
    except RuntimeError:
        raise ValueError(f"baseline has shape {shape}; {accepted}.") from None


def integrated_gradients(
    model: Model,
    images: Tensor,
    target: Target = None,
    *,
    steps: int = 50,
    baseline: Baseline = None,
    batch_size: int | None = None,
) -> Tensor:
    """(x - x0) times the mean gradient on the way from the baseline x0 to x.

    A right Riemann sum at 1/steps ... 1, as released with paper Noise.

    Parameters
    ----------
    model, images, target
        As in `saliency`.
    steps : int
        How many points on the way.
    baseline : float, sequence of float or Tensor, optional
        Where the way begins, in the units of the images: a number, one for each channel (such as
        the model's black), [C,H,W] or [N,C,H,W]; None is 0.
    batch_size : int, optional
        How many points go through the network at once, which changes speed and memory alone; by
        default fewer the larger the images are.

    Returns
    -------
    Tensor
        [N,C,H,W], in logits; their sum tends to the logit's difference as `steps` grows.

    Raises
    ------
    ValueError
        For a number of steps or a batch size below 1, a baseline that does not fit the images, and
        as in `saliency`.

    References
    ----------
    Sundararajan et al. 2017; paper Noise, section 2.2.

    Examples
    --------
    >>> import torch
    >>> images = torch.full((1, 1, 1, 1), 2.0)
    >>> integrated_gradients(lambda x: x.flatten(1) ** 2, images, 1, steps=4).item()
    5.0
    """
    check_images(images)
    steps, batch_size = whole_number("steps", steps), _batch_size(images, batch_size)
    images = images.detach()
    start = _baseline(images, baseline).expand_as(images)
    way = images - start

    def points(first: int, last: int) -> Tensor:
        places = torch.arange(first, last)
        owner = (places // steps).to(images.device)
        share = ((places % steps + 1).double() / steps).to(images.dtype).to(images.device)
        return start[owner] + share.view(-1, 1, 1, 1) * way[owner]

    return way * _mean_gradient(model, images, target, steps, points, batch_size)
