"""Records to batches: random patches by grain, resumable at any step."""

from brainjax.batches.crops import padded_shape, start_around, uniform_start
from brainjax.batches.pipeline import (
    PipelineOptions,
    TrainingBatches,
    batches_per_epoch,
    evaluation_cases,
    training_batches,
)

__all__ = [
    "PipelineOptions",
    "TrainingBatches",
    "batches_per_epoch",
    "evaluation_cases",
    "padded_shape",
    "start_around",
    "training_batches",
    "uniform_start",
]
