"""The caps of a payload store."""

from storage.errors import CapacityError


def check_capacity(size: int, total: int, max_payload_bytes: int, max_total_bytes: int | None) -> None:
    """Raise ``CapacityError`` if a payload of ``size`` bytes is over a cap of a store that holds ``total``."""
    if size > max_payload_bytes:
        raise CapacityError(f"payload of {size} bytes; at most {max_payload_bytes} are allowed")
    if max_total_bytes is not None and total + size > max_total_bytes:
        raise CapacityError(
            f"payload store full: {total} bytes stored, {size} more would pass the cap of {max_total_bytes}; "
            "prune payloads below the final height or raise the cap"
        )
