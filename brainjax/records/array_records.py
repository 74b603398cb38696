"""ArrayRecord by ``tensorflow_datasets``, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from brainjax.errors import InputError

#: How large a part shall be at most.
PART_BYTES = 512 << 20


class PartsBuilder(tfds.core.GeneratorBasedBuilder):
    """A ``tensorflow_datasets`` builder that writes examples given from outside, in parts.

    It writes ArrayRecord and needs no TensorFlow. What it wrote is read by
    ``tfds.builder_from_directory(folder).as_data_source("all")``, in order.

    tfds gathers a split in memory before it writes it, and above 1000 MiB goes
    by way of temporary files that it cannot open without TensorFlow. Therefore
    the examples are spread over splits, ``part_00000`` and so on, of a few
    each. They mean nothing else: patients and slices are divided elsewhere.

    A subclass gives ``VERSION`` and the features.
    """

    def __init__(
        self,
        *,
        examples: Iterator[Any],
        parts: Sequence[int],
        features: tfds.features.FeaturesDict,
        **kwargs: Any,
    ):
        self._examples = examples
        self._parts = parts
        self._features = features
        super().__init__(file_format="array_record", **kwargs)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {
            f"part_{number:05d}": self._generate_examples(islice(self._examples, count))
            for number, count in enumerate(self._parts)
        }

    def write(self) -> None:
        """Writes all examples, silently."""
        tfds.disable_progress_bar()
        self.download_and_prepare(
            download_dir=str(Path(self._data_dir_root) / ".downloads"),
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )

    def _log_download_bytes(self) -> None:
        """Says nothing: tfds would print about a download that there is not."""

    def _log_download_done(self) -> None:
        """Says nothing, for the same reason."""


def divide_into_parts(total: int, largest: int) -> list[int]:
    """Says how many examples go into each part.

    Args:
      total: the number of examples.
      largest: bytes of the largest.

    >>> divide_into_parts(5, 200 << 20)
    [2, 2, 1]
    """
    together = max(1, PART_BYTES // largest)
    return [min(together, total - start) for start in range(0, total, together)]


def read_fields(files: Path, indices: Iterable[int]) -> Iterator[Mapping[str, Any]]:
    """Yields chosen examples of a data set of ArrayRecord files.

    Args:
      files: its own folder, which ends in name and version.
      indices: positions, over all parts.

    Raises:
      InputError: a record cannot be read; it names the folder and the remedy.
    """
    try:
        source = tfds.builder_from_directory(str(files)).as_data_source(split="all")
        for index in indices:
            yield source[index]
    except Exception as error:
        summary = str(error).strip().split("\n")[0][:200]
        raise InputError(
            f"{files}: expected readable ArrayRecord files, found {type(error).__name__} "
            f"({summary}); delete {files.parents[2]} and prepare it again"
        ) from error
