"""Backward rules three ways: worked by hand, against a slow reading of the papers' equations, and
against Captum and zennit.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import warnings
from functools import partial

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.testing import assert_close

from lib import attribution
from lib.attribution import (
    METHODS,
    deconvolution,
    deeplift,
    epsilon_lrp,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    rectgrad,
    rectgrad_prr,
    rules,
    saliency,
    smoothgrad,
)
from lib.attribution.crosses import rectgrad_both_tails, rectgrad_part
from lib.attribution.engine import Engine, border_width
from study.subjects import networks
from tests.refusal import refused

pytestmark = pytest.mark.usefixtures("one_thread")

NO_TRICK = {"padding_trick": False}
# every way to swap a backward rule; q is low enough that something passes in nets this small
RULED = {
    "deconvolution": deconvolution,
    "guided_backprop": guided_backprop,
    "epsilon_lrp": epsilon_lrp,
    "rectgrad": partial(rectgrad, q=60, final_threshold=False),
    "rectgrad_prr": partial(rectgrad_prr, q=60, final_threshold=False),
    "deeplift": partial(deeplift, baseline=0.3),
    "deeplift_rescale": partial(deeplift, baseline=0.3, max_pool="rescale"),
}
SMOOTH_TOO = [name for name in RULED if name not in ("deconvolution", "guided_backprop")]
each_ruled = pytest.mark.parametrize("call", RULED.values(), ids=RULED)


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def unit(z, a=None, last=False, upper=math.inf, function=None, z0=None):
    """An activation operation as a rule is told of it; `a` is relu(z) unless given."""
    a = z.clamp(0, upper) if a is None else a
    return rules.Activation(z, a, 0, last, upper, function, z0)


def drawn(net, seed=0, std=0.5):
    """The net with every parameter drawn anew, float64, eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.double().eval().parameters():
        with torch.no_grad():
            parameter.copy_(
                std * torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
            )
    return net


def plain(activation=nn.ReLU):
    """Sequential, for pictures of 3x6x5.

    The 1x1 convolution has no padding, the 3x3 convolution after the pool no interior.
    """
    return drawn(
        nn.Sequential(
            nn.Conv2d(3, 4, 5, padding=2),
            activation(),
            nn.Conv2d(4, 4, 3, padding="same"),
            activation(),
            nn.Conv2d(4, 3, 1),
            activation(),
            nn.MaxPool2d(2),
            nn.Conv2d(3, 3, 3, padding=1),
            activation(),
            nn.Flatten(),
            nn.Linear(18, 6),
            activation(),
            nn.Linear(6, 4),
        )
    )


def overlapping():
    """Windows that overlap, hang over the border (padding, ceil_mode) and stride by less than the
    kernel; a strided, a dilated and an unpadded convolution.
    """
    return drawn(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=(1, 2), dilation=(1, 2)),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d((2, 3), stride=1),
            nn.Conv2d(4, 4, (2, 1)),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8, 4),
        ),
        seed=1,
    )


CHAINS = {"plain": plain, "overlapping": overlapping}
each_chain = pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)


# ---- a slow and independent backward pass: no autograd, unit by unit and window by window


def slow(chain, image, label, relu, pool=None, border=None, baseline=None):
    """What comes back to `image` [C,H,W] from logit `label`; `relu` and `pool` as the functions
    below, `border(layer)` -> (rows, columns).
    """
    pool = pool or slow_max_pool
    layers = list(chain)
    last = max(i for i, layer in enumerate(layers) if isinstance(layer, nn.ReLU))
    way, way0 = [image], [torch.zeros_like(image) if baseline is None else baseline]
    with torch.no_grad():
        for layer in layers:
            way.append(layer(way[-1][None])[0])
            way0.append(layer(way0[-1][None])[0])
        g = f64([float(k == label) for k in range(4)])
        for i in reversed(range(len(layers))):
            layer, x, x0 = layers[i], way[i], way0[i]
            if isinstance(layer, nn.ReLU):
                g = f64(
                    relu(
                        g.flatten().tolist(), x.flatten().tolist(), x0.flatten().tolist(), i == last
                    )
                ).view_as(x)
            elif isinstance(layer, nn.MaxPool2d):
                g = pool(g, x, x0, layer)
            elif isinstance(layer, nn.Flatten):
                g = g.view_as(x)
            else:
                rows, columns = border(layer) if border and isinstance(layer, nn.Conv2d) else (0, 0)
                if g.ndim == 3 and g.shape[1] > 2 * rows and g.shape[2] > 2 * columns:
                    inside = torch.zeros_like(g)
                    inside[:, rows : g.shape[1] - rows, columns : g.shape[2] - columns] = 1
                    g = g * inside
                # the layer is affine: its matrix, column by column
                basis = torch.eye(x.numel(), dtype=torch.float64).view(-1, *x.shape)
                matrix = (layer(basis) - layer(torch.zeros_like(basis))).flatten(1)
                g = (matrix @ g.flatten()).view_as(x)
    return g


def each_unit(rule):
    """A layer's rule from one unit's: rule(R, z) -> R."""
    return lambda g, z, z0, last: [rule(*both) for both in zip(g, z, strict=True)]


def slow_rectgrad(rule, q=None, tau=None, eps=0.0):
    scores = {
        "PR1": lambda a, R: (a + eps) * R,
        "PR2": lambda a, R: abs((a + eps) * R),
        "PR3": lambda a, R: a + eps,
        "PR4": lambda a, R: R,
    }

    def relu(g, z, z0, last):
        name = rule
        if rule == "PR1+PR2":
            name = "PR1" if last else "PR2"
        score = [scores[name](max(u, 0.0), R) for R, u in zip(g, z, strict=True)]
        threshold = sorted(score)[round((len(score) - 1) * q / 100)] if tau is None else tau
        return [R if s > threshold else 0.0 for R, s in zip(g, score, strict=True)]

    return relu


def slow_rescale(g, z, z0, last):
    def change(u, u0):
        if abs(u - u0) > 1e-14:
            return (max(u, 0) - max(u0, 0)) / (u - u0)
        return float(u > 0)

    return [R * change(u, u0) for R, u, u0 in zip(g, z, z0, strict=True)]


def windows(layer, x, g):
    """(channel, place of the output, places of the input inside the picture) of every pooling
    window.
    """
    (kh, kw), (sh, sw), (ph, pw) = (
        v if isinstance(v, tuple) else (v, v)
        for v in (layer.kernel_size, layer.stride, layer.padding)
    )
    for c, i, j in itertools.product(*map(range, g.shape)):
        rows, columns = range(i * sh - ph, i * sh - ph + kh), range(j * sw - pw, j * sw - pw + kw)
        yield (
            c,
            (c, i, j),
            [
                (c, u, v)
                for u in rows
                for v in columns
                if 0 <= u < x.shape[1] and 0 <= v < x.shape[2]
            ],
        )


def slow_max_pool(g, x, x0, layer):
    back = torch.zeros_like(x)
    for _, out, places in windows(layer, x, g):
        back[max(places, key=lambda p: x[p].item())] += g[out]
    return back


def slow_prr(g, x, x0, layer):
    """Appendix D.3: z = avg_pool(x) + 1e-10, s = R / z, R_in = x times what avg_pool's own gradient
    makes of s.
    """
    back = torch.zeros_like(x)
    for _, out, places in windows(layer, x, g):
        z = sum(x[p].item() for p in places) / len(places) + 1e-10
        for p in places:
            back[p] += x[p] * (g[out] / z) / len(places)
    return back


def slow_rescale_max_pool(g, x, x0, layer):
    """The difference of two maxima, as a share of the difference at one place: the image's maximum
    if it rose, else the baseline's.
    """
    back = torch.zeros_like(x)
    for _, out, places in windows(layer, x, g):
        high, low = max(places, key=lambda p: x[p].item()), max(places, key=lambda p: x0[p].item())
        rise, place = (x[high] - x0[low]).item(), high if x[high] >= x0[low] else low
        share = rise / (x[place] - x0[place]).item() if abs(x[place] - x0[place]) > 1e-14 else 1.0
        assert -1e-12 < share < 1 + 1e-12
        back[place] += g[out] * share
    return back


def slow_border(reading):
    """The trick at a convolution by the three readings of appendix C.1; padding by hand for the
    layers of CHAINS.
    """

    def border(layer):
        half = tuple(
            d * (k - 1) // 2 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)
        )
        padded = layer.padding == "same" or any(layer.padding)
        if reading == "released":
            return (1, 1) if layer.padding in ("same", half) else (0, 0)
        if not padded:
            return 0, 0
        return (1, 1) if reading == "padded" else half

    return border


def against(chain, images, call, relu, *, times_input=True, **options):
    """`call` on a batch equals the slow pass image by image, for every class; and some of it is not
    zero.
    """
    start = options.get("baseline")
    for label in range(4):
        got, total = call(chain, images, label), 0
        for image, mine in zip(images, got, strict=True):
            expected = slow(chain, image, label, relu, **options)
            if times_input:
                expected = (image - (0 if start is None else start)) * expected
            assert_close(mine, expected, rtol=1e-9, atol=1e-12)
            total += (mine != 0).sum()
        assert total > 0


SLOW_REFERENCES = {
    "deconvolution": (deconvolution, each_unit(lambda R, z: max(R, 0.0)), {"times_input": False}),
    "guided": (
        guided_backprop,
        each_unit(lambda R, z: max(R, 0.0) if z > 0 else 0.0),
        {"times_input": False},
    ),
    "epsilon-LRP": (
        partial(epsilon_lrp, epsilon=0.03),
        each_unit(lambda R, z: R * max(z, 0.0) / (z + (0.03 if z >= 0 else -0.03))),
        {},
    ),
    "gradient * input": (input_x_gradient, each_unit(lambda R, z: R if z > 0 else 0.0), {}),
    "DeepLIFT": (deeplift, slow_rescale, {}),
    "DeepLIFT, max pool rescaled": (
        partial(deeplift, max_pool="rescale"),
        slow_rescale,
        {"pool": slow_rescale_max_pool},
    ),
}


@each_chain
@pytest.mark.parametrize("name", SLOW_REFERENCES)
def test_against_the_slow_pass(name, chain, images):
    call, relu, options = SLOW_REFERENCES[name]
    against(chain(), images[:2], call, relu, **options)


