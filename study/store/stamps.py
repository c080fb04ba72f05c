"""Whether stored results still follow from the code: a stamp a kind of experiment.

`code` is a fingerprint over the syntax trees of everything of lib and study that a function
reaches, so that formatting, comments, docstrings and annotations do not count. A stamp
(data/results/stamps.json) says at which fingerprint a sample of the kind's cells was last computed
again and agreed. What is reached is found by names, without running anything: too much rather than
too little.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path

from study.paths import ROOT
from study.store import cells

# how results are kept does not decide their values
LEFT_OUT = ("study.store", "study.paths", "study.subjects.names")

Place = tuple[str, str]  # a module, and a name of its top level


def path() -> Path:
    """The file of the stamps."""
    return cells.RESULTS / "stamps.json"


def read() -> dict[str, dict]:
    """Kind -> its stamp; {} where there is none yet."""
    return json.loads(path().read_text(encoding="utf8")) if path().is_file() else {}


def write(kind: str, stamp: dict) -> None:
    """Stamp a kind anew; two processes that verify different kinds lose none of their stamps."""
    with cells.one_at_a_time("stamps"):
        stamps = {**read(), kind: stamp}
        cells.write_text(path(), json.dumps(dict(sorted(stamps.items())), indent=1) + "\n")


@lru_cache
def code(function: Callable) -> str:
    """Twelve hex digits over the code that `function`, of lib or study, reaches."""
    function = inspect.unwrap(function)
    reached = _reached((function.__module__, function.__qualname__.split(".")[0]))
    # by name and tree alone: a function may move to another module
    text = sorted(f"{name} {tree}" for (_, name), trees in reached.items() for tree in trees)
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:12]


def places(function: Callable) -> set[Place]:
    """What `code` is taken over: (module, name) of every definition."""
    function = inspect.unwrap(function)
    return set(_reached((function.__module__, function.__qualname__.split(".")[0])))


def _reached(start: Place) -> dict[Place, list[str]]:
    """Every definition that can be reached from `start`, and its trees as text."""
    reached: dict[Place, list[str]] = {}
    waiting = [start]
    while waiting:
        place = waiting.pop()
        if place not in reached:
            reached[place], mentioned = definition(place)
            waiting.extend(mentioned)
    return reached


@cache
def definition(place: Place) -> tuple[list[str], set[Place]]:
    """The trees of a definition as text, and the definitions that they mention."""
    module, name = place
    nodes = module_of(module).definitions[name]
    mentioned = {other for node in nodes for other in _mentioned(module, node)}
    return [_text(node) for node in nodes], mentioned


class _Module:
    """The definitions and imports of a module's top level."""

    def __init__(self, name: str, tree: ast.Module, is_package: bool):
        self.package = name if is_package else name.rpartition(".")[0]
        self.definitions: dict[str, list[ast.AST]] = {}
        self.imports = dict(_imports(tree.body, self.package))
        for node in tree.body:
            for target in _defined(node):
                self.definitions.setdefault(target, []).append(node)


@cache
def module_of(name: str) -> _Module | None:
    """A module of lib or study; None for any other, and for a name that is no module."""
    base = ROOT.joinpath(*name.split("."))
    for file in (base / "__init__.py", base.with_suffix(".py")):
        if name.split(".")[0] in ("lib", "study") and file.is_file():
            return _Module(
                name, ast.parse(file.read_text(encoding="utf8")), file.name == "__init__.py"
            )
    return None


def _imports(body: list[ast.stmt], package: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """(name here, (module, name there or None for the module itself)) of import statements."""
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], (alias.name, None)
        if isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield alias.asname or alias.name, (module, alias.name)


def _defined(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module's top level defines or changes."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Name):
                    yield part.id


def _mentioned(module: str, node: ast.AST) -> Iterator[Place]:
    """The definitions that a definition in `module` mentions."""
    here = module_of(module)
    inside = [n for n in ast.walk(node) if isinstance(n, (ast.Import, ast.ImportFrom))]
    imports = {**here.imports, **dict(_imports(inside, here.package))}
    for chain in _chains(node):
        yield from _resolved(module, imports, chain)


def _chains(node: ast.AST) -> Iterator[list[str]]:
    """Every name that is read in a definition, with the attributes that follow it.

    What stands above an experiment, its name and tolerance, is left out.
    """
    names: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        names.append(inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield [inner.id, *reversed(names)]
        return
    for field, value in ast.iter_fields(inner):
        for each in value if isinstance(value, list) else [value]:
            above = field == "decorator_list" and _makes_an_experiment(each)
            if isinstance(each, ast.AST) and not above:
                yield from _chains(each)


def _resolved(module: str, imports: dict, chain: list[str]) -> Iterator[Place]:
    """Where the first name of a chain is defined; of a module, where what follows it is."""
    name, *rest = chain
    if name in module_of(module).definitions:
        yield module, name
        return
    if name not in imports:
        return
    origin, original = imports[name]
    inner = f"{origin}.{original}" if original else origin
    if module_of(inner):  # a module was imported
        if inner.startswith(LEFT_OUT):
            return
        if rest:
            yield from _resolved(inner, module_of(inner).imports, rest)
        else:  # handed on as a whole: anything of it may be meant
            for each in (*module_of(inner).definitions, *module_of(inner).imports):
                yield from _resolved(inner, module_of(inner).imports, [each])
    elif original and module_of(origin) and not origin.startswith(LEFT_OUT):
        yield from _resolved(origin, module_of(origin).imports, [original, *rest])


def _text(node: ast.AST) -> str:
    """A definition as text that formatting, docstrings and annotations do not change."""
    if isinstance(node, ast.Constant):
        return repr(node.value)
    parts = [type(node).__name__]
    for field, value in ast.iter_fields(node):
        if field in ("ctx", "kind", "returns", "annotation", "type_comment", "type_params"):
            continue
        if field == "decorator_list" and isinstance(node, ast.FunctionDef):
            value = [d for d in value if not _makes_an_experiment(d)]
        if field == "body" and isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            value = value[1:] if ast.get_docstring(node) is not None else value
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST):
                parts.append(_text(each))
            elif each is not None:
                parts.append(str(each))
    return f"({' '.join(parts)})"


def _makes_an_experiment(decorator: ast.expr) -> bool:
    """Is this `@experiment(...)`, whose tolerance changes no value?"""
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Name)
        and decorator.func.id in ("experiment", "claim")
    )
