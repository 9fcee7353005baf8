"""The data folder: whose it is, who may read it, and whether there is room."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from manager import secrets_file
from manager.doctor.finding import Finding, fault, warning, well
from shared.settings import Settings

LEAST_FREE_BYTES = 1 << 30
_SUBJECT = "data folder"


def look(settings: Settings) -> Iterator[Finding]:
    """Look at the folder and at the generated secrets in it."""
    folder = settings.data_dir
    try:
        found = folder.stat()
    except FileNotFoundError:
        yield well(_SUBJECT, f"{folder} will be made by the first start")
        return
    except OSError as error:
        yield fault(_SUBJECT, f"{folder}: {error.strerror}", "set LLM_PROXY_DATA_DIR to a folder of your own")
        return
    yield _access(folder, found)
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        yield warning(_SUBJECT, f"only {free >> 20} MB are free", "make room: Redis and SQL stop when there is none")
    if (secrets := folder / secrets_file.FILE_NAME).exists():
        yield _secrets(folder, secrets)


def _access(folder: Path, found: os.stat_result) -> Finding:
    if not stat.S_ISDIR(found.st_mode):
        return fault(_SUBJECT, f"{folder} is no folder", "set LLM_PROXY_DATA_DIR to another one")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return fault(_SUBJECT, f"{folder} cannot be written by this user", f"chown it, or run as {found.st_uid}")
    if found.st_mode & 0o077:
        return warning(_SUBJECT, f"{folder} can be entered by other users", f"chmod 700 {folder}")
    return well(_SUBJECT, f"{folder} is ours alone")


def _secrets(folder: Path, file: Path) -> Finding:
    try:
        secrets_file.read(folder)
    except (OSError, secrets_file.SecretsFileError) as error:
        return fault("generated secrets", str(error), f"chmod 600 {file}")
    return well("generated secrets", f"{file} is ours alone")
