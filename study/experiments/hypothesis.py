"""Why maps are noisy (paper Noise, sections 2.1 and 3).

Feature activity, feature-map occlusion, and the rival hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from lib import attribution, metrics
from lib.attribution.engine import Engine
from study.experiments.deletion import stored_or_computed
from study.subjects.subject import Subject, batch


def activations(model, images: Tensor) -> list[Tensor]:
    """The output of every activation operation of one forward pass, in order."""
    found: list[Tensor] = []

    def collect(index, a):
        found.append(a.detach().clone())
        return a

    with torch.no_grad(), attribution.evaluating(model), Engine(smooth=True, edit=collect):
        model(images.clone())
    return found


def at_layer(masks: Tensor, like: Tensor) -> Tensor:
    """Masks [N,H,W] as shares of each position of a layer [N,C,h,w]: what lies on the object.

    The shares are [N,1,h,w].
    """
    return F.interpolate(masks[:, None].to(like), like.shape[-2:], mode="area")


def convolutional(found: list[Tensor]) -> list[int]:
    """Which activations are feature maps with more than one position."""
    return [k for k, a in enumerate(found) if a.ndim == 4 and a.shape[-1] > 1]


def firing(who: Subject, batch_size: int = 100) -> pd.DataFrame:
    """How often units fire on the object and on the background, by layer and picture.

    Appendix A.1 leaves it as future study. Columns picture, layer, object, background (shares of
    units with positive activation), lift (their difference).
    """
    rows = []
    for start in range(0, len(who.pictures), batch_size):
        place = slice(start, start + batch_size)
        found = activations(who.model, batch(who, place))
        for layer, k in enumerate(convolutional(found), 1):
            rate = (found[k] > 0).to(found[k]).mean(1, keepdim=True)
            on = at_layer(who.pictures.masks[place], found[k])
            off = 1 - on
            inside = (rate * on).sum((1, 2, 3)) / on.sum((1, 2, 3)).clamp(min=1e-6)
            outside = (rate * off).sum((1, 2, 3)) / off.sum((1, 2, 3)).clamp(min=1e-6)
            rates = zip(inside.tolist(), outside.tolist(), strict=True)
            rows += [
                {"picture": start + n, "layer": layer, "object": i, "background": o, "lift": i - o}
                for n, (i, o) in enumerate(rates)
            ]
    return pd.DataFrame(rows)


def brightness(found: Tensor, masks: Tensor) -> Tensor:
    """Mean |map| of a background pixel over that of an object pixel, [N].

    Maps and masks are [N,H,W].
    """
    size = found.abs()
    background = (size * ~masks).sum((1, 2)) / (~masks).sum((1, 2)).clamp(min=1)
    on_object = (size * masks).sum((1, 2)) / masks.sum((1, 2)).clamp(min=1)
    return background / on_object


def _tail(model, images: Tensor, k: int) -> Callable[[Tensor], Tensor]:
    """The network from the output of its k-th activation on: [n,C,h,w] -> logits.

    It is for the `images` [n,...] that lead there.
    """
    if isinstance(model, torch.nn.Sequential):
        relus = [i for i, module in enumerate(model) if isinstance(module, torch.nn.ReLU)]
        if len(relus) == len(activations(model, images[:1])):
            return model[relus[k] + 1 :]  # the same function without what comes before

    def run(a):
        def replace(index, out):
            return a if index == k else out

        with Engine(smooth=True, edit=replace):
            return model(images.clone())

    return run


def occlusion(
    who: Subject,
    *,
    steps: int = 100,
    orders: int = 50,
    seed: int = 0,
    bfloat16: bool = False,
    stored: bool = False,
    log: Callable = lambda line: None,
) -> pd.DataFrame:
    """Feature-map occlusion: the margin as units on background or object are set to 0.

    Section 3.2, Fig. 3; units go in random order. The margin is the class logit minus the largest
    other one. Columns layer, region, fraction; margin (averaged over orders and pictures), low,
    high (bootstrap over pictures), q25, q75 (over pictures), released (logits averaged over orders
    before the margin is taken, as in the released code); one more row a layer, region "difference",
    whose margin is how much more is lost, on average over all fractions, where the object is
    occluded. `share`: of the units, in that region. `bfloat16` runs the many forward passes in that
    precision.
    """
    settings = {"steps": steps, "orders": orders, "seed": seed, "bfloat16": bfloat16}

    def compute():
        found = activations(who.model, batch(who, slice(None)))
        rows = []
        for layer, k in enumerate(convolutional(found), 1):
            rows += _layer_rows(who, found[k], k, layer, log, **settings)
        return {"rows": rows}

    return pd.DataFrame(stored_or_computed(stored, "occlusion", who, "", settings, compute)["rows"])


def _layer_rows(
    who: Subject,
    a: Tensor,
    k: int,
    layer: int,
    log: Callable,
    *,
    steps: int,
    orders: int,
    seed: int,
    bfloat16: bool,
) -> list[dict]:
    """The rows of `occlusion` for one layer, whose output `a` is that of the k-th activation."""
    rows = []
    losses = {}
    for region in ("background", "object"):
        margins, released, share = _occluded(who, a, k, region, steps, orders, seed, bfloat16)
        losses[region] = (margins[:1] - margins).mean(0)
        rows += [
            {
                "layer": layer,
                "region": region,
                "fraction": t / steps,
                "share": share,
                **_margin_row(margins[t]),
                "released": released[t].mean().item(),
            }
            for t in range(steps + 1)
        ]
        log(f"occlusion  {who.title}  layer {layer} {region}")
    rows.append(
        {
            "layer": layer,
            "region": "difference",
            "fraction": None,
            "share": None,
            **_margin_row(losses["object"] - losses["background"]),
            "released": None,
        }
    )
    return rows


def _margin_row(values: Tensor) -> dict:
    low, high = metrics.bootstrap(values)
    q25, q75 = values.double().quantile(torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
    return {
        "margin": values.double().mean().item(),
        "low": low,
        "high": high,
        "q25": q25,
        "q75": q75,
        "n": len(values),
    }


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Class logit minus the largest other, [...,N] from [...,N,K]."""
    index = labels.expand(logits.shape[:-1])[..., None]
    own = logits.gather(-1, index)
    largest_other = logits.scatter(-1, index, -torch.inf).amax(-1, keepdim=True)
    return (own - largest_other)[..., 0]


