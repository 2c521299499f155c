"""What lies behind a face and what the camera adds."""

from __future__ import annotations

import cv2
import numpy as np

from pkdot.simulation.faces import Light


def backdrop(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Draw a blurred room: a wall with a few large shapes.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
    """
    wall = rng.uniform(95, 190) * rng.uniform(0.92, 1.08, 3)
    image = np.full((height, width, 3), wall, np.float32)
    for _ in range(int(rng.integers(2, 6))):
        corner = rng.uniform([-0.2, -0.2], [1, 1]) * [width, height]
        size = rng.uniform(0.15, 0.6, 2) * [width, height]
        colour = wall * rng.uniform(0.6, 1.2) * rng.uniform(0.9, 1.1, 3)
        first, second = corner.astype(int).tolist(), (corner + size).astype(int).tolist()
        cv2.rectangle(image, first, second, colour.tolist(), -1)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.03 * height))
    slope = np.linspace(1 + rng.uniform(-0.15, 0.15), 1 + rng.uniform(-0.15, 0.15), width, dtype=np.float32)
    return np.clip(image * slope[None, :, None], 0, 255).astype(np.uint8)


def draw_light(rng: np.random.Generator) -> Light:
    """Draw the light of a room, from above and from one side."""
    return Light(
        azimuth=float(rng.uniform(-50, 50)),
        elevation=float(rng.uniform(15, 50)),
        ambient=float(rng.uniform(0.4, 0.6)),
        tint=tuple(float(rng.uniform(0.93, 1.05)) * rng.uniform(0.97, 1.03, 3)),
    )


def film(rng: np.random.Generator, frames: np.ndarray, noise: float = 2.0) -> np.ndarray:
    """Add flicker of the exposure and noise of the sensor, in place.

    Parameters
    ----------
    rng : Generator
    frames : ndarray, shape (T, height, width, 3), uint8
    noise : float
        Deviation in grey levels.
    """
    height, width = frames.shape[1:3]
    gains = 1 + 0.01 * rng.standard_normal(len(frames))
    # One large sheet, read at a random place each frame: new noise for every value would cost more than the
    # drawing.
    sheet = np.empty((height + 64, width + 64, 3), np.int16)
    sheet[:] = np.round(noise * rng.standard_normal(sheet.shape, dtype=np.float32))
    for frame, gain in zip(frames, gains, strict=True):
        top, left = rng.integers(0, 64, 2)
        grain = sheet[top : top + height, left : left + width]
        frame[:] = cv2.add(cv2.convertScaleAbs(frame, alpha=gain), grain, dtype=cv2.CV_8U)
    return frames
