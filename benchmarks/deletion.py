"""A deletion curve: `lib.metrics.allegiance` against its bare forward passes and against sorting anew for every fraction.

    python benchmarks/deletion.py [--size 32] [--batch 256] [--repeats 5] [--threads 1] [--models basic_cnn resnet18]

*Bare* is the model alone, under no_grad, on exactly the batches that `allegiance` gave it, made ready beforehand: what
sorting, selecting, filling and comparing cost on top. *Naive* follows the released code of paper Sign: for every fraction
it sorts the maps again, copies the images, fills and runs the model on all of them, also where no further pixel has gone
(but under no_grad, which the released code does not have). Repeats are interleaved; ratios are medians with their range.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lib import data, models  # noqa: E402
from lib.attribution import signed_maps  # noqa: E402
from lib.metrics import PAPER_FRACTIONS, allegiance  # noqa: E402


@torch.no_grad()
def naive(model, images, maps, fill):
    original, rows = model(images).argmax(1), []
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
    handle = model.register_forward_pre_hook(lambda _, arguments: batches.append(arguments[0].clone()))
    allegiance(model, images, maps, fill=fill, batch_size=batch_size)
    handle.remove()
    return batches


def summary(ratios):
    return f"{statistics.median(ratios):.2f} times  (from {min(ratios):.2f} to {max(ratios):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32, help="height and width in pixels")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=["basic_cnn", "resnet18"])
    parser.add_argument("--weights", help="a tag or file that lib.models.load accepts; default: freshly drawn")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    pictures = data.load("shapes10", "test", size=options.size, count=options.batch)
    print(f"{options.batch} pictures of {options.size} pixels, {options.threads} thread(s), {options.repeats} repeats, {options.clock} clock, "
          f"weights {options.weights or 'freshly drawn'}, PyTorch {torch.__version__}")
    for name in options.models:
        model = models.load(name, options.weights, classes=pictures.classes)
        images = data.to_range(pictures.images, model)
        maps_of = signed_maps(model, images)
        for kind in ("original", "active"):
            maps = getattr(maps_of, kind)
            batches = batches_of(model, images, maps, model.black, options.batch)
            runs = {"allegiance": lambda: allegiance(model, images, maps, fill=model.black, batch_size=options.batch),
                    "bare": lambda: bare(model, batches), "naive": lambda: naive(model, images, maps, model.black)}
            same = (runs["allegiance"]() == runs["naive"]()).double().mean().item()    # warm-up
            bare(model, batches)
            seconds = {run: [] for run in runs}
            for _ in range(options.repeats):
                for run, function in runs.items():
                    start = clock()
                    function()
                    seconds[run].append(clock() - start)
            images_seen = sum(len(batch) for batch in batches) / len(images)
            print(f"\n{name}, {kind} map: {images_seen:.1f} forward passes an image (naive {1 + len(PAPER_FRACTIONS)}); {same:.2%} of entries equal to naive")
            print(f"  allegiance over bare  {summary([a / b for a, b in zip(seconds['allegiance'], seconds['bare'])])}")
            print(f"  naive over allegiance {summary([n / a for n, a in zip(seconds['naive'], seconds['allegiance'])])}")


if __name__ == "__main__":
    main()
