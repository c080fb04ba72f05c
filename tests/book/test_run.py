"""notebooks/run.py with what people give it: values of any letters, networks that warn, chapters
that fail."""

from __future__ import annotations

import ast
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book import build
from notebooks import compare, run

ROOT = Path(__file__).resolve().parent.parent.parent


def read(path: Path):
    return nbformat.read(path, as_version=4)


@pytest.fixture
def tree(tmp_path):
    """tree(**bodies): chapters of the name and the code, with parameters `model` and `images`."""

    def make(**bodies: str) -> Path:
        (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
        (tmp_path / "book").mkdir()
        for number, (name, body) in enumerate(bodies.items()):
            parameters = new_code_cell(
                "model = 'small'\nimages = 2", metadata={"tags": ["parameters"]}
            )
            cells = [new_markdown_cell(f"# {name}"), parameters, new_code_cell(body)]
            path = tmp_path / "notebooks" / f"{number:02}_{name}.ipynb"
            nbformat.write(new_notebook(cells=cells), path)
        values = {name: {"model": "small", "images": 2} for name in run.chapters(tmp_path)}
        for profile in run.PROFILES:
            path = tmp_path / "notebooks" / "profiles" / f"{profile}.yaml"
            path.write_text(yaml.safe_dump(values))
        return tmp_path

    return make


# ---- values

LITERALLY = [
    "US$_5_$.png",
    "imagefolder:/data/my birds",
    "it's.png",
    'say "cheese".png',
    "a\\b\\n.png",
    "猫/犬.png",
    "[1].png",
    "a,b",
    "$(touch run)",
    "`touch run`",
    "__import__('os').system('touch run')",
    "open('run', 'w')",
    "!!python/object/apply:os.system ['touch run']",
    "f'{1 + 1}'",
    "{1, 2}",
    "{'a': 1}",
    "b'bytes'",
    "1j",
    "[[1], [2]]",
    "[&a [*a]]",
    "(" * 2000,
    "*" * 5,
    "%run x",
    "x; y = 1",
    "\\",
]


@pytest.mark.parametrize("text", LITERALLY)
def test_what_is_no_plain_value_stays_the_text_that_it_is(text):
    assert run.assigned([f"model={text}"]) == {"model": text}


@pytest.mark.parametrize(
    "text, value",
    [
        ("[saliency, rectgrad]", ["saliency", "rectgrad"]),
        ("['saliency', \"rectgrad\"]", ["saliency", "rectgrad"]),
        ("[imagefolder:/a b, shapes10]", ["imagefolder:/a b", "shapes10"]),
        ("[0.1, null]", [0.1, None]),
        ("'3'", "3"),
        ("-3", -3),
        ("[]", []),
    ],
)
def test_lists_need_no_quotes_and_quotes_make_text_of_numbers(text, value):
    assert run.value_of(text) == value


@pytest.mark.parametrize(
    "text, parts",
    [
        ("model=resnet18 images=50", ["model=resnet18", "images=50"]),
        ("  model=resnet18  ", ["model=resnet18"]),
        ("", []),
        ("'dataset=imagefolder:/my birds' images=5", ["dataset=imagefolder:/my birds", "images=5"]),
        ('"dataset=imagefolder:/my birds"', ["dataset=imagefolder:/my birds"]),
        ("dataset=imagefolder:/my\\ birds", ["dataset=imagefolder:/my birds"]),
        ("dataset=imagefolder:C:\\data\\birds q=3", ["dataset=imagefolder:C:\\data\\birds", "q=3"]),
        ("'dataset=C:\\my birds\\' q=3", ["dataset=C:\\my birds\\", "q=3"]),
        ('"dataset=C:\\my birds\\new"', ["dataset=C:\\my birds\\new"]),
        ("dataset='/my birds' images=5", ["dataset=/my birds", "images=5"]),
        ("dataset=/my old birds images=5", ["dataset=/my old birds", "images=5"]),
        ("methods=[saliency, rectgrad] q=3", ["methods=[saliency, rectgrad]", "q=3"]),
        ('"picture=it\'s.png"', ["picture=it's.png"]),
        ("picture=US$_5_$.png", ["picture=US$_5_$.png"]),
        ("'picture=`id` $(id) ${HOME} #1.png'", ["picture=`id` $(id) ${HOME} #1.png"]),
        ("picture=猫.png", ["picture=猫.png"]),
        ("images", ["images"]),
    ],
)
def test_several_parameters_in_one_text(text, parts):
    assert run.parted(text) == parts


def test_a_quote_that_is_not_closed_is_refused_in_one_sentence(tree, capsys):
    root = tree(works="1")
    assert run.main(["--parameters", "model=it's images=3"], root) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "quotation mark" in said and "it's" in said


@pytest.mark.parametrize("value", [["many"], "many", True, False])
def test_a_number_is_no_list_no_text_and_no_switch(value, tree):
    with pytest.raises(run.RunError, match="00_works: images is of type int"):
        run.plan([], "quick", {"images": value}, tree(works="1"))


@pytest.mark.parametrize("default, value", [(2, 3), (2, 2.5), (2, None), (False, True), (False, 1)])
def test_a_number_may_be_another_or_none_and_a_switch_may_be_switched(default, value):
    assert run.fitted("images", value, default) is value


@pytest.mark.parametrize(
    "text, value",
    [
        ("seeds=2", [2]),
        ("seeds=1,2", [1, 2]),
        ("seeds=[1, 2]", [1, 2]),
        ("fractions=0.5", [0.5]),
        ("fractions=0.5,1", [0.5, 1]),
        ("methods=saliency", ["saliency"]),
        ("methods=random,saliency", ["random", "saliency"]),
        ("methods=random, thresholded:saliency,", ["random", "thresholded:saliency"]),
        ("methods=[random, saliency]", ["random", "saliency"]),
        ("methods=['random', \"saliency\"]", ["random", "saliency"]),
        ("holes=[]", []),
        ("holes=", []),
        ("holes=None", []),
    ],
)
def test_where_a_chapter_has_a_list_one_value_is_a_list_of_one(text, value):
    parameter = text.partition("=")[0]
    by_hand = run.assigned([text])
    assert run.plan(["07"], "quick", by_hand)["07_roar_kar"][parameter] == value
    # the profile's list, too, is replaced whole
    assert run.plan(["07"], "paper", by_hand)["07_roar_kar"][parameter] == value


def test_a_list_whose_default_is_a_tuple_is_one():
    assert run.fitted("sizes", 3, (1, 2)) == [3] == run.fitted("sizes", (3,), [1, 2])


@pytest.mark.parametrize("value", ["squeezenet1_1", "a,b", ["a", "b"], 3, None])
def test_a_text_that_may_be_a_list_stays_what_it_was_given_as(value):
    assert run.plan(["04"], "quick", {"network": value})["04_rectgrad"]["network"] == value
    assert run.plan(["04"], "paper", {"network": value})["04_rectgrad"]["network"] == value


@pytest.mark.parametrize(
    "given, kind, item",
    [
        ("seeds=two", "whole numbers", "'two'"),
        ("seeds=1,two", "whole numbers", "'two'"),
        ("seeds=True", "whole numbers", "True"),
        ("seeds=1.5", "whole numbers", "1.5"),
        ("fractions=[0.1, half]", "numbers", "'half'"),
        ("fractions=0.1,true", "numbers", "True"),
        ("holes=[0.3, null]", "numbers", "None"),
        ("methods=3", "texts", "3"),
        ("methods=saliency,3", "texts", "3"),
    ],
)
def test_what_is_no_item_of_a_list_is_refused_in_one_sentence(given, kind, item):
    with pytest.raises(run.RunError) as refused:
        run.plan(["07"], "quick", run.assigned([given]))
    said, parameter = str(refused.value), given.partition("=")[0]
    assert said.startswith(f"07_roar_kar: {parameter} is a list of {kind} (its default is [")
    assert f"and {item} is none of these" in said and "\n" not in said
    assert said.endswith("several with commas between them.")


@pytest.mark.parametrize("profile", run.PROFILES)
def test_the_label_of_a_profile_is_not_set_by_hand(profile):
    """Figures of drawn data would bear the paper's."""
    with pytest.raises(run.RunError, match="^profile is not set") as refused:
        run.plan(["05"], "quick", run.assigned([f"profile={profile}"]))
    said = str(refused.value)
    assert "PROFILE=paper" in said and "--profile paper" in said and "\n" not in said


def test_a_chapter_goes_by_its_number_without_the_zero_too():
    for number in ("0", "5", "05"):
        (name,) = run.select([number])
        assert name.startswith(number.zfill(2) + "_")
    for unknown in ("", "005", "50", "-5", "5.0"):
        with pytest.raises(run.RunError, match="or the number alone"):
            run.select([unknown])


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    "parameters",
    [
        "'dataset=imagefolder:/data/my birds' model=resnet18",
        "picture=US$_5_$.png",
        "picture=$(shell touch run)$$x`touch run`$(touch run)",
        '"picture=it\'s 5 #2.png"',
        "picture=猫.png",
    ],
)
def test_make_hands_parameters_on_as_they_were_typed_and_runs_none(parameters, tmp_path):
    """With a stand-in for Python that notes its arguments, one a line."""
    python, log = tmp_path / "bin" / "python", tmp_path / "log"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\ncase "$*" in *run.py*) printf "%s\\n" "$@" > "{log}";; esac\n')
    python.chmod(0o755)
    stamp = tmp_path / ".sign-and-noise"
    stamp.touch()
    parameters = parameters.replace("touch run", f"touch {tmp_path}/run")
    made = subprocess.run(
        [
            "make",
            "-o",
            stamp,
            "reproduce",
            f"VENV={tmp_path}",
            "CHAPTER=05",
            f"PARAMS={parameters}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    *_, option, given = log.read_text(encoding="utf8").splitlines()
    assert (option, given) == ("--parameters", parameters)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_help_of_make_shows_a_value_with_a_space():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    line = next(line for line in said.splitlines() if "space" in line)
    (typed,) = [word for word in shlex.split(line.partition(": ")[2]) if word.startswith("PARAMS=")]
    assert run.parted(typed.removeprefix("PARAMS=")) == [
        "dataset=imagefolder:/data/my birds",
        "images=50",
    ]


@pytest.mark.parametrize("text", ["plain", "a `b` c", "``", "`x", "```{note}", "$x$ *y* [z](w)"])
def test_the_note_shows_values_letter_by_letter(text):
    from markdown_it import MarkdownIt

    note = run.run_note("quick", {"picture": text})
    (inline,) = [token for token in MarkdownIt().parse(note) if token.type == "inline"]
    shown = [token.content for token in inline.children if token.type == "code_inline"]
    assert shown == [f"picture = {text!r}"] and "\n" not in note


# ---- chapters that run


@pytest.mark.slow
def test_values_of_any_letters_reach_the_chapter(tree, monkeypatch, capfd):
    root = tree(shows="print(repr(model))")
    monkeypatch.chdir(root)
    text = "\n".join([*(text for text in LITERALLY if len(text) < 100), "{{ x }}", '"""', "'''"])
    assert run.main(["-p", f"model={text}"], root) == 0
    made = read(root / "_build" / "quick" / "00_shows.ipynb")
    assert ast.literal_eval(made.cells[-1].outputs[0].text) == text
    assert not (root / "run").exists()


WARNS = """
import sys, time, warnings
warnings.warn("this file is of an older version")
print("\\rdownload 10 %\\rdownload 100 %", file=sys.stderr)
print("many\\n" * 9, file=sys.stderr)
print("done")
"""


@pytest.mark.slow
def test_warnings_and_progress_are_shown_and_kept_and_no_failure(tree, capsys):
    root = tree(warns=WARNS)
    assert run.main([], root) == 0
    said = capsys.readouterr().err.splitlines()
    assert any("UserWarning: this file is of an older version" in line for line in said)
    assert "00_warns: cell 2: download 100 %" in said
    assert said.count("00_warns: cell 2: many") == 3 and "more lines" in said[-1]
    made = read(root / "_build" / "quick" / "00_warns.ipynb")
    kept = {output.get("name"): output.text for output in made.cells[-1].outputs}
    assert "older version" in kept["stderr"] and kept["stdout"] == "done\n"
    # what is stored for everyone stays clean
    assert run.main(["--refresh"], root) == 1
    assert "failed: cell 2 writes to stderr" in capsys.readouterr().err
    assert read(root / "notebooks" / "00_warns.ipynb").cells[-1].outputs == []


@pytest.mark.slow
def test_a_failure_is_told_in_its_own_words_on_one_line(tree, capsys):
    bodies = {
        "several": "raise ValueError('a first line,\\n   and a second one.\\n')",
        "long": "raise RuntimeError('x ' * 5000)",
        "dies": "import os; os._exit(1)",
    }
    root = tree(**bodies)
    assert run.main([], root) == 1
    several, long, dies = capsys.readouterr().err.splitlines()
    assert several.startswith("00_several: failed: ValueError: a first line, and a second one. (")
    assert long.startswith("01_long: failed: RuntimeError: x x x") and len(long) < 800
    assert dies.startswith("02_dies: failed: its kernel died") and "memory" in dies


@pytest.fixture
def kernel_of(monkeypatch):
    """kernel_of(*arguments): kernels are Python with these; without any there is no kernel."""
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

    def make(*arguments: str) -> None:
        def spec(manager, name):
            if not arguments:
                raise NoSuchKernel(name)
            return KernelSpec(argv=[sys.executable, *arguments], language="python")

        monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", spec)
        monkeypatch.setattr(run, "START_SECONDS", 1)

    return make


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (("-c", "import time; time.sleep(60)"), "Kernel didn't respond in 1 seconds"),
        (("-c", "pass"), "Kernel died before replying to kernel_info"),
        ((), "No such kernel named python3"),
    ],
)
def test_a_kernel_that_does_not_start_costs_one_chapter(arguments, reason, kernel_of, tree, capsys):
    kernel_of(*arguments)
    root = tree(one="1", two="2")
    assert run.main([], root) == 1
    said = capsys.readouterr().err.splitlines()
    for name in ("00_one", "01_two"):
        (line,) = [line for line in said if line.startswith(f"{name}: failed: ")]
        assert f"its kernel did not start ({reason}); run it again when" in line
        assert sys.executable in line and line.endswith(" ipykernel")


