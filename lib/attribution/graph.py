"""One forward pass, its logits, and gradients with respect to the input alone.

This is the one place where a network is called and its answer read, for all methods and metrics:
what a network may be, in which memory layout it gets the pictures, and what it may return. Also
what may be asked of that pass: images, targets, classes.
"""

from __future__ import annotations

import operator
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .engine import Engine, alone, is_blank, judge, opaque_parts, replaced
from .path import Path, find_path, warn

# a network: a module, or a function from images to what `logits` can read
Model = Callable[..., Any]
Target = Tensor | int | Sequence[int] | None


# --- the network's mode ---------------------------------------------------------------------------

# modules that some thread wants in eval mode: how many do, and the mode to give back
_HELD: dict[nn.Module, tuple[int, bool]] = {}
_HELD_LOCK = threading.Lock()


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The model in eval mode; every submodule gets its own mode back, also after an exception.

    Several threads may do so with one model at once: the modes come back with the last.

    Parameters
    ----------
    model : callable
        A module; of a plain function, the modules that it closes over.

    Examples
    --------
    >>> net = nn.Dropout().train()
    >>> with evaluating(net):
    ...     net.training
    False
    >>> net.training
    True
    """
    held = _hold(_modules_of(model))
    try:
        yield
    finally:
        _let_go(held)


def _hold(modules: list[nn.Module]) -> list[nn.Module]:
    """Put modules in eval mode; those that were not, or that another thread holds."""
    held = []
    with _HELD_LOCK:
        for module in modules:
            if module in _HELD:
                count, mode = _HELD[module]
                _HELD[module] = count + 1, mode
            elif getattr(module, "training", False):
                _HELD[module] = 1, True
                module.training = False  # by hand: eval() may be refused, or do more than this
            else:
                continue
            held.append(module)
    return held


def _let_go(held: list[nn.Module]) -> None:
    with _HELD_LOCK:
        for module in held:
            count, mode = _HELD.pop(module)
            if count > 1:
                _HELD[module] = count - 1, mode
            else:
                module.training = mode


def _modules_of(model: Model) -> list[nn.Module]:
    """The modules of a network, or those that a function reaches.

    Through its closure, globals and defaults, the object that it belongs to, attributes of objects
    that its code names, functions that it calls, and lists and dictionaries in all of these.
    """
    modules: dict[nn.Module, None] = {}
    own = getattr(model, "__dict__", {}).values() if not isinstance(model, nn.Module) else ()
    left: list[tuple[Any, frozenset[str]]] = [(value, frozenset()) for value in (*own, model)]
    seen: set[int] = set()
    while left:
        value, names = left.pop()
        if id(value) in seen or isinstance(value, (type, Tensor, np.ndarray, str, bytes)):
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            modules |= dict.fromkeys(value.modules())
            left += [(listed, frozenset()) for listed in _listed(value)]
        elif isinstance(value, (list, tuple, set, dict)):
            several = value.values() if isinstance(value, dict) else value
            left += [(member, names) for member in several] if len(value) <= _MANY else []
        elif isinstance(value, partial):
            left += [
                (member, names) for member in (value.func, *value.args, *value.keywords.values())
            ]
        elif not _is_a_librarys(value):
            left += _named_in(value, names)
    return list(modules)


_OF_MODULES = frozenset(vars(nn.Module()))  # what every module has
_MANY = 1000  # in a longer list there are data, not networks


def _listed(module: nn.Module) -> list[Any]:
    """Plain lists and dictionaries in a module, which modules() does not look into."""
    return [
        value
        for part in module.modules()
        for name, value in part.__dict__.items()
        if name not in _OF_MODULES and isinstance(value, (list, tuple, dict))
    ]


def _is_a_librarys(value: object) -> bool:
    """Is it a function or module of a library that holds no network of its own?"""
    name = getattr(value, "__module__", None) or getattr(value, "__name__", None) or ""
    return str(name).partition(".")[0] in ("torch", "numpy", "builtins", "_operator", "functools")


def _named_in(value: Any, names: frozenset[str]) -> list[tuple[Any, frozenset[str]]]:
    """What a function or method reaches, with the names that its code has; of an object what these
    name, directly or through its methods."""
    if hasattr(value, "__func__"):
        names = _names(value.__func__)
        return [(value.__func__, names), (value.__self__, names)]
    if not hasattr(value, "__code__"):
        return _attributes(value, names)
    names = _names(value)
    reached = [value.__globals__[name] for name in names if name in value.__globals__]
    reached += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    for cell in value.__closure__ or ():
        with suppress(ValueError):  # a name that has no value yet
            reached.append(cell.cell_contents)
    return [(member, names) for member in reached]


def _names(function: Any) -> frozenset[str]:
    """The globals and attributes that a function's code names, and that of functions inside it."""
    code = getattr(function, "__code__", None)
    parts = [code, *(p for p in code.co_consts if hasattr(p, "co_names"))] if code else []
    return frozenset(name for part in parts for name in part.co_names)


