"""What went wrong at the Hugging Face hub, in words for a person."""

from __future__ import annotations

import socket
from collections.abc import Callable

from rayllm.errors import InputError, RayllmError
from rayllm.names import nearest
from rayllm.serving.prepare.room import in_words
from rayllm.serving.secrets import place_of
from rayllm.serving.weights.hub_script_run import TOKEN
from rayllm.serving.weights.hub_uri import HubUri
from rayllm.serving.weights.script_run import FetchError

_SHOWN = 10


def explain(uri: HubUri, problem: FetchError) -> RayllmError:
    """The error that a person sees, for what the script said of `uri`."""
    make, topic = _KINDS.get(problem.kind, (_other, None))
    error = make(uri, problem)
    error.topic = topic
    return error


def _give_token() -> str:
    """What to do where a token is missing or wrong."""
    return (
        f"give the hub's token to `rayllm up` in the environment, with `secrets: {{{TOKEN}: {{env: {TOKEN}}}}}` in the "
        f"file; with the backend ray, lay it on node {socket.gethostname()} yourself: {place_of(TOKEN)}, mode 0600"
    )


def _gated(uri: HubUri, problem: FetchError) -> RayllmError:
    page = f"{problem.facts['hub']}/{uri.repo}"
    if problem.facts["token"]:
        return RayllmError(
            f"{uri.repo} is gated, and the token's owner may not read it",
            cause=problem.words,
            cure=f"ask for access at {page} with the account that the token belongs to, then: rayllm up",
        )
    return RayllmError(
        f"{uri.repo} is gated, and no token was sent",
        cause=problem.words,
        cure=f"accept its terms at {page}, then {_give_token()}",
    )


def _repository(uri: HubUri, problem: FetchError) -> RayllmError:
    if problem.facts["token"]:
        return InputError(
            f"the hub has no {uri.repo}, or the token that was sent may not read it",
            cause=problem.words,
            cure="check the name, and whether the token's owner sees it on the hub's pages",
        )
    return InputError(
        f"the hub has no {uri.repo}, or it is private and no token was sent",
        cause=problem.words,
        cure=f"check the name; if it is private, {_give_token()}",
    )


def _token(uri: HubUri, problem: FetchError) -> RayllmError:
    return RayllmError(
        f"the hub does not know the token that was sent for {uri.repo}",
        cause=problem.words,
        cure=f"make a new one in the hub's settings, then {_give_token()}",
    )


def _refused(uri: HubUri, problem: FetchError) -> RayllmError:
    narrow = "a token that may read only a part of the hub has to name this repository"
    return RayllmError(
        f"the hub refuses {uri.repo}",
        cause=problem.words,
        cure=narrow if problem.facts["token"] else _give_token(),
    )


def _revision(uri: HubUri, problem: FetchError) -> RayllmError:
    known: list[str] = problem.facts.get("branches", [])
    near = nearest(uri.revision, known)
    offer = f"did you mean @{near}? " if near else ""
    return InputError(
        f"{uri.repo} has no revision {uri.revision}",
        cause=problem.words,
        cure=f"{offer}it has {', '.join(known[:_SHOWN])}" if known else "see the branches and tags of the repository",
    )


def _file(uri: HubUri, problem: FetchError) -> RayllmError:
    return RayllmError(
        f"a file of {uri.repo} that the hub lists is not there",
        cause=problem.words,
        cure="start again: the repository may have been changed meanwhile",
    )


def _unreachable(uri: HubUri, problem: FetchError) -> RayllmError:
    hub, node = problem.facts["hub"], socket.gethostname()
    if problem.missing:
        return RayllmError(
            f"the hub broke off in the middle of {uri.repo}: {in_words(problem.missing)} are missing",
            cause=problem.words,
            cure=f"start again once {hub} can be reached from node {node}: it goes on from what is there",
        )
    return RayllmError(
        f"the hub can't be reached for {uri.repo} from node {node}",
        cause=problem.words,
        cure=(
            f"check the way to {hub}: network, proxy (HTTPS_PROXY), mirror (HF_ENDPOINT); without one, put the files "
            "on the node and write their path as source"
        ),
    )


def _offline(uri: HubUri, problem: FetchError) -> RayllmError:
    return RayllmError(
        f"{uri} is not on node {socket.gethostname()}, and HF_HUB_OFFLINE forbids asking the hub",
        cause=problem.words,
        cure="start Ray there without HF_HUB_OFFLINE once, or put the files on the node and write their path as source",
    )


def _limit(uri: HubUri, problem: FetchError) -> RayllmError:
    told = "" if problem.facts["token"] else f"; with a token it allows more: {_give_token()}"
    return RayllmError(
        f"the hub lets this address ask no more for {uri.repo}",
        cause=problem.words,
        cure=f"wait some minutes, then start again: what came is kept{told}",
    )


def _server(uri: HubUri, problem: FetchError) -> RayllmError:
    if problem.missing:
        return _unreachable(uri, problem)
    return RayllmError(
        f"the hub has a fault of its own and did not give {uri.repo}",
        cause=problem.words,
        cure="start again later: what came is kept",
    )


def _checksum(uri: HubUri, problem: FetchError) -> RayllmError:
    return RayllmError(
        f"a file of {uri.repo} came damaged",
        cause=problem.words,
        cure="start again: it was thrown away; if that does not help, a proxy or mirror on the way changes it",
    )


def _disk(uri: HubUri, problem: FetchError) -> RayllmError:
    return RayllmError(
        f"the disk is full, with {in_words(problem.missing)} of {uri.repo} still missing",
        cause=problem.words,
        cure="free some space in RAYLLM_HOME, or set it to another disk; what came is kept",
    )


def _large(uri: HubUri, problem: FetchError) -> RayllmError:
    return RayllmError(
        f"a file of {uri.repo} is larger than the hub gives over plain HTTP",
        cause=problem.words,
        cure="fetch the repository on the node with the hub's own tool (`hf download`), and write its path as source",
    )


def _other(uri: HubUri, problem: FetchError) -> RayllmError:
    return RayllmError(
        f"{uri.repo} can't be fetched from the hub",
        cause=problem.words,
        cure="the cause above is huggingface_hub's own; start again once it is gone: what came is kept",
    )


_KINDS: dict[str, tuple[Callable[[HubUri, FetchError], RayllmError], str]] = {
    "gated": (_gated, "hub-gated"),
    "token": (_token, "hub-gated"),
    "refused": (_refused, "hub-gated"),
    "repository": (_repository, "hub-missing"),
    "revision": (_revision, "hub-missing"),
    "file": (_file, "hub-missing"),
    "unreachable": (_unreachable, "hub-unreachable"),
    "offline": (_offline, "hub-unreachable"),
    "limit": (_limit, "hub-unreachable"),
    "server": (_server, "hub-unreachable"),
    "checksum": (_checksum, "weights-incomplete"),
    "large": (_large, "weights-missing"),
    "disk": (_disk, "disk-full"),
}
"""What makes the error, and the topic that tells more, by what the script said."""
