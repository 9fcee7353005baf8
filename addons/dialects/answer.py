"""What a provider's answer says of itself."""

from dataclasses import dataclass

from shared.models import Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """Model and usage, as far as they have been read; fields stay None until the provider says them."""

    model: str | None = None
    usage: Usage = Usage()
