"""study.experiments.retraining_tables: what follows from the accuracies of retrained networks."""

from __future__ import annotations

import itertools
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from lib.metrics.statistics import holm
from study.experiments import retraining_tables
from study.experiments.retraining import ADDED, FRACTIONS, FULL, HOLES, MODES, PRINTED, SHORT
from study.store import cells


def made(accuracies: dict, whole=0.7, seeds=(0,)) -> pd.DataFrame:
    """Accuracies {(method, mode): [one a fraction]} as `tidy` returns them; a seed adds a hundredth
    of itself."""
    rows = [
        {"method": "none", "mode": "none", "fraction": 0.0, "seed": s, "accuracy": whole}
        for s in seeds
    ]
    for (m, mode), heights in accuracies.items():
        for f, a in zip(FRACTIONS, heights, strict=True):
            rows += [
                {"method": m, "mode": mode, "fraction": f, "seed": s, "accuracy": a + s / 100}
                for s in seeds
            ]
    return pd.DataFrame(rows)


def test_networks_that_repeat_the_explained_one(monkeypatch):
    explained = np.array([True, True, False, False])
    stored = {
        (m, "kar", s): np.array([[1, s == 1, 0, 1]] + [[0, 0, 0, 0]] * 4, dtype=bool)
        for m in PRINTED
        for s in (1, 2)
    } | {
        ("none", "none", 1): np.array([[1, 1, 0, 0]], dtype=bool),
        ("active", "kar", 1): np.zeros((5, 4), bool),
    }
    monkeypatch.setattr(retraining_tables, "flags", lambda protocol, current: stored)
    found = retraining_tables.repeated(explained)
    assert (
        set(found.index) == {"none", *PRINTED}
        and found.loc["deeplift"].tolist() == [0.75, 0.5]
        and found.loc["none"].tolist() == [1, 0]
    )  # the first share alone, two seeds
    stored = {key: f for key, f in stored.items() if key[0] != "deeplift"}
    assert not len(retraining_tables.repeated(explained))


def test_curves_are_whole_or_left_out():
    """Two fractions asked for: the method that lacks one is left out, as is a third fraction; what
    saw everything has one of its own."""

    def content(method, mode, fraction, *right):
        return {
            "parameters": {"method": method, "mode": mode, "fraction": fraction, "seed": 1},
            "correct": cells.pack(torch.tensor(right, dtype=torch.bool)),
        }

    found = retraining_tables.curves_of(
        [
            content("none", "none", 0.0, 1, 1),
            content("saliency", "roar", 0.7, 0, 1),
            content("saliency", "roar", 0.3, 1, 1),
            content("saliency", "roar", 0.5, 0, 0),
            content("saliency", "kar", 0.3, 1, 1),
        ],
        (0.3, 0.7),
    )
    assert {key: f.tolist() for key, f in found.items()} == {
        ("none", "none", 1): [[True, True]],
        ("saliency", "roar", 1): [[True, True], [False, True]],
    }


def test_areas_by_hand():
    found = retraining_tables.areas(
        made(
            {
                ("saliency", "roar"): [0.6, 0.5, 0.4, 0.3, 0.2],
                ("saliency", "kar"): [0.2, 0.3, 0.4, 0.5, 0.6],
            }
        )
    ).set_index("mode")
    assert found.loc["roar", "span"] == pytest.approx(0.4)  # a straight line: its middle
    assert found.loc["roar", "extended"] == pytest.approx(
        0.05 * (0.7 + 0.6) + 0.8 * 0.4 + 0.05 * (0.2 + 0.1)
    )
    assert found.loc["kar", "span"] == pytest.approx(0.6) and found.loc[
        "kar", "extended"
    ] == pytest.approx(1 - (0.05 * (0.1 + 0.2) + 0.8 * 0.4 + 0.05 * (0.6 + 0.7)))


def test_a_curve_that_lacks_a_fraction_has_no_area():
    found = made(
        {
            ("saliency", "roar"): [0.6, 0.5, 0.4, 0.3, 0.2],
            ("random", "roar"): [0.6, 0.5, 0.4, 0.3, 0.2],
        }
    )
    assert retraining_tables.areas(found.drop(index=found.index[-1]))["method"].tolist() == [
        "saliency"
    ]
    assert (
        len(retraining_tables.areas(found[found["method"] != "none"])) == 0
    )  # nor one without the network that saw everything


