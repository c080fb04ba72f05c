"""The tests of the kernels on the installed package: `pytest -p tests.installed tests/lib`.

Where a test says `lib` it gets `sign_and_noise`, the very same modules. Whatever the package
imports, at once or within a function, is refused unless it belongs to the standard library or to
what its wheel asks for. Of a test with many cases the first and the last run, which keeps it under
a minute. At the end, every public function must have been called.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path
from types import CodeType, FrameType, ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
NAME = "sign_and_noise"
MAY_IMPORT = {*sys.stdlib_module_names, "torch", "numpy", "scipy", NAME}
_import = builtins.__import__


def _import_within_bounds(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__") or ""
    foreign = level == 0 and name.partition(".")[0] not in MAY_IMPORT
    if foreign and importer.partition(".")[0] == NAME:
        raise ImportError(f"{importer} imports {name}, which its wheel does not ask for.")
    return _import(name, globals, locals, fromlist, level)


def _modules() -> dict[str, ModuleType]:
    """The package and all of its modules, imported."""
    package = importlib.import_module(NAME)
    found = pkgutil.walk_packages(package.__path__, f"{NAME}.")
    return {NAME: package} | {entry.name: importlib.import_module(entry.name) for entry in found}


def public_functions(package: ModuleType) -> dict[str, CodeType]:
    """Name -> code of the functions that a package offers, without their decorators."""
    names = getattr(package, "__all__", None) or [n for n in vars(package) if n[0] != "_"]
    offered = {name: inspect.unwrap(getattr(package, name)) for name in names}
    return {name: f.__code__ for name, f in offered.items() if inspect.isfunction(f)}


builtins.__import__ = _import_within_bounds
MODULES = _modules()
if CHECKOUT in Path(MODULES[NAME].__file__).resolve().parents:
    raise pytest.UsageError(f"{NAME} is that of the checkout; install the wheel first.")
for _name, _module in MODULES.items():
    sys.modules["lib" + _name.removeprefix(NAME)] = _module

WAITING = {
    code: f"{package}.{name}"
    for package in ("attribution", "metrics")
    for name, code in public_functions(MODULES[f"{NAME}.{package}"]).items()
}


def pytest_collection_modifyitems(config, items):
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    chosen = {item for group in cases.values() for item in (group[0], group[-1])}
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def _note_call(frame: FrameType, event: str, argument: object) -> None:
    WAITING.pop(frame.f_code, None)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    before = sys.gettrace()
    sys.settrace(_note_call)
    try:
        return (yield)
    finally:
        sys.settrace(before)


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 0 and WAITING:
        print("\nno test called", ", ".join(sorted(WAITING.values())))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
