"""Trains small networks over eight CPU devices in several ways, and compares with one device.

Run as a script; prints a line for each check, ``<name> <largest relative difference>``.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8"
)
os.environ["BRAINJAX_CPU_CONV"] = "plain"
os.environ["JAX_PLATFORMS"] = "cpu"

import sys
from typing import Any

import jax
import numpy as np

from brainjax import parallel
from brainjax.parallel import ParallelOptions
from brainjax.training import StoredState, predict_step
from tests.parallel.small_networks import Problem, slices, volumes

FACTOR = np.float32(1.0)


def train(problem: Problem, options: ParallelOptions, devices: int = 8) -> Any:
    """Everything after a few steps, on the host; and the state itself."""
    size = len(problem.batches[0]["labels"])
    mesh = parallel.make_mesh(size, options, jax.devices()[:devices])
    stored = StoredState(jax.eval_shape(problem.create), mesh, options)
    state = jax.jit(lambda: stored.pack(problem.create()), out_shardings=stored.shardings)()
    step = parallel.lift_step(
        stored.step(problem.step), mesh, options, state_shardings=stored.shardings
    )
    metrics = []
    for batch in problem.batches:
        state, found = step(state, parallel.place_batch(batch, mesh), FACTOR)
        metrics.append(found)
    whole = stored.unpack(state)
    return jax.device_get(
        (metrics, whole.params, whole.batch_stats, whole.average, whole.optimizer)
    ), state


def difference(ours: Any, theirs: Any) -> float:
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(np.max(np.abs(a - b)) / max(1e-3, np.max(np.abs(b)))) for a, b in pairs)


def tell(name: str, value: float) -> None:
    print(name, value, flush=True)


def main() -> None:
    cases = {
        "batch_norm": volumes("batch"),
        "group_norm": volumes("group", over="example", form="paper"),
        "slices": slices(),
    }
    for name, problem in cases.items():
        alone, _ = train(problem, ParallelOptions(), 1)
        ways = {"jit": 8, "shard_map": 8, "pmap": 8}
        for lift, devices in ways.items():
            ours, _ = train(problem, ParallelOptions(lift=lift), devices)
            tell(f"{name}/{lift}/{devices}", difference(ours, alone))
        if name == "batch_norm":
            ours, state = train(problem, ParallelOptions(shard_parameters=True))
            tell("batch_norm/shard_parameters", difference(ours, alone))
            kernel = state.params["Conv_0"]["kernel"]
            vector = next(leaf for leaf in jax.tree.leaves(state.optimizer) if leaf.ndim == 1)
            held = [len(leaf.addressable_shards[0].data.ravel()) for leaf in (kernel, vector)]
            tell("held", max(8 * held[0] - kernel.size, 8 * held[1] - vector.size))
        if name != "slices":
            ours, _ = train(problem, ParallelOptions(space=4))
            tell(f"{name}/space", difference(ours, alone))
    accumulated = volumes("batch", accumulate=2)
    alone, _ = train(accumulated, ParallelOptions(), 1)
    ours, _ = train(accumulated, ParallelOptions(lift="shard_map"), 4)
    tell("accumulate/shard_map/4", difference(ours, alone))
    predict(cases["batch_norm"])


def predict(problem: Problem) -> None:
    """The network's prediction over devices, of numbers that divide and that do not."""

    def run(variables: Any, image: jax.Array) -> jax.Array:
        return predict_step(variables, image, model=problem.model)

    variables = problem.create().variables()
    for number, options in ((8, ParallelOptions()), (3, ParallelOptions(space=2))):
        image = problem.batches[0]["image"][:number].astype(np.float32)
        lifted = parallel.lift_prediction(run, options)
        ours = lifted(parallel.place_variables(variables, options), image)
        tell(
            f"predict/{number}/space{options.space}",
            difference(ours, jax.jit(run)(variables, image)),
        )


if __name__ == "__main__":
    main()
    sys.exit(0)
