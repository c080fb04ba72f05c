"""lib.reproduction, lib.reproduce, lib.verify: the table of the 60 numbers follows from stored cells alone, a stopped run goes on, and verify notices what was tampered with."""
from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import pandas as pd
import pytest
from safetensors.torch import load_file
import torch
from scipy.stats import t
from torch import nn

from lib import claims, data, experiments, hypothesis, metrics, models, noise, probes, published, reproduce, reproduction, results, roar, shapes10, training, verify
from lib.metrics import PAPER_FRACTIONS
from lib.subjects import Subject
from lib.training import Protocol

pytestmark = pytest.mark.usefixtures("one_thread")

HEADER = "paper,table,row,column,published,reproduced,low,high,n,data,model,protocol,verdict,verdict_at_zero"
EMPTY = ["reproduced", "low", "high", "n", "data", "model", "protocol", "verdict", "verdict_at_zero"]
CNN, RESNET = "CIFAR-10 CNN", "CIFAR-10 ResNet-18"
JPEG = next(iter(json.loads((data.ROOT / "data" / "manifest.json").read_text())["fingerprints"]))
SEEDS = ("cifar10", "cifar10-seed1", "cifar10-seed2")


PLAIN, PATCHED = "CIFAR-10", "CIFAR-10 with random patch"


def small(classes: int) -> nn.Module:
    """Stands for both networks: it has their inputs and outputs and takes no time."""
    return nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, classes))


def paths(patch, folder):
    """Weights, cells and cache under `folder`; small networks under the names of the real ones."""
    for module, name, value in ((models, "WEIGHTS", "weights"), (results, "RESULTS", "results"), (results, "CACHE", "cache"), (data, "CACHE", "cache"),
                                (reproduction, "CSV", "results/reproduction.csv"), (claims, "CSV", "results/claims.csv")):
        patch.setattr(module, name, folder / value)
    for name in models.BUILDERS:
        patch.setitem(models.BUILDERS, name, small)


# ---- the table, from cells written by hand

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
    monkeypatch.setattr(roar, "stored", lambda protocol, current: frame)
    found = {name: row("ROAR AUC", name, "Table 1", "Noise") for name in ("Random", "RectGrad", "Saliency map", "Guided backpropagation")}
    half = 2.776 * .002 / 2 ** .5 / 2 ** .5   # four methods of two seeds leave four degrees of freedom
    assert found["RectGrad"]["reproduced"] == .481 and found["RectGrad"]["high"] - found["RectGrad"]["low"] == pytest.approx(2 * half, abs=2e-4)
    assert reproduction.beside_retrained()["row"].tolist() == list(found)
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
        monkeypatch.setattr(roar, "stored", lambda protocol, current: frame)
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


# ---- a whole run, on drawn pictures and small networks

JOBS = [("basic_cnn", "shapes10", "shapes10", Protocol(epochs=2, batch_size=30)), ("resnet18", "shapes10", "shapes10", Protocol(epochs=1, batch_size=30))]


def plan(patch):
    """Two networks and few pictures instead of the plan of the paper."""
    drawn = {split: shapes10.draw(split, count=count) for split, count in (("train", 60), ("test", 40))}
    patch.setitem(data._LOADERS, "shapes10", lambda split, size: drawn[split])
    for module, name, value in ((reproduce, "TRAINED", JOBS), (reproduction, "COLUMNS", {CNN: ("shapes10", "basic_cnn", ("shapes10",)), RESNET: ("shapes10", "resnet18", ("shapes10",))}),
                                (reproduce, "TRAIN_SPLIT", {("shapes10", "basic_cnn"): None, ("shapes10", "resnet18"): 20}), (reproduction, "STAND_INS", {})):
        patch.setattr(module, name, value)
    patch.setattr(experiments, "SCORED", {"shapes10": 10})
    patch.setattr(reproduce, "compute_noise", lambda: None), patch.setattr(claims, "measure", lambda: None), patch.setattr(reproduce, "retrain", lambda *_: None), patch.setattr(reproduce, "constant_rate", lambda: None)
    patch.setattr(reproduce, "compute_synthesis", lambda: None)   # these name their data; see below


