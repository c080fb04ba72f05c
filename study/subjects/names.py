"""What people call the networks and data sets; the identifiers stay in files, keys and parameters.

Pure text: nothing is loaded, and whatever has no name here keeps its own.
"""

from __future__ import annotations

from pathlib import Path

NETWORKS = {
    "basic_cnn": "Sign CNN",
    "rectgrad_cnn": "Noise CNN",
    "gelu_cnn": "GELU CNN",
    "resnet18": "ResNet-18",
    "convnext_tiny": "ConvNeXt-Tiny",
    "squeezenet1_1": "SqueezeNet 1.1",
    "efficientnet_lite0": "EfficientNet-Lite0",
}
DATASETS = {
    "shapes10": "shapes",
    "cifar10": "CIFAR-10",
    "cifar10_masks": "CIFAR-10 with masks",
    "cifar10_rest": "CIFAR-10 without the masked pictures",
    "imagenet": "ImageNet",
    "imagenette": "Imagenette",
    "imagenet_samples": "ImageNet samples",
    "rectgrad_samples": "paper Noise's samples",
    "photos": "photographs",
}
# what stands behind a data set's name where its pictures are changed on the spot
ALTERED = {"+patch": "with patch", "+jpeg75": "as JPEG"}
# data sets of one split, whose pictures need not be test pictures -> what stands in its place
ONE_SPLIT = {
    "cifar10_masks": " (training split)",
    "imagenet_samples": "",
    "photos": "",
}
# weights -> what they are called beside a network's name
WEIGHTS = {"cifar10_rest": "control", "imagenette-released": "pretrained"}
# a data set -> the weights that belong to it although they have another name
BELONG = {
    "cifar10_masks": "cifar10",
    "photos": "imagenet",
    "imagenet_samples": "imagenet",
    "rectgrad_samples": "imagenet",
}


def network(name: str) -> str:
    """A network's name: "Sign CNN" for "basic_cnn"; a path or factory as it is."""
    return NETWORKS.get(name, name)


def dataset(name: str) -> str:
    """A data set's name: "CIFAR-10 with patch" for "cifar10+patch", "shapes picture 3" for
    "shapes10:3"; of a folder or file, its own name without the way to it."""
    for suffix, words in ALTERED.items():
        if name.removesuffix(suffix) in DATASETS and name.endswith(suffix):
            return f"{DATASETS[name.removesuffix(suffix)]} {words}"
    plain, _, number = name.rpartition(":")
    if plain in DATASETS:
        return f"{DATASETS[plain]} picture {number}"
    return DATASETS.get(name) or Path(name.removeprefix("imagefolder:")).name


def weights(tag: str, data: str) -> str:
    """What sets these weights apart on this data set, such as "control", "seed 1" or "trained on
    shapes"; "" where they are the data set's own, and where a network has no others."""
    plain = data.rpartition(":")[0] or data
    own = ("none", data, plain, BELONG.get(plain))
    trained, _, run = tag.rpartition("-")
    if tag in own:
        return ""
    if tag in WEIGHTS:
        return WEIGHTS[tag]
    if trained in own:
        return f"seed {run.removeprefix('seed')}" if run.startswith("seed") else run
    known = tag in DATASETS or tag in {f"{name}{how}" for name in DATASETS for how in ALTERED}
    return f"trained on {dataset(tag)}" if known else Path(tag).name


def counted(label: str, data: str, split: str, count: int) -> str:
    """A subject's label with the split and the number of its pictures: "Sign CNN, shapes test,
    n = 10"."""
    return f"{label}{ONE_SPLIT.get(data, f' {split}')}, n = {count:,}"


def title(model: str, data: str, tag: str) -> str:
    """Network, what sets its weights apart, and data: "Noise CNN (control), CIFAR-10"."""
    apart = weights(tag, data)
    return f"{network(model)}{f' ({apart})' if apart else ''}, {dataset(data)}"
