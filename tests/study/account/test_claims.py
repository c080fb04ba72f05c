"""study.account.claims: the list, the rule, the table and the statistics.

The list is as it was fixed, the table from cells written by hand, the statistics on made-up data.
"""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.metrics import PAPER_FRACTIONS
from study.account import claims
from study.account.claims import MEASURES, judge, listed
from study.experiments import cleanliness, deletion, hypothesis, response, retraining, synthesis
from study.experiments.deletion import FILLS, MAPS
from study.store import cells, experiment
from study.subjects import networks
from study.subjects.pictures import Dataset
from study.subjects.subject import Subject
from tests.refusal import refused

pytestmark = pytest.mark.usefixtures("one_thread")


def who_of(count=4, size=12, masks=None, weights="cifar10"):
    pictures = Dataset(
        "toy",
        "test",
        torch.zeros(count, 3, size, size, dtype=torch.uint8),
        torch.zeros(count, dtype=torch.int64),
        ("a", "b"),
        "made",
        masks,
    )
    return Subject(torch.nn.Identity(), pictures, "net", weights)


def who_of_network(dataset, model, weights, count=None, stored=False):
    """Stands for `subject` where the pictures do not matter."""
    return who_of(weights=weights)._replace(model_name=model, stored=stored)


def statistic(name):
    """The function that measures a claim."""
    return inspect.unwrap(MEASURES[name][1])


# ---- the list


def test_every_claim_of_the_list_can_be_judged():
    frame = listed()
    assert list(frame.columns) == [
        "id",
        "paper",
        "section",
        "quotation",
        "statistic",
        "holds_if",
        "experiment",
    ]
    assert not frame.isna().any(axis=None)
    assert frame["id"].is_unique and set(frame["paper"]) == {"Sign", "Noise"} and len(frame) == 48
    for row in frame.itertuples():
        assert 3 <= len(row.quotation.split()) <= 16, row.id
        assert re.fullmatch(r"[a-z0-9-]+", row.id) and row.id.startswith(row.paper.lower())
        assert judge(row.holds_if, -1e9, -1e9) != judge(row.holds_if, 1e9, 1e9)
        assert {judge(row.holds_if, v, v) for v in (-1e9, 1e9)} == {"holds", "does not hold"}, (
            row.id
        )
        assert ("Wilson" in row.statistic) or ("bootstrap" in row.statistic), row.id


def test_every_measure_belongs_to_a_claim_of_the_list():
    statistics = listed().set_index("id")["statistic"]
    assert set(MEASURES) == set(statistics.index)
    for name, (measured_on, function, count) in MEASURES.items():
        assert measured_on and callable(function), name
        least = min(count.values()) if isinstance(count, dict) else count
        assert least is None or least >= 100, name
        # the file of a cell is named by model and weights
        assert len({network[1:] for network in measured_on}) == len(measured_on), name
        for dataset, model, _ in measured_on:
            assert model in statistics[name] or dataset == "imagenet_samples", name


def test_the_patched_claims_are_measured_on_the_patched_network():
    for name in MEASURES:
        if "patch" in name and name != "noise-patch-accuracy":
            assert MEASURES[name][0] == [("cifar10+patch", "rectgrad_cnn", "cifar10+patch")]


# ---- the rule


@pytest.mark.parametrize(
    "condition, low, high, verdict",
    [
        ("high < 0", -2, -1, "holds"),
        ("high < 0", -2, 0, "depends"),
        ("high < 0", -1, 1, "depends"),
        ("high < 0", 0, 1, "does not hold"),
        ("high < 0", 0.5, 1, "does not hold"),
        ("low > 0", 1, 2, "holds"),
        ("low > 0", 0, 2, "depends"),
        ("low > 0", -1, 1, "depends"),
        ("low > 0", -1, 0, "does not hold"),
        ("low > 0", -2, -1, "does not hold"),
        ("high < -0.03", -0.05, -0.04, "holds"),
        ("high < -0.03", -0.05, -0.02, "depends"),
        ("high < -0.03", -0.02, 0.1, "does not hold"),
        ("low > 0.95", 0.96, 0.97, "holds"),
        ("low > 0.95", 0.94, 0.97, "depends"),
        ("low > 0.95", 0.90, 0.95, "does not hold"),
        ("low > 1", 1, 1, "does not hold"),
        ("high < 1", 1, 1, "does not hold"),
    ],
)
def test_a_claim_is_judged_by_its_whole_interval(condition, low, high, verdict):
    assert judge(condition, low, high) == verdict


def test_an_interval_that_is_no_number_decides_nothing():
    assert judge("high < 0", math.nan, math.nan) == judge("low > 0", math.nan, 1) == "depends"


@pytest.mark.parametrize(
    "condition",
    [
        "high > 0",
        "low < 0",
        "value < 0",
        "high <= 0",
        "high 0 <",
        "high < zero",
        "high < 0 or so",
        "high <",
        "",
        "high<0",
    ],
)
def test_a_condition_that_cannot_be_read_is_refused(condition):
    refused(lambda: judge(condition, 0, 1), repr(condition), "high < NUMBER", "low > NUMBER")


