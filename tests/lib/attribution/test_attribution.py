"""The signed maps three ways: worked by hand, against a slow reading of the paper's equations, and
against Captum.
"""

from __future__ import annotations

import copy
import inspect
import itertools

import pytest
import torch
from captum.attr import Saliency
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from lib import attribution
from lib.attribution import (
    METHODS,
    active,
    class_gradients,
    inactive,
    negative,
    normalize,
    positive,
    saliency,
    signed_maps,
    to_map,
)
from tests.conftest import NETS
from tests.refusal import refused

pytestmark = pytest.mark.usefixtures("one_thread")

EQUATIONS = {"original": 2, "positive": 3, "negative": 4, "active": 5, "inactive": 6}
SEPARATE = {
    "original": saliency,
    "positive": positive,
    "negative": negative,
    "active": active,
    "inactive": inactive,
}
CALLS = {name: method.function for name, method in METHODS.items()} | {
    "signed_maps": signed_maps,
    "class_gradients": lambda m, x: class_gradients(m, x),
}
TARGETED = {name: call for name, call in CALLS.items() if name != "class_gradients"}
# no max pooling; no ReLU
NOTHING_TO_CHANGE = {
    ("rectgrad_prr", "residual"),
    ("rectgrad_prr", "smooth"),
    ("deconvolution", "smooth"),
    ("guided_backprop", "smooth"),
}

each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
each_targeted = pytest.mark.parametrize("call", TARGETED.values(), ids=TARGETED)
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
each_map = pytest.mark.parametrize("name", EQUATIONS)


def on_each_net(calls):
    """Every call with every network of conftest on which it has something to change."""
    pairs = [
        (name, net)
        for name, net in itertools.product(calls, NETS)
        if (name, net) not in NOTHING_TO_CHANGE
    ]
    return pytest.mark.parametrize(
        "call, net",
        [pytest.param(calls[name], net, id=f"{net}-{name}") for name, net in pairs],
        indirect=["net"],
    )


def residual_or_pooled(call):
    """The network with a skip connection, batch norm and dropout, or one with max pooling for the
    method that is about that.
    """
    return "functional" if call is METHODS["rectgrad_prr"].function else "residual"


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def tensors(result):
    return [result] if isinstance(result, torch.Tensor) else list(result)


# ---- (a) worked by hand: three classes, two channels, a 2x2 image
#               The model is linear, so gradients are its weights.
#               upper left     upper right    lower left     lower right
WEIGHT = [
    [[[3, -4], [0, 2]], [[-1, 1], [-2, 1]]],  # class 0, the predicted one
    [[[1, -1], [5, 2]], [[0, 2], [-3, 4]]],
    [[[2, -2], [-5, -1]], [[1, 3], [-4, 5]]],
]
BY_HAND = {
    "original": [[3, 4], [2, 2]],
    "positive": [[3, 1], [0, 2]],
    "negative": [[1, 4], [2, 0]],
    # lower left: channel 1 is active with a negative gradient, -2 > -3 > -4, and counts by its
    # size: eq. (5) as printed gives 0.
    # lower right: channel 0 ties with class 1, 2 = 2, so the released rule drops it: eq. (5) as
    # printed gives 2.
    "active": [[3, 0], [2, 0]],
    # upper left: channel 1, -1 < 0 < 1: eq. (6) as printed gives 0; upper right: -4 and 1 are both
    # inactive: as printed 1;
    # lower right: channel 1 is inactive with a positive gradient, 1 < 4 < 5.
    "inactive": [[1, 4], [0, 1]],
}


@each_map
def test_by_hand(name, linear):
    model, images = linear(WEIGHT, bias=[100, 0, 0]), torch.ones(1, 2, 2, 2, dtype=torch.float64)
    expected = torch.tensor([BY_HAND[name]], dtype=torch.float64)
    assert torch.equal(getattr(signed_maps(model, images), name), expected)
    assert torch.equal(to_map(SEPARATE[name](model, images), "absmax"), expected)


