"""What a training step of `rectgrad_cnn` costs on a GPU.

Launched kernel by kernel, as study.subjects.training does, or captured once in a CUDA graph and
replayed, as 49 of the stored 20-epoch cells were computed ("steps" in their provenance).

    python benchmarks/captured_steps.py --steps 500 --repeats 5

One process cannot keep a large GPU busy with so small a network; many that share it can, and then
capture gains nothing.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where study is

from study.subjects import networks, training  # noqa: E402


def captured(model, optimizer, images, labels):
    """A function that takes one step on what `images` and `labels` hold.

    The three steps that warm up are taken back.
    """

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            logits = model(images)
        cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    before = [p.detach().clone() for p in model.parameters()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        step()
    with torch.no_grad():
        for p, was in zip(model.parameters(), before, strict=True):
            p.copy_(was)
        for state in optimizer.state.values():
            for value in state.values():
                value.zero_()
    return graph.replay


def fresh_network():
    net = networks.load("rectgrad_cnn", None, classes=tuple("0123456789"), seed=0, device="cuda")
    return net.train().to(memory_format=torch.channels_last)


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def main():
    asked = options()
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here; this benchmark needs one.")
    images = torch.rand(100, 3, 32, 32, device="cuda") * 2 - 1
    labels = torch.randint(10, (100,), device="cuda")
    plain, other = fresh_network(), fresh_network()
    optimizer = torch.optim.Adam(plain.parameters())
    replay = captured(other, torch.optim.Adam(other.parameters(), capturable=True), images, labels)

    def kernel_by_kernel():
        batches = ((images, labels) for _ in range(asked.steps))
        training._epoch(plain, optimizer, batches, True, lambda: None)

    def replayed():
        for _ in range(asked.steps):
            replay()

    ways = {"kernel by kernel": kernel_by_kernel, "captured": replayed}
    taken = {name: [] for name in ways}
    for turn in range(asked.repeats + 1):
        for name, way in ways.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            way()
            torch.cuda.synchronize()
            if turn:  # the first turn warms up
                taken[name].append((time.perf_counter() - start) / asked.steps * 1e3)
    ratio = [a / b for a, b in zip(*taken.values(), strict=True)]
    print(torch.cuda.get_device_name())
    for name, times in taken.items():
        median, low, high = statistics.median(times), min(times), max(times)
        print(f"{name:18s} {median:.2f} ms a step ({low:.2f} to {high:.2f})")
    print(f"ratio {statistics.median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f})")


if __name__ == "__main__":
    main()
