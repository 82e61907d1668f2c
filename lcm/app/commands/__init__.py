"""The commands of `lcm`, one module each with HELP, DESCRIPTION, EPILOG, add_arguments(parser) and run(arguments)."""

from __future__ import annotations

from types import ModuleType

from lcm.app.commands import (
    certify,
    check,
    compare,
    encode,
    evaluate,
    explore,
    fit,
    generate,
    graph,
    import_,
    name,
    plan,
    protocol,
    refit,
    report,
    reproduce,
    sample,
    sweep,
    table,
)

COMMANDS: dict[str, ModuleType] = {
    "generate": generate,
    "import": import_,
    "check": check,
    "fit": fit,
    "graph": graph,
    "name": name,
    "encode": encode,
    "evaluate": evaluate,
    "compare": compare,
    "report": report,
    "certify": certify,
    "refit": refit,
    "sample": sample,
    "explore": explore,
    "plan": plan,
    "protocol": protocol,
    "sweep": sweep,
    "table": table,
    "reproduce": reproduce,
}
