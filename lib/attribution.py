"""Attribution methods: what each input value does to a class score.

Every method is `f(model, images, target=None, *, ...) -> Tensor[N,C,H,W]`, and one line in `METHODS`. Images are
[N,C,H,W] in the model's own input range; `target` is None (the predicted class), an int, or an int64 tensor [N]. Nothing
is made absolute, reduced or normalised behind the caller's back: `to_map` and `normalize` do that. No method changes the
model, its mode, its gradients or the images.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib import backward_rules as rules


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


def _check_images(images) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        what = (
            f"{images.dtype} of shape {tuple(images.shape)}"
            if isinstance(images, Tensor)
            else type(images).__name__
        )
        raise ValueError(f"images must be a floating-point tensor [N,C,H,W]; got {what}.")


@contextmanager
def input_graph(
    model: nn.Module, images: Tensor, method: str = "", engine: rules.Engine | None = None
):
    """One forward pass that remembers how to go back to the input: yields (leaf [N,C,H,W], logits [N,K]).

    With an `engine`, operations met on the way get its backward rules; `method` names who asks for them.
    """
    _check_images(images)
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        leaf = images.detach().clone(memory_format=torch.channels_last).requires_grad_()
        with rules.replaced(model, method, engine) if engine else rules.alone():
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


def class_gradients(
    model: nn.Module, images: Tensor, classes: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Logits [N,K] and the gradient of every class in `classes` (default all), [N,len(classes),C,H,W]; one forward pass.

    Holds all gradients at once; `signed_maps` streams them. Raises ValueError for a class that the model has not.
    """
    with input_graph(model, images) as (leaf, logits):
        chosen = _class_list(logits, classes)
        gradients = images.new_empty(len(images), len(chosen), *images.shape[1:])
        for k, c in enumerate(chosen):
            gradients[:, k] = input_gradient(logits[:, c], leaf, keep=k + 1 < len(chosen))
        return logits.detach(), gradients


