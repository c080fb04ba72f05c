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

    Attributes
    ----------
    z : Tensor
        Its input [M,...]; of a plain ReLU its output, in an engine with `from_output`.
    a : Tensor
        Its output.
    index : int
        Its place in the forward pass.
    last : bool
        Whether it is the last on the way to the logits.
    upper : float
        ReLU's bound: inf, 6 for ReLU6.
    function : callable or None
        The activation where it is a smooth one.
    z0 : Tensor, optional
        The input in the reference pass, [1,...] where all images share it.
    images : int, optional
        How many the batch has; None where the first dimension counts them.
    """

    z: Tensor
    a: Tensor
    index: int  # type: ignore[assignment]  # hides tuple's own method
    last: bool
    upper: float
    function: Callable[[Tensor], Tensor] | None
    z0: Tensor | None = None
    images: int | None = None

    @property
    def slope(self) -> Tensor:
        """The derivative f'(z)."""
        if self.function is None and math.isinf(self.upper):
            return self.a.sign()  # of a ReLU: several times faster than a comparison
        if self.function is None:
            return ((self.z > 0) & (self.z < self.upper)).to(self.z.dtype)
        with torch.enable_grad():
            z = self.z.detach().requires_grad_()
            return torch.autograd.grad(self.function(z).sum(), z)[0]

    def gated(self, g: Tensor) -> Tensor:
        """The plain gradient's rule, g f'(z), for the gradient `g` at the output."""
        if self.function is not None:
            return g * self.slope
        return _where_above(self.ungated(g), self.z, 0.0)

    def ungated(self, g: Tensor) -> Tensor:
        """What is left to a rule that replaces ReLU's own gate: `g`, the gradient at the output,
        times 1, 0 above a bound, f'(z) where f is smooth."""
        if self.function is not None:
            return g * self.slope
        return g if math.isinf(self.upper) else torch.where(self.z < self.upper, g, 0)


class Pool(NamedTuple):
    """A max-pooling operation as a rule sees it.

    Attributes
    ----------
    x : Tensor
        Its input [N,C,...].
    options : dict
        What the function `kind` is given beside it.
    kind : str
        A function of torch.nn.functional, or "max" over the last dimension, without options.
    x0 : Tensor, optional
        The input in the reference pass, [1,C,...] where all images share it.
    """

    x: Tensor
    options: dict[str, Any]
    kind: str = "max_pool2d"
    x0: Tensor | None = None

    @property
    def dims(self) -> int:
        """How many dimensions, the last ones, are pooled."""
        return 1 if self.kind == "max" else int(self.kind[-2])

    @property
    def maxima(self) -> tuple[Tensor, Tensor]:
        """The largest value of each window, and its place among the flattened positions."""
        if self.kind == "max":
            values, places = self.x.max(-1, keepdim=True)
        else:
            function = getattr(F, self.kind)
            values, places = function(self.x, **self.options, return_indices=True)
        return values, places

    def means(self, x: Tensor) -> Tensor:
        """The mean of each window of another input, padding excluded.

        Parameters
        ----------
        x : Tensor
            Of the shape of the pooling's own input.

        Returns
        -------
        Tensor
            Of the shape of its output.
        """
        if self.kind == "max":
            return x.mean(-1, keepdim=True)
        options = dict(self.options)
        if not self.kind.startswith("adaptive"):
            options["count_include_pad"] = False
        means: Tensor = getattr(F, self.kind.replace("max", "avg"))(x, **options)
        return means


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
    """R_in = [R > 0] R (paper Noise, eq. 3 in appendix E.1).

    Parameters
    ----------
    g : Tensor
        The gradient R at the output of the activation.
    unit : Activation
        The activation.

    Returns
    -------
    Tensor
        The gradient at its input.

    Examples
    --------
    >>> z = torch.tensor([[2.0, -1.0, 3.0]])
    >>> unit = Activation(z, z.relu(), 0, True, math.inf, None)
    >>> deconvolution(torch.tensor([[1.0, 1.0, -1.0]]), unit).tolist()
    [[1.0, 1.0, 0.0]]
    """
    return unit.ungated(g.clamp(min=0))


