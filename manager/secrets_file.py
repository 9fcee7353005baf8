"""The generated secrets of a single-machine installation: made once, kept in the data folder, readable by one user."""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from shared import sealing, settings

FILE_NAME = "secrets.env"
_MAKE: dict[str, Callable[[], str]] = {
    "MANAGEMENT_TOKEN": settings.generate_secret,
    "ENCRYPTION_KEYS": lambda: f"k1:{sealing.generate_key()}",
    "TOKEN_PEPPER": settings.generate_secret,
}
NAMES = tuple(_MAKE)


class SecretsFileError(Exception):
    """The secrets file cannot be trusted or read."""


def ensure(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the values of `names` from the folder's secrets file, making and adding those that are missing."""
    path = folder / FILE_NAME
    known = _read(path) if path.exists() else {}
    missing = {name: _MAKE[name]() for name in names if name not in known}
    if missing:
        _append(path, missing)
    return {name: (known | missing)[name] for name in names}


def generated(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return what `ensure` would, and write nothing: what is missing, or cannot be read, is made up."""
    try:
        known = read(folder)
    except (OSError, SecretsFileError):
        known = {}
    return {name: known[name] if name in known else _MAKE[name]() for name in names}


def read(folder: Path) -> dict[str, str]:
    """Return what the folder's secrets file has. Raises SecretsFileError, OSError."""
    return _read(folder / FILE_NAME)


def _read(path: Path) -> dict[str, str]:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SecretsFileError(f"{path} is readable by other users: chmod 600 it, or delete it to start afresh")
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if faulty := [name for name, separator, _ in pairs if not separator]:
        raise SecretsFileError(f"{path} has a line that is not NAME=value (it starts {faulty[0][:12]!r})")
    return {name: value for name, _, value in pairs}


def _append(path: Path, values: dict[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
