"""What the processes of one run tell each other besides arrays.

All goes through the coordination service that JAX starts with them, by keys and values, and
not through devices: it works before there is a mesh, and waits as long as it takes. Every
process has to make the same calls in the same order. With one process nothing here waits.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
from jax._src import distributed  # the only way to the service that JAX itself goes by

Value = TypeVar("Value")

WEEK_MS = 7 * 24 * 3600 * 1000
_PIECE = 2**20  # bytes of one value, well below the limit of a message

_numbers = itertools.count()


def client() -> Any:
    """JAX's client of the coordination service; None where there is one process."""
    return distributed.global_state.client


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def barrier() -> None:
    """Returns when all processes are here."""
    if client() is not None:
        client().wait_at_barrier(f"brainjax/barrier/{next(_numbers)}", WEEK_MS)


def gather(value: Value) -> list[Value]:
    """The values of all processes, in their order; any that can be pickled.

    >>> gather("mine")
    ['mine']
    """
    if client() is None:
        return [value]
    folder = f"brainjax/gather/{next(_numbers)}"
    _write(f"{folder}/{jax.process_index()}", value)
    found = [_read(f"{folder}/{process}") for process in range(jax.process_count())]
    client().wait_at_barrier(f"{folder}/read", WEEK_MS)
    if is_first():
        client().key_value_delete(folder)
    return found


def from_first(make: Callable[[], Value]) -> Value:
    """What the first process makes, given to all.

    >>> from_first(lambda: 3)
    3
    """
    if client() is None:
        return make()
    key = f"brainjax/first/{next(_numbers)}"
    if is_first():
        _write(key, make())
    return _read(key)


@contextlib.contextmanager
def first_goes_first() -> Iterator[None]:
    """The first process does what is inside, then the others, who find it done."""
    if not is_first():
        barrier()
    yield
    if is_first():
        barrier()


def shard() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    return jax.process_index(), jax.process_count()


def own_share(values: Sequence[Value]) -> list[Value]:
    """Every so many-th of some values: what this process has to do of them."""
    return list(values[jax.process_index() :: jax.process_count()])


def in_order(shares: Sequence[Sequence[Value]]) -> list[Value]:
    """What ``own_share`` dealt out, put together again.

    >>> in_order([[0, 2, 4], [1, 3]])
    [0, 1, 2, 3, 4]
    """
    longest = max(map(len, shares))
    return [share[row] for row in range(longest) for share in shares if row < len(share)]


def _write(key: str, value: Any) -> None:
    data = pickle.dumps(value)
    pieces = [data[start : start + _PIECE] for start in range(0, len(data), _PIECE)]
    for number, piece in enumerate(pieces):
        client().key_value_set_bytes(f"{key}/{number}", piece)
    client().key_value_set(f"{key}/pieces", str(len(pieces)))


def _read(key: str) -> Any:
    pieces = int(client().blocking_key_value_get(f"{key}/pieces", WEEK_MS))
    read = client().blocking_key_value_get_bytes
    return pickle.loads(b"".join(read(f"{key}/{number}", WEEK_MS) for number in range(pieces)))
