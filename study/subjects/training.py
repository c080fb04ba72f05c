"""Training as both papers do it: one loop, resumable every epoch, the data one tensor of bytes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from study.subjects.pictures import Dataset, to_range


@dataclass(frozen=True)
class Protocol:
    """How a network was trained; the defaults are paper Sign's (section 4).

    These are: AdamW, 1e-3, batch 128, 50 epochs, shuffled.

    `reshuffle=False` draws one order and keeps it for all epochs, as the released loop of paper
    Noise does. `trains` is "all", or what `fit_last_layer` trains: "last layer, frozen" or "last
    layer, released". `schedule` is "constant", "one cycle": up to `lr` over the first three tenths
    of the steps and down to nothing (torch's OneCycleLR), or "cooldown": `lr`, and over the last
    tenth of the epochs (whole ones, at least one) straight down to nothing.
    """

    epochs: int = 50
    lr: float = 1e-3
    batch_size: int = 128
    optimizer: str = "AdamW"
    bfloat16: bool = False
    seed: int = 0
    reshuffle: bool = True
    trains: str = "all"
    schedule: str = "constant"


def fit(
    model: nn.Module,
    data: Dataset,
    protocol: Protocol = Protocol(),
    *,
    inputs: Callable[[torch.Tensor], torch.Tensor] | None = None,
    checkpoint: Path | None = None,
    log=print,
) -> list[dict]:
    """Train in place on all of `data`; returns one row an epoch.

    A row has epoch, loss, accuracy while training and seconds.

    `inputs` maps places int64 [n], on the model's device, to what it takes there; None: the
    pictures, in its range. With `checkpoint`, the state is written after every epoch and a later
    call goes on from it, with the same batches as if it had never stopped: the order of epoch e
    depends on seed and e alone.
    """
    device = next(model.parameters()).device
    where = device if inputs else data.images.device
    labels = data.labels.to(device)
    model.train().to(memory_format=torch.channels_last)
    optimizer = getattr(torch.optim, protocol.optimizer)(
        [p for p in model.parameters() if p.requires_grad], lr=protocol.lr
    )
    asked = {**asdict(protocol), "data": data.fingerprint}
    rows = _resume(model, optimizer, checkpoint, asked)
    steps = -(-len(data) // protocol.batch_size)
    step = _schedule(optimizer, protocol, steps, len(rows) * steps)

    def batches(order):
        for index in order.split(protocol.batch_size):
            images = inputs(index) if inputs else _given(model, data, index, device)
            yield images, labels[index]

    for epoch in range(len(rows), protocol.epochs):
        start = time.perf_counter()
        order = _order(len(data), protocol, epoch).to(where)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1_000_003 * protocol.seed + epoch)  # of dropout and the like
            loss, right = _epoch(model, optimizer, batches(order), protocol.bfloat16, step)
        row = {
            "epoch": epoch + 1,
            "loss": loss / len(data),
            "accuracy": right / len(data),
            "seconds": time.perf_counter() - start,
        }
        rows.append(row)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is not finite in epoch {epoch + 1}; lower the learning rate "
                f"({protocol.lr})."
            )
        _save(model, optimizer, rows, checkpoint, asked)
        log(
            f"epoch {epoch + 1}/{protocol.epochs}  loss {row['loss']:.3f}  "
            f"accuracy {row['accuracy']:.3f}  {row['seconds']:.0f} s"
        )
    model.eval()
    return rows


def _given(
    model: nn.Module, data: Dataset, index: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """The pictures at `index` in the model's range, on its device."""
    images = to_range(data.images[index].to(device), model)
    return images.contiguous(memory_format=torch.channels_last)


def _order(count: int, protocol: Protocol, epoch: int) -> torch.Tensor:
    """The order in which an epoch takes the pictures."""
    seed = 1_000_003 * protocol.seed + (epoch if protocol.reshuffle else 0)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _schedule(
    optimizer: torch.optim.Optimizer, protocol: Protocol, steps: int, done: int
) -> Callable[[], None]:
    """What to call after every step, so that the learning rate follows the protocol.

    `done` steps were taken already.
    """
    if protocol.schedule == "constant":
        return lambda: None
    if protocol.schedule not in ("one cycle", "cooldown"):
        raise ValueError(
            f"schedule is {protocol.schedule!r}; "
            "accepted are 'constant', 'one cycle' and 'cooldown'."
        )
    total = protocol.epochs * steps
    if done == total:
        return lambda: None
    if protocol.schedule == "cooldown":
        rest = max(1, protocol.epochs // 10) * steps
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", protocol.lr)
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1, (total - step) / rest), last_epoch=done - 1
        ).step
    # torch keeps the ends of the cycle in the optimizer's groups, which a checkpoint has brought
    # back
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, protocol.lr, total_steps=total, last_epoch=done - 1
    ).step


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches,
    bfloat16: bool,
    step: Callable[[], None],
) -> tuple[float, int]:
    """One step a batch (inputs, labels); returns the summed loss and how many were right.

    Right is counted before the batch's step. Both are read at the end, since a GPU waits at every
    number that is read.
    """
    losses, right, counts = [], 0, []
    for images, labels in batches:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            logits = model(images)
        loss = cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step()
        losses.append(loss.detach())
        counts.append(len(labels))
        right = right + (logits.argmax(1) == labels).sum()
    total = torch.stack(losses).cpu().double() @ torch.tensor(counts, dtype=torch.float64)
    return float(total), int(right)


