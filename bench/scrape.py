"""A running node's own metrics: read twice, what happened between is the difference."""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from node.localnet.processes import NodeHome

Key = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Samples of ``/metrics``, or the difference of two readings."""

    values: Mapping[Key, float]

    def since(self, before: "Figures") -> "Figures":
        """Return what was counted after ``before``."""
        return Figures({key: value - before.values.get(key, 0.0) for key, value in self.values.items()})

    def get(self, name: str, **labels: str) -> float:
        """Return one sample; 0 if it was never counted."""
        return self.values.get((name, frozenset(labels.items())), 0.0)

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of a sample's values under all other labels."""
        wanted = labels.items()
        return sum(value for (its, given), value in self.values.items() if its == name and wanted <= given)

    def buckets(self, name: str) -> list[tuple[float, float]]:
        """Return a histogram's upper bounds in ascending order, and how many values are not above each."""
        found = [
            (float(dict(labels)["le"]), value)
            for (its, labels), value in self.values.items()
            if its == f"{name}_bucket" and len(labels) == 1
        ]
        return sorted(found)

    def share_above(self, name: str, bound: float) -> float:
        """Return the share of a histogram's values above one of its bounds."""
        buckets = self.buckets(name)
        return 1 - dict(buckets)[bound] / buckets[-1][1]

    def quantile(self, name: str, share: float) -> float:
        """Return a quantile, interpolated in its bucket as Prometheus does; the last finite bound if it is above."""
        buckets = self.buckets(name)
        wanted = share * buckets[-1][1]
        place = bisect_left([count for _, count in buckets], wanted)
        if place == len(buckets) - 1:
            return buckets[-2][0]
        low, below = buckets[place - 1] if place else (0.0, 0.0)
        high, count = buckets[place]
        return low + (high - low) * (wanted - below) / max(1.0, count - below)


async def read_figures(home: NodeHome) -> Figures:
    """Ask a running node."""
    url = json.loads((home.path / "rpc.json").read_text())["url"]
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        text = await response.text()
    return Figures(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )
