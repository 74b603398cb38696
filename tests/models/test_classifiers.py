"""Classifiers: sizes, names, inputs, frozen bodies, dropout, and what they refuse."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.layers.dropout import Dropout
from brainjax.layers.initialization import he_normal_fan_in, he_normal_fan_out
from brainjax.models.cnn import CNN
from brainjax.models.densenet import DenseNet
from brainjax.models.outputs import ClassificationOutput
from brainjax.models.resnet import ResNet
from brainjax.models.vgg import VGG

PAPER_2 = CNN(
    num_classes=3,
    widths=(64, 256, 512, 1024, 1024, 1024),
    hidden=(128,),
    dropout=0.1,
    padding="same",
)

# Small enough to run, with every kind of part.
SMALL = {
    "basic": ResNet(num_classes=3, stage_sizes=(1, 1), width=8),
    "bottleneck": ResNet(
        num_classes=3,
        stage_sizes=(1, 1),
        block="bottleneck",
        width=4,
        stride_on="1x1",
        stem="small",
    ),
    "vgg": VGG(num_classes=3, depth=11, width=4, head="hidden", hidden=(8,)),
    "vgg_bn": VGG(num_classes=3, depth=11, width=4, batch_norm=True, head="hidden"),
    "densenet": DenseNet(num_classes=3, stage_sizes=(2, 1), growth=4, width=8),
    "cnn": CNN(num_classes=3, widths=(8, 8), hidden=(8,), padding="same"),
    "cnn_bn": CNN(num_classes=3, widths=(8, 8), hidden=(8, 4), batch_norm=True),
}
EAGER = ("bottleneck", "vgg_bn", "densenet", "cnn")  # every operation is compiled on its own
SIZE = (33, 35)


def shapes(model, image=(64, 64, 3), texture=0, train=False):
    arrays = [jax.ShapeDtypeStruct((2, *image), jnp.float32)]
    if texture:
        arrays.append(jax.ShapeDtypeStruct((2, texture), jnp.float32))
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(
        lambda *arrays: model.init_with_output(keys, *arrays, train=train), *arrays
    )


def size(model, image):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(model, image)[1]["params"]))


def start(model, image, *texture):
    """Variables of the model's shapes, drawn by NumPy: compiling its own draws takes long."""
    draw = np.random.default_rng(1).normal
    variables = jax.eval_shape(model.init, jax.random.key(0), image, *texture)

    def fill(path, leaf):
        name = path[-1].key
        if leaf.ndim > 1:
            kernel = draw(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
            return jnp.array(kernel, leaf.dtype)
        return jnp.full(leaf.shape, 1.0 if name in ("scale", "var") else 0.0, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, variables)


def images(rng, batch=4, size=SIZE, channels=1):
    return jnp.array(rng.random((batch, *size, channels)), jnp.float32)


@pytest.mark.parametrize(
    ("model", "image", "parameters"),
    [
        # torchvision's published counts, 1000 classes
        (ResNet(depth=18), (224, 224, 3), 11_689_512),
        (ResNet(depth=34), (224, 224, 3), 21_797_672),
        (ResNet(depth=50), (224, 224, 3), 25_557_032),
        (ResNet(depth=50, stride_on="1x1"), (224, 224, 3), 25_557_032),
        (ResNet(depth=101), (224, 224, 3), 44_549_160),
        (ResNet(depth=152), (224, 224, 3), 60_192_808),
        (VGG(depth=11), (224, 224, 3), 132_863_336),
        (VGG(depth=13, batch_norm=True), (224, 224, 3), 133_053_736),
        (VGG(depth=16), (224, 224, 3), 138_357_544),
        (VGG(depth=16), (96, 80, 3), 138_357_544),  # the head pools to 7x7
        (VGG(depth=19, batch_norm=True), (224, 224, 3), 143_678_248),
        (DenseNet(depth=121), (224, 224, 3), 7_978_856),
        (DenseNet(depth=169), (224, 224, 3), 14_149_480),
        (DenseNet(depth=201), (224, 224, 3), 20_013_928),
        # paper 4: 320 + 9,248 + 36,896 + 132; 6x6x32 reach the dense layer either way
        (CNN(num_classes=4), (30, 30, 1), 46_596),
        (CNN(num_classes=4, padding=("same", "valid")), (30, 30, 1), 46_596),
        # paper 2: sum of 9 Cin Cout + Cout, and 8 * 8 * 1024 pixels into 128
        (
            PAPER_2,
            (512, 512, 3),
            1_792 + 147_712 + 1_180_160 + 4_719_616 + 2 * 9_438_208 + 65_536 * 128 + 128 + 387,
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_number_of_parameters(model, image, parameters):
    assert size(model, image) == parameters


@pytest.mark.parametrize(
    ("model", "image", "features"),
    [
        (ResNet(depth=18), (97, 131, 3), (4, 5, 512)),
        (ResNet(depth=50, stem="small"), (33, 30, 1), (5, 4, 2048)),
        (ResNet(depth=50, stride_on="1x1"), (225, 1, 4), (8, 1, 2048)),
        (VGG(depth=16), (45, 33, 3), (2, 2, 512)),
        (VGG(depth=16, head="hidden", hidden=(128,)), (65, 47, 3), (4, 2, 512)),
        (DenseNet(depth=121), (45, 29, 3), (1, 1, 1024)),
        (CNN(widths=(8, 16), padding="same"), (31, 29, 1), (15, 14, 16)),
        (CNN(widths=(8, 16), padding="valid"), (31, 29, 1), (12, 11, 16)),
        (CNN(widths=(8, 16), padding="same", kernel_size=4, pool=1), (9, 7, 1), (9, 7, 16)),
    ],
)
def test_shapes_at_odd_sizes(model, image, features):
    output, _ = shapes(model, image)
    assert isinstance(output, ClassificationOutput)
    assert output.features.shape == (2, *features)
    assert output.logits.shape == (2, model.num_classes)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (
            ResNet(depth=50),
            {
                "body/conv1/kernel": (7, 7, 3, 64),
                "body/bn1/scale": (64,),
                "body/layer1_0/conv3/kernel": (1, 1, 64, 256),
                "body/layer1_0/downsample_0/kernel": (1, 1, 64, 256),
                "body/layer2_0/downsample_1/bias": (512,),
                "body/layer4_2/bn3/bias": (2048,),
                "head/fc/kernel": (2048, 1000),
            },
        ),
        (
            VGG(depth=16),
            {
                "body/features_0/kernel": (3, 3, 3, 64),
                "body/features_28/bias": (512,),
                "head/classifier_0/kernel": (25088, 4096),
                "head/classifier_3/kernel": (4096, 4096),
                "head/classifier_6/bias": (1000,),
            },
        ),
        (
            VGG(depth=11, batch_norm=True, head="hidden", hidden=(128, 16), num_classes=3),
            {
                "body/features_0/kernel": (3, 3, 3, 64),
                "body/features_1/scale": (64,),
                "body/features_26/bias": (512,),
                "head/hidden_0/kernel": (2 * 2 * 512, 128),
                "head/hidden_1/kernel": (128, 16),
                "head/classifier_6/kernel": (16, 3),
            },
        ),
        (
            DenseNet(depth=121),
            {
                "body/conv0/kernel": (7, 7, 3, 64),
                "body/norm0/scale": (64,),
                "body/denseblock4_denselayer16/norm1/scale": (992,),
                "body/denseblock1_denselayer1/conv2/kernel": (3, 3, 128, 32),
                "body/transition1/norm/bias": (256,),
                "body/transition3/conv/kernel": (1, 1, 1024, 512),
                "body/norm5/scale": (1024,),
                "head/classifier/bias": (1000,),
            },
        ),
        (
            CNN(batch_norm=True, num_classes=4),
            {
                "body/conv0/kernel": (3, 3, 3, 32),
                "body/norm1/scale": (32,),
                "head/hidden_0/bias": (32,),
                "head/logits/kernel": (32, 4),
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_names_of_parameters(model, names):
    _, variables = shapes(model)
    assert set(variables["params"]) == {"body", "head"}
    assert set(variables.get("batch_stats", {})) <= {"body"}
    for name, shape in names.items():
        leaf = variables["params"]
        for part in name.split("/"):
            leaf = leaf[part]
        assert leaf.shape == shape, name


@pytest.mark.parametrize("name", SMALL)
def test_compiled_equals_eager_and_gradients_are_finite(name, rng):
    model, image = SMALL[name], images(rng)
    variables = start(model, image)
    output = jax.jit(model.apply)(variables, image)
    if name in EAGER:
        np.testing.assert_allclose(output.logits, model.apply(variables, image).logits, atol=1e-5)
    assert np.ptp(output.logits, axis=0).max() > 0  # images differ, so do their logits
    again = model.apply(variables, output.features, method="classify")
    np.testing.assert_allclose(again, output.logits, atol=1e-6)

    def loss(params, image):
        output, changed = model.apply(
            {**variables, "params": params}, image, train=True, mutable=["batch_stats"]
        )
        return -jnp.mean(nn.log_softmax(output.logits)[:, 0]), changed

    (gradient, of_image), changed = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(
        variables["params"], image
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path((gradient, of_image)):
        assert np.isfinite(leaf).all(), path
    assert np.abs(of_image).max() > 0
    kernels = [g for g in jax.tree.leaves(gradient) if g.ndim > 1]
    assert all(np.abs(g).max() > 0 for g in kernels), "a kernel has no gradient"
    for old, new in zip(
        jax.tree.leaves(variables.get("batch_stats", {})),
        jax.tree.leaves(changed.get("batch_stats", {})),
        strict=True,
    ):
        assert np.abs(old - new).max() > 0, "running statistics stood still"


@pytest.mark.parametrize("name", ["basic", "vgg_bn", "densenet"])
def test_frozen_body_gets_no_gradient_and_keeps_its_statistics(name, rng):
    image = images(rng)
    variables = start(SMALL[name], image)
    frozen = SMALL[name].clone(freeze_body=True)

    def loss(params, image, train):
        output, changed = frozen.apply(
            {**variables, "params": params}, image, train=train, mutable=["batch_stats"]
        )
        return jnp.sum(output.logits**2), changed

    differentiate = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True), static_argnums=2)
    (gradients, _), changed = differentiate(variables["params"], image, True)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradients["body"]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients["head"]))
    jax.tree.map(np.testing.assert_array_equal, changed["batch_stats"], variables["batch_stats"])
    (_, of_image), _ = differentiate(variables["params"], image, False)
    assert np.any(of_image)  # saliency maps of a frozen network


@pytest.mark.parametrize("name", ["basic", "vgg", "densenet", "cnn"])
def test_bfloat16_is_near_and_logits_stay_float32(name, rng):
    model, image = SMALL[name], images(rng)
    variables = start(model, image)
    half = model.clone(dtype=jnp.bfloat16)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(start(half, image)))
    output, rough = jax.jit(model.apply)(variables, image), jax.jit(half.apply)(variables, image)
    assert rough.logits.dtype == jnp.float32
    assert rough.features.dtype == jnp.bfloat16
    scale = np.abs(output.logits).max()
    np.testing.assert_allclose(rough.logits, output.logits, atol=0.05 * scale)


@pytest.mark.parametrize("name", ["basic", "vgg", "densenet", "cnn"])
def test_texture_joins_the_features_before_the_first_dense_layer(name, rng):
    model, image = SMALL[name], images(rng)
    texture = jnp.array(rng.random((4, 5)), jnp.float32)
    plain, joined = start(model, image), start(model, image, texture)
    first = "hidden_0" if model.hidden else model.last_layer
    before, after = (v["params"]["head"][first]["kernel"].shape for v in (plain, joined))
    assert after == (before[0] + 5, before[1])
    assert jax.tree.map(jnp.shape, plain["params"]["body"]) == jax.tree.map(
        jnp.shape, joined["params"]["body"]
    )
    kernel = joined["params"]["head"][first]["kernel"]
    joined["params"]["head"][first]["kernel"] = kernel.at[-5:].set(0.0)
    run = jax.jit(model.apply)
    same = run(joined, image, texture).logits
    np.testing.assert_allclose(same, run(joined, image, 0 * texture).logits, atol=1e-6)
    joined["params"]["head"][first]["kernel"] = kernel
    assert np.abs(run(joined, image, texture).logits - same).max() > 1e-3


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_first_convolution_takes_the_channels_that_come(channels):
    for model, name in (
        (ResNet(), "conv1"),
        (VGG(), "features_0"),
        (DenseNet(), "conv0"),
        (CNN(), "conv0"),
    ):
        _, variables = shapes(model, (48, 48, channels))
        assert variables["params"]["body"][name]["kernel"].shape[2] == channels


def test_grey_images_are_repeated_and_normalised_as_asked(rng):
    grey = images(rng)
    plain = SMALL["cnn"]
    mean, std = (0.5, 0.25, 0.125), (0.5, 2.0, 4.0)
    model = plain.clone(input_channels=3, mean=mean, std=std)
    variables = start(model, grey)
    assert variables["params"]["body"]["conv0"]["kernel"].shape == (3, 3, 3, 8)
    by_hand = np.concatenate([(grey - m) / s for m, s in zip(mean, std, strict=True)], axis=-1)
    logits = plain.apply(variables, jnp.array(by_hand)).logits
    np.testing.assert_allclose(model.apply(variables, grey).logits, logits, atol=1e-5)
    colour = jnp.repeat(grey, 3, axis=-1)
    np.testing.assert_allclose(model.apply(variables, colour).logits, logits, atol=1e-5)


def test_dropout_is_random_in_training_only(rng):
    image = images(rng)
    for name in ("cnn", "vgg"):
        model = SMALL[name].clone(dropout=0.5)
        variables = start(model, image)

        @jax.jit
        def train(key, model=model, variables=variables):
            return model.apply(variables, image, train=True, rngs={"dropout": key}).logits

        first, second = train(jax.random.key(1)), train(jax.random.key(2))
        assert np.abs(first - second).max() > 1e-4
        np.testing.assert_array_equal(first, train(jax.random.key(1)))
        output = model.apply(variables, image)  # needs no key
        np.testing.assert_array_equal(output.logits, SMALL[name].apply(variables, image).logits)


def test_vggs_own_head_drops_half_twice_unless_told_otherwise():
    def shares(**options):
        found = []

        def note(call, arguments, keywords, context):
            if isinstance(context.module, Dropout):
                found.append(context.module.rate)
            return call(*arguments, **keywords)

        with nn.intercept_methods(note):
            shapes(VGG(depth=11, **options), (32, 32, 3), train=True)
        return found

    assert shares() == [0.0, 0.5, 0.5]  # before each dense layer
    assert shares(dropout=0.2) == [0.0, 0.2, 0.2]
    assert shares(head="hidden", hidden=(8,)) == [0.0, 0.0]
    assert shares(head="hidden", hidden=(8,), dropout=0.2) == [0.0, 0.2]


@pytest.mark.parametrize(
    ("model", "image", "message"),
    [
        (
            CNN(widths=(4,) * 6, padding="same"),
            (48, 32, 1),
            "image: 48x32 is too small for 6 convolutions with pooling by 2: nothing is left of "
            "1x1 after the 'same' convolution 6; use a larger image_size, fewer widths or "
            "padding 'same'",
        ),
        (CNN(), (9, 30, 1), "nothing is left of 3x14 after the 'valid' convolution 2"),
        (CNN(padding=("same",)), (30, 30, 1), "for each of 2 convolutions, found ('same',)"),
        (CNN(padding="reflect"), (30, 30, 1), "found 'reflect'"),
        (VGG(), (224, 31, 3), "224x31 is too small for VGG-16"),
        (DenseNet(), (28, 64, 3), "expected at least 29x29"),
        (ResNet(depth=19), (64, 64, 3), "depth: expected one of 18, 34, 50, 101, 152, found 19"),
        (VGG(depth=12), (64, 64, 3), "depth: expected one of 11, 13, 16, 19, found 12"),
        (DenseNet(depth=1), (64, 64, 3), "depth: expected one of 121, 169, 201, found 1"),
        (ResNet(stem="big"), (64, 64, 3), "stem: expected 'imagenet' or 'small', found 'big'"),
        (ResNet(stride_on="5x5"), (64, 64, 3), "stride_on: expected '3x3' or '1x1'"),
        (ResNet(block="wide"), (64, 64, 3), "block: expected 'basic' or 'bottleneck'"),
        (VGG(head="none"), (64, 64, 3), "head: expected 'imagenet' or 'hidden', found 'none'"),
        (VGG(hidden=(8,)), (64, 64, 3), "use head='hidden'"),
        (ResNet(input_channels=3), (64, 64, 4), "the network takes 3, the image has 4"),
        (ResNet(mean=(0.5,), std=(0.5,)), (64, 64, 3), "expected 3 numbers each"),
        (ResNet(mean=(0.5,)), (64, 64, 1), "found 1 and 0; give both so many"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(model, image, message):
    with pytest.raises(InputError) as caught:
        shapes(model, image)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_are_refused():
    with pytest.raises(InputError, match="expected floats from 0 to 1, found uint8"):
        jax.eval_shape(SMALL["cnn"].init, jax.random.key(0), jnp.zeros((1, 30, 30, 1), jnp.uint8))


def test_kernels_start_random_and_biases_at_zero(rng):
    model = SMALL["vgg_bn"]
    variables = jax.jit(model.init)(jax.random.key(0), images(rng))
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        name = path[-1].key
        if name == "kernel":
            assert 0 < np.abs(leaf).max() < 3
        else:
            np.testing.assert_array_equal(leaf, 1.0 if name in ("scale", "var") else 0.0)


def test_kernels_start_with_the_variance_that_is_documented():
    shape = (3, 3, 16, 64)
    for draw, fan in ((he_normal_fan_out, 9 * 64), (he_normal_fan_in, 9 * 16)):
        kernel = np.asarray(draw(jax.random.key(0), shape))
        assert kernel.shape == shape
        assert np.isclose(kernel.std(), np.sqrt(2 / fan), rtol=0.03)
        assert abs(kernel.mean()) < 0.05 * kernel.std()
