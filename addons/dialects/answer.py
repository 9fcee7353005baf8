"""What a provider's answer says of itself, and how much of it has been said."""

from dataclasses import dataclass

from shared.models import Usage

BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """Model, usage and why it ended, as far as they have been read; fields stay None until the provider says them.

    `is_final` tells whether the usage is of the whole answer. Anthropic's streams give a first one at their start.
    """

    model: str | None = None
    usage: Usage = Usage()
    finish_reason: str | None = None
    is_final: bool = False


@dataclass(slots=True)
class Said:
    """How much generated text has passed by: in how many pieces, and how many bytes it has in UTF-8."""

    pieces: int = 0
    size: int = 0

    def add(self, text: str) -> None:
        """Count one piece; empty ones, such as those that only name a role, are none."""
        if text:
            self.pieces += 1
            self.size += len(text) if text.isascii() else len(text.encode(errors="replace"))

    @property
    def tokens(self) -> int:
        """An estimate of the tokens they have cost.

        Most providers send a piece for each token, so there are at least as many. Others put several tokens into one;
        then it is one for each four bytes, which in English is four characters.
        """
        return max(self.pieces, -(-self.size // BYTES_PER_TOKEN))
