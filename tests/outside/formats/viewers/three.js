// three.js with its own KHR_gaussian_splatting extension.
import * as THREE from "three/webgpu";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { GLTFGaussianSplatLoaderExtension } from "three/addons/loaders/GLTFGaussianSplatLoaderExtension.js";

export async function show(canvas, { file, position, target, fov }) {
    const renderer = new THREE.WebGPURenderer({ canvas, antialias: false, forceWebGL: true });
    await renderer.init();
    renderer.setSize(innerWidth, innerHeight, false);
    // The splats' colours are as displayed; three would encode them for the display once more.
    renderer.outputColorSpace = THREE.LinearSRGBColorSpace;
    const scene = new THREE.Scene();
    scene.background = new THREE.Color(1, 1, 1);
    const camera = new THREE.PerspectiveCamera(fov, innerWidth / innerHeight, 0.05, 100);
    camera.position.set(...position);
    camera.lookAt(...target);
    const loader = new GLTFLoader();
    loader.register((parser) => new GLTFGaussianSplatLoaderExtension(parser));
    const { scene: figure } = await loader.loadAsync(file);
    scene.add(figure);
    for (let frame = 0; frame < 6; frame++) {
        await renderer.renderAsync(scene, camera);
        await new Promise((resume) => setTimeout(resume, 60));
    }
}
