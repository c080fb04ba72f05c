"""How a chapter shows a figure: the image, and under it the line that says what made it."""

from __future__ import annotations

import io
import re

import matplotlib.pyplot as plt
from IPython.display import SVG, Markdown, display
from matplotlib import rc_context
from matplotlib.figure import Figure

from study import paths

from .style import compact
from .tables import escaped, line_under

# CSS pixels an inch, and pixels of a picture for each of them
CSS, DENSITY = 96, 2
BYTES = 150_000  # that a chart may take before what is dense in it is drawn in pixels
DENSE = 150  # vertices or points of one artist


def source(profile: str, *studied) -> str:
    """What made a figure or a table: networks and pictures, profile and commit, as Markdown.

    `studied` are Subjects, or texts where a chapter shows something else.
    """
    named = [escaped(what if isinstance(what, str) else what.title) for what in studied]
    commit = f"commit <code>{paths.commit().rstrip('+')}</code>"
    return " · ".join(["; ".join(dict.fromkeys(named)), f"{profile} profile", commit])


def show_chart(figure: Figure, made: str) -> Markdown:
    """Show curves, dots, bars, a heat map as SVG; `made` is what `source` says.

    The figure is closed, so that it is shown once.
    """
    display(SVG(chart(figure)))
    return line_under(made)


def chart(figure: Figure) -> str:
    """The figure as SVG, what is dense in it in pixels where it would be large; it is closed."""
    drawn = svg(figure)
    if len(drawn) > BYTES:
        _rasterise(figure)
        drawn = svg(figure)
    plt.close(figure)
    return drawn


def svg(figure: Figure) -> str:
    """The figure as SVG: letters as shapes, the same bytes whenever and wherever it is drawn."""
    raw = io.StringIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "sign-and-noise"}):
        figure.savefig(raw, format="svg", dpi=CSS * DENSITY)
    drawn = raw.getvalue()
    drawn = drawn[drawn.index("<svg") :]  # a page has no use for a declaration and a doctype
    drawn = re.sub(r"\s*<metadata>.*?</metadata>", "", drawn, flags=re.S)  # it holds the day
    return re.sub(r"<!--.*?-->\s*", "", drawn, flags=re.S)


def _rasterise(figure: Figure) -> None:
    """Draw in pixels what takes many vertices: clouds of points, fields of cells."""
    for axes in figure.axes:
        for artist in axes.collections:
            points = max(len(artist.get_offsets()), sum(map(len, _vertices(artist))))
            if points > DENSE:
                artist.set_rasterized(True)


def _vertices(artist) -> list:
    return [path.vertices for path in artist.get_paths()]


def show_maps(figure: Figure, made: str, colours: int = 128) -> Markdown:
    """Show pictures and maps at twice the screen's density, with few colours: speckles are several
    times smaller so."""
    display(compact(figure, CSS * DENSITY, colours, DENSITY))
    return line_under(made)
