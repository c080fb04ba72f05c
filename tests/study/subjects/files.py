"""Pictures as files, for the tests of study.subjects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NAVY, WHITE = (10, 20, 90), (255, 255, 255)


def put(path: Path, picture=NAVY, size=(6, 4), **options) -> Path:
    """A picture of one colour, or the PIL picture given, as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(picture, Image.Image):
        picture = Image.new("RGB", size, picture)
    picture.save(path, **options)
    return path


def paletted(**options):
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([0, 0, 0, *NAVY])
    return picture, options


def sixteen_bit(value):
    return Image.fromarray(np.full((4, 6), value, np.uint16)), {}
