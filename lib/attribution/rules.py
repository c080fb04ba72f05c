"""The backward rules themselves, on tensors.

Deconvolution, guided backpropagation, RectGrad, epsilon-LRP, DeepLIFT and PRR.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Activation(NamedTuple):
    """An activation operation as a rule sees it.

    Input `z`, output `a`, its place in the forward pass, and whether it is the last.
    """

    z: Tensor
    a: Tensor
    index: int  # type: ignore[assignment]  # hides tuple's own method
    last: bool
    upper: float  # ReLU's bound: inf, 6 for ReLU6
    function: Callable[[Tensor], Tensor] | None  # of a smooth activation, else None

    @property
    def slope(self) -> Tensor:
        """The derivative f'(z)."""
        if self.function is None:
            return ((self.z > 0) & (self.z < self.upper)).to(self.z.dtype)
        with torch.enable_grad():
            z = self.z.detach().requires_grad_()
            return torch.autograd.grad(self.function(z).sum(), z)[0]

    def gated(self, g: Tensor) -> Tensor:
        """g f'(z): the plain gradient's rule."""
        if self.function is not None:
            return g * self.slope
        return _where_above(self.ungated(g), self.z, 0.0)

    def ungated(self, g: Tensor) -> Tensor:
        """g times what a rule that replaces ReLU's own gate still multiplies by.

        1, 0 above a bound, f'(z) where f is smooth.
        """
        if self.function is not None:
            return g * self.slope
        return g if math.isinf(self.upper) else torch.where(self.z < self.upper, g, 0)


class Pool(NamedTuple):
    """A max-pooling operation as a rule sees it.

    Input `x` [N,C,H,W], and the options of `F.max_pool2d`.
    """

    x: Tensor
    options: dict[str, Any]


def _where_above(g: Tensor, score: Tensor, threshold: Tensor | float) -> Tensor:
    """g where the score is strictly above the threshold, else 0.

    By ReLU's own backward kernel, which is several times faster than `where`.
    """
    if isinstance(threshold, Tensor):
        # the difference is above 0 exactly where the score is above the threshold
        score, threshold = score - threshold, 0.0
    passed: Tensor = torch.ops.aten.threshold_backward(g.to(score.dtype), score, threshold)
    return passed


# --- the rules: gradient at the output of an operation -> gradient at its input -------------------


def deconvolution(g: Tensor, unit: Activation) -> Tensor:
    """R_in = [R > 0] R (paper Noise, eq. 3 in appendix E.1)."""
    return unit.ungated(g.clamp(min=0))


def guided(g: Tensor, unit: Activation) -> Tensor:
    """R_in = [z > 0] [R > 0] R (paper Noise, eq. 5 in appendix E.2)."""
    return unit.gated(g.clamp(min=0))


# importance of a unit with activation a and gradient R (paper Noise, appendix B.1)
SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "PR1": lambda a, g: a * g,
    "PR2": lambda a, g: (a * g).abs(),
    "PR3": lambda a, g: a,
    "PR4": lambda a, g: g,
}


def percentile(values: Tensor, q: float) -> Tensor:
    """The q-th percentile of each row of values [N,...], [N].

    The value at index round((n - 1) q / 100) of the ascending order.
    """
    dense = values.detach()
    if dense.ndim == 4 and not dense.is_contiguous():
        # order within an image does not matter, and a copy would cost more than the search
        dense = dense.permute(0, 2, 3, 1)
    rows = dense.reshape(len(dense), math.prod(dense.shape[1:]))
    rank = round((rows.shape[1] - 1) * q / 100)
    if rows.device.type != "cpu":
        return rows.kthvalue(rank + 1, dim=1).values
    rows = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
    ranked = [_ranked(row, rank) for row in rows.numpy()]
    return torch.tensor(ranked, dtype=torch.float64).to(values.dtype)


