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
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle

from lib import attribution, metrics
from lib.attribution import METHODS, crosses
from study import figures
from study.experiments import cleanliness, retraining, retraining_tables
from study.experiments.cleanliness import COMPARED, TREATMENTS
from study.figures import REGIONS, pictures, short
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
    clipped = pictures._clipped(values)
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
    assert np.asarray(image.get_array()) == pytest.approx(pictures._clipped(found).numpy())


def test_map_grid():
    maps = {"Saliency": maps_of(3), "RectGrad": maps_of(3, seed=1)}
    axes = np.array(drawn(figures.map_grid(PICTURES, maps))).reshape(3, 3)
    assert [axis.get_title() for axis in axes[0]] == ["Picture", "Saliency", "RectGrad"]
    assert not any(axis.get_title() for axis in axes[1:].flat)
    for row in range(3):
        shown = [np.asarray(axis.get_images()[0].get_array()) for axis in axes[row]]
        assert np.array_equal(shown[0], PICTURES[row].permute(1, 2, 0).numpy())
        for drawn_map, values in zip(shown[1:], maps.values(), strict=True):
            assert drawn_map == pytest.approx(pictures._clipped(values[row]).numpy())
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
    assert [axis.get_title() for axis in axes[:2]] == ["Picture", "Saliency"]
    assert [axes[k].get_ylabel() for k in (2, 6)] == ["conv. 1", "conv. 2"]
    for layer, part in zip(layers, (axes[2:6], axes[6:]), strict=True):
        places = [int(np.linspace(0, len(layer) - 1, 4)[k]) for k in range(4)]
        for axis, place in zip(part, places, strict=True):
            assert np.array_equal(
                np.asarray(axis.get_images()[0].get_array()), layer[place].numpy()
            )
            assert axis.get_images()[0].get_clim()[0] == 0


