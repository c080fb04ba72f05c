"""Execute chapters with papermill: the driver that the Makefile calls, and that you may call too.

    python notebooks/run.py
        every chapter at the quick profile, into _build/quick/
    python notebooks/run.py 05 --profile paper
        one chapter at the papers' scale, into _build/paper/
    python notebooks/run.py 05 -p model=resnet18 -p dataset=cifar10
        one chapter on another network and other data
    python notebooks/run.py how_to_use -p picture=cat.png
        your own picture, explained
    python notebooks/run.py --refresh
        rewrite the stored outputs of notebooks/ (quick) or book/ (paper)

Whatever is unknown (a chapter, a profile, a parameter) is refused before anything runs. A value is
a number, True, False, None, a list of these, or else the text as it stands: no value is ever run.
Where a chapter has a list, one value is a list of one, and text is parted at its commas:
`seeds=2`, `methods=random,saliency`.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import re
import shlex
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ("quick", "paper")
START_SECONDS = 120  # that a kernel may take until it answers
THREADS = "2"  # that stored outputs are made and compared with
UNNUMBERED = ("how_to_use",)  # chapters without a number come last
QUICK = (
    "**Quick profile: small drawn data.** The published book shows this chapter on real data, "
    "at the papers' own scale."
)


class RunError(ValueError):
    """The run asked for cannot be done; the message names the thing and what is accepted."""


def chapters(root: Path = ROOT) -> dict[str, Path]:
    """Chapter name -> notebook, in reading order."""
    numbered = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    others = (root / "notebooks" / f"{name}.ipynb" for name in UNNUMBERED)
    return {path.stem: path for path in [*numbered, *filter(Path.exists, others)]}


def select(wanted: list[str], root: Path = ROOT) -> dict[str, Path]:
    """The chapters named in full or by number, 05 or 5; all of them for an empty list."""
    known = chapters(root)
    if not known:
        raise RunError(
            f"there is no chapter in {root / 'notebooks'}; "
            "a chapter is a notebook named NN_name.ipynb."
        )
    chosen = set()
    for name in wanted:
        stem = Path(name).name.removesuffix(".ipynb")
        named = {
            chapter
            for chapter in known
            if stem == chapter or (stem.isdecimal() and stem.zfill(2) == chapter[:2])
        }
        if not named:
            raise RunError(
                f"unknown chapter {name!r}; accepted are {', '.join(known)}, or the number alone."
            )
        chosen |= named
    return {chapter: path for chapter, path in known.items() if chapter in chosen or not wanted}


def defaults(notebook: Path) -> dict:
    """Parameter -> default, as assigned in the one cell tagged `parameters`."""
    cells = json.loads(notebook.read_text(encoding="utf8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise RunError(
            f"{notebook.name} has {len(tagged)} cells tagged `parameters`; "
            "a chapter has exactly one."
        )
    values = {}
    for line in ast.parse("".join(tagged[0]["source"])).body:
        try:
            if not (
                isinstance(line, ast.Assign)
                and len(line.targets) == 1
                and isinstance(line.targets[0], ast.Name)
            ):
                raise ValueError
            values[line.targets[0].id] = ast.literal_eval(line.value)
        except ValueError:
            raise RunError(
                f"{notebook.name}: line {line.lineno} of its `parameters` cell is not of the form "
                "name = plain value."
            ) from None
    return values


def profile_values(profile: str, root: Path = ROOT) -> dict[str, dict]:
    """Chapter -> the value of each of its parameters at a profile.

    A parameter has its default unless notebooks/profiles/<profile>.yaml gives it another value.
    """
    import yaml

    if profile not in PROFILES:
        raise RunError(f"unknown profile {profile!r}; accepted are {', '.join(PROFILES)}.")
    path = root / "notebooks" / "profiles" / f"{profile}.yaml"
    if not path.exists():
        raise RunError(
            f"{path} is missing; it names, for each chapter, the parameters that differ from their "
            "defaults."
        )
    given = yaml.safe_load(path.read_text(encoding="utf8")) or {}
    known = {name: defaults(notebook) for name, notebook in chapters(root).items()}
    if unknown := sorted(set(given) - set(known)):
        raise RunError(
            f"{path.name} names the unknown chapter {unknown[0]!r}; "
            f"accepted are {', '.join(known)}."
        )
    for name, values in given.items():
        if unknown := sorted(set(values or {}) - set(known[name])):
            raise RunError(
                f"{path.name} gives {name} a parameter {unknown[0]!r}, which it does not have; "
                f"accepted are {', '.join(known[name])}."
            )
    return {name: values | (given.get(name) or {}) for name, values in known.items()}


def value_of(text: str):
    """`3`, `None`, `True` and `[1, 2]` are Python's values; all else is text, without quotes.

    The texts of a list need none: `[saliency, rectgrad]`.
    """
    value = {"null": None, "true": True, "false": False}.get(text, text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if text.startswith("[") and text.endswith("]"):
            value = listed(text)
    value = list(value) if isinstance(value, tuple) else value
    items = value if isinstance(value, list) else [value]
    is_plain = all(item is None or isinstance(item, (bool, int, float, str)) for item in items)
    return value if is_plain else text


def listed(text: str):
    """A list whose texts have no quotes, by the rules of YAML; the text itself if it is none."""
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def parted(text: str) -> list[str]:
    """The `name=value` texts of one text, parted at spaces as a shell would, quotes and all.

    What follows a space without a name of its own belongs to the value before it, so that
    `dataset=imagefolder:/data/my birds images=50` are two parameters. A backslash stays one, as in
    `C:\\data\\birds`, but that before such a space.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        words = list(lexer)
    except ValueError:
        raise RunError(
            f"the parameters {text} have a quotation mark that no other closes; put the whole "
            "name=value that has one into quotation marks of the other kind."
        ) from None
    texts: list[str] = []
    for word in words:
        if texts and not re.match(r"[^\W\d]\w*=", word):
            texts[-1] = texts[-1].removesuffix("\\") + f" {word}"
        else:
            texts.append(word)
    return texts


