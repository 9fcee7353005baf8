"""The command's help names every behaviour."""

import dataclasses

import pytest
from click.testing import CliRunner

from manager.cli.services import mock_provider
from manager.mock_provider import Behaviour


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Behaviour)])
def test_every_behaviour_is_in_the_help(name: str) -> None:
    shown = CliRunner().invoke(mock_provider, ["--help"]).output

    assert name in shown or f"--{name.replace('_', '-')}" in shown
