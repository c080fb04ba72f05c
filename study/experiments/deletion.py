"""The experiments of the papers: a subject (a network and its pictures) goes in, a table comes out.

The tables are tidy. With `stored=True` an experiment reads what was computed before for exactly
this subject and stores what was not; otherwise everything is computed on the spot.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor

from lib import attribution, metrics
from lib.metrics import PAPER_FRACTIONS
from study.store import results
from study.subjects import networks, sources
from study.subjects.subject import Subject, batch, fill_value

MAPS = attribution.SignedMaps._fields
FILLS = ("black", "white")
# paper Sign's own pairs; the other four cells of the 5 x 2 table are the crossed ones
MATCHED = {
    "black": ("original", "positive", "active"),
    "white": ("original", "negative", "inactive"),
}
PAIRS = [(name, fill) for name in MAPS for fill in FILLS]
PRINTED_PAIRS = [(name, fill) for fill, names in MATCHED.items() for name in names]
STRENGTHS = (0.05, 0.1, 0.25, 0.5, 1.0)
# test pictures for score curves and the soft sweep, fifteen times the work of a curve
SCORED = {"cifar10": 2_000, "imagenette": 300}
# networks whose deletion runs forward in bfloat16, half the time; `precision` shows that it does
# not change the areas
BFLOAT16 = {("imagenette", "resnet18"), ("imagenette", "efficientnet_lite0")}


def over_batches(who: Subject, function: Callable[[Tensor], Tensor], batch_size: int) -> Tensor:
    """The answers of `function` to the pictures, joined, on the CPU.

    The pictures are given batch by batch in the network's input range.
    """
    return torch.cat(
        [
            function(batch(who, slice(k, k + batch_size))).cpu()
            for k in range(0, len(who.pictures), batch_size)
        ]
    )


def predictions(who: Subject, batch_size: int = 256) -> Tensor:
    """Predicted class of every picture, int64 [N]."""
    with torch.no_grad():
        return over_batches(who, lambda images: who.model(images).argmax(1), batch_size)


def correct(who: Subject, *, stored: bool = False) -> Tensor:
    """Which pictures the network gets right, bool [N]."""

    def compute():
        right = predictions(who) == who.pictures.labels
        return {
            "rows": [{"accuracy": right.double().mean().item(), "n": len(right)}],
            "correct": results.pack(right),
        }

    return results.unpack(stored_or_computed(stored, "correct", who, "", {}, compute)["correct"])


def signed_maps(who: Subject, batch_size: int = 256) -> dict[str, Tensor]:
    """The five maps of every picture for its predicted class, each [N,H,W], on the CPU."""
    # gigabytes at 224 pixels: held once
    maps = torch.empty(len(MAPS), len(who.pictures), *who.pictures.images.shape[2:])
    for k in range(0, len(who.pictures), batch_size):
        maps[:, k : k + batch_size] = torch.stack(
            attribution.signed_maps(who.model, batch(who, slice(k, k + batch_size)))
        ).cpu()
    return dict(zip(MAPS, maps, strict=True))


def stored_or_computed(
    stored: bool,
    experiment: str,
    who: Subject,
    label: str,
    extra: dict,
    compute: Callable[[], dict],
) -> dict:
    """What `compute` returns.

    With `stored` it is read from this experiment's cell of `who` and the further parameters
    `extra`, or kept there.
    """
    if not stored:
        return compute()
    identity = who.identity
    parts = (
        identity["dataset"].replace("/", "_").replace(":", "_"),
        identity["split"],
        who.model_name.replace(":", "_"),
        identity["weights"].replace("/", "_"),
        label,
    )
    name = "-".join(part for part in parts if part)
    return results.cell(experiment, name, {**identity, **extra}, compute)


def accuracy(who: Subject, *, batch_size: int = 256, stored: bool = False) -> dict:
    """Share of pictures whose predicted class is their label (paper Sign, Table 1).

    With Wilson's interval.
    """

    def compute():
        right = int((predictions(who, batch_size) == who.pictures.labels).sum())
        low, high = metrics.wilson(right, len(who.pictures))
        row = {"right": right, "accuracy": right / len(who.pictures), "low": low, "high": high}
        return {"rows": [row]}

    return stored_or_computed(stored, "accuracy", who, "", {}, compute)["rows"][0]


def fresh_statistics(who: Subject, *, batch_size: int = 128, stored: bool = False) -> dict | None:
    """`accuracy` with batch-norm statistics averaged anew over the training split.

    None for a network without batch norm, or trained elsewhere but for its last layer. The
    statistics that training leaves behind follow its last batches, while the weights still move. A
    copy is measured.
    """
    if not any(isinstance(m, torch.nn.BatchNorm2d) for m in who.model.modules()):
        return None
    # "body": where a network trained elsewhere but for its last layer comes from
    if "body" in networks.card(who.model_name, who.weights):
        return None

    def compute():
        return {"rows": [accuracy(refreshed(who, batch_size), batch_size=batch_size)]}

    return stored_or_computed(stored, "fresh_statistics", who, "", {}, compute)["rows"][0]


def refreshed(who: Subject, batch_size: int = 128) -> Subject:
    """The subject with a copy of its network, batch-norm statistics averaged anew.

    They are averaged over the training split.
    """
    training = who._replace(
        model=copy.deepcopy(who.model), pictures=sources.load(who.pictures.name, "train")
    )
    order = torch.randperm(len(training.pictures), generator=torch.Generator().manual_seed(0))
    batches = (
        batch(training, index).contiguous(memory_format=torch.channels_last)
        for index in order.split(batch_size)
    )
    torch.optim.swa_utils.update_bn(batches, training.model)
    return training._replace(pictures=who.pictures)


def signs(who: Subject, *, batch_size: int = 256, stored: bool = False) -> dict:
    """How a gradient's two signs share the picture (paper Sign, section 3).

    Each is a list over pictures.

    zero_at: grey level of a zero in the gradient stretched to [0,1] (0 where all of it is zero);
    small: share of pixels whose gradient is under a tenth of the largest; positive, negative, both:
    share of pixels in the positive map, the negative map, both (their channels disagree); carried:
    share of the original map's total where the positive map is the larger.
    """
    names = ("zero_at", "small", "positive", "negative", "both", "carried")

    def share(flags):
        return flags.double().mean(1)

    def measure(images):
        g = attribution.saliency(who.model, images)
        strongest = g.gather(1, g.abs().argmax(1, keepdim=True))[:, 0].flatten(1)
        low, high, size = strongest.amin(1), strongest.amax(1), strongest.abs()
        plus = g.clamp(min=0).amax(1).flatten(1)
        minus = (-g).clamp(min=0).amax(1).flatten(1)
        return torch.stack(
            [
                -low / (high - low).clamp(min=torch.finfo(g.dtype).tiny),
                share(size < 0.1 * size.amax(1, keepdim=True)),
                share(plus > 0),
                share(minus > 0),
                share((plus > 0) & (minus > 0)),
                (size * (plus > minus)).sum(1) / size.sum(1).clamp(min=1e-30),
            ],
            1,
        )

    def compute():
        columns = over_batches(who, measure, batch_size).double().T.tolist()
        row = {
            name: [round(value, 6) for value in values]
            for name, values in zip(names, columns, strict=True)
        }
        return {"rows": [row]}

    row = stored_or_computed(stored, "signs", who, "", {}, compute)["rows"][0]
    return {name: torch.tensor(values) for name, values in row.items()}


def gallery(who: Subject, seed: int = 0, batch_size: int = 256) -> Tensor:
    """Places, int64, of one correctly classified picture of every class that has one (Sign, 4.1).

    They are drawn by `seed`. Raises ValueError where the network classifies none correctly.
    """
    right = predictions(who, batch_size) == who.pictures.labels
    if not right.any():
        raise ValueError(
            f"{who.title}: no picture is classified correctly, and a gallery shows correct ones "
            "alone; give more images or trained weights."
        )
    order = torch.randperm(len(right), generator=torch.Generator().manual_seed(seed))
    order = order[right[order]]
    first = [order[who.pictures.labels[order] == k][:1] for k in range(len(who.pictures.classes))]
    return torch.cat(first)


def allegiance(
    who: Subject,
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
    for k in range(0, len(who.pictures), batch_size):
        images = batch(who, slice(k, k + batch_size))
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            pieces.append(
                metrics.allegiance(
                    who.model,
                    images,
                    maps[k : k + batch_size].to(images.device),
                    fill=fill_value(who, fill),
                    insert=insert,
                    batch_size=batch_size,
                ).cpu()
            )
    return torch.cat(pieces, 1)


def _low(who: Subject) -> bool:
    return (who.pictures.name, who.model_name) in BFLOAT16


def precision(
    who: Subject, pictures: int = 500, *, batch_size: int = 256, stored: bool = False
) -> pd.DataFrame | None:
    """For a network of `BFLOAT16`, the areas with forward passes in float32 and in bfloat16.

    They are those of a fixed random 500 `pictures`. Columns map, fill, float32, bfloat16; raises
    ValueError where they differ by more than 0.005. None for other networks.
    """
    if not _low(who):
        return None

    def compute():
        part = who._replace(pictures=who.pictures.sample(pictures))
        maps = signed_maps(part, batch_size)

        def area(name, fill, low):
            kept = allegiance(part, maps[name], fill, batch_size, bfloat16=low)
            return auc_rows({(name, fill): kept})[0]["auc"]

        rows = [
            {
                "map": name,
                "fill": fill,
                "float32": area(name, fill, False),
                "bfloat16": area(name, fill, True),
            }
            for name, fill in PAIRS
        ]
        return {"rows": rows}

    areas = pd.DataFrame(
        stored_or_computed(stored, "precision", who, "", {"pictures": pictures}, compute)["rows"]
    )
    apart = (areas["float32"] - areas["bfloat16"]).abs().max()
    if apart > 0.005:
        raise ValueError(
            f"{who.title}: areas in bfloat16 and float32 differ by {apart:.4f}, more than 0.005; "
            "take the network out of study.experiments.deletion.BFLOAT16."
        )
    return areas


def allegiances(
    who: Subject,
    *,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    batch_size: int = 256,
    stored: bool = False,
    log: Callable = lambda line: None,
) -> dict[tuple[str, str], Tensor]:
    """For every pair of map and fill, bool [F,N]: is the prediction what it was?

    Paper Sign, Figs. 3, 4, B.7, B.8, and also the pairs that the paper does not show (positive
    under white, ...). Maps are float32 always; what is stored for a network of `BFLOAT16` has its
    forward passes in bfloat16.
    """
    # filled by the first pair that has to be computed
    maps: dict[str, Tensor] = {}
    flags = {}
    low = stored and _low(who)
    forwards = {"forwards": "bfloat16"} if low else {}
    for name, fill in pairs:

        def compute(name=name, fill=fill):
            if not maps:
                maps.update(signed_maps(who, batch_size))
            kept = allegiance(who, maps[name], fill, batch_size, bfloat16=low)
            return {"rows": auc_rows({(name, fill): kept}), "kept": results.pack(kept)}

        content = stored_or_computed(
            stored,
            "deletion",
            who,
            f"{name}-{fill}",
            {"map": name, "fill": fill} | forwards,
            compute,
        )
        flags[name, fill] = results.unpack(content["kept"])
        log(f"deletion  {who.title}  {name} {fill}  AUC {content['rows'][0]['auc']:.3f}")
    return flags


def curve_table(found: dict[tuple[str, str], Tensor]) -> pd.DataFrame:
    """Allegiance at every fraction, with Wilson's interval.

    Columns map, fill, fraction, allegiance, low, high, n.
    """
    rows = []
    for (name, fill), kept in found.items():
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


def auc_rows(found: dict[tuple[str, str], Tensor]) -> list[dict]:
    """Area under each allegiance curve, with a bootstrap interval over images.

    Each row has map, fill, auc, low, high.
    """
    rows = []
    for (name, fill), kept in found.items():
        areas = metrics.auc(PAPER_FRACTIONS, kept)
        low, high = metrics.bootstrap(areas)
        rows.append(
            {"map": name, "fill": fill, "auc": areas.mean().item(), "low": low, "high": high}
        )
    return rows


def auc_differences(
    found: dict[tuple[str, str], Tensor],
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
        change = area(found[first]) - area(found[second])
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


def deletion_scores(
    who: Subject,
    maps: Tensor,
    fill: str,
    strength: float,
    batch_size: int,
    fractions=PAPER_FRACTIONS,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the originally predicted class, each [F,N]: still predicted? probability, logit."""

    def pick(values, index):
        return values.gather(2, index[..., None])[..., 0].cpu()

    pieces = []
    for k in range(0, len(who.pictures), batch_size):
        images = batch(who, slice(k, k + batch_size))
        altered = metrics.altered_logits(
            who.model,
            images,
            maps[k : k + batch_size].to(images.device),
            fill=fill_value(who, fill),
            fractions=fractions,
            strength=strength,
            batch_size=batch_size,
        )
        for _, original, logits in altered:
            index = original.argmax(1).expand(len(logits), -1)
            still = (logits.argmax(2) == index).cpu()
            pieces.append((still, pick(logits.softmax(2), index), pick(logits, index)))
    return tuple(torch.cat(part, 1) for part in zip(*pieces, strict=True))


