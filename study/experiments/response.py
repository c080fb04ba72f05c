"""What RectGrad does (paper Noise, sections 4, 5.1, 5.2).

Thresholds, layers, borders, classes, and the sanity checks that the paper leaves open.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from lib import attribution, metrics
from lib.attribution import rules
from lib.attribution.engine import Engine
from lib.attribution.graph import as_percentile
from study.experiments.cleanliness import RECTGRAD, SHOWN, amount, channel_sums, maps
from study.experiments.deletion import with_interval
from study.experiments.hypothesis import at_layer, mean_where, median_with_interval
from study.store.experiment import experiment
from study.subjects.subject import Subject, batch, object_masks, picture_rows


def traced(
    studied: Subject, images: Tensor, rule: Callable, target=None, border: str | None = None
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For every activation in the order of the forward pass, three tensors.

    Its output a, the gradient R that arrives, and what the rule lets through.
    """
    return _trace(studied, images, rule, target, border)[1]


def _trace(
    studied: Subject, images: Tensor, rule: Callable, target=None, border: str | None = None
) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
    """What reaches the input, [N,C,H,W], and `traced`."""
    seen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def spy(g, unit):
        passed = rule(g, unit)
        seen[unit.index] = unit.a, g, passed
        return passed

    reached = attribution.ruled_gradient(
        studied.model, images, target, "tracing", Engine(spy, smooth=True, border=border)
    )
    return reached, [seen[k] for k in sorted(seen)]


def plain(g: Tensor, unit: rules.Activation) -> Tensor:
    """The plain gradient's rule, R f'(z)."""
    return unit.gated(g)


def rectified(q: float) -> Callable:
    """RectGrad's rule at one percentile."""
    return partial(rules.rectgrad, q=as_percentile(q))


