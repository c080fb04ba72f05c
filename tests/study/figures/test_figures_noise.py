"""study.figures: every figure draws its table without a warning, and what it shows is what it was
given."""

from __future__ import annotations

import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from skimage.color import deltaE_ciede2000, rgb2lab

from book import drawings
from lib.attribution import METHODS, crosses
from study import figures
from study.experiments import cleanliness, retraining, retraining_tables
from study.experiments.cleanliness import COMPARED, TREATMENTS
from study.figures import pictures, short
from study.figures.style import ink
from study.subjects import subject

pytestmark = [pytest.mark.usefixtures("one_thread", "clean"), pytest.mark.filterwarnings("error")]

PANELS = ["as they are", "released thresholds", "equal sparsity"]


def drawn(figure):
    """The figure's axes that show something, after it was rendered."""
    assert isinstance(figure, matplotlib.figure.Figure)
    figure.canvas.draw()
    return [axis for axis in figure.axes if axis.axison]


def lines(axis):
    """Label -> (x, y) of the lines that have a label of their own."""
    return {
        line.get_label(): (list(line.get_xdata()), pytest.approx(list(line.get_ydata())))
        for line in axis.get_lines()
        if not line.get_label().startswith("_") and len(line.get_xdata())
    }


def bands(axis):
    """(lowest, highest) of each shaded band."""
    areas = [c for c in axis.collections if isinstance(c, PolyCollection)]
    heights = [area.get_paths()[0].vertices[:, 1] for area in areas]
    return [(y.min(), y.max()) for y in heights]


def maps_of(count, size=8, seed=0):
    return torch.randn(count, size, size, generator=torch.Generator().manual_seed(seed))


GENERATOR = torch.Generator().manual_seed(1)
PICTURES = torch.randint(256, (3, 3, 8, 8), generator=GENERATOR).to(torch.uint8)


# ---- maps


def test_every_method_has_a_short_name_of_its_own():
    names = [short(m) for m in cleanliness.SHOWN]
    assert len(set(names)) == len(names)
    assert short("deeplift") == "DeepLIFT"
    assert max(len(line) for name in names for line in name.split("\n")) <= 12


def test_outliers_are_capped_at_half_a_percent_on_either_side():
    order = torch.randperm(401, generator=torch.Generator().manual_seed(0))
    values = torch.arange(401.0).view(1, 401)[:, order]
    clipped = pictures.clipped(values)
    assert (clipped.min(), clipped.max()) == (2, 398)
    inside = (values >= 2) & (values <= 398)
    assert torch.equal(clipped[inside], values.double()[inside])


@pytest.mark.parametrize(
    "found, reach",
    [
        (torch.tensor([[1.0, -3], [0, 2]]), 2.97),
        (torch.zeros(2, 2), 1.0),
        (torch.full((2, 2), -5.0), 5.0),
    ],
)
def test_a_map_is_white_at_zero(found, reach):
    _, axis = plt.subplots()
    figures.draw_map(axis, found, "name")
    (image,) = axis.get_images()
    assert image.get_clim() == pytest.approx((-reach, reach), abs=0.03)
    assert image.get_cmap().name == "RdBu_r"
    assert axis.get_title() == "name"
    assert np.asarray(image.get_array()) == pytest.approx(pictures.clipped(found).numpy())


def test_map_grid():
    maps = {"Saliency": maps_of(3), "RectGrad": maps_of(3, seed=1)}
    axes = np.array(drawn(figures.map_grid(PICTURES, maps))).reshape(3, 3)
    assert [axis.get_title() for axis in axes[0]] == ["Picture", "Saliency", "RectGrad"]
    assert not any(axis.get_title() for axis in axes[1:].flat)
    for row in range(3):
        shown = [np.asarray(axis.get_images()[0].get_array()) for axis in axes[row]]
        assert np.array_equal(shown[0], PICTURES[row].permute(1, 2, 0).numpy())
        for drawn_map, values in zip(shown[1:], maps.values(), strict=True):
            assert drawn_map == pytest.approx(pictures.clipped(values[row]).numpy())
    assert not any(axis.patches for axis in axes.flat)
    assert not any(axis.get_ylabel() for axis in axes.flat)


