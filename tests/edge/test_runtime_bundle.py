"""What a bundle answers, and what it refuses to be."""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from edge.conftest import LABELS, TEXTS, pair_tokenizer, random_weights, write_bundle

from redct.edge import Bundle, BundleError
from redct.edge.runtime import read_bundle


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def test_answers_are_those_of_the_network(bundle: Path) -> None:
    tokenizer = pair_tokenizer()
    weights = random_weights(len(tokenizer), len(LABELS))
    found = Bundle(bundle, threads=2).classify(TEXTS)
    for text, probs, length in zip(TEXTS, found.probs, found.lengths, strict=True):
        ids = tokenizer(text, truncation="longest_first", max_length=32)["input_ids"]
        hidden = weights["tokens"][ids]
        mixed = np.stack([softmax(row) for row in hidden @ hidden.T]) @ hidden
        logits = mixed.mean(axis=0) @ weights["head"] + weights["bias"]
        np.testing.assert_allclose(probs, softmax(logits / 1.5), atol=1e-5)
        assert length == len(ids)
    assert found.labels == [LABELS[i] for i in found.probs.argmax(axis=1)]
    assert found.errors == [None] * len(TEXTS)


def test_answers_do_not_depend_on_what_else_is_asked(bundle: Path) -> None:
    loaded = Bundle(bundle, threads=2)
    texts = [f"{text} {i}" for i in range(4) for text in TEXTS]
    together, backwards = loaded.classify(texts), loaded.classify(texts[::-1])
    alone = [loaded.classify([text]) for text in texts]
    assert len(texts) == 32
    assert len(set(together.labels)) > 1
    assert together.labels == backwards.labels[::-1] == [each.labels[0] for each in alone]
    np.testing.assert_allclose(together.probs, backwards.probs[::-1], atol=1e-6)
    np.testing.assert_allclose(together.probs, np.concatenate([each.probs for each in alone]), atol=1e-6)


@pytest.mark.parametrize("context", [{}, {"target": "target", "topic": "topic"}], ids=["text", "pair"])
def test_tokens_are_those_of_training(parts: Path, tmp_path: Path, context: dict[str, str]) -> None:
    from redct.errors import InputError
    from redct.training.classifier import load_tokenizer

    try:
        tokenizer = load_tokenizer("minilm")
    except InputError as error:
        pytest.skip(str(error))
    folder = tmp_path / "edge"
    shutil.copytree(parts, folder)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    columns = {"text": "text", "id": None, "gold": None, "context": context}
    loaded = Bundle(write_bundle(folder, max_length=20, columns=columns))
    texts = [*TEXTS, "a long one " * 2000, "\u1234\u2345 unknown \U0001f9ff"]
    contexts = [{"target": "tea " * i, "topic": "🫖 topic"} for i in range(len(texts))]
    pairs = ["\n".join(f"{name}: {each[name]}" for name in context) for each in contexts]
    second = {"text_pair": pairs} if context else {}
    expected = tokenizer(texts, **second, truncation="longest_first", max_length=20)
    arguments = list(zip(texts, pairs, strict=True)) if context else texts
    encodings = [loaded._tokenizer.encode_batch_fast([each])[0] for each in arguments]
    assert [each.ids for each in encodings] == expected["input_ids"]
    assert [each.type_ids for each in encodings] == expected["token_type_ids"]
    assert [each.attention_mask for each in encodings] == expected["attention_mask"]
    assert loaded._unknown == tokenizer.unk_token_id
    assert sum(row.count(tokenizer.unk_token_id) for row in expected["input_ids"]) > 0


