"""Sentences of chapter 7 from tables made by hand: what they say follows from the numbers."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from study.account.summaries import retraining as told
from study.experiments.retraining import FULL, PRINTED

WORDS = 25


def differences(rows, seeds=2, half=0.01) -> pd.DataFrame:
    """(method, mode, difference) as `retraining_tables.differences` returns them."""
    table = pd.DataFrame(rows, columns=["method", "mode", "difference"])
    reach = (table["method"] != "random") * half
    return table.assign(
        area=0.5 + table["difference"],
        low=table["difference"] - reach,
        high=table["difference"] + reach,
        seeds=seeds,
    )


ROWS = [
    ("random", "roar", 0.0),
    ("rectgrad", "roar", -0.03),
    ("saliency", "roar", 0.04),
    ("positive", "roar", 0.005),
    ("random", "kar", 0.0),
    ("rectgrad", "kar", -0.03),
    ("saliency", "kar", -0.04),
    ("positive", "kar", -0.02),
]


def test_ahead_of_random_is_counted_beyond_the_interval():
    said = told.ahead_of_random(differences(ROWS))
    assert "1 of 3 in ROAR and 3 of 3 in KAR" in said and "2 seeds" in said
    unsure = differences(ROWS, seeds=1, half=float("nan"))
    assert told.ahead_of_random(unsure).startswith("One seed cannot tell")


def test_rectgrads_places():
    (said,) = told.rectgrads_places(differences(ROWS))
    assert "place 1 of 3 in ROAR and place 2 of 3 in KAR" in said and "in print" not in said
    printed = [(m, mode, -0.01) for m in PRINTED if m != "random" for mode in ("roar", "kar")]
    others = [row for row in ROWS if row[0] not in PRINTED or row[0] == "random"]
    (said,) = told.rectgrads_places(differences([*others, *printed]))
    assert "; in print place 1 of 7 in both" in said
    # a place among two says nothing
    assert told.rectgrads_places(differences([r for r in ROWS if r[0] != "positive"])) == []
    assert told.rectgrads_places(differences([r for r in ROWS if r[0] != "rectgrad"])) == []


def sides(right, wrong) -> pd.DataFrame:
    rows = [
        (method, "kar", f, side, accuracy)
        for f, lift in ((0.1, 0), (0.9, 0.01))
        for method, *both in (("saliency", right, wrong), ("deeplift", 0.5, 0.4))
        for side, accuracy in zip(("right", "wrong"), [v + lift for v in both], strict=True)
    ]
    table = pd.DataFrame(rows, columns=["method", "mode", "fraction", "side", "accuracy"])
    return table.assign(low=table["accuracy"], high=table["accuracy"], n=100)


def test_the_method_whose_networks_repeat_most_is_named():
    (said,) = told.repeating(sides(0.96, 0.04), 10)
    assert "10% of the pixels, kept by Saliency map" in said and "96%" in said and "4%" in said
    assert "DeepLIFT" in told.repeating(sides(0.5, 0.5), 10)[0]
    assert told.repeating(sides(0.9, 0.1).query("side == 'right'"), 10) == []


def test_in_short_is_short():
    found = told.in_short(differences(ROWS), sides(0.96, 0.04), 10)
    assert len(found) == 3 and max(len(s.split()) for s in found) <= WORDS


def pairs(p) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "mode": "roar",
            "first": ["rectgrad", "rectgrad", "saliency"],
            "second": ["positive", "saliency", "random"],
            "p": p,
            "p_corrected": p,
        }
    )


def test_the_lowest_area_and_what_is_like_it():
    found = told.lowest(differences(ROWS), pairs([0.3, 0.01, 0.9]))
    lowest = "ROAR: of these 3 maps RectGrad has the lowest area less random's, -0.030"
    assert found[0].startswith(lowest)
    assert found[0].endswith("not told apart from it: Positive.")
    assert "Saliency map has the lowest area" in found[1]


def test_what_no_test_compares_is_like_it_where_intervals_overlap():
    """RectGrad PRR lacks a seed, so that no pair holds it; half-widths are 0.01."""
    of_roar = [r for r in ROWS if r[1] == "roar"]
    (near,) = told.lowest(differences([*of_roar, ("rectgrad_prr", "roar", -0.04)]), pairs(0.01))
    assert near.endswith("not told apart from it: RectGrad.")
    (far,) = told.lowest(differences([*of_roar, ("rectgrad_prr", "roar", -0.09)]), pairs(0.01))
    assert "RectGrad PRR has" in far and "told apart" not in far


def test_pairs_that_differ():
    (said,) = told.told_apart(pairs([0.3, 0.01, 0.9]))
    assert "1 of 3 pairs among the 3 maps that have every seed and random pixels" in said
    assert "one seed" in told.told_apart(pairs([math.nan] * 3))[0]


def test_maps_with_a_sign():
    """An area that is lower, but with an interval that overlaps, is not told apart."""
    near = [("active", "roar", 0.03), ("negative", "roar", 0.05), ("inactive", "roar", 0.07)]
    roar, kar = told.signed_maps(differences([*ROWS, *near]))
    assert "a lower area beyond both intervals has Positive, a higher one Inactive" in roar
    assert roar.endswith("not told apart: Negative and Active.")
    assert "has none, a higher one none; not told apart: Positive." in kar  # half-widths 0.01
    (one_seed,) = told.signed_maps(differences(ROWS[:4], seeds=1, half=math.nan))
    assert "has none, a higher one none" in one_seed and one_seed.endswith("apart: Positive.")
    assert told.signed_maps(differences([r for r in ROWS if r[0] != "saliency"])) == []


def test_what_is_not_measured_is_said():
    seeds = pd.DataFrame(
        {"method": ["random", "active", "edges"], "roar": [2, 1, 0], "kar": [2, 2, 2]}
    )
    none, fewer = told.unmeasured(seeds, 2, "full")
    assert none == "Not measured by the full protocol: Edge detector."
    assert "Active" in fewer and "Random" not in fewer
    assert told.unmeasured(seeds[:1], 2, "full") == []


def test_places_alone():
    alone = pd.DataFrame(
        {"method": ["random", "deeplift"], "fraction": 0.3, "accuracy": [0.9, 0.67]}
    )
    found = pd.DataFrame(
        [("roar", 0.3, 12, 0.62, 0.05, 0.88)],
        columns=["mode", "fraction", "methods", "correlation", "low", "high"],
    )
    first, second = told.holes(alone, found, 10)
    assert "up to 67% (DeepLIFT; chance 10%)" in first and "+0.62 (+0.05 to +0.88)" in second
    assert "not measured" in told.holes(alone[:0], found[:0], 10)[0]
    assert len(told.holes(alone, found.assign(correlation=math.nan), 10)) == 1


def test_networks_that_did_not_learn_are_a_warning():
    assert told.not_learnt(0, 8) == [] and told.not_learnt(1, 8)[0].startswith("1 of 8")


def test_trainings():
    table = pd.DataFrame({"method": ["none", "none", "active"], "accuracy": [0.7, 0.72, 0.1]})
    how, whole, explained = told.trainings(table, FULL, torch.arange(1000) < 708, 0.973)
    assert "20 epochs" in how and "71.0%" in whole and "over 2 seeds" in whole
    assert "70.8%, and 97.3%" in explained
    assert "seeds" not in told.trainings(table[1:], FULL, torch.ones(2).bool(), None)[1]


def test_protocols():
    short = differences(ROWS)
    full = short.assign(difference=2 * short["difference"])
    found = told.protocols({"short": short, "full": full})
    assert "correlation of 1.00" in found[0] and "2.0 times as large" in found[0]
    assert "Fewer than three" in told.protocols({"short": short, "full": full[:0]})[0]
    assert "No other protocol" in told.protocols({"short": short})[0]


def beside() -> pd.DataFrame:
    """Two rows of Table 1 and random; the text's reading of one is not there."""
    nan = math.nan
    return pd.DataFrame(
        {
            "row": ["Random", "RectGrad", "Saliency map"],
            "mode": "roar",
            "printed": [0.5562, 0.5385, 0.5568],
            "printed_difference": [0, -0.0177, 0.0006],
            "area": [0.56, 0.53, 0.62],
            "difference": [0, -0.03, 0.06],
            "low": [0, -0.034, 0.056],
            "high": [0, -0.026, 0.064],
            "seeds": 2,
            "verdict": ["", "disagree", "disagree"],
            "text_area": [0.56, 0.53, nan],
            "text_difference": [0, -0.018, nan],
            "text_low": [0, -0.022, nan],
            "text_high": [0, -0.014, nan],
            "text_seeds": [2, 2, nan],
            "text_verdict": ["", "agree", ""],
            "epochs": 20,
        }
    )


