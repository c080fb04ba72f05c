"""study.experiments.hypothesis: networks whose units fire by rule.

Rates, margins and slopes are known before they are measured.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from study.experiments import hypothesis
from study.store import cells
from study.subjects import sources
from study.subjects.pictures import Dataset
from study.subjects.subject import Subject, batch
from tests.refusal import refused
from tests.study.keeping import keeping

pytestmark = pytest.mark.usefixtures("one_thread")


class Wrapped(nn.Module):
    """The same function, no longer a Sequential.

    Its tail can only be had by changing what an activation returns.
    """

    def __init__(self, body):
        super().__init__()
        self.body, self.black, self.white = body, body.black, body.white

    def forward(self, images):
        return self.body(images)


def subject_of(model, images, labels=None, masks=None, black=0.0, white=255.0) -> Subject:
    """A model whose input is the bytes themselves, unless `black` and `white` say otherwise."""
    model.black, model.white = black, white
    images = torch.as_tensor(images).to(torch.uint8)
    with torch.no_grad():
        outputs = model(images[:1].float()).shape[1]
    if labels is None:
        labels = torch.zeros(len(images), dtype=torch.int64)
    labels = torch.as_tensor(labels)
    return Subject(
        model.eval(),
        Dataset("toy", "test", images, labels, tuple("abcdefgh"[:outputs]), "made", masks),
        "net",
        "made",
    )


def small(count=6, seed=0) -> Subject:
    """Two convolutions and a head with random weights, on random pictures of 8x8 pixels.

    The object is a square off the centre.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(5, 6, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(96, 7),
            nn.ReLU(),
            nn.Linear(7, 3),
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(count, 8, 8, dtype=torch.bool)
    masks[:, 1:6, 2:5] = True
    images = torch.randint(256, (count, 3, 8, 8), generator=generator)
    with torch.no_grad():  # no class is everyone's
        model[-1].bias -= model(images / 127.5 - 1).mean(0)
    return subject_of(model, images, torch.arange(count) % 3, masks, -1.0, 1.0)


@pytest.fixture(scope="module")
def who(one_thread):
    return small()


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")


# ---- activations and masks at a layer


def test_activations_are_every_output_in_order(who):
    images = batch(who, slice(None))
    expected, value = [], images
    with torch.no_grad():
        for module in who.model:
            value = module(value)
            if isinstance(module, nn.ReLU):
                expected.append(value)
    found = hypothesis.activations(who.model, images)
    assert len(found) == 3
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert hypothesis.convolutional(found) == [0, 1]
    assert hypothesis.convolutional(
        [torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 2, 2), torch.zeros(1, 4)]
    ) == [1]


@pytest.mark.parametrize(
    "name, count", [("functional", 2), ("inplace", 2), ("residual", 3), ("smooth", 1)]
)
def test_activations_of_any_network_and_nothing_is_changed(
    name, count, make_net, images, unchanged
):
    net = make_net(name).train()
    with unchanged(net, images):
        found = hypothesis.activations(net, images)
    assert len(found) == count and all(not a.requires_grad and len(a) == 5 for a in found)
    again = hypothesis.activations(net.eval(), images)  # dropout and batch statistics were off
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    if name == "residual":
        # one in-place module used three times: what was collected is not overwritten
        assert_close(found[0], F.relu(net.norm(net.stem(images))))
        assert_close(found[2], F.relu(found[0] + found[1]))


def test_a_mask_at_a_layer_is_the_share_of_its_area():
    masks = torch.tensor(
        [[[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 1]]], dtype=torch.bool
    )
    assert hypothesis.at_layer(masks, torch.zeros(1, 7, 2, 2)).tolist() == [
        [[[0.75, 0], [0.25, 1]]]
    ]
    assert hypothesis.at_layer(masks, torch.zeros(1, 7, 1, 1)).tolist() == [[[[0.5]]]]
    same = hypothesis.at_layer(masks, torch.zeros(1, 2, 4, 4, dtype=torch.float64))
    assert same.dtype == torch.float64 and torch.equal(same[:, 0].bool(), masks)


# ---- how often units fire


