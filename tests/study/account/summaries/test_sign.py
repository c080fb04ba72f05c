"""study.account.summaries.sign: sentences and layouts of hand-made tables."""

from __future__ import annotations

import pandas as pd
import pytest

from study.account.summaries import judged
from study.account.summaries import sign as summaries

from .words import proper


def greys(*medians, small=0.6):
    frame = pd.DataFrame({"median": medians, "n": 300, "small": small})
    return frame.assign(subject=[f"net {k}" for k in range(len(frame))], p5=0.4, p95=0.6)


def shares(*carried):
    rows = [
        {"subject": f"net {k}", "n": 300, "share": share, "mean": mean, "low": mean, "high": mean}
        for k, value in enumerate(carried)
        for share, mean in (("positive", 0.7), ("negative", 0.6), ("both", 0.4), ("carried", value))
    ]
    return pd.DataFrame(rows)


def on_object(lighter, darker, half=0.01):
    rows = [
        {"object": kind, "place": place, "n": n, "share": share}
        for kind, n, here in (("lighter", 200, lighter), ("darker", 100, darker))
        for place, share in (("object", here), ("background", 0.5))
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(low=frame["share"] - half, high=frame["share"] + half)


def test_the_grey_of_zero_has_its_range_over_networks():
    assert "drawn at 0.49 (0 black" in proper([summaries.zero(greys(0.49))])[0]
    both = greys(0.52, 0.45).assign(n=[300, 2000])
    (sentence,) = proper([summaries.zero(both)])
    assert "drawn at 0.45 to 0.52 (0 black" in sentence and "n = 300 to 2,000" in sentence


@pytest.mark.parametrize(
    "carried, words",
    [((0.5, 0.46), "neither sign dominates"), ((0.5, 0.7), "one sign can dominate")],
)
def test_whether_a_sign_dominates(carried, words):
    (sentence,) = proper([summaries.balance(shares(*carried))])
    assert sentence.startswith("Pixels whose largest gradient in size") and words in sentence


@pytest.mark.parametrize(
    "lighter, darker, half, follows",
    [
        (0.62, 0.39, 0.01, True),
        (0.62, 0.58, 0.01, False),  # the object is positive in both: it marks objects
        (0.39, 0.62, 0.01, False),
        (0.52, 0.49, 0.05, False),  # too wide to tell
    ],
)
def test_whether_the_sign_follows_contrast(lighter, darker, half, follows):
    (sentence,) = proper([summaries.contrast(on_object(lighter, darker, half))])
    assert ("a tendency to follow contrast" in sentence) is follows
    assert (
        f"{lighter:.0%} where they are lighter and {darker:.0%} where darker (n = 300)" in sentence
    )


def test_the_grey_of_no_importance_is_said_only_where_it_fills_the_picture():
    most = proper(summaries.ranges(greys(0.5)))
    assert most[0] == "In 90 % of the pictures zero lies between 0.40 and 0.60."
    assert "60%" in most[1] and "most of the map" in most[1]
    assert "most of the map" not in proper(summaries.ranges(greys(0.5, small=0.3)))[1]


def test_where_its_claims_are_judged(monkeypatch):
    rows = [("Sign", "holds"), ("Noise", "mixed"), ("Sign", "inconclusive"), ("Sign", "holds")]
    table = pd.DataFrame(rows, columns=["paper", "verdict"])
    monkeypatch.setattr(judged, "claims", lambda *named: table)
    first, second = proper(summaries.judged_elsewhere(True))
    assert first.startswith("No sentence")
    assert second.endswith("judges 3 claims of paper *Sign*: holds 2, inconclusive 1.")
    assert summaries.judged_elsewhere(False) == [first]


def test_in_short_is_three_sentences():
    assert len(proper(summaries.in_short(greys(0.5), shares(0.5), on_object(0.6, 0.4)))) == 3


def test_tables_as_they_are_shown():
    table = summaries.shares_shown(shares(0.5, 0.6))
    assert table["network"].tolist() == ["net 0", "net 1"]
    assert table["total carried by positive"].tolist() == [0.5, 0.6]
    with_ends = summaries.shares_with_intervals(shares(0.5).assign(low=0.4, high=0.8))
    assert with_ends["in both"].tolist() == ["40.0 ± 20.0 %"]
    objects = summaries.on_object_shown(on_object(0.62, 0.39))
    assert objects["n"].tolist() == [200, 100]
    assert objects["positive on the object"].tolist() == [
        "0.62 (0.61 to 0.63)",
        "0.39 (0.38 to 0.40)",
    ]
    assert summaries.greys_shown(greys(0.5))["5 % to 95 %"].tolist() == ["0.40 to 0.60"]
