"""Both papers' methods under both papers' metrics: a number for every method, metric and picture.

Paper Sign's metrics see a method's map as that paper reduces channels (the largest absolute value),
paper Noise's as that one does (the sum). Every method is taken as `METHODS` has it, so RectGrad
keeps its final threshold and no other gets one. What the numbers say is
study.experiments.ranking's.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lib import attribution, metrics
from lib.attribution import crosses
from lib.metrics import PAPER_FRACTIONS
from study.experiments import cleanliness, deletion, response, retraining, retraining_tables
from study.experiments.deletion import FILLS
from study.store import cells, stamps
from study.store.experiment import experiment, unpacked
from study.store.experiment import whole as whole_content
from study.subjects import networks, sources
from study.subjects.pictures import to_range
from study.subjects.subject import Subject, batch_size, check_count, subject
from study.subjects.training import Protocol

NETWORK = attribution.METHODS | crosses.NEW  # methods that look at a network
SHUFFLED = "shuffled:"  # before a method's name: its map with pixels in other places


class Metric(NamedTuple):
    """A column: its name in tables, whether more is better (1) or worse (-1), and its family,
    metrics of one kind."""

    label: str
    better: int
    family: str


METRICS = {
    **{f"{fill}_deletion": Metric(f"{fill} deletion", -1, "deletion") for fill in FILLS},
    **{f"{fill}_score": Metric(f"{fill} score", -1, "deletion") for fill in FILLS},
    **{f"{fill}_insertion": Metric(f"{fill} insertion", 1, "deletion") for fill in FILLS},
    "patch": Metric("in the patch", -1, "place"),
    "outside": Metric("off the object", -1, "place"),
    "variation": Metric("total variation", -1, "place"),
    "roar": Metric("ROAR", -1, "retraining"),
    "kar": Metric("KAR", -1, "retraining"),
    "sanity": Metric("sanity", 1, "response"),
    "attack": Metric("other class", 1, "response"),
}
FAMILIES = {
    "deletion": "Deletion and insertion",
    "place": "Where a map lies",
    "retraining": "Retraining",
    "response": "What a map responds to",
}
# what is published: dataset, network, pictures, of these for what needs new maps
STUDIED = [
    ("cifar10", "rectgrad_cnn", 2_000, 200),
    ("imagenette", "squeezenet1_1", 200, 60),
]
HELD_OUT = ("curves", "patch")  # parts that are measured again on held-out pictures
KNOWN = 10_000  # training pictures that distance is taken to
REDRAWS = 3  # new weights of the output layer
STEPS = (0.01, 0.02, 0.04, 0.08, 0.16)  # sizes of an attack, in units of pixels from -1 to 1
# parts that need nothing but a map, so that a control can be shuffled
OF_ONE_MAP = (
    "curves",
    "patch",
    "outside",
    "variation",
)


def check_methods(methods: Sequence[str], new: Sequence[str]) -> None:
    """Raise ValueError for names that are not in the registries."""
    for names, known in ((methods, attribution.METHODS), (new, crosses.NEW)):
        for name in names:
            if name not in known:
                raise ValueError(f"unknown method {name!r}; accepted are {', '.join(known)}.")


def check_parameters(
    methods: Sequence[str],
    new: Sequence[str] = (),
    retrain: Sequence[str] = (),
    fractions: Sequence[float] = (),
    protocol: str = "full",
) -> None:
    """Raise ValueError, before any long work, for what a chapter cannot compare.

    `methods` published, at least four; `new` crosses, whose parents are among them; `retrain`
    methods and controls that networks are retrained on, and the `fractions` for that.
    """
    check_methods(methods, new)
    if len(set(methods)) < 4:
        raise ValueError(
            f"rank correlations need at least four methods; got {', '.join(methods) or 'none'}."
        )
    absent = [parent for name in new for parent in crosses.PARENTS[name] if parent not in methods]
    if absent:
        raise ValueError(
            f"a new method is compared with its parents; {absent[0]!r} is one and not among the "
            "methods."
        )
    strange = [m for m in retrain if m not in (*methods, *crosses.CONTROLS)]
    if strange:
        raise ValueError(
            "networks are retrained on methods and controls that are compared; "
            f"{strange[0]!r} is not among them."
        )
    if protocol not in retraining.PROTOCOLS:
        raise ValueError(
            f"unknown protocol {protocol!r}; accepted are {', '.join(retraining.PROTOCOLS)}."
        )
    if retrain:
        retraining.check_fractions(fractions)


def studies(
    settings: Sequence[tuple],
    *,
    held_out: bool = False,
    size: int | None = None,
    stored: bool = False,
) -> list[tuple[Study, Study]]:
    """A study and its held-out twin for each setting (dataset, network, weights, pictures, of these
    for what needs new maps); without `held_out` the twin is the study itself.

    ValueError where two settings are of one network and dataset.
    """
    pairs = []
    for dataset, model, weights, count, fewer_count in settings:
        options = {"count": count, "few": fewer_count, "size": size, "stored": stored}
        own = study(dataset, model, weights, **options)
        twin = study(dataset, model, weights, held_out=True, **options) if held_out else own
        pairs.append((own, twin))
    if len({own.whole.label for own, _ in pairs}) < len(pairs):
        raise ValueError(
            "the second dataset and network are the first ones; give others, or "
            "also_dataset = None."
        )
    return pairs


def check_maps(of: Sequence[Study], names: Sequence[str]) -> None:
    """Let every method refuse a network that it has no reading for, on one picture, before long
    work."""
    for this in of:
        studied = this.whole.take(slice(0, 1))._replace(stored=False)
        for name in names:
            maps_both_ways(studied, name)


def family(new: Sequence[str]) -> list[str]:
    """These new methods and their parents."""
    parents = [parent for name in new for parent in crosses.PARENTS[name]]
    return list(dict.fromkeys([*new, *parents]))


class Study(NamedTuple):
    """What methods are measured on; None where there is no such thing for the dataset."""

    whole: Subject  # network and pictures
    # fewer of them at random, since some datasets come class by class, for what needs new maps
    # (sanity, another class)
    fewer: Subject
    twin: Subject | None  # the same kind of network, trained and shown with the random patch
    masked: Subject | None  # correctly classified pictures whose object has a mask
    index: Tensor  # which pictures of the test split these are


def study(
    dataset: str,
    model: str,
    weights: str | None = "auto",
    *,
    count: int | None = None,
    few: int | None = None,
    held_out: bool = False,
    size: int | None = None,
    stored: bool = False,
) -> Study:
    """The pictures of a study, `count` of the test split drawn at random, the same ones each time;
    `held_out`: as many others.

    Checked before any long work: ValueError where there are too few pictures to hold out.
    """
    check_count("images", count)
    check_count("few", few)
    every = subject(dataset, model, weights, size=size, stored=stored)
    total = len(every.pictures)
    number = total if count is None else min(count, total)
    if held_out and 2 * number > total:
        raise ValueError(
            f"{every.title}: {number} pictures leave too few to hold out as many; give at most "
            f"{total // 2}."
        )
    index = sources.drawn(total, number, skip=number * held_out)
    whole = every.take(index)
    twin = None
    if weights == "auto" and networks.card(model, f"{dataset}+patch"):
        twin = subject(f"{dataset}+patch", model, size=size, stored=stored).take(index)
    return Study(whole, whole.sample(few), twin, _masked(whole, dataset, model), index)


def _masked(studied: Subject, dataset: str, model: str) -> Subject | None:
    """Correctly classified pictures whose object has a mask; None where there are none."""
    if (dataset, model, studied.weights) == ("cifar10", "rectgrad_cnn", "cifar10"):
        masked = subject("cifar10_masks", model, "cifar10", stored=studied.stored)
    elif studied.pictures.masks is not None:
        masked = studied
    else:
        return None
    masked = cleanliness.recognised(masked)
    return masked if len(masked.pictures) else None


# ---- maps


def maps_both_ways(studied: Subject, name: str, *, target_of=None, draw: int = 0) -> Tensor:
    """The maps of all pictures, [2,N,H,W]: as paper Sign and as paper Noise reduces channels; a
    control's twice.

    For the class that `target_of` (None: the network itself) predicts; `draw` seeds a control. Of a
    subject whose results are stored they are kept under data/cache/maps/.
    """
    if name in crosses.CONTROLS:
        control, generator = crosses.CONTROLS[name][0], torch.Generator().manual_seed(draw)
        once = studied.over_batches(lambda images: control(images, generator), batch_size(studied))
        return once.expand(2, -1, -1, -1)

    def compute() -> Tensor:
        return _both_reductions(studied, name, target_of or studied.model)

    if not studied.stored or target_of is not None:
        return compute()
    code = stamps.code(maps_both_ways)  # maps of other code are not found
    key = cells.key({**studied.identity, "method": name, "reduced": "both", "code": code})
    path = sources.CACHE / "maps" / f"{key}.npy"
    return torch.from_numpy(sources.kept_array(path, lambda: compute().numpy()))


def _both_reductions(studied: Subject, name: str, target_of) -> Tensor:
    """The maps of a method for the class that `target_of` predicts, [2,N,H,W]: `maps`."""
    entry = NETWORK[name]

    def both(images):
        target = attribution.logits(target_of, images).argmax(1)
        attributions = entry.function(studied.model, images, target)
        return torch.stack(
            [attribution.to_map(attributions, entry.reduce[paper]) for paper in ("sign", "noise")],
            1,
        )

    return studied.over_batches(both, batch_size(studied)).transpose(0, 1).contiguous()


def _maps_of(studied: Subject, name: str) -> Tensor:
    """`maps`, of a method or of its shuffled control "shuffled:<method>"."""
    method = name.removeprefix(SHUFFLED)
    plain = maps_both_ways(studied, method)
    return plain if method == name else crosses.shuffled(plain, torch.Generator().manual_seed(0))


# ---- the parts: pictures and a name go in, a number a picture and metric comes out


def curves(studied: Subject, name: str) -> dict[str, Tensor]:
    """Areas under deletion (allegiance and probability) and insertion (allegiance), and the share
    of pixels that are not zero."""
    signed = _maps_of(studied, name)[0]
    out = {"kept": (signed != 0).flatten(1).double().mean(1)}
    for fill in FILLS:
        same = deletion.allegiance(studied, signed, fill, batch_size(studied))
        probability, _ = deletion.class_scores(studied, signed, fill, batch_size(studied))
        revealed = deletion.allegiance(studied, signed, fill, batch_size(studied), insert=True)
        for column, curve in (("deletion", same), ("score", probability), ("insertion", revealed)):
            out[f"{fill}_{column}"] = metrics.auc(PAPER_FRACTIONS, curve.double())
    return out


def _share(measure: str) -> Callable:
    """A quantity of paper Noise's section 5.3 as a share of the sum of |map|; NaN where the map is
    zero everywhere."""

    def part(studied: Subject, name: str) -> dict[str, Tensor]:
        summed = _maps_of(studied, name)[1]
        empty = (summed == 0).flatten(1).all(1)
        share = cleanliness.amount(measure, summed, studied.pictures.masks, True).double()
        return {measure: torch.where(empty, torch.nan, share)}

    return part


def map_responses(studied: Subject, name: str) -> dict[str, Tensor]:
    """How much more a map changes when it should than when it should not: differences of rank
    correlations, NaN where a picture has none.

    It should not change under a step in a random direction that keeps the prediction. It should
    under an adversarial step of the same size that changes it, each map for its own prediction
    ("attack", [N]; paper Noise, section 5.2), and when the output layer's weights are drawn anew,
    for the old prediction ("sanity", [REDRAWS,N]; Adebayo et al. 2018). Random numbers change
    always and get about 0. What looks at the picture alone gets what the steps do to the picture.
    """
    before = maps_both_ways(studied, name)[1]
    attacked, stepped, valid = smallest_steps(studied)

    def like(other, draw, target_of=None):
        after = maps_both_ways(other._replace(stored=False), name, target_of=target_of, draw=draw)[
            1
        ]
        return metrics.rank_correlation(before, after).double()

    steady = torch.where(valid, like(studied.altered(images=stepped), 1), torch.nan)
    redrawn = []
    for draw in range(REDRAWS):
        changed = copy.deepcopy(studied.model)
        output_layer = response.weighted_layers(changed)[0][1]
        response.redraw_weights(output_layer, torch.Generator().manual_seed(draw))
        redrawn.append(like(studied._replace(model=changed), 2 + draw, studied.model))
    return {
        "sanity": steady - torch.stack(redrawn),
        "attack": steady - like(studied.altered(images=attacked), 2 + REDRAWS),
    }


def smallest_steps(studied: Subject) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (float32, in bytes) after the smallest adversarial step of `STEPS` that changes the
    prediction, after a random step of that size, and which of them serve: the first has changed the
    prediction, the second has not."""
    plain, predicted = studied.pictures.images.float(), deletion.predictions(studied)
    attacked, stepped = plain.clone(), plain.clone()
    changed = torch.zeros(len(plain), dtype=torch.bool)
    sign = torch.randint(2, plain.shape, generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    for eps in STEPS:
        trial = _attacked(studied, eps)
        new = (deletion.predictions(studied.altered(images=trial)) != predicted) & ~changed
        attacked[new] = trial[new]
        stepped[new] = (plain + eps / 2 * 255 * sign).clamp(0, 255)[new]
        changed |= new
    kept = deletion.predictions(studied.altered(images=stepped)) == predicted
    return attacked, stepped, changed & kept


def _attacked(studied: Subject, eps: float) -> Tensor:
    """All pictures, in bytes, after an adversarial step of the size `eps`."""
    black, white = studied.model.black, studied.model.white
    size = (white - black) / 2
    images = studied.over_batches(
        lambda images: response.fgsm(studied.model, images, eps * size, black, white),
        batch_size(studied),
    )
    return (images - black) / (white - black) * 255


# part -> which of the study's subjects, function
PARTS: dict[str, tuple[str, Callable]] = {
    "curves": ("whole", curves),
    "variation": ("whole", _share("variation")),
    "patch": ("twin", _share("patch")),
    "outside": ("masked", _share("outside")),
    "responses": ("fewer", map_responses),
}


def _content(values: dict[str, Tensor]) -> dict:
    """What is kept of a part: means in "rows", and the number of every picture under its metric."""
    means = {metric: float(v.double().nanmean()) for metric, v in values.items()}
    return {"rows": [means], **values}


def _drawn(parameters: dict) -> bool:
    """Can this part be computed again in minutes and on some pictures? A control draws anew."""
    return parameters["name"] in NETWORK


@experiment("synthesis", tolerance=0.02, returns=whole_content, sample="pictures", drawn=_drawn)
def of_one_map(studied: Subject, part: str, name: str) -> dict:
    """A part of `OF_ONE_MAP` for one method or control: a number a picture and metric, [N]."""
    return _content(PARTS[part][1](studied, name))


def _cheap(parameters: dict) -> bool:
    """Six sets of maps in minutes?"""
    return parameters["name"] in ("saliency", "positive", "negative", "rectgrad")


@experiment("responses", tolerance=0.02, returns=whole_content, drawn=_cheap)
def responses(studied: Subject, name: str) -> dict:
    """The part "responses" for one method or control: a number a picture and metric."""
    return _content(PARTS["responses"][1](studied, name))


def measured(
    this: Study,
    names: Sequence[str],
    parts: Sequence[str] = tuple(PARTS),
    *,
    log: Callable = lambda line: None,
) -> dict[str, dict[str, Tensor]]:
    """Metric -> name -> a number for every picture, [S,N], S redraws of "sanity" and 1 else; parts
    that the study has no pictures for are left out."""
    by_metric: dict[str, dict[str, Tensor]] = {}
    for name in names:
        for part in parts:
            studied = getattr(this, PARTS[part][0])
            if studied is None or (name.startswith(SHUFFLED) and part not in OF_ONE_MAP):
                continue
            if part in OF_ONE_MAP:
                content = of_one_map(studied, part, name)
            else:
                content = responses(studied, name)
            for metric, values in _per_picture(content).items():
                by_metric.setdefault(metric, {})[name] = values
            log(f"{part}  {studied.title}  {name}")
    return by_metric


def _per_picture(content: dict) -> dict[str, Tensor]:
    """Metric -> a number for every picture, [S,N], from the content of a part."""
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)}
    return {metric: v.view(-1, v.shape[-1]) for metric, v in tensors.items()}


