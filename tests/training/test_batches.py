import pytest
from hypothesis import given
from hypothesis import strategies as st

from redct.errors import InputError
from redct.training.batches import EvaluationBatches, TrainingBatches


@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 5))
def test_evaluation_sees_every_document_once_in_as_many_batches_on_every_process(n, size, world) -> None:
    if n < world:
        with pytest.raises(InputError, match=r"trainer\.devices"):
            EvaluationBatches([1] * n, size, 0, world)
        return
    shares = [list(EvaluationBatches(list(range(n)), size, rank, world)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    batches = [batch for share in shares for batch in share]
    assert all(batches)
    assert max(map(len, batches)) <= size + 1
    assert sorted(i for batch in batches for i in batch) == list(range(n))


@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 4))
def test_training_sees_every_document_in_as_many_batches_on_every_process(n, size, world) -> None:
    shares = [TrainingBatches(list(range(n)), size, 3, rank, world) for rank in range(world)]
    batches = [list(share) for share in shares]
    assert {len(b) for b in batches} == {len(shares[0])}
    seen = [i for share in batches for batch in share for i in batch]
    assert set(seen) == set(range(n))
    assert len(seen) < n + world  # only the last batch of all may repeat documents, to give each process one
    assert all(batch for share in batches for batch in share)


def test_epochs_differ_and_repeat() -> None:
    sampler = TrainingBatches(list(range(100)), 8, seed=1)
    first = list(sampler)
    assert first == list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler)


def test_batches_hold_documents_of_similar_length() -> None:
    lengths = [n % 97 for n in range(3200)]
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in TrainingBatches(lengths, 32, 0)]
    assert sum(spread) / len(spread) < 10
