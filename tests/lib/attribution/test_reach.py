"""What a network reaches: modules behind functions and objects, other images of the batch, streams
of random numbers, masks that it was given."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from lib import attribution, metrics
from lib.attribution import graph, guided_backprop, rectgrad, saliency

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = [saliency, guided_backprop, rectgrad, attribution.deeplift]


def small(act=nn.ReLU, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=bias),
        act(),
        nn.Conv2d(6, 6, 3, padding=1),
        act(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


# ---- other images of the batch

MIXING = {
    "the largest": lambda z: z / z.max(),
    "from least to most": lambda z: (z - z.min()) / (z.max() - z.min()),
    "the largest of each channel": lambda z: z / z.amax((0, 2, 3), keepdim=True),
    "the largest as a number": lambda z: z / z.max().item(),
    "the largest, detached": lambda z: z / z.detach().max(),
    "turned around": lambda z: z.flip(0),
    "the first added": lambda z: z + z[:1],
    "the last added": lambda z: z + z[-1:],
}


def without_a_trace(z):
    with torch.inference_mode():
        mean = z.mean() * 5
    return z - mean


MIXING["the mean, in inference mode"] = without_a_trace
MIXING["a histogram"] = lambda z: z * torch.histc(z, 4)[0] / 100


@pytest.mark.parametrize("largest", [0, 1, 2])
@pytest.mark.parametrize("mixed", MIXING.values(), ids=MIXING)
@pytest.mark.filterwarnings("ignore:.*under torch.no_grad")
def test_a_network_that_mixes_a_batch_is_refused_whichever_image_leads(mixed, largest, images):
    images[largest] *= 3
    net = small()
    for call in (
        lambda f: saliency(f, images, 0),
        lambda f: guided_backprop(f, images, 0),
        lambda f: metrics.class_scores(f, images, images.mean(1), fill=0.0, fractions=(0, 0.5)),
    ):
        with pytest.raises(ValueError, match="change each other's logits|no gradient comes back"):
            call(lambda z: net(mixed(z)))


def test_each_image_by_itself_is_taken(images):
    net = small()
    for alone in (
        lambda z: z / z.amax((1, 2, 3), keepdim=True),
        lambda z: z - z.detach().mean(1, True),
    ):
        saliency(lambda z, alone=alone: net(alone(z)), images, 0)


# ---- modules out of sight


def training():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    return net.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten()).append(nn.Linear(6, 4)).train()


class Holder:
    def __init__(self, model):
        self.model = model

    def predict(self, z):
        return self.model(z)

    def __call__(self, z):
        return self.predict(z)


class Listing(nn.Module):
    """Its norm lies in a plain list, which modules() does not look into."""

    def __init__(self, net):
        super().__init__()
        self.parts, self.rest = [net[0], net[1]], net[2:]

    def forward(self, z):
        for part in self.parts:
            z = part(z)
        return self.rest(z)


def behind(net):
    holder, outer, listing = Holder(net), Holder(Holder(net)), Holder([net])

    def inner(z):
        return net(z)

    return {
        "an attribute": lambda z: holder.model(z),
        "an attribute of an attribute": lambda z: outer.model.model(z),
        "a function that a function calls": lambda z: inner(z),
        "a method": holder.predict,
        "a method in a function": lambda z: holder.predict(z),
        "an object that is called": holder,
        "a default": lambda z, f=net: f(z),
        "a list of an object": lambda z: listing.model[0](z),
        "a plain list in a module": Listing(net),
    }


@pytest.mark.parametrize("way", list(behind(training())))
@pytest.mark.parametrize("count", [1, 3])
def test_a_network_in_train_mode_is_found_behind(way, count, images):
    net = training()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = saliency(behind(net)[way], images[:count], 0)
    metrics.class_scores(
        behind(net)[way], images[:count], images[:count].mean(1), fill=0.0, fractions=(0, 0.5)
    )
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.training and net[1].training
    assert torch.equal(found, saliency(net.eval(), images[:count], 0))


@pytest.mark.parametrize("count", [1, 3])
def test_a_norm_in_train_mode_that_is_not_found_is_refused(count, images):
    net = training()

    class Slots:
        __slots__ = ("secret",)

    slots = Slots()
    slots.secret = net
    with pytest.raises(ValueError, match=r"train mode.*call eval\(\)"):
        saliency(lambda z: slots.secret(z), images[:count], 0)


def test_a_function_of_another_library_is_not_searched():
    def net(z):
        return torch.nn.functional.relu(z).mean((2, 3)) + float(np.float64(0))

    assert graph._modules_of(net) == []


# ---- random numbers


@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_random_numbers_of_python_and_numpy_are_seen(draw, images):
    net = small()
    with pytest.raises(ValueError, match="draws random numbers"):
        saliency(lambda z: net(z * (1 + 0.1 * draw())), images, 0)


# ---- masks


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_that_was_given_is_no_relu(method, images):
    """Ones agree with the values of any picture, and are no activation all the same."""
    net = small()
    mask = torch.ones(1, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(3):
            one = images[k : k + 1]
            masked = method(lambda z: net(z * mask), one, 0)
            assert torch.allclose(masked, method(net, one, 0), atol=1e-6)
    nothing = torch.zeros(1, 6, 8, 8, dtype=torch.bool)
    plain = small(bias=False)

    def filled(z):
        return plain[1:](plain[0](z).masked_fill(nothing, 0))

    found = attribution.deeplift(filled, images, 0)
    assert torch.allclose(found, attribution.deeplift(plain, images, 0), atol=1e-6)


@pytest.mark.parametrize("method", [guided_backprop, rectgrad])
def test_a_given_mask_beside_a_smooth_activation_is_still_no_relu(method, images):
    net, mask = small(nn.Tanh), torch.ones(1, 3, 8, 8)
    with pytest.raises(ValueError, match="called none on the way"):
        method(lambda z: net(z * mask), images[:1], 0)


# ---- numbers at the edge


def test_maps_as_large_as_numbers_get_are_stretched():
    maps = torch.tensor([[[3e38, -3e38], [0.0, 3e38]]])
    assert attribution.normalize(maps).tolist() == [[[1.0, 0.0], [0.5, 1.0]]]


def test_areas_of_half_precision_are_of_single():
    values = torch.full((13, 2), 60000.0, dtype=torch.float16)
    assert metrics.auc(metrics.PAPER_FRACTIONS, values) == pytest.approx([54000, 54000], rel=1e-3)


@pytest.mark.parametrize("strength", [-1, 2, float("nan"), "much"])
def test_a_strength_is_a_share_of_the_way(strength, images):
    maps, net = images.mean(1), small()
    for call in (
        lambda: metrics.delete(images, maps, 0.5, 0.0, strength=strength),
        lambda: metrics.allegiance(net, images, maps, fill=0.0, strength=strength),
    ):
        with pytest.raises(ValueError, match="strength is .*; it must be"):
            call()


def test_fractions_may_be_read_once(images):
    maps, net = images.mean(1), small()
    once = metrics.allegiance(net, images, maps, fill=0.0, fractions=(f / 4 for f in range(4)))
    listed = metrics.allegiance(net, images, maps, fill=0.0, fractions=[0, 0.25, 0.5, 0.75])
    assert torch.equal(once, listed)


# ---- sentences


def test_pictures_whose_channels_come_last_are_told_to_turn(images):
    with pytest.raises(ValueError, match=r"images.permute\(0, 3, 1, 2\)"):
        saliency(small(), images.permute(0, 2, 3, 1), 0)


def test_a_network_that_loses_the_batch_of_one_is_told_how_to_keep_it(images):
    net = small()

    def squeezed(z):
        return net[6](net[:5](z).squeeze())

    with pytest.raises(ValueError, match=r"for 1 image it returned shape \(4,\).*squeeze\(-1\)"):
        metrics.allegiance(squeezed, images[:1], images[:1].mean(1), fill=0.0)


# ---- what a network does before its weights, beside autograd, or later on


class Ranged(nn.Module):
    """A network that keeps its picture in [0, 1] by `bound`, then normalises it."""

    def __init__(self, bound):
        super().__init__()
        self.body, self.bound = small(), bound

    def forward(self, images):
        return self.body((self.bound(images) - 0.5) / 0.2)


BOUNDS = {
    "clamp": lambda z: z.clamp(0, 1),
    "clip": lambda z: torch.clip(z, 0, 1),
    "after a mean was added": lambda z: ((z - 0.5) / 0.2 * 0.2 + 0.5).clamp(0, 1),
}


@pytest.mark.parametrize("method", [guided_backprop, rectgrad], ids=lambda m: m.__name__)
@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
def test_bounds_of_the_picture_are_no_unit_of_the_network(method, bound, images):
    free = method(Ranged(lambda z: z), images)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no rule for clamp")
        found = method(Ranged(bound), images)
    torch.testing.assert_close(found, free, rtol=1e-4, atol=1e-6)
    assert free.any()


def test_a_clamp_behind_weights_is_a_bounded_relu(images):
    class Clamped(nn.Module):
        def forward(self, z):
            return z.clamp(0, 6)

    torch.testing.assert_close(
        guided_backprop(small(Clamped), images), guided_backprop(small(nn.ReLU6), images)
    )


class Noisy(nn.Module):
    """A network that draws numbers from a stream of its own."""

    def __init__(self):
        super().__init__()
        self.body, self.stream = small(), torch.Generator().manual_seed(0)

    def forward(self, images):
        return self.body(images + torch.rand(images.shape, generator=self.stream))


@pytest.mark.parametrize("count", [1, 3])
def test_random_numbers_of_a_stream_of_its_own_are_seen(count, images):
    with pytest.raises(ValueError, match="draws random numbers"):
        saliency(Noisy(), images[:count])


class Weighted(nn.Module):
    """A network that weighs its logits by something computed without gradients."""

    def __init__(self, apart=True):
        super().__init__()
        self.body, self.weights, self.apart = small(), nn.Linear(3, 4), apart

    def forward(self, images):
        with torch.set_grad_enabled(not self.apart):
            weights = self.weights(images.mean((2, 3)))
        return self.body(images) * weights


def test_a_branch_without_gradients_is_told_of(images):
    with pytest.warns(UserWarning, match=r"under torch\.no_grad\(\)"):
        saliency(Weighted(), images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saliency(Weighted(apart=False), images)


class Switched(nn.Module):
    """A network whose images mix once a setting says so."""

    def __init__(self):
        super().__init__()
        self.body, self.mixes = small(), False

    def forward(self, images):
        found = self.body(images)
        return found + found.mean(0).detach() if self.mixes else found


def test_what_was_learnt_of_a_network_is_forgotten_when_a_setting_changes(images):
    network = Switched()
    saliency(network, images)
    for model in (network, lambda z: network(z)):
        network.mixes = False
        saliency(model, images)
        network.mixes = True
        with pytest.raises(ValueError, match="change each other's logits"):
            saliency(model, images)


def test_a_module_compiled_in_place_is_refused_as_compiled(images):
    network = small()
    network.compile()
    with pytest.raises(ValueError, match="scripted or compiled"):
        guided_backprop(network, images)


def test_saved_tensors_that_are_moved_are_named(images):
    def moved(z):
        with torch.autograd.graph.save_on_cpu():
            return small()(z)

    with pytest.raises(ValueError, match="save_on_cpu"):
        guided_backprop(moved, images)


def test_pictures_of_another_size_or_with_transparency_are_told_of(images):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    with pytest.raises(ValueError, match="size that it was trained on"):
        saliency(flat, images[..., :5])
    with pytest.raises(ValueError, match="without transparency"):
        saliency(small(), torch.cat([images, images[:, :1]], 1))
