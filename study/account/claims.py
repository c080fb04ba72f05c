"""The claims that the papers make in words.

data/claims.csv fixed a statistic and a threshold for each before it was measured. `measure`
computes what has no stored value yet, `table` joins the stored values with the list and applies the
rule: a claim holds on a network if its whole interval meets the condition, does not hold if none of
it does; it depends where an interval straddles the threshold or networks differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib import attribution, metrics
from lib.metrics import PAPER_FRACTIONS, bootstrap_of
from study.experiments import (
    cleanliness,
    deletion,
    hypothesis,
    ranking,
    response,
    retraining,
    retraining_tables,
    synthesis,
)
from study.experiments.cleanliness import BASELINES
from study.experiments.deletion import SCORED
from study.store import results
from study.subjects import networks
from study.subjects.sources import ROOT, patched
from study.subjects.subject import Subject, batch, batch_size, subject

LIST = ROOT / "data" / "claims.csv"
CSV = results.RESULTS / "claims.csv"
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
MEASURES: dict[str, tuple[list, Callable[[Subject], Measured], int | dict[str, int] | None]] = {}
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


def _claim(name: str, networks: list, count: int | dict[str, int] | None = None):
    """Register the statistic of a claim.

    With the (dataset, model, weights) it is measured on, and how many pictures (of each dataset).
    """

    def register(function):
        MEASURES[name] = networks, function, count
        return function

    return register


def _trained(wanted: list) -> list:
    """Those whose weights are here."""
    return [
        net
        for net in wanted
        if net[2] == "imagenet" or (networks.WEIGHTS / f"{net[1]}-{net[2]}.safetensors").is_file()
    ]


# --- paper Sign -----------------------------------------------------------------------------------


def _areas(who: Subject, pairs=deletion.PRINTED_PAIRS) -> np.ndarray:
    """Area under every picture's own allegiance curve, [pairs,N], from the stored flags."""
    found = deletion.allegiances(who, pairs=pairs, stored=True)
    return np.stack([metrics.auc(PAPER_FRACTIONS, found[pair]).double().numpy() for pair in pairs])


@_claim("sign-black-faster", SIGN_NETS)
def _(who):
    return bootstrap_of(
        lambda a: (a[1:3].mean(1) - a[0].mean()).max(), torch.from_numpy(_areas(who))
    )


@_claim("sign-white-faster", SIGN_NETS)
def _(who):
    return bootstrap_of(
        lambda a: (a[4:].mean(1) - a[3].mean()).max(), torch.from_numpy(_areas(who))
    )


@_claim("sign-flat-after-50", SIGN_NETS)
def _(who):
    found = deletion.allegiances(who, stored=True)
    fall = torch.stack(
        [
            found[pair][PAPER_FRACTIONS.index(0.5)].double() - found[pair][-1].double()
            for pair in (("active", "black"), ("inactive", "white"))
        ]
    )
    return bootstrap_of(lambda a: a.mean(1).max(), fall)


@_claim("sign-flat-after-80", SIGN_NETS, SCORED)
def _(who):
    found = deletion.signed_maps(who, batch_size(who))
    share = torch.stack(
        [(found[m] != 0).flatten(1).double().mean(1) for m in ("positive", "negative")]
    )
    return bootstrap_of(lambda a: a.mean(1).max(), share)


@_claim("sign-positive-sometimes-better", SIGN_NETS[:1])
def _(who):
    pairs = [
        ("positive", "black"),
        ("active", "black"),
        ("negative", "white"),
        ("inactive", "white"),
    ]
    studied = (who, *(subject(*net) for net in _trained(SIGN_NETS)[1:]))
    areas = [torch.from_numpy(_areas(each, pairs)) for each in studied]

    def least_gain(*areas):
        gains = []
        for positive, active, negative, inactive in areas:
            gains += [(positive - active).mean(), (negative - inactive).mean()]
        return min(gains)

    return bootstrap_of(least_gain, *areas)


