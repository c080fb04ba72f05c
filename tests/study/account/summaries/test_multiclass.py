"""study.account.summaries.multiclass: sentences and layouts of hand-made tables."""

from __future__ import annotations

import pandas as pd
import pytest

from study.account.summaries import multiclass as summaries
from study.experiments.deletion import MAPS

from .words import proper


def kept(active=0.4, positive=0.7, subject="net"):
    frame = pd.DataFrame({"map": MAPS, "mean": 0.5, "p5": 0.2, "p95": 0.8, "n": 200})
    frame.loc[frame["map"] == "active", "mean"] = active
    frame.loc[frame["map"] == "positive", "mean"] = positive
    return frame.assign(subject=subject)


def flattening(floors):
    names = ("positive", "active", "negative", "inactive")
    frame = pd.DataFrame({"map": names, "floor": floors, "fill": "black", "subject": "net"})
    return frame.assign(flat=0.5, kept=0.4, done_50=[0, 0.3, 0, 0.9], done_80=1.0, last=0.1)


def readings(*areas):
    """Rows of (map, printed, released), intervals of 0.1 either way."""
    frame = pd.DataFrame(areas, columns=["map", "printed", "released"])
    for rule in ("printed", "released"):
        frame[f"{rule}_low"], frame[f"{rule}_high"] = frame[rule] - 0.1, frame[rule] + 0.1
    return frame.assign(subject="net", fill="white", n=200, ranks=-0.5, wrong_sign=0.01)


def test_chance_is_of_independent_channels():
    assert summaries.chance(10) == pytest.approx(0.271)
    assert summaries.chance(2, channels=1) == 0.5


def test_pixels_kept_over_networks():
    both = pd.concat([kept(), kept(0.1, 0.77, subject="other").assign(n=2000)])
    (sentence,) = proper([summaries.keeps(both, 10)])
    assert "Active maps keep 10% to 40%" in sentence and "(27% by chance)" in sentence


def test_a_line_says_on_how_many_pictures_kept_pixels_rest():
    both = pd.concat([kept(), kept().assign(n=2_000)])
    assert summaries.kept_on(both) == "pixels kept: n = 200 to 2,000"


def test_curves_at_their_floor_are_counted():
    (sentence,) = proper([summaries.flat(flattening([True, False, True, False]))])
    assert "active maps of 30% of pictures have no pixel left to delete." in sentence
    assert "Of all 4 curves, 2 are flat before their pixels run out" in sentence


def test_the_printed_equation_is_worse_only_beyond_both_intervals():
    rows = readings(("active", 0.9, 0.1), ("inactive", 0.9, 0.1), ("inactive", 0.3, 0.2))
    (sentence,) = proper([summaries.equation(rows)])
    assert "on 1 of 2 networks (mean area 0.60 against 0.15)" in sentence


def test_what_is_left_out_is_said():
    rows = readings(("active", 0.1, 0.1), ("inactive", 0.9, 0.1))
    assert proper(summaries.alike(rows, rows[1:]))[0].startswith("In 1 of 2 cases")


def test_in_short_is_three_sentences():
    told = summaries.in_short(kept(), flattening([False] * 4), readings(("inactive", 0.9, 0.1)), 10)
    assert len(proper(told)) == 3


def test_lengths_over_networks():
    found = [
        {"subject": "a", "n": 128, "ratio": 1.2, "longest": 0.3},
        {"subject": "b", "n": 128, "ratio": 1.9, "longest": 0.5},
    ]
    (sentence,) = proper(summaries.lengths(found))
    assert "1.20 to 1.90 times" in sentence and "30% to 50%" in sentence
    assert summaries.lengths_shown(found)["network"].tolist() == ["a", "b"]


def without_relu(**areas):
    rows = [("turn", 7.5, None, None), ("zero", 0.0, None, None), ("kept, active", 0.2, None, None)]
    for pair in (
        "original, black",
        "positive, black",
        "active, black",
        "original, white",
        "negative, white",
        "inactive, white",
    ):
        value = areas.get(pair.split(",")[0], 0.3)
        rows.append((pair, value, value - 0.01, value + 0.01))
    frame = pd.DataFrame(rows, columns=["quantity", "value", "low", "high"])
    return frame.assign(subject="GELU CNN")


def test_signed_maps_lead_only_beyond_both_intervals():
    (sentence,) = proper(summaries.turning(without_relu(positive=0.1, negative=0.29)))
    assert sentence.startswith("GELU CNN: the gradient turns by 7.5°")
    assert "1 of 4 signed maps" in sentence
    table = summaries.without_relu_shown(without_relu()).set_index("quantity")["GELU CNN"]
    assert table["turn of the gradient"] == "7.5°" and table["pixels kept, active"] == "20%"
    assert table["area, active, black"] == "0.300 ± 0.010"


def test_tables_as_they_are_shown():
    assert summaries.kept_shown(kept()).iloc[0].tolist() == ["net", 0.5, 0.7, 0.5, 0.4, 0.5]
    assert summaries.kept_ranges(kept()).iloc[0]["active"] == "40.0% (20% to 80%)"
    rows = readings(("inactive", 0.9, 0.1))
    assert summaries.differing_shown(rows).iloc[0].tolist() == [
        "net, inactive, white",
        200,
        0.9,
        0.1,
        -0.5,
    ]
    shown = summaries.readings_shown(rows).iloc[0]
    assert shown["as printed"] == "0.900 (0.800 to 1.000)" and shown["wrong sign"] == 0.01
    flat = summaries.flattening_shown(flattening([True, False, False, False]))
    assert flat["floor first"].tolist() == ["yes", "no", "no", "no"]
    assert flat["exhausted at 50 and 80 %"].tolist()[1] == "30% and 100%"
