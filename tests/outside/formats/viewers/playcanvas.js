// The PlayCanvas engine: splat files, GLB containers, and its flipbook script for folders of numbered PLY (FILE/).
import * as pc from "playcanvas";

export async function show(canvas, { file, turn, frame, position, target, fov }) {
    const app = new pc.Application(canvas, { graphicsDeviceOptions: { preserveDrawingBuffer: true } });
    app.setCanvasFillMode(pc.FILLMODE_FILL_WINDOW);
    app.setCanvasResolution(pc.RESOLUTION_AUTO);
    app.start();
    const camera = new pc.Entity("camera");
    camera.addComponent("camera", { clearColor: new pc.Color(1, 1, 1), fov, nearClip: 0.05, farClip: 100 });
    camera.setPosition(...position);
    camera.lookAt(...target);
    app.root.addChild(camera);
    let figure = new pc.Entity("figure");
    if (file.endsWith("/")) {
        const { GSplatFlipbook } = await import("playcanvas/scripts/esm/gsplat/gsplat-flipbook.mjs");
        figure.addComponent("gsplat");
        figure.addComponent("script");
        figure.script.create(GSplatFlipbook, { properties: {
            folder: file, filenamePattern: "frame_{frame:04}.ply", startFrame: frame, endFrame: frame,
        } });
    } else {
        const asset = new pc.Asset("figure", file.endsWith(".glb") ? "container" : "gsplat", { url: file });
        await new Promise((resume, fail) => {
            asset.on("load", resume);
            asset.on("error", fail);
            app.assets.add(asset);
            app.assets.load(asset);
        });
        if (file.endsWith(".glb")) figure = asset.resource.instantiateRenderEntity();
        else figure.addComponent("gsplat", { asset });
    }
    if (turn === "x") figure.setLocalEulerAngles(180, 0, 0);
    if (turn === "z") figure.setLocalEulerAngles(0, 0, 180);
    app.root.addChild(figure);
    await new Promise((resume) => setTimeout(resume, 900));
}