@torch.no_grad()
def _occluded(
    who: Subject, a: Tensor, k: int, region: str, steps: int, orders: int, seed: int, bfloat16: bool
) -> tuple[Tensor, Tensor, float]:
    """Margins averaged over orders, margins of averaged logits, and the region's share of units.

    Both kinds of margins are [steps+1,N].
    """
    generator = torch.Generator().manual_seed(seed)
    on = at_layer(who.pictures.masks, a) > 0.5
    inside = (on if region == "object" else ~on).expand_as(a)
    margins = torch.zeros(steps + 1, len(a), dtype=torch.float64)
    logits = torch.zeros(steps + 1, len(a), len(who.pictures.classes), dtype=torch.float64)
    levels = torch.arange(steps + 1) / steps
    a = a.contiguous(memory_format=torch.channels_last)
    tail = _tail(who.model, batch(who, slice(None)), k)
    for _ in range(orders):
        # a unit goes when the fraction passes its number
        when = torch.rand(a.shape, generator=generator).to(a.device)
        for t, level in enumerate(levels):
            with torch.autocast(a.device.type, torch.bfloat16, enabled=bfloat16):
                out = tail(torch.where(inside & (when < level), 0, a)).cpu().double()
            logits[t] += out / orders
            margins[t] += _margin(out, who.pictures.labels) / orders
    return margins, _margin(logits, who.pictures.labels), inside.double().mean().item()


def rivals(
    who: Subject,
    *,
    steps: int = 20,
    levels=(0.01, 0.02, 0.05, 0.1, 0.2),
    seed: int = 0,
    batch_size: int = 250,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rival hypotheses of section 2.1, measured.

    Saturation along the path from grey to the picture, and turning gradients. First table: picture,
    position (0 to 1), score (logit of the predicted class, minus that at position 0), slope (of
    that score, by the gradient at that point times the way), rise (the score at position 1).
    Second: picture, level (standard deviation of Gaussian noise as a share of the picture's range),
    cosine (of the gradient with and without the noise), same (prediction unchanged?).
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
        for k, (score, slope) in enumerate(zip(scores, slopes, strict=True)):
            gained = (score - scores[0]).tolist()
            values = zip(gained, slope.tolist(), rise.tolist(), strict=True)
            path += [
                {"picture": start + n, "position": k / steps, "score": s, "slope": d, "rise": r}
                for n, (s, d, r) in enumerate(values)
            ]
        # `gradient` is now that at the last position, the picture itself
        reach = (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))[:, None, None, None]
        for level in levels:
            noise = torch.randn(images.shape, generator=generator).to(images)
            _, turned = _score_and_gradient(who.model, images + level * reach * noise, target)
            cosine = F.cosine_similarity(gradient.flatten(1), turned.flatten(1))
            with torch.no_grad():
                same = who.model(images + level * reach * noise).argmax(1) == target
            values = zip(cosine.tolist(), same.tolist(), strict=True)
            turns += [
                {"picture": start + n, "level": level, "cosine": c, "same": s}
                for n, (c, s) in enumerate(values)
            ]
    return pd.DataFrame(path), pd.DataFrame(turns)


def _score_and_gradient(model, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    with attribution.input_graph(model, images) as (leaf, logits):
        score = logits.gather(1, target[:, None])[:, 0]
        return score.detach(), attribution.input_gradient(score, leaf)
