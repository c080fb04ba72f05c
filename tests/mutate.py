"""Does a test notice when a kernel is wrong? Each mutation below is put into a scratch copy, where pytest must then fail.

python tests/mutate.py                # exit 1 if pytest misses one
python tests/mutate.py --nbval        # also: which of them do the stored outputs of the notebooks catch?
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
    "tests",
    "notebooks",
    "book/pages.py",
    "pyproject.toml",
    "data/weights",
    "data/claims.csv",
)
KERNELS = (
    "tests/test_attribution.py",
    "tests/test_backward_rules.py",
    "tests/test_metrics.py",
)  # any of them may catch a kernel's mutation
NBVAL = ("-x", "-q", "--nbval", "notebooks")
SECONDS = 1800  # a run that takes longer counts as an error, not as caught

A, B, M = "lib/attribution.py", "lib/backward_rules.py", "lib/metrics.py"
N, H, P, C = "lib/noise.py", "lib/hypothesis.py", "lib/probes.py", "lib/claims.py"
R, T, X, Y, K = (
    "lib/roar.py",
    "lib/roar_tables.py",
    "lib/crossed.py",
    "lib/synthesis.py",
    "lib/ranking.py",
)
own = lambda file: f"tests/test_{Path(file).stem}.py"
TESTS = {
    **{file: (own(file), *(k for k in KERNELS if k != own(file))) for file in (A, B, M)},
    **{file: (own(file),) for file in (N, H, P, C, R, X, Y, K)},
    T: (own(T), own(R)),
}
MUTATIONS = (  # name, file, text that occurs exactly once, what it becomes
    ("active map keeps ties", A, "size * (own > largest)", "size * (own >= largest)"),
    ("inactive map keeps ties", A, "size * (own < smallest)", "size * (own <= smallest)"),
    ("active keeps ties", A, "(own > largest)))", "(own >= largest)))"),
    ("inactive keeps ties", A, "(own < smallest)))", "(own <= smallest)))"),
    ("ties=True drops ties", A, "(own >= largest) if ties", "(own > largest) if ties"),
    ("signed_maps drops the absolute value", A, "size = own.abs()", "size = own"),
    ("absmax drops the absolute value", A, "lambda a: a.abs().amax(1)", "lambda a: a.amax(1)"),
    ("sum becomes mean", A, "lambda a: a.sum(1)", "lambda a: a.mean(1)"),
    ("positive takes the other sign", A, "target).clamp_(min=0)", "target).neg_().clamp_(min=0)"),
    ("negative forgets the sign", A, "target).neg_().clamp_(min=0)", "target).clamp_(min=0)"),
    ("negative map forgets the sign", A, "own.neg().clamp_(min=0)", "own.clamp(max=0)"),
    (
        "rivals' maximum becomes minimum",
        A,
        "torch.maximum(largest, gradient, out=largest)",
        "torch.minimum(largest, gradient, out=largest)",
    ),
    (
        "rivals' minimum becomes maximum",
        A,
        "torch.minimum(smallest, gradient, out=smallest)",
        "torch.maximum(smallest, gradient, out=smallest)",
    ),
    (
        "a class is its own rival",
        A,
        "largest[rows], smallest[rows] = mine_large, mine_small",
        "pass",
    ),
    ("a target that is no rival is forgotten", A, "if outside.any():", "if False:"),
    (
        "the least likely class is explained",
        A,
        "logits.detach().argmax(1)",
        "logits.detach().argmin(1)",
    ),
    (
        "gradients of the first classes",
        A,
        "input_gradient(logits[:, c], leaf, keep=k",
        "input_gradient(logits[:, k], leaf, keep=k",
    ),
    ("probability for logit", A, "model(leaf.clone())", "model(leaf.clone()).softmax(1)"),
    ("gradient depends on the batch", A, "scores.sum(), leaf", "scores.mean(), leaf"),
    (
        "negative targets count from the end",
        A,
        "0 <= int(target.min())",
        "-classes <= int(target.min())",
    ),
    ("train mode is left on", A, "    model.eval()\n    try:", "    try:"),
    ("mode is not given back", A, "module.training = mode", "module.training = False"),
    (
        "mode is lost after an exception",
        A,
        "    try:\n        yield\n    finally:\n        for module",
        "    if True:\n        yield\n        for module",
    ),
    ("normalize over the batch", A, "maps.amin((1, 2), keepdim=True)", "maps.amin()"),
    (
        "normalize gives NaN",
        A,
        "torch.where(high > low, (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny), 0)",
        "(maps - low) / (high - low)",
    ),
    (
        "smoothgrad draws the same noise for every image",
        A,
        "if generator is None and k == 0:",
        "if k == 0:",
    ),
    (
        "smoothgrad's images share one stream",
        A,
        "if generator is None and k == 0:",
        "if generator is None and n == k == 0:",
    ),
    (
        "noise by the range of the batch",
        A,
        "(images.amax((1, 2, 3)) - images.amin((1, 2, 3)))",
        "(images.amax() - images.amin()).expand(len(images))",
    ),
    (
        "a left Riemann sum",
        A,
        "start[n] + (k + 1) / steps * way[n]",
        "start[n] + k / steps * way[n]",
    ),
    (
        "integrated gradients times the image",
        A,
        "return way * _mean_gradient(",
        "return images * _mean_gradient(",
    ),
    (
        "each point predicts its own target",
        A,
        "for n, k in part.tolist()]), target[owner])",
        "for n, k in part.tolist()]))",
    ),
    ("batch size is ignored", A, "in pairs.split(batch_size)", "in pairs.split(len(pairs))"),
    (
        "RectGrad without the final threshold",
        A,
        "result.clamp_(min=0) if final_threshold else result",
        "result",
    ),
    (
        "RectGrad without the input",
        A,
        'result = images.detach() * ruled_gradient(model, images, target, "RectGrad", engine)',
        'result = ruled_gradient(model, images, target, "RectGrad", engine)',
    ),
    ("rectgrad_prr is rectgrad", A, "prr=True, **options", "prr=False, **options"),
    (
        "DeepLIFT times the image",
        A,
        "((images.detach() - start) * multipliers)",
        "(images.detach() * multipliers)",
    ),
    (
        "DeepLIFT predicts from the baseline",
        A,
        "as_targets(own, target)[:, None]",
        "as_targets(logits[len(images):], target)[:, None]",
    ),
    (
        "DeepLIFT never rescales max pooling",
        A,
        'rules.rescale_max_pool if max_pool == "rescale" else None',
        "None",
    ),
    (
        "deconvolution looks forward",
        B,
        "unit.ungated(g.clamp(min=0))",
        "unit.gated(g.clamp(min=0))",
    ),
    (
        "guided does not look forward",
        B,
        "unit.gated(g.clamp(min=0))",
        "unit.ungated(g.clamp(min=0))",
    ),
    (
        "threshold is not strict",
        B,
        "torch.ops.aten.threshold_backward(g.to(score.dtype), score, threshold)",
        "torch.where(score >= threshold, g, 0)",
    ),
    (
        "percentile over the batch",
        B,
        "rows = dense.reshape(len(dense), math.prod(dense.shape[1:]))",
        "rows = dense.reshape(1, -1).expand(len(dense), -1)",
    ),
    (
        "percentile ranks from 1",
        B,
        "round((rows.shape[1] - 1) * q / 100)",
        "min(round(rows.shape[1] * q / 100), rows.shape[1] - 1)",
    ),
    (
        "percentile rounds down",
        B,
        "round((rows.shape[1] - 1) * q / 100)",
        "int((rows.shape[1] - 1) * q / 100)",
    ),
    (
        "percentile of q percent from above",
        B,
        "round((rows.shape[1] - 1) * q / 100)",
        "round((rows.shape[1] - 1) * (1 - q / 100))",
    ),
    (
        "a percentile among the zeros is the first positive",
        B,
        "if rank >= zeros_end:",
        "if rank >= zeros_end - 1:",
    ),
    (
        "PR1 takes absolute scores",
        B,
        '"PR1": lambda a, g: a * g',
        '"PR1": lambda a, g: (a * g).abs()',
    ),
    ("PR2 keeps the sign", B, "(a * g).abs()", "a * g"),
    (
        "PR3 and PR4 swapped",
        B,
        '"PR3": lambda a, g: a,\n    "PR4": lambda a, g: g,',
        '"PR3": lambda a, g: g,\n    "PR4": lambda a, g: a,',
    ),
    ("PR1 at the first activation", B, "index == engine.activations - 1", "index == 0"),
    (
        "tau does not override q",
        B,
        "threshold = tau if tau is not None else",
        "threshold = tau if tau else",
    ),
    ("eps is forgotten", B, "unit.a + eps if eps else unit.a", "unit.a"),
    (
        "a unit above ReLU6's bound is open",
        B,
        "g if math.isinf(self.upper) else torch.where(self.z < self.upper, g, 0)",
        "g",
    ),
    (
        "smooth units pass whole",
        B,
        "            return g * self.slope\n        return g if",
        "            return g\n        return g if",
    ),
    ("epsilon with the wrong sign below zero", B, "unit.z - epsilon)", "unit.z + epsilon)"),
    (
        "the quotient never falls back",
        B,
        "still = change_in.abs() <= 10 * torch.finfo(change_in.dtype).eps * size",
        "still = change_in != change_in",
    ),
    ("the baseline half is explained too", B, "torch.zeros_like(a0)])", "g.chunk(2)[1]])"),
    ("rescaled maximum at the image's place alone", B, "torch.where(y >= y0, at, at0)", "at"),
    ("PRR counts the padding", B, "count_include_pad=False", "count_include_pad=True"),
    (
        "PRR spreads evenly",
        B,
        "return (x.detach() * spread).to(g.dtype)",
        "return spread.to(g.dtype)",
    ),
    (
        "PRR without ceil_mode",
        B,
        'options["stride"] = options["stride"] or options["kernel_size"]',
        'options["stride"] = options["stride"] or options["kernel_size"]; options["ceil_mode"] = False',
    ),
    (
        "border doubled",
        B,
        'return ((1, 1) if border == "padded" else half) if padded',
        'return ((2, 2) if border == "padded" else half) if padded',
    ),
    (
        "half a kernel without dilation",
        B,
        "tuple(d * (k - 1) // 2 for k",
        "tuple((k - 1) // 2 for k",
    ),
    (
        "1x1 kernels are not SAME",
        B,
        "if padded_before or padding == half else",
        "if padded_before or padding == half != (0, 0) else",
    ),
    (
        "unpadded convolutions lose their border",
        B,
        "padded = padded_before or any(padding) or any(grown)",
        "padded = True",
    ),
    (
        "maps without interior lose all",
        B,
        "out.shape[-2] > 2 * rows and out.shape[-1] > 2 * columns",
        "min(out.shape[-2:]) > 1",
    ),
    (
        "a padding step of its own is overlooked",
        B,
        "        out._zero_padded = True",
        "        pass",
    ),
    ("any padding step counts", B, 'mode == "constant" and not value and ', ""),
    (
        "in-place forms stay out of place",
        B,
        "return z if in_place else a",
        "return z.clone() if in_place else a",
    ),
    ("in-place forms forget their input", B, "z.clone() if in_place else z", "z"),
    (
        "in-place keyword is overlooked",
        B,
        'bool(options.pop("inplace", False)) or func in _IN_PLACE',
        'bool(options.pop("inplace", False)) and func in _IN_PLACE',
    ),
    ("clamp at any minimum is a ReLU", B, " or min != 0 or", " or"),
    (
        "a clamp's bound is forgotten",
        B,
        "upper = math.inf if max is None else float(max)",
        "upper = math.inf",
    ),
    (
        "clamp_min is not seen",
        B,
        "torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_,",
        "",
    ),
    (
        "a smooth net is given the plain gradient",
        B,
        "if engine.activation and not engine.activations:",
        "if False:",
    ),
    ("compiled modules are let through", B, ' or hasattr(module, "_orig_mod")', ""),
    ("an outer engine sees what the inner one leaves", B, " and _INNERMOST.get() is self:", ":"),
    ("delete takes the threshold too", M, "(maps > _thresholds(", "(maps >= _thresholds("),
    ("curves take the threshold too", M, "(scores > threshold[", "(scores >= threshold["),
    ("delete forgets that zeros stay", M, " & (maps != 0)", ""),
    ("curves forget that zeros stay", M, " & (scores != 0)", ""),
    ("least important first", M, "axis=1)).flip(1)", "axis=1))"),
    (
        "least important first in half precision",
        M,
        "ordered.sort(1, descending=True)",
        "ordered.sort(1, descending=False)",
    ),
    ("rank rounded down", M, "round(float(p) * pixels)", "int(float(p) * pixels)"),
    ("rank rounded half up", M, "round(float(p) * pixels)", "int(float(p) * pixels + .5)"),
    (
        "fraction 1 spares the last pixel",
        M,
        "ordered[:, rank] if rank < pixels else lowest",
        "ordered[:, min(rank, pixels - 1)]",
    ),
    (
        "delete normalises first",
        M,
        "chosen = (maps > _thresholds(",
        "maps = maps - maps.amin((1, 2), keepdim=True)\n    chosen = (maps > _thresholds(",
    ),
    (
        "curves normalise first",
        M,
        "torch.channels_last), maps[place]",
        "torch.channels_last), (maps - maps.amin((1, 2), keepdim=True))[place]",
    ),
    (
        "the first map for every image",
        M,
        "torch.channels_last), maps[place]",
        "torch.channels_last), maps[:1].expand_as(maps)[place]",
    ),
    ("white for black", M, "fill.reshape(1, -1, 1, 1)", "1 - fill.reshape(1, -1, 1, 1)"),
    ("fill in BGR", M, "fill.reshape(1, -1, 1, 1)", "fill.reshape(1, -1, 1, 1).flip(1)"),
    ("insertion deletes", M, "~chosen if insert else chosen", "chosen"),
    (
        "insertion and deletion swapped",
        M,
        "~chosen if insert else chosen",
        "chosen if insert else ~chosen",
    ),
    ("insertion starts from the image", M, "-1 if insert else 0", "0"),
    ("a lone new pixel is overlooked", M, "grown = count > before", "grown = count > before + 1"),
    (
        "strength is ignored",
        M,
        "fill if strength == 1 else images + strength * (fill - images)",
        "fill",
    ),
    ("allegiance to the first fraction", M, "== original.argmax(1)", "== altered[0].argmax(1)"),
    (
        "score of the present prediction",
        M,
        "original.argmax(1).expand(len(altered), -1)[..., None]",
        "altered.argmax(2)[..., None]",
    ),
    ("softmax missing", M, "altered.softmax(2).gather", "altered.gather"),
    ("softmax over the images", M, "altered.softmax(2)", "altered.softmax(1)"),
    (
        "auc without its first interval",
        M,
        "torch.trapezoid(values, torch.as_tensor(fractions,",
        "torch.trapezoid(values[1:], torch.as_tensor(fractions[1:],",
    ),
    (
        "auc divided by its span",
        M,
        "device=values.device), dim=0)",
        "device=values.device), dim=0) / (fractions[-1] - fractions[0])",
    ),
    ("fractions up to 1", M, ".7, .8, .9)", ".7, .8, .9, 1)"),
    ("90 % interval", M, "counts.sum(), [.025, .975]", "counts.sum(), [.05, .95]"),
    ("total variation down alone", M, " + maps.diff(dim=2).abs().sum((1, 2))", ""),
    ("total variation of signed steps", M, "maps.diff(dim=1).abs()", "maps.diff(dim=1)"),
    ("attribution inside the mask", M, "(size * ~masks)", "(size * masks)"),
    ("attribution outside with its sign", M, "size = maps.abs()", "size = maps"),
    (
        "share of the outside over the inside",
        M,
        "whole = size.sum((1, 2))",
        "whole = (size * masks).sum((1, 2))",
    ),
    (
        "ROAR keeps and KAR removes",
        M,
        "_blend(images, chosen, fill, keep, 1.0)",
        "_blend(images, chosen, fill, not keep, 1.0)",
    ),
    (
        "ROAR removes the least important",
        M,
        ".flatten(1).argsort(1, descending=True)",
        ".flatten(1).argsort(1)",
    ),
    ("ties fall in order", M, "(maps + 1e-4 * noise)", "maps"),
    (
        "ties fall alike in every picture",
        M,
        "torch.randn(maps.shape, generator=generator, device=generator.device)",
        "torch.randn(maps.shape[1:], generator=generator, device=generator.device)",
    ),
    ("the noise drowns the map", M, "1e-4 * noise", "noise"),
    (
        "count rounded down",
        M,
        "round(float(fraction) * order.shape[1])",
        "int(float(fraction) * order.shape[1] * (1 - 1e-9))",
    ),
    (
        "the median's interval is one rank short",
        M,
        "ordered[min(high, len(ordered) - 1)]",
        "ordered[max(high - 1, 0)]",
    ),
    (
        "columns are resampled apart",
        M,
        "statistic(*(a[..., index[a.shape[-1]]] for a in arrays))",
        "statistic(*(a[..., rng.integers(a.shape[-1], size=a.shape[-1])] for a in arrays))",
    ),
    ("a baseline keeps its lowest", N, "flat.quantile(.95", "flat.quantile(.05"),
    ("zero below, whatever the percentile", N, "torch.where(low > 0, 0, low)", "0"),
    ("RectGrad keeps its negative part", N, "return found.clamp(min=0)", "return found"),
    (
        "as many as are positive elsewhere",
        N,
        'keep = (found["rectgrad"] > 0)',
        "keep = (found[methods[-1]] > 0)",
    ),
    (
        "as many as are not zero",
        N,
        'keep = (found["rectgrad"] > 0)',
        'keep = (found["rectgrad"] != 0)',
    ),
    ("one pixel too many", N, "ranks < keep[:, None]", "ranks <= keep[:, None]"),
    ("the whole patch is the corner", N, "CORNER = 8", "CORNER = 10"),
    (
        "the corner with its sign",
        N,
        "found[:, :CORNER, :CORNER].abs()",
        "found[:, :CORNER, :CORNER]",
    ),
    ("RectGrad with its final threshold", N, '{"final_threshold": False, **options}', "options"),
    (
        "stored maps of any weights",
        N,
        '{**who.identity, "method": method}',
        '{"dataset": who.pictures.name, "data": who.pictures.fingerprint, "method": method}',
    ),
    ("the first picture's piece for all", N, "slice(start, start + CHUNK)", "slice(0, CHUNK)"),
    ("masks by the nearest pixel", H, 'mode="area"', 'mode="nearest"'),
    ("a unit at 0 fires", H, "(found[k] > 0)", "(found[k] >= 0)"),
    (
        "the background is everywhere",
        H,
        "for w in (on, 1 - on))",
        "for w in (on, torch.ones_like(on)))",
    ),
    (
        "a class is its own rival in the margin",
        H,
        "logits.scatter(-1, index, -torch.inf).amax",
        "logits.amax",
    ),
    (
        "object and background swapped",
        H,
        '(on if region == "object" else ~on)',
        '(~on if region == "object" else on)',
    ),
    (
        "margins averaged as released",
        H,
        "margins[t] += _margin(out, who.pictures.labels) / orders",
        "margins[t] = _margin(logits[t], who.pictures.labels)",
    ),
    (
        "one order for all",
        H,
        "when = torch.rand(a.shape, generator=generator)",
        "when = torch.rand(a.shape, generator=torch.Generator().manual_seed(seed))",
    ),
    ("the tail begins at the activation before", H, "model[kinds[k] + 1:]", "model[kinds[k] - 1:]"),
    (
        "every activation is replaced",
        H,
        "a if index == k else out",
        "a if index >= k and a.shape == out.shape else out",
    ),
    ("the way starts a step late", H, "images * k / steps", "images * (k + 1) / steps"),
    (
        "noise by the range of all pictures",
        H,
        "(images.amax((1, 2, 3)) - images.amin((1, 2, 3)))[:, None",
        "(images.amax() - images.amin()).expand(len(images))[:, None",
    ),
    ("the attack lowers the loss", P, "images + eps *", "images - eps *"),
    ("the attack is not clamped", P, ".sign()).clamp(black, white)", ".sign())"),
    ("the attack by size", P, "[0].sign())", "[0])"),
    (
        "both maps for the first prediction",
        P,
        "channel_sums(who, method, attacked)",
        "channel_sums(who, method, attacked, who.model(images).argmax(1))",
    ),
    ("the second class is the first", P, "for k in (0, 1)]", "for k in (0, 0)]"),
    ("old weights are kept", P, "values.copy_(values.std() *", "values.add_(0 * values.std() *"),
    (
        "new weights about the old mean",
        P,
        "values.copy_(values.std() *",
        "values.copy_(values.mean() + values.std() *",
    ),
    ("biases stay", P, 'values.fill_(1.0 if name == "weight" else 0.0)', "pass"),
    ("from the input to the output", P, "is not None][::-1]", "is not None]"),
    ("one layer at a time stays redrawn", P, "module.load_state_dict(intact)", "pass"),
    ("each network predicts its own class", P, "(target_of or model)(images)", "model(images)"),
    ("the caller's network is redrawn", P, "copy.deepcopy(who.model)", "who.model"),
    (
        "maps with their sign in the sanity checks",
        P,
        "_sanity_maps(who, model, method, who.model, batch_size).abs()",
        "_sanity_maps(who, model, method, who.model, batch_size)",
    ),
    (
        "ratio of object over background",
        P,
        "enumerate((outside / inside)",
        "enumerate((inside / outside)",
    ),
    ("RectGrad's layers without the activation", P, "else a * passed).mean", "else passed).mean"),
    ("the ring's share without its area", P, " / ring.double().mean()", ""),
    (
        "the ring is the inside",
        P,
        "ring[width:-width, width:-width] = False",
        "ring[width:-width, width:-width] = False; ring = ~ring",
    ),
    (
        "tau before the percentile",
        P,
        "rules.percentile(score, q)",
        "rules.percentile(score, 100 - q)",
    ),
    (
        "the highest by the wrong end",
        P,
        ".topk(count).indices",
        ".topk(count, largest=False).indices",
    ),
    ("PRR fits anywhere", P, 'm != "rectgrad_prr" or engine.pools', "True"),
    (
        "a claim at its threshold holds",
        C,
        "(high < limit, low >= limit)",
        "(high <= limit, low > limit)",
    ),
    (
        "part of the interval is enough",
        C,
        "(low > limit, high <= limit)",
        "(high > limit, low <= limit)",
    ),
    (
        "networks that differ agree with the first",
        C,
        'verdicts.pop() if len(verdicts) == 1 else "depends" if verdicts else ""',
        'sorted(verdicts)[-1] if verdicts else ""',
    ),
    (
        "spread about the corner",
        C,
        "sum(second - first**2 for first, second in moments)",
        "sum(second for first, second in moments)",
    ),
    (
        "ROAR keeps what it should remove",
        R,
        'return ~first if mode == "kar" else first',
        'return first if mode == "kar" else ~first',
    ),
    (
        "the holes alone show the pictures",
        R,
        'if p["mode"] == HOLES else',
        'if p["mode"] == "none" else',
    ),
    ("a curve of the holes joins those of ROAR", T, ' if c["parameters"]["mode"] != HOLES]', "]"),
    (
        "the least important come first",
        R,
        "_places_of(-found.flatten(1))",
        "_places_of(found.flatten(1))",
    ),
    (
        "ranks without the noise that breaks ties",
        R,
        "found = found + 1e-4 * torch.randn(found.shape, generator=generator)",
        "pass",
    ),
    (
        "the test pictures keep their pixels",
        R,
        "stored_ranks)).to(_device())",
        "stored_ranks)).to(_device()) & (split == 'train')",
    ),
    ("pixels turn black", R, "to_range(channel_mean(", "to_range(0 * channel_mean("),
    (
        "equal values in any order",
        R,
        "argsort(dim=1, stable=True)",
        "flip(1).argsort(dim=1, stable=True)",
    ),
    ("the mean of ROAR's area alone", T, "sides.mean(axis=1, skipna=False)", "sides['roar']"),
    ("any cell of this key is a GPU's", T, 'if "NVIDIA" in c["provenance"]["machine"]', "if True"),
    ("the random baseline is the same for every seed", R, "return 2 * seed +", "return"),
    ("KAR's area lies under the curve", T, "1 - area for rule", "area for rule"),
    ("Holm without its factor", T, "(len(p) - k) * p[i]", "p[i]"),
    ("both tails keep one", X, "(score > high) | (score < low)", "score > high"),
    (
        "RectGrad's parts are multiplied by the input",
        X,
        '    return _part(*attribution.against_rivals(model, images, target, None, "RectGrad", engine), part)',
        '    return images * _part(*attribution.against_rivals(model, images, target, None, "RectGrad", engine), part)',
    ),
    (
        "the class is a rival of its own integrated gradients",
        X,
        "rival = (classes != target[:, None])",
        "rival = (classes != -1 - target[:, None])",
    ),
    ("shuffled maps stay where they were", X, "flat.gather(-1, places.expand_as(flat))", "flat"),
    (
        "Sign's metrics see the sum over channels",
        Y,
        'for paper in ("sign", "noise")',
        'for paper in ("noise", "noise")',
    ),
    ("insertion is deletion", Y, "batch_size(who), insert=True)", "batch_size(who))"),
    ("sanity leaves the weights", Y, "    probes.redraw_weights(", "    (lambda *_: None)("),
    (
        "pictures that no step changes count",
        Y,
        "found & (experiments.predictions(",
        "True & (experiments.predictions(",
    ),
    (
        "the random step is no part of a response",
        Y,
        '{"sanity": steady - torch',
        '{"sanity": -torch',
    ),
    ("held-out pictures are the same ones", Y, "skip=size * held_out", "skip=0"),
    (
        "a lower rank is worse",
        K,
        "_ranks(METRICS[metric].better * v, published)",
        "_ranks(-METRICS[metric].better * v, published)",
    ),
    (
        "controls move the ranks of methods",
        K,
        "if n in attribution.METHODS]\n        means, drawn = plain_means(values)",
        "]\n        means, drawn = plain_means(values)",
    ),
    (
        "correlations ignore which way is better",
        K,
        "METRICS[metric].better * plain_means(values), METRICS[metric].better * resampled_means(values, resamples, 0)",
        "plain_means(values), resampled_means(values, resamples, 0)",
    ),
    ("a new method need beat one parent", K, '"p": part["p"].max()', '"p": part["p"].min()'),
    (
        "pictures that fail are those that stay",
        K,
        "fails, stays = (weights * failed)[order], (weights * ~failed)[order]",
        "stays, fails = (weights * failed)[order], (weights * ~failed)[order]",
    ),
    (
        "the final threshold keeps a pixel more",
        R,
        "count - math.ceil(.95 * (count - 1))",
        "count - math.floor(.95 * (count - 1))",
    ),
    (
        "below the final threshold pixels keep their order",
        R,
        "kept + torch.rand(part.shape, generator=generator)",
        "part",
    ),
    ("right and wrong change places", R, "right[explained].mean()", "right[~explained].mean()"),
    (
        "each method draws its own seeds",
        K,
        "picked[len(one)]",
        "rng.integers(len(one), size=(len(one), resamples))",
    ),
    (
        "permutations on one side",
        K,
        "np.abs(a[_orders(len(a))] @ b) >= abs(a @ b) - 1e-9",
        "a[_orders(len(a))] @ b >= a @ b - 1e-9",
    ),
    (
        "pictures that were wrong from the start count",
        K,
        "after[n][:, k].all(0) & whole",
        "after[n][:, k].all(0)",
    ),
    (
        "retrained networks are read as if tested on all",
        Y,
        "one.index if tested is None else torch.searchsorted(tested, one.index)",
        "one.index",
    ),
    (
        "features keep their length",
        Y,
        "normalize(torch.cat([features(",
        "(lambda x, dim: x)(torch.cat([features(",
    ),
    (
        "held-out pictures are read as well",
        Y,
        "if where(c) in with_controls else ()",
        "if True else ()",
    ),
    (
        "a few pictures are the first ones",
        Y,
        "who.pictures.sample(few)",
        "who.pictures.take(slice(0, few))",
    ),
)


def run(scratch: Path, arguments: tuple[str, ...]) -> int:
    """Exit code of pytest in the scratch copy: 0 all passed, 1 a test failed; anything else is an error of the run."""
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
    if (
        result.returncode not in (0, 1) or " error" in (result.stdout.splitlines() or [""])[-1]
    ):  # "1 error in 2.1s": not even run
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
    found = subprocess.run(
        [sys.executable, "-c", "import lib; print(lib.__file__)"],
        cwd=target,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if Path(found).resolve().parent != (target / "lib").resolve():
        sys.exit(
            f"the scratch copy would test {found}, not its own lib; remove the installed copy."
        )
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nbval", action="store_true", help="also run the notebooks under each mutation"
    )
    parser.add_argument(
        "--only", default="", help="only the mutations whose name or file contains this"
    )
    options = parser.parse_args()
    chosen = [
        mutation
        for mutation in MUTATIONS
        if options.only in mutation[0] or options.only in mutation[1]
    ]
    for name, file, old, _ in chosen:
        if (count := (ROOT / file).read_text().count(old)) != 1:
            sys.exit(
                f"mutation {name!r}: {old!r} occurs {count} times in {file}; it must occur once. Bring the table in tests/mutate.py up to date."
            )
    nbval = options.nbval and any((ROOT / "notebooks").glob("*.ipynb"))
    if options.nbval and not nbval:
        print("no notebooks here yet: nbval is left out.")
    pytest = {file: ("-x", "-q", *TESTS[file]) for file in {mutation[1] for mutation in chosen}}
    with tempfile.TemporaryDirectory(prefix="mutate_") as folder:
        control = copy(Path(folder) / "control")
        if (
            run(
                control,
                ("-x", "-q", *sorted({file for tests in pytest.values() for file in tests[2:]})),
            )
            or nbval
            and run(control, NBVAL)
        ):
            sys.exit("the unmutated copy does not pass; nothing can be learnt from mutations.")
        print("unmutated copy: passes", flush=True)
        scratch, rows, mark = (
            control.rename(Path(folder) / "mutated"),
            [],
            {0: "MISSED", 1: "caught", None: "-"},
        )
        width = max(len(name) for name, *_ in chosen)
        print(f"{'mutation':{width}}  {'file':18}  pytest  nbval")
        for name, file, old, new in chosen:
            path, text = scratch / file, (ROOT / file).read_text()
            path.write_text(text.replace(old, new))
            rows.append((run(scratch, pytest[file]), run(scratch, NBVAL) if nbval else None))
            path.write_text(text)
            print(
                f"{name:{width}}  {file:18}  {mark[rows[-1][0]]}  {mark[rows[-1][1]]}", flush=True
            )
    caught = [sum(code == 1 for code in column) for column in zip(*rows)]
    print(
        f"{caught[0]} of {len(rows)} caught by pytest"
        + (f", {caught[1]} by nbval" if nbval else "")
    )
    return int(caught[0] < len(rows))


if __name__ == "__main__":
    sys.exit(main())
