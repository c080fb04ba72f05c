"""Expensive results as rows in files: one JSON file a cell under data/results/<experiment>/.

Each file says where its result came from. A cell is keyed by everything that decides its value but
the code: parameters, and fingerprints of pixels and weights (study.store.stamps watches the code).
It is written at once and whole when it is finished, so a stopped run goes on where it was; a
damaged file is set aside and its cell computed again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import time
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from study.paths import CACHE, ROOT, commit

RESULTS = ROOT / "data" / "results"


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


def key(parameters: dict) -> str:
    """Twelve hex digits over the parameters, fingerprints included."""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]


def digest_of(content: dict) -> str:
    """What tells a content from a damaged or another one, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path, set_aside: bool = False) -> dict | None:
    """The content of a cell file; None if it is not there, damaged or a copy of another cell's.

    `set_aside` renames such a file to *.damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf8"))
        digest = content.pop("digest")
        if digest == digest_of(content) and _at_home(path, content):
            return content
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    if set_aside:
        path.replace(path.with_suffix(".damaged"))
    return None


def _at_home(path: Path, content: dict) -> bool:
    """Does the file lie where the cell of its parameters belongs?"""
    if not {"experiment", "parameters"} <= set(content):
        return True  # not made by `finished`
    in_its_folder = path.parent.as_posix().endswith(f"/{content['experiment']}")
    return in_its_folder and path.stem.endswith(f"-{key(content['parameters'])}")


def write(path: Path, content: dict) -> None:
    """Write a cell file whole or not at all."""
    write_text(path, json.dumps({**content, "digest": digest_of(content)}, indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf8") as file:
            file.write(text)
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

    @property
    def name(self) -> str:
        """The name of the cell's file, without its ending."""
        return f"{self.label}-{key(self.parameters)}"

    def path(self, folder: Path | None = None) -> Path:
        """Where the cell's file is, or will be."""
        return (folder or RESULTS) / self.experiment / f"{self.name}.json"


@contextmanager
def one_at_a_time(name: str, folder: Path | None = None, patient: bool = True):
    """Only one process at a time computes the cell `name`.

    A second one waits, or is told False if it is not `patient`.
    """
    locks = folder / ".locks" if folder else CACHE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{name.replace('/', '-')}.lock", timeout=-1 if patient else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def finished(
    wanted: Cell,
    compute: Callable[[], dict | None],
    folder: Path | None = None,
    patient: bool = True,
) -> dict | None:
    """The stored content of a cell, or that of `compute()`, stored with its provenance.

    `compute` returns {"rows": [...]} and whatever else JSON holds. None if another process is at
    the cell and this one is not `patient`, or if `compute` returns None: the experiment does not
    apply, and nothing is stored. What could not be written (a full disk) is returned all the same
    where nobody waited.
    """
    content = read(wanted.path(folder))
    if content is not None:
        return content
    with one_at_a_time(f"{wanted.experiment}-{wanted.name}", folder, patient) as mine:
        if not mine:
            return None
        content = read(wanted.path(folder), set_aside=True)
        if content is not None:
            return content
        start = time.perf_counter()
        made = compute()
        if made is None:
            return None
        content = {
            "experiment": wanted.experiment,
            "parameters": wanted.parameters,
            "provenance": {**provenance(), "seconds": round(time.perf_counter() - start, 1)},
            **made,
        }
        try:
            write(wanted.path(folder), content)
        except OSError:
            if patient:
                raise
    return content


def of(experiment: str, folder: Path | None = None) -> list[dict]:
    """The contents of all stored cells of an experiment, in the order of their file names."""
    paths = sorted(((folder or RESULTS) / experiment).glob("*.json"))
    contents = (read(path) for path in paths)
    return [content for content in contents if content is not None]


def rows(experiment: str, folder: Path | None = None) -> pd.DataFrame:
    """All stored rows of an experiment, each with its cell's parameters as columns."""
    return pd.DataFrame(
        [{**c["parameters"], **row} for c in of(experiment, folder) for row in c["rows"]]
    )


KINDS = {"bits": np.uint8, "half": np.float16, "single": np.float32}  # of packed tensors


def pack(values: Tensor) -> dict:
    """A tensor as JSON: its shape, and compressed bits of flags or float16 of numbers.

    The rounding to float16 makes a relative error of at most 0.0005, of numbers below 6e-5 an
    absolute one of 3e-8. Where a number is too large for it, above 65504, all are kept as float32.
    """
    array = values.cpu().numpy()
    if array.dtype == bool:
        name, raw = "bits", np.packbits(array.reshape(-1)).tobytes()
    else:
        too_large = (np.isfinite(array) & (np.abs(array) > np.finfo(np.float16).max)).any()
        name = "single" if too_large else "half"
        raw = array.astype(KINDS[name]).tobytes()
    return {"shape": list(array.shape), name: base64.b64encode(zlib.compress(raw, 9)).decode()}


def is_packed(value) -> bool:
    """Is this what `pack` returns?"""
    return isinstance(value, dict) and set(value) in [{"shape", kind} for kind in KINDS]


def unpack(packed: dict) -> Tensor:
    """The inverse of `pack`: bool, or float64."""
    kind = next(kind for kind in KINDS if kind in packed)
    raw = zlib.decompress(base64.b64decode(packed[kind]))
    if kind == "bits":
        count = int(np.prod(packed["shape"]))
        flat = np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool)
    else:
        flat = np.frombuffer(raw, KINDS[kind]).astype(np.float64)
    return torch.from_numpy(flat).reshape(packed["shape"])
