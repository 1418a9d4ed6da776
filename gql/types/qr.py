"""QR codes on the wire."""

import base64
from enum import StrEnum

import strawberry

from quittance.web.qr import qr_png, qr_svg


@strawberry.enum(description="How a QR code is drawn.")
class QrFormat(StrEnum):
    SVG = "SVG"
    PNG = "PNG"


def qr_data_uri(text: str, drawn_as: QrFormat) -> str:
    if drawn_as is QrFormat.SVG:
        return "data:image/svg+xml;base64," + base64.b64encode(qr_svg(text).encode()).decode()
    return "data:image/png;base64," + base64.b64encode(qr_png(text)).decode()
