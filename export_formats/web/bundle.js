// A bundle's blocks as typed arrays, checked and decoded (runtime/BUNDLE.md). Letters as there: N J W T M K.
import {InputError, readArchive} from "./archive.js";
import {LIMITS, QUAT_ONE, SH_C0, VERSION, WEIGHT_ONE} from "./constants.js";
import {loopOf} from "./loop.js";

const ARRAYS = {u8: Uint8Array, i8: Int8Array, u16: Uint16Array, i16: Int16Array, u32: Uint32Array, i32: Int32Array,
  f16: Uint16Array, f32: Float32Array, f64: Float64Array};
const FIGURE = {"gaussians/means": ["f32", "N 3"], "gaussians/quats": ["i16", "N 4"],
  "gaussians/log_scales": ["f16", "N 3"], "gaussians/opacity_logits": ["f16", "N"], "gaussians/sh0": ["f16", "N 3"],
  "gaussians/labels": ["u8", "N"], "rig/parents": ["i32", "J"], "rig/rest": ["f64", "J 4 4"],
  "rig/skin_joints": ["u8", "N W"], "rig/skin_weights": ["u16", "N W"]};
const GROUP_MEANS = {d_means: "f32", d_rotations: "f16", d_log_scales: "f16"};

/** The channel groups of a residual, in the order everything here lists them. */
export const GROUPS = Object.keys(GROUP_MEANS);

/**
 * Read a bundle; throws InputError naming `source`.
 * Gaussians come as they are used: unit quaternions wxyz, log scales, colours and opacities in 0..1.
 */
export async function readBundle(bytes, source) {
  const contents = await readArchive(bytes, source);
  const manifest = parseManifest(contents.get("manifest.json"), source);
  const blocks = new Blocks(manifest, contents, source);
  const dims = {J: manifest.joint_names.length};
  const raw = {};
  for (const [name, [type, shape]] of Object.entries(FIGURE)) raw[name] = blocks.take(name, [type], shape, dims);
  const clips = manifest.clips.map((clip, index) => readClip(clip, `clip${index}`, blocks, dims, source));
  blocks.checkAllTaken();
  return {name: manifest.name, licence: manifest.source_licence, jointNames: manifest.joint_names, clips,
    gaussians: gaussiansOf(raw, dims.N, source), rig: rigOf(raw, dims, source)};
}

function parseManifest(content, source) {
  if (content?.length > LIMITS.MANIFEST_BYTES) {
    throw new InputError(`${source}/manifest.json: larger than ${LIMITS.MANIFEST_BYTES} bytes`);
  }
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder("utf-8", {fatal: true}).decode(content));
  } catch (error) {
    throw new InputError(`${source}/manifest.json: is missing or is not JSON; give a file made by ani3d bake`);
  }
  if (manifest?.format !== "ani3d") throw new InputError(`${source}/manifest.json: is not an ani3d manifest`);
  if (manifest.version !== VERSION) {
    const version = String(manifest.version).slice(0, 20);
    throw new InputError(`${source}/manifest.json: version ${version}, this player knows ${VERSION}; ` +
      "export the player again with the ani3d that made the file");
  }
  const {joint_names: joints, clips, blocks} = manifest;
  if (!Array.isArray(joints) || !inRange(joints.length, 1, LIMITS.J) || !Array.isArray(clips) ||
      !inRange(clips.length, 1, LIMITS.CLIPS) || typeof blocks !== "object" || blocks === null ||
      !clips.every((clip) => typeof clip?.name === "string" && inRange(clip.fps, 0.1, 1000))) {
    throw new InputError(`${source}/manifest.json: its joints, clips or blocks are not usable`);
  }
  return manifest;
}

/** The blocks of a file, each taken once with its type and shape checked. */
class Blocks {
  constructor(manifest, contents, source) {
    Object.assign(this, {lines: manifest.blocks, contents, source, taken: new Set(["manifest.json"])});
  }

  has(name) {
    return Object.hasOwn(this.lines, name);
  }

  /** A typed array; letters of `shape` met first are added to `dims`, others must agree. */
  take(name, types, shape, dims) {
    const line = this.has(name) ? this.lines[name] : null;
    const fail = (what) => new InputError(`${this.source}: block ${name} ${what}`);
    if (!line || !types.includes(line.dtype) || line.file !== `${name}.${line.dtype}`) {
      throw fail(`is missing or not ${types.join(" or ")}`);
    }
    const letters = shape.split(" ");
    if (!Array.isArray(line.shape) || line.shape.length !== letters.length) throw fail(`must have shape [${shape}]`);
    letters.forEach((letter, axis) => {
      const size = line.shape[axis];
      const wanted = Number(letter) || (dims[letter] ??= size);
      const lowest = letter === "M" || letter === "K" ? 0 : 1;
      if (size !== wanted || !Number.isInteger(size) || !inRange(size, lowest, LIMITS[letter] ?? size)) {
        throw fail(`has shape [${line.shape}], not [${shape}]`);
      }
    });
    const content = this.contents.get(line.file);
    const Type = ARRAYS[line.dtype];
    const length = line.shape.reduce((product, size) => product * size, 1);
    if (content?.length !== length * Type.BYTES_PER_ELEMENT) throw fail("is not as large as the manifest says");
    this.taken.add(line.file);
    const values = new Type(content.buffer, content.byteOffset, length);
    return line.dtype === "f16" ? Float32Array.from(values, halfToFloat) : values;
  }

  checkAllTaken() {
    for (const file of this.contents.keys()) {
      // The pose residual, a network, may be ignored (BUNDLE.md); exports turn it into coefficients.
      if (!this.taken.has(file) && !file.startsWith("pose/")) {
        throw new InputError(`${this.source}: unknown block ${file}`);
      }
    }
  }
}