@each_chain
@pytest.mark.parametrize("max_pool", ["gradient", "rescale"])
def test_deeplift_from_a_baseline_against_the_slow_pass(max_pool, chain, images):
    """The baseline equals the image in part, so that differences vanish and the derivative takes
    the quotient's place.
    """
    pair = images[:2].clone()
    start = torch.rand(3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    pair[:, :, :4] = start[:, :4]
    pool = slow_rescale_max_pool if max_pool == "rescale" else slow_max_pool
    against(
        chain(),
        pair,
        partial(deeplift, baseline=start, max_pool=max_pool),
        slow_rescale,
        pool=pool,
        baseline=start,
    )


@each_chain
@pytest.mark.parametrize("rule", ["PR1", "PR2", "PR3", "PR4", "PR1+PR2"])
def test_rectgrad_against_the_slow_pass(rule, chain, images):
    for q, eps in ((30, 0.0), (55, 0.2)):
        call = partial(
            rectgrad, q=q, rule=rule, eps=eps, final_threshold=False, padding_trick=False
        )
        against(chain(), images[:2], call, slow_rectgrad(rule, q, eps=eps))


@each_chain
@pytest.mark.parametrize("tau", [0.0, 0.05, -0.05])
def test_rectgrad_by_tau_against_the_slow_pass(tau, chain, images):
    against(
        chain(),
        images[:2],
        partial(rectgrad, q=99, tau=tau, final_threshold=False, padding_trick=False),
        slow_rectgrad("PR1", tau=tau),
    )


@each_chain
@pytest.mark.parametrize("border", ["padded", "half_kernel", "released"])
@pytest.mark.parametrize("prr", [False, True], ids=["max pool", "PRR"])
def test_padding_trick_and_prr_against_the_slow_pass(border, prr, chain, images):
    call = partial(rectgrad, q=20, border=border, prr=prr, final_threshold=False)
    against(
        chain(),
        images[:2],
        call,
        slow_rectgrad("PR1", 20),
        border=slow_border(border),
        pool=slow_prr if prr else slow_max_pool,
    )


def test_the_three_borders_differ(images):
    net = drawn(
        nn.Sequential(
            nn.Conv2d(3, 4, 1),
            nn.ReLU(),
            nn.Conv2d(4, 4, 5, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(120, 4),
        )
    )
    results = [
        rectgrad(net, images, q=20, border=border, final_threshold=False)
        for border in ("padded", "half_kernel", "released")
    ]
    results.append(rectgrad(net, images, q=20, padding_trick=False, final_threshold=False))
    assert all(a.any() and not torch.equal(a, b) for a, b in itertools.permutations(results, 2))
    assert torch.equal(rectgrad(net, images, q=20, final_threshold=False), results[0])


def test_without_the_product_rectgrad_is_what_comes_back(net, images):
    """Brocki and Chung 2020: a pixel of value 0 has an attribution then, by hand below."""
    call = partial(rectgrad, q=20, padding_trick=False, final_threshold=False)
    back = call(net, images, 1, multiply_input=False)
    assert_close(images * back, call(net, images, 1))
    linear = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        linear[2].weight.copy_(torch.tensor([[1.0, 2.0, -1.0], [0, 0, 0]]))
    picture = torch.tensor([[[[3.0, 2.0, 1.0]]]], dtype=torch.float64)
    shown = rectgrad(linear, picture, 0, tau=-2, multiply_input=False, final_threshold=False)
    assert shown.tolist() == [[[[1, 2, -1]]]]
    assert rectgrad(linear, picture, 0, tau=-2, multiply_input=False).tolist() == [[[[1, 2, 0]]]]
    shifted = nn.Sequential(nn.Conv2d(1, 1, 1), *linear).double()
    with torch.no_grad():
        shifted[0].weight.fill_(1), shifted[0].bias.fill_(2)
    grey = torch.zeros(1, 1, 1, 3, dtype=torch.float64)  # mid-grey where pixels run from -1 to 1
    assert not rectgrad(shifted, grey, 0, q=50).any()
    assert rectgrad(shifted, grey, 0, q=50, multiply_input=False).tolist() == [[[[0, 2, 0]]]]


def test_the_final_threshold_keeps_the_positive_part(net, images):
    signed = rectgrad(net, images, 1, q=20, final_threshold=False)
    assert (signed < 0).any() and torch.equal(rectgrad(net, images, 1, q=20), signed.clamp(min=0))


# ---- the paper's claims


@pytest.mark.parametrize("name", ["functional", "inplace", "residual"])
@pytest.mark.parametrize("label", [None, 2])
def test_claims_1_and_2_are_identities(name, label, make_net, images):
    """With the input shifted, so that not all of it is positive; without the padding trick."""
    net, images = make_net(name), images - 0.4
    first = rectgrad(net, images, label, tau=0, eps=1e-3, **NO_TRICK)
    second = rectgrad(net, images, label, tau=0, **NO_TRICK)
    assert (
        torch.equal(first, (images * deconvolution(net, images, label)).clamp(min=0))
        and first.any()
    )
    assert torch.equal(second, (images * guided_backprop(net, images, label)).clamp(min=0))
    assert second.any()
    assert not torch.equal(first, second)


@each_chain
def test_claims_on_chains_and_bounded_relus(chain, images):
    net = chain()
    for tested in (
        net,
        nn.Sequential(
            *[
                nn.ReLU6() if isinstance(layer, nn.ReLU) else layer
                for layer in drawn(chain(), std=1.5)
            ]
        ),
    ):
        for label in range(4):
            assert torch.equal(
                rectgrad(tested, images, label, tau=0, eps=1e-6, **NO_TRICK),
                (images * deconvolution(tested, images, label)).clamp(min=0),
            )
            assert torch.equal(
                rectgrad(tested, images, label, tau=0, **NO_TRICK),
                (images * guided_backprop(tested, images, label)).clamp(min=0),
            )


@pytest.mark.parametrize("rule, picked", [("PR1", 1), ("PR2", 2), ("PR3", 0), ("PR4", 3)])
def test_the_example_of_appendix_b2(rule, picked, linear):
    """f = a1 + 10 a2 - 100 a3 + 1000 a4 at a = (3,2,1,0), q = 74.

    Each rule passes one unit alone.
    """
    a, R = f64([[3, 2, 1, 0]]), f64([[1, 10, -100, 1000]])
    kept = rules.rectgrad(R, unit(a), q=74, rule=rule)
    expected = torch.zeros(1, 4, dtype=torch.float64)
    expected[0, picked] = R[0, picked]
    assert torch.equal(kept, expected)
    model = nn.Sequential(nn.ReLU(), linear(R.view(1, 1, 1, 4)))
    assert torch.equal(
        rectgrad(model, a.view(1, 1, 1, 4), 1, q=74, rule=rule, final_threshold=False).flatten(),
        (a * expected).flatten(),
    )


def test_pr1_where_it_is_last_and_pr2_elsewhere():
    """Fig. 17's rule: scores (30, 20, -100) pick the first by PR1 and the third by PR2."""
    a, R = f64([[3, 2, 1]]), f64([[10, 10, -100]])
    assert rules.rectgrad(R, unit(a, last=True), q=50, rule="PR1+PR2").tolist() == [[10, 0, 0]]
    assert rules.rectgrad(R, unit(a, last=False), q=50, rule="PR1+PR2").tolist() == [[0, 0, -100]]


def test_q_0_passes_silent_units_once_a_score_is_negative():
    """The noise of q = 0: a zero score is above the smallest, and so silent units pass.

    Without a negative score they do not.
    """
    z, R = f64([[2, -1, 3, -2]]), f64([[1, 5, -1, 7]])
    assert rules.rectgrad(R, unit(z), q=0).tolist() == [[1, 5, 0, 7]]
    assert rules.rectgrad(R.abs(), unit(z), q=0).tolist() == [[1, 0, 1, 0]]


@pytest.mark.parametrize("name", ["functional", "inplace", "residual", "smooth"])
def test_q_100_passes_nothing(name, make_net, images):
    assert not rectgrad(make_net(name), images, q=100, final_threshold=False).any()


# ---- the percentile


def by_sorting(row, q):
    return sorted(row)[round((len(row) - 1) * q / 100)]


@pytest.mark.parametrize("shape", [(3, 1), (3, 2), (3, 7), (2, 4, 3, 5), (1, 101)])
@pytest.mark.parametrize("q", [0, 1, 12.5, 49.9, 50, 50.1, 74, 98, 99.9, 100])
def test_percentile_is_the_nearest_rank_of_each_image(shape, q):
    values = torch.randn(
        shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape))
    )
    expected = f64([by_sorting(row, q) for row in values.flatten(1).tolist()])
    before = values.clone()
    assert torch.equal(rules.percentile(values, q), expected) and torch.equal(values, before)
    if len(shape) == 4:
        assert torch.equal(
            rules.percentile(values.contiguous(memory_format=torch.channels_last), q), expected
        )
        assert torch.equal(rules.percentile(values.transpose(1, 3), q), expected)
    position = (math.prod(shape[1:]) - 1) * q / 100
    if (
        abs(position % 1 - 0.5) > 1e-9
    ):  # half-way NumPy takes the lower value, we (and TensorFlow) the even rank
        assert_close(
            expected,
            torch.from_numpy(np.percentile(values.flatten(1).numpy(), q, axis=1, method="nearest")),
        )


