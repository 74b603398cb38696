"""Losses of classifiers against PyTorch and hand-derived numbers."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.losses.classification import (
    ClassificationObjective,
    balanced_class_weights,
    cross_entropy,
    focal_loss,
)

WEIGHTS = (0.5, 2.0, 1.0, 3.0)


@dataclasses.dataclass
class Output:
    logits: jax.Array


def make_logits(size: int = 7, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(size, classes)).astype(np.float32), rng.integers(0, classes, size)


def one_hot(labels: np.ndarray, classes: int = 4) -> jax.Array:
    return jax.nn.one_hot(jnp.asarray(labels), classes)


@pytest.mark.parametrize("weights", [(), WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_and_its_gradient_are_pytorchs(
    weights: tuple[float, ...], smoothing: float
) -> None:
    torch = pytest.importorskip("torch")
    logits, labels = make_logits()
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        theirs,
        torch.tensor(labels),
        weight=torch.tensor(weights) if weights else None,
        label_smoothing=smoothing,
    )
    expected.backward()
    loss, gradient = jax.value_and_grad(
        lambda z: cross_entropy(z, one_hot(labels), weights, label_smoothing=smoothing)
    )(jnp.asarray(logits))
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), atol=1e-6)


def test_soft_targets_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    logits, _ = make_logits()
    targets = np.random.default_rng(1).dirichlet(np.ones(4), 7).astype(np.float32)
    expected = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(targets))
    found = cross_entropy(jnp.asarray(logits), jnp.asarray(targets))
    np.testing.assert_allclose(found, expected.item(), rtol=1e-6)


def test_focal_loss_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    logits = jnp.asarray(np.log(probabilities), jnp.float32)
    found = focal_loss(logits, one_hot(np.array([0, 0]), 2), gamma=2.0, alpha=0.25)
    expected = 0.25 * (0.1**2 * -math.log(0.9) + 0.8**2 * -math.log(0.2)) / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_soft_targets_counts_every_class_as_keras_does() -> None:
    logits, _ = make_logits()
    targets = np.random.default_rng(1).dirichlet(np.ones(4), 7)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    expected = (0.25 * (1 - p) ** 2 * -np.log(p) * targets).sum(1).mean()
    found = focal_loss(jnp.asarray(logits), jnp.asarray(targets, jnp.float32))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", [(), WEIGHTS])
def test_focal_loss_without_focus_is_cross_entropy(weights: tuple[float, ...]) -> None:
    logits, labels = make_logits()
    focal = focal_loss(
        jnp.asarray(logits), one_hot(labels), gamma=0.0, alpha=1.0, class_weights=weights
    )
    np.testing.assert_array_equal(
        focal, cross_entropy(jnp.asarray(logits), one_hot(labels), weights)
    )


@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_extreme_logits_give_finite_losses_and_gradients(size: float, gamma: float) -> None:
    logits = size * jnp.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    targets = one_hot(np.array([0, 0, 1]), 3)
    for function in (cross_entropy, lambda z, t: focal_loss(z, t, gamma=gamma)):
        loss, gradient = jax.value_and_grad(function)(logits, targets)
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()
    assert gradient[1, 0] < 0  # wrong with certainty: the true class is drawn up


def test_a_certain_right_answer_costs_nothing() -> None:
    logits = jnp.array([[200.0, 0.0]])
    assert float(focal_loss(logits, one_hot(np.array([0]), 2))) == 0
    assert float(cross_entropy(logits, one_hot(np.array([0]), 2))) == 0


def test_half_precision_logits_are_worked_out_in_f32() -> None:
    logits, labels = make_logits()
    loss = focal_loss(jnp.asarray(logits, jnp.bfloat16), one_hot(labels))
    assert loss.dtype == jnp.float32
    exact = focal_loss(jnp.asarray(logits), one_hot(labels))
    np.testing.assert_allclose(loss, exact, rtol=0.02)


@pytest.mark.parametrize(
    "objective",
    [
        ClassificationObjective(),
        ClassificationObjective(loss="focal"),
        ClassificationObjective(class_weights=WEIGHTS),
        ClassificationObjective(label_smoothing=0.1),
    ],
)
def test_objective_names_its_parts(objective: ClassificationObjective) -> None:
    logits, labels = make_logits()
    output = Output(jnp.asarray(logits))
    call = jax.jit(lambda labels: objective(output, labels, 0))
    total, parts = call(jnp.asarray(labels))
    np.testing.assert_array_equal(total, parts["loss"])
    assert float(parts["accuracy"]) == pytest.approx((logits.argmax(1) == labels).mean())
    assert all(part.dtype == jnp.float32 and part.shape == () for part in parts.values())
    plain = cross_entropy(output.logits, one_hot(labels))
    if objective == ClassificationObjective():
        assert set(parts) == {"loss", "accuracy"}
        np.testing.assert_array_equal(total, plain)
    else:
        np.testing.assert_array_equal(parts["cross_entropy_loss"], plain)
        assert float(total) != float(plain)
    for soft, hard in zip(call(one_hot(labels))[1].values(), parts.values(), strict=True):
        np.testing.assert_array_equal(soft, hard)


def test_unlabelled_examples_do_not_count() -> None:
    logits, labels = make_logits()
    labels[3] = -1
    rest = np.arange(7) != 3
    whole, parts = ClassificationObjective()(Output(jnp.asarray(logits)), jnp.asarray(labels), 0)
    without, few = ClassificationObjective()(
        Output(jnp.asarray(logits[rest])), jnp.asarray(labels[rest]), 0
    )
    np.testing.assert_allclose(whole, without, rtol=1e-6)
    np.testing.assert_allclose(parts["accuracy"], few["accuracy"], rtol=1e-6)
    none, _ = ClassificationObjective()(Output(jnp.asarray(logits)), jnp.full(7, -1), 0)
    assert float(none) == 0


def test_a_class_of_weight_0_does_not_count() -> None:
    logits, labels = make_logits()
    rest = labels != 2
    found = cross_entropy(jnp.asarray(logits), one_hot(labels), (1.0, 1.0, 0.0, 1.0))
    expected = cross_entropy(jnp.asarray(logits[rest]), one_hot(labels[rest]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_balanced_weights_make_classes_count_alike() -> None:
    counts = [10, 20, 30, 40]
    weights = balanced_class_weights(counts)
    np.testing.assert_allclose(np.multiply(weights, counts), 25)
    with pytest.raises(InputError, match="class counts"):
        balanced_class_weights([3, 0])


def test_wrong_number_of_weights_is_told() -> None:
    logits, labels = make_logits()
    with pytest.raises(InputError, match="expected 4, one per class, found 2"):
        cross_entropy(jnp.asarray(logits), one_hot(labels), (1.0, 2.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "hinge"},
        {"gamma": -1.0},
        {"alpha": 0.0},
        {"label_smoothing": 1.0},
        {"class_weights": (1.0, -1.0)},
        {"class_weights": (0.0, 0.0)},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))}: expected"):
        ClassificationObjective(**wrong)
