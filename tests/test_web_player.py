"""The web player in a real browser: its frames are the CPU renderer's, its page works, its reader refuses bad files."""

import base64
import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asymmetric_figure import make_figure, with_driven_clip
from outside.web.chromium import MISSING, PROGRAM, Page, serve
from sample_bundle import make_bundle

from export_formats import ExportOptions, web_export
from export_formats.web_export import MODULES, SOURCES, joined_modules
from runtime import (
    _raster_blend,
    _raster_project,
    actor_loop,
    archive,
    bundle_blocks,
    framing,
    rotations,
    stage_reference,
    types,
)
from runtime import bundle as bundle_file
from runtime.actor import Actor
from runtime.bundle import read_bundle, write_bundle
from runtime.cameras import orbit_camera
from runtime.compositing import composite
from runtime.errors import InputError
from runtime.lod import prefix
from runtime.player import Player
from runtime.raster import render
from viewer.show import Show

browser = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
SIZE = (240, 416)
GREY = (0.5, 0.5, 0.5)
TIMES = (0.0, 0.11, 0.3371)
"""Seconds: a whole frame, and two between frames."""
AZIMUTHS = (0.0, 1.5, 3.0, 4.6)


def figure(**kind):
    return make_bundle(3, count=1500, joints=6, frames=12, basis=5, **kind)


def open_figure(**kind):
    """The figure with a clip that does not close: all turns one way, down and ahead, over its 18 frames at 30 fps."""
    bundle = make_bundle(3, count=1500, joints=6, frames=18, basis=5, **kind)
    clip, way = bundle.clips[0], np.linspace(0, 1, 18)
    motion = replace(clip.motion, root_translations=(way[:, None] * (0.2, -0.3, 0.5)).astype(np.float32),
                     quats_wxyz=rotations.from_rotvec(np.multiply.outer(way, np.full((6, 3), 0.2))).astype(np.float32))
    return replace(bundle, clips=(replace(clip, motion=motion),))


SEAMS = {"basis": (11.25, 11.9, 12 + 3.3, 36 + 11.5), "dense": (11.5, 24 + 11.5),
         "open": (13.4, 15.0, 12 + 7.2, 24 + 17.7)}
"""Frames within the seam of each export's loop, or in a later pass."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Exports of a basis and of a dense bundle, and of a figure that stands upright, by name."""
    top = tmp_path_factory.mktemp("web")
    web_export.write(figure(), top / "basis", ExportOptions())
    web_export.write(figure(dense=True, texel_type=np.int16), top / "dense", ExportOptions())
    web_export.write(open_figure(), top / "open", ExportOptions())
    web_export.write(make_figure(), top / "sides", ExportOptions())
    return top


@pytest.fixture(scope="module")
def page(folders):
    with serve(folders) as address, Page(f"{address}basis/", size=SIZE) as opened:
        opened.evaluate("ready.then(() => player.pause())")
        opened.address = address
        yield opened


def frame(page, seconds, *, azimuth=0.0, count=None, residual=True):
    """The page's picture of a moment, [H X 3] uint8."""
    text = page.evaluate(f"""(async () => {{
        player.orbit.azimuth = {azimuth};
        player.residual = {json.dumps(residual)};
        const pixels = await player.renderAt({seconds}, {{width: {SIZE[0]}, height: {SIZE[1]},
                                                          count: {json.dumps(count)} ?? undefined}});
        let text = "";
        for (let i = 0; i < pixels.length; i += 32768) text += String.fromCharCode(...pixels.subarray(i, i + 32768));
        return btoa(text);
    }})()""")
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(SIZE[1], SIZE[0], 4)[..., :3]


def looped(player, seconds, *, residual=True):
    """The runtime's Gaussians of a looping clip, and what the viewer's camera looks at."""
    show = Show([player.bundle], playing=False)
    show.choose_clip(player.clip_index)
    show.actor.time, show.actor.residual = seconds, residual
    return stage_reference.gaussians_at(player.bundle, show.actor.moment()), show.target()


