"""The two pages of the library show every public name of its packages, and no other."""

from __future__ import annotations

import inspect
import re
from io import StringIO
from types import ModuleType

import pytest
from docutils.core import publish_doctree
from sphinx.ext.napoleon import Config, NumpyDocstring

from book.build import ROOT
from lib import attribution, metrics

PAGES = {"api_attribution": attribution, "api_metrics": metrics}
each_page = pytest.mark.parametrize("page, package", PAGES.items(), ids=PAGES)
# indented, a name is a row of a table of contents
ENTRY = re.compile(r"^\.\. (?:autofunction|autoclass|py:data):: (\w+)$", re.M)
ROW = re.compile(r"^   (\w+)$", re.M)


def offered(package: ModuleType) -> set[str]:
    """What the package offers to those who import it."""
    names = getattr(package, "__all__", vars(package))
    return {n for n in names if n[0] != "_" and not isinstance(getattr(package, n), ModuleType)}


def text(page: str) -> str:
    return (ROOT / "book" / f"{page}.md").read_text(encoding="utf8")


@each_page
def test_every_public_name_is_described_once(page, package):
    entries = ENTRY.findall(text(page))
    assert sorted(entries) == sorted(offered(package))


@each_page
def test_every_function_is_in_a_table_above_it(page, package):
    rows, entries = ROW.findall(text(page)), ENTRY.findall(text(page))
    assert rows == [name for name in entries if not name.isupper()]


def complaints(docstring: str) -> str:
    """What docutils finds wrong with a docstring, as Sphinx would when it builds the page."""
    parsed, found = str(NumpyDocstring(docstring, Config(napoleon_use_rtype=False))), StringIO()
    publish_doctree(parsed, settings_overrides={"warning_stream": found})
    return found.getvalue()


@each_page
def test_every_docstring_can_be_read(page, package):
    described = {n: inspect.getdoc(getattr(package, n)) for n in offered(package) if n.islower()}
    assert all(described.values())
    wrong = {name: complaints(text) for name, text in described.items()}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_a_docstring_that_cannot_be_read_is_noticed():
    assert complaints("The size |a R| of a score.") and not complaints("The size `|a R|` of it.")


@each_page
def test_the_page_is_in_the_book(page, package):
    assert f"- file: book/{page}\n" in (ROOT / "_toc.yml").read_text(encoding="utf8")
