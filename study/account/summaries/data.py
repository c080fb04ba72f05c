"""Chapter 0 in sentences, and its tables as they are shown."""

from __future__ import annotations

import pandas as pd
from torch import Tensor

from study.account import plan, published, scoreboard, variants
from study.experiments import deletion
from study.subjects import names, networks
from study.subjects.pictures import Dataset
from study.subjects.subject import Subject

from .phrases import NOT_JUDGED, counted, ends

# of study.account.variants: a network with its data
_TRAINED = {"resnet18 CIFAR-10": "ResNet-18"}
# the same -> the column in which a paper prints its accuracy
_COLUMNS = {
    "rectgrad_cnn": "CIFAR-10",
    "basic_cnn": "CIFAR-10 CNN",
    "resnet18 CIFAR-10": "CIFAR-10 ResNet-18",
}


def accuracies(subjects: list[Subject], *, batch_size: int = 256) -> pd.DataFrame:
    """A row a subject: what it gets right on its pictures, on those it was trained on, in print.

    Columns network, n, classes, test, low, high, train, printed; the last two NaN where there is
    no card, or no printed number for this network and these pictures.
    """
    rows = []
    for studied in subjects:
        accuracy = deletion.accuracy(studied, batch_size=batch_size)
        card = networks.card(studied.model_name, studied.weights)
        rows.append(
            {
                "network": studied.label,
                "n": len(studied.pictures),
                "classes": len(studied.pictures.classes),
                "test": accuracy["accuracy"],
                "low": accuracy["low"],
                "high": accuracy["high"],
                "train": card.get("train_accuracy", float("nan")) if card else float("nan"),
                "printed": _printed(studied),
            }
        )
    return pd.DataFrame(rows)


def object_shares(pictures: Dataset) -> Tensor:
    """Share of every picture that its object takes, float64 [N]; the pictures have masks."""
    return pictures.masks.flatten(1).double().mean(1)


def _printed(studied: Subject) -> float:
    """The accuracy that a paper prints for this network on these data; NaN for none."""
    key = studied.pictures.name, studied.model_name
    for number in published.numbers():
        dataset, model, tags = scoreboard.COLUMNS.get(number.column, ("", "", ()))
        if number.row == "Accuracy" and key == (dataset, model) and studied.weights in tags:
            return number.published
    return float("nan")


def recognised(table: pd.DataFrame) -> str:
    """How many test pictures the networks get right; from `accuracies`."""
    best, worst = table.loc[table["test"].idxmax()], table.loc[table["test"].idxmin()]
    guess = f"guessing: {1 / worst['classes']:.1%}"
    if len(table) == 1:
        told = f"{best['test']:.1%} ({ends(best['low'], best['high'], '.1%')})"
        return (
            f"{best['network']} classifies {told} of {best['n']:,} test pictures correctly; "
            f"{guess}."
        )
    return (
        f"Of their test pictures the networks classify {worst['test']:.1%} ({worst['network']}) to "
        f"{best['test']:.1%} ({best['network']}) correctly; {guess}."
    )


def agreeing(beside: pd.DataFrame | None) -> str:
    """How many printed accuracies agree; from `scoreboard.beside_published`."""
    if beside is None:
        return "The papers print no accuracy for these pictures."
    agree = (beside["verdict"] == "agree").sum()
    return (
        f"{agree} of {len(beside)} printed accuracies are reproduced, within 0.02 or half the 95 % "
        "interval; a network trained several times counts with its mean."
    )


def overfitting(table: pd.DataFrame) -> str:
    """How much better networks do on the pictures they were trained on; from `accuracies`."""
    known = table.dropna(subset=["train"])
    if not len(known):
        return "No accuracy on the training pictures is recorded for these networks."
    gap = 100 * (known["train"] - known["test"])
    worst = known.loc[gap.idxmax(), "network"]
    if len(known) == 1:
        return f"On the pictures it was trained on, {worst} scores {gap.max():.1f} points more."
    return (
        f"On the pictures they were trained on they score {gap.min():.1f} to {gap.max():.1f} "
        f"points more; the gap is widest for {worst}."
    )


def in_short(table: pd.DataFrame, beside: pd.DataFrame | None) -> list[str]:
    """The chapter in three sentences."""
    return [recognised(table), agreeing(beside), overfitting(table)]


def judged_elsewhere(beside: pd.DataFrame | None) -> list[str]:
    """That no sentence is judged in this chapter, and how its printed accuracies are judged, from
    `scoreboard.beside_published`; Markdown."""
    sentences = [NOT_JUDGED]
    if beside is not None:
        told = ", ".join(
            f"{word} {count}" for word, count in beside["verdict"].value_counts().items()
        )
        number = counted(len(beside), "printed accuracy", "printed accuracies")
        sentences.append(f"[The scoreboard](scoreboard.md) judges {number} shown here: {told}.")
    return sentences


def trained(subjects: list[Subject]) -> list[str]:
    """Those of the networks that were trained here, for the line under their curves: accuracies of
    all training and all test pictures, whatever part of them is studied."""
    shown = [studied for studied in subjects if _card(studied)]
    return [f"{studied.label}, all training and test pictures" for studied in shown]


