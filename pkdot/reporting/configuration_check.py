"""Whether results are what the configuration asks for, by the parameters of every job behind them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pkdot.config import Experiment
from pkdot.errors import ConfigError, DataError
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
            continue  # made by hand: the configuration says nothing of how
        given = record["params"]
        asked = [params for params in _asked(experiment, name, record) if params.keys() == given.keys()]
        if asked and given not in asked:
            where, was, now = next(_differences(given, asked[0]))
            raise DataError(
                f"{record['marker']}: was made with {where} = {was}, but the configuration says {now}. "
                f"Delete {to_delete(record)} and run again."
            )


def _asked(experiment: Experiment, name: str, record: dict) -> Iterator[dict[str, Any]]:
    """Parameters of the jobs of the record's stage that could be the same job."""
    from pkdot import jobs  # it knows this stage too

    params = record["params"]
    known = {**params, "experiment": name, "method": params.get("label")}
    for verb, stage in STAGES.items():
        make = getattr(jobs, verb, None)
        if stage.module != record["stage"] or make is None:
            continue
        arguments = list(inspect.signature(make).parameters.values())[1:]
        if all(each.name in known or each.default is not each.empty for each in arguments):
            try:
                made = make(experiment, **{each.name: known[each.name] for each in arguments if each.name in known})
            except (KeyError, ConfigError):  # a modality or method that the configuration no longer has
                raise DataError(
                    f"{record['marker']}: is of a modality or method that the configuration does not have. "
                    f"Delete {record['marker']} and run again."
                ) from None
            yield json.loads(canonical(made.plain()))


def _differences(was: Any, now: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Places at which two parameter sets differ, with both values."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            inside = f"{place}.{key}" if place else key
            yield from _differences(was.get(key), now.get(key), inside)
    elif was != now:
        yield place, was, now
