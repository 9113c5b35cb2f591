"""The model: two towers, one joint space, the contrastive loss."""
