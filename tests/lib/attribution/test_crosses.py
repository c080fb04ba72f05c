"""lib.attribution.crosses: RectGrad's both tails and its signed parts against a slow backward pass,
integrated parts class by class, controls by hand.
"""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lib import attribution
from lib.attribution import METHODS, crosses, integrated_gradients, rectgrad, rules, to_map
from lib.attribution.crosses import (
    CONTROLS,
    NEW,
    PARENTS,
    both_tails,
    integrated_part,
    rectgrad_both_tails,
    rectgrad_part,
)
from lib.attribution.engine import Engine
from study.subjects import networks, shapes10
from study.subjects.pictures import to_range

pytestmark = pytest.mark.usefixtures("one_thread")

PARTS = ("positive", "negative", "active", "inactive")
# thresholds of 98 % leave little of layers this small
CALLS = {
    **{f"rectgrad_{part}": partial(rectgrad_part, part=part, q=60) for part in PARTS},
    "rectgrad_both_tails": partial(rectgrad_both_tails, q=60),
    **{f"integrated_{part}": partial(integrated_part, part=part, steps=4) for part in PARTS[2:]},
}

each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
each_part = pytest.mark.parametrize("part", PARTS)
each_rival_part = pytest.mark.parametrize("part", PARTS[2:])


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def unit(a, upper=math.inf, function=None):
    """A ReLU whose outputs are `a`: where a is 0 its input was negative."""
    a = f64(a) if not isinstance(a, torch.Tensor) else a
    return rules.Activation(torch.where(a > 0, a, -1.0), a, 0, True, upper, function)


# ---- both tails by hand


def test_both_tails_of_known_scores():
    """Eleven units, q = 60: places 2 and 8 of the ascending order are the thresholds, -3 and 3;
    both stay out, and so does what lies between.
    """
    scores = f64([[3, -5, 0, 4, -1, 5, -3, 1, -4, 2, -2]])
    for a in (torch.ones_like(scores), f64([[2, 1, 4, 0.5, 1, 2, 3, 5, 0.25, 1, 1]])):
        R = scores / a
        assert torch.equal(both_tails(R, unit(a), q=60), torch.where(scores.abs() > 3, R, 0))
    # the thresholds are the extremes, and they are strict
    assert not both_tails(scores, unit(torch.ones_like(scores)), q=98).any()
    # both are the median, 0: everything else passes
    assert both_tails(scores, unit(torch.ones_like(scores)), q=0).count_nonzero() == 10


def test_it_is_the_score_that_is_ranked_and_the_gradient_that_passes():
    # scores 5, .9, 1, -1, 2: thresholds at places 1 and 3
    a = f64([[10, 0.1, 1, 1, 1]])
    R = f64([[0.5, 9, 1, -1, 2]])
    assert both_tails(R, unit(a), q=50).tolist() == [[0.5, 0, 0, -1, 0]]


def test_nothing_passes_when_all_scores_are_equal():
    for a, R in (
        ([[1, 2, 4]], [[4, 2, 1]]),
        ([[1, 2, 4]], [[-4, -2, -1]]),
        ([[0, 0, 0]], [[1, -2, 3]]),
    ):
        for q in (0, 50, 98, 100):
            assert not both_tails(f64(R), unit(a), q=q).any()


def test_a_silent_unit_passes_only_where_its_zero_is_in_a_tail():
    for sign in (1, -1):
        R = sign * f64([[7, 1, 1, 1, 1]])
        assert both_tails(R, unit([[0, 1, 1, 1, 1]]), q=50).tolist() == [[7 * sign, 0, 0, 0, 0]]
    assert both_tails(f64([[7, 7, 7, 5, -5]]), unit([[0, 0, 0, 1, 1]]), q=50).tolist() == [
        [0, 0, 0, 5, -5]
    ]


