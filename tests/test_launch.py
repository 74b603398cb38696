"""The files in launch/: that they parse, name what exists and do what they say on signals."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from brainjax import experiment

ROOT = Path(__file__).parent.parent
LAUNCH = ROOT / "launch"
SHELL = sorted(LAUNCH.glob("*.sh"))
SLURM = sorted(LAUNCH.glob("slurm*.sh"))
KUBERNETES = sorted(LAUNCH.glob("*.yaml"))

SBATCH = {
    "array": r"\d+-\d+(%\d+)?",
    "cpus-per-task": r"\d+",
    "gpus-per-node": r"\d+",
    "job-name": r"[a-z-]+",
    "mem-per-cpu": r"\d+G",
    "nodes": r"\d+",
    "ntasks-per-node": r"\d+",
    "open-mode": r"append|truncate",
    "output": r"[\w%.-]+",
    "requeue": "",
    "signal": r"(B:)?(TERM|USR1)@\d+",
    "time": r"(\d+-)?\d\d:\d\d:\d\d",
}
"""Options of sbatch that the scripts may use, and what their values look like."""

MEETING = ("--coordinator=", "--processes=", "--process=")
"""Where and as how many the processes of a run meet; compared with the file itself."""

PARSE = """
import json, sys
from brainjax import main
sys.argv = main._with_config_found(sys.argv)
rest = main._parse_flags(sys.argv)
assert rest[1:] == [], rest
print(json.dumps([main._MODE.value, main._WORKDIR.value, main._CONFIG.value.to_dict()]))
"""


def parse(arguments: list[str]) -> tuple[str, str, dict[str, Any]]:
    """Mode, folder and configuration of a command line, by the command line's own parser."""
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    mode, workdir, config = json.loads(done.stdout)
    experiment.build(config)
    return mode, workdir, config


def fake(folder: Path, name: str, script: str) -> None:
    """Puts a program of this name into a folder; it notes how it was called."""
    path = folder / name
    path.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" >"{folder}/{name}.arguments"\n{script}\n')
    path.chmod(0o755)


def arguments_of(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.arguments").read_text().splitlines()


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **more}


