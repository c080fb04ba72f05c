"""study.experiments.response: what the threshold, the border and the attack do to small networks.

And which weights the sanity checks touch.
"""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from lib import attribution, metrics
from study.experiments import cleanliness, deletion, response
from study.experiments.hypothesis import at_layer
from study.store import cells
from study.subjects import sources
from study.subjects.pictures import Dataset
from study.subjects.subject import Subject, batch
from tests.refusal import refused
from tests.study.keeping import keeping

pytestmark = pytest.mark.usefixtures("one_thread")


def subject_of(model, images, masks=None, black=0.0, white=255.0) -> Subject:
    """A model whose input is the bytes themselves, unless `black` and `white` say otherwise."""
    model.black, model.white = black, white
    images = torch.as_tensor(images).to(torch.uint8)
    return Subject(
        model.eval(),
        Dataset(
            "toy",
            "test",
            images,
            torch.zeros(len(images), dtype=torch.int64),
            ("ant", "bee", "cat"),
            "made",
            masks,
        ),
        "net",
        "made",
    )


def make(count=6, size=12, seed=0, pool=True) -> Subject:
    """Two convolutions and a head with random weights on random pictures, the object a square."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2) if pool else nn.AvgPool2d(2),
            nn.Conv2d(5, 6, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(54, 3),
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.4)
    images = torch.randint(256, (count, 3, size, size), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        model[-1].bias -= model(images / 127.5 - 1).mean(0)
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    masks[:, 3:9, 2:7] = True
    return subject_of(model, images, masks, -1.0, 1.0)


def straight(weight, images) -> Subject:
    """Logits weight [K,C,H,W] times the bytes.

    They go through a ReLU that never bites so that every method finds one.
    """
    weight = torch.as_tensor(weight).float()
    head = nn.Linear(weight[0].numel(), len(weight), bias=False)
    with torch.no_grad():
        head.weight.copy_(weight.flatten(1))
    return subject_of(nn.Sequential(nn.ReLU(), nn.Flatten(), head), images)


@pytest.fixture(scope="module")
def who(one_thread):
    made = make()
    with torch.no_grad():
        assert made.model(batch(made, slice(None))).argmax(1).unique().numel() >= 2
    return made


@pytest.fixture(scope="module")
def images(who):
    return batch(who, slice(None))


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CACHE", tmp_path)
    monkeypatch.setattr(cells, "CACHE", tmp_path)
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    return tmp_path


# ---- what is traced


def by_autograd(who, images, target=None):
    """(activation, gradient of the target's logit) at every ReLU, from PyTorch alone."""
    value, kept = images, []
    for module in who.model:
        value = module(value)
        if isinstance(module, nn.ReLU):
            value.retain_grad()
            kept.append(value)
    target = value.argmax(1) if target is None else target
    value.gather(1, target[:, None]).sum().backward()
    who.model.zero_grad(set_to_none=True)
    return [(a.detach(), a.grad) for a in kept]


@pytest.mark.parametrize("target", [None, torch.tensor([0, 1, 2, 2, 1, 0])])
def test_the_plain_rule_sees_what_autograd_computes(target, who, images):
    found = response.traced(who, images, response.plain, target)
    expected = by_autograd(who, images, target)
    assert len(found) == len(expected) == 2
    for (a, g, passed), (b, h) in zip(found, expected, strict=True):
        assert_close(a, b)
        assert_close(g, h)
        assert_close(passed, torch.where(a > 0, h, 0))
    assert not any(p.grad is not None for p in who.model.parameters())


@pytest.mark.parametrize("q", [0, 40, 90])
def test_the_rectified_rule_thresholds_what_arrives(q, who, images):
    first, second = response.traced(who, images, response.rectified(q))
    # nothing lies between the last activation and the score
    assert_close(second[1], by_autograd(who, images)[1][1])
    for a, g, passed in (first, second):
        for output, gradient, through in zip(a, g, passed, strict=True):
            score = output * gradient
            tau = score.flatten().sort().values[round((score.numel() - 1) * q / 100)]
            assert torch.equal(through, torch.where(score > tau, gradient, 0))
    if q == 90:
        # what was cut further up is missing here
        assert not torch.allclose(first[1], by_autograd(who, images)[0][1])


def test_a_traced_border_is_the_padding_tricks(who, images):
    free = response.traced(who, images, response.plain)
    trick = response.traced(who, images, response.plain, border="padded")
    assert_close(trick[1][1], free[1][1])
    assert not torch.allclose(free[0][1], trick[0][1])


# ---- the threshold sweep

PERCENTILES = (0, 20, 80, 98)


@pytest.fixture(scope="module")
def swept(who):
    return response.sweep(who, PERCENTILES, batch_size=4)


def test_a_sweep_is_a_row_for_every_picture_and_layer_at_every_percentile(swept):
    pictures, layers = swept
    assert list(pictures.columns) == ["picture", "q", "roughness", "like20", "top20"]
    assert list(layers.columns) == ["layer", "q", "zero", "silent", "tau", "positive"]
    of_pictures = sorted(zip(pictures["picture"], pictures["q"], strict=True))
    assert of_pictures == [(n, q) for n in range(6) for q in PERCENTILES]
    of_layers = sorted(zip(layers["layer"], layers["q"], strict=True))
    assert of_layers == [(k, q) for k in (1, 2) for q in PERCENTILES]


def top_seven(values):
    """The places of the seven largest values."""
    return set(values.flatten().topk(7).indices.tolist())


def test_a_sweeps_maps_are_rectgrads(who, images, swept):
    pictures = swept[0].sort_values(["q", "picture"]).set_index("q")
    at = {
        q: attribution.rectgrad(who.model, images, q=float(q), final_threshold=False).sum(1)
        for q in PERCENTILES
    }
    assert pictures.loc[20, ["like20", "top20"]].to_numpy() == pytest.approx(np.ones((6, 2)))
    for q in PERCENTILES:
        size = at[q].abs().sum((1, 2))
        rough = torch.where(size > 0, metrics.total_variation(at[q]) / size, 0)
        assert pictures.loc[q, "roughness"].tolist() == pytest.approx(rough.tolist(), rel=1e-4)
        assert pictures.loc[q, "like20"].tolist() == pytest.approx(
            metrics.rank_correlation(at[q], at[20]).tolist(), abs=1e-3
        )
        if q < 98:  # where the map has more than seven values, 5 % of 144
            same = [len(top_seven(a) & top_seven(b)) for a, b in zip(at[q], at[20], strict=True)]
            assert pictures.loc[q, "top20"].tolist() == pytest.approx([n / 7 for n in same])


def test_a_sweeps_layers_are_means_over_pictures(who, images, swept):
    layers = swept[1].set_index(["layer", "q"])
    for q in PERCENTILES:
        traces = response.traced(who, images, response.rectified(q), border="padded")
        for layer, (a, g, _) in enumerate(traces, 1):
            taus = [np.percentile(score.numpy(), q, method="nearest") for score in a * g]
            row = layers.loc[layer, q]
            assert row["zero"] == pytest.approx((a * g == 0).double().mean().item())
            assert row["silent"] == pytest.approx((a == 0).double().mean().item())
            assert row["tau"] == pytest.approx(np.mean(taus), rel=1e-4, abs=1e-7)
            assert row["positive"] == np.mean(np.array(taus) > 0)
    assert (layers["zero"] >= layers["silent"] - 1e-12).all()
    assert layers.loc[1, 98]["zero"] > layers.loc[1, 0]["zero"]
    assert (layers.loc[2, 0]["tau"] <= 0) and layers.loc[2, 98]["positive"] == 1


def test_the_share_of_the_highest_that_stay():
    first = torch.arange(40.0).view(1, 5, 8).repeat(3, 1, 1)
    second = torch.stack([first[0], -first[0], first[0].clone()])
    second[2].view(-1)[39] = -1
    assert response.same_top(first, second).tolist() == [1, 0, 0.5]  # 5 % of 40 pixels are 2
    assert response.same_top(first, second, 0.1).tolist() == [1, 0, 0.75]


def test_a_stored_sweep_is_computed_once(who, stored, monkeypatch, swept):
    lines = []
    first = response.sweep(keeping(who), PERCENTILES, batch_size=4, log=lines.append)
    assert len(lines) == 2 and "4 pictures" in lines[0] and "6 pictures" in lines[1]
    monkeypatch.setattr(response, "_trace", lambda *_, **__: pytest.fail("computed again"))
    again = response.sweep(keeping(who), PERCENTILES)
    for table, read, direct in zip(first, again, swept, strict=True):
        assert table.equals(read) and list(table.columns) == list(direct.columns)
        np.testing.assert_allclose(table.astype(float), direct.astype(float))
    with pytest.raises(pytest.fail.Exception):
        response.sweep(keeping(who), (0, 20))


# ---- accumulation


def test_accumulation_by_hand():
    """A pointwise layer relu(x - 10) on one channel of 2x2 pixels.

    Everything can be read off the weights.
    """
    point, head = nn.Conv2d(3, 1, 1), nn.Linear(4, 2)
    with torch.no_grad():
        point.weight.zero_()
        point.bias.fill_(-10)
        head.bias.zero_()
        point.weight[0, 0] = 1
        head.weight.copy_(torch.tensor([[1.0, 2, -3, 4], [0, 0, 0, 0]]))
    images = torch.zeros(1, 3, 2, 2)
    images[0, 0] = torch.tensor([[15.0, 16], [4, 20]])  # activations 5 6 0 10; the third is closed
    masks = torch.tensor([[[True, True], [False, False]]])
    table = response.accumulation(
        subject_of(nn.Sequential(point, nn.ReLU(), nn.Flatten(), head), images, masks), q=0
    )
    ratio = table.set_index(["method", "layer"])["ratio"]
    assert list(table.columns) == ["picture", "method", "layer", "ratio"] and len(table) == 4
    # the gradient at the layer's output is the head
    assert ratio["saliency", 1] == pytest.approx((3 + 4) / (1 + 2))
    assert ratio["saliency", 0] == pytest.approx((0 + 4) / (1 + 2))
    # RectGrad at q = 0: scores 5 12 0 40, tau 0; what passes is 1 2 0 4, times the activation, or
    # times the input
    assert ratio["rectgrad", 1] == pytest.approx((0 + 40) / (5 + 12))
    assert ratio["rectgrad", 0] == pytest.approx((0 + 4 * 20) / (15 + 2 * 16))


def test_accumulation_is_read_off_the_traces(who, images):
    table = response.accumulation(who, q=80.0, batch_size=4)
    table = table.set_index(["method", "layer", "picture"])["ratio"]
    assert len(table) == 2 * 3 * 6
    masks = who.pictures.masks
    saliency = attribution.saliency(who.model, images)
    free = response.traced(who, images, response.plain)
    rectgrad = attribution.rectgrad(who.model, images, q=80.0, final_threshold=False)
    rectified = response.traced(who, images, response.rectified(80.0), border="padded")
    layers = {
        "saliency": [saliency.mean(1), *(g.mean(1) for _, g, _ in free)],
        "rectgrad": [rectgrad.mean(1), *((a * p).mean(1) for a, _, p in rectified)],
    }
    for method, attributions in layers.items():
        for layer, values in enumerate(attributions):
            on = at_layer(masks, values[:, None])[:, 0]
            for n, (size, weight) in enumerate(zip(values.abs(), on, strict=True)):
                inside = (size * weight).sum() / weight.sum()
                outside = (size * (1 - weight)).sum() / (1 - weight).sum()
                assert table[method, layer, n] == pytest.approx(
                    ((outside + 1e-12) / (inside + 1e-12)).item(), rel=1e-3
                )


def test_a_map_of_zeros_accumulates_nothing(who):
    blank = who.altered(
        images=who.pictures.images[:1], labels=who.pictures.labels[:1], masks=who.pictures.masks[:1]
    )
    with torch.no_grad():
        model = copy.deepcopy(who.model)
        model[-1].weight.zero_()
    model.black, model.white = -1.0, 1.0
    assert response.accumulation(blank._replace(model=model))["ratio"].tolist() == pytest.approx(
        [1.0] * 6
    )


# ---- which methods fit


def test_prr_needs_a_max_pooling(who, unchanged):
    methods = ["saliency", "rectgrad_prr", "rectgrad"]
    with unchanged(who.model):
        assert response.fitting(who, methods) == methods
        assert response.fitting(make(pool=False), methods) == ["saliency", "rectgrad"]


def test_what_fits_is_asked_of_networks_of_every_answer_and_of_those_that_begin_in_place(
    who, shifting
):
    class Answering(nn.Module):
        def forward(self, images):
            return {"logits": who.model(images)}

    methods = ["rectgrad", "rectgrad_prr"]
    for model in (Answering(), shifting(who.model)):
        assert response.fitting(who._replace(model=_ranged(model)), methods) == methods


def _ranged(model):
    model.black, model.white = -1.0, 1.0
    return model


@pytest.mark.parametrize(
    "measure", [response.accumulation, response.brightness_bias, response.on_object]
)
def test_pictures_without_masks_are_refused_at_once(measure, who, monkeypatch):
    for name in ("products", "maps", "traced"):
        monkeypatch.setattr(response, name, lambda *_, **__: pytest.fail("long work"))
    refused(lambda: measure(who.altered(masks=None)), "have no masks", "shapes10")


@pytest.mark.parametrize("q", [150, -1, "98"])
def test_what_is_no_percentile_is_refused_at_once(q, who, monkeypatch):
    monkeypatch.setattr(response, "traced", lambda *_, **__: pytest.fail("long work"))
    refused(lambda: response.accumulation(who, q=q), "q is", q, "between 0 and 100")
    refused(lambda: response.sweep(who, (20, q)), "q is", q)


# ---- the attack and the classes


def test_an_fgsm_step_goes_against_the_prediction():
    """Logits w x and 0, w x small and positive: every pixel moves against its weight's sign.

    Where that is 0 it does not move at all.
    """
    weight = torch.tensor([[[0.5, -2.0], [0.0, 3.0]]]).expand(3, 2, 2)
    pictures = torch.full((2, 3, 2, 2), 100.0)
    pictures[1] += torch.arange(12.0).view(3, 2, 2)
    gentle = straight(torch.stack([weight, 0 * weight]) / 1000, pictures).model
    moved = response.fgsm(gentle, pictures, 7.0, 0.0, 255.0) - pictures
    assert torch.equal(moved, -7.0 * weight.sign().expand_as(moved))
    # the ReLU is closed: no way to go
    assert torch.equal(response.fgsm(gentle, -pictures, 7.0, -255.0, 255.0), -pictures)


def test_an_fgsm_step_raises_the_loss_and_stays_in_range(who, images, unchanged):
    with unchanged(who.model, images):
        attacked = response.fgsm(who.model, images, 0.01, -1.0, 1.0)
    own = who.model(images).argmax(1)
    with torch.no_grad():
        before = F.cross_entropy(who.model(images), own, reduction="none")
        after = F.cross_entropy(who.model(attacked), own, reduction="none")
    assert (after > before).all() and attacked.min() >= -1 and attacked.max() <= 1
    step = (attacked - images).abs()
    assert step.max() <= 0.01 + 1e-6 and (step > 0.0099).double().mean() > 0.8
    one_by_one = torch.cat(
        [response.fgsm(who.model, images[n : n + 1], 0.01, -1.0, 1.0) for n in range(6)]
    )
    assert_close(attacked, one_by_one)
    assert torch.equal(response.fgsm(who.model, images, 0.0, -1.0, 1.0), images)
    narrow = response.fgsm(who.model, images, 0.5, -0.2, 0.3)
    assert narrow.min() == pytest.approx(-0.2) and narrow.max() == pytest.approx(0.3)


def test_adversarial_compares_maps_each_for_its_own_prediction(who, images):
    table = response.adversarial(who, ("saliency", "rectgrad"), eps=0.6, batch_size=4)
    assert list(table.columns) == ["picture", "method", "correlation", "changed"]
    assert table["method"].tolist() == ["saliency"] * 6 + ["rectgrad"] * 6
    attacked = response.fgsm(who.model, images, 0.6, -1.0, 1.0)
    changed = who.model(images).argmax(1) != who.model(attacked).argmax(1)
    assert changed.any()
    for method, part in table.groupby("method"):
        assert part["picture"].tolist() == list(range(6))
        assert part["changed"].tolist() == changed.tolist()
        pair = (
            cleanliness.channel_sums(who, method, x, who.model(x).argmax(1))
            for x in (images, attacked)
        )
        assert part["correlation"].tolist() == pytest.approx(
            metrics.rank_correlation(*pair).tolist(), abs=1e-3
        )
    assert table["correlation"].min() < 0.99


def test_without_a_step_nothing_is_attacked(who):
    table = response.adversarial(who, ("saliency",), eps=0.0)
    assert not table["changed"].any() and table["correlation"].tolist() == pytest.approx([1.0] * 6)


def test_stored_attacks_are_a_cell_a_method(who, stored, monkeypatch):
    first = response.adversarial(keeping(who), ("saliency", "guided_backprop"))
    monkeypatch.setattr(response, "fgsm", lambda *_: pytest.fail("computed again"))
    assert response.adversarial(keeping(who), ("saliency", "guided_backprop")).equals(first)
    assert len(cells.of("adversarial")) == 2
    assert [c["parameters"]["eps"] for c in cells.of("adversarial")] == [0.01, 0.01]
    with pytest.raises(pytest.fail.Exception):
        response.adversarial(keeping(who), ("rectgrad",))


def test_every_method_that_fits_is_attacked(monkeypatch):
    who = make(count=2, pool=False)
    monkeypatch.setattr(response, "SHOWN", ("saliency", "rectgrad_prr", "deeplift"))
    assert response.adversarial(who)["method"].drop_duplicates().tolist() == [
        "saliency",
        "deeplift",
    ]


def test_second_class_of_a_network_that_sees_opposites():
    """Two classes with opposite weights: their maps are each other's negative.

    With the same weights they are equal.
    """
    weight = torch.arange(-6.0, 6).view(3, 2, 2) + 0.5
    pictures = torch.randint(1, 256, (4, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    opposite = response.second_class(
        straight(torch.stack([weight, -weight, 0 * weight - 99]), pictures),
        ("saliency",),
        batch_size=3,
    )
    assert opposite["picture"].tolist() == [0, 1, 2, 3]
    assert opposite["correlation"].tolist() == pytest.approx([-1] * 4)
    same = response.second_class(
        straight(torch.stack([weight, weight, 0 * weight - 99]), pictures), ("saliency",)
    )
    assert same["correlation"].tolist() == pytest.approx([1] * 4)


def test_second_class_is_the_kernels_for_the_two_likeliest(who, images):
    table = response.second_class(who, batch_size=4).set_index("method")["correlation"]
    first, second = who.model(images).topk(2).indices.unbind(1)
    for method, kernel in (
        ("saliency", attribution.saliency),
        ("guided_backprop", lambda *a: images * attribution.guided_backprop(*a)),
        ("rectgrad", lambda *a: attribution.rectgrad(*a, final_threshold=False)),
    ):
        pair = (kernel(who.model, images, target).sum(1) for target in (first, second))
        assert table[method].tolist() == pytest.approx(
            metrics.rank_correlation(*pair).tolist(), abs=1e-3
        )


# ---- the border


@pytest.mark.parametrize("size, width", [(12, 1), (32, 2), (64, 4)])
def test_the_border_ring_of_known_maps(size, width, monkeypatch):
    who, given = make(count=3, size=size), []
    even = torch.full((size, size), -2.0)
    inner = torch.zeros(size, size)
    inner[width, width] = 1.0
    edge = torch.ones(size, size)
    edge[width:-width, width:-width] = 0.0

    def known_maps(who, method, images, **options):
        given.append((method, options))
        return torch.stack([even, inner, edge])

    monkeypatch.setattr(response, "channel_sums", known_maps)
    table = response.border(who)
    part = 1 - (size - 2 * width) ** 2 / size**2
    for _, rows in table.groupby("setting"):
        assert rows["ring"].tolist() == pytest.approx([1, 0, 1 / part], rel=1e-5)
    assert given == [
        ("rectgrad", options)
        for options in (
            {"padding_trick": False},
            {"border": "padded"},
            {"border": "half_kernel"},
            {"border": "released"},
        )
    ]


def test_the_padding_trick_empties_the_border(who):
    table = response.border(who, ("off", "padded"), batch_size=4)
    rows = sorted(zip(table["setting"], table["picture"], strict=True))
    assert rows == [(s, n) for s in ("off", "padded") for n in range(6)]
    means = table.groupby("setting")["ring"].mean()
    assert means["padded"] < means["off"]


# ---- sanity checks


def test_layers_are_those_with_weights_from_the_output_to_the_input(who):
    assert [(name, type(module)) for name, module in response.weighted_layers(who.model)] == [
        ("7", nn.Linear),
        ("3", nn.Conv2d),
        ("0", nn.Conv2d),
    ]
    nested = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), nn.ReLU(), nn.Linear(1, 1)
    )
    assert [name for name, _ in response.weighted_layers(nested)] == ["2", "0.1", "0.0"]


def test_new_weights_have_mean_0_and_the_old_spread():
    layer, norm = nn.Linear(200, 100), nn.BatchNorm2d(4)
    with torch.no_grad():
        layer.weight.normal_(-3, 0.5)
        norm.weight.fill_(7)
        norm.bias.fill_(7)
    old, buffers = layer.weight.clone(), {k: v.clone() for k, v in norm.named_buffers()}
    response.redraw_weights(layer, torch.Generator().manual_seed(0))
    response.redraw_weights(norm, torch.Generator())
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.02)
    assert layer.weight.std().item() == pytest.approx(0.5, rel=0.02)
    assert abs(np.corrcoef(old.detach().flatten(), layer.weight.detach().flatten())[0, 1]) < 0.03
    assert not layer.bias.any()
    assert layer.weight.requires_grad
    assert norm.weight.tolist() == [1] * 4
    assert norm.bias.tolist() == [0] * 4
    assert all(torch.equal(v, buffers[k]) for k, v in norm.named_buffers())
    drawn = []
    for seed in (0, 0, 1):
        other = copy.deepcopy(layer)
        response.redraw_weights(other, torch.Generator().manual_seed(seed))
        drawn.append(other.weight)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_only_the_children_named_are_redrawn():
    block = nn.Sequential(nn.Linear(3, 3))
    before = block[0].weight.clone()
    response.redraw_weights(block, torch.Generator())
    assert torch.equal(block[0].weight, before)


