"""Why maps are noisy (paper Noise, sections 2.1 and 3).

Feature activity, feature-map occlusion, and the rival hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from lib import attribution, metrics
from lib.attribution.engine import Engine
from study.experiments import cleanliness
from study.experiments.deletion import accuracy, predictions, with_interval
from study.store.experiment import experiment
from study.subjects import sources
from study.subjects.subject import Subject, batch, object_masks, picture_rows


def activations(model, images: Tensor) -> list[Tensor]:
    """The output of every activation operation of one forward pass, in order."""
    outputs: list[Tensor] = []

    def collect(index, a):
        outputs.append(a.detach().clone())
        return a

    def watched(images):
        outputs.clear()  # a network that asks for another layout is run again
        with Engine(smooth=True, edit=collect):
            return model(images.contiguous())  # as stored results were computed

    attribution.logits(watched, images)
    return outputs


def at_layer(masks: Tensor, like: Tensor) -> Tensor:
    """Masks [N,H,W] as shares of each position of a layer [N,C,h,w]: what lies on the object.

    The shares are [N,1,h,w].
    """
    return F.interpolate(masks[:, None].to(like), like.shape[-2:], mode="area")


def convolutional(outputs: list[Tensor]) -> list[int]:
    """Which activations are feature maps with more than one position."""
    return [k for k, a in enumerate(outputs) if a.ndim == 4 and a.shape[-1] > 1]


def firing(studied: Subject, batch_size: int = 100) -> pd.DataFrame:
    """How often units fire on the object and on the background, by layer and picture.

    Appendix A.1 leaves it as future study. Columns picture, layer, object, background (shares of
    units with positive activation), lift (their difference).
    """
    rows, masks = [], object_masks(studied)
    for place, images in studied.batches(batch_size):
        outputs = activations(studied.model, images)
        for layer, k in enumerate(convolutional(outputs), 1):
            rate = (outputs[k] > 0).to(outputs[k]).mean(1, keepdim=True)
            on = at_layer(masks[place], outputs[k])
            inside, outside = mean_where(rate, on), mean_where(rate, 1 - on)
            lift = inside.double() - outside.double()
            columns = {"object": inside, "background": outside, "lift": lift}
            rows += picture_rows(place, {"layer": layer}, **columns)
    return pd.DataFrame(rows)


def mean_where(values: Tensor, shares: Tensor) -> Tensor:
    """Mean of values [N,1,h,w] weighted by shares [N,1,h,w] of each position, [N]."""
    return (values * shares).sum((1, 2, 3)) / shares.sum((1, 2, 3)).clamp(min=1e-6)


def brightness(maps: Tensor, masks: Tensor) -> Tensor:
    """Mean |map| of a background pixel over that of an object pixel, [N].

    Maps and masks are [N,H,W].
    """
    size = maps.abs()
    background = (size * ~masks).sum((1, 2)) / (~masks).sum((1, 2)).clamp(min=1)
    on_object = (size * masks).sum((1, 2)) / masks.sum((1, 2)).clamp(min=1)
    return background / on_object


def rest_of_network(model, images: Tensor, k: int) -> Callable:
    """The network from the output [n,C,h,w] of its k-th activation on, as a network of its own.

    It is for the `images` [n,...] that lead there.
    """
    if type(model) is torch.nn.Sequential:  # a subclass may have a forward of its own
        relus = [i for i, module in enumerate(model) if isinstance(module, torch.nn.ReLU)]
        if len(relus) == len(activations(model, images[:1])):
            return model[relus[k] + 1 :]  # the same function without what comes before

    def run(a):
        def replace(index, out):
            return a if index == k else out

        with Engine(smooth=True, edit=replace):
            return model(images.clone())

    return run


@experiment("occlusion", tolerance=0.02, sample=("layers", ("layer",)))
def occlusion(
    studied: Subject,
    *,
    steps: int = 100,
    orders: int = 50,
    seed: int = 0,
    layers: Sequence[int] | None = None,
    log: Callable = lambda line: None,
) -> pd.DataFrame:
    """Feature-map occlusion: the margin as units on background or object are set to 0.

    Section 3.2, Fig. 3; units go in random order. The margin is the class logit minus the largest
    other one. Columns layer, region, fraction; margin (averaged over orders and pictures), low,
    high (bootstrap over pictures), q25, q75 (over pictures), released (logits averaged over orders
    before the margin is taken, as in the released code); one more row a layer, region "difference",
    whose margin is how much more is lost, on average over all fractions, where the object is
    occluded. `share`: of the units, in that region. `layers`: None for all. Kept beside the rows is
    "lost", that difference of every picture, [layers,N].
    """
    object_masks(studied)  # refused before any long work
    outputs = activations(studied.model, batch(studied, slice(None)))
    rows, lost = [], []
    for layer, k in enumerate(convolutional(outputs), 1):
        if layers is None or layer in layers:
            of_layer, more_lost = _layer_rows(
                studied, outputs[k], k, layer, log, steps=steps, orders=orders, seed=seed
            )
            rows += of_layer
            lost.append(more_lost)
    return {"rows": rows, "lost": torch.stack(lost)}


def _layer_rows(
    studied: Subject,
    a: Tensor,
    k: int,
    layer: int,
    log: Callable,
    *,
    steps: int,
    orders: int,
    seed: int,
) -> tuple[list[dict], Tensor]:
    """The rows of `occlusion` for one layer, whose output `a` is that of the k-th activation, and
    how much more every picture loses where its object is occluded, [N]."""
    rows = []
    losses = {}
    for region in ("background", "object"):
        margins, released, share = _occluded(studied, a, k, region, steps, orders, seed)
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
        log(f"occlusion  {studied.title}  layer {layer} {region}")
    more_lost = losses["object"] - losses["background"]
    rows.append(
        {
            "layer": layer,
            "region": "difference",
            "fraction": None,
            "share": None,
            **_margin_row(more_lost),
            "released": None,
        }
    )
    return rows, more_lost


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


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Class logit minus the largest other, [...,N] from [...,N,K]."""
    index = labels.expand(logits.shape[:-1])[..., None]
    own = logits.gather(-1, index)
    largest_other = logits.scatter(-1, index, -torch.inf).amax(-1, keepdim=True)
    return (own - largest_other)[..., 0]


