"""What a function costs: products counted in the traced program, and the compiler's figures.

A MAC is one multiplication with its addition, which papers print and often call a FLOP.
``count_macs`` counts those of matrix products and convolutions, as papers do; sums,
norms, activations and pooling are left out. Nothing is computed: shapes are enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params
from jax.interpreters.partial_eval import dce_jaxpr

# Calls whose body runs once.
CALLS = {
    "call", "checkpoint", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call",
    "custom_vmap_call", "jit", "pjit", "remat", "remat2",
}  # fmt: skip
# Calls that may do products which cannot be seen from here.
OPAQUE = {"ffi_call", "io_callback", "pallas_call", "pure_callback", "ragged_dot_general"}


def count_macs(function: Callable[..., Any], *args: Any, while_trips: int | None = None) -> int:
    """Counts the multiplications of all matrix products and convolutions of a function.

    A product of [A, B] and [B, C] costs ``A * B * C``. A convolution costs ``Cin / groups
    * k^d * Cout`` for each output position, taps that fall on padding included; where the
    input is dilated, as in a transposed convolution and in gradients, the inserted zeros
    are left out. What no result depends on is left out as well.

    Loops of known length (``scan``, ``map``, ``fori_loop``) count as often as they run.
    Of ``cond`` and ``switch`` the most expensive branch counts; of ``platform_dependent``
    the default one, so that the number is the same on all platforms and for all values
    of ``BRAINJAX_CPU_CONV``. What is checkpointed counts again in the gradient. Inside
    ``shard_map`` every device counts.

    Args:
      function: any function that JAX can trace, jitted or not, gradients too.
      *args: its arguments: arrays, or ``jax.ShapeDtypeStruct`` in their place.
      while_trips: how often to count a loop of unknown length.

    Raises:
      ValueError: there are products in a loop of unknown length and ``while_trips`` is
        not given, or the function calls what cannot be looked into (a kernel or a
        callback).

    >>> a = jax.ShapeDtypeStruct((2, 3), "float32")
    >>> b = jax.ShapeDtypeStruct((3, 5), "float32")
    >>> count_macs(lambda a, b: a @ b, a, b)
    30
    """
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    live, _ = dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars), instantiate=True)
    return _count(live, while_trips)


def count_parameters(tree: Any) -> int:
    """The number of elements of all arrays, or ``jax.ShapeDtypeStruct``, of a tree.

    >>> count_parameters({"kernel": jax.ShapeDtypeStruct((3, 3, 4), "float32")})
    36
    """
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@dataclass(frozen=True, kw_only=True)
class CompiledCosts:
    """The compiler's figures for one program; None where the platform does not tell.

    Attributes:
      flops: floating-point operations, two for a MAC. Taps on padding are left out, a
        loop's body counts once, and custom calls (oneDNN's convolution on a CPU, cuDNN's
        on a GPU) may not count at all.
      bytes_accessed: read and written by all operations.
      temporary_bytes: the most that XLA holds at a time beside arguments and results.
        What a library (oneDNN, YNNPACK, cuDNN) takes itself is not in it; on a CPU XLA
        may hand a whole attention block to YNNPACK and say 0.
    """

    flops: float | None
    bytes_accessed: float | None
    temporary_bytes: int | None


def costs_of(compiled: jax.stages.Compiled) -> CompiledCosts:
    """The compiler's figures for a compiled function."""
    costs = compiled.cost_analysis() or {}
    memory = compiled.memory_analysis()
    return CompiledCosts(
        flops=costs.get("flops"),
        bytes_accessed=costs.get("bytes accessed"),
        temporary_bytes=None if memory is None else int(memory.temp_size_in_bytes),
    )


def compiled_costs(function: Callable[..., Any], *args: Any) -> CompiledCosts:
    """Compiles a function for this device, without running it, and asks the compiler.

    Args:
      function: any function that JAX can compile; one that is jitted keeps its options,
        such as donated arguments.
      *args: arrays, or ``jax.ShapeDtypeStruct`` in their place.
    """
    jitted: Any = function if hasattr(function, "lower") else jax.jit(function)
    return costs_of(jitted.lower(*args).compile())


def _count(jaxpr: Jaxpr, while_trips: int | None) -> int:
    return sum(_count_equation(equation, while_trips) for equation in jaxpr.eqns)


def _count_equation(equation: JaxprEqn, while_trips: int | None) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _dot_macs(equation)
    if name == "conv_general_dilated":
        return _convolution_macs(equation)
    if name in OPAQUE:
        raise ValueError(f"the products inside {name} cannot be counted")
    if name == "cond":
        branches = params["branches"]
        platforms = params.get("branches_platforms")
        if platforms is not None and None in platforms:
            return _count(branches[platforms.index(None)].jaxpr, while_trips)
        return max(_count(branch.jaxpr, while_trips) for branch in branches)
    inside = sum(_count(jaxpr, while_trips) for jaxpr in jaxprs_in_params(params))
    if not inside or name in CALLS:
        return inside
    if name == "scan":
        return inside * params["length"]
    if name == "shard_map":
        axes = params["newly_manual_axes"]
        return inside * math.prod(params["mesh"].shape[axis] for axis in axes)
    if name == "while":
        if while_trips is None:
            raise ValueError("a loop of unknown length has products: say while_trips")
        return inside * while_trips
    raise ValueError(f"how often {name} runs the products inside it is not known")


def _dot_macs(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = _shape(equation.invars[0])
    outputs = math.prod(_shape(equation.outvars[0]))
    return outputs * math.prod(shape[axis] for axis in contracted)


def _convolution_macs(equation: JaxprEqn) -> int:
    """Batch, output channels, input channels of a group, and for each axis its pairs.

    Along an axis, outputs and taps make ``out * k`` pairs. With an input of ``n`` dilated
    by ``d``, an input meets each of the ``k`` taps at most once and an output at most
    ``ceil(k / d)`` inputs, so the pairs are the fewer of ``n * k`` and ``out * ceil(k / d)``.
    """
    x, kernel = map(_shape, equation.invars)
    out = _shape(equation.outvars[0])
    numbers = equation.params["dimension_numbers"]
    batch, features, *spatial = numbers.out_spec
    macs = out[batch] * out[features] * kernel[numbers.rhs_spec[1]]
    axes = zip(
        numbers.lhs_spec[2:],
        numbers.rhs_spec[2:],
        spatial,
        equation.params["lhs_dilation"],
        strict=True,
    )
    for x_axis, kernel_axis, out_axis, dilation in axes:
        size, taps = x[x_axis], kernel[kernel_axis]
        pairs = out[out_axis] * -(-taps // dilation)
        macs *= pairs if dilation == 1 else min(pairs, size * taps)
    return macs


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape
