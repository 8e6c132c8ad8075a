"""What went wrong at an object store, in words for a person."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from rayllm.errors import InputError, RayllmError
from rayllm.names import nearest
from rayllm.serving.prepare.room import in_words
from rayllm.serving.secrets import place_of
from rayllm.serving.weights.script_run import FetchError
from rayllm.serving.weights.stores.settings import EXAMPLES
from rayllm.serving.weights.stores.uri import StoreUri

_SHOWN = 10
_ROLES = {
    "s3": "an instance role, ~/.aws or the variables AWS_…",
    "gs": "a service account of the machine, `gcloud auth application-default login` or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "a managed identity, `az login` or the variables AZURE_STORAGE_…",
}
_READ = {
    "s3": "s3:ListBucket on the bucket and s3:GetObject on the objects (and kms:Decrypt where they are encrypted so)",
    "gs": "storage.objects.list and storage.objects.get, as in the role Storage Object Viewer",
    "az": "the role Storage Blob Data Reader, or a SAS with read and list",
}
_CA = {"s3": "AWS_CA_BUNDLE", "gs": "SSL_CERT_FILE", "az": "SSL_CERT_FILE"}
_KINDS: Mapping[str, tuple[str, str, str]] = {
    "no-credentials": (
        "{here} has no credentials for {uri}, and it is not public",
        "{give}; or give the node its own: {roles}",
        "store-credentials",
    ),
    "credentials": (
        "the store does not accept the credentials that were sent for {uri}",
        "renew them (they may be misspelt, expired, or another account's or endpoint's), then {give}",
        "store-credentials",
    ),
    "denied": (
        "the credentials that were sent may not read {uri}",
        "allow them {read}; a store may say the same of a bucket or object that is not there: check the name",
        "store-credentials",
    ),
    "account": (
        "nothing says in which storage account {uri} is",
        "name it: secrets: {{AZURE_STORAGE_ACCOUNT_NAME: …}}, or that variable in the environment of Ray's nodes",
        "store-credentials",
    ),
    "clock": (
        "the store refuses what {here} signs: its clock is wrong",
        "set the clock of the node (chronyd, systemd-timesyncd), then start again",
        "store-credentials",
    ),
    "region": (
        "the bucket of {uri} is in another region than the one that was asked",
        "name its region: AWS_DEFAULT_REGION, under secrets: or in the environment of Ray's nodes",
        "store-missing",
    ),
    "tls": (
        "the certificate of {endpoint} is not one that {here} trusts",
        "where it is of a private authority: {ca}=/path/of/its.pem in the environment of Ray's nodes",
        "store-unreachable",
    ),
    "unreachable": (
        "the store can't be reached for {uri} from {here}",
        (
            "check the way to {endpoint}: network, proxy (HTTPS_PROXY), address; without one, put the files on the "
            "node and write their path as source"
        ),
        "store-unreachable",
    ),
    "limit": (
        "the store answers that it is asked too much, and gave no more of {uri}",
        "wait some minutes, then start again: what came is kept",
        "store-unreachable",
    ),
    "server": (
        "the store has a fault of its own and did not give {uri}",
        "start again later: what came is kept",
        "store-unreachable",
    ),
    "changed": (
        "{uri} was changed again and again while it was fetched",
        "start again once nobody writes there; better, write each version of a model to a folder of its own",
        "weights-incomplete",
    ),
    "checksum": (
        "a file of {uri} came damaged",
        "start again: it was thrown away; if that does not help, it is damaged in the store, or its SHA256SUMS is old",
        "weights-incomplete",
    ),
    "disk": (
        "the disk is full, with {missing} of {uri} still missing",
        "free some space in RAYLLM_HOME, or set it to another disk; what came is kept",
        "disk-full",
    ),
    "other": (
        "{uri} can't be fetched",
        "the cause above is the store's or its library's own; start again once it is gone: what came is kept",
        "store-unreachable",
    ),
}
"""What is said, what to do, and the topic that tells more, by what the script said."""
_BROKE = (
    "the store broke off in the middle of {uri}: {missing} are missing",
    "start again once {endpoint} can be reached from {here}: it goes on from what is there",
    "store-unreachable",
)


def explain(uri: StoreUri, problem: FetchError, here: str = "") -> RayllmError:
    """The error that a person sees, for what the script said of `uri`; by default, `here` is this node."""
    if problem.kind in {"missing", "bucket", "file"}:
        return _missing(uri, problem)
    anonymous = problem.facts.get("anonymous", False)
    kind = "no-credentials" if anonymous and problem.kind in {"denied", "credentials"} else problem.kind
    broke = problem.missing and kind in {"unreachable", "server"}
    message, cure, topic = _BROKE if broke else _KINDS.get(kind, _KINDS["other"])
    facts = {
        "uri": uri,
        "here": here or f"node {socket.gethostname()}",
        "endpoint": problem.facts.get("endpoint") or "the store",
        "missing": in_words(problem.missing),
        "give": _give(uri.scheme),
        "roles": _ROLES[uri.scheme],
        "read": _READ[uri.scheme],
        "ca": _CA[uri.scheme],
    }
    return RayllmError(message.format(**facts), cause=problem.words, cure=cure.format(**facts), topic=topic)


def _give(scheme: str) -> str:
    """What to do where credentials are missing or wrong."""
    names = EXAMPLES[scheme]
    written = ", ".join(f"{name}: {{{'file: …' if scheme == 'gs' else f'env: {name}'}}}" for name in names)
    return (
        f"give credentials to `rayllm up`, with `secrets: {{{written}}}` in the file; with the backend ray, lay each "
        f"on the node yourself: {place_of(names[0])}, mode 0600"
    )


def _missing(uri: StoreUri, problem: FetchError) -> RayllmError:
    if problem.kind != "missing":
        what = "container" if uri.scheme == "az" else "bucket"
        return InputError(
            f"the store has no {what} {uri.bucket}",
            cause=problem.words,
            cure=f"check the name, and whether {problem.facts.get('endpoint') or 'this'} is the store that has it",
            topic="store-missing",
        )
    known: list[str] = problem.facts.get("near", [])
    near = nearest(uri.prefix, known)
    offer = f"did you mean {uri.scheme}://{uri.bucket}/{near}? " if near else ""
    there = f"beside it are {', '.join(known[:_SHOWN])}" if known else "the bucket is empty there, too"
    return InputError(problem.words, cure=f"{offer}{there}", topic="store-missing")
