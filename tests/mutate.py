"""Does a test notice when a kernel is wrong?

Each mutation below is put into a scratch copy, where pytest must then fail.

python tests/mutate.py                # exit 1 if pytest misses one
python tests/mutate.py --nbval        # also: which do the stored outputs of the notebooks catch?
python tests/mutate.py --only ties    # those whose name, or whose file, contains the word
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = (
    "lib",
    "study",
    "tests",
    "notebooks",
    "pyproject.toml",
    "data/weights",
    "data/claims.csv",
)
NBVAL = ("-x", "-q", "--nbval", "notebooks")
SECONDS = 1800  # a run that takes longer counts as an error, not as caught

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
MUTATIONS = (  # name, file, text that occurs exactly once, what it becomes
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
        "    targets = as_targets(torch.cat(found), target)\n",
        "    targets, batch_size = as_targets(torch.cat(found), target), 10**6\n",
    ),
    (
        "RectGrad without the final threshold",
        RULED,
        "result.clamp_(min=0) if final_threshold else result",
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
        "still = change_in.abs() <= 10 * torch.finfo(change_in.dtype).eps * size",
        "still = change_in != change_in",
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
        "return g * _ratio(unit.a - a0, z - z0, size, unit.slope)",
        "return g * unit.slope",
    ),
    (
        "relus beside the picture count",
        ENGINE,
        "if engine.activation and not engine.on_the_way:",
        "if engine.activation and not engine.activations:",
    ),
    ("a hidden relu is let through", ENGINE, "if engine.activation and overlooked:", "if False:"),
    ("strides go unnoticed", GRAPH, "if not watch.asked:", "if True:"),
    ("images that mix are let through", GRAPH, "if first[1:].any():", "if False:"),
    ("one logit stays one", GRAPH, "if found.shape[1] == 1:", "if False:"),
    (
        "any operation keeps images apart",
        PATH,
        "apart = apart and _keeps_apart(",
        "apart = apart or _keeps_apart(",
    ),
)


def run(scratch: Path, arguments: tuple[str, ...]) -> int:
    """Exit code of pytest in the scratch copy: 0 all passed, 1 a test failed.

    Anything else is an error of the run.
    """
    environment = os.environ | {"PYTHONPATH": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    result = subprocess.run(
        command,
        cwd=scratch,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    last_line = (result.stdout.splitlines() or [""])[-1]
    if result.returncode not in (0, 1) or " error" in last_line:  # "1 error in 2.1s": not even run
        sys.exit(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout[-3000:]}")
    if result.returncode and "control" in scratch.name:
        print(result.stdout[-3000:])
    return result.returncode


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


def chosen_mutations(word: str) -> list[tuple[str, str, str, str]]:
    """Those whose name or file contains the word; each must fit its file."""
    chosen = [mutation for mutation in MUTATIONS if word in mutation[0] or word in mutation[1]]
    for name, file, old, _ in chosen:
        count = (ROOT / file).read_text().count(old)
        if count != 1:
            sys.exit(
                f"mutation {name!r}: {old!r} occurs {count} times in {file}; it must occur once. "
                "Bring the table in tests/mutate.py up to date."
            )
    return chosen


def mutate(scratch: Path, chosen: list[tuple[str, str, str, str]], nbval: bool) -> int:
    """Put one mutation after the other into the scratch copy; 1 if pytest misses one."""
    verdict = {0: "MISSED", 1: "caught", None: "-"}
    width = max(len(name) for name, *_ in chosen)
    print(f"{'mutation':{width}}  {'file':28}  pytest  nbval")
    by_pytest = by_nbval = 0
    for name, file, old, new in chosen:
        path, text = scratch / file, (ROOT / file).read_text()
        path.write_text(text.replace(old, new))
        of_pytest = run(scratch, ("-x", "-q", *TESTS[file]))
        of_nbval = run(scratch, NBVAL) if nbval else None
        path.write_text(text)
        by_pytest += of_pytest == 1
        by_nbval += of_nbval == 1
        print(f"{name:{width}}  {file:28}  {verdict[of_pytest]}  {verdict[of_nbval]}", flush=True)
    also = f", {by_nbval} by nbval" if nbval else ""
    print(f"{by_pytest} of {len(chosen)} caught by pytest{also}")
    return int(by_pytest < len(chosen))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nbval", action="store_true", help="also run the notebooks under each mutation"
    )
    parser.add_argument(
        "--only", default="", help="only the mutations whose name or file contains this"
    )
    options = parser.parse_args()
    chosen = chosen_mutations(options.only)
    nbval = options.nbval and any((ROOT / "notebooks").glob("*.ipynb"))
    if options.nbval and not nbval:
        print("no notebooks here yet: nbval is left out.")
    tests = sorted({test for _, file, *_ in chosen for test in TESTS[file]})
    with tempfile.TemporaryDirectory(prefix="mutate_") as folder:
        control = copy(Path(folder) / "control")
        if run(control, ("-x", "-q", *tests)) or (nbval and run(control, NBVAL)):
            sys.exit("the unmutated copy does not pass; nothing can be learnt from mutations.")
        print("unmutated copy: passes", flush=True)
        return mutate(control.rename(Path(folder) / "mutated"), chosen, nbval)


if __name__ == "__main__":
    sys.exit(main())