@pytest.fixture(scope="module")
def checked(who):
    return response.sanity(who, ("saliency", "rectgrad"), batch_size=4)


def test_sanity_is_a_row_for_every_method_mode_and_layer(checked):
    names = ["Linear 7", "Conv2d 3", "Conv2d 0"]
    assert checked[["method", "mode", "layer", "depth"]].values.tolist() == [
        [m, mode, name, depth]
        for m in ("saliency", "rectgrad")
        for mode in ("cascading", "independent")
        for depth, name in enumerate(names, 1)
    ]
    for value in ("rank", "ssim"):
        assert (checked[f"{value}_low"] <= checked[value]).all()
        assert (checked[value] <= checked[f"{value}_high"]).all()
        assert checked[value].between(-1, 1).all()
    assert (checked["n"] == 6).all()
    first = checked[checked["depth"] == 1].set_index(["method", "mode"])["rank"]
    # the output alone is the same in both
    assert first["saliency", "cascading"] == first["saliency", "independent"]


def test_which_weights_a_map_is_computed_with(who, images, monkeypatch, unchanged):
    """Cascading: all layers from the output down to this one are new.

    Independent: this one alone, the rest is restored.
    """
    states, targets, original = [], [], response.channel_sums

    def state(model):
        return {name: value.clone() for name, value in model.state_dict().items()}

    def noted(who, method, images, target):
        states.append(state(who.model))
        targets.append(target)
        return original(who, method, images, target)

    monkeypatch.setattr(response, "channel_sums", noted)
    with unchanged(who.model):
        response.sanity(who, ("saliency",))
    intact, predicted = state(who.model), who.model(images).argmax(1)
    assert len(states) == 7
    # always the intact network's class
    assert all(torch.equal(target, predicted) for target in targets)
    new = [
        {name for name in intact if not torch.equal(weights[name], intact[name])}
        for weights in states
    ]
    layers = [{f"{k}.weight", f"{k}.bias"} for k in (7, 3, 0)]
    assert new == [
        set(),
        layers[0],
        layers[0] | layers[1],
        layers[0] | layers[1] | layers[2],
        *layers,
    ]
    # drawn once, then kept
    assert all(torch.equal(states[2]["7.weight"], states[k]["7.weight"]) for k in (1, 3))
    assert torch.equal(states[4]["7.weight"], states[1]["7.weight"])