def test_thresholds_are_each_pictures_own():
    R = f64([[-2, -1, 0, 1, 2], [-200, -100, 0, 100, 200], [1, 2, 3, 4, 5]])
    assert both_tails(R, unit(torch.ones_like(R)), q=50).tolist() == [
        [-2, 0, 0, 0, 2],
        [-200, 0, 0, 0, 200],
        [1, 0, 0, 0, 5],
    ]


@pytest.mark.parametrize("q", [0, 30, 60, 90, 98, 100])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_percentiles_are_those_of_rectgrad(q, layout):
    generator = torch.Generator().manual_seed(0)
    a, R = (
        torch.randn(3, 4, 7, 5, dtype=torch.float64, generator=generator).contiguous(
            memory_format=layout
        )
        for _ in range(2)
    )
    a = a.clamp(min=-0.3) + 0.3  # many zeros
    result, score = both_tails(R, unit(a), q=q), a * R
    high, low = (rules.percentile(score, at) for at in ((100 + q) / 2, (100 - q) / 2))
    for n in range(3):
        ordered = np.sort(score[n].flatten().numpy())
        assert (low[n].item(), high[n].item()) == (
            ordered[round(139 * (100 - q) / 200)],
            ordered[round(139 * (100 + q) / 200)],
        )
        outside = (score[n] < low[n]) | (score[n] > high[n])
        assert torch.equal(result[n], R[n] * outside)
    assert bool(result.any()) == (q < 100)


def test_the_upper_tail_is_rectgrads():
    """As many units for the class as RectGrad at (100 + q) / 2, and of the mirrored gradient the
    same units, mirrored.
    """
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(2, 60, dtype=torch.float64, generator=generator)
    R = torch.randn(2, 60, dtype=torch.float64, generator=generator)
    both = both_tails(R, unit(a), q=80)
    assert torch.equal(both.clamp(min=0), rules.rectgrad(R, unit(a), q=90).clamp(min=0))
    assert (both < 0).any()
    assert torch.equal(both_tails(-R, unit(a), q=80), -both)


def test_a_bound_and_a_slope_multiply_what_passes():
    a, R = f64([[1, 2, 6, 6, 1]]), f64([[-9, 1, 1, 9, 1]])
    # z = 6 is at the bound of ReLU6
    assert both_tails(R, unit(a, upper=6.0), q=50).tolist() == [[-9, 0, 0, 0, 0]]
    z = f64([[-1, 0.5, 2, -0.2, 1]])
    smooth = rules.Activation(z, F.gelu(z), 0, True, math.inf, F.gelu)
    leaf = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.gelu(leaf).sum(), leaf)
    score = F.gelu(z) * R
    ordered = sorted(score[0].tolist())
    assert_close(
        both_tails(R, smooth, q=50),
        torch.where((score < ordered[1]) | (score > ordered[3]), R * slope, 0),
    )


# ---- a slow backward pass: every layer's matrix, unit by unit, the border zeroed by hand


def chain():
    net = (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 3, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(90, 6),
            nn.ReLU(),
            nn.Linear(6, 4),
        )
        .double()
        .eval()
    )
    for k, parameter in enumerate(net.parameters()):
        nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(k))
    return net


def slow(net, image, label, keep):
    """What comes back to one image; `keep(score, ordered)` says whether a unit with this a R passes
    its R, `ordered` the layer's.
    """
    inputs, x = [], image
    for layer in net:
        inputs.append(x)
        x = layer(x[None])[0].detach()
    g = torch.zeros_like(x)
    g[label] = 1
    for layer, x in zip(reversed(net), reversed(inputs), strict=True):
        if isinstance(layer, nn.ReLU):
            a = [max(z, 0.0) for z in x.flatten().tolist()]
            score = [u * R for u, R in zip(a, g.flatten().tolist(), strict=True)]
            ordered = sorted(score)
            g = f64(
                [
                    R if keep(s, ordered) else 0.0
                    for R, s in zip(g.flatten().tolist(), score, strict=True)
                ]
            ).view_as(x)
            continue
        if isinstance(layer, nn.Conv2d):
            inner = torch.zeros_like(g)
            inner[:, 1:-1, 1:-1] = g[:, 1:-1, 1:-1]  # the padding trick
            g = inner
        basis = torch.eye(x.numel(), dtype=torch.float64).view(-1, *x.shape)
        matrix = (layer(basis) - layer(torch.zeros_like(basis))).flatten(1).detach()  # [in,out]
        g = (matrix @ g.flatten()).view_as(x)
    return g