def read(
    dataset: str, model: str, protocol: Protocol = retraining.FULL
) -> dict[str, dict[str, Tensor]]:
    """What is stored of a published study and of ROAR and KAR at one protocol, as `measured` and
    `retrained` return it, without the pictures.

    Held-out pictures are those on which no control was measured; they are left out, as are parts
    that have no control.
    """
    numbers: dict[str, dict[str, Tensor]] = {}
    for cell in _cells_with_controls(dataset, model):
        for metric, values in _per_picture(unpacked(cell)).items():
            numbers.setdefault(metric, {})[cell["parameters"]["name"]] = values
    # a pretrained body is not retrained
    if numbers and not networks.card(model, dataset).get("body"):
        current = networks.fingerprint(networks.load(model, dataset))
        flags = _known_flags(dataset, model, dataset, current, protocol)
        numbers |= _areas(flags, retraining.FRACTIONS)
    return numbers


def _cells_with_controls(dataset: str, model: str) -> list[dict]:
    """The stored cells of a published study that are of its own pictures, not of held-out ones."""

    def plain(text):
        return text.removesuffix("+patch").removesuffix("_masks")

    def published(p):
        mine = plain(p["dataset"]), p["model"], plain(p["weights"])
        return mine == (dataset, model, dataset)

    def part_and_pictures(cell):
        return cell["parameters"].get("part", "responses"), cell["parameters"]["data"]

    every = cells.of("synthesis") + cells.of("responses")
    published_cells = [c for c in every if published(c["parameters"])]
    names_on = Counter(map(part_and_pictures, published_cells))
    with_controls: dict[str, set] = {}
    for cell in published_cells:
        if cell["parameters"]["name"] in crosses.CONTROLS:
            measured_on = part_and_pictures(cell)
            with_controls.setdefault(measured_on[0], set()).add(measured_on)

    def names_measured(measured_on):
        return names_on[measured_on], measured_on

    # of several sets of pictures, the one on which most names were measured
    chosen = {max(sets, key=names_measured) for sets in with_controls.values()}
    return [c for c in published_cells if part_and_pictures(c) in chosen]