def against_rivals(
    model, images, target, classes, method: str = "", engine: rules.Engine | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The target's gradient and the largest and smallest gradient of its rivals, each [N,C,H,W], streamed over the classes.

    With no rival the extremes are -inf and +inf, so that every gradient stands alone. With an `engine`, its gradients.
    """
    with input_graph(model, images, method, engine) as (leaf, logits):
        target = as_targets(logits, target)
        own = torch.empty_like(leaf, requires_grad=False)
        largest, smallest = torch.full_like(own, -torch.inf), torch.full_like(own, torch.inf)
        chosen = list(dict.fromkeys(_class_list(logits, classes)))
        outside = ~torch.isin(
            target, torch.tensor(chosen, device=target.device, dtype=target.dtype)
        )
        for c in chosen:
            gradient = input_gradient(logits[:, c], leaf, keep=True)
            rows = (target == c).nonzero()[:, 0]
            own[rows], mine_large, mine_small = gradient[rows], largest[rows], smallest[rows]
            torch.maximum(largest, gradient, out=largest)
            torch.minimum(smallest, gradient, out=smallest)
            largest[rows], smallest[rows] = mine_large, mine_small  # a class is no rival of itself
        if outside.any():
            own[outside] = input_gradient(logits.gather(1, target[:, None]), leaf)[outside]
        return own, largest, smallest


def signed_maps(
    model: nn.Module, images: Tensor, target=None, classes: Sequence[int] | None = None
) -> SignedMaps:
    """Original, positive, negative, active and inactive map of each image (paper Sign, eqs. 2 to 6), from one forward pass.

    Memory does not grow with the number of classes. `classes` restricts the rivals that active and inactive maps consider.
    Active and inactive follow the released code: the absolute value before the channel maximum, ties dropped.
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


def saliency(model: nn.Module, images: Tensor, target=None) -> Tensor:
    """The signed gradient of the target's logit, [N,C,H,W] (paper Sign, inside eq. 2; paper Noise, section 2)."""
    with input_graph(model, images) as (leaf, logits):
        return input_gradient(
            logits.gather(1, as_targets(logits, target)[:, None]), leaf
        ).contiguous()


def positive(model: nn.Module, images: Tensor, target=None) -> Tensor:
    """ReLU of the gradient, [N,C,H,W]: values to increase (paper Sign, eq. 3 before the channel maximum)."""
    return saliency(model, images, target).clamp_(min=0)


def negative(model: nn.Module, images: Tensor, target=None) -> Tensor:
    """ReLU of the negated gradient, [N,C,H,W]: values to decrease (paper Sign, eq. 4 before the channel maximum)."""
    return saliency(model, images, target).neg_().clamp_(min=0)


def active(
    model: nn.Module,
    images: Tensor,
    target=None,
    *,
    classes: Sequence[int] | None = None,
    ties: bool = False,
) -> Tensor:
    """The gradient where it exceeds every rival class's, else 0, [N,C,H,W], signed (paper Sign, eq. 5 before the maximum).

    `ties=True` also keeps a gradient that a rival equals, as eq. 5 is printed; the released code drops it.
    """
    own, largest, _ = against_rivals(model, images, target, classes)
    return (own * ((own >= largest) if ties else (own > largest))).contiguous()


def inactive(
    model: nn.Module,
    images: Tensor,
    target=None,
    *,
    classes: Sequence[int] | None = None,
    ties: bool = False,
) -> Tensor:
    """The gradient where it is below every rival class's, else 0, [N,C,H,W], signed (paper Sign, eq. 6 before the maximum).

    `ties=True` also keeps a gradient that a rival equals, as eq. 6 is printed; the released code drops it.
    """
    own, _, smallest = against_rivals(model, images, target, classes)
    return (own * ((own <= smallest) if ties else (own < smallest))).contiguous()


def input_x_gradient(model: nn.Module, images: Tensor, target=None) -> Tensor:
    """The input times its gradient, [N,C,H,W] (Shrikumar et al. 2016; paper Noise, section 2.2)."""
    return images.detach() * saliency(model, images, target)


def _mean_gradient(
    model: nn.Module,
    images: Tensor,
    target,
    steps: int,
    point: Callable[[int, int], Tensor],
    batch_size: int,
) -> Tensor:
    """Mean of the gradients at `steps` points for each image, [N,C,H,W]; never more than `batch_size` points in memory.

    `point(n, k)` is the k-th point of image n, [C,H,W], asked for in order; the target is that of the image itself.
    """
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1.")
    with torch.inference_mode(False), torch.no_grad(), evaluating(model), rules.alone():
        target = as_targets(
            torch.cat(
                [_check_logits(model(part.clone()), len(part)) for part in images.split(batch_size)]
            ),
            target,
        )
    total = torch.zeros_like(images, requires_grad=False)
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(steps)).view(-1, 2)
    for part in pairs.split(batch_size) if len(images) else ():
        owner = part[:, 0].to(images.device)
        gradients = saliency(
            model, torch.stack([point(n, k) for n, k in part.tolist()]), target[owner]
        )
        total.index_add_(0, owner, gradients)
    return total.div_(steps)


