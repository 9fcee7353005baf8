"""The command line: what is wrong is said in one line, and what is chosen is run."""

from pathlib import Path

import pytest

from tests.bench import cli
from tests.bench.scenarios import ALL


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bogus"], "--bogus"),
        (["--scenario", "nothing"], "invalid choice: 'nothing'"),
        (["--subject", "somebody"], "invalid choice: 'somebody'"),
        (["--subject", "portkey"], "portkey needs --peers"),
        (["--rounds", "0"], "must be at least 1"),
        (["--rounds", "many"], "invalid int value"),
        (["--profile", "-3"], "must be at least 1"),
        (["--json", "/no/such/folder/file.json"], "there is no folder /no/such/folder"),
        (["--docs", "/no/such/file.json"], "No such file"),
    ],
)
def test_a_fault_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.checked(arguments)

    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in error
    assert error.startswith("scripts/bench: ") and error.count("\n") == 1


def test_a_file_that_is_no_json_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.json").write_text("{")

    with pytest.raises(SystemExit) as ended:
        cli.checked(["--docs", str(tmp_path / "broken.json")])

    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_a_choice_everything_usual_is_run() -> None:
    plan = cli.plan_of(cli.checked([]))

    assert [each.name for each in plan.scenarios] == [each.name for each in ALL if each.name != cli.SOAK]
    assert (plan.pace.quick, plan.with_peers) == (False, False)


def test_chosen_scenarios_and_subjects_are_run() -> None:
    plan = cli.plan_of(
        cli.checked(["--quick", "--scenario", "sse-128", "--scenario", "small-1", "--subject", "engine"])
    )

    assert [each.name for each in plan.scenarios] == ["small-1", "sse-128"]
    assert (list(plan.subjects), plan.pace.quick) == (["engine"], True)


def test_the_soak_is_run_when_it_is_asked_for() -> None:
    assert [each.name for each in cli.plan_of(cli.checked(["--soak"])).scenarios] == [cli.SOAK]


def test_what_a_quick_run_leaves_out_is_run_when_it_is_named() -> None:
    plan = cli.plan_of(cli.checked(["--quick", "--scenario", "idle-10000"]))

    [scenario] = plan.scenarios
    assert plan.pace.subjects_of(scenario) == scenario.subjects
