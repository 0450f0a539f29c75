"""The three.js module in a real browser: Spark draws our figure as the CPU renderer does, and it obeys its scene."""

import base64
import itertools
import json
import math
import os
import re
import shutil
import subprocess
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asymmetric_figure import make_figure
from outside.web.chromium import MISSING, PROGRAM, Page, serve
from test_viewer_clients import assert_right_way_round
from test_web_player import AZIMUTHS, GREY, SEAMS, TIMES, expected, figure, looped, open_figure, psnr

from export_formats import ExportOptions, web_export
from export_formats.web_export import SOURCES
from runtime import framing, rotations
from runtime.bundle import read_bundle
from runtime.cameras import orbit_camera
from runtime.compositing import composite
from runtime.lod import prefix
from runtime.player import Player
from runtime.raster import render
from runtime.skinning import joint_transforms
from runtime.types import Bundle

OUTSIDE = Path(__file__).parent / "outside" / "formats"
PACKAGES = OUTSIDE / "node_modules"
NPM = "install npm, then `make outside`"
pytestmark = [pytest.mark.skipif(PROGRAM is None, reason=MISSING),
              pytest.mark.skipif(not (PACKAGES / "three").is_dir(), reason=NPM)]
SIZE = (240, 416)
FOV = math.degrees(framing.FOV_Y)
# Where the example page takes its packages from, and their folders here.
ADDRESSES = {"three": r"https://cdn\.jsdelivr\.net/npm/three@([\d.]+)/",
             "@sparkjsdev/spark": r"https://sparkjs\.dev/releases/spark/([\d.]+)/"}
SHOOT = """window.shoot = async (time, fov, eye, target) => {
  if (time !== null) person.time = time;
  camera.fov = fov;
  camera.updateProjectionMatrix();
  camera.position.set(...eye);
  camera.lookAt(...target);
  const sorted = async () => {
    while (spark.sorting || spark.sortDirty) await new Promise((resume) => setTimeout(resume, 5));
  };
  await sorted();
  renderer.render(scene, camera);
  await sorted();  // the order comes from a worker, after the first drawing
  renderer.render(scene, camera);
  const gl = renderer.getContext();
  const pixels = new Uint8Array(4 * gl.drawingBufferWidth * gl.drawingBufferHeight);
  gl.readPixels(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let text = "";
  for (let i = 0; i < pixels.length; i += 32768) text += String.fromCharCode(...pixels.subarray(i, i + 32768));
  return btoa(text);
};
for (const bone of person.bones) bone.rest = bone.quaternion.clone();
person.pause();
renderer.setAnimationLoop(null);
floor.visible = false;
0"""


def two_clips() -> Bundle:
    """The random person with a second clip, backwards, without a residual."""
    bundle = figure()
    wave = bundle.clips[0]
    own = wave.residual
    groups = {name: replace(group, mean=group.mean[:0], texels=group.texels[:, :0])
              for name in ("d_means", "d_rotations", "d_log_scales") for group in [getattr(own, name)]}
    back = replace(wave.motion, quats_wxyz=wave.motion.quats_wxyz[::-1].copy())
    rigid = replace(wave, name="back", motion=back, residual=replace(own, moving=own.moving[:0], **groups))
    return replace(bundle, clips=(wave, rigid))


def with_local_packages(page: Path) -> None:
    """Let the example page, as exported, take three.js and Spark from the pinned packages here."""
    text = page.read_text()
    for name, address in ADDRESSES.items():
        folder = f"/node_modules/{name}/" + ("dist/" if name != "three" else "")
        text, count = re.subn(address, folder, text)
        assert count
    page.write_text(text)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Exported folders on a server: basis, dense, a figure with sides, and one drawn with Spark's own settings."""
    top = tmp_path_factory.mktemp("spark")
    os.symlink(PACKAGES, top / "node_modules")
    for name, bundle in (("basis", two_clips()), ("dense", figure(dense=True, texel_type=np.int16)),
                         ("open", open_figure()), ("sides", make_figure())):
        web_export.write(bundle, top / name, ExportOptions())
        with_local_packages(top / name / "three.html")
    shutil.copytree(top / "basis", top / "defaults")
    text = (top / "defaults" / "three.html").read_text()
    (top / "defaults" / "three.html").write_text(text.replace("{renderer, ...SPARK_SETTINGS}", "{renderer}"))
    with serve(top) as address:
        yield top, address


