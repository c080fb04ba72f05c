"""Metrics of attribution maps, and the intervals that go with them.

Images are [N,C,H,W], maps [N,H,W], per-image scores [N], curves [F,N] over fractions. A fill is a
value in the units of the images, a scalar or one a channel.
"""

from .deletion import (
    PAPER_FRACTIONS,
    allegiance,
    altered_logits,
    auc,
    class_scores,
    delete,
    occlude_pixels,
    pixel_order,
)
from .maps import attribution_outside, rank_correlation, total_variation
from .statistics import (
    bootstrap,
    bootstrap_of,
    median_interval,
    percentile_interval,
    resample,
    spearman,
    wilson,
)