@pytest.fixture(scope="module")
def finished(tmp_path_factory, one_thread):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        paths(patch, folder), plan(patch)
        assert reproduce.main(["run", "--threads", "1"]) == 0
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, finished):
    """A copy of the finished run, to be harmed."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    paths(monkeypatch, tmp_path), plan(monkeypatch)
    return tmp_path


def snapshot(folder):
    return {f.relative_to(folder): f.read_bytes() for f in folder.rglob("*") if f.is_file() and "locks" not in f.parts}


def test_a_run_leaves_weights_cards_cells_and_the_table(finished):
    assert sorted(f.name for f in (finished / "weights").iterdir()) == [f"{m}-shapes10.{e}" for m in ("basic_cnn", "resnet18") for e in ("json", "safetensors")]
    count = lambda name: len(list((finished / "results" / name).iterdir()))
    assert (count("accuracy"), count("deletion"), count("kept_pixels"), count("scores"), count("printed"), count("soft")) == (2, 40, 2, 2, 2, 10) and count("insertion") == 2
    assert (finished / "results" / "reproduction.csv").read_text().startswith(HEADER)
    assert (finished / "results" / "claims.csv").read_text().startswith("id,paper,section,quotation,statistic,holds_if,experiment,network,n,value,low,high,verdict\n")
    splits = [json.loads(f.read_text())["parameters"] for f in (finished / "results" / "deletion").iterdir()]
    assert sorted({(p["model"], p["split"], p["n"]) for p in splits}) == [("basic_cnn", "test", 40), ("basic_cnn", "train", 60), ("resnet18", "test", 40), ("resnet18", "train", 20)]
    assert not [f for f in finished.rglob("*") if "part" in f.name]


def test_a_stand_in_has_what_stands_beside_printed_numbers_alone(run, monkeypatch):
    shutil.rmtree(run / "results")
    monkeypatch.setattr(reproduction, "STAND_INS", {"Small pretrained": ("shapes10", "basic_cnn", ("shapes10",))})
    reproduce.compute("shapes10", "basic_cnn", "shapes10", lambda line: None)
    assert {f.name for f in (run / "results").iterdir()} - {"locks"} == {"accuracy", "deletion"}
    own, other = Subject(None, SimpleNamespace(name="shapes10"), "resnet18", "shapes10"), Subject(None, SimpleNamespace(name="shapes10"), "basic_cnn", "shapes10")
    assert reproduction.without_stand_ins([own, other]) == [own] and reproduction.without_stand_ins([other]) == [other]


def test_a_card_says_how_its_weights_came_about(run):
    for model, dataset, tag, protocol in JOBS:
        about = models.card(model, tag)
        assert (about["model"], about["dataset"], tuple(about["classes"])) == (model, dataset, shapes10.CLASSES) and about["protocol"]["epochs"] == protocol.epochs
        assert [e["epoch"] for e in about["epochs"]] == list(range(1, protocol.epochs + 1)) and about["licence"] == "MIT" and about["commit"]
        network = models.load(model, tag)  # accuracies are those of the weights as stored, rounded or not
        for split in ("train", "test"):
            assert about[f"{split}_accuracy"] == training.accuracy(network, data.load(dataset, split))
        assert about["fingerprint"] == data.load(dataset, "train").fingerprint


def test_the_accuracy_of_a_rounded_network_is_that_of_its_rounded_weights(run, monkeypatch):
    (run / "weights" / "resnet18-shapes10.safetensors").unlink()
    accuracy, seen = training.accuracy, set()
    monkeypatch.setattr(training, "accuracy", lambda network, pictures: seen.add(models.fingerprint(network)) or accuracy(network, pictures))
    reproduce.train(*JOBS[1], log=lambda line: None)
    stored = models.load("resnet18", "shapes10")
    assert seen == {models.fingerprint(stored)} and all(torch.equal(p, p.half().float()) for p in stored.parameters())


def test_a_finished_run_computes_nothing_again(run, monkeypatch):
    before = snapshot(run)
    for module, name in ((training, "fit"), (experiments, "batch"), (experiments, "_over")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("computed again"))
    assert reproduce.main(["run"]) == 0 and snapshot(run) == before


def test_a_run_stopped_anywhere_ends_as_one_that_never_was(run, monkeypatch):
    """Stopped in training, between two cells, and before the table: weights are the same bytes, cells the same rows."""
    before = snapshot(run)
    shutil.rmtree(run / "weights"), shutil.rmtree(run / "results"), shutil.rmtree(run / "cache")
    fit, cell, left = training.fit, results.cell, [5]

    def stops_in_training(*arguments, **options):
        def log(line):
            raise KeyboardInterrupt
        return fit(*arguments, **options | {"log": log})

    def stops_between_cells(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return cell(*arguments, **options)
    for module, name, stopping in ((training, "fit", stops_in_training), (results, "cell", stops_between_cells)):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(module, name, stopping)
            reproduce.main(["run", "--models", "basic_cnn"])
    assert len(results.cells("accuracy")) == 1 and len(results.cells("deletion")) == 4
    assert reproduce.main(["run", "--models", "basic_cnn"]) == 0
    after = snapshot(run)
    for file, content in before.items():
        if "basic_cnn" not in file.name or file.suffix == ".pt":
            continue
        if file.suffix == ".safetensors":
            assert after[file] == content
        else:
            one, two = json.loads(content), json.loads(after[file])
            assert one.get("rows") == two.get("rows") and one.get("kept") == two.get("kept")
    assert not [f for f in after if "resnet18" in f.name]


# ---- a new last layer, and a network whose weights cannot be downloaded

LAST = Protocol(epochs=2, batch_size=30, seed=4)


def transferred(name: str, classes, seed: int = 0) -> nn.Module:
    """Stands for `models.transferred`: one body for all, and a layer drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(100)
        body = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 9))
        torch.manual_seed(seed)
        model = nn.Sequential(body, nn.Linear(9, len(classes)))
    model.black, model.white, model.classes, model.name = 0., 1., tuple(classes), name
    return model.eval()


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """The small plan, and nothing done yet; returns its folder."""
    paths(monkeypatch, tmp_path), plan(monkeypatch)
    return tmp_path


