"""study.experiments.deletion: every table against another way to get it.

The kernels called directly, numbers worked by hand, or a slow reading; stored results are computed
once.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from lib import attribution, metrics
from lib.metrics import PAPER_FRACTIONS
from study.experiments import deletion, synthesis
from study.experiments.deletion import FILLS, MAPS, MATCHED, STRENGTHS
from study.store import cells
from study.subjects import networks, shapes10, sources
from study.subjects import subject as subject_module
from study.subjects.pictures import Dataset, to_range
from study.subjects.subject import Subject, subject
from tests.refusal import refused
from tests.study.keeping import keeping

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS = [(name, fill) for name in MAPS for fill in FILLS]


def make(black=0.0, white=1.0, count=20, seed=1) -> Subject:
    """basic_cnn with random weights on drawn pictures.

    The weights are scaled up and centred so that it predicts several classes.
    """
    pictures = shapes10.draw("test", count=count)
    model = networks.load("basic_cnn", classes=pictures.classes, seed=seed)
    model.black, model.white = black, white
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1.7
        model[-1].bias -= model(to_range(pictures.images, model)).mean(0)
    return Subject(model, pictures, "basic_cnn", "random")


@pytest.fixture(scope="module")
def who(one_thread):
    made = make()
    with torch.no_grad():
        predicted = made.model(to_range(made.pictures.images, made.model)).argmax(1)
    assert predicted.unique().numel() >= 4
    return made


@pytest.fixture(scope="module")
def images(who):
    return to_range(who.pictures.images, who.model)


@pytest.fixture(scope="module")
def maps(who, images):
    return attribution.signed_maps(who.model, images)._asdict()


@pytest.fixture(scope="module")
def flags(who):
    return deletion.allegiances(who)


@pytest.fixture(scope="module")
def scores(who):
    return deletion.score_curves(who)


@pytest.fixture(scope="module")
def soft(who):
    return deletion.soft_replacement(who, (0.25, 1.0))


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Cells of their own; returns the folder."""
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    return tmp_path / "results"


# ---- the parts


def test_the_papers_maps_and_their_fills():
    assert MAPS == ("original", "positive", "negative", "active", "inactive")
    assert FILLS == (
        "black",
        "white",
    )
    assert MATCHED == {
        "black": ("original", "positive", "active"),
        "white": ("original", "negative", "inactive"),
    }


@pytest.mark.parametrize("batch_size", [7, 20, 256])
def test_predictions_and_maps_do_not_depend_on_the_batch(batch_size, who, images, maps):
    with torch.no_grad():
        assert torch.equal(deletion.predictions(who, batch_size), who.model(images).argmax(1))
    found = deletion.signed_maps(who, batch_size)
    assert list(found) == list(MAPS)
    for name in MAPS:
        assert_close(found[name], maps[name], rtol=1e-4, atol=1e-7)


def test_accuracy_by_hand(who):
    right = int((deletion.predictions(who) == who.pictures.labels).sum())
    interval = scipy.stats.binomtest(right, 20).proportion_ci(0.95, method="wilson")
    row = deletion.accuracy(who)
    assert (row["right"], row["accuracy"]) == (right, right / 20)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=1e-6)
    perfect = who._replace(
        pictures=Dataset(
            "toy",
            "test",
            who.pictures.images,
            deletion.predictions(who),
            who.pictures.classes,
            "made",
        )
    )
    assert deletion.accuracy(perfect)["accuracy"] == 1


# ---- the gallery


def test_the_gallery_is_one_correct_picture_a_class(who):
    predicted = deletion.predictions(who)
    # a third is wrong
    labels = torch.where(torch.arange(20) % 3 == 0, (predicted + 1) % 10, predicted)
    some = who._replace(
        pictures=Dataset("toy", "test", who.pictures.images, labels, who.pictures.classes, "made")
    )
    right = (predicted == labels).nonzero()[:, 0].tolist()
    drawn = [deletion.gallery(some, seed=seed) for seed in range(20)]
    for places in drawn:
        assert set(places.tolist()) <= set(right) and places.dtype == torch.int64
        # every class that has one, in order
        assert labels[places].tolist() == sorted({int(labels[n]) for n in right})
    assert torch.equal(drawn[0], deletion.gallery(some))
    assert len({tuple(places.tolist()) for places in drawn}) > 5
    assert set(torch.cat(drawn).tolist()) == set(right)  # any of them may be drawn
    unlabelled = Dataset(
        "toy",
        "test",
        who.pictures.images,
        torch.where(torch.arange(20) < 3, predicted, -1),
        who.pictures.classes,
        "made",
    )
    assert set(deletion.gallery(who._replace(pictures=unlabelled)).tolist()) <= {0, 1, 2}
    none = who._replace(
        pictures=Dataset(
            "toy", "test", who.pictures.images, (predicted + 1) % 10, who.pictures.classes, "made"
        )
    )
    with pytest.raises(ValueError, match="no picture is classified correctly"):
        deletion.gallery(none)


# ---- allegiance and its area


@pytest.mark.parametrize("black, white", [(0.0, 1.0), (-1.0, 1.0)])
def test_allegiances_are_the_metric_on_the_maps(black, white):
    small = make(black, white, count=8)
    pixels = to_range(small.pictures.images, small.model)
    found, lines = deletion.allegiances(small, batch_size=3), []
    direct = attribution.signed_maps(small.model, pixels)._asdict()
    assert list(found) == PAIRS
    for (name, fill), kept in found.items():
        expected = metrics.allegiance(
            small.model, pixels, direct[name], fill={"black": black, "white": white}[fill]
        )
        assert kept.shape == (13, 8) and kept.dtype == torch.bool and kept[0].all()
        assert (kept != expected).sum() <= 1  # rounding by batch may move a lone threshold
    assert not torch.equal(found["original", "black"], found["original", "white"])
    deletion.allegiances(small, log=lines.append)
    assert len(lines) == 10 and "original black  AUC 0." in lines[0] and "n = 8" in lines[0]


