"""Why a member could not be asked, in words for people."""

from __future__ import annotations

from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet.error import DNSLookupError

from homing.shared.registry.interface import Refused, RegistryError, Unavailable

_ABOUT_CERTIFICATES = ("certificate", "unknown ca", "access denied")
"""What is in OpenSSL's words when one side does not accept the other's certificate."""


class NotTrusted(Refused):
    """One side does not accept the other's certificate."""


def failure_of(error: BaseException) -> RegistryError:
    """The RegistryError for what Twisted says."""
    if isinstance(error, RegistryError):
        return error
    if reasons := getattr(error, "reasons", None):  # the HTTP client packs them up
        return failure_of(reasons[0].value)
    if isinstance(error, VerificationError):
        return NotTrusted("its certificate is for another name")
    if isinstance(error, TlsError):
        return _of_tls(error)
    if isinstance(error, DNSLookupError):
        return Unavailable("its name is not known to the DNS")
    return Unavailable(str(error).splitlines()[0].rstrip(".") if str(error) else repr(error))


def _of_tls(error: TlsError) -> RegistryError:
    reasons = [str(one[-1]) for one in error.args[0]] if error.args and error.args[0] else []
    words = ", ".join(reasons) or "the connection ended in the middle of a message"
    if any(about in words for about in _ABOUT_CERTIFICATES):
        return NotTrusted(f"TLS: {words}")
    return Unavailable(f"TLS: {words}")