def test_percentile_of_long_rows():
    """Rows too long to be sorted whole are searched: the same value."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 2**16 + 5, generator=generator).round(decimals=1).clamp(min=-0.5)
    for q in (0, 30, 50, 98, 100):
        assert rules.percentile(rows, q).tolist() == [by_sorting(row, q) for row in rows.tolist()]


def test_percentile_of_each_image_wherever_its_entries_are():
    """Two images of three entries each, six of one, or one of six."""
    values = f64([[1, 9], [2, 8], [3, 7], [40, 60], [50, 50], [70, 30]])
    assert rules.image_percentile(values, 100, 2).flatten().tolist() == [9, 9, 9, 70, 70, 70]
    assert rules.image_percentile(values, 100, 1).flatten().tolist() == [70] * 6
    for images in (6, None):
        highest = rules.image_percentile(values, 100, images)
        assert highest.shape == (6, 1) and highest.flatten().tolist() == [9, 8, 7, 60, 50, 70]
    refused(lambda: rules.image_percentile(values, 50, 4), "(6, 2)", "4 images", "at a time")


def test_percentile_by_hand():
    rows = f64([[5, 1, 4, 2, 3], [0, 0, 0, 7, 0]])
    assert [rules.percentile(rows, q).tolist() for q in (0, 50, 74, 100)] == [
        [1, 0],
        [3, 0],
        [4, 0],
        [5, 7],
    ]
    # 1.5 and .5, to even
    assert rules.percentile(f64([[3, 1, 2, 0]]), 50).item() == 2
    assert rules.percentile(f64([[1, 0]]), 50).item() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_percentile_keeps_the_dtype(dtype):
    values = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = rules.percentile(values.contiguous(memory_format=torch.channels_last), 80)
    assert found.dtype == dtype
    assert found.tolist() == [by_sorting(row, 80) for row in values.flatten(1).tolist()]


def test_the_threshold_is_strict_and_each_images_own():
    """Ties with the threshold do not pass; a large score in one image does not raise another's
    threshold; one unit never passes.
    """
    a, R = f64([[1, 1, 1, 2], [100, 200, 300, 400]]), torch.ones(2, 4, dtype=torch.float64)
    assert rules.rectgrad(R, unit(a), q=50).tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]
    assert rules.rectgrad(R, unit(a), q=30).tolist() == [[0, 0, 0, 1], [0, 0, 1, 1]]
    assert not rules.rectgrad(R, unit(torch.ones_like(a)), q=0).any()
    assert not rules.rectgrad(R[:, :1], unit(a[:, :1]), q=0).any()
    assert rules.rectgrad(R, unit(a), q=50, tau=1.5).tolist() == [[0, 0, 0, 1], [1, 1, 1, 1]]


# ---- every form of the operation


class Forms(nn.Module):
    """Convolution, activation, max pool, convolution, activation: `act` as a function of a tensor,
    so that any form of a call fits.
    """

    def __init__(self, act):
        super().__init__()
        self.act = act
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 4)
        drawn(self, seed=3, std=1.5)

    def forward(self, x):
        hidden = F.max_pool2d(self.act(self.first(x)), 2, 1)
        return self.head(self.act(self.second(hidden)).mean((2, 3)))


class Reusing(Forms):
    """Goes on with the tensor that an activation read: its pre-activation, or, in place, what the
    activation made of it (DenseNet).
    """

    def forward(self, x):
        z = self.first(x)
        hidden = F.max_pool2d(torch.cat([self.act(z), z], 1)[:, :4] + z, 2, 1)
        z = self.second(hidden)
        self.act(z)  # the returned value dropped: counts only where it was in place
        return self.head((self.act(hidden * 1) + z).mean((2, 3)))


def half_of_a_view(z):
    """In place on a view: the base is modified through it."""
    z[:, :2].relu_()
    z[:, 2:].relu_()
    return z


RELU_FORMS = {
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": partial(F.relu, inplace=True),
    "F.relu in place, by position": lambda z: F.relu(z, True),
    "F.relu by keyword": lambda z: F.relu(input=z),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "F.relu_": F.relu_,
    "Tensor.relu": lambda z: z.relu(),
    "Tensor.relu_": lambda z: z.relu_(),
    "clamp(min=0)": lambda z: z.clamp(min=0),
    "clamp(0)": lambda z: z.clamp(0),
    "clamp(0.)": lambda z: z.clamp(0.0, None),
    "torch.clamp(min=0)": lambda z: torch.clamp(z, min=0),
    "torch.clamp by keyword": lambda z: torch.clamp(input=z, min=0),
    "clamp_(min=0)": lambda z: z.clamp_(min=0),
    "torch.clamp_": lambda z: torch.clamp_(z, 0),
    "clamp_min(0)": lambda z: z.clamp_min(0),
    "clamp_min_(0)": lambda z: z.clamp_min_(0),
    "torch.clamp_min": lambda z: torch.clamp_min(z, 0),
    "torch.clamp_min_": lambda z: torch.clamp_min_(z, 0),
    "clamp(0, inf)": lambda z: z.clamp(0, math.inf),
    "nn.Threshold(0, 0)": nn.Threshold(0, 0),
    "F.threshold": lambda z: F.threshold(z, 0, 0),
    "F.threshold in place": lambda z: F.threshold(z, 0.0, 0.0, inplace=True),
    "F.hardtanh(0, inf)": lambda z: F.hardtanh(z, 0, math.inf),
}
RELU6_FORMS = {
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.relu6 in place": partial(F.relu6, inplace=True),
    "nn.Hardtanh(0, 6)": nn.Hardtanh(0, 6),
    "F.hardtanh": lambda z: F.hardtanh(z, 0.0, 6.0),
    "F.hardtanh in place": lambda z: F.hardtanh(z, min_val=0, max_val=6, inplace=True),
    "clamp(0, 6)": lambda z: z.clamp(0, 6),
    "clamp(min=0, max=6)": lambda z: torch.clamp(z, min=0, max=6.0),
    "clamp_(0, 6)": lambda z: z.clamp_(0, 6),
}
FORMS = {name: (form, nn.ReLU()) for name, form in RELU_FORMS.items()} | {
    name: (form, nn.ReLU6()) for name, form in RELU6_FORMS.items()
}
IN_PLACE = [
    name
    for name in FORMS
    if "in place" in name
    or name
    in (
        "torch.relu_",
        "F.relu_",
        "Tensor.relu_",
        "clamp_(min=0)",
        "torch.clamp_",
        "clamp_min_(0)",
        "torch.clamp_min_",
        "clamp_(0, 6)",
    )
]
each_form = pytest.mark.parametrize("name", FORMS)


@each_form
def test_the_engine_sees_each_form(name, images):
    form, reference = FORMS[name]
    with torch.no_grad():
        # else bounds are not tried
        assert (Forms(nn.Identity()).first(images) > 6).any() == 1
        assert (Forms(nn.Identity()).first(images) < 0).any()
    for call in RULED.values():
        expected = call(Forms(reference), images, 1)
        assert_close(call(Forms(form), images, 1), expected, rtol=1e-12, atol=1e-14)
        assert not torch.equal(expected, input_x_gradient(Forms(reference), images, 1))


@each_form
def test_forms_write_where_they_should(name, images):
    """Logits inside the engine are those outside, where a network goes on with the tensor that the
    activation was given.
    """
    net = Reusing(FORMS[name][0])
    for engine in (
        Engine(rules.guided),
        Engine(edit=lambda index, a: a),
        Engine(rules.rescale, smooth=True, border="padded"),
    ):
        leaf = images.clone().requires_grad_()
        with engine:
            inside = net(leaf.clone())
            with torch.no_grad():
                assert torch.equal(net(images.clone()), net(images.clone()))
        assert torch.equal(inside, net(images))
    other = Reusing(FORMS[name][1])
    assert torch.equal(net(images), other(images)) == (name not in IN_PLACE)


@pytest.mark.parametrize("name", IN_PLACE)
@each_ruled
def test_in_place_equals_its_translation(call, name, images):
    """z.relu_() is z = relu(z), for the rules as well."""

    class Translated(Reusing):
        def forward(self, x):
            z = self.act(self.first(x))
            hidden = F.max_pool2d(z + z, 2, 1)
            z = self.act(self.second(hidden))
            return self.head((self.act(hidden) + z).mean((2, 3)))

    form, reference = FORMS[name]
    assert_close(
        call(Reusing(form), images, 0),
        call(Translated(reference), images, 0),
        rtol=1e-12,
        atol=1e-14,
    )


@pytest.mark.parametrize("name", ["guided_backprop", "deconvolution", "epsilon_lrp", "deeplift"])
def test_in_place_on_a_view(name, images):
    assert_close(RULED[name](Forms(half_of_a_view), images), RULED[name](Forms(torch.relu), images))


def test_a_reused_and_a_residual_relu_by_hand(linear):
    """One ReLU used twice and a skip: f = 3 relu(x) - 2 relu(relu(x) - 1), x = (2, .5, -1), R = 1
    where x > 1 gets 3 - 2.
    """

    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.head = nn.ReLU(), linear(torch.ones(1, 1, 1, 3))

        def forward(self, x):
            hidden = self.relu(x)
            return self.head(3 * hidden - 2 * self.relu(hidden - 1))

    x = f64([2, 0.5, -1]).view(1, 1, 1, 3)
    assert saliency(Skip(), x).flatten().tolist() == [1, 3, 0]
    assert guided_backprop(Skip(), x).flatten().tolist() == [3, 3, 0]  # -2 is cut at the inner use
    assert deconvolution(Skip(), x).flatten().tolist() == [3, 3, 3]


def test_bounded_relu_by_hand():
    """ReLU6: nothing passes at or above the bound, as in the plain gradient; with eps and at q = 0
    neither.
    """
    z, R = f64([[-1, 0, 3, 6, 7]]), f64([[1, 2, 3, 4, 5]])
    six = unit(z, upper=6)
    assert rules.deconvolution(R, six).tolist() == [[1, 2, 3, 0, 0]]
    assert rules.guided(R, six).tolist() == [[0, 0, 3, 0, 0]]
    assert rules.rectgrad(R, six, tau=0, eps=1).tolist() == [[1, 2, 3, 0, 0]]
    leaf = z.clone().requires_grad_()
    assert torch.autograd.grad(F.relu6(leaf).sum(), leaf)[0].tolist() == [[0, 0, 1, 0, 0]]
    with Engine(rules.guided):
        out = F.relu6(leaf)
    assert torch.autograd.grad(out.sum(), leaf)[0].tolist() == [[0, 0, 1, 0, 0]]


@pytest.mark.parametrize(
    "form",
    [
        lambda z: z.clamp(min=0.1),
        lambda z: z.clamp(max=0),
        lambda z: z.clamp(-1, 1),
        lambda z: F.threshold(z, 0.1, 0),
        lambda z: F.threshold(z, 0, 0.1),
        F.hardtanh,
        torch.tanh,
        torch.sigmoid,
        lambda z: z.clamp(min=torch.zeros((), dtype=z.dtype) - 1),
    ],
)
def test_other_clamps_are_no_relu(form, images):
    refused(lambda: guided_backprop(Forms(form), images), "guided backpropagation", "ReLU")
    refused(lambda: rectgrad(Forms(form), images), "RectGrad", "GELU")


def index_of_negative(z):
    z[z < 0] = 0
    return z


UNSEEN = {
    "clip(min=0)": lambda z: z.clip(min=0),
    "torch.clip": lambda z: torch.clip(z, 0),
    "clip_": lambda z: z.clip_(0),
    "torch.threshold": lambda z: torch.threshold(z, 0, 0),
    "F.threshold_": lambda z: F.threshold_(z, 0, 0),
    "F.hardtanh_": lambda z: F.hardtanh_(z, 0, math.inf),
    "clamp of a NumPy zero": lambda z: z.clamp(min=np.float32(0)),
    "clamp of a tensor": lambda z: z.clamp(min=torch.zeros((), dtype=z.dtype)),
    "clamp of tensors": lambda z: torch.clamp(z, torch.zeros_like(z), torch.tensor(math.inf)),
    "maximum": lambda z: torch.maximum(z, torch.zeros_like(z)),
    "maximum, turned round": lambda z: torch.maximum(torch.zeros((), dtype=z.dtype), z),
    "Tensor.max": lambda z: z.max(torch.zeros((), dtype=z.dtype)),
    "fmax": lambda z: torch.fmax(z, other=torch.zeros_like(z)),
    "where": lambda z: torch.where(z > 0, z, 0.0),
    "where, turned round": lambda z: torch.where(z <= 0, torch.zeros_like(z), z),
    "Tensor.where": lambda z: z.where(z >= 0, torch.zeros_like(z)),
    "masked_fill": lambda z: z.masked_fill(z < 0, 0),
    "masked_fill_": lambda z: z.masked_fill_(z <= 0, 0.0),
    "a mask of booleans": lambda z: z * (z > 0),
    "a mask of numbers": lambda z: (z > 0).to(z.dtype) * z,
    "a mask in place": lambda z: z.mul_(z > 0),
    "an index": index_of_negative,
    "aten.relu": torch.ops.aten.relu,
    "aten.relu.default": torch.ops.aten.relu.default,
    "aten.relu_": torch.ops.aten.relu_.default,
    "aten.clamp_min": lambda z: torch.ops.aten.clamp_min.default(z, 0),
    "aten.hardtanh": lambda z: torch.ops.aten.hardtanh.default(z, 0.0, math.inf),
    "aten.threshold": lambda z: torch.ops.aten.threshold(z, 0, 0),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_no_relu_is_overlooked_in_silence(name, images):
    class Mixed(Forms):
        def forward(self, x):
            return self.head(
                torch.relu(self.second(F.max_pool2d(self.act(self.first(x)), 2, 1))).mean((2, 3))
            )

    for call in RULED.values():
        assert_close(
            call(Mixed(UNSEEN[name]), images, 1),
            call(Mixed(torch.relu), images, 1),
            rtol=1e-9,
            atol=1e-12,
        )


def written_by_a_mask(z):
    z = z.clone()
    z[z < 0.5] = 0
    return z


MASK = "a mask made of the picture's own values"
NO_RELU = {
    "where with a slope": (lambda z: torch.where(z > 0, z, 0.1 * z), "where"),
    "where with another mask": (lambda z: torch.where(z > 0.5, z, 0.0), "where"),
    "by the absolute value": (lambda z: (z + z.abs()) / 2, "abs"),
    "tanh": (torch.tanh, "tanh"),
    "a gate": (lambda z: z * z.sigmoid(), "sigmoid, a product of two activations"),
    "a norm": (lambda z: F.group_norm(z, 2), "native_group_norm"),
    "a norm by map": (F.instance_norm, "a norm by statistics of the picture"),
    "a power": (lambda z: z**2, "pow"),
    "softmax": (lambda z: z.softmax(1), "softmax"),
    "the larger of two": (lambda z: torch.maximum(z, z.flip(1)), "maximum"),
    "divided by itself": (lambda z: 1 / (z + 9), "reciprocal"),
    "another threshold": (lambda z: F.threshold(z, 0.2, 0.0), "threshold"),
    "another bound": (lambda z: z.clamp(-1, 1), "clamp"),
    "a mask": (lambda z: z * (z > 0.5), MASK),
    "a mask as numbers": (lambda z: z * ((z > 0.1) & (z < 0.5)).to(z.dtype), MASK),
    "a mask of the values alone": (lambda z: z * (z.detach() > 0.5), MASK),
    "filled by a mask": (lambda z: z.masked_fill(z < 0.5, 0.0), MASK),
    "written by a mask": (written_by_a_mask, MASK),
}


class Beside(Forms):
    """An activation of its own, then a ReLU."""

    def forward(self, x):
        return self.head(torch.relu(self.second(self.act(self.first(x)))).mean((2, 3)))


@pytest.mark.parametrize("name", ["guided_backprop", "deconvolution", "rectgrad", "epsilon_lrp"])
@pytest.mark.parametrize("act, word", NO_RELU.values(), ids=NO_RELU)
def test_what_has_no_rule_beside_a_relu_is_named_once(act, word, name, images):
    with pytest.warns(UserWarning, match=f"has no rule for .*{word}") as said:
        RULED[name](Beside(act), images, 1)
    assert len(said) == 1 and said[0].filename == __file__


NO_MASK = {
    "a ReLU": lambda z: z * (z > 0),
    "a mask of its own": lambda z: z * torch.tensor([1.0, 0.0]).to(z).view(1, -1, 1, 1)[:, :1],
    "zeros of a shape": lambda z: z + torch.zeros_like(z) * z.new_ones(1),
    "a question": lambda z: z if bool((z < 1e9).all()) else z * 2,
    "off the way": lambda z: (z * (z > 0.5), z)[1],
    "a scale without a gradient": lambda z: z / (1 + z.detach().abs().amax((1, 2, 3), True)),
}


@pytest.mark.parametrize("act", NO_MASK.values(), ids=NO_MASK)
def test_what_makes_no_choice_is_not_called_a_mask(act, images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guided_backprop(Beside(act), images, 1)


@pytest.mark.parametrize("act", [F.gelu, nn.PReLU(), F.elu, F.softsign])
def test_smooth_activations_have_no_rule_where_relus_have(act, images):
    net = drawn(nn.Sequential(Beside(act)))
    with pytest.warns(UserWarning, match="guided backpropagation has no rule"):
        guided_backprop(net, images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rectgrad(net, images, q=20)
        deeplift(net, images)


AFFINE = {
    "reshaped": lambda z: z.flatten(2).unflatten(2, z.shape[2:]).permute(0, 1, 3, 2),
    "pooled": lambda z: F.interpolate(F.avg_pool2d(z, 2), scale_factor=2, mode="bilinear"),
    "normed": lambda z: F.batch_norm(z, torch.ones(4).double(), torch.full((4,), 2.0).double()),
    "a constant factor": lambda z: 2 * z / 3 + torch.ones_like(z) * z - z,
    "joined": lambda z: torch.cat([z[:, 2:], z[:, :2].flip(-1)], 1),
    "padded": lambda z: F.pad(z, (1, 1, 1, 1), mode="reflect"),
    "maximum over positions": lambda z: z + z.amax((2, 3), keepdim=True),
    "dropped out": lambda z: F.dropout2d(z, 0.5, training=False),
}


@each_ruled
@pytest.mark.parametrize("act", AFFINE.values(), ids=AFFINE)
def test_of_affine_operations_nothing_is_said(act, call, images):
    class AndPool(Beside):
        def forward(self, x):
            return super().forward(F.max_pool2d(F.relu(x), 1))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call(AndPool(act), images[..., :4], 1).any()


class BesideThePicture(nn.Module):
    """A ReLU network on learnt numbers, as Swin Transformer V2 has for its position bias."""

    def __init__(self, act):
        super().__init__()
        self.act, self.conv, self.head = act, nn.Conv2d(3, 4, 3), nn.Linear(4, 4)
        self.position = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 4))
        drawn(self)

    def forward(self, x):
        bias = self.position(torch.tensor([0.3, 0.7], dtype=x.dtype))
        return self.head(self.act(self.conv(x) + bias.view(1, -1, 1, 1)).mean((2, 3)))


@pytest.mark.parametrize("trainable", [True, False])
def test_relus_beside_the_pictures_way_do_not_count(trainable, images):
    net = BesideThePicture(F.gelu).requires_grad_(trainable)
    for call in (guided_backprop, deconvolution):
        refused(lambda call=call: call(net, images), "way from the picture", "plain gradient")
    net = BesideThePicture(F.relu).requires_grad_(trainable)
    assert guided_backprop(net, images).any() and deeplift(net, images).any()


def test_the_last_activation_is_the_last_on_the_pictures_way(images):
    """With one beside it afterwards, and a head whose logits are not asked for."""

    class WithAside(Forms):
        def forward(self, x):
            hidden = self.act(self.second(F.max_pool2d(self.act(self.first(x)), 2, 1)))
            own = self.head(hidden.mean((2, 3)))
            aside = self.act(self.head.bias).sum()
            return own + 0 * aside, self.act(self.head(self.act(hidden).mean((2, 3))))

    call = partial(rectgrad, q=60, rule="PR1+PR2", final_threshold=False)
    assert torch.equal(call(WithAside(torch.relu), images), call(Forms(torch.relu), images))


def test_a_relu_whose_output_the_network_goes_on_to_read(images):
    """A pre-activation block, x += f(relu(x)): torch keeps a ReLU's output, and so does the
    engine."""

    class Block(Forms):
        def forward(self, x):
            z = self.first(x)
            z += self.second(self.act(z))
            return self.head(self.act(z).mean((2, 3)))

    class Twin(Forms):
        def forward(self, x):
            z = self.first(x)
            return self.head(self.act(z + self.second(self.act(z))).mean((2, 3)))

    for name in ("guided_backprop", "deconvolution", "epsilon_lrp", "rectgrad", "deeplift"):
        assert_close(RULED[name](Block(F.relu), images, 1), RULED[name](Twin(F.relu), images, 1))
    assert_close(deeplift(Block(F.silu), images, 1), deeplift(Twin(F.silu), images, 1))


def test_integers_and_tensors_without_a_gradient_pass_by(images):
    class Aside(Forms):
        def forward(self, x):
            with torch.no_grad():
                scale = torch.ones(3, dtype=torch.float64).relu_() * F.relu(torch.ones(1))
            index = torch.tensor([-1, 2]).clamp(min=0).relu()
            return (
                super().forward(x)[:, torch.arange(4).clamp(0, 3)] * scale.sum() / 3
                + 0 * index.sum()
            )

    for call in RULED.values():
        assert_close(call(Aside(torch.relu), images), call(Forms(torch.relu), images))


# ---- smooth activations

SMOOTH = {
    "gelu": (nn.GELU(), F.gelu),
    "gelu tanh": (nn.GELU("tanh"), partial(F.gelu, approximate="tanh")),
    "silu": (nn.SiLU(), F.silu),
    "silu in place": (nn.SiLU(inplace=True), F.silu),
    "leaky": (nn.LeakyReLU(0.2), partial(F.leaky_relu, negative_slope=0.2)),
    "leaky in place": (nn.LeakyReLU(0.2, inplace=True), partial(F.leaky_relu, negative_slope=0.2)),
    "elu": (nn.ELU(0.7), partial(F.elu, alpha=0.7)),
    "elu in place": (nn.ELU(0.7, inplace=True), partial(F.elu, alpha=0.7)),
    "selu": (nn.SELU(), F.selu),
    "celu": (nn.CELU(0.5), partial(F.celu, alpha=0.5)),
    "hardswish": (nn.Hardswish(), F.hardswish),
    "mish": (nn.Mish(), F.mish),
    "softplus": (nn.Softplus(2.0), partial(F.softplus, beta=2.0)),
    "elu_": (F.elu_, F.elu),
    "selu_": (F.selu_, F.selu),
    "celu_": (lambda z: F.celu_(z, 0.5), partial(F.celu, alpha=0.5)),
    "leaky_": (lambda z: F.leaky_relu_(z, 0.2), partial(F.leaky_relu, negative_slope=0.2)),
    "torch.selu": (torch.selu, F.selu),
    "prelu": (nn.PReLU(init=0.3).double(), partial(F.leaky_relu, negative_slope=0.3)),
    "torch.prelu": (
        lambda z: torch.prelu(z, torch.full((1,), 0.3, dtype=z.dtype)),
        partial(F.leaky_relu, negative_slope=0.3),
    ),
    "rrelu": (nn.RReLU(0.1, 0.3).eval(), partial(F.leaky_relu, negative_slope=0.2)),
    "softsign": (F.softsign, lambda z: z / (1 + z.abs())),
    "aten.gelu": (torch.ops.aten.gelu, F.gelu),
    "aten.silu_": (torch.ops.aten.silu_.default, F.silu),
    "aten.elu": (lambda z: torch.ops.aten.elu.default(z, 0.7), partial(F.elu, alpha=0.7)),
    "softplus by position": (
        lambda z: F.softplus(z, 2.0, 15.0),
        partial(F.softplus, beta=2.0, threshold=15.0),
    ),
}
each_smooth = pytest.mark.parametrize("name", SMOOTH)


@each_smooth
def test_smooth_activations_multiply_by_their_derivative(name):
    """score = f(z) R; what passes is R f'(z), f' by central differences."""
    act, function = SMOOTH[name]
    z, h = f64([[-2.1, -0.7, 0.3, 1.2, 2.4]]), 1e-6
    R = f64([[1, -2, 3, -4, 5]])
    slope, score = (function(z + h) - function(z - h)) / (2 * h), function(z) * R
    for call, expected in (
        (partial(rules.rectgrad, tau=0.4), torch.where(score > 0.4, R * slope, 0)),
        (
            partial(rules.rectgrad, q=50),
            torch.where(score > sorted(score[0].tolist())[2], R * slope, 0),
        ),
        (partial(rules.epsilon_lrp, epsilon=0.1), R * function(z) / (z + 0.1 * z.sign())),
    ):
        leaf = z.clone().requires_grad_()
        with Engine(call, smooth=True):
            out = act(leaf.clone())
        assert_close(out, function(z))
        assert_close(torch.autograd.grad(out, leaf, R)[0], expected, rtol=1e-6, atol=1e-8)


def test_the_slope_of_softplus_is_the_sigmoid_and_of_relu_a_step():
    z = torch.linspace(-3, 3, 13, dtype=torch.float64)[None]
    assert_close(unit(z, function=F.softplus).slope, z.sigmoid())
    assert_close(unit(z, function=F.silu).slope, z.sigmoid() * (1 + z * (1 - z.sigmoid())))
    assert_close(
        unit(z, function=F.gelu).slope,
        torch.special.ndtr(z) + z * (-(z**2) / 2).exp() / math.sqrt(2 * math.pi),
    )
    assert torch.equal(unit(z).slope, (z > 0).double())
    assert torch.equal(unit(z, upper=2).slope, ((z > 0) & (z < 2)).double())


@each_smooth
def test_methods_on_smooth_nets(name, images):
    net = Forms(SMOOTH[name][0])
    for method in SMOOTH_TOO:
        result = RULED[method](net, images, 2)
        assert result.isfinite().all() and not torch.equal(result, input_x_gradient(net, images, 2))
    for call, word in (
        (deconvolution, "deconvolution"),
        (guided_backprop, "guided backpropagation"),
    ):
        message = refused(partial(call, net, images), word, "ReLU", "plain gradient")
        assert "GELU" not in message


# ---- the padding trick


@pytest.mark.parametrize(
    "arguments, padded_before, expected",
    [  # expected: padded, half_kernel, released
        (((3, 3), (1, 1), 1), False, ((1, 1), (1, 1), (1, 1))),
        (((3, 3), 1, 1), False, ((1, 1), (1, 1), (1, 1))),
        (((3, 3), 0, 1), False, ((0, 0), (0, 0), (0, 0))),
        (((3, 3), "valid", 1), False, ((0, 0), (0, 0), (0, 0))),
        (((5, 5), "same", 1), False, ((1, 1), (2, 2), (1, 1))),
        (((7, 7), (3, 3), 1), False, ((1, 1), (3, 3), (1, 1))),
        (((7, 7), (1, 1), 1), False, ((1, 1), (3, 3), (0, 0))),  # padded, but not to the same size
        (((3, 3), 2, 2), False, ((1, 1), (2, 2), (1, 1))),
        (((3, 3), "same", 3), False, ((1, 1), (3, 3), (1, 1))),
        (((1, 1), 0, 1), False, ((0, 0), (0, 0), (1, 1))),
        (((1, 1), "same", 1), False, ((0, 0), (0, 0), (1, 1))),
        (((1, 7), (0, 3), 1), False, ((1, 1), (0, 3), (1, 1))),
        (((3, 3), 0, 1), True, ((1, 1), (1, 1), (1, 1))),
        (((5, 5), 0, 1), True, ((1, 1), (2, 2), (1, 1))),
    ],
    ids=str,
)
def test_border_width_by_hand(arguments, padded_before, expected):
    kernel, padding, dilation = arguments
    found = tuple(
        border_width(torch.zeros(1, 1, *kernel), padding, dilation, padded_before, border)
        for border in ("padded", "half_kernel", "released")
    )
    assert found == expected


def test_a_2x2_kernel_padded_to_the_same_size_is_padded():
    assert border_width(torch.zeros(1, 1, 2, 2), "same", 1, False, "padded") == (1, 1)


def passed(layer, size=(8, 9), border="padded"):
    """How many places of an all-ones gradient enter the convolution of `layer`: (here, without the
    trick, without a border of one pixel).
    """
    leaf = torch.rand(1, 2, *size, dtype=torch.float64, requires_grad=True)
    with Engine(border=border):
        out = layer.double()(leaf)
    (conv,) = (module for module in layer.modules() if isinstance(module, nn.Conv2d))
    height, width = out.shape[-2:]
    return (
        torch.autograd.grad(out.sum(), conv.bias)[0][0].item(),
        height * width,
        (height - 2) * (width - 2),
    )


class Padding(nn.Module):
    def __init__(self, before, conv):
        super().__init__()
        self.before, self.conv = before, conv

    def forward(self, x):
        return self.conv(self.before(x))


@pytest.mark.parametrize(
    "before, conv, touched",
    [
        (nn.ZeroPad2d(1), nn.Conv2d(2, 2, 3), True),
        (
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.Conv2d(2, 2, 3, stride=2),
            True,
        ),  # asymmetric, as TensorFlow pads strided convolutions
        (nn.ConstantPad2d(1, 0.0), nn.Conv2d(2, 2, 3), True),
        (lambda x: F.pad(x, (1, 1, 1, 1)), nn.Conv2d(2, 2, 3), True),
        (
            lambda x: F.pad(input=x, pad=[0, 2, 0, 2], mode="constant", value=0),
            nn.Conv2d(2, 2, 3),
            True,
        ),
        (nn.ConstantPad2d(1, 0.5), nn.Conv2d(2, 2, 3), False),
        (nn.ReflectionPad2d(1), nn.Conv2d(2, 2, 3), False),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"), nn.Conv2d(2, 2, 3), False),
        (lambda x: F.pad(x, (-1, -1, -1, -1)), nn.Conv2d(2, 2, 3), False),
        (lambda x: F.pad(x, (0, 0, 0, 0)), nn.Conv2d(2, 2, 3), False),
        (
            lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)),
            nn.Conv2d(4, 2, 3),
            False,
        ),  # channels, as in a shortcut
        (
            lambda x: F.relu(F.pad(x, (1, 1, 1, 1))) * 1,
            nn.Conv2d(2, 2, 3),
            False,
        ),  # an operation between: documented as unseen
        (nn.Identity(), nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), False),
        (nn.Identity(), nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), False),
        (nn.Identity(), nn.Conv2d(2, 2, 3, padding=1), True),
        (nn.Identity(), nn.Conv2d(2, 2, 3, padding="same"), True),
        (nn.Identity(), nn.Conv2d(2, 2, 3, padding=(0, 1), stride=(1, 2)), True),
        (nn.Identity(), nn.Conv2d(2, 2, 3, padding=1, groups=2), True),
        (nn.Identity(), nn.Conv2d(2, 2, 1), False),
    ],
)
def test_which_convolutions_count_as_zero_padded(before, conv, touched):
    before = (
        before
        if isinstance(before, nn.Module)
        else type("Step", (nn.Module,), {"forward": staticmethod(before)})()
    )
    here, everywhere, inside = passed(Padding(before, conv))
    assert here == (inside if touched else everywhere)


@pytest.mark.parametrize(
    "border, size, passes",
    [
        ("padded", (3, 3), 1),
        ("padded", (2, 9), 18),
        ("padded", (9, 2), 18),
        ("padded", (1, 1), 1),
        ("padded", (3, 9), 7),
        ("half_kernel", (7, 7), 1),
        ("half_kernel", (6, 9), 54),
        ("half_kernel", (9, 8), 6),
        ("released", (4, 4), 4),
        ("released", (2, 2), 4),
    ],
)
def test_a_map_without_interior_is_left_alone(border, size, passes):
    """A 7x7 convolution: one pixel off each side, or three; where nothing would be left, everything
    passes.
    """
    assert passed(nn.Conv2d(2, 2, 7, padding=3), size, border)[0] == passes


def test_the_trick_masks_the_gradient_that_enters_and_nothing_else():
    """At the input: what the inner 2x3 of the output send back; forward, weights' own convolution
    and other outputs are untouched.
    """
    conv = drawn(nn.Conv2d(1, 1, 3, padding=1))
    leaf = torch.rand(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    with Engine(border="padded"):
        out = conv(leaf)
        aside = F.linear(leaf, torch.ones(2, 5, dtype=torch.float64))
    assert torch.equal(out, conv(leaf))
    inner = torch.autograd.grad(conv(leaf)[..., 1:-1, 1:-1].sum(), leaf)[0]
    assert_close(torch.autograd.grad(out.sum(), leaf)[0], inner)
    assert torch.equal(torch.autograd.grad(aside.sum(), leaf)[0], torch.full_like(leaf, 2))


def test_in_place_operations_after_a_masked_convolution(images):
    """An in-place normalisation or ReLU must not carry the mask to its own gradient, or lose it."""

    class After(Forms):
        def forward(self, x):
            z = self.first(x)
            return self.head(self.act(z.mul_(2).add_(0.1)).mean((2, 3)))

    class Outside(After):
        def forward(self, x):
            return self.head(self.act(self.first(x) * 2 + 0.1).mean((2, 3)))

    for border in ("padded", "half_kernel", "released"):
        call = partial(rectgrad, q=40, border=border, final_threshold=False)
        assert_close(call(After(torch.relu_), images), call(Outside(torch.relu), images))


# ---- proportional redistribution

POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0), "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
]
each_pool = pytest.mark.parametrize("options", POOLS, ids=str)


def through_a_pool(options, x, g, rule, reference=None):
    leaf = x.clone().requires_grad_()
    with Engine(max_pool=rule, reference=reference):
        out = F.max_pool2d(leaf, **options)
    assert torch.equal(out, F.max_pool2d(x, **options))
    return torch.autograd.grad(out, leaf, g(out) if callable(g) else g)[0]


@each_pool
def test_prr_conserves_and_equals_its_windows(options):
    x = (
        torch.rand(2, 3, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        + 0.01
    )
    g = torch.randn(
        F.max_pool2d(x, **options).shape,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(1),
    )
    back, layer = through_a_pool(options, x, g, rules.proportional), nn.MaxPool2d(**options)
    assert_close(
        back,
        torch.stack(
            [slow_prr(mine, picture, None, layer) for mine, picture in zip(g, x, strict=True)]
        ),
    )
    # up to the 1e-10 beside the mean
    assert_close(back.sum((2, 3)), g.sum((2, 3)), rtol=1e-6, atol=1e-7)
    assert_close(through_a_pool(options, x, g, lambda g, pool: rules.proportional(g, pool)), back)


def test_prr_by_hand():
    """R = 8 over (1, 3; 0, 4), mean 2: x R / (4 * 2) = x; a silent window passes nothing."""
    x = f64([[1, 3, 0, 0], [0, 4, 0, 0]]).view(1, 1, 2, 4)
    back = through_a_pool({"kernel_size": 2}, x, f64([8, 5]).view(1, 1, 1, 2), rules.proportional)
    assert_close(back.view(2, 4), f64([[1, 3, 0, 0], [0, 4, 0, 0]]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_prr_is_finite_in_half_precision(dtype):
    silent = torch.zeros(1, 1, 4, 4, dtype=dtype)
    assert (
        rules.proportional(
            torch.ones(1, 1, 2, 2, dtype=dtype), rules.Pool(silent, {"kernel_size": 2})
        )
        .isfinite()
        .all()
    )


@each_pool
def test_rescaled_max_pool_adds_up(options):
    """Contributions in equal the change out, window by window, with ties and equal inputs among
    them.
    """
    generator = torch.Generator().manual_seed(0)
    x, x0 = (torch.randint(-3, 4, (2, 3, 7, 6), generator=generator).double() for _ in range(2))
    y, y0 = F.max_pool2d(x, **options), F.max_pool2d(x0, **options)
    g = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    back = through_a_pool(options, x, g, rules.rescale_max_pool, reference=[x0])
    assert_close(((x - x0) * back).sum((2, 3)), ((y - y0) * g).sum((2, 3)))


OTHER_POOLS = {
    "adaptive, all": (nn.AdaptiveMaxPool2d(1), nn.MaxPool2d((6, 5))),
    "adaptive, uneven": (nn.AdaptiveMaxPool2d((2, 5)), nn.MaxPool2d((3, 1))),
    "adaptive with indices": (
        lambda z: F.adaptive_max_pool2d(z, 1, return_indices=True)[0],
        nn.MaxPool2d((6, 5)),
    ),
    "amax": (lambda z: z.amax((2, 3)), nn.MaxPool2d((6, 5))),
    "amax, kept": (lambda z: torch.amax(z, (-1, -2), keepdim=True), nn.MaxPool2d((6, 5))),
    "max": (lambda z: z.flatten(2).max(2).values, nn.MaxPool2d((6, 5))),
    "max, kept": (lambda z: torch.max(z.flatten(2), -1, keepdim=True)[0], nn.MaxPool2d((6, 5))),
    "1-D": (lambda z: F.max_pool1d(z.flatten(2), 5), nn.MaxPool2d((1, 5))),
    "3-D": (lambda z: F.max_pool3d(z[:, :, None], (1, 2, 2)), nn.MaxPool2d(2)),
    "aten": (lambda z: torch.ops.aten.max_pool2d(z, [2, 2]), nn.MaxPool2d(2)),
    "aten with indices": (
        lambda z: torch.ops.aten.max_pool2d_with_indices.default(z, [2, 2])[0],
        nn.MaxPool2d(2),
    ),
}


class Pooling(nn.Module):
    """Convolution, ReLU, a pool of any kind, and the mean of what it leaves."""

    def __init__(self, pool):
        super().__init__()
        self.pool, self.conv, self.head = pool, nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 4)
        drawn(self, std=1.0)

    def forward(self, x):
        pooled = self.pool(torch.relu(self.conv(x)))
        return self.head(pooled.flatten(2).mean(2) if pooled.ndim > 2 else pooled)


@pytest.mark.parametrize("pool, twin", OTHER_POOLS.values(), ids=OTHER_POOLS)
def test_other_pools_equal_their_max_pool2d(pool, twin, images):
    for call in (
        partial(deeplift, baseline=0.4, max_pool="rescale"),
        partial(rectgrad_prr, q=20, final_threshold=False),
    ):
        assert_close(call(Pooling(pool), images, 1), call(Pooling(twin), images, 1))
    net = Pooling(pool)
    contributions = deeplift(net, images, 1, baseline=0.4, max_pool="rescale")
    change = (net(images) - net(torch.full_like(images, 0.4)))[:, 1].detach()
    assert_close(contributions.sum((1, 2, 3)), change)


def test_a_maximum_over_channels_adds_up_and_is_no_pool_of_prr(images):
    net = Pooling(lambda z: z.amax(1, keepdim=True).expand(-1, 4, -1, -1))
    change = (net(images) - net(0 * images))[:, 1].detach()
    found = deeplift(net, images, 1, max_pool="rescale")
    assert_close(found.sum((1, 2, 3)), change)
    refused(lambda: rectgrad_prr(net, images), "proportional redistribution", "prr=False")


@pytest.mark.filterwarnings("ignore")
def test_pools_that_no_rule_can_read_are_refused(images):
    net = Pooling(nn.FractionalMaxPool2d(2, output_size=2))
    hidden = torch.jit.script(_scripted_pool)
    for call in (rectgrad_prr, partial(deeplift, max_pool="rescale")):
        refused(lambda call=call: call(net, images), "fractional", "adaptive_max_pool")
        refused(lambda call=call: call(Pooling(hidden), images), "max_pool2_d", "scripted")
    assert guided_backprop(net, images).any()


def _scripted_pool(z: torch.Tensor):
    return F.max_pool2d(z, 2)


def test_a_pool_that_returns_indices(images):
    class Unpooled(nn.Module):
        def __init__(self, pool):
            super().__init__()
            self.conv, self.pool = drawn(nn.Conv2d(3, 4, 3, padding=1)), pool

        def forward(self, x):
            values, places = self.pool(torch.relu(self.conv(x)))
            return F.max_unpool2d(values, places, 2).mean((2, 3))

    as_module, results = nn.MaxPool2d(2, return_indices=True), []
    for pool in (
        as_module,
        lambda t: F.max_pool2d(t, 2, return_indices=True),
        lambda t: F.max_pool2d_with_indices(t, 2),
    ):
        net = Unpooled(pool)
        with Engine(rules.guided, max_pool=rules.proportional):
            assert torch.equal(net(images[..., :4].clone().requires_grad_()), net(images[..., :4]))
        results.append(rectgrad_prr(net, images[..., :4], q=20))
    assert results[0].any()
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert torch.equal(
        results[0],
        rectgrad_prr(
            Unpooled(
                lambda t: (
                    torch.max_pool2d(t, 2),
                    F.max_pool2d(t.detach(), 2, return_indices=True)[1],
                )
            ),
            images[..., :4],
            q=20,
        ),
    )


# ---- Captum and zennit


def sequential(activation=nn.ReLU):
    """A chain that module hooks can follow: no module used twice, nothing functional."""
    return drawn(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            activation(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 3, padding=1),
            activation(),
            nn.Flatten(),
            nn.Linear(24, 6),
            activation(),
            nn.Linear(6, 4),
        )
    )


TARGETS = torch.tensor([3, 0, 1, 2, 0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "peer, call",
    [
        (lambda net: captum.attr.InputXGradient(net).attribute, input_x_gradient),
        (lambda net: captum.attr.GuidedBackprop(net).attribute, guided_backprop),
        (lambda net: captum.attr.Deconvolution(net).attribute, deconvolution),
        (
            lambda net: partial(
                captum.attr.IntegratedGradients(net).attribute, n_steps=20, method="riemann_right"
            ),
            partial(integrated_gradients, steps=20),
        ),
        (
            lambda net: partial(
                captum.attr.IntegratedGradients(net).attribute,
                n_steps=7,
                method="riemann_right",
                baselines=0.25,
            ),
            partial(integrated_gradients, steps=7, baseline=0.25),
        ),
    ],
    ids=[
        "InputXGradient",
        "GuidedBackprop",
        "Deconvolution",
        "IntegratedGradients",
        "IntegratedGradients from grey",
    ],
)
def test_captum_agrees(peer, call, images):
    net = sequential()
    theirs = peer(net)(images.clone().requires_grad_(), target=TARGETS).detach()
    assert_close(call(net, images, TARGETS), theirs)
    assert theirs.any()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_captum_deeplift_agrees(baseline, images):
    net = drawn(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16, 6),
            nn.ReLU(),
            nn.Linear(6, 4),
        )
    )
    theirs = (
        captum.attr.DeepLift(net)
        .attribute(images, baselines=torch.full_like(images, baseline), target=TARGETS)
        .detach()
    )
    assert_close(deeplift(net, images, TARGETS, baseline=baseline), theirs)


@pytest.mark.parametrize("rule, start", [("guided", False), ("epsilon", True)])
def test_zennit_agrees(rule, start, images):
    """zennit's relevance starts at the logit and its epsilon rule divides there too: ours times
    logit / (logit + epsilon).
    """
    zennit = pytest.importorskip("zennit")
    from zennit.attribution import Gradient
    from zennit.composites import GuidedBackprop, LayerMapComposite
    from zennit.rules import Epsilon, Pass
    from zennit.types import Activation, Convolution, Linear

    net, epsilon = sequential(), 0.02
    composite = (
        GuidedBackprop()
        if rule == "guided"
        else LayerMapComposite([(Activation, Pass()), ((Convolution, Linear), Epsilon(epsilon))])
    )
    one_hot = F.one_hot(TARGETS, 4).double()
    with torch.no_grad():
        logit = net(images).gather(1, TARGETS[:, None])
    with Gradient(model=net, composite=composite) as attributor:
        theirs = attributor(images, one_hot * logit if start else one_hot)[1].detach()
    ours = (
        guided_backprop(net, images, TARGETS)
        if rule == "guided"
        else epsilon_lrp(net, images, TARGETS, epsilon=epsilon)
        * (logit / (logit + epsilon * logit.sign()))[..., None, None]
    )
    assert zennit and theirs.any()
    assert_close(ours, theirs)


# ---- sums and limits

COMPLETE = {
    "functional": None,
    "inplace": None,
    "residual": None,
    "smooth": None,
    "plain": plain,
    "overlapping": overlapping,
    "reusing in place": lambda: Reusing(torch.relu_),
    "gelu": lambda: Forms(F.gelu),
    "relu6": lambda: Forms(F.relu6),
}


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("start", ["black", "grey", "part of the image"])
def test_deeplift_adds_up_to_the_difference_of_logits(name, start, make_net, images):
    net = COMPLETE[name]() if COMPLETE[name] else make_net(name)
    baseline = {
        "black": None,
        "grey": 0.5,
        "part of the image": torch.where(torch.arange(6)[:, None] < 3, images, 0.9),
    }[start]
    blank = (
        torch.zeros_like(images)
        if baseline is None
        else torch.as_tensor(baseline, dtype=torch.float64).expand_as(images)
    )
    with torch.no_grad():
        change = (net(images.clone()) - net(blank.clone())).gather(1, TARGETS[:, None])[:, 0]
    total = deeplift(net, images, TARGETS, baseline=baseline, max_pool="rescale").sum((1, 2, 3))
    assert_close(total, change, rtol=1e-9, atol=1e-10)
    assert change.abs().min() > 1e-3


@pytest.mark.parametrize(
    "act", [torch.tanh, torch.sigmoid, lambda z: z.clamp(-1, 1), lambda z: (z / 9).exp()]
)
def test_deeplift_adds_up_through_any_function_of_one_number(act, images):
    net = Forms(act)
    found = deeplift(net, images, 2, baseline=0.3, max_pool="rescale").sum((1, 2, 3))
    assert_close(found, (net(images) - net(torch.full_like(images, 0.3)))[:, 2].detach())


def test_a_shared_baseline_goes_through_the_network_once(counting, images):
    for baseline in (None, 0.3, images[0], images[:1]):
        net = counting(Forms(torch.relu))
        shared = deeplift(net, images, 1, baseline=baseline)
        assert [shape[0] for shape in net.batches] == [1, 5]
        start = 0.0 if baseline is None else baseline
        each = torch.as_tensor(start, dtype=images.dtype).expand_as(images).clone()
        assert_close(deeplift(net, images, 1, baseline=each), shared)
        assert [shape[0] for shape in net.batches[2:]] == [5, 5]


@pytest.mark.parametrize(
    "act", [lambda z: F.group_norm(z, 2), lambda z: z * z.sigmoid(), lambda z: z.softmax(1)]
)
def test_deeplift_says_where_it_does_not_add_up(act, images):
    with pytest.warns(UserWarning, match="do not add up"):
        deeplift(Beside(act), images, 1)


NORMS = {
    "layer": (lambda z: F.layer_norm(z, z.shape[1:]), "native_layer_norm"),
    "group": (lambda z: F.group_norm(z, 2), "native_group_norm"),
    "instance": (F.instance_norm, "a norm by statistics of the picture"),
    "local response": (lambda z: F.local_response_norm(z, 3), "pow, a product of two activations"),
}


@pytest.mark.parametrize("norm, words", NORMS.values(), ids=NORMS)
def test_deeplift_names_a_norm_once_and_says_what_adds_up_instead(norm, words, images):
    net = Beside(norm)
    start = images.flip(3)  # of a flat baseline an instance norm has no spread to divide by
    with pytest.warns(UserWarning, match="DeepLIFT") as said:
        deeplift(net, images, 1, baseline=start)
    named = [str(w.message) for w in said if "has no rule for" in str(w.message)]
    assert len(named) == 1 and all(w.filename == __file__ for w in said)
    for part in (words, "need not add up", "integrated_gradients"):
        assert part in named[0]
    with torch.no_grad():
        change = (net(images) - net(start))[:, 1]
    complete = integrated_gradients(net, images, 1, baseline=start, steps=500).sum((1, 2, 3))
    assert_close(complete, change, rtol=0, atol=0.02 * change.abs().max().item())


def test_deeplift_says_nothing_where_it_adds_up_or_is_known_not_to(net, images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for max_pool in ("gradient", "rescale"):
            deeplift(net, images, 1, max_pool=max_pool)
            deeplift(net.float(), images.float(), 1, max_pool=max_pool)
            net.double()


def test_a_network_that_takes_another_way_for_the_baseline_is_refused(images):
    class Choosing(Forms):
        def forward(self, x):
            if x.sum() > 0:
                x = F.relu(x)
            return super().forward(x)

    refused(lambda: deeplift(Choosing(torch.relu), images), "another way", "baseline")
    assert deeplift(Choosing(torch.relu), images, baseline=0.1).any()


def test_deeplift_of_the_baseline_itself_is_nothing(net, images):
    assert not deeplift(net, images, baseline=images).any()


def test_the_quotient_falls_back_on_the_derivative():
    """By hand: z equal to its baseline, once open and once shut; and one that moved across zero,
    3/(3+1).
    """
    z, z0 = f64([[2, -2, 3, 1e-17]]), f64([[2, -2, -1, 0]])
    assert rules.rescale(torch.ones_like(z), unit(z, z0=z0)).tolist() == [[1, 0, 0.75, 1]]
    half = f64([[0.5]])
    assert_close(
        rules.rescale(
            torch.ones_like(half), unit(half, F.softplus(half), function=F.softplus, z0=half)
        ),
        half.sigmoid(),
    )


@pytest.mark.parametrize(
    "dtype, scale", [(torch.float64, 1), (torch.float64, 1e-17), (torch.bfloat16, 0.005)]
)
def test_what_counts_as_a_difference_does_not_depend_on_the_scale(dtype, scale):
    """z from -1 to 3 and from 3 to -1 units, however small the unit: 3/4 and 3/4."""
    z, z0 = scale * torch.tensor([[[3.0, -1]], [[-1, 3]]], dtype=dtype)
    assert_close(
        rules.rescale(torch.ones(1, 2, dtype=dtype), unit(z, z0=z0))[0],
        torch.tensor([0.75, 0.75], dtype=dtype),
    )


def test_rescale_needs_a_baseline():
    pool = rules.Pool(torch.ones(1, 1, 2, 2), {"kernel_size": 2})
    refused(lambda: rules.rescale(f64([[1]]), unit(f64([[1]]))), "baseline", "reference")
    refused(lambda: rules.rescale_max_pool(torch.ones(1, 1, 1, 1), pool), "baseline", "reference")


def test_integrated_gradients_add_up_in_the_limit(net, images):
    """A right Riemann sum: the gap closes as 1/steps."""
    with torch.no_grad():
        change = (net(images) - net(torch.full_like(images, 0.2))).gather(1, TARGETS[:, None])[:, 0]
    gaps = [
        (
            integrated_gradients(
                net, images, TARGETS, steps=steps, baseline=0.2, batch_size=500
            ).sum((1, 2, 3))
            - change
        )
        .abs()
        .max()
        for steps in (5, 100)
    ]
    assert gaps[1] < 0.01 * change.abs().max() and gaps[1] < gaps[0]


def test_integrated_gradients_by_hand(linear):
    """f = relu(x - 1) from 0 to 2 in 4 steps: gradients at .5, 1, 1.5, 2 are 0, 0, 1, 1, so 2 *
    1/2; from 1 to 2 all are 1.
    """
    net = nn.Sequential(
        type("Shift", (nn.Module,), {"forward": lambda self, x: torch.relu(x - 1)})(),
        linear(torch.ones(1, 1, 1, 1)),
    )
    x = f64([2]).view(1, 1, 1, 1)
    assert integrated_gradients(net, x, 1, steps=4).item() == 1
    assert integrated_gradients(net, x, 1, steps=4, baseline=1).item() == 1
    assert integrated_gradients(net, x, 1, steps=1).item() == 2  # the right end alone
    assert (
        integrated_gradients(net, x, 1, steps=4, baseline=torch.full((1, 1, 1), 3.0)).item() == -1
    )


@pytest.mark.parametrize("name", ["functional", "inplace", "residual"])
def test_epsilon_lrp_tends_to_gradient_times_input(name, make_net, images):
    net = make_net(name)
    expected = input_x_gradient(net, images)
    gaps = [
        (epsilon_lrp(net, images, epsilon=epsilon) - expected).abs().max().item()
        for epsilon in (1e-1, 1e-4, 1e-9)
    ]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-6 * expected.abs().max()


def test_smoothgrad_without_noise_is_the_gradient(net, images):
    assert_close(smoothgrad(net, images, noise_level=0, steps=3), saliency(net, images))


def test_smoothgrad_by_hand(images):
    """f = sum of x^3: the mean of 3 (x + s)^2 over the very draws, s of .2 times each image's
    range.
    """

    class Cubes(nn.Module):
        def forward(self, x):
            return (x**3).flatten(1).sum(1, keepdim=True)

    pair, generator = torch.stack([images[0], 5 * images[1]]), torch.Generator().manual_seed(7)
    expected = []
    for image in pair:
        noise = torch.stack([torch.randn(3, 6, 5, generator=generator) for _ in range(6)]).double()
        expected.append((3 * (image + 0.2 * (image.max() - image.min()) * noise) ** 2).mean(0))
    assert_close(
        smoothgrad(
            Cubes(), pair, 1, noise_level=0.2, steps=6, generator=torch.Generator().manual_seed(7)
        ),
        torch.stack(expected),
    )


def test_smoothgrad_draws(net, images):
    """Without a generator each image draws as if alone; with one, call after call and image after
    image from where it stands.
    """
    call = partial(smoothgrad, net, steps=4)
    assert torch.equal(call(images), call(images))
    assert_close(call(images[:2]), call(images, generator=None)[:2])
    assert_close(
        call(images),
        torch.cat(
            [call(image[None], generator=torch.Generator().manual_seed(0)) for image in images]
        ),
    )
    shared, other = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    first, second = call(images, generator=shared), call(images, generator=shared)
    assert not torch.equal(first, second)
    assert torch.equal(first, call(images, generator=other))
    assert torch.equal(second, call(images, generator=other))
    singly = torch.Generator().manual_seed(3)
    assert_close(first, torch.cat([call(image[None], generator=singly) for image in images]))
    assert not torch.allclose(
        call(images[:1].expand(2, -1, -1, -1), generator=shared)[0],
        call(images[:1].expand(2, -1, -1, -1), generator=shared)[1],
    )


@pytest.mark.parametrize("size", [(4, 4), (6, 5), (1, 1)])  # 48, 90 and 3 numbers
def test_smoothgrad_draws_as_if_point_by_point(size, linear):
    """The noise of every step, shown by f = sum of x^2, is the one that a draw of its own gives."""
    net = type("Squares", (nn.Module,), {"forward": lambda self, x: (x**2).flatten(1)})()
    pair = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(5))
    for generator in (None, torch.Generator().manual_seed(3)):
        for batch_size in (64, 4):
            if generator is not None:
                generator.manual_seed(3)
            got = smoothgrad(net, pair, 0, steps=6, generator=generator, batch_size=batch_size)
            stream = torch.Generator().manual_seed(3)
            for n, image in enumerate(pair):
                stream = torch.Generator().manual_seed(0) if generator is None else stream
                draws = [torch.randn(3, *size, generator=stream) for _ in range(6)]
                points = image + 0.1 * (image.max() - image.min()) * torch.stack(draws)
                assert_close(got[n, 0, 0, 0], 2 * points[:, 0, 0, 0].mean())


@pytest.mark.parametrize(
    "call",
    [partial(smoothgrad, steps=7), partial(integrated_gradients, steps=7)],
    ids=["smoothgrad", "integrated_gradients"],
)
def test_batch_size_changes_nothing(call, net, images):
    expected = call(net, images, batch_size=1000)
    for batch_size in (1, 3, 7, 34):
        assert_close(call(net, images, batch_size=batch_size), expected)


@pytest.mark.parametrize("call", [smoothgrad, integrated_gradients])
def test_points_arrive_batch_by_batch_and_the_target_is_the_images_own(
    call, counting, make_net, images
):
    model = counting(make_net("functional"))
    call(model, images, steps=7, batch_size=8)
    assert [shape[0] for shape in model.batches[1:]] == [7, 7, 7, 7, 7]  # none much smaller
    given = counting(make_net("functional"))
    call(given, images, 1, steps=7, batch_size=8)
    assert given.batches == model.batches[1:]  # a target needs no pass of its own
    net = make_net("functional")
    assert_close(call(net, images, steps=5), call(net, images, net(images).argmax(1), steps=5))


@pytest.mark.parametrize("call", [smoothgrad, integrated_gradients])
def test_the_model_never_sees_more_than_batch_size_images(call, counting, make_net, images):
    model = counting(make_net("functional"))
    call(model, images, steps=3, batch_size=2)
    assert max(shape[0] for shape in model.batches) <= 2


@pytest.mark.parametrize("call", [smoothgrad, integrated_gradients])
def test_by_default_fewer_points_of_larger_images_go_together(call, counting):
    seen = {}
    for side, steps in ((8, 150), (224, 20), (448, 5), (900, 2)):
        image = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(side))
        net = counting(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.ReLU()))
        found = call(net, image, 1, steps=steps)
        seen[side] = max(shape[0] for shape in net.batches)
        assert_close(found, call(net, image, 1, steps=steps, batch_size=3))
    assert 150 > seen[8] > seen[224] > seen[448] > seen[900] == 1


# ---- the engine leaves no trace, nests, and is safe beside others


@contextlib.contextmanager
def no_trace(net, images):
    """Afterwards no mode is active and a plain gradient is what it was."""
    before = saliency(net, images)
    try:
        yield
    finally:
        assert not _get_current_function_mode_stack()
        assert torch.equal(saliency(net, images), before)


@each_ruled
def test_nothing_stays_active(call, images, unchanged):
    net = Forms(torch.relu)
    with no_trace(net, images), unchanged(net, images):
        call(net, images)


@each_ruled
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_active_after_an_exception(call, error, images, unchanged):
    class Broken(Forms):
        armed = False

        def forward(self, x):
            result = super().forward(x)
            if self.armed:
                raise error("on the way there")
            return result

    net = Broken(torch.relu)
    with no_trace(net, images):
        net.armed = True
        with unchanged(net, images), pytest.raises(error, match="on the way there"):
            call(net, images)
        net.armed = False


def test_nothing_stays_active_after_a_refusal(make_net, images, unchanged):
    net = make_net("smooth")
    with no_trace(net, images), unchanged(net, images):
        refused(lambda: guided_backprop(net, images))


@each_ruled
def test_batch_norm_in_train_mode_is_not_moved(call, images, unchanged):
    net = drawn(
        nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(8, 4),
        )
    )
    expected = call(net, images)
    net.train()
    with unchanged(net, images):
        assert torch.equal(call(net, images), expected)


def test_the_inner_of_two_engines_wins():
    z = f64([[2, -1, 3]])
    leaf = z.clone().requires_grad_()
    outer, inner = Engine(rules.deconvolution), Engine(rules.guided)
    with outer:
        first = torch.relu(leaf)
        with inner:
            second = torch.relu(leaf)
        third = F.relu(leaf)
    R = f64([[1, 1, -1]])
    back = [torch.autograd.grad(out, leaf, R)[0].tolist() for out in (first, second, third)]
    assert back == [[[1, 1, 0]], [[1, 0, 0]], [[1, 1, 0]]]
    assert (outer.activations, inner.activations) == (2, 1)


def test_an_inner_backward_inside_an_outer_engine_is_not_counted():
    """Rules call ReLU-like and pooling functions themselves; an engine around must not take those
    for the model's.
    """
    start = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    leaf = torch.rand(2, 1, 4, 4, dtype=torch.float64).requires_grad_()
    reference = [start, start, F.softplus(start)]
    inner = {"smooth": True, "max_pool": rules.rescale_max_pool, "reference": reference}
    with Engine(rules.guided, smooth=True, max_pool=rules.proportional, border="padded") as outer:
        with Engine(rules.rescale, border="padded", **inner):
            out = F.max_pool2d(F.softplus(torch.relu(leaf)), 2)
        (gradient,) = torch.autograd.grad(out.sum(), leaf)
    assert_close((leaf * gradient).detach().sum(), (out - math.log(2)).detach().sum())
    assert (outer.activations, outer.pools) == (0, 0)
    with Engine(edit=lambda index, a: a * 0), Engine(rules.guided):
        assert torch.relu(leaf).any()


NESTED = {
    "rectgrad in epsilon_lrp": ("rectgrad", "epsilon_lrp"),
    "guided in deconvolution": ("guided_backprop", "deconvolution"),
    "deeplift in guided": ("deeplift", "guided_backprop"),
    "rectgrad_prr in rectgrad_prr": ("rectgrad_prr", "rectgrad_prr"),
    "saliency in deconvolution": ("saliency", "deconvolution"),
    "saliency in rectgrad_prr": ("saliency", "rectgrad_prr"),
    "smoothgrad in epsilon_lrp": ("smoothgrad", "epsilon_lrp"),
    "guided in rectgrad_prr": ("guided_backprop", "rectgrad_prr"),
    "deconvolution in rectgrad_prr": ("deconvolution", "rectgrad_prr"),
    "deeplift in rectgrad_prr": ("deeplift", "rectgrad_prr"),
    "deeplift_rescale in rectgrad_prr": ("deeplift_rescale", "rectgrad_prr"),
}


@pytest.mark.parametrize("inner, outer", NESTED.values(), ids=NESTED)
def test_a_method_inside_a_models_forward(inner, outer, images):
    """A model that weighs its input by an attribution of another: the inner result is the one that
    it has outside.
    """
    calls = {name: method.function for name, method in METHODS.items()} | RULED
    guide, found = sequential(), []

    class Guided(Forms):
        def forward(self, x):
            found.append(calls[inner](guide, x.detach()))
            return super().forward(x * (1 + found[-1].abs().detach()))

    net = Guided(torch.relu)
    if outer.startswith("deeplift"):
        images = torch.cat([images, images])
    calls[outer](net, images)
    assert found and torch.equal(found[0], calls[inner](guide, images))
    assert not _get_current_function_mode_stack()


def test_eight_threads_with_different_methods(images):
    net = Forms(torch.relu)
    expected = {name: call(net, images) for name, call in RULED.items()} | {
        "saliency": saliency(net, images)
    }
    calls, wrong, start = {**RULED, "saliency": saliency}, [], threading.Barrier(8)

    def work(name):
        start.wait()
        for _ in range(5):
            if not torch.equal(calls[name](net, images), expected[name]):
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in expected]
    assert len(threads) == 8
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", METHODS)
def test_under_autocast(name):
    """bfloat16 on the way, the dtype of the images outside, close to single precision where no
    threshold decides.
    """
    net = sequential().float()
    images = torch.rand(3, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    call = METHODS[name].function
    options = {"q": 50} if "rectgrad" in name else {}
    expected = call(net, images, 1, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = call(net, images, 1, **options)
    assert result.dtype == torch.float32 and result.isfinite().all() and result.any()
    if name in (
        "saliency",
        "input_x_gradient",
        "smoothgrad",
        "integrated_gradients",
        "epsilon_lrp",
    ):
        assert_close(result, expected, rtol=0.2, atol=0.1 * expected.abs().max().item())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_target_made_under_the_callers_grad_mode(name, mode, images):
    """`target` too may come from a block without gradients."""
    net = sequential()
    with mode():
        result = METHODS[name].function(net, images, net(images).argmax(1))
    assert torch.equal(result.clone(), METHODS[name].function(net, images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", METHODS)
def test_on_a_gpu(name):
    net = sequential()
    images = torch.rand(3, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = METHODS[name].function(net, images, 1)
    result = METHODS[name].function(net.cuda(), images.cuda(), 1)
    assert result.device.type == "cuda" and result.dtype == torch.float64
    assert_close(result.cpu(), expected)


def test_edit_changes_activations_on_the_way_forward(images):
    """The index counts activations in the order of the calls; what the function returns is what the
    network goes on with.
    """
    net, seen = Forms(torch.relu), []

    def silence(index, a):
        seen.append((index, tuple(a.shape)))
        return a * 0 if index == 1 else a

    with torch.no_grad(), Engine(edit=silence) as engine:
        logits = net(images)
    assert seen == [(0, (5, 4, 6, 5)), (1, (5, 4, 5, 4))] and engine.activations == 2
    assert torch.equal(logits, net.head.bias.expand(5, 4))


# ---- refusals


def scripted():
    return torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()).double())


@each_ruled
@pytest.mark.filterwarnings("ignore")
def test_what_is_scripted_or_compiled_is_refused(call, images):
    body = sequential()
    inside = nn.Sequential()
    inside.add_module("stem", scripted())
    inside.add_module("rest", body)
    refused(lambda: call(inside, images), "stem", "scripted or compiled", "plain module")
    refused(
        lambda: call(torch.compile(body, backend="eager"), images),
        "OptimizedModule",
        "scripted or compiled",
    )
    refused(lambda: call(torch.jit.trace(body, images), images), "scripted or compiled")


@pytest.mark.parametrize(
    "call, words",
    [
        (partial(rectgrad, q=-1), ["q", -1, "between 0 and 100"]),
        (partial(rectgrad, q=101), ["q", 101]),
        (partial(rectgrad, q=math.nan), ["q", "nan"]),
        (partial(rectgrad, q="98"), ["q", "'98'"]),
        (partial(rectgrad, q=True), ["q", "True"]),
        (partial(rectgrad, tau=math.nan), ["tau", "nan", "finite number"]),
        (partial(rectgrad, tau="1"), ["tau", "'1'", "finite number"]),
        (partial(rectgrad, eps=math.nan), ["eps", "nan", "finite number"]),
        (partial(rectgrad, eps="1"), ["eps", "'1'", "finite number"]),
        (partial(rectgrad_both_tails, q=-50), ["q", -50, "between 0 and 100"]),
        (partial(rectgrad_both_tails, q=150), ["q", 150]),
        (partial(rectgrad_part, part="active", q=-50), ["q", -50, "between 0 and 100"]),
        (partial(rectgrad, rule="PR5"), ["PR5", "PR1, PR2, PR3, PR4 and PR1+PR2"]),
        (partial(rectgrad, border="full"), ["full", "padded, half_kernel and released"]),
        (partial(rectgrad_prr, rule="pr1"), ["pr1"]),
        (partial(epsilon_lrp, epsilon=0), ["epsilon", "greater than 0"]),
        (partial(epsilon_lrp, epsilon=-1e-4), ["epsilon"]),
        (partial(epsilon_lrp, epsilon=math.nan), ["epsilon"]),
        (partial(epsilon_lrp, epsilon="a"), ["epsilon", "'a'", "finite number"]),
        (partial(smoothgrad, noise_level="a"), ["noise_level", "'a'", "finite number"]),
        (partial(smoothgrad, noise_level=math.nan), ["noise_level", "nan"]),
        (partial(smoothgrad, noise_level=-1), ["noise_level", -1, "at least 0"]),
        (partial(smoothgrad, generator=3), ["generator", 3, "torch.Generator()"]),
        (partial(deeplift, max_pool="average"), ["average", "gradient and rescale"]),
        (partial(deeplift, baseline=torch.zeros(2)), ["baseline", "(2,)", "(5, 3, 6, 5)"]),
        (
            partial(integrated_gradients, baseline=torch.zeros(4, 3, 6, 5)),
            ["baseline", "(4, 3, 6, 5)"],
        ),
        (partial(integrated_gradients, steps=0), ["steps", "at least 1"]),
        (partial(integrated_gradients, steps=2.5), ["steps", "2.5"]),
        (partial(smoothgrad, steps=True), ["steps", "True"]),
        (partial(smoothgrad, batch_size=0), ["batch_size"]),
        (partial(integrated_gradients, batch_size=-3), ["batch_size", -3]),
    ],
    ids=range(31),
)
def test_bad_options_are_refused(call, words, images, unchanged):
    net = sequential()
    with no_trace(net, images), unchanged(net, images):
        refused(lambda: call(net, images), *words)


@pytest.mark.parametrize(
    "baseline", [[0.1, 0.2], "black", torch.zeros(5), torch.zeros(2, 3, 6, 5)], ids=str
)
@pytest.mark.parametrize("call", [integrated_gradients, deeplift])
def test_a_baseline_that_fits_no_picture_is_refused(call, baseline, images):
    refused(lambda: call(sequential(), images, baseline=baseline), "baseline", "3 channels")


@pytest.mark.parametrize(
    "baseline", [[0.1, 0.2, 0.3], np.array([0.1, 0.2, 0.3]), f64([0.1, 0.2, 0.3])], ids=repr
)
@pytest.mark.parametrize("call", [integrated_gradients, deeplift])
def test_a_baseline_by_channel(call, baseline, images):
    """As a model's black is given; also for pictures as wide as they have channels."""
    start = f64([0.1, 0.2, 0.3])[:, None, None]
    expected = call(sequential(), images, 1, baseline=start.expand(3, 6, 5))
    assert torch.equal(call(sequential(), images, 1, baseline=baseline), expected)
    square = images[..., :3, :3]
    net = drawn(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(27, 4)))
    expected = call(net, square, 1, baseline=start.expand(3, 3, 3))
    assert torch.equal(call(net, square, 1, baseline=baseline), expected)


