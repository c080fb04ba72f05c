"""The whole computation behind the published numbers, and its check.

`python -m study.account.plan run|retrain|table|verify`: `run` trains what has no weights yet,
computes every cell that has no stored result, and writes data/results/reproduction.csv; stopped at
any point, it goes on there, and two at once share the work. `retrain` does so for ROAR and KAR
alone, `table` writes the tables of what is stored. `verify` recomputes a random part of what is
stored and compares.
"""

from __future__ import annotations

import argparse
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lib import attribution
from lib.attribution import crosses
from study.account import claims, scoreboard, verify
from study.experiments import cleanliness, deletion, hypothesis, response, retraining, synthesis
from study.paths import ROOT
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
# option -> the commands that read it; --threads is for every one
READ_BY = {
    "models": ("run",),
    "workers": ("run", "retrain"),
    "scheduler": ("run", "retrain"),
    "seed": ("verify",),
    "stamp": ("verify",),
    "kinds": ("verify",),
}


def train(model: str, dataset: str, tag: str, protocol: Protocol, log: Callable = print) -> None:
    """Train, evaluate and write weights and card, unless they are there.

    It goes on from the last finished epoch. One process at a time trains a network: a second one
    waits and finds it trained, or goes on where the first was stopped.
    """
    if _is_trained(model, tag):
        return
    name = f"training-{model}-{tag}"
    with cells.one_at_a_time(name, patient=False) as free:
        pass  # asked only to say why nothing happens for hours
    if not free:
        log(f"{model} {tag}  another process trains it; waiting")
    with cells.one_at_a_time(name):
        if not _is_trained(model, tag):
            _train(model, dataset, tag, protocol, log)


def _weights(model: str, tag: str) -> Path:
    return networks.WEIGHTS / f"{model}-{tag}.safetensors"


def _is_trained(model: str, tag: str) -> bool:
    """Are its weights there, or the card of a network of which no more is kept?"""
    kept_as_card = (model, tag) in CARD_ALONE and networks.card(model, tag)
    return _weights(model, tag).exists() or bool(kept_as_card)


def _train(model: str, dataset: str, tag: str, protocol: Protocol, log: Callable) -> None:
    """`train`, for the only process that is at this network."""
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
        # named after the training alone, so that whoever comes next goes on from it
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
    # the rounded weights are the ones every result is computed with; nobody else sees this copy
    with TemporaryDirectory() as folder:
        rounded = Path(folder) / _weights(model, tag).name
        networks.save(network, rounded, about, **how)
        network = networks.load(model, str(rounded))
    for split in (pictures, held_out):
        about[f"{split.split}_accuracy"] = training.accuracy(network, split)
    about["weights_hash"] = networks.fingerprint(network)
    networks.save(network, _weights(model, tag), about, **how)


def compute(dataset: str, model: str, tag: str, log: Callable = print) -> None:
    """Every stored cell of one network: accuracy, deletion, and on fixed test pictures the rest.

    The rest are score curves and what stands with them below. The train split (appendix B prints
    curves, no numbers) and the fixed pictures are for the first seed of a network alone; a stand-in
    has what stands beside a printed number or curve, no more.
    """

    def of(split, count=None):
        return subject(dataset, model, tag, split=split, count=count, stored=True)

    if (model, tag) in CARD_ALONE and not _weights(model, tag).is_file():
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


def _at_least(least: int) -> Callable[[str], int]:
    """What reads the whole number of an option, from `least` to the largest that torch takes."""

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no whole number from {least} to {2**31 - 1}."
            )
        return int(text)

    return read