def test_sanity_repeats_by_its_seed(who, checked):
    again = response.sanity(who, ("saliency", "rectgrad"), batch_size=4)
    assert again.equals(checked)
    assert not np.allclose(
        response.sanity(who, ("saliency",), seed=1)["rank"],
        checked.query("method == 'saliency'")["rank"],
    )


def fake(function) -> attribution.Method:
    return attribution.Method(function, "Fake", "", {"sign": "absmax", "noise": "sum"})


def test_a_method_that_ignores_the_weights_is_found_out(who, monkeypatch):
    monkeypatch.setitem(
        attribution.METHODS, "edges", fake(lambda model, images, target=None: images)
    )
    table = response.sanity(who, ("edges",))
    assert len(table) == 6
    assert table["rank"].tolist() == pytest.approx([1] * 6)
    assert table["ssim"].tolist() == pytest.approx([1] * 6)
    assert (table["empty"] == 0).all()


def test_maps_that_become_empty_are_counted(who, monkeypatch):
    """A method that shows nothing of every other picture once the last layer has lost its bias."""

    def half(model, images, target=None):
        gone = (torch.arange(len(images)) % 2 == 0) & (not model[7].bias.any())
        return images * ~gone[:, None, None, None]

    monkeypatch.setitem(attribution.METHODS, "half", fake(half))
    assert response.sanity(who, ("half",))["empty"].tolist() == [0.5, 0.5, 0.5, 0.5, 0, 0]


