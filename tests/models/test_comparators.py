"""The comparators: sizes derived by hand, invariants, input shapes, agreement with PyTorch."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.losses import Objective
from brainjax.models import (
    MODELS,
    AttentionUNet,
    KiUNet3D,
    PlainConvUNet,
    ResidualEncoderUNet,
    UNet3D,
    VNet,
)

BLOCKS = (1, 3, 4, 6, 6, 6)
NARROW = {
    "unet3d": UNet3D(base_width=4, deep_supervision=True),
    "vnet": VNet(base_width=4, norm="instance", deep_supervision=True),
    "attention_unet": AttentionUNet(base_width=4, deep_supervision=True),
    "kiunet3d": KiUNet3D(base_width=2, deep_supervision=True),
    "nnunet": PlainConvUNet(base_width=4, stages=3),
    "resenc_unet": ResidualEncoderUNet(base_width=4, stages=3, blocks=(1, 1, 2)),
}
SPATIAL = {"kiunet3d": (8, 16), "nnunet": (16, 24), "resenc_unet": (16, 24), "unet3d": (16, 24)}


def abstract(model, spatial=(32, 32, 32), channels=4):
    image = jax.ShapeDtypeStruct((2, *spatial, channels), jnp.float32)
    return jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x), image)


def size(model, **options):
    return sum(leaf.size for leaf in jax.tree.leaves(abstract(model, **options)[1]["params"]))


def conv(inputs, outputs, taps=27, bias=True):
    return taps * inputs * outputs + bias * outputs


def test_unet3d_has_the_paper_s_number_of_weights():
    # "The architecture has 19069955 parameters in total": 3 channels in, 3 labels out, batch
    # norm's two numbers for each of the convolutions' channels not counted.
    channels = (32, 64, 64, 128, 128, 256, 256, 512, 256, 256, 128, 128, 64, 64)
    assert size(UNet3D(num_classes=3), channels=3) == 19_069_955 + 2 * sum(channels)


def test_vnet_s_number_of_parameters():
    # By the authors' prototxt: one, one, two, three and three convolutions down, three, two,
    # one and one up, all 5x5x5; each but the last 1x1x1 with bias and a slope a channel.
    expected = conv(4, 16, 125) + 16
    for width, convolutions in ((32, 1), (64, 2), (128, 3), (256, 3)):
        expected += conv(width // 2, width, 8) + width
        expected += convolutions * (conv(width, width, 125) + width)
    inputs = 256
    for width, convolutions in ((256, 3), (128, 2), (64, 1), (32, 1)):
        expected += conv(inputs, width // 2, 8) + width // 2
        expected += convolutions * (conv(width, width, 125) + width)
        inputs = width
    expected += conv(32, 4, 125) + 4 + conv(4, 4, 1)
    assert size(VNet()) == expected == 61_996_700


def test_attention_unet_s_number_of_parameters():
    widths = (16, 32, 64, 128, 256)

    def normed(inputs, outputs, taps=27):
        return conv(inputs, outputs, taps) + 2 * outputs

    expected, inputs = 0, 4
    for width in widths:
        expected += normed(inputs, width) + normed(width, width)
        inputs = width
    expected += normed(256, 256, 1)  # the gating signal
    for below, width in ((256, 128), (128, 64), (64, 32), (32, 16)):
        expected += normed(below + width, width) + normed(width, width)
        if width > 16:
            theta, phi, psi = conv(width, width, 8, bias=False), conv(below, width, 1), width + 1
            expected += theta + phi + psi + 2 * normed(width, width, 1)
    expected += sum(conv(width, 4, 1) for width in widths[:4]) + conv(16, 4, 1)
    # Also what PyTorch counts of the authors' unet_CT_single_att_dsv_3D.
    assert size(AttentionUNet()) == expected == 6_215_447
    assert size(AttentionUNet(deep_supervision=True)) == expected


@pytest.mark.parametrize("width", [1, 3])
def test_kiunet3d_s_number_of_parameters(width):
    n, bare = width, functools.partial(conv, bias=False)
    unet = bare(4, n) + bare(n, 2 * n) + bare(2 * n, 4 * n) + bare(4 * n, 2 * n)
    kite = bare(4, n) + bare(n, 2 * n) + 2 * bare(2 * n, 2 * n)
    ends = 2 * (bare(2 * n, 2 * n) + bare(2 * n, 4))
    fusion = 2 * conv(n, n) + 6 * conv(2 * n, 2 * n) + conv(2 * n, 4 * n) + conv(4 * n, 2 * n)
    expected = unet + kite + ends + fusion + conv(4, 4, 1)
    assert size(KiUNet3D(base_width=width)) == expected
    # PyTorch counts 2,846 in the authors' kiunet3dwcrfb: with two convolutions of n channels
    # that are never used, and without a bias of the head.
    if width == 1:
        assert expected - 4 + 2 * conv(1, 1) == 2_846


def test_nnunet_s_number_of_parameters():
    widths, expected, inputs = (32, 64, 128, 256, 320, 320), 0, 4
    for width in widths:
        expected += conv(inputs, width) + conv(width, width) + 4 * width
        inputs = width
    for width in widths[-2::-1]:
        expected += conv(inputs, width, 8) + conv(2 * width, width) + conv(width, width) + 4 * width
        expected += conv(width, 4, 1)
        inputs = width
    # Also what PyTorch counts of PlainConvUNet in dynamic_network_architectures 0.4.4.
    assert size(PlainConvUNet()) == expected == 31_199_796


def test_residual_encoder_s_number_of_parameters():
    widths, inputs = (32, 64, 128, 256, 320, 320), 32
    expected = conv(4, 32) + 2 * 32
    for width, blocks in zip(widths, BLOCKS, strict=True):
        expected += conv(inputs, width) + (2 * blocks - 1) * conv(width, width) + 4 * blocks * width
        if inputs != width:
            expected += conv(inputs, width, 1, bias=False) + 2 * width
        inputs = width
    for width in widths[-2::-1]:
        expected += conv(inputs, width, 8) + conv(2 * width, width) + 2 * width + conv(width, 4, 1)
        inputs = width
    # Also what PyTorch counts of ResidualEncoderUNet in dynamic_network_architectures 0.4.4.
    assert size(ResidualEncoderUNet()) == expected == 102_353_972


@pytest.mark.parametrize("name", NARROW)
def test_shapes_types_and_heads(name):
    model = NARROW[name].clone(num_classes=3, dtype=jnp.bfloat16)
    assert isinstance(model, MODELS[name])
    output, variables = abstract(model)
    assert output.logits.shape == (2, 32, 32, 32, 3)
    assert output.coarse_logits
    for level, logits in enumerate(output.coarse_logits, start=1):
        assert logits.shape == (2, *(32 // 2**level,) * 3, 3)
    assert {leaf.dtype for leaf in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}
    assert abstract(model.clone(deep_supervision=False))[0].coarse_logits == ()


@pytest.mark.parametrize("name", NARROW)
def test_patches_that_cannot_be_halved_are_refused_with_a_better_one(name):
    model = NARROW[name]
    step = 2**model.halvings
    wrong, better = 3 * step + step // 2, 3 * step
    with pytest.raises(InputError) as caught:
        abstract(model, spatial=(64, wrong, 64))
    assert str(caught.value) == (
        f"patch_shape (64, {wrong}, 64) does not divide by {step}: the network halves each axis "
        f"{model.halvings} times; try (64, {better}, 64)"
    )


def test_vnet_refuses_a_width_that_the_modalities_do_not_make_up():
    with pytest.raises(InputError, match="base_width 16 is not a multiple of the image's 3"):
        abstract(VNet(), channels=3)


@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_any_network_takes_any_norm(norm):
    for model in NARROW.values():
        groups = 2 if model.base_width == 2 else 4
        changed = model.clone(norm=norm, norm_groups=groups)
        if norm == "group" and isinstance(model, KiUNet3D):
            changed = changed.clone(base_width=4, num_classes=4)
        _, variables = abstract(changed, spatial=(16, 16))
        assert ("batch_stats" in variables) == (norm == "batch")
    with pytest.raises(ValueError, match="norm is 'batch', 'group', 'instance' or 'none'"):
        abstract(PlainConvUNet(base_width=4, norm="layer"))


def leaves(tree):
    return [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(tree)]


def drawn(tree, rng):
    """Parameters for their shapes, without compiling the network's own draw."""

    def draw(path, leaf):
        name = path[-1].key
        noise = rng.normal(size=leaf.shape)
        if name == "kernel":
            return jnp.array(noise / np.prod(leaf.shape[:-1]) ** 0.5, leaf.dtype)
        start = {"scale": 1.0, "var": 1.0, "slope": 0.25}.get(name, 0.0)
        return jnp.array(start + 0.05 * noise, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, tree)