def test_map_grid_with_names_squares_and_frames():
    figure = figures.map_grid(
        PICTURES, {"a": maps_of(3)}, ["x", "y", "z"], square=5, frames=[True, False, True]
    )
    axes = np.array(drawn(figure)).reshape(3, 2)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["x", "y", "z"]
    for axis in axes.flat:
        (square,) = (p for p in axis.patches if isinstance(p, Rectangle))
        assert square.get_xy() == (-0.5, -0.5)
        assert (square.get_width(), square.get_height()) == (5, 5)
        assert not square.get_fill()
    assert [axis.spines["top"].get_visible() for axis in axes[:, 0]] == [False, True, False]


def test_map_grid_of_one_picture():
    assert len(drawn(figures.map_grid(PICTURES[:1], {"a": maps_of(1), "b": maps_of(1)}))) == 3


def test_feature_maps():
    layers = [torch.rand(16, 8, 8), torch.rand(5, 4, 4)]
    figure = figures.feature_maps(PICTURES[0], maps_of(1)[0], layers, count=4)
    axes = drawn(figure)
    assert len(figure.axes) == 12
    assert len(axes) == 10  # the rest of the first row is empty
    assert [axis.get_title() for axis in axes[:2]] == ["Picture", "Saliency map"]
    assert [axes[k].get_ylabel() for k in (2, 6)] == ["conv. 1", "conv. 2"]
    for layer, part in zip(layers, (axes[2:6], axes[6:]), strict=True):
        places = [int(np.linspace(0, len(layer) - 1, 4)[k]) for k in range(4)]
        for axis, place in zip(part, places, strict=True):
            assert np.array_equal(
                np.asarray(axis.get_images()[0].get_array()), layer[place].numpy()
            )
            assert axis.get_images()[0].get_clim()[0] == 0


# ---- the hypothesis


def test_occlusion():
    columns = ["layer", "region", "fraction", "margin", "low", "high", "released"]
    rows = []
    for k in (1, 2, 3):
        for region, intact in (("background", 4.0), ("object", 3.0)):
            for fraction in (0, 0.5, 1):
                y = intact - fraction * k
                rows.append([k, region, fraction, y, y - 0.5, y + 0.7, y + 0.1])
    rows += [[k, "difference", None, 9.0, 8.0, 10.0, None] for k in (1, 2, 3)]
    figure = figures.occlusion(pd.DataFrame(rows, columns=columns))
    axes = drawn(figure)
    assert [axis.get_title() for axis in axes] == [f"convolution {k}" for k in (1, 2, 3)]
    for k, axis in enumerate(axes, 1):
        assert lines(axis) == {
            "object": ([0, 0.5, 1], [3, 3 - 0.5 * k, 3 - k]),
            "background": ([0, 0.5, 1], [4, 4 - 0.5 * k, 4 - k]),
        }
        assert bands(axis) == [pytest.approx((3 - k - 0.5, 3.7)), pytest.approx((4 - k - 0.5, 4.7))]
        dotted = [
            list(line.get_ydata())
            for line in axis.get_lines()
            if line.get_label().startswith("_") and len(line.get_xdata()) == 3
        ]
        assert dotted == [
            pytest.approx([3.1, 3.1 - 0.5 * k, 3.1 - k]),
            pytest.approx([4.1, 4.1 - 0.5 * k, 4.1 - k]),
        ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "object",
        "background",
        "logits averaged first",
    ]
    curves = [line for axis in axes for line in axis.get_lines() if len(line.get_xdata())]
    assert max(max(line.get_ydata()) for line in curves) < 5  # the row "difference" is no curve


