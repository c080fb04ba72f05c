"""study.subjects.pictures: files as people have them become bytes, upright and in eight bits, or
are refused in one sentence that names them."""

from __future__ import annotations

import re
import struct
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from study.subjects import shapes10
from study.subjects.pictures import DataError, Dataset, centre_crop, drawn, read_image, to_range
from tests import refusal
from tests.study.subjects.files import NAVY, WHITE, paletted, put, sixteen_bit

pytestmark = pytest.mark.usefixtures("one_thread")


def refused(call, *words):
    return refusal.refused(call, *words, error=DataError)


# ---- one picture


def transparent(mode, colour, **options):
    return Image.new(mode, (6, 4), colour), options


@pytest.mark.parametrize(
    "picture, expected",
    [
        (transparent("RGB", NAVY), NAVY),
        (transparent("L", 77), (77, 77, 77)),
        (transparent("1", 0), (0, 0, 0)),
        (paletted(), NAVY),
        (transparent("RGBA", (*NAVY, 255)), NAVY),
        (transparent("RGBA", (*NAVY, 0)), WHITE),
        # a fifth of the colour over white
        (transparent("RGBA", (0, 100, 200, 51)), (204, 224, 244)),
        (transparent("LA", (77, 255)), (77, 77, 77)),
        (transparent("LA", (77, 0)), WHITE),
        (transparent("RGB", NAVY, transparency=NAVY), WHITE),  # a colour that means "nothing here"
        (transparent("L", 77, transparency=77), WHITE),
        (paletted(transparency=1), WHITE),
        (paletted(transparency=b"\xff\x00"), WHITE),
        (paletted(transparency=b"\x00\xff"), NAVY),
        (sixteen_bit(0x4D80), (77, 77, 77)),  # 16 bits a pixel: the upper byte is what is seen
    ],
    ids=[
        "RGB",
        "grey",
        "bitmap",
        "palette",
        "RGBA opaque",
        "RGBA clear",
        "RGBA faint",
        "grey opaque",
        "grey clear",
        "RGB key",
        "grey key",
        "palette key",
        "palette alpha clear",
        "palette alpha opaque",
        "grey 16 bit",
    ],
)
def test_every_kind_of_picture_becomes_rgb_on_white(picture, expected, tmp_path):
    array = read_image(put(tmp_path / "a.png", picture[0], **picture[1]))
    assert array.shape == (4, 6, 3) and array.dtype == np.uint8
    assert np.abs(array.astype(int) - expected).max() <= 1


def test_size_stretches_and_does_not_crop(tmp_path):
    array = np.zeros((4, 12, 3), np.uint8)
    array[:, 6:] = 240
    array[0] = 120
    stretched = read_image(put(tmp_path / "a.png", Image.fromarray(array)), 8)
    assert stretched.shape == (8, 8, 3)
    assert (stretched[4:, :3] == 0).all()
    assert (stretched[4:, 5:] == 240).all()
    assert (stretched[0] == 120).all()
    assert (read_image(put(tmp_path / "b.png", NAVY, (8, 8)), 8) == NAVY).all()


def test_sixteen_bits_are_sixteen_bits_whatever_else_the_file_says(tmp_path):
    for n, order in enumerate(("<u2", ">u2")):
        values = np.array([[0, 255, 256, 0x4D80, 0xFFFF, 1000]], order)
        array = read_image(put(tmp_path / f"{n}.tif", Image.fromarray(values)))
        assert array[0, :, 0].tolist() == [0, 0, 1, 77, 255, 3]
    # 16 bits of three channels, which Pillow itself scales
    path = tmp_path / "deep.ppm"
    path.write_bytes(b"P6 1 1 65535 " + struct.pack(">3H", 0, 0x4D80, 0xFFFF))
    assert read_image(path).tolist() == [[[0, 77, 255]]]
    path.write_bytes(b"P5 1 1 65535 " + struct.pack(">H", 0x4D80))
    assert read_image(path).tolist() == [[[77] * 3]]


