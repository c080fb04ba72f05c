"""Every figure and table of the book. A figure ends in a line that says which data, network,
profile and commit made it.

Each function returns the matplotlib figure. Alt texts live in the metadata of the cell that shows
it, where the book builder finds them.
"""

from .chapter03 import firing_against_brightness, firing_differences, map_rows
from .chapter04 import growth_lines, redrawn_dots
from .chapter06 import background_dots, spread_boxes
from .chapter07 import left_to_see, repeated, retraining_differences, retraining_lines
from .chapter08 import correlations, map_strip, place_table
from .chapter09 import legible_places, shock_panels, shuffled_maps, step_ladder
from .charts import (
    mechanism,
    occlusion,
    pairwise,
    published_beside_reproduced,
    rivals,
    sign_panel,
    trainings,
    who_gains,
)
from .data import accuracy_dots, learning_lines, one_of_each
from .deletion import at_work, beside_random, control_curves, promise
from .pictures import (
    as_rgb,
    class_name,
    draw_frame,
    draw_map,
    draw_picture,
    feature_maps,
    gallery,
    map_grid,
)
from .show import (
    chart,
    show_chart,
    show_maps,
    source,
)
from .sign import kept_panels, signed_rows, zero_dots
from .style import (
    COLOURS,
    DASHES,
    GROUPS,
    HIGHLIGHTED,
    LABELS,
    MODES,
    REGIONS,
    SHORT,
    colour,
    compact,
    digest,
    give_or_take,
    interval,
    ordered,
    short,
    signed,
    style,
    verbatim,
)
from .tables import (
    NOTHING,
    beside_table,
    chip,
    escaped,
    lines,
    section,
    sections,
    table,
    two_readings,
    verdicts,
)
