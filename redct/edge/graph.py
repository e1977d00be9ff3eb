"""A classifier's network as an optimised ONNX graph."""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn
from transformers import PreTrainedModel

from redct.edge.quantization import Inputs, Precision, make_quantisable

OPSET: Final = 20
INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
# onnxruntime's fused skip and norm takes four times as long on a CPU as the two apart.
SLOW_FUSIONS: Final = ["SkipLayerNormFusion"]


class _Logits(nn.Module):
    """A transformers classifier as a function of tensors to one tensor."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def write_graph(network: nn.Module, precision: Precision, samples: Sequence[Inputs], path: Path) -> None:
    """Writes a network as ONNX, with dynamic batch and length; the network itself is left as it is.

    Args:
        network: A transformers model with a classification head, on the CPU.
        precision: fp32, or 8-bit weights, see `redct.edge.quantization`.
        samples: Documents as the tokenizer encodes them, (1, T) each; the first one's names are the graph's inputs.
        path: The file.
    """
    network = copy.deepcopy(network).eval()
    if isinstance(network, PreTrainedModel):
        network.set_attn_implementation("eager")  # of all it gives the smallest graph
    make_quantisable(network, precision, samples)
    with TemporaryDirectory() as folder, _quiet():
        traced, tidied, quantised = (Path(folder) / name for name in ("traced.onnx", "tidied.onnx", "quantised.onnx"))
        trace(network, [name for name in INPUTS if name in samples[0]], traced)
        if precision == "fp32":
            _optimise(traced, path, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
            return
        # Before quantising, so that layers with one input share its quantisation; constants stay as small as they are.
        _optimise(traced, tidied, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, ["ConstantFolding"])
        quantize_dynamic(
            tidied, quantised, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"]
        )
        _optimise(quantised, path, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)


def trace(network: nn.Module, names: Sequence[str], path: Path) -> None:
    """Writes a network as plain ONNX, with some of `INPUTS` as inputs."""
    # Two documents of some length: neither 1 nor equal, or the tracer would take a size for a constant.
    ids = torch.full((2, 17), 5)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    dynamic = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    program = torch.onnx.export(
        _Logits(network, names).eval(),
        tuple(inputs[name] for name in names),
        dynamo=True,
        dynamic_shapes=(tuple(dynamic for _ in names),),
        input_names=list(names),
        output_names=["logits"],
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    program.save(path)


def _optimise(source: Path, path: Path, level: ort.GraphOptimizationLevel, disabled: Sequence[str] = ()) -> None:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(
        str(source), options, providers=["CPUExecutionProvider"], disabled_optimizers=[*SLOW_FUSIONS, *disabled]
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporters' advice to their own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
