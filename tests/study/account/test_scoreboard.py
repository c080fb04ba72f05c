"""study.account.scoreboard: the table of the 60 numbers follows from stored cells alone."""

from __future__ import annotations

import csv
import io
import itertools
import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from study.account import plan, published, scoreboard, table1
from study.experiments import deletion, retraining, retraining_tables
from study.paths import ROOT
from study.store import cells
from study.subjects import networks, sources
from study.subjects.subject import Subject
from study.subjects.training import Protocol
from tests.conftest import HEADER, paths

pytestmark = pytest.mark.usefixtures("one_thread")

EMPTY = [
    "reproduced",
    "low",
    "high",
    "n",
    "data",
    "model",
    "protocol",
    "verdict",
    "verdict_at_zero",
    *scoreboard.OTHER,
]
CNN, RESNET = "CIFAR-10 CNN", "CIFAR-10 ResNet-18"
ORIGINAL, PATCHED_ORIGINAL = "815bee49b921", "5b202fb4ead2"
SEEDS = ("cifar10", "cifar10-seed1", "cifar10-seed2")
PLAIN, PATCHED = "CIFAR-10", "CIFAR-10 with random patch"


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """Weights of every network of the table, with cards, and no cell yet.

    Of networks whose card alone is kept, none.
    """
    paths(monkeypatch, tmp_path)
    protocols = {(model, tag): protocol for model, _, tag, protocol in plan.TRAINED}
    kept = [
        (name, tag)
        for _, name, tags in scoreboard.COLUMNS.values()
        for tag in tags
        if (name, tag) not in plan.CARD_ALONE
    ]
    for k, (name, tag) in enumerate(kept):
        network = networks.load(name, classes=sources.CIFAR10_CLASSES, seed=k)
        networks.save(
            network,
            tmp_path / "weights" / f"{name}-{tag}.safetensors",
            {"classes": list(sources.CIFAR10_CLASSES), "protocol": asdict(protocols[name, tag])},
        )
    return tmp_path


def put(network, tag, value, half=0.004, *, experiment="accuracy", **parameters):
    """Store a cell of one network.

    Its accuracy, or the area under a curve if `map` and `fill` are given.
    """
    name = "auc" if experiment == "deletion" else "accuracy"
    about = {
        "dataset": "cifar10",
        "split": "test",
        "n": 10_000,
        "data": ORIGINAL,
        "model": network,
        "weights": tag,
    }
    about["weights_hash"] = networks.fingerprint(networks.load(network, tag))
    label = "-".join(map(str, (network, tag, *parameters.values())))
    cells.finished(
        cells.Cell(experiment, label, about | parameters),
        lambda: {"rows": [{name: value, "low": value - half, "high": value + half}]},
    )


def test_each_dataset_is_whole_in_its_own_number(printed):
    put("basic_cnn", "imagenette", 0.62, dataset="imagenette", n=3_856, data="fe")
    cnn = row("Imagenette CNN")
    assert (cnn["reproduced"], cnn["n"], cnn["verdict"]) == (0.62, 3_856, "agree")
    # 10,000 pictures are no test split of Imagenette
    put("resnet18", "imagenette", 0.8, dataset="imagenette")
    assert blank(row("Imagenette ResNet-18"))


def test_stand_ins_have_the_numbers_of_the_pretrained_columns(printed):
    assert len(scoreboard.stand_ins()) == 0
    network = networks.load("basic_cnn", classes=sources.CIFAR10_CLASSES)
    networks.save(
        network,
        printed / "weights" / "basic_cnn-more.safetensors",
        {
            "classes": list(sources.CIFAR10_CLASSES),
            "protocol": asdict(Protocol(trains="last layer, frozen")),
        },
    )
    whole = {"dataset": "imagenette", "n": 3_856}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            scoreboard, "STAND_INS", {"Small pretrained": ("imagenette", "basic_cnn", ("more",))}
        )
        put("basic_cnn", "more", 0.97, **whole)
        put("basic_cnn", "more", 0.2, experiment="deletion", **whole, map="active", fill="black")
        stand_ins = scoreboard.stand_ins()
    assert stand_ins[["table", "row", "column", "reproduced"]].values.tolist() == [
        ["Table 1", "Accuracy", "Small pretrained", 0.97],
        ["Table 2", "Active", "Small pretrained", 0.2],
    ]
    assert set(stand_ins["protocol"]) == {
        "AdamW 0.001, batch 128, 50 epochs, last layer, frozen, 1 seed"
    }
    # a stand-in is no reproduction
    assert row("Imagenette ResNet-18 pretrained")["verdict"] == "needs a download"


