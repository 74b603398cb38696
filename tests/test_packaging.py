"""What a wheel and a source distribution hold."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "brainjax").rglob("__init__.py")
    }
    assert set(listed) == found | {"brainjax.configs"}


def test_every_asset_is_package_data() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = {
        path
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    found = {
        path
        for path in (ROOT / "brainjax").rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert listed == found


def test_the_source_distribution_holds_what_users_start_from(tmp_path: Path) -> None:
    source = tmp_path / "source"
    without_caches = shutil.ignore_patterns("__pycache__")
    for name in ("brainjax", "configs", "launch"):
        shutil.copytree(ROOT / name, source / name, ignore=without_caches)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (made,) = tmp_path.glob("brainjax-*.tar.gz")
    with tarfile.open(made) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("launch", "configs"):
        files = {str(file.relative_to(ROOT)) for file in (ROOT / folder).glob("[!_]*.*")}
        assert files <= held
    assert {"launch/Dockerfile", "brainjax/main.py", "LICENSE"} <= held