def guided(g: Tensor, unit: Activation) -> Tensor:
    """R_in = [z > 0] [R > 0] R (paper Noise, eq. 5 in appendix E.2).

    Parameters
    ----------
    g : Tensor
        The gradient R at the output of the activation.
    unit : Activation
        The activation.

    Returns
    -------
    Tensor
        The gradient at its input.

    Examples
    --------
    >>> z = torch.tensor([[2.0, -1.0, 3.0]])
    >>> unit = Activation(z, z.relu(), 0, True, math.inf, None)
    >>> guided(torch.tensor([[1.0, 1.0, -1.0]]), unit).tolist()
    [[1.0, 0.0, 0.0]]
    """
    return unit.gated(g.clamp(min=0))


# importance of a unit with activation a and gradient R (paper Noise, appendix B.1)
SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "PR1": lambda a, g: a * g,
    "PR2": lambda a, g: (a * g).abs(),
    "PR3": lambda a, g: a,
    "PR4": lambda a, g: g,
}


# up to this length, sorting a whole row beats searching it for one rank
_SORTED = 2**16


def percentile(values: Tensor, q: float) -> Tensor:
    """The q-th percentile of each row.

    Parameters
    ----------
    values : Tensor
        Rows [N,...] of numbers.
    q : float
        From 0 to 100.

    Returns
    -------
    Tensor
        [N]: the value at index round((n - 1) q / 100) of the ascending order.

    Examples
    --------
    >>> percentile(torch.tensor([[5.0, 1.0, 4.0, 2.0, 3.0]]), 50)
    tensor([3.])
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
    if rows.shape[1] <= _SORTED:
        return torch.from_numpy(np.sort(rows.numpy(), axis=1)[:, rank]).to(values.dtype)
    ranked = [_ranked(row, rank) for row in rows.numpy()]
    return torch.tensor(ranked, dtype=torch.float64).to(values.dtype)


def image_percentile(values: Tensor, q: float, images: int | None = None) -> Tensor:
    """The q-th percentile of each of `images` images, to be compared with `values` [M,...].

    An image has M / images entries of the first dimension, one after the other: one, where the
    first dimension is the batch; all, where there is one image alone.

    Parameters
    ----------
    values : Tensor
        [M,...].
    q : float
        From 0 to 100.
    images : int, optional
        How many images; None means M.

    Returns
    -------
    Tensor
        [M,1,...].

    Raises
    ------
    ValueError
        For an M that is no multiple of `images`.

    Examples
    --------
    >>> image_percentile(torch.tensor([[1.0], [2.0], [5.0], [4.0]]), 100, 2).flatten().tolist()
    [2.0, 2.0, 5.0, 5.0]
    """
    count = len(values)
    if images is None or images == count:
        thresholds = percentile(values, q)
    elif not images or count % images:
        raise ValueError(
            f"an activation of shape {tuple(values.shape)} is not made of {images} images one "
            "after the other; give one image at a time."
        )
    else:
        thresholds = percentile(values.reshape(images, -1), q).repeat_interleave(count // images)
    return thresholds.view(-1, *[1] * (values.ndim - 1))


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

    Parameters
    ----------
    g : Tensor
        The gradient R at the output of the activation.
    unit : Activation
        The activation.
    q, tau, rule, eps
        As in `lib.attribution.rectgrad`.

    Returns
    -------
    Tensor
        The gradient at its input.

    Examples
    --------
    >>> a = torch.tensor([[3.0, 2.0, 1.0]])
    >>> unit = Activation(a, a, 0, True, math.inf, None)
    >>> rectgrad(torch.tensor([[1.0, 5.0, 2.0]]), unit, q=50).tolist()
    [[0.0, 5.0, 0.0]]
    """
    if rule == "PR1+PR2":
        rule = "PR1" if unit.last else "PR2"
    score = SCORES[rule](unit.a + eps if eps else unit.a, g)
    if tau is not None:
        return _where_above(unit.ungated(g), score, tau)
    return _where_above(unit.ungated(g), score, image_percentile(score, q, unit.images))


def epsilon_lrp(g: Tensor, unit: Activation, *, epsilon: float = 1e-4) -> Tensor:
    """R_in = R f(z) / (z + epsilon sign(z)) (Ancona et al. 2018, table 1).

    Parameters
    ----------
    g : Tensor
        The gradient R at the output of the activation.
    unit : Activation
        The activation.
    epsilon : float
        Added to the size of z.

    Returns
    -------
    Tensor
        The gradient at its input.

    Examples
    --------
    >>> z = torch.tensor([[3.0, -1.0]])
    >>> epsilon_lrp(torch.ones(1, 2), Activation(z, z.relu(), 0, True, math.inf, None), epsilon=1.0)
    tensor([[0.7500, -0.0000]])
    """
    return g * unit.a / torch.where(unit.z >= 0, unit.z + epsilon, unit.z - epsilon)