def test_pretrained_numbers_stand_beside_what_stands_in_for_them(printed):
    beside = scoreboard.beside_pretrained(["Table 1", "Table 3"])
    assert beside["number"].tolist() == [
        "Table 1, Accuracy",
        "Table 3, Original",
        "Table 3, Negative",
        "Table 3, Inactive",
    ]
    assert list(beside.columns[1:]) == [
        "ResNet-18 pretrained, printed",
        "ConvNeXt pretrained, printed",
    ]
    assert beside.iloc[0, 1:].tolist() == ["0.9733", "0.9932"]
    stand_in = {
        "table": "Table 3",
        "row": "Negative",
        "column": "Small pretrained",
        "reproduced": 0.2,
        "low": 0.18,
        "high": 0.23,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoreboard, "stand_ins", lambda: pd.DataFrame([stand_in]))
        beside = scoreboard.beside_pretrained(["Table 1", "Table 3"])
    assert beside["Small pretrained, here"].fillna("").tolist() == [
        "",
        "",
        "0.200 (0.180 to 0.230)",
        "",
    ]


def grid(heights: dict[str, float], seeds=(1, 2), step: float = 0.002) -> pd.DataFrame:
    """A table of retrainings, of ROAR and of KAR.

    Accuracies are the same at every fraction, and seed by seed `step` apart.
    """
    rows = [
        {"method": "none", "mode": "none", "fraction": 0.0, "seed": s, "accuracy": 0.7}
        for s in seeds
    ]
    for method, mode, fraction, seed in itertools.product(
        heights, retraining.MODES, retraining.FRACTIONS, seeds
    ):
        rows.append(
            {
                "method": method,
                "mode": mode,
                "fraction": fraction,
                "seed": seed,
                "accuracy": heights[method] + seed * step,
            }
        )
    frame = pd.DataFrame(rows)
    frame.attrs["test_data"] = ORIGINAL
    return frame


WHOLE_MAPS = dict(
    zip(retraining.PRINTED, (0.5, 0.48, 0.502, 0.47, 0.5, 0.49, 0.495, 0.5), strict=True)
)
UNDER_THRESHOLD = dict(zip(retraining.CUT, (0.512, 0.497, 0.5, 0.48, 0.48, 0.5), strict=True))


def stored_at(monkeypatch, **by_epochs):
    """Let `retraining_tables.stored` return the table of each protocol: `short`, `full`."""
    empty = grid({})
    tables = {
        retraining.SHORT: by_epochs.get("short", empty),
        retraining.FULL: by_epochs.get("full", empty),
    }
    monkeypatch.setattr(retraining_tables, "stored", lambda protocol, current: tables[protocol])


def noise_row(name: str, column: str = "ROAR AUC"):
    return row(column, name, "Table 1", "Noise")


