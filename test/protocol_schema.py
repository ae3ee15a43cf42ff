#!/usr/bin/env python3
"""The examples of docs/reference/protocol.md fit protocol.schema.json, and what breaks the protocol does not."""

import json
import os
import pathlib
import re
import sys

try:
    import jsonschema
except ImportError:
    # Debian's packages are for Debian's interpreter, which need not be the first.
    system = "/usr/bin/python3"
    if sys.flags.isolated == 0 and os.path.exists(system):
        os.execv(system, [system, "-I", *sys.argv])
    print("skipped: python3-jsonschema is not there")
    sys.exit(77)

REFERENCE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "reference"

# What each part must refuse.
WRONG = {
    "request": [
        {}, {"type": 1}, {"type": "subscribe"}, {"type": "subscribe", "channel": ""},
        {"type": "subscribe", "channel": "a..b"}, {"type": "subscribe", "channel": "a.>.b"},
        {"type": "subscribe", "channel": "a\tb"}, {"type": "subscribe", "channel": "a\u007fb"},
        {"type": "subscribe", "channel": ".".join("a" * 17)}, {"type": "subscribe", "channel": "a" * 256},
        {"type": "subscribe", "channel": "a", "recover": {"epoch": "e"}},
        {"type": "subscribe", "channel": "a", "id": "x" * 65}, {"type": "subscribe", "channel": "a", "id": [1]},
        {"type": "publish", "channel": "a"}, {"type": "publish", "channel": "a.*", "data": 1},
        {"type": "history", "channel": "a", "limit": 1001}, {"type": "history", "channel": "a", "limit": -1},
        {"type": "presence", "channel": ">"}, {"type": "ack"}, {"type": "ack", "id": "1"},
        {"type": "ack", "id": list(range(101))}, {"type": "refresh"}, {"type": "auth", "token": 1},
    ],
    "answer": [
        {"type": "welcome", "version": 1}, {"type": "subscribed"}, {"type": "error", "code": "x"},
        {"type": "error", "code": "x", "message": "y", "retry_after_ms": 0},
        {"type": "presence", "channel": "a", "count": -1}, {"type": "subscribed", "channel": "a", "already": False},
    ],
    "publication": [
        {"type": "error"}, {"type": "unsubscribed", "channel": "a"}, {"epoch": "e", "channel": "a"},
        {"offset": 1, "epoch": "e"}, {"encoding": "base64", "channel": "a"},
    ],
}


def examples(page):
    """Each JSON object that stands in a block of JSON, with its line."""
    decoder = json.JSONDecoder()
    for block in re.finditer(r"^```json\n(.*?)^```", page, re.S | re.M):
        text, at = block.group(1), 0
        while text[at:].strip():
            at += len(text[at:]) - len(text[at:].lstrip())
            what, end = decoder.raw_decode(text, at)
            yield page.count("\n", 0, block.start(1) + at) + 1, what
            at = end


def main():
    schema = json.loads((REFERENCE / "protocol.schema.json").read_text(encoding="utf-8"))
    check = jsonschema.Draft202012Validator
    check.check_schema(schema)
    whole = check(schema)
    parts = {name: check({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]}) for name in WRONG}
    wrong, seen = [], 0
    for line, what in examples((REFERENCE / "protocol.md").read_text(encoding="utf-8")):
        seen += 1
        if not whole.is_valid(what):
            wrong.append(f"protocol.md:{line}: does not fit the schema: {what}")
    for name, all_wrong in WRONG.items():
        wrong += [f"accepted as {name}: {what}" for what in all_wrong if parts[name].is_valid(what)]
    print("\n".join(wrong) if wrong else f"{seen} examples fit, {sum(map(len, WRONG.values()))} others do not")
    return 1 if wrong or seen < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
