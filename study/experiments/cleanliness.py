"""The maps of paper Noise's methods on one subject, and the quantities of section 5.3.

A subject is a network and its pictures. Attributions are computed once for each method (`maps`) and
shared by every quantity that needs them. With `stored=True` an experiment reads what was computed
before for exactly this subject and stores what was not.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from lib import attribution, metrics
from study.experiments.deletion import over_batches, predictions, stored_or_computed
from study.store import results
from study.subjects import sources
from study.subjects.subject import Subject

RECTGRAD = ("rectgrad", "rectgrad_prr")
BASELINES = (
    "saliency",
    "guided_backprop",
    "smoothgrad",
    "input_x_gradient",
    "integrated_gradients",
    "deeplift",
)
COMPARED = RECTGRAD + BASELINES  # Figs. 7 and 8
SHOWN = (
    "saliency",
    "input_x_gradient",
    "guided_backprop",
    "smoothgrad",
    "integrated_gradients",
    "epsilon_lrp",
    "deeplift",
    "rectgrad",
    "rectgrad_prr",
)
TREATMENTS = ("none", "released", "matched")
# before a baseline's name: its map under paper Noise's final threshold
THRESHOLDED = "thresholded:"
CORNER = 8  # of the 10x10 patch, what a 3x3 kernel sees of nothing else (Fig. 2)
CHUNK = 1000  # pictures in one stored piece of maps
MAPS_VERSION = 1  # rises when a kernel changes what it returns


def channel_sums(who: Subject, method: str, images: Tensor, target=None, **options) -> Tensor:
    """Paper Noise's map of a method, [n,H,W].

    The channel sum, RectGrad without its final threshold.
    """
    if method in RECTGRAD:
        options = {"final_threshold": False, **options}
    entry = attribution.METHODS[method]
    attributions = entry.function(who.model, images, target, **options)
    return attribution.to_map(attributions, entry.reduce["noise"]).cpu()


def maps(who: Subject, method: str, *, batch_size: int = 250, stored: bool = False) -> Tensor:
    """The maps of all pictures for their predicted classes, [N,H,W].

    RectGrad without its final threshold. With `stored`, pieces of `CHUNK` pictures are kept under
    data/cache/maps/, so that a stopped computation goes on.
    """

    def compute(part):
        return over_batches(part, lambda images: channel_sums(part, method, images), batch_size)

    if not stored:
        return compute(who)
    name = results.key({**who.identity, "method": method}, MAPS_VERSION)
    pieces = []
    for start in range(0, len(who.pictures), CHUNK):

        def piece(start=start):
            pictures = who.pictures.take(slice(start, start + CHUNK))
            return compute(who._replace(pictures=pictures)).numpy()

        path = sources.CACHE / "maps" / f"{name}-{start}.npy"
        pieces.append(torch.from_numpy(sources.kept_array(path, piece)))
    return torch.cat(pieces)


def treat(method: str, found: Tensor, treatment: str, keep: Tensor | None = None) -> Tensor:
    """Maps [N,H,W] as a comparison takes them.

    "none": as they are. "released": RectGrad's positive part; of a baseline what lies between its
    95th and 100th percentile, zero below where the 95th is positive (as in the released code, which
    does not treat the two alike). "matched": RectGrad's positive part; of a baseline the `keep` [N]
    largest values, as many as RectGrad keeps on that picture.
    """
    if treatment == "none":
        return found
    if method in RECTGRAD:
        return found.clamp(min=0)
    flat = found.flatten(1)
    if treatment == "released":
        low = flat.quantile(0.95, dim=1, keepdim=True)
        below = torch.where(low > 0, 0, low)
        return torch.where(flat < low, below, flat).view_as(found)
    ranks = flat.argsort(1, descending=True).argsort(1)
    return torch.where(ranks < keep[:, None], flat, 0).view_as(found)


def in_corner(found: Tensor) -> Tensor:
    """Sum of |map| in the upper left `CORNER` x `CORNER` pixels, [N].

    Paper Noise, section 5.3, Fig. 7.
    """
    return found[:, :CORNER, :CORNER].abs().sum((1, 2))


def amount(measure: str, found: Tensor, masks: Tensor | None, share: bool) -> Tensor:
    """One of the three quantities of section 5.3, [N]: "patch", "outside" or "variation".

    `share` divides by the sum of |map|.
    """
    if measure not in ("patch", "outside", "variation"):
        raise ValueError(f"unknown measure {measure!r}; accepted are patch, outside and variation.")
    if measure == "outside":
        return metrics.attribution_outside(found, masks, share)
    value = in_corner(found) if measure == "patch" else metrics.total_variation(found)
    if not share:
        return value
    whole = found.abs().sum((1, 2))
    # a map of zeros has no share; dividing by 1 there keeps NaN out
    divisor = torch.where(whole > 0, whole, 1)
    return torch.where(whole > 0, value / divisor, 0)


def treated(
    who: Subject,
    treatment: str,
    methods=COMPARED,
    *,
    found: dict[str, Tensor] | None = None,
    stored: bool = False,
) -> dict[str, Tensor]:
    """The maps of every method under one treatment, in the order of `methods`.

    `found` holds maps that are there already.
    """
    found = found or {m: maps(who, m, stored=stored) for m in {*methods, "rectgrad"}}
    keep = (found["rectgrad"] > 0).flatten(1).sum(1)
    return {m: treat(m, found[m], treatment, keep) for m in methods}


def spread(values: Tensor) -> dict:
    """What a box plot shows of values [N], with 95 % intervals of median and mean."""
    q = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
    p5, q25, median, q75, p95 = values.double().quantile(q).tolist()
    low, high = metrics.median_interval(values)
    mean_low, mean_high = metrics.bootstrap(values)
    return {
        "median": median,
        "low": low,
        "high": high,
        "mean": values.double().mean().item(),
        "mean_low": mean_low,
        "mean_high": mean_high,
        "p5": p5,
        "q25": q25,
        "q75": q75,
        "p95": p95,
        "n": len(values),
    }


def amounts(who: Subject, measure: str, *, stored: bool = False) -> pd.DataFrame:
    """A quantity of section 5.3 for all compared methods under all treatments.

    As a sum and as a share of the total. Columns method, treatment, share (bool), kept (share of
    pixels not zero) and those of `spread`.
    """

    def compute():
        rows = []
        untreated = {method: maps(who, method, stored=stored) for method in COMPARED}
        for treatment in TREATMENTS:
            for method, treated_maps in treated(who, treatment, found=untreated).items():
                kept = (treated_maps != 0).double().mean().item()
                for share in (False, True):
                    values = amount(measure, treated_maps, who.pictures.masks, share)
                    rows.append(
                        {
                            "method": method,
                            "treatment": treatment,
                            "share": share,
                            "kept": kept,
                            **spread(values),
                        }
                    )
        return {"rows": rows}

    return pd.DataFrame(
        stored_or_computed(
            stored, measure, who, "", {"measure": measure, "maps": MAPS_VERSION}, compute
        )["rows"]
    )


def correct(who: Subject, batch_size: int = 256) -> Subject:
    """The subject with the pictures that the network classifies correctly alone."""
    return who._replace(
        pictures=who.pictures.take(predictions(who, batch_size) == who.pictures.labels)
    )


def per_class(who: Subject, count: int, seed: int = 0) -> Subject:
    """At most `count` pictures of every class, drawn with `seed`.

    Section 3.2 takes ten correctly classified ones.
    """
    order = torch.randperm(len(who.pictures), generator=torch.Generator().manual_seed(seed))
    chosen = torch.cat(
        [order[who.pictures.labels[order] == k][:count] for k in range(len(who.pictures.classes))]
    )
    return who._replace(pictures=who.pictures.take(chosen.sort().values))
