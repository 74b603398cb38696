"""ArrayRecord by ``tensorflow_datasets``, without TensorFlow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from brainjax.errors import InputError

#: How large a part shall be at most; so much is gathered in memory before it is written.
PART_BYTES = 256 << 20


class PartBuilder(tfds.core.GeneratorBasedBuilder):
    """A ``tensorflow_datasets`` builder that writes one part of a data set.

    It writes ArrayRecord and needs no TensorFlow. Once every part is written and
    :func:`write_description` has been called, all of them are read, in order, by
    ``tfds.builder_from_directory(folder).as_data_source("all")``.

    A part is a split, ``part_00000`` and so on, in one file. tfds gathers a split
    in memory before it writes it, and above 1000 MiB goes by way of temporary
    files that it cannot open without TensorFlow; and parts can be written by
    several processes. They mean nothing else: patients and slices are divided
    elsewhere.

    A subclass gives ``VERSION`` and the features.
    """

    def __init__(
        self,
        *,
        features: tfds.features.FeaturesDict,
        examples: Iterable[Any] = (),
        number: int = 0,
        **kwargs: Any,
    ):
        self._examples = examples
        self._number = number
        self._features = features
        super().__init__(file_format="array_record", **kwargs)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {_part_name(self._number): self._generate_examples(self._examples)}

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


def write_part(
    builder: type[PartBuilder],
    examples: Iterator[Any],
    folder: Path,
    *,
    number: int,
    features: tfds.features.FeaturesDict,
) -> dict[str, int]:
    """Writes one part of a data set beside the others; it appears when it is whole.

    Args:
      builder: of the data set.
      examples: of this part, in order.
      folder: where the data set's own folder is.
      number: of the part.
      features: of the data set.

    Returns:
      What :func:`write_description` has to know of the part.
    """
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as temporary:
        made = builder(features=features, examples=examples, number=number, data_dir=temporary)
        made.write()
        written = Path(made.data_dir)
        (file,) = written.glob("*.array_record*")
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
        target = folder / written.relative_to(temporary)
        target.mkdir(parents=True, exist_ok=True)
        file.replace(target / file.name)
        split = made.info.splits[_part_name(number)]
        return {"examples": split.num_examples, "bytes": int(split.num_bytes)}


def write_description(
    builder: type[PartBuilder],
    folder: Path,
    *,
    features: tfds.features.FeaturesDict,
    parts: Sequence[Mapping[str, int]],
) -> None:
    """Writes what ``tensorflow_datasets`` needs to read the parts as one data set.

    Args:
      builder: of the data set.
      folder: where the data set's own folder is.
      features: of the data set.
      parts: what :func:`write_part` returned, in order.
    """
    made = builder(features=features, data_dir=str(folder))
    data_dir = str(folder / made.name / str(made.version))
    template = tfds.core.ShardedFileTemplate(
        data_dir=data_dir, dataset_name=made.name, filetype_suffix="array_record"
    )
    splits = [
        tfds.core.SplitInfo(
            name=_part_name(number),
            shard_lengths=[part["examples"]],
            num_bytes=part["bytes"],
            filename_template=template,
        )
        for number, part in enumerate(parts)
    ]
    made.info.set_splits(tfds.core.splits.SplitDict(splits))
    made.info.write_to_directory(data_dir)


def divide_into_parts(total: int, largest: int, *, most: int) -> list[int]:
    """Says how many examples go into each part.

    Args:
      total: the number of examples.
      largest: bytes of the largest.
      most: how many may be in one part, whatever their size.

    >>> divide_into_parts(5, 100 << 20, most=8), divide_into_parts(5, 1 << 20, most=4)
    ([2, 2, 1], [4, 1])
    """
    together = max(1, min(PART_BYTES // largest, most))
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


def _part_name(number: int) -> str:
    return f"part_{number:05d}"