@pytest.mark.parametrize("call", [integrated_gradients, deeplift])
def test_a_baseline_may_be_a_parameter(call, images):
    start = torch.zeros(3, 6, 5, dtype=torch.float64, requires_grad=True)
    assert not call(sequential(), images, baseline=start).requires_grad


@pytest.mark.parametrize("q", [np.int64(90), np.float32(90)])
def test_q_from_numpy(q, images):
    assert torch.equal(rectgrad(sequential(), images, q=q), rectgrad(sequential(), images, q=90))


@pytest.mark.parametrize("name", METHODS)
def test_an_empty_batch(name, images):
    assert METHODS[name].function(sequential(), images[:0]).shape == (0, 3, 6, 5)


@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_returns_no_logits_is_refused(name, images):
    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = sequential()

        def forward(self, x):
            return self.body(x)[:, 0]

    refused(lambda: METHODS[name].function(Scores(), images), "logits [N,K]")


def test_a_rule_for_max_pooling_needs_max_pooling(make_net, images):
    refused(
        lambda: rectgrad_prr(make_net("residual"), images),
        "proportional redistribution",
        "max_pool2d",
        "prr=False",
    )
    dilated = drawn(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, dilation=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 4),
        )
    )
    refused(lambda: rectgrad_prr(dilated, images), "dilated", "dilation 1")
    refused(lambda: deeplift(dilated, images, max_pool="rescale"), "dilated")
    assert rectgrad(dilated, images, q=20).any() and deeplift(dilated, images).any()


