"""Which slices are the same picture: exactly, or but for compression, size, contrast, mirroring."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from brainjax.errors import InputError
from brainjax.records.picture_hashes import average_cells, hash_cells
from brainjax.records.slice_schema import SliceRecord

#: Bits of the difference hash that near duplicates may differ in.
NEAR_DISTANCE = 6

#: What the thumbnails of near duplicates correlate at least. Copies with other contrast
#: lie above; neighbouring slices of one scan lie below, but for two or three pairs in a
#: thousand slices (looked through on the four-class and the figshare set).
LEAST_CORRELATION = 0.985

#: As it is, and turned over: steps along rows and columns.
_AS_IT_IS = (1, 1)
_TURNED_OVER = ((1, -1), (-1, 1), (-1, -1))

_ROWS_AT_A_TIME = 512
_PAIRS_AT_A_TIME = 8192

Groups = tuple[tuple[int, ...], ...]


class HasPictures(Protocol):
    """What :func:`find_duplicates` looks at; :class:`SliceRecords` has it."""

    @property
    def slices(self) -> Sequence[SliceRecord]: ...

    @property
    def thumbnails(self) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Groups of slices that show the same picture, as ascending indices.

    Attributes:
      exact: equal in every pixel.
      near: alike or equal; only groups in which not all are equal. A group may
        hold two slices that are alike only by way of a third.
    """

    exact: Groups
    near: Groups

    @property
    def together(self) -> Groups:
        """Both kinds, each slice in one group at most."""
        inside = {index for group in self.near for index in group}
        return self.near + tuple(group for group in self.exact if group[0] not in inside)


def find_duplicates(
    records: HasPictures,
    *,
    near_distance: int = NEAR_DISTANCE,
    least_correlation: float = LEAST_CORRELATION,
    mirrored: bool = True,
) -> Duplicates:
    """Finds exact duplicates by digest, near ones by difference hash and thumbnail.

    Two slices are near duplicates if their hashes differ in few bits and their
    thumbnails, without mean and scale, agree: brightness and contrast do not
    count. A few seconds for 5,000 slices; it grows with the square.

    Args:
      records: prepared slices.
      near_distance: bits, 0 to 64.
      least_correlation: of the thumbnails.
      mirrored: whether a picture that is turned over (left to right, top to
        bottom, both) is a near duplicate; public sets hold many.

    Raises:
      InputError: ``near_distance`` is not a number of bits.
    """
    if not 0 <= near_distance <= 64:
        raise InputError(f"near_distance: expected 0 to 64 bits, found {near_distance}")
    count = len(records.slices)
    digests: dict[str, int] = {}
    same = np.array([digests.setdefault(s.digest, len(digests)) for s in records.slices], np.int64)
    exact = _group(same)
    first = np.full(len(digests), count)
    np.minimum.at(first, same, np.arange(count))
    pictures = np.asarray(records.thumbnails)[first]
    cells = np.stack([average_cells(picture) for picture in pictures])
    hashes = np.array([int(records.slices[i].difference_hash, 16) for i in first], np.uint64)
    links = [np.stack([first[same], np.arange(count)])]  # each with the first of its copies
    for down, right in (_AS_IT_IS, *(_TURNED_OVER if mirrored else ())):
        others = hash_cells(cells[:, ::down, ::right])
        for pairs in _close_pairs(hashes, others, near_distance):
            correlation = _correlations(pictures, pictures[:, ::down, ::right], pairs)
            links.append(first[pairs[:, correlation >= least_correlation]])
    row, column = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(row), bool), (row, column)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    near = tuple(group for group in _group(component) if len(set(same[list(group)])) > 1)
    return Duplicates(exact=exact, near=near)


def count_across(groups: Groups, sides: Sequence[Iterable[int]]) -> int:
    """Counts held-out slices that have a copy on an earlier side.

    Args:
      groups: of copies.
      sides: the slices of training, validation and test, in this order.

    >>> count_across(((0, 1, 5), (2, 3)), [[0, 4], [1, 2], [3, 5]])
    3
    """
    return len(_held_out_copies(groups, sides))


def count_near_across(duplicates: Duplicates, sides: Sequence[Iterable[int]]) -> int:
    """Counts as :func:`count_across` those that have a near copy there and no exact one."""
    sides = [tuple(side) for side in sides]
    near = _held_out_copies(duplicates.near, sides)
    return len(near - _held_out_copies(duplicates.exact, sides))


def _held_out_copies(groups: Groups, sides: Sequence[Iterable[int]]) -> set[int]:
    side_of: Mapping[int, int] = {
        index: number for number, side in enumerate(sides) for index in side
    }
    found = set()
    for group in groups:
        placed = [index for index in group if index in side_of]
        earliest = min((side_of[index] for index in placed), default=0)
        found |= {index for index in placed if side_of[index] > earliest}
    return found


def _close_pairs(hashes: np.ndarray, others: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Pairs i < j of few different bits, int [2, n], some at a time."""
    for start in range(0, len(hashes), _ROWS_AT_A_TIME):
        rows = hashes[start : start + _ROWS_AT_A_TIME, np.newaxis]
        bits = np.bitwise_count(rows ^ others[np.newaxis, start:])
        pairs = np.stack(np.nonzero(np.triu(bits <= distance, 1))) + start
        for column in range(0, pairs.shape[1], _PAIRS_AT_A_TIME):
            yield pairs[:, column : column + _PAIRS_AT_A_TIME]


def _correlations(first: np.ndarray, second: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Pearson's correlation of first[i] with second[j], 1 where both are uniform: float [n]."""
    one, other = (
        pictures[side].reshape(len(side), -1).astype(np.float32)
        for pictures, side in zip((first, second), pairs, strict=True)
    )
    one -= one.mean(axis=1, keepdims=True)
    other -= other.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    uniform = ~one.any(axis=1) & ~other.any(axis=1)
    product = np.einsum("ij,ij->i", one, other)
    return np.where(uniform, 1.0, product / np.maximum(scale, 1e-6))


def _group(keys: np.ndarray) -> Groups:
    members = defaultdict(list)
    for index, key in enumerate(keys.tolist()):
        members[key].append(index)
    return tuple(tuple(group) for group in members.values() if len(group) > 1)
