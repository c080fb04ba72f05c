"""ROAR and KAR (paper Noise, section 5.3, Fig. 18 and Table 1): occlude what a map calls important,
or all the rest, and retrain.

A cell is one retraining: a method, a fraction, ROAR or KAR, a seed. `plan` lists the cells, the
most useful first, and `run` computes them through study.store.runner.map_cells;
study.experiments.retraining_tables says what they show.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import lru_cache, partial
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib import attribution, metrics
from lib.attribution import crosses
from study.experiments import cleanliness
from study.store import cells as store
from study.store import stamps
from study.store.cells import Cell, one_at_a_time, pack, unpack
from study.store.cells import key as cell_key
from study.store.experiment import experiment
from study.store.runner import map_cells
from study.subjects import networks, sources, training
from study.subjects.pictures import to_range
from study.subjects.subject import Subject, subject
from study.subjects.training import Protocol

# the rows of Table 1
PRINTED = (
    "random",
    "rectgrad",
    "saliency",
    "guided_backprop",
    "smoothgrad",
    "input_x_gradient",
    "integrated_gradients",
    "deeplift",
)
# the last looks at no network
ADDED = (
    "rectgrad_prr",
    "positive",
    "negative",
    "active",
    "inactive",
    "edges",
)
LAST = ("deconvolution", "epsilon_lrp")  # what then is left of METHODS
# section 5.3 opens by saying that its baselines have a final threshold
CUT = tuple(f"{cleanliness.THRESHOLDED}{m}" for m in cleanliness.BASELINES)
FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)
MODES = ("roar", "kar")
# a third way to retrain: the first pixels gone and all others white, so that nothing but their
# places is seen
HOLES = "holes"
# paper Noise, appendix F.2
FULL = Protocol(epochs=20, batch_size=100, optimizer="Adam", reshuffle=False)
# float32: bfloat16 is faster where a processor has such products, and many times slower elsewhere
SHORT = Protocol(epochs=3, batch_size=128, optimizer="Adam", lr=2e-3, schedule="one cycle")
PROTOCOLS = {
    "quick": replace(SHORT, epochs=4, batch_size=32),
    "short": SHORT,
    "full": FULL,
}
CHUNK = 1000  # pictures in one stored piece of ranks
NOISE = 1e-4  # of the released code: equal values fall in a random order
# of a protocol; younger fields only where they are not their default
KEYED = (
    "epochs",
    "lr",
    "batch_size",
    "optimizer",
    "bfloat16",
    "seed",
    "reshuffle",
    "schedule",
)


def ranks(studied: Subject, method: str, *, batch_size: int = 250) -> Tensor:
    """Each pixel's place in its picture, the most important first, for the predicted class: uint16
    [N,H,W].

    Paper Noise's maps: channel sums (of RectGrad its positive part), plus noise of scale 1e-4 so
    that equal values fall in a random order. A name after "thresholded:" asks for `thresholded`
    ranks. Of a subject whose results are stored, pieces of `CHUNK` pictures are kept under
    data/cache/ranks/, each computed by one process.
    """
    if method.startswith(cleanliness.THRESHOLDED):
        baseline = method.removeprefix(cleanliness.THRESHOLDED)
        places = ranks(studied, baseline, batch_size=batch_size)
        return thresholded(places, torch.Generator().manual_seed(0))
    pixels = studied.pictures.images[0, 0].numel()
    if pixels > 2**16:
        raise ValueError(
            f"pictures of {studied.pictures.name} have {pixels} pixels; ranks are kept for at most "
            f"{2**16}."
        )
    name = ""
    if studied.stored:
        code = stamps.code(ranks)  # ranks of other code are not found
        name = cell_key({**studied.identity, "method": method, "chunk": CHUNK, "code": code})
    pieces = []
    for start in range(0, len(studied.pictures), CHUNK):
        part = studied.take(slice(start, start + CHUNK))
        compute = partial(_ranked, part, method, torch.Generator().manual_seed(start), batch_size)
        pieces.append(_kept_ranks(f"{name}-{start}", compute) if studied.stored else compute())
    return torch.cat(pieces)


def _kept_ranks(name: str, compute: Callable[[], Tensor]) -> Tensor:
    """Ranks from their file, or computed and written, while any other process that wants them
    waits."""
    path = sources.CACHE / "ranks" / f"{name}.npy"
    with one_at_a_time(f"ranks-{name}"):
        return torch.from_numpy(sources.kept_array(path, lambda: compute().numpy()))


def _ranked(part: Subject, method: str, generator: torch.Generator, batch_size: int) -> Tensor:
    if _device() != "cpu":
        # a copy: the caller's network stays where it is
        part = part._replace(model=copy.deepcopy(part.model).to(_device()))

    def mapped(images):
        if method in crosses.CONTROLS:
            return crosses.CONTROLS[method][0](images.cpu(), generator)
        entry = attribution.METHODS[method]
        return attribution.to_map(entry.function(part.model, images), entry.reduce["noise"])

    with _single_precision():
        maps = part.over_batches(mapped, batch_size).to(_device())
    places = metrics.pixel_order(maps, noise=NOISE, generator=generator)
    return places.to("cpu", torch.int32).to(torch.uint16)


@contextmanager
def _single_precision():
    """Without the ten-bit products (TF32) in which GPUs convolve by default: maps rank pixels by
    small differences."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def thresholded(places: Tensor, generator: torch.Generator) -> Tensor:
    """Ranks [N,H,W] after paper Noise's final threshold, as the released code has it
    (`cleanliness.treat`): values from the 95th percentile on keep their places, all others are
    alike and follow in random order."""
    count = places[0].numel()
    kept = count - math.ceil(0.95 * (count - 1))

    pieces = []
    for part in places.split(CHUNK):
        part = part.flatten(1).float()
        drawn = kept + torch.rand(part.shape, generator=generator)
        score = torch.where(part < kept, part, drawn).to(_device())
        order = score.argsort(dim=1, stable=True).argsort(1)
        pieces.append(order.to("cpu", torch.int32).to(torch.uint16))
    return torch.cat(pieces).view_as(places)


