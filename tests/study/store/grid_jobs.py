"""Work for tests of study.store.runner.map_cells.

Functions of a module, so that another process can be given them.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from study.store.cells import Cell


def cells(folder: Path, count: int, **parameters) -> list[Cell]:
    """`count` cells that note each computation in a file of `folder`."""
    return [
        Cell("squares", f"square-{x}", {"x": x, "folder": str(folder), **parameters})
        for x in range(count)
    ]


def note(p: dict, what: str) -> None:
    with open(Path(p["folder"]) / f"{what}.log", "a") as file:
        file.write(f"{p['x']} {os.getpid()}\n")


def _notes(folder: Path, what: str) -> list[list[str]]:
    """The cell and the process of every note, in order."""
    path = Path(folder) / f"{what}.log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def noted(folder: Path, what: str = "done") -> list[int]:
    return [int(x) for x, _ in _notes(folder, what)]


def pids(folder: Path, what: str) -> set[int]:
    return {int(pid) for _, pid in _notes(folder, what)}


def square(p: dict) -> dict:
    """The square, after `seconds`; it may die or fail at an `x` that the cell names.

    At `kills` it dies, at `dies` only while there is no file "died"; at `fails` it fails; at
    `outlives` it waits for that file.
    """
    note(p, "begun")
    if p["x"] == p.get("kills"):
        os.kill(os.getpid(), signal.SIGKILL)
    if p["x"] == p.get("dies"):
        marker = Path(p["folder"]) / "died"
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if p["x"] == p.get("fails"):
        raise ZeroDivisionError("as told")
    while p["x"] == p.get("outlives") and not (Path(p["folder"]) / "died").exists():
        time.sleep(0.05)
    time.sleep(p.get("seconds", 0))
    note(p, "done")
    return {"rows": [{"square": p["x"] ** 2}]}


_RUNNING: list[int] = []


def alone(p: dict) -> dict:
    """Fails if another cell is at work in this process."""
    _RUNNING.append(p["x"])
    time.sleep(0.1)
    if [p["x"]] != _RUNNING:
        raise RuntimeError(f"{_RUNNING} at once")
    _RUNNING.clear()
    note(p, "done")
    return {"rows": [{"square": p["x"] ** 2}]}
