"""The contrastive loss (van den Oord 2018; Radford 2021, fig. 3).

info_nce(image_emb, text_emb, logit_scale)  # a scalar; ln(batch) at chance
loss = backward(embed, (pixels, tokens), logit_scale, micro_batch=64)  # with its gradients, 64 pairs held at once
"""

from collections.abc import Callable

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
    to_texts, to_images = _cross_entropies(image_emb, text_emb, logit_scale, "mean")
    return (to_texts + to_images) / 2


def pair_losses(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor) -> Tensor:
    """What each pair adds to InfoNCE, (batch,) in nats: `info_nce` is their mean. Arguments as there."""
    to_texts, to_images = _cross_entropies(image_emb, text_emb, logit_scale, "none")
    return (to_texts + to_images) / 2


def _cross_entropies(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    logits = logit_scale.exp() * image_emb @ text_emb.mT  # (batch, batch)
    targets = torch.arange(logits.shape[0], device=logits.device)
    to_texts = F.cross_entropy(logits, targets, reduction=reduction)
    return to_texts, F.cross_entropy(logits.mT, targets, reduction=reduction)


def backward(
    embed: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    batch: tuple[Tensor, Tensor],
    logit_scale: Tensor,
    micro_batch: int | None = None,
) -> Tensor:
    """Compute the loss of a batch and add its gradients to the parameters'.

    With `micro_batch`, activations of that many pairs are held at once, for one forward pass more (gradient caching,
    Gao 2021, arXiv 2101.06983): embeddings of all pairs without a graph; the loss over all of them, and its gradients
    with respect to each embedding; then by the chain rule, part by part, `sum of dloss/demb * demb/dweights`. That is
    the whole batch's gradient; sums are added in another order, so it is the same within rounding.

    Args:
        embed: pixels and tokens -> embeddings of pictures and captions, (pairs, embed_dim) each; a pair's depend on
            that pair alone.
        batch: pixels (batch, ...) and tokens (batch, ...).
        logit_scale: as for `info_nce`.
        micro_batch: pairs held at once; None: all.

    Returns:
        The loss, a scalar without a graph.
    """
    pixels, tokens = batch
    if micro_batch is None or micro_batch >= len(pixels):
        loss = info_nce(*embed(pixels, tokens), logit_scale)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    parts = list(zip(torch.split(pixels, micro_batch), torch.split(tokens, micro_batch), strict=True))
    with torch.no_grad():
        embedded = [embed(*part) for part in parts]
    image_emb, text_emb = (torch.cat(side).requires_grad_() for side in zip(*embedded, strict=True))
    loss = info_nce(image_emb, text_emb, logit_scale)
    image_grad, text_grad, scale_grad = torch.autograd.grad(loss, (image_emb, text_emb, logit_scale))
    logit_scale.grad = scale_grad if logit_scale.grad is None else logit_scale.grad + scale_grad
    grads = zip(torch.split(image_grad, micro_batch), torch.split(text_grad, micro_batch), strict=True)
    for part, part_grads in zip(parts, grads, strict=True):
        both = zip(embed(*part), part_grads, strict=True)
        learning = [(emb, grad) for emb, grad in both if emb.requires_grad]  # a frozen tower's does not
        torch.autograd.backward([emb for emb, _ in learning], [grad for _, grad in learning])
    return loss.detach()