def retrained(
    studied: Subject, flags: dict | None = None, fractions: Sequence[float] = retraining.FRACTIONS
) -> dict[str, dict[str, Tensor]]:
    """ROAR and KAR as `measured` returns metrics, [seeds,N]: each test picture's share of the area
    over the span (chapter 7).

    `flags`: which of the pictures of `studied` retrained networks get right, as of
    `study.experiments.retraining_tables.curves_of`; None takes the stored ones, of all test
    pictures, and nothing comes back where no network like this one was retrained.
    """
    return _areas(_retrained_flags(studied) if flags is None else flags, fractions)


def _areas(flags: dict, fractions: Sequence[float]) -> dict[str, dict[str, Tensor]]:
    weights = retraining_tables.weights_of_span(fractions)
    areas: dict[str, dict[str, Tensor]] = {}
    for (method, mode), curves in _by_method(flags).items():
        under = curves.transpose(0, 2, 1) @ weights
        area = under if mode == "roar" else 1 - under
        areas.setdefault(mode, {})[method] = torch.from_numpy(area)
    return areas


def where_wrong(studied: Subject, flags: dict | None = None) -> dict[str, dict[str, Tensor]]:
    """How often are retrained networks right where the explained one is wrong? Mode -> method ->
    [seeds,N], whose mean over pictures is that share, mean over fractions, 0 if they repeat it;
    nothing where it is always right. `flags` as in `retrained`."""
    wrong = ~deletion.correct(studied).numpy()
    if not wrong.any():
        return {}
    flags = _retrained_flags(studied) if flags is None else flags
    shares: dict[str, dict[str, Tensor]] = {}
    for (method, mode), curves in _by_method(flags).items():
        share = curves.mean(1) * (wrong / wrong.mean())
        shares.setdefault(mode, {})[method] = torch.from_numpy(share)
    return shares


