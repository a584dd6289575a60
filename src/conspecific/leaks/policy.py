"""What a run does about leaks: report them, remove them from training and validation, or refuse the data."""

from dataclasses import replace
from typing import get_args

import numpy as np

from conspecific.config.choices import LeakPolicy
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits, Subset, require_usable
from conspecific.errors import DataError, did_you_mean
from conspecific.leaks.record import Leaks, describe

POLICIES = get_args(LeakPolicy)


def apply_policy(policy: str, leaks: Leaks, splits: Splits, manifest: Manifest) -> Splits:
    """Return the splits to use: `report` leaves them as they are, `drop` removes leaks, `error` refuses them.

    Species whose names are similar but not certainly the same are only reported.

    Raises DataError for leaks under `error`, for subsets that are unusable after `drop`, and for an unknown policy.
    """
    if policy not in POLICIES:
        raise DataError(f"leaks={policy} is unknown. {did_you_mean(policy, POLICIES)}")
    if policy == "error" and (leaks.pairs.height or leaks.respelt):
        raise DataError(
            f"the subsets share images: {describe(leaks)} Remove them from the data, or set leaks=drop to remove them "
            "from training and validation, or leaks=report to use the data as it is."
        )
    return without_leaks(splits, leaks, manifest) if policy == "drop" else splits


def without_leaks(splits: Splits, leaks: Leaks, manifest: Manifest) -> Splits:
    """Remove from training and validation the first image of each pair, and species that are certainly in the test.

    The test is never changed. Raises DataError if the remaining images cannot be trained or validated on.
    """
    removed = np.union1d(leaks.pairs["first_id"].to_numpy(), np.array(leaks.respelt, np.int64))
    val = Subset(np.setdiff1d(splits.val.query, removed), np.setdiff1d(splits.val.gallery, removed))
    kept = replace(splits, train=np.setdiff1d(splits.train, removed), val=val)
    try:
        require_usable(kept, manifest)
    except DataError as error:
        raise DataError(f"without the {len(removed)} images that leaks=drop removes, {error}") from error
    return kept
