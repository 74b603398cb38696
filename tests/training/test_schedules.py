"""Learning-rate schedules against hand-derived numbers and PyTorch."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.training.schedules import SCHEDULES, plateau_factor, schedule_factor

SETTINGS: dict[str, Any] = {
    "steps": 400, "steps_per_epoch": 10, "power": 0.9, "constant_epochs": 7, "decay_epochs": 7,
    "decay_factor": 0.1, "final_fraction": 0.0, "cycle_epochs": 4.0,
}  # fmt: skip


def factors(schedule: str, steps: list[int], **changed: Any) -> list[float]:
    factor = schedule_factor(schedule, **{**SETTINGS, **changed})
    return [float(factor(jnp.asarray(step))) for step in steps]


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_constant(schedule: str) -> None:
    assert factors(schedule, [0, 100, 399]) == [1, 1, 1]


def test_step_falls_every_seven_epochs_as_pytorchs() -> None:
    found = factors("step", [0, 69, 70, 139, 140, 210])
    np.testing.assert_allclose(found, [1, 1, 0.1, 0.1, 0.01, 0.001], rtol=1e-5)


def test_exponential_after_is_keras_example() -> None:
    """``lr if epoch < 10 else lr * exp(-0.1)``, of the epoch before."""
    rate, expected = 1.0, []
    for epoch in range(20):
        rate = rate if epoch < 10 else rate * math.exp(-0.1)
        expected.append(rate)
    settings = {"constant_epochs": 10, "decay_factor": math.exp(-0.1)}
    for within in (0, 9):
        steps = [10 * epoch + within for epoch in range(20)]
        found = factors("exponential_after", steps, **settings)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_exponential_without_a_constant_part_falls_from_the_start() -> None:
    found = factors("exponential_after", [0, 10, 20], constant_epochs=0, decay_factor=0.5)
    np.testing.assert_allclose(found, [0.5, 0.25, 0.125])


def test_cosine_goes_from_1_to_the_final_fraction() -> None:
    steps = [0, 100, 200, 300, 400, 500]
    half = math.sqrt(0.5)
    expected = [1, (1 + half) / 2, 0.5, (1 - half) / 2, 0, 0]
    np.testing.assert_allclose(factors("cosine", steps), expected, atol=1e-6)
    np.testing.assert_allclose(
        factors("cosine", steps, final_fraction=0.2), [0.2 + 0.8 * e for e in expected], atol=1e-6
    )


def test_cyclical_is_a_triangle_as_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CyclicLR(
        optimizer, base_lr=0.1, max_lr=1.0, step_size_up=20
    )
    expected = []
    for _ in range(100):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    found = factors("cyclical", list(range(100)), final_fraction=0.1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found[20] == pytest.approx(1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_compiled_equals_eager_and_is_within_0_and_1(schedule: str) -> None:
    factor = schedule_factor(schedule, **{**SETTINGS, "steps": 395})
    steps = jnp.arange(0, 420, 13)
    fast = jax.jit(jax.vmap(factor))(steps)
    np.testing.assert_allclose(fast, [factor(step) for step in steps], atol=1e-6)
    assert fast.dtype == jnp.float32
    assert float(fast.min()) >= 0
    assert float(fast.max()) <= 1


def plateau(scores: list[float], **changed: Any) -> float:
    settings = {"patience": 2, "factor": 0.1, "minimum": 0.0, "threshold": 0.0, **changed}
    return plateau_factor(scores, **settings)


def test_plateau_waits_falls_and_begins_anew() -> None:
    assert plateau([]) == plateau([0.5]) == plateau([0.5, 0.5]) == 1
    assert plateau([0.5, 0.5, 0.4]) == pytest.approx(0.1)
    assert plateau([0.5, 0.5, 0.4, 0.5]) == pytest.approx(0.1)
    assert plateau([0.5, 0.5, 0.4, 0.5, 0.5]) == pytest.approx(0.01)
    assert plateau([0.5, 0.4, 0.6, 0.5, 0.7, 0.6]) == 1  # never twice in a row


def test_plateau_never_rises_again_and_stops_at_its_minimum() -> None:
    assert plateau([0.5, 0.4, 0.4, 0.6, 0.7, 0.8]) == pytest.approx(0.1)
    assert plateau([0.5] * 20, minimum=0.05) == 0.05


def test_plateau_counts_only_what_beats_the_best_by_the_threshold() -> None:
    rising = [0.50, 0.505, 0.51]
    assert plateau(rising) == 1
    assert plateau(rising, threshold=0.02) == pytest.approx(0.1)
    assert plateau([-3.0, -2.0, -1.0]) == 1  # losses with their sign turned
    assert plateau([0.5, math.nan, math.nan]) == pytest.approx(0.1)


def test_plateau_is_pytorchs_on_random_scores() -> None:
    """PyTorch waits for one more validation than Keras: its patience is one less."""
    torch = pytest.importorskip("torch")
    scores = np.random.default_rng(0).uniform(size=60).cumsum() % 7
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.7, patience=2, threshold=0.1, threshold_mode="abs", eps=0
    )
    for n, score in enumerate(scores, start=1):
        scheduler.step(score)
        found = plateau(list(scores[:n]), patience=3, factor=0.7, threshold=0.1)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"])
    assert found < 0.5
