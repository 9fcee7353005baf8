"""Rules of the data plane's start: what keeps it from starting is said in one plain message."""

import subprocess
import sys
from pathlib import Path

from shared import sealing, settings

ROOT = Path(__file__).parents[2]


def started(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Load the ordered list in a process of its own."""
    environment = {
        "ENCRYPTION_KEYS": f"k1:{sealing.generate_key()}",
        "TOKEN_PEPPER": settings.generate_secret(),
        "LLM_PROXY_DATA_DIR": str(folder),
    }
    command = [sys.executable, "-c", "import addons.main"]
    return subprocess.run(command, cwd=ROOT, env=environment | variables, capture_output=True, text=True, timeout=60)


def test_a_faulty_provider_table_is_named_with_place_and_reason_and_nothing_starts(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[providers.acme]\nbase_url = = 1\n")

    ended = started(tmp_path, LLM_PROXY_PROVIDERS_FILE=str(file))

    assert ended.returncode == 1
    assert ended.stderr == (
        f"llm-proxy cannot start: {file} needs attention:\n  is not TOML: Invalid value (at line 2, column 12)\n"
    )


def test_a_variable_that_is_wrong_is_named_and_nothing_starts(tmp_path: Path) -> None:
    ended = started(tmp_path, TOKEN_PEPPER="short")

    assert ended.returncode == 1
    assert ended.stderr.startswith("llm-proxy cannot start: ") and "TOKEN_PEPPER" in ended.stderr
