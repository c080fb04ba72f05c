"""study.experiments.ladder: the steps between deletion and ROAR, on flags made by hand and on a
small network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from study.experiments import ladder, synthesis
from study.experiments.synthesis import Retrained, Study
from study.subjects import networks, shapes10
from study.subjects.subject import Subject

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("random", "saliency", "rectgrad", "active")
FRACTIONS = (0.2, 0.4, 0.8)


def bits(*rows):
    return np.array(rows, dtype=bool)


def made(tested=None, pictures=None) -> tuple[Study, Retrained]:
    """A study of four of six pictures, and networks retrained under ROAR: the later the name, the
    more of their flags are right."""
    index = torch.tensor([0, 2, 3, 5])
    whole = Subject(None, pictures, "rectgrad_cnn", "shapes10")
    flags = {("none", "none", 1): np.ones((1, 6), bool)}
    for k, name in enumerate(NAMES):
        right = np.zeros((3, 6), bool)
        right[: k if k < 3 else 3] = True
        flags[name, "roar", 1] = right
        flags[name, "kar", 1] = ~right
    found = Retrained(whole, tested, flags, FRACTIONS, "quick")
    return Study(whole, whole, None, None, index), found


def test_maps_that_are_walked():
    this, found = made()
    assert ladder.walked(this, found, ["active", "saliency", "deeplift"]) == [
        "random",
        "active",
        "saliency",
    ]


def shifts():
    """Name -> what `synthesis.shift` returns, on four pictures."""
    return {
        name: {
            "mean": torch.full((4,), 0.1 * k, dtype=torch.float64),
            "same": torch.full((3, 4), k > 1),
            "right": torch.full((3, 4), k > 2),
            "moved": torch.full((3, 4), 1.0 - k, dtype=torch.float64),
        }
        for k, name in enumerate(NAMES)
    }


def test_steps_are_areas_of_the_studys_pictures():
    """The trapezoid over fractions of unequal distance: of flags right at 0.2 alone, a sixth."""
    this, found = made()
    black = {name: torch.full((1, 4), 9.0 - k) for k, name in enumerate(NAMES)}
    walk = ladder.steps(this, found, black, shifts())
    assert list(walk) == list(ladder.STEPS)
    roar = walk[ladder.ROAR]
    assert roar["random"].tolist() == [[0] * 4]
    assert roar["saliency"][0, 0] == pytest.approx(0.5 * 0.2 / 0.6)
    assert roar["active"].tolist() == [[pytest.approx(1)] * 4]
    assert walk[ladder.RIGHT]["rectgrad"].sum() == 0
    assert walk[ladder.ORDER]["rectgrad"].tolist() == [[pytest.approx(1)] * 4]


def test_turns_end_with_first_to_last():
    this, found = made()
    black = {name: torch.full((1, 4), 9.0 - k) for k, name in enumerate(NAMES)}
    walk = ladder.steps(this, found, black, shifts())
    rungs, turns = ladder.turns(walk)
    assert set(rungs["name"]) == set(NAMES)
    whole, alone = turns.iloc[-2], turns.iloc[-1]
    assert whole["step"] == ladder.WHOLE and whole["correlation"] == -1
    assert alone["step"] == ladder.METHODS_ALONE and alone["correlation"] == -1
    assert turns["least"].isna().sum() == 2 and turns["step"].tolist()[0] == ladder.MEAN
    few = {step: {m: of[m] for m in NAMES[:2]} for step, of in walk.items()}
    assert all(table.empty for table in ladder.turns(few))


def test_distance_against_both_areas():
    """Random moves farthest and has the lowest areas: -1 with both; of two maps, nothing."""
    this, found = made()
    black = {name: torch.full((1, 4), 1.0) for name in NAMES}
    walk = ladder.steps(this, found, black, shifts())
    table = ladder.distance_with_areas(walk, shifts())
    assert table["step"].tolist() == [ladder.ORDER, ladder.ROAR]
    assert table["correlation"].tolist()[1] == -1 and table["correlation"].tolist()[0] < 0
    two = {name: shifts()[name] for name in NAMES[:2]}
    assert ladder.distance_with_areas(walk, two).empty


@pytest.fixture(scope="module")
def drawn():
    """The committed network on a few drawn pictures."""
    network = networks.load("rectgrad_cnn", "shapes10")
    return Subject(network, shapes10.draw("test", count=6), "rectgrad_cnn", "shapes10")


def test_legible_is_counted_where_the_explained_network_is_wrong(monkeypatch, drawn):
    """Two of six pictures are wrong; a method whose networks are right on one of them in one of
    three fractions has 1/6."""
    _, found = made(pictures=drawn.pictures)
    found = found._replace(whole=drawn)
    wrong = torch.tensor([True, True, True, True, False, False])
    monkeypatch.setattr(synthesis.deletion, "correct", lambda studied: wrong)
    right = bits([1] * 5 + [0], [1] * 4 + [0, 0], [1] * 4 + [0, 0])
    flags = {**found.flags, ("saliency", "roar", 1): right}
    points = ladder.legible(found._replace(flags=flags)).set_index(["mode", "method"])
    assert points.loc[("roar", "saliency"), "wrong"] == pytest.approx(1 / 6)
    assert points.loc[("roar", "active"), "wrong"] == pytest.approx(1)
    assert points.loc[("kar", "active"), "wrong"] == 0
    assert "random" not in points.index.get_level_values(1)
    table = ladder.legibility(points.reset_index()).set_index("mode")
    assert table.loc["roar", "methods"] == 3
    assert ladder.legibility(points.reset_index()[:2]).empty


def test_shock_compares_with_networks_of_the_same_pictures(drawn):
    """All whole pictures are judged by the network as it is; nothing is walked, nothing is said."""
    this, found = made(pictures=drawn.pictures)
    this = this._replace(whole=drawn.take(this.index))
    table = ladder.shock(this, found, shifts())
    assert table["fraction"].tolist() == list(FRACTIONS) and set(table["methods"]) == {4}
    # of four maps: right at the first fraction 3 of 4 of them after retraining
    assert table["retrained"].tolist()[0] == pytest.approx(0.75)
    assert table["before"].tolist() == [pytest.approx(0.25)] * 3
    assert ladder.shock(this, found, {}).empty


def test_checks_before_long_work():
    this, found = made(tested=torch.tensor([0, 2, 3]))
    with pytest.raises(ValueError, match="fewer than the 4 of the study"):
        ladder.check_pictures(this, found, 400)
    this, found = made()
    ladder.check_pictures(this, found, None)
    with pytest.raises(ValueError, match="five nearest"):
        ladder.check_pictures(this, found, 4)


def test_random_pixels_are_found_among_the_tested_ones(monkeypatch):
    """Where networks were tested on some pictures, a place among these; else in the split."""
    asked = []
    monkeypatch.setattr(synthesis, "witness", lambda this, model: model)
    monkeypatch.setattr(
        synthesis, "shift", lambda this, *rest: asked.append((this.index.tolist(), rest))
    )
    this, found = made(tested=torch.tensor([0, 1, 2, 3, 5]))
    ladder.moved(this, found, ["random"], training="known", witness="basic_cnn")
    this, found = made()
    ladder.moved(this, found, ["random"], training="known", witness="basic_cnn")
    assert asked[0] == ([0, 2, 3, 4], ("known", "basic_cnn", "random", FRACTIONS))
    assert asked[1][0] == [0, 2, 3, 5]
