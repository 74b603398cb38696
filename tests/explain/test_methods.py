"""Attributions against finite differences, PyTorch, hand-made networks, and each other."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from benchmarks.torch_reference import classifier_cnn
from brainjax import explain
from brainjax.errors import InputError
from brainjax.explain import METHODS, MethodOptions
from brainjax.layers.activation import ReLU
from brainjax.models import CNN, VGG, CGAUNet, DenseNet, ResNet, UNet
from brainjax.weights import torchvision

OPTIONS = MethodOptions(samples=5, steps=6, window=0.25, stride=0.25)
KEY = jax.random.key(7)
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def network():
    """A small CNN with biases, its variables, images [3, 8, 8, 2] and a class of each."""
    model = CNN(widths=(4, 6), hidden=(5,), num_classes=3, padding="same")
    image = jax.random.uniform(jax.random.key(0), (3, 8, 8, 2))
    variables = jax.jit(model.init)(jax.random.key(1), image)
    draw = np.random.default_rng(2).normal
    variables = jax.tree.map(lambda leaf: leaf + 0.1 * draw(size=leaf.shape), variables)
    return model, variables, image, jnp.array([2, 0, 1])


def target_of(model, variables):
    return explain.class_target(lambda image: model.apply(variables, image).logits)


class Smooth(nn.Module):
    """A network without corners, for finite differences."""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(3, (3, 3), name="conv")(x))
        return nn.Dense(2, name="dense")(x.reshape(x.shape[0], -1) ** 2)


@pytest.fixture(scope="module")
def smooth():
    image = jax.random.normal(jax.random.key(3), (2, 4, 4, 1))
    variables = Smooth().init(jax.random.key(4), image)
    return explain.class_target(lambda x: Smooth().apply(variables, x)), image, jnp.array([1, 0])


def test_gradient_is_that_of_finite_differences(smooth) -> None:
    target, image, aims = smooth
    found = explain.gradient(target, image, aims)
    step = 1e-2
    for place in [(0, 0, 0, 0), (0, 2, 3, 0), (1, 1, 2, 0)]:
        change = jnp.zeros_like(image).at[place].set(step)
        slope = (target(image + change, aims) - target(image - change, aims))[place[0]] / (2 * step)
        assert float(found[place]) == pytest.approx(float(slope), rel=0.01, abs=1e-3)


@pytest.mark.parametrize("baseline", [0.0, 0.5])
def test_integrated_gradients_sum_to_the_difference(smooth, baseline) -> None:
    target, image, aims = smooth
    found = explain.integrated_gradients(target, image, aims, baseline=baseline, steps=16)
    start = jnp.full_like(image, baseline)
    np.testing.assert_allclose(
        found.sum((1, 2, 3)), target(image, aims) - target(start, aims), rtol=1e-4, atol=1e-5
    )


def test_integrated_gradients_are_complete_for_a_network_with_relus(network) -> None:
    model, variables, image, aims = network
    target = target_of(model, variables)
    found = explain.integrated_gradients(target, image, aims, steps=200, chunk=50)
    difference = target(image, aims) - target(jnp.zeros_like(image), aims)
    np.testing.assert_allclose(found.sum((1, 2, 3)), difference, atol=0.01 * np.ptp(difference))


def test_plain_and_integrated_gradients_are_those_of_pytorch() -> None:
    torch.manual_seed(0)
    batch_norm = True
    peer = classifier_cnn.CNN(
        (4, 6), (5,), 6 * 2 * 2, 3, 2, padding="same", batch_norm=batch_norm
    ).eval()
    model = CNN(widths=(4, 6), hidden=(5,), num_classes=3, padding="same", batch_norm=batch_norm)
    image = np.random.default_rng(0).random((2, 8, 8, 2), np.float32)
    tensors = {name: value.numpy() for name, value in peer.state_dict().items()}
    shapes = jax.eval_shape(model.init, KEY, image)
    variables, left = torchvision.convert(tensors, shapes, image_channels=2)
    assert left == ()
    classes, steps = [2, 0], 9

    def slope(x: torch.Tensor, k: int) -> torch.Tensor:
        x = x.clone().requires_grad_(True)
        peer(x[None])[0, k].backward()
        return x.grad

    target = target_of(model, variables)
    integrate = functools.partial(explain.integrated_gradients, target, steps=steps, chunk=4)
    plain = jax.jit(functools.partial(explain.gradient, target))(image, jnp.array(classes))
    whole = jax.jit(integrate)(image, jnp.array(classes))
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    for number, k in enumerate(classes):
        x = torch.from_numpy(image[number]).permute(2, 0, 1)
        np.testing.assert_allclose(plain[number], slope(x, k).permute(1, 2, 0), atol=1e-6)
        mean = sum(
            float(weight) / 2 * slope((float(node) + 1) / 2 * x, k)
            for node, weight in zip(nodes, weights, strict=True)
        )
        np.testing.assert_allclose(whole[number], (mean * x).permute(1, 2, 0), atol=1e-6)


def test_smooth_gradient_of_a_linear_target_is_its_gradient() -> None:
    weight = jnp.array([[1.0, -2.0], [0.5, 0.0]])[..., None]
    image = jax.random.normal(KEY, (2, 2, 2, 1))
    target = lambda x, aims: aims * jnp.sum(weight[None] * x, (1, 2, 3))  # noqa: E731
    found = explain.smooth_gradient(target, image, jnp.array([1.0, 3.0]), key=KEY, samples=4)
    np.testing.assert_allclose(found, jnp.stack([weight, 3 * weight]), rtol=1e-6)


def test_smooth_gradient_of_a_square_is_that_of_the_mean_copy() -> None:
    image = jnp.array([[[[0.0], [4.0]]]])
    target = lambda x, _: jnp.sum(x**2, (1, 2, 3))  # noqa: E731
    found = explain.smooth_gradient(target, image, jnp.zeros(1), key=KEY, samples=2000, noise=0.25)
    # 2 * (x + mean of 2000 draws with sd 1): within 4 standard errors of 2 / sqrt(2000)
    np.testing.assert_allclose(found, 2 * image, atol=4 * 2 / np.sqrt(2000))
    assert float(jnp.abs(found - 2 * image).max()) > 0


class TwoChannels(nn.Module):
    """Channels x and -x / 2 after ReLU; their means over the image times 3 and 5 are classes."""

    @nn.compact
    def __call__(self, x):
        x = Body(name="body")(x)
        return jnp.mean(x, (1, 2)) * jnp.array([[3.0, 5.0]])


class Body(nn.Module):
    """Two feature maps of half the image's size."""

    @nn.compact
    def __call__(self, x):
        x = nn.avg_pool(x, (2, 2), (2, 2))
        return ReLU()(jnp.concatenate([x, -x / 2], axis=-1))


