"""The plan of the house: arrows between rooms, one reader of the environment, variables that are read and told of."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from shared.settings import Plane, Variable, declared, variables

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = ["addons", "manager", "shared"]
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
SETTINGS_FILE = ROOT / "shared" / "settings.py"
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
FIELD_OF = {variable.name: field for field, variable in declared().items()}
READERS = {Plane.DATA: "proxy", Plane.CONTROL: "manager", Plane.SUPERVISOR: "up", Plane.MOCK: "mock provider"}
READERS[Plane.INSPECTOR] = "inspector"


def nodes(path: Path) -> Iterator[ast.AST]:
    """Everything in a source file."""
    return ast.walk(ast.parse(path.read_text(), str(path)))


def settings_read(tree: Iterator[ast.AST]) -> set[str]:
    """Names of attributes whose value is taken from something called settings or configuration."""
    return {
        node.attr
        for node in tree
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and re.search(r"(^|[._])(settings|configuration)$", ast.unparse(node.value))
    }


def environment_uses(tree: Iterator[ast.AST]) -> list[str]:
    """Each way in which a source file gets at the environment; that of a request (WSGI) is another one."""
    forbidden = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    found = []
    for node in tree:
        if isinstance(node, ast.Attribute) and node.attr in forbidden and ast.unparse(node) != "request.environ":
            found.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and node.module in ("os", "environs", "posix"):
            found += [alias.name for alias in node.names if alias.name in forbidden or node.module == "environs"]
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in ("environs", "dotenv", "posix")]
    return found


def rows(columns: int) -> list[list[str]]:
    """The table rows of docs/configuration.md that have so many columns and a name in the first."""
    split = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line in CONFIGURATION.splitlines()
        if line.startswith("| `")
    ]
    return [row for row in split if len(row) == columns]


# Arrows and names


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout
    assert f"Contracts: {len(PYPROJECT['tool']['importlinter']['contracts'])} kept, 0 broken." in result.stdout


@pytest.mark.parametrize("framework", ["mitmproxy", "flask", "sqlalchemy", "redis", "requests"])
def test_the_contracts_forbid_frameworks_in_the_common_language(framework: str) -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]

    forbidden = [c["forbidden_modules"] for c in contracts if c.get("source_modules") == ["shared"]]

    assert any(framework in modules for modules in forbidden)


def test_no_module_in_addons_shadows_one_of_python_or_of_a_library() -> None:
    own = {path.stem for path in (ROOT / "addons").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

    shadowed = own & (set(sys.stdlib_module_names) | set(packages_distributions()) | {"tests", "scripts"})

    assert shadowed <= {"__init__"}


def test_the_explicit_package_list_is_complete() -> None:
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}

    assert folders == set(PYPROJECT["tool"]["setuptools"]["packages"])
    assert not [name for name in folders if not (ROOT / Path(*name.split(".")) / "__init__.py").exists()]


# The environment


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_settings_reads_the_environment(path: Path) -> None:
    if path == SETTINGS_FILE:
        assert environment_uses(nodes(path))
    else:
        assert not environment_uses(nodes(path))


@pytest.mark.parametrize(
    "source",
    [
        "import os; os.environ['A']",
        "import os as o; o.getenv('A')",
        "from os import environ",
        "from os import getenv as g",
        "import environs",
        "from environs import Env",
        "import posix",
    ],
)
def test_every_way_to_the_environment_is_noticed(source: str) -> None:
    assert environment_uses(ast.walk(ast.parse(source)))


def test_what_comes_with_a_request_is_not_the_environment() -> None:
    assert not environment_uses(ast.walk(ast.parse("request.environ['wsgi.input']")))


@pytest.fixture(scope="module")
def read_somewhere() -> set[str]:
    """Every field of Settings, or of something called so, that code outside shared/settings.py reads."""
    return {name for path in SOURCES if path != SETTINGS_FILE for name in settings_read(nodes(path))}


@pytest.mark.parametrize("name", FIELD_OF)
def test_every_variable_is_read_by_somebody(read_somewhere: set[str], name: str) -> None:
    assert FIELD_OF[name] in read_somewhere, (
        f"{name} does nothing: no code outside shared/settings.py reads `settings.{FIELD_OF[name]}` "
        "(the name in front of the dot has to end with `settings` or `configuration`)"
    )


@pytest.mark.parametrize(
    ("source", "is_read"),
    [
        ("range(settings.workers)", True),
        ("start(Plane.DATA).workers, configuration.workers", True),
        ("self._settings.workers + 1", True),
        ("settings.workers = 1", False),
        ("environment.workers()", False),
        ("ctx.options.workers", False),
        ("rules.workers", False),
        ("workers", False),
    ],
)
def test_a_variable_counts_as_read_where_its_value_is_taken_from_the_settings(source: str, is_read: bool) -> None:
    assert ("workers" in settings_read(ast.walk(ast.parse(source)))) is is_read


# The documentation


def documented_default(variable: Variable) -> str:
    if variable.default is None:
        return "required"
    if variable.name == "LLM_PROXY_WORKERS":
        return "one per core"
    return f"`{variable.default}`" if variable.default else "empty"


@pytest.mark.parametrize("variable", variables(), ids=lambda variable: variable.name)
def test_every_variable_is_documented_as_it_is(variable: Variable) -> None:
    [[_, default, readers, meaning]] = [row for row in rows(4) if row[0] == f"`{variable.name}`"]

    assert default == documented_default(variable)
    assert readers == ", ".join(name for plane, name in READERS.items() if plane & variable.planes)
    assert len(meaning) > 20


def test_no_variable_is_documented_that_does_not_exist() -> None:
    known = {variable.name for variable in variables()}
    mentioned = set(
        re.findall(r"\b(?:LLM_PROXY|DATABASE|REDIS|MANAGEMENT|ENCRYPTION|TOKEN)_[A-Z_]*[A-Z]\b", CONFIGURATION)
    )

    assert [row[0].strip("`") for row in rows(4)] == [variable.name for variable in variables()]
    assert {name for name in mentioned if not {name, name.removesuffix("_FILE")} & known} == set()


def test_every_required_variable_has_a_command_that_makes_it() -> None:
    assert [row[0].strip("`") for row in rows(2)] == [v.name for v in variables() if v.default is None]


@pytest.mark.parametrize("variable", [v for v in variables() if v.default is None], ids=lambda variable: variable.name)
def test_the_documented_command_makes_a_good_value_and_another_each_time(variable: Variable) -> None:
    [command] = [row[1].strip("`") for row in rows(2) if row[0] == f"`{variable.name}`"]

    made = [
        subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]

    assert all(variable.parse(value) for value in made)
    assert made[0] != made[1]
