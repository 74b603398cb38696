"""What every layer has to hold, in two and three dimensions."""

from __future__ import annotations

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax import layers


def image(rank, channels=4):
    return (4, *(16, 8, 24)[:rank], channels)


def small(rank, channels=16):
    return (4, *(2, 1, 3)[:rank], channels)


def half(rank, channels=8):
    return (4, *(8, 4, 12)[:rank], channels)


def pool(features, mask):
    return layers.masked_average_pool(features, jax.nn.softmax(mask.astype(jnp.float32)))


def distance(form):
    return lambda prototypes: layers.inter_class_distance(prototypes, form=form)


# Name: (function or module, shapes of its inputs by rank, keyword arguments).
LAYERS = {
    "group_norm": (layers.GroupNorm(8, relu=True), lambda r: [small(r)], {}),
    "instance_norm": (
        layers.InstanceNorm(relu=True, negative_slope=0.01), lambda r: [small(r)], {},
    ),
    "conv_block": (layers.ConvBlock(8, activation="prelu"), lambda r: [small(r)], {}),
    "attention_gate": (layers.AttentionGate(), lambda r: [image(r), half(r)], {}),
    "batch_norm": (layers.BatchNorm(relu=True), lambda r: [small(r)], {"train": False}),
    "pool": (pool, lambda r: [small(r), small(r, 3)], {}),
    "update": (layers.intra_class_update, lambda r: [(4, 3, 8), small(r, 3)], {}),
    "distance": (distance("paper"), lambda r: [(4, 3, 8)], {}),
    "released_distance": (distance("released"), lambda r: [(4, 3, 8)], {}),
    "supervised": (layers.SupervisedAttention(), lambda r: [image(r), small(r)], {}),
    "self_attention": (layers.SelfAttention(), lambda r: [small(r)], {}),
    "context_prior": (layers.ContextPrior(), lambda r: [small(r)], {}),
    "residual": (layers.ResidualBlock(), lambda r: [small(r)], {}),
}  # fmt: skip


def leaves(tree):
    return [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, rank, rng):
    layer, shapes, options = LAYERS[name]
    inputs = [jnp.array(rng.normal(size=shape), jnp.float32) for shape in shapes(rank)]
    if callable(getattr(layer, "init", None)):
        init = functools.partial(layer.init, **options)
        variables = jax.jit(init)(jax.random.key(0), *inputs)
    else:
        variables, function = {}, layer
    traces = []

    def run(variables, *inputs):
        traces.append(None)
        if variables:
            return layer.apply(variables, *inputs, **options)
        return function(*inputs)

    compiled = jax.jit(run)
    output = compiled(variables, *inputs)
    order = np.array([2, 0, 3, 1])
    permuted = compiled(variables, *(x[order] for x in inputs))
    for ours, other in zip(leaves(output), leaves(permuted), strict=True):
        np.testing.assert_allclose(
            ours[order], other, rtol=1e-4, atol=1e-5, err_msg="batch order matters"
        )
    assert len(traces) == 1, "the same shapes were traced again"

    if rank == 2:  # once is enough: every operation is compiled on its own
        for ours, eager in zip(leaves(output), leaves(run(variables, *inputs)), strict=True):
            np.testing.assert_allclose(
                ours, eager, rtol=1e-4, atol=1e-5, err_msg="jit is not eager"
            )

    def total(variables, *inputs):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(run(variables, *inputs)))

    gradients = jax.jit(jax.grad(total, argnums=tuple(range(len(inputs) + 1))))(variables, *inputs)
    assert all(np.isfinite(g).all() for g in leaves(gradients)), "a gradient is not finite"
    for gradient in gradients[1:]:
        assert np.abs(gradient).max() > 0, "an input has no gradient"

    rough = compiled(variables, *(x.astype(jnp.bfloat16) for x in inputs))
    for ours, near in zip(leaves(output), leaves(rough), strict=True):
        scale = np.abs(ours).max()
        np.testing.assert_allclose(near, ours, atol=0.05 * scale, err_msg="bf16 is far off")


def test_importing_layers_brings_no_data_pipeline_or_file_format():
    unwanted = ("grain", "tensorflow_datasets", "nibabel", "orbax")
    code = (
        f"import sys, brainjax.layers; print([name for name in {unwanted} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
