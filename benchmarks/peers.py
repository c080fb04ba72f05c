"""Other libraries' calls for our methods, and what a method cannot do without.

Each entry of `PEERS` makes a call of a peer for a case: the same network, pictures, classes, steps
and batch. What a peer's documentation asks for is done for it beforehand: a copy of the network
without in-place activations, and its object made outside the time that is taken.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from benchmarks.measure import Run
from lib import attribution

NOISE = 0.1  # of SmoothGrad, as a share of a picture's range
RIVALS = ("active", "inactive")
STEPPED = ("smoothgrad", "integrated_gradients")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Case:
    """What a method and its peers are given alike.

    images: [N,C,H,W] in the network's range; targets: [N]; classes: those whose gradients the
    methods of rivals take; steps: of the methods with steps; batch_size: points that the floor and
    the peers take at once in these, while ours chooses.
    """

    model: nn.Module
    images: Tensor
    targets: Tensor
    classes: tuple[int, ...]
    steps: int
    batch_size: int = 64
    noise: float = NOISE

    def laid_out(self, layout: str) -> Case:
        """The same with network and pictures in a memory layout, as a peer needs it."""
        model = copy.deepcopy(self.model).to(memory_format=LAYOUTS[layout])
        for module in model.modules():
            if hasattr(module, "inplace"):
                module.inplace = False
        return replace(
            self, model=model, images=self.images.contiguous(memory_format=LAYOUTS[layout])
        )

    def leaf(self) -> Tensor:
        """The pictures as a leaf of their own."""
        return self.images.clone().requires_grad_()


def ours(case: Case, method: str) -> Run:
    """Our method on the case."""
    function = attribution.METHODS[method].function
    options = {}
    if method in RIVALS:
        options["classes"] = case.classes
    if method in STEPPED:
        options["steps"] = case.steps
    if method == "smoothgrad":
        options["noise_level"] = case.noise
    return partial(function, case.model, case.images, case.targets, **options)


# ---- the floor: bare passes


def _pass(case: Case, leaf: Tensor, targets: Tensor) -> Tensor:
    logits = case.model(leaf)
    return torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), leaf)[0]


def _pass_a_class(case: Case) -> Tensor:
    leaf = case.leaf()
    logits = case.model(leaf)
    for c in case.classes:
        gradient = torch.autograd.grad(logits[:, c].sum(), leaf, retain_graph=True)[0]
    return gradient


def _pass_a_batch_of_steps(case: Case) -> Tensor:
    points = case.images.repeat_interleave(case.steps, 0)
    targets = case.targets.repeat_interleave(case.steps)
    for some, of in zip(points.split(case.batch_size), targets.split(case.batch_size), strict=True):
        gradient = _pass(case, some.requires_grad_(), of)
    return gradient


def floor(case: Case, method: str) -> Run:
    """One forward pass and the backward passes to the input that the method cannot do without.

    One a class for active and inactive; a forward and a backward for every batch of steps; one of
    each for all others. DeepLIFT's pass over the baseline is not counted among them.
    """
    if method in RIVALS:
        return partial(_pass_a_class, case)
    if method in STEPPED:
        return partial(_pass_a_batch_of_steps, case)
    return lambda: _pass(case, case.leaf(), case.targets)


# ---- Captum


def _captum(name: str, then: Callable[[Tensor], Tensor] = lambda a: a, **options):
    """A class of captum.attr that is given pictures and targets, and what is done to its answer."""

    def made(case: Case) -> Run:
        import captum.attr

        peer = getattr(captum.attr, name)(case.model)
        return lambda: then(peer.attribute(case.leaf(), target=case.targets, **options).detach())

    return made


def _captum_rivals(extreme: Callable[[Tensor], Tensor], case: Case) -> Run:
    """Captum has gradients of one class a call; the targets are among the classes."""
    import captum.attr

    peer = captum.attr.Saliency(case.model)

    def run() -> Tensor:
        each = torch.stack(
            [peer.attribute(case.leaf(), target=c, abs=False).detach() for c in case.classes]
        )
        place = torch.tensor(case.classes).eq(case.targets[:, None]).int().argmax(1)
        own = each[place, torch.arange(len(place))]
        return own * (own == extreme(each))

    return run


def _captum_integrated_gradients(case: Case) -> Run:
    import captum.attr

    peer = captum.attr.IntegratedGradients(case.model)
    return lambda: peer.attribute(
        case.images,
        target=case.targets,
        n_steps=case.steps,
        method="riemann_right",
        internal_batch_size=case.batch_size,
    ).detach()


def _captum_smoothgrad(case: Case) -> Run:
    """Its noise has one width for all pictures: that of their mean range."""
    import captum.attr

    peer = captum.attr.NoiseTunnel(captum.attr.Saliency(case.model))
    reach = (case.images.amax((1, 2, 3)) - case.images.amin((1, 2, 3))).mean().item()
    return lambda: peer.attribute(
        case.leaf(),
        nt_type="smoothgrad",
        nt_samples=case.steps,
        nt_samples_batch_size=max(1, min(case.steps, case.batch_size // len(case.images))),
        stdevs=case.noise * reach,
        target=case.targets,
        abs=False,
    ).detach()


# ---- zennit


def _zennit(
    attributor: str = "Gradient",
    composite: Callable[[], object] = lambda: None,
    then: Callable[[Case, Tensor], Tensor] = lambda case, a: a,
    from_logit: bool = False,
    **options: str,
):
    """An attributor of zennit; `options` name fields of the case that it is given."""

    def made(case: Case) -> Run:
        import zennit.attribution

        given = {name: getattr(case, field) for name, field in options.items()}
        peer = getattr(zennit.attribution, attributor)(
            model=case.model, composite=composite(), **given
        )
        with torch.no_grad():
            logits = case.model(case.images)
        start = one_hot(case.targets, logits.shape[1]).float()
        start = start * logits if from_logit else start
        return lambda: then(case, peer(case.images, start)[1].detach())

    return made


def _composite(name: str) -> object:
    import zennit.composites

    return getattr(zennit.composites, name)()


def _epsilon() -> object:
    from zennit.composites import LayerMapComposite
    from zennit.rules import Epsilon, Pass
    from zennit.types import Activation, Convolution, Linear

    return LayerMapComposite([(Activation, Pass()), ((Convolution, Linear), Epsilon(1e-4))])


PEERS: dict[str, dict[str, Callable[[Case], Run]]] = {
    "saliency": {"captum": _captum("Saliency", abs=False), "zennit": _zennit()},
    "positive": {"captum": _captum("Saliency", torch.relu, abs=False)},
    "negative": {"captum": _captum("Saliency", lambda a: (-a).relu(), abs=False)},
    "active": {"captum": partial(_captum_rivals, lambda each: each.amax(0))},
    "inactive": {"captum": partial(_captum_rivals, lambda each: each.amin(0))},
    "input_x_gradient": {
        "captum": _captum("InputXGradient"),
        "zennit": _zennit(then=lambda case, a: case.images * a),
    },
    "smoothgrad": {
        "captum": _captum_smoothgrad,
        "zennit": _zennit("SmoothGrad", n_iter="steps", noise_level="noise"),
    },
    "integrated_gradients": {
        "captum": _captum_integrated_gradients,
        "zennit": _zennit("IntegratedGradients", n_iter="steps"),
    },
    "deconvolution": {
        "captum": _captum("Deconvolution"),
        "zennit": _zennit(composite=partial(_composite, "DeconvNet")),
    },
    "guided_backprop": {
        "captum": _captum("GuidedBackprop"),
        "zennit": _zennit(composite=partial(_composite, "GuidedBackprop")),
    },
    "epsilon_lrp": {
        "captum": _captum("LRP"),
        "zennit": _zennit(composite=_epsilon, from_logit=True),
    },
    "deeplift": {"captum": _captum("DeepLift")},
}