def test_random_rows_that_are_one_experiment_add_up_to_one():
    """Table 1 prints .5562 and .4438: keeping a share at random is removing the rest."""
    heights = [0.65, 0.6, 0.5, 0.4, 0.25]
    found = retraining_tables.areas(
        made({("random", "roar"): heights, ("random", "kar"): heights[::-1]})
    ).set_index("mode")["span"]
    assert found["roar"] + found["kar"] == pytest.approx(1)


def test_differences_from_random_are_paired_by_seed():
    """Intervals from the variance pooled over methods: of areas over seeds, of differences once
    each seed's mean is taken out."""
    levels = {
        "random": (0.5, 0.6, 0.7),
        "saliency": (0.45, 0.56, 0.64),
        "rectgrad": (0.4, 0.49, 0.61),
    }
    areas = pd.DataFrame(
        [
            {"method": m, "mode": "roar", "seed": s, "span": v}
            for m, values in levels.items()
            for s, v in enumerate(values)
        ]
    )
    found, x = (
        retraining_tables.against_random(areas).set_index("method"),
        np.array(list(levels.values())),
    )
    pooled = x.var(axis=1, ddof=1).mean() ** 0.5
    half = scipy.stats.t.ppf(0.975, 6) * pooled / 3**0.5
    assert found.loc[
        "saliency", ["seeds", "area", "area_low", "area_high", "difference"]
    ].tolist() == pytest.approx([3, 0.55, 0.55 - half, 0.55 + half, -0.05])
    rest = (
        sum(
            (x[m, s] - x[m].mean() - x[:, s].mean() + x.mean()) ** 2
            for m in range(3)
            for s in range(3)
        )
        / 4
    )
    reach = scipy.stats.t.ppf(0.975, 4) * (2 * rest / 3) ** 0.5
    assert found.loc["saliency", ["low", "high"]].tolist() == pytest.approx(
        [-0.05 - reach, -0.05 + reach]
    )
    assert found.loc["random", ["area", "difference", "low", "high"]].tolist() == pytest.approx(
        [0.6, 0, 0, 0]
    )
    one = (
        retraining_tables.against_random(areas[areas["seed"] == 0])
        .set_index("method")
        .loc["saliency"]
    )
    assert (
        one["difference"] == pytest.approx(-0.05) and one[["low", "high", "area_low"]].isna().all()
    )  # of one seed no interval
    assert (
        retraining_tables.against_random(areas.iloc[:-1])["seeds"] == 2
    ).all()  # the seeds that all methods have


def test_the_mean_of_both_areas_by_hand():
    """What the line between kept and removed gives away, .1 here, raises ROAR's area, lowers KAR's,
    and drops out."""
    rows = []
    for m, area, line in (("saliency", 0.5, 0.1), ("random", 0.6, 0.0), ("active", 0.4, 0.0)):
        for mode, sign in (("roar", 1), ("kar", -1)):
            rows += [(m, mode, seed, area + sign * line + 0.01 * seed) for seed in (1, 2)]
    found = pd.DataFrame(rows, columns=["method", "mode", "seed", "span"])
    mean = retraining_tables.mean_of_both(found)
    assert mean["method"].tolist() == ["saliency", "random", "active"] and set(mean["mode"]) == {
        "mean"
    }
    assert mean["difference"].tolist() == pytest.approx([-0.1, 0, -0.2]) and mean[
        "area"
    ].tolist() == pytest.approx([0.515, 0.615, 0.415])
    part = found[~((found["method"] == "active") & (found["mode"] == "kar") & (found["seed"] == 2))]
    assert retraining_tables.mean_of_both(part)["seeds"].tolist() == [
        1,
        1,
        1,
    ]  # the seed that one method lacks is nobody's


def test_every_pair_is_compared_over_seeds_and_fractions():
    rng = np.random.default_rng(0)
    cube = (
        rng.random((3, 2, 5)) / 100 + np.array([0.5, 0.49, 0.3])[:, None, None]
    )  # [methods,seeds,fractions]
    names = ("random", "saliency", "rectgrad")
    rows = []
    for (i, s, k), accuracy in np.ndenumerate(cube):
        row = {"method": names[i], "mode": "roar", "fraction": FRACTIONS[k], "seed": s}
        rows.append(row | {"accuracy": accuracy})
    found = retraining_tables.compared(pd.DataFrame(rows))
    assert found[["first", "second"]].values.tolist() == [
        ["random", "saliency"],
        ["random", "rectgrad"],
        ["saliency", "rectgrad"],
    ]
    assert (found["n"] == 10).all()
    squares = 0.0
    for (m, s, k), accuracy in np.ndenumerate(cube):
        of_method, of_seed, of_all = (
            cube[m, :, k].mean(),
            cube[:, s, k].mean(),
            cube[:, :, k].mean(),
        )
        squares += (accuracy - of_method - of_seed + of_all) ** 2
    change = cube[0].mean() - cube[1].mean()
    assert found.iloc[0]["difference"] == pytest.approx(change)
    assert found.iloc[0]["p"] == pytest.approx(
        2 * scipy.stats.t.sf(abs(change) / (2 * squares / 10 / 10) ** 0.5, 10)
    )
    assert (
        found["p_corrected"].tolist() == pytest.approx(holm(found["p"].tolist()))
        and found.iloc[1]["p_corrected"] < 1e-6
    )