@_claim("sign-train-similar", SIGN_CIFAR)
def _(who):
    count = {"resnet18": 10_000}.get(who.model_name)
    train = subject("cifar10", who.model_name, who.weights, split="train", count=count)
    here, there = _areas(who), _areas(train)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(1000):
        # the order of the two draws is part of the stored values
        there_again = there[:, rng.integers(there.shape[1], size=there.shape[1])].mean(1)
        here_again = here[:, rng.integers(here.shape[1], size=here.shape[1])].mean(1)
        drawn.append(np.abs(there_again - here_again).max())
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.abs(there.mean(1) - here.mean(1)).max()), float(low), float(high)


def _logit_change(who: Subject, name: str, fill: str, sign: int = 1) -> Measured:
    curves = deletion.score_curves(who, stored=True)
    row = curves.query("map == @name and fill == @fill and fraction == .1").iloc[0]
    low, high = sorted((sign * row.logit_low, sign * row.logit_high))
    return float(sign * row.logit), float(low), float(high)


@_claim("sign-white-improves-positive", SIGN_NETS, SCORED)
def _(who):
    return min(_logit_change(who, name, "white") for name in ("positive", "active"))


@_claim("sign-opposite-for-negative", SIGN_NETS, SCORED)
def _(who):
    return min(
        _logit_change(who, name, fill, sign)
        for name in ("negative", "inactive")
        for fill, sign in (("black", 1), ("white", -1))
    )


@_claim("sign-black-harms-positive", SIGN_NETS)
def _(who):
    found = deletion.allegiances(who, stored=True)
    kept = max(
        (found[name, "black"][PAPER_FRACTIONS.index(0.1)] for name in ("positive", "active")),
        key=lambda flags: int(flags.sum()),
    )
    return kept.double().mean().item(), *metrics.wilson(int(kept.sum()), len(kept))


@_claim("sign-active-step-further", SIGN_NETS, SCORED)
def _(who):
    found = deletion.signed_maps(who, batch_size(who))

    def rise(name, fill):
        _, probability, _ = deletion.deletion_scores(
            who, found[name], fill, 1.0, batch_size(who), (0, 0.1)
        )
        return probability[1] - probability[0]

    gain = torch.stack(
        [
            rise("active", "white") - rise("positive", "white"),
            rise("inactive", "black") - rise("negative", "black"),
        ]
    )
    return bootstrap_of(lambda a: a.mean(1).min(), gain)


@_claim("sign-less-noise", SIGN_NETS, SCORED)
def _(who):
    variation = {
        name: metrics.total_variation(attribution.normalize(found))
        for name, found in deletion.signed_maps(who, batch_size(who)).items()
    }
    ratio = torch.stack(
        [
            variation[name] / variation["original"]
            for name in ("positive", "negative", "active", "inactive")
        ]
    )
    return bootstrap_of(lambda a: np.median(a, 1).max(), ratio)


@_claim(
    "sign-shape-more-defined",
    [("cifar10_masks", "basic_cnn", "cifar10"), ("cifar10_masks", "resnet18", "cifar10")],
)
def _(who):
    inside = {
        name: 1 - metrics.attribution_outside(found, who.pictures.masks, share=True)
        for name, found in deletion.signed_maps(who).items()
    }
    gain = torch.stack(
        [
            inside[name] - inside["original"]
            for name in ("positive", "negative", "active", "inactive")
        ]
    )
    return bootstrap_of(lambda a: a.mean(1).min(), gain)


# --- paper Noise: the hypothesis ------------------------------------------------------------------


def _right(who: Subject) -> Tensor:
    return (deletion.predictions(who) == who.pictures.labels).double()


@_claim("noise-patch-accuracy", CIFAR)
def _(who):
    return bootstrap_of(
        lambda a: (a[0] - a[1]).mean(), torch.stack([_right(who), _right(subject(*PATCHED[0]))])
    )


