"""The README's example runs, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs() -> None:
    [code] = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["output"].logits.shape == (1, 32, 32, 32, 4)


def test_files_and_commands_that_it_names_exist() -> None:
    for name in set(re.findall(r"configs/\w+\.py|tests/[\w/]+\.py", TEXT)):
        assert (ROOT / name).is_file(), name
    for module in set(re.findall(r"python -m (benchmarks\.\w+)", TEXT)):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make (demo|test|bench)\b", TEXT)):
        assert f"\n{target}:" in targets