# ---- the table, from cells written by hand

TWO = [("cifar10", "basic_cnn", "cifar10"), ("cifar10", "rectgrad_cnn", "cifar10")]


@pytest.fixture
def account(tmp_path, monkeypatch):
    """A list of four claims, three of which can be measured on two networks.

    Returns put(id, network, value, low, high).
    """
    frame = pd.DataFrame(
        [
            {
                "id": f"sign-{name}",
                "paper": "Sign",
                "section": "4.2",
                "quotation": "so they say",
                "statistic": "a | b",
                "holds_if": holds,
                "experiment": kind,
            }
            for name, holds, kind in (
                ("one", "high < 0", "deletion"),
                ("two", "low > 0.5", "deletion"),
                ("three", "low > 0", "scores"),
                ("four", "low > 0", "roar_kar"),
            )
        ]
    )
    frame.to_csv(tmp_path / "claims.csv", index=False)
    made = []
    monkeypatch.setattr(claims, "LIST", tmp_path / "claims.csv")
    monkeypatch.setattr(
        claims, "MEASURES", {f"sign-{name}": (TWO, None, None) for name in ("one", "two", "three")}
    )
    monkeypatch.setattr(
        cells, "of", lambda kind: [c for c in made if kind == f"claims/{c['claim']}"]
    )
    monkeypatch.setattr(claims, "_hash", lambda model, weights: "now")

    def put(name, network, value, low, high, n=2000, **other):
        dataset, model, weights = network
        parameters = {
            "dataset": dataset,
            "model": model,
            "weights": weights,
            "weights_hash": "now",
            "n": n,
        }
        row = {"value": value, "low": low, "high": high}
        made.append({"claim": f"sign-{name}", "parameters": parameters | other, "rows": [row]})

    return put


def verdicts():
    by_claim = claims.table().groupby("id", sort=False)["verdict"]
    distinct = by_claim.agg(lambda v: v.drop_duplicates().tolist())
    assert all(len(v) == 1 for v in distinct)  # one for the claim, on every row of it
    return {name.removeprefix("sign-"): v[0] for name, v in distinct.items()}


def test_without_measurements_every_claim_is_there(account):
    frame = claims.table()
    added = ["network", "n", "value", "low", "high", "verdict"]
    assert list(frame.columns) == [*listed().columns, *added]
    assert str(frame["n"].dtype) == "Int64"
    names = frame.drop_duplicates("id")["id"].tolist()
    assert names == ["sign-one", "sign-two", "sign-three", "sign-four"]
    assert frame[["n", "value", "low", "high"]].isna().all(axis=None)
    assert (frame["verdict"] == "").all()


@pytest.mark.parametrize(
    "first, second, verdict",
    [
        ((-0.3, -0.1), (-0.2, -0.1), "holds"),
        ((0.1, 0.3), (0.1, 0.2), "does not hold"),
        ((-0.3, -0.1), (0.1, 0.2), "depends"),
        ((-0.3, -0.1), (-0.1, 0.1), "depends"),
        ((-0.1, 0.1), (-0.1, 0.1), "depends"),
        ((0.1, 0.2), (-0.1, 0.1), "depends"),
        ((-0.3, -0.1), None, ""),
        (None, (0.1, 0.3), ""),
    ],
)
def test_the_verdict_of_a_claim_over_its_networks(first, second, verdict, account):
    for network, interval in zip(TWO, (first, second), strict=True):
        if interval:
            account("one", network, sum(interval) / 2, *interval)
    assert verdicts() == {"one": verdict, "two": "", "three": "", "four": ""}


def test_a_row_of_the_table(account):
    # rectgrad_cnn first: the order is that of the claim's networks
    account("two", TWO[1], 0.612345, 0.56789, 0.654321, n=10_000)
    account("two", TWO[0], 0.7, 0.65, 0.75)
    account("one", TWO[0], -0.1, -0.2, -0.05)
    rows = claims.table().query("id == 'sign-two'").to_dict("records")
    assert [
        (r["network"], r["n"], r["value"], r["low"], r["high"], r["verdict"]) for r in rows
    ] == [
        ("basic_cnn", 2000, 0.7, 0.65, 0.75, "holds"),
        ("rectgrad_cnn", 10_000, 0.6123, 0.5679, 0.6543, "holds"),
    ]
    assert rows[0]["quotation"] == "so they say" and rows[0]["holds_if"] == "low > 0.5"


def test_the_verdict_comes_before_the_rounding(account):
    for network in TWO:
        account("three", network, 0.1, 0.00001, 0.2)
    assert verdicts()["three"] == "holds"
    assert claims.table().query("id == 'sign-three'")["low"].iloc[0] == 0


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "shapes10"},
        {"model": "resnet18"},
        {"weights": "cifar10-seed1"},
        {"weights_hash": "before"},
    ],
    ids=str,
)
def test_cells_of_anything_else_are_ignored(other, account):
    account("one", TWO[1], -0.3, -0.4, -0.2)
    account("one", TWO[0], 0.3, 0.2, 0.4, **other)
    assert verdicts()["one"] == ""
    account("one", TWO[0], -0.3, -0.4, -0.2)
    assert verdicts()["one"] == "holds"


