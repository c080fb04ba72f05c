"""study.figures: every figure draws its table without a warning, and what it shows is what it was
given."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb

from lib.attribution import METHODS, label
from study import figures
from study.experiments import ranking
from study.experiments.synthesis import METRICS
from study.figures import GROUPS, HIGHLIGHTED

pytestmark = [
    pytest.mark.usefixtures("one_thread", "clean"),
    pytest.mark.filterwarnings("error"),
    # its heat map calls what matplotlib will drop
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:seaborn"),
]

A, B, C, D, E = "saliency", "rectgrad", "active", "deeplift", "epsilon_lrp"


def drawn(figure):
    """The figure's axes that show something, after it was rendered."""
    assert isinstance(figure, matplotlib.figure.Figure)
    figure.canvas.draw()
    return [axis for axis in figure.axes if axis.axison]


def labels(axis):
    """What is written at the ticks: across, then up."""
    across = [text.get_text() for text in axis.get_xticklabels()]
    return across, [text.get_text() for text in axis.get_yticklabels()]


def upright_and_level(axis):
    """Where the lines across the whole of the axis lie: those from bottom to top, those from left
    to right."""
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()]
    upright = sorted(x[0] for x, y in lines if y == [0, 1] and x[0] == x[1])
    level = sorted(y[0] for x, y in lines if x == [0, 1] and y[0] == y[1])
    return upright, level


def legible(axis):
    """No text has a colour like that of the cell beneath it."""
    mesh = axis.collections[0]
    mesh.update_scalarmappable()
    columns = round(axis.get_xlim()[1])

    def light(colour):
        return np.dot(to_rgb(colour), (0.299, 0.587, 0.114))

    for text in axis.texts:
        x, y = (int(v) for v in text.get_position())
        cell = mesh.get_facecolors()[y * columns + x][:3]
        assert abs(light(text.get_color()) - light(cell)) > 0.3, text.get_text()
    return True


# ---- who ranks where


def summary(ranks, of=5):
    """A table as study.experiments.ranking.summary returns it from metric -> name -> rank."""
    return pd.DataFrame(
        [
            {
                "metric": m,
                "name": n,
                "value": 0.5,
                "low": 0.4,
                "high": 0.6,
                "rank": r,
                "rank_low": max(np.floor(r) - 1, 1),
                "rank_high": np.ceil(r) + 1,
                "of": of,
                "n": 9,
            }
            | METRICS[m]._asdict()
            for m, names in ranks.items()
            for n, r in names.items()
        ]
    )


def test_groups_are_the_registries_and_highlighted_methods_are_known():
    names = [n for group in GROUPS.values() for n in group]
    assert list(GROUPS) == ["published", "tried here", "controls"]
    assert len(names) == len(set(names))
    assert set(METHODS) == set(GROUPS["published"])
    assert GROUPS["controls"] == ("random", "edges")
    assert set(HIGHLIGHTED) <= set(names)
    coloured = [*GROUPS["published"], *GROUPS["controls"]]
    assert len({figures.colour(name) for name in coloured}) == len(coloured)


def test_rows_come_in_groups_by_their_mean_over_families():
    """The first is best under four metrics of one family and last in another; the second is never
    last. Columns would prefer the first, families do not."""
    deletion = [f"{fill}_{kind}" for kind in ("deletion", "score") for fill in ("black", "white")]
    ranks = {
        m: {"random": 1, "rectgrad_active": 3, "edges": 1, A: 1, B: 2, C: 3, "rectgrad_positive": 1}
        for m in deletion
    } | {"patch": {"random": 5, A: 3, B: 1, C: 3, "rectgrad_positive": 1, "rectgrad_active": 2}}
    found = figures.ordered(summary(ranks, of=3))
    assert found == [
        B,
        A,
        C,
        "rectgrad_positive",
        "rectgrad_active",
        "edges",
        "random",
    ]  # 1/2 and 0; 0 and 1; 1 and 1


