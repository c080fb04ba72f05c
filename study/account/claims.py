"""The claims that the papers make in words.

data/claims.csv fixed a statistic and a threshold for each before it was measured. `measure`
computes what has no stored value yet, `table` joins the stored values with the list and applies the
rule: a claim holds on a network if its whole interval meets the condition, does not hold if none of
it does; it depends where an interval straddles the threshold or networks differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, wraps

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib import attribution, metrics
from lib.metrics import PAPER_FRACTIONS, bootstrap_of
from lib.metrics.statistics import (
    percentile_interval,
    plain_means,
    resampled_means,
    spearman_rows,
)
from study.experiments import (
    cleanliness,
    deletion,
    hypothesis,
    response,
    retraining,
    retraining_tables,
    synthesis,
)
from study.experiments.cleanliness import BASELINES
from study.experiments.deletion import SCORED
from study.paths import ROOT
from study.store import cells
from study.store.experiment import Experiment, experiment, first_row
from study.subjects import networks
from study.subjects.sources import patched
from study.subjects.subject import Subject, batch, batch_size, subject
from study.subjects.training import Protocol

LIST = ROOT / "data" / "claims.csv"
CSV = cells.RESULTS / "claims.csv"
Measured = tuple[float, float, float]  # value, low, high
SIGN_CIFAR = [("cifar10", "basic_cnn", "cifar10"), ("cifar10", "resnet18", "cifar10")]
SIGN_NETS = [
    *SIGN_CIFAR,
    ("imagenette", "basic_cnn", "imagenette"),
    ("imagenette", "resnet18", "imagenette"),
]
MASKED = [
    ("cifar10_masks", "rectgrad_cnn", "cifar10"),
    ("cifar10_masks", "rectgrad_cnn", "cifar10_rest"),
]
PATCHED = [("cifar10+patch", "rectgrad_cnn", "cifar10+patch")]
CIFAR = [("cifar10", "rectgrad_cnn", "cifar10")]
IMAGENET = [
    ("imagenet_samples", "squeezenet1_1", "imagenet"),
    ("imagenet_samples", "efficientnet_lite0", "imagenet"),
]
# claim -> the networks it is measured on, its experiment, how many pictures (of each dataset)
MEASURES: dict[str, tuple[list, Experiment, int | dict[str, int] | None]] = {}
# claims with one number for several networks
TOGETHER = {"sign-positive-sometimes-better": SIGN_NETS}
# claims about ROAR and KAR
RETRAINED = (
    "noise-roar-best",
    "noise-kar-best",
    "noise-kar-largely",
    "noise-roar-beats-random",
    "sign-retraining-misleads",
)


def claim(name: str, networks: list, count: int | dict[str, int] | None = None):
    """Register the statistic of a claim, as an experiment that rests on other experiments' cells.

    With the (dataset, model, weights) it is measured on, and how many pictures (of each dataset).
    """

    def register(function: Callable[..., Measured]) -> Experiment:
        @wraps(function)
        def rows(*args, **kwargs):
            value, low, high = function(*args, **kwargs)
            return [{"value": value, "low": low, "high": high}]

        kept = experiment(
            f"claims/{name}", tolerance=0, returns=first_row, reach=_reach, rests_on_cells=True
        )(rows)
        MEASURES[name] = networks, kept, count
        return kept

    return register


def _reach(content: dict) -> float:
    """How far a claim's numbers may lie when they are computed again."""
    return 0.02 * max(abs(number) for number in first_row(content).values())


def with_weights(wanted: list) -> list:
    """Those whose weights are here."""
    return [
        net
        for net in wanted
        if net[2] == "imagenet" or (networks.WEIGHTS / f"{net[1]}-{net[2]}.safetensors").is_file()
    ]


# --- paper Sign -----------------------------------------------------------------------------------


def _areas(studied: Subject, pairs=deletion.PRINTED_PAIRS) -> np.ndarray:
    """Area under every picture's own allegiance curve, [pairs,N], from the stored flags."""
    flags = deletion.allegiances(studied, pairs=pairs)
    return np.stack([metrics.auc(PAPER_FRACTIONS, flags[pair]).double().numpy() for pair in pairs])


