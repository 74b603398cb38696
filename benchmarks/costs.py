"""What training costs, told without a clock: MACs, bytes, memory and compilations.

    python -m benchmarks.costs [--json FILE] [--case=SUBSTRING] [--no-compile]

The MACs of the network and of a whole training step are counted for every configuration,
at the size that it has without a data set. Some are trained for a few steps by ``jobs.fit``
at a smaller size, and the compiler is asked for the bytes that the step reads and writes
and for its memory. These figures depend on JAX's version, but not on processor,
cores or load: convolutions are compiled as with ``BRAINJAX_CPU_CONV=sum2d``, which every
CPU can do, and not with oneDNN.

``tests/test_costs.py`` compares all of it with a record. After a change that is meant:

    python -m benchmarks.costs --json tests/costs.json
"""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import contextlib
import dataclasses
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from benchmarks._cost_runs import STEPS, Run, build, make_run
from brainjax import experiment, parallel, training
from brainjax.complexity import costs_of, count_macs, count_parameters
from brainjax.files import write_json
from brainjax.jobs.fit import Training, fit, training_step
from brainjax.layers.cpu_convolution import SWITCH

NAMES = (
    "cga", "cga:paper", "cga:released", "comparators:attention_unet", "comparators:kiunet3d",
    "comparators:nnunet", "figshare_cnn", "figshare_vgg16", "kaggle4_baseline",
    "kaggle4_best", "kaggle4_densenet121", "kaggle4_improved", "kaggle4_improved:ablation",
    "kaggle4_resnet50", "kaggle4_vgg16:model1", "kaggle4_vgg16:model2",
    "kaggle4_vgg16:model2_texture", "mgmt_resnet18",
)  # fmt: skip
COMPILED: dict[str, dict[str, Any]] = {
    "cga": {"batch_size": 2, "patch_shape": (32, 32, 32)},
    "kaggle4_baseline": {"batch_size": 32},
    "kaggle4_best": {"batch_size": 8},
}
"""Configurations that are compiled, and what replaces their section ``batches``."""
RESUMED = ("kaggle4_baseline",)
"""Those that also go on after a checkpoint, which compiles once more."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The MACs of one configuration.

    Attributes:
      batch: shape of the images of a step.
      parameters: without running statistics.
      macs_forward: of the network on that batch, as for prediction.
      macs_step: of a training step.
      macs_step_frozen: the same where a pretrained body stays as it is; None where the
        configuration trains everything.
    """

    batch: tuple[int, ...]
    parameters: int
    macs_forward: int
    macs_step: int
    macs_step_frozen: int | None


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """The compiled training step of one configuration.

    Attributes:
      batch: shape of the images of a step.
      bytes_accessed: read and written by all operations.
      temporary_bytes: the most that XLA holds at a time beside arguments and results.
      held_bytes: arguments, results and temporary memory; what is donated counts once.
      compilations: of the step in one run, in which batches and the factor of the learning
        rate change.
      compilations_resumed: the same in a run that goes on after a checkpoint; None where
        that is not tried.
    """

    batch: tuple[int, ...]
    bytes_accessed: float | None
    temporary_bytes: int | None
    held_bytes: int | None
    compilations: int
    compilations_resumed: int | None


def compiler() -> dict[str, Any]:
    """What the compiled figures depend on beside the program."""
    return {
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "platform": jax.default_backend(),
        "machine": platform.machine(),
        "devices": jax.local_device_count(),
    }


def count(name: str) -> Counted:
    """Counts the MACs of a configuration of ``NAMES``; computes nothing."""
    built = build(name)
    run = make_run(built)
    state = _abstract_state(run)
    variables = {"params": state.params, "batch_stats": state.batch_stats}

    def forward(variables: Any, inputs: dict[str, Any]) -> Any:
        return run.training.model.apply(variables, **inputs, train=False)

    frozen = None
    if isinstance(built, experiment.ClassificationExperiment) and built.weights.train == "head":
        other = make_run(built, frozen=True)
        frozen = _step_macs(other, _abstract_state(other))
    return Counted(
        batch=run.batch["image"].shape,
        parameters=count_parameters(state.params),
        macs_forward=count_macs(forward, variables, run.inputs),
        macs_step=_step_macs(run, state),
        macs_step_frozen=frozen,
    )


def _abstract_state(run: Run) -> training.TrainState:
    return jax.eval_shape(run.training.create, jax.random.key(0))


def _step_macs(run: Run, state: training.TrainState) -> int:
    rate_factor = jax.ShapeDtypeStruct((), jnp.float32)
    return count_macs(training_step(run.training), state, run.batch, rate_factor)


