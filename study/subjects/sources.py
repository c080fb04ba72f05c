"""Datasets, from where they are found: one tensor of bytes a split.

`load("cifar10", "test")` looks under the folder named by the environment variable SIGN_NOISE_DATA,
then under `data/raw/`, then downloads through torchvision, and says in `.source` which it used.
Decoded pictures are kept in `data/cache/`; nothing is substituted for data that are missing.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from study.paths import CACHE, ROOT
from study.subjects.folders import listing, part
from study.subjects.pictures import (
    DataError,
    Dataset,
    decode,
    drawn,
    is_grey,
    is_whole,
    stack,
)

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def described(fingerprint: str) -> str:
    """What data/manifest.json says of the pixels with this fingerprint."""
    known = json.loads((ROOT / "data" / "manifest.json").read_text())["fingerprints"]
    return known.get(fingerprint, "pixels not in the manifest")


def bases() -> list[Path]:
    """The folders in which datasets are looked for.

    That of SIGN_NOISE_DATA, where it is set, then data/raw/.
    """
    named = os.environ.get("SIGN_NOISE_DATA")
    if named and not Path(named).is_dir():
        raise DataError(
            f"SIGN_NOISE_DATA names {named!r}, which is not a folder; set it to the folder that "
            "holds the datasets, or unset it."
        )
    return ([Path(named)] if named else []) + [ROOT / "data" / "raw"]


def base_name(base: Path) -> str:
    """What to call one of `bases`."""
    return "data/raw" if base == ROOT / "data" / "raw" else "SIGN_NOISE_DATA"


def find(name: str) -> Path | None:
    """The folder called `name` in the first of `bases` that has one, else None."""
    return next((base / name for base in bases() if (base / name).is_dir()), None)


def read_folder(
    name: str,
    split: str,
    folder: Path,
    size: int | None,
    expected: tuple[str, ...] | None = None,
    colour: bool = False,
    count: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The pictures of a class-per-folder tree, without the grey ones if `colour`.

    `count` takes a fixed random sample drawn with `seed`, and no other file is opened. They are
    decoded once, then kept under data/cache by names, sizes and times.
    """
    files, labels, classes = listing(folder)
    if expected and classes != expected:
        raise DataError(
            f"{folder} holds the classes {', '.join(classes)}; {name} has {', '.join(expected)}."
        )
    if colour:
        files, labels = _coloured(name, folder, files, labels, classes)
    if count is not None and count < len(files):
        places = drawn(len(files), count, seed).tolist()
        files, labels = [files[n] for n in places], [labels[n] for n in places]
    kept = CACHE / f"{_short(name)}-{split}-{_stamp(folder, files, size)}.npy"
    pixels = kept_array(kept, lambda: decode(files, size))
    return Dataset(
        name, split, torch.from_numpy(pixels), torch.tensor(labels), classes, str(folder)
    )


def _coloured(
    name: str, folder: Path, files: list[Path], labels: list[int], classes: tuple[str, ...]
) -> tuple[list[Path], list[int]]:
    """The files that are not grey, and their labels; every class must have one."""
    kept = [(file, label) for file, label in zip(files, labels, strict=True) if not is_grey(file)]
    bare = [name for k, name in enumerate(classes) if k not in {label for _, label in kept}]
    if bare:
        raise DataError(
            f"{folder / bare[0]} holds no picture in colour; grey ones are left out of {name}."
        )
    return [file for file, _ in kept], [label for _, label in kept]


def _short(name: str) -> str:
    """The end of a dataset's name as a part of a file's; folders' names may be as long as those."""
    return Path(name).name[-40:] or "images"


def _stamp(folder: Path, files: list[Path], size: int | None) -> str:
    """Twelve hex digits that change with the files, with their bytes and with `size`."""
    stamp = hashlib.sha256(os.fsencode(f"{folder.resolve()} {size} upright"))
    for file in files:
        try:
            stat = file.stat()
        except OSError as error:
            raise DataError(
                f"{file} cannot be read ({error.strerror}); restore it, or remove it."
            ) from None
        line = f"{file.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\n"
        stamp.update(os.fsencode(line))
    return stamp.hexdigest()[:12]


