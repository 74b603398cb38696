"""torchvision's and timm's weights of ResNet, VGG and DenseNet to our variables, and back.

Our classifiers are named after torchvision's: ``layer1.0.downsample.0`` is
``body/layer1_0/downsample_0``. PyTorch stores convolutions ``[out, in, h, w]`` and dense
layers ``[out, in]``; ours are ``[h, w, in, out]`` and ``[in, out]``. Where a dense layer
takes flattened features, PyTorch's come channel by channel and ours position by position.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from brainjax.errors import InputError

Keys = tuple[str, ...]

THEIR_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
COLLECTIONS = ("params", "batch_stats")
HEADS = ("fc", "classifier", "head", "pre_logits", "hidden", "logits")
# timm's VGG has convolutions where torchvision's has dense layers.
TIMM_VGG = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3"}
LISTED = 4  # differences that an error names


def convert(
    tensors: Mapping[str, np.ndarray], variables: Mapping[str, Any], *, image_channels: int
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Puts torchvision's or timm's weights into the variables of a classifier.

    The body has to agree in every name and shape, but for the channels of the image:
    weights of a first convolution for RGB are, for an image of C channels, averaged over
    RGB, repeated C times and multiplied by 3/C, which for one channel is their sum. The
    head is taken over layer by layer up to the first that differs, mostly the last one for
    its number of classes; that layer and those after it keep their initial values. So
    does the part of the first dense layer that sees texture features.

    Args:
      tensors: name to array, from ``load_tensors``.
      variables: of the model, initialised; shapes (``jax.eval_shape``) are enough where
        nothing is left at its initial value.
      image_channels: what the first convolution takes.

    Returns:
      Variables like those given, and what of them is as it was, in words, such as
      ``"head/fc (1000 outputs in the file, 4 here)"``; empty where all was loaded.

    Raises:
      InputError: names or shapes of the body differ: another network.
      ValueError: ``image_channels`` is not what the first convolution takes; or
        something is left, and ``variables`` holds shapes only.
    """
    theirs = _torchvision_names(tensors)
    ours: dict[Keys, Any] = dict(traverse_util.flatten_dict(dict(variables)))
    names = names_of(variables)
    first = _first_convolution(ours)
    if ours[first].shape[2] != image_channels:
        raise ValueError(
            f"{'/'.join(first)} takes {ours[first].shape[2]} channels, not {image_channels}"
        )
    problems = [
        f"unexpected {name}"
        for name in theirs
        if name not in names and name.partition(".")[0] not in HEADS
    ]
    for name, path in names.items():
        if path[1] != "body":
            continue
        if name not in theirs:
            problems.append(f"missing {name}")
            continue
        value = _to_ours(theirs[name])
        if path == first:
            value = _adapt_channels(value, image_channels)
        if value.shape != ours[path].shape:
            expected = _to_theirs(np.empty(ours[path].shape, np.bool_)).shape
            problems.append(f"{name} has shape {theirs[name].shape}, expected {expected}")
            continue
        ours[path] = jnp.asarray(value.astype(ours[path].dtype))
    if problems:
        listed = "; ".join(problems[:LISTED])
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise InputError(
            f"not the weights of this network ({len(problems)} differences in {len(names)} "
            f"arrays): {listed}{more}"
        )
    left = _fill_head(ours, names, theirs)
    return traverse_util.unflatten_dict(ours), left


def export(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of ``convert``: a classifier's variables under torchvision's names.

    Layers that torchvision does not have keep our name, as ``hidden.0.weight``. All
    arrays are f32.
    """
    flat = traverse_util.flatten_dict(dict(variables))
    flattened = _flattened_channels(flat)
    first = _head_layers(flat)[:1]
    mapping = {}
    for name, path in names_of(variables).items():
        value = np.asarray(flat[path], np.float32)
        if path[-1] == "kernel" and [path[:-1]] == first:
            value = _reorder(value, flattened, to_ours=False)
        mapping[name] = np.array(_to_theirs(value), order="C")
    return mapping


def names_of(variables: Mapping[str, Any]) -> dict[str, Keys]:
    """torchvision's name of each of our arrays, with its path in ``variables``.

    >>> block = {"conv1": {"kernel": np.zeros((3, 3, 64, 64))}}
    >>> names_of({"params": {"body": {"layer1_0": block}}})
    {'layer1.0.conv1.weight': ('params', 'body', 'layer1_0', 'conv1', 'kernel')}
    """
    flat = traverse_util.flatten_dict(dict(variables))
    dense_net = any(path[2].startswith("denseblock") for path in flat if len(path) > 2)
    names = {}
    for path in sorted(flat, key=lambda path: _natural(path[1:])):
        if path[0] not in COLLECTIONS:
            continue
        layers = [layer.replace("_", ".") for layer in path[2:-1]]
        prefix = ["features"] if dense_net and path[1] == "body" else []
        names[".".join([*prefix, *layers, THEIR_LEAVES[path[-1]]])] = path
    return names


def _torchvision_names(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names of today's torchvision for those of older files and of timm."""
    renamed = {}
    timm_vgg = any(name.startswith("pre_logits.") for name in tensors)
    for name, value in tensors.items():
        if name.endswith(".num_batches_tracked"):
            continue
        # torchvision 0.2 wrote denselayer1.norm.1 where it is denselayer1.norm1 now
        name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)
        for theirs, torchvisions in TIMM_VGG.items():
            if name == f"{theirs}.weight":
                value = value.reshape(value.shape[0], -1)
            name = name.replace(f"{theirs}.", f"{torchvisions}.")
        if timm_vgg or (name.startswith("head.fc.") and "features.0.weight" in tensors):
            name = name.replace("head.fc.", "classifier.6.")
        renamed[name] = value
    return renamed


