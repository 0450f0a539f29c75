// Babylon.js with its own KHR_gaussian_splatting extension.
import { Engine } from "@babylonjs/core/Engines/engine.js";
import { FreeCamera } from "@babylonjs/core/Cameras/freeCamera.js";
import { ImportMeshAsync } from "@babylonjs/core/Loading/sceneLoader.js";
import { Color4 } from "@babylonjs/core/Maths/math.color.js";
import { Vector3 } from "@babylonjs/core/Maths/math.vector.js";
import { Scene } from "@babylonjs/core/scene.js";
import "@babylonjs/loaders/glTF/2.0/index.js";

export async function show(canvas, { file, position, target, fov }) {
    const engine = new Engine(canvas, false, { preserveDrawingBuffer: true });
    const scene = new Scene(engine);
    scene.useRightHandedSystem = true;
    scene.clearColor = new Color4(1, 1, 1, 1);
    const camera = new FreeCamera("camera", new Vector3(...position), scene);
    camera.setTarget(new Vector3(...target));
    camera.fov = fov * Math.PI / 180;
    camera.minZ = 0.05;
    await ImportMeshAsync(file, scene);
    for (let frame = 0; frame < 20; frame++) {
        scene.render();
        await new Promise((resume) => setTimeout(resume, 60));
    }
}
