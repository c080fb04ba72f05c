"""The way from the picture to the logits, as autograd has recorded it in one forward pass.

Whoever called an operation (a module, a function, TorchScript, a compiled graph), its node is here.
So this is where it is decided whether a gradient comes back at all, what lies on the way without a
rule, and whether the pictures of a batch stay apart.
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

_Node = Any  # torch.autograd.graph.Node, whose saved attributes have no types


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Names of nodes without their "Backward0". Affine in what comes from the picture:
_MOVES = _set(
    "Alias AsStrided Clone Contiguous Copy CopySlices Detach Identity ToCopy View UnsafeView "
    "ReshapeAlias Transpose T Permute Squeeze Unsqueeze Expand Repeat RepeatInterleave Slice "
    "Select Split SplitWithSizes UnsafeSplit UnsafeSplitWithSizes Chunk Unbind Cat Stack Flip "
    "Roll Rot90 Index IndexSelect Gather Scatter ScatterAdd IndexAdd IndexPut IndexCopy "
    "SliceScatter SelectScatter DiagonalScatter AsStridedScatter Unfold Im2Col Col2Im "
    "PixelShuffle PixelUnshuffle ChannelShuffle Diagonal Tril Triu MaskedFill MaskedScatter "
    "MaskedSelect MaxUnpool2D MaxUnpool3D ConstantPadNd ReflectionPad1D ReflectionPad2D "
    "ReflectionPad3D ReplicationPad1D ReplicationPad2D ReplicationPad3D ViewAsReal ViewAsComplex "
    "Real Imag ViewDtype ValuesView Zero Fill SafeZeros BackwardHookFunction"
)
_SUMS = _set(
    "Add Sub Rsub Neg Mean Sum Cumsum Trace Convolution SlowConv2D MkldnnConvolution "
    "CudnnConvolution ConvDepthwise2D ConvolutionOverrideable ThnnConvDepthwise2D AvgPool2D "
    "AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D MkldnnAdaptiveAvgPool2D NativeBatchNorm "
    "CudnnBatchNorm MiopenBatchNorm NativeDropout FusedDropout UpsampleNearest1D UpsampleNearest2D "
    "UpsampleNearest3D UpsampleNearestExact1D UpsampleNearestExact2D UpsampleNearestExact3D "
    "UpsampleLinear1D UpsampleBilinear2D UpsampleBilinear2DAa UpsampleBicubic2D "
    "UpsampleBicubic2DAa UpsampleTrilinear3D FftR2C FftC2C FftC2R SumToSize"
)
# affine in each of their inputs, so a product where more than one comes from the picture
_PRODUCTS = _set(
    "Mul Div Mm Bmm Addmm Baddbmm Addbmm Mv Addmv Dot Vdot Ger Linear Matmul Addcmul Addcdiv Lerp "
    "GridSampler2D GridSampler3D Convolution CudnnConvolution MkldnnConvolution Kron Bilinear "
    "Trilinear"
)
# of several values the largest alone; methods send it the plain gradient, as published
MAXIMA = _set(
    "MaxPool2DWithIndices MaxPool3DWithIndices MkldnnMaxPool2D AdaptiveMaxPool2D AdaptiveMaxPool3D "
    "FractionalMaxPool2D FractionalMaxPool3D Max Amax"
)
POOLING = MAXIMA - {"Max", "Amax"}
# the engine's own nodes
RULED_ACTIVATION, RULED_POOL = "_ActivationRule", "_PoolRule"
# the engine's mark on a node that was given a mask of the picture's own values
DECIDED = "decided"
# and on one that keeps the picture itself in its range
BOUNDS = "bounds"
# one number after another, and so image by image whatever the layout
_ELEMENTWISE = _set(
    "Relu Hardtanh Threshold Clamp ClampMin ClampMax Gelu Silu Mish Hardswish Elu Selu Celu "
    "Softplus LeakyRelu PreluKernel RreluWithNoise Sigmoid Hardsigmoid Tanh LogSigmoid Exp Log "
    "Sqrt Rsqrt Abs Neg Square Reciprocal Erf Sin Cos Clone ToCopy Copy Alias Identity "
    "NativeDropout BackwardHookFunction"
) | {RULED_ACTIVATION}
# each image by itself where the first dimension is made of images
_SPATIAL = _set(
    "Convolution CudnnConvolution MkldnnConvolution SlowConv2D ConvDepthwise2D AvgPool2D AvgPool3D "
    "AdaptiveAvgPool2D AdaptiveAvgPool3D MkldnnAdaptiveAvgPool2D MaxPool2DWithIndices "
    "MaxPool3DWithIndices AdaptiveMaxPool2D AdaptiveMaxPool3D NativeGroupNorm UpsampleNearest2D "
    "UpsampleBilinear2D UpsampleBicubic2D ReflectionPad1D ReflectionPad2D ReplicationPad1D "
    "ReplicationPad2D PixelShuffle PixelUnshuffle ChannelShuffle Im2Col"
) | {RULED_POOL}
_BROADCASTING = _set("Add Sub Rsub Mul Div Pow Addcmul Addcdiv Maximum Minimum Where")
# what stands for an operation that has no gradient, such as a quantised one
_WITHOUT_GRADIENT = _set("WarnNotImplemented NotImplemented")
# constant but for steps: autograd goes through them, with gradients of 0
_STEPS = _set("Round Floor Ceil Trunc Sign Sgn")
_BATCH_NORMS = _set("NativeBatchNorm CudnnBatchNorm MiopenBatchNorm")


class Path(NamedTuple):
    """What lies between a picture and its logits.

    Attributes
    ----------
    reached : bool
        Whether a gradient comes back, by a way on which nothing is rounded.
    names : tuple of str
        The operations, each once, without "Backward0".
    products : tuple of str
        Those among them of which several factors come from the picture.
    rules : frozenset of int
        The places of the activations that got a rule, in the order of the calls.
    apart : bool
        Whether it is certain that the numbers of one image lie together in the first dimension,
        from the picture to the logits, and that no operation mixes them with another's.
    batch_statistics : bool
        Whether something was normalised over the batch.
    own_statistics : bool
        Whether something was normalised over the picture itself (an instance norm).
    decided : bool
        Whether a mask made of the picture's own values, which has no gradient, took part.
    trains : bool
        Whether a batch norm took the statistics of this batch and keeps running ones.
    """

    reached: bool
    names: tuple[str, ...]
    products: tuple[str, ...]
    rules: frozenset[int]
    apart: bool
    batch_statistics: bool
    own_statistics: bool
    decided: bool
    trains: bool

    def without_rule(self, known: Iterable[str] = ()) -> list[str]:
        """Operations that are not affine and kept their plain gradient.

        Parameters
        ----------
        known : iterable of str
            Names of further operations that are not to be told of.

        Returns
        -------
        list of str
            In words.
        """
        passed = _MOVES | _SUMS | _PRODUCTS | MAXIMA | {RULED_ACTIVATION, RULED_POOL} | set(known)
        told = [in_words(name) for name in self.names if name not in passed]
        if self.batch_statistics or self.own_statistics:
            told.append("a norm by statistics of the picture")
        if self.products:
            told.append("a product of two activations")
        if self.decided and "Where" not in self.names:
            told.append("a mask made of the picture's own values")
        return told


def in_words(name: str) -> str:
    """The name of a node as the operation is called.

    Parameters
    ----------
    name : str
        As in `Path.names`.

    Returns
    -------
    str

    Examples
    --------
    >>> in_words("NativeLayerNorm")
    'native_layer_norm'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def find_path(logits: Tensor, leaf: Tensor) -> Path:
    """All operations between the leaf [N,...] and the logits [N,K].

    Parameters
    ----------
    logits : Tensor
        What the forward pass ended in.
    leaf : Tensor
        Where it began: a leaf that requires a gradient.

    Returns
    -------
    Path

    Examples
    --------
    >>> leaf = torch.ones(2, 3, requires_grad=True)
    >>> find_path(leaf.relu().sum(1, keepdim=True), leaf).names
    ('Sum', 'Relu')
    """
    nodes = _between(logits, leaf)
    if not nodes:
        return Path(False, (), (), frozenset(), True, False, False, False, False)
    names: dict[str, None] = {}
    products: dict[str, None] = {}
    rules = set()
    apart, of_batch, of_picture, decided, trains = True, False, False, False, False
    for node, sources in nodes.items():
        name = _name(node)
        names[name] = None
        if name in _PRODUCTS and _is_product(name, sources):
            products[name] = None
        if name == RULED_ACTIVATION:
            rules.add(node.about.index)
        if name in _BATCH_NORMS and getattr(node, "_saved_training", True):
            # an instance norm is a batch norm of one image with N*C channels
            of_batch = of_batch or _shapes(node)[0][0] > 1
            of_picture = of_picture or _shapes(node)[0][0] == 1
            trains = trains or getattr(node, "_saved_running_mean", None) is not None
        decided = decided or DECIDED in node.metadata
        apart = apart and _keeps_apart(node, name, sources, nodes, len(leaf))
    reached = _STEPS.isdisjoint(names) or bool(_between(logits, leaf, _WITHOUT_GRADIENT | _STEPS))
    return Path(
        reached,
        tuple(names),
        tuple(products),
        frozenset(rules),
        apart,
        of_batch,
        of_picture,
        decided,
        trains,
    )