@claim("sign-black-faster", SIGN_NETS)
def sign_black_faster(studied):
    return bootstrap_of(
        lambda a: (a[1:3].mean(1) - a[0].mean()).max(), torch.from_numpy(_areas(studied))
    )


@claim("sign-white-faster", SIGN_NETS)
def sign_white_faster(studied):
    return bootstrap_of(
        lambda a: (a[4:].mean(1) - a[3].mean()).max(), torch.from_numpy(_areas(studied))
    )


@claim("sign-flat-after-50", SIGN_NETS)
def sign_flat_after_50(studied):
    flags = deletion.allegiances(studied)
    fall = torch.stack(
        [
            flags[pair][PAPER_FRACTIONS.index(0.5)].double() - flags[pair][-1].double()
            for pair in (("active", "black"), ("inactive", "white"))
        ]
    )
    return bootstrap_of(lambda a: a.mean(1).max(), fall)


@claim("sign-flat-after-80", SIGN_NETS, SCORED)
def sign_flat_after_80(studied):
    maps = deletion.signed_maps(studied, batch_size(studied))
    share = torch.stack(
        [(maps[m] != 0).flatten(1).double().mean(1) for m in ("positive", "negative")]
    )
    return bootstrap_of(lambda a: a.mean(1).max(), share)


@claim("sign-positive-sometimes-better", SIGN_NETS[:1])
def sign_positive_sometimes_better(studied, *, together):
    pairs = [
        ("positive", "black"),
        ("active", "black"),
        ("negative", "white"),
        ("inactive", "white"),
    ]
    others = [net.split()[:3] for net in together[1:]]
    every = (studied, *(subject(*net, stored=True) for net in others))
    areas = [torch.from_numpy(_areas(each, pairs)) for each in every]

    def least_gain(*areas):
        gains = []
        for positive, active, negative, inactive in areas:
            gains += [(positive - active).mean(), (negative - inactive).mean()]
        return min(gains)

    # networks of one data set were shown the same pictures
    return bootstrap_of(least_gain, *areas, groups=[each.pictures.name for each in every])


@claim("sign-train-similar", SIGN_CIFAR)
def sign_train_similar(studied):
    count = {"resnet18": 10_000}.get(studied.model_name)
    train = subject(
        "cifar10", studied.model_name, studied.weights, split="train", count=count, stored=True
    )
    # the order of the two draws is part of the stored values
    return bootstrap_of(
        lambda there, here: np.abs(there.mean(1) - here.mean(1)).max(),
        *(torch.from_numpy(_areas(each)) for each in (train, studied)),
        groups=("train", "test"),
        resamples=1000,
    )


def _rises(studied: Subject, *cases: tuple[str, str, int]) -> Tensor:
    """By how much the logit of the predicted class changes when the top 10 % of pixels take the
    fill, [cases,N]; a case is a map, a fill, and -1 where a fall is meant, else 1."""
    size = batch_size(studied)
    maps = deletion.signed_maps(studied, size)
    changes = []
    for name, fill, sign in cases:
        _, logit = deletion.class_scores(studied, maps[name], fill, size, fractions=(0, 0.1))
        changes.append(sign * (logit[1] - logit[0]).double())
    return torch.stack(changes)


@claim("sign-white-improves-positive", SIGN_NETS, SCORED)
def sign_white_improves_positive(studied):
    return bootstrap_of(
        lambda a: a.mean(1).min(),
        _rises(studied, ("positive", "white", 1), ("active", "white", 1)),
    )


@claim("sign-opposite-for-negative", SIGN_NETS, SCORED)
def sign_opposite_for_negative(studied):
    cases = [
        (name, fill, sign)
        for name in ("negative", "inactive")
        for fill, sign in (("black", 1), ("white", -1))
    ]
    return bootstrap_of(lambda a: a.mean(1).min(), _rises(studied, *cases))


@claim("sign-black-harms-positive", SIGN_NETS)
def sign_black_harms_positive(studied):
    pairs = [("positive", "black"), ("active", "black")]
    kept = deletion.allegiances(studied, pairs=pairs)
    at_tenth = PAPER_FRACTIONS.index(0.1)
    return bootstrap_of(
        lambda a: a.mean(1).max(), torch.stack([kept[pair][at_tenth].double() for pair in pairs])
    )


