"""The first page of a book that was computed here: what came out, beside what is published."""

from __future__ import annotations

from pathlib import Path

PAGE = """# Sign & Noise, computed here

The chapters below were executed on this machine at the {profile} profile; their numbers are those
of that run. Beside each is what the published book says, on the papers' own data and scale. Small
data and small networks need not agree with it.

{chapters}

Pages that hold published results were not computed here: [the scoreboard](scoreboard.md),
[the claims](claims.md), [which map to use](which_map.md), [rankings](rankings.md).
"""
BANNER = (
    "**Published results.** What this page says was computed for the published book, not on this "
    "machine."
)
PUBLISHED = ("scoreboard", "claims", "which_map", "rankings", "status", "limits", "errata")


def in_short(notebook) -> list[str]:
    """The sentences under a chapter's heading *In short*, or nothing."""
    cells = iter(notebook.cells)
    for cell in cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## In short"):
            break
    shown = next((cell for cell in cells if cell.cell_type == "code"), None)
    for output in shown.outputs if shown else []:
        text = output.get("data", {}).get("text/markdown", "")
        lines = [line[2:] for line in text.splitlines() if line.startswith("- ")]
        if lines:
            return lines
    return []


def title(notebook) -> str:
    """A chapter's first heading."""
    first = notebook.cells[0].source.partition("\n")[0]
    return first.lstrip("# ").strip()


def landing(profile: str, executed: dict, published: dict) -> str:
    """The page: `executed` and `published` hold notebooks by chapter; the first ran here."""
    parts = []
    for name, notebook in executed.items():
        here = in_short(notebook)
        there = in_short(published[name]) if name in published else []
        lines = [f"## [{title(notebook)}]({name}.ipynb)"]
        lines += ["**Here**", *(f"- {line}" for line in here)] if here else []
        lines += ["**Published**", *(f"- {line}" for line in there)] if there else []
        parts.append("\n\n".join([lines[0], _spaced(lines[1:])]).rstrip())
    if not parts:
        parts = ["*No chapter has been executed yet: `make reproduce` does it.*"]
    return PAGE.format(profile=profile, chapters="\n\n".join(parts))


def _spaced(lines: list[str]) -> str:
    """Heads apart from their lists, as Markdown wants them."""
    text = []
    for line in lines:
        text.append(line if line.startswith("- ") else f"\n{line}\n")
    return "\n".join(text)


def mark_published(folder: Path) -> None:
    """Put the banner under the title of every page that holds published results."""
    for name in PUBLISHED:
        page = folder / f"{name}.md"
        if page.is_file():
            head, _, rest = page.read_text(encoding="utf8").partition("\n")
            note = f"```{{note}}\n{BANNER}\n```"
            page.write_text(f"{head}\n\n{note}\n\n{rest.lstrip()}", encoding="utf8")