def test_stored_sanity_is_a_cell_a_method(who, stored, monkeypatch, checked):
    lines = []
    first = response.sanity(keeping(who), ("saliency", "rectgrad"), batch_size=4, log=lines.append)
    np.testing.assert_allclose(first["rank"], checked["rank"])
    assert len(lines) == 2 == len(cells.of("sanity"))
    monkeypatch.setattr(response, "_sanity_maps", lambda *_: pytest.fail("computed again"))
    assert (
        response.sanity(keeping(who), ("rectgrad",))["rank"].tolist()
        == first[first["method"] == "rectgrad"]["rank"].tolist()
    )
    with pytest.raises(pytest.fail.Exception):
        response.sanity(keeping(who), ("saliency",), seed=1)


def test_similarity_of_maps():
    maps = torch.rand(4, 12, 12, generator=torch.Generator().manual_seed(0))
    other = torch.rand(4, 12, 12, generator=torch.Generator().manual_seed(1))
    assert_close(response.similarity(maps, maps), torch.ones(4), check_dtype=False)
    # each is stretched to [0,1]
    stretched = response.similarity(maps, 5 * maps + 3)
    assert_close(stretched, torch.ones(4), check_dtype=False, rtol=1e-4, atol=1e-4)
    unlike = response.similarity(maps, other)
    assert unlike.shape == (4,)
    assert (unlike.abs() < 0.4).all()
    assert torch.equal(unlike, response.similarity(other, maps))
    mixed = response.similarity(maps, torch.cat([maps[:1], other[1:]]))
    assert mixed[0].item() == pytest.approx(1) and torch.equal(mixed[1:], unlike[1:])
    assert response.similarity(maps, 0 * maps).isfinite().all()


