"""The papers' numbers and claims as the tables that figures are given."""

from __future__ import annotations

import pandas as pd

from study import figures
from study.account import claims, scoreboard
from study.account.summaries import data, judged
from study.account.variants import trainings


def row(name: str, experiment: str, verdict: str, low: float, high: float) -> dict:
    said = {"paper": "Noise", "section": "C.1", "quotation": "so they say"}
    found = {"holds_if": "high < 0", "network": "n", "value": low, "low": low, "high": high}
    return {"id": name, "experiment": experiment, "verdict": verdict} | said | found


def test_the_claims_of_an_experiment_are_lines_with_their_verdicts(monkeypatch):
    rows = [
        row("c", "kind", "depends", -2, -1),
        row("c", "kind", "depends", 1, 2),
        row("noise-roar-best", "kind", "holds", -2, -1),
        row("d", "another", "holds", -2, -1),
    ]
    monkeypatch.setattr(claims, "table", lambda: pd.DataFrame(rows))
    found = judged.claims("kind")
    assert found[["id", "verdict", "about"]].values.tolist() == [
        ["c", "mixed", ""],
        ["noise-roar-best", "holds", "ROAR"],
    ]
    assert figures.verdicts(found).data == (
        '- <span class="verdict mixed">mixed</span>, '
        '<span class="verdict holds">holds</span> ROAR: '
        "[“so they say”](claims.md#claim-c) (paper Noise, appendix C.1)"
    )
    assert judged.claims("d")["id"].tolist() == ["d"]
    monkeypatch.setattr(
        claims,
        "table",
        lambda: pd.DataFrame([row("noise-background-clean", "kind", "does not hold", 1, 2)]),
    )
    assert "</span> (fixed beforehand: RectGrad's share on the background, below 0): [“so" in (
        figures.verdicts(judged.claims("kind")).data
    )
    assert figures.verdicts(judged.claims("none")).data == figures.NOTHING
    assert "verdict" not in figures.verdicts(None).data


def test_every_claim_says_what_its_condition_is_on():
    assert set(judged.QUANTITIES) == set(claims.listed()["id"]) >= set(judged.NEEDS_THRESHOLD)


def test_a_number_has_the_digits_and_its_network_the_name_that_people_use(monkeypatch):
    printed = {"paper": "Sign", "table": "Table 1", "column": "CIFAR-10 CNN", "published": 0.6307}
    printed |= {"row": "Accuracy", "protocol": "SGD"}
    rows = pd.DataFrame([printed, printed | {"table": "Table 2", "published": 0.1}])
    monkeypatch.setattr(scoreboard, "beside_published", lambda tables, subjects: rows)
    found = judged.numbers(["Table 1", "Table 2"], [])
    assert found["printed"].tolist() == ["0.6307", "0.10"]
    assert found["network"].tolist() == ["Sign CNN, CIFAR-10"] * 2
    assert found["protocol"][0] == (
        "SGD ([on the scoreboard](scoreboard.md#score-sign-table-1-accuracy-cifar-10-cnn))"
    )
    monkeypatch.setattr(scoreboard, "beside_published", lambda tables, subjects: None)
    assert judged.numbers(["Table 1"], []) is None


def test_trainings_stand_beside_the_accuracy_in_print():
    found = data.beside_print(trainings())
    printed = found.groupby("network")["printed"].unique().map(list).to_dict()
    assert printed == {
        "Noise CNN": [0.746],
        "Sign CNN": [0.6307],
        "ResNet-18 CIFAR-10": [0.7569],
    }
    assert figures.trainings(found).axes[0].get_title(loc="left") == found["network"].iloc[0]
