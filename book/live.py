"""What the live page loads: pictures, weights, and what stands there without JavaScript.

    python book/live.py          writes pictures, photographs and their maps into
                                 book/_static/live/, to be committed; it needs CIFAR-10 and the
                                 packages of the quick profile, and takes a minute

Weights are not kept twice: `weights` writes them out of data/weights/ into a book that is built.
A page opened from disk may load scripts but no data, so each file is a script of one call.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from lib import attribution  # noqa: E402  found only through the path of the line above
from lib.attribution import crosses  # noqa: E402
from study.subjects import imagenet, networks, sources  # noqa: E402
from study.subjects.pictures import Dataset, to_range  # noqa: E402

LIVE = ROOT / "book" / "_static" / "live"
NETWORK = "rectgrad_cnn"
DATASETS = ("shapes10", "cifar10")
RIGHT, WRONG = 2, 4  # pictures of each class that the network gets right, and that it gets wrong
STILL = "shapes10"
# what the page replays on photographs: of these methods one map, of RectGrad one at each percentile
REPLAYED = ("saliency", "smoothgrad", "integrated_gradients", "guided_backprop")
PERCENTILES = (0, 50, 80, 90, 95, 98, 99, 99.5)
TILE = 112  # width of a replayed map, half of what the network sees
LEVELS = 25  # colours of a replayed map
# the maps of the page, row by row: paper Sign's, then those that paper Noise compares
MAPS = (
    ("saliency", "positive", "negative", "active", "inactive"),
    ("smoothgrad", "deconvolution", "guided_backprop", "rectgrad", "rectgrad_prr"),
    ("input_x_gradient", "integrated_gradients", "epsilon_lrp", "deeplift", "random"),
)


def script(kind: str, dataset: str, content: object) -> str:
    """A file of the page: one call that hands over what it holds."""
    return f'liveData("{kind}", "{dataset}", {json.dumps(content, separators=(",", ":"))});\n'


def places(data: Dataset, model: torch.nn.Module) -> list[int]:
    """Which pictures are shown, by number: of the split in its order the first `RIGHT` of each
    class that the network gets right, class by class, then the first `WRONG` that it gets wrong."""
    parts = to_range(data.images, model).split(500)
    predicted = torch.cat([attribution.logits(model, part).argmax(1) for part in parts])
    right = predicted == data.labels
    of_classes = [
        (right & (data.labels == k)).nonzero()[:RIGHT, 0] for k in range(len(data.classes))
    ]
    return torch.cat([*of_classes, (~right).nonzero()[:WRONG, 0]]).tolist()


def pictures(dataset: str) -> str:
    """The script with the pictures of a dataset: bytes, pixel after pixel, and their labels."""
    data = sources.load(dataset, "test")
    numbers = places(data, networks.load(NETWORK, dataset))
    chosen = data.take(torch.tensor(numbers))
    pixels = chosen.images.permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    content = {
        "classes": list(data.classes),
        "numbers": numbers,
        "labels": chosen.labels.tolist(),
        "pixels": base64.b64encode(pixels).decode(),
    }
    return script("pictures", dataset, content)


def weights(folder: Path) -> None:
    """Write the committed weights of each network, byte for byte, as a script into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for dataset in DATASETS:
        content = networks.weights_path(NETWORK, dataset).read_bytes()
        text = script("weights", dataset, base64.b64encode(content).decode())
        (folder / f"weights-{dataset}.js").write_text(text, encoding="utf8")


def still(path: Path) -> None:
    """The page as it opens, as a picture: for who has no JavaScript."""
    import matplotlib.pyplot as plt

    from study.figures.pictures import draw_map, draw_picture

    model = networks.load(NETWORK, STILL)
    data = sources.load(STILL, "test", count=None)
    image = data.images[places(data, model)[:1]]
    figure, axes = plt.subplots(3, 6, figsize=(9, 4.9), layout="constrained")
    for axis in axes[:, 0]:
        axis.set_axis_off()
    draw_picture(axes[0, 0], image[0].permute(1, 2, 0).numpy(), "Picture")
    for row, names in enumerate(MAPS):
        for axis, name in zip(axes[row, 1:], names, strict=True):
            draw_map(axis, noise_map(model, image, name), crosses.label(name))
            axis.title.set_fontsize(8)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def noise_map(model: torch.nn.Module, image: torch.Tensor, name: str) -> torch.Tensor:
    """A map [H,W] of one picture [1,3,H,W] uint8, its channels reduced as paper Noise does."""
    if name in crosses.CONTROLS:
        return crosses.CONTROLS[name][0](image, torch.Generator().manual_seed(0))[0]
    method = attribution.METHODS[name]
    attributions = method.function(model, to_range(image, model))
    return attribution.to_map(attributions, method.reduce["noise"])[0]


def replayed(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The maps of each photograph [N,12,H,W]: one by each of `REPLAYED`, then RectGrad's."""
    attributions = [attribution.METHODS[name].function(model, images) for name in REPLAYED]
    attributions += [attribution.rectgrad(model, images, q=q) for q in PERCENTILES]
    return torch.stack([attribution.to_map(values, "sum") for values in attributions], 1)


def strip(maps: torch.Tensor) -> bytes:
    """The maps [12,H,W] of a photograph side by side, as a lossless picture."""
    return webp(np.concatenate([coloured(halved(values)) for values in maps], 1), lossless=True)


def webp(pixels: np.ndarray, **options) -> bytes:
    """A picture [H,W,3] in [0,1] as the bytes of a WebP file."""
    file = io.BytesIO()
    image = Image.fromarray((pixels * 255).round().astype(np.uint8))
    image.save(file, "WEBP", method=6, **options)
    return file.getvalue()


def photographs() -> dict[str, bytes]:
    """File name -> content: each photograph, and the strip of its maps."""
    model, photos = networks.load("squeezenet1_1", "imagenet"), sources.load("photos", "test")
    maps = replayed(model, to_range(photos.images, model))
    files = {}
    for photo, own, name in zip(photos.images, maps, imagenet.PHOTOS, strict=True):
        smaller = torch.nn.functional.avg_pool2d(photo.float() / 255, 2)
        files[f"{Path(name).stem}.webp"] = webp(smaller.permute(1, 2, 0).numpy(), quality=80)
        files[f"{Path(name).stem}-maps.webp"] = strip(own)
    return files


def halved(values: torch.Tensor) -> torch.Tensor:
    """A map [H,W] at half its size: of four pixels the one of largest size, for in a mean red and
    blue would cancel."""
    largest, lowest = (
        torch.nn.functional.max_pool2d(sign * values[None], 2)[0] for sign in (1, -1)
    )
    return torch.where(largest >= lowest, largest, -lowest)


def coloured(values: torch.Tensor) -> np.ndarray:
    """A map [H,W] as RGB [H,W,3] in [0,1]: outliers capped and colours as in the book, of which
    `LEVELS` make the file small; the middle one is 0."""
    low, high = values.double().quantile(torch.tensor([0.005, 0.995], dtype=torch.float64))
    reach = max(-low, high).item() or 1.0
    share = (values.double().clamp(low, high) / reach + 1) / 2
    levels = (share * (LEVELS - 1)).round() / (LEVELS - 1)
    return matplotlib.colormaps["RdBu_r"](levels.numpy())[..., :3]


def main() -> None:
    for name, content in photographs().items():
        (LIVE / name).write_bytes(content)
    for dataset in DATASETS:
        path = LIVE / f"pictures-{dataset}.js"
        path.write_text(pictures(dataset), encoding="utf8")
        print(path)
    still(LIVE / "still.png")


if __name__ == "__main__":
    main()
