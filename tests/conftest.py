"""Shapes and types are checked in every call of the packages while tests run (jaxtyping + beartype)."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

from jaxtyping import install_import_hook

install_import_hook(["runtime", "export_formats", "viewer", "baker"], "beartype.beartype")
