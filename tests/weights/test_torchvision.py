"""Classifiers with converted weights against PyTorch's with the same ones."""

from __future__ import annotations

import importlib
import os
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brainjax.layers.cpu_convolution import SWITCH
from brainjax.models.cnn import CNN
from brainjax.models.densenet import DenseNet
from brainjax.models.resnet import ResNet
from brainjax.models.vgg import VGG
from brainjax.weights.torchvision import convert, export

torch = pytest.importorskip("torch")


def reference(name):
    return importlib.import_module(f"benchmarks.torch_reference.{name}")


resnet, vgg, densenet, cnn = map(reference, ("resnet", "vgg", "densenet", "classifier_cnn"))


def randomise(module, seed=0):
    """Weights that keep the signal's size, and running statistics that are not 0 and 1."""
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                fan_in = layer.weight[0].numel()
                layer.weight.normal_(0, (2 / fan_in) ** 0.5, generator=numbers)
                if layer.bias is not None:
                    layer.bias.normal_(0, 0.1, generator=numbers)
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5, generator=numbers)
                layer.bias.normal_(0, 0.1, generator=numbers)
                layer.running_mean.normal_(0, 0.1, generator=numbers)
                layer.running_var.uniform_(0.5, 1.5, generator=numbers)
    return module.eval()


def tensors_of(module):
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def shapes_of(model, image, texture=None):
    return jax.eval_shape(model.init, jax.random.key(0), image, texture)


def torch_image(image):
    return torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2)))


def logits_of(model, variables, image, texture=None):
    return jax.jit(model.apply)(variables, image, texture).logits


