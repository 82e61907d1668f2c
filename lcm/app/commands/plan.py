"""`lcm plan`: which targets the next pairs should have, and how many are needed."""

from __future__ import annotations

import argparse

from lcm.app.commands.common import check_output

HELP = "plan what to measure next: how many further pairs of which targets"
DESCRIPTION = """\
Say which variables were seldom targets, and how many further pairs of which targets are needed for a goal. The numbers
follow from the power of the fit's own tests and from the standard errors of its strengths; RUN is not fitted again and
does not change.

goals:
  graph        (default) every possible edge is decided, and every interval of a strength is W wide. An edge is decided
               if it is accepted at the false discovery rate Q, if it would close a cycle with accepted ones, or if the
               upper limit of its strength is at most S. The plan gives every undecided edge the power P.
  variables    every variable was a target so often that its standard deviation is known to W of itself
  effect I:J   the total effect of variable I on variable J, by number or name, is known to an interval W wide

The table lists for each variable the pairs so far, those needed, and those recommended for the budget; for the goal
graph, then every edge that is present or undecided. A budget below what is needed decides as many edges as it can; the
last lines say how many. The numbering is that of the learned variables. A row of the certificate that is broken is
named first, since all numbers assume that it holds. Measure in rounds, and plan again after each: docs/plan.md says
what that saves, and where equal shares of all targets are as good.

DIR/plan.json holds all numbers, DIR/plan.png the figure, and DIR/targets.yaml the recommended targets: for lcm protocol
--targets, or as the section nature.intervention of a config for lcm generate (docs/plan.md).
"""
EPILOG = """\
examples:
  lcm plan run
  lcm plan run --budget 2000 --out next && lcm protocol run --targets next/targets.yaml --pairs 2000 --out next.txt
  lcm plan run --goal effect 0:2 --width 0.1
"""
_FILES = {"plan.json": ".json", "plan.png": ".png", "targets.yaml": ".yaml"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder of lcm fit")
    goal_help = "graph, variables, or effect I:J; default: graph"
    parser.add_argument("--goal", metavar="GOAL", nargs="+", default=["graph"], help=goal_help)
    parser.add_argument("--budget", metavar="N", type=int, help="further pairs; default: as many as the goal needs")
    parser.add_argument("--width", metavar="W", type=float, default=0.2, help="width of 95 %% intervals; default: 0.2")
    parser.add_argument("--power", metavar="P", type=float, default=0.9, help="power for each edge; default: 0.9")
    least_help = "least strength that matters, in standard deviations; default: 0.1"
    parser.add_argument("--least", metavar="S", type=float, default=0.1, help=least_help)
    parser.add_argument("--fdr", metavar="Q", type=float, help="false discovery rate; default: that of the fit")
    parser.add_argument("--out", metavar="DIR", help="folder for plan.json, plan.png and targets.yaml")
    parser.add_argument("--overwrite", action="store_true", help="replace another plan in DIR")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    from pathlib import Path

    files = {}
    if arguments.out:
        for name, suffix in _FILES.items():
            files[name] = check_output(str(Path(arguments.out) / name), suffix, arguments.run_folder)
            if files[name].exists() and not arguments.overwrite:
                raise ValueError(
                    f"{arguments.out}: Expected a folder without another plan; got one with {name} (use --overwrite or"
                    " another folder)"
                )

    from lcm.base.files import write_json, write_text
    from lcm.run.planning import plan_pairs
    from lcm.run.runs import load_run

    found = load_run(arguments.run_folder)
    found.require_evidence()
    plan = plan_pairs(
        found.result(),
        " ".join(arguments.goal),
        arguments.budget,
        width=arguments.width,
        power=arguments.power,
        least=arguments.least,
        false_discovery_rate=arguments.fdr,
    )
    if files:
        from lcm.report import draw_plan

        Path(arguments.out).mkdir(parents=True, exist_ok=True)
        write_json(files["plan.json"], plan.numbers())
        write_text(files["targets.yaml"], plan.targets_yaml())
        draw_plan(files["plan.png"], plan)
    if not arguments.quiet:
        print(plan)
        if files:
            print(f"Written: {', '.join(map(str, files.values()))}")