def test_both_readings_beside_print():
    rows = told.printed_rows(beside())
    assert len(rows.columns) <= 6 and rows["area"].tolist() == [
        "RectGrad, ROAR",
        "Saliency map, ROAR",
    ]
    assert rows["by the text (20 epochs)"].tolist() == ["-0.018 ± 0.004", "not measured"]
    assert rows["as released (20 epochs)"].tolist() == ["-0.030 ± 0.004", "+0.060 ± 0.004"]
    text, released = told.printed_in_short(beside())
    assert "text, 1 of 1 differences" in text and "2 seeds, 20 epochs" in text
    assert "released code, 0 of 2 differences" in released
    nothing = beside().assign(text_area=math.nan)
    assert "not measured" in told.printed_in_short(nothing)[0]
    assert told.printed_in_short(None) == [told.NOT_PRINTED] and told.printed_rows(None).empty
    assert told.levels_shown(beside())["by the text (20 epochs)"].tolist()[-1] == "not measured"
    assert told.levels_shown(None).empty


class Asked:
    """What is studied, by its names."""

    def __init__(self, data, model, weights):
        self.pictures, self.model_name, self.weights = type("P", (), {"name": data}), model, weights


@pytest.mark.parametrize(
    ("names", "stored", "images"),
    [
        (("shapes10", "rectgrad_cnn", "cifar10"), True, None),
        (("cifar10", "rectgrad_cnn", "cifar10"), False, None),
        (("cifar10", "rectgrad_cnn", "cifar10"), True, 100),
    ],
)
def test_print_is_for_the_papers_own_network_alone(monkeypatch, names, stored, images):
    monkeypatch.setattr(told.table1, "beside", beside)
    assert told.beside_print(Asked(*names), stored, images) is None
    assert told.beside_print(Asked("cifar10", "rectgrad_cnn", "cifar10"), True, None) is not None


