# SPDX-License-Identifier: MIT
"""Pictures and masks that every candidate of compare.py sees: bright ellipses before dark walls, shaded and
noisy. The same numbers on every machine."""
import numpy as np


def write(images, masks, count, size, seed):
    """Raw floats in [0, 1]: [count][size][size][3] to the file `images`, [count][size][size] to `masks`."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    with open(images, "wb") as image_file, open(masks, "wb") as mask_file:
        for _ in range(count):
            (cx, cy), (rx, ry) = random.uniform(0.35, 0.65, 2), random.uniform(0.2, 0.35, 2)
            inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
            wall, body = random.uniform(0, 0.45, 3), random.uniform(0.55, 1, 3)
            fx, fy = random.uniform(1, 4, 2)
            image = np.where(inside[..., None], body, wall) + 0.15 * np.sin(2 * np.pi * (fx * x + fy * y))[..., None]
            image += random.normal(0, 0.05, image.shape)
            image.clip(0, 1).astype(np.float32).tofile(image_file)
            inside.astype(np.float32).tofile(mask_file)
