"""The experiments of paper Noise on one subject (a network and its pictures): a tidy table comes out.

Attributions are computed once for each method (`maps`) and shared by every quantity that needs them. With `stored=True` an
experiment reads what was computed before for exactly this subject and stores what was not.
"""
from __future__ import annotations

import copy
import os
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from lib import attribution, backward_rules as rules, data, metrics, results
from lib.experiments import _kept, _over
from lib.subjects import Subject, batch

RECTGRAD = ("rectgrad", "rectgrad_prr")
BASELINES = ("saliency", "guided_backprop", "smoothgrad", "input_x_gradient", "integrated_gradients", "deeplift")
COMPARED = RECTGRAD + BASELINES             # Figs. 7 and 8
SHOWN = ("saliency", "input_x_gradient", "guided_backprop", "smoothgrad", "integrated_gradients", "epsilon_lrp", "deeplift", "rectgrad", "rectgrad_prr")
TREATMENTS = ("none", "released", "matched")
CORNER = 8                                  # of the 10x10 patch, what a 3x3 kernel sees of nothing else (Fig. 2)
CHUNK = 1000                                # pictures in one stored piece of maps
MAPS_VERSION = 1                            # rises when a kernel changes what it returns


def label(method: str) -> str:
    """The name of a method as figures and tables show it."""
    return attribution.METHODS[method].label


def _channel_sums(who: Subject, method: str, images: Tensor, target=None, **options) -> Tensor:
    """Paper Noise's map of a method, [n,H,W]: the channel sum, RectGrad without its final threshold."""
    options = {"final_threshold": False, **options} if method in RECTGRAD else options
    entry = attribution.METHODS[method]
    return attribution.to_map(entry.function(who.model, images, target, **options), entry.reduce["noise"]).cpu()


def maps(who: Subject, method: str, *, batch_size: int = 250, stored: bool = False) -> Tensor:
    """The maps of all pictures for their predicted classes, [N,H,W]; RectGrad without its final threshold.

    With `stored`, pieces of `CHUNK` pictures are kept under data/cache/maps/, so that a stopped computation goes on.
    """
    compute = lambda part: _over(part, lambda images: _channel_sums(part, method, images), batch_size)
    if not stored:
        return compute(who)
    name = results.key({**who.identity, "method": method}, MAPS_VERSION)
    pieces = []
    for start in range(0, len(who.pictures), CHUNK):
        path = data.CACHE / "maps" / f"{name}-{start}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.stem}.{os.getpid()}.part.npy")
            np.save(part, compute(who._replace(pictures=who.pictures.take(slice(start, start + CHUNK)))).numpy())
            part.replace(path)
        pieces.append(torch.from_numpy(np.load(path)))
    return torch.cat(pieces)


def treat(method: str, found: Tensor, treatment: str, keep: Tensor | None = None) -> Tensor:
    """Maps [N,H,W] as a comparison takes them.

    "none": as they are. "released": RectGrad's positive part; of a baseline what lies between its 95th and 100th percentile,
    zero below where the 95th is positive (as in the released code, which does not treat the two alike). "matched": RectGrad's
    positive part; of a baseline the `keep` [N] largest values, as many as RectGrad keeps on that picture.
    """
    if treatment == "none":
        return found
    if method in RECTGRAD:
        return found.clamp(min=0)
    flat = found.flatten(1)
    if treatment == "released":
        low = flat.quantile(.95, dim=1, keepdim=True)
        return torch.where(flat < low, torch.where(low > 0, 0, low), flat).view_as(found)
    ranks = flat.argsort(1, descending=True).argsort(1)
    return torch.where(ranks < keep[:, None], flat, 0).view_as(found)


def in_corner(found: Tensor) -> Tensor:
    """Sum of |map| in the upper left `CORNER` x `CORNER` pixels, [N] (paper Noise, section 5.3, Fig. 7)."""
    return found[:, :CORNER, :CORNER].abs().sum((1, 2))


def amount(measure: str, found: Tensor, masks: Tensor | None, share: bool) -> Tensor:
    """One of the three quantities of section 5.3, [N]: "patch", "outside" or "variation"; `share` divides by the sum of |map|."""
    if measure == "outside":
        return metrics.attribution_outside(found, masks, share)
    value = in_corner(found) if measure == "patch" else metrics.total_variation(found)
    whole = found.abs().sum((1, 2))
    return value if not share else torch.where(whole > 0, value / torch.where(whole > 0, whole, 1), 0)


