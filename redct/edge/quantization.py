"""An encoder's layers in a form that survives 8 bits: weights a byte each, activations quantised per document.

onnxruntime's dynamic quantisation turns each product of activations X (T, D) and weights W (D, E) into one of 8-bit
integers, with one scale for the whole of X and one for each column of W. A few channels and tokens of a BERT-type
encoder are many times larger than the others, which then share what is left of the 256 steps. Three remedies, each
exact in real numbers, so that they change nothing but the rounding:

- balancing: X W = (X / s) (s W), with s_j = max|X_j|^a / max|W_j|^(1-a) for channel j (Xiao et al. 2023,
  SmoothQuant, equation 4), the maxima over sample documents;
- normalising: X W = t (X / t) W, with t the largest absolute value of each token (Yao et al. 2022, ZeroQuant,
  section 4, has one scale a token; here it is divided out, since onnxruntime has no such product);
- the residual: X W = Q(X) W + (X - Q(X)) W, where Q is 8-bit rounding: two products, and 16 bits of X.

Whether to balance or to normalise is chosen for each layer by the error of its output on the sample documents. The
residual takes the time of another product: int8 has none, int8_mixed has it in the first third of the layers,
int8_residual in all.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

Precision = Literal["int8", "int8_mixed", "int8_residual", "fp32"]
PRECISIONS: Final[tuple[Precision, ...]] = ("int8", "int8_mixed", "int8_residual", "fp32")
"""From the fastest to the finest."""

# Which share of the layers has the residual: the first ones, whose errors all later ones carry on.
RESIDUAL: Final[dict[Precision, float]] = {"int8": 0, "int8_mixed": 1 / 3, "int8_residual": 1}

EXPONENT: Final = 0.8  # a; from 0.7 to 0.9 it makes little difference
EVEN_EXPONENT: Final = 0.5  # where only the weights are rounded
WORTHWHILE: Final = 0.6  # a remedy costs passes over the activations, so it must lower the squared error to this share
LARGE: Final = 1 << 20  # weights of an embedding: a smaller one stays as it is
_TINY: Final = 1e-5

Inputs = dict[str, Tensor]
Rounding = Callable[[Tensor], Tensor]


class ByteEmbedding(nn.Module):
    """An embedding of which each row is 8-bit integers and a scale.

    Args:
        embedding: (V, D).
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        scale = (embedding.weight.detach().abs().amax(1, keepdim=True) / 127).clamp_min(_TINY)
        self.scale: Tensor
        self.rows: Tensor
        self.register_buffer("scale", scale)
        self.register_buffer("rows", (embedding.weight.detach() / scale).round().to(torch.int8))

    def forward(self, positions: Tensor) -> Tensor:
        """Returns (..., D)."""
        return nn.functional.embedding(positions, self.rows).float() * nn.functional.embedding(positions, self.scale)


class QuantisableLinear(nn.Module):
    """A linear layer, written so that its product loses little when it is quantised.

    Args:
        linear: D to E.
        balance: (D,) s; None for 1.
        normalise: Whether each token is divided by its largest absolute value.
        residual: Whether what 8 bits leave of the activations is multiplied too.
    """

    def __init__(self, linear: nn.Linear, balance: Tensor | None, normalise: bool, residual: bool) -> None:
        super().__init__()
        weight = linear.weight.detach() if balance is None else linear.weight.detach() * balance
        self.weight = nn.Parameter(weight.t().contiguous(), requires_grad=False)
        self.bias = linear.bias
        self.inverse = None if balance is None else nn.Parameter(1 / balance, requires_grad=False)
        self.normalise, self.residual = normalise, residual

    def forward(self, x: Tensor) -> Tensor:
        """Returns (..., E) of (..., D)."""
        if self.inverse is not None:
            x = x * self.inverse
        if self.normalise:
            largest = x.abs().amax(-1, keepdim=True).clamp_min(_TINY)
            y = torch.matmul(x * (1 / largest), self.weight) * largest  # a division takes four times as long
        elif self.residual:
            rounded = _round_trip(x)
            y = torch.matmul(rounded, self.weight) + torch.matmul(x - rounded, self.weight)
        else:
            y = torch.matmul(x, self.weight)
        return y if self.bias is None else y + self.bias


def _round_trip(x: Tensor) -> Tensor:
    """Quantises to 8 bits and back, with onnxruntime's own rounding: quantising the result again changes nothing."""
    types, shapes = (torch.uint8, torch.float32, torch.uint8), (x.shape, (), ())
    parts = torch.onnx.ops.symbolic_multi_out("DynamicQuantizeLinear", (x,), dtypes=types, shapes=shapes)
    back: Tensor = torch.onnx.ops.symbolic("DequantizeLinear", parts, dtype=torch.float32, shape=x.shape)
    return back


