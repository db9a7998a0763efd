# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip of a platform: the add-on, its licence, its wheels, a manifest that names them. Equal input, equal bytes."""

from __future__ import annotations

import re
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .tool import extension_tool, validate
from .wheels import BuildError, wheels_for

MANIFEST = "blender_manifest.toml"
BUNDLED = "bundled"
"""Where the add-on looks for its engine."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a zip; the real times would make two builds of the same differ."""
PLAIN_FILE = 0o100644 << 16


def read_manifest(source: Path) -> dict:
    """The manifest of an add-on's folder. Raises `BuildError`."""
    try:
        return tomllib.loads((source / MANIFEST).read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BuildError(f"{source / MANIFEST} cannot be read ({error}): mend it.") from error


def build_zip(
    source: Path, licence: Path, out: Path, platform: str = "", cache: Path | None = None, engine: Sequence[Path] = ()
) -> Path:
    """Make, normalise and validate one zip; gives its path.

    `source` is the add-on's folder and `licence` the text of its licence. `platform` is one of `wheels.platforms()`,
    whose wheels come from `cache` or are fetched into it; without a platform the zip has none and is for every system
    on which Blender's Python has pyzmq itself. `engine` are the files that the add-on sets the engine up from (see
    `engine.build_engine`). Raises `BuildError`.
    """
    manifest = read_manifest(source)
    suffix = f"-{platform.replace('-', '_')}" if platform else ""
    made = out / f"{manifest['id']}-{manifest['version']}{suffix}.zip"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        staged, raw = Path(folder) / "staged", Path(folder) / "raw.zip"
        _stage(source, licence, staged, platform, wheels_for(platform, cache) if platform else [])
        _add(engine, staged / BUNDLED)
        extension_tool("build", "--source-dir", str(staged), "--output-filepath", str(raw))
        _normalise(raw, made)
    validate(made)
    return made


def _stage(source: Path, licence: Path, staged: Path, platform: str, wheels: list[Path]) -> None:
    """The folder that Blender's `build` packs."""
    shutil.copytree(source, staged, ignore=LEFT_OUT)
    shutil.copyfile(licence, staged / "LICENSE")
    _add(wheels, staged / "wheels")
    if wheels:
        text = (staged / MANIFEST).read_text("utf-8")
        (staged / MANIFEST).write_text(filled(text, platform, [wheel.name for wheel in wheels]), "utf-8", newline="\n")


def _add(files: Sequence[Path], folder: Path) -> None:
    for file in files:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(file, folder / file.name)


def filled(manifest: str, platform: str, wheels: list[str]) -> str:
    """The manifest's text with the platform and the wheels, before its first table."""
    lines = [f'platforms = ["{platform}"]', "wheels = [", *(f'  "./wheels/{name}",' for name in wheels), "]", "", ""]
    table = re.search(r"^\[", manifest, re.MULTILINE)
    place = table.start() if table else len(manifest)
    return manifest[:place] + "\n".join(lines) + manifest[place:]


def _normalise(raw: Path, made: Path) -> None:
    """The same files in the order of their names, without times and owners."""
    with zipfile.ZipFile(raw) as old, zipfile.ZipFile(made, "w") as new:
        for name in sorted(each.filename for each in old.infolist() if not each.is_dir()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, PLAIN_FILE  # as on Linux, wherever it is made
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            new.writestr(entry, old.read(name), compresslevel=9)
