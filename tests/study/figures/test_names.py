"""Names that people give, of files, classes and networks, are shown as they are by figures and
tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.attrs import attrs_block_plugin, attrs_plugin
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.myst_role import myst_role_plugin
from mdit_py_plugins.substitution import substitution_plugin
from torch import nn

from study import figures
from study.figures import chapter03, labelled
from study.subjects.pictures import Dataset
from study.subjects.subject import Subject

pytestmark = pytest.mark.usefixtures("one_thread", "clean")

NAMES = [
    "US$_5_$",
    "$x$",
    "$$",
    r"\$ 5 \alpha",
    r"a\$b$",
    "_private_",
    "__init__",
    "a_b_c",
    "*bold* and **more**",
    "2 * 3",
    "a*b*c",
    "`code` and ``more``",
    "[link](where)",
    "[^1] [ref]",
    "![x](y.png)",
    "a | b || c",
    "<b>bold</b> <script>",
    "<https://example.org> < 5 <5 a<b",
    "&amp; &#36; & you",
    "{{ name }} {% x %} {sub}`H`",
    "[x]{.red} `x`{.red}",
    "~~gone~~",
    r"back\slash\\ and \* \_ \| \a",
    "ends in \\",
    "# no title",
    "猫 と 犬",
    "قط",
    "50 % ^2^",
    "two\nlines",
]


def myst() -> MarkdownIt:
    """What the book reads Markdown with, its extensions included."""
    parser = MarkdownIt("commonmark").enable("table")
    for plugin in (dollarmath_plugin, amsmath_plugin, substitution_plugin, myst_role_plugin):
        parser.use(plugin)
    for plugin in (attrs_plugin, attrs_block_plugin, colon_fence_plugin, footnote_plugin):
        parser.use(plugin)
    return parser


def as_read(markdown: str) -> list[str]:
    """The text of each paragraph or cell; it may hold nothing but text, here and there in bold."""
    told = []
    for token in myst().parse(markdown):
        if token.type == "inline":
            kinds = {child.type for child in token.children}
            assert kinds <= {"text", "text_special", "strong_open", "strong_close"}, kinds
            told.append("".join(child.content for child in token.children))
    return told


def plain(name: str) -> str:
    return name.replace("\n", " ")


@pytest.mark.parametrize("name", NAMES)
def test_tables_show_names_letter_by_letter(name):
    frame = pd.DataFrame({"class": [name, f"is {name}"], name: [1, 2]})
    expected = ["class", plain(name), plain(name), "1", f"is {plain(name)}", "2"]
    assert as_read(figures.table(frame).data) == expected
    several = figures.sections({name: frame[["class"]], "other": frame[["class"]]}).data
    assert as_read(several)[:3] == [plain(name), "class", plain(name)]
    assert as_read(f"One is {figures.escaped(name)}.") == [f"One is {plain(name)}."]


@pytest.mark.parametrize(
    "text", ["basic_cnn, shapes10", "Grad * input", "low > 0.5", "high < -0.03", "0.9 (0.8 to 1)"]
)
def test_texts_of_the_book_stay_as_they_were(text):
    assert figures.escaped(text) == text


def drawn_texts(figure) -> list[str]:
    """Every text of a figure as matplotlib draws it: a formula is a failure."""
    figure.canvas.draw()
    told = []
    for text in figure.findobj(plt.Text):
        shown, is_formula = text._preprocess_math(text.get_text())
        assert not is_formula or "mathdefault" in shown, shown
        told.append(shown)
    return told


def subject_of(name: str) -> Subject:
    pictures = Dataset(
        name,
        "test",
        torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        torch.tensor([0, 0, 1, 1]),
        (name, "other"),
        "made",
    )
    return Subject(nn.Flatten(), pictures, name, "none")


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")  # a matter of fonts
def test_a_name_of_people_is_no_formula_in_a_chart():
    frame = pd.DataFrame(
        [
            {"map": name, "fill": fill, "fraction": x, "auc": 0.5, "low": 0.4, "high": 0.6}
            for name in ("original", "positive")
            for fill in ("black", "white")
            for x in (0.0, 0.5)
        ]
    )
    shown = {"black": ("original", "positive"), "white": ("original", "positive")}
    for name in NAMES:
        if name == "two\nlines":
            continue  # a title may have two
        figure = labelled.panels({name: frame}, "auc", shown)
        bare = name.replace(r"\$", "$")
        assert any(bare in text.replace(r"\$", "$") for text in drawn_texts(figure)), name
        plt.close(figure)


def test_a_picture_is_called_by_its_class_letter_by_letter():
    studied = subject_of("$x_1$")
    figure = chapter03.map_rows(studied.pictures.images, {"$m$": torch.rand(4, 8, 8)}, ["$c$"] * 4)
    told = drawn_texts(figure)
    assert "$c$" in " ".join(told)
    plt.close(figure)