def treated(who: Subject, treatment: str, methods=COMPARED, *, stored: bool = False) -> dict[str, Tensor]:
    """The maps of every method under one treatment, in the order of `methods`."""
    keep = (maps(who, "rectgrad", stored=stored) > 0).flatten(1).sum(1) if treatment == "matched" else None
    return {m: treat(m, maps(who, m, stored=stored), treatment, keep) for m in methods}


def spread(values: Tensor) -> dict:
    """What a box plot shows of values [N], with 95 % intervals of median and mean."""
    q = torch.tensor([.05, .25, .5, .75, .95], dtype=torch.float64)
    p5, q25, median, q75, p95 = values.double().quantile(q).tolist()
    low, high = metrics.median_interval(values)
    mean_low, mean_high = metrics.bootstrap(values)
    return {"median": median, "low": low, "high": high, "mean": values.double().mean().item(), "mean_low": mean_low, "mean_high": mean_high,
            "p5": p5, "q25": q25, "q75": q75, "p95": p95, "n": len(values)}


def amounts(who: Subject, measure: str, *, stored: bool = False) -> pd.DataFrame:
    """A quantity of section 5.3 for all compared methods under all treatments, as a sum and as a share of the total.

    Columns method, treatment, share (bool), kept (share of pixels not zero) and those of `spread`.
    """
    def compute():
        rows = []
        for treatment in TREATMENTS:
            for method, found in treated(who, treatment, stored=stored).items():
                kept = (found != 0).double().mean().item()
                rows += [{"method": method, "treatment": treatment, "share": share, "kept": kept, **spread(amount(measure, found, who.pictures.masks, share))}
                         for share in (False, True)]
        return {"rows": rows}
    return pd.DataFrame(_kept(stored, measure, who, "", {"measure": measure, "maps": MAPS_VERSION}, compute)["rows"])


def correct(who: Subject, batch_size: int = 250) -> Subject:
    """The subject with the pictures that the network classifies correctly alone."""
    with torch.no_grad():
        right = _over(who, lambda images: who.model(images).argmax(1), batch_size) == who.pictures.labels
    return who._replace(pictures=who.pictures.take(right))


def per_class(who: Subject, count: int, seed: int = 0) -> Subject:
    """At most `count` pictures of every class, drawn with `seed` (section 3.2: ten correctly classified ones)."""
    order = torch.randperm(len(who.pictures), generator=torch.Generator().manual_seed(seed))
    chosen = torch.cat([order[who.pictures.labels[order] == k][:count] for k in range(len(who.pictures.classes))])
    return who._replace(pictures=who.pictures.take(chosen.sort().values))


# --- section 3: why maps are noisy ----------------------------------------------------------------------------------------

def activations(model, images: Tensor) -> list[Tensor]:
    """The output of every activation operation of one forward pass, in order."""
    found: list[Tensor] = []

    def collect(index, a):
        found.append(a.detach().clone())
        return a
    with torch.no_grad(), attribution.evaluating(model), rules.Engine(smooth=True, edit=collect):
        model(images.clone())
    return found


def at_layer(masks: Tensor, like: Tensor) -> Tensor:
    """Masks [N,H,W] as the share of each position of a layer [N,C,h,w] that lies on the object, [N,1,h,w]."""
    return F.interpolate(masks[:, None].to(like), like.shape[-2:], mode="area")


def convolutional(found: list[Tensor]) -> list[int]:
    """Which activations are feature maps with more than one position."""
    return [k for k, a in enumerate(found) if a.ndim == 4 and a.shape[-1] > 1]


def firing(who: Subject, batch_size: int = 100) -> pd.DataFrame:
    """How often units fire on the object and on the background, by layer and picture (appendix A.1, left there as future study).

    Columns picture, layer, object, background (shares of units with positive activation), lift (their difference).
    """
    rows = []
    for start in range(0, len(who.pictures), batch_size):
        place = slice(start, start + batch_size)
        found = activations(who.model, batch(who, place))
        for layer, k in enumerate(convolutional(found), 1):
            on, rate = at_layer(who.pictures.masks[place], found[k]), (found[k] > 0).to(found[k]).mean(1, keepdim=True)
            inside, outside = ((rate * w).sum((1, 2, 3)) / w.sum((1, 2, 3)).clamp(min=1e-6) for w in (on, 1 - on))
            rows += [{"picture": start + n, "layer": layer, "object": i, "background": o, "lift": i - o}
                     for n, (i, o) in enumerate(zip(inside.tolist(), outside.tolist()))]
    return pd.DataFrame(rows)


