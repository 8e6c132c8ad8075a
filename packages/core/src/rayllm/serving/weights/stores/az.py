"""Azure Blob Storage, by adlfs. Part of a script that runs with a Python that has it."""

from __future__ import annotations

import os

from rayllm.serving.weights.stores.store import Store, chain, first_of, kind_of_status
from rayllm.serving.weights.stores.sums import Facts

_GIVEN = ("CONNECTION_STRING", "ACCOUNT_KEY", "SAS_TOKEN", "CLIENT_ID")
_SCOPE = "https://storage.azure.com/.default"
_CODES = {
    "ContainerNotFound": "bucket",
    "BlobNotFound": "file",
    "InvalidRange": "range",
    "ServerBusy": "limit",
    "AuthenticationFailed": "credentials",
    "InvalidAuthenticationInfo": "credentials",
    "NoAuthenticationInformation": "no-credentials",
    "ResourceNotFound": "no-credentials",
    "PublicAccessNotPermitted": "no-credentials",
}
"""See https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes"""


class AccountError(Exception):
    """Nothing says which storage account is meant."""


class Az(Store):
    """Azure's store, or an emulator of it."""

    name = "Azure Blob Storage"
    state = "etag"

    def __init__(self) -> None:
        import adlfs
        from azure.storage.blob.aio import BlobServiceClient

        if not (os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING")):
            raise AccountError("neither AZURE_STORAGE_ACCOUNT_NAME nor AZURE_STORAGE_CONNECTION_STRING is set")
        anonymous = not any(os.environ.get(f"AZURE_STORAGE_{name}") for name in _GIVEN) and _knows_nobody()
        files = adlfs.AzureBlobFileSystem(anon=anonymous, use_listings_cache=False)
        client = files.service_client
        # Whoever asks tries again, and says so; the client alone would be silent for minutes.
        files.service_client = BlobServiceClient(
            client.url, credential=client.credential, retry_total=1, initial_backoff=1
        )
        super().__init__(files, str(client.primary_endpoint), anonymous=anonymous)

    def facts(self, bucket: str, key: str, size: int) -> Facts:
        """The ETag, and the MD5 that whoever uploaded the content gave; the store takes none of large content."""
        del size
        info = self._files.info(f"{bucket}/{key}", refresh=True)
        settings = info.get("content_settings") or {}
        md5 = settings.get("content_md5")
        return Facts(info["etag"].strip('"'), {"md5": bytes(md5).hex()} if md5 else {})

    @staticmethod
    def kind_of(problem: BaseException) -> str | None:
        """By the code of Azure's answer, else by its status."""
        from azure.core import exceptions

        kinds = {
            AccountError: "account",
            exceptions.ClientAuthenticationError: "no-credentials",
            FileNotFoundError: "file",
            exceptions.ServiceRequestError: "unreachable",
            exceptions.ServiceResponseError: "unreachable",
        }
        for one in chain(problem):
            if isinstance(one, exceptions.HttpResponseError) and one.status_code:
                return _CODES.get(str(getattr(one, "error_code", "")), kind_of_status(one.status_code))
            if isinstance(one, ValueError) and "unable to connect to account" in str(one):
                return "credentials"
        return first_of(kinds, problem)


def _knows_nobody() -> bool:
    """Whether Azure's own chain finds no identity: no variables, no managed identity, no login."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import DefaultAzureCredential

    try:
        with DefaultAzureCredential() as identity:
            identity.get_token(_SCOPE)
    except ClientAuthenticationError:
        return True
    return False
