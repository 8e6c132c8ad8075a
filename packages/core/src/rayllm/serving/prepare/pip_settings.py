"""pip's settings, said to uv: a machine that is configured for pip alone works as it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, field
from pathlib import Path

from rayllm.serving.prepare.clean_environ import clean_environ

OFFLINE = "RAYLLM_OFFLINE"
"""Set where the file says `packages: {offline: true}`: no index is asked, whatever the machine is configured for."""
_LISTS = {
    # pip's key: uv's variable, what parts uv's list, and the variables by which a person said it to uv already
    "extra-index-url": ("UV_EXTRA_INDEX_URL", " ", ("UV_EXTRA_INDEX_URL", "UV_INDEX")),
    "find-links": ("UV_FIND_LINKS", ",", ("UV_FIND_LINKS",)),
    "constraint": ("UV_CONSTRAINT", " ", ("UV_CONSTRAINT",)),
    "trusted-host": ("UV_INSECURE_HOST", " ", ("UV_INSECURE_HOST",)),
}
_SINGLES = {
    "index-url": ("UV_DEFAULT_INDEX", ("UV_DEFAULT_INDEX", "UV_INDEX_URL")),
    "cert": ("SSL_CERT_FILE", ("SSL_CERT_FILE",)),
    "client-cert": ("SSL_CLIENT_CERT", ("SSL_CLIENT_CERT",)),
    "timeout": ("UV_HTTP_TIMEOUT", ("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT")),
    "proxy": ("ALL_PROXY", ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy")),
}
_ALIASES = {"default-timeout": "timeout", "pypi-url": "index-url"}


@dataclass(frozen=True, slots=True)
class UvSettings:
    """What uv is told beyond the environment it inherits. Values may hold credentials: never in argv or a report."""

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    flags: tuple[str, ...] = ()

    @classmethod
    def of_this_machine(cls) -> UvSettings:
        """Pip's settings here, unless the machine is configured for uv by a file."""
        environ = clean_environ()
        alone = ("--no-index",) if OFFLINE in os.environ else ()
        if "UV_CONFIG_FILE" in environ or any(path.is_file() for path in _uv_files(environ)):
            return cls(flags=alone)
        found = translate(read_pip(pip_files(environ), environ), environ)
        return cls(found.environ, found.flags or alone)


def translate(pip: Mapping[str, str], environ: Mapping[str, str]) -> UvSettings:
    """Uv's words for pip's settings, leaving out what `environ` says to uv already. Pure.

    Args:
        pip: pip's keys (`index-url`) and values, lists parted by white space.
        environ: the environment uv will inherit.
    """
    told: dict[str, str] = {}
    for key, (variable, equivalents) in _SINGLES.items():
        if (value := pip.get(key, "").strip()) and not any(name in environ for name in equivalents):
            told[variable] = value
    for key, (variable, part, equivalents) in _LISTS.items():
        if (values := pip.get(key, "").split()) and not any(name in environ for name in equivalents):
            told[variable] = part.join(values)
    if "UV_EXTRA_INDEX_URL" in told and "UV_INDEX_STRATEGY" not in environ:
        # pip takes the best version of all its indexes; uv by default looks no further than the first that has any.
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    alone = pip.get("no-index", "").strip().lower() in {"1", "true", "yes", "on"}
    asked = any(name in environ for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"))
    return UvSettings(told, ("--no-index",) if alone and not asked else ())


def read_pip(files: Iterable[Path], environ: Mapping[str, str]) -> dict[str, str]:
    """Pip's effective settings for `pip install`: files in order, `[install]` over `[global]`, PIP_* over all."""
    merged: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in files:
        parser = ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (ConfigError, UnicodeDecodeError):
            # pip says what is wrong with its file when it is used; uv goes on without it.
            continue
        for section, settings in merged.items():
            if parser.has_section(section):
                settings.update({_key(name): value for name, value in parser.items(section)})
    told = {_key(name[4:]): value for name, value in environ.items() if name.startswith("PIP_") and value}
    return {**merged["global"], **merged["install"], **told}


def pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Where pip looks for its settings, the strongest last (pip's documentation, "Configuration")."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    user = Path(environ.get("HOME") or Path.home())
    system = [Path(folder) / "pip" / "pip.conf" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    own = [user / ".pip" / "pip.conf", _config_home(environ, user) / "pip" / "pip.conf"]
    if sys.platform == "darwin":
        own.append(user / "Library" / "Application Support" / "pip" / "pip.conf")
    site = [Path(sys.prefix) / "pip.conf"]
    return [*system, Path("/etc/pip.conf"), *own, *site, *([Path(named)] if named else [])]


def _uv_files(environ: Mapping[str, str]) -> list[Path]:
    """Where uv looks for its settings outside of projects."""
    user = Path(environ.get("HOME") or Path.home())
    system = [Path(folder) / "uv" / "uv.toml" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    return [_config_home(environ, user) / "uv" / "uv.toml", *system, Path("/etc/uv/uv.toml")]


def _config_home(environ: Mapping[str, str], user: Path) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or user / ".config")


def _key(name: str) -> str:
    """Pip's own normal form of a key."""
    name = name.lower().replace("_", "-").removeprefix("--")
    return _ALIASES.get(name, name)