def test_both_readings_of_table_1_are_judged_by_their_difference_from_random(printed, monkeypatch):
    stored_at(monkeypatch, short=grid(WHOLE_MAPS | UNDER_THRESHOLD))
    saliency, rectgrad, guided = (
        noise_row(name) for name in ("Saliency map", "RectGrad", "Guided backpropagation")
    )
    # printed differences from random: saliency +.0006, RectGrad -.0177, Guided Backprop. -.0058
    assert saliency["reproduced"] == pytest.approx(0.515)
    assert saliency["other_reproduced"] == pytest.approx(0.505)
    assert (saliency["verdict"], saliency["other_verdict"]) == ("disagree", "agree")
    assert guided["reproduced"] == pytest.approx(0.5)
    assert guided["other_reproduced"] == pytest.approx(0.473)
    assert (guided["verdict"], guided["other_verdict"]) == ("agree", "disagree")
    assert rectgrad["reproduced"] == rectgrad["other_reproduced"]
    assert rectgrad["verdict"] == rectgrad["other_verdict"] == "agree"
    assert rectgrad["verdict_at_zero"] == "disagree"
    assert noise_row("Saliency map", "KAR AOC")["reproduced"] == pytest.approx(1 - 0.515)
    # eight methods of two seeds leave eight degrees of freedom
    half = t.ppf(0.975, 8) * 0.002 / 2**0.5 / 2**0.5
    assert saliency["high"] - saliency["low"] == pytest.approx(2 * half, abs=2e-6)
    assert "3 epochs, 2 seeds" in saliency["protocol"]
    assert "original pixels" in saliency["data"]
    assert saliency["other_reading"].startswith("the released code")


def test_the_random_baseline_has_levels_and_no_verdict(printed, monkeypatch):
    stored_at(monkeypatch, short=grid(WHOLE_MAPS | UNDER_THRESHOLD))
    for column, level in (("ROAR AUC", 0.503), ("KAR AOC", 0.497)):
        random = noise_row("Random", column)
        assert (random["reproduced"], random["other_reproduced"]) == pytest.approx((level, level))
        assert random["verdict"] == random["verdict_at_zero"] == random["other_verdict"] == ""


def test_readings_never_mix_protocols(printed, monkeypatch):
    """Both by twenty epochs where both are whole, else both by three.

    Where only one is whole anywhere, it stands alone.
    """
    whole, cut = grid(WHOLE_MAPS), grid(WHOLE_MAPS | UNDER_THRESHOLD)
    stored_at(monkeypatch, full=whole, short=cut)
    assert table1.readings()[0] == retraining.SHORT
    assert "3 epochs" in noise_row("DeepLIFT")["protocol"]
    stored_at(monkeypatch, full=cut, short=cut)
    assert table1.readings()[0] == retraining.FULL
    assert "20 epochs" in noise_row("DeepLIFT")["protocol"]
    missing = cut[cut["method"] != "thresholded:deeplift"]
    missing.attrs["test_data"] = ORIGINAL
    stored_at(monkeypatch, full=whole, short=missing)
    protocol, readings = table1.readings()
    assert protocol == retraining.FULL and list(readings) == ["released code"]
    alone = noise_row("DeepLIFT")
    assert pd.isna(alone["reproduced"]) and pd.isna(alone["verdict"])
    assert alone["other_reproduced"] == pytest.approx(0.503)
    assert "20 epochs" in alone["protocol"]
    stored_at(monkeypatch)
    assert table1.readings()[1] == {} and blank(noise_row("DeepLIFT")) and table1.beside() is None


def test_twenty_epochs_of_one_reading_are_a_further_line(printed, monkeypatch):
    whole, cut = grid(WHOLE_MAPS), grid(WHOLE_MAPS | UNDER_THRESHOLD)
    stored_at(monkeypatch, full=whole, short=cut)
    released = table1.readings()[1][table1.RELEASED]
    agree = sum(released["verdict"] == "agree")
    (line,) = table1.further()
    assert "20 epochs only the reading by the released code" in line
    assert f"{agree} of 14 differences" in line and agree
    assert set(table1.beside()["protocol"]) == {"short"}
    for both in ({"full": cut, "short": cut}, {"full": whole}, {"short": cut}):
        stored_at(monkeypatch, **both)
        assert table1.further() == []


def test_one_seed_makes_no_row(printed, monkeypatch):
    stored_at(monkeypatch, short=grid(WHOLE_MAPS | UNDER_THRESHOLD, seeds=(1,)))
    assert blank(noise_row("RectGrad")) and table1.beside() is None