def kept_array(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in a file of the cache, which ends in the checksum of all before it.

    It is computed, and written whole, where there is none or it is damaged. Where it cannot be
    written, a warning says so, and the array is no less returned.
    """
    if path.exists():
        try:
            with path.open("rb") as file:
                file.seek(-4, os.SEEK_END)
                stated = file.read()
            if stated == _checksum(path, path.stat().st_size - 4):
                return np.load(path)
        except (ValueError, OSError, EOFError):
            pass
        path.unlink(missing_ok=True)
    array = compute()
    part = path.with_name(f"{path.stem}.{os.getpid()}.part.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(part, array)
        checksum = _checksum(part, part.stat().st_size)
        with part.open("ab") as file:
            file.write(checksum)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        warnings.warn(
            f"{path.parent} cannot be written ({error.strerror}), so {path.name} will be computed "
            "again next time; make room, or give yourself write access.",
            stacklevel=2,
        )
    return array


def _checksum(path: Path, length: int) -> bytes:
    """Four bytes over the first `length` of a file: a flipped bit changes them."""
    value = 0
    with path.open("rb") as file:
        while length > 0 and (block := file.read(min(length, 1 << 24))):
            value, length = zlib.crc32(block, value), length - len(block)
    return value.to_bytes(4, "little")


def locate(name: str, layout: str) -> tuple[Path, str]:
    """The folder of a dataset that nothing downloads, and what to call it."""
    folder = find(name)
    if folder is None:
        raise DataError(
            f"{name} is neither under SIGN_NOISE_DATA nor under data/raw; put it at "
            f"<SIGN_NOISE_DATA>/{name}/{layout}."
        )
    return folder, f"{base_name(folder.parent)}/{name}"


def _cifar10(split: str, size: int | None) -> Dataset:
    from study.subjects import cifar10

    return cifar10.load(split, size)


def _cifar10_masks(split: str, size: int | None) -> Dataset:
    from study.subjects import cifar10

    return cifar10.masked(split, size)


def _cifar10_rest(split: str, size: int | None) -> Dataset:
    from study.subjects import cifar10

    return cifar10.rest(split, size)


def _shapes10(split: str, size: int | None) -> Dataset:
    """Drawn; at its usual size kept under data/cache by the code that draws, for it takes seconds
    and is wanted by every chapter."""
    from study.subjects import shapes10

    if size not in (None, shapes10.SIZE):
        return shapes10.draw(split, size)
    code = hashlib.sha256(Path(shapes10.__file__).read_bytes()).hexdigest()[:12]
    path = CACHE / f"shapes10-{split}-{shapes10.SPLITS[split]}-{code}.npy"
    return shapes10.from_rows(kept_array(path, lambda: shapes10.rows(split)), split)


# of paper Noise, and the sub-folders of rectgrad_samples
FIGURES = ("threshold", "interclass", "intraclass", "adversarial")


def _imagenet(name: str):
    """The loader of a dataset of study/subjects/imagenet.py."""

    def load(split, size):
        from study.subjects import imagenet

        return imagenet.LOADERS[name](split, size or 224)

    return load


PATCH = 10  # side of the random patch, in pixels
JPEG = 75  # quality of the lossy copy


def patched(data: Dataset, seed: int = 0) -> Dataset:
    """Every picture with one random RGB patch in its upper left corner (Noise, section 3.1).

    The patch is uniform, drawn by `seed`.
    """
    height, width = data.images.shape[2:]
    if min(height, width) < PATCH:
        raise DataError(
            f"{data.name} has pictures of {width}x{height} pixels, smaller than the patch of "
            f"{PATCH}x{PATCH}; give a `size` of at least {PATCH}."
        )
    images = data.images.clone()
    generator = torch.Generator().manual_seed(int(seed))
    images[:, :, :PATCH, :PATCH] = torch.randint(
        256, (3, PATCH, PATCH), generator=generator, dtype=torch.uint8
    )
    return replace(data, name=f"{plain_name(data.name)}+patch", images=images)


def recompressed(data: Dataset) -> Dataset:
    """Every picture through JPEG at quality 75 with colours at half resolution.

    This is what a lossy copy of the data costs. Its pixels depend on the JPEG library that is
    installed.
    """

    def copy(picture: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=JPEG, subsampling="4:2:0")
        return np.asarray(Image.open(file))

    images = stack([copy(picture) for picture in data.images.permute(0, 2, 3, 1).numpy()])
    return replace(data, name=f"{data.name}+jpeg{JPEG}", images=images)


# behind a name: the same pictures, changed on the spot
_ALTERED = {"+patch": patched, f"+jpeg{JPEG}": recompressed}


def plain_name(name: str) -> str:
    """The name of a dataset without what changes its pictures: "cifar10" of "cifar10+patch".

    One suffix is taken off, no more.
    """
    suffix = _suffix(name)
    return name.removesuffix(suffix) if suffix else name


def _suffix(name: str) -> str | None:
    return next((suffix for suffix in _ALTERED if name.endswith(suffix)), None)


def known(name: str) -> bool:
    """Is it the name of a dataset, altered or not, and no path?"""
    return plain_name(str(name)) in _LOADERS


_LOADERS = {
    "shapes10": _shapes10,
    "cifar10": _cifar10,
    "cifar10_rest": _cifar10_rest,
    "cifar10_masks": _cifar10_masks,
    **{
        name: _imagenet(name)
        for name in ("imagenette", "photos", "imagenet_samples", "rectgrad_samples")
    },
}
# those that are not listed have "test" alone
_SPLITS = {
    "shapes10": ("train", "test"),
    "cifar10": ("train", "test"),
    "cifar10_rest": ("train", "test"),
    "imagenette": ("train", "val", "test"),
    "rectgrad_samples": ("test", *FIGURES),
}
_ACCEPTED = (
    f"{', '.join(_LOADERS)} and imagefolder:<path>, "
    f"any of these with one of {' and '.join(_ALTERED)} behind it"
)


def check(name: str, split: str = "test") -> None:
    """Raise DataError at once if `load(name, split)` could not be meant.

    That is an unknown name, split or folder.
    """
    if not isinstance(name, str):
        raise DataError(f"unknown dataset {name!r}; accepted are {_ACCEPTED}.")
    if name.startswith("imagefolder:"):
        part(_folder(name)[0], split)
        return
    if not known(name):
        raise DataError(f"unknown dataset {name!r}; accepted are {_ACCEPTED}.")
    splits = _SPLITS.get(plain_name(name), ("test",))
    if split not in splits:
        accepted = ", ".join([*splits[:-2], " and ".join(splits[-2:])])
        raise DataError(f"{name} has no split {split!r}; accepted are {accepted}.")


def _folder(name: str) -> tuple[Path, str | None]:
    """The folder of `imagefolder:<path>`, and what alters its pictures, if anything does.

    A folder whose own name ends in "+patch" is that folder.
    """
    path = name.partition(":")[2]
    folder, suffix = Path(path).expanduser(), _suffix(name)
    if suffix and not folder.is_dir():
        folder = Path(path.removesuffix(suffix)).expanduser()
    else:
        suffix = None
    if not path or not folder.is_dir():
        kind = "a file and no folder; unpack it if it is an archive:"
        if not folder.is_file():
            kind = "not a folder;"
        raise DataError(
            f"{name!r} names {folder}, which is {kind} "
            "it needs one sub-folder of pictures for each class."
        )
    return folder, suffix


def load(
    name: str,
    split: str = "test",
    *,
    size: int | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The split of a dataset.

    `name` is one of `_LOADERS` or `imagefolder:<path>` (its `<split>` sub-folder where it has one),
    with "+patch" behind it one whose pictures all have the same random patch in their corner, with
    "+jpeg75" one that went through JPEG.

    CIFAR-10 is taken from cifar-10-batches-bin/, cifar-10-batches-py/ or class folders
    cifar10/{train,test}/<class>/, in this order, under SIGN_NOISE_DATA, then under data/raw/, else
    from torchvision's download.

    `size` stretches pictures to size x size, imagenette's by default to 224 (its "val" is called
    "test" too); photos, imagenet_samples and rectgrad_samples are scaled and cut to it, by default
    224, so that shapes stay as they are. `count` keeps a fixed random subset drawn with `seed`; of
    a folder, no other file is opened. Raises DataError, naming what is wrong and what is accepted.
    """
    check(name, split)
    _check_numbers(count=count, size=size)
    count, size = (value if value is None else int(value) for value in (count, size))
    if name.startswith("imagefolder:"):
        folder, suffix = _folder(name)
        plain = name.removesuffix(suffix) if suffix else name
        data = read_folder(plain, split, part(folder, split), size, count=count, seed=seed)
    else:
        suffix = _suffix(name)
        data = _LOADERS[plain_name(name)](split, size)
    if suffix:
        data = replace(_ALTERED[suffix](data), name=name)
    data = data.sample(count, seed)
    return data if size is None else replace(data, size=size)


def _check_numbers(**given: int | None) -> None:
    for what, value in given.items():
        if value is not None and not is_whole(value):
            raise DataError(
                f"{what} is {value!r}; it must be a whole number of at least 1, "
                "or None for all pictures as they are."
            )
