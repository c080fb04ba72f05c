"""Shapes10: ten shapes drawn over clutter, in any number and size, with exact object masks.

Every picture is one row of uniform random numbers: label, colours, place, turn and clutter are
independent draws, so that only the outline tells the class. All shapes have the same distribution
of area, place and turn; the object is lighter, or darker, than everything behind it by at least
`CONTRAST`. Lengths are in picture widths, so `size` changes resolution alone. Outlines are tested
with single IEEE operations in float32 and colours are mixed in float64, so the bytes are the same
on every platform.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from study.subjects.pictures import DataError, Dataset, is_whole

SPLITS = {"train": 20_000, "test": 2_000}  # default counts; the order fixes the random streams
SIZE = 32  # default width and height in pixels
SIDE = (0.32, 0.46)  # square root of the object's area
TURN = 30  # degrees, either way
CONTRAST = 0.18  # least luminance step between object and clutter
LIGHTER = 0.7  # share of objects lighter than what is behind them
OCTAVES, STROKES = (6, 10, 18), 8
BLOCK, SAMPLES = 100, 4  # pictures drawn at once; samples a pixel along each axis


def _star(x, y):
    """Pentagram: a point may lie beyond one of the five lines, not beyond two."""
    turns = 2 * np.pi * np.arange(5) / 5
    beyond = [
        x * np.float32(np.sin(t)) - y * np.float32(np.cos(t)) > np.float32(0.309) for t in turns
    ]
    return np.sum(beyond, axis=0, dtype=np.int8) < 2


def _heart(x, y):
    base = x * x + y * y - 1
    return base * base * base < x * x * y * y * y


# name -> outline: True where (x, y), y up, is inside; scale and origin are free, `_frame`
# normalises them
SHAPES = {
    "disc": lambda x, y: x * x + y * y < 1,
    "ring": lambda x, y: np.abs(x * x + y * y - 0.68) < 0.32,
    "half-disc": lambda x, y: (x * x + y * y < 1) & (y > 0),
    "crescent": lambda x, y: (x * x + y * y < 1) & ((x - 0.5) * (x - 0.5) + y * y > 0.64),
    "triangle": lambda x, y: (y > -0.5) & (y + np.float32(3**0.5) * np.abs(x) < 1),
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 1,
    "cross": lambda x, y: (
        (np.minimum(np.abs(x), np.abs(y)) < 0.33) & (np.maximum(np.abs(x), np.abs(y)) < 1)
    ),
    "star": _star,
    "heart": _heart,
    "arrow": lambda x, y: (
        ((y > 0) & (np.abs(x) + y < 1)) | ((y <= 0) & (y > -1) & (np.abs(x) < 0.33))
    ),
}
CLASSES = tuple(SHAPES)

# uniform numbers a picture, by use
_COLUMNS = {
    "label": 1,
    "place": 2,
    "side": 1,
    "turn": 1,
    "lighter": 1,
    "luminance": 3 + STROKES,
    "hue": 3 + STROKES,
    "saturation": 3 + STROKES,
    "stripes": 4,
    "sharpness": 1,
    "octaves": len(OCTAVES),
    "strokes": 5 * STROKES,
    "noise": sum(g * g for g in OCTAVES),
    "texture": OCTAVES[1] ** 2,
}


@cache
def frame(name: str) -> tuple[float, float, float, float]:
    """Square root of the area, centroid (x, y) and reach from it, of an outline.

    In the outline's own units, to four decimals.
    """
    axis = np.linspace(-1.5, 1.5, 1201, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    inside = SHAPES[name](x, y)
    x, y = x[inside].astype(float), y[inside].astype(float)
    side = np.sqrt(inside.sum()) * 3 / 1200
    reach = np.hypot(x - x.mean(), y - y.mean()).max()
    return tuple(round(float(v), 4) for v in (side, x.mean(), y.mean(), reach))


def _between(u, low, high):
    return low + u * (high - low)


def coverage(draws: dict, labels: np.ndarray, size: int) -> np.ndarray:
    """Share of each pixel on the object, [N,size,size], from SAMPLES x SAMPLES points a pixel."""
    axis = ((np.arange(size * SAMPLES) + 0.5) / (size * SAMPLES)).astype(np.float32)
    side, turn = _between(draws["side"], *SIDE), np.deg2rad(_between(draws["turn"], -TURN, TURN))
    # the same for all shapes, so that the place tells nothing
    reach = side * max(frame(name)[3] / frame(name)[0] for name in CLASSES) + 0.02
    place = _between(draws["place"], np.minimum(reach, 0.5), np.maximum(1 - reach, 0.5))
    covered = np.empty((len(labels), size, size))
    for k, name in enumerate(CLASSES):
        rows = labels == k
        unit, x0, y0, _ = frame(name)
        cos = (np.cos(turn[rows]) * unit / side[rows]).astype(np.float32)
        sin = (np.sin(turn[rows]) * unit / side[rows]).astype(np.float32)
        dx = axis - place[rows, :1].astype(np.float32)
        dy = place[rows, 1:].astype(np.float32) - axis
        x = (cos * dx + np.float32(x0))[:, None, :] + (sin * dy)[:, :, None]
        y = (cos * dy + np.float32(y0))[:, :, None] - (sin * dx)[:, None, :]
        inside = SHAPES[name](x, y).reshape(-1, size, SAMPLES, size, SAMPLES)
        covered[rows] = inside.sum(axis=(2, 4), dtype=np.uint8) / SAMPLES**2
    return covered


def colours_of(draws: dict) -> np.ndarray:
    """RGB [N,3+STROKES,3]: the object's, two of the ground, one a stroke.

    The hue is random, the luminance as the module says.
    """
    u = draws["luminance"]
    top = _between(u[:, :1], 0.30 + CONTRAST, 0.90)  # the object's own, were it the lighter
    luminance = np.concatenate([top, _between(u[:, 1:], 0.05, top - CONTRAST)], axis=1)
    luminance = np.where(draws["lighter"] < LIGHTER, luminance, 1 - luminance)[..., None]
    pure = np.clip(np.abs((draws["hue"][..., None] * 6 + (0, 4, 2)) % 6 - 3) - 1, 0, 1)
    rgb = 1 - _between(draws["saturation"], 0.15, 0.8)[..., None] * (1 - pure)
    now = (rgb * (0.299, 0.587, 0.114)).sum(axis=-1, keepdims=True)
    return np.where(
        now > luminance, rgb * luminance / now, 1 - (1 - rgb) * (1 - luminance) / (1 - now + 1e-9)
    )


def _field(u: np.ndarray, size: int) -> np.ndarray:
    """Smooth noise [N,size,size] about 0.

    It is a cubic B-spline over a square grid of uniform numbers [N,g*g].
    """
    g = round(u.shape[1] ** 0.5)
    far = np.abs(((np.arange(size) + 0.5) / size * (g - 3) + 1)[:, None] - np.arange(g))
    spline = np.where(far < 1, 2 / 3 - far**2 + far**3 / 2, np.clip(2 - far, 0, None) ** 3 / 6)
    return spline @ (u.reshape(-1, g, g) - 0.5) @ spline.T


def ground_of(draws: dict, colours: np.ndarray, size: int) -> np.ndarray:
    """What lies behind the object, RGB [N,3,size,size].

    Noise and warped stripes between two colours, then strokes.
    """
    axis = (np.arange(size) + 0.5) / size
    x, y = axis[None, None, :], axis[None, :, None]
    fields = np.split(draws["noise"], np.cumsum([g * g for g in OCTAVES])[:-1], axis=1)
    noise = sum(
        (0.4 + w)[:, None, None] * _field(u, size)
        for u, w in zip(fields, draws["octaves"].T, strict=True)
    )
    turn, phase, count, depth = (v[:, None, None] for v in draws["stripes"].T)
    across = x * np.cos(np.pi * turn) + y * np.sin(np.pi * turn)
    wave = np.sin(2 * np.pi * (_between(count, 2, 7) * across + phase) + 6 * noise)
    striped = noise + 0.4 * np.clip(depth - 0.4, 0, None) * wave
    sharpness = _between(draws["sharpness"], 1, 5)[:, :, None]
    mix = np.clip(0.5 + sharpness * striped, 0, 1)
    step = (colours[:, 2] - colours[:, 1])[:, :, None, None]
    ground = colours[:, 1, :, None, None] + mix[:, None] * step
    strokes = draws["strokes"].reshape(-1, STROKES, 5, 1, 1).transpose(1, 2, 0, 3, 4)
    for k, (x0, y0, turn, length, width) in enumerate(strokes):
        cos, sin = np.cos(np.pi * turn), np.sin(np.pi * turn)
        along = np.clip((x - x0) * cos + (y - y0) * sin, -length * 0.35, length * 0.35)
        away = np.sqrt((x - x0 - along * cos) ** 2 + (y - y0 - along * sin) ** 2)
        alpha = np.clip((_between(width * (1 - length), 0.01, 0.06) - away) * size + 0.5, 0, 1)
        ground += alpha[:, None] * (colours[:, 3 + k, :, None, None] - ground)
    return ground


def uniform_draws(split: str, number: int, seed: int) -> dict[str, np.ndarray]:
    """The uniform numbers of the `number`-th block of a split, by use, each [BLOCK, ...]."""
    widths = list(_COLUMNS.values())
    generator = np.random.default_rng([seed, list(SPLITS).index(split), number])
    parts = np.split(generator.random((BLOCK, sum(widths))), np.cumsum(widths)[:-1], axis=1)
    return dict(zip(_COLUMNS, parts, strict=True))


def labels_of(draws: dict) -> np.ndarray:
    """int64 [N]: every ten pictures hold every class once."""
    return draws["label"].reshape(-1, len(CLASSES)).argsort(axis=1).reshape(-1)


def block(
    split: str, size: int, number: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures uint8 [BLOCK,3,size,size], labels and masks of the `number`-th block of a split."""
    draws = uniform_draws(split, number, seed)
    labels, colours = labels_of(draws), colours_of(draws)
    covered, ground = coverage(draws, labels, size), ground_of(draws, colours, size)
    # away from the ground, to white or black
    shade = np.clip(0.15 + _field(draws["texture"], size), 0, 1)[:, None]
    lighter = (draws["lighter"] < LIGHTER)[:, :, None, None]
    tone = colours[:, 0, :, None, None] * (1 - shade) + lighter * shade
    image = ground + covered[:, None] * (tone - ground)
    return np.floor(image * 255 + 0.5).astype(np.uint8), labels, covered >= 0.5


