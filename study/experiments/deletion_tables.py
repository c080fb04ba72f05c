"""What the flags and shares of study.experiments.deletion say, as tidy tables of several subjects.

`flags_by_subject` is, for each subject's label, what `deletion.allegiances` returns for it.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from lib import metrics
from lib.attribution import crosses
from lib.metrics import PAPER_FRACTIONS
from study.experiments import deletion
from study.experiments.deletion import FILLS, MAPS, MATCHED

Flags = dict[tuple[str, str], Tensor]
# the fill that should help a map's class, and the signed maps under it
HELPING = {"black": MATCHED["white"][1:], "white": MATCHED["black"][1:]}
SIGNED = [(name, fill) for fill in FILLS for name in MATCHED[fill][1:]]
STAYS = 0.005  # a curve is flat where allegiance stays so close to its last value


def areas(flags_by_subject: dict[str, Flags]) -> pd.DataFrame:
    """Areas of every subject, map and fill.

    Columns subject, map, fill, auc, low, high, n.
    """
    rows = [
        {"subject": subject, **row, "n": flags[row["map"], row["fill"]].shape[1]}
        for subject, flags in flags_by_subject.items()
        for row in deletion.auc_rows(flags)
    ]
    return pd.DataFrame(rows)


def differences(
    flags_by_subject: dict[str, Flags], pairs: list[tuple[str, str, str]], until: float = 0.9
) -> pd.DataFrame:
    """Areas of the first map minus those of the second, for (first, second, fill), paired.

    Columns subject, map, against, fill, difference, low, high, n; `until` as in
    `deletion.auc_differences`.
    """
    named = [((first, fill), (second, fill)) for first, second, fill in pairs]
    frames = []
    for subject, flags in flags_by_subject.items():
        frame = deletion.auc_differences(flags, named, until)
        frame[["map", "against", "fill"]] = pairs
        frames.append(frame.assign(subject=subject))
    columns = ["subject", "map", "against", "fill", "difference", "low", "high", "n"]
    return pd.concat(frames, ignore_index=True)[columns]


def with_controls(
    flags_by_subject: dict[str, Flags], sampled: dict[str, Flags]
) -> dict[str, Flags]:
    """`flags_by_subject` with the controls of `sampled`, as of `deletion.beside_controls`."""
    return {
        subject: flags
        | {pair: kept for pair, kept in sampled[subject].items() if pair[0] in crosses.CONTROLS}
        for subject, flags in flags_by_subject.items()
    }


def gains(flags_by_subject: dict[str, Flags], until: float = 0.9) -> pd.DataFrame:
    """`differences` of every signed map from the original, under its own fill."""
    return differences(flags_by_subject, [(name, "original", fill) for name, fill in SIGNED], until)


def against_random(flags_by_subject: dict[str, Flags]) -> pd.DataFrame:
    """`differences` of the paper's maps and of edges from random pixels.

    `flags_by_subject` as of `deletion.beside_controls`.
    """
    pairs = [
        (name, "random", fill) for fill, names in MATCHED.items() for name in (*names, "edges")
    ]
    return differences(flags_by_subject, pairs)


def crossed(table: pd.DataFrame) -> pd.DataFrame:
    """Does the other colour do less harm? From `areas`.

    Columns subject, map, own, other (areas under the map's own fill and the other one), less (the
    other's interval lies above).
    """
    by = table.set_index(["subject", "map", "fill"])
    rows = []
    for subject in table["subject"].unique():
        for name, fill in SIGNED:
            own = by.loc[(subject, name, fill)]
            other = by.loc[(subject, name, _other(fill))]
            less = bool(other["low"] > own["high"])
            rows.append(
                {
                    "subject": subject,
                    "map": name,
                    "own": own["auc"],
                    "other": other["auc"],
                    "less": less,
                }
            )
    return pd.DataFrame(rows)


def _other(fill: str) -> str:
    return FILLS[1 - FILLS.index(fill)]


def improved(scores: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What the colour that the sign asks for does to the class's logit, from `score_curves`.

    Columns subject, map, fill, first, low, high, rose (mean change of the logit at the first
    fraction, its interval, share of pictures whose logit rose), best, at (the largest mean change
    and its fraction), last, probability (mean change at the first fraction).
    """
    rows = []
    for subject, frame in scores.items():
        for fill, names in HELPING.items():
            for name in names:
                part = frame[(frame["map"] == name) & (frame["fill"] == fill)]
                part = part[part["fraction"] > 0]
                first, best = part.iloc[0], part.loc[part["logit"].idxmax()]
                rows.append(
                    {
                        "subject": subject,
                        "map": name,
                        "fill": fill,
                        "first": first["logit"],
                        "low": first["logit_low"],
                        "high": first["logit_high"],
                        "rose": first["rose"],
                        "best": best["logit"],
                        "at": best["fraction"],
                        "last": part.iloc[-1]["logit"],
                        "probability": first["probability"],
                    }
                )
    return pd.DataFrame(rows)


def rose(soft: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Share of pictures whose logit rose when pixels moved as their sign asks.

    From `soft_replacement`; columns subject, map, fill, strength, rose.
    """
    rows = []
    for subject, frame in soft.items():
        for fill, names in HELPING.items():
            part = frame[frame["map"].isin(names) & (frame["fill"] == fill)]
            rows.append(part.assign(subject=subject))
    return pd.concat(rows, ignore_index=True)[["subject", "map", "fill", "strength", "rose"]]


def active_beside_positive(soft: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Area under the probability curve of active minus positive, and of inactive minus negative.

    Columns subject, first, second, fill, strength, difference, half: the largest half-width of a
    single area at that strength, wider than that of the paired difference.
    """
    rows = []
    for subject, frame in soft.items():
        for strength, part in frame.groupby("strength"):
            area = part.set_index(["map", "fill"])["area"]
            half = float(((part["area_high"] - part["area_low"]) / 2).max())
            for fill, (_, plain, rivalled) in MATCHED.items():
                rows.append(
                    {
                        "subject": subject,
                        "first": rivalled,
                        "second": plain,
                        "fill": fill,
                        "strength": strength,
                        "difference": area[rivalled, fill] - area[plain, fill],
                        "half": half,
                    }
                )
    return pd.DataFrame(rows)


# ---- signs and kept pixels


def zero_greys(shares_by_subject: dict[str, dict[str, Tensor]]) -> pd.DataFrame:
    """Where a zero gradient is drawn, from `deletion.signs`.

    Columns subject, n, median, p5, p95 (of the grey level over pictures), small (mean share of
    pixels with a small gradient).
    """
    rows = []
    for subject, shares in shares_by_subject.items():
        grey = shares["zero_at"].double()
        p5, median, p95 = grey.quantile(torch.tensor([0.05, 0.5, 0.95]).double()).tolist()
        rows.append(
            {
                "subject": subject,
                "n": len(grey),
                "median": median,
                "p5": p5,
                "p95": p95,
                "small": shares["small"].double().mean().item(),
            }
        )
    return pd.DataFrame(rows)


def sign_shares(shares_by_subject: dict[str, dict[str, Tensor]]) -> pd.DataFrame:
    """How the two signs share a picture, from `deletion.signs`.

    Columns subject, n, share (positive, negative, both, carried), mean, low, high.
    """
    rows = []
    for subject, shares in shares_by_subject.items():
        for name in ("positive", "negative", "both", "carried"):
            low, high = metrics.bootstrap(shares[name])
            rows.append(
                {
                    "subject": subject,
                    "n": len(shares[name]),
                    "share": name,
                    "mean": shares[name].double().mean().item(),
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)


def joined(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The same table of several subjects, such as `deletion.kept_pixels`: subject, its columns."""
    return pd.concat(tables, names=["subject"]).reset_index("subject").reset_index(drop=True)


def flattening(flags_by_subject: dict[str, Flags], shares: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Where the curves of signed maps turn flat, and whether for want of pixels.

    `shares` as of `deletion.kept_pixels`. Columns subject, map, fill, flat (first fraction from
    which allegiance stays near its last value), kept, done_50, done_80 (share of pictures with
    nothing left to delete), floor (flat while 95 % of the pictures still had pixels), last.
    """
    rows = []
    for subject, flags in flags_by_subject.items():
        share = shares[subject].set_index("map")
        for name, fill in SIGNED:
            curve = flags[name, fill].double().mean(1)
            flat = _flat_after(curve)
            mine = share.loc[name]
            rows.append(
                {
                    "subject": subject,
                    "map": name,
                    "fill": fill,
                    "flat": flat,
                    "kept": mine["mean"],
                    "done_50": mine["done_50"],
                    "done_80": mine["done_80"],
                    "floor": bool(flat < mine["p5"]),
                    "last": curve[-1].item(),
                }
            )
    return pd.DataFrame(rows)


def _flat_after(curve: Tensor) -> float:
    """The first fraction from which a curve [F] stays within `STAYS` of its last value."""
    near = (curve - curve[-1]).abs() <= STAYS
    return next(f for k, f in enumerate(PAPER_FRACTIONS) if near[k:].all())


def readings(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Printed beside released equations, from `deletion.printed_and_released`.

    Columns subject, n, map, fill, printed, printed_low, printed_high, released, released_low,
    released_high, ranks, wrong_sign.
    """
    rows = []
    for subject, frame in tables.items():
        for (name, fill), part in frame.groupby(["map", "fill"], sort=False):
            by = part.set_index("rule")
            first = part.iloc[0]
            row = {"subject": subject, "n": int(first["n"]), "map": name, "fill": fill}
            for rule in ("printed", "released"):
                row |= {
                    rule: by.loc[rule, "auc"],
                    f"{rule}_low": by.loc[rule, "low"],
                    f"{rule}_high": by.loc[rule, "high"],
                }
            rows.append(row | {"ranks": first["ranks"], "wrong_sign": first["wrong_sign"]})
    return pd.DataFrame(rows)


def differing(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `readings` whose two areas differ by more than one in the third digit."""
    return table[(table["printed"] - table["released"]).abs() > 0.001].reset_index(drop=True)


def without_relu(contents: dict[str, dict]) -> pd.DataFrame:
    """What `deletion.turn` and the areas of the paper's pairs say of networks, long.

    `contents` is, for each subject, the dict of `turn` joined with "kept" (of `kept_pixels`) and
    "flags" (of `allegiances`). Columns subject, quantity, value, low, high.
    """
    rows = []
    for subject, about in contents.items():
        told = {"turn": (about["turn"],), "zero": (about["zero"],)}
        share = about["kept"].set_index("map")["mean"]
        told |= {f"kept, {name}": (share[name],) for name in MAPS[1:]}
        pairs = {pair: about["flags"][pair] for pair in deletion.PRINTED_PAIRS}
        for row in deletion.auc_rows(pairs):
            told[f"{row['map']}, {row['fill']}"] = row["auc"], row["low"], row["high"]
        for quantity, (value, *ends) in told.items():
            low, high = ends or (float("nan"), float("nan"))
            rows.append(
                {
                    "subject": subject,
                    "quantity": quantity,
                    "value": value,
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)
