"""The image tower: a Vision Transformer read out at its class token (Dosovitskiy 2021; Radford 2021).

VisionTransformer(spec.model)(pixels)  # uint8 (batch, 3, height, width) -> (batch, embed_dim)
"""

import torch
from torch import Tensor, nn

from clipexp.model.transformer import Transformer
from clipexp.spec.run import ModelSpec

# Mean and standard deviation of each channel over OpenAI's training pictures (Radford 2021, released preprocessing).
PIXEL_MEAN_RGB = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD_RGB = (0.26862954, 0.26130258, 0.27577711)


class VisionTransformer(nn.Module):
    """Patches -> linear embedding + position -> transformer -> class token -> joint space."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width, patch = spec.vision.width, spec.patch_size_px
        num_tokens = (spec.image_size_px // patch) ** 2 + 1
        self.register_buffer("mean", 255 * torch.tensor(PIXEL_MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(PIXEL_STD_RGB).view(1, 3, 1, 1), persistent=False)
        self.patch_embed = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.class_embed = nn.Parameter(width**-0.5 * torch.randn(width))
        self.pos_embed = nn.Parameter(width**-0.5 * torch.randn(num_tokens, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(
            width, spec.vision.layers, spec.vision.heads, spec.vision.mlp_ratio, causal=False
        )
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Linear(width, spec.embed_dim, bias=False)
        nn.init.normal_(self.proj.weight, std=width**-0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pictures.

        Args:
            pixels: uint8 (batch, 3, image_size_px, image_size_px), 0-255, RGB.

        Returns:
            (batch, embed_dim), not normalised.
        """
        x = (pixels.to(self.patch_embed.weight.dtype) - self.mean) / self.std
        x = self.patch_embed(x).flatten(2).mT  # (batch, patches, width)
        x = torch.cat([self.class_embed.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)  # (batch, tokens, width)
        x = self.transformer(self.ln_pre(x + self.pos_embed))
        image_emb: Tensor = self.proj(self.ln_post(x[:, 0]))
        return image_emb