def painted() -> Subject:
    """Three units a pixel: one fires where red is, one wherever green is not, one nowhere.

    The second layer sees 2x2 blocks.
    """
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        for layer in (first, second):
            layer.weight.zero_()
            layer.bias.zero_()
        first.weight[0, 0] = 1
        first.weight[1, 1] = -1
        first.bias[1] = 1
        first.bias[2] = -1
        second.weight[0, 0] = 1  # fires where any red is
        second.bias[1] = 1  # always
    images = torch.zeros(2, 3, 4, 4)
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[:, :2, :3] = True  # six pixels of object, ten of background
    images[0, 0, :2, :2] = 9  # picture 0: red on four of the six, nowhere else
    images[1, 0, 3] = 9  # picture 1: red on four pixels of background,
    images[1, 1, 0] = 9  # green on three of the object and one of the background
    return subject_of(
        nn.Sequential(
            first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
        ),
        images,
        masks=masks,
    )


@pytest.mark.parametrize("batch_size", [1, 100])
def test_firing_rates_by_hand(batch_size):
    table = hypothesis.firing(painted(), batch_size).sort_values(["picture", "layer"])
    assert list(table.columns) == ["picture", "layer", "object", "background", "lift"]
    assert table[["picture", "layer"]].values.tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    rates = [
        # layer 1: red, not green, never
        [(4 / 6 + 1) / 3, 1 / 3],
        # layer 2: the mask covers a block, half a block; only the whole one is red
        [(1 / 1.5 + 1) / 2, 1 / 2],
        [(0 + 3 / 6) / 3, (4 / 10 + 9 / 10) / 3],
        [1 / 2, (2 / 2.5 + 1) / 2],
    ]
    np.testing.assert_allclose(table[["object", "background"]].to_numpy(), rates, atol=1e-6)
    np.testing.assert_allclose(table["lift"], table["object"] - table["background"], atol=1e-9)


def test_a_picture_without_object_has_no_rate_on_it():
    bare = painted()
    table = hypothesis.firing(bare.altered(masks=torch.zeros(2, 4, 4, dtype=torch.bool)))
    assert (table["object"] == 0).all()
    assert table.loc[0, "background"] == pytest.approx((4 / 16 + 1) / 3)


# ---- occlusion


class Answering(Wrapped):
    """It answers with a dictionary, and flattens by a view on its way."""

    def forward(self, images):
        (flat,) = (k for k, part in enumerate(self.body) if isinstance(part, nn.Flatten))
        value = self.body[:flat](images)
        return {"logits": self.body[flat + 1 :](value.view(len(value), -1)), "more": None}


def test_a_network_is_read_as_every_method_reads_it(who, occluded):
    answering = who._replace(model=Answering(who.model).train())
    found = hypothesis.occlusion(answering, steps=4, orders=3)
    pd.testing.assert_frame_equal(found, occluded, rtol=1e-4, atol=1e-5)
    assert hypothesis.firing(answering).equals(hypothesis.firing(who))
    assert answering.model.training


def test_pictures_without_masks_are_refused_at_once(who, monkeypatch):
    monkeypatch.setattr(hypothesis, "activations", lambda *_: pytest.fail("long work"))
    bare = who.altered(masks=None)
    refused(lambda: hypothesis.firing(bare), "have no masks", "shapes10")
    refused(lambda: hypothesis.occlusion(bare), "have no masks", "shapes10")
    refused(lambda: hypothesis.backgrounds([bare]), "have no masks", "shapes10")


def test_the_margin_leaves_out_the_class_itself():
    logits = torch.tensor([[[3.0, 1, 2], [3, 1, 2]], [[0, 5, 5], [-1, -2, -9]]])
    assert hypothesis.margin(logits, torch.tensor([0, 1])).tolist() == [[1, -2], [-5, -1]]


@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_tail_goes_on_where_the_activation_was(k, who):
    images, with_engine = batch(who, slice(None)), Wrapped(who.model)
    a = hypothesis.activations(who.model, images)[k]
    short, long = (
        hypothesis.rest_of_network(who.model, images, k),
        hypothesis.rest_of_network(with_engine, images, k),
    )
    assert isinstance(short, nn.Sequential) and not isinstance(long, nn.Module)
    with torch.no_grad():
        assert_close(short(a), who.model(images))
        for other in (torch.zeros_like(a), 2 * a, a.flip(0)):
            assert_close(long(other), short(other))
            assert not torch.allclose(short(other), who.model(images))


