"""How a chapter shows a figure: the image, and under it the line that says what made it."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import PIL.Image
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from study.store import cells

from .tables import escaped


def source(profile: str, *studied) -> str:
    """What made a figure or a table: networks and pictures, profile and commit, as Markdown.

    `studied` are Subjects, or texts where a chapter shows something else.
    """
    named = [escaped(what if isinstance(what, str) else what.title) for what in studied]
    commit = cells.commit().rstrip("+")
    return " · ".join(["; ".join(dict.fromkeys(named)), f"{profile} profile", f"commit {commit}"])


def _line(made: str) -> Markdown:
    """The line under a figure or a table."""
    return Markdown(f'<small class="made">{made}</small>')


def show_chart(figure: Figure, made: str) -> Markdown:
    """Show curves, dots, bars, a heat map; `made` is what `source` says.

    The figure is closed, so that it is shown once.
    """
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=100)
    plt.close(figure)
    display(Image(raw.getvalue(), format="png"))
    return _line(made)


def show_maps(figure: Figure, made: str, colours: int = 128) -> Markdown:
    """Show pictures and maps, with few colours: speckles are several times smaller so."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=150)
    plt.close(figure)
    full = PIL.Image.open(raw).convert("RGB")
    reduced = full.quantize(colours, dither=PIL.Image.Dither.NONE)
    small = io.BytesIO()
    reduced.save(small, format="png", optimize=True)
    display(Image(small.getvalue(), format="png"))
    return _line(made)
