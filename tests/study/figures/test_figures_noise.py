"""study.figures: every figure draws its table without a warning, and what it shows is what it was given."""

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
    return [
        (p[:, 1].min(), p[:, 1].max())
        for c in axis.collections
        if isinstance(c, PolyCollection)
        for p in (c.get_paths()[0].vertices,)
    ]


def maps_of(count, size=8, seed=0):
    return torch.randn(count, size, size, generator=torch.Generator().manual_seed(seed))


PICTURES = torch.randint(256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(1)).to(
    torch.uint8
)


# ---- maps


def test_every_method_has_a_short_name_of_its_own():
    names = [short(m) for m in cleanliness.SHOWN]
    assert (
        len(set(names)) == len(names)
        and short("deeplift") == "DeepLIFT"
        and max(len(line) for name in names for line in name.split("\n")) <= 12
    )


def test_outliers_are_capped_at_half_a_percent_on_either_side():
    found = torch.arange(401.0).view(1, 401)[
        :, torch.randperm(401, generator=torch.Generator().manual_seed(0))
    ]
    clipped = pictures._clipped(found)
    assert (clipped.min(), clipped.max()) == (2, 398) and torch.equal(
        clipped[(found >= 2) & (found <= 398)], found.double()[(found >= 2) & (found <= 398)]
    )


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
    assert (
        image.get_clim() == pytest.approx((-reach, reach), abs=0.03)
        and image.get_cmap().name == "RdBu_r"
        and axis.get_title() == "name"
    )
    assert np.asarray(image.get_array()) == pytest.approx(pictures._clipped(found).numpy())


def test_map_grid():
    maps = {"Saliency": maps_of(3), "RectGrad": maps_of(3, seed=1)}
    axes = np.array(drawn(figures.map_grid(PICTURES, maps))).reshape(3, 3)
    assert [axis.get_title() for axis in axes[0]] == [
        "Picture",
        "Saliency",
        "RectGrad",
    ] and not any(axis.get_title() for axis in axes[1:].flat)
    for row in range(3):
        shown = [np.asarray(axis.get_images()[0].get_array()) for axis in axes[row]]
        assert np.array_equal(shown[0], PICTURES[row].permute(1, 2, 0).numpy())
        for values, found in zip(shown[1:], maps.values()):
            assert values == pytest.approx(pictures._clipped(found[row]).numpy())
    assert not any(axis.patches for axis in axes.flat) and not any(
        axis.get_ylabel() for axis in axes.flat
    )


def test_map_grid_with_names_squares_and_frames():
    axes = np.array(
        drawn(
            figures.map_grid(
                PICTURES, {"a": maps_of(3)}, ["x", "y", "z"], square=5, frames=[True, False, True]
            )
        )
    ).reshape(3, 2)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["x", "y", "z"]
    for axis in axes.flat:
        (square,) = (p for p in axis.patches if isinstance(p, Rectangle))
        assert (*square.get_xy(), square.get_width(), square.get_height()) == (
            -0.5,
            -0.5,
            5,
            5,
        ) and not square.get_fill()
    assert [axis.spines["top"].get_visible() for axis in axes[:, 0]] == [False, True, False]


def test_map_grid_of_one_picture():
    assert len(drawn(figures.map_grid(PICTURES[:1], {"a": maps_of(1), "b": maps_of(1)}))) == 3


def test_feature_maps():
    layers = [torch.rand(16, 8, 8), torch.rand(5, 4, 4)]
    figure = figures.feature_maps(PICTURES[0], maps_of(1)[0], layers, count=4)
    axes = drawn(figure)
    assert len(figure.axes) == 12 and len(axes) == 10  # the rest of the first row is empty
    assert [axis.get_title() for axis in axes[:2]] == ["Picture", "Saliency"] and [
        axes[k].get_ylabel() for k in (2, 6)
    ] == ["conv. 1", "conv. 2"]
    for layer, part in zip(layers, (axes[2:6], axes[6:])):
        places = [int(np.linspace(0, len(layer) - 1, 4)[k]) for k in range(4)]
        for axis, place in zip(part, places):
            assert (
                np.array_equal(np.asarray(axis.get_images()[0].get_array()), layer[place].numpy())
                and axis.get_images()[0].get_clim()[0] == 0
            )


