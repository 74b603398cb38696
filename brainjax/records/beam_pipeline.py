"""Numbered pieces of work on a cluster, through Apache Beam; the only place that imports it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from brainjax.errors import InputError, require


def run_pipeline(work: Callable[[int], int], numbers: Sequence[int], options: str) -> None:
    """Calls ``work`` with each number somewhere, and waits for the end.

    Only the numbers go through the pipeline: a volume of 80 MB is more than most
    runners carry from one worker to another.

    Args:
      work: can be pickled; may be called twice with a number.
      numbers: of the pieces.
      options: of the runner, as on a command line.

    Raises:
      InputError: Beam is not installed, does not know the options or failed.
    """
    beam: Any = require("apache_beam", extra="beam", purpose="data.prepare_beam")
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        with beam.Pipeline(options=PipelineOptions(shlex.split(options))) as pipeline:
            _ = (
                pipeline
                | "numbers" >> beam.Create(list(numbers))
                | "spread" >> beam.Reshuffle()
                | "write parts" >> beam.Map(work)
            )
    except (Exception, SystemExit) as error:
        told = " ".join(str(error).split())[-400:]
        raise InputError(
            f"data.prepare_beam={options!r}: the pipeline ended with {type(error).__name__} "
            f"({told}); finished parts are kept, run this again to go on"
        ) from error