@claim("sign-active-step-further", SIGN_NETS, SCORED)
def sign_active_step_further(studied):
    maps = deletion.signed_maps(studied, batch_size(studied))

    def rise(name, fill):
        probability, _ = deletion.class_scores(
            studied, maps[name], fill, batch_size(studied), fractions=(0, 0.1)
        )
        return probability[1] - probability[0]

    gain = torch.stack(
        [
            rise("active", "white") - rise("positive", "white"),
            rise("inactive", "black") - rise("negative", "black"),
        ]
    )
    return bootstrap_of(lambda a: a.mean(1).min(), gain)


@claim("sign-less-noise", SIGN_NETS, SCORED)
def sign_less_noise(studied):
    variation = {
        name: metrics.total_variation(attribution.normalize(maps))
        for name, maps in deletion.signed_maps(studied, batch_size(studied)).items()
    }
    ratio = torch.stack(
        [
            variation[name] / variation["original"]
            for name in ("positive", "negative", "active", "inactive")
        ]
    )
    return bootstrap_of(lambda a: np.median(a, 1).max(), ratio)


@claim(
    "sign-shape-more-defined",
    [("cifar10_masks", "basic_cnn", "cifar10"), ("cifar10_masks", "resnet18", "cifar10")],
)
def sign_shape_more_defined(studied):
    inside = {
        name: 1 - metrics.attribution_outside(maps, studied.pictures.masks, share=True)
        for name, maps in deletion.signed_maps(studied).items()
    }
    gain = torch.stack(
        [
            inside[name] - inside["original"]
            for name in ("positive", "negative", "active", "inactive")
        ]
    )
    return bootstrap_of(lambda a: a.mean(1).min(), gain)


# --- paper Noise: the hypothesis ------------------------------------------------------------------


def _right(studied: Subject) -> Tensor:
    return (deletion.predictions(studied) == studied.pictures.labels).double()


@claim("noise-patch-accuracy", CIFAR)
def noise_patch_accuracy(studied):
    return bootstrap_of(
        lambda a: (a[0] - a[1]).mean(), torch.stack([_right(studied), _right(subject(*PATCHED[0]))])
    )


@claim("noise-patch-saliency-nonzero", PATCHED)
def noise_patch_saliency_nonzero(studied):
    maps = cleanliness.maps(studied, "saliency")
    high = int((cleanliness.amount("patch", maps, None, True) > 0.001).sum())
    return high / len(studied.pictures), *metrics.wilson(high, len(studied.pictures))


@claim("noise-patch-untruthful", PATCHED)
def noise_patch_untruthful(studied):
    fresh = studied._replace(pictures=patched(studied.pictures, seed=1))
    same = int((deletion.predictions(studied) == deletion.predictions(fresh)).sum())
    return same / len(studied.pictures), *metrics.wilson(same, len(studied.pictures))


def by_layer(table: pd.DataFrame, column: str) -> Tensor:
    """A column of a table with `picture` and `layer`, as [layers,N]."""
    return torch.tensor(
        table.pivot_table(index="layer", columns="picture", values=column).to_numpy(dtype=float)
    )


@claim("noise-object-larger-impact", MASKED)
def noise_object_larger_impact(studied):
    hundred = cleanliness.per_class(cleanliness.recognised(studied), 10)
    table = hypothesis.occlusion(hundred).query("region == 'difference'")
    # the stored cells have no numbers a picture, so the layer is chosen before its interval
    least = table.loc[table["margin"].idxmin()]
    return float(least.margin), float(least.low), float(least.high)


@claim("noise-firing-alike", MASKED)
def noise_firing_alike(studied):
    return bootstrap_of(
        lambda a: np.abs(a.mean(1)).max(),
        by_layer(hypothesis.firing(cleanliness.recognised(studied)), "lift"),
    )


@claim("noise-propagates-irrelevant", PATCHED)
def noise_propagates_irrelevant(studied):
    corner = torch.zeros_like(studied.pictures.images[:, 0], dtype=torch.bool)
    corner[:, : cleanliness.CORNER, : cleanliness.CORNER] = True
    table = hypothesis.firing(studied.altered(masks=corner), 500)
    inside, outside = (by_layer(table, column)[:2] for column in ("object", "background"))
    return bootstrap_of(lambda i, o: (i.mean(1) / o.mean(1)).min(), inside, outside)