def test_a_sequential_with_other_activations_is_not_cut():
    """A GELU, or a ReLU inside a block, is an activation that is in no list of ReLU modules."""
    mixed = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.GELU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
    ).eval()
    images = torch.randn(2, 3, 2, 2)
    found = hypothesis.activations(mixed, images)
    for k, start in ((0, 2), (1, 4)):
        tail = hypothesis.rest_of_network(mixed, images, k)
        with torch.no_grad():
            assert_close(tail(found[k] + 1), mixed[start:](found[k] + 1))


@pytest.fixture(scope="module")
def occluded(who):
    return hypothesis.occlusion(who, steps=4, orders=3)


def margins(who, k, inside):
    """Margins of the pictures, and with the units `inside` of the k-th activation at 0."""
    a = hypothesis.activations(who.model, batch(who, slice(None)))[k]
    cut = [i for i, module in enumerate(who.model) if isinstance(module, nn.ReLU)][k] + 1
    with torch.no_grad():
        logits = who.model[cut:](torch.where(inside(a), 0, a))
    own = logits.gather(1, who.pictures.labels[:, None])[:, 0]
    largest_other = []
    for n, label in enumerate(who.pictures.labels.tolist()):
        others = [c for c in range(3) if c != label]
        largest_other.append(logits[n, others].amax())
    return own - torch.stack(largest_other)


def test_occlusion_has_a_row_for_every_layer_region_and_step(occluded):
    margin = {"margin", "low", "high", "q25", "q75", "n", "released"}
    assert set(occluded.columns) == {"layer", "region", "fraction", "share"} | margin
    for layer in (1, 2):
        part = occluded[occluded["layer"] == layer]
        assert part["region"].tolist() == ["background"] * 5 + ["object"] * 5 + ["difference"]
        assert part["fraction"].tolist()[:10] == [0, 0.25, 0.5, 0.75, 1] * 2
    curves = occluded[occluded["region"] != "difference"]
    assert len(occluded) == 22
    assert (curves["low"] <= curves["margin"]).all()
    assert (curves["margin"] <= curves["high"]).all()
    assert (curves["q25"] <= curves["q75"]).all()
    assert (occluded["n"] == 6).all()


def test_occlusion_starts_intact_and_ends_with_the_region_gone(who, occluded):

    def nowhere(a):
        return torch.zeros_like(a, dtype=torch.bool)

    def on_object(a):
        return (hypothesis.at_layer(who.pictures.masks, a) > 0.5).expand_as(a)

    def on_background(a):
        return ~on_object(a)

    for layer, k in ((1, 0), (2, 1)):
        rows = occluded[occluded["layer"] == layer]
        for region, inside in (("object", on_object), ("background", on_background)):
            part = rows[rows["region"] == region].set_index("fraction")
            start, end = margins(who, k, nowhere), margins(who, k, inside)
            for fraction, values in ((0, start), (1, end)):
                assert part.loc[fraction, ["margin", "released"]].tolist() == pytest.approx(
                    [values.mean().item()] * 2, abs=1e-5
                )
                assert part.loc[fraction, ["q25", "q75"]].tolist() == pytest.approx(
                    np.percentile(values, [25, 75]), abs=1e-5
                )
            assert abs(part.loc[0, "margin"] - part.loc[1, "margin"]) > 0.01
        shares = rows.drop_duplicates("region").set_index("region")["share"]
        assert shares["object"] == pytest.approx(15 / 64 if layer == 1 else 2 / 16)
        assert shares["object"] + shares["background"] == pytest.approx(1)


def test_occlusion_against_the_slow_reading(who):
    """One order at the second layer: a unit goes when the fraction passes its number.

    The numbers are the same for both regions.
    """
    a = hypothesis.activations(who.model, batch(who, slice(None)))[1]
    when = torch.rand(a.shape, generator=torch.Generator().manual_seed(7))
    table = hypothesis.occlusion(who, steps=4, orders=1, seed=7).query("layer == 2")
    on, lost = hypothesis.at_layer(who.pictures.masks, a) > 0.5, {}

    def curve_of(inside):
        gone = [inside & (when < t / 4) for t in range(5)]
        return torch.stack([margins(who, 1, lambda a, units=units: units) for units in gone])

    for region, inside in (("object", on), ("background", ~on)):
        curve = curve_of(inside)
        assert table[table["region"] == region]["margin"].tolist() == pytest.approx(
            curve.mean(1).tolist(), abs=1e-5
        )
        lost[region] = (curve[0] - curve).mean(0)
    difference = table[table["region"] == "difference"]["margin"].item()
    assert difference == pytest.approx(
        (lost["object"] - lost["background"]).mean().item(), abs=1e-5
    )
    assert abs(difference) > 1e-3


