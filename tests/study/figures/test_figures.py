"""study.figures: what a figure shows is what it was given, and tables and digests print what they
should."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import same_color, to_hex

from study import figures, paths
from study.experiments.deletion import MATCHED
from study.figures import COLOURS, DASHES, LABELS, charts
from study.subjects.pictures import Dataset
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
    assert "no number" in figures.beside_table(None).data
    assert "|" not in figures.beside_table(None).data
    frame = pd.DataFrame(
        [
            {
                "paper": "Sign",
                "table": "Table 2",
                "row": "Active",
                "column": "CIFAR-10 CNN",
                "network": "Sign CNN, CIFAR-10",
                "published": 0.15,
                "printed": "0.15",
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
    names = [name.strip() for name in head.split("|")]
    values = [value.strip() for value in row.split("|")]
    shown = dict(zip(names, values, strict=True))
    assert (
        shown["network"],
        shown["printed"],
        shown["reproduced"],
        shown["95 % interval"],
        shown["verdict"],
    ) == ("Sign CNN, CIFAR-10", "0.15", "0.145", "0.140 to 0.151", "agree")
    at_zero = figures.beside_table(frame.assign(verdict_at_zero="agree")).data
    assert "| agree, at tolerance 0 too |" in at_zero
    assert "Table 2" in row
    assert "Active" in row
    assert head.count("|") == rule.count("|") == row.count("|")


def test_beside_table_says_how_each_number_was_made():
    frame = pd.DataFrame(
        [
            {
                "paper": "Sign",
                "table": "Table 1",
                "row": "Accuracy",
                "column": column,
                "network": column,
                "published": 0.6,
                "printed": "0.60",
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
    assert figures.interval(0.12345, 0.2) == "0.123 to 0.200"
    assert figures.interval(-1, 2, "+.1f") == "-1.0 to +2.0"


def test_what_not_measured_means_is_said_where_a_claim_is_not():
    told = {"id": ["a", "b"], "paper": "Sign", "section": "4.1", "quotation": ["one", "two"]}
    claims = pd.DataFrame(told).assign(about="", verdict=["holds", "not measured"])
    listed, said = figures.verdicts(claims).data.split("\n\n")  # a line apart is no list item
    assert listed.count("\n- ") == 1 and "on at least one network that the claim names" in said
    assert "at least one network" not in figures.verdicts(claims[:1]).data


def test_digest_prints_rounded_values(capsys):
    figures.digest(maps=torch.tensor([1.0, 2, 3, 4.00001]), flags=torch.tensor([True, False]))
    assert (
        capsys.readouterr().out
        == "maps: mean 2.5, sd 1.29, from 1 to 4\nflags: mean 0.5, sd 0.707, from 0 to 1\n"
    )


def test_digest_of_one_value(capsys):
    figures.digest(area=torch.tensor([0.25]))
    out = capsys.readouterr().out
    assert "0.25" in out
    assert "nan" not in out


@pytest.mark.parametrize("commit, profile", [("abc1234", "quick"), ("abc1234+", "paper")])
def test_the_provenance_line_names_data_profile_and_commit(commit, profile, monkeypatch):
    monkeypatch.setattr(paths, "commit", lambda: commit)
    figure = plt.figure()
    assert figures.signed(figure, "basic_cnn, cifar10 test, n = 10", profile) is figure
    text = figure.get_supxlabel()
    assert "basic_cnn, cifar10 test, n = 10" in text
    assert f"{profile} profile" in text
    assert text.endswith("commit abc1234")
    figure.canvas.draw()


# ---- pictures


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
        assert (shown(axes[row, 2]) == 0).all()
        assert axes[row, 2].get_images()[0].get_clim() == (0, 1)
    assert [axis.get_title() for axis in axes[0]] == ["Picture", "Original", "Active"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["bee", "n01/cat"]


def test_gallery_draws_large_maps_at_half_size_by_the_largest_of_four(who):
    large = torch.zeros(2, 130, 132)
    large[0, 7, 9] = 3.0
    large[1, 0, 0] = 2.0
    large[1, 129, 131] = 4.0
    figure = figures.gallery(who, torch.tensor([7, 2]), {"active": large})
    axes = np.array(drawn(figure)).reshape(2, 2)
    first, second = (axis.images[0].get_array() for axis in axes[:, 1])
    assert first.shape == (65, 66)
    assert np.argwhere(first).tolist() == [[3, 4]]
    assert first.max() == 1
    assert (second[0, 0], second[-1, -1]) == (0.5, 1)
    assert np.count_nonzero(second) == 2


def test_gallery_frames_what_is_recognised_no_more(who):
    altered = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    maps = {"active": torch.rand(2, 6, 5)}
    after = ("Gone", altered, [True, False])
    figure = figures.gallery(who, torch.tensor([0, 1]), maps, after=after)
    axes = np.array(drawn(figure)).reshape(2, 3)
    assert [framed(axis) for axis in axes.flat] == [False] * 5 + [True]
    assert axes[0, 2].get_title() == "Gone"
    assert np.array_equal(shown(axes[1, 2]), altered[1].permute(1, 2, 0).numpy())


def test_sign_panel(pictures):
    gradient = torch.zeros(3, 6, 5)
    gradient[0, 0, 0] = 3.0
    gradient[1, 0, 0] = -1.0
    gradient[2, 1, 1] = -2.0
    gradient[1, 1, 1] = 1.0
    *panels, bar = drawn(figures.sign_panel(pictures.images[4], gradient))
    assert bar.get_ylabel() == "logits a unit of the picture"
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["-3", "0", "3"]
    axes = {axis.get_title().replace("\n", " "): axis for axis in panels}
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
    *axes, _ = drawn(figures.sign_panel(pictures.images[4], torch.zeros(3, 6, 5)))
    assert not any(
        "nan" in axis.get_title() or np.isnan(shown(axis).astype(float)).any() for axis in axes
    )


def test_who_gains(pictures):
    gradients = torch.zeros(3, 6, 5)
    gradients[0, :3] = 1.0
    gradients[1, 3:] = 1.0
    gradients[1, :, 0] = -1.0
    axes = drawn(
        figures.who_gains(pictures.images[0], gradients, ("ant", "bee", "cat"), predicted=0)
    )
    assert axes[1].get_title() == "Gains if brighter\nant: 60% of pixels"
    assert axes[2].get_title() == "Gains if darker\nant: 40% of pixels"
    for axis, winner in ((axes[1], gradients.argmax(0)), (axes[2], gradients.argmin(0))):
        hexes = [[to_hex(pixel) for pixel in line] for line in shown(axis)]
        own = np.array(hexes) == charts.PREDICTED.lower()
        assert np.array_equal(own, (winner == 0).numpy())
        assert len({to_hex(c) for c in shown(axis)[~own]}) >= 1


# ---- curves


def test_every_map_has_a_look_of_its_own():
    shown = {name for names in MATCHED.values() for name in names}
    assert set(DASHES) == set(LABELS) == shown
    assert len({COLOURS[name] for name in shown}) == 5


def table_of(value):
    """A table with a row for each map, fill and fraction whose values tell them apart."""
    rows = []
    for m, name in enumerate(LABELS):
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


def test_published_beside_reproduced():
    columns = ["table", "row", "network", "published", "reproduced", "low", "high", "verdict"]
    rows = [
        ["Table 1", "Accuracy", "CNN", 0.63, 0.64, 0.63, 0.65, "agree"],
        ["Table 2", "Active", "CNN", 0.15, 0.30, 0.25, 0.35, "disagree"],
        ["Table 3", "Inactive", "CNN", 0.15, 0.15, 0.15, 0.15, "agree"],
    ]
    frame = pd.DataFrame(rows, columns=columns)
    (axis,) = drawn(figures.published_beside_reproduced(frame))
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "Accuracy: CNN",
        "Active (black): CNN",
        "Inactive (white): CNN",
    ]
    assert axis.yaxis_inverted()
    assert [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axis.get_lines()
        if line.get_marker() == "x"
    ] == [(0.63, 0), (0.15, 1), (0.15, 2)]
    dots = [line for line in axis.get_lines() if line.get_marker() == "o"]
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots]
    assert places == [(0.64, 0), (0.30, 1), (0.15, 2)]
    assert [same_color(line.get_color(), RED) for line in dots] == [False, True, False]
    bands = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axis.patches]
    # the larger of tolerance and half-width
    assert bands == [pytest.approx(band) for band in ((0.61, 0.65), (0.10, 0.20), (0.13, 0.17))]


def test_a_compact_figure_is_a_small_png_of_few_colours_and_is_closed():
    figure, axis = plt.subplots()
    axis.imshow(np.random.default_rng(0).random((60, 60, 3)))
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=76)
    shown = figures.compact(figure, colours=32)
    picture = PIL.Image.open(io.BytesIO(shown.data))
    assert shown.format == "png"
    assert len(picture.getcolors()) <= 32
    assert len(shown.data) < len(full.getvalue()) / 2
    assert not plt.fignum_exists(figure.number)


def test_a_colour_bar_is_drawn_in_even_steps_beside_pictures_of_many_colours():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (1, 3, 40, 40), generator=generator).to(torch.uint8)
    maps = {"map": torch.randn(1, 40, 40, generator=generator)}
    shown = figures.compact(figures.map_rows(images, maps, ["a"]), dpi=192, colours=128)
    pixels = np.asarray(PIL.Image.open(io.BytesIO(shown.data)).convert("RGB")).astype(int)
    # the bar is the row of many colours that has no two far apart beside each other
    inner = [row[150:-150] for row in pixels[-150:]]
    rows = [row for row in inner if len(np.unique(row, axis=0)) > 25]
    bar = min(rows, key=lambda row: np.abs(np.diff(row, axis=0)).max())
    lengths = np.diff(np.flatnonzero(np.diff(bar, axis=0).any(1)))
    assert lengths.max() < 1.5 * len(bar) / 43  # a third of the colours


def test_a_value_and_half_its_interval():
    assert figures.give_or_take(0.25, 0.2, 0.32) == "0.250 ± 0.060"
    assert figures.give_or_take(0.25, 0.2, 0.3, "+.2f") == "+0.25 ± 0.05"
    assert figures.give_or_take(-0.25, -0.3, -0.2, "+.2f") == "-0.25 ± 0.05"
