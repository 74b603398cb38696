"""Errors that are the user's to mend, told in one line."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: which file or option, what was expected, what was
    found, and what to do. ``brainjax.main`` prints it without a traceback.
    """
