// Spark (World Labs) on three.js.
import * as THREE from "three";
import { SparkRenderer, SplatMesh } from "@sparkjsdev/spark";

export async function show(canvas, { file, turn, position, target, fov }) {
    const renderer = new THREE.WebGLRenderer({ canvas, antialias: false, preserveDrawingBuffer: true });
    renderer.setSize(innerWidth, innerHeight, false);
    const scene = new THREE.Scene();
    scene.background = new THREE.Color(1, 1, 1);
    const camera = new THREE.PerspectiveCamera(fov, innerWidth / innerHeight, 0.05, 100);
    camera.position.set(...position);
    camera.lookAt(...target);
    scene.add(new SparkRenderer({ renderer }));
    const splats = new SplatMesh({ url: file });
    await splats.initialized;
    if (turn === "x") splats.quaternion.set(1, 0, 0, 0);
    if (turn === "z") splats.quaternion.set(0, 0, 1, 0);
    scene.add(splats);
    // Sorting happens in a worker: the picture follows some frames later.
    for (let frame = 0; frame < 12; frame++) {
        renderer.render(scene, camera);
        await new Promise((resume) => setTimeout(resume, 60));
    }
}