@pytest.mark.parametrize("how, kept", [("frozen", {"1.weight", "1.bias"}), ("released", {"1.weight", "1.bias", "0.1.running_mean", "0.1.running_var", "0.1.num_batches_tracked"})])
def test_a_last_layer_is_trained_and_stored_with_its_card(how, kept, planned, monkeypatch):
    monkeypatch.setattr(models, "transferred", transferred)
    protocol, lines = replace(LAST, trains=f"last layer, {how}"), []
    reproduce.train("resnet18", "shapes10", "more", protocol, log=lines.append)
    file, splits = planned / "weights" / "resnet18-more.safetensors", {split: data.load("shapes10", split) for split in ("train", "test")}
    assert sorted(f.name for f in file.parent.iterdir()) == ["resnet18-more.json", "resnet18-more.safetensors"] and set(load_file(file)) == kept
    assert len(lines) == 2 and lines[0].startswith("resnet18 more  epoch 1/2")
    about, stored, again = models.card("resnet18", "more"), models.load("resnet18", "more", seed=9), transferred("resnet18", shapes10.CLASSES, 4)
    assert (about["body"], about["protocol"], about["dataset"], tuple(about["classes"])) == ("imagenet", asdict(protocol), "shapes10", shapes10.CLASSES)
    assert about["protocol"]["trains"] == f"last layer, {how}" and about["fingerprint"] == splits["train"].fingerprint and [row["epoch"] for row in about["epochs"]] == [1, 2]
    training.fit_last_layer(again, splits["train"], protocol, log=lambda line: None)
    assert models.fingerprint(stored) == models.fingerprint(again.eval())  # nothing is rounded
    assert {split: about[f"{split}_accuracy"] for split in splits} == {split: training.accuracy(stored, pictures) for split, pictures in splits.items()}
    monkeypatch.setattr(training, "fit_last_layer", lambda *_, **__: pytest.fail("trained again"))
    reproduce.train("resnet18", "shapes10", "more", protocol)


def test_a_whole_network_has_a_card_without_body(run):
    assert all("body" not in models.card(model, tag) and models.card(model, tag)["protocol"]["trains"] == "all" for model, _, tag, _ in JOBS)


def test_a_stopped_last_layer_goes_on(planned, monkeypatch):
    monkeypatch.setattr(models, "transferred", transferred)
    released = replace(LAST, trains="last layer, released")
    reproduce.train("resnet18", "shapes10", "whole", released, log=lambda line: None)

    def stops(line):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        reproduce.train("resnet18", "shapes10", "parted", released, log=stops)
    lines = []
    reproduce.train("resnet18", "shapes10", "parted", released, log=lines.append)
    assert len(lines) == 1 and lines[0].startswith("resnet18 parted  epoch 2/2")
    assert models.fingerprint(models.load("resnet18", "parted")) == models.fingerprint(models.load("resnet18", "whole"))


