"""Holding out a share of slices by groups, with the classes in proportion."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np


def merge_groups(count: int, *groupings: Iterable[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Joins groups that share a member; who is in none is a group alone.

    Args:
      count: the members are 0 to count - 1.
      groupings: several lists of groups.

    Returns:
      Groups of ascending members, by their first.

    >>> merge_groups(5, [(0, 1)], [(1, 3)])
    ((0, 1, 3), (2,), (4,))
    """
    parent = list(range(count))

    def root(member: int) -> int:
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for grouping in groupings:
        for group in grouping:
            for member in group[1:]:
                first, second = sorted((root(group[0]), root(member)))
                parent[second] = first
    return group_by({member: root(member) for member in range(count)})


def group_by(keys: Mapping[int, Hashable]) -> tuple[tuple[int, ...], ...]:
    """Groups the members with equal keys, by their first.

    >>> group_by({0: "a", 1: "b", 2: "a"})
    ((0, 2), (1,))
    """
    groups: dict[Hashable, list[int]] = {}
    for member in sorted(keys):
        groups.setdefault(keys[member], []).append(member)
    return tuple(tuple(group) for group in groups.values())


def hold_out(
    groups: Sequence[Sequence[int]],
    *,
    labels: Sequence[int],
    names: Sequence[str],
    fraction: float,
    seed: str,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Divides groups in two so that of each class about the same share is held out.

    Large groups come first, equal ones by a hash of their first name and the
    seed; each goes to the side that leaves the classes (and their sum) nearest
    to their shares, in squares, so far. With groups of one the count of each
    class is right within about one. Neither side stays empty if there are two
    groups. The order of the input does not matter.

    Args:
      groups: disjoint groups of members; what is in none is left out.
      labels: class of each member.
      names: unique name of each member.
      fraction: share to hold out, 0 to 1.
      seed: another seed, another division.

    Returns:
      Members kept and members held out, both ascending.
    """
    if fraction == 0:
        return tuple(sorted(member for group in groups for member in group)), ()
    classes = max((labels[member] for group in groups for member in group), default=0) + 1

    def rank(group: Sequence[int]) -> tuple[int, str]:
        first = min(names[member] for member in group)
        return -len(group), hashlib.sha256(f"{seed}/{first}".encode()).hexdigest()

    sides: tuple[list[int], list[int]] = ([], [])
    excess = np.zeros(classes + 1)  # held out beyond the share, by class and in all
    for group in sorted(groups, key=rank):
        size = np.bincount([labels[member] for member in group], minlength=classes + 1)
        size[classes] = len(group)
        # |excess + (1 - fraction) size|^2 < |excess - fraction size|^2, multiplied out.
        held_out = bool(2 * excess @ size + (1 - 2 * fraction) * (size @ size) < 0)
        excess += ((1 - fraction) if held_out else -fraction) * size
        sides[held_out].extend(group)
    for side, other in (sides, sides[::-1]):
        if not side and len(groups) > 1:
            smallest = max(groups, key=rank)
            side.extend(smallest)
            other[:] = [member for member in other if member not in set(smallest)]
    return tuple(sorted(sides[0])), tuple(sorted(sides[1]))