INSTANCE_NORM = ("nnunet", "resenc_unet")
LONG_TO_COMPILE = ("attention_unet", "vnet")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in LONG_TO_COMPILE else ()) for n in NARROW],
)
def test_invariants(name, rng):
    """Batch order is nothing, one trace, bf16 is near, gradients are finite and everywhere."""
    model = NARROW[name]
    spatial = SPATIAL.get(name, (16, 32))
    variables = drawn(abstract(model, spatial=spatial)[1], rng)
    x = jnp.array(rng.normal(size=(2, *spatial, 4)), jnp.float32)
    traces = []

    @jax.jit
    def run(params, x):
        traces.append(None)

        def total(params, x):
            output = model.apply({**variables, "params": params}, x)
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(output)), output

        gradients, output = jax.grad(total, argnums=(0, 1), has_aux=True)(params, x)
        return output, gradients

    output, (gradients, inputs) = run(variables["params"], x)
    turned, (_, turned_inputs) = run(variables["params"], x[::-1])
    assert len(traces) == 1
    for ours, other in zip(leaves((output, inputs)), leaves((turned, turned_inputs)), strict=True):
        np.testing.assert_allclose(ours[::-1], other, atol=1e-4 * np.abs(ours).max())
    assert all(np.isfinite(leaf).all() for leaf in leaves((output, gradients, inputs)))
    assert np.abs(inputs).max() > 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        place = jax.tree_util.keystr(path)
        if name in INSTANCE_NORM and place.endswith("['conv']['bias']"):
            assert np.abs(leaf).max() < 1e-6, place  # the norm takes it away with the mean
        else:
            assert np.abs(leaf).max() > 0, place

    rough = jax.jit(model.clone(dtype=jnp.bfloat16).apply)(variables, x)
    error = np.abs(np.asarray(rough.logits - output.logits)) / np.abs(output.logits).max()
    assert error.mean() < 0.03
    assert error.max() < 0.25


