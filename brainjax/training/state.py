"""Everything that a training step changes, as data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """What has to be saved to go on as if nothing had happened.

    Attributes:
      step: int32 scalar, updates tried so far (skipped ones included).
      params: parameters of the network, f32.
      batch_stats: running statistics of batch norm; empty without batch norm.
      average: exponential moving average of ``params``; empty when not wanted.
      optimizer: state of the optax transformation of ``flat_parameters(params)``.
      key: the run's random key; step keys are ``fold_in(key, step)``, so
        nothing random needs saving besides.
      skipped: int32 scalar, updates left out because something was not finite.
      skipped_in_a_row: int32 scalar, how many of them since the last good one.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    average: Any
    optimizer: Any
    key: jax.Array
    skipped: jax.Array
    skipped_in_a_row: jax.Array

    def variables(self) -> dict[str, Any]:
        """Variables for prediction: the averaged parameters where they are kept."""
        params = self.average if jax.tree.leaves(self.average) else self.params
        return {"params": params, "batch_stats": self.batch_stats}


def flat_parameters(tree: Any) -> jax.Array:
    """All leaves of a tree of f32 arrays in one vector [P].

    The optimiser works on this vector: one large update costs far less to
    compile and to launch than a hundred small ones.
    """
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def shaped_parameters(vector: jax.Array, like: Any) -> Any:
    """Undoes ``flat_parameters``: a tree as ``like`` with the entries of ``vector`` [P]."""
    leaves, structure = jax.tree.leaves(like), jax.tree.structure(like)
    ends = list(itertools.accumulate(leaf.size for leaf in leaves))
    parts = jnp.split(vector, ends[:-1])
    shaped = [jnp.reshape(part, leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def create_state(
    key: jax.Array,
    image: jax.ShapeDtypeStruct | jax.Array,
    *,
    inputs: Mapping[str, jax.ShapeDtypeStruct] | None = None,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    keep_average: bool,
) -> TrainState:
    """Initialises a network and its optimiser.

    Args:
      key: typed random key; one half initialises, the other stays in the state.
      image: [B, D, H, W, C] or [B, H, W, C], only shape and type matter.
      inputs: what else the network takes, by name.
      model: the network, called as ``model(image, **inputs, train=...)``.
      optimizer: optax transformation.
      keep_average: whether to keep a moving average of the parameters.
    """
    init_key, run_key = jax.random.split(key)
    zeros: dict[str, Any] = {
        name: jnp.zeros(like.shape, like.dtype) for name, like in (inputs or {}).items()
    }
    variables = model.init(init_key, jnp.zeros(image.shape, image.dtype), **zeros, train=False)
    params = flax.core.unfreeze(variables["params"])
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=flax.core.unfreeze(variables.get("batch_stats", {})),
        average=jax.tree.map(jnp.copy, params) if keep_average else {},
        optimizer=optimizer.init(flat_parameters(params)),
        key=run_key,
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_a_row=jnp.zeros((), jnp.int32),
    )
