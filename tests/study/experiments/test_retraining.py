"""study.experiments.retraining: what is removed, and how a network is retrained on the rest."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from lib import attribution, metrics
from lib.attribution import crosses
from study.experiments import cleanliness, retraining, retraining_tables
from study.experiments.retraining import ADDED, FRACTIONS, FULL, MODES, PRINTED, SHORT
from study.store import cells
from study.subjects import networks, shapes10, sources
from study.subjects.pictures import Dataset, to_range
from study.subjects.subject import Subject
from study.subjects.training import Protocol
from tests.study.keeping import keeping

pytestmark = pytest.mark.usefixtures("one_thread")

BRIEF = Protocol(epochs=2, batch_size=20, optimizer="Adam", lr=2e-3, schedule="one cycle")


@pytest.fixture
def studied(monkeypatch, tmp_path):
    """A small network with weights of its own, few drawn pictures, and a cache of its own."""
    drawn = {
        split: shapes10.draw(split, count=count) for split, count in (("train", 60), ("test", 30))
    }
    monkeypatch.setitem(sources._LOADERS, "shapes10", lambda split, size: drawn[split])
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    retraining.explained_subjects.cache_clear()
    retraining.pixel_places.cache_clear()
    yield drawn
    retraining.explained_subjects.cache_clear()
    retraining.pixel_places.cache_clear()


def planned(**options):
    return retraining.plan(
        "shapes10",
        "rectgrad_cnn",
        **{"methods": ("random", "saliency"), "protocol": BRIEF} | options,
    )


# ---- what is removed


def test_the_grid_is_the_papers():
    assert PRINTED == (
        "random",
        "rectgrad",
        "saliency",
        "guided_backprop",
        "smoothgrad",
        "input_x_gradient",
        "integrated_gradients",
        "deeplift",
    )
    assert (
        ADDED == ("rectgrad_prr", "positive", "negative", "active", "inactive", "edges")
        and FRACTIONS == (0.1, 0.3, 0.5, 0.7, 0.9)
        and MODES == ("roar", "kar")
    )
    assert sorted(PRINTED[1:] + ADDED + retraining.LAST) == sorted(
        [*attribution.METHODS, "edges"]
    )  # every method
    assert (FULL.epochs, FULL.batch_size, FULL.optimizer, FULL.lr, FULL.reshuffle) == (
        20,
        100,
        "Adam",
        1e-3,
        False,
    )
    assert (
        SHORT.epochs,
        SHORT.batch_size,
        SHORT.optimizer,
        SHORT.lr,
        SHORT.schedule,
        SHORT.bfloat16,
    ) == (3, 128, "Adam", 2e-3, "one cycle", False)


def test_ranks_are_places_in_descending_order(studied):
    who = Subject(
        networks.load("rectgrad_cnn", "shapes10"), studied["test"], "rectgrad_cnn", "shapes10"
    )
    for method in ("saliency", "rectgrad", "active"):
        entry = attribution.METHODS[method]
        maps = attribution.to_map(
            entry.function(who.model, to_range(who.pictures.images, who.model)),
            entry.reduce["noise"],
        )
        places = retraining.ranks(who, method)
        assert places.dtype == torch.uint16 and places.shape == maps.shape
        places = places.long().flatten(1)
        assert (places.sort(1).values == torch.arange(1024)).all()  # every place once
        noisy = maps + 1e-4 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))
        sorted_by_rank = torch.zeros_like(noisy.flatten(1)).scatter(1, places, noisy.flatten(1))
        assert (sorted_by_rank.diff(dim=1) <= 1e-5).all()


def test_ranks_of_edges_look_at_no_network(studied):
    who = Subject(
        networks.load("rectgrad_cnn", "shapes10"), studied["test"], "rectgrad_cnn", "shapes10"
    )
    other = who._replace(model=networks.load("rectgrad_cnn", classes=shapes10.CLASSES, seed=5))
    found = retraining.ranks(who, "edges")
    strongest = crosses.edges(to_range(who.pictures.images, who.model), None).flatten(1).argmax(1)
    assert (found.flatten(1).long().argmin(1) == strongest).float().mean() > 0.9 and torch.equal(
        found, retraining.ranks(other, "edges")
    )


def test_a_final_threshold_leaves_the_first_twentieth_in_order_and_the_rest_to_chance(studied):
    who = Subject(
        networks.load("rectgrad_cnn", "shapes10"), studied["test"], "rectgrad_cnn", "shapes10"
    )
    plain, cut = (
        retraining.ranks(who, m).flatten(1).long() for m in ("saliency", "thresholded:saliency")
    )
    treated = cleanliness.treat(
        "saliency",
        attribution.to_map(
            attribution.saliency(who.model, to_range(who.pictures.images, who.model)), "sum"
        ),
        "released",
    ).flatten(1)
    kept = (treated > 0).sum(1)
    assert (
        kept.unique().tolist() == [52]
        and torch.equal(cut < 52, treated > 0)
        and torch.equal(cut[plain < 52], plain[plain < 52])
    )  # 1024 pixels
    assert (cut[plain == 52] == 52).double().mean() < 0.1  # the first that is cut stays nowhere
    rest = [
        metrics.spearman(a[b >= 52], b[b >= 52])
        for a, b in zip(cut.numpy(), plain.numpy(), strict=True)
    ]
    assert abs(np.mean(rest)) < 0.03 and all(
        sorted(places) == list(range(1024)) for places in cut.tolist()
    )
    assert not torch.equal(
        cut[0][plain[0] >= 52], cut[1][plain[1] >= 52]
    )  # each picture draws for itself


def test_accuracy_is_told_apart_by_what_the_explained_network_gets_right():
    explained = torch.tensor([True, True, True, False, False])
    content = {
        "parameters": {"method": "saliency", "mode": "kar", "fraction": 0.1, "seed": 1},
        "rows": [{"accuracy": 0.4}],
        "correct": cells.pack(torch.tensor([True, False, False, True, False])),
    }
    row = retraining.tidy([content], explained).iloc[0]
    assert (row["where_right"], row["where_wrong"]) == (
        pytest.approx(1 / 3),
        0.5,
    ) and "where_right" not in retraining.tidy([content])
    assert np.isnan(
        retraining.tidy([content], torch.ones(5, dtype=torch.bool)).iloc[0]["where_wrong"]
    )


def test_ranks_of_rectgrad_are_of_its_positive_part(studied):
    """The rest is zero, so that its places are drawn, not those of the negative values."""
    who = Subject(
        networks.load("rectgrad_cnn", "shapes10"), studied["test"], "rectgrad_cnn", "shapes10"
    )
    images = to_range(who.pictures.images, who.model)
    positive = attribution.rectgrad(who.model, images).sum(1)
    assert (attribution.rectgrad(who.model, images, final_threshold=False) < 0).any() and (
        positive >= 0
    ).all()
    big = positive > 1e-2
    assert (
        big.any()
        and (retraining.ranks(who, "rectgrad").long()[big] < big.flatten(1).sum(1).max()).all()
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_occlusion_by_ranks_is_that_of_the_kernel(mode, fraction, studied):
    who = Subject(
        networks.load("rectgrad_cnn", "shapes10"), studied["test"], "rectgrad_cnn", "shapes10"
    )
    maps = attribution.to_map(
        attribution.saliency(who.model, to_range(who.pictures.images, who.model)), "sum"
    )
    images = to_range(who.pictures.images, who.model)
    expected = metrics.occlude_pixels(
        images,
        maps,
        fraction,
        0.25,
        keep=mode == "kar",
        generator=torch.Generator().manual_seed(0),
        noise=retraining.NOISE,
    )
    gone = retraining.occluded(retraining.ranks(who, "saliency"), fraction, mode)
    assert torch.equal(torch.where(gone[:, None], 0.25, images), expected)
    share = gone.flatten(1).double().mean(1)
    assert (share - (fraction if mode == "roar" else 1 - fraction)).abs().max() <= 1 / 1024


def test_the_random_baseline_drops_every_pixel_independently():
    one, same, other = (retraining.occluded((400, 16, 16), 0.3, "roar", seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert (
        abs(one.double().mean() - 0.3) < 0.01 and one.flatten(1).sum(1).unique().numel() > 10
    )  # not the same number in every picture
    assert torch.equal(retraining.occluded((400, 16, 16), 0.3, "kar", 1), ~one)


def test_the_fill_is_the_mean_of_every_channel(studied):
    images = studied["train"].images
    assert torch.allclose(
        retraining.channel_mean(images)[:, 0, 0],
        images.double().mean((0, 2, 3)),
        rtol=1e-12,
        atol=0,
    )


def test_pictures_with_more_pixels_than_a_rank_can_count_are_refused(studied):
    big = Dataset(
        "big",
        "test",
        torch.zeros(1, 3, 257, 256, dtype=torch.uint8),
        torch.zeros(1, dtype=torch.long),
        ("a",),
        "made",
    )
    with pytest.raises(ValueError, match="65792 pixels.*65536"):
        retraining.ranks(Subject(None, big, "x", "y"), "saliency")


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'keep'.*roar, kar, holes"):
        retraining.occluded((1, 2, 2), 0.5, "keep")


def test_ranks_are_kept_in_pieces_and_computed_once(studied, monkeypatch):
    monkeypatch.setattr(retraining, "CHUNK", 12)
    who = Subject(
        networks.load("rectgrad_cnn", "shapes10"), studied["test"], "rectgrad_cnn", "shapes10"
    )
    found = retraining.ranks(keeping(who), "saliency")
    files = sorted(f.name for f in (sources.CACHE / "ranks").iterdir())
    assert len(files) == 3 and all(
        name.endswith(("-0.npy", "-12.npy", "-24.npy")) for name in files
    )
    monkeypatch.setattr(retraining, "_ranked", lambda *_: pytest.fail("it is stored"))
    assert torch.equal(retraining.ranks(keeping(who), "saliency"), found)


# ---- the plan


def test_every_cell_is_planned_once_in_the_order_of_use(studied):
    plan = [c.parameters for c in retraining.everything(dataset="shapes10")]
    assert len(plan) == 3 * (1 + 14 * 10) + 2 * 2 * 10 + 2 * 6 * 10 + 14 * 2 + 2 * (
        1 + 8 * 10
    ) and len({c.name for c in retraining.everything(dataset="shapes10")}) == len(plan)

    def group(p):
        if p["mode"] == retraining.HOLES:
            return "holes"
        groups = {"cut": retraining.CUT, "printed": PRINTED, "added": ADDED}
        return next((name for name, methods in groups.items() if p["method"] in methods), "last")

    order = [(p["protocol"]["epochs"], p["seed"], group(p)) for p in plan if p["method"] != "none"]
    blocks = [(*key, len(list(members))) for key, members in itertools.groupby(order)]
    assert blocks == [
        (3, 1, "printed", 80),
        (3, 2, "printed", 80),
        (3, 1, "holes", 16),
        (3, 1, "cut", 60),
        (3, 1, "added", 60),
        (3, 2, "added", 60),
        (3, 1, "last", 20),
        (3, 1, "holes", 12),
        (3, 2, "cut", 60),
        (20, 1, "printed", 80),
        (20, 2, "printed", 80),
        (3, 2, "last", 20),
        (3, 3, "printed", 80),
        (3, 3, "added", 60),
    ]
    assert {p["fraction"] for p in plan if p["mode"] == retraining.HOLES} == {0.3, 0.7}
    assert all(p["protocol"]["seed"] == p["seed"] for p in plan)


def test_the_seed_of_the_explained_network_is_refused(studied):
    """A network of that seed starts from the weights that the explained one started from."""
    assert networks.card("rectgrad_cnn", "shapes10")["protocol"]["seed"] == 0
    with pytest.raises(ValueError, match="seed 0 is that of the explained network"):
        planned(seeds=(1, 0))


def test_a_field_that_protocols_gain_later_changes_no_key(studied, monkeypatch):
    before = [c.name for c in planned()]

    @dataclass(frozen=True)
    class Later(Protocol):
        warmup: int = 0

    monkeypatch.setattr(retraining, "Protocol", Later)
    later = Later(**{f.name: getattr(BRIEF, f.name) for f in fields(Protocol)})
    assert [c.name for c in planned(protocol=later)] == before
    assert [c.name for c in planned(protocol=replace(later, warmup=1))] != before


def test_an_unknown_method_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(retraining, "explained_subjects", lambda *_: pytest.fail("it was read"))
    for name in ("gradcam", "thresholded:gradcam", "thresholded:random"):
        with pytest.raises(ValueError, match=f"'{name}'.*saliency.*thresholded:<method>"):
            retraining.plan("shapes10", methods=(name,))


# ---- a retraining


def test_a_retraining_against_the_loop_written_out(studied):
    one = next(
        c
        for c in planned(methods=("saliency",), fractions=(0.3,), modes=("kar",))
        if c.parameters["method"] == "saliency"
    )
    found = retraining.retrain(one.parameters)
    base, network = (
        networks.load("rectgrad_cnn", "shapes10"),
        networks.load("rectgrad_cnn", classes=shapes10.CLASSES, seed=1),
    )
    mean = studied["train"].images.double().mean((0, 2, 3)) / 127.5 - 1
    shown = {}
    for split, pictures in studied.items():
        x = to_range(pictures.images, base)
        maps = attribution.saliency(base, x).sum(1)
        noisy = (
            maps + 1e-4 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))
        ).flatten(1)
        keep = (
            torch.zeros_like(noisy, dtype=torch.bool)
            .scatter(1, noisy.topk(round(0.3 * 1024), dim=1).indices, True)
            .view(maps.shape)
        )
        shown[split] = torch.where(keep[:, None], x, mean.float()[:, None, None])
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=6)
    network.train().to(memory_format=torch.channels_last)
    for epoch in range(2):
        for index in torch.randperm(
            60, generator=torch.Generator().manual_seed(1_000_003 + epoch)
        ).split(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(
                network(shown["train"][index].contiguous(memory_format=torch.channels_last)),
                studied["train"].labels[index],
            ).backward()
            optimizer.step()
            cycle.step()
    right = network.eval()(shown["test"]).argmax(1) == studied["test"].labels
    assert found["rows"] == [
        {"accuracy": right.double().mean().item(), "right": int(right.sum()), "n": 30}
    ]
    assert torch.equal(cells.unpack(found["correct"]), right)


def test_of_the_holes_alone_nothing_but_their_places_is_seen(studied):
    """Written out: a picture of the mean colour where pixels are gone and of white elsewhere."""
    p = next(
        c.parameters
        for c in retraining.holes(
            dataset="shapes10", methods=("random", "saliency"), fractions=(0.3,), protocol=BRIEF
        )
        if c.parameters["method"] == "saliency"
    )
    found = retraining.retrain(p)
    mean = (studied["train"].images.double().mean((0, 2, 3)) / 127.5 - 1).float()[:, None, None]
    network = networks.load("rectgrad_cnn", classes=shapes10.CLASSES, seed=1)
    from study.subjects.training import fit

    shown = {}
    for split, pictures in studied.items():
        first = retraining.pixel_places(
            "shapes10", "rectgrad_cnn", "shapes10", None, None, True, "saliency", split
        ).int() < round(0.3 * 1024)
        shown[split] = torch.where(
            first[:, None], mean, torch.ones(len(pictures), 3, 32, 32)
        ).contiguous(memory_format=torch.channels_last)
    fit(
        network,
        studied["train"],
        replace(BRIEF, seed=1),
        inputs=lambda index: shown["train"][index],
        log=lambda line: None,
    )
    right = network.eval()(shown["test"]).argmax(1) == studied["test"].labels
    assert torch.equal(cells.unpack(found["correct"]), right)
    assert all(c.parameters["mode"] == "holes" for c in retraining.holes(dataset="shapes10"))
    retraining.run(
        [
            *planned(fractions=(0.5,)),
            *retraining.holes(dataset="shapes10", methods=("random",), protocol=BRIEF),
        ],
        workers=0,
    )
    assert set(retraining_tables.stored(BRIEF, "shapes10")["mode"]) == {
        "none",
        *MODES,
    }  # no curve of ROAR or KAR


def test_without_occlusion_it_is_plain_training(studied):
    none = planned()[0].parameters
    assert (none["method"], none["fraction"]) == ("none", 0)
    network = networks.load("rectgrad_cnn", classes=shapes10.CLASSES, seed=1)
    from study.subjects.training import accuracy, fit

    fit(network, studied["train"], replace(BRIEF, seed=1), log=lambda line: None)
    assert retraining.retrain(none)["rows"][0]["accuracy"] == accuracy(network, studied["test"])


def test_seeds_differ_in_weights_order_and_random_pixels(studied):
    first, second = (
        next(
            c.parameters
            for c in planned(seeds=(seed,), fractions=(0.5,), modes=("roar",))
            if c.parameters["method"] == "random"
        )
        for seed in (1, 2)
    )
    pictures = studied["train"]
    gone = [retraining.pixels_gone(p, pictures, None) for p in (first, second)]
    assert not torch.equal(*gone) and not torch.equal(
        gone[0][:30], retraining.pixels_gone(first, studied["test"], None)
    )


def test_pictures_or_weights_that_changed_since_the_plan_are_refused(studied):
    p = planned()[0].parameters
    with pytest.raises(networks.ModelError, match="weights shapes10 of rectgrad_cnn have changed"):
        retraining.retrain(p | {"weights_hash": "0" * 12})
    with pytest.raises(sources.DataError, match="shapes10 test has changed"):
        retraining.retrain(p | {"test_data": "0" * 12})


def test_a_grid_is_computed_once_and_read_afterwards(studied, monkeypatch):
    plan = planned(fractions=(0.5,))
    found = retraining.run(plan, workers=0)
    assert found[["method", "mode", "fraction", "seed"]].values.tolist() == [
        ["none", "none", 0.0, 1]
    ] + [[m, mode, 0.5, 1] for m in ("random", "saliency") for mode in MODES]
    monkeypatch.setattr(retraining, "retrain", lambda p: pytest.fail("it is stored"))
    assert retraining.run(plan, workers=0).equals(found)
    order = ["seed", "method", "mode"]
    current = plan[0].parameters["weights_hash"]
    assert (
        retraining_tables.stored(BRIEF, "shapes10", current=current)
        .sort_values(order, ignore_index=True)
        .equals(found.sort_values(order, ignore_index=True))
    )
    assert (
        len(retraining_tables.stored(FULL, "shapes10"))
        == len(retraining_tables.stored(BRIEF, "shapes10", current="0" * 12))
        == len(retraining_tables.stored(BRIEF))
        == 0
    )
    whole = retraining_tables.flags(BRIEF, "shapes10")
    assert (
        list(whole) == [("none", "none", 1)]
        and whole["none", "none", 1].mean() == found["accuracy"][0]
    )  # half a curve is none


def test_a_grid_is_checked_before_anything_is_trained():
    retraining.check_grid(["random", "saliency"], [0.1, 0.3], "quick")
    for arguments, word in (
        ((["saliency", "active"], [0.1, 0.3], "quick"), "random"),
        ((["random"], [0.1, 0.3], "quick"), "at least one method"),
        ((["random", "saliency"], [0.1], "quick"), "at least two"),
        ((["random", "saliency"], [0.3, 0.1], "quick"), "ascending"),
        ((["random", "saliency"], [0.1, 1.3], "quick"), "from 0 to 1"),
        ((["random", "saliency"], [0.1, 0.3], "fast"), "quick, short, full"),
    ):
        with pytest.raises(ValueError, match=word):
            retraining.check_grid(*arguments)


def test_what_is_not_stored_is_left_out_if_nothing_is_computed(monkeypatch, tmp_path):
    cells_made = [cells.Cell("roar", f"cell{k}", {"number": k}) for k in range(3)]
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    cells.write(cells_made[1].path(), {"parameters": {"number": 1}})
    monkeypatch.setattr(retraining, "retrain", None)  # whatever calls it fails
    found = retraining.gathered(cells_made, stored=True, compute=False)
    assert [c["parameters"]["number"] for c in found] == [1]
    with pytest.raises(ValueError, match="stored or compute"):
        retraining.gathered(cells_made, stored=False, compute=False)


def test_cells_are_computed_where_they_should_be(monkeypatch):
    monkeypatch.setattr(retraining, "contents", lambda cells: ("now", cells))
    monkeypatch.setattr(retraining, "map_cells", lambda f, cells, **options: (cells, options))
    assert retraining.gathered(["a"], stored=False) == ("now", ["a"])
    kept = retraining.gathered(["a"], stored=True, workers=2)
    assert kept == (["a"], {"workers": 2, "scheduler": None})


def test_what_is_left_is_what_a_network_sees(studied):
    """Black where pixels are gone; ROAR and KAR share the picture between them."""
    network = networks.load("rectgrad_cnn", "shapes10")
    training = Subject(network, studied["train"], "rectgrad_cnn", "shapes10")
    left = retraining.left_of(training, ["random", "saliency"], 0.3)
    assert list(left) == [
        f"{method} {mode}, what is left" for method in ("random", "saliency") for mode in MODES
    ]
    images = training.pictures.images[:8].float()
    for method in ("random", "saliency"):
        roar, kar = (left[f"{method} {mode}, what is left"] for mode in MODES)
        assert torch.equal(roar + kar, images) and not torch.equal(roar, images)