def test_an_interval_holds_its_mean():
    values = torch.rand(30, generator=torch.Generator().manual_seed(0))
    row = deletion.with_interval("rank", values)
    assert list(row) == ["rank", "rank_low", "rank_high"]
    assert row["rank"] == pytest.approx(values.double().mean().item())
    assert (row["rank_low"], row["rank_high"]) == metrics.bootstrap(values)


# ---- the product with the picture


def test_the_products_differ_in_their_factor_alone(who, images):
    found = response.products(who, batch_size=4)
    back = attribution.rectgrad(who.model, images, final_threshold=False, multiply_input=False)
    assert_close(found["none"], back.sum(1))
    assert_close(found["picture"], cleanliness.channel_sums(who, "rectgrad", images))
    assert_close(found["from black"], ((images + 1) * back).sum(1))


def test_a_bias_towards_brightness_by_hand(who, monkeypatch):
    levels = torch.tensor([10, 128, 250]).repeat_interleave(4).repeat(12, 1)
    images = levels.expand(6, 3, 12, 12).to(torch.uint8)
    studied = who.altered(images=images)
    even = torch.ones(6, 12, 12)
    bright = torch.where(images[:, 0] == 250, -2.0, 0.0)
    mixed = torch.where(images[:, 0] == 10, 1.0, 3.0)
    made = dict(zip(response.PRODUCTS, (even, bright, mixed), strict=True))
    monkeypatch.setattr(response, "products", lambda studied, *, batch_size: made)
    found = response.brightness_bias(studied).set_index("product")
    thirds = found[list(response.THIRDS)]
    assert list(thirds.loc["none"]) == pytest.approx([1, 1, 1])
    assert list(thirds.loc["picture"]) == pytest.approx([0, 0, 3])
    assert list(thirds.loc["from black"]) == pytest.approx([3 / 7, 9 / 7, 9 / 7])
    assert found.loc["none", "overlap"] == 1
    on_object = studied.pictures.masks.double().mean().item()
    assert found.loc["none", "on_object"] == pytest.approx(on_object)
    assert found.loc["picture", "on_object"] == 0  # the object ends before the bright third
    assert not found.loc["none", ["gain", "gain_low", "gain_high"]].any()
    assert found.loc["picture", "gain"] == pytest.approx(-on_object)
    dark = studied.altered(images=torch.zeros_like(images))
    assert response.brightness_bias(dark)["bright"].isna().all()


