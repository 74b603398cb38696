"""One program for all devices of a step or a prediction that is written for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from brainjax.layers.manual_axes import BATCH_AXIS
from brainjax.parallel.compiler_options import prediction_options, training_options
from brainjax.parallel.mesh import local_mesh, replicated, split_examples
from brainjax.parallel.options import ParallelOptions

Step = Callable[..., tuple[Any, Any]]


def lift_step(
    step: Step,
    mesh: Mesh,
    options: ParallelOptions,
    *,
    state_shardings: Any = None,
) -> Step:
    """A pure step ``(state, batch, factor) -> (state, metrics)`` over the mesh.

    ``jit`` gives XLA the whole program and the places of its arguments. With ``shard_map``
    and ``pmap`` each device runs the step on its examples; the step reduces over the axis
    ``data`` itself (see ``layers.manual_axes``), so that all give the same numbers.

    Args:
      step: what to lift.
      mesh: from ``make_mesh``.
      options: which way.
      state_shardings: where the state lies; the same on every device when None.

    Returns:
      The compiled step. It takes batches from ``place_batch`` and gives up the state that it
      is called with.
    """
    everywhere = replicated(mesh)
    if options.chosen == "pmap":
        mapped = jax.pmap(
            step,
            axis_name=BATCH_AXIS,
            in_axes=(None, 0, None),
            out_axes=None,
            devices=list(mesh.devices.flat),
        )
        here = local_mesh(options)

        def over_devices(state: Any, batch: Mapping[str, jax.Array], factor: Any) -> Any:
            stacked = {name: _stacked(array, here) for name, array in batch.items()}
            return mapped(state, stacked, factor)

        return over_devices
    if options.chosen == "shard_map":
        # Types of replication are not checked: what they would add to the gradient
        # (a sum over devices) the step does itself, in the same way for pmap.
        step = jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(BATCH_AXIS), PartitionSpec()),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
    return jax.jit(
        step,
        donate_argnums=0,
        out_shardings=(everywhere if state_shardings is None else state_shardings, everywhere),
        compiler_options=training_options(),
    )


def _stacked(array: jax.Array, here: Mesh) -> jax.Array:
    """This process's part of [B, ...] as ``pmap`` wants it, [devices here, B / devices, ...]."""
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    parts = [shard.data[None] for shard in shards]
    shape = (len(parts), *parts[0].shape[1:])
    placed = NamedSharding(here, PartitionSpec(BATCH_AXIS))
    return jax.make_array_from_single_device_arrays(shape, placed, parts)


def lift_prediction(
    predict: Callable[[Any, Any], jax.Array], options: ParallelOptions | None = None
) -> Callable[[Any, Any], jax.Array]:
    """``(variables, examples) -> [N, ...]`` over the devices of this process.

    Examples are one array [N, ...] or a tree of them. They are dealt out where their number
    divides by the devices, and else computed on all; the depth of volumes is split as in
    training. Variables have to lie on ``local_mesh`` (see ``place_variables``).
    """
    mesh = local_mesh(options)
    if mesh.size == 1:
        return jax.jit(predict, compiler_options=prediction_options())
    by_device = options is not None and options.chosen == "shard_map"

    def place(array: jax.Array) -> jax.Array:
        placed = split_examples(mesh, array.shape)
        if array.shape[0] % mesh.shape[BATCH_AXIS]:
            placed = NamedSharding(mesh, PartitionSpec(None, *placed.spec[1:]))
        return jax.lax.with_sharding_constraint(array, placed)

    def spread(variables: Any, examples: Any) -> jax.Array:
        number = jax.tree.leaves(examples)[0].shape[0]
        run = predict
        if by_device and number % mesh.size == 0:
            run = jax.shard_map(
                predict,
                mesh=mesh,
                in_specs=(PartitionSpec(), PartitionSpec(BATCH_AXIS)),
                out_specs=PartitionSpec(BATCH_AXIS),
                check_vma=False,
            )
        found = run(variables, jax.tree.map(place, examples))
        return jax.lax.with_sharding_constraint(found, replicated(mesh))

    return jax.jit(spread, compiler_options=prediction_options())


def place_variables(variables: Any, options: ParallelOptions) -> Any:
    """Host or one-device arrays, whole on each device of this process."""
    return jax.device_put(variables, replicated(local_mesh(options)))
