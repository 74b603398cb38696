"""Every benchmark at least loads and tells its options; running them is for a quiet machine."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from benchmarks import _pipeline_monai, _speed_ours, _speed_roofline, pipeline, speed
from benchmarks._speed_cases import CASES, choose_cases, peer_variants
from benchmarks._speed_child import Child, ChildError
from brainjax.errors import InputError

NAMES = sorted(
    file.stem
    for file in (Path(__file__).parent.parent / "benchmarks").glob("*.py")
    if not file.stem.startswith("_")
)


@pytest.mark.parametrize("name", NAMES)
def test_help(name: str, monkeypatch, capsys) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_speed_cases_are_chosen_by_parts_of_their_names() -> None:
    [case] = choose_cases(["cga_unet/train/64/f32"], gpu=False)
    assert (case.network, case.work, case.size, case.dtype) == ("cga_unet", "train", 64, "f32")
    names = {case.name for case in choose_cases(["resnet18", "cnn/train"], gpu=False)}
    assert names == {name for name in CASES if name.startswith(("resnet18/", "cnn/train/"))}
    assert choose_cases([], gpu=True) == list(CASES.values())
    assert {case.dtype for case in choose_cases([], gpu=False)} == {"f32"}
    with pytest.raises(InputError, match=r"--case=vgg: expected .*resnet18/train/224/f32"):
        choose_cases(["cnn", "vgg"], gpu=False)


def test_speed_cases_have_the_batches_and_variants_of_their_device() -> None:
    case = CASES["cga_unet/inference/128/bf16"]
    assert (case.batch(gpu=False), case.batch(gpu=True)) == (1, 4)
    assert "compile/channels_last_3d/cast" in peer_variants(case, gpu=False)
    assert peer_variants(CASES["resnet18/train/224/f32"], gpu=False) == [
        "eager/contiguous", "eager/channels_last", "compile/contiguous", "compile/channels_last",
    ]  # fmt: skip
    assert "graphs/channels_last/autocast" in peer_variants(
        CASES["resnet18/train/224/bf16"], gpu=True
    )
    arrays = CASES["cga_unet/train/64/f32"].arrays(gpu=False)
    assert arrays["image"].shape == (1, 64, 64, 64, 4)
    assert arrays["labels"].shape == (1, 64, 64, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--case", "vgg"], "--case=vgg: expected a part of one of cga_unet/inference/64/f32,"),
        (["--peer=torch"], "pip install 'brainjax[bench]'"),
    ],
)
def test_speed_tells_mistakes_in_one_line(arguments, message, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["speed", *arguments])
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit) as stopped:
        speed.main()
    assert message in stopped.value.code
    assert "\n" not in stopped.value.code


def test_speed_children_tell_errors_and_go_on() -> None:
    with Child(speed.OURS) as child:
        with pytest.raises(ChildError, match="KeyError: 'vgg'"):
            child.ask("load", case="vgg", gpu=False, variant="")
        assert child.ask("device")["gpu"] is False
    with (
        Child("benchmarks._no_such_module") as child,
        pytest.raises(ChildError, match="ended with code 1"),
    ):
        child.ask("device")


def test_speed_measures_ours_alone_and_writes_json(tmp_path, monkeypatch, capfd) -> None:
    file = tmp_path / "speed.json"
    arguments = ["--case", "cnn/inference/30/f32", "--rounds=1", f"--json={file}"]
    monkeypatch.setattr(sys, "argv", ["speed", *arguments])
    with pytest.raises(SystemExit) as stopped:
        speed.main()
    assert stopped.value.code == 0
    [row] = json.loads(file.read_text())
    assert row["case"] == "cnn/inference/30/f32"
    assert row["ours_s"] > 0
    assert row["peer_s"] is None
    assert "| cnn/inference/30/f32 | 32 |" in capfd.readouterr().out


def test_speed_takes_turns_with_pytorch(capfd) -> None:
    pytest.importorskip("torch")
    row = speed.measure(
        CASES["cnn/train/30/f32"], peer=True, rounds=2, variant="eager/channels_last"
    )
    assert row["peer_variant"] == "eager/channels_last"
    assert row["ratio_range"][0] <= row["ratio"] <= row["ratio_range"][1]
    assert "2.00 (1.00 to 3.00)" in speed.table([row | {"ratio": 2.0, "ratio_range": [1.0, 3.0]}])


def test_speed_reckons_with_the_roofline(monkeypatch) -> None:
    assert _speed_roofline.multiplication_rate("float32", size=64) > 0
    assert _speed_roofline.copy_rate(megabytes=1) > 0
    monkeypatch.setattr(_speed_ours, "multiplication_rate", lambda dtype: 1e9)
    monkeypatch.setattr(_speed_ours, "copy_rate", lambda: 1e8)
    ours = _speed_ours.Ours()
    ours.load(case="cnn/train/30/f32", gpu=False, variant="")
    # 28^2 outputs of 9 taps, 12^2 of 9 * 32, dense layers of 6^2 * 32 to 32 to 4.
    macs = 32 * (28**2 * 9 * 32 + 12**2 * 9 * 32 * 32 + 36 * 32 * 32 + 32 * 4)
    roofline = ours.roofline()
    assert roofline["flop"] == 2 * 3 * macs
    assert roofline["bytes_moved"] is None or roofline["bytes_moved"] > 0
    row = {"case": "x", "batch": 1, "ours_s": 4.0, "peer_s": 8.0, "peer_variant": "eager",
           "ratio": 2.0, "ratio_range": [2.0, 2.0], "ours_compile_s": 1.0}  # fmt: skip
    rates = {"flop_per_s": 3e12, "bytes_per_s": 2e12}
    bound_by_memory = speed.achieved(row, {"flop": 3e12, "bytes_moved": 4e12, **rates})
    assert bound_by_memory["roofline_s"] == 2.0
    assert bound_by_memory["ours_roofline_share"] == 0.5
    assert speed.achieved(row, {"flop": 9e12, "bytes_moved": None, **rates})["roofline_s"] == 3.0
    *_, cells = speed.table([row | bound_by_memory]).splitlines()
    assert cells.endswith("| 0.8 | 0.4 | 50% |")


def test_pipeline_measures_small_phantoms(tmp_path: Path, monkeypatch, capsys) -> None:
    """Every row is a number; MONAI's are where it is installed."""
    arguments = ["--cases", "2", "--repeats", "2", "--shape", "32", "32", "24"]
    written = tmp_path / "pipeline.json"
    monkeypatch.setattr(
        sys, "argv", ["pipeline", *arguments, "--patch", "16", "16", "16", "--json", str(written)]
    )
    pipeline.main()
    told = json.loads(written.read_text())["measured"]
    peers = {name for name in told if "MONAI" in name}
    assert len(peers) == 3
    measured = set(told) if _pipeline_monai.available() else set(told) - peers
    assert {name for name, value in told.items() if value is not None} == measured
    assert told["augmented samples, ours, per second"] > 0
    assert "augmented samples, ours" in capsys.readouterr().out