def opened(site, name, size=SIZE):
    page = Page(f"{site[1]}{name}/three.html", size=size)
    page.evaluate("ready.then(() => { if (!window.person) throw Error(message.textContent); })")
    page.evaluate(SHOOT)
    return page


@pytest.fixture(scope="module")
def basis(site):
    with opened(site, "basis") as page:
        yield page, Player(read_bundle(site[0] / "basis" / "avatar.ani3d"))


def shot(page, time, eye, target, *, fov=FOV, size=SIZE):
    """The page's picture, [H W 3] uint8."""
    arguments = ", ".join(json.dumps(value) for value in (time, fov, list(map(float, eye)), list(map(float, target))))
    pixels = np.frombuffer(base64.b64decode(page.evaluate(f"shoot({arguments})")), np.uint8)
    return pixels.reshape(size[1], size[0], 4)[::-1, :, :3]


def orbit(page, player, seconds, azimuth=0.0):
    """The page through the camera of `test_web_player.expected`."""
    _, target = looped(player, seconds)
    level = math.cos(framing.ELEVATION)
    eye = target + framing.DISTANCE * np.array([math.sin(azimuth) * level, math.sin(framing.ELEVATION),
                                                math.cos(azimuth) * level])
    return shot(page, seconds, eye, target)


@contextmanager
def shown(page, name):
    """The page with a person of another export in the place of its own."""
    page.evaluate(f"""(async () => {{
        scene.remove(person);
        [window.first, window.person] = [person, (await Ani3D.load("../{name}/avatar.ani3d")).pause()];
        scene.add(person);
    }})()""")
    try:
        yield
    finally:
        page.evaluate("person.dispose(); scene.add(first); window.person = first; 0")


@pytest.mark.parametrize("kind", SEAMS)
def test_loops_close_as_the_runtimes_do(site, basis, kind):
    page, _ = basis
    player = Player(read_bundle(site[0] / kind / "avatar.ani3d"))
    with shown(page, kind):
        for place in SEAMS[kind]:
            seconds = place / player.fps
            # Measured 53 dB and more.
            assert psnr(orbit(page, player, seconds, 1.5), expected(player, seconds, azimuth=1.5)) >= 50, place


def test_without_root_motion_it_stays_where_it_is_placed(basis):
    page, player = basis
    root = """(() => { person.time = 1.9; person.update(0); scene.updateMatrixWorld();
        return person.bones[0].matrixWorld.elements.slice(12, 15); })()"""
    moved = page.evaluate(root)
    try:
        page.evaluate("person.rootMotion = false; 0")
        held = page.evaluate(root)
    finally:
        page.evaluate("person.rootMotion = true; 0")
    rest = player.bundle.rig.T_world_joint_rest[0, :3, 3]
    assert held == pytest.approx([rest[0], moved[1], rest[2]], abs=1e-6)
    assert math.hypot(moved[0] - held[0], moved[2] - held[2]) > 0.1


@pytest.mark.parametrize("kind", ("basis", "dense"))
def test_frames_equal_the_cpu_renderers(site, basis, kind):
    """A residual of basis textures at three times and four azimuths; a dense one, between its frames, at one."""
    page, player = basis
    moments = list(itertools.product(TIMES, AZIMUTHS)) if kind == "basis" else [(TIMES[2], AZIMUTHS[1])]
    own = nullcontext()
    if kind == "dense":
        player, own = Player(read_bundle(site[0] / "dense" / "avatar.ani3d")), shown(page, "dense")
    with own:
        worst = min(psnr(orbit(page, player, seconds, azimuth), expected(player, seconds, azimuth=azimuth))
                    for seconds, azimuth in moments)
    # Measured 53 dB and more, 56 on the demo's person: Spark blends on 8 bits. Turned wrongly it is 23.
    assert worst >= 50, worst
    assert psnr(orbit(page, player, 0.11, 1.5), expected(player, 0.11, azimuth=-1.6)) < 30


def test_asymmetric_figure_stands_the_right_way_round_and_its_skirt_moves(site):
    import test_viewer_clients as clients

    player = Player(read_bundle(site[0] / "sides" / "avatar.ani3d"))

    with opened(site, "sides", clients.SIZE) as page:
        page.evaluate("scene.background.set(0xffffff); 0")

        def both(seconds):
            picture = shot(page, seconds, clients.EYE, clients.TARGET, fov=clients.FOV, size=clients.SIZE)
            return picture / 255.0, clients.ours(player.gaussians_at(seconds))

        picture, ours = both(0.1)
        assert_right_way_round(picture)
        assert clients.psnr(picture, ours) >= 50
        later, _ = both(0.2)
        page.evaluate("person.residual = false; 0")
        rigid, _ = both(0.2)
        assert clients.psnr(rigid, clients.ours(player.gaussians_at(0.2, residual=False))) >= 50
        assert clients.psnr(later, picture) < 30 and clients.psnr(later, rigid) < 36
        assert page.errors == []


