"""A machine configured for pip alone, as uv is told of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayllm.serving.prepare.pip_settings import UvSettings, pip_files, read_pip, translate


@pytest.mark.parametrize(
    ("pip", "environ"),
    [
        ({}, {}),
        ({"index-url": "https://a/simple"}, {"UV_DEFAULT_INDEX": "https://a/simple"}),
        (
            {"extra-index-url": "https://a/simple\nfile:///b/simple"},
            {"UV_EXTRA_INDEX_URL": "https://a/simple file:///b/simple", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        ({"find-links": "/a /b"}, {"UV_FIND_LINKS": "/a,/b"}),
        ({"cert": "/ca.pem", "client-cert": "/me.pem"}, {"SSL_CERT_FILE": "/ca.pem", "SSL_CLIENT_CERT": "/me.pem"}),
        ({"constraint": "/c.txt /d.txt"}, {"UV_CONSTRAINT": "/c.txt /d.txt"}),
        ({"trusted-host": "a b:8080"}, {"UV_INSECURE_HOST": "a b:8080"}),
        ({"timeout": "180", "proxy": "http://p:1"}, {"UV_HTTP_TIMEOUT": "180", "ALL_PROXY": "http://p:1"}),
        ({"disable-pip-version-check": "1"}, {}),
    ],
)
def test_translation(pip: dict[str, str], environ: dict[str, str]) -> None:
    """Each of pip's settings in uv's words; what means nothing to uv is left out."""
    assert translate(pip, {}) == UvSettings(environ)


@pytest.mark.parametrize(
    ("pip", "environ"),
    [
        ({"index-url": "https://a"}, {"UV_INDEX_URL": "https://mine"}),
        ({"extra-index-url": "https://a"}, {"UV_INDEX": "https://mine"}),
        ({"find-links": "/a"}, {"UV_FIND_LINKS": "/mine"}),
        ({"cert": "/a.pem"}, {"SSL_CERT_FILE": "/mine.pem"}),
        ({"no-index": "true"}, {"UV_DEFAULT_INDEX": "https://mine"}),
        ({"proxy": "http://a"}, {"https_proxy": "http://mine"}),
    ],
)
def test_what_a_person_told_uv_stands(pip: dict[str, str], environ: dict[str, str]) -> None:
    """A setting of uv's own is never overruled by one of pip's."""
    assert translate(pip, environ) == UvSettings()


def test_a_strategy_of_ones_own_stands() -> None:
    """Several indexes are searched as the person said."""
    told = translate({"extra-index-url": "https://a"}, {"UV_INDEX_STRATEGY": "first-index"})
    assert told.environ == {"UV_EXTRA_INDEX_URL": "https://a"}


def test_no_index_is_a_flag() -> None:
    """Uv has no variable for it."""
    assert translate({"no-index": "yes", "find-links": "/a"}, {}) == UvSettings(
        {"UV_FIND_LINKS": "/a"}, ("--no-index",)
    )


def test_credentials_do_not_show() -> None:
    """Index addresses may hold passwords: they are not in the text of the settings."""
    assert "secret" not in repr(translate({"index-url": "https://me:secret@a"}, {}))


def test_files_sections_and_variables_in_pips_order(tmp_path: Path) -> None:
    """Later files over earlier ones, `[install]` over `[global]`, variables over all, in every spelling of a key."""
    first, second, broken = (tmp_path / name for name in ("first", "second", "broken"))
    first.write_text("[global]\nindex-url = https://first\ntimeout = 1\n[install]\nfind_links = /first\n    /more\n")
    second.write_text("[global]\nindex-url = https://second%20\nfind-links = /second\n[list]\ncert = /no\n")
    broken.write_text("index-url = outside of any section\n")
    told = read_pip(
        [first, second, broken, tmp_path / "missing"], {"PIP_DEFAULT_TIMEOUT": "9", "PIP_CERT": "", "A": "b"}
    )
    assert told == {"index-url": "https://second%20", "timeout": "9", "find-links": "/first\n/more"}


def test_where_pip_looks(tmp_path: Path) -> None:
    """The system's files, the user's, the environment's, and the named one last; none where pip is told so."""
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": "/a:/b", "PIP_CONFIG_FILE": "/named"}
    files = [str(path) for path in pip_files(environ)]
    assert files[:3] == ["/a/pip/pip.conf", "/b/pip/pip.conf", "/etc/pip.conf"]
    assert files[3:5] == [f"{tmp_path}/.pip/pip.conf", f"{tmp_path}/.config/pip/pip.conf"]
    assert files[-1] == "/named"
    assert pip_files({"PIP_CONFIG_FILE": os.devnull}) == []


def test_a_machine_with_a_file_of_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who configured uv by its own file needs nothing of pip's."""
    monkeypatch.setenv("PIP_INDEX_URL", "https://a")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    monkeypatch.delenv("UV_CONFIG_FILE", raising=False)
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    assert UvSettings.of_this_machine().environ["UV_DEFAULT_INDEX"] == "https://a"
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "uv.toml").touch()
    assert UvSettings.of_this_machine() == UvSettings()
