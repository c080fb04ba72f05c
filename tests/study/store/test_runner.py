"""study.store.runner.map_cells: every cell once, in any process, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from study.paths import ROOT
from study.store import cells as store
from study.store import runner
from study.store.runner import map_cells
from tests.study.store import grid_jobs
from tests.study.store.grid_jobs import noted, square


@pytest.fixture
def folder(tmp_path):
    """Where cells go, with locks beside them."""
    return tmp_path / "results"


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as running:
        yield running


def values(contents):
    return [content["rows"][0]["square"] for content in contents]


def stored(folder):
    return sorted(f.name for f in (folder / "squares").glob("*"))


# ---- what comes out


def test_in_this_process_each_cell_is_computed_once_in_order_and_stored(tmp_path, folder):
    cells = grid_jobs.cells(tmp_path, 4)
    contents = map_cells(square, cells, workers=0, folder=folder)
    assert values(contents) == [0, 1, 4, 9] and noted(tmp_path) == [0, 1, 2, 3]
    assert [store.read(c.path(folder)) for c in cells] == contents and len(stored(folder)) == 4
    assert (
        contents[2]["parameters"] == cells[2].parameters
        and contents[2]["provenance"]["seconds"] >= 0
    )
    assert (
        map_cells(square, cells[::-1], workers=0, folder=folder) == contents[::-1]
        and len(noted(tmp_path)) == 4
    )


def test_a_cell_is_that_of_cell(tmp_path, folder):
    (wanted,) = grid_jobs.cells(tmp_path, 1)
    (content,) = map_cells(square, [wanted], workers=0, folder=folder)
    again = store.finished(wanted, lambda: pytest.fail("it is stored"), folder)
    assert again == content


def test_processes_share_the_work(tmp_path, folder):
    cells = grid_jobs.cells(tmp_path, 6, seconds=0.3)
    assert values(map_cells(square, cells, workers=2, folder=folder)) == [x * x for x in range(6)]
    assert sorted(noted(tmp_path)) == list(range(6))
    assert noted(tmp_path)[0] != 5  # the first ones first
    workers = grid_jobs.pids(tmp_path, "done")
    assert len(workers) == 2 and os.getpid() not in workers


def test_a_dask_cluster_does_the_same(tmp_path, folder, cluster):
    cells = grid_jobs.cells(tmp_path, 6)
    assert values(map_cells(square, cells[:3], workers=0, folder=folder)) == [0, 1, 4]
    assert values(map_cells(square, cells, scheduler=cluster.scheduler_address, folder=folder)) == [
        x * x for x in range(6)
    ]
    assert sorted(noted(tmp_path)) == list(range(6)) and len(stored(folder)) == 6


def test_slurm_is_asked_for_as_it_is_configured(tmp_path, folder, cluster, monkeypatch):
    asked = []

    class SLURMCluster:
        scheduler_address = cluster.scheduler_address

        def __init__(self, config_name):
            asked.append(config_name)

        def scale(self, jobs):
            asked.append(jobs)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            asked.append("closed")

    monkeypatch.setitem(
        sys.modules, "dask_jobqueue", types.SimpleNamespace(SLURMCluster=SLURMCluster)
    )
    assert values(
        map_cells(
            square, grid_jobs.cells(tmp_path, 2), scheduler="slurm:gpu", workers=7, folder=folder
        )
    ) == [0, 1]
    assert asked == ["gpu", 7, "closed"]


@pytest.mark.parametrize(
    "scheduler, module", [("tcp://127.0.0.1:1", "distributed"), ("slurm", "dask_jobqueue")]
)
def test_what_a_cluster_needs_is_said_in_one_sentence(
    scheduler, module, tmp_path, folder, monkeypatch
):
    pytest.importorskip("distributed")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[cluster\]'"):
        map_cells(square, grid_jobs.cells(tmp_path, 1), scheduler=scheduler, folder=folder)
    assert not noted(tmp_path, "begun")


def test_a_line_a_cell_with_the_time_left(tmp_path, folder):
    cells, lines = grid_jobs.cells(tmp_path, 3, seconds=0.2), []
    map_cells(square, cells[:1], workers=0, folder=folder)
    map_cells(square, cells, workers=0, folder=folder, log=lines.append)
    assert lines == [
        "2 of 3 cells  square-1  about 0 min left",
        "3 of 3 cells  square-2  about 0 min left",
    ]


def test_the_time_left_is_the_mean_pace_of_this_run(monkeypatch):
    clock = iter([0, 600, 900])
    # the runner's name alone: other threads of the process go on reading the real clock
    monkeypatch.setattr(runner, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    lines = []
    with runner._Progress(10, 4, lines.append) as progress:
        progress.step("a")
        progress.step("b")
    # 5 x 600 s, 4 x 450 s
    assert [line.split("  ")[-1] for line in lines] == ["about 50 min left", "about 30 min left"]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"workers": -1}, "workers is -1"),
        ({"workers": 1.5}, "workers is 1.5"),
        ({"threads": 0}, "threads is 0"),
        ({"workers": True}, "workers is True"),
    ],
    ids=str,
)
def test_impossible_numbers_are_refused_before_anything_is_computed(
    options, words, tmp_path, folder
):
    with pytest.raises(ValueError, match=words):
        map_cells(square, grid_jobs.cells(tmp_path, 1), folder=folder, **options)
    assert not noted(tmp_path, "begun")


# ---- what may happen


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_computed_twice(tmp_path, folder):
    cells = grid_jobs.cells(tmp_path, 6, dies=2, seconds=0.1)
    assert values(map_cells(square, cells, workers=2, folder=folder)) == [x * x for x in range(6)]
    assert sorted(noted(tmp_path)) == list(range(6)) and noted(tmp_path, "begun").count(2) == 2


def test_a_worker_that_is_killed_takes_no_other_with_it(tmp_path, folder):
    """The cell beside the one that dies, at work before and after, is begun once."""
    cells = grid_jobs.cells(tmp_path, 2, dies=1, outlives=0, seconds=0.5)
    assert values(map_cells(square, cells, workers=2, folder=folder)) == [0, 1]
    assert sorted(noted(tmp_path, "begun")) == [0, 1, 1] and sorted(noted(tmp_path)) == [0, 1]


def test_a_worker_of_a_dask_cluster_that_is_killed_is_replaced(tmp_path, folder, cluster):
    cells = grid_jobs.cells(tmp_path, 6, dies=2, seconds=0.1)
    assert values(map_cells(square, cells, scheduler=cluster.scheduler_address, folder=folder)) == [
        x * x for x in range(6)
    ]
    assert sorted(noted(tmp_path)) == list(range(6)) and noted(tmp_path, "begun").count(2) == 2


def test_a_cell_that_kills_every_worker_ends_the_run_and_the_rest_is_kept(tmp_path, folder):
    with pytest.raises(RuntimeError, match="three workers died.*square-3"):
        map_cells(square, grid_jobs.cells(tmp_path, 4, kills=3), workers=1, folder=folder)
    assert (
        noted(tmp_path) == [0, 1, 2]
        and len(stored(folder)) == 3
        and noted(tmp_path, "begun").count(3) == 3
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_cell_that_fails_keeps_no_other_from_being_computed(workers, tmp_path, folder):
    lines = []
    with pytest.raises(ZeroDivisionError, match="as told") as raised:
        map_cells(
            square,
            grid_jobs.cells(tmp_path, 4, fails=2),
            workers=workers,
            folder=folder,
            log=lines.append,
        )
    assert noted(tmp_path) == [0, 1, 3] and len(stored(folder)) == 3
    assert (
        raised.value.__notes__
        == ["1 of 4 cells failed, the first of them square-2; the others are stored."]
        and "failed: square-2: as told" in lines
    )


def test_a_failing_cell_of_a_dask_cluster_keeps_no_other_from_being_computed(
    tmp_path, folder, cluster
):
    with pytest.raises(ZeroDivisionError, match="as told"):
        map_cells(
            square,
            grid_jobs.cells(tmp_path, 4, fails=0),
            scheduler=cluster.scheduler_address,
            folder=folder,
        )
    assert sorted(noted(tmp_path)) == [1, 2, 3]


def test_a_worker_killed_while_it_is_idle_costs_nothing(tmp_path, folder):
    """The pool then refuses the next cell, which must stay in line."""
    lines = []

    def kill(line):
        if not lines:
            for pid in grid_jobs.pids(tmp_path, "done"):
                os.kill(pid, signal.SIGKILL)
            time.sleep(1)
        lines.append(line)

    contents = map_cells(square, grid_jobs.cells(tmp_path, 5), workers=1, folder=folder, log=kill)
    assert values(contents) == [x * x for x in range(5)] and sorted(noted(tmp_path)) == list(
        range(5)
    )


def test_a_dask_worker_of_several_threads_does_one_cell_at_a_time(tmp_path, folder):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=3, processes=True, dashboard_address=":0"
    ) as cluster:
        map_cells(
            grid_jobs.alone,
            grid_jobs.cells(tmp_path, 6),
            scheduler=cluster.scheduler_address,
            folder=folder,
        )
    assert sorted(noted(tmp_path)) == list(range(6))


def test_a_full_disk_loses_nothing_that_is_finished(tmp_path, folder, monkeypatch):
    write, refusals, lines = store.write, [3], []

    def full(path, content):
        if refusals[0] and "square-1" in path.name:
            refusals[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    for module in (store, runner):
        monkeypatch.setattr(module, "write", full)
    hurried = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: None)
    monkeypatch.setattr(runner, "time", hurried)
    contents = map_cells(
        square, grid_jobs.cells(tmp_path, 3), workers=0, folder=folder, log=lines.append
    )
    assert (
        values(contents) == [0, 1, 4] and noted(tmp_path) == [0, 1, 2] and len(stored(folder)) == 3
    )
    # the worker's own try is the first
    assert sum("No space left on device" in line and "memory" in line for line in lines) == 2


def test_a_disk_that_stays_full_ends_the_run_in_one_sentence(tmp_path, folder, monkeypatch):
    write = store.write

    def full(path, content):
        if "square-0" not in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    for module in (store, runner):
        monkeypatch.setattr(module, "write", full)
    with pytest.raises(OSError, match="square-1.*No space left on device.*goes on from there"):
        map_cells(square, grid_jobs.cells(tmp_path, 3), workers=0, folder=folder, patience=0)
    assert len(stored(folder)) == 1


RUN = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import grid_jobs
from study.store import cells as store
from study.store import runner
if __name__ == "__main__":
    folder = Path(sys.argv[3])
    cells = grid_jobs.cells(folder, 8, seconds=float(sys.argv[4]))
    runner.map_cells(grid_jobs.square, cells, workers=2, folder=folder / "results")
"""


