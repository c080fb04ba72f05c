"""One name, one value: where two pages give a number of the same thing, it is the same number.

Every number that is read gets the name of what it is a number of, such as "ResNet-18, CIFAR-10:
accuracy". Two values under one name contradict each other, unless one is the other rounded.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from functools import cache, partial
from itertools import chain, combinations
from pathlib import Path

import pandas as pd
import pytest

from book import front, pages
from lib.attribution import METHODS
from study.account import claims, scoreboard, verdicts
from study.experiments import ranking

ROOT = Path(__file__).resolve().parents[2]
NUMBER = r"([-+]?\d[\d,]*\.?\d*%?)"
CHIP = r'<span class="verdict [\w-]+">([\w ]+)</span>'
NOISE, SQUEEZE = "Noise CNN, CIFAR-10", "SqueezeNet 1.1, Imagenette"
MASKED = "Noise CNN, CIFAR-10 with masks"
SIGNED = ("original", "positive", "negative", "active", "inactive")
METRICS = {
    "Deletion and insertion": ("black deletion", "white deletion")
    + ("black insertion", "white insertion"),
    "Where a map lies": ("in the patch", "off the object", "total variation"),
    "Retraining": ("ROAR", "KAR"),
    "What a map responds to": ("sanity", "other class"),
}

Read = tuple[str, str, str]  # name, value as it is written, where


# ---- the tables: label or heading -> column -> the names of its numbers, in their order, between
# bars; a cell of the row stands in braces, and a number without a name is passed over


def _spread(share: str, network: str) -> dict[str, str]:
    """A share of the map as chapter 6 shows it: median, its interval, mean."""
    name = f"{network}, {{method}}: {share}"
    return {
        treatment: f"{name}, {treatment}, median||| {name}, {treatment}, mean"
        for treatment in ("as they are", "released thresholds", "equal sparsity")
    }


def _areas(*columns: str) -> dict[str, str]:
    return {column: f"{{network and fill}}: area of {column}" for column in columns}


def _retrained(rule: str) -> dict[str, str]:
    return {
        f"{mode}, {rule}": f"{{method}}, {mode}: area | {{method}}, {mode}: less random"
        for mode in METRICS["Retraining"]
    }


def _synthesis() -> dict[str, dict[str, str]]:
    """Chapter 8 shows values and, under the same headings again, places."""
    return {
        f"{kind}: {network}{again}": {
            metric: f"{network}, {{method}}, {metric}: {what}"
            for metric in metrics
            if network == NOISE or metric not in ("in the patch", "off the object")
        }
        for kind, metrics in METRICS.items()
        for network in (NOISE, SQUEEZE)
        for again, what in (("", "value"), (" (again)", "place"))
        if network == NOISE or kind != "Retraining"
    }


def _scored(paper: str, table: str) -> dict[str, str]:
    return {
        "Here": f"{{Network}}, {table}, {{Row}}: reproduced",
        "Verdict": f"{{Network}}, {table}, {{Row}}: verdict",
    }


PRINTED = {"reproduced": "{number}: reproduced", "verdict": "{number}: verdict"}
STAND_INS = {
    f"{network} pretrained, here": f"{network}, Imagenette, {{number}}: reproduced"
    for network in ("SqueezeNet 1.1", "EfficientNet-Lite0")
}
SHARES = {
    "in the positive map": "{network}: pixels in positive",
    "in the negative map": "{network}: pixels in negative",
    "in both": "{network}: pixels in both",
    "total carried by positive": "{network}: total carried by positive",
}
KEPT = {name: f"{{network}}: pixels in {name}" for name in SIGNED}
READINGS = {
    "as printed": "{network and map}: area as printed",
    "as released": "{network and map}: area as released",
    "rank correlation": "{network and map}: rank correlation of both readings",
}
TABLES = {
    "tab-data-accuracy": {
        "test": "{network}: accuracy",
        "pictures trained on": "{network}: accuracy in training",
    },
    "tab-data-statistics": {"as trained": "{network}: accuracy"},
    "tab-data-printed": PRINTED,
    "tab-data-pretrained": STAND_INS,
    "tab-sign-shares": SHARES,
    "tab-sign-shares-all": SHARES,
    "tab-sign-object": {"positive on the object": "object {object}: positive gradient"},
    "tab-multiclass-kept": KEPT,
    "tab-multiclass-kept-all": KEPT,
    "tab-multiclass-flat": {"pixels kept": "{network and map}: pixels"},
    "tab-multiclass-printed": READINGS,
    "tab-multiclass-readings": READINGS,
    "tab-noise-accuracy": {
        "accuracy": "Noise CNN, CIFAR-10 {trained and tested on pictures}: accuracy"
    },
    "tab-noise-printed": {c: f"{{network}}, {name}" for c, name in PRINTED.items()},
    "tab-noise-exchange": {"share": "{quantity}: share"},
    "tab-noise-cause": {"rank correlation": "claim noise-firing-explains-noise, {network}"},
    "tab-noise-rivals": {"median": "{quantity}", "predictions kept": "{quantity}: predictions"},
    "tab-rectgrad-thresholds": {"rank correlation with q = 20": "{network}: q = 20 and {q}"},
    "tab-rectgrad-listening": {
        "attacked, prediction changed": "{method}: likeness, attacked, changed",
        "attacked, prediction kept": "{method}: likeness, attacked, kept",
        "output layer redrawn": "{method}: likeness, output redrawn",
    },
    "tab-rectgrad-attack": {"mean": "{method}: likeness, attacked, {prediction}"},
    "tab-rectgrad-sanity": {
        "output redrawn": "{method}: likeness, output redrawn",
        "empty at most": "{method}: empty maps",
    },
    "tab-rectgrad-rules": {"on the object": "{map}: share on the object, median"},
    "tab-rectgrad-product": {"on the object": "{RectGrad with}: share on the object, mean"},
    "tab-rectgrad-prr": {"roughness with PRR over without": "claim noise-prr-smoother, {network}"},
    "tab-rectgrad-padding": {"attribution in the ring": "border, {padding trick}, {network}"},
    "tab-deletion-areas": _areas("original", "positive or negative", "active or inactive"),
    "tab-deletion-all-areas": _areas(*SIGNED),
    "tab-deletion-printed": PRINTED,
    "tab-deletion-pretrained": STAND_INS,
    "tab-clean-quantities": {
        "background": f"{MASKED}, {{method}}: share outside, equal sparsity, mean",
        "patch (mean)": f"{NOISE}, {{method}}: share in the patch, equal sparsity, mean",
        "patch (median)": f"{NOISE}, {{method}}: share in the patch, equal sparsity, median",
    },
    "tab-clean-patch-share": _spread("share in the patch", NOISE),
    "tab-clean-outside-share": _spread("share outside", MASKED),
    "tab-clean-control": {
        column: f"{{network}}, {column.capitalize()}: share outside, {{treatment}}, mean"
        for column in ("RectGrad", "RectGrad PRR", "edge detector")
    },
    "tab-clean-kept": {"released thresholds": "{method}: pixels under released thresholds"},
    "tab-roar-areas": _retrained("span"),
    "tab-roar-protocols": _retrained("full"),
    "tab-roar-levels": {"printed": "{area}: printed", "as released": "{area}: area"},
    "tab-roar-printed": {
        "printed": "{area}: printed less random",
        "as released": "{area}: less random",
        "its verdict": "{area}: verdict",
    },
    "tab-roar-sides": {
        f"KAR at 0.1, {s}": f"{{method}}: {s}" for s in ("where right", "where wrong")
    },
    "tab-ladder-legible": {"area": "{method}, {mode}: area"},
    "tab-ladder-turns": {"correlation with the step before": "turn to {to}"},
    "tab-ladder-shock": {
        "as it is": "{removed} removed: accuracy as it is",
        "retrained": "{removed} removed: accuracy retrained",
        "failing moved farther": "{removed} removed: failing moved farther",
    },
    "tab-ladder-sparsity": {"no better than shuffled": "{metric}: no better than shuffled"},
    "tab-synthesis-controls": {
        f"random ({network})": f"{network}, {{metric}}: ahead of random"
        for network in (NOISE, SQUEEZE)
    },
    NOISE: {"correlation": "{metrics}: rank correlation of areas"},
    **_synthesis(),
    "Rankings": {m: f"{NOISE}, {{Method}}, {m}: place" for of in METRICS.values() for m in of},
    **{f"Paper Sign, Table {k}": _scored("Sign", f"Table {k}") for k in (1, 2, 3)},
    "Paper Noise, Appendix F": _scored("Noise", "Appendix F"),
    "Paper Noise, Table 1": {
        "printed": "{row}: printed | {row}: printed less random",
        "released code: whole maps": "{row}: area | {row}: less random",
        "its verdict": "{row}: verdict",
    },
    "The scoreboard": {
        "Numbers": "{Printed in}: numbers",
        "Agree": "{Printed in}: agree",
        "Do not": "{Printed in}: do not",
        "Need a download": "{Printed in}: need a download",
    },
    "Did the papers hold?": {
        "Printed numbers": "paper {Paper}: numbers",
        "judged": "paper {Paper}: agree | paper {Paper}: do not | Table 1 as released: agree",
        "Claims in words": "paper {Paper}: claims: holds || paper {Paper}: claims: does not hold",
        "not measured": "paper {Paper}: claims: not measured",
    },
}

# ---- the sentences: the name of a number in its place, in angle brackets; words that differ, in
# braces, may be part of a name; three dots are anything up to there

SENTENCES = [
    "the networks classify <{least}: accuracy> ({least}) to <{most}: accuracy> ({most}) correctly",
    "positive for <object lighter than its background: positive gradient> where they are lighter "
    "and <object darker than its background: positive gradient> where darker",
    "nothing holds <absolute saliency in the corner: share> of the absolute saliency",
    "on object and background differ by at most <claim noise-firing-alike, MASKED> (",
    "surely brighter in ... cases. MASKED: rank correlation "
    "<claim noise-firing-explains-noise, MASKED> (n = ",
    "noise of 5% of the range leaves a cosine of <cosine of gradients, noise 5%> between",
    "RectGrad puts <PR1: share on the object, median> of its attribution on the object, saliency "
    "<Saliency map: share on the object, median> (medians);",
    "object lie <× picture, grey at 0: share on the object, mean> of the attribution with it and "
    "<no product: share on the object, mean> without",
    "maps at q = 20 and 80 have rank correlation <{net}: q = 20 and 80>; at 98, "
    "<{net}: q = 20 and 98> ({net}, n = ",
    "- {net}: beside the map at q = 20, rank correlations of <{net}: q = 20 and 40> at 40, "
    "<{net}: q = 20 and 80> at 80, <{net}: q = 20 and 98> at 98",
    "map keeps a rank correlation of <RectGrad: likeness, output redrawn> with the intact one, "
    "saliency's <Saliency map: likeness, output redrawn> (",
    "absolute map keeps a rank correlation of <RectGrad: likeness, output redrawn> with itself; "
    "the saliency map keeps <Saliency map: likeness, output redrawn>. ",
    "rank correlation <RectGrad: likeness, output redrawn> after the output layer is redrawn",
    "Up to <RectGrad: empty maps> of RectGrad's maps become empty",
    "<Tables 2 and 3: agree> of <Tables 2 and 3: judged> printed areas agree",
    "a signed map surely beats the original in <signed ahead> of <signed: cases> cases",
    "over the whole curve in <signed ahead> of <signed: cases>.",
    "The background holds <MASKED, RectGrad: share outside, equal sparsity, mean> of RectGrad's "
    "attribution (best older method ..., edge detector "
    "<MASKED, Edge detector: share outside, equal sparsity, mean>,",
    "nothing, {method} has least by means "
    "(<NOISE, {method}: share in the patch, equal sparsity, mean>), "
    "but {other} by medians (<NOISE, {other}: share in the patch, equal sparsity, median>;",
    "At equal sparsity <MASKED, RectGrad: share outside, equal sparsity, mean> of its map lies on "
    "the background, of the next best ({next}) "
    "<MASKED, {next}: share outside, equal sparsity, mean>, of",
    "<MASKED, RectGrad: share outside, equal sparsity, mean> and "
    "<MASKED, RectGrad PRR: share outside, equal sparsity, mean> of the map on the background at",
    "of whole maps <MASKED, Edge detector: share outside, as they are, mean> of an edge "
    "detector's, which sees no network, lie there, of the saliency map's "
    "<MASKED, Saliency map: share outside, as they are, mean>;",
    "sparsity <MASKED, Saliency map: share outside, equal sparsity, mean> of the saliency map lies "
    "on the background, of RectGrad's <MASKED, RectGrad: share outside, equal sparsity, mean> ",
    "RectGrad keeps <RectGrad: pixels under released thresholds> of the pixels, its variant PRR "
    "<RectGrad PRR: pixels under released thresholds>; the released threshold leaves an older "
    "method <Saliency map: pixels under released thresholds>.",
    "RectGrad PRR: half the pictures have at most "
    "<NOISE, RectGrad PRR: share in the patch, equal sparsity, median> of it in the patch, ...; "
    "mean <NOISE, RectGrad PRR: share in the patch, equal sparsity, mean>.\n",
    "beyond the 95 % interval: <NOISE, ROAR: ahead of random> of <retrained methods> in ROAR and "
    "<NOISE, KAR: ahead of random> of <retrained methods> in KAR",
    # chapter 7 ranks by the difference from random pixels of the same seeds, chapter 8 by areas
    "RectGrad has place <RectGrad: place less random, ROAR> of <retrained methods> in ROAR",
    "pixels, kept by {method}, networks are right on <{method}: where right> where the explained "
    "one is, on <{method}: where wrong> elsewhere",
    "{mode}: of these <retrained methods> maps {method} has the lowest area less random's, "
    "<{method}, {mode}: less random>",
    "The explained network: <NOISE: accuracy>, and <NOISE: accuracy in training> of its training",
    "released code, <Table 1 as released: agree> of <Table 1 as released: judged> differences",
    "read as the released code does, <Table 1 as released: agree> of <Table 1 as released: judged>",
    "{mode}, the released code: whole maps ({epochs} epochs): ... less the lowest other: "
    "<claim noise-{mode}-best, NOISE, {epochs} epochs>,",
    "{net}: <{net}: metrics> metrics have <{net}: winners> different winners among "
    "<published methods> published methods",
    "<NOISE, black deletion: ahead of random> of <published methods> under black deletion, "
    "<NOISE, white deletion: ahead of random> of <published methods> under white deletion and "
    "<NOISE, ROAR: ahead of random> of <retrained methods> under ROAR",
    "Only <NOISE, black deletion: ahead of random> of <published methods> methods beat random",
    "black and white: <NOISE, black deletion: ahead of random> of <published methods> and "
    "<NOISE, white deletion: ahead of random> of <published methods> (NOISE), "
    "<SQUEEZE, black deletion: ahead of random> of <published methods> and "
    "<SQUEEZE, white deletion: ahead of random> of <published methods> (SQUEEZE)",
    "under “black deletion” <NOISE, black deletion: ahead of random> of <published methods> "
    "(NOISE) and <SQUEEZE, black deletion: ahead of random> of <published methods> (SQUEEZE)",
    "new output weights: {a} (<NOISE, {a}, sanity: value>) and {b} (<NOISE, {b}, sanity: value>), "
    "RectGrad at place <NOISE, RectGrad, sanity: place> (<NOISE, RectGrad, sanity: value>)",
    "leave an area of <NOISE, Positive, black deletion: value> under the curve of unchanged "
    "predictions; in the order of the whole gradient "
    "<NOISE, Saliency map, black deletion: value>, at random "
    "<NOISE, Random, black deletion: value> (NOISE, n = ",
    "areas <NOISE, Positive, black deletion: value> and <NOISE, Negative, white deletion: value>; "
    "random pixels <NOISE, Random, black deletion: value> and "
    "<NOISE, Random, white deletion: value> ",
    "under white the same map leaves <NOISE, Positive, white deletion: value>. ",
    "with the colours exchanged <NOISE, Positive, white deletion: value> and "
    "<NOISE, Negative, black deletion: value>:",
    "to audit a network, {best}.** Of <published methods> methods it responds most to new output "
    "weights, signs included: <NOISE, {best}, sanity: value> on a scale where 0 is no response and "
    "1 a map of which nothing stays (NOISE; "
    "<SQUEEZE, {best}, sanity: value> on SQUEEZE)",
    "<trials won> of <trials> trials are won",
    "In <trials won> of <trials> trials a cross is ahead",
    "Black deletion and ROAR order <retrained methods> methods and random pixels with a rank "
    "correlation of "
    "<turn to first to last> (",
    "<turn to first to last, methods alone> without the controls, as the claim asks",
    "the step that retrains has <turn to retrained (ROAR)>",
    "Over <retrained methods> methods and random pixels, how far",
    "turns most from “{from}” to “{to}”: rank correlation <turn to {to}>,",
    "At {share} removed the network as it is gets <{share} removed: accuracy as it is> right, "
    "retrained ones <{share} removed: accuracy retrained> (mean over",
    "on which it fails has moved farther with probability <50% removed: failing moved farther> (",
    "{mode}, <retrained methods> methods: accuracy where the explained network is wrong (mean over "
    "shares) and the area correlate by <{mode}: area and accuracy where wrong> (",
    "same maps shuffled: black deletion <black deletion: no better than shuffled> of "
    "<published methods>, white deletion <white deletion: no better than shuffled> of ",
    "The two papers print <both papers: numbers> numbers in their tables, ... are computed here: "
    "<both papers: agree> agree with ours, <both papers: do not> do not",
    "<both papers: need a download> numbers of *Sign* need weights",
    "sentences make <both papers: claims> claims: holds <both papers: claims: holds>, does not "
    "hold <both papers: claims: does not hold>, mixed <both papers: claims: mixed>, inconclusive "
    "<both papers: claims: inconclusive>.",
    "the scoreboard says so in <both papers: need a download> rows",
    "the signed maps, <baselines> baselines, and the metrics",
    "and drop the <grey pictures of Imagenette> grey ones",
    "JPEG once more; the <grey pictures of Imagenette> grey ones",
    "ResNet-18 had <epochs of ResNet-18 on Imagenette> epochs on Imagenette",
    "ResNet-18 on Imagenette had <epochs of ResNet-18 on Imagenette> epochs",
    "ResNet-18 on Imagenette was trained for <epochs of ResNet-18 on Imagenette> epochs",
]

SPELLED = {"eight": "8", "fourteen": "14"}

# ---- other words for the same thing

SAME = [
    (", 20 epochs$", ""),  # numbers of other trainings have their own names
    (r"^CIFAR-10 CNN, ", "Sign CNN, CIFAR-10, "),
    (r"^(CIFAR-10|Imagenette) ResNet-18, ", r"ResNet-18, \1, "),
    (r"^Imagenette CNN, ", "Sign CNN, Imagenette, "),
    (r"^CIFAR-10, paper Noise, ", f"{NOISE}, "),
    (r"^(Noise CNN, CIFAR-10) plain:", r"\1:"),
    (r"^(Noise CNN, CIFAR-10) with the patch:", r"\1 with patch:"),
    (r"black: area of positive or negative$", "black: area of positive"),
    (r"white: area of positive or negative$", "white: area of negative"),
    (r"black: area of active or inactive$", "black: area of active"),
    (r"white: area of active or inactive$", "white: area of inactive"),
    (r"^(.+), (\w+), (?:black|white): pixels$", r"\1: pixels in \2"),
    (rf"^{NOISE}, ([^:]+, (?:ROAR|KAR)): value$", r"\1: area"),
    (r", Rectgrad( prr)?:", lambda found: f", RectGrad{(found[1] or '').upper()}:"),
    (
        r"^absolute saliency in the corner: share$",
        f"{NOISE}, Saliency map: share in the patch, as they are, mean",
    ),
    # claims that a chapter's table or sentence measures, too
    (r"^predictions that stay .*: share$", f"claim noise-patch-untruthful, {NOISE} with patch"),
    (r"^(.+), RectGrad: share outside, as they are, median$", r"claim noise-background-clean, \1"),
    (r"^(.+): q = 20 and 80$", r"claim noise-q20-to-q80-unchanged, \1"),
    (r"^border, off, ", "claim noise-border-outliers, "),
    (r"^claim noise-(ROAR|KAR)-best, ", lambda found: f"claim noise-{found[1].lower()}-best, "),
    (r"^claim noise-kar-largely, ", "claim noise-kar-best, "),
    (r"^RectGrad, ROAR: less random$", f"claim noise-roar-beats-random, {NOISE}"),
    (r"^black deletion, ROAR: rank correlation.*", f"claim sign-retraining-misleads, {NOISE}"),
    (r"^turn to first to last, methods alone$", f"claim sign-retraining-misleads, {NOISE}"),
]
SEVERAL_SEEDS = ("Sign CNN, CIFAR-10", NOISE)  # a printed number stands beside their mean


def name_of(name: str) -> str:
    """The one name of what has several."""
    for pattern, replacement in SAME:
        name = re.sub(pattern, replacement, name)
    printed = re.fullmatch(r"(.+), (Table [123]|Appendix F), (\w+): reproduced", name)
    if printed is None or printed[1] in SEVERAL_SEEDS:
        return name
    network, table, row = printed.groups()
    if row == "Accuracy":
        return f"{network}: accuracy"
    return f"{network}, {'black' if table == 'Table 2' else 'white'}: area of {row.lower()}"


# ---- reading


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, str]:
    """What a reader sees of every page, by its name: prose pages filled, chapters with outputs."""
    folder = tmp_path_factory.mktemp("pages")
    for page in [*ROOT.glob("book/*.md"), ROOT / "README.md"]:
        (folder / page.name).write_text(page.read_text(encoding="utf8"), encoding="utf8")
    with pytest.MonkeyPatch.context() as patch:
        # fewer resamples move the ends of intervals alone, and these are not compared
        patch.setattr(ranking, "summary", partial(ranking.summary, resamples=2))
        patch.setattr(ranking, "between_kinds", partial(ranking.between_kinds, resamples=2))
        pages.fill(folder)
    front.places.cache_clear()
    front.between_kinds.cache_clear()
    texts = {page.name: page.read_text(encoding="utf8") for page in folder.glob("*.md")}
    return texts | {page.name: shown(page) for page in ROOT.glob("book/[0-9]*.ipynb")}


def shown(chapter: Path) -> str:
    """Prose and Markdown outputs of a chapter, in their order."""
    parts = []
    for cell in json.loads(chapter.read_text(encoding="utf8"))["cells"]:
        if cell["cell_type"] == "markdown":
            parts.append("".join(cell["source"]))
        outputs = [output.get("data", {}) for output in cell.get("outputs", [])]
        parts += ["".join(data.get("text/markdown", "")) for data in outputs]
    return "\n\n".join(parts)


def plain(cell: str) -> str:
    """A cell without tags, anchors, links and stars; "1.0 ± 0.1 %" as "1.0% ± 0.1%"."""
    text = re.sub(r"<[^>]*>|\[\]\{[^}]*\}|\*\*", "", cell).strip()
    text = re.sub(r"\[(.*?)\]\([^)]*\)", r"\1", text)
    return re.sub(r"^([\d.]+) ± ([\d.]+) %$", r"\1% ± \2%", text)


def rows(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Every row of every table of a page, with the table's label or what stands above it."""
    label, again, head, known = "", "", [], set()
    for line in text.splitlines():
        above = re.match(r":name: (\S+)|\*\*([^|]+?)\*\*$|##? (.+)", line)
        if above:
            label = next(filter(None, above.groups()))
        if not line.startswith("|"):
            head = []
            continue
        cells = [plain(cell) for cell in line[1:-1].split("|")]
        if not head:
            head, again = cells, " (again)" if (label, *cells) in known else ""
            known.add((label, *cells))
        elif not re.fullmatch(r"[|:-]+", line):
            yield label + again, dict(zip(head, cells, strict=True))


