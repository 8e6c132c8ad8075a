"""Google Cloud Storage, by gcsfs. Part of a script that runs with a Python that has it."""

from __future__ import annotations

import base64
import os

from rayllm.serving.weights.stores.store import Store, chain, first_of, kind_of_status
from rayllm.serving.weights.stores.sums import Facts


class Gs(Store):
    """Google's store, or an emulator of it."""

    name = "Google Cloud Storage"
    state = "generation"

    def __init__(self) -> None:
        import gcsfs

        files = gcsfs.GCSFileSystem(use_listings_cache=False)
        endpoint = os.environ.get("STORAGE_EMULATOR_HOST") or self.name
        super().__init__(files, endpoint, anonymous=files.credentials.method == "anon")

    def facts(self, bucket: str, key: str, size: int) -> Facts:
        """The generation, CRC32C, and MD5 where the object was not composed of others."""
        del size
        info = self._files.info(f"{bucket}/{key}")
        sums = {"md5": info.get("md5Hash"), "crc32c": info.get("crc32c")}
        return Facts(
            str(info["generation"]), {kind: base64.b64decode(value).hex() for kind, value in sums.items() if value}
        )

    @staticmethod
    def kind_of(problem: BaseException) -> str | None:
        """By the status of Google's answer, as far as gcsfs keeps it."""
        import gcsfs.retry
        import requests.exceptions
        from google.auth import exceptions

        kinds = {
            FileNotFoundError: "file",
            exceptions.DefaultCredentialsError: "no-credentials",
            exceptions.RefreshError: "credentials",
            exceptions.MalformedError: "credentials",
            exceptions.TransportError: "unreachable",
            requests.exceptions.RequestException: "unreachable",
        }
        for one in chain(problem):
            if isinstance(one, gcsfs.retry.HttpError) and one.code:
                return kind_of_status(int(one.code))
            if isinstance(one, OSError) and str(one).startswith("Forbidden"):
                return "denied"
        return first_of(kinds, problem)
