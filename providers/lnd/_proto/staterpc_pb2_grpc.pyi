import grpc.aio

from quittance.providers.lnd._proto import staterpc_pb2

class StateStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    GetState: grpc.aio.UnaryUnaryMultiCallable[staterpc_pb2.GetStateRequest, staterpc_pb2.GetStateResponse]
