"""The experiments of the papers: a subject (a network and its pictures) goes in, a tidy table comes out.

With `stored=True` an experiment reads what was computed before for exactly this subject and stores what was not;
otherwise everything is computed on the spot.
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
SCORED = {
    "cifar10": 2_000,
    "imagenette": 300,
}  # test pictures for score curves and the soft sweep, fifteen times the work of a curve
# networks whose deletion runs forward in bfloat16, half the time; `precision` shows that it does not change the areas
BFLOAT16 = {("imagenette", "resnet18"), ("imagenette", "efficientnet_lite0")}


def over_batches(who: Subject, function: Callable[[Tensor], Tensor], batch_size: int) -> Tensor:
    """The answers of `function` to the pictures, given batch by batch in the network's input range: joined, on the CPU."""
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
    found = torch.empty(
        len(MAPS), len(who.pictures), *who.pictures.images.shape[2:]
    )  # gigabytes at 224 pixels: held once
    for k in range(0, len(who.pictures), batch_size):
        found[:, k : k + batch_size] = torch.stack(
            attribution.signed_maps(who.model, batch(who, slice(k, k + batch_size)))
        ).cpu()
    return dict(zip(MAPS, found))


def stored_or_computed(
    stored: bool,
    experiment: str,
    who: Subject,
    label: str,
    extra: dict,
    compute: Callable[[], dict],
) -> dict:
    """What `compute` returns; with `stored`, read from this experiment's cell of `who` and the further parameters `extra`, or kept there."""
    if not stored:
        return compute()
    identity = who.identity
    name = "-".join(
        x
        for x in (
            identity["dataset"].replace("/", "_").replace(":", "_"),
            identity["split"],
            who.model_name.replace(":", "_"),
            identity["weights"].replace("/", "_"),
            label,
        )
        if x
    )
    return results.cell(experiment, name, {**identity, **extra}, compute)


def accuracy(who: Subject, *, batch_size: int = 256, stored: bool = False) -> dict:
    """Share of pictures whose predicted class is their label (paper Sign, Table 1), with Wilson's interval."""

    def compute():
        right = int((predictions(who, batch_size) == who.pictures.labels).sum())
        low, high = metrics.wilson(right, len(who.pictures))
        return {
            "rows": [
                {"right": right, "accuracy": right / len(who.pictures), "low": low, "high": high}
            ]
        }

    return stored_or_computed(stored, "accuracy", who, "", {}, compute)["rows"][0]


def fresh_statistics(who: Subject, *, batch_size: int = 128, stored: bool = False) -> dict | None:
    """`accuracy` with batch-norm statistics averaged anew over the training split; None for a network without batch norm, or trained elsewhere but for its last layer.

    Those that training leaves behind follow its last batches, while the weights still move. A copy is measured.
    """
    if not any(
        isinstance(m, torch.nn.BatchNorm2d) for m in who.model.modules()
    ) or "body" in networks.card(who.model_name, who.weights):
        return None
    compute = lambda: {"rows": [accuracy(refreshed(who, batch_size), batch_size=batch_size)]}
    return stored_or_computed(stored, "fresh_statistics", who, "", {}, compute)["rows"][0]


def refreshed(who: Subject, batch_size: int = 128) -> Subject:
    """The subject with a copy of its network whose batch-norm statistics are averaged anew over the training split."""
    training = who._replace(
        model=copy.deepcopy(who.model), pictures=sources.load(who.pictures.name, "train")
    )
    order = torch.randperm(len(training.pictures), generator=torch.Generator().manual_seed(0))
    torch.optim.swa_utils.update_bn(
        (
            batch(training, index).contiguous(memory_format=torch.channels_last)
            for index in order.split(batch_size)
        ),
        training.model,
    )
    return training._replace(pictures=who.pictures)