def test_layerwise():
    rows = {
        "Saliency": [maps_of(1, s)[0] for s in (8, 8, 4)],
        "RectGrad": [maps_of(1, s, seed=2)[0] for s in (8, 8, 4)],
    }
    axes = np.array(
        drawn(figures.layerwise(PICTURES[0], rows, ["input", "conv. 1", "conv. 2"]))
    ).reshape(2, 4)
    assert [axis.get_title() for axis in axes[0]] == ["", "input", "conv. 1", "conv. 2"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["Saliency", "RectGrad"]
    for row, maps in zip(axes, rows.values(), strict=True):
        assert np.array_equal(
            np.asarray(row[0].get_images()[0].get_array()), PICTURES[0].permute(1, 2, 0).numpy()
        )
        for axis, values in zip(row[1:], maps, strict=True):
            assert np.asarray(axis.get_images()[0].get_array()) == pytest.approx(
                pictures._clipped(values).numpy()
            )


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


def test_firing():
    table = pd.DataFrame(
        [
            {"picture": n, "layer": k, "object": 0.1 * k, "background": 0.2 * k, "lift": -0.1 * k}
            for n in range(6)
            for k in (1, 2)
        ]
    )
    figure = figures.firing({"one": table, "two": table.assign(object=0.5)})
    axes = drawn(figure)
    assert [axis.get_title() for axis in axes] == ["one", "two"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["object", "background"]
    for axis, on_object in zip(axes, ([0.1, 0.2], [0.5, 0.5]), strict=True):
        bars = [sorted(bar.get_height() for bar in container) for container in axis.containers]
        assert bars == [pytest.approx(on_object), pytest.approx([0.2, 0.4])]
        assert axis.get_legend() is None


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


@pytest.mark.parametrize("shown", [TREATMENTS, ("none", "matched"), ("matched",)])
def test_boxes(shown):
    table = amounts()
    table = table[table["treatment"].isin(shown)]
    axes = drawn(figures.boxes(table, "sum of |map|"))
    assert [axis.get_title() for axis in axes] == [
        title for t, title in zip(TREATMENTS, PANELS, strict=True) if t in shown
    ]
    assert all(axis.get_xlabel() == "sum of |map|" for axis in axes)
    assert [t.get_text() for t in axes[0].get_yticklabels()] == [short(m) for m in COMPARED]
    assert axes[0].yaxis_inverted()
    for axis, treatment in zip(axes, shown, strict=True):
        part = table[table["treatment"] == treatment]
        boxes = [patch.get_path().vertices[:, 0] for patch in axis.patches]
        assert [(box.min(), box.max()) for box in boxes] == [
            pytest.approx(pair) for pair in zip(part["q25"], part["q75"], strict=True)
        ]
        flat = [line for line in axis.get_lines() if line.get_marker() == "o"]
        assert [line.get_xdata()[0] for line in flat] == pytest.approx(part["mean"].tolist())
        medians = [
            line.get_xdata()[0]
            for line in axis.get_lines()
            if same_color(line.get_color(), "#D55E00")
        ]
        assert medians == pytest.approx(part["median"].tolist())
        ends = {round(x, 6) for line in axis.get_lines() for x in line.get_xdata()}
        assert {round(x, 6) for x in (*part["p5"], *part["p95"])} <= ends


def test_totals():
    axes = drawn(figures.totals(amounts(), "sum off the object"))
    assert [axis.get_title() for axis in axes] == PANELS
    assert axes[0].yaxis_inverted()
    assert [t.get_text() for t in axes[0].get_yticklabels()] == [short(m) for m in COMPARED]
    for axis, treatment in zip(axes, TREATMENTS, strict=True):
        table = amounts()
        part = table[table["treatment"] == treatment]
        bars = [p for p in axis.patches if isinstance(p, Rectangle)]
        assert [p.get_width() for p in bars] == pytest.approx(part["mean"].tolist())
        orange = [same_color(p.get_facecolor(), "#E69F00") for p in bars]
        assert orange == [True, True] + [False] * 6
        (whiskers,) = (c for c in axis.collections)
        assert [s[:, 0].tolist() for s in whiskers.get_segments()] == [
            pytest.approx(pair) for pair in part[["mean_low", "mean_high"]].values.tolist()
        ]


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


def test_growth():
    rows = []
    for method, base in (("saliency", 2.0), ("rectgrad", 0.5)):
        for k in range(3):
            for n in range(3):
                ratio = base ** (2 - k) * (1 + n)
                rows.append({"picture": n, "method": method, "layer": k, "ratio": ratio})
    axes = drawn(figures.growth({"one": pd.DataFrame(rows), "two": pd.DataFrame(rows)}))
    assert [axis.get_title() for axis in axes] == ["one", "two"]
    for axis in axes:
        assert lines(axis) == {
            "Saliency map": ([0, 1, 2], [8, 4, 2]),
            "RectGrad": ([0, 1, 2], [0.5, 1, 2]),
        }  # medians of (1, 2, 3) times the power
        assert axis.get_yscale() == "log"
        assert axis.xaxis_inverted()
        assert bands(axis)[0] == pytest.approx((1.5, 10))


@pytest.mark.parametrize("value", ["rank", "ssim"])
def test_sanity(value):
    methods = {"saliency": 0.2, "rectgrad": 0.9, "guided_backprop": 0.5, "rectgrad_prr": 0.8}
    rows = []
    for method, top in methods.items():
        for mode in ("cascading", "independent"):
            for k in (1, 2, 3):
                rows.append([method, mode, f"Linear {k}", k, top / k, top / k - 0.1])
    table = pd.DataFrame(rows, columns=["method", "mode", "layer", "depth", "rank", "ssim"])
    table.loc[table["mode"] == "independent", ["rank", "ssim"]] += 0.05
    figure = figures.sanity(table, value, "what remains")
    axes = drawn(figure)
    assert [axis.get_title() for axis in axes] == ["cascading", "independent"]
    assert axes[0].get_ylabel() == "what remains"
    # by what remains once the output is gone
    order = ["rectgrad", "rectgrad_prr", "guided_backprop", "saliency"]
    lower = 0.1 if value == "ssim" else 0
    for axis, shift in zip(axes, (0, 0.05), strict=True):
        assert list(lines(axis)) == [attribution.label(m) for m in order]
        for m in order:
            x, y = lines(axis)[attribution.label(m)]
            assert x == [1, 2, 3]
            assert y == [methods[m] / k + shift - lower for k in (1, 2, 3)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        attribution.label(m) for m in order
    ]


def test_sensitivity():
    table = pd.DataFrame(
        [
            {
                "picture": n,
                "method": m,
                "correlation": (0.1 if n % 2 else 0.9) + 0.01 * k + 0.001 * n,
                "changed": bool(n % 2),
            }
            for k, m in enumerate(("saliency", "rectgrad", "deeplift"))
            for n in range(10)
        ]
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "vert: bool was deprecated")  # seaborn's own call
        (axis,) = drawn(figures.sensitivity(table))
    assert [t.get_text() for t in axis.get_yticklabels()] == ["Saliency", "RectGrad", "DeepLIFT"]
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["changed", "unchanged"]
    # the table is the caller's
    assert list(table.columns) == ["picture", "method", "correlation", "changed"]
    medians = sorted(
        line.get_xdata()[0]
        for line in axis.get_lines()
        if len(line.get_xdata()) == 2
        and line.get_xdata()[0] == line.get_xdata()[1]
        and line.get_ydata()[0] != line.get_ydata()[1]
    )
    for k in range(3):
        assert any(x == pytest.approx(0.105 + 0.01 * k) for x in medians)
        assert any(x == pytest.approx(0.904 + 0.01 * k) for x in medians)


def test_a_figure_can_be_signed():
    signed = figures.signed(figures.totals(amounts(), "x"), "made", "quick")
    assert "made · quick profile" in signed.get_supxlabel()


def test_what_experiments_return_can_be_drawn():
    """The real tables have the columns that the figures read."""
    values = torch.rand(9, generator=torch.Generator().manual_seed(0))
    row = cleanliness.spread(values)
    table = pd.DataFrame(
        [
            {"method": m, "treatment": t, "share": False, "kept": 0.5, **row}
            for t in TREATMENTS
            for m in COMPARED
        ]
    )
    drawn(figures.boxes(table, "x"))
    drawn(figures.totals(table, "x"))
    low, high = metrics.bootstrap(values)
    assert row["mean_low"] == low
    assert row["mean_high"] == high
    assert set(REGIONS) == {"object", "background"}


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


def test_retraining():
    left, right = drawn(figures.retraining_curves(accuracies()))
    for axis in (left, right):
        found = lines(axis)
        assert found["Random"] == ([0.1, 0.5], [0.595, 0.555])
        assert found["RectGrad"] == ([0.1, 0.5], [0.495, 0.455])
        assert found["nothing removed"][1] == [0.71, 0.71]
        assert sorted(bands(axis)) == [
            (pytest.approx(0.45), pytest.approx(0.5)),
            (pytest.approx(0.55), pytest.approx(0.6)),
        ]
    assert "ROAR" in left.get_xlabel()
    assert "KAR" in right.get_xlabel()


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
    assert names == ["Random", "Saliency", "RectGrad"]
    marked = {
        (int(t.get_position()[1]), int(t.get_position()[0])) for t in axes[0].texts if t.get_text()
    }
    assert marked == {(0, 1), (1, 0), (1, 2), (2, 1)}  # .03 and .003 after correction, not .09


def test_occluded_strip_removes_what_the_ranks_say():
    who = subject.subject("shapes10", "rectgrad_cnn", count=3)
    figure = figures.occluded_strip(who, ("random", "saliency"), (0.1, 0.5))
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


def test_every_method_has_a_colour_of_its_own():
    names = [*METHODS, *crosses.CONTROLS]
    assert set(figures.METHOD_COLOURS) == set(names)
    assert len(set(figures.METHOD_COLOURS.values())) == len(names)
    assert figures.colour("thresholded:deeplift") == figures.colour("deeplift")


def test_copies_stand_where_they_repeat_the_explained_network():
    means = [("none", "none", 0.0, 0.4, 0.9)]
    for method, wrong in (("random", 0.3), ("deeplift", 0.05)):
        for mode in retraining.MODES:
            for f in (0.1, 0.5):
                means.append((method, mode, f, wrong + f / 10, 0.9 - f / 10))
    rows = [
        (method, mode, f, s, wrong + s / 100, right)
        for method, mode, f, wrong, right in means
        for s in (0, 2)
    ]
    columns = ["method", "mode", "fraction", "seed", "where_wrong", "where_right"]
    axes = drawn(figures.copied(pd.DataFrame(rows, columns=columns)))
    for axis in axes:
        shown = {}
        for line in axis.lines:
            across, up = np.round(line.get_xdata(), 3), np.round(line.get_ydata(), 3)
            shown[line.get_color()] = (across.tolist(), up.tolist())
        assert shown[figures.colour("deeplift")] == ([0.07, 0.11], [0.89, 0.85])
        assert shown["#000000"][0] == [0.32, 0.36]
        assert axis.collections[-1].get_offsets().round(3).tolist() == [[0.41, 0.9]]
    sizes = [axis.collections[0].get_sizes().tolist() for axis in axes]
    assert sizes[0][0] > sizes[0][1]
    assert sizes[1][0] < sizes[1][1]  # the more is left, the larger
