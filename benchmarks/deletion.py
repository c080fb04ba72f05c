"""A deletion curve: `lib.metrics.allegiance` against two other ways.

They are its bare forward passes, and sorting anew for every fraction.

    python benchmarks/deletion.py [--size 32] [--batch 256] [--repeats 5] [--threads 1]
                                  [--models basic_cnn resnet18]

*Bare* is the model alone, under no_grad, on exactly the batches that `allegiance` gave it, made
ready beforehand: what sorting, selecting, filling and comparing cost on top. *Naive* follows the
released code of paper Sign: for every fraction it sorts the maps again, copies the images, fills
and runs the model on all of them, also where no further pixel has gone (but under no_grad, which
the released code does not have). Repeats are interleaved; ratios are medians with their range.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where lib and study are

import timing  # noqa: E402

from lib.attribution import signed_maps  # noqa: E402
from lib.metrics import PAPER_FRACTIONS, allegiance  # noqa: E402
from study.subjects import networks  # noqa: E402
from study.subjects.pictures import to_range


@torch.no_grad()
def naive(model, images, maps, fill):
    original = model(images).argmax(1)
    rows = []
    for fraction in PAPER_FRACTIONS:
        ordered = maps.flatten(1).sort(descending=True).values
        threshold = ordered[:, round(fraction * ordered.shape[1])].view(-1, 1, 1)
        mask = ((maps > threshold) & (maps != 0))[:, None].repeat(1, images.shape[1], 1, 1)
        altered = images.clone()
        altered[mask] = fill
        rows.append(model(altered).argmax(1) == original)
    return torch.stack(rows)


@torch.no_grad()
def bare(model, batches):
    for batch in batches:
        model(batch)


def batches_of(model, images, maps, fill, batch_size):
    """The batches that `allegiance` gives the model, in their order."""
    batches = []
    handle = model.register_forward_pre_hook(
        lambda _, arguments: batches.append(arguments[0].clone())
    )
    allegiance(model, images, maps, fill=fill, batch_size=batch_size)
    handle.remove()
    return batches


def main():
    chosen, clock, pictures = timing.options(__doc__.splitlines()[0], batch=256)
    for name in chosen.models:
        model = networks.load(name, chosen.weights, classes=pictures.classes)
        images = to_range(pictures.images, model)
        maps_of = signed_maps(model, images)
        for kind in ("original", "active"):
            maps = getattr(maps_of, kind)
            batches = batches_of(model, images, maps, model.black, chosen.batch)
            runs = {
                "allegiance": partial(
                    allegiance, model, images, maps, fill=model.black, batch_size=chosen.batch
                ),
                "bare": partial(bare, model, batches),
                "naive": partial(naive, model, images, maps, model.black),
            }
            same = (runs["allegiance"]() == runs["naive"]()).double().mean().item()  # warm-up
            bare(model, batches)
            seconds = timing.interleaved(runs, chosen.repeats, clock)
            images_seen = sum(len(batch) for batch in batches) / len(images)
            print(
                f"\n{name}, {kind} map: {images_seen:.1f} forward passes an image "
                f"(naive {1 + len(PAPER_FRACTIONS)}); {same:.2%} of entries equal to naive"
            )
            print(f"  allegiance over bare  {timing.ratio(seconds['allegiance'], seconds['bare'])}")
            print(
                f"  naive over allegiance {timing.ratio(seconds['naive'], seconds['allegiance'])}"
            )


if __name__ == "__main__":
    main()
