from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest

from brainjax.layers import onednn


@pytest.fixture(scope="module")
def programs_not_written() -> Iterator[None]:
    """Programs with the oneDNN call must not reach JAX's persistent cache."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update(name, 10 * onednn.NEVER_WRITTEN)
    yield
    jax.clear_caches()
    jax.config.update(name, before)