def test_with_one_order_logits_averaged_first_are_the_same(who, occluded):
    single = hypothesis.occlusion(who, steps=3, orders=1).dropna(subset=["released"])
    assert single["released"].tolist() == pytest.approx(single["margin"].tolist(), abs=1e-6)
    several = occluded.dropna(subset=["released"])
    # the largest of means is at most the mean of the largest
    assert (several["released"] >= several["margin"] - 1e-6).all()
    assert (several["released"] > several["margin"] + 1e-5).any()


def test_occlusion_of_a_generic_network_is_that_of_its_sequential(who, occluded):
    generic = hypothesis.occlusion(who._replace(model=Wrapped(who.model)), steps=4, orders=3)
    for column in ("margin", "low", "high", "released"):
        np.testing.assert_allclose(
            generic[column].astype(float), occluded[column].astype(float), atol=1e-5
        )


def test_occlusion_by_its_seed_and_layer(who, occluded):
    again = hypothesis.occlusion(who, steps=4, orders=3)
    other = hypothesis.occlusion(who, steps=4, orders=3, seed=1)
    second = hypothesis.occlusion(who, steps=4, orders=3, layers=[2])
    assert again.equals(occluded) and not other.equals(occluded)
    assert second.equals(occluded.query("layer == 2").reset_index(drop=True))


def test_stored_occlusion_is_computed_once(who, stored, monkeypatch, occluded):
    lines = []
    first = hypothesis.occlusion(keeping(who), steps=4, orders=3, log=lines.append)
    assert len(lines) == 4 and all("occlusion" in line and "layer" in line for line in lines)
    monkeypatch.setattr(hypothesis, "_occluded", lambda *_: pytest.fail("computed again"))
    assert hypothesis.occlusion(keeping(who), steps=4, orders=3).equals(first)
    assert first["margin"].tolist() == occluded["margin"].tolist()
    with pytest.raises(pytest.fail.Exception):
        hypothesis.occlusion(keeping(who), steps=4, orders=3, seed=1)


# ---- the rivals


def straight(bias=0.0) -> Subject:
    """Two classes, linear in the picture."""
    head = nn.Linear(12, 2)
    with torch.no_grad():
        head.weight.copy_(torch.linspace(-1, 1.3, 24).view(2, 12))
        head.bias.copy_(torch.tensor([0.0, bias]))
    return subject_of(
        nn.Sequential(nn.Flatten(), head),
        torch.randint(40, 256, (5, 3, 2, 2), generator=torch.Generator().manual_seed(2)),
    )


@pytest.mark.parametrize("batch_size", [2, 250])
def test_a_linear_network_neither_saturates_nor_turns(batch_size):
    who = straight(bias=9.0)
    path, turns = hypothesis.rivals(who, steps=4, batch_size=batch_size)
    # the bias rises nowhere
    rise = (batch(who, slice(None)).flatten(1) @ who.model[1].weight.T).amax(1).tolist()
    assert path.groupby("picture")["position"].apply(list).tolist() == [[0, 0.25, 0.5, 0.75, 1]] * 5
    for n, part in path.groupby("picture"):
        assert part["rise"].tolist() == pytest.approx([rise[n]] * 5, rel=1e-4)
        assert part["score"].tolist() == pytest.approx(
            [rise[n] * k / 4 for k in range(5)], rel=1e-4, abs=1e-3
        )
        assert part["slope"].tolist() == pytest.approx([rise[n]] * 5, rel=1e-4)
    assert (
        turns.groupby("picture")["level"].apply(list).tolist() == [[0.01, 0.02, 0.05, 0.1, 0.2]] * 5
    )
    assert turns["cosine"].tolist() == pytest.approx([1] * 25, abs=1e-6)


def test_a_network_that_saturates_is_seen_to():
    """The score is min(sum of pixels, 350): once it is reached, nothing changes."""

    class Capped(nn.Module):
        def forward(self, images):
            total = images.sum((1, 2, 3))
            return torch.stack([total.clamp(max=350), torch.zeros_like(total)], 1)

    # sums 0 300 600 900 1200
    path, _ = hypothesis.rivals(subject_of(Capped(), torch.full((1, 3, 2, 2), 100)), steps=4)
    assert path["score"].tolist() == [0, 300, 350, 350, 350]
    assert path["slope"].tolist() == [1200, 1200, 0, 0, 0]
    assert path["rise"].tolist() == [350] * 5


