"""Pictures: files as people have them become bytes [H,W,3], and many of them one `Dataset`.

Whatever happens to a picture on its way into a network happens here: it is turned as its camera
noted, brought to eight bits a channel, laid on white, stretched or cut, and moved into the range
that the network takes.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, TiffImagePlugin


class DataError(ValueError):
    """The data asked for are not there or cannot be used; the message says what and the remedy."""


def is_whole(value: object, least: int = 1) -> bool:
    """Is it a whole number of at least `least`, Python's or NumPy's? True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


@dataclass(frozen=True)
class Dataset:
    """Pictures with labels.

    `images` uint8 [N,3,H,W] RGB, `labels` int64 [N] (-1: nobody labelled the picture), `classes`
    K names, `masks` bool [N,H,W] (True on the object) or None, `size` what was asked for when they
    were loaded (None: nothing).
    """

    name: str
    split: str
    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    source: str
    masks: torch.Tensor | None = None
    size: int | None = None

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
    order = torch.randperm(total, generator=torch.Generator().manual_seed(int(seed)))
    return order[skip : skip + count].sort().values


def to_range(images: torch.Tensor, model) -> torch.Tensor:
    """Bytes [N,C,H,W] as float32 in the model's own input range.

    0 becomes `model.black`, 255 `model.white`; each is a number or one value a channel [C].
    """
    black, white = (_of_channels(value, images) for value in (model.black, model.white))
    return images.to(torch.float32, copy=True).mul_((white - black) / 255).add_(black)


def _of_channels(value, images: torch.Tensor):
    """A number as it is; one value a channel as float64 [C,1,1] beside the pictures."""
    values = torch.as_tensor(value, dtype=torch.float64, device=images.device)
    if values.numel() == 1:
        return values.item()
    channels = images.shape[1]
    if values.numel() != channels:
        raise ValueError(
            f"a network's black and white are one number or {channels} values, one a channel; "
            f"{values.numel()} were given."
        )
    return values.reshape(channels, 1, 1)


# ---- one picture


def read_image(path: Path, size: int | None = None, *, upright: bool = True) -> np.ndarray:
    """One picture as uint8 RGB [H,W,3].

    Every kind is converted: grey, palette, CMYK; 16 bits by their upper byte, floating-point
    values from 0 to 1 by their range; transparency becomes white; of several frames the first is
    taken. `size` stretches it to a square, as paper Sign does; `upright` turns it as a camera's
    EXIF note says, where that note can be read. Raises DataError if the file is not a readable
    picture, or if nothing says which of its values are black and white.
    """
    try:
        # what Pillow warns of are notes that it cannot read, and sizes that are accepted here
        with warnings.catch_warnings(action="ignore"), Image.open(path) as opened:
            opened.load()
            picture = _on_white(_eight_bits(opened, path))
            if upright and (turn := _turn(opened)) is not None:
                picture = picture.transpose(turn)
    except DataError:
        raise
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"{path} has more than the {limit:,} pixels that are read; scale it down, or remove it."
        ) from None
    except Exception as error:  # a reader of damaged files raises whatever it likes
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(
            f"{path} cannot be read as a picture ({reason}); "
            "replace it by a JPEG or PNG of the same picture, or remove it."
        ) from None
    if size is not None and picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture)


# what turns a picture upright, by the number that EXIF gives to how the camera was held
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """What turns the picture upright; None where it stands, or where nobody can tell.

    Pillow's own `exif_transpose` also writes the whole note anew, which damaged ones do not bear.
    """
    try:
        return _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # the note is damaged; the picture is not
        return None


def _eight_bits(picture: Image.Image, path: Path) -> Image.Image:
    """The picture with eight bits a channel, where Pillow would clip instead of scaling."""
    tags = getattr(picture, "tag_v2", {})  # of a TIFF
    signed = 2 in tuple(tags.get(TiffImagePlugin.SAMPLEFORMAT, ()))
    if picture.mode not in ("F", "I") and not picture.mode.startswith("I;16") and not signed:
        return picture
    values = np.asarray(picture)
    if picture.mode == "F":
        scaled = _scaled_floats(values, path)
    elif signed or (picture.mode == "I" and (tags or values.max() >> 16)):
        raise DataError(
            f"{path} holds signed or 32-bit whole numbers, and nothing says which are black and "
            "white; save it with 8 or 16 bits a channel, unsigned."
        )
    else:
        bits = tuple(tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,)))[0]
        scaled = (values >> bits - 8).astype(np.uint8)
    if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:  # a film's negative: 0 is white
        scaled = 255 - scaled
    if isinstance(key := picture.info.get("transparency"), int):
        scaled[values == key] = 255
    return Image.fromarray(scaled)


def _scaled_floats(values: np.ndarray, path: Path) -> np.ndarray:
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise DataError(
            f"{path} holds floating-point values from {values.min():g} to {values.max():g}, and "
            "nothing says which are black and white; save it with values from 0 to 1, or with 8 "
            "or 16 bits a channel."
        )
    return np.rint(255 * values).astype(np.uint8)


def _on_white(picture: Image.Image) -> Image.Image:
    """The picture as RGB, white where it is transparent."""
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture.convert("RGB")


def is_grey(path: Path) -> bool:
    """Does the file hold one channel? Asked of its header.

    A file that is no picture is left to `read_image`, which says so.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return picture.mode in ("1", "L", "LA", "I", "F") or picture.mode.startswith("I;16")
    except Exception:  # as in `read_image`
        return False


def centre_crop(picture: np.ndarray, size: int) -> np.ndarray:
    """The middle of a picture [H,W,3] as ImageNet is evaluated, [size,size,3].

    The shorter side is scaled to 256/224 of `size`, then size x size cut out.
    """
    height, width = picture.shape[:2]
    # of a long strip only the middle is scaled: a row of pixels would else become as long as it is
    # thin
    spare_rows = max(0, height - 4 * width) // 2
    spare_columns = max(0, width - 4 * height) // 2
    picture = picture[spare_rows : height - spare_rows, spare_columns : width - spare_columns]
    height, width = picture.shape[:2]
    scale = round(size * 256 / 224) / min(height, width)
    height, width = max(round(height * scale), size), max(round(width * scale), size)
    top, left = (height - size) // 2, (width - size) // 2
    scaled = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(scaled)[top : top + size, left : left + size]


# ---- many pictures


def stack(pictures: list[np.ndarray]) -> torch.Tensor:
    """Pictures uint8 [H,W,3] of one size as [N,3,H,W]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def decode(files: list[Path], size: int | None) -> np.ndarray:
    """The pictures of these files, all of one size or stretched to one, uint8 [N,3,H,W]."""
    first = read_image(files[0], size)
    pixels = np.empty((len(files), 3, *first.shape[:2]), np.uint8)
    for n, file in enumerate(files):
        picture = read_image(file, size)
        if picture.shape != first.shape:
            raise DataError(
                f"{file} is {picture.shape[1]}x{picture.shape[0]} "
                f"but {files[0].name} is {first.shape[1]}x{first.shape[0]}; "
                "give `size` (such as size=224) to stretch all pictures to one square size."
            )
        pixels[n] = picture.transpose(2, 0, 1)
    return pixels
