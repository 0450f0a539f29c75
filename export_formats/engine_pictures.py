"""The drawings in the READMEs of the engines: where to click. `python -m export_formats.engine_pictures` writes them.

They are drawn here from boxes and words; nothing is copied from an editor's own pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
_FONT = "font-family='Helvetica, Arial, sans-serif'"
_PAPER, _INK, _FAINT, _LINE, _BAR, _MARK = "#fbfaf7", "#2b2b2b", "#8a857b", "#b9b4aa", "#ece8df", "#c8501e"
_MARKED = "#fbe4da"


@dataclass
class Drawing:
    """A picture of the given size [px], filled from the upper left."""

    width: int
    height: int
    parts: list[str] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    """Parts that lie over all others: arrows."""

    def text(self, x: int, y: int, words: str, *, size: int = 13, bold: bool = False, color: str = _INK) -> None:
        """A line of words; `y` is its base."""
        weight = " font-weight='bold'" if bold else ""
        self.parts.append(f"<text x='{x:g}' y='{y:g}' {_FONT} font-size='{size}' fill='{color}'{weight}>"
                          f"{escape(words)}</text>")

    def box(self, x: int, y: int, width: int, height: int, *, fill: str = "#ffffff", line: str = _LINE,
            dash: bool = False) -> None:
        """A rectangle."""
        dashes = " stroke-dasharray='5 4'" if dash else ""
        self.parts.append(f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='3' fill='{fill}' "
                          f"stroke='{line}'{dashes}/>")

    def window(self, x: int, y: int, width: int, height: int, title: str) -> None:
        """A panel with its name."""
        self.box(x, y, width, height)
        self.box(x, y, width, 24, fill=_BAR)
        self.text(x + 8, y + 17, title, bold=True)

    def rows(self, x: int, y: int, pairs: list[tuple[str, str]], *, width: int = 250, name: int = 110) -> None:
        """Names with their values in fields."""
        for index, (label, value) in enumerate(pairs):
            at = y + 24 * index
            self.text(x, at + 15, label)
            self.box(x + name, at, width - name, 20, fill="#f6f4ef")
            self.text(x + name + 6, at + 15, value)

    def marked(self, x: int, y: int, width: int, words: str, *, dash: bool = False) -> None:
        """Words in a box that catches the eye."""
        self.box(x, y, width, 24, fill=_MARKED, line=_MARK, dash=dash)
        self.text(x + 10, y + 17, words)

    def file_to_drag(self) -> None:
        """Step 1 in both engines: the bundle in a file manager's window."""
        self.window(16, 16, 200, 110, "File manager")
        self.marked(30, 54, 120, "avatar.ani3d")
        self.step(180, 66, 1)

    def entries(self, x: int, y: int, words: list[str], *, marked: int, width: int, inside: int = 0,
                dash: bool = False) -> None:
        """A list, `y` the base of its first line; the marked line is boxed, `inside` to the right."""
        for index, line in enumerate(words):
            if index == marked:
                self.marked(x + inside - 10, y + 24 * index - 17, width, line, dash=dash)
            else:
                self.text(x, y + 24 * index, line)

    def step(self, x: int, y: int, number: int) -> None:
        """The number of a step, around (x, y)."""
        self.parts.append(f"<circle cx='{x:g}' cy='{y:g}' r='12' fill='{_MARK}'/>")
        self.text(x - 4, y + 5, str(number), size=14, bold=True, color="#ffffff")

    def arrow(self, x0: int, y0: int, x1: int, y1: int) -> None:
        """From one point to another."""
        self.over.append(f"<line x1='{x0:g}' y1='{y0:g}' x2='{x1:g}' y2='{y1:g}' stroke='{_MARK}' stroke-width='2.5' "
                         "marker-end='url(#head)'/>")

    def svg(self) -> str:
        """The file's text."""
        head = ("<defs><marker id='head' markerWidth='9' markerHeight='9' refX='7' refY='4' orient='auto'>"
                f"<path d='M0,0 L8,4 L0,8 z' fill='{_MARK}'/></marker></defs>")
        note = Drawing(0, 0)
        note.text(12, self.height - 10, "drawing, not a screenshot: the editor looks different", size=11, color=_FAINT)
        body = "\n".join(self.parts + self.over + note.parts)
        return (f"<svg xmlns='http://www.w3.org/2000/svg' width='{self.width}' height='{self.height}' "
                f"viewBox='0 0 {self.width} {self.height}'>\n{head}\n"
                f"<rect width='{self.width}' height='{self.height}' fill='{_PAPER}'/>\n{body}\n</svg>\n")