# ---- tables of what was measured


def test_predicted_names_are_the_first_of_several(who):
    logits = who.model(batch(who, slice(None)))
    named = who.altered(classes=("ant, emmet", "bee", "cat, house cat"))
    names = ("ant", "bee", "cat")
    assert response.predicted(named) == [names[k] for k in logits.argmax(1).tolist()]


def test_identities_hold_and_would_be_missed(who, monkeypatch, unchanged, images):
    with unchanged(who.model, images):
        found = response.identities([who.take(slice(0, 2))])
    assert len(found) == 2 and (found["n"] == 2).all()
    assert (found["difference"] <= 1e-9).all() and (found["largest"] > 0).all()
    monkeypatch.setattr(attribution, "guided_backprop", attribution.saliency)
    assert response.identities([who])["difference"].iloc[1] > 1e-3


def test_thresholds_and_borders_are_a_row_a_setting():
    table = pd.DataFrame({"q": [0, 0, 0, 98], "like20": [0.1, 0.2, 0.6, 1.0]})
    table = table.assign(top20=[0.0, 0.5, 0.1, 1.0], roughness=[1.0, 2.0, 9.0, 4.0])
    found = response.thresholds({"net": table}).set_index("q")
    assert found.loc[0, ["n", "top20", "roughness"]].tolist() == [3, 0.1, 2]
    assert found.loc[0, "like20"] == pytest.approx(0.3)
    assert found.loc[0, "like20_low"] < 0.3 < found.loc[0, "like20_high"]
    ring = pd.DataFrame({"setting": ["padded", "off", "off"], "ring": [0.0, 1.0, 3.0]})
    rings = response.borders({"net": ring})
    assert list(rings["setting"]) == ["padded", "off"] and list(rings["ring"]) == [0, 2]
    assert list(rings["n"]) == [1, 2]


