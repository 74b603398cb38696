"""What XLA is told on each platform."""

from __future__ import annotations

import functools

import jax

CHANNELS_LAST = {"xla_gpu_force_conv_nhwc": "True"}
KEEP_BARRIERS = {"xla_disable_hlo_passes": "cse_barrier_expander"}
FAST_COMPILE = {"xla_cpu_opt_preset": "CPU_OPT_PRESET_FAST_COMPILE"}


def prediction_options() -> dict[str, str] | None:
    """What ``jax.jit`` has to compile a prediction with on this platform.

    On a GPU convolutions keep their channels last. By itself XLA turns volumes round, of
    bfloat16 as well, and on an H100 takes one and a half times as long. On CPUs the barriers
    that layers put into a program stay, where XLA drops them before it joins operations.
    """
    backend = jax.default_backend()
    if backend == "gpu" and _known(**CHANNELS_LAST):
        return dict(CHANNELS_LAST)
    return dict(KEEP_BARRIERS) if backend == "cpu" else None


def training_options() -> dict[str, str] | None:
    """What ``jax.jit`` has to compile a training step with on this platform.

    The same as for predictions; on CPUs also LLVM's first level of optimisation and XLA's
    own choice of what is compiled sooner: steps are as fast, and compiled in half the time
    (predictions are not as fast). Barriers matter here in steps with checkpointed blocks:
    without them XLA merges what is worked out again, and keeps what was to be forgotten.
    """
    options = prediction_options()
    if jax.default_backend() != "cpu":
        return options
    options = {**(options or {}), "xla_backend_optimization_level": "1"}
    return {**options, **FAST_COMPILE} if _known(**FAST_COMPILE) else options


@functools.cache
def _known(**options: str) -> bool:
    """Whether this version of XLA has the options."""
    try:
        jax.jit(lambda: 0.0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