def unity_install() -> Drawing:
    """Window ▸ Package Manager ▸ + ▸ Add package from disk."""
    drawing = Drawing(720, 250)
    drawing.text(16, 26, "Window  ▸  Package Manager", bold=True)
    drawing.window(16, 38, 400, 180, "Package Manager")
    drawing.box(26, 70, 34, 24, fill=_BAR)
    drawing.text(33, 87, "+ ▾")
    drawing.step(84, 82, 1)
    drawing.box(26, 98, 240, 76)
    drawing.entries(38, 117, ["Add package from disk…", "Add package from tarball…", "Add package from git URL…"],
                    marked=0, width=236)
    drawing.step(288, 111, 2)
    drawing.arrow(306, 111, 446, 111)
    drawing.window(454, 58, 250, 150, "unity / com.ani3d.player")
    drawing.entries(472, 109, ["Editor", "Runtime", "Samples~", "package.json"], marked=3, width=180)
    drawing.step(664, 176, 3)
    return drawing


def unity_play() -> Drawing:
    """Drag the file into Assets, the figure into the scene."""
    drawing = Drawing(820, 340)
    drawing.file_to_drag()
    drawing.arrow(90, 84, 90, 208)
    drawing.window(16, 176, 260, 130, "Project ▸ Assets")
    drawing.marked(30, 214, 150, "▸ avatar   (figure)")
    drawing.text(56, 262, "avatar   (asset inside)", color=_FAINT)
    drawing.step(206, 227, 2)
    drawing.arrow(222, 222, 372, 160)
    drawing.window(300, 16, 210, 290, "Scene")
    drawing.parts.append("<g stroke='#7d786e' stroke-width='3' fill='none'>"
                         "<circle cx='404' cy='112' r='16' fill='#d9d2c4'/>"
                         "<path d='M404,128 L404,186 M404,142 L374,170 M404,142 L434,170 M404,186 L386,246 "
                         "M404,186 L422,246'/></g>")
    drawing.window(534, 16, 270, 290, "Inspector ▸ Ani3D Player")
    drawing.rows(544, 50, [("Asset", "avatar"), ("Clip", "0"), ("Time", "0.0"), ("Play", "☑"), ("Speed", "1"),
                           ("Loop", "☑"), ("Fade", "0.25"), ("Residual", "☑"), ("Root Motion", "☑"),
                           ("Detail", "1.0")])
    drawing.step(790, 29, 3)
    return drawing


def unity_timeline() -> Drawing:
    """A track, two overlapping clips, a binding."""
    drawing = Drawing(760, 200)
    drawing.window(16, 16, 728, 150, "Timeline")
    drawing.box(26, 54, 30, 22, fill=_BAR)
    drawing.text(33, 70, "+ ▾")
    drawing.step(76, 65, 1)
    drawing.text(96, 70, "Ani3D.Timeline ▸ Ani3D Track")
    drawing.box(26, 96, 190, 40, fill="#f6f4ef")
    drawing.text(36, 120, "avatar (Ani3D Player)")
    drawing.step(232, 116, 2)
    drawing.box(260, 96, 260, 40, fill="#f1d9b8", line="#b07a3a")
    drawing.text(272, 120, "walk")
    drawing.box(460, 96, 260, 40, fill="#f1d9b8", line="#b07a3a")
    drawing.text(600, 120, "run")
    drawing.parts.append("<path d='M460,136 L520,96' stroke='#b07a3a' stroke-width='1.5'/>")
    drawing.step(490, 76, 3)
    return drawing


