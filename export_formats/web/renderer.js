// WebGL2 drawing of a posed figure: a pass that poses every Gaussian, one that blends them in order, one that shows.
import {InputError} from "./archive.js";
import {SPLAT} from "./constants.js";
import {WIDTH, clipTables, figureTables, frameTables, shaderHead} from "./pose_textures.js";

/** Files in shaders/ the renderer is made of. */
export const SHADERS = ["screen.vert", "pose.glsl", "pose.frag", "splat.vert", "splat.frag", "present.frag"];

const ROW_FORMATS = {
  f1: ["R32F", "RED", "FLOAT"], f3: ["RGB32F", "RGB", "FLOAT"], f4: ["RGBA32F", "RGBA", "FLOAT"],
  i1: ["R32I", "RED_INTEGER", "INT"], u1: ["R32UI", "RED_INTEGER", "UNSIGNED_INT"],
  b3: ["RGB8I", "RGB_INTEGER", "BYTE"], s3: ["RGB16I", "RGB_INTEGER", "SHORT"],
};

/** Draws one bundle on a canvas. `sources` maps the names of SHADERS to their text. */
export class Renderer {
  constructor(canvas, sources) {
    const gl = canvas.getContext("webgl2",
      {alpha: false, antialias: false, depth: false, powerPreference: "high-performance"});
    if (!gl) throw new InputError("This browser offers no WebGL 2; use a current Chrome, Edge, Firefox or Safari");
    Object.assign(this, {gl, canvas, sources});
    this.restore();
  }

  /** Make everything anew, as on a context that was lost; the figure and the clip are to be set again. */
  restore() {
    const {gl, sources} = this;
    this.textureWidth = Math.min(gl.getParameter(gl.MAX_TEXTURE_SIZE), 8192);
    // Half floats keep faint layers that 8 bits round away; without the extension the canvas itself is blended on.
    this.floatTarget = Boolean(gl.getExtension("EXT_color_buffer_float") ||
      gl.getExtension("EXT_color_buffer_half_float"));
    const pose = sources["pose.frag"].replace('#include "pose.glsl"', sources["pose.glsl"]);
    this.programs = {
      pose: this._program(sources["screen.vert"], pose),
      splat: this._program(sources["splat.vert"], sources["splat.frag"]),
      present: this._program(sources["screen.vert"], sources["present.frag"]),
    };
    this.empty = gl.createVertexArray();
    this.textures = {};
    this.fence = this.poseTarget = this.quads = this.orderBuffer = this.image = this.imageTarget = null;
  }

  /** Take a bundle's figure to the GPU. */
  setFigure({gaussians, rig}) {
    this.influences = rig.influences;
    this.count = gaussians.count;
    this._uploadAll(figureTables(gaussians, rig));
    this._makePoseTarget(this.count);
    this._makeOrder(this.count);
  }

  /** Take a clip's residual to the GPU. */
  setClip(clip) {
    this.movingCount = clip.moving.length;
    this._uploadAll(clipTables(clip, this.count));
  }

  /** Pose the first Gaussians of the figure: `frame` of {matrices, steps, residual, growth, count}. */
  pose({matrices, steps, residual, growth, count}) {
    const gl = this.gl;
    const {tables, ends} = frameTables(matrices, steps);
    this._uploadAll(tables);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.poseTarget);
    gl.viewport(0, 0, WIDTH, Math.ceil(count / WIDTH));
    gl.disable(gl.BLEND);
    const at = this._use(this.programs.pose);
    gl.uniform1iv(at("u_list_ends[0]"), ends);
    gl.uniform1i(at("u_count"), count);
    gl.uniform1i(at("u_moving_count"), residual ? this.movingCount : 0);
    gl.uniform1i(at("u_influences"), this.influences);
    gl.uniform3fv(at("u_turns"), steps.turns);
    gl.uniform1f(at("u_growth"), growth);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** Whether the context is gone until the browser gives it back. */
  lost() {
    return this.gl.isContextLost();
  }

  /** Whether the picture last asked for is still being drawn: a slow device must not be given another. */
  busy() {
    const gl = this.gl;
    if (!this.fence) return false;
    if (gl.clientWaitSync(this.fence, 0, 0) === gl.TIMEOUT_EXPIRED) return true;
    gl.deleteSync(this.fence);
    this.fence = null;
    return false;
  }

