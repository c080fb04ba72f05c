"""study.experiments.cleanliness: paper Noise's maps and quantities.

They are worked by hand, read slowly with NumPy, or taken from the kernels directly.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lib import attribution, metrics
from study.experiments import cleanliness
from study.experiments.cleanliness import COMPARED, RECTGRAD, SHOWN, TREATMENTS
from study.store import cells, stamps
from study.subjects import sources
from study.subjects.pictures import Dataset, to_range
from study.subjects.subject import Subject, batch
from tests.refusal import refused
from tests.study.keeping import keeping

pytestmark = pytest.mark.usefixtures("one_thread")


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def make(count=12, seed=0) -> Subject:
    """A small network with random weights on random pictures of 12x12 pixels in three classes.

    The object is a square.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 3),
        ).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.4)
    model.black, model.white = -1.0, 1.0
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (count, 3, 12, 12), generator=generator).to(torch.uint8)
    with torch.no_grad():  # no class is everyone's
        model[-1].bias -= model(to_range(images, model)).mean(0)
    masks = torch.zeros(count, 12, 12, dtype=torch.bool)
    masks[:, 3:9, 4:10] = True
    return Subject(
        model,
        Dataset(
            "toy", "test", images, torch.arange(count) % 3, ("ant", "bee", "cat"), "made", masks
        ),
        "net",
        "random",
    )


@pytest.fixture(scope="module")
def who(one_thread):
    return make()


@pytest.fixture(scope="module")
def images(who):
    return batch(who, slice(None))


