"""State, step, optimiser, checkpoints, loop and logs of a training run."""

from brainjax.training.accumulation import check_micro_batches
from brainjax.training.checkpoint import Checkpoints
from brainjax.training.logs import (
    Log,
    MetricsLog,
    ProgressPrinter,
    SilentLog,
    format_duration,
    read_history,
)
from brainjax.training.loop import Loop, LoopOptions, LoopResult
from brainjax.training.optimizer import (
    OptimizerOptions,
    learning_rate_schedule,
    make_optimizer,
    scale_rate,
)
from brainjax.training.schedules import plateau_factor
from brainjax.training.state import TrainState, create_state
from brainjax.training.step import (
    Augment,
    Objective,
    classify_step,
    predict_step,
    train_step,
)
from brainjax.training.stored_state import StoredState

__all__ = [
    "Augment",
    "Checkpoints",
    "Log",
    "Loop",
    "LoopOptions",
    "LoopResult",
    "MetricsLog",
    "Objective",
    "OptimizerOptions",
    "ProgressPrinter",
    "SilentLog",
    "StoredState",
    "TrainState",
    "check_micro_batches",
    "classify_step",
    "create_state",
    "format_duration",
    "learning_rate_schedule",
    "make_optimizer",
    "plateau_factor",
    "predict_step",
    "read_history",
    "scale_rate",
    "train_step",
]