def test_counts_tokens_that_are_unknown(parts: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "edge"
    shutil.copytree(parts, folder)
    words = Tokenizer(models.WordLevel({"tea": 5, "[UNK]": 6}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))
    found = Bundle(write_bundle(folder)).classify(["tea coffee tea", "coffee milk", "tea"])
    assert found.lengths.tolist() == [3, 2, 1]
    assert found.unknown.tolist() == [1, 2, 0]


def test_a_document_that_cannot_be_read_is_an_error_of_its_own(stance_bundle: Path) -> None:
    loaded = Bundle(stance_bundle)
    texts = ["fine", "", " \n", "bad \udcff", 5, "fine", "fine", "fine"]
    contexts = [{"target": "tea"}] * 5 + [{}, {"target": "\ud83d"}, {"target": ""}]
    found = loaded.classify(texts, contexts)  # type: ignore[arg-type]
    no_field = "no context field 'target'"
    assert found.errors == [None, "empty text", "empty text", "not UTF-8", "not a text", no_field, "not UTF-8", None]
    wrong = np.array([error is not None for error in found.errors])
    assert np.isnan(found.probs).all(axis=1).tolist() == wrong.tolist()
    assert [label is None for label in found.labels] == wrong.tolist()
    assert not found.abstained[wrong].any()
    assert loaded.classify(["fine"]).errors == [no_field]


def test_a_text_without_a_token_is_an_error(parts: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers

    folder = tmp_path / "edge"
    shutil.copytree(parts, folder)
    letters = Tokenizer(models.WordLevel({"a": 5}, unk_token="a"))
    letters.normalizer = normalizers.Replace("z", "")
    letters.save(str(folder / "tokenizer.json"))
    assert Bundle(write_bundle(folder)).classify(["zzz", "a"]).errors == ["empty text", None]


def test_abstains_below_the_threshold_of_the_predicted_label(stance_bundle: Path) -> None:
    texts = [f"{text} {i}" for i in range(8) for text in TEXTS]
    found = Bundle(stance_bundle).classify(texts, [{"target": "tea"}] * len(texts))
    least = {"against": 0.6, "for": 0.6, "neutral": np.inf}
    expected = [p < least[str(label)] for p, label in zip(found.probs.max(axis=1), found.labels, strict=True)]
    assert found.abstained.tolist() == expected
    assert 0 < sum(expected) < len(texts)


def test_a_threshold_that_is_reached_exactly_is_answered(make_bundle) -> None:
    p = float(Bundle(make_bundle("plain")).classify(["I agree"]).probs.max())
    for least, abstains in ((p, False), (np.nextafter(p, 1), True)):
        folder = make_bundle(f"edge{abstains}", abstention={"thresholds": [least] * 3})
        assert Bundle(folder).classify(["I agree"]).abstained.tolist() == [abstains]


def test_no_documents(bundle: Path) -> None:
    assert Bundle(bundle).classify([]).probs.shape == (0, 3)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "classify.py", "bundle.json"])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.99])
def test_a_flipped_byte_is_refused(make_bundle, name: str, where: float) -> None:
    path = make_bundle() / name
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError) as refusal:
        Bundle(path.parent)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_bundle_json_says_cannot_be_changed(make_bundle) -> None:
    path = make_bundle() / "bundle.json"
    path.write_text(path.read_text().replace('"temperature": 1.5', '"temperature": 2.5'))
    with pytest.raises(BundleError, match="altered: SHA-256 is"):
        Bundle(path.parent)


def test_a_model_of_other_labels_is_refused(make_bundle) -> None:
    with pytest.raises(BundleError, match=r"model.onnx: found 3 logits, expected 2"):
        Bundle(make_bundle(labels=["a", "b"]))


def test_another_schema_is_refused(make_bundle) -> None:
    with pytest.raises(BundleError, match="schema 2, but this runtime knows 1"):
        Bundle(make_bundle(schema=2))


@pytest.mark.parametrize(
    "changes",
    [{"labels": ["a", "a"]}, {"labels": None}, {"max_length": "8"}, {"temperature": 0}, {"columns": {}},
     {"abstention": {"thresholds": [0.5]}}, {"files": {}}, {"files": []}],
)  # fmt: skip
def test_a_bundle_of_another_shape_is_refused(make_bundle, changes: dict[str, object]) -> None:
    with pytest.raises(BundleError, match=r"bundle.json: (not as schema 1|lists no model)"):
        Bundle(make_bundle(**changes))


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../secret", "a/../../secret", "a\\b", "C:x", "./a", "a//b", "", "absent.whl", "wheels"]
)
def test_names_that_lead_elsewhere_are_refused(make_bundle, name: str) -> None:
    folder = make_bundle()
    (folder / "wheels").mkdir()
    (folder.parent / "secret").write_text("x")
    files = json.loads((folder / "bundle.json").read_text())["files"]
    write_bundle(folder, files=files | {name: hashlib.sha256(b"x").hexdigest()})
    with pytest.raises(BundleError, match=r"expected (a path inside the bundle|one of the bundle)"):
        read_bundle(folder)


def test_links_inside_are_refused(make_bundle) -> None:
    folder = make_bundle()
    (folder / "tokenizer.json").rename(folder.parent / "tokenizer.json")
    (folder / "tokenizer.json").symlink_to(folder.parent / "tokenizer.json")
    with pytest.raises(BundleError, match=r"tokenizer.json: is a link"):
        Bundle(folder)