@claim("noise-firing-explains-noise", MASKED)
def noise_firing_explains_noise(studied):
    studied = cleanliness.recognised(studied)
    rate = by_layer(hypothesis.firing(studied), "background").mean(0)
    ratio = hypothesis.brightness(cleanliness.maps(studied, "saliency"), studied.pictures.masks)
    return bootstrap_of(
        lambda a: metrics.spearman(a[0], a[1]),
        torch.stack([rate, ratio.double()]),
        resamples=1000,
    )


# --- sections 4, 5.1, 5.2 -------------------------------------------------------------------------


def at_threshold(table: pd.DataFrame, column: str, q: int) -> Tensor:
    """A column of a table with `picture` and `q` at one threshold q, [N]."""
    return torch.tensor(table[table["q"] == q].sort_values("picture")[column].to_numpy(dtype=float))


@claim("noise-q20-improves", IMAGENET)
def noise_q20_improves(studied):
    table, _ = response.sweep(studied)
    return bootstrap_of(
        np.median, at_threshold(table, "roughness", 0) / at_threshold(table, "roughness", 20)
    )


@claim("noise-q20-to-q80-unchanged", IMAGENET)
def noise_q20_to_q80_unchanged(studied):
    return bootstrap_of(np.mean, at_threshold(response.sweep(studied)[0], "like20", 80))


@claim("noise-high-regions-stay", IMAGENET)
def noise_high_regions_stay(studied):
    return bootstrap_of(np.median, at_threshold(response.sweep(studied)[0], "top20", 95))


@claim("noise-scores-mostly-zero", IMAGENET + CIFAR, 2000)
def noise_scores_mostly_zero(studied):
    pieces = []
    for start in range(0, len(studied.pictures), 20):
        activations = hypothesis.activations(
            studied.model, batch(studied, slice(start, start + 20))
        )
        pieces.append(torch.stack([(a == 0).flatten(1).double().mean(1) for a in activations]))
    return bootstrap_of(lambda a: a.mean(1).min(), torch.cat(pieces, 1))


def radius(maps: Tensor) -> Tensor:
    """Root mean square distance of |map| from its own centroid, in picture widths, [N]."""
    size = maps.abs().double()
    weight = size / size.sum((1, 2), keepdim=True).clamp(min=1e-30)
    y, x = (torch.arange(n, dtype=torch.float64) / maps.shape[-1] for n in maps.shape[1:])
    moments = (
        [(weight.sum(2) * y**k).sum(1) for k in (1, 2)],
        [(weight.sum(1) * x**k).sum(1) for k in (1, 2)],
    )
    return sum(second - first**2 for first, second in moments).clamp(min=0).sqrt()


@claim("noise-more-focused", IMAGENET)
def noise_more_focused(studied):
    maps = {m: cleanliness.maps(studied, m, batch_size=16) for m in ("rectgrad", *BASELINES)}
    radii = torch.stack(
        [
            radius(f if m == "rectgrad" else cleanliness.treat(m, f, "released"))
            for m, f in maps.items()
        ]
    )
    return bootstrap_of(lambda a: np.median(a[0]) - np.median(a[1:], 1).min(), radii)


def _off_object(
    studied: Subject, treatment: str, share: bool, methods=("rectgrad", *BASELINES)
) -> Tensor:
    """Attribution outside the mask, [methods,N]."""
    maps = cleanliness.treated(studied, treatment, methods)
    return torch.stack(
        [
            metrics.attribution_outside(f, studied.pictures.masks, share).double()
            for f in maps.values()
        ]
    )


@claim("noise-background-clean", MASKED)
def noise_background_clean(studied):
    return bootstrap_of(
        lambda a: np.median(a[0]),
        _off_object(cleanliness.recognised(studied), "none", True, ("rectgrad",)),
    )


@claim("noise-threshold-cannot-replicate", MASKED)
def noise_threshold_cannot_replicate(studied):
    return bootstrap_of(
        lambda a: np.median(a[1:], 1).min() - np.median(a[0]),
        _off_object(cleanliness.recognised(studied), "matched", True),
    )


