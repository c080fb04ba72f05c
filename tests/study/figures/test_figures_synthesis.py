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
from matplotlib.colors import same_color, to_rgb

from lib.attribution import METHODS, label
from study import figures
from study.experiments import ranking
from study.experiments.synthesis import METRICS
from study.figures import GROUPS, HIGHLIGHTED
from study.figures.pictures import _clipped
from study.subjects import shapes10
from study.subjects.subject import Subject

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
    assert len(set(HIGHLIGHTED.values())) == len(HIGHLIGHTED)


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


def test_league():
    ranks = {
        "kar": {A: 2, B: 1},
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
        "sanity": {A: 5, B: 4, C: 3, D: 2, E: 1, "rectgrad_active": 2, "random": 5, "edges": 5.5},
        "black_deletion": {n: k for k, n in enumerate((A, B, C, D, E), 1)}
        | {"rectgrad_active": 1, "random": 6, "edges": 6},
    }
    table = pd.concat([summary({"kar": ranks.pop("kar")}, of=2), summary(ranks)])
    axis, bar = drawn(figures.league(table))
    order = figures.ordered(table)
    columns = ["black_deletion", "white_deletion", "kar", "sanity"]  # in the order of the metrics
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


def test_colours_of_the_league_are_relative_ranks():
    table = pd.concat(
        [summary({"patch": {A: 1, B: 3, C: 5, "random": 6}}), summary({"roar": {A: 2, B: 1}}, of=2)]
    )
    axis, _ = drawn(figures.league(table))
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
    axis, _ = drawn(figures.league(table))
    assert len(axis.texts) == 2 * len(table) == 30
    assert (
        "made · quick profile"
        in figures.signed(figures.league(table), "made", "quick").get_supxlabel()
    )


# ---- agreement


def pairs(values, p=None):
    return pd.DataFrame(
        [
            {
                "first": a,
                "second": b,
                "correlation": v,
                "low": v - 0.3,
                "high": v + 0.3,
                "methods": 8,
                "p": 0.001,
                "p_corrected": (0.01 if abs(v) > 0.3 else 0.5) if p is None else p,
            }
            for (a, b), v in values.items()
        ]
    )


def cells_of(axis):
    """(row, column) -> text, by the labels of both."""
    across, down = labels(axis)
    return {
        (down[int(t.get_position()[1])], across[int(t.get_position()[0])]): t for t in axis.texts
    }


def test_agreement_shows_every_pair_once_below_the_diagonal():
    names = ["black_deletion", "white_insertion", "outside", "roar"]
    couples = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    values = dict(zip(couples, (0.81, -0.456, 0.29, 0.1, -1, np.nan), strict=True))
    axis, bar = drawn(figures.agreement(pairs(values)))
    across, down = labels(axis)
    metric = {METRICS[n].label: n for n in names}
    # one order; the first metric has no row, the last no column
    assert across[1:] == down[:-1]
    assert {*across, *down} == set(metric)
    texts = cells_of(axis)
    grid = axis.collections[0].get_array().reshape(3, 3)
    assert len(texts) == len(axis.texts) == 5  # nothing for the pair without a number
    for i, first in enumerate(down):
        for j, second in enumerate(across):
            if j > i:
                assert grid.mask[i, j]
                assert (first, second) not in texts
                continue
            pair = metric[first], metric[second]
            value = values[pair if pair in values else pair[::-1]]
            if np.isnan(value):
                assert (first, second) not in texts
                continue
            assert grid[i, j] == value
            assert texts[first, second].get_text() == f"{value:.2f}".replace("-", "−")
            significant = abs(value) > 0.3
            assert (texts[first, second].get_fontweight() == "bold") == significant
    assert axis.collections[0].get_clim() == (-1, 1)
    assert legible(axis)
    assert "rank correlation" in bar.get_ylabel()


@pytest.mark.parametrize("p, sure", [(0.049, True), (0.05, False), (1, False)])
def test_what_is_sure_is_bold_and_framed(p, sure):
    axis, _ = drawn(figures.agreement(pairs({("patch", "roar"): 0.5}, p)))
    (text,) = axis.texts
    assert (text.get_fontweight() == "bold") == sure == bool(axis.patches)
    assert text.get_text() == "0.50"


