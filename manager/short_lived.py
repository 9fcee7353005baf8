"""Programs that know what flows are, which this plane does not: each is run for one question, and is gone then.

They get no secret and hardly any environment, and neither may they last for long.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

# Where modules of ours are found, Python knows by itself.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
_LONGEST_REASON = 500


class ProgramFailed(Exception):
    """A program failed, or took too long (`is_late`)."""

    def __init__(self, reason: str, *, is_late: bool = False) -> None:
        super().__init__(reason)
        self.is_late = is_late


def module(name: str) -> tuple[str, ...]:
    """Return the command that runs a module."""
    return (sys.executable, "-m", name)


def run(command: Sequence[str], question: IO[bytes], answer: IO[bytes], seconds: float) -> None:
    """Have a program read a question from a file, and write its answer to another one. Raises ProgramFailed."""
    with tempfile.TemporaryFile() as complaints:
        try:
            done = subprocess.run(  # noqa: S603 - our own modules
                command, stdin=question, stdout=answer, stderr=complaints, env=_ENVIRONMENT, timeout=seconds,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"it took longer than {seconds:g} seconds", is_late=True) from None
        except OSError as error:
            raise ProgramFailed(f"it cannot be started: {error}") from error
        if done.returncode != 0:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise ProgramFailed(f"it ended with {done.returncode}: {said[-_LONGEST_REASON:]}")