def test_folders_that_are_links_are_refused_but_the_bundle_may_be_one(make_bundle) -> None:
    folder = make_bundle()
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "a.whl").write_text("x")
    (folder / "wheels").symlink_to(outside)
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", "wheels/a.whl")}
    write_bundle(folder, files=files)
    with pytest.raises(BundleError, match="wheels: is a link"):
        read_bundle(folder)
    (folder / "wheels").unlink()
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert Bundle(write_bundle(link)).classify(["fine"]).errors == [None]


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd", "../../../../etc/passwd"])
def test_models_with_data_outside_are_refused(
    make_bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    import onnx

    folder = make_bundle()
    model = onnx.load(folder / "model.onnx")
    head = next(each for each in model.graph.initializer if each.name == "head")
    for place in (tmp_path / "weights.bin", folder / "weights.bin"):
        place.write_bytes(head.raw_data)
    head.ClearField("raw_data")
    head.data_location = onnx.TensorProto.EXTERNAL
    entry = head.external_data.add()
    entry.key, entry.value = "location", location
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    monkeypatch.chdir(folder)  # from where onnxruntime itself would load weights.bin
    with pytest.raises(BundleError, match="names data outside of it"):
        Bundle(write_bundle(folder))


@pytest.mark.parametrize("tag", [b"\n", b"\x8a\x00", b"\x8a\x80\x80\x00"])
@pytest.mark.parametrize("size", [b"\x08", b"\x88\x00", b"\x88\x80\x00"])
def test_no_way_to_encode_a_location_is_overlooked(tag: bytes, size: bytes) -> None:
    from onnx import StringStringEntryProto

    from redct.edge.runtime import _OUTSIDE

    encoded = tag + size + b"location"
    assert StringStringEntryProto.FromString(encoded).key == "location"
    assert _OUTSIDE.search(encoded)


def test_a_model_that_merely_speaks_of_a_location_is_none_of_them(make_bundle, parts: Path) -> None:
    import onnx

    folder = make_bundle()
    model = onnx.load(folder / "model.onnx")
    model.graph.node[0].name = "/allocation/location_of/Gather"
    model.graph.doc_string = "location"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    assert Bundle(write_bundle(folder)).classify(["fine"]).errors == [None]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_files_that_are_no_model_are_refused_in_one_line(make_bundle, name: str, capfd) -> None:
    folder = make_bundle()
    (folder / name).write_bytes(b"\x08\x01nonsense")
    with pytest.raises(BundleError, match=rf"^{name}: cannot be loaded: .*$"):
        Bundle(write_bundle(folder))
    assert capfd.readouterr().err == ""


def test_a_model_may_do_without_token_types(make_bundle) -> None:
    import onnx
    from onnx import helper

    folder = make_bundle()
    expected = Bundle(folder).classify(["fine"]).probs
    model = onnx.load(folder / "model.onnx")
    del model.graph.input[2]
    gather = next(node for node in model.graph.node if "types" in node.input)
    zeros = helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"])
    model.graph.node.insert(list(model.graph.node).index(gather), zeros)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.testing.assert_array_equal(Bundle(write_bundle(folder)).classify(["fine"]).probs, expected)


def test_no_folder_is_no_bundle(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(BundleError, match="no such"):
            Bundle(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_are_refused(make_bundle) -> None:
    folder = make_bundle()
    (folder / "model.onnx").chmod(0)
    with pytest.raises(BundleError, match=r"model.onnx: cannot be read"):
        Bundle(folder)


def test_threads_may_share_a_bundle(bundle: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    loaded = Bundle(bundle, threads=2)
    texts = [f"{text} {i}" for i in range(20) for text in TEXTS]
    expected = loaded.classify(texts)
    with ThreadPoolExecutor(8) as pool:
        alone = list(pool.map(lambda text: loaded.classify([text]).probs[0], texts))
        together = list(pool.map(lambda _: loaded.classify(texts).probs, range(8)))
    np.testing.assert_allclose(np.array(alone), expected.probs, atol=1e-6)
    for probs in together:
        np.testing.assert_allclose(probs, expected.probs, atol=1e-6)


def test_the_beginning_of_a_very_long_text_gives_the_same_tokens(bundle: Path, parts: Path, tmp_path: Path) -> None:
    from redct.errors import InputError
    from redct.training.classifier import load_tokenizer

    folders = [bundle]
    with contextlib.suppress(InputError):
        tokenizer = load_tokenizer("minilm")
        shutil.copytree(parts, tmp_path / "edge")
        tokenizer.backend_tokenizer.save(str(tmp_path / "edge" / "tokenizer.json"))
        folders.append(write_bundle(tmp_path / "edge"))
    words = ["agree", "dis-agree!", "é", "e\u0301", "🙂🙂", "\u4e2d\u6587", "a\x1cb", "x" * 300, "مرحبا", "\t", ""]
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(words, 60_000)) for _ in range(3)]
    texts += ["x" * 200_000, "\u4e2d" * 200_000, " " * 200_000 + "agree", "🙂" * 200_000]
    for folder in folders:
        loaded = Bundle(folder)
        for text in texts:
            assert loaded._encode(loaded._beginning(text)).ids == loaded._encode(text).ids
        assert [len(loaded._beginning(text)) < len(text) for text in texts[:3]] == [True] * 3