def test_noise_is_a_share_of_each_pictures_range(monkeypatch):
    """What the network is given beside the picture has the standard deviation asked for."""
    images = torch.randint(0, 256, (3, 3, 40, 40), generator=torch.Generator().manual_seed(3))
    images[1] = images[1] // 16 + 100
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    who, given, original = subject_of(model, images), [], hypothesis.score_and_gradient

    def noted(model, x, target):
        given.append(x)
        return original(model, x, target)

    monkeypatch.setattr(hypothesis, "score_and_gradient", noted)
    hypothesis.rivals(who, steps=1, levels=(0.01, 0.5))
    start, end, *noisy = given
    pictures = batch(who, slice(None))
    assert not start.any() and torch.equal(end, pictures) and len(noisy) == 2
    reach = pictures.amax((1, 2, 3)) - pictures.amin((1, 2, 3))
    assert reach[1] < 17 < 250 < reach[0]
    for level, with_noise in zip((0.01, 0.5), noisy, strict=True):
        assert_close((with_noise - pictures).std((1, 2, 3)), level * reach, rtol=0.03, atol=0)
    assert not torch.allclose((noisy[0] - pictures) / 0.01, (noisy[1] - pictures) / 0.5, atol=1.0)


def test_the_gradient_that_turns_is_compared_with_that_of_the_picture(who):
    path, turns = hypothesis.rivals(who, steps=2, levels=(1e-6, 0.05, 3.0))
    by_level = turns.groupby("level")
    assert by_level["cosine"].mean()[1e-6] == pytest.approx(1, abs=1e-3)
    assert by_level["cosine"].mean()[3.0] < 0.98
    assert turns["cosine"].between(-1.001, 1.001).all()
    assert by_level["same"].all()[1e-6] and not by_level["same"].all()[3.0]
    images = batch(who, slice(None))
    with torch.no_grad():
        logits, blank = who.model(images), who.model(0 * images)
    assert path[path["position"] == 1]["score"].tolist() == pytest.approx(
        [(logits[n] - blank[n])[c].item() for n, c in enumerate(logits.argmax(1).tolist())],
        abs=1e-5,
    )
    again = hypothesis.rivals(who, steps=2, levels=(1e-6, 0.05, 3.0))
    assert again[0].equals(path)
    assert again[1].equals(turns)
    assert not hypothesis.rivals(who, steps=2, levels=(1e-6, 0.05, 3.0), seed=1)[1].equals(turns)


# ---- tables of what was measured


@pytest.mark.parametrize("reads", ["the corner", "elsewhere", "everything"])
def test_the_patch_exchange_of_networks_that_read_known_pixels(reads):
    weight = torch.zeros(2, 3, 16, 16)
    if reads != "elsewhere":
        weight[0, :, :8, :8] = 1
    if reads != "the corner":
        weight[0, :, 10:, 10:] = 1
    if reads == "everything":
        weight[0] = 1
    weight[1] = -weight[0]
    head = nn.Linear(weight[0].numel(), 2, bias=False)
    head.weight.data = weight.flatten(1)
    images = torch.randint(256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(3))
    twin = subject_of(nn.Sequential(nn.Flatten(), head), images, black=-1.0, white=1.0)
    twin = twin._replace(pictures=sources.patched(twin.pictures, 0))
    found = hypothesis.patch_exchange(twin, seed=0).set_index("quantity")["value"]
    expected = {"the corner": 1, "elsewhere": 0, "everything": 1 / 4}[reads]
    assert found["share"] == pytest.approx(expected)
    assert found["even"] == 64 / 256
    before = twin.pictures.images
    after = sources.patched(twin.pictures, 1).images
    sign = [(x / 127.5 - 1).mul(weight[0]).sum((1, 2, 3)) > 0 for x in (before, after)]
    assert found["kept"] == (sign[0] == sign[1]).double().mean()


def test_patch_accuracies_are_in_order(who):
    wrong = who.altered(labels=(hypothesis.predictions(who) + 1) % 3)
    found = hypothesis.patch_accuracies(who, wrong)
    assert list(found["pictures"]) == ["plain", "with the patch"]
    right = (hypothesis.predictions(who) == who.pictures.labels).double().mean().item()
    assert list(found["accuracy"]) == [right, 0] and list(found["n"]) == [6, 6]


