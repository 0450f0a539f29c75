import { SplatGenerator, SplatTransformer, dyno } from "@sparkjsdev/spark";
import * as THREE from "three";
const SH_C0 = 0.28209479177387814;
const WEIGHT_ONE = 32768;
const QUAT_ONE = 32767;
const SPLAT = { EPS_2D: 0.3, ALPHA_MIN: 1 / 255 };
const LOOP = { SEAM_TOLERANCE: 2, FADE_S: 0.25 };
const LIMITS = {
  ENTRIES: 1024,
  ENTRY_BYTES: 2 ** 30,
  TOTAL_BYTES: 2 ** 31,
  FREE_BYTES: 64 * 2 ** 20,
  RATIO: 100,
  MANIFEST_BYTES: 2 ** 20,
  N: 4e6,
  J: 256,
  W: 16,
  T: 1e5,
  M: 4e6,
  K: 1e5,
  CLIPS: 64,
  METRES: 1e4
};
const VERSION = 1;
class InputError extends Error {
}
const NAME = /^[a-z0-9_]{1,40}(\/[a-z0-9_]{1,40}){0,3}\.[a-z0-9]{1,8}$/;
const LOCAL_BYTES = 30;
const ENTRY_BYTES = 46;
const END_BYTES = 22;
async function readArchive(bytes, source) {
  const entries = directory(bytes, source);
  const contents = /* @__PURE__ */ new Map();
  await Promise.all(entries.map(async (entry) => contents.set(entry.name, await inflate(bytes, entry, source))));
  return contents;
}
function directory(bytes, source) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length - END_BYTES;
  if (end < 0 || view.getUint32(0, true) !== 67324752) {
    throw new InputError(`${source}: is not an ani3d bundle (a zip); give a file made by ani3d bake`);
  }
  if (view.getUint32(end, true) !== 101010256 || view.getUint16(end + 20, true)) {
    throw new InputError(`${source}: is cut off, or has bytes after its end; copy it again`);
  }
  const count = view.getUint16(end + 10, true);
  const start = view.getUint32(end + 16, true);
  if (count > LIMITS.ENTRIES || start + view.getUint32(end + 12, true) !== end) {
    throw new InputError(`${source}: has bytes that belong to no entry, or too many entries`);
  }
  const entries = [];
  let at = start;
  let position = 0;
  let total = 0;
  for (let i = 0; i < count; i++) {
    const entry = directoryEntry(view, at, end, source);
    if (entry.offset !== position || entries.some((other) => other.name === entry.name)) {
      throw new InputError(`${source}/${entry.name}: is not where the file's directory should have it`);
    }
    entry.data = position + LOCAL_BYTES + entry.name.length;
    position = entry.data + entry.stored;
    total += entry.size;
    at += ENTRY_BYTES + entry.name.length;
    entries.push(entry);
  }
  if (position !== start || at !== end) throw new InputError(`${source}: has bytes that belong to no entry`);
  if (total > Math.min(LIMITS.TOTAL_BYTES, LIMITS.FREE_BYTES + LIMITS.RATIO * bytes.length)) {
    throw new InputError(`${source}: would inflate from ${bytes.length} to ${total} bytes; refused`);
  }
  return entries;
}
function directoryEntry(view, at, end, source) {
  if (at + ENTRY_BYTES > end || view.getUint32(at, true) !== 33639248) {
    throw new InputError(`${source}: its directory is damaged; copy it again`);
  }
  const nameBytes = view.getUint16(at + 28, true);
  let name = "";
  for (let i = 0; i < nameBytes && at + ENTRY_BYTES + i < end; i++) {
    name += String.fromCharCode(view.getUint8(at + ENTRY_BYTES + i));
  }
  const entry = {
    name,
    method: view.getUint16(at + 10, true),
    crc: view.getUint32(at + 16, true),
    stored: view.getUint32(at + 20, true),
    size: view.getUint32(at + 24, true),
    offset: view.getUint32(at + 42, true)
  };
  const flags = view.getUint16(at + 8, true) | view.getUint16(at + 30, true) | view.getUint16(at + 32, true);
  if (!NAME.test(name) || flags || entry.method !== 0 && entry.method !== 8 || entry.size > LIMITS.ENTRY_BYTES) {
    throw new InputError(`${source}: entry ${JSON.stringify(name.slice(0, 80))} is not one a bundle may have`);
  }
  return entry;
}
async function inflate(bytes, entry, source) {
  const stored = bytes.subarray(entry.data, entry.data + entry.stored);
  const content = entry.method === 0 ? stored.slice() : await inflateRaw(stored, entry, source);
  if (content.length !== entry.size || crc32(content) !== entry.crc) {
    throw new InputError(`${source}/${entry.name}: is damaged; copy the file again`);
  }
  return content;
}
async function inflateRaw(stored, entry, source) {
  const content = new Uint8Array(entry.size);
  const reader = new Blob([stored]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  let filled = 0;
  try {
    for (; ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (filled + value.length > entry.size) throw new Error("larger than its header says");
      content.set(value, filled);
      filled += value.length;
    }
  } catch (error) {
    reader.cancel().catch(() => {
    });
    throw new InputError(`${source}/${entry.name}: is damaged (${error.message}); copy the file again`);
  }
  return filled === entry.size ? content : content.subarray(0, filled);
}
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 3988292384 ^ n >>> 1 : n >>> 1;
  return n >>> 0;
});
function crc32(bytes) {
  let crc = 4294967295;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 255] ^ crc >>> 8;
  return (crc ^ 4294967295) >>> 0;
}
function loopOf({ frames, fps, roots, quats }) {
  if (frames < 3) return { period: frames, fade: 0, closed: false, travel: [0, 0] };
  const last = frames - 1;
  const width = quats.length / frames;
  const turn = (from, to) => {
    let least = 1;
    for (let q = 0; q < width; q += 4) {
      let dot = 0;
      for (let c = q; c < q + 4; c++) dot += quats[from * width + c] * quats[to * width + c];
      least = Math.min(least, Math.abs(dot));
    }
    return 2 * Math.acos(least);
  };
  const rise = (from, to) => Math.abs(roots[3 * to + 1] - roots[3 * from + 1]);
  let [fastestTurn, fastestRise] = [0, 0];
  for (let t = 0; t < last; t++) {
    fastestTurn = Math.max(fastestTurn, turn(t, t + 1));
    fastestRise = Math.max(fastestRise, rise(t, t + 1));
  }
  const closed = turn(last, 0) <= LOOP.SEAM_TOLERANCE * fastestTurn + 1e-3 && rise(last, 0) <= LOOP.SEAM_TOLERANCE * fastestRise + 1e-3;
  const fade = closed ? 0 : Math.min(roundHalfEven(LOOP.FADE_S * fps), Math.floor(frames / 3));
  const period = frames - fade;
  const [end, share] = closed ? [last, frames / last] : [fade ? period : 0, 1];
  return { period, fade, closed, travel: [0, 2].map((c) => share * (roots[3 * end + c] - roots[c])) };
}
function layersAt(clip, seconds, { loop = true, backwards = false } = {}) {
  const { period, fade, closed, travel } = clip.looping;
  const last = clip.frames - 1;
  let frame = seconds * clip.fps;
  if (Math.abs(frame - Math.round(frame)) < 1e-6) frame = Math.round(frame);
  if (!loop) return [layer(Math.min(Math.max(frame, 0), last), last)];
  const begun = !backwards && frame >= 0 && frame < fade;
  const turns = begun ? 0 : Math.floor((frame - fade) / period);
  const place = frame - turns * period;
  const offset = travel.map((way) => turns * way);
  const next = travel.map((way) => (turns + 1) * way);
  if (closed && place > last) {
    return [{ before: last, after: 0, weight: place - last, share: 1, beforeOffset: offset, afterOffset: next }];
  }
  const lower = layer(Math.min(place, last), last, offset);
  if (place < period || fade === 0) return [lower];
  const head = place - period;
  const share = Math.min(Math.max(head / fade, 0), 1);
  return [lower, { ...layer(head, last, next), share: share * share * (3 - 2 * share) }];
}
function layer(frame, last, offset = [0, 0]) {
  const before = Math.min(Math.floor(frame), last);
  return {
    before,
    after: Math.min(before + 1, last),
    weight: frame - before,
    share: 1,
    beforeOffset: offset,
    afterOffset: offset
  };
}
function roundHalfEven(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + below % 2 : Math.round(value);
}
const ARRAYS = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f16: Uint16Array,
  f32: Float32Array,
  f64: Float64Array
};
const FIGURE = {
  "gaussians/means": ["f32", "N 3"],
  "gaussians/quats": ["i16", "N 4"],
  "gaussians/log_scales": ["f16", "N 3"],
  "gaussians/opacity_logits": ["f16", "N"],
  "gaussians/sh0": ["f16", "N 3"],
  "gaussians/labels": ["u8", "N"],
  "rig/parents": ["i32", "J"],
  "rig/rest": ["f64", "J 4 4"],
  "rig/skin_joints": ["u8", "N W"],
  "rig/skin_weights": ["u16", "N W"]
};
const GROUP_MEANS = { d_means: "f32", d_rotations: "f16", d_log_scales: "f16" };
const GROUPS = Object.keys(GROUP_MEANS);
async function readBundle(bytes, source) {
  const contents = await readArchive(bytes, source);
  const manifest = parseManifest(contents.get("manifest.json"), source);
  const blocks = new Blocks(manifest, contents, source);
  const dims = { J: manifest.joint_names.length };
  const raw = {};
  for (const [name, [type, shape]] of Object.entries(FIGURE)) raw[name] = blocks.take(name, [type], shape, dims);
  const clips = manifest.clips.map((clip, index) => readClip(clip, `clip${index}`, blocks, dims, source));
  blocks.checkAllTaken();
  return {
    name: manifest.name,
    licence: manifest.source_licence,
    jointNames: manifest.joint_names,
    clips,
    gaussians: gaussiansOf(raw, dims.N, source),
    rig: rigOf(raw, dims, source)
  };
}
function parseManifest(content, source) {
  if (content?.length > LIMITS.MANIFEST_BYTES) {
    throw new InputError(`${source}/manifest.json: larger than ${LIMITS.MANIFEST_BYTES} bytes`);
  }
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content));
  } catch (error) {
    throw new InputError(`${source}/manifest.json: is missing or is not JSON; give a file made by ani3d bake`);
  }
  if (manifest?.format !== "ani3d") throw new InputError(`${source}/manifest.json: is not an ani3d manifest`);
  if (manifest.version !== VERSION) {
    const version = String(manifest.version).slice(0, 20);
    throw new InputError(`${source}/manifest.json: version ${version}, this player knows ${VERSION}; export the player again with the ani3d that made the file`);
  }
  const { joint_names: joints, clips, blocks } = manifest;
  if (!Array.isArray(joints) || !inRange(joints.length, 1, LIMITS.J) || !Array.isArray(clips) || !inRange(clips.length, 1, LIMITS.CLIPS) || typeof blocks !== "object" || blocks === null || !clips.every((clip) => typeof clip?.name === "string" && inRange(clip.fps, 0.1, 1e3))) {
    throw new InputError(`${source}/manifest.json: its joints, clips or blocks are not usable`);
  }
  return manifest;
}
class Blocks {
  constructor(manifest, contents, source) {
    Object.assign(this, { lines: manifest.blocks, contents, source, taken: /* @__PURE__ */ new Set(["manifest.json"]) });
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
      if (!this.taken.has(file) && !file.startsWith("pose/")) {
        throw new InputError(`${this.source}: unknown block ${file}`);
      }
    }
  }
}
function readClip(clip, prefix, blocks, figure, source) {
  const dims = { ...figure };
  const roots = blocks.take(`${prefix}/root_translations`, ["f32"], "T 3", dims);
  const quats = blocks.take(`${prefix}/quats`, ["f32"], "T J 4", dims);
  const moving = blocks.take(`${prefix}/moving`, ["u32"], "M", dims);
  for (let m = 0; m < moving.length; m++) {
    if (moving[m] >= figure.N || m && moving[m] <= moving[m - 1]) {
      throw new InputError(`${source}: ${prefix}/moving must be ascending rows below ${figure.N}`);
    }
  }
  checkFinite(roots, LIMITS.METRES, `${source}: ${prefix}/root_translations`);
  for (let q = 0; q < quats.length; q += 4) {
    if (!(Math.abs(Math.hypot(quats[q], quats[q + 1], quats[q + 2], quats[q + 3]) - 1) <= 1e-3)) {
      throw new InputError(`${source}: ${prefix}/quats holds a rotation that is not a unit quaternion`);
    }
  }
  const groups = {};
  for (const group of GROUPS) groups[group] = readTexture(blocks, `${prefix}/${group}`, group, dims, source);
  const motion = { fps: clip.fps, frames: dims.T, roots, quats };
  return { name: clip.name, ...motion, looping: loopOf(motion), moving, groups };
}
function readTexture(blocks, prefix, group, clipDims, source) {
  const dims = { T: clipDims.T, M: clipDims.M };
  const dense = !blocks.has(`${prefix}/coefficients`);
  if (dense) dims.K = dims.T;
  const mean = blocks.take(`${prefix}/mean`, [GROUP_MEANS[group]], "M 3", dims);
  const texels = blocks.take(`${prefix}/texels`, ["i8", "i16"], "K M 3", dims);
  const scales = blocks.take(`${prefix}/texel_scales`, ["f32"], "K 3", dims);
  const coefficients = dense ? null : blocks.take(`${prefix}/coefficients`, ["f32"], "T K", dims);
  for (const values of [mean, scales, coefficients ?? []]) checkFinite(values, LIMITS.METRES, `${source}: ${prefix}`);
  return { mean, texels, scales, coefficients, layers: dims.K };
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
  return { count, means, quats, logScales, opacities, colors, labels: raw["gaussians/labels"] };
}
function rigOf(raw, { J, N, W }, source) {
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
  return { joints: J, influences: W, parents, rest: raw["rig/rest"], skinJoints: joints, skinWeights: weights };
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
function halfToFloat(bits) {
  const sign = bits & 32768 ? -1 : 1;
  const exponent = bits >> 10 & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
function jointLocals(rig, clip, layers, rootMotion = true) {
  const locals = new Float64Array(12 * rig.joints);
  for (let j = 0; j < rig.joints; j++) {
    const parent = rig.parents[j];
    const rest = rig.rest.subarray(16 * j, 16 * j + 12);
    const local = parent < 0 ? Float64Array.from(rest) : multiply(inverse(rig.rest.subarray(16 * parent, 16 * parent + 12)), rest);
    const turned = multiply(local, rotation(jointRotation(rig, clip, layers, j)));
    if (j === 0) {
      const root = mixAlong(clip.roots, layers);
      for (const c of rootMotion ? [0, 1, 2] : [1]) turned[4 * c + 3] += root[c];
    }
    locals.set(turned, 12 * j);
  }
  return locals;
}
function jointRotation(rig, clip, layers, j) {
  const stored = (frame) => clip.quats.subarray(4 * (frame * rig.joints + j), 4 * (frame * rig.joints + j) + 4);
  const [lower, upper] = layers.map(({ before, after, weight }) => slerp(stored(before), stored(after), weight));
  return upper ? slerp(lower, upper, layers[1].share) : lower;
}
function mixAlong(points, layers) {
  const of = (frame, [x, z]) => [points[3 * frame] + x, points[3 * frame + 1], points[3 * frame + 2] + z];
  const blend = (a, b, weight) => a.map((value, c) => (1 - weight) * value + weight * b[c]);
  const [lower, upper] = layers.map(({ before, after, weight, beforeOffset, afterOffset }) => blend(of(before, beforeOffset), of(after, afterOffset), weight));
  return upper ? blend(lower, upper, layers[1].share) : lower;
}
function skinFromLocals(rig, locals) {
  const world = new Float64Array(12 * rig.joints);
  const matrices = new Float64Array(12 * rig.joints);
  for (let j = 0; j < rig.joints; j++) {
    const local = locals.subarray(12 * j, 12 * j + 12);
    const parent = rig.parents[j];
    const joint = parent < 0 ? local : multiply(world.subarray(12 * parent, 12 * parent + 12), local);
    world.set(joint, 12 * j);
    matrices.set(multiply(joint, inverse(rig.rest.subarray(16 * j, 16 * j + 12))), 12 * j);
  }
  return matrices;
}
function residualSteps(clip, layers) {
  const { d_means: means, d_rotations: rotations, d_log_scales: scales } = clip.groups;
  const [lower, upper = { weight: 0, share: 0 }] = layers;
  const frames = layers.flatMap(({ before, after, weight }, index) => {
    const part = index ? upper.share : 1 - upper.share;
    return [[before, part * (1 - weight)], [after, part * weight]];
  });
  const turned = [0, 1].flatMap((index) => {
    if (!layers[index]) return [[], []];
    const { before, after, weight } = layers[index];
    return [[[before, 1]], weight > 0 ? [[after, 1]] : []];
  });
  return {
    turns: [lower.weight, upper.weight, upper.share],
    lists: [steps(means, frames), ...turned.map((each) => steps(rotations, each)), steps(scales, frames)]
  };
}
function steps({ scales, coefficients, layers }, frames) {
  const rows = [];
  const add = (layer2, factor) => {
    if (factor !== 0) rows.push(...[0, 1, 2].map((c) => factor * scales[3 * layer2 + c]), layer2);
  };
  if (coefficients === null) {
    for (const [frame, factor] of frames) add(frame, factor);
  } else if (frames.length) {
    for (let k = 0; k < layers; k++) {
      add(k, Math.fround(frames.reduce((sum, [frame, factor]) => sum + factor * coefficients[frame * layers + k], 0)));
    }
  }
  return Float32Array.from(rows);
}
function levelGrowth(gaussians) {
  const { count, logScales, opacities } = gaussians;
  const sums = new Float64Array(count + 1);
  for (let n = 0; n < count; n++) {
    const [x, y, z] = [logScales[3 * n], logScales[3 * n + 1], logScales[3 * n + 2]];
    const area = Math.exp(Math.min(x + y + z - Math.min(x, y, z), 50));
    sums[n + 1] = sums[n] + area * opacities[n];
  }
  return (n) => Math.log(Math.max(Math.min(sums[count] / Math.max(sums[n], 1e-300), count / n), 1)) / 3;
}
function slerp(from, to, weight) {
  const p = Array.from(from);
  if (weight === 0) return p;
  const q = Array.from(to);
  let dot = p[0] * q[0] + p[1] * q[1] + p[2] * q[2] + p[3] * q[3];
  const sign = dot < 0 ? -1 : 1;
  const sine = Math.hypot(...p.map((value, c) => sign * q[c] - dot * sign * value));
  const angle = Math.atan2(sine, dot * sign);
  const [u, v] = sine < 1e-9 ? [1 - weight, weight] : [Math.sin((1 - weight) * angle) / sine, Math.sin(weight * angle) / sine];
  return p.map((value, c) => u * value + sign * v * q[c]);
}
function rotation([w, x, y, z]) {
  return Float64Array.of(
    1 - 2 * (y * y + z * z),
    2 * (x * y - w * z),
    2 * (x * z + w * y),
    0,
    2 * (x * y + w * z),
    1 - 2 * (x * x + z * z),
    2 * (y * z - w * x),
    0,
    2 * (x * z - w * y),
    2 * (y * z + w * x),
    1 - 2 * (x * x + y * y),
    0
  );
}
function multiply(a, b) {
  const out = new Float64Array(12);
  for (let r = 0; r < 12; r += 4) {
    for (let c = 0; c < 4; c++) out[r + c] = a[r] * b[c] + a[r + 1] * b[4 + c] + a[r + 2] * b[8 + c];
    out[r + 3] += a[r + 3];
  }
  return out;
}
function inverse(m) {
  const [a, b, c, , d, e, f, , g, h, i] = m;
  const rows = [
    e * i - f * h,
    c * h - b * i,
    b * f - c * e,
    f * g - d * i,
    a * i - c * g,
    c * d - a * f,
    d * h - e * g,
    b * g - a * h,
    a * e - b * d
  ];
  const determinant = a * rows[0] + b * rows[3] + c * rows[6];
  const out = new Float64Array(12);
  for (let r = 0; r < 3; r++) {
    for (let k = 0; k < 3; k++) out[4 * r + k] = rows[3 * r + k] / determinant;
    out[4 * r + 3] = -(out[4 * r] * m[3] + out[4 * r + 1] * m[7] + out[4 * r + 2] * m[11]);
  }
  return out;
}
const WIDTH = 1024;
function shaderHead(texelWidth, more = {}) {
  const float = (value) => Number.isInteger(value) ? value.toFixed(1) : value;
  return Object.entries({ ...more, WEIGHT_ONE }).map(([name, value]) => `#define ${name} ${float(value)}
`).join("") + `#define WIDTH ${WIDTH}
#define TEXEL_WIDTH ${texelWidth}
`;
}
function figureTables({ count, means, quats, logScales, opacities, colors }, { skinJoints, skinWeights }) {
  const skin = new Uint32Array(skinJoints.length);
  for (let i = 0; i < skin.length; i++) skin[i] = skinJoints[i] << 16 | skinWeights[i];
  const rgba = Float32Array.from({ length: 4 * count }, (_, i) => i % 4 === 3 ? opacities[i >> 2] : colors[3 * (i >> 2) + i % 4]);
  return {
    u_means: ["f3", means],
    u_quats: ["f4", quats],
    u_log_scales: ["f3", logScales],
    u_skin: ["u1", skin],
    u_colors: ["f4", rgba]
  };
}
function clipTables({ moving, groups }, count) {
  const rows = new Int32Array(count).fill(-1);
  moving.forEach((n, row) => rows[n] = row);
  const means = new Float32Array(9 * Math.max(moving.length, 1));
  const tables = { u_moving: ["i1", rows], u_group_means: ["f3", means] };
  GROUPS.forEach((group, g) => {
    const { mean, texels } = groups[group];
    means.set(mean, 3 * moving.length * g);
    tables[`u_texels_${group.split("_").at(-1)}`] = [texels instanceof Int8Array ? "b3" : "s3", texels];
  });
  return tables;
}
function frameTables(matrices, { lists }, room = 4) {
  const joined = new Float32Array(Math.max(lists.reduce((sum, list) => sum + list.length, 0), room));
  let end = 0;
  const ends = lists.map((list) => {
    joined.set(list, end);
    end += list.length;
    return end / 4;
  });
  return { tables: { u_steps: ["f4", joined], u_joints: ["f4", Float32Array.from(matrices)] }, ends };
}
const poseShader = "// A Gaussian at a moment: residual, then skin; the numpy reference is runtime/skinning.py. What it reads is made by\n// pose_textures.js; WIDTH, TEXEL_WIDTH and WEIGHT_ONE are defined when it is loaded.\nuniform sampler2D u_means;        // rest centre\nuniform sampler2D u_quats;        // rest orientation wxyz\nuniform sampler2D u_log_scales;\nuniform isampler2D u_moving;      // row of the residual, -1 where rigid\nuniform usampler2D u_skin;        // W a Gaussian: joint << 16 | weight\nuniform sampler2D u_joints;       // three rows of each joint's matrix\nuniform sampler2D u_group_means;  // M of d_means, of d_rotations, of d_log_scales\nuniform isampler2D u_texels_means;\nuniform isampler2D u_texels_rotations;\nuniform isampler2D u_texels_scales;\nuniform sampler2D u_steps;        // (x, y, z, layer), six lists one after the other\nuniform int u_list_ends[6];       // centres; rotations of two layers, before and after; log scales\nuniform int u_moving_count;       // M; 0 switches the residual off\nuniform int u_influences;\nuniform vec3 u_turns;             // between the rotations of the lower layer, of the upper, between the layers\nuniform float u_growth;           // of the two larger log scales: level of detail\n\nivec2 texel_of(int index) { return ivec2(index % WIDTH, index / WIDTH); }\n\nvec3 residual_sum(int list, int group, int row, isampler2D texels) {\n  vec3 value = texelFetch(u_group_means, texel_of(group * u_moving_count + row), 0).xyz;\n  for (int i = list == 0 ? 0 : u_list_ends[list - 1]; i < u_list_ends[list]; i++) {\n    vec4 s = texelFetch(u_steps, texel_of(i), 0);\n    int index = int(s.w) * u_moving_count + row;\n    value += s.xyz * vec3(texelFetch(texels, ivec2(index % TEXEL_WIDTH, index / TEXEL_WIDTH), 0).xyz);\n  }\n  return value;\n}\n\nvec4 multiply(vec4 a, vec4 b) {  // quaternions wxyz: b, then a\n  return vec4(a.x * b.x - dot(a.yzw, b.yzw), a.x * b.yzw + b.x * a.yzw + cross(a.yzw, b.yzw));\n}\n\nvec4 from_rotvec(vec3 v) {\n  float angle = length(v);\n  float sinc = angle < 1e-4 ? 0.5 - angle * angle / 48.0 : sin(0.5 * angle) / angle;\n  return vec4(cos(0.5 * angle), sinc * v);\n}\n\nvec4 slerp_wxyz(vec4 a, vec4 b, float weight) {\n  vec4 q = multiply(b, vec4(a.x, -a.yzw));\n  if (q.x < 0.0) q = -q;\n  float sine = length(q.yzw);\n  float angle = 2.0 * atan(sine, q.x);\n  vec3 v = q.yzw * (sine > 1e-8 ? angle / sine : 2.0);\n  return multiply(from_rotvec(weight * v), a);\n}\n\n// A layer's rotation: of the list of its frame before towards the next list, of the one after.\nvec4 residual_turn(int list, int row, float weight) {\n  vec4 turn = from_rotvec(residual_sum(list, 1, row, u_texels_rotations));\n  if (weight > 0.0) turn = slerp_wxyz(turn, from_rotvec(residual_sum(list + 1, 1, row, u_texels_rotations)), weight);\n  return turn;\n}\n\nmat3 to_matrix(vec4 q) {\n  float w = q.x, x = q.y, y = q.z, z = q.w;\n  return mat3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),\n              2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),\n              2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));\n}\n\n// The unit quaternion q that maximises tr(R(q)^T m) = q^T A q (Horn 1987): A, shifted to be positive, is squared until\n// it is of rank one; its columns are then multiples of q (runtime/fast_skinning.py).\nvec4 nearest_quaternion(mat3 m) {\n  float shift = sqrt((dot(m[0], m[0]) + dot(m[1], m[1]) + dot(m[2], m[2])) / 3.0);\n  if (shift < 1e-12) return vec4(1.0, 0.0, 0.0, 0.0);\n  float p01 = m[1][2] - m[2][1], p02 = m[2][0] - m[0][2], p03 = m[0][1] - m[1][0];\n  float p12 = m[1][0] + m[0][1], p13 = m[2][0] + m[0][2], p23 = m[2][1] + m[1][2];\n  mat4 p = mat4(m[0][0] + m[1][1] + m[2][2] + shift, p01, p02, p03,\n                p01, m[0][0] - m[1][1] - m[2][2] + shift, p12, p13,\n                p02, p12, m[1][1] - m[0][0] - m[2][2] + shift, p23,\n                p03, p13, p23, m[2][2] - m[0][0] - m[1][1] + shift);\n  for (int i = 0; i < 24; i++) {\n    float trace = p[0][0] + p[1][1] + p[2][2] + p[3][3];\n    mat4 s = p * p;\n    float square = s[0][0] + s[1][1] + s[2][2] + s[3][3];\n    p = s / square;\n    // Only a square has no negative eigenvalues, for which equality means rank one.\n    if (i > 0 && square > trace * trace * (1.0 - 1e-7)) break;\n  }\n  vec4 q = p[0];\n  float best = p[0][0];\n  for (int c = 1; c < 4; c++) {\n    if (p[c][c] > best) { best = p[c][c]; q = p[c]; }\n  }\n  return normalize(q.x < 0.0 ? -q : q);\n}\n\n// The posed Gaussian in row n: centre [m], orientation wxyz, standard deviations [m].\nvoid pose_gaussian(int n, out vec3 center, out vec4 quat, out vec3 scale) {\n  vec3 mean = texelFetch(u_means, texel_of(n), 0).xyz;\n  quat = texelFetch(u_quats, texel_of(n), 0);\n  vec3 log_scale = texelFetch(u_log_scales, texel_of(n), 0).xyz;\n  // 1. Level of detail: the thinnest direction (of the rest pose) does not grow.\n  float least = min(log_scale.x, min(log_scale.y, log_scale.z));\n  int thinnest = log_scale.x == least ? 0 : log_scale.y == least ? 1 : 2;\n  log_scale += u_growth * vec3(notEqual(ivec3(thinnest), ivec3(0, 1, 2)));\n  // 2. Residual, in the rest pose.\n  int row = texelFetch(u_moving, texel_of(n), 0).x;\n  if (row >= 0 && u_moving_count > 0) {\n    mean += residual_sum(0, 0, row, u_texels_means);\n    vec4 turn = residual_turn(1, row, u_turns.x);\n    if (u_turns.z > 0.0) turn = slerp_wxyz(turn, residual_turn(3, row, u_turns.y), u_turns.z);\n    quat = multiply(turn, quat);\n    log_scale += residual_sum(5, 2, row, u_texels_scales);\n  }\n  // 3. Linear blend skinning; orientation by the nearest rotation of the blend.\n  vec4 row0 = vec4(0.0), row1 = vec4(0.0), row2 = vec4(0.0);\n  for (int w = 0; w < u_influences; w++) {\n    uint packed_skin = texelFetch(u_skin, texel_of(n * u_influences + w), 0).x;\n    float weight = float(packed_skin & 0xffffu) / WEIGHT_ONE;\n    int joint = 3 * int(packed_skin >> 16);\n    row0 += weight * texelFetch(u_joints, texel_of(joint), 0);\n    row1 += weight * texelFetch(u_joints, texel_of(joint + 1), 0);\n    row2 += weight * texelFetch(u_joints, texel_of(joint + 2), 0);\n  }\n  vec4 point = vec4(mean, 1.0);\n  center = vec3(dot(row0, point), dot(row1, point), dot(row2, point));\n  mat3 blended = transpose(mat3(row0.xyz, row1.xyz, row2.xyz));\n  quat = multiply(nearest_quaternion(blended), quat);\n  scale = exp(log_scale);\n}\n";
const SPARK_SETTINGS = Object.freeze({
  accumExtSplats: true,
  preBlurAmount: SPLAT.EPS_2D,
  blurAmount: 0,
  maxStdDev: Math.sqrt(-2 * Math.log(SPLAT.ALPHA_MIN)),
  minAlpha: SPLAT.ALPHA_MIN,
  sortRadial: false
});
const KINDS = {
  f: [THREE.FloatType, "32F"],
  i: [THREE.IntType, "32I"],
  u: [THREE.UnsignedIntType, "32UI"],
  b: [THREE.ByteType, "8I"],
  s: [THREE.ShortType, "16I"]
};
const TEXEL_WIDTH = 4096;
const LONGEST_STEP = 0.25;
class Ani3D extends SplatGenerator {
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
    super({ numSplats: bundle.gaussians.count, update: () => this._show() });
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
    this.bones = bundle.jointNames.map((name) => Object.assign(new THREE.Bone(), { name }));
    this.bones.forEach((bone, j) => (j ? this.bones[bundle.rig.parents[j]] : this).add(bone));
    this._growth = levelGrowth(bundle.gaussians);
    this._transformer = new SplatTransformer();
    this._uniforms = {
      u_list_ends: { value: Array(6).fill(0) },
      u_moving_count: { value: 0 },
      u_turns: { value: [0, 0, 0] },
      u_influences: { value: bundle.rig.influences },
      u_growth: { value: 0 },
      u_opacity: { value: 1 }
    };
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
    const clip = this.bundle.clips.find((each) => each.name === which) ?? this.bundle.clips.find((_, index) => String(index) === String(which));
    if (!clip) throw new InputError(`${this.name}: has no clip ${which}; its clips are ${this.clips.join(", ")}`);
    this._clip = clip;
    this.time = 0;
    const shown = clip.looping.fade ? 4 : 2;
    const steps2 = Object.entries(clip.groups).map(([group, { coefficients, layers }]) => coefficients ? layers * (group === "d_rotations" ? shown : 1) : shown);
    this._room = 4 * Math.max(steps2.reduce((sum, count) => sum + count, 0), 1);
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
      if (!this.loop) this.time = Math.min(Math.max(this.time, 0), (this._clip.frames - 1) / this._clip.fps);
    }
    const posed = [this.time, this.loop, this.speed < 0, this.rootMotion];
    if (this.onpose || !this._posed?.every((value, i) => value === posed[i])) this._pose();
  }
  /** three.js asks this before it draws, and Spark again: bones and what hangs on them are of the splats' moment. */
  updateMatrixWorld(force) {
    const now = performance.now();
    if (this.autoUpdate && this._clip && !(now - this._last < 2)) {
      const passed = this._last === void 0 ? 0 : Math.min((now - this._last) / 1e3, LONGEST_STEP);
      this._last = now;
      this.update(passed);
    }
    super.updateMatrixWorld(force);
  }
  /** Leave the scene and free the memory on the GPU. */
  dispose() {
    this.removeFromParent();
    for (const { value } of Object.values(this._uniforms)) value?.isTexture && value.dispose();
  }
  /** The bones of the moment, and from them, as they are after `onpose`, the skin. */
  _pose() {
    const { rig } = this.bundle;
    const layers = layersAt(this._clip, this.time, { loop: this.loop, backwards: this.speed < 0 });
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
    this._moment = { matrices: skinFromLocals(rig, locals), steps: residualSteps(this._clip, layers) };
  }
  /** Spark is about to draw: give the GPU what has changed. */
  _show() {
    const moved = this._transformer.update(this);
    const seen = [this._moment, this.residual, this.opacity, this.numSplats];
    if (!moved && this._seen?.every((value, i) => value === seen[i])) return;
    this._seen = seen;
    const { matrices, steps: steps2 } = this._moment;
    const { tables, ends } = frameTables(matrices, steps2, this._room);
    this._upload(tables);
    const set = {
      u_list_ends: ends,
      u_moving_count: this.residual ? this._clip.moving.length : 0,
      u_turns: steps2.turns,
      u_growth: this._growth(this.numSplats),
      u_opacity: this.opacity
    };
    for (const [name, value] of Object.entries(set)) this._uniforms[name].value = value;
    this.updateVersion();
  }
  /** Tables of pose_textures.js as textures; one of an unchanged size is filled again. */
  _upload(tables) {
    for (const [name, [kind, values]] of Object.entries(tables)) {
      const uniform = this._uniforms[name] ??= { value: null };
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
  const format = single ? whole ? THREE.RedIntegerFormat : THREE.RedFormat : whole ? THREE.RGBAIntegerFormat : THREE.RGBAFormat;
  const texture = new THREE.DataTexture(data, width, rows, format, type);
  texture.internalFormat = (single ? "R" : "RGBA") + suffix;
  texture.userData.kind = kind;
  return texture;
}
function spread(values, channels, target, stored) {
  if (channels === stored) return target.set(values);
  for (let from = 0, to = 0; from < values.length; from += channels, to += stored) {
    for (let c = 0; c < channels; c++) target[to + c] = values[from + c];
  }
}
function generatorOf(uniforms, transformer) {
  const { Dyno, Gsplat, defineGsplat, dynoBlock } = dyno;
  return dynoBlock({ index: "int" }, { gsplat: Gsplat }, ({ index }) => {
    const pose = new Dyno({
      inTypes: { index: "int" },
      outTypes: { gsplat: Gsplat },
      inputs: { index },
      generate: ({ inputs, outputs: { gsplat } }) => ({
        uniforms,
        globals: [defineGsplat, `${shaderHead(TEXEL_WIDTH)}uniform sampler2D u_colors;
uniform float u_opacity;
` + poseShader],
        statements: [
          "vec4 quat_wxyz;",
          `pose_gaussian(${inputs.index}, ${gsplat}.center, quat_wxyz, ${gsplat}.scales);`,
          `${gsplat}.quaternion = quat_wxyz.yzwx;`,
          `${gsplat}.rgba = texelFetch(u_colors, texel_of(${inputs.index}), 0);`,
          `${gsplat}.rgba.a *= u_opacity;`,
          `${gsplat}.index = ${inputs.index};`,
          `${gsplat}.flags = GSPLAT_FLAG_ACTIVE;`
        ]
      })
    });
    return { gsplat: transformer.applyGsplat(pose.outputs.gsplat) };
  });
}
export {
  Ani3D,
  InputError,
  SPARK_SETTINGS
};
