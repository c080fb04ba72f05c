"""Does a test notice when a kernel is wrong, and do the stored chapters?

Each mutation below is put into a scratch copy, where pytest must then fail. What was counted is a
row of data/mutations.csv as soon as it is known; a row counts until the mutated file, or a file
that was run, changes. So a run that was stopped goes on where it was.

python tests/mutate.py                # exit 1 if the tests of the kernels miss one
python tests/mutate.py --nbval        # instead: which do the stored outputs of notebooks/ catch?
python tests/mutate.py --only ties    # those whose name, or whose file, contains the word
python tests/mutate.py --minutes 30   # begin none after that time; the next run goes on

A chapter can show a mutation only if it changes a result by more than the printed digits: if it
changes a line of tests/panel.py. The others are not counted for the chapters.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

Mutation = tuple[str, str, str, str]  # name, file, text that occurs exactly once, what it becomes

ROOT = Path(__file__).resolve().parent.parent
CSV = ROOT / "data" / "mutations.csv"
COLUMNS = ("name", "file", "by", "changes", "caught", "seconds", "date", "commit", "tried", "key")
PYTEST, CHAPTERS = "pytest", "chapters"  # who is to catch a mutation
NOTHING = "nothing"
UNMUTATED = "unmutated"  # the name of the rows that say what passes without a mutation
PANEL = "tests/panel.py"
COPIED = (
    "lib",
    "study",
    "tests",
    "notebooks",
    "pyproject.toml",
    "data/weights",
    "data/claims.csv",
)
SECONDS = 3600  # a run that takes longer says nothing of the mutation

GRAPH = "lib/attribution/graph.py"
GRADIENTS = "lib/attribution/gradients.py"
RULED = "lib/attribution/ruled.py"
REGISTRY = "lib/attribution/registry.py"
ENGINE = "lib/attribution/engine.py"
RULES = "lib/attribution/rules.py"
OPERATIONS = "lib/attribution/operations.py"
PATH = "lib/attribution/path.py"
CROSSES = "lib/attribution/crosses.py"
DELETION = "lib/metrics/deletion.py"
MAPS = "lib/metrics/maps.py"
STATISTICS = "lib/metrics/statistics.py"

# any test of the kernels may catch a mutation: its own file first
OF_ATTRIBUTION = "tests/lib/attribution/test_attribution.py"
OF_ENGINE = "tests/lib/attribution/test_engine.py"
OF_CROSSES = "tests/lib/attribution/test_crosses.py"
OF_NETWORKS = "tests/lib/attribution/test_networks.py"
OF_METRICS = "tests/lib/metrics/test_metrics.py"
OF_STATISTICS = "tests/lib/metrics/test_statistics.py"
TESTS = {
    **dict.fromkeys(
        (GRAPH, GRADIENTS, RULED, REGISTRY), (OF_ATTRIBUTION, OF_ENGINE, OF_NETWORKS, OF_METRICS)
    ),
    **dict.fromkeys((ENGINE, RULES), (OF_ENGINE, OF_ATTRIBUTION, OF_NETWORKS, OF_METRICS)),
    **dict.fromkeys((PATH, OPERATIONS), (OF_ENGINE, OF_NETWORKS, OF_ATTRIBUTION)),
    **dict.fromkeys((DELETION, MAPS), (OF_METRICS, OF_ATTRIBUTION, OF_ENGINE, OF_NETWORKS)),
    STATISTICS: (OF_STATISTICS,),
    CROSSES: (OF_CROSSES,),
}
# the chapters that show the kernels of a file, each with a function of its code that reaches them
_RULED = {
    "how_to_use": "study.experiments.own_picture.maps",
    "04_rectgrad": "lib.attribution.rectgrad",
    "06_noise_benchmark": "lib.attribution.rectgrad",
}
SHOWN_IN = {
    **dict.fromkeys((RULED, ENGINE, RULES, OPERATIONS, PATH), _RULED),
    GRAPH: {"01_sign_importance": "lib.attribution.saliency"},
    GRADIENTS: {
        "how_to_use": "study.experiments.own_picture.maps",
        "01_sign_importance": "lib.attribution.saliency",
        "02_multiclass_maps": "lib.attribution.signed_maps",
    },
    REGISTRY: {
        "how_to_use": "lib.attribution.to_map",
        "03_noise_hypothesis": "lib.attribution.to_map",
        "06_noise_benchmark": "study.experiments.cleanliness.amounts_and_edges",
    },
    CROSSES: {
        "08_synthesis": "study.experiments.synthesis.measured",
        "09_with_and_without_retraining": "study.experiments.synthesis.measured",
    },
    DELETION: {
        "05_deletion_benchmark": "lib.metrics.allegiance",
        "07_roar_kar": "lib.metrics.occlude_pixels",
        "09_with_and_without_retraining": "lib.metrics.delete",
    },
    MAPS: {"06_noise_benchmark": "lib.metrics.total_variation"},
    STATISTICS: {
        "05_deletion_benchmark": "study.experiments.deletion_tables.gains",
        "06_noise_benchmark": "study.experiments.cleanliness.amounts_and_edges",
    },
}
MUTATIONS: tuple[Mutation, ...] = (
    ("active map keeps ties", GRADIENTS, "size * (own > largest)", "size * (own >= largest)"),
    ("inactive map keeps ties", GRADIENTS, "size * (own < smallest)", "size * (own <= smallest)"),
    ("active keeps ties", GRADIENTS, "else (own > largest)\n", "else (own >= largest)\n"),
    ("inactive keeps ties", GRADIENTS, "else (own < smallest)\n", "else (own <= smallest)\n"),
    ("ties=True drops ties", GRADIENTS, "(own >= largest) if ties", "(own > largest) if ties"),
    ("signed_maps drops the absolute value", GRADIENTS, "size = own.abs()", "size = own"),
    (
        "absmax drops the absolute value",
        REGISTRY,
        "lambda a: a.abs().amax(1)",
        "lambda a: a.amax(1)",
    ),
    ("sum becomes mean", REGISTRY, "lambda a: a.sum(1, dtype", "lambda a: a.mean(1, dtype"),
    (
        "positive takes the other sign",
        GRADIENTS,
        "target).clamp_(min=0)",
        "target).neg_().clamp_(min=0)",
    ),
    (
        "negative forgets the sign",
        GRADIENTS,
        "target).neg_().clamp_(min=0)",
        "target).clamp_(min=0)",
    ),
    ("negative map forgets the sign", GRADIENTS, "own.neg().clamp_(min=0)", "own.clamp(max=0)"),
    (
        "rivals' maximum becomes minimum",
        GRADIENTS,
        "torch.maximum(largest, gradient, out=largest)",
        "torch.minimum(largest, gradient, out=largest)",
    ),
    (
        "rivals' minimum becomes maximum",
        GRADIENTS,
        "torch.minimum(smallest, gradient, out=smallest)",
        "torch.maximum(smallest, gradient, out=smallest)",
    ),
    (
        "a class is its own rival",
        GRADIENTS,
        "largest[rows], smallest[rows] = mine_large, mine_small",
        "pass",
    ),
    ("a target that is no rival is forgotten", GRADIENTS, "if outside.any():", "if False:"),
    (
        "the least likely class is explained",
        GRAPH,
        "logits.detach().argmax(1)",
        "logits.detach().argmin(1)",
    ),
    (
        "gradients of the first classes",
        GRADIENTS,
        "input_gradient(found[:, c], leaf, keep=k",
        "input_gradient(found[:, k], leaf, keep=k",
    ),
    ("probability for logit", GRAPH, "model(leaf.clone())", "model(leaf.clone()).softmax(1)"),
    ("gradient depends on the batch", GRAPH, "scores.sum(), leaf", "scores.mean(), leaf"),
    ("negative targets count from the end", GRAPH, "if lowest < 0 or", "if lowest < -classes or"),
    ("train mode is left on", GRAPH, "module.training = False", "module.training = True"),
    ("mode is not given back", GRAPH, "module.training = mode", "module.training = False"),
    (
        "mode is lost after an exception",
        GRAPH,
        "    try:\n        yield\n    finally:\n        _let_go(held)",
        "    yield\n    _let_go(held)",
    ),
    ("normalize over the batch", REGISTRY, "values.amin((1, 2), keepdim=True)", "values.amin()"),
    (
        "normalize gives NaN",
        REGISTRY,
        "torch.where(high > low, (values - low) / width, 0)",
        "(values - low) / (high - low)",
    ),
    (
        "smoothgrad draws the same noise for every image",
        GRADIENTS,
        "if generator is None and k == 0:",
        "if k == 0:",
    ),
    (
        "smoothgrad's images share one stream",
        GRADIENTS,
        "if generator is None and k == 0:",
        "if False:",
    ),
    (
        "noise by the range of the batch",
        GRADIENTS,
        "(images.amax((1, 2, 3)) - images.amin((1, 2, 3)))",
        "(images.amax() - images.amin()).expand(len(images))",
    ),
    ("a left Riemann sum", GRADIENTS, "(places % steps + 1).double()", "(places % steps).double()"),
    (
        "integrated gradients times the image",
        GRADIENTS,
        "return way * _mean_gradient(",
        "return images * _mean_gradient(",
    ),
    (
        "each point predicts its own target",
        GRADIENTS,
        "_gradient(model, some, targets[owner], check_batch",
        "_gradient(model, some, None, check_batch",
    ),
    (
        "batch size is ignored",
        GRADIENTS,
        "math.ceil(count / batch_size)",
        "1",
    ),
    (
        "RectGrad without the final threshold",
        RULED,
        "result.clamp(min=0) if final_threshold else result",
        "result",
    ),
    (
        "RectGrad without the input",
        RULED,
        "result = images.detach() * gradient",
        "result = gradient",
    ),
    ("rectgrad_prr is rectgrad", RULED, "prr=True, **options", "prr=False, **options"),
    (
        "DeepLIFT times the image",
        RULED,
        "((images - start) * multipliers)",
        "(images * multipliers)",
    ),
    (
        "DeepLIFT predicts from the baseline",
        RULED,
        "targets = as_targets(found, target)[:, None]",
        "targets = as_targets(before.expand_as(found), target)[:, None]",
    ),
    (
        "DeepLIFT never rescales max pooling",
        RULED,
        'rules.rescale_max_pool if max_pool == "rescale" else None',
        "None",
    ),
    (
        "deconvolution looks forward",
        RULES,
        "unit.ungated(g.clamp(min=0))",
        "unit.gated(g.clamp(min=0))",
    ),
    (
        "guided does not look forward",
        RULES,
        "unit.gated(g.clamp(min=0))",
        "unit.ungated(g.clamp(min=0))",
    ),
    (
        "threshold is not strict",
        RULES,
        "torch.ops.aten.threshold_backward(g.to(score.dtype), score, threshold)",
        "torch.where(score >= threshold, g, 0)",
    ),
    (
        "percentile over the batch",
        RULES,
        "rows = dense.reshape(len(dense), math.prod(dense.shape[1:]))",
        "rows = dense.reshape(1, -1).expand(len(dense), -1)",
    ),
    (
        "percentile ranks from 1",
        RULES,
        "round((rows.shape[1] - 1) * q / 100)",
        "min(round(rows.shape[1] * q / 100), rows.shape[1] - 1)",
    ),
    (
        "percentile rounds down",
        RULES,
        "round((rows.shape[1] - 1) * q / 100)",
        "int((rows.shape[1] - 1) * q / 100)",
    ),
    (
        "percentile of q percent from above",
        RULES,
        "round((rows.shape[1] - 1) * q / 100)",
        "round((rows.shape[1] - 1) * (1 - q / 100))",
    ),
    (
        "a percentile among the zeros is the first positive",
        RULES,
        "if rank >= zeros_end:",
        "if rank >= zeros_end - 1:",
    ),
    (
        "PR1 takes absolute scores",
        RULES,
        '"PR1": lambda a, g: a * g',
        '"PR1": lambda a, g: (a * g).abs()',
    ),
    ("PR2 keeps the sign", RULES, "(a * g).abs()", "a * g"),
    (
        "PR3 and PR4 swapped",
        RULES,
        '"PR3": lambda a, g: a,\n    "PR4": lambda a, g: g,',
        '"PR3": lambda a, g: g,\n    "PR4": lambda a, g: a,',
    ),
    ("PR1 at the first activation", ENGINE, "about.index == last", "about.index == 0"),
    ("tau does not override q", RULES, "if tau is not None:", "if tau:"),
    ("eps is forgotten", RULES, "unit.a + eps if eps else unit.a", "unit.a"),
    (
        "a unit above ReLU6's bound is open",
        RULES,
        "g if math.isinf(self.upper) else torch.where(self.z < self.upper, g, 0)",
        "g",
    ),
    (
        "smooth units pass whole",
        RULES,
        "            return g * self.slope\n        return g if",
        "            return g\n        return g if",
    ),
    ("epsilon with the wrong sign below zero", RULES, "unit.z - epsilon)", "unit.z + epsilon)"),
    (
        "the quotient never falls back",
        RULES,
        "still = change.abs() <= 10 * torch.finfo(z.dtype).eps * size",
        "still = change != change",
    ),
    (
        "0 / 0 of a ReLU stays",
        RULES,
        "        still = change == 0\n",
        "        still = change != change\n",
    ),
    ("rescaled maximum at the image's place alone", RULES, "torch.where(y >= y0, at, at0)", "at"),
    (
        "PRR counts the padding",
        RULES,
        'options["count_include_pad"] = False',
        'options["count_include_pad"] = True',
    ),
    (
        "PRR spreads evenly",
        RULES,
        "return (x.detach() * spread).to(g.dtype)",
        "return spread.to(g.dtype)",
    ),
    (
        "PRR without ceil_mode",
        OPERATIONS,
        'options["stride"] = options["stride"] or options["kernel_size"]',
        'options["stride"] = options["stride"] or options["kernel_size"]; '
        'options["ceil_mode"] = False',
    ),
    (
        "border doubled",
        ENGINE,
        'return (1, 1) if border == "padded" else half',
        'return (2, 2) if border == "padded" else half',
    ),
    ("half a kernel without dilation", ENGINE, "d * (k - 1) // 2 for", "(k - 1) // 2 for"),
    (
        "1x1 kernels are not SAME",
        ENGINE,
        "if padded_before or padded_by == half else",
        "if padded_before or padded_by == half != (0, 0) else",
    ),
    (
        "unpadded convolutions lose their border",
        ENGINE,
        "padded = padded or any(padded_by)",
        "padded = True",
    ),
    (
        "maps without interior lose all",
        ENGINE,
        "out.shape[-2] > 2 * rows and out.shape[-1] > 2 * columns",
        "min(out.shape[-2:]) > 1",
    ),
    (
        "a padding step of its own is overlooked",
        ENGINE,
        "        out._zero_padded = True",
        "        pass",
    ),
    ("any padding step counts", ENGINE, 'mode == "constant" and not value and ', ""),
    (
        "in-place forms stay out of place",
        ENGINE,
        "                return z\n            a = about.function(z)",
        "                return z.clone()\n            a = about.function(z)",
    ),
    (
        "in-place forms forget their input",
        ENGINE,
        "kept = z if about.from_output else z.clone()",
        "kept = z",
    ),
    (
        "in-place keyword is overlooked",
        OPERATIONS,
        'bool(options.pop("inplace", False))',
        'bool(options.pop("inplace", False)) and False',
    ),
    (
        "clamp at any minimum is a ReLU",
        OPERATIONS,
        "if _is_zero(low, z) and upper is not None:",
        "if upper is not None:",
    ),
    (
        "a clamp's bound is forgotten",
        OPERATIONS,
        "return float(high) if isinstance(high, numbers.Real) else None",
        "return math.inf",
    ),
    ("clamp_min is not seen", OPERATIONS, '"clip", "clamp_min")', '"clip")'),
    (
        "a smooth net is given the plain gradient",
        ENGINE,
        "if engine.activation and not engine.on_the_way:",
        "if False:",
    ),
    ("compiled modules are let through", ENGINE, ' or hasattr(module, "_orig_mod")', ""),
    (
        "an outer engine sees what the inner one leaves",
        ENGINE,
        "if _INNERMOST.get() is not self:",
        "if False:",
    ),
    ("delete takes the threshold too", DELETION, "(maps > _thresholds(", "(maps >= _thresholds("),
    ("curves take the threshold too", DELETION, "(scores > threshold[", "(scores >= threshold["),
    ("delete forgets that zeros stay", DELETION, " & (maps != 0)", ""),
    ("curves forget that zeros stay", DELETION, " & (scores != 0)", ""),
    ("least important first", DELETION, "axis=1)).flip(1)", "axis=1))"),
    (
        "least important first in half precision",
        DELETION,
        "ordered.sort(1, descending=True)",
        "ordered.sort(1, descending=False)",
    ),
    ("rank rounded down", DELETION, "round(float(p) * pixels)", "int(float(p) * pixels)"),
    ("rank rounded half up", DELETION, "round(float(p) * pixels)", "int(float(p) * pixels + .5)"),
    (
        "fraction 1 spares the last pixel",
        DELETION,
        "ordered[:, rank] if rank < pixels else lowest",
        "ordered[:, min(rank, pixels - 1)]",
    ),
    (
        "delete normalises first",
        DELETION,
        "chosen = (maps > _thresholds(",
        "maps = maps - maps.amin((1, 2), keepdim=True)\n    chosen = (maps > _thresholds(",
    ),
    (
        "curves normalise first",
        DELETION,
        "images[place].detach(), maps[place]",
        "images[place].detach(), (maps - maps.amin((1, 2), keepdim=True))[place]",
    ),
    (
        "the first map for every image",
        DELETION,
        "images[place].detach(), maps[place]",
        "images[place].detach(), maps[:1].expand_as(maps)[place]",
    ),
    ("white for black", DELETION, "fill.reshape(1, -1, 1, 1)", "1 - fill.reshape(1, -1, 1, 1)"),
    ("fill in BGR", DELETION, "fill.reshape(1, -1, 1, 1)", "fill.reshape(1, -1, 1, 1).flip(1)"),
    ("insertion deletes", DELETION, "~chosen if insert else chosen", "chosen"),
    (
        "insertion and deletion swapped",
        DELETION,
        "~chosen if insert else chosen",
        "chosen if insert else ~chosen",
    ),
    ("insertion starts from the image", DELETION, "-1 if insert else 0", "0"),
    (
        "a lone new pixel is overlooked",
        DELETION,
        "grown = count > before",
        "grown = count > before + 1",
    ),
    (
        "strength is ignored",
        DELETION,
        "fill if strength == 1 else images + strength * (fill - images)",
        "fill",
    ),
    (
        "allegiance to the first fraction",
        DELETION,
        "== original.argmax(1)",
        "== altered[0].argmax(1)",
    ),
    (
        "score of the present prediction",
        DELETION,
        "original.argmax(1).expand(len(altered), -1)[..., None]",
        "altered.argmax(2)[..., None]",
    ),
    ("softmax missing", DELETION, "altered.softmax(2).gather", "altered.gather"),
    ("softmax over the images", DELETION, "altered.softmax(2)", "altered.softmax(1)"),
    (
        "auc without its first interval",
        DELETION,
        "torch.trapezoid(values, places, dim=0)",
        "torch.trapezoid(values[1:], places[1:], dim=0)",
    ),
    (
        "auc divided by its span",
        DELETION,
        "torch.trapezoid(values, places, dim=0)",
        "torch.trapezoid(values, places, dim=0) / (fractions[-1] - fractions[0])",
    ),
    ("fractions up to 1", DELETION, "0.7, 0.8, 0.9)", "0.7, 0.8, 0.9, 1)"),
    ("masks of the picture are not named", PATH, "DECIDED in node.metadata", "False"),
    (
        "masks of detached values are not named",
        ENGINE,
        "self.detached[id(out)] = out",
        "pass",
    ),
    (
        "a mask is any tensor without a gradient",
        ENGINE,
        "(seen and not out.is_floating_point())",
        "seen",
    ),
    ("the test of a mean is two-sided", STATISTICS, ', alternative="greater"', ""),
    ("a t test of one side", STATISTICS, "float(2 * t.sf(", "float(t.sf("),
    ("groups are pooled by number", STATISTICS, "* (len(group) - 1) for", "for"),
    (
        "the smallest correlation of one test",
        STATISTICS,
        "at = level / tests",
        "at = level",
    ),
    ("90 % interval", STATISTICS, "ENDS = (0.025, 0.975)", "ENDS = (0.05, 0.95)"),
    ("total variation down alone", MAPS, " + maps.diff(dim=2).abs().sum((1, 2))", ""),
    ("total variation of signed steps", MAPS, "maps.diff(dim=1).abs()", "maps.diff(dim=1)"),
    ("attribution inside the mask", MAPS, "(size * ~masks)", "(size * masks)"),
    (
        "attribution outside with its sign",
        MAPS,
        "numbers_of(maps, infinite=False).abs()",
        "numbers_of(maps, infinite=False)",
    ),
    (
        "share of the outside over the inside",
        MAPS,
        "whole = size.sum((1, 2))",
        "whole = (size * masks).sum((1, 2))",
    ),
    (
        "ROAR keeps and KAR removes",
        DELETION,
        "_blend(images, chosen, fill, keep, 1.0)",
        "_blend(images, chosen, fill, not keep, 1.0)",
    ),
    (
        "ROAR removes the least important",
        DELETION,
        "values.gather(1, order).argsort(dim=1, descending=True",
        "values.gather(1, order).argsort(dim=1, descending=False",
    ),
    (
        "ties fall in order",
        DELETION,
        "order = drawn.argsort(1, descending=True)",
        "order = torch.arange(drawn.shape[1]).repeat(len(drawn), 1)",
    ),
    (
        "ties fall alike in every picture",
        DELETION,
        "torch.randn(maps.shape, generator=generator, device=generator.device)",
        "torch.randn(maps.shape[1:], generator=generator, device=generator.device)",
    ),
    ("the noise drowns the map", DELETION, "(values + noise * drawn)", "(values + drawn)"),
    (
        "count rounded down",
        DELETION,
        "round(float(fraction) * maps[0].numel())",
        "int(float(fraction) * maps[0].numel() * (1 - 1e-9))",
    ),
    (
        "the median's interval is one rank short",
        STATISTICS,
        "ordered[min(high, len(ordered) - 1)]",
        "ordered[max(high - 1, 0)]",
    ),
    (
        "columns are resampled apart",
        STATISTICS,
        '["images"] * len(arrays) if groups is None',
        "[str(k) for k in range(len(arrays))] if groups is None",
    ),
    ("both tails keep one", CROSSES, "(score > high) | (score < low)", "score > high"),
    (
        "RectGrad's parts are multiplied by the input",
        CROSSES,
        "    return _part(*against_rivals(",
        "    return images * _part(*against_rivals(",
    ),
    (
        "the class is a rival of its own integrated gradients",
        CROSSES,
        "rival = (classes != targets[:, None])",
        "rival = (classes != -1 - targets[:, None])",
    ),
    (
        "shuffled maps stay where they were",
        CROSSES,
        "flat.gather(-1, places.expand_as(flat))",
        "flat",
    ),
    (
        "mode comes back with the first thread",
        GRAPH,
        "            if count > 1:\n",
        "            if False:\n",
    ),
    (
        "DeepLIFT never says that it does not add up",
        RULED,
        "_warn_where_apart(contributions, change[:, 0])",
        "pass",
    ),
    (
        "Rescale is the plain gradient",
        RULES,
        "return g * torch.where(still, unit.slope, (unit.a - a0).div_(change))",
        "return g * unit.slope",
    ),
    (
        "relus beside the picture count",
        ENGINE,
        "if engine.activation and not engine.on_the_way:",
        "if engine.activation and not engine.activations:",
    ),
    ("a hidden relu is let through", ENGINE, "if engine.activation and overlooked:", "if False:"),
    ("heavy weights are turned", GRAPH, "return turned > _HEAVY", "return turned > 1e9 * _HEAVY"),
    (
        "contiguous once, contiguous ever",
        GRAPH,
        "    if not heavy:\n        _remember",
        "    if True:\n        _remember",
    ),
    ("strides go unnoticed", GRAPH, "if not watch.asked:", "if True:"),
    (
        "images that mix are let through",
        GRAPH,
        "if others.nan_to_num(0).any():",
        "if False:",
    ),
    ("the first image alone is asked", GRAPH, "return [0, 1] if count == 2", "return [0] if True"),
    (
        "of two images the last is asked",
        GRAPH,
        "return [0, 1] if count == 2",
        "return [1] if count == 2",
    ),
    ("the sum of all logits is asked", GRAPH, "(found[k] * weights).sum()", "found[k].sum()"),
    (
        "RectGrad explains images that mix",
        GRAPH,
        "repeats and (known or by_image)",
        "repeats and known",
    ),
    ("detached numbers go unseen", GRAPH, "return func in _TO_NUMBERS", "return False"),
    (
        "a network is watched but not remembered",
        GRAPH,
        "_remember(_CUTTING, model, known)",
        "_remember(_CUTTING, model, False)",
    ),
    ("random numbers go unseen", GRAPH, "repeats = not drawn or", "repeats = True or"),
    ("NaN is let through", GRAPH, "if not bool(total.isnan()):", "if True:"),
    (
        "rounding gives maps of zeros",
        PATH,
        "reached = _STEPS.isdisjoint(names) or",
        "reached = True or",
    ),
    (
        "half-precision gradients add up in half",
        GRADIENTS,
        "wide = torch.promote_types(images.dtype, torch.float32)",
        "wide = images.dtype",
    ),
    ("one logit stays one", GRAPH, "if found.shape[1] == 1:", "if False:"),
    (
        "any operation keeps images apart",
        PATH,
        "apart = apart and _keeps_apart(",
        "apart = apart or _keeps_apart(",
    ),
)


class RunError(RuntimeError):
    """A run that says nothing of the mutation; the message shows its end."""


class Count(NamedTuple):
    """What is known so far of the listed mutations, by pytest or by the chapters."""

    counted: int
    due: int  # of the counted, those that are to be caught
    missed: list[str]
    days: list[str]
    commits: list[str]


# ---- the table


def read() -> list[dict[str, str]]:
    """The rows of the table, without one that a killed run left unfinished."""
    if not CSV.is_file():
        return []
    with CSV.open(newline="", encoding="utf8") as file:
        return [row for row in csv.DictReader(file) if row["key"]]


def append(row: dict[str, str]) -> None:
    new = not CSV.is_file()
    with CSV.open("a", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def tidy() -> None:
    """Rewrite the table with the last row of each listed mutation, whole or not at all."""
    names = {UNMUTATED, *(name for name, *_ in MUTATIONS)}
    last = {(r["name"], r["file"], r["by"]): r for r in read() if r["name"] in names}
    part = CSV.with_suffix(".part")
    with part.open("w", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(last.values())
    part.replace(CSV)


@cache
def _content(text: str, is_python: bool) -> str:
    """What decides what a file does: of Python its syntax, without comments and layout."""
    return ast.dump(ast.parse(text)) if is_python else text


def fingerprint(root: Path, mutated: str, files: Iterable[str]) -> str:
    """Twelve hex digits over a mutated file's text and over files below `root`."""
    parts = [_content(mutated, True)]
    for name in files:
        text = (root / name).read_text(encoding="utf8")
        parts.append(f"{name} {_content(text, name.endswith('.py'))}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _current(row: dict[str, str], root: Path, mutation: Mutation) -> bool:
    name, file, old, new = mutation
    tried = row["tried"].split()
    if row["file"] != file or not all((root / path).is_file() for path in tried):
        return False
    mutated = (root / file).read_text(encoding="utf8").replace(old, new)
    return row["key"] == fingerprint(root, mutated, tried)


def known(by: str, root: Path) -> dict[str, dict[str, str]]:
    """Mutation -> its row, of those whose files are still what they were."""
    listed = {mutation[0]: mutation for mutation in MUTATIONS}
    rows = {r["name"]: r for r in read() if r["by"] == by and r["name"] in listed}
    return {n: r for n, r in rows.items() if _current(r, root, listed[n])}


def count(by: str) -> Count:
    rows = known(by, ROOT).values()
    due = [row for row in rows if row["changes"] != "no"]
    return Count(
        len(rows),
        len(due),
        [row["name"] for row in due if row["caught"] == NOTHING],
        sorted({row["date"] for row in rows}),
        sorted({row["commit"] for row in rows}),
    )


def told(by: str) -> str:
    found = count(by)
    caught = found.due - len(found.missed)
    lines = [
        f"{by}: {found.counted} of {len(MUTATIONS)} mutations are counted; "
        f"of {found.due} to be caught {caught} are."
    ]
    return "\n".join([*lines, *(f"MISSED: {name}" for name in found.missed)])


# ---- runs


def run(scratch: Path, words: Sequence[str], threads: str | None = None) -> tuple[int, str]:
    """Exit code and output of Python in the scratch copy."""
    environment = os.environ | {"PYTHONPATH": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["SIGN_NOISE_COMMIT"] = "0" * 7  # the copy has none, and nbval masks any
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    try:
        result = subprocess.run(
            [sys.executable, *words],
            cwd=scratch,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"{' '.join(words)} took more than {SECONDS} s") from None
    return result.returncode, result.stdout


def failure(scratch: Path, path: str) -> str:
    """What pytest says of a test file, or nbval of a chapter, that fails in the scratch copy."""
    nbval = ("--nbval",) if path.endswith(".ipynb") else ()
    words = ("-m", "pytest", "-p", "no:cacheprovider", "-x", "-q", *nbval, path)
    code, output = run(scratch, words, "2" if nbval else None)  # stored with two threads
    last_line = (output.splitlines() or [""])[-1]
    if code not in (0, 1) or " error" in last_line:  # "1 error in 2.1s": not even run
        raise RunError(f"{' '.join(words)} ended with {code}:\n{output[-3000:]}")
    return output if code else ""


def panel(scratch: Path) -> tuple[int, str]:
    """Exit code and output of the panel; a warning is no result."""
    return run(scratch, ("-W", "ignore", "-m", "tests.panel"), "1")


@contextmanager
def put_in(scratch: Path, mutation: Mutation) -> Iterator[str]:
    """One mutation in the scratch copy, and the text of its file."""
    _, file, old, new = mutation
    path = scratch / file
    text = path.read_text(encoding="utf8")
    path.write_text(text.replace(old, new), encoding="utf8")
    try:
        yield text.replace(old, new)
    finally:
        path.write_text(text, encoding="utf8")


def chapters_for(file: str) -> list[str]:
    """The notebooks, those that show the kernels of a file first, then the quickest first."""
    taken = json.loads((ROOT / "book" / "seconds.json").read_text(encoding="utf8"))["quick"]
    names = sorted(taken, key=lambda name: (name not in SHOWN_IN[file], taken[name]["seconds"]))
    return [f"notebooks/{name}.ipynb" for name in names]


def check_passes(scratch: Path, path: str) -> None:
    """What fails without a mutation as well says nothing of one; each file is asked once."""
    code = (p for folder in ("lib", "study") for p in sorted((scratch / folder).rglob("*.py")))
    files = [*(p.relative_to(scratch).as_posix() for p in code), path]
    key = fingerprint(scratch, "", files)
    if any(row["name"] == UNMUTATED and row["key"] == key for row in read()):
        return
    start = time.monotonic()
    if output := failure(scratch, path):
        raise RunError(
            f"{path} fails without any mutation: mend it first (`make test`).\n{output[-3000:]}"
        )
    by = CHAPTERS if path.endswith(".ipynb") else PYTEST
    append(_row((UNMUTATED, path), by, "", NOTHING, start) | {"tried": path, "key": key})


@cache
def commit() -> str:
    """Short commit of the checkout, with "+" where files differ from it; "unknown" without git."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _row(which: Sequence[str], by: str, changes: str, caught: str, start: float) -> dict[str, str]:
    return {
        "name": which[0],
        "file": which[1],
        "by": by,
        "changes": changes,
        "caught": caught,
        "seconds": f"{time.monotonic() - start:.0f}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
    }


def tried(scratch: Path, mutation: Mutation, by: str, plain: tuple[int, str]) -> dict[str, str]:
    """The row of one mutation: what was run under it, up to the first that fails.

    `plain` is what the panel gives without it; the tests have to catch every mutation, the chapters
    those that change it.
    """
    start, asked, caught, changes = time.monotonic(), [], NOTHING, ""
    order = list(TESTS[mutation[1]])
    if by == CHAPTERS:
        order, asked = chapters_for(mutation[1]), [PANEL]
        with put_in(scratch, mutation):
            changes = "no" if panel(scratch) == plain else "yes"
    for path in order if changes != "no" else []:
        before = time.monotonic()
        check_passes(scratch, path)
        start += time.monotonic() - before  # is no part of the mutation's seconds
        asked.append(path)
        with put_in(scratch, mutation):
            if failure(scratch, path):
                caught = path
                break
    with put_in(scratch, mutation) as text:
        key = fingerprint(scratch, text, asked)
    return _row(mutation, by, changes, caught, start) | {"tried": " ".join(asked), "key": key}


def copy(target: Path) -> Path:
    for name in COPIED:
        source, there = ROOT / name, target / name
        there.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, there, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            )
        elif source.exists():
            shutil.copy2(source, there)
    imported = subprocess.run(
        [sys.executable, "-c", "import lib; print(lib.__file__)"],
        cwd=target,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if Path(imported).resolve().parent != (target / "lib").resolve():
        sys.exit(
            f"the scratch copy would test {imported}, not its own lib; remove the installed copy."
        )
    return target


def chosen_mutations(word: str) -> list[Mutation]:
    """Those whose name or file contains the word; each must fit its file."""
    chosen = [mutation for mutation in MUTATIONS if word in mutation[0] or word in mutation[1]]
    if not chosen:
        sys.exit(f"no mutation has {word!r} in its name or file; they are in tests/mutate.py.")
    for name, file, old, _ in chosen:
        times = (ROOT / file).read_text(encoding="utf8").count(old)
        if times != 1:
            sys.exit(
                f"mutation {name!r}: {old!r} occurs {times} times in {file}; it must occur once. "
                "Bring the table in tests/mutate.py up to date."
            )
    return chosen


def mutate(scratch: Path, chosen: Sequence[Mutation], by: str, minutes: float) -> None:
    """Count those that are not counted yet, a row each, until the time is over.

    In an order that has nothing to do with what they change: of a run that was stopped the share of
    those caught is that of a fair sample.
    """
    end = time.monotonic() + 60 * minutes
    counted = known(by, scratch)
    left = [mutation for mutation in chosen if mutation[0] not in counted]
    left.sort(key=lambda mutation: hashlib.sha256(mutation[0].encode()).digest())
    print(f"{len(chosen) - len(left)} of {len(chosen)} are counted already", flush=True)
    plain = panel(scratch) if by == CHAPTERS and left else (0, "")
    if plain[0]:
        raise RunError(f"{PANEL} fails without any mutation:\n{plain[1][-3000:]}")
    for mutation in left:
        if time.monotonic() > end:
            break
        try:
            row = tried(scratch, mutation, by, plain)
        except RunError as error:
            print(f"not counted: {mutation[0]}: {error}", flush=True)
            continue
        append(row)
        what = "changes no result" if row["changes"] == "no" else row["caught"]
        print(f"{row['name']}: {what} ({row['seconds']} s)", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nbval", action="store_true", help="which of them do the stored chapters catch?"
    )
    parser.add_argument(
        "--only", default="", help="only the mutations whose name or file contains this"
    )
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin none after so many minutes"
    )
    options = parser.parse_args()
    chosen = chosen_mutations(options.only)
    by = CHAPTERS if options.nbval else PYTEST
    tidy()
    # a run that is killed ends its pytest and removes its copy, as after Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="mutate_") as folder:
            mutate(copy(Path(folder)), chosen, by, options.minutes)
    except RunError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print("stopped; the next run goes on here.")
    print(told(by))
    return int(by == PYTEST and bool(count(by).missed))


if __name__ == "__main__":
    sys.exit(main())
