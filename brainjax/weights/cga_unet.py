"""The CGA U-Net's released weights to our variables, and back.

The authors' names are those of their PyTorch modules; convolutions are stored
``[out, in, d, h, w]`` and transposed convolutions ``[in, out, d, h, w]``. Ours end
``[d, h, w, in, out]`` in both cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.errors import InputError
from brainjax.models.cga_unet import CGAUNet

# A scalar in the authors' network that its forward pass never uses.
UNUSED = "weight_attention"

Kind = Literal["norm", "conv", "transposed"]
LEAVES = {
    "norm": {"scale": "weight", "bias": "bias"},
    "conv": {"kernel": "weight", "bias": "bias"},
    "transposed": {"kernel": "weight", "bias": "bias"},
}
TO_OURS = {"conv": (2, 3, 4, 1, 0), "transposed": (2, 3, 4, 0, 1)}
TO_THEIRS = {"conv": (4, 3, 0, 1, 2), "transposed": (3, 4, 0, 1, 2)}


def convert(
    mapping: Mapping[str, np.ndarray],
    *,
    in_channels: int = 4,
    num_classes: int = 4,
    base_width: int = 16,
) -> dict[str, Any]:
    """Turns the released names and layouts into variables of ``CGAUNet(variant="released")``.

    Args:
      mapping: name to array, from ``load_tensors``.
      in_channels: modalities of the network.
      num_classes: K of the network.
      base_width: its channels at full resolution.

    Returns:
      ``{"params": ...}`` with f32 arrays.

    Raises:
      InputError: lists all names that are missing, extra, or of another shape.
    """
    expected = _expected_shapes(in_channels, num_classes, base_width)
    shapes = {name: tuple(np.shape(value)) for name, value in mapping.items() if name != UNUSED}
    problems = [f"missing {name}" for name in expected if name not in shapes]
    problems += [f"extra {name}" for name in shapes if name not in expected]
    problems += [
        f"{name} has shape {shapes[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    if problems:
        raise InputError(
            f"not the weights of this CGA U-Net ({len(problems)} differences): "
            + "; ".join(problems)
        )
    params: dict[str, Any] = {}
    for theirs, (path, kind) in names().items():
        value = np.asarray(mapping[theirs]).astype(np.float32)
        if kind in TO_OURS and value.ndim == 5:
            value = value.transpose(TO_OURS[kind])
        _insert(params, path, jnp.asarray(value))
    return {"params": params}


def export(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of ``convert``: our variables under the released names.

    The scalar that the authors' network holds but does not use is added, so that
    their own loader takes the mapping.
    """
    mapping = {UNUSED: np.ones(1, np.float32)}
    for theirs, (path, kind) in names().items():
        value: Any = variables["params"]
        for key in path:
            value = value[key]
        value = np.asarray(value, np.float32)
        if kind in TO_THEIRS and value.ndim == 5:
            value = np.ascontiguousarray(value.transpose(TO_THEIRS[kind]))
        mapping[theirs] = value
    return mapping


def names() -> dict[str, tuple[tuple[str, ...], Kind]]:
    """Each released name with the path of our parameter and the kind of its layer.

    >>> names()["DeUp3.conv2.weight"]
    (('decoder3_up', 'kernel'), 'transposed')
    """
    table: dict[str, tuple[tuple[str, ...], Kind]] = {}

    def layer(theirs: str, kind: Kind, *ours: str) -> None:
        for leaf, their_leaf in LEAVES[kind].items():
            table[f"{theirs}.{their_leaf}"] = ((*ours, leaf), kind)

    def block(theirs: str, ours: str) -> None:
        for index in (1, 2):
            layer(f"{theirs}.bn{index}", "norm", ours, f"norm{index}")
            layer(f"{theirs}.conv{index}", "conv", ours, f"conv{index}")

    layer("InitConv.conv", "conv", "init_conv")
    block("EnBlock1", "encoder1_block1")
    for level, blocks in ((2, 2), (3, 2), (4, 4)):
        layer(f"EnDown{level - 1}.conv", "conv", f"down{level - 1}")
        for index in range(1, blocks + 1):
            block(f"EnBlock{level}_{index}", f"encoder{level}_block{index}")
    for index in range(3):
        layer(f"AttentionBlock.{index}", "conv", "attention", f"conv{index + 1}")
    for level in (3, 2, 1):
        layer(f"DeUp{level}.conv1", "conv", f"decoder{level}_reduce")
        layer(f"DeUp{level}.conv2", "transposed", f"decoder{level}_up")
        layer(f"DeUp{level}.conv3", "conv", f"decoder{level}_merge")
        block(f"DeBlock{level}", f"decoder{level}_block")
    layer("EndConv.conv", "conv", "head")
    return table


def _expected_shapes(
    in_channels: int, num_classes: int, base_width: int
) -> dict[str, tuple[int, ...]]:
    """Shapes under the released names, from our own network's."""
    model = CGAUNet(variant="released", num_classes=num_classes, base_width=base_width)
    image = jax.ShapeDtypeStruct((1, 8, 8, 8, in_channels), jnp.float32)
    params = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), image)["params"]
    shapes = {}
    for theirs, (path, kind) in names().items():
        leaf: Any = params
        for key in path:
            leaf = leaf[key]
        shape = leaf.shape
        if kind in TO_THEIRS and len(shape) == 5:
            shape = tuple(shape[axis] for axis in TO_THEIRS[kind])
        shapes[theirs] = shape
    return shapes


def _insert(tree: dict[str, Any], path: tuple[str, ...], value: jax.Array) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
