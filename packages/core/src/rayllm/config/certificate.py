"""The certificate of `gateway.tls`: checked where the file is read, told of without its content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rayllm.config.document import Document, KeyPath
from rayllm.config.schema import GatewayConfig
from rayllm.names import did_you_mean

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_CURE = "one PEM file: the certificate, then its chain, then the private key without a passphrase"


def check_certificate(
    document: Document, gateway: GatewayConfig, declared: Mapping[str, object], values: Mapping[str, str]
) -> None:
    """It names one of `secrets:`, which holds a certificate and the key that belongs to it.

    Args:
        document: the file.
        gateway: its block.
        declared: the block `secrets:`.
        values: those of them that could be read.
    """
    path: KeyPath = ("gateway", "tls")
    if gateway.tls is None:
        return
    if gateway.tls not in declared:
        hint = did_you_mean(gateway.tls, declared)
        known = f"secrets: {', '.join(declared) or 'none'}"
        cure = f"secrets: {{{gateway.tls}: {{file: gateway.pem}}}}"
        document.problem(path, f'no secret "{gateway.tls}"{hint}', choices=known, cure=cure)
    elif (pem := values.get(gateway.tls)) and (wrong := _wrong(pem)):
        document.problem(path, f"the secret {gateway.tls} {wrong}", cure=_CURE)


def certificate_of(pem: str) -> str:
    """The first certificate of a PEM file, which is no secret.

    Args:
        pem: what `check_certificate` found nothing wrong with.
    """
    found = _CERTIFICATE.search(pem)
    return f"{found[0]}\n" if found else ""


def _wrong(pem: str) -> str:
    """What is wrong with a PEM file; nothing if a server could use it."""
    if not _CERTIFICATE.search(pem):
        return "holds no certificate"
    if "PRIVATE KEY-----" not in pem:
        return "holds no private key"
    if "ENCRYPTED" in pem:
        return "holds a private key with a passphrase, which nobody could type on the node"
    import ssl
    import tempfile

    # The library reads files alone; this one is closed to others, and gone in a moment.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "gateway.pem")
        file.touch(0o600)
        file.write_text(pem, encoding="utf-8")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file)
        except ssl.SSLError as error:
            return f"can't be used: {error.reason or 'no PEM'}"
    return ""
