"""What the npz readers share: array headers are believed only as far as the archive holds their bytes."""

from __future__ import annotations

import math
import zipfile

import numpy as np


def check_headers(archive: zipfile.ZipFile) -> None:
    """Raise `ValueError` for a member whose header claims more than its bytes: numpy would allocate it first."""
    for entry in archive.infolist():
        if not entry.filename.endswith(".npy"):
            continue
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"{entry.filename}: numpy format {version} is not read")
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize > entry.file_size:
            raise ValueError(f"{entry.filename}: claims {shape} of {dtype}, the archive holds {entry.file_size} bytes")
