# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of tiny pictures as `evaluate` expects them."""

import pytest
from PIL import Image


class SampleWriter:
    """Writes pictures of one colour, and samples made of them."""

    FLAT = (128, 128, 255)

    @staticmethod
    def picture(path, value, size=(16, 12)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path)

    def sample(self, folder, photo=(200, 100, 50), kinds=("flash",), size=(16, 12), **maps):
        for kind in kinds:
            self.picture(folder / f"{kind}.png", photo, size)
        usual = {"albedo": (100, 50, 25), "roughness": 128, "metalness": 0, "normals": self.FLAT}
        for name, value in (usual | maps).items():
            self.picture(folder / f"{name}.png", value, size)


@pytest.fixture
def write():
    return SampleWriter()
