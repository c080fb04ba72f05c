"""What deletion shows (paper Sign), with the accuracy of what is studied.

A subject (a network and its pictures) goes in, a table or a tensor comes out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter

import pandas as pd
import torch
from torch import Tensor

from lib import attribution, metrics
from lib.attribution import crosses
from lib.metrics import PAPER_FRACTIONS
from study.store.experiment import experiment, first_row, whole
from study.subjects import networks, sources
from study.subjects.pictures import drawn
from study.subjects.subject import Subject, batch, fill_value, object_masks
from study.subjects.subject import batch_size as affordable

MAPS = attribution.SignedMaps._fields
FILLS = ("black", "white")
# paper Sign's own pairs; the other four cells of the 5 x 2 table are the crossed ones
MATCHED = {
    "black": ("original", "positive", "active"),
    "white": ("original", "negative", "inactive"),
}
PAIRS = [(name, fill) for name in MAPS for fill in FILLS]
BY_FILL = [(name, fill) for fill in FILLS for name in MAPS]
PRINTED_PAIRS = [(name, fill) for fill, names in MATCHED.items() for name in names]
STRENGTHS = (0.05, 0.1, 0.25, 0.5, 1.0)
# test pictures for score curves and the soft sweep, fifteen times the work of a curve
SCORED = {"cifar10": 2_000, "imagenette": 300}
# networks whose deletion runs forward in bfloat16, half the time; `precision` shows that it does
# not change the areas
BFLOAT16 = {("imagenette", "resnet18"), ("imagenette", "efficientnet_lite0")}


def predictions(studied: Subject, batch_size: int = 256) -> Tensor:
    """Predicted class of every picture, int64 [N]."""
    return studied.over_batches(
        lambda images: attribution.logits(studied.model, images).argmax(1), batch_size
    )


@experiment("correct", tolerance=0.01, sample="pictures", returns=itemgetter("correct"))
def correct(studied: Subject) -> Tensor:
    """Which pictures the network gets right, bool [N]."""
    right = predictions(studied) == studied.pictures.labels
    row = {"accuracy": right.double().mean().item(), "n": len(right)}
    return {"rows": [row], "correct": right}


def signed_maps(studied: Subject, batch_size: int = 256) -> dict[str, Tensor]:
    """The five maps of every picture for its predicted class, each [N,H,W], on the CPU."""
    # gigabytes at 224 pixels: held once
    maps = torch.empty(len(MAPS), len(studied.pictures), *studied.pictures.images.shape[2:])
    for place, images in studied.batches(batch_size):
        maps[:, place] = torch.stack(attribution.signed_maps(studied.model, images)).cpu()
    return dict(zip(MAPS, maps, strict=True))


@experiment("accuracy", tolerance=0.001, returns=first_row)
def accuracy(studied: Subject, *, batch_size: int = 256) -> dict:
    """Share of pictures whose predicted class is their label (paper Sign, Table 1).

    With Wilson's interval.
    """
    return [_accuracy_row(studied, batch_size)]


def _accuracy_row(studied: Subject, batch_size: int) -> dict:
    right = int((predictions(studied, batch_size) == studied.pictures.labels).sum())
    low, high = metrics.wilson(right, len(studied.pictures))
    return {"right": right, "accuracy": right / len(studied.pictures), "low": low, "high": high}


@experiment("fresh_statistics", tolerance=0.005, returns=first_row)
def fresh_statistics(studied: Subject, *, batch_size: int = 128) -> dict | None:
    """`accuracy` with batch-norm statistics averaged anew over the training split.

    None for a network without batch norm, or trained elsewhere but for its last layer. The
    statistics that training leaves behind follow its last batches, while the weights still move. A
    copy is measured.
    """
    if not any(isinstance(m, torch.nn.BatchNorm2d) for m in studied.model.modules()):
        return None
    # "body": where a network trained elsewhere but for its last layer comes from
    if "body" in networks.card(studied.model_name, studied.weights):
        return None
    return [_accuracy_row(refreshed(studied, batch_size), batch_size)]


def refreshed(studied: Subject, batch_size: int = 128) -> Subject:
    """The subject with a copy of its network, batch-norm statistics averaged anew.

    They are averaged over the training split.
    """
    training = studied._replace(
        model=copy.deepcopy(studied.model),
        pictures=sources.load(studied.pictures.name, "train", size=studied.pictures.size),
    )
    order = torch.randperm(len(training.pictures), generator=torch.Generator().manual_seed(0))
    batches = (batch(training, index) for index in order.split(batch_size))
    torch.optim.swa_utils.update_bn(batches, training.model)
    return training._replace(pictures=studied.pictures)


def _as_tensors(content: dict) -> dict[str, Tensor]:
    """The lists over pictures of a content's only row."""
    return {name: torch.tensor(values) for name, values in first_row(content).items()}