@_claim("noise-patch-saliency-nonzero", PATCHED)
def _(who):
    maps = cleanliness.maps(who, "saliency", stored=True)
    high = int((cleanliness.amount("patch", maps, None, True) > 0.001).sum())
    return high / len(who.pictures), *metrics.wilson(high, len(who.pictures))


@_claim("noise-patch-untruthful", PATCHED)
def _(who):
    fresh = who._replace(pictures=patched(who.pictures, seed=1))
    same = int((deletion.predictions(who) == deletion.predictions(fresh)).sum())
    return same / len(who.pictures), *metrics.wilson(same, len(who.pictures))


def _by_layer(table: pd.DataFrame, column: str) -> Tensor:
    """A column of a table with `picture` and `layer`, as [layers,N]."""
    return torch.tensor(
        table.pivot_table(index="layer", columns="picture", values=column).to_numpy(dtype=float)
    )


@_claim("noise-object-larger-impact", MASKED)
def _(who):
    hundred = cleanliness.per_class(cleanliness.correct(who), 10)
    table = hypothesis.occlusion(hundred, stored=True).query("region == 'difference'")
    least = table.loc[table["margin"].idxmin()]
    return float(least.margin), float(least.low), float(least.high)


@_claim("noise-firing-alike", MASKED)
def _(who):
    return bootstrap_of(
        lambda a: np.abs(a.mean(1)).max(),
        _by_layer(hypothesis.firing(cleanliness.correct(who)), "lift"),
    )


@_claim("noise-propagates-irrelevant", PATCHED)
def _(who):
    corner = torch.zeros_like(who.pictures.images[:, 0], dtype=torch.bool)
    corner[:, : cleanliness.CORNER, : cleanliness.CORNER] = True
    table = hypothesis.firing(who.altered(masks=corner), 500)
    inside, outside = (_by_layer(table, column)[:2] for column in ("object", "background"))
    return bootstrap_of(lambda i, o: (i.mean(1) / o.mean(1)).min(), inside, outside)


@_claim("noise-firing-explains-noise", MASKED)
def _(who):
    who = cleanliness.correct(who)
    rate = _by_layer(hypothesis.firing(who), "background").mean(0)
    ratio = hypothesis.brightness(cleanliness.maps(who, "saliency"), who.pictures.masks)
    return bootstrap_of(
        lambda a: pd.Series(a[0]).corr(pd.Series(a[1]), method="spearman"),
        torch.stack([rate, ratio.double()]),
        resamples=1000,
    )


# --- sections 4, 5.1, 5.2 -------------------------------------------------------------------------


def _at(table: pd.DataFrame, column: str, q: int) -> Tensor:
    return torch.tensor(table[table["q"] == q].sort_values("picture")[column].to_numpy(dtype=float))


@_claim("noise-q20-improves", IMAGENET)
def _(who):
    table, _ = response.sweep(who, stored=True)
    return bootstrap_of(np.median, _at(table, "roughness", 0) / _at(table, "roughness", 20))


@_claim("noise-q20-to-q80-unchanged", IMAGENET)
def _(who):
    return bootstrap_of(np.mean, _at(response.sweep(who, stored=True)[0], "like20", 80))


@_claim("noise-high-regions-stay", IMAGENET)
def _(who):
    return bootstrap_of(np.median, _at(response.sweep(who, stored=True)[0], "top20", 95))


@_claim("noise-scores-mostly-zero", IMAGENET + CIFAR, 2000)
def _(who):
    pieces = []
    for start in range(0, len(who.pictures), 20):
        found = hypothesis.activations(who.model, batch(who, slice(start, start + 20)))
        pieces.append(torch.stack([(a == 0).flatten(1).double().mean(1) for a in found]))
    return bootstrap_of(lambda a: a.mean(1).min(), torch.cat(pieces, 1))


