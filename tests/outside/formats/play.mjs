// Plays a skinned and morphed GLB in Babylon.js without a screen: node play.mjs FILE TIME...
// Prints {time: [x, y, z, ...]}, the vertices after morph targets and skin. Splats are left to be points: Babylon's
// own splat meshes are static.
import { readFileSync } from "fs";
import { FreeCamera } from "@babylonjs/core/Cameras/freeCamera.js";
import { NullEngine } from "@babylonjs/core/Engines/nullEngine.js";
import { SceneLoader } from "@babylonjs/core/Loading/sceneLoader.js";
import { Vector3 } from "@babylonjs/core/Maths/math.vector.js";
import { Logger } from "@babylonjs/core/Misc/logger.js";
import { Scene } from "@babylonjs/core/scene.js";
import "@babylonjs/loaders/glTF/2.0/index.js";

const [file, ...times] = process.argv.slice(2);
Logger.LogLevels = Logger.NoneLogLevel;
const scene = new Scene(new NullEngine());
scene.useRightHandedSystem = true;
new FreeCamera("camera", new Vector3(0, 1, 3), scene);
SceneLoader.OnPluginActivatedObservable.add((plugin) => {
    plugin.extensionOptions = { KHR_gaussian_splatting: { enabled: false } };
});
const loaded = await SceneLoader.ImportMeshAsync("", "", new Uint8Array(readFileSync(file)), scene, undefined, ".glb");
const mesh = loaded.meshes.find((candidate) => candidate.getTotalVertices() > 0);
const [animation] = loaded.animationGroups;
const fps = animation.targetedAnimations[0].animation.framePerSecond;
const positions = {};
for (const time of times) {
    animation.start(false);
    animation.goToFrame(Number(time) * fps);
    animation.pause();
    scene.render();
    mesh.skeleton.prepare(true);
    positions[time] = Array.from(mesh.getPositionData(true, true));
}
process.stdout.write(JSON.stringify(positions), () => process.exit(0));
