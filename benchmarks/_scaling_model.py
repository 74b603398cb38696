"""How fast training would be on many accelerators, from what was measured on one.

``benchmarks.scaling --what model`` prints its tables. What is assumed:

* A ring all-reduce of S bytes over n devices takes ``2 (n-1)/n S/B + 2 (n-1) a``, a tree
  ``2 S/B + 2 log2(n) a``, with B bytes a second that one device sends and a seconds of
  latency a message; the quicker is taken. All-gather and reduce-scatter are half of it.
* Devices come in groups with quick links. A larger all-reduce scatters within the groups,
  reduces an m-th of S between them, and gathers within.
* Data parallel: the gradient is all-reduced. Fully sharded: parameters are gathered for the
  forward and again for the backward pass, the gradient is reduce-scattered; three halves of
  that. Spatial split: the gradient is all-reduced over all devices, and each convolution
  exchanges its halo with two neighbours three times (input, gradient of its output, input
  again for the kernel's gradient); one normalisation a convolution all-reduces its moments,
  which costs latency only.
* Overlap, as bounds: none of the communication runs beside computation, or as much of it as
  fits beside the backward pass, two thirds of a step. Halos never overlap.
* Computation is in proportion to the voxels of a device, whose batch it takes as efficiently
  as the measured one. Slow devices, jitter, data loading and validation are left out, as are
  links that others use: reality is slower.

Bandwidths are printed ones, in one direction; latencies are round figures of what such links
are known for. NVLink and InfiniBand: NVIDIA's H100 data sheet (900 GB/s in both directions)
and NDR InfiniBand, 400 Gb/s a GPU. TPU: Google Cloud's pages for v5e (1,600 Gb/s of
interconnect a chip, 256 chips and 6.4 Tb/s of data-centre network a pod) and v5p (1,200 GB/s
in both directions and 50 Gb/s of data-centre network a chip, 6,144 chips a job). Ethernet:
100 Gb/s a host.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import jaxprs_in_params

from benchmarks._scaling_network import CLASSES, Setting, make_state, measure
from brainjax.errors import InputError

BACKWARD_SHARE = 2 / 3
FIGURES = (
    "devices", "volumes", "compute_s", "communication_s", "step_s", "overlapped_step_s",
    "efficiency", "overlapped_efficiency", "exchanged_bytes", "memory_bytes",
)  # fmt: skip
STRATEGIES = ("data parallel", "fully sharded", "spatial split")
SCALINGS = ("weak", "strong")


@dataclass(frozen=True, kw_only=True)
class Links:
    """What accelerators are joined by.

    Attributes:
      group: devices that have the quick links among them.
      inner_bytes_per_s: what a device sends over the quick links.
      inner_latency_s: of a message there.
      outer_bytes_per_s: a device's share of what its group sends to others.
      outer_latency_s: of a message there.
    """

    group: int
    inner_bytes_per_s: float
    inner_latency_s: float
    outer_bytes_per_s: float
    outer_latency_s: float


LINKS = {
    "h100-infiniband": Links(
        group=8, inner_bytes_per_s=450e9, inner_latency_s=3e-6,
        outer_bytes_per_s=50e9, outer_latency_s=10e-6,
    ),
    "h100-ethernet": Links(  # the eight GPUs of a host share its 100 Gb/s
        group=8, inner_bytes_per_s=450e9, inner_latency_s=3e-6,
        outer_bytes_per_s=12.5e9 / 8, outer_latency_s=50e-6,
    ),
    "tpu-v5e": Links(
        group=256, inner_bytes_per_s=200e9, inner_latency_s=1e-6,
        outer_bytes_per_s=3.125e9, outer_latency_s=50e-6,
    ),
    "tpu-v5p": Links(
        group=6144, inner_bytes_per_s=600e9, inner_latency_s=1e-6,
        outer_bytes_per_s=6.25e9, outer_latency_s=50e-6,
    ),
    "ethernet": Links(  # a device a host
        group=1, inner_bytes_per_s=12.5e9, inner_latency_s=50e-6,
        outer_bytes_per_s=12.5e9, outer_latency_s=50e-6,
    ),
}  # fmt: skip


def assumptions() -> str:
    """What this module's description says is assumed, to stand beside its tables."""
    assert __doc__ is not None
    return __doc__.partition("assumed:")[2].strip()


