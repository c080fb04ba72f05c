"""The experiments of paper Noise on one subject (a network and its pictures): a tidy table comes out.

Attributions are computed once for each method (`maps`) and shared by every quantity that needs them. With `stored=True` an
experiment reads what was computed before for exactly this subject and stores what was not.
"""
from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib import attribution, data, metrics, results
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
