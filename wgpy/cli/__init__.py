"""The `wgpy` command."""


from wgpy.isolate import start


def main() -> None:
    """Of `wgpy`: nothing is imported, opened or started before start.begin()."""
    start.begin()
    from wgpy.cli.commands import run
    run()
