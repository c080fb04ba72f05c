"""What makes an experiment: a function of a subject, its name, its tolerance, its place in a list.

A function `f(subject, **arguments)` that returns rows becomes an experiment by one line above it.
Called for an ordinary subject it computes on the spot. For one whose results are kept (its `stored`
is True) it reads the cell of exactly these arguments, pixels and weights, or computes and writes
it. `EXPERIMENTS` lists them all, so that each can be recomputed and compared with its cells.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, update_wrapper

import pandas as pd
from torch import Tensor

from study.store import cells
from study.store.cells import Cell

# arguments that change memory, speed or what is said on the way, and no value
FREE = ("batch_size", "log")
LONGEST = 180  # bytes of a file's name before its key; most systems take 255 in all


def as_table(content: dict) -> pd.DataFrame:
    """The rows of a content, tidy."""
    return pd.DataFrame(content["rows"])


def first_row(content: dict) -> dict:
    """The only row of a content."""
    return content["rows"][0]


def whole(content: dict) -> dict:
    """A content as it is."""
    return content


def every(parameters: dict) -> bool:
    """For `Experiment.drawn`: any cell may be drawn."""
    return True


@dataclass(eq=False)
class Experiment:
    """A function with what is needed to keep, find and recompute what it returns.

    function: returns a list of rows, or a dict with "rows" and tensors (bool, or numbers, which are
    kept as float16), or None where it does not apply.
    tolerance: how far a number may lie from the stored one when it is computed again, in units of
    the largest of its column; of flags, the share that may differ.
    returns: what a caller is given of the content.
    free: arguments that do not decide the value.
    sample: how a part of a cell is recomputed: None, all of it; "pictures", some of the pictures;
    (argument, columns), one of the values of `argument` that the rows list in `columns`; tensors
    beside the rows then go through these values along their first axis.
    drawn: which cells can be recomputed in minutes, from their parameters.
    again: how a stored content is computed once more, where `function` takes no subject.
    reach: of what is random by nature, how far a number of a content's rows may lie, in its own
    unit, in place of `tolerance`; flags are then not compared.
    rests_on_cells: whether it summarises what other experiments have stored.
    """

    function: Callable
    name: str
    tolerance: float
    returns: Callable[[dict], object] = as_table
    free: tuple[str, ...] = FREE
    sample: str | tuple[str, tuple[str, ...]] | None = None
    drawn: Callable[[dict], bool] = every
    again: Callable[[dict], dict] | None = None
    reach: Callable[[dict], float] | None = None
    rests_on_cells: bool = False

    def __post_init__(self):
        update_wrapper(self, self.function)

    def __call__(self, subject, *args, **kwargs):
        """What `function` returns for the subject, computed on the spot or kept."""
        content = self.content(subject, *args, **kwargs)
        return None if content is None else self.returns(content)

    def content(self, subject, *args, **kwargs) -> dict | None:
        """The cell's content with tensors unpacked, as it would be read, stored or not."""
        bound = inspect.signature(self.function).bind(subject, *args, **kwargs)
        bound.apply_defaults()
        compute = partial(self._packed, bound)
        made = cells.finished(self.cell(bound), compute) if subject.stored else compute()
        return None if made is None else unpacked(made)

    def cell(self, bound: inspect.BoundArguments) -> Cell:
        """The cell of these arguments."""
        subject, *values = bound.arguments.values()
        names = list(bound.arguments)[1:]
        keyed = {n: _keyed(v) for n, v in zip(names, values, strict=True) if n not in self.free}
        return Cell(self.name, file_label(subject.identity, keyed), {**subject.identity, **keyed})

    def _packed(self, bound: inspect.BoundArguments) -> dict | None:
        made = self.function(*bound.args, **bound.kwargs)
        if made is None:
            return None
        content = made if isinstance(made, dict) else {"rows": made}
        return {k: cells.pack(v) if isinstance(v, Tensor) else v for k, v in content.items()}


def unpacked(content: dict) -> dict:
    """A content as it is read, with its tensors."""
    return {k: cells.unpack(v) if cells.is_packed(v) else v for k, v in content.items()}


def file_label(identity: dict, keyed: dict) -> str:
    """What makes the name of a cell's file readable: its subject, and arguments that are words.

    Of paths that would make it too long for a file, the ends.
    """
    named = [identity[name] for name in ("dataset", "split", "model", "weights")]
    named += [f"{v:g}" if isinstance(v, float) else v for v in keyed.values()]
    words = [part for part in named if isinstance(part, str)]
    label = "-".join(words)
    if len(label.encode()) > LONGEST:
        ends = "-".join(part[-30:] for part in words)
        label = ends.encode()[-LONGEST:].decode(errors="ignore")
    for separator in "/:":
        label = label.replace(separator, "_")
    return label


def _keyed(value):
    """An argument as JSON keeps it; another subject by what identifies it."""
    if hasattr(value, "identity"):
        return value.identity
    return list(value) if isinstance(value, tuple) else value


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(name: str, **options) -> Callable[[Callable], Experiment]:
    """Make a function an experiment called `name`; `options` are fields of `Experiment`."""

    def register(function: Callable) -> Experiment:
        EXPERIMENTS[name] = Experiment(function, name, **options)
        return EXPERIMENTS[name]

    return register