def in_tables(text: str) -> Iterator[tuple[tuple[str, str], str, str]]:
    """Label and column, name and value of every number and verdict that `TABLES` lists.

    A name goes on with the epochs of the training that a head names in brackets.
    """
    for label, row in rows(text):
        for wanted, names in TABLES.get(label, {}).items():
            # a head may go on in brackets: how many pictures, which interval
            column = next((c for c in row if c == wanted or c.startswith(f"{wanted} (")), "")
            values = re.findall(NUMBER, row.get(column, ""))
            epochs = re.search(r"\((\d+ epochs)\)", column)
            if names.endswith(": verdict"):
                values = re.findall(r"^[a-z ]*?agree", row.get(column, ""))
            for name, value in zip(names.split("|"), values, strict=False):
                if name.strip():
                    called = name.strip().format_map(row)
                    if epochs:
                        called = f"{called}, {epochs[1]}"
                    yield (label, wanted), called, value


@cache
def pattern_of(sentence: str) -> tuple[str, list[str], str]:
    """A sentence of `SENTENCES` as a pattern, the names of its numbers, and its longest stretch of
    words, without which it need not be looked for."""
    short = {"MASKED": MASKED, "NOISE": NOISE, "SQUEEZE": SQUEEZE}
    sentence = re.sub("|".join(short), lambda found: short[found[0]], sentence)
    parts = re.split(r"(<[^>]*>|\{\w+\}|\.\.\.)", sentence)
    pattern, names, words = "", [], set()
    for part in parts:
        if part.startswith("<"):
            names.append(part[1:-1])
            pattern += rf"(?P<number{len(names)}>{NUMBER[1:-1]})"
        elif part.startswith("{"):
            word = part[1:-1]
            pattern += f"(?P={word})" if word in words else rf"(?P<{word}>\w[\w.*%, -]*?)"
            words.add(word)
        else:
            pattern += ".*?" if part == "..." else re.escape(part)
    return pattern, names, max(parts[::2], key=len)


