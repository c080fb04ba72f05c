"""Deletion, insertion, allegiance, scores and their area: worked by hand, and against a slow
pixel-by-pixel reading of the rule.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.testing import assert_close

from lib import metrics
from lib.metrics import PAPER_FRACTIONS, allegiance, auc, class_scores, delete
from tests.refusal import refused

pytestmark = pytest.mark.usefixtures("one_thread")

CURVES = {"allegiance": allegiance, "class_scores": class_scores}
each_curve = pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
either_way = pytest.mark.parametrize("insert", [False, True], ids=["delete", "insert"])


def tensors(result):
    return [result] if isinstance(result, torch.Tensor) else list(result)


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- delete, worked by hand: which pixels of a 3x3 map go at each fraction

DISTINCT = [[9, 8, 7], [6, 5, 4], [3, 2, 1]]
TIES = [[5, 5, 5], [2, 2, 1], [0, 0, 0]]
SIGNED = [[3, -1, 0], [2, -5, 0], [1, -2, 0]]
CASES = [
    # round(p * 9): 0, 1, 2, 3, 4 (4.5 goes to the even 4, as Python rounds), 5, 6, 7, 8, 9
    *[
        (DISTINCT, p, set(range(9, 9 - k, -1)))
        for p, k in [
            (0, 0),
            (0.05, 0),
            (0.1, 1),
            (0.2, 2),
            (0.3, 3),
            (0.5, 4),
            (0.6, 5),
            (0.7, 6),
            (0.8, 7),
            (0.9, 8),
            (0.95, 9),
            (1, 9),
        ]
    ],
    # sorted 5 5 5 2 2 1 0 0 0: a tie with the threshold stays, so whole blocks of ties go or stay;
    # zeros always stay
    *[
        (TIES, p, gone)
        for p, gone in [
            (0, set()),
            (0.1, set()),
            (0.2, set()),
            (0.3, {5}),
            (0.4, {5}),
            (0.5, {5}),
            (0.6, {5, 2}),
            (0.7, {5, 2, 1}),
            (0.8, {5, 2, 1}),
            (0.9, {5, 2, 1}),
            (0.95, {5, 2, 1}),
            (1, {5, 2, 1}),
        ]
    ],
    # sorted 3 2 1 0 0 0 -1 -2 -5: taken as it comes, zero is no rank but a value that always stays
    *[
        (SIGNED, p, gone)
        for p, gone in [
            (0.1, {3}),
            (0.3, {3, 2, 1}),
            (0.5, {3, 2, 1}),
            (0.6, {3, 2, 1}),
            (0.7, {3, 2, 1}),
            (0.8, {3, 2, 1, -1}),
            (0.9, {3, 2, 1, -1, -2}),
            (1, {3, 2, 1, -1, -2, -5}),
        ]
    ],
    ([[-1, -2, -3], [-4, -5, -6], [-7, -8, -9]], 0.3, {-1, -2, -3}),
    ([[0, 0, 0]] * 3, 0.9, set()),
    ([[0, 0, 0]] * 3, 1, set()),
    ([[4, 4, 4]] * 3, 0.9, set()),
    ([[4, 4, 4]] * 3, 1, {4}),
    ([[-0.0, 1, -1]] * 3, 1, {1, -1}),
]


@pytest.mark.parametrize("values, fraction, gone", CASES)
def test_delete_by_hand(values, fraction, gone):
    images = torch.rand(1, 3, 3, 3, dtype=torch.float64, generator=generator()) + 1
    expected = images.clone()
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if value in gone:
                expected[0, :, i, j] = -7
    assert torch.equal(delete(images, f64([values]), fraction, -7), expected)


def test_delete_each_image_by_its_own_map():
    images = torch.ones(3, 1, 2, 2)
    maps = f64([[[4, 3], [2, 1]], [[1, 2], [3, 4]], [[0, 9], [0, 0]]])
    assert delete(images, maps, 0.5, 0).tolist() == [
        [[[0, 0], [1, 1]]],
        [[[1, 1], [0, 0]]],
        [[[1, 0], [1, 1]]],
    ]


@pytest.mark.parametrize(
    "fill",
    [
        [0.1, 0.5, 0.9],
        (0.1, 0.5, 0.9),
        f64([0.1, 0.5, 0.9]),
        f64([0.1, 0.5, 0.9])[:, None, None],
        np.array([[[0.1]], [[0.5]], [[0.9]]]),
    ],
    ids=["list", "tuple", "tensor", "as black", "as black of NumPy"],
)
def test_fill_by_channel(fill):
    images = torch.full((2, 3, 1, 2), 2.0, dtype=torch.float64)
    deleted = delete(images, f64([[[1, 0]], [[0, 1]]]), 1, fill)
    assert_close(deleted[0, :, 0], f64([[0.1, 2], [0.5, 2], [0.9, 2]]))
    assert_close(deleted[1, :, 0], f64([[2, 0.1], [2, 0.5], [2, 0.9]]))


@pytest.mark.parametrize(
    "pixels, fraction, count",
    [
        (5, 0.5, 2),
        (7, 0.5, 4),
        (10, 0.3, 3),
        (100, 0.07, 7),
        (100, 0.29, 29),
        (1024, 0.03, 31),
        (1024, 0.07, 72),
        (1024, 0.9, 922),
    ],
)
def test_round_half_to_even_of_the_share_of_pixels(pixels, fraction, count):
    maps = torch.randperm(pixels, generator=generator()).double().add(1).view(1, 1, pixels)
    assert (delete(torch.ones(1, 3, 1, pixels), maps, fraction, 0) == 0).sum().item() == 3 * count


def test_the_order_is_kept_at_full_precision():
    maps = 1 + 1e-12 * f64([[[1, 4], [3, 2]]])  # all equal in float32
    assert delete(torch.ones(1, 1, 2, 2), maps, 0.5, 0).tolist() == [[[[1, 0], [0, 1]]]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_maps_of_any_precision(dtype):
    maps = torch.tensor([DISTINCT], dtype=dtype)
    assert delete(maps[:, None], maps, 0.3, 0).tolist() == [[[[0, 0, 0], [6, 5, 4], [3, 2, 1]]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_delete_keeps_the_dtype_of_the_images(dtype):
    for maps in (torch.rand(2, 4, 4), torch.rand(2, 4, 4).double()):
        for fill in (0, 0.5, [0.1, 0.2, 0.3], f64([0.1, 0.2, 0.3])):
            assert delete(torch.rand(2, 3, 4, 4, dtype=dtype), maps, 0.3, fill).dtype == dtype


# ---- the slow reading: sort each image anew for each fraction, then one pixel after the other


def slow_selected(values, fraction):
    """Positions of a map (list of rows) that the rule picks."""
    ordered = sorted((value for row in values for value in row), reverse=True)
    rank = round(fraction * len(ordered))
    threshold = ordered[rank] if rank < len(ordered) else -math.inf
    return {
        (i, j)
        for i, row in enumerate(values)
        for j, value in enumerate(row)
        if value > threshold and value != 0
    }


def slow_edit(image, values, fraction, fill, insert):
    fill = list(fill) if isinstance(fill, (list, tuple)) else [fill] * len(image)
    picked, edited = slow_selected(values, fraction), image.clone()
    for k in range(image.shape[0]):
        for i in range(image.shape[1]):
            for j in range(image.shape[2]):
                if ((i, j) in picked) != insert:
                    edited[k, i, j] = fill[k]
    return edited


def slow_curve(model, images, maps, fill, fractions, insert):
    """Per fraction and image: (is the prediction that of the untouched image, its probability, its
    logit).
    """
    rows = []
    for fraction in fractions:
        row = []
        for image, values in zip(images, maps.tolist(), strict=True):
            original = max(range(4), key=model(image[None])[0].tolist().__getitem__)
            logits = model(slow_edit(image, values, fraction, fill, insert)[None])[0].tolist()
            probability = 1 / sum(math.exp(other - logits[original]) for other in logits)
            row.append((logits[original] == max(logits), probability, logits[original]))
        rows.append(row)
    return f64(rows).unbind(-1)


def random_maps(kind, seed=3):
    maps = torch.randn(5, 6, 5, dtype=torch.float64, generator=generator(seed))
    return {
        "signed": maps,
        "positive": maps.relu(),
        "ties": (2 * maps).round(),
        "few": maps * (maps > 1.2),
        "constant": torch.full_like(maps, 0.3),
    }[kind]


@pytest.mark.parametrize("kind", ["signed", "positive", "ties", "few", "constant"])
@pytest.mark.parametrize("fill", [0, 1, [0.2, 1, -3]], ids=repr)
def test_delete_against_the_slow_reading(kind, fill, images):
    maps = random_maps(kind)
    for fraction in (*PAPER_FRACTIONS, 0.333, 0.95, 0.99, 1):
        slow = torch.stack(
            [
                slow_edit(image, values, fraction, fill, False)
                for image, values in zip(images, maps.tolist(), strict=True)
            ]
        )
        assert_close(delete(images, maps, fraction, fill), slow, rtol=0, atol=1e-12)


@either_way
@pytest.mark.parametrize("kind", ["signed", "positive", "ties", "few"])
@pytest.mark.parametrize("fill", [0, [0.2, 1, -3]], ids=repr)
@pytest.mark.parametrize("fractions", [PAPER_FRACTIONS, (0.2, 0.5, 1)], ids=["paper", "not from 0"])
def test_curves_against_the_slow_reading(kind, fill, fractions, insert, make_net, images):
    net, maps = make_net("residual"), random_maps(kind)
    same, probability, logit = slow_curve(net, images, maps, fill, fractions, insert)
    kept = allegiance(net, images, maps, fill=fill, fractions=fractions, insert=insert)
    assert kept.dtype == torch.bool and torch.equal(kept, same.bool())
    scores = class_scores(net, images, maps, fill=fill, fractions=fractions, insert=insert)
    assert len(scores) == 2
    assert_close(scores[0], probability)
    assert_close(scores[1], logit)


# ---- allegiance and scores by hand: score 0 is the sum of the pixels, score 1 always 4.5


@pytest.fixture
def summing(linear):
    return linear([[[[1, 1], [1, 1]]], [[[0, 0], [0, 0]]]], bias=[0, 4.5])


PICTURE, QUARTERS = f64([[[[4, 3], [2, 1]]]]), (0, 0.25, 0.5, 0.75, 1)


@pytest.mark.parametrize(
    "fill, insert, sums",
    [
        (0, False, [10, 6, 3, 1, 0]),  # 4, 3, 2, 1 go black in that order
        (0, True, [0, 4, 7, 9, 10]),  # a black canvas on which they appear in that order
        (2, False, [10, 8, 7, 7, 8]),  # grey: never another prediction
        (2, True, [8, 10, 11, 11, 10]),
        (-3, False, [10, 3, -3, -8, -12]),
    ],
)
def test_curves_by_hand(fill, insert, sums, summing):
    kept = allegiance(summing, PICTURE, PICTURE[:, 0], fill=fill, fractions=QUARTERS, insert=insert)
    assert kept.tolist() == [[value > 4.5] for value in sums]
    probability, logit = class_scores(
        summing, PICTURE, PICTURE[:, 0], fill=fill, fractions=QUARTERS, insert=insert
    )
    assert_close(logit, f64(sums)[:, None])
    assert_close(probability, torch.sigmoid(f64(sums) - 4.5)[:, None])


def test_insertion_never_reveals_what_deletion_never_deletes(summing):
    """A pixel whose map is zero stays filled, also at fraction 1."""
    maps = f64([[[4, 0], [2, 0]]])
    _, logit = class_scores(summing, PICTURE, maps, fill=0, fractions=QUARTERS, insert=True)
    assert logit.flatten().tolist() == [0, 4, 6, 6, 6]


def test_it_is_the_prediction_of_the_untouched_image_that_counts(summing):
    """Also where the curve does not start at 0, and whatever insertion's canvas is taken for."""
    pictures = torch.cat([PICTURE, PICTURE / 10])  # predicted 0 and 1
    same = allegiance(
        summing, pictures, pictures[:, 0], fill=0, fractions=(0.5, 0.75), insert=False
    )
    assert same.tolist() == [[False, True], [False, True]]
    same = allegiance(summing, pictures, pictures[:, 0], fill=0, fractions=(0, 1), insert=True)
    assert same.tolist() == [[False, True], [True, True]]


