"""What a network may be, what it may return and in which layout it gets the pictures; whatever it
is, its maps are right or it is refused in one sentence that names the remedy.
"""

from __future__ import annotations

import threading
import types
import warnings
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from lib import attribution, metrics
from lib.attribution import (
    METHODS,
    class_gradients,
    deeplift,
    evaluating,
    guided_backprop,
    integrated_gradients,
    logits,
    rectgrad,
    saliency,
    signed_maps,
    smoothgrad,
)
from tests.refusal import refused

pytestmark = pytest.mark.usefixtures("one_thread")

GRADIENTS = {
    "saliency": saliency,
    "smoothgrad": partial(smoothgrad, steps=3),
    "integrated_gradients": partial(integrated_gradients, steps=3),
    "active": attribution.active,
}
RULED = {
    "guided_backprop": guided_backprop,
    "deconvolution": attribution.deconvolution,
    "rectgrad": partial(rectgrad, q=60, final_threshold=False),
    "epsilon_lrp": attribution.epsilon_lrp,
    "deeplift": partial(deeplift, max_pool="rescale"),
}
METHODS_HERE = GRADIENTS | RULED
each_method = pytest.mark.parametrize("call", METHODS_HERE.values(), ids=METHODS_HERE)
each_ruled = pytest.mark.parametrize("call", RULED.values(), ids=RULED)


def curve(model, images):
    return metrics.allegiance(model, images, images.sum(1), fill=0.0, fractions=(0, 0.3))


