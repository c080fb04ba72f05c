"""study.figures: what a figure shows is what it was given, and tables and digests print what they should."""

from __future__ import annotations

from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection
from matplotlib.colors import same_color, to_hex

from lib.metrics import PAPER_FRACTIONS
from study import figures
from study.experiments.deletion import MATCHED
from study.figures import COLOURS, DASHES, LABELS
from study.store import results
from study.subjects.sources import Dataset
from study.subjects.subject import Subject

pytestmark = pytest.mark.usefixtures("one_thread", "clean")

RED = "#CC0000"


@pytest.fixture
def pictures():
    """Twelve random pictures of 6x5 pixels in three classes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (12, 3, 6, 5), generator=generator).to(torch.uint8)
    return Dataset("toy", "test", images, torch.arange(12) % 3, ("ant", "bee", "n01/cat"), "made")


@pytest.fixture
def who(pictures):
    return Subject(None, pictures, "net", "made")


def drawn(figure):
    """The figure's axes that show a picture or a curve, after it was rendered."""
    assert isinstance(figure, matplotlib.figure.Figure)
    figure.canvas.draw()
    return [axis for axis in figure.axes if axis.axison]


def shown(axis) -> np.ndarray:
    (image,) = axis.get_images()
    return np.asarray(image.get_array())


def framed(axis) -> bool:
    sides = list(axis.spines.values())
    assert len({side.get_visible() for side in sides}) == 1
    return sides[0].get_visible() and same_color(sides[0].get_edgecolor(), RED)