def test_alike_metrics_stand_beside_each_other():
    names = ["black_deletion", "white_deletion", "patch", "outside"]
    near = {frozenset(("black_deletion", "outside")), frozenset(("white_deletion", "patch"))}
    values = {
        (a, b): 0.9 if frozenset((a, b)) in near else -0.5
        for k, a in enumerate(names)
        for b in names[k + 1 :]
    }
    axis, _ = drawn(figures.agreement(pairs(values)))
    across, down = labels(axis)
    shown = [across[0], *down]
    assert {frozenset(shown[:2]), frozenset(shown[2:])} == {
        frozenset(METRICS[n].label for n in pair) for pair in near
    }


def test_a_correlation_that_rounds_to_zero_has_no_sign():
    axis, _ = drawn(figures.agreement(pairs({("patch", "roar"): -0.003})))
    assert [t.get_text() for t in axis.texts] == ["0.00"]


def test_what_agreement_returns_can_be_drawn():
    rng = np.random.default_rng(0)
    found = {
        m: {n: torch.from_numpy(rng.random((1, 20))) for n in (A, B, C, D, E)}
        for m in ("black_deletion", "variation", "attack")
    }
    # the same for all methods: no order that could agree
    found["patch"] = {n: torch.ones(1, 20, dtype=torch.float64) for n in (A, B, C, D, E)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nor an interval
        table = ranking.agreement(found, resamples=50)
    axis, _ = drawn(figures.agreement(table))
    assert len(table) == 6
    assert len(axis.texts) == 3


# ---- sparsity


def shuffled_values(
    metrics=("white_deletion", "variation", "outside", "black_insertion"), names=(A, B, E)
):
    """metric -> name -> values, of each method and of its shuffled map, and the shares kept."""
    values = {metric: {} for metric in metrics}
    for k, metric in enumerate(metrics):
        for j, n in enumerate(names):
            own = 0.1 * k + 0.01 * j
            values[metric][n] = torch.tensor([[own, torch.nan, own]])
        for j, n in enumerate(names):
            values[metric][f"shuffled:{n}"] = torch.full((1, 3), 0.5 + 0.1 * k + 0.02 * j)
    values["kept"] = {n: torch.full((1, 3), 0.2 * (j + 1)) for j, n in enumerate(names)}
    return values


def test_shuffled():
    found = shuffled_values()
    found["white_deletion"] |= {
        "random": torch.full((1, 3), 0.25),
        # not published
        "rectgrad_active": torch.zeros(1, 3),
        "shuffled:rectgrad_active": torch.zeros(1, 3),
        # without a shuffled map
        C: torch.zeros(1, 3),
    }
    found["black_deletion"] = {A: torch.zeros(1, 3)}  # nothing shuffled: not shown
    axes = drawn(figures.shuffled(found))
    assert [axis.get_title() for axis in axes] == [
        "white deletion ↓",
        "black insertion ↑",
        "off the object ↓",
        "total variation ↓",
    ]
    kept = {n: found["kept"][n].nanmean().item() for n in (A, B, E)}
    order = sorted(kept, key=kept.get, reverse=True)  # rows go up, so the sparsest is above
    assert labels(axes[0])[1] == [f"{label(n)} ({kept[n]:.0%})" for n in order]
    metrics = ("white_deletion", "black_insertion", "outside", "variation")
    colours = {A: HIGHLIGHTED[A], B: HIGHLIGHTED[B], E: "#888888"}
    for axis, metric in zip(axes, metrics, strict=True):
        dots, rings = axis.collections[::2], axis.collections[1::2]
        for k, (name, colour) in enumerate(colours.items()):
            y = order.index(name)
            value = found[metric][name].nanmean().item()
            chance = found[metric][f"shuffled:{name}"].nanmean().item()
            assert dots[k].get_offsets().tolist() == [pytest.approx((value, y))]
            assert rings[k].get_offsets().tolist() == [pytest.approx((chance, y))]
            line = axis.get_lines()[k]
            assert list(line.get_xdata()) == pytest.approx([value, chance])
            assert list(line.get_ydata()) == [y, y]
            assert same_color(dots[k].get_facecolor()[0], colour)
            assert same_color(rings[k].get_edgecolor()[0], colour)
            assert same_color(rings[k].get_facecolor()[0], "white")
            assert same_color(line.get_color(), colour)
        assert len(axis.collections) == 6
        assert len(axis.get_lines()) == 3 + (metric == "white_deletion")
    assert upright_and_level(axes[0])[0] == [0.25]  # random numbers


def test_shuffled_in_one_panel():
    (axis,) = drawn(figures.shuffled(shuffled_values(("variation",))))
    assert axis.get_title() == "total variation ↓"
    assert len(drawn(figures.shuffled(shuffled_values(), ["outside", "variation"]))) == 2


# ---- maps


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_strip(blocks):
    pictures = shapes10.draw("test", count=2)
    names = [
        "saliency",
        "integrated_gradients",
        "guided_backprop",
        "rectgrad_active",
        "edges",
        "shuffled:rectgrad",
    ]
    maps = {
        n: torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(k))
        for k, n in enumerate(names)
    }
    figure = figures.strip(Subject(None, pictures, "net", "none"), maps, blocks)
    lines = -(-7 // blocks)
    axes = np.array(figure.axes).reshape(lines, 2 * blocks)
    expected = [
        "Picture",
        "Saliency map",
        "Integrated\ngradients",
        "Guided\nbackpropagation",
        "RectGrad,\nactive",
        "Edge detector",
        "RectGrad,\nshuffled",
    ]
    assert len(drawn(figure)) == 14
    for k, (name, text) in enumerate(zip(["", *names], expected, strict=True)):
        row = axes[k % lines, 2 * (k // lines) : 2 * (k // lines) + 2]
        assert [axis.get_ylabel() for axis in row] == [text, ""]
        assert all(axis.axison for axis in row)
        for n, axis in enumerate(row):
            (shown,) = axis.get_images()
            values = _clipped(maps[name][n]) if name else pictures.images[n].permute(1, 2, 0)
            assert np.array_equal(shown.get_array(), values.numpy())


# ---- where the order turns


def rungs(ranks):
    return pd.DataFrame(
        [
            {"step": step, "name": n, "value": r / 10, "rank": r}
            for step, names in ranks.items()
            for n, r in names.items()
        ]
    )


def written(texts):
    """(text, height, colour) of each text, by height."""
    rows = [(text.get_text(), text.get_position()[1], text.get_color()) for text in texts]
    return sorted(rows, key=lambda row: row[1])


def named(*names):
    """What `written` returns where these names stand below each other."""
    return [(label(n), k, HIGHLIGHTED.get(n, "#777777")) for k, n in enumerate(names, 1)]


def test_steps():
    ranks = {
        "allegiance, black": {E: 4, A: 1, B: 2, C: 3},
        "order": {E: 1, A: 2, B: 3.5, C: 3.5},
        "accuracy, retrained": {E: 1, A: 2.5, B: 2.5, C: 4},
    }
    figure = figures.steps(rungs(ranks))
    (axis,) = drawn(figure)
    assert labels(axis) == (["allegiance,\nblack", "order", "accuracy,\nretrained"], [])
    assert axis.get_ylim()[0] > 4 > 1 > axis.get_ylim()[1]  # the best above
    assert len(axis.get_lines()) == 4
    for name in (E, A, B, C):
        colour = HIGHLIGHTED.get(name, "#c4c4c4")
        (line,) = (
            line
            for line in axis.get_lines()
            if list(line.get_ydata()) == [step[name] for step in ranks.values()]
        )
        assert list(line.get_xdata()) == [0, 1, 2]
        assert same_color(line.get_color(), colour)
    # the names at the left end are aligned to the right, those at the right end to the left
    left = [text for text in axis.texts if text.get_ha() == "right"]
    right = [text for text in axis.texts if text.get_ha() == "left"]
    assert written(left) == named(A, B, C, E)
    # two that tie stand below each other
    assert written(right) in (named(E, A, B, C), named(E, B, A, C))
    assert all(text.get_position()[0] < 0 for text in left)
    assert all(text.get_position()[0] > 2 for text in right)


def test_methods_that_the_text_speaks_of_lie_above_the_others():
    (axis,) = drawn(figures.steps(rungs({"one": {A: 1, E: 2}, "two": {A: 2, E: 1}})))
    over = {
        tuple(line.get_ydata()): (line.get_zorder(), line.get_linewidth())
        for line in axis.get_lines()
    }
    assert over[1, 2] > over[2, 1]
    assert over[1, 2][1] > over[2, 1][1]


def test_what_rungs_returns_can_be_drawn():
    rng = np.random.default_rng(0)
    values = {
        step: {n: torch.from_numpy(rng.random((1, 20))) for n in (A, B, C, "random")}
        for step in ("one", "two", "three")
    }
    (axis,) = drawn(figures.steps(ranking.rungs(values, resamples=20)[0]))
    assert len(axis.texts) == 8


# ---- distance


def shocked(**columns):
    return pd.DataFrame(
        {
            "fraction": [0.1, 0.5, 0.9],
            "methods": 3,
            "before": [0.8, 0.5, 0.2],
            "retrained": [0.9, 0.8, 0.4],
            "moved": [0.1, 0.3, 0.2],
            "failed": [0.1, 0.4, 0.7],
            "farther": [0.6, 0.7, 0.8],
            "low": [0.5, 0.65, 0.7],
            "high": [0.75, 0.8, 0.85],
        }
        | columns
    )


def whiskers(axis):
    (bars,) = (c for c in axis.collections if isinstance(c, matplotlib.collections.LineCollection))
    return [s[:, 1].tolist() for s in bars.get_segments()]


def test_shock():
    left, middle, right = drawn(figures.shock(shocked()))
    curves = {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in left.get_lines()
    }
    assert curves == {
        "the network as it is": ([0.1, 0.5, 0.9], [0.8, 0.5, 0.2]),
        "retrained": ([0.1, 0.5, 0.9], [0.9, 0.8, 0.4]),
    }
    assert left.get_ylim()[0] == 0
    assert [t.get_text() for t in left.get_legend().get_texts()] == list(curves)
    assert [axis.get_xlabel() for axis in (left, middle, right)] == ["share of pixels removed"] * 3
    moved = next(line for line in middle.get_lines() if line.get_marker() == "o")
    assert list(moved.get_ydata()) == [0.1, 0.3, 0.2]
    assert 0 in upright_and_level(middle)[1]
    (marked,) = (line for line in right.get_lines() if line.get_marker() == "o")
    assert list(marked.get_ydata()) == [0.6, 0.7, 0.8]
    assert whiskers(right) == [
        pytest.approx(pair) for pair in ((0.5, 0.75), (0.65, 0.8), (0.7, 0.85))
    ]
    assert 0.5 in upright_and_level(right)[1]  # where distance explains nothing


def test_an_interval_that_leaves_its_value_out_is_drawn():
    """In all but a few methods a single picture fails, and a draw without it leaves that method out
    of the mean."""
    count = 40
    moved = {n: torch.arange(float(count))[None] for n in METHODS}
    after = {n: torch.ones(1, 1, count, dtype=torch.bool) for n in METHODS}
    right = {}
    for k, n in enumerate(METHODS):
        if n == A:
            right[n] = torch.arange(count)[None] < 20
        else:
            moved[n] = (moved[n] - 2 * k) % count  # another picture each
            right[n] = moved[n] != 0
    table = ranking.shock(right, moved, after, (0.5,), torch.ones(count, dtype=torch.bool))
    assert table["farther"].item() < table["low"].item()
    *_, axis = drawn(figures.shock(table))
    (marked,) = (line for line in axis.get_lines() if line.get_marker() == "o")
    assert list(marked.get_ydata()) == table["farther"].tolist()


def test_a_share_at_which_nobody_fails_leaves_a_gap():
    gap = shocked(farther=[np.nan, 0.7, 0.8], low=[np.nan, 0.65, 0.7], high=[np.nan, 0.8, 0.85])
    *_, axis = drawn(figures.shock(gap))
    (marked,) = (line for line in axis.get_lines() if line.get_marker() == "o")
    assert np.isnan(marked.get_ydata()[0])
    assert list(marked.get_ydata()[1:]) == [0.7, 0.8]


def test_the_tables_are_the_callers():
    """No figure changes what it is given."""
    for draw, table in (
        (figures.league, summary({"patch": {A: 1, B: 2}})),
        (figures.agreement, pairs({("patch", "roar"): 0.5})),
        (figures.steps, rungs({"one": {A: 1, B: 2}, "two": {A: 2, B: 1}})),
        (figures.shock, shocked()),
    ):
        before = table.copy()
        draw(table)
        pd.testing.assert_frame_equal(table, before)
        plt.close("all")
