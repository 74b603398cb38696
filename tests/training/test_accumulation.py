"""Micro-batches: the same gradient where it can be, in less memory."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brainjax.augment import AugmentOptions, augment_volumes
from brainjax.complexity import compiled_costs
from brainjax.errors import InputError
from brainjax.layers import ResidualBlock
from brainjax.losses import Objective
from brainjax.models.outputs import SegmentationOutput
from brainjax.training import create_state, train_step
from brainjax.training.state import flat_parameters

EXAMPLES = 4


class Blocks(nn.Module):
    """Residual blocks with group norm and no dropout: examples that do not meet."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> SegmentationOutput:
        features = nn.Dense(8)(image)
        for _ in range(3):
            features = ResidualBlock(norm="group")(features, train)
        return SegmentationOutput(logits=nn.Dense(4)(features))


def unchanged(key: jax.Array, batch: dict):
    del key
    return {"image": batch["image"].astype(jnp.float32)}, batch["labels"]


FLIPS = functools.partial(augment_volumes, options=AugmentOptions())


def make_step(model, objective, *, augment=unchanged, accumulate: int):
    return functools.partial(
        train_step, model=model, objective=objective, optimizer=optax.sgd(1.0),
        learning_rate=lambda step: jnp.float32(1.0), augment=augment, average_decay=0.0,
        accumulate=accumulate,
    )  # fmt: skip


def make_state(model, *, side: int, channels: int):
    image = jax.ShapeDtypeStruct((1, side, side, side, channels), jnp.float32)
    return create_state(
        jax.random.key(0), image, model=model, optimizer=optax.sgd(1.0), keep_average=False
    )


def make_batch(rng, *, side: int, channels: int, classes: int) -> dict:
    return {
        "image": jnp.asarray(rng.normal(size=(EXAMPLES, side, side, side, channels)), jnp.float16),
        "labels": jnp.asarray(rng.integers(0, classes, (EXAMPLES, side, side, side)), jnp.uint8),
    }


@pytest.fixture(autouse=True)
def _plain_convolutions(monkeypatch) -> None:
    monkeypatch.setenv("BRAINJAX_CPU_CONV", "plain")


def test_means_over_examples_give_the_unsplit_step(rng) -> None:
    model, objective = Blocks(), Objective(dice_over="example", cross_entropy_weight=1.0)
    state = make_state(model, side=8, channels=2)
    batch = make_batch(rng, side=8, channels=2, classes=4)
    steps = {
        number: jax.jit(make_step(model, objective, augment=FLIPS, accumulate=number))
        for number in (1, 2, 4)
    }
    whole, metrics = steps[1](state, batch)
    for number in (2, 4):
        split, split_metrics = steps[number](state, batch)
        np.testing.assert_allclose(
            flat_parameters(split.params), flat_parameters(whole.params), atol=2e-6
        )
        assert split_metrics.keys() == metrics.keys()
        for name, value in metrics.items():
            np.testing.assert_allclose(split_metrics[name], value, rtol=1e-4, err_msg=name)


def test_the_dice_over_the_batch_is_that_of_each_micro_batch(rng) -> None:
    model, objective = Blocks(), Objective(dice_over="batch")
    state = make_state(model, side=8, channels=2)
    batch = make_batch(rng, side=8, channels=2, classes=4)
    _, metrics = jax.jit(make_step(model, objective, accumulate=2))(state, batch)
    expected = [
        objective(model.apply({"params": state.params}, image, train=True), labels, 0)[0]
        for image, labels in (
            (batch["image"][part::2].astype(jnp.float32), batch["labels"][part::2])
            for part in (0, 1)
        )
    ]
    np.testing.assert_allclose(metrics["loss"], np.mean(expected), rtol=1e-5)


def test_dropout_and_batch_norm_take_one_micro_batch_after_the_other(model, objective, rng) -> None:
    state = make_state(model, side=4, channels=2)
    batch = make_batch(rng, side=4, channels=2, classes=2)
    split, metrics = jax.jit(make_step(model, objective, accumulate=2))(state, batch)

    _, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    batch_stats, gradients, losses = state.batch_stats, [], []
    for part in (0, 1):

        def loss(params, part=part, batch_stats=batch_stats):
            output, changed = model.apply(
                {"params": params, "batch_stats": batch_stats},
                batch["image"][part::2].astype(jnp.float32),
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.fold_in(dropout_key, part)},
            )
            total, _ = objective(output, batch["labels"][part::2], 0)
            return total, changed["batch_stats"]

        (value, batch_stats), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        losses.append(value)
        gradients.append(flat_parameters(gradient))
    np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-5)
    moved = flat_parameters(state.params) - flat_parameters(split.params)
    np.testing.assert_allclose(moved, np.mean(gradients, axis=0), rtol=1e-3, atol=1e-6)
    for ours, expected in zip(
        jax.tree.leaves(split.batch_stats), jax.tree.leaves(batch_stats), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_one_bad_example_spoils_the_whole_step(model, objective, rng) -> None:
    state = make_state(model, side=4, channels=2)
    batch = make_batch(rng, side=4, channels=2, classes=2)
    batch["image"] = batch["image"].at[1, 0, 0, 0, 0].set(jnp.nan)
    after, metrics = jax.jit(make_step(model, objective, accumulate=2))(state, batch)
    assert int(after.skipped) == 1
    assert float(metrics["finite/loss"]) == 0
    for part in ("params", "batch_stats"):
        for old, new in zip(
            *(jax.tree.leaves(getattr(which, part)) for which in (state, after)), strict=True
        ):
            np.testing.assert_array_equal(old, new)


def test_unsplit_there_is_no_loop(model, objective, rng) -> None:
    state = make_state(model, side=4, channels=2)
    batch = make_batch(rng, side=4, channels=2, classes=2)
    programs = [
        str(jax.make_jaxpr(make_step(model, objective, accumulate=number))(state, batch))
        for number in (1, 2)
    ]
    assert ["scan[" in program for program in programs] == [False, True]


def test_temporary_memory_falls() -> None:
    model, objective = Blocks(), Objective()
    state = jax.eval_shape(lambda: make_state(model, side=16, channels=2))
    batch = jax.eval_shape(
        lambda: make_batch(np.random.default_rng(0), side=16, channels=2, classes=4)
    )
    whole, half, quarter = (
        compiled_costs(make_step(model, objective, accumulate=number), state, batch).temporary_bytes
        for number in (1, 2, 4)
    )
    assert half < 0.7 * whole
    assert quarter < 0.45 * whole


def test_a_batch_that_does_not_divide_is_named(model, objective, rng) -> None:
    state = make_state(model, side=4, channels=2)
    batch = make_batch(rng, side=4, channels=2, classes=2)
    for number in (3, 8):
        told = f"batch_size 4 does not divide by batches.accumulate {number}; .* 1, 2, 4"
        with pytest.raises(InputError, match=told):
            make_step(model, objective, accumulate=number)(state, batch)
    with pytest.raises(InputError, match="1 or more"):
        make_step(model, objective, accumulate=0)(state, batch)
