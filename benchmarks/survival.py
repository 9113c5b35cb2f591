"""What it costs to survive: the stall of a checkpoint, and how soon a killed run goes on.

    python benchmarks/survival.py [--quick] [--json FILE]

1. The seed preset's whole state (102 M parameters and AdamW's two moments, 1.2 GB): how long training stands still for
   a checkpoint that is written behind it, against one that is written while training waits, in turns.
2. The quickstart, killed by SIGKILL in the middle and started again by the same command: seconds until the first step
   after it, less what importing torch takes in a process of its own, just before.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from clipexp.data.prepare import prepare
from clipexp.model.clip import CLIP
from clipexp.spec.load import load_spec
from clipexp.train import checkpoint
from clipexp.train.checkpoint import TrainState, flatten_optimizer
from clipexp.train.checkpoint_writer import CheckpointWriter, Written
from clipexp.train.device import describe_device
from clipexp.train.optim import make_optimizer

BIG, SMALL = "experiments/run1.yaml", "experiments/quickstart.yaml"
REPEATS, QUICK_REPEATS = 5, 2
RUN = "import sys; from clipexp.cli import main; main(sys.argv[1:])"


def big_state() -> TrainState:
    """The full model with an optimizer's state, all of it written to once."""
    spec = load_spec(BIG).spec
    model = CLIP(spec.model, spec.data.tokenizer.vocab_size)
    optimizer = make_optimizer(model.named_parameters(), spec.optim)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    progress = {"samples_seen": 0, "best_loss": 1.0, "is_best": False, "ran_on": ""}
    return TrainState(model.state_dict(), flatten_optimizer(optimizer), progress)


def stalls(repeats: int) -> tuple[list[float], list[float], int]:
    """Seconds that training stands still: written behind it, and while it waits; and the bytes."""
    state = big_state()
    behind, waiting = [], []
    num_bytes = 0
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        root = Path(folder)
        with CheckpointWriter(root, "0" * 12, keep_last=1, before_publish=lambda: None) as writer:
            for number in range(repeats + 1):
                start_s = time.perf_counter()
                writer.begin(TrainState(state.model, state.optimizer, {**state.progress, "samples_seen": number}))
                behind.append(time.perf_counter() - start_s)
                num_bytes = writer.num_bytes
                writer.wait()
                if not isinstance(outcome := writer.take(), Written):
                    raise RuntimeError(f"a checkpoint was not written: {outcome}")
                start_s = time.perf_counter()
                checkpoint.save(root / "waited-for", state, "0" * 12)
                waiting.append(time.perf_counter() - start_s)
    return behind, waiting, num_bytes


def seconds_until(process: "subprocess.Popen[str]", text: str) -> float:
    """How long until a process says something."""
    start_s = time.perf_counter()
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return time.perf_counter() - start_s
    raise RuntimeError(f"it never said {text!r}")


def resume_s(overrides: list[str]) -> tuple[float, float]:
    """Seconds from the command to the first step of a run that goes on, and those that importing torch takes."""
    words = [sys.executable, "-u", "-c", RUN, "run", str(Path(SMALL).resolve()), *overrides]
    with tempfile.TemporaryDirectory() as folder:
        with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as first:
            seconds_until(first, "6,400 samples")
            first.send_signal(signal.SIGKILL)
        start_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        torch_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, text=True) as second:
            (journal,) = Path(folder).glob("mlruns/journals/*/events.jsonl")
            while not has_stepped(journal):
                time.sleep(0.01)
            took_s = time.perf_counter() - start_s
            second.kill()
    return took_s, torch_s


def has_stepped(journal: Path) -> bool:
    """Whether the second attempt has recorded a training step."""
    return any('"attempt": 2' in line and '"StepEvent"' in line for line in journal.read_text().splitlines())


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two repeats")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    repeats = QUICK_REPEATS if args.quick else REPEATS
    device = describe_device(torch.device("cpu"))
    behind, waiting, num_bytes = stalls(repeats)
    spec = load_spec(SMALL).spec
    prepare(spec.data, spec.model.context_length)
    overrides = [f"data.store={Path(spec.data.store).resolve()}", "train.log_every_samples=128"]
    overrides += ["train.checkpoint_every_samples=1280", "train.eval_every_samples=6400"]
    flags = [word for override in overrides for word in ("--set", override)]
    resumed = [resume_s(flags) for _ in range(repeats)]
    basis = f"median of {repeats}, {device}"
    size = f"{num_bytes / 1e9:.2f} GB, {basis}"
    rows: list[dict[str, Any]] = [
        {"name": "checkpoint_stall_first_s", "value": behind[0], "unit": "s", "basis": f"makes its buffers; {size}"},
        {"name": "checkpoint_stall_s", "value": statistics.median(behind[1:]), "unit": "s", "basis": size},
        {"name": "checkpoint_waited_for_s", "value": statistics.median(waiting[1:]), "unit": "s", "basis": size},
        {"name": "resume_s", "value": statistics.median(s for s, _ in resumed), "unit": "s", "basis": basis},
        {"name": "import_torch_s", "value": statistics.median(s for _, s in resumed), "unit": "s", "basis": basis},
        {
            "name": "resume_beyond_torch_s",
            "value": statistics.median(took - torch_s for took, torch_s in resumed),
            "unit": "s",
            "basis": f"to the first step recorded after SIGKILL; {basis}",
        },
    ]
    for row in rows:
        print(f"{row['name']:<28} {row['value']:>8.3f} {row['unit']}  {row['basis']}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    main()
