"""Which runs a command makes, keeps and compares; training itself is made up here."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

from brainjax.errors import InputError
from brainjax.evaluation import read_case_table
from brainjax.files import read_json
from brainjax.jobs import crossvalidate as job
from brainjax.jobs import pool_folds
from brainjax.scans import write_phantom_cohort
from tests.jobs.segmentation_runs import MadeUpTraining, run_job

ROWS = ("baseline", "intra", "inter", "minus_inter")


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> MadeUpTraining:
    """Training is made up, and the pages of the folds, which take longest, are left out."""
    made_up = MadeUpTraining()
    monkeypatch.setattr(job, "train", made_up)
    monkeypatch.setattr(pool_folds, "write_report", lambda path, report: path.write_text("page"))
    return made_up


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four variants in two folds."""
    workdir = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "train", MadeUpTraining())
        patch.setattr(pool_folds, "write_report", lambda path, report: path.write_text("page"))
        assert run_job("crossvalidate", workdir, rows=ROWS) == 0
    return workdir


def test_the_tables_have_every_row_beside_the_published_one(compared: Path) -> None:
    text = (compared / "summary.md").read_text()
    assert "deviation, on phantoms, over 4 cases" in text
    assert "Made-up heads (phantoms)" in text
    [head] = [line for line in text.splitlines() if line.startswith("| Method | ET | ET, pub")][:1]
    assert head == "| Method | ET | ET, published | WT | WT, published | TC | TC, published |"
    assert "| 74.47 ± 30.28 |" in text
    assert "| 29.86 ± 23.38 |" in text
    assert "| 73.71 |" in text  # Table 5 has no deviation of Baseline - Inter
    for row in ("Baseline", "Baseline + Intra", "Baseline - Inter"):
        assert f"\n| {row} |" in text
    page = (compared / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "published" in page
    assert "phantoms" in page


def test_differences_are_those_of_the_cases(compared: Path) -> None:
    summary = read_json(compared / "summary.json")
    tables = {
        name: {s.case_id: s.dice for s in
               read_case_table(compared / name / "scores_out_of_fold.csv") if s.region == "ET"}
        for name in ("baseline", "intra")
    }  # fmt: skip
    between = [tables["intra"][case] - dice for case, dice in tables["baseline"].items()]
    assert summary["intra/dice_difference/ET"] == pytest.approx(sum(between) / 4)
    assert min(between) <= summary["intra/dice_difference_low/ET"] < sum(between) / 4
    assert summary["intra/dice_difference_p/ET"] == pytest.approx(2 / 2**4, abs=0.07)
    assert summary["inter/dice_difference/ET"] == 0  # the same scores: nothing lies between
    assert summary["inter/dice_difference_p/ET"] == 1
    assert summary["intra/dice_difference_p_holm/ET"] <= 1


def test_out_of_fold_scores_hold_every_case_once(compared: Path) -> None:
    folder = compared / "intra"
    lines = (folder / "scores_out_of_fold.csv").read_text().splitlines()
    assert lines[0].startswith("case_id,patient_id,fold,convention")
    assert sorted(line.split(",")[2] for line in lines[1:]) == ["0", "0", "1", "1"]
    summary = read_json(folder / "summary.json")
    assert summary["cv/cases"] == 4
    assert summary["cv/folds"] == 2
    assert summary["cv/train_steps"] == 4
    two = [summary[f"fold_{n}/dice/WT"] for n in (0, 1)]
    assert summary["cv/dice/WT"] == pytest.approx(sum(two) / 2)
    assert summary["cv/dice_fold_sd/WT"] == pytest.approx(abs(two[0] - two[1]) / 2**0.5)
    assert len(list((folder / "segmentations" / "out_of_fold").iterdir())) == 4
    assert (compared / "records").exists() is False  # made-up training prepares none


def test_finished_runs_are_kept(compared, training) -> None:
    before = (compared / "intra" / "fold_1" / "summary.json").stat().st_mtime_ns
    assert run_job("crossvalidate", compared, rows=ROWS) == 0
    assert training.trained == []
    assert (compared / "intra" / "fold_1" / "summary.json").stat().st_mtime_ns == before


def test_another_way_of_scoring_scores_again(compared, training) -> None:
    changes = {"evaluation.tolerance_mm": 1.0, "inference.mirror": True}
    run_job("crossvalidate", compared, changes, rows=ROWS, variants=["inter"], fold=1)
    assert training.trained == ["inter/fold_1"]
    run_job("crossvalidate", compared, rows=ROWS, variants=["inter"], fold=1)


def test_a_chosen_set_is_compared(training, tmp_path, capsys) -> None:
    rows = ("baseline", "intra", "intra_class4")
    code = run_job("train", tmp_path, rows=rows, variants=["baseline", "intra_class4"])
    assert code == 0
    assert [name.split("/")[1] for name in training.trained] == ["baseline", "intra_class4"]
    text = (tmp_path / "summary.md").read_text()
    assert "Not finished and not in the tables: intra." in text
    assert "| Baseline + Intra (class4) | ET |" in text
    assert not (tmp_path / "baseline" / "scores_out_of_fold.csv").exists()
    assert "not finished: intra: intra" in capsys.readouterr().out


def test_the_last_fold_writes_the_report(training, tmp_path) -> None:
    run_job("crossvalidate", tmp_path, fold=1)
    assert training.trained == [f"{tmp_path.name}/fold_1"]
    assert not (tmp_path / "summary.json").exists()
    run_job("crossvalidate", tmp_path, fold=0)
    assert len(training.trained) == 2
    assert read_json(tmp_path / "summary.json")["cv/cases"] == 4


def test_a_fold_that_another_process_is_at(training, tmp_path, capsys) -> None:
    (tmp_path / "fold_0").mkdir()
    with (tmp_path / "fold_0" / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is at work"):
            run_job("crossvalidate", tmp_path, fold=0)
        run_job("crossvalidate", tmp_path)
    assert training.trained == [f"{tmp_path.name}/fold_1"]
    assert "left to other processes" in capsys.readouterr().out
    run_job("crossvalidate", tmp_path)
    assert len(training.trained) == 2


def test_a_stop_is_passed_on_and_nothing_is_marked(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(job, "train", MadeUpTraining(code=143))
    assert run_job("crossvalidate", tmp_path) == 143
    assert not list(tmp_path.rglob("finished.json"))


@pytest.mark.parametrize(
    ("mode", "options", "changes", "told"),
    [
        ("crossvalidate", {"fold": 2}, {}, r"--fold=2: expected 0 to 1"),
        ("crossvalidate", {"fold": -1}, {}, r"--fold=-1: expected 0 to 1"),
        ("crossvalidate", {}, {"split.folds": 1}, "needs 2 folds or more"),
        ("crossvalidate", {}, {"split.folds": 5}, "more than the 4 patients"),
        ("crossvalidate", {"variants": ["intra"]}, {}, "has no variants"),
        ("train", {"fold": 1}, {}, "add --config.split.fold=1"),
        ("evaluate", {"variants": ["intra"], "rows": ROWS[:2]}, {}, "chooses among"),
        ("train", {"variants": ["intre"], "rows": ROWS[:2]}, {}, "expected one of baseline"),
    ],
)  # fmt: skip
def test_mistakes(mode, options, changes, told, training, tmp_path) -> None:
    with pytest.raises(InputError, match=told):
        run_job(mode, tmp_path / "run", changes, **options)
    assert training.trained == []
    assert not list(tmp_path.rglob("fold_*"))


def test_other_folders_are_refused(training, tmp_path) -> None:
    (tmp_path / "one" / "checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match="holds a single run"):
        run_job("crossvalidate", tmp_path / "one")
    run_job("crossvalidate", tmp_path / "three", {"split.folds": 3}, fold=2)
    with pytest.raises(InputError, match="holds fold_2, not made by this command"):
        run_job("crossvalidate", tmp_path / "three")
    assert training.trained == ["three/fold_2"]


def test_other_scans_than_those_that_were_scored(training, tmp_path) -> None:
    root = write_phantom_cohort(tmp_path / "scans", cases=5, shape=(24, 24, 24), seed=0)
    changes = {"data.root": str(root)}
    run_job("crossvalidate", tmp_path / "run", changes, fold=0)
    table = read_case_table(tmp_path / "run" / "fold_0" / "scores_val.csv")
    shutil.rmtree(next(root.rglob(table[0].case_id)))
    with pytest.raises(InputError, match="other cases than this fold holds out now"):
        run_job("crossvalidate", tmp_path / "run", changes)
    assert len(training.trained) == 1
