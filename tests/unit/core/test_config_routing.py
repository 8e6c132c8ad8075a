"""Aliases, fallbacks and the gateway's certificate: what fits together, and the words for what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.certificates import FIRST, SECOND
from tests.unit.core.conftest import Checker

from rayllm.config.certificate import certificate_of
from rayllm.deployment.serve_config import gateway_settings

HEAD = "name: demo\n"
MODEL = "engine: vllm, source: file:/m"
TWO = f"models: {{small: {{{MODEL}}}, large: {{{MODEL}}}}}\n"


def mistakes_in(check: Checker, content: str, environ: dict[str, str] | None = None) -> list[str]:
    """What is said of a file, cures without what lines them up."""
    return [line.lstrip() for line in check.mistakes(content, environ)]


def test_aliases_and_routes_reach_the_gateway(check: Checker) -> None:
    """As values that change without a restart: an alias of one model is a split of one."""
    routing = "routing: {balance: prefix, max_ongoing: 8, max_queue: 0, fallback: large}"
    models = f"models: {{small: {{{MODEL}, {routing}}}, large: {{{MODEL}}}}}\n"
    aliases = "gateway: {aliases: {chat: small, canary: {small: 95, large: 5}}, max_body: 1MiB}\n"
    settings = gateway_settings(check.right(HEAD + models + aliases).config, {})
    assert settings.aliases == {"canary": {"small": 95, "large": 5}, "chat": {"small": 1}}
    assert settings.max_body == 1 << 20
    small = settings.models["small"]
    assert (small.balance, small.max_ongoing, small.max_queue, small.fallback) == ("prefix", 8, 0, "large")


@pytest.mark.parametrize(
    ("aliases", "mistake"),
    [
        (
            "{chat: smal}",
            'f:3:27  gateway.aliases.chat: no model "smal"; did you mean "small"?   models: small, large',
        ),
        (
            "{chat: {small: 1, larg: 2}}",
            'f:3:44  gateway.aliases.chat.larg: no model "larg"; did you mean "large"?   models: small, large',
        ),
        (
            "{chat: small, best: chat}",
            'f:3:40  gateway.aliases.best: "chat" is an alias; a model expected   models: small, large',
        ),
        (
            "{small: large}",
            'f:3:21  gateway.aliases.small: "small" is a model already\n→ choose another name for the alias',
        ),
        (
            "{rayllm: small}",
            'f:3:21  gateway.aliases.rayllm: "rayllm" names the gateway\n→ choose another name for the alias',
        ),
        ("{chat: {}}", "f:3:27  gateway.aliases.chat: empty; a model, or models with their weights, expected"),
        ("{chat: {small: 0}}", "f:3:35  gateway.aliases.chat.small: at least 1 expected, found 0"),
    ],
)
def test_mistakes_in_aliases(check: Checker, aliases: str, mistake: str) -> None:
    """At the name, or at the model that it stands for."""
    assert mistakes_in(check, f"{HEAD}{TWO}gateway: {{aliases: {aliases}}}") == mistake.split("\n")


@pytest.mark.parametrize(
    ("small", "large", "mistakes"),
    [
        ("larg", "", ['no model "larg"; did you mean "large"?   models: small, large']),
        ("small", "", ["a circle: small → small", "→ one of them has to have no fallback"]),
        ("large", "small", ["a circle: small → large → small", "→ one of them has to have no fallback"]),
    ],
)
def test_mistakes_in_fallbacks(check: Checker, small: str, large: str, mistakes: list[str]) -> None:
    """A model that is there, and no request that goes in circles; told once."""
    models = f"{HEAD}models:\n  small: {{{MODEL}, routing: {{fallback: {small}}}}}\n"
    models += f"  large: {{{MODEL}" + (f", routing: {{fallback: {large}}}}}" if large else "}")
    found = mistakes_in(check, models)
    assert [found[0].partition("models.small.routing.fallback: ")[2], *found[1:]] == mistakes


def test_a_fallback_would_let_a_model_sleep(check: Checker) -> None:
    """What sleeps is not down: its requests wake it up, so they may not go elsewhere."""
    model = f"{MODEL}, replicas: {{min: 0, max: 2}}, routing: {{fallback: large}}"
    (found, cure) = mistakes_in(check, f"{HEAD}models: {{small: {{{model}}}, large: {{{MODEL}}}}}")
    assert found.endswith("small would never wake up: while it sleeps, its requests would go to large")
    assert cure.startswith("→ replicas.min: 1, or no fallback")


def test_a_bound_that_would_hide_the_load(check: Checker) -> None:
    """The autoscaler sees what the engines have, so they have to get enough."""
    model = f"{MODEL}, replicas: {{min: 1, max: 4, target_ongoing: 16}}, routing: {{max_ongoing: 8}}"
    (found, cure) = mistakes_in(check, f"{HEAD}models: {{m: {{{model}}}}}")
    assert found.endswith("8 is less than replicas.target_ongoing (16): no replica would ever be added")
    assert cure == "→ at least 16, better twice as much"


CERTIFICATE = certificate_of(FIRST)
KEY = FIRST.removeprefix(CERTIFICATE)


def secure(pem: str) -> str:
    """A file whose gateway has this certificate."""
    file = Path("gateway.pem")
    file.touch(0o600)
    file.write_text(pem)
    return f"{HEAD}{TWO}gateway: {{tls: CERT}}\nsecrets: {{CERT: {{file: gateway.pem}}}}"


def test_a_certificate(check: Checker) -> None:
    """Reaches the nodes by its name alone; what is shown of it is no secret."""
    checked = check.right(secure(FIRST))
    settings = gateway_settings(checked.config, {})
    assert settings.tls == "CERT"
    assert "PRIVATE" not in str(settings.to_user_config()) + certificate_of(checked.secrets["CERT"]) + repr(checked)


@pytest.mark.parametrize(
    ("pem", "wrong"),
    [
        (KEY, "holds no certificate"),
        (CERTIFICATE, "holds no private key"),
        (CERTIFICATE + SECOND.removeprefix(certificate_of(SECOND)), "can't be used: KEY_VALUES_MISMATCH"),
        (
            CERTIFICATE + KEY.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
            "holds a private key with a passphrase, which nobody could type on the node",
        ),
        (CERTIFICATE.replace("M", "!") + KEY, "can't be used: "),
    ],
)
def test_a_certificate_that_nobody_could_use(check: Checker, pem: str, wrong: str) -> None:
    """Told where the file is read, without a word of it."""
    (found, cure) = mistakes_in(check, secure(pem))
    assert found.startswith(f"f:3:16  gateway.tls: the secret CERT {wrong}")
    assert cure == "→ one PEM file: the certificate, then its chain, then the private key without a passphrase"
    assert not any(line in found for line in FIRST.splitlines())


def test_a_certificate_that_is_not_declared(check: Checker) -> None:
    """The secrets that are, and how to declare one."""
    head = f"{HEAD}{TWO}gateway: {{tls: CERT}}\n"
    assert mistakes_in(check, head) == [
        'f:3:16  gateway.tls: no secret "CERT"   secrets: none',
        "→ secrets: {CERT: {file: gateway.pem}}",
    ]
    near = mistakes_in(check, f"{head}secrets: {{CERTS: {{env: TOKEN}}}}", {"TOKEN": "x"})
    assert near[0].endswith('no secret "CERT"; did you mean "CERTS"?   secrets: CERTS')