def test_area_by_hand(summing):
    kept = allegiance(summing, PICTURE, PICTURE[:, 0], fill=0, fractions=QUARTERS)  # 1 1 0 0 0
    assert auc(QUARTERS, kept.double().mean(1)) == pytest.approx(0.25 + 0.25 / 2)


# ---- properties of the curves


def test_nothing_is_lost_at_fraction_0(net, images):
    maps = random_maps("signed")
    assert allegiance(net, images, maps, fill=0)[0].all()
    logits = net(images).detach()
    probability, logit = class_scores(net, images, maps, fill=0)
    assert_close(logit[0], logits.amax(1))
    assert_close(probability[0], logits.softmax(1).amax(1))
    assert probability.shape == logit.shape == (13, 5)


def test_insertion_starts_from_a_canvas_of_fill(net, images):
    fill = [0.2, 0.9, 0.4]
    canvas = f64(fill).view(1, 3, 1, 1).expand_as(images)
    logits, own = net(canvas).detach(), net(images).argmax(1)
    probability, logit = class_scores(net, images, random_maps("signed"), fill=fill, insert=True)
    assert_close(logit[0], logits.gather(1, own[:, None])[:, 0])
    assert_close(probability[0], logits.softmax(1).gather(1, own[:, None])[:, 0])
    assert torch.equal(
        allegiance(net, images, random_maps("signed"), fill=fill, insert=True)[0],
        logits.argmax(1) == own,
    )


