"""Sentences and tables of chapter 8 from numbers made by hand: each follows from them."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from lib.attribution import METHODS
from lib.metrics.statistics import smallest_significant
from study.account.summaries import synthesis as told
from study.experiments import ranking

NET, OTHER = "Noise CNN, CIFAR-10", "SqueezeNet, Imagenette"


def flat(values, pictures=6):
    """Name -> [1,N] of equal numbers: intervals of no width."""
    return {n: torch.full((1, pictures), float(v), dtype=torch.float64) for n, v in values.items()}


NUMBERS = {
    "black_deletion": flat(
        {"positive": 0.1, "saliency": 0.2, "negative": 0.3, "rectgrad": 0.4, "random": 0.15}
    ),
    "white_deletion": flat({"positive": 0.3, "saliency": 0.2, "negative": 0.1, "rectgrad": 0.4}),
    "black_score": flat({"positive": 9, "saliency": 8, "negative": 7, "rectgrad": 6}),
    "outside": flat(
        {"positive": 0.5, "saliency": 0.4, "negative": 0.6, "rectgrad": 0.1, "edges": 0.2}
    ),
    "roar": flat({"saliency": 0.6, "rectgrad": 0.5, "random": 0.4}),
    "sanity": flat({"positive": 0.9, "saliency": 0.8, "negative": 0.7, "rectgrad": 0.1}),
    "kept": flat({"rectgrad": 0.02}),
}


def summary():
    return ranking.summary(told.ranked_numbers(NUMBERS))


def test_scores_are_left_out():
    assert "black_score" not in told.ranked_numbers(NUMBERS)
    full = ranking.summary(NUMBERS)
    assert "black_score" in set(full["metric"])
    assert "black_score" not in set(told.ranked(full)["metric"])
    some = told.ranked(full, ["saliency"])
    assert set(some["name"]) == {"saliency", "random", "edges"}


def test_roar_is_counted_as_chapter_7_counts_it():
    """By the gains it is given, on the first network alone; deletion by the pictures."""
    gains = pd.DataFrame(
        {"metric": "roar", "name": ["saliency", "rectgrad"], "low": [0.1, 0.1], "high": [0.2, 0.2]}
    )
    both = told.counts({NET: NUMBERS, OTHER: NUMBERS}, "random", gains)
    of = {network: table.set_index("metric") for network, table in both.items()}
    assert of[NET].loc["roar", "ahead"] == 2 and of[OTHER].loc["roar", "ahead"] == 0
    assert of[NET].loc["black_deletion", ["ahead", "behind", "of"]].tolist() == [1, 3, 4]
    plain = told.counts({NET: NUMBERS}, "random")[NET].set_index("metric")
    assert plain.loc["roar", "behind"] == 2


def test_in_short():
    counted = told.counts({NET: NUMBERS}, "random")[NET]
    between = {"pairs": 58, "methods": 14, "median": -0.13, "low": -0.3, "high": 0.1}
    who, agree, ahead = told.in_short(NET, summary(), between, counted)
    # positive, negative, RectGrad (twice), positive
    assert "5 metrics have 3 different winners among 4 published methods" in who
    assert "-0.13 (-0.30 to +0.10; 58 pairs, 14 methods)" in agree
    assert "1 of 4 under black deletion and 0 of 2 under ROAR" in ahead
    assert max(len(s.split()) for s in (who, agree, ahead)) <= 25
    assert "Too few" in told.agree_in_short({**between, "pairs": 0})
    assert "not measured" in told.ahead_in_short(counted[:0])
    # neither ahead nor behind: one seed tells nothing
    untold = counted.assign(ahead=0, behind=0)
    assert "one seed cannot tell" in told.ahead_in_short(untold)


def advice(**changed):
    worse = summary()
    last = (worse["name"] == "rectgrad") & (worse["metric"] == "black_deletion")
    summaries = {NET: summary(), OTHER: worse.assign(rank=worse["rank"] + last)}
    given = {
        "summaries": summaries,
        "random": told.counts({NET: NUMBERS, OTHER: NUMBERS}, "random"),
        "edges": told.counts({NET: NUMBERS}, "edges"),
        "kept": {NET: 0.02, OTHER: 0.01},
        "crossed": (8, 112),
    }
    return told.advice(**{**given, **changed})


def test_advice_is_short_and_follows_from_the_tables():
    found = advice()
    assert len(found) == 7 and max(len(s.split()) for s in found) <= 30, found
    audit, random, edges, colours, zero, clean, crossed = found
    assert "Positive (0.90) and Saliency map (0.80)" in audit and "place 4 (0.10)" in audit
    assert f"1 of 4 ({NET}) and 1 of 4 ({OTHER}) methods" in random
    assert f"1 of 4 ({NET})" in edges and "off the object" in edges
    assert "1 and 3 of 4 for the positive map, 3 and 1 of 4 for the negative" in colours
    assert f"1% not zero on {OTHER}, has place 5 of 4" in zero  # the worse of the two
    assert "place 1 of 4 off the object and 4 of 4 under sanity" in clean
    assert "8 of 112 trials" in crossed


def test_advice_on_what_was_not_measured_is_left_out():
    table = summary()
    few = table[~table["metric"].isin(["sanity", "outside", "white_deletion"])]
    found = advice(summaries={NET: few}, edges={}, kept={NET: 0.9}, crossed=(0, 0))
    assert len(found) == 1 and found[0].startswith("Set random pixels")
    assert told.advice({NET: few}, {}, {}, {}) == []


def test_who_ranks_where():
    first, least = told.who_ranks(NET, summary())
    assert "Positive 2" in first and "RectGrad 2" in first and "Negative 1" in first
    # the saliency map is 2 of 2 under ROAR, the last; the positive map 3 of 4 at worst
    assert "nearest is Positive, whose worst place, for how many there are, is 3 of 4" in least
    alone = summary().query("name == 'rectgrad' and metric == 'outside'")
    assert told.who_ranks(NET, alone)[1] == "RectGrad is first under every metric."
    # two methods, each first once and last once
    two = summary().query("name in ('positive', 'rectgrad')")
    two = two[two["metric"].isin(["black_deletion", "outside"])].assign(of=2)
    place = two.groupby("metric")["rank"].rank()
    assert "each is last under some metric" in told.who_ranks(NET, two.assign(rank=place))[1]


def pair(first, second, correlation, p):
    return {
        "first": first,
        "second": second,
        "correlation": correlation,
        "low": -1.0,
        "high": 1.0,
        "methods": 14,
        "p": p,
        "p_corrected": p,
    }


def test_agreement_by_kind():
    table = ranking.kinds(
        pd.DataFrame(
            [
                pair("black_deletion", "white_deletion", 0.9, 0.01),
                pair("black_deletion", "roar", -0.8, 0.02),
                pair("black_deletion", "patch", 0.7, 0.2),
            ]
        )
    )
    between = {"pairs": 2, "methods": 14, "median": 0.1, "low": 0.0, "high": 0.2}
    counts, power, best, median = told.agree(NET, table, between)
    assert "of different kinds 0 of 2 agree and 1 are opposed" in counts
    assert "of one kind 1 of 1 agree and 0 are opposed" in counts
    assert f"±{smallest_significant(14, 3):.2f}" in power and "black deletion" in best
    assert "+0.90" in best and "+0.10" in median
    few = told.agree(NET, table.assign(methods=4, p_corrected=1.0), between)
    assert "no correlation of so few methods" in few[1] and len(few) == 3


def blindness():
    return pd.DataFrame(
        {
            "metric": ["black_deletion", "black_score", "patch", "roar"],
            "difference": [-2.0, -2.0, 0.0, 0.3],
            "low": [-2.1, -2.1, -0.1, 0.1],
            "high": [-1.9, -1.9, 0.1, 0.5],
            "verdict": ["sees it", "sees it", "blind", "hardly"],
        }
    )


def test_sight_of_the_sign():
    (said,) = told.sight(NET, blindness())
    assert said == (
        f"{NET}: these tell the positive from the negative map: black deletion; hardly: ROAR; "
        "not: in the patch."
    )
    (unsure,) = told.sight(NET, blindness()[3:].assign(verdict="unknown"))
    assert unsure.endswith("negative map: none; cannot be told: ROAR.")
    assert told.sight(NET, blindness()[:0]) == []
    assert told.sight_shown(blindness())["it"].tolist()[-1] == "hardly sees it"


CROSS = "rectgrad_both_tails"


def verdicts():
    return pd.DataFrame(
        {
            "network": [NET, NET, OTHER],
            "name": CROSS,
            "metric": ["black_deletion", "outside", "black_deletion"],
            "beats": [True, False, False],
            "p_corrected": [1e-5, 0.5, 1.0],
        }
    )


def test_crosses():
    won = verdicts()[:1].assign(clear=True)
    first, second = told.crosses_in_short(verdicts(), won, 1)
    assert "In 1 of 3 trials" in first and "in 1 of these" in first and "In 1 it is" in second
    assert "of these" not in told.crosses_in_short(verdicts(), won[:0], 0)[0]
    assert told.crosses_in_short(verdicts()[:0], won, 0) == ["No cross was asked for."]
    shown = told.crosses_shown(verdicts(), [NET, OTHER])
    assert shown.iloc[0].tolist()[2:] == ["black deletion (of 2)", "nowhere (of 1)"]
    assert shown["parents"].item() == "RectGrad and Gradient * input"


def test_margins_say_how_sure():
    harder = verdicts().assign(
        parent="rectgrad", ahead=0.1, held=0.2, held_low=0.15, held_high=0.25
    )
    shown = told.margins_shown(harder, NET)
    assert shown["p, corrected"].tolist() == ["< 0.001", "0.5"]
    assert shown["second set"].tolist()[0] == "+0.200 (+0.150 to +0.250)"


def test_controls_side_by_side():
    random, edges = (told.counts({NET: NUMBERS}, control) for control in ("random", "edges"))
    shown = told.controls_shown(random, edges).set_index("metric")
    assert list(shown) == ["random", "edge detector"]
    assert shown.loc["black deletion", "random"] == "1 of 4"
    assert shown.loc["off the object", "edge detector"] == "1 of 4"
    unsure = {NET: random[NET].assign(ahead=0, behind=0)}
    assert set(told.controls_shown(unsure, {NET: edges[NET][:0]})["random"]) == {"not told"}
    both = told.controls_shown(
        {NET: random[NET], OTHER: random[NET]}, {NET: edges[NET], OTHER: edges[NET]}
    )
    assert f"random ({NET})" in both and len(both.columns) == 5


def test_costs():
    table = pd.DataFrame(
        {
            "name": ["smoothgrad", "saliency"],
            "seconds": [0.05, 0.002],
            "low": [0.04, 0.001],
            "high": [0.06, 0.003],
            "gradients": [25.0, 1.0],
        }
    )
    shown = told.costs_shown({NET: table, OTHER: table[:1]})
    assert shown["method"].tolist() == ["Saliency map", "SmoothGrad"]
    assert shown[OTHER].tolist() == ["", "25.0"]
    (said,) = told.costs_in_short({NET: table})
    assert said == f"{NET}: SmoothGrad 25.0 and Saliency map 1.0 saliency maps."
    assert told.costs_in_short({})[0].startswith("Times differ")
    seconds = told.seconds_shown({NET: table})[NET]
    assert seconds["median, ms"].tolist() == ["2.0", "50.0"]


def test_values_and_places_by_family():
    summaries = {NET: summary()}
    order = lambda table: [n for n in METHODS if n in set(table["name"])]  # noqa: E731
    values = told.by_network(summaries, told.values_shown, order)
    assert f"Deletion and insertion: {NET}" in values and f"Retraining: {NET}" in values
    roar = values[f"Retraining: {NET}"].set_index("method")["ROAR"]
    assert roar.to_dict() == {
        "Saliency map": "0.600 (0.600 to 0.600)",
        "RectGrad": "0.500 (0.500 to 0.500)",
    }
    places = told.by_network(summaries, told.places_shown, order)
    assert places[f"Retraining: {NET}"]["ROAR"].tolist() == ["2 (2 to 2)", "1 (1 to 1)"]


def test_pictures_and_pairs():
    shown = told.pictures_shown({NET: summary(), OTHER: summary().query("metric == 'roar'")})
    assert shown.set_index("metric")[OTHER].to_dict()["sanity"] == ""
    assert shown.set_index("metric")[NET].to_dict()["sanity"] == "6"
    table = pd.DataFrame([pair("black_deletion", "roar", -0.8, 0.02)])
    assert told.pairs_shown(table).iloc[0].tolist()[:2] == [
        "black deletion, ROAR",
        "-0.80 (-1.00 to +1.00)",
    ]


def test_crosses_are_tried_without_retraining_and_scores():
    assert "roar" not in told.TRIED and "black_score" not in told.TRIED
    assert {"black_deletion", "patch", "sanity"} <= set(told.TRIED)


@pytest.mark.parametrize("value", [math.nan])
def test_no_median_is_no_number(value):
    found = {"pairs": 0, "methods": 3, "median": value, "low": value, "high": value}
    assert "nan" not in told.agree_in_short(found)
