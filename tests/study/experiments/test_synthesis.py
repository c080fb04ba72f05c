"""study.experiments.synthesis: maps, every part of the table and the shift of occluded pictures
against the kernels called directly and slow readings."""

from __future__ import annotations

import copy
import itertools
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import nn
from torch.testing import assert_close

from lib import attribution, metrics
from lib.attribution import METHODS, crosses, to_map
from lib.attribution.crosses import NEW
from lib.metrics import PAPER_FRACTIONS
from study.experiments import (
    cleanliness,
    deletion,
    response,
    retraining,
    retraining_tables,
    synthesis,
)
from study.experiments.synthesis import METRICS, OF_ONE_MAP, PARTS, STEPS, Study
from study.store import cells, stamps
from study.subjects import networks, shapes10, sources
from study.subjects import training as trainer
from study.subjects.pictures import Dataset, to_range
from study.subjects.subject import Subject, batch
from tests.study.keeping import keeping

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("saliency", "rectgrad", "positive", "random", "edges", "shuffled:saliency")
HALF = {
    "rtol": 6e-4,
    "atol": 1e-6,
    "check_dtype": False,
    "equal_nan": True,
}  # what rounding to float16 leaves
RANDOM_STEP = (
    torch.randint(2, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float() * 2 - 1
)  # of four pictures, in units of eps


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture(scope="module")
def drawn(one_thread):
    """A hundred pictures, one of them blended with the next until a small random step, too,
    changes its prediction: pictures as they are drawn lie too far from any boundary."""
    pictures = shapes10.draw("test", count=100)
    place, blend = near_a_boundary(pictures)
    images = pictures.images.clone()
    images[place] = blend
    return replace(pictures, images=images)


def near_a_boundary(pictures):
    """The first picture whose class survives a blend that both smallest steps change, and it."""
    model = networks.load("rectgrad_cnn", "shapes10")
    shares = torch.linspace(0, 1, 65)[:, None, None, None]
    for place in range(len(pictures) - 1):
        here, there = pictures.images[place : place + 2].float()
        blends = (here + shares * (there - here)).round().to(torch.uint8)
        images = to_range(blends, model)
        direction, predicted = against(model, images)
        wanted = predicted == pictures.labels[place]
        for step in (direction, RANDOM_STEP[1]):
            with torch.no_grad():
                wanted &= model((images + STEPS[0] * step).clamp(-1, 1)).argmax(1) != predicted
        if wanted.any():
            return place, blends[wanted][0]
    raise AssertionError("no blend of two pictures lies near enough to a boundary")


def against(model, images):
    """The sign of the loss's gradient for the predicted class, and that class."""
    leaf = images.clone().requires_grad_()
    logits = model(leaf)
    (gradient,) = torch.autograd.grad(
        -logits.log_softmax(1).gather(1, logits.argmax(1, keepdim=True)).sum(), leaf
    )
    return gradient.sign(), logits.argmax(1)


@pytest.fixture(scope="module")
def one(one_thread, drawn):
    """A study of six pictures, the last of which is classified wrongly. Its first four: the
    smallest step changes the prediction; it does, but a random one of its size as well; a larger
    one does; none does."""
    model = networks.load("rectgrad_cnn", "shapes10")
    images = to_range(drawn.images, model)
    direction, predicted = against(model, images)

    def changed_by(step):
        return model((images + step).clamp(-1, 1)).argmax(1) != predicted

    with torch.no_grad():
        changes = torch.stack([changed_by(eps * direction) for eps in STEPS])
        shaken = changed_by(STEPS[0] * RANDOM_STEP[1])
    right, none = predicted == drawn.labels, ~changes.any(0)
    kinds = (
        changes[0] & right & ~shaken,
        changes[0] & right & shaken,
        ~changes[0] & changes[1] & right,
        none & right,
        none & right,
        ~right,
    )
    chosen = []
    for flags in kinds:
        chosen.append(next(k for k in flags.nonzero()[:, 0].tolist() if k not in chosen))
    index = torch.tensor(chosen)
    who = Subject(model, drawn.take(index), "rectgrad_cnn", "shapes10")
    twin = Subject(
        networks.load("rectgrad_cnn", "shapes10+patch"),
        sources.patched(who.pictures),
        "rectgrad_cnn",
        "shapes10+patch",
    )
    return Study(
        who,
        who._replace(pictures=who.pictures.take(slice(0, 4))),
        twin,
        cleanliness.recognised(who),
        index,
    )


@pytest.fixture(scope="module")
def found(one):
    return synthesis.measured(one, NAMES)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Maps and cells of their own; returns the folder of the cells."""
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def direct(who, name, paper, model=None, target=None):
    """The map of a method or control by its own function."""
    if name == "random":
        return torch.rand(len(who.pictures), 32, 32, generator=torch.Generator().manual_seed(0))
    images = batch(who, slice(None))
    if name == "edges":
        return crosses.edges(images, torch.Generator())
    if name.startswith("shuffled:"):
        return crosses.shuffled(
            direct(who, name.removeprefix("shuffled:"), paper), torch.Generator().manual_seed(0)
        )
    method = (METHODS | NEW)[name]
    return to_map(method.function(model or who.model, images, target), method.reduce[paper])


def trapezoid(places, heights):
    """The area under a curve, piece by piece."""
    points = list(zip(places, heights, strict=True))
    return sum((b - a) * (u + v) / 2 for (a, u), (b, v) in itertools.pairwise(points))


# ---- names


def test_labels_of_methods_controls_and_shuffled_ones():
    assert {
        name: attribution.label(name)
        for name in (
            "saliency",
            "rectgrad_active",
            "random",
            "edges",
            "shuffled:saliency",
            "shuffled:rectgrad_active",
            "shuffled:edges",
        )
    } == {
        "saliency": "Saliency map",
        "rectgrad_active": "RectGrad, active",
        "random": "Random",
        "edges": "Edge detector",
        "shuffled:saliency": "Saliency map, shuffled",
        "shuffled:rectgrad_active": "RectGrad, active, shuffled",
        "shuffled:edges": "Edge detector, shuffled",
    }
    names = [*METHODS, *NEW, *crosses.CONTROLS]
    assert len(
        {attribution.label(n) for n in (*names, *(f"shuffled:{n}" for n in names))}
    ) == 2 * len(names)


def test_unknown_methods_are_refused():
    synthesis.check_methods(("saliency", "rectgrad"), ("rectgrad_active",))
    synthesis.check_methods((), ())
    for methods, new, name, known in (
        (("gradcam",), (), "gradcam", "deeplift"),
        (("rectgrad_active",), (), "rectgrad_active", "deeplift"),
        (("saliency",), ("saliency",), "saliency", "rectgrad_both_tails"),
    ):
        with pytest.raises(ValueError, match=f"'{name}'.*{known}"):
            synthesis.check_methods(methods, new)


def test_a_family_is_the_new_methods_and_each_parent_once():
    new = ["rectgrad_active", "rectgrad_both_tails", "integrated_active"]
    assert synthesis.family(new) == [
        *new,
        "rectgrad",
        "active",
        "input_x_gradient",
        "integrated_gradients",
    ]
    assert synthesis.family(()) == [] and set(synthesis.HELD_OUT) <= set(PARTS)


def test_metrics_and_their_directions():
    assert {name for name, m in METRICS.items() if m.better > 0} == {
        "black_insertion",
        "white_insertion",
        "sanity",
        "attack",
    } and {m.better for m in METRICS.values()} == {1, -1}
    assert set(PARTS) == {"curves", "variation", "patch", "outside", "responses"} and set(
        OF_ONE_MAP
    ) == set(PARTS) - {"responses"}
    assert len({m.label for m in METRICS.values()}) == len(METRICS) == 13


def test_every_metric_has_a_family_and_families_stand_together():
    expected = {
        "deletion": [
            f"{fill}_{kind}"
            for kind in ("deletion", "score", "insertion")
            for fill in ("black", "white")
        ],
        "place": ["patch", "outside", "variation"],
        "retraining": ["roar", "kar"],
        "response": ["sanity", "attack"],
    }
    assert {
        family: [name for name, m in METRICS.items() if m.family == family]
        for family in synthesis.FAMILIES
    } == expected
    assert (
        list(METRICS) == [name for names in expected.values() for name in names]
        and len(set(synthesis.FAMILIES.values())) == 4
    )


# ---- the study


@pytest.fixture
def small(monkeypatch):
    """Few drawn pictures under the names of the book."""
    pictures = shapes10.draw("test", count=30)
    monkeypatch.setitem(sources._LOADERS, "shapes10", lambda split, size: pictures)
    return pictures


def test_a_study_of_drawn_pictures(small):
    s = synthesis.study("shapes10", "rectgrad_cnn", count=12, few=5)
    assert torch.equal(s.whole.pictures.images, small.sample(12, 0).images) and (
        s.whole.model_name,
        s.whole.weights,
    ) == ("rectgrad_cnn", "shapes10")
    assert (
        torch.equal(s.fewer.pictures.images, s.whole.pictures.sample(5).images)
        and len(s.fewer.pictures) == 5
        and s.fewer.model is s.whole.model
    )
    assert s.twin.weights == "shapes10+patch" and torch.equal(
        s.twin.pictures.images, sources.patched(s.whole.pictures).images
    )
    assert (
        networks.fingerprint(s.twin.model)
        == networks.fingerprint(networks.load("rectgrad_cnn", "shapes10+patch"))
        != networks.fingerprint(s.whole.model)
    )
    with torch.no_grad():
        right = s.whole.model(batch(s.whole, slice(None))).argmax(1) == s.whole.pictures.labels
    assert torch.equal(s.masked.pictures.images, s.whole.pictures.images[right]) and torch.equal(
        s.masked.pictures.masks, s.whole.pictures.masks[right]
    )
    assert s.index.tolist() == sorted(set(s.index.tolist())) and torch.equal(
        s.whole.pictures.images, small.images[s.index]
    )
    for count in (None, 30, 99):
        whole = synthesis.study("shapes10", "rectgrad_cnn", count=count)
        assert (
            torch.equal(whole.whole.pictures.images, small.images)
            and len(whole.fewer.pictures) == len(whole.twin.pictures) == 30
            and whole.index.tolist() == list(range(30))
        )


def test_a_few_pictures_of_a_dataset_in_the_order_of_its_classes_are_of_many_classes(
    small, monkeypatch
):
    ordered = small.take(small.labels.argsort())
    monkeypatch.setitem(sources._LOADERS, "shapes10", lambda split, size: ordered)
    one = synthesis.study("shapes10", "rectgrad_cnn", few=9)
    assert len(one.fewer.pictures.labels.unique()) > 4 and len(ordered.labels[:9].unique()) < 5


def test_held_out_pictures_are_as_many_others(small):

    def place(picture):
        """Its place in the split; the first rows are left out, since the patch covers them."""
        rest = picture[:, 10:]
        return next(k for k, image in enumerate(small.images) if torch.equal(image[:, 10:], rest))

    def places(who):
        return [place(picture) for picture in who.pictures.images]

    first, second = (
        synthesis.study("shapes10", "rectgrad_cnn", count=15, few=4, held_out=held)
        for held in (False, True)
    )
    assert sorted(places(first.whole) + places(second.whole)) == list(range(30))
    for one in (first, second):
        assert (
            places(one.whole) == places(one.twin) == sorted(places(one.whole))
            and len(set(places(one.fewer)) & set(places(one.whole))) == 4
            and set(places(one.masked)) <= set(places(one.whole))
        )
        assert (
            torch.equal(one.whole.pictures.labels, small.labels[places(one.whole)])
            and one.twin.weights == "shapes10+patch"
            and one.index.tolist() == places(one.whole)
        )
    for count in (16, None):
        with pytest.raises(ValueError, match="hold out.*at most 15"):
            synthesis.study("shapes10", "rectgrad_cnn", count=count, held_out=True)


def test_a_study_has_none_of_what_the_dataset_lacks(tmp_path, monkeypatch, small):
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    for kind in ("a", "b"):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        for k in range(2):
            Image.fromarray(
                np.random.default_rng(k).integers(256, size=(32, 32, 3), dtype=np.uint8)
            ).save(tmp_path / "pictures" / kind / f"{k}.png")
    own = synthesis.study(f"imagefolder:{tmp_path / 'pictures'}", "rectgrad_cnn", None)
    assert own.twin is None and own.masked is None and len(own.whole.pictures) == 4
    untrained = synthesis.study(
        "shapes10", "rectgrad_cnn", None
    )  # weights that nobody trained have no twin
    assert (
        untrained.twin is None
        and untrained.masked is not None
        and untrained.whole.weights == "none"
    )
    assert synthesis.study("shapes10", "basic_cnn").twin is None


def test_masks_of_cifar10_are_those_of_paper_noise(monkeypatch, drawn):
    model = networks.load("rectgrad_cnn", "cifar10")
    with torch.no_grad():
        labels = model(to_range(drawn.images, model)).argmax(1)
    labels[::2] = (labels[::2] + 1) % 10  # every other one is wrong
    plain = Dataset(
        "cifar10", "test", drawn.images.flip(3), drawn.labels, sources.CIFAR10_CLASSES, "made"
    )
    monkeypatch.setitem(sources._LOADERS, "cifar10", lambda split, size: plain)
    monkeypatch.setitem(
        sources._LOADERS,
        "cifar10_masks",
        lambda split, size: Dataset(
            "cifar10_masks",
            "test",
            drawn.images,
            labels,
            sources.CIFAR10_CLASSES,
            "made",
            drawn.masks,
        ),
    )
    s = synthesis.study("cifar10", "rectgrad_cnn", count=3, few=2)
    assert (
        torch.equal(s.masked.pictures.images, drawn.images[1::2])
        and torch.equal(s.masked.pictures.masks, drawn.masks[1::2])
        and s.masked.weights == "cifar10"
    )
    assert s.twin.weights == "cifar10+patch" and len(s.twin.pictures) == 3
    assert (
        synthesis.study("cifar10", "basic_cnn", count=3, few=2).masked is None
    )  # the masks are studied with the other network


# ---- maps


@pytest.mark.parametrize(
    "name",
    [
        "saliency",
        "rectgrad",
        "inactive",
        "input_x_gradient",
        "rectgrad_active",
        "rectgrad_both_tails",
    ],
)
def test_maps_are_the_methods_own_reduced_as_either_paper_does(name, one):
    maps = synthesis.maps_both_ways(one.whole, name)
    assert maps.shape == (2, 6, 32, 32) and maps.any()
    for k, paper in enumerate(("sign", "noise")):
        assert_close(maps[k], direct(one.whole, name, paper))
    assert torch.equal(maps[0], maps[1]) == ("active" in name)


def test_maps_do_not_depend_on_the_batch(one, monkeypatch):
    expected = {
        name: synthesis.maps_both_ways(one.whole, name)
        for name in ("saliency", "rectgrad", "random", "edges")
    }
    monkeypatch.setattr(synthesis, "batch_size", lambda who: 4)
    for name, whole in expected.items():
        assert_close(synthesis.maps_both_ways(one.whole, name), whole, rtol=1e-4, atol=1e-6)


def test_a_map_may_be_of_the_class_that_another_network_predicts(one):
    other = copy.deepcopy(one.whole.model)
    with torch.no_grad():
        other[-1].weight.copy_(one.whole.model[-1].weight.roll(1, 0))
        other[-1].bias.copy_(one.whole.model[-1].bias.roll(1, 0))
        target = other(batch(one.whole, slice(None))).argmax(1)
    found = synthesis.maps_both_ways(one.whole, "rectgrad", target_of=other)
    assert_close(found[1], direct(one.whole, "rectgrad", "noise", target=target))
    assert not torch.equal(found, synthesis.maps_both_ways(one.whole, "rectgrad"))


def test_controls_are_the_same_for_both_papers_and_drawn_by_their_seed(one):
    for name in ("random", "edges"):
        maps = synthesis.maps_both_ways(one.whole, name)
        assert (
            maps.shape == (2, 6, 32, 32)
            and torch.equal(maps[0], maps[1])
            and torch.equal(maps[0], direct(one.whole, name, "sign"))
        )
        assert torch.equal(synthesis.maps_both_ways(one.whole, name), maps)
        assert torch.equal(synthesis.maps_both_ways(one.whole, name, draw=1), maps) == (
            name == "edges"
        )
    assert torch.equal(
        synthesis.maps_both_ways(one.whole, "saliency", draw=1),
        synthesis.maps_both_ways(one.whole, "saliency"),
    )


def test_stored_maps_are_computed_once_and_never_pass_for_others(one, cached, monkeypatch):
    first = synthesis.maps_both_ways(keeping(one.fewer), "saliency")
    folder, entry = sources.CACHE / "maps", METHODS["saliency"]
    assert (
        torch.equal(first, synthesis.maps_both_ways(one.fewer, "saliency"))
        and len(list(folder.iterdir())) == 1
    )
    calls = []

    def counted(*arguments):
        calls.append(1)
        return entry.function(*arguments)

    monkeypatch.setitem(synthesis.NETWORK, "saliency", entry._replace(function=counted))
    assert (
        torch.equal(synthesis.maps_both_ways(keeping(one.fewer), "saliency"), first) and not calls
    )
    redrawn = one.fewer._replace(model=copy.deepcopy(one.fewer.model))
    response.redraw_weights(redrawn.model[-1], torch.Generator().manual_seed(0))
    for other in (redrawn, one.whole, one.fewer.altered(images=255 - one.fewer.pictures.images)):
        assert torch.equal(
            synthesis.maps_both_ways(keeping(other), "saliency"),
            synthesis.maps_both_ways(other, "saliency"),
        )
    assert len(calls) == 6 and len(list(folder.iterdir())) == 4
    monkeypatch.setattr(stamps, "code", lambda function: "other code")
    synthesis.maps_both_ways(keeping(one.fewer), "saliency")
    assert len(calls) == 7
    synthesis.maps_both_ways(keeping(one.fewer), "random")
    assert len(list(folder.iterdir())) == 5  # controls cost nothing, and are not kept


def test_stored_maps_of_another_networks_class_never_pass_for_those_of_the_own(one, cached):
    other = copy.deepcopy(one.fewer.model)
    with torch.no_grad():
        other[-1].weight.copy_(one.fewer.model[-1].weight.roll(1, 0))
        other[-1].bias.copy_(one.fewer.model[-1].bias.roll(1, 0))
    expected = [
        synthesis.maps_both_ways(one.fewer, "saliency", target_of=target)
        for target in (None, other)
    ]
    assert not torch.equal(*expected)
    for _ in range(2):
        for target, maps in zip((None, other), expected, strict=True):
            assert torch.equal(
                synthesis.maps_both_ways(keeping(one.fewer), "saliency", target_of=target), maps
            )


def test_a_network_that_begins_in_place_is_explained_as_it_is(one, shifting):
    """The prediction that names the class is made of a copy."""
    who = one.fewer._replace(model=shifting(one.fewer.model))
    who.model.black, who.model.white = 0.0, 1.0  # x -> 2 (x - 1/2): the same pictures for the body
    assert_close(
        synthesis.maps_both_ways(who, "saliency"),
        2 * synthesis.maps_both_ways(one.fewer, "saliency"),
        rtol=1e-4,
        atol=1e-5,
    )


# ---- the parts


def test_every_name_has_every_metric_that_it_can_have(one, found):
    assert set(found) == set(METRICS) - {"roar", "kar"} | {"kept"}
    for metric, of in found.items():
        if metric in PARTS:
            part = metric
        elif metric in ("sanity", "attack"):
            part = "responses"
        else:
            part = "curves"
        count = {"whole": 6, "fewer": 4, "twin": 6, "masked": 5}[PARTS[part][0]]
        assert list(of) == [n for n in NAMES if ":" not in n or part in OF_ONE_MAP]
        assert all(
            v.shape == (synthesis.REDRAWS if metric == "sanity" else 1, count)
            and v.dtype == torch.float64
            for v in of.values()
        )
    assert all(len({tuple(v[0].tolist()) for v in of.values()}) > 1 for of in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_curves_are_the_kernels(name, one, found):
    model, images, maps = (
        one.whole.model,
        batch(one.whole, slice(None)),
        direct(one.whole, name, "sign"),
    )
    for fill, value in (("black", -1.0), ("white", 1.0)):
        expected = {
            "deletion": metrics.allegiance(model, images, maps, fill=value),
            "score": metrics.class_scores(model, images, maps, fill=value)[0],
            "insertion": metrics.allegiance(model, images, maps, fill=value, insert=True),
        }
        for column, curve in expected.items():
            area = metrics.auc(PAPER_FRACTIONS, curve.double())
            assert_close(found[f"{fill}_{column}"][name][0], area, **HALF)
    assert_close(found["kept"][name][0], (maps != 0).double().mean((1, 2)), **HALF)


def test_a_curve_point_by_point(one, found):
    """Pixel by pixel: the highest of the map take the fill, or are all that is shown; the trapezoid
    by hand."""
    maps = direct(one.whole, "rectgrad", "sign").flatten(1)
    for n in range(6):
        picture = batch(one.whole, slice(n, n + 1))
        order = maps[n].argsort(descending=True).tolist()
        order = [place for place in order if maps[n, place] != 0]
        rows = {"deletion": [], "score": [], "insertion": []}
        with torch.no_grad():
            target = one.whole.model(picture).softmax(1)[0].argmax()
            for fraction in PAPER_FRACTIONS:
                first = order[: round(fraction * 1024)]
                gone, shown = picture.clone().flatten(2), torch.full_like(picture, 1.0).flatten(2)
                gone[..., first], shown[..., first] = 1.0, picture.flatten(2)[..., first]
                after, revealed = (
                    one.whole.model(x.view_as(picture)).softmax(1)[0] for x in (gone, shown)
                )
                rows["deletion"].append(float(after.argmax() == target))
                rows["score"].append(after[target].item())
                rows["insertion"].append(float(revealed.argmax() == target))
        for column, heights in rows.items():
            area = trapezoid(PAPER_FRACTIONS, heights)
            assert found[f"white_{column}"]["rectgrad"][0, n].item() == pytest.approx(
                area, rel=1e-3, abs=1e-5
            )


@pytest.mark.parametrize("name", NAMES)
def test_shares_are_of_the_sum_of_the_map_as_paper_noise_reduces_it(name, one, found):

    def summed(maps):
        return maps.abs().sum((1, 2))

    maps = direct(one.whole, name, "noise")
    share = metrics.total_variation(maps) / summed(maps)
    assert_close(found["variation"][name][0], share.double(), **HALF)
    maps = direct(one.twin, name, "noise")
    share = summed(maps[:, :8, :8]) / summed(maps)
    assert_close(found["patch"][name][0], share.double(), **HALF)
    maps = direct(one.masked, name, "noise")
    share = summed(maps * ~one.masked.pictures.masks) / summed(maps)
    assert_close(found["outside"][name][0], share.double(), **HALF)


@pytest.mark.parametrize("name", ["saliency", "rectgrad", "shuffled:saliency"])
def test_a_map_that_is_zero_everywhere_has_no_share(name, one, monkeypatch):
    """It is no map that avoids the patch, the background and all variation: the share of a sum of 0
    is no number."""
    method, calls = name.removeprefix("shuffled:"), []
    entry = METHODS[method]

    def blank(model, images, target=None):
        calls.append(len(images))
        found = entry.function(model, images, target)
        found[1] = found[3] = 0
        return found

    parts = ("variation", "patch", "outside")
    plain = synthesis.measured(one, (name,), parts)
    monkeypatch.setitem(synthesis.NETWORK, method, entry._replace(function=blank))
    blanked = synthesis.measured(one, (name,), parts)
    assert calls == [6, 6, 5]
    for part in parts:
        before, after = plain[part][name][0], blanked[part][name][0]
        assert after.isnan().nonzero()[:, 0].tolist() == [1, 3] and not before.isnan().any()
        assert torch.equal(after[~after.isnan()], before[~after.isnan()])


# ---- what a map responds to


def slow_steps(who):
    """Of each of four pictures the smallest step against its prediction that changes it (None: none
    does), the picture after it and after the random step of that size, in the network's own
    range."""
    found = []
    for n in range(4):
        picture = batch(who, slice(n, n + 1))
        direction, predicted = against(who.model, picture)
        for eps in (0.01, 0.02, 0.04, 0.08, 0.16):
            attacked, stepped = (
                (picture + eps * way).clamp(-1, 1) for way in (direction, RANDOM_STEP[n : n + 1])
            )
            if who.model(attacked).argmax(1) != predicted:
                found.append((eps, attacked, stepped))
                break
        else:
            found.append((None, picture, picture))
    return found


def test_steps_are_the_smallest_that_change_the_prediction(one):
    expected = slow_steps(one.fewer)
    attacked, stepped, serve = synthesis.smallest_steps(one.fewer)
    assert [eps for eps, *_ in expected] == [0.01, 0.01, 0.02, None] and serve.tolist() == [
        True,
        False,
        True,
        False,
    ]
    for mine, theirs in ((attacked, 1), (stepped, 2)):
        assert mine.dtype == torch.float32 and mine.min() >= 0 and mine.max() <= 255
        assert_close(
            to_range(mine, one.fewer.model),
            torch.cat([row[theirs] for row in expected]),
            rtol=0,
            atol=2e-6,
        )  # a hundredth of a grey level is 8e-5
    with torch.no_grad():
        classes = [
            one.fewer.model(to_range(x, one.fewer.model)).argmax(1)
            for x in (one.fewer.pictures.images, attacked, stepped)
        ]
    assert (classes[1] != classes[0]).tolist() == [True, True, True, False] and (
        classes[2] != classes[0]
    ).tolist() == [False, True, False, False]
    assert torch.equal(attacked[3], one.fewer.pictures.images[3].float()) and torch.equal(
        stepped[3], attacked[3]
    )  # no step for what does not serve


def test_steps_are_in_the_range_of_the_network(one, shifting):
    """The same pictures for the body, whose range is half as wide: the same steps in bytes."""
    who = one.fewer._replace(model=shifting(one.fewer.model))
    who.model.black, who.model.white = 0.0, 1.0  # x -> 2 (x - 1/2)
    for mine, theirs in zip(
        synthesis.smallest_steps(who), synthesis.smallest_steps(one.fewer), strict=True
    ):
        differs = (mine.float() - theirs.float()).abs() > 0.01
        assert differs.double().mean() < 1e-3  # the sign of a gradient next to nothing may turn


def test_only_the_steps_of_the_list_are_tried(one, monkeypatch):
    monkeypatch.setattr(synthesis, "STEPS", (0.02, 0.04))
    attacked, _, serve = synthesis.smallest_steps(one.fewer)
    far = (attacked - one.fewer.pictures.images).abs().amax((1, 2, 3)) / 127.5
    assert far.tolist() == pytest.approx([0.02, 0.02, 0.02, 0], abs=1e-5) and not serve[3]


@pytest.fixture(scope="module")
def responses(one):
    """The kernel's own numbers, before they are rounded to be stored."""
    names = ("saliency", "rectgrad", "positive", "random", "edges")
    return {name: synthesis.map_responses(one.fewer, name) for name in names}


@pytest.mark.parametrize("name", ["saliency", "rectgrad", "positive", "edges"])
def test_responses_against_a_slow_reading(name, one, responses):
    model, steps = one.fewer.model, slow_steps(one.fewer)
    redrawn = []
    for seed in range(3):
        redrawn.append(copy.deepcopy(model))
        with torch.no_grad():
            weight = redrawn[-1][-1].weight
            weight.copy_(
                weight.std()
                * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
            )
            redrawn[-1][-1].bias.zero_()

    def mapped(network, picture, target):
        if name == "edges":
            return crosses.edges(picture, torch.Generator()).flatten().numpy()
        return to_map(METHODS[name].function(network, picture, target), "sum").flatten().numpy()

    def like(first, second):
        return spearmanr(first, second).statistic

    sanity, attack, other_class = np.full((3, 4), np.nan), np.full(4, np.nan), []
    for n, (eps, attacked, stepped) in enumerate(steps):
        picture = batch(one.fewer, slice(n, n + 1))
        old, new = (model(x).argmax(1) for x in (picture, attacked))
        if eps is None or model(stepped).argmax(1) != old:
            continue
        before = mapped(model, picture, old)
        steady = like(before, mapped(model, stepped, old))
        attack[n] = steady - like(before, mapped(model, attacked, new))
        sanity[:, n] = [
            steady - like(before, mapped(network, picture, old)) for network in redrawn
        ]  # for the class of the intact network
        other_class += [network(picture).argmax(1) != old for network in redrawn]
    found = responses[name]
    assert (
        set(found) == {"sanity", "attack"}
        and found["sanity"].shape == (3, 4)
        and found["attack"].shape == (4,)
    )
    np.testing.assert_allclose(
        found["sanity"].numpy(), sanity, atol=2e-3
    )  # pictures go through grey levels and back
    np.testing.assert_allclose(found["attack"].numpy(), attack, atol=2e-3)
    assert any(other_class) and np.isnan(attack).tolist() == [False, True, False, True]
    if name in METHODS:
        assert len({round(v, 6) for v in sanity[:, 0]}) == 3  # weights are drawn three times
        assert (
            abs(sanity[:, [0, 2]]).min() > 0.004 and abs(attack[[0, 2]]).min() > 0.001
        )  # far from what tolerance allows


def test_random_numbers_and_edges_respond_to_nothing(responses):
    """One changes always and the other never: neither when it should more than when it should
    not."""
    for name, reach in (("random", 0.2), ("edges", 0.1)):
        for values in responses[name].values():
            assert (
                torch.equal(
                    values.isnan(), torch.tensor([False, True, False, True]).expand_as(values)
                )
                and values.nan_to_num().abs().max() < reach
            )
    every = torch.cat([responses["random"]["sanity"], responses["random"]["attack"][None]])[
        :, [0, 2]
    ]
    assert len(every.flatten().unique()) == 8  # new numbers at every question
    assert responses["saliency"]["sanity"][:, 0].min() > 0.2  # which a gradient does


def test_random_numbers_are_drawn_anew_for_every_map(one, monkeypatch):
    seeds, original = [], synthesis.maps_both_ways

    def recorded(who, name, **options):
        seeds.append(options.get("draw", 0))
        return original(who, name, **options)

    monkeypatch.setattr(synthesis, "maps_both_ways", recorded)
    synthesis.map_responses(one.fewer, "random")
    assert len(seeds) == len(set(seeds)) == 3 + synthesis.REDRAWS


def test_measured_responses_are_the_kernels(found, responses):
    for name, of in responses.items():
        assert_close(found["sanity"][name], of["sanity"], **HALF)
        assert_close(found["attack"][name][0], of["attack"], **HALF)


def test_measuring_leaves_network_and_pictures_alone(one, unchanged):
    tensors = [
        t
        for who in (one.fewer, one.twin)
        for t in (who.pictures.images, who.pictures.labels, who.pictures.masks)
    ]
    with unchanged(one.fewer.model, *tensors):
        synthesis.measured(one, ("saliency", "random"), ("patch", "responses"))


def test_a_part_without_its_subject_is_left_out(one, monkeypatch):
    ran = []

    def recorded(part):
        def function(who, name):
            ran.append((part, name))
            return {part: torch.ones(len(who.pictures))}

        return function

    monkeypatch.setattr(
        synthesis, "PARTS", {part: (which, recorded(part)) for part, (which, _) in PARTS.items()}
    )
    lines = []
    found = synthesis.measured(
        one._replace(twin=None, masked=None), ("saliency", "shuffled:saliency"), log=lines.append
    )
    assert ran == [(part, "saliency") for part in ("curves", "variation", "responses")] + [
        (part, "shuffled:saliency") for part in ("curves", "variation")
    ]
    assert (
        list(found) == ["curves", "variation", "responses"]
        and len(lines) == 5
        and lines[0] == f"curves  {one.whole.title}  saliency"
    )
    assert list(synthesis.measured(one, ("saliency",), ("patch", "responses"))) == [
        "patch",
        "responses",
    ]


def test_rows_are_redraws_and_columns_pictures(one, monkeypatch):
    values = torch.arange(12.0).view(3, 4)
    monkeypatch.setattr(
        synthesis,
        "PARTS",
        {"responses": ("fewer", lambda *_: {"sanity": values, "attack": values[1]})},
    )
    found = synthesis.measured(one, ("saliency",), ("responses",))
    assert torch.equal(found["sanity"]["saliency"], values.double()) and found["attack"][
        "saliency"
    ].tolist() == [[4, 5, 6, 7]]


# ---- stored


def test_stored_numbers_are_computed_once(one, found, cached, monkeypatch):
    parts, names = ("variation", "outside", "responses"), ("saliency", "edges", "shuffled:saliency")
    first = synthesis.measured(keeping(one), names, parts)
    of_one_map, of_several = cells.of("synthesis"), cells.of("responses")
    assert {(c["parameters"]["part"], c["parameters"]["name"]) for c in of_one_map} == {
        (p, n) for p in parts[:2] for n in names
    }
    # no responses of a shuffled map
    assert sorted(c["parameters"]["name"] for c in of_several) == ["edges", "saliency"]
    for c in of_one_map + of_several:
        part, name = c["parameters"].get("part", "responses"), c["parameters"]["name"]
        (row,) = c["rows"]
        assert getattr(one, PARTS[part][0]).identity.items() <= c["parameters"].items()
        assert list(row) == (["sanity", "attack"] if part == "responses" else [part])
        for measure, value in row.items():
            assert value == pytest.approx(
                first[measure][name].nanmean().item(), rel=1e-3
            )  # over the pictures that have a number
    for metric, of in first.items():
        for name, values in of.items():
            assert torch.equal(values.nan_to_num(9), found[metric][name].nan_to_num(9))
    monkeypatch.setattr(synthesis, "maps_both_ways", lambda *_, **__: pytest.fail("computed again"))
    again = synthesis.measured(keeping(one), names, parts)
    assert list(again) == list(first) and all(
        list(again[m]) == list(first[m])
        and all(torch.equal(again[m][n].nan_to_num(9), first[m][n].nan_to_num(9)) for n in first[m])
        for m in first
    )
    with pytest.raises(pytest.fail.Exception):
        synthesis.measured(keeping(one), ("rectgrad",), ("variation",))


def test_pictures_without_a_number_stay_so_in_the_store(one, cached, monkeypatch):
    values = f64([0.25, torch.nan, -0.5, torch.nan])
    monkeypatch.setattr(
        synthesis,
        "PARTS",
        {
            "responses": (
                "fewer",
                lambda who, name: {"attack": values if name == "saliency" else values * torch.nan},
            )
        },
    )
    for _ in range(2):
        found = synthesis.measured(keeping(one), ("saliency", "rectgrad"), ("responses",))["attack"]
        assert_close(found["saliency"][0], values, equal_nan=True)
        assert found["rectgrad"].isnan().all()
        monkeypatch.setattr(
            synthesis, "PARTS", {"responses": ("fewer", lambda *_: pytest.fail("computed again"))}
        )


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": -5}, {"few": 2.5}, {"few": True}])
def test_a_study_of_no_number_of_pictures_is_refused(wrong):
    with pytest.raises(ValueError, match="must be a whole number of at least 1 or None for all"):
        synthesis.study("shapes10", "rectgrad_cnn", **{"count": 5, "few": 5} | wrong)


def test_what_is_stored_is_read_without_pictures(one, found, cached, monkeypatch):
    """A study under its dataset's name, the twin's and the mask's parts among it; pictures without
    a control are held out; retrained networks are added."""
    given = {
        ("saliency", "roar", 1): np.ones((5, 7), bool),
        ("thresholded:saliency", "roar", 1): np.ones((5, 7), bool),
    }
    monkeypatch.setattr(retraining_tables, "flags", lambda **asked: given)
    assert synthesis.read("shapes10", "rectgrad_cnn") == {}
    synthesis.measured(keeping(one), NAMES)
    synthesis.measured(
        keeping(
            one._replace(whole=one.whole._replace(pictures=one.whole.pictures.take(slice(2, 5))))
        ),
        ["saliency", "positive", "rectgrad"],
        ("curves",),
    )  # held out: without a control
    # other pictures with a control, but fewer names, and other weights
    synthesis.measured(
        keeping(
            one._replace(whole=one.whole._replace(pictures=one.whole.pictures.take(slice(1, 4))))
        ),
        ["random"],
        ("curves",),
    )
    synthesis.measured(
        keeping(one._replace(whole=one.whole._replace(weights="mine"))),
        ["saliency", "random", "edges"],
        ("curves",),
    )
    monkeypatch.setattr(sources, "load", lambda *_, **__: pytest.fail("pictures were read"))
    again = synthesis.read("shapes10", "rectgrad_cnn")
    assert {metric: set(of) for metric, of in again.items()} == {
        metric: set(of) for metric, of in found.items()
    } | {"roar": {"saliency"}}
    for metric, of in found.items():
        for name, values in of.items():
            assert_close(again[metric][name], values, **HALF)
    assert again["roar"]["saliency"].tolist() == [[1] * 7]
    assert (
        synthesis.read("cifar10", "rectgrad_cnn")
        == synthesis.read("shapes10", "squeezenet1_1")
        == {}
    )


# ---- retraining


@pytest.fixture
def flags(monkeypatch, one):
    """flags(stored): what `retraining_tables.flags` returns from now on, when it is asked for
    networks retrained on the maps of `one.whole`."""

    def give(stored):
        def answer(**asked):
            assert asked == {
                "protocol": retraining.SHORT,
                "dataset": "shapes10",
                "model": "rectgrad_cnn",
                "weights": "shapes10",
                "current": networks.fingerprint(one.whole.model),
            }
            return stored

        monkeypatch.setattr(retraining_tables, "flags", answer)

    return give


def test_areas_of_every_test_picture_from_the_flags_of_retrained_networks(one, flags):
    """Two pictures, fractions .1 .3 .5 .7 .9: the trapezoid counts the ends 1/8 and the rest
    1/4."""

    def curve(*right):
        return np.array([right, (1, 1, 1, 1, 1)], dtype=bool).T

    flags(
        {
            ("saliency", "roar", 1): curve(0, 1, 0, 0, 1),
            ("saliency", "roar", 0): curve(1, 0, 0, 0, 0),
            ("saliency", "kar", 0): curve(0, 1, 1, 0, 0),
            ("random", "roar", 0): curve(0, 0, 0, 0, 0),
        }
    )
    found = synthesis.retrained(one.whole)
    assert {mode: list(of) for mode, of in found.items()} == {
        "roar": ["saliency", "random"],
        "kar": ["saliency"],
    }
    assert_close(
        found["roar"]["saliency"], f64([[1 / 8, 1], [3 / 8, 1]])
    )  # a row a seed, in their order
    assert_close(found["roar"]["random"], f64([[0, 1]]))
    assert_close(found["kar"]["saliency"], f64([[1 / 2, 0]]))  # the area over the curve
    flags({})
    assert synthesis.retrained(one.whole) == synthesis.after_retraining(one) == {}


def test_how_often_retrained_networks_are_right_where_the_explained_one_is_wrong(one, flags):
    """Never if they repeat it, always if they do the opposite, else the share of those pictures,
    mean over fractions."""
    explained = (deletion.predictions(one.whole) == one.whole.pictures.labels).numpy()
    assert 0 < explained.sum() < len(explained)
    rng = np.random.default_rng(0)
    copy, own = np.stack([explained] * 5), rng.random((5, len(explained))) < 0.5
    flags(
        {
            ("saliency", "roar", 1): copy,
            ("saliency", "kar", 1): ~copy,
            ("rectgrad", "roar", 2): own,
            ("rectgrad", "roar", 1): copy,
        }
    )
    found = synthesis.where_wrong(one.whole)
    assert found["roar"]["saliency"].mean() == 0 and found["kar"][
        "saliency"
    ].mean() == pytest.approx(1)
    assert found["roar"]["rectgrad"].shape == (2, len(explained)) and found["roar"][
        "rectgrad"
    ].mean(1).tolist() == pytest.approx([0, own[:, ~explained].mean()])
    flags({("thresholded:saliency", "roar", 1): copy})
    assert synthesis.where_wrong(one.whole) == {}


def test_after_retraining_are_the_studys_pictures_of_the_whole_split(one, flags):
    """Seed by seed under ROAR alone, picture by picture where the study has them."""
    rng = np.random.default_rng(0)
    stored = {
        (method, mode, seed): rng.random((5, 100)) < 0.5
        for method, mode, seed in (
            ("saliency", "roar", 2),
            ("saliency", "kar", 1),
            ("saliency", "roar", 1),
            ("random", "roar", 1),
            ("rectgrad", "kar", 1),
        )
    }
    flags(stored)
    after = synthesis.after_retraining(one)
    assert (
        list(after) == ["saliency", "random"]
        and after["saliency"].shape == (2, 5, 6)
        and after["random"].shape == (1, 5, 6)
        and after["random"].dtype == torch.bool
    )
    for method, of in after.items():
        # of the random baseline there is the first seed alone
        for row, seed in zip(of, (1, 2), strict=False):
            for n, place in enumerate(one.index.tolist()):
                assert row[:, n].tolist() == stored[method, "roar", seed][:, place].tolist()


def test_retrainings_of_some_pictures_serve_a_study_of_some_of_these(one):
    """`flags` given by hand, of 3 fractions and the test pictures 0, 2, 4, ... and the study's;
    nothing is read from what is stored."""
    tested = torch.tensor(sorted({*range(0, 100, 2), *one.index.tolist()}))
    rng = np.random.default_rng(0)
    given = {
        ("none", "none", 1): np.ones((1, len(tested)), bool),
        **{("saliency", mode, 1): rng.random((3, len(tested))) < 0.5 for mode in retraining.MODES},
    }
    after = synthesis.after_retraining(one, given, tested)
    assert list(after) == ["saliency"]
    for n, place in enumerate(one.index.tolist()):
        assert (
            after["saliency"][0, :, n].tolist()
            == given["saliency", "roar", 1][:, tested.tolist().index(place)].tolist()
        )
    with pytest.raises(
        ValueError,
        match=f"no network was tested; it may have some of those {len(tested) - 1} alone",
    ):
        synthesis.after_retraining(one, given, tested[tested != one.index[0]])
    found = synthesis.retrained(
        one.whole, given, (0.1, 0.3, 0.9)
    )  # the trapezoid counts the ends 1/8 and 3/8
    right = given["saliency", "roar", 1]
    assert_close(
        found["roar"]["saliency"][0],
        torch.from_numpy(right[0] / 8 + right[1] / 2 + right[2] * 3 / 8),
    )
    assert list(found) == ["roar", "kar"]


def test_the_mean_over_pictures_is_the_area_of_the_table(one, flags):
    rng = np.random.default_rng(0)
    stored = {
        ("rectgrad", mode, seed): rng.random((5, 40)) < 0.6
        for mode in retraining.MODES
        for seed in (0, 1)
    }
    flags(stored)
    found = synthesis.retrained(one.whole)
    for (method, mode, seed), right in stored.items():
        under = sum(0.2 * (a + b) / 2 for a, b in itertools.pairwise(right.mean(1))) / 0.8
        assert found[mode][method][seed].mean().item() == pytest.approx(
            under if mode == "roar" else 1 - under
        )


# ---- the shift


@pytest.fixture(scope="module")
def training(one):
    return one.whole._replace(pictures=shapes10.draw("train", count=20))


@pytest.fixture(scope="module")
def odd(one):
    """A study of five pictures: an odd number, so that its median is one of them."""
    who = one.whole._replace(pictures=one.whole.pictures.take(slice(1, 6)))
    return one._replace(whole=who, index=one.index[1:])


@pytest.fixture(scope="module")
def other(odd):
    """Another network with the same pictures."""
    return Subject(
        networks.load("basic_cnn", "shapes10"), odd.whole.pictures, "basic_cnn", "shapes10"
    )


def test_features_are_what_enters_the_output_layer(one, unchanged):
    images, model = batch(one.whole, slice(None)), one.whole.model
    expected = model[:-1](images).detach()
    with unchanged(model, images):  # hooks among them
        found = synthesis.features(one.whole, images)
    assert found.shape == (6, 256) and not found.requires_grad
    assert_close(found, expected, rtol=1e-5, atol=1e-5)
    model.train()
    try:
        assert torch.equal(synthesis.features(one.whole, images), found) and model.training
    finally:
        model.eval()


def test_features_of_a_network_that_begins_in_place_leave_the_pictures_alone(
    one, shifting, unchanged
):
    who, images = (
        one.whole._replace(model=shifting(one.whole.model)),
        (batch(one.whole, slice(None)) + 1) / 2,
    )
    with unchanged(who.model, images):
        assert_close(
            synthesis.features(who, images),
            synthesis.features(one.whole, batch(one.whole, slice(None))),
            rtol=1e-4,
            atol=1e-5,
        )


def test_features_are_flat_and_leave_no_hook_after_an_error(unchanged):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 2, 1),
        nn.Flatten(2),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
    ).eval()
    images, who = torch.rand(2, 3, 5, 5), Subject(net, None, "net", "none")
    assert torch.equal(synthesis.features(who, images), net[:2](images).detach().flatten(1))
    with unchanged(net), pytest.raises(ValueError, match="another number of channels"):
        synthesis.features(who, images[:, :2])