def at(ordered, q):
    return ordered[round((len(ordered) - 1) * q / 100)]


@pytest.mark.parametrize("q", [20, 60])
def test_rectgrad_of_both_tails_against_the_slow_pass(q, images):
    net = chain()

    def keep(score, ordered):
        return score > at(ordered, (100 + q) / 2) or score < at(ordered, (100 - q) / 2)

    for label in range(4):
        found = rectgrad_both_tails(net, images[:2], label, q=q)
        for image, mine in zip(images[:2], found, strict=True):
            assert_close(mine, image * slow(net, image, label, keep), rtol=1e-9, atol=1e-12)
        assert (found > 0).any()
        assert (found < 0).any()
        assert not torch.equal(found, rectgrad(net, images[:2], label, q=q, final_threshold=False))


@each_part
@pytest.mark.parametrize("q", [20, 60])
def test_parts_of_rectgrad_against_the_slow_pass(part, q, images):
    """Eqs. 3 to 6 pixel by pixel, of the gradients that come back for every class by itself."""
    net, kept = chain(), 0
    for n, target in enumerate((2, 0)):
        gradients = torch.stack(
            [
                slow(net, images[n], label, lambda s, ordered: s > at(ordered, q))
                for label in range(4)
            ]
        )
        expected = torch.zeros(3, 6, 5, dtype=torch.float64)
        for place in itertools.product(range(3), range(6), range(5)):
            own = gradients[(target, *place)].item()
            others = [gradients[(k, *place)].item() for k in range(4) if k != target]
            expected[place] = {
                "positive": max(own, 0),
                "negative": max(-own, 0),
                "active": own * all(own > g for g in others),
                "inactive": own * all(own < g for g in others),
            }[part]
        assert_close(
            rectgrad_part(net, images[n : n + 1], target, part=part, q=q)[0],
            expected,
            rtol=1e-9,
            atol=1e-12,
        )
        kept += expected.count_nonzero()
    assert kept > 0


@each_part
def test_parts_of_rectgrad_against_every_class_by_itself(part, net, images):
    targets = torch.tensor([3, 0, 1, 2, 0])
    rule = partial(rules.rectgrad, q=60.0)
    gradients = []
    for label in range(4):
        engine = Engine(rule, smooth=True, border="padded")
        gradients.append(attribution.ruled_gradient(net, images, label, "RectGrad", engine))
    gradients = torch.stack(gradients, 1)
    found = rectgrad_part(net, images, targets, part=part, q=60.0)
    for n, target in enumerate(targets.tolist()):
        own, others = gradients[n, target], gradients[n, [k for k in range(4) if k != target]]
        expected = {
            "positive": own.relu(),
            "negative": (-own).relu(),
            "active": own * (own > others).all(0),
            "inactive": own * (own < others).all(0),
        }[part]
        assert_close(found[n], expected, rtol=1e-9, atol=1e-12)
    assert found.any()


