"""A network as ONNX: the same function, for all shapes and families of encoders."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import transformers
from torch import nn

from redct.edge.graph import INPUTS, write_graph
from redct.edge.quantization import PRECISIONS, Inputs, QuantisableLinear

SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
BASE = {"vocab_size": 120, "max_position_embeddings": 80, "num_labels": 3, "pad_token_id": 0, **SIZE}
FAMILIES = {
    "bert": (transformers.BertConfig(**BASE), True),
    "roberta": (transformers.RobertaConfig(**BASE | {"type_vocab_size": 1}), False),
    "electra": (transformers.ElectraConfig(**BASE, embedding_size=16), True),
    "distilbert": (
        transformers.DistilBertConfig(
            vocab_size=120, max_position_embeddings=80, num_labels=3, pad_token_id=0, dim=32, hidden_dim=64, n_layers=2,
            n_heads=2,
        ),
        False,
    ),
    "deberta": (
        transformers.DebertaV2Config(
            **BASE, relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm", share_att_key=True,
            pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0,
        ),
        False,
    ),
    "modernbert": (
        transformers.ModernBertConfig(
            **BASE, local_attention=8, global_attn_every_n_layers=2, cls_token_id=1, sep_token_id=2, bos_token_id=1,
            eos_token_id=2,
        ),
        False,
    ),
}  # fmt: skip


def network(family: str) -> nn.Module:
    torch.manual_seed(0)
    return transformers.AutoModelForSequenceClassification.from_config(FAMILIES[family][0]).eval()


def inputs(family: str, rows: int, length: int, padded: int = 0, seed: int = 1) -> Inputs:
    torch.manual_seed(seed)
    ids = torch.randint(5, 120, (rows, length))
    mask = torch.ones_like(ids)
    if padded:
        ids[-1, -padded:] = 0
        mask[-1, -padded:] = 0
    made = {"input_ids": ids, "attention_mask": mask}
    return made | ({"token_type_ids": torch.randint(0, 2, ids.shape)} if FAMILIES[family][1] else {})


def samples(family: str, count: int = 8) -> list[Inputs]:
    return [inputs(family, 1, 5 + n, seed=n) for n in range(count)]


def run(path: Path, given: Inputs) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {name: value.numpy() for name, value in given.items()})
    return logits


def exact(model: nn.Module, given: Inputs) -> np.ndarray:
    with torch.no_grad():
        return model(**given).logits.numpy()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_is_the_same_function_for_all_shapes(family: str, tmp_path: Path) -> None:
    model = network(family)
    write_graph(model, "fp32", samples(family), tmp_path / "model.onnx")
    for rows, length, padded in ((1, 2, 0), (1, 9, 0), (1, 64, 0), (3, 17, 4), (32, 31, 11)):
        given = inputs(family, rows, length, padded)
        np.testing.assert_allclose(run(tmp_path / "model.onnx", given), exact(model, given), atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "precision"),
    [("bert", "int8_residual"), ("roberta", "int8"), ("deberta", "int8"), ("modernbert", "int8")],
)
def test_eight_bits_change_little(family: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redct.edge.quantization.LARGE", 0)  # as real vocabularies are
    model = network(family)
    write_graph(model, precision, samples(family), tmp_path / "model.onnx")
    weights = [each for each in onnx.load(tmp_path / "model.onnx").graph.initializer if np.prod(each.dims) >= 32 * 32]
    assert weights
    assert {each.data_type for each in weights} == {onnx.TensorProto.INT8}
    for length in (3, 20, 64):
        given = inputs(family, 1, length)
        error = np.abs(run(tmp_path / "model.onnx", given) - exact(model, given)).max()
        assert error < 0.05 * np.abs(exact(model, given)).max()


def outlying(family: str) -> nn.Module:
    """A network like trained ones: some channels of what goes into a layer are far larger than the others."""
    model = network(family)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.data[3] *= 40
            module.bias.data[5] += 25
    return model


def distance(model: nn.Module, path: Path) -> float:
    tried = [inputs("bert", 1, length, seed=100 + length) for length in range(4, 40)]
    return float(np.mean([np.abs(run(path, each) - exact(model, each)).mean() for each in tried]))


@pytest.mark.slow
def test_the_finer_the_precision_the_smaller_the_error(tmp_path: Path) -> None:
    model, errors = outlying("bert"), []
    for precision in PRECISIONS:
        write_graph(model, precision, samples("bert", 32), tmp_path / f"{precision}.onnx")
        errors.append(distance(model, tmp_path / f"{precision}.onnx"))
    assert errors == sorted(errors, reverse=True)
    assert errors[-2] > 100 * errors[-1]


def test_balancing_halves_the_error_of_plain_dynamic_quantisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = outlying("bert")
    write_graph(model, "int8", samples("bert", 32), tmp_path / "balanced.onnx")
    monkeypatch.setattr("redct.edge.quantization.WORTHWHILE", 0.0)
    write_graph(model, "int8", samples("bert", 32), tmp_path / "plain.onnx")
    assert distance(model, tmp_path / "balanced.onnx") < 0.5 * distance(model, tmp_path / "plain.onnx")


def test_the_network_stays_as_it_is(tmp_path: Path) -> None:
    model = network("bert").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    write_graph(model, "int8", samples("bert"), tmp_path / "model.onnx")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert set(before) == set(model.state_dict())


def test_inputs_are_those_of_the_tokenizer(tmp_path: Path) -> None:
    write_graph(network("roberta"), "fp32", samples("roberta"), tmp_path / "model.onnx")
    names = [each.name for each in onnx.load(tmp_path / "model.onnx").graph.input]
    assert names == list(INPUTS[:2])


def test_a_token_of_zeros_gives_the_bias() -> None:
    linear = nn.Linear(4, 3)
    for balance, normalise in ((None, True), (torch.full((4,), 2.0), False), (None, False)):
        quantisable = QuantisableLinear(linear, balance, normalise, residual=False)
        x = torch.tensor([[0.0, 0, 0, 0], [1, -2, 3, 0.5]])
        torch.testing.assert_close(quantisable(x), linear(x))
    assert torch.isfinite(QuantisableLinear(linear, None, True, residual=False)(torch.zeros(1, 4))).all()