def _parser() -> argparse.ArgumentParser:
    """The command and its options; what was not given is None."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "retrain", "table", "verify"))
    parser.add_argument("--models", nargs="+", choices=_models(), help="run only these networks")
    parser.add_argument("--threads", type=_at_least(1), default=torch.get_num_threads())
    parser.add_argument(
        "--workers",
        type=_at_least(1),
        help="processes that retrain networks, of one thread each; on Slurm, jobs",
    )
    parser.add_argument(
        "--scheduler",
        help="retrain on a Dask cluster: its address, or slurm[:<name>] "
        "as dask-jobqueue is configured",
    )
    parser.add_argument("--seed", type=_at_least(0), help="of the part that verify draws")
    parser.add_argument(
        "--stamp",
        action="store_true",
        default=None,
        help="verify the kinds of results whose code has changed, and stamp those that agree",
    )
    parser.add_argument(
        "--kinds", nargs="+", choices=list(EXPERIMENTS), help="verify only these kinds of results"
    )
    return parser


def _models() -> list[str]:
    return sorted({model for model, *_ in TRAINED})


def _fault(chosen: argparse.Namespace) -> str | None:
    """What to say of an option that would be ignored; None where all are read."""
    given = [name for name in READ_BY if getattr(chosen, name) is not None]
    unread = [name for name in given if chosen.what not in READ_BY[name]]
    if unread:
        named = (f"--{name} (it belongs to {' and '.join(READ_BY[name])})" for name in unread)
        return f"{chosen.what} does not read {', '.join(named)}; leave that out."
    of_retraining = [name for name in ("workers", "scheduler") if name in given]
    if of_retraining and not _retrains(chosen.models):
        return (
            f"run reads --{of_retraining[0]} where it retrains rectgrad_cnn, which --models "
            f"{' '.join(chosen.models)} leaves out; name rectgrad_cnn too, or leave "
            f"--{of_retraining[0]} out."
        )
    if chosen.scheduler is None or chosen.scheduler.partition(":")[0] == "slurm":
        return None
    if not re.search(r":\d+", chosen.scheduler):
        return (
            f"--scheduler is {chosen.scheduler!r}; it must be slurm, slurm:<name> or an address "
            "with a port, such as tcp://head:8786."
        )
    if chosen.workers:
        return (
            "--workers counts processes of this machine, or jobs of Slurm; the cluster at "
            f"{chosen.scheduler} has workers of its own: leave --workers out."
        )
    return None


def _retrains(models: list[str] | None) -> bool:
    """Is the grid of ROAR and KAR part of a run of these networks (None: of all)?"""
    return not models or "rectgrad_cnn" in models


def _do(chosen: argparse.Namespace) -> int:
    """Do what was chosen; returns the exit status."""
    if chosen.what == "verify":
        options = {"seed": chosen.seed, "stamp": bool(chosen.stamp), "kinds": chosen.kinds}
        return 0 if verify.verify(TRAINED, **options) else 1
    if chosen.what == "run":
        run(chosen.models or _models())
        if _retrains(chosen.models):
            compute_noise()
            retrain(chosen.workers, chosen.scheduler)
            compute_synthesis()
            claims.measure()
    if chosen.what == "retrain":
        retrain(chosen.workers, chosen.scheduler)
    cells.write_text(scoreboard.CSV, scoreboard.table().to_csv(index=False))
    cells.write_text(claims.CSV, claims.table().to_csv(index=False))
    print(scoreboard.table().to_string())
    return 0


def _is_told(error: Exception) -> bool:
    """Does the error tell people what to do?

    It does where a `raise` of this project made its sentence; a library's error, or an operation
    that failed, is a fault whose trace is wanted.
    """
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(last.filename).resolve()
    ours = any(file.is_relative_to(ROOT / folder) for folder in ("lib", "study"))
    return ours and (last.line or "").startswith("raise ")


def _say(error: Exception) -> None:
    """An error, and what was noted beside it, on one line."""
    words = [str(error), *getattr(error, "__notes__", [])]
    print(" ".join(" ".join(words).splitlines()), file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    fault = _fault(chosen)
    if fault:
        parser.error(fault)
    torch.set_num_threads(chosen.threads)
    try:
        return _do(chosen)
    except (sources.DataError, networks.ModelError, ModuleNotFoundError, OSError) as error:
        # an OSError: a disk that stays full or a scheduler that does not answer
        _say(error)
    except (ValueError, RuntimeError, FloatingPointError) as error:
        # a checkpoint of another protocol, workers that die, a loss that is not finite
        if not _is_told(error):
            raise
        _say(error)
    return 2


if __name__ == "__main__":
    sys.exit(main())
