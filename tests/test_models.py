"""lib.models: the architectures of the papers, weights that are checked before they are used, and networks of the user's own."""
from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path

import pytest
import refusal
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from lib import models
from lib.models import WEIGHTS, ModelError, fingerprint, load, save

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
    """module(name, text): writes a Python module into the working folder; what is imported is forgotten afterwards."""
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

def test_basic_cnn_layer_by_layer():
    def conv(before, after, kernel=3, stride=1):
        return ["Conv2d", before, after, kernel, stride]

    def block(before, width):
        return [conv(before, width), ["ReLU"], conv(width, width, stride=2), ["ReLU"], conv(width, width), ["ReLU"]]

    def describe(layer):
        kind = type(layer).__name__
        if isinstance(layer, nn.Conv2d):
            assert layer.kernel_size[0] == layer.kernel_size[1] and layer.groups == 1 and layer.dilation == (1, 1) and layer.bias is not None
            return [kind, layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0]]
        return [kind, layer.kernel_size, layer.stride] if isinstance(layer, nn.MaxPool2d) else [kind]

    model = load("basic_cnn", classes=CLASSES)
    expected = [conv(3, 32, 7, 2), ["ReLU"], ["MaxPool2d", 3, 2], *block(32, 32), *block(32, 64), *block(64, 128), ["AdaptiveAvgPool2d"], ["Flatten"], ["Linear"]]
    assert [describe(layer) for layer in model] == expected
    convolutions = [(3, 32, 7), (32, 32, 3), (32, 32, 3), (32, 32, 3), (32, 64, 3), (64, 64, 3), (64, 64, 3), (64, 128, 3), (128, 128, 3), (128, 128, 3)]
    assert sum(p.numel() for p in model.parameters()) == sum(k * k * i * o + o for i, o, k in convolutions) + 128 * 10 + 10 == 495_146


def test_basic_cnn_shrinks_a_small_picture_to_one_pixel():
    """At 32 pixels the last maps are 2x2 and 1x1, as the protocol says; at 224 nothing is lost to padding."""
    sides = []
    for size in (32, 224):
        x, seen = torch.zeros(1, 3, size, size), []
        for layer in load("basic_cnn", classes=CLASSES)[:-3]:
            x = layer(x)
            seen += [] if isinstance(layer, nn.ReLU) else [x.shape[2]]
        sides.append(seen)
    assert sides == [[16, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1], [112, 56, 56, 28, 28, 28, 14, 14, 14, 7, 7]]


def test_resnet18_keeps_its_1000_outputs_and_its_stem():
    model = load("resnet18", classes=CLASSES)
    body, head = model
    assert (body.fc.in_features, body.fc.out_features) == (512, 1000) and (head.in_features, head.out_features) == (1000, 10) and head.bias is not None
    assert (body.conv1.kernel_size, body.conv1.stride, body.maxpool.stride) == ((7, 7), (2, 2), 2)
    assert sum(p.numel() for p in model.parameters()) == 11_689_512 + 10_010
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["basic_cnn", "resnet18"])
def test_what_every_model_says_of_itself(name):
    model = load(name, classes=CLASSES[:3])
    assert (model.black, model.white, model.classes, model.name) == (0, 1, CLASSES[:3], name)
    assert not any(module.training for module in model.modules())
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3) and next(model.parameters()).dtype == torch.float32


def test_a_seed_repeats_and_leaves_the_global_random_numbers_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = fingerprint(load("basic_cnn", classes=CLASSES, seed=3))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert fingerprint(load("basic_cnn", classes=CLASSES, seed=3)) == one != fingerprint(load("basic_cnn", classes=CLASSES, seed=4))


# ---- weights

def test_saved_weights_come_back(tmp_path):
    model, path = load("basic_cnn", classes=CLASSES, seed=5), tmp_path / "new" / "mine.safetensors"
    save(model, path, {"classes": list(CLASSES), "seed": 5})
    again = load("basic_cnn", str(path), seed=6)
    images = torch.rand(2, 3, 32, 32)
    assert fingerprint(again) == fingerprint(model) and again.classes == CLASSES and torch.equal(again(images), model(images))
    assert models.card("basic_cnn", str(path)) == {"classes": list(CLASSES), "seed": 5}
    assert sorted(f.name for f in path.parent.iterdir()) == ["mine.json", "mine.safetensors"]


