"""What RectGrad does (paper Noise, sections 4, 5.1, 5.2): thresholds, layers, borders, classes, and the sanity checks it leaves open."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from lib import attribution, metrics
from lib.attribution import rules
from lib.attribution.engine import Engine
from study.experiments.cleanliness import MAPS_VERSION, RECTGRAD, SHOWN, channel_sums, maps
from study.experiments.deletion import over_batches, stored_or_computed, with_interval
from study.experiments.hypothesis import at_layer
from study.subjects.subject import Subject, batch


def traced(
    who: Subject, images: Tensor, rule: Callable, target=None, border: str | None = None
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For every activation in the order of the forward pass: its output a, the gradient R that arrives, and what the rule lets through."""
    return _trace(who, images, rule, target, border)[1]


def _trace(
    who: Subject, images: Tensor, rule: Callable, target=None, border: str | None = None
) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
    """What reaches the input, [N,C,H,W], and `traced`."""
    seen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def spy(g, unit):
        passed = rule(g, unit)
        seen[unit.index] = unit.a, g, passed
        return passed

    reached = attribution.ruled_gradient(
        who.model, images, target, "tracing", Engine(spy, smooth=True, border=border)
    )
    return reached, [seen[k] for k in sorted(seen)]


def plain(g: Tensor, unit: rules.Activation) -> Tensor:
    """The plain gradient's rule, R f'(z)."""
    return unit.gated(g)


def rectified(q: float) -> Callable:
    """RectGrad's rule at one percentile."""
    return lambda g, unit: rules.rectgrad(g, unit, q=q)


