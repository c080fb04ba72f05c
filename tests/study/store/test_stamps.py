"""study.store.stamps: a fingerprint that changes with the code a result rests on, and only then."""

from __future__ import annotations

import shutil

import pytest

from study.experiments import cleanliness, deletion, response, retraining
from study.paths import ROOT
from study.store import cells, stamps
from study.store.experiment import EXPERIMENTS


def forget():
    """What was read of the code before."""
    for kept in (stamps.code, stamps.definition, stamps.module_of):
        kept.cache_clear()


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """edited(file, old, new) changes a copy of the code, which stamps then look at."""
    for folder in ("lib", "study"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__py*"))

    def edit(file, old, new):
        path = tmp_path / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        monkeypatch.setattr(stamps, "ROOT", tmp_path)
        forget()

    yield edit
    forget()


def stale_after(edit, *arguments) -> set[str]:
    """The kinds whose fingerprint an edit changes, claims aside."""
    kinds = {name: kind for name, kind in EXPERIMENTS.items() if "/" not in name}
    before = {name: stamps.code(kind.function) for name, kind in kinds.items()}
    edit(*arguments)
    return {name for name, kind in kinds.items() if stamps.code(kind.function) != before[name]}


def test_a_changed_kernel_makes_stale_what_rests_on_it(edited):
    stale = stale_after(
        edited, "lib/metrics/deletion.py", "def delete(", "SPARE = 1\n\n\ndef delete("
    )
    assert stale == set()  # a new name that nobody mentions
    stale = stale_after(edited, "lib/metrics/maps.py", ".abs()", ".abs().abs()")
    assert {"amounts", "sweep"} <= stale and not {"accuracy", "correct", "signs"} & stale


def test_formatting_comments_docstrings_and_annotations_do_not_count(edited):
    assert not stale_after(
        edited,
        "study/experiments/deletion.py",
        '"""Predicted class of every picture, int64 [N]."""',
        '"""Another sentence."""\n    # and a comment\n',
    )
    assert not stale_after(
        edited,
        "study/experiments/deletion.py",
        "def predictions(studied: Subject, batch_size: int = 256) -> Tensor:",
        "def predictions(\n    studied,\n    batch_size = 256\n):",
    )


def test_a_tolerance_does_not_count_and_a_value_does(edited):
    file = "study/experiments/deletion.py"
    assert not stale_after(edited, file, '"accuracy", tolerance=0.001', '"accuracy", tolerance=0.5')
    assert stale_after(edited, file, "size < 0.1 *", "size < 0.2 *") == {"signs"}


def test_how_results_are_kept_does_not_count(edited):
    assert not stale_after(
        edited, "study/store/cells.py", "def of(experiment: str,", "def of(experiment,"
    )


def test_what_is_reached():
    reached = stamps.places(deletion.accuracy.function)
    assert ("lib.metrics.statistics", "wilson") in reached
    assert ("study.experiments.deletion", "predictions") in reached
    assert ("lib.attribution.ruled", "rectgrad") not in reached
    # through a registry, and a function that is handed on
    assert ("lib.attribution.ruled", "rectgrad") in stamps.places(cleanliness.maps)
    assert ("study.experiments.response", "rectified") in stamps.places(response.sweep.function)
    assert ("study.subjects.training", "fit") in stamps.places(retraining.retrain)


def test_stamps_are_written_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    assert stamps.read() == {}
    stamps.write("b", {"code": "1"})
    stamps.write("a", {"code": "2"})
    stamps.write("b", {"code": "3"})
    assert stamps.read() == {"a": {"code": "2"}, "b": {"code": "3"}}
