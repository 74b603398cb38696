"""How a state lies on the devices between steps: whole on each, or in parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from brainjax.layers.manual_axes import BATCH_AXIS
from brainjax.parallel import ParallelOptions, replicated
from brainjax.training.state import TrainState

Step = Callable[..., tuple[TrainState, Any]]


class StoredState:
    """The layout of a ``TrainState`` on a mesh.

    With ``shard_parameters`` each array of the network's parameters is split along its
    longest axis that divides by the devices of ``data`` (and stays whole without one), and
    the optimiser's vectors are padded at their end and split. A step gathers the parameters;
    gradients and optimiser state stay in parts.

    Attributes:
      shardings: where each array of the state lies, for ``out_shardings``.
    """

    def __init__(self, like: TrainState, mesh: Mesh, options: ParallelOptions) -> None:
        self._whole = replicated(mesh)
        self._parts = mesh.shape[BATCH_AXIS]
        self._split = NamedSharding(mesh, PartitionSpec(BATCH_AXIS))
        self._active = options.shard_parameters
        self._size = sum(leaf.size for leaf in jax.tree.leaves(like.params))
        self.shardings: Any = self._layout(like, mesh) if self._active else self._whole

    def pack(self, state: TrainState) -> TrainState:
        """A state as it is kept and saved."""
        return self._with_vectors(state, self._pad)

    def unpack(self, state: TrainState) -> TrainState:
        """Undoes ``pack``."""
        return self._with_vectors(state, lambda vector: vector[: self._size])

    def step(self, step: Step) -> Step:
        """``step`` of a state as that of a packed one."""
        if not self._active:
            return step

        def packed(state: TrainState, *arguments: Any) -> tuple[TrainState, Any]:
            state, metrics = step(self._gathered(self.unpack(state)), *arguments)
            return self.pack(self._gathered(state)), metrics

        return packed

    def _gathered(self, state: TrainState) -> TrainState:
        """The state with parameters whole on every device, inside a program."""
        params, average = jax.lax.with_sharding_constraint(
            (state.params, state.average), self._whole
        )
        return dataclasses.replace(state, params=params, average=average)

    def _with_vectors(self, state: TrainState, change: Callable[[Any], Any]) -> TrainState:
        """The state with the optimiser's vectors changed."""
        if not self._active:
            return state
        optimizer = jax.tree.map(
            lambda leaf: change(leaf) if leaf.ndim == 1 else leaf, state.optimizer
        )
        return dataclasses.replace(state, optimizer=optimizer)

    def _pad(self, vector: jax.Array) -> jax.Array:
        return jnp.pad(vector, (0, -vector.shape[0] % self._parts))

    def _layout(self, like: TrainState, mesh: Mesh) -> Any:
        def along_longest_axis(leaf: Any) -> NamedSharding:
            fitting = [n for n, size in enumerate(leaf.shape) if size % self._parts == 0]
            if not fitting:
                return self._whole
            axis = max(fitting, key=lambda n: leaf.shape[n])
            return NamedSharding(mesh, PartitionSpec(*(None,) * axis, BATCH_AXIS))

        everywhere = jax.tree.map(lambda leaf: self._whole, like)
        return dataclasses.replace(
            everywhere,
            params=jax.tree.map(along_longest_axis, like.params),
            average=jax.tree.map(along_longest_axis, like.average),
            optimizer=jax.tree.map(
                lambda leaf: self._split if leaf.ndim == 1 else self._whole, like.optimizer
            ),
        )