@experiment("signs", tolerance=0.01, returns=_as_tensors)
def signs(studied: Subject, *, batch_size: int = 256) -> dict[str, Tensor]:
    """How a gradient's two signs share the picture (paper Sign, section 3).

    Each is a list over pictures.

    zero_at: grey level of a zero in the gradient stretched to [0,1] (0 where all of it is zero);
    small: share of pixels whose gradient is under a tenth of the largest; positive, negative, both:
    share of pixels in the positive map, the negative map, both (their channels disagree); carried:
    share of the original map's total where the positive map is the larger.
    """

    def measured(images):
        gradient = attribution.saliency(studied.model, images)
        return torch.stack(list(_signs_of(gradient).values()), 1)

    names = _signs_of(torch.zeros(1, 1, 1, 1))
    columns = studied.over_batches(measured, batch_size).double().T.tolist()
    return [
        {
            name: [round(value, 6) for value in values]
            for name, values in zip(names, columns, strict=True)
        }
    ]


def _signs_of(gradient: Tensor) -> dict[str, Tensor]:
    """The quantities of `signs`, each [n], of gradients [n,C,H,W]."""
    place = gradient.abs().argmax(1, keepdim=True)
    strongest = gradient.gather(1, place)[:, 0].flatten(1)
    low, high, size = strongest.amin(1), strongest.amax(1), strongest.abs()
    plus = gradient.clamp(min=0).amax(1).flatten(1)
    minus = (-gradient).clamp(min=0).amax(1).flatten(1)

    def share(flags):
        return flags.double().mean(1)

    return {
        "zero_at": -low / (high - low).clamp(min=torch.finfo(gradient.dtype).tiny),
        "small": share(size < 0.1 * size.amax(1, keepdim=True)),
        "positive": share(plus > 0),
        "negative": share(minus > 0),
        "both": share((plus > 0) & (minus > 0)),
        "carried": (size * (plus > minus)).sum(1) / size.sum(1).clamp(min=1e-30),
    }


def gallery(studied: Subject, seed: int = 0, batch_size: int = 256) -> Tensor:
    """Places, int64, of one correctly classified picture of every class that has one (Sign, 4.1).

    They are drawn by `seed`. Raises ValueError where the network classifies none correctly.
    """
    right = predictions(studied, batch_size) == studied.pictures.labels
    if not right.any():
        raise ValueError(
            f"{studied.title}: no picture is classified correctly, and a gallery shows correct "
            "ones alone; give more images or trained weights."
        )
    order = torch.randperm(len(right), generator=torch.Generator().manual_seed(seed))
    order = order[right[order]]
    first = [
        order[studied.pictures.labels[order] == k][:1] for k in range(len(studied.pictures.classes))
    ]
    return torch.cat(first)


def allegiance(
    studied: Subject,
    maps: Tensor,
    fill: str,
    batch_size: int,
    insert: bool = False,
    bfloat16: bool = False,
) -> Tensor:
    """Bool [F,N] over all pictures of the subject, deleted by `maps` [N,H,W].

    `bfloat16` runs the forward passes so, the order of the pixels stays.
    """
    pieces = []
    for place, images in studied.batches(batch_size):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            pieces.append(
                metrics.allegiance(
                    studied.model,
                    images,
                    maps[place].to(images.device),
                    fill=fill_value(studied, fill),
                    insert=insert,
                    batch_size=batch_size,
                ).cpu()
            )
    return torch.cat(pieces, 1)


def _low(studied: Subject) -> bool:
    return (studied.pictures.name, studied.model_name) in BFLOAT16


