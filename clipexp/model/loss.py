"""The contrastive loss (van den Oord 2018; Radford 2021, fig. 3).

info_nce(image_emb, text_emb, logit_scale)  # a scalar; ln(batch) at chance
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor) -> Tensor:
    """InfoNCE: the mean of two cross-entropies, images among captions and captions among images.

    Args:
        image_emb, text_emb: (batch, embed_dim), unit norm; row i of one belongs to row i of the other.
        logit_scale: scalar, the logarithm of the inverse temperature.

    Returns:
        A scalar, in nats.
    """
    logits = logit_scale.exp() * image_emb @ text_emb.mT  # (batch, batch)
    targets = torch.arange(logits.shape[0], device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.mT, targets)) / 2