def test_methods_that_the_paper_lacks_do_not_move_its_intervals(printed, monkeypatch):
    rows = []
    for more in ({}, {"positive": 0.3}):
        frame = grid(WHOLE_MAPS | UNDER_THRESHOLD)
        odd = grid(more, step=0.05)
        frame = pd.concat([frame, odd[odd["method"] != "none"]])
        frame.attrs["test_data"] = ORIGINAL
        stored_at(monkeypatch, short=frame)
        rows.append(noise_row("RectGrad"))
    assert rows[0] == rows[1]


def test_table_1_stands_beside_print_in_its_own_order(printed, monkeypatch):
    stored_at(monkeypatch, short=grid(WHOLE_MAPS | UNDER_THRESHOLD))
    beside = table1.beside()
    numbers = [n for n in published.numbers() if (n.paper, n.table) == ("Noise", "Table 1")]
    assert beside[["row", "column", "printed"]].values.tolist() == [
        [n.row, n.column, n.published] for n in numbers
    ]
    saliency = beside.set_index(["row", "column"]).loc[("Saliency map", "ROAR AUC")]
    assert saliency["method"] == "saliency"
    assert saliency["text_method"] == "thresholded:saliency"
    assert saliency["epochs"] == 3
    assert saliency["difference"] == pytest.approx(0.002)
    assert saliency["text_difference"] == pytest.approx(0.012)
    assert saliency["printed_difference"] == pytest.approx(0.0006)
    stored_at(monkeypatch, full=grid(WHOLE_MAPS))
    alone = table1.beside()
    assert alone["text_area"].isna().all() and set(alone["text_verdict"]) == {""}
    assert alone["area"].notna().all()


def test_how_near_each_reading_comes_and_how_near_nothing_would(printed, monkeypatch):
    stored_at(monkeypatch, short=grid(WHOLE_MAPS | UNDER_THRESHOLD))
    printed_differences = {
        "ROAR AUC": (0.0006, -0.0058, -0.0026, -0.0154, -0.0134, -0.0043),
        "KAR AOC": (0.0017, -0.0168, 0.0006, -0.0262, -0.0253, -0.0510),
    }

    def near(differences):
        return sum(
            abs(p - s * d) <= 0.01 + 1e-12
            for s, column in ((1, "ROAR AUC"), (-1, "KAR AOC"))
            for p, d in zip(printed_differences[column], differences, strict=True)
        )

    text, released = (
        [h - 0.5 for h in heights]
        for heights in (UNDER_THRESHOLD.values(), [WHOLE_MAPS[m] for m in retraining.PRINTED[2:]])
    )
    assert table1.within_tolerance() == {
        "text": (near(text), near([0] * 6), 12),
        "released code": (near(released), near([0] * 6), 12),
    }
    assert near([0] * 6) == 6


def row(column, name="Accuracy", table="Table 1", paper="Sign"):
    wanted = "paper == @paper and column == @column and row == @name and table == @table"
    (only,) = scoreboard.table().query(wanted).to_dict("records")
    return only


def blank(number) -> bool:
    return all(pd.isna(number[name]) for name in EMPTY)


def test_without_cells_every_number_is_there_and_nothing_else(printed):
    frame = scoreboard.table()
    waits = frame["column"].str.endswith("pretrained")
    assert len(frame) == 60 and frame[~waits][EMPTY].isna().all(axis=None)
    assert waits.sum() == 14 and (frame[waits]["verdict"] == "needs a download").all()
    assert frame[waits][[c for c in EMPTY if c != "verdict"]].isna().all(axis=None)
    assert frame[list(published.Number._fields)].values.tolist() == [
        list(number) for number in published.numbers()
    ]


def test_the_file_has_the_agreed_columns_and_blanks(printed):
    put("resnet18", "cifar10", 0.76)
    plan.main(["table"])
    text = scoreboard.CSV.read_text()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == HEADER and len(lines) == 60
    (done,) = (line for line in lines if line["reproduced"])
    expected = {
        "column": RESNET,
        "published": "0.7569",
        "reproduced": "0.76",
        "low": "0.756",
        "high": "0.764",
        "n": "10000",
    }
    assert expected.items() <= done.items()
    for line in lines:
        if line is not done:
            assert line["verdict"] in ("", "needs a download")
            assert all(line[name] == "" for name in EMPTY if name != "verdict")


