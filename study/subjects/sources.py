"""Pictures with labels, from where they are found: one tensor of bytes a split.

`load("cifar10", "test")` looks under the folder named by the environment variable SIGN_NOISE_DATA,
then under `data/raw/`, then downloads through torchvision, and says in `.source` which it used.
Decoded pictures are kept in `data/cache/`; nothing is substituted for data that are missing.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from study.paths import CACHE, ROOT

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
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}


class DataError(ValueError):
    """The data asked for are not there or cannot be used; the message says what and the remedy."""


@dataclass(frozen=True)
class Dataset:
    """Pictures with labels.

    `images` uint8 [N,3,H,W] RGB, `labels` int64 [N] (-1: nobody labelled the picture), `classes`
    K names, `masks` bool [N,H,W] (True on the object) or None.
    """

    name: str
    split: str
    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    source: str
    masks: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits over pixels and labels.

        With them, results computed on other pixels never pass for these.
        """
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy())
        digest.update(self.labels.contiguous().numpy())
        return digest.hexdigest()[:12]

    def take(self, index) -> Dataset:
        """The pictures at `index` (LongTensor, boolean mask or slice), as a dataset."""
        masks = None if self.masks is None else self.masks[index]
        return replace(self, images=self.images[index], labels=self.labels[index], masks=masks)

    def sample(self, count: int | None, seed: int = 0) -> Dataset:
        """A fixed random `count` of the pictures, in their order.

        All of them if `count` is None or not smaller.
        """
        if count is None or count >= len(self):
            return self
        return self.take(drawn(len(self), count, seed))


def drawn(total: int, count: int, seed: int = 0, skip: int = 0) -> torch.Tensor:
    """Places of a fixed random `count` of `total` pictures, in their order, int64.

    The first `skip` that are drawn are left out.
    """
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return order[skip : skip + count].sort().values


def described(fingerprint: str) -> str:
    """What data/manifest.json says of the pixels with this fingerprint."""
    known = json.loads((ROOT / "data" / "manifest.json").read_text())["fingerprints"]
    return known.get(fingerprint, "pixels not in the manifest")


def to_range(images: torch.Tensor, model) -> torch.Tensor:
    """Bytes [N,3,H,W] as float32 in the model's own input range.

    0 becomes `model.black`, 255 `model.white`.
    """
    return (
        images.to(torch.float32, copy=True)
        .mul_((model.white - model.black) / 255)
        .add_(model.black)
    )


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


def read_image(path: Path, size: int | None = None, *, upright: bool = False) -> np.ndarray:
    """One picture as uint8 RGB [H,W,3].

    Grey, palette and RGBA pictures are converted, transparency becomes white. `size` stretches it
    to a square, as paper Sign does; `upright` turns it as a camera's EXIF note says. Raises
    DataError if the file is not a readable picture.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            if upright:
                ImageOps.exif_transpose(picture, in_place=True)
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                rgba = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
            if picture.mode.startswith("I;16"):
                # PIL would clip at 255
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            picture = picture.convert("RGB")
            if size is not None and picture.size != (size, size):
                picture = picture.resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(picture)
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise DataError(
            f"{path} cannot be read as a picture ({error}); replace the file or remove it."
        ) from None


def _listing(folder: Path) -> tuple[list[Path], list[int], tuple[str, ...]]:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; "
            "an image folder holds one sub-folder of pictures for each class."
        )
    classes = tuple(
        sorted(d.name for d in folder.iterdir() if d.is_dir() and not d.name.startswith("."))
    )
    files, labels = [], []
    for k, name in enumerate(classes):
        pictures = sorted(f for f in (folder / name).iterdir() if f.suffix.lower() in PICTURES)
        if not pictures:
            raise DataError(
                f"{folder / name} holds no picture; accepted endings are "
                f"{', '.join(sorted(PICTURES))}."
            )
        files += pictures
        labels += [k] * len(pictures)
    if not files:
        raise DataError(
            f"{folder} holds no class folders; it needs one sub-folder of pictures for each class."
        )
    return files, labels, classes


def read_folder(
    name: str,
    split: str,
    folder: Path,
    size: int | None,
    expected: tuple[str, ...] | None = None,
    colour: bool = False,
) -> Dataset:
    """All pictures of a class-per-folder tree, without the grey ones if `colour`.

    They are decoded once, then kept under data/cache by names, sizes and times.
    """
    files, labels, classes = _listing(folder)
    if colour:
        coloured = [
            (file, label) for file, label in zip(files, labels, strict=True) if not _grey(file)
        ]
        files = [file for file, _ in coloured]
        labels = [label for _, label in coloured]
        bare = [name for k, name in enumerate(classes) if k not in labels]
        if bare:
            raise DataError(
                f"{folder / bare[0]} holds no picture in colour; grey ones are left out of {name}."
            )
    if expected and classes != expected:
        raise DataError(
            f"{folder} holds the classes {', '.join(classes)}; {name} has {', '.join(expected)}."
        )
    stamp = hashlib.sha256(f"{folder.resolve()} {size}".encode())
    for file in files:
        stat = file.stat()
        stamp.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}\n".encode())
    kept = CACHE / f"{Path(name).name or 'images'}-{split}-{stamp.hexdigest()[:12]}.npy"
    pixels = kept_array(kept, lambda: _decode(files, size))
    return Dataset(
        name, split, torch.from_numpy(pixels), torch.tensor(labels), classes, str(folder)
    )


def kept_array(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in a file of the cache.

    It is computed, and written whole, where there is none or it is damaged.
    """
    if path.exists():
        try:
            return np.load(path)
        except (ValueError, OSError, EOFError):
            path.unlink()
    array = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.part.npy")
    np.save(part, array)
    part.replace(path)
    return array


