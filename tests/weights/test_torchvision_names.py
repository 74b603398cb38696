"""Names of torchvision, old and new, and of timm; what a file's head may differ in."""

from __future__ import annotations

import importlib

import jax
import numpy as np
import pytest
import safetensors.numpy

from brainjax.errors import InputError
from brainjax.models.densenet import DenseNet
from brainjax.models.resnet import ResNet
from brainjax.models.vgg import VGG
from brainjax.weights import load_tensors
from brainjax.weights.torchvision import convert, export, names_of

torch = pytest.importorskip("torch")


def reference(name):
    return importlib.import_module(f"benchmarks.torch_reference.{name}")


resnet, vgg, densenet = map(reference, ("resnet", "vgg", "densenet"))


def tensors_of(module):
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def shapes_of(model):
    return jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))


def filled(model):
    """Variables that are 7 throughout, so that what was not loaded shows."""
    return jax.tree.map(lambda leaf: np.full(leaf.shape, 7, leaf.dtype), shapes_of(model))


def fill(tensors, variables):
    return convert(tensors, variables, image_channels=3)


NETWORKS = {
    "resnet": lambda: (ResNet(num_classes=4, width=8), resnet.ResNet(18, 4, width=8)),
    "resnet50": lambda: (ResNet(num_classes=4, width=8, depth=50), resnet.ResNet(50, 4, width=8)),
    "vgg_bn": lambda: (
        VGG(num_classes=4, width=8, batch_norm=True, head="hidden", hidden=(8, 8)),
        vgg.VGG(16, 4, width=8, batch_norm=True, hidden=(8, 8), side=2),
    ),
    "densenet": lambda: (
        DenseNet(num_classes=4, stage_sizes=(2, 2, 2, 2), growth=4, width=8),
        densenet.DenseNet((2, 2, 2, 2), 4, 8, classes=4),
    ),
}


@pytest.fixture(params=list(NETWORKS))
def pair(request):
    """Variables of a small network of ours, and PyTorch's network."""
    model, module = NETWORKS[request.param]()
    return filled(model), module


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_files_go_round(tmp_path, pair, suffix):
    variables, module = pair
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": module.state_dict()}, path)
    else:
        safetensors.numpy.save_file(tensors_of(module), path)
    converted, left = fill(load_tensors(path), variables)
    assert left == ()
    assert jax.tree.structure(converted) == jax.tree.structure(variables)
    back = export(converted)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in back.items()}, strict=True)
    expected = {k: v for k, v in tensors_of(module).items() if "num_batches" not in k}
    assert set(back) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(back[name], value, err_msg=name)


def test_head_of_other_classes_is_left():
    module = resnet.ResNet(18, 10, width=8)
    variables, left = fill(tensors_of(module), filled(ResNet(num_classes=4, width=8)))
    assert left == ("head/fc (10 outputs in the file, 4 here)",)
    head = variables["params"]["head"]["fc"]
    assert (head["kernel"] == 7).all()
    assert (head["bias"] == 7).all()
    body = jax.tree.leaves(variables["params"]["body"])
    assert all((leaf != 7).all() for leaf in body)


def test_head_that_the_file_lacks_is_left():
    tensors = tensors_of(resnet.ResNet(18, 4, width=8))
    tensors = {k: v for k, v in tensors.items() if not k.startswith("fc.")}
    _, left = fill(tensors, filled(ResNet(num_classes=4, width=8)))
    assert left == ("head/fc (not in the file)",)


def test_head_of_other_hidden_layers_is_left_from_there_on():
    """A last layer that happens to fit does not follow one that was never trained."""
    module = vgg.VGG(16, 4, width=8, hidden=(8,), side=2)
    model = VGG(num_classes=4, width=8, head="hidden", hidden=(8, 8))
    variables, left = fill(tensors_of(module), filled(model))
    assert left == ("head/hidden_1 (not in the file)", "head/classifier_6")
    assert (variables["params"]["head"]["classifier_6"]["kernel"] == 7).all()
    assert not (variables["params"]["head"]["hidden_0"]["kernel"] == 7).any()
    module = vgg.VGG(16, 4, width=8)
    _, left = fill(tensors_of(module), filled(model))
    assert left == ("head/hidden_0 (not in the file)", "head/hidden_1", "head/classifier_6")
    module = vgg.VGG(16, 4, width=8, hidden=(8, 8), side=3)
    _, left = fill(tensors_of(module), filled(model))
    assert left[0] == "head/hidden_0 (576 inputs in the file, 256 here)"