def measure(name: str) -> Compiled:
    """Trains a configuration of ``COMPILED`` for a few steps, and asks the compiler."""
    run = make_run(build(name, **COMPILED[name]))
    resumed = None
    with (
        mock.patch.dict(os.environ, {SWITCH: "sum2d"}),
        tempfile.TemporaryDirectory() as folder,
    ):
        compiled, compilations = _train(run.training, Path(folder))
        if name in RESUMED:
            loop = dataclasses.replace(run.training.loop, steps=2 * STEPS)
            _, resumed = _train(dataclasses.replace(run.training, loop=loop), Path(folder))
    costs = costs_of(compiled)
    return Compiled(
        batch=run.batch["image"].shape,
        bytes_accessed=costs.bytes_accessed,
        temporary_bytes=costs.temporary_bytes,
        held_bytes=_held_bytes(compiled),
        compilations=compilations,
        compilations_resumed=resumed,
    )


def _held_bytes(compiled: jax.stages.Compiled) -> int | None:
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    given = memory.argument_size_in_bytes - memory.alias_size_in_bytes
    return int(given + memory.output_size_in_bytes + memory.temp_size_in_bytes)


def _train(run: Training, workdir: Path) -> tuple[jax.stages.Compiled, int]:
    """Trains by ``jobs.fit``; its compiled step, and how often that was compiled."""
    steps: list[Any] = []
    make_loop = training.Loop

    def keep_step(**options: Any) -> training.Loop:
        steps.append(options["step"])
        return make_loop(**options)

    with (
        mock.patch.object(training, "Loop", keep_step),
        contextlib.redirect_stdout(sys.stderr),
        _compilations("jit(train_step)") as seconds,
    ):
        result, _ = fit(run, workdir)
        batch = parallel.place_batch(next(run.open_batches(0)), parallel.make_mesh(run.batch_size))
        compiled = steps[0].lower(result.state, batch, np.float32(1)).compile()  # known already
    return compiled, len(seconds)


@contextlib.contextmanager
def _compilations(name: str) -> Iterator[list[float]]:
    """A list that gets the seconds of each compilation of a function."""
    found: list[float] = []

    def listen(event: str, duration_secs: float, **about: str | int) -> None:
        if event.endswith("/backend_compile_duration") and about.get("fun_name") == name:
            found.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def main() -> None:
    """Prints both tables and writes their numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--case", default="", help="only configurations whose name contains this")
    parser.add_argument("--no-compile", action="store_true", help="count MACs only")
    options = parser.parse_args()
    names = [name for name in NAMES if options.case in name]
    if not names:
        parser.error(f"--case={options.case} picks none of {', '.join(NAMES)}")
    counted: dict[str, Counted] = {}
    compiled: dict[str, Compiled] = {}
    _print_head("batch", "parameters", "MACs forward, G", "of a step, G", "of a frozen body's, G")
    for name in names:
        row = counted[name] = count(name)
        macs = (row.macs_forward, row.macs_step, row.macs_step_frozen)
        _print_row(name, row.batch, f"{row.parameters:,}", *(_cell(n, 1e-9) for n in macs))
    if not options.no_compile:
        print()
        _print_head(
            "batch", "accessed, MiB", "temporary, MiB", "held, MiB", "compiled", "when resumed"
        )
        for name in (name for name in names if name in COMPILED):
            made = compiled[name] = measure(name)
            sizes = (made.bytes_accessed, made.temporary_bytes, made.held_bytes)
            times = [_cell(n, 1) for n in (made.compilations, made.compilations_resumed)]
            _print_row(name, made.batch, *(_cell(n, 2**-20) for n in sizes), *times)
    if options.json:
        rows = {
            "compiler": compiler(),
            "counted": {name: dataclasses.asdict(row) for name, row in counted.items()},
            "compiled": {name: dataclasses.asdict(row) for name, row in compiled.items()},
        }
        write_json(options.json, rows)


def _print_head(*titles: str) -> None:
    print("| configuration |", " | ".join(titles), "|")
    print("|---|---|" + "---:|" * (len(titles) - 1))


def _print_row(name: str, batch: tuple[int, ...], *cells: str) -> None:
    print("|", " | ".join([name, " x ".join(map(str, batch)), *cells]), "|", flush=True)


def _cell(number: float | None, scale: float) -> str:
    return "-" if number is None else f"{number * scale:,.6g}"


if __name__ == "__main__":
    main()
