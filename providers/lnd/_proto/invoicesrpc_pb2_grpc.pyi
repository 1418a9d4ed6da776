import grpc.aio

from quittance.providers.lnd._proto import invoicesrpc_pb2, lnrpc_pb2

class InvoicesStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    SubscribeSingleInvoice: grpc.aio.UnaryStreamMultiCallable[
        invoicesrpc_pb2.SubscribeSingleInvoiceRequest, lnrpc_pb2.Invoice
    ]
    AddHoldInvoice: grpc.aio.UnaryUnaryMultiCallable[
        invoicesrpc_pb2.AddHoldInvoiceRequest, invoicesrpc_pb2.AddHoldInvoiceResp
    ]
    SettleInvoice: grpc.aio.UnaryUnaryMultiCallable[invoicesrpc_pb2.SettleInvoiceMsg, invoicesrpc_pb2.SettleInvoiceResp]
    CancelInvoice: grpc.aio.UnaryUnaryMultiCallable[invoicesrpc_pb2.CancelInvoiceMsg, invoicesrpc_pb2.CancelInvoiceResp]
    LookupInvoiceV2: grpc.aio.UnaryUnaryMultiCallable[invoicesrpc_pb2.LookupInvoiceMsg, lnrpc_pb2.Invoice]
