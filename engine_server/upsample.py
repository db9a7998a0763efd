# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps at a network's size to the size of the photo, along the edges of a guide. NumPy only, float32.

The guided filter (He, Sun, Tang, "Guided Image Filtering", TPAMI 2013) models a map p within a window as
a linear function of a guide: p = a . guide + b. Its fast form (He, Sun, "Fast Guided Filter", 2015) fits a
and b on small pictures and applies them to the large guide. The guide may have any number of components:
a photo, or a G-buffer of albedo, normals and depth side by side.
"""

from __future__ import annotations

import numpy as np


WIDEST_SUM = 4
"""Radius up to which it is faster to add the pixels of each window than to take differences of running sums."""
MOST_ADDED = 16
"""Pixels of each new one up to which the same is true of making a picture smaller by a whole number."""


def box_mean(values: np.ndarray, radius: int, periodic: bool = False) -> np.ndarray:
    """Mean over windows of (2 radius + 1)^2 pixels of H x W x C. Windows are cut off at the borders or, of a periodic
    picture, go on at the opposite ones."""
    if not periodic:
        return _box_axis(_box_axis(values, radius, 0), radius, 1).astype(np.float32, copy=False)
    wide = np.pad(values, [(radius, radius), (radius, radius), *[(0, 0)] * (values.ndim - 2)], mode="wrap")
    height, width = values.shape[:2]
    return box_mean(wide, radius)[radius : radius + height, radius : radius + width]


def _box_axis(values: np.ndarray, radius: int, axis: int) -> np.ndarray:
    """As `box_mean` along one axis."""
    places = np.arange(values.shape[axis])
    last, first = np.minimum(places + radius + 1, len(places)), np.maximum(places - radius, 0)
    values = np.moveaxis(values, axis, 0)
    sums = _sums_by_adding(values, radius) if radius <= WIDEST_SUM else _sums_by_differences(values, first, last)
    sums /= (last - first).astype(sums.dtype).reshape(-1, *[1] * (values.ndim - 1))
    return np.moveaxis(sums, 0, axis)


def _sums_by_adding(values: np.ndarray, radius: int) -> np.ndarray:
    """Over windows along the first axis."""
    sums = values.astype(np.result_type(values, np.float32))
    for shift in range(1, radius + 1):
        sums[shift:] += values[:-shift]
        sums[:-shift] += values[shift:]
    return sums


def _sums_by_differences(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The same from each `first` to before each `last`. In float64: a float32 running sum loses the last pixels of a large picture."""
    sums = np.concatenate([np.zeros_like(values[:1], np.float64), np.cumsum(values, axis=0, dtype=np.float64)])
    return sums[last] - sums[first]


def resize_bilinear(values: np.ndarray, height: int, width: int, periodic: bool = False) -> np.ndarray:
    """H x W x C to height x width x C, pixel centres aligned. For enlarging: it does not filter. Beyond the borders are
    the last pixels or, of a periodic picture, the first."""
    return _resize_axis(_resize_axis(values, height, 0, periodic), width, 1, periodic)


def _resize_axis(values: np.ndarray, count: int, axis: int, periodic: bool) -> np.ndarray:
    size = values.shape[axis]
    centres = (np.arange(count) + 0.5) * size / count - 0.5
    centres = centres if periodic else np.clip(centres, 0.0, size - 1.0)
    first = np.floor(centres).astype(np.int64)
    weights = (centres - first).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    start, end = (values.take(index, axis, mode="wrap" if periodic else "clip") for index in (first, first + 1))
    end -= start  # in place: new memory costs more than the arithmetic
    end *= weights
    start += end
    return start