def test_networks_are_named_apart(account, monkeypatch):
    """The same architecture, trained on the pictures under study or without them."""
    both = [
        ("cifar10_masks", "rectgrad_cnn", "cifar10"),
        ("cifar10_masks", "rectgrad_cnn", "cifar10_rest"),
        ("cifar10+patch", "rectgrad_cnn", "cifar10+patch"),
        ("imagenet_samples", "squeezenet1_1", "imagenet"),
    ]
    monkeypatch.setattr(claims, "MEASURES", {"sign-one": (both, None, None)})
    for network in both:
        account("one", network, -0.1, -0.2, -0.05)
    assert claims.table().query("id == 'sign-one'")["network"].tolist() == [
        "rectgrad_cnn",
        "rectgrad_cnn (cifar10_rest)",
        "rectgrad_cnn",
        "squeezenet1_1",
    ]


def test_the_table_survives_its_file(account, tmp_path):
    for network in TWO:
        account("one", network, -0.1, -0.2, -0.05)
    claims.table().to_csv(tmp_path / "out.csv", index=False)
    frame = pd.read_csv(tmp_path / "out.csv")
    assert frame["verdict"].iloc[0] == "holds" and frame["n"].iloc[0] == 2000
    assert frame.query("id == 'sign-four'")["verdict"].isna().all()


# ---- measuring


@pytest.fixture
def no_claims(monkeypatch):
    """Registries without a claim, to which a test adds its own."""
    monkeypatch.setattr(claims, "MEASURES", {})
    monkeypatch.setattr(experiment, "EXPERIMENTS", {})


def test_measuring_stores_each_network_once(no_claims, monkeypatch, tmp_path):
    asked, lines = [], []
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(claims, "subject", who_of_network)

    def function(studied):
        asked.append((studied.model_name, studied.weights))
        return 0.25, 0.2, 0.3

    claims.claim("sign-black-faster", TWO, 7)(function)
    claims.claim("sign-white-faster", TWO[:1])(function)
    claims.measure(log=lines.append)
    assert asked == [
        ("basic_cnn", "cifar10"),
        ("rectgrad_cnn", "cifar10"),
        ("basic_cnn", "cifar10"),
    ]
    assert len(lines) == 3 and all("0.2500 (0.2000 to 0.3000)" in line for line in lines)
    claims.measure(log=lines.append)
    claims.measure(["sign-white-faster"], log=lines.append)
    stored = cells.of("claims/sign-black-faster")
    assert len(asked) == 3 and len(lines) == 7 and len(stored) == 2
    assert stored[0]["rows"] == [{"value": 0.25, "low": 0.2, "high": 0.3}]
    assert stored[0]["parameters"]["weights_hash"]


def test_networks_without_weights_are_left_out(account, monkeypatch, tmp_path):
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    nets = [("cifar10", "a", "one"), ("cifar10", "b", "two"), ("photos", "c", "imagenet")]
    (tmp_path / "b-two.safetensors").touch()
    assert claims.with_weights(nets) == nets[1:]