def after_retraining(
    this: Study, flags: dict | None = None, tested: Tensor | None = None
) -> dict[str, Tensor]:
    """Which of the study's pictures networks retrained under ROAR get right, method -> bool
    [seeds,fractions,N].

    `flags` as in `retrained`, of the pictures `tested` of the test split in ascending order (None:
    of all of it), the study's among them.
    """
    at = this.index if tested is None else torch.searchsorted(tested, this.index)
    if tested is not None and not torch.equal(tested[at.clamp(max=len(tested) - 1)], this.index):
        raise ValueError(
            "the study has pictures on which no network was tested; it may have some of those "
            f"{len(tested)} alone."
        )
    flags = _retrained_flags(this.whole) if flags is None else flags
    return {
        method: torch.from_numpy(right[..., at])
        for (method, mode), right in _by_method(flags).items()
        if mode == "roar"
    }


def _by_method(flags: dict) -> dict[tuple[str, str], np.ndarray]:
    """(method, mode) -> bool [seeds,fractions,N], without networks that saw whole pictures."""
    kinds = dict.fromkeys((method, mode) for method, mode, _ in flags if mode in retraining.MODES)
    return {
        kind: np.stack([right for key, right in sorted(flags.items()) if key[:2] == kind])
        for kind in kinds
    }