def test_a_rank_counts_by_the_number_that_are_ranked():
    """Second of two is last; second of eleven is nearly first."""
    table = pd.concat(
        [summary({"patch": {A: 1, B: 2}}, of=2), summary({"roar": {A: 4, B: 2}}, of=11)]
    )
    assert figures.ordered(table) == [A, B]  # 0 and .3 against 1 and .1
    table = pd.concat(
        [summary({"patch": {A: 1, B: 2}}, of=2), summary({"roar": {A: 4, B: 2}}, of=3)]
    )
    assert figures.ordered(table) == [B, A]  # 0 and 1.5 against 1 and .5
    assert figures.ordered(summary({"patch": {A: 1}}, of=1)) == [A]


def test_places_with_their_intervals():
    ranks = {
        "black_deletion": {n: k for k, n in enumerate((A, B, C, D, E), 1)}
        | {"rectgrad_active": 1, "random": 6, "edges": 6},
        "white_deletion": {
            A: 1,
            B: 2.5,
            C: 2.5,
            D: 4,
            E: 5,
            "rectgrad_active": 3,
            "random": 6,
            "edges": 1,
        },
        "kar": {A: 2, B: 1},
        "sanity": {A: 5, B: 4, C: 3, D: 2, E: 1, "rectgrad_active": 2, "random": 5, "edges": 5.5},
    }
    table = summary(ranks)
    table.loc[table["metric"] == "kar", "of"] = 2
    axis, bar = drawn(figures.place_table(table, intervals=True))
    order = figures.ordered(table)
    columns = ["black_deletion", "white_deletion", "kar", "sanity"]  # in the order of the table
    assert labels(axis) == (
        ["black deletion ↓", "white deletion ↓", "KAR ↓ (of 2)", "sanity ↑"],
        [label(n) for n in order],
    )
    assert order[5:] == ["rectgrad_active", "edges", "random"]
    texts = {}
    for text in axis.texts:
        x, y = text.get_position()
        texts.setdefault((order[int(y)], columns[int(x)]), []).append(text.get_text())
    for r in table.itertuples():
        assert texts.pop((r.name, r.metric)) == [
            f"{r.rank:g}",
            f"{r.rank_low:.0f}–{r.rank_high:.0f}",
        ]
    assert not texts  # nothing where there is no rank
    assert legible(axis)
    upright, level = upright_and_level(axis)
    assert upright == [2, 3]  # between families
    assert level == [5, 6]  # between groups
    assert labels(bar)[1] == ["best", "last"]
    assert bar.yaxis_inverted()  # the best on top


def test_colours_of_places_are_relative_ranks():
    table = pd.concat(
        [summary({"patch": {A: 1, B: 3, C: 5, "random": 6}}), summary({"roar": {A: 2, B: 1}}, of=2)]
    )
    axis, _ = drawn(figures.place_table(table, intervals=True))
    mesh, order = axis.collections[0], figures.ordered(table)
    cells = dict(zip(order, mesh.get_array().reshape(4, 2), strict=True))
    assert [cells[n][0] for n in (A, B, C, "random")] == [0, 0.5, 1, 1]
    assert [
        cells[A][1],
        cells[B][1],
    ] == [1, 0]  # behind the last is last
    assert cells[C].mask.tolist() == [False, True]
    assert mesh.get_clim() == (0, 1)


def test_what_summary_returns_can_be_drawn():
    rng = np.random.default_rng(0)
    found = {
        m: {
            n: torch.from_numpy(rng.random((1, 20)))
            for n in (A, B, C, "rectgrad_active", "random", f"shuffled:{A}")
        }
        for m in ("black_deletion", "variation", "attack")
    }
    table = ranking.summary(found, resamples=50)
    axis, _ = drawn(figures.place_table(table, intervals=True))
    assert len(axis.texts) == 2 * len(table) == 30
    assert (
        "made · quick profile"
        in figures.signed(
            figures.place_table(table, intervals=True), "made", "quick"
        ).get_supxlabel()
    )
