"""Pictures on the device, in batch: brought to the model's size, and varied by (seed, position) alone.

Of several ranks, each varies its share of the global batch as one alone would have.

fit(pixels, size_px=224)
augment(pixels, spec.data, size_px=224, seed=0, position=51_200)
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipexp.data.order import Share
from clipexp.spec.data import DataSpec

MIN_AREA_FRAC = 0.5
COLOUR_STREAM = 1  # tells the draws of colours from those of crops
GREY = (0.299, 0.587, 0.114)  # what each of RGB adds to a grey of the same brightness (ITU-R BT.601)


def fit(pixels: Tensor, size_px: int) -> Tensor:
    """Bring pictures to a size: bilinear, antialiased; those that have it stay as they are.

    Args:
        pixels: uint8 (batch, 3, height, width), 0-255, RGB.
        size_px: height and width wanted.

    Returns:
        uint8 (batch, 3, size_px, size_px).
    """
    if pixels.shape[-1] == size_px:
        return pixels
    scaled = F.interpolate(pixels.float(), (size_px, size_px), mode="bilinear", antialias=True, align_corners=False)
    return _bytes(scaled)


def augment(
    pixels: Tensor, spec: DataSpec, size_px: int, seed: int, position: int, share: Share | None = None
) -> Tensor:
    """Vary training pictures as a spec asks, and bring them to the model's size.

    Args:
        pixels: uint8 (batch, 3, height, width), 0-255, RGB.
        spec: its `augment`, `crop_min_area_frac` and `colour_jitter`.
        size_px: height and width of the result.
        seed, position: decide crops and colours; the position is the global batch's.
        share: which pictures of the global batch these are; None: all.

    Returns:
        uint8 (batch, 3, size_px, size_px).
    """
    share = share or Share.of_rank(len(pixels), 0, 1)
    if spec.augment == "random_resized_crop":
        draws = _draws(share, seed, position)
        pixels = _crop(pixels, spec.crop_min_area_frac or MIN_AREA_FRAC, size_px, draws)
    else:
        pixels = fit(pixels, size_px)
    if spec.colour_jitter:
        pixels = _jitter(pixels, spec.colour_jitter, _draws(share, seed, position, COLOUR_STREAM))
    return pixels


def _draws(share: Share, *entropy: int) -> Tensor:
    """Three numbers from 0 to 1 a picture, drawn for all of the global batch: (3, batch).

    On the CPU, so that every device gets the same.
    """
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    return torch.rand(3, share.num_global, generator=generator)[:, share.part]


def _on(device: torch.device, numbers: Tensor) -> Tensor:
    """Some numbers on the device, which the host does not wait for: from memory that is not pinned, it would."""
    return numbers.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else numbers


def _crop(pixels: Tensor, min_area_frac: float, size_px: int, draws: Tensor) -> Tensor:
    """A square of each, of `min_area_frac` to all of the area, scaled to the size, bilinear."""
    batch = pixels.shape[0]
    area, down, right = draws.unbind()
    side = (min_area_frac + (1 - min_area_frac) * area).sqrt()  # of the crop, as a share of the picture's
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, 0, 2] = (1 - side) * (2 * right - 1)
    theta[:, 1, 2] = (1 - side) * (2 * down - 1)
    grid = F.affine_grid(_on(pixels.device, theta), [batch, 3, size_px, size_px], align_corners=False)
    return _bytes(F.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False))


def _jitter(pixels: Tensor, strength: float, draws: Tensor) -> Tensor:
    """Brightness, contrast and saturation of each, times 1 - strength to 1 + strength, in that order."""
    factors = 1 + strength * (2 * draws - 1)
    factors = _on(pixels.device, factors)[:, :, None, None, None]
    brightness, contrast, saturation = factors.unbind()  # each (batch, 1, 1, 1)
    weights = _on(pixels.device, torch.tensor(GREY))[:, None, None]
    x = (pixels.float() * brightness).clamp(0, 255)
    middle = (x * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)  # (batch, 1, 1, 1)
    x = (middle + (x - middle) * contrast).clamp(0, 255)
    grey = (x * weights).sum(1, keepdim=True)  # (batch, 1, height, width)
    return _bytes(grey + (x - grey) * saturation)


def _bytes(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)