def test_features_of_a_network_of_another_layout_and_answer_are_those_of_its_twin(one):
    class Answering(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, images):
            value = self.body[0](images)
            value = value.view(len(value), -1).view_as(value)  # in the usual layout alone
            return {"logits": self.body[1:](value)}

    images, who = batch(one.whole, slice(None)), one.whole
    found = synthesis.features(who._replace(model=Answering(who.model)), images)
    assert_close(found, synthesis.features(who, images), rtol=1e-4, atol=1e-5)


def test_distances_by_hand():
    known = f64([[0, 0], [3, 4], [6, 8], [0, 1], [100, 100]])
    found = f64([[0, 0], [3, 4]])
    assert synthesis.neighbour_distances(found, known, 1).tolist() == pytest.approx([0, 0])
    assert synthesis.neighbour_distances(found, known, 2).tolist() == pytest.approx(
        [0.5, (0 + 18**0.5) / 2]
    )
    assert synthesis.neighbour_distances(found, known, 3).tolist() == pytest.approx(
        [2, (18**0.5 + 5) / 3]
    )


def test_distances_are_to_the_five_nearest_in_any_number_of_rows():
    known, found = (
        torch.randn(n, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
        for n in (30, 503)
    )
    away = np.sqrt(((found.numpy()[:, None] - known.numpy()) ** 2).sum(-1))
    np.testing.assert_allclose(
        synthesis.neighbour_distances(found, known).numpy(),
        np.sort(away, axis=1)[:, :5].mean(1),
        rtol=1e-9,
    )


def slow_shift(odd, training, other, gone):
    """Of pictures whose pixels `gone` [N,H,W] take the training pictures' mean colour, one by one:
    is the prediction the old one, is it right, how far has the picture moved?"""
    mean = training.pictures.images.double().mean((0, 2, 3))

    def inner(image):
        found = other.model[:-1](to_range(image[None], other.model))[0].detach().double().numpy()
        return found / np.sqrt((found**2).sum())

    known = np.stack([inner(image) for image in training.pictures.images])

    def nearest(image):
        return np.sort(np.sqrt(((known - inner(image)) ** 2).sum(1)))[:5].mean()

    untouched = [nearest(image) for image in odd.whole.pictures.images]
    same, right, moved = [], [], []
    for n, image in enumerate(odd.whole.pictures.images):
        altered = image.float()
        for i, j in gone[n].nonzero().tolist():
            altered[:, i, j] = mean.float()
        old, now = (
            odd.whole.model(to_range(x[None], odd.whole.model)).argmax().item()
            for x in (image, altered)
        )
        same.append(now == old)
        right.append(now == odd.whole.pictures.labels[n].item())
        moved.append((nearest(altered) - untouched[n]) / np.median(untouched))
    return same, right, moved


def check_shift(found, k, expected):
    same, right, moved = expected
    assert found["same"][k].tolist() == same and found["right"][k].tolist() == right
    assert found["moved"][k].tolist() == pytest.approx(
        moved, rel=2e-3, abs=1e-3
    )  # float16, and distances in float32


def test_shift_against_a_slow_reading(odd, training, other):
    fractions = (0.001, 0.1, 0.5)
    found = synthesis.shift(odd, training, other, "saliency", fractions)
    assert (
        found["right"].shape == found["same"].shape == found["moved"].shape == (3, 5)
        and found["right"].dtype == found["same"].dtype == torch.bool
    )
    maps = attribution.saliency(odd.whole.model, batch(odd.whole, slice(None))).sum(1)
    noisy = (
        maps + 1e-4 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))
    ).flatten(1)
    for k, fraction in enumerate(fractions):
        gone = (
            torch.zeros_like(noisy, dtype=torch.bool)
            .scatter(1, noisy.topk(round(fraction * 1024), dim=1).indices, True)
            .view_as(maps)
        )
        check_shift(found, k, slow_shift(odd, training, other, gone))
    assert (
        found["same"].any()
        and not found["same"].all()
        and not torch.equal(found["same"], found["right"])
    )  # the last picture is classified wrongly
    assert (found["moved"].abs() > 0.05).any()


