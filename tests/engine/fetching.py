# SPDX-License-Identifier: GPL-3.0-or-later
"""A hub on loopback with tiny real models, the command that fetches from it, and an engine that does: fixtures for tests."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.core.tiny import tiny_adapter, tiny_base

from .conftest import ALL, ROOT, Engine
from .hub_server import Hub

BASE_REPO, ADAPTER_REPO, BIG_REPO = "tester/tiny-base", "tester/teams", "tester/big"
CATALOGUE = f"""
[[model]]
name = "tiny-base"
kind = "base"
title = "A tiny base"
repo = "{BASE_REPO}"
licence = "CC0-1.0"
family = "SD3"

[[model]]
name = "tiny-team"
kind = "adapter"
title = "A tiny team"
repo = "{ADAPTER_REPO}"
file = "team.safetensors"
base = "tiny-base"
licence = "CC0-1.0"

[[model]]
name = "big"
kind = "adapter"
title = "A large file"
repo = "{BIG_REPO}"
file = "big.safetensors"
licence = "CC0-1.0"
"""
BIG = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What the hub serves: a base with files that nobody needs, adapters, and one larger file."""
    folder = tmp_path_factory.mktemp("hub")
    base = tiny_base("SD3", folder / "base")
    (base / "model_index.json").write_text("{}")
    (base / "transformer" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"x" * 3000)
    (base / "picture.png").write_bytes(b"png")
    (base / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (folder / "teams").mkdir()
    tiny_adapter(base, folder / "teams" / "team.safetensors", teammates=ALL)
    (folder / "big").mkdir()
    (folder / "big" / "big.safetensors").write_bytes(BIG)
    (folder / "catalogue.toml").write_text(CATALOGUE)
    return folder


@pytest.fixture
def hub(files):
    """A hub with the three repositories."""
    made = Hub()
    for repo, name in ((BASE_REPO, "base"), (ADAPTER_REPO, "teams"), (BIG_REPO, "big")):
        made.add(repo, files / name)
    yield made
    made.close()


class Shell:
    """`python -m engine_server models ...` with a home and a hub."""

    def __init__(self, hub: Hub, files, home) -> None:
        self.home, self.variables = home, _variables(hub, files, home)

    def start(self, *words: str, **more: str) -> subprocess.Popen:
        """Start the command."""
        command = [sys.executable, "-m", "engine_server", "models", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=self.variables | more, **pipes)

    def __call__(self, *words: str, **more: str) -> tuple[int, str]:
        """Run the command: its exit code and all that it said."""
        return ended(self.start(*words, **more))


def ended(process: subprocess.Popen) -> tuple[int, str]:
    said = process.communicate(timeout=120)
    return process.returncode, "".join(said)


def _variables(hub: Hub, files, home) -> dict[str, str]:
    ours = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home / "hf"),
        "TEAMWORK_HOME": str(home),
        "TEAMWORK_CATALOGUE": str(files / "catalogue.toml"),
        "NO_PROXY": "127.0.0.1",
    }
    return {k: v for k, v in os.environ.items() if k not in ("HF_TOKEN", "TEAMWORK_MODELS", "HF_HUB_OFFLINE")} | ours


@pytest.fixture
def models(hub, files, tmp_path):
    """The command."""
    return Shell(hub, files, tmp_path / "home")


@pytest.fixture
def engine(models, tmp_path, monkeypatch):
    """An engine with the command's home and hub, which may ask that hub whatever the tests' own environment says."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name, value in models.variables.items():
        monkeypatch.setenv(name, value)
    made = Engine(models.home, tmp_path)
    yield made
    made.stop()
