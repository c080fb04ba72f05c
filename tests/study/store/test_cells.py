"""study.store.cells: an expensive result is computed once and never believed if it is damaged.

And it is written whole or not at all.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from study.store import cells as store
from study.store.cells import Cell, finished, key, of, pack, read, rows, unpack, write

pytestmark = pytest.mark.usefixtures("one_thread")

WHAT = {"dataset": "toy", "n": 3, "data": "abc"}


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """Cells and locks of their own."""
    monkeypatch.setattr(store, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(store, "CACHE", tmp_path / "cache")


@pytest.fixture
def compute():
    """A computation that counts its calls in `compute.calls`."""

    def run():
        run.calls += 1
        return {"rows": [{"value": 0.1 + run.calls, "name": "ä"}], "kept": [1, None]}

    run.calls = 0
    return run


def cell(experiment, label, parameters, compute):
    """The content of a cell, computed at most once."""
    return finished(Cell(experiment, label, parameters), compute)


def files(tmp_path):
    return sorted(f.name for f in (tmp_path / "results").rglob("*") if f.is_file())


# ---- one file


def test_what_is_written_is_read(tmp_path):
    content = {"rows": [{"a": 0.1 + 0.2, "b": None, "c": "ä", "d": True}], "nan": [1e-300, -0.0]}
    write(tmp_path / "new" / "a.json", content)
    assert read(tmp_path / "new" / "a.json") == content
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["a.json"]
    write(tmp_path / "new" / "a.json", {"rows": []})
    assert read(tmp_path / "new" / "a.json") == {"rows": []}
    assert read(tmp_path / "none.json") is None


def edit(change):
    def damage(path):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "not utf-8": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "a changed digit": lambda path: path.write_text(path.read_text().replace("1.1", "1.2")),
    "a changed parameter": edit(lambda content: content["parameters"].update(n=4)),
    "a row less": edit(lambda content: content["rows"].pop()),
    "a new entry": edit(lambda content: content.update(extra=1)),
    "no digest": edit(lambda content: content.pop("digest")),
    "a list": lambda path: path.write_text("[]"),
    "a number": lambda path: path.write_text("3"),
    "null": lambda path: path.write_text("null"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cell_is_set_aside_and_computed_again(damage, tmp_path, compute):
    cell("toy", "a", WHAT, compute)
    (path,) = (tmp_path / "results" / "toy").iterdir()
    damage(path)
    left = path.read_bytes()
    again = cell("toy", "a", WHAT, compute)
    assert compute.calls == 2 and again["rows"][0]["value"] == 2.1
    assert path.with_suffix(".damaged").read_bytes() == left and len(files(tmp_path)) == 2
    assert cell("toy", "a", WHAT, compute) == again == of("toy")[0]
    assert compute.calls == 2 and len(of("toy")) == 1


def test_two_readers_of_a_damaged_cell(tmp_path, monkeypatch):
    """The other one may have set it aside between our reading and our renaming."""
    path = tmp_path / "a.json"
    path.write_text("damaged")
    loads = json.loads

    def meanwhile(text):
        path.rename(path.with_suffix(".damaged"))
        return loads(text)

    monkeypatch.setattr(store.json, "loads", meanwhile)
    assert read(path) is None


# ---- cells


def test_a_cell_is_computed_once(tmp_path, compute):
    first = cell("toy", "a", WHAT, compute)
    assert first["rows"] == [{"value": 1.1, "name": "ä"}] and first["kept"] == [1, None]
    assert compute.calls == 1
    assert (first["experiment"], first["parameters"]) == ("toy", WHAT)
    assert cell("toy", "a", WHAT, compute) == first and compute.calls == 1
    assert files(tmp_path) == [f"a-{key(WHAT)}.json"]


def test_a_cell_says_where_it_came_from(compute):
    origin = cell("toy", "a", WHAT, compute)["provenance"]
    assert {"commit", "date", "python", "torch", "machine", "threads", "seconds"} <= set(origin)
    assert origin["torch"] == torch.__version__
    assert origin["threads"] == 1
    assert origin["seconds"] >= 0
    assert origin["commit"] == store.commit()


@pytest.mark.parametrize(
    "other",
    [
        {**WHAT, "n": 4},
        {**WHAT, "data": "abd"},
        {**WHAT, "map": "active"},
        {"dataset": "toy", "n": 3},
    ],
)
def test_the_key_sees_every_parameter(other):
    assert key(WHAT) == key(dict(reversed(WHAT.items())))
    assert key(other) != key(WHAT) and len(key(WHAT)) == 12


def test_other_parameters_are_another_cell(tmp_path, compute):
    for parameters in (WHAT, {**WHAT, "n": 4}):
        cell("toy", "a", parameters, compute)
    cell("other", "a", WHAT, compute)
    assert compute.calls == 3 and len(files(tmp_path)) == 3 and len(of("toy")) == 2


def test_what_does_not_apply_is_not_stored(tmp_path):
    assert cell("toy", "a", WHAT, lambda: None) is None and files(tmp_path) == []


def test_a_failed_computation_leaves_nothing(tmp_path, compute):
    def fails():
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        cell("toy", "a", WHAT, fails)
    assert files(tmp_path) == [] and cell("toy", "a", WHAT, compute)["rows"][0]["value"] == 1.1


@pytest.mark.parametrize("what", ["os.fsync", "compute"])
def test_a_full_disk_leaves_what_was_there_and_nothing_more(what, tmp_path, monkeypatch, compute):
    kept = cell("toy", "a", WHAT, compute)
    before = {f: f.read_bytes() for f in (tmp_path / "results").rglob("*") if f.is_file()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if what != "compute":
            patch.setattr(f"study.store.cells.{what}", full)
        with pytest.raises(OSError, match="No space"):
            cell("toy", "b", {**WHAT, "n": 4}, full if what == "compute" else compute)
        if what != "compute":
            with pytest.raises(OSError, match="No space"):
                write(next(iter(before)), {"rows": ["new"]})
    assert {f: f.read_bytes() for f in (tmp_path / "results").rglob("*") if f.is_file()} == before
    assert cell("toy", "a", WHAT, compute) == kept


def test_table_has_parameters_and_rows_as_columns():
    cell("toy", "a", {"map": "active", "n": 3}, lambda: {"rows": [{"auc": 0.1}, {"auc": 0.2}]})
    cell("toy", "b", {"map": "inactive", "n": 3}, lambda: {"rows": [{"auc": 0.3}]})
    stored = rows("toy")
    assert list(stored.columns) == ["map", "n", "auc"]
    assert stored.values.tolist() == [["active", 3, 0.1], ["active", 3, 0.2], ["inactive", 3, 0.3]]
    assert len(rows("nothing")) == 0 and of("nothing") == []


# ---- processes


def child(folder: Path, what: str, start=None) -> None:
    """In a process of its own: a cell that is killed half way, or one that takes a while.

    The latter notes that it was computed.
    """
    store.RESULTS, store.CACHE = folder / "results", folder / "cache"
    store.commit = lambda: "child"

    def compute():
        with (folder / "computed").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if what == "killed computing":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)
        return {"rows": [{"value": os.getpid()}]}

    def killed(file):
        os.ftruncate(file, 10)
        os.kill(os.getpid(), signal.SIGKILL)

    if what == "killed writing":
        store.os.fsync = killed
    if start is not None:
        start.wait()
    with (folder / f"seen-{os.getpid()}").open("w") as file:
        file.write(str(cell("toy", "a", WHAT, compute)["rows"][0]["value"]))


def processes(folder: Path, what: str, count: int) -> list[int]:
    # a fresh interpreter would import torch anew for each
    context = multiprocessing.get_context("fork")
    start = context.Barrier(count)
    running = [context.Process(target=child, args=(folder, what, start)) for _ in range(count)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    return [process.exitcode for process in running]


@pytest.mark.parametrize("what", ["killed computing", "killed writing"])
def test_a_killed_computation_leaves_no_cell_and_no_lock(what, tmp_path, compute):
    cell("toy", "earlier", {**WHAT, "n": 4}, compute)
    assert processes(tmp_path, what, 1) == [-signal.SIGKILL] and (tmp_path / "computed").exists()
    written = [f for f in files(tmp_path) if f.endswith(".json")]
    assert written == [f"earlier-{key({**WHAT, 'n': 4})}.json"] and len(of("toy")) == 1
    assert cell("toy", "a", WHAT, compute)["rows"][0]["value"] == 2.1
    assert compute.calls == 2 and len(of("toy")) == 2


def test_two_processes_compute_a_cell_once(tmp_path):
    assert processes(tmp_path, "slow", 2) == [0, 0]
    computed = (tmp_path / "computed").read_text().split()
    seen = [f.read_text() for f in tmp_path.glob("seen-*")]
    assert len(computed) == 1 and seen == computed * 2


# ---- flags


@pytest.mark.parametrize(
    "shape", [(1,), (7,), (8,), (13, 5), (13, 200), (2, 3, 5), (0,), (13, 0)], ids=str
)
def test_flags_come_back_from_their_bits(shape):
    flags = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.3
    packed = json.loads(json.dumps(pack(flags)))
    assert torch.equal(unpack(packed), flags) and unpack(packed).dtype == torch.bool


def test_flags_that_are_not_contiguous(tmp_path):
    flags = (torch.rand(6, 11, generator=torch.Generator().manual_seed(0)) < 0.5).T
    assert torch.equal(unpack(pack(flags)), flags)
    assert len(pack(torch.ones(13, 10_000, dtype=torch.bool))["bits"]) < 1000  # compressed


@pytest.mark.parametrize("large, kind", [(65_504.0, "half"), (70_000.0, "single")])
def test_numbers_too_large_for_half_precision_are_kept_in_single(large, kind):
    values = torch.tensor([1.5, -large, float("nan"), float("inf")], dtype=torch.float64)
    packed = json.loads(json.dumps(pack(values)))
    assert store.is_packed(packed) and kind in packed
    assert torch.equal(unpack(packed).nan_to_num(7), values.nan_to_num(7))