@dataclass(frozen=True, kw_only=True)
class Halo:
    """What a step of one volume exchanges when it is split along its first axis.

    Attributes:
      bytes: received by a device that has two neighbours.
      forward_bytes: those of them that the forward pass asks for.
      convolutions: that exchange anything.
    """

    bytes: int
    forward_bytes: int
    convolutions: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is known of one device.

    Attributes:
      step_s: of a training step.
      batch: volumes of that step.
      gradient_bytes: of all parameters, f32.
      state_bytes: of parameters, optimiser state and running statistics.
      activation_bytes: temporary memory of the step.
      halo: of one volume.
    """

    step_s: float
    batch: int
    gradient_bytes: int
    state_bytes: int
    activation_bytes: int
    halo: Halo

    @property
    def sizes(self) -> dict[str, int]:
        """Everything counted in bytes, by name."""
        return {
            "gradient": self.gradient_bytes,
            "state": self.state_bytes,
            "activations": self.activation_bytes,
            "halo": self.halo.bytes,
        }


def all_reduce_seconds(size: float, devices: int, links: Links) -> float:
    """Time of an all-reduce of ``size`` bytes over so many devices.

    >>> round(1e3 * all_reduce_seconds(19e6, 8, LINKS["h100-infiniband"]), 3)
    0.102
    """
    inner = min(devices, links.group)
    outer = math.ceil(devices / inner)
    return _all_reduce(size, inner, links.inner_bytes_per_s, links.inner_latency_s) + _all_reduce(
        size / inner, outer, links.outer_bytes_per_s, links.outer_latency_s
    )


def _all_reduce(size: float, devices: int, bytes_per_s: float, latency_s: float) -> float:
    if devices == 1:
        return 0.0
    ring = 2 * (devices - 1) / devices * size / bytes_per_s + 2 * (devices - 1) * latency_s
    tree = 2 * size / bytes_per_s + 2 * math.ceil(math.log2(devices)) * latency_s
    return min(ring, tree)


def bytes_of(tree: Any) -> int:
    """Bytes of all arrays of a tree; of parameters, what a step all-reduces but for scalars."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def measure_one(
    setting: Setting, *, rounds: int, known: tuple[float, float] | None = None
) -> Measured:
    """Measures a training step of one device, or takes what another machine said.

    Args:
      setting: the step.
      rounds: repetitions.
      known: seconds and temporary bytes of the step; measured here if None.

    Raises:
      InputError: this platform does not tell the step's memory.
    """
    built = setting.build()
    network = built.make_model(CLASSES)
    state = jax.eval_shape(lambda: make_state(built, network))
    if known is None:
        found = measure(setting, rounds=rounds, inference=False)
        known = found["step_s"], found["step_bytes"]
        if known[1] is None:
            raise InputError("the compiler does not tell a step's memory here: use --measured")
    one = jax.ShapeDtypeStruct((1, *setting.image.shape[1:]), setting.image.dtype)
    return Measured(
        step_s=known[0],
        batch=setting.batch,
        gradient_bytes=bytes_of(state.params),
        state_bytes=bytes_of(state),
        activation_bytes=int(known[1]),
        halo=halo_of(network.apply, state.variables(), one),
    )


def halo_of(function: Any, *arguments: Any) -> Halo:
    """The halo of a network's step, from the convolutions of its forward pass.

    A convolution of k taps and stride s along the split axis lacks k - s planes; the
    gradient of its output lacks an s-th of them.

    Args:
      function: of the arguments; the network for one volume.
      *arguments: arrays or ``jax.ShapeDtypeStruct``.
    """
    total = forward = count = 0
    for equation in _convolutions(jax.make_jaxpr(function)(*arguments).jaxpr):
        numbers, stride = equation.params["dimension_numbers"], equation.params["window_strides"][0]
        x, kernel = (variable.aval for variable in equation.invars)
        output = equation.outvars[0].aval
        taps = (kernel.shape[numbers.rhs_spec[2]] - 1) * equation.params["rhs_dilation"][0] + 1
        planes = max(0, taps - stride)
        if planes:
            of_input = x.size // x.shape[numbers.lhs_spec[2]] * x.dtype.itemsize
            of_output = output.size // output.shape[numbers.out_spec[2]] * output.dtype.itemsize
            count, forward = count + 1, forward + planes * of_input
            total += 2 * planes * of_input + math.ceil(planes / stride) * of_output
    return Halo(bytes=total, forward_bytes=forward, convolutions=count)


