"""A web page that plays the bundle itself: WebGL 2, no library, no build step; and a module for three.js scenes.

The folder holds `index.html` with the player's modules and the bundle, for any static server, and `standalone.html`,
the same in one file that opens by double-click. Sources in `export_formats/web`; they are copied as they are.
`ani3d-spark.js` puts the bundle into a three.js scene that Spark draws; `three.html` shows how. It is built from the
same sources (`make web`) and committed, so that nobody who exports needs Node.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
from pathlib import Path

from export_formats import ExportOptions, Report
from export_formats.output import new_folder, size_of
from export_formats.player_bundle import FILE, write_player_bundle
from runtime.types import Bundle

SOURCES = Path(__file__).parent / "web"
MODULES = ("constants.js", "loop.js", "archive.js", "bundle.js", "motion.js", "camera.js", "pose_textures.js",
           "renderer.js", "player.js", "main.js")
"""The player's modules, each after those it imports."""
WORKER = "sort_worker.js"
PAGE = "index.html"
SPARK_FILES = ("built/ani3d-spark.js", "spark/ani3d-spark.d.ts", "spark/three.html")
"""The module for three.js with Spark, its types, and a page that uses it."""
STANDALONE = "standalone.html"

_OWNED = "|".join(map(re.escape, (*MODULES, WORKER, PAGE, STANDALONE, FILE, "shaders",
                                  *(Path(name).name for name in SPARK_FILES))))
_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./[a-z_]+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async |function|class|const)", re.MULTILINE)
_START = re.compile(r"<!-- START -->\n.*<!-- END -->\n", re.DOTALL)


def write(bundle: Bundle, path: Path, options: ExportOptions) -> Report:
    """Write the page's folder. `options.lod` and `options.residual` choose what of the bundle it holds."""
    with new_folder(path, owned=_OWNED) as folder:
        write_player_bundle(bundle, folder, options)
        for name in (*MODULES, WORKER, PAGE):
            shutil.copyfile(SOURCES / name, folder / name)
        shutil.copytree(SOURCES / "shaders", folder / "shaders")
        for name in SPARK_FILES:
            shutil.copyfile(SOURCES / name, folder / Path(name).name)
        (folder / STANDALONE).write_text(standalone_page((folder / FILE).read_bytes(), bundle.manifest.name),
                                         encoding="utf-8")
    return Report(path=path, size_bytes=size_of(path), frames=sum(clip.motion.frames for clip in bundle.clips),
                  opens_with=f"a browser: {path.name}/{STANDALONE} by double-click, or {path.name}/ from any web "
                  f"server (python -m http.server -d {path.name}); {path.name}/three.html is a three.js scene that "
                  "uses ani3d-spark.js")


def standalone_page(bundle: bytes, name: str) -> str:
    """The page with modules, shaders, worker and bundle inside."""
    shaders = {file.name: file.read_text(encoding="utf-8") for file in sorted((SOURCES / "shaders").iterdir())}
    worker = (SOURCES / WORKER).read_text(encoding="utf-8")
    script = f"""{joined_modules()}
const SHADER_TEXTS = {_literal(shaders)};
const WORKER_TEXT = {_literal(worker)};
const worker = () => new Worker(URL.createObjectURL(new Blob([WORKER_TEXT], {{type: "text/javascript"}})));
const stored = atob(document.getElementById("bundle").textContent);
const bytes = Uint8Array.from(stored, (letter) => letter.charCodeAt(0));
window.ready = start(bytes, {{shaders: SHADER_TEXTS, worker}}, {_literal(name)})
  .then((player) => window.player = player).catch(() => {{}});
"""
    data = base64.b64encode(bundle).decode("ascii")
    inside = (f'<script type="text/plain" id="bundle">{data}</script>\n<script type="module">\n{script}</script>\n')
    page = (SOURCES / PAGE).read_text(encoding="utf-8")
    page = page.replace("<title>ani3d</title>", f"<title>{html.escape(name)} – ani3d</title>")
    # A function: backslashes of the script are not the pattern's.
    return _START.sub(lambda _: inside, page)


def joined_modules() -> str:
    """All modules as one script: pages opened from a file may not import. Their top-level names are distinct."""
    texts = [(SOURCES / name).read_text(encoding="utf-8") for name in MODULES]
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in texts)


def _literal(value: object) -> str:
    """A JavaScript literal that cannot end the script it stands in, nor keep it from ending (`<!--<script>`)."""
    return json.dumps(value).replace("<", "\\u003c")