def precision(
    studied: Subject, pictures: int = 500, *, batch_size: int = 256
) -> pd.DataFrame | None:
    """`in_both_precisions` for a network of `BFLOAT16`; None for others.

    ValueError where an area differs by more than 0.005.
    """
    if not _low(studied):
        return None
    areas = in_both_precisions(studied, pictures=pictures, batch_size=batch_size)
    apart = (areas["float32"] - areas["bfloat16"]).abs().max()
    if apart > 0.005:
        raise ValueError(
            f"{studied.title}: areas in bfloat16 and float32 differ by {apart:.4f}, more than "
            "0.005; take the network out of study.experiments.deletion.BFLOAT16."
        )
    return areas


@experiment("precision", tolerance=0.01, sample=("pairs", ("map", "fill")))
def in_both_precisions(
    studied: Subject,
    *,
    pictures: int = 500,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    batch_size: int = 256,
) -> pd.DataFrame:
    """Areas with forward passes in float32 and in bfloat16, of a fixed random 500 `pictures`.

    Columns map, fill, float32, bfloat16.
    """
    part = studied.sample(pictures)
    maps = signed_maps(part, batch_size)

    def area(name, fill, low):
        kept = allegiance(part, maps[name], fill, batch_size, bfloat16=low)
        return auc_rows({(name, fill): kept})[0]["auc"]

    return [
        {
            "map": name,
            "fill": fill,
            "float32": area(name, fill, False),
            "bfloat16": area(name, fill, True),
        }
        for name, fill in pairs
    ]


@experiment(
    "deletion",
    tolerance=0.01,
    sample="pictures",
    returns=whole,
    free=("maps", "batch_size"),
)
def deleted(
    studied: Subject,
    map: str,
    fill: str,
    *,
    forwards: str = "float32",
    maps: Callable[[], dict[str, Tensor]] | None = None,
    batch_size: int = 256,
) -> dict:
    """Deletion by one signed map: "kept", bool [F,N], and a row with the area.

    `forwards`: the precision of the forward passes. `maps` returns what `signed_maps` does, where
    a caller has it for several pairs.
    """
    signed = maps() if maps else signed_maps(studied, batch_size)
    kept = allegiance(studied, signed[map], fill, batch_size, bfloat16=forwards == "bfloat16")
    return {"rows": auc_rows({(map, fill): kept}), "kept": kept}


def allegiances(
    studied: Subject,
    *,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    batch_size: int = 256,
    log: Callable = lambda line: None,
) -> dict[tuple[str, str], Tensor]:
    """For every pair of map and fill, bool [F,N]: is the prediction what it was?

    Paper Sign, Figs. 3, 4, B.7, B.8, and also the pairs that the paper does not show (positive
    under white, ...). Maps are float32 always; what is stored for a network of `BFLOAT16` has its
    forward passes in bfloat16.
    """
    maps = cache(lambda: signed_maps(studied, batch_size))
    forwards = "bfloat16" if studied.stored and _low(studied) else "float32"
    flags = {}
    for name, fill in pairs:
        content = deleted(studied, name, fill, forwards=forwards, maps=maps, batch_size=batch_size)
        flags[name, fill] = content["kept"]
        log(f"deletion  {studied.title}  {name} {fill}  AUC {content['rows'][0]['auc']:.3f}")
    return flags


def curve_table(flags_by_pair: dict[tuple[str, str], Tensor]) -> pd.DataFrame:
    """Allegiance at every fraction, with Wilson's interval.

    Columns map, fill, fraction, allegiance, low, high, n.
    """
    rows = []
    for (name, fill), kept in flags_by_pair.items():
        for fraction, flags in zip(PAPER_FRACTIONS, kept, strict=True):
            low, high = metrics.wilson(int(flags.sum()), len(flags))
            rows.append(
                {
                    "map": name,
                    "fill": fill,
                    "fraction": fraction,
                    "allegiance": flags.double().mean().item(),
                    "low": low,
                    "high": high,
                    "n": len(flags),
                }
            )
    return pd.DataFrame(rows)


def auc_rows(flags_by_pair: dict[tuple[str, str], Tensor]) -> list[dict]:
    """Area under each allegiance curve, with a bootstrap interval over images.

    Each row has map, fill, auc, low, high.
    """
    rows = []
    for (name, fill), kept in flags_by_pair.items():
        areas = metrics.auc(PAPER_FRACTIONS, kept)
        low, high = metrics.bootstrap(areas)
        rows.append(
            {"map": name, "fill": fill, "auc": areas.mean().item(), "low": low, "high": high}
        )
    return rows