@pytest.mark.parametrize("name", ["rectgrad", "random"])
def test_allegiance_to_the_mean_colour_pixel_by_pixel(name, odd, training, other):
    """The highest of the map that paper Sign sees take the colour, as long as they are not zero;
    the trapezoid by hand."""
    found = synthesis.shift(odd, training, other, name, (0.1,))["mean"]
    model = odd.whole.model
    mean = (training.pictures.images.double().mean((0, 2, 3)) / 127.5 - 1).float()
    maps = direct(odd.whole, name, "sign").flatten(1)
    for n in range(5):
        picture = batch(odd.whole, slice(n, n + 1))
        order = maps[n].argsort(descending=True).tolist()
        order = [place for place in order if maps[n, place] != 0]
        old, heights = model(picture).argmax(), []
        for fraction in PAPER_FRACTIONS:
            altered = picture.clone().flatten(2)
            altered[..., order[: round(fraction * 1024)]] = mean[:, None]
            heights.append(float(model(altered.view_as(picture)).argmax() == old))
        area = trapezoid(PAPER_FRACTIONS, heights)
        assert found[n].item() == pytest.approx(area, rel=1e-3)
    assert found.shape == (5,) and len(found.unique()) > 1


def test_shift_of_random_pixels_is_of_those_that_retrained_networks_lose(odd, training, other):
    """Picture by picture those of the whole split, in the first seed, 1."""
    found = synthesis.shift(odd, training, other, "random", (0.1, 0.6))
    split = Dataset(
        "shapes10",
        "test",
        torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(2000, 3, 32, 32),
        torch.zeros(2000),
        shapes10.CLASSES,
        "made",
    )
    for k, fraction in enumerate((0.1, 0.6)):
        gone = retraining.pixels_gone(
            {"method": "random", "mode": "roar", "fraction": fraction, "seed": 1},
            split,
            lambda: pytest.fail("random pixels have no ranks"),
        )[odd.index]
        check_shift(found, k, slow_shift(odd, training, other, gone))


