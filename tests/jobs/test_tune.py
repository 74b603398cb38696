"""Searches over settings: several workers, kills, and what is found."""

from __future__ import annotations

import runpy
import signal
from pathlib import Path
from typing import Any

import pytest

from brainjax import experiment, jobs
from brainjax.errors import InputError
from brainjax.experiment import make_search, plain_values, with_changes
from brainjax.files import read_json
from brainjax.jobs import study as study_module
from brainjax.jobs.found_config import config_source
from brainjax.jobs.study import open_study
from tests.jobs.classification import tiny_config
from tests.jobs.command_line import ROOT, TINY

SEARCH = (
    "--mode=tune", "--config=configs/kaggle4_improved.py:search",
    "--config.batches.batch_size=8", "--config.model.widths=(16, 16, 16)",
    "--config.model.hidden=(32,)", "--config.evaluation.bootstrap=20",
    "--config.evaluation.permutations=20", "--config.made_up.slices_per_class=6",
    "--config.made_up.image_size=(16, 16)", "--config.made_up.epochs=2",
    "--config.search.trials=3", "--config.search.startup_trials=2",
    "--config.loop.save_every_steps=1",
)  # fmt: skip

DROPOUT = ("model.dropout", {"kind": "float", "low": 0.0, "high": 0.9})
HIDDEN = ("model.hidden", {"kind": "choice", "choices": ((8,), (16,))})