def _ranked(row: np.ndarray, rank: int) -> float:
    """The value at index `rank` of the ascending order.

    Most scores are 0, and a search among equal values is slow: leave them out.
    """
    above = row[row > 0]
    zeros_end = len(row) - len(above)
    if rank >= zeros_end:
        return float(np.partition(above, rank - zeros_end)[rank - zeros_end])
    below = row[row < 0]
    return float(np.partition(below, rank)[rank]) if rank < len(below) else 0.0


def rectgrad(
    g: Tensor,
    unit: Activation,
    *,
    q: float = 98.0,
    tau: float | None = None,
    rule: str = "PR1",
    eps: float = 0.0,
) -> Tensor:
    """R_in = [score > tau] R, tau the q-th percentile of the scores of a layer, per image.

    Paper Noise, section 4.1 and appendix B.
    """
    if rule == "PR1+PR2":
        rule = "PR1" if unit.last else "PR2"
    score = SCORES[rule](unit.a + eps if eps else unit.a, g)
    if tau is not None:
        return _where_above(unit.ungated(g), score, tau)
    threshold = percentile(score, q).view(-1, *[1] * (g.ndim - 1))
    return _where_above(unit.ungated(g), score, threshold)


def epsilon_lrp(g: Tensor, unit: Activation, *, epsilon: float = 1e-4) -> Tensor:
    """R_in = R f(z) / (z + epsilon sign(z)) (Ancona et al. 2018, table 1)."""
    return g * unit.a / torch.where(unit.z >= 0, unit.z + epsilon, unit.z - epsilon)


def _ratio(
    change_out: Tensor, change_in: Tensor, size: Tensor, otherwise: Tensor | float
) -> Tensor:
    """Quotient of differences.

    Where the input differs from the baseline's by no more than rounding, the derivative
    (`otherwise`) in its place.
    """
    still = change_in.abs() <= 10 * torch.finfo(change_in.dtype).eps * size
    return torch.where(still, otherwise, change_out / torch.where(still, 1, change_in))


def rescale(g: Tensor, unit: Activation) -> Tensor:
    """DeepLIFT's Rescale rule, R_in = R (a - a0) / (z - z0) (Shrikumar et al. 2017).

    For a batch [images; baselines].
    """
    (z, z0), (a, a0) = unit.z.chunk(2), unit.a.chunk(2)
    multiplier = _ratio(a - a0, z - z0, torch.maximum(z.abs(), z0.abs()), unit.slope.chunk(2)[0])
    return torch.cat([g.chunk(2)[0] * multiplier, torch.zeros_like(a0)])


def rescale_max_pool(g: Tensor, pool: Pool) -> Tensor:
    """Rescale for a maximum: the difference of two maxima goes to one input alone.

    To the one whose own difference covers it. Where the maximum rose, that is where the image has
    its maximum; where it fell, where the baseline has its own. The quotient then lies in [0,1] and
    contributions add up exactly.
    """
    x, x0 = pool.x.chunk(2)
    y, at = F.max_pool2d(x, **pool.options, return_indices=True)
    y0, at0 = F.max_pool2d(x0, **pool.options, return_indices=True)
    change, place = y - y0, torch.where(y >= y0, at, at0).flatten(2)
    at_place = (x - x0).flatten(2).gather(2, place).view_as(y)
    shares = g.chunk(2)[0] * _ratio(change, at_place, torch.zeros_like(at_place), 1.0)
    back = torch.zeros_like(x.flatten(2)).scatter_add_(2, place, shares.flatten(2))
    return torch.cat([back.view_as(x), torch.zeros_like(x0)])


def proportional(g: Tensor, pool: Pool) -> Tensor:
    """PRR: R_in = x avg_pool'(R / (avg_pool(x) + 1e-10)) (paper Noise, appendix D.3).

    Over the windows of the max-pool, padding excluded.
    """
    precise = torch.promote_types(pool.x.dtype, torch.float32)  # 1e-10 is 0 in float16
    with torch.enable_grad():
        x = pool.x.detach().to(precise).requires_grad_()
        z = F.avg_pool2d(x, **pool.options, count_include_pad=False)
        (spread,) = torch.autograd.grad(z, x, g.to(z.dtype) / (z.detach() + 1e-10))
    return (x.detach() * spread).to(g.dtype)
