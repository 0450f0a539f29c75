"""`ani3d evaluate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from baker.commands.inputs import add_settings


def add_commands(commands: Any) -> None:
    """The command that measures quality."""
    evaluate = commands.add_parser("evaluate", help="measure quality against simulated truth")
    subjects = evaluate.add_subparsers(dest="subject", required=True, metavar="WHAT")
    sampler = subjects.add_parser("sampler", help="the coarse video, rival samplers, ours and its ablations",
                                  description="Restore held-out clips with every sampler; write a table and pictures.")
    sampler.add_argument("-o", "--output", type=Path, default=Path("evaluation"), metavar="DIR")
    add_settings(sampler, "simulations=8, steps=9, prior_path=FILE, motion_folder=DIR")
    sampler.add_argument("--json", action="store_true")
    sampler.set_defaults(run=run_evaluate_sampler)

    baked = subjects.add_parser("bake", help="rigid skinning, bakes and their ablations against simulated cloth",
                                description="Bake held-out people from the prior and from the truth; write a table and "
                                "pictures. The defaults take about half an hour on two cores.")
    baked.add_argument("-o", "--output", type=Path, default=Path("evaluation"), metavar="DIR")
    add_settings(baked, "cases=3, iterations=400, trajectories=4, ablations=all, prior_path=FILE")
    baked.add_argument("--json", action="store_true")
    baked.set_defaults(run=run_evaluate_bake)


def run_evaluate_sampler(args: argparse.Namespace) -> None:
    """Measure samplers on held-out clips."""
    from baker.config import with_settings
    from baker.evaluate_sampler import EvaluationConfig, evaluate, table
    from baker.progress import Progress

    args.output.mkdir(parents=True, exist_ok=True)
    with Progress() as progress:
        result = evaluate(with_settings(EvaluationConfig(), args.settings), args.output, progress.report)
    print(json.dumps(result, indent=1) if args.json else table(result["rows"]), end="\n" if args.json else "")


def run_evaluate_bake(args: argparse.Namespace) -> None:
    """Measure bakes of held-out people."""
    from baker.config import with_settings
    from baker.evaluate_bake import BakeEvaluationConfig, evaluate, table
    from baker.progress import Progress

    config = with_settings(BakeEvaluationConfig(), args.settings)
    args.output.mkdir(parents=True, exist_ok=True)
    with Progress() as progress:
        result = evaluate(config, args.output, progress.report)
    print(json.dumps(result, indent=1) if args.json else table(result["means"]), end="\n" if args.json else "")
