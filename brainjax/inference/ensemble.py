"""Several checkpoints of one network, averaged as probabilities."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from brainjax.errors import InputError
from brainjax.inference.mirroring import mirror_average

Variables = Any
"""What ``predict`` takes as the network's parameters: any tree of arrays."""

Predict = Callable[[Variables, jax.Array], jax.Array]
"""`predict(variables, patches [N, d, h, w, C] f32) -> probabilities [N, d, h, w, K]`."""

Predictor = Callable[[jax.Array], jax.Array]
"""`predictor(patches [N, d, h, w, C] f32) -> probabilities [N, d, h, w, K] f32`."""


@dataclasses.dataclass(frozen=True)
class CompiledParts:
    """A function of compiled functions, which is not to be compiled as a whole.

    JAX refuses a function compiled with options of its own inside another.
    """

    run: Predict

    def __call__(self, variables: Variables, patches: jax.Array) -> jax.Array:
        return self.run(variables, patches)


def compiled_once(predict: Predict) -> Predict:
    """``predict``, compiled unless it is already, or made of what is."""
    if hasattr(predict, "lower") or isinstance(predict, CompiledParts):
        return predict
    return jax.jit(predict)


def averaged_predictor(
    predict: Predict, variables_list: Sequence[Variables], *, mirror: bool = False
) -> Predictor:
    """Makes one predictor of several checkpoints and, if asked, of eight flips each.

    ``predict`` is compiled once and shared, since the checkpoints differ only in
    the values of its first argument. Pass the same function object every time:
    a new lambda would be compiled anew.

    Args:
      predict: pure function of variables and patches. It may be jitted already.
      variables_list: one tree of arrays per checkpoint. They are placed on the
        device once, not per patch.
      mirror: average over the eight mirror images too, at eight times the cost.

    Returns:
      Function from patches `[N, d, h, w, C]` to mean probabilities `[N, d, h, w, K]`.

    Raises:
      InputError: ``variables_list`` is empty.
    """
    if not variables_list:
        raise InputError("prediction expected at least one checkpoint, found none")
    compiled = compiled_once(predict)
    members = [functools.partial(compiled, jax.device_put(each)) for each in variables_list]

    def run(member: Predictor, patches: jax.Array) -> jax.Array:
        if mirror:
            return mirror_average(member, patches)
        return member(patches).astype(jnp.float32)

    def predictor(patches: jax.Array) -> jax.Array:
        total = run(members[0], patches)
        for member in members[1:]:
            total = total + run(member, patches)
        return total if len(members) == 1 else total / len(members)

    return predictor
