"""Runs are disturbed at random, and what is left of each is held against a run that nobody disturbed.

    python -m tests.faults --times 100 --seed 0 [--json reports/faults.json]
    python -m tests.faults --list
    python -m tests.faults --times 1 --seed 17 [--kind "kill at a point" [--params JSON]]    # that fault again

Fault number i of seed s is drawn from seed s + i, and so can be replayed alone. Prints a line a fault, then a summary;
the exit code is 1 if anything was lost, doubled, wrong or different.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.faults.campaign import Campaign, Play, draw_play, print_summary, write_json
from tests.faults.table import KINDS


def main() -> int:
    """Carry out a campaign; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=100, metavar="N", help="how many faults")
    parser.add_argument("--seed", type=int, default=0, help="of the first fault; each further one has the next")
    parser.add_argument("--kind", choices=sorted(KINDS), help="only this kind")
    parser.add_argument("--params", type=json.loads, metavar="JSON", help="a fault of --kind with just these")
    parser.add_argument("--each", action="store_true", help="each kind in turn, --times of it")
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="faults at a time")
    parser.add_argument("--fresh", action="store_true", help="a new interpreter for each process, not a forked one")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work here, and keep what is left of failed faults")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--list", action="store_true", help="only show the table of faults")
    options = parser.parse_args()
    if options.list:
        for name, kind in KINDS.items():
            click.echo(f"{name}: {kind.does}. Must: {kind.must}")
        return 0
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clipexp-faults-") as folder:
        root = (options.keep or Path(folder)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        with Campaign(root, is_fresh=options.fresh) as campaign:
            results = campaign.carry_out(_plays(options), options.parallel)
    minutes = (time.monotonic() - began_s) / 60
    print_summary(results, minutes)
    if options.json:
        write_json(options.json, results, options.seed, minutes)
    return 0 if all(result.is_good for result in results) else 1


def _plays(options: argparse.Namespace) -> list[Play]:
    if options.params is not None:
        return [Play(options.seed, options.kind, options.params)]
    kinds = list(KINDS) * options.times if options.each else [options.kind] * options.times
    return [draw_play(seed, kind) for seed, kind in enumerate(kinds, options.seed)]


if __name__ == "__main__":
    sys.exit(main())
