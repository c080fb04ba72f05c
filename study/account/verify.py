"""The check of what is stored.

A random part of it is computed again and compared, and the tables must follow from the cells.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lib import metrics
from lib.metrics import PAPER_FRACTIONS
from study.account import claims, scoreboard
from study.experiments import cleanliness, deletion, response, retraining, synthesis
from study.store import results
from study.subjects import networks, sources
from study.subjects.subject import Subject, subject


def _check_weights(trained: list[tuple], log: Callable) -> list[str]:
    """Accuracy of every committed network against its card, on every split that is here."""
    wrong = []
    for model, dataset, tag, _ in trained:
        about = networks.card(model, tag)
        if not about:
            log(
                f"not checked: {model} {tag}: no weights here; "
                "`make results` trains them, where a download that it needs works"
            )
            continue
        if not (networks.WEIGHTS / f"{model}-{tag}.safetensors").is_file():
            log(f"not checked: {model} {tag}: its card alone is kept")
            continue
        try:
            who = subject(dataset, model, tag, split="test")
        except (sources.DataError, networks.DownloadError) as error:
            log(f"not checked: {model} {tag}: {error}")
            continue
        if (
            "+jpeg" in dataset
            and sources.load(dataset, "train").fingerprint != about["fingerprint"]
        ):
            log(f"not checked: {model} {tag}: the JPEG library here makes other pixels")
            continue
        again, stated = deletion.accuracy(who)["accuracy"], about["test_accuracy"]
        stored = [
            c["rows"][0]["accuracy"]
            for c in results.cells("accuracy")
            if who.identity.items() <= c["parameters"].items()
        ]
        # a few pictures on the edge may flip with another processor
        close = all(abs(again - value) <= 3 / len(who.pictures) for value in [stated, *stored])
        log(f"{'ok  ' if close else 'BAD '} accuracy  {who.title}  {again:.4f}, card {stated:.4f}")
        if not close:
            wrong.append(f"accuracy of {model} {tag}")
    return wrong


def _check_cell(
    content: dict, pictures: int, generator: torch.Generator, log: Callable
) -> list[str]:
    """A random part of one stored deletion cell, computed again.

    At most 1 % of its flags may differ.
    """
    p = content["parameters"]
    try:
        who = subject(p["dataset"], p["model"], p["weights"], split=p["split"], count=p["n"])
    except (sources.DataError, networks.ModelError) as error:
        log(f"not checked: {p['map']} {p['fill']}: {error}")
        return []
    name = f"deletion  {who.title}  {p['map']} {p['fill']}"
    if who.pictures.fingerprint != p["data"]:
        log(f"not checked: {name}: these pixels are not those of the stored result")
        return []
    index = torch.randperm(p["n"], generator=generator)[:pictures]
    if who.pictures.images.shape[-1] > 64:
        index = index[: pictures // 4]
    part = Subject(who.model, who.pictures.take(index), who.model_name, who.weights)
    again = deletion.allegiance(
        part,
        deletion.signed_maps(part, 50)[p["map"]],
        p["fill"],
        50,
        bfloat16=p.get("forwards") == "bfloat16",
    )
    kept = results.unpack(content["kept"])
    share = (again == kept[:, index]).double().mean().item()
    area = metrics.auc(PAPER_FRACTIONS, kept).mean().item()
    good = (
        share >= 0.99
        and abs(area - content["rows"][0]["auc"]) < 1e-9
        and networks.fingerprint(who.model) == p["weights_hash"]
    )
    log(f"{'ok  ' if good else 'BAD '} {name}  {share:.2%} of {again.numel()} flags agree")
    return [] if good else [name]


def _check_outside(log: Callable) -> list[str]:
    """What is stored of attribution on the background, computed again."""
    wrong = []
    for stored in results.cells("outside"):
        try:
            masked = cleanliness.correct(
                subject("cifar10_masks", "rectgrad_cnn", stored["parameters"]["weights"])
            )
        except sources.DataError as error:
            log(f"not checked: outside the mask: {error}")
            continue
        again = {
            (r["method"], r["treatment"], r["share"]): r["mean"]
            for r in cleanliness.amounts(masked, "outside").to_dict("records")
        }
        good = all(
            abs(again[r["method"], r["treatment"], r["share"]] - r["mean"]) <= 0.01 * abs(r["mean"])
            for r in stored["rows"]
        )
        log(f"{'ok  ' if good else 'BAD '} outside the mask  {masked.title}")
        if not good:
            wrong.append(f"outside the mask, {masked.title}")
    return wrong


def _check_attacked(pictures: int, generator: torch.Generator, log: Callable) -> list[str]:
    """A random part of what is stored of maps under attack, computed again."""
    wrong = []
    for stored in results.cells("adversarial"):
        p = stored["parameters"]
        if p["method"] not in ("saliency", "rectgrad"):
            continue
        try:
            who = subject(p["dataset"], p["model"], p["weights"])
        except sources.DataError as error:
            log(f"not checked: class sensitivity: {error}")
            continue
        index = torch.randperm(len(who.pictures), generator=generator)[:pictures].sort().values
        part = Subject(who.model, who.pictures.take(index), who.model_name, who.weights)
        again = response.adversarial(part, (p["method"],))["correlation"].to_numpy()
        before = np.array([r["correlation"] for r in stored["rows"]])[index.numpy()]
        # one unit on a threshold may flip with another processor
        good = np.abs(again - before).max() <= 0.05
        log(f"{'ok  ' if good else 'BAD '} class sensitivity  {part.title}  {p['method']}")
        if not good:
            wrong.append(f"class sensitivity of {p['method']}, {p['model']}")
    return wrong


def _check_noise(pictures: int, generator: torch.Generator, log: Callable) -> list[str]:
    """What is stored for paper Noise: background attribution, and maps under attack."""
    return _check_outside(log) + _check_attacked(pictures, generator, log)


def _check_retrained(generator: torch.Generator, log: Callable) -> list[str]:
    """One stored retraining whose maps are cheap, done again.

    It must come within three standard deviations over seeds, or two points.
    """
    cheap = ("none", "random", "saliency", "rectgrad")
    stored = [
        c
        for c in results.cells("roar")
        if c["parameters"]["method"] in cheap
        and c["parameters"]["protocol"]["epochs"] == retraining.SHORT.epochs
        and c["version"] == retraining.RANKS_VERSION
        and scoreboard.current(c["parameters"])
    ]
    if not stored:
        return []
    drawn = stored[int(torch.randint(len(stored), (), generator=generator))]
    p, before = drawn["parameters"], drawn["rows"][0]["accuracy"]
    try:
        again = retraining.retrain(p)["rows"][0]["accuracy"]
    except sources.DataError as error:
        log(f"not checked: retraining: {error}")
        return []
    same = [
        c["rows"][0]["accuracy"]
        for c in results.cells("roar")
        if all(c["parameters"][k] == p[k] for k in ("method", "mode", "fraction", "dataset"))
        and c["parameters"]["protocol"]["epochs"] == p["protocol"]["epochs"]
    ]
    reach = max(0.02, 3 * float(np.std(same, ddof=1)) if len(same) > 1 else 0)
    good = abs(again - before) <= reach
    name = f"{p['method']} {p['mode']} {p['fraction']:g}, seed {p['seed']}"
    log(f"{'ok  ' if good else 'BAD '} retrained  {name}  {again:.4f}, stored {before:.4f}")
    return [] if good else [f"retraining {name}"]


def _check_synthesis(pictures: int, generator: torch.Generator, log: Callable) -> list[str]:
    """One part of the synthesis for one method on a few pictures, computed again.

    It must be at most 0.01 off on average.
    """
    stored = [
        c
        for c in results.cells("synthesis")
        if c["parameters"]["part"] in synthesis.OF_ONE_MAP
        and c["parameters"]["name"] in synthesis.NETWORK
        and c["parameters"]["model"] in {j[1] for j in synthesis.STUDIED}
    ]
    if not stored:
        return []
    drawn = stored[int(torch.randint(len(stored), (), generator=generator))]
    p = drawn["parameters"]
    part_of, compute = synthesis.PARTS[p["part"]]
    try:
        dataset, model, count, *_ = next(j for j in synthesis.STUDIED if j[1] == p["model"])
        both = [
            getattr(synthesis.study(dataset, model, count=count, held_out=held_out), part_of)
            for held_out in (False, True)
        ]
    except (sources.DataError, networks.ModelError) as error:
        log(f"not checked: synthesis: {error}")
        return []
    who = next(
        (w for w in both if w and (w.pictures.fingerprint, w.weights) == (p["data"], p["weights"])),
        None,
    )
    if who is None:
        log("not checked: synthesis: these pixels are not those of the stored result")
        return []
    index = torch.randperm(p["n"], generator=generator)[:pictures]
    again = compute(who._replace(pictures=who.pictures.take(index)), p["name"], False)
    before = {metric: results.unpack_values(drawn["values"][metric])[index] for metric in again}
    off = max(float((again[metric] - before[metric]).abs().nanmean()) for metric in again)
    good, what = off <= 0.01, f"{p['part']} of {p['name']}"
    log(f"{'ok  ' if good else 'BAD '} synthesis  {who.title}  {what}  off by {off:.4f}")
    return [] if good else [f"{what}, {p['model']}, in the synthesis"]


def verify(
    trained: list[tuple],
    cells: int = 6,
    pictures: int = 200,
    seed: int | None = None,
    log: Callable = print,
) -> bool:
    """Recompute a part of what is stored and compare; True if nothing is wrong.

    The part is the accuracy of all committed weights (`trained`: see `plan.TRAINED`) and a random
    part of the stored cells.
    """
    seed = torch.seed() % 2**31 if seed is None else seed
    log(f"verify with seed {seed}")
    generator = torch.Generator().manual_seed(seed)
    stored = results.cells("deletion")
    wrong = _check_weights(trained, log)
    for k in torch.randperm(len(stored), generator=generator)[:cells].tolist():
        wrong += _check_cell(stored[k], pictures, generator, log)
    wrong += _check_noise(8, generator, log)
    wrong += _check_retrained(generator, log)
    wrong += _check_synthesis(16, generator, log)
    for path, text in (
        (scoreboard.CSV, scoreboard.table().to_csv(index=False)),
        (claims.CSV, claims.table().to_csv(index=False)),
    ):
        if not path.exists() or path.read_text() != text:
            wrong.append(f"{path.name} does not follow from the stored cells")
    log("verified" if not wrong else f"not verified: {'; '.join(wrong)}")
    return not wrong
