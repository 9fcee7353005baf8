"""Bytes in bulk: deterministic, sized to the byte, made piece by piece."""

import json

import pytest

from manager.mock_provider.answers import files
from manager.mock_provider.answers.files import PIECE, Content
from manager.mock_provider.answers.question import Question
from manager.mock_provider.errors import ProviderError


@pytest.mark.parametrize(
    ("size", "pieces"), [(0, [0]), (5, [5]), (PIECE, [PIECE]), (PIECE + 1, [PIECE, 1]), (2 * PIECE, [PIECE, PIECE])]
)
def test_content_has_its_size_in_pieces(size: int, pieces: list[int]) -> None:
    assert [len(piece) for piece in Content(size)] == pieces
    assert len(Content(size)) == len(pieces)


def test_content_is_always_the_same_and_no_piece_is_like_another() -> None:
    first, again = list(Content(4 * PIECE)), list(Content(4 * PIECE))

    assert first == again
    assert len(set(first)) == 4
    assert Content(4 * PIECE)[1:3] == first[1:3]


@pytest.mark.parametrize(
    ("fields", "size", "chunked"),
    [({}, 1000, False), ({"size": "70000", "chunked": "true"}, 70_000, True), ({"size": "0"}, 0, False)],
)
def test_the_query_says_how_much_and_how(fields: dict[str, str], size: int, chunked: bool) -> None:
    content = files.content(Question(fields, "1"))

    assert (content.size, content.chunked) == (size, chunked)


@pytest.mark.parametrize("size", ["-1", "1.5", "many", "²", str(files.MAX_SIZE + 1)])
def test_a_flawed_size_is_refused(size: str) -> None:
    with pytest.raises(ProviderError) as refused:
        files.content(Question({"size": size}, "1"))

    assert (refused.value.status, refused.value.param) == (400, "size")


def test_an_upload_is_told_its_size() -> None:
    question = Question({"request_bytes": 12}, "7")

    uploaded, part = json.loads(files.uploaded(question)), json.loads(files.part(question, "upload_1"))

    assert (uploaded["id"], uploaded["object"], uploaded["bytes"]) == ("file-mock-7", "file", 12)
    assert (part["id"], part["upload_id"], part["bytes"]) == ("part_mock_7", "upload_1", 12)
