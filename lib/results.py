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
import os
import platform
import subprocess
import time
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.data import CACHE, ROOT

RESULTS = ROOT / "data" / "results"


@lru_cache
def commit() -> str:
    """Short commit of the code, with "+" if lib differs from it; "unknown" outside a checkout."""
    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", "lib") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def provenance() -> dict:
    """What made a result: commit, date, versions, machine, threads."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {"commit": commit(), "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"), "python": platform.python_version(),
            "torch": torch.__version__, "machine": f"{platform.system()} {platform.machine()}, {names[0] if names else 'unnamed processor'}",
            "threads": torch.get_num_threads()}


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


@contextmanager
def _alone(name: str):
    """Only one process at a time computes the cell `name`; a second one waits and then finds it finished."""
    lock = CACHE / "locks" / f"{name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cell(experiment: str, label: str, parameters: dict, compute: Callable[[], dict], *, version: int = 1, folder: Path | None = None) -> dict:
    """The stored content of a cell, or that of `compute()`, stored with its provenance.

    `compute` returns {"rows": [...]} and whatever else JSON holds. `label` makes the file's name readable; `parameters`
    must hold all that decides the value, fingerprints of data and weights included.
    """
    name = f"{label}-{key(parameters, version)}"
    path = (folder or RESULTS) / experiment / f"{name}.json"
    content = read(path)
    if content is None:
        with _alone(f"{experiment}-{name}"):
            content = read(path, set_aside=True)
            if content is None:
                start = time.perf_counter()
                made = compute()
                about = {**provenance(), "seconds": round(time.perf_counter() - start, 1)}
                content = {"experiment": experiment, "version": version, "parameters": parameters, "provenance": about, **made}
                write(path, content)
    return content


def cells(experiment: str, folder: Path | None = None) -> list[dict]:
    """All stored cells of an experiment, in the order of their file names."""
    found = (read(path) for path in sorted(((folder or RESULTS) / experiment).glob("*.json")))
    return [content for content in found if content is not None]


def table(experiment: str, folder: Path | None = None) -> pd.DataFrame:
    """All stored rows of an experiment, each with its cell's parameters as columns."""
    return pd.DataFrame([{**c["parameters"], **row} for c in cells(experiment, folder) for row in c["rows"]])


def pack(flags: Tensor) -> dict:
    """A bool tensor as JSON: shape and compressed bits."""
    bits = np.packbits(flags.cpu().numpy().reshape(-1))
    return {"shape": list(flags.shape), "bits": base64.b64encode(zlib.compress(bits.tobytes(), 9)).decode()}


def unpack(packed: dict) -> Tensor:
    """The inverse of `pack`."""
    count = int(np.prod(packed["shape"]))
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed["bits"])), np.uint8)
    return torch.from_numpy(np.unpackbits(bits, count=count).astype(bool)).reshape(packed["shape"])
