"""Run a job and print what it wrote: `python examples/python_api.py [SITE]` (by default the local scheduler)."""

from __future__ import annotations

import sys

from hpcjobs import HpcjobError, Job, logs, submit, wait


def main(site: str) -> int:
    """Submit, wait, print; the exit code says how the job ended."""
    job = Job(command=("sh", "-c", "echo hello from $(uname -n)"), runtime="none", ntasks=1, name="hello")
    try:
        (ended,) = wait(submit(job, site=site), timeout=300)
    except HpcjobError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    print(f"{ended.label} is {ended.state}: {logs(ended).strip()}")
    return ended.exit_code or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "local"))
