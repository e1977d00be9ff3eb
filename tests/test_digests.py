"""Digests against plain sets and lists, also where they are sorted in several parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redct import digests
from redct.digests import Digests

words = st.lists(st.sampled_from([*"abcdefghij", "", "é", "\ud800", "a\0"]), max_size=40)


@pytest.fixture(params=[1 << 18, 3], scope="module")
def part_size(request) -> int:
    before = digests.PART, digests.BLOCK
    digests.PART, digests.BLOCK = request.param, max(2, request.param // 4)
    yield request.param
    digests.PART, digests.BLOCK = before


@settings(max_examples=100, deadline=None)
@given(texts=words, others=words, data=st.data())
def test_against_sets(part_size: int, texts: list[str], others: list[str], data: st.DataObject) -> None:
    masks = [st.lists(st.booleans(), min_size=len(t), max_size=len(t)).map(np.array) for t in (texts, others)]
    among, among_others = (data.draw(mask).astype(bool) for mask in masks)
    left, right = Digests(texts), Digests(others)
    assert len(left) == len(texts)
    assert left.repeated().tolist() == [text in texts[:n] for n, text in enumerate(texts)]
    counted = [text if is_in else None for text, is_in in zip(texts, among, strict=True)]
    assert left.repeated(among).tolist() == [t is not None and t in counted[:n] for n, t in enumerate(counted)]
    assert [left.first(n) for n in range(len(texts))] == [texts.index(text) for text in texts]
    assert left.found_in(right).tolist() == [text in others for text in texts]
    there = {text for text, is_in in zip(others, among_others, strict=True) if is_in}
    assert left.found_in(right, among_others).tolist() == [text in there for text in texts]
    last = {text: n for n, text in enumerate(others)}
    pairs = {int(a): int(b) for rows in left.matches(right) for a, b in zip(*rows, strict=True)}
    assert pairs == {n: last[text] for n, text in enumerate(texts) if text in last}


def test_texts_can_be_added_after_a_comparison() -> None:
    found = Digests(["a", "b"])
    assert not found.repeated().any()
    found.add("a")
    assert found.repeated().tolist() == [False, False, True]
