from __future__ import annotations

import asyncio

import pytest

from keystile.gate.shares import Shares
from keystile.model.errors import OverloadedError


async def held(shares: Shares, owner: str, end: asyncio.Event, begun: list[str]) -> None:
    async with shares.turn(owner):
        begun.append(owner)
        await end.wait()


async def test_one_agents_queries_leave_room_for_anothers() -> None:
    shares, end, begun = Shares(2, 8), asyncio.Event(), list[str]()
    greedy = [asyncio.ensure_future(held(shares, "greedy", end, begun)) for _ in range(6)]
    await asyncio.sleep(0)
    modest = asyncio.ensure_future(held(shares, "modest", end, begun))
    await asyncio.sleep(0.01)
    assert begun == ["greedy", "greedy", "modest"]
    end.set()
    await asyncio.gather(*greedy, modest)
    assert begun.count("greedy") == 6


async def test_too_many_of_one_agent_are_turned_away_and_nobody_elses() -> None:
    shares, end, begun = Shares(1, 1), asyncio.Event(), list[str]()
    waiting = [asyncio.ensure_future(held(shares, "greedy", end, begun)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="2 of your queries"):
        await held(shares, "greedy", end, begun)
    end.set()
    await held(shares, "modest", end, begun)
    await asyncio.gather(*waiting)


async def test_a_turn_is_given_back_after_a_fault_or_a_cancelled_wait() -> None:
    shares, end, begun = Shares(1, 1), asyncio.Event(), list[str]()
    with pytest.raises(ZeroDivisionError):
        async with shares.turn("a"):
            raise ZeroDivisionError
    first = asyncio.ensure_future(held(shares, "a", end, begun))
    second = asyncio.ensure_future(held(shares, "a", end, begun))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    end.set()
    await first
    assert shares._shares == {}
