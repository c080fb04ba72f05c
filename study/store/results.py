"""Expensive results as rows in files: one JSON file a cell under data/results/<experiment>/, with where it came from.

A cell is keyed by everything that decides its value: parameters, fingerprints of data and weights, and the version of the
experiment. It is written at once and whole when it is finished, so a stopped run goes on where it was; a damaged file is
set aside and its cell computed again.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import platform
import signal
import subprocess
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from study.subjects.sources import CACHE, ROOT

RESULTS = ROOT / "data" / "results"


@lru_cache
def commit() -> str:
    """Short commit of the code, with "+" if lib or study differs from it; outside a checkout SIGN_NOISE_COMMIT, else "unknown"."""

    def git(*words):
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (
            "+" if git("status", "--porcelain", "--", "lib", "study") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SIGN_NOISE_COMMIT", "unknown")


def provenance() -> dict:
    """What made a result: commit, date, versions, machine (with its GPU, where one was used), threads."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "commit": commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {names[0] if names else 'unnamed processor'}"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_initialized() else ""),
        "threads": torch.get_num_threads(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def key(parameters: dict, version: int) -> str:
    """Twelve hex digits over the parameters (fingerprints included) and the version of the experiment."""
    text = json.dumps({"parameters": parameters, "version": version}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path, set_aside: bool = False) -> dict | None:
    """The content of a cell file; None if it is not there or damaged. `set_aside` renames a damaged one to *.damaged."""
    try:
        content = json.loads(path.read_text())
        digest = content.pop("digest")
        if digest == _digest(content):
            return content
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    if set_aside:
        path.replace(path.with_suffix(".damaged"))
    return None


def write(path: Path, content: dict) -> None:
    """Write a cell file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w") as file:
            json.dump({**content, "digest": _digest(content)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class Cell(NamedTuple):
    """One result to be: `label` makes the name of its file readable, `parameters` hold all that decides its value."""

    experiment: str
    label: str
    parameters: dict
    version: int = 1

    @property
    def name(self) -> str:
        return f"{self.label}-{key(self.parameters, self.version)}"

    def path(self, folder: Path | None = None) -> Path:
        return (folder or RESULTS) / self.experiment / f"{self.name}.json"


@contextmanager
def one_at_a_time(name: str, folder: Path | None = None, patient: bool = True):
    """Only one process at a time computes the cell `name`: a second one waits, or is told False if it is not `patient`."""
    lock = (folder / ".locks" if folder else CACHE / "locks") / f"{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _finished(
    one: Cell, compute: Callable[[], dict], folder: Path | None, patient: bool = True
) -> dict | None:
    """The content of a cell, read or computed; None if it is not there and somebody else is at it.

    What could not be written (a full disk) is returned all the same.
    """
    content = read(one.path(folder))
    if content is not None:
        return content
    with one_at_a_time(f"{one.experiment}-{one.name}", folder, patient) as mine:
        if not mine:
            return None
        content = read(one.path(folder), set_aside=True)
        if content is None:
            start = time.perf_counter()
            made = compute()
            about = {**provenance(), "seconds": round(time.perf_counter() - start, 1)}
            content = {
                "experiment": one.experiment,
                "version": one.version,
                "parameters": one.parameters,
                "provenance": about,
                **made,
            }
            try:
                write(one.path(folder), content)
            except OSError:
                if patient:
                    raise
    return content


def cell(
    experiment: str,
    label: str,
    parameters: dict,
    compute: Callable[[], dict],
    *,
    version: int = 1,
    folder: Path | None = None,
) -> dict:
    """The stored content of a cell, or that of `compute()`, stored with its provenance.

    `compute` returns {"rows": [...]} and whatever else JSON holds. `label` makes the file's name readable; `parameters`
    must hold all that decides the value, fingerprints of data and weights included.
    """
    return _finished(Cell(experiment, label, parameters, version), compute, folder)


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
    """The contents of all cells; those that are not stored are computed, the first ones first, and stored as they finish.

    `compute(parameters)` returns {"rows": [...]} and can be pickled: a function of a module. It runs in `workers` processes
    of `threads` threads each (None: one a GPU, else as many as there are processors; 0: in this process), or on the Dask
    cluster whose address is `scheduler`; "slurm" or "slurm:<name>" starts `workers` jobs as dask-jobqueue is configured under
    that name. Stopped at any point, it goes on with what is not stored. Two runs at once share the work. A worker that dies is
    replaced and its cell computed again; RuntimeError after three deaths without a finished cell between them. A cell that
    fails does not keep the others from being computed; the first error is raised at the end. While a finished cell cannot be
    written it is kept in memory, and OSError raised after `patience` seconds.
    """
    for name, value, least in (("workers", workers, 0), ("threads", threads, 1)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < least
        ):
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}.")
    contents = [read(one.path(folder)) for one in cells]
    todo = deque(k for k, content in enumerate(contents) if content is None)
    workers = (
        (torch.cuda.device_count() or max(1, (os.cpu_count() or 1) // threads))
        if workers is None
        else workers
    )
    run = (
        _here if workers == 0 and scheduler is None else _on_cluster if scheduler else _in_processes
    )
    failed: dict[int, Exception] = {}
    with _Progress(len(cells), len(cells) - len(todo), log) as progress:
        for k, content in run(
            partial(_work, compute, folder=folder),
            cells,
            todo,
            workers=workers,
            threads=threads,
            scheduler=scheduler,
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
        error = failed[min(failed)]
        error.add_note(
            f"{len(failed)} of {len(cells)} cells failed, the first of them {cells[min(failed)].label}; the others are stored."
        )
        raise error
    return contents


def _work(
    compute: Callable[[dict], dict], one: Cell, folder: Path | None
) -> dict | Exception | None:
    """The cell's content, None if another process is at it, or what went wrong."""
    try:
        return _finished(one, partial(compute, one.parameters), folder, patient=False)
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
            if time.monotonic() > until:
                raise OSError(
                    f"{path} cannot be written ({error.strerror or error}); everything else that is finished is stored, and the same run goes on from there."
                ) from None
            log(
                f"{path.name} cannot be written ({error.strerror or error}); it waits in memory, make room on the disk."
            )
            time.sleep(min(pause, patience))


class _Progress:
    """A progress bar where there is a terminal, and a line a cell for `log`, with the time left at the mean pace of this run."""

    def __init__(self, total: int, stored: int, log: Callable[[str], None] | None):
        from tqdm import tqdm

        self.total, self.stored, self.done, self.log, self.start = (
            total,
            stored,
            0,
            log,
            time.monotonic(),
        )
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
            left = (
                (time.monotonic() - self.start) / self.done * (self.total - self.stored - self.done)
            )
            self.log(
                f"{self.stored + self.done} of {self.total} cells  {label}  about {left / 60:.0f} min left"
            )


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
    """A worker's start: its threads, its GPU where there are several, and no life after its parent's."""
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
    """One pool a worker, because a pool whose worker dies ends as a whole: the cells beside it go on."""
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    number, others = context.Value("i", 0), set(multiprocessing.active_children())
    pools, running, deaths = {}, {}, 0
    try:
        while todo or running:
            for slot in set(range(workers)) - {slot for _, slot in running.values()}:
                if todo:
                    pools.setdefault(
                        slot, ProcessPoolExecutor(1, context, _begin, (threads, number))
                    )
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
                            f"three workers died one after another, the last at {cells[k].label}; is there memory for {workers} of them? What is finished is stored."
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


def _submitted(pool: ProcessPoolExecutor, work, one: Cell) -> Future:
    """The future of a cell's work; a pool whose idle worker has died refuses, which is told as if it had died at the cell."""
    try:
        return pool.submit(work, one)
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
    with (
        _slurm(name or "slurm", workers, threads) if kind == "slurm" else _nothing() as cluster,
        Client(cluster.scheduler_address if cluster else scheduler) as client,
    ):
        submit = lambda k, rank: client.submit(
            _threaded, threads, work, cells[k], pure=False, priority=-rank
        )
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


def _threaded(threads: int, work, one: Cell) -> dict | Exception | None:
    """The work of one cell; a Dask worker of several threads does one at a time, since torch draws random numbers for the whole process."""
    with _ONE_AT_A_TIME:
        torch.set_num_threads(threads)
        return work(one)


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


def cells(experiment: str, folder: Path | None = None) -> list[dict]:
    """All stored cells of an experiment, in the order of their file names."""
    found = (read(path) for path in sorted(((folder or RESULTS) / experiment).glob("*.json")))
    return [content for content in found if content is not None]


def table(experiment: str, folder: Path | None = None) -> pd.DataFrame:
    """All stored rows of an experiment, each with its cell's parameters as columns."""
    return pd.DataFrame(
        [{**c["parameters"], **row} for c in cells(experiment, folder) for row in c["rows"]]
    )


def pack(flags: Tensor) -> dict:
    """A bool tensor as JSON: shape and compressed bits."""
    bits = np.packbits(flags.cpu().numpy().reshape(-1))
    return {
        "shape": list(flags.shape),
        "bits": base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode(),
    }


def unpack(packed: dict) -> Tensor:
    """The inverse of `pack`."""
    count = int(np.prod(packed["shape"]))
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed["bits"])), np.uint8)
    return torch.from_numpy(np.unpackbits(bits, count=count).astype(bool)).reshape(packed["shape"])


def pack_values(values: Tensor) -> dict:
    """Numbers as JSON, rounded to float16 (a relative error of at most 0.0005): shape and compressed bytes."""
    half = values.to(torch.float16).cpu().numpy()
    return {
        "shape": list(values.shape),
        "half": base64.b64encode(zlib.compress(half.tobytes(), 9)).decode(),
    }


def unpack_values(packed: dict) -> Tensor:
    """The inverse of `pack_values`, as float64."""
    half = np.frombuffer(zlib.decompress(base64.b64decode(packed["half"])), np.float16)
    return torch.from_numpy(half.astype(np.float64)).reshape(packed["shape"])
