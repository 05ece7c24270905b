"""What both sides of the farm must agree on: identifiers, ID sets, records and ClientHellos.

No I/O: nothing here imports Twisted, OpenSSL or a socket, and randomness comes in as an argument.
"""