def test_one_network(printed):
    put("resnet18", "cifar10", 0.76)
    resnet = row(RESNET)
    assert (resnet["reproduced"], resnet["n"]) == (0.76, 10_000)
    assert (resnet["low"], resnet["high"]) == (0.756, 0.764)
    assert resnet["data"].startswith("cifar10 test, ") and "original pixels" in resnet["data"]
    assert resnet["model"] == "resnet18"
    assert "50 epochs" in resnet["protocol"] and "1 seed" in resnet["protocol"]
    assert "seeds" not in resnet["protocol"]
    # .0031 away, half-width .004
    assert (resnet["verdict"], resnet["verdict_at_zero"]) == ("agree", "agree")
    assert blank(row(CNN)) and scoreboard.table()["reproduced"].notna().sum() == 1


@pytest.mark.parametrize(
    "value, half, verdict, at_zero",
    [
        (0.7569, 0, "agree", "agree"),
        (0.76, 0.003, "agree", "disagree"),
        (0.7769, 0.004, "agree", "disagree"),
        (0.7771, 0.004, "disagree", "disagree"),
        (0.79, 0.04, "agree", "agree"),
    ],
)
def test_verdicts(value, half, verdict, at_zero, printed):
    put("resnet18", "cifar10", value, half)
    assert (row(RESNET)["verdict"], row(RESNET)["verdict_at_zero"]) == (verdict, at_zero)


@pytest.mark.parametrize(
    "values, halves, half",
    [
        # seeds differ more than images
        ((0.62, 0.63, 0.64), (0.009, 0.01, 0.011), t.ppf(0.975, 2) * 0.01 / 3**0.5),
        # images more than seeds: the mean of their half-widths
        ((0.63, 0.63, 0.63), (0.009, 0.01, 0.014), 0.011),
        ((0.62, 0.63, 0.64), (0.03, 0.03, 0.03), 0.03),
    ],
)
def test_over_seeds_the_larger_interval_counts(values, halves, half, printed):
    for tag, value, own in zip(SEEDS, values, halves, strict=True):
        put("basic_cnn", tag, value, own)
    cnn = row(CNN)
    assert cnn["reproduced"] == 0.63
    assert (cnn["low"], cnn["high"]) == pytest.approx((0.63 - half, 0.63 + half), abs=6e-5)
    assert "3 seeds" in cnn["protocol"] and cnn["n"] == 10_000


def test_a_seed_that_is_missing_leaves_the_number_blank(printed):
    for tag in SEEDS[:2]:
        put("basic_cnn", tag, 0.63)
    assert blank(row(CNN))
    put("basic_cnn", SEEDS[2], 0.63)
    assert row(CNN)["reproduced"] == 0.63


def test_accuracies_of_paper_noise(printed):
    """Its two numbers stand in an appendix.

    The patched network has one seed, the plain one three.
    """
    put("rectgrad_cnn", "cifar10+patch", 0.745, dataset="cifar10+patch")
    for tag, value in zip(SEEDS, (0.75, 0.76, 0.77), strict=True):
        put("rectgrad_cnn", tag, value)
    plain, patched = (row(column, table="Appendix F", paper="Noise") for column in (PLAIN, PATCHED))
    assert (plain["published"], plain["reproduced"]) == (0.746, 0.76)
    assert (plain["verdict"], plain["model"]) == ("agree", "rectgrad_cnn")
    assert (patched["published"], patched["reproduced"]) == (0.731, 0.745)
    assert (patched["verdict"], patched["verdict_at_zero"]) == ("agree", "disagree")
    assert plain["data"].startswith("cifar10 test, ")
    assert patched["data"].startswith("cifar10+patch test, ")
    assert "3 seeds" in plain["protocol"] and "1 seed" in patched["protocol"]
    assert scoreboard.table()["reproduced"].notna().sum() == 2  # ROAR and KAR wait


