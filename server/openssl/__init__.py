"""The wall around OpenSSL: nothing else of the server touches it below pyOpenSSL."""
