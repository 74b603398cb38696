"""The CGA U-Net: size, switches, and agreement with PyTorch."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.layers.dropout import Dropout
from brainjax.losses import Objective
from brainjax.models import MODELS, CGAUNet, UNet
from brainjax.weights import cga_unet as weights

OBJECTIVES = {
    "paper": Objective(),
    "released": Objective(attention_weight=20.0, inter_form="released"),
}


def shapes(model, spatial=(32, 32, 32), channels=4, train=False):
    image = jax.ShapeDtypeStruct((1, *spatial, channels), jnp.float32)
    return jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=train), image
    )


def size(model, **options):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(model, **options)[1]["params"]))


def test_released_variant_has_the_released_number_of_parameters():
    assert size(CGAUNet(variant="released")) == 4_768_616


def test_paper_variant_differs_by_the_reducing_convolutions_only():
    # 3x3x3 for 1x1x1: 26 more taps for two convolutions 2w -> w at w = 64, 32, 16.
    more = sum(2 * 26 * 2 * width * width for width in (64, 32, 16))
    assert size(CGAUNet(variant="paper")) == 4_768_616 + more


def test_baseline_is_the_network_without_its_attention_path():
    attention = 10_368 + 36
    for variant in ("paper", "released"):
        whole = size(CGAUNet(variant=variant))
        assert size(CGAUNet(variant=variant, intra=False, inter=False)) == whole - attention
        assert size(UNet(variant=variant)) == whole - attention
    output, _ = shapes(UNet())
    assert output.logits.shape == (1, 32, 32, 32, 4)
    assert output.attention is None
    assert output.distance is None


def test_switches_decide_what_comes_out():
    output, _ = shapes(CGAUNet(inter=False))
    assert output.distance is None
    assert output.attention.shape == (1, 4, 4, 4, 4)
    assert output.features_after.shape == output.features_before.shape == (1, 4, 4, 4, 128)
    output, _ = shapes(CGAUNet(intra=False))
    assert output.distance.shape == (1,)
    assert output.prototypes.shape == (1, 4, 128)
    _, variables = shapes(CGAUNet(attention_from="features"))
    assert variables["params"]["attention"]["conv"]["kernel"].shape == (1, 1, 1, 128, 4)


def test_two_dimensions_other_channels_and_classes():
    output, variables = shapes(CGAUNet(num_classes=3, base_width=8), spatial=(24, 16), channels=2)
    assert output.logits.shape == (1, 24, 16, 3)
    assert output.attention.shape == (1, 3, 2, 3)
    assert variables["params"]["init_conv"]["kernel"].shape == (3, 3, 2, 8)


def test_types_in_bfloat16():
    output, variables = shapes(CGAUNet(dtype=jnp.bfloat16))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    assert output.features_after.dtype == jnp.bfloat16
    for value in (output.logits, output.attention, output.prototypes, output.distance):
        assert value.dtype == jnp.float32


@pytest.mark.parametrize(
    ("shape", "nearest"), [((100, 128, 128), (96, 128, 128)), ((128, 5, 155), (128, 8, 152))]
)
def test_shapes_that_cannot_be_halved_are_refused_with_a_better_one(shape, nearest):
    with pytest.raises(InputError) as caught:
        shapes(CGAUNet(), spatial=shape)
    assert str(caught.value) == (
        f"patch_shape {shape} does not divide by 8: the network halves each axis 3 times; "
        f"try {nearest}"
    )


def test_unknown_variant_is_refused():
    with pytest.raises(InputError, match="'paper' or 'released', not 'draft'"):
        shapes(CGAUNet(variant="draft"))


def test_names_become_classes():
    assert MODELS["cga_unet"] is CGAUNet
    assert MODELS["unet"] is UNet


def test_single_class_update_changes_features_under_its_mask_only(rng):
    x = jnp.array(rng.normal(size=(1, 32, 32, 4)), jnp.float32)
    model = CGAUNet(variant="released", base_width=8, intra_classes=(2,))

    @jax.jit
    def run(x):
        output, _ = model.init_with_output(jax.random.key(0), x)
        return output.attention, output.features_before, output.features_after

    attention, before, after = run(x)
    chosen = np.argmax(attention, axis=-1) == 2
    changed = np.abs(after - before).max(axis=-1) > 0
    assert chosen.any()
    np.testing.assert_array_equal(changed, chosen)


def test_dropout_drops_whole_channels_in_training_only(rng):
    x = jnp.array(rng.normal(size=(2, 16, 16, 16, 4)), jnp.float32)
    variables = jax.jit(UNet(base_width=16).init)(jax.random.key(0), x)

    @functools.partial(jax.jit, static_argnames=("train", "rate"))
    def dropped(key, *, train, rate=0.2):
        _, state = UNet(base_width=16, dropout=rate).apply(
            variables,
            x,
            train=train,
            mutable=["intermediates", "batch_stats"],
            capture_intermediates=lambda module, _: isinstance(module, Dropout),
            rngs={"dropout": key},
        )
        return jax.tree.leaves(state.get("intermediates", {}))

    (features,) = map(np.asarray, dropped(jax.random.key(1), train=True))
    empty = (features == 0).reshape(2, -1, 16)
    np.testing.assert_array_equal(empty.all(axis=1), empty.any(axis=1))
    assert 0 < empty.all(axis=1).sum() < 16
    (other,) = dropped(jax.random.key(2), train=True)
    assert (np.asarray(other) != features).any()
    assert not dropped(jax.random.key(1), train=False)
    (full,) = map(np.asarray, dropped(jax.random.key(1), train=True, rate=1e-12))
    assert (full != 0).all()
    kept = features != 0
    np.testing.assert_allclose(features[kept], full[kept] / 0.8, rtol=1e-5)


def randomized(reference, rng):
    """The reference network with every parameter and running statistic random."""
    import torch

    for name, value in reference.state_dict().items():
        fan_in = int(np.prod(value.shape[1:])) or 1
        noise = torch.from_numpy(rng.normal(size=tuple(value.shape)).astype(np.float32))
        if "bn" in name and name.endswith(("weight", "running_var")):
            value.copy_(1 + 0.2 * noise.abs())
        elif value.ndim == 5:
            value.copy_(noise / fan_in**0.5)
        elif value.is_floating_point():
            value.copy_(0.2 * noise)
    return reference


def variables_of(reference, variant):
    """Our variables with the reference's numbers; ``convert`` knows the released one."""
    state = {name: value.numpy() for name, value in reference.state_dict().items()}
    if variant == "released":
        return weights.convert(state, base_width=8)
    params, statistics = {}, {}
    for theirs, (path, kind) in weights.names().items():
        value = state[theirs]
        if value.ndim == 5:
            value = value.transpose(weights.TO_OURS[kind])
        weights._insert(params, path, jnp.array(value))
        if kind == "norm" and path[-1] == "scale":
            theirs = theirs.removesuffix("weight")
            for ours, name in (("mean", "running_mean"), ("var", "running_var")):
                weights._insert(statistics, (*path[:-1], ours), jnp.array(state[theirs + name]))
    return {"params": params, "batch_stats": statistics}


