"""The tables of the pages *Performance* and *Faults*, from what was measured and what is tested."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks import table
from lib import attribution

FAULTS = Path(table.__file__).parent / "faults.csv"
SECURITY = Path(table.__file__).parent / "security.csv"
NOTHING = "*Not measured yet.*"
PEERS = {"captum": "Captum", "zennit": "zennit"}


def _table(rows: list[dict], numeric: tuple[str, ...] = ()) -> str:
    if not rows:
        return NOTHING
    head = list(rows[0])
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---:" if h in numeric else ":---" for h in head) + "|",
    ]
    for row in rows:
        cells = [str(row[h]).replace("|", "&#124;") for h in head]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _label(method: str) -> str:
    known = attribution.METHODS.get(method)
    return known.label if known else f"`{method}`"


def _of(kind: str) -> list[dict[str, str]]:
    return [row for row in table.read(table.CSV) if row["kind"] == kind]


def _ratio(row: dict[str, str]) -> str:
    """A median with its quartiles, or why there is none."""
    if not row["value"]:
        return row["result"].partition(":")[0]
    return f"{float(row['value']):.2f} ({float(row['low']):.2f} to {float(row['high']):.2f})"


def _why(row: dict[str, str]) -> str:
    """What a miss is due to."""
    return (row["why"] or "not profiled") if row["met"] == "no" else ""


def _where(row: dict[str, str]) -> str:
    return f"`{row['network']}`, {row['pixels']} px"


# ---- performance


def about() -> str:
    """Where, when and with what the table was measured, and how many aims are met."""
    rows = table.read(table.CSV)
    if not rows:
        return NOTHING
    aimed = [row for row in rows if row["met"]]
    met = sum(row["met"] == "yes" for row in aimed)
    told = {name: ", ".join(sorted({row[name] for row in rows})) for name in table.ABOUT}
    lines = [
        f"{met} of {len(aimed)} aims are met.",
        f"Measured on {told['machine']}, with {told['threads']} thread(s), on {told['date']}, at "
        f"commit {told['commit']}, with PyTorch {told['torch']}, Captum {told['captum']} and "
        f"zennit {told['zennit']}.",
        "The whole table: [benchmarks.csv](../data/results/benchmarks.csv).",
    ]
    if {row["code"] for row in rows} != {table.code()}:
        lines.append(
            "The kernels or the benchmarks have changed since; `make bench` measures anew."
        )
    return " ".join(lines)


def over_peers() -> str:
    """A table a network: every method over Captum's and zennit's, and what missed its aim."""
    parts = []
    rows = [row for row in _of("time") if row["against"] in PEERS]
    for where in dict.fromkeys(map(_where, rows)):
        here = [row for row in rows if _where(row) == where]
        ratios = {(row["method"], row["against"]): row for row in here}
        shown = [
            {"Method": _label(method)}
            | {
                label: _ratio(ratios[method, peer]) if (method, peer) in ratios else ""
                for peer, label in PEERS.items()
            }
            for method in dict.fromkeys(row["method"] for row in here)
        ]
        parts.append(f"**{where}**\n\n{_table(shown, tuple(PEERS.values()))}")
        parts += [
            f"*Missed: {_label(row['method'])} over {PEERS[row['against']]}: {_why(row)}.*"
            for row in here
            if row["met"] == "no"
        ]
    return "\n\n".join(parts) or NOTHING


def over_floor() -> str:
    """Every method over the passes that it cannot do without, with aims and what misses them."""
    shown = [
        {
            "Network": _where(row),
            "Method": _label(row["method"]),
            "Over the floor": _ratio(row),
            "Aim": row["aim"],
            "Met": row["met"],
            "If not, why": _why(row),
        }
        for row in _of("time")
        if row["against"] == "floor"
    ]
    return _table(shown, ("Over the floor", "Aim"))


def memory() -> str:
    """Peak memory against steps and classes, ours and Captum's."""
    shown = [
        {
            "Method": _label(row["method"]),
            "Whose": PEERS.get(row["against"], row["against"]),
            "Against": f"steps {row['steps']}" if row["steps"] else f"classes {row['classes']}",
            "Most over least": f"{float(row['value']):.2f}",
            "Aim": row["aim"],
            "Met": row["met"],
            "Peaks": row["why"],
        }
        for row in _of("memory")
    ]
    return _table(shown, ("Most over least", "Aim"))


def growth() -> str:
    """With which power of pictures, pixels, classes and steps the time grows."""
    shown = [
        {
            "Method": _label(row["method"]),
            "Network": _where(row),
            "Grows with": row["against"],
            "Exponent": row["value"],
        }
        for row in _of("exponent")
    ]
    return _table(shown, ("Exponent",))


def kernels() -> str:
    """Signed maps and deletion curves against the passes of the released code."""
    shown = [
        {
            "Kernel": f"`{row['method']}`",
            "Against": row["against"],
            "Ours over it": _ratio(row),
            "Results": row["result"],
        }
        for row in _of("kernel")
    ]
    return _table(shown, ("Ours over it",))


# ---- faults


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf8") as file:
        return list(csv.DictReader(file))


def _tests(names: str) -> str:
    """The tests that hold a row, folded away: each by its function, and its file on a touch."""
    listed = "<br>".join(
        f'<code title="tests/{name}">{name.partition("::")[2]}</code>' for name in names.split()
    )
    count = len(names.split())
    word = "test" if count == 1 else f"{count} tests"
    return f"<details><summary>{word}</summary>{listed}</details>"


def faults() -> str:
    """What was done to the project, and what came of it."""
    shown = [
        {
            "Fault": row["fault"],
            "What was done": row["done"],
            "Tried": row["tried"],
            "Results lost": row["lost"],
            "Wrong results served": row["wrong"],
            "What you read": row["reads"].replace("*", "&#42;"),
            "Held by": _tests(row["tests"]),
        }
        for row in read_rows(FAULTS)
    ]
    return _table(shown, ("Tried", "Results lost", "Wrong results served"))


def security() -> str:
    """What files, archives, names and parameters may and may not do, each with its test."""
    return "\n".join(f"- {row['sentence']} {_tests(row['tests'])}" for row in read_rows(SECURITY))


PARTS = {
    "performance_about": about,
    "performance_peers": over_peers,
    "performance_floor": over_floor,
    "performance_memory": memory,
    "performance_growth": growth,
    "performance_kernels": kernels,
    "faults": faults,
    "security": security,
}
