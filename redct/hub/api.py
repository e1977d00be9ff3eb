"""Labels documents with a language model behind an OpenAI-compatible endpoint."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

from torch.utils.data import DataLoader, IterableDataset

from redct.documents import Document
from redct.errors import InputError
from redct.hub.labeler import Labeler, as_text
from redct.hub.remote.address import OPENAI, Address
from redct.hub.remote.batches import BatchRun
from redct.hub.remote.dialect import Dialect
from redct.hub.remote.endpoint import Endpoint
from redct.hub.remote.estimate import estimate
from redct.hub.remote.journal import Journal, set_aside, usage_of
from redct.hub.remote.pacing import Limits
from redct.hub.remote.prices import Budget, price_of, summary
from redct.hub.remote.questions import AnswerForm, Distribution, Questions, answer_form
from redct.hub.remote.stream import RowStream
from redct.hub.remote.tokens import token_counter
from redct.hub.rows import LabelRow
from redct.sources import Source

UNANIMOUS = 0.999  # a vote share that is 1 but for the floor of probabilities
FEWEST_VOTED = 10  # documents, of which the easiest corpus has a doubtful one

Field = str | bool | int | float | list[Any] | dict[str, Any] | None
"""A field of a request; with `Any`, a string that looks like JSON would be parsed."""


class Rows(IterableDataset[list[LabelRow]]):
    """Batches of finished rows."""

    def __init__(self, labeler: "ApiLabeler") -> None:
        self.labeler = labeler

    def __iter__(self) -> Iterator[list[LabelRow]]:
        """Asks the endpoint about this process' documents and yields the rows as they come."""
        yield from self.labeler.ask()


