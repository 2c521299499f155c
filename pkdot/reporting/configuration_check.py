"""Whether results are what the configuration asks for, by the parameters of every job behind them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pkdot.config import Experiment
from pkdot.errors import ConfigError, DataError
from pkdot.layout import arm_of
from pkdot.params import canonical
from pkdot.provenance import to_delete
from pkdot.stages import STAGES


def check_configuration(experiment: Experiment, name: str, records: dict[Path, dict]) -> None:
    """Compare the parameters in records to those that the workflow would give the same jobs now.

    Raises
    ------
    DataError
        A job ran with other parameters; the message names the first one that differs.
    """
    for record in records.values():
        if record["stage"] == STAGES["prepare"].module and not experiment.dataset.is_prepared:
            continue  # made by hand: the configuration does not describe it
        used = record["params"]
        wanted = [params for params in _current(experiment, name, record) if params.keys() == used.keys()]
        if wanted and used not in wanted:
            where, before, now = next(_differences(used, wanted[0]))
            raise DataError(
                f"{record['marker']}: was made with {where} = {before}, but the configuration says {now}. "
                f"Delete {to_delete(record)} and run again."
            )


def _current(experiment: Experiment, name: str, record: dict) -> Iterator[dict[str, Any]]:
    """Yield the present parameters of each job of the record's stage that could be the same job."""
    params = record["params"]
    arm = arm_of(params.get("control"))  # of teachers that a control has for itself; students have none
    values = {**params, "experiment": name, "method": params.get("label"), "arm": arm}
    for stage in STAGES.values():
        if stage.module != record["stage"]:
            continue
        make = stage.make_params()
        arguments = list(inspect.signature(make).parameters.values())[1:]
        if all(each.name in values or each.default is not each.empty for each in arguments):
            try:
                made = make(experiment, **{each.name: values[each.name] for each in arguments if each.name in values})
            except (KeyError, ConfigError):  # a modality or method that the configuration no longer has
                raise DataError(
                    f"{record['marker']}: is of a modality or method that the configuration does not have. "
                    f"Delete {record['marker']} and run again."
                ) from None
            yield json.loads(canonical(made.plain()))


def _differences(before: Any, now: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the places at which two parameter sets differ, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            inside = f"{place}.{key}" if place else key
            yield from _differences(before.get(key), now.get(key), inside)
    elif before != now:
        yield place, before, now
