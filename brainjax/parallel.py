"""Start-up, devices and the way from a host batch to arrays on them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from brainjax.errors import InputError
from brainjax.host_memory import keep_freed_memory
from brainjax.layers import onednn

STEP_INPUTS = ("image", "labels", "texture")
"""What a training step may use of a batch."""

_LEAST_SECONDS = "jax_persistent_cache_min_compile_time_secs"


def cache_folder() -> Path:
    """The user's cache: ``BRAINJAX_CACHE_DIR``, else ``~/.cache/brainjax``."""
    named = os.environ.get("BRAINJAX_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "brainjax"


def start() -> None:
    """Keeps freed memory, and turns on JAX's persistent compilation cache.

    On a CPU where convolutions can go through oneDNN the cache only takes what is compiled
    under ``cached``, since it cannot hold programs with that call: compiling those anew takes
    some ten seconds, every training step is half as long. With ``BRAINJAX_CPU_CONV=sum2d``,
    or a cache that jax itself was told of, it is the other way round. Has to come before
    JAX's first use of a device.
    """
    keep_freed_memory()
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    folder = cache_folder() / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    fast = os.environ.get("BRAINJAX_CPU_CONV", "auto") in ("auto", "onednn")
    through_onednn = jax.default_backend() == "cpu" and fast and not onednn.unsupported()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update(_LEAST_SECONDS, onednn.NEVER_WRITTEN if through_onednn else 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """What is compiled inside goes to the compilation cache, whatever it is made of.

    For programs that do not convolve, such as drawing the first parameters: convolutions
    traced inside do not go through oneDNN.
    """
    before = jax.config.values[_LEAST_SECONDS]
    jax.config.update(_LEAST_SECONDS, 0.0)
    try:
        yield
    finally:
        jax.config.update(_LEAST_SECONDS, before)


def make_mesh(batch_size: int) -> Mesh:
    """All local devices along one axis, ``data``, that the batch is split over.

    Raises:
      InputError: the batch does not divide by the number of devices.
    """
    devices = jax.local_devices()
    if batch_size % len(devices):
        below, above = batch_size - batch_size % len(devices), -(-batch_size // len(devices))
        raise InputError(
            f"batches.batch_size {batch_size} does not divide by the {len(devices)} devices here; "
            f"try {below or above * len(devices)}"
        )
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device: parameters, optimiser state, metrics."""
    return NamedSharding(mesh, PartitionSpec())


def place_batch(batch: dict[str, Any], mesh: Mesh) -> dict[str, jax.Array]:
    """What the training step needs of a host batch, the first axis split over the devices."""
    split = NamedSharding(mesh, PartitionSpec("data"))
    needed = {name: np.asarray(batch[name]) for name in STEP_INPUTS if name in batch}
    return jax.device_put(needed, split)