def test_sparks_own_settings_come_close(site, basis):
    """Its antialiasing thins small splats, and half floats hold centres relative to the camera."""
    with opened(site, "defaults") as page:
        # Measured 42.7 dB; on the demo's person, whose Gaussians are smaller, 36.7.
        assert psnr(orbit(page, basis[1], 0.11, 1.5), expected(basis[1], 0.11, azimuth=1.5)) >= 40


def test_levels_of_detail_and_opacity(site, basis):
    page, player = basis
    try:
        page.evaluate("person.count = 700; 0")
        part = Player(prefix(read_bundle(site[0] / "basis" / "avatar.ani3d"), 700))
        assert psnr(orbit(page, player, 0.11), expected(part, 0.11)) >= 50
        page.evaluate("person.opacity = 0; 0")
        assert psnr(orbit(page, player, 0.11), 128) > 48
    finally:
        page.evaluate("person.count = 1e9; person.opacity = 1; 0")
    assert page.evaluate("person.count") == 1500


def test_clips_switch_by_name_and_start_anew(basis):
    page, player = basis
    back = Player(player.bundle, 1)
    try:
        assert page.evaluate("person.clips") == ["wave", "back"]
        page.evaluate("person.clip = 'back'; 0")
        assert page.evaluate("[person.clip, person.time]") == ["back", 0]
        assert psnr(orbit(page, back, 0.11), expected(back, 0.11)) >= 50
        with pytest.raises(Exception, match="has no clip run; its clips are wave, back"):
            page.evaluate("person.clip = 'run'")
        with pytest.raises(Exception, match="has no clip length"):
            page.evaluate("person.clip = 'length'")
    finally:
        page.evaluate("person.clip = 0; 0")
    assert psnr(orbit(page, player, 0.11), expected(player, 0.11)) >= 50


def test_person_is_placed_as_any_object(basis):
    """Turned, moved and scaled, seen by a camera moved alike, it looks the same; two of them are two."""
    page, player = basis
    turn, shift, scale = 0.7, np.array([0.4, -0.2, 0.3]), 1.3
    spin = rotations.to_matrix(rotations.from_rotvec(np.array([0, turn, 0])))
    camera = orbit_camera(player.target_at(0.11), azimuth=0.4, elevation=framing.ELEVATION,
                          distance=framing.DISTANCE, fov_y=framing.FOV_Y, size=SIZE)
    eye = -camera.T_camera_world[:3, :3].T @ camera.T_camera_world[:3, 3]
    moved = [scale * spin @ point + shift for point in (eye, player.target_at(0.11))]
    try:
        page.evaluate(f"person.position.set(...{shift.tolist()}); person.rotation.y = {turn}; "
                      f"person.scale.setScalar({scale}); 0")
        alone = shot(page, 0.11, *moved)
        assert psnr(alone, composite(render(player.gaussians_at(0.11), camera).rgba, GREY)) >= 50
        page.evaluate("window.twin = new Ani3D(person.bundle).pause(); twin.time = 0.11; twin.position.x = 0.5; "
                      "scene.add(twin); 0")
        assert psnr(shot(page, 0.11, *moved), alone) < 25
        page.evaluate("twin.dispose(); 0")
        assert np.array_equal(shot(page, 0.11, *moved), alone)
    finally:
        page.evaluate("person.position.set(0, 0, 0); person.rotation.y = 0; person.scale.setScalar(1); 0")


