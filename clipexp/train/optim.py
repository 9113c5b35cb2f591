"""The optimizer.

optimizer = make_optimizer(model.named_parameters(), spec.optim)
"""

from collections.abc import Iterable

import torch
from torch import nn

from clipexp.spec.run import OptimSpec


def make_optimizer(named_parameters: Iterable[tuple[str, nn.Parameter]], spec: OptimSpec) -> torch.optim.AdamW:
    """AdamW (Loshchilov 2019), fused; weight decay on matrices alone.

    Gains, biases, embeddings of tokens and positions, and the logit scale are not decayed; a frozen tower is left out.
    The learning rate is set each step by the loop.
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in named_parameters:
        if not parameter.requires_grad:
            continue
        is_matrix = parameter.ndim >= 2 and not name.endswith(("pos_embed", "token_embed.weight"))
        (decayed if is_matrix else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=spec.max_lr, betas=(spec.beta1, spec.beta2), eps=spec.eps, fused=True)
