"""What follows an attempt that failed."""

import pytest

from dnw.runs.ledger import Attempt
from launch.node import retry_policy


def attempt(
    number: int, reason: str, first: int = 0, last: int | None = None, saved: int = 0, node: str = ""
) -> Attempt:
    end = {"reason": reason, "step": last, "saved": saved, **({"node": node} if node else {})}
    return Attempt(number, {"job": "7"}, {"step": first}, None, end)


@pytest.mark.parametrize("reason", ["killed", "hung"])
def test_what_was_killed_or_hung_is_tried_again(reason: str) -> None:
    assert retry_policy.decide([attempt(1, reason, 0, 12, 10)], 0).again
    assert retry_policy.decide([attempt(1, reason, 0, 12, 10), attempt(2, reason, 10, 25, 20)], 0).again


def test_a_crash_at_the_same_step_twice_is_the_last() -> None:
    decision = retry_policy.decide([attempt(1, "killed", 0, 12, 10), attempt(2, "hung", 10, 12, 10)], 0)
    assert not decision.again
    assert decision.why == "this was the second time after step 12: not started again"


def test_no_progress_twice_is_the_last() -> None:
    decision = retry_policy.decide([attempt(1, "killed", 0, 7), attempt(2, "killed", 0, 9)], 0)
    assert not decision.again
    assert "two attempts in a row ended before anything was saved" in decision.why


def test_an_attempt_between_that_got_on_gives_another_try() -> None:
    failed = [attempt(1, "killed", 0, 7), attempt(2, "stopped", 0, 9, 9), attempt(3, "killed", 9, 9, 9)]
    assert retry_policy.decide(failed, 0).again


def test_errors_are_tried_again_as_often_as_asked() -> None:
    once = [attempt(1, "error", 0, 12, 10)]
    assert retry_policy.decide(once, 0).why == "not started again (error_retries=0)"
    assert retry_policy.decide(once, 1).again
    twice = [*once, attempt(2, "error", 10, 15, 10)]
    assert retry_policy.decide(twice, 1).why == "not started again after 1 retries (error_retries=1)"


def test_what_diverged_is_never_tried_again() -> None:
    decision = retry_policy.decide([attempt(1, "diverged", 0, 12, 10)], 100)
    assert not decision.again
    assert decision.why == "the same steps would give the same values"


def test_lost_nodes_are_nobodys_fault() -> None:
    assert retry_policy.decide([attempt(n, "lost") for n in range(1, 30)], 0).again


def test_on_one_machine_an_unfit_one_is_the_last() -> None:
    for number in (1, 2):
        decision = retry_policy.decide([unfit(number, "n1")], 0, has_others=False)
        assert (decision.again, "no other machine" in decision.why) == (False, True)
    assert retry_policy.decide([attempt(1, "killed", 0, 12, 10)], 0, has_others=False).again


def test_nodes_that_failed_twice() -> None:
    attempts = [
        attempt(1, "killed", node="n2"),
        attempt(2, "lost", node="n1"),
        attempt(3, "error", node="n2"),
        attempt(4, "stopped", node="n1"),
    ]
    assert retry_policy.nodes_to_exclude(attempts) == ["n2"]
    later = [attempt(n, "preempted") for n in range(5, 7)]
    assert retry_policy.nodes_to_exclude([*attempts, *later]) == []


def unfit(number: int, node: str) -> Attempt:
    end = {"reason": "unfit", "step": 0, "saved": 0, "node": node, "fault": "node"}
    return Attempt(number, {"job": "7"}, None, None, end)


def test_a_node_that_is_unfit_is_left_out_at_once() -> None:
    assert retry_policy.nodes_to_exclude([unfit(1, "n2")]) == ["n2"]
    assert retry_policy.decide([unfit(1, "n2")], 0).again
    assert retry_policy.decide([unfit(1, "n2"), unfit(2, "n3")], 0).again
    last = retry_policy.decide([unfit(1, "n2"), unfit(2, "n3"), unfit(3, "n1")], 0)
    assert (last.again, last.why) == (*(False, "3 attempts in a row found a node unfit: not started again"),)
    between = [unfit(1, "n2"), attempt(2, "stopped", 0, 9, 9), unfit(3, "n1"), unfit(4, "n4")]
    assert retry_policy.decide(between, 0).again


def unmet(number: int, *nodes: str, peer: str = "") -> Attempt:
    end = {"reason": "unfit", "node": nodes[0], "nodes": list(nodes), "saved": 0}
    return Attempt(number, {"job": "7"}, None, None, end | ({"peer": peer} if peer else {}))


def test_what_could_not_begin_is_tried_on_other_nodes_but_not_for_ever() -> None:
    failed = [unmet(n, f"n{n}") for n in range(1, 5)]
    assert [retry_policy.decide(failed[:n], 0).again for n in range(1, 5)] == [True, True, True, False]
    assert "could not begin 4 times in a row: not started again" in retry_policy.decide(failed, 0).why
    assert retry_policy.decide([*failed[:3], attempt(4, "stopped", 0, 9, 9), unmet(5, "n5")], 0).again


def test_old_ledgers_have_another_word_for_a_node_that_was_examined() -> None:
    old = Attempt(1, end={"reason": "killed", "fault": "node", "node": "n2"})
    assert (old.reason, old.cause) == ("unfit", "unfit")
    assert retry_policy.nodes_to_exclude([old]) == ["n2"]


def test_nodes_that_were_unfit_twice() -> None:
    assert retry_policy.nodes_to_exclude([unmet(1, "n2", "n3"), unmet(2, "n3", "n2")]) == ["n2", "n3"]
    assert retry_policy.nodes_to_exclude([unmet(1, "n2"), attempt(2, "killed", node="n2")]) == ["n2"]


def test_a_first_node_that_two_others_could_not_reach() -> None:
    same = [unmet(1, "n2", peer="n1"), unmet(2, "n2", peer="n1")]
    assert retry_policy.nodes_to_exclude(same) == ["n2"]
    assert retry_policy.nodes_to_exclude([*same, unmet(3, "n3", peer="n1")]) == ["n1", "n2"]


def test_unfit_in_one_way_and_in_the_other_is_not_for_ever() -> None:
    turns = [unfit(1, "n2"), unmet(2, "n3"), unfit(3, "n4"), unmet(4, "n5")]
    assert [retry_policy.decide(turns[:n], 0).again for n in range(1, 5)] == [True, True, True, False]
    assert not retry_policy.decide([unmet(0, "n1"), *turns[:3]], 0).again


@pytest.mark.parametrize("before", [unfit(1, "n2"), unmet(1, "n2")])
def test_an_attempt_that_never_began_is_no_lack_of_progress(before: Attempt) -> None:
    killed = attempt(2, "killed", 0, 7)
    assert retry_policy.decide([before, killed], 0).again
    assert not retry_policy.decide([before, killed, before, attempt(4, "killed", 0, 9)], 0).again


def test_damaged_code_is_not_tried_again_and_no_node_is_at_fault() -> None:
    """Whatever number of errors is."""
    end = {
        "reason": "error",
        "fault": "code",
        "detail": "code.zip: dnw/a.py is not what was frozen",
        "saved": 0,
    }
    damaged = Attempt(1, {"job": "7"}, None, None, end)
    told = retry_policy.decide([damaged], error_retries=3)
    assert (told.again, told.why) == (False, "its code is damaged for every node: not started again")
    assert retry_policy.nodes_to_exclude([damaged, damaged]) == []
