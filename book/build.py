"""Build the book: the published one from the committed chapters, or one from those executed here.

    python book/build.py                     book/ -> _build/html/
    python book/build.py --pdf               the same, and all pages as one PDF in html/_static/
    python book/build.py --profile quick     _build/quick/*.ipynb -> _build/quick/html/
                                             (paper likewise)

jupyter-book reads a copy of the sources, `<out>/src`, to which this adds the parts of the prose
pages that are made of results (pages.py), the commit in the footer and, where they apply, a note
that a chapter was executed here or a warning that its code has changed since it was published. It
numbers the chapters and parts them from their appendices (parts.py); of the built pages it takes
the charts in as drawings (drawings.py).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from notebooks.run import (  # noqa: E402  found only through the path of the line above
    PROFILES,
    QUICK,
    annotate,
    chapters,
    networks_behind,
    profile_values,
    write,
)

REPLACED = (
    "**This chapter is older than its networks.** Some of those it rests on have been trained anew "
    "since, on CIFAR-10's original pixels; its numbers are recomputed at the next release of the "
    "book."
)
STALE = (
    "**This chapter is older than its code.** Its source has changed since these results were "
    "computed; they are recomputed at the next release of the book."
)
# characters that a row of a table has room for on a page, a column's padding counted as two
ROOM = 90


class BuildError(RuntimeError):
    """The book cannot be built; the message says why."""


def provenance(root: Path) -> str:
    """The commit that the pages are built from, or that it is not known."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        commit, day = git("log", "-1", "--format=%h %cs").split()
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return "Built from a copy without its history."
    local = ", with local changes" if changed else ""
    return f"Built from commit <code>{commit}</code> of {day}{local}."


