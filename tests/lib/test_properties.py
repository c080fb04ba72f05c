"""What holds of the kernels whatever the picture, the map or the network.

The examples are drawn, the same ones at every run.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from lib import attribution, metrics
from lib.attribution import METHODS

pytestmark = pytest.mark.usefixtures("one_thread")

drawn = settings(
    derandomize=True,
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
seeds = st.integers(0, 2**31 - 1)
fractions = st.floats(0, 1)
FRACTIONS = (0, 0.1, 0.25, 0.5, 0.75, 1)
FILL = -0.5  # of no pixel


def generator(seed):
    return torch.Generator().manual_seed(seed)


def pictures(seed, count=3):
    return torch.rand(count, 3, 6, 5, dtype=torch.float64, generator=generator(seed))


def maps_of(seed, count=3):
    """Maps [N,6,5] with ties and zeros: whole numbers from -6 to 6."""
    return torch.randint(-6, 7, (count, 6, 5), generator=generator(seed + 1)).double()


def chosen_by(images):
    """Where pixels have taken the fill, [N,H,W]."""
    return (images == FILL).all(1)


@st.composite
def networks(draw):
    """A small random network in float64: one or two convolutions, ReLU, perhaps max pooling."""
    seed, width = draw(seeds), draw(st.integers(2, 5))
    layers = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
    if draw(st.booleans()):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    pooled = draw(st.booleans())
    layers += [nn.MaxPool2d(2)] if pooled else []
    size = width * (3 * 2 if pooled else 6 * 5)
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, 4)).double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator(seed))
    return net


def rising(scale, power):
    """A function that grows, and that keeps zero: what a map may go through unnoticed."""
    return lambda maps: scale * maps.sign() * maps.abs() ** power


increasing = st.builds(rising, st.floats(0.1, 10), st.sampled_from([1, 2, 3]))


# ---- deletion, insertion, allegiance


@drawn
@given(seeds, fractions, increasing)
def test_deletion_asks_for_the_order_of_a_map_alone(seed, fraction, grow):
    images, maps = pictures(seed), maps_of(seed)
    expected = metrics.delete(images, maps, fraction, FILL)
    assert torch.equal(metrics.delete(images, grow(maps), fraction, FILL), expected)


@drawn
@given(networks(), seeds, st.booleans(), increasing)
def test_allegiance_asks_for_the_order_of_a_map_alone(net, seed, insert, grow):
    images, maps = pictures(seed), maps_of(seed)
    curves = [
        metrics.allegiance(net, images, m, fill=FILL, fractions=FRACTIONS, insert=insert)
        for m in (maps, grow(maps))
    ]
    assert torch.equal(*curves)


class Seen(nn.Module):
    """Logits that are the picture itself, so that a curve tells which pixels were shown."""

    def forward(self, images):
        return images.flatten(1)


@drawn
@given(seeds)
def test_insertion_and_deletion_complement_each_other(seed):
    images, maps = pictures(seed), maps_of(seed)
    curves = [
        [
            altered
            for _, _, altered in metrics.altered_logits(
                Seen(), images, maps, fill=FILL, fractions=FRACTIONS, insert=insert
            )
        ][0]
        for insert in (False, True)
    ]
    deleted, revealed = ((curve == FILL) for curve in curves)
    assert torch.equal(deleted, ~revealed)
    for fraction, row in zip(FRACTIONS, deleted, strict=True):
        alone = chosen_by(metrics.delete(images, maps, fraction, FILL))
        assert torch.equal(row.view(3, 3, 6, 5).all(1), alone)


@drawn
@given(seeds, fractions, fractions)
def test_a_larger_fraction_deletes_a_larger_set(seed, one, other):
    images, maps = pictures(seed), maps_of(seed)
    fewer, more = (
        chosen_by(metrics.delete(images, maps, p, FILL)) for p in (min(one, other), max(one, other))
    )
    assert not (fewer & ~more).any()


# ---- ROAR and KAR


@drawn
@given(seeds, fractions)
def test_what_roar_removes_kar_keeps(seed, fraction):
    images, maps = pictures(seed), maps_of(seed)
    removed, kept = (
        metrics.occlude_pixels(images, maps, fraction, FILL, keep=keep) for keep in (False, True)
    )
    assert torch.equal(chosen_by(removed), ~chosen_by(kept))
    assert torch.equal(torch.where(removed == FILL, kept, removed), images)
    assert chosen_by(removed).flatten(1).sum(1).eq(round(fraction * 30)).all()


# ---- a batch is its images one by one


@pytest.mark.parametrize("name", METHODS)
@settings(drawn, max_examples=4)
@given(networks(), seeds)
def test_attributions_of_a_batch_are_those_of_its_images(name, net, seed):
    images, method = pictures(seed), METHODS[name].function
    if name == "rectgrad_prr" and not any(isinstance(m, nn.MaxPool2d) for m in net):
        net.insert(0, nn.MaxPool2d(1))  # something for PRR to change, which changes nothing
    together = method(net, images)
    alone = torch.cat([method(net, image[None]) for image in images])
    assert_close(together, alone)


@drawn
@given(networks(), seeds, st.booleans(), st.integers(1, 4))
def test_curves_of_a_batch_are_those_of_its_images(net, seed, insert, batch_size):
    images, maps = pictures(seed, 4), maps_of(seed, 4)
    options = {"fill": FILL, "fractions": FRACTIONS, "insert": insert}
    together = metrics.class_scores(net, images, maps, batch_size=batch_size, **options)
    alone = [metrics.class_scores(net, images[n, None], maps[n, None], **options) for n in range(4)]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert_close(whole, torch.cat(parts, 1))


# ---- contributions add up to the difference of the logits


@drawn
@given(networks(), seeds, st.floats(-1, 1), st.integers(0, 3))
def test_deeplift_is_complete(net, seed, start, target):
    images = pictures(seed)
    found = attribution.deeplift(net, images, target, baseline=start, max_pool="rescale")
    with torch.no_grad():
        difference = (net(images) - net(torch.full_like(images, start)))[:, target]
    assert_close(found.sum((1, 2, 3)), difference)


@drawn
@given(networks(), seeds, st.floats(-1, 1), st.integers(0, 3))
def test_integrated_gradients_are_complete_as_steps_grow(net, seed, start, target):
    images, steps = pictures(seed, 2), 400
    found = attribution.integrated_gradients(
        net, images, target, baseline=start, steps=steps, batch_size=800
    )
    with torch.no_grad():
        first, last = (net(x)[:, target] for x in (torch.full_like(images, start), images))
    assert_close(found.sum((1, 2, 3)), last - first, rtol=0.02, atol=0.02)


# ---- maps


@drawn
@given(seeds, st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_normalized_maps_reach_0_and_1_and_stay_when_normalized_again(seed, scale, shift):
    maps = scale * torch.randn(3, 6, 5, dtype=torch.float64, generator=generator(seed)) + shift
    once = attribution.normalize(maps)
    assert once.flatten(1).amin(1).eq(0).all() and once.flatten(1).amax(1).eq(1).all()
    assert torch.equal(attribution.normalize(once), once)


@drawn
@given(seeds, st.sampled_from(["absmax", "sum", "max"]), st.integers(0, 3))
def test_a_map_scales_with_its_attribution(seed, reduce, power):
    values = torch.randn(3, 3, 6, 5, dtype=torch.float64, generator=generator(seed))
    whole = attribution.to_map(2**power * values, reduce)
    assert torch.equal(whole, 2**power * attribution.to_map(values, reduce))


@drawn
@given(
    st.sampled_from(sorted(METHODS)), st.text("abcdefghijklmnopqrstuvwxyz ", min_size=1, max_size=9)
)
def test_a_treatment_is_said_after_the_method(name, treatment):
    assert attribution.label(f"{treatment}:{name}") == f"{METHODS[name].label}, {treatment}"
