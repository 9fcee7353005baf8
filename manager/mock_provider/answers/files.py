"""``POST /v1/files``, ``POST /v1/uploads/{id}/parts``, ``GET /v1/files/{id}/content``: bytes in bulk, none kept."""

import random
from collections.abc import Sequence
from typing import overload

import orjson

from manager.mock_provider.answers.events import CREATED
from manager.mock_provider.answers.question import Question
from manager.mock_provider.errors import invalid

PIECE = 64 * 1024
SMALL = 1000
MAX_SIZE = 16 * 1024**3
_NOISE = random.Random(0).randbytes(PIECE)  # noqa: S311 - the same bytes every time, nothing secret


class Content(Sequence[bytes]):
    """``size`` bytes in pieces of 64 KiB, each made when asked for; always the same, and no two pieces alike."""

    def __init__(self, size: int, *, chunked: bool = False) -> None:
        self.size = size
        self.chunked = chunked

    def __len__(self) -> int:
        return max(1, -(-self.size // PIECE))

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return (b"%016d" % index + _NOISE[16:])[: self.size - index * PIECE]

    def half(self) -> "Content":
        """The first half of it."""
        return Content(self.size // 2, chunked=self.chunked)


def content(question: Question) -> Content:
    """The content of any file: ``size`` bytes (default 1000), with their length declared unless ``chunked=true``.

    Raises ProviderError 400 for a size that is no whole number up to 16 GiB.
    """
    size = str(question.fields.get("size", SMALL))
    if not (size.isascii() and size.isdecimal()) or int(size) > MAX_SIZE:
        raise invalid("size", f"a whole number from 0 to {MAX_SIZE}")
    return Content(int(size), chunked=question.fields.get("chunked") == "true")


def uploaded(question: Question) -> bytes:
    """A ``file`` object, whose ``bytes`` is the size of the whole request body."""
    about = {"filename": "upload", "purpose": "user_data", "status": "processed"}
    size = question.fields["request_bytes"]
    return orjson.dumps({"id": f"file-mock-{question.number}", "object": "file", "bytes": size, **_CREATED, **about})


def part(question: Question, upload: str) -> bytes:
    """An ``upload.part`` object of that upload, with the size of the whole request body as ``bytes`` besides."""
    about = {"upload_id": upload, "bytes": question.fields["request_bytes"]}
    return orjson.dumps({"id": f"part_mock_{question.number}", "object": "upload.part", **_CREATED, **about})


_CREATED = {"created_at": CREATED}
