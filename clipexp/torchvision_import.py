"""Import torchvision beside a torch that was built without CUDA.

    torchvision = import_torchvision()

The torchvision on PyPI is built for CUDA. Beside a CPU build of torch its import stops at `operator torchvision::nms
does not exist`, and so does that of timm and open_clip, which import it. Once the two operators' schemas are defined,
everything but those operators and its own JPEG decoder works.
"""

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

MISSING_OPERATOR = "torchvision::nms"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> ModuleType:
    """The torchvision module, importable from then on by every library in this process.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: its import fails for another reason.
    """
    import torch

    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if torch.version.cuda is not None or MISSING_OPERATOR not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _define_schemas()
    return importlib.import_module("torchvision")


@functools.cache  # the library must stay alive: its end would take the schemas back
def _define_schemas() -> object:
    from torch.library import Library

    library: Any = Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)
    return library