def _attributes(value: Any, names: frozenset[str]) -> list[tuple[Any, frozenset[str]]]:
    """What these names name in an object, and the functions of its class that they, or the call of
    the object, lead to."""
    methods: dict[str, Any] = {}
    left = [*names, "__call__"]
    while left:
        name = left.pop()
        function = getattr(type(value), name, None)
        if name not in methods and hasattr(function, "__code__"):
            methods[name] = function
            left += _names(function)
    names = names.union(*map(_names, methods.values()))
    own = [v for name, v in getattr(value, "__dict__", {}).items() if name in names]
    return [(member, names) for member in (*own, *methods.values())]


# --- the network's memory layout ------------------------------------------------------------------

_T = TypeVar("_T")
# what was learnt of a network, and its settings at that time
_Memory = WeakKeyDictionary[Model, tuple[list[Any], _T]]
# the layout in which a network is known to take pictures
_LAYOUTS: _Memory[torch.memory_format] = WeakKeyDictionary()
_OF_STRIDES = {
    *(torch.as_strided, Tensor.as_strided, Tensor.as_strided_, Tensor.stride, Tensor.storage),
    *(Tensor.untyped_storage, Tensor.data_ptr, Tensor.is_contiguous),
}


class _Watch(TorchFunctionMode):
    """Notes whether a network asks for strides: its values then depend on the memory layout."""

    asked = False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # who asks for channels_last knows of it
        if func in _OF_STRIDES and torch.channels_last not in (*args[1:], *kwargs.values()):
            self.asked = True
        return func(*args, **kwargs)


# weights for each pixel of a batch from which on contiguous pictures are faster on a processor
# (ResNet-18: not yet at 117, already at 178)
_HEAVY = 150


def _too_heavy(model: Model, images: Tensor) -> bool:
    """Are the weights so many that to turn them would cost more than channels_last gains?

    A convolution turns its weights in every pass into the layout of its input.
    """
    if not isinstance(model, nn.Module) or images.device.type != "cpu":
        return False
    turned = sum(weight.numel() for weight in model.parameters() if _is_turned(weight))
    return turned > _HEAVY * len(images) * images.shape[-2] * images.shape[-1]


def _is_turned(weight: Tensor) -> bool:
    return weight.ndim == 4 and not weight.is_contiguous(memory_format=torch.channels_last)


def _in_its_layout(model: Model, images: Tensor, run: Callable[[torch.memory_format], _T]) -> _T:
    """`run` with pictures in channels_last where the network gains by it, else contiguous.

    Convolutions are faster in channels_last, but for few pixels under heavy weights; a network that
    flattens with `view`, or reads strides, needs the usual layout.
    """
    known, heavy = _recall(_LAYOUTS, model), _too_heavy(model, images)
    if known is not torch.contiguous_format and not heavy:
        try:
            if known is not None or opaque_parts(model):
                return run(torch.channels_last)
            watch = _Watch()
            with watch:
                result = run(torch.channels_last)
            if not watch.asked:
                _remember(_LAYOUTS, model, torch.channels_last)
                return result
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            if not _is_about_layout(error):
                raise
    result = run(torch.contiguous_format)
    if not heavy:
        _remember(_LAYOUTS, model, torch.contiguous_format)
    return result


def _is_about_layout(error: Exception) -> bool:
    text = str(error)
    bare = isinstance(error, AssertionError) and not text  # such as `assert x.is_contiguous()`
    return bare or any(
        words in text
        for words in ("view size is not compatible", "contiguous", "stride", "memory format")
    )


def _settings(model: Model) -> list[Any]:
    """The plain values in a network's modules, which may decide what it computes."""
    if not isinstance(model, nn.Module):
        return []
    return [
        value
        for module in model.modules()
        for value in module.__dict__.values()
        if isinstance(value, (bool, int, float, str))
    ]


def _recall(memory: _Memory[_T], model: Model) -> _T | None:
    """What was learnt of a network whose settings have stayed as they were."""
    try:
        settings, what = memory.get(model, (None, None))
    except TypeError:  # a model that cannot be hashed or referred to weakly
        return None
    return what if settings == _settings(model) else None


