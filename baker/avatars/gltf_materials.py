"""Colours of glTF materials at points of a mesh: textures, factors, vertex colours, alpha modes.

Colour is sRGB; factors and vertex colours are linear, as the format has them. Letters: S samples, F faces.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

from baker.gltf_file import Gltf, gltf_numbers, image_bytes
from baker.meshes import ColorAt, decode_image, interpolate, sample_texture

CLAMP, MIRROR = 33071, 33648
"""glTF's wrap modes; 10497 repeats."""


class Textures:
    """Decoded images of a document, each once."""

    def __init__(self, gltf: Gltf):
        self.gltf = gltf
        self._images: dict[int, np.ndarray] = {}

    def image(self, index: object) -> np.ndarray:
        """An image as sRGB with straight alpha, uint8 [H X 4]."""
        self.gltf.item("images", index)
        assert isinstance(index, int)
        if index not in self._images:
            data = image_bytes(self.gltf, index)
            try:
                self._images[index] = decode_image(BytesIO(data))
            except ValueError as error:
                raise self.gltf.fail(f"image {index} {error}; export it again") from None
        return self._images[index]


def material_color(textures: Textures, material: Mapping[str, Any], uvs: Mapping[int, np.ndarray],
                   colors: np.ndarray | None, faces: np.ndarray) -> ColorAt:
    """`color_at` of a material on a mesh with texture coordinates [V 2] by set, vertex colours [V 4] and `faces`."""
    gltf = textures.gltf
    pbr = material.get("pbrMetallicRoughness", {})
    pbr = pbr if isinstance(pbr, dict) else {}
    factor = gltf_numbers(gltf, pbr.get("baseColorFactor", [1, 1, 1, 1]), 4, "a base colour")
    info = pbr.get("baseColorTexture")
    if not isinstance(info, dict):
        specular = _extension(material, "KHR_materials_pbrSpecularGlossiness")
        info = specular.get("diffuseTexture")
        if specular:
            factor = gltf_numbers(gltf, specular.get("diffuseFactor", [1, 1, 1, 1]), 4, "a base colour")
    glow = gltf_numbers(gltf, material.get("emissiveFactor", [0, 0, 0]), 3, "an emissive colour")
    glow = np.zeros(3) if "emissiveTexture" in material else glow
    look_up = _texture(textures, info, uvs, faces) if isinstance(info, dict) else None
    mode = str(material.get("alphaMode", "OPAQUE"))
    cutoff = float(gltf_numbers(gltf, [material.get("alphaCutoff", 0.5)], 1, "an alphaCutoff")[0])
    corner_colors = None if colors is None else colors[faces]

    def color_at(at: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        rgba = np.ones((len(at), 4)) if look_up is None else look_up(at, barycentrics).astype(np.float64)
        scale = np.broadcast_to(factor, rgba.shape)
        if corner_colors is not None:
            scale = scale * interpolate(corner_colors, at, barycentrics)
        rgb = _encode(_decode(rgba[:, :3]) * scale[:, :3] + glow)
        alpha = rgba[:, 3] * scale[:, 3]
        if mode == "MASK":
            alpha = (alpha >= cutoff).astype(np.float64)
        elif mode != "BLEND":
            alpha = np.ones(len(rgba))
        return np.concatenate([np.clip(rgb, 0, 1), np.clip(alpha, 0, 1)[:, None]], axis=1)

    return color_at


def _texture(textures: Textures, info: Mapping[str, Any], uvs: Mapping[int, np.ndarray],
             faces: np.ndarray) -> ColorAt | None:
    """Texture look-up with its transform and wrap modes; None where the mesh has no coordinates for it."""
    gltf = textures.gltf
    texture = gltf.item("textures", info.get("index"))
    source = _extension(texture, "EXT_texture_webp").get("source", texture.get("source"))
    if source is None:
        if _extension(texture, "KHR_texture_basisu"):
            raise gltf.fail("its textures are in KTX2 (KHR_texture_basisu), which is not read; export PNG or JPEG")
        return None
    image = textures.image(source)
    sampler = gltf.item("samplers", texture["sampler"]) if "sampler" in texture else {}
    transform = _extension(info, "KHR_texture_transform")
    uv = uvs.get(gltf.whole(transform if "texCoord" in transform else info, "texCoord", 0))
    if uv is None:
        return None
    offset = gltf_numbers(gltf, transform.get("offset", [0, 0]), 2, "a texture offset")
    scale = gltf_numbers(gltf, transform.get("scale", [1, 1]), 2, "a texture scale")
    angle = float(gltf_numbers(gltf, [transform.get("rotation", 0)], 1, "a texture's rotation")[0])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = ((uv * scale) @ turn.T + offset)[faces]
    wraps = sampler.get("wrapS", 10497), sampler.get("wrapT", 10497)
    half = 0.5 / np.array([image.shape[1], image.shape[0]])

    def look_up(at: np.ndarray, barycentrics: np.ndarray) -> np.ndarray:
        place = interpolate(corners, at, barycentrics)
        for axis, wrap in enumerate(wraps):
            if wrap == CLAMP:
                place[:, axis] = np.clip(place[:, axis], half[axis], 1 - half[axis])
            elif wrap == MIRROR:
                place[:, axis] = 1 - np.abs(place[:, axis] % 2 - 1)
            else:
                place[:, axis] %= 1.0
        place[:, 1] = 1 - place[:, 1]  # glTF's v runs down
        return sample_texture(image, place)

    return look_up


def _extension(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    extensions = item.get("extensions", {})
    found = extensions.get(name, {}) if isinstance(extensions, dict) else {}
    return found if isinstance(found, dict) else {}


def _decode(srgb: np.ndarray) -> np.ndarray:
    """sRGB to linear."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def _encode(linear: np.ndarray) -> np.ndarray:
    """Linear to sRGB."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
