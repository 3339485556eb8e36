"""The `wgpy` command."""


def main() -> None:
    from wgpy.cli.commands import run
    run()