def expected(player, seconds, *, azimuth=0.0, residual=True, looking_at=None):
    """The CPU renderer's picture of it; `looking_at` is the player whose figure the camera follows (None: this one)."""
    gaussians, _ = looped(player, seconds, residual=residual)
    return composite(render(gaussians, camera_at(looking_at or player, seconds, azimuth=azimuth)).rgba, GREY)


def camera_at(player, seconds, *, azimuth=0.0):
    """The page's camera."""
    return orbit_camera(looped(player, seconds)[1], azimuth=azimuth, elevation=framing.ELEVATION,
                        distance=framing.DISTANCE, fov_y=framing.FOV_Y, size=SIZE)


def psnr(a, b):
    return 10 * math.log10(255 ** 2 / max(float(np.mean((a.astype(float) - b) ** 2)), 1e-9))


@browser
@pytest.mark.parametrize("kind", ("basis", "dense"))
def test_frames_equal_the_cpu_renderers_at_three_times_and_four_azimuths(page, folders, kind):
    player = Player(read_bundle(folders / kind / "avatar.ani3d"))
    opened(page, kind)
    worst, turned = math.inf, 0.0
    for seconds in TIMES:
        for azimuth in AZIMUTHS:
            picture = frame(page, seconds, azimuth=azimuth)
            assert picture.std() > 10, "an empty picture"
            worst = min(worst, psnr(picture, expected(player, seconds, azimuth=azimuth)))
            turned = max(turned, psnr(picture, expected(player, seconds, azimuth=-azimuth - 0.1)))
    # Measured 59 dB and more: half-float blending, single pixels at the 1/255 cut. Turned wrongly it is 23 dB.
    assert worst >= 55, (worst, turned)
    assert turned < 30, (worst, turned)


def opened(page, kind):
    """Let `player` be one of another export."""
    page.evaluate(f"""(async () => {{
        const bytes = new Uint8Array(await (await fetch("{page.address}{kind}/avatar.ani3d")).arrayBuffer());
        const {{Player, fetchShaders}} = await import("{page.address}{kind}/player.js");
        window.player = await Player.open(document.createElement("canvas"), bytes,
          {{shaders: await fetchShaders("{page.address}{kind}/shaders/"),
            worker: () => new Worker("{page.address}{kind}/sort_worker.js")}});
    }})()""")


@browser
@pytest.mark.parametrize("kind", SEAMS)
def test_loops_close_as_the_runtimes_do(page, folders, kind):
    """Across the seam of a clip that closes, by a fade where it does not, the way of earlier loops added."""
    player = Player(read_bundle(folders / kind / "avatar.ani3d"))
    opened(page, kind)
    for place in SEAMS[kind]:
        seconds = place / player.fps
        picture = frame(page, seconds, azimuth=1.5)
        assert psnr(picture, expected(player, seconds, azimuth=1.5)) >= 55, place
        rigid = frame(page, seconds, residual=False)
        assert psnr(rigid, expected(player, seconds, residual=False)) >= 55, place
        # What was shown before: the last frame held, every loop anew from the same place.
        held = composite(render(player.gaussians_at(seconds), camera_at(player, seconds, azimuth=1.5)).rgba, GREY)
        assert psnr(picture, held) < 35, place