def test_bones_are_the_joints_and_can_be_turned(basis):
    page, player = basis
    page.evaluate("person.time = 0.1; scene.updateMatrixWorld(); person.update(0); scene.updateMatrixWorld(); 0")
    bones = np.array(page.evaluate("person.bones.map((bone) => bone.matrixWorld.elements)"))
    frame = round(0.1 * 30)
    clip, rig = player.bundle.clips[0], player.bundle.rig
    joints = joint_transforms(rig, clip.motion, frame)
    assert np.abs(bones.reshape(-1, 4, 4).transpose(0, 2, 1) - joints).max() < 1e-6
    # Turned by the page, as if the motion had it.
    extra = rotations.from_rotvec(np.array([0.0, 0.0, 0.6]))
    quats = clip.motion.quats_wxyz.copy()
    quats[:, 2] = rotations.multiply(quats[:, 2], np.broadcast_to(extra, quats[:, 2].shape))
    turned = replace(clip.motion, quats_wxyz=quats.astype(np.float32))
    expecting = Player(replace(player.bundle, clips=(replace(clip, motion=turned),)))
    try:
        page.evaluate("person.onpose = (bones) => person.bone('joint 2').rotateZ(0.6); 0")
        picture = orbit(page, player, 0.1, 0.5)
        assert psnr(picture, expected(expecting, 0.1, azimuth=0.5)) >= 50
        assert psnr(picture, expected(player, 0.1, azimuth=0.5)) < 30
    finally:
        page.evaluate("person.onpose = null; person._posed = null; 0")


def test_clock_runs_in_a_drawn_scene_and_work_stops_with_it(basis):
    page, player = basis
    step = """(async () => { const before = [person.time, person.version];
        for (let i = 0; i < 5; i++) { renderer.render(scene, camera); await new Promise((go) => setTimeout(go, 10)); }
        return [person.time - before[0], person.version - before[1]]; })()"""
    try:
        page.evaluate("person.time = 0; renderer.render(scene, camera); 0")
        assert page.evaluate(step) == [0, 0]
        page.evaluate("person.play(); 0")
        moved, versions = page.evaluate(step)
        assert 0 < moved < player.duration + 1 and versions >= 4
        page.evaluate("person.loop = false; person.speed = 100; 0")
        page.evaluate(step)
        assert page.evaluate("person.time") == pytest.approx((player.frame_count - 1) / player.fps)
        page.evaluate("person.autoUpdate = false; person.loop = true; person.speed = -1; person.time = 0.3; 0")
        assert page.evaluate(step)[0] == 0
        page.evaluate("person.update(0.1); 0")
        assert page.evaluate("person.time") == pytest.approx(0.2)
    finally:
        page.evaluate("Object.assign(person, {loop: true, speed: 1, autoUpdate: true}).pause(); 0")


def test_missing_and_damaged_files_are_told(site, basis):
    page, _ = basis
    tell = "Ani3D.load({!r}).then(() => 'read', (error) => error.message)"
    assert page.evaluate(tell.format("none.ani3d")) == "none.ani3d: the server answers 404"
    (site[0] / "basis" / "cut.ani3d").write_bytes((site[0] / "basis" / "avatar.ani3d").read_bytes()[:-9])
    assert "cut.ani3d: is cut off" in page.evaluate(tell.format("cut.ani3d"))


def test_example_page_names_the_versions_tested_here():
    text = (SOURCES / "spark" / "three.html").read_text()
    for name, address in ADDRESSES.items():
        version = json.loads((PACKAGES / name / "package.json").read_text())["version"]
        assert set(re.findall(address, text)) == {version}


def test_committed_module_is_what_the_sources_build(tmp_path):
    vite, node = PACKAGES / "vite" / "bin" / "vite.js", shutil.which("node")
    if node is None or not vite.exists():
        pytest.skip(NPM)
    subprocess.run([node, str(vite), "build", "--config", str(SOURCES / "spark" / "vite.config.mjs"),
                    "--outDir", str(tmp_path)], check=True, capture_output=True)
    built = (tmp_path / "ani3d-spark.js").read_text()
    assert built == (SOURCES / "built" / "ani3d-spark.js").read_text(), "run `make web` and commit the result"


def test_types_name_what_the_module_has(basis):
    """Every member that ani3d-spark.d.ts promises is there, and every public one is promised."""
    text = (SOURCES / "spark" / "ani3d-spark.d.ts").read_text().split("class Ani3D", 1)[1]
    promised = set(re.findall(r"^  (?:static |readonly |get |set )*(\w+)[(:]", text, re.MULTILINE))
    own = basis[0].evaluate("""(() => {
        const parent = Object.getPrototypeOf(Ani3D);
        const fields = Object.keys(person).filter((name) => !(name in new parent({})));
        return [...fields, ...Object.getOwnPropertyNames(Ani3D.prototype), "load", "parse"]; })()""")
    inherited = {"constructor", "updateMatrixWorld", "bundle", "rest", "generatorError", "covGeneratorError"}
    assert promised == {name for name in own if not name.startswith("_")} - inherited