@pytest.mark.parametrize(
    "call, kept",
    [
        (saliency, [[[3, -4], [0, 2]], [[-1, 1], [-2, 1]]]),
        (positive, [[[3, 0], [0, 2]], [[0, 1], [0, 1]]]),
        (negative, [[[0, 4], [0, 0]], [[1, 0], [2, 0]]]),
        (active, [[[3, 0], [0, 0]], [[0, 0], [-2, 0]]]),
        (inactive, [[[0, -4], [0, 0]], [[-1, 1], [0, 1]]]),
    ],
)
def test_attributions_by_hand(call, kept, linear):
    model, images = linear(WEIGHT), torch.ones(1, 2, 2, 2, dtype=torch.float64)
    assert torch.equal(call(model, images, 0), torch.tensor([kept], dtype=torch.float64))


@pytest.mark.parametrize(
    "name, kept, tied",
    [
        ("active", [0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0], [2, 2, 2, 0, 0, 0, 0, 2, 0, 1, 0]),
        ("inactive", [0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1], [0, 0, 2, 3, 3, 0, 0, 0, 3, 0, 1]),
    ],
)
def test_a_tied_nonzero_gradient_is_neither_active_nor_inactive(name, kept, tied, linear):
    """Released rule: strictly above (below) every rival; `ties=True`: none above (below) it.

    A row: own gradient, then the two rivals'.
    """
    rows = [
        (2, 2, 1),
        (2, 1, 2),
        (2, 2, 2),
        (-3, -3, -1),
        (-3, -1, -3),
        (0, 0, 0),
        (0, -1, -1),
        (2, 1, 1),
        (-3, -1, -1),
        (-1, -2, -2),
        (1, 2, 2),
    ]
    model = linear(f64(rows).T.reshape(3, 1, 1, len(rows)))
    images = torch.ones(1, 1, 1, len(rows), dtype=torch.float64)
    assert getattr(signed_maps(model, images, 0), name).flatten().tolist() == kept
    assert to_map(SEPARATE[name](model, images, 0), "absmax").flatten().tolist() == kept
    assert to_map(SEPARATE[name](model, images, 0, ties=True), "absmax").flatten().tolist() == tied


@pytest.mark.parametrize(
    "call, printed", [(active, [[3, 0], [0, 2]]), (inactive, [[0, 1], [0, 1]])]
)
def test_the_equations_as_printed(call, printed, linear):
    """Eqs. (5) and (6) to the letter: ties kept, and the channel maximum of signed values; compare
    BY_HAND.
    """
    kept = call(linear(WEIGHT), torch.ones(1, 2, 2, 2, dtype=torch.float64), 0, ties=True)
    assert to_map(kept, "max").tolist() == [printed]