@browser
@pytest.mark.parametrize("kind", ("basis", "open"))
def test_layers_are_the_actors_at_any_time(page, folders, kind):
    bundle = read_bundle(folders / kind / "avatar.ani3d")
    loop = actor_loop.loop_of(bundle.clips[0].motion)
    assert (loop.closed, loop.fade) == ((True, 0) if kind == "basis" else (False, 6))
    times = [t / 240 for t in range(-480, 481)]
    answer = page.evaluate(f"""(async () => {{
        const {{readBundle}} = await import("{page.address}basis/bundle.js");
        const {{layersAt, shownFrame}} = await import("{page.address}basis/loop.js");
        const bytes = new Uint8Array(await (await fetch("{page.address}{kind}/avatar.ani3d")).arrayBuffer());
        const clip = (await readBundle(bytes, "{kind}")).clips[0];
        const kinds = [{{}}, {{backwards: true}}, {{loop: false}}];
        return kinds.map((kind) => {json.dumps(times)}.map((time) => {{
            const layers = layersAt(clip, time, kind);
            return [shownFrame(layers), ...layers.flatMap((l) =>
              [l.before, l.after, l.weight, l.share, ...l.beforeOffset, ...l.afterOffset])];
        }}));
    }})()""")
    for options, rows in zip(({}, {"speed": -1.0}, {"loop": False}), answer, strict=True):
        actor = Actor(bundle, **options)
        for actor.time, row in zip(times, rows, strict=True):
            layers = [value for layer in actor.moment().layers for value in (
                layer.before, layer.after, layer.weight, layer.share, *layer.before_offset, *layer.after_offset)]
            assert row == pytest.approx([actor.frame(), *layers], abs=1e-9), (options, actor.time)


@browser
def test_levels_of_detail_and_rigid_skinning_equal_the_cpu_renderers(page, folders):
    bundle = read_bundle(folders / "basis" / "avatar.ani3d")
    # The page as it was answers until the new one is there.
    page.evaluate("window.old = true; location.reload()")
    page.wait_until("!window.old && window.player && !document.getElementById('bar').hidden")
    page.evaluate("player.pause()")
    whole = Player(bundle)
    for count in (1, 97, 700):
        part = Player(prefix(bundle, count))
        assert psnr(frame(page, 0.11, count=count), expected(part, 0.11, looking_at=whole)) >= 55, count
    rigid = frame(page, 0.11, residual=False)
    assert psnr(rigid, expected(whole, 0.11, residual=False)) >= 55
    assert psnr(rigid, expected(whole, 0.11)) < 35


@browser
def test_standalone_page_opens_from_the_disk_and_shows_the_same(page, folders):
    served = frame(page, 0.3371, azimuth=1.5)
    with Page((folders / "basis" / "standalone.html").as_uri(), size=SIZE) as opened:
        opened.evaluate("ready.then(() => player.pause())")
        assert np.array_equal(frame(opened, 0.3371, azimuth=1.5), served)
        assert opened.errors == []
        assert opened.evaluate("document.title") == "random person – ani3d"


@browser
def test_page_plays_scrubs_and_draws_without_errors(folders, tmp_path):
    with serve(folders) as address, Page(f"{address}basis/", size=SIZE) as page:
        page.evaluate("ready")
        page.wait_until("player.time > 0 && player._order")
        page.evaluate("document.getElementById('play').click()")
        before = page.evaluate("player.time")
        time.sleep(0.2)
        assert page.evaluate("player.time") == before
        page.evaluate("""{ const bar = document.getElementById("time"); bar.value = 0.75; bar.oninput(); }""")
        assert page.evaluate("player.time / player.duration") == pytest.approx(0.75)
        page.evaluate("""{ const bar = document.getElementById("detail"); bar.value = 0; bar.oninput(); }""")
        page.wait_until("player._order.length == 500")
        page.screenshot(tmp_path / "page.png")
        from PIL import Image

        shown = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
        assert shown[:200].std() > 15
        assert page.errors == []


@browser
def test_dropped_file_takes_the_persons_place_and_a_damaged_one_leaves_it_playing(folders):
    other = (folders / "sides" / "avatar.ani3d").read_bytes()
    with serve(folders) as address, Page(f"{address}basis/", size=SIZE) as page:
        page.evaluate("ready")

        def drop(content: bytes, name: str) -> None:
            page.evaluate(f"""(async () => {{
                const transfer = new DataTransfer();
                const bytes = Uint8Array.from(atob("{base64.b64encode(content).decode()}"), (c) => c.charCodeAt(0));
                transfer.items.add(new File([bytes], "{name}"));
                await window.ondrop({{preventDefault() {{}}, dataTransfer: transfer}});
            }})()""")

        page.wait_until("player.time > 0 && player._order")
        drop(other[:-9], "cut.ani3d")
        assert "cut.ani3d: is cut off" in page.evaluate("document.getElementById('message').textContent")
        before = page.evaluate("player.time")
        page.wait_until(f"player.time != {before} && player.playing")
        page.evaluate("document.getElementById('message').click()")
        assert page.evaluate("document.getElementById('message').hidden")
        drop(other, "sides.ani3d")
        assert page.evaluate("document.title") == f"{make_figure().manifest.name} – ani3d"
        # The new person's controls and canvas are on the page; the old one's clock and worker are stopped.
        old = page.evaluate("[player.playing, player.canvas.isConnected, player.renderer.lost()]")
        assert old == [False, False, True]
        page.wait_until("document.getElementById('time').value > 0")
        assert page.errors == []