def in_sentences(text: str) -> Iterator[tuple[str, str, str]]:
    """Sentence, name and value of every number that `SENTENCES` lists."""
    text = re.sub(r"<[^>]*>|\\", "", text)
    text = re.sub(r"(?<!\n)\n(?![\n|-])", " ", text)  # a line that goes on
    text = re.sub(r"\b(eight|fourteen)\b", lambda found: SPELLED[found[1]], text)
    for sentence in SENTENCES:
        pattern, names, words = pattern_of(sentence)
        for found in re.finditer(pattern, text) if words in text else ():
            for k, name in enumerate(names, 1):
                yield sentence, name.format_map(found.groupdict()), found[f"number{k}"]


@cache
def claims_of_a_sentence() -> dict[str, list[str]]:
    """The claims that a sentence makes, in their order, by the first of them."""
    sentences = verdicts.sentences(pd.read_csv(claims.CSV))
    ids = [[claim["id"].iloc[0] for claim in sentence] for sentence in sentences]
    return {of[0]: of for of in ids}


def in_claims(text: str) -> Iterator[tuple[str, str]]:
    """The verdicts on claims, from chapters and from the page of claims, and what that page says
    was measured."""
    for line in filter(re.compile("#claim-").search, text.splitlines()):
        linked = re.search(r"^- .*\(claims\.md#claim-([\w-]+)\)", line)
        listed = re.findall(r"\[\]\{#claim-([\w-]+)\}", line)
        ids = claims_of_a_sentence()[linked[1]] if linked else listed
        for claim, verdict in zip(ids, re.findall(CHIP, line) if ids else [], strict=True):
            yield f"claim {claim}: verdict", verdict
        for claim, told in zip(listed, line.split("holds if the")[1:], strict=True):
            for network, value in re.findall(rf"<br>([^<:]+): {NUMBER} \(", told):
                yield f"claim {claim}, {network}", value


