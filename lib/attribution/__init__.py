"""Attribution methods: what each input value does to a class score.

Every method is `f(model, images, target=None, *, ...) -> Tensor[N,C,H,W]`, and one line in
`METHODS`. Images are [N,C,H,W] in the model's own input range; `target` is None (the predicted
class), an int, or an int64 tensor [N]. Nothing is made absolute, reduced or normalised behind the
caller's back: `to_map` and `normalize` do that. No method changes the model, its mode, its
gradients or the images.
"""

from .crosses import label
from .gradients import (
    SignedMaps,
    active,
    against_rivals,
    class_gradients,
    inactive,
    input_x_gradient,
    integrated_gradients,
    negative,
    positive,
    saliency,
    signed_maps,
    smoothgrad,
)
from .graph import as_targets, evaluating, input_gradient, input_graph, logits
from .registry import METHODS, Method, normalize, to_map
from .ruled import (
    deconvolution,
    deeplift,
    epsilon_lrp,
    guided_backprop,
    rectgrad,
    rectgrad_prr,
    ruled_gradient,
)
