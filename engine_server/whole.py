# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and folders that appear whole or not at all, whether the disk is full, the process is killed or the power goes."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

ABANDONED = 3600.0
"""Seconds after which nobody writes to a part any more."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; at the end of the block it is on the disk and takes the place of `path`.

    When the block raises, or the disk does, what was at `path` stays as it was and the part is removed. Of several that write the
    same file at once each has a part of its own, and the last one's is what stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_old_parts(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(3)}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # safetensors replaces the file by one that only its owner may read
        _sync(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _remove_old_parts(path: Path) -> None:
    """What processes left that were killed while they wrote; whoever still writes has touched its part since."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*partial"):
        with contextlib.suppress(OSError):  # another process may remove it first
            if left.stat().st_mtime < time.time() - ABANDONED:
                left.unlink()


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder of files. The old one is out of the way for the moment between two renames only."""
    partial, old = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.old")
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in (f for f in partial.rglob("*") if f.is_file()):
            file.chmod(partial.stat().st_mode & 0o666)  # as in `whole_file`
            _sync(file)
        if path.exists():
            os.replace(path, old)
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk; Windows cannot open folders, and needs it not."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