def smoothgrad(
    model: nn.Module,
    images: Tensor,
    target=None,
    *,
    noise_level: float = 0.1,
    steps: int = 50,
    generator: torch.Generator | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Mean gradient over `steps` copies with Gaussian noise, [N,C,H,W] (Smilkov et al. 2017; paper Noise, section 2.2).

    The noise has standard deviation `noise_level` times the range of each image. It is drawn image after image from
    `generator`; without one, every image draws from a fresh one with seed 0, as if it were alone.
    """
    _check_images(images)
    images = images.detach()
    reach = noise_level * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
    drawn_from = generator

    def point(n: int, k: int) -> Tensor:
        nonlocal drawn_from
        if generator is None and k == 0:
            drawn_from = torch.Generator().manual_seed(0)
        noise = torch.randn(
            images.shape[1:], generator=drawn_from, device=drawn_from.device, dtype=torch.float32
        )
        return images[n] + reach[n] * noise.to(images)

    return _mean_gradient(model, images, target, steps, point, batch_size)


def _baseline(images: Tensor, baseline) -> Tensor:
    """`baseline` (None is 0, a number, [C,H,W] or [N,C,H,W]) as a tensor of the shape of the images."""
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
            f"baseline has shape {tuple(start.shape)}; it must be None, a number or a tensor that broadcasts to {tuple(images.shape)}."
        ) from None


def integrated_gradients(
    model: nn.Module,
    images: Tensor,
    target=None,
    *,
    steps: int = 50,
    baseline=None,
    batch_size: int = 64,
) -> Tensor:
    """(x - x0) times the mean gradient on the way from the baseline x0 to x, [N,C,H,W] (Sundararajan et al. 2017).

    A right Riemann sum at 1/steps ... 1, as released with paper Noise. `baseline`: None (0 in the units of the images), a
    number, [C,H,W] or [N,C,H,W].
    """
    _check_images(images)
    images = images.detach()
    start = _baseline(images, baseline)
    way = images - start
    return way * _mean_gradient(
        model, images, target, steps, lambda n, k: start[n] + (k + 1) / steps * way[n], batch_size
    )


def ruled_gradient(
    model: nn.Module, images: Tensor, target, method: str, engine: rules.Engine
) -> Tensor:
    """The target's gradient with the backward rules of `engine`, [N,C,H,W]."""
    with input_graph(model, images, method, engine) as (leaf, logits):
        return input_gradient(
            logits.gather(1, as_targets(logits, target)[:, None]), leaf
        ).contiguous()


def deconvolution(model: nn.Module, images: Tensor, target=None) -> Tensor:
    """Gradient whose negative values are cut at every ReLU, whatever the forward pass did, [N,C,H,W] (Zeiler & Fergus 2014)."""
    return ruled_gradient(model, images, target, "deconvolution", rules.Engine(rules.deconvolution))


def guided_backprop(model: nn.Module, images: Tensor, target=None) -> Tensor:
    """Gradient whose negative values are cut at every ReLU that let something through, [N,C,H,W] (Springenberg et al. 2015)."""
    return ruled_gradient(
        model, images, target, "guided backpropagation", rules.Engine(rules.guided)
    )


def rectgrad(
    model: nn.Module,
    images: Tensor,
    target=None,
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
    """Rectified Gradient: the input times what comes back through important units alone, [N,C,H,W] (paper Noise, section 4).

    A unit with activation a and gradient R passes R if its score exceeds the threshold of its layer. `rule`: the score, a R
    ("PR1"), |a R| ("PR2"), a ("PR3"), R ("PR4"), or "PR1+PR2", PR1 at the last activation and PR2 elsewhere (Fig. 17); `eps`
    is added to a. Threshold: the `q`-th percentile of the scores of the layer, per image, or `tau` where given.
    `padding_trick` zeroes the border of the gradient entering zero-padded convolutions (appendix C.1); `border`: one pixel
    ("padded"), half the kernel ("half_kernel"), or one pixel at every convolution that keeps its size, 1x1 too ("released").
    `prr` redistributes through max pooling in proportion to the activations (appendix C.2). `final_threshold` sets negative
    results to 0. Smooth activations (GELU, SiLU) multiply by their derivative. Raises ValueError where there is nothing to
    change.
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
    engine = rules.Engine(
        partial(rules.rectgrad, q=q, tau=tau, rule=rule, eps=eps),
        smooth=True,
        max_pool=rules.proportional if prr else None,
        border=border if padding_trick else None,
    )
    result = images.detach() * ruled_gradient(model, images, target, "RectGrad", engine)
    return result.clamp_(min=0) if final_threshold else result


def rectgrad_prr(model: nn.Module, images: Tensor, target=None, **options) -> Tensor:
    """`rectgrad` with the proportional redistribution rule (paper Noise, appendix C.2), [N,C,H,W]."""
    return rectgrad(model, images, target, prr=True, **options)


def epsilon_lrp(model: nn.Module, images: Tensor, target=None, *, epsilon: float = 1e-4) -> Tensor:
    """Layer-wise relevance propagation with the epsilon rule, [N,C,H,W] (Bach et al. 2015), as a gradient (Ancona et al. 2018).

    Relevance starts as the target's logit. On ReLU networks it tends to input * gradient as `epsilon` goes to 0.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon!r}; it must be greater than 0.")
    engine = rules.Engine(partial(rules.epsilon_lrp, epsilon=epsilon), smooth=True)
    return images.detach() * ruled_gradient(model, images, target, "epsilon-LRP", engine)


def deeplift(
    model: nn.Module, images: Tensor, target=None, *, baseline=None, max_pool: str = "gradient"
) -> Tensor:
    """DeepLIFT with the Rescale rule, [N,C,H,W] (Shrikumar et al. 2017): contributions to the logit's difference from the baseline's.

    `baseline` as in `integrated_gradients`. `max_pool`: "gradient" sends everything through the image's own maximum, as
    released with paper Noise; "rescale" makes contributions add up through max pooling too. Networks that multiply
    activations with each other (gates) do not add up.
    """
    if max_pool not in ("gradient", "rescale"):
        raise ValueError(f"unknown max_pool {max_pool!r}; accepted are gradient and rescale.")
    _check_images(images)
    start = _baseline(images, baseline)
    engine = rules.Engine(
        rules.rescale,
        smooth=True,
        max_pool=rules.rescale_max_pool if max_pool == "rescale" else None,
    )
    with input_graph(model, torch.cat([images.detach(), start]), "DeepLIFT", engine) as (
        leaf,
        logits,
    ):
        own = logits[: len(images)]
        multipliers = input_gradient(own.gather(1, as_targets(own, target)[:, None]), leaf)[
            : len(images)
        ]
        return ((images.detach() - start) * multipliers).contiguous()


class Method(NamedTuple):
    """An entry of `METHODS`: the function, its label in figures, its source, and how each paper turns it into a map."""

    function: Callable[..., Tensor]
    label: str
    reference: str
    reduce: dict[str, str]


_REDUCE = {"sign": "absmax", "noise": "sum"}
_ALWAYS_ABSMAX = {"sign": "absmax", "noise": "absmax"}
METHODS: dict[str, Method] = {
    "saliency": Method(saliency, "Saliency map", "Simonyan et al. 2014; Sign eq. 2", _REDUCE),
    "positive": Method(positive, "Positive", "Sign eq. 3", _REDUCE),
    "negative": Method(negative, "Negative", "Sign eq. 4", _REDUCE),
    "active": Method(active, "Active", "Sign eq. 5", _ALWAYS_ABSMAX),
    "inactive": Method(inactive, "Inactive", "Sign eq. 6", _ALWAYS_ABSMAX),
    "input_x_gradient": Method(
        input_x_gradient, "Gradient * input", "Shrikumar et al. 2016", _REDUCE
    ),
    "smoothgrad": Method(smoothgrad, "SmoothGrad", "Smilkov et al. 2017", _REDUCE),
    "integrated_gradients": Method(
        integrated_gradients, "Integrated gradients", "Sundararajan et al. 2017", _REDUCE
    ),
    "deconvolution": Method(
        deconvolution, "Deconvolution", "Zeiler & Fergus 2014; Noise eq. 3", _REDUCE
    ),
    "guided_backprop": Method(
        guided_backprop, "Guided backpropagation", "Springenberg et al. 2015; Noise eq. 5", _REDUCE
    ),
    "rectgrad": Method(rectgrad, "RectGrad", "Noise section 4.1", _REDUCE),
    "rectgrad_prr": Method(rectgrad_prr, "RectGrad PRR", "Noise appendix C.2", _REDUCE),
    "epsilon_lrp": Method(
        epsilon_lrp, "Epsilon-LRP", "Bach et al. 2015; Ancona et al. 2018", _REDUCE
    ),
    "deeplift": Method(deeplift, "DeepLIFT", "Shrikumar et al. 2017", _REDUCE),
}

_REDUCERS = {
    "absmax": lambda a: a.abs().amax(1),
    "sum": lambda a: a.sum(1),
    "max": lambda a: a.amax(1),
}


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
    return torch.where(
        high > low, (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny), 0
    )
