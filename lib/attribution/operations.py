"""Which call is an activation or a pooling operation, whoever makes it and however it is written.

A `TorchFunctionMode` is told of `F.relu`, `torch.relu_`, `Tensor.clamp`, `torch.ops.aten.relu` (as
torch.fx and torch.export write it) and of all others by the function object and its arguments.
`read_activation` and `read_pool` say what was asked for in one form.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Function = Callable[[Tensor], Tensor]
_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]

_HOLDERS = (torch.special, torch._C._nn, torch, Tensor, F)


def _names(*names: str) -> dict[Callable[..., Any], str]:
    """Every function of PyTorch that goes by one of the names, in place or not."""
    functions = {}
    for name in names:
        for holder in _HOLDERS:
            for form in (name, f"{name}_"):
                if hasattr(holder, form):
                    functions[getattr(holder, form)] = form
    return functions


# a ReLU, where their bounds say so
_RELU = ("relu", "relu6", "hardtanh", "threshold", "clamp", "clip", "clamp_min")
# a ReLU, where what they are given says so
_WRITTEN_OUT = ("maximum", "fmax", "max", "where", "masked_fill", "mul", "multiply")
_BY_MASK = {"where", "masked_fill", "mul", "multiply", "setitem"}
# activations for which rules multiply by the derivative
SMOOTH = (
    *("gelu", "silu", "mish", "hardswish", "elu", "selu", "celu", "softplus", "leaky_relu"),
    *("prelu", "rrelu", "softsign"),
)
# other functions of one number, for a rule that is right for any (Rescale)
ELEMENTWISE = (
    *("tanh", "sigmoid", "hardsigmoid", "logsigmoid", "log_sigmoid", "tanhshrink", "softshrink"),
    *("hardshrink", "exp", "log", "sqrt", "rsqrt", "abs", "square", "reciprocal", "erf", "sin"),
    "cos",
)

_NAMES = _names(*_RELU, *_WRITTEN_OUT, *SMOOTH, *ELEMENTWISE) | {Tensor.__setitem__: "setitem_"}
_SIGNATURES = {f: inspect.signature(f) for f in _NAMES if inspect.isfunction(f)}


def name_of(func: Callable[..., Any]) -> str:
    """The name of an operation of PyTorch, also of one called through torch.ops.

    Parameters
    ----------
    func : callable
        What a `TorchFunctionMode` is told of.

    Returns
    -------
    str
        "relu_" of all that are called so; "" of what is not looked for here.

    Examples
    --------
    >>> name_of(Tensor.relu_), name_of(torch.ops.aten.gelu.default), name_of(torch.stack)
    ('relu_', 'gelu', '')
    """
    if func in _NAMES:
        return _NAMES[func]
    if isinstance(func, torch._ops.OpOverload):
        return str(func._schema.name).removeprefix("aten::")
    if isinstance(func, torch._ops.OpOverloadPacket):
        return str(func._qualified_op_name).removeprefix("aten::")
    return ""


# --- activations ----------------------------------------------------------------------------------


class Call(NamedTuple):
    """An activation that a network asks for.

    Attributes
    ----------
    z : Tensor
        Its input.
    function : callable
        The activation out of place.
    upper : float
        ReLU's bound: inf, 6 for ReLU6.
    smooth : bool
        Whether it is another function than ReLU.
    in_place : bool
        Whether the call writes into `z`.
    """

    z: Tensor
    function: Function
    upper: float
    smooth: bool
    in_place: bool

    @property
    def is_relu(self) -> bool:
        """Is it ReLU itself, so that its output tells all of its input that matters?"""
        return not self.smooth and math.isinf(self.upper)


def read_activation(
    func: Callable[..., Any], args: _Args, kwargs: _Kwargs, others: frozenset[str]
) -> Call | None:
    """What an activation call asks for.

    Parameters
    ----------
    func, args, kwargs
        The call, as a `TorchFunctionMode` is told of it.
    others : frozenset of str
        The functions beside ReLU that count as activations.

    Returns
    -------
    Call or None
        None for anything else.

    Examples
    --------
    >>> call = read_activation(torch.clamp, (torch.ones(2),), {"min": 0}, frozenset())
    >>> call.is_relu, call.in_place
    (True, False)
    """
    form = name_of(func)
    if not form:
        return None
    name = form.removesuffix("_")
    if name in others:
        return _read_other(func, form, args, kwargs)
    if name in _RELU:
        return _read_relu(func, name, form, args, kwargs, bool(others & set(ELEMENTWISE)))
    if name in _WRITTEN_OUT or form == "setitem_":
        return _read_written_out(name, form, args, kwargs)
    return None


def takes_mask(func: Callable[..., Any]) -> bool:
    """Can a call of this function be a ReLU by what a mask says?

    Parameters
    ----------
    func : callable
        Of PyTorch.

    Returns
    -------
    bool

    Examples
    --------
    >>> takes_mask(torch.where), takes_mask(torch.maximum)
    (True, False)
    """
    return name_of(func).removesuffix("_") in _BY_MASK


def is_clamp(func: Callable[..., Any]) -> bool:
    """Is a call of this function how programs, and not networks alone, keep numbers in bounds?

    Parameters
    ----------
    func : callable
        Of PyTorch.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_clamp(torch.clip), is_clamp(torch.relu)
    (True, False)
    """
    return name_of(func).removesuffix("_") in ("clamp", "clip")


def _given(
    func: Callable[..., Any], args: _Args, kwargs: _Kwargs
) -> tuple[Any, list[Any], _Kwargs, bool]:
    """The input of a call, its further arguments by place and by name, and whether `inplace`."""
    if func in _SIGNATURES:
        bound = _SIGNATURES[func].bind(*args, **kwargs)
        options = dict(bound.arguments)
        in_place = bool(options.pop("inplace", False))
        return options.pop("input"), [], options, in_place
    options = dict(kwargs)
    if args:
        return args[0], list(args[1:]), options, False
    return options.pop("input", options.pop("self", None)), [], options, False


def _read_other(func: Callable[..., Any], form: str, args: _Args, kwargs: _Kwargs) -> Call | None:
    z, places, options, in_place = _given(func, args, kwargs)
    if not _floating(z) or options.get("training") is True or options.get("out") is not None:
        return None
    if form.startswith("rrelu") and len(places) > 2 and places[2]:
        return None  # random slopes: another function at every call
    if any(isinstance(v, Tensor) and v.grad_fn is not None for v in (*places, *options.values())):
        return None  # slopes that come from the picture make it a product
    plain = func
    if form.endswith("_"):
        in_place, plain = True, _out_of_place(func, form)

    def function(t: Tensor) -> Tensor:
        result: Tensor = plain(t, *places, **options)
        return result

    return Call(z, function, math.inf, True, in_place)


def _out_of_place(func: Callable[..., Any], form: str) -> Callable[..., Any]:
    name = form.removesuffix("_")
    if isinstance(func, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        function: Callable[..., Any] = getattr(torch.ops.aten, name)
        return function
    holder = next(h for h in (F, torch, Tensor) if hasattr(h, name))
    plain: Callable[..., Any] = getattr(holder, name)
    return plain


def _read_relu(
    func: Callable[..., Any],
    name: str,
    form: str,
    args: _Args,
    kwargs: _Kwargs,
    any_bounds: bool,
) -> Call | None:
    z, places, options, in_place = _given(func, args, kwargs)
    in_place = in_place or form.endswith("_")
    if not _floating(z):
        return None
    keys = {
        "hardtanh": ("min_val", "max_val"),
        "threshold": ("threshold", "value"),
        "clamp_min": ("min",),
    }.get(name, ("min", "max"))
    options |= dict(zip(keys, places, strict=False))
    if name in ("relu", "relu6"):
        return _relu(z, 6.0 if name == "relu6" else math.inf, in_place)
    if name == "threshold":
        zero = _is_zero(options.get("threshold")) and _is_zero(options.get("value"))
        return _relu(z, math.inf, in_place) if zero else None
    default = (-1, 1) if name == "hardtanh" else (None, None)
    low, high = (options.get(key, d) for key, d in zip((*keys, ""), default, strict=False))
    upper = _bound(high)
    if _is_zero(low, z) and upper is not None:
        return _relu(z, upper, in_place)
    numbers_only = all(v is None or isinstance(v, numbers.Real) for v in (low, high))
    if any_bounds and numbers_only:
        return Call(z, lambda t: t.clamp(low, high), math.inf, True, in_place)
    return None


def _bound(high: Any) -> float | None:
    """An upper bound as a number: none is infinity; None where it is no number."""
    if high is None:
        return math.inf
    if isinstance(high, Tensor):
        return float(high) if high.numel() == 1 and not high.requires_grad else None
    return float(high) if isinstance(high, numbers.Real) else None


def _relu(z: Tensor, upper: float, in_place: bool) -> Call:
    return Call(z, bounded(upper), upper, False, in_place)


def bounded(upper: float) -> Function:
    """ReLU, or ReLU with an upper bound."""
    return torch.relu if math.isinf(upper) else lambda z: z.clamp(0, upper)


def _read_written_out(name: str, form: str, args: _Args, kwargs: _Kwargs) -> Call | None:
    """ReLU as max(z, 0), where(z > 0, z, 0), z.masked_fill(z < 0, 0), z * (z > 0), z[z < 0] = 0."""
    given = [*args, *(kwargs.get(key) for key in ("other", "mask", "value") if key in kwargs)]
    if name in ("maximum", "fmax", "max", "mul", "multiply") and len(given) == 2:
        for z, other in (given, given[::-1]):
            if not _wants_gradient(z):
                continue
            if name in ("mul", "multiply"):
                is_relu = _is_mask(other, z)
            else:
                is_relu = isinstance(other, Tensor) and _is_zero(other, z)
            if is_relu:
                return _relu(z, math.inf, form.endswith("_"))
    if name == "where" and len(given) == 3:
        # torch.where(mask, z, 0), and z.where(mask, 0)
        mask, z, rest = (
            given
            if getattr(given[0], "dtype", None) == torch.bool
            else (given[1], given[0], given[2])
        )
        if _wants_gradient(z) and _is_zero(rest, z) and _shows(mask, z, positive=True):
            return _relu(z, math.inf, False)
        if _wants_gradient(rest) and _is_zero(z, rest) and _shows(mask, rest, positive=False):
            return _relu(rest, math.inf, False)
    if name in ("masked_fill", "setitem") and len(given) == 3:
        z, mask, value = given
        if _wants_gradient(z) and _is_zero(value, z) and _shows(mask, z, positive=False):
            return _relu(z, math.inf, form.endswith("_"))
    return None


def _floating(z: object) -> bool:
    return isinstance(z, Tensor) and z.is_floating_point()


def _wants_gradient(z: object) -> bool:
    return isinstance(z, Tensor) and z.requires_grad and z.is_floating_point()


def _is_zero(value: object, beside: Tensor | None = None) -> bool:
    """Is it the number 0, or a tensor of zeros that does not widen the one `beside` it?"""
    if isinstance(value, Tensor):
        if value.requires_grad or beside is None:
            return False
        try:
            wide = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
                beside.shape, value.shape
            )
        except RuntimeError:
            return False
        return wide == beside.shape and not bool(value.any())
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and value == 0


def _shows(mask: object, z: Tensor, *, positive: bool) -> bool:
    """Does a mask say where z is positive, or where it is not? At 0 either will do."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != z.shape:
        return False
    z = z.detach()
    if positive:
        return torch.equal(mask, z > 0) or torch.equal(mask, z >= 0)
    return torch.equal(mask, z < 0) or torch.equal(mask, z <= 0)


