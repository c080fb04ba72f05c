"""What tests/mutate.py makes wrong, and who has to notice: tables alone.

A mutation is a name, a file, a text that occurs there exactly once, and what it becomes.
"""

from __future__ import annotations

Mutation = tuple[str, str, str, str]

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

CLEANLINESS = "study/experiments/cleanliness.py"
HYPOTHESIS = "study/experiments/hypothesis.py"
RESPONSE = "study/experiments/response.py"
RETRAINING = "study/experiments/retraining.py"
RETRAINING_TABLES = "study/experiments/retraining_tables.py"
RANKING = "study/experiments/ranking.py"
SYNTHESIS = "study/experiments/synthesis.py"
CLAIMS = "study/account/claims.py"

# any test of the kernels may catch a mutation of them: its own file first; of an experiment its own
OF_ATTRIBUTION = "tests/lib/attribution/test_attribution.py"
OF_ENGINE = "tests/lib/attribution/test_engine.py"
OF_CROSSES = "tests/lib/attribution/test_crosses.py"
OF_NETWORKS = "tests/lib/attribution/test_networks.py"
OF_REACH = "tests/lib/attribution/test_reach.py"
OF_EDGES = "tests/lib/attribution/test_edges.py"
OF_METRICS = "tests/lib/metrics/test_metrics.py"
OF_STATISTICS = "tests/lib/metrics/test_statistics.py"
TESTS = {
    **dict.fromkeys(
        (GRADIENTS, RULED, REGISTRY), (OF_ATTRIBUTION, OF_ENGINE, OF_NETWORKS, OF_METRICS)
    ),
    GRAPH: (OF_EDGES, OF_REACH, OF_NETWORKS, OF_ATTRIBUTION, OF_ENGINE, OF_METRICS),
    **dict.fromkeys(
        (ENGINE, RULES), (OF_EDGES, OF_ENGINE, OF_REACH, OF_ATTRIBUTION, OF_NETWORKS, OF_METRICS)
    ),
    **dict.fromkeys((PATH, OPERATIONS), (OF_REACH, OF_NETWORKS, OF_ENGINE, OF_ATTRIBUTION)),
    **dict.fromkeys(
        (DELETION, MAPS), (OF_METRICS, OF_REACH, OF_ATTRIBUTION, OF_ENGINE, OF_NETWORKS)
    ),
    STATISTICS: (OF_STATISTICS,),
    CROSSES: (OF_CROSSES,),
    CLAIMS: ("tests/study/account/test_claims.py",),
    CLEANLINESS: ("tests/study/experiments/test_cleanliness.py",),
    HYPOTHESIS: ("tests/study/experiments/test_hypothesis.py",),
    RANKING: ("tests/study/experiments/test_ranking.py",),
    RESPONSE: ("tests/study/experiments/test_response.py",),
    RETRAINING: ("tests/study/experiments/test_retraining.py",),
    RETRAINING_TABLES: ("tests/study/experiments/test_retraining_tables.py",),
    SYNTHESIS: ("tests/study/experiments/test_synthesis.py",),
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
        "08_synthesis": "study.experiments.ranking.summary",
    },
}
KERNELS: tuple[Mutation, ...] = (
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
        "input_gradient(outputs[:, c], leaf, keep=k",
        "input_gradient(outputs[:, k], leaf, keep=k",
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
        "targets = as_targets(outputs, target)[:, None]",
        "targets = as_targets(before.expand_as(outputs), target)[:, None]",
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
    (
        "compiled modules are let through",
        ENGINE,
        '        or hasattr(module, "_orig_mod")\n',
        "",
    ),
    (
        "modules compiled in place are let through",
        ENGINE,
        'getattr(module, "_compiled_call_impl", None) is not None',
        "False",
    ),
    (
        "bounds of the picture are a unit",
        ENGINE,
        "return bounded and not any_function and _is_picture(call.z)",
        "return False",
    ),
    (
        "a bounded clamp is never a unit",
        ENGINE,
        "return bounded and not any_function and _is_picture(call.z)",
        "return bounded and not any_function",
    ),
    (
        "what was learnt outlives a setting",
        GRAPH,
        "return what if settings == _settings(model) else None",
        "return what",
    ),
    (
        "a stream of its own is not seen",
        GRAPH,
        'self.draws = self.draws or kwargs.get("generator") is not None',
        "pass",
    ),
    (
        "a branch without gradients is not told of",
        GRAPH,
        "if isinstance(watch, _Cuts) and watch.hidden:",
        "if False:",
    ),
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
        "flat.gather(-1, places.to(flat.device).expand_as(flat))",
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
    ("the first image alone is asked", GRAPH, "return sorted({0, count // 2})", "return [0]"),
    ("the middle image alone is asked", GRAPH, "sorted({0, count // 2})", "[count // 2]"),
    (
        "what leaves autograd unseen goes unseen",
        GRAPH,
        "_is_cut(func, args) or left",
        "_is_cut(func, args)",
    ),
    (
        "attributes of objects are not searched",
        GRAPH,
        "for member in (*own, *methods.values())]",
        "for member in methods.values()]",
    ),
    (
        "lists in modules are not searched",
        GRAPH,
        "for listed in _listed(value)]",
        "for listed in ()]",
    ),
    ("a norm that trains is let through", GRAPH, "if path.trains:", "if False:"),
    ("NumPy's numbers go unseen", GRAPH, "torch.tensor(of_numpy[2])]", "torch.tensor(0)]"),
    (
        "a given mask is a ReLU",
        ENGINE,
        "not operations.takes_mask(func) or self._chooses(given)",
        "True",
    ),
    (
        "half-precision curves add up in half",
        DELETION,
        "wide = torch.promote_types(values.dtype, torch.float32)",
        "wide = values.dtype",
    ),
    ("the sum of all logits is asked", GRAPH, "(outputs[k] * weights).sum()", "outputs[k].sum()"),
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
    ("one logit stays one", GRAPH, "if outputs.shape[1] == 1:", "if False:"),
    (
        "any operation keeps images apart",
        PATH,
        "apart = apart and _keeps_apart(",
        "apart = apart or _keeps_apart(",
    ),
    ("Holm without its factor", STATISTICS, "(len(order) - k) * given[i]", "given[i]"),
    (
        "those that fail are those that stay",
        STATISTICS,
        "(weights * positive)[order], (weights * ~positive)[order]",
        "(weights * ~positive)[order], (weights * positive)[order]",
    ),
    (
        "each method draws its own seeds",
        STATISTICS,
        "np.take_along_axis(of_seed, picked[name], 0)",
        "np.take_along_axis(of_seed, rng.integers(len(of_seed), "
        "size=(len(of_seed), resamples)), 0)",
    ),
    (
        "permutations on one side",
        STATISTICS,
        "size: Array = np.abs(ranks @ b)",
        "size: Array = ranks @ b",
    ),
)

