"""benchmarks: what is compared, what counts as the same, how a run goes on. Never a time itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks import __main__ as command
from benchmarks import measure, peers, released, rows, table
from benchmarks.peers import Case
from lib import attribution, metrics

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def case():
    """A small chain that every peer can follow, three pictures and four classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 9, 4),
        ).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)  # so that no logit is tiny beside an epsilon
        images = torch.rand(3, 3, 6, 6)
    targets = model(images).argmax(1)
    return Case(model, images, targets, (0, 1, 2, 3), steps=6, batch_size=4)


# ---- peers


COMPARED = [(method, peer) for method, known in peers.PEERS.items() for peer in known]
# Captum's epsilon rule has no rule for a flattening
REFUSED = {("epsilon_lrp", "captum")}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method, peer", COMPARED)
def test_peers_are_asked_for_the_same(method, peer, case):
    found = rows._compared(case, method, peer)
    if (method, peer) in REFUSED:
        assert found["result"].startswith("refuses: ")
    else:
        assert found["result"] == "agrees", found


@pytest.mark.filterwarnings("ignore")
def test_a_peer_with_another_result_differs(case, monkeypatch):
    monkeypatch.setitem(peers.PEERS["saliency"], "captum", peers.PEERS["positive"]["captum"])
    assert rows._compared(case, "saliency", "captum")["result"] == "differs"


def test_every_method_can_be_asked_of_ours_and_of_the_floor(case):
    for method in attribution.METHODS:
        assert peers.ours(case, method)().shape == case.images.shape
        assert peers.floor(case, method)().shape[1:] == case.images.shape[1:]
    assert set(peers.PEERS) <= set(attribution.METHODS)


@pytest.mark.parametrize(
    "method, forwards", [("saliency", 1), ("rectgrad", 1), ("active", 1), ("smoothgrad", 5)]
)
def test_the_floor_is_the_passes_that_are_needed(method, forwards, case, counting):
    """18 points in batches of 4 are five passes; classes share one."""
    model = counting(case.model)
    peers.floor(replace(case, model=model), method)()
    assert len(model.batches) == forwards


def test_the_floor_of_saliency_is_its_gradient(case):
    own = attribution.saliency(case.model, case.images, case.targets)
    assert torch.allclose(peers.floor(case, "saliency")(), own, atol=1e-5)


@pytest.mark.parametrize("layout", peers.LAYOUTS)
def test_a_peers_copy_has_the_layout_and_nothing_in_place(layout, case):
    case.model[1].inplace = True
    given = case.laid_out(layout)
    assert given.images.is_contiguous(memory_format=peers.LAYOUTS[layout])
    assert not given.model[1].inplace and case.model[1].inplace
    assert given.leaf().requires_grad and torch.equal(given.leaf(), case.images)