def occluded(places: Tensor | tuple[int, ...], fraction: float, mode: str, seed: int = 0) -> Tensor:
    """Which pixels go, bool [N,H,W]: ROAR (and `HOLES`) the share `fraction` that comes first, KAR
    all but that share.

    `places`: ranks [N,H,W] as of `ranks`, or a shape [N,H,W] for the random baseline, which drops
    every pixel independently.
    """
    if mode not in (*MODES, HOLES):
        raise ValueError(f"unknown mode {mode!r}; accepted are {', '.join((*MODES, HOLES))}.")
    if isinstance(places, Tensor):
        first = places.to(torch.int32) < round(fraction * places[0].numel())
    else:
        first = torch.rand(places, generator=torch.Generator().manual_seed(seed)) < fraction
    return ~first if mode == "kar" else first


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@lru_cache(maxsize=2)
def explained_subjects(
    dataset: str, model: str, weights: str, count: int | None, size: int | None, stored: bool
) -> dict[str, Subject]:
    """Network and pictures of both splits; a worker reads them once."""
    return {
        split: subject(dataset, model, weights, split=split, count=count, size=size, stored=stored)
        for split in ("train", "test")
    }


def _study(p: dict) -> tuple:
    """What names network and pictures in the parameters of a cell."""
    return p["dataset"], p["model"], p["weights"], p["count"], p.get("size")


@lru_cache(maxsize=2)
def pixel_places(
    dataset: str,
    model: str,
    weights: str,
    count: int | None,
    size: int | None,
    stored: bool,
    method: str,
    split: str,
) -> Tensor:
    """`ranks` of a split's pixels under a method, the last ones kept in memory."""
    return ranks(explained_subjects(dataset, model, weights, count, size, stored)[split], method)


def retrain(p: dict, stored_ranks: bool = True) -> dict:
    """One cell: the accuracy, on occluded test pictures, of a network trained from scratch on
    occluded training pictures.

    `p` are the parameters of a cell of `plan`. Occluded pixels take the channel mean of the
    training set; under `HOLES` all others are white. Beside the rows, "correct" keeps which test
    pictures were right, for resampling.
    """
    study = *_study(p), stored_ranks
    both = explained_subjects(*study)
    _check_unchanged(p, both)
    pictures = {split: studied.pictures for split, studied in both.items()}
    network = networks.load(
        p["model"], classes=pictures["train"].classes, seed=p["seed"], device=_device()
    )
    mean = to_range(channel_mean(pictures["train"].images), network).to(_device())

    def inputs(split):
        def places():
            return pixel_places(*study, p["method"], split)

        return _occluded_inputs(p, pictures[split], places, mean, network)

    known, shown, labels = inputs("train"), inputs("test"), pictures["test"].labels
    training.fit(
        network, pictures["train"], Protocol(**p["protocol"]), inputs=known, log=lambda line: None
    )
    with torch.no_grad():
        right = torch.cat(
            [
                network(shown(index.to(_device()))).argmax(1).cpu() == labels[index]
                for index in torch.arange(len(labels)).split(500)
            ]
        )
    return {
        "rows": [
            {"accuracy": right.double().mean().item(), "right": int(right.sum()), "n": len(labels)}
        ],
        "correct": pack(right),
    }