def _retrained_flags(studied: Subject) -> dict:
    return _known_flags(
        studied.pictures.name,
        studied.model_name,
        studied.weights,
        networks.fingerprint(studied.model),
    )


def _known_flags(
    dataset: str, model: str, weights: str, current: str, protocol: Protocol = retraining.SHORT
) -> dict:
    """The stored flags of methods and controls, without thresholded baselines."""
    flags = retraining_tables.flags(
        protocol=protocol, dataset=dataset, model=model, weights=weights, current=current
    )
    return {
        key: right
        for key, right in flags.items()
        if key[0] in NETWORK or key[0] in crosses.CONTROLS
    }


# ---- networks that were retrained, as chapters 8 and 9 take them


class Retrained(NamedTuple):
    """What networks retrained by one protocol get right."""

    whole: Subject  # the explained network and all pictures that the others were tested on
    tested: Tensor | None  # which of the test split these are; None: all
    flags: dict  # (method, mode, seed) -> bool [F,N], of whole curves alone
    fractions: tuple[float, ...]
    protocol: str


def retrained_networks(
    dataset: str,
    model: str,
    weights: str | None = "auto",
    *,
    retrain: Sequence[str],
    fractions: Sequence[float],
    protocol: str,
    count: int | None = None,
    size: int | None = None,
    stored: bool = False,
) -> Retrained:
    """Networks retrained on the spot on maps of these methods, one seed; without any, the stored
    ones of this protocol and no other.

    `count`: how many training pictures, and at most as many test pictures.
    """
    if not retrain:
        whole = subject(dataset, model, weights, size=size, stored=stored)
        flags = retraining_tables.flags(
            retraining.PROTOCOLS[protocol],
            whole.pictures.name,
            model,
            whole.weights,
            networks.fingerprint(whole.model),
        )
        known = {
            key: right
            for key, right in flags.items()
            if key[0] in ("none", *NETWORK, *crosses.CONTROLS)
        }
        return Retrained(whole, None, known, retraining.FRACTIONS, protocol)
    planned = retraining.plan(
        dataset,
        model,
        weights,
        methods=retrain,
        fractions=fractions,
        protocol=retraining.PROTOCOLS[protocol],
        count=count,
        size=size,
    )
    whole = subject(dataset, model, weights, count=count, size=size)
    total = len(subject(dataset, model, weights, size=size).pictures)
    tested = sources.drawn(total, len(whole.pictures))
    flags = retraining_tables.curves_of(retraining.contents(planned), fractions)
    return Retrained(whole, tested, flags, tuple(fractions), protocol)