def _between(
    logits: Tensor, leaf: Tensor, closed: frozenset[str] = _WITHOUT_GRADIENT
) -> dict[_Node, list[int]]:
    """The nodes from which the leaf is reached, the logits' first, each with the inputs that lead
    there; nothing leads through those that are `closed`."""
    if logits.grad_fn is None:
        return {}
    end = torch.autograd.graph.get_gradient_edge(leaf).node
    leads: dict[_Node, bool] = {end: True}
    order: list[_Node] = []
    stack: list[tuple[_Node, bool]] = [(logits.grad_fn, False)]
    while stack:
        node, left = stack.pop()
        if left:
            leads[node] = any(leads.get(n, False) for n, _ in node.next_functions if n is not None)
            order.append(node)
        elif node not in leads and _name(node) in closed:
            leads[node] = False
        elif node not in leads:
            leads[node] = False  # until all before it are known
            stack.append((node, True))
            stack += [(n, False) for n, _ in node.next_functions if n is not None]
    return {
        node: [k for k, (n, _) in enumerate(node.next_functions) if n is not None and leads[n]]
        for node in reversed(order)
        if leads[node]
    }


def plain_name(node: _Node) -> str:
    """The name of a node without "Backward0".

    Parameters
    ----------
    node : torch.autograd.graph.Node

    Returns
    -------
    str

    Examples
    --------
    >>> plain_name(torch.ones(1, requires_grad=True).exp().grad_fn)
    'Exp'
    """
    return _plain(node.name())


