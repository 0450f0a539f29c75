// Numbers the player shares with `runtime`; tests/test_web_player.py compares each with its Python original.

/** Zeroth real spherical harmonic: colour = 0.5 + SH_C0 * sh0 (runtime/types.py). */
export const SH_C0 = 0.28209479177387814;

/** Stored skinning weight of 1, stored quaternion component of 1 (runtime/bundle_blocks.py). */
export const WEIGHT_ONE = 32768;
export const QUAT_ONE = 32767;

/** Splatting (runtime/_raster_project.py, _raster_blend.py): nearest depth [m], added variance [px2], smallest and
 * largest alpha of one contribution, reach of the affine approximation outside the image [image sizes]. */
export const SPLAT = {NEAR: 0.01, EPS_2D: 0.3, ALPHA_MIN: 1 / 255, ALPHA_MAX: 0.999, GUARD: 0.15};

/** The camera that follows a figure (runtime/framing.py): field of view [rad], distance [m], elevation [rad],
 * smoothing [s], a person's middle below the hips [m], share of the picture's half that a standing figure may take. */
export const FRAMING = {FOV_Y: 40 * Math.PI / 180, DISTANCE: 3.2, ELEVATION: 10 * Math.PI / 180, SMOOTHING: 0.25,
  BELOW_ROOT: 0.10, SEEN_SHARE: 0.94};

/** Loops (runtime/actor_loop.py): a clip closes when its seam turns and rises by no more than this many times its
 * fastest step; another fades into its beginning over this long [s]. */
export const LOOP = {SEAM_TOLERANCE: 2, FADE_S: 0.25};

/** Limits of a bundle (runtime/archive.py, bundle.py, bundle_blocks.py). */
export const LIMITS = {ENTRIES: 1024, ENTRY_BYTES: 2 ** 30, TOTAL_BYTES: 2 ** 31, FREE_BYTES: 64 * 2 ** 20, RATIO: 100,
  MANIFEST_BYTES: 2 ** 20, N: 4e6, J: 256, W: 16, T: 1e5, M: 4e6, K: 1e5, CLIPS: 64, METRES: 1e4};

/** Version of the bundle format this player reads. */
export const VERSION = 1;