def auc_differences(
    flags_by_pair: dict[tuple[str, str], Tensor],
    pairs: list[tuple[tuple[str, str], tuple[str, str]]],
    until: float = 0.9,
) -> pd.DataFrame:
    """AUC of the first minus that of the second of each pair of (map, fill).

    Paired over images, with a bootstrap interval. Columns first, second, difference, low, high, n;
    the area ends at the fraction `until`, one of the paper's.
    """
    if until not in PAPER_FRACTIONS[1:]:
        accepted = ", ".join(f"{fraction:g}" for fraction in PAPER_FRACTIONS[1:])
        raise ValueError(f"until is {until}; it must be one of the fractions {accepted}.")
    last = PAPER_FRACTIONS.index(until) + 1

    def area(flags):
        return metrics.auc(PAPER_FRACTIONS[:last], flags[:last])

    rows = []
    for first, second in pairs:
        change = area(flags_by_pair[first]) - area(flags_by_pair[second])
        low, high = metrics.bootstrap(change)
        rows.append(
            {
                "first": " ".join(first),
                "second": " ".join(second),
                "difference": change.mean().item(),
                "low": low,
                "high": high,
                "n": len(change),
            }
        )
    return pd.DataFrame(rows)


def class_scores(
    studied: Subject,
    maps: Tensor,
    fill: str,
    batch_size: int,
    *,
    strength: float = 1.0,
    fractions: Sequence[float] = PAPER_FRACTIONS,
) -> tuple[Tensor, Tensor]:
    """Probability and logit of the originally predicted class, each [F,N], over all pictures.

    `maps` [N,H,W]; a deleted pixel moves by `strength` of the way to the fill.
    """
    pieces = [
        metrics.class_scores(
            studied.model,
            images,
            maps[place].to(images.device),
            fill=fill_value(studied, fill),
            fractions=fractions,
            strength=strength,
            batch_size=batch_size,
        )
        for place, images in studied.batches(batch_size)
    ]
    probability, logit = (torch.cat(part, 1).cpu() for part in zip(*pieces, strict=True))
    return probability, logit


@experiment("scores", tolerance=0.02, sample=("pairs", ("map", "fill")))
def score_curves(
    studied: Subject, *, pairs: Sequence[tuple[str, str]] = PAIRS, batch_size: int = 256
) -> pd.DataFrame:
    """How probability and logit of the original class change along the deletion curve.

    That is what allegiance cannot show. Columns map, fill, fraction; probability, logit (mean
    change since fraction 0) with *_low, *_high; rose (share of images whose logit is above its
    start).
    """
    rows = []
    maps = signed_maps(studied, batch_size)
    for name, fill in pairs:
        probability, logit = class_scores(studied, maps[name], fill, batch_size)
        for k, fraction in enumerate(PAPER_FRACTIONS):
            rows.append(
                {
                    "map": name,
                    "fill": fill,
                    "fraction": fraction,
                    "rose": (logit[k] > logit[0]).double().mean().item(),
                    **with_interval("probability", probability[k] - probability[0]),
                    **with_interval("logit", logit[k] - logit[0]),
                }
            )
    return rows


def soft_replacement(
    studied: Subject, strengths: tuple[float, ...] = STRENGTHS, *, batch_size: int = 256
) -> pd.DataFrame:
    """`moved_by` at every strength: the open question of paper Sign's section 4.2."""
    return pd.concat(
        [moved_by(studied, strength, batch_size=batch_size) for strength in strengths],
        ignore_index=True,
    )


@experiment("soft", tolerance=0.02, sample=("pairs", ("map", "fill")))
def moved_by(
    studied: Subject,
    strength: float,
    *,
    pairs: Sequence[tuple[str, str]] = BY_FILL,
    batch_size: int = 256,
) -> pd.DataFrame:
    """Replace by a slightly darker or brighter pixel, not the extreme.

    A pixel x moves to x + strength * (fill - x). Columns strength, map, fill; logit (mean change
    when 10 % of the pixels have moved) and, for the paper's own pairs, area (under the probability
    curve), each with *_low and *_high; rose (share of images whose logit has risen).
    """
    maps = signed_maps(studied, batch_size)
    return [
        _soft_row(studied, maps[name], name, fill, strength, batch_size) for name, fill in pairs
    ]


