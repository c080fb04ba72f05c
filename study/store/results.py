"""Expensive results as rows in files: one JSON file a cell under data/results/<experiment>/.

Each file says where its result came from. A cell is keyed by everything that decides its value:
parameters, fingerprints of data and weights, and the version of the experiment. It is written at
once and whole when it is finished, so a stopped run goes on where it was; a damaged file is set
aside and its cell computed again.
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
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from study.paths import CACHE, ROOT

RESULTS = ROOT / "data" / "results"


@lru_cache
def commit() -> str:
    """Short commit of the code, with "+" if lib or study differs from it.

    Outside a checkout it is SIGN_NOISE_COMMIT, else "unknown".
    """

    def git(*words):
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        head = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--", "lib", "study")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SIGN_NOISE_COMMIT", "unknown")
    return f"{head}+" if changed else head


def provenance() -> dict:
    """What made a result: commit, date, versions, machine (and GPU, if one was used), threads."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    processor = names[0] if names else "unnamed processor"
    machine = f"{platform.system()} {platform.machine()}, {processor}"
    if torch.cuda.is_initialized():
        machine += f", {torch.cuda.get_device_name()}"
    return {
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": machine,
        "threads": torch.get_num_threads(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def key(parameters: dict, version: int) -> str:
    """Twelve hex digits over the parameters, fingerprints included, and the cell's version."""
    text = json.dumps({"parameters": parameters, "version": version}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path, set_aside: bool = False) -> dict | None:
    """The content of a cell file; None if it is not there or damaged.

    `set_aside` renames a damaged one to *.damaged.
    """
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
    """One result to be.

    `label` makes the name of its file readable, `parameters` hold all that decides its value.
    """

    experiment: str
    label: str
    parameters: dict
    version: int = 1

    @property
    def name(self) -> str:
        """The name of the cell's file, without its ending."""
        return f"{self.label}-{key(self.parameters, self.version)}"

    def path(self, folder: Path | None = None) -> Path:
        """Where the cell's file is, or will be."""
        return (folder or RESULTS) / self.experiment / f"{self.name}.json"


@contextmanager
def one_at_a_time(name: str, folder: Path | None = None, patient: bool = True):
    """Only one process at a time computes the cell `name`.

    A second one waits, or is told False if it is not `patient`.
    """
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
    wanted: Cell, compute: Callable[[], dict], folder: Path | None, patient: bool = True
) -> dict | None:
    """The content of a cell, read or computed; None if it is not there and somebody else is at it.

    What could not be written (a full disk) is returned all the same.
    """
    content = read(wanted.path(folder))
    if content is not None:
        return content
    with one_at_a_time(f"{wanted.experiment}-{wanted.name}", folder, patient) as mine:
        if not mine:
            return None
        content = read(wanted.path(folder), set_aside=True)
        if content is None:
            start = time.perf_counter()
            made = compute()
            about = {**provenance(), "seconds": round(time.perf_counter() - start, 1)}
            content = {
                "experiment": wanted.experiment,
                "version": wanted.version,
                "parameters": wanted.parameters,
                "provenance": about,
                **made,
            }
            try:
                write(wanted.path(folder), content)
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

    `compute` returns {"rows": [...]} and whatever else JSON holds. `label` makes the file's name
    readable; `parameters` must hold all that decides the value, fingerprints of data and weights
    included.
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
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}.")


def _work(
    compute: Callable[[dict], dict], wanted: Cell, folder: Path | None
) -> dict | Exception | None:
    """The cell's content, None if another process is at it, or what went wrong."""
    try:
        return _finished(wanted, partial(compute, wanted.parameters), folder, patient=False)
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


def cells(experiment: str, folder: Path | None = None) -> list[dict]:
    """All stored cells of an experiment, in the order of their file names."""
    paths = sorted(((folder or RESULTS) / experiment).glob("*.json"))
    contents = (read(path) for path in paths)
    return [content for content in contents if content is not None]


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
    """Numbers as JSON, rounded to float16: shape and compressed bytes.

    The rounding makes a relative error of at most 0.0005.
    """
    half = values.to(torch.float16).cpu().numpy()
    return {
        "shape": list(values.shape),
        "half": base64.b64encode(zlib.compress(half.tobytes(), 9)).decode(),
    }


def unpack_values(packed: dict) -> Tensor:
    """The inverse of `pack_values`, as float64."""
    half = np.frombuffer(zlib.decompress(base64.b64decode(packed["half"])), np.float16)
    return torch.from_numpy(half.astype(np.float64)).reshape(packed["shape"])
