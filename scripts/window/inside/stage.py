# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts share: checks and pictures, the add-on's modules, editors, a mouse and a keyboard that are real to Blender."""

from __future__ import annotations

import importlib
import json
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import bpy
import numpy as np

ADDON = "bl_ext.user_default.teamwork"
STEP = 11
"""Pixels between two places that are tried for a button: less than a button is high."""
MISSES = 2
"""How often a button is looked for once more: on a busy machine Blender may notice the mouse when it is gone again."""

Waits = Generator[float, None, object]


def install_extension(job: dict) -> None:
    """From its zip, as a user would."""
    bpy.ops.extensions.package_install_files(filepath=job["zip"], repo="user_default", enable_on_install=True)


class Stage:
    """One Blender window, and what was seen in it."""

    def __init__(self, job: dict) -> None:
        self.job, self.checks, self.shots = job, [], []
        self.ended = self.frames = False
        self.handle = ""  # of the window, as X counts
        self.area = max(self.window.screen.areas, key=lambda area: area.width * area.height)

    # ---- what is told ------------------------------------------------------------------------------------------------

    def check(self, name: str, good: bool, detail: str = "") -> None:
        """Note whether something held."""
        self.checks.append({"name": name, "ok": bool(good), "detail": str(detail)})
        print("ok    " if good else "FAILED", name, detail, flush=True)
        self.write()

    def shot(self, name: str) -> Waits:
        """A picture of the whole screen as it is drawn now."""
        yield from self.redraw()
        path = Path(self.job["out"]) / f"{len(self.shots) + 1:02}_{name}.png"
        subprocess.run(["import", "-window", "root", str(path)], check=True)
        self.shots.append(path.name)
        self.write()

    def screen(self) -> Waits:
        """What the window shows now, H x W x 4 from 0 to 1, the rows from bottom to top, as Blender counts."""
        yield from self.redraw()
        path = Path(self.job["report"]).with_name("screen.png")
        subprocess.run(["import", "-window", self.handle or "root", str(path)], check=True)
        image = bpy.data.images.load(str(path))
        pixels = np.array(image.pixels, np.float32).reshape(image.size[1], image.size[0], 4)
        bpy.data.images.remove(image)
        return pixels

    def write(self) -> None:
        """The report so far, so that a crash loses nothing."""
        told = {"checks": self.checks, "shots": self.shots, "frames": self.frames, "ended": self.ended}
        Path(self.job["report"]).write_text(json.dumps(told), "utf-8")

    def finish(self) -> None:
        """All parts are through."""
        self.ended = True
        self.write()

    # ---- what there is -----------------------------------------------------------------------------------------------

    @property
    def window(self) -> bpy.types.Window:
        """Blender's first window."""
        return bpy.context.window_manager.windows[0]

    def part(self, name: str) -> ModuleType:
        """A module of the installed add-on."""
        return importlib.import_module(f"{ADDON}.{name}")

    @property
    def preferences(self) -> bpy.types.AddonPreferences:
        """The add-on's."""
        return bpy.context.preferences.addons[ADDON].preferences

    def region(self, kind: str = "UI", area: bpy.types.Area | None = None) -> bpy.types.Region:
        """A region of the large editor."""
        return next(region for region in (area or self.area).regions if region.type == kind)

    def edit(self, kind: str) -> Waits:
        """Turn the large editor into another ("VIEW_3D", "ShaderNodeTree" ...) with its Teamwork tab open."""
        self.area.ui_type = kind
        self.area.spaces.active.show_region_ui = True
        yield from self.redraw()
        if self.region().active_panel_category != "Teamwork":
            self.region().active_panel_category = "Teamwork"
        yield from self.redraw()

    def open_panels(self, editor: str, *tasks: str) -> None:
        """Have these tasks' panels open, and those of others shut, in an editor that has not been drawn yet."""
        prefix = f"TEAMWORK_PT_{editor}_"
        panels = [each for each in self.part("panels").CLASSES if each.__name__.startswith(prefix)]
        for panel in reversed(panels):
            bpy.utils.unregister_class(panel)
        for panel in panels:
            name = panel.__name__.removeprefix(prefix)
            if name in self.part("panels").TASKS:
                panel.bl_options = set() if name in tasks else {"DEFAULT_CLOSED"}
            bpy.utils.register_class(panel)

    @contextmanager
    def panels_alone(self, editor: str, *tasks: str) -> Iterator[None]:
        """Meanwhile an editor's Teamwork tab shows these tasks' panels alone, and open, whatever it showed before."""
        prefix = f"TEAMWORK_PT_{editor}_"
        panels = [each for each in self.part("panels").CLASSES if each.__name__.startswith(prefix)]
        chosen = [each for each in panels if each.__name__.removeprefix(prefix) in tasks]
        body = {"bl_options": set(), "bl_parent_id": ""}
        shown = [type(f"{each.__name__}_alone", (each,), {**body, "bl_idname": f"{each.bl_idname}_alone"}) for each in chosen]
        for panel in reversed(panels):
            bpy.utils.unregister_class(panel)
        for panel in shown:
            bpy.utils.register_class(panel)
        try:
            yield
        finally:
            for panel in shown:
                bpy.utils.unregister_class(panel)
            for panel in panels:
                bpy.utils.register_class(panel)

    def redraw(self) -> Waits:
        """Have everything drawn, and panels that slide open or shut come to rest."""
        for _ in range(3):
            for area in self.window.screen.areas:
                area.tag_redraw()
            yield 0.2

    def until(self, holds: Callable[[], object], most: float, interval: float = 0.05) -> Waits:
        """Wait until something holds, at most so many seconds; gives whether it does."""
        deadline = time.monotonic() + most
        while not holds() and time.monotonic() < deadline:
            yield interval
        return bool(holds())

    # ---- hands -------------------------------------------------------------------------------------------------------

    def point(self, x: float, y: float) -> Waits:
        """Move the mouse to a place in the window, y up, as Blender counts: without the title bar around it."""
        self.handle = self.handle or subprocess.check_output(["xdotool", "getactivewindow"], text=True).strip()
        xdotool("mousemove", "--window", self.handle, str(int(x)), str(int(self.window.height - y)))
        yield 0.06

    def away(self) -> Waits:
        """Move the mouse to where the large editor has no button and shows no hint."""
        window = self.region("WINDOW")
        yield from self.point(window.x + window.width / 5, window.y + window.height * 0.85)
        yield 0.2

    def press(self, *keys: str) -> Waits:
        """Press keys as X names them, the mouse over the large editor."""
        yield from self.away()
        xdotool("key", *keys)
        yield 0.3

    def buttons(self, wanted: str = "", kind: str = "UI") -> Waits:
        """{operator: (x, y)} of the buttons that are visible in a region, up to the wanted one, found with the mouse:
        Blender tells the Python command of the button below it."""
        region = self.region(kind)
        found: dict[str, tuple[float, float]] = {}
        clipboard = bpy.context.window_manager.clipboard
        yield from self.away()
        for y in range(region.y + region.height - 4, region.y, -STEP):
            for x in (region.x + region.width * 0.4, region.x + region.width - 46, region.x + region.width - 68):
                yield from self.point(x, y)
                operator = self._operator(region)
                if operator and operator not in found:
                    yield 0.15  # it may still be the one that the mouse has left
                    if self._operator(region) == operator:
                        found[operator] = x, y
            if wanted in found:
                break
        bpy.context.window_manager.clipboard = clipboard
        return found

    def _operator(self, region: bpy.types.Region) -> str:
        with bpy.context.temp_override(window=self.window, area=self.area, region=region):
            if not bpy.ops.ui.copy_python_command_button.poll():
                return ""
            bpy.ops.ui.copy_python_command_button()
        return bpy.context.window_manager.clipboard.partition("(")[0].removeprefix("bpy.ops.")

    def click(self, operator: str) -> Waits:
        """Click the button of an operator with the mouse; gives whether there was one."""
        found = yield from self.buttons(operator)
        for _ in range(MISSES):
            if operator in found:
                break
            found = yield from self.buttons(operator)
        if operator not in found:
            self.check(f"there is a button for {operator}", False, ", ".join(found))
            return False
        yield from self.point(*found[operator])
        xdotool("click", "1")
        yield 0.15
        return True


def xdotool(*words: str) -> None:
    """Move, click or type as a user's devices would."""
    subprocess.run(["xdotool", *words], check=True)