def signs(who: Subject, *, batch_size: int = 256, stored: bool = False) -> dict:
    """How a gradient's two signs share the picture (paper Sign, section 3), each a list over pictures.

    zero_at: grey level of a zero in the gradient stretched to [0,1] (0 where all of it is zero); small: share of pixels whose gradient is under a tenth
    of the largest; positive, negative, both: share of pixels in the positive map, the negative map, both (their channels
    disagree); carried: share of the original map's total where the positive map is the larger.
    """

    def measure(images):
        g = attribution.saliency(who.model, images)
        strongest = g.gather(1, g.abs().argmax(1, keepdim=True))[:, 0].flatten(1)
        low, high, size = strongest.amin(1), strongest.amax(1), strongest.abs()
        plus, minus = (g.mul(s).clamp(min=0).amax(1).flatten(1) for s in (1, -1))
        mean = lambda flags: flags.double().mean(1)
        return torch.stack(
            [
                -low / (high - low).clamp(min=torch.finfo(g.dtype).tiny),
                mean(size < 0.1 * size.amax(1, keepdim=True)),
                mean(plus > 0),
                mean(minus > 0),
                mean((plus > 0) & (minus > 0)),
                (size * (plus > minus)).sum(1) / size.sum(1).clamp(min=1e-30),
            ],
            1,
        )

    def compute():
        columns = over_batches(who, measure, batch_size).double().T.tolist()
        return {
            "rows": [
                {
                    name: [round(v, 6) for v in values]
                    for name, values in zip(
                        ("zero_at", "small", "positive", "negative", "both", "carried"), columns
                    )
                }
            ]
        }

    return {
        name: torch.tensor(values)
        for name, values in stored_or_computed(stored, "signs", who, "", {}, compute)["rows"][
            0
        ].items()
    }


