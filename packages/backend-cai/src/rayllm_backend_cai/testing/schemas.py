"""The fields that requests and replies have, with their types; what is not in here is ignored, as there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rayllm_backend_cai.testing.replies import bad

Schema = Mapping[str, str]
STR, INT, INT64, DOUBLE, BOOL, MAP, TEXT, STRINGS, TIME, ANY = (
    "string",
    "int32",
    "int64",
    "double",
    "boolean",
    "map",
    "JSON text",
    "strings",
    "time",
    "any",
)
_RESOURCES = {"cpu": DOUBLE, "memory": DOUBLE, "nvidia_gpu": INT, "accelerator_label_id": INT64}
_RUNTIME = {"kernel": STR, "runtime_identifier": STR, "runtime_addon_identifiers": STRINGS, "run_as": INT}
_POOL = {"resource_group_id": INT, "resource_profile_id": INT}

CREATE_PROJECT: Schema = {
    **dict.fromkeys(("name", "description", "visibility", "parent_project", "git_url", "git_ref", "template"), STR),
    **dict.fromkeys(("organization_permission", "default_project_engine_type", "team_name"), STR),
    "environment": MAP,
    "shared_memory_limit": INT,
}
PROJECT: Schema = {
    **dict.fromkeys(("id", "name", "description", "visibility", "default_engine_type", "creation_status", "slug"), STR),
    **dict.fromkeys(("created_at", "updated_at"), TIME),
    **dict.fromkeys(("shared_memory_limit", "ephemeral_storage_request", "ephemeral_storage_limit"), INT),
    **dict.fromkeys(("owner", "creator", "permissions"), ANY),
    "environment": TEXT,
}
CREATE_APPLICATION: Schema = {
    **dict.fromkeys(("name", "subdomain", "description", "script"), STR),
    **_RESOURCES,
    **_RUNTIME,
    **_POOL,
    "bypass_authentication": BOOL,
    "cdv_app": BOOL,
    "environment": MAP,
}
APPLICATION: Schema = {
    **CREATE_APPLICATION,
    **dict.fromkeys(("created_at", "stopped_at", "updated_at", "starting_at", "running_at"), TIME),
    "id": STR,
    "status": STR,
    "creator": ANY,
    "environment": TEXT,
}
_RETRIES = {
    **dict.fromkeys(("retry_enabled", "retry_for_script_failure", "retry_for_system_failure"), BOOL),
    **dict.fromkeys(("retry_for_timedout_runs", "retry_for_skipped_runs", "kill_on_timeout", "paused"), BOOL),
    **dict.fromkeys(("max_retry", "retry_delay"), INT),
}
CREATE_JOB: Schema = {
    **dict.fromkeys(("name", "script", "arguments", "schedule", "timezone", "parent_id", "parent_job_id"), STR),
    **_RESOURCES,
    **_RUNTIME,
    **_POOL,
    **_RETRIES,
    "timeout": INT,
    "environment": MAP,
}
JOB: Schema = {
    **{name: kind for name, kind in CREATE_JOB.items() if name != "parent_job_id"},
    **dict.fromkeys(("created_at", "updated_at"), TIME),
    **dict.fromkeys(("id", "type", "english_schedule"), STR),
    **dict.fromkeys(("creator", "owner", "project"), ANY),
    "timeout": INT64,
    "environment": TEXT,
}
CREATE_RUN: Schema = {"environment": MAP, "arguments": STR}
RUN: Schema = {
    **dict.fromkeys(("id", "project_id", "job_id", "status", "kernel", "arguments", "runtime_identifier"), STR),
    **dict.fromkeys(("created_at", "scheduling_at", "starting_at", "running_at", "finished_at"), TIME),
    **dict.fromkeys(("cpu", "memory"), DOUBLE),
    **dict.fromkeys(("nvidia_gpu", "resource_group_id"), INT),
    "environment": TEXT,
    "creator": ANY,
}
_ZERO: dict[str, Callable[[], Any]] = {
    STR: str,
    INT: int,
    INT64: lambda: "0",
    DOUBLE: float,
    BOOL: bool,
    TEXT: lambda: "{}",
    STRINGS: list,
    TIME: lambda: None,
    MAP: dict,
    ANY: dict,
}


def zeros(schema: Schema) -> dict[str, Any]:
    """A reply with nothing in it: zero and false are written out, a time that was not reached is null."""
    return {name: _ZERO[kind]() for name, kind in schema.items()}


def read(schema: Schema, body: object) -> dict[str, Any]:
    """The known fields of a request, as far as they stand there.

    Raises:
        Refused: one has another type.
    """
    if not isinstance(body, dict):
        raise bad("json: cannot unmarshal the body into an object")
    return {name: _read(kind, name, body[name]) for name, kind in schema.items() if body.get(name) is not None}


def _read(kind: str, name: str, value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in {INT, INT64} and (number or (isinstance(value, str) and value.lstrip("-").isdigit())):
        return str(int(value)) if kind == INT64 else int(value)
    fits = {
        STR: isinstance(value, str),
        TEXT: isinstance(value, str) and _is_environment(value),
        TIME: isinstance(value, str),
        DOUBLE: number,
        BOOL: isinstance(value, bool),
        MAP: isinstance(value, dict) and all(isinstance(one, str) for one in value.values()),
        STRINGS: isinstance(value, list) and all(isinstance(one, str) for one in value),
        ANY: True,
    }
    if not fits.get(kind):
        raise bad(f"json: cannot unmarshal {type(value).__name__} into field {name} of type {kind}")
    return value


def _is_environment(text: str) -> bool:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return False
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
