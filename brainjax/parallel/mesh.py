"""The devices as one mesh, and the way from a host batch to arrays on them.

The mesh has two axes: ``data``, which the batch is split over in blocks of neighbouring
examples, and ``space``, which the depth of volumes is split over. The devices of one
process are neighbours in it, so that a process reads its own block of each batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from brainjax.errors import InputError
from brainjax.layers.manual_axes import BATCH_AXIS
from brainjax.parallel.options import ParallelOptions

SPACE_AXIS = "space"

STEP_INPUTS = ("image", "labels", "texture")
"""What a training step may use of a batch."""


def make_mesh(
    batch_size: int,
    options: ParallelOptions | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Mesh:
    """All devices of all processes, or the given ones, for batches of one size.

    Raises:
      InputError: the devices do not divide by ``space``, or the batch by the rest.
    """
    mesh = _mesh(devices or jax.devices(), options or ParallelOptions())
    parts = mesh.shape[BATCH_AXIS]
    if batch_size % parts:
        below, above = batch_size - batch_size % parts, -(-batch_size // parts)
        shared = f", {space_parts(mesh)} to a volume," if mesh.size > parts else ""
        raise InputError(
            f"batches.batch_size {batch_size} does not divide by the {parts} parts that "
            f"{mesh.size} devices{shared} make of it; try {below or above * parts}"
        )
    return mesh


def local_mesh(options: ParallelOptions | None = None) -> Mesh:
    """The devices of this process alone, for prediction."""
    return _mesh(jax.local_devices(), options or ParallelOptions())


def _mesh(devices: Sequence[jax.Device], options: ParallelOptions) -> Mesh:
    here = sum(device.process_index == devices[0].process_index for device in devices)
    if here % options.space:
        fitting = [str(n) for n in range(1, here + 1) if here % n == 0]
        raise InputError(
            f"parallel.space {options.space} does not divide the {here} devices of this process; "
            f"try {', '.join(fitting)}"
        )
    ordered = np.array(sorted(devices, key=lambda device: (device.process_index, device.id)))
    if options.lift == "pmap":  # knows one axis only
        return Mesh(ordered, (BATCH_AXIS,), axis_types=(AxisType.Auto,))
    grid = ordered.reshape(-1, options.space)
    return Mesh(grid, (BATCH_AXIS, SPACE_AXIS), axis_types=(AxisType.Auto, AxisType.Auto))


def space_parts(mesh: Mesh) -> int:
    """Over how many devices the depth of volumes is split."""
    return mesh.shape.get(SPACE_AXIS, 1)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device: parameters, optimiser state, metrics."""
    return NamedSharding(mesh, PartitionSpec())


def split_examples(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """How an array [B, D, ...] of examples lies on the mesh.

    Raises:
      InputError: there is a ``space`` axis, and the depth does not divide by it.
    """
    space = space_parts(mesh)
    if space == 1:
        return NamedSharding(mesh, PartitionSpec(BATCH_AXIS))
    depth = shape[1] if len(shape) > 3 else 0
    if not depth or depth % space:
        raise InputError(
            f"parallel.space {space} splits volumes along their depth, but a batch of shape "
            f"{tuple(shape)} came; the depth has to divide by {space} (batches.patch_shape, "
            "inference.patch_shape, or inference.multiple for whole volumes)"
        )
    return NamedSharding(mesh, PartitionSpec(BATCH_AXIS, SPACE_AXIS))


def place_batch(batch: dict[str, Any], mesh: Mesh) -> dict[str, jax.Array]:
    """What the training step needs of the batches of all processes, on the devices.

    On CPUs it waits for the copy: a program that is given what is still being copied runs
    in another thread, whose memory is not kept (see ``keep_freed_memory``).

    Args:
      batch: this process's block of the batch; several blocks in the order of their
        processes make the whole one.
      mesh: from ``make_mesh``.
    """
    placed = {name: _place(np.asarray(batch[name]), mesh) for name in STEP_INPUTS if name in batch}
    if mesh.devices.flat[0].platform == "cpu":
        jax.block_until_ready(placed)
    return placed


def _place(block: np.ndarray, mesh: Mesh) -> jax.Array:
    shape = (block.shape[0] * jax.process_count(), *block.shape[1:])
    return jax.make_array_from_process_local_data(split_examples(mesh, shape), block, shape)


def local_copy(tree: Any, mesh: Mesh, options: ParallelOptions) -> Any:
    """Arrays of the whole mesh, whole on each device of this process, for prediction."""
    whole = jax.jit(lambda tree: tree, out_shardings=replicated(mesh))(tree)
    here = replicated(local_mesh(options))

    def copy(array: jax.Array) -> jax.Array:
        parts = [shard.data for shard in array.addressable_shards]
        return jax.make_array_from_single_device_arrays(array.shape, here, parts)

    return jax.tree.map(copy, whole)
