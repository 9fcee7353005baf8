"""The models there are: a few that are known, and any other by name."""

from openai.types import Model

from manager.mock_provider.answers import models


def test_a_model_has_everything_the_sdk_declares() -> None:
    assert Model.model_validate_json(models.single("any/name"), strict=True).id == "any/name"


def test_the_list_names_the_known_models() -> None:
    assert all(f'"id":"{name}"'.encode() in models.listing() for name in models.KNOWN)