def _radius(found: Tensor) -> Tensor:
    """Root mean square distance of |map| from its own centroid, in picture widths, [N]."""
    size = found.abs().double()
    weight = size / size.sum((1, 2), keepdim=True).clamp(min=1e-30)
    y, x = (torch.arange(n, dtype=torch.float64) / found.shape[-1] for n in found.shape[1:])
    moments = (
        [(weight.sum(2) * y**k).sum(1) for k in (1, 2)],
        [(weight.sum(1) * x**k).sum(1) for k in (1, 2)],
    )
    return sum(second - first**2 for first, second in moments).clamp(min=0).sqrt()


@_claim("noise-more-focused", IMAGENET)
def _(who):
    found = {
        m: cleanliness.maps(who, m, batch_size=16, stored=True) for m in ("rectgrad", *BASELINES)
    }
    radii = torch.stack(
        [
            _radius(f if m == "rectgrad" else cleanliness.treat(m, f, "released"))
            for m, f in found.items()
        ]
    )
    return bootstrap_of(lambda a: np.median(a[0]) - np.median(a[1:], 1).min(), radii)


def _off_object(
    who: Subject, treatment: str, share: bool, methods=("rectgrad", *BASELINES)
) -> Tensor:
    """Attribution outside the mask, [methods,N]."""
    found = cleanliness.treated(who, treatment, methods, stored=True)
    return torch.stack(
        [metrics.attribution_outside(f, who.pictures.masks, share).double() for f in found.values()]
    )


@_claim("noise-background-clean", MASKED)
def _(who):
    return bootstrap_of(
        lambda a: np.median(a[0]),
        _off_object(cleanliness.correct(who), "none", True, ("rectgrad",)),
    )


@_claim("noise-threshold-cannot-replicate", MASKED)
def _(who):
    return bootstrap_of(
        lambda a: np.median(a[1:], 1).min() - np.median(a[0]),
        _off_object(cleanliness.correct(who), "matched", True),
    )


def _log_ratio(who: Subject, method: str) -> Tensor:
    """Logarithm of background over object, layer 0 (the input) first, [layers,N]."""
    table = response.accumulation(cleanliness.correct(who)).query("method == @method")
    return _by_layer(table, "ratio").log()


@_claim("noise-grows-exponentially", MASKED)
def _(who):
    return bootstrap_of(
        lambda a: np.exp((a[:-1] - a[1:]).mean(1).min()), _log_ratio(who, "saliency")
    )


@_claim("noise-rectgrad-stops-accumulation", MASKED)
def _(who):
    def slope(a):  # per layer towards the input
        steps = -np.arange(len(a), dtype=float)
        return (steps - steps.mean()) @ a / ((steps - steps.mean()) ** 2).sum()

    return bootstrap_of(
        lambda r, s: (slope(r) - slope(s)).mean(),
        _log_ratio(who, "rectgrad"),
        _log_ratio(who, "saliency"),
    )


def _attacked(who: Subject) -> tuple[Tensor, Tensor]:
    """Correlations before and after the attack, and whether the prediction changed.

    The first [methods,N], RectGrad first; the second [N].
    """
    table = response.adversarial(who, stored=True)
    by_method = table.pivot_table(index="method", columns="picture", values="correlation")
    like = by_method.loc[["rectgrad", *BASELINES]]
    of_rectgrad = table[table["method"] == "rectgrad"].sort_values("picture")
    return (
        torch.tensor(like.to_numpy(dtype=float)),
        torch.tensor(of_rectgrad["changed"].to_numpy(dtype=float)),
    )


@_claim("noise-only-rectgrad-follows-class", IMAGENET)
def _(who):
    def gap(a, changed):
        kept = changed < 0.5
        if kept.all() or not kept.any():  # a resample without one of the two groups has no gap
            return np.nan
        gaps = a[:, kept].mean(1) - a[:, ~kept].mean(1)
        return gaps[0] - gaps[1:].max()

    return bootstrap_of(gap, *_attacked(who))