# of the experiments; the chapters are not asked about these
STUDY: tuple[Mutation, ...] = (
    ("zero below, whatever the percentile", CLEANLINESS, "torch.where(low > 0, 0, low)", "0"),
    ("one pixel too many", CLEANLINESS, "ranks < keep[:, None]", "ranks <= keep[:, None]"),
    ("the whole patch is the corner", CLEANLINESS, "CORNER = 8", "CORNER = 10"),
    (
        "RectGrad with its final threshold",
        CLEANLINESS,
        '{"final_threshold": False, **options}',
        "options",
    ),
    (
        "a baseline keeps its lowest",
        CLEANLINESS,
        "flat.quantile(0.95, dim=1",
        "flat.quantile(0.05, dim=1",
    ),
    ("RectGrad keeps its negative part", CLEANLINESS, "return maps.clamp(min=0)", "return maps"),
    (
        "as many as are positive elsewhere",
        CLEANLINESS,
        'keep = (untreated["rectgrad"] > 0)',
        "keep = (untreated[list(methods)[-1]] > 0)",
    ),
    (
        "as many as are not zero",
        CLEANLINESS,
        'keep = (untreated["rectgrad"] > 0)',
        'keep = (untreated["rectgrad"] != 0)',
    ),
    (
        "the corner with its sign",
        CLEANLINESS,
        "[:, :CORNER, :CORNER].abs()",
        "[:, :CORNER, :CORNER]",
    ),
    (
        "stored maps of any weights",
        CLEANLINESS,
        '{**studied.identity, "method": method, "code": code}',
        '{"data": studied.pictures.fingerprint, "method": method, "code": code}',
    ),
    (
        "the first picture's piece for all",
        CLEANLINESS,
        "slice(start, start + CHUNK)",
        "slice(0, CHUNK)",
    ),
    ("masks by the nearest pixel", HYPOTHESIS, 'mode="area"', 'mode="nearest"'),
    (
        "a class is its own rival in the margin",
        HYPOTHESIS,
        "logits.scatter(-1, index, -torch.inf).amax",
        "logits.amax",
    ),
    (
        "object and background swapped",
        HYPOTHESIS,
        '(on if region == "object" else ~on)',
        '(~on if region == "object" else on)',
    ),
    (
        "one order for all",
        HYPOTHESIS,
        "when = torch.rand(a.shape, generator=generator)",
        "when = torch.rand(a.shape, generator=torch.Generator().manual_seed(seed))",
    ),
    (
        "every activation is replaced",
        HYPOTHESIS,
        "a if index == k else out",
        "a if index >= k and a.shape == out.shape else out",
    ),
    ("the way starts a step late", HYPOTHESIS, "images * k / steps", "images * (k + 1) / steps"),
    (
        "noise by the range of all pictures",
        HYPOTHESIS,
        "(images.amax((1, 2, 3)) - images.amin((1, 2, 3)))[:, None",
        "(images.amax() - images.amin()).expand(len(images))[:, None",
    ),
    ("a unit at 0 fires", HYPOTHESIS, "(outputs[k] > 0)", "(outputs[k] >= 0)"),
    (
        "the background is everywhere",
        HYPOTHESIS,
        "mean_where(rate, 1 - on)",
        "mean_where(rate, torch.ones_like(on))",
    ),
    (
        "margins averaged as released",
        HYPOTHESIS,
        "margins[t] += margin(out, studied.pictures.labels) / orders",
        "margins[t] = margin(logits[t], studied.pictures.labels)",
    ),
    (
        "the tail begins at the activation before",
        HYPOTHESIS,
        "model[relus[k] + 1 :]",
        "model[relus[k] - 1 :]",
    ),
    ("the attack lowers the loss", RESPONSE, "images + eps *", "images - eps *"),
    ("the attack is not clamped", RESPONSE, ".sign()).clamp(black, white)", ".sign())"),
    ("the attack by size", RESPONSE, "gradient.sign()).clamp", "gradient).clamp"),
    (
        "both maps for the first prediction",
        RESPONSE,
        "channel_sums(studied, method, attacked)",
        "channel_sums(studied, method, attacked, attribution.logits("
        "studied.model, batch(studied, place)).argmax(1))",
    ),
    (
        "the second class is the first",
        RESPONSE,
        "two[:, k].contiguous()) for k in (0, 1)",
        "two[:, k].contiguous()) for k in (0, 0)",
    ),
    (
        "from the input to the output",
        RESPONSE,
        "return from_the_input[::-1]",
        "return from_the_input",
    ),
    (
        "new weights about the old mean",
        RESPONSE,
        "values.copy_(values.std() *",
        "values.copy_(values.mean() + values.std() *",
    ),
    ("biases stay", RESPONSE, 'values.fill_(1.0 if name == "weight" else 0.0)', "pass"),
    ("one layer at a time stays redrawn", RESPONSE, "module.load_state_dict(intact)", "pass"),
    (
        "old weights are kept",
        RESPONSE,
        "values.copy_(values.std() * drawn)",
        "values.add_(0 * drawn)",
    ),
    (
        "the caller's network is redrawn",
        RESPONSE,
        "model = copy.deepcopy(studied.model)",
        "model = studied.model",
    ),
    (
        "each network predicts its own class",
        RESPONSE,
        "attribution.logits(target_of or model, images)",
        "attribution.logits(model, images)",
    ),
    (
        "maps with their sign in the sanity checks",
        RESPONSE,
        "before = _sanity_maps(studied, studied.model, method, None, batch_size).abs()",
        "before = _sanity_maps(studied, studied.model, method, None, batch_size)",
    ),
    (
        "ratio of object over background",
        RESPONSE,
        "ratio=outside / inside",
        "ratio=inside / outside",
    ),
    ("RectGrad's layers without the activation", RESPONSE, "else a * passed)", "else passed)"),
    ("the ring's share without its area", RESPONSE, " / ring.double().mean()", ""),
    (
        "the ring is the inside",
        RESPONSE,
        "ring[width:-width, width:-width] = False",
        "ring[width:-width, width:-width] = False; ring = ~ring",
    ),
    (
        "tau before the percentile",
        RESPONSE,
        "rules.percentile(score, q)",
        "rules.percentile(score, 100 - q)",
    ),
    (
        "the highest by the wrong end",
        RESPONSE,
        ".topk(count).indices",
        ".topk(count, largest=False).indices",
    ),
    ("PRR fits anywhere", RESPONSE, 'm != "rectgrad_prr" or engine.pools', "True"),
    (
        "a claim at its threshold holds",
        CLAIMS,
        "high < limit, low >= limit",
        "high <= limit, low > limit",
    ),
    (
        "part of the interval is enough",
        CLAIMS,
        "low > limit, high <= limit",
        "high > limit, low <= limit",
    ),
    (
        "networks that differ agree with the first",
        CLAIMS,
        "elif len(verdicts) == 1:",
        "elif verdicts:",
    ),
    (
        "spread about the corner",
        CLAIMS,
        "sum(second - first**2 for first, second in moments)",
        "sum(second for first, second in moments)",
    ),
    (
        "ROAR keeps what it should remove",
        RETRAINING,
        'return ~first if mode == "kar" else first',
        'return first if mode == "kar" else ~first',
    ),
    ("pixels turn black", RETRAINING, "to_range(channel_mean(", "to_range(0 * channel_mean("),
    (
        "equal values in any order",
        RETRAINING,
        "argsort(dim=1, stable=True)",
        "flip(1).argsort(dim=1, stable=True)",
    ),
    ("the random baseline is the same for every seed", RETRAINING, "return 2 * seed +", "return"),
    (
        "below the final threshold pixels keep their order",
        RETRAINING,
        "kept + torch.rand(part.shape, generator=generator)",
        "part",
    ),
    (
        "the final threshold keeps a pixel more",
        RETRAINING,
        "count - math.ceil(0.95 * (count - 1))",
        "count - math.floor(0.95 * (count - 1))",
    ),
    (
        "the holes alone show the pictures",
        RETRAINING,
        'if p["mode"] == HOLES:',
        'if p["mode"] == "none":',
    ),
    (
        "the least important come first",
        RETRAINING,
        "metrics.pixel_order(maps, noise",
        "metrics.pixel_order(-maps, noise",
    ),
    (
        "ranks without the noise that breaks ties",
        RETRAINING,
        "metrics.pixel_order(maps, noise=NOISE, generator",
        "metrics.pixel_order(maps, generator",
    ),
    (
        "the test pictures keep their pixels",
        RETRAINING,
        "gone = pixels_gone(p, pictures, places).to(_device())",
        'gone = pixels_gone(p, pictures, places).to(_device()) & (pictures.split == "train")',
    ),
    (
        "the mean of ROAR's area alone",
        RETRAINING_TABLES,
        "sides.mean(axis=1, skipna=False)",
        "sides['roar']",
    ),
    (
        "a curve of the holes joins those of ROAR",
        RETRAINING_TABLES,
        'if c["parameters"]["mode"] != HOLES',
        "if True",
    ),
    (
        "KAR's area lies under the curve",
        RETRAINING_TABLES,
        "span, extended = 1 - span, 1 - extended",
        "pass",
    ),
    ("a new method need beat one parent", RANKING, '"p": part["p"].max()', '"p": part["p"].min()'),
    (
        "pictures that were wrong from the start count",
        RANKING,
        "after[n][:, k].all(0) & whole",
        "after[n][:, k].all(0)",
    ),
    (
        "controls move the ranks of methods",
        RANKING,
        "published = [k for k, n in enumerate(names) if n in attribution.METHODS]",
        "published = list(range(len(names)))",
    ),
    (
        "a lower rank is worse",
        RANKING,
        "places(better * means, published)",
        "places(-better * means, published)",
    ),
    (
        "correlations ignore which way is better",
        RANKING,
        "names[metric] = methods\n        means[metric] = better * plain_means(values)\n"
        "        drawn[metric] = better *",
        "names[metric] = methods\n        means[metric] = plain_means(values)\n"
        "        drawn[metric] =",
    ),
    (
        "Sign's metrics see the sum over channels",
        SYNTHESIS,
        'for paper in ("sign", "noise")',
        'for paper in ("noise", "noise")',
    ),
    (
        "insertion is deletion",
        SYNTHESIS,
        "batch_size(studied), insert=True)",
        "batch_size(studied))",
    ),
    (
        "sanity leaves the weights",
        SYNTHESIS,
        "response.redraw_weights(output_layer",
        "(lambda *_: None)(output_layer",
    ),
    (
        "pictures that no step changes count",
        SYNTHESIS,
        "return attacked, stepped, changed & kept",
        "return attacked, stepped, kept",
    ),
    (
        "the random step is no part of a response",
        SYNTHESIS,
        '"sanity": steady - torch',
        '"sanity": -torch',
    ),
    ("held-out pictures are the same ones", SYNTHESIS, "skip=number * held_out", "skip=0"),
    (
        "retrained networks are read as if tested on all",
        SYNTHESIS,
        "this.index if tested is None else torch.searchsorted(tested, this.index)",
        "this.index",
    ),
    (
        "features keep their length",
        SYNTHESIS,
        "normalize(torch.cat(parts), dim=1)",
        "torch.cat(parts)",
    ),
    (
        "held-out pictures are read as well",
        SYNTHESIS,
        "[c for c in published_cells if part_and_pictures(c) in chosen]",
        "published_cells",
    ),
    (
        "a few pictures are the first ones",
        SYNTHESIS,
        "whole.sample(few)",
        "whole.take(slice(0, few))",
    ),
    (
        "right and wrong change places",
        RETRAINING,
        "right[explained].mean()",
        "right[~explained].mean()",
    ),
)
MUTATIONS = KERNELS + STUDY