@pytest.fixture
def offline(planned, monkeypatch):
    """Two networks more that a download would bring, in front of the others; returns which cells `run` asks for."""
    def fails(name):
        raise models.DownloadError(f"weights of {name} could not be downloaded.")
    asked, released = [], replace(LAST, trains="last layer, released")
    monkeypatch.setattr(models, "_download", fails)
    monkeypatch.setattr(reproduce, "TRAINED", [(model, "shapes10", "shapes10-released", released) for model in ("convnext_tiny", "resnet18")] + JOBS)
    monkeypatch.setattr(reproduction, "COLUMNS", {"a": ("shapes10", "convnext_tiny", ("shapes10-released",)), "b": ("shapes10", "resnet18", ("shapes10-released", "shapes10")), CNN: ("shapes10", "basic_cnn", ("shapes10",))})
    monkeypatch.setattr(reproduce, "compute", lambda dataset, model, tag, log=print: asked.append((dataset, model, tag)))
    return asked


def test_a_run_leaves_out_what_cannot_be_downloaded_and_does_the_rest(offline, planned):
    lines = []
    reproduce.run(["basic_cnn", "convnext_tiny", "resnet18"], lines.append)
    told = [line for line in lines if not "  epoch " in line]
    assert told == [f"left out: {name} shapes10-released: weights of {name} could not be downloaded." for name in ("convnext_tiny", "resnet18")]
    assert offline == [("shapes10", "resnet18", "shapes10"), ("shapes10", "basic_cnn", "shapes10")]
    assert sorted(f.name for f in (planned / "weights").glob("*.safetensors")) == ["basic_cnn-shapes10.safetensors", "resnet18-shapes10.safetensors"]


def test_a_run_tries_no_network_that_was_not_asked_for(offline):
    lines = []
    reproduce.run(["basic_cnn"], lines.append)
    assert offline == [("shapes10", "basic_cnn", "shapes10")] and not any("left out" in line for line in lines)


def test_a_run_without_downloads_is_a_success(offline, capsys):
    assert reproduce.main(["run", "--models", "convnext_tiny", "basic_cnn"]) == 0
    assert "left out: convnext_tiny shapes10-released: " in capsys.readouterr().out and reproduction.CSV.exists()


def test_a_download_that_fails_is_told_before_any_picture_is_read(offline, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("pictures were read first"))
    with pytest.raises(models.DownloadError):
        reproduce.train(*reproduce.TRAINED[0])


def test_other_faults_of_a_network_stop_a_run(offline, monkeypatch):
    def fails(name):
        raise models.ModelError("the file is damaged.")
    monkeypatch.setattr(models, "_download", fails)
    with pytest.raises(models.ModelError, match="damaged"):
        reproduce.run(["convnext_tiny"], lambda line: None)


def test_no_deletion_is_computed_where_bfloat16_would_change_it(run, monkeypatch):
    shutil.rmtree(run / "results")

    def refuses(who, **options):
        raise ValueError("areas differ")
    monkeypatch.setattr(experiments, "precision", refuses)
    with pytest.raises(ValueError, match="areas differ"):
        reproduce.compute("shapes10", "basic_cnn", "shapes10", lambda line: None)
    assert results.cells("deletion") == []


# ---- paper Noise's cells and the claims

class Asked(list):
    """Stands for the experiments of paper Noise: notes (what, dataset, split, weights, pictures) and the options."""

    def __init__(self, patch):
        patch.setattr(reproduce, "subject", lambda dataset, model, weights="auto", *, split="test", count=None: (dataset, model, weights, split, count))
        patch.setattr(noise, "correct", lambda who: ("correct", *who)), patch.setattr(noise, "per_class", lambda who, count: (count, *who))
        for module, name in ((noise, "amounts"), (hypothesis, "occlusion"), (probes, "sanity"), (probes, "sweep"), (probes, "adversarial")):
            patch.setattr(module, name, lambda who, *what, _name=name, **options: self.append((_name, who, what, options)))


