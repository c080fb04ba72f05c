"""The whole computation behind the published numbers, and its check: `python -m lib.reproduce run|verify`.

`run` trains what has no weights yet, computes every cell that has no stored result, and writes
data/results/reproduction.csv; stopped at any point, it goes on there. `verify` recomputes a random part of what is stored
and compares.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib import attribution, claims, crossed, data, experiments, hypothesis, metrics, models, noise, probes, published, results, roar, synthesis, training
from lib.metrics import PAPER_FRACTIONS
from lib.subjects import Subject, batch_size, subject
from lib.training import Protocol

_FROZEN, _RELEASED = (Protocol(trains=f"last layer, {how}") for how in ("frozen", "released"))  # paper Sign's pretrained networks
_NOISE = roar.FULL   # paper Noise, appendix F.2
# every network we train: (model, dataset, tag of its weights, protocol); paper Sign's protocol where the data are its own
TRAINED = [
    ("basic_cnn", "shapes10", "shapes10", Protocol(epochs=15)),
    ("basic_cnn", "cifar10", "cifar10", Protocol(seed=0)),
    ("basic_cnn", "cifar10", "cifar10-seed1", Protocol(seed=1)),
    ("basic_cnn", "cifar10", "cifar10-seed2", Protocol(seed=2)),
    ("resnet18", "cifar10", "cifar10", Protocol(seed=0, bfloat16=True)),
    ("basic_cnn", "imagenette", "imagenette", Protocol(seed=0, bfloat16=True)),
    ("resnet18", "imagenette", "imagenette", Protocol(seed=0, epochs=34, bfloat16=True, schedule="cooldown")),
    ("squeezenet1_1", "imagenette", "imagenette", _FROZEN),
    ("efficientnet_lite0", "imagenette", "imagenette", _FROZEN),
    *((model, "imagenette", f"imagenette-{how}", protocol) for model in ("resnet18", "convnext_tiny") for how, protocol in (("released", _RELEASED), ("frozen", _FROZEN))),
    ("rectgrad_cnn", "shapes10", "shapes10", replace(_NOISE, epochs=5)),
    ("rectgrad_cnn", "shapes10+patch", "shapes10+patch", replace(_NOISE, epochs=5)),
    ("gelu_cnn", "shapes10", "shapes10", replace(_NOISE, epochs=5)),
    ("rectgrad_cnn", "cifar10", "cifar10", _NOISE),
    ("rectgrad_cnn", "cifar10+patch", "cifar10+patch", _NOISE),
    ("rectgrad_cnn", "cifar10_rest", "cifar10_rest", _NOISE),
    ("rectgrad_cnn", "cifar10", "cifar10-seed1", replace(_NOISE, seed=1)),
    ("rectgrad_cnn", "cifar10", "cifar10-seed2", replace(_NOISE, seed=2)),
]
# columns of the papers' tables that are computed here: (dataset, model, tags of the weights, one a seed)
COLUMNS = {
    "CIFAR-10 CNN": ("cifar10", "basic_cnn", ("cifar10", "cifar10-seed1", "cifar10-seed2")),
    "CIFAR-10 ResNet-18": ("cifar10", "resnet18", ("cifar10",)),
    "Imagenette CNN": ("imagenette", "basic_cnn", ("imagenette",)),
    "Imagenette ResNet-18": ("imagenette", "resnet18", ("imagenette",)),
    "Imagenette ResNet-18 pretrained": ("imagenette", "resnet18", ("imagenette-released",)),
    "Imagenette ConvNeXt pretrained": ("imagenette", "convnext_tiny", ("imagenette-released",)),
    "CIFAR-10": ("cifar10", "rectgrad_cnn", ("cifar10", "cifar10-seed1", "cifar10-seed2")),
    "CIFAR-10 with random patch": ("cifar10+patch", "rectgrad_cnn", ("cifar10+patch",)),
}
# pretrained networks that need no download, beside those of the paper that do: printed nowhere, so no verdict
STAND_INS = {"SqueezeNet 1.1 pretrained": ("imagenette", "squeezenet1_1", ("imagenette",)), "EfficientNet-Lite0 pretrained": ("imagenette", "efficientnet_lite0", ("imagenette",))}
WHOLE = {"cifar10": 10_000, "imagenette": 3_856}        # pictures of a whole test split
TRAIN_SPLIT = {("cifar10", "basic_cnn"): None, ("cifar10", "resnet18"): 10_000}  # pictures of it, None for all; of the others 2,000
CONSTANT = "imagenette-constant"                        # weights of ResNet-18 before its learning rate cooled down, which are not kept
RETRAINED = {"roar": "ROAR AUC", "kar": "KAR AOC"}      # the printed columns of paper Noise's Table 1, for one network
SYNTHESIS = [("cifar10", "rectgrad_cnn", 2_000, 200), ("imagenette", "squeezenet1_1", 200, 60)]   # dataset, network, pictures, of these for what needs new maps
WITNESS = "basic_cnn"                                   # the network in whose features distance is taken
FILL_OF = {"Table 2": "black", "Table 3": "white"}
CSV = results.RESULTS / "reproduction.csv"
CSV_COLUMNS = ["paper", "table", "row", "column", "published", "reproduced", "low", "high", "n", "data", "model", "protocol", "verdict", "verdict_at_zero"]


def train(model: str, dataset: str, tag: str, protocol: Protocol, log: Callable = print) -> None:
    """Train, evaluate and write weights and card, unless they are there; goes on from the last finished epoch."""
    path = models.WEIGHTS / f"{model}-{tag}.safetensors"
    if path.exists():
        return
    last_layer = protocol.trains != "all"
    if last_layer:
        models.transferred(model, ("any",))  # what must be downloaded and cannot be is said before any picture is read
    pictures, held_out = data.load(dataset, "train"), data.load(dataset, "test")
    fresh = models.transferred if last_layer else models.load
    network = fresh(model, classes=pictures.classes, seed=protocol.seed)
    fit = training.fit_last_layer if last_layer else training.fit
    rows = fit(network, pictures, protocol, checkpoint=data.CACHE / "training" / f"{model}-{tag}-seed{protocol.seed}.pt", log=lambda line: log(f"{model} {tag}  {line}"))
    about = {"model": model, "dataset": dataset, "fingerprint": pictures.fingerprint, "classes": list(pictures.classes), "protocol": asdict(protocol),
             "licence": "MIT", "epochs": [{k: round(v, 4) for k, v in row.items()} for row in rows], **results.provenance()} | ({"body": "imagenet"} if last_layer else {})
    how = {"base": models.transferred(model, pictures.classes)} if last_layer else {"half": model != "basic_cnn"}
    part = path.with_name(f"part-{path.name}")
    models.save(network, part, about, **how)
    network = models.load(model, str(part))  # the rounded weights are the ones every result is computed with
    about |= {f"{p.split}_accuracy": training.accuracy(network, p) for p in (pictures, held_out)} | {"weights_hash": models.fingerprint(network)}
    models.save(network, path, about, **how)
    for left in (part, part.with_suffix(".json")):
        left.unlink()


def compute(dataset: str, model: str, tag: str, log: Callable = print) -> None:
    """Every stored cell of one network: accuracy, deletion, and on fixed test pictures score curves and the rest.

    The train split (appendix B prints curves, no numbers) and the fixed pictures are for the first seed of a network alone;
    a stand-in has what stands beside a printed number or curve, no more.
    """
    def of(split, count=None):
        return subject(dataset, model, tag, split=split, count=count)
    whole = of("test")
    size = batch_size(whole)
    log(f"accuracy  {whole.title}  {experiments.accuracy(whole, batch_size=size, stored=True)['accuracy']:.4f}")
    experiments.fresh_statistics(whole, stored=True)
    if model == "rectgrad_cnn":
        return
    experiments.precision(whole, batch_size=size, stored=True)
    experiments.allegiances(whole, batch_size=size, stored=True, log=log)
    if tag not in {tags[0] for _, _, tags in (COLUMNS | STAND_INS).values()}:
        return
    few = of("test", experiments.SCORED[dataset])
    for experiment in () if (dataset, model, (tag,)) in STAND_INS.values() else (experiments.kept_pixels, experiments.signs, experiments.score_curves, experiments.printed_and_released, experiments.soft_replacement, experiments.insertion_areas):
        experiment(few, batch_size=size, stored=True)
        log(f"{experiment.__name__}  {few.title}  done")
    experiments.allegiances(of("train", TRAIN_SPLIT.get((dataset, model), 2_000)), batch_size=size, stored=True, log=log)


def constant_rate(log: Callable = print) -> None:
    """Does the cooldown explain what ResNet-18 does on Imagenette? Accuracy and areas of the network as it was before it.

    Its weights are not kept; the checkpoint that they come from is trained again where it is not there, which takes hours. The
    areas are those of 500 pictures.
    """
    job = next(j for j in TRAINED if j[:3] == ("resnet18", "imagenette", "imagenette"))
    protocol = replace(job[3], epochs=31, schedule="constant")
    pictures, held_out = data.load("imagenette", "train"), data.load("imagenette", "test")
    network = models.load("resnet18", classes=pictures.classes, seed=protocol.seed)
    training.fit(network, pictures, protocol, checkpoint=data.CACHE / "training" / "resnet18-imagenette-constant-seed0.pt", log=log)
    who = Subject(network, held_out, "resnet18", CONSTANT)
    experiments.accuracy(who, batch_size=batch_size(who), stored=True)
    experiments.allegiances(who._replace(pictures=held_out.sample(500)), batch_size=batch_size(who), stored=True, log=log)


def run(names: list[str], log: Callable = print) -> None:
    """Train and compute whatever is not there yet for these networks; says what it leaves out for want of a download."""
    left_out = set()
    columns = [(dataset, model, tag) for dataset, model, tags in (COLUMNS | STAND_INS).values() for tag in tags]
    for work, jobs in ((train, TRAINED), (compute, columns)):
        for job in jobs:
            model, tag = (job[0], job[2]) if work is train else job[1:]
            if model not in names or (model, tag) in left_out:
                continue
            try:
                work(*job, log)
            except models.DownloadError as error:
                left_out.add((model, tag))
                log(f"left out: {model} {tag}: {error}")


def compute_noise(log: Callable = print) -> None:
    """Every stored cell of paper Noise's experiments, the quick ones first; maps are kept under data/cache/maps/."""
    plain, twin = (subject(d, "rectgrad_cnn") for d in ("cifar10", "cifar10+patch"))
    for tag, plan in (("cifar10", {"steps": 100, "orders": 50}), ("cifar10_rest", {"steps": 25, "orders": 20})):
        masked = noise.correct(subject("cifar10_masks", "rectgrad_cnn", tag))
        noise.amounts(masked, "outside", stored=True)
        hypothesis.occlusion(noise.per_class(masked, 10), **plan, bfloat16=True, stored=True, log=log)
    probes.sanity(subject("cifar10", "rectgrad_cnn", count=200), stored=True, log=log)
    for who, measure in ((twin, "patch"), (plain, "variation"), (subject("cifar10", "rectgrad_cnn", split="train", count=10_000), "variation")):
        noise.amounts(who, measure, stored=True)
        log(f"{measure}  {who.title}  done")
    for network in ("squeezenet1_1", "efficientnet_lite0"):
        who = subject("imagenet_samples", network)
        probes.sweep(who, stored=True, log=log)
        probes.adversarial(who, stored=True, log=log)


