"""A real bundle: a small random encoder and a tokenizer that knows every byte."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tiny_tokenizer

from redct.edge import runtime

LABELS = ["against", "for", "neutral"]
TEXTS = [
    "I agree", "strongly disagree " * 30, "🙂🙃", "مرحبا بالعالم", "a\u2028b", "x\0y", "Against everything",
    "e\u0301t\u00e9",
]  # fmt: skip


def write_bundle(folder: Path, **changes: Any) -> Path:
    """Writes bundle.json for what lies in a folder: hashes of all its files, and its own."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "bundle.json"]
    info = {
        "sha256": "0" * 64,
        "schema": 1,
        "redct": "0.2.0",
        "labels": LABELS,
        "columns": {"text": "text", "id": None, "gold": None, "context": {}},
        "max_length": 32,
        "temperature": 1.5,
        "abstention": None,
        "precision": "float32",
        "reference": None,
        "files": {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        **changes,
    }
    content = json.dumps(info, indent=2, ensure_ascii=False).encode()
    digest = hashlib.sha256(content).hexdigest()
    (folder / "bundle.json").write_bytes(content.replace(b"0" * 64, digest.encode(), 1))
    return folder


def random_weights(vocabulary: int, labels: int, size: int = 16) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = {"tokens": (vocabulary, size), "types": (2, size), "head": (size, labels), "bias": (labels,)}
    weights = {name: generator.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    weights["tokens"][:5] = weights["types"][:] = weights["bias"][:] = 0  # what all texts share must not decide
    return weights


def write_encoder(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Writes model.onnx: token and type embeddings, one attention, a mean over the tokens, a linear head."""
    from onnx import TensorProto, helper, numpy_helper, save

    steps = [
        ("Gather", ["tokens", "input_ids"], "a"),
        ("Gather", ["types", "token_type_ids"], "b"),
        ("Add", ["a", "b"], "h"),
        ("Transpose", ["h"], "h_t", {"perm": [0, 2, 1]}),
        ("MatMul", ["h", "h_t"], "scores"),
        ("Softmax", ["scores"], "attention", {"axis": -1}),
        ("MatMul", ["attention", "h"], "mixed"),
        ("Cast", ["attention_mask"], "mask", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["mask", "last"], "mask_3"),
        ("Mul", ["mixed", "mask_3"], "kept"),
        ("ReduceMean", ["kept"], "mean", {"axes": [1], "keepdims": 0}),
        ("MatMul", ["mean", "head"], "scored"),
        ("Add", ["scored", "bias"], "logits"),
    ]
    nodes = [helper.make_node(kind, given, [made], **dict(*more)) for kind, given, made, *more in steps]
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"]) for name in names]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", len(weights["bias"])])]
    arrays = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    arrays.append(numpy_helper.from_array(np.array([2]), "last"))
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, arrays)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def pair_tokenizer():
    """The tiny tokenizer with special tokens and segments, as a BERT's have them."""
    from tokenizers.processors import TemplateProcessing

    fast = tiny_tokenizer()
    fast.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[(name, fast.convert_tokens_to_ids(name)) for name in ("<s>", "</s>")],
    )
    return fast


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx, tokenizer.json and classify.py, as yet without bundle.json."""
    folder = tmp_path_factory.mktemp("parts")
    tokenizer = pair_tokenizer()
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    write_encoder(folder / "model.onnx", random_weights(len(tokenizer), len(LABELS)))
    shutil.copy(runtime.__file__, folder / "classify.py")
    return folder


@pytest.fixture
def make_bundle(parts: Path, tmp_path: Path):
    """Writes a bundle of one's own: make_bundle(abstention=..., columns=...)."""

    def make(name: str = "edge", **changes: Any) -> Path:
        return write_bundle(shutil.copytree(parts, tmp_path / name), **changes)

    return make


@pytest.fixture(scope="session")
def bundle(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for texts alone, without abstention; not to be altered."""
    return write_bundle(shutil.copytree(parts, tmp_path_factory.mktemp("bundle") / "edge"))


@pytest.fixture(scope="session")
def stance_bundle(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for texts and targets that abstains at times; not to be altered."""
    columns = {"text": "tweet", "id": "id", "gold": "stance", "context": {"target": "Target"}}
    folder = shutil.copytree(parts, tmp_path_factory.mktemp("stance") / "edge")
    return write_bundle(folder, columns=columns, abstention={"thresholds": [0.6, 0.6, None]})
