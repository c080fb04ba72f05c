"""lib.reproduction: the table of the 60 numbers follows from stored cells alone."""
from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t

from conftest import HEADER, paths
from lib import data, experiments, models, published, reproduce, reproduction, results, roar, roar_tables
from lib.subjects import Subject
from lib.training import Protocol

pytestmark = pytest.mark.usefixtures("one_thread")

EMPTY = ["reproduced", "low", "high", "n", "data", "model", "protocol", "verdict", "verdict_at_zero"]
CNN, RESNET = "CIFAR-10 CNN", "CIFAR-10 ResNet-18"
JPEG = next(iter(json.loads((data.ROOT / "data" / "manifest.json").read_text())["fingerprints"]))
SEEDS = ("cifar10", "cifar10-seed1", "cifar10-seed2")
PLAIN, PATCHED = "CIFAR-10", "CIFAR-10 with random patch"


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """Weights of every network of the table, with cards, and no cell yet."""
    paths(monkeypatch, tmp_path)
    protocols = {(model, tag): protocol for model, _, tag, protocol in reproduce.TRAINED}
    for k, (name, tag) in enumerate((name, tag) for _, name, tags in reproduction.COLUMNS.values() for tag in tags):
        network = models.load(name, classes=data.CIFAR10_CLASSES, seed=k)
        models.save(network, tmp_path / "weights" / f"{name}-{tag}.safetensors", {"classes": list(data.CIFAR10_CLASSES), "protocol": asdict(protocols[name, tag])})
    return tmp_path


def put(network, tag, value, half=.004, *, experiment="accuracy", **parameters):
    """Store a cell of one network: its accuracy, or the area under a curve if `map` and `fill` are given."""
    name = "auc" if experiment == "deletion" else "accuracy"
    about = {"dataset": "cifar10", "split": "test", "n": 10_000, "data": JPEG, "model": network, "weights": tag}
    about["weights_hash"] = models.fingerprint(models.load(network, tag))
    results.cell(experiment, "-".join(map(str, (network, tag, *parameters.values()))), about | parameters,
                 lambda: {"rows": [{name: value, "low": value - half, "high": value + half}]})


def test_each_dataset_is_whole_in_its_own_number(printed):
    put("basic_cnn", "imagenette", .62, dataset="imagenette", n=3_856, data="fe")
    found = row("Imagenette CNN")
    assert (found["reproduced"], found["n"], found["verdict"]) == (.62, 3_856, "agree")
    put("resnet18", "imagenette", .8, dataset="imagenette")   # 10,000 pictures are no test split of Imagenette
    assert blank(row("Imagenette ResNet-18"))