def _check_unchanged(p: dict, both: dict[str, Subject]) -> None:
    """Raise an error where network or pictures are not those that the cell was planned for."""
    if networks.fingerprint(both["train"].model) != p["weights_hash"]:
        raise networks.ModelError(
            f"the weights {p['weights']} of {p['model']} have changed since these cells were "
            "planned; plan them again."
        )
    for split, key in (("train", "data"), ("test", "test_data")):
        if both[split].pictures.fingerprint != p[key]:
            raise sources.DataError(
                f"{p['dataset']} {split} has changed since these cells were planned; plan them "
                "again."
            )


def _occluded_inputs(
    p: dict,
    pictures: sources.Dataset,
    places: Callable[[], Tensor],
    mean: Tensor,
    network: torch.nn.Module,
) -> Callable[[Tensor], Tensor]:
    """A function from the numbers of pictures, int64 [n], to what the network sees of these;
    `places` gives their ranks, if they are needed."""
    gone = pixels_gone(p, pictures, places).to(_device())
    images = pictures.images.to(_device())

    def shown(index):
        if p["mode"] == HOLES:
            white = torch.as_tensor(network.white, dtype=torch.float32, device=_device())
            left = white.expand(len(index), *images.shape[1:])
        else:
            left = to_range(images[index], network)
        occluded_images = torch.where(gone[index][:, None], mean, left)
        return occluded_images.contiguous(memory_format=torch.channels_last)

    return shown


def channel_mean(images: Tensor) -> Tensor:
    """The mean of each channel over all pictures and pixels, [C,1,1], in bytes; one channel at a
    time, since all would fill a gigabyte."""
    means = [
        images[:, c].sum(dtype=torch.int64).double() / images[:, c].numel()
        for c in range(images.shape[1])
    ]
    return torch.stack(means)[:, None, None]


def pixels_gone(p: dict, pictures: sources.Dataset, places: Callable[[], Tensor]) -> Tensor:
    """The pixels that a cell with parameters `p` removes, bool [N,H,W]; `places` gives the ranks of
    its method's pixels, where they are asked for."""
    shape = (len(pictures), *pictures.images.shape[2:])
    if p["method"] == "none":
        return torch.zeros(shape, dtype=torch.bool)
    return occluded(
        shape if p["method"] == "random" else places(),
        p["fraction"],
        p["mode"],
        drop_seed(p["seed"], pictures.split),
    )


def drop_seed(seed: int, split: str) -> int:
    """What draws the pixels of the random baseline: each seed, and each split of it, its own."""
    return 2 * seed + (split == "test")


def plan(
    dataset: str = "cifar10",
    model: str = "rectgrad_cnn",
    weights: str = "auto",
    *,
    methods: Sequence[str] = PRINTED,
    fractions: Sequence[float] = FRACTIONS,
    modes: Sequence[str] = MODES,
    seeds: Sequence[int] = (1,),
    protocol: Protocol = SHORT,
    count: int | None = None,
    size: int | None = None,
) -> list[Cell]:
    """One cell a seed without occlusion, then one for every method, mode and fraction, seed by
    seed.

    ValueError for an unknown method, and for the seed of the explained network: it would be
    retrained from the same first weights.
    """
    for method in methods:
        _check_method(method)
    tag = dataset if weights == "auto" else weights
    taken = networks.card(model, tag).get("protocol", {}).get("seed")
    if taken in seeds:
        raise ValueError(
            f"seed {taken} is that of the explained network {model} {tag}, whose first weights it "
            "would share; give others."
        )
    both = explained_subjects(dataset, model, tag, count, size, False)
    common = {
        "dataset": dataset,
        "count": count,
        "data": both["train"].pictures.fingerprint,
        "test_data": both["test"].pictures.fingerprint,
        "model": model,
        "weights": tag,
        "weights_hash": networks.fingerprint(both["train"].model),
    }
    if size is not None:
        common["size"] = size  # pictures of their own size have no such key
    kinds = [("none", "none", 0.0), *product(methods, modes, fractions)]
    return [
        _cell(common, method, mode, fraction, replace(protocol, seed=seed))
        for seed in seeds
        for method, mode, fraction in kinds
    ]