def assigned(texts: list[str]) -> dict:
    """`name=value` texts as a dict."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise RunError(f"{text!r} is not of the form name=value.")
        values[name] = value_of(value)
    return values


def fitted(named: str, value, default):
    """A value set by hand, as its chapter takes it: as a list where the default is one.

    RunError where it cannot be what the default is; `named` is the parameter in that sentence. One
    whose default is no list, such as `model`, keeps what it is given, be it a text or a list.
    """
    if isinstance(default, (list, tuple)):
        return fitted_list(named, value, default)
    if not isinstance(default, (bool, int, float)):
        return value
    strange = isinstance(value, (str, list))
    if isinstance(value, bool) and not isinstance(default, bool):
        strange = True  # to Python, True is the number 1
    if strange:
        raise RunError(
            f"{named} is of type {type(default).__name__} "
            f"(its default is {default!r}), which {value!r} is not."
        )
    return value


def fitted_list(named: str, value, default: list | tuple) -> list:
    """A value set by hand as a list, whose items are of the kind that the default's are.

    Text is parted at its commas, another single value is the only item, and None is no item.
    """
    if value is None:
        items = []
    elif isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        items = [value_of(part) for part in parts if part]
    elif isinstance(value, (list, tuple)):
        items = list(value)
    else:
        items = [value]
    kind, accepted = kind_of(default)
    for item in items:
        if accepted and type(item) not in accepted:
            raise RunError(
                f"{named} is a list of {kind} (its default is {list(default)!r}), and {item!r} is "
                "none of these; give one, or several with commas between them."
            )
    return items


def kind_of(items: list | tuple) -> tuple[str, set[type]]:
    """What the items of a list are, in words and as Python's types; no type where all will do."""
    types = {type(item) for item in items}
    if types == {str}:
        return "texts", {str}
    if types == {int}:
        return "whole numbers", {int}
    if types and types <= {int, float}:
        return "numbers", {int, float}
    return "values", set()


def plan(wanted: list[str], profile: str, by_hand: dict, root: Path = ROOT) -> dict[str, dict]:
    """Chapter -> the value of each of its parameters: the profile's, then those set by hand.

    All are checked.
    """
    profiled, plans = profile_values(profile, root), {}
    if "profile" in by_hand:  # in a chapter it is the label of figures, and would be a false one
        raise RunError(
            "profile is not set as a parameter, since it alone would not change what is computed; "
            "give PROFILE=paper to make, or --profile paper to run.py."
        )
    for name, notebook in select(wanted, root).items():
        known, given = defaults(notebook), dict(profiled[name])
        for parameter, value in by_hand.items():
            if parameter not in known:
                raise RunError(
                    f"{name} has no parameter {parameter!r}; accepted are {', '.join(known)}."
                )
            given[parameter] = fitted(f"{name}: {parameter}", value, known[parameter])
        plans[name] = {parameter: given[parameter] for parameter in known}
    return plans


