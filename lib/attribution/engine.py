"""One engine that swaps the backward rule of an operation, whoever calls it, and the rules as data for it.

Libraries that hook modules miss a functional `F.relu`, a re-used or an in-place one. Here a `TorchFunctionMode` sees the
operation itself, during one forward pass, and puts another backward rule behind it; the model is never touched. Seen are
ReLU in all its forms (module, function, method, in place, `clamp(min=0)`, `threshold(0, 0)`, ReLU6 and `hardtanh(0, b)`),
the smooth activations in `SMOOTH`, `max_pool2d` and `conv2d`. Not seen: what TorchScript or `torch.compile` have swallowed
(refused), gates (`sigmoid`, `tanh`), an activation written out in arithmetic, and other pooling operations.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar

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


# --- the engine -----------------------------------------------------------------------------------------------------------

_INNERMOST: ContextVar = ContextVar(
    "innermost engine", default=None
)  # one a thread; operations belong to it alone


@contextmanager
def alone():
    """No engine sees the operations inside: for a method that swaps nothing, called inside the forward pass of a model that another one explains."""
    token = _INNERMOST.set(None)
    try:
        yield
    finally:
        _INNERMOST.reset(token)


class Engine(TorchFunctionMode):
    """While it is active, operations get the given backward rules: a rule takes the gradient at the output and what it is told.

    `activation(g, Activation)`, for ReLU and, with `smooth`, for smooth activations; `max_pool(g, Pool)`; `border`: the
    padding trick's reading. `edit(index, a)` changes the output of the index-th activation on the way forward.
    `activations` and `pools` count what was met.
    """

    def __init__(
        self,
        activation=None,
        *,
        smooth: bool = False,
        max_pool=None,
        border: str | None = None,
        edit=None,
    ):
        super().__init__()
        self.activation, self.smooth, self.max_pool, self.border, self.edit = (
            activation,
            smooth,
            max_pool,
            border,
            edit,
        )
        self.activations = self.pools = 0

    def __enter__(self):
        self.outer = _INNERMOST.set(self)
        return super().__enter__()

    def __exit__(self, *error):
        _INNERMOST.reset(self.outer)
        return super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _SEEN and _INNERMOST.get() is self:
            if func is F.pad:
                return _mark_padded(func(*args, **kwargs), *args, **kwargs)
            if (func is torch.conv2d or func is F.conv2d) and self.border:
                return _trick(func, args, kwargs, self.border)
            if func in _POOL and self.max_pool:
                return self._pool(func, args, kwargs)
            if self.activation or self.edit:
                found = _parse(func, args, kwargs, self.smooth)
                if found is not None:
                    return self._activate(*found)
        return func(*args, **kwargs)

    def _activate(self, z: Tensor, function, upper: float, smooth: bool, in_place: bool) -> Tensor:
        ruled = self.activation and z.requires_grad and torch.is_grad_enabled()
        if not ruled:
            a = z.copy_(function(z)) if in_place else function(z)
            if self.edit is None:
                return a
        index, self.activations = self.activations, self.activations + 1
        if ruled:
            a = _ActivationRule.apply(z, function, upper, smooth, in_place, self, index)
        return self.edit(index, a) if self.edit else a

    def _pool(self, func, args, kwargs):
        given = _POOL_SIGNATURE.bind(*args, **kwargs)
        given.apply_defaults()
        options = {k: v for k, v in given.arguments.items() if k not in ("input", "return_indices")}
        x = given.arguments["input"]
        if not x.requires_grad:
            return func(*args, **kwargs)
        if _pair(options.pop("dilation")) != (1, 1):
            raise ValueError(
                "this rule for max pooling has no reading for dilated windows; accepted is dilation 1."
            )
        options["stride"] = options["stride"] or options["kernel_size"]
        self.pools += 1
        indices = given.arguments["return_indices"] or func is F.max_pool2d_with_indices
        values = _PoolRule.apply(x, options, self.max_pool)
        return (
            (values, F.max_pool2d(x.detach(), **options, return_indices=True)[1])
            if indices
            else values
        )


class _ActivationRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, function, upper, smooth, in_place, engine, index):
        with (
            torch._C.DisableTorchFunction()
        ):  # an engine outside this one shall not see what this one does
            ctx.save_for_backward(z.clone() if in_place else z)
            ctx.about = function, upper, smooth, engine, index
            a = function(z)
            if in_place:
                ctx.mark_dirty(z)
                z.copy_(a)
            return z if in_place else a

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        function, upper, smooth, engine, index = ctx.about
        with torch._C.DisableTorchFunction():
            unit = Activation(
                z,
                function(z),
                index,
                index == engine.activations - 1,
                upper,
                function if smooth else None,
            )
            return engine.activation(g, unit).to(g.dtype), *[None] * 6


class _PoolRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, options, rule):
        with torch._C.DisableTorchFunction():
            ctx.save_for_backward(x)
            ctx.about = options, rule
            return F.max_pool2d(x, **options)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        options, rule = ctx.about
        with torch._C.DisableTorchFunction():
            return rule(g, Pool(ctx.saved_tensors[0], options)), None, None


def _parse(func, args, kwargs, smooth: bool):
    """(input, out-of-place function, upper bound, is it smooth, in place?) of an activation call, or None for something else."""
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
    if func in (F.hardtanh, F.hardtanh_):
        low, high = (
            options.get(name, options.get(f"_{k}", bound))
            for k, (name, bound) in enumerate((("min_val", -1), ("max_val", 1)))
        )
        return None if low != 0 else (z, _bounded(float(high)), float(high), False, in_place)
    if func in (F.threshold, torch.threshold, torch.threshold_) and any(
        options.get(name, options.get(f"_{k}")) != 0
        for k, name in enumerate(("threshold", "value"))
    ):
        return None
    upper = 6.0 if func is F.relu6 else math.inf
    return z, _bounded(upper), upper, False, in_place


def _parse_clamp(func, input, min=None, max=None):
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


def _bounded(upper: float) -> Callable[[Tensor], Tensor]:
    return torch.relu if math.isinf(upper) else lambda z: z.clamp(0, upper)


def _mark_padded(out: Tensor, input, pad, mode="constant", value=None) -> Tensor:
    if mode == "constant" and not value and any(p > 0 for p in pad[:4]) and not any(pad[4:]):
        out._zero_padded = True  # some networks pad in a step of its own before a convolution
    return out


def _trick(func, args, kwargs, border: str) -> Tensor:
    given = _CONV_SIGNATURE.bind(*args, **kwargs)
    given.apply_defaults()
    call = given.arguments
    out = func(*args, **kwargs)
    rows, columns = border_width(
        call["weight"],
        call["padding"],
        call["dilation"],
        getattr(call["input"], "_zero_padded", False),
        border,
    )
    if (
        out.requires_grad
        and (rows or columns)
        and out.shape[-2] > 2 * rows
        and out.shape[-1] > 2 * columns
    ):
        out.register_hook(
            lambda g: F.pad(
                g[..., rows : g.shape[-2] - rows, columns : g.shape[-1] - columns],
                (columns, columns, rows, rows),
            )
        )
    return out


def border_width(
    weight: Tensor, padding, dilation, padded_before: bool, border: str
) -> tuple[int, int]:
    """Rows and columns of the gradient at a convolution's output that the padding trick zeroes; (0, 0) where it does nothing."""
    kernel, dilation = weight.shape[-2:], _pair(dilation)
    half = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation))
    grown = (
        tuple(k > 1 for k in kernel) if padding == "same" else (False, False)
    )  # half of a 2x2 kernel rounds to 0
    padding = (
        {"same": half, "valid": (0, 0)}[padding] if isinstance(padding, str) else _pair(padding)
    )
    padded = padded_before or any(padding) or any(grown)
    if border == "released":  # TensorFlow's SAME, which a 1x1 kernel also is
        return (1, 1) if padded_before or padding == half else (0, 0)
    return ((1, 1) if border == "padded" else half) if padded else (0, 0)