@_claim("noise-equally-class-sensitive", IMAGENET)
def _(who):
    like, changed = _attacked(who)
    return bootstrap_of(lambda a: a[0].mean() - a[1:].mean(1).min(), like[:, changed > 0.5])


@_claim("noise-overcomes-insensitivity", IMAGENET)
def _(who):
    table = response.second_class(who, ("rectgrad", "guided_backprop")).pivot_table(
        index="method", columns="picture", values="correlation"
    )
    return bootstrap_of(
        np.mean,
        torch.tensor((table.loc["rectgrad"] - table.loc["guided_backprop"]).to_numpy(dtype=float)),
    )


# --- section 5.3 ----------------------------------------------------------------------------------


def _in_patch(who: Subject, share: bool, methods=cleanliness.COMPARED) -> Tensor:
    return torch.stack(
        [
            cleanliness.amount("patch", f, None, share).double()
            for f in cleanliness.treated(who, "released", methods, stored=True).values()
        ]
    )


@_claim("noise-prr-least-in-patch", PATCHED)
def _(who):
    return bootstrap_of(
        lambda a: a[1].mean() - np.delete(a.mean(1), 1).min(), _in_patch(who, False)
    )


@_claim("noise-prr-least-in-patch-share", PATCHED)
def _(who):
    return bootstrap_of(lambda a: a[1].mean() - np.delete(a.mean(1), 1).min(), _in_patch(who, True))


@_claim("noise-deeplift-similar-in-patch", PATCHED)
def _(who):
    return bootstrap_of(
        lambda a: abs(a[0].mean() - a[1].mean()), _in_patch(who, True, ("rectgrad", "deeplift"))
    )


@_claim("noise-others-nontrivial-in-patch", PATCHED)
def _(who):
    return bootstrap_of(
        lambda a: a.mean(1).min(), _in_patch(who, True, [m for m in BASELINES if m != "deeplift"])
    )


@_claim("noise-least-on-background", MASKED)
def _(who):
    return bootstrap_of(
        lambda a: a[0].mean() / a[1:].mean(1).min(),
        _off_object(cleanliness.correct(who), "released", False),
    )


@_claim("noise-least-on-background-share", MASKED)
def _(who):
    return bootstrap_of(
        lambda a: a[0].mean() - a[1:].mean(1).min(),
        _off_object(cleanliness.correct(who), "released", True),
    )


def _variation(who: Subject, scaled: bool) -> Measured:
    found = cleanliness.treated(who, "released", ("rectgrad", *BASELINES), stored=True)
    values = torch.stack(
        [cleanliness.amount("variation", f, None, scaled).double() for f in found.values()]
    )
    if scaled:
        values[values == 0] = torch.nan  # maps that are zero everywhere have no scale
    return bootstrap_of(
        lambda a: np.nanmedian(a[0]) / np.nanmedian(a[1:], 1).min(), values, resamples=1000
    )


@_claim("noise-least-total-variation", CIFAR)
def _(who):
    return _variation(who, False)


@_claim("noise-least-total-variation-scaled", CIFAR)
def _(who):
    return _variation(who, True)


# --- appendices B.4 and C -------------------------------------------------------------------------


@_claim("noise-modified-rule-fails", MASKED)
def _(who):
    who = cleanliness.correct(who)

    def inside(rule):
        maps = deletion.over_batches(
            who, lambda x: cleanliness.channel_sums(who, "rectgrad", x, rule=rule), 250
        )
        return 1 - metrics.attribution_outside(maps, who.pictures.masks, True)

    return bootstrap_of(np.median, inside("PR1") - inside("PR1+PR2"))


