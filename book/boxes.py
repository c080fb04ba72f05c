"""The box *Run this* of a chapter: command, parameters, minutes, and what comes out."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from pathlib import Path

from . import colab

ROOT = Path(__file__).resolve().parent.parent
SECONDS = ROOT / "book" / "seconds.json"  # written by notebooks/run.py --refresh
COLAB = "https://colab.research.google.com/github/{slug}/blob/"
PICTURE = "HEAD/notebooks/anywhere/your_picture.ipynb"
BINDER = "https://mybinder.org/v2/gh/{slug}/HEAD?labpath=notebooks/{name}.ipynb"
GITHUB = "https://github.com/"


def parameters(source: str) -> list[tuple[str, str, str]]:
    """Name, default and comment of each line of a `parameters` cell."""
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    rows = []
    for line in ast.parse(source).body:
        assert isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
        lines = range(line.lineno, (line.end_lineno or line.lineno) + 1)
        told = " ".join(comments[n] for n in lines if n in comments)
        rows.append((line.targets[0].id, ast.unparse(line.value), told))
    return rows


def minutes(duration: float) -> str:
    """A duration in seconds as a reader would say it."""
    if duration < 90:
        return "about a minute" if duration > 40 else "less than a minute"
    return f"about {duration / 60:.0f} minutes"


def seconds() -> dict[str, dict]:
    """Profile -> chapter -> how long it took when it was last stored, where that is known."""
    return json.loads(SECONDS.read_text(encoding="utf8")) if SECONDS.is_file() else {}


def taken(name: str) -> dict[str, float]:
    """Profile -> seconds of one chapter."""
    return {profile: of[name]["seconds"] for profile, of in seconds().items() if name in of}


def buttons(name: str, repository: str | None) -> str:
    """Links that open the chapter elsewhere, for a book published from a GitHub repository."""
    if not repository or not repository.startswith(GITHUB):
        return ""
    slug = repository.removeprefix(GITHUB).strip("/").removesuffix(".git")
    binder, on_colab = BINDER.format(slug=slug, name=name), COLAB.format(slug=slug)
    return (
        f"Elsewhere: this chapter [on Binder]({binder}) or [on Colab]"
        f"({on_colab}{colab.BRANCH}/{name}.ipynb), your picture [on Colab]({on_colab}{PICTURE})."
    )


def box(name: str, source: str, repository: str | None = None) -> str:
    """The box of a chapter, as Markdown; `source` is its `parameters` cell."""
    number = name.partition("_")[0] if name[:2].isdigit() else name
    spent = taken(name)
    how_long = ""
    if "quick" in spent:
        how_long = f", {minutes(spent['quick'])} on two cores"
    rows = [
        f"| `{parameter}` | `{default}` | {_cell(told)} |"
        for parameter, default, told in parameters(source)
    ]
    command = f"make reproduce CHAPTER={number}"
    lines = [
        ":::{admonition} Run this",
        ":class: dropdown run-this",
        "",
        f"In a checkout, on drawn shapes{how_long}:",
        "",
        "```",
        command,
        *(f"{command} PARAMS={shown}" for shown in _example(source)),
        "```",
        "",
        f"The executed chapter is `_build/quick/{name}.ipynb`, its page "
        f"`_build/quick/html/book/{name}.html`. `PROFILE=paper` is what is shown here: the papers' "
        "scale, on real data, from stored results where there are any.",
        "",
        buttons(name, repository),
        "",
        "| Parameter | Default | |",
        "|:---|:---|:---|",
        *rows,
        ":::",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "&#124;").replace("<", "&lt;")


def _example(source: str) -> list[str]:
    """Parameters that a reader would try first, as `make` takes them; none where there are none."""
    known = {parameter for parameter, *_ in parameters(source)}
    tried = {"dataset": "cifar10", "images": "500", "picture": "cat.png"}
    given = " ".join(f"{name}={value}" for name, value in tried.items() if name in known)
    return [f'"{given}"'] if given else []


def insert(notebook, name: str, repository: str | None = None) -> None:
    """Put the box at the end of a chapter, before its appendix."""
    from nbformat.v4 import new_markdown_cell

    own = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if not own:
        return
    text = box(name, own[0].source, repository)
    place = next(
        (
            k
            for k, cell in enumerate(notebook.cells)
            if cell.cell_type == "markdown" and cell.source.startswith("# All values")
        ),
        len(notebook.cells),
    )
    notebook.cells.insert(place, new_markdown_cell(text, id="run-this"))
