// A bundle as an object of a three.js scene, posed on the GPU inside Spark, which sorts and draws it with all else.
//
//   const person = await Ani3D.load("avatar.ani3d");
//   scene.add(new SparkRenderer({renderer, ...SPARK_SETTINGS}), person);
import {SplatGenerator, SplatTransformer, dyno} from "@sparkjsdev/spark";
import * as THREE from "three";
import {InputError} from "../archive.js";
import {readBundle} from "../bundle.js";
import {SPLAT} from "../constants.js";
import {layersAt} from "../loop.js";
import {jointLocals, levelGrowth, residualSteps, skinFromLocals} from "../motion.js";
import {WIDTH, clipTables, figureTables, frameTables, shaderHead} from "../pose_textures.js";
import poseShader from "../shaders/pose.glsl?raw";

export {InputError};

/** What makes Spark draw as the rasteriser a person was baked with; also 32-bit centres, so that nothing trembles. */
export const SPARK_SETTINGS = Object.freeze({accumExtSplats: true, preBlurAmount: SPLAT.EPS_2D, blurAmount: 0,
  maxStdDev: Math.sqrt(-2 * Math.log(SPLAT.ALPHA_MIN)), minAlpha: SPLAT.ALPHA_MIN, sortRadial: false});

const KINDS = {f: [THREE.FloatType, "32F"], i: [THREE.IntType, "32I"], u: [THREE.UnsignedIntType, "32UI"],
  b: [THREE.ByteType, "8I"], s: [THREE.ShortType, "16I"]};
// Stacks of texels are as wide as any device in use allows, as the shader is written before the device is known.
const TEXEL_WIDTH = 4096;
const LONGEST_STEP = 0.25;

/**
 * One person: +Y up, facing +Z, in metres. Place it as any Object3D (scale it evenly).
 * Settings are plain fields, seen at the next frame; it plays by itself while it is in a scene that is drawn.
 */
export class Ani3D extends SplatGenerator {
  /** Fetch and read a bundle. Throws InputError where the file is not a usable one. */
  static async load(url) {
    const answer = await fetch(url);
    if (!answer.ok) throw new InputError(`${url}: the server answers ${answer.status}`);
    return Ani3D.parse(await answer.arrayBuffer(), String(url));
  }

  /** Read a bundle's bytes; `name` is what errors call it. */
  static async parse(bytes, name = "bundle") {
    return new Ani3D(await readBundle(new Uint8Array(bytes), name));
  }

  constructor(bundle) {
    super({numSplats: bundle.gaussians.count, update: () => this._show()});
    this.bundle = bundle;
    this.name = bundle.name;
    this.playing = true;
    this.loop = true;
    this.speed = 1;
    this.time = 0;
    this.residual = true;
    this.rootMotion = true;
    this.opacity = 1;
    this.autoUpdate = true;
    this.onpose = null;
    this.bones = bundle.jointNames.map((name) => Object.assign(new THREE.Bone(), {name}));
    this.bones.forEach((bone, j) => (j ? this.bones[bundle.rig.parents[j]] : this).add(bone));
    this._growth = levelGrowth(bundle.gaussians);
    this._transformer = new SplatTransformer();
    this._uniforms = {u_list_ends: {value: Array(6).fill(0)}, u_moving_count: {value: 0},
      u_turns: {value: [0, 0, 0]},
      u_influences: {value: bundle.rig.influences}, u_growth: {value: 0}, u_opacity: {value: 1}};
    this._upload(figureTables(bundle.gaussians, bundle.rig));
    this.clip = 0;
    this.generator = generatorOf(this._uniforms, this._transformer);
  }

  /** Names of the clips. */
  get clips() {
    return this.bundle.clips.map((clip) => clip.name);
  }

  /** The clip that plays; set it to a name or a number to switch, from the clip's first frame. */
  get clip() {
    return this._clip.name;
  }

