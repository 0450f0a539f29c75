// Plays a bundle on a canvas: the clock, the level of detail, the sorter; made for other pages to use as well.
//
//   const player = await Player.open(canvas, bytes, {shaders: await fetchShaders("./shaders/"),
//                                                   worker: () => new Worker("./sort_worker.js")});
//   player.play();
import {readBundle} from "./bundle.js";
import {orbitCamera} from "./camera.js";
import {FRAMING, WEIGHT_ONE} from "./constants.js";
import {layersAt, shownFrame} from "./loop.js";
import {levelGrowth, mixAlong, residualSteps, rootTargets, skinningMatrices} from "./motion.js";
import {Renderer, SHADERS} from "./renderer.js";

/** The renderer's shader texts from a folder. */
export async function fetchShaders(folder) {
  const texts = await Promise.all(SHADERS.map(async (name) => (await fetch(folder + name)).text()));
  return Object.fromEntries(SHADERS.map((name, i) => [name, texts[i]]));
}

/** One figure on one canvas. Times in seconds; settings are plain fields, seen at the next frame. */
export class Player {
  /** Read a bundle's bytes. `shaders`: texts by name; `worker`: makes a sort_worker.js. Throws InputError. */
  static async open(canvas, bytes, {shaders, worker, source = "bundle"}) {
    const bundle = await readBundle(bytes, source);
    return new Player(canvas, bundle, new Renderer(canvas, shaders), worker());
  }

  constructor(canvas, bundle, renderer, worker) {
    Object.assign(this, {canvas, bundle, renderer, worker});
    this.orbit = {azimuth: 0, elevation: FRAMING.ELEVATION, distance: FRAMING.DISTANCE};
    this.background = [0.5, 0.5, 0.5];
    this.speed = 1;
    this.loop = true;
    this.residual = true;
    this.follow = true;
    // Lowest part of the canvas that a page's controls cover [CSS px].
    this.covered = 0;
    this.playing = false;
    this.count = bundle.gaussians.count;
    this.onframe = () => {};
    this.onerror = (error) => {
      throw error;
    };
    this._growth = levelGrowth(bundle.gaussians);
    this._waiting = new Map();
    this._requests = 0;
    renderer.setFigure(bundle);
    const {skinJoints, skinWeights, influences} = bundle.rig;
    const {means} = bundle.gaussians;
    worker.postMessage({figure: {means, skinJoints, skinWeights, influences, weightOne: WEIGHT_ONE}});
    worker.onerror = (event) => this.onerror(new Error(event.message ?? "the sorting worker could not start"));
    worker.onmessage = ({data}) => {
      this._waiting.get(data.id)(data);
      this._waiting.delete(data.id);
    };
    this.setClip(0);
    // Phones take the GPU away from pages in the background.
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      renderer.restore();
      renderer.setFigure(bundle);
      renderer.setClip(this.clip);
      this.refresh();
    });
  }

  get duration() {
    return this.clip.frames / this.clip.fps;
  }

  /** The clip's fractional frame, 0 to T (T itself excluded), that shows: `time` grows through loops. */
  get frame() {
    return shownFrame(this._layers());
  }

  /** Switch to a clip, from its first frame. */
  setClip(index) {
    this.clip = this.bundle.clips[index];
    this.time = 0;
    this._targets = rootTargets(this.bundle.rig, this.clip, this.bundle.gaussians.means);
    this.renderer.setClip(this.clip);
    const {mean, texels} = this.clip.groups.d_means;
    this.worker.postMessage({clip: {moving: this.clip.moving, mean, texels}});
    this._order = null;
  }

  /** Start the clock. */
  play() {
    if (this.playing) return;
    this.playing = true;
    this._last = null;
    this._start();
  }

  pause() {
    this.playing = false;
  }

  /** Stop for good: end the worker and give the GPU's memory back. The canvas cannot be drawn on again. */
  close() {
    this.pause();
    this.worker.terminate();
    this.renderer.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** Draw again soon: after a change of camera, time or setting while paused. */
  refresh() {
    this._start();
  }

  /** Draw one moment exactly, its own order included; resolves when it is on the canvas. */
  async renderAt(seconds, {width, height, count = this.count}) {
    Object.assign(this.canvas, {width, height});
    this.time = seconds;
    const frame = this._frame();
    const {order} = await this._sort(frame, count);
    this._draw(frame, order);
    return this.renderer.pixels();
  }

  _start() {
    if (this._running) return;
    this._running = true;
    requestAnimationFrame((now) => this._tick(now));
  }

  _tick(now) {
    this._running = false;
    if (this.renderer.lost()) return;
    if (this.playing) {
      const passed = this._last === null ? 0 : Math.min((now - this._last) / 1000, 0.25);
      this.time += passed * this.speed;
      // Held at an end, it leaves it as soon as it is played the other way.
      if (!this.loop) this.time = Math.min(Math.max(this.time, 0), (this.clip.frames - 1) / this.clip.fps);
      this._last = now;
    }
    if (this.renderer.busy()) return this._start();
    const scale = this._fitCanvas();
    const frame = this._frame(this.covered * scale);
    const clip = this.clip;
    if (!this._sorting) {
      this._sorting = true;
      this._sort(frame, this.count).then((sorted) => {
        this._sorting = false;
        if (clip !== this.clip) return this._start();
        this._order = sorted.order;
        if (!this.playing) this._draw(frame, this._order);
      });
    } else if (!this.playing) this._pending = true;
    if (this._order) this._draw(frame, this._order);
    this.onframe();
    if (this.playing || this._pending) {
      this._pending = false;
      this._start();
    }
  }

  /** Everything a moment's picture depends on but the order. */
  _frame(covered = 0) {
    const {rig} = this.bundle;
    const layers = this._layers();
    if (this.follow || !this._target) this._target = mixAlong(this._targets, layers);
    return {matrices: skinningMatrices(rig, this.clip, layers), steps: residualSteps(this.clip, layers),
      residual: this.residual,
      camera: orbitCamera(this._target, this.orbit, this.canvas.width, this.canvas.height, covered)};
  }

  _layers() {
    return layersAt(this.clip, this.time, {loop: this.loop, backwards: this.speed < 0});
  }

  /** The order of the first `count` Gaussians at a frame. */
  _sort({matrices, steps, residual, camera}, count) {
    const id = this._requests++;
    this.worker.postMessage({id, count, matrices, residual, steps: steps.lists[0], row: camera.view.slice(8)});
    return new Promise((resolve) => this._waiting.set(id, resolve));
  }

  _draw(frame, order) {
    this.renderer.pose({...frame, count: order.length, growth: this._growth(order.length)});
    this.renderer.draw(frame.camera, order, this.background);
  }

  _fitCanvas() {
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(Math.round(this.canvas.clientWidth * scale), 1);
    const height = Math.max(Math.round(this.canvas.clientHeight * scale), 1);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, {width, height});
    return scale;
  }
}