def _grey(path: Path) -> bool:
    """Does the file hold one channel? Asked of its header.

    A file that is no picture is left to `read_image`, which says so.
    """
    try:
        with Image.open(path) as picture:
            return picture.mode in ("1", "L", "LA", "I", "F") or picture.mode.startswith("I;16")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        return False


def _decode(files: list[Path], size: int | None) -> np.ndarray:
    first = read_image(files[0], size)
    pixels = np.empty((len(files), 3, *first.shape[:2]), np.uint8)
    for n, file in enumerate(files):
        picture = read_image(file, size)
        if picture.shape != first.shape:
            raise DataError(
                f"{file} is {picture.shape[1]}x{picture.shape[0]} "
                f"but {files[0].name} is {first.shape[1]}x{first.shape[0]}; "
                "give `size` to stretch all pictures to one square size."
            )
        pixels[n] = picture.transpose(2, 0, 1)
    return pixels


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


def _shapes10(split: str, size: int | None) -> Dataset:
    from study.subjects import shapes10

    return shapes10.draw(split, size or 32)


def _cifar10_masks(split: str, size: int | None) -> Dataset:
    """The 204 CIFAR-10 training pictures of paper Noise with their object masks (section 3.2)."""
    folder, source = locate("cifar10_masks", "{images,masks}/<class>_<n>.png")
    files = sorted((folder / "images").glob("*.png"))
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


def _cifar10_rest(split: str, size: int | None) -> Dataset:
    """CIFAR-10 whose training split lacks the 204 masked pictures, found by nearest neighbour.

    It is the mask experiments' control.
    """
    data = replace(_cifar10(split, size), name="cifar10_rest")
    if split == "test":
        return data
    masked = load("cifar10_masks").images
    # found as they are, not stretched
    originals = data.images if size is None else _cifar10(split, None).images
    stays = torch.ones(len(data), dtype=torch.bool)
    stays[_nearest(masked, originals)] = False
    return data.take(stays)


def _nearest(images: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
    """For each of the pictures, the place of the one of least Euclidean distance `among` others.

    uint8 [N,3,H,W] and [M,3,H,W] to [N].
    """
    points = images.flatten(1).float()
    distances = [torch.cdist(points, part.flatten(1).float()) for part in among.split(5000)]
    return torch.cat(distances, 1).argmin(1)


def stack(pictures: list[np.ndarray]) -> torch.Tensor:
    """Pictures uint8 [H,W,3] of one size as [N,3,H,W]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


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
    images = data.images.clone()
    generator = torch.Generator().manual_seed(seed)
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
    f"{', '.join(_LOADERS)}, any of these with one of {' and '.join(_ALTERED)} behind it, "
    "and imagefolder:<path>"
)


def check(name: str, split: str = "test") -> None:
    """Raise DataError at once if `load(name, split)` could not be meant.

    That is an unknown name, split or folder.
    """
    if not isinstance(name, str):
        raise DataError(f"unknown dataset {name!r}; accepted are {_ACCEPTED}.")
    if name.startswith("imagefolder:"):
        folder = Path(name.partition(":")[2]).expanduser()
        if not name.partition(":")[2] or not folder.is_dir():
            raise DataError(
                f"{name!r} names {folder}, which is not a folder; "
                "it needs one sub-folder of pictures for each class."
            )
        return
    if not known(name):
        raise DataError(f"unknown dataset {name!r}; accepted are {_ACCEPTED}.")
    splits = _SPLITS.get(plain_name(name), ("test",))
    if split not in splits:
        accepted = ", ".join([*splits[:-2], " and ".join(splits[-2:])])
        raise DataError(f"{name} has no split {split!r}; accepted are {accepted}.")


def load(
    name: str,
    split: str = "test",
    *,
    size: int | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The split of a dataset.

    `name` is one of `_LOADERS`, with "+patch" behind it one whose pictures all have the same random
    patch in their corner, with "+jpeg75" one that went through JPEG, or `imagefolder:<path>` (its
    `<split>` sub-folder where it has one).

    CIFAR-10 is taken from cifar-10-batches-bin/, cifar-10-batches-py/ or class folders
    cifar10/{train,test}/<class>/, in this order, under SIGN_NOISE_DATA, then under data/raw/, else
    from torchvision's download.

    `size` stretches pictures to size x size, imagenette's by default to 224 (its "val" is called
    "test" too); photos, imagenet_samples and rectgrad_samples are scaled and cut to it, by default
    224, so that shapes stay as they are. `count` keeps a fixed random subset drawn with `seed`.
    Raises DataError, naming what is wrong and what is accepted.
    """
    check(name, split)
    for what, value in (("count", count), ("size", size)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < 1
        ):
            raise DataError(
                f"{what} is {value!r}; it must be a whole number of at least 1, "
                "or None for all pictures as they are."
            )
    if name.startswith("imagefolder:"):
        folder = Path(name.partition(":")[2]).expanduser()
        if (folder / split).is_dir():
            folder = folder / split
        data = read_folder(name, split, folder, size)
    else:
        data = _LOADERS[plain_name(name)](split, size)
        suffix = _suffix(name)
        if suffix:
            data = _ALTERED[suffix](data)
    return data.sample(count, seed)
