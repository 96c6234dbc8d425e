"""The page of a board."""

from collections.abc import Mapping
from typing import Any


def render(board: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """Writes the page."""
    return ""