def _log_ratio(studied: Subject, method: str) -> Tensor:
    """Logarithm of background over object, layer 0 (the input) first, [layers,N]."""
    table = response.accumulation(cleanliness.recognised(studied)).query("method == @method")
    return by_layer(table, "ratio").log()


@claim("noise-grows-exponentially", MASKED)
def noise_grows_exponentially(studied):
    return bootstrap_of(
        lambda a: np.exp((a[:-1] - a[1:]).mean(1).min()), _log_ratio(studied, "saliency")
    )


@claim("noise-rectgrad-stops-accumulation", MASKED)
def noise_rectgrad_stops_accumulation(studied):
    def slope(a):  # per layer towards the input
        steps = -np.arange(len(a), dtype=float)
        return (steps - steps.mean()) @ a / ((steps - steps.mean()) ** 2).sum()

    return bootstrap_of(
        lambda r, s: (slope(r) - slope(s)).mean(),
        _log_ratio(studied, "rectgrad"),
        _log_ratio(studied, "saliency"),
    )


def _attacked(studied: Subject) -> tuple[Tensor, Tensor]:
    """Correlations before and after the attack, and whether the prediction changed.

    The first [methods,N], RectGrad first; the second [N].
    """
    table = response.adversarial(studied)
    by_method = table.pivot_table(index="method", columns="picture", values="correlation")
    like = by_method.loc[["rectgrad", *BASELINES]]
    of_rectgrad = table[table["method"] == "rectgrad"].sort_values("picture")
    return (
        torch.tensor(like.to_numpy(dtype=float)),
        torch.tensor(of_rectgrad["changed"].to_numpy(dtype=float)),
    )


@claim("noise-only-rectgrad-follows-class", IMAGENET)
def noise_only_rectgrad_follows_class(studied):
    def gap(a, changed):
        kept = changed < 0.5
        if kept.all() or not kept.any():  # a resample without one of the two groups has no gap
            return np.nan
        gaps = a[:, kept].mean(1) - a[:, ~kept].mean(1)
        return gaps[0] - gaps[1:].max()

    return bootstrap_of(gap, *_attacked(studied))


@claim("noise-equally-class-sensitive", IMAGENET)
def noise_equally_class_sensitive(studied):
    like, changed = _attacked(studied)
    return bootstrap_of(lambda a: a[0].mean() - a[1:].mean(1).min(), like[:, changed > 0.5])


@claim("noise-overcomes-insensitivity", IMAGENET)
def noise_overcomes_insensitivity(studied):
    table = response.second_class(studied, ("rectgrad", "guided_backprop")).pivot_table(
        index="method", columns="picture", values="correlation"
    )
    return bootstrap_of(
        np.mean,
        torch.tensor((table.loc["rectgrad"] - table.loc["guided_backprop"]).to_numpy(dtype=float)),
    )


# --- section 5.3 ----------------------------------------------------------------------------------


def _in_patch(studied: Subject, share: bool, methods=cleanliness.COMPARED) -> Tensor:
    return torch.stack(
        [
            cleanliness.amount("patch", f, None, share).double()
            for f in cleanliness.treated(studied, "released", methods).values()
        ]
    )


@claim("noise-prr-least-in-patch", PATCHED)
def noise_prr_least_in_patch(studied):
    return bootstrap_of(
        lambda a: a[1].mean() - np.delete(a.mean(1), 1).min(), _in_patch(studied, False)
    )


@claim("noise-prr-least-in-patch-share", PATCHED)
def noise_prr_least_in_patch_share(studied):
    return bootstrap_of(
        lambda a: a[1].mean() - np.delete(a.mean(1), 1).min(), _in_patch(studied, True)
    )


@claim("noise-deeplift-similar-in-patch", PATCHED)
def noise_deeplift_similar_in_patch(studied):
    return bootstrap_of(
        lambda a: abs(a[0].mean() - a[1].mean()), _in_patch(studied, True, ("rectgrad", "deeplift"))
    )


@claim("noise-others-nontrivial-in-patch", PATCHED)
def noise_others_nontrivial_in_patch(studied):
    return bootstrap_of(
        lambda a: a.mean(1).min(),
        _in_patch(studied, True, [m for m in BASELINES if m != "deeplift"]),
    )


