from dataclasses import replace
from importlib.metadata import version

import numpy as np

from tiny_material import tiny_job
from topwork.training.fingerprint import digest, version_of, versions_of


def test_a_version_is_that_of_the_package_and_a_package_that_is_not_there_is_absent() -> None:
    assert version_of("numpy") == version("numpy")
    assert versions_of(("numpy", "no-such-package")) == f"numpy {version('numpy')}, no-such-package absent"


def test_the_digest_changes_with_features_labels_and_the_first_fold_alone() -> None:
    job, fold = tiny_job(60), tiny_job(60).folds[0]
    goal = job.goals["pattern"]
    assert digest(job) == digest(tiny_job(60))
    assert digest(replace(job, folds=job.folds[:1])) == digest(job)
    others = [
        replace(job, features=job.features + np.float32(1e-3)),
        replace(job, goals={"pattern": replace(goal, truth=np.roll(goal.truth, 1))}),
        replace(job, goals={"other": goal}),
        replace(job, folds=(replace(fold, valid=fold.valid[1:]), *job.folds[1:])),
    ]
    assert digest(job) not in {digest(other) for other in others}
