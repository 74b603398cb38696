"""Losses by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.losses import (
    Objective,
    attention_loss,
    deep_supervision_weights,
    inter_class_loss,
    region_dice_loss,
    sample_labels_down,
    soft_dice_loss,
)
from brainjax.models import SegmentationOutput


def test_perfect_prediction_loses_nothing():
    labels = jnp.arange(4).reshape(1, 4)
    loss = soft_dice_loss(jax.nn.one_hot(labels, 4), labels)
    assert float(loss) == pytest.approx(0.0, abs=2e-5)


def test_dice_over_batch_and_over_examples():
    # Class 1. Example 0: p 1, 1, 0, 0 and t 1, 0, 0, 0; example 1: p all 0 and t 0, 1, 1, 1.
    foreground = jnp.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    probabilities = jnp.stack([1 - foreground, foreground], axis=-1)
    labels = jnp.array([[1, 0, 0, 0], [0, 1, 1, 1]], jnp.uint8)
    batch = soft_dice_loss(probabilities, labels, classes=(1,))
    assert float(batch) == pytest.approx(1 - 2 / 6, abs=1e-5)
    example = soft_dice_loss(probabilities, labels, classes=(1,), over="example")
    assert float(example) == pytest.approx(((1 - 2 / 3) + 1) / 2, abs=1e-5)


def test_dice_sums_the_classes_asked_for(rng):
    probabilities = jax.nn.softmax(jnp.array(rng.normal(size=(2, 3, 3, 3, 4)), jnp.float32))
    labels = jnp.array(rng.integers(0, 4, size=(2, 3, 3, 3)))
    single = [float(soft_dice_loss(probabilities, labels, classes=(k,))) for k in range(4)]
    assert float(soft_dice_loss(probabilities, labels)) == pytest.approx(sum(single[1:]), rel=1e-5)


def test_absent_class_adds_1_without_gradient():
    labels = jnp.zeros((1, 4, 4), jnp.uint8)
    logits = jnp.ones((1, 4, 4, 2))

    def loss(logits):
        return soft_dice_loss(jax.nn.softmax(logits), labels, classes=(1,))

    value, gradient = jax.value_and_grad(loss)(logits)
    assert float(value) == 1.0
    np.testing.assert_array_equal(gradient, 0.0)


def test_dice_sums_of_a_large_volume_keep_small_probabilities():
    # 2^21 voxels: a running f32 sum would lose what a small probability adds.
    shape = (1, 128, 128, 128)
    foreground = jnp.full(shape, 1e-3).at[:, :64].set(1.0)
    probabilities = jnp.stack([1 - foreground, foreground], axis=-1)
    labels = jnp.zeros(shape, jnp.uint8).at[:, :64].set(1)
    half = 128**3 / 2
    expected = 1 - 2 * half / (half * 1.001 + half)
    loss = jax.jit(soft_dice_loss, static_argnames="classes")(probabilities, labels, classes=(1,))
    assert float(loss) == pytest.approx(expected, rel=0.01)


def test_labels_sampled_down_as_pytorch(rng):
    torch = pytest.importorskip("torch")
    labels = rng.integers(0, 4, size=(2, 16, 24, 155)).astype(np.uint8)
    shape = (2, 3, 19)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(labels)[:, None].float(), shape, mode="nearest"
    )
    ours = sample_labels_down(jnp.array(labels), shape)
    np.testing.assert_array_equal(ours, theirs[:, 0].numpy())
    assert ours.dtype == jnp.uint8


def test_attention_loss_counts_every_class():
    labels = jnp.zeros((1, 8, 8), jnp.uint8).at[0, 0, 0].set(2)
    target = jnp.array([[[[0.0, 0.0, 1.0, 0.0]]]])
    assert float(attention_loss(target, labels)) == 0.0
    assert float(attention_loss(jnp.zeros_like(target), labels)) == 0.25


def test_inter_class_loss_in_both_forms():
    distance = jnp.array([1.0, 3.0])
    paper = (math.log(1 / 2) + math.log(1 / 4)) / 2
    assert float(inter_class_loss(distance)) == pytest.approx(paper, rel=1e-6)
    released = float(inter_class_loss(distance, form="released"))
    assert released == pytest.approx(10 * math.log(1 + 100 / 4), rel=1e-6)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_inter_class_loss_is_finite_at_zero(form):
    value, gradient = jax.value_and_grad(lambda d: inter_class_loss(d, form=form))(jnp.zeros(2))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def output(distance=(3.0, 3.0)):
    logits = jnp.zeros((2, 8, 8, 4))
    attention = jnp.full((2, 1, 1, 4), 0.25)
    return SegmentationOutput(logits=logits, attention=attention, distance=jnp.array(distance))


LABELS = jnp.ones((2, 8, 8), jnp.uint8)


def test_objective_adds_weighted_parts():
    objective = Objective(dice_weight=2.0, attention_weight=20.0, inter_weight=0.5)
    total, parts = objective(output(), LABELS, 0)
    dice = (1 - 2 * 32 / (32 + 128)) + 1 + 1  # p = 1/4 of 128 voxels, all of class 1
    error = (3 * 0.25**2 + 0.75**2) / 4
    assert float(parts["dice_loss"]) == pytest.approx(dice, rel=1e-5)
    assert float(parts["attention_loss"]) == pytest.approx(error, rel=1e-6)
    assert float(parts["inter_loss"]) == pytest.approx(-math.log(4), rel=1e-6)
    assert float(parts["distance"]) == 3.0
    assert float(total) == pytest.approx(2 * dice + 20 * error - 0.5 * math.log(4), rel=1e-5)
    assert float(parts["loss"]) == float(total)
    assert all(p.dtype == jnp.float32 and p.shape == () for p in parts.values())


def test_objective_tells_how_far_apart_each_pair_of_prototypes_is():
    prototypes = jnp.array([[[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]], [[0.0, 0.0]] * 3])
    named = dataclasses.replace(output(), prototypes=prototypes)
    total, parts = Objective()(named, LABELS, 0)
    assert float(parts["prototype_distance/0_1"]) == 2.5  # the mean of 5 and 0
    assert float(parts["prototype_distance/0_2"]) == 0.5
    assert float(parts["prototype_distance/1_2"]) == pytest.approx(18**0.5 / 2, rel=1e-6)
    assert float(total) == float(Objective()(output(), LABELS, 0)[0])


def test_inter_class_loss_starts_at_its_step_without_another_trace():
    traces = []

    @jax.jit
    def run(output, step):
        traces.append(None)
        return Objective(inter_start_step=5)(output, LABELS, step)

    before, parts = run(output(), jnp.int32(4))
    after, _ = run(output(), jnp.int32(5))
    assert float(after - before) == pytest.approx(-math.log(4), rel=1e-4)
    assert float(parts["inter_loss"]) == pytest.approx(-math.log(4), rel=1e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("form", ["paper", "released"])
def test_inter_class_loss_that_has_not_started_has_no_gradient(form):
    objective = Objective(inter_form=form, inter_start_step=5)

    def total(distance):
        return objective(output(distance), LABELS, 0)[0]

    np.testing.assert_array_equal(jax.grad(total)(jnp.zeros(2)), 0.0)


def test_sign_flips_the_inter_class_loss_only():
    apart, parts = Objective()(output(), LABELS, 0)
    together, flipped = Objective(inter_sign=-1)(output(), LABELS, 0)
    assert float(together - apart) == pytest.approx(2 * math.log(4), rel=1e-5)
    assert float(flipped["inter_loss"]) == -float(parts["inter_loss"])


def test_baseline_without_attention_has_dice_only():
    total, parts = Objective()(SegmentationOutput(logits=output().logits), LABELS, 0)
    assert set(parts) == {"loss", "dice_loss"}
    assert float(total) == float(parts["dice_loss"])


def test_losses_of_bfloat16_are_float32():
    rough = jax.tree.map(lambda x: x.astype(jnp.bfloat16), output())
    total, parts = Objective()(rough, LABELS, 0)
    assert all(p.dtype == jnp.float32 for p in (total, *parts.values()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: soft_dice_loss(jnp.ones((1, 2, 2)), jnp.ones((1, 2)), over="voxel"), "over is"),
        (lambda: inter_class_loss(jnp.ones(1), form="new"), "form is"),
    ],
)
def test_unknown_options_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_cross_entropy_penalises_false_voxels_of_an_absent_class() -> None:
    """Uniform logits over 4 classes: the Dice of absent classes is flat, ln 4 is not."""
    labels = jnp.zeros((1, 2, 2, 2), jnp.uint8)
    output = SegmentationOutput(logits=jnp.zeros((1, 2, 2, 2, 4)))
    plain, _ = Objective()(output, labels, 0)
    total, parts = Objective(cross_entropy_weight=0.5)(output, labels, 0)
    np.testing.assert_allclose(parts["cross_entropy_loss"], np.log(4), rtol=1e-6)
    np.testing.assert_allclose(total, plain + 0.5 * np.log(4), rtol=1e-6)


def test_coarser_heads_count_half_each_and_the_coarsest_nothing():
    # Uniform logits but at the middle head: it is sure of class 1, which is right in one of
    # its two voxels (labels 1 and 2 at even places). Cross-entropy there: (0 + 100) / 2.
    labels = jnp.array([[1, 0, 2, 0]], jnp.uint8)
    middle = jnp.array([[[0.0, 100.0, 0.0, 0.0]] * 2])
    supervised = SegmentationOutput(
        logits=jnp.zeros((1, 4, 4)),
        coarse_logits=(middle, jnp.full((1, 1, 4), 7.0)),
    )
    total, parts = Objective(cross_entropy_weight=1.0)(supervised, labels, 0)
    # Finest: p = 1/4 of 4 voxels, one voxel each of classes 1 and 2, none of class 3.
    finest = 2 * (1 - 2 * 0.25 / (1 + 1)) + 1
    coarser = (1 - 2 * 1 / (2 + 1)) + 1 + 1
    expected = 2 / 3 * (finest + math.log(4)) + 1 / 3 * (coarser + 50)
    assert float(total) == pytest.approx(expected, rel=1e-4)
    assert float(parts["dice_loss"]) == pytest.approx(finest, rel=1e-4)
    assert float(parts["cross_entropy_loss"]) == pytest.approx(math.log(4), rel=1e-5)


@pytest.mark.parametrize("heads", range(1, 7))
def test_weights_of_heads_sum_to_one(heads):
    weights = deep_supervision_weights(heads)
    assert sum(weights) == pytest.approx(1.0)
    assert len(weights) == heads
    for one, next_one in itertools.pairwise(weights[: max(1, heads - 1)]):
        assert next_one == one / 2


REGIONS = ((1, 2, 3), (1, 3), (3,))


def test_regions_by_hand():
    # Two voxels, oedema and enhancing. WT is in both; TC and ET in the second.
    labels = jnp.array([[2, 3]], jnp.uint8)
    logits = jnp.array([[[0.0, 0.0, -100.0], [0.0, 100.0, 100.0]]])
    total, parts = Objective(cross_entropy_weight=2.0, regions=REGIONS)(
        SegmentationOutput(logits=logits), labels, 0
    )
    whole = 1 - 2 * 1.0 / (1 + 2)  # p = 1/2 twice
    core = 1 - 2 * 1.0 / (1.5 + 1)
    assert float(parts["dice_loss"]) == pytest.approx(whole + core, abs=1e-4)
    entropy = 3 * math.log(2) / 6  # three undecided of six
    assert float(parts["cross_entropy_loss"]) == pytest.approx(entropy, rel=1e-5)
    assert float(total) == pytest.approx(whole + core + 2 * entropy, abs=1e-4)


def test_region_dice_of_one_class_each_is_the_dice_of_classes(rng):
    labels = jnp.array(rng.integers(0, 4, size=(2, 3, 3, 3)))
    logits = jnp.array(rng.normal(size=(2, 3, 3, 3, 3)), jnp.float32)
    ours = region_dice_loss(logits, labels, ((1,), (2,), (3,)), over="example")
    padded = jnp.concatenate([jnp.zeros_like(logits[..., :1]), jax.nn.sigmoid(logits)], axis=-1)
    theirs = soft_dice_loss(padded, labels, over="example")
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
