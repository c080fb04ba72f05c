"""The maps of paper Noise's methods on one subject, and the quantities of section 5.3.

A subject is a network and its pictures. Attributions are computed once for each method (`maps`) and
shared by every quantity that needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib import attribution, metrics
from lib.attribution import crosses
from study.experiments.deletion import predictions
from study.store import cells, stamps
from study.store.experiment import experiment
from study.subjects import sources
from study.subjects.subject import Subject, object_masks

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


def channel_sums(studied: Subject, method: str, images: Tensor, target=None, **options) -> Tensor:
    """Paper Noise's map of a method, [n,H,W].

    The channel sum, RectGrad without its final threshold.
    """
    if method in RECTGRAD:
        options = {"final_threshold": False, **options}
    entry = attribution.METHODS[method]
    attributions = entry.function(studied.model, images, target, **options)
    return attribution.to_map(attributions, entry.reduce["noise"]).cpu()


def maps(studied: Subject, method: str, *, batch_size: int = 250) -> Tensor:
    """The maps of all pictures for their predicted classes, [N,H,W].

    RectGrad without its final threshold. Of a subject whose results are stored, pieces of `CHUNK`
    pictures are kept under data/cache/maps/, so that a stopped computation goes on.
    """

    def compute(part: Subject) -> np.ndarray:
        return part.over_batches(partial(channel_sums, part, method), batch_size).numpy()

    if not studied.stored:
        return torch.from_numpy(compute(studied))
    code = stamps.code(maps)  # maps of other code are not found
    name = cells.key({**studied.identity, "method": method, "code": code})
    pieces = []
    for start in range(0, len(studied.pictures), CHUNK):
        part = studied.take(slice(start, start + CHUNK))
        path = sources.CACHE / "maps" / f"{name}-{start}.npy"
        pieces.append(torch.from_numpy(sources.kept_array(path, partial(compute, part))))
    return torch.cat(pieces)


def treat(method: str, maps: Tensor, treatment: str, keep: Tensor | None = None) -> Tensor:
    """Maps [N,H,W] as a comparison takes them.

    "none": as they are. "released": RectGrad's positive part; of a baseline what lies between its
    95th and 100th percentile, zero below where the 95th is positive (as in the released code, which
    does not treat the two alike). "matched": RectGrad's positive part; of a baseline the `keep` [N]
    largest values, as many as RectGrad keeps on that picture.
    """
    if treatment == "none":
        return maps
    if method in RECTGRAD:
        return maps.clamp(min=0)
    flat = maps.flatten(1)
    if treatment == "released":
        low = flat.quantile(0.95, dim=1, keepdim=True)
        below = torch.where(low > 0, 0, low)
        return torch.where(flat < low, below, flat).view_as(maps)
    ranks = flat.argsort(1, descending=True).argsort(1)
    return torch.where(ranks < keep[:, None], flat, 0).view_as(maps)


def in_corner(maps: Tensor) -> Tensor:
    """Sum of |map| in the upper left `CORNER` x `CORNER` pixels, [N], of maps [N,H,W].

    Paper Noise, section 5.3, Fig. 7.
    """
    return maps[:, :CORNER, :CORNER].abs().sum((1, 2))


def amount(measure: str, maps: Tensor, masks: Tensor | None, share: bool) -> Tensor:
    """One of the three quantities of section 5.3, [N]: "patch", "outside" or "variation".

    Of maps [N,H,W]; `masks` bool [N,H,W]. `share` divides by the sum of |map|.
    """
    _check_measure(measure)
    if measure == "outside":
        return metrics.attribution_outside(maps, masks, share)
    value = in_corner(maps) if measure == "patch" else metrics.total_variation(maps)
    if not share:
        return value
    total = maps.abs().sum((1, 2))
    # a map of zeros has no share; dividing by 1 there keeps NaN out
    divisor = torch.where(total > 0, total, 1)
    return torch.where(total > 0, value / divisor, 0)


def _check_measure(measure: str) -> None:
    if measure not in ("patch", "outside", "variation"):
        raise ValueError(f"unknown measure {measure!r}; accepted are patch, outside and variation.")


def treated(
    studied: Subject,
    treatment: str,
    methods=COMPARED,
    *,
    untreated: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The maps of every method under one treatment, in the order of `methods`.

    `untreated` holds maps that are there already.
    """
    untreated = untreated or {m: maps(studied, m) for m in {*methods, "rectgrad"}}
    keep = (untreated["rectgrad"] > 0).flatten(1).sum(1)
    return {m: treat(m, untreated[m], treatment, keep) for m in methods}


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