def test_deeplift_through_a_checkpoint(images):
    """torch.utils.checkpoint runs a block again on the way back; DenseNet(memory_efficient=True)
    does so.
    """
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(Forms):
        def forward(self, x):
            hidden = checkpoint(
                lambda t: F.max_pool2d(self.act(self.first(t)), 2, 1), x, use_reentrant=False
            )
            return self.head(self.act(self.second(hidden)).mean((2, 3)))

    try:
        result = deeplift(Checkpointed(torch.relu), images)
    except (ValueError, RuntimeError) as error:
        assert "checkpoint" in str(error)  # a refusal is as good
    else:
        assert_close(result, deeplift(Forms(torch.relu), images))


# ---- the networks of the book


def pictures(size, count=2):
    generator = torch.Generator().manual_seed(0)
    return F.interpolate(
        torch.rand(count, 3, size // 8, size // 8, generator=generator),
        size=(size, size),
        mode="bilinear",
    ) * 0.8 + 0.2 * torch.rand(count, 3, size, size, generator=generator)


BOOK = [
    ("basic_cnn", "shapes10", 32),
    ("basic_cnn", "cifar10", 32),
    ("rectgrad_cnn", "shapes10", 32),
    ("rectgrad_cnn", None, 32),
    ("resnet18", None, 32),
    ("torchvision:squeezenet1_1", None, 224),
    ("torchvision:mobilenet_v2", None, 224),
    ("torchvision:densenet121", None, 64),
]


@pytest.mark.parametrize("name, weights, size", BOOK, ids=str)
def test_rectgrad_is_not_empty_on_the_networks_of_the_book(name, weights, size, unchanged):
    """At their own size and the default percentile: the padding trick must not kill the gradient of
    maps without interior.
    """
    if weights and not networks.WEIGHTS.joinpath(f"{name}-{weights}.safetensors").is_file():
        pytest.skip(f"no committed weights {weights} of {name}")
    net = networks.load(name, weights, classes=None if weights or ":" in name else "abcdefghij")
    images = pictures(size, 1 if size > 100 else 2)
    for border in ("padded", "half_kernel", "released"):
        result = rectgrad(net, images, border=border)
        assert result.isfinite().all() and result.flatten(1).any(1).all()
        if border == "padded" and size < 100:
            assert 0 < (result != 0).float().mean() < 1
    if any(isinstance(module, nn.MaxPool2d) for module in net.modules()):
        assert rectgrad_prr(net, images).flatten(1).any(1).all()
    leaf = images.clone().requires_grad_()
    with torch.no_grad():
        expected = net(images)
    with Engine(rules.guided) as engine:
        assert_close(net(leaf), expected)
    assert engine.activations >= sum(
        isinstance(module, (nn.ReLU, nn.ReLU6)) for module in net.modules()
    )


def test_rules_are_named_in_the_registry():
    assert METHODS["rectgrad_prr"].function is attribution.rectgrad_prr
    net, images = sequential(), torch.rand(2, 3, 6, 5, dtype=torch.float64)
    assert torch.equal(
        rectgrad_prr(net, images, 1, q=30, rule="PR2"),
        rectgrad(net, images, 1, q=30, rule="PR2", prr=True),
    )
