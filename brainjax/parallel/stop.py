"""Requests to stop, agreed on by all processes."""

from __future__ import annotations

import signal
import threading
from typing import Any

import jax

from brainjax.parallel.processes import WEEK_MS, client

_ASKED = "brainjax/stop/asked"
_REACHED = "brainjax/stop/step"


class StopOnSignal:
    """Becomes true on SIGTERM or SIGINT of any process; a second SIGINT interrupts at once.

    Several processes stop after the same step: the one furthest ahead when they hear of it.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._last_step: int | None = None
        self._before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)
        }
        if client() is not None:
            threading.Thread(target=self._listen, daemon=True).start()

    def asked(self) -> bool:
        """Whether any process was asked, as far as this one has heard."""
        return self._asked.is_set()

    def after(self, step: int) -> bool:
        """Whether all processes stop after this step, of which they have done so many."""
        if client() is None or not self.asked():
            return self.asked()
        if self._last_step is None:
            client().key_value_set(f"{_REACHED}/{jax.process_index()}", str(step))
            self._last_step = max(
                int(client().blocking_key_value_get(f"{_REACHED}/{process}", WEEK_MS))
                for process in range(jax.process_count())
            )
        return step >= self._last_step

    def restore(self) -> None:
        """Puts the handlers back that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _listen(self) -> None:
        try:
            client().blocking_key_value_get(_ASKED, WEEK_MS)
        except Exception:  # the run has ended
            return
        self._asked.set()

    def _ask(self, number: int, frame: Any) -> None:
        del frame
        if self._asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked.set()
        print("asked to stop: saving after this step", flush=True)
        if client() is not None:
            client().key_value_set(_ASKED, "", allow_overwrite=True)
