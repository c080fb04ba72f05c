"""study.subjects.cifar10: each of CIFAR-10's layouts is found, in the order promised, and gives the
same pictures; what is damaged is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from study.subjects import cifar10, sources
from study.subjects.pictures import DataError
from study.subjects.sources import CIFAR10_CLASSES, load
from tests import refusal

pytestmark = pytest.mark.usefixtures("one_thread")
COUNT = 20  # pictures in a batch file of these tests


def refused(call, *words):
    return refusal.refused(call, *words, error=DataError)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A project without pictures whose batch files are small; returns its folder data/raw."""
    monkeypatch.delenv("SIGN_NOISE_DATA", raising=False)
    monkeypatch.setattr(sources, "ROOT", tmp_path / "project")
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(cifar10, "_COUNT", COUNT)
    return tmp_path / "project" / "data" / "raw"


@pytest.fixture
def named(raw, tmp_path, monkeypatch):
    """The folder that SIGN_NOISE_DATA names, empty."""
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("SIGN_NOISE_DATA", str(tmp_path / "mine"))
    return tmp_path / "mine"


def made(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Six batches: pixels uint8 [COUNT,3,32,32] and labels [COUNT]."""
    rng = np.random.default_rng(seed)
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    return {
        name: (rng.integers(0, 256, (COUNT, 3, 32, 32), np.uint8), rng.integers(0, 10, COUNT))
        for name in names
    }


def put_binary(base: Path, batches) -> Path:
    folder = base / cifar10.BINARY
    folder.mkdir(parents=True)
    for name, (pixels, labels) in batches.items():
        records = [
            bytes([label]) + picture.tobytes()
            for picture, label in zip(pixels, labels, strict=True)
        ]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
    return folder


def put_python(base: Path, batches) -> Path:
    folder = base / cifar10.PYTHON
    folder.mkdir(parents=True)
    for name, (pixels, labels) in batches.items():
        content = {
            "batch_label": name,
            "data": pixels.reshape(COUNT, -1),
            "labels": labels.tolist(),
        }
        (folder / name).write_bytes(pickle.dumps(content, 4))
    return folder


def put_folders(base: Path, batches) -> Path:
    for name, (pixels, labels) in batches.items():
        for n, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            split = "test" if name == "test_batch" else "train"
            file = base / "cifar10" / split / CIFAR10_CLASSES[label] / f"{name}-{n:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.transpose(1, 2, 0)).save(file)
    return base / "cifar10"


def covered(batches):
    """The same batches with every class in both splits, so that class folders hold them all."""
    return {name: (pixels, np.arange(COUNT) % 10) for name, (pixels, _) in batches.items()}


@pytest.mark.parametrize("split", ["train", "test"])
def test_official_versions_give_the_same_pictures_in_their_own_order(split, raw, named):
    batches = made()
    put_binary(raw, batches)
    put_python(named, batches)
    pickled = load("cifar10", split)
    (named / cifar10.PYTHON).rename(named / "away")
    binary = load("cifar10", split)
    assert (pickled.source, binary.source) == (
        f"SIGN_NOISE_DATA/{cifar10.PYTHON}",
        f"data/raw/{cifar10.BINARY}",
    )
    assert pickled.fingerprint == binary.fingerprint and torch.equal(pickled.images, binary.images)
    parts = [batches[name] for name in batches if (name == "test_batch") == (split == "test")]
    assert torch.equal(
        binary.images, torch.from_numpy(np.concatenate([pixels for pixels, _ in parts]))
    )
    assert binary.labels.tolist() == np.concatenate([labels for _, labels in parts]).tolist()
    assert binary.classes == CIFAR10_CLASSES


def test_layouts_come_in_their_order_and_the_named_folder_before_data_raw(raw, named):
    batches = covered(made())
    places = [
        put_folders(raw, batches),
        put_python(raw, batches),
        put_binary(raw, batches),
        put_folders(named, batches),
        put_python(named, batches),
        put_binary(named, batches),
    ]
    used = []
    for place in reversed(places):
        used.append(load("cifar10").source)
        place.rename(place.with_name(f"{place.name}-away"))
    assert used == [
        f"{base}/{layout}"
        for base in ("SIGN_NOISE_DATA", "data/raw")
        for layout in ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar10/test")
    ]


def test_class_folders_hold_the_same_pictures_by_class(raw):
    batches = covered(made())
    put_folders(raw, batches)
    pictures = load("cifar10")
    assert pictures.labels.tolist() == sorted(batches["test_batch"][1].tolist())
    first = [n for n, label in enumerate(batches["test_batch"][1]) if label == 0]
    assert torch.equal(
        pictures.images[: len(first)], torch.from_numpy(batches["test_batch"][0][first])
    )


def test_a_download_is_read_like_the_official_version(raw, monkeypatch):
    batches = made()

    def downloaded(root, train, download):
        assert Path(root) == raw and download
        put_python(raw, batches)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", downloaded)
    first = load("cifar10", "train")
    assert first.source == "torchvision download" and len(first) == 5 * COUNT
    monkeypatch.setattr(
        "torchvision.datasets.CIFAR10", lambda *_, **__: pytest.fail("it is there already")
    )
    assert load("cifar10", "train").fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "put", [put_binary, put_python, put_folders], ids=["binary", "python", "folders"]
)
def test_pictures_can_be_stretched(put, raw):
    batches = covered(made())
    put(raw, batches)
    wide, plain = load("cifar10", size=48), load("cifar10")
    assert wide.images.shape == (COUNT, 3, 48, 48) and torch.equal(wide.labels, plain.labels)
    picture = Image.fromarray(plain.images[7].permute(1, 2, 0).numpy())
    stretched = np.array(picture.resize((48, 48), Image.Resampling.BILINEAR))
    assert torch.equal(wide.images[7], torch.from_numpy(stretched).permute(2, 0, 1))


def test_pickles_of_python_2_are_read(raw):
    """As the official files are: texts are bytes, NumPy's functions have an older module's name.
    Written out by hand."""
    batches = made()
    folder = put_python(raw, batches)
    pixels, labels = batches["test_batch"]
    # an empty array, which is given its version and shape, its type, its order and bytes
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    shape = b"(K\x01" + b"K" + bytes([COUNT]) + b"M" + (3072).to_bytes(2, "little") + b"\x86"
    dtype = (
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    content = b"\x89T" + pixels.size.to_bytes(4, "little") + pixels.tobytes() + b"tb"
    array = empty + shape + dtype + content
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    (folder / "test_batch").write_bytes(
        b"\x80\x02}(U\x04data" + array + b"U\x06labels" + numbers + b"u."
    )
    pictures = load("cifar10")
    assert torch.equal(pictures.images, torch.from_numpy(pixels))
    assert pictures.labels.tolist() == labels.tolist()


# ---- what is not CIFAR-10


def cut(file: Path):
    file.write_bytes(file.read_bytes()[:-1])


def foreign_labels(file: Path):
    content = bytearray(file.read_bytes())
    content[0] = 10
    file.write_bytes(bytes(content))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (
            cut,
            ["damaged or no file of CIFAR-10", f"{COUNT * 3073 - 1:,} bytes", f"{COUNT * 3073:,}"],
        ),
        (lambda file: file.write_bytes(b""), ["0 bytes"]),
        (lambda file: file.unlink(), ["is missing", "official version"]),
        (foreign_labels, ["labels run from 0 to 10"]),
    ],
    ids=["cut", "empty", "missing", "labels"],
)
def test_a_spoilt_binary_file_is_named(spoil, words, raw):
    batches = covered(made())
    folder = put_binary(raw, batches)
    spoil(folder / "data_batch_3.bin")
    refused(lambda: load("cifar10", "train"), folder / "data_batch_3.bin", *words)
    assert len(load("cifar10", "test")) == COUNT  # the other split is whole


class Trap:
    """A pickle that would write a file if it were executed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize(
    "content, words",
    [
        (lambda tmp: b"not a pickle", ["damaged or no file of CIFAR-10"]),
        (
            lambda tmp: pickle.dumps({"data": np.zeros((COUNT, 3072), np.uint8)}, 4),
            ["KeyError", "labels"],
        ),
        (
            lambda tmp: pickle.dumps(
                {"data": np.zeros((COUNT, 3072), np.float32), "labels": [0] * COUNT}, 4
            ),
            ["32x32"],
        ),
        (
            lambda tmp: pickle.dumps(
                {"data": np.zeros((COUNT - 1, 3072), np.uint8), "labels": [0] * (COUNT - 1)}, 4
            ),
            [f"{COUNT} pictures"],
        ),
        (
            lambda tmp: pickle.dumps(
                {"data": np.zeros((COUNT, 3072), np.uint8), "labels": [11] * COUNT}, 4
            ),
            ["labels run from 11 to 11"],
        ),
        (lambda tmp: pickle.dumps(Trap(tmp / "executed")), ["UnpicklingError"]),
        (
            lambda tmp: pickle.dumps(
                {"data": np.zeros((COUNT, 3072), np.uint8), "labels": [0] * COUNT}, 4
            )[:-200],
            ["damaged"],
        ),
    ],
    ids=["text", "no labels", "floats", "too few", "labels", "trap", "cut"],
)
def test_a_foreign_python_file_is_named_and_never_executed(content, words, raw, tmp_path):
    folder = put_python(raw, made())
    (folder / "test_batch").write_bytes(content(tmp_path))
    refused(lambda: load("cifar10"), folder / "test_batch", *words)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("set_folder", [False, True])
def test_without_data_or_network_the_remedy_is_named(set_folder, raw, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise OSError("no network\nat all")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fails)
    if set_folder:
        (tmp_path / "mine").mkdir()
        monkeypatch.setenv("SIGN_NOISE_DATA", str(tmp_path / "mine"))
    words = [tmp_path / "mine"] if set_folder else ["SIGN_NOISE_DATA names no folder"]
    refused(
        lambda: load("cifar10"), raw, "download failed (OSError)", "cifar-10-batches-bin/", *words
    )


# ---- the real pictures


@pytest.mark.data
def test_all_official_versions_have_the_published_fingerprints(tmp_path, monkeypatch):
    """Who downloads CIFAR-10, in whatever version, finds the results stored here."""
    try:
        real = {split: load("cifar10", split) for split in ("train", "test")}
    except DataError as error:
        pytest.skip(str(error))
    if "/cifar10/" in real["test"].source:
        pytest.skip("CIFAR-10 is here as class folders, whose order is another")
    published = {"train": "f3120a8fa253", "test": "815bee49b921"}
    assert {split: pictures.fingerprint for split, pictures in real.items()} == published
    parts = [
        *zip(real["train"].images.split(10_000), real["train"].labels.split(10_000), strict=True),
        (real["test"].images, real["test"].labels),
    ]
    folder = tmp_path / cifar10.PYTHON
    folder.mkdir()
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    for name, (images, labels) in zip(names, parts, strict=True):
        (folder / name).write_bytes(
            pickle.dumps({"data": images.flatten(1).numpy(), "labels": labels.tolist()}, 4)
        )
    monkeypatch.setenv("SIGN_NOISE_DATA", str(tmp_path))
    for split, fingerprint in published.items():
        again = load("cifar10", split)
        assert again.source == f"SIGN_NOISE_DATA/{cifar10.PYTHON}"
        assert again.fingerprint == fingerprint