@claim("noise-least-on-background", MASKED)
def noise_least_on_background(studied):
    return bootstrap_of(
        lambda a: a[0].mean() / a[1:].mean(1).min(),
        _off_object(cleanliness.recognised(studied), "released", False),
    )


@claim("noise-least-on-background-share", MASKED)
def noise_least_on_background_share(studied):
    return bootstrap_of(
        lambda a: a[0].mean() - a[1:].mean(1).min(),
        _off_object(cleanliness.recognised(studied), "released", True),
    )


def variation_ratio(studied: Subject, scaled: bool) -> Measured:
    """RectGrad's median total variation over the least median of a baseline."""
    maps = cleanliness.treated(studied, "released", ("rectgrad", *BASELINES))
    values = torch.stack(
        [cleanliness.amount("variation", f, None, scaled).double() for f in maps.values()]
    )
    if scaled:
        values[values == 0] = torch.nan  # maps that are zero everywhere have no scale
    return bootstrap_of(
        lambda a: np.nanmedian(a[0]) / np.nanmedian(a[1:], 1).min(), values, resamples=1000
    )


@claim("noise-least-total-variation", CIFAR)
def noise_least_total_variation(studied):
    return variation_ratio(studied, False)


@claim("noise-least-total-variation-scaled", CIFAR)
def noise_least_total_variation_scaled(studied):
    return variation_ratio(studied, True)


# --- appendices B.4 and C -------------------------------------------------------------------------


@claim("noise-modified-rule-fails", MASKED)
def noise_modified_rule_fails(studied):
    studied = cleanliness.recognised(studied)

    def inside(rule):
        maps = studied.over_batches(
            lambda x: cleanliness.channel_sums(studied, "rectgrad", x, rule=rule), 250
        )
        return 1 - metrics.attribution_outside(maps, studied.pictures.masks, True)

    return bootstrap_of(np.median, inside("PR1") - inside("PR1+PR2"))


@claim("noise-border-outliers", IMAGENET + CIFAR, 2000)
def noise_border_outliers(studied):
    return bootstrap_of(
        np.mean,
        torch.tensor(response.border(studied, settings=("off",))["ring"].to_numpy(dtype=float)),
    )


@claim("noise-border-not-faint", MASKED)
def noise_border_not_faint(studied):
    studied = cleanliness.recognised(studied)
    edge = torch.ones_like(studied.pictures.masks[0])
    edge[2:-2, 2:-2] = False
    near, far = studied.pictures.masks & edge, studied.pictures.masks & ~edge
    reaches = near.flatten(1).any(1) & far.flatten(1).any(1)

    def means(method):
        size = cleanliness.maps(studied, method).abs()
        return torch.stack(
            [(size * part).sum((1, 2)) / part.sum((1, 2)).clamp(min=1) for part in (near, far)]
        )[:, reaches].double()

    return bootstrap_of(
        lambda r, g: (r[0].sum() / r[1].sum()) / (g[0].sum() / g[1].sum()),
        means("rectgrad"),
        means("input_x_gradient"),
    )


@claim("noise-prr-smoother", CIFAR + IMAGENET[:1])
def noise_prr_smoother(studied):
    size = 16 if "imagenet" in studied.weights else 250

    def variation(method):
        maps = cleanliness.maps(studied, method, batch_size=size)
        return cleanliness.amount("variation", maps, None, True)

    prr, plain = variation("rectgrad_prr"), variation("rectgrad")
    return bootstrap_of(np.nanmedian, prr / torch.where(plain > 0, plain, torch.nan))


# --- the account ----------------------------------------------------------------------------------


def listed() -> pd.DataFrame:
    """The claims as they were fixed.

    Columns id, paper, section, quotation, statistic, holds_if, experiment.
    """
    return pd.read_csv(LIST)


# --- paper Noise: ROAR and KAR --------------------------------------------------------------------


@lru_cache
def retrained_flags(
    weights_hash: str, folder, protocol: Protocol
) -> dict[tuple[str, str, int], np.ndarray]:
    """`retraining_tables.flags` of these weights, read once."""
    return retraining_tables.flags(protocol, current=weights_hash)


