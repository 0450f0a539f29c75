"""Plays a GLB in Blender: `blender -b --factory-startup -P blender.py -- FILE OUT.json TIME...`.

Writes {time: [[x, y, z], ...]}, the mesh's vertices after shape keys and armature, in glTF's axes.
"""

import json
import sys

import bpy
import numpy as np

# Debian 12 has Blender 3.4, whose importer says np.bool, and a numpy that has dropped it.
if "bool" not in vars(np):
    np.bool = bool
file, out, *times = sys.argv[sys.argv.index("--") + 1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = 30
bpy.ops.import_scene.gltf(filepath=file)
# The importer adds a small mesh of its own, to draw bones with.
mesh = max((item for item in bpy.data.objects if item.type == "MESH"), key=lambda item: len(item.data.vertices))
positions = {}
for time in times:
    frame = float(time) * scene.render.fps
    scene.frame_set(int(frame), subframe=frame - int(frame))
    evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    points = np.empty(3 * len(mesh.data.vertices))
    evaluated.to_mesh().vertices.foreach_get("co", points)
    world = np.array(evaluated.matrix_world)
    x, y, z = (points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]).T
    # Blender has z up.
    positions[time] = np.stack([x, z, -y], axis=1).tolist()
with open(out, "w", encoding="utf-8") as target:
    json.dump(positions, target)
