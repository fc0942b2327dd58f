"""The certificate of the listener for devices, checked together with its key."""

import ssl

from hermes.broker.memfd import MemoryFile
from hermes.settings.broker import BrokerListen
from hermes.settings.tls import pair_problems


def read_certificate(listen: BrokerListen) -> tuple[bytes, bytes]:
    """Return the certificate (with its chain) and its key, as the files are now.

    Raises ValueError that names the files and their problem.
    """
    assert listen.cert_file is not None
    assert listen.key_file is not None
    with pair_problems(listen.cert_file, listen.key_file):
        certificate, key = listen.cert_file.read_bytes(), listen.key_file.read_bytes()
        _check(certificate, key)
    return certificate, key


def _check(certificate: bytes, key: bytes) -> None:
    """Raise `ssl.SSLError` unless the key belongs to the certificate.

    It loads the bytes that were read: the files may have changed since.
    """
    with MemoryFile("certificate") as cert_file, MemoryFile("key") as key_file:
        cert_file.write(certificate)
        key_file.write(key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert_file.path, key_file.path, password="")  # else OpenSSL asks the terminal
