"""One engine that swaps the backward rule of an operation, whoever calls it.

The rules themselves are data for it. Libraries that hook modules miss a functional `F.relu`, a
re-used or an in-place one. Here a `TorchFunctionMode` sees the operation itself, during one forward
pass, and puts another backward rule behind it; the model is never touched. Seen are ReLU in all its
forms (module, function, method, in place, `clamp(min=0)`, `threshold(0, 0)`, ReLU6 and
`hardtanh(0, b)`), the smooth activations in `SMOOTH`, `max_pool2d` and `conv2d`. Not seen: what
TorchScript or `torch.compile` have swallowed (refused), gates (`sigmoid`, `tanh`), an activation
written out in arithmetic, and other pooling operations.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .rules import Activation, Pool, proportional

SMOOTH = (F.gelu, F.silu, F.mish, F.hardswish, F.elu, F.selu, F.celu, F.softplus, F.leaky_relu)


_RELU = (
    F.relu,
    torch.relu,
    torch.relu_,
    Tensor.relu,
    Tensor.relu_,
    F.relu6,
    F.hardtanh,
    F.hardtanh_,
    F.threshold,
    torch.threshold,
    torch.threshold_,
)


_CLAMP = (
    torch.clamp,
    torch.clamp_,
    Tensor.clamp,
    Tensor.clamp_,
    torch.clamp_min,
    torch.clamp_min_,
    Tensor.clamp_min,
    Tensor.clamp_min_,
    torch.clip,
    torch.clip_,
    Tensor.clip,
    Tensor.clip_,
)


_IN_PLACE = {
    torch.relu_,
    Tensor.relu_,
    torch.clamp_,
    Tensor.clamp_,
    torch.clamp_min_,
    Tensor.clamp_min_,
    torch.clip_,
    Tensor.clip_,
    torch.threshold_,
    F.hardtanh_,
}


_POOL = (F.max_pool2d, torch.max_pool2d, F.max_pool2d_with_indices)


_Function = Callable[[Tensor], Tensor]


# --- the engine -----------------------------------------------------------------------------------

# one a thread; operations belong to it alone
_INNERMOST: ContextVar[Engine | None] = ContextVar("innermost engine", default=None)


@contextmanager
def alone() -> Iterator[None]:
    """No engine sees the operations inside.

    For a method that swaps nothing, called inside the forward pass of a model that another one
    explains.
    """
    token = _INNERMOST.set(None)
    try:
        yield
    finally:
        _INNERMOST.reset(token)


class Engine(TorchFunctionMode):
    """While it is active, operations get the given backward rules.

    A rule takes the gradient at the output and what it is told: `activation(g, Activation)`, for
    ReLU and, with `smooth`, for smooth activations; `max_pool(g, Pool)`; `border`: the padding
    trick's reading. `edit(index, a)` changes the output of the index-th activation on the way
    forward. `activations` and `pools` count what was met.
    """

    def __init__(
        self,
        activation: Callable[[Tensor, Activation], Tensor] | None = None,
        *,
        smooth: bool = False,
        max_pool: Callable[[Tensor, Pool], Tensor] | None = None,
        border: str | None = None,
        edit: Callable[[int, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.smooth = smooth
        self.max_pool = max_pool
        self.border = border
        self.edit = edit
        self.activations = 0
        self.pools = 0

    def __enter__(self) -> Engine:
        self.outer: Token[Engine | None] = _INNERMOST.set(self)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch leaves it without types
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _INNERMOST.reset(self.outer)
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]  # as above

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SEEN and _INNERMOST.get() is self:
            if func is F.pad:
                return _mark_padded(func(*args, **kwargs), *args, **kwargs)
            if (func is torch.conv2d or func is F.conv2d) and self.border:
                return _trick(func, args, kwargs, self.border)
            if func in _POOL and self.max_pool:
                return self._pool(func, args, kwargs)
            if self.activation or self.edit:
                call = _parse(func, args, kwargs, self.smooth)
                if call is not None:
                    return self._activate(*call)
        return func(*args, **kwargs)

    def _activate(
        self, z: Tensor, function: _Function, upper: float, smooth: bool, in_place: bool
    ) -> Tensor:
        ruled = self.activation and z.requires_grad and torch.is_grad_enabled()
        if not ruled:
            a = z.copy_(function(z)) if in_place else function(z)
            if self.edit is None:
                return a
        index, self.activations = self.activations, self.activations + 1
        if ruled:
            a = _ActivationRule.apply(z, function, upper, smooth, in_place, self, index)
        return self.edit(index, a) if self.edit else a

    def _pool(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = _POOL_SIGNATURE.bind(*args, **kwargs)
        given.apply_defaults()
        options = {k: v for k, v in given.arguments.items() if k not in ("input", "return_indices")}
        x = given.arguments["input"]
        if not x.requires_grad:
            return func(*args, **kwargs)
        if _pair(options.pop("dilation")) != (1, 1):
            raise ValueError(
                "this rule for max pooling has no reading for dilated windows; "
                "accepted is dilation 1."
            )
        options["stride"] = options["stride"] or options["kernel_size"]
        self.pools += 1
        values = _PoolRule.apply(x, options, self.max_pool)
        if given.arguments["return_indices"] or func is F.max_pool2d_with_indices:
            return values, F.max_pool2d(x.detach(), **options, return_indices=True)[1]
        return values


class _ActivationRule(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        function: _Function,
        upper: float,
        smooth: bool,
        in_place: bool,
        engine: Engine,
        index: int,
    ) -> Tensor:
        # an engine outside this one shall not see what this one does
        with torch._C.DisableTorchFunction():
            ctx.save_for_backward(z.clone() if in_place else z)
            ctx.about = function, upper, smooth, engine, index
            a = function(z)
            if in_place:
                ctx.mark_dirty(z)
                z.copy_(a)
            return z if in_place else a

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (z,) = ctx.saved_tensors
        function, upper, smooth, engine, index = ctx.about
        with torch._C.DisableTorchFunction():
            last = index == engine.activations - 1
            unit = Activation(z, function(z), index, last, upper, function if smooth else None)
            return engine.activation(g, unit).to(g.dtype), *[None] * 6


class _PoolRule(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, options: dict[str, Any], rule: Callable[[Tensor, Pool], Tensor]
    ) -> Tensor:
        with torch._C.DisableTorchFunction():
            ctx.save_for_backward(x)
            ctx.about = options, rule
            values: Tensor = F.max_pool2d(x, **options)
            return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        options, rule = ctx.about
        with torch._C.DisableTorchFunction():
            return rule(g, Pool(ctx.saved_tensors[0], options)), None, None


_Call = tuple[Tensor, _Function, float, bool, bool]


def _parse(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], smooth: bool
) -> _Call | None:
    """What an activation call asks for, or None for something else.

    (input, out-of-place function, upper bound, is it smooth, in place?)
    """
    if func in _CLAMP:
        return _parse_clamp(func, *args, **kwargs)
    if func not in _RELU and not (smooth and func in SMOOTH):
        return None
    if func in _SIGNATURES:
        given = _SIGNATURES[func].bind(*args, **kwargs)
        given.apply_defaults()
        options = dict(given.arguments)
    else:
        options = {"input": args[0], **kwargs} if args else dict(kwargs)
        options |= {f"_{k}": v for k, v in enumerate(args[1:])}
    z, in_place = options.pop("input"), bool(options.pop("inplace", False)) or func in _IN_PLACE
    if func in SMOOTH:
        rest = [v for k, v in options.items() if k.startswith("_")]
        named = {k: v for k, v in options.items() if not k.startswith("_")}
        return z, lambda t: func(t, *rest, **named), math.inf, True, in_place
    upper = 6.0 if func is F.relu6 else math.inf
    if func in (F.hardtanh, F.hardtanh_):
        if options.get("min_val", options.get("_0", -1)) != 0:
            return None
        upper = float(options.get("max_val", options.get("_1", 1)))
    if func in (F.threshold, torch.threshold, torch.threshold_):
        threshold = options.get("threshold", options.get("_0"))
        value = options.get("value", options.get("_1"))
        if threshold != 0 or value != 0:
            return None
    return z, _bounded(upper), upper, False, in_place


def _parse_clamp(
    func: Callable[..., Any], input: Tensor, min: object = None, max: Any = None
) -> _Call | None:
    if (
        isinstance(min, bool)
        or not isinstance(min, numbers.Real)
        or min != 0
        or isinstance(max, Tensor)
        or not input.is_floating_point()
    ):
        return None
    upper = math.inf if max is None else float(max)
    return input, _bounded(upper), upper, False, func in _IN_PLACE


def _bounded(upper: float) -> _Function:
    return torch.relu if math.isinf(upper) else lambda z: z.clamp(0, upper)


def _mark_padded(
    out: Tensor,
    input: Tensor,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Tensor:
    if mode == "constant" and not value and any(p > 0 for p in pad[:4]) and not any(pad[4:]):
        # some networks pad in a step of its own before a convolution
        out._zero_padded = True  # type: ignore[attr-defined]  # a mark of this engine's own
    return out


def _trick(
    func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], border: str
) -> Tensor:
    given = _CONV_SIGNATURE.bind(*args, **kwargs)
    given.apply_defaults()
    call = given.arguments
    out = func(*args, **kwargs)
    padded_before = getattr(call["input"], "_zero_padded", False)
    rows, columns = border_width(
        call["weight"], call["padding"], call["dilation"], padded_before, border
    )

    def without_border(g: Tensor) -> Tensor:
        inner = g[..., rows : g.shape[-2] - rows, columns : g.shape[-1] - columns]
        return F.pad(inner, (columns, columns, rows, rows))

    has_interior = out.shape[-2] > 2 * rows and out.shape[-1] > 2 * columns
    if out.requires_grad and (rows or columns) and has_interior:
        out.register_hook(without_border)  # type: ignore[no-untyped-call]  # torch has no types here
    return out


def border_width(
    weight: Tensor,
    padding: str | int | Sequence[int],
    dilation: int | Sequence[int],
    padded_before: bool,
    border: str,
) -> tuple[int, int]:
    """Rows and columns that the padding trick zeroes of the gradient at a convolution's output.

    (0, 0) where it does nothing.
    """
    rows, columns = (
        d * (k - 1) // 2 for k, d in zip(weight.shape[-2:], _pair(dilation), strict=True)
    )
    half = rows, columns
    padded = padded_before
    if padding == "same":
        padded_by = half
        padded = padded or max(weight.shape[-2:]) > 1  # half of a 2x2 kernel rounds to 0
    else:
        padded_by = (0, 0) if isinstance(padding, str) else _pair(padding)
    padded = padded or any(padded_by)
    if border == "released":  # TensorFlow's SAME, which a 1x1 kernel also is
        return (1, 1) if padded_before or padded_by == half else (0, 0)
    if not padded:
        return 0, 0
    return (1, 1) if border == "padded" else half


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    first, last = value[0], value[-1]  # of one number or two
    return first, last


_SIGNATURES = {f: inspect.signature(f) for f in (*_RELU, *SMOOTH) if inspect.isfunction(f)}


_POOL_SIGNATURE = inspect.signature(F.max_pool2d_with_indices)  # max_pool2d's own is hidden


_CONV_SIGNATURE = inspect.signature(
    lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: None
)


_SEEN = {*_RELU, *_CLAMP, *SMOOTH, *_POOL, torch.conv2d, F.conv2d, F.pad}


@contextmanager
def replaced(model: nn.Module, method: str, engine: Engine) -> Iterator[None]:
    """The forward pass inside runs with the engine's rules.

    ValueError if the method then met nothing to change.
    """
    hidden = [
        name or type(module).__name__
        for name, module in model.named_modules()
        if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod")
    ]
    if hidden:
        raise ValueError(
            f"{method} cannot see the operations inside {hidden[0]}, which is scripted or "
            "compiled; give the plain module."
        )
    no_checkpoints = torch.autograd.graph.disable_saved_tensors_hooks(
        f"{method} cannot follow torch.utils.checkpoint, which runs a block again outside of it; "
        "switch checkpointing off."
    )
    with no_checkpoints, engine:
        yield
    if engine.activation and not engine.activations:
        kinds = "ReLU, ReLU6, clamp(min=0)"
        if engine.smooth:
            kinds += ", GELU, SiLU or another activation"
        raise ValueError(
            f"{method} changes the backward rule of {kinds}; the model called none, "
            "so its result would be a plain gradient under another name."
        )
    if engine.max_pool is proportional and not engine.pools:
        raise ValueError(
            "the proportional redistribution rule changes max_pool2d, and the model called none; "
            "use prr=False."
        )
