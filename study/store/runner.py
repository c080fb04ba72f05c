"""Many cells at once: over processes of this machine, or over a cluster.

`map_cells` computes what is not stored; stopped at any point, it goes on with the rest.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from pathlib import Path

import torch

from study.store.cells import Cell, finished, read, write


def map_cells(
    compute: Callable[[dict], dict],
    cells: Sequence[Cell],
    *,
    workers: int | None = None,
    threads: int = 1,
    scheduler: str | None = None,
    folder: Path | None = None,
    patience: float = 600,
    log: Callable[[str], None] | None = None,
) -> list[dict]:
    """The contents of all cells; those that are not stored are computed and stored.

    The first ones are computed first, and stored as they finish. `compute(parameters)` returns
    {"rows": [...]} and can be pickled: a function of a module. It runs in `workers` processes of
    `threads` threads each (None: one a GPU, else as many as there are processors; 0: in this
    process), or on the Dask cluster whose address is `scheduler`; "slurm" or "slurm:<name>" starts
    `workers` jobs as dask-jobqueue is configured under that name. Stopped at any point, it goes on
    with what is not stored. Two runs at once share the work. A worker that dies is replaced and its
    cell computed again; RuntimeError after three deaths without a finished cell between them. A
    cell that fails does not keep the others from being computed; the first error is raised at the
    end. While a finished cell cannot be written it is kept in memory, and OSError raised after
    `patience` seconds.
    """
    _check_at_least("workers", workers, 0)
    _check_at_least("threads", threads, 1)
    contents = [read(wanted.path(folder)) for wanted in cells]
    todo = deque(k for k, content in enumerate(contents) if content is None)
    if workers is None:
        workers = torch.cuda.device_count() or max(1, (os.cpu_count() or 1) // threads)
    if scheduler:
        run = _on_cluster
    elif workers == 0 and scheduler is None:
        run = _here
    else:
        run = _in_processes
    work = partial(_work, compute, folder=folder)
    failed: dict[int, Exception] = {}
    with _Progress(len(cells), len(cells) - len(todo), log) as progress:
        # bound to no name: an error in this loop must close the generator, which ends its workers
        for k, content in run(
            work, cells, todo, workers=workers, threads=threads, scheduler=scheduler
        ):
            if isinstance(content, Exception):
                failed[k] = content
                (log or print)(f"failed: {cells[k].label}: {content}")
                continue
            if read(cells[k].path(folder)) is None:  # a full disk, or a worker with another disk
                _write_patiently(cells[k].path(folder), content, patience, log or print)
            contents[k] = content
            progress.step(cells[k].label)
    if failed:
        first = min(failed)
        error = failed[first]
        error.add_note(
            f"{len(failed)} of {len(cells)} cells failed, the first of them {cells[first].label}; "
            "the others are stored."
        )
        raise error
    return contents


def _check_at_least(name: str, value: int | None, least: int) -> None:
    """Raise ValueError unless `value` is None or a whole number of at least `least`."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}.")


def _work(
    compute: Callable[[dict], dict], wanted: Cell, folder: Path | None
) -> dict | Exception | None:
    """The cell's content, None if another process is at it, or what went wrong."""
    try:
        return finished(wanted, partial(compute, wanted.parameters), folder, patient=False)
    except Exception as error:
        return error


def _write_patiently(
    path: Path, content: dict, patience: float, log: Callable[[str], None], pause: float = 5
) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            return write(path, content)
        except OSError as error:
            why = error.strerror or error
            if time.monotonic() > until:
                raise OSError(
                    f"{path} cannot be written ({why}); everything else that is finished is "
                    "stored, and the same run goes on from there."
                ) from None
            log(
                f"{path.name} cannot be written ({why}); it waits in memory, make room on the disk."
            )
            time.sleep(min(pause, patience))