def _soft_row(
    studied: Subject, maps: Tensor, name: str, fill: str, strength: float, batch_size: int
) -> dict:
    """The row of `soft_replacement`; only the paper's own pairs need the whole curve."""
    matched = name in MATCHED[fill]
    fractions = PAPER_FRACTIONS if matched else (0, 0.1)
    probability, logit = class_scores(
        studied, maps, fill, batch_size, strength=strength, fractions=fractions
    )
    change = (logit[fractions.index(0.1)] - logit[0]).double()
    row = {
        "strength": strength,
        "map": name,
        "fill": fill,
        "rose": (change > 0).double().mean().item(),
        **with_interval("logit", change),
    }
    if matched:
        row |= with_interval("area", metrics.auc(fractions, probability))
    return row


def with_interval(label: str, values: Tensor) -> dict:
    """The mean of numbers [N] and its 95 % bootstrap interval.

    They are named `label`, `label`_low and `label`_high.
    """
    low, high = metrics.bootstrap(values)
    return {label: values.double().mean().item(), f"{label}_low": low, f"{label}_high": high}


@experiment("insertion", tolerance=0.01, sample=("pairs", ("map", "fill")))
def insertion_areas(
    studied: Subject, *, pairs: Sequence[tuple[str, str]] = BY_FILL, batch_size: int = 256
) -> pd.DataFrame:
    """Deletion in reverse: from a canvas of the fill, reveal the most important pixels first.

    Higher is better. Columns map, fill, auc, low, high, for every map and fill.
    """
    maps = signed_maps(studied, batch_size)
    return auc_rows(
        {
            (name, fill): allegiance(studied, maps[name], fill, batch_size, insert=True)
            for name, fill in pairs
        }
    )


@experiment("kept_pixels", tolerance=0.01)
def kept_pixels(studied: Subject, *, batch_size: int = 256) -> pd.DataFrame:
    """Share of pixels that are not zero in each map: where its deletion curve must end.

    Columns map, mean, p5, p95, n, and for half and 80 % of the pixels the share of images with
    nothing left to delete.
    """
    rows = []
    for name, maps in signed_maps(studied, batch_size).items():
        share = (maps != 0).flatten(1).double().mean(1)
        low, high = share.quantile(torch.tensor([0.05, 0.95], dtype=share.dtype)).tolist()
        rows.append(
            {
                "map": name,
                "mean": share.mean().item(),
                "p5": low,
                "p95": high,
                "n": len(share),
                "done_50": (share <= 0.5).double().mean().item(),
                "done_80": (share <= 0.8).double().mean().item(),
            }
        )
    return rows


@experiment("printed", tolerance=0.02, sample=("pairs", ("map", "fill")))
def printed_and_released(
    studied: Subject,
    *,
    pairs: Sequence[tuple[str, str]] = (("active", "black"), ("inactive", "white")),
    batch_size: int = 256,
) -> pd.DataFrame:
    """Eqs. 5 and 6 as printed beside the released code.

    Printed is the channel maximum of the signed values, with ties kept; the released code takes
    absolute values. Columns map, rule, fill, auc, low, high; wrong_sign: share of kept entries
    whose sign is not the one the name promises; ranks: mean Spearman correlation of the printed map
    with the released one.
    """
    rows = []
    for name, fill in pairs:
        rows += _rows_of_both_rules(studied, name, fill, batch_size)
    return rows


def _rows_of_both_rules(studied: Subject, name: str, fill: str, batch_size: int) -> list[dict]:
    """Two rows of `printed_and_released`: one map under the printed and under the released rule."""
    kernel = getattr(attribution, name)

    def both_maps(images):
        printed = attribution.to_map(kernel(studied.model, images, ties=True), "max")
        released = attribution.to_map(kernel(studied.model, images), "absmax")
        return torch.stack([printed, released], 1)

    def wrong_sign(images):
        return _wrong_sign(kernel(studied.model, images), name)

    both = studied.over_batches(both_maps, batch_size)
    wrong = studied.over_batches(wrong_sign, batch_size)
    ranks = metrics.rank_correlation(both[:, 0], both[:, 1])
    rows = []
    for rule, maps in zip(("printed", "released"), both.unbind(1), strict=True):
        kept = allegiance(studied, maps, fill, batch_size)
        rows.append(
            {
                **auc_rows({(name, fill): kept})[0],
                "rule": rule,
                "wrong_sign": wrong.mean().item(),
                "ranks": ranks.mean().item(),
                "n": len(maps),
            }
        )
    return rows


