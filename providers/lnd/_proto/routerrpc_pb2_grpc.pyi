import grpc.aio

from quittance.providers.lnd._proto import lnrpc_pb2, routerrpc_pb2

class RouterStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    SendPaymentV2: grpc.aio.UnaryStreamMultiCallable[routerrpc_pb2.SendPaymentRequest, lnrpc_pb2.Payment]
    TrackPaymentV2: grpc.aio.UnaryStreamMultiCallable[routerrpc_pb2.TrackPaymentRequest, lnrpc_pb2.Payment]