def test_what_goes_wrong_after_the_kernel_has_started_is_not_laid_to_its_start(tree, monkeypatch):
    import papermill

    def goes_wrong(*_, on_notebook_start, **__):
        on_notebook_start(notebook=None)
        raise RuntimeError("something else")

    monkeypatch.setattr(papermill, "execute_notebook", goes_wrong)
    with pytest.raises(RuntimeError, match="^something else$"):
        run.main([], tree(one="1"))


@pytest.mark.slow
def test_an_error_of_the_chapter_is_not_laid_to_the_kernel(tree, capsys):
    from_jupyter = "from jupyter_client.kernelspec import NoSuchKernel; raise NoSuchKernel('mine')"
    assert run.main([], tree(raises=from_jupyter)) == 1
    said = capsys.readouterr().err
    assert said.startswith("00_raises: failed: NoSuchKernel: ") and "did not start" not in said


@pytest.mark.slow
def test_the_note_shows_a_list_as_the_chapter_got_it(tree):
    root = tree(shows="print(names)")
    path = root / "notebooks" / "00_shows.ipynb"
    notebook = read(path)
    notebook.cells[1].source += "\nnames = ['a', 'b']"
    nbformat.write(notebook, path)
    assert run.main(["-p", "names=c"], root) == 0
    made = read(root / "_build" / "quick" / "00_shows.ipynb")
    assert made.cells[-1].outputs[0].text == "['c']\n"
    assert "`names = ['c']`" in made.cells[0].source


