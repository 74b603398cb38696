"""The CGA U-Net of ``benchmarks.scaling``: what one setting of it costs."""

from __future__ import annotations

import functools
import runpy
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from brainjax import experiment, parallel, training
from brainjax.complexity import costs_of, count_macs
from brainjax.experiment import Experiment

CONFIG = Path(__file__).parent.parent / "configs" / "cga.py"
CLASSES = 4
WARM_ROUNDS = 4  # the first calls pay for pages that are used again


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to run the network.

    Attributes:
      side: voxels of the cubic volume along each axis.
      batch: volumes of a step, over all devices.
      base_width: channels at full resolution.
      checkpoint: whether activations are worked out again in the backward pass.
      accumulate: micro-batches of a training step.
      dtype: of the activations; f32 on CPUs and bfloat16 elsewhere if empty.
    """

    side: int
    batch: int = 1
    base_width: int = 16
    checkpoint: bool = False
    accumulate: int = 1
    dtype: str = ""

    def build(self) -> Experiment:
        """The authors' recipe with this setting."""
        config = runpy.run_path(str(CONFIG))["get_config"]("released")
        config.batches.patch_shape = (self.side,) * 3
        config.batches.batch_size = self.batch
        config.batches.accumulate = self.accumulate
        config.model.base_width = self.base_width
        config.model.checkpoint_blocks = self.checkpoint
        usual = "float32" if jax.default_backend() == "cpu" else "bfloat16"
        config.model.dtype = self.dtype or usual
        return experiment.build(config)

    @property
    def image(self) -> jax.ShapeDtypeStruct:
        """A batch of volumes, [B, D, H, W, 4]."""
        return jax.ShapeDtypeStruct((self.batch, *(self.side,) * 3, 4), jnp.float32)


def make_step(built: Experiment, model: nn.Module) -> Callable[..., Any]:
    """``train_step`` of an experiment, not yet compiled, as ``(state, batch) -> ...``."""
    return functools.partial(
        training.train_step,
        model=model,
        objective=built.make_objective(1),
        optimizer=built.make_optimizer(1),
        learning_rate=built.make_learning_rate(1),
        augment=built.make_augment(),
        average_decay=0.0,
        accumulate=built.accumulate,
    )


def make_state(built: Experiment, model: nn.Module) -> training.TrainState:
    """A fresh state; where the network is created the volume's size does not matter."""
    create = functools.partial(
        training.create_state,
        image=jax.ShapeDtypeStruct((1, 16, 16, 16, 4), jnp.float32),
        model=model,
        optimizer=built.make_optimizer(1),
        keep_average=False,
    )
    return jax.jit(create)(jax.random.key(0))


def measure(setting: Setting, *, rounds: int, inference: bool = True) -> dict[str, Any]:
    """Seconds, temporary bytes and MACs of a prediction and of a training step.

    Args:
      setting: what to run.
      rounds: repetitions of which the median counts, after one to warm up.
      inference: whether prediction is measured as well.
    """
    built = setting.build()
    model = built.make_model(CLASSES)
    state = make_state(built, model)
    rng = np.random.default_rng(0)
    volumes = rng.standard_normal(setting.image.shape, np.float32)
    found: dict[str, Any] = {}
    if inference:
        predict = functools.partial(training.predict_step, model=model)
        arguments = (state.variables(), jnp.asarray(volumes))
        lowered = jax.jit(predict).lower(*arguments)
        compiled = lowered.compile(compiler_options=parallel.prediction_options())
        found["inference_s"] = median_seconds(lambda: compiled(*arguments), rounds)
        found["inference_bytes"] = costs_of(compiled).temporary_bytes
        found["inference_macs"] = count_macs(predict, *arguments)
    step = make_step(built, model)
    batch = {
        "image": jnp.asarray(volumes, jnp.float16),
        "labels": jnp.asarray(rng.integers(0, CLASSES, volumes.shape[:-1]), jnp.uint8),
    }
    found["step_macs"] = count_macs(step, state, batch)
    options = parallel.training_options()
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile(compiler_options=options)
    found["step_bytes"] = costs_of(compiled).temporary_bytes

    def update() -> Mapping[str, jax.Array]:
        nonlocal state
        state, metrics = compiled(state, batch)
        return metrics

    found["step_s"] = median_seconds(update, rounds)
    return found


def median_seconds(job: Callable[[], Any], rounds: int) -> float:
    """Median time of a job whose results are waited for, after some that are not counted."""
    seconds = []
    for _ in range(WARM_ROUNDS + rounds):
        begun = time.perf_counter()
        jax.block_until_ready(job())
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[WARM_ROUNDS:])
