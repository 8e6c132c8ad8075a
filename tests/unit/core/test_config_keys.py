"""`gateway.keys`: who may ask, and that it is said before other machines can reach the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.core.conftest import Checker

from rayllm.deployment.serve_config import gateway_settings

REST = "name: demo\nmodels: {m: {engine: vllm, source: file:/m}}\n"
GOOD, OTHER = "sk-0123456789abcdef", "sk-fedcba9876543210=="


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (GOOD, {"default": GOOD}),
        (f" {GOOD} \n", {"default": GOOD}),
        (f"{OTHER},{GOOD}", {"default": OTHER, "default-1": GOOD}),
        (f"me={GOOD}\n\n  you = {OTHER},\n", {"me": GOOD, "you": OTHER}),
        (f"default={GOOD},{OTHER}", {"default": GOOD, "default-1": OTHER}),
    ],
)
def test_keys_are_read(check: Checker, text: str, keys: dict[str, str]) -> None:
    """From a variable or a file, between commas or on lines, with names or without; none is shown or deployed."""
    file = Path("keys")
    file.touch(0o600)
    file.write_text(text)
    for source in ("{env: KEYS}", "{file: keys}"):
        checked = check.right(f"{REST}gateway: {{keys: {source}}}", {"KEYS": text})
        assert (checked.keys, checked.api_key) == (keys, next(iter(keys.values())))
        assert not any(key in repr(checked) for key in keys.values())
        settings = gateway_settings(checked.config, checked.endpoints)
        assert settings.keys_required
        assert not any(key in str(settings.to_user_config()) for key in keys.values())


def test_the_key_of_requests_from_here(check: Checker) -> None:
    """The variable's, else the file's first, else none."""
    keyed = f"{REST}gateway: {{keys: {{env: KEYS}}}}"
    assert check.right(keyed, {"KEYS": GOOD, "RAYLLM_API_KEY": OTHER}).api_key == OTHER
    assert check.right(f"{REST}gateway: {{keys: required}}").api_key is None
    assert check.right(REST, {"RAYLLM_API_KEY": OTHER}).api_key == OTHER
    assert not gateway_settings(check.right(REST).config, {}).keys_required


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("short", "key 1 has 5 characters; 16 to 512 expected"),
        (f"{GOOD},me=short", "key 2 has 5 characters; 16 to 512 expected"),
        ("k" * 513, "key 1 has 513 characters; 16 to 512 expected"),
        (
            f"a b={GOOD}",
            "key 1 has before its `=` what is no name of letters, digits, `.`, `_` and `-`",
        ),
        (f"={GOOD}", "key 1 has before its `=` what is no name of letters, digits, `.`, `_` and `-`"),
        (f"me={GOOD},me={OTHER}", "key 2 has the name of another one"),
        (f"me={GOOD},you={GOOD}", "key 2 is the same as another one"),
        (f"me={GOOD} {GOOD}", "key 1 has a space or a character beyond ASCII, which no header can hold"),
        (f"me={GOOD}é", "key 1 has a space or a character beyond ASCII, which no header can hold"),
    ],
)
def test_mistakes_in_keys(check: Checker, text: str, mistake: str) -> None:
    """Which one and why, without the key."""
    lines = check.mistakes(f"{REST}gateway: {{keys: {{env: KEYS}}}}", {"KEYS": text})
    assert lines[0] == f"f:3:17  gateway.keys: {mistake}"
    assert not any(part in "\n".join(lines) for part in (GOOD, "kkkk"))


@pytest.mark.parametrize(
    ("block", "mistake"),
    [
        ("{keys: {env: UNSET}}", "f:3:23  gateway.keys.env: the environment variable UNSET is not set"),
        (
            "{keys: requird}",
            'f:3:17  gateway.keys: "required" expected, found text "requird"; did you mean "required"?',
        ),
        ("{keys: {en: KEYS}}", 'f:3:18  gateway.keys.en: no such key; did you mean "env"?   known: env, file'),
        ("{keys: {}}", "f:3:17  gateway.keys: either `env: NAME` or `file: PATH` expected"),
        ("{keys: 5}", 'f:3:17  gateway.keys: "required" expected, found 5'),
        ('{host: "::"}', 'f:3:1  gateway.keys: required, because gateway.host "::" is reachable from other machines'),
        ("{host: 10.0.0.1, keys: }", "f:3:32  gateway.keys: required, because gateway.host "),
    ],
)
def test_mistakes_in_the_file(check: Checker, block: str, mistake: str) -> None:
    """One line each, and other machines only with keys."""
    lines = [line for line in check.mistakes(f"{REST}gateway: {block}") if line.startswith("f:")]
    assert len(lines) == 1
    assert lines[0].startswith(mistake)


def test_a_variable_that_is_not_set(check: Checker) -> None:
    """The cure makes a key."""
    assert any(
        "export UNSET=$(rayllm keys new)" in line for line in check.mistakes(f"{REST}gateway: {{keys: {{env: UNSET}}}}")
    )


@pytest.mark.parametrize("host", ["::", "10.0.0.1", "gateway.example.com"])
def test_other_machines_with_keys(check: Checker, host: str) -> None:
    """Any way of having keys will do."""
    check.right(f"{REST}gateway: {{host: '{host}', keys: required}}")
    check.right(f"{REST}gateway: {{host: '{host}', keys: {{env: KEYS}}}}", {"KEYS": GOOD})