def _pair(value) -> tuple[int, int]:
    return (
        (value, value) if isinstance(value, int) else tuple(value) * (2 if len(value) == 1 else 1)
    )


_SIGNATURES = {f: inspect.signature(f) for f in (*_RELU, *SMOOTH) if inspect.isfunction(f)}


_POOL_SIGNATURE = inspect.signature(
    lambda input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False: (
        None
    )
)


_CONV_SIGNATURE = inspect.signature(
    lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: None
)


_SEEN = {*_RELU, *_CLAMP, *SMOOTH, *_POOL, torch.conv2d, F.conv2d, F.pad}


@contextmanager
def replaced(model: nn.Module, method: str, engine: Engine):
    """The forward pass inside runs with the engine's rules; ValueError if the method then met nothing to change."""
    hidden = [
        name or type(module).__name__
        for name, module in model.named_modules()
        if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod")
    ]
    if hidden:
        raise ValueError(
            f"{method} cannot see the operations inside {hidden[0]}, which is scripted or compiled; give the plain module."
        )
    with (
        torch.autograd.graph.disable_saved_tensors_hooks(
            f"{method} cannot follow torch.utils.checkpoint, which runs a block again outside of it; switch checkpointing off."
        ),
        engine,
    ):
        yield engine
    if engine.activation and not engine.activations:
        kinds = "ReLU, ReLU6, clamp(min=0)" + (
            ", GELU, SiLU or another activation" if engine.smooth else ""
        )
        raise ValueError(
            f"{method} changes the backward rule of {kinds}; the model called none, so its result would be a plain gradient under another name."
        )
    if engine.max_pool and engine.max_pool is proportional and not engine.pools:
        raise ValueError(
            "the proportional redistribution rule changes max_pool2d, and the model called none; use prr=False."
        )
