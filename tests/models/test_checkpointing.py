"""Checkpointed blocks: the same gradients, with less kept for the backward pass."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.losses import Objective
from brainjax.models import CGAUNet
from brainjax.parallel import training_options


def loss_of(model: CGAUNet, image: jax.Array, labels: jax.Array):
    def loss(params) -> jax.Array:
        output = model.apply({"params": params}, image, train=True)
        return Objective()(output, labels, 0)[0]

    return loss


def models() -> list[CGAUNet]:
    return [
        CGAUNet(variant="released", base_width=8, dropout=0.0, checkpoint_blocks=checkpoint)
        for checkpoint in (False, True)
    ]


def test_less_than_half_is_kept_for_the_backward_pass() -> None:
    image = jax.ShapeDtypeStruct((1, 32, 32, 32, 4), jnp.float32)
    labels = jax.ShapeDtypeStruct((1, 32, 32, 32), jnp.uint8)
    kept = []
    for model in models():
        variables = jax.eval_shape(model.init, jax.random.key(0), image)

        def residuals(params, image, labels, model=model):
            return jax.vjp(loss_of(model, image, labels), params)[1]

        leaves = jax.tree.leaves(jax.eval_shape(residuals, variables["params"], image, labels))
        kept.append(sum(leaf.size * leaf.dtype.itemsize for leaf in leaves))
    assert kept[1] < 0.5 * kept[0]


def test_temporary_memory_falls_and_gradients_are_equal(monkeypatch, rng) -> None:
    monkeypatch.setenv("BRAINJAX_CPU_CONV", "plain")
    image = jnp.asarray(rng.normal(size=(2, 64, 64, 4)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 4, (2, 64, 64)), jnp.uint8)
    gradients, temporary = [], []
    for model in models():
        params = jax.jit(model.init)(jax.random.key(0), image)["params"]
        gradient = jax.jit(jax.grad(loss_of(model, image, labels))).lower(params)
        compiled = gradient.compile(compiler_options=training_options())
        gradients.append(compiled(params))
        temporary.append(compiled.memory_analysis().temp_size_in_bytes)
    assert temporary[1] < 0.8 * temporary[0]
    for ours, expected in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)
