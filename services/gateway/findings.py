"""What pydantic found in a request, in plain words: what is wrong with a field, and what to send instead."""

import re

from pydantic_core import ErrorDetails

from shared.tasks import Task

_A_UUID = "0198c0de-0000-7000-8000-000000000000"
_NO_NUMBER = ("{subject} is no number.", "Send a number.")
_NO_WHOLE_NUMBER = ("{subject} is no whole number.", "Send a whole number.")
_NO_OBJECT = ("{subject} is no JSON object.", "Send an object: fields and their values in braces.")
_NO_LIST = ("{subject} is no list.", "Send a list.")
_NO_UUID = ("{subject} is no UUID.", f"Send a UUID, such as {_A_UUID}.")
_NO_TIME = ("{subject} is no time.", "Send a date and time with its zone, such as 2030-01-01T00:00:00Z.")
_NO_BOOLEAN = ("{subject} is neither true nor false.", "Send true or false.")
_NONE_OF = ("{subject} is none of what there is.", "Use {expected}.")

_BY_TYPE: dict[str, tuple[str, str]] = {
    "missing": ("{subject} is missing.", "Send this field."),
    "extra_forbidden": ("There is no field {field} here.", "Leave it out, or correct its name."),
    "json_invalid": ("{subject} cannot be read as JSON: {error}.", "Send well-formed JSON in UTF-8."),
    "dict_type": _NO_OBJECT,
    "model_type": _NO_OBJECT,
    "list_type": _NO_LIST,
    "tuple_type": _NO_LIST,
    "too_short": ("{subject} has fewer values than {min_length}.", "Send {min_length} or more."),
    "too_long": ("{subject} has more values than {max_length}.", "Send at most {max_length}."),
    "string_type": ("{subject} is no string.", "Send a string."),
    "string_unicode": ("{subject} is not in UTF-8.", "Send it in UTF-8."),
    "string_too_short": ("{subject} has fewer characters than {min_length}.", "Send {min_length} or more."),
    "string_too_long": ("{subject} has more characters than {max_length}.", "Send at most {max_length}."),
    # What most fields of text forbid and nothing else; those with a form of their own stand below.
    "string_pattern_mismatch": ("{subject} has a null character in it.", "Leave null characters out."),
    "too_many_bytes": ("{subject} has more bytes than {most} in UTF-8.", "Send at most {most}."),
    "one_of_two": ("{subject} names both or neither of {names}.", "Send exactly one of the two."),
    "bool_type": _NO_BOOLEAN,
    "bool_parsing": _NO_BOOLEAN,
    "int_type": _NO_WHOLE_NUMBER,
    "int_parsing": _NO_WHOLE_NUMBER,
    "int_from_float": _NO_WHOLE_NUMBER,
    "int_parsing_size": ("{subject} has more digits than any number that is taken.", "Send a smaller number."),
    "float_type": _NO_NUMBER,
    "float_parsing": _NO_NUMBER,
    "finite_number": ("{subject} is no finite number.", "Send a finite number."),
    "greater_than": ("{subject} is not above {gt:g}.", "Send a number above {gt:g}."),
    "greater_than_equal": ("{subject} is below {ge:g}.", "Send {ge:g} or more."),
    "less_than_equal": ("{subject} is above {le:,}.", "Send {le:,} or less."),
    "enum": _NONE_OF,
    "literal_error": _NONE_OF,
    "uuid_type": _NO_UUID,
    "uuid_parsing": _NO_UUID,
    "datetime_type": _NO_TIME,
    "datetime_parsing": _NO_TIME,
    "datetime_from_date_parsing": _NO_TIME,
    "timezone_aware": ("{subject} has no time zone.", _NO_TIME[1]),
}

_IMAGE_ID = ("{subject} is no id of an image.", "Send 64 lower-case hex digits, as POST /images gave them.")
FORMS: dict[str, tuple[str, str]] = {
    "image_id": _IMAGE_ID,
    "image_ids": _IMAGE_ID,
    "sha256": ("{subject} is no sha256 in hex.", "Send the 64 lower-case hex digits of the image's sha256."),
    "s3_uri": ("{subject} is no URI of an object.", "Send s3://BUCKET/KEY."),
    "bucket": (
        "{subject} is no name of a bucket.",
        "Send the name alone, of lower-case letters, digits, hyphens and dots.",
    ),
    "owner": ("{subject} has a slash or a null character in it.", "Send a name without them."),
}
"""Of fields whose text has a form of its own."""

_REMEDIES = {
    "boxes": "Send [[x1, y1, x2, y2]] in pixels of the image.",
    "cursor": "Send what the page before gave as `next`.",
    **{
        f"{thing}_id": f"Send a UUID, as POST /{things} gives them, such as {_A_UUID}."
        for thing, things in {
            "batch": "batches",
            "conversation": "conversations",
            "job": "jobs",
            "key": "keys",
            "webhook": "webhooks",
        }.items()
    },
}
"""Of fields where whatever is wrong with a value, or with one inside of it, calls for the same."""

_UNKNOWN = ("{subject}: {message}.", "See the API's documentation (/docs) for what it may be.")
_OF_TEXT = ("string_pattern_mismatch", "string_type")
_NOT_A_VALUE = ("missing", "extra_forbidden")


def told(error: ErrorDetails, field: str, whole: str) -> tuple[str, str]:
    """(detail, remedy), a sentence each, of what is wrong with the field. whole: the field that stands for all of it.

    error: with its input, where it is about a request that is told apart from others by its task.
    """
    kind = error["type"]
    if kind.startswith("union_tag"):
        return _of_no_task(error)
    last = re.sub(r"\[\d+\]", "", field).rpartition(".")[2]
    detail, remedy = _BY_TYPE.get(kind, _UNKNOWN)
    if kind in _OF_TEXT and last in FORMS:
        form, remedy = FORMS[last]
        detail = detail if kind == "string_type" else form
    elif kind not in _NOT_A_VALUE or (kind == "missing" and field.endswith("]")):
        remedy = _REMEDIES.get(last, remedy)
    facts = {
        "field": field,
        "subject": f"The {whole}" if field == whole else field,
        "message": error["msg"].rstrip("."),
        **error.get("ctx", {}),
    }
    return detail.format_map(facts), remedy.format_map(facts)


def _of_no_task(error: ErrorDetails) -> tuple[str, str]:
    given = error["input"]["task"] if error["type"] == "union_tag_invalid" else None
    detail = "The task is missing." if given is None else f"There is no task {str(given)[:40]!r}."
    return detail, f"Use one of: {', '.join(Task)}."