def test_the_protocol_is_that_of_the_card(printed):
    for tag in SEEDS:
        put("rectgrad_cnn", tag, 0.76)
        put("basic_cnn", tag, 0.63)
    assert (
        row(PLAIN, table="Appendix F", paper="Noise")["protocol"]
        == "Adam 0.001, batch 100, 20 epochs, one order for all epochs, 3 seeds"
    )
    protocol = row(CNN)["protocol"]
    assert "order" not in protocol and protocol.endswith("50 epochs, 3 seeds")


def test_each_area_goes_to_its_map_and_fill(printed):
    values = {
        pair: (10 + k) / 100
        for k, pair in enumerate((m, f) for m in deletion.MAPS for f in deletion.FILLS)
    }
    for (name, fill), value in values.items():
        put("resnet18", "cifar10", value, experiment="deletion", map=name, fill=fill)
    reproduced = {
        (r.table, r.row): r.reproduced
        for r in scoreboard.table().dropna(subset=["reproduced"]).itertuples()
    }
    expected = {}
    for m in ("original", "positive", "active"):
        expected["Table 2", m.capitalize()] = values[m, "black"]
    for m in ("original", "negative", "inactive"):
        expected["Table 3", m.capitalize()] = values[m, "white"]
    assert reproduced == expected


@pytest.mark.parametrize(
    "other",
    [
        {"weights_hash": "0" * 12},
        {"split": "train"},
        {"n": 2000},
        {"dataset": "shapes10"},
        {"weights": "cifar10-seed7"},
        {"model": "basic_cnn"},
    ],
    ids=str,
)
def test_cells_of_anything_else_are_ignored(other, printed):
    put("resnet18", "cifar10", 0.5, **other)
    assert blank(row(RESNET))
    put("resnet18", "cifar10", 0.76)
    assert row(RESNET)["reproduced"] == 0.76


def test_cells_of_weights_that_were_replaced_are_ignored(printed):
    put("resnet18", "cifar10", 0.76)
    network = networks.load("resnet18", classes=sources.CIFAR10_CLASSES, seed=99)
    networks.save(
        network,
        printed / "weights" / "resnet18-cifar10.safetensors",
        networks.card("resnet18", "cifar10"),
    )
    assert blank(row(RESNET))


def test_a_seed_whose_card_alone_is_kept_counts_like_any_other(printed):
    put("resnet18", "cifar10", 0.75)
    card = networks.card("resnet18", "cifar10") | {"weights_hash": "abcdefabcdef"}
    for tag, accuracy in zip(SEEDS[1:], (0.76, 0.74), strict=True):
        (printed / "weights" / f"resnet18-{tag}.json").write_text(json.dumps(card))
        assert blank(row(RESNET))  # a card without its cell leaves the number blank
        about = {
            "dataset": "cifar10",
            "split": "test",
            "n": 10_000,
            "data": ORIGINAL,
            "model": "resnet18",
            "weights": tag,
            "weights_hash": "abcdefabcdef",
        }
        measured = {"accuracy": accuracy, "low": accuracy - 0.004, "high": accuracy + 0.004}
        cells.finished(
            cells.Cell("accuracy", tag, about), lambda measured=measured: {"rows": [measured]}
        )
    resnet = row(RESNET)
    assert resnet["reproduced"] == 0.75 and "3 seeds" in resnet["protocol"]
    assert resnet["high"] - resnet["low"] > 0.04


def test_seeds_are_beside_each_other_by_map(printed):
    for tag, area in zip(SEEDS, (0.14, 0.12, 0.15), strict=True):
        put("basic_cnn", tag, area, experiment="deletion", map="negative", fill="white")
    # one seed has no range
    put("basic_cnn", SEEDS[0], 0.3, experiment="deletion", map="positive", fill="black")
    assert scoreboard.over_seeds().to_dict("records") == [
        {"map": "negative", "fill": "white", "least": 0.12, "most": 0.15}
    ]


