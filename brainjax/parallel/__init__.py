"""Devices and processes: start-up, the mesh, programs over it, and how processes agree."""

from brainjax.parallel.compiler_options import prediction_options, training_options
from brainjax.parallel.lift import lift_prediction, lift_step, place_variables
from brainjax.parallel.mesh import (
    local_copy,
    local_mesh,
    make_mesh,
    place_batch,
    replicated,
    split_examples,
)
from brainjax.parallel.options import LIFTS, ParallelOptions
from brainjax.parallel.processes import (
    barrier,
    first_goes_first,
    from_first,
    gather,
    in_order,
    is_first,
    own_share,
    shard,
)
from brainjax.parallel.start import cache_folder, cached, start
from brainjax.parallel.stop import StopOnSignal
from brainjax.parallel.watch import LOST, ending_together

__all__ = [
    "LIFTS",
    "LOST",
    "ParallelOptions",
    "StopOnSignal",
    "barrier",
    "cache_folder",
    "cached",
    "ending_together",
    "first_goes_first",
    "from_first",
    "gather",
    "in_order",
    "is_first",
    "lift_prediction",
    "lift_step",
    "local_copy",
    "local_mesh",
    "make_mesh",
    "own_share",
    "place_batch",
    "place_variables",
    "prediction_options",
    "replicated",
    "shard",
    "split_examples",
    "start",
    "training_options",
]
