"""The step: pure, reproducible, and safe against numbers that are not finite."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.augment import AugmentOptions, augment_volumes
from brainjax.training import train_step

AUGMENT = functools.partial(
    augment_volumes,
    options=AugmentOptions(
        flip_probability=0.5, intensity_scale=(0.9, 1.1), intensity_shift=(-0.1, 0.1)
    ),
)


@pytest.fixture
def step(model, objective, optimizer):
    return functools.partial(
        train_step, model=model, objective=objective, optimizer=optimizer,
        learning_rate=lambda step: jnp.float32(1e-2), augment=AUGMENT, average_decay=0.9,
    )  # fmt: skip


@pytest.fixture
def batch(rng) -> dict:
    return {
        "image": jnp.asarray(rng.normal(size=(2, 4, 4, 4, 2)), jnp.float16),
        "labels": jnp.asarray(rng.integers(0, 2, (2, 4, 4, 4)), jnp.uint8),
    }


def test_jit_is_eager_and_a_step_repeats_exactly(state, batch, step) -> None:
    eager, metrics = step(state, batch)
    compiled, _ = jax.jit(step)(state, batch)
    again, _ = jax.jit(step)(state, batch)
    for a, b in zip(jax.tree.leaves(eager.params), jax.tree.leaves(compiled.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    for a, b in zip(jax.tree.leaves(compiled.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(eager.step) == 1
    assert np.isfinite(float(metrics["loss"]))


def test_the_loss_falls(state, batch, step) -> None:
    compiled = jax.jit(step)
    losses = []
    for _ in range(60):
        state, metrics = compiled(state, batch)
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_a_step_that_is_not_finite_changes_nothing_but_the_counters(state, batch, step) -> None:
    bad = {**batch, "image": batch["image"].at[0, 0, 0, 0, 0].set(jnp.nan)}
    after, metrics = jax.jit(step)(state, bad)
    for name in ("params", "batch_stats", "average", "optimizer"):
        before_leaves, after_leaves = (
            jax.tree.leaves(getattr(which, name)) for which in (state, after)
        )
        for a, b in zip(before_leaves, after_leaves, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (int(after.step), int(after.skipped), int(after.skipped_in_a_row)) == (1, 1, 1)
    assert float(metrics["finite/loss"]) == 0
    good, metrics = jax.jit(step)(after, batch)
    assert (int(good.skipped), int(good.skipped_in_a_row)) == (1, 0)
    assert float(metrics["finite/loss"]) == 1


def test_the_average_lies_between_old_and_new(state, batch, step) -> None:
    after, _ = step(state, batch)
    old, new, average = (
        np.asarray(jax.tree.leaves(tree)[0]) for tree in (state.params, after.params, after.average)
    )
    # The first step's decay is (1 + 0) / (10 + 0), so that the start is forgotten soon.
    np.testing.assert_allclose(average, 0.1 * old + 0.9 * new, rtol=1e-5, atol=1e-7)


def test_the_rate_factor_scales_the_update_and_the_logged_rate(state, batch, step) -> None:
    whole, metrics = step(state, batch)
    half, halved = step(state, batch, 0.5)
    before, after, between = (
        np.asarray(jax.tree.leaves(which.params)[0]) for which in (state, whole, half)
    )
    np.testing.assert_allclose(between, (before + after) / 2, rtol=1e-5, atol=1e-7)
    assert float(halved["learning_rate"]) == 0.5 * float(metrics["learning_rate"])
