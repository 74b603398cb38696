"""Trains small networks over eight CPU devices in several ways, and compares with one device.

Run as a script; prints a line for each check, such as ``<name> <largest relative difference>``.
"""

from __future__ import annotations

import os

if __name__ == "__main__":  # not where doctests are looked for
    os.environ["XLA_FLAGS"] = (
        "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=8"
    )
    os.environ["BRAINJAX_CPU_CONV"] = "plain"
    os.environ["JAX_PLATFORMS"] = "cpu"

import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from brainjax import parallel
from brainjax.errors import InputError
from brainjax.parallel import ParallelOptions
from brainjax.training import Checkpoints, StoredState, predict_step
from tests.parallel.small_networks import Problem, slices, volumes


def train(problem: Problem, options: ParallelOptions, devices: int, name: str = "") -> Any:
    """Everything after a few steps, on the host; and the state as it lies on the devices."""
    size = len(problem.batches[0]["labels"])
    mesh = parallel.make_mesh(size, options, jax.devices()[:devices])
    stored = StoredState(problem.state, mesh, options)
    state = jax.jit(stored.pack, out_shardings=stored.shardings)(problem.state)
    step = parallel.lift_step(
        stored.step(problem.step), mesh, options, state_shardings=stored.shardings
    )
    factor = np.float32(1.0)
    if options.chosen == "jit" and name:
        batch = parallel.place_batch(problem.batches[0], mesh)
        step = step.lower(state, batch, factor).compile()
        tell(f"{name}/exchanges", step.as_text().count(" collective-permute("))
    metrics = []
    for batch in problem.batches:
        state, found = step(state, parallel.place_batch(batch, mesh), factor)
        metrics.append(found)
    whole = stored.unpack(state)
    return jax.device_get(
        (metrics, whole.params, whole.batch_stats, whole.average, whole.optimizer)
    ), state


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference of an array, relative to its largest value."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(np.max(np.abs(a - b)) / max(1e-3, np.max(np.abs(b)))) for a, b in pairs)


def tell(name: str, value: float) -> None:
    print(name, value, flush=True)


def compare(name: str, problem: Problem, ways: dict[str, tuple[ParallelOptions, int]]) -> Any:
    """The last way's state."""
    alone, state = train(problem, ParallelOptions(), 1)
    for way, (options, devices) in ways.items():
        ours, state = train(problem, options, devices, f"{name}/{way}")
        tell(f"{name}/{way}", difference(ours, alone))
    return state


def predict(problem: Problem) -> None:
    """The network's prediction over devices, of numbers that divide and that do not."""

    def run(variables: Any, image: jax.Array) -> jax.Array:
        return predict_step(variables, image, model=problem.model)

    variables = problem.state.variables()
    ways = (
        (8, ParallelOptions()),
        (3, ParallelOptions(space=2)),
        (8, ParallelOptions(lift="shard_map")),
        (3, ParallelOptions(lift="shard_map")),
    )
    for number, options in ways:
        image = problem.batches[0]["image"][:number].astype(np.float32)
        placed = parallel.place_variables(variables, options)
        ours = parallel.lift_prediction(run, options)(placed, image)
        alone = jax.jit(run)(variables, image)
        tell(f"predict/{number}/{options.chosen}/space{options.space}", difference(ours, alone))


def restore(problem: Problem, saved: Any) -> None:
    """A state in eight parts comes back whole, and in six parts."""
    with tempfile.TemporaryDirectory() as folder:
        with Checkpoints(Path(folder)) as checkpoints:
            checkpoints.save(saved, {"position": {"batch": 2}})
            checkpoints.wait()
        for devices, options in (
            (1, ParallelOptions()),
            (6, ParallelOptions(shard_parameters=True)),
        ):
            mesh = parallel.make_mesh(6, options, jax.devices()[:devices])
            stored = StoredState(problem.state, mesh, options)
            fresh = jax.jit(stored.pack, out_shardings=stored.shardings)(problem.state)
            with Checkpoints(Path(folder)) as checkpoints:
                found = checkpoints.restore_latest(fresh)
            assert found is not None
            ours, theirs = (
                jax.device_get((state.params, state.average, optimizer_of(state, problem)))
                for state in (found[0], saved)
            )
            tell(f"restored/{devices}", difference(ours, theirs))


def optimizer_of(state: Any, problem: Problem) -> Any:
    """The optimiser's state without what its vectors are padded with."""
    size = sum(leaf.size for leaf in jax.tree.leaves(problem.state.params))
    return jax.tree.map(lambda leaf: leaf[:size] if leaf.ndim else leaf, state.optimizer)


def main() -> None:
    lifts = {f"{lift}/8": (ParallelOptions(lift=lift), 8) for lift in parallel.LIFTS}
    space = {"space": (ParallelOptions(space=4), 8)}
    batch_norm = volumes("batch")
    state = compare(
        "batch_norm",
        batch_norm,
        {
            **lifts, **space, "jit/2": (ParallelOptions(), 2),
            "shard_parameters": (ParallelOptions(shard_parameters=True), 8),
        },
    )  # fmt: skip
    kernel = state.params["Conv_0"]["kernel"]
    vector = next(leaf for leaf in jax.tree.leaves(state.optimizer) if leaf.ndim == 1)
    for name, array in (("kernel", kernel), ("optimizer", vector)):
        tell(f"kept/{name}", array.addressable_shards[0].data.size / array.size)
    restore(batch_norm, state)
    compare("group_norm", volumes("group", over="example", form="paper"), {**lifts, **space})
    compare("slices", slices(), lifts)
    in_parts = {"shard_map/4": (ParallelOptions(lift="shard_map"), 4)}
    compare("accumulate", volumes("batch", accumulate=2), in_parts)
    predict(batch_norm)
    odd = {name: array[:, :6] for name, array in batch_norm.batches[0].items()}
    try:
        parallel.place_batch(odd, parallel.make_mesh(8, ParallelOptions(space=4)))
    except InputError as error:
        tell("odd_depth_refused", float("parallel.space 4" in str(error)))


if __name__ == "__main__":
    parallel.start()
    main()