def _fill_head(
    ours: dict[Keys, Any], names: Mapping[str, Keys], theirs: Mapping[str, np.ndarray]
) -> tuple[str, ...]:
    """Loads the head into ``ours`` up to the first layer that differs; tells what is left."""
    names_by_path = {path: name for name, path in names.items()}
    channels = _flattened_channels(ours)
    left: list[str] = []
    differs = False
    for index, layer in enumerate(_head_layers(ours)):
        kernel, bias = (*layer, "kernel"), (*layer, "bias")
        name = "/".join(layer[1:])
        weight = theirs.get(names_by_path[kernel])
        offset = theirs.get(names_by_path[bias])
        if differs or weight is None or offset is None or weight.ndim != 2:
            left.append(name if differs else f"{name} (not in the file)")
            differs = True
            continue
        weight = _to_ours(weight)
        if index == 0 and len(weight) >= channels:
            weight = _reorder(weight, channels, to_ours=True)
            rows = _texture_rows(weight.shape, ours[kernel].shape, channels)
            if rows:
                _check_initialised(ours[kernel], name)
                weight = np.concatenate([weight, np.asarray(ours[kernel])[-rows:]])
                left.append(f"{name}'s {rows} rows for the texture")
        if (weight.shape, offset.shape) != (ours[kernel].shape, ours[bias].shape):
            end, side = (0, "inputs") if offset.shape == ours[bias].shape else (1, "outputs")
            left.append(
                f"{name} ({weight.shape[end]} {side} in the file, {ours[kernel].shape[end]} here)"
            )
            differs = True
            continue
        ours[kernel] = jnp.asarray(weight.astype(ours[kernel].dtype))
        ours[bias] = jnp.asarray(offset.astype(ours[bias].dtype))
    if differs:
        for path in names.values():
            _check_initialised(ours[path], "/".join(path[1:-1]))
    return tuple(left)


def _check_initialised(value: Any, name: str) -> None:
    if isinstance(value, jax.ShapeDtypeStruct):
        raise ValueError(f"{name} keeps its initial value: give initialised variables")


def _adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A first convolution [k, k, 3 or 1, out] for images of so many channels."""
    if kernel.ndim != 4 or kernel.shape[2] not in (1, 3) or kernel.shape[2] == channels:
        return kernel
    mean = kernel.astype(np.float32).mean(axis=2, keepdims=True)
    return np.repeat(mean * (kernel.shape[2] / channels), channels, axis=2)


def _texture_rows(value: tuple[int, ...], ours: tuple[int, ...], channels: int) -> int:
    """Inputs of the first dense layer that the file has not: those for the texture."""
    features = ours[0] // channels * channels if channels else value[0]
    return max(ours[0] - value[0], 0) if value == (features, ours[1]) else 0


def _reorder(kernel: np.ndarray, channels: int, *, to_ours: bool) -> np.ndarray:
    """Rows [C h w + F, out] of a dense layer in the other flattening; F rows stay last."""
    if not channels:
        return kernel
    rows = kernel.shape[0] // channels * channels
    shape = (channels, -1) if to_ours else (-1, channels)
    features = kernel[:rows].reshape(*shape, kernel.shape[1]).swapaxes(0, 1)
    return np.concatenate([features.reshape(rows, -1), kernel[rows:]], axis=0)


def _flattened_channels(flat: Mapping[Keys, Any]) -> int:
    """Channels of the features where the head flattens them; 0 where it averages."""
    if any(path[2].startswith(("layer1_", "denseblock1_")) for path in flat if len(path) > 2):
        return 0
    convolutions = [path for path in flat if path[1] == "body" and path[-1] == "kernel"]
    return int(flat[max(convolutions, key=_natural)].shape[-1])


def _first_convolution(flat: Mapping[Keys, Any]) -> Keys:
    """The kernel that takes the image: of those not inside a block, the one numbered first."""
    stems = [path for path in flat if path[1] == "body" and path[-1] == "kernel" and len(path) == 4]
    return min(stems, key=_natural)


def _head_layers(flat: Mapping[Keys, Any]) -> list[Keys]:
    """Paths of the head's layers from the first to the last."""
    layers = {path[:-1] for path in flat if path[:2] == ("params", "head")}
    return sorted(layers, key=lambda path: (not path[2].startswith("hidden"), _natural(path)))


def _natural(path: Keys) -> list[tuple[int, str]]:
    """Orders ``features_2`` before ``features_10``."""
    parts = re.findall(r"\d+|\D+", "/".join(path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _to_ours(value: np.ndarray) -> np.ndarray:
    return value.transpose((2, 3, 1, 0)) if value.ndim == 4 else value.T


def _to_theirs(value: np.ndarray) -> np.ndarray:
    return value.transpose((3, 2, 0, 1)) if value.ndim == 4 else value.T