class _Progress:
    """A progress bar where there is a terminal, and a line a cell for `log`.

    The line says the time left at the mean pace of this run.
    """

    def __init__(self, total: int, stored: int, log: Callable[[str], None] | None):
        from tqdm import tqdm

        self.total = total
        self.stored = stored
        self.done = 0
        self.log = log
        self.start = time.monotonic()
        self.bar = tqdm(
            total=total, initial=stored, smoothing=0, unit="cell", disable=None, leave=False
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def step(self, label: str) -> None:
        self.done += 1
        self.bar.update()
        if self.log:
            pace = (time.monotonic() - self.start) / self.done
            finished = self.stored + self.done
            left = pace * (self.total - self.stored - self.done)
            self.log(f"{finished} of {self.total} cells  {label}  about {left / 60:.0f} min left")


def _here(work, cells, todo, **_) -> Iterator[tuple[int, dict]]:
    while todo:
        k = todo.popleft()
        content = work(cells[k])
        if content is None:
            todo.append(k)
            time.sleep(0.2)
        else:
            yield k, content


def _begin(threads: int, number) -> None:
    """A worker's start: its threads, its GPU if there are several, no life after its parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    torch.set_num_threads(threads)
    with number.get_lock():
        mine, number.value = number.value, number.value + 1
    if torch.cuda.is_available() and torch.cuda.device_count() > 1:
        torch.cuda.set_device(mine % torch.cuda.device_count())

    def leave_with_parent():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _in_processes(
    work, cells, todo, *, workers: int, threads: int, **_
) -> Iterator[tuple[int, dict]]:
    """One pool a worker: a pool whose worker dies ends as a whole, the cells beside it go on."""
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    number, others = context.Value("i", 0), set(multiprocessing.active_children())
    pools: dict[int, ProcessPoolExecutor] = {}  # by the number of their worker
    running: dict[Future, tuple[int, int]] = {}  # the cell's place in `cells`, and its worker
    deaths = 0
    try:
        while todo or running:
            for slot in set(range(workers)) - {slot for _, slot in running.values()}:
                if todo:
                    fresh = ProcessPoolExecutor(1, context, _begin, (threads, number))
                    pools.setdefault(slot, fresh)
                    k = todo.popleft()
                    running[_submitted(pools[slot], work, cells[k])] = k, slot
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                k, slot = running.pop(future)
                try:
                    content = future.result()
                except BrokenProcessPool:
                    todo.appendleft(k)
                    pools.pop(slot).shutdown()
                    deaths += 1
                    if deaths == 3:
                        raise RuntimeError(
                            "three workers died one after another, the last at "
                            f"{cells[k].label}; is there memory for {workers} of them? "
                            "What is finished is stored."
                        ) from None
                    continue
                if content is None:  # another run is at it: ask again when the rest is done
                    todo.append(k)
                    time.sleep(0.2)
                else:
                    deaths = 0
                    yield k, content
    finally:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()  # idle ones, or the rest of a run that was stopped
        for pool in pools.values():
            pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, work, wanted: Cell) -> Future:
    """The future of a cell's work.

    A pool whose idle worker has died refuses, which is told as if it had died at the cell.
    """
    try:
        return pool.submit(work, wanted)
    except BrokenProcessPool as error:
        refused = Future()
        refused.set_exception(error)
        return refused


def _on_cluster(
    work, cells, todo, *, workers: int, threads: int, scheduler: str
) -> Iterator[tuple[int, dict]]:
    try:
        from distributed import Client, as_completed
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a cluster needs the package distributed; `pip install -e '.[cluster]'` brings it."
        ) from None
    kind, _, name = scheduler.partition(":")
    jobs = _slurm(name or "slurm", workers, threads) if kind == "slurm" else _nothing()
    with (
        jobs as cluster,
        Client(cluster.scheduler_address if cluster else scheduler) as client,
    ):

        def submit(k: int, rank: int):
            return client.submit(_threaded, threads, work, cells[k], pure=False, priority=-rank)

        running = {submit(k, rank): k for rank, k in enumerate(todo)}
        finished = as_completed(list(running))
        for future in finished:
            k, content = running.pop(future), future.result()
            if content is None:
                time.sleep(0.2)
                again = submit(k, len(cells))
                running[again] = k
                finished.add(again)
            else:
                yield k, content


_ONE_AT_A_TIME = threading.Lock()


def _threaded(threads: int, work, wanted: Cell) -> dict | Exception | None:
    """The work of one cell.

    A Dask worker of several threads does one at a time, since torch draws random numbers for the
    whole process.
    """
    with _ONE_AT_A_TIME:
        torch.set_num_threads(threads)
        return work(wanted)


@contextmanager
def _nothing():
    yield None


@contextmanager
def _slurm(name: str, jobs: int, threads: int):
    try:
        from dask_jobqueue import SLURMCluster
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Slurm needs the package dask-jobqueue; `pip install -e '.[cluster]'` brings it."
        ) from None
    with SLURMCluster(config_name=name) as cluster:
        cluster.scale(jobs=jobs)
        yield cluster
