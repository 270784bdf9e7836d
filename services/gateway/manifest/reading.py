"""One line of a manifest as a job, or what is wrong with it."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from services.gateway.errors import from_pydantic
from services.gateway.manifest.lines import MAX_LINE_BYTES, RawLine
from shared import schema, tasks
from shared.batches import Line, LineFault
from shared.errors import InvalidInput, TooLarge
from shared.repeated_keys import once
from shared.sources import split

_LINE: TypeAdapter[schema.ManifestLine] = TypeAdapter(schema.ManifestLine)


@dataclass(frozen=True)
class Rules:
    """What a line may ask for. side: the longest that an image may have: no box ends beyond it."""

    limits: tasks.Limits
    side: int
    buckets: Collection[str]


def read(raw: RawLine, rules: Rules) -> Line | LineFault:
    """Boxes are compared with their image where its size is known, which is not here."""
    if raw.data is None:
        error: InvalidInput = TooLarge(
            "line",
            f"The line has more than {MAX_LINE_BYTES:,} bytes.",
            f"Send at most {MAX_LINE_BYTES:,} a line.",
        )
        return LineFault(raw.number, None, error.to_problem())
    try:
        asked = _LINE.validate_json(raw.data)
        ask = schema.to_ask(asked)
        tasks.validate(ask, rules.side, rules.side, rules.limits)
        _require_once(raw.data.decode())
        if asked.s3_uri is not None:
            require_bucket(split(asked.s3_uri)[0] or "", rules.buckets, "s3_uri")
    except ValidationError as wrong:
        return LineFault(
            raw.number, _custom_id(raw.data), from_pydantic(wrong, of_tasks=True, whole="line").to_problem()
        )
    except InvalidInput as wrong:
        return LineFault(raw.number, asked.custom_id, wrong.to_problem())
    return Line(raw.number, asked.custom_id, asked.image_id, asked.s3_uri, ask)


def require_bucket(bucket: str, known: Collection[str], field: str) -> None:
    """Raises InvalidInput for a bucket that the operator has not opened."""
    if bucket not in known:
        open_ones = f"Use one of: {', '.join(sorted(known))}." if known else "Upload the images, and send their ids."
        raise InvalidInput(field, f"The service may not read the bucket {bucket}.", open_ones)


_require_once = json.JSONDecoder(object_pairs_hook=once).decode
"""For lines that are known to be in order but for repeated keys, which Pydantic does not see."""


def _custom_id(data: bytes) -> str | None:
    """To tell a broken line by, where it is JSON at all and has one."""
    try:
        found: Any = from_json(data)
    except ValueError:
        return None
    name = found.get("custom_id") if isinstance(found, dict) else None
    return name if isinstance(name, str) and 0 < len(name) <= 1024 and "\0" not in name else None
