# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiny wheels in a folder: an index of packages that needs no network and no time. And programs of a few lines."""

from __future__ import annotations

import base64
import hashlib
import stat
import zipfile
from pathlib import Path

TORCH = """
__version__ = "{version}"
class backends: pass
class cuda:
    is_available = staticmethod(lambda: False)
"""


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str], *metadata: str) -> Path:
    """A wheel of pure Python; `metadata` are further lines of METADATA."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    about = ["Metadata-Version: 2.1", f"Name: {name.replace('_', '-')}", f"Version: {version}", *metadata]
    tags = ["Wheel-Version: 1.0", "Generator: tests", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    contents = files | {f"{info}/METADATA": "\n".join(about) + "\n", f"{info}/WHEEL": "\n".join(tags) + "\n"}
    made = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
        record = [f"{path},{_hash(text)},{len(text.encode())}" for path, text in contents.items()]
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return made


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def torch_wheel(folder: Path, version: str = "2.13.0") -> Path:
    """A package that is asked the same things as PyTorch."""
    return make_wheel(folder, "torch", version, {"torch/__init__.py": TORCH.format(version=version)})


def engine_wheel(folder: Path, version: str = "0.1.0", code: str = "", needs: str = "torch>=2.4") -> Path:
    """A package with the engine's name that can be imported."""
    files = {"engine_server/__init__.py": f'__version__ = "{version}"\n{code}'}
    extra = ("Provides-Extra: engine", f'Requires-Dist: {needs}; extra == "engine"')
    return make_wheel(folder, "teamwork_blender", version, files, *extra)


def script(path: Path, text: str) -> str:
    """A program of that text."""
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)
