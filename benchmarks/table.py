"""The rows of data/results/benchmarks.csv: what they hold, which are finished, how written."""

from __future__ import annotations

import csv
import hashlib
import os
from importlib.metadata import version
from pathlib import Path

from study.paths import ROOT
from study.store.cells import provenance

CSV = ROOT / "data" / "results" / "benchmarks.csv"
# what tells rows apart
KEY = ("kind", "network", "pixels", "method", "against")
ABOUT = ("code", "commit", "date", "machine", "threads", "torch", "captum", "zennit")
# what must be the same for a row to be taken over
SAME = ("code", "machine", "threads", "torch", "captum", "zennit")
COLUMNS = (
    *KEY,
    "pictures",
    "classes",
    "steps",
    "batch",
    "layout",
    "result",
    "distance",
    "value",
    "low",
    "high",
    "rounds",
    "milliseconds",
    "aim",
    "met",
    "why",
    *ABOUT,
)
# how often, of the peer's or the floor's time, a method may take
AIM_PEER = 1.05
AIM_FLOOR = {
    ("rectgrad", "rectgrad_cnn"): 1.65,
    ("rectgrad", "resnet18"): 1.35,
    ("rectgrad", "squeezenet1_1"): 1.5,
    ("guided_backprop", None): 1.2,
    ("deeplift", None): 1.6,
    ("smoothgrad", None): 1.05,
    ("integrated_gradients", None): 1.05,
}
AIM_FLAT = 1.05  # of the most memory to the least


def aim(method: str, network: str, against: str) -> float | None:
    """What the ratio is to stay below, or None where nothing is aimed at."""
    if against != "floor":
        return AIM_PEER
    return AIM_FLOOR.get((method, network), AIM_FLOOR.get((method, None)))


def code() -> str:
    """Twelve hex digits over the kernels and the benchmarks."""
    digest = hashlib.sha256()
    for folder in ("lib", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def about() -> dict[str, str]:
    """Where and with what is measured: the columns of `ABOUT`."""
    origin = provenance()
    known = {"code": code(), "captum": version("captum"), "zennit": version("zennit")}
    known |= {name: str(origin[name]) for name in ABOUT if name in origin}
    return {name: known[name] for name in ABOUT}


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a file, all of them texts; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict]) -> None:
    """Write all rows whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", newline="", encoding="utf8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def identity(row: dict) -> tuple[str, ...]:
    """What tells a row apart from others."""
    return tuple(str(row[name]) for name in KEY)


class Table:
    """The rows of a file, of which those of another machine or other code count as not measured."""

    def __init__(self, path: Path, here: dict[str, str], again: bool = False):
        self.path = path
        self.here = here
        self.rows = {identity(row): row for row in read(path)}
        fits = {k for k, row in self.rows.items() if all(row[s] == here[s] for s in SAME)}
        self.finished = set() if again else fits

    def has(self, row: dict) -> bool:
        """Is a row of this identity measured here, with this code?"""
        return identity(row) in self.finished

    def add(self, rows: list[dict]) -> None:
        """Keep rows, in place of older ones of the same identity, and write the file at once."""
        for row in rows:
            self.rows[identity(row)] = {**dict.fromkeys(COLUMNS, ""), **row, **self.here}
            self.finished.add(identity(row))
        write(self.path, list(self.rows.values()))