@browser
@pytest.mark.parametrize("size", [(390, 844), (844, 390)], ids=["upright", "on its side"])
def test_page_is_made_for_a_phone(folders, tmp_path, size):
    """Fingers turn and zoom; at most four pixels for each of the page's; all controls in view, none on the figure."""
    with serve(folders) as address, Page(f"{address}sides/", size=size, phone=True) as page:
        page.evaluate("ready.then(() => player.pause())")
        assert page.evaluate("[innerWidth, devicePixelRatio, canvas.width, canvas.height]") == [
            size[0], 3, 2 * size[0], 2 * size[1]]
        page.touch([(200, 150)], [(180, 150)], [(150, 150)])
        assert page.evaluate("player.orbit.azimuth") == pytest.approx(50 * 0.008)
        page.touch([(150, 150), (250, 150)], [(150, 150), (350, 150)])
        assert page.evaluate("player.orbit.distance") == pytest.approx(framing.DISTANCE / 2)
        page.touch([(150, 150), (350, 150)], [(200, 150), (220, 150)], [(200, 150), (220, 150)])
        assert page.evaluate("player.orbit.distance") > framing.DISTANCE
        boxes = page.evaluate("""["bar", "play", "time", "speed", "detail", "residual"].map((id) => {
            const {left, right, top, bottom} = document.getElementById(id).getBoundingClientRect();
            return [left, right, top, bottom]; })""")
        for left, right, top, bottom in boxes:
            assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1] and bottom - top >= 40
        assert boxes[0][2] > 0.75 * size[1]
        # Feet above the bar.
        page.evaluate("Object.assign(player.orbit, {azimuth: 0, distance: 3.2}); player.refresh()")
        page.wait_until("player._order && !player._running && !player._sorting")
        page.screenshot(tmp_path / "phone.png")
        from PIL import Image

        shown = np.asarray(Image.open(tmp_path / "phone.png").convert("RGB")).astype(int)
        bar = int(3 * boxes[0][2])
        assert np.abs(shown[bar - 9] - 128).max() <= 2 and shown[:bar].std() > 10
        assert page.errors == []


@browser
def test_gpu_taken_away_and_given_back(page, folders):
    """As phones do with pages in the background."""
    before = frame(page, 0.11)
    page.evaluate("""(async () => {
        const lose = player.renderer.gl.getExtension("WEBGL_lose_context");
        const heard = (name) => new Promise((resume) => player.canvas.addEventListener(name, resume, {once: true}));
        const [lost, restored] = [heard("webglcontextlost"), heard("webglcontextrestored")];
        lose.loseContext();
        await lost;
        player.play();
        await new Promise((resume) => setTimeout(resume, 50));
        lose.restoreContext();
        await restored;
        player.pause();
    })()""")
    assert np.array_equal(frame(page, 0.11), before)
    assert page.errors == []


