"""Training as both papers do it: one loop, resumable at every epoch, the data one tensor of bytes."""
from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lib.data import Dataset, to_range


@dataclass(frozen=True)
class Protocol:
    """How a network was trained; the defaults are paper Sign's (section 4): AdamW, 1e-3, batch 128, 50 epochs, shuffled.

    `reshuffle=False` draws one order and keeps it for all epochs, as the released loop of paper Noise does.
    """

    epochs: int = 50
    lr: float = 1e-3
    batch_size: int = 128
    optimizer: str = "AdamW"
    bfloat16: bool = False
    seed: int = 0
    reshuffle: bool = True


def fit(model: nn.Module, data: Dataset, protocol: Protocol = Protocol(), *, checkpoint: Path | None = None, log=print) -> list[dict]:
    """Train in place on all of `data`; returns one row an epoch (epoch, loss, accuracy while training, seconds).

    With `checkpoint`, the state is written after every epoch and a later call goes on from it, with the same batches as
    if it had never stopped: the order of epoch e depends on seed and e alone.
    """
    device = next(model.parameters()).device
    model.train().to(memory_format=torch.channels_last)
    optimizer = getattr(torch.optim, protocol.optimizer)(model.parameters(), lr=protocol.lr)
    asked = {**asdict(protocol), "data": data.fingerprint}
    rows = _resume(model, optimizer, checkpoint, asked)
    for epoch in range(len(rows), protocol.epochs):
        start, loss_sum, right = time.perf_counter(), 0.0, 0
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1_000_003 * protocol.seed + (epoch if protocol.reshuffle else 0)))
        for index in order.split(protocol.batch_size):
            images = to_range(data.images[index].to(device), model).contiguous(memory_format=torch.channels_last)
            labels = data.labels[index].to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=protocol.bfloat16):
                logits = model(images)
            loss = cross_entropy(logits.float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(index)
            right += (logits.argmax(1) == labels).sum().item()
        rows.append({"epoch": epoch + 1, "loss": loss_sum / len(data), "accuracy": right / len(data), "seconds": time.perf_counter() - start})
        if not math.isfinite(loss_sum):
            raise FloatingPointError(f"the loss is not finite in epoch {epoch + 1}; lower the learning rate ({protocol.lr}).")
        _save(model, optimizer, rows, checkpoint, asked)
        log(f"epoch {epoch + 1}/{protocol.epochs}  loss {rows[-1]['loss']:.3f}  accuracy {rows[-1]['accuracy']:.3f}  {rows[-1]['seconds']:.0f} s")
    model.eval()
    return rows


def _save(model, optimizer, rows, checkpoint, asked) -> None:
    if checkpoint is None:
        return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    part = checkpoint.with_name(f"{checkpoint.name}.{os.getpid()}.part")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rows": rows, "protocol": asked}, part)
    part.replace(checkpoint)


def _resume(model, optimizer, checkpoint, asked) -> list[dict]:
    if checkpoint is None or not checkpoint.exists():
        return []
    try:
        state = torch.load(checkpoint, weights_only=True)
        written, rows, weights, steps = (state[name] for name in ("protocol", "rows", "model", "optimizer"))
    except Exception:
        checkpoint.replace(checkpoint.with_name(checkpoint.name + ".damaged"))
        return []
    if written != asked:
        raise ValueError(f"{checkpoint} was written by another protocol or on other data ({written}); remove it or train with that one.")
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in model.state_dict().items()}:
        raise ValueError(f"{checkpoint} was written for another network; remove it or train that one.")
    model.load_state_dict(weights)
    optimizer.load_state_dict(steps)
    return rows


@torch.inference_mode()
def predict(model: nn.Module, data: Dataset, batch_size: int = 500) -> torch.Tensor:
    """Predicted class of every picture, int64 [N]; float32, eval mode."""
    device = next(model.parameters()).device
    model.eval()
    batches = torch.arange(len(data)).split(batch_size)
    return torch.cat([model(to_range(data.images[i].to(device), model)).argmax(1).cpu() for i in batches])


def accuracy(model: nn.Module, data: Dataset, batch_size: int = 500) -> float:
    """Share of pictures whose predicted class is their label."""
    return (predict(model, data, batch_size) == data.labels).double().mean().item()
