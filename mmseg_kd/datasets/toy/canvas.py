"""Draw a picture and its labels, in metres, through a camera."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mmseg_kd.datasets.camvid.classes import CLASSES

Colour = Sequence[float]
Point = tuple[float, float, float]
Span = Sequence[float]  # from, to

IDS = {name: index for index, name in enumerate(CLASSES)}
CAMERA_HEIGHT = 1.5
NEAR, FAR = 1.8, 90.0
# Drawn larger and then reduced, so that edges are as soft as a camera's.
SUPERSAMPLING = 2
# Strength of the mottle of each class.
TEXTURE = np.array(
    [0.03, 0.10, 0.10, 0.09, 0.12, 0.34, 0.05, 0.16, 0.06, 0.14, 0.14, 0.07], np.float32
)


def quad(x: Span | float, y: Span | float, z: Span | float) -> list[Point]:
    """Return the corners of a rectangle: one coordinate is a number, the others are spans."""
    corners = []
    for order in ((0, 0), (1, 0), (1, 1), (0, 1)):
        # The first span takes the first index, the second span the second.
        ends = iter(order)
        corners.append(tuple(c[next(ends)] if isinstance(c, Sequence) else c for c in (x, y, z)))
    return corners


class Canvas:
    """Picture and labels of one street, and the camera that looks down it.

    x is to the right, y up from the ground, z into the picture. Labels are names of classes; where
    a shape has none, only its colour is drawn.
    """

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng = rng
        self.width, self.height = width * SUPERSAMPLING, height * SUPERSAMPLING
        self.focal = 0.85 * self.width
        self.horizon = self.height * rng.uniform(0.42, 0.52)
        self.vanishing_x = self.width * rng.uniform(0.36, 0.64)
        self.light = rng.uniform(0.62, 1.12)
        self.sun_side = rng.choice([-1, 1])
        self.haze = (np.array([186, 194, 204]) + rng.uniform(-18, 18, 3)).tolist()
        self.image = np.empty((self.height, self.width, 3), np.uint8)
        self.labels = np.empty((self.height, self.width), np.uint8)
        self.shadow = np.ones((self.height, self.width), np.float32)

    def pick(self, colours: Sequence[Colour], spread: float = 12) -> np.ndarray:
        """Choose one of the colours and vary it a little."""
        base = np.array(colours[self.rng.integers(len(colours))], np.float64)
        return base + self.rng.uniform(-spread, spread) + self.rng.uniform(-4, 4, 3)

    def project(self, points: Sequence[Point]) -> np.ndarray:
        """Return the pixels of points in metres."""
        x, y, z = np.array(points, np.float64).T
        across = self.vanishing_x + self.focal * x / z
        down = self.horizon + self.focal * (CAMERA_HEIGHT - y) / z
        return np.rint(np.stack([across, down], 1)).astype(np.int32)

    def pixels(self, metres: float, z: float) -> int:
        """Return a length in metres at distance z in pixels, at least 1."""
        return max(1, round(self.focal * metres / z))

    def seen(self, colour: Colour, z: float) -> tuple[int, ...]:
        """Return the colour in this light through z metres of air."""
        air = z / (z + 110.0)
        near, far = self.light * (1 - air), min(self.light, 1.0) * air
        return tuple(
            min(255, round(own * near + haze * far))
            for own, haze in zip(colour, self.haze, strict=True)
        )

    def fill(self, points: Sequence[Point], colour: Colour, label: str | None = None) -> None:
        """Draw a polygon."""
        pixels = [self.project(points)]
        cv2.fillPoly(self.image, pixels, self.seen(colour, min(point[2] for point in points)))
        if label is not None:
            cv2.fillPoly(self.labels, pixels, IDS[label])

    def disc(self, centre: Point, radii: Sequence[float], colour: Colour, label: str) -> None:
        """Draw an ellipse that faces the camera."""
        z = centre[2]
        middle = tuple(self.project([centre])[0].tolist())
        axes = self.pixels(radii[0], z), self.pixels(radii[1], z)
        for target, value in ((self.image, self.seen(colour, z)), (self.labels, IDS[label])):
            cv2.ellipse(target, middle, axes, 0, 0, 360, value, -1)

    def line(self, ends: Sequence[Point], metres: float, colour: Colour, label: str) -> None:
        """Draw a bar of some thickness."""
        z = ends[0][2]
        start, end = (tuple(pixel) for pixel in self.project(ends).tolist())
        for target, value in ((self.image, self.seen(colour, z)), (self.labels, IDS[label])):
            cv2.line(target, start, end, value, self.pixels(metres, z))

    def box(self, x: Span, y: Span, z: Span, colour: Colour, label: str) -> None:
        """Draw the faces of a box that the camera can see: top, side and front."""
        colour = np.array(colour)
        if y[1] < CAMERA_HEIGHT:
            self.fill(quad(x, y[1], z), colour * 1.15, label)
        inner = min(x, key=abs)
        if min(x) > 0 or max(x) < 0:
            lit = 1.08 if np.sign(inner) != self.sun_side else 0.74
            self.fill(quad(inner, y, z), colour * lit, label)
        self.fill(quad(x, y, z[0]), colour * 0.9, label)

    def shade(self, points: Sequence[Point], factor: float) -> None:
        """Draw a shadow on the ground."""
        cv2.fillPoly(self.shadow, [self.project(points)], factor)

    def develop(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the picture (BGR) with texture and noise, and the labels, at their final size."""
        rng, size = self.rng, (self.width // SUPERSAMPLING, self.height // SUPERSAMPLING)
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        labels = np.ascontiguousarray(self.labels[::SUPERSAMPLING, ::SUPERSAMPLING])
        fine = rng.uniform(-1, 1, labels.shape)
        coarse = rng.uniform(-1, 1, (size[1] // 4 + 1, size[0] // 4 + 1)).astype(np.float32)
        mottle = 0.6 * fine + cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        ground = np.isin(labels, (IDS['Road'], IDS['Pavement']))
        shadow = np.where(ground, self.shadow[::SUPERSAMPLING, ::SUPERSAMPLING], 1)
        image = image * (shadow * (1 + TEXTURE[labels] * mottle))[..., None]
        image = image * rng.uniform(0.94, 1.06, 3) + rng.uniform(-7, 7, image.shape)
        return np.rint(np.clip(image[..., ::-1], 0, 255)).astype(np.uint8), labels
