"""Errors that are the user's to mend, told in one line."""

from __future__ import annotations

import importlib
from types import ModuleType


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: which file or option, what was expected, what was
    found, and what to do. ``brainjax.main`` prints it without a traceback.
    """


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Imports an optional dependency or says how to install it.

    Args:
      module: dotted module name, such as ``"torch"``.
      extra: the extra of this package that brings it.
      purpose: what needs it, as in ``"reading .pth checkpoints"``.

    Raises:
      InputError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{purpose} needs {module}, which is not installed: pip install 'brainjax[{extra}]'"
        ) from error