class Net(nn.Module):
    """A small network whose forward is `way(net, images)`."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
            self.head, self.encoder = nn.Linear(6, 4), nn.TransformerEncoderLayer(6, 2, 12)
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=0.5)
        self.double().eval()

    def forward(self, images):
        return self.way(self, images)

    def hidden(self, images):
        return F.relu(self.second(F.relu(self.first(images))))


def usual(net, images):
    return net.head(net.hidden(images).mean((2, 3)))


# ---- what a network returns

ANSWERS = {
    "tuple": lambda y: (y, None),
    "list": lambda y: [y, y * 2],
    "object": lambda y: types.SimpleNamespace(logits=y, loss=None),
    "dict": lambda y: {"loss": None, "logits": y},
}
NO_ANSWERS = {
    "a map": (lambda y: y[:, :, None, None].expand(-1, -1, 2, 2), ["(5, 4, 2, 2)"]),
    "one number an image": (lambda y: y[:, 0], ["(5,)"]),
    "None": (lambda y: None, ["NoneType"]),
    "an empty tuple": (lambda y: (), ["tuple"]),
    "a dict without logits": (lambda y: {"out": y}, ["dict", "out"]),
    "classes": (lambda y: y.argmax(1, keepdim=True), ["int64", "floating-point"]),
    "fewer rows": (lambda y: y[1:], ["(4, 4)"]),
    "a tuple of maps": (lambda y: (y[..., None],), ["tuple", "(5, 4, 1)"]),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_logits_in_what_a_network_returns(answer, images):
    wrapped, plain = Net(lambda net, x: answer(usual(net, x))), Net(usual)
    assert_close(logits(wrapped, images), plain(images).detach())
    for call in METHODS_HERE.values():
        assert torch.equal(call(wrapped, images, 1), call(plain, images, 1))
    assert torch.equal(curve(wrapped, images), curve(plain, images))


@pytest.mark.parametrize("answer, words", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_logits_is_refused_by_all_in_the_same_words(answer, words, images):
    net = Net(lambda net, x: answer(usual(net, x)))
    calls = [logits, curve, signed_maps, class_gradients, saliency, guided_backprop]
    said = {refused(lambda call=call: call(net, images), "logits [N,K]", *words) for call in calls}
    assert len(said) == 1


def test_one_logit_is_two(linear):
    """z = 4 mean - 1: classes are its sign, probabilities its sigmoid, class 0 has no gradient."""
    net = linear(torch.full((1, 1, 2, 2), 1.0), bias=[-1])
    pictures = torch.tensor([1.0, 0.0], dtype=torch.float64).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert logits(net, pictures).tolist() == [[0, 3], [0, -1]]
    assert saliency(net, pictures, 1).unique().tolist() == [1]
    assert not saliency(net, pictures, 0).any()
    assert saliency(net, pictures).flatten(1).sum(1).tolist() == [4, 0]  # predicted are 1 and 0
    assert class_gradients(net, pictures)[1].shape == (2, 2, 1, 2, 2)
    assert signed_maps(net, pictures, 1).active.unique().tolist() == [1]
    maps = torch.rand(2, 2, 2) + 0.1
    probability, logit = metrics.class_scores(net, pictures, maps, fill=0.0, fractions=(0, 1))
    assert_close(logit, torch.tensor([[3.0, 0], [-1, 0]], dtype=torch.float64))
    expected = torch.tensor([[3.0, 1], [-1, 1]], dtype=torch.float64).sigmoid()
    assert_close(probability, expected)
    kept = metrics.allegiance(net, pictures, maps, fill=0.0, fractions=(0, 1))
    assert kept.tolist() == [[True, True], [False, True]]


# ---- what a network is


def test_a_function_is_explained_as_the_module_in_it(images):
    net = Net(usual)
    for function in (net.forward, lambda x: net(x), partial(lambda n, x: n(x), net)):
        for call in METHODS_HERE.values():
            assert torch.equal(call(function, images, 1), call(net, images, 1))
        assert torch.equal(curve(function, images), curve(net, images))


def test_a_function_around_networks_in_train_mode(images, unchanged):
    """An ensemble: batch norm does not learn, dropout is off, and the modes come back."""
    body = [nn.BatchNorm2d(3), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    members = [nn.Sequential(*body, nn.Linear(3, 4)).double().train() for _ in range(2)]

    def mean(x):
        return sum(member(x) for member in members) / 2

    with unchanged(members[0]), unchanged(members[1]):
        first, second = saliency(mean, images, 0), saliency(mean, images, 0)
        assert_close(first[2:3], saliency(mean, images[2:3], 0))
        curve(mean, images)
    assert torch.equal(first, second)


@pytest.mark.parametrize("model", ["resnet18", None, {"a": 1}], ids=repr)
def test_what_is_no_network_is_refused(model, images):
    for call in (saliency, guided_backprop, deeplift, logits, curve):
        refused(lambda call=call: call(model, images), "torch.nn.Module", type(model).__name__)


def plain():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)]
        tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)]
        return nn.Sequential(*layers, *tail).double().eval()


def exported(batch=None):
    sample = torch.rand(5, 3, 6, 5, dtype=torch.float64)
    shapes = None if batch else ({0: torch.export.Dim("batch", min=1, max=64)},)
    return torch.export.export(plain(), (sample,), dynamic_shapes=shapes).module()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["exported", "fx", "scripted", "traced", "frozen", "compiled"])
@each_method
def test_other_kinds_of_modules_work_or_are_refused(kind, call, images):
    sample = torch.rand(5, 3, 6, 5, dtype=torch.float64)
    net = {
        "exported": exported,
        "fx": lambda: torch.fx.symbolic_trace(plain()),
        "scripted": lambda: torch.jit.script(plain()),
        "traced": lambda: torch.jit.trace(plain(), sample),
        "frozen": lambda: torch.jit.freeze(torch.jit.script(plain())),
        "compiled": lambda: torch.compile(plain(), backend="eager"),
    }[kind]()
    if call in RULED.values() and kind not in ("exported", "fx"):
        refused(lambda: call(net, images, 1), "scripted or compiled", "plain module")
        return
    assert_close(call(net, images, 1), call(plain(), images, 1))
    assert torch.equal(curve(net, images), curve(plain(), images))


@pytest.mark.filterwarnings("ignore")
def test_a_network_exported_for_one_batch_size(images):
    net = exported(batch=5)
    assert_close(saliency(net, images, 1), saliency(plain(), images, 1))
    for call in (saliency, logits, guided_backprop, curve):
        refused(lambda call=call: call(net, images[:2]), "exported", "dynamic")


@pytest.mark.filterwarnings("ignore")
@each_ruled
def test_a_relu_hidden_in_a_scripted_function_is_refused(call, images):
    hidden = torch.jit.script(_hidden)
    net = Net(lambda net, x: net.head(F.relu(net.second(hidden(net.first(x)))).mean((2, 3))))
    refused(lambda: call(net, images, 1), "relu", "scripted", "plain Python")


def _hidden(z: torch.Tensor):
    return torch.relu(z)


# ---- no gradient comes back


@torch.no_grad()
def frozen(net, x):
    return net.hidden(x).mean((2, 3))


def in_inference_mode(net, x):
    with torch.inference_mode():
        return net.hidden(x).mean((2, 3))


NO_GRADIENT = {
    "no_grad": (lambda net, x: net.head(frozen(net, x)), "no_grad"),
    "all under no_grad": (torch.no_grad()(usual), "no_grad"),
    "detached": (lambda net, x: usual(net, x.detach()), "no gradient"),
    "whole numbers": (lambda net, x: usual(net, (255 * x).to(torch.uint8).double()), "no gradient"),
    "inference mode": (lambda net, x: net.head(in_inference_mode(net, x)), "no gradient"),
    "through NumPy": (lambda net, x: usual(net, torch.from_numpy(x.numpy())), "NumPy"),
    "rounded": (lambda net, x: usual(net, (255 * x).round() / 255), "round"),
    "signs": (lambda net, x: net.head(net.hidden(x).sub(0.5).sign().mean((2, 3))), "round"),
    "divided to whole numbers": (
        lambda net, x: usual(net, torch.div(x, 0.1, rounding_mode="floor")),
        "round",
    ),
}


@each_method
@pytest.mark.parametrize("way, word", NO_GRADIENT.values(), ids=NO_GRADIENT)
def test_a_network_that_gives_no_gradient_is_refused(way, word, call, images, unchanged):
    net = Net(way)
    with unchanged(net, images):
        message = refused(lambda: call(net, images, 1), word)
    assert "plain gradient" not in message


@each_method
def test_rounding_that_lets_the_gradient_through(call, images):
    """Straight through it is the gradient at the rounded picture; beside another way it is 0."""
    through = Net(lambda net, x: usual(net, x + ((8 * x).round() / 8 - x).detach()))
    if call in (saliency, guided_backprop):
        assert_close(call(through, images, 1), call(Net(usual), (8 * images).round() / 8, 1))
    assert call(through, images, 1).any()
    beside = Net(lambda net, x: usual(net, x + (8 * x).round()))
    twin = Net(lambda net, x: usual(net, x + (8 * x).round().detach()))
    if call in RULED.values():
        with pytest.warns(UserWarning, match="no rule for round"):
            found = call(beside, images, 1)
    else:
        found = call(beside, images, 1)
    if call not in (METHODS_HERE["deeplift"], METHODS_HERE["integrated_gradients"]):
        assert_close(found, call(twin, images, 1))


@pytest.mark.parametrize("name", METHODS)
def test_inference_tensors_are_refused_by_name(name, images):
    with torch.inference_mode():
        net = plain()
    refused(lambda: METHODS[name].function(net, images, 1), "torch.inference_mode()")
    assert curve(net, images).all(1)[0]  # no gradient is needed here


@pytest.mark.parametrize("reentrant", [False, True])
@each_ruled
@pytest.mark.filterwarnings("ignore")
def test_checkpoints_are_refused(reentrant, call, images):
    net = Net(
        lambda net, x: net.head(checkpoint(net.hidden, x, use_reentrant=reentrant).mean((2, 3)))
    )
    refused(lambda: call(net, images, 1), "torch.utils.checkpoint")


@pytest.mark.parametrize("name", ["saliency", "smoothgrad", "active", "rectgrad", "epsilon_lrp"])
def test_writing_in_place_where_torch_itself_cannot_go_back(name, images):
    def way(net, x):
        z = net.first(x)
        return net.head(F.relu(z.add_(F.silu(z))).mean((2, 3)))

    refused(lambda: METHODS_HERE[name](Net(way), images, 1), "in place", "out of place")


# ---- the memory layout


LAYOUTS = {
    "view": lambda h: h.view(len(h), 6, 30).mean(2),
    "view of all": lambda h: h.view(-1, 30).mean(1).view(-1, 6),
    "as_strided": lambda h: h.as_strided((len(h), 6, 30), (180, 30, 1)).mean(2),
    "strides": lambda h: h.mean((2, 3)) * (2 if h.stride(1) == 1 else 1),
    "asserted": lambda h: h.flatten(2).mean(2) if h.is_contiguous() else _raise(AssertionError()),
    "asked": lambda h: h.mean((2, 3)) * (1 if h.is_contiguous() else 2),
    "refused as a value": lambda h: (
        h.mean((2, 3)) if h.stride(3) == 1 else _raise(ValueError("not C-contiguous"))
    ),
    "refused as a type": lambda h: (
        h.mean((2, 3)) if h.stride(3) == 1 else _raise(TypeError("needs contiguous tensors"))
    ),
}


def _raise(error):
    raise error


@each_method
@pytest.mark.parametrize("flat", LAYOUTS.values(), ids=LAYOUTS)
def test_a_network_that_needs_contiguous_pictures(flat, call, images):
    net = Net(lambda net, x: net.head(flat(net.hidden(x))))
    twin = Net(lambda net, x: net.head(net.hidden(x).mean((2, 3))))
    for given in (images, images.contiguous(memory_format=torch.channels_last)):
        assert_close(call(net, given, 1), call(twin, given, 1))
        assert torch.equal(curve(net, given), curve(twin, given))


def test_networks_that_can_take_them_get_pictures_in_channels_last(images):
    seen = []

    def way(net, x):
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return usual(net, x)

    saliency(Net(way), images)
    curve(Net(way), images)
    assert seen and all(seen)


def test_few_pixels_under_heavy_weights_stay_contiguous():
    net = nn.Sequential(nn.Conv2d(3, 128, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    seen = []
    net[0].register_forward_pre_hook(
        lambda _, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    images = torch.rand(4, 3, 4, 4)
    saliency(net, images[:1], 1)  # 3,456 weights for 16 pixels
    saliency(net, images, 1)
    saliency(net.to(memory_format=torch.channels_last), images[:1], 1)
    assert seen == [False, True, True]


def test_an_error_of_the_network_is_its_own(images):
    def way(net, x):
        calls.append(1)
        raise RuntimeError("no such layer")

    calls = []
    with pytest.raises(RuntimeError, match="no such layer"):
        saliency(Net(way), images)
    assert len(calls) == 1


# ---- the batch


MIXING = {
    "minus the mean of the batch": lambda net, x: usual(net, x - x.mean(0, keepdim=True)),
    "the next image": lambda net, x: usual(net, x.roll(1, 0)),
    "softmax over the batch": lambda net, x: usual(net, x).softmax(0),
    "batch norm by function": lambda net, x: usual(net, F.batch_norm(x, None, None, training=True)),
    "attention between images": lambda net, x: net.head(
        net.encoder(net.hidden(x).mean((2, 3))[:, None])[:, 0]
    ),
    "logits minus their mean": lambda net, x: (lambda y: y - y.mean(0))(usual(net, x)),
    "probabilities of a mixed batch": lambda net, x: usual(net, x + x.roll(1, 0)).softmax(1),
}


def along_the_batch(net, x):
    """Rows [N,T,6] given to what takes the first dimension for time."""
    return net.hidden(x).mean(3).transpose(1, 2)


def recurrent(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cell = kind(6, 6).double()
    return lambda net, x: net.head(cell(along_the_batch(net, x))[0][:, -1])


def causal(net, x):
    tokens = along_the_batch(net, x)
    mask = nn.Transformer.generate_square_subsequent_mask(len(x), dtype=x.dtype)
    return net.head(net.encoder(tokens, src_mask=mask)[:, -1])


# one end of the batch depends on no other image, and the other on all or on its neighbour
ALONG = {
    "LSTM": recurrent(nn.LSTM),
    "GRU": recurrent(nn.GRU),
    "RNN": recurrent(nn.RNN),
    "causal attention": causal,
    "running sum": lambda net, x: usual(net, x).cumsum(0),
    "running sum from the end": lambda net, x: usual(net, x).flip(0).cumsum(0).flip(0),
    "change since the image before": lambda net, x: usual(net, torch.cat([x[:1], x[1:] - x[:-1]])),
    "change to the image after": lambda net, x: usual(net, torch.cat([x[:-1] - x[1:], x[-1:]])),
}


@pytest.mark.filterwarnings("ignore:.*has no rule", "ignore:.*do not add up")
@each_method
@pytest.mark.parametrize("way", (MIXING | ALONG).values(), ids=MIXING | ALONG)
@pytest.mark.parametrize("count", [2, 5])
def test_images_that_change_each_other_are_refused(way, call, count, images):
    refused(lambda: call(Net(way), images[:count], 1), "one image at a time")
    points = (
        {"batch_size": 1}
        if getattr(call, "func", None) in (smoothgrad, integrated_gradients)
        else {}
    )
    assert call(Net(way), images[:1], 1, **points).shape == images[:1].shape


@pytest.mark.parametrize("way", ALONG.values(), ids=ALONG)
@pytest.mark.parametrize("count", [2, 3])
def test_metrics_refuse_what_runs_along_the_batch(way, count, images):
    refused(lambda: curve(Net(way), images[:count]), "one image at a time", "batch_size=1")


def without_gradient(statistic):
    def way(net, x):
        with torch.no_grad():
            factor = 1 + statistic(x)
        return usual(net, x * factor)

    return way


UNSEEN = {
    "detached": lambda net, x: usual(net, x * (1 + x.detach().mean())),
    "data": lambda net, x: usual(net, x * (1 + x.data.mean())),
    "a number": lambda net, x: usual(net, x * (1 + x.mean().item())),
    "a float": lambda net, x: usual(net, x * (1 + float(x.detach().mean()))),
    "no_grad": without_gradient(torch.mean),
    "a decision": lambda net, x: usual(net, x if (x.mean() > x[2:3].mean()) else 2 * x),
    "a threshold": lambda net, x: usual(net, x + 3 * (x > x.amax((0, 2, 3), keepdim=True) - 0.3)),
}


@pytest.mark.filterwarnings("ignore:.*has no rule", "ignore:.*do not add up")
@pytest.mark.parametrize("name", ["saliency", "active", "guided_backprop", "rectgrad", "deeplift"])
@pytest.mark.parametrize("way", UNSEEN.values(), ids=UNSEEN)
def test_images_that_change_each_other_where_no_gradient_shows_it(way, name, images):
    net = Net(way)
    for _ in range(2):  # a network is watched once, and remembered
        refused(lambda: METHODS_HERE[name](net, images, 1), "one image at a time")
    refused(lambda: curve(net, images), "one image at a time")
    assert METHODS_HERE[name](net, images[:1], 1).any()


@each_method
def test_statistics_of_each_image_by_itself_may_be_detached(call, images):
    net = Net(lambda net, x: usual(net, x / (1 + x.detach().std((1, 2, 3), keepdim=True))))
    assert_close(call(net, images, 1), torch.cat([call(net, i[None], 1) for i in images]))


@each_method
@pytest.mark.parametrize("count", [1, 5])
def test_a_network_that_draws_random_numbers_is_refused(call, count, images):
    net = Net(lambda net, x: usual(net, F.dropout(x, 0.5, training=True)))
    refused(lambda: call(net, images[:count], 1), "draws random numbers", "training=self.training")
    same = Net(lambda net, x: usual(net, x + 0 * torch.randn_like(x)))
    assert_close(call(same, images[:count], 1), call(Net(usual), images[:count], 1))


def test_metrics_refuse_a_network_that_draws_random_numbers(images):
    net = Net(lambda net, x: usual(net, F.dropout(x, 0.5, training=True)))
    refused(lambda: curve(net, images), "draws random numbers", "training=self.training")


def test_windows_drawn_at_random_are_told(images):
    net = Net(lambda net, x: net.head(F.fractional_max_pool2d(net.hidden(x), 2, 4).mean((2, 3))))
    for call in (saliency, guided_backprop, METHODS_HERE["rectgrad"]):
        with (
            torch.random.fork_rng(devices=[]),
            pytest.warns(UserWarning, match="fractional max pooling.*one draw"),
        ):
            torch.manual_seed(0)
            assert call(net, images, 1).any()


def test_what_cannot_mix_costs_no_pass_more(counting, images):
    """Also where the check has something to ask, it asks of two images alone."""
    net = counting(Net(usual))
    for call in (saliency, guided_backprop, signed_maps, METHODS_HERE["rectgrad"]):
        call(net, images, 1)
    assert net.batches == [(5, 3, 6, 5)] * 4
    net = counting(Net(lambda net, x: usual(net, x + (x.round() - x).detach())))
    saliency(net, images, 1)
    assert net.batches == [(5, 3, 6, 5), (1, 3, 6, 5), (1, 3, 6, 5)]


@pytest.mark.parametrize("way", MIXING.values(), ids=MIXING)
def test_metrics_refuse_images_that_change_each_other(way, images):
    refused(lambda: curve(Net(way), images), "one image at a time", "batch_size=1")
    maps = images.sum(1)
    one_by_one = metrics.allegiance(Net(way), images, maps, fill=0.0, batch_size=1)
    singly = [
        metrics.allegiance(Net(way), x[None], m[None], fill=0.0)
        for x, m in zip(images, maps, strict=True)
    ]
    assert torch.equal(one_by_one, torch.cat(singly, 1))


def test_a_batch_norm_without_running_statistics(images):
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6, track_running_stats=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )
    net = net.double().eval()
    for call in (saliency, guided_backprop, deeplift, signed_maps, smoothgrad, logits, curve):
        refused(lambda call=call: call(net, images), "running statistics", "one image at a time")
    assert saliency(net, images[:1]).any()
    refused(lambda: smoothgrad(net, images[:1], steps=3), "batch_size=1")
    assert smoothgrad(net, images[:1], steps=3, batch_size=1).any()


def flipped(net, x):
    """Both ways round, one after the other in the first dimension, and the mean of their logits."""
    both = usual(net, torch.cat([x, x.flip(-1)]))
    return (both[: len(x)] + both[len(x) :]) / 2


def tokens_first(net, x):
    return net.head(F.relu(net.first(x)).flatten(2).permute(2, 0, 1).relu().mean(0))


def tokens_last(net, x):
    return net.head(F.relu(net.first(x)).flatten(2).permute(0, 2, 1).relu().mean(1))


OTHER_BATCHES = {
    "flips": flipped,
    "tokens first": tokens_first,
    "tokens joined to the batch": lambda net, x: net.head(
        F.relu(net.first(x).flatten(2).transpose(1, 2).reshape(-1, 6)).view(len(x), -1, 6).mean(1)
    ),
    "instance norm": lambda net, x: usual(net, F.instance_norm(x)),
}


@pytest.mark.filterwarnings("ignore:.*has no rule", "ignore:.*do not add up")
@each_method
@pytest.mark.parametrize("way", OTHER_BATCHES.values(), ids=OTHER_BATCHES)
@pytest.mark.parametrize("count", [2, 5])
def test_wherever_the_batch_is_a_batch_equals_its_images(way, call, count, images):
    net, some = Net(way), images[:count]
    alone = torch.cat([call(net, image[None], 1) for image in some])
    assert_close(call(net, some, 1), alone)
    assert alone.any()


ORDINARY = {
    "adaptive pooling": lambda net, x: net.head(
        F.adaptive_avg_pool2d(F.relu(net.second(net.first(x))), 1).flatten(1)
    ),
    "channels last": lambda net, x: net.head(
        F.relu(F.layer_norm(net.first(x).permute(0, 2, 3, 1), (6,)))
    ).mean((1, 2)),
    "shuffled, split and joined": lambda net, x: net.head(
        torch.cat(F.channel_shuffle(F.relu(net.first(x)), 2).chunk(2, 1)[::-1], 1)
        .unflatten(1, (2, 3))
        .transpose(1, 2)
        .flatten(1, 2)
        .mean((-1, -2))
    ),
    "squeezed and excited": lambda net, x: net.head(
        (lambda h: h * h.mean((2, 3), keepdim=True).sigmoid())(F.relu(net.first(x))).amax((2, 3))
    ),
    "attention within an image": lambda net, x: net.head(
        (lambda t: (t @ t.transpose(1, 2)).softmax(-1) @ t)(
            F.relu(net.first(x)).flatten(2).transpose(1, 2)
        ).mean(1)
    ),
    "maxima, padded": lambda net, x: net.head(
        F.max_pool2d(F.pad(F.relu(net.first(x)), (1, 1)), 2).mean((2, 3))
    ),
}


@pytest.mark.filterwarnings("ignore:.*has no rule")
@pytest.mark.parametrize("way", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_networks_are_known_to_keep_images_apart(way, counting, images):
    """So that RectGrad needs one forward pass for all of them, and a gradient one backward."""
    net = counting(Net(way))
    together = rectgrad(net, images, 1, q=60, final_threshold=False)
    assert net.batches == [(5, 3, 6, 5)]
    alone = [rectgrad(net, image[None], 1, q=60, final_threshold=False) for image in images]
    assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("size", [(6, 5), (1, 2), (1, 5)])  # 30 tokens; as many as images; 2
def test_tokens_first_equal_tokens_last(size, images):
    for call in RULED.values():
        some = images[:2, :, : size[0], : size[1]]
        assert_close(call(Net(tokens_first), some, 1), call(Net(tokens_last), some, 1))


def test_both_tails_too_are_of_each_image(images):
    call = partial(attribution.crosses.rectgrad_both_tails, q=60)
    assert_close(call(Net(tokens_first), images, 1), call(Net(tokens_last), images, 1))


@pytest.mark.parametrize("part", ["positive", "active", "inactive"])
def test_parts_of_rectgrad_too(part, images):
    call = partial(attribution.crosses.rectgrad_part, part=part, q=60)
    assert_close(call(Net(tokens_first), images, 1), call(Net(tokens_last), images, 1))


# ---- targets


@pytest.mark.parametrize(
    "target",
    [
        np.int64(2),
        np.uint8(2),
        np.array(2),
        [2] * 5,
        (np.int32(2),) * 5,
        np.full(5, 2, dtype=np.int16),
        np.broadcast_to(np.int64(2), 5),
        torch.full((5,), 2, dtype=torch.int32),
        torch.tensor(2, dtype=torch.uint8),
    ],
    ids=repr,
)
def test_targets_as_people_have_them(target, images):
    net = Net(usual)
    for call in METHODS_HERE.values():
        assert torch.equal(call(net, images, target), call(net, images, 2))
    assert_close(signed_maps(net, images, target).active, signed_maps(net, images, 2).active)


@pytest.mark.parametrize(
    "target",
    [True, np.bool_(True), [True] * 5, [0.5] * 5, np.float32(1), [1, 2], [[1] * 5], ["a"] * 5, {}],
    ids=repr,
)
def test_what_is_no_target_is_refused(target, images):
    for call in (saliency, signed_maps, guided_backprop, deeplift):
        refused(lambda call=call: call(Net(usual), images, target), "target")


def test_counts_of_numpy(images):
    net = Net(usual)
    for call in (smoothgrad, integrated_gradients):
        expected = call(net, images, 1, steps=3, batch_size=4)
        assert torch.equal(
            call(net, images, 1, steps=np.int64(3), batch_size=np.int32(4)), expected
        )
        refused(lambda call=call: call(net, images, steps=np.bool_(True)), "steps")
    refused(lambda: class_gradients(net, images, classes=[0.5]), "classes", "whole numbers")
    assert torch.equal(
        class_gradients(net, images, classes=np.array([2, 0]))[1],
        class_gradients(net, images, classes=[2, 0])[1],
    )


# ---- what PyTorch says in its own words, and NaN


def _chunked(net, x):
    return net.head(torch.cat([c.relu_() for c in net.first(x).chunk(2, 1)], 1).mean((2, 3)))


RAW = {
    "a half network": (lambda: plain().half(), ["number types", "images.to("]),
    "a single network": (lambda: plain().float(), ["number types", "images.to("]),
    "a linear half network": (
        lambda: nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(90, 4)).half(),
        ["number types", "images.to("],
    ),
    "a grey network": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()).double(),
        ["channels", "images.mean(1, keepdim=True)"],
    ),
    "an ExportedProgram": (
        lambda: torch.export.export(plain(), (torch.rand(5, 3, 6, 5).double(),)),
        ["ExportedProgram", "module()"],
    ),
    "a class": (lambda: Net, ["class Net", "instance"]),
    "sparse logits": (lambda: Net(lambda net, x: usual(net, x).to_sparse()), ["to_dense()"]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make, words", RAW.values(), ids=RAW)
def test_common_mistakes_are_told_by_all_in_the_same_words(make, words, images):
    net = make()
    calls = [logits, curve, saliency, signed_maps, guided_backprop, rectgrad, deeplift, smoothgrad]
    assert len({refused(lambda call=call: call(net, images), *words) for call in calls}) == 1


def test_writing_where_autograd_does_not_let_it(images):
    for call in (saliency, guided_backprop):
        refused(lambda call=call: call(Net(_chunked), images, 1), "views", "out of place")
    net = Net(
        lambda net, x: net.head(torch.tanh(net.first(x), out=torch.empty(0).double()).mean((2, 3)))
    )
    refused(lambda: saliency(net, images, 1), "out=", "assign")


@pytest.mark.filterwarnings("ignore:.*has no rule")
@each_method
def test_nan_is_refused_wherever_it_comes_from(call, images):
    broken = images.clone()
    broken[3, 1, 2, 2] = torch.nan
    refused(lambda: call(Net(usual), broken, 1), "images contain NaN")
    refused(lambda: signed_maps(Net(usual), broken, 1), "images contain NaN")
    refused(lambda: class_gradients(Net(usual), broken), "images contain NaN")
    net = Net(usual)
    net.first.bias.data[0] = torch.nan
    refused(lambda: call(net, images, 1), "network returns NaN", "float32")
    steep = Net(lambda net, x: usual(net, (0 * x).sqrt() + x))
    refused(lambda: call(steep, images, 1), "gradient is NaN", "float32")


def test_nan_at_the_baseline_is_named(images):
    net = Net(lambda net, x: usual(net, x / x.std((1, 2, 3), keepdim=True)))
    refused(lambda: deeplift(net, images, 1), "baseline", "another baseline")
    for call in (deeplift, integrated_gradients):
        for value in (torch.nan, [0, torch.inf, 0], torch.full((3, 6, 5), torch.nan)):
            refused(
                lambda call=call, value=value: call(net, images, 1, baseline=value), "all finite"
            )


def test_images_of_a_class_of_their_own(images):
    class Photograph(torch.Tensor):
        pass

    for call in METHODS_HERE.values():
        found = call(Net(usual), images.as_subclass(Photograph), 1)
        assert torch.equal(found.as_subclass(torch.Tensor), call(Net(usual), images, 1))


def test_hooks_that_change_nothing_are_not_named(counting, images):
    net = Net(usual)
    for module in (net.first, net.second):
        module.register_full_backward_hook(lambda *_: None)
    net = counting(net)
    for call in RULED.values():  # a warning is an error here
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_close(call(net, images, 1), call(Net(usual), images, 1))


def test_means_of_half_precision_gradients_are_in_single():
    """50 times a gradient of 2000 is more than half precision holds; by hand, and added slowly."""
    weight = torch.tensor([2000.0, -1500, 0.5, 3]).view(1, 1, 2, 2)
    pictures = torch.tensor([1.0, 2, 0.5, 4]).view(1, 1, 2, 2)

    def net(x):
        score = (x * weight.to(x.dtype)).flatten(1).sum(1, keepdim=True)
        return torch.cat([score, -score], 1)

    for call, factor in ((smoothgrad, 1), (integrated_gradients, pictures)):
        found = call(net, pictures.half(), 0, steps=50)
        assert found.dtype == torch.float16
        assert torch.equal(found.float(), factor * weight)
        slowly = torch.stack([saliency(net, pictures.half(), 0).double() for _ in range(50)])
        assert torch.equal(found.double(), factor * slowly.mean(0))
    part = attribution.crosses.integrated_part(net, pictures.half(), 0, part="positive", steps=50)
    assert torch.equal(part.float(), (pictures * weight).clamp(min=0))


# ---- the mode, with threads beside


def in_threads(works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def train_mode():
    body = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5)]
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)]
    return nn.Sequential(*body, *tail).double().train()


def test_threads_that_explain_a_network_in_train_mode(images, unchanged):
    """Methods and metrics at once, on the network and on a network around it."""
    net = train_mode()
    around = nn.Sequential(net, nn.Softmax(1)).eval()
    net.train()
    calls = {
        "guided": lambda: guided_backprop(net, images, 0),
        "saliency": lambda: saliency(net, images, 0),
        "around": lambda: saliency(around, images, 0),
        "curve": lambda: curve(net, images),
    }
    expected, wrong = {name: call() for name, call in calls.items()}, []

    def work(name):
        for _ in range(20):
            if not torch.equal(calls[name](), expected[name]):
                wrong.append(name)

    with unchanged(net):
        in_threads([partial(work, name) for name in calls] * 2)
    assert not wrong


def test_the_mode_comes_back_with_the_last_of_those_who_hold_it():
    net = train_mode()
    net[1].eval()
    before = [module.training for module in net.modules()]
    first, second = evaluating(net), evaluating(net[3])
    first.__enter__()
    second.__enter__()
    assert not any(module.training for module in net.modules())
    first.__exit__(None, None, None)
    assert net[2].training and not net[3].training
    second.__exit__(None, None, None)
    assert [module.training for module in net.modules()] == before


def test_a_network_whose_eval_does_more_is_not_told(images):
    """Such as one that merges weights when it leaves train mode."""

    class Merging(nn.Linear):
        def train(self, mode=True):
            super().train(mode)
            self.merged = not mode
            return self

    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Merging(3, 4)).double().train()
    saliency(net, images, 1)
    assert not net[2].merged and net[2].training
