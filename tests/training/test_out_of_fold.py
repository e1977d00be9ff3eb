"""No classifier predicts a document that it was trained on."""

from functools import partial

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from redct.documents import Document
from redct.errors import InputError
from redct.training.out_of_fold import out_of_fold
from redct.training.parts import Part


class Diary(Callback):
    """Writes down which texts were trained on and which were predicted, a pair of sets for each trainer."""

    def __init__(self) -> None:
        self.folds: list[tuple[set[tuple[int, ...]], set[tuple[int, ...]]]] = []

    def setup(self, trainer, pl_module, stage) -> None:
        if stage == "fit":
            self.folds.append((set(), set()))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.folds[-1][0].update(rows(batch))

    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        self.folds[-1][1].update(rows(batch))


def rows(batch) -> set[tuple[int, ...]]:
    return {
        tuple(row[mask == 1].tolist()) for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    }


def trainer(*callbacks: Callback, epochs: int = 1) -> L.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(accelerator="cpu", devices=1, max_epochs=epochs, callbacks=list(callbacks), **quiet)


def corpus(n: int) -> list[Document]:
    return [Document(f"d{i}", f"{i} {'good' if i % 2 else 'bad'}", {}, None) for i in range(n)]


def part_of(documents: list[Document], label) -> Part:
    return Part.known(documents, label, 2, "llm")


@pytest.fixture
def run(tiny_encoder, tmp_path):
    options = {"labels": ["no", "yes"], "encoder": str(tiny_encoder), "learning_rate": 3e-3}
    return partial(out_of_fold, model_options=options, max_length=32, batch_size=8, cache=tmp_path)


@pytest.mark.parametrize("folds", [2, 3])
def test_trained_on_all_other_folds_and_on_nothing_else(run, folds) -> None:
    documents, diary = corpus(40), Diary()
    part = part_of(documents[5:35], [i % 2 for i in range(5, 35)])  # the others have no target
    probs = run(documents, part, make_trainer=lambda: trainer(diary), folds=folds)
    assert probs.shape == (40, 2)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    predicted = [predicted for _, predicted in diary.folds]
    assert [len(each) for each in predicted] == [len(each) for each in np.array_split(np.arange(40), folds)]
    assert len(set.union(*predicted)) == 40
    for train, held_out in diary.folds:
        assert not train & held_out
        assert len(train | held_out) == 30 + len(held_out - set.union(*(train for train, _ in diary.folds)))


class Losses(Callback):
    """Keeps the loss of the last epoch of every training."""

    def __init__(self) -> None:
        self.last: list[float] = []

    def on_train_end(self, trainer, pl_module) -> None:
        self.last.append(float(trainer.callback_metrics["train_loss"]))


def test_pure_noise_is_learned_by_heart_and_not_foretold(run) -> None:
    documents, losses = corpus(60), Losses()
    label = np.random.default_rng(3).integers(0, 2, 60)
    probs = run(documents, part_of(documents, label), make_trainer=lambda: trainer(losses, epochs=60))
    assert max(losses.last) < 0.4  # guessing would be 0.69
    assert 0.3 < (probs.argmax(axis=1) == label).mean() < 0.7


def test_rows_are_those_of_the_documents(run) -> None:
    documents = corpus(60)
    turned = [documents[i] for i in np.random.default_rng(0).permutation(50)]  # the last ten have no target
    part = part_of(turned, [int(d.id[1:]) % 2 for d in turned])
    probs = run(documents, part, make_trainer=lambda: trainer(epochs=20))
    assert (probs.argmax(axis=1) == np.arange(60) % 2).mean() > 0.9


def test_the_same_is_made_once(run, tmp_path) -> None:
    documents, diary = corpus(20), Diary()
    part = part_of(documents, np.arange(20) % 2)
    make = lambda: trainer(diary)  # noqa: E731
    state = torch.get_rng_state()
    first = run(documents, part, make_trainer=make, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(run(documents, part, make_trainer=make, seed=4), first)
    assert len(diary.folds) == 2
    elsewhere = run(documents, part, make_trainer=make, seed=4, cache=tmp_path / "elsewhere")
    assert np.array_equal(elsewhere, first)
    assert len(diary.folds) == 4
    answered = part_of(documents, [1, *np.arange(1, 20) % 2])
    others = [
        run(documents, part, make_trainer=make, seed=5),
        run(documents, answered, make_trainer=make, seed=4),
        run(documents, part, make_trainer=lambda: trainer(diary, epochs=2), seed=4),
        run(documents, part, make_trainer=make, seed=4, folds=3),
    ]
    assert len(diary.folds) == 4 + 2 * 3 + 3
    assert not any(np.array_equal(other, first) for other in others)


def test_optimizers_are_told_apart(run, tiny_encoder) -> None:
    documents, diary = corpus(12), Diary()
    part = part_of(documents, np.arange(12) % 2)
    for rate, made in ((0.1, 2), (0.1, 2), (0.2, 4)):
        options = {
            "labels": ["no", "yes"],
            "encoder": str(tiny_encoder),
            "optimizer": lambda p, rate=rate: torch.optim.SGD(p, rate),
        }
        run(documents, part, model_options=options, make_trainer=lambda: trainer(diary))
        assert len(diary.folds) == made


class Stop(Callback):
    def __init__(self, after: int) -> None:
        self.left = after

    def on_fit_start(self, trainer, pl_module) -> None:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("stopped")


def test_goes_on_after_an_interruption(run, tmp_path) -> None:
    documents, diary = corpus(30), Diary()
    part, stop = part_of(documents, np.arange(30) % 2), Stop(after=2)
    with pytest.raises(RuntimeError, match="stopped"):
        run(documents, part, make_trainer=lambda: trainer(stop), folds=3)
    resumed = run(documents, part, make_trainer=lambda: trainer(diary), folds=3)
    assert len(diary.folds) == 1
    whole = run(documents, part, make_trainer=trainer, folds=3, cache=tmp_path / "elsewhere")
    assert np.array_equal(resumed, whole)


def test_what_cannot_be_is_refused(run) -> None:
    documents = corpus(10)
    part = part_of(documents[:3], [0, 1, 0])
    for folds in (1, 4):
        with pytest.raises(InputError, match=rf"folds: found {folds}, expected 2 to 3 \(documents with a target\)"):
            run(documents, part, make_trainer=trainer, folds=folds)
    many = lambda: L.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False)  # noqa: E731
    with pytest.raises(InputError, match=r"trainer.devices: found 2 processes, expected 1"):
        run(documents, part, make_trainer=many)