@pytest.mark.slow
def test_killed_then_finished_by_two_workers(command, tmp_path) -> None:
    workdir = tmp_path / "search"
    arguments = (*SEARCH, f"--workdir={workdir}")
    code, output = command.stop_at("step 3  val", signal.SIGKILL, *arguments)
    assert code == -signal.SIGKILL, output
    assert "trial 0 of 3" in output
    workers = [command.start(*arguments) for _ in range(2)]
    outputs = [worker.communicate(timeout=600) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    told = [output for output, _ in outputs]
    assert sum("going on after step" in one.split("found:")[0] for one in told) == 1
    for number in range(3):  # each trial by one worker only
        assert sum(f"trial {number} of 3" in one for one in told) == 1
    summary = read_json(workdir / "summary.json")
    assert summary["tune/trials"] == 3
    assert summary["tune/complete"] + summary["tune/pruned"] == 3
    assert summary["found/val/accuracy"] >= summary["start/val/accuracy"]
    found = read_json(workdir / "found.json")["trial"]
    scored = [path.parent.name for path in workdir.glob("trials/*/predictions_test.csv")]
    assert scored == [f"{found:04d}"]  # the test part has been touched by no other
    page = (workdir / "report.html").read_text()
    assert "best so far" in page
    assert "scored once" in page

    # What was found is a configuration that runs, and gives what was found.
    code = jobs.run(
        "train",
        config=runpy.run_path(str(workdir / "found.py"))["get_config"](),
        overrides={}, workdir=tmp_path / "again", inputs=(), output=None, checkpoints=(),
        write_probabilities=False,
    )  # fmt: skip
    assert code == 0
    again = read_json(tmp_path / "again" / "summary.json")
    # Other processes compile with other flags and add up in another order.
    assert again["test/log_loss"] == pytest.approx(summary["found/test/log_loss"], abs=0.01)

    # The test part has been seen: more trials would choose by it.
    config = search_config({"search.trials": 9})
    with pytest.raises(InputError, match="its test part has been scored"):
        tune(config, workdir)


def search_config(changes: dict[str, Any]) -> Any:
    """The configuration of ``SEARCH``."""
    told = [word.removeprefix("--config.") for word in SEARCH if word.startswith("--config.")]
    pairs = [word.split("=", 1) for word in told]
    values = {name: eval(value) for name, value in pairs}
    config = runpy.run_path(str(ROOT / "configs" / "kaggle4_improved.py"))["get_config"]("search")
    return with_changes(plain_values(config), {**values, **changes})


def tune(config: Any, workdir: Path) -> int:
    return jobs.run(
        "tune", config=config, overrides={}, workdir=workdir, inputs=(), output=None,
        checkpoints=(), write_probabilities=False,
    )  # fmt: skip


def searched(*space: Any, **search: Any) -> dict[str, Any]:
    config = plain_values(tiny_config())
    return {**config, "search": {"space": space, "trials": 3, **search}}


@pytest.mark.parametrize(
    ("space", "search", "told"),
    [
        ((("model.dropuot", DROPOUT[1]),), {}, "model.dropuot: there is no setting 'dropuot'"),
        ((("model.widths.7", {"kind": "integer", "low": 1, "high": 9}),), {}, "has 2 entries"),
        ((("model.dropout", {"kind": "float", "low": 0.5, "high": 0.9}),), {}, "where the search"),
        ((("split.seed", {"kind": "integer", "low": 0, "high": 9}),), {}, "in common"),
        ((("model.dropout", {"kind": "uniform", "low": 0, "high": 1}),), {}, "'uniform'"),
        ((("model.dropout", {"kind": "float", "lo": 0, "high": 1}),), {}, "unknown key lo"),
        ((("model.dropout", {"kind": "float", "low": 0.0, "high": 1, "log": True}),), {}, "log"),
        ((("model.hidden", {"kind": "choice", "choices": ((8,),)}),), {}, "two or more"),
        (("model.dropout",), {}, "expected pairs"),
        ((DROPOUT, DROPOUT), {}, "each once"),
        ((DROPOUT,), {"sampler": "grid"}, "sampler 'grid'"),
        ((DROPOUT,), {"pruner": "hyperband"}, "pruner 'hyperband'"),
        ((DROPOUT,), {"trails": 3}, "unknown key trails"),
    ],
    ids=["unknown", "entry", "start", "common", "kind", "key", "log", "choices", "pairs", "twice",
         "sampler", "pruner", "option"],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(space, search, told) -> None:
    with pytest.raises(InputError, match=told) as caught:
        experiment.build(searched(*space, **search))
    assert "\n" not in str(caught.value)


def test_an_experiment_is_built_as_without_its_search() -> None:
    assert experiment.build(searched(DROPOUT)) == experiment.build(tiny_config())


def test_without_a_search_tuning_says_what_is_missing(tmp_path) -> None:
    with pytest.raises(InputError, match="no section search"):
        tune(tiny_config(), tmp_path)


def test_a_missing_optuna_is_named_with_its_extra(tmp_path, monkeypatch) -> None:
    def missing(name: str):
        raise ImportError(name)

    monkeypatch.setattr("brainjax.errors.importlib.import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'brainjax\[tune\]'"):
        tune(searched(DROPOUT), tmp_path)


def test_a_wrong_storage_and_another_search_are_refused(tmp_path) -> None:
    config = searched(DROPOUT)
    with pytest.raises(InputError, match="database URL"):
        open_study(
            make_search(searched(DROPOUT, storage="nothing")), config, tmp_path, maximise=True
        )
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for storage in ("", url):
        options = make_search(searched(DROPOUT, storage=storage))
        open_study(options, config, tmp_path, maximise=True)
        open_study(make_search(searched(DROPOUT, storage=storage, trials=9)), config, tmp_path,
                   maximise=True)  # fmt: skip
        changed = with_changes(config, {"optimizer.learning_rate": 0.5})
        with pytest.raises(InputError, match=r"config\.optimizer\.learning_rate .* -> 0\.5"):
            open_study(options, changed, tmp_path, maximise=True)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("pruner", ["median", "halving", "none"])
def test_the_search_is_seeded_and_goes_on_as_uninterrupted(tmp_path, sampler, pruner) -> None:
    """Scores that a formula gives: no network is trained."""
    config = searched(DROPOUT, HIDDEN, sampler=sampler, pruner=pruner, trials=8, startup_trials=2)
    options = make_search(config)

    def score(values, validation: int) -> float:
        return (
            -((values["model.dropout"] - 0.6) ** 2) - len(values["model.hidden"]) - 1 / validation
        )

    def work(folder: Path, count: int) -> None:
        study = open_study(options, config, folder, maximise=True)
        for _ in range(count):
            candidate = study.next_trial()
            assert candidate is not None
            assert candidate.values["model.hidden"] in ((8,), (16,))
            for validation in range(1, 5):
                value = score(candidate.values, validation)
                if candidate.report(value, validation):
                    study.prune(candidate, best=value, seconds=1.0)
                    break
            else:
                study.complete(candidate, score=value, seconds=1.0)

    work(tmp_path / "whole", 8)
    for count in (3, 5):  # two processes, one after the other
        work(tmp_path / "parts", count)
    whole, parts = (
        open_study(options, config, tmp_path / name, maximise=True) for name in ("whole", "parts")
    )
    assert whole.next_trial() is None
    assert whole.records() == parts.records()
    assert whole.records()[0].values == {"model.dropout": 0.0, "model.hidden": (8,)}
    states = {one.state for one in whole.records()}
    assert states == ({"complete"} if pruner == "none" else {"complete", "pruned"})
    assert whole.records()[0].state == "complete"
    best = whole.best()
    assert best is not None
    assert best.score == max(one.score for one in whole.records() if one.state == "complete")
    shares = whole.importances()
    assert not shares or sum(shares.values()) == pytest.approx(1)


def test_a_running_trial_belongs_to_the_process_that_lives(tmp_path) -> None:
    config = searched(DROPOUT, trials=2)
    options = make_search(config)
    study = open_study(options, config, tmp_path, maximise=False)
    first = study.next_trial()
    second = open_study(options, config, tmp_path, maximise=False).next_trial()
    assert (first.number, second.number) == (0, 1)
    assert study.next_trial() is None
    assert study.others_at_work()
    second.report(0.5, 1)
    second.lock.close()  # as the system does for a process that is killed
    again = study.next_trial()
    assert (again.number, again.values) == (1, second.values)
    assert again.reported == {1}
    study.fail(again, "diverged")
    assert study.records()[1].reason == "diverged"
    study.complete(first, score=0.25, seconds=1.0)
    assert study.best().number == 0
    assert not study.others_at_work()


def test_a_found_configuration_is_a_file_with_the_same_numbers(tmp_path) -> None:
    config = plain_values(tiny_config())
    file = tmp_path / "found.py"
    file.write_text(config_source(config, title='of "a" \\ b', command="python"))
    found = runpy.run_path(str(file))["get_config"]()
    assert experiment.build(found) == experiment.build(config)


def test_a_folder_with_a_run_is_refused(tmp_path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match="holds a run, not a search"):
        tune(searched(DROPOUT), tmp_path)
    assert not (tmp_path / study_module.JOURNAL).exists()


@pytest.mark.slow
def test_segmentation_is_tuned_too_and_stops_when_asked(command, tmp_path) -> None:
    file = tmp_path / "tiny_search.py"
    file.write_text(
        "import runpy\n"
        "def get_config():\n"
        f"    config = runpy.run_path({str(ROOT / 'configs' / 'cga.py')!r})['get_config']()\n"
        "    config.search = dict(trials=2, pruner='none', space=(\n"
        "        ('optimizer.learning_rate', dict(kind='float', low=1e-4, high=1e-2, log=True)),\n"
        "    ))\n"
        "    return config\n"
    )
    workdir = tmp_path / "search"
    arguments = ("--mode=tune", f"--config={file}", f"--workdir={workdir}", *TINY)
    code, output = command.stop_at("step 3/6", signal.SIGTERM, *arguments)
    assert code == 143, output
    output = command(*arguments)
    assert "going on after step" in output
    summary = read_json(workdir / "summary.json")
    assert summary["found/val/dice/mean"] >= summary["start/val/dice/mean"]
    assert len(list(workdir.glob("trials/*/segmentations"))) == 1