def use_this_python(root: Path = ROOT, *, stored: bool = False) -> None:
    """Let kernels run in this very environment and find `lib`.

    Networks that a chapter trains end in other weights on other numbers of threads. So stored
    outputs are made, and compared, with THREADS; other runs keep the user's number if there is one.
    """

    def put_first(variable: str, value: Path) -> None:
        os.environ[variable] = os.pathsep.join(filter(None, [str(value), os.environ.get(variable)]))

    put_first("JUPYTER_PATH", Path(sys.prefix) / "share" / "jupyter")
    put_first("PYTHONPATH", root)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    if stored:
        os.environ["OMP_NUM_THREADS"] = THREADS
    os.environ.setdefault("OMP_NUM_THREADS", THREADS)
    if os.environ.get("SIGN_NOISE_DATA"):
        os.environ["SIGN_NOISE_DATA"] = str(
            Path(os.environ["SIGN_NOISE_DATA"]).expanduser().resolve()
        )


def complaint(notebook, *, stored: bool = True) -> str | None:
    """What a notebook must not hold: an error, also where papermill lets it pass.

    And, if it is `stored`, anything on stderr.
    """
    for n, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return f"cell {n} ends in {output['ename']}: {one_line(output['evalue'])}"
            if stored and output.get("name") == "stderr":
                return f"cell {n} writes to stderr: {output['text'].strip().splitlines()[-1]}"
    return None


def asides(notebook, most: int = 5) -> list[str]:
    """What cells wrote to stderr, at most so many lines of each: warnings, downloads, progress.

    Of a bar that overwrites itself the last state, of a warning not the line that it quotes.
    """
    told = []
    for n, cell in enumerate(notebook.cells):
        written = "".join(
            output["text"] for output in cell.get("outputs", []) if output.get("name") == "stderr"
        )
        states = [line.rstrip().rpartition("\r")[2] for line in written.split("\n")]
        lines = [line for line in states if line.strip() and not line.startswith("  ")]
        told += [f"cell {n}: {line}" for line in lines[:most]]
        if len(lines) > most:
            told.append(f"cell {n}: and {len(lines) - most} more lines")
    return told


def one_line(text: str, most: int = 500) -> str:
    """A message on one line, its end left out where it is very long."""
    words = " ".join(str(text).split())
    return words if len(words) <= most else f"{words[:most]}…"


def tidy(notebook, source, label: str) -> None:
    """Drop what changes from run to run, and fold parameters away.

    So the diff of a stored chapter shows what it computes.
    """
    own = {
        key: value
        for key, value in source.metadata.items()
        if key not in ("kernelspec", "language_info", "papermill")
    }
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = type(notebook.metadata)(
        kernelspec=kernel, language_info={"name": "python"}, **own
    )
    injected = any(
        "injected-parameters" in cell.metadata.get("tags", []) for cell in notebook.cells
    )
    ids = {cell.get("id") for cell in source.cells}
    for n, cell in enumerate(notebook.cells):
        tags = cell.metadata.pop("tags", [])
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in tags:
            cell.id = "injected-parameters"
            cell.source = folded_lists(cell.source)
            fold(cell, tags, f"Parameters of this run ({label})")
        elif cell.id not in ids:
            cell.id = f"cell-{n:02d}"
        if "parameters" in tags and injected:
            fold(cell, tags, "Parameters and their defaults (quick profile)")
        if tags:
            cell.metadata["tags"] = tags
        if cell.cell_type == "code":
            cell.outputs = merged(cell.outputs)


def folded_lists(source: str, width: int = 100) -> str:
    """Code whose lists, where they are longer than a line, go over several lines."""
    lines = source.split("\n")
    for statement in reversed(ast.parse(source).body):
        first, last = statement.lineno - 1, statement.end_lineno
        value = getattr(statement, "value", None)
        if first + 1 == last and len(lines[first]) > width and isinstance(value, ast.List):
            start = lines[first][: value.col_offset] + "["
            items = [f"{ast.get_source_segment(source, item)}," for item in value.elts]
            lines[first:last] = [start, *_filled(items, width), "]"]
    return "\n".join(lines)


def _filled(items: list[str], width: int, indent: str = "    ") -> list[str]:
    """Items on as few lines as hold them; one that is wider than a line has one for itself."""
    lines = [indent + items[0]]
    for item in items[1:]:
        if len(lines[-1]) + 1 + len(item) <= width:
            lines[-1] += f" {item}"
        else:
            lines.append(indent + item)
    return lines