def _remember(memory: _Memory[_T], model: Model, what: _T) -> None:
    with suppress(TypeError):
        memory[model] = _settings(model), what


# --- what autograd cannot follow ------------------------------------------------------------------

# does a network go on with numbers that autograd does not follow? known once it was watched
_CUTTING: _Memory[bool] = WeakKeyDictionary()
_TO_NUMBERS = {
    *(Tensor.item, Tensor.tolist, Tensor.__float__, Tensor.__int__, Tensor.__bool__),
}
_DETACHED = {Tensor.detach, Tensor.detach_, torch.detach, torch.detach_}
_DETACHED.add(Tensor.data.__get__)  # type: ignore[attr-defined]  # a property to PyTorch alone
_COMPARED = {
    getattr(holder, name)
    for holder in (torch, Tensor)
    for name in ("gt", "lt", "ge", "le", "greater", "less", "greater_equal", "less_equal")
}


class _Cuts(TorchFunctionMode):
    """Notes whether numbers of the picture leave autograd, as detached statistics do.

    Through them an image may change another's logits unseen by any gradient.
    """

    seen = False
    draws = False  # random numbers of a stream of its own, which no other stream shows?
    hidden = False  # did floating-point numbers of the picture go on under torch.no_grad()?

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        left = _is_left(func, (*args, *kwargs.values()), made)
        self.seen = self.seen or _is_cut(func, args) or left
        self.draws = self.draws or kwargs.get("generator") is not None
        self.hidden = self.hidden or (left and not torch.is_grad_enabled())
        return made


def _is_cut(func: Any, args: Any) -> bool:
    if func is torch._C._set_grad_enabled:
        return not args[0]
    if func in _DETACHED:
        return getattr(args[0], "grad_fn", None) is not None
    if func in _COMPARED and len(args) > 1:
        return getattr(args[1], "grad_fn", None) is not None
    return func in _TO_NUMBERS


def _is_left(func: Any, args: Any, made: Any) -> bool:
    """Did numbers come out without a gradient where some with one went in?

    As under torch.inference_mode(), and from functions that have no derivative.
    """
    if not isinstance(made, Tensor) or made.requires_grad or not made.is_floating_point():
        return False
    given = any(isinstance(x, Tensor) and x.grad_fn is not None for x in args)
    return given and not is_blank(func)


def _random_state(images: Tensor) -> list[Tensor]:
    """Where the streams of random numbers of PyTorch, NumPy and Python stand."""
    streams = [torch.default_generator]
    if images.is_cuda:
        streams.append(torch.cuda.default_generators[images.get_device()])
    of_numpy: Any = np.random.get_state()
    others = [torch.from_numpy(of_numpy[1].astype(np.int64)), torch.tensor(of_numpy[2])]
    return (
        [stream.get_state() for stream in streams] + others + [torch.tensor(random.getstate()[1])]
    )


# --- the call and its answer ----------------------------------------------------------------------

# what PyTorch says of a network that cannot be explained, and the remedy that helps
_REMEDIES = {
    "Inference tensors cannot": (
        "the network holds inference tensors, through which no gradient goes; build or load it "
        "outside torch.inference_mode()."
    ),
    "Can't call numpy() on Tensor that requires grad": (
        "no gradient comes back to the picture, since the network leaves PyTorch for NumPy on its "
        "way; write that part in PyTorch."
    ),
    "Guard failed": (
        "the exported network takes pictures of the exported shape alone; export it with a dynamic "
        "batch (dynamic_shapes of torch.export.export)."
    ),
    "modified by an inplace operation": (
        "the network writes in place into a tensor that its backward pass needs; write that "
        "operation out of place."
    ),
    "torch.utils.checkpoint is incompatible with .grad()": (
        "the network runs through torch.utils.checkpoint(use_reentrant=True), which gives no "
        "gradient of the picture alone; switch checkpointing off."
    ),
    "donated buffers": (
        "the network is compiled, and a compiled graph gives one gradient alone; give the plain "
        "module."
    ),
    "from user code:": (
        "torch.compile cannot follow this network here; give the plain module or function."
    ),
    "cannot follow hooks on saved tensors": "",
    "Unable to call ExportedProgram directly": (
        "an ExportedProgram cannot be called; give its module(), exported with a dynamic batch."
    ),
    "channels, but got": (
        "the network takes images of another number of channels; give images [N,C,H,W] as it was "
        "trained on: images.mean(1, keepdim=True) where it takes grey ones, images[:, :3] without "
        "transparency, "
        "images.permute(0, 3, 1, 2) of pictures whose channels come last."
    ),
    "shapes cannot be multiplied": (
        "a linear layer of the network takes another number of values; give images of the size "
        "that it was trained on."
    ),
    "is a view and is being modified inplace": (
        "the network writes in place into one of several views (of chunk, split or unbind); write "
        "that operation out of place."
    ),
    "functions with out=... arguments": (
        "the network writes a result with out=, through which no gradient goes; assign what the "
        "function returns."
    ),
    **dict.fromkeys(
        (
            *("should be the same", "must have the same dtype", "have the same dtype, but got"),
            *("mixed dtype", "expected scalar type", "same device"),
        ),
        "the network and the images are of different number types or on different devices; convert "
        "one of them, as images.to(next(model.parameters())) does.",
    ),
}


