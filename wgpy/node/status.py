"""What a supervisor lets others see of its node: status.json, and metrics.prom for a textfile
collector. Both are files that anybody may read; each is replaced at once or not at all."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wgpy.admin import metrics

log = logging.getLogger(__name__)

STATUS, METRICS = "status.json", "metrics.prom"


class Status:
    """`describe()` gives the document of status.json, `counters()` what is of the metrics alone."""

    def __init__(self, run_dir: Path, describe: Callable[[], dict[str, Any]], counters: Callable[[], dict[str, Any]]):
        self._run_dir, self._describe, self._counters = run_dir, describe, counters
        self._written = ""

    def write(self) -> None:
        """When it is another one than the last."""
        text = json.dumps(self._describe())
        if text != self._written and self._replace(STATUS, text + "\n"):
            self._written = text

    def write_metrics(self) -> None:
        """In the format of Prometheus's textfile collector, in one step: a reader sees the old
        text or the new."""
        self._replace(METRICS, metrics.text(self._describe() | self._counters()))

    def close(self) -> None:
        """Metrics of a node that is down would be taken for those of one that is up."""
        (self._run_dir / METRICS).unlink(missing_ok=True)

    def _replace(self, name: str, text: str) -> bool:
        fresh = self._run_dir / f"{name}.new"
        try:
            fresh.write_text(text)
            fresh.replace(self._run_dir / name)
        except OSError as e:
            log.error("%s: %s", name, e.strerror)
            return False
        return True
