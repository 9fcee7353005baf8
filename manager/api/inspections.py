"""The shape of what may be seen of a project's requests, as it is sent and as it is shown."""

from typing import Any

import marshmallow as ma

from manager import inspections, texts
from manager.api.fields import Number, Whole
from shared.inspection import MOST_BODY_BYTES, Capture, Hidden


def _entries(description: str, **entry: Any) -> "ma.fields.List[Any]":
    said = {"schema": {"maxItems": inspections.MOST_ENTRIES}, "description": description}
    return ma.fields.List(ma.fields.String(metadata={"minLength": 1, **entry}), metadata=said)


class InspectionShape(ma.Schema):
    """What goes to the inspector's feed, and what is hidden in it; a part that is left out is as usual.

    Keys and tokens are always masked.
    """

    capture = ma.fields.String(
        validate=ma.validate.OneOf(list(Capture)),
        metadata={
            "description": "`off`: nothing; `metadata`: all but bodies (usual); `sampled`: also the bodies of a share"
            " of the requests; `full`: those of all."
        },
    )
    share = Number(metadata={"minimum": 0, "maximum": 1, "description": "Of the requests, if they are sampled."})
    max_body_bytes = Whole(
        metadata={
            "minimum": 0,
            "maximum": MOST_BODY_BYTES,
            "description": "Of each body so much is shown at most; 65536 unless given.",
        }
    )
    hidden = ma.fields.List(
        ma.fields.String(validate=ma.validate.OneOf(list(Hidden))),
        metadata={"description": "Kinds of personal data that are hidden in bodies."},
    )
    json_paths = _entries(
        "Fields of JSON bodies and events that are hidden, such as `messages[*].content`.",
        maxLength=inspections.PATH_LENGTH,
        pattern=inspections.PATH_PATTERN,
    )
    patterns = _entries(
        "What fits these regular expressions of RE2 is hidden.",
        maxLength=inspections.PATTERN_LENGTH,
        pattern=texts.TEXT_PATTERN,
        format="re2",
    )