def _both_tables(content: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is kept of a sweep, as its two tables."""
    return pd.DataFrame(content["rows"]), pd.DataFrame(content["layers"])


@experiment("sweep", tolerance=0.02, sample="pictures", returns=_both_tables)
def sweep(
    studied: Subject,
    percentiles: Sequence[float] = (0, 10, 20, 40, 60, 80, 90, 95, 98, 99),
    *,
    batch_size: int = 16,
    log: Callable = lambda line: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the threshold does (section 5.1, Fig. 4).

    Maps at every percentile, and scores and tau at every layer. First table: picture, q, roughness
    (total variation over the sum of |map|), like20 (rank correlation with the map at q = 20), top20
    (share of the 5 % highest pixels at q = 20 that still are). Second: layer, q, zero (share of
    importance scores that are exactly 0), tau, positive (share of pictures with tau above 0), means
    over pictures.
    """
    if 20 not in percentiles:
        raise ValueError(
            f"percentiles are {tuple(percentiles)}; they must include 20, "
            "with which maps are compared."
        )
    pictures, layers = [], []
    for place, images in studied.batches(batch_size):
        traces = {q: _trace(studied, images, rectified(q), border="padded") for q in percentiles}
        maps_at = {q: (images * reached).sum(1).cpu() for q, (reached, _) in traces.items()}
        for q, (_, activations) in traces.items():
            pictures += _sweep_pictures(place, q, maps_at[q], maps_at[20])
            for layer, (a, g, _) in enumerate(activations, 1):
                layers += _sweep_layer(place, q, layer, a, g)
        log(f"sweep  {studied.title}  {place.stop} pictures")
    layers = pd.DataFrame(layers)
    layers["positive"] = layers["tau"] > 0
    means = layers.groupby(["layer", "q"], as_index=False)[
        ["zero", "silent", "tau", "positive"]
    ].mean()
    return {"rows": pictures, "layers": means.to_dict("records")}


def _sweep_pictures(place: slice, q: float, at_q: Tensor, at_20: Tensor) -> list[dict]:
    """Rows of `sweep`'s first table: the maps at percentile q beside those at 20."""
    roughness = metrics.total_variation(at_q) / at_q.abs().sum((1, 2)).clamp(min=1e-30)
    like = metrics.rank_correlation(at_q, at_20)
    same = same_top(at_20, at_q)
    return picture_rows(place, {"q": q}, roughness=roughness, like20=like, top20=same)


def _sweep_layer(place: slice, q: float, layer: int, a: Tensor, g: Tensor) -> list[dict]:
    """What `sweep`'s second table averages: a layer's output `a` and the gradient `g` there."""
    score = a * g
    tau = rules.percentile(score, q)
    zero = (score == 0).flatten(1).double().mean(1)
    silent = (a == 0).flatten(1).double().mean(1)
    return picture_rows(place, {"layer": layer, "q": q}, zero=zero, silent=silent, tau=tau)


def same_top(first: Tensor, second: Tensor, share: float = 0.05) -> Tensor:
    """Share of the first maps' highest pixels that are among the highest of the second, [N]."""
    count = round(share * first[0].numel())

    def highest(maps):
        places = maps.flatten(1).topk(count).indices
        return torch.zeros(len(maps), maps[0].numel(), dtype=torch.bool).scatter_(1, places, True)

    return (highest(first) & highest(second)).sum(1) / count


def accumulation(studied: Subject, *, q: float = 98.0, batch_size: int = 100) -> pd.DataFrame:
    """Noise accumulation (section 5.2, Figs. 6, 14), layer by layer.

    It is attribution on the background over that on the object. Attribution at a layer is the
    channel mean: of the gradient for "saliency", of activation times what passes for "rectgrad".
    Columns picture, method, layer (0 is the input), ratio (of the mean |attribution| on the
    background to that on the object, both plus 1e-12).
    """
    rows, masks, q = [], object_masks(studied), as_percentile(q)
    for place, images in studied.batches(batch_size):
        for method in ("saliency", "rectgrad"):
            by_layer = _attribution_by_layer(studied, images, method, q)
            for layer, values in enumerate(by_layer):
                on = at_layer(masks[place], values)
                inside = mean_where(values.abs(), on) + 1e-12
                outside = mean_where(values.abs(), 1 - on) + 1e-12
                same = {"method": method, "layer": layer}
                rows += picture_rows(place, same, ratio=outside / inside)
    return pd.DataFrame(rows)


def _attribution_by_layer(studied: Subject, images: Tensor, method: str, q: float) -> list[Tensor]:
    """The channel means that `accumulation` compares, from the input on, each [N,1,h,w]."""
    if method == "saliency":
        traces = traced(studied, images, plain)
        at_input = attribution.saliency(studied.model, images)
    else:
        traces = traced(studied, images, rectified(q), border="padded")
        at_input = attribution.rectgrad(studied.model, images, q=q, final_threshold=False)
    layers = [at_input]
    for a, g, passed in traces:
        if a.ndim == 4 and a.shape[-1] > 1:
            layers.append(g if method == "saliency" else a * passed)
    return [values.mean(1, keepdim=True) for values in layers]


def fitting(studied: Subject, methods) -> list[str]:
    """Those of the methods that find something to change in the network.

    PRR needs a max pooling.
    """
    engine = Engine(max_pool=rules.proportional)

    def watched(images: Tensor):
        with torch.enable_grad(), engine:
            return studied.model(images.requires_grad_().clone())

    attribution.logits(watched, batch(studied, slice(0, 1)))
    return [m for m in methods if m != "rectgrad_prr" or engine.pools]


def fgsm(model, images: Tensor, eps: float, black: float, white: float) -> Tensor:
    """The fast gradient sign method (section 5.2).

    One step of `eps` that raises the loss of the predicted class.
    """
    with attribution.input_graph(model, images) as (leaf, logits):
        loss = F.cross_entropy(logits, logits.argmax(1), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        return (images + eps * gradient.sign()).clamp(black, white)


def adversarial(
    studied: Subject,
    methods=None,
    *,
    eps: float = 0.01,
    batch_size: int = 16,
    log: Callable = lambda line: None,
) -> pd.DataFrame:
    """`under_attack` for each of these methods; None for all that fit the network."""

    @cache
    def attacks() -> list[tuple[Tensor, Tensor]]:
        return _attacks(studied, eps, batch_size)

    tables = []
    for method in methods or fitting(studied, SHOWN):
        tables.append(
            under_attack(studied, method, eps=eps, attacks=attacks, batch_size=batch_size)
        )
        log(f"adversarial  {studied.title}  {method}")
    return pd.concat(tables, ignore_index=True)


def _attacks(studied: Subject, eps: float, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    """Attacked pictures of every batch, and whether their prediction changed."""
    model = studied.model
    made = []
    for _, images in studied.batches(batch_size):
        attacked = fgsm(model, images, eps, model.black, model.white)
        before, after = (attribution.logits(model, x).argmax(1) for x in (images, attacked))
        made.append((attacked, before != after))
    return made


@experiment("adversarial", tolerance=0.02, sample="pictures", free=("attacks", "batch_size"))
def under_attack(
    studied: Subject,
    method: str,
    *,
    eps: float = 0.01,
    attacks: Callable[[], list[tuple[Tensor, Tensor]]] | None = None,
    batch_size: int = 16,
) -> pd.DataFrame:
    """Class sensitivity (section 5.2, Figs. 5b, 16).

    Maps of pictures and of their adversarial examples, each for its own prediction. Columns
    picture, method, correlation (Spearman's, of the two maps), changed (did the prediction?).
    `attacks` returns the examples of every batch, where a caller has them for several methods.
    """
    before = maps(studied, method, batch_size=batch_size)
    made = attacks() if attacks else _attacks(studied, eps, batch_size)
    rows = []
    for (place, _), (attacked, changed) in zip(studied.batches(batch_size), made, strict=True):
        after = channel_sums(studied, method, attacked)
        like = metrics.rank_correlation(before[place], after)
        rows += picture_rows(place, {"method": method}, correlation=like, changed=changed)
    return rows


def second_class(
    studied: Subject, methods=("rectgrad", "guided_backprop", "saliency"), *, batch_size: int = 16
) -> pd.DataFrame:
    """Rank correlation of the maps of the two likeliest classes.

    Columns picture, method, correlation. Guided backpropagation is multiplied by the input, as
    claim 2 compares it with RectGrad.
    """
    rows = []
    for place, images in studied.batches(batch_size):
        two = attribution.logits(studied.model, images).topk(2).indices
        for method in methods:
            first, second = (
                _summed(studied, method, images, two[:, k].contiguous()) for k in (0, 1)
            )
            like = metrics.rank_correlation(first, second)
            rows += picture_rows(place, {"method": method}, correlation=like)
    return pd.DataFrame(rows)


def _summed(studied: Subject, method: str, images: Tensor, target: Tensor) -> Tensor:
    """The map of a method for one class, [n,H,W], as `second_class` compares it."""
    options = {"final_threshold": False} if method in RECTGRAD else {}
    attributions = attribution.METHODS[method].function(studied.model, images, target, **options)
    if method == "guided_backprop":
        attributions = images * attributions
    return attributions.sum(1)


def border(
    studied: Subject, settings=("off", "padded", "half_kernel", "released"), *, batch_size: int = 16
) -> pd.DataFrame:
    """What the padding trick does (appendix C.1).

    RectGrad, q = 98, without it and with each reading of its border. Columns picture, setting, ring
    (share of |map| in the outer sixteenth of the picture's width over that ring's share of the
    area).
    """
    rows = []
    for place, images in studied.batches(batch_size):
        for setting in settings:
            options = {"padding_trick": False} if setting == "off" else {"border": setting}
            size = channel_sums(studied, "rectgrad", images, **options).abs()
            width = max(1, size.shape[-1] // 16)
            ring = torch.ones(size.shape[1:], dtype=torch.bool)
            ring[width:-width, width:-width] = False
            share = (size * ring).sum((1, 2)) / size.sum((1, 2)).clamp(min=1e-30)
            rows += picture_rows(place, {"setting": setting}, ring=share / ring.double().mean())
    return pd.DataFrame(rows)


def weighted_layers(model) -> list[tuple[str, torch.nn.Module]]:
    """Modules with weights of their own, from the output to the input."""
    from_the_input = [
        (name, module)
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    return from_the_input[::-1]


def redraw_weights(module: torch.nn.Module, generator: torch.Generator) -> None:
    """New weights from a normal distribution about 0 with the standard deviation of the old ones.

    Biases become 0, scales 1. With the old means kept, whole layers can fall silent: learnt weights
    may be negative on average.
    """
    with torch.no_grad():
        for name, values in module.named_parameters(recurse=False):
            if values.ndim > 1:
                drawn = torch.randn(values.shape, generator=generator).to(values)
                values.copy_(values.std() * drawn)
            else:
                # the scale of a normalisation layer, or a bias
                values.fill_(1.0 if name == "weight" else 0.0)


def sanity(
    studied: Subject,
    methods=None,
    *,
    seed: int = 0,
    batch_size: int = 50,
    log: Callable = lambda line: None,
) -> pd.DataFrame:
    """`with_redrawn_weights` for each of these methods; None for all that fit the network."""
    tables = []
    for method in methods or fitting(studied, attribution.METHODS):
        tables.append(with_redrawn_weights(studied, method, seed=seed, batch_size=batch_size))
        log(f"sanity  {studied.title}  {method}")
    return pd.concat(tables, ignore_index=True)


@experiment("sanity", tolerance=0.05)
def with_redrawn_weights(
    studied: Subject, method: str, *, seed: int = 0, batch_size: int = 50
) -> pd.DataFrame:
    """Does a method notice that weights are gone (Adebayo et al. 2018)?

    A question that the paper leaves open. Weights are redrawn from the output down to a layer
    ("cascading") or in that layer alone ("independent"); maps are for the class that the intact
    network predicts. Columns method, mode, layer, depth (1 is the output), rank (Spearman's
    correlation of |map| with the intact network's), ssim (structural similarity of the two |map|s,
    each stretched to [0,1]), each with *_low, *_high over pictures; empty (share of pictures whose
    map is 0 everywhere once weights are redrawn).
    """
    rows = []
    before = _sanity_maps(studied, studied.model, method, None, batch_size).abs()
    for mode in ("cascading", "independent"):
        generator = torch.Generator().manual_seed(seed)
        model = copy.deepcopy(studied.model)
        for depth, (name, module) in enumerate(weighted_layers(model), 1):
            intact = copy.deepcopy(module.state_dict())
            redraw_weights(module, generator)
            after = _sanity_maps(studied, model, method, studied.model, batch_size).abs()
            rows.append(
                {
                    "method": method,
                    "mode": mode,
                    "layer": f"{type(module).__name__} {name}",
                    "depth": depth,
                    **with_interval("rank", metrics.rank_correlation(before, after)),
                    **with_interval("ssim", similarity(before, after)),
                    "empty": (after == 0).flatten(1).all(1).double().mean().item(),
                    "n": len(before),
                }
            )
            if mode == "independent":
                module.load_state_dict(intact)
    return rows


def _sanity_maps(studied: Subject, model, method: str, target_of, batch_size: int) -> Tensor:
    """Maps by the weights of `model`, for the class that `target_of`, or else it, predicts."""

    def maps_of(images):
        target = attribution.logits(target_of or model, images).argmax(1)
        return channel_sums(studied._replace(model=model), method, images, target)

    return studied.over_batches(maps_of, batch_size)


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of two sets of maps [N,H,W], each stretched to [0,1], [N].

    By Wang et al. 2004.
    """
    from skimage.metrics import structural_similarity

    first = attribution.normalize(first).numpy()
    second = attribution.normalize(second).numpy()
    return torch.tensor(
        [structural_similarity(a, b, data_range=1.0) for a, b in zip(first, second, strict=True)]
    )


# --- the product with the picture ----------------------------------------------------------------

# what RectGrad ends in a product with: nothing; the picture in the network's own range, as the
# paper does; the picture measured from black, which is then 0
PRODUCTS = ("none", "picture", "from black")
THIRDS = ("dark", "middle", "bright")


def products(studied: Subject, *, batch_size: int = 250) -> dict[str, Tensor]:
    """RectGrad's maps by what it is multiplied with at the end: `PRODUCTS` -> [N,H,W].

    Channel sums, without the final threshold. The network and what comes back through it are the
    same in all three (Brocki and Chung 2020 take offence at the product).
    """
    pieces_of: dict[str, list[Tensor]] = {name: [] for name in PRODUCTS}
    for _, images in studied.batches(batch_size):
        back = attribution.rectgrad(
            studied.model, images, final_threshold=False, multiply_input=False
        )
        factors = (1, images, images - studied.model.black)
        for name, factor in zip(PRODUCTS, factors, strict=True):
            pieces_of[name].append((factor * back).sum(1).cpu())
    return {name: torch.cat(pieces) for name, pieces in pieces_of.items()}


def brightness_bias(studied: Subject, *, batch_size: int = 250) -> pd.DataFrame:
    """What the product with the picture adds to RectGrad's maps.

    Columns product, n; dark, middle, bright (share of |map| on pixels of that third of the range of
    brightness, the mean of the channels, by the pixels' own share, means over pictures: 1 is fair);
    overlap (of the 5 % strongest pixels with those of the map without a product), on_object (share
    of |map| there), gain (on_object less that without a product, picture by picture); each of these
    with *_low and *_high.
    """
    masks, maps_by_product = object_masks(studied), products(studied, batch_size=batch_size)
    third = (studied.pictures.images.double().mean(1) * 3 / 256).long()
    area = {name: (third == k).double().mean((1, 2)) for k, name in enumerate(THIRDS)}
    bare, rows = maps_by_product["none"], []
    without = 1 - metrics.attribution_outside(bare, masks, True)
    for product, maps_of in maps_by_product.items():
        size = maps_of.abs().double()
        total = size.sum((1, 2)).clamp(min=1e-30)
        row = {"product": product, "n": len(size)}
        for k, name in enumerate(THIRDS):
            share = (size * (third == k)).sum((1, 2)) / total
            row |= _interval_of(name, _ratio_of_means, share, area[name])
        row |= with_interval("overlap", same_top(bare.abs(), maps_of.abs()))
        on_object = 1 - metrics.attribution_outside(maps_of, masks, True)
        row |= with_interval("on_object", on_object)
        rows.append(row | with_interval("gain", on_object - without))
    return pd.DataFrame(rows)


def _ratio_of_means(first: np.ndarray, second: np.ndarray) -> float:
    return first.mean() / second.mean()


def _interval_of(label: str, statistic: Callable, *columns: Tensor) -> dict:
    """A statistic of paired columns [N] with its interval, named as `with_interval` does.

    NaN where it has no value: no picture has a pixel of that brightness.
    """
    if not columns[-1].any():
        return dict.fromkeys((label, f"{label}_low", f"{label}_high"), float("nan"))
    value, low, high = metrics.bootstrap_of(statistic, *columns)
    return {label: value, f"{label}_low": low, f"{label}_high": high}


# --- tables of what is measured above ------------------------------------------------------------

RULES = ("PR1", "PR1+PR2", "PR2", "PR3", "PR4")


def predicted(studied: Subject) -> list[str]:
    """The class that the network predicts for each picture, of several names the first."""
    logits = studied.over_batches(lambda images: attribution.logits(studied.model, images), 16)
    return [studied.pictures.classes[k].split(",")[0] for k in logits.argmax(1).tolist()]


def identities(studied: Sequence[Subject]) -> pd.DataFrame:
    """Claims 1 and 2 of section 4: RectGrad with tau = 0 against what it should equal.

    In double precision, without the padding trick. Columns claim, network, n, largest (value),
    difference (the largest).
    """
    rows = []
    for subject in studied:
        model = copy.deepcopy(subject.model).double()
        images = batch(subject, slice(None)).double()
        for claim, other, eps in (
            ("claim 1: Deconvolution", attribution.deconvolution, 1e-6),
            ("claim 2: Guided backpropagation", attribution.guided_backprop, 0.0),
        ):
            ours = attribution.rectgrad(model, images, tau=0, eps=eps, padding_trick=False)
            theirs = (images * other(model, images)).clamp(min=0)
            apart = (ours - theirs).abs().max().item()
            rows.append((claim, subject.label, len(images), theirs.max().item(), apart))
    return pd.DataFrame(rows, columns=["claim", "network", "n", "largest", "difference"])


def thresholds(swept: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What the percentile changes, from the first tables of `sweep`.

    Columns network (the keys), q, n, like20 (mean) with its interval; top20, roughness (medians).
    """
    rows = []
    for network, table in swept.items():
        for q, part in table.groupby("q"):
            row = {"network": network, "q": q, "n": len(part)}
            row |= with_interval("like20", torch.tensor(part["like20"].to_numpy()))
            rows.append(row | part[["top20", "roughness"]].median().to_dict())
    return pd.DataFrame(rows)


def borders(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`border` in means: columns network (the keys), setting, n, ring, ring_low, ring_high."""
    rows = []
    for network, table in tables.items():
        for setting, part in table.groupby("setting", sort=False):
            row = {"network": network, "setting": setting, "n": len(part)}
            rows.append(row | with_interval("ring", torch.tensor(part["ring"].to_numpy())))
    return pd.DataFrame(rows)


def smoothness(studied: Sequence[Subject], *, batch_size: int = 250) -> pd.DataFrame:
    """Roughness with PRR over that without, of maps that are not empty.

    Columns network, n, median, low, high, share (of pictures with the smoother map under PRR).
    Networks without a max pooling have no PRR and no row.
    """
    rows = []
    for subject in studied:
        if "rectgrad_prr" not in fitting(subject, RECTGRAD):
            continue
        rough = {
            m: amount("variation", maps(subject, m, batch_size=batch_size), None, True)
            for m in RECTGRAD
        }
        ratio = rough["rectgrad_prr"] / rough["rectgrad"].where(rough["rectgrad"] > 0, torch.nan)
        ratio = ratio[ratio.isfinite()]
        share = (ratio < 1).double().mean().item()
        rows.append((subject.label, len(ratio), *median_with_interval(ratio), share))
    return pd.DataFrame(rows, columns=["network", "n", "median", "low", "high", "share"])


def on_object(studied: Subject, *, batch_size: int = 250) -> pd.DataFrame:
    """Share of |map| on the object by RectGrad's rule, and of the saliency map for comparison.

    Columns map ("saliency" or a rule), n, covered (the object's mean share of the picture), median,
    low, high; gap, gap_low, gap_high (median over pictures of PR1's share minus this one).
    """
    masks = object_masks(studied)

    def share(attributions: Tensor) -> Tensor:
        return 1 - metrics.attribution_outside(attributions, masks, True)

    def ruled(rule: str) -> Tensor:
        return studied.over_batches(
            lambda images: channel_sums(studied, "rectgrad", images, rule=rule), batch_size
        )

    shares = {rule: share(ruled(rule)) for rule in RULES}
    shares["saliency"] = share(maps(studied, "saliency", batch_size=batch_size))
    covered = masks.double().mean().item()
    rows = [
        (
            name,
            len(values),
            covered,
            *median_with_interval(values),
            *median_with_interval(shares["PR1"] - values),
        )
        for name, values in shares.items()
    ]
    ends = ["median", "low", "high", "gap", "gap_low", "gap_high"]
    return pd.DataFrame(rows, columns=["map", "n", "covered", *ends])


def growth_factors(grown: pd.DataFrame) -> pd.DataFrame:
    """From `accumulation`: how background over object changes from a layer to the one before.

    Columns method, layer (where the step ends; 0 is the input), factor (geometric mean), low, high.
    """
    rows = []
    for method, part in grown.groupby("method", sort=False):
        logs = part.pivot_table(index="picture", columns="layer", values="ratio").apply(np.log)
        for layer in logs.columns[:-1]:
            step = torch.tensor((logs[layer] - logs[layer + 1]).to_numpy())
            ends = (step.mean().item(), *metrics.bootstrap(step))
            rows.append((method, layer, *np.exp(ends).tolist()))
    return pd.DataFrame(rows, columns=["method", "layer", "factor", "low", "high"])


def attacked(table: pd.DataFrame) -> pd.DataFrame:
    """From `adversarial`: how alike maps stay, by what the attack did to the prediction.

    Columns method, changed (bool), n, mean, low, high, median; of no picture, NaN.
    """
    rows = []
    for method, part in table.groupby("method", sort=False):
        for changed in (True, False):
            values = torch.tensor(part[part["changed"] == changed]["correlation"].to_numpy())
            statistics = (float("nan"),) * 4
            if len(values):
                statistics = (
                    values.mean().item(),
                    *metrics.bootstrap(values),
                    values.quantile(0.5).item(),
                )
            rows.append((method, changed, len(values), *statistics))
    return pd.DataFrame(rows, columns=["method", "changed", "n", "mean", "low", "high", "median"])


def listening(
    after_attack: pd.DataFrame, of_second: pd.DataFrame, checked: pd.DataFrame
) -> pd.DataFrame:
    """Three questions to a method beside each other: low is a map that listens.

    From `attacked`, `second_class` and `sanity`. Columns method; second (mean rank correlation of
    the maps of the two likeliest classes), second_n; changed, changed_n, unchanged, unchanged_n (of
    the maps before and after an attack); redrawn (of |map| before and after the output layer is
    redrawn), redrawn_n. NaN where a method was not asked.
    """
    by_method = {
        name: after_attack[after_attack["changed"] == state].set_index("method")
        for name, state in (("changed", True), ("unchanged", False))
    }
    asked = of_second.groupby("method")["correlation"]
    output = checked[(checked["mode"] == "cascading") & (checked["depth"] == 1)]
    output = output.set_index("method")
    table = pd.DataFrame(index=pd.Index(dict.fromkeys(after_attack["method"]), name="method"))
    table = table.assign(second=asked.mean(), second_n=asked.size())
    for name, part in by_method.items():
        table = table.assign(**{name: part["mean"], f"{name}_n": part["n"]})
    return table.assign(redrawn=output["rank"], redrawn_n=output["n"]).reset_index()
