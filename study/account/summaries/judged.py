"""What the two papers print and claim beside what came out here, as tables for figures."""

from __future__ import annotations

import re

import pandas as pd

from study.account import claims as listed
from study.account import published, scoreboard, verdicts
from study.subjects.subject import Subject

# what a claim's condition is on, in plain words; data/claims.csv has the statistic
QUANTITIES = {
    "sign-black-faster": "area less the original map's, the worse of two maps",
    "sign-white-faster": "area less the original map's, the worse of two maps",
    "sign-flat-after-50": "share of predictions lost between 50 % and 90 % deleted",
    "sign-flat-after-80": "share of pixels that are not zero",
    "sign-positive-sometimes-better": "area less the active or inactive map's, the best case",
    "sign-train-similar": "difference of areas on training and test pictures, the largest",
    "sign-white-improves-positive": "rise of the logit, the smaller of two maps",
    "sign-black-harms-positive": "share of predictions kept, the larger of two maps",
    "sign-opposite-for-negative": "change of the logit the expected way, the least of four",
    "sign-active-step-further": "probability gained beyond the simpler map, the smaller of two",
    "sign-less-noise": "total variation over the original map's, the largest of four maps",
    "sign-shape-more-defined": "share on the object less the original map's, the least of four",
    "sign-retraining-misleads": "rank correlation of ROAR and black deletion over methods",
    "noise-patch-accuracy": "accuracy lost with the patch",
    "noise-patch-saliency-nonzero": "share of pictures with saliency in the corner",
    "noise-patch-untruthful": "share of predictions that stay under a fresh patch",
    "noise-object-larger-impact": "margin that the object costs more, the least of four layers",
    "noise-firing-alike": "difference of the firing rates, the largest of four layers",
    "noise-propagates-irrelevant": "firing rate in the patch over that elsewhere",
    "noise-firing-explains-noise": "rank correlation of background firing and brightness",
    "noise-q20-improves": "roughness at q = 0 over that at q = 20",
    "noise-q20-to-q80-unchanged": "rank correlation of the maps at q = 20 and q = 80",
    "noise-scores-mostly-zero": "share of units at 0, the least of the layers",
    "noise-high-regions-stay": "share of the strongest 5 % at q = 20 still there at q = 95",
    "noise-more-focused": "spread about the map's centre less the best older method's",
    "noise-background-clean": "RectGrad's share on the background",
    "noise-threshold-cannot-replicate": "share on the object less the best older method's",
    "noise-grows-exponentially": "growth of background over object at a layer, the least",
    "noise-rectgrad-stops-accumulation": "growth of background over object less saliency's",
    "noise-only-rectgrad-follows-class": "gap between kept and changed predictions less the "
    "largest of older methods",
    "noise-equally-class-sensitive": "rank correlation across the attack less the least of older "
    "methods",
    "noise-overcomes-insensitivity": "rank correlation of two classes' maps less guided "
    "backpropagation's",
    "noise-prr-least-in-patch": "attribution in the patch less the least of the others",
    "noise-prr-least-in-patch-share": "share in the patch less the least of the others",
    "noise-deeplift-similar-in-patch": "difference of RectGrad's and DeepLIFT's share in the patch",
    "noise-others-nontrivial-in-patch": "share in the patch, the least of the older methods",
    "noise-least-on-background": "attribution on the background over the least of older methods",
    "noise-least-on-background-share": "share on the background less the least of older methods",
    "noise-least-total-variation": "total variation over the least of older methods",
    "noise-least-total-variation-scaled": "total variation of a map of total 1, over the least of "
    "older methods",
    "noise-roar-best": "ROAR's area less the least of older methods, whole maps",
    "noise-kar-best": "KAR's area less the least of older methods, whole maps",
    "noise-kar-largely": "KAR's area less the least of older methods, whole maps",
    "noise-roar-beats-random": "ROAR's area less that of random pixels",
    "noise-modified-rule-fails": "share on the object less that of the modified rule",
    "noise-border-outliers": "attribution along the border over its fair share",
    "noise-border-not-faint": "attribution near the border over that elsewhere, against gradient "
    "* input",
    "noise-prr-smoother": "roughness with PRR over without",
}
# claims whose verdict would be read as the reverse of the number beside it, or as more than their
# statistic says, were the threshold not known: it stands beside the chip
NEEDS_THRESHOLD = (
    "sign-flat-after-80",
    "noise-patch-accuracy",
    "noise-patch-untruthful",
    "noise-firing-alike",
    "noise-background-clean",
    "noise-q20-improves",
    "noise-q20-to-q80-unchanged",
    "noise-rectgrad-stops-accumulation",
    "noise-overcomes-insensitivity",
    "noise-modified-rule-fails",
    "sign-retraining-misleads",
)


def claims(*named: str) -> pd.DataFrame:
    """The papers' claims in words that belong to these experiments or have these ids, those of one
    sentence together.

    Columns id, paper, section, quotation, verdict (a word of `verdicts.WORDS`), about (what the
    claim is about, where its sentence has several; the threshold fixed beforehand, where the
    verdict could be read as the reverse of the number).
    """
    rows = []
    for sentence in verdicts.sentences(
        listed.table().query("experiment in @named or id in @named")
    ):
        for part in sentence:
            first = part.iloc[0]
            row = first[["id", "paper", "section", "quotation"]].to_dict()
            about = verdicts.PARTS.get(first["id"], "")
            if first["id"] in NEEDS_THRESHOLD:
                about = f"({threshold(first['id'], first['holds_if'])})"
            rows.append(row | {"verdict": verdicts.of_claim(part), "about": about})
    return pd.DataFrame(rows, columns=["id", "paper", "section", "quotation", "verdict", "about"])


def threshold(claim: str, holds_if: str) -> str:
    """What had to come out for a claim to hold, fixed before anything was measured: a quantity and
    where it must lie."""
    end, _, limit = holds_if.split()
    where = {"high": "below", "low": "above"}[end]
    return f"fixed beforehand: {QUANTITIES[claim]}, {where} {limit.replace('-', '−')}"


def numbers(tables: list[str], subjects: list[Subject]) -> pd.DataFrame | None:
    """`scoreboard.beside_published` with the network as people call it, the number as the paper
    prints it (columns network, printed) and, behind the protocol, a link to the network's first
    row on the scoreboard; None where nothing is printed."""
    beside = scoreboard.beside_published(tables, subjects)
    if beside is None:
        return None
    return beside.assign(
        network=[verdicts.printed_network(column) for column in beside["column"]],
        printed=[published.shown(r.paper, r.table, r.published) for r in beside.itertuples()],
        protocol=[
            f"{r.protocol} ([on the scoreboard](scoreboard.md#{score_anchor(r)}))"
            for r in beside.itertuples()
        ],
    )


def score_anchor(row) -> str:
    """The id that a row of `scoreboard.table` has on the page of the scoreboard."""
    return slug(f"score {row.paper} {row.table} {row.row} {row.column}")


def slug(heading: str) -> str:
    """The id that a heading has on its page."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