def fold(cell, tags: list[str], prompt: str) -> None:
    """Hide the cell's code behind a line that says what it is."""
    if "hide-input" not in tags:
        tags.append("hide-input")
    cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), "code_prompt_show": prompt}


def merged(outputs: list) -> list:
    """Neighbouring pieces of one stream as one output.

    Where the kernel cuts them is a matter of timing.
    """
    whole = []
    for output in outputs:
        if whole and output["output_type"] == "stream" and whole[-1].get("name") == output["name"]:
            whole[-1]["text"] += output["text"]
        else:
            whole.append(output)
    return whole


def annotate(notebook, note: str, kind: str = "note") -> None:
    """Put a visible note under the chapter's title."""
    first = notebook.cells[0]
    title, _, rest = first.source.partition("\n")
    if first.cell_type == "markdown" and title.startswith("# "):
        first.source = f"{title}\n\n```{{{kind}}}\n{note}\n```\n\n{rest.lstrip()}".rstrip()


def as_code(text: str) -> str:
    """Text as code in Markdown, whatever it holds: between more backticks than it has in a row."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def run_note(profile: str, by_hand: dict) -> str:
    """What the reader of a chapter executed here should know."""
    values = ", ".join(as_code(f"{name} = {value!r}") for name, value in by_hand.items())
    how = f"{profile} profile with {values}" if values else f"{profile} profile"
    return (
        f"**Executed here, at the {how}.** "
        "The numbers are those of this run, not of the published book."
    )


def write(notebook, path: Path) -> None:
    """Write it whole or not at all."""
    import nbformat

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    nbformat.write(notebook, part)
    os.replace(part, path)


def networks_behind(values: dict, root: Path = ROOT) -> dict[str, str]:
    """File -> fingerprint of the weights, of the committed networks that these parameters name.

    A parameter names them by architecture and data.
    """
    named: set[str] = set()
    for value in values.values():
        items = value if isinstance(value, list) else [value]
        named.update(item for item in items if isinstance(item, str))
    cards = {
        path.stem: json.loads(path.read_text(encoding="utf8"))
        for path in sorted((root / "data" / "weights").glob("*.json"))
    }
    return {
        stem: card["weights_hash"]
        for stem, card in cards.items()
        if card["model"] in named and card["dataset"].partition("+")[0] in named
    }


def execute(notebook: Path, values: dict, failed: Path, *, stored: bool = False):
    """Run one chapter; returns it executed.

    Where it fails, by an exception or, if it is to be `stored`, by anything on stderr, the notebook
    stays at `failed` for a look. RunError also where its kernel dies or does not start.
    """
    import nbformat
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    started: list[bool] = []  # tells a kernel that does not start from all that goes wrong later
    failed.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            notebook,
            failed,
            parameters=values if values != defaults(notebook) else {},
            kernel_name="python3",
            language="python",
            progress_bar=False,
            request_save_on_cell_execute=False,
            start_timeout=START_SECONDS,
            on_notebook_start=lambda notebook: started.append(True),
            extra_arguments=["--IPKernelApp.log_level=50"],
        )
    except papermill.PapermillExecutionError as error:
        raise RunError(f"{error.ename}: {one_line(error.evalue)} ({failed} shows where)") from None
    except DeadKernelError:
        raise RunError(
            "its kernel died, as kernels do when memory runs out; give fewer or smaller pictures, "
            "or a smaller batch_size."
        ) from None
    except (RuntimeError, NoSuchKernel) as error:
        if started:
            raise
        raise RunError(not_started(error)) from None
    executed = nbformat.read(failed, as_version=4)
    if wrong := complaint(executed, stored=stored):
        raise RunError(f"{wrong} ({failed} shows where)")
    failed.unlink()
    return executed


def not_started(error: Exception) -> str:
    """What to say of a kernel that did not start: the reason, and what to do."""
    constraints = shlex.quote(str(ROOT / "constraints.txt"))
    again = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall -c {constraints}"
    return (
        f"its kernel did not start ({one_line(str(error)).rstrip('.')}); run it again when the "
        "machine is less busy, or, if that does not help, install the kernel anew: "
        f"{again} ipykernel"
    )


def run(
    wanted: list[str],
    profile: str,
    by_hand: dict,
    *,
    out: Path | None = None,
    refresh: bool = False,
    root: Path = ROOT,
) -> int:
    """Execute chapters and write each as it is done; returns how many failed."""
    import nbformat

    plans = plan(wanted, profile, by_hand, root)
    if refresh and by_hand:
        raise RunError(
            "a refresh stores the profile as it is and takes no parameters; "
            "leave out --refresh to run with your own."
        )
    scratch = target = out or root / "_build" / profile
    if refresh:
        target = root / ("notebooks" if profile == "quick" else "book")
    if refresh and profile == "quick":
        check_defaults(plans, root)
    use_this_python(root, stored=refresh)
    failures = 0
    for name, values in plans.items():
        notebook, start = chapters(root)[name], time.perf_counter()
        try:
            executed = execute(notebook, values, scratch / f"{name}.failed.ipynb", stored=refresh)
        except (RunError, OSError) as error:  # a full disk, too, costs one chapter and no more
            failures += 1
            print(f"{name}: failed: {error}", file=sys.stderr, flush=True)
            continue
        for aside in asides(executed):
            print(f"{name}: {aside}", file=sys.stderr, flush=True)
        tidy(
            executed,
            nbformat.read(notebook, as_version=4),
            "set by hand" if by_hand else f"{profile} profile",
        )
        if not refresh:
            set_here = {parameter: values[parameter] for parameter in by_hand}
            is_plain_quick = profile == "quick" and not by_hand
            annotate(executed, QUICK if is_plain_quick else run_note(profile, set_here))
        elif profile == "paper":
            # the book says where they have been replaced since
            executed.metadata["networks"] = networks_behind(values, root)
        write(executed, target / notebook.name)
        shown, took = os.path.relpath(target / notebook.name), time.perf_counter() - start
        if refresh:
            note_seconds(name, profile, took, root)
            if profile == "quick":
                note_processor(name, root)
        print(f"{name}: {profile} profile, {took:.1f} s, {shown}", flush=True)
    return failures


def note_seconds(name: str, profile: str, took: float, root: Path = ROOT) -> None:
    """Keep how long a stored chapter took, for the book's boxes and its status page."""
    path = root / "book" / "seconds.json"
    known = json.loads(path.read_text(encoding="utf8")) if path.is_file() else {}
    known.setdefault(profile, {})[name] = {"seconds": round(took), "cores": os.cpu_count()}
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf8")