def test_layerwise():
    rows = {
        "Saliency": [maps_of(1, s)[0] for s in (8, 8, 4)],
        "RectGrad": [maps_of(1, s, seed=2)[0] for s in (8, 8, 4)],
    }
    axes = np.array(
        drawn(figures.layerwise(PICTURES[0], rows, ["input", "conv. 1", "conv. 2"]))
    ).reshape(2, 4)
    assert [axis.get_title() for axis in axes[0]] == ["", "input", "conv. 1", "conv. 2"] and [
        axis.get_ylabel() for axis in axes[:, 0]
    ] == ["Saliency", "RectGrad"]
    for row, found in zip(axes, rows.values()):
        assert np.array_equal(
            np.asarray(row[0].get_images()[0].get_array()), PICTURES[0].permute(1, 2, 0).numpy()
        )
        for axis, one in zip(row[1:], found):
            assert np.asarray(axis.get_images()[0].get_array()) == pytest.approx(
                pictures._clipped(one).numpy()
            )


# ---- the hypothesis


def test_occlusion():
    rows = [
        {
            "layer": k,
            "region": r,
            "fraction": f,
            "margin": m - f * k,
            "low": m - f * k - 0.5,
            "high": m - f * k + 0.7,
            "released": m - f * k + 0.1,
        }
        for k in (1, 2, 3)
        for r, m in (("background", 4.0), ("object", 3.0))
        for f in (0, 0.5, 1)
    ]
    table = pd.DataFrame(
        rows
        + [
            {
                "layer": k,
                "region": "difference",
                "fraction": None,
                "margin": 9.0,
                "low": 8.0,
                "high": 10.0,
                "released": None,
            }
            for k in (1, 2, 3)
        ]
    )
    figure = figures.occlusion(table)
    axes = drawn(figure)
    assert [axis.get_title() for axis in axes] == [
        "convolution 1",
        "convolution 2",
        "convolution 3",
    ]
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
    assert (
        max(
            max(line.get_ydata())
            for axis in axes
            for line in axis.get_lines()
            if len(line.get_xdata())
        )
        < 5
    )  # the row "difference" is no curve


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
    assert [axis.get_title() for axis in axes] == ["one", "two"] and [
        text.get_text() for text in figure.legends[0].get_texts()
    ] == ["object", "background"]
    for axis, on in zip(axes, ([0.1, 0.2], [0.5, 0.5])):
        assert [sorted(p.get_height() for p in container) for container in axis.containers] == [
            pytest.approx(on),
            pytest.approx([0.2, 0.4]),
        ] and axis.get_legend() is None


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
    assert list(median.get_xdata()) == [0.01, 0.1, 0.2] and list(
        median.get_ydata()
    ) == pytest.approx([0.985, 0.85, 0.7])
    assert (
        bands(right) == [pytest.approx((0.55, 0.9925))]
        and right.get_xscale() == "log"
        and [t.get_text() for t in right.get_xticklabels()] == ["0.01", "0.1", "0.2"]
        and right.get_ylim()[0] == 0
    )


# ---- quantities


def amounts():
    """What `noise.amounts` returns, sums alone, with numbers that tell the rows apart."""
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
        title for t, title in zip(TREATMENTS, PANELS) if t in shown
    ] and all(axis.get_xlabel() == "sum of |map|" for axis in axes)
    assert [t.get_text() for t in axes[0].get_yticklabels()] == [
        short(m) for m in COMPARED
    ] and axes[0].yaxis_inverted()
    for axis, treatment in zip(axes, shown):
        part = table[table["treatment"] == treatment]
        boxes = [patch.get_path().vertices[:, 0] for patch in axis.patches]
        assert [(box.min(), box.max()) for box in boxes] == [
            pytest.approx(pair) for pair in zip(part["q25"], part["q75"])
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
    assert (
        [axis.get_title() for axis in axes] == PANELS
        and axes[0].yaxis_inverted()
        and [t.get_text() for t in axes[0].get_yticklabels()] == [short(m) for m in COMPARED]
    )
    for axis, treatment in zip(axes, TREATMENTS):
        part = amounts().query("treatment == @treatment")
        bars = [p for p in axis.patches if isinstance(p, Rectangle)]
        assert [p.get_width() for p in bars] == pytest.approx(part["mean"].tolist())
        assert [same_color(p.get_facecolor(), "#E69F00") for p in bars] == [True, True] + [
            False
        ] * 6
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
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "one",
        "two",
    ] and left.get_ylim() == (0, 1)