def test_a_number_for_several_networks_is_keyed_by_all_of_them(no_claims, monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    two = [("toy", model, weights) for _, model, weights in TWO]
    present = [two[:1]]
    monkeypatch.setattr(
        claims, "with_weights", lambda networks: [n for n in networks if n in present[0]]
    )
    monkeypatch.setattr(claims, "subject", who_of_network)
    measured = networks.fingerprint(torch.nn.Identity())
    monkeypatch.setattr(claims, "_hash", lambda model, weights: measured)
    monkeypatch.setattr(claims, "TOGETHER", {"sign-positive-sometimes-better": two})
    claims.claim("sign-positive-sometimes-better", two[:1])(
        lambda studied, *, together: (len(together), 0, 9)
    )
    claims.measure(log=lambda line: None)
    present[0] = two
    claims.measure(log=lambda line: None)
    # one more network is another number
    stored = cells.of("claims/sign-positive-sometimes-better")
    assert sorted(c["rows"][0]["value"] for c in stored) == [1, 2]
    # it belongs to no one network, and their pictures have no one number
    row = claims.table().set_index("id").loc["sign-positive-sometimes-better"]
    assert (row["network"], row["value"]) == ("the least of 2 networks", 2) and pd.isna(row["n"])


def test_pictures_are_counted_by_dataset(no_claims, monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    asked = []

    def subject(dataset, model, weights, count=None, stored=False):
        asked.append(count)
        return who_of_network(dataset, model, weights, stored=stored)

    def function(studied):
        return 0.25, 0.2, 0.3

    monkeypatch.setattr(claims, "subject", subject)
    claims.claim("sign-black-faster", TWO[:1], {"cifar10": 7, "imagenette": 3})(function)
    claims.claim("sign-white-faster", TWO[:1])(function)
    claims.measure(log=lambda line: None)
    assert asked == [7, None]


# ---- statistics of paper Sign, on made-up curves


@pytest.fixture
def curves(monkeypatch):
    """Every prediction survives everything, until set(map, fill, shares) says otherwise.

    `shares` are those of the images at every fraction.
    """
    flags = {(name, fill): torch.ones(13, 100, dtype=torch.bool) for name in MAPS for fill in FILLS}
    monkeypatch.setattr(
        deletion,
        "allegiances",
        lambda who, pairs=deletion.PAIRS: {pair: flags[pair] for pair in pairs},
    )

    def set_(name, fill, shares):
        shares = torch.tensor([shares] * 13 if isinstance(shares, float) else shares)
        flags[name, fill] = torch.arange(100)[None] < (100 * shares).round()[:, None]

    return set_


def test_the_slower_of_two_maps_decides(curves):
    assert statistic("sign-black-faster")(who_of(100))[0] == pytest.approx(0)
    curves("positive", "black", 0.5)
    # the active map is as slow as the original
    assert statistic("sign-black-faster")(who_of(100))[0] == pytest.approx(0)
    curves("active", "black", 0.7)
    value, low, high = statistic("sign-black-faster")(who_of(100))
    assert value == pytest.approx(-0.27) and low < value < high < 0  # 30 % of .9
    # black curves say nothing about white ones
    assert statistic("sign-white-faster")(who_of(100))[0] == pytest.approx(0)
    curves("negative", "white", 0.6)
    curves("inactive", "white", 0.2)
    assert statistic("sign-white-faster")(who_of(100))[0] == pytest.approx(-0.36)


def test_how_much_falls_after_half(curves):
    assert statistic("sign-flat-after-50")(who_of(100)) == (0, 0, 0)
    # .5 is the ninth of the thirteen fractions
    curves("active", "black", [0.9] * 8 + [0.6, 0.6, 0.6, 0.6, 0.55])
    value, low, high = statistic("sign-flat-after-50")(who_of(100))
    assert PAPER_FRACTIONS[8] == 0.5 and value == pytest.approx(0.05) and 0 <= low < value < high
    curves("inactive", "white", [0.9] * 8 + [0.6] * 4 + [0.2])
    assert statistic("sign-flat-after-50")(who_of(100))[0] == pytest.approx(0.4)


def test_how_many_survive_ten_percent(curves):
    curves("positive", "black", [1.0] * 4 + [0.3] + [0.0] * 8)
    curves("active", "black", [1.0] * 4 + [0.4] + [0.0] * 8)
    value, low, high = statistic("sign-black-harms-positive")(who_of(100))
    assert PAPER_FRACTIONS[4] == 0.1 and value == pytest.approx(0.4)
    assert (low, high) == pytest.approx((0.304, 0.496), abs=0.015)  # 1.96 standard errors


def test_the_larger_of_two_shares_is_taken_within_each_resample(curves, monkeypatch):
    """Two maps whose survivors are different pictures, 40 of 100 each: one of the two is nearly
    always above 40."""
    first = torch.arange(100) < 40
    flags = {
        (name, "black"): survives.expand(13, 100)
        for name, survives in (("positive", first), ("active", first.flip(0)))
    }
    monkeypatch.setattr(deletion, "allegiances", lambda who, pairs: flags)
    value, low, high = statistic("sign-black-harms-positive")(who_of(100))
    assert value == pytest.approx(0.4) and low > 0.35 and high > 0.46


def test_train_and_test_are_compared_curve_by_curve(curves, monkeypatch):
    train = {pair: torch.ones(13, 50, dtype=torch.bool) for pair in deletion.PRINTED_PAIRS}
    train["negative", "white"][1:] = False
    test = deletion.allegiances(None)
    monkeypatch.setattr(claims, "subject", lambda *_, split, **__: who_of(50, weights=split))
    monkeypatch.setattr(
        deletion,
        "allegiances",
        lambda who, pairs: train if who.weights == "train" else test,
    )
    assert statistic("sign-train-similar")(who_of(100)) == pytest.approx((0.9 - 0.015,) * 3)


RISES = {
    ("negative", "black"): 0.5,
    ("inactive", "black"): 0.6,
    ("negative", "white"): -0.7,
    ("inactive", "white"): -0.4,
}


@pytest.mark.parametrize(
    "name, rises, expected",
    [
        (
            "sign-white-improves-positive",
            {("positive", "white"): 0.5, ("active", "white"): 0.3},
            0.3,
        ),
        (
            "sign-white-improves-positive",
            {("positive", "white"): -0.5, ("active", "white"): 0.3},
            -0.5,
        ),
        ("sign-opposite-for-negative", RISES, 0.4),
        ("sign-opposite-for-negative", RISES | {("negative", "white"): 0.7}, -0.7),
    ],
)
@pytest.mark.parametrize("alike", [True, False])
def test_the_smallest_change_of_the_logit(name, rises, expected, alike, monkeypatch):
    """A tenth more on half of a hundred pictures and a tenth less on the others; `alike`: on the
    same ones whatever the case, else on the others for the active and inactive map."""
    tenth = torch.tensor([0.1, -0.1]).repeat(50)

    def scores(who, name, fill, size, *, fractions):
        assert fractions == (0, 0.1)
        turned = -1 if name.endswith("active") and not alike else 1
        change = rises[name, fill] + turned * tenth
        return None, 7 + torch.stack([torch.zeros(100), change])

    monkeypatch.setattr(deletion, "signed_maps", lambda who, size: {m: m for m in MAPS})
    monkeypatch.setattr(deletion, "class_scores", scores)
    monkeypatch.setattr(claims, "batch_size", lambda who: 50)
    value, low, high = statistic(name)(who_of(100))
    assert value == pytest.approx(expected, abs=1e-5)
    half = 1.96 * 0.1 / 100**0.5
    assert (low, high) == pytest.approx((expected - half, expected + half), abs=0.15 * half)


def test_the_smaller_change_is_taken_within_each_resample(monkeypatch):
    """What one map gains by a draw the other loses: the smaller is never above their mean."""
    tenth = torch.tensor([0.1, -0.1]).repeat(50)

    def scores(who, name, *_, **__):
        change = 0.3 + (tenth if name == "positive" else -tenth)
        return None, torch.stack([torch.zeros(100), change])

    monkeypatch.setattr(deletion, "signed_maps", lambda who, size: {m: m for m in MAPS})
    monkeypatch.setattr(deletion, "class_scores", scores)
    monkeypatch.setattr(claims, "batch_size", lambda who: 50)
    value, low, high = statistic("sign-white-improves-positive")(who_of(100))
    assert value == pytest.approx(0.3, abs=1e-5)
    assert low < 0.285 and high <= 0.3 + 1e-6


def test_smoothness_and_focus_of_signed_maps(monkeypatch):
    half = torch.zeros(5, 12, 12)
    half[:, :, 6:] = 1  # variation 12
    third = half.clone()
    third[:, :4, 6:] = 0.5  # 12 - 2 + 3 = 13
    found = {
        "original": third,
        "positive": half,
        "negative": 7 * half,
        "active": half,
        "inactive": half,
    }
    monkeypatch.setattr(deletion, "signed_maps", lambda who, size=None: found)
    assert statistic("sign-less-noise")(who_of(5))[0] == pytest.approx(12 / 13)
    masks = torch.zeros(5, 12, 12, dtype=torch.bool)
    masks[:, 4:] = True
    value, low, high = statistic("sign-shape-more-defined")(who_of(5, masks=masks))
    assert value == low == high == pytest.approx(48 / 72 - 48 / 60)
    assert statistic("sign-flat-after-80")(who_of(5)) == pytest.approx((0.5, 0.5, 0.5))


# ---- statistics of paper Noise


def long(values, column):
    """[layers,N] as a table of pictures and layers, in an order of no use."""
    rows = [
        {"picture": n, "layer": k, column: v}
        for k, layer in enumerate(values, 1)
        for n, v in enumerate(layer)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_tables_become_arrays_by_picture():
    values = np.arange(12.0).reshape(3, 4)
    assert claims.by_layer(long(values, "ratio"), "ratio").tolist() == values.tolist()
    sweep = pd.DataFrame(
        [{"picture": n, "q": q, "like20": 10 * q + n} for q in (0, 80) for n in (2, 0, 1)]
    )
    assert claims.at_threshold(sweep, "like20", 80).tolist() == [800, 801, 802]


def test_the_largest_lift_of_a_layer_either_way(monkeypatch):
    monkeypatch.setattr(cleanliness, "recognised", lambda who: who)
    monkeypatch.setattr(
        hypothesis, "firing", lambda who: long([[0.01] * 6, [-0.2] * 6, [0.1] * 6], "lift")
    )
    assert statistic("noise-firing-alike")(None) == pytest.approx((0.2, 0.2, 0.2))


def test_the_least_layer_decides_on_occlusion(monkeypatch):
    table = pd.DataFrame(
        [
            {"layer": k, "region": region, "margin": m, "low": m - 0.1, "high": m + 0.1}
            for k, m in ((1, 0.5), (2, -0.3), (3, 0.9))
            for region in ("object", "difference")
        ]
    )
    table.loc[table["region"] == "object", "margin"] = -9
    monkeypatch.setattr(cleanliness, "recognised", lambda who: who)
    monkeypatch.setattr(cleanliness, "per_class", lambda who, count: who)
    monkeypatch.setattr(hypothesis, "occlusion", lambda who: table)
    for weights in ("cifar10", "cifar10_rest"):
        measured = statistic("noise-object-larger-impact")(who_of(weights=weights))
        assert measured == pytest.approx((-0.3, -0.4, -0.2))


def test_the_spread_of_a_map_about_its_centroid():
    maps = torch.zeros(5, 8, 8)
    maps[0, 3, 5] = -2  # a point
    maps[1, 1, 2], maps[1, 1, 6] = 1, -1  # two points four pixels apart: each two from the middle
    maps[2, 0, 3], maps[2, 6, 3] = 3, 1  # unequal ones, six apart: 6 sqrt(3/4 * 1/4)
    maps[3] = 1  # even: the variance of 0 ... 7 is 63/12, twice
    expected = [0, 2 / 8, 6 * 3**0.5 / 4 / 8, (2 * 63 / 12) ** 0.5 / 8, 0]
    assert claims.radius(maps).tolist() == pytest.approx(expected, abs=1e-7)
    assert claims.radius(torch.roll(maps[1:3], (1, 1), (1, 2))).tolist() == pytest.approx(
        expected[1:3], abs=1e-7
    )
    assert claims.radius(maps.transpose(1, 2)).tolist() == pytest.approx(expected, abs=1e-7)


@pytest.fixture
def ratios(monkeypatch):
    """Background over object at layers 0 to 4.

    It doubles for saliency at every step towards the input, and stays for RectGrad.
    """
    rows = []
    for method, factor in (("saliency", 2.0), ("rectgrad", 1.0)):
        for layer in range(5):
            rows += [
                {
                    "picture": n,
                    "method": method,
                    "layer": layer,
                    "ratio": (1 + n) * factor ** (4 - layer),
                }
                for n in range(6)
            ]
    frame = pd.DataFrame(rows)
    monkeypatch.setattr(cleanliness, "recognised", lambda who: who)
    monkeypatch.setattr(response, "accumulation", lambda who: frame)
    return frame


def test_growth_towards_the_input(ratios):
    assert statistic("noise-grows-exponentially")(None) == pytest.approx((2, 2, 2))
    assert statistic("noise-rectgrad-stops-accumulation")(None) == pytest.approx(
        (-math.log(2),) * 3
    )
    # it falls behind at one step
    ratios.loc[(ratios["method"] == "saliency") & (ratios["layer"] == 2), "ratio"] /= 3
    assert statistic("noise-grows-exponentially")(None)[0] == pytest.approx(2 / 3)


@pytest.fixture
def attacked(monkeypatch):
    """Forty pictures, 24 of which change class.

    RectGrad's correlation falls from .9 to .2 there, the others' from .95 to .85.
    """
    rows = []
    methods = ("saliency", "rectgrad", "rectgrad_prr", "epsilon_lrp", *cleanliness.BASELINES[1:])
    for m in methods:
        before, after = (0.9, 0.2) if m == "rectgrad" else (0.95, 0.85)
        for n in (3, 1, 2, 0, *range(4, 40)):
            changed = n < 24
            like = after if changed else before
            rows.append({"picture": n, "method": m, "correlation": like, "changed": changed})
    frame = pd.DataFrame(rows)
    monkeypatch.setattr(response, "adversarial", lambda who: frame)
    return frame


def test_sensitivity_to_the_class(attacked):
    assert statistic("noise-only-rectgrad-follows-class")(None)[0] == pytest.approx(0.7 - 0.1)
    assert statistic("noise-equally-class-sensitive")(None) == pytest.approx((-0.65,) * 3)
    attacked.loc[(attacked["method"] == "smoothgrad") & attacked["changed"], "correlation"] = 0.1
    assert statistic("noise-only-rectgrad-follows-class")(None)[0] == pytest.approx(0.7 - 0.85)
    assert statistic("noise-equally-class-sensitive")(None)[0] == pytest.approx(0.1)
    # these are not among the six
    attacked.loc[attacked["method"].isin(["rectgrad_prr", "epsilon_lrp"]), "correlation"] = -1
    assert statistic("noise-equally-class-sensitive")(None)[0] == pytest.approx(0.1)


@pytest.fixture
def corner(monkeypatch):
    """Maps with a known share in the 8x8 corner.

    A hundredth for RectGrad PRR, a tenth for RectGrad, half for the others.
    """
    maps = {}
    for scale, m in enumerate(cleanliness.COMPARED, 1):
        share = {"rectgrad_prr": 0.01, "rectgrad": 0.1}.get(m, 0.5)
        maps[m] = torch.zeros(9, 12, 12)
        maps[m][:, 2, 2] = scale * share
        maps[m][:, 11, 11] = scale * (1 - share)
    monkeypatch.setattr(cleanliness, "maps", lambda who, method, **_: maps[method])
    return maps


def test_the_patch_claims_on_known_maps(corner):
    # the released threshold keeps 5 % of 144 pixels, here both that are not zero
    assert statistic("noise-prr-least-in-patch-share")(None)[0] == pytest.approx(0.01 - 0.1)
    # sums, at the scales 2 and 1
    assert statistic("noise-prr-least-in-patch")(None)[0] == pytest.approx(2 * 0.01 - 1 * 0.1)
    assert statistic("noise-deeplift-similar-in-patch")(None)[0] == pytest.approx(0.4)
    assert statistic("noise-others-nontrivial-in-patch")(None)[0] == pytest.approx(0.5)
    assert statistic("noise-patch-saliency-nonzero")(who_of(9))[0] == 1
    corner["saliency"][:3, 2, 2] = 1e-6
    assert statistic("noise-patch-saliency-nonzero")(who_of(9))[0] == pytest.approx(6 / 9)
    corner["deeplift"][:] = 0
    # deeplift has a claim of its own
    others = statistic("noise-others-nontrivial-in-patch")(None)[0]
    assert others == pytest.approx(0.5 * 6 / 9, rel=1e-4)
    # a map of zeros has nothing there
    assert statistic("noise-prr-least-in-patch-share")(None)[0] == pytest.approx(0.01)


def test_background_claims_on_known_maps(corner, monkeypatch):
    masks = torch.zeros(9, 12, 12, dtype=torch.bool)
    masks[:, :8, :8] = True  # here the corner is the object
    who = who_of(9, masks=masks)
    monkeypatch.setattr(cleanliness, "recognised", lambda who: who)
    assert statistic("noise-background-clean")(who) == pytest.approx((0.9, 0.9, 0.9))
    assert statistic("noise-threshold-cannot-replicate")(who)[0] == pytest.approx(0.1 - 0.5)
    assert statistic("noise-least-on-background-share")(who)[0] == pytest.approx(0.9 - 0.5)
    scale = min(k for k, m in enumerate(corner, 1) if m in cleanliness.BASELINES)
    assert statistic("noise-least-on-background")(who)[0] == pytest.approx(0.9 / (scale * 0.5))


def test_smoothness_claims_on_known_maps(corner):
    # a lone pixel has four neighbours, one in a corner two
    rectgrad, other = 0.1 * 4 + 0.9 * 2, 0.5 * 4 + 0.5 * 2
    plain = claims.variation_ratio(None, True)
    assert plain[0] == pytest.approx(rectgrad / other)
    assert claims.variation_ratio(None, False)[0] == pytest.approx(rectgrad / (3 * other))
    corner["rectgrad"][:1] = 0  # maps that are zero everywhere have no scale, but they vary by 0
    assert claims.variation_ratio(None, True)[0] == pytest.approx(plain[0])
    assert claims.variation_ratio(None, False)[0] == pytest.approx(rectgrad / 9)
    assert statistic("noise-prr-smoother")(who_of(9))[0] == pytest.approx(
        (0.01 * 4 + 0.99 * 2) / (0.1 * 4 + 0.9 * 2)
    )


def test_scores_that_are_zero(monkeypatch):
    """The layer with the fewest zeros decides; parts of the pictures are put together."""
    quarter, most = torch.ones(20, 2, 2, 2), torch.zeros(20, 5)
    quarter[:, 0, 0] = 0
    monkeypatch.setattr(
        hypothesis,
        "activations",
        lambda model, images: [quarter[: len(images)], most[: len(images)]],
    )
    monkeypatch.setattr(claims, "batch", lambda who, place: who.pictures.images[place])
    assert statistic("noise-scores-mostly-zero")(who_of(45)) == (0.25, 0.25, 0.25)


# ---- ROAR and KAR, on made-up networks


def retrained(shares: dict, seeds=(0, 1), n=200) -> dict:
    """Of every method of Table 1 and seed, the first so many test pictures right at each fraction.

    The share is .5 where nothing is said.
    """
    flags = {}
    for m in retraining.PRINTED:
        for mode in retraining.MODES:
            share = shares.get((m, mode), 0.5)
            right = np.round(n * np.array([share] * 5 if isinstance(share, float) else share))
            for s in seeds:
                flags[m, mode, s] = np.arange(n)[None] < right[:, None]
    return flags


def test_rectgrad_against_the_best_of_its_rivals(monkeypatch):
    flags = retrained(
        {
            ("rectgrad", "roar"): [0.6, 0.5, 0.4, 0.3, 0.2],
            ("deeplift", "roar"): 0.45,
            ("random", "roar"): 0.7,
            ("random", "kar"): 0.9,
            ("rectgrad", "kar"): [0.5, 0.6, 0.7, 0.8, 0.9],
            ("saliency", "kar"): 0.6,
        }
    )
    monkeypatch.setattr(claims, "judged_retraining", lambda: (retraining.FULL, flags))
    value, low, high = statistic("noise-roar-best")(None, seeds=[0, 1], epochs=20)
    # a straight line: its middle; the least rival, not random
    assert value == pytest.approx(0.4 - 0.45) and low < value < high < 0
    assert statistic("noise-roar-beats-random")(None, seeds=[0, 1], epochs=20)[0] == pytest.approx(
        0.4 - 0.7
    )
    best = statistic("noise-kar-best")(None, seeds=[0, 1], epochs=20)
    assert best[0] == pytest.approx((1 - 0.7) - (1 - 0.6))
    assert statistic("noise-kar-largely")(None, seeds=[0, 1], epochs=20) == best


def test_seeds_are_resampled(monkeypatch):
    alike = retrained({("rectgrad", "roar"): 0.4})
    monkeypatch.setattr(claims, "judged_retraining", lambda: (retraining.FULL, alike))
    _, low, high = statistic("noise-roar-beats-random")(None, seeds=[0, 1], epochs=20)
    apart = dict(alike)
    apart["rectgrad", "roar", 1] = ~alike["rectgrad", "roar", 1]  # .6
    monkeypatch.setattr(claims, "judged_retraining", lambda: (retraining.FULL, apart))
    value, wide_low, wide_high = statistic("noise-roar-beats-random")(None, seeds=[0, 1], epochs=20)
    assert value == pytest.approx(0) and wide_high - wide_low > 2 * (high - low)


def test_a_seed_counts_when_all_of_its_curves_are_there(monkeypatch, account):
    flags = retrained({}, seeds=(0, 1, 2))
    del flags["deeplift", "kar", 1]
    monkeypatch.setattr(claims, "judged_retraining", lambda: (retraining.FULL, flags))
    assert claims.retrained_seeds() == [0, 2]
    assert claims.further_key("noise-roar-best") == {"seeds": [0, 2], "epochs": 20}
    methods = claims.further_key("sign-retraining-misleads")["methods"]
    assert set(methods) == set(retraining.PRINTED) - {"random"}, "active has no curve"
    lines = []

    def function(who):
        pytest.fail("one seed is not enough")

    monkeypatch.setattr(
        claims, "judged_retraining", lambda: (retraining.FULL, retrained({}, seeds=(0,)))
    )
    monkeypatch.setattr(claims, "MEASURES", {"noise-roar-best": (claims.CIFAR, function, None)})
    claims.measure(log=lines.append)
    assert lines == ["noise-roar-best  waits for two seeds of every retraining"]


def test_retraining_misleads_if_it_orders_methods_otherwise_than_deletion(monkeypatch):
    """Areas that rise together give 1, whatever their scale; controls take no part."""
    methods = ("saliency", "rectgrad", "positive", "active", "deeplift")
    levels = {m: 0.1 * k for k, m in enumerate(methods, 1)}
    spread = torch.linspace(-0.01, 0.01, 50, dtype=torch.float64)
    retrained = {m: (v / 3 + spread).expand(2, -1) for m, v in levels.items()} | {
        "random": torch.zeros(2, 50),
        "edges": torch.zeros(2, 50),
    }
    monkeypatch.setattr(synthesis, "retrained", lambda who, flags: {"roar": retrained})
    monkeypatch.setattr(claims, "judged_retraining", lambda: (retraining.FULL, {}))
    monkeypatch.setattr(synthesis, "study", lambda *_, **__: None)
    pictures = type("Pictures", (), {"name": "cifar10", "__len__": lambda self: 50})()
    who = SimpleNamespace(pictures=pictures, model_name="rectgrad_cnn")
    for direction in (1, -1):

        def measured(study, methods, parts, direction=direction):
            values = {m: (direction * levels[m] + spread)[None] for m in methods}
            return {"black_deletion": values}

        monkeypatch.setattr(synthesis, "measured", measured)
        assert statistic("sign-retraining-misleads")(
            who, seeds=[1, 2], epochs=20, methods=methods
        ) == pytest.approx((direction,) * 3)


def test_the_papers_own_protocol_is_judged_where_two_seeds_of_it_are_whole(monkeypatch):
    whole, one = retrained({}, seeds=(1, 2)), retrained({}, seeds=(1,))
    monkeypatch.setattr(claims, "_hash", lambda *net: "abc")
    for full, short, expected in ((whole, whole, 20), (one, whole, 3), (one, one, 3)):
        by = {20: full, 3: short}
        monkeypatch.setattr(claims, "retrained_flags", lambda _, folder, p, by=by: by[p.epochs])
        assert claims.judged_retraining()[0].epochs == expected


def test_flags_are_those_of_the_protocol_and_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    claims.retrained_flags.cache_clear()

    def put(k, fraction, epochs=3, weights="abc", method="saliency", other_copy=False):
        p = {
            "dataset": "cifar10",
            "data": "train",
            "test_data": "another copy" if other_copy else "test",
            "model": "rectgrad_cnn",
            "weights": "cifar10",
            "weights_hash": weights,
            "count": None,
            "method": method,
            "mode": "roar",
            "fraction": fraction,
            "seed": 1,
            "protocol": asdict(replace(retraining.SHORT, seed=1, epochs=epochs)),
        }
        correct = cells.pack(torch.arange(10) < 10 * fraction)
        content = {"rows": [{"accuracy": fraction}], "correct": correct}
        cells.finished(cells.Cell("roar", f"cell-{k}", p), lambda: content)

    for k, fraction in enumerate(retraining.FRACTIONS):
        put(k, fraction)
        put(10 + k, fraction, epochs=20)
        put(20 + k, fraction, weights="other", method="rectgrad")
    put(30, 0.1, method="active")  # a curve that lacks fractions
    put(31, 0.1, other_copy=True)
    flags = claims.retrained_flags("abc", cells.RESULTS, retraining.SHORT)
    assert list(flags) == [("saliency", "roar", 1)]
    assert flags["saliency", "roar", 1].mean(1).tolist() == [0.1, 0.3, 0.5, 0.7, 0.9]
