"""What the stored residual must keep; see `baker/distil.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DistilConfig:
    """What the stored residual must keep (DESIGN §7)."""

    position_mm: float = 0.5
    """Bound on the 99th percentile of the position error [mm]."""
    rotation_degrees: float = 3.0
    """Bound on the 99th percentile of the rotation error [deg]: at the edge of a Gaussian of 1 cm that is 0.5 mm, the
    position's own bound. On f01's long skirt as simulated 3 degrees take 34.1 KB a frame for 56.1 dB, 1 degree 41.7 KB
    for 56.5 dB."""
    log_scale: float = 0.05
    """Bound on the 99th percentile of the error of a log scale vector: five percent of a Gaussian's size."""
    psnr_db: float = 45.0
    """Least PSNR of every checked view against the undistilled render [dB]."""
    views: int = 6
    """Views checked, spread over the clip and around the figure."""
    width: int = 240
    """Width of a checked view [px]."""
    height: int = 416
    """Height of a checked view [px]."""
