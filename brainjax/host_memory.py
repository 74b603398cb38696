"""How the C library hands out the memory that programs on a CPU compute in.

XLA allocates the memory of a program's intermediate results when a step starts and
frees it when the step ends. By default glibc then gives it back to the system, which
clears every page of it again in the next step: a fifth of a classifier's training step.
"""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8

_SET_BY_USER = (
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
)


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees, for its next allocations.

    Has to come before JAX's first use of a device: threads that exist by then keep to
    arenas of their own, which give memory back all the same. Does nothing without glibc
    or where the environment sets malloc's parameters itself.

    Returns:
      Whether it was done.
    """
    if sys.platform != "linux" or any(os.environ.get(name) for name in _SET_BY_USER):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena, grown by sbrk alone and never trimmed (-1).
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(mallopt(parameter, value) == 1 for parameter, value in wanted)
