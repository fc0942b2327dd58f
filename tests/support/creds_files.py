"""Creds files of NATS users that no server knows."""

import base64
import binascii

RAW = bytes(range(32))


def nkey(prefix: int, raw: bytes = RAW) -> str:
    """Return a seed with the prefix of this kind of key."""
    head = bytes([18 << 3 | prefix >> 5, (prefix & 31) << 3])
    body = head + raw
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


USER, ACCOUNT = 20 << 3, 0
CREDS = """-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------

*************************************************************
"""
