"""What a file does to a process of the pool, it does to no other file."""

from __future__ import annotations

import asyncio
import os

import pytest
from predictors import broken, make

from pkdot.errors import DataError
from pkdot.inference.workers import Pool


async def asked(pool, path, content, suffix=".mp4", leave_after=None):
    """The events of a file; ``leave_after`` is after how many nobody listens any more."""
    path.write_text(content)
    file = os.open(path, os.O_RDONLY)
    path.unlink()
    events = []
    try:
        stream = pool.run({"file": (file, suffix)})
        async for event in stream:
            events.append(event)
            if len(events) == leave_after:
                break
        await stream.aclose()
    finally:
        os.close(file)
    return events


def run(work, seconds=60.0, count=1, maker=make):
    async def main():
        pool = Pool(maker, count, seconds)
        try:
            await pool.start()
            return await work(pool)
        finally:
            pool.close()

    return asyncio.run(main())


def test_files_are_predicted_whatever_the_ones_before_did(tmp_path):
    path = tmp_path / "file"

    given = [(words, ".mp4") for words in ("a b", "a refuse", "fail", "fill", "die")] + [("a", "/../x")]

    async def work(pool):
        return [await asked(pool, path, content, suffix) for content, suffix in given]

    good, refused, failed, filled, died, again = run(work)
    assert [event["event"] for event in good] == ["window", "window", "done"]
    assert {event["suffix"] for event in good[:2]} == {".mp4"}
    assert refused[1:] == [{"event": "error", "status": 422, "reason": "the file: is no good"}]
    assert (failed[0]["status"], filled[0]["status"], died[0]["status"]) == (500, 422, 422)
    assert "memory" in filled[0]["reason"]
    assert "has ended the process" in died[0]["reason"]
    assert [event["event"] for event in again] == ["window", "done"]
    assert again[0]["suffix"] == "", "no name leads out of the folder"
    assert again[0]["process"] != good[0]["process"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_served(tmp_path):
    async def work(pool):
        return await asked(pool, tmp_path / "f", "a sleep"), await asked(pool, tmp_path / "f", "b")

    slow, after = run(work, seconds=5.0)
    assert (slow[-1]["status"], slow[-1]["reason"]) == (
        504,
        "it takes longer than the 5 s that this server gives to a file",
    )
    assert [event["event"] for event in after] == ["window", "done"]


def test_who_leaves_early_leaves_the_process_to_others(tmp_path):
    """The same process serves the next file: it was told to stop, not ended."""

    async def work(pool):
        first = await asked(pool, tmp_path / "f", "a " * 2000, leave_after=1)
        return first, await asked(pool, tmp_path / "f", "b")

    first, second = run(work)
    assert [event["event"] for event in second] == ["window", "done"]
    assert second[0]["word"] == "b"
    assert second[0]["process"] == first[0]["process"]


def test_files_at_once_go_to_processes_of_their_own(tmp_path):
    async def work(pool):
        return await asyncio.gather(*(asked(pool, tmp_path / f"f{i}", f"w{i} " * 50) for i in range(6)))

    found = run(work, count=2)
    for number, events in enumerate(found):
        assert [event["word"] for event in events[:-1]] == [f"w{number}"] * 50
        assert len({event["process"] for event in events[:-1]}) == 1
    assert len({events[0]["process"] for events in found}) == 2


def test_a_recording_may_have_several_files_that_are_called_by_their_modalities(tmp_path):
    def opened(name, content):
        (tmp_path / name).write_text(content)
        return os.open(tmp_path / name, os.O_RDONLY)

    async def work(pool):
        files = {"eda": (opened("a", "note refuse"), ".csv"), "eda_2": (opened("b", "b"), "")}
        try:
            events = [event async for event in pool.run(files)]
            return events, await asked(pool, tmp_path / "f", "after")
        finally:
            for file, _ in files.values():
                os.close(file)

    events, after = run(work)
    assert [event.get("note") for event in events] == ["the eda file and the eda_2 file", None, None]
    assert events[1]["beside"] == ["b"]
    assert events[2]["reason"] == "the eda file: is no good"
    assert [event["event"] for event in after] == ["window", "done"]


def test_a_pool_whose_predictor_cannot_be_made_does_not_start():
    with pytest.raises(DataError, match="there is no bundle"):
        run(None, maker=broken)
