"""Running the command line as a user does, on a cohort that takes seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TINY = (
    "--config.phantom.cases=4", "--config.phantom.shape=(32, 32, 32)",
    "--config.batches.patch_shape=(16, 16, 16)", "--config.split.folds=4",
    "--config.loop.steps=6", "--config.loop.log_every_steps=1",
    "--config.loop.validate_every_steps=3", "--config.loop.save_every_steps=2",
    "--config.objective.inter_start_epoch=1",
)  # fmt: skip
DEMO = "--config=configs/cga.py"


ENVIRONMENT = {
    **os.environ,
    # What is compiled here is tiny: compiling it fast, once for all runs, is what counts.
    "BRAINJAX_CPU_CONV": "plain",
    "BRAINJAX_CACHE_DIR": str(Path(tempfile.gettempdir()) / "brainjax-tests"),
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
}


class CommandLine:
    """Starts ``python -m brainjax.main`` from the repository's folder."""

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "brainjax.main", *arguments],
            cwd=ROOT, env=ENVIRONMENT, text=True, bufsize=1,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=600)
        assert process.returncode == code, f"{output}\n{errors}"
        assert "Traceback" not in errors, errors
        return output + errors

    def stop_at(self, text: str, number: signal.Signals, *arguments: str) -> tuple[int, str]:
        """Sends a signal as soon as a line contains ``text``."""
        process = self.start(*arguments)
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if text in line:
                process.send_signal(number)
                break
        rest, errors = process.communicate(timeout=600)
        return process.returncode, "".join(seen) + rest + errors