def fit_last_layer(
    model: nn.Sequential,
    data: Dataset,
    protocol: Protocol,
    *,
    checkpoint: Path | None = None,
    log=print,
) -> list[dict]:
    """Train the second part of `model`, (body, layer), in place (paper Sign, section 4).

    The body's weights are left alone.

    "last layer, frozen": the body is in eval mode, so that its outputs are the same in every epoch
    and are computed once. "last layer, released": as in the released code, the whole network is in
    train mode. Only the layer gets gradients, but the body's batch-norm statistics follow the new
    pictures, and its dropout and stochastic depth are at work. Rows and checkpoint as in `fit`.
    """
    body, layer = model
    if protocol.trains == "last layer, frozen":
        features = outputs(model, data, body)
        return fit(
            layer,
            data,
            protocol,
            inputs=lambda index: features[index],
            checkpoint=checkpoint,
            log=log,
        )
    if protocol.trains != "last layer, released":
        raise ValueError(
            f"trains is {protocol.trains!r}; "
            "accepted are 'last layer, frozen' and 'last layer, released'."
        )
    learns = [(p, p.requires_grad) for p in body.parameters()]
    try:
        body.requires_grad_(False)
        return fit(model, data, protocol, checkpoint=checkpoint, log=log)
    finally:
        for parameter, before in learns:
            parameter.requires_grad_(before)


def _save(model, optimizer, rows, checkpoint, asked) -> None:
    if checkpoint is None:
        return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    part = checkpoint.with_name(f"{checkpoint.name}.{os.getpid()}.part")
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rows": rows,
            "protocol": asked,
        },
        part,
    )
    part.replace(checkpoint)


def _resume(model, optimizer, checkpoint, asked) -> list[dict]:
    if checkpoint is None or not checkpoint.exists():
        return []
    try:
        state = torch.load(checkpoint, weights_only=True)
        written, rows = state["protocol"], state["rows"]
        weights, steps = state["model"], state["optimizer"]
    except Exception:
        checkpoint.replace(checkpoint.with_name(checkpoint.name + ".damaged"))
        return []
    # a field younger than the checkpoint had its default
    if {**asdict(Protocol()), **written} != asked:
        raise ValueError(
            f"{checkpoint} was written by another protocol or on other data ({written}); "
            "remove it or train with that one."
        )
    stored = {key: value.shape for key, value in weights.items()}
    own = {key: value.shape for key, value in model.state_dict().items()}
    if stored != own:
        raise ValueError(
            f"{checkpoint} was written for another network; remove it or train that one."
        )
    model.load_state_dict(weights)
    optimizer.load_state_dict(steps)
    return rows


@torch.no_grad()
def outputs(
    model: nn.Module, data: Dataset, part: nn.Module | None = None, batch_size: int = 128
) -> torch.Tensor:
    """What `part` (None: the whole model) returns for every picture: [N,...]; float32, eval mode.

    The pictures are given in the model's range.
    """
    device = next(model.parameters()).device
    part = model if part is None else part
    part.eval().to(memory_format=torch.channels_last)
    batches = torch.arange(len(data)).split(batch_size)
    return torch.cat([part(_given(model, data, index, device)) for index in batches])


def predict(model: nn.Module, data: Dataset, batch_size: int = 128) -> torch.Tensor:
    """Predicted class of every picture, int64 [N]; float32, eval mode."""
    return outputs(model, data, batch_size=batch_size).argmax(1).cpu()


def accuracy(model: nn.Module, data: Dataset, batch_size: int = 128) -> float:
    """Share of pictures whose predicted class is their label."""
    return (predict(model, data, batch_size) == data.labels).double().mean().item()