def retrain(workers: int | None = None, scheduler: str | None = None, log: Callable = print) -> None:
    """The grid of ROAR and KAR, most useful cells first, and the claims about it; resumable, hours."""
    grid = roar.everything()
    roar.prepare(grid, log=log)
    roar.run(grid, workers=workers, scheduler=scheduler, log=log)
    claims.measure(list(claims.RETRAINED), log=log)


def compute_synthesis(log: Callable = print) -> None:
    """Every stored cell of the synthesis but ROAR and KAR, which `retrain` computes: hours."""
    for dataset, model, count, few in SYNTHESIS:
        one = synthesis.study(dataset, model, count=count, few=few)
        synthesis.measured(one, [*synthesis.NETWORK, *crossed.CONTROLS, *(f"{synthesis.SHUFFLED}{m}" for m in attribution.METHODS)], stored=True, log=log)
        held_out = synthesis.study(dataset, model, count=count, few=few, held_out=True)
        synthesis.measured(held_out, synthesis.family(tuple(crossed.NEW)), synthesis.HELD_OUT, stored=True, log=log)
        synthesis.seconds(one.who, stored=True)
    dataset, model, count, few = SYNTHESIS[0]
    one, training = synthesis.study(dataset, model, count=count, few=few), subject(dataset, model, split="train", count=synthesis.KNOWN)
    for method in ("random", *attribution.METHODS):
        synthesis.shift(one, training, synthesis.witness(one, WITNESS), method, stored=True)
        log(f"shift  {one.who.title}  {method}")


