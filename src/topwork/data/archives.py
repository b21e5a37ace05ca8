"""Zip archives as trees: members are read on the fly, nothing is extracted.

An archive may come from anywhere, so its members are checked before any is read: names that escape,
encryption, and bombs. It knows nothing of labels, tables or pictures.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from topwork.contracts import Rejected
from topwork.data.trees import MAX_FILE_BYTES, Tree, is_hidden
from topwork.errors import DataError, DecodeError

__all__ = ["zip_tree"]

_MAX_MEMBERS = 2_000_000
_MAX_RATIO = 200
_HARMLESS_BYTES = 16 * 1024 * 1024  # a blank bitmap of this size compresses a thousandfold, and does no harm
_MAX_TOTAL_BYTES = 2 * 1024**4
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1
_CORRUPT = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True)
class _ZipReader:
    # zipfile locks the shared file around each read, so several threads may read members at once.
    archive: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo]

    def __call__(self, name: str) -> bytes:
        if name not in self.members:
            raise DecodeError("The file is not in the archive.")
        try:
            with self.archive.open(self.members[name]) as stream:
                return stream.read(MAX_FILE_BYTES)
        except _CORRUPT as error:
            raise DecodeError(f"The member of the archive is damaged: {error}.") from error


def zip_tree(path: Path) -> Tree:
    """List a zip archive.

    Raises
    ------
    DataError
        It is no zip archive, is encrypted, or is a bomb.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"{path.name} is not a readable zip archive: {error}.", next_step="Pack it again."
        ) from error
    members, rejected = _members(archive, path)
    reader = _ZipReader(archive, members)
    return Tree(f"the archive {path.name}", tuple(sorted(members)), reader, rejected)


def _members(archive: zipfile.ZipFile, path: Path) -> tuple[dict[str, zipfile.ZipInfo], tuple[Rejected, ...]]:
    members: dict[str, zipfile.ZipInfo] = {}
    rejected: list[Rejected] = []
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _refuse_bombs(infos, path)
    for info in infos:
        name = _name_of(info)
        if any(is_hidden(part) for part in name.split("/") if part not in (".", "..")):
            continue
        if reason := _reason_against(name, info, members):
            rejected.append(Rejected(name, reason))
        else:
            members[name] = info
    return members, tuple(rejected)


def _refuse_bombs(infos: list[zipfile.ZipInfo], path: Path) -> None:
    total = sum(info.file_size for info in infos)
    if len(infos) > _MAX_MEMBERS or total > _MAX_TOTAL_BYTES:
        raise DataError(
            f"{path.name} claims {len(infos):,} members of {total:,} bytes together; at most {_MAX_MEMBERS:,} and "
            f"{_MAX_TOTAL_BYTES:,} are read.",
            next_step="Check where it comes from; if it is yours, unpack it and give the folder.",
        )
    for info in infos:
        if info.file_size > max(_HARMLESS_BYTES, _MAX_RATIO * info.compress_size):
            raise DataError(
                f"{path.name} looks like a zip bomb: {_name_of(info)} grows from {info.compress_size:,} to "
                f"{info.file_size:,} bytes.",
                next_step="Check where it comes from; if it is yours, unpack it and give the folder.",
            )
        if info.flag_bits & _ENCRYPTED_FLAG:
            raise DataError(
                f"{path.name} is encrypted ({_name_of(info)} needs a password).",
                next_step="Unpack it and give the folder.",
            )


def _name_of(info: zipfile.ZipInfo) -> str:
    """Return a member's name with ``/``; many packers write UTF-8 and forget to say so."""
    name = info.orig_filename if not info.flag_bits & _UTF8_FLAG else info.filename
    if not info.flag_bits & _UTF8_FLAG:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = info.filename
    name = name.split("\0")[0].replace("\\", "/")
    return name.removeprefix("./")


def _reason_against(name: str, info: zipfile.ZipInfo, taken: Mapping[str, zipfile.ZipInfo]) -> str | None:
    if name.startswith("/") or ".." in PurePosixPath(name).parts or name[1:2] == ":":
        return "its name leads out of the archive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it is a symbolic link inside an archive"
    if info.file_size > MAX_FILE_BYTES:
        return f"it has {info.file_size:,} bytes; at most {MAX_FILE_BYTES:,} are read"
    if name in taken:
        return "the archive holds a second file of the same name"
    return None
