"""All that reaches into OpenSSL below pyOpenSSL's own API, and its callbacks."""
