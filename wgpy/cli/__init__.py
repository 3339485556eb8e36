"""The `wgpy` command."""


from wgpy.isolate import start


def main() -> None:
    start.begin()
    from wgpy.cli.commands import run
    run()