@pytest.mark.parametrize("count, side", [(10_000, 32), (3_000, 5)])
def test_random_pixels_of_some_pictures_are_those_of_the_whole_split(count, side):
    """However many follow: the numbers of the first pictures do not depend on them."""
    pictures = Dataset(
        "whole",
        "test",
        torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(count, 3, side, side),
        torch.zeros(count),
        ("a",),
        "made",
    )
    index = torch.tensor([0, 3, count // 7, 1, count // 2])
    some = pictures.images[index]
    for fraction in (0.1, 0.7):
        whole = retraining.pixels_gone(
            {"method": "random", "mode": "roar", "fraction": fraction, "seed": 1}, pictures, None
        )
        found = synthesis.random_pixels(index, some, fraction)
        assert (
            found.shape == (5, side, side)
            and torch.equal(found, whole[index])
            and abs(found.double().mean() - fraction) < 0.2
        )
    last = torch.tensor([count - 1] * 5)
    assert torch.equal(synthesis.random_pixels(last, some, 0.7), whole[last])


def test_random_pixels_are_those_of_a_retraining_itself(odd, training, drawn, monkeypatch):
    """The first cell of the grid's random baseline, run without its training."""
    monkeypatch.setattr(
        retraining,
        "explained_subjects",
        lambda *_: {"train": training, "test": odd.whole._replace(pictures=drawn)},
    )
    monkeypatch.setattr(trainer, "fit", lambda *_, **__: None)
    seen, original = {}, retraining.pixels_gone
    monkeypatch.setattr(
        retraining,
        "pixels_gone",
        lambda p, pictures, places: seen.setdefault(pictures.split, original(p, pictures, places)),
    )
    first = next(
        c.parameters
        for c in retraining.everything(dataset="shapes10")
        if (c.parameters["method"], c.parameters["mode"], c.parameters["fraction"])
        == ("random", "roar", 0.3)
    )
    retraining.retrain(first)
    assert len(seen["test"]) == 100 and torch.equal(
        synthesis.random_pixels(odd.index, odd.whole.pictures.images, 0.3), seen["test"][odd.index]
    )


def test_nothing_removed_is_no_shift(odd, training, other):
    found = synthesis.shift(odd, training, other, "saliency", (0.0,))
    assert found["moved"].tolist() == [[0] * 5] and found["same"].all()
    with torch.no_grad():
        right = (
            odd.whole.model(batch(odd.whole, slice(None))).argmax(1) == odd.whole.pictures.labels
        )
    assert torch.equal(found["right"][0], right) and not right.all()


def test_a_stored_shift_is_computed_once(odd, training, other, cached, monkeypatch):
    first = synthesis.shift(keeping(odd), training, other, "saliency", (0.1, 0.5))
    parameters, rows = (cells.of("shift")[0][k] for k in ("parameters", "rows"))
    assert (
        parameters["fractions"] == [0.1, 0.5]
        and parameters["training"] == training.identity
        and parameters["witness"] == other.identity
    )
    assert parameters["name"] == "saliency" and odd.whole.identity.items() <= parameters.items()
    assert [r["fraction"] for r in rows] == [0.1, 0.5] and all(
        [r[k] for r in rows] == first[k].double().mean(1).tolist() for k in ("same", "right")
    )
    assert [r["moved"] for r in rows] == pytest.approx(
        first["moved"].mean(1).tolist(), rel=1e-3, abs=1e-4
    )
    monkeypatch.setattr(synthesis, "features", lambda *_: pytest.fail("computed again"))
    again = synthesis.shift(keeping(odd), training, other, "saliency", (0.1, 0.5))
    assert set(again) == set(first) == {"mean", "same", "right", "moved"} and all(
        torch.equal(again[k], first[k]) for k in first
    )
    changed = copy.deepcopy(other.model)
    response.redraw_weights(changed[-1], torch.Generator().manual_seed(0))
    fewer = training._replace(pictures=training.pictures.take(slice(0, 10)))
    for options in (
        (training, other, "rectgrad", (0.1, 0.5)),
        (training, other, "saliency", (0.1,)),
        (fewer, other, "saliency", (0.1, 0.5)),
        (training, other._replace(model=changed), "saliency", (0.1, 0.5)),
    ):
        with pytest.raises(pytest.fail.Exception):
            synthesis.shift(keeping(odd), *options)


def test_a_shift_leaves_networks_and_pictures_alone(odd, training, other):
    models, datasets = (odd.whole.model, other.model), (odd.whole.pictures, training.pictures)

    def state():
        return (
            [networks.fingerprint(model) for model in models],
            [hash(pictures.images.numpy().tobytes()) for pictures in datasets],
        )

    before = state()
    synthesis.shift(odd, training, other, "saliency", (0.1,))
    assert state() == before and not any(
        module._forward_hooks or module.training for module in other.model.modules()
    )


def test_a_witness_is_another_network_with_the_studys_pictures(small):
    one = synthesis.study("shapes10", "rectgrad_cnn", count=12, held_out=True)
    seen = synthesis.witness(one, "basic_cnn")
    assert (
        torch.equal(seen.pictures.images, one.whole.pictures.images)
        and torch.equal(seen.pictures.labels, one.whole.pictures.labels)
        and (seen.model_name, seen.weights) == ("basic_cnn", "shapes10")
    )
    assert networks.fingerprint(seen.model) == networks.fingerprint(
        networks.load("basic_cnn", "shapes10")
    )


def test_distance_is_taken_in_the_features_of_the_witness(odd, other, training):
    """The witness's own range of pixels, five of its own pictures to scale with."""
    far = synthesis.distance_from(other, training.pictures.images)
    own = synthesis.neighbour_distances(
        *(
            torch.nn.functional.normalize(
                synthesis.features(other, to_range(x, other.model)), dim=1
            )
            for x in (odd.whole.pictures.images, training.pictures.images)
        )
    )
    assert (other.model.black, other.model.white) != (odd.whole.model.black, odd.whole.model.white)
    assert_close(far(odd.whole.pictures.images), own / own.sort().values[2])
    assert far(odd.whole.pictures.images).median() == 1


# ---- what a map costs


@pytest.fixture
def clock(monkeypatch):
    """A clock that runs only while maps are made: by the cost of the method times the pictures, the
    first time ten times longer."""
    now, calls, cost = [0.0], [], {"saliency": 0.5, "rectgrad": 1.0, "active": 4.0}

    def maps(who, name):
        calls.append((name, len(who.pictures)))
        turn = [n for n, _ in calls].count(name)
        slowness = 1
        if turn == 1:
            slowness = 10
        elif turn > 5:  # the last turns meet a busy machine
            slowness = 3
        now[0] += cost[name] * len(who.pictures) * slowness

    monkeypatch.setattr(synthesis, "maps_both_ways", maps)
    monkeypatch.setattr(synthesis, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    return calls


def test_seconds_by_a_known_clock(one, clock):
    found = synthesis.seconds(one.whole, ("active", "rectgrad"), pictures=4, repeats=5)
    assert (
        found["name"].tolist() == ["active", "rectgrad"]
        and clock == [("saliency", 4), ("active", 4), ("rectgrad", 4)] * 6
    )  # in turns
    assert found[["seconds", "low", "high", "gradients"]].values.tolist() == [
        [4.0, 4.0, 4.0, 8.0],
        [1.0, 1.0, 1.0, 2.0],
    ]


def test_quartiles_of_seconds(one, clock):
    found = synthesis.seconds(one.whole, ("saliency",), pictures=99, repeats=7).iloc[
        0
    ]  # the fifth of the turns that count is the first slow one
    assert clock == [("saliency", 6)] * 8 and (
        found["seconds"],
        found["low"],
        found["high"],
        found["gradients"],
    ) == (0.5, 0.5, 1.5, 1.0)


def test_stored_seconds_are_measured_once(one, cached, monkeypatch):
    first = synthesis.seconds(keeping(one.fewer), ("saliency", "positive"), pictures=2, repeats=1)
    assert (first["seconds"] > 0).all() and first["gradients"][0] == 1
    assert cells.of("seconds")[0]["provenance"]["threads"] == torch.get_num_threads()
    monkeypatch.setattr(synthesis, "maps_both_ways", lambda *_: pytest.fail("measured again"))
    assert synthesis.seconds(
        keeping(one.fewer), ("saliency", "positive"), pictures=2, repeats=1
    ).equals(first)


# ---- what a chapter asks for


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"methods": ["saliency", "positive", "active"]}, "at least four"),
        ({"methods": ["saliency", "positive", "active", "nothing"]}, "unknown method 'nothing'"),
        ({"new": ["rectgrad_positive"]}, "'rectgrad' is one"),
        ({"retrain": ["deeplift"], "fractions": [0.1, 0.3]}, "'deeplift' is not among"),
        ({"retrain": ["random"], "fractions": [0.3, 0.1]}, "ascending"),
        ({"protocol": "fast"}, "unknown protocol 'fast'"),
    ],
)
def test_parameters_are_refused_before_long_work(arguments, word):
    four = ["saliency", "positive", "active", "negative"]
    synthesis.check_parameters(four, retrain=["random"], fractions=[0.1, 0.3])
    with pytest.raises(ValueError, match=word):
        synthesis.check_parameters(**{"methods": four, **arguments})