@pytest.mark.parametrize("file", SHELL, ids=lambda file: file.name)
def test_shell_scripts_are_sound(file: Path) -> None:
    subprocess.run(["bash", "-n", file], check=True)
    assert os.access(file, os.X_OK)
    beside_python = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    checker = beside_python or shutil.which("shellcheck")
    if checker is None:
        pytest.skip("shellcheck is not installed: pip install 'brainjax[test]'")
    done = subprocess.run([checker, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", SLURM, ids=lambda file: file.name)
def test_sbatch_options_are_known_and_come_first(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    first_command = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    options = {}
    for number, line in enumerate(lines):
        if line.startswith("#SBATCH"):
            assert number < first_command, "sbatch reads no further"
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            assert re.fullmatch(SBATCH[name], value), line
            assert name not in options
            options[name] = value
    assert {"requeue", "signal", "time"} <= set(options)
    assert options["ntasks-per-node"] == options["gpus-per-node"]  # a process a GPU, as JAX wants
    assert int(options["signal"].partition("@")[2]) >= 120  # seconds to save


@pytest.mark.parametrize("code", [0, 2, 143])
@pytest.mark.parametrize("file", SLURM, ids=lambda file: file.name)
def test_slurm_jobs_come_back_when_they_were_stopped(file: Path, code: int, tmp_path: Path) -> None:
    fake(tmp_path, "srun", f"exit {code}")
    fake(tmp_path, "scontrol", "")
    job = {"SLURM_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "3"}
    done = subprocess.run([file], env=environment(tmp_path, **job), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "scontrol.arguments").exists() == (code == 143)
    if code == 143:
        assert arguments_of(tmp_path, "scontrol") == ["requeue", "4711"]


def test_a_slurm_job_that_is_signalled_waits_for_the_training_to_save(tmp_path: Path) -> None:
    fake(tmp_path, "srun", 'echo began; read -r -t 60 <"$0.saved"; exit 143')
    fake(tmp_path, "scontrol", "")
    os.mkfifo(tmp_path / "srun.saved")
    with subprocess.Popen(
        [LAUNCH / "slurm.sh"],
        env=environment(tmp_path, SLURM_JOB_ID="4711"),
        stdout=subprocess.PIPE,
        text=True,
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "began\n"
        job.send_signal(signal.SIGTERM)  # to the script alone
        (tmp_path / "srun.saved").write_text("saved\n")
        assert "waiting for the training to save" in job.stdout.read()
    assert job.returncode == 143
    assert arguments_of(tmp_path, "scontrol") == ["requeue", "4711"]


def test_commands_of_slurm_parse(tmp_path: Path) -> None:
    fake(tmp_path, "srun", "")
    subprocess.run([LAUNCH / "slurm.sh"], env=environment(tmp_path), check=True)
    *srun, python, m, module = arguments_of(tmp_path, "srun")[:4]
    assert (srun, python, m, module) == (
        ["--kill-on-bad-exit=1"], "python", "-m", "brainjax.main",
    )  # fmt: skip
    mode, _, config = parse(arguments_of(tmp_path, "srun")[4:])
    assert mode == "train"
    header = (LAUNCH / "slurm.sh").read_text()
    nodes, each = (
        int(re.search(rf"--{name}=(\d+)", header)[1])  # type: ignore[index]
        for name in ("nodes", "ntasks-per-node")
    )
    assert config["batches"]["batch_size"] % (nodes * each) == 0


def test_the_folds_of_slurm_are_those_of_the_configuration(tmp_path: Path) -> None:
    fake(tmp_path, "srun", "")
    header = (LAUNCH / "slurm_folds.sh").read_text()
    first, last = re.search(r"--array=(\d+)-(\d+)", header).groups()  # type: ignore[union-attr]
    for fold in (first, last):
        subprocess.run(
            [LAUNCH / "slurm_folds.sh"],
            env=environment(tmp_path, SLURM_ARRAY_TASK_ID=fold),
            check=True,
        )
        _, workdir, config = parse(arguments_of(tmp_path, "srun")[4:])
        assert config["split"]["fold"] == int(fold)
        assert workdir.endswith(f"fold{fold}")
    assert int(last) - int(first) + 1 == config["split"]["folds"]


@pytest.mark.parametrize(
    ("gpus", "before", "visible"), [("3", None, "0,1,2"), ("2", "4,6,7", "4,6"), ("1", None, "0")]
)
def test_one_machine_shows_so_many_gpus(
    gpus: str, before: str | None, visible: str, tmp_path: Path
) -> None:
    fake(tmp_path, "python", f'echo "$CUDA_VISIBLE_DEVICES" >"{tmp_path}/visible"; exit 143')
    env = environment(tmp_path)
    env.pop("CUDA_VISIBLE_DEVICES", None)
    if before is not None:
        env["CUDA_VISIBLE_DEVICES"] = before
    words = ["--config=configs/cga.py", "--workdir=a folder"]
    done = subprocess.run([LAUNCH / "one_machine.sh", gpus, *words], env=env)
    assert done.returncode == 143  # the training's own
    assert (tmp_path / "visible").read_text().strip() == visible
    assert arguments_of(tmp_path, "python") == ["-m", "brainjax.main", *words]


def test_one_machine_alone_runs_a_command_that_parses(tmp_path: Path) -> None:
    fake(tmp_path, "python", "")
    subprocess.run([LAUNCH / "one_machine.sh", "4"], env=environment(tmp_path), check=True)
    mode, _, config = parse(arguments_of(tmp_path, "python")[2:])
    assert mode == "train"
    assert config["batches"]["batch_size"] % 4 == 0
    done = subprocess.run([LAUNCH / "one_machine.sh"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "how many GPUs?" in done.stderr


def read_job_set(file: Path) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(file.read_text())


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.name)
def test_job_sets_fit_their_schema(file: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "tests" / "launch_schemas" / "jobset.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    job_set = read_job_set(file)
    validator.validate(job_set)
    job_set["spec"]["replicatedJobs"][0]["template"]["spec"]["paralelism"] = 2
    assert not validator.is_valid(job_set)


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.name)
def test_job_sets_are_consistent(file: Path) -> None:
    job_set = read_job_set(file)
    assert "kueue.x-k8s.io/queue-name" in job_set["metadata"]["labels"]
    (replicated,) = job_set["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["terminationGracePeriodSeconds"] >= 120
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    evicted, saved = job["podFailurePolicy"]["rules"]
    assert evicted["onPodConditions"] == [{"type": "DisruptionTarget"}]
    assert saved["onExitCodes"]["values"] == [143]
    assert saved["onExitCodes"]["containerName"] == container["name"]
    assert {evicted["action"], saved["action"]} == {"FailJob"}
    (rule,) = job_set["spec"]["failurePolicy"]["rules"]  # what does not count as a restart
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]


@pytest.mark.parametrize("file", KUBERNETES, ids=lambda file: file.name)
def test_commands_of_job_sets_parse(file: Path) -> None:
    job_set = read_job_set(file)
    (replicated,) = job_set["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    words = [word for word in container["args"] if not word.startswith(MEETING)]
    mode, workdir, config = parse(words)
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert mode == "train"
    assert Path(workdir).parts[:2] == ("/", mounts[0].strip("/"))
    devices = next(count for name, count in container["resources"]["limits"].items() if "/" in name)
    assert config["batches"]["batch_size"] % (job["completions"] * devices) == 0
    meeting = [word for word in container["args"] if word.startswith(MEETING)]
    if meeting:
        name, port = job_set["metadata"]["name"], container["ports"][0]["containerPort"]
        assert meeting == [
            f"--coordinator={name}-{replicated['name']}-0-0.{name}:{port}",
            f"--processes={job['completions']}",
            "--process=$(PROCESS)",
        ]
        assert "PROCESS" in [variable["name"] for variable in container["env"]]


def test_tpu_hosts_and_chips_make_the_topology() -> None:
    (replicated,) = read_job_set(LAUNCH / "gke_tpu.yaml")["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    resources = pod["containers"][0]["resources"]
    chips = resources["limits"]["google.com/tpu"]
    assert chips == resources["requests"]["google.com/tpu"]
    assert rows * columns == chips * job["completions"]


def container_steps() -> list[tuple[str, str]]:
    """Instructions and their arguments, lines joined."""
    text = re.sub(r"\\\n\s*", " ", (LAUNCH / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def test_the_container_file_names_what_exists() -> None:
    steps = container_steps()
    assert {step for step, _ in steps} <= {
        "ARG", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR",
    }  # fmt: skip
    copied = set()
    for step, words in steps:
        if step == "COPY":
            *sources, _ = words.split()
            copied |= set(sources)
        elif step == "RUN":
            subprocess.run(["bash", "-n", "-c", words], check=True)
    assert all((ROOT / source).exists() for source in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    needed |= set(project["tool"]["setuptools"]["package-dir"].values())
    missing = {name for name in needed if not copied & {name, name.partition("/")[0]}}
    assert not missing
    arguments = dict(words.split("=") for step, words in steps if step == "ARG")
    extras = project["project"]["optional-dependencies"]
    assert arguments["ACCELERATOR"] in extras
    assert "tpu" in extras
    minor = int(arguments["PYTHON"].partition(".")[2])
    assert f"Programming Language :: Python :: 3.{minor}" in project["project"]["classifiers"]


def test_the_container_runs_brainjax_and_not_as_root() -> None:
    steps = container_steps()
    users = [words for step, words in steps if step == "USER"]
    assert users == ["1000"]
    assert ("RUN", "useradd --uid 1000 --create-home brainjax") in steps
    last, entry = steps[-1]
    assert last == "ENTRYPOINT"
    assert json.loads(entry) == ["tini", "--", "python", "-m", "brainjax.main"]
    comments = (LAUNCH / "Dockerfile").read_text().split("ARG PYTHON")[0]
    for command in re.findall(r"docker build (.*)", comments):
        words = shlex.split(command)
        assert (ROOT / words[words.index("-f") + 1]).is_file()
    run = re.search(r"brainjax:cuda \\\n#(.*)", comments)
    assert run is not None
    assert parse(shlex.split(run[1]))[0] == "train"
