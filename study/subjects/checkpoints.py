"""Files of weights as training loops leave them: tensors by name, alone or among others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from study.subjects.pretrained import ModelError

# what such files end in, and what training loops save the weights under
ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")
SAVED_UNDER = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "module")


def read(path: Path) -> dict[str, Tensor]:
    """The table of weights in a file by name, floating-point ones as float32; raises ModelError.

    Nothing but tensors and plain values is unpickled.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a reader of damaged files raises whatever it likes
        said = " ".join(str(error).split())
        if "TorchScript" in said or re.search("Unsupported (global|class)", said):
            # torch's own advice, to allow arbitrary code, is not for here
            raise ModelError(
                f"{path} holds a whole network or other objects, which are not unpickled; where it "
                "was made, save `model.state_dict()` alone with torch.save, and give that file."
            ) from None
        reason = said.split(". ")[0].split(" weights_only")[0] or type(error).__name__
        if "eights only load failed" in said:
            reason = "no pickle that torch can read"
        raise ModelError(
            f"{path} is not a readable weights file ({reason}); it is damaged, truncated or of "
            "another kind: copy it again, or save `model.state_dict()` anew with torch.save."
        ) from None
    table = _table(content, path)
    return {key: v.float() if v.is_floating_point() else v for key, v in table.items()}


def _table(content, path: Path) -> Mapping[str, Tensor]:
    """The weights by name: the content of a file, or what a training loop saved beside others."""
    inside = content if isinstance(content, Mapping) else {}
    tables = {key: value for key, value in inside.items() if _is_table(value)}
    named = [tables[key] for key in SAVED_UNDER if key in tables]
    if _is_table(content):
        return content
    if named or len(tables) == 1:
        return named[0] if named else next(iter(tables.values()))
    holds = f"a {type(content).__name__}"
    if inside:
        holds += f" of {', '.join(map(str, list(inside)[:5]))}"
    raise ModelError(
        f"{path} holds {holds}, and no table of weights by name; save `model.state_dict()`, alone "
        f"or under one of {', '.join(SAVED_UNDER)}."
    )


def _is_table(content) -> bool:
    """Is it a table of tensors by name, with at least one?"""
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(key, str) for key in content)
        and all(isinstance(value, Tensor) for value in content.values())
    )


def renamed(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the network's own names, as far as wrappers alone have changed them.

    Those are torch.compile ("_orig_mod."), DataParallel and averages of weights ("module."), and
    modules that hold the network. Counters that files of old versions lack are the network's.
    """
    bare = {key.replace("_orig_mod.", ""): v for key, v in state.items() if key != "n_averaged"}
    readings = [state, bare]
    while len({key.partition(".")[0] for key in bare}) == 1 and all("." in key for key in bare):
        bare = {key.partition(".")[2]: value for key, value in bare.items()}
        readings.append(bare)
    closest_reading = max(readings, key=lambda reading: len(set(reading) & set(own)))
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    return {**counters, **closest_reading}
