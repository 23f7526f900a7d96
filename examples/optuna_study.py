"""Optuna looks for the lowest point of a function that a job computes: `python examples/optuna_study.py [SITE]`.

Needs Optuna (pip install optuna). By default the jobs run on this machine.
"""

from __future__ import annotations

import sys

import optuna

from hpcjobs import HpcjobError, Job
from hpcjobs.sweep import Study

# The job prints f(x, y), which is 0 at (1, 2) and more elsewhere.
BOWL = 'awk -v x="$x" -v y="$y" \'BEGIN { printf "f = %.9f\\n", (x - 1) ^ 2 + (y - 2) ^ 2 }\''
SPACE = {
    "x": optuna.distributions.FloatDistribution(-5, 5),
    "y": optuna.distributions.FloatDistribution(-5, 5),
}


def main(site: str) -> int:
    """Five times eight points, each time as one job array."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    study = Study(Job(command=("sh", "-c", BOWL), runtime="none", name="bowl"), results=[r"f=f = (\S+)"], site=site)
    try:
        for _ in range(5):
            trials = [search.ask(SPACE) for _ in range(8)]
            numbers = study.ask(*(trial.params for trial in trials))
            told = {point.number: point for point in study.tell(timeout=600)}
            for trial, number in zip(trials, numbers, strict=True):
                search.tell(trial, float(told[number].results["f"]))
    except HpcjobError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    best = search.best_trial
    print(f"{study.label}: {len(search.trials)} points, the lowest is {best.value:.3f} at {best.params}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "local"))