def reduce_area(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """H x W x C to a smaller height x width x C: the mean over each pixel's area, fractions of pixels included."""
    return _reduce_axis(_reduce_axis(values, height, 0), width, 1).astype(np.float32)


def _reduce_axis(values: np.ndarray, count: int, axis: int) -> np.ndarray:
    values = np.moveaxis(values, axis, 0)
    size = values.shape[0]
    if size % count == 0 and size // count <= MOST_ADDED:
        parts = (values[start :: size // count] for start in range(size // count))
        return np.moveaxis(sum(parts, np.zeros((), np.float32)) * (count / size), 0, axis)
    sums = np.concatenate([np.zeros_like(values[:1], np.float64), np.cumsum(values, axis=0, dtype=np.float64)])
    bounds = np.arange(count + 1) * size / count
    whole = np.minimum(bounds.astype(np.int64), size - 1)
    weights = (bounds - whole).reshape(-1, *[1] * (values.ndim - 1))
    at_bounds = sums[whole] + weights * (sums[whole + 1] - sums[whole])
    return np.moveaxis(np.diff(at_bounds, axis=0) * (count / size), 0, axis)


class LinearModel:
    """The ridge regression of the paper around every pixel of a guide, H x W x K, for any maps of its size.

    `epsilon` is added to the guide's variance: contrasts of the guide below sqrt(epsilon) count as flat, and slopes are 0
    where the guide is constant.
    """

    def __init__(self, guide: np.ndarray, radius: int, epsilon: float, periodic: bool = False) -> None:
        self._radius, self._periodic = radius, periodic
        self._mean = box_mean(guide, radius, periodic)
        self._middle = _middle(guide)
        self._guide = guide - self._middle  # centred: E[xy] - E[x]E[y] cancels less
        identity = epsilon * np.eye(guide.shape[-1])
        self._inverse = np.linalg.inv(self._covariance(self._guide) + identity).astype(np.float32)

    def slopes(self, values: np.ndarray) -> np.ndarray:
        """a of the least-squares fit of values = guide . a + b, H x W x C: H x W x K x C."""
        return self._inverse @ self._covariance(values - _middle(values))

    def offsets(self, values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """b of the same fit: H x W x C."""
        return box_mean(values, self._radius, self._periodic) - np.einsum("hwkc,hwk->hwc", slopes, self._mean)

    def _covariance(self, y: np.ndarray) -> np.ndarray:
        """Windowed covariance of the guide and H x W x C, both centred: H x W x K x C."""
        products = (self._guide[..., :, None] * y[..., None, :]).reshape(*y.shape[:2], -1)
        covariance = box_mean(products, self._radius, self._periodic).reshape(*y.shape[:2], -1, y.shape[-1])
        mean = box_mean(y, self._radius, self._periodic)
        covariance -= (self._mean - self._middle)[..., :, None] * mean[..., None, :]
        return covariance


def _middle(values: np.ndarray) -> np.ndarray:
    """About the mean of H x W x C. As a product of matrices, which is much faster over the first axes than `mean`."""
    count = values.shape[0] * values.shape[1]
    return np.full(count, 1.0 / count, values.dtype) @ values.reshape(count, -1)


def linear_model(
    guide: np.ndarray, values: np.ndarray, radius: int, epsilon: float, periodic: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) of a `LinearModel` for one map: a H x W x K x C, b H x W x C."""
    model = LinearModel(guide, radius, epsilon, periodic)
    slopes = model.slopes(values)
    return slopes, model.offsets(values, slopes)


def _flat_box(slopes: np.ndarray, radius: int, periodic: bool = False) -> np.ndarray:
    """`box_mean` of H x W x K x C."""
    return box_mean(slopes.reshape(*slopes.shape[:2], -1), radius, periodic).reshape(slopes.shape)


def smooth(
    values: np.ndarray, guide: np.ndarray, radius: int = 4, epsilon: float = 1e-3, reduction: int = 1
) -> np.ndarray:
    """Edge-aware smoothing, H x W x C float32: the guided filter of `values` with the edges of `guide`.

    values      H x W x C, any range      guide   H x W x K of the same size, contrasts on a scale of about 1
    reduction   fit a and b on pictures so many times smaller (the fast guided filter); 4 is hardly different
                for a radius of 8 or more and about ten times as fast
    Where the guide is constant it is two box filters; where values are linear in the guide it changes nothing
    (for a small epsilon). Raises ValueError where the sizes differ.
    """
    values, guide = _planes(values), _planes(guide)
    if values.shape[:2] != guide.shape[:2]:
        raise ValueError(f"The guide is {_size(guide)} pixels, the map {_size(values)}; smoothing needs one size.")
    size = [max(1, round(side / reduction)) for side in guide.shape[:2]]
    radius = max(1, round(radius / reduction))
    slopes, offsets = linear_model(reduce_area(guide, *size), reduce_area(values, *size), radius, epsilon)
    return _at_size_of(guide, _flat_box(slopes, radius), box_mean(offsets, radius))


class Enlarger:
    """Small maps at the size of a large guide, with the guide's edges and detail: any number of maps of one size, (h, w).

        result = up(values) + up(mean of a) . (guide - up(small guide))

    a is the fast guided filter's, fitted on the small pictures. Unlike there, only the detail that the small
    guide lost is added through it, so the map's own detail stays: with a constant guide the result is the
    plain bilinear enlargement, and averaged back to the small size it stays close to the map.
    guide   H x W x K, H >= h and W >= w, contrasts on a scale of about 1
    `periodic`: all tile, and so do the results. Raises ValueError for a guide smaller than the maps.
    """

    def __init__(
        self, guide: np.ndarray, size: tuple[int, int], radius: int = 2, epsilon: float = 1e-3, periodic: bool = False
    ) -> None:
        guide = _planes(guide)
        height, width = guide.shape[:2]
        if size[0] > height or size[1] > width:
            raise ValueError(f"The guide is {_size(guide)} pixels; expected at least the map's {size[1]} x {size[0]}.")
        small = reduce_area(guide, *size)
        self._detail = guide - resize_bilinear(small, height, width, periodic)
        self._model, self._radius, self._periodic = LinearModel(small, radius, epsilon, periodic), radius, periodic

    def enlarged(self, values: np.ndarray) -> np.ndarray:
        """h x w x C, any range: H x W x C, float32."""
        values = _planes(values)
        slopes = _flat_box(self._model.slopes(values), self._radius, self._periodic)
        return _at_size_of(self._detail, slopes, values, self._periodic)


def upsample(
    values: np.ndarray, guide: np.ndarray, radius: int = 2, epsilon: float = 1e-3, periodic: bool = False
) -> np.ndarray:
    """One small map, h x w x C, at the size of a large guide: see `Enlarger`."""
    values = _planes(values)
    return Enlarger(guide, values.shape[:2], radius, epsilon, periodic).enlarged(values)


def _at_size_of(guide: np.ndarray, slopes: np.ndarray, offsets: np.ndarray, periodic: bool = False) -> np.ndarray:
    """guide . up(slopes) + up(offsets), H x W x C."""
    height, width = guide.shape[:2]
    result = resize_bilinear(offsets, height, width, periodic)
    for component in range(guide.shape[-1]):  # one at a time: all slopes at full size would be K times the memory
        part = resize_bilinear(slopes[:, :, component], height, width, periodic)
        part *= guide[..., component, None]
        result += part
    return result


def _planes(picture: np.ndarray) -> np.ndarray:
    """H x W or H x W x C to H x W x C float32. Raises ValueError for another shape or an empty picture."""
    picture = np.asarray(picture, np.float32)
    picture = picture[..., None] if picture.ndim == 2 else picture
    if picture.ndim != 3 or picture.size == 0:
        raise ValueError(f"A picture is H x W or H x W x C and not empty; this has the shape {picture.shape}.")
    return picture


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