@browser
def test_least_device_that_has_webgl_2_shows_the_same(page, folders):
    """Textures of 2048 pixels and no float pictures: blended on the 8 bits of the canvas, so to fewer dB."""
    player = Player(read_bundle(folders / "basis" / "avatar.ani3d"))
    page.evaluate(f"""(async () => {{
        const {{getParameter, getExtension}} = WebGL2RenderingContext.prototype;
        WebGL2RenderingContext.prototype.getParameter = function (name) {{
          return name === this.MAX_TEXTURE_SIZE ? 2048 : getParameter.call(this, name);
        }};
        WebGL2RenderingContext.prototype.getExtension = function (name) {{
          return name.startsWith("EXT_color_buffer") ? null : getExtension.call(this, name);
        }};
        const bytes = new Uint8Array(await (await fetch("{page.address}basis/avatar.ani3d")).arrayBuffer());
        const {{Player, fetchShaders}} = await import("{page.address}basis/player.js");
        window.usual = player;
        window.player = await Player.open(document.createElement("canvas"), bytes,
          {{shaders: await fetchShaders("{page.address}basis/shaders/"),
            worker: () => new Worker("{page.address}basis/sort_worker.js")}});
        Object.assign(WebGL2RenderingContext.prototype, {{getParameter, getExtension}});
    }})()""")
    try:
        assert page.evaluate("[player.renderer.textureWidth, player.renderer.floatTarget]") == [2048, False]
        assert psnr(frame(page, 0.11, azimuth=1.5), expected(player, 0.11, azimuth=1.5)) >= 45
    finally:
        page.evaluate("window.player = usual; 0")


@browser
def test_damaged_files_are_refused_in_words(page, folders):
    whole = (folders / "basis" / "avatar.ani3d").read_bytes()
    cases = {"cut off": whole[:-100], "not an ani3d bundle": b"GIF89a" + whole, "bytes after its end": whole + b"\0",
             "damaged": flipped(whole)}
    entries = archive.Archive(folders / "basis" / "avatar.ani3d")
    content = {name: entries.read(name) for name in entries.names}
    changed = folders / "changed.ani3d"
    archive.write_archive(changed, content | {"manifest.json": content["manifest.json"].replace(
        b'"version": 1', b'"version": 7')})
    cases |= {"version 7, this player knows 1": changed.read_bytes()}
    archive.write_archive(changed, content | {"manifest.json": content["manifest.json"] + b" " * (1 << 20)})
    cases |= {"larger than 1048576 bytes": changed.read_bytes()}
    joints = "rig/skin_joints.u8"
    archive.write_archive(changed, content | {joints: b"\xff" + content[joints][1:]})
    cases |= {"row 0 names no joint": changed.read_bytes()}
    for block, words in (("rig/rest.f64", "not an invertible"), ("clip0/quats.f32", "not a unit quaternion")):
        archive.write_archive(changed, content | {block: bytes(16) + content[block][16:]})
        cases |= {words: changed.read_bytes()}
    archive.write_archive(changed, content | {"extra.u8": b"1"})
    cases |= {"unknown block extra.u8": changed.read_bytes()}
    write_bundle(with_driven_clip(make_figure()), changed)
    cases |= {"": changed.read_bytes()}  # a pose residual is read past
    for words, data in cases.items():
        answer = page.evaluate(f"""(async () => {{
            const {{readBundle}} = await import("{page.address}basis/bundle.js");
            const bytes = Uint8Array.from(atob("{base64.b64encode(data).decode()}"), (c) => c.charCodeAt(0));
            return readBundle(bytes, "bad.ani3d").then(() => "read", (error) => error.constructor.name + error.message);
        }})()""")
        wanted = f"InputErrorbad.ani3d.*{re.escape(words)}.*" if words else "read"
        assert re.fullmatch(wanted, answer), (words, answer)


def flipped(content: bytes) -> bytes:
    """The bundle with one bit of its second entry's content changed."""
    second = content.index(b"PK\x03\x04", 4)
    at = second + 30 + content[second + 26] + 20
    return content[:at] + bytes([content[at] ^ 16]) + content[at + 1:]


@browser
def test_missing_bundle_is_named_on_the_page(folders):
    with serve(folders) as address, Page(f"{address}basis/?bundle=none.ani3d", size=SIZE) as page:
        page.evaluate("ready")
        assert "none.ani3d: the server answers 404" in page.evaluate("document.getElementById('message').textContent")


