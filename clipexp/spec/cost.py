"""What a spec costs, by arithmetic: parameters, FLOPs, bytes. No torch.

num_parameters(spec)  # 102_4xx_xxx for the seed preset
forward_flops(spec) * 3  # a training sample
"""

from clipexp.spec.run import RunSpec, TowerSpec

FP32_BYTES = 4
ADAMW_BYTES_A_PARAMETER = 16  # fp32: weight, gradient, mean, mean square


def _block_parameters(tower: TowerSpec) -> int:
    width, hidden = tower.width, int(tower.width * tower.mlp_ratio)
    attention = 4 * width * width + 4 * width
    mlp = 2 * width * hidden + hidden + width
    norms = 4 * width
    return attention + mlp + norms


def vision_parameters(spec: RunSpec) -> int:
    """Weights of the image tower."""
    model, width = spec.model, spec.model.vision.width
    patches = 3 * model.patch_size_px**2 * width
    positions = (num_patches(spec) + 2) * width  # a class token, and a position for it too
    return (
        patches
        + positions
        + model.vision.layers * _block_parameters(model.vision)
        + 4 * width
        + width * model.embed_dim
    )


def text_parameters(spec: RunSpec) -> int:
    """Weights of the text tower, its token embedding included."""
    model, width = spec.model, spec.model.text.width
    embeddings = (spec.data.tokenizer.vocab_size + model.context_length) * width
    return embeddings + model.text.layers * _block_parameters(model.text) + 2 * width + width * model.embed_dim


def num_parameters(spec: RunSpec) -> int:
    """Weights of the model, the logit scale included."""
    return vision_parameters(spec) + text_parameters(spec) + 1


def checkpoint_bytes(spec: RunSpec) -> int:
    """One checkpoint: weights and AdamW's two moments, in fp32."""
    return num_parameters(spec) * 3 * FP32_BYTES


def num_patches(spec: RunSpec) -> int:
    """Patches of a picture."""
    return (spec.model.image_size_px // spec.model.patch_size_px) ** 2


def _tower_flops(tower: TowerSpec, tokens: int) -> int:
    hidden = int(tower.width * tower.mlp_ratio)
    linear = 2 * tokens * (4 * tower.width**2 + 2 * tower.width * hidden)
    attention = 2 * 2 * tokens**2 * tower.width
    return tower.layers * (linear + attention)


def forward_flops(spec: RunSpec) -> int:
    """FLOPs of one pair's forward pass at the full context length; a multiplication and an addition are two.

    Training takes three times that. Norms, softmax and activations are left out, as usual.
    """
    model = spec.model
    patches = num_patches(spec)
    vision = 2 * patches * 3 * model.patch_size_px**2 * model.vision.width + _tower_flops(model.vision, patches + 1)
    text = _tower_flops(model.text, model.context_length)
    projections = 2 * model.embed_dim * (model.vision.width + model.text.width)
    return vision + text + projections


def _activation_bytes(tower: TowerSpec, tokens: int, bytes_a_value: int) -> int:
    """What one sample keeps for the backward pass in one tower.

    A block keeps, a token: two norms' inputs and outputs, queries, keys and values, the attention's output (in two
    layouts) and the MLP's hidden values before and after the activation; and the attention's weights, heads x tokens.
    """
    hidden = int(tower.width * tower.mlp_ratio)
    features = (4 + 3 + 3 + 2) * tower.width + 2 * hidden
    weights = 2 * tower.heads * tokens
    return tower.layers * tokens * (features + weights) * bytes_a_value


def memory_bytes(spec: RunSpec) -> int:
    """An estimate of what training holds at once: weights, AdamW's state, activations, and the loss's logits.

    With micro-batches, activations are those of one; pictures as bytes, embeddings and logits stay the whole batch's,
    and so do the two copies as floats that augmenting makes.
    """
    bytes_a_value = 2 if spec.train.precision == "bf16" else FP32_BYTES
    model, batch = spec.model, spec.train.batch_size
    at_once = spec.train.micro_batch or batch
    activations = _activation_bytes(model.vision, num_patches(spec) + 1, bytes_a_value)
    activations += _activation_bytes(model.text, model.context_length, bytes_a_value)
    pixels = 3 * model.image_size_px**2
    floats = pixels * 2 * FP32_BYTES
    logits = 4 * batch * batch * FP32_BYTES  # the logits, two softmaxes, and their gradient
    held = at_once * (activations + floats)
    if at_once < batch:
        cached = 2 * 2 * model.embed_dim * FP32_BYTES  # two embeddings a pair and their gradients
        held = max(held, batch * floats if spec.data.augment != "none" else 0) + batch * cached
    return num_parameters(spec) * ADAMW_BYTES_A_PARAMETER + batch * pixels + held + logits
