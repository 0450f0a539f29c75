// A clip over time: the pose's skinning matrices and the residual's steps (runtime/player.py, skinning.py, offsets.py).
//
// 3x4 affine matrices are Float64Array rows of 12, row major. A *step* is (x, y, z, layer): the residual of a group is
// `mean + sum_i step_i.xyz * texels[step_i.layer]`, whether the texture is a basis or dense.
import {FRAMING} from "./constants.js";

/** `T_world_joint inverse(rest)` of every joint, of the layers (loop.js) of a moment: Float64Array [J 12]. */
export function skinningMatrices(rig, clip, layers) {
  return skinFromLocals(rig, jointLocals(rig, clip, layers));
}

/** Every joint relative to its parent, Float64Array [J 12]. Without `rootMotion` the root is above its rest place. */
export function jointLocals(rig, clip, layers, rootMotion = true) {
  const locals = new Float64Array(12 * rig.joints);
  for (let j = 0; j < rig.joints; j++) {
    const parent = rig.parents[j];
    const rest = rig.rest.subarray(16 * j, 16 * j + 12);
    const local = parent < 0 ? Float64Array.from(rest)
      : multiply(inverse(rig.rest.subarray(16 * parent, 16 * parent + 12)), rest);
    // The rotation acts inside the joint's frame: the translation column stays.
    const turned = multiply(local, rotation(jointRotation(rig, clip, layers, j)));
    if (j === 0) {
      const root = mixAlong(clip.roots, layers);
      for (const c of rootMotion ? [0, 1, 2] : [1]) turned[4 * c + 3] += root[c];
    }
    locals.set(turned, 12 * j);
  }
  return locals;
}

/** A joint's quaternion wxyz: between frames, then between layers, along the shortest arcs. */
function jointRotation(rig, clip, layers, j) {
  const stored = (frame) => clip.quats.subarray(4 * (frame * rig.joints + j), 4 * (frame * rig.joints + j) + 4);
  const [lower, upper] = layers.map(({before, after, weight}) => slerp(stored(before), stored(after), weight));
  return upper ? slerp(lower, upper, layers[1].share) : lower;
}

/** A point per frame [T 3] that travels as the root does, at the layers of a moment. */
export function mixAlong(points, layers) {
  const of = (frame, [x, z]) => [points[3 * frame] + x, points[3 * frame + 1], points[3 * frame + 2] + z];
  const blend = (a, b, weight) => a.map((value, c) => (1 - weight) * value + weight * b[c]);
  const [lower, upper] = layers.map(({before, after, weight, beforeOffset, afterOffset}) =>
    blend(of(before, beforeOffset), of(after, afterOffset), weight));
  return upper ? blend(lower, upper, layers[1].share) : lower;
}