# ---- layouts


def test_sides_are_laid_out_by_end():
    table = pd.concat(
        [
            sides(0.96, 0.04),
            sides(0.5, 0.3).assign(mode="roar"),
            pd.DataFrame(
                [("none", "none", 0.0, "right", 0.9, 0.9, 0.9, 100)],
                columns=["method", "mode", "fraction", "side", "accuracy", "low", "high", "n"],
            ),
        ]
    )
    shown = told.sides_shown(table)
    assert shown["method"].tolist() == ["Nothing removed", "Saliency map", "DeepLIFT"]
    assert list(shown.columns)[1] == "ROAR at 0.9, where right"
    assert shown["KAR at 0.1, where right"].tolist()[1].startswith("0.960")


def test_areas_by_both_rules():
    rows = [
        (m, mode, s, 0.5 + 0.1 * (m == "active") + s / 100, 0.4)
        for m in ("random", "active")
        for mode in ("roar", "kar")
        for s in (1, 2)
    ]
    areas = pd.DataFrame(rows, columns=["method", "mode", "seed", "span", "extended"])
    shown = told.areas_by_rule(areas).set_index("method")
    assert list(shown) == ["ROAR, span", "KAR, span", "ROAR, extended", "KAR, extended"]
    assert shown.loc["Random", "ROAR, span"] == "0.515"
    assert shown.loc["Active", "ROAR, span"].startswith("0.615 (+0.100")


def test_protocols_side_by_side_say_what_is_missing():
    by = {"full": differences(ROWS), "short": differences(ROWS[:2])}
    shown = told.protocols_shown(by).set_index("method")
    assert shown.loc["Saliency map", "ROAR, short"] == "not measured"
    assert shown.loc["RectGrad", "ROAR, short"].startswith("0.470 (-0.030")


def test_small_layouts():
    alone = pd.DataFrame(
        [("active", 0.3, 0.5, 0.6, 0.1)],
        columns=["method", "fraction", "accuracy", "where_right", "where_wrong"],
    )
    assert told.holes_shown(alone).to_dict("list") == {
        "method": ["Active"],
        "all, first 30%": ["0.500"],
        "right / wrong, first 30%": ["0.600 / 0.100"],
    }
    assert told.holes_shown(alone[:0]).empty
    balanced = differences(ROWS[:2]).assign(pictures="all")
    assert told.balanced_shown(balanced)["all"].tolist() == ["0.470 (-0.030 ± 0.010)"]
    variances = pd.DataFrame(
        [("kar", 0.1, 0.07, 0.01, 7.0, 0.001)],
        columns=["mode", "fraction", "between", "within", "ratio", "p"],
    )
    assert told.variance_shown(variances).iloc[0].tolist() == [
        "KAR",
        "10%",
        pytest.approx(7),
        1,
        7,
        0.001,
    ]
