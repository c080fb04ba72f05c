"""The box *Run this* of every chapter."""

from __future__ import annotations

import json
import shlex

import nbformat
import pytest

from book import boxes, colab
from notebooks import run

SOURCE = """profile = "quick"  # a label
methods = [
    "a",
    "b",
]  # names | of <methods>
seed = 0"""


def test_parameters_are_read_with_their_comments():
    assert boxes.parameters(SOURCE) == [
        ("profile", "'quick'", "a label"),
        ("methods", "['a', 'b']", "names | of <methods>"),
        ("seed", "0", ""),
    ]


def test_a_box_says_command_minutes_parameters_and_result(monkeypatch, tmp_path):
    (tmp_path / "seconds.json").write_text(json.dumps({"quick": {"05_x": {"seconds": 130}}}))
    monkeypatch.setattr(boxes, "SECONDS", tmp_path / "seconds.json")
    told = boxes.box("05_x", SOURCE + "\nimages = 3")
    assert "make reproduce CHAPTER=05\n" in told and "about 2 minutes on two cores" in told
    assert 'CHAPTER=05 PARAMS="images=500"' in told and "_build/quick/05_x.ipynb" in told
    assert "| `methods` | `['a', 'b']` | names &#124; of &lt;methods> |" in told
    assert "Binder" not in told, "no button without a repository"


@pytest.mark.parametrize(
    "seconds, words",
    [(20, "less than a minute"), (70, "about a minute"), (290, "about 5 minutes")],
)
def test_minutes(seconds, words):
    assert boxes.minutes(seconds) == words


def test_buttons_lead_to_the_repository_that_the_book_is_published_from():
    told = boxes.buttons("05_x", "https://github.com/someone/sign-noise.git")
    assert "mybinder.org/v2/gh/someone/sign-noise/HEAD?labpath=notebooks/05_x.ipynb" in told
    assert "colab.research.google.com/github/someone/sign-noise/blob/HEAD/" in told
    assert f"someone/sign-noise/blob/{colab.BRANCH}/05_x.ipynb" in told
    assert boxes.buttons("05_x", "https://example.org/somewhere") == ""


def test_what_colab_opens_is_the_chapter_behind_a_cell_that_fetches_it(monkeypatch, tmp_path):
    address = "https://github.com/someone/sign-noise"
    monkeypatch.setenv("SIGN_NOISE_REPOSITORY", address)
    assert colab.main(tmp_path) == 0
    for source in run.chapters().values():
        fetch, *cells = nbformat.read(tmp_path / source.name, as_version=4).cells
        assert f"git clone --quiet --depth 1 {address} " in fetch.source
        assert [c.source for c in cells] == [c.source for c in nbformat.read(source, 4).cells]


def test_without_an_address_nothing_is_prepared_for_colab(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("SIGN_NOISE_REPOSITORY", raising=False)
    assert colab.main(tmp_path / "none") == 1
    assert "SIGN_NOISE_REPOSITORY is not set" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", run.chapters())
def test_every_chapter_gets_a_box_whose_command_runs(name):
    notebook = nbformat.read(run.chapters()[name], as_version=4)
    boxes.insert(notebook, name)
    text = next(c.source for c in notebook.cells if c.get("id") == "run-this")
    commands = [line for line in text.splitlines() if line.startswith("make reproduce")]
    for command in commands:
        words = dict(word.split("=", 1) for word in shlex.split(command)[2:])
        assert list(run.select([words["CHAPTER"]])) == [name]
        by_hand = run.assigned(run.parted(words.get("PARAMS", "")))
        assert run.plan([words["CHAPTER"]], "quick", by_hand)
    after = notebook.cells[[c.get("id") for c in notebook.cells].index("run-this") + 1 :]
    assert not after or after[0].source.startswith("# All values")


def test_refreshing_keeps_how_long_it_took(tmp_path):
    (tmp_path / "book").mkdir()
    run.note_seconds("05_x", "quick", 12.3, tmp_path)
    run.note_seconds("06_y", "paper", 99.9, tmp_path)
    run.note_seconds("05_x", "quick", 14.6, tmp_path)
    known = json.loads((tmp_path / "book" / "seconds.json").read_text())
    assert known["quick"]["05_x"]["seconds"] == 15 and known["paper"]["06_y"]["seconds"] == 100
