"""The hash locks: pinned, hashed, complete, and free of any address, so that no package host is written down here."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ["requirements.lock", "requirements-dev.lock"]
# A name here has no dot in it, and nothing but entries and hashes may stand in a line: no address fits in.
ENTRY = re.compile(r"(?P<name>[a-z0-9]+(-[a-z0-9]+)*)==(?P<version>[0-9][0-9a-z.]*)(?P<marker> ; [^\\/@:]+)? \\")
HASH = re.compile(r"    --hash=(?P<hash>sha256:[0-9a-f]{64})(?P<more> \\)?")


@dataclass(frozen=True)
class Entry:
    name: str
    version: str
    hashes: frozenset[str]


def entries(lock: str) -> list[Entry]:
    """Every pinned package with its hashes; fails for a line that is neither."""
    found: list[tuple[str, str, set[str]]] = []
    for line in (ROOT / lock).read_text().splitlines():
        if entry := ENTRY.fullmatch(line):
            found.append((entry["name"], entry["version"], set()))
        else:
            match = HASH.fullmatch(line)
            assert match, f"{lock} has a line that is no pinned package and no hash: {line!r}"
            found[-1][2].add(match["hash"])
    return [Entry(name, version, frozenset(hashes)) for name, version, hashes in found]


def missing(requirements: list[str], lock: str) -> list[str]:
    """Those requirements that no version in the lock satisfies."""
    locked = entries(lock)
    wanted = map(Requirement, requirements)
    return [
        str(requirement)
        for requirement in wanted
        if not any(
            entry.name == canonicalize_name(requirement.name) and requirement.specifier.contains(entry.version)
            for entry in locked
        )
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_pinned_and_has_hashes(lock: str) -> None:
    locked = entries(lock)

    assert len(locked) > 50
    assert not [entry.name for entry in locked if not entry.hashes]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert not re.findall(r"https?:|://|@|file:|--(?:extra-)?index-url|--find-links|--trusted-host", text)
    assert not re.findall(r"\b(?:[a-z0-9-]+\.)+(?:org|com|net|io|dev|internal|local|lan)\b", text, re.IGNORECASE)
    assert not re.findall(r"\b\d+\.\d+\.\d+\.\d+:\d+\b|\blocalhost\b", text)


def test_what_runs_is_also_what_is_tested() -> None:
    assert set(entries("requirements.lock")) <= set(entries("requirements-dev.lock"))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_of_the_product_is_locked_in_a_version_that_fits(lock: str) -> None:
    assert not missing(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["build"], lock)


def test_every_tool_of_the_developers_is_locked_in_a_version_that_fits() -> None:
    assert not missing(PROJECT["optional-dependencies"]["dev"], "requirements-dev.lock")


@pytest.mark.parametrize("tool", ["pytest", "mypy", "ruff", "requests-mock"])
def test_no_tool_of_the_developers_is_installed_in_production(tool: str) -> None:
    assert tool not in {entry.name for entry in entries("requirements.lock")}
