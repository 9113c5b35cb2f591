"""The transformer that both towers share: pre-norm residual blocks (Vaswani 2017, Radford 2021).

Transformer(width=512, num_layers=6, num_heads=8, causal=True)(x)  # (batch, tokens, width) -> the same
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Up to this many tokens, on a CPU, explicit products beat the fused kernel (see `attention`).
SHORT_SEQUENCE_TOKENS = 256


def attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v, with what lies ahead masked if `causal` (Vaswani 2017, eq. 1).

    On a GPU this is PyTorch's fused kernel. On a CPU that kernel loses to two plain batched products at CLIP's
    short sequences, so those are used up to `SHORT_SEQUENCE_TOKENS`; both give the same result to rounding.

    Args:
        q, k, v: (batch, heads, tokens, head_dim).
        causal: whether token i sees only tokens 0..i.

    Returns:
        (batch, heads, tokens, head_dim).
    """
    num_tokens = q.shape[-2]
    if q.device.type != "cpu" or num_tokens > SHORT_SEQUENCE_TOKENS:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = (q * (1 / math.sqrt(q.shape[-1]))) @ k.mT  # (batch, heads, tokens, tokens)
    if causal:
        ahead = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(ahead, float("-inf"))
    return scores.softmax(dim=-1) @ v


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, num_heads: int, *, causal: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, tokens, width) -> (batch, tokens, width)."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, width // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (batch, heads, tokens, head_dim)
        out = attention(q, k, v, causal=self.causal)
        mixed: Tensor = self.proj(out.transpose(1, 2).reshape(batch, tokens, width))
        return mixed


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float, *, causal: bool) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, num_heads, causal=causal)
        self.ln_2 = nn.LayerNorm(width)
        self.fc = nn.Linear(width, hidden)
        self.proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, tokens, width) -> (batch, tokens, width)."""
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.proj(F.gelu(self.fc(self.ln_2(x))))
        return out


class Transformer(nn.Module):
    """A stack of blocks with CLIP's initial weights (Radford 2021, released code), scaled by width and depth."""

    def __init__(self, width: int, num_layers: int, num_heads: int, mlp_ratio: float = 4.0, *, causal: bool) -> None:
        super().__init__()
        blocks = [Block(width, num_heads, mlp_ratio, causal=causal) for _ in range(num_layers)]
        self.blocks = nn.ModuleList(blocks)
        residual_std = width**-0.5 * (2 * num_layers) ** -0.5
        for block in blocks:
            nn.init.normal_(block.attn.qkv.weight, std=width**-0.5)
            nn.init.normal_(block.attn.proj.weight, std=residual_std)
            nn.init.normal_(block.fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.proj.weight, std=residual_std)
            for linear in (block.attn.qkv, block.attn.proj, block.fc, block.proj):
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, tokens, width) -> (batch, tokens, width)."""
        for block in self.blocks:
            x = block(x)
        return x
