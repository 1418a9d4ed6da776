"""Texts as both databases hold them."""


def is_storable(text: str) -> bool:
    """Tell whether a column can hold this text: no NUL, no lone surrogate. Another text equals nothing stored."""
    return "\x00" not in text and (text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text))
