"""Folders as people have them: a class a sub-folder, in parts for training and test or not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from study.subjects.pictures import DataError

# endings under which a folder's pictures are found
PICTURES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".jp2", ".mpo", ".pbm", ".pgm", ".ppm", ".pnm"),
}
# what archives of a Mac, picture servers and the bins of systems leave beside people's own folders
_NOT_OURS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"}
# what the parts of a folder are called, and the part that is taken for another where it is absent
_PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}
_SET = re.compile("[ _-]?set$")  # behind each of these names, as in training_set
_STAND_INS = {"test": "val"}


def visible(folder: Path) -> list[Path]:
    """What a person put into a folder, by name: hidden files and systems' own are passed over."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"{folder} cannot be read ({error.strerror}); name a folder that can be."
        ) from None
    return [entry for entry in entries if entry.name[0] != "." and entry.name not in _NOT_OURS]


def folders(folder: Path) -> list[Path]:
    """The sub-folders that a person put into a folder, by name."""
    return [entry for entry in visible(folder) if entry.is_dir()]


def pictures_in(folder: Path) -> list[Path]:
    """All pictures in a folder and in the folders inside it, by name."""
    return sorted(file for file in _files(folder, set()) if file.suffix.lower() in PICTURES)


def _files(folder: Path, walked: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in walked:  # a link that leads back
        return
    walked.add(real)
    for entry in visible(folder):
        if entry.is_dir():
            yield from _files(entry, walked)
        else:
            yield entry


def listing(folder: Path) -> tuple[list[Path], list[int], tuple[str, ...]]:
    """Files, their class numbers and the names of the classes of a class-per-folder tree.

    Classes are the sub-folders by name; their pictures may lie in folders inside them.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; "
            "an image folder holds one sub-folder of pictures for each class."
        )
    files: list[Path] = []
    labels: list[int] = []
    classes = tuple(sub.name for sub in folders(folder))
    for k, name in enumerate(classes):
        pictures = pictures_in(folder / name)
        if not pictures:
            raise DataError(_no_picture(folder / name))
        files += pictures
        labels += [k] * len(pictures)
    if not files:
        raise DataError(
            f"{folder} holds no class folders; it needs one sub-folder of pictures for each class."
        )
    return files, labels, classes


def _no_picture(folder: Path) -> str:
    """What is said of a class folder without a picture: what it has instead, where it has it."""
    endings = {file.suffix.lower() for file in _files(folder, set())} - {""}
    instead = f" (its files end in {', '.join(sorted(endings)[:5])})" if endings else ""
    return (
        f"{folder} holds no picture{instead}; remove it, or convert its pictures: accepted endings "
        f"are {', '.join(sorted(PICTURES))}."
    )


def part(folder: Path, split: str) -> Path:
    """The folder of a split: `folder` itself where it holds classes and no splits.

    "val" and its like are taken for "test" where there is no "test".
    """
    if split != Path(split).name or split == "..":
        raise DataError(f"unknown split {split!r} of {folder}; a split is the name of a folder.")
    wanted = _kind(split) or split
    if wanted not in _PARTS:
        return folder / split if (folder / split).is_dir() else folder
    parts = _parts(folder)
    for kind in (wanted, _STAND_INS.get(wanted)):
        if kind in parts:
            _check_part(parts[kind], list(parts.values()))
            return parts[kind]
    if not parts:
        _refuse_other_parts(folder)
        return folder
    there = " and ".join(part.name for part in parts.values())
    stands_in = " or ".join(name for name in (wanted, _STAND_INS.get(wanted)) if name)
    raise DataError(
        f"{folder} has {there} but no {stands_in}; put some of its pictures into "
        f"{folder / wanted}/<class>/, or name one part: imagefolder:{next(iter(parts.values()))}."
    )


def _check_part(part: Path, parts: list[Path]) -> None:
    """DataError for a part that has no classes, or one that the other parts do not have."""
    classes = {sub.name for sub in folders(part)}
    others = [other for other in parts if other != part and len(folders(other)) > 1]
    remedy = f", or name the part that has them: imagefolder:{others[0]}" if others else ""
    if not classes:
        raise DataError(
            f"{part} holds no class folders; it needs one sub-folder of pictures for each "
            f"class{remedy}."
        )
    if len(classes) > 1:
        return
    _refuse_other_parts(part)  # the part once more
    for other in others:
        if not classes <= {sub.name for sub in folders(other)}:
            raise DataError(
                f"{part} holds one folder, {classes.pop()}, which is no class of {other.name}; "
                f"sort its pictures into folders of these classes{remedy}."
            )


def _parts(folder: Path) -> dict[str, Path]:
    """ "train", "val" and "test" -> sub-folder, of those that are there.

    One such name alone, beside folders of pictures, is a class: a train beside a bus.
    """
    inside = folders(folder)
    named: dict[str, Path] = {}
    shared = _shared_prefix([sub.name for sub in inside])
    for kind in _PARTS:
        called = [sub for sub in inside if _kind(sub.name.removeprefix(shared)) == kind]
        if len(called) > 1:
            raise DataError(
                f"{folder} has both {called[0].name} and {called[1].name}; name one of them, such "
                f"as imagefolder:{called[0]}."
            )
        if called:
            named[kind] = called[0]
    if len(named) == 1 and any(pictures_in(sub) for sub in inside if sub not in named.values()):
        return {}
    return named


def _shared_prefix(names: list[str]) -> str:
    """What stands before "train" and before "test" alike, as in seg_train and seg_test."""
    kinds: dict[str, set[str | None]] = {}
    for name in names:
        before, gap, last = name.rpartition("_") if "_" in name else name.rpartition("-")
        kinds.setdefault(before + gap, set()).add(_kind(last))
    return next(
        (p for p, prefix_kinds in kinds.items() if p and len(prefix_kinds - {None}) > 1), ""
    )


def _kind(name: str) -> str | None:
    """What a folder called so is: "train", "val", "test" or none of these."""
    bare = _SET.sub("", name.lower())
    return next((kind for kind, names in _PARTS.items() if bare in names), None)


def _refuse_other_parts(folder: Path) -> None:
    """DataError where sub-folders could be parts, or hold the parts, as well as classes.

    They then hold no picture of their own and all have folders of the same names inside.
    """
    shared: set[str] | None = None
    tops = [sub for sub in folders(folder) if folders(sub) or _own_picture(sub)]
    for sub in tops:
        if _own_picture(sub):
            return
        names = {inner.name for inner in folders(sub)}
        shared = names if shared is None else shared & names
    if shared is None or len(shared) < 2:
        return
    raise DataError(
        f"{folder} could hold classes or parts: {_some(sub.name for sub in tops)} have no picture "
        f"of their own and the same folders inside, {_some(shared)}; where these are classes or "
        f"parts, name the folder that holds them, such as imagefolder:{tops[0]}, and where they "
        "are not, put the pictures of a class into its folder itself."
    )


def _own_picture(folder: Path) -> bool:
    return any(entry.suffix.lower() in PICTURES for entry in visible(folder))


def _some(names: Iterable[str], most: int = 3) -> str:
    sorted_names = sorted(names)
    return ", ".join(sorted_names[:most]) + (" ..." if len(sorted_names) > most else "")