@contextmanager
def _remedied() -> Iterator[None]:
    """Errors of PyTorch that have a remedy, as a ValueError that names it."""
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        for words, remedy in _REMEDIES.items():
            if words in str(error):
                raise ValueError(remedy or str(error)) from error
        raise


def check_images(images: object) -> None:
    """Refuse what is no batch of images.

    Parameters
    ----------
    images : Tensor
        [N,C,H,W], floating point.

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> check_images(torch.ones(1, 3, 4, 4))
    """
    if isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point():
        return
    what = type(images).__name__
    if isinstance(images, Tensor):
        what = f"{images.dtype} of shape {tuple(images.shape)}"
    raise ValueError(f"images must be a floating-point tensor [N,C,H,W]; got {what}.")


def check_tensor(value: object, name: str = "maps", shape: str = "[N,H,W]") -> None:
    """Refuse what is no tensor of so many dimensions.

    Parameters
    ----------
    value : Tensor
        What a caller gives.
    name : str
        What it is, for the message.
    shape : str
        Its dimensions, as they are written.

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> check_tensor(torch.ones(1, 4, 4))
    """
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{name} must be a tensor {shape}; got {type(value).__name__}, of which "
            "torch.as_tensor makes one."
        )
    if value.ndim != shape.count(",") + 1:
        raise ValueError(f"{name} must be {shape}; got shape {tuple(value.shape)}.")


def _check_model(model: object, count: int) -> None:
    if isinstance(model, type):
        raise ValueError(
            f"model is the class {model.__name__}; give an instance of it, with its weights."
        )
    if not callable(model):
        raise ValueError(
            "model must be a torch.nn.Module, or a function from images [N,C,H,W] to logits [N,K]; "
            f"got {type(model).__name__}."
        )
    mixing = [
        module
        for module in (model.modules() if isinstance(model, nn.Module) else ())
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and getattr(module, "running_mean", None) is None
    ]
    if mixing and count > 1:
        raise ValueError(_MIXED.format("a batch norm keeps no running statistics"))


_MIXED = (
    "the images of a batch change each other's logits in this network ({}); give one image at a "
    "time, with batch_size=1 where there is one."
)


def _read(answer: object, count: int) -> Tensor:
    """Logits [N,K] in what a network returned: a tensor, or the first or the `logits` of several.

    One logit z is read as the two logits (0, z).
    """
    outputs = answer
    if not isinstance(outputs, Tensor):
        if isinstance(getattr(outputs, "logits", None), Tensor):
            outputs = outputs.logits  # type: ignore[attr-defined]  # just looked for
        elif isinstance(outputs, Mapping) and isinstance(outputs.get("logits"), Tensor):
            outputs = outputs["logits"]
        elif isinstance(outputs, (tuple, list)) and outputs:
            outputs = outputs[0]
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != count:
        raise ValueError(
            f"the model must return logits [N,K], alone, as the first of several or as `logits`; "
            f"for {count} {'image' if count == 1 else 'images'} it returned {_described(answer)}"
            f"{_BATCH_LOST if count == 1 and isinstance(outputs, Tensor) else '.'}"
        )
    if not outputs.is_floating_point() or not outputs.shape[1]:
        raise ValueError(
            "the model must return logits [N,K] as floating-point numbers, one a class; it "
            f"returned {outputs.dtype} of shape {tuple(outputs.shape)}."
        )
    if outputs.layout != torch.strided:
        raise ValueError(
            "the model must return logits [N,K] as a dense tensor; end it in to_dense()."
        )
    if outputs.shape[1] == 1:
        return torch.cat([torch.zeros_like(outputs), outputs], 1)
    return outputs