def _occluded(
    studied: Subject, a: Tensor, k: int, region: str, steps: int, orders: int, seed: int
) -> tuple[Tensor, Tensor, float]:
    """Margins averaged over orders, margins of averaged logits, and the region's share of units.

    Both kinds of margins are [steps+1,N].
    """
    generator = torch.Generator().manual_seed(seed)
    on = at_layer(object_masks(studied), a) > 0.5
    inside = (on if region == "object" else ~on).expand_as(a)
    margins = torch.zeros(steps + 1, len(a), dtype=torch.float64)
    logits = torch.zeros(steps + 1, len(a), len(studied.pictures.classes), dtype=torch.float64)
    levels = torch.arange(steps + 1) / steps
    a = a.contiguous(memory_format=torch.channels_last)
    tail = rest_of_network(studied.model, batch(studied, slice(None)), k)
    for _ in range(orders):
        # a unit goes when the fraction passes its number
        when = torch.rand(a.shape, generator=generator).to(a.device)
        for t, level in enumerate(levels):
            left = torch.where(inside & (when < level), 0, a)
            out = attribution.logits(tail, left).cpu().double()
            logits[t] += out / orders
            margins[t] += margin(out, studied.pictures.labels) / orders
    return margins, margin(logits, studied.pictures.labels), inside.double().mean().item()