def test_smoothness_leaves_out_empty_maps_and_networks_without_pooling(who, monkeypatch):
    rough = {"rectgrad": [2.0, 4, 0, 1, 1, 2], "rectgrad_prr": [1.0, 1, 1, 2, 1, 0]}
    monkeypatch.setattr(response, "maps", lambda studied, method, **_: method)
    monkeypatch.setattr(response, "amount", lambda measure, m, *_: torch.tensor(rough[m]))
    found = response.smoothness([who, make(pool=False)])
    assert len(found) == 1 and found["n"].item() == 5
    assert found["median"].item() == 0.5 and found["share"].item() == 3 / 5


def test_what_lies_on_the_object_by_rule(who, monkeypatch):
    masks = who.pictures.masks
    of_rule = {"PR1": 1.0, "PR4": 0.0}  # where the map is: on the object alone, off it alone

    def sums(studied, method, images, rule):
        on = of_rule.get(rule, 0.5)
        return torch.where(masks, on / masks[0].sum(), (1 - on) / (~masks[0]).sum())

    monkeypatch.setattr(response, "channel_sums", sums)
    monkeypatch.setattr(response, "maps", lambda *_, **__: torch.ones(masks.shape))
    found = response.on_object(who).set_index("map")
    area = masks.double().mean().item()
    assert list(found["median"]) == pytest.approx([1, 0.5, 0.5, 0.5, 0, area])
    assert list(found["gap"]) == pytest.approx([0, 0.5, 0.5, 0.5, 1, 1 - area])
    assert found["covered"].iloc[0] == pytest.approx(area) and (found["n"] == 6).all()