def start(tmp_path, seconds):
    script = tmp_path / "run.py"
    script.write_text(RUN)

    def listen():
        # a shell's background jobs are born deaf to Ctrl-C, and so are their children
        signal.signal(signal.SIGINT, signal.default_int_handler)

    arguments = [script, ROOT, Path(__file__).parent, tmp_path, seconds]
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=listen,
    )


def until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


linux = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="asks /proc which processes are alive"
)


@linux
@pytest.mark.parametrize(
    "end",
    [lambda run: os.kill(run.pid, signal.SIGKILL), lambda run: os.killpg(run.pid, signal.SIGINT)],
    ids=["kill -9", "Ctrl-C"],
)
def test_a_run_that_is_stopped_leaves_no_worker_and_goes_on_where_it_was(end, tmp_path, folder):
    run = start(tmp_path, 0.4)
    until(lambda: len(noted(tmp_path)) >= 2 and stored(folder))
    end(run)
    assert run.wait(30) != 0
    until(lambda: not any(map(alive, grid_jobs.pids(tmp_path, "begun"))), 30)
    before = stored(folder)
    assert 1 <= len(before) < 8 and all(name.endswith(".json") for name in before)
    cells = grid_jobs.cells(tmp_path, 8, seconds=0.4)
    finished = {x for x in range(8) if store.read(cells[x].path(folder))}
    assert values(map_cells(square, cells, workers=0, folder=folder)) == [x * x for x in range(8)]
    again = noted(tmp_path)
    assert all(again.count(x) == 1 for x in finished) and len(stored(folder)) == 8


@linux
def test_two_runs_at_once_share_the_work(tmp_path, folder):
    runs = [start(tmp_path, 0.2) for _ in range(2)]
    assert [run.wait(120) for run in runs] == [0, 0], [run.stdout.read() for run in runs]
    assert sorted(noted(tmp_path)) == list(range(8)) and len(stored(folder)) == 8