def _tail(model, images: Tensor, k: int) -> Callable[[Tensor], Tensor]:
    """The network from the output of its k-th activation on: [n,C,h,w] -> logits, for the `images` [n,...] that lead there."""
    if isinstance(model, torch.nn.Sequential):
        kinds = [i for i, module in enumerate(model) if isinstance(module, torch.nn.ReLU)]
        if len(kinds) == len(activations(model, images[:1])):
            return model[kinds[k] + 1:]  # the same function without what comes before

    def run(a):
        with rules.Engine(smooth=True, edit=lambda index, out: a if index == k else out):
            return model(images.clone())
    return run


def occlusion(who: Subject, *, steps: int = 100, orders: int = 50, seed: int = 0, bfloat16: bool = False, stored: bool = False, log: Callable = lambda line: None) -> pd.DataFrame:
    """Feature-map occlusion (section 3.2, Fig. 3): the margin as units on background or object are set to 0 in random order.

    The margin is the class logit minus the largest other one. Columns layer, region, fraction; margin (averaged over orders
    and pictures), low, high (bootstrap over pictures), q25, q75 (over pictures), released (logits averaged over orders
    before the margin is taken, as in the released code); one more row a layer, region "difference", whose margin is how
    much more is lost, on average over all fractions, where the object is occluded, and `share` of the units in each region.
    """
    def compute():
        found = activations(who.model, batch(who, slice(None)))
        rows = []
        for layer, k in enumerate(convolutional(found), 1):
            losses = {}
            for region in ("background", "object"):
                margins, released, share = _occluded(who, found[k], k, region, steps, orders, seed, bfloat16)
                losses[region] = (margins[:1] - margins).mean(0)
                rows += [{"layer": layer, "region": region, "fraction": t / steps, "share": share, **_margin_row(margins[t]), "released": released[t].mean().item()}
                         for t in range(steps + 1)]
                log(f"occlusion  {who.title}  layer {layer} {region}")
            rows.append({"layer": layer, "region": "difference", "fraction": None, "share": None, **_margin_row(losses["object"] - losses["background"]), "released": None})
        return {"rows": rows}
    return pd.DataFrame(_kept(stored, "occlusion", who, "", {"steps": steps, "orders": orders, "seed": seed, "bfloat16": bfloat16}, compute)["rows"])


def _margin_row(values: Tensor) -> dict:
    low, high = metrics.bootstrap(values)
    q25, q75 = values.double().quantile(torch.tensor([.25, .75], dtype=torch.float64)).tolist()
    return {"margin": values.double().mean().item(), "low": low, "high": high, "q25": q25, "q75": q75, "n": len(values)}


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Class logit minus the largest other, [...,N] from [...,N,K]."""
    index = labels.expand(logits.shape[:-1])[..., None]
    return (logits.gather(-1, index) - logits.scatter(-1, index, -torch.inf).amax(-1, keepdim=True))[..., 0]


@torch.no_grad()
def _occluded(who: Subject, a: Tensor, k: int, region: str, steps: int, orders: int, seed: int, bfloat16: bool) -> tuple[Tensor, Tensor, float]:
    """Margins [steps+1,N] averaged over orders, margins of averaged logits [steps+1,N], and the region's share of the units."""
    generator = torch.Generator().manual_seed(seed)
    on = at_layer(who.pictures.masks, a) > .5
    inside = (on if region == "object" else ~on).expand_as(a)
    margins = torch.zeros(steps + 1, len(a), dtype=torch.float64)
    logits = torch.zeros(steps + 1, len(a), len(who.pictures.classes), dtype=torch.float64)
    levels = torch.arange(steps + 1) / steps
    a = a.contiguous(memory_format=torch.channels_last)
    tail = _tail(who.model, batch(who, slice(None)), k)
    for _ in range(orders):
        when = torch.rand(a.shape, generator=generator).to(a.device)   # a unit goes when the fraction passes its number
        for t, level in enumerate(levels):
            with torch.autocast(a.device.type, torch.bfloat16, enabled=bfloat16):
                out = tail(torch.where(inside & (when < level), 0, a)).cpu().double()
            logits[t] += out / orders
            margins[t] += _margin(out, who.pictures.labels) / orders
    return margins, _margin(logits, who.pictures.labels), inside.double().mean().item()


