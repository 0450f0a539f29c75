"""One file per format: `write(..., path) -> Report`, and `read(path)` where the format allows. No torch."""
