"""All rules over an application directory."""

from collections.abc import Mapping

from wgpy.camkes import application, edges, resources
from wgpy.camkes.application import Application, Violation

RULES = (edges.components, edges.connections, edges.console, edges.one_way, edges.sizes, edges.tables, edges.clock,
         resources.attributes, resources.devices, resources.memory, resources.interrupts, resources.iommu, resources.schedule,
         resources.options, resources.images)


def check(files: Mapping[str, bytes], sizes: Mapping[str, int]) -> tuple[Application | None, list[Violation]]:
    """The application, and what is wrong with it, in the rules' order. `sizes`: of images, by path."""
    app, found = application.read(files, sizes)
    if app is not None:
        for rule in RULES:
            found += rule(app)
        found += resources.rooms(app, dict(files))
    return app, found