def test_shapes_alone_do_not_do_where_something_is_left():
    tensors = tensors_of(resnet.ResNet(18, 10, width=8))
    with pytest.raises(ValueError, match=r"head/fc keeps its initial value: give init"):
        fill(tensors, shapes_of(ResNet(num_classes=4, width=8)))


def test_older_densenet_files():
    """torchvision before 0.3 wrote ``norm.1`` for ``norm1``."""
    module = densenet.DenseNet((1, 1, 1, 1), 4, 8, classes=4)
    tensors = tensors_of(module)
    older = {}
    for name, value in tensors.items():
        for part in ("norm", "conv"):
            for digit in "12":
                name = name.replace(f"1.{part}{digit}.", f"1.{part}.{digit}.")
        older[name] = value
    assert "features.denseblock1.denselayer1.norm.1.running_mean" in older
    model = DenseNet(num_classes=4, stage_sizes=(1, 1, 1, 1), growth=4, width=8)
    variables = filled(model)
    expected, _ = fill(tensors, variables)
    jax.tree.map(np.testing.assert_array_equal, fill(older, variables)[0], expected)


def test_vgg_files_of_timm():
    """Dense layers as convolutions, and other names."""
    module = vgg.VGG(11, 4, width=4)
    tensors = tensors_of(module)
    timm = {}
    for name, value in tensors.items():
        if name == "classifier.0.weight":
            value = value.reshape(4096, 32, 7, 7)
        if name == "classifier.3.weight":
            value = value.reshape(4096, 4096, 1, 1)
        for ours, theirs in (("0", "pre_logits.fc1"), ("3", "pre_logits.fc2"), ("6", "head.fc")):
            name = name.replace(f"classifier.{ours}.", f"{theirs}.")
        timm[name] = value
    assert "pre_logits.fc1.weight" in timm
    variables = filled(VGG(num_classes=4, depth=11, width=4))
    converted, left = fill(timm, variables)
    assert left == ()
    jax.tree.map(np.testing.assert_array_equal, converted, fill(tensors, variables)[0])


def message_of(tensors, variables):
    with pytest.raises(InputError) as caught:
        fill(tensors, variables)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_networks_are_refused_in_one_line():
    variables = filled(ResNet(num_classes=4, width=8))
    tensors = tensors_of(resnet.ResNet(18, 4, width=8))
    wrong = dict(tensors)
    del wrong["layer1.0.bn1.running_var"]
    wrong["layer1.0.conv9.weight"] = np.zeros(3, np.float32)
    wrong["layer2.0.conv1.weight"] = np.zeros((16, 8, 5, 5), np.float32)
    wrong["conv1.weight"] = np.zeros((8, 5, 7, 7), np.float32)
    told = message_of(wrong, variables)
    assert "4 differences in 102 arrays" in told
    assert "unexpected layer1.0.conv9.weight" in told
    assert "missing layer1.0.bn1.running_var" in told
    assert "layer2.0.conv1.weight has shape (16, 8, 5, 5), expected (16, 8, 3, 3)" in told
    assert "conv1.weight has shape (8, 5, 7, 7), expected (8, 3, 7, 7)" in told
    deeper = tensors_of(resnet.ResNet(34, 4, width=8))
    told = message_of(deeper, variables)
    assert "unexpected layer1.2.conv1.weight" in told
    assert told.endswith("more")
    other = tensors_of(vgg.VGG(11, 4, width=4))
    assert "unexpected features.0.weight" in message_of(other, variables)
    assert "missing bn1.bias; missing bn1.running_mean" in message_of(
        {"fc.weight": np.zeros((4, 64))}, variables
    )
    with pytest.raises(ValueError, match="conv1/kernel takes 3 channels, not 1"):
        convert(tensors, variables, image_channels=1)


def test_names_follow_torchvisions():
    names = names_of(shapes_of(ResNet()))
    assert len(names) == 102
    path = names["layer2.0.downsample.1.running_var"]
    assert path == ("batch_stats", "body", "layer2_0", "downsample_1", "var")
    names = names_of(shapes_of(DenseNet()))
    path = names["features.denseblock3.denselayer24.norm2.weight"]
    assert path == ("params", "body", "denseblock3_denselayer24", "norm2", "scale")
    assert "features.transition3.conv.weight" in names
    assert {"features.norm5.bias", "classifier.weight"} <= set(names)
    names = names_of(shapes_of(VGG(batch_norm=True)))
    assert {"features.41.running_mean", "features.40.weight", "classifier.6.bias"} <= set(names)