def _convolutions(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            yield equation
        elif name == "cond" and None in (params.get("branches_platforms") or ()):
            yield from _convolutions(
                params["branches"][params["branches_platforms"].index(None)].jaxpr
            )
        else:
            for inside in jaxprs_in_params(params):
                yield from _convolutions(inside)


def predict(
    measured: Measured, links: Links, *, devices: int, volumes: int, strategy: str, split: int = 1
) -> dict[str, Any] | None:
    """A training step on so many devices.

    Args:
      measured: on one device.
      links: of the accelerators.
      devices: how many.
      volumes: of a step, over all devices.
      strategy: one of ``STRATEGIES``.
      split: devices that share a volume, for the spatial split.

    Returns:
      Seconds of computation and communication; of a step and its efficiency without and
      with overlap; what a device exchanges and holds, in bytes. None where there are more
      devices than volumes, or parts of them.
    """
    if volumes * split % devices:
        return None
    compute = measured.step_s / measured.batch * volumes / devices
    gradient = measured.gradient_bytes
    reduce_s = all_reduce_seconds(gradient, devices, links)
    exchanged = 2 * (devices - 1) / devices * gradient
    state, halo_s = float(measured.state_bytes), 0.0
    if strategy == "fully sharded":
        reduce_s, exchanged, state = 1.5 * reduce_s, 1.5 * exchanged, state / devices
    elif strategy == "spatial split":
        shared = volumes * split // devices  # volumes of each group of devices
        near = split <= links.group
        rate = links.inner_bytes_per_s if near else links.outer_bytes_per_s
        latency = links.inner_latency_s if near else links.outer_latency_s
        messages = 3 + 2 * 2 * math.ceil(math.log2(split))  # halos, and moments there and back
        halo_s = shared * measured.halo.bytes / rate
        halo_s += measured.halo.convolutions * messages * latency
        exchanged += shared * measured.halo.bytes
    hidden = min(reduce_s, BACKWARD_SHARE * compute)
    communication, shown = reduce_s + halo_s, reduce_s - hidden + halo_s
    activations = measured.activation_bytes / measured.batch * volumes / devices
    step_s, overlapped_s = compute + communication, compute + shown
    figures = (
        devices, volumes, compute, communication, step_s, overlapped_s,
        compute / step_s, compute / overlapped_s, exchanged, state + activations,
    )  # fmt: skip
    return dict(zip(FIGURES, figures, strict=True))


def tables(
    measured: Measured,
    links: Links,
    accelerators: Sequence[int],
    *,
    global_batch: int,
    split: int,
    most_parts: int,
) -> Iterable[dict[str, Any]]:
    """Rows of both scalings and all strategies.

    Weak scaling keeps the volumes of a device, strong those of a step. There the spatial
    split shares a volume among as many devices as it takes.

    Args:
      measured: on one device.
      links: of the accelerators.
      accelerators: how many.
      global_batch: volumes of a step for strong scaling.
      split: devices that share a volume at least, for the spatial split.
      most_parts: that a volume can be split into.
    """
    for scaling in SCALINGS:
        for strategy in STRATEGIES:
            for devices in accelerators:
                volumes = global_batch if scaling == "strong" else devices * measured.batch
                parts = 1
                if strategy == "spatial split":
                    parts = max(split, math.ceil(devices / volumes))
                found = None
                if parts <= most_parts:
                    found = predict(
                        measured, links, devices=devices, volumes=volumes,
                        strategy=strategy, split=parts,
                    )  # fmt: skip
                name = f"{scaling}, {strategy}, {devices}"
                yield {"case": name, "parts": parts, **(found or dict.fromkeys(FIGURES))}
