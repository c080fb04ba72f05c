"""Does a test notice when a kernel or an experiment is wrong, and do the stored chapters?

Each mutation of tests/mutations.py is put into a scratch copy, where pytest must then fail. What
was counted is a row of data/mutations.csv as soon as it is known; a row counts until the mutated
file, or a file that was run, changes. So a run that was stopped goes on where it was.

python -m tests.mutate                # exit 1 if the tests miss one
python -m tests.mutate --nbval        # which kernels do the stored outputs of notebooks/ catch?
python -m tests.mutate --only ties    # those whose name, or whose file, contains the word
python -m tests.mutate --minutes 30   # begin none after that time; the next run goes on

Chapters are asked about kernels alone, those that show the kernel first. They can show a mutation
only if it changes a result by more than the printed digits: if it changes a line of tests/panel.py
or, in lib/metrics/, of tests/panel_of_metrics.py. The others are not counted for the chapters.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from notebooks.run import THREADS
from study.paths import ROOT, commit
from tests.mutations import MUTATIONS, SHOWN_IN, TESTS, Mutation

CSV = ROOT / "data" / "mutations.csv"
COLUMNS = ("name", "file", "by", "changes", "caught", "seconds", "date", "commit", "tried", "key")
PYTEST, CHAPTERS = "pytest", "chapters"  # who is to catch a mutation
NOTHING = "nothing"
UNMUTATED = "unmutated"  # the name of the rows that say what passes without a mutation
PANEL = "tests/panel.py"
PANEL_OF_METRICS = "tests/panel_of_metrics.py"
COPIED = (
    "lib",
    "study",
    "tests",
    "notebooks",
    "pyproject.toml",
    "data/weights",
    "data/claims.csv",
)
SECONDS = 3600  # a run that takes longer says nothing of the mutation


class RunError(RuntimeError):
    """A run that says nothing of the mutation; the message shows its end."""


class Count(NamedTuple):
    """What is known so far of the listed mutations, by pytest or by the chapters."""

    counted: int
    due: int  # of the counted, those that are to be caught
    missed: list[str]
    days: list[str]
    commits: list[str]


# ---- the table


def read() -> list[dict[str, str]]:
    """The rows of the table, without one that a killed run left unfinished."""
    if not CSV.is_file():
        return []
    with CSV.open(newline="", encoding="utf8") as file:
        return [row for row in csv.DictReader(file) if row["key"]]


def append(row: dict[str, str]) -> None:
    new = not CSV.is_file()
    with CSV.open("a", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def tidy() -> None:
    """Rewrite the table with the last row of each listed mutation, whole or not at all."""
    names = {UNMUTATED, *(name for name, *_ in MUTATIONS)}
    last = {(r["name"], r["file"], r["by"]): r for r in read() if r["name"] in names}
    part = CSV.with_suffix(".part")
    with part.open("w", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(last.values())
    part.replace(CSV)


@cache
def _content(text: str, is_python: bool) -> str:
    """What decides what a file does: of Python its syntax, without comments and layout."""
    return ast.dump(ast.parse(text)) if is_python else text


def fingerprint(root: Path, mutated: str, files: Iterable[str]) -> str:
    """Twelve hex digits over a mutated file's text and over files below `root`."""
    parts = [_content(mutated, True)]
    for name in files:
        text = (root / name).read_text(encoding="utf8")
        parts.append(f"{name} {_content(text, name.endswith('.py'))}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _current(row: dict[str, str], root: Path, mutation: Mutation) -> bool:
    name, file, old, new = mutation
    tried = row["tried"].split()
    if row["file"] != file or not all((root / path).is_file() for path in tried):
        return False
    if row["changes"] == "no" and not set(panels_for(file)) <= set(tried):
        return False
    mutated = (root / file).read_text(encoding="utf8").replace(old, new)
    return row["key"] == fingerprint(root, mutated, tried)


def known(by: str, root: Path) -> dict[str, dict[str, str]]:
    """Mutation -> its row, of those whose files are still what they were."""
    listed = {mutation[0]: mutation for mutation in MUTATIONS}
    rows = {r["name"]: r for r in read() if r["by"] == by and r["name"] in listed}
    return {n: r for n, r in rows.items() if _current(r, root, listed[n])}


def listed(by: str) -> list[Mutation]:
    """Those that are to be counted."""
    return [m for m in MUTATIONS if by == PYTEST or m[1] in SHOWN_IN]


def count(by: str) -> Count:
    rows = known(by, ROOT).values()
    due = [row for row in rows if row["changes"] != "no"]
    return Count(
        len(rows),
        len(due),
        [row["name"] for row in due if row["caught"] == NOTHING],
        sorted({row["date"] for row in rows}),
        sorted({row["commit"] for row in rows}),
    )


def told(by: str) -> str:
    found = count(by)
    caught = found.due - len(found.missed)
    lines = [
        f"{by}: {found.counted} of {len(listed(by))} mutations are counted; "
        f"of {found.due} to be caught {caught} are."
    ]
    return "\n".join([*lines, *(f"MISSED: {name}" for name in found.missed)])


# ---- runs


def _environment(scratch: Path, threads: str | None) -> dict[str, str]:
    found = {
        "PYTHONPATH": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SIGN_NOISE_COMMIT": "0" * 7,  # the copy has none, and nbval masks any
    }
    if threads:
        found["OMP_NUM_THREADS"] = threads
    return os.environ | found


def run(scratch: Path, words: Sequence[str], threads: str | None = None) -> tuple[int, str]:
    """Exit code and output of Python in the scratch copy."""
    try:
        result = subprocess.run(
            [sys.executable, *words],
            cwd=scratch,
            env=_environment(scratch, threads),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"{' '.join(words)} took more than {SECONDS} s") from None
    return result.returncode, result.stdout


def failure(scratch: Path, path: str) -> str:
    """What pytest says of a test file, or nbval of a chapter, that fails in the scratch copy."""
    nbval = ("--nbval",) if path.endswith(".ipynb") else ()
    words = ("-m", "pytest", "-p", "no:cacheprovider", "-x", "-q", *nbval, path)
    code, output = run(scratch, words, THREADS if nbval else None)
    if code not in (0, 1):  # not even collected
        raise RunError(f"{' '.join(words)} ended with {code}:\n{output[-3000:]}")
    return output if code else ""


def panels_for(file: str) -> tuple[str, ...]:
    """What shows whether a mutation of this kernel changes a result."""
    return (PANEL, PANEL_OF_METRICS) if file.startswith("lib/metrics/") else (PANEL,)


def _words(panel: str) -> tuple[str, ...]:
    """How Python is asked for a panel: each line at once, no warnings, which are no results."""
    return ("-u", "-W", "ignore", "-m", panel.removesuffix(".py").replace("/", "."))


def unmutated(scratch: Path, panel: str) -> str:
    """What a panel prints without a mutation."""
    code, output = run(scratch, _words(panel), "1")
    if code:
        raise RunError(f"{panel} fails without any mutation:\n{output[-3000:]}")
    return output


def differs(scratch: Path, panel: str, plain: str) -> bool:
    """Whether a panel fails or prints anything but `plain`; it is stopped at the first other
    line."""
    with subprocess.Popen(
        [sys.executable, *_words(panel)],
        cwd=scratch,
        env=_environment(scratch, "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        alarm = threading.Timer(SECONDS, process.kill)  # one that hangs differs
        alarm.start()
        try:
            lines = itertools.zip_longest(process.stdout, plain.splitlines(keepends=True))
            return not all(line == expected for line, expected in lines) or process.wait() != 0
        finally:
            alarm.cancel()
            process.kill()


def panels_asked(scratch: Path, file: str, plain: dict[str, str]) -> tuple[list[str], str]:
    """The panels of a kernel up to the first that differs, and whether one does: "yes" or "no"."""
    asked = []
    for panel in panels_for(file):
        asked.append(panel)
        if differs(scratch, panel, plain[panel]):
            return asked, "yes"
    return asked, "no"


@contextmanager
def put_in(scratch: Path, mutation: Mutation) -> Iterator[str]:
    """One mutation in the scratch copy, and the text of its file."""
    _, file, old, new = mutation
    path = scratch / file
    text = path.read_text(encoding="utf8")
    path.write_text(text.replace(old, new), encoding="utf8")
    try:
        yield text.replace(old, new)
    finally:
        path.write_text(text, encoding="utf8")


def chapters_for(file: str) -> list[str]:
    """The notebooks, those that show the kernels of a file first, then the quickest first."""
    taken = json.loads((ROOT / "book" / "seconds.json").read_text(encoding="utf8"))["quick"]
    names = sorted(taken, key=lambda name: (name not in SHOWN_IN[file], taken[name]["seconds"]))
    return [f"notebooks/{name}.ipynb" for name in names]


def check_passes(scratch: Path, path: str) -> None:
    """What fails without a mutation as well says nothing of one; each file is asked once."""
    code = (p for folder in ("lib", "study") for p in sorted((scratch / folder).rglob("*.py")))
    files = [*(p.relative_to(scratch).as_posix() for p in code), path]
    key = fingerprint(scratch, "", files)
    if any(row["name"] == UNMUTATED and row["key"] == key for row in read()):
        return
    start = time.monotonic()
    if output := failure(scratch, path):
        raise RunError(
            f"{path} fails without any mutation: mend it first (`make test`).\n{output[-3000:]}"
        )
    by = CHAPTERS if path.endswith(".ipynb") else PYTEST
    append(_row((UNMUTATED, path), by, "", NOTHING, start) | {"tried": path, "key": key})


def _row(which: Sequence[str], by: str, changes: str, caught: str, start: float) -> dict[str, str]:
    return {
        "name": which[0],
        "file": which[1],
        "by": by,
        "changes": changes,
        "caught": caught,
        "seconds": f"{time.monotonic() - start:.0f}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
    }


def tried(scratch: Path, mutation: Mutation, by: str, plain: dict[str, str]) -> dict[str, str]:
    """The row of one mutation: what was run under it, up to the first that fails.

    `plain` is what each panel prints without it; the tests have to catch every mutation, the
    chapters those that change a panel.
    """
    start, asked, caught, changes = time.monotonic(), [], NOTHING, ""
    order = list(TESTS[mutation[1]])
    if by == CHAPTERS:
        order = chapters_for(mutation[1])
        with put_in(scratch, mutation):
            asked, changes = panels_asked(scratch, mutation[1], plain)
    for path in order if changes != "no" else []:
        before = time.monotonic()
        check_passes(scratch, path)
        start += time.monotonic() - before  # is no part of the mutation's seconds
        asked.append(path)
        with put_in(scratch, mutation):
            if failure(scratch, path):
                caught = path
                break
    with put_in(scratch, mutation) as text:
        key = fingerprint(scratch, text, asked)
    return _row(mutation, by, changes, caught, start) | {"tried": " ".join(asked), "key": key}


def copy(target: Path) -> Path:
    for name in COPIED:
        source, there = ROOT / name, target / name
        there.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, there, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            )
        elif source.exists():
            shutil.copy2(source, there)
    imported = subprocess.run(
        [sys.executable, "-c", "import lib; print(lib.__file__)"],
        cwd=target,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if Path(imported).resolve().parent != (target / "lib").resolve():
        sys.exit(
            f"the scratch copy would test {imported}, not its own lib; remove the installed copy."
        )
    return target


def chosen_mutations(word: str) -> list[Mutation]:
    """Those whose name or file contains the word; each must fit its file."""
    chosen = [mutation for mutation in MUTATIONS if word in mutation[0] or word in mutation[1]]
    if not chosen:
        sys.exit(f"no mutation has {word!r} in its name or file; they are in tests/mutations.py.")
    for name, file, old, _ in chosen:
        times = (ROOT / file).read_text(encoding="utf8").count(old)
        if times != 1:
            sys.exit(
                f"mutation {name!r}: {old!r} occurs {times} times in {file}; it must occur once. "
                "Bring the table in tests/mutations.py up to date."
            )
    return chosen


def mutate(scratch: Path, chosen: Sequence[Mutation], by: str, minutes: float) -> None:
    """Count those that are not counted yet, a row each, until the time is over.

    In an order that has nothing to do with what they change: of a run that was stopped the share of
    those caught is that of a fair sample.
    """
    end = time.monotonic() + 60 * minutes
    counted = known(by, scratch)
    left = [mutation for mutation in chosen if mutation[0] not in counted]
    left.sort(key=lambda mutation: hashlib.sha256(mutation[0].encode()).digest())
    print(f"{len(chosen) - len(left)} of {len(chosen)} are counted already", flush=True)
    panels = {panel for mutation in left if by == CHAPTERS for panel in panels_for(mutation[1])}
    plain = {panel: unmutated(scratch, panel) for panel in sorted(panels)}
    for mutation in left:
        if time.monotonic() > end:
            break
        try:
            row = tried(scratch, mutation, by, plain)
        except RunError as error:
            print(f"not counted: {mutation[0]}: {error}", flush=True)
            continue
        append(row)
        what = "changes no result" if row["changes"] == "no" else row["caught"]
        print(f"{row['name']}: {what} ({row['seconds']} s)", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nbval", action="store_true", help="which of them do the stored chapters catch?"
    )
    parser.add_argument(
        "--only", default="", help="only the mutations whose name or file contains this"
    )
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin none after so many minutes"
    )
    options = parser.parse_args()
    by = CHAPTERS if options.nbval else PYTEST
    chosen = [m for m in chosen_mutations(options.only) if m in listed(by)]
    tidy()
    # a run that is killed ends its pytest and removes its copy, as after Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="mutate_") as folder:
            mutate(copy(Path(folder)), chosen, by, options.minutes)
    except RunError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print("stopped; the next run goes on here.")
    print(told(by))
    return int(by == PYTEST and bool(count(by).missed))


if __name__ == "__main__":
    sys.exit(main())