@pytest.fixture
def by_hand():
    """Four images: never another class; at once; from fraction .3 on; at .5 alone."""
    kept = torch.ones(13, 4, dtype=torch.bool)
    kept[1:, 1] = False
    kept[6:, 2] = False
    kept[8, 3] = False
    return {("active", "black"): kept}


def test_areas_by_hand(by_hand):
    (row,) = deletion.auc_rows(by_hand)
    # trapezoids: 0 to .9; 0 to .03, halved; 0 to .2, then .2 to .3 halved; all but half of .4 to .5
    # and of .5 to .6
    areas = [0.9, 0.015, 0.25, 0.8]
    assert (row["map"], row["fill"]) == ("active", "black")
    assert list(row) == [
        "map",
        "fill",
        "auc",
        "low",
        "high",
    ]
    assert row["auc"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert (row["low"], row["high"]) == pytest.approx(
        metrics.bootstrap(torch.tensor(areas, dtype=torch.float64)), abs=1e-12
    )


def test_curves_by_hand(by_hand):
    frame = deletion.curve_table(by_hand)
    assert list(frame.columns) == [
        "map",
        "fill",
        "fraction",
        "allegiance",
        "low",
        "high",
        "n",
    ]
    assert frame["fraction"].tolist() == list(PAPER_FRACTIONS)
    assert frame["allegiance"].tolist() == [
        1,
        0.75,
        0.75,
        0.75,
        0.75,
        0.75,
        0.5,
        0.5,
        0.25,
        0.5,
        0.5,
        0.5,
        0.5,
    ]
    assert set(frame["n"]) == {4}
    assert set(frame["map"]) == {"active"}
    assert set(frame["fill"]) == {"black"}
    interval = scipy.stats.binomtest(3, 4).proportion_ci(0.95, method="wilson")
    assert frame.loc[1, ["low", "high"]].tolist() == pytest.approx(
        [interval.low, interval.high], abs=1e-6
    )


def test_tables_keep_the_order_of_maps_and_fills(flags):
    rows = deletion.auc_rows(flags)
    assert [(r["map"], r["fill"]) for r in rows] == PAIRS
    assert all(r["low"] <= r["auc"] <= r["high"] for r in rows)
    frame = deletion.curve_table(flags)
    assert len(frame) == 130 and list(frame.groupby(["map", "fill"], sort=False).groups) == PAIRS


def test_differences_are_paired_over_images(by_hand):
    late = by_hand["active", "black"].clone()
    late[1, 0] = False
    late[-1, 2:] = torch.tensor([True, False])
    found = by_hand | {("positive", "black"): late}
    pair, same = ("active", "black"), ("positive", "black")
    frame = deletion.auc_differences(found, [(pair, pair), (pair, same), (same, pair)])
    assert list(frame.columns) == ["first", "second", "difference", "low", "high", "n"]
    assert frame["first"].tolist() == ["active black", "active black", "positive black"]
    assert frame.loc[0, ["difference", "low", "high", "n"]].tolist() == [0, 0, 0, 4]
    # per image: .025 (the trapezoids on both sides of .03), 0, -.05 and .05 (those before .9)
    changes = torch.tensor([0.025, 0, -0.05, 0.05], dtype=torch.float64)
    assert frame.loc[1, ["difference", "low", "high"]].tolist() == pytest.approx(
        [changes.mean().item(), *metrics.bootstrap(changes)], abs=1e-12
    )
    assert frame.loc[2, "difference"] == pytest.approx(-changes.mean().item(), abs=1e-12)


@pytest.mark.parametrize("until, change", [(0.03, 0.015), (0.05, 0.025), (0.8, 0.025)])
def test_differences_of_the_first_fractions(by_hand, until, change):
    late = by_hand["active", "black"].clone()
    late[1, 0] = False
    # what the first fractions do not see: the last row
    late[-1, 2:] = torch.tensor([True, False])
    found = by_hand | {("positive", "black"): late}
    frame = deletion.auc_differences(
        found, [(("active", "black"), ("positive", "black"))], until=until
    )
    assert frame.loc[0, "difference"] == pytest.approx(change / 4, abs=1e-12)


@pytest.mark.parametrize("until", [0, 0.25, 1])
def test_differences_end_at_a_fraction_of_the_paper(by_hand, until):
    pair = ("active", "black")
    with pytest.raises(ValueError, match=rf"until is {until}; .*0\.03.*0\.9"):
        deletion.auc_differences(by_hand, [(pair, pair)], until=until)


def test_a_constant_difference_has_no_width(by_hand):
    """Both areas vary over the images, their difference does not: only a paired interval knows."""
    first = by_hand["active", "black"].clone()
    first[-1] = True
    second = first.clone()
    second[-1] = False
    frame = deletion.auc_differences(
        {("active", "black"): first, ("positive", "black"): second},
        [(("active", "black"), ("positive", "black"))],
    )
    assert frame.loc[0, ["difference", "low", "high"]].tolist() == pytest.approx(
        [0.05, 0.05, 0.05], abs=1e-9
    )


# ---- scores


def test_score_curves_are_the_change_of_the_original_class(who, images, maps, scores):
    assert list(scores.columns) == [
        "map",
        "fill",
        "fraction",
        "rose",
        "probability",
        "probability_low",
        "probability_high",
        "logit",
        "logit_low",
        "logit_high",
    ]
    assert len(scores) == 130 and scores.isna().sum().sum() == 0
    for name, fill in (("original", "black"), ("positive", "white"), ("negative", "black")):
        probability, logit = metrics.class_scores(
            who.model, images, maps[name], fill=float(fill == "white")
        )
        part = scores[(scores["map"] == name) & (scores["fill"] == fill)]
        assert part["fraction"].tolist() == list(PAPER_FRACTIONS)
        for label, values in (("probability", probability), ("logit", logit)):
            change = (values - values[0]).double()
            assert part[label].tolist() == pytest.approx(change.mean(1).tolist(), abs=1e-4)
            assert part[f"{label}_low"].iloc[-1] == pytest.approx(
                metrics.bootstrap(change[-1])[0], abs=1e-3
            )
        assert part["rose"].tolist() == pytest.approx(
            (logit > logit[0]).double().mean(1).tolist(), abs=0.06
        )
    start = scores[scores["fraction"] == 0]
    assert (start[["probability", "logit", "rose", "logit_low", "logit_high"]] == 0).all(axis=None)
    assert (scores["logit_low"] <= scores["logit"]).all()
    assert (scores["logit"] <= scores["logit_high"]).all()


def test_soft_replacement_at_full_strength_is_the_replacement(who, images, maps, soft):
    assert STRENGTHS[-1] == 1 and len(soft) == 20 and set(soft["strength"]) == {0.25, 1}
    assert list(soft.columns) == [
        "strength",
        "map",
        "fill",
        "rose",
        "logit",
        "logit_low",
        "logit_high",
        "area",
        "area_low",
        "area_high",
    ]
    for name, fill in PAIRS:
        probability, logit = metrics.class_scores(
            who.model, images, maps[name], fill=float(fill == "white")
        )
        row = soft[(soft["strength"] == 1) & (soft["map"] == name) & (soft["fill"] == fill)].iloc[0]
        change = (logit[PAPER_FRACTIONS.index(0.1)] - logit[0]).double()
        assert row["logit"] == pytest.approx(change.mean().item(), abs=1e-4)
        assert row["rose"] == pytest.approx((change > 0).double().mean().item(), abs=0.06)
        if name in MATCHED[fill]:
            assert row["area"] == pytest.approx(
                metrics.auc(PAPER_FRACTIONS, probability).mean().item(), abs=1e-4
            )
        else:
            assert row[["area", "area_low", "area_high"]].isna().all()


@pytest.fixture
def flat(linear):
    """A linear network of three classes on six pictures of 4x3 pixels.

    Its maps are its weights, its logits move in proportion.
    """
    generator = torch.Generator().manual_seed(8)
    weight = torch.randint(-3, 4, (3, 3, 4, 3), generator=generator)
    model = linear(weight, bias=[0.4, 0, -0.3]).float()
    model.black, model.white = 0.0, 1.0
    pictures = Dataset(
        "toy",
        "test",
        torch.randint(1, 255, (6, 3, 4, 3), generator=generator).to(torch.uint8),
        torch.zeros(6, dtype=torch.int64),
        tuple("abc"),
        "made",
    )
    return Subject(model, pictures, "linear", "made")


def test_a_linear_network_answers_in_proportion_to_the_strength(flat):
    # no ties: a tenth of the pixels is one
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        flat.model.weight += torch.rand(flat.model.weight.shape, generator=generator)
    frame = deletion.soft_replacement(flat, (0.05, 0.5, 1.0)).set_index(
        ["strength", "map", "fill"]
    )["logit"]
    assert frame[1.0].abs().max() > 0.5
    for strength in (0.05, 0.5):
        assert frame[strength].to_numpy() == pytest.approx(
            strength * frame[1.0].to_numpy(), abs=1e-5
        )


def test_black_on_positive_lowers_and_on_negative_raises_every_logit_of_a_grey_linear_network(flat):
    # one sign a pixel: all three channels say the same
    with torch.no_grad():
        flat.model.weight[:, 1:] = flat.model.weight[:, :1]
    last = deletion.score_curves(flat).query("fraction == .9").set_index(["map", "fill"])
    assert last["logit"]["positive", "black"] < 0 < last["logit"]["negative", "black"]
    assert last["logit"]["positive", "white"] > 0 > last["logit"]["negative", "white"]
    assert last["rose"].loc[["positive", "negative"]].tolist() == [0, 1, 1, 0]


def test_insertion_areas_are_the_metric_from_the_canvas(flat):
    frame = deletion.insertion_areas(flat, batch_size=4)
    pixels = to_range(flat.pictures.images, flat.model)
    assert list(frame.columns) == ["map", "fill", "auc", "low", "high"]
    assert set(zip(frame["map"], frame["fill"], strict=True)) == set(PAIRS)
    assert len(frame) == 10
    maps = attribution.signed_maps(flat.model, pixels)._asdict()
    for row in frame.itertuples():
        kept = metrics.allegiance(
            flat.model, pixels, maps[row.map], fill=float(row.fill == "white"), insert=True
        )
        assert row.auc == pytest.approx(metrics.auc(PAPER_FRACTIONS, kept).mean().item(), abs=1e-9)
        assert row.low <= row.auc <= row.high
    deleted = deletion.auc_rows(deletion.allegiances(flat))
    assert sorted(r["auc"] for r in deleted) != sorted(frame["auc"])


# ---- pixels that are kept


def test_kept_pixels_against_a_direct_count(who, maps):
    frame = deletion.kept_pixels(who)
    assert list(frame.columns) == ["map", "mean", "p5", "p95", "n", "done_50", "done_80"]
    assert frame["map"].tolist() == list(MAPS)
    for row in frame.itertuples():
        shares = np.array([np.count_nonzero(values) / 1024 for values in maps[row.map].numpy()])
        assert row.mean == pytest.approx(shares.mean(), abs=1e-4) and row.n == 20
        assert (row.p5, row.p95) == pytest.approx(
            (np.quantile(shares, 0.05), np.quantile(shares, 0.95)), abs=1e-3
        )
        assert (row.done_50, row.done_80) == pytest.approx(
            ((shares <= 0.5).mean(), (shares <= 0.8).mean()), abs=0.06
        )
    shown = frame.set_index("map")["mean"]
    assert shown["active"] < shown["original"] and shown["positive"] < shown["original"]


def test_kept_pixels_by_hand(linear):
    """Two pixels of four have a positive, one a negative gradient.

    Half is done at 50 %, and no picture is half kept by chance.
    """
    model = linear([[[[1, 2], [-1, 0]]] * 3, [[[0, 0], [0, 0]]] * 3], bias=[9, 0]).float()
    model.black, model.white = 0.0, 1.0
    pictures = Dataset(
        "toy",
        "test",
        torch.full((3, 3, 2, 2), 9, dtype=torch.uint8),
        torch.zeros(3, dtype=torch.int64),
        ("a", "b"),
        "made",
    )
    frame = deletion.kept_pixels(Subject(model, pictures, "linear", "made")).set_index("map")
    assert frame["mean"].to_dict() == {
        "original": 0.75,
        "positive": 0.5,
        "negative": 0.25,
        "active": 0.5,
        "inactive": 0.25,
    }
    assert frame["done_50"].to_dict() == {
        "original": 0,
        "positive": 1,
        "negative": 1,
        "active": 1,
        "inactive": 1,
    }
    assert (frame["done_80"] == 1).all()


# ---- the printed equation against the released code


def slow_rules(who: Subject, name: str) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """Printed maps, released maps, the share of kept entries of the wrong sign: entry by entry."""
    weight = who.model.weight.detach()
    predicted = who.model(to_range(who.pictures.images, who.model)).argmax(1).tolist()
    printed = torch.zeros(len(predicted), *weight.shape[2:])
    released = torch.zeros(len(predicted), *weight.shape[2:])
    wrong = []
    for n, own in enumerate(predicted):
        kept = []
        for y in range(weight.shape[2]):
            for x in range(weight.shape[3]):
                signed, sizes = [], []
                for c in range(3):
                    g = weight[own, c, y, x].item()
                    rivals = [weight[k, c, y, x].item() for k in range(len(weight)) if k != own]
                    if name == "active":
                        strictly, tied = g > max(rivals), g == max(rivals)
                    else:
                        strictly, tied = g < min(rivals), g == min(rivals)
                    signed.append(g if strictly or tied else 0)
                    sizes.append(abs(g) if strictly else 0)
                    if strictly and g:
                        kept.append(g)
                printed[n, y, x], released[n, y, x] = max(signed), max(sizes)
        wrong_entries = [g for g in kept if (g < 0 if name == "active" else g > 0)]
        wrong.append(len(wrong_entries) / max(len(kept), 1))
    return printed, released, wrong


def test_printed_and_released_where_they_must_differ(flat):
    frame = deletion.printed_and_released(flat)
    assert list(frame.columns) == [
        "map",
        "fill",
        "auc",
        "low",
        "high",
        "rule",
        "wrong_sign",
        "ranks",
        "n",
    ]
    assert frame[["map", "fill", "rule"]].values.tolist() == [
        ["active", "black", "printed"],
        ["active", "black", "released"],
        ["inactive", "white", "printed"],
        ["inactive", "white", "released"],
    ]
    pixels = to_range(flat.pictures.images, flat.model)
    for name, fill in (("active", 0.0), ("inactive", 1.0)):
        printed, released, wrong = slow_rules(flat, name)
        rows = frame[frame["map"] == name].set_index("rule")
        for rule, maps in (("printed", printed), ("released", released)):
            kept = metrics.allegiance(flat.model, pixels, maps, fill=fill)
            area = metrics.auc(PAPER_FRACTIONS, kept).mean().item()
            assert rows.loc[rule, "auc"] == pytest.approx(area, abs=1e-6)
        ranks = [
            scipy.stats.spearmanr(a.flatten(), b.flatten()).statistic
            for a, b in zip(printed, released, strict=True)
        ]
        assert rows["ranks"].tolist() == pytest.approx([np.mean(ranks)] * 2, abs=1e-6)
        assert rows["wrong_sign"].tolist() == pytest.approx([np.mean(wrong)] * 2, abs=1e-6)
        assert 0 < np.mean(wrong) < 1
        assert set(rows["n"]) == {6}
    areas = frame.set_index(["map", "rule"])["auc"]
    assert areas["inactive", "printed"] != areas["inactive", "released"]
    assert frame["ranks"].max() < 1


# ---- the two signs of a gradient


def slow_signs(model, images) -> dict[str, list[float]]:
    """Pixel by pixel, from a gradient that autograd gives."""
    leaf = images.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(model(leaf).amax(1).sum(), leaf)
    shares = {name: [] for name in ("zero_at", "small", "positive", "negative", "both", "carried")}
    for g in gradients.tolist():
        pixels = [
            [g[c][y][x] for c in range(3)] for y in range(len(g[0])) for x in range(len(g[0][0]))
        ]
        strongest = [max(channels, key=abs) for channels in pixels]
        low, high = min(strongest), max(strongest)
        largest = max(map(abs, strongest))
        small = sum(abs(value) < largest / 10 for value in strongest)
        positive = sum(max(channels) > 0 for channels in pixels)
        negative = sum(min(channels) < 0 for channels in pixels)
        both = sum(max(channels) > 0 > min(channels) for channels in pixels)
        carried = sum(
            abs(value)
            for value, channels in zip(strongest, pixels, strict=True)
            if max(*channels, 0) > max(*(-c for c in channels), 0)
        )
        shares["zero_at"].append((0 - low) / (high - low))
        shares["small"].append(small / len(pixels))
        shares["positive"].append(positive / len(pixels))
        shares["negative"].append(negative / len(pixels))
        shares["both"].append(both / len(pixels))
        shares["carried"].append(carried / sum(map(abs, strongest)))
    return shares


@pytest.mark.parametrize("batch_size", [1, 256])
def test_signs_against_a_slow_reading(batch_size, who):
    two = who._replace(pictures=who.pictures.take(torch.tensor([3, 11])))
    found = deletion.signs(two, batch_size=batch_size)
    expected = slow_signs(two.model, to_range(two.pictures.images, two.model))
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(
            values, abs=1.5 / 1024 if name != "zero_at" else 1e-4
        ), name
        assert all(0 < value < 1 for value in values) and values[0] != values[1]


def test_signs_by_hand(linear):
    """Four pixels (red, green, blue): (4, 1, -3), (-2, 0, 0), (0, 0, 0) and (.1, -.3, .2)."""
    pixels = torch.tensor([[4, 1, -3], [-2, 0, 0], [0, 0, 0], [0.1, -0.3, 0.2]]).T.reshape(3, 2, 2)
    model = linear(torch.stack([pixels, 0 * pixels]), bias=[9, 0]).float()
    model.black, model.white = 0.0, 1.0
    pictures = Dataset(
        "toy",
        "test",
        torch.full((2, 3, 2, 2), 9, dtype=torch.uint8),
        torch.zeros(2, dtype=torch.int64),
        ("a", "b"),
        "made",
    )
    found = deletion.signs(Subject(model, pictures, "linear", "made"))
    # strongest: 4, -2, 0, -.3; under a tenth of 4: the last two; the first carries 4 of 6.3
    expected = {
        "zero_at": 2 / 6,
        "small": 0.5,
        "positive": 0.5,
        "negative": 0.75,
        "both": 0.5,
        "carried": 4 / 6.3,
    }
    assert {name: values.tolist() for name, values in found.items()} == {
        name: pytest.approx([value] * 2, abs=1e-6) for name, value in expected.items()
    }


# ---- forward passes in bfloat16


class Noting(torch.nn.Module):
    """Notes of every forward pass whether autocast was on, and the type that a product then has."""

    def __init__(self, body):
        super().__init__()
        self.body, self.black, self.white, self.seen = body, 0.0, 1.0, []

    def forward(self, images):
        product = images.flatten(1) @ self.body.weight.flatten(1).T
        self.seen.append((torch.is_autocast_enabled("cpu"), product.dtype))
        return product + self.body.bias


LOW, FULL = (True, torch.bfloat16), (False, torch.float32)


@pytest.fixture
def noting(flat):
    """`flat` on pictures of black and white pixels and with weights that are whole.

    bfloat16 changes nothing, and is noted.
    """
    images = flat.pictures.images
    pictures = Dataset(
        "toy",
        "test",
        (images > 127).to(torch.uint8) * 255,
        *[getattr(flat.pictures, f) for f in ("labels", "classes", "source")],
    )
    return Subject(Noting(flat.model), pictures, "linear", "made")


@pytest.fixture
def low(monkeypatch):
    monkeypatch.setattr(deletion, "BFLOAT16", {("toy", "linear")})


@pytest.mark.parametrize(
    "bfloat16, kind", [(True, LOW), (False, FULL)], ids=["bfloat16", "float32"]
)
@pytest.mark.parametrize("insert", [False, True])
def test_forward_passes_are_in_bfloat16_where_asked(bfloat16, kind, insert, noting):
    maps = deletion.signed_maps(noting)["original"]
    noting.model.seen.clear()
    found = deletion.allegiance(noting, maps, "white", 4, insert=insert, bfloat16=bfloat16)
    assert set(noting.model.seen) == {kind} and not torch.is_autocast_enabled("cpu")
    assert torch.equal(
        found,
        metrics.allegiance(
            noting.model,
            to_range(noting.pictures.images, noting.model),
            maps,
            fill=1.0,
            insert=insert,
        ),
    )


def test_bfloat16_decides_what_is_finer_than_it_can_say(linear):
    """White logits are 3.003 and 3.001, black ones 0 and .001: the first class, then the second.

    In bfloat16 they are 3 and 3.001: the second class from the start.
    """
    model = Noting(
        linear([[[[1.001, 0], [0, 0]]] * 3, [[[1.0, 0], [0, 0]]] * 3], bias=[0, 0.001]).float()
    )
    pictures = Dataset(
        "toy",
        "test",
        torch.full((1, 3, 2, 2), 255, dtype=torch.uint8),
        torch.zeros(1, dtype=torch.int64),
        ("a", "b"),
        "made",
    )
    maps = torch.tensor([[[1.0, 0], [0, 0]]])
    who = Subject(model, pictures, "linear", "made")
    fine = deletion.allegiance(who, maps, "black", 4, bfloat16=False)[:, 0]
    coarse = deletion.allegiance(who, maps, "black", 4, bfloat16=True)[:, 0]
    assert fine[0] and not fine[-1] and coarse.all()


@pytest.mark.parametrize("stored", [True, False])
def test_maps_are_float32_whatever_the_deletion_runs_in(stored, noting, low, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    expected, original, given = deletion.signed_maps(noting), deletion.allegiance, []

    def noted(who, maps, *arguments, **options):
        given.append((maps, options))
        return original(who, maps, *arguments, **options)

    monkeypatch.setattr(deletion, "allegiance", noted)
    noting.model.seen.clear()
    deletion.allegiances(noting._replace(stored=stored))
    assert noting.model.seen[0] == FULL
    assert set(noting.model.seen) == ({FULL, LOW} if stored else {FULL})
    # the maps, once; what follows is the deletion
    assert noting.model.seen.count(FULL) == 1 or not stored
    for (maps, options), (name, _) in zip(given, PAIRS, strict=True):
        assert maps.dtype == torch.float32
        assert torch.equal(maps, expected[name])
        assert options == {"bfloat16": stored}


def test_stored_deletions_say_what_they_ran_in(noting, stored, monkeypatch):
    plain = deletion.allegiances(keeping(noting))
    assert len(cells.of("deletion")) == 10
    assert {c["parameters"]["forwards"] for c in cells.of("deletion")} == {"float32"}
    assert LOW not in noting.model.seen
    monkeypatch.setattr(deletion, "BFLOAT16", {("toy", "linear")})
    coarse = deletion.allegiances(keeping(noting))
    every = [c["parameters"] for c in cells.of("deletion")]
    in_bfloat16 = [p for p in every if p["forwards"] == "bfloat16"]
    assert len(every) == 20 and len(in_bfloat16) == 10
    assert LOW in noting.model.seen
    assert sorted((p["map"], p["fill"]) for p in in_bfloat16) == sorted(PAIRS)
    assert equal(plain, coarse)
    noting.model.seen.clear()
    deletion.allegiances(keeping(noting))
    same_pictures = noting._replace(pictures=noting.pictures.take(slice(None)))
    deletion.allegiances(keeping(same_pictures))
    assert noting.model.seen == []


@pytest.mark.parametrize(
    "experiment",
    [
        deletion.score_curves,
        deletion.insertion_areas,
        deletion.printed_and_released,
        deletion.signs,
        deletion.accuracy,
    ],
)
def test_everything_but_deletion_runs_in_float32(experiment, noting, low, stored):
    noting.model.weight = noting.model.body.weight
    experiment(keeping(noting))
    assert set(noting.model.seen) == {FULL}


@pytest.mark.parametrize("names", [("toy", "other"), ("other", "linear"), ("linear", "toy")])
def test_precision_says_nothing_of_networks_that_run_in_float32(names, noting, stored, monkeypatch):
    monkeypatch.setattr(deletion, "BFLOAT16", {names})
    assert deletion.precision(noting) is None and deletion.precision(keeping(noting)) is None
    assert noting.model.seen == [] and not stored.exists()


@pytest.mark.parametrize("count", [4, 500])
def test_precision_has_both_areas_of_every_map_and_fill(count, noting, low):
    frame = deletion.precision(noting, count, batch_size=5)
    part = noting._replace(pictures=noting.pictures.sample(count))
    assert list(frame.columns) == ["map", "fill", "float32", "bfloat16"]
    assert list(zip(frame["map"], frame["fill"], strict=True)) == PAIRS
    assert {LOW, FULL} == set(noting.model.seen) and len(part.pictures) == min(count, 6)
    expected = [row["auc"] for row in deletion.auc_rows(deletion.allegiances(part))]
    assert frame["float32"].tolist() == frame["bfloat16"].tolist()
    assert frame["bfloat16"].tolist() == pytest.approx(expected, abs=1e-12)
    assert frame["float32"].nunique() > 3


def apart(patch, pictures: int):
    """Deletion in float32 never changes a prediction, in bfloat16 that of one picture.

    It changes at the last fraction: .05 of one area.
    """

    def allegiance(who, maps, fill, batch_size, insert=False, bfloat16=False):
        flags = torch.ones(13, pictures, dtype=torch.bool)
        flags[-1, 0] = not (bfloat16 and fill == "white")
        return flags

    patch.setattr(deletion, "allegiance", allegiance)


@pytest.mark.parametrize("count, close", [(11, True), (9, False)])
def test_precision_refuses_areas_that_differ(count, close, noting, low, stored, monkeypatch):
    """.05 of one in 11 pictures is .0045, of one in 9 it is .0056."""
    pictures = noting.pictures.take(torch.arange(count) % 6)
    who = noting._replace(pictures=pictures)
    apart(monkeypatch, count)
    for _ in range(2):  # computed, then read
        if close:
            frame = deletion.precision(keeping(who))
            assert frame["float32"].tolist() == pytest.approx([0.9] * 10)
            assert frame["bfloat16"].tolist() == pytest.approx([0.9, 0.9 - 0.05 / 11] * 5)
        else:
            refused(
                lambda: deletion.precision(keeping(who)),
                "linear (made), toy test, n = 9",
                "0.0056",
                "0.005",
                "study.experiments.deletion.BFLOAT16",
            )


def test_precision_is_computed_once_for_its_number_of_pictures(noting, low, stored):
    first = deletion.precision(keeping(noting), 4)
    noting.model.seen.clear()
    assert equal(deletion.precision(keeping(noting), 4), first) and noting.model.seen == []
    deletion.precision(keeping(noting), 5)
    assert sorted(c["parameters"]["pictures"] for c in cells.of("precision")) == [4, 5]
    assert noting.model.seen


# ---- stored results

EXPERIMENTS = {
    "accuracy": (deletion.accuracy, ["accuracy"], 1),
    "signs": (deletion.signs, ["signs"], 1),
    "allegiances": (deletion.allegiances, ["deletion"], 10),
    "score_curves": (deletion.score_curves, ["scores"], 1),
    "soft_replacement": (
        lambda who, **k: deletion.soft_replacement(who, (0.5, 1.0), **k),
        ["soft"],
        2,
    ),
    "insertion_areas": (deletion.insertion_areas, ["insertion"], 1),
    "kept_pixels": (deletion.kept_pixels, ["kept_pixels"], 1),
    "printed_and_released": (deletion.printed_and_released, ["printed"], 1),
}


def equal(first, second) -> bool:
    if isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second)
        return True
    if isinstance(first, dict) and isinstance(next(iter(first.values())), torch.Tensor):
        return first.keys() == second.keys() and all(
            torch.equal(first[k], second[k]) for k in first
        )
    return first == second


@pytest.mark.parametrize("run, folders, count", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_a_stored_experiment_is_computed_once_and_gives_the_same(
    run, folders, count, flat, stored, monkeypatch
):
    computed = run(flat)
    assert not stored.exists()  # nothing is stored unless asked for
    first = run(keeping(flat))
    monkeypatch.setattr(subject_module, "batch", lambda *_: pytest.fail("computed again"))
    second = run(keeping(flat))
    assert equal(computed, first) and equal(first, second)
    files = [f for f in stored.rglob("*") if f.is_file()]
    assert len(files) == count and {f.parent.name for f in files} == set(folders)
    for content in cells.of(folders[0]):
        assert flat.identity.items() <= content["parameters"].items()
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        run(flat)  # and nothing stored is read unless asked for


def test_strengths_that_print_alike_are_other_cells(flat, stored):
    frame = deletion.soft_replacement(keeping(flat), (0.1, 0.1 + 1e-9))
    assert len(cells.of("soft")) == 2 and frame["strength"].nunique() == 2


@pytest.mark.parametrize("change", ["weights", "pixels", "split", "network"])
def test_a_result_of_another_subject_is_never_taken(change, flat, stored):
    deletion.accuracy(keeping(flat))
    if change == "weights":
        with torch.no_grad():
            flat.model.weight[0, 0, 0, 0] += 1e-6
    elif change == "pixels":
        flat.pictures.images[0, 0, 0, 0] ^= 1
        flat = flat._replace(pictures=flat.pictures.take(slice(None)))
    elif change == "split":
        flat = flat._replace(
            pictures=Dataset(
                "toy",
                "train",
                *[getattr(flat.pictures, f) for f in ("images", "labels", "classes", "source")],
            )
        )
    else:
        flat = flat._replace(model_name="other")
    deletion.accuracy(keeping(flat))
    assert len(cells.of("accuracy")) == 2


def test_a_stopped_deletion_goes_on_where_it_was(flat, stored, monkeypatch):
    expected, allegiance, calls = deletion.allegiances(flat), metrics.allegiance, []

    def stops(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return allegiance(*arguments, **options)

    monkeypatch.setattr(metrics, "allegiance", stops)
    with pytest.raises(KeyboardInterrupt):
        deletion.allegiances(keeping(flat))
    assert len(cells.of("deletion")) == 3
    assert equal(deletion.allegiances(keeping(flat)), expected) and len(calls) == 4 + 7


@pytest.mark.parametrize("name", ["imagefolder:/a/b c/d", "toy"])
@pytest.mark.parametrize("weights", ["/some/where/mine.safetensors", "cifar10-seed1"])
def test_paths_in_names_stay_within_their_folder(name, weights, flat, stored):
    pictures = Dataset(
        name,
        "test",
        *[getattr(flat.pictures, f) for f in ("images", "labels", "classes", "source")],
    )
    who = Subject(flat.model, pictures, "python:nets:build", weights)
    first = deletion.accuracy(keeping(who))
    (file,) = (f for f in stored.rglob("*") if f.is_file())
    assert file.parent == stored / "accuracy" and deletion.accuracy(keeping(who)) == first


# ---- batch-norm statistics


def test_fresh_statistics_are_the_means_over_the_training_batches(monkeypatch):
    train, test = shapes10.draw("train", count=48), shapes10.draw("test", count=30)
    monkeypatch.setattr(sources, "load", lambda name, split, **_: train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, bias=False),
            torch.nn.BatchNorm2d(4),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(3),
            torch.nn.Flatten(),
            torch.nn.Linear(36, 10),
        ).eval()
    model.black, model.white = 0.0, 1.0
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = deletion.fresh_statistics(Subject(model, test, "net", "random"), batch_size=16)
    # a copy was measured
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not model.training
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    batches = [model[0](to_range(train.images[index], model)) for index in order.split(16)]
    mean = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    variance = torch.stack([b.transpose(0, 1).flatten(1).var(1) for b in batches]).mean(0)
    with torch.no_grad():
        pixels = to_range(test.images, model)
        deviation = (variance[:, None, None] + 1e-5).sqrt()
        features = (model[0](pixels) - mean[:, None, None]) / deviation
        right = (model[2:](features).argmax(1) == test.labels).sum().item()
        right_before = (model(pixels).argmax(1) == test.labels).sum().item()
    assert found["right"] == right != right_before


class Viewing(torch.nn.Module):
    """Batch norm, and a flattening that takes no other layout of memory than the usual one."""

    black, white = 0.0, 1.0

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Linear(4 * 30 * 30, 10)

    def forward(self, images):
        return self.head(self.norm(self.convolution(images)).view(len(images), -1))


def test_fresh_statistics_of_a_network_that_flattens_by_a_view(monkeypatch):
    pictures = shapes10.draw("test", count=8)
    monkeypatch.setattr(sources, "load", lambda name, split, **_: pictures)
    found = deletion.fresh_statistics(Subject(Viewing().eval(), pictures, "net", "random"))
    assert 0 <= found["low"] <= found["accuracy"] <= found["high"] <= 1


def test_without_batch_norm_there_are_no_statistics(who):
    assert deletion.fresh_statistics(who) is None


def test_which_pictures_are_right_is_stored_for_its_network_and_pictures(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    who = subject("shapes10", "rectgrad_cnn", count=20)
    expected = deletion.predictions(who) == who.pictures.labels
    assert torch.equal(deletion.correct(who), expected)
    assert torch.equal(deletion.correct(keeping(who)), expected)
    assert expected.any()
    monkeypatch.setattr(deletion, "predictions", lambda *_: pytest.fail("it is stored"))
    assert torch.equal(deletion.correct(keeping(who)), expected)


# ---- controls, and what chapters 1 and 2 ask


def test_controls_are_those_of_the_synthesis(who):
    for name in deletion.crosses.CONTROLS:
        content = deletion.controls(who, name)
        maps = synthesis.maps_both_ways(who, name)[0]
        for fill in FILLS:
            assert torch.equal(content[fill], deletion.allegiance(who, maps, fill, 7))
        assert [r["fill"] for r in content["rows"]] == list(FILLS)


def test_controls_stand_beside_the_same_pictures(who, flags, monkeypatch):
    monkeypatch.setitem(deletion.SCORED, who.pictures.name, 8)
    found = deletion.beside_controls(who, flags)
    part = who.sample(8)
    assert {kept.shape[1] for kept in found.values()} == {8}
    assert torch.equal(found["active", "white"], deletion.allegiances(part)["active", "white"])
    assert torch.equal(found["edges", "black"], deletion.controls(part, "edges")["black"])
    monkeypatch.delitem(deletion.SCORED, who.pictures.name)
    assert deletion.beside_controls(who, flags)["random", "black"].shape[1] == len(who.pictures)


def test_controls_are_stored_once(flat, stored):
    first = deletion.controls(keeping(flat), "random")
    again = deletion.controls(keeping(flat), "random")
    assert torch.equal(first["white"], again["white"]) and len(cells.of("controls")) == 1


def test_one_by_one_is_the_kernels(who, images, maps):
    table = deletion.one_by_one(who, 3, (0.1, 0.9))
    assert len(table) == 2 * len(deletion.PRINTED_PAIRS)
    row = table[(table["map"] == "negative") & (table["fill"] == "white")].iloc[1]
    assert_close(row["picture"], metrics.delete(images[3:4], maps["negative"][3:4], 0.9, 1.0)[0])


class Bright(torch.nn.Module):
    """Class 0 gains from brightness inside the middle, class 1 from darkness everywhere."""

    black, white, classes = 0.0, 1.0, None

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)

    def forward(self, x):
        score = (x * self.weight).flatten(1).sum(1)
        return torch.stack([score, -2 * score], 1)


def known(values, masks) -> Subject:
    """Pictures [N,1,2] of these values, grey, whose left pixel is the object."""
    images = torch.tensor(values, dtype=torch.uint8)[:, None, None].expand(-1, 3, 1, 2)
    labels = torch.zeros(len(values), dtype=torch.long)
    pictures = Dataset("toy", "test", images.contiguous(), labels, ("a", "b"), "", masks=masks)
    return Subject(Bright(torch.tensor([1.0, -1.0])), pictures, "toy", "none")


def test_the_gradient_on_objects_lighter_and_darker():
    masks = torch.tensor([[[True, False]]] * 3)
    # the score is left minus right, so the first class wins where the object is lighter
    table = deletion.positive_on_object(known([[200, 10], [180, 20], [30, 90]], masks))
    by = table.set_index(["object", "place"])
    assert by["n"].to_dict() == {
        ("lighter", "object"): 2,
        ("lighter", "background"): 2,
        ("darker", "object"): 1,
        ("darker", "background"): 1,
    }
    assert by["share"].tolist() == [1, 0, 0, 1]


def test_pictures_without_masks_are_refused():
    refused(lambda: deletion.positive_on_object(known([[1, 2]], None)), "have no masks")


def test_a_group_without_pictures_has_no_share():
    masks = torch.tensor([[[True, False]]])
    table = deletion.positive_on_object(known([[9, 1]], masks))
    assert table.loc[table["object"] == "darker", "share"].isna().all()


def test_lengths_of_gradients_by_hand():
    found = deletion.gradient_lengths(known([[200, 10], [30, 90]], None), at_once=1)
    # where class 0 is predicted its gradient is half its rival's, where class 1 is, twice
    assert found["n"] == 2 and found["longest"] == 0.5
    # torch's median of two is the lower one
    assert found["ratio"] == pytest.approx(0.5)


def test_a_linear_network_does_not_turn_and_has_no_ties():
    linear = known([[200, 10], [30, 90]], None)
    found = deletion.turn(linear)
    assert found["turn"] == pytest.approx(0, abs=0.05) and found["zero"] == 0
    assert deletion.ties(linear)[["float32", "bfloat16"]].to_numpy().tolist() == [[0, 0]] * 2


def test_equal_gradients_are_ties():
    class Twice(Bright):
        def forward(self, x):
            score = (x * self.weight).flatten(1).sum(1)
            return torch.stack([score, score], 1)

    tied = known([[200, 10]], None)._replace(model=Twice(torch.tensor([1.0, -1.0])))
    assert deletion.ties(tied)["float32"].tolist() == [1, 1]


def test_maps_together_are_the_maps_alone(who):
    table = deletion.together_and_alone(who, 4).set_index("map")
    assert list(table.index) == list(MAPS) and table["apart"].max() < 1e-6
    assert table["mean"].min() > 0
