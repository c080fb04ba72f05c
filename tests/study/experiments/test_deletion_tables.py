"""study.experiments.deletion_tables: hand-made flags and shares with known answers."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from lib.metrics import PAPER_FRACTIONS
from study.experiments import deletion
from study.experiments import deletion_tables as tables
from study.experiments.deletion import FILLS, MAPS

LAST = len(PAPER_FRACTIONS)
WHOLE = 0.9  # the area of a picture that never changes its class


def flags(falls: int, n: int = 6):
    """The prediction of every picture holds at the first `falls` fractions."""
    kept = torch.zeros(LAST, n, dtype=torch.bool)
    kept[:falls] = True
    return kept


def every(**falls) -> dict:
    """All pairs; `positive_black=2` falls after two fractions, what is not named never."""
    names = (*MAPS, "random", "edges")
    return {(m, f): flags(falls.get(f"{m}_{f}", LAST)) for m in names for f in FILLS}


def test_areas_of_every_subject_map_and_fill():
    table = tables.areas({"net": every(positive_black=1)}).set_index(["map", "fill"])
    assert table.loc[("negative", "white"), "auc"] == pytest.approx(WHOLE)
    # one fraction, and half the way down to the next at 3 %
    assert table.loc[("positive", "black"), "auc"] == pytest.approx(0.015)
    assert set(table["n"]) == {6} and set(table["subject"]) == {"net"}


def test_gains_are_the_signed_maps_own_fills_against_the_original():
    gains = tables.gains({"net": every(positive_black=1, positive_white=1, original_white=1)})
    by = gains.set_index(["map", "fill"])["difference"]
    assert list(by.index) == [
        ("positive", "black"),
        ("active", "black"),
        ("negative", "white"),
        ("inactive", "white"),
    ]
    expected = [0.015 - WHOLE, 0, WHOLE - 0.015, WHOLE - 0.015]
    assert by.tolist() == pytest.approx(expected)


def test_an_early_difference_ends_at_its_fraction():
    found = {"net": every(positive_black=PAPER_FRACTIONS.index(0.2) + 1)}
    whole, early = tables.gains(found), tables.gains(found, until=0.2)
    assert early["difference"].iloc[0] == pytest.approx(0)
    assert whole["difference"].iloc[0] < -0.5


def test_random_pixels_are_what_others_are_measured_against():
    table = tables.against_random({"net": every(random_black=1, edges_white=1)})
    by = table.set_index(["map", "fill"])["difference"]
    assert by["original", "black"] == pytest.approx(WHOLE - 0.015)
    assert by["edges", "white"] == pytest.approx(0.015 - WHOLE)
    assert set(table["against"]) == {"random"} and len(table) == 8


def test_only_controls_are_added_to_the_flags_of_all_pictures():
    found = {"net": {("original", "black"): flags(2, 6)}}
    joined = tables.with_controls(found, {"net": every(original_black=5)})["net"]
    assert torch.equal(joined["original", "black"], flags(2, 6))
    assert ("random", "white") in joined and ("positive", "black") not in joined


def test_the_other_colour_does_less_harm_only_beyond_both_intervals():
    rows = [
        ("positive", "black", 0.1, 0.2),
        ("positive", "white", 0.3, 0.4),
        ("active", "black", 0.1, 0.3),
        ("active", "white", 0.29, 0.4),
        ("negative", "white", 0.5, 0.6),
        ("negative", "black", 0.1, 0.2),
        ("inactive", "white", 0.1, 0.2),
        ("inactive", "black", 0.21, 0.3),
    ]
    frame = pd.DataFrame(rows, columns=["map", "fill", "low", "high"])
    frame = frame.assign(subject="net", auc=(frame["low"] + frame["high"]) / 2)
    less = tables.crossed(frame).set_index("map")["less"]
    assert less.to_dict() == {
        "positive": True,
        "active": False,
        "negative": False,
        "inactive": True,
    }


def score_rows():
    rows = []
    for name, fill in ((m, f) for m in MAPS for f in FILLS):
        for fraction, logit in ((0, 0.0), (0.03, 2.0), (0.5, 3.0), (0.9, -1.0)):
            value = logit if (name, fill) == ("negative", "black") else -9.0
            rows.append(
                {
                    "map": name,
                    "fill": fill,
                    "fraction": fraction,
                    "rose": 0.7,
                    "probability": 0.1,
                    "logit": value,
                    "logit_low": value - 1,
                    "logit_high": value + 1,
                }
            )
    return pd.DataFrame(rows)


def test_improved_takes_the_helping_pairs_and_their_first_best_and_last():
    table = tables.improved({"net": score_rows()})
    assert set(zip(table["map"], table["fill"], strict=True)) == {
        ("negative", "black"),
        ("inactive", "black"),
        ("positive", "white"),
        ("active", "white"),
    }
    row = table.iloc[0]
    assert (row["first"], row["low"], row["high"], row["best"], row["at"], row["last"]) == (
        2,
        1,
        3,
        3,
        0.5,
        -1,
    )


def soft_rows(**areas):
    rows = [
        {
            "strength": strength,
            "map": name,
            "fill": fill,
            "rose": 0.9 if strength < 1 else 0.4,
            "area": areas.get(name, 0.5),
            "area_low": areas.get(name, 0.5) - 0.02,
            "area_high": areas.get(name, 0.5) + (0.06 if name == "original" else 0.02),
        }
        for strength in (0.1, 1.0)
        for name in MAPS
        for fill in FILLS
    ]
    return pd.DataFrame(rows)


def test_active_beside_positive_has_the_widest_half():
    table = tables.active_beside_positive({"net": soft_rows(active=0.4, negative=0.2)})
    at = table[table["strength"] == 1].set_index("first")
    assert at.loc["active", "difference"] == pytest.approx(-0.1)
    assert at.loc["inactive", "difference"] == pytest.approx(0.3)
    assert at["half"].tolist() == pytest.approx([0.04, 0.04])


def test_rose_keeps_the_helping_pairs():
    table = tables.rose({"net": soft_rows()})
    assert len(table) == 8 and not (table["map"] == "original").any()
    assert set(table.loc[table["map"] == "active", "fill"]) == {"white"}


def test_zero_greys_and_shares():
    found = {
        "net": {
            "zero_at": torch.linspace(0, 1, 101),
            "small": torch.tensor([0.2, 0.4]),
            "positive": torch.full((4,), 0.7),
            "negative": torch.full((4,), 0.6),
            "both": torch.full((4,), 0.3),
            "carried": torch.full((4,), 0.5),
        }
    }
    grey = tables.zero_greys(found).iloc[0]
    assert (grey["p5"], grey["median"], grey["p95"]) == pytest.approx((0.05, 0.5, 0.95))
    assert grey["small"] == pytest.approx(0.3) and grey["n"] == 101
    shares = tables.sign_shares(found).set_index("share")
    assert shares.loc["both", ["mean", "low", "high"]].tolist() == pytest.approx([0.3] * 3)


def test_a_curve_is_flat_for_want_of_pixels_or_at_its_floor():
    """Both curves fall at 3 %; the map that keeps much is at its floor, the other exhausted."""
    share = pd.DataFrame({"map": MAPS, "mean": 0.5, "p5": 0.4, "done_50": 0.5, "done_80": 1.0})
    share.loc[share["map"] == "active", "p5"] = 0.02
    falls = {f"{m}_{f}": 1 for m, f in tables.SIGNED}
    table = tables.flattening({"net": every(**falls)}, {"net": share}).set_index("map")
    assert set(table["flat"]) == {0.03} and set(table["last"]) == {0}
    assert table["floor"].to_dict() == {
        "positive": True,
        "active": False,
        "negative": True,
        "inactive": True,
    }


def test_flat_after_allows_for_little():
    curve = torch.full((LAST,), 0.2, dtype=torch.double)
    curve[3] = 0.204
    assert tables._flat_after(curve) == 0
    curve[3] = 0.206
    assert tables._flat_after(curve) == PAPER_FRACTIONS[4]


def both_rules(printed: float) -> pd.DataFrame:
    same = {"map": "inactive", "fill": "white", "n": 5, "ranks": -0.4, "wrong_sign": 0.01}
    return pd.DataFrame(
        [
            same | {"rule": "printed", "auc": printed, "low": printed - 0.1, "high": printed + 0.1},
            same | {"rule": "released", "auc": 0.2, "low": 0.1, "high": 0.3},
        ]
    )


def test_readings_side_by_side_and_those_that_differ():
    table = tables.readings({"a": both_rules(0.8), "b": both_rules(0.2005)})
    assert (
        table["printed"].tolist() == [0.8, 0.2005] and table["released_low"].tolist() == [0.1] * 2
    )
    assert tables.differing(table)["subject"].tolist() == ["a"]


def test_joined_puts_the_subject_first():
    frame = tables.joined({"b": pd.DataFrame({"x": [1, 2]}), "a": pd.DataFrame({"x": [3]})})
    assert frame.to_dict("list") == {"subject": ["b", "b", "a"], "x": [1, 2, 3]}
    assert list(frame.columns) == ["subject", "x"]


def test_without_relu_has_areas_with_ends_and_shares_without():
    share = pd.DataFrame({"map": MAPS, "mean": 0.25})
    about = {"turn": 3.0, "zero": 0.1, "kept": share, "flags": every(active_black=1)}
    table = tables.without_relu({"net": about}).set_index("quantity")
    assert table.loc["active, black", "value"] == pytest.approx(0.015)
    assert table.loc["kept, active", "value"] == 0.25 and pd.isna(table.loc["turn", "low"])
    assert len(table) == 2 + 4 + len(deletion.PRINTED_PAIRS)
