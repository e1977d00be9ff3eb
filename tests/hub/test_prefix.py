from hypothesis import given, settings
from hypothesis import strategies as st

from redct.hub.prefix import shared_length


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=6))
def test_shared_length_by_brute_force(prompts) -> None:
    expected = 0
    while prompts and all(len(p) > expected + 1 and p[expected] == prompts[0][expected] for p in prompts):
        expected += 1
    assert shared_length(prompts) == expected
