"""Stand-ins for the programs that know what flows are, which the data plane has. Run as `python -m` as those are."""

import base64
import io
import json
import struct
import sys
import time
import zipfile

from manager.short_lived import module
from shared.flow_schema import FLOWS_FIELD, decode_batch

COMMAND = module("tests.manager.programs")
CHECK, EXPORT = (*COMMAND, "check"), (*COMMAND, "export")


def check() -> None:
    """A filter is a word that the URL has in it. `(` is none, some others break the program."""
    asked = json.load(sys.stdin)
    text = asked["filter"]
    if text == "sleep":
        time.sleep(60)
    if text == "crash":
        raise SystemExit("it broke\nfor good")
    if text == "babble":
        print("what?")
        return
    packed = base64.b64decode(asked["records"])
    records = decode_batch({FLOWS_FIELD.encode(): packed}) if packed else []
    at = text.find("(")
    matched = [record.request_id for record in records if text in record.url]
    told = {"is_valid": at < 0, "position": None if at < 0 else at, "message": "" if at < 0 else "A bracket is open."}
    print(json.dumps(told | {"matched": matched, "looked_at": len(records)}))


def export() -> None:
    """A zip with what was told, and with the ids of the records."""
    about, *batches = _frames(sys.stdin.buffer.read())
    if json.loads(about)["filter"].get("request_ids") == ["crash"]:
        raise SystemExit("it broke")
    records = [record for packed in batches for record in decode_batch({FLOWS_FIELD.encode(): packed})]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("manifest.json", about)
        archive.writestr("flows", "\n".join(record.request_id for record in records))
    sys.stdout.buffer.write(made.getvalue())


def _frames(packed: bytes) -> list[bytes]:
    found = []
    while packed:
        [length] = struct.unpack_from(">I", packed)
        found.append(packed[4 : 4 + length])
        packed = packed[4 + length :]
    return found


if __name__ == "__main__":
    {"check": check, "export": export}[sys.argv[1]]()