def test_the_parts_are_of_rectgrad_itself(net, images):
    """Positive less negative, times the input, is RectGrad; active and inactive keep values of that
    difference and exclude each other.
    """
    parts = {part: rectgrad_part(net, images, 1, part=part, q=60) for part in PARTS}
    gradient = parts["positive"] - parts["negative"]
    assert_close(images * gradient, rectgrad(net, images, 1, q=60, final_threshold=False))
    assert all(found.any() for found in parts.values())
    for part in ("active", "inactive"):
        assert_close(parts[part], gradient * (parts[part] != 0))
    assert not ((parts["active"] != 0) & (parts["inactive"] != 0)).any()
    # q is not forgotten
    assert not torch.equal(rectgrad_part(net, images, 1, part="positive"), parts["positive"])


# ---- integrated gradients


@each_rival_part
@pytest.mark.parametrize("targets", [None, 2, [3, 0, 1, 2, 0]], ids=["predicted", "int", "tensor"])
def test_integrated_parts_against_a_loop_over_classes(part, targets, net, images):
    """With the input shifted, so that the baseline of 0 lies inside its range."""
    images = images - 0.4
    # [4,N,C,H,W]
    each = torch.stack([integrated_gradients(net, images, label, steps=25) for label in range(4)])
    if targets is None:
        chosen = net(images).argmax(1).tolist()
    elif isinstance(targets, int):
        chosen = [targets] * 5
    else:
        chosen, targets = targets, torch.tensor(targets)
    parts = integrated_part(net, images, targets, part=part)
    for n, target in enumerate(chosen):
        own, others = each[target, n], each[[k for k in range(4) if k != target], n]
        beats = (own > others) if part == "active" else (own < others)
        assert_close(parts[n], own * beats.all(0), rtol=1e-9, atol=1e-12)
    assert parts.any()


def test_the_number_of_steps_is_counted(make_net, images):
    net = make_net("smooth")
    for steps in (1, 3):
        own, other = (integrated_gradients(net, images, label, steps=steps) for label in (1, 3))

        class Two(nn.Module):
            def forward(self, x):
                return net(x)[:, [1, 3]]

        assert_close(
            integrated_part(Two(), images, 0, part="active", steps=steps), own * (own > other)
        )


@each_rival_part
def test_integrated_parts_of_a_linear_model_by_hand(part, linear):
    """A class gains x w.

    Where x is negative, the class with the smallest weight gains most; ties are dropped, and x = 0
    ties everything.
    """
    rows = [
        # x, weight of the class and of its rivals; in the comments the gains, active, inactive
        (1, 3, 1, 2),  #   3   1   2      3       0
        (-1, 3, 1, 2),  #  -3  -1  -2      0      -3
        (2, -3, 1, 2),  #  -6   2   4      0      -6
        (-2, -3, 1, 2),  #   6  -2  -4      6       0
        (1, 3, 3, 2),  #   3   3   2      0       0
        (1, -3, -3, 2),  #  -3  -3   2      0       0
        (1, 2, 1, 3),  #   2   1   3      0       0
        (0, 3, 1, 2),  #   0   0   0      0       0
    ]
    x = f64([r[0] for r in rows]).view(1, 1, 1, 8)
    weight = f64([r[1:] for r in rows]).T.reshape(3, 1, 1, 8)
    expected = [3, 0, 0, 6, 0, 0, 0, 0] if part == "active" else [0, -3, -6, 0, 0, 0, 0, 0]
    assert integrated_part(linear(weight), x, 0, part=part).flatten().tolist() == pytest.approx(
        expected
    )


# ---- few classes


class First(nn.Module):
    """A network of which only the first classes are shown."""

    def __init__(self, body, count):
        super().__init__()
        self.body, self.count = body, count

    def forward(self, images):
        return self.body(images)[:, : self.count]


def signed(net, images, k):
    """RectGrad's gradient put together again from its two signs."""
    positive = rectgrad_part(net, images, k, part="positive", q=60)
    negative = rectgrad_part(net, images, k, part="negative", q=60)
    return positive - negative


FAMILIES = {
    "rectgrad": (partial(rectgrad_part, q=60), signed),
    "integrated": (partial(integrated_part, steps=4), partial(integrated_gradients, steps=4)),
}
each_family = pytest.mark.parametrize("family, whole", FAMILIES.values(), ids=FAMILIES)