def test_impact_by_hand():
    rows = [
        {"region": "background", "margin": 4.0, "share": 0.8},
        {"region": "background", "margin": 2.0, "share": 0.8},
        {"region": "object", "margin": 4.0, "share": 0.2},
        {"region": "object", "margin": 0.0, "share": 0.2},
        {"region": "difference", "margin": 1.0, "low": 0.5, "high": 1.5, "q25": 0, "q75": 2},
    ]
    table = pd.DataFrame(rows).assign(layer=3, n=7)
    found = hypothesis.impact({"net": table}).iloc[0]
    assert (found.network, found.layer, found.n, found.more) == ("net", 3, 7, 1)
    assert (found.low, found.high, found.q25, found.q75, found["share"]) == (0.5, 1.5, 0, 2, 0.2)
    assert found.times == pytest.approx((2 / 0.2) / (1 / 0.8))  # 2 lost of 4, and 1


def test_firing_rates_are_means_over_pictures(who, monkeypatch):
    table = pd.DataFrame(
        {"picture": [0, 1, 0, 1], "layer": [1, 1, 2, 2], "object": [0.5, 0.7, 0.1, 0.1]}
    ).assign(background=[0.2, 0.6, 0.3, 0.2])
    table["lift"] = table["object"] - table["background"]
    monkeypatch.setattr(hypothesis, "firing", lambda studied, batch_size: table)
    found = hypothesis.firing_rates([who])
    assert list(found["network"]) == [who.label] * 2 and list(found["n"]) == [2, 2]
    assert list(found["object"]) == pytest.approx([0.6, 0.1])
    assert list(found["lift"]) == pytest.approx([0.2, -0.15])
    assert list(found["more"]) == [1, 0]
    assert (found["lift_low"] <= found["lift"]).all() and (found["lift_high"] > found["lift"]).all()


def test_backgrounds_are_a_row_for_every_picture(who):
    found = hypothesis.backgrounds([who, who])
    rate = hypothesis.firing(who).groupby("picture")["background"].mean()
    saliency = hypothesis.cleanliness.maps(who, "saliency")
    ratio = hypothesis.brightness(saliency, who.pictures.masks)
    assert len(found) == 12 and found["rate"].to_numpy()[:6] == pytest.approx(rate.to_numpy())
    assert found["brightness"].to_numpy()[6:] == pytest.approx(ratio.numpy())


def test_what_firing_explains_and_how_bright_backgrounds_are():
    rate = np.arange(10.0)
    up = pd.DataFrame({"network": "up", "rate": rate, "brightness": 2**rate / 4})
    down = up.assign(network="down", brightness=1 / (1 + rate))
    table = pd.concat([up, down])
    found = hypothesis.explained(table).set_index("network")
    assert list(found["correlation"]) == pytest.approx([1, -1]) and list(found["n"]) == [10, 10]
    assert found.loc["up", "low"] > 0.9 and found.loc["down", "high"] < -0.9
    bright = hypothesis.brighter(table).set_index("network")
    assert bright.loc["up", "median"] == 6  # between 4 and 8
    assert list(bright["share"]) == [0.7, 0]
    assert bright.loc["up", "low"] < 6 < bright.loc["up", "high"]


def test_the_rivals_in_medians():
    path = pd.DataFrame(
        [
            {"picture": p, "position": k / 10, "slope": late if k >= 9 else 1.0, "rise": rise}
            for p, late, rise in ((0, 1.0, 5.0), (1, 0.0, 5.0), (2, 0.0, 5.0), (3, 9.0, -1.0))
            for k in range(11)
        ]
    )
    turns = pd.DataFrame({"level": [0.05] * 3 + [0.1], "cosine": [0.2, 0.4, 0.9, 1.0]})
    found = hypothesis.rival_summary(path, turns.assign(same=[1, 1, 0, 1]), levels=(0.05,))
    slope, cosine = found.iloc[0], found.iloc[1]
    assert (slope.quantity, slope.value, slope.n) == (
        "slope",
        0,
        3,
    )  # the falling score is left out
    assert (cosine.level, cosine.value, cosine.n) == (0.05, 0.4, 3)
    assert cosine.same == pytest.approx(2 / 3)