def test_gradients_of_a_linear_model_are_its_weights_whatever_the_picture(linear, images):
    weight = torch.randn(
        4, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    model = linear(weight, bias=[1, 2, 3, 4])
    logits, gradients = class_gradients(model, images)
    assert_close(
        logits, torch.einsum("nchw,kchw->nk", images, weight) + torch.tensor([1.0, 2, 3, 4])
    )
    assert_close(gradients, weight.expand(5, 4, 3, 6, 5))
    assert_close(
        class_gradients(model, images, classes=[2, 0, 2])[1],
        weight[[2, 0, 2]].expand(5, 3, 3, 6, 5),
    )


def test_target_none_is_the_predicted_class(linear):
    weight = torch.eye(3, dtype=torch.float64).reshape(3, 3, 1, 1)
    picture = torch.tensor(
        [[0.1, 0.9, 0.2], [0.8, 0.1, 0.3], [0.1, 0.2, 0.7]], dtype=torch.float64
    ).reshape(3, 3, 1, 1)
    assert saliency(linear(weight), picture).flatten(1).argmax(1).tolist() == [1, 0, 2]
    # the class predicted among all, not among the rivals asked for
    maps = signed_maps(
        linear(weight * torch.tensor([1.0, 2, 4]).view(3, 1, 1, 1)),
        picture[1:2] * torch.tensor([8.0, 1, 1]).view(1, 3, 1, 1),
        classes=[1, 2],
    )
    assert maps.original.item() == 1


# ---- (b) slow and independent: one forward and one full backward for each image and class, then
#               Python loops over pixels


def slow_gradient(model, image, label):
    model, image = copy.deepcopy(model), image.detach().clone().requires_grad_()
    model(image[None])[0, label].backward()
    return image.grad


def slow_maps(model, images, targets=None, classes=None):
    """The five maps as the paper's equations 2 to 6 say, by the released rule; dict of [N,H,W]."""
    count, result = model(images[:1]).shape[1], {name: [] for name in EQUATIONS}
    for n, image in enumerate(images):
        gradients = [slow_gradient(model, image, label) for label in range(count)]
        target = model(image[None])[0].argmax().item() if targets is None else int(targets[n])
        rivals = [c for c in (range(count) if classes is None else classes) if c != target]
        maps = {name: torch.zeros(image.shape[1:], dtype=image.dtype) for name in EQUATIONS}
        for i, j in itertools.product(*map(range, image.shape[1:])):
            values = {name: [] for name in EQUATIONS}
            for k in range(image.shape[0]):
                own = gradients[target][k, i, j].item()
                others = [gradients[c][k, i, j].item() for c in rivals]
                values["original"].append(abs(own))
                values["positive"].append(own if own > 0 else 0)
                values["negative"].append(-own if own < 0 else 0)
                values["active"].append(abs(own) if all(own > other for other in others) else 0)
                values["inactive"].append(abs(own) if all(own < other for other in others) else 0)
            for name in EQUATIONS:
                maps[name][i, j] = max(values[name])
        for name in EQUATIONS:
            result[name].append(maps[name])
    return {name: torch.stack(maps) for name, maps in result.items()}


@pytest.mark.parametrize("targets", [None, 2, [3, 0, 1, 2, 0]], ids=["predicted", "int", "tensor"])
def test_maps_against_the_slow_reading_of_the_equations(net, images, targets):
    asked = torch.tensor(targets) if isinstance(targets, list) else targets
    expected = slow_maps(net, images, [targets] * 5 if isinstance(targets, int) else targets)
    maps = signed_maps(net, images, asked)
    for name, equation in EQUATIONS.items():

        def with_equation(text, name=name, equation=equation):
            return f"eq. {equation}, {name}: {text}"

        assert_close(getattr(maps, name), expected[name], msg=with_equation)
        assert_close(to_map(SEPARATE[name](net, images, asked), "absmax"), expected[name])
    # else the test shows nothing
    assert 0 < (maps.active > 0).double().mean() < 1 and 0 < (maps.inactive > 0).double().mean() < 1


@pytest.mark.parametrize("classes", [None, [0, 1, 2, 3], [3, 1], [2], [1, 1, 0, 1]])
def test_class_gradients_follow_the_order_of_classes(net, images, classes):
    logits, gradients = class_gradients(net, images, classes)
    order = range(4) if classes is None else classes
    assert_close(logits, net(images).detach())
    assert gradients.shape == (5, len(order), 3, 6, 5)
    for n, image in enumerate(images):
        assert_close(
            gradients[n], torch.stack([slow_gradient(net, image, label) for label in order])
        )


@pytest.mark.parametrize(
    "classes",
    [[1, 3], [3, 1], [1, 1, 3, 3], [0, 1, 3], [0, 0, 1, 3, 0], [2], torch.tensor([1, 3])],
    ids=[
        "target left out",
        "reversed",
        "duplicates",
        "target listed",
        "target listed twice",
        "one rival",
        "tensor",
    ],
)
def test_classes_restrict_the_rivals_and_a_target_is_no_rival_of_itself(make_net, images, classes):
    net = make_net("functional")
    expected = slow_maps(net, images, [0] * 5, classes=[int(c) for c in classes])
    maps = signed_maps(net, images, 0, classes=classes)
    for name in EQUATIONS:
        assert_close(getattr(maps, name), expected[name])
        if name in ("active", "inactive"):
            assert_close(
                to_map(SEPARATE[name](net, images, 0, classes=classes), "absmax"), expected[name]
            )
    # fewer rivals, more pixels
    assert (maps.active > 0).sum() > (signed_maps(net, images, 0).active > 0).sum()


def test_rivals_per_image(make_net, images):
    """One batch in which some targets are among `classes` and some are not."""
    net, targets = make_net("residual"), torch.tensor([0, 1, 2, 3, 1])
    expected = slow_maps(net, images, targets, classes=[1, 2])
    maps = signed_maps(net, images, targets, classes=[1, 2])
    for name in EQUATIONS:
        assert_close(getattr(maps, name), expected[name])


def test_with_no_rival_every_gradient_is_kept(make_net, images):
    maps = signed_maps(make_net("functional"), images, 0, classes=[0])
    assert torch.equal(maps.active, maps.original)
    assert torch.equal(maps.inactive, maps.original)
    assert maps.original.max() > 0


def test_saliency_is_the_derivative(make_net, images):
    """Central differences of a smooth net, so that autograd is not checked by autograd alone."""
    net, step, image = make_net("smooth"), 1e-5, images[:1]
    gradient = saliency(net, image, 3)
    for place in itertools.product([0], range(3), [0, 2, 5], [0, 4]):
        shift = torch.zeros_like(image)
        shift[place] = step
        assert_close(
            gradient[place],
            ((net(image + shift) - net(image - shift))[0, 3] / (2 * step)).detach(),
            rtol=1e-6,
            atol=1e-8,
        )


def test_many_pictures_are_taken_in_parts(make_net):
    """Maps and targets of 120 pictures are those of each part, and of each picture."""
    generator = torch.Generator().manual_seed(0)
    many = torch.rand(120, 3, 6, 5, dtype=torch.float64, generator=generator)
    net, targets = make_net("functional"), torch.arange(120) % 4
    maps = signed_maps(net, many, targets)
    for n in (0, 39, 40, 41, 79, 80, 119):
        for part, one in zip(maps, signed_maps(net, many[n : n + 1], int(targets[n])), strict=True):
            assert_close(part[n], one[0])
    for call, name in ((active, "active"), (inactive, "inactive")):
        assert_close(to_map(call(net, many, targets), "absmax"), getattr(maps, name))
    assert signed_maps(net, many[:0]).active.shape == (0, 6, 5)


# ---- (c) Captum


def test_captum_agrees(net, images):
    targets = torch.tensor([3, 0, 1, 2, 0])

    def captum(label):
        leaf = images.clone().requires_grad_()
        return Saliency(net).attribute(leaf, target=label, abs=False).detach()

    own, everyone = captum(targets), torch.stack([captum(label) for label in range(4)])
    assert_close(saliency(net, images, targets), own)
    assert_close(to_map(saliency(net, images, targets), "absmax"), own.abs().amax(1))
    assert_close(positive(net, images, targets), own.relu())
    assert_close(negative(net, images, targets), (-own).relu())
    assert_close(active(net, images, targets), own * (own == everyone.amax(0)))
    assert_close(inactive(net, images, targets), own * (own == everyone.amin(0)))
    assert_close(class_gradients(net, images)[1], everyone.transpose(0, 1))


# ---- identities


def test_signs_add_up(net, images):
    gradient = saliency(net, images)
    assert torch.equal(positive(net, images) - negative(net, images), gradient)
    assert (gradient > 0).any() and (gradient < 0).any()
    assert not ((positive(net, images) > 0) & (negative(net, images) > 0)).any()
    maps = signed_maps(net, images)
    assert torch.equal(maps.original, torch.maximum(maps.positive, maps.negative))


def test_on_one_channel_positive_minus_negative_is_the_gradient(linear):
    weight = torch.randn(
        3, 1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    maps = signed_maps(linear(weight), torch.ones(2, 1, 4, 3, dtype=torch.float64), 1)
    assert torch.equal(maps.positive - maps.negative, weight[1].expand(2, 4, 3))
    assert torch.equal(maps.original, weight[1].abs().expand(2, 4, 3))


def test_active_and_inactive_exclude_each_other_and_keep_the_gradient(net, images):
    gradient, up, down = saliency(net, images), active(net, images), inactive(net, images)
    assert up.any() and down.any()
    assert not ((up != 0) & (down != 0)).any()
    assert_close(up, gradient * (up != 0))
    assert_close(down, gradient * (down != 0))


def test_of_two_classes_every_gradient_is_active_or_inactive(net, images):
    kept = signed_maps(net, images, 1, classes=[2])
    assert torch.equal(torch.maximum(kept.active, kept.inactive), kept.original)


@pytest.mark.parametrize(
    "call, opposite",
    [(active, inactive), (inactive, active), (positive, negative), (negative, positive)],
)
def test_negated_logits_swap_the_roles(net, images, call, opposite):
    class Negated(nn.Module):
        def forward(self, x):
            return -net(x)

    sign = -1 if call in (active, inactive) else 1
    assert_close(call(Negated(), images, 1), sign * opposite(net, images, 1))


def test_renaming_the_classes_changes_nothing(net, images):
    order = torch.tensor([2, 0, 3, 1])

    class Renamed(nn.Module):
        def forward(self, x):
            return net(x)[:, order]

    for renamed, plain in zip(
        signed_maps(Renamed(), images, 1), signed_maps(net, images, 0), strict=True
    ):
        assert_close(renamed, plain)


def test_a_score_shared_by_all_classes_does_not_move_the_active_set(net, images):
    class Shifted(nn.Module):
        def forward(self, x):
            return net(x) + 3 * (x**2).sum((1, 2, 3), keepdim=True).flatten(1)

    assert torch.equal(active(Shifted(), images, 1) != 0, active(net, images, 1) != 0)
    assert torch.equal(inactive(Shifted(), images, 1) != 0, inactive(net, images, 1) != 0)


# ---- signed_maps: all at once, one forward, no K gradients in memory


@pytest.mark.parametrize(
    "target", [None, 1, torch.tensor([3, 0, 1, 2, 0])], ids=["predicted", "int", "tensor"]
)
def test_signed_maps_are_the_separate_methods(net, images, target):
    maps = signed_maps(net, images, target)
    assert maps._fields == tuple(EQUATIONS)
    for name in EQUATIONS:
        result = getattr(maps, name)
        assert result.shape == (5, 6, 5) and result.dtype == torch.float64 and (result >= 0).all()
        assert_close(result, to_map(SEPARATE[name](net, images, target), "absmax"))


@pytest.mark.parametrize("call", [signed_maps, class_gradients])
def test_one_forward_for_all_classes(counting, net, images, call):
    model = counting(net)
    call(model, images)
    assert model.batches == [(5, 3, 6, 5)]


def peak_bytes(function):
    """The most that PyTorch held at once on the CPU beyond what it held before `function`."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    live = top = 0
    for event in sorted(
        (e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"),
        key=lambda e: e.start_ns(),
    ):
        live += event.nbytes()
        top = max(top, live)
    return top


@pytest.mark.parametrize("call", [signed_maps, active, inactive])
def test_memory_does_not_grow_with_the_number_of_classes(call):
    """At K = 400 far fewer gradients are alive than classes."""
    model = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 400)).eval()
    images = torch.rand(2, 3, 16, 16)
    # the gauge works
    assert peak_bytes(lambda: torch.zeros(100, *images.shape)) == 100 * images.nbytes
    assert peak_bytes(lambda: call(model, images, 7)) < 100 * images.nbytes


# ---- the contract, for every method of the registry


def test_the_registry_describes_each_method():
    assert set(METHODS) >= {"saliency", "positive", "negative", "active", "inactive"}
    for name, method in METHODS.items():
        assert method.function is getattr(attribution, name)
        assert method.label and method.reference and set(method.reduce) == {"sign", "noise"}
        assert set(method.reduce.values()) <= {"absmax", "sum", "max"}
    assert METHODS["saliency"].reduce == {"sign": "absmax", "noise": "sum"}
    for name in ("active", "inactive"):
        assert METHODS[name].reduce == {"sign": "absmax", "noise": "absmax"}
    for name in ("positive", "negative"):
        assert METHODS[name].reduce["sign"] == "absmax"


@each_method
def test_signature(method):
    first, *rest = inspect.signature(method.function).parameters.values()
    assert [first.name] + [p.name for p in rest[:2]] == ["model", "images", "target"]
    assert rest[1].default is None
    for p in rest[2:]:
        if p.kind is not p.VAR_KEYWORD:
            assert p.kind is p.KEYWORD_ONLY
            assert p.default is not p.empty


def test_signatures_beside_the_registry():
    def names(function):
        return {
            p.name: p.default
            for p in inspect.signature(function).parameters.values()
            if p.kind is not p.KEYWORD_ONLY
        }

    assert names(class_gradients) == {
        "model": inspect._empty,
        "images": inspect._empty,
        "classes": None,
    }
    assert list(names(signed_maps)) == ["model", "images", "target", "classes"]
    assert list(names(to_map)) == ["attributions", "reduce"] and list(names(normalize)) == ["maps"]


@on_each_net({name: method.function for name, method in METHODS.items()})
def test_shape_dtype_and_a_batch_equals_its_images(call, net, images):
    whole = call(net, images)
    assert whole.shape == images.shape
    assert whole.dtype == torch.float64
    assert not whole.requires_grad
    assert whole.isfinite().all()
    assert whole.any()
    assert_close(whole, torch.cat([call(net, image[None]) for image in images]))
    targets = torch.tensor([3, 0, 1, 2, 0])
    ones = [
        call(net, image[None], int(target)) for image, target in zip(images, targets, strict=True)
    ]
    assert_close(call(net, images, targets), torch.cat(ones))


@each_call
def test_single_precision_stays_single(call, make_net, images):
    net = make_net("functional")
    for single, double in zip(
        tensors(call(net.float(), images.float())), tensors(call(net.double(), images)), strict=True
    ):
        assert single.dtype == torch.float32
        assert_close(single.double(), double, rtol=1e-3, atol=1e-4)


@each_call
def test_any_memory_layout(call, make_net, images):
    net, expected = make_net("functional"), tensors(call(make_net("functional"), images))
    wide = torch.zeros(5, 3, 6, 10, dtype=torch.float64)
    wide[..., ::2] = images
    for same in (
        images.contiguous(memory_format=torch.channels_last),
        wide[..., ::2],
        images.flip(0).flip(0),
    ):
        for result, reference in zip(tensors(call(net, same)), expected, strict=True):
            assert_close(result, reference)


@each_call
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_works_under_the_callers_grad_mode(call, mode, make_net, images, unchanged):
    net = make_net(residual_or_pooled(call))
    expected = tensors(call(make_net(residual_or_pooled(call)), images))
    with mode(), unchanged(net):
        # under inference_mode the clone is an inference tensor
        result = call(net, images.clone())
    for got, reference in zip(tensors(result), expected, strict=True):
        assert torch.equal(got.clone(), reference) and not got.requires_grad


@each_call
def test_a_model_may_begin_in_place(call, shifting, make_net, images, unchanged):
    """The caller's images stay as they are, and the result is that of the same shift out of place;
    by the chain rule gradients double.
    """
    net = make_net("functional")

    class Shifted(nn.Module):
        def forward(self, x):
            return net((x - 0.5) * 2)

    for same in (images, images.contiguous(memory_format=torch.channels_last)):
        with unchanged(net, same):
            results = tensors(call(shifting(net), same))
        for got, reference in zip(results, tensors(call(Shifted(), same)), strict=True):
            assert_close(got, reference)
    assert_close(saliency(shifting(net), images), 2 * saliency(net, (images - 0.5) * 2))


def mixed(net):
    """Frozen and trainable parameters, a gradient already there, train and eval modules, a hook."""
    for index, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(index % 2 == 0)
    for index, module in enumerate(list(net.modules())[1:]):
        module.train(index % 2 == 0)
    first = next(net.parameters())
    first.grad = torch.ones_like(first)
    list(net.children())[0].register_forward_hook(lambda *_: None)
    return net


@on_each_net(CALLS)
def test_the_model_and_the_input_are_untouched(call, net, images, unchanged):
    net = mixed(net)
    with unchanged(net, images):
        call(net, images)
    leaf = images.clone().requires_grad_()
    with unchanged(net, leaf):
        call(net, leaf)


@on_each_net(CALLS)
def test_a_frozen_model_works_as_a_trainable_one(call, net, images, unchanged):
    expected = tensors(call(net, images))
    net.requires_grad_(False)
    with unchanged(net, images):
        result = tensors(call(net, images))
    for got, reference in zip(result, expected, strict=True):
        assert torch.equal(got, reference)


@each_call
def test_a_model_left_in_train_mode_gives_the_same(call, make_net, images, unchanged):
    """Dropout off, running statistics of batch norm used and not moved, no global random number
    drawn.
    """
    expected = tensors(call(make_net(residual_or_pooled(call)), images))
    net = make_net(residual_or_pooled(call)).train()
    if hasattr(net, "norm"):
        net.norm.eval()
    with unchanged(net, images):
        result = tensors(call(net, images))
    for got, reference in zip(result, expected, strict=True):
        assert_close(got, reference)


class Exploding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("on the way back")


class Failing(nn.Module):
    def __init__(self, body, backward):
        super().__init__()
        self.body, self.backward = body, backward

    def forward(self, images):
        logits = Exploding.apply(self.body(images))
        if not self.backward:
            raise RuntimeError("on the way there")
        return logits


@each_call
@pytest.mark.parametrize("backward", [False, True], ids=["there", "back"])
def test_the_model_is_untouched_after_an_exception(call, backward, make_net, images, unchanged):
    model = Failing(mixed(make_net(residual_or_pooled(call)).train()), backward)
    leaf = images.clone().requires_grad_()
    with unchanged(model, leaf), pytest.raises(RuntimeError, match="on the way"):
        call(model, leaf)


@each_targeted
@pytest.mark.parametrize(
    "target",
    [
        4,
        -1,
        torch.tensor([0, 1, 2, 3, 4]),
        torch.tensor([0, 1, -1, 3, 0]),
        torch.tensor([0, 1]),
        torch.zeros(6, dtype=torch.int64),
        torch.zeros(5, 1, dtype=torch.int64),
        torch.zeros(5),
        1.5,
        "cat",
    ],
    ids=repr,
)
def test_a_bad_target_is_one_clear_sentence(call, target, make_net, images, unchanged):
    net = make_net(residual_or_pooled(call)).train()
    with unchanged(net, images), pytest.raises(ValueError, match="target") as caught:
        call(net, images, target)
    assert "\n" not in str(caught.value) and 20 < len(str(caught.value)) < 250


@each_call
@pytest.mark.parametrize("shape", [(3, 6, 5), (1, 5, 3, 6, 5), (5, 90)])
def test_images_that_are_not_4d_are_refused(call, shape, make_net):
    with pytest.raises(ValueError, match="images") as caught:
        call(make_net("functional"), torch.zeros(shape, dtype=torch.float64))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [lambda *a, **k: signed_maps(*a, None, **k), class_gradients],
    ids=["signed_maps", "class_gradients"],
)
@pytest.mark.parametrize("classes", [[0, 4], [-1]])
def test_classes_that_the_model_does_not_have_are_refused(call, classes, make_net, images):
    with pytest.raises(ValueError, match="class"):
        call(make_net("functional"), images, classes=classes)


# ---- to_map and normalize

ATTRIBUTION = torch.tensor(
    [[[[1.0, -2.0], [0.0, 3.0]], [[-5.0, 1.0], [0.0, -3.0]], [[2.0, -1.0], [0.0, 1.0]]]],
    dtype=torch.float64,
)


@pytest.mark.parametrize(
    "reduce, expected",
    [("absmax", [[5, 2], [0, 3]]), ("sum", [[-2, -2], [0, 1]]), ("max", [[2, 1], [0, 3]])],
)
def test_to_map_by_hand(reduce, expected):
    before = ATTRIBUTION.clone()
    assert to_map(ATTRIBUTION, reduce).tolist() == [expected]
    assert torch.equal(ATTRIBUTION, before)


@pytest.mark.parametrize(
    "reduce, of_pixel", [("absmax", lambda v: max(abs(x) for x in v)), ("sum", sum), ("max", max)]
)
def test_to_map_pixel_by_pixel(reduce, of_pixel):
    attributions = torch.randn(
        2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    maps = to_map(attributions, reduce)
    assert maps.shape == (2, 4, 5) and maps.dtype == torch.float64
    for n, i, j in itertools.product(range(2), range(4), range(5)):
        assert maps[n, i, j].item() == pytest.approx(
            of_pixel(attributions[n, :, i, j].tolist()), abs=1e-12
        )


def test_to_map_names_what_it_accepts():
    with pytest.raises(ValueError, match="mean") as caught:
        to_map(ATTRIBUTION, "mean")
    assert all(name in str(caught.value) for name in ("absmax", "sum", "max"))


def test_normalize_each_image_by_its_own_range():
    maps = torch.tensor(
        [
            [[1.0, 3.0], [2.0, 5.0]],
            [[-4.0, 0.0], [4.0, -2.0]],
            [[7.0, 7.0], [7.0, 7.0]],
            [[0.0, 0.0], [0.0, 0.0]],
        ],
        dtype=torch.float64,
    )
    before = maps.clone()
    assert normalize(maps).tolist() == [
        [[0, 0.5], [0.25, 1]],
        [[0, 0.5], [1, 0.25]],
        [[0, 0], [0, 0]],
        [[0, 0], [0, 0]],
    ]
    assert torch.equal(maps, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale, shift", [(1, 0), (1e-30, 0), (1e-12, 0), (1e20, 0), (-3, 5)])
def test_normalize_at_any_scale(dtype, scale, shift):
    maps = (
        scale * torch.rand(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        + shift
    ).to(dtype)
    result = normalize(maps)
    assert result.dtype == dtype and result.shape == maps.shape
    assert torch.equal(result.amin((1, 2)), torch.zeros(3, dtype=dtype))
    assert torch.equal(result.amax((1, 2)), torch.ones(3, dtype=dtype))
    order = maps.flatten(1).argsort(1)
    assert (result.flatten(1).gather(1, order).diff(dim=1) >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_normalize_of_other_numbers(dtype):
    """Half-precision maps narrower than its smallest normal number, or wider than it can count."""
    whole = dtype == torch.int64
    for scale in (1,) if whole else (1e-6, 6e4):
        maps = (scale * torch.tensor([[[-1.0, 0.0], [0.5, 1.0]]])).round(decimals=8).to(dtype)
        result = normalize(maps)
        assert result.dtype == (torch.float64 if whole else dtype)
        expected = [[0, 0.5, 0.5, 1]] if whole else [[0, 0.5, 0.75, 1]]
        assert_close(result.double().flatten(1), f64(expected), rtol=0, atol=0.05)


@pytest.mark.parametrize("reduce", ["absmax", "sum", "max"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_to_map_refuses_nan_and_what_is_no_tensor(reduce, dtype):
    attributions = torch.rand(2, 3, 4, 5).to(dtype)
    assert not to_map(attributions, reduce).isnan().any()
    attributions[1, 2, 3, 4] = torch.nan
    refused(lambda: to_map(attributions, reduce), "attributions contain NaN")
    refused(lambda: to_map(attributions.numpy(), reduce), "tensor [N,C,H,W]", "ndarray")
    refused(lambda: normalize([[[1.0]]]), "tensor [N,H,W]", "list")


@pytest.mark.parametrize("value, word", [(torch.nan, "NaN"), (torch.inf, "infinity")])
def test_normalize_refuses_what_cannot_be_shown(value, word):
    maps = torch.rand(2, 3, 4)
    maps[1, 2, 3] = value
    with pytest.raises(ValueError, match=f"maps contain {word}"):
        normalize(maps)


def test_sums_of_half_precision_are_in_single():
    halves = torch.full((1, 3, 1, 2), 4e4, dtype=torch.float16)
    assert to_map(halves, "sum").tolist() == [[[120000, 120000]]]
    assert to_map(halves, "absmax").dtype == torch.float16


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e20, 1e-30])
def test_a_constant_map_becomes_zeros(value):
    assert torch.equal(normalize(torch.full((2, 3, 4), value)), torch.zeros(2, 3, 4))