def draw(split: str, size: int = SIZE, count: int | None = None, seed: int = 0) -> Dataset:
    """The first `count` pictures of a split, size x size pixels; 20,000 train, 2,000 test if None.

    A mask is True where at least half of the pixel is on the object. Picture n depends on split,
    seed and n alone, whatever the count; the splits never meet; any count divisible by ten is
    balanced. Raises DataError for what cannot be drawn.
    """
    if split not in SPLITS:
        raise DataError(f"shapes10 has no split {split!r}; accepted are {' and '.join(SPLITS)}.")
    count = SPLITS[split] if count is None else count
    for name, value, least in (("size", size, 16), ("count", count, 1), ("seed", seed, 0)):
        if not is_whole(value, least):
            raise DataError(
                f"shapes10 cannot be drawn with {name} {value!r}; "
                f"it must be a whole number of at least {least}."
            )
    blocks = [block(split, size, number, seed) for number in range(-(-count // BLOCK))]
    images, labels, masks = (
        torch.from_numpy(np.concatenate(part)[:count]) for part in zip(*blocks, strict=True)
    )
    return _dataset(split, images, labels, masks, seed)


def _dataset(split, images, labels, masks, seed) -> Dataset:
    return Dataset("shapes10", split, images, labels, CLASSES, f"drawn, seed {seed}", masks)


def rows(split: str) -> np.ndarray:
    """A whole split at its default size, a row of bytes a picture: pixels, mask, label."""
    drawn = draw(split)
    parts = (drawn.images.flatten(1), drawn.masks.flatten(1), drawn.labels[:, None])
    return torch.cat([part.to(torch.uint8) for part in parts], dim=1).numpy()


def from_rows(kept: np.ndarray, split: str) -> Dataset:
    """What `rows` was made of, as `draw` gives it."""
    pixels, masks, labels = torch.from_numpy(kept).split([3 * SIZE**2, SIZE**2, 1], dim=1)
    images = pixels.reshape(-1, 3, SIZE, SIZE).contiguous()
    return _dataset(split, images, labels[:, 0].long(), masks.reshape(-1, SIZE, SIZE).bool(), 0)
