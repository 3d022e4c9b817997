"""Draw a picture and its labels, in metres, through a camera."""

from collections.abc import Sequence

import cv2
import numpy as np

from mmseg_kd.datasets.camvid.classes import CLASSES

Colour = Sequence[float]
Point = Sequence[float]  # x, y, z
Span = tuple[float, float]  # from, to
Side = Span | float

IDS = {name: index for index, name in enumerate(CLASSES)}
CAMERA_HEIGHT = 1.5
NEAR, FAR = 1.8, 90.0
# Drawn larger and then reduced, so that edges are as soft as a camera's.
SUPERSAMPLING = 2
# Strength of the texture of each class.
TEXTURE = np.array([0.03, 0.1, 0.1, 0.09, 0.12, 0.34, 0.05, 0.16, 0.06, 0.14, 0.14, 0.07])


class Canvas:
    """Picture and labels of one street, and the camera that looks down it.

    x is to the right, y up from the ground, z into the picture. Labels are names of classes; where
    a shape has none, only its colour is drawn.
    """

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng = rng
        self.width, self.height = width * SUPERSAMPLING, height * SUPERSAMPLING
        self.focal = 0.85 * self.width
        self.centre = self.width * rng.uniform(0.36, 0.64), self.height * rng.uniform(0.42, 0.52)
        self.light = rng.uniform(0.62, 1.12)
        self.sun_side = rng.choice([-1, 1])
        self.haze = np.array([186, 194, 204]) + rng.uniform(-18, 18, 3)
        self.image = np.empty((self.height, self.width, 3), np.uint8)
        self.labels = np.empty((self.height, self.width), np.uint8)

    def pick(self, colours: Sequence[Colour]) -> np.ndarray:
        """Choose one of the colours and vary it a little."""
        base = np.array(colours[self.rng.integers(len(colours))], np.float64)
        return base + self.rng.uniform(-12, 12) + self.rng.uniform(-4, 4, 3)

    def project(self, points: Sequence[Point]) -> list[np.ndarray]:
        """Return the pixels of a polygon in metres, as OpenCV takes them."""
        x, y, z = np.array(points, np.float64).T
        across = self.centre[0] + self.focal * x / z
        down = self.centre[1] + self.focal * (CAMERA_HEIGHT - y) / z
        return [np.rint(np.stack([across, down], 1)).astype(np.int32)]

    def fill(self, points: Sequence[Point], colour: Colour, label: str | None = None) -> None:
        """Draw a polygon in the light of the scene; haze covers it with distance."""
        pixels, z = self.project(points), min(point[2] for point in points)
        air = z / (z + 110.0)
        seen = np.array(colour) * self.light * (1 - air) + self.haze * min(self.light, 1.0) * air
        cv2.fillPoly(self.image, pixels, np.rint(seen).clip(0, 255).tolist())
        if label is not None:
            cv2.fillPoly(self.labels, pixels, IDS[label])

    def panel(self, x: Side, y: Side, z: Side, colour: Colour, label: str | None = None) -> None:
        """Draw a rectangle: one coordinate is a number, the others are spans."""
        corners = []
        for order in ((0, 0), (1, 0), (1, 1), (0, 1)):
            # The first span takes the first index, the second span the second.
            ends = iter(order)
            corners.append([c[next(ends)] if isinstance(c, tuple) else c for c in (x, y, z)])
        self.fill(corners, colour, label)

    def disc(self, centre: Point, radii: Sequence[float], colour: Colour, label: str) -> None:
        """Draw an ellipse that faces the camera."""
        angle = np.linspace(0, 2 * np.pi, 20)
        x, y = centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)
        self.fill(np.stack([x, y, np.full(20, centre[2])], 1), colour, label)

    def bar(self, x: Span, y: Span, z: float, width: float, colour: Colour, label: str) -> None:
        """Draw a bar from (x[0], y[0]) to (x[1], y[1])."""
        along = np.array([x[1] - x[0], y[1] - y[0], 0])
        across = np.array([-along[1], along[0], 0]) * width / 2 / np.linalg.norm(along)
        start = np.array([x[0], y[0], z])
        corners = np.array([across, -across, along - across, along + across])
        self.fill(start + corners, colour, label)

    def box(self, x: Span, y: Span, z: Span, colour: np.ndarray, label: str) -> None:
        """Draw the faces of a box that the camera can see: top, side and front."""
        if y[1] < CAMERA_HEIGHT:
            self.panel(x, y[1], z, colour * 1.15, label)
        inner = min(x, key=abs)
        if min(x) > 0 or max(x) < 0:
            lit = 1.08 if np.sign(inner) != self.sun_side else 0.74
            self.panel(inner, y, z, colour * lit, label)
        self.panel(x, y, z[0], colour * 0.9, label)

    def shade(self, points: Sequence[Point], factor: float) -> None:
        """Darken a polygon of the picture, as a shadow does."""
        shadow = cv2.fillPoly(np.zeros_like(self.labels), self.project(points), 1).astype(bool)
        self.image[shadow] = self.image[shadow] * factor

    def develop(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the picture (BGR) with texture and noise, and the labels, at their final size."""
        rng, size = self.rng, (self.width // SUPERSAMPLING, self.height // SUPERSAMPLING)
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        labels = np.ascontiguousarray(self.labels[::SUPERSAMPLING, ::SUPERSAMPLING])
        coarse = rng.uniform(-1, 1, (size[1] // 4 + 1, size[0] // 4 + 1))
        mottle = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        mottle += 0.6 * rng.uniform(-1, 1, labels.shape)
        image = image * (1 + TEXTURE[labels] * mottle)[..., None] * rng.uniform(0.94, 1.06, 3)
        image += rng.uniform(-7, 7, image.shape)
        return np.rint(image[..., ::-1].clip(0, 255)).astype(np.uint8), labels
