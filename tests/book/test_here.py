"""The first page of a book that was computed here."""

from __future__ import annotations

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book import here


def chapter(title: str, *sentences: str):
    shown = new_output("execute_result", {"text/markdown": "\n".join(f"- {s}" for s in sentences)})
    return new_notebook(
        cells=[
            new_markdown_cell(f"# {title}\n\nWhat was claimed."),
            new_code_cell("setup"),
            new_markdown_cell("## In short"),
            new_code_cell("lines", outputs=[shown] if sentences else []),
        ]
    )


def test_what_came_out_stands_beside_what_is_published():
    executed = {"05_x": chapter("Deletion", "Here 0.3.", "And 0.4.")}
    told = here.landing("quick", executed, {"05_x": chapter("Deletion", "There 0.2.")})
    assert "## [Deletion](05_x.ipynb)" in told and "quick profile" in told
    first, second = told.index("- Here 0.3.\n- And 0.4."), told.index("- There 0.2.")
    assert told.index("**Here**") < first < told.index("**Published**") < second


def test_chapters_without_sentences_and_no_chapters_at_all():
    told = here.landing("quick", {"05_x": chapter("Deletion")}, {})
    assert "[Deletion](05_x.ipynb)" in told and "**Here**" not in told
    assert "No chapter has been executed yet" in here.landing("paper", {}, {})


def test_pages_of_published_results_say_so(tmp_path):
    (tmp_path / "claims.md").write_text("# Claims\n\nText.")
    (tmp_path / "notation.md").write_text("# Words\n\nText.")
    here.mark_published(tmp_path)
    assert here.BANNER in (tmp_path / "claims.md").read_text()
    assert (tmp_path / "claims.md").read_text().startswith("# Claims\n\n```{note}")
    assert here.BANNER not in (tmp_path / "notation.md").read_text()
