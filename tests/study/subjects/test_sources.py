"""study.subjects.sources: pictures as they lie on a disk are found, decoded and cached, or refused
in one sentence that names them."""

from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from study.subjects import cifar10, imagenet, shapes10, sources
from study.subjects.folders import listing
from study.subjects.pictures import DataError, drawn
from study.subjects.sources import CIFAR10_CLASSES, load
from tests import refusal
from tests.study.subjects.files import NAVY, paletted, put, sixteen_bit

pytestmark = pytest.mark.usefixtures("one_thread")

needs_pictures = pytest.mark.skipif(
    not os.environ.get("SIGN_NOISE_DATA"),
    reason="SIGN_NOISE_DATA is not set: the real pictures are not here",
)


def refused(call, *words):
    return refusal.refused(call, *words, error=DataError)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path, cache):
    """Two classes of two pictures each, every picture another colour."""
    for n, name in enumerate(("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")):
        put(tmp_path / "pictures" / name, (n, 10 * n, 100 + n))
    return tmp_path / "pictures"


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    """A project without any real pictures; returns its folder data/raw."""
    monkeypatch.delenv("SIGN_NOISE_DATA", raising=False)
    monkeypatch.setattr(sources, "ROOT", tmp_path / "project")
    return tmp_path / "project" / "data" / "raw"


def cifar10_tree(base: Path, classes=CIFAR10_CLASSES) -> Path:
    for n, name in enumerate(classes):
        for split in ("train", "test"):
            put(
                base / "cifar10" / split / name / "0001.png",
                (n, n, 200 if split == "test" else 100),
                (32, 32),
            )
    return base


@pytest.mark.parametrize(
    "ending",
    [
        "jpg",
        "JPEG",
        "jfif",
        "jpe",
        "png",
        "bmp",
        "webp",
        "avif",
        "gif",
        "tif",
        "TIFF",
        "ppm",
        "jp2",
    ],
)
def test_accepted_endings(ending, tmp_path, cache):
    kind = {"jfif": "JPEG", "jpe": "JPEG"}.get(ending)
    put(tmp_path / "p" / "one" / f"a.{ending}", (200, 200, 200), format=kind)
    assert load(f"imagefolder:{tmp_path / 'p'}").images.float().mean().item() == pytest.approx(
        200, abs=2
    )


def test_rows_are_rows_and_red_is_red(tmp_path, cache):
    array = np.random.default_rng(0).integers(0, 256, (4, 7, 3), np.uint8)
    put(tmp_path / "p" / "one" / "a.png", Image.fromarray(array))
    assert torch.equal(
        load(f"imagefolder:{tmp_path / 'p'}").images[0], torch.from_numpy(array).permute(2, 0, 1)
    )


# ---- pictures that cannot be read


def broken(tmp_path, kind) -> Path:
    """An image folder whose second picture is damaged."""
    put(tmp_path / "p" / "one" / "a.png")
    rough = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    ending = kind.split()[1] if kind.startswith(("cut", "head")) else "png"
    path = put(tmp_path / "p" / "one" / f"broken.{ending}", rough)
    whole = path.read_bytes()
    if kind == "bomb":  # a header that promises 300 million pixels
        header = bytearray(put(path.with_suffix(".bmp"), rough).read_bytes())
        header[18:26] = (20_000).to_bytes(4, "little") + (15_000).to_bytes(4, "little")
        path.unlink()
        path = path.with_suffix(".bmp")
        path.write_bytes(header)
    else:
        path.write_bytes(
            {
                "text": b"not a picture",
                "empty": b"",
                "noise": np.random.default_rng(0).bytes(400),
                "cut": whole[: len(whole) * 2 // 3],
                "head": whole[:20],
            }[kind.split()[0]]
        )
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        "empty",
        "noise",
        "cut png",
        "cut jpg",
        "cut gif",
        "cut bmp",
        "cut webp",
        "cut tiff",
        "head png",
        "head jpg",
        "bomb",
    ],
)
def test_a_damaged_picture_is_named(kind, tmp_path, cache):
    path = broken(tmp_path, kind)
    fault = "pixels that are read" if kind == "bomb" else "cannot be read as a picture"
    remedy = "scale it down" if kind == "bomb" else "replace it by a JPEG or PNG"
    refused(lambda: load(f"imagefolder:{tmp_path / 'p'}", size=32), path, fault, remedy)
    assert not list(cache.glob("*"))


def test_a_damaged_picture_outside_the_sample_does_no_harm(folder, decoded):
    for n in range(20):
        put(folder / "dog" / f"more{n}.png", (n, n, n))
    whole = load(f"imagefolder:{folder}")
    part = whole.sample(5, seed=1)
    for place in set(range(len(whole))) - set(drawn(len(whole), 5, seed=1).tolist()):
        listing(folder)[0][place].write_bytes(b"damaged")
    again = load(f"imagefolder:{folder}", count=5, seed=1)
    assert again.fingerprint == part.fingerprint and again.classes == whole.classes
    assert [len(files) for files, _ in decoded] == [24, 5]
    refused(lambda: load(f"imagefolder:{folder}"), "cannot be read as a picture")


def test_pictures_of_two_sizes_need_a_size(folder):
    put(folder / "dog" / "large.png", size=(8, 4))
    large = folder / "dog" / "large.png"
    refused(lambda: load(f"imagefolder:{folder}"), large, "8x4", "6x4", "`size`", "size=224")
    stretched = load(f"imagefolder:{folder}", size=5)
    assert stretched.images.shape == (5, 3, 5, 5) and stretched.size == 5


@pytest.mark.parametrize("size", [0, -3])
def test_an_impossible_size_is_what_is_refused_not_the_picture(size, folder):
    message = refused(lambda: load(f"imagefolder:{folder}", size=size), "size", size)
    assert "0.png" not in message


# ---- folders