def test_stand_ins_have_the_numbers_of_the_pretrained_columns(printed):
    assert len(reproduction.stand_ins()) == 0
    network = models.load("basic_cnn", classes=data.CIFAR10_CLASSES)
    models.save(network, printed / "weights" / "basic_cnn-more.safetensors", {"classes": list(data.CIFAR10_CLASSES), "protocol": asdict(Protocol(trains="last layer, frozen"))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduction, "STAND_INS", {"Small pretrained": ("imagenette", "basic_cnn", ("more",))})
        put("basic_cnn", "more", .97, dataset="imagenette", n=3_856)
        put("basic_cnn", "more", .2, experiment="deletion", dataset="imagenette", n=3_856, map="active", fill="black")
        found = reproduction.stand_ins()
    assert found[["table", "row", "column", "reproduced"]].values.tolist() == [["Table 1", "Accuracy", "Small pretrained", .97], ["Table 2", "Active", "Small pretrained", .2]]
    assert set(found["protocol"]) == {"AdamW 0.001, batch 128, 50 epochs, last layer, frozen, 1 seed"}
    assert row("Imagenette ResNet-18 pretrained")["verdict"] == "needs a download"  # a stand-in is no reproduction


def test_pretrained_numbers_stand_beside_what_stands_in_for_them(printed):
    beside = reproduction.beside_pretrained(["Table 1", "Table 3"])
    assert beside["number"].tolist() == ["Table 1, Accuracy", "Table 3, Original", "Table 3, Negative", "Table 3, Inactive"]
    assert list(beside.columns[1:]) == ["ResNet-18 pretrained, printed", "ConvNeXt pretrained, printed"] and beside.iloc[0, 1:].tolist() == ["0.9733", "0.9932"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduction, "stand_ins", lambda: pd.DataFrame([{"table": "Table 3", "row": "Negative", "column": "Small pretrained", "reproduced": .2, "low": .18, "high": .23}]))
        beside = reproduction.beside_pretrained(["Table 1", "Table 3"])
    assert beside["Small pretrained, here"].fillna("").tolist() == ["", "", "0.200 (0.180 to 0.230)", ""]


def test_retrained_networks_are_judged_by_their_difference_from_random(printed, monkeypatch):
    heights = {"random": .5, "rectgrad": .48, "saliency": .502, "guided_backprop": .47}
    rows = [{"method": "none", "mode": "none", "fraction": 0., "seed": s, "accuracy": .7} for s in (0, 1)]
    rows += [{"method": m, "mode": "roar", "fraction": f, "seed": s, "accuracy": h + s * .002} for m, h in heights.items() for f in roar.FRACTIONS for s in (0, 1)]
    frame = pd.DataFrame(rows)
    frame.attrs["test_data"] = JPEG
    monkeypatch.setattr(roar_tables, "stored", lambda protocol, current: frame)
    found = {name: row("ROAR AUC", name, "Table 1", "Noise") for name in ("Random", "RectGrad", "Saliency map", "Guided backpropagation")}
    half = 2.776 * .002 / 2 ** .5 / 2 ** .5   # four methods of two seeds leave four degrees of freedom
    assert found["RectGrad"]["reproduced"] == .481 and found["RectGrad"]["high"] - found["RectGrad"]["low"] == pytest.approx(2 * half, abs=2e-4)
    beside = reproduction.beside_retrained()
    assert beside["row"].tolist() == list(found) and beside["verdict"].tolist() == [found[name]["verdict"] for name in found]
    assert beside["printed_difference"].round(4).tolist() == [0, -.0177, .0006, -.0058] and beside["difference"].round(4).tolist() == [0, -.02, .002, -.03]
    assert beside["cut_area"].isna().all() and set(beside["cut_verdict"]) == {""}
    with_threshold = pd.concat([frame, frame[frame["method"] == "saliency"].assign(method="thresholded:saliency", accuracy=lambda f: f["accuracy"] + .01)])
    with_threshold.attrs["test_data"] = JPEG
    with monkeypatch.context() as patch:
        patch.setattr(roar_tables, "stored", lambda protocol, current: with_threshold)
        cut = reproduction.beside_retrained().set_index("row").loc["Saliency map"]
        assert (cut["difference"].round(4), cut["cut_difference"].round(4), cut["verdict"], cut["cut_verdict"], cut["cut_seeds"]) == (.002, .012, "agree", "disagree", 2)
        one_seed = with_threshold[(with_threshold["seed"] == 0) | ~with_threshold["method"].str.startswith("thresholded")]
        one_seed.attrs["test_data"] = JPEG
        patch.setattr(roar_tables, "stored", lambda protocol, current: one_seed)
        cut = reproduction.beside_retrained().set_index("row").loc["Saliency map"]
        assert cut["cut_difference"].round(4) == .012 and np.isnan(cut["cut_low"]) and (cut["verdict"], cut["cut_verdict"]) == ("agree", "")
    # printed differences from random: RectGrad -.0177, saliency +.0006, Guided Backpropagation -.0058; here -.02, +.002, -.03, without spread
    assert [found[name]["verdict"] for name in found] == ["disagree", "agree", "agree", "disagree"]
    assert found["RectGrad"]["verdict_at_zero"] == "disagree" and "2 seeds" in found["RectGrad"]["protocol"] and "JPEG" in found["RectGrad"]["data"]
    assert blank(row("ROAR AUC", "DeepLIFT", "Table 1", "Noise")) and blank(row("KAR AOC", "RectGrad", "Table 1", "Noise"))
    frame = frame[frame["seed"] == 0]
    frame.attrs["test_data"] = JPEG
    assert blank(row("ROAR AUC", "RectGrad", "Table 1", "Noise")) and reproduction.beside_retrained() is None  # one seed has no interval


def test_methods_that_the_paper_lacks_do_not_move_its_intervals(printed, monkeypatch):
    heights = {"random": .5, "rectgrad": .48, "positive": .3}
    rows = [{"method": "none", "mode": "none", "fraction": 0., "seed": s, "accuracy": .7} for s in (1, 2, 3)]
    rows += [{"method": m, "mode": "roar", "fraction": f, "seed": s, "accuracy": h + s * .002 * (m != "positive" or s)} for m, h in heights.items() for f in roar.FRACTIONS for s in (1, 2, 3) if (m, s) != ("positive", 3)]
    frames = [pd.DataFrame(rows), pd.DataFrame([r for r in rows if r["method"] != "positive"])]
    found = []
    for frame in frames:
        frame.attrs["test_data"] = JPEG
        monkeypatch.setattr(roar_tables, "stored", lambda protocol, current: frame)
        found.append(row("ROAR AUC", "RectGrad", "Table 1", "Noise"))
    assert found[0] == found[1] and "3 seeds" in found[0]["protocol"]


def row(column, name="Accuracy", table="Table 1", paper="Sign"):
    found, = reproduction.table().query("paper == @paper and column == @column and row == @name and table == @table").to_dict("records")
    return found


def blank(found) -> bool:
    return all(pd.isna(found[name]) for name in EMPTY)


def test_without_cells_every_number_is_there_and_nothing_else(printed):
    frame = reproduction.table()
    waits = frame["column"].str.endswith("pretrained")
    assert len(frame) == 60 and frame[~waits][EMPTY].isna().all(axis=None)
    assert waits.sum() == 14 and (frame[waits]["verdict"] == "needs a download").all() and frame[waits].drop(columns=["verdict"])[[c for c in EMPTY if c != "verdict"]].isna().all(axis=None)
    assert frame[list(published.Number._fields)].values.tolist() == [list(number) for number in published.numbers()]


def test_the_file_has_the_agreed_columns_and_blanks(printed):
    put("resnet18", "cifar10", .76)
    reproduce.main(["table"])
    text = reproduction.CSV.read_text()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == HEADER and len(lines) == 60
    done, = (line for line in lines if line["reproduced"])
    assert (done["column"], done["published"], done["reproduced"], done["low"], done["high"], done["n"]) == (RESNET, "0.7569", "0.76", "0.756", "0.764", "10000")
    assert all(line[name] == "" for line in lines if line is not done for name in EMPTY if (name, line[name]) != ("verdict", "needs a download"))


def test_one_network(printed):
    put("resnet18", "cifar10", .76)
    found = row(RESNET)
    assert (found["reproduced"], found["low"], found["high"], found["n"]) == (.76, .756, .764, 10_000)
    assert found["data"].startswith("cifar10 test, ") and "JPEG" in found["data"] and found["model"] == "resnet18"
    assert "50 epochs" in found["protocol"] and "1 seed" in found["protocol"] and "seeds" not in found["protocol"]
    assert (found["verdict"], found["verdict_at_zero"]) == ("agree", "agree")  # .0031 away, half-width .004
    assert blank(row(CNN)) and reproduction.table()["reproduced"].notna().sum() == 1


@pytest.mark.parametrize("value, half, verdict, at_zero", [(.7569, 0, "agree", "agree"), (.76, .003, "agree", "disagree"), (.7769, .004, "agree", "disagree"),
                                                           (.7771, .004, "disagree", "disagree"), (.79, .04, "agree", "agree")])
def test_verdicts(value, half, verdict, at_zero, printed):
    put("resnet18", "cifar10", value, half)
    assert (row(RESNET)["verdict"], row(RESNET)["verdict_at_zero"]) == (verdict, at_zero)


@pytest.mark.parametrize("values, halves, half", [
    ((.62, .63, .64), (.009, .01, .011), t.ppf(.975, 2) * .01 / 3 ** .5),  # seeds differ more than images
    ((.63, .63, .63), (.009, .01, .014), .011),                            # images more than seeds: the mean of their half-widths
    ((.62, .63, .64), (.03, .03, .03), .03),
])
def test_over_seeds_the_larger_interval_counts(values, halves, half, printed):
    for tag, value, own in zip(SEEDS, values, halves):
        put("basic_cnn", tag, value, own)
    found = row(CNN)
    assert found["reproduced"] == .63 and (found["low"], found["high"]) == pytest.approx((.63 - half, .63 + half), abs=6e-5)
    assert "3 seeds" in found["protocol"] and found["n"] == 10_000


def test_a_seed_that_is_missing_leaves_the_number_blank(printed):
    for tag in SEEDS[:2]:
        put("basic_cnn", tag, .63)
    assert blank(row(CNN))
    put("basic_cnn", SEEDS[2], .63)
    assert row(CNN)["reproduced"] == .63


def test_accuracies_of_paper_noise(printed):
    """Its two numbers stand in an appendix; the patched network has one seed, the plain one three."""
    put("rectgrad_cnn", "cifar10+patch", .745, dataset="cifar10+patch")
    for tag, value in zip(SEEDS, (.75, .76, .77)):
        put("rectgrad_cnn", tag, value)
    plain, patched = (row(column, table="Appendix F", paper="Noise") for column in (PLAIN, PATCHED))
    assert (plain["published"], plain["reproduced"], plain["verdict"], plain["model"]) == (.746, .76, "agree", "rectgrad_cnn")
    assert (patched["published"], patched["reproduced"], patched["verdict"], patched["verdict_at_zero"]) == (.731, .745, "agree", "disagree")
    assert plain["data"].startswith("cifar10 test, ") and patched["data"].startswith("cifar10+patch test, ") and "3 seeds" in plain["protocol"] and "1 seed" in patched["protocol"]
    assert reproduction.table()["reproduced"].notna().sum() == 2      # ROAR and KAR wait


def test_the_protocol_is_that_of_the_card(printed):
    for tag in SEEDS:
        put("rectgrad_cnn", tag, .76)
        put("basic_cnn", tag, .63)
    assert row(PLAIN, table="Appendix F", paper="Noise")["protocol"] == "Adam 0.001, batch 100, 20 epochs, one order for all epochs, 3 seeds"
    assert "order" not in row(CNN)["protocol"] and row(CNN)["protocol"].endswith("50 epochs, 3 seeds")


def test_each_area_goes_to_its_map_and_fill(printed):
    values = {pair: (10 + k) / 100 for k, pair in enumerate((m, f) for m in experiments.MAPS for f in experiments.FILLS)}
    for (name, fill), value in values.items():
        put("resnet18", "cifar10", value, experiment="deletion", map=name, fill=fill)
    found = {(r.table, r.row): r.reproduced for r in reproduction.table().dropna(subset=["reproduced"]).itertuples()}
    assert found == {("Table 2", m.capitalize()): values[m, "black"] for m in ("original", "positive", "active")} | {
        ("Table 3", m.capitalize()): values[m, "white"] for m in ("original", "negative", "inactive")}


@pytest.mark.parametrize("other", [{"weights_hash": "0" * 12}, {"split": "train"}, {"n": 2000}, {"dataset": "shapes10"}, {"weights": "cifar10-seed7"}, {"model": "basic_cnn"}], ids=str)
def test_cells_of_anything_else_are_ignored(other, printed):
    put("resnet18", "cifar10", .5, **other)
    assert blank(row(RESNET))
    put("resnet18", "cifar10", .76)
    assert row(RESNET)["reproduced"] == .76


def test_cells_of_weights_that_were_replaced_are_ignored(printed):
    put("resnet18", "cifar10", .76)
    network = models.load("resnet18", classes=data.CIFAR10_CLASSES, seed=99)
    models.save(network, printed / "weights" / "resnet18-cifar10.safetensors", models.card("resnet18", "cifar10"))
    assert blank(row(RESNET))


def test_seeds_are_beside_each_other_by_map(printed):
    for tag, area in zip(SEEDS, (.14, .12, .15)):
        put("basic_cnn", tag, area, experiment="deletion", map="negative", fill="white")
    put("basic_cnn", SEEDS[0], .3, experiment="deletion", map="positive", fill="black")   # one seed has no range
    assert reproduction.over_seeds().to_dict("records") == [{"map": "negative", "fill": "white", "least": .12, "most": .15}]


def test_the_network_before_its_cooldown_stands_beside_itself_on_the_same_pictures(printed, monkeypatch):
    monkeypatch.setattr(reproduction, "current", lambda p: True)
    about = {"dataset": "imagenette", "split": "test", "data": "fe", "model": "resnet18", "weights_hash": "0"}
    chosen = torch.randperm(3_856, generator=torch.Generator().manual_seed(0))[:500].sort().values
    whole = torch.zeros(13, 3_856, dtype=torch.bool)
    whole[:, chosen[:100]] = True                      # a fifth of the 500 keeps its prediction throughout
    part = torch.zeros(13, 500, dtype=torch.bool)
    part[:, :150] = True
    assert reproduction.beside_constant_rate() is None
    for weights, n, kept in (("imagenette", 3_856, whole), (reproduction.CONSTANT[0], 500, part), (reproduction.CONSTANT[1], 500, ~part)):
        results.cell("deletion", weights, about | {"weights": weights, "n": n, "map": "active", "fill": "black"}, lambda: {"rows": [{"auc": .5}], "kept": results.pack(kept)})
        results.cell("accuracy", weights, about | {"weights": weights, "n": 3_856}, lambda: {"rows": [{"accuracy": n / 10_000}]})
    accuracy, area = (part for _, part in reproduction.beside_constant_rate().groupby("row"))
    assert (accuracy[["printed", "value"]].values == [[.8357, .3856], [.8357, .05], [.8357, .05]]).all() and accuracy["difference"].tolist() == pytest.approx([0, -.3356, -.3356]) and accuracy["low"].isna().all()
    assert area[["row", "fill", "printed"]].values.tolist() == [["active", "black", .14]] * 3 and area["weights"].tolist() == ["imagenette", *reproduction.CONSTANT]
    assert area["value"].tolist() == pytest.approx([.18, .27, .63]) and area["difference"].tolist() == pytest.approx([0, .09, .45])
    assert area["low"].isna().tolist() == [True, False, False] and 0 < area["low"].iloc[1] < .09 < area["high"].iloc[1] < .13


def test_other_pixels_are_no_other_seed(printed):
    """The JPEG copy and the original of CIFAR-10 give one network two cells of one name."""
    put("basic_cnn", SEEDS[0], .63)
    put("basic_cnn", SEEDS[1], .63)
    put("basic_cnn", SEEDS[0], .70, data="0" * 12)
    assert blank(row(CNN))  # the third seed is still missing
    put("resnet18", "cifar10", .76)
    put("resnet18", "cifar10", .70, data="0" * 12)
    assert row(RESNET)["reproduced"] in (.76, .70)  # of one set of pixels, not the mean of both


def test_beside_published_finds_the_rows_of_the_subjects(printed):
    put("resnet18", "cifar10", .76)
    put("resnet18", "cifar10", .12, experiment="deletion", map="active", fill="black")
    who = Subject(None, SimpleNamespace(name="cifar10"), "resnet18", "cifar10")
    assert reproduction.beside_published(["Table 1"], [who])["reproduced"].tolist() == [.76]
    assert reproduction.beside_published(["Table 2", "Table 3"], [who])["row"].tolist() == ["Active"]
    assert reproduction.beside_published(["Table 3"], [who]) is None
    assert reproduction.beside_published(["Table 1"], [who._replace(model_name="basic_cnn")]) is None
    assert reproduction.beside_published(["Table 1"], [who._replace(pictures=SimpleNamespace(name="shapes10"))]) is None
    put("rectgrad_cnn", "cifar10+patch", .745, dataset="cifar10+patch")
    patched = Subject(None, SimpleNamespace(name="cifar10+patch"), "rectgrad_cnn", "cifar10+patch")
    assert reproduction.beside_published(["Appendix F"], [patched, who])["column"].tolist() == [PATCHED]
    assert reproduction.beside_published(["Table 1"], [patched, who])["paper"].tolist() == ["Sign"]    # Noise's Table 1 has other columns


# ---- what is committed

@pytest.mark.skipif(not reproduction.CSV.exists(), reason="data/results/reproduction.csv has not been computed yet")
def test_the_committed_table_follows_from_the_committed_cells():
    assert reproduction.CSV.read_text() == reproduction.table().to_csv(index=False)