def areas_after_retraining(
    retrainings: Retrained, names: Sequence[str]
) -> dict[str, dict[str, Tensor]]:
    """ROAR and KAR of these methods and controls as `measured` returns metrics; nothing of none."""
    flags = {key: right for key, right in retrainings.flags.items() if key[0] in names}
    return retrained(retrainings.whole, flags, retrainings.fractions)


def share_kept(numbers: dict[str, dict[str, dict[str, Tensor]]], name: str) -> dict[str, float]:
    """Network -> the mean share of pixels at which the map of a method is not zero; `numbers`:
    network -> as `measured`."""
    return {
        network: float(of["kept"][name].nanmean())
        for network, of in numbers.items()
        if name in of.get("kept", {})
    }


def costs(
    subjects: Sequence[Subject], labels: Sequence[str], names: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Label -> `seconds` of these methods, of subjects whose results are kept: a time differs from
    run to run, so that others would not repeat."""
    kept = zip(subjects, labels, strict=True)
    return {label: seconds(studied, names) for studied, label in kept if studied.stored}


# ---- why metrics disagree: how far the altered pictures are from what the network knows


def features(studied: Subject, images: Tensor) -> Tensor:
    """What enters the output layer, [n,D]."""
    seen = []

    def contiguous(images):
        return studied.model(images.contiguous())  # as stored results were computed

    layer = response.weighted_layers(studied.model)[0][1]
    hook = layer.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].flatten(1))
    )
    try:
        attribution.logits(contiguous, images)
    finally:
        hook.remove()
    return seen[-1].cpu()  # of the last run: one in another layout may have failed


def neighbour_distances(vectors: Tensor, known: Tensor, neighbours: int = 5) -> Tensor:
    """Mean distance of each row of `vectors` [n,D] to its nearest rows of `known`, [n]."""
    return torch.cat(
        [
            torch.cdist(part, known).topk(neighbours, largest=False).values.mean(1)
            for part in vectors.split(500)
        ]
    )


def _without_rows(content: dict) -> dict[str, Tensor]:
    return {name: content[name] for name in ("same", "right", "mean", "moved")}


def shift(
    this: Study,
    training: Subject,
    witness: Subject,
    name: str,
    fractions: Sequence[float] = retraining.FRACTIONS,
) -> dict[str, Tensor]:
    """The study's pictures as ROAR occludes them, shown to the network as it is: `shifted`."""
    return shifted(
        this.whole, name, training=training, witness=witness, fractions=fractions, index=this.index
    )


def _needs_no_index(parameters: dict) -> bool:
    return parameters["name"] != "random"


@experiment("shift", tolerance=0.02, returns=_without_rows, free=("index",), drawn=_needs_no_index)
def shifted(
    studied: Subject,
    name: str,
    *,
    training: Subject,
    witness: Subject,
    fractions: Sequence[float] = retraining.FRACTIONS,
    index: Tensor | None = None,
) -> dict[str, Tensor]:
    """Pictures as ROAR occludes them, shown to the network as it is: what stands between allegiance
    and ROAR.

    "mean": areas of allegiance as paper Sign deletes, but to the training pictures' mean colour,
    [N]. Then the `fraction` most important pixels take that colour, in paper Noise's order: "same",
    "right" (bool [F,N]: is the prediction the old one, the label?) and "moved" ([F,N]): how much
    farther the picture lies from the training pictures than before, in the features of another
    network, `witness`, scaled to length 1: mean distance to the five nearest, over the median of
    untouched pictures. `name`: a method, whose equal values fall in another random order than
    ROAR's, or "random", which drops the very pixels of ROAR's first seed and needs `index`, the
    pictures' places in the test split.
    """
    plain = studied.pictures.images.float()
    fill = retraining.channel_mean(training.pictures.images).float()
    both, before = maps_both_ways(studied, name), deletion.predictions(studied)
    places = metrics.pixel_order(
        both[1], noise=retraining.NOISE, generator=torch.Generator().manual_seed(0)
    )
    distance = distance_from(witness, training.pictures.images)
    untouched = distance(plain)
    rows, same, right, moved = [], [], [], []
    for fraction in fractions:
        if name == "random":
            gone = random_pixels(index, plain, fraction)
        else:
            gone = retraining.occluded(places, fraction, "roar")
        shown = torch.where(gone[:, None], fill, plain)
        now = deletion.predictions(studied.altered(images=shown))
        same.append(now == before)
        right.append(now == studied.pictures.labels)
        moved.append(distance(shown) - untouched)
        rows.append(
            {
                "fraction": fraction,
                "same": same[-1].double().mean().item(),
                "right": right[-1].double().mean().item(),
                "moved": moved[-1].mean().item(),
            }
        )
    return {
        "rows": rows,
        "same": torch.stack(same),
        "right": torch.stack(right),
        "mean": _mean_colour_areas(studied, both[0], fill),
        "moved": torch.stack(moved),
    }


def _mean_colour_areas(studied: Subject, sign_maps: Tensor, fill: Tensor) -> Tensor:
    """Areas under allegiance, [N], when the pixels that the maps rank highest take the colour
    `fill` [C,1,1], in bytes."""
    to_fill = to_range(fill[None], studied.model)[0, :, 0, 0]
    kept = [
        metrics.allegiance(studied.model, images, sign_maps[place], fill=to_fill)
        for place, images in studied.batches(500)
    ]
    return metrics.auc(PAPER_FRACTIONS, torch.cat(kept, 1).double())


def witness(this: Study, model: str) -> Subject:
    """Another network, trained on the same data, with the study's pictures."""
    pictures = this.whole.pictures
    other = subject(pictures.name, model, size=pictures.size)
    return other.take(this.index)


def random_pixels(index: Tensor, like: Tensor, fraction: float) -> Tensor:
    """Which pixels of the pictures `like` [N,C,H,W], at `index` of the test split, the random
    baseline removes in the first seed of ROAR, bool [N,H,W]."""
    # as many pictures of the split as reach to the last of these: more would not change these
    shape = int(index.max()) + 1, *like.shape[2:]
    gone = retraining.occluded(shape, fraction, "roar", retraining.drop_seed(1, "test"))
    return gone[index]


def distance_from(witness: Subject, known: Tensor) -> Callable[[Tensor], Tensor]:
    """A function from pictures in bytes to their distance from the `known` ones, over the median
    distance of the witness's own.

    Features are scaled to length 1: holes make all of them smaller, so that as they are they come
    nearer to one another.
    """

    def seen(images):
        parts = [features(witness, to_range(part, witness.model)) for part in images.split(500)]
        return normalize(torch.cat(parts), dim=1)

    known = seen(known)
    plain = neighbour_distances(seen(witness.pictures.images), known).median()
    return lambda images: neighbour_distances(seen(images), known) / plain


@experiment("seconds", tolerance=1, sample=("names", ("name",)))
def seconds(
    studied: Subject,
    names: Sequence[str] = tuple(NETWORK),
    *,
    pictures: int = 8,
    repeats: int = 3,
) -> pd.DataFrame:
    """What a map costs: columns name, seconds (a picture; median over `repeats`), low, high
    (quartiles), gradients (ratio of medians to "saliency"'s).

    Methods take turns, so that what slows the machine for a while slows all of them.
    """
    part = studied.take(slice(0, pictures))._replace(stored=False)
    taken: dict[str, list[float]] = {name: [] for name in ("saliency", *names)}
    for turn in range(repeats + 1):
        for name, times in taken.items():
            start = time.perf_counter()
            maps_both_ways(part, name)
            elapsed = time.perf_counter() - start
            if turn:  # the first turn warms up
                times.append(elapsed / len(part.pictures))
    plain = np.median(taken["saliency"])
    return [
        {
            "name": name,
            "seconds": float(np.median(times)),
            "low": float(np.quantile(times, 0.25)),
            "high": float(np.quantile(times, 0.75)),
            "gradients": float(np.median(times) / plain),
        }
        for name, times in taken.items()
        if name in names
    ]
