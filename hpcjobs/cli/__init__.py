"""The command line: a lazy table of verbs, a printer, one module a verb.

A verb is a plain function whose docstring is its help text and whose parameters are annotated with the names of
`options.py`. Those are looked up only when a command line has options to parse, so a verb imports no parser.
"""

from __future__ import annotations

# Verb -> "module:function", or "module:dictionary of functions" for a verb with verbs of its own; in the order and
# under the headings of `hpcjob --help`.
GROUPS: dict[str, dict[str, str]] = {
    "Run jobs": {
        "submit": "hpcjobs.cli.submit:submit",
        "render": "hpcjobs.cli.submit:render",
        "resubmit": "hpcjobs.cli.submit:resubmit",
        "sweep": "hpcjobs.cli.sweep:COMMANDS",
        "translate": "hpcjobs.cli.translate:translate",
    },
    "Use images as programs": {
        "wrap": "hpcjobs.cli.wrap:wrap",
        "module": "hpcjobs.cli.wrap:module",
        "kernel": "hpcjobs.cli.kernel:COMMANDS",
        "jupyter": "hpcjobs.cli.serve:jupyter",
        "serve": "hpcjobs.cli.serve:serve",
        "shell": "hpcjobs.cli.shell:shell",
    },
    "Follow them": {
        "status": "hpcjobs.cli.status:status",
        "watch": "hpcjobs.cli.watch:watch",
        "wait": "hpcjobs.cli.wait:wait",
        "logs": "hpcjobs.cli.logs:logs",
        "show": "hpcjobs.cli.show:show",
        "explain": "hpcjobs.cli.explain:explain",
        "history": "hpcjobs.cli.status:history",
    },
    "Control them": {
        "cancel": "hpcjobs.cli.control:cancel",
        "hold": "hpcjobs.cli.control:hold",
        "release": "hpcjobs.cli.control:release",
        "requeue": "hpcjobs.cli.control:requeue",
    },
    "Set up": {
        "image": "hpcjobs.cli.image:COMMANDS",
        "mpi": "hpcjobs.cli.mpi:COMMANDS",
        "doctor": "hpcjobs.cli.doctor:doctor",
        "site": "hpcjobs.cli.site:COMMANDS",
        "template": "hpcjobs.cli.template:COMMANDS",
        "completion": "hpcjobs.cli.completion:completion",
    },
}
VERBS: dict[str, str] = {verb: target for group in GROUPS.values() for verb, target in group.items()}

# Verbs that are typed all day. With nothing but names and --json they need no parser, which is half of the time
# that they take (docs/adr/0003).
PLAIN = frozenset({"status", "show", "explain", "history", "cancel", "hold", "release", "requeue"})
