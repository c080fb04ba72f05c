"""The notebook that runs anywhere: sign_and_noise and torchvision alone, all of it executed."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path

import nbformat
import papermill
import pytest
import torch
from torchvision.models import get_model_weights

from lib import attribution
from study.subjects import pretrained

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "anywhere" / "your_picture.ipynb"


def as_torchvision_takes_it(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """SqueezeNet's packaged weights for pictures normalised as torchvision's are.

    They expect blue first and other means; the first convolution, which has no padding, takes that
    up exactly.
    """
    body = {
        key.removeprefix("body."): value for key, value in state.items() if key.startswith("body.")
    }
    preset = get_model_weights("squeezenet1_1").DEFAULT.transforms()
    mean, std = torch.tensor(preset.mean), torch.tensor(preset.std)
    their_mean, their_std = state["mean"].flatten().flip(0), state["std"].flatten().flip(0)
    weight = body["features.0.weight"].flip(1)  # red first
    scale, offset = 2 * std / their_std, (2 * mean - 1 - their_mean) / their_std
    body["features.0.weight"] = weight * scale[:, None, None]
    body["features.0.bias"] = body["features.0.bias"] + (weight * offset[:, None, None]).sum(
        (1, 2, 3)
    )
    return body


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "squeezenet.pt"
    torch.save(
        as_torchvision_takes_it(pretrained.squeezenet_state(pretrained.path("squeezenet1_1"))), file
    )
    return file


def test_it_needs_nothing_else_of_the_project():
    code = [c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    lines = [line for source in code for line in ast.walk(ast.parse(source))]
    modules = {line.module for line in lines if isinstance(line, ast.ImportFrom)}
    modules |= {
        alias.name for line in lines if isinstance(line, ast.Import) for alias in line.names
    }
    modules = {module.split(".")[0] for module in modules}
    # PIL comes with torchvision
    assert modules == {"torch", "torchvision", "PIL", "sign_and_noise"}


def test_it_runs_and_says_what_its_stored_outputs_say(tmp_path, weights):
    for part in ("notebooks/anywhere", "book/_static/live"):
        (tmp_path / part).mkdir(parents=True)
    picture = NOTEBOOK.parents[2] / "book" / "_static" / "live" / "coffee.webp"
    shutil.copy(picture, tmp_path / "book" / "_static" / "live")
    folder = tmp_path / "notebooks" / "anywhere"
    done = papermill.execute_notebook(
        NOTEBOOK,
        folder / "done.ipynb",
        parameters={"weights": str(weights)},
        kernel_name="python3",
        cwd=folder,
        progress_bar=False,
    )
    told = "".join(o.get("text", "") for c in done.cells for o in c.get("outputs", []))
    stored = nbformat.read(NOTEBOOK, as_version=4)
    before = "".join(o.get("text", "") for c in stored.cells for o in c.get("outputs", []))
    assert re.search(r"^ *8\d\.\d% +967 +espresso$", told, flags=re.M)
    assert all(method.label in told for method in attribution.METHODS.values())
    numbers = {
        name: re.findall(r"^ *([\d.]+)%", text, flags=re.M)
        for name, text in (("now", told), ("stored", before))
    }
    now, then = ([float(number) for number in numbers[which]] for which in ("now", "stored"))
    assert now == pytest.approx(then, abs=0.3)


def test_it_is_a_notebook_that_colab_can_open():
    raw = json.loads(NOTEBOOK.read_text(encoding="utf8"))
    assert raw["nbformat"] == 4 and raw["metadata"]["kernelspec"]["name"] == "python3"
    assert len(json.dumps(raw)) < 500_000