def test_insertion_ends_and_deletion_starts_at_the_image_if_no_pixel_is_zero(net, images):
    maps = random_maps("signed")
    deleted, inserted = (
        class_scores(net, images, maps, fill=0, fractions=(0, 1), insert=insert)
        for insert in (False, True)
    )
    for at_start, at_end in zip(deleted, inserted, strict=True):
        assert_close(at_start[0], at_end[1])
        assert_close(at_start[1], at_end[0])


@each_curve
@either_way
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_batch_size_changes_nothing(curve, insert, batch_size, make_net, images):
    net, maps = make_net("residual"), random_maps("ties")
    for result, reference in zip(
        tensors(curve(net, images, maps, fill=0, insert=insert, batch_size=batch_size)),
        tensors(curve(net, images, maps, fill=0, insert=insert)),
        strict=True,
    ):
        assert_close(result, reference)


@each_curve
def test_batch_size_bounds_what_the_model_is_given(curve, counting, make_net, images):
    model = counting(make_net("functional"))
    curve(model, images, random_maps("signed"), fill=0, batch_size=2)
    assert max(shape[0] for shape in model.batches) <= 2
    # one forward an image and fraction
    assert sum(shape[0] for shape in model.batches) <= (1 + len(PAPER_FRACTIONS)) * 5


@each_curve
def test_only_the_order_of_the_map_and_its_zeros_count(curve, make_net, images):
    net, maps = make_net("functional"), random_maps("positive")
    for result, reference in zip(
        tensors(curve(net, images, 1000 * maps**3, fill=1)),
        tensors(curve(net, images, maps, fill=1)),
        strict=True,
    ):
        assert torch.equal(result, reference)


@each_curve
@either_way
def test_the_model_and_the_inputs_are_untouched(curve, insert, make_net, images, unchanged):
    net = make_net("residual").train()
    maps = random_maps("signed")
    expected = tensors(
        curve(make_net("residual"), images, random_maps("signed"), fill=0, insert=insert)
    )
    net.norm.eval()
    net.stem.requires_grad_(False)
    leaf = images.clone().requires_grad_()
    with unchanged(net, leaf, maps):
        result = tensors(curve(net, leaf, maps, fill=0, insert=insert))
    for got, reference in zip(
        result, expected, strict=True
    ):  # dropout and batch statistics off although the caller left train mode on
        assert_close(got, reference)
        assert not got.requires_grad