def test_rivals():
    path = pd.DataFrame(
        [
            {
                "picture": n,
                "position": k / 4,
                "score": r * (k / 4) ** 0.5,
                "slope": r * (1 - k / 4),
                "rise": r,
            }
            for n, r in enumerate((2.0, 4.0, 8.0, -1.0))
            for k in range(5)
        ]
    )
    turns = pd.DataFrame(
        [
            {"picture": n, "level": level, "cosine": 1 - level * n, "same": True}
            for n in range(4)
            for level in (0.01, 0.1, 0.2)
        ]
    )
    left, right = drawn(figures.rivals(path, turns))
    assert (left.get_title(), right.get_title()) == ("saturation", "discontinuity")
    assert lines(left) == {
        "score": ([0, 0.25, 0.5, 0.75, 1], list(np.arange(0, 1.1, 0.25) ** 0.5)),
        "slope": ([0, 0.25, 0.5, 0.75, 1], [1, 0.75, 0.5, 0.25, 0]),
    }  # a fall has no share of its rise
    (median,) = (line for line in right.get_lines())
    assert list(median.get_xdata()) == [0.01, 0.1, 0.2]
    assert list(median.get_ydata()) == pytest.approx([0.985, 0.85, 0.7])
    assert bands(right) == [pytest.approx((0.55, 0.9925))]
    assert right.get_xscale() == "log"
    assert [t.get_text() for t in right.get_xticklabels()] == ["0.01", "0.1", "0.2"]
    assert right.get_ylim()[0] == 0


# ---- quantities


def amounts():
    """What `cleanliness.amounts` returns, sums alone, with numbers that tell the rows apart."""
    rows = []
    for t, treatment in enumerate(TREATMENTS):
        for m, method in enumerate(COMPARED):
            x = 1 + m + 10 * t
            rows.append(
                {
                    "method": method,
                    "treatment": treatment,
                    "share": False,
                    "kept": 0.1,
                    "median": x,
                    "low": x - 0.1,
                    "high": x + 0.1,
                    "mean": x + 0.2,
                    "mean_low": x + 0.1,
                    "mean_high": x + 0.4,
                    "p5": x - 0.8,
                    "q25": x - 0.5,
                    "q75": x + 0.5,
                    "p95": x + 0.9,
                    "n": 9,
                }
            )
    return pd.DataFrame(rows)


# ---- thresholds, layers, classes


def test_mechanism():
    table = pd.DataFrame(
        [
            {
                "layer": k,
                "q": q,
                "zero": 0.99,
                "silent": 0.1 * k,
                "tau": 0.0,
                "positive": (q >= 50 * k) * 1.0,
            }
            for k in (1, 2)
            for q in (0, 60, 98)
        ]
    )
    figure = figures.mechanism({"one": table, "two": table.assign(silent=0.5)})
    left, right = drawn(figure)
    assert lines(left) == {"one": ([1, 2], [0.1, 0.2]), "two": ([1, 2], [0.5, 0.5])}
    assert lines(right) == {name: ([0, 60, 98], [0, 0.5, 0.5]) for name in ("one", "two")}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert left.get_ylim() == (0, 1)


# ---- ROAR and KAR


def accuracies():
    """What `retraining.tidy` returns, with numbers that tell the methods apart."""
    rows = [["none", "none", 0.0, s, 0.7 + s / 50] for s in (0, 1)]
    for method, level in (("random", 0.6), ("rectgrad", 0.5)):
        for mode in retraining.MODES:
            for fraction in (0.1, 0.5):
                for s in (0, 1):
                    rows.append([method, mode, fraction, s, level - fraction / 10 + s / 100])
    return pd.DataFrame(rows, columns=["method", "mode", "fraction", "seed", "accuracy"])