def _is_mask(factor: object, z: Tensor) -> bool:
    """Is a factor 1 where z is positive, else 0?"""
    if not isinstance(factor, Tensor) or factor.requires_grad or factor.shape != z.shape:
        return False
    ones = factor.bool()
    return torch.equal(ones.to(factor.dtype), factor) and _shows(ones, z, positive=True)


# --- max pooling ----------------------------------------------------------------------------------


class PoolCall(NamedTuple):
    """A max pooling that a network asks for.

    Attributes
    ----------
    x : Tensor
        Its input [N,C,...].
    kind : str
        A function of torch.nn.functional, or "max" over the last dimension.
    options : dict
        What that function is given beside `x`.
    returned : callable
        Makes of the values, and of a function that gives their places, what the caller expects.
    """

    x: Tensor
    kind: str
    options: _Kwargs
    returned: Callable[[Tensor, Callable[[], Tensor]], Any]


_POOLS = {f"{kind}max_pool{n}d": n for kind in ("", "adaptive_") for n in (1, 2, 3)}
_FRACTIONAL = {f"fractional_max_pool{n}d" for n in (2, 3)}


def _pool_names() -> dict[Callable[..., Any], str]:
    functions = {}
    for name in (*_POOLS, *_FRACTIONAL):
        for holder in (torch, F):
            for form in (name, f"{name}_with_indices"):
                if hasattr(holder, form):
                    functions[getattr(holder, form)] = form
    return functions


