"""`hf://ORG/NAME[@REVISION][/path/of/a.gguf]`: a repository on the Hugging Face hub. Pure, and light."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import unquote

from rayllm.errors import InputError

FORM = "hf://ORG/NAME, hf://ORG/NAME@REVISION or hf://ORG/NAME@REVISION/path/of/a.gguf"
_URI = re.compile(
    r"hf://(?P<org>[^/@]+)/(?P<name>[^/@]+)(?:@(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+))?(?:/(?P<file>.+))?"
)
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_LONGEST = 96
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubUri:
    """What such a URI names."""

    repo: str
    """`ORG/NAME`."""
    revision: str
    """A branch, a tag or a commit; `main` where none is named."""
    file: str | None
    """Path of a GGUF file in the repository; None for the model that the repository is."""
    scheme: ClassVar[str] = "hf"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which never means anything else."""
        return _COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        """As a person writes it."""
        return f"hf://{self.repo}@{self.revision}" + (f"/{self.file}" if self.file else "")


def check_hub(uri: str) -> str | None:
    """Whether it has the right form; what is there is known on the node alone."""
    match = _URI.fullmatch(uri)
    if match is None:
        return f"write {FORM}"
    for what in (match["org"], match["name"]):
        if not _NAME.fullmatch(what) or "--" in what or ".." in what:
            return f'"{what}" is no name on the hub: letters, digits, "_", and single "-" and "." between them'
    if len(f"{match['org']}/{match['name']}") > _LONGEST:
        return f"a name on the hub has at most {_LONGEST} characters"
    if match["revision"] and not _is_revision(unquote(match["revision"])):
        return f'"{match["revision"]}" is no branch, tag or commit'
    if match["file"] and (not match["file"].lower().endswith(".gguf") or ".." in match["file"].split("/")):
        return f'"{match["file"]}" is no GGUF file; for a whole repository write hf://{match["org"]}/{match["name"]}'
    return None


def parse_hub(uri: str) -> HubUri:
    """What the URI names.

    Raises:
        InputError: it has another form.
    """
    match, wrong = _URI.fullmatch(uri), check_hub(uri)
    if match is None or wrong:
        raise InputError(f"source {uri!r}: {wrong}")
    return HubUri(f"{match['org']}/{match['name']}", unquote(match["revision"] or "main"), match["file"])


def _is_revision(text: str) -> bool:
    """As git takes a name, roughly."""
    return re.fullmatch(r"[\w][\w./+-]*", text) is not None and ".." not in text and not text.endswith(("/", ".lock"))
