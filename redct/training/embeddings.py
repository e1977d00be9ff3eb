"""Documents as vectors: what the pretrained encoder sees in them, before any training."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import AutoModel, DataCollatorWithPadding

from redct.assets import resolve_model
from redct.documents import Document
from redct.errors import InputError
from redct.files import whole
from redct.training.classifier import load_tokenizer
from redct.training.tokens import tokenise

Vectors = npt.NDArray[np.float32]


def embed(encoder: str, documents: Sequence[Document], max_length: int, cache: Path, batch_size: int = 64) -> Vectors:
    """Embeds documents as sentence-transformers does: the mean of the encoder's last hidden states, of unit length.

    A document's context is its second text, as for the classifier. Runs on a GPU where there is one.

    Args:
        encoder: Hub id or folder of an encoder, or `minilm`.
        documents: N documents, N >= 1.
        max_length: Longest input in tokens; of text and context, the longer is cut.
        cache: Folder that keeps the result under a fingerprint of all that it depends on.
        batch_size: Documents a batch; the result does not depend on it.

    Returns:
        (N, D), each row of length 1, or 0 where the tokenizer finds nothing to read.

    Raises:
        InputError: When the encoder cannot be loaded.
    """
    path = cache / f"embeddings-{_fingerprint(encoder, documents, max_length)}.npy"
    if not path.exists():
        vectors = _embed(encoder, documents, max_length, cache, batch_size)
        with whole(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, vectors)
    loaded: Vectors = np.load(path, allow_pickle=False)
    return loaded


def encoder_state(encoder: str) -> list[object]:
    """Returns what tells an encoder from another: its name and, of a folder, its files with sizes and times.

    Raises:
        InputError: When it is a bundled encoder that is absent.
    """
    folder = Path(resolve_model(encoder))
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [encoder, *([file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files)]


def _embed(encoder: str, documents: Sequence[Document], max_length: int, cache: Path, batch_size: int) -> Vectors:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer, model = load_tokenizer(encoder), _load(encoder).to(device)
    tokens, pad = tokenise(tokenizer, documents, max_length, cache), DataCollatorWithPadding(tokenizer)
    # The longest first: whether memory is enough shows at once, and the time left is no promise that gets broken.
    lengths = np.array([len(row) for row in tokens["input_ids"]])
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    vectors = np.zeros((len(documents), model.config.hidden_size), dtype=np.float32)
    with tqdm(total=len(order), desc="embedding", unit=" documents", delay=2) as bar, torch.inference_mode():
        for start in range(0, len(order), batch_size):
            at = order[start : start + batch_size]
            rows = tokens[at]
            padded = pad([{name: rows[name][n] for name in rows} for n in range(len(at))])
            batch = {name: values.to(device) for name, values in padded.items()}
            vectors[at] = _mean(model(**batch).last_hidden_state, batch["attention_mask"]).cpu().numpy()
            bar.update(len(at))
    return vectors


def _load(encoder: str) -> Any:  # noqa: ANN401 - any transformers model
    try:
        return AutoModel.from_pretrained(resolve_model(encoder), dtype=torch.float32).eval()
    except (OSError, ValueError) as error:
        raise InputError(f"model.encoder: cannot load {encoder!r}: {str(error).strip().splitlines()[0]}") from error


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """(B, D) means of states (B, T, D) over the tokens that are no padding, of length 1."""
    share = mask / mask.sum(dim=1, keepdim=True)
    return torch.nn.functional.normalize(torch.einsum("btd,bt->bd", states, share))


def _fingerprint(encoder: str, documents: Sequence[Document], max_length: int) -> str:
    digest = hashlib.sha256(json.dumps([encoder_state(encoder), max_length]).encode())
    for document in documents:
        digest.update(json.dumps([document.text, document.context_text()]).encode())
    return digest.hexdigest()[:32]