def test_classes_are_sorted_folders_and_labels_follow(folder):
    (folder / "ant").mkdir()
    put(folder / "ant" / "z.jpg", (7, 7, 7))
    put(folder / ".thumbnails" / "a.png")
    (folder / "dog" / "notes.txt").write_text("no picture")
    (folder / "README.md").write_text("nor this")
    pictures = load(f"imagefolder:{folder}")
    assert pictures.classes == ("ant", "cat", "dog") and pictures.labels.tolist() == [0, 1, 1, 2, 2]
    assert pictures.images[1:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert pictures.images.dtype == torch.uint8
    assert pictures.masks is None
    assert pictures.source == str(folder)
    assert pictures.split == "test"
    assert len(pictures) == 5


def test_a_split_is_a_subfolder_where_there_is_one(tmp_path, cache):
    for split, value in (("train", 1), ("test", 2)):
        put(tmp_path / "p" / split / "cat" / "a.png", (value,) * 3)
    for split, value in (("train", 1), ("test", 2)):
        pictures = load(f"imagefolder:{tmp_path / 'p'}", split)
        assert pictures.classes == ("cat",) and pictures.images.unique().tolist() == [value]


MACS = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"


def test_what_systems_leave_beside_pictures_is_passed_over(folder):
    (folder / "cat" / "._0.png").write_bytes(MACS)
    (folder / "dog" / ".DS_Store").write_bytes(MACS)
    (folder / "dog" / "Thumbs.db").write_bytes(MACS)
    put(folder / "dog" / ".hidden.png")
    put(folder / "dog" / "@eaDir" / "small.png")
    put(folder / "__MACOSX" / "cat" / "0.png")
    put(folder / ".ipynb_checkpoints" / "0.png")
    pictures = load(f"imagefolder:{folder}")
    assert pictures.classes == ("cat", "dog") and pictures.labels.tolist() == [0, 0, 1, 1]


def test_pictures_may_lie_in_folders_inside_their_class(tmp_path, cache):
    for n, name in enumerate(("cat/a/1.png", "cat/b/c/0.png", "cat/z.png", "dog/2024/9.png")):
        put(tmp_path / "p" / name, (n,) * 3)
    (tmp_path / "p" / "cat" / "b" / "back").symlink_to(tmp_path / "p" / "cat")
    (tmp_path / "p" / "dog" / "linked").symlink_to(tmp_path / "p" / "dog" / "2024")
    pictures = load(f"imagefolder:{tmp_path / 'p'}")
    assert pictures.classes == ("cat", "dog") and pictures.labels.tolist() == [0, 0, 0, 1]
    assert pictures.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_link_that_leads_nowhere_is_named(folder):
    (folder / "cat" / "lost.png").symlink_to(folder / "nowhere.png")
    refused(lambda: load(f"imagefolder:{folder}"), "lost.png", "No such file", "remove it")


def parts(base: Path, *names: str) -> Path:
    """Two classes under every name; the colour is the place of the name."""
    for n, name in enumerate(names):
        for kind in ("ant", "bee"):
            put(base / name / kind / "0.png", (n,) * 3)
    return base


@pytest.mark.parametrize(
    "names, split, taken",
    [
        (["train", "val"], "test", 1),
        (["train", "valid"], "test", 1),
        (["train", "validation"], "val", 1),
        (["Training", "Testing"], "test", 1),
        (["Training", "Testing"], "train", 0),
        (["train", "val", "test"], "test", 2),
        (["train", "val", "test"], "val", 1),
        (["train", "val", "notes"], "test", 1),
        (["training_set", "test_set"], "test", 1),
        (["training_set", "test_set"], "train", 0),
        (["Trainset", "evaluation"], "test", 1),
        (["test"], "test", 0),
    ],
)
def test_the_usual_names_of_splits_are_known(names, split, taken, tmp_path, cache):
    pictures = load(f"imagefolder:{parts(tmp_path / 'p', *names)}", split)
    assert pictures.classes == ("ant", "bee") and pictures.split == split
    assert pictures.images.unique().tolist() == [taken]
    assert pictures.source == str(tmp_path / "p" / names[taken])


@pytest.mark.parametrize(
    "names, split, words",
    [
        (["train"], "test", ["has train but no test or val", "imagefolder:"]),
        (["val", "test"], "train", ["has val and test but no train", "/train/<class>/"]),
        (["train", "test"], "val", ["has train and test but no val"]),
        (["test", "test_set"], "test", ["has both test and test_set", "p/test"]),
        (["train"], "../p", ["unknown split '../p'"]),
        (["train"], "..", ["unknown split '..'"]),
    ],
)
def test_a_split_that_is_absent_is_named_at_once(names, split, words, tmp_path, cache):
    name = f"imagefolder:{parts(tmp_path / 'p', *names)}"
    for call in (sources.check, load):
        refused(lambda call=call: call(name, split), tmp_path / "p", *words)


@pytest.mark.parametrize(
    "names, held",
    [
        (["images/train", "images/test"], "images"),
        (["first batch", "second batch"], "first batch"),
        (["cat/train", "dog/train", "cat/test", "dog/test"], "cat"),
        (["train_set/train_set", "test_set/test_set"], "test_set/test_set"),
    ],
)
def test_folders_that_could_be_classes_or_parts_are_refused(names, held, tmp_path, cache):
    folder = parts(tmp_path / "p", *names)
    (folder / "labels").mkdir()  # holds no picture and is neither
    for call in (sources.check, load):
        refused(
            lambda call=call: call(f"imagefolder:{folder}"),
            "classes or parts",
            f"imagefolder:{folder / held}",
            "into its folder itself",
        )
    assert load(f"imagefolder:{folder / held}").classes == ("ant", "bee")


def test_folders_inside_classes_may_share_one_name(tmp_path, cache):
    for n, name in enumerate(("cat/pictures/0.png", "cat/more/1.png", "dog/pictures/2.png")):
        put(tmp_path / "p" / name, (n,) * 3)
    assert load(f"imagefolder:{tmp_path / 'p'}").labels.tolist() == [0, 0, 1]


def test_splits_without_classes_are_no_classes(tmp_path, cache):
    for part in ("train", "val"):
        put(tmp_path / "p" / part / "0.png")
    refused(lambda: load(f"imagefolder:{tmp_path / 'p'}"), "val", "no class folders")


def test_test_pictures_without_classes_leave_the_training_pictures(tmp_path, cache):
    """As competitions give them out."""
    for name in ("train/ant/0.png", "train/bee/1.png", "test/2.png"):
        put(tmp_path / "p" / name)
    name = f"imagefolder:{tmp_path / 'p'}"
    assert load(name, "train").classes == ("ant", "bee")
    refused(lambda: load(name), "no class folders", f"imagefolder:{tmp_path / 'p' / 'train'}")


def test_a_part_whose_pictures_lie_in_no_class_is_refused(tmp_path, cache):
    """As Tiny ImageNet has its test pictures in one folder called images."""
    for name in ("train/ant/images/0.png", "train/bee/images/1.png", "test/images/2.png"):
        put(tmp_path / "p" / name)
    name = f"imagefolder:{tmp_path / 'p'}"
    assert load(name, "train").classes == ("ant", "bee")
    refused(lambda: load(name), "one folder, images", f"imagefolder:{tmp_path / 'p' / 'train'}")


def test_parts_with_a_shared_beginning_are_parts(tmp_path, cache):
    for part in ("train", "test"):
        for k, kind in enumerate(("ant", "bee")):
            put(tmp_path / "p" / f"seg_{part}" / kind / "0.png", (k, 0, 0))
            put(tmp_path / "q" / f"seg_{part}" / f"seg_{part}" / kind / "0.png", (k, 0, 0))
    put(tmp_path / "q" / "seg_pred" / "seg_pred" / "0.png")
    put(tmp_path / "p" / "seg_pred" / "0.png")
    for split in ("train", "test"):
        assert load(f"imagefolder:{tmp_path / 'p'}", split).classes == ("ant", "bee")
    twice = tmp_path / "q" / "seg_test" / "seg_test"
    refused(lambda: load(f"imagefolder:{tmp_path / 'q'}"), f"imagefolder:{twice}")
    # two kinds of trains are classes
    for name in ("bullet_train/0.png", "steam_train/1.png"):
        put(tmp_path / "r" / name)
    assert load(f"imagefolder:{tmp_path / 'r'}").classes == ("bullet_train", "steam_train")


def test_a_train_beside_a_bus_is_a_class(tmp_path, cache):
    for name in ("bus", "train", "tram"):
        put(tmp_path / "p" / name / "0.png")
    for split in ("test", "train"):
        pictures = load(f"imagefolder:{tmp_path / 'p'}", split)
        assert pictures.classes == ("bus", "train", "tram")


def test_names_of_any_length_and_script(tmp_path, cache):
    folder = tmp_path / ("猫" * 80) / "US$ 5 & *co* [x]"
    put(folder / "犬" / "0.png")
    assert load(f"imagefolder:{folder}").classes == ("犬",)
    assert load(f"imagefolder:{folder.parent}").images.shape == (1, 3, 4, 6)


@pytest.mark.parametrize("suffix", ["+patch", "+jpeg75"])
def test_a_folder_has_its_altered_twin_as_every_dataset_has(suffix, tmp_path, cache):
    for name in ("cat", "dog"):
        for n in range(3):
            put(tmp_path / "p" / name / f"{n}.png", (80, 90, 100), (32, 32))
    name = f"imagefolder:{tmp_path / 'p'}"
    plain, twin = load(name), load(name + suffix)
    assert twin.name == name + suffix and twin.classes == plain.classes
    assert twin.fingerprint == sources._ALTERED[suffix](plain).fingerprint
    assert len(load(name + suffix, count=2)) == 2
    sources.check(name + suffix)
    refused(lambda: load(f"imagefolder:{tmp_path / 'q'}{suffix}"), "not a folder", "/q")


def test_a_folder_whose_own_name_ends_so_is_that_folder(tmp_path, cache):
    put(tmp_path / "p+patch" / "cat" / "0.png", NAVY, (32, 32))
    name = f"imagefolder:{tmp_path / 'p+patch'}"
    assert load(name).images[0, :, 0, 0].tolist() == list(NAVY)
    twin = load(name + "+patch")
    assert twin.images[0, :, :10, :10].unique().numel() > 50 and twin.name == name + "+patch"


@pytest.mark.parametrize(
    "layout, words",
    [
        ("missing", ["pictures", "not a folder"]),
        ("file", ["pictures", "a file and no folder", "unpack"]),
        ("other files", ["birds", "no picture", ".heic, .mov", "convert", ".jpeg"]),
        ("empty", ["pictures", "no class folders"]),
        ("flat", ["pictures", "no class folders"]),
        ("hollow class", ["hollow", "no picture", "remove it", ".jpeg", ".jpg", ".png"]),
    ],
)
def test_a_folder_of_another_layout_is_named(layout, words, tmp_path, cache):
    folder = tmp_path / "pictures"
    if layout == "file":
        folder.write_text("")
    elif layout != "missing":
        folder.mkdir()
    if layout == "flat":
        put(folder / "a.png")
    if layout == "other files":
        (folder / "birds").mkdir()
        for name in ("1.HEIC", "2.mov", "notes"):
            (folder / "birds" / name).write_text("")
    if layout == "hollow class":
        put(folder / "full" / "a.png")
        (folder / "hollow").mkdir()
    refused(lambda: load(f"imagefolder:{folder}"), *words)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: load("cifar100"), ["'cifar100'", "shapes10", "cifar10", "imagefolder:<path>"]),
        (lambda: load("shapes10", "validation"), ["shapes10", "'validation'", "train and test"]),
        (lambda: load("cifar10", "val"), ["cifar10", "'val'", "train and test"]),
        (lambda: load("cifar10+patch", "val"), ["cifar10+patch", "'val'", "train and test"]),
        (lambda: load("photos", "train"), ["photos", "'train'", "accepted are test."]),
        (
            lambda: load("rectgrad_samples", "figure 4"),
            [
                "rectgrad_samples",
                "'figure 4'",
                "test, threshold, interclass, intraclass and adversarial",
            ],
        ),
        (
            lambda: load("nosuch+patch"),
            ["'nosuch+patch'", "shapes10", "+patch", "imagefolder:<path>"],
        ),
        (lambda: load("+patch"), ["'+patch'"]),
        (
            lambda: load("shapes10+patch+patch"),
            ["'shapes10+patch+patch'", "one of +patch and +jpeg75"],
        ),
        (
            lambda: load("shapes10+patch+jpeg75"),
            ["'shapes10+patch+jpeg75'", "one of +patch and +jpeg75"],
        ),
        (lambda: load("shapes10+jpeg75+patch"), ["'shapes10+jpeg75+patch'"]),
        (lambda: load("shapes10+jpeg90"), ["'shapes10+jpeg90'", "+jpeg75"]),
        (lambda: load("shapes10", count=0), ["count is 0", "at least 1"]),
        (lambda: load("shapes10", count=-1), ["count is -1"]),
        (lambda: load("shapes10", count=2.5), ["count is 2.5"]),
        (lambda: load("imagefolder:"), ["imagefolder:", "folder"]),
    ],
    ids=[
        "dataset",
        "split",
        "cifar10 split",
        "patch split",
        "photos split",
        "figure",
        "patched",
        "patch alone",
        "patched twice",
        "both suffixes",
        "both, the other way",
        "another quality",
        "count 0",
        "count -1",
        "count 2.5",
        "imagefolder of nothing",
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_is_accepted(call, words):
    refused(call, *words)


def test_check_reads_nothing(monkeypatch, folder):
    for name in ("read_folder", "_shapes10", "find"):
        monkeypatch.setattr(sources, name, lambda *_: pytest.fail("check started work"))
    sources.check("shapes10", "train")
    sources.check("cifar10")
    sources.check(f"imagefolder:{folder}")
    refused(lambda: sources.check("cifar100"), "'cifar100'")
    refused(lambda: sources.check(f"imagefolder:{folder / 'nowhere'}"), "nowhere")


# ---- where cifar10 is found


def test_the_named_folder_comes_first_then_data_raw(tmp_path, monkeypatch, cache, no_data):
    cifar10_tree(no_data)
    assert load("cifar10").source == "data/raw/cifar10/test"
    cifar10_tree(tmp_path / "mine")
    put(tmp_path / "mine" / "cifar10" / "test" / "truck" / "0002.png", size=(32, 32))
    monkeypatch.setenv("SIGN_NOISE_DATA", str(tmp_path / "mine"))
    mine = load("cifar10")
    assert mine.source == "SIGN_NOISE_DATA/cifar10/test"
    assert len(mine) == 11
    assert mine.classes == CIFAR10_CLASSES
    assert load("cifar10", "train").images[:, 2].unique().tolist() == [100]


def test_the_source_is_the_folder_that_was_used(tmp_path, monkeypatch, cache, no_data):
    cifar10_tree(no_data)
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("SIGN_NOISE_DATA", str(tmp_path / "mine"))  # it has no cifar10
    assert load("cifar10").source == "data/raw/cifar10/test"


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_named_folder_that_is_none_is_refused(kind, tmp_path, monkeypatch, no_data):
    cifar10_tree(no_data)
    if kind == "file":
        (tmp_path / "mine").write_text("")
    monkeypatch.setenv("SIGN_NOISE_DATA", str(tmp_path / "mine"))
    refused(lambda: load("cifar10"), "SIGN_NOISE_DATA", tmp_path / "mine", "not a folder")


def test_a_missing_split_is_named(tmp_path, monkeypatch, cache, no_data):
    put(tmp_path / "mine" / "cifar10" / "train" / "cat" / "a.png")
    monkeypatch.setenv("SIGN_NOISE_DATA", str(tmp_path / "mine"))
    refused(lambda: load("cifar10", "test"), tmp_path / "mine" / "cifar10" / "test", "not a folder")


@pytest.mark.parametrize(
    "classes",
    [CIFAR10_CLASSES[:9], (*CIFAR10_CLASSES, "zebra"), (*CIFAR10_CLASSES[:9], "lorry")],
    ids=["nine", "eleven", "another"],
)
def test_other_class_folders_are_refused(classes, tmp_path, monkeypatch, cache, no_data):
    monkeypatch.setenv("SIGN_NOISE_DATA", str(cifar10_tree(tmp_path / "mine", classes)))
    refused(
        lambda: load("cifar10"),
        tmp_path / "mine" / "cifar10" / "test",
        classes[-1],
        "airplane",
        "truck",
    )


def test_other_class_folders_are_refused_before_any_picture_is_decoded(
    tmp_path, monkeypatch, cache, no_data
):
    monkeypatch.setenv("SIGN_NOISE_DATA", str(cifar10_tree(tmp_path / "mine", CIFAR10_CLASSES[:9])))
    monkeypatch.setattr(
        sources, "decode", lambda *_: pytest.fail("decoding 50,000 pictures came first")
    )
    refused(lambda: load("cifar10"), "airplane")


# ---- the cache


@pytest.fixture
def decoded(monkeypatch):
    """The list of calls of `decode`, which still decodes."""
    calls, decode = [], sources.decode

    def noted(*arguments):
        calls.append(arguments)
        return decode(*arguments)

    monkeypatch.setattr(sources, "decode", noted)
    return calls


def test_pictures_are_decoded_once(folder, cache, decoded):
    first, second = load(f"imagefolder:{folder}"), load(f"imagefolder:{folder}")
    assert len(decoded) == 1 and len(list(cache.iterdir())) == 1
    assert torch.equal(first.images, second.images) and first.fingerprint == second.fingerprint


def test_each_size_is_kept_apart(folder, decoded):
    for size in (None, 5, 7, None, 5, 7):
        assert load(f"imagefolder:{folder}", size=size).images.shape[2:] == (size or 4, size or 6)
    assert len(decoded) == 3


@pytest.mark.parametrize("change", ["other pixels", "one more", "one less", "renamed"])
def test_a_changed_folder_is_decoded_again(change, folder, decoded):
    before = load(f"imagefolder:{folder}").images
    if change == "other pixels":  # in a file of the same length
        size = (folder / "cat" / "1.png").stat().st_size
        assert put(folder / "cat" / "1.png", (10, 1, 101)).stat().st_size == size
    elif change == "one more":
        put(folder / "dog" / "2.png")
    elif change == "one less":
        (folder / "dog" / "0.png").unlink()
    else:
        (folder / "cat" / "0.png").rename(folder / "cat" / "2.png")
    after = load(f"imagefolder:{folder}").images
    assert len(decoded) == 2 and not torch.equal(before, after)


def test_classes_that_swap_names_are_decoded_again(tmp_path, cache):
    """Uncompressed pictures unpacked from one archive all have the same size and time: only the
    folder tells them apart."""
    for name, colour in (("cat", (1, 1, 1)), ("dog", (2, 2, 2))):
        os.utime(put(tmp_path / "p" / name / "0.bmp", colour), (10**9, 10**9))
    assert load(f"imagefolder:{tmp_path / 'p'}").images[:, 0, 0, 0].tolist() == [1, 2]
    for old, new in (("cat", "x"), ("dog", "cat"), ("x", "dog")):
        (tmp_path / "p" / old).rename(tmp_path / "p" / new)
    assert load(f"imagefolder:{tmp_path / 'p'}").images[:, 0, 0, 0].tolist() == [2, 1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b[: len(b) // 2],
        lambda b: b[:40],
        lambda b: b"",
        lambda b: b"\x00" * len(b),
        lambda b: b"noise",
    ],
    ids=["a byte short", "half", "head", "empty", "zeros", "noise"],
)
def test_a_damaged_cache_is_rebuilt(damage, folder, cache, decoded):
    expected = load(f"imagefolder:{folder}").images
    (kept,) = cache.iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    assert torch.equal(load(f"imagefolder:{folder}").images, expected) and len(decoded) == 2
    assert torch.equal(load(f"imagefolder:{folder}").images, expected) and len(decoded) == 2


def test_a_stopped_write_leaves_no_cache(folder, cache, monkeypatch):
    def full(file, pixels):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.warns(UserWarning, match="No space"):
            load(f"imagefolder:{folder}")
    assert not list(cache.iterdir())
    assert torch.equal(
        load(f"imagefolder:{folder}").images[:, 0, 0, 0], torch.arange(4, dtype=torch.uint8)
    )


# ---- parts of a dataset


def test_load_takes_the_sample_of_its_seed(folder):
    whole = load(f"imagefolder:{folder}")
    for seed in range(3):
        assert torch.equal(
            load(f"imagefolder:{folder}", count=2, seed=seed).images, whole.sample(2, seed).images
        )


# ---- the random patch


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_patch_is_one_and_in_the_corner(split, monkeypatch):
    monkeypatch.setattr(shapes10, "SPLITS", {"train": 30, "test": 30})
    plain, patched = load("shapes10", split), load("shapes10+patch", split)
    patch = patched.images[0, :, :10, :10]
    assert (patched.images[:, :, :10, :10] == patch).all()
    assert torch.equal(patch, load("shapes10+patch", "test", count=1).images[0, :, :10, :10])
    assert torch.equal(patched.images[:, :, 10:], plain.images[:, :, 10:])
    assert torch.equal(patched.images[:, :, :10, 10:], plain.images[:, :, :10, 10:])
    assert torch.equal(patched.labels, plain.labels)
    assert torch.equal(patched.masks, plain.masks)
    assert patched.classes == plain.classes
    assert patched.name == "shapes10+patch" and patched.fingerprint != plain.fingerprint
    # uniform over all bytes, each channel its own
    assert 100 < patch.float().mean() < 155
    assert patch.unique().numel() > 150


def test_the_patch_does_not_touch_the_global_random_numbers(monkeypatch):
    monkeypatch.setattr(shapes10, "SPLITS", {"train": 5, "test": 5})
    before = torch.get_rng_state()
    load("shapes10+patch")
    assert torch.equal(before, torch.get_rng_state())


# ---- the lossy copy


def test_the_lossy_copy_is_each_picture_through_jpeg(monkeypatch):
    monkeypatch.setattr(shapes10, "SPLITS", {"train": 5, "test": 5})
    plain, copy = load("shapes10"), load("shapes10+jpeg75")
    assert copy.name == "shapes10+jpeg75"
    assert copy.fingerprint != plain.fingerprint
    assert copy.fingerprint == load("shapes10+jpeg75").fingerprint
    assert torch.equal(copy.labels, plain.labels)
    assert torch.equal(copy.masks, plain.masks)
    assert copy.classes == plain.classes
    off = (copy.images.float() - plain.images.float()).abs().mean()
    assert 1 < off < 20  # near, and not the same
    colours = [
        pictures.images.float() - pictures.images.float().mean(1, keepdim=True)
        for pictures in (plain, copy)
    ]
    # colours have half the resolution
    fine = [(part[..., ::2] - part[..., 1::2]).abs().mean() for part in colours]
    assert fine[1] < 0.8 * fine[0]


# ---- the masked pictures


def masked_tree(base: Path) -> Path:
    """Pictures of noise, two of which are also training pictures of cifar10, in JPEG; masks of a
    white left half."""
    noise = np.random.default_rng(0)
    for name in CIFAR10_CLASSES:
        for n in range(3):
            picture = Image.fromarray(noise.integers(0, 256, (8, 8, 3), np.uint8))
            picture = picture.resize((32, 32), Image.Resampling.BICUBIC)
            put(base / "cifar10" / "train" / name / f"{n}.jpg", picture, quality=75)
            put(base / "cifar10" / "test" / name / f"{n}.jpg", picture.rotate(90))
            if (name, n) in (("cat", 1), ("truck", 2)):
                # the same picture twice, as in the real set
                put(base / "cifar10_masks" / "images" / f"{name}_1.png", picture)
                put(base / "cifar10_masks" / "images" / f"{name}_2.png", picture)
    half = Image.fromarray(np.repeat([[255] * 16 + [0] * 16], 32, 0).astype(np.uint8))
    for file in (base / "cifar10_masks" / "images").iterdir():
        put(base / "cifar10_masks" / "masks" / file.name, half)
    return base


@pytest.fixture
def masked(tmp_path, monkeypatch, cache, no_data):
    monkeypatch.setenv("SIGN_NOISE_DATA", str(masked_tree(tmp_path / "mine")))
    return tmp_path / "mine" / "cifar10_masks"


def test_masked_pictures_have_their_masks(masked):
    pictures = load("cifar10_masks")
    assert pictures.labels.tolist() == [3, 3, 9, 9]
    assert pictures.classes == CIFAR10_CLASSES
    assert pictures.source == "SIGN_NOISE_DATA/cifar10_masks"
    assert pictures.masks.dtype == torch.bool
    assert pictures.masks[:, :, :16].all()
    assert not pictures.masks[:, :, 16:].any()
    wide = load("cifar10_masks", size=64)
    assert wide.images.shape == (4, 3, 64, 64)
    assert wide.masks[:, :, :30].all()
    assert not wide.masks[:, :, 34:].any()


@pytest.mark.parametrize("size", [None, 20])
def test_the_rest_lacks_the_masked_pictures_in_training_alone(size, masked):
    whole, rest = load("cifar10", "train", size=size), load("cifar10_rest", "train", size=size)
    stays = [n for n in range(30) if n not in (3 * 3 + 1, 9 * 3 + 2)]
    assert torch.equal(rest.images, whole.images[stays])
    assert torch.equal(rest.labels, whole.labels[stays])
    assert rest.name == "cifar10_rest"
    assert torch.equal(
        load("cifar10_rest", "test", size=size).images, load("cifar10", "test", size=size).images
    )


@pytest.mark.parametrize(
    "damage, words",
    [
        (
            lambda folder: put(folder / "images" / "zebra_1.png"),
            ["zebra_1.png", "names no class", "airplane"],
        ),
        (lambda folder: (folder / "masks" / "cat_2.png").unlink(), ["masks", "cat_2.png"]),
        (
            lambda folder: [file.unlink() for file in (folder / "images").iterdir()],
            ["images", "holds no picture"],
        ),
    ],
    ids=["class", "mask", "empty"],
)
def test_a_damaged_set_of_masks_is_named(damage, words, masked):
    damage(masked)
    refused(lambda: load("cifar10_masks"), *words)


@pytest.mark.parametrize("name", ["cifar10_masks", "imagenet_samples", "rectgrad_samples"])
def test_pictures_that_nothing_downloads_are_asked_for(name, no_data):
    refused(
        lambda: load(name),
        name,
        "neither under SIGN_NOISE_DATA nor under data/raw",
        f"<SIGN_NOISE_DATA>/{name}/",
    )


@needs_pictures
@pytest.mark.data
def test_the_real_masked_pictures_are_training_pictures():
    masked = load("cifar10_masks")
    train = load("cifar10", "train")
    rest = load("cifar10_rest", "train")
    near = cifar10.nearest(masked.images, train.images)

    def away(others):
        return (masked.images.float() - others.float()).flatten(1).square().mean(1).sqrt()

    # bytes; what JPEG changes
    assert len(masked) == 204
    assert near.unique().numel() == 201
    assert away(train.images[near]).max() < 11
    assert torch.equal(train.labels[near], masked.labels)
    assert len(rest) == 49_799
    assert away(rest.images[cifar10.nearest(masked.images, rest.images)]).min() > 15
    share = masked.masks.double().mean((1, 2))
    assert 0 < share.min() < share.max() < 1 and 0.2 < share.mean() < 0.6


# ---- imagenette


@pytest.fixture
def imagenette(tmp_path, monkeypatch, cache, no_data):
    """Class k has k % 3 + 1 colour pictures n of the colour (10 k, n, 100 for train and 200 for
    val) between two grey ones."""
    monkeypatch.setattr(imagenet, "ROOT", sources.ROOT)
    monkeypatch.setenv("SIGN_NOISE_DATA", str(imagenette_tree(tmp_path / "mine").parent))
    return tmp_path / "mine" / "imagenette2"


def imagenette_tree(base: Path, wnids=tuple(imagenet.IMAGENETTE)) -> Path:
    for split, blue in (("train", 100), ("val", 200)):
        for k, wnid in enumerate(wnids):
            put(base / "imagenette2" / split / wnid / "0.png", Image.new("L", (5, 3), 77))
            for n in range(k % 3 + 1):
                put(base / "imagenette2" / split / wnid / f"{n + 1}.png", (10 * k, n, blue))
            put(base / "imagenette2" / split / wnid / "9.png", Image.new("L", (5, 3), 77))
    return base / "imagenette2"


@pytest.mark.parametrize("split, blue", [("train", 100), ("val", 200), ("test", 200)])
def test_imagenette_is_its_colour_pictures_each_with_its_label(split, blue, imagenette):
    pictures = load("imagenette", split, size=8)
    expected = [(10 * k, n, blue) for k in range(10) for n in range(k % 3 + 1)]
    assert [tuple(picture[:, 0, 0].tolist()) for picture in pictures.images] == expected
    assert (10 * pictures.labels).tolist() == [red for red, _, _ in expected]
    assert pictures.labels.dtype == torch.int64
    assert (pictures.name, pictures.split, pictures.source) == (
        "imagenette",
        "train" if split == "train" else "test",
        f"SIGN_NOISE_DATA/imagenette2/{'train' if split == 'train' else 'val'}",
    )


def test_imagenettes_classes_are_called_as_torchvision_and_imagenet_call_them(imagenette):
    from torchvision.datasets import Imagenette

    classes = load("imagenette", size=8).classes
    assert classes == tuple(
        Imagenette._WNID_TO_CLASS[wnid][0] for wnid in sorted(Imagenette._WNID_TO_CLASS)
    )
    assert set(classes) <= set(imagenet.classes())


def test_imagenette_has_three_names_for_two_splits(imagenette):
    assert (
        load("imagenette", "val", size=8).fingerprint
        == load("imagenette", "test", size=8).fingerprint
        != load("imagenette", "train", size=8).fingerprint
    )
    refused(
        lambda: load("imagenette", "validation"),
        "imagenette",
        "'validation'",
        "accepted are train, val and test.",
    )


def kinds() -> dict:
    palette, _ = paletted()
    return {
        "RGB": Image.new("RGB", (6, 4), NAVY),
        "RGBA": Image.new("RGBA", (6, 4), (*NAVY, 255)),
        "P": palette,
        "CMYK": Image.new("CMYK", (6, 4), (245, 235, 165, 0)),
        "L": Image.new("L", (6, 4), 77),
        "1": Image.new("1", (6, 4), 1),
        "LA": Image.new("LA", (6, 4), (77, 255)),
        "I;16": sixteen_bit(0x4D80)[0],
        "I": Image.new("I", (6, 4), 77),
        "F": Image.new("F", (6, 4), 77.0),
    }


@pytest.mark.parametrize(
    "mode, stays",
    [
        ("RGB", True),
        ("RGBA", True),
        ("P", True),
        ("CMYK", True),
        ("L", False),
        ("1", False),
        ("LA", False),
        ("I;16", False),
        ("I", False),
        ("F", False),
    ],
)
def test_every_kind_of_grey_file_is_left_out_and_colour_stays(mode, stays, imagenette):
    ending = "tif" if mode in ("CMYK", "I", "F") else "png"
    path = put(imagenette / "val" / "n03000684" / f"more.{ending}", kinds()[mode])
    with Image.open(path) as written:
        assert written.mode == mode
    pictures = load("imagenette", size=8)
    assert (pictures.labels == 3).sum() == 1 + stays and len(pictures) == 19 + stays
    if stays:
        colour = pictures.images[pictures.labels == 3][-1, :, 0, 0].int().numpy()
        assert np.abs(colour - NAVY).max() <= 1


def test_imagenette_is_stretched_to_224_pixels_and_not_cut(imagenette):
    wide = np.zeros((30, 300, 3), np.uint8)
    wide[:, 150:] = (200, 100, 50)
    put(imagenette / "val" / "n01440764" / "1.png", Image.fromarray(wide))
    first = load("imagenette").images[0]
    assert first.shape == (3, 224, 224)
    assert not first[:, :, :111].any()
    assert (
        first[:, :, 113:] == torch.tensor([200, 100, 50], dtype=torch.uint8)[:, None, None]
    ).all()
    assert load("imagenette", "val", size=12).images.shape == (19, 3, 12, 12)


@pytest.mark.parametrize(
    "wnids",
    [
        tuple(imagenet.IMAGENETTE)[:9],
        (*imagenet.IMAGENETTE, "n09999999"),
        (*tuple(imagenet.IMAGENETTE)[:9], "cats"),
    ],
    ids=["nine", "eleven", "another"],
)
def test_imagenette_of_other_classes_is_refused_before_any_picture_is_decoded(
    wnids, tmp_path, monkeypatch, cache, no_data
):
    monkeypatch.setenv("SIGN_NOISE_DATA", str(imagenette_tree(tmp_path / "mine", wnids).parent))
    monkeypatch.setattr(sources, "decode", lambda *_: pytest.fail("decoding came first"))
    for split, part in (("train", "train"), ("test", "val")):
        refused(
            lambda split=split: load("imagenette", split),
            tmp_path / "mine" / "imagenette2" / part,
            wnids[-1],
            "imagenette has",
            "n01440764",
            "n03888257",
        )


def test_a_damaged_picture_of_imagenette_is_named_not_taken_for_grey(imagenette):
    (imagenette / "val" / "n03028079" / "5.png").write_bytes(b"not a picture")
    refused(
        lambda: load("imagenette"),
        imagenette / "val" / "n03028079" / "5.png",
        "cannot be read as a picture",
        "replace it by a JPEG or PNG",
    )


def test_imagenette_is_decoded_once_and_its_grey_pictures_never(imagenette, decoded):
    for _ in range(2):
        for split in ("train", "val", "test"):
            load("imagenette", split)
    assert len(decoded) == 2
    assert [len(files) for files, size in decoded] == [19, 19]
    assert {size for _, size in decoded} == {224}
    assert not {"0.png", "9.png"} & {file.name for files, _ in decoded for file in files}


def test_a_folder_with_and_without_its_grey_pictures_is_kept_apart(folder, decoded):
    put(folder / "cat" / "grey.png", Image.new("L", (6, 4), 77))
    for colour in (False, True, False, True):
        pictures = sources.read_folder("p", "test", folder, None, colour=colour)
        assert pictures.labels.tolist() == ([0, 0, 1, 1] if colour else [0, 0, 0, 1, 1])
        reds = pictures.images[:, 0, 0, 0].tolist()
        assert reds == ([0, 1, 2, 3] if colour else [0, 1, 77, 2, 3])
    assert len(decoded) == 2


@pytest.mark.parametrize("split, blue", [("train", 100), ("test", 200)])
def test_imagenette_is_downloaded_into_data_raw_once(split, blue, monkeypatch, cache, no_data):
    asked = []

    def downloaded(root, part, size, download):
        asked.append((Path(root), size, download))
        imagenette_tree(Path(root))

    monkeypatch.setattr(imagenet, "ROOT", sources.ROOT)
    monkeypatch.setattr("torchvision.datasets.Imagenette", downloaded)
    for _ in range(2):
        pictures = load("imagenette", split, size=8)
        assert pictures.source == f"data/raw/imagenette2/{'train' if split == 'train' else 'val'}"
        assert len(pictures) == 19
        assert (pictures.images[:, 2] == blue).all()
    assert asked == [(no_data, "full", True)]


def test_without_imagenette_or_network_the_remedy_is_named(monkeypatch, no_data):
    def fails(*_, **__):
        raise OSError("no network\nat all")

    monkeypatch.setattr(imagenet, "ROOT", sources.ROOT)
    monkeypatch.setattr("torchvision.datasets.Imagenette", fails)
    refused(
        lambda: load("imagenette"),
        "imagenette",
        "download failed (OSError)",
        no_data,
        "<SIGN_NOISE_DATA>/imagenette2/{train,val}/<wnid>/",
    )


@needs_pictures
@pytest.mark.data
@pytest.mark.parametrize("split, count", [("test", 3_856), ("train", 9_296)])
def test_the_real_imagenette_is_the_one_in_the_manifest(split, count):
    pictures = load("imagenette", split)
    assert pictures.images.shape == (count, 3, 224, 224)
    assert pictures.labels.bincount(minlength=10).min() > 0.08 * count
    assert "224x224" in sources.described(pictures.fingerprint)


# ---- photographs with ImageNet's classes


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """A sample of ImageNet and the pictures of the paper's figures, each one colour."""
    for n in (7, 0, 999):
        put(
            tmp_path / "mine" / "imagenet_samples" / f"{n:03}_n0{n}_name_of_it.jpg",
            (n % 256, 0, 0),
            (40, 30),
        )
    for k, part in enumerate(sources.FIGURES):
        for n in (2, 1):
            put(
                tmp_path / "mine" / "rectgrad_samples" / part / f"{n}.png",
                (10 * k + n, 0, 0),
                (30, 40),
            )
    monkeypatch.setenv("SIGN_NOISE_DATA", str(tmp_path / "mine"))
    return tmp_path / "mine"


def test_the_number_in_a_name_is_the_class(photographs):
    pictures = load("imagenet_samples")
    assert pictures.labels.tolist() == [0, 7, 999]
    assert pictures.labels.dtype == torch.int64
    assert pictures.images.shape == (3, 3, 224, 224)
    assert len(pictures.classes) == 1000
    assert [pictures.classes[k] for k in pictures.labels] == [
        "tench",
        "cock",
        "toilet tissue",
    ]
    assert pictures.source == "SIGN_NOISE_DATA/imagenet_samples"
    assert load("imagenet_samples", size=32).images.shape == (3, 3, 32, 32)


@pytest.mark.parametrize("name", ["cat_1.jpg", "1000_n01_x.jpg", "-1_n01_x.jpg"])
def test_a_name_without_a_class_is_refused(name, photographs):
    put(photographs / "imagenet_samples" / name)
    refused(lambda: load("imagenet_samples"), name, "from 0 to 999")


def test_a_split_of_the_figures_is_a_subfolder(photographs):
    for k, part in enumerate(sources.FIGURES):
        pictures = load("rectgrad_samples", part)
        assert pictures.images[:, 0, 0, 0].tolist() == [10 * k + 1, 10 * k + 2]
        assert pictures.labels.tolist() == [-1, -1]
        assert pictures.split == part
    assert load("rectgrad_samples").images[:, 0, 0, 0].tolist() == [1, 2, 11, 12, 21, 22, 31, 32]
    for file in (photographs / "rectgrad_samples" / "intraclass").iterdir():
        file.unlink()
    refused(
        lambda: load("rectgrad_samples"),
        "intraclass",
        "threshold, interclass, intraclass, adversarial",
    )


@pytest.mark.skipif(
    not find_spec("skimage"), reason="scikit-image, of the extra `book`, is not installed"
)
def test_photographs_come_with_a_package_and_need_no_network(monkeypatch, no_data):
    monkeypatch.setattr("socket.socket", lambda *_, **__: pytest.fail("the network was asked"))
    photos = load("photos")
    assert photos.images.shape == (4, 3, 224, 224)
    assert photos.images.dtype == torch.uint8
    assert photos.source == "scikit-image"
    assert len(photos.classes) == 1000
    assert {
        name: photos.classes[k] if k >= 0 else None
        for name, k in zip(imagenet.PHOTOS, photos.labels.tolist(), strict=True)
    } == imagenet.PHOTOS
    assert (photos.images.float().std((2, 3)) > 15).all()
    assert photos.fingerprint == load("photos").fingerprint
    red, _, blue = photos.images.float().mean((2, 3)).T
    # coffee on a red saucer; a rocket before the evening sky
    assert red[2] > 2 * blue[2]
    assert blue[3] > red[3]


def test_absent_photographs_are_named(monkeypatch):
    monkeypatch.setattr(imagenet, "find_spec", lambda module: None)
    refused(lambda: load("photos"), "photos", "scikit-image", "[book]")


@needs_pictures
@pytest.mark.data
def test_the_real_photographs_are_those_of_the_manifest():
    samples, figures = load("imagenet_samples"), load("rectgrad_samples")
    assert samples.labels.tolist() == list(range(0, 1000, 5))
    assert "224x224" in sources.described(samples.fingerprint)
    assert len(figures) == 15
    assert [len(load("rectgrad_samples", part)) for part in sources.FIGURES] == [3, 4, 4, 4]
    assert "15" in sources.described(figures.fingerprint)


# ---- the manifest


def test_the_manifest_names_every_dataset():
    manifest = json.loads((sources.ROOT / "data" / "manifest.json").read_text())
    assert set(manifest["datasets"]) == set(sources._LOADERS)


def test_the_manifest_describes_known_pixels_only():
    known = json.loads((sources.ROOT / "data" / "manifest.json").read_text())["fingerprints"]
    for fingerprint, what in known.items():
        assert re.fullmatch("[0-9a-f]{12}", fingerprint) and sources.described(fingerprint) == what
    assert sources.described("0" * 12) == "pixels not in the manifest"


@needs_pictures
@pytest.mark.data
@pytest.mark.parametrize("split, count", [("test", 10_000), ("train", 50_000)])
def test_the_real_cifar10_is_the_one_in_the_manifest(split, count):
    pictures = load("cifar10", split)
    assert pictures.images.shape == (count, 3, 32, 32) and pictures.classes == CIFAR10_CLASSES
    assert (pictures.labels.bincount() == count // 10).all()
    assert "original" in sources.described(pictures.fingerprint)


def test_an_array_of_the_cache_is_computed_once_and_again_where_it_is_damaged(tmp_path):
    path, made = tmp_path / "new" / "a.npy", []

    def compute():
        made.append(1)
        return np.arange(3)

    assert (
        sources.kept_array(path, compute).tolist()
        == sources.kept_array(path, compute).tolist()
        == [0, 1, 2]
    )
    assert len(made) == 1
    path.write_bytes(b"half")
    assert sources.kept_array(path, compute).tolist() == [0, 1, 2]
    assert len(made) == 2
    assert [f.name for f in path.parent.iterdir()] == ["a.npy"]


def test_an_array_that_cannot_be_kept_is_returned_all_the_same(tmp_path, monkeypatch):
    def full(file, array):
        file.write_bytes(b"begun")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources.np, "save", full)
    with pytest.warns(UserWarning, match="No space left on device.* make room"):
        found = sources.kept_array(tmp_path / "maps" / "a.npy", lambda: np.arange(3))
    assert found.tolist() == [0, 1, 2] and not list((tmp_path / "maps").iterdir())
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="cannot be written"):
        sources.kept_array(tmp_path / "file" / "a.npy", lambda: np.arange(3))
