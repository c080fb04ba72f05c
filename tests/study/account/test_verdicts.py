"""The verdicts on claims as readers see them."""

from __future__ import annotations

import pandas as pd
import pytest

from study import figures
from study.account import claims, verdicts


def rows(verdict: str, *intervals, holds_if: str = "high < 0") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"id": "c", "holds_if": holds_if, "network": f"n{k}", "value": low, "low": low}
            | {"high": high, "verdict": verdict}
            for k, (low, high) in enumerate(intervals)
        ]
    )


@pytest.mark.parametrize(
    "part, verdict",
    [
        (rows("holds", (-2, -1), (-3, -1)), "holds"),
        (rows("holds", (-2, 0)), "holds"),  # judged before it was rounded
        (rows("does not hold", (1, 2)), "does not hold"),
        (rows("depends", (-2, -1), (1, 2)), "mixed"),
        (rows("depends", (-2, -1), (1, 2), (-1, 1)), "mixed"),
        (rows("depends", (-1, 1)), "inconclusive"),
        (rows("depends", (-2, -1), (-1, 1)), "inconclusive"),
        (rows("depends", (-1, 1), (1, 2)), "inconclusive"),
        (rows("", (-2, -1)), "not measured"),
        (rows(float("nan"), (-2, -1)), "not measured"),
    ],
)
def test_networks_that_differ_are_told_from_intervals_that_are_wide(part, verdict):
    assert verdicts.of_claim(part) == verdict
    assert verdict in verdicts.WORDS


def test_conditions_are_words():
    assert verdicts.condition("high < -0.03") == "the whole interval is below −0.03"
    assert verdicts.condition("low > 0.5") == "the whole interval is above 0.5"
    for holds_if in claims.listed()["holds_if"]:
        assert holds_if.split()[2].strip("-") in verdicts.condition(holds_if)


def test_every_network_of_a_claim_has_the_name_that_people_use():
    assert (
        verdicts.network("noise-firing-alike", "rectgrad_cnn") == "Noise CNN, CIFAR-10 with masks"
    )
    control = verdicts.network("noise-firing-alike", "rectgrad_cnn (cifar10_rest)")
    assert control == "Noise CNN (control), CIFAR-10 with masks"
    assert verdicts.network("noise-firing-alike", "mine") == "mine"
    assert verdicts.printed_network("Imagenette ResNet-18") == "ResNet-18, Imagenette"
    for claim, (measured_on, *_) in claims.MEASURES.items():
        named = [verdicts.network(claim, claims.network_name(*which)) for which in measured_on]
        assert len(set(named)) == len(named) and not any("_" in name for name in named)


def test_a_sentence_with_several_claims_is_one_and_says_what_each_is_about():
    table = claims.listed().assign(verdict="")
    sentences = verdicts.sentences(table)
    assert sum(map(len, sentences)) == len(table)
    several = {part.iloc[0].id for parts in sentences if len(parts) > 1 for part in parts}
    assert several == set(verdicts.PARTS)


def test_a_section_is_named_within_a_sentence():
    assert figures.section("Appendix B") == "appendix B"
    assert figures.section("3.2 and A.1") == "section 3.2 and A.1"


def test_what_is_told_of_a_claim_has_a_line_a_network():
    part = rows("", (-0.25, 0.5)).assign(id="noise-firing-alike", network="rectgrad_cnn")
    waiting = part.assign(value=None, network="mine")
    told = verdicts.told(pd.concat([part, waiting]))
    assert told == [
        "Noise CNN, CIFAR-10 with masks: −0.25 (−0.25 to 0.5)",
        "mine: not measured",
    ]
