"""Metrics in Prometheus' text format: what a monitor watches to know that a node is well.

Names begin with ``fedchain_``; times are seconds, sizes bytes. Each service has a registry of its own.

Rules of this file: counting alone. The service says when something happens; nothing here looks at the node.
"""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from node.notices import (
    BlockMined,
    BlockRefused,
    HeadMoved,
    Notice,
    PeerLied,
    TransactionSeen,
    UpdateRefused,
    UpdateSeen,
)
from node.rpc.doors import Figures
from node.status import PARTS, STATES

_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SLOW: Final = (0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """A node's counters. ``render`` gives the text that ``/metrics`` serves."""

    def __init__(self, version: str, chain_id: str, genesis: str) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("fedchain_build", "What runs here.", registry=registry).info(
            {"version": version, "chain_id": chain_id, "genesis": genesis}
        )

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"fedchain_{name}", text, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"fedchain_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"fedchain_{name}", text, labels, buckets=buckets, registry=registry)

        self._height = gauge("height", "Height of the head.")
        self._target = gauge("target_height", "Height of the heaviest chain known.")
        self._finalized = gauge("finalized_height", "Height that no reorganisation will undo.")
        self._epoch = gauge("epoch", "Epoch of the validators' agreement; 0 where there is none.")
        self._view = gauge("view", "View of that epoch.")
        self._validators = gauge("validators", "Validators of that epoch.")
        self._part = Enum(
            "fedchain_validator", "This node's part in the agreement.", states=list(PARTS), registry=registry
        )
        self._blocks_above = gauge("blocks_above_height", "Height up to which this node has no block bodies.")
        self._state_synced = gauge("state_synced_height", "Height at which the state came from peers; 0 = executed.")
        self._gathered = gauge("state_gathered_ratio", "Part of the state being fetched from peers that is here.")
        self._state = Enum("fedchain_state", "The node's state.", states=list(STATES), registry=registry)
        self._peers = gauge("peers", "Connected peers.")
        self._transactions = gauge("pool_transactions", "Transactions that wait for a block.")
        self._transaction_bytes = gauge("pool_transaction_bytes", "Their bytes.")
        self._updates = gauge("pool_updates", "Local updates that wait for a block.")
        self._update_bytes = gauge("pool_update_bytes", "Bytes of their payloads.")

        self._connected = counter("blocks_connected", "Blocks put on the main chain.")
        self._undone = counter("blocks_undone", "Blocks taken off the main chain.")
        self._refused = counter("blocks_refused", "Blocks that break a rule.", "rule")
        self._mined = counter("blocks_mined", "Blocks that this node sealed.")
        self._seen_transactions = counter("transactions_seen", "Transactions that came to wait.")
        self._seen_updates = counter("updates_verified", "Local updates that were verified.")
        self._refused_updates = counter("updates_refused", "Local updates that break a rule.", "rule")

        self._lies = counter("lies", "Lies of full nodes that this light device found out.")

        self.sent_bytes = counter("sent_bytes", "Bytes written to peers.")
        self.received_bytes = counter("received_bytes", "Bytes read from peers.")
        self.connections_cut = counter("connections_cut", "Connections closed because the peer read too slowly.")
        self.core_seconds = histogram(
            "core_seconds", "Time the core took for an event, commits to disk included.", _FAST, "event"
        )
        self.core_wait_seconds = histogram("core_wait_seconds", "How long an event waited for the core.", _FAST)
        self.loop_lag_seconds = histogram("loop_lag_seconds", "How late the event loop's timer came.", _FAST)
        self.jobs_running = gauge("jobs_running", "Jobs in the thread pool, waiting ones included.")
        self.job_seconds = histogram("job_seconds", "Time a job took.", _SLOW, "job", "end")

    def count(self, notice: Notice) -> None:
        """Count what the core published."""
        match notice:
            case HeadMoved(connected=connected, undone=undone):
                self._connected.inc(connected)
                self._undone.inc(undone)
            case BlockRefused(rule=rule):
                self._refused.labels(rule).inc()
            case BlockMined():
                self._mined.inc()
            case TransactionSeen():
                self._seen_transactions.inc()
            case UpdateSeen():
                self._seen_updates.inc()
            case UpdateRefused(rule=rule):
                self._refused_updates.labels(rule).inc()
            case PeerLied():
                self._lies.inc()
            case _:
                pass

    def render(self, figures: Figures) -> bytes:
        """Return the text of all metrics, the gauges set from these figures."""
        status, pools = figures.status, figures.pools
        self._height.set(status.height)
        self._target.set(max(status.target, status.height))
        self._finalized.set(figures.finalized)
        agreement = figures.agreement
        if agreement is not None:
            self._epoch.set(agreement.epoch)
            self._view.set(agreement.view)
            self._validators.set(agreement.validators)
            self._part.state(agreement.part)
        self._blocks_above.set(figures.trust.blocks_above)
        self._state_synced.set(figures.trust.synced_at)
        self._gathered.set(figures.trust.gathered / 1_000_000)
        self._state.state(status.state)
        self._peers.set(status.peers)
        self._transactions.set(pools.transactions)
        self._transaction_bytes.set(pools.transaction_bytes)
        self._updates.set(pools.updates)
        self._update_bytes.set(pools.update_bytes)
        return generate_latest(self._registry)
