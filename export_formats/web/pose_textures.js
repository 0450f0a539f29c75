// What the posing shader (shaders/pose.glsl) reads: flat arrays by the names of its samplers, each with its kind: a
// letter (f float, i int, u unsigned, b signed byte, s short) and the channels. Each renderer uploads them its own way.
import {GROUPS} from "./bundle.js";
import {WEIGHT_ONE} from "./constants.js";

/** Texels in a row of every table but the stacks of texels, whose rows are as wide as the renderer chooses. */
export const WIDTH = 1024;

/** What the shaders are told when they are loaded. `more` are further numbers by name. */
export function shaderHead(texelWidth, more = {}) {
  const float = (value) => Number.isInteger(value) ? value.toFixed(1) : value;
  return Object.entries({...more, WEIGHT_ONE}).map(([name, value]) => `#define ${name} ${float(value)}\n`).join("") +
    `#define WIDTH ${WIDTH}\n#define TEXEL_WIDTH ${texelWidth}\n`;
}

/** Tables of a figure that never change. */
export function figureTables({count, means, quats, logScales, opacities, colors}, {skinJoints, skinWeights}) {
  const skin = new Uint32Array(skinJoints.length);
  for (let i = 0; i < skin.length; i++) skin[i] = skinJoints[i] << 16 | skinWeights[i];
  const rgba = Float32Array.from({length: 4 * count}, (_, i) =>
    i % 4 === 3 ? opacities[i >> 2] : colors[3 * (i >> 2) + i % 4]);
  return {u_means: ["f3", means], u_quats: ["f4", quats], u_log_scales: ["f3", logScales], u_skin: ["u1", skin],
    u_colors: ["f4", rgba]};
}

/** Tables of a clip's residual, of a figure of `count` Gaussians. */
export function clipTables({moving, groups}, count) {
  const rows = new Int32Array(count).fill(-1);
  moving.forEach((n, row) => rows[n] = row);
  const means = new Float32Array(9 * Math.max(moving.length, 1));
  const tables = {u_moving: ["i1", rows], u_group_means: ["f3", means]};
  GROUPS.forEach((group, g) => {
    const {mean, texels} = groups[group];
    means.set(mean, 3 * moving.length * g);
    tables[`u_texels_${group.split("_").at(-1)}`] = [texels instanceof Int8Array ? "b3" : "s3", texels];
  });
  return tables;
}

/** Tables of a moment, and where each of its lists of steps ends. `room`: least length of the steps' table. */
export function frameTables(matrices, {lists}, room = 4) {
  const joined = new Float32Array(Math.max(lists.reduce((sum, list) => sum + list.length, 0), room));
  let end = 0;
  const ends = lists.map((list) => {
    joined.set(list, end);
    end += list.length;
    return end / 4;
  });
  return {tables: {u_steps: ["f4", joined], u_joints: ["f4", Float32Array.from(matrices)]}, ends};
}