@each_curve
@either_way
def test_a_model_may_begin_in_place(curve, insert, shifting, make_net, images, unchanged):
    """Neither the caller's images nor the pictures further along the curve are those that the model
    has changed.
    """
    net, maps = make_net("functional"), random_maps("signed")
    expected = tensors(curve(net, (images - 0.5) * 2, maps, fill=-1, insert=insert))
    for same in (images, images.contiguous(memory_format=torch.channels_last)):
        with unchanged(net, same):
            result = tensors(curve(shifting(net), same, maps, fill=0, insert=insert))
        for got, reference in zip(result, expected, strict=True):
            assert_close(got, reference)


@each_curve
def test_nan_in_the_logits_is_refused(curve, make_net, images):
    images[2] = math.nan
    refused(lambda: curve(make_net("functional"), images, random_maps("signed"), fill=0), "NaN")


@each_curve
def test_fills_and_sizes_of_numpy(curve, make_net, images):
    net, maps = make_net("functional"), random_maps("signed")
    expected = curve(net, images, maps, fill=[0.1, 0.2, 0.3], batch_size=2)
    got = curve(net, images, maps, fill=np.array([0.1, 0.2, 0.3]), batch_size=np.int64(2))
    for a, b in zip(tensors(got), tensors(expected), strict=True):
        assert torch.equal(a, b)


@each_curve
def test_the_model_is_untouched_after_an_exception(curve, make_net, images, unchanged):
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.left = make_net("residual"), 3

        def forward(self, x):
            object.__setattr__(self, "left", self.left - 1)
            if not self.left:
                raise RuntimeError("in the third batch")
            return self.body(x)

    model = Failing().train()
    with unchanged(model, images), pytest.raises(RuntimeError, match="third batch"):
        curve(model, images, random_maps("signed"), fill=0, batch_size=2)


def test_an_unfinished_curve_leaves_nothing_switched_off(make_net, images, unchanged):
    """`altered_logits` yields batch by batch; between two of them the caller has the grad mode and
    the model as they were.
    """
    net = make_net("residual").train()
    with unchanged(net, images):
        curve = metrics.altered_logits(net, images, random_maps("signed"), fill=0, batch_size=2)
        next(curve)


@each_curve
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_curves_work_under_the_callers_grad_mode(curve, mode, make_net, images):
    net, maps = make_net("residual"), random_maps("signed")
    with mode():
        result = curve(net, images.clone(), maps.clone(), fill=0)
    for got, reference in zip(
        tensors(result), tensors(curve(net, images, maps, fill=0)), strict=True
    ):
        assert torch.equal(got.clone(), reference)


def test_inputs_of_delete_are_untouched(images):
    maps, before = random_maps("signed"), images.clone()
    copy = maps.clone()
    for fraction in (0, 0.5, 1):
        delete(images, maps, fraction, 0)
        assert torch.equal(images, before) and torch.equal(maps, copy)


# ---- soft replacement: a share of the way to the fill


def test_strength_moves_a_pixel_part_of_the_way():
    images, maps = f64([[[[1, 3]], [[2, 4]]]]), f64([[[1, 0]]])
    assert delete(images, maps, 1, [5, 0], strength=0.25).tolist() == [[[[2, 3]], [[1.5, 4]]]]
    assert torch.equal(delete(images, maps, 1, 9, strength=0), images)
    assert torch.equal(delete(images, maps, 1, 9, strength=1), delete(images, maps, 1, 9))


@either_way
def test_strength_along_the_curves(insert, summing):
    """Half way to black: the picture 4 3 2 1 loses 2, 1.5, 1, .5 in that order, or regains them."""
    sums = [5, 7, 8.5, 9.5, 10] if insert else [10, 8, 6.5, 5.5, 5]
    options = {"fill": 0, "fractions": QUARTERS, "insert": insert, "strength": 0.5}
    assert class_scores(summing, PICTURE, PICTURE[:, 0], **options)[1].flatten().tolist() == sums
    # 6 4.8 3.9 3.3 3 against 4.5
    fading = allegiance(summing, PICTURE * 0.6, PICTURE[:, 0], **options)
    assert fading.flatten().tolist() == (
        [False, False, True, True, True] if insert else [True, True, False, False, False]
    )


# ---- auc


def test_the_papers_fractions():
    assert tuple(PAPER_FRACTIONS) == (
        0,
        0.03,
        0.05,
        0.07,
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
    )


def test_a_method_that_deletes_nothing_has_area_0_9(make_net, images):
    assert auc(PAPER_FRACTIONS, torch.ones(13)) == pytest.approx(0.9)
    kept = allegiance(make_net("residual"), images, torch.zeros(5, 6, 5), fill=0)
    assert kept.all()
    assert_close(auc(PAPER_FRACTIONS, kept.double()), torch.full((5,), 0.9, dtype=torch.float64))


