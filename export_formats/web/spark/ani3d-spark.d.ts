// Types of ani3d-spark.js.
import type {SparkRendererOptions} from "@sparkjsdev/spark";
import {Object3D, type Bone} from "three";

/** A user's file cannot be used; the message says which, what is wrong and what to do. */
export class InputError extends Error {}

/** Makes Spark draw as the rasteriser a person was baked with: `new SparkRenderer({renderer, ...SPARK_SETTINGS})`. */
export const SPARK_SETTINGS: Readonly<Omit<SparkRendererOptions, "renderer">>;

/**
 * One person of a bundle (`.ani3d`): +Y up, facing +Z, in metres. Place it as any Object3D (scale it evenly).
 * Settings are plain fields, seen at the next frame; it plays by itself while it is in a scene that is drawn.
 */
export class Ani3D extends Object3D {
  /** Fetch and read a bundle. Throws InputError where the file is not a usable one. */
  static load(url: string | URL): Promise<Ani3D>;
  /** Read a bundle's bytes; `name` is what errors call it. */
  static parse(bytes: ArrayBuffer | Uint8Array, name?: string): Promise<Ani3D>;

  /** Whether the clock runs. */
  playing: boolean;
  /** Whether the clip begins again at its end: across the seam where it closes, else by a fade into its beginning. */
  loop: boolean;
  /** Seconds of the clip per second; negative runs backwards. */
  speed: number;
  /** Seconds from the clip's first frame; grows through loops. */
  time: number;
  /** Cloth and hair; false is rigid skinning alone. */
  residual: boolean;
  /** Whether the clip's way moves the person, on through loops; false holds the root above its rest place. */
  rootMotion: boolean;
  /** Of the whole person, 0 to 1. */
  opacity: number;
  /** Whether the clock is that of the page. False: call `update`. */
  autoUpdate: boolean;
  /** Called when the clip has posed the bones and before the skin follows them: turn them here. */
  onpose: ((bones: Bone[], time: number) => void) | null;

  /** Names of the clips. */
  readonly clips: string[];
  /** The clip that plays; set it to a name or a number to switch, from the clip's first frame. */
  get clip(): string;
  set clip(which: string | number);
  /** Seconds of the clip. */
  readonly duration: number;
  /** How many Gaussians are drawn, the most visible first: the level of detail. */
  count: number;
  /** The skeleton, parents before children. */
  readonly bones: Bone[];

  play(): this;
  pause(): this;
  /** The bone of a name: hang things on it, or turn it in `onpose`. */
  bone(name: string): Bone | undefined;
  /** Advance the clock by seconds and pose the bones. */
  update(seconds: number): void;
  /** Leave the scene and free the memory on the GPU. */
  dispose(): void;
}
