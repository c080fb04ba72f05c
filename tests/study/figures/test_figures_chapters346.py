"""study.figures of chapters 3, 4 and 6: what is drawn is what was given, without a warning."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle

from study import figures
from study.figures.chapter03 import WIDTH

pytestmark = [pytest.mark.usefixtures("one_thread", "clean"), pytest.mark.filterwarnings("error")]

PICTURES = torch.randint(256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(1)).byte()


def drawn(figure):
    """The figure, rendered: no wider than the book's column, no text below 7 points."""
    figure.canvas.draw()
    assert figure.get_figwidth() <= WIDTH
    texts = figure.findobj(plt.Text)
    assert min(t.get_fontsize() for t in texts if t.get_text() and t.get_visible()) >= 7
    return figure


def places(axis):
    """(x, y) of single dots, those of a legend aside."""
    lines = [line for line in axis.get_lines() if len(line.get_xdata()) == 1]
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines]


def test_map_rows_have_symmetric_scales_and_one_bar():
    maps = {"one": torch.randn(2, 8, 8), "two": 5 + torch.randn(2, 8, 8)}
    figure = drawn(figures.map_rows(PICTURES, maps, ["ant", "a_long name of a class"], square=3))
    panels = figure.axes[:6]
    assert [axis.get_title() for axis in panels[:3]] == ["Picture", "one", "two"]
    for axis in (panels[1], panels[2], panels[4], panels[5]):
        low, high = axis.images[0].get_clim()
        assert low == -high < 0
        assert axis.images[0].get_cmap().name == "RdBu_r"
    assert all(any(isinstance(p, Rectangle) for p in axis.patches) for axis in panels)
    (bar,) = figure.axes[6:]
    assert [t.get_text() for t in bar.get_xticklabels()] == [
        "against the class",
        "0",
        "for the class",
    ]


def test_dots_of_brightness_stand_where_their_pictures_do():
    table = pd.DataFrame({"network": ["a", "a", "b"], "rate": [0.1, 0.4, 0.3]})
    table["brightness"] = [0.5, 2.0, 1.0]
    found = pd.DataFrame({"network": ["a", "b"], "correlation": [1.0, -0.25]})
    first, second = drawn(figures.firing_against_brightness(table, found)).axes
    assert first.collections[0].get_offsets().tolist() == [[0.1, 0.5], [0.4, 2.0]]
    assert second.collections[0].get_offsets().tolist() == [[0.3, 1.0]]
    assert "rank correlation -0.25" in second.get_title() and first.get_yscale() == "log"


def test_firing_differences_have_their_whiskers():
    rates = pd.DataFrame({"network": "a_1, pictures", "layer": [1, 2], "lift": [0.02, -0.04]})
    rates = rates.assign(lift_low=rates["lift"] - 0.01, lift_high=rates["lift"] + 0.02)
    (axis,) = drawn(figures.firing_differences(rates)).axes
    for (dot, _, (whiskers,)), lift, region in zip(
        axis.containers, (0.02, -0.04), ("object", "background"), strict=True
    ):
        assert list(dot.get_ydata()) == [lift] and same_color(
            dot.get_color(), figures.REGIONS[region]
        )
        assert whiskers.get_segments()[0][:, 1] == pytest.approx([lift - 0.01, lift + 0.02])


