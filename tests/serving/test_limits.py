"""Many and slow senders are answered or refused, within bounds, and keep nobody from searching."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from starlette.requests import Request

from conspecific.config.schema import LimitsConfig
from conspecific.serving.gallery import ServedGallery
from conspecific.serving.refusal import Refusal
from conspecific.serving.service import RECEIVED, Service

JPEG = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", b"image/jpeg")]}


@pytest.fixture
def service(gallery: ServedGallery) -> Iterator[Service]:
    made = Service(gallery, LimitsConfig(requests=2, seconds=20, upload_mb=1))
    yield made
    made.close()


def sent(*chunks: bytes) -> Request:
    """A request whose body comes in these chunks, and then stops without an end if the last is empty."""
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if not left[0]:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return Request(JPEG, receive)


async def outcome(answer: Awaitable[object]) -> str:
    try:
        await answer
    except Refusal as refusal:
        return f"{refusal.status}: {refusal.sentence}"
    return "answered"


def test_slow_senders_keep_nobody_from_searching(service: Service) -> None:
    async def scene() -> tuple[str, str, set[bool]]:
        slow = [asyncio.create_task(outcome(service.answer(sent(b"begun", b""), str))) for _ in range(2 * RECEIVED)]
        await asyncio.sleep(0.05)
        found = await outcome(service.answer(0, str)), await outcome(service.answer(sent(b"late"), str))
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return *found, {task.cancelled() for task in slow}

    searched, late, waited = asyncio.run(scene())
    assert searched == "answered" and waited == {True}
    assert late == "503: All 6 images that may be sent at once are being received. Try again in a few seconds."


def test_fifty_at_once_are_answered_or_refused_and_then_it_goes_on(service: Service) -> None:
    make: Callable[[bytes | int], object] = lambda _: time.sleep(0.01)  # noqa: E731

    async def scene() -> tuple[list[str], str]:
        found = await asyncio.gather(*(outcome(service.answer(sent(b"x" * 1000), make)) for _ in range(50)))
        return found, await outcome(service.answer(sent(b"after"), make))

    found, after = asyncio.run(scene())
    assert set(found) > {"answered"} and all(each == "answered" or each.startswith("503: All ") for each in found)
    assert after == "answered"


def test_a_body_that_does_not_end_is_given_up_in_time(gallery: ServedGallery) -> None:
    hasty = Service(gallery, LimitsConfig(requests=1, seconds=0.1))
    found = asyncio.run(outcome(hasty.answer(sent(b"begun", b""), str)))
    hasty.close()
    assert found.startswith("503: The answer took longer than 0.1 seconds")
