"""Sentences and tables of chapter 9 from tables made by hand."""

from __future__ import annotations

import math

import pandas as pd

from study.account.summaries import ladder as told
from study.experiments.ladder import METHODS_ALONE, ORDER, ROAR, WHOLE

ORDERED = ["random", *(f"method {k}" for k in range(9))]


def turns(correlations=(0.1, 0.5, 0.9, 0.6), whole=-0.3) -> pd.DataFrame:
    steps = ["mean colour", "paper Noise's order", "right class", "retrained (ROAR)"]
    rows = [(s, c, c - 0.1, c + 0.1, 0.25) for s, c in zip(steps, correlations, strict=True)]
    rows.append((WHOLE, whole, whole - 0.1, whole + 0.1, math.nan))
    rows.append((METHODS_ALONE, whole - 0.2, whole - 0.3, whole - 0.1, math.nan))
    return pd.DataFrame(rows, columns=["step", "correlation", "low", "high", "least"])


def legibility(roar=(-0.8, -0.9, -0.2), kar=(0.7, 0.1, 0.9)) -> pd.DataFrame:
    rows = [("roar", 9, *roar), ("kar", 9, *kar)]
    return pd.DataFrame(rows, columns=["mode", "methods", "correlation", "low", "high"])


def shock() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "fraction": [0.3, 0.7],
            "before": [0.35, 0.2],
            "retrained": [0.66, 0.62],
            "moved": [0.1, 0.4],
            "failed": [0.5, 0.75],
            "farther": [0.55, 0.6],
            "low": [0.54, 0.59],
            "high": [0.57, 0.63],
        }
    )


def test_in_short():
    whole, turn, places = told.in_short(turns(), legibility(), shock(), ORDERED, 10)
    assert "order 9 methods and random pixels with a rank correlation of -0.30 (-0.40 to" in whole
    assert whole.endswith(", -0.50 without the controls, as the claim asks.")
    assert "“black deletion” to “mean colour”" in turn and "25% of resamples" in turn
    assert "mistakes are repeated" in places
    assert turn.endswith("Nothing is retrained in it; the step that retrains has +0.60.")
    assert max(len(s.split()) for s in (whole, turn, places)) <= 45
    assert told.in_short(turns()[:0], legibility(), shock(), [], 10) == [told.TOO_FEW]
    short = told.in_short(turns(), legibility()[:0], shock(), ["edges", *ORDERED[1:4]], 10)
    assert "order 3 methods and the edge detector with" in short[0] and "gets 20% right" in short[2]


def test_the_largest_turn_is_the_smallest_correlation():
    said = told.largest_turn(turns((0.5, 0.9, 0.1, 0.6), whole=-0.9))
    assert "“paper Noise's order” to “right class”: rank correlation +0.10" in said
    assert told.largest_turn(turns((0.5, 0.9, 0.6, 0.1))).endswith(
        "this is the step that retrains."
    )


def test_a_correlation_is_read_by_mode_and_interval():
    roar, kar = told.legible(legibility())
    assert roar.endswith("that read the places.") and kar.endswith("that read the places.")
    roar, kar = told.legible(legibility(roar=(0.5, 0.1, 0.9), kar=(-0.5, -0.9, -0.1)))
    assert roar.endswith("see more.") and kar.endswith("see more.")
    roar, _ = told.legible(legibility(roar=(-0.5, -0.9, 0.1)))
    assert roar.endswith("stays open.")
    alike, _ = told.legible(legibility(roar=(math.nan,) * 3))
    assert "all alike" in alike and "nan" not in alike


def test_shock_where_distance_explains_most():
    accuracies, farther = told.shocked(shock(), ORDERED, 4)
    assert accuracies.startswith("At 70% removed") and "20% right, retrained ones 62%" in accuracies
    assert accuracies.endswith("(mean over 9 methods and random pixels; chance 25%).")
    assert "0.60 (0.59 to 0.63" in farther
    _, hardly, _ = told.shocked(shock().assign(retrained=0.3), ORDERED, 4)
    assert hardly.startswith("They have hardly learnt")
    (said,) = told.shocked(shock().assign(farther=math.nan), ORDERED, 4)
    assert "too few" in said


def test_distance_and_areas():
    table = pd.DataFrame(
        {
            "step": [ORDER, ROAR],
            "methods": 10,
            "correlation": [-0.5, math.nan],
            "low": -0.9,
            "high": 0.2,
        }
    )
    (said,) = told.far_and_areas(table, ["random", "edges", "positive"])
    assert said.startswith("Over 1 method, random pixels and the edge detector, how far")
    assert "-0.50 (-0.90 to +0.20) with the area without retraining" in said


def test_maps_with_one_seed():
    flags = dict.fromkeys(
        [("random", "roar", 1), ("random", "roar", 2), ("active", "roar", 1), ("none", "none", 1)]
    )
    (said,) = told.one_seed(flags)
    assert said.endswith(": Active.")
    assert told.one_seed(dict.fromkeys([("active", "roar", 1)])) == []  # none has more


def sparsity():
    return pd.DataFrame(
        {
            "metric": ["black_deletion", "black_score"],
            "kept": 0.7,
            "kept_low": 0.1,
            "kept_high": 0.9,
            "explained": 0.3,
            "explained_low": -0.4,
            "explained_high": 0.8,
            "beaten": [12, 11],
            "of": 14,
        }
    )


def test_sparsity():
    (said,) = told.sparse(sparsity())
    assert said.endswith("shuffled: black deletion 12 of 14.")
    assert told.sparse(sparsity()[:0]) == ["Fewer than four maps have a shuffled twin."]
    shown = told.sparsity_shown(sparsity())
    # turned: the more is zero the worse
    assert shown["sparse is good"].tolist()[0] == "-0.70 (-0.90 to -0.10)"


def test_tables_as_shown():
    shown = told.turns_shown(turns())
    assert shown.iloc[0].tolist() == ["mean colour", "+0.10 (+0.00 to +0.20)", "25%"]
    assert shown.iloc[-1].tolist()[2] == ""
    gains = pd.DataFrame(
        {
            "metric": ["black_deletion", "black_score", "outside"],
            "name": ["active", "active", "rectgrad"],
            "gain": 0.1,
            "low": 0.0,
            "high": 0.2,
        }
    )
    wide = told.gains_shown(gains).set_index("method")
    assert list(wide) == ["black deletion", "off the object"]
    assert wide.loc["Active", "black deletion"] == "+0.100 (+0.000 to +0.200)"
    assert told.shock_shown(shock()).iloc[1].tolist() == [
        "70%",
        "20.0%",
        "62.0%",
        "0.40",
        "75%",
        "0.60 (0.59 to 0.63)",
    ]
    points = pd.DataFrame(
        [("kar", "active", 0.3, 0.1)], columns=["mode", "method", "area", "wrong"]
    )
    assert told.legible_shown(points).iloc[0].tolist() == ["Active", "KAR", 0.3, 0.1]