def _wrong_sign(kept: Tensor, name: str) -> Tensor:
    """Per image, the share of nonzero entries whose sign is not the one the name promises.

    Those are negative in an active, or positive in an inactive attribution.
    """
    wrong = (kept < 0) if name == "active" else (kept > 0)
    return wrong.flatten(1).sum(1) / (kept != 0).flatten(1).sum(1).clamp(min=1)


# ---- controls: what looks at no network


@experiment("controls", tolerance=0.02, returns=whole)
def controls(
    studied: Subject, name: str, *, forwards: str = "float32", batch_size: int = 256
) -> dict:
    """Deletion by a control, "random" pixels or "edges" of the picture, under both fills.

    "black" and "white", each bool [F,N], and a row with the area of each. The maps are those of the
    same name in the synthesis; `forwards` as in `deleted`.
    """
    control, generator = crosses.CONTROLS[name][0], torch.Generator().manual_seed(0)
    # in the batches of the synthesis, or the random numbers would be others
    maps = studied.over_batches(lambda images: control(images, generator), affordable(studied))
    low = forwards == "bfloat16"
    kept = {fill: allegiance(studied, maps, fill, batch_size, bfloat16=low) for fill in FILLS}
    return {"rows": auc_rows({(name, fill): kept[fill] for fill in FILLS}), **kept}


def beside_controls(
    studied: Subject, flags_by_pair: dict[tuple[str, str], Tensor], *, batch_size: int = 256
) -> dict[tuple[str, str], Tensor]:
    """`flags_by_pair`, as of `allegiances`, and the controls' flags, all on the same pictures.

    Of a dataset in `SCORED` those are its fixed test pictures, of others all. Bool [F,n] each.
    """
    total = len(studied.pictures)
    count = SCORED.get(studied.pictures.name, total)
    places = drawn(total, count) if count < total else torch.arange(total)
    flags = {pair: kept[:, places] for pair, kept in flags_by_pair.items()}
    part = studied.sample(count)
    forwards = "bfloat16" if studied.stored and _low(studied) else "float32"
    for name in crosses.CONTROLS:
        content = controls(part, name, forwards=forwards, batch_size=batch_size)
        flags |= {(name, fill): content[fill] for fill in FILLS}
    return flags


def one_by_one(studied: Subject, place: int, fractions: Sequence[float]) -> pd.DataFrame:
    """One picture as its pixels go: a row for each of the paper's pairs and each fraction.

    Columns map, fill, fraction, picture ([3,H,W] in [0,1]), same (is the prediction what it was?).
    """
    image = batch(studied, slice(place, place + 1))
    maps = attribution.signed_maps(studied.model, image)
    black, white = studied.model.black, studied.model.white
    rows = []
    for name, fill in PRINTED_PAIRS:
        chosen, value = getattr(maps, name), fill_value(studied, fill)
        same = metrics.allegiance(studied.model, image, chosen, fill=value, fractions=fractions)
        for fraction, stays in zip(fractions, same[:, 0].tolist(), strict=True):
            altered = metrics.delete(image, chosen, fraction, value)[0].cpu()
            shown = (altered - black) / (white - black)
            rows.append(
                {"map": name, "fill": fill, "fraction": fraction, "picture": shown, "same": stays}
            )
    return pd.DataFrame(rows)


# ---- gradients on pictures whose object is known, of all classes, and without ReLU


