"""Requests to stop, agreed on by all processes."""

from __future__ import annotations

import itertools
import signal
import threading
from typing import Any

import jax

from brainjax.parallel.processes import WEEK_MS, client, gather

_numbers = itertools.count()

_ASKED, _OVER = "asked", "over"


class StopOnSignal:
    """Becomes true on SIGTERM or SIGINT of any process; a second SIGINT interrupts at once.

    Several processes stop after the same step: that of the one furthest ahead when they hear
    of it. All have to make one of these at the same time.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._told_step = False
        self._last_step: int | None = None
        self._folder = f"brainjax/stop/{next(_numbers)}"
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)
        }
        if client() is not None:
            self._listener.start()

    def asked(self) -> bool:
        """Whether any process was asked, as far as this one has heard."""
        return self._asked.is_set()

    def after(self, step: int, ending: bool) -> bool:
        """Whether all processes stop because they were asked to.

        Args:
          step: how many are done.
          ending: whether the run ends here anyway, on all processes alike.
        """
        if client() is None:
            return self.asked()
        if (ending or self.asked()) and not self._told_step:
            client().key_value_set(f"{self._folder}/step/{jax.process_index()}", str(step))
            self._told_step = True
        if ending:
            return any(gather(self.asked()))
        if not self.asked():
            return False
        if self._last_step is None:
            self._last_step = max(
                int(client().blocking_key_value_get(f"{self._folder}/step/{process}", WEEK_MS))
                for process in range(jax.process_count())
            )
        return step >= self._last_step

    def restore(self) -> None:
        """Stops listening, and puts the signals' handlers back that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if client() is not None:
            self._tell(_OVER)
            self._listener.join(timeout=10)

    def _tell(self, what: str) -> None:
        client().key_value_set(f"{self._folder}/{_ASKED}", what, allow_overwrite=True)

    def _listen(self) -> None:
        try:
            told = client().blocking_key_value_get(f"{self._folder}/{_ASKED}", WEEK_MS)
        except Exception:  # the run is lost, which ``watch`` deals with
            return
        if told == _ASKED:
            self._asked.set()

    def _ask(self, number: int, frame: Any) -> None:
        del frame
        if self._asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked.set()
        print("asked to stop: saving after this step", flush=True)
        if client() is not None:
            self._tell(_ASKED)