class _Later:
    """All documents but the first."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.documents = documents

    def __iter__(self) -> Iterator[Document]:
        return islice(self.documents, 1, None)


class ApiLabeler(Labeler):
    """Labels with a language model behind any OpenAI-compatible endpoint.

    OpenAI, Azure, vLLM, llama.cpp, Ollama, OpenRouter and others. Every reply is on disk before its document counts as
    done, so an interrupted run repeats no request whose reply it had. The key is read from the environment.

    Args:
        model: The model's name at the endpoint.
        base_url: The endpoint's address up to `/v1`; by default OPENAI_BASE_URL, or OpenAI itself.
        distribution: Where probabilities come from: `logprobs` of the reply's first token, the vote shares of several
            `samples`, or a confidence `stated` by the model; `auto` takes log-probabilities where the endpoint gives
            them, else samples.
        answer: Whether the model answers with the `label` or with a `letter` (A, B, C); `auto` takes letters only where
            the labels do not differ in their first letter.
        samples: How many replies a document gets, for vote shares.
        top_logprobs: How many alternatives of a token to ask for; OpenAI allows 20.
        limits: How much is asked at a time, and how long failures are borne.
        batch: Ask through the Batch API: half the price, answered within a day.
        batch_wait: Seconds between two looks at the batches.
        tokenizer: Hub id or folder of the model's tokenizer, to count tokens before they are spent.
        prices: YAML of prices, in place of the bundled one.
        api_key_env: Environment variable that holds the key.
        headers: Further headers of every request.
        query: Further parameters of the address, such as Azure's api-version.
        body: Further fields of every request, such as an endpoint's own options.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        distribution: Distribution = "auto",
        answer: AnswerForm = "auto",
        samples: int = 10,
        top_logprobs: int = 20,
        limits: Limits | None = None,
        batch: bool = False,
        batch_wait: float = 60.0,
        tokenizer: str | None = None,
        prices: Source | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        body: dict[str, Field] | None = None,
    ) -> None:
        super().__init__()
        for option, value in (("samples", samples), ("top_logprobs", top_logprobs)):
            if value < 1:
                raise InputError(f"labeler.{option}: found {value}, expected at least 1")
        base_url = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
        if not re.match("https?://.", base_url):
            raise InputError(f"labeler.base_url: found {base_url!r}, expected http:// or https://, host and path")
        self.address = Address(model, base_url, api_key_env, headers or {}, query or {}, body or {})
        self.distribution, self.answer, self.samples = distribution, answer, samples
        self.top_logprobs, self.limits = top_logprobs, limits or Limits()
        self._dialect = Dialect(self.address, top_logprobs)
        self.batch, self.batch_wait = batch, batch_wait
        self.tokenizer, self.price = tokenizer, price_of(model, prices)
        self.max_cost: float | None = None
        self._voted = self._unanimous = 0

    @property
    def destination(self) -> str | None:
        """The host that the texts go to; None where they stay on this machine."""
        return None if self.address.is_loopback else self.address.host

    def source_fingerprint(self) -> dict[str, Any]:
        """Returns the model and how it is asked; not the address, which changes when a server moves."""
        asked: dict[str, Any] = {"distribution": self.distribution}
        if self.distribution in ("auto", "logprobs"):
            asked["top_logprobs"] = self.top_logprobs
        if self.distribution in ("auto", "samples"):
            asked["samples"] = self.samples
        return {"model": self.address.model, "answer": self._form(), **asked, "body": self.address.body}

    def setup(self, stage: str) -> None:
        """Refuses what cannot work before anything is sent."""
        self.address.key()
        if self.batch and self.trainer.world_size > 1:
            raise InputError(f"labeler.batch: found {self.trainer.world_size} processes, expected --trainer.devices 1")
        if self.batch and self.max_cost is not None:
            raise InputError("--max_cost: cannot stop batches that are under way; expected labeler.batch: false")
        if self.max_cost is not None and self.price is None:
            raise InputError(
                f"--max_cost: no price of {self.address.model!r} is known; expected one in labeler.prices, a YAML file"
            )

    def predict_dataloader(self) -> DataLoader[list[LabelRow]]:
        """Returns batches of rows: the endpoint is asked while they are taken."""
        return DataLoader(Rows(self), batch_size=None, collate_fn=_unchanged)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Leaves the batch alone: it holds no tensors."""
        return batch

    def predict_step(self, batch: list[LabelRow], batch_idx: int, dataloader_idx: int = 0) -> list[LabelRow]:
        """Returns the batch: its documents are labeled already."""
        for row in batch:
            if row.source == "samples" and row.probs is not None:
                self._voted += 1
                self._unanimous += max(row.probs) > UNANIMOUS
        return batch

    def ask(self) -> Iterator[list[LabelRow]]:
        """Asks the endpoint about this process' documents and yields the rows as they come."""
        documents = self.my_share()
        with Journal(self.store.folder, self.trainer.global_rank) as journal:
            questions = self._questions(journal.fact("distribution"))
            if not self.batch:
                yield from self._stream(documents, questions, journal)
                return
            # The first document is asked about at once: what is wrong with the endpoint, or has to be worded in
            # another way for it, is to show before a batch of everything is bought.
            yield from self._stream(islice(documents, 1), questions, journal)
            with self.address.client_of_batches(self.limits.retries) as client:
                yield from BatchRun(_Later(documents), questions, journal, client, self._dialect, self.batch_wait)

    def _stream(self, documents: Iterable[Document], questions: Questions, journal: Journal) -> RowStream:
        processes = self.trainer.world_size

        def open_endpoint() -> Endpoint:
            return Endpoint(self.address, self.limits, self._dialect, processes)

        return RowStream(documents, questions, journal, open_endpoint, self._budget(processes))

    def forget(self, ids: Sequence[str]) -> None:
        """Sets the replies about documents aside, so that they are asked about again."""
        set_aside(self.store.folder, ids)

    def facts(self) -> dict[str, Any]:
        """Returns what the replies of the study took: tokens and, where prices are known, US dollars."""
        return {"usage": summary(usage_of(self.store.folder), self.price)}

    def notes(self) -> list[str]:
        """Says so where all samples of all documents agree: then the endpoint does not sample."""
        if self._unanimous < max(self._voted, FEWEST_VOTED):
            return []
        return [
            f"the {self.samples} samples of each of {self._voted:,} documents all agree: the endpoint seems to ignore "
            "`temperature`, and vote shares then say nothing of its doubts; see labeler.body and labeler.distribution"
        ]

    def preview(self, documents: Sequence[Document]) -> list[str]:
        """Returns the prompts of some documents, for a reader."""
        questions = self._questions()
        return [as_text(questions.first(document).messages) for document in documents]

    def plan(self) -> list[tuple[str, str]]:
        """Returns what labeling the assigned documents would take: requests, tokens, US dollars, minutes."""
        counter = token_counter(self.address.model, self.tokenizer)
        left = self.documents()
        found = estimate(left, len(left), self._questions(), counter)
        low, high = found.usage
        how = "counted" if counter.exact else "estimated from the length"
        rows = [
            ("requests", f"{found.requests:,}"),
            (f"prompt tokens, {how}", _range(low.prompt, high.prompt)),
            ("completion tokens", _range(low.completion, high.completion)),
        ]
        if self.price is None:
            rows.append(("US dollars", f"unknown: no price of {self.address.model!r} (labeler.prices)"))
        else:
            cost = found.cost(self.price, half=self.batch)
            rows.append((f"US dollars, prices of {self.price.date}", f"{cost[0]:,.4f} to {cost[1]:,.4f}"))
        rows.append(("time", "within 24 hours" if self.batch else _minutes(found.minutes(self.limits))))
        return rows

    def _questions(self, noted: str | None = None) -> Questions:
        distribution = noted if self.distribution == "auto" and noted is not None else self.distribution
        seen = noted == "logprobs"
        return Questions(self.task, distribution, self._form(), self.samples, seen)  # type: ignore[arg-type]

    def _form(self) -> Literal["label", "letter"]:
        return answer_form(self.task, self.answer)

    def _budget(self, processes: int) -> Budget | None:
        if self.max_cost is None or self.price is None:
            return None
        spent = self.price.total(usage_of(self.store.folder))
        # Each process may spend its share of what is left.
        return Budget(spent + (self.max_cost - spent) / processes, self.price, spent)


def _unchanged(batch: list[LabelRow]) -> list[LabelRow]:
    return batch


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _minutes(times: tuple[float, float] | None) -> str:
    if times is None:
        return "unknown: no limits a minute are set"
    low, high = (f"{time:,.1f}" for time in times)
    return f"{low if low == high else f'{low} to {high}'} minutes at least"
