"""One picture of one's own: what the network sees in it, its maps, and what deletion does to it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from lib import attribution, metrics
from lib.attribution import label
from lib.attribution.graph import whole_number
from study.experiments.cleanliness import channel_sums
from study.subjects.subject import Subject


def chosen(methods: Sequence[str] | str) -> list[str]:
    """Names of methods, from a list or one text with commas; ValueError of none or unknown ones."""
    names = methods.split(",") if isinstance(methods, str) else methods
    names = [str(name).strip() for name in names or ()]
    if not names:
        raise ValueError(f"no method is named; accepted are {', '.join(attribution.METHODS)}.")
    if unknown := [name for name in names if name not in attribution.METHODS]:
        raise ValueError(
            f"unknown method {unknown[0]!r}; accepted are {', '.join(attribution.METHODS)}."
        )
    return names


def likeliest(studied: Subject, images: Tensor, most: int = 5) -> pd.DataFrame:
    """The classes that the network finds likeliest in `images` [1,3,H,W].

    Columns class, number, probability; the likeliest first.
    """
    names = studied.pictures.classes
    with torch.no_grad():
        probability = attribution.logits(studied.model, images).softmax(1)[0].cpu()
    top = probability.topk(min(most, len(names))).indices.tolist()
    return pd.DataFrame(
        [{"class": names[k], "number": k, "probability": probability[k].item()} for k in top]
    )


def maps(
    studied: Subject,
    images: Tensor,
    methods: Sequence[str],
    target: int,
    rivals: Sequence[int],
    *,
    batch_size: int,
    seed: int,
) -> tuple[dict[str, Tensor], list[str]]:
    """Method -> map [1,H,W], and a sentence for each method that this network has no reading for.

    `rivals`: the classes that active and inactive pixels are to beat. ValueError where no method is
    left, or for a `batch_size` that is no whole number from 1.
    """
    batch_size = whole_number("batch_size", batch_size)  # refused at once, not as a method is
    noise = torch.Generator().manual_seed(seed)
    options = {
        "smoothgrad": {"batch_size": batch_size, "generator": noise},
        "integrated_gradients": {"batch_size": batch_size},
        "active": {"classes": rivals},
        "inactive": {"classes": rivals},
    }
    method_maps, refused = {}, []
    for name in methods:
        try:
            method_maps[name] = channel_sums(studied, name, images, target, **options.get(name, {}))
        except ValueError as refusal:
            refused.append(f"Left out: {name}. {refusal}")
    if not method_maps:
        raise ValueError(
            f"none of {', '.join(methods)} can explain {studied.model_name}; saliency, smoothgrad "
            "and integrated_gradients work on any network with a gradient."
        )
    return method_maps, refused


def signed_maps(
    studied: Subject, images: Tensor, target: int, rivals: Sequence[int]
) -> dict[str, Tensor]:
    """The five maps of paper Sign, name -> [1,H,W]."""
    return attribution.signed_maps(studied.model, images, target, classes=rivals)._asdict()


def without_the_most_active(
    studied: Subject, images: Tensor, active: Tensor, share: float = 0.1
) -> tuple[Tensor, list[bool]]:
    """The picture [1,3,H,W] in [0,1], its most active pixels black, and whether the prediction
    stays."""
    black, white = studied.model.black, studied.model.white
    altered = metrics.delete(images, active, share, black)
    with torch.no_grad():
        before, after = (
            attribution.logits(studied.model, shown).argmax(1) for shown in (images, altered)
        )
    return ((altered - black) / (white - black)).cpu().clamp(0, 1), (before == after).tolist()


def kept(signed: dict[str, Tensor]) -> pd.DataFrame:
    """How many pixels of each map are not 0: columns map, share."""
    shares = [(values != 0).double().mean().item() for values in signed.values()]
    return pd.DataFrame({"map": list(signed), "share": shares})


def ranked(
    method_maps: dict[str, Tensor], signed: dict[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """What chooses pixels, by what a reader calls it: methods, signed maps, and, last, chance."""
    shape = next(iter(method_maps.values())).shape
    chance = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (
        {label(name): values for name, values in method_maps.items()}
        | {f"{name.capitalize()} (signed)": values for name, values in signed.items()}
        | {"At random": chance}
    )


def after_deletion(
    studied: Subject, images: Tensor, ranked: dict[str, Tensor], target: int
) -> pd.DataFrame:
    """The probability of the target after the most important pixels took the grey in the middle of
    the range, or black: a row a map, after one for the whole picture."""
    black = studied.model.black
    grey = (black + studied.model.white) / 2
    steps = {
        "0.1 % to grey": (0.001, grey),
        "1 % to grey": (0.01, grey),
        "10 % to grey": (0.1, grey),
        "10 % to black": (0.1, black),
    }
    whole = _probability(studied, images, target)
    rows = [{"map": "(nothing deleted)"} | dict.fromkeys(steps, whole)]
    for name, values in ranked.items():
        left = {
            step: _probability(studied, metrics.delete(images, values.to(images), *how), target)
            for step, how in steps.items()
        }
        rows.append({"map": name} | left)
    return pd.DataFrame(rows)


def _probability(studied: Subject, images: Tensor, target: int) -> float:
    with torch.no_grad():
        logits = attribution.logits(studied.model, images)
    return logits.softmax(1)[0, target].item()