def test_the_network_before_its_cooldown_stands_beside_itself():
    """Measured once, on weights that are not kept.

    The file is whole, and its rows speak of the printed numbers.
    """
    measured = scoreboard.beside_constant_rate()
    assert measured["network"].unique().tolist() == [
        "after the cooldown",
        "before it",
        "before it, fresh statistics",
    ]
    rows_of_network = measured.groupby("network")["row"].apply(tuple)
    assert rows_of_network.nunique() == 1 and len(measured) == 3 * 7
    printed = {
        (n.row.lower(), scoreboard.FILL_OF.get(n.table, "")): n.published
        for n in published.numbers()
        if n.column == "Imagenette ResNet-18"
    }
    assert [printed[r.row, r.fill] for r in measured.itertuples()] == measured["printed"].tolist()
    after = measured[measured["network"] == "after the cooldown"].set_index(["row", "fill"])
    for r in measured.itertuples():
        difference = r.value - after.loc[(r.row, r.fill), "value"]
        assert r.difference == pytest.approx(difference, abs=2e-5)
        if r.row == "accuracy" or r.network == "after the cooldown":
            assert np.isnan(r.low)
        else:
            assert r.low < r.difference < r.high


def test_other_pixels_are_no_other_seed(printed):
    """Class folders and the original order of CIFAR-10 give one network two cells of one name."""
    put("basic_cnn", SEEDS[0], 0.63)
    put("basic_cnn", SEEDS[1], 0.63)
    put("basic_cnn", SEEDS[0], 0.70, data="0" * 12)
    assert blank(row(CNN))  # the third seed is still missing
    put("resnet18", "cifar10", 0.76)
    put("resnet18", "cifar10", 0.70, data="0" * 12)
    assert row(RESNET)["reproduced"] in (0.76, 0.70)  # of one set of pixels, not the mean of both


def test_beside_published_finds_the_rows_of_the_subjects(printed):
    put("resnet18", "cifar10", 0.76)
    put("resnet18", "cifar10", 0.12, experiment="deletion", map="active", fill="black")
    who = Subject(None, SimpleNamespace(name="cifar10"), "resnet18", "cifar10")
    assert scoreboard.beside_published(["Table 1"], [who])["reproduced"].tolist() == [0.76]
    assert scoreboard.beside_published(["Table 2", "Table 3"], [who])["row"].tolist() == ["Active"]
    assert scoreboard.beside_published(["Table 3"], [who]) is None
    assert scoreboard.beside_published(["Table 1"], [who._replace(model_name="basic_cnn")]) is None
    elsewhere = who._replace(pictures=SimpleNamespace(name="shapes10"))
    assert scoreboard.beside_published(["Table 1"], [elsewhere]) is None
    put("rectgrad_cnn", "cifar10+patch", 0.745, dataset="cifar10+patch")
    patched = Subject(None, SimpleNamespace(name="cifar10+patch"), "rectgrad_cnn", "cifar10+patch")
    in_appendix = scoreboard.beside_published(["Appendix F"], [patched, who])
    assert in_appendix["column"].tolist() == [PATCHED]
    # Noise's Table 1 has other columns
    in_table = scoreboard.beside_published(["Table 1"], [patched, who])
    assert in_table["paper"].tolist() == ["Sign"]


# ---- what is committed


@pytest.mark.skipif(
    not scoreboard.CSV.exists(), reason="data/results/reproduction.csv has not been computed yet"
)
def test_the_committed_table_follows_from_the_committed_cells():
    assert scoreboard.CSV.read_text() == scoreboard.table().to_csv(index=False)


def test_every_committed_number_on_cifar10_rests_on_the_original_pixels():
    table = pd.read_csv(ROOT / "data" / "results" / "reproduction.csv")
    on_cifar10 = table.dropna(subset=["reproduced"]).query("data.str.startswith('cifar10')")
    wanted = {
        f"{name} test, {sources.described(pixels)}"
        for name, pixels in (("cifar10", ORIGINAL), ("cifar10+patch", PATCHED_ORIGINAL))
    }
    assert set(on_cifar10["data"]) == wanted and len(on_cifar10) >= 16
    judged = on_cifar10[on_cifar10["row"] != "Random"]  # what others are measured against
    assert not judged[["low", "high", "verdict", "verdict_at_zero"]].isna().any(axis=None)
