"""The networks: built by name, with weights checked before they are used.

Every model is an `nn.Module` in eval mode with three attributes: `black` and `white`, the values of
a black and a white pixel in its own input range (a number, or one value a channel [C,1,1]), and
`classes`, the names of its outputs (None where nobody said).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from study.paths import ROOT
from study.subjects import checkpoints, pretrained
from study.subjects.pretrained import ModelError, Normalized

WEIGHTS = ROOT / "data" / "weights"


def basic_cnn(classes: int) -> nn.Module:
    """Paper Sign's "basic CNN" (section 4, released code).

    A stem and nine 3x3 convolutions, no batch norm. Input [0,1].
    """

    def block(before, width):
        return [
            nn.Conv2d(before, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        ]

    stem = [
        nn.Conv2d(3, 32, 7, stride=2, padding=3),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes)]
    return nn.Sequential(*stem, *block(32, 32), *block(32, 64), *block(64, 128), *head)


def resnet18(classes: int) -> nn.Module:
    """Paper Sign's ResNet-18. Input [0,1].

    It is torchvision's with its 1000 outputs, then a linear layer 1000 -> classes.
    """
    from torchvision.models import resnet18 as build

    return nn.Sequential(build(weights=None), nn.Linear(1000, classes))


def convnext_tiny(classes: int) -> nn.Module:
    """Paper Sign's ConvNeXt. Input [0,1].

    It is torchvision's convnext_tiny with its 1000 outputs, then a linear layer 1000 -> classes.
    """
    from torchvision.models import convnext_tiny as build

    return nn.Sequential(build(weights=None), nn.Linear(1000, classes))


def rectgrad_cnn(classes: int) -> nn.Module:
    """Paper Noise's CIFAR-10 CNN (appendix F.2).

    Two pairs of 3x3 convolutions, two dense layers; 32x32 pictures, input [-1,1]. Its first
    weights are Glorot-uniform and its biases zero, as the released layers (TensorFlow's) draw them.
    """

    def pair(before, width):
        return [
            nn.Conv2d(before, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]

    model = nn.Sequential(
        *pair(3, 32),
        *pair(32, 64),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 256),
        nn.ReLU(),
        nn.Linear(256, classes),
    )
    for module in model:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    model.black, model.white = -1.0, 1.0
    return model


def gelu_cnn(classes: int) -> nn.Module:
    """`rectgrad_cnn` with GELU in place of ReLU.

    It shows that a rule defined for any activation works on another one.
    """
    model = rectgrad_cnn(classes)
    for k, module in enumerate(model):
        if isinstance(module, nn.ReLU):
            model[k] = nn.GELU()
    return model


BUILDERS = {
    "basic_cnn": basic_cnn,
    "resnet18": resnet18,
    "convnext_tiny": convnext_tiny,
    "rectgrad_cnn": rectgrad_cnn,
    "gelu_cnn": gelu_cnn,
}
_DOWNLOADED = ("resnet18", "convnext_tiny")  # of these, those whose body has ImageNet weights

_LAYER = "1."  # what the state dict of a new last layer begins with


class DownloadError(ModelError):
    """Weights that only a network brings, where there is none."""


def check(name: str, weights: str | None = None) -> None:
    """Raise ModelError at once if `load(name, weights)` could not be meant.

    That is an unknown name, or weights that are not there.
    """
    kind = str(name).partition(":")[0]
    if name in BUILDERS:
        if weights == "imagenet" and name not in _DOWNLOADED:
            raise ModelError(
                f"there are no ImageNet weights for {name}; accepted are "
                f"{', '.join([*_DOWNLOADED, *pretrained.NAMES])}, "
                "torchvision:<name> and timm:<name>."
            )
    elif name in pretrained.NAMES or kind == "timm":
        pretrained.check(name, weights)
    elif kind == "torchvision":
        from torchvision.models import list_models

        theirs = name.partition(":")[2]
        if theirs not in list_models(module=sys.modules["torchvision.models"]):
            raise ModelError(
                f"torchvision has no classification model {theirs!r}; "
                "`torchvision.models.list_models()` names them."
            )
    elif kind == "python":
        if name.count(":") != 2 or "" in name.split(":"):
            raise ModelError(
                f"{name!r} must read python:<module>:<factory>, for example python:my_nets:build."
            )
        _factory(*name.split(":")[1:])
    else:
        raise ModelError(
            f"unknown model {name!r}; accepted are {', '.join([*BUILDERS, *pretrained.NAMES])}, "
            "torchvision:<name>, timm:<name> and python:<module>:<factory>."
        )
    if weights not in (None, "imagenet"):
        weights_path(name, weights)


def weights_path(name: str, weights: str) -> Path:
    """The file behind `weights`: a path, or the tag of a committed file.

    The tag `cifar10` is data/weights/<name>-cifar10.safetensors.
    """
    path = _weights_file(name, weights)
    if path and path.is_file():
        return path
    tags = sorted(f.stem.removeprefix(f"{name}-") for f in WEIGHTS.glob(f"{name}-*.safetensors"))
    fault = f"{path} is not there" if path else "it is neither a tag nor a path that ends so"
    accepted = [
        *tags,
        f"a path to {', '.join(checkpoints.ENDINGS[:-1])} or {checkpoints.ENDINGS[-1]}",
    ]
    raise ModelError(
        f"no weights {weights!r} for {name}: {fault}; accepted are {', '.join(accepted)}."
    )


def _weights_file(name: str, weights: str) -> Path | None:
    """The file that is meant, there or not; None for what is neither a tag nor weights' file."""
    path = Path(str(weights)).expanduser()
    if path.suffix.lower() in checkpoints.ENDINGS:
        return path
    file = f"{name}-{weights}.safetensors"
    is_name = Path(file).name == file and len(file) < 200  # no tag leads out of the folder
    return WEIGHTS / file if is_name else None


def card(name: str, weights: str) -> dict:
    """What is known of committed weights; {} without a card.

    A card has data, classes, protocol, seed, epochs, accuracies, commit and licence. Of some
    networks the card alone is kept. Another table that lies beside a file, as training loops leave
    some, is no card.
    """
    file = _weights_file(name, weights)
    path = file.with_suffix(".json") if file else None
    if path is None or not path.is_file():
        return {}
    try:
        about = json.loads(path.read_text())
    except ValueError as error:
        raise ModelError(
            f"{path} is not a readable card ({error}); restore it or remove it."
        ) from None
    classes = about.get("classes", []) if isinstance(about, dict) else None
    is_card = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    return about if is_card else {}


def load(
    name: str,
    weights: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> nn.Module:
    """The network `name` in eval mode on `device`.

    `name`: basic_cnn, resnet18, convnext_tiny, rectgrad_cnn, squeezenet1_1, efficientnet_lite0,
    inception_v4, `torchvision:<name>`, `timm:<name>` or `python:<module>:<factory>` (a function
    without arguments that returns a module, on the import path or in the working folder).
    `weights`: None (freshly drawn from `seed`; a factory's own), the tag or path that
    `weights_path` accepts, or "imagenet" (resnet18 and convnext_tiny then keep a new last layer):
    from an installed package for squeezenet1_1 and efficientnet_lite0, else downloaded by
    torchvision or timm. `classes`: output names, where neither a card of the weights nor ImageNet
    gives them. The file of a path may be what a training loop saved: the weights under
    "state_dict", "model" and the like, their names behind "module." and "_orig_mod.". Raises
    ModelError.
    """
    check(name, weights)
    known = card(name, weights) if weights else {}
    classes = tuple(known.get("classes") or classes or ()) or None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if "body" in known:
            model = transferred(name, classes, seed)
        else:
            model = _construct(name, weights, classes)
    if weights == "imagenet" and name in pretrained.PACKAGED:
        _fill(model, pretrained.path(name), name)
    elif weights not in (None, "imagenet"):
        _fill(model, weights_path(name, weights), name, partly="body" in known)
    for attribute, value in (("black", 0.0), ("white", 1.0), ("classes", classes)):
        if not hasattr(model, attribute):
            setattr(model, attribute, value)
    for attribute in ("black", "white"):
        value = _range(model, attribute, name, device)
        if attribute not in dict(model.named_buffers(recurse=False)):
            setattr(model, attribute, value)
    model.name = name
    return model.eval().to(device)


def _range(model: nn.Module, attribute: str, name: str, device: str) -> float | Tensor:
    """The value of a black or a white pixel: a number, or one a channel [C,1,1].

    ModelError if it is neither, or not finite.
    """
    value = getattr(model, attribute)
    try:
        values = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        values = torch.empty(0)
    if values.numel() not in (1, 3) or not values.isfinite().all():
        raise ModelError(
            f"`{attribute}` of {name} is {value!r}; it must be the value of a {attribute} pixel: "
            "a finite number, or three, one a channel."
        )
    return values.item() if values.numel() == 1 else values.float().view(3, 1, 1).to(device)


def transferred(name: str, classes: Sequence[str], seed: int = 0) -> nn.Module:
    """The network `name` with ImageNet's weights and a new last layer (Sign, section 4).

    The layer is linear, drawn from `seed`, on the 1000 logits. The network takes pictures in the
    body's own range: [0,1] for resnet18 and convnext_tiny, without mean and standard deviation, as
    the released code does. Raises DownloadError where the weights are to be downloaded and cannot
    be.
    """
    if not classes:
        raise ModelError(
            f"{name} needs the names of its classes for a new last layer; give `classes`, or "
            "weights whose card has them."
        )
    if name in BUILDERS:
        return load(name, "imagenet", classes=classes, seed=seed)
    body = load(name, "imagenet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(body, nn.Linear(len(body.classes), len(classes)))
    model.black, model.white = body.black, body.white
    model.classes, model.name = tuple(classes), name
    return model.eval()


def _construct(name: str, weights: str | None, classes: tuple[str, ...] | None) -> nn.Module:
    kind, _, rest = name.partition(":")
    if kind == "torchvision":
        return _torchvision(rest, weights)
    if kind == "python":
        return _from_factory(*rest.split(":"))
    if kind == "timm" or name in pretrained.NAMES:
        return pretrained.build(name, weights, classes)
    if not classes:
        raise ModelError(
            f"{name} needs the names of its classes; give `classes`, or weights that have a card."
        )
    model = BUILDERS[name](len(classes))
    if weights == "imagenet":
        model[0].load_state_dict(_download(name).state_dict())
    return model


def _download(name: str) -> nn.Module:
    from torchvision.models import get_model

    try:
        return get_model(name, weights="DEFAULT")
    except Exception as error:
        raise DownloadError(
            f"torchvision's weights of {name} could not be downloaded ({type(error).__name__}); "
            "run where there is a network, or give weights of your own."
        ) from None


def _torchvision(name: str, weights: str | None) -> nn.Module:
    from torchvision.models import get_model, get_model_weights

    if weights != "imagenet":
        return get_model(name, weights=None)
    chosen = get_model_weights(name).DEFAULT
    preset = chosen.transforms()
    model = Normalized(_download(name), preset.mean, preset.std)
    model.classes = tuple(chosen.meta["categories"])
    return model


def _factory(module: str, factory: str):
    """The network, or the function or class that makes one, of that name in that module."""
    called = f"python:{module}:{factory}"
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        build = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as error:
        absent = getattr(error, "name", None)
        remedy = "the module must be on the import path or in the working folder"
        if isinstance(error, ModuleNotFoundError) and not f"{module}.".startswith(f"{absent}."):
            remedy = f"{module} needs {absent}: install it"
        raise ModelError(f"{called} cannot be imported ({error}); {remedy}.") from None
    if not callable(build):
        raise ModelError(
            f"{called} is a {type(build).__name__}; it must be a function that returns a "
            "torch.nn.Module."
        )
    if not isinstance(build, nn.Module):
        _check_takes_nothing(build, called)
    return build


def _check_takes_nothing(build, called: str) -> None:
    try:
        inspect.signature(build).bind()
    except TypeError as error:
        raise ModelError(
            f"{called} is called without arguments ({error}); give them defaults, or name a "
            "function that passes them."
        ) from None
    except ValueError:  # what is written in C does not say what it takes
        return


def _from_factory(module: str, factory: str) -> nn.Module:
    build = _factory(module, factory)
    model = build if isinstance(build, nn.Module) else build()
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"python:{module}:{factory} returned {type(model).__name__}; it must return a "
            "torch.nn.Module."
        )
    model.module_text = _text_of(sys.modules[module])
    return model


def _text_of(module: ModuleType) -> str:
    """The text of a module; "" of one that was not written in Python."""
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return ""


def cannot_take(
    name: str, model: nn.Module, images: Tensor, error: BaseException, otherwise: str = ""
) -> ModelError:
    """What to say of a network that fails on pictures [N,3,H,W] in float32: cause and remedy.

    `otherwise`: what is known already, for all but types of numbers, channels and sizes of layers.
    """
    said = " ".join(str(error).split()) or type(error).__name__
    dtypes = {t.dtype for t in model.state_dict().values() if _is_float(t)} - {images.dtype}
    channels = re.search(r"to have (\d+) channels?, but got (\d+)", said)
    height, width = images.shape[2:]
    reason = said.split(". ")[0].rstrip(".")[:200]
    failed = f"{name} cannot take a picture of {width}x{height} pixels ({reason}); "
    if dtypes and re.search(r"types?\b", said):
        return ModelError(
            f"{failed}its weights are {', '.join(map(str, dtypes))} and pictures are float32: "
            "end its factory with `.float()`."
        )
    if channels and int(channels[2]) == images.shape[1]:
        remedy = "let its forward begin with `images = images.mean(1, keepdim=True)`"
        if channels[1] != "1":
            remedy = "let its forward begin by making these of the three"
        return ModelError(
            f"{failed}pictures have red, green and blue, and it takes {channels[1]} channel(s): "
            f"{remedy}."
        )
    if otherwise and "cannot be multiplied" not in said:
        return ModelError(otherwise)
    about_size = r"size|shape|height|width|kernel|dimension|resolution|too small|multipl"
    if re.search(about_size, said, re.I):
        return ModelError(f"{failed}give another `size`.")
    return ModelError(f"{failed}it must take float32 [N,3,H,W] alone and return logits [N,K].")


def _is_float(value) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _fill(model: nn.Module, path: Path, name: str, partly: bool = False) -> None:
    """Load the weights of `path` into `model`, as float32, or say why they do not fit.

    `partly`: the file holds only what differs from ImageNet's weights.
    """
    # a .pkl is the file of a package; `weights_path` accepts none
    state = pretrained.squeezenet_state(path) if path.suffix == ".pkl" else checkpoints.read(path)
    own = model.state_dict()
    if partly:
        body = {key: value for key, value in own.items() if not key.startswith(_LAYER)}
        state = body | state
    else:
        state = checkpoints.renamed(state, own)
    wrong = sorted(set(own) ^ set(state), key=str)
    if not wrong:
        wrong = [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        key = wrong[0]
        ours, theirs = (
            tuple(table[key].shape) if key in table else "absent" for table in (own, state)
        )
        raise ModelError(
            f"{path} does not fit {name}: {key} is {ours} in the network and {theirs} in the file."
        )
    for key, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ModelError(f"{path} holds values that are not finite in {key}; it is damaged.")
    model.load_state_dict(state)


def fingerprint(model: nn.Module) -> str:
    """Twelve hex digits over all weights and buffers and, of a network that a user's own module
    makes, over the module's text and the values of black and white.

    With them, results of other weights, or of code that has changed, never pass for these. Modules
    that this one imports are not looked at.
    """
    digest = hashlib.sha256()
    if hasattr(model, "module_text"):
        ends = [torch.as_tensor(value).flatten().tolist() for value in (model.black, model.white)]
        digest.update(f"{model.module_text} {ends}".encode())
    for key, value in model.state_dict().items():
        digest.update(key.encode())
        digest.update(_as_bytes(value))
    return digest.hexdigest()[:12]


def _as_bytes(value) -> bytes:
    """All that a tensor of any type holds; of what is no tensor, its text."""
    if not isinstance(value, Tensor):
        return repr(value).encode()
    held = value.int_repr() if value.is_quantized else value
    return held.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def committed(name: str, weights: str) -> str:
    """Fingerprint of committed weights; read once, since sixty numbers ask for it.

    Where their body cannot be downloaded, or their card alone is kept, the card's; "" where there
    is neither. "" as well for what is a user's own: a file elsewhere or without a card, and
    ImageNet's weights of a network that cannot be had here as it stands.
    """
    return _committed(name, weights, WEIGHTS)


@lru_cache
def _committed(name: str, weights: str, folder: Path) -> str:
    file = _weights_file(name, weights)
    in_folder = file is not None and file.parent.resolve() == folder.resolve()
    about = card(name, weights) if in_folder else {}
    stated = about.get("weights_hash", "")
    if weights == "imagenet":
        is_ours = name in pretrained.PACKAGED
    else:
        is_ours = in_folder and file.is_file() and bool(about.get("classes"))
        if not is_ours:
            return stated
    try:
        return fingerprint(load(name, weights))
    except DownloadError:
        return stated
    except ModelError:
        # that ours are damaged, or their package is absent, must be told
        if is_ours:
            raise
        return ""


def save(
    model: nn.Module, path: Path, about: dict, *, half: bool = False, base: nn.Module | None = None
) -> None:
    """Write safetensors and, beside them, the card `about` as JSON.

    `half` stores parameters in float16, buffers as they are; `base`, a network as of `transferred`,
    leaves out what its body has alike (`load` needs a card with "body": "imagenet"). Both files are
    written whole or not at all, whoever else is writing them.
    """
    parameters = {key for key, _ in model.named_parameters()}
    known = base.state_dict() if base else {}
    state = {}
    for key, value in model.state_dict().items():
        if key in known and not key.startswith(_LAYER) and torch.equal(value, known[key]):
            continue
        stored = value.half() if half and key in parameters else value
        state[key] = stored.detach().cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".json")
    # names of their own: another process may be writing the same files
    own = f"{os.getpid()}.part"
    card_part, part = (file.with_name(f".{file.name}.{own}") for file in (beside, path))
    try:
        save_file(state, part)
        card_part.write_text(json.dumps(about, indent=1) + "\n")
        # the card first: weights that are there are finished
        card_part.replace(beside)
        part.replace(path)
    finally:
        card_part.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
