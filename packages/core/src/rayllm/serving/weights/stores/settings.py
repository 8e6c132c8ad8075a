"""What each kind of store needs: fsspec's package for it, and the names of its secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

LIBRARIES: Mapping[str, Sequence[str]] = {
    # awscrt: the checksums that Amazon keeps of objects by default, which the standard library lacks
    "s3": ("s3fs>=2025.9", "awscrt>=0.28"),
    "gs": ("gcsfs>=2025.9",),
    "az": ("adlfs>=2025.8",),
}
"""As in the extras of rayllm-core."""
SECRETS: Mapping[str, Sequence[str]] = {
    "s3": (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"),
    ),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "az": (
        *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"),
        *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_CLIENT_ID", "AZURE_STORAGE_CLIENT_SECRET"),
        "AZURE_STORAGE_TENANT_ID",
    ),
}
"""Named as the environment variables that the store's own tools read."""
PLACES = frozenset({"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AZURE_STORAGE_ACCOUNT_NAME"})
"""Those that say where to ask, not who does."""
EXAMPLES: Mapping[str, Sequence[str]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
}
"""Those that most people need."""
QUIET: Mapping[str, Mapping[str, str]] = {
    # Else gcsfs asks another service first what kind of bucket it is, and waits a minute where that is out of reach.
    "gs": {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"},
}
"""Variables of the script's environment."""
