"""study.store.experiment: one line makes a function computed on the spot, or kept and found."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import pytest
import torch

from study.store import cells
from study.store import experiment as module
from study.store.experiment import experiment, first_row, whole


class Thing(NamedTuple):
    """What an experiment asks of a subject."""

    name: str = "toy"
    stored: bool = False

    @property
    def identity(self) -> dict:
        return {"dataset": self.name, "split": "test", "model": "net", "weights": "a/b"}


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """Cells, locks and a list of experiments of their own."""
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(module, "EXPERIMENTS", {})


@pytest.fixture
def squares():
    """An experiment that notes its calls in `squares.calls`."""
    calls = []

    @experiment("squares", tolerance=0.1)
    def function(thing, power: float = 2.0, *, names=("a", "b"), batch_size: int = 3, log=print):
        """Powers."""
        calls.append(power)
        return [{"name": name, "value": k**power} for k, name in enumerate(names, 1)]

    function.calls = calls
    return function


def files(tmp_path):
    return sorted((tmp_path / "results").rglob("*.json"))


def test_an_ordinary_subject_is_computed_on_the_spot(squares, tmp_path):
    table = squares(Thing())
    assert isinstance(table, pd.DataFrame) and table["value"].tolist() == [1, 4]
    assert squares(Thing()).equals(table)
    assert squares.calls == [2, 2] and files(tmp_path) == []
    assert squares.__doc__ == "Powers." and squares.__name__ == "function"


def test_a_kept_one_is_computed_once(squares, tmp_path):
    first = squares(Thing(stored=True), log=None)
    again = squares(Thing(stored=True), power=2.0, names=["a", "b"], batch_size=500)
    assert squares.calls == [2] and again.equals(first)
    (file,) = files(tmp_path)
    assert file.parent.name == "squares" and file.name.startswith("toy-test-net-a_b-2-")
    parameters = cells.read(file)["parameters"]
    assert parameters == {**Thing().identity, "power": 2.0, "names": ["a", "b"]}


@pytest.mark.parametrize(
    "thing, options",
    [
        (Thing("other", True), {}),
        (Thing(stored=True), {"power": 3.0}),
        (Thing(stored=True), {"names": ("a",)}),
    ],
)
def test_whatever_decides_the_value_makes_another_cell(thing, options, squares, tmp_path):
    squares(Thing(stored=True))
    squares(thing, **options)
    assert len(squares.calls) == 2 == len(files(tmp_path))


def test_another_subject_is_keyed_by_what_identifies_it(tmp_path):
    @experiment("pair", tolerance=0, returns=first_row)
    def pair(thing, other):
        return [{"name": other.name}]

    assert pair(Thing(stored=True), Thing("b")) == {"name": "b"}
    assert pair(Thing(stored=True), Thing("c")) == {"name": "c"}
    assert [cells.read(f)["parameters"]["other"]["dataset"] for f in files(tmp_path)] == ["b", "c"]


def test_tensors_are_the_same_computed_or_read():
    @experiment("tensors", tolerance=0, returns=whole)
    def tensors(thing):
        return {"rows": [], "flags": torch.tensor([[True], [False]]), "thirds": torch.ones(4) / 3}

    on_the_spot, first, again = (
        tensors(Thing()),
        tensors(Thing(stored=True)),
        tensors(Thing(stored=True)),
    )
    for content in (first, again):
        assert torch.equal(content["flags"], on_the_spot["flags"])
        assert torch.equal(content["thirds"], on_the_spot["thirds"])
    assert on_the_spot["flags"].dtype == torch.bool
    assert on_the_spot["thirds"].tolist() == pytest.approx([1 / 3] * 4, rel=5e-4)


def test_what_does_not_apply_is_none_and_not_kept(tmp_path):
    @experiment("nothing", tolerance=0)
    def nothing(thing):
        return None

    assert nothing(Thing()) is None and nothing(Thing(stored=True)) is None
    assert files(tmp_path) == []


def test_experiments_are_listed_by_name(squares):
    assert {"squares": squares} == module.EXPERIMENTS and squares.tolerance == 0.1


def test_a_cell_of_files_with_long_names_can_be_written(squares):
    """Most systems take 255 bytes for a name; the key tells such cells apart."""
    folder = "/home/é/" + "a long way to the weights/" * 8
    identity = {"dataset": f"imagefolder:{folder}", "split": "test", "model": "net"}
    label = module.file_label({**identity, "weights": f"{folder}mine.pt"}, {"map": "positive"})
    assert len(label.encode()) <= module.LONGEST and label.endswith("mine.pt-positive")
    short = module.file_label({**identity, "dataset": "toy", "weights": "a/b"}, {"q": 0.5})
    assert short == "toy-test-net-a_b-0.5"