@pytest.mark.parametrize(
    "fractions, values, area",
    [
        ((0, 1), [1, 0], 0.5),
        ((0, 0.5, 1), [1, 0, 0], 0.25),
        ((0, 0.5, 1), [0, 0, 1], 0.25),
        ((0, 0.1, 1), [1, 0.5, 0.5], 0.075 + 0.45),
        ((0.2, 0.6), [3, 5], 1.6),
        ((0, 1), [-1, 1], 0),
    ],
)
def test_trapezoids_by_hand(fractions, values, area):
    result = auc(fractions, f64(values))
    assert isinstance(result, float) and result == pytest.approx(area)
    assert_close(auc(fractions, f64([values, values]).T), f64([area, area]))


def test_auc_against_numpy():
    values = torch.rand(13, 7, dtype=torch.float64, generator=generator())
    area = auc(PAPER_FRACTIONS, values)
    assert area.shape == (7,)
    assert_close(area, torch.from_numpy(np.trapezoid(values.numpy(), PAPER_FRACTIONS, axis=0)))
    assert auc(PAPER_FRACTIONS, values[:, 2]) == pytest.approx(area[2].item())


def test_auc_takes_allegiance_as_it_comes():
    kept = f64([[1, 1], [1, 0], [0, 0]]).bool()
    assert_close(auc((0, 0.5, 1), kept).double(), f64([0.75, 0.25]))


# ---- errors name the thing

REFUSED = {
    "maps too narrow": ("maps", lambda images, maps: {"maps": maps[:, :, :-1]}),
    "maps too few": ("maps", lambda images, maps: {"maps": maps[:-1]}),
    "maps with a channel": ("maps", lambda images, maps: {"maps": maps[:, None]}),
    "maps transposed": ("maps", lambda images, maps: {"maps": maps.transpose(1, 2)}),
    "one map for all": ("maps", lambda images, maps: {"maps": maps[0]}),
    "NaN in one map": (
        "maps",
        lambda images, maps: {"maps": maps.index_fill(0, torch.tensor(2), math.nan)},
    ),
    "a single image": ("images", lambda images, maps: {"images": images[0]}),
    "images without channels": ("images", lambda images, maps: {"images": images[:, 0]}),
    "fill too short": ("fill", lambda images, maps: {"fill": [0, 0]}),
    "fill of one channel": ("fill", lambda images, maps: {"fill": [0]}),
    "fill too long": ("fill", lambda images, maps: {"fill": torch.zeros(4)}),
    "fill by image": ("fill", lambda images, maps: {"fill": torch.zeros(5, 3)}),
    "fill of no number": ("fill", lambda images, maps: {"fill": "black"}),
    "fill NaN": ("fill", lambda images, maps: {"fill": math.nan}),
    "fill of one channel, as black": ("fill", lambda images, maps: {"fill": f64([[[0]]])}),
    "fill by row": ("fill", lambda images, maps: {"fill": torch.zeros(1, 3, 1)}),
    "maps of NumPy": ("tensor .N,H,W.*ndarray", lambda images, maps: {"maps": maps.numpy()}),
    "maps in a list": ("tensor .N,H,W.*list", lambda images, maps: {"maps": maps.tolist()}),
    "images of NumPy": ("images.*ndarray", lambda images, maps: {"images": images.numpy()}),
    "images in a list": ("images.*list", lambda images, maps: {"images": images.tolist()}),
    "fraction of no number": ("fraction", lambda images, maps: {"fractions": ("a",)}),
    "fraction above 1": ("fraction", lambda images, maps: {"fractions": (0, 1.01)}),
    "fraction below 0": ("fraction", lambda images, maps: {"fractions": (-0.1, 0.5)}),
    "fraction NaN": ("fraction", lambda images, maps: {"fractions": (0, math.nan)}),
}
REFUSED_CURVES = {
    "fractions unsorted": ("fraction", {"fractions": (0, 0.5, 0.3)}),
    "one fraction alone": ("fractions must be several", {"fractions": 0.5}),
    "no batch": ("batch_size", {"batch_size": 0}),
    "negative batch": ("batch_size", {"batch_size": -1}),
    "half a batch": ("batch_size", {"batch_size": 2.5}),
}


