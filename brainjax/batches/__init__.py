"""Records to batches: random patches by grain, resumable at any step."""

from brainjax.batches.crops import padded_shape, start_around, uniform_start
from brainjax.batches.oversampling import oversample
from brainjax.batches.pipeline import (
    PipelineOptions,
    TrainingBatches,
    batches_per_epoch,
    evaluation_cases,
    training_batches,
)
from brainjax.batches.slices import SlicePipelineOptions, evaluation_batches, slice_batches

__all__ = [
    "PipelineOptions",
    "SlicePipelineOptions",
    "TrainingBatches",
    "batches_per_epoch",
    "evaluation_batches",
    "evaluation_cases",
    "oversample",
    "padded_shape",
    "slice_batches",
    "start_around",
    "training_batches",
    "uniform_start",
]