def rescale(g: Tensor, unit: Activation) -> Tensor:
    """DeepLIFT's Rescale rule, R_in = R (a - a0) / (z - z0) (Shrikumar et al. 2017).

    z0 and a0 are the baseline's.

    Parameters
    ----------
    g : Tensor
        The gradient R at the output of the activation.
    unit : Activation
        The activation. It needs `z0`.

    Returns
    -------
    Tensor
        The gradient at its input.

    Raises
    ------
    ValueError
        Where nothing is known of the baseline.

    Examples
    --------
    >>> z, z0 = torch.tensor([[3.0]]), torch.tensor([[-1.0]])
    >>> rescale(torch.ones(1, 1), Activation(z, z.relu(), 0, True, math.inf, None, z0)).item()
    0.75
    """
    z, z0, a0 = unit.z, *_of_baseline(unit)
    change = z - z0
    if unit.function is None:
        # differences of a ReLU are as exact as its input's, so the quotient is, but for 0 / 0
        still = change == 0
    else:
        size = torch.maximum(z.abs(), z0.abs())
        still = change.abs() <= 10 * torch.finfo(z.dtype).eps * size  # no more than rounding
    return g * torch.where(still, unit.slope, (unit.a - a0).div_(change))


def _of_baseline(unit: Activation) -> tuple[Tensor, Tensor]:
    if unit.z0 is None:
        raise ValueError("the Rescale rule compares with a baseline; give the engine a reference.")
    if unit.function is not None:
        return unit.z0, unit.function(unit.z0)
    return unit.z0, unit.z0.clamp(0, unit.upper)


def rescale_max_pool(g: Tensor, pool: Pool) -> Tensor:
    """Rescale for a maximum: the difference of two maxima goes to one input alone.

    To the one whose own difference covers it. Where the maximum rose, that is where the image has
    its maximum; where it fell, where the baseline has its own. The quotient then lies in [0,1] and
    contributions add up exactly.

    Parameters
    ----------
    g : Tensor
        The gradient R at the output of the pooling.
    pool : Pool
        The pooling. It needs `x0`.

    Returns
    -------
    Tensor
        The gradient at its input.

    Raises
    ------
    ValueError
        Where nothing is known of the baseline.

    Examples
    --------
    >>> x, x0 = torch.tensor([[[[4.0, 1.0]]]]), torch.tensor([[[[0.0, 2.0]]]])
    >>> pool = Pool(x, {"kernel_size": (1, 2)}, x0=x0)
    >>> rescale_max_pool(torch.ones(1, 1, 1, 1), pool).tolist()
    [[[[0.5, 0.0]]]]
    """
    x, x0 = pool.x, pool.x0
    if x0 is None:
        raise ValueError("the Rescale rule compares with a baseline; give the engine a reference.")
    y, at = pool.maxima
    y0, at0 = pool._replace(x=x0).maxima
    change, place = y - y0, torch.where(y >= y0, at, at0).flatten(-pool.dims)
    at_place = (x - x0).flatten(-pool.dims).gather(-1, place).view_as(y)
    shares = g * torch.where(at_place == 0, 1.0, change / at_place)
    back = torch.zeros_like(x.flatten(-pool.dims))
    return back.scatter_add_(-1, place, shares.flatten(-pool.dims)).view_as(x)


def proportional(g: Tensor, pool: Pool) -> Tensor:
    """PRR: R_in = x avg_pool'(R / (avg_pool(x) + 1e-10)) (paper Noise, appendix D.3).

    Over the windows of the max-pool, padding excluded.

    Parameters
    ----------
    g : Tensor
        The gradient R at the output of the pooling.
    pool : Pool
        The pooling.

    Returns
    -------
    Tensor
        The gradient at its input.

    Examples
    --------
    >>> pool = Pool(torch.tensor([[[[3.0, 1.0]]]]), {"kernel_size": (1, 2)})
    >>> proportional(torch.ones(1, 1, 1, 1), pool).tolist()
    [[[[0.75, 0.25]]]]
    """
    precise = torch.promote_types(pool.x.dtype, torch.float32)  # 1e-10 is 0 in float16
    with torch.enable_grad():
        x = pool.x.detach().to(precise).requires_grad_()
        z = pool.means(x)
        (spread,) = torch.autograd.grad(z, x, g.to(z.dtype) / (z.detach() + 1e-10))
    return (x.detach() * spread).to(g.dtype)
