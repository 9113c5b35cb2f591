"""torchvision beside a torch that was built without CUDA."""

import subprocess
import sys

import torch

from clipexp.torchvision_import import import_torchvision


def run(program: str) -> str:
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return child.stdout.strip()


def test_torchvision_and_what_imports_it_load_in_a_fresh_process() -> None:
    program = (
        "from clipexp.torchvision_import import import_torchvision\n"
        "module = import_torchvision()\n"
        "import torchvision, torchvision.transforms.v2, open_clip\n"
        "print(module is torchvision, import_torchvision() is torchvision)"
    )
    assert run(program).splitlines()[-1] == "True True"


def test_transforms_v2_scale_a_picture() -> None:
    import_torchvision()
    from torchvision.transforms import v2

    grey = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    scaled = v2.Resize((4, 4))(grey)
    assert (scaled.shape, scaled.dtype) == ((3, 4, 4), torch.uint8)
    assert scaled.eq(100).all()


def test_transforms_v2_crop_from_a_batch() -> None:
    import_torchvision()
    from torchvision.transforms import v2

    batch = torch.arange(2 * 3 * 6 * 6).view(2, 3, 6, 6)
    assert torch.equal(v2.CenterCrop(2)(batch), batch[:, :, 2:4, 2:4])


def test_importing_the_shim_loads_nothing() -> None:
    program = "import sys, clipexp.torchvision_import; print({'torch', 'torchvision'} & set(sys.modules))"
    assert run(program) == "set()"
