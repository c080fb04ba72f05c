"""One engine that swaps the backward rule of an operation, whoever calls it.

The rules themselves are data for it. Libraries that hook modules miss a functional `F.relu`, a
re-used or an in-place one. Here a `TorchFunctionMode` sees the operation itself, during one forward
pass, and puts another backward rule behind it; the model is never touched. What is seen is in
`operations`: ReLU in all its forms (module, function, method, aten operator, in place,
`clamp(min=0)`, `threshold(0, 0)`, `maximum(z, 0)`, `where(z > 0, z, 0)`, ReLU6), the activations
in `operations.SMOOTH`, max pooling, and `conv2d` for the padding trick. What stays unseen is found
in autograd's record of the forward pass (`path`): it is refused, or named in a warning.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from . import operations
from .operations import Call, PoolCall
from .path import BOUNDS, DECIDED, POOLING, Path, in_words, plain_name, warn
from .rules import Activation, Pool, proportional

# nodes that hold a whole piece of a network, in which nothing was seen
_SWALLOWED = {
    "DifferentiableGraph": "TorchScript",
    "CompiledFunction": "torch.compile",
    "CheckpointFunction": "torch.utils.checkpoint",
}
# activations with a rule that are left as nodes only where the engine could not see them
_OVERLOOKED = {"Relu"}
_OVERLOOKED_SMOOTH = {"Gelu", "Silu", "Mish", "Hardswish", "Selu", "Celu", "Softplus", "LeakyRelu"}


class OtherShape(Exception):
    """A reference pass met an operation of another shape; see `Engine`."""


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

    Parameters
    ----------
    activation : callable, optional
        `activation(g, Activation)` takes the gradient at the output of an activation and returns
        the one at its input.
    smooth : bool
        Also for GELU, SiLU and the other activations in `operations.SMOOTH`, not ReLU alone.
    elementwise : bool
        Also for tanh, sigmoid and any other function of one number in `operations.ELEMENTWISE`.
    max_pool : callable, optional
        `max_pool(g, Pool)`, the same for max pooling.
    border : str, optional
        The padding trick's reading; see `rectgrad`.
    edit : callable, optional
        `edit(index, a)` changes the output of the index-th activation on the way forward.
    from_output : bool
        The rule reads nothing of a ReLU but its output `a`, so `z` may be `a`: nothing else is
        kept in memory, as in PyTorch itself.
    by_image : bool
        The rule compares the numbers of one image, so it needs to know which those are.
    record : list of Tensor, optional
        Filled with the input of every activation and max pooling.
    reference : list of Tensor, optional
        What another pass has recorded; handed to the rules as `z0` and `x0`.

    Attributes
    ----------
    activations, pools : int
        How many were met that a gradient goes through.
    path : Path or None
        What lies between the picture and the logits, once that is known.
    in_views : set of int
        The places of activations that wrote into a part of a tensor.
    images : int or None
        How many images the batch has, where that is known.
    """

    def __init__(
        self,
        activation: Callable[[Tensor, Activation], Tensor] | None = None,
        *,
        smooth: bool = False,
        elementwise: bool = False,
        max_pool: Callable[[Tensor, Pool], Tensor] | None = None,
        border: str | None = None,
        edit: Callable[[int, Tensor], Tensor] | None = None,
        from_output: bool = False,
        by_image: bool = False,
        record: list[Tensor] | None = None,
        reference: list[Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.smooth = smooth
        self.others = frozenset(operations.SMOOTH if smooth else ())
        self.others |= frozenset(operations.ELEMENTWISE if elementwise else ())
        self.max_pool = max_pool
        self.border = border
        self.edit = edit
        self.from_output = from_output
        self.by_image = by_image
        self.record = record
        self.reference = reference
        self.images: int | None = None
        self.told = False
        self.reset()

    def reset(self) -> None:
        """Forget what was met, before another forward pass."""
        self.activations = self.pools = self.met = 0
        self.path: Path | None = None
        self.in_views: set[int] = set()
        # by their ids, what was made of the picture and has no gradient: z.detach(), and z > 0.5
        self.detached: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
        self.masks: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
        if self.record is not None:
            self.record.clear()

    @property
    def on_the_way(self) -> frozenset[int]:
        """The places of the activations with a rule between the picture and the logits.

        Autograd hides those that wrote into a part of a tensor behind one "CopySlices".
        """
        if self.path is None:
            return frozenset()
        hidden = self.in_views if "CopySlices" in self.path.names else set()
        return self.path.rules | frozenset(hidden)

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
        if _INNERMOST.get() is not self:
            return func(*args, **kwargs)
        if self.border and func in _PADS:
            return _mark_padded(func(*args, **kwargs), *args, **kwargs)
        if self.border and func in _CONVOLUTIONS:
            return _trick(func, args, kwargs, self.border)
        if self.max_pool:
            pool = operations.read_pool(func, args, kwargs, self.max_pool is proportional)
            if pool is not None:
                return self._pool(pool)
        if self.activation or self.edit or self.record is not None:
            call = operations.read_activation(func, args, kwargs, self.others)
            given = [*args, *kwargs.values()]
            # a mask that is not made of the picture only happens to agree with its values
            chosen = call and (not operations.takes_mask(func) or self._chooses(given))
            bounds = call and self._is_in_bounds(func, call)
            if call and chosen and not bounds:
                return self._activate(call)
            made = func(*args, **kwargs)
            self._follow(func, given, made)
            if bounds and made.grad_fn is not None:
                made.grad_fn.metadata[BOUNDS] = True
            return made
        return func(*args, **kwargs)

    def _chooses(self, given: Sequence[Any]) -> bool:
        """Is something among these that was made of the picture and has no gradient?"""
        tensors = [part for value in given for part in _tensors(value)]
        return any(known.get(id(t)) is t for t in tensors for known in (self.masks, self.detached))

    def _is_in_bounds(self, func: Callable[..., Any], call: Call) -> bool:
        """Does a clamp(0, 1) keep the picture in its range, before any weights?

        That is no unit of the network. A rule that is right for any function may take it.
        """
        any_function = not self.others.isdisjoint(operations.ELEMENTWISE)
        bounded = not math.isinf(call.upper) and operations.is_clamp(func)
        return bounded and not any_function and _is_picture(call.z)

    def _follow(self, func: Callable[..., Any], given: Sequence[Any], made: Any) -> None:
        """Mark what came out if a mask of the picture's own values went in: autograd records of a
        product with one no more than of a product with a constant."""
        out = given[0] if made is None and given else made  # None: z[mask] = 0
        if not isinstance(out, Tensor):
            return
        tensors = [part for value in given for part in _tensors(value)]
        masked = any(self.masks.get(id(t)) is t for t in tensors)
        if out.grad_fn is not None:
            if masked:
                out.grad_fn.metadata[DECIDED] = True  # type: ignore[index]  # torch names a method
        elif not is_blank(func):
            seen = any(_of_picture(t) or self.detached.get(id(t)) is t for t in tensors)
            if masked or (seen and not out.is_floating_point()):
                self.masks[id(out)] = out
            elif seen:
                self.detached[id(out)] = out

    def _activate(self, call: Call) -> Tensor:
        z, function = call.z, call.function
        reference = self._beside(z)
        ruled = self.activation and z.requires_grad and torch.is_grad_enabled()
        if not ruled:
            a = z.copy_(function(z)) if call.in_place else function(z)
            if self.edit is None:
                return a
        index, self.activations = self.activations, self.activations + 1
        if ruled:
            in_view = call.in_place and z._is_view()
            if in_view:
                self.in_views.add(index)
            about = _About(
                function,
                call.upper,
                call.smooth,
                # what is written next to a part of a tensor counts as written into it
                self.from_output and call.is_relu and not in_view,
                self,
                index,
                reference,
            )
            a = _ActivationRule.apply(z, about, call.in_place)
        return self.edit(index, a) if self.edit else a

    def _pool(self, call: PoolCall) -> Any:
        reference = self._beside(call.x)
        self.pools += 1
        values = _PoolRule.apply(call.x, call, self.max_pool, reference)
        return call.returned(
            values, lambda: Pool(call.x.detach(), call.options, call.kind).maxima[1]
        )

    def _beside(self, x: Tensor) -> Tensor | None:
        """What the reference pass met here; in such a pass, x is recorded."""
        if self.record is not None:
            self.record.append(x.detach().clone())  # the network may go on to write into x
        if self.reference is None:
            return None
        place, self.met = self.met, self.met + 1
        recorded = self.reference[place] if place < len(self.reference) else None
        if recorded is None or not _fits(recorded.shape, x.shape):
            raise OtherShape
        return recorded


def _tensors(value: Any) -> list[Tensor]:
    """A tensor, or those in a tuple or list, as an index may be."""
    if isinstance(value, Tensor):
        return [value]
    return [v for v in value if isinstance(v, Tensor)] if isinstance(value, (tuple, list)) else []


def _of_picture(x: Tensor) -> bool:
    return x.requires_grad and not isinstance(x, nn.Parameter)


# what prepares a picture: its layout, number type, mean and standard deviation
_PREPARES = frozenset(
    ("Clone", "ToCopy", "Permute", "Flip", "Sub", "Rsub", "Add", "Mul", "Div", "AccumulateGrad")
)


def _is_picture(z: Tensor) -> bool:
    """Is it the picture itself, or one that was normalised?"""
    left = [z.grad_fn]
    while left:
        node = left.pop()
        if node is None:
            continue
        if plain_name(node) not in _PREPARES:
            return False
        left += [before for before, _ in node.next_functions]
    return z.grad_fn is not None


def is_blank(func: Callable[..., Any]) -> bool:
    """Does a function take no more of a tensor than its shape?

    Parameters
    ----------
    func : callable
        Of PyTorch.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_blank(torch.zeros_like), is_blank(torch.relu)
    (True, False)
    """
    name = getattr(func, "__name__", "")
    return name.endswith("_like") or name.startswith("new_")


def _fits(single: torch.Size, many: torch.Size) -> bool:
    """Is a shape the other but for a 1 in place of the batch?"""
    return len(single) == len(many) and all(a in (b, 1) for a, b in zip(single, many, strict=True))


class _About(NamedTuple):
    """What the backward pass of an activation needs beside its own tensors."""

    function: operations.Function
    upper: float
    smooth: bool
    from_output: bool
    engine: Engine
    index: int  # type: ignore[assignment]  # hides tuple's own method
    reference: Tensor | None


class _ActivationRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, about: _About, in_place: bool) -> Tensor:
        ctx.about = about
        # an engine outside this one shall not see what this one does
        with torch._C.DisableTorchFunction():
            if in_place:
                kept = z if about.from_output else z.clone()
                z.copy_(about.function(z))
                ctx.mark_dirty(z)
                ctx.save_for_backward(kept)
                return z
            a = about.function(z)
            kept = a if about.from_output else z
            # with a reference, z counts as it is now, also where the network goes on to write there
            ctx.save_for_backward(kept if about.reference is None else z.clone())
            return a

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (z,) = ctx.saved_tensors
        about = ctx.about
        engine = about.engine
        with torch._C.DisableTorchFunction():
            last = max(engine.on_the_way, default=engine.activations - 1)
            unit = Activation(
                z,
                z if about.from_output else about.function(z),
                about.index,
                about.index == last,
                about.upper,
                about.function if about.smooth else None,
                about.reference,
                engine.images,
            )
            return engine.activation(g, unit).to(g.dtype), None, None


class _PoolRule(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        call: PoolCall,
        rule: Callable[[Tensor, Pool], Tensor],
        reference: Tensor | None,
    ) -> Tensor:
        with torch._C.DisableTorchFunction():
            ctx.save_for_backward(x)
            ctx.about = call.kind, call.options, rule, reference
            return Pool(x, call.options, call.kind).maxima[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        kind, options, rule, reference = ctx.about
        with torch._C.DisableTorchFunction():
            return rule(g, Pool(ctx.saved_tensors[0], options, kind, reference)), None, None, None


# --- the padding trick ----------------------------------------------------------------------------


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
        kept = g.clone()
        kept[..., :rows, :] = kept[..., g.shape[-2] - rows :, :] = 0
        kept[..., :columns] = kept[..., g.shape[-1] - columns :] = 0
        return kept

    has_interior = out.shape[-2] > 2 * rows and out.shape[-1] > 2 * columns
    if out.requires_grad and (rows or columns) and has_interior:
        out.register_hook(without_border)  # type: ignore[no-untyped-call]
    return out


def border_width(
    weight: Tensor,
    padding: str | int | Sequence[int],
    dilation: int | Sequence[int],
    padded_before: bool,
    border: str,
) -> tuple[int, int]:
    """How wide a border the padding trick zeroes of the gradient at a convolution's output.

    Parameters
    ----------
    weight : Tensor
        The convolution's kernel [...,height,width].
    padding, dilation
        As `conv2d` takes them.
    padded_before : bool
        Whether its input was padded with zeros in a step of its own.
    border : str
        As in `rectgrad`.

    Returns
    -------
    tuple of int
        Rows and columns on each side; (0, 0) where the trick does nothing.

    Examples
    --------
    >>> border_width(torch.ones(1, 1, 3, 3), 1, 1, False, "padded")
    (1, 1)
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


_CONV_SIGNATURE = inspect.signature(
    lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: None
)


_CONVOLUTIONS = {torch.conv2d, F.conv2d, torch.ops.aten.conv2d, torch.ops.aten.conv2d.default}


_PADS = {F.pad, torch.ops.aten.pad, torch.ops.aten.pad.default}


# --- what may be asked of a network, and what was met ---------------------------------------------


@contextmanager
def replaced(model: object, method: str, engine: Engine) -> Iterator[None]:
    """The forward pass inside runs with the engine's rules.

    Parameters
    ----------
    model : callable
        The network that is run inside.
    method : str
        Who asks, for messages.
    engine : Engine
        It forgets what it met before.

    Raises
    ------
    ValueError
        For a network with scripted or compiled parts. PyTorch raises a RuntimeError inside where
        one runs through torch.utils.checkpoint.
    """
    hidden = opaque_parts(model)
    if hidden:
        raise ValueError(
            f"{method} cannot see the operations inside {hidden[0]}, which is scripted or "
            "compiled; give the plain module."
        )
    no_checkpoints = torch.autograd.graph.disable_saved_tensors_hooks(
        f"{method} cannot follow hooks on saved tensors: torch.utils.checkpoint runs a block again "
        "outside of it, save_on_cpu moves what its rules keep; switch either off."
    )
    engine.reset()
    with no_checkpoints, engine:
        yield


def opaque_parts(model: object) -> list[str]:
    """Names of the parts that TorchScript or torch.compile have swallowed.

    Parameters
    ----------
    model : callable
        A network.

    Returns
    -------
    list of str
        Of a network that is a plain function, "the function" or nothing.
    """
    if not isinstance(model, nn.Module):
        swallowed = isinstance(model, torch.jit.ScriptFunction) or hasattr(
            model, "_torchdynamo_orig_callable"
        )
        return ["the function"] if swallowed else []
    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if isinstance(module, torch.jit.ScriptModule)
        or hasattr(module, "_orig_mod")
        or getattr(module, "_compiled_call_impl", None) is not None  # module.compile()
    ]


def judge(method: str, engine: Engine, path: Path) -> None:
    """Raise or warn for what was met on the way from the picture to the logits.

    Parameters
    ----------
    method : str
        Who asked for the rules, for messages.
    engine : Engine
        What saw the forward pass. Of a reference pass nothing is asked.
    path : Path
        What autograd recorded of it.

    Raises
    ------
    ValueError
        Where an operation that the engine has a rule for could not be seen, or none was met.

    Warns
    -----
    UserWarning
        Once for an engine, naming the operations without a rule.
    """
    if engine.record is not None:
        return
    _refuse_the_unseen(method, engine, path)
    if engine.activation and not engine.on_the_way:
        kinds = "ReLU, ReLU6, clamp(min=0)"
        if engine.smooth:
            kinds += ", GELU, SiLU or another activation"
        raise ValueError(
            f"{method} changes the backward rule of {kinds}; the model called none on the way from "
            "the picture, so its result would be a plain gradient under another name."
        )
    if engine.max_pool is proportional and not engine.pools:
        raise ValueError(
            "the proportional redistribution rule changes max_pool2d, and the model called none; "
            "use prr=False."
        )
    unruled = path.without_rule()
    if unruled and engine.activation and not engine.told:
        engine.told = True  # once, also where images are taken one by one
        told = (
            f"{method} has no rule for {', '.join(unruled)} between the picture and the logits of "
            "this network, where the plain gradient stays."
        )
        if engine.reference is not None:
            told += _NOT_COMPLETE
        warn(told)


# of a rule that compares with a baseline
_NOT_COMPLETE = (
    " Its contributions then need not add up to the difference of the logits; integrated_gradients "
    "adds up on any continuous network as its steps grow."
)


_UNSEEN = (
    "{} cannot see every {} of this network: one is called inside a function of PyTorch's own (as "
    "lp_pool2d), under torch.vmap, or in one that is scripted, compiled or written in C++; write "
    "that function out in plain Python."
)


def _refuse_the_unseen(method: str, engine: Engine, path: Path) -> None:
    for name in path.names:
        if name in _SWALLOWED:
            raise ValueError(
                f"{method} cannot see the operations inside {_SWALLOWED[name]}, which part of this "
                "network runs through; give the plain module, without it."
            )
        overlooked = name in _OVERLOOKED or (engine.smooth and name in _OVERLOOKED_SMOOTH)
        if engine.activation and overlooked:
            raise ValueError(_UNSEEN.format(method, in_words(name)))
        if engine.max_pool and name in POOLING:
            raise ValueError(_UNSEEN.format(method, in_words(name)))
