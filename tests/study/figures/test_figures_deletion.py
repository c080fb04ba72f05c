"""Figures of chapters 0, 1, 2 and 5: what they draw is what their tables say."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from study import figures
from study.experiments.deletion import FILLS, MAPS, MATCHED, PRINTED_PAIRS, STRENGTHS
from study.experiments.deletion_tables import HELPING
from study.figures import labelled
from study.subjects import shapes10

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def closed():
    figures.style()
    yield
    plt.close("all")


def texts(figure) -> list[str]:
    return [t.get_text() for axis in figure.axes for t in axis.texts]


def small_enough(figure) -> None:
    """Drawn for 672 CSS pixels, with letters of at least 9 of them."""
    assert figure.get_figwidth() <= 7
    figure.canvas.draw()
    shown = [t for t in figure.findobj(plt.Text) if t.get_text().strip() and t.get_visible()]
    assert min(t.get_fontsize() for t in shown) >= 7


@pytest.mark.parametrize(
    "values, placed",
    [
        ([0.5], [0.5]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.95, 0.9], [0.975, 0.875]),
        ([1.2, 0.1, 1.2], [0.9, 0.1, 1.0]),
        ([-1.0, -1.0], [0.0, 0.1]),
    ],
)
def test_names_are_moved_apart_in_their_order(values, placed):
    assert labelled.spread(values, 0.1, 0, 1) == pytest.approx(placed)


def curve(ends: dict[str, float], x="fraction", value="allegiance"):
    rows = [
        {"map": m, "fill": f, x: at, value: v, "low": v - 0.01, "high": v + 0.01}
        for m, end in ends.items()
        for f in FILLS
        for at, v in ((0.0, 1.0), (0.9, end))
    ]
    return pd.DataFrame(rows)


ENDS = {name: k / 10 for k, name in enumerate((*MAPS, "edges", "random"))}


def test_curves_of_maps_and_controls_are_named_at_their_ends():
    figure = figures.control_curves({"first": curve(ENDS), "second": curve(ENDS)}, MATCHED)
    small_enough(figure)
    assert len(figure.axes) == 4 and not figure.legends
    left = figure.axes[0]
    names = ("Original", "Positive", "Active", "Random", "Edge detector")
    assert {t.get_text() for t in left.texts} == set(names) and len(left.lines) == 5
    drawn = {line.get_color(): line.get_ydata()[-1] for line in left.lines}
    for name in (*MATCHED["black"], "edges", "random"):
        assert drawn[figures.colour(name)] == pytest.approx(ENDS[name])
    assert left.get_title() == "first: black deletion"


def test_random_pixels_are_the_line_at_zero():
    rows = [
        {"subject": s, "map": m, "fill": f, "difference": d, "low": d - 0.1, "high": d + 0.1}
        for s, d in (("first", -0.3), ("second", 0.2))
        for f in FILLS
        for m in (*MATCHED[f], "edges")
    ]
    figure = figures.beside_random(pd.DataFrame(rows))
    small_enough(figure)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 6
    black = figure.axes[0]
    points = [c.lines[0].get_xdata() for c in black.containers]
    assert len(points) == 4 and all(np.allclose(p, [-0.3, 0.2]) for p in points)
    assert [t.get_text() for t in black.get_yticklabels()] == ["first", "second"]
    assert black.get_ylim()[0] > black.get_ylim()[1]  # the first network on top


def test_the_promise_is_drawn_for_the_helping_pairs():
    rows = [
        {"map": m, "fill": f, "strength": s, "logit": -s, "logit_low": -s, "logit_high": -s}
        for m in MAPS
        for f in FILLS
        for s in STRENGTHS
    ]
    figure = figures.promise({"net": pd.DataFrame(rows)}, HELPING)
    small_enough(figure)
    assert texts(figure) == ["Negative", "Inactive", "Positive", "Active"]
    assert figure.axes[0].get_title() == "net: towards black"


def test_frames_mark_what_has_changed():
    picture = torch.rand(3, 4, 4)
    rows = [
        {"map": m, "fill": f, "fraction": p, "picture": picture, "same": m == "original"}
        for m, f in PRINTED_PAIRS
        for p in (0.1, 0.9)
    ]
    figure = figures.at_work(pd.DataFrame(rows))
    small_enough(figure)
    shown = [axis for axis in figure.axes if axis.images]
    framed = [axis for axis in shown if axis.spines["left"].get_visible()]
    assert len(shown) == 12 and len(framed) == 8
    assert [a.get_title() for a in shown[:4]] == [
        "black, 10%",
        "black, 90%",
        "white, 10%",
        "white, 90%",
    ]


def test_upright_lines_stand_where_maps_run_out():
    kept = pd.DataFrame({"subject": "net", "map": MAPS, "mean": [1, 0.7, 0.6, 0.3, 0.2]})
    figure = figures.kept_panels({"net": curve(ENDS)}, kept, MATCHED)
    small_enough(figure)
    uprights = {
        line.get_color(): line.get_xdata()[0]
        for line in figure.axes[0].lines
        if len(set(line.get_xdata())) == 1
    }
    assert uprights == {figures.colour("positive"): 0.7, figures.colour("active"): 0.3}


def test_the_grey_of_zero_is_a_dot_in_its_range():
    table = pd.DataFrame({"subject": ["a", "b"], "p5": 0.4, "median": [0.5, 0.45], "p95": 0.6})
    figure = figures.zero_dots(table)
    small_enough(figure)
    bar, dot = figure.axes[0].lines[:2]
    assert list(bar.get_xdata()) == [0.4, 0.6] and list(dot.get_xdata()) == [0.5]


def test_gradients_keep_their_sign_and_their_own_scale():
    pictures = shapes10.draw("test", count=3)
    gradients = torch.zeros(3, 3, 32, 32)
    gradients[0, 1, 4, 4], gradients[0, 2, 5, 5] = 2.0, -1.0
    figure = figures.signed_rows([("net", pictures, gradients)] * 2)
    small_enough(figure)
    shown = figure.axes[1].images[0]
    data = shown.get_array()
    assert data[4, 4] == 1 and data[5, 5] == -0.5 and data[0, 0] == 0
    assert shown.get_clim()[0] == -shown.get_clim()[1]
    assert np.isfinite(figure.axes[3].images[0].get_array()).all()  # a gradient of zeros
    assert "share of the picture's largest" in figure.axes[-1].get_xlabel()


def test_the_strongest_channel_is_taken_with_its_sign():
    gradients = torch.tensor([[[[1.0]], [[-3.0]], [[2.0]]]])
    assert figures.sign.strongest(gradients).tolist() == [[[-3.0]]]


def accuracies(printed=(0.63, np.nan)):
    table = pd.DataFrame({"network": ["a", "b"], "test": [0.6, 0.7], "train": [0.9, np.nan]})
    return table.assign(low=table["test"] - 0.1, high=table["test"] + 0.1, printed=printed)


def test_accuracies_beside_print():
    figure = figures.accuracy_dots(accuracies())
    small_enough(figure)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 3
    lines = {line.get_label(): line.get_xdata() for line in figure.axes[0].lines}
    assert lines["printed, test"][0] == 0.63 and lines["trained on"][0] == 0.9
    (legend,) = figures.accuracy_dots(accuracies(np.nan)).legends
    assert len(legend.get_texts()) == 2


def test_one_picture_of_each_class():
    pictures = shapes10.draw("test", count=40)
    figure = figures.one_of_each({"shapes": pictures, "the same": pictures}, seed=1)
    small_enough(figure)
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 20
    chosen = (shown[3].images[0].get_array() == pictures.images.permute(0, 2, 3, 1).numpy()).all(
        axis=(1, 2, 3)
    )
    assert pictures.labels[int(chosen.argmax())] == 3 and chosen.any()


def test_learning_lines_end_in_their_names():
    card = {
        "epochs": [{"epoch": 1, "accuracy": 0.2}, {"epoch": 2, "accuracy": 0.9}],
        "test_accuracy": 0.5,
    }
    figure = figures.learning_lines({"first": {"a": card, "b": card}, "second": {"c": card}})
    small_enough(figure)
    assert [t.get_text() for t in figure.axes[0].texts] == ["a", "b"]
    assert figure.axes[0].lines[1].get_ydata() == [0.5]
    assert figure.axes[1].get_title() == "second"