def _name(node: _Node) -> str:
    name = plain_name(node)
    if BOUNDS in node.metadata:
        return name
    if name in ("Hardtanh", "Clamp", "ClampMin"):
        low = getattr(node, "_saved_min_val", getattr(node, "_saved_min", None))
        if not isinstance(low, Tensor) and low == 0:
            return "Relu"  # by another name
    if name == "Div" and getattr(node, "_saved_rounding_mode", None):
        return "Floor"
    return name


@cache
def _plain(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name.rpartition("::")[2])


def _is_product(name: str, sources: list[int]) -> bool:
    """Do several factors come from the picture, or what is divided by?"""
    if name in ("Addmm", "Baddbmm", "Addbmm", "Addmv", "Addcmul", "Addcdiv"):
        sources = [k for k in sources if k > 0]  # the first is only added
        if name == "Addcdiv" and 2 in sources:
            return True
    if name == "Lerp":
        return 2 in sources
    return len(sources) > 1 or (name == "Div" and 1 in sources)


# --- do the images of a batch stay apart? ---------------------------------------------------------


def _shapes(node: _Node) -> list[Sequence[int]]:
    """Shapes of what the operation returned."""
    return [tuple(meta.shape) for meta in node._input_metadata]


def _keeps_apart(
    node: _Node, name: str, sources: list[int], nodes: dict[_Node, list[int]], count: int
) -> bool:
    """Is it certain that the operation leaves each image's numbers in their part of dimension 0?

    Given that they are there at its inputs. Where it is not certain, False.
    """
    if count <= 1:
        return True
    shapes = _shapes(node)
    if not all(len(shape) and shape[0] % count == 0 and shape[0] for shape in shapes[:1]):
        return False
    ndim = len(shapes[0])
    before = [node.next_functions[k][0] for k in sources]
    inputs = [_shapes(n)[node.next_functions[k][1]] for n, k in zip(before, sources, strict=True)]
    if name in ("View", "UnsafeView", "ReshapeAlias"):
        return True  # the order of the numbers in memory is that of the images
    if name in _ELEMENTWISE:
        return True
    if name in _SPATIAL:
        return sources == [0] and len(inputs[0]) == ndim and inputs[0][0] == shapes[0][0]
    if name in _BROADCASTING:
        return all(len(shape) == ndim and shape[0] == shapes[0][0] for shape in inputs)
    if name in _BATCH_NORMS:
        return sources == [0] and not getattr(node, "_saved_training", True)
    if name in ("Mm", "Addmm"):
        first = 0 if name == "Mm" else 1
        return sources == [first] and inputs[0][0] == shapes[0][0]
    if name == "Bmm":
        return all(shape[0] == shapes[0][0] for shape in inputs)
    if name == "Expand":
        return bool(inputs[0] == shapes[0])
    if name == "AsStrided":
        return inputs[0] == tuple(node._saved_size) and _rows_stay(node)
    if name == "NativeLayerNorm":
        return sources == [0] and len(node._saved_normalized_shape) < ndim
    return _away_from_the_first(node, name, ndim)


