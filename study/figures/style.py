"""The look of all figures: colours, labels, the line that says what made a figure, numbers as
text."""

from __future__ import annotations

import io
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
import seaborn as sns
from IPython.display import Image
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, to_hex, to_rgb
from matplotlib.figure import Figure
from scipy.spatial import KDTree
from torch import Tensor

from lib import attribution
from lib.attribution import crosses
from lib.attribution.crosses import label
from study import paths

# one colour a map in the whole book: Okabe and Ito's for those that the text speaks of most, the
# others as far from these and from each other as can be, on white and as the dark theme has them
COLOURS = {
    "random": "#000000",
    "rectgrad": "#D55E00",
    "saliency": "#7f7f7f",
    "original": "#7f7f7f",  # the absolute value of the saliency map
    "active": "#E69F00",
    "positive": "#CC79A7",
    "deeplift": "#009E73",
    "integrated_gradients": "#0072B2",
    "smoothgrad": "#99AAEE",
    "input_x_gradient": "#FF3366",
    "guided_backprop": "#AAAA00",
    "rectgrad_prr": "#FF8877",
    "negative": "#AA66EE",
    "inactive": "#00BBCC",
    "edges": "#556622",
    "epsilon_lrp": "#55BB33",
    "deconvolution": "#773322",
}


DASHES = {
    "original": (0, (1, 1)),
    "positive": "-",
    "negative": "-",
    "active": (0, (5, 2)),
    "inactive": (0, (5, 2)),
}


LABELS = {name: name.capitalize() for name in DASHES}


WIDTH = 7.0  # inches, of a figure on a page


def style() -> None:
    """The look of all figures; call it once, at the top of a chapter.

    Figures are at most `WIDTH` inches wide and drawn at 96 pixels an inch, as wide as the text of
    a page: a letter of 7 points is 9 pixels high there.
    """
    sns.set_theme(
        style="whitegrid",
        rc={
            "figure.dpi": 96,
            "savefig.dpi": 96,
            "font.size": 9,
            "axes.titlesize": 9.5,
            "axes.labelsize": 9,
            "legend.fontsize": 8.5,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "axes.edgecolor": "#999999",
            "axes.linewidth": 0.8,
            "grid.color": "#e6e6e6",
            "grid.linewidth": 0.8,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "image.interpolation": "nearest",
        },
    )


def verbatim(name: str) -> str:
    """A name that people gave, for matplotlib to show letter by letter.

    Between two dollars it would read a formula, and a leading underscore keeps a name out of a
    legend.
    """
    shown = str(name).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def signed(figure: Figure, text: str, profile: str) -> Figure:
    """The figure with its provenance line, below everything else."""
    provenance = f"{text} · {profile} profile · commit {paths.commit().rstrip('+')}"
    width = max(60, int(17 * figure.get_figwidth()))  # 17 letters an inch
    shown = verbatim(textwrap.fill(provenance, width))
    figure.supxlabel(shown, fontsize=7, color="#767676")
    return figure


def compact(figure: Figure, dpi: int = 76, colours: int = 128, density: int = 1) -> Image:
    """The figure as a PNG of few colours: pictures full of speckles are several times smaller so.

    A third of the colours are even steps of a colour bar, so that it is drawn without blocks. The
    figure has `density` pixels for each that it takes on a page. It is closed and shown once.
    """
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi)
    bars = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    scales = [mesh.get_cmap() for axes in bars for mesh in axes.findobj(QuadMesh)]
    plt.close(figure)
    full = PIL.Image.open(raw).convert("RGB")
    reduced = _of_few_colours(full, colours, scales)
    small = io.BytesIO()
    reduced.save(small, format="png", optimize=True)
    width = full.width // density if density > 1 else None
    return Image(small.getvalue(), format="png", width=width)


