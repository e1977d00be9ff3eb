"""Documents as token ids for the encoder, made once and kept on disk."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, disable_progress_bars, load_from_disk

from redct.documents import Document
from redct.files import whole

LENGTH_QUANTILE = 0.99  # longer documents are cut: one long text must not set everybody's memory


def pairs(documents: Sequence[Document]) -> dict[str, list[str]]:
    """Returns the tokenizer's arguments: the texts and, where the task has context fields, these as second texts."""
    arguments = {"text": [document.text for document in documents]}
    if any(document.context for document in documents):
        arguments["text_pair"] = [document.context_text() for document in documents]
    return arguments


def suitable_length(tokenizer: Any, documents: Sequence[Document], limit: int) -> int:  # noqa: ANN401
    """Returns the 99th percentile of the documents' lengths in tokens, at most `limit`."""
    rows = tokenizer(**pairs(documents), verbose=False)["input_ids"]
    return int(min(limit, max(8, np.ceil(np.quantile([len(row) for row in rows], LENGTH_QUANTILE)))))


def tokenise(tokenizer: Any, documents: Sequence[Document], max_length: int, cache: Path) -> Dataset:  # noqa: ANN401
    """Tokenises documents; of text and context, the longer is cut.

    Args:
        tokenizer: The encoder's tokenizer.
        documents: N documents.
        max_length: Longest row in tokens.
        cache: Folder that keeps the result under a fingerprint of all that it depends on.

    Returns:
        N rows in the documents' order, with the columns that the tokenizer makes (input_ids, attention_mask, ...).
    """
    folder = cache / _fingerprint(tokenizer, documents, max_length)
    if not folder.exists():
        encoded = tokenizer(**pairs(documents), truncation="longest_first", max_length=max_length)
        disable_progress_bars()
        with whole(folder) as temporary:
            Dataset.from_dict(dict(encoded)).save_to_disk(str(temporary))
    dataset = load_from_disk(str(folder))
    assert isinstance(dataset, Dataset)
    return dataset


def _fingerprint(tokenizer: Any, documents: Sequence[Document], max_length: int) -> str:  # noqa: ANN401
    # A tokenizer keeps the truncation and padding of its last call, on which the cache must not depend.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    digest = hashlib.sha256(f"{max_length}\n{tokenizer.backend_tokenizer.to_str()}".encode())
    for document in documents:
        digest.update(json.dumps([document.text, document.context_text()]).encode())
    return digest.hexdigest()[:32]
