"""The connection to one node: its own certificate, a macaroon on every call, pings that notice a dead peer."""

import os
from dataclasses import dataclass, field
from typing import Any, Final, cast

import grpc
import grpc.aio
from pydantic import SecretStr

from quittance.domain.errors import ProviderMisconfigured

_PEM: Final = b"-----BEGIN CERTIFICATE-----"
_MESSAGE_BYTES_MAX: Final = 200 * 1024 * 1024
_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.keepalive_time_ms", 30_000),  # a node cuts off who pings more often than every 5 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),  # a settlement feed may be silent for days, and must still be pinged
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),  # else a node that was long away is not seen for two minutes
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.http2.bdp_probe", 0),  # the window stays small: a feed that falls behind waits at the node, not in memory
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LndConnection:
    """Where a node listens, the certificate it shows (PEM), and the macaroon that opens it, in hex.

    ``tls_name_override`` is a name in the certificate, for an address that is not.
    """

    address: str
    tls_cert: bytes = field(repr=False)
    macaroon: SecretStr
    tls_name_override: str | None = None


def open_channel(connection: LndConnection) -> grpc.aio.Channel:
    """Return a channel that connects when it is first used. Call this inside the event loop that will use it.

    Raises:
        ProviderMisconfigured: the macaroon is not hex, or the certificate is none.
    """
    if _PEM not in connection.tls_cert:  # of an empty one, grpc would make "trust every public authority"
        raise ProviderMisconfigured("lnd", "the tls.cert holds no certificate; give the node's own, in PEM")
    os.environ.setdefault("GRPC_SSL_CIPHER_SUITES", "HIGH+ECDSA")  # read by the first channel of the process
    tls = grpc.ssl_channel_credentials(root_certificates=connection.tls_cert)
    metadata = _metadata(connection.macaroon)
    options: list[tuple[str, int | str]] = [*_OPTIONS]
    if connection.tls_name_override is not None:
        options.append(("grpc.ssl_target_name_override", connection.tls_name_override))
    channel = grpc.aio.secure_channel(connection.address, tls, options=options)
    return cast("grpc.aio.Channel", _ChannelWithMacaroon(channel, metadata))


class _ChannelWithMacaroon:
    """As much of a channel as stubs use, with the macaroon on every call.

    Not an authentication plugin: grpcio starts a thread for each call of one.
    """

    def __init__(self, channel: grpc.aio.Channel, metadata: grpc.aio.Metadata) -> None:
        self._channel = channel
        self._metadata = metadata

    def unary_unary(self, *method: Any, **coding: Any) -> Any:
        return self._with_macaroon(self._channel.unary_unary(*method, **coding))

    def unary_stream(self, *method: Any, **coding: Any) -> Any:
        return self._with_macaroon(self._channel.unary_stream(*method, **coding))

    def _with_macaroon(self, method: Any) -> Any:
        def call(request: Any, **terms: Any) -> Any:  # a closure: no repr shows what it holds
            return method(request, metadata=self._metadata, **terms)

        return call

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)


def _metadata(macaroon: SecretStr) -> grpc.aio.Metadata:
    """Return the macaroon as LND wants it, in lower-case hex."""
    try:
        text = bytes.fromhex(macaroon.get_secret_value()).hex()
    except ValueError:
        raise ProviderMisconfigured("lnd", "the macaroon is not hex; give the file's bytes in hex") from None
    if not text:
        raise ProviderMisconfigured("lnd", "the macaroon is empty")
    return grpc.aio.Metadata(("macaroon", text))
