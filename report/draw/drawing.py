"""A figure with the words that go with it."""

from dataclasses import dataclass

import pandas as pd

from report.draw.svg import Picture


@dataclass(frozen=True)
class Drawing:
    """A figure, its caption, and the CSV files that hold its numbers.

    label: the description for readers who cannot see the figure. numbers: those that it shows, where they are
    fewer than the rows of its task in the first of these files. more: the same for all methods, where this is
    of the top and the bottom.
    """

    name: str
    picture: Picture
    label: str
    caption: str
    data: str
    numbers: pd.DataFrame | None = None
    more: "Drawing | None" = None

    @property
    def all(self) -> list["Drawing"]:
        """The figure, and that of all methods where there is one."""
        return [self, *([self.more] if self.more else [])]

    @property
    def svg(self) -> str:
        return self.picture.svg

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in CSS pixels."""
        return self.picture.width, self.picture.height