def tiff(path: Path, bits: int, values: bytes, width: int, **tags: int) -> Path:
    """An uncompressed TIFF of one row and one channel, as instruments write them."""
    known = {
        256: width,
        257: 1,
        258: bits,
        259: 1,
        262: tags.get("photometric", 1),
        273: 8 + 2 + 12 * 10 + 4,
        277: 1,
        278: 1,
        279: len(values),
        339: tags.get("sample_format", 1),
    }
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in known.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(known))
    path.write_bytes(head + entries + bytes(4) + values)
    return path


def test_a_tiff_is_scaled_as_its_tags_say(tmp_path):
    deep = struct.pack("<2H", 0x4D80, 0xFFFF)
    path = tmp_path / "a.tif"
    assert read_image(tiff(path, 16, deep, 2))[0, :, 0].tolist() == [77, 255]
    assert read_image(tiff(path, 16, deep, 2, photometric=0))[0, :, 0].tolist() == [178, 0]
    assert read_image(tiff(path, 8, b"\x4d\xff", 2, photometric=0))[0, :, 0].tolist() == [178, 0]
    assert read_image(tiff(path, 12, b"\x80\x0f\xff", 2))[0, :, 0].tolist() == [128, 255]
    for bits, values in ((8, b"\xfb\x1e"), (16, struct.pack("<2h", -5, 30_000))):
        refused(lambda b=bits, v=values: read_image(tiff(path, b, v, 2, sample_format=2)), "signed")


def test_sixteen_bits_may_have_a_grey_that_means_nothing_here(tmp_path):
    deep = Image.fromarray(np.array([[0x4D80, 0x1000]], np.uint16))
    array = read_image(put(tmp_path / "a.png", deep, transparency=0x4D80))
    assert array[0, :, 0].tolist() == [255, 16]


def test_floating_point_values_from_0_to_1_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 0.25, 0.5, 1]], np.float32)
    array = read_image(put(tmp_path / "a.tif", Image.fromarray(values)))
    assert array[0, :, 0].tolist() == [0, 64, 128, 255]
    negative = struct.pack("<2f", 0.25, 1)
    path = tiff(tmp_path / "b.tif", 32, negative, 2, sample_format=3, photometric=0)
    assert read_image(path)[0, :, 0].tolist() == [191, 0]


@pytest.mark.parametrize(
    "values, words",
    [
        (np.array([[0, 80.5]], np.float32), ["from 0 to 80.5", "from 0 to 1"]),
        (np.array([[-1, 1]], np.float32), ["from -1 to 1", "8 or 16 bits"]),
        (np.array([[0, np.nan]], np.float32), ["nan"]),
        (np.array([[0, np.inf]], np.float32), ["inf"]),
        (np.array([[0, 77]], np.int32), ["8 or 16 bits"]),
        (np.array([[-5, 70_000]], np.int32), ["signed or 32-bit"]),
    ],
    ids=["floats to 80", "floats about 0", "NaN", "infinity", "32 bits", "signed"],
)
def test_values_of_which_nothing_says_what_is_white_are_refused(values, words, tmp_path):
    path = put(tmp_path / "a.tif", Image.fromarray(values))
    refused(lambda: read_image(path), path, "nothing says", *words)


def test_cmyk_is_converted(tmp_path):
    picture = Image.new("CMYK", (6, 4), (245, 235, 165, 0))
    for ending in ("tif", "jpg"):
        array = read_image(put(tmp_path / f"a.{ending}", picture))
        assert np.abs(array.astype(int) - NAVY).max() <= 12


