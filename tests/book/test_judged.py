"""The scoreboard and the claims page, from tables written by hand and from the committed ones."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from book import judged
from study.account import claims, published, scoreboard, verdicts


@pytest.fixture
def account(tmp_path, monkeypatch):
    """Two sentences, one of them with two claims, and three printed numbers."""
    listed = claims.listed().set_index("id", drop=False)
    rows = [
        ("noise-firing-alike", "rectgrad_cnn", 0.01, 0.0, 0.02, "depends"),
        ("noise-firing-alike", "rectgrad_cnn (cifar10_rest)", 0.09, 0.08, 0.1, "depends"),
        ("noise-roar-best", "rectgrad_cnn", -0.1, -0.2, -0.05, "holds"),
        ("noise-kar-best", "rectgrad_cnn", None, None, None, ""),
    ]
    columns = ["id", "network", "value", "low", "high", "verdict"]
    table = pd.DataFrame(rows, columns=columns).join(listed.drop(columns="id"), on="id")
    table.loc[0, "statistic"] = "a | b of *rectgrad_cnn* < 1"
    table.to_csv(tmp_path / "claims.csv", index=False)
    monkeypatch.setattr(claims, "CSV", tmp_path / "claims.csv")
    printed = [
        ("Sign", "Table 2", "Active", "CIFAR-10 CNN", 0.15, 0.1449, 0.14, 0.15, "agree", "agree"),
        ("Sign", "Table 2", "Active", "Imagenette CNN", 0.16, 0.2, 0.19, 0.21, "disagree", ""),
        ("Sign", "Table 2", "Active", "Imagenette ResNet-18 pretrained", 0.24)
        + (None,) * 3
        + ("needs a download", ""),
    ]
    names = ["paper", "table", "row", "column", "published", "reproduced", "low", "high"]
    numbers = pd.DataFrame(printed, columns=[*names, "verdict", "verdict_at_zero"])
    other = [None, "agree", "disagree"]  # by the second reading of a table
    numbers.assign(data="10,000 pictures", protocol="AdamW", other_verdict=other).to_csv(
        tmp_path / "printed.csv", index=False
    )
    monkeypatch.setattr(scoreboard, "CSV", tmp_path / "printed.csv")
    monkeypatch.setattr(scoreboard, "stand_ins", lambda: pd.DataFrame())


def cells(page: str, word: str) -> list[str]:
    (row,) = [line for line in page.splitlines() if line.startswith("|") and word in line]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))]


def test_a_claims_row_is_a_sentence_with_its_verdicts_and_networks(account):
    page = judged.claims()
    verdict, sentence, measured = cells(page, "claim-noise-firing-alike")
    assert 'class="verdict mixed">mixed<' in verdict
    assert "section 3.2 and A.1" in sentence and "[chapter 3](03_noise_hypothesis.ipynb" in sentence
    assert "a &#124; b of &#42;Noise CNN&#42; &lt; 1</details>" in sentence
    assert measured.split("<br>") == [
        "difference of the firing rates, the largest of four layers: holds if the whole interval "
        "is below 0.05.",
        "Noise CNN, CIFAR-10 with masks: 0.01 (0 to 0.02)",
        "Noise CNN (control), CIFAR-10 with masks: 0.09 (0.08 to 0.1)",
    ]
    both, _, measured = cells(page, "claim-noise-roar-best")
    assert "claim-noise-kar-best" in both
    assert re.findall(r">([\w ]+)</span> (\w+)", both) == [
        ("holds", "ROAR"),
        ("not measured", "KAR"),
    ]
    assert (
        measured.startswith(
            "*ROAR*, ROAR's area less the least of older methods, whole maps: holds if"
        )
        and "Noise CNN, CIFAR-10: not measured" in measured
    )
    assert "nan" not in page and "_cnn" not in page
    counted = re.sub("<.*?>", "", judged.claim_counts())
    assert counted == "2 sentences make 3 claims: holds 1, mixed 1, not measured 1."


def test_a_number_has_a_row_with_an_anchor_and_its_table_a_subtotal(account):
    assert (
        "print 3 numbers" in judged.counts() and "2 are computed here: 1 agree" in judged.counts()
    )
    assert judged.counts().endswith("the released code's: by it 1 of 2 agree.")
    assert cells(judged.subtotals(), "paper Sign, Table 2")[1:] == list("311110")
    assert cells(judged.subtotals(), "both papers")[1:] == list("311110")
    page = judged.score_tables()
    verdict, row, network, printed, here = cells(page, "score-sign-table-2-active-cifar-10-cnn")
    assert verdict.endswith(">agree</span>, at tolerance 0 too") and row == "Active"
    assert (network, printed, here) == ("Sign CNN, CIFAR-10", "0.15", "0.145 (0.140 to 0.150)")
    assert cells(page, "ResNet-18 (pretrained), Imagenette")[4] == ""
    assert "needs a download" in page and "[chapter 5](tab-deletion-printed)" in page
    assert page.count("Sign CNN, CIFAR-10: AdamW; 10,000 pictures") == 1 and "nan" not in page


def test_every_kind_of_claim_and_every_printed_table_is_shown_somewhere():
    listed = claims.listed()
    kinds = {r.id if r.id in judged.SHOWN else r.experiment for r in listed.itertuples()}
    tables = {f"{n.paper} {n.table}" for n in published.numbers()}
    assert kinds | tables <= set(judged.SHOWN)
    assert set(judged.SHOWN) <= kinds | tables | set(listed["experiment"])


def test_the_sections_that_show_claims_are_there():
    """In the chapters' sources; a page links to a place only once it is published, too."""
    for stem, place in set(judged.SHOWN.values()) - {judged.HERE_ALONE}:
        sought = f'"{place}"' if place.startswith("tab-") else f"## {place}"
        lines = sources(stem).splitlines()
        assert any(sought in line if sought[0] == '"' else sought == line for line in lines), place


