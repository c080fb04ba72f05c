"""Chapters as the pages of the book: numbered, their appendices apart, their tables as CSV too.

A chapter's number is the one its file begins with. From the cell that begins `# All values` on, a
chapter is a page of its own, `<name>_values`, below it in the contents.
"""

from __future__ import annotations

import copy
import csv
import itertools
import re
from pathlib import Path

APPENDIX = "# All values"
ADMONITION = re.compile(r"^```\{(?:note|warning)\}\n.*?\n```\n\n?", re.M | re.S)
TABLE = re.compile(
    r"^:::\{table\}.*\n:name: (?P<name>\S+)\n\n(?P<rows>(?:\|.*\n)+)\n:::"
    r"(?P<made>\n\n<small class=\"made\">.*?(?=</small>))?",
    re.M,
)


def number(stem: str) -> str:
    """The number of a page, from the name of its file: "5", of an appendix "A5", else ""."""
    match = re.match(r"(\d+)_", stem)
    if not match:
        return ""
    return f"{'A' if stem.endswith('_values') else ''}{int(match[1])}"


def divided(notebook, stem: str) -> dict:
    """File stem -> notebook of a chapter's pages: itself and, where it has one, its appendix, each
    with a link to the other and with what stands in a box under the chapter's title."""
    starts = [
        n
        for n, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown" and cell.source.startswith(APPENDIX)
    ]
    pages = {stem: notebook}
    if starts:
        values = copy.copy(notebook)
        notebook.cells, values.cells = notebook.cells[: starts[0]], notebook.cells[starts[0] :]
        box = ADMONITION.search(notebook.cells[0].source)
        _under_title(values, f"← [Back to the chapter]({stem}.ipynb)", box[0] if box else "")
        text = f"[All values]({stem}_values.ipynb): the tables behind this chapter in full."
        notebook.cells.append(_markdown(text))
        pages[f"{stem}_values"] = values
    for name, page in pages.items():
        _number_title(page, number(name))
    return pages


def _markdown(text: str):
    from nbformat.v4 import new_markdown_cell

    return new_markdown_cell(text, id="all-values")


def _under_title(notebook, line: str, box: str) -> None:
    first = notebook.cells[0]
    title, _, rest = first.source.partition("\n")
    first.source = "\n\n".join(filter(None, (title, line, box.strip(), rest.strip())))


def _number_title(notebook, text: str) -> None:
    first = notebook.cells[0] if notebook.cells else None
    if text and first and first.cell_type == "markdown" and first.source.startswith("# "):
        first.source = f"# {text} · {first.source[2:]}"


def contents(toc: dict, stems: set[str]) -> dict:
    """The table of contents with each appendix among `stems` below its chapter."""
    toc = copy.deepcopy(toc)
    for part in toc.get("parts", []):
        for entry in part["chapters"]:
            values = f"{Path(entry['file']).name}_values"
            if values in stems:
                entry["sections"] = [{"file": f"book/{values}"}]
    return toc


def tables_as_csv(notebook, folder: Path) -> None:
    """Write each captioned table of a notebook's outputs as `<folder>/<name>.csv`, and put a link
    to it into the line under the table."""

    def linked(match: re.Match) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{match['name']}.csv").open("w", newline="", encoding="utf8") as file:
            csv.writer(file).writerows(cells_of(match["rows"]))
        link = f'<a href="../_static/tables/{match["name"]}.csv" download>CSV</a>'
        if match["made"]:
            return f"{match[0]} · {link}"
        return f'{match[0]}\n\n<small class="made">{link}</small>'

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            if "text/markdown" in shown:
                shown["text/markdown"] = TABLE.sub(linked, shown["text/markdown"])


def lines_into_captions(notebook) -> None:
    """Make the line under a figure a part of the figure, below its caption.

    As an output of its own it would be taken for a second figure of the same name.
    """
    for cell in notebook.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if not figure.get("caption"):
            continue
        lines = [output for output in cell.outputs if _is_line(output)]
        cell.outputs = [output for output in cell.outputs if output not in lines]
        texts = [line["data"]["text/markdown"] for line in lines]
        figure["caption"] = "\n\n".join([figure["caption"], *texts])


def results_into_alts(notebook) -> None:
    """Let the description of each figure end with what the figure shows.

    That is the first sentence with a number in the list after it or, if there is none, before it;
    where neither is beside the figure, the chapter's first sentence *In short*.
    """
    starts = [n for n, cell in enumerate(notebook.cells) if "## In short" in cell.source]
    in_short = _first_result(_beside(notebook.cells[starts[0] + 1 :])) if starts else ""
    for place, cell in enumerate(notebook.cells):
        described = cell.metadata.get("mystnb", {})
        if not (described.get("figure") and described.get("image", {}).get("alt")):
            continue
        after, before = notebook.cells[place + 1 :], notebook.cells[:place][::-1]
        beside = _first_result(_beside(after)) or _first_result(_beside(before))
        if beside or in_short:
            result = f"Result: {beside}" if beside else f"The chapter in short: {in_short}"
            described["image"]["alt"] = f"{described['image']['alt']} {result}"


def _beside(cells: list) -> list:
    """The first of these cells, up to the next prose or figure."""

    def ends(cell) -> bool:
        return cell.cell_type == "markdown" or "figure" in cell.metadata.get("mystnb", {})

    return list(itertools.takewhile(lambda cell: not ends(cell), cells))


def _first_result(cells: list) -> str:
    """The first sentence with a number in the lists among these cells' outputs, or "".

    A verdict on a quotation is no such sentence.
    """
    texts = [o.get("data", {}).get("text/markdown", "") for cell in cells for o in cell.outputs]
    items = [item for text in texts for item in re.findall(r"^- (.+)$", text, flags=re.M)]
    for item in items:
        if not item.startswith('<span class="verdict') and re.search(r"\d", item):
            return plain(item)
    return ""


def plain(text: str) -> str:
    """A line of Markdown as it is read: without tags, links, emphasis and escapes."""
    text = re.sub(r"</?[a-z][^<>]*>", "", text)
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?<!\\)[*`$]", "", text)
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", text).strip()


def _is_line(output) -> bool:
    shown = output.get("data", {}).get("text/markdown", "")
    return bool(re.fullmatch(r'<small class="made">.*</small>', shown))


def cells_of(rows: str) -> list[list[str]]:
    """The texts of a Markdown table, its ruler left out and what was escaped as it was."""
    lines = [line for line in rows.splitlines() if not re.fullmatch(r"[|:\- ]+", line)]
    return [
        [
            re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", text.strip())
            for text in re.split(r"(?<!\\)\|", line.strip()[1:-1])
        ]
        for line in lines
    ]


def commits(notebook, repository: str | None) -> None:
    """Link the commits in the lines under figures and tables, if the repository is known."""
    for cell in notebook.cells if repository else []:
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            if "text/markdown" in shown:
                shown["text/markdown"] = re.sub(
                    r"commit <code>([0-9a-f]{7,40})</code>",
                    rf'commit <a href="{repository}/commit/\1"><code>\1</code></a>',
                    shown["text/markdown"],
                )