def test_two_seeds_can_show_a_difference_among_fourteen_methods_and_noise_does_not():
    rng = np.random.default_rng(1)
    rows = []
    for m, s, f in itertools.product(PRINTED + ADDED, (1, 2), FRACTIONS):
        accuracy = 0.5 - 0.03 * (m == "rectgrad") + rng.normal(scale=0.005)
        row = {"method": m, "mode": "roar", "fraction": f, "seed": s, "accuracy": accuracy}
        rows.append(row)
    found = retraining_tables.compared(pd.DataFrame(rows))
    ours = (found["first"] == "rectgrad") | (found["second"] == "rectgrad")
    assert (
        len(found) == 91
        and (found[ours]["p_corrected"] < 0.05).all()
        and not (found[~ours]["p_corrected"] < 0.05).any()
    )


def test_a_seed_that_lacks_a_fraction_is_left_out():
    curves = {("random", "roar"): [0.5, 0.4, 0.3, 0.2, 0.1], ("saliency", "roar"): [0.3] * 5}
    whole = made(curves, seeds=(0, 1))
    other = made(dict.fromkeys(curves, [0.9] * 5), seeds=(2,))
    found = retraining_tables.compared(pd.concat([whole, other[other["fraction"] < FRACTIONS[1]]]))
    pd.testing.assert_frame_equal(found, retraining_tables.compared(whole))


def test_equal_accuracies_do_not_differ_and_one_seed_tells_nothing():
    same = retraining_tables.compared(
        made({("random", "roar"): [0.5] * 5, ("saliency", "roar"): [0.5] * 5}, seeds=(0, 1))
    )
    assert same["p"].tolist() == [1]
    alone = retraining_tables.compared(
        made({("random", "roar"): [0.5] * 5, ("saliency", "roar"): [0.4] * 5})
    )
    assert alone["difference"].tolist() == pytest.approx([0.1]) and alone[
        ["p", "p_corrected"]
    ].isna().all(axis=None)


def test_the_spread_over_methods_beside_the_spread_over_seeds():
    rows = [
        {
            "method": m,
            "mode": "roar",
            "fraction": 0.5,
            "seed": s,
            "accuracy": level + (0.01 if s else -0.01),
        }
        for m, level in (("a", 0.3), ("b", 0.5))
        for s in (0, 1)
    ]
    (found,) = retraining_tables.analysis_of_variance(pd.DataFrame(rows)).to_dict("records")
    assert (
        found["between"] == pytest.approx(0.2 / 2**0.5)
        and found["within"] == pytest.approx(0.02 / 2**0.5)
        and found["ratio"] == pytest.approx(10)
    )
    assert found["p"] == pytest.approx(scipy.stats.f_oneway([0.29, 0.31], [0.49, 0.51]).pvalue)
    assert (
        len(retraining_tables.analysis_of_variance(pd.DataFrame(rows[:1] + rows[2:3]))) == 0
    )  # one seed has no spread


def test_what_is_stored_is_of_one_protocol_and_without_the_holes(tmp_path, monkeypatch):
    """Networks that saw nothing but places are no part of the grid, nor are other protocols."""
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    about = {"dataset": "cifar10", "model": "rectgrad_cnn", "weights": "cifar10", "count": None}
    about |= {"data": "a", "test_data": "b", "method": "saliency", "fraction": 0.3, "seed": 1}
    grid = [("roar", SHORT, 0.5), ("kar", SHORT, 0.6), (HOLES, SHORT, 0.2), ("roar", FULL, 0.4)]
    for mode, protocol, accuracy in grid:
        parameters = about | {"mode": mode, "protocol": asdict(protocol)}
        wanted = cells.Cell("roar", f"{mode}-{protocol.epochs}", parameters)
        cells.finished(wanted, lambda a=accuracy: {"rows": [{"accuracy": a}]})
    found = retraining_tables.stored(SHORT)
    assert dict(zip(found["mode"], found["accuracy"], strict=True)) == {"roar": 0.5, "kar": 0.6}
    assert found.attrs["test_data"] == "b"
    assert retraining_tables.stored(FULL)["accuracy"].tolist() == [0.4]