  set clip(which) {
    const clip = this.bundle.clips.find((each) => each.name === which) ??
      this.bundle.clips.find((_, index) => String(index) === String(which));
    if (!clip) throw new InputError(`${this.name}: has no clip ${which}; its clips are ${this.clips.join(", ")}`);
    this._clip = clip;
    this.time = 0;
    // Room for every step of any moment: a dense group has one a frame shown, two or in a loop's fade four; a basis one
    // has one a vector, for rotations one a vector and frame.
    const shown = clip.looping.fade ? 4 : 2;
    const steps = Object.entries(clip.groups).map(([group, {coefficients, layers}]) =>
      coefficients ? layers * (group === "d_rotations" ? shown : 1) : shown);
    this._room = 4 * Math.max(steps.reduce((sum, count) => sum + count, 0), 1);
    this._upload(clipTables(clip, this.bundle.gaussians.count));
    this._pose();
  }

  /** Seconds of the clip. */
  get duration() {
    return this._clip.frames / this._clip.fps;
  }

  /** How many Gaussians are drawn, the most visible first: the level of detail. */
  get count() {
    return this.numSplats;
  }

  set count(count) {
    this.numSplats = Math.min(Math.max(Math.round(count), 1), this.bundle.gaussians.count);
  }

  play() {
    this.playing = true;
    return this;
  }

  pause() {
    this.playing = false;
    return this;
  }

  /** The bone of a name: hang things on it, or turn it in `onpose`. */
  bone(name) {
    return this.bones.find((bone) => bone.name === name);
  }

  /** Advance the clock by seconds and pose the bones. Called by itself unless `autoUpdate` is false. */
  update(seconds) {
    if (this.playing) {
      this.time += this.speed * seconds;
      // Held at an end, it leaves it as soon as it is played the other way.
      if (!this.loop) this.time = Math.min(Math.max(this.time, 0), (this._clip.frames - 1) / this._clip.fps);
    }
    const posed = [this.time, this.loop, this.speed < 0, this.rootMotion];
    if (this.onpose || !this._posed?.every((value, i) => value === posed[i])) this._pose();
  }

  /** three.js asks this before it draws, and Spark again: bones and what hangs on them are of the splats' moment. */
  updateMatrixWorld(force) {
    const now = performance.now();
    // Once a frame is enough, however often it is asked.
    if (this.autoUpdate && this._clip && !(now - this._last < 2)) {
      const passed = this._last === undefined ? 0 : Math.min((now - this._last) / 1000, LONGEST_STEP);
      this._last = now;
      this.update(passed);
    }
    super.updateMatrixWorld(force);
  }

  /** Leave the scene and free the memory on the GPU. */
  dispose() {
    this.removeFromParent();
    for (const {value} of Object.values(this._uniforms)) value?.isTexture && value.dispose();
  }

  /** The bones of the moment, and from them, as they are after `onpose`, the skin. */
  _pose() {
    const {rig} = this.bundle;
    const layers = layersAt(this._clip, this.time, {loop: this.loop, backwards: this.speed < 0});
    const locals = jointLocals(rig, this._clip, layers, this.rootMotion);
    this.bones.forEach((bone, j) => {
      bone.matrix.set(...locals.subarray(12 * j, 12 * j + 12), 0, 0, 0, 1);
      bone.matrix.decompose(bone.position, bone.quaternion, bone.scale);
      bone.matrixWorldNeedsUpdate = true;
    });
    if (this.onpose) {
      this.onpose(this.bones, this.time);
      this.bones.forEach((bone, j) => {
        bone.updateMatrix();
        const m = bone.matrix.elements;
        for (let i = 0; i < 12; i++) locals[12 * j + i] = m[4 * (i % 4) + (i >> 2)];
      });
    }
    this._posed = [this.time, this.loop, this.speed < 0, this.rootMotion];
    this._moment = {matrices: skinFromLocals(rig, locals), steps: residualSteps(this._clip, layers)};
  }

