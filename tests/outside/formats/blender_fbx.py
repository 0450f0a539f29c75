"""Imports an FBX in Blender: `blender -b --factory-startup -P blender_fbx.py -- FILE OUT.json`.

Writes [{bone: [x, y, z]}, ...], where each bone's head is in every frame, in Blender's axes (z up), metres.
"""

import json
import sys

import bpy
import numpy as np

if "bool" not in vars(np):  # Debian 12 has Blender 3.4 and a newer numpy
    np.bool = bool
file, out = sys.argv[sys.argv.index("--") + 1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = 30
bpy.ops.import_scene.fbx(filepath=file, anim_offset=0.0)
figure = next(item for item in bpy.data.objects if item.type == "ARMATURE")
first, last = (round(value) for value in figure.animation_data.action.frame_range)
frames = []
for frame in range(first, last + 1):
    scene.frame_set(frame)
    frames.append({bone.name: list(figure.matrix_world @ bone.head) for bone in figure.pose.bones})
with open(out, "w") as opened:
    json.dump(frames, opened)
