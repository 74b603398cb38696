"""What XLA is told on each platform."""

from __future__ import annotations

import functools

import jax

CHANNELS_LAST = {"xla_gpu_force_conv_nhwc": "True"}


def prediction_options() -> dict[str, str] | None:
    """What ``jax.jit`` has to compile a prediction with on this platform.

    On a GPU convolutions keep their channels last. By itself XLA turns volumes round, of
    bfloat16 as well, and on an H100 takes one and a half times as long.
    """
    if jax.default_backend() == "gpu" and _are_known():
        return dict(CHANNELS_LAST)
    return None


def training_options() -> dict[str, str] | None:
    """What ``jax.jit`` has to compile a training step with on this platform.

    On a GPU the same as for predictions. On CPUs LLVM's first level of optimisation makes
    steps within two percent as fast as its third, in seven to nine tenths of the time to
    compile. And XLA drops the barriers around what is worked out again before it merges
    equal computations, and so keeps what was to be forgotten: without that pass they stay,
    in steps with checkpointed blocks; others have none.
    """
    if jax.default_backend() == "cpu":
        return {
            "xla_backend_optimization_level": "1",
            "xla_disable_hlo_passes": "cse_barrier_expander",
        }
    return prediction_options()


@functools.cache
def _are_known() -> bool:
    """Whether this version of XLA has the options."""
    try:
        jax.jit(lambda: 0.0, compiler_options=dict(CHANNELS_LAST)).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