  /** Blend the posed Gaussians in `order` (farthest first; null: as last given) and show them. */
  draw(camera, order, background) {
    const gl = this.gl;
    if (order) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.orderBuffer);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
      this.drawn = order.length;
    }
    this._makeImage(camera.width, camera.height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.image ? this.imageTarget : null);
    gl.viewport(0, 0, camera.width, camera.height);
    gl.clearColor(...(this.image ? [0, 0, 0, 0] : [...background, 1]));
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const at = this._use(this.programs.splat);
    gl.uniform4fv(at("u_view[0]"), camera.view);
    gl.uniform4f(at("u_pinhole"), camera.fx, camera.fy, camera.cx, camera.cy);
    gl.uniform2f(at("u_size"), camera.width, camera.height);
    gl.bindVertexArray(this.quads);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.drawn ?? 0);
    if (this.image) this._present(background);
    if (this.fence) gl.deleteSync(this.fence);
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  _present(background) {
    const gl = this.gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.disable(gl.BLEND);
    const at = this._use(this.programs.present);
    gl.uniform3fv(at("u_background"), background);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** The picture last drawn, RGBA 8 bit, top row first. Call in the same task as `draw`. */
  pixels() {
    const {width, height} = this.canvas;
    const flipped = new Uint8Array(4 * width * height);
    this.gl.bindFramebuffer(this.gl.FRAMEBUFFER, null);
    this.gl.readPixels(0, 0, width, height, this.gl.RGBA, this.gl.UNSIGNED_BYTE, flipped);
    const out = new Uint8Array(flipped.length);
    for (let y = 0; y < height; y++) {
      out.set(flipped.subarray(4 * width * (height - 1 - y), 4 * width * (height - y)), 4 * width * y);
    }
    return out;
  }

  _program(vertex, fragment) {
    const gl = this.gl;
    const head = `#version 300 es\n${shaderHead(this.textureWidth, SPLAT)}`;
    const program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, head + text);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    const uniforms = {};
    const samplers = [];
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const {name, type} = gl.getActiveUniform(program, i);
      uniforms[name] = gl.getUniformLocation(program, name);
      if ([gl.SAMPLER_2D, gl.INT_SAMPLER_2D, gl.UNSIGNED_INT_SAMPLER_2D].includes(type)) samplers.push(name);
    }
    return {program, uniforms, samplers};
  }

  /** Use a program with its textures bound by the names of its samplers; returns its uniforms' locations. */
  _use({program, uniforms, samplers}) {
    const gl = this.gl;
    gl.useProgram(program);
    samplers.forEach((name, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, this.textures[name].texture);
      gl.uniform1i(uniforms[name], unit);
    });
    return (name) => uniforms[name];
  }

  _uploadAll(tables) {
    for (const [name, [kind, values]] of Object.entries(tables)) {
      this._upload(name, kind, values, name.startsWith("u_texels") ? this.textureWidth : WIDTH);
    }
  }

  /** A flat array as rows of a texture, remade when its size changes. */
  _upload(name, kind, values, width) {
    const gl = this.gl;
    const [internal, format, type] = ROW_FORMATS[kind].map((key) => gl[key]);
    const channels = Number(kind[1]);
    const rows = Math.max(Math.ceil(values.length / (channels * width)), 1);
    if (rows > gl.getParameter(gl.MAX_TEXTURE_SIZE)) {
      throw new InputError(`the bundle is too large for this device: ${name.slice(2)} needs ${rows} texture rows`);
    }
    const padded = new values.constructor(rows * width * channels);
    padded.set(values);
    const known = this.textures[name];
    const texture = known?.texture ?? gl.createTexture();
    // Above the units that samplers use: an upload must not disturb them.
    gl.activeTexture(gl.TEXTURE15);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    if (known && known.rows === rows && known.kind === kind) {
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, rows, format, type, padded);
    } else {
      gl.texImage2D(gl.TEXTURE_2D, 0, internal, width, rows, 0, format, type, padded);
      this._nearest();
      this.textures[name] = {texture, rows, kind};
    }
  }

  _nearest() {
    const gl = this.gl;
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  _makePoseTarget(count) {
    const gl = this.gl;
    const rows = Math.ceil(count / WIDTH);
    if (this.poseTarget) gl.deleteFramebuffer(this.poseTarget);
    this.poseTarget = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.poseTarget);
    const attachments = [0, 1, 2].map((i) => {
      const texture = gl.createTexture();
      gl.activeTexture(gl.TEXTURE15);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32UI, WIDTH, rows);
      this._nearest();
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + i, gl.TEXTURE_2D, texture, 0);
      if (this.textures[`u_pose_${i}`]) gl.deleteTexture(this.textures[`u_pose_${i}`].texture);
      this.textures[`u_pose_${i}`] = {texture};
      return gl.COLOR_ATTACHMENT0 + i;
    });
    gl.drawBuffers(attachments);
  }

  _makeOrder(count) {
    const gl = this.gl;
    this.drawn = 0;
    this.quads ??= gl.createVertexArray();
    this.orderBuffer ??= gl.createBuffer();
    gl.bindVertexArray(this.quads);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.orderBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, 4 * count, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribIPointer(0, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(0, 1);
  }

  /** The half-float picture that splats are blended on, as large as the canvas. */
  _makeImage(width, height) {
    const gl = this.gl;
    if (!this.floatTarget || (this.image?.width === width && this.image.height === height)) return;
    if (this.image) gl.deleteTexture(this.image.texture);
    this.imageTarget ??= gl.createFramebuffer();
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE15);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA16F, width, height);
    this._nearest();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.imageTarget);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) {
      this.floatTarget = false;
      this.image = null;
      return;
    }
    this.image = {texture, width, height};
    this.textures.u_image = this.image;
  }
}
