"""The child of ``benchmarks.speed`` that runs brainjax, compiled as training and prediction do."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._speed_cases import CASES, Case
from benchmarks._speed_child import available_threads, serve
from benchmarks._speed_roofline import copy_rate, multiplication_rate
from brainjax import parallel, training
from brainjax.complexity import costs_of, count_macs
from brainjax.losses import ClassificationObjective, Objective
from brainjax.models import CNN, CGAUNet, ResNet

DTYPES = {"f32": jnp.float32, "bf16": jnp.bfloat16}
OPTIMIZER = training.OptimizerOptions(
    algorithm="adam", learning_rate=1e-4, schedule="constant", power=0.9, warmup_steps=0,
    l2=0.0, clip_norm=0.0, average_decay=0.0,
)  # fmt: skip


class Ours:
    """One case at a time."""

    _run: Callable[[int], None]
    _compiled: jax.stages.Compiled
    _case: Case
    _batch: dict[str, Any]

    def device(self) -> dict[str, Any]:
        """What JAX computes on."""
        return {
            "device": jax.devices()[0].device_kind,
            "gpu": jax.default_backend() == "gpu",
            "threads": available_threads(),
        }

    def load(self, *, case: str, gpu: bool, variant: str) -> dict[str, Any]:
        """Compiles; the answer has ``compile_s``."""
        del variant
        self._case = CASES[case]
        arrays = self._case.arrays(gpu=gpu)
        mesh = parallel.make_mesh(len(arrays["image"]))
        self._batch = parallel.place_batch(arrays, mesh)
        model = _make_model(self._case)
        prepare = _training if self._case.work == "train" else _inference
        begun = time.perf_counter()
        self._compiled, self._run = prepare(self._case, model, self._batch, mesh)
        return {"compile_s": time.perf_counter() - begun}

    def run(self, calls: int) -> None:
        """Runs so many steps or predictions."""
        self._run(calls)

    def device_peak_mb(self) -> float | None:
        """The most memory that JAX held on a GPU."""
        if jax.default_backend() != "gpu":
            return None
        return (jax.devices()[0].memory_stats() or {})["peak_bytes_in_use"] / 2**20

    def roofline(self) -> dict[str, Any]:
        """Operations and bytes of one call, and how many of each the device does in a second.

        MACs count twice, and in training three times that: the backward pass has two
        products for each of the forward pass. Bytes are those that the compiler's program
        reads and writes.
        """
        model, image = _make_model(self._case), self._batch["image"]
        variables = jax.eval_shape(model.init, jax.random.key(0), image)
        forward = functools.partial(model.apply, train=False)
        passes = 3 if self._case.work == "train" else 1
        return {
            "flop": 2 * passes * count_macs(forward, variables, image),
            "bytes_moved": costs_of(self._compiled).bytes_accessed,
            "flop_per_s": multiplication_rate(DTYPES[self._case.dtype]),
            "bytes_per_s": copy_rate(),
        }


def _make_model(case: Case) -> nn.Module:
    dtype = DTYPES[case.dtype]
    if case.network == "cga_unet":
        return CGAUNet(variant="released", base_width=16, dropout=0.0, dtype=dtype)
    if case.network == "resnet18":
        return ResNet(depth=18, num_classes=case.input.classes, dtype=dtype)
    return CNN(num_classes=case.input.classes, dtype=dtype)


def _inference(
    case: Case, model: nn.Module, batch: dict[str, Any], mesh: Any
) -> tuple[jax.stages.Compiled, Callable[[int], None]]:
    """The compiled prediction, and a function that calls it, each result waited for."""
    init = jax.jit(
        functools.partial(model.init, train=False), out_shardings=parallel.replicated(mesh)
    )
    variables = init(jax.random.key(0), batch["image"])
    if case.input.dense:
        function: Any = functools.partial(training.predict_step, model=model)
        inputs: Any = batch["image"]
    else:
        function = functools.partial(training.classify_step, model=model, mirror=False)
        inputs = {"image": batch["image"]}
    compiled = (
        jax.jit(function)
        .lower(variables, inputs)
        .compile(compiler_options=parallel.prediction_options())
    )

    def run(calls: int) -> None:
        for _ in range(calls):
            jax.block_until_ready(compiled(variables, inputs))

    return compiled, run


def _training(
    case: Case, model: nn.Module, batch: dict[str, Any], mesh: Any
) -> tuple[jax.stages.Compiled, Callable[[int], None]]:
    """The compiled training step, and a function that goes on by so many steps."""
    everywhere = parallel.replicated(mesh)
    optimizer = training.make_optimizer(OPTIMIZER, steps=1000, steps_per_epoch=1000)
    objective: Any = ClassificationObjective()
    if case.input.dense:
        objective = Objective(attention_weight=20.0, inter_form="released")
    create = functools.partial(
        training.create_state,
        image=jax.ShapeDtypeStruct(batch["image"].shape, np.float32),
        model=model, optimizer=optimizer, keep_average=False,
    )  # fmt: skip
    state = jax.jit(create, out_shardings=everywhere)(jax.random.key(0))
    step = jax.jit(
        functools.partial(
            training.train_step,
            model=model,
            objective=objective,
            optimizer=optimizer,
            learning_rate=training.learning_rate_schedule(
                OPTIMIZER, steps=1000, steps_per_epoch=1000
            ),
            augment=_no_augmentation,
            average_decay=0.0,
        ),
        donate_argnums=0,
        out_shardings=everywhere,
    )
    compiled = step.lower(state, batch).compile(compiler_options=parallel.training_options())

    def run(calls: int) -> None:
        nonlocal state
        for _ in range(calls):
            state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))

    return compiled, run


def _no_augmentation(
    key: jax.Array, batch: dict[str, jax.Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    del key
    return {"image": batch["image"]}, batch["labels"]


if __name__ == "__main__":
    parallel.start()
    ours = Ours()
    serve(ours, roofline=ours.roofline)
