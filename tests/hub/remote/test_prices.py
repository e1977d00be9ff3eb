import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redct.errors import InputError
from redct.hub.remote.exchange import Usage
from redct.hub.remote.prices import Budget, Price, SpentError, price_of, summary

PRICE = Price(prompt=1000, completion=4000, cached=500, date="2026-01-01")  # a tenth of a cent a token


def test_cost_by_hand() -> None:
    assert PRICE.of(Usage(100, 10, 40)) == pytest.approx((60 * 1000 + 40 * 500 + 10 * 4000) / 1e6)
    assert PRICE.of(Usage(100, 10, 40), half=True) == pytest.approx(0.06)
    assert Price(2, 8).of(Usage(10**6, 10**6, 10**6)) == 10
    usage = {"full": Usage(10, 1), "half": Usage(1000, 100)}
    assert summary(usage, PRICE) == {
        "prompt_tokens": 1010,
        "completion_tokens": 101,
        "cached_tokens": 0,
        "cost_usd": pytest.approx(0.014 + 0.7),
        "prices_of": "2026-01-01",
    }
    assert summary(usage, None)["cost_usd"] is None


@given(
    st.integers(0, 2**32), st.integers(1, 40), st.floats(0.05, 3), st.lists(st.integers(1, 50), min_size=1, max_size=80)
)
def test_the_limit_is_never_exceeded_and_used_up_to_one_request(seed, workers, limit, sizes) -> None:
    generator = random.Random(seed)
    budget, left, stopped = Budget(limit, PRICE, 0.0), list(sizes), []
    spent = [0.0]

    async def work() -> None:
        async def worker() -> None:
            while left and not stopped:
                size = left.pop()
                most = Usage(4 * size, 8)
                try:
                    reserved = await budget.reserve(most)
                except SpentError:
                    stopped.append(PRICE.of(most))
                    return
                await asyncio.sleep(generator.random() / 1e4)
                if generator.random() < 0.1:
                    budget.settle(reserved, None)
                    continue
                usage = Usage(size, generator.randint(1, 8))
                spent[0] += PRICE.of(usage)
                budget.settle(reserved, usage)
                assert spent[0] <= limit + 1e-9

        await asyncio.gather(*(worker() for _ in range(workers)))

    asyncio.run(work())
    assert budget.spent == pytest.approx(spent[0])
    if stopped:
        assert spent[0] + max(stopped) > limit - 1e-9


def test_a_reply_without_usage_counts_as_the_most_it_could_be() -> None:
    async def work() -> None:
        budget = Budget(1, PRICE, 0.5)
        budget.settle(await budget.reserve(Usage(100, 10)), Usage())
        assert budget.spent == pytest.approx(0.64)
        with pytest.raises(SpentError, match=r"--max_cost: 0\.6400 US dollars are spent"):
            await budget.reserve(Usage(1000, 10))

    asyncio.run(work())


@pytest.mark.parametrize(
    ("model", "name"),
    [("gpt-4o", "gpt-4o"), ("gpt-4o-2024-08-06", "gpt-4o"), ("gpt-4o-mini-2024-07-18", "gpt-4o-mini")],
)
def test_dated_models_have_their_models_price(model, name) -> None:
    assert price_of(model) == price_of(name)


@pytest.mark.parametrize("model", ["gpt-4o-audio", "gpt", "llama3", "gpt-4o-mini-x"])
def test_other_models_have_none(model) -> None:
    assert price_of(model) is None


@pytest.mark.parametrize(
    "content",
    ["models: {a: {prompt: 1, completion: 2}}", "date: x\nmodels: [a]", "date: x\nmodels: {a: {prompt: 1}}", "x: [",
     "date: x\nmodels: {a: {prompt: cheap, completion: 2}}", "date: x\nmodels: {a: {prompt: -1, completion: 2}}", ""],
)  # fmt: skip
def test_a_table_of_another_form_is_refused(content, tmp_path) -> None:
    (tmp_path / "prices.yaml").write_text(content)
    with pytest.raises(InputError, match=r"prices\.yaml: not a table of prices"):
        price_of("a", tmp_path / "prices.yaml")
    with pytest.raises(InputError, match="no such file"):
        price_of("a", tmp_path / "nowhere.yaml")
