"""Prototypes and their distances, by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.layers import inter_class_distance, intra_class_update, masked_average_pool


@pytest.mark.parametrize("spatial", [(2, 3), (2, 3, 4)])
def test_prototypes_are_means_under_hard_masks(spatial, rng):
    features = rng.normal(size=(2, *spatial, 5)).astype(np.float32)
    labels = rng.integers(0, 2, size=(2, *spatial))  # classes 0 and 1; 2 is absent
    prototypes = masked_average_pool(jnp.array(features), jax.nn.one_hot(labels, 3), epsilon=1e-9)
    for example in range(2):
        for k in range(2):
            mean = features[example][labels[example] == k].mean(axis=0)
            np.testing.assert_allclose(prototypes[example, k], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(prototypes[example, 2], 0.0)


def test_soft_weights_and_epsilon():
    features = jnp.array([[[10.0], [20.0]]])
    mask = jnp.array([[[0.25], [0.5]]])
    # (0.25 * 10 + 0.5 * 20) / (0.75 + 0.25)
    assert float(masked_average_pool(features, mask, epsilon=0.25)[0, 0, 0]) == 12.5


def test_epsilon_of_the_released_code_is_in_voxels():
    prototype = masked_average_pool(jnp.full((1, 1, 1), 1.0), jnp.full((1, 1, 1), 1.0))
    assert float(prototype[0, 0, 0]) == pytest.approx(1 / (1 + 1e-5), abs=1e-7)


def test_pool_then_write_back_keeps_constant_classes(rng):
    labels = rng.integers(0, 3, size=(2, 4, 4, 4))
    values = rng.normal(size=(3, 6)).astype(np.float32)
    features = jnp.array(values[labels])
    mask = jax.nn.one_hot(labels, 3)
    written = intra_class_update(masked_average_pool(features, mask, epsilon=1e-9), mask)
    np.testing.assert_allclose(written, features, rtol=1e-5, atol=1e-6)


def test_only_chosen_classes_are_written(rng):
    labels = rng.integers(0, 4, size=(1, 5, 5))
    mask = jax.nn.one_hot(labels, 4)
    prototypes = jnp.array(rng.normal(size=(1, 4, 3)).astype(np.float32))
    parts = [intra_class_update(prototypes, mask, classes=(k,)) for k in range(4)]
    np.testing.assert_array_equal(np.asarray(parts[2])[labels != 2], 0.0)
    whole = intra_class_update(prototypes, mask)
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-6)
    pair = intra_class_update(prototypes, mask, classes=(1, 3))
    np.testing.assert_allclose(pair, parts[1] + parts[3], rtol=1e-6)


@pytest.mark.parametrize(("form", "expected"), [("paper", 24.0), ("released", 10.0)])
def test_distance_of_a_3_4_5_triangle(form, expected):
    corners = jnp.array([[[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]])
    both = jnp.concatenate([corners, 2 * corners + 7])
    np.testing.assert_allclose(
        inter_class_distance(both, form=form), [expected, 2 * expected], rtol=1e-6
    )


@pytest.mark.parametrize("form", ["paper", "released"])
def test_distance_has_a_finite_gradient_everywhere(form):
    def total(prototypes):
        return jnp.sum(inter_class_distance(prototypes, form=form))

    together = jnp.ones((1, 3, 4))
    np.testing.assert_array_equal(jax.grad(total)(together), 0.0)
    pair_together = together.at[0, 2].set(3.0)
    gradient = jax.grad(total)(pair_together)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[0, 2]).sum() > 0


def test_gradient_of_the_distance_survives_compilation(rng):
    """Compiled code rounds a prototype differently where it is used twice."""
    features = jnp.array(rng.normal(size=(2, 24, 16)), jnp.float32)
    mask = jnp.array(rng.uniform(size=(2, 24, 3)), jnp.float32)

    def total(features):
        prototypes = masked_average_pool(features, mask, epsilon=0.1)
        return jnp.sum(inter_class_distance(prototypes))

    gradient = jax.jit(jax.grad(total))(features)
    x, w = np.asarray(features, np.float64), np.asarray(mask, np.float64)
    w = w / (w.sum(axis=1, keepdims=True) + 0.1)
    p = np.einsum("bnc,bnk->bkc", x, w)
    expected = np.zeros_like(x)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        away = p[:, i] - p[:, j]
        away = 2 * away / np.linalg.norm(away, axis=1, keepdims=True)
        expected += (w[..., i] - w[..., j])[..., None] * away[:, None]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="'paper' or 'released', not 'l1'"):
        inter_class_distance(jnp.ones((1, 2, 2)), form="l1")
