"""The application of all Twisted servers: one answer, of the length of nginx' own, and an end."""

from __future__ import annotations

from twisted.internet.protocol import Factory, Protocol

BODY = b"Hello from a server of the farm.\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: bench/1.0.00\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY)
) + BODY
"""nginx makes its header anew each time; this is made once, which is no measurable difference."""


class Answer(Protocol):
    """Answers a request, which comes in one record, and closes."""

    def dataReceived(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self.transport.write(ANSWER)  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]


def factory() -> Factory[Answer]:
    """For `app` in farm.toml, and for Twisted's own TLS."""
    answers: Factory[Answer] = Factory.forProtocol(Answer)
    answers.noisy = False
    return answers