def positive_on_object(studied: Subject, *, batch_size: int = 256) -> pd.DataFrame:
    """Is the gradient positive on the object? Apart for objects lighter and darker than the rest.

    For pictures with masks. Columns object, place, n, share (mean over pictures of the positive
    part of the gradient's absolute sum there), low, high; ValueError where there is no mask.
    """
    masks = object_masks(studied)
    gradients = studied.over_batches(
        lambda images: attribution.saliency(studied.model, images), batch_size
    )
    brightness = studied.pictures.images.double().mean(1)
    lighter = _mean_within(brightness, masks) > _mean_within(brightness, ~masks)
    rows = []
    for kind, half in (("lighter", lighter), ("darker", ~lighter)):
        for place, where in (("object", masks), ("background", ~masks)):
            positive = (gradients.clamp(min=0) * where[:, None]).flatten(1).sum(1)
            size = (gradients.abs() * where[:, None]).flatten(1).sum(1).clamp(min=1e-30)
            measured = {"object": kind, "place": place, "n": int(half.sum())}
            rows.append(measured | _mean_and_interval((positive / size)[half]))
    return pd.DataFrame(rows)


def _mean_within(values: Tensor, where: Tensor) -> Tensor:
    """Mean of [N,H,W] over the pixels that are True, [N]."""
    return (values * where).flatten(1).sum(1) / where.flatten(1).sum(1)


def _mean_and_interval(values: Tensor) -> dict:
    """Mean of [n] as "share", with its bootstrap interval; NaN where there is none."""
    if not len(values):
        return dict.fromkeys(("share", "low", "high"), float("nan"))
    low, high = metrics.bootstrap(values)
    return {"share": values.double().mean().item(), "low": low, "high": high}


def together_and_alone(studied: Subject, count: int = 16) -> pd.DataFrame:
    """The maps of one call of `signed_maps` beside each method's own, on the first pictures.

    Columns map, mean, apart (largest difference).
    """
    images = batch(studied, slice(0, count))
    together = attribution.signed_maps(studied.model, images)
    rows = []
    for name in MAPS:
        method = attribution.METHODS["saliency" if name == "original" else name]
        own = attribution.to_map(method.function(studied.model, images), method.reduce["sign"])
        apart = (own - getattr(together, name)).abs().max().item()
        rows.append({"map": name, "mean": own.mean().item(), "apart": apart})
    return pd.DataFrame(rows)


def gradient_lengths(studied: Subject, count: int = 128, at_once: int = 32) -> dict:
    """How long the gradient of the predicted class is, beside its rivals', on the first pictures.

    n, ratio (its length over the mean rival's, median over pictures), longest (share of pictures
    where no class has a longer one).
    """
    part = studied.take(slice(0, count))

    def lengths(images):
        logits, gradients = attribution.class_gradients(studied.model, images)
        length = gradients.flatten(2).norm(dim=2)
        own = length.gather(1, logits.argmax(1, keepdim=True))[:, 0]
        rivals = (length.sum(1) - own) / (length.shape[1] - 1)
        return torch.stack([own / rivals, (own >= length.amax(1)).to(own)], 1)

    ratio, longest = part.over_batches(lengths, at_once).T
    return {
        "n": len(ratio),
        "ratio": ratio.median().item(),
        "longest": longest.double().mean().item(),
    }


def ties(studied: Subject, count: int = 32) -> pd.DataFrame:
    """Share of entries that eqs. 5 and 6 keep and the released code drops, on the first pictures.

    A rival has exactly the same gradient there. Columns map, float32, bfloat16.
    """
    images = batch(studied, slice(0, count))

    def dropped(name, low):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
            kernel = getattr(attribution, name)
            kept, released = (kernel(studied.model, images, ties=keep) for keep in (True, False))
        return ((kept != 0) & (released == 0)).double().mean().item()

    return pd.DataFrame(
        [
            {"map": name, "float32": dropped(name, False), "bfloat16": dropped(name, True)}
            for name in ("active", "inactive")
        ]
    )


def turn(studied: Subject, seed: int = 0, step: float = 0.01) -> dict:
    """By how much the gradient turns when every pixel moves at random by up to `step` of the range.

    turn: median angle over pictures, in degrees; zero: share of the gradient that is exactly 0.
    """
    images = batch(studied, slice(None))
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)).to(images)
    moved = images + (2 * noise - 1) * step * (studied.model.white - studied.model.black)
    target = predictions(studied).to(images.device)
    before, after = (
        attribution.saliency(studied.model, x, target).flatten(1) for x in (images, moved)
    )
    cosine = torch.nn.functional.cosine_similarity(before, after).clamp(-1, 1)
    return {
        "turn": cosine.acos().rad2deg().median().item(),
        "zero": (before == 0).double().mean().item(),
    }