def sweep(
    who: Subject,
    percentiles=(0, 10, 20, 40, 60, 80, 90, 95, 98, 99),
    *,
    batch_size: int = 16,
    stored: bool = False,
    log: Callable = lambda line: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the threshold does (section 5.1, Fig. 4): maps at every percentile, and scores and tau at every layer.

    First table: picture, q, roughness (total variation over the sum of |map|), like20 (rank correlation with the map at
    q = 20), top20 (share of the 5 % highest pixels at q = 20 that still are). Second: layer, q, zero (share of importance
    scores that are exactly 0), tau, positive (share of pictures with tau above 0), means over pictures.
    """
    if 20 not in percentiles:
        raise ValueError(
            f"percentiles are {tuple(percentiles)}; they must include 20, with which maps are compared."
        )

    def compute():
        pictures, layers = [], []
        for start in range(0, len(who.pictures), batch_size):
            images = batch(who, slice(start, start + batch_size))
            traces = {q: _trace(who, images, rectified(q), border="padded") for q in percentiles}
            found = {q: (images * reached).sum(1).cpu() for q, (reached, _) in traces.items()}
            for q, one in found.items():
                whole = one.abs().sum((1, 2)).clamp(min=1e-30)
                like, same = metrics.rank_correlation(one, found[20]), _same_top(found[20], one)
                pictures += [
                    {"picture": start + n, "q": q, "roughness": r, "like20": k, "top20": s}
                    for n, (r, k, s) in enumerate(
                        zip(
                            (metrics.total_variation(one) / whole).tolist(),
                            like.tolist(),
                            same.tolist(),
                        )
                    )
                ]
                for layer, (a, g, _) in enumerate(traces[q][1], 1):
                    score = a * g
                    tau = rules.percentile(score, q)
                    layers += [
                        {
                            "picture": start + n,
                            "layer": layer,
                            "q": q,
                            "zero": z,
                            "silent": s,
                            "tau": t,
                        }
                        for n, (z, s, t) in enumerate(
                            zip(
                                (score == 0).flatten(1).double().mean(1).tolist(),
                                (a == 0).flatten(1).double().mean(1).tolist(),
                                tau.tolist(),
                            )
                        )
                    ]
            log(f"sweep  {who.title}  {start + len(images)} pictures")
        layers = pd.DataFrame(layers)
        layers["positive"] = layers["tau"] > 0
        means = layers.groupby(["layer", "q"], as_index=False)[
            ["zero", "silent", "tau", "positive"]
        ].mean()
        return {"rows": pictures, "layers": means.to_dict("records")}

    content = stored_or_computed(
        stored, "sweep", who, "", {"percentiles": list(percentiles), "maps": MAPS_VERSION}, compute
    )
    return pd.DataFrame(content["rows"]), pd.DataFrame(content["layers"])


def _same_top(first: Tensor, second: Tensor, share: float = 0.05) -> Tensor:
    """Share of the highest pixels of the first maps that are among the highest of the second, [N]."""
    count = round(share * first[0].numel())
    top = [
        torch.zeros(len(m), m[0].numel(), dtype=torch.bool).scatter_(
            1, m.flatten(1).topk(count).indices, True
        )
        for m in (first, second)
    ]
    return (top[0] & top[1]).sum(1) / count


def accumulation(who: Subject, *, q: float = 98.0, batch_size: int = 100) -> pd.DataFrame:
    """Noise accumulation (section 5.2, Figs. 6, 14): attribution on the background over that on the object, layer by layer.

    Attribution at a layer is the channel mean: of the gradient for "saliency", of activation times what passes for
    "rectgrad". Columns picture, method, layer (0 is the input), ratio (of the mean |attribution| on the background to that
    on the object, both plus 1e-12).
    """
    rows = []
    for start in range(0, len(who.pictures), batch_size):
        place = slice(start, start + batch_size)
        images, masks = batch(who, place), who.pictures.masks[place]
        for method, rule, border in (
            ("saliency", plain, None),
            ("rectgrad", rectified(q), "padded"),
        ):
            layers = [
                (g if method == "saliency" else a * passed).mean(1, keepdim=True)
                for a, g, passed in traced(who, images, rule, border=border)
                if a.ndim == 4 and a.shape[-1] > 1
            ]
            entry = (
                attribution.saliency(who.model, images)
                if method == "saliency"
                else attribution.rectgrad(who.model, images, q=q, final_threshold=False)
            )
            for layer, values in enumerate([entry.mean(1, keepdim=True), *layers]):
                on, size = at_layer(masks, values), values.abs()
                inside, outside = (
                    (size * w).sum((1, 2, 3)) / w.sum((1, 2, 3)).clamp(min=1e-6) + 1e-12
                    for w in (on, 1 - on)
                )
                rows += [
                    {"picture": start + n, "method": method, "layer": layer, "ratio": r}
                    for n, r in enumerate((outside / inside).tolist())
                ]
    return pd.DataFrame(rows)


def fitting(who: Subject, methods) -> list[str]:
    """Those of the methods that find something to change in the network: PRR needs a max pooling."""
    engine = Engine(max_pool=rules.proportional)
    with torch.enable_grad(), attribution.evaluating(who.model), engine:
        who.model(batch(who, slice(0, 1)).requires_grad_())
    return [m for m in methods if m != "rectgrad_prr" or engine.pools]


def fgsm(model, images: Tensor, eps: float, black: float, white: float) -> Tensor:
    """The fast gradient sign method: one step of `eps` that raises the loss of the predicted class (section 5.2)."""
    with attribution.input_graph(model, images) as (leaf, logits):
        loss = F.cross_entropy(logits, logits.argmax(1), reduction="sum")
        return (images + eps * torch.autograd.grad(loss, leaf)[0].sign()).clamp(black, white)


def adversarial(
    who: Subject,
    methods=None,
    *,
    eps: float = 0.01,
    batch_size: int = 16,
    stored: bool = False,
    log: Callable = lambda line: None,
) -> pd.DataFrame:
    """Class sensitivity (section 5.2, Figs. 5b, 16): maps of pictures and of their adversarial examples, each for its own prediction.

    Columns picture, method, correlation (Spearman's, of the two maps), changed (did the prediction?).
    """
    rows = []

    @cache
    def attack(start: int) -> tuple[Tensor, Tensor]:
        """Attacked pictures of a batch, and whether the prediction changed: the same for every method."""
        images = batch(who, slice(start, start + batch_size))
        attacked = fgsm(who.model, images, eps, who.model.black, who.model.white)
        with torch.no_grad():
            return attacked, who.model(images).argmax(1) != who.model(attacked).argmax(1)

    for method in methods or fitting(who, SHOWN):

        def compute():
            before, found = maps(who, method, batch_size=batch_size, stored=stored), []
            for start in range(0, len(who.pictures), batch_size):
                attacked, changed = attack(start)
                like = metrics.rank_correlation(
                    before[start : start + batch_size], channel_sums(who, method, attacked)
                )
                found += [
                    {"picture": start + n, "method": method, "correlation": c, "changed": d}
                    for n, (c, d) in enumerate(zip(like.tolist(), changed.tolist()))
                ]
            log(f"adversarial  {who.title}  {method}")
            return {"rows": found}

        rows += stored_or_computed(
            stored,
            "adversarial",
            who,
            method,
            {"method": method, "eps": eps, "maps": MAPS_VERSION},
            compute,
        )["rows"]
    return pd.DataFrame(rows)


def second_class(
    who: Subject, methods=("rectgrad", "guided_backprop", "saliency"), *, batch_size: int = 16
) -> pd.DataFrame:
    """Rank correlation of the maps of the two likeliest classes: columns picture, method, correlation.

    Guided backpropagation is multiplied by the input, as claim 2 compares it with RectGrad.
    """
    rows = []
    for start in range(0, len(who.pictures), batch_size):
        images = batch(who, slice(start, start + batch_size))
        with torch.no_grad():
            two = who.model(images).topk(2).indices
        for method in methods:
            options = {"final_threshold": False} if method in RECTGRAD else {}
            pair = [
                attribution.METHODS[method].function(
                    who.model, images, two[:, k].contiguous(), **options
                )
                for k in (0, 1)
            ]
            pair = [(images * p if method == "guided_backprop" else p).sum(1) for p in pair]
            rows += [
                {"picture": start + n, "method": method, "correlation": c}
                for n, c in enumerate(metrics.rank_correlation(*pair).tolist())
            ]
    return pd.DataFrame(rows)


def border(
    who: Subject, settings=("off", "padded", "half_kernel", "released"), *, batch_size: int = 16
) -> pd.DataFrame:
    """What the padding trick does (appendix C.1): RectGrad, q = 98, without it and with each reading of its border.

    Columns picture, setting, ring (share of |map| in the outer sixteenth of the picture's width over that ring's share of the area).
    """
    rows = []
    for start in range(0, len(who.pictures), batch_size):
        images = batch(who, slice(start, start + batch_size))
        for setting in settings:
            options = {"padding_trick": False} if setting == "off" else {"border": setting}
            size = channel_sums(who, "rectgrad", images, **options).abs()
            width = max(1, size.shape[-1] // 16)
            ring = torch.ones(size.shape[1:], dtype=torch.bool)
            ring[width:-width, width:-width] = False
            share = (
                (size * ring).sum((1, 2)) / size.sum((1, 2)).clamp(min=1e-30) / ring.double().mean()
            )
            rows += [
                {"picture": start + n, "setting": setting, "ring": r}
                for n, r in enumerate(share.tolist())
            ]
    return pd.DataFrame(rows)


def weighted_layers(model) -> list[tuple[str, torch.nn.Module]]:
    """Modules with weights of their own, from the output to the input."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ][::-1]


def redraw_weights(module: torch.nn.Module, generator: torch.Generator) -> None:
    """New weights from a normal distribution about 0 with the standard deviation of the old ones; biases become 0, scales 1.

    With the old means kept, whole layers can fall silent: learnt weights may be negative on average.
    """
    with torch.no_grad():
        for name, values in module.named_parameters(recurse=False):
            if values.ndim > 1:
                values.copy_(
                    values.std() * torch.randn(values.shape, generator=generator).to(values)
                )
            else:
                values.fill_(
                    1.0 if name == "weight" else 0.0
                )  # of a normalisation layer, or a bias


def sanity(
    who: Subject,
    methods=None,
    *,
    seed: int = 0,
    batch_size: int = 50,
    stored: bool = False,
    log: Callable = lambda line: None,
) -> pd.DataFrame:
    """Does a method notice that weights are gone (Adebayo et al. 2018)? A question that the paper leaves open.

    Weights are redrawn from the output down to a layer ("cascading") or in that layer alone ("independent"); maps are for
    the class that the intact network predicts. Columns method, mode, layer, depth (1 is the output), rank (Spearman's
    correlation of |map| with the intact network's), ssim (structural similarity of the two |map|s, each stretched to [0,1]),
    each with *_low, *_high over pictures; empty (share of pictures whose map is 0 everywhere once weights are redrawn).
    """
    rows = []
    for method in methods or fitting(who, attribution.METHODS):

        def compute():
            before, found = _sanity_maps(who, who.model, method, None, batch_size).abs(), []
            for mode in ("cascading", "independent"):
                generator, model = torch.Generator().manual_seed(seed), copy.deepcopy(who.model)
                for depth, (name, module) in enumerate(weighted_layers(model), 1):
                    intact = copy.deepcopy(module.state_dict())
                    redraw_weights(module, generator)
                    after = _sanity_maps(who, model, method, who.model, batch_size).abs()
                    found.append(
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
            log(f"sanity  {who.title}  {method}")
            return {"rows": found}

        rows += stored_or_computed(
            stored,
            "sanity",
            who,
            method,
            {"method": method, "seed": seed, "maps": MAPS_VERSION, "redraw": "zero mean"},
            compute,
        )["rows"]
    return pd.DataFrame(rows)


def _sanity_maps(who: Subject, model, method: str, target_of, batch_size: int) -> Tensor:
    def one(images):
        with torch.no_grad():
            target = (target_of or model)(images).argmax(1)
        return channel_sums(who._replace(model=model), method, images, target)

    return over_batches(who, one, batch_size)


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of two sets of maps [N,H,W], each stretched to [0,1], [N] (Wang et al. 2004)."""
    from skimage.metrics import structural_similarity

    pairs = zip(attribution.normalize(first).numpy(), attribution.normalize(second).numpy())
    return torch.tensor([structural_similarity(a, b, data_range=1.0) for a, b in pairs])
