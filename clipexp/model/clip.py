"""CLIP: two towers and a learnable temperature (Radford 2021, fig. 3).

model = CLIP(spec.model, vocab_size=49408)
image_emb, text_emb = model(pixels, tokens)
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipexp.model.text import TextTransformer
from clipexp.model.vision import VisionTransformer
from clipexp.spec.run import ModelSpec

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # Radford 2021, section 2.5
MAX_LOGIT_SCALE = math.log(100)  # the same: beyond a hundredfold, training becomes unstable


class CLIP(nn.Module):
    """Embeds pictures and captions into one space, where a picture lies next to its caption."""

    def __init__(self, spec: ModelSpec, vocab_size: int) -> None:
        super().__init__()
        self.vision = VisionTransformer(spec)
        self.text = TextTransformer(spec, vocab_size)
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """pixels: uint8 (batch, 3, height, width), 0-255, RGB -> (batch, embed_dim), fp32, unit norm."""
        return F.normalize(self.vision(pixels).float(), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """tokens: int64 (batch, context_length) -> (batch, embed_dim), fp32, unit norm."""
        return F.normalize(self.text(tokens).float(), dim=-1)

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Embed pairs: `encode_image(pixels), encode_text(tokens)`."""
        return self.encode_image(pixels), self.encode_text(tokens)

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Hold logit_scale in [0, ln 100], as CLIP's training does after every step."""
        self.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