@pytest.fixture(scope="module")
def found(who):
    """The maps of all compared methods."""
    return {m: cleanliness.maps(who, m) for m in COMPARED}


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Maps and cells of their own; returns the folder of the maps."""
    monkeypatch.setattr(sources, "CACHE", tmp_path)
    monkeypatch.setattr(cells, "CACHE", tmp_path)
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    return tmp_path / "maps"


# ---- which methods, and their maps


def test_the_methods_of_the_papers_figures():
    assert set(COMPARED) <= set(SHOWN) <= set(attribution.METHODS)
    assert len(COMPARED) == 8
    assert len(SHOWN) == 9
    assert (
        set(COMPARED) - set(RECTGRAD)
        == set(cleanliness.BASELINES)
        == set(SHOWN) - {"epsilon_lrp", *RECTGRAD}
    )
    assert {m: attribution.label(m) for m in ("rectgrad", "saliency")} == {
        "rectgrad": "RectGrad",
        "saliency": "Saliency map",
    }


@pytest.mark.parametrize("method", ["saliency", "guided_backprop", "input_x_gradient", "deeplift"])
def test_a_map_is_the_signed_sum_over_the_channels(method, who, images):
    assert_close(
        cleanliness.channel_sums(who, method, images),
        attribution.METHODS[method].function(who.model, images).sum(1),
    )


@pytest.mark.parametrize("method", RECTGRAD)
def test_rectgrad_comes_without_its_final_threshold(method, who, images):
    function = attribution.METHODS[method].function
    sums = cleanliness.channel_sums(who, method, images)
    assert (sums < 0).any()
    assert torch.equal(sums, function(who.model, images, final_threshold=False).sum(1))
    # unless it is asked for
    assert torch.equal(
        cleanliness.channel_sums(who, method, images, final_threshold=True),
        function(who.model, images).sum(1),
    )
    assert torch.equal(
        cleanliness.channel_sums(who, method, images, 1, q=40.0),
        function(who.model, images, 1, q=40.0, final_threshold=False).sum(1),
    )


def test_active_maps_stay_what_paper_sign_made_them(who, images):
    assert torch.equal(
        cleanliness.channel_sums(who, "active", images),
        attribution.active(who.model, images).abs().amax(1),
    )


@pytest.mark.parametrize("batch_size", [1, 5, 250])
def test_maps_are_of_every_picture_for_its_own_prediction(batch_size, who, images):
    predicted = who.model(images).argmax(1)
    assert predicted.unique().numel() >= 2
    for method in ("saliency", "rectgrad"):
        assert_close(
            cleanliness.maps(who, method, batch_size=batch_size),
            cleanliness.channel_sums(who, method, images, predicted),
            rtol=1e-4,
            atol=1e-6,
        )


# ---- stored maps


def counted(monkeypatch) -> list[int]:
    """The number of pictures of each call of `channel_sums` from now on."""
    calls, original = [], cleanliness.channel_sums

    def counting(who, method, images, *rest, **options):
        calls.append(len(images))
        return original(who, method, images, *rest, **options)

    monkeypatch.setattr(cleanliness, "channel_sums", counting)
    return calls


def test_stored_maps_are_computed_once_in_pieces(who, cached, monkeypatch):
    monkeypatch.setattr(cleanliness, "CHUNK", 5)
    calls = counted(monkeypatch)
    first = cleanliness.maps(keeping(who), "saliency")
    assert calls == [5, 5, 2]
    assert torch.equal(first, cleanliness.maps(who, "saliency", batch_size=5))
    assert len(list(cached.iterdir())) == 3
    assert not [f for f in cached.iterdir() if "part" in f.name]
    del calls[:]
    assert torch.equal(cleanliness.maps(keeping(who), "saliency"), first) and calls == []
    next(cached.glob("*-5.npy")).unlink()
    assert torch.equal(cleanliness.maps(keeping(who), "saliency"), first) and calls == [5]


def test_stored_maps_go_on_where_they_were_stopped(who, cached, monkeypatch):
    monkeypatch.setattr(cleanliness, "CHUNK", 5)
    original, left = cleanliness.channel_sums, [2]

    def stopping(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cleanliness, "channel_sums", stopping)
        cleanliness.maps(keeping(who), "saliency")
    assert sorted(f.name.rsplit("-")[-1] for f in cached.iterdir()) == ["0.npy", "5.npy"]
    calls = counted(monkeypatch)
    result = cleanliness.maps(keeping(who), "saliency")
    assert calls == [2] and torch.equal(result, cleanliness.maps(who, "saliency", batch_size=5))


def test_stored_maps_never_pass_for_those_of_another_subject(who, cached, monkeypatch):
    cleanliness.maps(keeping(who), "saliency")
    calls = counted(monkeypatch)
    others = [
        make(seed=1),
        who._replace(pictures=who.pictures.take(slice(0, 11))),
        who.altered(images=255 - who.pictures.images),
    ]
    for other in others:
        assert torch.equal(
            cleanliness.maps(keeping(other), "saliency"), cleanliness.maps(other, "saliency")
        )
    cleanliness.maps(keeping(who), "guided_backprop")
    assert calls == [12, 12, 11, 11, 12, 12, 12] and len(list(cached.iterdir())) == 5
    monkeypatch.setattr(stamps, "code", lambda function: "other code")
    cleanliness.maps(keeping(who), "saliency")
    assert len(calls) == 8


# ---- treatments, by hand on maps of 4x5 pixels

# the 95th percentile lies .05 above the last but one of the twenty values

RISING = f64(range(1, 21)).view(4, 5)  # 95th percentile 19.05
FALLING = -RISING  # -1.95
FEW = torch.where(RISING > 18, RISING - 19.5, 0)  # eighteen zeros, -.5, .5: the percentile is 0
BASELINES = torch.stack([RISING, FALLING, FEW])


@pytest.mark.parametrize("method", ["saliency", "rectgrad"])
def test_treatment_none_leaves_maps_alone(method):
    assert torch.equal(cleanliness.treat(method, BASELINES, "none"), BASELINES)


@pytest.mark.parametrize("method", RECTGRAD)
@pytest.mark.parametrize("treatment", ["released", "matched"])
def test_of_rectgrad_the_positive_part_is_taken(method, treatment):
    assert torch.equal(
        cleanliness.treat(method, BASELINES, treatment),
        torch.stack([RISING, 0 * RISING, torch.where(FEW > 0, FEW, 0)]),
    )


def test_released_threshold_by_hand():
    rising, falling, few = cleanliness.treat("saliency", BASELINES, "released")
    # below a positive percentile there is nothing
    assert rising.flatten().tolist() == [0.0] * 19 + [20.0]
    # below a negative one everything is raised to it, and stays
    assert_close(falling.flatten(), f64([-1.0] + [-1.95] * 19))
    assert few.flatten().tolist() == [0.0] * 19 + [0.5]
    constant = torch.full((1, 4, 5), 3.0, dtype=torch.float64)
    assert_close(cleanliness.treat("saliency", constant, "released"), constant)


@pytest.mark.parametrize("shift", [0, 1, -1, -5])
def test_released_threshold_against_the_released_steps(shift):
    """Clip to the 95th and 100th percentile.

    Where the lower is positive, what is at or below it and was clipped becomes 0.
    """
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(6, 7, 9, generator=generator, dtype=torch.float64) + shift
    treated = cleanliness.treat("integrated_gradients", maps, "released")
    for values, result in zip(maps.numpy(), treated.numpy(), strict=True):
        low, high = np.percentile(values, [95, 100])
        clipped = np.clip(values, low, high)
        if low > 0:
            clipped[values < low] = 0
        np.testing.assert_allclose(result, clipped, rtol=0, atol=1e-12)


def test_matched_sparsity_by_hand():
    rising, falling, few = cleanliness.treat(
        "saliency", BASELINES, "matched", torch.tensor([3, 2, 0])
    )
    assert rising.flatten().tolist() == [0.0] * 17 + [18, 19, 20]
    # the largest, not the largest in size
    assert falling.flatten().tolist() == [-1, -2] + [0.0] * 18
    assert not few.any()


def test_matched_sparsity_keeps_exactly_as_many():
    maps = torch.randn(5, 8, 6, generator=torch.Generator().manual_seed(2))
    keep = torch.tensor([0, 1, 7, 47, 48])
    kept = cleanliness.treat("saliency", maps, "matched", keep)
    assert (kept != 0).flatten(1).sum(1).tolist() == keep.tolist() and torch.equal(kept[4], maps[4])
    for n in range(5):
        largest = sorted(maps[n].flatten().tolist())[48 - keep[n] :]
        assert sorted(kept[n][kept[n] != 0].tolist()) == largest


def test_treated_takes_every_method_in_order(who, found, monkeypatch):
    monkeypatch.setattr(cleanliness, "maps", lambda *_, **__: pytest.fail("computed again"))
    for treatment in TREATMENTS:
        result = cleanliness.treated(who, treatment, untreated=found)
        assert tuple(result) == COMPARED
        keep = (found["rectgrad"] > 0).flatten(1).sum(1)
        for method in COMPARED:
            assert torch.equal(
                result[method], cleanliness.treat(method, found[method], treatment, keep)
            )
    matched = cleanliness.treated(
        who, "matched", ("deeplift", "rectgrad", "saliency"), untreated=found
    )
    assert tuple(matched) == ("deeplift", "rectgrad", "saliency")
    counts = {m: (f != 0).flatten(1).sum(1).tolist() for m, f in matched.items()}
    assert counts["saliency"] == counts["rectgrad"] == counts["deeplift"]
    assert 0 < max(counts["rectgrad"]) < 144


def test_treated_asks_rectgrad_how_many_although_it_is_not_named(who, found):
    result = cleanliness.treated(who, "matched", ("saliency",))
    assert tuple(result) == ("saliency",)
    assert (result["saliency"] != 0).sum() == (found["rectgrad"] > 0).sum()


# ---- the three quantities


def test_the_corner_is_eight_by_eight():
    maps = torch.zeros(3, 12, 12)
    maps[0, :8, :8] = -0.5
    maps[1, 8:], maps[1, :, 8:] = 7.0, 7.0
    maps[2, 7, 7], maps[2, 8, 8] = 2.0, 5.0
    assert cleanliness.in_corner(maps).tolist() == [32.0, 0.0, 2.0]


def test_amounts_of_one_map_by_hand():
    maps, masks = torch.zeros(2, 12, 12), torch.zeros(2, 12, 12, dtype=torch.bool)
    maps[0, 2, 3] = -3.0
    maps[0, 9, 10] = 1.0
    masks[0, 9] = True
    for measure, whole, part in (
        ("patch", 3.0, 0.75),
        ("outside", 3.0, 0.75),
        ("variation", 16.0, 4.0),
    ):
        assert cleanliness.amount(measure, maps, masks, False).tolist() == [whole, 0.0]
        # a map of zeros has no share, and is no NaN
        assert cleanliness.amount(measure, maps, masks, True).tolist() == [part, 0.0]


@pytest.mark.parametrize("measure", ["patch", "outside", "variation"])
def test_a_share_does_not_depend_on_scale_and_a_sum_does(measure, who, found):
    maps = found["saliency"]
    sums = cleanliness.amount(measure, maps, who.pictures.masks, False)
    shares = cleanliness.amount(measure, maps, who.pictures.masks, True)
    assert sums.shape == shares.shape == (12,)
    assert_close(cleanliness.amount(measure, -4 * maps, who.pictures.masks, False), 4 * sums)
    assert_close(cleanliness.amount(measure, -4 * maps, who.pictures.masks, True), shares)
    assert_close(shares * maps.abs().sum((1, 2)), sums)


def test_spread_against_numpy():
    values = torch.randn(40, generator=torch.Generator().manual_seed(5)).exp()
    result, numbers = cleanliness.spread(values), values.double().numpy()
    assert result["n"] == 40 and result["mean"] == pytest.approx(numbers.mean(), abs=1e-12)
    assert [result[k] for k in ("p5", "q25", "median", "q75", "p95")] == pytest.approx(
        np.percentile(numbers, [5, 25, 50, 75, 95]), abs=1e-12
    )
    assert (result["low"], result["high"]) == metrics.median_interval(values)
    assert (
        result["mean_low"],
        result["mean_high"],
    ) == metrics.bootstrap(values)
    assert result["low"] < result["median"] < result["high"]
    assert result["mean_low"] < result["mean"] < result["mean_high"]


@pytest.mark.parametrize("measure", ["patch", "outside", "variation"])
def test_amounts_are_a_row_for_every_method_treatment_and_scale(measure, who, found):
    table = cleanliness.amounts(who, measure)
    rows = list(zip(table["treatment"], table["method"], table["share"], strict=True))
    assert rows == [(t, m, s) for t in TREATMENTS for m in COMPARED for s in (False, True)]
    for row in table.to_dict("records"):
        maps = cleanliness.treated(who, row["treatment"], untreated=found)[row["method"]]
        values = cleanliness.amount(measure, maps, who.pictures.masks, row["share"]).double()
        assert row["mean"] == pytest.approx(values.mean().item(), rel=1e-5)
        assert row["median"] == pytest.approx(values.quantile(0.5).item(), rel=1e-5, abs=1e-9)
        assert row["n"] == 12
        assert row["kept"] == pytest.approx((maps != 0).double().mean().item(), abs=1e-9)
    matched = table[table["treatment"] == "matched"]
    matched = matched.drop_duplicates("method").set_index("method")["kept"]
    assert (matched.drop("rectgrad_prr") == matched["rectgrad"]).all()


def test_stored_amounts_are_computed_once(who, cached, monkeypatch):
    first = cleanliness.amounts(keeping(who), "patch")
    monkeypatch.setattr(cleanliness, "maps", lambda *_, **__: pytest.fail("computed again"))
    again = cleanliness.amounts(keeping(who), "patch")
    assert first.equals(again)
    parameters = cells.of("amounts")[0]["parameters"]
    assert parameters["measure"] == "patch"
    assert who.identity.items() <= parameters.items()
    with pytest.raises(pytest.fail.Exception):
        cleanliness.amounts(keeping(who), "variation")


# ---- which pictures


def test_only_correctly_classified_pictures_stay(who, images):
    right = who.model(images).argmax(1) == who.pictures.labels
    assert 0 < right.sum() < 12
    for batch_size in (1, 5, 250):
        chosen = cleanliness.recognised(who, batch_size)
        assert torch.equal(chosen.pictures.images, who.pictures.images[right])
        assert torch.equal(chosen.pictures.masks, who.pictures.masks[right])
        assert chosen.model is who.model
        assert torch.equal(chosen.pictures.labels, who.pictures.labels[right])


def test_as_many_of_every_class():
    labels = torch.tensor([0] * 9 + [1] * 2 + [2] * 5)
    pictures = Dataset(
        "toy",
        "test",
        torch.arange(16, dtype=torch.uint8).view(16, 1, 1, 1).expand(16, 3, 2, 2),
        labels,
        ("a", "b", "c"),
        "made",
    )
    who = Subject(None, pictures, "net", "none")
    drawn = [cleanliness.per_class(who, 3, seed).pictures for seed in range(30)]
    for chosen in drawn:
        assert chosen.labels.tolist() == [0] * 3 + [1] * 2 + [2] * 3
        places = chosen.images[:, 0, 0, 0].tolist()
        assert places == sorted(places) and len(set(places)) == 8
    assert set(torch.cat([chosen.images[:, 0, 0, 0] for chosen in drawn]).tolist()) == set(
        range(16)
    )
    assert torch.equal(cleanliness.per_class(who, 3).pictures.images, drawn[0].images)
    assert len({tuple(d.images[:, 0, 0, 0].tolist()) for d in drawn}) > 5


# ---- tables of what was measured


@pytest.mark.parametrize("measure", ["outside", "variation"])
def test_edges_are_treated_as_a_baseline(measure, who, images):
    edges = attribution.crosses.edges(images, torch.Generator())
    keep = (cleanliness.maps(who, "rectgrad") > 0).flatten(1).sum(1)
    found = cleanliness.edge_amounts(who, measure).set_index(["treatment", "share"])
    for treatment in TREATMENTS:
        kept = cleanliness.treat("edges", edges, treatment, keep)
        for share in (False, True):
            value = cleanliness.amount(measure, kept, who.pictures.masks, share)
            row = found.loc[(treatment, share)]
            assert row["mean"] == pytest.approx(value.double().mean().item())
            assert row["kept"] == pytest.approx((kept != 0).double().mean().item())
    both = cleanliness.amounts_and_edges(who, measure)
    assert list(dict.fromkeys(both["method"])) == [*COMPARED, "edges"]


def test_edges_of_an_unknown_measure_are_refused(who):
    with pytest.raises(ValueError, match="unknown measure 'size'"):
        cleanliness.edge_amounts(who, "size")


def test_the_background_covers_what_the_mask_leaves(who):
    assert cleanliness.background_area(who) == pytest.approx(1 - 36 / 144)


def shares_of(values: dict, share=True, treatment="matched", statistic="mean"):
    other = {"mean": "median", "median": "mean"}[statistic]
    rows = [
        {"method": m, "treatment": treatment, "share": share, statistic: v, other: 9.0, "n": 5}
        for m, v in values.items()
    ]
    return pd.DataFrame(rows)


def test_the_least_on_the_background_by_hand():
    values = dict(
        zip([*COMPARED, "edges"], (0.3, 0.2, 0.5, 0.6, 0.1, 0.7, 0.8, 0.9, 0.4), strict=True)
    )
    sums = shares_of(dict.fromkeys(values, 0.0), share=False)
    found = cleanliness.least_on_background({"net": pd.concat([shares_of(values), sums])})
    assert found.iloc[0].to_dict() == {
        "network": "net",
        "treatment": "matched",
        "n": 5,
        "rectgrad": 0.3,
        "rectgrad_prr": 0.2,
        "edges": 0.4,
        "baseline": 0.1,
        "which": COMPARED[4],
    }


def test_side_by_side_takes_equal_sparsity_and_the_right_statistic():
    mean, median = {"a": 0.4, "b": 0.1}, {"a": 0.02, "b": 0.03}
    other = shares_of({"a": 7.0, "b": 7.0}, treatment="released")
    outside = pd.concat([other, shares_of(mean)])
    patch = shares_of(mean).assign(median=list(median.values()))
    variation = pd.concat(
        [shares_of({"a": 50.0, "b": 60.0}, False, statistic="median"), shares_of(mean)]
    )
    found = cleanliness.side_by_side(outside, patch, variation)
    assert list(found["method"]) == ["b", "a"]
    assert found.iloc[0].tolist() == ["b", 0.1, 0.1, 0.03, 60.0, 9.0]


def test_pictures_without_masks_are_refused_at_once_where_they_are_asked_for(who, monkeypatch):
    bare = who.altered(masks=None)
    assert set(cleanliness.amounts(bare, "variation", methods=["saliency"])["n"]) == {12}
    monkeypatch.setattr(cleanliness, "maps", lambda *_: pytest.fail("long work"))
    refused(lambda: cleanliness.background_area(bare), "have no masks", "shapes10")
    refused(lambda: cleanliness.amounts(bare, "outside"), "have no masks", "shapes10")
    refused(lambda: cleanliness.edge_amounts(bare, "outside"), "have no masks", "shapes10")
