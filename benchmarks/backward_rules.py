"""RectGrad and its relatives against a plain gradient of the same network, and DeepLIFT against Captum's.

    python benchmarks/backward_rules.py [--size 224] [--batch 4] [--repeats 7] [--threads 1] [--models squeezenet1_1 resnet18]

The plain gradient is `saliency`: one forward pass, one backward pass to the input. Ratios of interleaved repeats.
"""

from __future__ import annotations

import sys
from pathlib import Path

import timing  # noqa: E402
import torch

from lib import attribution
from study.subjects import networks, sources

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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
        images = sources.to_range(pictures.images, model)
        runs = {"saliency": lambda: attribution.saliency(model, images)}
        for label, options in METHODS.items():
            function = attribution.METHODS[label.split()[0]].function
            runs[label] = lambda function=function, options=options: function(
                model, images, **options
            )
        runs |= peers(model, images)
        seconds = timing.interleaved(runs, chosen.repeats, clock)
        for label in list(runs)[1:]:
            print(
                f"{name}  {label} over saliency: {timing.ratio(seconds[label], seconds['saliency'])}"
            )


def peers(model, images):
    """Captum's methods on the same pictures, where it takes the network."""
    from captum.attr import DeepLift, GuidedBackprop

    with torch.no_grad():
        target = model(images).argmax(1)
    found = {}
    for label, peer in (("captum guided_backprop", GuidedBackprop), ("captum deeplift", DeepLift)):

        def run(peer=peer):
            return peer(model).attribute(images.clone().requires_grad_(), target=target)

        try:
            run()
        except (AssertionError, RuntimeError) as error:
            print(f"{label} refuses this network: {str(error).splitlines()[0][:120]}")
            continue
        found[label] = run
    return found


if __name__ == "__main__":
    main()