def _check_method(method: str) -> None:
    plain = method.removeprefix(cleanliness.THRESHOLDED)
    if plain not in attribution.METHODS and method not in crosses.CONTROLS:
        known = ", ".join([*crosses.CONTROLS, *attribution.METHODS])
        raise ValueError(
            f"unknown method {method!r}; accepted are {known}, and "
            f"{cleanliness.THRESHOLDED}<method>."
        )


def _cell(common: dict, method: str, mode: str, fraction: float, protocol: Protocol) -> Cell:
    """A cell of the grid; `common` are the parameters that all of its cells share."""
    occlusion = "" if method == "none" else f"-{mode}-{fraction:g}"
    label = (
        f"{common['dataset']}-{common['model']}-{method.replace(':', '_')}{occlusion}"
        f"-{protocol.epochs}epochs-seed{protocol.seed}"
    )
    parameters = common | {
        "method": method,
        "mode": mode,
        "fraction": fraction,
        "seed": protocol.seed,
        "protocol": _keyed_fields(protocol),
    }
    return Cell("roar", label, parameters)


def _keyed_fields(protocol: Protocol) -> dict:
    """What keys a cell: a field that `Protocol` gains later does not change it."""
    return {
        name: value
        for name, value in asdict(protocol).items()
        if name in KEYED or value != getattr(Protocol(), name)
    }


def everything(**options) -> list[Cell]:
    """The whole grid in the order that keeps a stopped run useful: two seeds of the paper's methods
    by the affordable protocol, the holes alone, the baselines with a final threshold, the methods
    that this book adds, one seed of the last ones, the holes of those added, the second seed with a
    threshold, two seeds of the paper's methods by its own protocol, the second seed of the last
    ones, a third seed."""
    grid = [
        *plan(seeds=(1, 2), **options),
        *holes(**options),
        *plan(methods=CUT, **options),
        *plan(methods=ADDED, seeds=(1, 2), **options),
        *plan(methods=LAST, **options),
        *holes(methods=ADDED, **options),
        *plan(methods=CUT, seeds=(2,), **options),
        *plan(seeds=(1, 2), protocol=FULL, **options),
        *plan(methods=LAST, seeds=(2,), **options),
        *plan(methods=PRINTED + ADDED, seeds=(3,), **options),
    ]
    return list({c.name: c for c in grid}.values())


def holes(fractions: Sequence[float] = (0.3, 0.7), **options) -> list[Cell]:
    """What the places of the first pixels tell by themselves, whatever is there: ROAR and KAR leave
    the same shapes."""
    return [
        c
        for c in plan(modes=(HOLES,), fractions=fractions, **options)
        if c.parameters["method"] != "none"
    ]


def prepare(cells: Sequence[Cell], log: Callable = print) -> None:
    """Compute and keep the ranks that these cells need, once a method."""
    wanted = {}
    for cell in cells:
        p = cell.parameters
        study = _study(p)
        wanted[study, p["method"]] = None
    for study, method in wanted:
        if method not in ("none", "random"):
            for studied in explained_subjects(*study, True).values():
                ranks(studied, method)
                log(f"ranks  {studied.title}  {method}")
    torch.cuda.empty_cache()  # the workers need it; nothing where there is no GPU


def run(cells: Sequence[Cell], explained: Tensor | None = None, **options) -> pd.DataFrame:
    """Compute what is not stored of these cells (`options` of study.store.runner.map_cells) and
    return all of them as `tidy` does."""
    return tidy(map_cells(retrain, cells, **options), explained)


def contents(cells: Sequence[Cell]) -> list[dict]:
    """All of these cells computed now, in this process, and nothing stored: parameters, rows and
    "correct" of each."""
    return [
        {"parameters": cell.parameters, **retrain(cell.parameters, stored_ranks=False)}
        for cell in cells
    ]