def test_every_cell_of_paper_noise_is_asked_for(monkeypatch):
    asked = Asked(monkeypatch)
    with monkeypatch.context() as patch:        # the lines of the log name subjects
        patch.setattr(reproduce, "subject", lambda *a, _make=reproduce.subject, **o: Titled(_make(*a, **o)))
        reproduce.compute_noise(log=lambda line: None)
    assert all(options.pop("stored") for *_, options in asked)
    told = sorted((name, *map(str, who), *what) for name, who, what, _ in asked)
    masked = [("correct", "cifar10_masks", "rectgrad_cnn", tag, "test", "None") for tag in ("cifar10", "cifar10_rest")]
    networks = [("imagenet_samples", name, "auto", "test", "None") for name in ("efficientnet_lite0", "squeezenet1_1")]
    assert told == sorted([("amounts", *who, "outside") for who in masked] + [("occlusion", "10", *who) for who in masked] + [
        ("amounts", "cifar10+patch", "rectgrad_cnn", "auto", "test", "None", "patch"), ("amounts", "cifar10", "rectgrad_cnn", "auto", "test", "None", "variation"),
        ("amounts", "cifar10", "rectgrad_cnn", "auto", "train", "10000", "variation"), ("sanity", "cifar10", "rectgrad_cnn", "auto", "test", "200")]
        + [(name, *who) for name in ("sweep", "adversarial") for who in networks])


class Titled(tuple):
    """A noted subject that can be logged."""
    title = "a subject"


def test_a_run_measures_cells_then_claims_then_writes_the_tables(run, monkeypatch):
    order = []
    monkeypatch.setattr(reproduce, "compute_noise", lambda: order.append("noise"))
    monkeypatch.setattr(claims, "measure", lambda: order.append("claims"))
    table = claims.table
    monkeypatch.setattr(claims, "table", lambda: order.append("table") or table())
    assert reproduce.main(["run", "--models", "basic_cnn"]) == 0 and order == ["table"]
    assert reproduce.main(["run"]) == 0 and order[1:] == ["noise", "claims", "table"]


# ---- the command

@pytest.mark.parametrize("arguments, words", [(["nonsense"], ["nonsense", "run", "table", "verify"]), ([], ["what"]), (["run", "--models", "vgg"], ["vgg", "basic_cnn", "resnet18"]),
                                              (["run", "--epochs", "3"], ["--epochs"]), (["verify", "--seed", "x"], ["--seed"])], ids=" ".join)
