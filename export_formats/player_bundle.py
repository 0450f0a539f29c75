"""The bundle that goes along with an engine's or a page's player: what the export options leave of it.

The players hold no network: a clip that the pose residual moves gets its coefficients here, one row for each of its
frames (between frames they are interpolated, where `runtime` asks the network again).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from export_formats import ExportOptions
from export_formats.sampling import sampled_residual, selected
from runtime.bundle import write_bundle
from runtime.types import Bundle, Clip, OffsetTexture, Residual

FILE = "avatar.ani3d"
"""Its name in every export that holds one."""


def write_player_bundle(bundle: Bundle, folder: Path, options: ExportOptions) -> int:
    """Write `FILE` into `folder` at the asked level of detail, with or without residual; returns its bytes."""
    bundle = selected(bundle, options)
    whole = replace(options, frames=None, fps=None, lod=None)
    if options.residual:
        clips = [replace(clip, residual=sampled_residual(bundle, replace(whole, clip=index))[0])
                 for index, clip in enumerate(bundle.clips)]
    else:
        clips = [_rigid(clip) for clip in bundle.clips]
    write_bundle(replace(bundle, clips=tuple(clips), pose_residual=None), folder / FILE)
    return (folder / FILE).stat().st_size


def _rigid(clip: Clip) -> Clip:
    """The clip with a residual of no Gaussians."""
    def none_of(group: OffsetTexture) -> OffsetTexture:
        return replace(group, mean=group.mean[:0], texels=group.texels[:, :0])

    residual = clip.residual
    return replace(clip, residual=Residual(
        moving=residual.moving[:0], d_means=none_of(residual.d_means), d_rotations=none_of(residual.d_rotations),
        d_log_scales=none_of(residual.d_log_scales)))
