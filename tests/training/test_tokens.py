"""Token rows: their length comes from the corpus, and they are made once."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from redct.assets import resolve_model
from redct.documents import Document
from redct.training.tokens import suitable_length, tokenise


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(resolve_model("minilm"))


def documents(lengths: list[int], context: dict[str, str] | None = None) -> list[Document]:
    return [Document(str(i), " ".join(["word"] * n), context or {}, None) for i, n in enumerate(lengths)]


def test_length_is_the_99th_percentile(tokenizer) -> None:
    # Each row has two more tokens than words, [CLS] and [SEP].
    assert suitable_length(tokenizer, documents(list(range(1, 101))), 512) == 102
    assert suitable_length(tokenizer, documents([10] * 999 + [400]), 512) == 12
    assert suitable_length(tokenizer, documents([400]), 128) == 128
    assert suitable_length(tokenizer, documents([1]), 512) == 8


@pytest.mark.parametrize(("text", "context", "words", "aims"), [(50, 3, 8, 3), (2, 50, 2, 9), (50, 50, 6, 5)])
def test_the_longer_of_text_and_context_is_cut(tokenizer, tmp_path, text, context, words, aims) -> None:
    rows = tokenise(tokenizer, documents([text], {"target": " ".join(["aim"] * context)}), 16, tmp_path)
    # 16 tokens: [CLS] text [SEP] context [SEP], where the context begins with "target" and ":".
    ids = rows[0]["input_ids"]
    assert len(ids) == 16
    assert ids.count(tokenizer.convert_tokens_to_ids("word")) == words
    assert ids.count(tokenizer.convert_tokens_to_ids("aim")) == aims


def test_rows_are_made_once(tokenizer, tmp_path) -> None:
    tokenizer.backend_tokenizer.no_truncation()  # as in a new process; the first call leaves truncation on
    first = tokenise(tokenizer, documents([3, 5]), 16, tmp_path)
    (folder,) = tmp_path.iterdir()
    stamp = (folder / "dataset_info.json").stat().st_mtime_ns
    again = tokenise(tokenizer, documents([3, 5]), 16, tmp_path)
    assert (folder / "dataset_info.json").stat().st_mtime_ns == stamp
    assert [list(row["input_ids"]) for row in first] == [list(row["input_ids"]) for row in again]
    assert np.array_equal([len(row["input_ids"]) for row in again], [5, 7])
    tokenise(tokenizer, documents([3, 6]), 16, tmp_path)
    tokenise(tokenizer, documents([3, 5]), 12, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
