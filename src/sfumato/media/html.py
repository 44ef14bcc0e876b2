"""Data as HTML for notebooks."""

import base64


def data_uri(data: bytes, kind: str) -> str:
    """Bytes within a page, as of the MIME type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def picture_html(png: bytes, width: int, height: int) -> str:
    """A PNG, shown at so many pixels; enlarged ones keep their pixels sharp."""
    style = f"width:{width}px;height:{height}px;image-rendering:pixelated"
    return f'<img src="{data_uri(png, "image/png")}" style="{style}">'
