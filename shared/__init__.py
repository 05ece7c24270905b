"""What both sides of the farm must agree on: identifiers, ID sets, records and ClientHellos.

Pure: bytes, time and randomness come in as arguments; nothing here touches a socket.
"""
