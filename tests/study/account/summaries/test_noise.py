"""study.account.summaries.noise: sentences and layouts of hand-made tables."""

from __future__ import annotations

import pandas as pd
import pytest

from study.account.summaries import noise as summaries

from .words import proper

EXCHANGE = pd.DataFrame(
    [("share", 0.037, 0.036, 0.038), ("even", 0.0625, 0.0625, 0.0625), ("kept", 0.8, 0.79, 0.81)],
    columns=["quantity", "value", "low", "high"],
).assign(n=10_000)


def rates(*lifts, network="Noise CNN, CIFAR-10 with masks", width=0.01):
    frame = pd.DataFrame({"layer": range(1, len(lifts) + 1), "lift": lifts, "object": 0.5})
    ends = {"lift_low": frame["lift"] - width, "lift_high": frame["lift"] + width}
    return frame.assign(network=network, n=199, background=0.4, more=0.7, **ends)


def explained(*rows):
    frame = pd.DataFrame(rows, columns=["correlation", "low", "high"])
    return frame.assign(network=[f"net_{k}" for k in range(len(rows))], n=[150, 199][: len(rows)])


def test_in_short_says_the_numbers():
    links = explained((0.09, -0.06, 0.22), (0.83, 0.78, 0.86))
    found = proper(summaries.in_short(EXCHANGE, rates(0.01, -0.046, 0.02), links))
    assert "holds 3.7% of the absolute saliency (6.25% if spread evenly; n = 10,000)" in found[0]
    assert "changes 20.0% of predictions" in found[0]
    assert "at most 0.046 (Noise CNN, CIFAR-10 with masks, n = 199)" in found[1]
    assert found[2].endswith(
        "surely brighter in 1 of 2 cases. net_0: rank correlation 0.09 (n = 150). "
        "net_1: rank correlation 0.83 (n = 199)."
    )


@pytest.mark.parametrize(
    "low, high, says",
    [
        (0.11, 0.3, "are brighter"),
        (0.05, 0.3, "may or may not be brighter"),
        (-0.3, 0.1, "are not brighter"),
    ],
)
def test_the_cause_is_judged_by_the_threshold_fixed_beforehand(low, high, says):
    found = summaries.in_short(EXCHANGE, rates(0.1), explained((0.1, low, high)))[2]
    assert f"fires {says}: rank correlation 0.10 ({low:.2f} to {high:.2f}" in proper([found])[0]


def test_names_are_shown_as_asked():
    found = summaries.in_short(EXCHANGE, rates(0.1, network="a_b"), explained((0, 0, 0)), str.upper)
    assert "(A_B, n = 199)" in found[1]
    two = explained((0, 0, 0), (0, 0, 0))
    assert "NET_1: rank" in summaries.in_short(EXCHANGE, rates(0.1), two, str.upper)[2]


def test_switching_counts_sure_layers():
    impact = pd.DataFrame({"more": [6.0, -1.0, 2.0], "low": [4.0, -2.0, 0.0]})
    (found,) = summaries.switching(impact.assign(network="net", n=100))
    assert "-1.0 to 6.0 logits more" in found and "in 1 of 3 layers" in found


def test_filtering_counts_both_sides():
    (found,) = proper(summaries.filtering(rates(0.02, -0.02, -0.03, 0.005, network="net")))
    assert found.startswith("net: in 3 of 4 layers the rates surely differ (1 higher on the object")
    assert ", 2 on the background)" in found


def test_rivals_say_slope_and_cosine():
    table = pd.DataFrame(
        [("slope", None, 0.72, None), ("cosine", 0.01, 0.9, 1.0), ("cosine", 0.05, 0.46, 0.84)],
        columns=["quantity", "level", "value", "same"],
    ).assign(low=0.1, high=0.2, n=2000)
    saturation, discontinuity = summaries.rivals(table)
    assert "with 0.72 of its mean slope" in saturation and "n = 2,000" in saturation
    assert "noise of 5% of the range leaves a cosine of 0.46" in discontinuity
    assert "84% of predictions" in discontinuity
    shown = summaries.rivals_table(table)
    assert list(shown["predictions kept"]) == ["", "100%", "84%"]
    assert list(shown["95 % interval"]) == ["0.10 to 0.20"] * 3


def test_layouts_have_at_most_six_columns_and_the_values():
    ends = {"low": [0.1], "high": [0.3]}
    impact = pd.DataFrame({"network": ["n"], "layer": 1, "n": 9, "more": 6.04, **ends}).assign(
        q25=-1, q75=2, share=0.41, times=5.5
    )
    bright = pd.DataFrame({"network": ["n"], "n": 9, "median": 0.75, **ends, "share": 0.08})
    plain = pd.DataFrame({"pictures": ["plain"], "n": 9, "accuracy": 0.724, **ends})
    tables = [
        (summaries.exchange_table(EXCHANGE), "3.7%", "80.0%"),
        (summaries.impact_table(impact), "6.04 (0.10 to 0.30)", "-1.00 to 2.00", "41%", "5.5"),
        (summaries.rates_table(rates(-0.046)), "-0.046 (-0.056 to -0.036)", "0.500", "70%"),
        (summaries.brighter_table(bright), "0.75", "0.10 to 0.30", "8%"),
        (summaries.explained_table(explained((0.09, -0.06, 0.22))), "0.09", "-0.06 to 0.22"),
        (summaries.accuracies_table(plain), "0.724", "0.100 to 0.300"),
    ]
    for table, *values in tables:
        assert len(table.columns) <= 6
        assert set(values) <= set(table.astype(str).to_numpy().ravel())
