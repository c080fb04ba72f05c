"""What a chapter puts under a figure, and how it stores the figure itself."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest

from study import figures, paths
from study.figures import show

MADE = "Sign CNN, shapes test, n = 2 · quick profile · commit <code>abc1234</code>"


@pytest.fixture
def shown(monkeypatch):
    """What a cell displays, as (data by MIME type, metadata)."""
    seen = []
    monkeypatch.setattr(show, "display", lambda what: seen.append(what))
    figures.style()
    return seen


def chart():
    figure, axis = plt.subplots(figsize=(6.9, 2))
    axis.plot([0, 1], [1, 0], color="#000000", label="random")
    axis.set_title("a curve")
    return figure


def test_the_source_of_a_figure_names_what_made_it_once(monkeypatch):
    monkeypatch.setattr(paths, "commit", lambda: "abc1234+")
    said = figures.source("quick", "Sign CNN_, shapes", "Sign CNN_, shapes", "b")
    assert said == r"Sign CNN\_, shapes; b · quick profile · commit <code>abc1234</code>"


def test_a_chart_is_the_same_drawing_each_time_and_closed(shown):
    for _ in range(2):
        line = figures.show_chart(chart(), MADE)
    first, second = (what.data for what in shown)
    assert first == second and not plt.get_fignums()
    assert line.data == f'<small class="made">{MADE}</small>'
    root = ElementTree.fromstring(first)
    assert root.tag.endswith("svg") and root.get("width") == f"{6.9 * 72:g}pt"
    assert "<metadata" not in first and "<text" not in first and "20" + "26-" not in first


def test_a_chart_of_very_many_points_stays_small(shown):
    figure, axis = plt.subplots(figsize=(5, 3))
    axis.scatter(*np.random.default_rng(0).random((2, 20_000)), s=2)
    axis.plot([0, 1], [0, 1])
    figures.show_chart(figure, MADE)
    drawn = shown[0].data
    assert "data:image/png" in drawn and len(drawn) < 3 * show.BYTES
    assert "<path" in drawn  # axes and line are still drawn


def test_maps_have_two_pixels_for_each_of_the_screen(shown):
    figure, axis = plt.subplots(figsize=(5, 2))
    axis.imshow(np.random.default_rng(0).random((8, 8, 3)))
    figures.show_maps(figure, MADE, colours=16)
    data, metadata = shown[0]._repr_mimebundle_()
    raw = data["image/png"]
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(raw) if isinstance(raw, str) else raw))
    assert picture.width == 2 * 5 * 96 and metadata["image/png"]["width"] == 5 * 96
    assert len(picture.getcolors()) <= 16


def test_letters_are_large_enough_to_read():
    figures.style()
    sizes = [plt.rcParams[f"{which}.labelsize"] for which in ("xtick", "ytick", "axes")]
    assert min(*sizes, plt.rcParams["legend.fontsize"]) * 96 / 72 >= 9


def test_the_mask_of_nbval_hides_drawings_and_commits_alone():
    from pathlib import Path

    text = (Path(__file__).parents[3] / "tests" / "nbval.cfg").read_text(encoding="utf8")
    masks = re.findall(r"^regex: (.*)\nreplace: (.*)$", text, re.M)

    def masked(said: str) -> str:
        for mask, put in masks:
            said = re.sub(mask, put, said)
        return said

    drawing = '<svg width="1">\n<path d="M 1 2"/>\n</svg>'
    assert masked(f"before {drawing} after") == "before SVG after"
    line = f'<small class="made">{MADE}</small>'
    assert masked(line) == masked(line.replace("abc1234", "0123456789"))
    assert masked(line) != masked(line.replace("n = 2", "n = 3"))
