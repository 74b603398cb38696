"""Start-up: memory, the other processes, and the compilation cache."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax

from brainjax.host_memory import keep_freed_memory
from brainjax.layers import onednn
from brainjax.parallel.connect import connect

_LEAST_SECONDS = "jax_persistent_cache_min_compile_time_secs"


def cache_folder() -> Path:
    """The user's cache: ``BRAINJAX_CACHE_DIR``, else ``~/.cache/brainjax``."""
    named = os.environ.get("BRAINJAX_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "brainjax"


def start(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> None:
    """Keeps freed memory, joins other processes, and turns on JAX's compilation cache.

    On a CPU programs run in the thread that calls them, as ``keep_freed_memory`` wants it.

    On a CPU where convolutions can go through oneDNN the cache only takes what is compiled
    under ``cached``, since it cannot hold programs with that call: compiling those anew takes
    some ten seconds, every training step is half as long. With ``BRAINJAX_CPU_CONV=sum2d``,
    or a cache that jax itself was told of, it is the other way round. Has to come before
    JAX's first use of a device.

    Args:
      coordinator: see ``connect``.
      processes: see ``connect``.
      process: see ``connect``.

    Raises:
      InputError: the other processes of the run cannot be reached.
    """
    keep_freed_memory()
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    connect(coordinator, processes, process)
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