  /** Spark is about to draw: give the GPU what has changed. */
  _show() {
    const moved = this._transformer.update(this);
    const seen = [this._moment, this.residual, this.opacity, this.numSplats];
    if (!moved && this._seen?.every((value, i) => value === seen[i])) return;
    this._seen = seen;
    const {matrices, steps} = this._moment;
    const {tables, ends} = frameTables(matrices, steps, this._room);
    this._upload(tables);
    const set = {u_list_ends: ends, u_moving_count: this.residual ? this._clip.moving.length : 0, u_turns: steps.turns,
      u_growth: this._growth(this.numSplats), u_opacity: this.opacity};
    for (const [name, value] of Object.entries(set)) this._uniforms[name].value = value;
    this.updateVersion();
  }

  /** Tables of pose_textures.js as textures; one of an unchanged size is filled again. */
  _upload(tables) {
    for (const [name, [kind, values]] of Object.entries(tables)) {
      const uniform = this._uniforms[name] ??= {value: null};
      const [width, channels] = [name.startsWith("u_texels") ? TEXEL_WIDTH : WIDTH, Number(kind[1])];
      const rows = Math.max(Math.ceil(values.length / channels / width), 1);
      if (rows > TEXEL_WIDTH) throw new InputError(`${this.name}: is too large for a GPU; export fewer Gaussians`);
      const stored = channels === 1 ? 1 : 4;
      let texture = uniform.value;
      if (texture?.userData.kind !== kind || texture.image.height !== rows) {
        texture?.dispose();
        texture = uniform.value = newTexture(kind, new values.constructor(stored * width * rows), width, rows);
      }
      spread(values, channels, texture.image.data, stored);
      texture.needsUpdate = true;
    }
  }
}

function newTexture(kind, data, width, rows) {
  const [type, suffix] = KINDS[kind[0]];
  const [single, whole] = [kind[1] === "1", kind[0] !== "f"];
  const format = single ? (whole ? THREE.RedIntegerFormat : THREE.RedFormat)
    : (whole ? THREE.RGBAIntegerFormat : THREE.RGBAFormat);
  const texture = new THREE.DataTexture(data, width, rows, format, type);
  texture.internalFormat = (single ? "R" : "RGBA") + suffix;
  texture.userData.kind = kind;
  return texture;
}

/** Copy rows of `channels` values to rows of `stored`: three.js has no textures of three integers. */
function spread(values, channels, target, stored) {
  if (channels === stored) return target.set(values);
  for (let from = 0, to = 0; from < values.length; from += channels, to += stored) {
    for (let c = 0; c < channels; c++) target[to + c] = values[from + c];
  }
}

/** Spark's program for a person: from a splat's index to the splat, in the world. */
function generatorOf(uniforms, transformer) {
  const {Dyno, Gsplat, defineGsplat, dynoBlock} = dyno;
  return dynoBlock({index: "int"}, {gsplat: Gsplat}, ({index}) => {
    const pose = new Dyno({
      inTypes: {index: "int"}, outTypes: {gsplat: Gsplat}, inputs: {index},
      generate: ({inputs, outputs: {gsplat}}) => ({
        uniforms,
        globals: [defineGsplat, `${shaderHead(TEXEL_WIDTH)}uniform sampler2D u_colors;\nuniform float u_opacity;\n` +
          poseShader],
        statements: ["vec4 quat_wxyz;",
          `pose_gaussian(${inputs.index}, ${gsplat}.center, quat_wxyz, ${gsplat}.scales);`,
          `${gsplat}.quaternion = quat_wxyz.yzwx;`,
          `${gsplat}.rgba = texelFetch(u_colors, texel_of(${inputs.index}), 0);`,
          `${gsplat}.rgba.a *= u_opacity;`,
          `${gsplat}.index = ${inputs.index};`,
          `${gsplat}.flags = GSPLAT_FLAG_ACTIVE;`],
      }),
    });
    return {gsplat: transformer.applyGsplat(pose.outputs.gsplat)};
  });
}
