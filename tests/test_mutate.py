"""tests/mutate.py: what is counted is kept, and counts as long as its files are what they were."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from book import front
from study.store import stamps
from tests import mutate

KERNEL, CHAPTER = "lib/metrics/kernel.py", "notebooks/01_one.ipynb"
TEST = "tests/test_kernel.py"
LOST, EQUAL, UNSEEN = "the sign is lost", "an equal kernel", "seen by no one"
TABLED = "seen in tables alone"
LISTED = (
    (LOST, KERNEL, "return -x", "return x"),
    (EQUAL, KERNEL, "small = 1", "small = 2"),
    (UNSEEN, KERNEL, "far = 1", "far = 2"),
    (TABLED, KERNEL, "beyond = 1", "beyond = 2"),
)
SOURCE = "small = 1\nfar = 1\nbeyond = 1\n\n\ndef negated(x):\n    return -x\n"
ASSERTION = (
    "from lib.metrics.kernel import negated\n\n\ndef test_sign():\n    assert negated(1) == -1\n"
)
PRINTED = "from lib.metrics.kernel import far, negated\n\nprint(negated(1), far)\n"
OF_METRICS = "from lib.metrics.kernel import beyond\n\nprint(beyond)\n"


def chapter(printed: str) -> str:
    cell = {
        "cell_type": "code",
        "execution_count": 1,
        "id": "one",
        "metadata": {},
        "source": "from lib.metrics.kernel import negated\nprint(negated(1))",
        "outputs": [{"output_type": "stream", "name": "stdout", "text": printed}],
    }
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A project of one kernel with one test and one chapter, and four mutations of it."""
    files = {
        KERNEL: SOURCE,
        TEST: ASSERTION,
        mutate.PANEL: PRINTED,
        mutate.PANEL_OF_METRICS: OF_METRICS,
        CHAPTER: chapter("-1\n"),
        "book/seconds.json": json.dumps({"quick": {"01_one": {"seconds": 1}}}),
        "lib/__init__.py": "",
        "lib/metrics/__init__.py": "",
        "tests/__init__.py": "",
        "data/.keep": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf8")
    monkeypatch.setattr(mutate, "ROOT", tmp_path)
    monkeypatch.setattr(mutate, "CSV", tmp_path / "data" / "mutations.csv")
    monkeypatch.setattr(mutate, "MUTATIONS", LISTED)
    monkeypatch.setattr(mutate, "TESTS", {KERNEL: (TEST,)})
    monkeypatch.setattr(mutate, "SHOWN_IN", {KERNEL: {"01_one": "lib.metrics.kernel.negated"}})
    return tmp_path


def asked(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mutate.py", *words])
    return mutate.main()


def test_the_listed_mutations_fit_and_leave_python():
    for name, file, old, new in mutate.chosen_mutations(""):
        text = (mutate.ROOT / file).read_text(encoding="utf8").replace(old, new)
        compile(text, name, "exec")
    assert len({name for name, *_ in mutate.MUTATIONS}) == len(mutate.MUTATIONS) > 200
    assert {file for _, file, *_ in mutate.MUTATIONS} == set(mutate.TESTS)


def test_the_chapters_of_a_kernel_mention_and_reach_it():
    kernels = {file for _, file, *_ in mutate.MUTATIONS if file.startswith("lib/")}
    assert set(mutate.SHOWN_IN) == kernels
    for file, chapters in mutate.SHOWN_IN.items():
        for name, dotted in chapters.items():
            path = mutate.ROOT / "notebooks" / f"{name}.ipynb"
            cells = json.loads(path.read_text(encoding="utf8"))["cells"]
            code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
            module, _, function = dotted.rpartition(".")
            package = module.rpartition(".")[2]
            module_names = {package, *re.findall(rf"\b{package} as (\w+)", code)}
            assert any(f"{m}.{function}(" in code for m in module_names), (name, dotted)
            reached = stamps.places(getattr(importlib.import_module(module), function))
            kernels = file.removesuffix(".py").replace("/", ".")
            assert kernels in {place for place, _ in reached}, (file, dotted)
        order = mutate.chapters_for(file)
        assert {Path(p).stem for p in order[: len(chapters)]} == set(chapters)
        assert {Path(p).stem for p in order} == {
            path.stem for path in (mutate.ROOT / "notebooks").glob("*.ipynb")
        }


def test_what_tests_catch_is_kept_and_counted_once(small, monkeypatch, capsys):
    assert asked(monkeypatch, "--only", LOST) == 0
    (row,) = mutate.known(mutate.PYTEST, small).values()
    assert (row["name"], row["changes"], row["caught"]) == (LOST, "", TEST)

    # a killed run leaves half a line
    whole = mutate.CSV.read_text(encoding="utf8")
    mutate.CSV.write_text(whole + "the sign is lost,lib/met", encoding="utf8")
    assert asked(monkeypatch) == 1
    printed = capsys.readouterr().out
    assert "1 of 4 are counted already" in printed and f"MISSED: {UNSEEN}" in printed
    assert mutate.CSV.read_text(encoding="utf8").startswith(whole)
    found = mutate.count(mutate.PYTEST)
    assert (found.counted, found.due, set(found.missed)) == (4, 4, {EQUAL, UNSEEN, TABLED})


def test_a_row_counts_until_a_file_changes_what_it_does(small, monkeypatch):
    assert asked(monkeypatch, "--only", LOST) == 0
    (small / KERNEL).write_text(f"# a comment\n{SOURCE}", encoding="utf8")
    assert set(mutate.known(mutate.PYTEST, small)) == {LOST}
    for name, text in ((KERNEL, SOURCE), (TEST, ASSERTION)):
        (small / name).write_text(f"{text}\n\nmore = 1\n", encoding="utf8")
        assert mutate.known(mutate.PYTEST, small) == {}
        (small / name).write_text(text, encoding="utf8")
    assert set(mutate.known(mutate.PYTEST, small)) == {LOST}


def test_a_row_of_no_change_counts_if_every_panel_was_asked(small, monkeypatch):
    assert asked(monkeypatch, "--nbval", "--only", EQUAL) == 0
    (row,) = mutate.read()
    assert set(mutate.known(mutate.CHAPTERS, small)) == {EQUAL}
    text = mutate.CSV.read_text(encoding="utf8")
    half = row["tried"].replace(f" {mutate.PANEL_OF_METRICS}", "")
    source = (small / KERNEL).read_text(encoding="utf8").replace("small = 1", "small = 2")
    key = mutate.fingerprint(small, source, [half])
    text = text.replace(row["tried"], half).replace(row["key"], key)
    mutate.CSV.write_text(text, encoding="utf8")
    assert mutate.known(mutate.CHAPTERS, small) == {}


@pytest.mark.slow
def test_chapters_are_asked_where_the_panel_changes(small, monkeypatch, capsys):
    assert asked(monkeypatch, "--nbval") == 0
    rows = mutate.known(mutate.CHAPTERS, small)
    assert {name: (row["changes"], row["caught"]) for name, row in rows.items()} == {
        LOST: ("yes", CHAPTER),
        EQUAL: ("no", mutate.NOTHING),
        UNSEEN: ("yes", mutate.NOTHING),
        TABLED: ("yes", mutate.NOTHING),
    }
    panels = f"{mutate.PANEL} {mutate.PANEL_OF_METRICS}"
    assert rows[EQUAL]["tried"] == panels and rows[UNSEEN]["tried"] == f"{mutate.PANEL} {CHAPTER}"
    assert "of 3 to be caught 1 are" in capsys.readouterr().out
    told = front.mutations()
    assert "| Tests | 0 of 4 | 0 | 0 |  |  |  |" in told
    assert "| Stored chapters | 4 of 4 | 3 | 1 | 33% |" in told
    assert f"*Stored chapters miss: {UNSEEN}; {TABLED}.*" in told


def test_no_time_leaves_all_for_the_next_run(small, monkeypatch):
    assert asked(monkeypatch, "--minutes", "-1") == 0
    assert mutate.read() == []


def test_what_fails_without_a_mutation_is_no_catch(small, monkeypatch, capsys):
    (small / TEST).write_text("def test_never():\n    assert False\n", encoding="utf8")
    asked(monkeypatch, "--only", LOST)
    assert f"{TEST} fails without any mutation" in capsys.readouterr().out
    assert mutate.read() == []


def test_a_word_that_no_mutation_has_is_refused():
    words = [sys.executable, "-m", "tests.mutate", "--only", "nosuchword"]
    result = subprocess.run(words, cwd=mutate.ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and "no mutation has 'nosuchword'" in result.stderr