def _rows_stay(node: _Node) -> bool:
    """Do strides only rearrange the numbers within each entry of dimension 0?

    Pooling to one position does so for channels_last.
    """
    size, stride = node._saved_size, node._saved_stride
    reach = sum((n - 1) * s for n, s in zip(size[1:], stride[1:], strict=True))
    whole = math.prod(size[1:]) == stride[0] and reach < stride[0]
    return bool(whole and not node._saved_storage_offset)


def _away_from_the_first(node: _Node, name: str, ndim: int) -> bool:
    """Does the operation work along other dimensions than the first?"""
    if name in ("Mean", "Sum", "Amax", "Max", "Squeeze", "Unsqueeze"):
        dims = getattr(node, "_saved_dim", None)
        if dims is None:
            return False
        dims = [dims] if isinstance(dims, int) else list(dims)
        if name in ("Mean", "Sum", "Amax", "Max"):
            ndim += 0 if node._saved_keepdim else len(dims)
        elif name == "Squeeze":
            ndim += len(dims)
        return bool(dims) and 0 not in [_from_start(d, ndim) for d in dims]
    if name in ("Cat", "Split", "SplitWithSizes", "Softmax", "LogSoftmax", "Slice", "Cumsum"):
        return _from_start(node._saved_dim, ndim) != 0
    if name == "Select":
        return _from_start(node._saved_dim, ndim + 1) != 0
    if name == "Transpose":
        moved = (node._saved_dim0, node._saved_dim1)
        return 0 not in [_from_start(d, ndim) for d in moved]
    if name == "Permute":
        return _from_start(node._saved_dims[0], ndim) == 0
    if name in ("Flip", "Roll"):
        dims = [_from_start(d, ndim) for d in node._saved_dims]
        return bool(dims) and 0 not in dims
    if name == "ConstantPadNd":
        return len(node._saved_pad) <= 2 * (ndim - 1)
    return False


def _from_start(dim: int, ndim: int) -> int:
    """A dimension counted from the first; autograd keeps -1 as 2**64 - 1."""
    if dim >= 2**63:
        dim -= 2**64
    return dim % ndim


def warn(text: str) -> None:
    """Warn in the name of the line that called this package, so that each is told once.

    Parameters
    ----------
    text : str
        The warning.

    Warns
    -----
    UserWarning
    """
    level, frame = 1, sys._getframe()
    ours = (__name__.rpartition(".")[0], "contextlib")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(ours):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
