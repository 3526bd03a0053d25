"""A figure with the words that go with it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG, its caption, and the CSV files that hold its numbers.

    label: the description for readers who cannot see the figure.
    """

    name: str
    svg: str
    label: str
    caption: str
    data: str

    @property
    def size(self) -> tuple[str, str]:
        """Width and height in CSS pixels."""
        _, _, width, height = self.svg.split('viewBox="', 1)[1].split('"', 1)[0].split()
        return width, height