def test_grad_cam_of_a_network_worked_out_by_hand() -> None:
    small = jnp.array([[8.0, -4.0], [0.0, 2.0]])
    image = jnp.repeat(jnp.repeat(small, 2, 0), 2, 1)[None, :, :, None]
    target = explain.class_target(lambda x: TwoChannels().apply({}, x))
    found = explain.grad_cam(target, jnp.repeat(image, 2, 0), jnp.array([0, 1]), layer="body")
    # The mean gradient of class 0 is 3 / 4 for the first map and 0 for the second.
    for number, coarse in enumerate(([[6.0, 0.0], [0.0, 1.5]], [[0.0, 2.5], [0.0, 0.0]])):
        expected = jax.image.resize(jnp.array(coarse), (4, 4), "linear")
        np.testing.assert_allclose(found[number, ..., 0], expected, atol=1e-6)
    with pytest.raises(InputError, match=r"'tail'.*it has body/ReLU_0, body"):
        explain.grad_cam(target, image, jnp.array([0]), layer="tail")


def test_occlusion_of_a_weighted_sum_is_the_mean_over_windows() -> None:
    image = jnp.arange(1.0, 5.0).reshape(1, 4, 1, 1)
    target = lambda x, aims: aims * jnp.sum(x, (1, 2, 3))  # noqa: E731
    found = explain.occlusion(
        target, image, jnp.array([2.0]), window=(2, 1), strides=(1, 1), chunk=2
    )
    falls = 2 * np.array([1 + 2, 2 + 3, 3 + 4])  # windows that start at 0, 1 and 2
    expected = [falls[0], (falls[0] + falls[1]) / 2, (falls[1] + falls[2]) / 2, falls[2]]
    np.testing.assert_allclose(found[0, :, 0, 0], expected, rtol=1e-6)
    with pytest.raises(InputError, match="do not cover"):
        explain.occlusion(target, image, jnp.array([2.0]), window=(2, 1), strides=(3, 1))