def _of_few_colours(full: PIL.Image.Image, colours: int, scales: list[Colormap]) -> PIL.Image.Image:
    """The picture with each pixel in the nearest colour of a palette: steps of the first of the
    colour scales, if there is one, and what the picture has most."""
    if not scales:
        return full.quantize(colours, dither=PIL.Image.Dither.NONE)
    steps = colours // 3 | 1  # odd, so that the middle of the scale is one of them
    scale = (255 * scales[0](np.linspace(0, 1, steps))[:, :3]).round()
    own = full.quantize(colours - steps, dither=PIL.Image.Dither.NONE).getpalette()
    palette = np.concatenate([scale, np.reshape(own, (-1, 3))[: colours - steps]]).astype("uint8")
    nearest = KDTree(palette).query(np.asarray(full).reshape(-1, 3))[1]
    reduced = PIL.Image.fromarray(nearest.astype("uint8").reshape(full.height, full.width))
    reduced.putpalette(palette.tobytes())
    return reduced


def give_or_take(value: float, low: float, high: float, spec: str = ".3f") -> str:
    """A value and the half-width of its interval as text."""
    return f"{value:{spec}} ± {(high - low) / 2:{spec.lstrip('+')}}"


def interval(low: float, high: float, spec: str = ".3f") -> str:
    """An interval as text."""
    return f"{low:{spec}} to {high:{spec}}"


def digest(**arrays: Tensor) -> None:
    """Print mean, standard deviation and extremes of what a figure shows, to three digits, for
    those who compare reruns."""
    for name, values in arrays.items():
        v = values.double()
        deviation = v.std() if v.numel() > 1 else 0
        print(
            f"{name}: mean {v.mean():.3g}, sd {deviation:.3g}, from {v.min():.3g} to {v.max():.3g}"
        )


REGIONS = {"object": "#D55E00", "background": "#0072B2"}  # Okabe and Ito's colours


# what ROAR and KAR do to the pixels that a map calls most important
MODES = {"roar": "removed", "kar": "kept"}


SHORT = {
    "guided_backprop": "Guided\nbackprop.",
    "integrated_gradients": "Integrated\ngradients",
    "input_x_gradient": "Gradient\n* input",
    "rectgrad_prr": "RectGrad\nPRR",
}


def short(method: str) -> str:
    """A method's name for narrow columns, over two lines where it is long."""
    return SHORT.get(method, label(method))


def colour(method: str) -> str:
    """The colour of a map or control; "<treatment>:<name>" has that of its name."""
    return COLOURS[method.rpartition(":")[2]]


def ink(shade: str) -> str:
    """A colour for letters: darker where it is too faint to be read on white (WCAG: 4.5 to 1)."""
    rgb = np.array(to_rgb(shade))
    return next(to_hex(k * rgb) for k in np.linspace(1, 0, 21) if _contrast(k * rgb) >= 4.5)


def _contrast(rgb: np.ndarray) -> float:
    """With white, as WCAG defines it, from 1 to 21."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 1.05 / (linear @ (0.2126, 0.7152, 0.0722) + 0.05)


GROUPS = {
    "published": tuple(attribution.METHODS),
    "tried here": tuple(crosses.NEW),
    "controls": tuple(crosses.CONTROLS),
}


# those that the text speaks of, whose lines are the stronger ones
HIGHLIGHTED = (
    "random",
    "rectgrad",
    "saliency",
    "active",
    "positive",
    "deeplift",
    "integrated_gradients",
)


def ordered(summary: pd.DataFrame) -> list[str]:
    """All names: published, tried here, controls; within a group by the mean over families of
    their mean relative rank."""
    place = summary.assign(place=(summary["rank"] - 1) / (summary["of"] - 1).clip(lower=1))
    mean = (
        place.groupby(["name", "family"])["place"]
        .mean()
        .groupby("name")
        .mean()
        .sort_values(kind="stable")
    )
    return [n for group in GROUPS.values() for n in mean.index if n in group]
