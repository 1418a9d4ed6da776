import grpc.aio

from quittance.providers.lnd._proto import lnrpc_pb2

class LightningStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    AddInvoice: grpc.aio.UnaryUnaryMultiCallable[lnrpc_pb2.Invoice, lnrpc_pb2.AddInvoiceResponse]
    LookupInvoice: grpc.aio.UnaryUnaryMultiCallable[lnrpc_pb2.PaymentHash, lnrpc_pb2.Invoice]
    ListInvoices: grpc.aio.UnaryUnaryMultiCallable[lnrpc_pb2.ListInvoiceRequest, lnrpc_pb2.ListInvoiceResponse]
    SubscribeInvoices: grpc.aio.UnaryStreamMultiCallable[lnrpc_pb2.InvoiceSubscription, lnrpc_pb2.Invoice]
    DecodePayReq: grpc.aio.UnaryUnaryMultiCallable[lnrpc_pb2.PayReqString, lnrpc_pb2.PayReq]
    GetInfo: grpc.aio.UnaryUnaryMultiCallable[lnrpc_pb2.GetInfoRequest, lnrpc_pb2.GetInfoResponse]
    SignMessage: grpc.aio.UnaryUnaryMultiCallable[lnrpc_pb2.SignMessageRequest, lnrpc_pb2.SignMessageResponse]
    VerifyMessage: grpc.aio.UnaryUnaryMultiCallable[lnrpc_pb2.VerifyMessageRequest, lnrpc_pb2.VerifyMessageResponse]
    ChannelBalance: grpc.aio.UnaryUnaryMultiCallable[lnrpc_pb2.ChannelBalanceRequest, lnrpc_pb2.ChannelBalanceResponse]
