"""ani3d runtime: the data types, the reference maths, the bundle file, the per-frame player. No torch.

Conventions, for the whole project:

- Metres, seconds, radians. World right-handed, +Y up, the figure faces +Z, its left hand is at +X (SMPL-X).
- Cameras are OpenCV (x right, y down, z forward); `T_camera_world` maps world to camera. Pixel centres at +0.5.
- Quaternions are `wxyz`. Transforms are named right to left: `T_world_joint @ p_joint` is in the world.
- Stored values carry their storage in the name: `log_scales`, `opacity_logits`, `quats_wxyz`.
- Colour is display-referred sRGB, blended as 3D Gaussian Splatting does. Images are float32 RGBA, premultiplied.
- Letters: N Gaussians, M moving Gaussians, J joints, W influences, T frames, K basis vectors, V vertices,
  F faces, H image height, X image width, C channels.
- The residual moves Gaussians in the rest pose, *before* skinning (a glTF morph target followed by a skin).
"""