def lying(orientation: int) -> Image.Image:
    """A picture with a white upper left corner, as a camera held in that way stores it."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255
    stored = Image.fromarray(pixels)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return stored.transpose(undo[orientation]) if orientation in undo else stored


def note(orientation) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_the_camera_notes(orientation, ending, tmp_path):
    path = put(tmp_path / f"a.{ending}", lying(orientation), exif=note(orientation))
    array = read_image(path)
    assert array.shape == (16, 32, 3)
    assert array[1:7, 1:7].min() > 200
    assert array[:, 9:].max() < 50 and array[9:].max() < 50


def test_a_transparent_picture_is_turned_too(tmp_path):
    clear = lying(6).convert("RGBA")
    clear.putalpha(128)
    array = read_image(put(tmp_path / "a.png", clear, exif=note(6)))
    assert array.shape == (16, 32, 3) and array[0, 0].min() > 250 and array[-1, -1].max() < 130


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_a_note_that_names_no_turn_turns_nothing(orientation, tmp_path):
    assert read_image(put(tmp_path / "a.jpg", exif=note(orientation))).shape == (4, 6, 3)


@pytest.mark.parametrize("damage", ["cut", "noise", "no header", "long text"])
def test_a_damaged_note_costs_neither_the_picture_nor_a_word(damage, tmp_path):
    whole = note(6).tobytes()
    damaged = {
        "cut": whole[:20],
        "noise": whole[:10] + bytes(range(200, 256)),
        "no header": b"Exif\x00\x00no header at all",
        "long text": whole[:14] + b"\xff" * 12,
    }[damage]
    path = put(tmp_path / "a.jpg", NAVY, exif=damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = read_image(path)
    assert array.shape in ((4, 6, 3), (6, 4, 3))
    assert np.abs(array.astype(int) - NAVY).max() <= 3


def test_more_pixels_than_pillow_accepts_ask_for_a_smaller_picture(tmp_path, monkeypatch):
    path = put(tmp_path / "a.png", size=(60, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000)
    with warnings.catch_warnings():  # up to twice of that Pillow reads and warns; here it is silent
        warnings.simplefilter("error")
        assert read_image(path).shape == (40, 60, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    refused(lambda: read_image(path), path, "2,000 pixels", "scale it down")


def test_a_picture_takes_a_few_times_its_own_memory(tmp_path):
    path = put(tmp_path / "strip.png", size=(30_000, 4))
    tracemalloc.start()
    assert centre_crop(read_image(path), 224).shape == (224, 224, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # scaled as a whole it would take 30,000 x 64 times as many pixels
    assert peak < 20 * 30_000 * 4 * 3


def test_the_middle_of_a_strip_is_its_own_middle():
    strip = np.zeros((10, 3_000, 3), np.uint8)
    strip[:, 1_495:1_505] = 255
    for picture in (strip, strip.transpose(1, 0, 2)):
        assert (centre_crop(picture, 64) > 250).all()


# ---- parts of a dataset


@pytest.fixture
def numbered():
    """Forty pictures whose every pixel, label and mask row is their number."""
    n = torch.arange(40)
    return Dataset(
        "numbered",
        "test",
        n.to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2).clone(),
        n.clone(),
        tuple("ab"),
        "made",
        (n > 20)[:, None, None].expand(-1, 2, 2),
    )


def test_a_sample_is_fixed_in_order_and_without_repeats(numbered):
    part = numbered.sample(12, seed=3)
    assert part.labels.tolist() == sorted(set(part.labels.tolist())) and len(part) == 12
    assert torch.equal(part.labels, numbered.sample(12, seed=3).labels)
    assert not torch.equal(part.labels, numbered.sample(12, seed=4).labels)
    assert torch.equal(part.images[:, 0, 0, 0].long(), part.labels)
    assert torch.equal(part.masks[:, 0, 0], part.labels > 20)
    assert part.labels.tolist() != list(range(12))
    assert (part.name, part.classes, part.source) == (
        "numbered",
        ("a", "b"),
        "made",
    )
    for count in (None, 40, 41):
        assert torch.equal(numbered.sample(count).labels, numbered.labels)


def test_a_sample_does_not_touch_the_global_random_numbers(numbered):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    part = numbered.sample(12)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(part.labels, numbered.sample(12).labels)


def test_fingerprint_sees_every_pixel_and_label(numbered):
    assert re.fullmatch("[0-9a-f]{12}", numbered.fingerprint)
    assert (
        replace(numbered, images=numbered.images.clone(), masks=None, name="other").fingerprint
        == numbered.fingerprint
    )
    pixel = numbered.images.clone()
    label = numbered.labels.clone()
    shape = numbered.images.reshape(40, 3, 1, 4)
    pixel[17, 2, 1, 0] += 1
    label[39] = 0
    others = [
        replace(numbered, images=pixel),
        replace(numbered, labels=label),
        replace(numbered, images=shape),
        numbered.take(slice(0, 39)),
        numbered.sample(39),
    ]
    assert len({numbered.fingerprint} | {other.fingerprint for other in others}) == 6
    assert (
        replace(
            numbered, images=numbered.images.contiguous(memory_format=torch.channels_last)
        ).fingerprint
        == numbered.fingerprint
    )


@pytest.mark.parametrize(
    "index",
    [slice(0, 20), slice(None, None, 2), torch.arange(20) * 2, torch.arange(40) % 2 == 0],
    ids=["slice", "stride", "index", "mask"],
)
def test_parts_have_fingerprints_too(index, numbered):
    part = numbered.take(index)
    copy = Dataset(
        "copy", "test", part.images.clone(), torch.tensor(part.labels.tolist()), ("a",), "made"
    )
    assert part.fingerprint == copy.fingerprint


@pytest.mark.parametrize("black, white", [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (0.0, 255.0)])
def test_bytes_in_the_range_of_the_model(black, white):
    pictures = (
        torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16).clone()
    )
    before = pictures.clone()
    moved = to_range(pictures, SimpleNamespace(black=black, white=white))
    assert moved.dtype == torch.float32 and torch.equal(pictures, before)
    assert moved[0, 0, 0, 0].item() == black
    assert moved[0, 0, -1, -1].item() == pytest.approx(white, abs=1e-6)
    torch.testing.assert_close(moved, black + before.float() / 255 * (white - black))


def test_black_and_white_may_differ_by_channel():
    """As where a network subtracts a mean and divides by a deviation of each channel."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pictures = torch.randint(256, (4, 3, 5, 7), dtype=torch.uint8)
    expected = (pictures / 255 - mean[:, None, None]) / deviation[:, None, None]
    black, white = -mean / deviation, (1 - mean) / deviation
    for of in (
        lambda v: v,
        lambda v: v.tolist(),
        lambda v: tuple(v.numpy()),
        lambda v: v[:, None, None],
    ):
        moved = to_range(pictures, SimpleNamespace(black=of(black), white=of(white)))
        assert moved.dtype == torch.float32
        torch.testing.assert_close(moved, expected)
    one = to_range(pictures, SimpleNamespace(black=torch.tensor(-1.0), white=[1.0]))
    assert torch.equal(one, to_range(pictures, SimpleNamespace(black=-1.0, white=1.0)))
    with pytest.raises(ValueError, match="3 values, one a channel; 2 were given"):
        to_range(pictures, SimpleNamespace(black=[0, 0], white=1))


