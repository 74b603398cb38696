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
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4

_SET_BY_USER = (
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
)


def keep_freed_memory() -> bool:
    """Lets this process keep what its main thread frees, for the next allocations.

    Other threads have arenas of their own, which hold no more than 64 MiB in one piece and
    give memory back all the same. One arena for all would not, but then they wait for one
    another: an eighth of a 3D network's training step, a quarter of the time to compile. So
    programs have to be started, and their memory allocated, by the main thread. Does
    nothing without glibc or where the environment sets malloc's parameters itself.

    Returns:
      Whether it was done.
    """
    if sys.platform != "linux" or any(os.environ.get(name) for name in _SET_BY_USER):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # The main thread's arena, grown by sbrk alone and never trimmed (-1).
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(mallopt(parameter, value) == 1 for parameter, value in wanted)