def counted(page: str, text: str) -> Iterator[tuple[str, str]]:
    """How many verdicts of each kind a page shows, to be set beside the numbers that pages tell."""
    if page == "claims.md":
        for paper, part in re.findall(r"## P(aper \w+)(.*?)(?=## Paper|\Z)", text, re.S):
            for verdict, number in Counter(re.findall(rf"\}}{CHIP}", part)).items():
                yield f"p{paper}: claims: {verdict}", str(number)
        chips = Counter(re.findall(rf"\}}{CHIP}", text))
        yield "both papers: claims", str(chips.total())
        yield from ((f"both papers: claims: {v}", str(number)) for v, number in chips.items())
    if page == "scoreboard.md":
        for paper in ("Sign", "Noise"):
            mine = [r for label, r in rows(text) if f"paper {paper}" in r.get("Printed in", "")]
            for column, said in (("Numbers", "numbers"), ("Agree", "agree"), ("Do not", "do not")):
                yield f"paper {paper}: {said}", str(sum(int(row[column]) for row in mine))
    if page.startswith("05_"):
        judged = [row["verdict"] for label, row in rows(text) if label == "tab-deletion-printed"]
        yield "Tables 2 and 3: agree", str(judged.count("agree"))
        yield "Tables 2 and 3: judged", str(len(judged))


