"""How pools are divided: exactly, so that nothing is minted or lost (docs/ledger.md).

A plan's pool is split evenly over its rounds, a round's share among those who earned it by weight. What rounding
leaves stays in the escrow and goes back to the plan's owner in the end.

Rules of this file: exact integers, no state.
"""

from collections.abc import Sequence

from chain.ids import INT_MAX
from consensus.records import PPM, DeviceReport, MinerReport


def compute_round_share(pool: int, rounds: int, number: int) -> int:
    """Return the share of round ``number`` (from 0) of ``rounds`` in a pool; the shares of all rounds add up to it."""
    return pool * (number + 1) // rounds - pool * number // rounds


def compute_split(share: int, weights: Sequence[int]) -> list[int]:
    """Return each one's part of a share, ∝ weight and rounded down; nobody gets anything if all weights are 0."""
    total = sum(weights)
    return [share * weight // total if total else 0 for weight in weights]


def compute_capped_split(share: int, weights: Sequence[int], samples: Sequence[int], cap_percent: int) -> list[int]:
    """Return each one's part of a share, ∝ weight, but no more than ``cap_percent`` of its part by samples.

    Whoever splits himself over several identities has together as many samples as before, so no higher cap; and where
    the weights of the parts are together no more than the whole's was, no more coins (docs/learning.md). What the caps
    cut off is nobody's.
    """
    total = sum(samples)
    parts = compute_split(share, weights)
    return [
        min(part, share * own * cap_percent // (100 * total)) if total else 0
        for part, own in zip(parts, samples, strict=True)
    ]


def get_contribution_weight(value: int | None) -> int:
    """Return what a device's part is proportional to where it goes by contribution: who did harm pays nothing back."""
    return 0 if value is None else max(value, 0)


def get_device_weight(report: DeviceReport) -> int:
    """Return what a device's part is proportional to: counted samples × quality."""
    return report.counted * report.quality_ppm


def get_miner_weight(report: MinerReport) -> int:
    """Return what a miner's part is proportional to: the samples behind the updates it verified."""
    return report.samples


def combine_reports(before: DeviceReport, after: DeviceReport) -> DeviceReport:
    """Return a device's report over two phases: the fewer counted samples, the product of the qualities."""
    return DeviceReport(
        device=after.device,
        samples=after.samples,
        counted=min(before.counted, after.counted),
        quality_ppm=before.quality_ppm * after.quality_ppm // PPM,
        computation_us=min(before.computation_us + after.computation_us, INT_MAX),  # as devices say: any two numbers
        reward=after.reward,
    )