@each_family
def test_of_one_logit_the_rival_gains_nothing(family, whole, make_net, images):
    """One logit z is the two logits (0, z): active is what speaks for it, inactive the rest."""
    net = First(make_net("functional"), 1)
    expected = whole(net, images, 1)
    assert (expected > 0).any() and (expected < 0).any()
    assert_close(family(net, images, 1, part="active"), expected.clamp(min=0))
    assert_close(family(net, images, 1, part="inactive"), expected.clamp(max=0))


@each_family
def test_of_two_classes_everything_that_differs_is_one_or_the_other(
    family, whole, make_net, images
):
    net = First(make_net("functional"), 2)
    own, rival = (whole(net, images, k) for k in (1, 0))
    up, down = (family(net, images, 1, part=part) for part in ("active", "inactive"))
    assert up.any() and down.any() and not ((up != 0) & (down != 0)).any()
    assert_close(up + down, own * (own != rival))
    # what is active for one is inactive for the other
    mirrored = [family(net, images, 0, part=part) != 0 for part in ("inactive", "active")]
    nonzero = (own != 0) & (rival != 0)
    assert torch.equal(mirrored[0] & nonzero, (up != 0) & nonzero)
    assert torch.equal(mirrored[1] & nonzero, (down != 0) & nonzero)


# ---- the contract of a method


@each_call
def test_shape_dtype_and_a_batch_equals_its_images(call, net, images):
    whole = call(net, images)
    assert whole.shape == images.shape
    assert whole.dtype == torch.float64
    assert not whole.requires_grad
    assert whole.isfinite().all()
    assert whole.any()
    assert_close(whole, torch.cat([call(net, image[None]) for image in images]))
    assert_close(whole, call(net, images, net(images).argmax(1)))
    targets = torch.tensor([3, 0, 1, 2, 0])
    assert_close(
        call(net, images, targets),
        torch.cat(
            [
                call(net, image[None], int(target))
                for image, target in zip(images, targets, strict=True)
            ]
        ),
    )


@each_call
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_model_is_left_as_it_was(call, mode, make_net, images, unchanged):
    net = make_net("residual").train()  # dropout and batch norm, which must not show
    expected = call(make_net("residual"), images)
    with mode():
        given = images.clone()
        with unchanged(net, given):
            assert torch.equal(call(net, given).clone(), expected)


@each_call
def test_the_model_is_left_as_it_was_after_an_error(call, make_net, images, unchanged):
    net = make_net("residual").train()
    with unchanged(net, images), pytest.raises(ValueError, match="class 4"):
        call(net, images, 4)


@each_call
def test_a_model_may_begin_in_place(call, shifting, make_net, images, unchanged):
    net = shifting(make_net("functional"))
    with unchanged(net, images):
        found = call(net, images)
    assert found.any()
    assert_close(found, torch.cat([call(net, image[None]) for image in images]))


@each_call
def test_single_precision_and_any_layout(call, make_net, images):
    expected = call(make_net("functional"), images)
    assert_close(
        call(make_net("functional"), images.contiguous(memory_format=torch.channels_last)), expected
    )
    single = call(make_net("functional").float(), images.float())
    assert single.dtype == torch.float32
    assert_close(single.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "call",
    [c for name, c in CALLS.items() if name.startswith("rectgrad")],
    ids=[name for name in CALLS if name.startswith("rectgrad")],
)
def test_a_network_without_an_activation_is_refused(call, linear, images):
    with pytest.raises(ValueError, match="RectGrad.*called none"):
        call(linear(torch.ones(4, 3, 6, 5)), images)


@pytest.mark.parametrize("name", ["functional", "inplace"])
def test_without_a_threshold_both_tails_are_the_input_times_the_gradient(name, make_net, images):
    """At q = 0 both thresholds are the median score: where more than half of a layer is silent it
    is 0, every unit that fires passes and no silent one does, as in a plain gradient. What the
    padding trick clears at the border is left aside.
    """
    net = make_net(name)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.bias.fill_(-1.5)  # which silences them
    seen = []

    def spy(g, unit):
        seen.append(((unit.a == 0).flatten(1).double().mean(1) > 0.55).all().item())
        return both_tails(g, unit, q=0.0)

    found = images * attribution.ruled_gradient(
        net, images, 2, "RectGrad", Engine(spy, smooth=True)
    )
    assert seen == [True, True] and found.any()
    assert_close(found, METHODS["input_x_gradient"].function(net, images, 2))


# ---- the registry


def test_every_new_method_is_described_and_has_two_parents():
    assert set(NEW) == set(PARENTS)
    assert not set(NEW) & set(METHODS)
    assert not set(CONTROLS) & (set(NEW) | set(METHODS))
    assert all(len(set(pair)) == 2 and set(pair) <= set(METHODS) for pair in PARENTS.values())
    assert PARENTS == {
        "rectgrad_positive": ("rectgrad", "positive"),
        "rectgrad_negative": ("rectgrad", "negative"),
        "rectgrad_active": ("rectgrad", "active"),
        "rectgrad_inactive": ("rectgrad", "inactive"),
        "rectgrad_both_tails": ("rectgrad", "input_x_gradient"),
        "integrated_active": ("integrated_gradients", "active"),
        "integrated_inactive": ("integrated_gradients", "inactive"),
    }
    assert len(
        {m.label for m in (*NEW.values(), *METHODS.values())}
        | {label for _, label in CONTROLS.values()}
    ) == len(NEW) + len(METHODS) + len(CONTROLS)
    for name, method in NEW.items():
        assert method.reference
        assert method.reduce == (
            {"sign": "absmax", "noise": "absmax"}
            if "active" in name
            else {"sign": "absmax", "noise": "sum"}
        )


def test_the_registry_names_the_functions_that_it_says(make_net, images):
    net = make_net("functional")
    for name, method in NEW.items():
        family, _, part = name.partition("_")
        call = (
            rectgrad_both_tails
            if part == "both_tails"
            else partial(
                {"rectgrad": rectgrad_part, "integrated": integrated_part}[family], part=part
            )
        )
        assert torch.equal(method.function(net, images, 1), call(net, images, 1))
    assert torch.equal(rectgrad_both_tails(net, images), rectgrad_both_tails(net, images, q=98.0))
    assert torch.equal(
        rectgrad_part(net, images, part="active"), rectgrad_part(net, images, part="active", q=98.0)
    )
    assert torch.equal(
        integrated_part(net, images, part="active"),
        integrated_part(net, images, part="active", steps=25),
    )


def test_no_new_method_is_empty_on_the_committed_network(unchanged):
    net, pictures = networks.load("rectgrad_cnn", "shapes10"), shapes10.draw("test", count=2)
    images, seen = to_range(pictures.images, net), []
    for name, method in NEW.items():
        found = method.function(net, images)
        assert found.shape == images.shape, name
        assert found.isfinite().all(), name
        assert found.flatten(1).any(1).all(), name
        seen.append(
            torch.stack([to_map(found, method.reduce[paper]) for paper in ("sign", "noise")])
        )
        assert seen[-1].flatten(2).any(2).all(), name
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(seen, 2))


# ---- controls


def test_noise_is_uniform_and_drawn_anew_at_every_call(images):
    big, generator = images.new_zeros(40, 3, 16, 12), torch.Generator().manual_seed(0)
    first, second = crosses.noise(big, generator), crosses.noise(big, generator)
    assert first.shape == (40, 16, 12)
    assert not torch.equal(first, second)
    assert torch.equal(first, crosses.noise(big + 1, torch.Generator().manual_seed(0)))
    assert first.min() >= 0
    assert first.max() < 1
    assert abs(first.mean() - 0.5) < 0.02
    assert abs(first.var() - 1 / 12) < 0.005
    parts = torch.Generator().manual_seed(0)
    # batches do not show
    assert torch.equal(torch.cat([crosses.noise(part, parts) for part in big.split(7)]), first)


