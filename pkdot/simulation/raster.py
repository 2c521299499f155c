"""Draw a textured mesh: a z-buffer on the processor, compiled by numba."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(fastmath=False)
def shade(
    points: np.ndarray, faces: np.ndarray, light: np.ndarray, ambient: float, gloss: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the brightness of each vertex: ambient, wrapped diffuse light and a soft highlight.

    Parameters
    ----------
    points : ndarray, shape (V, 3)
        Camera coordinates: x right, y down, z away from the camera.
    faces : ndarray, shape (F, 3), int32
    light : ndarray, shape (3,)
        Unit vector towards the light.
    ambient : float
        Share of the light that has no direction, in [0, 1].
    gloss : float
        Strength of the highlight.

    Returns
    -------
    diffuse, specular : ndarray, shape (V,)
    """
    normals = np.zeros(points.shape, np.float32)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    # Halfway between the light and the camera, which looks along +z.
    half = light + np.array([0.0, 0.0, -1.0])
    half /= np.sqrt((half**2).sum())
    diffuse = np.empty(len(points), np.float32)
    specular = np.empty(len(points), np.float32)
    for v in range(len(points)):
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
        wrapped = max(0.0, ((nx * light[0] + ny * light[1] + nz * light[2]) / length + 0.35) / 1.35)
        shine = max(0.0, (nx * half[0] + ny * half[1] + nz * half[2]) / length)
        diffuse[v] = ambient + (1 - ambient) * wrapped
        specular[v] = gloss * shine**24
    return diffuse, specular


@njit(fastmath=False)
def draw(
    points: np.ndarray,
    faces: np.ndarray,
    atlas: np.ndarray,
    texture: np.ndarray,
    diffuse: np.ndarray,
    specular: np.ndarray,
    picture: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Draw the triangles that face the camera, the nearest one at each pixel.

    Parameters
    ----------
    points : ndarray, shape (V, 3), float32
        Column and row in the picture, and distance from the camera.
    faces : ndarray, shape (F, 3), int32
    atlas : ndarray, shape (F, 3, 2), float32
        Column and row in the texture of each corner.
    texture : ndarray, shape (rows, columns, 4), uint8
        Colour, and how glossy it is.
    diffuse, specular : ndarray, shape (V,), float32
    picture : ndarray, shape (height, width, 4), uint8
        Changed in place: colour and cover (255 where something was drawn).
    depth : ndarray, shape (height, width), float32
        Changed in place.
    """
    height, width = depth.shape
    rows, columns = texture.shape[:2]
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
        cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= -1e-6:  # turned away; rows run downwards
            continue
        scale = np.float32(1) / area
        db, dc = (cy - ay) * scale, (ay - by) * scale  # steps of the barycentric weights along a row
        # Copies in local variables: the compiler cannot know that drawing does not change the arrays.
        au, bu, cu = atlas[f, 0, 0], atlas[f, 1, 0], atlas[f, 2, 0]
        av, bv, cv = atlas[f, 0, 1], atlas[f, 1, 1], atlas[f, 2, 1]
        al, bl, cl = diffuse[a], diffuse[b], diffuse[c]
        gloss_a, gloss_b, gloss_c = specular[a], specular[b], specular[c]
        left = max(0, int(np.ceil(min(ax, bx, cx))))
        right = min(width - 1, int(np.floor(max(ax, bx, cx))))
        top = max(0, int(np.ceil(min(ay, by, cy))))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy))))
        for y in range(top, bottom + 1):
            px, py = np.float32(left) - ax, np.float32(y) - ay
            wb = (px * (cy - ay) - py * (cx - ax)) * scale - db
            wc = ((bx - ax) * py - (by - ay) * px) * scale - dc
            for x in range(left, right + 1):
                wb += db
                wc += dc
                wa = np.float32(1) - wb - wc
                if min(wa, wb, wc) < np.float32(-1e-5):
                    continue
                z = wa * az + wb * bz + wc * cz
                if z >= depth[y, x]:
                    continue
                depth[y, x] = z
                i = min(max(int(wa * av + wb * bv + wc * cv + np.float32(0.5)), 0), rows - 1)
                j = min(max(int(wa * au + wb * bu + wc * cu + np.float32(0.5)), 0), columns - 1)
                lit = wa * al + wb * bl + wc * cl
                shine = (wa * gloss_a + wb * gloss_b + wc * gloss_c) * np.float32(texture[i, j, 3])
                for k in range(3):
                    colour = np.float32(texture[i, j, k]) * lit + shine
                    picture[y, x, k] = np.uint8(min(np.float32(255), colour + np.float32(0.5)))
                picture[y, x, 3] = 255


@njit(fastmath=False)
def lay_over(layer: np.ndarray, behind: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """Halve a drawn layer, which smooths its edges, and lay it over a background.

    Parameters
    ----------
    layer : ndarray, shape (2 * height, 2 * width, 4), uint8
        As ``draw`` left it: colour and cover; nothing drawn is all zero.
    behind : ndarray, shape (height, width, 3), uint8
    tint : ndarray, shape (3,), float32
        Gain of the layer's red, green and blue.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
    """
    result = np.empty(behind.shape, np.uint8)
    for y in range(behind.shape[0]):
        for x in range(behind.shape[1]):
            cover = np.float32(0)
            for i in range(2):
                for j in range(2):
                    cover += np.float32(layer[2 * y + i, 2 * x + j, 3])
            seen = np.float32(1) - cover * np.float32(1 / 1020)
            for k in range(3):
                total = np.float32(0)
                for i in range(2):
                    for j in range(2):
                        total += np.float32(layer[2 * y + i, 2 * x + j, k])
                value = total * np.float32(0.25) * tint[k] + seen * np.float32(behind[y, x, k])
                result[y, x, k] = np.uint8(min(np.float32(255), value + np.float32(0.5)))
    return result
