"""The clock of the training loop: when waiting for data counts."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from brainjax.training.loop import _Clock


class SlowBatches:
    """Batches of which each is waited for a second, by its own account."""

    waited_seconds = 0.0

    def __next__(self):
        self.waited_seconds += 1.0
        return {}


@pytest.mark.parametrize(
    ("ready", "counted"), [([], 1.0), ([True, True], 1.0), ([True, False], 0.0)]
)
def test_waiting_counts_where_the_device_has_nothing_to_do(ready, counted):
    clock = _Clock(SlowBatches(), done=3)
    running = {str(i): SimpleNamespace(is_ready=lambda r=r: r) for i, r in enumerate(ready)}
    assert clock.next_batch(running) == {}
    assert clock.idle_seconds == counted
    time.sleep(0.01)
    rate, share = clock.rates(4)
    assert rate > 0
    assert share == counted  # a second of idleness in some hundredths: cut at the whole
    clock.restart(4)
    time.sleep(0.01)
    assert clock.rates(5)[1] == 0.0
