// Back-to-front order of the posed Gaussians, off the page's thread: centres are posed here, no read-back from the GPU.
// Imports nothing, so that it also runs from a Blob in the self-contained page.

const BINS = 65536;
let figure = null;
let clip = null;

onmessage = ({data}) => {
  if (data.figure) figure = data.figure;
  else if (data.clip) clip = data.clip;
  else {
    const order = sortByDepth(depths(data), data.count);
    postMessage({id: data.id, count: data.count, order}, [order.buffer]);
  }
};

/** Depth [m] of the first `count` Gaussians along the camera's axis `row` (4 numbers), posed. */
function depths({count, row, matrices, steps, residual}) {
  const {means, skinJoints, skinWeights, influences} = figure;
  const moved = residual ? residualMeans(steps, count) : means;
  // Only the depth is wanted: one row of camera times joint, per joint.
  const joints = new Float64Array(matrices.length / 3);
  for (let j = 0; j < joints.length / 4; j++) {
    for (let c = 0; c < 4; c++) {
      joints[4 * j + c] = row[0] * matrices[12 * j + c] + row[1] * matrices[12 * j + 4 + c] +
        row[2] * matrices[12 * j + 8 + c];
    }
    joints[4 * j + 3] += row[3];
  }
  const out = new Float32Array(count);
  for (let n = 0; n < count; n++) {
    let depth = 0;
    for (let w = n * influences; w < (n + 1) * influences; w++) {
      const j = 4 * skinJoints[w];
      depth += skinWeights[w] * (joints[j] * moved[3 * n] + joints[j + 1] * moved[3 * n + 1] +
        joints[j + 2] * moved[3 * n + 2] + joints[j + 3]);
    }
    out[n] = depth / figure.weightOne;
  }
  return out;
}

/** Rest centres with the residual's offsets. */
function residualMeans(steps, count) {
  const {moving, mean, texels} = clip;
  const moved = figure.means.slice(0, 3 * count);
  let rows = moving.length;
  while (rows && moving[rows - 1] >= count) rows--;
  const offset = mean.slice(0, 3 * rows);
  for (let s = 0; s < steps.length; s += 4) {
    const [x, y, z, layer] = steps.subarray(s, s + 4);
    let at = layer * mean.length;
    for (let i = 0; i < 3 * rows; i += 3, at += 3) {
      offset[i] += x * texels[at];
      offset[i + 1] += y * texels[at + 1];
      offset[i + 2] += z * texels[at + 2];
    }
  }
  for (let m = 0; m < rows; m++) {
    for (let c = 0; c < 3; c++) moved[3 * moving[m] + c] += offset[3 * m + c];
  }
  return moved;
}

/** Indices 0..count-1, farthest first: a stable counting sort into bins of equal depth. */
function sortByDepth(depth, count) {
  let [near, far] = [Infinity, -Infinity];
  for (let n = 0; n < count; n++) {
    near = Math.min(near, depth[n]);
    far = Math.max(far, depth[n]);
  }
  const scale = (BINS - 1) / Math.max(far - near, 1e-9);
  const keys = new Uint16Array(count);
  const starts = new Uint32Array(BINS + 1);
  for (let n = 0; n < count; n++) {
    keys[n] = (far - depth[n]) * scale;
    starts[keys[n] + 1]++;
  }
  for (let b = 0; b < BINS; b++) starts[b + 1] += starts[b];
  const order = new Uint32Array(count);
  // Of equal keys the lower row lies in front, as in the stable front-to-back sort of runtime/raster.py.
  for (let n = count - 1; n >= 0; n--) order[starts[keys[n]]++] = n;
  return order;
}
