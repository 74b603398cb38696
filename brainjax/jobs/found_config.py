"""A configuration as the source of a file that ``--config`` takes."""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from typing import Any


def config_source(config: Mapping[str, Any], *, title: str, command: str) -> str:
    """Python source of a configuration file that holds these values.

    Args:
      config: nested plain values: numbers, words, tuples and dictionaries.
      title: the first line of its docstring.
      command: how to run it.

    >>> source = config_source({"seed": 0}, title="Found.", command="python ...")
    >>> names = {}
    >>> exec(source, names)
    >>> names["get_config"]().seed
    0
    """
    values = pprint.pformat(dict(config), width=100, sort_dicts=False, compact=True)
    words = f"{title}\n\n    {command}\n".replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'"""{words}"""\n\n'
        "import ml_collections\n\n"
        f"VALUES = {values}\n\n\n"
        "def get_config():\n"
        '    """The numbers of the experiment."""\n'
        "    return ml_collections.ConfigDict(VALUES)\n"
    )
