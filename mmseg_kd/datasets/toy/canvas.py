"""A picture and its labels, drawn in metres through a camera."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mmseg_kd.datasets.camvid.classes import CLASSES

(
    SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST, UNLABELLED,
) = range(len(CLASSES))  # fmt: skip
Colour = Sequence[float]

CAMERA_HEIGHT = 1.5
NEAR, FAR = 1.8, 90.0
# drawn larger and then reduced, so that edges are as soft as a camera's
SUPERSAMPLING = 2
# how strongly each class is mottled
TEXTURE = np.array(
    [0.03, 0.10, 0.10, 0.09, 0.12, 0.34, 0.05, 0.16, 0.06, 0.14, 0.14, 0.07], np.float32
)


class Canvas:
    """Picture and labels of one street, and the camera that looks down it."""

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
        """One of the colours, a little off."""
        base = np.array(colours[self.rng.integers(len(colours))], np.float64)
        return base + self.rng.uniform(-spread, spread) + self.rng.uniform(-4, 4, 3)

    def project(self, points: Sequence[Sequence[float]]) -> np.ndarray:
        """Pixels of points in metres."""
        return np.array(
            [
                (
                    round(self.vanishing_x + self.focal * x / z),
                    round(self.horizon + self.focal * (CAMERA_HEIGHT - y) / z),
                )
                for x, y, z in points
            ],
            np.int32,
        )

    def pixels(self, metres: float, z: float) -> int:
        """A length in metres at distance z, at least one pixel."""
        return max(1, round(self.focal * metres / z))

    def seen(self, colour: Colour, z: float) -> tuple[int, ...]:
        """The colour in this light through z metres of air."""
        air = z / (z + 110.0)
        near, far = self.light * (1 - air), min(self.light, 1.0) * air
        return tuple(
            min(255, round(own * near + haze * far))
            for own, haze in zip(colour, self.haze, strict=True)
        )

    def fill(
        self, points: Sequence[Sequence[float]], colour: Colour, label: int | None = None
    ) -> None:
        """A polygon; without a label only its colour."""
        pixels = [self.project(points)]
        cv2.fillPoly(self.image, pixels, self.seen(colour, min(point[2] for point in points)))
        if label is not None:
            cv2.fillPoly(self.labels, pixels, label)

    def upright(self, x: Sequence[float], y: Sequence[float], z: float, *paint: object) -> None:
        """A rectangle that faces the camera."""
        self.fill([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)], *paint)

    def disc(
        self, centre: Sequence[float], radii: Sequence[float], colour: Colour, label: int
    ) -> None:
        """An ellipse that faces the camera."""
        z = centre[2]
        middle = tuple(self.project([centre])[0].tolist())
        axes = self.pixels(radii[0], z), self.pixels(radii[1], z)
        cv2.ellipse(self.image, middle, axes, 0, 0, 360, self.seen(colour, z), -1)
        cv2.ellipse(self.labels, middle, axes, 0, 0, 360, label, -1)

    def line(
        self, ends: Sequence[Sequence[float]], metres: float, colour: Colour, label: int
    ) -> None:
        """A bar of some thickness."""
        z = ends[0][2]
        start, end = (tuple(pixel) for pixel in self.project(ends).tolist())
        cv2.line(self.image, start, end, self.seen(colour, z), self.pixels(metres, z))
        cv2.line(self.labels, start, end, label, self.pixels(metres, z))

    def box(
        self, x: Sequence[float], y: Sequence[float], z: Sequence[float], colour: Colour, label: int
    ) -> None:
        """The faces of a box that the camera can see: top, side and front."""
        colour = np.array(colour)
        if y[1] < CAMERA_HEIGHT:
            top = [(x[0], y[1], z[0]), (x[1], y[1], z[0]), (x[1], y[1], z[1]), (x[0], y[1], z[1])]
            self.fill(top, colour * 1.15, label)
        inner = min(x, key=abs)
        if min(x) > 0 or max(x) < 0:
            side = [(inner, y[0], z[0]), (inner, y[1], z[0]), (inner, y[1], z[1]),
                    (inner, y[0], z[1])]  # fmt: skip
            lit = 1.08 if np.sign(inner) != self.sun_side else 0.74
            self.fill(side, colour * lit, label)
        self.upright(x, y, z[0], colour * 0.9, label)

    def shade(self, points: Sequence[Sequence[float]], factor: float) -> None:
        """A shadow on the ground."""
        cv2.fillPoly(self.shadow, [self.project(points)], factor)

    def develop(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture with texture and noise, in BGR, and the labels, both at their final size."""
        rng, size = self.rng, (self.width // SUPERSAMPLING, self.height // SUPERSAMPLING)
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        labels = np.ascontiguousarray(self.labels[::SUPERSAMPLING, ::SUPERSAMPLING])
        fine = rng.uniform(-1, 1, labels.shape)
        coarse = rng.uniform(-1, 1, (size[1] // 4 + 1, size[0] // 4 + 1)).astype(np.float32)
        mottle = 0.6 * fine + cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        ground = (labels == ROAD) | (labels == PAVEMENT)
        shadow = np.where(ground, self.shadow[::SUPERSAMPLING, ::SUPERSAMPLING], 1)
        image = image * (shadow * (1 + TEXTURE[labels] * mottle))[..., None]
        image = image * rng.uniform(0.94, 1.06, 3) + rng.uniform(-7, 7, image.shape)
        return np.rint(np.clip(image[..., ::-1], 0, 255)).astype(np.uint8), labels
