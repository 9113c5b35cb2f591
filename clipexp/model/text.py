"""The text tower: a causal transformer read out at the end-of-text token (Radford 2021, section 2.4).

TextTransformer(spec.model, vocab_size=49408)(tokens)  # int64 (batch, context_length) -> (batch, embed_dim)
"""

import torch
from torch import Tensor, nn

from clipexp.model.transformer import Transformer
from clipexp.spec.run import ModelSpec


class TextTransformer(nn.Module):
    """Token + position embedding -> causal transformer -> the end-of-text token -> joint space.

    The end-of-text token is the one with the highest id, as in CLIP's vocabulary; what stands behind it is padding,
    which the causal mask keeps out of the result.
    """

    def __init__(self, spec: ModelSpec, vocab_size: int) -> None:
        super().__init__()
        width = spec.text.width
        self.token_embed = nn.Embedding(vocab_size, width)
        self.pos_embed = nn.Parameter(0.01 * torch.randn(spec.context_length, width))
        self.transformer = Transformer(width, spec.text.layers, spec.text.heads, spec.text.mlp_ratio, causal=True)
        self.ln_final = nn.LayerNorm(width)
        self.proj = nn.Linear(width, spec.embed_dim, bias=False)
        nn.init.normal_(self.token_embed.weight, std=0.02)
        nn.init.normal_(self.proj.weight, std=width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed captions.

        Args:
            tokens: int64 (batch, context_length), each row holding one end-of-text token, its highest id.

        Returns:
            (batch, embed_dim), not normalised.
        """
        x = self.token_embed(tokens) + self.pos_embed[: tokens.shape[1]]  # (batch, context_length, width)
        x = self.transformer(x)
        x = x[torch.arange(x.shape[0], device=x.device), tokens.argmax(dim=-1)]  # (batch, width)
        text_emb: Tensor = self.proj(self.ln_final(x))
        return text_emb