def stored() -> Iterator[tuple[str, str]]:
    """What the tables of results say of claims and of printed numbers, and METHODS of baselines."""
    others = [m for m in METHODS if m not in SIGNED and not m.startswith("rectgrad")]
    yield "baselines", str(len(others))
    for r in pd.read_csv(claims.CSV).dropna(subset=["value"]).itertuples():
        yield f"claim {r.id}, {verdicts.network(r.id, r.network)}", f"{r.value:.6f}"
    for r in pd.read_csv(scoreboard.CSV).dropna(subset=["reproduced"]).itertuples():
        name = f"{verdicts.printed_network(r.column)}, {r.table}, {r.row}"
        yield f"{name}: reproduced", f"{r.reproduced:.6f}"
        yield f"{name}: verdict", r.verdict


def on_page(page: str, written: str) -> list[Read]:
    """Every number and verdict of one page: name, value, where it stands."""
    text = written.replace("−", "-")
    read = [(name, value, ", ".join(where)) for where, name, value in in_tables(text)]
    read += [(name, value, "a sentence") for _, name, value in in_sentences(text)]
    read += [(*found, "verdicts") for found in [*in_claims(text), *counted(page, text)]]
    return [(name_of(name), value, f"{page}, {where}") for name, value, where in read]


@pytest.fixture(scope="module")
def read(published) -> dict[str, list[Read]]:
    """`on_page` of every page, and what is stored."""
    of_results = [(name_of(name), value, "data/results") for name, value in stored()]
    pages_read = {page: on_page(page, text) for page, text in published.items()}
    return pages_read | {"data/results": of_results}