def gallery(who: Subject, seed: int = 0, batch_size: int = 256) -> Tensor:
    """One correctly classified picture of every class that has one, drawn by `seed`: their places, int64 (Sign, section 4.1).

    Raises ValueError where the network classifies none correctly.
    """
    right = predictions(who, batch_size) == who.pictures.labels
    if not right.any():
        raise ValueError(
            f"{who.title}: no picture is classified correctly, and a gallery shows correct ones alone; give more images or trained weights."
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
    """Bool [F,N] over all pictures of the subject, deleted by `maps` [N,H,W]; `bfloat16` runs the forward passes so, the order of the pixels stays."""
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
    """For a network of `BFLOAT16`, the areas of a fixed random 500 `pictures` with forward passes in float32 and in bfloat16.

    Columns map, fill, float32, bfloat16; raises ValueError where they differ by more than 0.005. None for other networks.
    """
    if not _low(who):
        return None

    def compute():
        part = who._replace(pictures=who.pictures.sample(pictures))
        maps = signed_maps(part, batch_size)
        area = lambda name, fill, low: auc_rows(
            {(name, fill): allegiance(part, maps[name], fill, batch_size, bfloat16=low)}
        )[0]["auc"]
        return {
            "rows": [
                {
                    "map": name,
                    "fill": fill,
                    "float32": area(name, fill, False),
                    "bfloat16": area(name, fill, True),
                }
                for name in MAPS
                for fill in FILLS
            ]
        }

    found = pd.DataFrame(
        stored_or_computed(stored, "precision", who, "", {"pictures": pictures}, compute)["rows"]
    )
    apart = (found["float32"] - found["bfloat16"]).abs().max()
    if apart > 0.005:
        raise ValueError(
            f"{who.title}: areas in bfloat16 and float32 differ by {apart:.4f}, more than 0.005; take the network out of experiments.BFLOAT16."
        )
    return found


def allegiances(
    who: Subject,
    *,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    batch_size: int = 256,
    stored: bool = False,
    log: Callable = lambda line: None,
) -> dict[tuple[str, str], Tensor]:
    """For every pair of map and fill, bool [F,N]: is the prediction what it was (paper Sign, Figs. 3, 4, B.7, B.8)?

    Also the pairs that the paper does not show (positive under white, ...). Maps are float32 always; what is stored for a
    network of `BFLOAT16` has its forward passes in bfloat16.
    """
    maps: dict[str, Tensor] = {}
    found = {}
    low = stored and _low(who)
    for name, fill in pairs:

        def compute():
            if not maps:
                maps.update(signed_maps(who, batch_size))
            kept = allegiance(who, maps[name], fill, batch_size, bfloat16=low)
            return {"rows": auc_rows({(name, fill): kept}), "kept": results.pack(kept)}

        content = stored_or_computed(
            stored,
            "deletion",
            who,
            f"{name}-{fill}",
            {"map": name, "fill": fill} | ({"forwards": "bfloat16"} if low else {}),
            compute,
        )
        found[name, fill] = results.unpack(content["kept"])
        log(f"deletion  {who.title}  {name} {fill}  AUC {content['rows'][0]['auc']:.3f}")
    return found


def curve_table(found: dict[tuple[str, str], Tensor]) -> pd.DataFrame:
    """Allegiance at every fraction, with Wilson's interval: columns map, fill, fraction, allegiance, low, high, n."""
    rows = []
    for (name, fill), kept in found.items():
        for fraction, flags in zip(PAPER_FRACTIONS, kept):
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
    """Area under each allegiance curve, with a bootstrap interval over images: map, fill, auc, low, high."""
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
    """AUC of the first minus that of the second of each pair of (map, fill), paired over images, with a bootstrap interval.

    Columns first, second, difference, low, high, n; the area ends at the fraction `until`, one of the paper's.
    """
    if until not in PAPER_FRACTIONS[1:]:
        raise ValueError(
            f"until is {until}; it must be one of the fractions {', '.join(f'{f:g}' for f in PAPER_FRACTIONS[1:])}."
        )
    last = PAPER_FRACTIONS.index(until) + 1
    area = lambda flags: metrics.auc(PAPER_FRACTIONS[:last], flags[:last])
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
            pick = lambda t: t.gather(2, index[..., None])[..., 0].cpu()
            pieces.append(
                ((logits.argmax(2) == index).cpu(), pick(logits.softmax(2)), pick(logits))
            )
    return tuple(torch.cat(part, 1) for part in zip(*pieces))


def score_curves(who: Subject, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """How probability and logit of the original class change along the deletion curve: what allegiance cannot show.

    Columns map, fill, fraction; probability, logit (mean change since fraction 0) with *_low, *_high; rose (share of images
    whose logit is above its start).
    """

    def compute():
        rows, maps = [], signed_maps(who, batch_size)
        for name in MAPS:
            for fill in FILLS:
                _, probability, logit = deletion_scores(who, maps[name], fill, 1.0, batch_size)
                for k, fraction in enumerate(PAPER_FRACTIONS):
                    row = {
                        "map": name,
                        "fill": fill,
                        "fraction": fraction,
                        "rose": (logit[k] > logit[0]).double().mean().item(),
                    }
                    row |= with_interval(
                        "probability", probability[k] - probability[0]
                    ) | with_interval("logit", logit[k] - logit[0])
                    rows.append(row)
        return {"rows": rows}

    return pd.DataFrame(stored_or_computed(stored, "scores", who, "", {}, compute)["rows"])


def soft_replacement(
    who: Subject,
    strengths: tuple[float, ...] = STRENGTHS,
    *,
    batch_size: int = 256,
    stored: bool = False,
) -> pd.DataFrame:
    """Replace by a slightly darker or brighter pixel, not the extreme (paper Sign, the open question of section 4.2).

    A pixel x moves to x + strength * (fill - x). Columns strength, map, fill; logit (mean change when 10 % of the pixels
    have moved) and, for the paper's own pairs, area (under the probability curve), each with *_low and *_high; rose (share
    of images whose logit has risen).
    """

    def compute_for(strength):
        def compute():
            maps = signed_maps(who, batch_size)
            return {
                "rows": [
                    _soft_row(who, maps[name], name, fill, strength, batch_size)
                    for fill in FILLS
                    for name in MAPS
                ]
            }

        return compute

    cells = [
        stored_or_computed(
            stored, "soft", who, f"{strength:g}", {"strength": strength}, compute_for(strength)
        )
        for strength in strengths
    ]
    return pd.DataFrame([row for content in cells for row in content["rows"]])


def _soft_row(
    who: Subject, maps: Tensor, name: str, fill: str, strength: float, batch_size: int
) -> dict:
    fractions = PAPER_FRACTIONS if name in MATCHED[fill] else (0, 0.1)
    _, probability, logit = deletion_scores(who, maps, fill, strength, batch_size, fractions)
    change = (logit[fractions.index(0.1)] - logit[0]).double()
    row = {
        "strength": strength,
        "map": name,
        "fill": fill,
        "rose": (change > 0).double().mean().item(),
    } | with_interval("logit", change)
    return (
        row | with_interval("area", metrics.auc(fractions, probability))
        if name in MATCHED[fill]
        else row
    )


def with_interval(label: str, values: Tensor) -> dict:
    """The mean of numbers [N] and its 95 % bootstrap interval, as `label`, `label`_low and `label`_high."""
    low, high = metrics.bootstrap(values)
    return {label: values.double().mean().item(), f"{label}_low": low, f"{label}_high": high}


def insertion_areas(who: Subject, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """Deletion in reverse: from a canvas of the fill, reveal the most important pixels first; higher is better.

    Columns map, fill, auc, low, high, for every map and fill.
    """

    def compute():
        maps, rows = signed_maps(who, batch_size), []
        for fill in FILLS:
            for name in MAPS:
                rows += auc_rows(
                    {(name, fill): allegiance(who, maps[name], fill, batch_size, insert=True)}
                )
        return {"rows": rows}

    return pd.DataFrame(stored_or_computed(stored, "insertion", who, "", {}, compute)["rows"])


def kept_pixels(who: Subject, *, batch_size: int = 256, stored: bool = False) -> pd.DataFrame:
    """Share of pixels that are not zero in each map: where its deletion curve must end.

    Columns map, mean, p5, p95, n, and for half and 80 % of the pixels the share of images with nothing left to delete.
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
    """Eqs. 5 and 6 as printed (channel maximum of the signed values, ties kept) beside the released code (absolute values).

    Columns map, rule, fill, auc, low, high; wrong_sign: share of kept entries whose sign is not the one the name promises;
    ranks: mean Spearman correlation of the printed map with the released one.
    """

    def compute():
        rows = []
        for name, fill in (("active", "black"), ("inactive", "white")):
            kernel = getattr(attribution, name)
            both = over_batches(
                who,
                lambda images: torch.stack(
                    [
                        attribution.to_map(kernel(who.model, images, ties=True), "max"),
                        attribution.to_map(kernel(who.model, images), "absmax"),
                    ],
                    1,
                ),
                batch_size,
            )
            signed = over_batches(
                who, lambda images: _wrong_sign(kernel(who.model, images), name), batch_size
            )
            ranks = metrics.rank_correlation(both[:, 0], both[:, 1])
            for rule, maps in zip(("printed", "released"), both.unbind(1)):
                kept, _, _ = deletion_scores(who, maps, fill, 1.0, batch_size)
                row = auc_rows({(name, fill): kept})[0]
                rows.append(
                    {
                        **row,
                        "rule": rule,
                        "wrong_sign": signed.mean().item(),
                        "ranks": ranks.mean().item(),
                        "n": len(maps),
                    }
                )
        return {"rows": rows}

    return pd.DataFrame(stored_or_computed(stored, "printed", who, "", {}, compute)["rows"])


def _wrong_sign(kept: Tensor, name: str) -> Tensor:
    """Per image, the share of nonzero entries that are negative in an active, or positive in an inactive attribution."""
    wrong = (kept < 0) if name == "active" else (kept > 0)
    return wrong.flatten(1).sum(1) / (kept != 0).flatten(1).sum(1).clamp(min=1)