@_claim("noise-border-outliers", IMAGENET + CIFAR, 2000)
def _(who):
    return bootstrap_of(
        np.mean, torch.tensor(response.border(who, settings=("off",))["ring"].to_numpy(dtype=float))
    )


@_claim("noise-border-not-faint", MASKED)
def _(who):
    who = cleanliness.correct(who)
    edge = torch.ones_like(who.pictures.masks[0])
    edge[2:-2, 2:-2] = False
    near, far = who.pictures.masks & edge, who.pictures.masks & ~edge
    reaches = near.flatten(1).any(1) & far.flatten(1).any(1)

    def means(method):
        size = cleanliness.maps(who, method).abs()
        return torch.stack(
            [(size * part).sum((1, 2)) / part.sum((1, 2)).clamp(min=1) for part in (near, far)]
        )[:, reaches].double()

    return bootstrap_of(
        lambda r, g: (r[0].sum() / r[1].sum()) / (g[0].sum() / g[1].sum()),
        means("rectgrad"),
        means("input_x_gradient"),
    )


@_claim("noise-prr-smoother", CIFAR + IMAGENET[:1])
def _(who):
    size = 16 if "imagenet" in who.weights else 250

    def variation(method):
        maps = cleanliness.maps(who, method, batch_size=size, stored=True)
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
def _flags(weights_hash: str, folder) -> dict[tuple[str, str, int], np.ndarray]:
    """`retraining_tables.flags` of these weights, read once."""
    return retraining_tables.flags(current=weights_hash)


def _current_flags() -> dict[tuple[str, str, int], np.ndarray]:
    return _flags(_hash(*CIFAR[0][1:]), results.RESULTS)


def _retrained_seeds() -> list[int]:
    """Seeds with a whole curve of every method of Table 1, under ROAR and under KAR."""
    flags = _current_flags()
    return sorted(
        seed
        for seed in {seed for *_, seed in flags}
        if all((m, mode, seed) in flags for m in retraining.PRINTED for mode in retraining.MODES)
    )