@pytest.mark.parametrize("call", ["delete", *CURVES])
@pytest.mark.parametrize("what, change", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(call, what, change, make_net, images):
    given = {
        "images": images,
        "maps": random_maps("signed"),
        "fill": 0,
        "fractions": (0, 0.5),
    } | change(images, random_maps("signed"))
    with pytest.raises(ValueError, match=what) as caught:
        if call == "delete":
            wrong = [f for f in given["fractions"] if f == "a" or not 0 <= f <= 1]
            delete(given["images"], given["maps"], *(wrong or [0.5]), given["fill"])
        else:
            CURVES[call](make_net("functional"), **given)
    assert "\n" not in str(caught.value) and 15 < len(str(caught.value)) < 250


@each_curve
@pytest.mark.parametrize("what, change", REFUSED_CURVES.values(), ids=REFUSED_CURVES)
def test_what_a_curve_refuses(curve, what, change, make_net, images):
    with pytest.raises(ValueError, match=what):
        curve(make_net("functional"), images, random_maps("signed"), fill=0, **change)


@pytest.mark.parametrize(
    "fractions, values",
    [
        ((0, 1), torch.ones(3)),
        ((0, 0.5, 1), torch.ones(2, 3)),
        ((0, 0.5, 0.3), torch.ones(3)),
        ((0, 1), torch.ones(2, 2, 2)),
        ((0, 1), f64([1, math.nan])),
        ((0, 1), f64([[1, 0], [1, math.nan]])),
        ((0, math.nan), torch.ones(2)),
        (0.5, torch.ones(1)),
    ],
)
def test_auc_refuses_what_does_not_match(fractions, values):
    with pytest.raises(ValueError, match="fractions|values"):
        auc(fractions, values)


# ---- the signatures that notebooks and users rely on


def test_signatures():
    positional = [
        p.name
        for p in inspect.signature(delete).parameters.values()
        if p.kind is not p.KEYWORD_ONLY
    ]
    assert positional == ["images", "maps", "fraction", "fill"]
    assert list(inspect.signature(auc).parameters) == ["fractions", "values"]
    for curve in CURVES.values():
        parameters = inspect.signature(curve).parameters
        assert list(parameters)[:3] == ["model", "images", "maps"]
        rest = {p.name: p.default for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert {"fill", "fractions", "insert", "batch_size"} <= set(rest)
        assert rest["fill"] is inspect.Parameter.empty
        assert rest["fractions"] == metrics.PAPER_FRACTIONS
        assert rest["insert"] is False
        assert rest["batch_size"] == 256


# ---- rank correlation


def test_rank_correlation_image_by_image():
    first, second = random_maps("signed"), random_maps("ties", seed=4)
    result = metrics.rank_correlation(first, second)
    assert result.shape == (5,)
    for n in range(5):
        assert result[n].item() == pytest.approx(
            scipy.stats.spearmanr(first[n].flatten(), second[n].flatten()).statistic, abs=1e-12
        )
    assert_close(metrics.rank_correlation(first, first**3), torch.ones(5, dtype=torch.float64))
    assert_close(metrics.rank_correlation(first, -first), -torch.ones(5, dtype=torch.float64))
    assert torch.equal(
        metrics.rank_correlation(first, torch.zeros_like(first)),
        torch.zeros(5, dtype=torch.float64),
    )
    with pytest.raises(ValueError, match="maps"):
        metrics.rank_correlation(first, second[:, :-1])


# ---- total variation, attribution outside a mask


@pytest.mark.parametrize(
    "values, total",
    [
        ([[1, 4], [2, 0]], 3 + 2 + 1 + 4),  # two rows across, two columns down
        ([[1, 3, 2]], 2 + 1),
        ([[1], [3], [2]], 2 + 1),
        ([[5]], 0),
        ([[7, 7], [7, 7]], 0),
        ([[0, 0, 0], [0, -2, 0], [0, 0, 0]], 8),  # a lone pixel has four neighbours
        ([[0, 1], [1, 0]], 4),
    ],
)
def test_total_variation_by_hand(values, total):
    assert metrics.total_variation(f64([values])).tolist() == [total]


def test_total_variation_against_the_slow_reading():
    maps = random_maps("signed")
    for rows, result in zip(maps.tolist(), metrics.total_variation(maps).tolist(), strict=True):
        across = sum(abs(rows[i][j + 1] - rows[i][j]) for i in range(6) for j in range(4))
        down = sum(abs(rows[i + 1][j] - rows[i][j]) for i in range(5) for j in range(5))
        assert result == pytest.approx(across + down, abs=1e-12)


def test_total_variation_is_a_seminorm():
    maps, other = random_maps("signed"), random_maps("few", seed=5)
    value = metrics.total_variation(maps)
    assert_close(metrics.total_variation(-3 * maps + 7), 3 * value)
    assert (
        metrics.total_variation(maps + other) <= value + metrics.total_variation(other) + 1e-12
    ).all()
    for same in (maps.transpose(1, 2), maps.flip(1), maps.flip(2)):
        assert_close(metrics.total_variation(same), value)


def test_attribution_outside_by_hand():
    maps = f64([[[1, -2], [3, 0]], [[0, 0], [0, 0]], [[5, 0], [0, 0]], [[5, 0], [0, -1]]])
    masks = torch.tensor(
        [
            [[True, False], [False, False]],
            [[True, False], [False, False]],
            [[True, True], [True, True]],
            [[False, False], [False, False]],
        ]
    )
    assert metrics.attribution_outside(maps, masks).tolist() == [5, 0, 0, 6]
    # a map of zeros has share 0, not NaN
    assert metrics.attribution_outside(maps, masks, share=True).tolist() == [
        5 / 6,
        0,
        0,
        1,
    ]


def test_attribution_outside_against_the_slow_reading_and_itself():
    maps, masks = random_maps("signed"), torch.rand(5, 6, 5, generator=generator(8)) < 0.4
    outside = metrics.attribution_outside(maps, masks)
    share = metrics.attribution_outside(maps, masks, share=True)
    for n in range(5):
        slow = sum(
            abs(maps[n, i, j].item()) for i in range(6) for j in range(5) if not masks[n, i, j]
        )
        assert outside[n].item() == pytest.approx(slow, abs=1e-12)
        assert share[n].item() == pytest.approx(slow / maps[n].abs().sum().item(), abs=1e-12)
    assert_close(outside + metrics.attribution_outside(maps, ~masks), maps.abs().sum((1, 2)))
    assert_close(
        share + metrics.attribution_outside(maps, ~masks, share=True),
        torch.ones(5, dtype=torch.float64),
    )
    assert_close(metrics.attribution_outside(-2 * maps, masks, share=True), share)


MASKS = torch.zeros(5, 6, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    "call",
    [
        lambda maps: metrics.total_variation(maps[0]),
        lambda maps: metrics.total_variation(maps[:, None]),
        lambda maps: metrics.total_variation(maps.numpy()),
        lambda maps: metrics.total_variation(maps.tolist()),
        lambda maps: metrics.rank_correlation(maps, maps.numpy()),
        lambda maps: metrics.pixel_order(maps.tolist()),
        lambda maps: metrics.attribution_outside(maps.numpy(), MASKS),
        lambda maps: metrics.attribution_outside(maps[0], MASKS[0]),
        lambda maps: metrics.attribution_outside(maps, MASKS[:, :-1]),
        lambda maps: metrics.attribution_outside(maps, MASKS[:1]),
        lambda maps: metrics.attribution_outside(maps, MASKS.float()),
        lambda maps: metrics.attribution_outside(maps, MASKS.long()),
    ],
)
def test_what_is_no_map_or_mask_is_refused(call):
    assert "maps" in refused(lambda: call(random_maps("signed")), "[N,H,W]", "got")


def test_masks_of_numpy_are_refused():
    maps = random_maps("signed")
    refused(lambda: metrics.attribution_outside(maps, MASKS.numpy()), "masks", "tensor", "ndarray")


@pytest.mark.parametrize(
    "call",
    [
        metrics.total_variation,
        lambda maps: metrics.attribution_outside(maps, MASKS),
        lambda maps: metrics.rank_correlation(maps, maps),
        metrics.pixel_order,
        lambda maps: delete(torch.ones(5, 3, 6, 5), maps, 0.5, 0),
        lambda maps: metrics.occlude_pixels(torch.ones(5, 3, 6, 5), maps, 0.5, 0),
    ],
)
def test_nan_in_a_map_is_refused_in_the_same_words(call):
    maps = random_maps("signed")
    maps[3, 2, 1] = math.nan
    assert refused(lambda: call(maps), "NaN") == (
        "maps contain NaN; a map needs a number for every pixel."
    )


def test_sums_of_half_precision_maps_are_in_single():
    maps = torch.full((1, 100, 10), 100, dtype=torch.float16)
    maps[:, ::2] = -100
    assert metrics.total_variation(maps).item() == 99 * 10 * 200
    assert (
        metrics.attribution_outside(maps, torch.zeros(1, 100, 10, dtype=torch.bool)).item() == 1e5
    )
    refused(lambda: metrics.total_variation(maps * math.inf), "infinity")


def test_maps_of_whole_numbers():
    whole = (3 * random_maps("signed")).round()
    images = torch.rand(5, 3, 6, 5, generator=generator())
    for fraction in (0.3, 1):
        expected = delete(images, whole, fraction, 0)
        assert torch.equal(delete(images, whole.long(), fraction, 0), expected)


# ---- ROAR and KAR


def changed(before, after):
    """Which pixels differ, bool [N,H,W]; all channels of a pixel go together."""
    gone = before != after
    assert torch.equal(gone.any(1), gone.all(1))
    return gone.any(1)


@pytest.mark.parametrize(
    "fraction, count",
    [(0, 0), (0.1, 3), (0.3, 9), (0.5, 15), (0.55, 16), (0.7, 21), (0.9, 27), (1, 30)],
)  # 16.5 goes to the even 16
@pytest.mark.parametrize("kind", ["signed", "ties", "constant"])
def test_exactly_the_share_of_pixels_is_removed_or_kept(fraction, count, kind, images):
    maps = random_maps(kind)
    removed, kept = (
        metrics.occlude_pixels(images, maps, fraction, -1, keep=keep) for keep in (False, True)
    )
    assert changed(images, removed).flatten(1).sum(1).tolist() == [count] * 5
    assert changed(images, kept).flatten(1).sum(1).tolist() == [30 - count] * 5
    # KAR keeps what ROAR removes
    assert torch.equal(changed(images, removed), ~changed(images, kept))
    assert_close(removed + kept, images - 1, rtol=0, atol=0)


def test_removal_by_hand():
    images, maps = f64([[[[1, 2], [3, 4]]]]), f64([[[0.3, -0.9], [0.5, 0.1]]])
    # as they come: -.9 is the least
    assert metrics.occlude_pixels(images, maps, 0.5, 0).tolist() == [[[[0, 2], [0, 4]]]]
    assert metrics.occlude_pixels(images, maps, 0.5, 0, keep=True).tolist() == [[[[1, 0], [3, 0]]]]
    # a zero or small value is no exception, unlike in `delete`
    assert metrics.occlude_pixels(images, maps, 0.75, 9).tolist() == [[[[9, 2], [9, 9]]]]


@pytest.mark.parametrize("keep", [False, True])
def test_removal_against_the_slow_reading(keep, images):
    maps, fill = random_maps("signed"), f64([0.2, 0.4, 0.6])
    for fraction in (0.1, 0.3, 0.5, 0.7, 0.9):
        result = metrics.occlude_pixels(images, maps, fraction, [0.2, 0.4, 0.6], keep=keep)
        for n in range(5):
            ranked = sorted(
                ((maps[n, i, j].item(), i, j) for i in range(6) for j in range(5)), reverse=True
            )
            top = {(i, j) for _, i, j in ranked[: round(30 * fraction)]}
            slow = images[n].clone()
            for i, j in itertools.product(range(6), range(5)):
                if ((i, j) in top) != keep:
                    slow[:, i, j] = fill
            assert torch.equal(result[n], slow)


def test_more_removed_is_a_larger_set(images):
    sets = [
        changed(images, metrics.occlude_pixels(images, random_maps("ties"), fraction, -1))
        for fraction in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    assert all((small & ~large).sum() == 0 for small, large in itertools.pairwise(sets))


def test_equal_values_fall_at_random_but_repeatably(images):
    maps = torch.zeros(5, 6, 5)

    def gone(seed=None):
        drawn_from = None if seed is None else generator(seed)
        return changed(images, metrics.occlude_pixels(images, maps, 0.3, -1, generator=drawn_from))

    assert torch.equal(gone(), gone())
    assert torch.equal(gone(), gone(0))
    assert torch.equal(gone(4), gone(4))
    assert not torch.equal(gone(), gone(4))
    assert not torch.equal(gone()[0], gone()[1])  # every picture has an order of its own
    # 300 draws a pixel: .3, give or take .026
    times = torch.stack([gone(seed) for seed in range(60)]).float().mean((0, 1))
    assert (times - 0.3).abs().max() < 0.12
    shared = generator(4)
    first = metrics.occlude_pixels(images, maps, 0.3, -1, generator=shared)
    # the caller's stream goes on
    assert not torch.equal(first, metrics.occlude_pixels(images, maps, 0.3, -1, generator=shared))


def test_the_noise_decides_nothing_but_ties(images):
    maps = torch.randperm(150, generator=generator(3)).view(5, 6, 5).double()
    orders = {
        tuple(
            metrics.occlude_pixels(images, maps, 0.5, -1, generator=generator(seed))
            .flatten()
            .tolist()
        )
        for seed in range(5)
    }
    assert len(orders) == 1


@pytest.mark.parametrize("unit", [1, 1e-6, 1e-30, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_unit_of_a_map_changes_no_place(unit, dtype):
    maps = random_maps("ties").to(dtype)
    assert torch.equal(metrics.pixel_order(unit * maps), metrics.pixel_order(maps))


@pytest.mark.parametrize("kind", ["signed", "ties", "constant"])
def test_pixel_order_against_the_slow_reading(kind):
    """Sorted by value and, among equal ones, by the numbers drawn."""
    maps = random_maps(kind)
    drawn = torch.randn(maps.shape, generator=generator(4))
    places = metrics.pixel_order(maps, generator=generator(4))
    for values, draws, got in zip(maps, drawn, places, strict=True):
        pairs = list(zip(values.flatten().tolist(), draws.flatten().tolist(), strict=True))
        ranked = sorted(range(len(pairs)), key=lambda k: pairs[k], reverse=True)  # noqa: B023
        assert [ranked[p] for p in range(30)] == got.flatten().argsort().tolist()


def test_the_released_noise_is_added_to_the_map():
    """As published for ROAR: noise of scale 1e-4 decides between values closer than that."""
    maps = random_maps("signed").float()
    noisy = maps + 1e-4 * torch.randn(maps.shape, generator=generator(4))
    expected = (-noisy).flatten(1).argsort(dim=1, stable=True).argsort(1).view(maps.shape)
    released = metrics.pixel_order(maps, noise=1e-4, generator=generator(4))
    assert torch.equal(released, expected)
    fine = maps * 1e-7
    assert torch.equal(metrics.pixel_order(fine), metrics.pixel_order(maps))
    drowned = metrics.pixel_order(fine, noise=1e-4)
    assert not torch.equal(drowned, metrics.pixel_order(maps))
    images = torch.rand(5, 3, 6, 5, generator=generator())
    gone = changed(images, metrics.occlude_pixels(images, fine, 0.3, -1, noise=1e-4))
    assert torch.equal(gone, drowned < 9)


@pytest.mark.parametrize("noise", [0, -1e-4, math.nan, math.inf])
def test_noise_must_be_a_number_above_0(noise):
    refused(lambda: metrics.pixel_order(random_maps("signed"), noise=noise), "noise", noise)
    refused(lambda: metrics.pixel_order(random_maps("signed")[0]), "[N,H,W]")


def test_removal_leaves_its_inputs_and_the_global_stream_alone(images):
    maps, before, state = random_maps("ties"), images.clone(), torch.get_rng_state()
    copy = maps.clone()
    result = metrics.occlude_pixels(images, maps, 0.5, 0)
    assert torch.equal(images, before)
    assert torch.equal(maps, copy)
    assert torch.equal(torch.get_rng_state(), state)
    assert result.dtype == images.dtype
    assert metrics.occlude_pixels(images.float(), maps, 0.5, 0).dtype == torch.float32


@pytest.mark.parametrize("what, change", REFUSED.values(), ids=REFUSED)
def test_removal_refuses_what_delete_refuses(what, change, images):
    given = {
        "images": images,
        "maps": random_maps("signed"),
        "fill": 0,
        "fractions": (0.5,),
    } | change(images, random_maps("signed"))
    wrong = [f for f in given["fractions"] if f == "a" or not 0 <= f <= 1] or [0.5]
    message = refused(
        lambda: metrics.occlude_pixels(given["images"], given["maps"], wrong[0], given["fill"])
    )
    assert re.search(what, message)


def test_what_is_no_generator_is_refused(images):
    maps = random_maps("signed")
    calls = [
        lambda: metrics.pixel_order(maps, generator=3),
        lambda: metrics.occlude_pixels(images, maps, 0.5, 0, generator=3),
    ]
    for call in calls:
        refused(call, "generator", 3, "torch.Generator()")