def slow_sobel(grey):
    """Differences across, weighted 1 2 1 along and over 4, both ways; the root of their mean
    square; the picture mirrored at its border.
    """
    wide, (height, width) = np.pad(grey, 1, mode="symmetric"), grey.shape
    out = np.empty_like(grey)
    for i, j in itertools.product(range(height), range(width)):
        around = wide[i : i + 3, j : j + 3]
        across = (1, 2, 1) @ (around[:, 0] - around[:, 2]) / 4
        down = (around[0] - around[2]) @ (1, 2, 1) / 4
        out[i, j] = ((across**2 + down**2) / 2) ** 0.5
    return out


def test_edges_against_a_slow_sobel(images):
    found = crosses.edges(images, torch.Generator())
    assert found.shape == (5, 6, 5)
    assert found.dtype == images.dtype
    assert found.any()
    assert crosses.edges(images.float(), torch.Generator()).dtype == torch.float32
    for image, mine in zip(images.numpy(), found.numpy(), strict=True):
        np.testing.assert_allclose(
            mine, slow_sobel((image[0] + image[1] + image[2]) / 3), atol=1e-12
        )


def test_edges_by_hand():
    step = torch.zeros(2, 3, 4, 6, dtype=torch.float64)
    step[0, :, :, 3:] = 1  # from black to white between columns 2 and 3; the other picture is black
    found = crosses.edges(step, torch.Generator())
    assert_close(found[0], f64([0, 0, 0.5**0.5, 0.5**0.5, 0, 0]).expand(4, 6))
    assert not found[1].any()


@pytest.mark.parametrize("shape", [(3, 6, 5), (2, 3, 6, 5)], ids=["maps", "both reductions"])
def test_shuffling_keeps_every_value_and_moves_it(shape):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * (
        torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6
    )
    before = maps.clone()
    found = crosses.shuffled(maps, torch.Generator().manual_seed(0))
    assert found.shape == shape and torch.equal(maps, before)
    assert torch.equal(found.flatten(-2).sort(-1).values, maps.flatten(-2).sort(-1).values)
    assert not (found == maps).flatten(-2).all(-1).any()
    assert torch.equal(crosses.shuffled(maps, torch.Generator().manual_seed(0)), found)
    assert not torch.equal(crosses.shuffled(maps, torch.Generator().manual_seed(1)), found)


def test_shuffling_moves_both_reductions_alike_and_every_picture_by_itself():
    places = torch.arange(30.0).view(6, 5).expand(4, 6, 5)
    both = torch.stack([places, -2 * places])
    first, second = crosses.shuffled(both, torch.Generator().manual_seed(0))
    assert torch.equal(second, -2 * first)
    assert all(not torch.equal(first[i], first[j]) for i, j in itertools.combinations(range(4), 2))
    assert torch.equal(first, crosses.shuffled(places, torch.Generator().manual_seed(0)))


def test_every_place_is_as_likely():
    maps = torch.zeros(3000, 2, 2)
    maps[:, 0, 1] = 1
    assert (
        (crosses.shuffled(maps, torch.Generator().manual_seed(0)).mean(0) - 0.25).abs() < 0.03
    ).all()


def test_controls_answer_where_they_are_asked():
    """On the device of the pictures; the device "meta" is everywhere."""
    images, generator = torch.ones(2, 3, 4, 5, device="meta"), torch.Generator()
    assert crosses.noise(images, generator).device.type == "meta"
    assert crosses.shuffled(images[:, 0], generator).device.type == "meta"