def judged_retraining() -> tuple[Protocol, dict[tuple[str, str, int], np.ndarray]]:
    """The protocol that ROAR and KAR are judged by, and the flags of its retrained networks.

    The paper's own where two seeds of every method of Table 1 are stored, else the short one.
    """
    for protocol in (retraining.FULL, retraining.SHORT):
        flags = retrained_flags(_hash(*CIFAR[0][1:]), cells.RESULTS, protocol)
        if len(_whole_seeds(flags)) > 1:
            break
    return protocol, flags


def _whole_seeds(flags: dict, methods: tuple[str, ...] = retraining.PRINTED) -> list[int]:
    """Seeds with a whole curve of each of these methods, under ROAR and under KAR."""
    return sorted(
        seed
        for seed in {seed for *_, seed in flags}
        if all((m, mode, seed) in flags for m in methods for mode in retraining.MODES)
    )


def retrained_seeds() -> list[int]:
    """Seeds with a whole curve of every method of Table 1."""
    return _whole_seeds(judged_retraining()[1])


def _removed() -> list[str]:
    """The published methods by which pixels were removed and networks retrained."""
    flags = judged_retraining()[1]
    known = {method for method, mode, _ in flags if mode == "roar"}
    ours = retraining.PRINTED + retraining.ADDED
    return [m for m in ours if m in attribution.METHODS and m in known]


def _rectgrad_less(
    mode: str, rivals: tuple[str, ...], seeds: list[int], resamples: int = 1000
) -> Measured:
    """Area of RectGrad less the least of its rivals'.

    Resampled over seeds and, alike in all networks, over test pictures.
    """
    (_, right), weights = judged_retraining(), retraining_tables.weights_of_span()

    def areas(method):  # of each seed and picture, whose mean is the area: [seeds,N]
        under = np.stack([weights @ right[method, mode, seed] for seed in seeds])
        return torch.from_numpy(under if mode == "roar" else 1 - under)

    of_methods = [areas(method) for method in ("rectgrad", *rivals)]
    means, drawn = plain_means(of_methods), resampled_means(of_methods, resamples)
    low, high = percentile_interval(drawn[:, 0] - drawn[:, 1:].min(1))
    return float(means[0] - means[1:].min()), float(low), float(high)


@claim("noise-roar-best", CIFAR)
def noise_roar_best(studied, *, seeds, epochs):
    return _rectgrad_less("roar", BASELINES, seeds)


@claim("noise-kar-best", CIFAR)
def noise_kar_best(studied, *, seeds, epochs):
    return _rectgrad_less("kar", BASELINES, seeds)


@claim("noise-kar-largely", CIFAR)
def noise_kar_largely(studied, *, seeds, epochs):
    return _rectgrad_less("kar", BASELINES, seeds)


@claim("noise-roar-beats-random", CIFAR)
def noise_roar_beats_random(studied, *, seeds, epochs):
    return _rectgrad_less("roar", ("random",), seeds)


@claim("sign-retraining-misleads", CIFAR, 2_000)
def sign_retraining_misleads(studied, *, seeds, epochs, methods):
    """Spearman's correlation over methods of ROAR's area with that under black deletion.

    Both are resampled. `seeds`, those with whole curves, and `epochs`, of a retrained network, tell
    one state of the grid from another.
    """
    _, flags = judged_retraining()
    retrained = synthesis.retrained(studied, flags)["roar"]
    study = synthesis.study(
        studied.pictures.name, studied.model_name, count=len(studied.pictures), stored=True
    )
    deleted = synthesis.measured(study, methods, ("curves",))["black_deletion"]
    sides = [[retrained[m] for m in methods], [deleted[m] for m in methods]]
    # methods with as many seeds were retrained from the same ones
    drawn = [
        resampled_means(side, 1000, k, seeds_of=[len(of_method) for of_method in side])
        for k, side in enumerate(sides)
    ]
    low, high = percentile_interval(spearman_rows(*drawn))
    return metrics.spearman(*map(plain_means, sides)), float(low), float(high)