@dataclass
class _Layer:
    """Linear layers with the same input, such as query, key and value, and what they were given."""

    names: list[str]
    linears: list[nn.Linear]
    inputs: list[Tensor]

    def weight(self) -> Tensor:
        return torch.cat([linear.weight.detach() for linear in self.linears])

    def balance(self, exponent: float | None) -> Tensor | None:
        if exponent is None:
            return None
        largest = torch.stack([x.abs().amax(0) for x in self.inputs]).amax(0).clamp_min(_TINY)
        scale = largest**exponent / self.weight().abs().amax(0).clamp_min(_TINY) ** (1 - exponent)
        return scale / scale.mean()

    def error(self, exponent: float | None, activations: Rounding) -> float:
        """Squared error of the output over the sample documents, relative to the output's square."""
        balance, weight = self.balance(exponent), self.weight().t()
        rounded = _rounded_weight(weight if balance is None else balance[:, None] * weight)
        lost = total = 0.0
        for x in self.inputs:
            exact = x @ weight
            scaled = activations(x if balance is None else x / balance)
            lost += float((scaled @ rounded - exact).square().sum())
            total += float(exact.square().sum())
        return lost / max(total, _TINY)

    def choose(self) -> tuple[Tensor | None, bool]:
        """Returns the balance and whether to normalise, where activations get 8 bits."""
        plain, balanced = self.error(None, _rounded), self.error(EXPONENT, _rounded)
        balancing = balanced < WORTHWHILE * plain
        if self.error(None, _rounded_by_token) < WORTHWHILE * (balanced if balancing else plain):
            return None, True
        return self.balance(EXPONENT if balancing else None), False

    def choose_balance(self) -> Tensor | None:
        """Returns the balance, where the residual makes the activations all but exact."""
        return self.balance(min((None, EVEN_EXPONENT, EXPONENT), key=lambda exponent: self.error(exponent, _exact)))


def _rounded_weight(weight: Tensor) -> Tensor:
    scale = weight.abs().amax(0, keepdim=True).clamp_min(_TINY) / 127
    return (weight / scale).round() * scale


def _exact(x: Tensor) -> Tensor:
    return x


def _rounded_by_token(x: Tensor) -> Tensor:
    largest = x.abs().amax(1, keepdim=True).clamp_min(_TINY)
    return _rounded(x / largest) * largest


def _rounded(x: Tensor) -> Tensor:
    """What DynamicQuantizeLinear makes of (T, D)."""
    low, high = x.min().clamp_max(0), x.max().clamp_min(0)
    scale = ((high - low) / 255).clamp_min(_TINY * _TINY)
    zero = (-low / scale).round()
    return (((x / scale).round() + zero).clamp(0, 255) - zero) * scale


def make_quantisable(network: nn.Module, precision: Precision, samples: Sequence[Inputs]) -> None:
    """Replaces a network's embeddings and linear layers by those that survive 8 bits, in place.

    Args:
        network: Takes an item of `samples` as keyword arguments.
        precision: One of 8 bits; fp32 changes nothing.
        samples: A document each, (1, T).
    """
    if precision == "fp32":
        return
    layers, embeddings = _observe(network, samples)
    for name, embedding in embeddings.items():
        network.set_submodule(name, ByteEmbedding(embedding))
    with_residual = round(RESIDUAL[precision] * len(layers))
    for number, layer in enumerate(layers):
        residual = number < with_residual
        balance, normalise = (layer.choose_balance(), False) if residual else layer.choose()
        for name, linear in zip(layer.names, layer.linears, strict=True):
            network.set_submodule(name, QuantisableLinear(linear, balance, normalise, residual))


def _observe(network: nn.Module, samples: Sequence[Inputs]) -> tuple[list[_Layer], dict[str, nn.Embedding]]:
    """Runs the samples; returns the linear layers and embeddings that are called, not only read from."""
    seen: dict[str, list[Tensor]] = {}
    with torch.no_grad(), _recording(network, seen):
        for sample in samples:
            network(**sample)
    modules = dict(network.named_modules())
    layers: dict[tuple[int, ...], _Layer] = {}
    embeddings = {}
    for name, inputs in seen.items():
        module = modules[name]
        if isinstance(module, nn.Embedding):
            if module.weight.numel() >= LARGE:
                embeddings[name] = module
        elif isinstance(module, nn.Linear):
            flat = [x.reshape(-1, x.shape[-1]) for x in inputs]
            layer = layers.setdefault(tuple(map(id, inputs)), _Layer([], [], flat))
            layer.names.append(name)
            layer.linears.append(module)
    return list(layers.values()), embeddings


@contextmanager
def _recording(network: nn.Module, seen: dict[str, list[Tensor]]) -> Iterator[None]:
    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: seen.setdefault(name, []).append(inputs[0])

    called = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Embedding)]
    hooks = [module.register_forward_pre_hook(record(name)) for name, module in called]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
