# SPDX-License-Identifier: MIT
"""Reads a folder laid out as Kaggle's Carvana download into memory, split by car."""
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def mask_path(image):
    for ending in ("_mask.gif", "_mask.png"):
        path = image.parent.parent / "train_masks" / (image.stem + ending)
        if path.exists():
            return path
    raise FileNotFoundError(f"{image}: no mask in train_masks")


def split_by_car(folder, fraction, seed):
    """Training and validation pictures; no car is in both. File names are CAR_VIEW.jpg."""
    images = sorted((Path(folder) / "train").glob("*.jpg"))
    if not images:
        raise FileNotFoundError(f"{folder}: no train/*.jpg")
    cars = sorted({p.stem.rpartition("_")[0] for p in images})
    random.Random(seed).shuffle(cars)
    held_out = set(cars[: max(1, round(fraction * len(cars)))])
    parts = [[], []]
    for path in images:
        parts[path.stem.rpartition("_")[0] in held_out].append(path)
    return parts


def read_mask(image):
    return np.asarray(Image.open(mask_path(image)).convert("L")) > 127


def load(images, size):
    """uint8 [n][3][size][size] and [n][1][size][size] in {0, 1}."""
    x = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    y = torch.empty(len(images), 1, size, size, dtype=torch.uint8)
    for i, path in enumerate(images):
        picture = Image.open(path)
        picture.draft("RGB", (size, size))  # JPEG decodes at a fraction of its size
        picture = picture.convert("RGB").resize((size, size), Image.BILINEAR)
        x[i] = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        mask = Image.fromarray(read_mask(path).astype(np.uint8) * 255).resize((size, size), Image.BILINEAR)
        y[i, 0] = torch.from_numpy((np.array(mask) > 127).astype(np.uint8))
    return x, y
