"""study.figures of chapters 7 to 9: figures draw their tables without a warning, fit a page, and
show what they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import same_color

from lib.attribution.crosses import label
from study import figures
from study.account.summaries import ladder
from study.experiments import ranking, retraining_tables
from study.figures.labelled import spread
from study.subjects import shapes10
from study.subjects.subject import Subject

pytestmark = [
    pytest.mark.usefixtures("one_thread", "clean"),
    pytest.mark.filterwarnings("error"),
    # its heat map calls what matplotlib will drop
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:seaborn"),
]

NAMES = ["random", "rectgrad", "saliency", "deeplift", "rectgrad_prr"]
CSS = 96  # pixels an inch
SMALLEST = 7  # points: nine pixels


def axes_of(figure):
    """Its axes after it was drawn: no wider than a page, no letter too small to read."""
    figure.canvas.draw()
    assert figure.get_figwidth() * CSS <= 672
    for axis in figure.axes:
        shown = [axis.title, axis.xaxis.label, *axis.get_xticklabels(), *axis.get_yticklabels()]
        for text in (*shown, *axis.texts):
            assert text.get_fontsize() >= SMALLEST or not text.get_text(), text
    return figure.axes


def differences(names=tuple(NAMES), half=0.01):
    rows = [
        (m, mode, 0.1 * k * (1 if mode == "roar" else -1))
        for mode in ("roar", "kar")
        for k, m in enumerate(names)
    ]
    table = pd.DataFrame(rows, columns=["method", "mode", "difference"])
    return table.assign(low=table["difference"] - half, high=table["difference"] + half, seeds=2)


@pytest.mark.parametrize("half", [0.01, np.nan])
def test_differences_from_random_best_above(half):
    roar, kar = axes_of(figures.retraining_differences(differences(half=half)))
    shown = [t.get_text() for t in roar.get_yticklabels()]
    assert shown == [label(m) for m in NAMES[1:]]  # random is the line at zero
    assert roar.get_ylim()[0] > roar.get_ylim()[1]
    dots = [line.get_xdata()[0] for line in kar.lines if line.get_marker() == "o"]
    assert dots == pytest.approx([-0.1, -0.2, -0.3, -0.4])


def retrainings():
    rows = [("none", "none", 0.0, 1, 0.9)]
    for k, m in enumerate(NAMES):
        for mode in ("roar", "kar"):
            rows += [(m, mode, f, s, 0.1 * k + f / 10 + s / 50) for f in (0.2, 0.8) for s in (1, 2)]
    return pd.DataFrame(rows, columns=["method", "mode", "fraction", "seed", "accuracy"])


def test_curves_are_named_at_their_ends():
    for axis in axes_of(figures.retraining_lines(retrainings())):
        assert {t.get_text() for t in axis.texts} == {label(m) for m in NAMES}
        heights = [line.get_ydata()[-1] for line in axis.lines[: len(NAMES)]]
        assert heights == pytest.approx([0.1 * k + 0.08 + 0.03 for k in range(len(NAMES))])
        assert [line.get_linestyle() for line in axis.lines[:2]] == ["--", "-"]
        assert axis.lines[-1].get_ydata()[0] == 0.9  # whole pictures


def test_names_are_spread_no_more_than_they_must():
    assert spread([0, 5], 1, -9, 9) == [0, 5]
    placed = spread([0, 0, 0, 9], 1, -9, 9)
    assert np.diff(placed).min() >= 1 - 1e-6 and np.mean(placed[:3]) == pytest.approx(0)
    for heights, at in (([8, 9, 9], [7, 8, 9]), ([0, 0, 5], [0, 1, 5])):
        assert spread(heights, 1, 0, 9) == pytest.approx(at)


def test_a_dot_where_it_is_right_and_a_ring_where_it_is_wrong():
    rows = [("none", "none", 0.0, "right", 0.9), ("none", "none", 0.0, "wrong", 0.4)]
    for mode, f in (("roar", 0.8), ("kar", 0.2)):
        rows += [("saliency", mode, f, "right", 0.6), ("saliency", mode, f, "wrong", 0.3)]
        rows += [("deeplift", mode, f, "right", 0.95), ("deeplift", mode, f, "wrong", 0.05)]
    least = pd.DataFrame(rows, columns=["method", "mode", "fraction", "side", "accuracy"])
    roar, kar = axes_of(figures.repeated(least, 10))
    assert [t.get_text() for t in roar.get_yticklabels()] == [
        "Whole pictures",
        "DeepLIFT",  # most of a gap
        "Saliency map",
    ]
    assert kar.get_title() == "KAR, 20% kept" and roar.get_title() == "ROAR, 80% removed"
    dots = {tuple(c.get_offsets()[0].tolist()): c.get_facecolor()[0] for c in kar.collections}
    assert same_color(dots[0.05, 1.0], "white") and not same_color(dots[0.95, 1.0], "white")


def test_what_is_left_to_see_shows_rectgrad_first(monkeypatch):
    drawn = shapes10.draw("train", count=12)
    ranks = torch.arange(32 * 32).view(1, 32, 32).to(torch.uint16)
    monkeypatch.setattr(retraining_tables, "ranks", lambda who, method: ranks)
    training = Subject(None, drawn, "rectgrad_cnn", "shapes10")
    methods = ["random", "saliency", "deeplift", "rectgrad"]
    left = retraining_tables.left_to_see(training, methods, [0.5])
    figure = figures.left_to_see(drawn.images[0], left)
    names = [axis.get_ylabel() for axis in axes_of(figure) if axis.get_ylabel()]
    assert names[0] == "Random\nROAR" and names[2] == "RectGrad\nROAR" and len(names) == 6


def flat(values):
    return {n: torch.full((1, 6), float(v), dtype=torch.float64) for n, v in values.items()}


NUMBERS = {
    m: flat({n: (k + shift) % 5 for k, n in enumerate(NAMES)})
    for shift, m in enumerate(("black_deletion", "black_insertion", "outside", "roar"))
}


def test_places_are_written_in_their_cells():
    summary = ranking.summary(NUMBERS, resamples=5)
    axis = axes_of(figures.place_table(summary))[0]
    columns = ["black_deletion", "black_insertion", "outside", "roar"]
    order = [t.get_text() for t in axis.get_yticklabels()]
    assert order[-1] == "Random" and set(order) == {label(n) for n in NAMES}
    written = {t.get_position(): t.get_text() for t in axis.texts}
    for r in summary.itertuples():
        place = (columns.index(r.metric) + 0.5, order.index(label(r.name)) + 0.5)
        assert written[place] == f"{r.rank:g}"
    heads = [t.get_text() for t in axis.get_xticklabels()]
    assert heads[0] == "black deletion ↓" and heads[1] == "black insertion ↑"


@pytest.mark.parametrize("count", [2, 4])
def test_correlations_are_framed_where_they_are_sure(count):
    some = list(NUMBERS)[:count]
    table = ranking.kinds(ranking.agreement({m: NUMBERS[m] for m in some}, resamples=20))
    sure = table.assign(p_corrected=[0.01] + [0.5] * (len(table) - 1))
    axis = axes_of(figures.correlations(sure))[0]
    assert len(axis.patches) == 1 and len(axis.texts) == len(table)


def test_maps_stand_in_two_blocks():
    drawn = shapes10.draw("test", count=3)
    maps = {n: torch.randn(3, 32, 32) for n in ("saliency", "rectgrad_prr", "random", "edges")}
    figure = figures.map_strip(Subject(None, drawn, "rectgrad_cnn", "shapes10"), maps)
    names = [t.get_text() for axis in axes_of(figure) for t in axis.texts]
    assert names == ["Picture", "Random", "Saliency map", "Edge detector", "RectGrad PRR"]


def test_the_ladder_goes_through_the_places():
    rows = [
        (step, name, 0.0, rank)
        for step, ranks in (("black deletion", [1, 2, 3]), ("retrained (ROAR)", [3, 1.5, 1.5]))
        for name, rank in zip(NAMES, ranks, strict=False)
    ]
    axis = axes_of(
        figures.step_ladder(pd.DataFrame(rows, columns=["step", "name", "value", "rank"]))
    )[0]
    assert sorted(line.get_ydata().tolist() for line in axis.lines) == [[1, 3], [2, 1.5], [3, 1.5]]
    assert axis.get_ylim()[0] > axis.get_ylim()[1]
    assert len([t for t in axis.texts if t.get_text() == "RectGrad"]) == 2


def test_shuffled_maps_are_rings():
    values = {"rectgrad": 0.4, "saliency": 0.2, "random": 0.3}
    values |= {"shuffled:rectgrad": 0.1, "shuffled:saliency": 0.5}
    found = {"black_deletion": flat(values), "kept": flat({"rectgrad": 0.02, "saliency": 1})}
    (axis,) = axes_of(figures.shuffled_maps(ladder.beside_shuffled(found)))
    assert [t.get_text() for t in axis.get_yticklabels()] == [
        "Saliency map (100%)",
        "RectGrad (2%)",
    ]
    dots = {
        tuple(c.get_offsets()[0].round(3).tolist()): c.get_facecolor()[0] for c in axis.collections
    }
    assert same_color(dots[0.1, 1.0], "white") and not same_color(dots[0.4, 1.0], "white")
    assert axis.lines[-1].get_xdata()[0] == pytest.approx(0.3)


@pytest.mark.parametrize("farther", [0.6, np.nan])
def test_shock(farther):
    table = pd.DataFrame(
        {
            "fraction": [0.3, 0.7],
            "before": [0.3, 0.2],
            "retrained": [0.6, 0.5],
            "moved": [0.1, 0.2],
            "farther": farther,
            "low": farther - 0.1,
            "high": farther + 0.1,
        }
    )
    accuracy, moved, chance = axes_of(figures.shock_panels(table))
    assert accuracy.lines[0].get_ydata().tolist() == [0.6, 0.5]
    assert moved.lines[0].get_ydata().tolist() == [0.1, 0.2]
    assert chance.get_ylim()[0] <= 0.3 and chance.get_ylim()[1] >= 0.7


@pytest.mark.parametrize("modes", [("roar", "kar"), ("roar",)])
def test_legible_points_are_named(modes):
    rows = [(m, n, 0.5 + k / 100, 0.1 * k) for m in modes for k, n in enumerate(NAMES[1:])]
    points = pd.DataFrame(rows, columns=["mode", "method", "area", "wrong"])
    axes = axes_of(figures.legible_places(points))
    assert len(axes) == len(modes)
    for axis in axes:
        assert len(axis.texts) == len(NAMES) - 1
        assert axis.collections[0].get_offsets().tolist() == [
            [pytest.approx(0.1 * k), pytest.approx(0.5 + k / 100)] for k in range(len(NAMES) - 1)
        ]
