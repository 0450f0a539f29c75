// An orbit camera, OpenCV axes (runtime/cameras.py). Azimuth 0 looks at the figure's front (+Z).
import {FRAMING} from "./constants.js";

/**
 * A camera {width, height, fx, fy, cx, cy, view}: `view` is T_camera_world, 12 numbers, row major.
 * The figure stands above the lowest `covered` pixels, which something else covers.
 */
export function orbitCamera(target, {azimuth, elevation, distance}, width, height, covered = 0) {
  const direction = [Math.sin(azimuth) * Math.cos(elevation), Math.sin(elevation),
    Math.cos(azimuth) * Math.cos(elevation)];
  const eye = direction.map((d, c) => target[c] + distance * d);
  const forward = direction.map((d) => -d);
  const level = Math.hypot(forward[0], forward[2]);
  const right = [-forward[2] / level, 0, forward[0] / level];
  const down = cross(forward, right);
  const view = [right, down, forward].flatMap((row) =>
    [...row, -(row[0] * eye[0] + row[1] * eye[1] + row[2] * eye[2])]);
  // A narrow (phone) picture keeps the figure's width in view, a wide one its height.
  const free = Math.max(height - covered, height / 2);
  const focal = 0.5 * Math.min(free, 1.75 * width) / Math.tan(0.5 * FRAMING.FOV_Y);
  return {width, height, fx: focal, fy: focal, cx: width / 2, cy: free / 2, view};
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

/** Let a pointer turn (one finger or button), and pinch or wheel zoom, `orbit`; calls `changed` after each. */
export function controlOrbit(element, orbit, changed) {
  const pointers = new Map();
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  const zoom = (factor) => {
    orbit.distance = Math.min(Math.max(orbit.distance * factor, 0.3), 30);
    changed();
  };
  element.style.touchAction = "none";
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, {x: event.clientX, y: event.clientY});
  });
  element.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    const before = pointers.size === 2 ? spread() : 0;
    pointers.set(event.pointerId, {x: event.clientX, y: event.clientY});
    if (pointers.size === 2) return zoom(before / Math.max(spread(), 1));
    orbit.azimuth -= dx * 0.008;
    orbit.elevation = Math.min(Math.max(orbit.elevation + dy * 0.008, -1.5), 1.5);
    changed();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    element.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(event.deltaY * 0.001));
  }, {passive: false});
}