# ---- comparing


def alike(one: str, other: str) -> bool:
    """Are these the same, or is the one the other with fewer digits?"""
    if not re.fullmatch(NUMBER, one) or not re.fullmatch(NUMBER, other):
        return one == other
    (a, unit_a), (b, unit_b) = number(one), number(other)
    return a == b if unit_a == unit_b else abs(a - b) <= max(unit_a, unit_b) / 2


def number(text: str) -> tuple[Decimal, Decimal]:
    """A number and the worth of its last digit."""
    value = Decimal(text.replace(",", "").rstrip("%"))
    scale = Decimal("0.01") if text.endswith("%") else Decimal(1)
    return value * scale, scale.scaleb(value.as_tuple().exponent)


def contradictions(read: dict[str, list[Read]]) -> list[str]:
    """Each two values of one name that cannot be the same number, with where they stand."""
    values = defaultdict(lambda: defaultdict(set))  # name -> value -> where
    for name, value, where in chain.from_iterable(read.values()):
        values[name][value].add(where)
    return [
        f"{name}: {one} ({'; '.join(sorted(found[one]))}) and "
        f"{other} ({'; '.join(sorted(found[other]))})"
        for name, found in sorted(values.items())
        for one, other in combinations(sorted(found), 2)
        if not alike(one, other)
    ]