def rivals(who: Subject, *, steps: int = 20, levels=(.01, .02, .05, .1, .2), seed: int = 0, batch_size: int = 250) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rival hypotheses of section 2.1, measured: saturation along the path from grey to the picture, and turning gradients.

    First table: picture, position (0 to 1), score (logit of the predicted class, as a share of its whole rise), slope (of
    that score, by the gradient at that point times the way). Second: picture, level (standard deviation of Gaussian noise
    as a share of the picture's range), cosine (of the gradient with and without the noise), same (prediction unchanged?).
    """
    path, turns = [], []
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, len(who.pictures), batch_size):
        images = batch(who, slice(start, start + batch_size))
        with torch.no_grad():
            target = who.model(images).argmax(1)
        scores, slopes = [], []
        for k in range(steps + 1):
            score, gradient = _score_and_gradient(who.model, images * k / steps, target)
            scores.append(score)
            slopes.append((gradient * images).sum((1, 2, 3)))
        rise = scores[-1] - scores[0]
        for k, (score, slope) in enumerate(zip(scores, slopes)):
            path += [{"picture": start + n, "position": k / steps, "score": s, "slope": d, "rise": r}
                     for n, (s, d, r) in enumerate(zip((score - scores[0]).tolist(), slope.tolist(), rise.tolist()))]
        reach = (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))[:, None, None, None]
        for level in levels:
            noise = torch.randn(images.shape, generator=generator).to(images)
            _, turned = _score_and_gradient(who.model, images + level * reach * noise, target)
            cosine = F.cosine_similarity(gradient.flatten(1), turned.flatten(1))
            with torch.no_grad():
                same = who.model(images + level * reach * noise).argmax(1) == target
            turns += [{"picture": start + n, "level": level, "cosine": c, "same": s} for n, (c, s) in enumerate(zip(cosine.tolist(), same.tolist()))]
    return pd.DataFrame(path), pd.DataFrame(turns)


def _score_and_gradient(model, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    with attribution._graph(model, images) as (leaf, logits):
        score = logits.gather(1, target[:, None])[:, 0]
        return score.detach(), attribution._gradient(score, leaf)


# --- sections 4, 5.1, 5.2: RectGrad ---------------------------------------------------------------------------------------

def traced(who: Subject, images: Tensor, rule: Callable, target=None, border: str | None = None) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For every activation in the order of the forward pass: its output a, the gradient R that arrives, and what the rule lets through."""
    seen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def spy(g, unit):
        passed = rule(g, unit)
        seen[unit.index] = unit.a, g, passed
        return passed
    attribution._ruled(who.model, images, target, "tracing", rules.Engine(spy, smooth=True, border=border))
    return [seen[k] for k in sorted(seen)]


def plain(g: Tensor, unit: rules.Activation) -> Tensor:
    """The plain gradient's rule, R f'(z)."""
    return g * unit.slope


def rectified(q: float) -> Callable:
    """RectGrad's rule at one percentile."""
    return lambda g, unit: rules.rectgrad(g, unit, q=q)


def sweep(who: Subject, percentiles=(0, 10, 20, 40, 60, 80, 90, 95, 98, 99), *, batch_size: int = 16, stored: bool = False, log: Callable = lambda line: None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the threshold does (section 5.1, Fig. 4): maps at every percentile, and scores and tau at every layer.

    First table: picture, q, roughness (total variation over the sum of |map|), like20 (rank correlation with the map at
    q = 20), top20 (share of the 5 % highest pixels at q = 20 that still are). Second: layer, q, zero (share of importance
    scores that are exactly 0), tau, positive (share of pictures with tau above 0), means over pictures.
    """
    def compute():
        pictures, layers = [], []
        for start in range(0, len(who.pictures), batch_size):
            images = batch(who, slice(start, start + batch_size))
            found = {q: _channel_sums(who, "rectgrad", images, q=float(q)) for q in percentiles}
            for q, one in found.items():
                whole = one.abs().sum((1, 2)).clamp(min=1e-30)
                like, same = metrics.rank_correlation(one, found[20]), _same_top(found[20], one)
                pictures += [{"picture": start + n, "q": q, "roughness": r, "like20": k, "top20": s} for n, (r, k, s) in
                             enumerate(zip((metrics.total_variation(one) / whole).tolist(), like.tolist(), same.tolist()))]
                for layer, (a, g, _) in enumerate(traced(who, images, rectified(q), border="padded"), 1):
                    score = a * g
                    tau = rules.percentile(score, q)
                    layers += [{"picture": start + n, "layer": layer, "q": q, "zero": z, "silent": s, "tau": t} for n, (z, s, t) in
                               enumerate(zip((score == 0).flatten(1).double().mean(1).tolist(), (a == 0).flatten(1).double().mean(1).tolist(), tau.tolist()))]
            log(f"sweep  {who.title}  {start + len(images)} pictures")
        layers = pd.DataFrame(layers)
        layers["positive"] = layers["tau"] > 0
        means = layers.groupby(["layer", "q"], as_index=False)[["zero", "silent", "tau", "positive"]].mean()
        return {"rows": pictures, "layers": means.to_dict("records")}
    content = _kept(stored, "sweep", who, "", {"percentiles": list(percentiles), "maps": MAPS_VERSION}, compute)
    return pd.DataFrame(content["rows"]), pd.DataFrame(content["layers"])


def _same_top(first: Tensor, second: Tensor, share: float = .05) -> Tensor:
    """Share of the highest pixels of the first maps that are among the highest of the second, [N]."""
    count = round(share * first[0].numel())
    top = [torch.zeros(len(m), m[0].numel(), dtype=torch.bool).scatter_(1, m.flatten(1).topk(count).indices, True) for m in (first, second)]
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
        for method, rule, border in (("saliency", plain, None), ("rectgrad", rectified(q), "padded")):
            layers = [(g if method == "saliency" else a * passed).mean(1, keepdim=True)
                      for a, g, passed in traced(who, images, rule, border=border) if a.ndim == 4 and a.shape[-1] > 1]
            entry = attribution.saliency(who.model, images) if method == "saliency" else attribution.rectgrad(who.model, images, q=q, final_threshold=False)
            for layer, values in enumerate([entry.mean(1, keepdim=True), *layers]):
                on, size = at_layer(masks, values), values.abs()
                inside, outside = ((size * w).sum((1, 2, 3)) / w.sum((1, 2, 3)).clamp(min=1e-6) + 1e-12 for w in (on, 1 - on))
                rows += [{"picture": start + n, "method": method, "layer": layer, "ratio": r} for n, r in enumerate((outside / inside).tolist())]
    return pd.DataFrame(rows)


def fgsm(model, images: Tensor, eps: float, black: float, white: float) -> Tensor:
    """The fast gradient sign method: one step of `eps` that raises the loss of the predicted class (section 5.2)."""
    with attribution._graph(model, images) as (leaf, logits):
        loss = F.cross_entropy(logits, logits.argmax(1), reduction="sum")
        return (images + eps * torch.autograd.grad(loss, leaf)[0].sign()).clamp(black, white)


def adversarial(who: Subject, methods=SHOWN, *, eps: float = .01, batch_size: int = 16, stored: bool = False, log: Callable = lambda line: None) -> pd.DataFrame:
    """Class sensitivity (section 5.2, Figs. 5b, 16): maps of pictures and of their adversarial examples, each for its own prediction.

    Columns picture, method, correlation (Spearman's, of the two maps), changed (did the prediction?).
    """
    rows = []
    for method in methods:
        def compute():
            before, found = maps(who, method, batch_size=batch_size, stored=stored), []
            for start in range(0, len(who.pictures), batch_size):
                images = batch(who, slice(start, start + batch_size))
                attacked = fgsm(who.model, images, eps, who.model.black, who.model.white)
                with torch.no_grad():
                    changed = who.model(images).argmax(1) != who.model(attacked).argmax(1)
                like = metrics.rank_correlation(before[start:start + batch_size], _channel_sums(who, method, attacked))
                found += [{"picture": start + n, "method": method, "correlation": c, "changed": d} for n, (c, d) in enumerate(zip(like.tolist(), changed.tolist()))]
            log(f"adversarial  {who.title}  {method}")
            return {"rows": found}
        rows += _kept(stored, "adversarial", who, method, {"method": method, "eps": eps, "maps": MAPS_VERSION}, compute)["rows"]
    return pd.DataFrame(rows)


def second_class(who: Subject, methods=("rectgrad", "guided_backprop", "saliency"), *, batch_size: int = 16) -> pd.DataFrame:
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
            pair = [attribution.METHODS[method].function(who.model, images, two[:, k].contiguous(), **options) for k in (0, 1)]
            pair = [(images * p if method == "guided_backprop" else p).sum(1) for p in pair]
            rows += [{"picture": start + n, "method": method, "correlation": c} for n, c in enumerate(metrics.rank_correlation(*pair).tolist())]
    return pd.DataFrame(rows)


def border(who: Subject, *, batch_size: int = 16) -> pd.DataFrame:
    """What the padding trick does (appendix C.1): RectGrad, q = 98, without it and with each reading of its border.

    Columns picture, setting, ring (share of |map| in the outer sixteenth of the picture's width over that ring's share of the area).
    """
    rows = []
    for start in range(0, len(who.pictures), batch_size):
        images = batch(who, slice(start, start + batch_size))
        for setting in ("off", "padded", "half_kernel", "released"):
            options = {"padding_trick": False} if setting == "off" else {"border": setting}
            size = _channel_sums(who, "rectgrad", images, **options).abs()
            width = max(1, size.shape[-1] // 16)
            ring = torch.ones(size.shape[1:], dtype=torch.bool)
            ring[width:-width, width:-width] = False
            share = (size * ring).sum((1, 2)) / size.sum((1, 2)).clamp(min=1e-30) / ring.double().mean()
            rows += [{"picture": start + n, "setting": setting, "ring": r} for n, r in enumerate(share.tolist())]
    return pd.DataFrame(rows)


def _layers(model) -> list[tuple[str, torch.nn.Module]]:
    """Modules with weights of their own, from the output to the input."""
    return [(name, module) for name, module in model.named_modules() if next(module.parameters(recurse=False), None) is not None][::-1]


def _redraw(module: torch.nn.Module, generator: torch.Generator) -> None:
    """New weights from a normal distribution with the mean and standard deviation of the old ones."""
    with torch.no_grad():
        for values in module.parameters(recurse=False):
            std = values.std() if values.numel() > 1 else 0.0
            values.copy_(values.mean() + std * torch.randn(values.shape, generator=generator).to(values))


def sanity(who: Subject, methods: tuple[str, ...] = tuple(attribution.METHODS), *, seed: int = 0, batch_size: int = 50, stored: bool = False,
           log: Callable = lambda line: None) -> pd.DataFrame:
    """Does a method notice that weights are gone (Adebayo et al. 2018)? A question that the paper leaves open.

    Weights are redrawn from the output down to a layer ("cascading") or in that layer alone ("independent"); maps are for
    the class that the intact network predicts. Columns method, mode, layer, depth (1 is the output), rank (Spearman's
    correlation of |map| with the intact network's), ssim (structural similarity of the two |map|s, each stretched to [0,1]),
    each with *_low, *_high over pictures.
    """
    rows = []
    for method in methods:
        def compute():
            before, found = _sanity_maps(who, who.model, method, None, batch_size).abs(), []
            for mode in ("cascading", "independent"):
                generator, model = torch.Generator().manual_seed(seed), copy.deepcopy(who.model)
                for depth, (name, module) in enumerate(_layers(model), 1):
                    intact = copy.deepcopy(module.state_dict())
                    _redraw(module, generator)
                    after = _sanity_maps(who, model, method, who.model, batch_size).abs()
                    found.append({"method": method, "mode": mode, "layer": f"{type(module).__name__} {name}", "depth": depth,
                                  **_interval("rank", metrics.rank_correlation(before, after)), **_interval("ssim", similarity(before, after)), "n": len(before)})
                    if mode == "independent":
                        module.load_state_dict(intact)
            log(f"sanity  {who.title}  {method}")
            return {"rows": found}
        rows += _kept(stored, "sanity", who, method, {"method": method, "seed": seed, "maps": MAPS_VERSION}, compute)["rows"]
    return pd.DataFrame(rows)


def _sanity_maps(who: Subject, model, method: str, target_of, batch_size: int) -> Tensor:
    def one(images):
        with torch.no_grad():
            target = (target_of or model)(images).argmax(1)
        return _channel_sums(who._replace(model=model), method, images, target)
    return _over(who, one, batch_size)


def _interval(name: str, values: Tensor) -> dict:
    low, high = metrics.bootstrap(values)
    return {name: values.double().mean().item(), f"{name}_low": low, f"{name}_high": high}


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of two sets of maps [N,H,W], each stretched to [0,1], [N] (Wang et al. 2004)."""
    from skimage.metrics import structural_similarity
    pairs = zip(attribution.normalize(first).numpy(), attribution.normalize(second).numpy())
    return torch.tensor([structural_similarity(a, b, data_range=1.0) for a, b in pairs])
