from hypothesis import given, strategies as st

from detailed_balance.analyzers.loop import Loop

states = st.lists(st.integers(0, 20), min_size=1, max_size=8, unique=True)


@given(states, st.integers(0, 7))
def test_a_loop_is_the_same_value_wherever_it_begins(walked, start):
    start %= len(walked)
    assert Loop(walked[start:] + walked[:start]) == Loop(walked)
    assert Loop(walked)[0] == min(walked)


@given(states)
def test_its_reverse_has_the_moves_turned_round_and_its_own_reverse_is_itself(walked):
    loop = Loop(walked)
    assert {(g, f) for f, g in loop.edges()} == set(loop.reversed().edges())
    assert loop.reversed().reversed() == loop
    assert loop.unoriented() == loop.reversed().unoriented() <= loop


def test_it_is_named_with_the_first_state_again_at_the_end():
    assert Loop("bca").name() == "a -> b -> c -> a"
    assert Loop([]).edges() == ()