def unreal_install() -> Drawing:
    """Where the plugin's folder goes."""
    drawing = Drawing(700, 220)
    drawing.window(16, 16, 220, 150, "unreal")
    drawing.entries(40, 68, ["Ani3D", "avatar.ani3d", "README.md"], marked=0, width=140)
    drawing.step(190, 63, 1)
    drawing.arrow(204, 63, 366, 126)
    drawing.window(330, 16, 354, 150, "YourProject  (with a Source folder: C++)")
    drawing.entries(346, 58, ["Content", "Source", "Plugins", "Ani3D", "YourProject.uproject"], marked=3, width=150,
                    inside=38, dash=True)
    drawing.step(510, 148, 2)
    drawing.text(530, 153, "open it, agree to build")
    return drawing


def unreal_play() -> Drawing:
    """Import, component, details."""
    drawing = Drawing(820, 340)
    drawing.file_to_drag()
    drawing.arrow(90, 82, 90, 190)
    drawing.window(16, 158, 250, 148, "Content Browser")
    drawing.box(32, 198, 110, 84, fill="#f6f4ef", line=_MARK)
    drawing.text(54, 236, "avatar")
    drawing.text(42, 270, "Ani3D Asset", size=11, color=_FAINT)
    drawing.window(292, 16, 240, 290, "Outliner ▸ Actor")
    drawing.box(304, 52, 66, 24, fill=_BAR)
    drawing.text(316, 69, "+ Add")
    drawing.step(392, 64, 2)
    drawing.marked(304, 84, 190, "Ani3D")
    drawing.text(304, 150, "Actor (instance)")
    drawing.text(324, 176, "DefaultSceneRoot")
    drawing.marked(320, 186, 180, "Ani3D")
    drawing.window(556, 16, 248, 290, "Details ▸ Ani3D")
    drawing.rows(566, 50, [("Asset", "avatar"), ("Clip", "0"), ("Time", "0.0"), ("Speed", "1.0"), ("Playing", "☑"),
                           ("Loop", "☑"), ("Residual", "☑"), ("Root Motion", "☑"), ("Detail", "1.0")],
                 width=228, name=100)
    drawing.step(164, 240, 3)
    drawing.step(650, 60, 3)
    return drawing


def unreal_sequencer() -> Drawing:
    """Keys on the component's properties."""
    drawing = Drawing(760, 220)
    drawing.window(16, 16, 728, 166, "Sequencer")
    for index, words in enumerate(("Actor", "Ani3D    + Track ▾", "Time", "Mix Clip, Mix Time", "Mix")):
        drawing.text(28 + 14 * min(index, 2), 62 + 25 * index, words)
    drawing.step(190, 84, 1)
    for row, keys in ((2, ((250, "0"), (700, "6.0"))), (3, ((430, "0"), (700, "2.0"))), (4, ((430, "0"), (520, "1")))):
        y = 57 + 25 * row
        drawing.parts.append(f"<line x1='250' y1='{y}' x2='720' y2='{y}' stroke='{_LINE}'/>")
        for x, value in keys:
            drawing.parts.append(f"<path d='M{x - 6},{y} L{x},{y - 6} L{x + 6},{y} L{x},{y + 6} z' fill='{_MARK}'/>")
            drawing.text(x + 9, y - 3, value, size=11)
    drawing.step(476, 132, 2)
    drawing.text(494, 124, "fades from Clip to Mix Clip", size=11)
    return drawing


PICTURES = {
    "unity/Documentation~/install.svg": unity_install, "unity/Documentation~/play.svg": unity_play,
    "unity/Documentation~/timeline.svg": unity_timeline, "unreal/pictures/install.svg": unreal_install,
    "unreal/pictures/play.svg": unreal_play, "unreal/pictures/sequencer.svg": unreal_sequencer,
}
"""Drawings by their place beside this file."""


def main() -> None:
    """Write all drawings."""
    for name, draw in PICTURES.items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(draw().svg(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
