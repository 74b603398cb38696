"""Finding the other processes of a run: by flags, or by what started them."""

from __future__ import annotations

import os
import warnings

import jax
from jax._src.clusters import ClusterEnv  # jax.distributed's own detection, without starting it

from brainjax.errors import InputError
from brainjax.parallel.watch import JAX_SILENCE_SECONDS, watch

_KUBERNETES, _KUBERNETES_JOB = "k8s", "JOB_COMPLETION_INDEX"


def connect(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> None:
    """Joins the other processes of the run, where there are any.

    Without arguments they are those that Slurm (``srun`` with several tasks), Open MPI,
    Kubernetes or a TPU slice has started; a single process stays on its own. Has to come
    before JAX's first use of a device.

    Args:
      coordinator: ``host:port`` where the first process listens.
      processes: how many there are.
      process: the number of this one, from 0.

    Raises:
      InputError: only some of the arguments came, or the others cannot be reached.
    """
    given = (coordinator, processes, process)
    known = dict(zip(("--coordinator", "--processes", "--process"), given, strict=True))
    missing = [name for name, value in known.items() if value is None]
    if 0 < len(missing) < 3:
        raise InputError(
            f"{', '.join(missing)} missing: expected --coordinator=HOST:PORT, --processes=N and "
            "--process=I together, or none of them under Slurm, Open MPI or on TPU slices"
        )
    if missing and _started_together() < 2:
        return
    if not missing:
        _check(*given)
    # A signal that asks to stop is agreed on by the training loop itself.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            cluster_detection_method=None if missing else "deactivate",
            heartbeat_timeout_seconds=JAX_SILENCE_SECONDS,
        )
    except RuntimeError as error:
        told = " ".join(str(error).split())[:200]
        raise InputError(
            f"the processes of this run did not come together ({told}); check that all were "
            "started with the same --coordinator and --processes and can reach it"
        ) from error
    watch()


def _started_together() -> int:
    """How many processes a launcher says that it has started; 1 without one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pods without the package that asks Kubernetes
        for launcher in ClusterEnv._cluster_types:
            if launcher.opt_in_only_method:
                continue
            if launcher.name == _KUBERNETES and _KUBERNETES_JOB not in os.environ:
                continue
            if launcher.is_env_present():
                return launcher.get_process_count()
    return 1


def _check(coordinator: str | None, processes: int | None, process: int | None) -> None:
    host, colon, port = (coordinator or "").rpartition(":")
    if not (host and colon and port.isdigit()):
        raise InputError(f"--coordinator={coordinator}: expected HOST:PORT, such as node1:12345")
    if processes is None or process is None or not 0 <= process < processes:
        raise InputError(
            f"--process={process} of --processes={processes}: expected a number from 0 to "
            "processes - 1"
        )
