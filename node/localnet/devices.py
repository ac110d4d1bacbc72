"""Do the devices' files fit the plan? Asked before anything is started, so that one wrong cell costs no waiting."""

from collections.abc import Sequence
from dataclasses import dataclass

from fl.data.sources import DeviceFiles, load_dataset
from fl.dataset import rows
from fl.errors import DataError
from fl.plan.schema import Plan


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file of a device that fits the plan."""

    device: str
    file: str
    rows: int
    test: bool


def check_devices(devices: Sequence[DeviceFiles], plan: Plan) -> list[CheckedFile]:
    """Return each file with its rows; ``DataError`` with what is wrong in every file that does not fit, one a line."""
    found: list[CheckedFile] = []
    problems: list[str] = []
    limits = plan.participation
    for device in devices:
        for path in (device.train, device.test):
            if path is None:
                continue
            try:
                count = rows(load_dataset(path, plan.roles[0]))
            except DataError as error:
                problems.append(str(error))
                continue
            found.append(CheckedFile(device.name, path.name, count, path != device.train))
            if path == device.train and not limits.min_samples <= count <= limits.max_samples:
                problems.append(
                    f"{path.name}: has {count} rows; the plan takes devices with "
                    f"{limits.min_samples} … {limits.max_samples}"
                )
    if problems:
        raise DataError("\n".join(problems))
    return found
