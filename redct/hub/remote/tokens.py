"""How many tokens prompts have: counted where the tokenizer is at hand, else estimated from their length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from redct.assets import resolve_model
from redct.errors import InputError
from redct.hub.prompts import Message

AROUND = 4  # tokens that a chat format puts around a message, about
BYTES_PER_TOKEN = (5.0, 2.5)  # English prose at one end, other languages and symbols at the other


@dataclass(frozen=True)
class TokenCounter:
    """Counts the tokens of conversations.

    Attributes:
        count: Tokens of a text, at least and at most.
        exact: Whether the model's own tokenizer counts.
    """

    count: Callable[[str], tuple[float, float]]
    exact: bool

    def of(self, messages: Sequence[Message]) -> tuple[float, float]:
        """Returns the tokens of a conversation, at least and at most."""
        low, high = zip(*(self.count(turn["content"]) for turn in messages), strict=True)
        around = AROUND * len(messages)
        return sum(low) + around, sum(high) + around


def token_counter(model: str, tokenizer: str | None) -> TokenCounter:
    """Returns the best counter at hand.

    Args:
        model: The model at the endpoint; of OpenAI's, tiktoken knows the tokenizer, where it is installed.
        tokenizer: Hub id or folder of the model's tokenizer.

    Raises:
        InputError: When a tokenizer is named that cannot be loaded.
    """
    count = _of_tokenizers(tokenizer) if tokenizer is not None else _of_tiktoken(model)
    if count is None:
        return TokenCounter(_estimate, exact=False)
    return TokenCounter(lambda text: (count(text), count(text)), exact=True)


def _of_tokenizers(name: str) -> Callable[[str], int]:
    path = Path(resolve_model(name))
    try:
        folder = path.is_dir()
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json")) if folder else Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises plain Exceptions
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"labeler.tokenizer: cannot load {name!r}: {reason}; expected a tokenizer.json") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _of_tiktoken(model: str) -> Callable[[str], int] | None:
    try:
        import tiktoken  # noqa: PLC0415 - an extra, and it may want the network

        encoding = tiktoken.encoding_for_model(model)
    except Exception:  # not installed, unknown model, no network: each its own
        return None
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def _estimate(text: str) -> tuple[float, float]:
    size = len(text.encode())
    return size / BYTES_PER_TOKEN[0], size / BYTES_PER_TOKEN[1]
