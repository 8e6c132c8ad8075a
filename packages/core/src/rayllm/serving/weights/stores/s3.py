"""S3, and stores that speak its protocol, by s3fs. Part of a script that runs with a Python that has it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rayllm.serving.weights.stores.store import Store, chain, first_of, kind_of_status
from rayllm.serving.weights.stores.sums import KINDS, Facts

_MD5 = re.compile(r"[0-9a-f]{32}")
_PARTS = re.compile(r"([0-9a-f]{32})-(\d+)")
_WAITS = {"connect_timeout": 10, "read_timeout": 60}
_ONCE = {"retries": {"mode": "standard", "max_attempts": 2}}
_CODES = {
    "NoSuchBucket": "bucket",
    "NoSuchKey": "file",
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "InvalidObjectState", "AccountProblem"), "denied"),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"), "credentials"),
    **dict.fromkeys(("TokenRefreshRequired", "InvalidClientTokenId", "ExpiredTokenException"), "credentials"),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), "clock"),
    **dict.fromkeys(("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"), "region"),
    "IllegalLocationConstraintException": "region",
    **dict.fromkeys(("SlowDown", "ServiceUnavailable", "Throttling", "TooManyRequests"), "limit"),
    "InvalidRange": "range",
}
"""See https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""
_REDIRECTS = (301, 307)


class S3(Store):
    """What speaks S3's protocol."""

    name = "S3"
    state = "ETag"

    def __init__(self) -> None:
        import botocore.session
        import s3fs

        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        anonymous = botocore.session.get_session().get_credentials() is None
        # A bucket as a part of the host's name is Amazon's way; most others have one name.
        style = {"s3": {"addressing_style": "path"}} if endpoint else {}
        # Checksums are compared once all is there: an answer of some bytes has none, or that of all.
        config = {**_WAITS, **style, **_ONCE, "response_checksum_validation": "when_required"}
        files = s3fs.S3FileSystem(anon=anonymous, config_kwargs=config, use_listings_cache=False)
        files.retries = 1  # whoever asks tries again, and says so
        super().__init__(files, endpoint or "Amazon S3", anonymous=anonymous)

    def facts(self, bucket: str, key: str, size: int) -> Facts:
        """The ETag, and the checksums that came with the content or that the store took."""
        head = self._head(bucket, key, ChecksumMode="ENABLED")
        etag = head["ETag"].strip('"')
        match = _PARTS.fullmatch(etag)
        if sums := _sums(head, parts=match is not None):
            return Facts(etag, sums)
        if "kms" in head.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in head:
            return Facts(etag)  # the ETag is none of the content then
        if _MD5.fullmatch(etag):
            return Facts(etag, {"md5": etag})
        if match:
            return Facts(etag, parts=(match[1], self._parts(bucket, key, size, int(match[2]))))
        return Facts(etag)

    def _parts(self, bucket: str, key: str, size: int, count: int) -> Sequence[int]:
        """The bytes of each part. All but the last are equal as a rule, so the first tells; else each is asked for."""
        first = int(self._head(bucket, key, PartNumber=1)["ContentLength"])
        last = size - (count - 1) * first
        if 0 < last <= first:
            return [*[first] * (count - 1), last]
        return [int(self._head(bucket, key, PartNumber=part + 1)["ContentLength"]) for part in range(count)]

    def _head(self, bucket: str, key: str, **more: Any) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._files.call_s3("head_object", Bucket=bucket, Key=key, **more)
        return found

    @staticmethod
    def kind_of(problem: BaseException) -> str | None:
        """By the code of S3's own answer, else by its status, else by what botocore could not do."""
        from botocore import exceptions

        kinds = {
            exceptions.NoCredentialsError: "no-credentials",
            exceptions.PartialCredentialsError: "no-credentials",
            exceptions.ProfileNotFound: "credentials",
            exceptions.CredentialRetrievalError: "credentials",
            exceptions.HTTPClientError: "unreachable",
            exceptions.ConnectionError: "unreachable",
        }
        for one in chain(problem):
            if isinstance(one, exceptions.ClientError):
                told = one.response
                status = told.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                kind = "region" if status in _REDIRECTS else kind_of_status(status)
                return _CODES.get(told.get("Error", {}).get("Code", ""), kind)
        return first_of(kinds, problem)


def _sums(head: Mapping[str, Any], *, parts: bool) -> dict[str, str]:
    """The checksums of the whole content; those of an object that came in parts are of its parts, unless it is said."""
    if parts and head.get("ChecksumType") != "FULL_OBJECT":
        return {}
    named = {kind: head.get(f"Checksum{kind.upper()}", "") for kind in KINDS}
    return {kind: base64.b64decode(value).hex() for kind, value in named.items() if value}
