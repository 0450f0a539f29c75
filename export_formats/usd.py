"""OpenUSD `ParticleField3DGaussianSplat` (usd-core 26.3 and later): the clip as time samples of one particle field.

Scales are linear, opacities 0 to 1, orientations quatf, colour is the degree 0 coefficient; +Y up, one unit a metre.
USD interpolates positions between samples linearly. What a clip does not change is written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from export_formats import ExportOptions, Report
from export_formats.axes import OURS
from export_formats.output import new_file
from export_formats.sampling import changes_sizes, sample_rate, sample_times, sequence, still
from runtime.errors import InputError
from runtime.types import Bundle, GaussianSet

SUFFIXES = (".usd", ".usda", ".usdc")
LOST = ("the rig and the labels: every Gaussian is sampled in the world",)
OPENS_WITH = ("Omniverse Kit 110, Isaac Sim 6 and other programs on OpenUSD 26.3 or later with a renderer of particle "
              "fields; Houdini knows the class. Whether time samples play depends on the renderer")
EXTENT_SIGMAS = 3.0
"""The extent covers Gaussians to three standard deviations."""


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """The clip, or with `options.rest` the rest pose."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: name the file .usdc (binary, small), .usda (text) or .usd")
    if options.axes not in (None, OURS):
        raise InputError(f"{path}: USD is written as {OURS} (+Y up), not {options.axes}; turn it in the scene")
    pxr = _load_pxr(path)
    times = [0.0] if options.rest else sample_times(bundle, options)
    frames = iter([still(bundle, options, axes=OURS)]) if options.rest else sequence(bundle, options, axes=OURS)
    with new_file(path) as part:
        try:
            _write_stage(pxr, part, bundle, frames, rate=sample_rate(bundle, options),
                         sampled=_sampled(bundle, options, len(times)))
        except pxr.Tf.ErrorException as error:
            # One line a cause: place in USD's sources : 'what happened'.
            reason = str(error).strip().splitlines()[-1].partition(" : ")[2].strip("'")
            raise InputError(f"{path}: cannot be written: {reason[:200] or 'OpenUSD does not say why'}") from None
    return Report(path=path, size_bytes=path.stat().st_size, frames=len(times), lost=LOST, opens_with=OPENS_WITH)


def _write_stage(pxr: Any, part: Path, bundle: Bundle, frames: Iterator[GaussianSet], *, rate: float,
                 sampled: frozenset[str]) -> None:
    """A stage with one particle field; the `sampled` arrays at time codes 0, 1, …, the others once."""
    usd, geom, tf = pxr.Usd, pxr.UsdGeom, pxr.Tf
    stage = usd.Stage.CreateNew(str(part))
    geom.SetStageUpAxis(stage, geom.Tokens.y)
    geom.SetStageMetersPerUnit(stage, 1.0)
    root = geom.Xform.Define(stage, "/Avatar")
    root.GetPrim().SetDocumentation(f"{bundle.manifest.generator}. Licence: {bundle.manifest.source_licence}")
    stage.SetDefaultPrim(root.GetPrim())
    # Names in bundles are free text, prim names are not.
    name = tf.MakeValidIdentifier(bundle.manifest.name or "figure")
    field = pxr.UsdVol.ParticleField3DGaussianSplat.Define(stage, f"/Avatar/{name}")
    field.CreateRadianceSphericalHarmonicsDegreeAttr(0)
    field.CreateProjectionModeHintAttr("perspective")
    field.CreateSortingModeHintAttr("cameraDistance")
    attributes = {"positions": field.CreatePositionsAttr(), "orientations": field.CreateOrientationsAttr(),
                  "scales": field.CreateScalesAttr(), "opacities": field.CreateOpacitiesAttr(),
                  "colors": field.CreateRadianceSphericalHarmonicsCoefficientsAttr(),
                  "extent": field.CreateExtentAttr()}
    code = -1
    for code, gaussians in enumerate(frames):
        for key, values in _arrays(gaussians).items():
            if key in sampled:
                attributes[key].Set(_vt(pxr, key, values), code)
            elif code == 0:
                attributes[key].Set(_vt(pxr, key, values))
    if sampled:
        stage.SetStartTimeCode(0)
        stage.SetEndTimeCode(code)
        stage.SetTimeCodesPerSecond(rate)
        stage.SetFramesPerSecond(rate)
    stage.GetRootLayer().Save()


def _sampled(bundle: Bundle, options: ExportOptions, count: int) -> frozenset[str]:
    """The arrays that change over the clip's `count` frames."""
    if count == 1:
        return frozenset()
    return frozenset({"positions", "orientations", "extent"}
                     | ({"scales"} if changes_sizes(bundle, options) else set()))


def _arrays(gaussians: GaussianSet) -> dict[str, np.ndarray]:
    """The schema's arrays. Quaternions are xyzw here, as numpy hands them over; the schema's are real first."""
    scales = np.exp(gaussians.log_scales)
    reach = EXTENT_SIGMAS * scales.max(axis=1, keepdims=True)
    extent = np.stack([(gaussians.means - reach).min(axis=0), (gaussians.means + reach).max(axis=0)])
    return {"positions": gaussians.means, "orientations": np.roll(gaussians.quats_wxyz, -1, axis=1), "scales": scales,
            "opacities": gaussians.opacities, "colors": gaussians.sh0, "extent": extent}


def _vt(pxr: Any, key: str, values: np.ndarray) -> Any:
    """A numpy array as USD's."""
    kind = {"orientations": pxr.Vt.QuatfArray, "opacities": pxr.Vt.FloatArray}.get(key, pxr.Vt.Vec3fArray)
    return kind.FromNumpy(np.ascontiguousarray(values, np.float32))


def _load_pxr(path: Path) -> Any:
    """USD's modules, or an error that names the extra."""
    try:
        import pxr
        from pxr import Tf, Usd, UsdGeom, UsdVol, Vt  # noqa: F401
    except ImportError:
        raise InputError(f"{path}: writing USD needs usd-core 26.3 or later: pip install 'ani3d[formats]'") from None
    if not hasattr(UsdVol, "ParticleField3DGaussianSplat"):
        raise InputError(f"{path}: this usd-core has no ParticleField3DGaussianSplat: pip install 'ani3d[formats]'")
    return pxr
