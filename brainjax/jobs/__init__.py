"""The jobs of the command line: prepare, train, evaluate, predict."""

from brainjax.jobs.run import run

__all__ = ["run"]
