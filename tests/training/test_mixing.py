"""A step's examples in parts: as they are, or mixed in pairs."""

from __future__ import annotations

import numpy as np
import torch

from topwork.training.mixing import can_mix, parts_of
from topwork.training.plan import RungPlan

ROWS = np.array([7, 3, 5, 1])
PIXELS = torch.arange(4 * 6, dtype=torch.uint8).reshape(4, 2, 1, 3)
PLAIN = RungPlan("all", 0, 10, 4, (1.0,), 5)
MIXED = RungPlan("all", 0, 10, 4, (1.0,), 5, mixup=0.4)


def test_nothing_is_touched_where_nothing_is_mixed() -> None:
    [part] = parts_of(PIXELS, ROWS, PLAIN, (0, 0, 0))
    assert part.tensors.equal(PIXELS)
    assert part.tensors.dtype == torch.uint8
    assert part.partners is None
    assert part.rows.tolist() == part.whole.tolist() == ROWS.tolist()


def test_each_example_is_mixed_with_its_partner_by_one_share() -> None:
    place = {int(row): i for i, row in enumerate(ROWS)}
    for step in range(20):
        [part] = parts_of(PIXELS, ROWS, MIXED, (0, 0, step))
        assert part.partners is not None
        assert sorted(part.partners) == sorted(ROWS)
        other = PIXELS[[place[int(row)] for row in part.partners]].float()
        assert torch.allclose(part.tensors, part.share * PIXELS.float() + (1 - part.share) * other)


def test_the_same_step_is_mixed_in_the_same_way_and_another_in_another() -> None:
    first, again, other = (next(parts_of(PIXELS, ROWS, MIXED, (0, 0, step))) for step in (3, 3, 4))
    assert first.share == again.share != other.share
    assert first.tensors.equal(again.tensors)


def test_parts_keep_their_partners_from_the_whole_step() -> None:
    from dataclasses import replace

    [whole] = parts_of(PIXELS, ROWS, MIXED, (1, 2, 3))
    parts = list(parts_of(PIXELS, ROWS, replace(MIXED, n_parts=3), (1, 2, 3)))
    assert [len(part.rows) for part in parts] == [2, 1, 1]
    assert torch.cat([part.tensors for part in parts]).equal(whole.tensors)
    assert np.concatenate([part.rows for part in parts]).tolist() == ROWS.tolist()
    assert whole.partners is not None
    partners = [part.partners for part in parts if part.partners is not None]
    assert np.concatenate(partners).tolist() == whole.partners.tolist()
    assert {part.share for part in parts} == {whole.share}


def test_tokens_are_never_mixed() -> None:
    tokens = torch.ones(4, 1, 5, dtype=torch.int32)
    assert not can_mix(tokens)
    assert can_mix(PIXELS)
    assert can_mix(PIXELS.float())
    [part] = parts_of(tokens, ROWS, MIXED, (0, 0, 0))
    assert part.tensors.equal(tokens)
    assert part.partners is None


def test_the_loss_of_a_mixture_is_the_mixture_of_its_losses() -> None:
    """Each example counts for both labels, by its share: worked out once more from the scores."""
    from tiny_material import tiny_job
    from topwork.recipes.stretch import stretch_of, zero_heads
    from topwork.training.loop import loss_of_part

    job = tiny_job(30)
    heads = zero_heads(job)
    one = stretch_of(job, heads)
    head = heads["pattern"]
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    assert job.material is not None
    rows = np.arange(4)
    pixels = torch.from_numpy(np.stack([job.material.example(int(row)) for row in rows]))
    [part] = parts_of(pixels, rows, MIXED, (0, 0, 1))
    assert part.partners is not None
    found = loss_of_part(one.trainee, part, job.goals, 0.0, bf16=False)
    negative = -head(one.trainee.features(part.tensors)).log_softmax(1).detach().numpy()
    truth = job.goals["pattern"].truth
    own, other = (float(negative[rows, truth[several]].mean()) for several in (rows, part.partners))
    assert 0 < part.share < 1
    assert abs(float(found.detach()) - (part.share * own + (1 - part.share) * other)) < 1e-5