def test_what_was_executed_here_may_show_warnings_and_the_published_book_may_not(tree):
    root = tree(warns="1")
    for profile, shown in (("quick", "show"), (None, "remove-warn")):
        (root / "_config.yml").write_text(
            yaml.safe_dump(
                {"title": "Toy", "html": {}, "execute": {"stderr_output": "remove-warn"}}
            )
        )
        (root / "_toc.yml").touch()
        shutil.copy(root / "notebooks" / "00_warns.ipynb", root / "book")
        build.assemble(profile, root / "made", root)
        config = yaml.safe_load((root / "made" / "_config.yml").read_text())
        assert config["execute"]["stderr_output"] == shown


def test_a_stored_chapter_may_hold_neither_errors_nor_stderr():
    stream = new_output("stream", name="stderr", text="a\nb\n")
    error = new_output("error", ename="ValueError", evalue="of\ntwo lines", traceback=[])
    ends = "cell 0 ends in ValueError: of two lines"
    for output, always, stored in (
        (stream, None, "cell 0 writes to stderr: b"),
        (error, ends, ends),
    ):
        notebook = new_notebook(cells=[new_code_cell("x", outputs=[output])])
        assert run.complaint(notebook) == stored
        assert run.complaint(notebook, stored=False) == always


def test_long_lists_of_parameters_go_over_several_lines():
    names = [f"method {k}, with a comma and ü" for k in range(12)]
    source = f"# Parameters\nmethods = {names!r}\ncount = 3\nfew = [1, 2]\n"
    folded = run.folded_lists(source)
    assert max(map(len, folded.split("\n"))) <= 100
    assert folded.startswith("# Parameters\nmethods = [\n    'method 0, with a comma and ü', ")
    assert folded.endswith("\n]\ncount = 3\nfew = [1, 2]\n")
    found: dict = {}
    exec(folded, found)
    assert (found["methods"], found["count"], found["few"]) == (names, 3, [1, 2])
    assert run.folded_lists(folded) == folded