def test_growth():
    rows = [
        {"picture": n, "method": m, "layer": k, "ratio": base ** (2 - k) * (1 + n)}
        for m, base in (("saliency", 2.0), ("rectgrad", 0.5))
        for k in range(3)
        for n in range(3)
    ]
    axes = drawn(figures.growth({"one": pd.DataFrame(rows), "two": pd.DataFrame(rows)}))
    assert [axis.get_title() for axis in axes] == ["one", "two"]
    for axis in axes:
        assert lines(axis) == {
            "Saliency map": ([0, 1, 2], [8, 4, 2]),
            "RectGrad": ([0, 1, 2], [0.5, 1, 2]),
        }  # medians of (1, 2, 3) times the power
        assert (
            axis.get_yscale() == "log"
            and axis.xaxis_inverted()
            and bands(axis)[0] == pytest.approx((1.5, 10))
        )


@pytest.mark.parametrize("value", ["rank", "ssim"])
def test_sanity(value):
    methods = {"saliency": 0.2, "rectgrad": 0.9, "guided_backprop": 0.5, "rectgrad_prr": 0.8}
    table = pd.DataFrame(
        [
            {
                "method": m,
                "mode": mode,
                "layer": f"Linear {k}",
                "depth": k,
                "rank": v / k,
                "ssim": v / k - 0.1,
            }
            for m, v in methods.items()
            for mode in ("cascading", "independent")
            for k in (1, 2, 3)
        ]
    )
    table.loc[table["mode"] == "independent", ["rank", "ssim"]] += 0.05
    figure = figures.sanity(table, value, "what remains")
    axes = drawn(figure)
    assert [axis.get_title() for axis in axes] == ["cascading", "independent"] and axes[
        0
    ].get_ylabel() == "what remains"
    order = [
        "rectgrad",
        "rectgrad_prr",
        "guided_backprop",
        "saliency",
    ]  # by what remains once the output is gone
    for axis, shift in zip(axes, (0, 0.05)):
        assert list(lines(axis)) == [attribution.label(m) for m in order]
        for m in order:
            x, y = lines(axis)[attribution.label(m)]
            assert x == [1, 2, 3] and y == [
                methods[m] / k + shift - (0.1 if value == "ssim" else 0) for k in (1, 2, 3)
            ]
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
    assert [t.get_text() for t in axis.get_yticklabels()] == [
        "Saliency",
        "RectGrad",
        "DeepLIFT",
    ] and [t.get_text() for t in axis.get_legend().get_texts()] == ["changed", "unchanged"]
    assert list(table.columns) == [
        "picture",
        "method",
        "correlation",
        "changed",
    ]  # the table is the caller's
    medians = sorted(
        line.get_xdata()[0]
        for line in axis.get_lines()
        if len(line.get_xdata()) == 2
        and line.get_xdata()[0] == line.get_xdata()[1]
        and line.get_ydata()[0] != line.get_ydata()[1]
    )
    for k in range(3):
        assert any(x == pytest.approx(0.105 + 0.01 * k) for x in medians) and any(
            x == pytest.approx(0.904 + 0.01 * k) for x in medians
        )


def test_a_figure_can_be_signed():
    assert (
        "made · quick profile"
        in figures.signed(figures.totals(amounts(), "x"), "made", "quick").get_supxlabel()
    )


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
    drawn(figures.boxes(table, "x")), drawn(figures.totals(table, "x"))
    low, high = metrics.bootstrap(values)
    assert (
        row["mean_low"] == low
        and row["mean_high"] == high
        and set(REGIONS) == {"object", "background"}
    )


# ---- ROAR and KAR


def accuracies():
    rows = [
        {"method": "none", "mode": "none", "fraction": 0.0, "seed": s, "accuracy": 0.7 + s / 50}
        for s in (0, 1)
    ]
    return pd.DataFrame(
        rows
        + [
            {
                "method": m,
                "mode": mode,
                "fraction": f,
                "seed": s,
                "accuracy": level - f / 10 + s / 100,
            }
            for m, level in (("random", 0.6), ("rectgrad", 0.5))
            for mode in retraining.MODES
            for f in (0.1, 0.5)
            for s in (0, 1)
        ]
    )