def _seeds(values: list[float], half_widths: list[float]) -> tuple[float, float, float]:
    """Mean over seeds and its interval: the larger of the mean half-width over images and the half-width over seeds (t)."""
    mean, half = float(np.mean(values)), float(np.mean(half_widths))
    if len(values) > 1:
        from scipy.stats import t
        half = max(half, float(t.ppf(.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** .5))
    return mean, mean - half, mean + half


def _reproduced(number: published.Number, cells: dict) -> dict:
    """Value, interval and origin of one printed number, or {} where it has not been computed."""
    if (number.paper, number.table) == ("Noise", "Table 1"):
        return cells["retrained"].get((number.row, number.column), {})
    if number.column not in COLUMNS | STAND_INS:
        return {}
    dataset, model, tags = (COLUMNS | STAND_INS)[number.column]
    accuracy = number.row == "Accuracy"
    wanted = {"dataset": dataset, "split": "test", "model": model} | ({} if accuracy else {"map": number.row.lower(), "fill": FILL_OF[number.table]})
    found = [c for c in cells["accuracy" if accuracy else "deletion"]
             if wanted.items() <= c["parameters"].items() and c["parameters"]["weights"] in tags and _current(c["parameters"])]
    pixels = [c["parameters"]["data"] for c in found]
    found = [c for c in found if c["parameters"]["data"] == max(pixels, key=lambda p: (pixels.count(p), p))]
    if sorted(c["parameters"]["weights"] for c in found) != sorted(tags):
        return {}
    rows, field = [c["rows"][0] for c in found], "accuracy" if accuracy else "auc"
    value, low, high = _seeds([r[field] for r in rows], [(r["high"] - r["low"]) / 2 for r in rows])
    seeds = f"{len(tags)} seed{'s' if len(tags) > 1 else ''}"
    how = models.card(model, tags[0])["protocol"]
    order = "" if how.get("reshuffle", True) else ", one order for all epochs"
    part = "" if how.get("trains", "all") == "all" else f", {how['trains']}"
    part += f", the last {max(1, how['epochs'] // 10)} cooling down" if how.get("schedule") == "cooldown" else ""
    return {"reproduced": round(value, 4), "low": round(low, 4), "high": round(high, 4), "n": found[0]["parameters"]["n"], "data": f"{dataset} test, {data.described(found[0]['parameters']['data'])}",
            "model": model, "protocol": f"{how['optimizer']} {how['lr']:g}, batch {how['batch_size']}, {how['epochs']} epochs{order}{part}, {seeds}",
            "verdict": published.verdict(number.published, value, low, high, published.tolerance(number)),
            "verdict_at_zero": published.verdict(number.published, value, low, high, 0)}


def _retrained() -> dict[tuple[str, str], dict]:
    """By (printed row, printed column), what Table 1 of paper Noise prints: areas over the span, judged by their difference from
    the random baseline; the random baseline itself by its level."""
    if not (models.WEIGHTS / "rectgrad_cnn-cifar10.safetensors").is_file():
        return {}
    found = roar.stored(roar.SHORT, current=_committed("rectgrad_cnn", "cifar10", models.WEIGHTS))
    against = roar.against_random(roar.areas(found[found["method"].isin((*roar.PRINTED, "none"))]))
    names = dict(zip(roar.PRINTED, dict.fromkeys(n.row for n in published.numbers() if (n.paper, n.table) == ("Noise", "Table 1"))))
    printed, rows = {(n.row, n.column): n.published for n in published.numbers()}, {}
    for r in against[against["seeds"] > 1].to_dict("records"):
        row, column = names[r["method"]], RETRAINED[r["mode"]]
        if r["method"] == "random":
            judged = printed[row, column], r["area"], r["area_low"], r["area_high"]
        else:
            judged = printed[row, column] - printed["Random", column], r["difference"], r["low"], r["high"]
        rows[row, column] = {"reproduced": round(r["area"], 4), "low": round(r["area_low"], 4), "high": round(r["area_high"], 4), "n": WHOLE["cifar10"], "data": f"cifar10 test, {data.described(found.attrs['test_data'])}",
                             "model": "rectgrad_cnn", "protocol": f"Adam, one cycle to {roar.SHORT.lr:g}, batch {roar.SHORT.batch_size}, {roar.SHORT.epochs} epochs, {r['seeds']} seeds; area over the span; verdicts on the difference from random, of random itself on the level",
                             "verdict": published.verdict(*judged, published.TOLERANCE["ROAR/KAR"]), "verdict_at_zero": published.verdict(*judged, 0)}
    return rows


def _current(parameters: dict) -> bool:
    """Was the cell computed with the weights that are committed now?"""
    return parameters["weights_hash"] == _committed(parameters["model"], parameters["weights"], models.WEIGHTS)


@lru_cache
def _committed(model: str, weights: str, folder: Path) -> str:
    """Fingerprint of committed weights; read once, since sixty numbers ask for it. Where their body cannot be downloaded, the card's."""
    try:
        return models.fingerprint(models.load(model, weights))
    except models.DownloadError:
        return models.card(model, weights).get("weights_hash", "")


def reproduction() -> pd.DataFrame:
    """All 60 printed numbers with what was computed for them, from the stored cells; empty where nothing was."""
    cells = _whole_cells()
    table = pd.DataFrame([{**number._asdict(), **(_reproduced(number, cells) or _waits_for(number))} for number in published.numbers()], columns=CSV_COLUMNS)
    return table.astype({"n": "Int64"})


def _whole_cells() -> dict:
    """The stored accuracies and deletion areas of whole test splits, and what follows from the retrained networks."""
    whole = lambda p: p["split"] == "test" and p["n"] == WHOLE.get(p["dataset"].removesuffix("+patch"))
    return {name: [c for c in results.cells(name) if whole(c["parameters"])] for name in ("accuracy", "deletion")} | {"retrained": _retrained()}


def _waits_for(number: published.Number) -> dict:
    """What keeps a number from being computed, where it is a download."""
    return {"verdict": "needs a download"} if "pretrained" in number.column else {}


def stand_ins() -> pd.DataFrame:
    """For each number printed for a pretrained network, what was computed here for networks that need no download.

    Columns table, row, column (the network), reproduced, low, high, n, protocol; empty where nothing is computed.
    """
    rows, cells = [], _whole_cells()
    for number in published.numbers():
        if number.column == "Imagenette ResNet-18 pretrained":
            for column in STAND_INS:
                found = _reproduced(number._replace(column=column), cells)
                if found:
                    rows.append({"table": number.table, "row": number.row, "column": column} | {k: found[k] for k in ("reproduced", "low", "high", "n", "protocol")})
    return pd.DataFrame(rows, columns=["table", "row", "column", "reproduced", "low", "high", "n", "protocol"])


def without_stand_ins(studied: list[Subject]) -> list[Subject]:
    """The subjects that stand in for no printed network, for what takes hours and no paper prints; all where there is no other."""
    return [who for who in studied if (who.pictures.name, who.model_name, (who.weights,)) not in STAND_INS.values()] or studied


def beside_published(tables: list[str], studied: list[Subject]) -> pd.DataFrame | None:
    """The rows of `reproduction` in these printed tables that belong to these subjects; None where nothing is printed."""
    pairs = {(who.pictures.name, who.model_name) for who in studied}
    columns = [column for column, (dataset, model, _) in COLUMNS.items() if (dataset, model) in pairs]
    rows = reproduction().query("table in @tables and column in @columns").dropna(subset=["reproduced"])
    return rows if len(rows) else None


def beside_constant_rate() -> pd.DataFrame | None:
    """ResNet-18 on Imagenette with and without the cooldown of its learning rate: accuracy on the whole test split, areas of the
    same 500 pictures. Columns row, fill, printed, committed, constant, low, high (of constant less committed, paired); None where not computed."""
    cells = {name: [c for c in results.cells(name) if (c["parameters"]["dataset"], c["parameters"]["model"], c["parameters"]["split"]) == ("imagenette", "resnet18", "test")] for name in ("accuracy", "deletion")}
    place = data.drawn(WHOLE["imagenette"], 500)
    printed = {(n.row.lower(), FILL_OF.get(n.table)): n.published for n in published.numbers() if n.column == "Imagenette ResNet-18"}
    def one(name, weights, n, **rest):
        found = [c for c in cells[name] if c["parameters"]["weights"] == weights and c["parameters"]["n"] == n and rest.items() <= c["parameters"].items() and (weights == CONSTANT or _current(c["parameters"]))]
        return found[0] if found else None
    rows = []
    both = one("accuracy", "imagenette", WHOLE["imagenette"]), one("accuracy", CONSTANT, WHOLE["imagenette"])
    if all(both):
        ours, theirs = (c["rows"][0]["accuracy"] for c in both)
        rows.append({"row": "accuracy", "fill": "", "printed": printed["accuracy", None], "committed": ours, "constant": theirs, "low": np.nan, "high": np.nan})
    for fill, names in experiments.MATCHED.items():
        for name in names:
            both = one("deletion", "imagenette", WHOLE["imagenette"], map=name, fill=fill), one("deletion", CONSTANT, 500, map=name, fill=fill)
            if all(both):
                ours, theirs = (metrics.auc(PAPER_FRACTIONS, results.unpack(c["kept"])) for c in both)
                ours = ours[place]
                low, high = metrics.bootstrap(theirs - ours)
                rows.append({"row": name, "fill": fill, "printed": printed[name, fill], "committed": ours.mean().item(), "constant": theirs.mean().item(), "low": low, "high": high})
    return pd.DataFrame(rows) if rows else None


def over_seeds(column: str = "CIFAR-10 CNN") -> pd.DataFrame:
    """How far apart trainings of one network lie: columns map, fill, least, most (of the areas over its seeds)."""
    dataset, model, tags = COLUMNS[column]
    rows, cells = [], _whole_cells()["deletion"]
    for fill, names in experiments.MATCHED.items():
        for name in names:
            found = [c["rows"][0]["auc"] for c in cells if c["parameters"]["weights"] in tags and _current(c["parameters"])
                     and {"dataset": dataset, "model": model, "split": "test", "map": name, "fill": fill}.items() <= c["parameters"].items()]
            rows.append({"map": name, "fill": fill, "least": min(found), "most": max(found)} if len(found) > 1 else {})
    return pd.DataFrame([r for r in rows if r], columns=["map", "fill", "least", "most"])


def beside_retrained() -> pd.DataFrame | None:
    """The rows of `reproduction` that paper Noise prints of ROAR and KAR; None where none is computed."""
    rows = reproduction().query("paper == 'Noise' and table == 'Table 1'").dropna(subset=["reproduced"])
    return rows if len(rows) else None


def beside_pretrained(tables: list[str]) -> pd.DataFrame:
    """What these tables print for the two pretrained networks, beside what stands in for them here; text, empty where not computed."""
    printed = [n for n in published.numbers() if n.table in tables and "pretrained" in n.column]
    rows = {}
    for number in printed:
        rows.setdefault((number.table, number.row), {"number": f"{number.table}, {number.row}"})[f"{number.column.removeprefix('Imagenette ')}, printed"] = f"{number.published:g}"
    for r in stand_ins().itertuples():
        if (r.table, r.row) in rows:
            rows[r.table, r.row][f"{r.column}, here"] = f"{r.reproduced:.3f} ({r.low:.3f} to {r.high:.3f})"
    return pd.DataFrame(rows.values())


def _csv() -> str:
    return reproduction().to_csv(index=False)


def _check_weights(log: Callable) -> list[str]:
    """Accuracy of every committed network against its card, on every split that is here."""
    wrong = []
    for model, dataset, tag, _ in TRAINED:
        about = models.card(model, tag)
        if not about:
            log(f"not checked: {model} {tag}: no weights here; `make results` trains them where their ImageNet weights can be downloaded")
            continue
        try:
            who = subject(dataset, model, tag, split="test")
        except (data.DataError, models.DownloadError) as error:
            log(f"not checked: {model} {tag}: {error}")
            continue
        found, stated = experiments.accuracy(who)["accuracy"], about["test_accuracy"]
        stored = [c["rows"][0]["accuracy"] for c in results.cells("accuracy") if who.identity.items() <= c["parameters"].items()]
        close = all(abs(found - value) <= 3 / len(who.pictures) for value in [stated, *stored])  # a few pictures on the edge may flip with another processor
        log(f"{'ok  ' if close else 'BAD '} accuracy  {who.title}  {found:.4f}, card {stated:.4f}")
        wrong += [] if close else [f"accuracy of {model} {tag}"]
    return wrong


def _check_cell(content: dict, pictures: int, generator: torch.Generator, log: Callable) -> list[str]:
    """A random part of one stored deletion cell, computed again: at most 1 % of its flags may differ."""
    p = content["parameters"]
    try:
        who = subject(p["dataset"], p["model"], p["weights"], split=p["split"], count=p["n"])
    except (data.DataError, models.ModelError) as error:
        log(f"not checked: {p['map']} {p['fill']}: {error}")
        return []
    name = f"deletion  {who.title}  {p['map']} {p['fill']}"
    if who.pictures.fingerprint != p["data"]:
        log(f"not checked: {name}: these pixels are not those of the stored result")
        return []
    index = torch.randperm(p["n"], generator=generator)[:pictures]
    if who.pictures.images.shape[-1] > 64:
        index = index[:pictures // 4]
    part = Subject(who.model, who.pictures.take(index), who.model_name, who.weights)
    again = experiments.allegiance(part, experiments.signed_maps(part, 50)[p["map"]], p["fill"], 50, bfloat16=p.get("forwards") == "bfloat16")
    kept = results.unpack(content["kept"])
    share = (again == kept[:, index]).double().mean().item()
    area = metrics.auc(PAPER_FRACTIONS, kept).mean().item()
    good = share >= .99 and abs(area - content["rows"][0]["auc"]) < 1e-9 and models.fingerprint(who.model) == p["weights_hash"]
    log(f"{'ok  ' if good else 'BAD '} {name}  {share:.2%} of {again.numel()} flags agree")
    return [] if good else [name]


def _check_noise(pictures: int, generator: torch.Generator, log: Callable) -> list[str]:
    """A random part of what is stored for paper Noise, computed again: background attribution, and maps under attack."""
    wrong = []
    for stored in results.cells("outside"):
        try:
            masked = noise.correct(subject("cifar10_masks", "rectgrad_cnn", stored["parameters"]["weights"]))
        except data.DataError as error:
            log(f"not checked: outside the mask: {error}")
            continue
        again = {(r["method"], r["treatment"], r["share"]): r["mean"] for r in noise.amounts(masked, "outside").to_dict("records")}
        good = all(abs(again[r["method"], r["treatment"], r["share"]] - r["mean"]) <= .01 * abs(r["mean"]) for r in stored["rows"])
        log(f"{'ok  ' if good else 'BAD '} outside the mask  {masked.title}")
        wrong += [] if good else [f"outside the mask, {masked.title}"]
    for stored in (c for c in results.cells("adversarial") if c["parameters"]["method"] in ("saliency", "rectgrad")):
        p = stored["parameters"]
        try:
            who = subject(p["dataset"], p["model"], p["weights"])
        except data.DataError as error:
            log(f"not checked: class sensitivity: {error}")
            continue
        index = torch.randperm(len(who.pictures), generator=generator)[:pictures].sort().values
        part = Subject(who.model, who.pictures.take(index), who.model_name, who.weights)
        again = probes.adversarial(part, (p["method"],))["correlation"].to_numpy()
        before = np.array([r["correlation"] for r in stored["rows"]])[index.numpy()]
        good = np.abs(again - before).max() <= .05   # one unit on a threshold may flip with another processor
        log(f"{'ok  ' if good else 'BAD '} class sensitivity  {part.title}  {p['method']}")
        wrong += [] if good else [f"class sensitivity of {p['method']}, {p['model']}"]
    return wrong


def _check_retrained(generator: torch.Generator, log: Callable) -> list[str]:
    """One stored retraining whose maps are cheap, done again: within three standard deviations over seeds, or two points."""
    cheap = ("none", "random", "saliency", "rectgrad")
    stored = [c for c in results.cells("roar") if c["parameters"]["method"] in cheap and c["parameters"]["protocol"]["epochs"] == roar.SHORT.epochs and c["version"] == roar.RANKS_VERSION and _current(c["parameters"])]
    if not stored:
        return []
    one = stored[int(torch.randint(len(stored), (), generator=generator))]
    p = one["parameters"]
    try:
        again = roar.retrain(p)["rows"][0]["accuracy"]
    except data.DataError as error:
        log(f"not checked: retraining: {error}")
        return []
    same = [c["rows"][0]["accuracy"] for c in results.cells("roar") if all(c["parameters"][k] == p[k] for k in ("method", "mode", "fraction", "dataset")) and c["parameters"]["protocol"]["epochs"] == p["protocol"]["epochs"]]
    reach = max(.02, 3 * float(np.std(same, ddof=1)) if len(same) > 1 else 0)
    good = abs(again - one["rows"][0]["accuracy"]) <= reach
    name = f"{p['method']} {p['mode']} {p['fraction']:g}, seed {p['seed']}"
    log(f"{'ok  ' if good else 'BAD '} retrained  {name}  {again:.4f}, stored {one['rows'][0]['accuracy']:.4f}")
    return [] if good else [f"retraining {name}"]


def _check_synthesis(pictures: int, generator: torch.Generator, log: Callable) -> list[str]:
    """Areas of one method of the synthesis on a few pictures, computed again: on average at most 0.01 off."""
    stored = [c for c in results.cells("synthesis") if c["parameters"]["part"] == "curves" and c["parameters"]["name"] in synthesis.NETWORK]
    if not stored:
        return []
    one = stored[int(torch.randint(len(stored), (), generator=generator))]
    p = one["parameters"]
    try:
        both = [synthesis.study(p["dataset"], p["model"], p["weights"], count=p["n"], held_out=held).who for held in (False, True)]
    except (data.DataError, models.ModelError) as error:
        log(f"not checked: synthesis: {error}")
        return []
    who = next((w for w in both if w.pictures.fingerprint == p["data"]), None)
    if who is None:
        log("not checked: synthesis: these pixels are not those of the stored result")
        return []
    index = torch.randperm(p["n"], generator=generator)[:pictures]
    again = synthesis._curves(who._replace(pictures=who.pictures.take(index)), p["name"], False)
    off = max(float((again[metric] - results.unpack_values(one["values"][metric])[index]).abs().mean()) for metric in again)
    log(f"{'ok  ' if off <= .01 else 'BAD '} synthesis  {who.title}  {p['name']}  off by {off:.4f}")
    return [] if off <= .01 else [f"synthesis of {p['name']}, {p['model']}"]


def verify(cells: int = 6, pictures: int = 200, seed: int | None = None, log: Callable = print) -> bool:
    """Recompute the accuracy of all committed weights and a random part of the stored deletion cells, and compare."""
    seed = torch.seed() % 2**31 if seed is None else seed
    log(f"verify with seed {seed}")
    generator = torch.Generator().manual_seed(seed)
    stored = results.cells("deletion")
    wrong = _check_weights(log)
    for k in torch.randperm(len(stored), generator=generator)[:cells].tolist():
        wrong += _check_cell(stored[k], pictures, generator, log)
    wrong += _check_noise(8, generator, log)
    wrong += _check_retrained(generator, log)
    wrong += _check_synthesis(16, generator, log)
    for path, text in ((CSV, _csv()), (claims.CSV, claims.table().to_csv(index=False))):
        if not path.exists() or path.read_text() != text:
            wrong.append(f"{path.name} does not follow from the stored cells")
    log("verified" if not wrong else f"not verified: {'; '.join(wrong)}")
    return not wrong


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted({model for model, *_ in TRAINED})
    parser.add_argument("what", choices=("run", "retrain", "table", "verify"))
    parser.add_argument("--models", nargs="+", choices=names, help="only these networks")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, help="processes that retrain networks, of one thread each; on Slurm, jobs")
    parser.add_argument("--scheduler", help="retrain on a Dask cluster: its address, or slurm[:<name>] as dask-jobqueue is configured")
    parser.add_argument("--seed", type=int, help="of the part that verify draws")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    try:
        if chosen.what == "verify":
            return 0 if verify(seed=chosen.seed) else 1
        if chosen.what == "run":
            run(chosen.models or names)
            if not chosen.models or "rectgrad_cnn" in chosen.models:
                compute_noise()
                retrain(chosen.workers, chosen.scheduler)
                compute_synthesis()
                claims.measure()
            if not chosen.models or "resnet18" in chosen.models:
                constant_rate()
        if chosen.what == "retrain":
            retrain(chosen.workers, chosen.scheduler)
        CSV.parent.mkdir(parents=True, exist_ok=True)
        CSV.write_text(_csv())
        claims.CSV.write_text(claims.table().to_csv(index=False))
        print(reproduction().to_string())
        return 0
    except (data.DataError, models.ModelError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