def test_guided_backpropagation_drops_negative_gradients_at_every_relu() -> None:
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = ReLU()(jnp.stack([x, -x, 2 * x], axis=-1))
            return jnp.sum(x * jnp.array([[[-1.0, 1.0, 1.0]]]), axis=-1)

    target = lambda x, _: jnp.sum(Network().apply({}, x), axis=-1)  # noqa: E731
    image = jnp.array([[3.0, -3.0]])
    # At 3 the first passes -1, dropped, and the third 2; at -3 the second passes -1.
    assert explain.guided_backpropagation(target, image, None).tolist() == [[2.0, -1.0]]
    assert explain.gradient(target, image, None).tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("name", METHODS)
def test_pieces_and_compilation_change_nothing(network, name) -> None:
    model, variables, image, aims = network

    @functools.partial(jax.jit, static_argnames="chunk")
    def compiled(variables, image, aims, chunk):
        options = dataclasses.replace(OPTIONS, chunk=chunk)
        return METHODS[name](target_of(model, variables), image, aims, KEY, options)

    whole, pieces = (compiled(variables, image, aims, chunk) for chunk in (0, 2))
    assert whole.shape == image.shape[:-1]
    assert float(whole.min()) >= 0
    assert float(whole.max()) > 0
    tolerance = 1e-5 * float(whole.max())
    np.testing.assert_allclose(pieces, whole, atol=tolerance)
    if name in ("gradient", "grad_cam"):
        eager = METHODS[name](target_of(model, variables), image, aims, KEY, OPTIONS)
        np.testing.assert_allclose(eager, whole, atol=tolerance)


NETWORKS = {
    "cnn": (CNN(widths=(4, 4), hidden=(4,), batch_norm=True, num_classes=3), 2, "body"),
    "resnet": (ResNet(stage_sizes=(1, 1), width=8, num_classes=3), 2, "body/layer1_0"),
    "vgg": (VGG(depth=11, width=2, head="hidden", hidden=(4,), num_classes=3), 2, "body"),
    "densenet": (DenseNet(stage_sizes=(1, 1), growth=4, width=8, num_classes=3), 2, "body"),
    "unet": (UNet(base_width=8), 2, "encoder4_block4"),
    "cga_unet": (CGAUNet(variant="released", base_width=8), 3, "attention/conv2"),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["guided_backpropagation", "grad_cam"])
def test_every_kind_of_method_takes_every_network(network, name) -> None:
    """Traced, not run: that shapes, layers and transformations fit."""
    model, axes, layer = NETWORKS[network]
    image = jax.ShapeDtypeStruct((2, *(32,) * axes, 1), jnp.float32)
    variables = jax.eval_shape(model.init, KEY, image)
    options = dataclasses.replace(OPTIONS, layer=layer, chunk=2)

    def run(variables, image):
        apply = lambda x: model.apply(variables, x).logits  # noqa: E731
        if network.endswith("unet"):
            target, aims = explain.region_target(apply, (1, 3)), jnp.ones(image.shape[:-1])
        else:
            target, aims = explain.class_target(apply), jnp.zeros(2, int)
        return METHODS[name](target, image, aims, KEY, options)

    found = jax.eval_shape(run, variables, image)
    assert found.shape == image.shape[:-1]


def test_region_target_sums_the_logits_under_the_aim() -> None:
    logits = jnp.arange(12.0).reshape(1, 2, 2, 3)
    target = explain.region_target(lambda x: logits, (0, 2))
    aim = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
    assert target(logits, aim).tolist() == [0 + 2 + 9 + 11]


def test_no_network_has_a_relu_that_guided_backpropagation_misses() -> None:
    """Each goes through the layer that can be given another gradient."""
    for folder in ("models", "layers"):
        for file in sorted((ROOT / "brainjax" / folder).glob("*.py")):
            if file.name != "activation.py":
                assert "nn.relu" not in file.read_text(), file


def test_cascade_randomises_from_the_output_down(network) -> None:
    model, variables, image, _ = network
    layers = explain.layers_in_order(lambda v, x: model.apply(v, x), variables, image)
    assert layers == ("body/conv0", "body/conv1", "head/hidden_0", "head/logits")
    random = jax.jit(model.init)(jax.random.key(9), image)
    steps = list(explain.randomisation_cascade(variables, random, layers))
    assert [name for name, _ in steps] == list(reversed(layers))
    first, last = steps[0][1]["params"], steps[-1][1]["params"]
    np.testing.assert_array_equal(
        first["head"]["logits"]["kernel"], random["params"]["head"]["logits"]["kernel"]
    )
    for name in ("conv0", "conv1"):
        np.testing.assert_array_equal(
            first["body"][name]["kernel"], variables["params"]["body"][name]["kernel"]
        )
    jax.tree.map(np.testing.assert_array_equal, last, random["params"])