_BATCH_LOST = (
    "; it must take any number of images, one as well: keep the first dimension, as flatten(1) and "
    "squeeze(-1) do and squeeze() does not."
)


def _described(answer: object) -> str:
    if isinstance(answer, Tensor):
        return f"shape {tuple(answer.shape)}"
    if isinstance(answer, Mapping):
        return f"a {type(answer).__name__} with {', '.join(map(str, answer)) or 'nothing'}"
    if isinstance(answer, (tuple, list)) and answer:
        return f"a {type(answer).__name__} that begins with {_described(answer[0])}"
    return f"a {type(answer).__name__}"


def logits(model: Model, images: Tensor) -> Tensor:
    """Logits of a network for a batch, as every method and metric here reads them.

    Parameters
    ----------
    model : callable
        A torch.nn.Module, or a function that closes over its parameters. It is given images
        [N,C,H,W] and returns logits [N,K]: as a tensor, as the first of a tuple or list, as
        `.logits` or as `["logits"]`. It runs in eval mode and is left as it was.
    images : Tensor
        [N,C,H,W], floating point, in the model's own input range.

    Returns
    -------
    Tensor
        [N,K], without a gradient. One logit z is returned as the two logits (0, z): the decision is
        its sign, the probability its sigmoid.

    Raises
    ------
    ValueError
        For what is no image or no network, and for a network that returns something else, or mixes
        the images of a batch.

    Examples
    --------
    >>> import torch
    >>> logits(lambda images: images.mean((2, 3)), torch.ones(2, 3, 4, 4))
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    >>> logits(lambda images: images.mean((1, 2, 3))[:, None], torch.ones(1, 3, 4, 4))
    tensor([[0., 1.]])
    """
    check_images(images)
    _check_model(model, len(images))
    images = images.detach().as_subclass(Tensor)

    def run(layout: torch.memory_format) -> Any:
        # the copy lets a model begin with an in-place operation
        return model(images.clone(memory_format=layout))

    with torch.inference_mode(False), torch.no_grad(), evaluating(model), _remedied():
        return _read(_in_its_layout(model, images, run), len(images)).detach()


class Mixed(Exception):
    """A rule needs the numbers of each image together, and in this batch they may not be."""


