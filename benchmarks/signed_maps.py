"""Five signed maps of a batch: `lib.attribution.signed_maps` against the naive algorithm.

    python benchmarks/signed_maps.py [--size 32] [--batch 64] [--repeats 5] [--threads 1]
                                     [--models basic_cnn resnet18]

Both in one run, repeats interleaved. The naive algorithm has the passes of paper Sign's released
code: each map on its own, every pass a forward and a backward that also fills the gradients of the
weights. Original, positive and negative take one such pass each, active and inactive K + 1 each and
two more forwards to look up the number of classes and the prediction: 2K + 5 = 25 passes for ten
classes.

Prints the ratio of times, above 1 if `signed_maps` is faster: the median over the repeats and their
range, in float32 and under bfloat16 autocast; how far the float32 maps are from the naive ones; and
Spearman's rank correlation of the bfloat16 maps with the float32 ones, averaged over the images.
Only ratios within a run mean anything on a busy machine; `--clock cpu` with one thread counts the
processor's time instead of the wall clock's.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where lib and study are

import timing  # noqa: E402

from lib.attribution import SignedMaps, signed_maps  # noqa: E402
from lib.metrics import rank_correlation  # noqa: E402
from study.subjects import networks  # noqa: E402
from study.subjects.pictures import to_range


def full_pass(model, images, label=None):
    """Gradient [N,C,H,W] of one class, or of the predicted one, by a forward and a backward through
    everything.
    """
    images = images.clone().requires_grad_()
    logits = model(images)
    score = logits.amax(1) if label is None else logits[:, label]
    model.zero_grad()
    score.sum().backward()
    return images.grad


def versus_rivals(model, images, loses):
    """Absolute gradient where no rival `loses` it, [N,H,W]: K + 1 passes."""
    own = full_pass(model, images)
    with torch.no_grad():
        classes = model(images).shape[1]
        predicted = model(images).argmax(1).view(-1, 1, 1, 1)
    for label in range(classes):
        own[(predicted != label) & loses(own, full_pass(model, images, label))] = 0
    return own.abs().amax(1)


def naive(model, images):
    return SignedMaps(
        full_pass(model, images).abs().amax(1),
        full_pass(model, images).relu().amax(1),
        (-full_pass(model, images)).relu().amax(1),
        versus_rivals(model, images, torch.le),
        versus_rivals(model, images, torch.ge),
    )


def in_bfloat16(model, images):
    with torch.autocast(images.device.type, torch.bfloat16):
        return signed_maps(model, images)


def main():
    chosen, clock, pictures = timing.options(__doc__.splitlines()[0], batch=64)
    for name in chosen.models:
        model = networks.load(name, chosen.weights, classes=pictures.classes)
        images = to_range(pictures.images, model)
        runs = {
            kind: partial(function, model, images)
            for kind, function in (
                ("naive", naive),
                ("float32", signed_maps),
                ("bfloat16", in_bfloat16),
            )
        }
        results = {kind: function() for kind, function in runs.items()}  # warm-up
        seconds = timing.interleaved(runs, chosen.repeats, clock)
        print(f"\n{name}: naive {statistics.median(seconds['naive']):.2f} s")
        for kind in ("float32", "bfloat16"):
            print(f"  {kind:9} {timing.ratio(seconds['naive'], seconds[kind])}")
        for field in SignedMaps._fields:
            slow, fast, half = (getattr(results[kind], field) for kind in runs)
            far = ((slow - fast).abs() > 1e-4 * slow.abs().amax()).double().mean().item()
            correlation = rank_correlation(half.float(), fast).mean().item()
            print(
                f"  {field:9} {far:.3%} of pixels differ from naive by over 1e-4 of the maximum; "
                f"bfloat16 rank correlation {correlation:.3f}"
            )


if __name__ == "__main__":
    main()
