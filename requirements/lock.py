"""Write requirements/locked.txt from what is installed: `make lock`. torch and its companions are left to WHEELS."""

import re
import subprocess
import sys
from pathlib import Path

HEAD = (
    "# Versions that tests and reports are held to. Made by: make lock."
    " torch and torchvision are chosen by WHEELS; see docs/gpu-box.md.\n"
)
LEFT_OUT = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*|pip|setuptools)==", re.IGNORECASE)

freeze = subprocess.run(
    [sys.executable, "-m", "pip", "freeze", "--exclude-editable"], capture_output=True, text=True, check=True
)
pins = sorted((line for line in freeze.stdout.splitlines() if "==" in line and not LEFT_OUT.match(line)), key=str.lower)
Path("requirements/locked.txt").write_text(HEAD + "\n".join(pins) + "\n")