def test_a_method_that_cannot_read_the_network_is_refused(monkeypatch):
    asked = []
    monkeypatch.setattr(
        synthesis, "maps_both_ways", lambda one, name: asked.append((one.stored, name))
    )

    class One:
        def take(self, places):
            assert places == slice(0, 1)
            return self

        def _replace(self, stored):
            self.stored = stored
            return self

    study = synthesis.Study(One(), None, None, None, None)
    synthesis.check_maps([study], ["saliency", "rectgrad"])
    assert asked == [(False, "saliency"), (False, "rectgrad")]


def test_two_settings_are_of_two_networks(monkeypatch):
    class Named:
        def __init__(self, label):
            self.label = label

    def study(dataset, model, weights, held_out=False, **options):
        asked.append((held_out, options))
        return synthesis.Study(Named(f"{model}, {dataset}"), None, None, None, None)

    asked = []
    monkeypatch.setattr(synthesis, "study", study)
    one, other = ("a", "net", "auto", 5, 2), ("b", "net", "auto", 6, 3)
    (own, twin), _ = synthesis.studies([one, other], held_out=True, size=8)
    assert own.whole.label == "net, a" and [held for held, _ in asked] == [False, True] * 2
    assert asked[2][1] == {"count": 6, "few": 3, "size": 8, "stored": False}
    (own, twin), *_ = synthesis.studies([one])
    assert own is twin
    with pytest.raises(ValueError, match="are the first ones"):
        synthesis.studies([one, one])