def test_pairwise_marks_what_is_significant_after_correction():
    table = pd.DataFrame(
        [
            {
                "mode": mode,
                "first": a,
                "second": b,
                "n": 10,
                "difference": d,
                "p": p,
                "p_corrected": 3 * p,
            }
            for mode in retraining.MODES
            for a, b, d, p in (
                ("random", "saliency", 0.02, 0.01),
                ("random", "rectgrad", -0.01, 0.03),
                ("saliency", "rectgrad", -0.03, 0.001),
            )
        ]
    )
    with warnings.catch_warnings():
        # seaborn's heat map calls what matplotlib will drop
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        axes = [axis for axis in drawn(figures.pairwise(table)) if axis.get_title()]
    assert [axis.get_title() for axis in axes] == ["ROAR", "KAR"]
    grid = axes[0].collections[0].get_array().reshape(3, 3)
    assert grid[0, 1] == pytest.approx(2)
    assert grid[1, 0] == pytest.approx(-2)
    assert grid[2, 1] == pytest.approx(3)
    assert grid.mask[0, 0]
    names = [t.get_text() for t in axes[0].get_yticklabels()]
    assert names == ["Random", "Saliency map", "RectGrad"]
    marked = {
        (int(t.get_position()[1]), int(t.get_position()[0])) for t in axes[0].texts if t.get_text()
    }
    assert marked == {(0, 1), (1, 0), (1, 2), (2, 1)}  # .03 and .003 after correction, not .09


def test_what_is_left_to_see_lacks_what_the_ranks_say():
    who = subject.subject("shapes10", "rectgrad_cnn", count=3)
    left = retraining_tables.left_to_see(who, ("random", "saliency"), (0.1, 0.5))
    figure = figures.left_to_see(who.pictures.images[0], left)
    axes = np.array(drawn(figure)).reshape(4, 3)
    assert [axis.get_title() for axis in axes[0]] == ["Picture", "10%", "50%"]
    assert axes[3, 0].get_ylabel() == "Saliency map\nKAR"
    image = who.pictures.images[0].permute(1, 2, 0).numpy()
    mean = who.pictures.images.double().mean((0, 2, 3)).to(torch.uint8).numpy()
    first_alone = who._replace(pictures=who.pictures.take(slice(0, 1)))
    places = retraining.ranks(first_alone, "saliency")[0].numpy()
    for row, first in ((2, True), (3, False)):
        for column, fraction in ((1, 0.1), (2, 0.5)):
            left = axes[row, column].images[0].get_array()
            same = (left == image).all(2)
            gone = (places < round(1024 * fraction)) == first
            assert same[~gone].all()
            assert same.mean() < (1 - fraction if first else fraction) + 0.02
            assert (left[gone] == mean).all()


def test_a_single_method_has_no_pairs_to_draw():
    nothing = pd.DataFrame(columns=["method", "mode", "fraction", "seed", "accuracy"])
    pairs = retraining_tables.compared(nothing)
    with pytest.raises(ValueError, match="at least two"):
        figures.pairwise(pairs)


@pytest.mark.parametrize("shown", [str.lower, lambda c: drawings.on_dark(c.lower())])
def test_every_method_has_a_colour_of_its_own_on_either_theme(shown):
    names = [*METHODS, *crosses.CONTROLS]
    assert set(figures.COLOURS) == {*names, "original"}
    assert figures.colour("original") == figures.colour("saliency")
    assert figures.colour("thresholded:deeplift") == figures.colour("deeplift")
    lab = rgb2lab([to_rgb(shown(figures.colour(name))) for name in names])
    apart = deltaE_ciede2000(lab[:, None], lab[None])
    assert apart[np.triu_indices(len(names), 1)].min() > 15  # of 100, black to white


@pytest.mark.parametrize("name", figures.COLOURS)
def test_the_name_of_a_line_can_be_read_and_has_its_hue(name):
    shade, letters = (to_rgb(c) for c in (figures.COLOURS[name], ink(figures.COLOURS[name])))
    assert drawings.contrast(*(tuple(255 * c for c in rgb) for rgb in (letters, (1, 1, 1)))) >= 4.5
    assert np.cross(shade, letters) == pytest.approx(0, abs=0.01)  # darker alone