def test_compiled_and_eager_are_the_same(rng):
    model = PlainConvUNet(base_width=4, stages=2)
    variables = drawn(abstract(model, spatial=(8, 8))[1], rng)
    x = jnp.array(rng.normal(size=(1, 8, 8, 4)), jnp.float32)
    compiled = jax.jit(model.apply)(variables, x)
    for ours, eager in zip(leaves(compiled), leaves(model.apply(variables, x)), strict=True):
        np.testing.assert_allclose(ours, eager, atol=1e-4)


def to_torch(x):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.moveaxis(np.asarray(x), -1, 1).copy())


def parameters_of(reference):
    """The reference's parameters as our tree."""
    params: dict = {}
    for name, value in reference.named_parameters():
        *path, last = name.split(".")
        node = params
        for part in path:
            node = node.setdefault(part, {})
        array = value.detach().numpy()
        if array.ndim == 5:
            order = (2, 3, 4, 0, 1) if path[-1].endswith("_up") else (2, 3, 4, 1, 0)
            node["kernel"] = jnp.array(array.transpose(order))
        else:
            node["scale" if (path[-1], last) == ("norm", "weight") else last] = jnp.array(array)
    return params


@pytest.mark.parametrize(("stages", "blocks"), [(3, None), (2, (1, 2))], ids=["plain", "residual"])
def test_outputs_and_gradients_equal_pytorch(stages, blocks, rng):
    torch = pytest.importorskip("torch")
    from benchmarks.torch_reference.nnunet import NNUNet

    reference = NNUNet(width=4, stages=stages, blocks=blocks)
    with torch.no_grad():
        for value in reference.parameters():
            noise = torch.from_numpy(rng.normal(size=tuple(value.shape)).astype(np.float32))
            fan_in = int(np.prod(value.shape[1:])) or 1
            value.copy_(noise / fan_in**0.5 if value.ndim == 5 else 0.5 + 0.2 * noise)
    params = parameters_of(reference)
    model = (
        ResidualEncoderUNet(base_width=4, stages=stages, blocks=blocks)
        if blocks
        else PlainConvUNet(base_width=4, stages=stages)
    )
    x = rng.normal(size=(2, 8, 12, 16, 4)).astype(np.float32)
    weights = [
        rng.normal(size=(2, *(n // s for n in (8, 12, 16)), 4)) for s in (1, 2)[: stages - 1]
    ]

    @jax.jit
    def run(params, x):
        def loss(params, x):
            output = model.apply({"params": params}, x)
            heads = (output.logits, *output.coarse_logits)
            return sum(jnp.sum(h * w) for h, w in zip(heads, weights, strict=True)), heads

        (_, heads), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)
        return heads, gradients

    heads, (gradients, input_gradient) = run(params, jnp.array(x))
    reference.double()
    volume = to_torch(x).double().requires_grad_()
    theirs = reference(volume)
    sum((h * to_torch(w)).sum() for h, w in zip(theirs, weights, strict=True)).backward()
    for ours, head in zip(heads, theirs, strict=True):
        np.testing.assert_allclose(ours, np.moveaxis(head.detach().numpy(), 1, -1), atol=2e-4)
    expected = np.moveaxis(volume.grad.numpy(), 1, -1)
    np.testing.assert_allclose(input_gradient, expected, atol=5e-3 * np.abs(expected).max())
    with torch.no_grad():
        for value in reference.parameters():
            value.copy_(value.grad)
    for path, value in jax.tree_util.tree_leaves_with_path(parameters_of(reference)):
        ours = functools.reduce(lambda node, key: node[key.key], path, gradients)
        largest = max(np.abs(value).max(), 1e-2)  # a bias before a norm has none
        np.testing.assert_allclose(ours, value, atol=5e-3 * largest, err_msg=str(path))


def test_deep_supervision_trains_all_heads_but_the_coarsest(rng):
    model = PlainConvUNet(base_width=2, stages=4)
    x = jnp.array(rng.normal(size=(1, 16, 16, 4)), jnp.float32)
    labels = jnp.array(rng.integers(0, 4, size=(1, 16, 16)))
    params = drawn(abstract(model, spatial=(16, 16))[1], rng)["params"]

    def total(params):
        return Objective(cross_entropy_weight=1.0)(model.apply({"params": params}, x), labels, 0)[0]

    gradients = jax.jit(jax.grad(total))(params)
    trained = {
        name: bool(np.abs(gradients[name]["kernel"]).max() > 0)
        for name in ("head", "head2", "head3")
    }
    assert trained == {"head": True, "head2": True, "head3": False}