def rivals(
    studied: Subject,
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
    for place, images in studied.batches(batch_size):
        target = attribution.logits(studied.model, images).argmax(1)
        along = [
            score_and_gradient(studied.model, images * k / steps, target) for k in range(steps + 1)
        ]
        start, end = along[0][0], along[-1][0]
        for k, (score, gradient) in enumerate(along):
            slope = (gradient * images).sum((1, 2, 3))
            columns = {"score": score - start, "slope": slope, "rise": end - start}
            path += picture_rows(place, {"position": k / steps}, **columns)
        gradient = along[-1][1]  # at the picture itself
        reach = (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))[:, None, None, None]
        for level in levels:
            noise = torch.randn(images.shape, generator=generator).to(images)
            noisy = images + level * reach * noise
            _, turned = score_and_gradient(studied.model, noisy, target)
            cosine = F.cosine_similarity(gradient.flatten(1), turned.flatten(1))
            same = attribution.logits(studied.model, noisy).argmax(1) == target
            turns += picture_rows(place, {"level": level}, cosine=cosine, same=same)
    return pd.DataFrame(path), pd.DataFrame(turns)


def score_and_gradient(model, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The target's logit [N], and its gradient [N,C,H,W] with respect to the images."""
    with attribution.input_graph(model, images) as (leaf, logits):
        score = logits.gather(1, target[:, None])[:, 0]
        return score.detach(), attribution.input_gradient(score, leaf)


# --- tables of what is measured above ------------------------------------------------------------


def patch_accuracies(plain: Subject, twin: Subject, *, batch_size: int = 250) -> pd.DataFrame:
    """What the patch costs a network that is trained with it.

    Columns pictures ("plain" or "with the patch"), n, accuracy, low, high (Wilson's interval).
    """
    rows = []
    for studied, name in ((plain, "plain"), (twin, "with the patch")):
        row = accuracy(studied, batch_size=batch_size)
        ends = {key: row[key] for key in ("accuracy", "low", "high")}
        rows.append({"pictures": name, "n": len(studied.pictures), **ends})
    return pd.DataFrame(rows)


def patch_exchange(twin: Subject, *, seed: int = 0, batch_size: int = 250) -> pd.DataFrame:
    """Is a patch that tells nothing lit, and does the network react when it is exchanged?

    Columns quantity, value, low, high, n. "share": of |saliency| in the corner, a mean with its
    bootstrap interval. "even": the corner's share of the area. "kept": share of predictions that
    stay with a fresh patch, of the next seed, with Wilson's interval.
    """
    saliency = cleanliness.maps(twin, "saliency", batch_size=batch_size)
    share = cleanliness.amount("patch", saliency, None, True)
    fresh = twin._replace(pictures=sources.patched(twin.pictures, seed + 1))
    same = predictions(twin, batch_size) == predictions(fresh, batch_size)
    n, even = len(same), cleanliness.CORNER**2 / saliency[0].numel()
    rows = [
        ("share", share.double().mean().item(), *metrics.bootstrap(share), n),
        ("even", even, even, even, n),
        ("kept", same.double().mean().item(), *metrics.wilson(int(same.sum()), n), n),
    ]
    return pd.DataFrame(rows, columns=["quantity", "value", "low", "high", "n"])


def impact(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """How much more the object matters than the background, from tables of `occlusion`.

    Columns network (the keys of `tables`), layer, n; more (margin that the object costs more than
    the background, in logits), low, high, q25, q75; share (of units on the object), times (loss a
    unit on the object, by that of one on the background).
    """
    rows = []
    for network, table in tables.items():
        for layer, part in table.groupby("layer"):
            by_region = dict(iter(part.groupby("region")))
            gap = by_region["difference"].iloc[0]
            rows.append(
                {
                    "network": network,
                    "layer": layer,
                    "n": int(gap["n"]),
                    "more": gap["margin"],
                    **gap[["low", "high", "q25", "q75"]].to_dict(),
                    "share": by_region["object"]["share"].iloc[0],
                    "times": _lost_by_unit(by_region["object"])
                    / _lost_by_unit(by_region["background"]),
                }
            )
    return pd.DataFrame(rows)


def _lost_by_unit(curve: pd.DataFrame) -> float:
    """Margin lost, averaged over the curve, for each share of the layer's units."""
    return (curve["margin"].iloc[0] - curve["margin"].mean()) / curve["share"].iloc[0]


def firing_rates(studied: Sequence[Subject], batch_size: int = 100) -> pd.DataFrame:
    """`firing` as a row a network and layer, means over pictures with bootstrap intervals.

    Columns network, layer, n; object, background, lift, each with *_low and *_high; more (share of
    pictures in which units fire more often on the object).
    """
    rows = []
    for subject in studied:
        for layer, part in firing(subject, batch_size).groupby("layer"):
            values = {
                name: torch.tensor(part[name].to_numpy())
                for name in ("object", "background", "lift")
            }
            row = {"network": subject.label, "layer": layer, "n": len(part)}
            for name, of_pictures in values.items():
                row |= with_interval(name, of_pictures)
            rows.append(row | {"more": (values["lift"] > 0).double().mean().item()})
    return pd.DataFrame(rows)


def backgrounds(studied: Sequence[Subject], *, batch_size: int = 250) -> pd.DataFrame:
    """The background of every picture: how often units fire there, how bright the map is there.

    Columns network, picture, rate (share of units that fire, mean over the convolutions),
    brightness (mean |saliency| of a background pixel over that of an object pixel).
    """
    tables = []
    for subject in studied:
        rate = firing(subject, min(batch_size, 100)).groupby("picture")["background"].mean()
        saliency = cleanliness.maps(subject, "saliency", batch_size=batch_size)
        ratio = brightness(saliency, object_masks(subject)).double().numpy()
        of_network = {"picture": rate.index, "rate": rate.to_numpy(), "brightness": ratio}
        tables.append(pd.DataFrame({"network": subject.label, **of_network}))
    return pd.concat(tables, ignore_index=True)


def explained(table: pd.DataFrame) -> pd.DataFrame:
    """Do backgrounds on which more units fire have noisier maps? From `backgrounds`.

    Columns network, n, correlation (Spearman's over pictures), low, high.
    """
    rows = []
    for network, part in table.groupby("network", sort=False):
        columns = torch.tensor(part[["rate", "brightness"]].to_numpy().T.copy())
        value, low, high = metrics.bootstrap_of(metrics.spearman, *columns, resamples=1000)
        rows.append((network, len(part), value, low, high))
    return pd.DataFrame(rows, columns=["network", "n", "correlation", "low", "high"])


def brighter(table: pd.DataFrame) -> pd.DataFrame:
    """How bright backgrounds are beside objects. From `backgrounds`.

    Columns network, n, median (background over object, a pixel), low, high, share (of pictures
    whose background is the brighter).
    """
    rows = []
    for network, part in table.groupby("network", sort=False):
        ratio = torch.tensor(part["brightness"].to_numpy())
        share = (ratio > 1).double().mean().item()
        ends = metrics.median_interval(ratio)
        rows.append((network, len(part), part["brightness"].median(), *ends, share))
    return pd.DataFrame(rows, columns=["network", "n", "median", "low", "high", "share"])


def rival_summary(
    path: pd.DataFrame, turns: pd.DataFrame, levels: Sequence[float] = (0.01, 0.05, 0.1)
) -> pd.DataFrame:
    """The two tables of `rivals` in medians over pictures.

    Columns quantity, level, value, low, high, same, n. "slope": the slope in the last tenth of the
    way as a share of the mean slope, of pictures whose score rises. "cosine": of gradients at each
    of `levels`, with `same`, the share of predictions that stay.
    """
    rising = path[path["rise"] > 0]
    ends = rising[rising["position"] >= 0.9].groupby("picture")["slope"].mean()
    late = torch.tensor((ends / rising.groupby("picture")["slope"].mean()).to_numpy())
    rows = [("slope", None, *median_with_interval(late), None, len(late))]
    for level in levels:
        part = turns[turns["level"] == level]
        cosine = torch.tensor(part["cosine"].to_numpy())
        rows.append(
            ("cosine", level, *median_with_interval(cosine), part["same"].mean(), len(part))
        )
    columns = ["quantity", "level", "value", "low", "high", "same", "n"]
    return pd.DataFrame(rows, columns=columns)


def median_with_interval(values: Tensor) -> tuple[float, float, float]:
    """The median of numbers [N] and the ends of its interval."""
    return values.quantile(0.5).item(), *metrics.median_interval(values)
