"""A Sphinx extension: figures and tables are numbered by chapter, whatever else the book holds.

The third figure of 05_deletion_benchmark is "Fig. 5.3", the first table of its appendix "Table
A5.1"; on pages without a number they have none. Links may also lead to anything that has an id on
a page, as `claims.md#claim-id`, not to headings alone.
"""

from __future__ import annotations

from docutils import nodes

from book.parts import number


def renumber(app, env) -> list[str]:
    """Put the numbers of chapters into those that Sphinx has just given; all pages are written
    anyway."""
    for page, kinds in env.toc_fignumbers.items():
        chapter = number(page.rpartition("/")[2])
        for kind, numbers in kinds.items():
            in_order = sorted(numbers, key=numbers.get)
            kinds[kind] = {
                name: (chapter, place) for place, name in enumerate(in_order, 1) if chapter
            }
    return []


def note_ids(app, document) -> None:
    """Let links lead to every id on the page that is now being read."""
    known = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for node in document.findall(nodes.Element):
        for name in node.get("ids", []):
            known.setdefault(name, (node.line or 0, name, ""))


def setup(app) -> dict:
    app.connect("doctree-read", note_ids)
    app.connect("env-get-updated", renumber, priority=900)  # after Sphinx's own numbering
    return {"parallel_read_safe": True, "parallel_write_safe": True}