def test_retraining():
    left, right = drawn(figures.retraining_curves(accuracies()))
    for axis in (left, right):
        found = lines(axis)
        assert (
            found["Random"] == ([0.1, 0.5], [0.595, 0.555])
            and found["RectGrad"] == ([0.1, 0.5], [0.495, 0.455])
            and found["nothing removed"][1] == [0.71, 0.71]
        )
        assert sorted(bands(axis)) == [
            (pytest.approx(0.45), pytest.approx(0.5)),
            (pytest.approx(0.55), pytest.approx(0.6)),
        ]
    assert "ROAR" in left.get_xlabel() and "KAR" in right.get_xlabel()


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
        warnings.simplefilter(
            "ignore", PendingDeprecationWarning
        )  # seaborn's heat map calls what matplotlib will drop
        axes = [axis for axis in drawn(figures.pairwise(table)) if axis.get_title()]
    assert [axis.get_title() for axis in axes] == ["ROAR", "KAR"]
    grid = axes[0].collections[0].get_array().reshape(3, 3)
    assert (
        grid[0, 1] == pytest.approx(2)
        and grid[1, 0] == pytest.approx(-2)
        and grid[2, 1] == pytest.approx(3)
        and grid.mask[0, 0]
    )
    names = [t.get_text() for t in axes[0].get_yticklabels()]
    assert names == ["Random", "Saliency", "RectGrad"]
    marked = {
        (int(t.get_position()[1]), int(t.get_position()[0])) for t in axes[0].texts if t.get_text()
    }
    assert marked == {(0, 1), (1, 0), (1, 2), (2, 1)}  # .03 and .003 after correction, not .09


def test_occluded_strip_removes_what_the_ranks_say():
    who = subject.subject("shapes10", "rectgrad_cnn", count=3)
    axes = np.array(drawn(figures.occluded_strip(who, ("random", "saliency"), (0.1, 0.5)))).reshape(
        4, 3
    )
    assert [axis.get_title() for axis in axes[0]] == ["Picture", "10%", "50%"] and axes[
        3, 0
    ].get_ylabel() == "Saliency map\nKAR"
    image = who.pictures.images[0].permute(1, 2, 0).numpy()
    places = retraining.ranks(who._replace(pictures=who.pictures.take(slice(0, 1))), "saliency")[
        0
    ].numpy()
    for row, first in ((2, True), (3, False)):
        for column, fraction in ((1, 0.1), (2, 0.5)):
            same = (axes[row, column].images[0].get_array() == image).all(2)
            gone = (places < round(1024 * fraction)) == first
            assert same[~gone].all() and same.mean() < (1 - fraction if first else fraction) + 0.02
            assert (
                axes[row, column].images[0].get_array()[gone]
                == who.pictures.images.double().mean((0, 2, 3)).to(torch.uint8).numpy()
            ).all()


def test_a_single_method_has_no_pairs_to_draw():
    with pytest.raises(ValueError, match="at least two"):
        figures.pairwise(
            retraining_tables.compared(
                pd.DataFrame(columns=["method", "mode", "fraction", "seed", "accuracy"])
            )
        )


def test_every_method_has_a_colour_of_its_own():
    names = [*METHODS, *crosses.CONTROLS]
    assert set(figures.METHOD_COLOURS) == set(names) and len(
        set(figures.METHOD_COLOURS.values())
    ) == len(names)
    assert figures.colour("thresholded:deeplift") == figures.colour("deeplift")


def test_copies_stand_where_they_repeat_the_explained_network():
    rows = [("none", "none", 0.0, 0.4, 0.9)] + [
        (m, mode, f, wrong + f / 10, 0.9 - f / 10)
        for m, wrong in (("random", 0.3), ("deeplift", 0.05))
        for mode in retraining.MODES
        for f in (0.1, 0.5)
    ]
    found = pd.DataFrame(
        [
            {
                "method": m,
                "mode": mode,
                "fraction": f,
                "seed": s,
                "where_wrong": w + s / 100,
                "where_right": r,
            }
            for m, mode, f, w, r in rows
            for s in (0, 2)
        ]
    )
    axes = drawn(figures.copied(found))
    for axis in axes:
        shown = {
            line.get_color(): (
                np.round(line.get_xdata(), 3).tolist(),
                np.round(line.get_ydata(), 3).tolist(),
            )
            for line in axis.lines
        }
        assert shown[figures.colour("deeplift")] == ([0.07, 0.11], [0.89, 0.85]) and shown[
            "#000000"
        ][0] == [0.32, 0.36]
        assert axis.collections[-1].get_offsets().round(3).tolist() == [[0.41, 0.9]]
    sizes = [axis.collections[0].get_sizes().tolist() for axis in axes]
    assert sizes[0][0] > sizes[0][1] and sizes[1][0] < sizes[1][1]  # the more is left, the larger