def test_stored_networks_are_those_of_one_protocol(monkeypatch):
    """Baselines under a threshold are left out, whole pictures are not; areas are of maps."""
    right = np.ones((len(retraining.FRACTIONS), 3), bool)
    stored = {
        ("saliency", "roar", 1): right,
        ("thresholded:saliency", "roar", 1): right,
        ("edges", "roar", 1): ~right,
        ("none", "none", 1): right[:1],
    }
    asked = []
    monkeypatch.setattr(
        retraining_tables, "flags", lambda protocol, *rest: asked.append(protocol) or stored
    )
    found = synthesis.retrained_networks(
        "shapes10", "rectgrad_cnn", retrain=[], fractions=[0.5], protocol="full"
    )
    assert asked == [retraining.FULL] and found.tested is None
    assert set(found.flags) == {k for k in stored if not k[0].startswith("thresholded")}
    assert found.fractions == retraining.FRACTIONS
    areas = synthesis.areas_after_retraining(found, ["saliency"])
    assert list(areas["roar"]) == ["saliency"] and areas["roar"]["saliency"].shape == (1, 3)
    assert synthesis.areas_after_retraining(found._replace(flags={}), ["saliency"]) == {}


def test_networks_retrained_on_the_spot_are_tested_on_what_the_split_gives(monkeypatch):
    """As many test pictures as training ones, at their places in the split."""
    monkeypatch.setattr(retraining, "plan", lambda *rest, **options: [(rest, options)])
    monkeypatch.setattr(retraining, "contents", lambda planned: planned)
    monkeypatch.setattr(retraining_tables, "curves_of", lambda made, fractions: {"made": made})
    found = synthesis.retrained_networks(
        "shapes10",
        "rectgrad_cnn",
        retrain=["random"],
        fractions=[0.3, 0.7],
        protocol="quick",
        count=7,
    )
    ((rest, options),) = found.flags["made"]
    assert rest == ("shapes10", "rectgrad_cnn", "auto") and options["count"] == 7
    assert options["protocol"] == retraining.PROTOCOLS["quick"]
    every = sources.load("shapes10", "test").images
    assert torch.equal(found.whole.pictures.images, every[found.tested])


def test_share_that_a_map_keeps():
    numbers = {"a": {"kept": {"rectgrad": torch.tensor([[0.1, 0.3]])}}, "b": {}}
    assert synthesis.share_kept(numbers, "rectgrad") == {"a": pytest.approx(0.2)}


def test_costs_are_those_of_kept_results(monkeypatch):
    class Asked:
        def __init__(self, stored):
            self.stored = stored

    monkeypatch.setattr(synthesis, "seconds", lambda studied, names: names)
    found = synthesis.costs([Asked(True), Asked(False)], ["kept", "not"], ["saliency"])
    assert found == {"kept": ["saliency"]}
