// Which stored frames of a clip show at a time, loops included (runtime/actor_loop.py, actor.py).
//
// A *layer* {before, after, weight, share, beforeOffset, afterOffset} is two stored frames, `weight` in [0, 1) of the
// later one, mixed with `share` over the layer below it; offsets are the way along x and z [m] of earlier loops.
import {LOOP} from "./constants.js";

/**
 * How a clip repeats: {period, fade, closed, travel}. It is closed where the frame after the last is the first; else
 * its last `fade` frames fade into its first. It repeats after `period` frames, `travel` [m] further along x and z.
 */
export function loopOf({frames, fps, roots, quats}) {
  if (frames < 3) return {period: frames, fade: 0, closed: false, travel: [0, 0]};
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
  const closed = turn(last, 0) <= LOOP.SEAM_TOLERANCE * fastestTurn + 1e-3 &&
    rise(last, 0) <= LOOP.SEAM_TOLERANCE * fastestRise + 1e-3;
  const fade = closed ? 0 : Math.min(roundHalfEven(LOOP.FADE_S * fps), Math.floor(frames / 3));
  const period = frames - fade;
  // A closed clip's last step is not stored; it goes as far as the mean of the others.
  const [end, share] = closed ? [last, frames / last] : [fade ? period : 0, 1];
  return {period, fade, closed, travel: [0, 2].map((c) => share * (roots[3 * end + c] - roots[c]))};
}

/** The layers, one or two, that a clip shows at a time [s], which may grow through loops; without `loop` ends hold. */
export function layersAt(clip, seconds, {loop = true, backwards = false} = {}) {
  const {period, fade, closed, travel} = clip.looping;
  const last = clip.frames - 1;
  let frame = seconds * clip.fps;
  // t / fps * fps may be a rounding error away from t; whole frames need no interpolation.
  if (Math.abs(frame - Math.round(frame)) < 1e-6) frame = Math.round(frame);
  if (!loop) return [layer(Math.min(Math.max(frame, 0), last), last)];
  // The first pass begins at frame 0, later ones at frame `fade`, where the fade has led.
  const begun = !backwards && frame >= 0 && frame < fade;
  const turns = begun ? 0 : Math.floor((frame - fade) / period);
  const place = frame - turns * period;
  const offset = travel.map((way) => turns * way);
  const next = travel.map((way) => (turns + 1) * way);
  if (closed && place > last) {
    return [{before: last, after: 0, weight: place - last, share: 1, beforeOffset: offset, afterOffset: next}];
  }
  const lower = layer(Math.min(place, last), last, offset);
  if (place < period || fade === 0) return [lower];
  const head = place - period;
  const share = Math.min(Math.max(head / fade, 0), 1);
  return [lower, {...layer(head, last, next), share: share * share * (3 - 2 * share)}];
}

/** The fractional frame, 0 to T (T itself excluded), of what is most of the layers: what a timeline shows. */
export function shownFrame(layers) {
  const {before, weight} = layers.at(-1).share > 0.5 ? layers.at(-1) : layers[0];
  return before + weight;
}

/** The stored frames around `frame` in 0..last. */
function layer(frame, last, offset = [0, 0]) {
  const before = Math.min(Math.floor(frame), last);
  return {before, after: Math.min(before + 1, last), weight: frame - before, share: 1, beforeOffset: offset,
    afterOffset: offset};
}

/** As Python rounds, so that both fade over as many frames. */
function roundHalfEven(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + below % 2 : Math.round(value);
}