def test_values_are_compared_where_they_were_made(tmp_path, monkeypatch):
    """A chapter made on another processor, or on one that nobody noted, is run alone."""
    (tmp_path / "notebooks").mkdir()
    for name in ("00_here", "01_there", "02_unknown"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text("{}")
    monkeypatch.setattr(run, "processor", lambda: "another")
    run.note_processor("01_there", tmp_path)
    monkeypatch.undo()
    run.note_processor("00_here", tmp_path)
    alike, others = compare.divided(tmp_path)
    assert [path.stem for path in alike] == ["00_here"]
    assert [path.stem for path in others] == ["01_there", "02_unknown"]
    assert set(run.made_on()) == set(run.chapters())


@pytest.mark.parametrize(("stored", "threads"), [(True, run.THREADS), (False, "1")])
def test_what_is_stored_is_made_with_one_number_of_threads_whatever_the_shell_says(
    stored, threads, tree, monkeypatch
):
    """With another number, networks that a chapter trains end in other weights."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    root = tree(told="import os\nprint(os.environ['OMP_NUM_THREADS'])")
    assert run.run([], "quick", {}, refresh=stored, root=root) == 0
    folder = root / "notebooks" if stored else root / "_build" / "quick"
    assert read(folder / "00_told.ipynb").cells[-1].outputs[0].text == f"{threads}\n"


def test_what_is_stored_is_compared_with_the_threads_that_it_was_made_with(monkeypatch):
    seen = []

    def noted(command, env):
        seen.append(env["OMP_NUM_THREADS"])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(compare.subprocess, "run", noted)
    assert compare.main() == 0
    assert seen and set(seen) == {run.THREADS}
