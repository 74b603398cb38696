"""The history reads as if the run had never been killed."""

from __future__ import annotations

from brainjax.training import MetricsLog, ProgressPrinter, read_history


def test_rows_after_the_checkpoint_are_dropped_on_resume(tmp_path) -> None:
    log = MetricsLog(tmp_path, start_step=0)
    for step in (1, 2, 3):
        log.write(step, {"loss": step / 2})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 4, "lo')
    log = MetricsLog(tmp_path, start_step=2)
    log.write(3, {"loss": float("nan")})
    log.close()
    assert read_history(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 1.0},
        {"step": 3, "loss": None},
    ]
    assert any((tmp_path / "tensorboard").iterdir())


def test_progress_tells_rate_and_time_left(capsys) -> None:
    printer = ProgressPrinter("records", unit="cases", every_seconds=5.0)
    printer(1, 4, 2.0)
    printer(2, 4, 4.0)
    printer(4, 4, 8.0)
    assert capsys.readouterr().out.splitlines() == [
        "records 1/4  0.50 cases/s  0:06 left",
        "records 4/4  0.50 cases/s  0:00 left",
    ]
