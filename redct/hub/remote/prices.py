"""What replies cost: prices, what was spent, and the limit of it."""

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from redct.errors import InputError, RedctError
from redct.hub.remote.exchange import Usage

BUNDLED = Path(__file__).with_name("prices.yaml")
_DATED = re.compile(r"-\d{4}(-?\d{2}-?\d{2})?")


class SpentError(RedctError):
    """The limit of cost is reached."""


@dataclass(frozen=True)
class Price:
    """What a model costs, in US dollars per million tokens.

    Attributes:
        prompt: A token of a prompt.
        completion: A token of a reply.
        cached: A token of a prompt that the provider had cached; by default as any other.
        date: When the prices were looked up.
    """

    prompt: float
    completion: float
    cached: float | None = None
    date: str = ""

    def __post_init__(self) -> None:
        """Checks the amounts.

        Raises:
            ValueError: When one is no amount of money.
        """
        for amount in (self.prompt, self.completion, 0 if self.cached is None else self.cached):
            if not isinstance(amount, int | float) or not 0 <= amount < math.inf:
                raise ValueError(f"{amount!r} is no price")

    def of(self, usage: Usage, half: bool = False) -> float:
        """Returns the cost of some tokens in US dollars.

        Args:
            usage: The tokens.
            half: Whether they were bought through the Batch API, at half the price.
        """
        cached = self.prompt if self.cached is None else self.cached
        dollars = (
            (usage.prompt - usage.cached) * self.prompt + usage.cached * cached + usage.completion * self.completion
        ) / 1e6
        return dollars / 2 if half else dollars

    def total(self, usage: Mapping[str, Usage]) -> float:
        """Returns the cost of what `usage_of` found in the journals."""
        return self.of(usage["full"]) + self.of(usage["half"], half=True)


def price_of(model: str, table: str | Path | None = None) -> Price | None:
    """Returns a model's price, that of `gpt-4o` also for `gpt-4o-2024-08-06`; None where the table has none.

    Args:
        model: The model's name at the endpoint.
        table: A YAML of prices; by default the bundled one.

    Raises:
        InputError: When the table is missing or of another form.
    """
    path = Path(table) if table is not None else BUNDLED
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        prices = {name: Price(**entry, date=str(content["date"])) for name, entry in content["models"].items()}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a table of prices (labeler.prices)") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        found = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a table of prices ({found}); expected date, and models with prompt and completion"
        ) from None
    fitting = [name for name in prices if model == name or (model.startswith(name) and _is_date(model, name))]
    return prices[max(fitting, key=len)] if fitting else None


def _is_date(model: str, name: str) -> bool:
    return _DATED.fullmatch(model[len(name) :]) is not None


class Budget:
    """Keeps the cost of a run below a limit, requests under way included.

    Args:
        limit: US dollars.
        price: The model's price.
        spent: What earlier runs have spent, in US dollars.
    """

    def __init__(self, limit: float, price: Price, spent: float) -> None:
        self.limit, self.price, self.spent = limit, price, spent
        self._reserved = 0.0
        self._under_way = 0
        self._settled = asyncio.Event()

    async def reserve(self, most: Usage) -> float:
        """Sets aside what a request may cost at most, and returns it; close to the limit, waits for other replies.

        Raises:
            SpentError: When the request might exceed the limit.
        """
        cost = self.price.of(most)
        while self.spent + self._reserved + cost > self.limit:
            if not self._under_way:
                raise SpentError(
                    f"--max_cost: {self.spent:.4f} US dollars are spent, and the next request might exceed "
                    f"{self.limit:.4f}; all replies are kept, the same command with a higher limit goes on"
                )
            self._settled.clear()
            await self._settled.wait()
        self._reserved += cost
        self._under_way += 1
        return cost

    def add(self, usage: Usage) -> None:
        """Counts what was spent without being reserved."""
        self.spent += self.price.of(usage)

    def settle(self, reserved: float, usage: Usage | None) -> None:
        """Replaces what was set aside by what the reply cost: nothing without one, all of it where it does not say."""
        self._under_way -= 1
        self._reserved = self._reserved - reserved if self._under_way else 0.0  # no rounding errors are left
        if usage is not None:
            self.spent += self.price.of(usage) if usage.prompt else reserved
        self._settled.set()


def summary(usage: Mapping[str, Usage], price: Price | None) -> dict[str, Any]:
    """Returns what a study's replies took, for its manifest."""
    both = usage["full"] + usage["half"]
    tokens = {"prompt_tokens": both.prompt, "completion_tokens": both.completion, "cached_tokens": both.cached}
    if price is None:
        return {**tokens, "cost_usd": None}
    return {**tokens, "cost_usd": round(price.total(usage), 6), "prices_of": price.date}
