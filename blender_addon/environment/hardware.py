# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PyTorch is right for this machine."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass

from .errors import SetupError
from .pythons import HIDDEN, search_path

INDEX = "https://download.pytorch.org/whl/"
OLD_DRIVER, NEW_DRIVER = 525, 580
"""The first NVIDIA drivers for CUDA 12 and CUDA 13."""
TURING, BLACKWELL = 7.5, 10.0
"""Compute capabilities: builds for CUDA 13 begin with the one, builds for CUDA 12.6 end before the other."""


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU: its name, its compute capability, and the driver's major version."""

    name: str
    capability: float
    driver: int


@dataclass(frozen=True)
class Torch:
    """A build of PyTorch: what it computes on, a package index that has it, how to say it, disk space for everything."""

    device: str
    index: str
    title: str
    gigabytes: float


CPU = Torch("cpu", INDEX + "cpu", "PyTorch for the CPU", 3.0)
METAL = Torch("mps", "", "PyTorch for Apple GPUs", 3.0)
CUDA_13 = Torch("cuda", INDEX + "cu130", "PyTorch for CUDA 13", 10.0)
CUDA_12 = Torch("cuda", INDEX + "cu126", "PyTorch for CUDA 12.6", 10.0)


def choose(wanted: str = "auto") -> Torch:
    """The build for a device: cpu, cuda or mps; auto takes the best that the machine has.

    Raises `SetupError` if it has none of the wanted kind.
    """
    metal = sys.platform == "darwin" and platform.machine() == "arm64"
    if sys.platform == "darwin" and not metal:
        raise SetupError("PyTorch is not made for Intel Macs any more: give the address of an engine that runs elsewhere.")
    if wanted == "cpu":
        return CPU if sys.platform != "darwin" else METAL  # one build serves both on a Mac
    if wanted == "mps" or (wanted == "auto" and metal):
        if metal:
            return METAL
        raise SetupError("This computer has no Apple GPU: choose Automatic, CPU or CUDA as the device.")
    gpus = nvidia_gpus()
    if wanted == "auto":
        return cuda_build(gpus) if gpus and not driver_problem(gpus) else choose("cpu")
    problem = driver_problem(gpus)
    if problem:
        raise SetupError(problem)
    return cuda_build(gpus)


def cuda_build(gpus: list[Gpu]) -> Torch:
    """The newest build that the driver and the oldest GPU know."""
    return CUDA_13 if gpus[0].driver >= NEW_DRIVER and min(gpu.capability for gpu in gpus) >= TURING else CUDA_12


def driver_problem(gpus: list[Gpu]) -> str:
    """Why PyTorch cannot use these GPUs, as a sentence; empty if it can."""
    if not gpus:
        return "No NVIDIA GPU answers (nvidia-smi): install its driver, or choose Automatic or CPU as the device."
    driver, newest = gpus[0].driver, max(gpu.capability for gpu in gpus)
    needed = NEW_DRIVER if newest >= BLACKWELL else OLD_DRIVER
    if driver >= needed:
        return ""
    return f"The NVIDIA driver {driver} is too old for {gpus[0].name}: update it to {needed} or newer, or choose CPU."


def nvidia_gpus() -> list[Gpu]:
    """What nvidia-smi tells; nothing where there is none, or where the driver does not answer."""
    tool = shutil.which("nvidia-smi", path=search_path())
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30.0, check=False, **HIDDEN)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse(done.stdout) if done.returncode == 0 else []


def parse(text: str) -> list[Gpu]:
    """GPUs from nvidia-smi's lines "name, capability, driver"; lines of another form are left out."""
    gpus = []
    for line in text.splitlines():
        try:
            name, capability, driver = line.rsplit(", ", 2)
            gpus.append(Gpu(name.strip(), float(capability), int(driver.split(".")[0])))
        except ValueError:
            continue
    return gpus