def lines(axis):
    """Label -> (x, y) of the lines that have a label of their own."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axis.get_lines()
        if not line.get_label().startswith("_")
    }


# ---- text


def test_table_as_markdown():
    frame = pd.DataFrame(
        {"map": ["active", None], "auc": [0.12345, np.nan], "n": [3, 40], "share": [0.5, 0.25]}
    )
    assert figures.table(frame, auc=".3f", share=".0%").data == "\n".join(
        [
            "| map | auc | n | share |",
            "|:---|---:|---:|---:|",
            "| active | 0.123 | 3 | 50% |",
            "|  |  | 40 | 25% |",
        ]
    )
    assert frame["auc"].iloc[0] == 0.12345  # the frame is the caller's


def test_table_leaves_missing_integers_and_names_blank():
    frame = pd.DataFrame({None: ["a"], "n": pd.array([pd.NA], dtype="Int64")})
    assert figures.table(frame).data.splitlines() == ["|  | n |", "|:---|---:|", "| a |  |"]


def test_table_of_nothing_is_its_head():
    assert figures.table(pd.DataFrame({"a": [], "b": []})).data.splitlines()[0] == "| a | b |"


def test_a_bar_in_a_cell_does_not_split_it():
    row = figures.table(pd.DataFrame({"a|b": ["|g|"], "c": ["d"]})).data.splitlines()
    assert all(line.replace("\\|", "").count("|") == 3 for line in row)


def test_beside_table():
    assert (
        "no number" in figures.beside_table(None).data
        and "|" not in figures.beside_table(None).data
    )
    frame = pd.DataFrame(
        [
            {
                "paper": "Sign",
                "table": "Table 2",
                "row": "Active",
                "column": "CIFAR-10 CNN",
                "published": 0.15,
                "reproduced": 0.1449,
                "low": 0.1401,
                "high": 0.1512,
                "n": 10_000,
                "data": "d",
                "model": "basic_cnn",
                "protocol": "AdamW",
                "verdict": "agree",
                "verdict_at_zero": "disagree",
            }
        ]
    )
    head, rule, row, *below = figures.beside_table(frame).data.splitlines()
    shown = dict(
        zip([name.strip() for name in head.split("|")], [value.strip() for value in row.split("|")])
    )
    assert (
        shown["network"],
        shown["printed"],
        shown["reproduced"],
        shown["95 % interval"],
        shown["verdict"],
        shown["at tolerance 0"],
    ) == ("CIFAR-10 CNN", "0.15", "0.145", "0.140 to 0.151", "agree", "disagree")
    assert (
        "Table 2" in row
        and "Active" in row
        and head.count("|") == rule.count("|") == row.count("|")
    )


def test_beside_table_says_how_each_number_was_made():
    frame = pd.DataFrame(
        [
            {
                "paper": "Sign",
                "table": "Table 1",
                "row": "Accuracy",
                "column": column,
                "published": 0.6,
                "reproduced": 0.6,
                "low": 0.59,
                "high": 0.61,
                "n": 10_000,
                "data": f"{column} pixels",
                "model": "net",
                "protocol": f"{column} seeds",
                "verdict": "agree",
                "verdict_at_zero": "agree",
            }
            for column in ("CNN", "ResNet")
        ]
    )
    text = figures.beside_table(frame).data
    assert all(
        text.count(f"{column} {what}") == 1
        for column in ("CNN", "ResNet")
        for what in ("pixels", "seeds")
    )


def test_sentences_and_intervals():
    assert figures.lines("One.", "Two.").data == "- One.\n- Two."
    assert (
        figures.interval(0.12345, 0.2) == "0.123 to 0.200"
        and figures.interval(-1, 2, "+.1f") == "-1.0 to +2.0"
    )


def test_digest_prints_rounded_values(capsys):
    figures.digest(maps=torch.tensor([1.0, 2, 3, 4.00001]), flags=torch.tensor([True, False]))
    assert (
        capsys.readouterr().out
        == "maps: mean 2.5, sd 1.29, from 1 to 4\nflags: mean 0.5, sd 0.707, from 0 to 1\n"
    )


def test_digest_of_one_value(capsys):
    figures.digest(area=torch.tensor([0.25]))
    out = capsys.readouterr().out
    assert "0.25" in out and "nan" not in out


@pytest.mark.parametrize("commit, profile", [("abc1234", "quick"), ("abc1234+", "paper")])
def test_the_provenance_line_names_data_profile_and_commit(commit, profile, monkeypatch):
    monkeypatch.setattr(results, "commit", lambda: commit)
    figure = plt.figure()
    assert figures.signed(figure, "basic_cnn, cifar10 test, n = 10", profile) is figure
    text = figure.get_supxlabel()
    assert (
        "basic_cnn, cifar10 test, n = 10" in text
        and f"{profile} profile" in text
        and text.endswith("commit abc1234")
    )
    figure.canvas.draw()


# ---- pictures


def test_contact_sheet_shows_each_class_in_its_row(pictures):
    figure = figures.contact_sheet(pictures, seed=1, columns=3)
    axes = np.array(figure.axes).reshape(3, 3)
    for k, name in enumerate(("ant", "bee", "cat")):
        own = [p.permute(1, 2, 0).numpy() for p in pictures.images[pictures.labels == k]]
        assert axes[k, 0].get_ylabel() == name
        places = [
            next(n for n, p in enumerate(own) if np.array_equal(p, shown(axis))) for axis in axes[k]
        ]
        assert len(set(places)) == 3
    sheet = lambda seed: [
        shown(axis).tobytes() for axis in figures.contact_sheet(pictures, seed=seed, columns=3).axes
    ]
    assert sheet(1) == sheet(1) == [shown(axis).tobytes() for axis in axes.flat] != sheet(2)


def test_contact_sheet_of_few_pictures_leaves_room(pictures):
    assert len(drawn(figures.contact_sheet(pictures, columns=6))) == 3 * 4


def test_gallery_shows_pictures_and_their_stretched_maps(who):
    places, generator = torch.tensor([7, 2]), torch.Generator().manual_seed(1)
    maps = {
        "original": torch.rand(2, 6, 5, generator=generator) + 3,
        "active": torch.zeros(2, 6, 5),
    }
    axes = np.array(drawn(figures.gallery(who, places, maps))).reshape(2, 3)
    for row, place in enumerate(places.tolist()):
        assert np.array_equal(
            shown(axes[row, 0]), who.pictures.images[place].permute(1, 2, 0).numpy()
        )
        values = maps["original"][row]
        assert shown(axes[row, 1]) == pytest.approx(
            ((values - values.min()) / (values.max() - values.min())).numpy(), abs=1e-6
        )
        assert (shown(axes[row, 2]) == 0).all() and axes[row, 2].get_images()[0].get_clim() == (
            0,
            1,
        )
    assert [axis.get_title() for axis in axes[0]] == ["Picture", "Original", "Active"] and [
        axis.get_ylabel() for axis in axes[:, 0]
    ] == ["bee", "n01/cat"]


def test_a_picture_without_a_label_is_called_unlabelled(who):
    labels = who.pictures.labels.clone()
    labels[7] = -1
    some = who._replace(pictures=replace(who.pictures, labels=labels))
    axes = np.array(
        drawn(figures.gallery(some, torch.tensor([7, 2]), {"active": torch.rand(2, 6, 5)}))
    ).reshape(2, 2)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["unlabelled", "n01/cat"]
    assert (
        len(drawn(figures.contact_sheet(some.pictures, columns=6))) == 3 * 4 - 1
    )  # no row of its own, nor a place in another's


def test_gallery_draws_large_maps_at_half_size_by_the_largest_of_four(who):
    found = torch.zeros(2, 130, 132)
    found[0, 7, 9], found[1, 0, 0], found[1, 129, 131] = 3.0, 2.0, 4.0
    axes = np.array(drawn(figures.gallery(who, torch.tensor([7, 2]), {"active": found}))).reshape(
        2, 2
    )
    first, second = (axis.images[0].get_array() for axis in axes[:, 1])
    assert first.shape == (65, 66) and np.argwhere(first).tolist() == [[3, 4]] and first.max() == 1
    assert (second[0, 0], second[-1, -1]) == (0.5, 1) and np.count_nonzero(second) == 2


def test_gallery_frames_what_is_recognised_no_more(who):
    places, altered = (
        torch.tensor([0, 1]),
        torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(1)),
    )
    axes = np.array(
        drawn(
            figures.gallery(
                who, places, {"active": torch.rand(2, 6, 5)}, after=("Gone", altered, [True, False])
            )
        )
    ).reshape(2, 3)
    assert [framed(axis) for axis in axes.flat] == [False] * 5 + [True] and axes[
        0, 2
    ].get_title() == "Gone"
    assert np.array_equal(shown(axes[1, 2]), altered[1].permute(1, 2, 0).numpy())


def test_sign_panel(pictures):
    gradient = torch.zeros(3, 6, 5)
    gradient[0, 0, 0], gradient[1, 0, 0], gradient[2, 1, 1], gradient[1, 1, 1] = (
        3.0,
        -1.0,
        -2.0,
        1.0,
    )
    axes = {
        axis.get_title().replace("\n", " "): axis
        for axis in drawn(figures.sign_panel(pictures.images[4], gradient))
    }
    assert list(axes) == [
        "Picture",
        "Gradient, stretched (0 is grey 0.40)",
        "Gradient, white at 0",
        "Original: absolute value",
        "Positive",
        "Negative",
    ]
    corner = {
        title: [shown(axis)[0, 0], shown(axis)[1, 1], shown(axis)[2, 2]]
        for title, axis in axes.items()
        if title != "Picture"
    }
    assert corner == {
        "Gradient, stretched (0 is grey 0.40)": [1, 0, pytest.approx(0.4)],
        "Gradient, white at 0": [3, -2, 0],
        "Original: absolute value": [3, 2, 0],
        "Positive": [3, 1, 0],
        "Negative": [1, 2, 0],
    }
    assert axes["Gradient, white at 0"].get_images()[0].get_clim() == (-3, 3)


def test_sign_panel_of_no_gradient_has_no_nan(pictures):
    axes = drawn(figures.sign_panel(pictures.images[4], torch.zeros(3, 6, 5)))
    assert not any(
        "nan" in axis.get_title() or np.isnan(shown(axis).astype(float)).any() for axis in axes
    )


def test_deletion_strip_frames_what_has_changed(pictures):
    images = pictures.images[:1] / 255
    altered = {
        "original black": [images[0], images[0] * 0.5],
        "positive white": [images[0] + 0.5, images[0] * 0],
    }
    axes = np.array(
        drawn(
            figures.deletion_strip(
                images,
                altered,
                (0, 0.125),
                {"original black": [True, True], "positive white": [True, False]},
            )
        )
    ).reshape(2, 2)
    assert [framed(axis) for axis in axes.flat] == [False, False, False, True] and [
        axis.get_title() for axis in axes[0]
    ] == ["0%", "12%"]
    assert (
        np.array_equal(shown(axes[0, 1]), (images[0] * 0.5).permute(1, 2, 0).numpy())
        and shown(axes[1, 0]).max() == 1
    )
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["original\nblack", "positive\nwhite"]


def test_who_gains(pictures):
    gradients = torch.zeros(3, 6, 5)
    gradients[0, :3], gradients[1, 3:], gradients[1, :, 0] = 1.0, 1.0, -1.0
    axes = drawn(
        figures.who_gains(pictures.images[0], gradients, ("ant", "bee", "cat"), predicted=0)
    )
    assert (
        axes[1].get_title() == "Gains if brighter\nant: 60% of pixels"
        and axes[2].get_title() == "Gains if darker\nant: 40% of pixels"
    )
    for axis, winner in ((axes[1], gradients.argmax(0)), (axes[2], gradients.argmin(0))):
        own = np.array(
            [
                [to_hex(colour) == COLOURS["positive"].lower() for colour in line]
                for line in shown(axis)
            ]
        )
        assert (
            np.array_equal(own, (winner == 0).numpy())
            and len({to_hex(c) for c in shown(axis)[~own]}) >= 1
        )


# ---- curves


def test_every_map_has_a_look_of_its_own():
    assert (
        set(COLOURS)
        == set(DASHES)
        == set(LABELS)
        == {name for names in MATCHED.values() for name in names}
    )
    assert len(set(COLOURS.values())) == 5


def test_learning_curves():
    cards = {
        "a": {
            "epochs": [{"epoch": 1, "accuracy": 0.2}, {"epoch": 2, "accuracy": 0.4}],
            "test_accuracy": 0.3,
        },
        "b": {"epochs": [{"epoch": 1, "accuracy": 0.5}], "test_accuracy": 0.6},
    }
    (axis,) = drawn(figures.learning_curves(cards))
    found = lines(axis)
    assert found["a"] == ([1, 2], [0.2, 0.4]) and found["b"] == ([1], [0.5])
    assert [
        (line.get_xdata().item(), line.get_ydata().item())
        for line in axis.get_lines()
        if line.get_marker() == "o" and len(line.get_xdata())
    ] == [(2, 0.3), (1, 0.6)]


def table_of(value, **extra):
    """A table with a row for each map, fill and fraction whose values tell them apart."""
    rows = []
    for m, name in enumerate(COLOURS):
        for f, fill in enumerate(("black", "white")):
            for k, fraction in enumerate((0, 0.1, 0.5)):
                y = 1 - 0.1 * k - 0.01 * m - 0.2 * f
                band = (
                    {"low": y - 0.03, "high": y + 0.05}
                    if value == "allegiance"
                    else {f"{value}_low": y - 0.03, f"{value}_high": y + 0.05}
                )
                rows.append(
                    {
                        "map": name,
                        "fill": fill,
                        "fraction": fraction,
                        "strength": (0.1, 0.5, 1)[k],
                        value: y,
                    }
                    | band
                )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("value", ["allegiance", "logit"])
def test_curves_plot_their_table(value):
    frame = table_of(value)
    axes = np.array(
        drawn(figures.curves({"one": frame, "two": frame}, value, "share", zero=value == "logit"))
    ).reshape(2, 2)
    for row, title in zip(axes, ("one", "two")):
        for axis, (fill, names) in zip(row, MATCHED.items()):
            assert axis.get_title() == f"{title}\n{fill} deletion"
            found = lines(axis)
            assert (
                list(found)
                == [LABELS[name] for name in names]
                == [text.get_text() for text in axis.get_legend().get_texts()]
            )
            bands = [c for c in axis.collections if isinstance(c, PolyCollection)]
            for name, band in zip(names, bands, strict=True):
                part = frame[(frame["map"] == name) & (frame["fill"] == fill)]
                assert found[LABELS[name]] == (part["fraction"].tolist(), part[value].tolist())
                y = band.get_paths()[0].vertices[:, 1]
                assert (y.min(), y.max()) == pytest.approx(
                    (part[value].min() - 0.03, part[value].max() + 0.05)
                ) and same_color(band.get_facecolor()[0][:3], COLOURS[name])
            assert any(list(line.get_ydata()) == [0, 0] for line in axis.get_lines()) == (
                value == "logit"
            )
    assert (
        axes[0, 0].get_ylabel() == "share"
        and axes[1, 0].get_xlabel() == "fraction of pixels deleted"
    )


def test_curves_of_chosen_names():
    axes = drawn(
        figures.curves(
            {"one": table_of("allegiance")},
            "allegiance",
            "share",
            names={"black": ("negative",), "white": ("positive", "active")},
        )
    )
    assert [list(lines(axis)) for axis in axes] == [["Negative"], ["Positive", "Active"]]


def test_sweep_plots_its_table():
    frame = table_of("area")
    axes = drawn(figures.sweep({"one": frame}, "area", "area under the curve", zero=True))
    for axis, (fill, names) in zip(axes, MATCHED.items()):
        assert (
            axis.get_title() == f"one\ntowards {fill}"
            and axis.get_xscale() == "log"
            and [t.get_text() for t in axis.get_xticklabels()] == ["0.1", "0.5", "1"]
        )
        for name, container in zip(names, axis.containers, strict=True):
            part = frame[(frame["map"] == name) & (frame["fill"] == fill)]
            line, _, (bars,) = container.lines
            assert container.get_label() == LABELS[name] and (
                list(line.get_xdata()),
                list(line.get_ydata()),
            ) == (part["strength"].tolist(), part["area"].tolist())
            ends = np.array([segment[:, 1] for segment in bars.get_segments()])
            assert ends == pytest.approx(part[["area_low", "area_high"]].to_numpy())


def test_kept_curves():
    generator = torch.Generator().manual_seed(0)
    flags = {
        (name, fill): torch.rand(13, 8, generator=generator) < 0.5
        for name in COLOURS
        for fill in MATCHED
    }
    shares = pd.DataFrame({"map": list(COLOURS), "mean": [0.9, 0.5, 0.4, 0.1, 0.2]})
    for axis, (fill, names) in zip(
        drawn(figures.kept_curves({"one": flags}, {"one": shares})), MATCHED.items()
    ):
        found = lines(axis)
        assert list(found) == [LABELS[name] for name in names[1:]]
        for name in names[1:]:
            assert found[LABELS[name]] == (
                list(PAPER_FRACTIONS),
                pytest.approx(flags[name, fill].double().mean(1).tolist()),
            )
        marks = [
            line.get_xdata()[0]
            for line in axis.get_lines()
            if len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1]
        ]
        assert marks == [shares.set_index("map")["mean"][name] for name in names[1:]]


def test_histogram():
    values = {"a": torch.tensor([0.0, 0, 0, 1]), "b": torch.tensor([0.4, 0.6])}
    (axis,) = drawn(figures.histogram(values, "share of pixels", bins=4, line=0.5))
    assert axis.get_xlabel() == "share of pixels" and [
        text.get_text() for text in axis.get_legend().get_texts()
    ] == ["a", "b"]
    assert any(list(line.get_xdata()) == [0.5, 0.5] for line in axis.get_lines())
    tops = {
        line.get_label(): max(line.get_ydata())
        for line in axis.get_lines()
        if line.get_label() in values
    }
    assert tops == {"a": 0.75, "b": 0.5}
    assert drawn(figures.histogram({"a": torch.rand(9)}, "x"))[0].get_legend() is None


def test_published_beside_reproduced():
    frame = pd.DataFrame(
        [
            {
                "table": "Table 1",
                "row": "Accuracy",
                "column": "CNN",
                "published": 0.63,
                "reproduced": 0.64,
                "low": 0.63,
                "high": 0.65,
                "verdict": "agree",
            },
            {
                "table": "Table 2",
                "row": "Active",
                "column": "CNN",
                "published": 0.15,
                "reproduced": 0.30,
                "low": 0.25,
                "high": 0.35,
                "verdict": "disagree",
            },
            {
                "table": "Table 3",
                "row": "Inactive",
                "column": "CNN",
                "published": 0.15,
                "reproduced": 0.15,
                "low": 0.15,
                "high": 0.15,
                "verdict": "agree",
            },
        ]
    )
    (axis,) = drawn(figures.published_beside_reproduced(frame))
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "Accuracy, CNN",
        "Active, CNN (black)",
        "Inactive, CNN (white)",
    ] and axis.yaxis_inverted()
    assert [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axis.get_lines()
        if line.get_marker() == "x"
    ] == [(0.63, 0), (0.15, 1), (0.15, 2)]
    dots = [line for line in axis.get_lines() if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots] == [
        (0.64, 0),
        (0.30, 1),
        (0.15, 2),
    ]
    assert [same_color(line.get_color(), RED) for line in dots] == [False, True, False]
    bands = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axis.patches]
    assert bands == [
        pytest.approx((0.61, 0.65)),
        pytest.approx((0.10, 0.20)),
        pytest.approx((0.13, 0.17)),
    ]  # the larger of tolerance and half-width


def test_a_compact_figure_is_a_small_png_of_few_colours_and_is_closed():
    import io

    import PIL.Image

    figure, axis = plt.subplots()
    axis.imshow(np.random.default_rng(0).random((60, 60, 3)))
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=76)
    shown = figures.compact(figure, colours=32)
    picture = PIL.Image.open(io.BytesIO(shown.data))
    assert (
        shown.format == "png"
        and len(picture.getcolors()) <= 32
        and len(shown.data) < len(full.getvalue()) / 2
    )
    assert not plt.fignum_exists(figure.number)


# ---- tables of one row a network


def test_a_wide_table_keeps_the_order_of_appearance():
    frame = pd.DataFrame(
        [
            {"network": n, "fill": f, "map": m, "auc": f"{n}{f}{m}"}
            for n in ("z", "a")
            for f in ("white", "black")
            for m in ("positive", "active")
        ]
    )
    both = figures.wide(frame, ["network", "fill"], "map", "auc")
    assert (
        list(both.columns) == ["network", "fill", "positive", "active"]
        and both.columns.name is None
    )
    assert both.values.tolist() == [
        [n, f, f"{n}{f}positive", f"{n}{f}active"] for n in ("z", "a") for f in ("white", "black")
    ]
    one = figures.wide(frame[frame["fill"] == "white"], "network", "map", "auc")
    assert one.values.tolist() == [
        ["z", "zwhitepositive", "zwhiteactive"],
        ["a", "awhitepositive", "awhiteactive"],
    ]


def test_a_wide_table_leaves_blank_what_is_not_there():
    frame = pd.DataFrame(
        {"network": ["a", "a", "b"], "map": ["x", "y", "x"], "auc": [1.0, 2.0, 3.0]}
    )
    assert (
        "| b | 3 |  |"
        in figures.table(figures.wide(frame, "network", "map", "auc"), x="g", y="g").data
    )


def test_a_value_and_half_its_interval():
    assert figures.give_or_take(0.25, 0.2, 0.32) == "0.250 ± 0.060"
    assert (
        figures.give_or_take(0.25, 0.2, 0.3, "+.2f") == "+0.25 ± 0.05"
        and figures.give_or_take(-0.25, -0.3, -0.2, "+.2f") == "-0.25 ± 0.05"
    )
