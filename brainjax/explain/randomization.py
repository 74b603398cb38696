"""Networks of which more and more layers are random, for the check that maps depend on them.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps, 2018: from
the output down, layer after layer gets random weights, and a map that explains the network
has to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax

Variables = Mapping[str, Any]


def layers_in_order(
    apply: Callable[[Variables, jax.Array], Any], variables: Variables, images: jax.Array
) -> tuple[str, ...]:
    """Paths of the modules that own parameters, in the order in which they are called.

    Args:
      apply: the network, ``apply(variables, images)``; nothing is computed.
      variables: with the collection ``params``.
      images: or their shapes, [N, *spatial, C].
    """
    owners = {
        tuple(part.key for part in path[:-1])
        for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])
    }
    found: dict[tuple[str, ...], None] = {}

    def intercept(method: Callable[..., Any], arguments: tuple, named: dict, context: Any) -> Any:
        if context.module.path in owners:
            found.setdefault(context.module.path)
        return method(*arguments, **named)

    with nn.intercept_methods(intercept):
        # A new function, since what jax remembers of an old one is not traced again.
        jax.eval_shape(lambda v, x: apply(v, x), variables, images)
    return tuple("/".join(path) for path in found)


def randomisation_cascade(
    variables: Variables, random: Variables, layers: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name of the layer randomised last, and the variables with all from it on random.

    Args:
      variables: of the trained network.
      random: of the same network before training.
      layers: in the order of the computation; the last is randomised first.
    """
    current = {name: dict(tree) for name, tree in variables.items()}
    for layer in reversed(layers):
        path = layer.split("/")
        current = {
            name: _replaced(tree, random[name], path) if name in random else tree
            for name, tree in current.items()
        }
        yield layer, current


def _replaced(tree: Any, other: Any, path: list[str]) -> Any:
    """A nested dictionary with the branch at ``path`` taken from another, where there is one."""
    if not path:
        return other
    if path[0] not in tree:
        return tree
    return {**tree, path[0]: _replaced(tree[path[0]], other[path[0]], path[1:])}
