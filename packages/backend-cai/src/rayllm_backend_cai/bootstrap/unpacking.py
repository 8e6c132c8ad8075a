"""Code that was uploaded as a zip, as a folder: several pods may unpack the same one at once. Standard library."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from rayllm.errors import ClusterError
from rayllm.paths import home


def unpacked(digest: str) -> Path:
    """The folder `code/DIGEST/` with what is in `code/DIGEST.zip`.

    Raises:
        ClusterError: there is no such file, or it is damaged.
    """
    folder = home() / "code" / digest
    if folder.is_dir():
        return folder
    draft = folder.with_name(f".{digest}.{os.uname().nodename}.{os.getpid()}")
    try:
        with zipfile.ZipFile(folder.with_name(f"{digest}.zip")) as archive:
            archive.extractall(draft)
        draft.rename(folder)
    except (OSError, zipfile.BadZipFile) as error:
        if not folder.is_dir():
            raise ClusterError(
                f"the code {digest} can't be unpacked into {folder.parent}", cause=str(error), cure="rayllm up"
            ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # another pod was first
    return folder