def gathered(
    cells: Sequence[Cell],
    *,
    stored: bool,
    compute: bool = True,
    workers: int = 0,
    scheduler: str | None = None,
) -> list[dict]:
    """The contents of these cells: computed now and not kept, or, if `stored`, read from
    data/results and what is missing there computed and kept.

    Without `compute` what is not stored is left out; `workers` and `scheduler` as of
    study.store.runner.map_cells. ValueError where nothing would be read or computed.
    """
    if not stored and not compute:
        raise ValueError("nothing is read and nothing computed; set stored or compute.")
    if not stored:
        return contents(cells)
    if compute:
        return map_cells(retrain, cells, workers=workers, scheduler=scheduler)
    stored_contents = (store.read(cell.path()) for cell in cells)
    return [content for content in stored_contents if content is not None]


def check_grid(methods: Sequence[str], fractions: Sequence[float], protocol: str) -> None:
    """Raise ValueError for a grid whose curves cannot be compared with the random baseline, and
    for an unknown protocol."""
    if "random" not in methods or len(methods) < 2:
        raise ValueError(
            "curves are compared with the random baseline; give random and at least one method, "
            f"not {', '.join(methods) or 'none'}."
        )
    check_fractions(fractions)
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; accepted are {', '.join(PROTOCOLS)}.")


def check_fractions(fractions: Sequence[float]) -> None:
    """Raise ValueError unless these are at least two shares from 0 to 1, ascending."""
    ascending = list(fractions) == sorted(set(fractions))
    if len(fractions) < 2 or not ascending or not 0 <= fractions[0] < fractions[-1] <= 1:
        raise ValueError(
            f"fractions are {list(fractions)}; give at least two, ascending, from 0 to 1."
        )


def left_of(train: Subject, methods: Sequence[str], fraction: float) -> dict[str, Tensor]:
    """What is left of the first eight pictures under every method and mode, black where pixels are
    gone, [8,C,H,W]: what training magnifies nothing of, for those who compare reruns."""
    studied = train.take(slice(0, 8))
    images = studied.pictures.images.float()
    left = {}
    for method in methods:
        places = ranks(studied, method) if method != "random" else (len(images), *images.shape[2:])
        for mode in MODES:
            gone = occluded(places, fraction, mode)
            left[f"{method} {mode}, what is left"] = torch.where(gone[:, None], 0.0, images)
    return left


def tidy(contents: Sequence[dict], explained: Tensor | None = None) -> pd.DataFrame:
    """A row a retraining: method, mode, fraction, seed, accuracy.

    With `explained`, bool [N], which test pictures the explained network gets right, also
    where_right and where_wrong: the retrained network's accuracy on these and on the others, NaN
    where there are none.
    """
    names = ("method", "mode", "fraction", "seed")
    columns = [*names, "accuracy"]
    rows = [
        {**{name: c["parameters"][name] for name in names}, "accuracy": c["rows"][0]["accuracy"]}
        for c in contents
    ]
    if explained is not None:
        columns += ["where_right", "where_wrong"]
        for row, c in zip(rows, contents, strict=True):
            right = unpack(c["correct"]).double()
            row["where_right"] = right[explained].mean().item()
            row["where_wrong"] = right[~explained].mean().item()
    return pd.DataFrame(rows, columns=columns)


def short_and_cheap(parameters: dict) -> bool:
    """Can this cell be computed again in minutes, the ranks of its maps included?"""
    cheap = ("none", "random", "saliency", "rectgrad")
    return parameters["protocol"]["epochs"] == SHORT.epochs and parameters["method"] in cheap


def reach(content: dict) -> float:
    """How far a cell that is computed again may lie: three standard deviations over seeds, or two
    points."""
    p = content["parameters"]
    same = [
        c["rows"][0]["accuracy"]
        for c in store.of("roar")
        if all(c["parameters"][k] == p[k] for k in ("method", "mode", "fraction", "dataset"))
        and c["parameters"]["protocol"]["epochs"] == p["protocol"]["epochs"]
    ]
    return max(0.02, 3 * float(np.std(same, ddof=1)) if len(same) > 1 else 0)


# not replaced by the experiment: worker processes find the function by its name
experiment(
    "roar",
    tolerance=0,
    again=lambda content: retrain(content["parameters"]),
    drawn=short_and_cheap,
    reach=reach,
)(retrain)