# ---- what a chapter shows of a grid that may have holes

METHODS_MADE = {
    ("random", "roar"): [0.60] * 5,
    ("saliency", "roar"): [0.62] * 5,
    ("rectgrad", "roar"): [0.55] * 5,
    ("random", "kar"): [0.60] * 5,
    ("saliency", "kar"): [0.70] * 5,
    ("rectgrad", "kar"): [0.65] * 5,
}


def wobbly(table: pd.DataFrame, method: str, seed: int, by: float) -> pd.DataFrame:
    """The table with one method's accuracies of one seed moved."""
    here = (table["method"] == method) & (table["seed"] == seed)
    return table.assign(accuracy=table["accuracy"] + by * here)


def test_differences_are_against_random_where_nothing_is_missing():
    table = wobbly(made(METHODS_MADE, seeds=(1, 2)), "saliency", 2, 0.01)
    areas = retraining_tables.areas(table)
    shared = ["method", "mode", "seeds", "area", "difference", "low", "high"]
    expected = retraining_tables.against_random(areas)[shared]
    found = retraining_tables.differences(areas)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_a_method_that_lacks_a_seed_keeps_the_other():
    """It is paired with random on its own seed, its interval is wider, and the others keep both."""
    full = wobbly(made(METHODS_MADE, seeds=(1, 2)), "saliency", 2, 0.01)
    part = full[(full["method"] != "rectgrad") | (full["seed"] == 2)]
    found = retraining_tables.differences(retraining_tables.areas(part))
    roar = found[found["mode"] == "roar"].set_index("method")
    assert roar["seeds"].to_dict() == {"random": 2, "saliency": 2, "rectgrad": 1}
    assert roar.loc["rectgrad", "difference"] == pytest.approx(-0.05)
    assert roar.loc["saliency", "difference"] == pytest.approx(0.025)
    width = roar["high"] - roar["low"]
    assert width["rectgrad"] == pytest.approx(2**0.5 * width["saliency"])
    assert width["random"] == 0


def test_one_seed_has_no_interval():
    found = retraining_tables.differences(retraining_tables.areas(made(METHODS_MADE)))
    maps = found[found["method"] != "random"]
    assert maps[["low", "high"]].isna().all(axis=None) and maps["difference"].notna().all()


def test_a_grid_without_what_is_not_whole():
    table = made(METHODS_MADE, seeds=(1, 2))
    lacking = (table["method"] == "saliency") & (table["fraction"] == 0.5) & (table["seed"] == 2)
    whole = retraining_tables.whole_grid(table[~lacking])
    assert set(whole["method"]) == {"none", "random", "rectgrad"}
    assert set(retraining_tables.whole_grid(table)["method"]) == set(table["method"])
    curves = retraining_tables.whole_curves(table[~lacking])
    of_saliency = curves[curves["method"] == "saliency"]
    assert set(of_saliency["seed"]) == {1} and len(curves) == len(table) - 2 * len(FRACTIONS)
    assert set(curves["method"]) == set(table["method"])
    counts = retraining_tables.seeds_measured(
        retraining_tables.areas(table[~lacking]), ["saliency", "active"]
    )
    assert counts.to_dict("list") == {
        "method": ["saliency", "active"],
        "roar": [1, 0],
        "kar": [1, 0],
    }


def test_gains_turn_areas_so_that_more_is_better():
    """Controls are no methods; places count the methods alone."""
    table = pd.DataFrame(
        {
            "method": ["random", "edges", "saliency", "rectgrad", "active"],
            "mode": "kar",
            "difference": [0.0, -0.5, 0.1, -0.2, 0.1],
            "low": [0.0, -0.6, 0.05, -0.3, 0.0],
            "high": [0.0, -0.4, 0.15, -0.1, 0.2],
        }
    )
    gains = retraining_tables.gains_over_random(table)
    assert gains.to_dict("list") == {
        "metric": ["kar"] * 3,
        "name": ["saliency", "rectgrad", "active"],
        "gain": [-0.1, 0.2, -0.1],
        "low": [-0.15, 0.1, -0.2],
        "high": [-0.05, 0.3, 0.0],
    }
    places = retraining_tables.places_among(table)
    assert places["place"].tolist() == [2.5, 1, 2.5] and set(places["of"]) == {3}


