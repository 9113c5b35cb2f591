"""Augmentation on the device, in batch, a function of (seed, position) alone.

augment(pixels, "random_resized_crop", seed=0, position=51_200)
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MIN_AREA_FRAC = 0.5


def augment(pixels: Tensor, kind: Literal["none", "random_resized_crop"], seed: int, position: int) -> Tensor:
    """Vary training pictures.

    Args:
        pixels: uint8 (batch, 3, height, width), 0-255, RGB.
        kind: `random_resized_crop` takes a square of 50 to 100% of the area and scales it back, bilinear.
        seed, position: decide the crops.

    Returns:
        uint8, the same shape.
    """
    if kind == "none":
        return pixels
    batch = pixels.shape[0]
    entropy = int(np.random.SeedSequence([seed, position]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    generator = torch.Generator().manual_seed(entropy)
    area, down, right = torch.rand(3, batch, generator=generator).unbind()
    side = (MIN_AREA_FRAC + (1 - MIN_AREA_FRAC) * area).sqrt()  # of the crop, as a share of the picture's
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, 0, 2] = (1 - side) * (2 * right - 1)
    theta[:, 1, 2] = (1 - side) * (2 * down - 1)
    grid = F.affine_grid(theta.to(pixels.device), list(pixels.shape), align_corners=False)
    cropped = F.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    return cropped.round().clamp(0, 255).to(torch.uint8)