def trainings_of(table: pd.DataFrame, what: pd.DataFrame | None = None) -> list[str]:
    """The networks of single trainings and how many there are of each, for the line under them;
    from `variants.trainings`, of the models in `what` alone where that is given."""
    if what is not None:
        table = table[table["model"].isin(what["model"])]
    return [
        f"{network(model)}, CIFAR-10 test, {counted(len(part), 'training')}"
        for model, part in table.groupby("model", sort=False)
    ]


def moved(effects: pd.DataFrame | None) -> list[str]:
    """Which settings move an accuracy by more than luck, and what several at once move; from
    `variants.effects`, None where no results are read."""
    if effects is None:
        return ["Only where results are stored."]
    within, single = effects["within_luck"].astype(bool), effects["settings"] == 1
    sentences = [
        f"{(single & within).sum()} of {single.sum()} changes of one setting cannot be told from "
        "luck. Luck is the spread of trainings that differ in their seed alone, or "
        "not even in that."
    ]
    sentences += [
        f"{network(r.model)}, {r.what}: {100 * r.change:+.1f} points "
        f"({ends(100 * r.low, 100 * r.high, '+.1f')}), "
        f"{'within' if r.within_luck else 'more than'} luck."
        for r in effects[~(single & within)].itertuples()
    ]
    return sentences


def network(name: str) -> str:
    """A network of study.account.variants as people call it."""
    return _TRAINED.get(name) or names.network(name)


def beside_print(trainings: pd.DataFrame) -> pd.DataFrame:
    """`variants.trainings` of the networks whose accuracy is printed, with what people call each
    network with its data, and that accuracy (columns network, printed)."""
    accuracy = {n.column: n.published for n in published.numbers() if n.row == "Accuracy"}
    known = trainings[trainings["model"].isin(_COLUMNS)]
    return known.assign(
        network=[" ".join(map(names.network, model.split())) for model in known["model"]],
        printed=[accuracy[_COLUMNS[model]] for model in known["model"]],
    )


def same_seed(trainings: pd.DataFrame | None) -> list[str]:
    """How far the same seed moves when it is run twice; from `variants.trainings` or None."""
    twice = variants.twice(trainings) if trainings is not None else ()
    if not len(twice):
        return []
    points = 100 * twice["apart"]
    return [
        f"The same seed run twice on a GPU, {len(twice)} times: {points.min():.1f} to "
        f"{points.max():.1f} points apart."
    ]


# ---- tables as they are shown


def cards(subjects: list[Subject]) -> dict[str, dict[str, dict]]:
    """Dataset -> network -> card, of those studied networks that were trained here."""
    by_dataset: dict[str, dict[str, dict]] = {}
    for studied in subjects:
        if card := _card(studied):
            title = names.dataset(studied.pictures.name)
            by_dataset.setdefault(title, {})[names.network(studied.model_name)] = card
    return by_dataset


def _card(studied: Subject) -> dict | None:
    """The card of a network that was trained here on these pictures; None for any other."""
    key = studied.model_name, studied.pictures.name, studied.weights
    known = {(model, dataset, tag) for model, dataset, tag, _ in plan.TRAINED}
    return networks.card(studied.model_name, studied.weights) if key in known else None


def architectures(subjects: list[Subject]) -> pd.DataFrame:
    """A row a network: its parameters, its input range and its classes."""
    return pd.DataFrame(
        [
            {
                "network": studied.label,
                "parameters": sum(p.numel() for p in studied.model.parameters()),
                "black": studied.model.black,
                "white": studied.model.white,
                "classes": len(studied.pictures.classes),
            }
            for studied in subjects
        ]
    )


def accuracies_shown(table: pd.DataFrame) -> pd.DataFrame:
    """`accuracies` with the interval as text."""
    shown = table[["network", "n", "test"]].copy()
    shown["95 % interval"] = [ends(r.low, r.high) for r in table.itertuples()]
    shown["pictures trained on"] = table["train"]
    return shown


def refreshed(subjects: list[Subject], *, batch_size: int = 256) -> pd.DataFrame:
    """Accuracy with the batch-norm statistics that training left, and with fresh ones.

    Columns network, as trained, fresh statistics (text), for networks with batch norm; a line that
    says so where there is none.
    """
    rows = []
    for studied in subjects:
        fresh = deletion.fresh_statistics(studied)
        if fresh:
            kept = deletion.accuracy(studied, batch_size=batch_size)
            rows.append(
                {
                    "network": studied.label,
                    "as trained": _with_interval(kept),
                    "fresh statistics": _with_interval(fresh),
                }
            )
    none = [{"network": "none of these has batch normalisation"}]
    return pd.DataFrame(rows or none)


def _with_interval(accuracy: dict) -> str:
    return f"{accuracy['accuracy']:.3f} ({ends(accuracy['low'], accuracy['high'])})"


def effects_shown(trainings: pd.DataFrame | None) -> pd.DataFrame:
    """What each setting moves, in points of accuracy, from `variants.trainings`; None: a line."""
    if trainings is None:
        return pd.DataFrame([{"network": "only where results are stored"}])
    rows = [
        {
            "network": network(r.model),
            "changed": r.what,
            "trainings": f"{r.n_before} and {r.n_after}",
            "accuracy": f"{r.before:.3f} to {r.after:.3f}",
            "moves by": f"{100 * r.change:+.1f} ({ends(100 * r.low, 100 * r.high, '+.1f')})",
            "beside luck": "within" if r.within_luck else "more",
        }
        for r in variants.effects(trainings).itertuples()
    ]
    return pd.DataFrame(rows)
