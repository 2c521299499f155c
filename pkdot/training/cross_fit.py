"""Cross-fitting: no training subject with a label is embedded by an encoder that was trained on it.

An encoder knows the samples that it was trained on better than it will ever know others. A teacher and a T-Net that
are trained on such embeddings meet, in every other sample, something else than they have learned from. So the training
subjects that have labels are dealt to parts, and those of a part are embedded by an encoder that neither their labels
nor their arrays have reached: it is trained, scaled and normalised without them. Validation subjects choose its step.

All other subjects are embedded by the encoder of all training subjects, which was trained on none of their labels. It
is the one that ships, and the one that students begin at. All encoders have the same first weights, so that their
dimensions mean the same as far as training lets them; nothing fitted turns one into the axes of another, for a turn
that is fitted to the encoder of all subjects would bring their labels back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pkdot.errors import DataError
from pkdot.splits import Parts


def held_out(parts: Parts, groups: np.ndarray, count: int, seed: int) -> Iterator[tuple[np.ndarray, Parts]]:
    """Yield the rows of each part of the training subjects with labels, and the fold without them.

    Parameters
    ----------
    parts : Parts
        The fold.
    groups : ndarray, shape (samples,)
        The group of each sample; subjects of a group stay together.
    count : int
        Number of parts; as many as there are groups where these are fewer.
    seed : int
        Of the order in which groups are dealt.

    Yields
    ------
    rows : ndarray of int
        All training rows of the groups of a part, those without a label too.
    without : Parts
        The fold without these rows.

    Raises
    ------
    DataError
        There is one group alone, so that nothing is left to be trained on.
    """
    names = np.unique(groups[parts.train])
    if len(names) < 2:
        raise DataError(
            "embedding.cross_fit needs two training subjects (or groups) with labels, but a fold has one; remove it."
        )
    training = np.union1d(parts.train, parts.unlabelled)
    for part in np.array_split(np.random.default_rng(seed).permutation(names), min(count, len(names))):
        rows = training[np.isin(groups[training], part)]
        train, unlabelled = (np.setdiff1d(own, rows) for own in (parts.train, parts.unlabelled))
        yield rows, replace(parts, train=train, unlabelled=unlabelled)
