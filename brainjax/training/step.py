"""One update of the parameters, pure: ``(state, batch) -> (state, metrics)``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from brainjax.layers.manual_axes import batch_mean
from brainjax.training.accumulation import Gradient, accumulate_gradients
from brainjax.training.state import TrainState, flat_parameters, shaped_parameters

Metrics = dict[str, jax.Array]
Objective = Callable[..., tuple[jax.Array, Metrics]]
Augment = Callable[[jax.Array, dict[str, jax.Array]], tuple[dict[str, jax.Array], jax.Array]]
"""``(key, batch) -> (inputs of the network by name, labels)``."""


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    rate_factor: jax.Array | float = 1.0,
    *,
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    augment: Augment,
    average_decay: float,
    accumulate: int = 1,
) -> tuple[TrainState, Metrics]:
    """Augments a batch, takes the gradient, and updates unless something is not finite.

    Gives the same on one device, under ``jax.jit`` on many, and inside ``shard_map`` or
    ``pmap`` on the examples of one device along ``manual_axes.BATCH_AXIS``.

    Args:
      state: see ``TrainState``.
      batch: of volumes, ``image`` [B, D, H, W, C] and ``labels`` [B, D, H, W]; of slices,
        ``image`` [B, H, W, C], ``labels`` [B] and what else ``augment`` asks for.
      rate_factor: multiplies the update, for a learning rate that follows validation scores.
      model: the network, ``model(**inputs, train=True)``.
      objective: ``(output, labels, step) -> (total, parts)``, all f32 scalars.
      optimizer: optax transformation that ``state.optimizer`` belongs to.
      learning_rate: its schedule, for the log.
      augment: turns the batch into the network's inputs and the labels that the loss gets.
      average_decay: of the parameters' moving average; 0 leaves it alone.
      accumulate: how many micro-batches the augmented batch is split into, one after the
        other in memory; see ``accumulate_gradients``. 1 takes the batch whole.

    Returns:
      The new state and f32 scalars: the objective's parts, ``gradient_norm``,
      ``update_norm``, ``learning_rate``, and ``finite/<part>`` (1 where that part was finite).
      An update with any part not finite is left out and counted in
      ``state.skipped``.

    Raises:
      InputError: the batch does not divide by ``accumulate``.
    """
    key = jax.random.fold_in(state.key, state.step)
    augment_key, dropout_key = jax.random.split(key)
    augmented, labels = augment(augment_key, batch)

    def gradient_of(
        key: jax.Array, inputs: dict[str, Any], labels: jax.Array, batch_stats: Any
    ) -> Gradient:
        def loss(params: Any) -> tuple[jax.Array, tuple[Metrics, Any]]:
            output, changed = model.apply(
                {"params": params, "batch_stats": batch_stats},
                **inputs,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            total, parts = objective(output, labels, state.step)
            return total, (parts, changed.get("batch_stats", {}))

        gradients, (parts, moved) = jax.grad(loss, has_aux=True)(state.params)
        return flat_parameters(gradients), parts, moved

    gradient, parts, batch_stats = accumulate_gradients(
        gradient_of,
        dropout_key,
        dict(augmented),
        labels,
        state.batch_stats,
        number=accumulate,
        size=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
    )
    # Inside shard_map or pmap every device has the loss of the whole batch, and the gradient
    # of their sum by its own use of the parameters: the mean is that of the whole batch.
    gradient = batch_mean(gradient)
    before = flat_parameters(state.params)
    update, optimizer_state = optimizer.update(gradient, state.optimizer, before)
    update = rate_factor * update
    metrics = {
        **parts,
        "gradient_norm": jnp.linalg.norm(gradient),
        "update_norm": jnp.linalg.norm(update),
    }
    checks = {f"finite/{name}": jnp.isfinite(value) for name, value in metrics.items()}
    finite = jnp.all(jnp.stack(list(checks.values())))

    after = jnp.where(finite, before + update, before)
    params = shaped_parameters(after, state.params)
    average = state.average
    if average_decay:
        decay = jnp.minimum(average_decay, (1.0 + state.step) / (10.0 + state.step))
        old = flat_parameters(state.average)
        average = shaped_parameters(
            jnp.where(finite, decay * old + (1.0 - decay) * after, old), state.average
        )
    batch_stats, optimizer_state = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old),
        (batch_stats, optimizer_state),
        (state.batch_stats, state.optimizer),
    )
    failed = 1 - finite.astype(jnp.int32)
    metrics["learning_rate"] = rate_factor * learning_rate(state.step)
    metrics |= {name: value.astype(jnp.float32) for name, value in checks.items()}
    state = dataclasses.replace(
        state,
        step=state.step + 1,
        skipped=state.skipped + failed,
        skipped_in_a_row=(state.skipped_in_a_row + failed) * failed,
        params=params,
        batch_stats=batch_stats,
        average=average,
        optimizer=optimizer_state,
    )
    return state, metrics


def predict_step(
    variables: dict[str, Any], image: jax.Array, *, model: nn.Module, regions: bool = False
) -> jax.Array:
    """Probabilities of a batch [B, D, H, W, C], in f32.

    Args:
      variables: of the network.
      image: the batch.
      model: the network, ``model(image, train=False)``.
      regions: whether its logits are of regions, which may overlap, and not of classes.

    Returns:
      Those of the classes, [B, D, H, W, K]; or [B, D, H, W, 1 + R]: that of being outside
      of all regions, and that of each region.
    """
    output: Any = model.apply(variables, image, train=False)
    logits = output.logits.astype(jnp.float32)
    if not regions:
        return jax.nn.softmax(logits, axis=-1)
    inside = jax.nn.sigmoid(logits)
    outside = 1.0 - jnp.max(inside, axis=-1, keepdims=True)
    return jnp.concatenate([outside, inside], axis=-1)


def classify_step(
    variables: dict[str, Any], inputs: dict[str, jax.Array], *, model: nn.Module, mirror: bool
) -> jax.Array:
    """Log-probabilities [B, K] of a batch of slices, in f32.

    Args:
      variables: of the network.
      inputs: ``image`` [B, H, W, C] and what else the network takes.
      model: the network, ``model(**inputs, train=False)``.
      mirror: averages the probabilities of the image and of its left-right mirror image.
    """

    def log_probabilities(image: jax.Array) -> jax.Array:
        named: dict[str, Any] = {**inputs, "image": image}
        output: Any = model.apply(variables, **named, train=False)
        return jax.nn.log_softmax(output.logits.astype(jnp.float32), axis=-1)

    image = inputs["image"]
    if not mirror:
        return log_probabilities(image)
    both = jnp.stack([log_probabilities(image), log_probabilities(image[:, :, ::-1])])
    return jax.nn.logsumexp(both, axis=0) - jnp.log(2.0)