def test_flags_become_accuracies():
    flags = {
        ("none", "none", 1): np.array([[1, 1, 0, 1]], bool),
        ("rectgrad", "roar", 1): np.array([[1, 0, 0, 0], [1, 1, 0, 0]], bool),
        ("random", "roar", 1): np.array([[0, 0, 0, 0], [1, 0, 0, 0]], bool),
        ("active", "roar", 1): np.array([[1, 1, 1, 1], [1, 1, 1, 1]], bool),
    }
    table = retraining_tables.accuracies_of(flags, (0.3, 0.7))
    assert table["accuracy"].tolist() == [0.75, 0.25, 0.5, 0, 0.25, 1, 1]
    assert table["fraction"].tolist() == [0, 0.3, 0.7, 0.3, 0.7, 0.3, 0.7]
    gains = retraining_tables.gains_of(flags, (0.3, 0.7), ["rectgrad"])
    assert gains["name"].tolist() == ["rectgrad"] and gains["gain"].item() == -0.25


def sided(rows) -> pd.DataFrame:
    """Retrainings (method, mode, fraction, where right, where wrong) as `tidy` returns them."""
    columns = ["method", "mode", "fraction", "where_right", "where_wrong"]
    return pd.DataFrame(rows, columns=columns).assign(seed=1, accuracy=0.5)


def test_sides_and_where_least_is_left():
    table = sided(
        [("none", "none", 0.0, 0.9, 0.4)]
        + [("saliency", mode, f, f, 1 - f) for mode in MODES for f in (0.1, 0.9)]
    )
    explained = torch.tensor([True] * 10 + [False] * 30)
    sides = retraining_tables.sides(table, explained)
    row = sides[(sides["mode"] == "kar") & (sides["fraction"] == 0.1)].set_index("side")
    assert row["accuracy"].to_dict() == {"right": 0.1, "wrong": 0.9}
    assert row["n"].to_dict() == {"right": 10, "wrong": 30}
    assert (row["low"] < row["accuracy"]).all() and (row["high"] > row["accuracy"]).all()
    least = retraining_tables.least_left(sides)
    kinds = set(zip(least["mode"], least["fraction"], strict=True))
    assert kinds == {("none", 0.0), ("roar", 0.9), ("kar", 0.1)}
    assert set(retraining_tables.sides(table, torch.ones(4, dtype=bool))["side"]) == {"right"}


def test_places_alone_go_with_areas():
    """Random is left out; of two methods there is no correlation."""
    names = ["random", "saliency", "rectgrad", "active"]
    areas = pd.DataFrame({"method": names, "mode": "roar", "area": [0.9, 0.1, 0.2, 0.3]})
    alone = pd.DataFrame({"method": names, "fraction": 0.3, "accuracy": [0, 0.7, 0.6, 0.5]})
    found = retraining_tables.places_with_areas(areas, alone)
    assert found["methods"].item() == 3 and found["correlation"].item() == -1
    assert retraining_tables.places_with_areas(areas[:3], alone).empty


def test_networks_that_did_not_learn():
    table = pd.DataFrame(
        {"method": ["none", "random", "active", "active"], "accuracy": [0.1, 0.1, 0.149, 0.151]}
    )
    assert retraining_tables.stuck(table, 10) == (1, 2)


def test_what_a_protocol_changes():
    names = ["random", "saliency", "rectgrad", "active"]
    short = pd.DataFrame({"method": names, "mode": "roar", "difference": [0, 0.1, -0.1, 0.2]})
    short["area"] = 0.5 + short["difference"]
    full = short.assign(difference=2 * short["difference"])
    found = retraining_tables.protocol_change(short, full[:3])
    assert found["methods"].item() == 3
    assert found["times"].item() == pytest.approx(2) and found["correlation"].item() == 1
    assert retraining_tables.protocol_change(short, full[:2]).empty


def test_the_mean_of_both_by_side():
    table = made(METHODS_MADE, seeds=(1, 2)).assign(
        where_right=lambda t: t["accuracy"] + 0.1, where_wrong=np.nan
    )
    found = retraining_tables.balanced(table)
    assert list(dict.fromkeys(found["pictures"])) == ["all", "where right"]
    area = found[found["pictures"] == "all"].set_index("method")["area"]
    # (0.55 + 0.45 - 0.1) / 2: the area over the curve, and two seeds a hundredth of themselves
    assert area["rectgrad"] == pytest.approx((0.55 + (1 - 0.65)) / 2)
