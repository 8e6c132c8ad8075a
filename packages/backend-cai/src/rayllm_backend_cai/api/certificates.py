"""Whom the client trusts to vouch for a workspace: many have an authority of their own."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx

from rayllm.errors import InputError

VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
CURE = (
    "name a file (PEM) with the workspace's certificate authority, or set SSL_CERT_FILE to it. Servers may send "
    "their own certificate alone: then the file needs the intermediate authority too, the root is not enough"
)


def context(ca: Path | None, env: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """What trusts the authorities in `ca`, else in the file that the environment names, else the usual ones.

    Raises:
        InputError: the file can't be read, or holds no certificate.
    """
    env = os.environ if env is None else env
    told = str(ca) if ca else next((env[name] for name in VARIABLES if env.get(name)), "")
    if not told:
        usual = httpx.create_ssl_context(trust_env=False)
        usual.load_default_certs()  # those of the machine too, where a company puts its own
        return usual
    try:
        if Path(told).is_dir():
            return ssl.create_default_context(capath=told)
        return ssl.create_default_context(cafile=told)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"the certificate authorities in {told} can't be read", cause=str(error), cure=CURE) from error
