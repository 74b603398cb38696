"""Records on disk, and cheap random crops of them through a memory-mapped voxel store.

A folder of records holds::

    records.json              which generation is valid, and all metadata; written last
    records-<name>/           one generation
      brain_volumes/1.0.0/    ArrayRecord files: the portable store
      voxels/00000.*.npy      image, labels and foreground voxels of each case, uncompressed

Reading from ArrayRecord decompresses a whole volume; the voxel store exists so
that a crop touches only its own pages. It is derived: what is missing or of the
wrong size is written again from the ArrayRecord.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainjax.errors import InputError
from brainjax.records.builders import read_array_records
from brainjax.records.generations import open_manifest
from brainjax.records.locks import exclusive
from brainjax.records.schema import CaseRecord
from brainjax.records.voxels import (
    KINDS,
    OpenMaps,
    find_broken_voxels,
    voxel_path,
    voxel_shape,
    write_voxels,
)

LOGGER = logging.getLogger(__name__)

FORMAT = "brainjax-records"


@dataclass(frozen=True, kw_only=True)
class StoredCase:
    """The voxels of one whole case.

    Attributes:
      record: the metadata, among it where the box lies in the volume.
      image: float16 [d, h, w, C], z-scored, the box only; outside it is 0.
      labels: uint8 [d, h, w], classes, the box only; outside it is background.
    """

    record: CaseRecord
    image: np.ndarray
    labels: np.ndarray

    def full_image(self) -> np.ndarray:
        """The image on the whole LPS grid, float16 [D, H, W, C]."""
        return self._on_full_grid(self.image)

    def full_labels(self) -> np.ndarray:
        """The labels on the whole LPS grid, uint8 [D, H, W]."""
        return self._on_full_grid(self.labels)

    def _on_full_grid(self, array: np.ndarray) -> np.ndarray:
        record = self.record
        full = np.zeros(record.full_shape + array.shape[3:], array.dtype)
        box = tuple(
            slice(start, start + size)
            for start, size in zip(record.box_offset, record.box_shape, strict=True)
        )
        full[box] = array
        return full


@dataclass(frozen=True, kw_only=True)
class Records:
    """A prepared cohort: metadata in memory, voxels on disk. Can be pickled.

    Attributes:
      directory: the folder that was prepared.
      folder: the valid generation within it.
      cases: one entry per case, sorted by case id.
      modalities: the image's channels, in order.
      label_convention: the convention of the raw labels, a key of ``scans.CONVENTIONS``.
      reason: why they were prepared just now; ``""`` when they were there already.
    """

    directory: Path
    folder: Path
    cases: tuple[CaseRecord, ...]
    modalities: tuple[str, ...]
    label_convention: str
    reason: str = ""
    _maps: OpenMaps = field(default_factory=OpenMaps, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def patients(self) -> tuple[str, ...]:
        """The patients, sorted, each once."""
        return tuple(sorted({case.patient_id for case in self.cases}))

    @property
    def grades(self) -> dict[str, str]:
        """Patient to grade (that of the patient's last case)."""
        return {case.patient_id: case.grade for case in self.cases}

    def case_indices(self, patients: Iterable[str]) -> tuple[int, ...]:
        """The cases of these patients, in order."""
        wanted = set(patients)
        return tuple(i for i, case in enumerate(self.cases) if case.patient_id in wanted)

    def read_crop(
        self,
        case_index: int,
        start: tuple[int, int, int],
        shape: tuple[int, int, int],
        *,
        image: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reads a block of one case; what lies outside the stored box is 0.

        Args:
          case_index: position in ``cases``.
          start: first voxel in the LPS volume (D, H, W); may be negative.
          shape: size (d, h, w); may reach beyond the volume.
          image: where to write the image, float16 [d, h, w, C]; made if not given.
          labels: where to write the labels, uint8 [d, h, w]; made if not given.

        Returns:
          float16 [d, h, w, C], z-scored, and uint8 [d, h, w], classes.

        Raises:
          InputError: the case's voxel files are gone or broken.
        """
        record = self.cases[case_index]
        inner, outer = [], []
        for first, size, offset, stored in zip(
            start, shape, record.box_offset, record.box_shape, strict=True
        ):
            low = max(first, offset)
            high = max(low, min(first + size, offset + stored))
            inner.append(slice(low - offset, high - offset))
            outer.append(slice(low - first, high - first))
        covered = tuple(side.stop - side.start for side in outer) == tuple(shape)
        block = []
        for kind, given in (("image", image), ("labels", labels)):
            stored_array = self._map(case_index, kind)
            if given is None:
                given = np.empty(tuple(shape) + stored_array.shape[3:], stored_array.dtype)
            if not covered:
                given[...] = 0
            given[tuple(outer)] = stored_array[tuple(inner)]
            block.append(given)
        return block[0], block[1]

    def read_case(self, case_index: int) -> StoredCase:
        """Reads one whole case into memory.

        Raises:
          InputError: the case's voxel files are gone or broken.
        """
        return StoredCase(
            record=self.cases[case_index],
            image=np.array(self._map(case_index, "image")),
            labels=np.array(self._map(case_index, "labels")),
        )

    def foreground(self, case_index: int, class_index: int) -> np.ndarray:
        """Evenly chosen voxels of one class, at most ``FOREGROUND_SAMPLES``.

        Returns:
          int32 [n, 3], positions in the LPS volume; n is 0 if the class is absent.

        Raises:
          InputError: the case's voxel files are gone or broken.
        """
        record = self.cases[case_index]
        table = self._map(case_index, "foreground")  # [N, 4]
        return table[table[:, 0] == class_index, 1:].astype(np.int32) + record.box_offset

    def _map(self, case_index: int, kind: str) -> np.ndarray:
        shape = voxel_shape(self.cases[case_index], kind, channels=len(self.modalities))
        return self._maps.get(voxel_path(self.folder, case_index, kind), shape, KINDS[kind])


def open_records(directory: Path | str, *, reason: str = "") -> Records:
    """Opens prepared records; repairs the voxel store if it has to.

    Args:
      directory: the folder that ``prepare_records`` filled.
      reason: what ``Records.reason`` shall say.

    Raises:
      InputError: no records there, or the ArrayRecord files are not whole.
    """
    directory = Path(directory).absolute()
    manifest = open_manifest(directory, FORMAT)
    records = Records(
        directory=directory,
        folder=directory / manifest["folder"],
        cases=tuple(CaseRecord.from_json(case) for case in manifest["cases"]),
        modalities=tuple(manifest["sources"]["modalities"]),
        label_convention=manifest["sources"]["label_convention"],
        reason=reason,
    )
    if find_broken_voxels(records.folder, manifest["voxel_bytes"]):
        with exclusive(directory):
            _repair_voxels(records, manifest)
    return records


def _repair_voxels(records: Records, manifest: Mapping[str, Any]) -> None:
    """Writes missing or broken voxel files again from the ArrayRecord."""
    broken = find_broken_voxels(records.folder, manifest["voxel_bytes"])
    if not broken:
        return
    LOGGER.warning(
        "%s: writing the voxel files of %d cases again", records.folder / "voxels", len(broken)
    )
    for index, example in zip(broken, read_array_records(records.folder, broken), strict=True):
        if example.record != records.cases[index]:
            raise InputError(
                f"{records.folder}: expected {records.cases[index].case_id} as record {index}, "
                f"found {example.record.case_id}; delete {records.directory} and prepare it again"
            )
        write_voxels(records.folder, index, example)