def sources(stem: str) -> str:
    """The cells of a chapter, with the names of its figures."""
    cells = json.loads((judged.ROOT / "notebooks" / f"{stem}.ipynb").read_text())["cells"]
    named = [c["metadata"].get("mystnb", {}).get("figure", {}).get("name", "") for c in cells]
    return "\n".join(["".join(c["source"]) for c in cells] + [f'"{name}"' for name in named])


def test_no_claim_is_said_to_be_shown_in_a_summary():
    assert all(place != "In short" for stem, place in judged.SHOWN.values() if stem[:2] == "04")
    assert judged.chapter("rules") == "[chapter 4](tab-rectgrad-rules)"
    assert judged.chapter("coherence") == "measured for this page alone"


def test_the_errata_link_to_places_that_are_there_and_claims_link_back():
    text = (judged.ROOT / "book" / "errata.md").read_text(encoding="utf8")
    chapters = "\n".join(sources(p.stem) for p in judged.ROOT.glob("notebooks/0*.ipynb"))
    places = re.findall(r"\]\(((?:tab|fig)-[\w-]+)\)", text)
    assert len(places) > 10 and [p for p in places if f'"{p}"' not in chapters] == []
    tables = set(re.findall(r"\(scoreboard\.md#([\w-]+)\)", text))
    assert tables <= {judged.slug(f"{n.paper} {n.table}") for n in published.numbers()}
    linked = judged.errata()
    assert set(linked) <= set(claims.listed()["id"])
    page = judged.claims()
    assert "(errata.md#erratum-padding-trick)" in cells(page, "claim-noise-border-outliers")[1]
    assert page.count("[erratum](errata.md") >= len(linked)


def test_a_link_leads_to_what_is_there(monkeypatch, tmp_path):
    def chapter(folder: str, heading: str):
        (tmp_path / folder).mkdir(exist_ok=True)
        source = [{"cell_type": "markdown", "source": [f"## {heading}\n", "Prose."]}]
        (tmp_path / folder / "03_x.ipynb").write_text(json.dumps({"cells": source}))

    monkeypatch.setattr(judged, "ROOT", tmp_path)
    monkeypatch.setattr(judged, "SHOWN", {"kind": ("03_x", "Do units filter?")})
    judged.places_of.cache_clear()
    assert judged.chapter("kind") == ""
    chapter("book", "Something else")
    chapter("notebooks", "Do units filter?")
    assert judged.chapter("kind") == "[chapter 3](03_x.ipynb)"
    chapter("book", "Do units filter?")
    judged.places_of.cache_clear()
    assert judged.chapter("kind") == "[chapter 3](03_x.ipynb#do-units-filter)"
    judged.places_of.cache_clear()


def test_the_committed_claims_have_verdicts_that_readers_know():
    found = judged.judged()
    told = [verdicts.of_claim(part) for _, part in found.groupby("id", sort=False)]
    assert set(told) <= set(verdicts.WORDS) and len(told) == len(claims.listed())
    assert judged.claims().count('class="verdict') == len(told)