function readClip(clip, prefix, blocks, figure, source) {
  const dims = {...figure};
  const roots = blocks.take(`${prefix}/root_translations`, ["f32"], "T 3", dims);
  const quats = blocks.take(`${prefix}/quats`, ["f32"], "T J 4", dims);
  const moving = blocks.take(`${prefix}/moving`, ["u32"], "M", dims);
  for (let m = 0; m < moving.length; m++) {
    if (moving[m] >= figure.N || (m && moving[m] <= moving[m - 1])) {
      throw new InputError(`${source}: ${prefix}/moving must be ascending rows below ${figure.N}`);
    }
  }
  checkFinite(roots, LIMITS.METRES, `${source}: ${prefix}/root_translations`);
  for (let q = 0; q < quats.length; q += 4) {
    // Also where one is NaN.
    if (!(Math.abs(Math.hypot(quats[q], quats[q + 1], quats[q + 2], quats[q + 3]) - 1) <= 1e-3)) {
      throw new InputError(`${source}: ${prefix}/quats holds a rotation that is not a unit quaternion`);
    }
  }
  const groups = {};
  for (const group of GROUPS) groups[group] = readTexture(blocks, `${prefix}/${group}`, group, dims, source);
  const motion = {fps: clip.fps, frames: dims.T, roots, quats};
  return {name: clip.name, ...motion, looping: loopOf(motion), moving, groups};
}

/** One channel group: `mean + sum_k coefficients[t, k] scales[k] texels[k]`, dense where coefficients is null. */
function readTexture(blocks, prefix, group, clipDims, source) {
  const dims = {T: clipDims.T, M: clipDims.M};
  const dense = !blocks.has(`${prefix}/coefficients`);
  if (dense) dims.K = dims.T;
  const mean = blocks.take(`${prefix}/mean`, [GROUP_MEANS[group]], "M 3", dims);
  const texels = blocks.take(`${prefix}/texels`, ["i8", "i16"], "K M 3", dims);
  const scales = blocks.take(`${prefix}/texel_scales`, ["f32"], "K 3", dims);
  const coefficients = dense ? null : blocks.take(`${prefix}/coefficients`, ["f32"], "T K", dims);
  for (const values of [mean, scales, coefficients ?? []]) checkFinite(values, LIMITS.METRES, `${source}: ${prefix}`);
  return {mean, texels, scales, coefficients, layers: dims.K};
}

function gaussiansOf(raw, count, source) {
  const means = raw["gaussians/means"];
  const logScales = raw["gaussians/log_scales"];
  const sh0 = raw["gaussians/sh0"];
  checkFinite(means, LIMITS.METRES, `${source}: gaussians/means`);
  checkFinite(logScales, 30, `${source}: gaussians/log_scales`);
  checkFinite(raw["gaussians/opacity_logits"], 30, `${source}: gaussians/opacity_logits`);
  checkFinite(sh0, 100, `${source}: gaussians/sh0`);
  const stored = raw["gaussians/quats"];
  const quats = new Float32Array(4 * count);
  for (let n = 0; n < count; n++) {
    const norm = Math.hypot(stored[4 * n], stored[4 * n + 1], stored[4 * n + 2], stored[4 * n + 3]);
    if (Math.abs(norm - QUAT_ONE) > 2) throw new InputError(`${source}: gaussians/quats row ${n} is not unit`);
    for (let c = 0; c < 4; c++) quats[4 * n + c] = stored[4 * n + c] / norm;
  }
  const opacities = raw["gaussians/opacity_logits"].map((logit) => 1 / (1 + Math.exp(-logit)));
  const colors = sh0.map((value) => Math.max(0.5 + SH_C0 * value, 0));
  return {count, means, quats, logScales, opacities, colors, labels: raw["gaussians/labels"]};
}

function rigOf(raw, {J, N, W}, source) {
  const parents = raw["rig/parents"];
  const joints = raw["rig/skin_joints"];
  const weights = raw["rig/skin_weights"];
  checkFinite(raw["rig/rest"], LIMITS.METRES, `${source}: rig/rest`);
  for (let j = 0; j < J; j++) {
    if (!isInvertible(raw["rig/rest"].subarray(16 * j, 16 * j + 16))) {
      throw new InputError(`${source}: rig/rest holds a matrix that is not an invertible affine transform`);
    }
    if (j ? parents[j] < 0 || parents[j] >= j : parents[j] !== -1) {
      throw new InputError(`${source}: rig/parents must have one root, first, and parents before children`);
    }
  }
  for (let n = 0; n < N; n++) {
    let sum = 0;
    for (let w = 0; w < W; w++) {
      sum += weights[n * W + w];
      if (joints[n * W + w] >= J) throw new InputError(`${source}: rig/skin_joints row ${n} names no joint`);
    }
    if (sum !== WEIGHT_ONE) throw new InputError(`${source}: rig/skin_weights row ${n} does not sum to 1`);
  }
  return {joints: J, influences: W, parents, rest: raw["rig/rest"], skinJoints: joints, skinWeights: weights};
}

function isInvertible([a, b, c, , d, e, f, , g, h, i, , ...last]) {
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return Math.abs(determinant) >= 1e-6 && last.every((value, k) => value === (k === 3 ? 1 : 0));
}

function checkFinite(values, limit, what) {
  for (let i = 0; i < values.length; i++) {
    if (!(Math.abs(values[i]) <= limit)) throw new InputError(`${what} holds NaN or a value beyond ${limit}`);
  }
}

function inRange(value, low, high) {
  return typeof value === "number" && value >= low && value <= high;
}

/** IEEE half, as bits, to a number. */
export function halfToFloat(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
