"""The whole computation behind the published numbers, and its check.

`python -m study.account.plan run|verify`: `run` trains what has no weights yet, computes every cell
that has no stored result, and writes data/results/reproduction.csv; stopped at any point, it goes
on there. `verify` recomputes a random part of what is stored and compares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, replace

import torch

from lib import attribution
from lib.attribution import crosses
from study.account import claims, scoreboard, verify
from study.experiments import cleanliness, deletion, hypothesis, response, retraining, synthesis
from study.store import cells
from study.store.experiment import EXPERIMENTS
from study.subjects import networks, sources, training
from study.subjects.subject import batch_size, subject
from study.subjects.training import Protocol

# paper Sign's pretrained networks
_FROZEN = Protocol(trains="last layer, frozen")
_RELEASED = Protocol(trains="last layer, released")
_NOISE = retraining.FULL  # paper Noise, appendix F.2
# every network we train: (model, dataset, tag of its weights, protocol);
# paper Sign's protocol where the data are its own
TRAINED = [
    ("basic_cnn", "shapes10", "shapes10", Protocol(epochs=15)),
    ("basic_cnn", "cifar10", "cifar10", Protocol(seed=0)),
    ("basic_cnn", "cifar10", "cifar10-seed1", Protocol(seed=1)),
    ("basic_cnn", "cifar10", "cifar10-seed2", Protocol(seed=2)),
    ("resnet18", "cifar10", "cifar10", Protocol(seed=0)),
    ("resnet18", "cifar10", "cifar10-seed1", Protocol(seed=1)),
    ("resnet18", "cifar10", "cifar10-seed2", Protocol(seed=2)),
    ("basic_cnn", "imagenette", "imagenette", Protocol(seed=0, bfloat16=True)),
    (
        "resnet18",
        "imagenette",
        "imagenette",
        Protocol(seed=0, epochs=34, bfloat16=True, schedule="cooldown"),
    ),
    ("squeezenet1_1", "imagenette", "imagenette", _FROZEN),
    ("efficientnet_lite0", "imagenette", "imagenette", _FROZEN),
    *(
        (model, "imagenette", f"imagenette-{how}", protocol)
        for model in ("resnet18", "convnext_tiny")
        for how, protocol in (("released", _RELEASED), ("frozen", _FROZEN))
    ),
    ("rectgrad_cnn", "shapes10", "shapes10", replace(_NOISE, epochs=5)),
    ("rectgrad_cnn", "shapes10+patch", "shapes10+patch", replace(_NOISE, epochs=5)),
    ("gelu_cnn", "shapes10", "shapes10", replace(_NOISE, epochs=5)),
    ("rectgrad_cnn", "cifar10", "cifar10", _NOISE),
    ("rectgrad_cnn", "cifar10+patch", "cifar10+patch", _NOISE),
    ("rectgrad_cnn", "cifar10_rest", "cifar10_rest", _NOISE),
    ("rectgrad_cnn", "cifar10", "cifar10-seed1", replace(_NOISE, seed=1)),
    ("rectgrad_cnn", "cifar10", "cifar10-seed2", replace(_NOISE, seed=2)),
    # what precision and a lossy copy cost
    ("rectgrad_cnn", "cifar10", "cifar10-bfloat16", replace(_NOISE, bfloat16=True)),
    ("rectgrad_cnn", "cifar10+jpeg75", "cifar10+jpeg75", _NOISE),
]
# whose 23 MB of weights are not committed
CARD_ALONE = [("resnet18", "cifar10-seed1"), ("resnet18", "cifar10-seed2")]
# pictures of a train split, None for all; of the others 2,000
TRAIN_SPLIT = {("cifar10", "basic_cnn"): None, ("cifar10", "resnet18"): 10_000}
WITNESS = "basic_cnn"  # the network in whose features distance is taken


def train(model: str, dataset: str, tag: str, protocol: Protocol, log: Callable = print) -> None:
    """Train, evaluate and write weights and card, unless they are there.

    It goes on from the last finished epoch.
    """
    path = networks.WEIGHTS / f"{model}-{tag}.safetensors"
    if path.exists() or ((model, tag) in CARD_ALONE and networks.card(model, tag)):
        return
    last_layer = protocol.trains != "all"
    if last_layer:
        # what must be downloaded and cannot be is said before any picture is read
        networks.transferred(model, ("any",))
    pictures, held_out = sources.load(dataset, "train"), sources.load(dataset, "test")
    fresh = networks.transferred if last_layer else networks.load
    network = fresh(model, classes=pictures.classes, seed=protocol.seed)
    fit = training.fit_last_layer if last_layer else training.fit
    rows = fit(
        network,
        pictures,
        protocol,
        checkpoint=sources.CACHE / "training" / f"{model}-{tag}-seed{protocol.seed}.pt",
        log=lambda line: log(f"{model} {tag}  {line}"),
    )
    about = {
        "model": model,
        "dataset": dataset,
        "fingerprint": pictures.fingerprint,
        "classes": list(pictures.classes),
        "protocol": asdict(protocol),
        "licence": "MIT",
        "epochs": [{k: round(v, 4) for k, v in row.items()} for row in rows],
        **cells.provenance(),
    }
    if last_layer:
        about["body"] = "imagenet"
        how = {"base": networks.transferred(model, pictures.classes)}
    else:
        how = {"half": model != "basic_cnn"}
    part = path.with_name(f"part-{path.name}")
    networks.save(network, part, about, **how)
    # the rounded weights are the ones every result is computed with
    network = networks.load(model, str(part))
    for split in (pictures, held_out):
        about[f"{split.split}_accuracy"] = training.accuracy(network, split)
    about["weights_hash"] = networks.fingerprint(network)
    networks.save(network, path, about, **how)
    for left in (part, part.with_suffix(".json")):
        left.unlink()


def compute(dataset: str, model: str, tag: str, log: Callable = print) -> None:
    """Every stored cell of one network: accuracy, deletion, and on fixed test pictures the rest.

    The rest are score curves and what stands with them below. The train split (appendix B prints
    curves, no numbers) and the fixed pictures are for the first seed of a network alone; a stand-in
    has what stands beside a printed number or curve, no more.
    """

    def of(split, count=None):
        return subject(dataset, model, tag, split=split, count=count, stored=True)

    weights = networks.WEIGHTS / f"{model}-{tag}.safetensors"
    if (model, tag) in CARD_ALONE and not weights.is_file():
        log(f"kept as a card and cells: {model} {tag}")
        return
    whole = of("test")
    size = batch_size(whole)
    accuracy = deletion.accuracy(whole, batch_size=size)["accuracy"]
    log(f"accuracy  {whole.title}  {accuracy:.4f}")
    deletion.fresh_statistics(whole)
    if model == "rectgrad_cnn":
        return
    deletion.precision(whole, batch_size=size)
    flags = deletion.allegiances(whole, batch_size=size, log=log)
    if tag not in {tags[0] for _, _, tags in (scoreboard.COLUMNS | scoreboard.STAND_INS).values()}:
        return
    deletion.beside_controls(whole, flags, batch_size=size)
    fixed = of("test", deletion.SCORED[dataset])
    if (dataset, model, (tag,)) not in scoreboard.STAND_INS.values():
        for experiment in (
            deletion.kept_pixels,
            deletion.signs,
            deletion.score_curves,
            deletion.printed_and_released,
            deletion.soft_replacement,
            deletion.insertion_areas,
        ):
            experiment(fixed, batch_size=size)
            log(f"{experiment.__name__}  {fixed.title}  done")
    for pairs in (deletion.PRINTED_PAIRS, deletion.PAIRS):  # first what the paper draws
        deletion.allegiances(
            of("train", TRAIN_SPLIT.get((dataset, model), 2_000)),
            pairs=pairs,
            batch_size=size,
            log=log,
        )


def run(names: list[str], log: Callable = print) -> None:
    """Train and compute whatever is not there yet for these networks.

    It says what it leaves out for want of a download.
    """
    left_out = set()
    columns = [
        (dataset, model, tag)
        for dataset, model, tags in (scoreboard.COLUMNS | scoreboard.STAND_INS).values()
        for tag in tags
    ]
    for work, jobs in ((train, TRAINED), (compute, columns)):
        for job in jobs:
            model, tag = (job[0], job[2]) if work is train else job[1:]
            if model not in names or (model, tag) in left_out:
                continue
            try:
                work(*job, log)
            except networks.DownloadError as error:
                left_out.add((model, tag))
                log(f"left out: {model} {tag}: {error}")


def compute_noise(log: Callable = print) -> None:
    """Every stored cell of paper Noise's experiments, the quick ones first.

    Maps are kept under data/cache/maps/.
    """

    def of(dataset: str, tag: str = "auto", **options):
        return subject(dataset, "rectgrad_cnn", tag, stored=True, **options)

    for tag in ("cifar10", "cifar10_rest"):
        masked = cleanliness.recognised(of("cifar10_masks", tag))
        cleanliness.amounts(masked, "outside")
        hypothesis.occlusion(cleanliness.per_class(masked, 10), log=log)
    response.sanity(of("cifar10", count=200), log=log)
    for studied, measure in (
        (of("cifar10+patch"), "patch"),
        (of("cifar10"), "variation"),
        (of("cifar10", split="train", count=10_000), "variation"),
    ):
        cleanliness.amounts(studied, measure)
        log(f"{measure}  {studied.title}  done")
    for network in ("squeezenet1_1", "efficientnet_lite0"):
        studied = subject("imagenet_samples", network, stored=True)
        response.sweep(studied, log=log)
        response.adversarial(studied, log=log)


def retrain(
    workers: int | None = None, scheduler: str | None = None, log: Callable = print
) -> None:
    """The grid of ROAR and KAR, most useful cells first, and its claims; resumable, hours."""
    grid = retraining.everything()
    retraining.prepare(grid, log=log)
    retraining.run(grid, workers=workers, scheduler=scheduler, log=log)
    deletion.correct(subject("cifar10", "rectgrad_cnn", stored=True))
    claims.measure(list(claims.RETRAINED), log=log)


def compute_synthesis(log: Callable = print) -> None:
    """Every stored cell of the synthesis but ROAR and KAR, which `retrain` computes: hours."""
    shuffled = [f"{synthesis.SHUFFLED}{method}" for method in attribution.METHODS]
    names = [*synthesis.NETWORK, *crosses.CONTROLS, *shuffled]
    for dataset, model, count, sample_size in synthesis.STUDIED:
        study, held_out = (
            synthesis.study(
                dataset, model, count=count, few=sample_size, held_out=held_out, stored=True
            )
            for held_out in (False, True)
        )
        synthesis.measured(study, names, log=log)
        family = synthesis.family(tuple(crosses.NEW))
        synthesis.measured(held_out, family, synthesis.HELD_OUT, log=log)
        synthesis.seconds(study.whole)
    dataset, model, count, sample_size = synthesis.STUDIED[0]
    study = synthesis.study(dataset, model, count=count, few=sample_size, stored=True)
    known = subject(dataset, model, split="train", count=synthesis.KNOWN)
    for method in (*crosses.CONTROLS, *attribution.METHODS):
        synthesis.shift(study, known, synthesis.witness(study, WITNESS), method)
        log(f"shift  {study.whole.title}  {method}")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = sorted({model for model, *_ in TRAINED})
    parser.add_argument("what", choices=("run", "retrain", "table", "verify"))
    parser.add_argument("--models", nargs="+", choices=names, help="only these networks")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that retrain networks, of one thread each; on Slurm, jobs",
    )
    parser.add_argument(
        "--scheduler",
        help="retrain on a Dask cluster: its address, or slurm[:<name>] "
        "as dask-jobqueue is configured",
    )
    parser.add_argument("--seed", type=int, help="of the part that verify draws")
    parser.add_argument(
        "--stamp",
        action="store_true",
        help="verify the kinds of results whose code has changed, and stamp those that agree",
    )
    parser.add_argument(
        "--kinds", nargs="+", choices=list(EXPERIMENTS), help="verify only these kinds of results"
    )
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    try:
        if chosen.what == "verify":
            good = verify.verify(TRAINED, seed=chosen.seed, stamp=chosen.stamp, kinds=chosen.kinds)
            return 0 if good else 1
        if chosen.what == "run":
            run(chosen.models or names)
            if not chosen.models or "rectgrad_cnn" in chosen.models:
                compute_noise()
                retrain(chosen.workers, chosen.scheduler)
                compute_synthesis()
                claims.measure()
        if chosen.what == "retrain":
            retrain(chosen.workers, chosen.scheduler)
        scoreboard.CSV.parent.mkdir(parents=True, exist_ok=True)
        scoreboard.CSV.write_text(scoreboard.table().to_csv(index=False))
        claims.CSV.write_text(claims.table().to_csv(index=False))
        print(scoreboard.table().to_string())
        return 0
    except (sources.DataError, networks.ModelError, ModuleNotFoundError, OSError) as error:
        # an OSError: a disk that stays full or a scheduler that does not answer
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