def assert_close(ours, theirs, tolerance=1e-4):
    """Differences relative to the largest value."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def compare(model, module, rng, shape):
    image = rng.random(shape, np.float32)
    randomise(module)
    variables, left = convert(tensors_of(module), shapes_of(model, image), image_channels=shape[-1])
    assert left == ()
    with torch.no_grad():
        expected = module(torch_image(image))
    assert_close(logits_of(model, variables, image), expected)
    return variables


@pytest.mark.parametrize(
    ("depth", "stride_on", "width"),
    [(18, "3x3", 64), (34, "3x3", 16), (50, "3x3", 16), (50, "1x1", 16)],
)
def test_resnet_logits(rng, depth, stride_on, width):
    """Whole for 18 layers, a quarter as wide for more."""
    model = ResNet(num_classes=10, depth=depth, stride_on=stride_on, width=width)
    module = resnet.ResNet(depth, classes=10, stride_on=stride_on, width=width)
    compare(model, module, rng, (2, 72, 64, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "stride_on"), [(34, "3x3"), (50, "3x3"), (50, "1x1")])
def test_whole_resnet_logits(rng, depth, stride_on):
    module = resnet.ResNet(depth, stride_on=stride_on)
    compare(ResNet(depth=depth, stride_on=stride_on), module, rng, (1, 96, 96, 3))


@pytest.mark.parametrize("width", [4, pytest.param(64, marks=pytest.mark.slow)])
def test_vgg_11_logits(rng, width):
    """With the ImageNet head; what 96 x 64 pixels leave is averaged to 7x7."""
    model, module = VGG(num_classes=10, depth=11, width=width), vgg.VGG(11, 10, width=width)
    compare(model, module, rng, (1, 96, 64, 3))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg_logits_with_a_hidden_layer(rng, batch_norm):
    model = VGG(num_classes=10, batch_norm=batch_norm, head="hidden", hidden=(32,), width=16)
    module = vgg.VGG(16, classes=10, batch_norm=batch_norm, hidden=(32,), width=16, side=3)
    compare(model, module, rng, (2, 96, 96, 3))


@pytest.mark.slow
def test_whole_vgg_16_bn_logits(rng):
    compare(VGG(batch_norm=True), vgg.VGG(16, batch_norm=True), rng, (1, 224, 224, 3))


def test_densenet_logits(rng):
    model = DenseNet(num_classes=10, stage_sizes=(2, 3, 2, 2), growth=16)
    module = densenet.DenseNet((2, 3, 2, 2), 16, classes=10)
    compare(model, module, rng, (2, 64, 80, 3))


@pytest.mark.slow
def test_densenet_121_logits(rng):
    compare(DenseNet(), densenet.DenseNet(), rng, (1, 96, 96, 3))


def test_paper_4_baseline_logits(rng):
    module = cnn.CNN((32, 32), (32,), 32 * 6 * 6, 4)
    variables = compare(CNN(num_classes=4), module, rng, (3, 30, 30, 1))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 46_596


@pytest.mark.parametrize("batch_norm", [False, True])
def test_paper_2_logits(rng, batch_norm):
    """Its six convolutions, an eighth as wide, on images whose sides differ."""
    widths = (8, 32, 64, 128, 128, 128)
    model = CNN(num_classes=3, widths=widths, hidden=(16,), padding="same", batch_norm=batch_norm)
    module = cnn.CNN(widths, (16,), 128 * 2, 3, channels=3, padding="same", batch_norm=batch_norm)
    compare(model, module, rng, (2, 128, 64, 3))


def test_texture_comes_after_the_flattened_features(rng):
    image, texture = rng.random((2, 30, 24, 1), np.float32), rng.random((2, 12), np.float32)
    module = randomise(cnn.CNN((32, 32), (32,), 32 * 6 * 4 + 12, 4))
    model = CNN(num_classes=4)
    variables, _ = convert(tensors_of(module), shapes_of(model, image, texture), image_channels=1)
    with torch.no_grad():
        expected = module(torch_image(image), torch.from_numpy(texture))
    assert_close(logits_of(model, variables, image, texture), expected)
    for name, value in export(variables).items():
        np.testing.assert_array_equal(value, module.state_dict()[name].numpy(), err_msg=name)


@pytest.mark.parametrize("width", [16, pytest.param(64, marks=pytest.mark.slow)])
def test_resnet_input_gradients(rng, width):
    image = rng.random((2, 64, 64, 3), np.float32)
    weights = rng.normal(size=(2, 10)).astype(np.float32)
    module = randomise(resnet.ResNet(18, classes=10, width=width))
    model = ResNet(num_classes=10, width=width)
    variables, _ = convert(tensors_of(module), shapes_of(model, image), image_channels=3)

    def weighted(x):
        return (model.apply(variables, x).logits * weights).sum()

    ours = jax.jit(jax.grad(weighted))(image)
    theirs = torch_image(image).requires_grad_()
    (module(theirs) * torch.from_numpy(weights)).sum().backward()
    assert_close(ours, theirs.grad.numpy().transpose(0, 2, 3, 1))


@pytest.fixture(scope="module", params=["plain", "auto"])
def trained(request):
    """Three steps of SGD with momentum and weight decay, ours and PyTorch's: both accounts.

    Ours through XLA's own convolutions, and through those that are chosen here.
    """
    with mock.patch.dict(os.environ, {SWITCH: request.param}):
        return request.param, train_both()


def train_both():
    rng = np.random.default_rng(0)
    image = rng.random((3, 8, 64, 64, 3), np.float32)
    labels = rng.integers(0, 4, (3, 8))
    module = randomise(resnet.ResNet(18, classes=4, width=16)).train()
    model = ResNet(num_classes=4, width=16)
    variables, _ = convert(tensors_of(module), shapes_of(model, image[0]), image_channels=3)
    optimizer = optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.01, momentum=0.9))

    @jax.jit
    def step(variables, state, image, labels):
        def loss_of(params):
            output, moved = model.apply(
                {**variables, "params": params}, image, train=True, mutable=["batch_stats"]
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(output.logits, labels)
            return losses.mean(), moved

        (loss, moved), gradients = jax.value_and_grad(loss_of, has_aux=True)(variables["params"])
        updates, state = optimizer.update(gradients, state, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, **moved}, state, loss

    theirs = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-2)
    state = optimizer.init(variables["params"])
    account = []
    for x, y in zip(image, labels, strict=True):
        variables, state, loss = step(variables, state, x, jnp.asarray(y))
        theirs.zero_grad()
        their_loss = torch.nn.functional.cross_entropy(module(torch_image(x)), torch.from_numpy(y))
        their_loss.backward()
        theirs.step()
        account.append((float(loss), their_loss.item(), export(variables), tensors_of(module)))
    return account


def test_training_steps_agree(trained):
    """Two steps through the fast convolutions; by the third, rounding may decide a ReLU."""
    how, account = trained
    for ours, theirs, parameters, expected in account[: 3 if how == "plain" else 2]:
        assert ours == pytest.approx(theirs, rel=1e-4)
        for name, value in parameters.items():
            assert_close(value, expected[name], 1e-3)


def test_running_statistics_after_one_step(trained):
    _, _, parameters, expected = trained[1][0]
    statistics = [name for name in parameters if "running" in name]
    assert len(statistics) == 40
    for name in statistics:
        assert_close(parameters[name], expected[name])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_first_convolution_for_other_channels(rng, channels):
    """Equal to PyTorch's on an image whose RGB channels are all the mean of ours."""
    module = randomise(cnn.CNN((8,), (), 8 * 3 * 3, 4, channels=3))
    model = CNN(num_classes=4, widths=(8,), hidden=())
    image = rng.random((2, 8, 8, channels), np.float32)
    shapes = shapes_of(model, image)
    variables, left = convert(tensors_of(module), shapes, image_channels=channels)
    assert left == ()
    kernel = variables["params"]["body"]["conv0"]["kernel"]
    mean = module.conv0.weight.detach().numpy().mean(axis=1).transpose(1, 2, 0)
    for channel in range(channels):
        np.testing.assert_allclose(kernel[:, :, channel], mean * 3 / channels, rtol=1e-5, atol=1e-7)
    grey = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1)
    with torch.no_grad():
        expected = module(torch_image(grey))
    assert_close(logits_of(model, variables, image), expected)


def test_a_file_without_texture(rng):
    """Its network answers as before where the texture is zero."""
    image, texture = rng.random((2, 30, 24, 1), np.float32), np.zeros((2, 12), np.float32)
    module = randomise(cnn.CNN((32, 32), (32,), 32 * 6 * 4, 4))
    model = CNN(num_classes=4)
    shapes = shapes_of(model, image, texture)
    fresh = jax.tree.map(lambda leaf: np.full(leaf.shape, 7, leaf.dtype), shapes)
    variables, left = convert(tensors_of(module), fresh, image_channels=1)
    assert left == ("head/hidden_0's 12 rows for the texture",)
    kernel = variables["params"]["head"]["hidden_0"]["kernel"]
    assert (kernel[-12:] == 7).all()
    assert not (kernel[:-12] == 7).any()
    with torch.no_grad():
        expected = module(torch_image(image))
    assert_close(logits_of(model, variables, image, texture), expected)
    with pytest.raises(ValueError, match="head/hidden_0 keeps its initial value"):
        convert(tensors_of(module), shapes, image_channels=1)
