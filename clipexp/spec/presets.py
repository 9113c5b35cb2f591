"""Named sizes of the model: `model: {preset: tiny}` in a spec, amended by the keys beside it."""

from typing import Any

from clipexp.spec.run import PresetName

MODEL_BY_PRESET: dict[PresetName, dict[str, Any]] = {
    # The lab's first model: 102.4 M parameters with CLIP's vocabulary of 49,408.
    "seed": {
        "image_size_px": 224,
        "patch_size_px": 16,
        "embed_dim": 512,
        "context_length": 77,
        "vision": {"width": 768, "layers": 8, "heads": 6},
        "text": {"width": 512, "layers": 6, "heads": 8},
    },
    # 1.2 M parameters: learns `scenes-v1` in under two minutes on two cores.
    "tiny": {
        "image_size_px": 48,
        "patch_size_px": 12,
        "embed_dim": 128,
        "context_length": 32,
        "vision": {"width": 128, "layers": 3, "heads": 4},
        "text": {"width": 128, "layers": 2, "heads": 4},
    },
}
