# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiny SD3 that most tests use, a picture, and what most trainings are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .tiny import tiny_adapter, tiny_base
from .training import flow_unet, write_samples


@pytest.fixture(scope="session")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base's folder."""
    return tiny_base("SD3", tmp_path_factory.mktemp("sd3"))


@pytest.fixture(scope="session")
def adapter(sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with all tensors random."""
    return tiny_adapter(sd3, tmp_path_factory.mktemp("adapter") / "team.safetensors")


@pytest.fixture
def photo() -> np.ndarray:
    """A picture whose sides are no multiple of anything."""
    return np.random.default_rng(0).random((21, 30, 3), np.float32)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to train on."""
    return write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny UNet of flow matching, for the stages that need one."""
    return flow_unet(tmp_path_factory.mktemp("base"))