/** `T_world_joint inverse(rest)` of every joint, from the joints relative to their parents. */
export function skinFromLocals(rig, locals) {
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

/**
 * Steps of the sums of a moment: centres; rotations of the lower layer before and after, of the upper before and after;
 * log scales. `turns`: the weight of the later rotation in either layer, and of the upper layer over the lower.
 */
export function residualSteps(clip, layers) {
  const {d_means: means, d_rotations: rotations, d_log_scales: scales} = clip.groups;
  const [lower, upper = {weight: 0, share: 0}] = layers;
  const frames = layers.flatMap(({before, after, weight}, index) => {
    const part = index ? upper.share : 1 - upper.share;
    return [[before, part * (1 - weight)], [after, part * weight]];
  });
  const turned = [0, 1].flatMap((index) => {
    if (!layers[index]) return [[], []];
    const {before, after, weight} = layers[index];
    return [[[before, 1]], weight > 0 ? [[after, 1]] : []];
  });
  return {turns: [lower.weight, upper.weight, upper.share],
    lists: [steps(means, frames), ...turned.map((each) => steps(rotations, each)), steps(scales, frames)]};
}

/** One sum's steps, Float32Array of (x, y, z, layer), of [frame, factor] pairs. A group is linear in its coefficients:
 * those are interpolated. */
function steps({scales, coefficients, layers}, frames) {
  const rows = [];
  const add = (layer, factor) => {
    if (factor !== 0) rows.push(...[0, 1, 2].map((c) => factor * scales[3 * layer + c]), layer);
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

/** What a camera that follows the figure looks at, per frame [T 3]: the smoothed root, at its median height. */
export function rootTargets(rig, clip, means) {
  const sigma = Math.max(FRAMING.SMOOTHING * clip.fps, 1e-3);
  const radius = Math.min(Math.ceil(6 * sigma), clip.frames);
  const targets = new Float64Array(3 * clip.frames);
  const heights = Float64Array.from({length: clip.frames}, (_, t) => rig.rest[7] + clip.roots[3 * t + 1]).sort();
  const middle = (clip.frames - 1) / 2;
  const median = (heights[Math.floor(middle)] + heights[Math.ceil(middle)]) / 2;
  const height = median + middleOf(rig, means);
  for (let t = 0; t < clip.frames; t++) {
    let total = 0;
    for (let s = Math.max(t - radius, 0); s <= Math.min(t + radius, clip.frames - 1); s++) {
      const weight = Math.exp(-0.5 * ((s - t) / sigma) ** 2);
      total += weight;
      for (const c of [0, 2]) targets[3 * t + c] += weight * (rig.rest[4 * c + 3] + clip.roots[3 * s + c]);
    }
    for (const c of [0, 2]) targets[3 * t + c] /= total;
    targets[3 * t + 1] = height;
  }
  return targets;
}

/** Height of what is looked at above the root joint [m], as runtime/framing.py has it. */
function middleOf(rig, means) {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 1; i < means.length; i += 3) {
    low = Math.min(low, means[i] - rig.rest[7]);
    high = Math.max(high, means[i] - rig.rest[7]);
  }
  const seen = FRAMING.SEEN_SHARE * FRAMING.DISTANCE * Math.tan(FRAMING.FOV_Y / 2);
  const fits = low >= -FRAMING.BELOW_ROOT - seen && high <= seen - FRAMING.BELOW_ROOT;
  return fits ? -FRAMING.BELOW_ROOT : (low + high) / 2;
}

/** A third of the log of what the first n Gaussians' areas must grow by to cover what all did, for n = 0..N. */
export function levelGrowth(gaussians) {
  const {count, logScales, opacities} = gaussians;
  const sums = new Float64Array(count + 1);
  for (let n = 0; n < count; n++) {
    const [x, y, z] = [logScales[3 * n], logScales[3 * n + 1], logScales[3 * n + 2]];
    const area = Math.exp(Math.min(x + y + z - Math.min(x, y, z), 50));
    sums[n + 1] = sums[n] + area * opacities[n];
  }
  return (n) => Math.log(Math.max(Math.min(sums[count] / Math.max(sums[n], 1e-300), count / n), 1)) / 3;
}

/** Shortest-path interpolation of two unit quaternions wxyz, as an array. */
function slerp(from, to, weight) {
  const p = Array.from(from);
  if (weight === 0) return p;
  const q = Array.from(to);
  let dot = p[0] * q[0] + p[1] * q[1] + p[2] * q[2] + p[3] * q[3];
  const sign = dot < 0 ? -1 : 1;
  const sine = Math.hypot(...p.map((value, c) => sign * q[c] - dot * sign * value));
  const angle = Math.atan2(sine, dot * sign);
  const [u, v] = sine < 1e-9 ? [1 - weight, weight]
    : [Math.sin((1 - weight) * angle) / sine, Math.sin(weight * angle) / sine];
  return p.map((value, c) => u * value + sign * v * q[c]);
}

/** The rotation of a unit quaternion wxyz. */
function rotation([w, x, y, z]) {
  return Float64Array.of(
    1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), 0,
    2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), 0,
    2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), 0);
}

/** a b, for affine 3x4. */
function multiply(a, b) {
  const out = new Float64Array(12);
  for (let r = 0; r < 12; r += 4) {
    for (let c = 0; c < 4; c++) out[r + c] = a[r] * b[c] + a[r + 1] * b[4 + c] + a[r + 2] * b[8 + c];
    out[r + 3] += a[r + 3];
  }
  return out;
}

/** The inverse of an affine 3x4. */
function inverse(m) {
  const [a, b, c, , d, e, f, , g, h, i] = m;
  const rows = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f,
    d * h - e * g, b * g - a * h, a * e - b * d];
  const determinant = a * rows[0] + b * rows[3] + c * rows[6];
  const out = new Float64Array(12);
  for (let r = 0; r < 3; r++) {
    for (let k = 0; k < 3; k++) out[4 * r + k] = rows[3 * r + k] / determinant;
    out[4 * r + 3] = -(out[4 * r] * m[3] + out[4 * r + 1] * m[7] + out[4 * r + 2] * m[11]);
  }
  return out;
}
