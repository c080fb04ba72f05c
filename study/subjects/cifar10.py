"""CIFAR-10 from any of its layouts: the official binary or python version, class folders or a
download.

All but class folders hold the pictures in CIFAR-10's own order, so that they give the same tensors
and the same fingerprint.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from study.subjects import plain_pickle, sources
from study.subjects.folders import visible
from study.subjects.pictures import DataError, Dataset, read_image, stack
from study.subjects.sources import CIFAR10_CLASSES

BINARY, PYTHON, FOLDERS = "cifar-10-batches-bin", "cifar-10-batches-py", "cifar10"
_BATCHES = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}
# bytes of one picture in the binary version: its label, then red, green and blue planes
_RECORD = 1 + 3 * 32 * 32
_COUNT = 10_000  # pictures in a file


def load(split: str, size: int | None = None) -> Dataset:
    """The split "train" (50,000 pictures) or "test" (10,000), 32x32 or stretched to `size`.

    `study.subjects.sources.load` says where from.
    """
    for base in sources.bases():
        for layout, read in _READERS.items():
            if (base / layout).is_dir():
                source = f"{sources.base_name(base)}/{layout}"
                return read(base / layout, split, size, source)
    return _read_python(_download(), split, size, "torchvision download")


def masked(split: str, size: int | None) -> Dataset:
    """The 204 CIFAR-10 training pictures of paper Noise with their object masks (section 3.2)."""
    folder, source = sources.locate("cifar10_masks", "{images,masks}/<class>_<n>.png")
    files = [file for file in visible(folder / "images") if file.suffix == ".png"]
    strange = [f for f in files if f.name.split("_")[0] not in CIFAR10_CLASSES]
    if strange or not files:
        fault = (
            f"{strange[0]} names no class" if strange else f"{folder / 'images'} holds no picture"
        )
        raise DataError(
            f"{fault}; cifar10_masks holds pictures named <class>_<n>.png of "
            f"{', '.join(CIFAR10_CLASSES)}."
        )
    labels = torch.tensor([CIFAR10_CLASSES.index(f.name.split("_")[0]) for f in files])
    images = stack([read_image(f, size) for f in files])
    masks = stack([read_image(folder / "masks" / f.name, size) for f in files])
    objects = masks.float().mean(1) > 127
    return Dataset("cifar10_masks", split, images, labels, CIFAR10_CLASSES, source, objects)


def rest(split: str, size: int | None) -> Dataset:
    """CIFAR-10 whose training split lacks the 204 masked pictures, found by nearest neighbour.

    It is the mask experiments' control.
    """
    data = replace(load(split, size), name="cifar10_rest")
    if split == "test":
        return data
    masked = sources.load("cifar10_masks").images
    # found as they are, not stretched
    originals = data.images if size is None else load(split, None).images
    stays = torch.ones(len(data), dtype=torch.bool)
    stays[nearest(masked, originals)] = False
    return data.take(stays)


def nearest(images: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
    """For each of the pictures, the place of the one of least Euclidean distance `among` others.

    uint8 [N,3,H,W] and [M,3,H,W] to [N].
    """
    points = images.flatten(1).float()
    distances = [torch.cdist(points, part.flatten(1).float()) for part in among.split(5000)]
    return torch.cat(distances, 1).argmin(1)


def _read_folders(folder: Path, split: str, size: int | None, source: str) -> Dataset:
    data = sources.read_folder("cifar10", split, folder / split, size, CIFAR10_CLASSES)
    return Dataset("cifar10", split, data.images, data.labels, CIFAR10_CLASSES, f"{source}/{split}")


def _read_binary(folder: Path, split: str, size: int | None, source: str) -> Dataset:
    return _joined(folder, split, size, source, ".bin", _binary_batch)


def _read_python(folder: Path, split: str, size: int | None, source: str) -> Dataset:
    return _joined(folder, split, size, source, "", _python_batch)


# in the order in which they are looked for
_READERS = {BINARY: _read_binary, PYTHON: _read_python, FOLDERS: _read_folders}


def _joined(
    folder: Path, split: str, size: int | None, source: str, ending: str, read: Callable
) -> Dataset:
    """The split out of its batch files.

    Each is read by `read` as pixels uint8 [10000,3072] and labels [10000].
    """
    files = [folder / f"{name}{ending}" for name in _BATCHES[split]]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise DataError(
            f"{missing[0]} is missing; put the whole official version of CIFAR-10 into {folder}, "
            "or remove that folder."
        )
    pixels, labels = zip(*(read(file) for file in files), strict=True)
    images = np.concatenate(pixels).reshape(-1, 3, 32, 32)
    if size not in (None, 32):
        images = np.stack([_stretched(picture, size) for picture in images])
    labels = torch.from_numpy(np.concatenate(labels).astype(np.int64))
    return Dataset("cifar10", split, torch.from_numpy(images), labels, CIFAR10_CLASSES, source)


def _stretched(picture: np.ndarray, size: int) -> np.ndarray:
    """One picture uint8 [3,H,W] at size x size."""
    image = Image.fromarray(picture.transpose(1, 2, 0))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def _binary_batch(file: Path) -> tuple[np.ndarray, np.ndarray]:
    expected, actual = _COUNT * _RECORD, file.stat().st_size
    if actual != expected:
        raise _foreign(file, f"it has {actual:,} bytes and not {expected:,}")
    records = np.fromfile(file, np.uint8).reshape(_COUNT, _RECORD)
    return _checked(file, records[:, 1:], records[:, 0])


def _python_batch(file: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        content = plain_pickle.read(file)
        pixels, labels = content["data"], np.asarray(content["labels"])
    except Exception as error:  # an unpickler raises whatever it likes
        raise _foreign(file, f"{type(error).__name__}: {error}") from None
    return _checked(file, pixels, labels)


def _checked(file: Path, pixels: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if (
        getattr(pixels, "dtype", None) != np.uint8
        or pixels.shape != (_COUNT, _RECORD - 1)
        or labels.shape != (_COUNT,)
    ):
        raise _foreign(
            file, f"it does not hold {_COUNT:,} pictures of 32x32 pixels with their labels"
        )
    if not (labels.min() >= 0 and labels.max() < len(CIFAR10_CLASSES)):
        raise _foreign(
            file, f"its labels run from {labels.min()} to {labels.max()} and not from 0 to 9"
        )
    return pixels, labels


def _foreign(file: Path, reason: str) -> DataError:
    return DataError(
        f"{file} is damaged or no file of CIFAR-10 ({reason}); replace it by that of the official "
        f"version, or remove {file.parent}."
    )


def _download() -> Path:
    """The folder of the official python version, downloaded by torchvision into data/raw/."""
    from torchvision.datasets import CIFAR10

    raw = sources.ROOT / "data" / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        CIFAR10(raw, train=False, download=True)
    except Exception as error:
        named = os.environ.get("SIGN_NOISE_DATA")
        if named:
            looked = f"{named} nor under {raw}"
        else:
            looked = f"{raw}, and SIGN_NOISE_DATA names no folder"
        raise DataError(
            f"cifar10 is neither under {looked}, and its download failed ({type(error).__name__}); "
            f"put {BINARY}/, {PYTHON}/ or {FOLDERS}/{{train,test}}/<class>/ under "
            "SIGN_NOISE_DATA or data/raw, or run where torchvision can download it."
        ) from None
    return raw / PYTHON
