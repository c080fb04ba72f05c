"""The front of the book: answers, decision table, rankings and citation, made of stored results."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

from book import front, rankings
from lib import attribution
from study import paths
from study.store import cells

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def nothing_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    front.places.cache_clear()
    yield
    front.places.cache_clear()


def test_every_answer_has_a_number_its_network_and_its_chance_level():
    told = front.answers()
    cards = re.findall(r":::\{grid-item-card\} ([^\n]+\?)\n.*?\n\n(.*?)\n:::", told, flags=re.S)
    assert [question for question, _ in cards] == [
        "Does the sign help?",
        "Does RectGrad work?",
        "Which should I use?",
    ]
    for question, text in cards:
        answer, caveat = text.split("```{card-footer}")
        assert re.search(r"\d", answer) and re.search("Noise CNN|SqueezeNet", answer), question
        assert len(caveat.split()) > 5, question
    assert "at random" in told and "random numbers" in told and "no response" in told


def test_an_answer_follows_its_numbers(monkeypatch):
    """A positive map as bad as RectGrad must not be said to beat random pixels."""
    measured = front.synthesis.read(*front.NOISE)
    deletion = measured["black_deletion"]
    of = len(attribution.METHODS)
    before = int(front.ahead_of_random(*front.NOISE)["black_deletion"].removesuffix(f" of {of}"))
    swapped = measured | {"black_deletion": deletion | {"positive": deletion["rectgrad"]}}
    monkeypatch.setattr(front.synthesis, "read", lambda *which: swapped)
    front.ahead_of_random.cache_clear()
    assert front.ahead_of_random(*front.NOISE)["black_deletion"] == f"{before - 1} of {of}"
    front.ahead_of_random.cache_clear()


def test_only_what_is_not_computed_waits_and_a_random_baseline_is_said_to_be_one():
    numbers = pd.DataFrame(
        {
            "paper": "Noise",
            "reproduced": [0.5, 0.4, None],
            "verdict": ["agree", None, None],
            "other_reading": "the released code",
        }
    )
    baseline, waits = "are random baselines", "wait for networks retrained"
    both = front._waiting(numbers)
    assert f"1 of *Noise*'s {baseline}" in both and waits in both
    assert "1 of *Noise*'s on retraining, one table" in both
    whole = front._waiting(numbers[:2])
    assert baseline in whole and waits not in whole
    assert front._waiting(numbers[:1]) == ""


def test_prices_are_those_of_one_network(monkeypatch):
    rows = pd.DataFrame(
        {"model": ["squeezenet1_1", "rectgrad_cnn"], "name": ["rectgrad"] * 2, "gradients": [2, 9]}
    )
    monkeypatch.setattr(front.cells, "rows", lambda kind: rows)
    assert front.price("rectgrad") == "2.0"


def test_without_results_every_part_says_so_or_stays_away(nothing_stored):
    assert front.answers() == front.NOTHING and front.charts() == ""
    assert front.status() == front.NOTHING and rankings.table() == front.NOTHING
    assert rankings.data()["networks"] == {}


def test_decisions_lead_to_chapters_that_exist():
    told = front.decisions()
    assert sum(line.startswith("| ") for line in told.splitlines()) == 1 + len(front._GOALS)
    assert "different winners" in told
    chapters = re.findall(r"\]\((\w+)\.ipynb\)", told + front.charts())
    chapters += [chapter for _, chapter, *_ in front.CHARTS.values()]
    assert chapters and all((ROOT / "notebooks" / f"{name}.ipynb").is_file() for name in chapters)


def test_the_charts_are_drawn(tmp_path):
    front.draw(tmp_path)
    drawn = {path.stem: path.read_text(encoding="utf8") for path in tmp_path.glob("*.svg")}
    assert set(drawn) == set(front.CHARTS)
    assert all("<svg" in text and len(text) < 150_000 for text in drawn.values())


def test_rankings_hold_what_the_synthesis_says(tmp_path):
    rankings.write(tmp_path)
    found = json.loads((tmp_path / "rankings.json").read_text(encoding="utf8"))
    script = (tmp_path / "rankings-data.js").read_text(encoding="utf8")
    assert json.loads(script.removeprefix("window.RANKINGS = ").rstrip(";\n")) == found
    title = front.NETWORKS[front.NOISE]
    row = next(r for r in found["networks"][title] if r[:2] == ["black_deletion", "positive"])
    known = dict(zip(found["columns"], row, strict=True))
    table = front.places(*front.NOISE)
    stated = table.loc[("black_deletion", "positive")]
    assert known["value"] == pytest.approx(stated["value"], abs=5e-5)
    assert known["low"] < known["value"] < known["high"] and known["place"] == stated["rank"]
    assert set(attribution.METHODS) <= set(found["methods"])


def test_the_citation_is_that_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
    assert cff["version"] == version
    told = front.bibtex()
    assert f"version = {{{version}}}" in told and paths.commit().rstrip("+") in told
    for key in ("llorente2023", "kim2019"):
        assert f"{{{key}," in told
