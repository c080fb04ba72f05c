"""Photographs with ImageNet's 1000 classes: a sample of ImageNet, the figures of paper Noise, and
what scikit-image ships."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch

from study.paths import ROOT
from study.subjects.folders import PICTURES, visible
from study.subjects.pictures import DataError, Dataset, centre_crop, read_image, stack
from study.subjects.sources import FIGURES, find, locate, read_folder


@cache
def classes() -> tuple[str, ...]:
    """ImageNet's 1000 names in their usual order."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def _cut(
    name: str, split: str, files: list[Path], labels: list[int], source: str, size: int
) -> Dataset:
    images = stack([centre_crop(read_image(f), size) for f in files])
    return Dataset(name, split, images, torch.tensor(labels), classes(), source)


def _samples(split: str, size: int) -> Dataset:
    """200 pictures of ImageNet, one of every fifth class; a file's name begins with its class."""
    folder, source = locate("imagenet_samples", "<class index>_<wnid>_<name>.jpg")
    files = [f for f in visible(folder) if f.suffix.lower() in PICTURES]
    numbers = [f.name.split("_")[0] for f in files]
    strange = [
        f for f, n in zip(files, numbers, strict=True) if not (n.isdecimal() and int(n) < 1000)
    ]
    if strange or not files:
        fault = (
            f"{strange[0]} begins with no class index" if strange else f"{folder} holds no picture"
        )
        raise DataError(
            f"{fault}; imagenet_samples holds pictures named "
            "<class index from 0 to 999>_<anything>.jpg."
        )
    return _cut("imagenet_samples", split, files, [int(n) for n in numbers], source, size)


def _rectgrad(split: str, size: int) -> Dataset:
    """The 15 ImageNet pictures of paper Noise's figures, unlabelled.

    A split is one figure's pictures; "test" is all of them.
    """
    folder, source = locate("rectgrad_samples", f"{{{','.join(FIGURES)}}}/<n>.jpg")
    files = []
    for part in FIGURES if split == "test" else (split,):
        paths = visible(folder / part) if (folder / part).is_dir() else []
        pictures = [f for f in paths if f.suffix.lower() in PICTURES]
        if not pictures:
            raise DataError(
                f"{folder / part} holds no picture; rectgrad_samples has the sub-folders "
                f"{', '.join(FIGURES)}."
            )
        files += pictures
    return _cut("rectgrad_samples", split, files, [-1] * len(files), source, size)


# the colour photographs of things in scikit-image's wheel, and their ImageNet class where there is
# no doubt about it: the cat could be a tabby or a tiger cat, the rocket is no "missile", and of
# astronauts ImageNet's 1000 have none
PHOTOS = {"astronaut.png": None, "chelsea.png": None, "coffee.png": "espresso", "rocket.jpg": None}


def _photos(split: str, size: int) -> Dataset:
    """The photographs that scikit-image ships.

    Its own reader would ask the network for some, so the files are read as they lie.
    """
    package = find_spec("skimage")
    if package is None or not package.origin:
        raise DataError(
            "photos needs the package scikit-image, which is not installed; "
            "`pip install -e '.[book]'` in the project's folder brings it."
        )
    files = [Path(package.origin).parent / "data" / name for name in PHOTOS]
    labels = [-1 if name is None else classes().index(name) for name in PHOTOS.values()]
    return _cut("photos", split, files, labels, "scikit-image", size)


# Imagenette's ten classes: WordNet id, name
IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


def _imagenette(split: str, size: int) -> Dataset:
    """Imagenette v2, stretched to a square without its 242 grey pictures, as paper Sign does.

    "test" is what its authors call "val".
    """
    part = "train" if split == "train" else "val"
    if find("imagenette2") is None:
        _download_imagenette(ROOT / "data" / "raw")
    folder, source = locate("imagenette2", "{train,val}/<wnid>/")
    called = "train" if part == "train" else "test"
    data = read_folder("imagenette", called, folder / part, size, tuple(IMAGENETTE), colour=True)
    return replace(data, classes=tuple(IMAGENETTE.values()), source=f"{source}/{part}")


def _download_imagenette(raw: Path) -> None:
    from torchvision.datasets import Imagenette

    try:
        raw.mkdir(parents=True, exist_ok=True)
        Imagenette(raw, "train", size="full", download=True)  # one archive holds both splits
    except Exception as error:
        raise DataError(
            f"imagenette is neither under SIGN_NOISE_DATA nor under {raw}, and its download failed "
            f"({type(error).__name__}); put it at "
            "<SIGN_NOISE_DATA>/imagenette2/{train,val}/<wnid>/ or run where torchvision can "
            "download it."
        ) from None


LOADERS = {
    "imagenette": _imagenette,
    "photos": _photos,
    "imagenet_samples": _samples,
    "rectgrad_samples": _rectgrad,
}
