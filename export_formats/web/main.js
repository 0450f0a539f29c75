// The page: a full-window canvas, a bar of controls, files dropped on it.
import {InputError} from "./archive.js";
import {controlOrbit} from "./camera.js";
import {Player} from "./player.js";

const find = (id) => document.getElementById(id);

/**
 * Show a bundle and wire the controls. `resources`: {shaders, worker} as Player.open takes them. `shown` is the player
 * it takes the place of; one that cannot be read leaves that as it is.
 */
export async function start(bytes, resources, source, shown = null) {
  try {
    const canvas = shown ? shown.canvas.cloneNode() : find("canvas");
    const player = await Player.open(canvas, bytes, {...resources, source});
    shown?.canvas.replaceWith(canvas);
    shown?.close();
    wire(player, resources);
    player.play();
    find("message").hidden = true;
    find("bar").hidden = false;
    window.onresize();
    return player;
  } catch (error) {
    explain(error);
    throw error;
  }
}

/** One line in the middle of the page, until it is touched. */
export function explain(error) {
  find("message").onclick = () => find("message").hidden = true;
  find("message").hidden = false;
  find("message").textContent = error instanceof InputError ? error.message : `The player failed: ${error.message}`;
}

function wire(player, resources) {
  const {clips, gaussians, name} = player.bundle;
  document.title = `${name} – ani3d`;
  // Fresh controls: those of a bundle shown before keep no listener.
  const controls = ["time", "play", "clip", "detail", "residual", "speed"];
  for (const id of controls) find(id).replaceWith(find(id).cloneNode(true));
  const [time, play, clip, detail, residual, speed] = controls.map(find);
  controlOrbit(player.canvas, player.orbit, () => player.refresh());
  play.onclick = () => player.playing ? player.pause() : player.play();
  time.oninput = () => {
    player.pause();
    player.time = Number(time.value) * player.duration;
    player.refresh();
  };
  clip.replaceChildren(...clips.map((each, i) => new Option(each.name, i)));
  clip.hidden = clips.length < 2;
  clip.onchange = () => {
    player.setClip(Number(clip.value));
    player.refresh();
  };
  const smallest = Math.min(500, gaussians.count);
  detail.oninput = () => {
    player.count = Math.round(smallest * (gaussians.count / smallest) ** Number(detail.value));
    find("count").textContent = player.count.toLocaleString("en");
    player.refresh();
  };
  detail.oninput();
  residual.onchange = () => {
    player.residual = residual.checked;
    player.refresh();
  };
  speed.onchange = () => player.speed = Number(speed.value);
  player.onframe = () => {
    const {frame, clip: {frames, fps}} = player;
    time.value = frame / frames;
    play.textContent = player.playing ? "❚❚" : "▶";
    find("clock").textContent = `${(frame / fps).toFixed(2)} s`;
  };
  player.onerror = explain;
  window.onresize = () => {
    // In a tall window the picture's width decides the figure's size; the bar lies below its feet.
    player.covered = innerHeight - find("bar").getBoundingClientRect().top;
    player.refresh();
  };
  window.onkeydown = (event) => {
    if (event.code === "Space" && event.target === document.body) play.onclick();
  };
  window.ondragover = (event) => event.preventDefault();
  window.ondrop = async (event) => {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (!file) return;
    await start(new Uint8Array(await file.arrayBuffer()), resources, file.name, player).catch(() => {});
  };
}
