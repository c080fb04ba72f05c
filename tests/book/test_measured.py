"""book.measured: the pages *Performance* and *Faults* say what was measured and what is tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import table
from book import measured

BOOK = Path(measured.__file__).parent


def row(kind="time", network="resnet18", method="rectgrad", against="floor", **more) -> dict:
    about = dict.fromkeys(table.ABOUT, "x") | {"commit": "abc1234", "threads": "2"}
    key = {"kind": kind, "network": network, "pixels": 32, "method": method, "against": against}
    return dict.fromkeys(table.COLUMNS, "") | about | key | more


TIMED = {"value": "1.234", "low": "1.2", "high": "1.3", "result": "agrees"}
ROWS = [
    row(**TIMED, aim="1.35", met="yes"),
    row(method="deeplift", **TIMED | {"value": "1.7"}, aim="1.6", met="no", why="sort 40%"),
    row(method="guided_backprop", **TIMED | {"value": "1.3"}, aim="1.2", met="no"),
    row(method="deeplift", against="captum", result="differs", distance="0.7"),
    row(method="epsilon_lrp", against="captum", result="refuses: no rule"),
    row(method="saliency", against="captum", **TIMED, aim="1.05", met="no", why="copy_ 9%"),
    row(method="saliency", against="zennit", **TIMED | {"value": "0.5"}, aim="1.05", met="yes"),
    row("memory", method="integrated_gradients", against="ours", steps="10 50", value="1.01")
    | {"aim": "1.05", "met": "yes", "why": "4 MB at 10"},
    row("memory", method="active", against="ours", classes="10 30", value="1.5"),
    row("exponent", against="pixels", value="0.98"),
    row("kernel", method="signed_maps", against="released", **TIMED | {"value": "0.25"}),
]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "CSV", tmp_path / "benchmarks.csv")
    table.write(table.CSV, ROWS)


def cells(text: str, start: str) -> list[str]:
    """The cells of the row of a table that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("name", [name for name in measured.PARTS if "performance" in name])
def test_without_measurements_pages_say_so(name, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "CSV", tmp_path / "none.csv")
    assert measured.PARTS[name]() == measured.NOTHING


def test_what_was_measured_and_how_many_aims_are_met(results, monkeypatch):
    told = measured.about()
    assert told.startswith("3 of 6 aims are met.") and "commit abc1234" in told
    assert "benchmarks.csv](../data/results/benchmarks.csv)" in told
    assert "have changed since" in told
    monkeypatch.setattr(table, "code", lambda: "x")
    assert "have changed since" not in measured.about()


def test_ratios_to_the_floor_with_aims_and_reasons(results):
    text = measured.over_floor()
    lines = [line for line in text.splitlines() if "`resnet18`, 32 px" in line]
    assert [line.split(" | ")[1:] for line in lines] == [
        ["RectGrad", "1.23 (1.20 to 1.30)", "1.35", "yes", " |"],
        ["DeepLIFT", "1.70 (1.20 to 1.30)", "1.6", "no", "sort 40% |"],
        ["Guided backpropagation", "1.30 (1.20 to 1.30)", "1.2", "no", "not profiled |"],
    ]


def test_ratios_to_peers_or_why_there_is_none(results):
    text = measured.over_peers()
    assert cells(text, "DeepLIFT") == ["DeepLIFT", "differs", ""]
    assert cells(text, "Epsilon-LRP") == ["Epsilon-LRP", "refuses", ""]
    assert cells(text, "Saliency map")[1:] == ["1.23 (1.20 to 1.30)", "0.50 (1.20 to 1.30)"]
    assert text.count("Missed: ") == 1
    assert "Missed: Saliency map over Captum: copy_ 9%." in text


def test_memory_growth_and_kernels(results):
    assert cells(measured.memory(), "Integrated gradients")[1:] == (
        ["ours", "steps 10 50", "1.01", "1.05", "yes", "4 MB at 10"]
    )
    assert cells(measured.memory(), "Active")[2:5] == ["classes 10 30", "1.50", ""]
    assert cells(measured.growth(), "RectGrad")[2:] == ["pixels", "0.98"]
    assert cells(measured.kernels(), "`signed_maps`")[1:3] == ["released", "0.25 (1.20 to 1.30)"]


def test_every_fault_has_a_row_with_its_tests():
    known = measured.read_rows(measured.FAULTS)
    text = measured.faults()
    lines = text.splitlines()
    assert len(lines) == 2 + len(known) >= 12
    assert len({line.count("|") for line in lines}) == 1
    for fault, line in zip(known, lines[2:], strict=True):
        assert line.startswith(f"| {fault['fault']} | ") and " | 0 | 0 | " in line
        assert all(f"tests/{name}" in line for name in fault["tests"].split())
    assert len(measured.security().splitlines()) == len(measured.read_rows(measured.SECURITY)) >= 8


@pytest.mark.parametrize("page", ["performance", "faults"])
def test_every_comment_of_the_pages_has_its_part(page):
    names = re.findall(r"<!-- (\w+) -->", (BOOK / f"{page}.md").read_text(encoding="utf8"))
    assert names and set(names) <= set(measured.PARTS)
    others = {name for name in measured.PARTS if name.startswith("performance")}
    assert set(names) == (others if page == "performance" else {"faults", "security"})