def test_the_released_passes_give_our_kernels_results(case):
    ours = attribution.signed_maps(case.model, case.images)
    for mine, theirs in zip(ours, released.signed_maps(case.model, case.images), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
    assert all(p.grad is None for p in case.model.parameters())
    maps = ours.original

    def curve():
        return metrics.allegiance(case.model, case.images, maps, fill=0.0)

    assert torch.equal(curve(), released.allegiance(case.model, case.images, maps, 0.0))
    batches = released.batches_of(case.model, curve)
    assert batches and released.bare(case.model, batches).shape[1] == 4
    assert not case.model._forward_pre_hooks


# ---- measuring


def test_every_round_takes_all_runs_in_turn_and_back():
    order = []
    runs = {name: (lambda name=name: order.append(name)) for name in "abc"}
    taken = measure.alternating(runs, seconds=0, least=3)
    assert "".join(order) == "abccbaabc" and {len(t) for t in taken.values()} == {3}
    assert len(measure.alternating(runs, seconds=100, least=1, most=4)["a"]) == 4


def test_ratios_are_of_the_same_round():
    assert measure.ratio([2, 4, 9, 8, 5], [1, 2, 3, 4, 5]) == (2, 2, 2)
    assert measure.ratio([1, 2, 3], [1, 1, 1]) == (2, 1.5, 2.5)


def test_the_distance_of_results_is_a_share():
    assert measure.apart(torch.tensor([3.0, 4.4]), torch.tensor([3.0, 4.0])) == pytest.approx(0.08)


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_exponent_of_a_power_is_that_power(power):
    sizes = [8, 16, 32, 64]
    assert measure.exponent(sizes, [3 * s**power for s in sizes]) == pytest.approx(power)


def test_peak_memory_is_what_is_held_at_once():
    def run():
        first = torch.zeros(1_000_000, dtype=torch.uint8)
        del first
        return torch.zeros(500_000, dtype=torch.uint8), torch.zeros(700_000, dtype=torch.uint8)

    assert 1_200_000 <= measure.peak_memory(run) < 1_300_000


def test_an_explanation_names_what_takes_more():
    values = torch.rand(400_000)

    def sorts():
        return values.sort().values + values

    assert "sort" in measure.explained(sorts, lambda: values + values)


def test_a_miss_is_explained_and_a_hit_is_not(monkeypatch):
    monkeypatch.setattr(measure, "explained", lambda *_: "because")
    key = rows._key("time", "resnet18", 32, "guided_backprop", "floor")
    runs = {"ours": None, "floor": None}
    slow = rows._judged(key, {"ours": [1.3] * 3, "floor": [1.0] * 3}, runs)
    fast = rows._judged(key, {"ours": [1.1] * 3, "floor": [1.0] * 3}, runs)
    assert (slow["met"], slow["why"], slow["aim"]) == ("no", "because", 1.2)
    assert (fast["met"], fast["why"]) == ("yes", "")
    free = rows._judged({**key, "method": "saliency"}, {"ours": [9.0], "floor": [1.0]}, runs)
    assert (free["aim"], free["met"], free["why"]) == ("", "", "")


def test_aims():
    assert table.aim("rectgrad", "resnet18", "floor") == 1.35
    assert table.aim("rectgrad", "resnet18", "captum") == 1.05
    assert table.aim("deeplift", "anything", "floor") == 1.6
    assert table.aim("saliency", "resnet18", "floor") is None


# ---- the table

HERE = dict.fromkeys(table.ABOUT, "a")


def row(method: str) -> dict:
    return {**rows._key("time", "net", 32, method, "floor"), "value": "1.0"}


def test_a_row_is_written_at_once_and_taken_over(tmp_path):
    first = table.Table(tmp_path / "new" / "b.csv", HERE)
    assert not first.has(row("x"))
    first.add([row("x")])
    again = table.Table(tmp_path / "new" / "b.csv", HERE)
    assert again.has(row("x")) and not again.has(row("y"))
    again.add([row("y")])
    kept = table.read(tmp_path / "new" / "b.csv")
    assert [r["method"] for r in kept] == ["x", "y"] and set(kept[0]) == set(table.COLUMNS)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["b.csv"]


@pytest.mark.parametrize("what", table.SAME)
def test_rows_of_another_machine_or_code_are_measured_anew(what, tmp_path):
    table.Table(tmp_path / "b.csv", HERE).add([row("x")])
    other = table.Table(tmp_path / "b.csv", {**HERE, what: "b"})
    assert not other.has(row("x"))
    other.add([row("x")])
    (kept,) = table.read(tmp_path / "b.csv")
    assert kept[what] == "b"
    assert not table.Table(tmp_path / "b.csv", {**HERE, what: "b"}, again=True).has(row("x"))


def test_a_stopped_write_leaves_the_table(tmp_path, monkeypatch):
    table.write(tmp_path / "b.csv", [row("x")])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table.csv.DictWriter, "writerows", full)
    with pytest.raises(OSError, match="No space"):
        table.write(tmp_path / "b.csv", [row("x"), row("y")])
    assert len(table.read(tmp_path / "b.csv")) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["b.csv"]


def test_where_and_with_what_is_said():
    told = table.about()
    assert tuple(told) == table.ABOUT and all(told.values())
    assert told["code"] == table.code() and len(told["code"]) == 12


# ---- the command


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_quick_run_measures_prints_and_goes_on(tmp_path, capsys, monkeypatch):
    out = tmp_path / "b.csv"
    asked = ["--quick", "--threads", "1", "--out", str(out)]
    assert command.main(asked) == 0
    kept = table.read(out)
    assert [(r["method"], r["against"]) for r in kept] == [
        (method, against)
        for method in command.QUICK_METHODS
        for against in ("floor", "captum", "zennit")
    ]
    assert all(float(r["low"]) <= float(r["value"]) <= float(r["high"]) for r in kept)
    assert all(r["threads"] == "1" and r["result"] in ("floor", "agrees") for r in kept)
    assert capsys.readouterr().out.count("\n") == 7
    monkeypatch.setattr(rows, "quietly", lambda task: pytest.fail("it is measured"))
    assert command.main(asked) == 0 and table.read(out) == kept


def test_the_whole_run_has_every_method_on_every_network():
    tasks = command.tasks(command.parsed([]))
    keys = [key for task in tasks for key in task.keys]
    timed = {(k["network"], k["pixels"], k["method"]) for k in keys if k["kind"] == "time"}
    assert timed == {(s.network, s.pixels, m) for s in rows.SETTINGS for m in attribution.METHODS}
    assert {k["kind"] for k in keys} == {"time", "memory", "exponent", "kernel"}
    assert len({table.identity(key) for key in keys}) == len(keys)


def test_networks_and_methods_can_be_chosen():
    some = ["--networks", "resnet18-32", "--methods", "rectgrad"]
    keys = [key for task in command.tasks(command.parsed(some)) for key in task.keys]
    assert [(k["kind"], k["pixels"], k["against"]) for k in keys] == [("time", 32, "floor")]
    with pytest.raises(SystemExit):
        command.parsed(["--methods", "gradcam"])
