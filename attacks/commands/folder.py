"""The folder that a command writes to."""

from pathlib import Path

from attacks.storage import write_atomically


class OutputFolder:
    """The output folder, tried before the work; removed again if it was made here and stays empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: list[Path] = []

    def __enter__(self) -> Path:
        missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.made = missing
            write_atomically(self.path / ".writable", "")
            (self.path / ".writable").unlink()
        except OSError as error:
            self._remove()
            raise ValueError(
                f"expected a folder that can be written, got '{self.path}': {error.strerror}; choose another with --out"
            ) from error
        return self.path

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self._remove()

    def _remove(self) -> None:
        for path in self.made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