@pytest.mark.parametrize(("variant", "checkpoint"), [("released", False), ("paper", True)])
def test_outputs_and_gradients_equal_pytorch(variant, checkpoint):
    torch = pytest.importorskip("torch")
    # With some numbers an activation's sign hangs on the last digit (5 % of a gradient).
    rng = np.random.default_rng(3)
    from benchmarks.torch_reference.cga_unet import CGAUNet as Reference
    from benchmarks.torch_reference.cga_unet import total_loss

    reference = randomized(Reference(variant, width=8), rng)
    variables = variables_of(reference, variant)
    image = rng.normal(size=(2, 16, 24, 32, 4)).astype(np.float32)
    labels = rng.integers(0, 4, size=(2, 16, 24, 32)).astype(np.uint8)
    model = CGAUNet(variant=variant, base_width=8, dropout=0.0, checkpoint_blocks=checkpoint)

    train = variant == "paper"  # batch norm by the batch; without it both are the same

    @jax.jit
    def run(variables, image):
        def loss(params):
            output, _ = model.apply(
                {**variables, "params": params}, image, train=train, mutable=["batch_stats"]
            )
            total, _ = OBJECTIVES[variant](output, labels, 0)
            return total, output

        (total, output), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        return output, total, {"params": gradients}

    output, total, gradients = run(variables, jnp.array(image))

    x = torch.from_numpy(np.moveaxis(image, -1, 1).copy())
    reference.train(train)
    with torch.no_grad():
        probabilities, attention, distance = (v.numpy() for v in reference(x))
    softmax = jax.nn.softmax(output.logits)
    np.testing.assert_allclose(softmax, np.moveaxis(probabilities, 1, -1), atol=1e-4)
    np.testing.assert_allclose(output.attention, np.moveaxis(attention, 1, -1), atol=1e-4)
    np.testing.assert_allclose(output.distance, distance, rtol=1e-4)

    # Gradients in f64: PyTorch's own f32 ones are a few in a thousand off where the sign
    # of an activation is decided by rounding.
    reference.double()
    theirs = total_loss(variant, *reference(x.double()), torch.from_numpy(labels))
    theirs.backward()
    assert float(total) == pytest.approx(float(theirs.detach()), rel=1e-4)
    named = dict(reference.named_parameters())
    for name, ours in weights.export(gradients).items():
        if name == weights.UNUSED:
            continue
        expected = named[name].grad.numpy()
        largest = np.abs(expected).max()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=5e-3 * largest + 1e-6, err_msg=name)