def test_drawn_places_are_those_of_a_sample_and_the_next_ones_are_others():
    pictures = shapes10.draw("test", count=30)
    assert torch.equal(pictures.sample(8, seed=3).images, pictures.images[drawn(30, 8, seed=3)])
    first, rest = drawn(30, 8), drawn(30, 22, skip=8)
    assert sorted([*first.tolist(), *rest.tolist()]) == list(range(30)) and (first.diff() > 0).all()


# ---- the middle of a picture


def striped(width: int, height: int) -> Image.Image:
    """Red where a centred square of the shorter side lies, blue beside it."""
    pixels, side = np.zeros((height, width, 3), np.uint8), min(width, height)
    pixels[..., 2] = 255
    rows = slice((height - side) // 2, (height + side) // 2)
    columns = slice((width - side) // 2, (width + side) // 2)
    pixels[rows, columns] = (255, 0, 0)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "width, height", [(400, 300), (300, 400), (300, 300), (64, 1000), (30, 20)]
)
@pytest.mark.parametrize("size", [224, 96, 33])
def test_the_middle_is_cut_out_and_not_stretched(width, height, size):
    middle = centre_crop(np.asarray(striped(width, height)), size)
    assert middle.shape == (size, size, 3) and middle.dtype == np.uint8
    assert (middle[..., 0] > 250).all() and (middle[..., 2] < 5).all()


def test_the_cut_is_that_of_imagenets_evaluation():
    from torchvision.transforms.v2.functional import center_crop, resize

    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    picture = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
    expected = np.asarray(center_crop(resize(picture, 256), 224)).astype(int)
    assert np.abs(centre_crop(np.asarray(picture), 224) - expected).max() <= 8