def test_unknown_arguments_are_refused_with_what_is_accepted(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        reproduce.main(arguments)
    message = capsys.readouterr().err
    assert caught.value.code == 2 and all(word in message for word in words)


def test_what_is_missing_is_one_sentence_and_not_a_traceback(run, monkeypatch, capsys):
    monkeypatch.setattr(reproduce, "TRAINED", [("basic_cnn", "cifar10", "cifar10", Protocol())])
    monkeypatch.setenv("SIGN_NOISE_DATA", str(run / "nowhere"))
    assert reproduce.main(["run"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "nowhere" in message


def test_the_table_can_be_written_before_there_is_any_result(tmp_path, monkeypatch):
    paths(monkeypatch, tmp_path)
    assert reproduce.main(["table"]) == 0 and reproduction.CSV.read_text().startswith(HEADER)
    assert sorted(f.name for f in (tmp_path / "results").iterdir()) == ["claims.csv", "reproduction.csv"] and len(pd.read_csv(claims.CSV)["id"].unique()) == len(claims.listed())


# ---- verify

def verified(run, keep=("-active-black-",)):
    """verify.verify() on the deletion cells of the test split whose names hold one of `keep`: its result and its lines."""
    for file in (run / "results" / "deletion").iterdir():
        if not any(word in file.name for word in keep) or "-train-" in file.name:
            file.unlink()
    lines = []
    return verify.verify(reproduce.TRAINED, cells=10, pictures=30, seed=0, log=lines.append), "\n".join(lines)


def tamper(run, pattern, change):
    """Change the content of the one cell that the pattern matches; its digest is made to fit."""
    file, = (run / "results").glob(pattern)
    content = results.read(file)
    change(content)
    results.write(file, content)


def test_verify_passes_and_writes_nothing(run):
    good, text = verified(run, keep=("-active-black-", "-inactive-white-"))
    assert good and "BAD" not in text and text.count("ok ") == 2 + 4 and text.endswith("verified") and "seed 0" in text
    before = snapshot(run)
    assert verified(run, keep=("-active-black-", "-inactive-white-"))[0] and snapshot(run) == before
    assert reproduce.main(["verify", "--seed", "1"]) == 0


def test_verify_finds_flags_that_were_changed(run):
    def flip(content):
        kept = results.unpack(content["kept"])
        content["kept"] = results.pack(torch.where(torch.rand(kept.shape, generator=torch.Generator().manual_seed(0)) < .1, ~kept, kept))
    tamper(run, "deletion/*test-basic_cnn*-active-black-*.json", flip)
    good, text = verified(run)
    assert not good and text.count("BAD") == 1 and "active black" in text.splitlines()[-1] and reproduce.main(["verify", "--seed", "1"]) == 1


def test_verify_finds_an_area_that_does_not_follow_from_its_flags(run):
    """The table is made of the areas: that the flags beside them are right says nothing about it."""
    tamper(run, "deletion/*test-basic_cnn*-active-black-*.json", lambda content: content["rows"][0].update(auc=.111, low=.11, high=.112))
    assert not verified(run)[0]


def test_verify_finds_an_accuracy_that_was_changed(run):
    tamper(run, "accuracy/*basic_cnn*.json", lambda content: content["rows"][0].update(accuracy=.99, low=.98, high=1., right=40))
    assert not verified(run)[0]


def test_verify_finds_a_table_that_was_changed(run):
    text = reproduction.CSV.read_text()
    reproduction.CSV.write_text(text.replace("0.6307", "0.6308"))
    good, text = verified(run)
    assert not good and "reproduction.csv" in text.splitlines()[-1]


@pytest.mark.parametrize("name", ["reproduction.csv", "claims.csv"])
def test_verify_finds_a_table_that_is_missing(name, run):
    (run / "results" / name).unlink()
    good, text = verified(run)
    assert not good and name in text.splitlines()[-1]


def test_verify_finds_claims_that_were_changed(run):
    text = claims.CSV.read_text()
    claims.CSV.write_text(text.replace("high < 0.85", "high < 0.95"))
    good, text = verified(run)
    assert not good and "claims.csv" in text.splitlines()[-1] and "reproduction.csv" not in text.splitlines()[-1]


def test_verify_finds_a_card_that_promises_too_much(run):
    card = run / "weights" / "basic_cnn-shapes10.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"test_accuracy": .99}))
    good, text = verified(run)
    assert not good and "accuracy of basic_cnn" in text.splitlines()[-1]


def test_verify_finds_cells_of_other_weights(run):
    tamper(run, "deletion/*test-basic_cnn*-active-black-*.json", lambda content: content["parameters"].update(weights_hash="0" * 12))
    assert not verified(run)[0]


def test_verify_says_what_it_could_not_check(run, monkeypatch):
    monkeypatch.setattr(data, "load", lambda *_, **__: (_ for _ in ()).throw(data.DataError("shapes10 is not here.")))
    good, text = verified(run)
    assert good and text.count("not checked") == 4 and "shapes10 is not here." in text


def test_verify_leaves_out_other_pixels(run, monkeypatch):
    tamper(run, "deletion/*test-basic_cnn*-active-black-*.json", lambda content: content["parameters"].update(data="0" * 12))
    good, text = verified(run)
    assert good and "not those of the stored result" in text


def test_verify_draws_by_its_seed(run):
    def drawn(seed):
        lines = []
        verify.verify(reproduce.TRAINED, cells=3, pictures=3, seed=seed, log=lines.append)
        return [line.split("  ")[2:4] for line in lines if "deletion" in line]
    assert drawn(1) == drawn(1) and len(drawn(1)) == 3 and any(drawn(seed) != drawn(1) for seed in (2, 3))


def test_verify_says_which_network_has_no_weights(run, monkeypatch):
    monkeypatch.setattr(reproduce, "TRAINED", [("convnext_tiny", "shapes10", "shapes10-released", LAST), *JOBS])
    good, text = verified(run)
    assert good and "not checked: convnext_tiny shapes10-released: no weights here" in text and text.count("not checked") == 1 and text.count("ok   accuracy") == 2


@pytest.mark.parametrize("low", [True, False], ids=["bfloat16", "float32"])
def test_verify_computes_a_cell_again_as_it_was_computed(low, run, monkeypatch):
    shutil.rmtree(run / "results" / "deletion")
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "BFLOAT16", {("shapes10", "basic_cnn")} if low else set())
        experiments.allegiances(reproduce.subject("shapes10", "basic_cnn"), batch_size=50, stored=True)
    allegiance, seen = metrics.allegiance, []
    monkeypatch.setattr(metrics, "allegiance", lambda *a, **k: seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"))) or allegiance(*a, **k))
    good, text = verified(run)
    assert good and text.count("flags agree") == 1 and "BAD" not in text
    assert seen == [(low, torch.bfloat16)] and all(("forwards" in c["parameters"]) == low for c in results.cells("deletion"))


@pytest.fixture
def cells_of_noise(tmp_path, monkeypatch):
    """Stored cells of paper Noise for a small network on drawn pictures, and what checks them: check() -> (wrong, lines)."""
    paths(monkeypatch, tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(384, 10)).eval()
    network.black, network.white = -1., 1.
    pictures = shapes10.draw("test", count=12)
    who = Subject(network, pictures, "rectgrad_cnn", "made")
    who = who.altered(labels=experiments.predictions(who))
    noise.amounts(noise.correct(who), "outside", stored=True), probes.adversarial(who, ("saliency", "rectgrad", "deeplift"), stored=True)
    monkeypatch.setattr(verify, "subject", lambda *_, **__: who)

    def check():
        lines = []
        return verify._check_noise(4, torch.Generator().manual_seed(0), lines.append), lines
    return check


def test_verify_computes_cells_of_paper_noise_again(cells_of_noise):
    wrong, lines = cells_of_noise()
    assert wrong == [] and [line[4:].strip().split("  ")[0] for line in lines] == ["outside the mask", "class sensitivity", "class sensitivity"] and all(line.startswith("ok") for line in lines)


@pytest.mark.parametrize("pattern, field, words", [("outside/*.json", "mean", ["outside the mask"]), ("adversarial/*rectgrad-*.json", "correlation", ["class sensitivity", "rectgrad"])], ids=["outside", "adversarial"])
def test_verify_finds_cells_of_paper_noise_that_were_changed(pattern, field, words, cells_of_noise, tmp_path):
    tamper(tmp_path, pattern, lambda content: [r.update({field: r[field] * .9 - .1}) for r in content["rows"]])
    (wrong,), lines = cells_of_noise()
    assert all(word in wrong for word in words) and sum(line.startswith("BAD") for line in lines) == 1


def test_verify_says_which_cells_of_paper_noise_it_could_not_check(cells_of_noise, monkeypatch):
    monkeypatch.setattr(verify, "subject", lambda *_, **__: (_ for _ in ()).throw(data.DataError("not here.")))
    wrong, lines = cells_of_noise()
    assert wrong == [] and len(lines) == 3 and all("not checked" in line and "not here." in line for line in lines)


# ---- what is committed

COMMITTED = sorted((data.ROOT / "data" / "results").glob("*/*.json"))


@pytest.mark.skipif(not reproduction.CSV.exists(), reason="data/results/reproduction.csv has not been computed yet")
def test_the_committed_table_follows_from_the_committed_cells():
    assert reproduction.CSV.read_text() == reproduction.table().to_csv(index=False)


@pytest.mark.skipif(not COMMITTED, reason="no results have been computed yet")
def test_committed_cells_are_whole_and_of_the_committed_weights():
    current = {}
    for file in COMMITTED:
        content = json.loads(file.read_text())
        assert content.pop("digest") == results._digest(content), file.name
        p = content["parameters"]
        assert file.stem.endswith(results.key(p, content["version"])) and content["experiment"] == file.parent.name
        if (p["model"], p["weights"]) not in current:
            current[p["model"], p["weights"]] = models.fingerprint(models.load(p["model"], p["weights"]))
        assert p["weights_hash"] == current[p["model"], p["weights"]], file.name


@pytest.mark.skipif(not COMMITTED, reason="no results have been computed yet")
def test_committed_areas_follow_from_their_flags():
    for k, file in enumerate(f for f in COMMITTED if f.parent.name == "deletion"):
        content = json.loads(file.read_text())
        row, p, kept = content["rows"][0], content["parameters"], results.unpack(content["kept"])
        assert (row["map"], row["fill"]) == (p["map"], p["fill"]) and kept.shape == (len(PAPER_FRACTIONS), p["n"]) and kept[0].all()
        assert row["auc"] == pytest.approx(metrics.auc(PAPER_FRACTIONS, kept).mean().item(), abs=1e-9), file.name
        if k % 10 == 0:  # the bootstrap takes its time
            again, = experiments.auc_rows({(p["map"], p["fill"]): kept})
            assert (row["low"], row["high"]) == pytest.approx((again["low"], again["high"]), abs=1e-9), file.name
