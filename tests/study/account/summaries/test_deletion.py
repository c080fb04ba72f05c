"""study.account.summaries.deletion: sentences and layouts of hand-made tables."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from study.account.summaries import deletion as summaries
from study.experiments.deletion import FILLS, MAPS, MATCHED

from .words import proper

NETWORK = "Sign CNN, CIFAR-10"


def differences(*rows, n=2000):
    """Rows of (map, fill, low, high), the difference halfway."""
    frame = pd.DataFrame(rows, columns=["map", "fill", "low", "high"])
    middle = (frame["low"] + frame["high"]) / 2
    return frame.assign(difference=middle, n=n, subject=NETWORK, against="original")


def rose(weak=0.99, full=0.4):
    rows = [(0.05, weak), (0.5, 0.8), (1.0, full), (0.05, 1.0), (1.0, 0.1)]
    return pd.DataFrame(rows, columns=["strength", "rose"])


AHEAD, BEHIND, UNSURE = (-0.2, -0.1), (0.1, 0.2), (-0.1, 0.1)


def test_gains_count_what_is_sure():
    gains = differences(
        ("positive", "black", *AHEAD),
        ("active", "black", *UNSURE),
        ("negative", "white", *BEHIND),
        ("inactive", "white", *AHEAD),
    )
    (sentence,) = proper([summaries.gained(gains)])
    assert "in 2 of 4 cases and loses in 1 (n = 2,000)" in sentence


def test_random_pixels_are_beaten_by_maps_not_by_edges():
    against = differences(
        ("original", "black", *BEHIND),
        ("positive", "black", *AHEAD),
        ("active", "black", *UNSURE),
        ("edges", "black", *AHEAD),
        ("original", "white", *AHEAD),
        ("negative", "white", *AHEAD),
        ("inactive", "white", *AHEAD),
        ("edges", "white", *BEHIND),
    )
    (sentence,) = proper([summaries.beat_random(against)])
    assert "3 of 4 signed maps and 1 of 2 original ones" in sentence
    black, white = proper(summaries.beaten_by(against))
    assert black.endswith("under black: original 0, positive 1, active 0, edge detector 1.")
    assert "of 1," in white and "under white" in white and "negative 1" in white


def test_numbers_of_pictures_are_a_range_where_they_differ():
    gains = pd.concat([differences(("positive", "black", *AHEAD), n=n) for n in (300, 2000)])
    (sentence,) = proper([summaries.gained(gains)])
    assert "(n = 300 to 2,000)" in sentence


def test_the_promise_is_the_least_of_small_and_the_most_of_full_moves():
    (sentence,) = proper([summaries.kept_promise(rose())])
    assert "moved 5%" in sentence and "at least 99.0% of pictures" in sentence
    assert "moved 100%, in at most 40%" in sentence
    assert "score in every picture;" in proper([summaries.kept_promise(rose(weak=1.0))])[0]


def test_in_short_is_three_sentences():
    gains = differences(("positive", "black", *AHEAD))
    assert len(proper(summaries.in_short(gains, gains, rose()))) == 3


def beside(*verdicts):
    rows = [
        {
            "paper": "Sign",
            "table": "Table 2",
            "row": "Positive",
            "column": "CIFAR-10 CNN" if k < 2 else "Imagenette CNN",
            "published": 0.14,
            "reproduced": 0.10 if verdict == "disagree" else 0.145,
            "low": 0.09,
            "high": 0.11,
            "verdict": verdict,
            "verdict_at_zero": "disagree",
            "data": "cifar10 test, the original pixels",
            "protocol": "AdamW",
        }
        for k, verdict in enumerate(verdicts)
    ]
    return pd.DataFrame(rows)


def test_agreement_counts_and_names_what_disagrees():
    first, second = proper(summaries.areas_that_agree(beside("agree", "disagree", "agree")))
    assert first.startswith("2 of 3 printed areas agree")
    assert second == f"{NETWORK}: 1 of 2 disagrees: the area here is smaller than in print."
    two = beside("disagree", "disagree")
    for printed, way in (
        (0.09, "larger than in print."),
        ([0.09, 0.14], "smaller than in print in 1 and larger in 1."),
    ):
        said = proper(summaries.areas_that_agree(two.assign(published=printed)))[1]
        assert said == f"{NETWORK}: 2 of 2 disagree: the area here is {way}"
    assert proper(summaries.areas_that_agree(beside("agree"))) == [
        "1 of 1 printed areas agree: they lie within 0.02, or half an interval if that is wider."
    ]
    assert "print no area" in proper(summaries.areas_that_agree(None))[0]


def test_lines_name_what_was_measured_and_on_how_many_pictures():
    frame = beside("agree", "disagree", "agree").assign(n=[10_000, 10_000, 3_856])
    assert summaries.measured_on(frame) == [
        f"{NETWORK} test, n = 10,000",
        "Sign CNN, Imagenette test, n = 3,856",
    ]
    assert summaries.measured_on(None) == summaries.measured_on(frame[:0]) == ["nothing measured"]
    areas = pd.DataFrame({"map": ["original", "edges", "random"], "n": [9_000, 300, 2_000]})
    assert summaries.controls_on(areas) == "controls: n = 300 to 2,000"
    studied = [SimpleNamespace(label=label) for label in ("a", "b")]
    assert summaries.of_rows(studied, pd.Series(["b", "c"])) == studied[1:]
    assert summaries.of_rows(studied, pd.Series(dtype=str)) == ["nothing measured"]


def test_early_and_late_are_counted_apart():
    whole = differences(("positive", "black", *BEHIND), ("active", "black", *AHEAD))
    first = differences(("positive", "black", *AHEAD), ("active", "black", *AHEAD))
    (sentence,) = proper(summaries.early(whole, first))
    assert "beat the original in 2 of 2 cases, over the whole curve in 1 of 2" in sentence


def test_colours_first_pixels_and_softer_moves():
    crossed = pd.DataFrame({"less": [True, False, True]})
    assert "in 2 of 3 cells" in proper(summaries.colours(crossed))[0]
    improved = pd.DataFrame(
        {
            "fill": ["black", "black", "white"],
            "map": ["negative", "inactive", "positive"],
            "low": [0.5, -2.0, -2.0],
            "high": [1.0, -1.0, 1.0],
        }
    )
    black, white = proper(summaries.first_pixels(improved))
    assert "negative and inactive" in black and "in 1 of 2 cases and lowers it in 1" in black
    assert "in 0 of 1 cases and lowers it in 0" in white
    soft = pd.DataFrame({"difference": [-0.1, -0.01, 0.1, 0.3], "half": 0.05})
    assert "in 1 of 4 settings, and behind in 2" in proper(summaries.softer(soft))[0]


def test_seeds_and_precision():
    seeds = pd.DataFrame(
        {"map": ["original", "active"], "fill": "black", "least": [0.2, 0.1], "most": [0.21, 0.14]}
    )
    (sentence,) = proper(summaries.seeds_apart(seeds))
    assert "at most 0.040" in sentence and "active, black: 0.100 to 0.140" in sentence
    assert summaries.seeds_apart(seeds[:0]) == []
    table = pd.DataFrame({"float32": [0.2, 0.3], "bfloat16": [0.2012, 0.3]})
    assert "0.0012" in proper(summaries.precisions({NETWORK: table, "other": None}))[0]
    assert summaries.precisions({NETWORK: None}) == ["All forward passes ran in float32."]


# ---- layouts


def all_areas():
    rows = [
        {"subject": NETWORK, "map": m, "fill": f, "auc": k / 10, "low": k / 10, "high": k / 10}
        for k, (m, f) in enumerate((m, f) for f in FILLS for m in (*MAPS, "edges", "random"))
    ]
    return pd.DataFrame(rows)


def test_areas_side_by_side_take_each_fills_own_maps():
    black, white = summaries.areas_wide(all_areas()).to_dict("records")
    assert black["positive or negative"] == 0.1 and black["active or inactive"] == 0.3
    assert white["positive or negative"] == pytest.approx(0.9)
    assert white["network and fill"] == f"{NETWORK}, white" and white["random"] == 1.3
    assert len(summaries.areas_wide(all_areas()).columns) == 6


def test_every_area_has_its_half_width():
    areas = all_areas().assign(low=0.1, high=0.3)
    row = summaries.full_areas(areas).iloc[0]
    assert row["negative"] == "0.200 ± 0.100" and len(row) == 6


def test_early_table_has_whole_and_first_fifth():
    pairs = [(m, f) for f in FILLS for m in MATCHED[f][1:]]
    whole = differences(*((m, f, *BEHIND) for m, f in pairs))
    first = differences(*((m, f, *AHEAD) for m, f in pairs))
    table = summaries.early_wide(whole, first)
    assert table["active or inactive, whole"].tolist() == ["+0.150 ± 0.050"] * 2
    assert table["positive or negative, first fifth"].tolist() == ["-0.150 ± 0.050"] * 2


def test_differences_from_random_side_by_side():
    names = [(m, f) for f in FILLS for m in (*MATCHED[f], "edges")]
    table = summaries.random_wide(differences(*((m, f, *AHEAD) for m, f in names)))
    assert len(table) == 2 and set(table["edges"]) == {"-0.150 ± 0.050"}


def test_printed_numbers_and_their_protocols():
    frame = beside("agree", "disagree")
    table = summaries.printed(frame)
    assert table.iloc[1].tolist() == [
        f"{NETWORK}, Table 2, Positive",
        "0.14",
        "0.100",
        "0.090 to 0.110",
        "disagree",
        "disagree",
    ]
    assert summaries.protocols(frame) == [f"{NETWORK}: the original pixels; AdamW."]
    assert (
        summaries.protocols(None) == [] and "none is printed" in summaries.printed(None).iloc[0, 0]
    )


def constant(fresh_low=-0.01):
    nan = float("nan")
    rows = [
        ("accuracy", "", 0.8357, "before it", 0.59, nan, nan),
        ("accuracy", "", 0.8357, "before it, fresh statistics", 0.78, nan, nan),
        ("Original", "black", 0.26, "before it", 0.27, 0.01, 0.03),
        ("Original", "black", 0.26, "before it, fresh statistics", 0.26, fresh_low, 0.03),
        ("Active", "black", 0.14, "before it", 0.15, -0.01, 0.03),
        ("Active", "black", 0.14, "before it, fresh statistics", 0.14, -0.02, 0.02),
    ]
    names = ["row", "fill", "printed", "network", "value", "low", "high"]
    return pd.DataFrame(rows, columns=names).assign(pictures=500, commit="abc", date="2026-01-01")


def test_the_network_before_its_cooldown():
    table = summaries.constant_rate(constant())
    assert table["number"].tolist() == ["accuracy", "Original, black", "Active, black"]
    assert table["printed"].tolist() == ["0.8357", "0.26", "0.14"]
    assert table["before it"].tolist()[:2] == ["0.590", "0.270 (+0.010 to +0.030)"]
    told = summaries.cooldown(constant())
    counts = "before it, 1 of 2; before it, fresh statistics, 0 of 2"
    assert told[2] == f"Areas that differ surely: {counts}." and "abc" in told[5]
    assert told[4] == (
        "3 trainings of 50 epochs at one rate, on a GPU and not kept, ended with accuracies of "
        "0.803, 0.705 and 0.806."
    )
    assert "lag behind" in told[3] and "from 0.590 to 0.780" in told[3]
    # fresh statistics explain nothing where an area still differs
    assert not any("lag behind" in line for line in summaries.cooldown(constant(0.01)))
    assert summaries.cooldown(pd.DataFrame()) == []


def test_values_by_strength():
    frame = pd.DataFrame(
        {
            "subject": NETWORK,
            "first": "active",
            "second": "positive",
            "fill": "black",
            "strength": [0.05, 1.0],
            "difference": [0.1, -0.2],
            "half": 0.01,
        }
    )
    row = summaries.by_strength(frame, "difference", "+.3f", "half").iloc[0]
    assert row["network and map"] == f"{NETWORK}, active less positive, black"
    assert (row["0.05"], row["1"]) == ("+0.100 ± 0.010", "-0.200 ± 0.010")


def test_improved_in_six_columns():
    frame = pd.DataFrame(
        [
            {
                "subject": NETWORK,
                "map": "negative",
                "fill": "black",
                "first": 2.0,
                "low": 1.0,
                "high": 3.0,
                "rose": 0.7,
                "best": 4.0,
                "at": 0.05,
                "last": -1.0,
                "probability": 0.01,
            }
        ]
    )
    row = summaries.improved_shown(frame).iloc[0]
    assert row["network and map"] == f"{NETWORK}, black on negative pixels"
    assert row["logit at 3 %"] == "+2.00 (+1.00 to +3.00)" and row["best"] == "+4.00 at 5%"
    assert len(row) == 6