def code(notebook) -> list[str]:
    """The code cells that papermill did not inject."""
    return [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def replaced(notebook, values: dict, root: Path = ROOT) -> bool:
    """Was a published chapter made with other networks than those that are committed?

    `values` are the parameters that it was executed with.
    """
    return dict(notebook.metadata.get("networks", {})) != networks_behind(values, root)


def unbroken(text: str) -> str:
    """Markdown whose tables break no line inside a number and its interval.

    A table that would not fit the page then stays as it is.
    """
    inside = re.compile(r"(?<=[\d%]) (?=to [-+−.\d]|%)|(?<=±) (?=[.\d])|(?<=[\d%] to) (?=[-+−.\d])")

    def least_width(rows_of_text: str) -> int:
        """Characters of a row whose lines are broken wherever they may be."""
        rows = [
            re.sub("<.*?>", " ", row).strip("|").split("|")
            for row in rows_of_text.splitlines()
            if not row.startswith("|:")
        ]
        width = 0
        for column in zip(*rows, strict=False):  # rows by hand may lack cells
            words = [word for cell in column for word in cell.split(" ")]
            width += 2 + max(map(len, words))
        return width

    def table(match):
        whole = inside.sub("\u00a0", match[0])
        return whole if least_width(whole) <= ROOM else match[0]

    return re.sub(r"^\|.*(?:\n\|.*)*", table, text, flags=re.M)


def keep_numbers_whole(folder: Path) -> None:
    """`unbroken` over every page and every chapter's output in `folder`."""
    import nbformat

    for page in folder.glob("*.md"):
        page.write_text(unbroken(page.read_text(encoding="utf8")), encoding="utf8")
    for chapter in folder.glob("*.ipynb"):
        notebook = nbformat.read(chapter, as_version=4)
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                shown = output.get("data", {})
                if "text/markdown" in shown:
                    shown["text/markdown"] = unbroken(shown["text/markdown"])
        write(notebook, chapter)


def assemble(profile: str | None, target: Path, root: Path = ROOT) -> None:
    """Copy the sources of the book to `target`.

    With a profile, its chapters are those executed under _build/<profile>/. A chapter that was not
    executed there, or not since its source last changed, is taken as it is stored.
    """
    import yaml

    from book import live, pages

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(
        root / "book", target / "book", ignore=shutil.ignore_patterns("__pycache__", ".*", "*.py")
    )
    live.weights(target / "book" / "_static" / "live")
    (target / "data" / "results").mkdir(parents=True)
    for table in (root / "data" / "results").glob("*.csv"):  # pages link them as downloads
        shutil.copy(table, target / "data" / "results")
    try:
        pages.fill(target / "book")
    except FileNotFoundError as error:
        raise BuildError(f"{error.filename} is missing; `make results` writes it.") from None
    settings = configuration(profile, root)
    (target / "_config.yml").write_text(
        yaml.safe_dump(settings, allow_unicode=True), encoding="utf8"
    )
    stems = put_chapters(profile, target / "book", root, settings.get("repository", {}).get("url"))
    put_contents(target, stems, root)
    keep_numbers_whole(target / "book")


def configuration(profile: str | None, root: Path) -> dict:
    """What jupyter-book is told: _config.yml, the commit, and where the book is published from.

    SIGN_NOISE_REPOSITORY is the address of the repository, SIGN_NOISE_ADDRESS that of the pages;
    the workflow that publishes them knows both.
    """
    import yaml

    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf8"))
    settings["html"]["extra_footer"] = f"<p>{provenance(root)}</p>"
    if repository := os.environ.get("SIGN_NOISE_REPOSITORY"):
        settings["repository"] = {"url": repository}
        settings["html"] |= {"use_repository_button": True, "use_issues_button": True}
    if address := os.environ.get("SIGN_NOISE_ADDRESS"):
        settings["html"]["baseurl"] = address
    if profile:
        settings["title"] += f" ({profile} profile)"
        # what was executed here may hold warnings and progress bars of people's own networks
        settings.setdefault("execute", {})["stderr_output"] = "show"
    return settings


def put_chapters(
    profile: str | None, folder: Path, root: Path, repository: str | None = None
) -> set[str]:
    """Write the chapters and their appendices to `folder`; returns the names of these pages.

    Where chapters were executed here, the first page is about them.
    """
    import nbformat

    from book import boxes, here, parts, small

    stems, executed_here, published = set(), {}, {}
    for name, source in chapters(root).items():
        executed = root / "_build" / (profile or "") / source.name
        if profile and is_current(executed, source):
            notebook = executed_here[name] = nbformat.read(executed, as_version=4)
            if (shown := root / "book" / source.name).is_file():
                published[name] = nbformat.read(shown, as_version=4)
        else:
            notebook = stored_chapter(name, source, profile, root)
        parts.tables_as_csv(notebook, folder / "_static" / "tables")
        parts.commits(notebook, repository)
        parts.lines_into_captions(notebook)
        parts.results_into_alts(notebook)
        boxes.insert(notebook, name, repository)
        small.insert(notebook, name)
        for stem, page in parts.divided(notebook, name).items():
            write(page, folder / f"{stem}.ipynb")
            stems.add(stem)
    if profile:
        here.mark_published(folder)
        first = here.landing(profile, executed_here, published)
        (folder / "index.md").write_text(first, encoding="utf8")
    return stems


def put_contents(target: Path, stems: set[str], root: Path) -> None:
    """Write the table of contents, each appendix below its chapter."""
    import yaml

    from book import parts

    written = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf8")) or {}
    toc = parts.contents(written, stems)
    (target / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf8")


def is_current(executed: Path, source: Path) -> bool:
    """Was the chapter executed since its source last changed, and with the code of today?

    A date alone does not tell where a clock has gone back.
    """
    if not executed.exists() or executed.stat().st_mtime < source.stat().st_mtime:
        return False
    import nbformat

    ran, written = (code(nbformat.read(path, as_version=4)) for path in (executed, source))
    return ran == written


def stored_chapter(name: str, source: Path, profile: str | None, root: Path):
    """A chapter as it is stored, with a note or a warning under its title where one applies."""
    import nbformat

    stored = source if profile == "quick" else root / "book" / source.name
    if not stored.exists():
        raise BuildError(
            f"{stored} is missing; `make refresh PROFILE=paper CHAPTER={name}` writes it."
        )
    notebook = nbformat.read(stored, as_version=4)
    if profile == "quick":
        annotate(notebook, QUICK)
    elif replaced(notebook, profile_values("paper", root)[name], root):
        annotate(notebook, REPLACED, "warning")
    elif code(notebook) != code(nbformat.read(source, as_version=4)):
        annotate(notebook, STALE, "warning")
    return notebook


def finish(html: Path) -> None:
    """Put the charts into the pages as drawings, describe the pages, and make them light."""
    from book import drawings, light, meta

    for page in (html / "book").glob("*.html"):
        text = drawings.inlined(page.read_text(encoding="utf8"), page.parent)
        page.write_text(drawings.boxed(drawings.lazy(text)), encoding="utf8")
    meta.write(html, os.environ.get("SIGN_NOISE_ADDRESS", ""))
    light.lighten(html)


def print_book(html: Path, contents: Path, root: Path) -> None:
    """Print the pages to one PDF that their first one links to, where Chromium is installed."""
    import yaml

    from book import pdf

    browser = pdf.chromium()
    if browser is None:
        print(pdf.ABSENT, file=sys.stderr)
        return
    toc, citation = (
        yaml.safe_load(path.read_text(encoding="utf8"))
        for path in (contents, root / "CITATION.cff")
    )
    try:
        pdf.write(html, toc, pdf.cover(citation, provenance(root)), browser)
    except pdf.PrintError as error:
        raise BuildError(str(error)) from None


def build(profile: str | None, out: Path, root: Path = ROOT, as_pdf: bool = False) -> Path:
    """Build into `<out>/html` (replaced as a whole); returns its index page.

    A Sphinx warning is an error.
    """
    from book import front, rankings

    out.mkdir(parents=True, exist_ok=True)
    assemble(profile, out / "src", root)
    static = out / "src" / "book" / "_static"
    front.draw(static / "front")
    rankings.write(static / "rankings")
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["--all", "-q", "-W", "--keep-going"]
    with tempfile.TemporaryDirectory(dir=out) as work:
        done = subprocess.run(
            [*jupyter_book, "build", *options, "--path-output", work, str(out / "src")],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},  # the API pages import lib
        )
        if done.returncode:
            raise BuildError(
                f"jupyter-book found fault with the book:\n{(done.stdout + done.stderr).strip()}"
            )
        html = Path(work) / "_build" / "html"
        finish(html)
        if as_pdf:
            print_book(html, out / "src" / "_toc.yml", root)
        shutil.rmtree(out / "html", ignore_errors=True)
        shutil.move(html, out / "html")
    return out / "html" / "index.html"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--profile", choices=PROFILES, help="take the chapters executed under _build/<profile>/"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for html/ and src/ (default _build, or _build/<profile>)"
    )
    parser.add_argument(
        "--pdf", action="store_true", help="print the published book as one PDF, too (Chromium)"
    )
    chosen = parser.parse_args(arguments)
    if chosen.pdf and chosen.profile:
        parser.error("--pdf prints the published book: leave --profile out")
    out = chosen.out or ROOT / "_build" / (chosen.profile or "")
    try:
        print(build(chosen.profile, out, as_pdf=chosen.pdf))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