def _rectgrad_less(mode: str, rivals: tuple[str, ...], resamples: int = 1000) -> Measured:
    """Area of RectGrad less the least of its rivals'.

    Resampled over seeds and, alike in all networks, over test pictures.
    """
    current, seeds = _current_flags(), _retrained_seeds()
    # [methods,seeds,fractions,N]
    flags = np.stack([[current[m, mode, s] for s in seeds] for m in ("rectgrad", *rivals)])
    flags = flags.astype(np.float32)
    weights = retraining_tables.weights_of_span()
    rng, drawn = np.random.default_rng(0), []

    def statistic(accuracy):  # [methods,seeds,fractions]
        area = accuracy.mean(1) @ weights
        area = area if mode == "roar" else 1 - area
        return float(area[0] - area[1:].min())

    pictures = flags.shape[3]
    for _ in range(resamples):
        counts = rng.multinomial(pictures, np.full(pictures, 1 / pictures))
        shares = counts.astype(np.float32) / pictures
        seeds_again = rng.integers(len(seeds), size=len(seeds))
        drawn.append(statistic((flags @ shares)[:, seeds_again]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return statistic(flags.mean(3)), float(low), float(high)


@_claim("noise-roar-best", CIFAR)
def _(who):
    return _rectgrad_less("roar", BASELINES)


@_claim("noise-kar-best", CIFAR)
def _(who):
    return _rectgrad_less("kar", BASELINES)


@_claim("noise-kar-largely", CIFAR)
def _(who):
    return _rectgrad_less("kar", BASELINES)


@_claim("noise-roar-beats-random", CIFAR)
def _(who):
    return _rectgrad_less("roar", ("random",))


@_claim("sign-retraining-misleads", CIFAR, 2_000)
def _(who):
    """Spearman's correlation over methods of ROAR's area with that under black deletion.

    Both are resampled.
    """
    retrained = synthesis.retrained(who)["roar"]
    methods = [
        m
        for m in retraining.PRINTED + retraining.ADDED
        if m in attribution.METHODS and m in retrained
    ]
    study = synthesis.study(who.pictures.name, who.model_name, count=len(who.pictures))
    deleted = synthesis.measured(study, methods, ("curves",), stored=True)["black_deletion"]
    sides = [[retrained[m] for m in methods], [deleted[m] for m in methods]]
    drawn = [ranking.resampled_means(side, 1000, k) for k, side in enumerate(sides)]
    correlations = [metrics.spearman(*pair) for pair in zip(*drawn, strict=True)]
    low, high = np.quantile(correlations, [0.025, 0.975])
    return metrics.spearman(*map(ranking.plain_means, sides)), float(low), float(high)


def measure(
    names: list[str] | None = None, only: list[str] | None = None, log: Callable = print
) -> None:
    """Measure the claims that have no stored value for the committed weights.

    Every claim in `names` on the networks in `only`; default all.
    """
    for name in names or list(MEASURES):
        measured_on, function, count = MEASURES[name]
        if name in RETRAINED and len(_retrained_seeds()) < 2:
            log(f"{name}  waits for two seeds of every retraining")
            continue
        for dataset, model, weights in _trained(measured_on):
            if only is not None and model not in only:
                continue
            pictures = count.get(dataset) if isinstance(count, dict) else count
            who = subject(dataset, model, weights, count=pictures)
            row = results.cell(
                "claims",
                f"{name}-{model}-{weights}",
                {"claim": name, **who.identity, **_together(name)},
                partial(_computed, function, who),
            )["rows"][0]
            log(f"{name}  {who.title}  {row['value']:.4f} ({row['low']:.4f} to {row['high']:.4f})")


def _computed(function: Callable[[Subject], Measured], who: Subject) -> dict:
    """The content of a claim's cell."""
    value, low, high = function(who)
    return {"rows": [{"value": value, "low": low, "high": high}]}


def _together(name: str) -> dict:
    """What else keys a number for several networks: which ones; of ROAR and KAR, how many seeds."""
    if name in RETRAINED:
        return {"seeds": _retrained_seeds()}
    if name in TOGETHER:
        trained = _trained(TOGETHER[name])
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


def _name(dataset: str, model: str, weights: str) -> str:
    if dataset == "imagenette":
        return f"{model}, Imagenette"
    return model if weights in (dataset, "imagenet", "cifar10") else f"{model} ({weights})"


def _measured(name: str, stored: list[dict]) -> Iterator[tuple[str, dict]]:
    """(network, row) for every network of a claim, in their order.

    The row is empty where it has not been measured.
    """
    for dataset, model, weights in _trained(MEASURES[name][0]) if name in MEASURES else ():
        wanted = {
            "claim": name,
            "dataset": dataset,
            "model": model,
            "weights": weights,
            **_together(name),
        }
        row = {}
        for cell in stored:
            parameters = cell["parameters"]
            if wanted.items() <= parameters.items() and parameters["weights_hash"] == _hash(
                model, weights
            ):
                row = {**cell["rows"][0], "n": parameters["n"]}
                break
        yield _name(dataset, model, weights), row


def table() -> pd.DataFrame:
    """One row a claim and network.

    The list's columns, network, n, value, low, high, verdict (of the claim over all of its
    networks; none while one of them is not measured).
    """
    stored, rows = results.cells("claims"), []
    for claim in listed().to_dict("records"):
        measured = list(_measured(claim["id"], stored))
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


def told(part: pd.DataFrame) -> str:
    """What was measured of one claim, as text: every network with its value and interval."""
    seen = [
        f"{r.network}: {r.value:.3g} ({r.low:.3g} to {r.high:.3g})"
        if pd.notna(r.value)
        else f"{r.network}: not computed yet"
        for r in part.dropna(subset=["network"]).itertuples()
    ]
    return "; ".join(seen) or "not computed yet"
