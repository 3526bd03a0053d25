"""The files that a plugin's code opens: those of a data set are none of a method's or a model's business."""

import os
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from suite.checks.contract.remark import Remark
from suite.data.files import data_root

OF_DATA = "datasets"  # a folder of an installed package that holds images, as scikit-learn has one


class Watch:
    """The files that are opened while code of `path` runs, from now on: it lasts as long as the process."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._found: dict[str, int] = {}  # file -> line
        self._data = os.path.realpath(data_root())
        places = [*sysconfig.get_paths().values(), *site.getsitepackages(), sys.prefix, sys.base_prefix]
        places += ["/proc", "/sys", "/dev", "/etc", "/usr", tempfile.gettempdir(), str(path)]
        self._harmless = [os.path.realpath(place) for place in places]
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if line := self._line_in_file(sys._getframe(1)):
            file = os.path.realpath(os.fsdecode(arguments[0]))
            if self._is_data(file):
                self._found.setdefault(file, line)

    def _line_in_file(self, frame: FrameType | None) -> int | None:
        """The innermost line of the plugin's that is being carried out."""
        while frame is not None:
            if frame.f_code.co_filename == self.path:
                return frame.f_lineno
            frame = frame.f_back
        return None

    def _is_data(self, file: str) -> bool:
        if _below(file, self._data):
            return True
        if file.endswith((".py", ".pyc", ".so")):
            return False
        return OF_DATA in Path(file).parts or not any(_below(file, place) for place in self._harmless)

    def opens_no_file(self) -> Iterator[Remark]:
        """A method and a model compute from the tensors that they get; an import reads no images."""
        for file, line in self._found.items():
            yield Remark(
                f"it opens {file}: a method or a model computes from the tensors that it gets, and a data "
                "set opens its files when it is asked for images",
                line,
            )


def _below(file: str, folder: str) -> bool:
    return file == folder or file.startswith(folder.rstrip(os.sep) + os.sep)