def test_growth_factors_are_geometric_means_towards_the_input():
    ratios = {0: [8.0, 2.0], 1: [2.0, 2.0], 2: [4.0, 1.0]}
    grown = pd.DataFrame(
        [
            {"method": "rectgrad", "picture": p, "layer": layer, "ratio": values[p]}
            for layer, values in ratios.items()
            for p in (0, 1)
        ]
    )
    found = response.growth_factors(grown)
    assert list(found["layer"]) == [0, 1]
    assert list(found["factor"]) == pytest.approx([2, 1])  # 4 and 1; a half and 2
    assert found["low"].iloc[0] == pytest.approx(1) and found["high"].iloc[0] == pytest.approx(4)


def test_what_an_attack_leaves_by_hand():
    table = pd.DataFrame({"correlation": [0.1, 0.2, 0.6, 0.9], "changed": [True] * 3 + [False]})
    found = response.attacked(table.assign(method="saliency"))
    assert list(found["changed"]) == [True, False] and list(found["n"]) == [3, 1]
    assert list(found["mean"]) == pytest.approx([0.3, 0.9])
    assert list(found["median"]) == pytest.approx([0.2, 0.9])
    none = response.attacked(table.assign(method="saliency", changed=True)).iloc[1]
    assert none["n"] == 0 and np.isnan(none["mean"]) and np.isnan(none["median"])


def test_three_questions_are_joined_by_method():
    after = pd.DataFrame({"method": ["rectgrad", "rectgrad", "deeplift", "deeplift"]}).assign(
        changed=[True, False] * 2, n=[9, 1] * 2, mean=[0.1, 0.2, 0.3, 0.4]
    )
    second = pd.DataFrame({"method": ["rectgrad"] * 2, "correlation": [0.5, 0.7]})
    checked = pd.DataFrame({"method": ["deeplift", "deeplift"], "rank": [0.8, 0.1]}).assign(
        mode=["cascading", "independent"], depth=1, n=4
    )
    found = response.listening(after, second, checked).set_index("method")
    ours, other = found.loc["rectgrad"], found.loc["deeplift"]
    assert (ours.second, ours.second_n) == (pytest.approx(0.6), 2)
    assert (other.changed, other.unchanged, other.changed_n, other.unchanged_n) == (0.3, 0.4, 9, 1)
    assert (other.redrawn, other.redrawn_n) == (0.8, 4)
    assert np.isnan(ours.redrawn) and np.isnan(other.second)
