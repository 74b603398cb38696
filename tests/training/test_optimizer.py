"""Schedules and updates against hand-derived numbers."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brainjax.training import OptimizerOptions, learning_rate_schedule, make_optimizer

OPTIONS = OptimizerOptions(
    algorithm="adam", learning_rate=0.1, schedule="constant", power=0.9, warmup_steps=0,
    l2=0.0, clip_norm=0.0, average_decay=0.0,
)  # fmt: skip


def first_update(options: OptimizerOptions, gradient: float, parameter: float) -> float:
    optimizer = make_optimizer(options, steps=10, steps_per_epoch=1)
    params = jnp.array([parameter])
    updates, _ = optimizer.update(jnp.array([gradient]), optimizer.init(params), params)
    return float(optax.apply_updates(params, updates)[0])


@pytest.mark.parametrize("algorithm", ["adam", "amsgrad"])
def test_first_step_is_the_learning_rate_whatever_the_gradient(algorithm: str) -> None:
    options = dataclasses.replace(OPTIONS, algorithm=algorithm)
    assert first_update(options, 5.0, 1.0) == pytest.approx(0.9, abs=1e-5)
    assert first_update(options, -0.02, 1.0) == pytest.approx(1.1, abs=1e-5)


def test_l2_joins_the_gradient_before_the_moments() -> None:
    # gradient 0 + l2 * 1 has sign +1, so Adam's first step is a full one.
    assert first_update(dataclasses.replace(OPTIONS, l2=1e-3), 0.0, 1.0) == pytest.approx(
        0.9, abs=1e-4
    )
    assert first_update(OPTIONS, 0.0, 1.0) == 1.0


def test_polynomial_decay_is_constant_within_an_epoch() -> None:
    options = dataclasses.replace(OPTIONS, schedule="polynomial")
    rate = learning_rate_schedule(options, steps=100, steps_per_epoch=10)
    assert float(rate(0)) == float(rate(9)) == pytest.approx(0.1)
    assert float(rate(50)) == pytest.approx(0.1 * 0.5**0.9)
    assert float(rate(99)) == pytest.approx(0.1 * 0.1**0.9)


def test_warm_up_rises_linearly() -> None:
    options = dataclasses.replace(OPTIONS, warmup_steps=4)
    rate = learning_rate_schedule(options, steps=100, steps_per_epoch=10)
    np.testing.assert_allclose([float(rate(n)) for n in range(5)], [0.025, 0.05, 0.075, 0.1, 0.1])


def test_clipping_bounds_the_gradient_that_adam_sees() -> None:
    options = dataclasses.replace(OPTIONS, clip_norm=1.0)
    optimizer = make_optimizer(options, steps=10, steps_per_epoch=1)
    params = jnp.zeros(2)
    _, state = optimizer.update(jnp.array([30.0, 40.0]), optimizer.init(params), params)
    moments = next(part for part in state if hasattr(part, "mu"))
    np.testing.assert_allclose(moments.mu, 0.1 * np.array([0.6, 0.8]), rtol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"algorithm": "sgdd"}, {"schedule": "linear"}, {"average_decay": 1.0}]
)
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(OPTIONS, **wrong)
