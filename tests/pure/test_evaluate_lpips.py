# SPDX-License-Identifier: GPL-3.0-or-later
"""Protects LPIPS: torchmetrics' value where AlexNet can be had, and a sentence, never silence, where it cannot.

torchvision is in no environment that tests run in (its builds fit one build of PyTorch each), so a package of its name
gives torchmetrics an AlexNet of the real shape, with seeded weights; torchmetrics and its own trained weights are real.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALEXNET = """
import os
from types import SimpleNamespace
from urllib.error import URLError

import torch
from torch import nn


def alexnet(weights=None, **options):
    if os.environ.get("OFFLINE"):
        raise URLError("Name or service not known")
    torch.manual_seed(0)
    conv = lambda i, o, k, s, p: [nn.Conv2d(i, o, k, s, p), nn.ReLU(inplace=True)]
    pool = [nn.MaxPool2d(3, 2)]
    parts = conv(3, 64, 11, 4, 2) + pool + conv(64, 192, 5, 1, 2) + pool
    parts += conv(192, 384, 3, 1, 1) + conv(384, 256, 3, 1, 1) + conv(256, 256, 3, 1, 1) + pool
    return SimpleNamespace(features=nn.Sequential(*parts))


AlexNet_Weights = SimpleNamespace(DEFAULT=object())
"""
ANYTHING = """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
"""
MEASURE = """
import numpy as np
from engine_server.evaluate.errors import DataError
from engine_server.evaluate.lpips import Lpips
try:
    measure = Lpips()
    random = np.random.default_rng(0)
    picture = random.random((64, 48, 3), np.float32)
    noises = [picture + level * random.normal(size=picture.shape).astype(np.float32) for level in (0, 0.05, 0.5)]
    print(*(measure(noisy, picture) for noisy in noises), measure(picture[:31], picture[:31]))
except DataError as error:
    print("sentence:", error)
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder that holds a torchvision."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text("from . import models\n__version__ = '0.28.0'\n")
    (folder / "torchvision" / "models.py").write_text(ALEXNET + ANYTHING)
    for name in ("transforms", "ops"):  # what other measures of torchmetrics import
        (folder / "torchvision" / f"{name}.py").write_text(ANYTHING)
    (folder / "torchvision-0.28.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n"
    (folder / "torchvision-0.28.0.dist-info" / "METADATA").write_text(metadata)
    return folder


def _measure(*paths, **variables):
    path = os.pathsep.join(map(str, paths))
    environment = os.environ | {"PYTHONPATH": path, "TORCH_HOME": "/nowhere"} | variables
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_is_zero_for_the_same_and_grows_with_noise(packages):
    same, little, much, small = _measure(packages).split()
    assert float(same) == 0 < float(little) < float(much) and small == "None"


def test_weights_that_cannot_be_fetched_get_a_sentence(packages):
    said = _measure(packages, OFFLINE="1")
    assert said.startswith("sentence: LPIPS needs AlexNet's weights, which could not be fetched")
    assert "alexnet-owt" in said and "/nowhere/hub/checkpoints, or leave out --lpips" in said


def test_a_missing_or_broken_torchvision_gets_a_sentence(tmp_path):
    said = _measure()
    assert said.startswith("sentence: LPIPS needs the package torchvision in the version that fits torch")
    assert "or leave out --lpips" in said and "\n" not in said
