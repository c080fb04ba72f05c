"""RectGrad and its relatives against a plain gradient of the same network.

DeepLIFT and guided backpropagation also against Captum's.

    python benchmarks/backward_rules.py [--size 224] [--batch 4] [--repeats 7] [--threads 1]
                                        [--models squeezenet1_1 resnet18]

The plain gradient is `saliency`: one forward pass, one backward pass to the input. Ratios of
interleaved repeats.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where lib and study are

import timing  # noqa: E402

from lib import attribution  # noqa: E402
from study.subjects import networks  # noqa: E402
from study.subjects.pictures import to_range

METHODS = {
    "guided_backprop": {},
    "deconvolution": {},
    "epsilon_lrp": {},
    "rectgrad": {},
    "rectgrad without padding trick": {"padding_trick": False},
    "rectgrad q=50": {"q": 50.0},
    "rectgrad_prr": {},
    "deeplift": {},
}


def main():
    chosen, clock, pictures = timing.options(__doc__.splitlines()[0], batch=4)
    for name in chosen.models:
        model = networks.load(name, chosen.weights, classes=pictures.classes)
        images = to_range(pictures.images, model)
        runs = {"saliency": partial(attribution.saliency, model, images)}
        for label, options in METHODS.items():
            function = attribution.METHODS[label.split()[0]].function
            runs[label] = partial(function, model, images, **options)
        runs |= peers(model, images)
        seconds = timing.interleaved(runs, chosen.repeats, clock)
        for label in list(runs)[1:]:
            ratio = timing.ratio(seconds[label], seconds["saliency"])
            print(f"{name}  {label} over saliency: {ratio}")


def peers(model, images):
    """Captum's methods on the same pictures, where it takes the network."""
    from captum.attr import DeepLift, GuidedBackprop

    with torch.no_grad():
        target = model(images).argmax(1)
    runs = {}
    for label, peer in (("captum guided_backprop", GuidedBackprop), ("captum deeplift", DeepLift)):

        def run(peer=peer):
            return peer(model).attribute(images.clone().requires_grad_(), target=target)

        try:
            run()
        except (AssertionError, RuntimeError) as error:
            print(f"{label} refuses this network: {str(error).splitlines()[0][:120]}")
            continue
        runs[label] = run
    return runs


if __name__ == "__main__":
    main()
