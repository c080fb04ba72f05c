"""The form of the chapters: thin cells, one order of parts, no statistics, limits of length."""

from __future__ import annotations

import ast
import re

import nbformat
import pytest

from notebooks import run

EVERY = run.chapters()
CHAPTERS = {name: path for name, path in EVERY.items() if name[:2].isdigit()}
LINES, COLUMNS = 12, 100  # of a code cell
WORDS = 1100  # of a chapter's own prose, its appendix not counted
ALL_LINES = 1300  # of code, in all chapters together
APPENDIX = "# All values"
# what a cell would need to compute a statistic of its own, or to read a number out of a text
COMPUTED = re.compile(
    r"\b(def|lambda)\b|\.(groupby|quantile|std|var|median|corr|split|partition)\("
    r"|\b(bootstrap\w*|spearman\w*|wilson\w*|holm|permutation\w*|median_interval)\("
    r"|pd\.(DataFrame|concat)\(|\bfloat\("
)
AVERAGED = re.compile(r"\.(mean|sum)\(")  # which the one unfolded cell may take of a kernel's maps
FOLDED = {"parameters", "hide-input", "remove-cell", "remove-input"}

chapter = pytest.mark.parametrize("name", CHAPTERS)
every = pytest.mark.parametrize("name", EVERY)


def cells(name: str) -> list:
    return nbformat.read(EVERY[name], as_version=4).cells


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def code(name: str, *, parameters: bool = False) -> list[str]:
    return [
        cell.source
        for cell in cells(name)
        if cell.cell_type == "code" and (parameters or "parameters" not in tags(cell))
    ]


def folded(name: str) -> list[str]:
    """The code that a page does not show until it is asked to."""
    return [cell.source for cell in cells(name) if FOLDED & set(tags(cell))]


def body(name: str) -> list:
    """The cells before the appendix."""
    kept = []
    for cell in cells(name):
        if cell.cell_type == "markdown" and cell.source.startswith(APPENDIX):
            break
        kept.append(cell)
    return kept


def lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]


def headings(name: str) -> list[str]:
    text = "\n".join(cell.source for cell in body(name) if cell.cell_type == "markdown")
    return re.findall(r"^## (.+)$", text, flags=re.M)


@every
def test_cells_are_short(name):
    long = [source for source in code(name) if len(lines(source)) > LINES]
    assert not long, f"{len(long)} cells have more than {LINES} lines; the first:\n{long[0]}"


@every
def test_lines_are_short(name):
    wide = [line for source in code(name, parameters=True) for line in lines(source)]
    wide = [line for line in wide if len(line) > COLUMNS]
    assert not wide, wide


@chapter
def test_no_statistic_is_computed_in_a_cell(name):
    found = [(match[0], source) for source in code(name) if (match := COMPUTED.search(source))]
    found += [(match[0], s) for s in folded(name) if (match := AVERAGED.search(s))]
    assert not found, "{} in\n{}".format(*found[0])


@every
def test_every_output_is_compared(name):
    assert not [cell.source for cell in cells(name) if "nbval-ignore-output" in tags(cell)]


@chapter
def test_the_answer_comes_first(name):
    assert headings(name)[0] == "In short"
    assert headings(name)[-1] == "Where it fails"


@chapter
def test_one_cell_shows_the_kernel(name):
    shown = [
        cell.source
        for cell in body(name)
        if cell.cell_type == "code" and not FOLDED & set(tags(cell))
    ]
    assert len(shown) == 1, shown
    imported = {
        alias.asname or alias.name
        for source in code(name)
        for line in ast.parse(source).body
        if isinstance(line, ast.ImportFrom) and (line.module or "").split(".")[0] == "lib"
        for alias in line.names
    }
    assert any(re.search(rf"\b{word}\b", shown[0]) for word in imported), "it calls nothing of lib"


@chapter
def test_a_chapter_has_one_appendix(name):
    starts = [
        cell.source.splitlines()[0]
        for cell in cells(name)
        if cell.cell_type == "markdown" and cell.source.startswith("# ")
    ]
    assert len(starts) == 2 and starts[1].startswith(APPENDIX), starts


@chapter
def test_chapters_are_short(name):
    prose = " ".join(cell.source for cell in body(name) if cell.cell_type == "markdown")
    words = len(re.sub(r"\$[^$]*\$|\]\([^)]*\)|[|*`#:-]", " ", prose).split())
    print(f"{name}: {words} words of prose, {sum(len(lines(s)) for s in code(name))} lines of code")
    assert words <= WORDS


def test_the_chapters_code_is_short():
    total = sum(len(lines(source)) for name in CHAPTERS for source in code(name, parameters=True))
    print(f"{total} lines of code in {len(CHAPTERS)} chapters")
    assert total <= ALL_LINES
