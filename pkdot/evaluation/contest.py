"""The contest: all methods on the same subjects, with the same resamples of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pkdot.evaluation.metrics import lower_is_better
from pkdot.evaluation.statistics import bootstrap_weights, finite, interval, smallest_difference, swap_test

if TYPE_CHECKING:
    from pkdot.evaluation.metrics import Metrics


class Contest:
    """Means, intervals and tests of methods that predicted the same samples.

    Parameters
    ----------
    runs : dict of str to list of Metrics
        The metrics of each method, one entry a seed, all over the same subjects.
    subjects : int
        Number of subjects.
    bootstrap : int
        Number of resamples of the subjects.
    seed : int
        Seed of the resamples and of the tests.

    Attributes
    ----------
    value : dict
        Method -> metric -> value, the mean over seeds.
    resampled : dict
        Method -> metric -> the values on the resamples, shape (bootstrap,).
    """

    def __init__(self, runs: dict[str, list[Metrics]], subjects: int, bootstrap: int, seed: int) -> None:
        self.runs, self.subjects, self.seed = runs, subjects, seed
        weights = np.vstack([np.ones((1, subjects)), bootstrap_weights(subjects, bootstrap, seed)])
        values = {method: _mean_over_seeds([run(weights) for run in each]) for method, each in runs.items()}
        self.value = {m: {name: float(each[0]) for name, each in metrics.items()} for m, metrics in values.items()}
        self.resampled = {m: {name: each[1:] for name, each in metrics.items()} for m, metrics in values.items()}

    def row(self, method: str, metric: str, baseline: str) -> dict:
        """Return the mean of a method with its interval, and its difference to the baseline."""
        low, high = interval(self.resampled[method][metric])
        difference = dict.fromkeys(("diff", "diff_ci_low", "diff_ci_high"))
        return {
            "method": method,
            "metric": metric,
            "mean": finite(self.value[method][metric]),
            "ci_low": finite(low),
            "ci_high": finite(high),
            "n_subjects": self.subjects,
            **(difference if method == baseline else self._difference(method, baseline, metric)),
        }

    def contrast(self, method: str, reference: str, family: str) -> list[dict]:
        """Return the comparison of two methods by each metric; ``p_holm`` is left for the whole family."""
        p = self._p_values(method, reference)
        return [
            {
                "method": method,
                "reference": reference,
                "metric": metric,
                "family": family,
                **self._difference(method, reference, metric),
                "smallest_difference": finite(smallest_difference(self._gain(method, reference, metric))),
                "p": p[metric],
                "p_holm": None,
            }
            for metric in self.value[method]
        ]

    def gap_closed(self, metric: str, methods: list[str], baseline: str, upper_bound: str) -> list[dict]:
        """Return the share of the gap between baseline and upper bound that each method closes.

        The share and its interval over subjects are None where the gap itself is not apart from zero, since a share
        is then not defined.
        """
        gap, gap_gain = self._gap(upper_bound, baseline, metric), self._gain(upper_bound, baseline, metric)
        low, high = interval(gap_gain)
        apart = low > 0 or high < 0
        shares = []
        for method in methods:
            entry: dict = {"method": method, "share": None, "ci_low": None, "ci_high": None}
            if apart:
                with np.errstate(invalid="ignore", divide="ignore"):
                    low, high = interval(self._gain(method, baseline, metric) / gap_gain)
                share = self._gap(method, baseline, metric) / gap
                entry |= {"share": share, "ci_low": finite(low), "ci_high": finite(high)}
            shares.append(entry)
        return shares

    def difference(self, method: str, reference: str, metric: str) -> dict[str, float | None]:
        """Return the difference of two methods by a metric with its interval, and what such a difference takes.

        ``smallest_difference`` is what these subjects could show, ``deviation`` the standard error times the root of
        their number: what a difference is measured against where other numbers of subjects are asked for.
        """
        gain = self._gain(method, reference, metric)
        defined = gain[np.isfinite(gain)]
        spread = defined.std(ddof=1) * np.sqrt(self.subjects) if len(defined) > 1 else np.nan
        return {
            **self._difference(method, reference, metric),
            "smallest_difference": finite(smallest_difference(gain)),
            "deviation": finite(spread),
        }

    def shown(self, method: str, reference: str, metric: str) -> dict[str, Any]:
        """Return the difference of two methods, and ``verdict``: better or worse where its interval is apart from zero.

        Everywhere else it is open.
        """
        found = self.difference(method, reference, metric)
        low, high = found["diff_ci_low"], found["diff_ci_high"]
        better, worse = low is not None and low > 0, high is not None and high < 0
        if lower_is_better(metric):
            better, worse = worse, better
        return {**found, "verdict": "better" if better else "worse" if worse else "open"}

    def share(self, method: str, control: str, baseline: str, metric: str) -> dict[str, float | None]:
        """Return which share of a method's gain over the baseline exceeds that of its control, with its interval.

        None where the gain itself is not apart from zero, since a share is then not defined.
        """
        gain, beyond = (self._gain(method, other, metric) for other in (baseline, control))
        low, high = interval(gain)
        if not (low > 0 or high < 0):
            return {"share": None, "ci_low": None, "ci_high": None}
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high = interval(beyond / gain)
        share = self._gap(method, control, metric) / self._gap(method, baseline, metric)
        return {"share": finite(share), "ci_low": finite(low), "ci_high": finite(high)}

    def _gap(self, method: str, reference: str, metric: str) -> float:
        return self.value[method][metric] - self.value[reference][metric]

    def _gain(self, method: str, reference: str, metric: str) -> np.ndarray:
        return self.resampled[method][metric] - self.resampled[reference][metric]

    def _difference(self, method: str, reference: str, metric: str) -> dict[str, float | None]:
        low, high = interval(self._gain(method, reference, metric))
        gap = self._gap(method, reference, metric)
        return {"diff": finite(gap), "diff_ci_low": finite(low), "diff_ci_high": finite(high)}

    def _p_values(self, method: str, reference: str) -> dict[str, float]:
        """Return the p-value of the difference of two methods by each metric."""
        pairs = list(zip(self.runs[method], self.runs[reference], strict=True))

        def differences(places: np.ndarray) -> dict[str, np.ndarray]:
            # where one method has the first half of the rows, the other one has the second half
            both = np.concatenate([places, 1 - places])
            values = _mean_over_seeds([mine.swapped(other, both) for mine, other in pairs])
            return {metric: each[: len(places)] - each[len(places) :] for metric, each in values.items()}

        return swap_test(differences, self.subjects, self.seed)


def _mean_over_seeds(runs: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