SETS = ("amx_tile", "avx512f", "avx2")  # instructions that decide in which order sums are taken


def processor() -> str:
    """System, vendor and widest instructions of this machine."""
    about: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text(encoding="utf8").splitlines() if cpuinfo.is_file() else []:
        name, _, value = line.partition(":")
        about.setdefault(name.strip(), value.strip())
    known = about.get("flags", "").split()
    widest = next((name for name in SETS if name in known), "")
    parts = (platform.system(), platform.machine(), about.get("vendor_id", ""), widest)
    return " ".join(part for part in parts if part)


def made_on(root: Path = ROOT) -> dict[str, str]:
    """Chapter -> the processor that its stored outputs of the quick profile were made on."""
    path = root / "notebooks" / "processors.json"
    return json.loads(path.read_text(encoding="utf8")) if path.is_file() else {}


def note_processor(name: str, root: Path = ROOT) -> None:
    """Keep that a chapter's stored outputs were made here: elsewhere they may differ."""
    text = json.dumps(made_on(root) | {name: processor()}, indent=1, sort_keys=True)
    (root / "notebooks" / "processors.json").write_text(f"{text}\n", encoding="utf8")


def check_defaults(plans: dict[str, dict], root: Path = ROOT) -> None:
    """RunError unless the defaults of these chapters are the values of the quick profile."""
    for name, values in plans.items():
        stored = defaults(chapters(root)[name])
        wrong = [parameter for parameter in stored if values[parameter] != stored[parameter]]
        if wrong:
            raise RunError(
                f"the defaults of {name} must be the quick profile; "
                f"they differ in {', '.join(wrong)}."
            )


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "chapter", nargs="*", help="a chapter's name or number; all of them if left out"
    )
    parser.add_argument("--profile", default="quick", help="quick (default) or paper")
    parser.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter; may be repeated",
    )
    parser.add_argument(
        "--parameters",
        default="",
        metavar="TEXT",
        help="several parameters in one text, parted at spaces; quotes keep a value together",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for the executed chapters (default _build/<profile>)"
    )
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="rewrite the stored chapters: notebooks/ (quick) or book/ (paper)",
    )
    chosen = parser.parse_args(arguments)
    try:
        failures = run(
            chosen.chapter,
            chosen.profile,
            assigned([*parted(chosen.parameters), *chosen.parameter]),
            out=chosen.out,
            refresh=chosen.refresh,
            root=root,
        )
        return failures > 0
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