# ---- tests


def test_no_name_has_two_values(read):
    found = contradictions(read)
    assert not found, "\n".join(found)


def test_all_that_is_listed_is_read(published):
    """A column or a sentence that no page has any more would be compared with nothing."""
    texts = [text.replace("−", "-") for text in published.values()]
    listed = {(label, column) for label, of in TABLES.items() for column in of}
    assert listed - {where for text in texts for where, *_ in in_tables(text)} == set()
    assert set(SENTENCES) - {said for text in texts for said, *_ in in_sentences(text)} == set()


SPOILT = {
    "an area": (
        "05_deletion_benchmark.ipynb",
        r"\| Sign CNN, CIFAR-10, black \| # ± [^|]*\| [\d.]+ ±",
    ),
    "an accuracy": ("00_data_and_models.ipynb", r"\| ResNet-18, CIFAR-10 \| 10,000 \| #"),
    "a share in the patch": ("06_noise_benchmark.ipynb", r"has least by means \(#"),
    "a retrained area": ("07_roar_kar.ipynb", r"\| RectGrad \| # \("),
    "a difference from random": ("07_roar_kar.ipynb", r"\| SmoothGrad \| [\d.]+ \(# ±"),
    "a claim's value": ("claims.md", r"claim-noise-patch-untruthful.*with patch: #"),
    "a count of verdicts": ("index.md", r"\*\*Sign\*\*.*\| # of \d+ hold"),
    "a count in a sentence": ("08_synthesis.ipynb", r"Ahead of random pixels[^:]*: #"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_wrong_digit_on_one_page_is_found(published, read, what):
    page, place = SPOILT[what]
    text = published[page]
    found = re.search(place.replace("#", NUMBER), text)
    last = found.end(1) - 1 - found[1].endswith("%")
    wrong = text[:last] + str((int(text[last]) + 5) % 10) + text[last + 1 :]
    spoilt = contradictions(read | {page: on_page(page, wrong)})
    assert set(spoilt) - set(contradictions(read))


def test_a_wrong_verdict_on_one_page_is_found(published, read):
    page = "04_rectgrad.ipynb"
    wrong = published[page].replace('does-not-hold">does not hold<', 'holds">holds<', 1)
    spoilt = contradictions(read | {page: on_page(page, wrong)})
    assert len(set(spoilt) - set(contradictions(read))) == 1


def test_rounding_is_no_contradiction():
    assert alike("0.131", "0.13") and alike("0.4772", "47.7%") and alike("2,000", "2000")
    assert (
        not alike("0.131", "0.132") and not alike("0.136", "0.13") and not alike("holds", "mixed")
    )
