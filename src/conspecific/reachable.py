"""Whether a server answers, asked once and not for long: libraries that retry are silent for a minute or more."""

import ssl
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PATIENCE = 5.0  # seconds that a server may take to answer


def is_reachable(address: str) -> bool:
    """Whether the server at an address answers. An answer that refuses, or whose certificate is not known, is one."""
    try:
        urlopen(Request(address, method="HEAD"), timeout=PATIENCE).close()
    except HTTPError:
        return True
    except OSError as error:
        return isinstance(getattr(error, "reason", error), ssl.SSLError)
    return True