def score_curves(who: Subject, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """How probability and logit of the original class change along the deletion curve.

    That is what allegiance cannot show. Columns map, fill, fraction; probability, logit (mean
    change since fraction 0) with *_low, *_high; rose (share of images whose logit is above its
    start).
    """

    def compute():
        rows = []
        maps = signed_maps(who, batch_size)
        for name, fill in PAIRS:
            _, probability, logit = deletion_scores(who, maps[name], fill, 1.0, batch_size)
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
        return {"rows": rows}

    return pd.DataFrame(stored_or_computed(stored, "scores", who, "", {}, compute)["rows"])


def soft_replacement(
    who: Subject,
    strengths: tuple[float, ...] = STRENGTHS,
    *,
    batch_size: int = 256,
    stored: bool = False,
) -> pd.DataFrame:
    """Replace by a slightly darker or brighter pixel, not the extreme.

    It is the open question of paper Sign's section 4.2. A pixel x moves to
    x + strength * (fill - x). Columns strength, map, fill; logit (mean change when 10 % of the
    pixels have moved) and, for the paper's own pairs, area (under the probability curve), each with
    *_low and *_high; rose (share of images whose logit has risen).
    """

    rows = []
    for strength in strengths:

        def compute(strength=strength):
            maps = signed_maps(who, batch_size)
            rows_of_strength = [
                _soft_row(who, maps[name], name, fill, strength, batch_size)
                for fill in FILLS
                for name in MAPS
            ]
            return {"rows": rows_of_strength}

        rows += stored_or_computed(
            stored, "soft", who, f"{strength:g}", {"strength": strength}, compute
        )["rows"]
    return pd.DataFrame(rows)


def _soft_row(
    who: Subject, maps: Tensor, name: str, fill: str, strength: float, batch_size: int
) -> dict:
    """The row of `soft_replacement`; only the paper's own pairs need the whole curve."""
    matched = name in MATCHED[fill]
    fractions = PAPER_FRACTIONS if matched else (0, 0.1)
    _, probability, logit = deletion_scores(who, maps, fill, strength, batch_size, fractions)
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


def insertion_areas(who: Subject, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """Deletion in reverse: from a canvas of the fill, reveal the most important pixels first.

    Higher is better. Columns map, fill, auc, low, high, for every map and fill.
    """

    def compute():
        rows = []
        maps = signed_maps(who, batch_size)
        for fill in FILLS:
            for name in MAPS:
                kept = allegiance(who, maps[name], fill, batch_size, insert=True)
                rows += auc_rows({(name, fill): kept})
        return {"rows": rows}

    return pd.DataFrame(stored_or_computed(stored, "insertion", who, "", {}, compute)["rows"])


def kept_pixels(who: Subject, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """Share of pixels that are not zero in each map: where its deletion curve must end.

    Columns map, mean, p5, p95, n, and for half and 80 % of the pixels the share of images with
    nothing left to delete.
    """

    def compute():
        rows = []
        for name, maps in signed_maps(who, batch_size).items():
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
        return {"rows": rows}

    return pd.DataFrame(stored_or_computed(stored, "kept_pixels", who, "", {}, compute)["rows"])


def printed_and_released(
    who: Subject, *, batch_size: int = 256, stored: bool = False
) -> pd.DataFrame:
    """Eqs. 5 and 6 as printed beside the released code.

    Printed is the channel maximum of the signed values, with ties kept; the released code takes
    absolute values. Columns map, rule, fill, auc, low, high; wrong_sign: share of kept entries
    whose sign is not the one the name promises; ranks: mean Spearman correlation of the printed map
    with the released one.
    """

    def compute():
        return {
            "rows": _rows_of_both_rules(who, "active", "black", batch_size)
            + _rows_of_both_rules(who, "inactive", "white", batch_size)
        }

    return pd.DataFrame(stored_or_computed(stored, "printed", who, "", {}, compute)["rows"])


def _rows_of_both_rules(who: Subject, name: str, fill: str, batch_size: int) -> list[dict]:
    """Two rows of `printed_and_released`: one map under the printed and under the released rule."""
    kernel = getattr(attribution, name)

    def both_maps(images):
        printed = attribution.to_map(kernel(who.model, images, ties=True), "max")
        released = attribution.to_map(kernel(who.model, images), "absmax")
        return torch.stack([printed, released], 1)

    def wrong_sign(images):
        return _wrong_sign(kernel(who.model, images), name)

    both = over_batches(who, both_maps, batch_size)
    wrong = over_batches(who, wrong_sign, batch_size)
    ranks = metrics.rank_correlation(both[:, 0], both[:, 1])
    rows = []
    for rule, maps in zip(("printed", "released"), both.unbind(1), strict=True):
        kept, _, _ = deletion_scores(who, maps, fill, 1.0, batch_size)
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
