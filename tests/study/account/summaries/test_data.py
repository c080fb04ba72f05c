"""study.account.summaries.data: sentences and layouts of hand-made tables."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from study.account import variants
from study.account.summaries import data as summaries
from study.experiments import deletion
from study.subjects import networks
from study.subjects.subject import subject

from .words import proper

NAN = float("nan")


def accuracies(*rows):
    """Rows of (network, test, train)."""
    frame = pd.DataFrame(rows, columns=["network", "test", "train"])
    return frame.assign(n=1000, classes=10, low=frame["test"] - 0.01, high=frame["test"] + 0.01)


TWO = accuracies(("Sign CNN", 0.6, 0.9), ("Noise CNN", 0.75, 0.8))


def test_the_best_and_the_worst_are_named():
    (sentence,) = proper([summaries.recognised(TWO)])
    assert "60.0% (Sign CNN) to 75.0% (Noise CNN)" in sentence and "guessing: 10.0%" in sentence
    (sentence,) = proper([summaries.recognised(TWO[1:])])
    assert "Noise CNN classifies 75.0% (74.0% to 76.0%) of 1,000" in sentence


def test_overfitting_names_the_widest_gap():
    (sentence,) = proper([summaries.overfitting(TWO)])
    assert "5.0 to 30.0 points more" in sentence and sentence.endswith("for Sign CNN.")
    assert "30.0 points more" in summaries.overfitting(TWO[:1])
    assert summaries.overfitting(accuracies(("mine", 0.5, NAN))).startswith("No accuracy")


def test_printed_accuracies_are_counted():
    beside = pd.DataFrame({"verdict": ["agree", "disagree", "agree"]})
    assert proper([summaries.agreeing(beside)])[0].startswith("2 of 3 printed")
    assert "print no accuracy" in summaries.agreeing(None)
    assert len(proper(summaries.in_short(TWO, beside))) == 3


def test_where_its_claims_are_judged():
    beside = pd.DataFrame({"verdict": ["agree", "disagree", "agree"]})
    first, second = proper(summaries.judged_elsewhere(beside))
    assert first.startswith("No sentence")
    assert second.endswith("judges 3 printed accuracies shown here: agree 2, disagree 1.")
    assert summaries.judged_elsewhere(None) == [first]


def test_single_trainings_are_counted():
    models = ["basic_cnn", "resnet18 CIFAR-10", "basic_cnn"]
    table = pd.DataFrame({"model": models})
    both = ["Sign CNN, CIFAR-10 test, 2 trainings", "ResNet-18, CIFAR-10 test, 1 training"]
    assert summaries.trainings_of(table) == both
    assert summaries.trainings_of(table, table[1:2]) == both[1:]


def effects():
    rows = [
        ("rectgrad_cnn", "pixels", 1, 0.02, 0.01, 0.03),
        ("basic_cnn", "order", 1, 0.01, -0.01, 0.03),
        ("resnet18 CIFAR-10", "pixels and precision", 2, 0.04, -0.02, 0.1),
    ]
    frame = pd.DataFrame(rows, columns=["model", "what", "settings", "change", "low", "high"])
    counts = {"n_before": 2, "n_after": 3, "before": 0.7, "after": 0.72}
    return frame.assign(within_luck=[False, True, True], **counts)


def test_only_what_is_more_than_luck_is_named():
    luck, named, both = proper(summaries.moved(effects()))
    assert luck.startswith("1 of 2 changes of one setting")
    assert named == "Noise CNN, pixels: +2.0 points (+1.0 to +3.0), more than luck."
    # what two settings move together is told by itself
    assert both == "ResNet-18, pixels and precision: +4.0 points (-2.0 to +10.0), within luck."
    assert len(summaries.moved(effects()[1:2])) == 1
    assert "stored" in summaries.moved(None)[0]


def test_effects_as_a_table(monkeypatch):
    monkeypatch.setattr(variants, "effects", lambda trainings: effects())
    table = summaries.effects_shown(pd.DataFrame())
    assert table["beside luck"].tolist() == ["more", "within", "within"]
    assert table["moves by"].tolist()[0] == "+2.0 (+1.0 to +3.0)"
    assert table["network"].tolist() == ["Noise CNN", "Sign CNN", "ResNet-18"]
    assert "stored" in summaries.effects_shown(None).iloc[0, 0]
    assert summaries.network("resnet18 CIFAR-10") == "ResNet-18"


def test_the_same_seed_twice(monkeypatch):
    monkeypatch.setattr(variants, "twice", lambda _: pd.DataFrame({"apart": [0.001, 0.02]}))
    (sentence,) = proper(summaries.same_seed(pd.DataFrame()))
    assert "2 times: 0.1 to 2.0 points" in sentence
    assert summaries.same_seed(None) == []


@pytest.fixture(scope="module")
def who(one_thread):
    return subject("shapes10", "basic_cnn", count=50)


def test_a_row_a_subject(who, monkeypatch):
    row = summaries.accuracies([who]).iloc[0]
    assert row["test"] == deletion.accuracy(who)["accuracy"] and row["n"] == 50
    assert row["train"] == networks.card("basic_cnn", "shapes10")["train_accuracy"]
    assert pd.isna(row["printed"])
    shown = summaries.accuracies_shown(summaries.accuracies([who])).iloc[0]
    assert shown["95 % interval"] == f"{row['low']:.3f} to {row['high']:.3f}"


def test_the_printed_number_is_of_the_same_network_and_pictures(who):
    renamed = who.altered(name="cifar10")._replace(weights="cifar10")
    assert summaries._printed(renamed) == 0.6307
    assert pd.isna(summaries._printed(renamed._replace(model_name="squeezenet1_1")))
    assert pd.isna(summaries._printed(renamed._replace(weights="mine")))


def test_cards_and_architectures(who):
    assert list(summaries.cards([who])) == ["shapes"]
    assert list(summaries.cards([who])["shapes"]) == ["Sign CNN"]
    assert summaries.cards([who._replace(weights="mine")]) == {}
    row = summaries.architectures([who]).iloc[0]
    assert (row["parameters"], row["white"], row["classes"]) == (495146, 1, 10)


def test_curves_are_of_networks_trained_here(who):
    others = [who._replace(weights="mine"), who.altered(name="cifar10")]
    assert summaries.trained([who, *others]) == [f"{who.label}, all training and test pictures"]


def test_the_share_of_a_picture_that_its_object_takes(who):
    masks = torch.zeros(2, 4, 5, dtype=torch.bool)
    masks[1, :2] = True
    pictures = who.take(slice(0, 2)).altered(masks=masks).pictures
    assert summaries.object_shares(pictures).tolist() == [0, 0.5]


def test_networks_without_batch_norm_have_no_statistics(who, monkeypatch):
    assert "none" in summaries.refreshed([who]).iloc[0, 0]
    found = {"accuracy": 0.5, "low": 0.4, "high": 0.6}
    monkeypatch.setattr(deletion, "fresh_statistics", lambda _: found)
    assert summaries.refreshed([who])["fresh statistics"].tolist() == ["0.500 (0.400 to 0.600)"]