def measure(
    names: list[str] | None = None, only: list[str] | None = None, log: Callable = print
) -> None:
    """Measure the claims that have no stored value for the committed weights.

    Every claim in `names` on the networks in `only`; default all.
    """
    for name in names or list(MEASURES):
        measured_on, statistic, count = MEASURES[name]
        if name in RETRAINED and len(retrained_seeds()) < 2:
            log(f"{name}  waits for two seeds of every retraining")
            continue
        for dataset, model, weights in with_weights(measured_on):
            if only is not None and model not in only:
                continue
            pictures = count.get(dataset) if isinstance(count, dict) else count
            studied = subject(dataset, model, weights, count=pictures, stored=True)
            row = statistic(studied, **further_key(name))
            interval = f"{row['value']:.4f} ({row['low']:.4f} to {row['high']:.4f})"
            log(f"{name}  {studied.title}  {interval}")


def further_key(name: str) -> dict:
    """What else keys a number: of several networks which; of ROAR and KAR seeds and epochs."""
    if name in RETRAINED:
        key = {"seeds": retrained_seeds(), "epochs": judged_retraining()[0].epochs}
        return key | ({"methods": _removed()} if name == "sign-retraining-misleads" else {})
    if name in TOGETHER:
        trained = with_weights(TOGETHER[name])
        return {"together": [" ".join((*net, _hash(*net[1:]))) for net in trained]}
    return {}


def judge(condition: str, low: float, high: float) -> str:
    """ "holds", "does not hold" or "depends": an interval under a condition such as "high < 0"."""
    try:
        end, relation, limit = condition.split()
        limit = float(limit)
    except ValueError:
        end = relation = None
    if (end, relation) not in {("high", "<"), ("low", ">")}:
        raise ValueError(
            f"condition {condition!r} cannot be read; "
            "accepted are 'high < NUMBER' and 'low > NUMBER'."
        )
    if end == "high":
        inside, outside = high < limit, low >= limit
    else:
        inside, outside = low > limit, high <= limit
    if inside:
        return "holds"
    return "does not hold" if outside else "depends"


@lru_cache
def _hash(model: str, weights: str) -> str:
    """Fingerprint of the weights as they are now: what was measured on others does not count."""
    return networks.fingerprint(networks.load(model, weights))


def network_name(dataset: str, model: str, weights: str) -> str:
    if dataset == "imagenette":
        return f"{model}, Imagenette"
    return model if weights in (dataset, "imagenet", "cifar10") else f"{model} ({weights})"


def _measured(name: str) -> Iterator[tuple[str, dict]]:
    """(network, row) for every network of a claim, in their order.

    The row is empty where it has not been measured.
    """
    if name not in MEASURES:
        return
    stored = cells.of(f"claims/{name}")
    for dataset, model, weights in with_weights(MEASURES[name][0]):
        wanted = {"dataset": dataset, "model": model, "weights": weights, **further_key(name)}
        row = {}
        for cell in stored:
            parameters = cell["parameters"]
            current = parameters["weights_hash"] == _hash(model, weights)
            if current and wanted.items() <= parameters.items():
                row = {**cell["rows"][0], "n": parameters["n"]}
                break
        together = wanted.get("together", [])
        if len(together) > 1:  # of several data sets, whose pictures have no one number
            row.pop("n", None)
            yield f"the least of {len(together)} networks", row
        else:
            yield network_name(dataset, model, weights), row


def table() -> pd.DataFrame:
    """One row a claim and network.

    The list's columns, network, n, value, low, high, verdict (of the claim over all of its
    networks; none while one of them is not measured).
    """
    rows = []
    for claim in listed().to_dict("records"):
        measured = list(_measured(claim["id"]))
        verdicts = {judge(claim["holds_if"], row["low"], row["high"]) for _, row in measured if row}
        if not verdicts or not all(row for _, row in measured):
            verdict = ""
        elif len(verdicts) == 1:
            verdict = verdicts.pop()
        else:
            verdict = "depends"
        for network, row in measured:
            rounded = {k: round(v, 4) for k, v in row.items()}
            rows.append({**claim, "network": network, **rounded, "verdict": verdict})
        if not measured:
            rows.append({**claim, "verdict": ""})
    columns = [*listed().columns, "network", "n", "value", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns).astype({"n": "Int64"})
