"""Pieces of sentences and of tables that several chapters share."""

from __future__ import annotations

import pandas as pd
import pytest

from study.account.summaries import phrases


@pytest.mark.parametrize(
    "values, spec, told",
    [([0.5], ".0%", "50%"), ([0.1, 0.9], ".0%", "10% to 90%"), ([0.101, 0.104], ".2f", "0.10")],
)
def test_a_span_is_one_number_where_its_ends_look_alike(values, spec, told):
    assert phrases.span(values, spec) == told == phrases.span(pd.Series(values), spec)


def test_intervals_are_those_of_the_quantity():
    frame = pd.DataFrame({"low": [0.1], "high": [0.25], "gap_low": [-1.0], "gap_high": [2.0]})
    assert phrases.intervals(frame, ".2f") == ["0.10 to 0.25"]
    assert phrases.intervals(frame, "+.1f", "gap") == ["-1.0 to +2.0"]


def test_half_widths_have_no_sign():
    row = {"difference": 0.2, "low": 0.1, "high": 0.4}
    assert phrases.give_or_take(row, "difference", "+.2f") == "+0.20 ± 0.15"


def test_a_wide_table_keeps_the_order_of_appearance_and_its_gaps():
    rows = [
        {"network": n, "column": c, "shown": n + c}
        for n, c in (("z", "white"), ("z", "black"), ("a", "black"))
    ]
    wide = phrases.wide(rows, "network")
    assert list(wide.columns) == ["network", "white", "black"] and wide.columns.name is None
    assert wide.fillna("").values.tolist() == [["z", "zwhite", "zblack"], ["a", "", "ablack"]]
    assert list(phrases.wide([]).columns) == ["method"] and phrases.wide([]).empty


def test_lists_and_counts_read_as_sentences():
    assert [phrases.listed(list(words)) for words in ("a", "ab", "abc")] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert phrases.counted(1, "seed") == "1 seed" and phrases.counted(2000, "seed") == "2,000 seeds"
