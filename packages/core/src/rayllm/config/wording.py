"""Pydantic's error types in a person's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Error = Mapping[str, Any]
"""One item of `ValidationError.errors()`."""

WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "none_required": "nothing",
    "byte_size": "a size like 8GiB",
    "byte_size_unit": "a size like 8GiB",
}
"""Pydantic's names of errors that mean `something else belongs here`."""
BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
PATTERNS = {
    r"^[a-z0-9]+(-[a-z0-9]+)*$": "lower case words joined by single dashes",
    r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$": "letters, digits, `.`, `_` and `-`, with no mark at either end",
    r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$": "an image's name like vllm/vllm-openai:v0.33.0",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "letters, digits and `_`, and no digit first,",
}
SENTENCES = {
    "literal_error": "{expected} expected",
    "enum": "{expected} expected",
    "string_too_long": "at most {max_length} characters expected",
    "string_too_short": "at least {min_length} characters expected",
    "too_short": "at least {min_length} expected, found {actual_length}",
    "too_long": "at most {max_length} expected",
    "json_invalid": "a character that is not valid Unicode",
}


def choices(error: Error) -> list[str]:
    """The texts that an enum or a Literal takes; none for another error."""
    return re.findall(r"'([^']*)'", error["ctx"]["expected"]) if error["type"] in {"literal_error", "enum"} else []


def in_words(error: Error) -> str:
    """What is expected, for a value of the right type that won't do."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in BOUNDS:
        key, words = BOUNDS[kind]
        return f"{words} {context[key]:g} expected"
    if kind in SENTENCES:
        return SENTENCES[kind].format(**context).replace("'", '"')
    if kind == "string_pattern_mismatch":
        return f"{PATTERNS.get(context['pattern'], context['pattern'])} expected"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