@contextmanager
def input_graph(
    model: Model,
    images: Tensor,
    method: str = "",
    engine: Engine | None = None,
    *,
    check_batch: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One forward pass that remembers how to go back to the input.

    Parameters
    ----------
    model : callable
        As in `logits`.
    images : Tensor
        [N,C,H,W], floating point.
    method : str
        Who asks for the engine's rules, for messages.
    engine : Engine, optional
        Operations met on the way get its backward rules.
    check_batch : bool
        Whether to make sure that a gradient comes back and that no image changes another's logits,
        which costs a backward pass where the operations alone do not show it.

    Yields
    ------
    tuple of Tensor
        The leaf [N,C,H,W] that stands for the images, and the logits [N,K].

    Raises
    ------
    ValueError
        For a network that cannot be read, through which no gradient comes back to the picture, in
        which the images of a batch mix, or in which a rule finds nothing to change.

    Examples
    --------
    >>> with input_graph(lambda x: x.sum((2, 3)), torch.ones(1, 2, 1, 1)) as (leaf, outputs):
    ...     tuple(leaf.shape), outputs.tolist()
    ((1, 2, 1, 1), [[1.0, 1.0]])
    """
    check_images(images)
    _check_model(model, len(images))
    images = images.detach().as_subclass(Tensor)
    known = _recall(_CUTTING, model)
    watch = _Cuts() if known is None and not opaque_parts(model) else nullcontext()

    def run(layout: torch.memory_format) -> tuple[Tensor, Any]:
        leaf = images.clone(memory_format=layout).requires_grad_()
        # inside, so that it does not see what the engine does
        with replaced(model, method, engine) if engine else alone(), watch:
            # the copy lets a model begin with an in-place operation
            return leaf, model(leaf.clone())

    if engine:
        engine.images = len(images)
    state = _random_state(images) if check_batch else []
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        with _remedied():
            leaf, answer = _in_its_layout(model, images, run)
            outputs = _read(answer, len(images))
        if isinstance(watch, _Cuts):
            known = watch.seen
            # what a function closes over may change unseen
            if isinstance(model, nn.Module) and not watch.draws:
                _remember(_CUTTING, model, known)
        if engine or check_batch:
            path = find_path(outputs, leaf)
            _check_path(path, len(images))
            if isinstance(watch, _Cuts) and watch.hidden:
                warn(_HIDDEN)
            drawn = check_batch and not all(map(torch.equal, state, _random_state(images)))
            drawn = drawn or (check_batch and isinstance(watch, _Cuts) and watch.draws)
            by_image = engine is not None and engine.by_image and not path.apart
            repeats = not drawn or _repeats(model, images, path)
            if check_batch and repeats and (known or by_image):
                check_alone(model, images, outputs.detach())
            if by_image:
                raise Mixed
            if check_batch and not path.apart:
                _check_batch(model, path, outputs, leaf)
            if engine:
                engine.path = path
                judge(method, engine, path)
        yield leaf, outputs


_HIDDEN = (
    "the network computes something of the picture under torch.no_grad(): what that adds to the "
    "logits is in no gradient, and so in no map; leave torch.no_grad() out if it is to count."
)


def _check_path(path: Path, count: int) -> None:
    """Refuse a network through which no gradient comes back, or that mixes a batch."""
    if not path.reached:
        raise ValueError(
            "no gradient comes back to the picture: the network computes under torch.no_grad(), "
            "detaches, rounds or runs quantised on the way; let it compute with gradients, in "
            "floating point, and round as z + (z.round() - z).detach()."
        )
    if path.trains:
        raise ValueError(
            "a batch norm of the network is in train mode, where the network does not show the "
            "module; call eval() on it, and give the module itself where that can be."
        )
    if path.batch_statistics and count > 1:
        raise ValueError(_MIXED.format("a batch norm takes the statistics of the batch"))


def _asked(count: int) -> list[int]:
    """The images that are asked whether others change them: the first and the middle one.

    What runs along the batch may reach one of its ends alone, and the largest of all numbers, or
    the middle of what is turned around, is changed by itself alone.
    """
    return sorted({0, count // 2})


def _check_batch(model: Model, path: Path, outputs: Tensor, leaf: Tensor) -> None:
    """Refuse a network in which an image's logits depend on another image."""
    if "CompiledFunction" in path.names:
        check_alone(model, leaf.detach(), outputs.detach())
        return
    # unequal weights, for the sum of all logits may be constant
    weights = torch.linspace(1, 2, outputs.shape[1], dtype=outputs.dtype, device=outputs.device)
    for k in _asked(len(outputs)):
        with _remedied():
            own = torch.autograd.grad((outputs[k] * weights).sum(), leaf, retain_graph=True)[0]
        others = torch.cat([own[:k], own[k + 1 :]])
        if others.nan_to_num(0).any():
            raise ValueError(_MIXED.format("they are mixed along the first dimension"))


def _repeats(model: Model, images: Tensor, path: Path | None = None) -> bool:
    """Are logits the same in a second pass? Refuse others, but warn where pooling draws them."""
    some = images[len(images) // 2 :][:1]
    first, again = logits(model, some).double(), logits(model, some).double()
    # of the very same picture: nothing is rounded in another way, but by chance on a GPU
    if not first.numel() or not (first - again).abs().max() > 1e-6 * first.abs().max():
        return True
    if path is None or not any(name.startswith("FractionalMaxPool") for name in path.names):
        raise ValueError(_RANDOM)
    warn(
        "fractional max pooling draws its windows anew in every pass of this network, and the "
        "result is that of one draw."
    )
    return False


def _differ(some: Tensor, others: Tensor, among: Tensor) -> bool:
    """Do logits [N,K] differ by more than rounding `among` so large ones?"""
    if not some.numel():
        return False
    coarse = torch.finfo(among.dtype).bits < 32 or torch.is_autocast_enabled(among.device.type)
    return bool((some - others).abs().max() > (0.1 if coarse else 1e-3) * among.abs().max())


_RANDOM = (
    "the network draws random numbers, so that its logits are others in every pass; switch that "
    "off, as F.dropout(..., training=self.training) does."
)


def check_alone(model: Model, images: Tensor, outputs: Tensor) -> None:
    """Refuse a network that gives an image other logits alone than in its batch.

    The first image and the middle one are asked.

    Parameters
    ----------
    model, images
        As in `logits`.
    outputs : Tensor
        The logits [N,K] of the batch.

    Raises
    ------
    ValueError
        Where they differ by more than rounding.
    """
    if len(images) < 2:
        return
    for k in _asked(len(images)):
        if _differ(logits(model, images[k : k + 1]), outputs[k : k + 1], outputs):
            _repeats(model, images)
            raise ValueError(_MIXED.format("alone they have others"))


def input_gradient(scores: Tensor, leaf: Tensor, keep: bool = False) -> Tensor:
    """Gradient of the summed scores with respect to the input alone, laid out as the images.

    Parameters
    ----------
    scores : Tensor
        Numbers that depend on the leaf, one or several an image.
    leaf : Tensor
        [N,C,H,W], from `input_graph`.
    keep : bool
        Keep the graph for another gradient.

    Returns
    -------
    Tensor
        [N,C,H,W].

    Raises
    ------
    ValueError
        For a network that its own operations keep from going back.

    Examples
    --------
    >>> with input_graph(lambda x: x.sum((2, 3)), torch.ones(1, 2, 1, 1)) as (leaf, outputs):
    ...     input_gradient(outputs[:, 1], leaf).flatten().tolist()
    [0.0, 1.0]
    """
    with _remedied():
        return torch.autograd.grad(scores.sum(), leaf, retain_graph=keep)[0]


def refuse_nan(images: Tensor, logits: Tensor, *results: Tensor) -> None:
    """Refuse results with NaN, and those of images or logits with NaN.

    Of ordinary ones it asks for one number.

    Parameters
    ----------
    images : Tensor
        [N,C,H,W].
    logits : Tensor
        Theirs, or sums of them.
    *results : Tensor
        Gradients, of any shape.

    Raises
    ------
    ValueError
        Where any of them holds NaN.

    Examples
    --------
    >>> refuse_nan(torch.ones(1, 1, 1, 1), torch.ones(1, 2), torch.ones(1, 1, 1, 1))
    """
    total = logits.detach().sum().to(images.device)
    for result in results:
        total = total + result.sum()
    if not bool(total.isnan()):
        return
    if images.isnan().any():
        raise ValueError("images contain NaN; an image needs a number for every pixel.")
    if logits.isnan().any():
        raise ValueError(
            "the network returns NaN for some of the images; check their range, or compute in "
            "float32."
        )
    if any(bool(result.isnan().any()) for result in results):  # not inf - inf in the sum
        raise ValueError(
            "the network's gradient is NaN for some of the images, as where it divides 0 by 0; "
            "check their range, or compute in float32."
        )


# --- what may be asked of it ----------------------------------------------------------------------


def target_tensor(target: Target, count: int) -> Tensor | None:
    """`target` as None or an int64 tensor [N], for `count` images.

    Parameters
    ----------
    target : int, sequence of int, Tensor or None
        The class to explain, one for all images or one each, also as NumPy has them.
    count : int
        How many images.

    Returns
    -------
    Tensor or None

    Raises
    ------
    ValueError
        For what is neither None, a whole number nor one for each image.

    Examples
    --------
    >>> target_tensor(3, 2)
    tensor([3, 3])
    """
    if target is None:
        return None
    wanted = "target must be None, a whole number, or one for each image (an int64 tensor [N])"
    if isinstance(target, Tensor):
        given = target.detach()
    else:
        try:
            given = torch.as_tensor(np.array(target))  # a copy: another's may be read-only
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"{wanted}; got {target!r}.") from None
    if given.dtype == torch.bool or given.is_floating_point() or given.is_complex():
        shown = given.dtype if isinstance(target, Tensor) else repr(target)
        raise ValueError(f"{wanted}; got {shown}.")
    if given.ndim and given.shape != (count,):
        raise ValueError(
            f"target has shape {tuple(given.shape)}; for {count} images it must be [{count}]."
        )
    # a clone, for the caller's may be an inference tensor
    return given.to(torch.int64).expand(count).clone()


def as_targets(logits: Tensor, target: Target) -> Tensor:
    """`target` as an int64 tensor [N] on the device of the logits.

    Parameters
    ----------
    logits : Tensor
        [N,K].
    target : int, sequence of int, Tensor or None
        The class to explain, one for all images or one each; None is the largest logit.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        For what is no target, and for a class that the logits have not.

    Examples
    --------
    >>> as_targets(torch.tensor([[0.0, 2.0], [1.0, 0.0]]), None)
    tensor([1, 0])
    """
    count, classes = logits.shape
    given = target_tensor(target, count)
    if given is None:
        return logits.detach().argmax(1)
    if count:
        lowest, highest = int(given.min()), int(given.max())
        if lowest < 0 or highest >= classes:
            raise ValueError(
                f"target names class {lowest if lowest < 0 else highest}; "
                f"the model has classes 0 to {classes - 1}."
            )
    return given.to(logits.device)


def _class_list(logits: Tensor, classes: Sequence[int] | None) -> list[int]:
    count = logits.shape[1]
    if classes is None:
        return list(range(count))
    try:
        chosen = [operator.index(c) for c in classes]
    except TypeError:
        raise ValueError(f"classes must be whole numbers; got {classes!r}.") from None
    wrong = [c for c in chosen if not 0 <= c < count]
    if wrong:
        raise ValueError(f"classes names {wrong[0]}; the model has classes 0 to {count - 1}.")
    return chosen


def in_parts(images: Tensor, target: Target, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The images, `size` at a time, with their targets.

    Parameters
    ----------
    images : Tensor
        [N,...].
    target : int, sequence of int, Tensor or None
        As in `target_tensor`.
    size : int
        At least 1.

    Yields
    ------
    tuple
        Some images, and their targets or None.

    Examples
    --------
    >>> [of.tolist() for _, of in in_parts(torch.zeros(3, 1), [4, 5, 6], 2)]
    [[4, 5], [6]]
    """
    given = target_tensor(target, len(images))
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        yield images[part], None if given is None else given[part]


def whole_number(name: str, value: object) -> int:
    """A count of at least 1, also one of NumPy's.

    Parameters
    ----------
    name : str
        What it counts, for the message.
    value : int
        The count.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> whole_number("steps", np.int64(5))
    5
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # what it is there to find out
    except TypeError:
        number = 0
    if isinstance(value, (bool, np.bool_)) or number < 1:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1.")
    return number


def real_number(name: str, value: object, *, above: bool = False) -> float:
    """A finite number of at least 0, also one of NumPy's or a tensor of one.

    Parameters
    ----------
    name : str
        What it is, for the message.
    value : float
        The number.
    above : bool
        Whether it must be greater than 0.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> real_number("noise_level", np.float32(0.5))
    0.5
    """
    number = _as_float(value)
    if not 0 <= number < np.inf or (above and number == 0):
        bound = "greater than" if above else "of at least"
        raise ValueError(f"{name} is {value!r}; it must be a finite number {bound} 0.")
    return number


def finite_number(name: str, value: object) -> float:
    """A finite number of either sign, also one of NumPy's or a tensor of one.

    Parameters
    ----------
    name : str
        What it is, for the message.
    value : float
        The number.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> finite_number("tau", -1)
    -1.0
    """
    number = _as_float(value)
    if not np.isfinite(number):
        raise ValueError(f"{name} is {value!r}; it must be a finite number.")
    return number


def as_percentile(q: object) -> float:
    """A percentile, from 0 to 100.

    Parameters
    ----------
    q : float
        The percentile.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> as_percentile(98)
    98.0
    """
    number = _as_float(q)
    if not 0 <= number <= 100:
        raise ValueError(f"q is {q!r}; it must be a percentile between 0 and 100.")
    return number


def _as_float(value: object) -> float:
    """A number as Python's; NaN for what is none."""
    if not isinstance(value, (str, bytes, bool, np.bool_)):
        with suppress(TypeError, ValueError, RuntimeError):
            return float(value)  # type: ignore[arg-type]  # what it is there to find out
    return np.nan


def check_generator(generator: object) -> None:
    """Refuse what random numbers cannot be drawn from.

    Parameters
    ----------
    generator : torch.Generator or None
        What a caller gives.

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> check_generator(torch.Generator())
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ValueError(
            f"generator is {generator!r}; it must be None or a torch.Generator, such as "
            "torch.Generator().manual_seed(0)."
        )


def numbers_of(maps: Tensor, infinite: bool = True) -> Tensor:
    """Maps as numbers that can be ranked and added up: of at least 32 bits, none of them NaN.

    Parameters
    ----------
    maps : Tensor
        Of any shape.
    infinite : bool
        Whether infinite values will do.

    Returns
    -------
    Tensor
        The maps; in float32 where they are narrower, in float64 where they are whole numbers.

    Raises
    ------
    ValueError
        For NaN and, where they will not do, infinite values.

    Examples
    --------
    >>> numbers_of(torch.ones(1, dtype=torch.float16)).dtype
    torch.float32
    """
    if not maps.is_floating_point():
        maps = maps.double()
    if maps.isnan().any():
        raise ValueError("maps contain NaN; a map needs a number for every pixel.")
    if not infinite and maps.isinf().any():
        raise ValueError("maps contain infinity; a map needs a finite number for every pixel.")
    return maps.to(torch.promote_types(maps.dtype, torch.float32))
