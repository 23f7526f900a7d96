"""`hpcjob completion`: the script that makes a shell complete hpcjob's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcjobs.cli import complete, out
from hpcjobs.errors import UsageError
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from hpcjobs.cli.options import Shell


def completion(shell: Shell) -> int:
    """Print what makes a shell complete your words.

    Verbs, options, jobs and sites. To install it, type once:

    bash: echo 'eval "$(hpcjob completion bash)"' >> ~/.bashrc

    zsh: echo 'eval "$(hpcjob completion zsh)"' >> ~/.zshrc

    fish: hpcjob completion fish > ~/.config/fish/completions/hpcjob.fish
    """
    shells = complete.shells("")
    if shell not in shells:
        raise UsageError(f"there is no completion for {shell!r}", hint=nearest(shell, shells))
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # no public module exports it

    out.say(get_completion_script(prog_name="hpcjob", complete_var="_HPCJOB_COMPLETE", shell=shell))
    return 0