_POOL_NAMES = _pool_names()
_REDUCTIONS = {torch.amax: "amax", Tensor.amax: "amax", torch.max: "max", Tensor.max: "max"}
_POOL_SIGNATURE = inspect.signature(F.max_pool2d_with_indices)  # max_pool2d's own is hidden
_ADAPTIVE_SIGNATURE = inspect.signature(lambda input, output_size, return_indices=False: None)
_REDUCE_SIGNATURE = inspect.signature(lambda input, dim, keepdim=False: None)


def read_pool(
    func: Callable[..., Any], args: _Args, kwargs: _Kwargs, spatial_only: bool
) -> PoolCall | None:
    """What a max pooling asks for. A maximum over dimensions (`amax`, `max(dim)`) is one too.

    Parameters
    ----------
    func, args, kwargs
        The call, as a `TorchFunctionMode` is told of it.
    spatial_only : bool
        Whether a maximum over dimensions counts only where it is over all positions of a map
        [N,C,...].

    Returns
    -------
    PoolCall or None
        None for anything else, and where no gradient goes through it.

    Raises
    ------
    ValueError
        For windows that no rule can read: fractional or dilated.

    Examples
    --------
    >>> x = torch.ones(1, 1, 4, 4, requires_grad=True)
    >>> read_pool(F.max_pool2d, (x, 2), {}, False).options["stride"]
    2
    """
    form = _POOL_NAMES.get(func) or _REDUCTIONS.get(func) or _aten_pool(func)
    if not form:
        return None
    kind = form.removesuffix("_with_indices")
    if kind in _FRACTIONAL:
        raise ValueError(
            "this rule for max pooling has no reading for fractional windows, which are drawn at "
            "random; accepted are max_pool and adaptive_max_pool."
        )
    if kind in ("amax", "max"):
        return _read_reduction(kind, args, kwargs, spatial_only)
    signature = _ADAPTIVE_SIGNATURE if kind.startswith("adaptive") else _POOL_SIGNATURE
    given = signature.bind(*args, **kwargs)
    given.apply_defaults()
    options = dict(given.arguments)
    x, both = options.pop("input"), options.pop("return_indices") or form != kind
    if isinstance(func, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        both = both or kind.startswith("adaptive")
    if not x.requires_grad:
        return None
    if not kind.startswith("adaptive"):
        if set(_flat(options.pop("dilation"))) != {1}:
            raise ValueError(
                "this rule for max pooling has no reading for dilated windows; "
                "accepted is dilation 1."
            )
        options["stride"] = options["stride"] or options["kernel_size"]

    def returned(values: Tensor, places: Callable[[], Tensor]) -> Any:
        return (values, places()) if both else values

    return PoolCall(x, kind, options, returned)


def _aten_pool(func: Callable[..., Any]) -> str:
    if not isinstance(func, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return ""
    name = name_of(func)
    kind = name.removesuffix("_with_indices")
    known = kind in _POOLS or kind in _FRACTIONAL or kind in ("amax", "max")
    return name if known else ""


def _flat(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _read_reduction(kind: str, args: _Args, kwargs: _Kwargs, spatial_only: bool) -> PoolCall | None:
    """A maximum over dimensions as one over the last: the dimensions are moved there and joined."""
    try:
        given = _REDUCE_SIGNATURE.bind(*args, **kwargs).arguments
    except TypeError:
        return None  # the maximum of everything, or of two tensors
    x, dim, keep = given["input"], given["dim"], given.get("keepdim", False)
    if not _wants_gradient(x) or isinstance(dim, (Tensor, str)) or x.ndim < 2:
        return None
    dims = sorted(d % x.ndim for d in _flat(dim)) or list(range(x.ndim))
    if spatial_only and not (x.ndim > 2 and dims == list(range(2, x.ndim))):
        return None
    if len(dims) == x.ndim:
        return None
    last = list(range(-len(dims), 0))
    joined = x.movedim(dims, last).flatten(-len(dims))

    def shaped(values: Tensor) -> Tensor:
        values = values.squeeze(-1)
        for d in dims if keep else ():
            values = values.unsqueeze(d)
        return values

    def returned(values: Tensor, places: Callable[[], Tensor]) -> Any:
        if kind == "amax":
            return shaped(values)
        return torch.return_types.max((shaped(values), shaped(places())))

    return PoolCall(joined, "max", {}, returned)