@pytest.mark.parametrize("ending", [".pt", ".pth"])
def test_a_plain_state_dict_is_accepted(ending, tmp_path, state):
    torch.save({k: v.double() for k, v in state.items()}, tmp_path / f"mine{ending}")
    model = load("basic_cnn", str(tmp_path / f"mine{ending}"), classes=CLASSES)
    assert all(v.dtype == torch.float32 and torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_a_tag_names_a_committed_file(tmp_path, monkeypatch, state):
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    save_file(state, tmp_path / "basic_cnn-mine.safetensors")
    assert models.card("basic_cnn", "mine") == {} and models.card("basic_cnn", "other") == {}
    model = load("basic_cnn", "mine", classes=CLASSES)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    refused(lambda: load("basic_cnn", "other", classes=CLASSES), "'other'", "basic_cnn", tmp_path, "accepted are mine, a path")
    refused(lambda: load("basic_cnn", "mine"), "basic_cnn", "`classes`")


def test_half_precision_halves_parameters_alone(module, tmp_path):
    module("nets_half", "build = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))")
    model, path = load("python:nets_half:build", seed=5), tmp_path / "half.safetensors"
    for buffer in model.buffers():
        buffer.copy_(torch.rand(buffer.shape) + 1e-5 if buffer.is_floating_point() else torch.tensor(123_457))
    save(model, path, {}, half=True)
    parameters = dict(model.named_parameters())
    with safe_open(path, "pt") as file:
        for key in file.keys():
            assert file.get_tensor(key).dtype == (torch.float16 if key in parameters else model.state_dict()[key].dtype), key
    again = load("python:nets_half:build", str(path))
    for key, value in again.state_dict().items():
        expected = model.state_dict()[key]
        assert value.dtype == expected.dtype and torch.equal(value, expected.half().float() if key in parameters else expected), key
    assert not torch.equal(again[0].weight, model[0].weight) and again[0].weight.requires_grad
    save(again, path, {}, half=True)  # rounded once, rounded for good
    assert fingerprint(load("python:nets_half:build", str(path))) == fingerprint(again)


def bad_weights(kind: str, folder: Path, state: dict) -> Path:
    path = folder / ("bad.safetensors" if kind.split()[-1] != "pt" else "bad.pt")
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    if kind.startswith("truncated"):
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind.startswith("head"):
        path.write_bytes(path.read_bytes()[:30])
    elif kind.startswith("noise"):
        path.write_bytes(torch.randint(256, (5000,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy().tobytes())
    elif kind.startswith("empty"):
        path.write_bytes(b"")
    elif kind == "shape":
        save_file(state | {"0.weight": torch.zeros(32, 3, 5, 5)}, path)
    elif kind == "missing":
        save_file({k: v for k, v in state.items() if k != "3.bias"}, path)
    elif kind == "extra":
        save_file(state | {"21.weight": torch.zeros(1)}, path)
    elif kind in ("nan", "inf"):
        state["5.weight"][1, 2, 0, 0] = float(kind)
        save_file(state, path)
    elif kind == "list pt":
        torch.save(list(state.values()), path)
    elif kind == "nested pt":
        torch.save({"model": state, "epoch": 3}, path)
    elif kind == "numbered pt":
        torch.save(dict(enumerate(state.values())), path)
    elif kind == "module pt":
        torch.save(nn.Linear(2, 2), path)
    return path


@pytest.mark.parametrize("kind, words", [
    ("truncated", ["not a readable weights file"]), ("head", ["not a readable"]), ("noise", ["not a readable"]), ("empty", ["not a readable"]),
    ("truncated pt", []), ("head pt", []), ("noise pt", []), ("empty pt", []), ("list pt", []), ("nested pt", []), ("numbered pt", []),
    ("module pt", ["state_dict"]),
    ("shape", ["does not fit basic_cnn", "0.weight is (32, 3, 7, 7) in the network and (32, 3, 5, 5) in the file"]),
    ("missing", ["does not fit", "3.bias is (32,) in the network and absent in the file"]),
    ("extra", ["does not fit", "21.weight is absent in the network and (1,) in the file"]),
    ("nan", ["not finite in 5.weight"]), ("inf", ["not finite in 5.weight"]),
])
def test_bad_weights_are_refused_by_name(kind, words, tmp_path, state):
    path = bad_weights(kind, tmp_path, state)
    refused(lambda: load("basic_cnn", str(path), classes=CLASSES), path, *words)


def test_weights_for_other_classes_do_not_fit(tmp_path, state):
    save_file(state, tmp_path / "ten.safetensors")
    refused(lambda: load("basic_cnn", str(tmp_path / "ten.safetensors"), classes=CLASSES[:3]), "23.weight is (3, 128) in the network and (10, 128) in the file")


class Trap:
    """Unpickling one creates a file: what a malicious weights file could do."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("wrap", [lambda trap, path: torch.save({"0.weight": trap}, path), lambda trap, path: torch.save(trap, path, _use_new_zipfile_serialization=False),
                                  lambda trap, path: path.write_bytes(pickle.dumps({"0.weight": trap}))], ids=["zip", "legacy", "bare pickle"])
def test_a_pickle_is_never_executed(wrap, tmp_path):
    wrap(Trap(tmp_path / "executed"), tmp_path / "evil.pt")
    message = refused(lambda: load("basic_cnn", str(tmp_path / "evil.pt"), classes=CLASSES), tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists() and "weights_only" not in message
    pickle.loads(pickle.dumps(Trap(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()  # the trap works


def test_a_damaged_card_is_named(tmp_path, state):
    save_file(state, tmp_path / "mine.safetensors")
    (tmp_path / "mine.json").write_text('{"classes": ["a", ')
    refused(lambda: load("basic_cnn", str(tmp_path / "mine.safetensors"), classes=CLASSES), tmp_path / "mine.json")


def test_weights_never_stand_without_their_card(tmp_path, monkeypatch):
    """A stop between the two files must not leave weights that pass for finished ones and have no protocol or accuracy."""
    write = Path.write_text

    def full(self, *arguments, **options):
        if self.suffix == ".json":
            raise OSError(28, "No space left on device")
        return write(self, *arguments, **options)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError):
        save(load("basic_cnn", classes=CLASSES), tmp_path / "mine.safetensors", {"classes": list(CLASSES)})
    assert not (tmp_path / "mine.safetensors").exists()


def test_fingerprint_sees_every_tensor():
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    found, before = {fingerprint(model)}, fingerprint(model)
    for value in model.state_dict().values():
        kept = value.clone()
        value.view(-1)[-1] += 1
        found.add(fingerprint(model))
        value.copy_(kept)
    assert len(found) == 1 + len(model.state_dict()) and fingerprint(model) == before and re.fullmatch("[0-9a-f]{12}", before)
    assert fingerprint(nn.Sequential(model[0], model[1])) not in found
    assert fingerprint(model.to(memory_format=torch.channels_last)) == before


@pytest.mark.parametrize("path", sorted(f for name in models.BUILDERS for f in WEIGHTS.glob(f"{name}-*.safetensors")), ids=lambda path: path.stem)
def test_committed_weights_load_and_have_a_card(path):
    name, _, tag = path.stem.partition("-")
    about = models.card(name, tag)
    assert {"dataset", "fingerprint", "classes", "protocol", "epochs", "train_accuracy", "test_accuracy", "licence", "commit"} <= set(about)
    assert about["model"] == name and tag.startswith(about["dataset"]) and len(about["epochs"]) == about["protocol"]["epochs"]
    assert tag.endswith(f"seed{about['protocol']['seed']}") or about["protocol"]["seed"] == 0
    assert load(name, tag).classes == tuple(about["classes"])


# ---- names

@pytest.mark.parametrize("call", [models.check, load], ids=["check", "load"])
@pytest.mark.parametrize("name, weights, words", [
    ("basic-cnn", None, ["'basic-cnn'", "basic_cnn", "resnet18", "torchvision:<name>", "python:<module>:<factory>"]),
    ("resnet", "cifar10", ["'resnet'", "accepted are"]),
    ("timm:resnet18", None, ["'timm:resnet18'"]),
    ("torchvision:resnet19", None, ["'resnet19'", "list_models"]),
    ("torchvision:", None, ["''", "list_models"]),
    ("torchvision:fcn_resnet50", None, ["'fcn_resnet50'"]),  # a segmentation network has no logits [N,K]
    ("python:nets", None, ["'python:nets'", "python:<module>:<factory>"]),
    ("python:nets:build:it", None, ["python:<module>:<factory>"]),
    ("basic_cnn", "cifar11", ["'cifar11'", "basic_cnn-cifar11.safetensors is not there", "a path to .safetensors, .pt or .pth"]),
    ("basic_cnn", "/nowhere/mine.pt", ["/nowhere/mine.pt"]),
    ("basic_cnn", "imagenet", ["ImageNet", "basic_cnn", "resnet18"]),
    ("torchvision:squeezenet1_1", "/nowhere/mine.pt", ["/nowhere/mine.pt"]),
    ("python:collections:OrderedDict", "/nowhere/mine.pt", ["/nowhere/mine.pt"]),
])
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
    assert (own.black, own.white, own.classes, own.training, own.name) == (-1, 1, ("x", "y"), False, "python:nets_here:build")
    plain = load("python:nets_here:plain", classes=CLASSES[:2])
    assert (plain.black, plain.white, plain.classes) == (0, 1, ("a", "b")) and load("python:nets_here:plain").classes is None
    assert fingerprint(own) == fingerprint(load("python:nets_here:build", seed=3)) != fingerprint(load("python:nets_here:build", seed=4))


def test_weights_for_a_factory(module, tmp_path):
    module("nets_saved", OWN)
    trained = load("python:nets_saved:build", seed=9)
    torch.save(trained.state_dict(), tmp_path / "own.pt")
    assert fingerprint(load("python:nets_saved:build", str(tmp_path / "own.pt"))) == fingerprint(trained)


@pytest.mark.parametrize("name, words", [
    ("python:no_such_module:build", ["python:no_such_module:build", "no_such_module", "import path"]),
    ("python:nets_wrong:absent", ["python:nets_wrong:absent", "absent"]),
    ("python:nets_wrong:wrong", ["python:nets_wrong:wrong", "dict", "torch.nn.Module"]),
    ("python:nets_wrong:value", ["python:nets_wrong:value"]),
    ("python::build", ["python:<module>:<factory>"]),
])
def test_a_factory_that_is_none_is_named(name, words, module):
    module("nets_wrong", OWN)
    refused(lambda: load(name), *words)


# ---- torchvision

def test_a_torchvision_network_without_weights():
    model = load("torchvision:squeezenet1_1", seed=2)
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    assert (model.black, model.white, model.classes, model.training) == (0, 1, None, False)
    assert fingerprint(model) == fingerprint(load("torchvision:squeezenet1_1", seed=2)) != fingerprint(load("torchvision:squeezenet1_1", seed=3))


@pytest.mark.parametrize("name", ["resnet18", "torchvision:squeezenet1_1"])
def test_a_failed_download_is_one_sentence(name, monkeypatch):
    get_model = sys.modules["torchvision.models"].get_model

    def no_network(wanted, weights=None, **options):
        if weights is not None:
            raise OSError("<urlopen error>\nno network")
        return get_model(wanted, weights=None, **options)
    monkeypatch.setattr("torchvision.models.get_model", no_network)
    refused(lambda: load(name, "imagenet", classes=CLASSES), name.removeprefix("torchvision:"), "could not be downloaded", "weights of your own")


def test_pretrained_resnet18_gets_a_new_last_layer(monkeypatch):
    small = lambda weights=None: nn.Linear(12, 1000)  # stands for the real one, whose 11 million weights take time to draw
    pretrained, asked = small(), []
    monkeypatch.setattr("torchvision.models.resnet18", small)
    monkeypatch.setattr("torchvision.models.get_model", lambda *a, **k: asked.append((a, k)) or pretrained)
    model, other = load("resnet18", "imagenet", classes=CLASSES, seed=1), load("resnet18", "imagenet", classes=CLASSES, seed=2)
    assert fingerprint(model[0]) == fingerprint(other[0]) == fingerprint(pretrained) and fingerprint(model[1]) != fingerprint(other[1])
    assert asked[0] == (("resnet18",), {"weights": "DEFAULT"}) and (model.black, model.white, model.classes) == (0, 1, CLASSES)


def test_pretrained_networks_take_0_to_1_and_scale_inside(monkeypatch):
    monkeypatch.setattr("torchvision.models.get_model", lambda *a, **k: nn.Flatten())
    model = load("torchvision:squeezenet1_1", "imagenet")
    mean, std = torch.tensor([.485, .456, .406]), torch.tensor([.229, .224, .225])
    for value in (0., 1.):
        torch.testing.assert_close(model(torch.full((1, 3, 1, 1), value))[0], (value - mean) / std)
    assert (model.black, model.white) == (0, 1) and len(model.classes) == 1000 and model.classes[1] == "goldfish"