@experiment("amounts", tolerance=0.01, sample=("methods", ("method",)))
def amounts(studied: Subject, measure: str, *, methods: Sequence[str] = COMPARED) -> pd.DataFrame:
    """A quantity of section 5.3 for all compared methods under all treatments (Figs. 7, 8).

    As a sum and as a share of the total. `measure`: "patch", "outside" or "variation". Columns
    method, treatment, share (bool), kept (share of pixels not zero) and those of `spread`.
    """
    _check_measure(measure)
    masks = object_masks(studied) if measure == "outside" else None
    rows = []
    untreated = {method: maps(studied, method) for method in {*methods, "rectgrad"}}
    for treatment in TREATMENTS:
        both = treated(studied, treatment, methods, untreated=untreated)
        for method, treated_maps in both.items():
            kept = (treated_maps != 0).double().mean().item()
            for share in (False, True):
                values = amount(measure, treated_maps, masks, share)
                rows.append(
                    {
                        "method": method,
                        "treatment": treatment,
                        "share": share,
                        "kept": kept,
                        **spread(values),
                    }
                )
    return rows


def recognised(studied: Subject, batch_size: int = 256) -> Subject:
    """The subject with the pictures that the network classifies correctly alone."""
    return studied.take(predictions(studied, batch_size) == studied.pictures.labels)


def per_class(studied: Subject, count: int, seed: int = 0) -> Subject:
    """At most `count` pictures of every class, drawn with `seed`.

    Section 3.2 takes ten correctly classified ones.
    """
    order = torch.randperm(len(studied.pictures), generator=torch.Generator().manual_seed(seed))
    chosen = torch.cat(
        [
            order[studied.pictures.labels[order] == k][:count]
            for k in range(len(studied.pictures.classes))
        ]
    )
    return studied.take(chosen.sort().values)


# --- tables of what is measured above ------------------------------------------------------------


def edge_amounts(studied: Subject, measure: str, *, batch_size: int = 500) -> pd.DataFrame:
    """`amounts` of a control that asks no network: the edges of the picture.

    It is treated as a baseline is. Columns as of `amounts`; the method is "edges".
    """
    _check_measure(measure)
    masks = object_masks(studied) if measure == "outside" else None
    untreated = {
        "edges": studied.over_batches(
            lambda images: crosses.edges(images, torch.Generator()), batch_size
        ),
        "rectgrad": maps(studied, "rectgrad"),
    }
    rows = []
    for treatment in TREATMENTS:
        edges = treated(studied, treatment, ("edges",), untreated=untreated)["edges"]
        same = {"method": "edges", "treatment": treatment}
        kept = (edges != 0).double().mean().item()
        for share in (False, True):
            values = amount(measure, edges, masks, share)
            rows.append({**same, "share": share, "kept": kept, **spread(values)})
    return pd.DataFrame(rows)


def amounts_and_edges(studied: Subject, measure: str) -> pd.DataFrame:
    """`amounts` of all compared methods, and of the edge detector below them."""
    tables = [amounts(studied, measure), edge_amounts(studied, measure)]
    return pd.concat(tables, ignore_index=True)


def background_area(studied: Subject) -> float:
    """The background's mean share of the picture: what an even map puts there."""
    return 1 - object_masks(studied).double().mean().item()


def least_on_background(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """RectGrad beside the best baseline and the edge detector, mean shares on the background.

    From `amounts_and_edges` of "outside" by network. Columns network, treatment, n, rectgrad,
    rectgrad_prr, baseline (the smallest), which (its method), edges.
    """
    rows = []
    for network, table in tables.items():
        for treatment, part in table[table["share"]].groupby("treatment", sort=False):
            mean = part.set_index("method")["mean"]
            baselines = mean[list(BASELINES)]
            rows.append(
                {
                    "network": network,
                    "treatment": treatment,
                    "n": int(part["n"].iloc[0]),
                    **mean[[*RECTGRAD, "edges"]].to_dict(),
                    "baseline": baselines.min(),
                    "which": baselines.idxmin(),
                }
            )
    return pd.DataFrame(rows)


def side_by_side(
    outside: pd.DataFrame, patch: pd.DataFrame, variation: pd.DataFrame
) -> pd.DataFrame:
    """The three quantities at equal sparsity in one table, from `amounts_and_edges` of each.

    Columns method, background (mean share), patch_mean, patch_median (shares),
    variation (median sum), scaled (median, by the sum of |map|); the least background first.
    """

    def of(table: pd.DataFrame, share: bool) -> pd.DataFrame:
        chosen = (table["treatment"] == "matched") & (table["share"] == share)
        return table[chosen].set_index("method")

    columns = {
        "background": of(outside, True)["mean"],
        "patch_mean": of(patch, True)["mean"],
        "patch_median": of(patch, True)["median"],
        "variation": of(variation, False)["median"],
        "scaled": of(variation, True)["median"],
    }
    table = pd.DataFrame(columns).rename_axis(index="method")
    return table.sort_values("background", kind="stable").reset_index()
