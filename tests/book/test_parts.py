"""Chapters as pages: numbers, appendices, tables as files, the numbering of figures."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book import numbering, parts
from study import figures

MADE = "Sign CNN, shapes test, n = 2 · quick profile · commit <code>abc1234</code>"


def shows(data: dict, **metadata):
    return new_code_cell("x", outputs=[new_output("display_data", data)], metadata=metadata)


def chapter():
    return new_notebook(
        cells=[
            new_markdown_cell("# Deletion\n\n```{note}\nQuick.\n```\n\nProse."),
            new_code_cell("1"),
            new_markdown_cell("## Where it fails"),
            new_markdown_cell("# All values: deletion\n\nWhat stands behind it."),
            new_code_cell("2"),
        ],
        metadata={"networks": {"a": "b"}},
    )


def test_a_chapter_with_an_appendix_becomes_two_pages_that_lead_to_each_other():
    pages = parts.divided(chapter(), "05_deletion")
    assert list(pages) == ["05_deletion", "05_deletion_values"]
    body, values = pages.values()
    assert [cell.source for cell in body.cells[1:3]] == ["1", "## Where it fails"]
    assert body.cells[0].source.startswith("# 5 · Deletion\n\n```{note}")
    assert "(05_deletion_values.ipynb)" in body.cells[-1].source and len(body.cells) == 4
    first, *others = values.cells
    assert first.source == (
        "# A5 · All values: deletion\n\n← [Back to the chapter](05_deletion.ipynb)\n\n"
        "```{note}\nQuick.\n```\n\nWhat stands behind it."
    )
    assert [cell.source for cell in others] == ["2"]
    assert body.metadata == values.metadata == {"networks": {"a": "b"}}


def test_a_chapter_without_an_appendix_stays_whole_and_one_without_a_number_has_none():
    notebook = chapter()
    del notebook.cells[3:]
    pages = parts.divided(notebook, "how_to_use")
    assert list(pages) == ["how_to_use"] and len(pages["how_to_use"].cells) == 3
    assert notebook.cells[0].source.startswith("# Deletion")


def test_an_appendix_stands_below_its_chapter_in_the_contents():
    toc = {"root": "book/index", "parts": [{"chapters": [{"file": "book/a"}, {"file": "book/b"}]}]}
    with_values = parts.contents(toc, {"a", "b", "b_values"})
    assert with_values["parts"][0]["chapters"] == [
        {"file": "book/a"},
        {"file": "book/b", "sections": [{"file": "book/b_values"}]},
    ]
    assert "sections" not in toc["parts"][0]["chapters"][1]


@pytest.mark.parametrize("made", ["", MADE])
def test_a_captioned_table_is_a_file_too(tmp_path, made):
    frame = pd.DataFrame({"a|b": ["x_*y*", "0.1 to 0.2"], "n": [1, 2]})
    text = figures.table(frame, "What it says.", "tab-small", made).data
    notebook = new_notebook(cells=[shows({"text/markdown": text})])
    parts.tables_as_csv(notebook, tmp_path / "tables")
    with (tmp_path / "tables" / "tab-small.csv").open(encoding="utf8") as file:
        assert list(csv.reader(file)) == [["a|b", "n"], ["x_*y*", "1"], ["0.1 to 0.2", "2"]]
    shown = notebook.cells[0].outputs[0].data["text/markdown"]
    assert shown.count("../_static/tables/tab-small.csv") == shown.count('class="made"') == 1
    assert shown.endswith("</a></small>") and made in shown
    plain = new_notebook(cells=[shows({"text/markdown": figures.table(frame).data})])
    parts.tables_as_csv(plain, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_line_under_a_figure_becomes_part_of_it():
    line = new_output("execute_result", {"text/markdown": f'<small class="made">{MADE}</small>'})
    other = new_output("display_data", {"text/markdown": "Prose."})
    cell = shows({"image/svg+xml": "<svg/>"}, mystnb={"figure": {"caption": "Dots.", "name": "f"}})
    cell.outputs += [line, other]
    bare = shows({"image/svg+xml": "<svg/>"})
    bare.outputs.append(line)
    parts.lines_into_captions(new_notebook(cells=[cell, bare]))
    assert [list(output.data) for output in cell.outputs] == [["image/svg+xml"], ["text/markdown"]]
    assert cell.outputs[1] == other and len(bare.outputs) == 2
    assert cell.metadata.mystnb.figure.caption == f'Dots.\n\n<small class="made">{MADE}</small>'


def described(name: str):
    return shows(
        {"image/svg+xml": "<svg/>"},
        mystnb={"figure": {"caption": "Dots.", "name": name}, "image": {"alt": "A dot."}},
    )


def test_the_description_of_a_figure_ends_with_the_result_beside_it():
    verdict = '<span class="verdict holds">holds</span>: [“a”](claims.md#a) (section 4.2)'
    after = f"- {verdict}\n- no number\n- *Positive* [maps](a.md) \\*win\\*, p < 0.1 > 0.\n- Not 4."
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# Title"),
            new_markdown_cell("## In short"),
            shows({"text/markdown": "- First 1.\n- Second 2."}),
            described("before"),
            shows({"text/markdown": f"- {verdict}"}),
            new_markdown_cell("## Other"),
            described("after"),
            new_code_cell("hidden"),
            shows({"text/markdown": after}),
            new_markdown_cell("# All values"),
            described("alone"),
        ]
    )
    parts.results_into_alts(notebook)
    alts = [c.metadata.mystnb.image.alt for c in notebook.cells if "mystnb" in c.metadata]
    assert alts == [
        "A dot. Result: First 1.",
        "A dot. Result: Positive maps *win*, p < 0.1 > 0.",
        "A dot. The chapter in short: First 1.",
    ]
    bare = new_notebook(cells=[described("bare")])
    parts.results_into_alts(bare)
    assert bare.cells[0].metadata.mystnb.image.alt == "A dot."


def test_a_commit_is_a_link_only_where_the_repository_is_known():
    for repository in (None, "https://example.org/x"):
        cell = shows({"text/markdown": MADE})
        parts.commits(new_notebook(cells=[cell]), repository)
        shown = cell.outputs[0].data["text/markdown"]
        assert ('href="https://example.org/x/commit/abc1234"' in shown) == bool(repository)
        assert "<code>abc1234</code>" in shown


def test_figures_are_numbered_by_chapter_whatever_else_there_is():
    given = {
        "book/notation": {"table": {"t": (1,)}},
        "book/05_deletion": {"figure": {"b": (8,), "a": (7,)}, "table": {"c": (2,)}},
        "book/05_deletion_values": {"table": {"e": (4,), "d": (3,)}},
    }
    env = SimpleNamespace(toc_fignumbers=given)
    assert numbering.renumber(None, env) == []
    assert given == {
        "book/notation": {"table": {}},
        "book/05_deletion": {"figure": {"a": ("5", 1), "b": ("5", 2)}, "table": {"c": ("5", 1)}},
        "book/05_deletion_values": {"table": {"d": ("A5", 1), "e": ("A5", 2)}},
    }
