"""`hpo completion bash|zsh|fish`: the script that teaches a shell to complete `hpo`'s verbs, options and sweeps.

A command for the shell's start-up file, once. The script asks `hpo` itself at each Tab, so it knows what a newer hpo
brings; a Tab imports the verb that is typed and no engine.
"""

from __future__ import annotations

import click

from hpo.command import run, verb


@verb("completion", 'eval "$(hpo completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash  eval "$(hpo completion bash)"      in ~/.bashrc
    zsh   eval "$(hpo completion zsh)"       in ~/.zshrc
    fish  hpo completion fish > ~/.config/fish/completions/hpo.fish
    """
    from click.shell_completion import get_completion_class

    from hpo.__main__ import main

    made = get_completion_class(shell)
    assert made is not None
    complete = made(main, {}, "hpo", "_HPO_COMPLETE")
    click.echo(complete.source_template % complete.source_vars())


if __name__ == "__main__":
    run(command)