def test_constants_are_the_runtimes():
    text = (SOURCES / "constants.js").read_text()

    def value(name):
        return eval(re.search(rf"\b{name}(?: =|:) ([^,;}}]+)", text)[1].replace("Math.PI", "math.pi"), {"math": math})

    wanted = {
        "SH_C0": types.SH_C0, "WEIGHT_ONE": bundle_blocks.WEIGHT_ONE, "QUAT_ONE": bundle_blocks.QUAT_ONE,
        "NEAR": _raster_project.NEAR, "EPS_2D": _raster_project.EPS_2D, "ALPHA_MIN": _raster_project.ALPHA_MIN,
        "GUARD": _raster_project.GUARD, "SEAM_TOLERANCE": actor_loop.SEAM_TOLERANCE,
        "FADE_S": actor_loop.LOOP_FADE_S, "FOV_Y": framing.FOV_Y, "DISTANCE": framing.DISTANCE,
        "ELEVATION": framing.ELEVATION, "ENTRIES": archive.MAX_ENTRIES, "ENTRY_BYTES": archive.MAX_ENTRY_BYTES,
        "TOTAL_BYTES": archive.MAX_TOTAL_BYTES, "FREE_BYTES": archive.FREE_BYTES, "RATIO": archive.MAX_RATIO,
        "CLIPS": bundle_file.MAX_CLIPS, "MANIFEST_BYTES": bundle_file.MAX_MANIFEST_BYTES,
        "METRES": bundle_blocks.MAX_METRES, "VERSION": bundle_file.VERSION,
        **bundle_blocks.LIMITS}
    for name, number in wanted.items():
        assert value(name) == pytest.approx(number, rel=1e-12), name
    assert np.float32(value("ALPHA_MAX")) == _raster_blend.ALPHA_MAX


def test_modules_joined_into_one_script_have_distinct_names():
    text = joined_modules()
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert "</script" not in text
    names = re.findall(r"^(?:async )?(?:const|let|class|function) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 20
    for index, module in enumerate(MODULES):
        imported = re.findall(r'from "\./(\w+\.js)"', (SOURCES / module).read_text())
        assert set(imported) <= set(MODULES[:index]), module


@browser
def test_a_name_of_any_letters_leaves_the_page_whole(tmp_path):
    """In a script, `<!--<script>` would take the rest of the page with it."""
    bundle = figure()
    name = "<!--<script></script>\"'`${1}\\n"
    web_export.write(replace(bundle, manifest=replace(bundle.manifest, name=name)), tmp_path / "page", ExportOptions())
    with Page((tmp_path / "page" / "standalone.html").as_uri(), size=SIZE) as page:
        page.evaluate("ready")
        assert page.evaluate("[document.title, typeof player]") == [f"{name} – ani3d", "object"]
        assert page.errors == []


def test_writer_keeps_a_users_own_script(tmp_path):
    web_export.write(figure(), tmp_path / "page", ExportOptions())
    (tmp_path / "page" / "app.js").write_text("mine")
    with pytest.raises(InputError, match=r"app\.js"):
        web_export.write(figure(), tmp_path / "page", ExportOptions())
    assert (tmp_path / "page" / "app.js").read_text() == "mine"


def test_writer_replaces_its_own_export_and_nothing_else(tmp_path):
    bundle = figure()
    for lod in (None, 300):
        report = web_export.write(bundle, tmp_path / "page", ExportOptions(lod=lod, residual=lod is None))
    assert report.size_bytes == sum(f.stat().st_size for f in (tmp_path / "page").rglob("*") if f.is_file())
    inside = read_bundle(tmp_path / "page" / "avatar.ani3d")
    assert inside.gaussians.count == 300
    assert len(inside.clips[0].residual.moving) == 0
    (tmp_path / "page" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        web_export.write(bundle, tmp_path / "page", ExportOptions())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page"]
    with pytest.raises(InputError, match="level of detail"):
        web_export.write(bundle, tmp_path / "other", ExportOptions(lod=10 ** 6))
    assert not Path(tmp_path / "other").exists()
