"""The HTTP/1.1 response reader that the stream client is built on."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.http1 import HttpViolationError, ResponseReader
from tests.unit.domain.profile import PROPERTY

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\nA;x=y\r\n, 12345678\r\n0\r\nTrailer: t\r\n\r\n"
)


def test_a_chunked_body_is_put_together_and_ends_with_the_last_chunk() -> None:
    reader = ResponseReader("GET")
    assert reader.feed(CHUNKED) == b"hello, 12345678"
    assert reader.complete
    assert reader.head is not None
    assert (reader.head.status, reader.head.reason) == (200, "OK")
    assert reader.head.headers == {"content-type": "text/event-stream", "transfer-encoding": "chunked"}


@settings(PROPERTY)
@given(cuts=st.sets(st.integers(min_value=1, max_value=len(CHUNKED) - 1)))
def test_how_the_bytes_are_split_changes_nothing(cuts: set[int]) -> None:
    reader = ResponseReader("GET")
    bounds = [0, *sorted(cuts), len(CHUNKED)]
    pieces = [CHUNKED[begin:end] for begin, end in pairwise(bounds)]
    assert b"".join(map(reader.feed, pieces)) == b"hello, 12345678"
    assert reader.complete


def test_a_chunked_body_without_its_last_chunk_is_cut_off() -> None:
    reader = ResponseReader("GET")
    assert reader.feed(CHUNKED.removesuffix(b"\r\n")) == b"hello, 12345678"
    reader.end_of_connection()
    assert not reader.complete


def test_a_body_of_known_length_ends_after_it() -> None:
    reader = ResponseReader("GET")
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab") == b"ab"
    assert not reader.complete
    assert reader.feed(b"cd") == b"cd"
    assert reader.complete


def test_a_body_without_framing_ends_with_the_connection() -> None:
    reader = ResponseReader("GET")
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") == b"abc"
    assert not reader.complete
    reader.end_of_connection()
    assert reader.complete


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_some_responses_have_no_body(method: str, head: bytes) -> None:
    reader = ResponseReader(method)
    assert reader.feed(head) == b""
    assert reader.complete


def test_repeated_fields_are_joined() -> None:
    reader = ResponseReader("HEAD")
    reader.feed(b"HTTP/1.1 200 OK\r\nVary: Origin\r\nvary:  Accept \r\n\r\n")
    assert reader.head is not None
    assert reader.head.headers == {"vary": "Origin, Accept"}


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 ok\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        CHUNKED + b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_what_is_not_one_http_response_fails(response: bytes) -> None:
    with pytest.raises(HttpViolationError):
        ResponseReader("GET").feed(response)