def test_redrawn_dots_put_the_most_unmoved_on_top():
    rows = [
        (m, "cascading", depth, rank)
        for m, ranks in {"saliency": (0.3, 0.1), "rectgrad": (0.8, 0.4)}.items()
        for depth, rank in zip((1, 5), ranks, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["method", "mode", "depth", "rank"])
    other = table.assign(mode="independent", rank=0.99)
    checked = pd.concat([table, other])
    checked = checked.assign(rank_low=checked["rank"] - 0.1, rank_high=checked["rank"] + 0.1)
    (axis,) = drawn(figures.redrawn_dots(checked)).axes
    assert [t.get_text() for t in axis.get_yticklabels()] == ["Saliency map", "RectGrad"]
    assert places(axis) == [(0.1, 0), (0.3, 0), (0.4, 1), (0.8, 1)]
    rings = [line.get_markerfacecolor() for line in axis.get_lines() if len(line.get_xdata()) == 1]
    assert [same_color(face, "white") for face in rings] == [True, False, True, False]


def test_growth_runs_towards_the_input_in_the_methods_colours():
    rows = [
        ("rectgrad", picture, layer, ratio * (1 + picture))
        for layer, ratio in ((0, 0.2), (1, 0.1), (2, 0.4))
        for picture in (0, 1, 2)
    ]
    grown = pd.DataFrame(rows, columns=["method", "picture", "layer", "ratio"])
    (axis,) = drawn(figures.growth_lines(grown)).axes
    line = axis.get_lines()[0]
    assert list(line.get_xdata()) == [0, 1, 2]
    assert list(line.get_ydata()) == pytest.approx([0.4, 0.2, 0.8])
    assert same_color(line.get_color(), figures.colour("rectgrad"))
    assert axis.get_xlim()[0] > axis.get_xlim()[1] and axis.texts[0].get_text() == "RectGrad"


def amounts(medians: dict, means: dict):
    rows = [
        (method, treatment, share, medians[method], means[method])
        for method in medians
        for treatment in ("none", "released", "matched")
        for share in (False, True)
    ]
    frame = pd.DataFrame(rows, columns=["method", "treatment", "share", "median", "mean"])
    frame.loc[~frame["share"], "mean"] = 99.0
    frame.loc[frame["treatment"] != "matched", "mean"] += 0.1
    ends = {"p5": frame["median"] / 9, "q25": frame["median"] / 2, "q75": frame["median"] * 2}
    spread = {"p95": frame["median"] * 9, "mean_low": frame["mean"] - 0.05}
    return frame.assign(**ends, **spread, mean_high=frame["mean"] + 0.05)


MEDIANS = {"rectgrad": 0.005, "saliency": 0.04, "edges": 0.0}
MEANS = {"rectgrad": 0.2, "saliency": 0.5, "edges": 0.4}


def test_background_dots_are_in_order_of_equal_sparsity_beside_an_even_map():
    (axis,) = drawn(figures.background_dots(amounts(MEDIANS, MEANS), 0.59)).axes
    names = [t.get_text() for t in axis.get_yticklabels()]
    assert names == ["Saliency map", "Edge detector", "RectGrad"]
    order = ("saliency", "edges", "rectgrad")
    expected = [
        (MEANS[method] + more, y + above)
        for more, above in ((0.1, 0.25), (0.1, -0.25), (0, 0))
        for y, method in enumerate(order)
    ]
    assert np.array(places(axis)) == pytest.approx(np.array(expected))
    assert any(list(line.get_xdata()) == [0.59, 0.59] for line in axis.get_lines())


def test_boxes_show_median_and_mean_and_keep_zeros_on_the_axis():
    figure = drawn(figures.spread_boxes(amounts(MEDIANS, MEANS), True, "share"))
    (axis,) = figure.axes
    names = [t.get_text() for t in axis.get_yticklabels()]
    assert names == ["Saliency map", "RectGrad", "Edge detector"] and axis.get_xscale() == "log"
    assert np.array(places(axis)) == pytest.approx(np.array([(0.5, 0), (0.2, 1), (0.4, 2)]))
    boxes = [(p.get_x(), p.get_x() + p.get_width()) for p in axis.patches]
    assert np.array(boxes[:2]) == pytest.approx(np.array([(0.02, 0.08), (0.0025, 0.01)]))
    assert min(line.get_xdata()[0] for line in axis.get_lines()) > 0
    written = [t.get_text() for t in axis.texts]
    assert written[:4] == ["median", "4.0%", "0.5%", "0.0%"] and "50.0%" in written
    assert len(drawn(figures.spread_boxes(amounts(MEDIANS, MEANS), False, "sum")).axes) == 1


def test_numbers_beside_boxes_do_not_touch():
    large = pd.DataFrame(amounts(MEDIANS, MEANS)).assign(median=0.0123, mean=0.0234)
    large.loc[large["method"] == "saliency", ["median", "mean"]] = [1364.2, 123456.7]
    (axis,) = drawn(figures.spread_boxes(large, False, "sum")).axes
    written = [t.get_text() for t in axis.texts]
    assert {"1,360", "123,000", "0.0123"} <= set(written)
    boxes = [t.get_window_extent() for t in axis.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
