"""The house rules, read from the source without importing it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "brainjax"
FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(file.relative_to(ROOT)) for file in FILES]

HOST = {"scans", "records", "batches", "evaluation", "report"}
ANYWHERE = {"errors", "files", "__version__"}
ALLOWED = {
    "scans": set(),
    "records": {"scans"},
    "batches": {"scans", "records"},
    "augment": {"layers"},  # manual_axes: keys by place in the whole batch
    "layers": set(),
    "models": {"layers"},
    "weights": {"models"},
    "losses": {"models", "layers"},
    "training": {"augment", "layers", "losses", "models", "parallel"},
    "explain": {"layers", "models"},
    "inference": {"scans"},
    "evaluation": {"scans"},
    "report": {"evaluation", "scans"},
    "host_memory": set(),
    "parallel": {"layers", "host_memory"},
    "complexity": set(),
    "experiment": {
        "augment", "batches", "evaluation", "explain", "inference", "losses", "models", "parallel",
        "records", "scans", "training",
    },
    "main": {"jobs", "parallel"},
}  # fmt: skip
SOLE_IMPORTERS = {
    "nibabel": {"scans/nifti.py"},
    "pydicom": {"scans/dicom.py", "scans/dicom_header.py"},
    "h5py": {"scans/figshare_mat.py"},
    "PIL": {
        "scans/image_file.py",
        "records/fit_image.py",
        "records/picture_hashes.py",
        "report/sample_figures.py",
    },
    "imblearn": {"batches/oversampling.py"},
    "orbax": {"training/checkpoint.py"},
    "tensorboardX": {"training/logs.py"},
    "ml_collections": {"main.py"},
    "optuna": {"jobs/study.py"},
    "tensorflow_datasets": {"records"},
    "apache_beam": {"records/beam_pipeline.py"},
    "grain": {"batches"},
    "matplotlib": {"report"},
}
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "core", "misc"}


def imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def stage(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_data_goes_forward_only(file: Path) -> None:
    allowed = ALLOWED.get(stage(file))
    if allowed is None:
        assert stage(file) in {"__init__", "errors", "files", "jobs"}
        return
    ours = {name.split(".")[1] for name in imports(ast.parse(file.read_text()))
            if name.startswith("brainjax.")}  # fmt: skip
    assert ours <= allowed | ANYWHERE | {stage(file)}


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_host_stages_never_import_jax(file: Path) -> None:
    tops = {name.split(".")[0] for name in imports(ast.parse(file.read_text()))}
    if stage(file) in HOST:
        assert not tops & {"jax", "flax", "optax"}
    for library, places in SOLE_IMPORTERS.items():
        if library in tops:
            where = file.relative_to(PACKAGE).as_posix()
            assert where in places or where.split("/")[0] in places, library


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_files_are_short_and_names_say_something(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 350
    assert not SAYS_NOTHING & {part.removesuffix(".py") for part in file.parts}


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_public_names_have_docstrings(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree), "module docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("file", [f for f in FILES if f.name == "__init__.py"], ids=str)
def test_init_files_hold_no_code(file: Path) -> None:
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)
    assert all(isinstance(node, allowed) for node in ast.parse(file.read_text()).body)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.py")), ids=lambda f: f.name)
def test_configs_hold_numbers_only(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert imports(tree) <= {"ml_collections", "runpy"}  # runpy: another file's numbers
    assert len(file.read_text().splitlines()) <= 100


def test_layers_import_no_data_libraries() -> None:
    code = (
        "import sys, brainjax.layers, brainjax.losses, brainjax.models\n"
        "heavy = {'grain', 'tensorflow_datasets', 'nibabel', 'orbax', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_host_stages_load_no_jax() -> None:
    """All but batches: grain itself loads jax, though it touches no device."""
    names = ", ".join(f"brainjax.{name}" for name in sorted(HOST - {"batches"}))
    code = f"import sys, {names}\nassert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    "file", [f for f in FILES if stage(f) in {"layers", "models"}], ids=lambda f: f.name
)
def test_networks_look_across_a_batch_through_our_own_layers(file: Path) -> None:
    """Flax's own would depend on the number of devices inside ``shard_map`` and ``pmap``."""
    text = file.read_text()
    assert "nn.Dropout" not in text
    assert "nn.BatchNorm" not in text
