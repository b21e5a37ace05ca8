"""The file of a bundle: a zip of hashed parts, its manifest written last.

It knows the manifest and nothing else of what is in the parts.

A bundle may come from anybody, so nothing in it is believed before it is checked: the members lie back
to back in the one order and shape in which `write_archive` puts them, each has the size that the manifest
gives and, when it is read, the hash. What a zip could do besides (paths that escape, links, encryption,
overlapping or hidden members, streams that unpack to more than the disk holds) has no place in that shape.

The hash of the manifest covers all others. It stands in the comment at the end of the file and is the
*identity* of the bundle: two files with one identity hold the same model, whatever compressed them.
Hashes show damage; they are no signature, for whoever edits a part can write a new manifest too.
"""

from __future__ import annotations

import errno
import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from topwork.bundle.manifest import MANIFEST, Manifest, decode_manifest, encode_manifest
from topwork.errors import BundleError, TopworkError, UsageError
from topwork.storage import atomic_file, explain

__all__ = ["Archive", "naming", "write_archive"]

_MAX_INFLATED_BYTES = 64 << 20
"""A compressed part may not be larger than this; a larger one is stored as it is."""
_MAX_MANIFEST_BYTES = 16 << 20
_MAX_MEMBERS = 10_000
_TEXT_SUFFIXES = (".json", ".md")
_CHUNK_BYTES = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = 0o100644 << 16
_UTF8_NAME = 0x800
_LOCAL_HEADER = struct.Struct("<26x2H")
_END_OF_ZIP = b"PK\x05\x06"
_END_BYTES = 22
_COMMENT = re.compile(rb"topwork sha256:([0-9a-f]{64})")
_COMMENT_BYTES = 79
# Each step begins with a letter or a digit: no "..", no root, no drive, no backslash, nothing hidden.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
# All that the zip module is known to raise over damaged files.
_DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error,
    EOFError, LookupError, NotImplementedError, OverflowError, RuntimeError, ValueError,
)  # fmt: skip
_ANOTHER_COPY = "Get another copy of the bundle, or fit it again."


def write_archive(path: Path, parts: Mapping[str, bytes], manifest: Manifest) -> str:
    """Write a bundle under ``path``, whole or not at all, and return its identity.

    The same parts and manifest give the same bytes. Parts are stored in their order; JSON and text are
    compressed, weights are not, for they hardly shrink.

    Raises
    ------
    StorageError
        The disk is full, read-only or not writable; the old file, if any, is untouched.
    """
    last = encode_manifest(manifest)
    identity = hashlib.sha256(last).hexdigest()
    with atomic_file(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, data in {**parts, MANIFEST: last}.items():
            archive.writestr(_member(name, len(data)), data)
        archive.comment = f"topwork sha256:{identity}".encode("ascii")
    return identity


@dataclass(frozen=True, slots=True)
class Archive:
    """A bundle's file that was found sound. It holds no open file: each reading opens and checks it anew.

    Attributes
    ----------
    path
        Where the file stands.
    manifest
        What it says of itself.
    identity
        SHA-256 of the manifest, in hexadecimal.
    """

    path: Path
    manifest: Manifest
    identity: str

    @classmethod
    def open(cls, path: Path) -> Archive:
        """Open a bundle and check the whole of it, in constant memory.

        Raises
        ------
        BundleError
            It is no bundle, damaged, tampered with, or of a newer format.
        UsageError
            There is no such file.
        StorageError
            The file cannot be read.
        """
        with naming(path), _zip(path) as archive:
            members = _members(archive)
            data = _read_manifest(archive, members)
            manifest = decode_manifest(data)
            _check_members(members, manifest)
            for name in manifest.parts:
                _check_part(archive, members, manifest, name)
        return cls(path, manifest, hashlib.sha256(data).hexdigest())

    def read(self, name: str) -> bytes:
        """Return a part after checking its hash.

        Raises
        ------
        BundleError
            The part is not, or is no longer, what the manifest says.
        """
        with naming(self.path), _zip(self.path) as archive:
            members = _members(archive)
            _check_members(members, self.manifest)
            with archive.open(members[name]) as stream:
                data = stream.read()
            _check_hash(name, hashlib.sha256(data).hexdigest(), self.manifest)
            return data


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let every `BundleError` from within say which file it is about and what to do next."""
    try:
        yield
    except BundleError as error:
        raise type(error)(f"{path}: {error.problem}", next_step=error.next_step or _ANOTHER_COPY) from error


# --- writing ------------------------------------------------------------------------------------------


def _member(name: str, n_bytes: int) -> zipfile.ZipInfo:
    """Describe a member by its name and size alone, so that neither clock nor machine shows in the file."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3
    info.external_attr = _REGULAR_FILE
    is_text = name.endswith(_TEXT_SUFFIXES) and n_bytes <= _limit(name)
    info.compress_type = zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED
    return info


def _limit(name: str) -> int:
    return _MAX_MANIFEST_BYTES if name == MANIFEST else _MAX_INFLATED_BYTES


# --- reading ------------------------------------------------------------------------------------------


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip for reading and turn whatever goes wrong with it into an error of ours."""
    try:
        if not path.is_file():
            raise UsageError(
                f"There is no file {path}.", next_step="Check the path; a bundle ends in .topwork."
            )
        with path.open("rb") as stream:
            _check_frame(stream)
            with zipfile.ZipFile(stream) as archive:
                yield archive
    except TopworkError:
        raise
    except _DAMAGE as error:
        raise BundleError(f"It is damaged: {error}.") from error
    except OSError as error:
        # Where the zip module does not look first, a damaged directory sends it before the start of the file.
        if error.errno == errno.EINVAL:
            raise BundleError("It is damaged: its directory points outside the file.") from error
        raise explain(error, path, doing="read") from error


def _check_frame(stream: IO[bytes]) -> None:
    """Check both ends of the file, so that what is cut short and what is no bundle at all are told apart."""
    head = stream.read(4)
    n_bytes = stream.seek(0, 2)
    if head != b"PK\x03\x04":
        raise BundleError("It is empty." if not n_bytes else "It is not a bundle: it is no zip file.")
    stream.seek(max(0, n_bytes - _END_BYTES - _COMMENT_BYTES))
    tail = stream.read()
    if not tail.startswith(_END_OF_ZIP) or not _COMMENT.fullmatch(tail[_END_BYTES:]):
        raise BundleError(
            "It does not end as a bundle ends: it was cut short, or is another kind of zip file."
        )


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name once they are known to be plain and to lie back to back."""
    infos = archive.infolist()
    if len(infos) > _MAX_MEMBERS:
        raise BundleError(f"It holds {len(infos)} members; at most {_MAX_MEMBERS} were expected.")
    position = 0
    for info in infos:
        _check_member(info)
        if info.header_offset != position:
            raise BundleError(f"{info.filename} does not stand where it was expected.")
        position = _end_of(archive, info)
    if position != archive.start_dir:
        raise BundleError("There are bytes between its members and their directory.")
    return _by_name(infos)


def _by_name(infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise BundleError("Two of its members have one name.")
    return members


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    if not _NAME.fullmatch(name) or name != info.filename:
        raise BundleError(f"It holds a member with a name that no bundle has: {name!r:.80}.")
    if info.flag_bits & ~_UTF8_NAME:
        raise BundleError(f"{name} is encrypted or written in pieces, which no bundle has.")
    if info.compress_type == zipfile.ZIP_STORED:
        sound = info.file_size == info.compress_size
    else:
        sound = info.compress_type == zipfile.ZIP_DEFLATED and info.file_size <= _limit(name)
    if not sound:
        raise BundleError(
            f"{name} is packed in a way that no bundle has, or unpacks to {info.file_size} bytes."
        )


def _end_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Return where the data of a member ends, by its own header."""
    stream = archive.fp
    assert stream is not None
    stream.seek(info.header_offset)
    n_name, n_extra = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    n_skipped: int = _LOCAL_HEADER.size + n_name + n_extra
    return info.header_offset + n_skipped + info.compress_size


def _read_manifest(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> bytes:
    """Read the manifest, its size bounded and its hash checked against the comment."""
    info = members.get(MANIFEST)
    if info is None:
        raise BundleError(f"It has no {MANIFEST}; it is another kind of zip file.")
    if info.file_size > _MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{MANIFEST} has {info.file_size} bytes; at most {_MAX_MANIFEST_BYTES} were expected."
        )
    with archive.open(info) as stream:
        data = stream.read()
    if archive.comment != f"topwork sha256:{hashlib.sha256(data).hexdigest()}".encode("ascii"):
        raise BundleError(f"{MANIFEST} is not the one that was written: its SHA-256 differs.")
    return data


def _check_members(members: Mapping[str, zipfile.ZipInfo], manifest: Manifest) -> None:
    listed = {*manifest.parts, MANIFEST}
    if missing := sorted(listed - set(members)):
        raise BundleError(f"Parts are missing: {', '.join(missing):.200}.")
    if extra := sorted(set(members) - listed):
        raise BundleError(f"There are parts that {MANIFEST} does not list: {', '.join(extra):.200}.")
    for name, part in manifest.parts.items():
        if members[name].file_size != part.bytes:
            raise BundleError(f"{name} has {members[name].file_size} bytes; {MANIFEST} says {part.bytes}.")


def _check_part(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], manifest: Manifest, name: str
) -> None:
    digest = hashlib.sha256()
    with archive.open(members[name]) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    _check_hash(name, digest.hexdigest(), manifest)


def _check_hash(name: str, found: str, manifest: Manifest) -> None:
    if found != manifest.parts[name].sha256:
        raise BundleError(
            f"{name} is not the part that was written: its SHA-256 begins with {found[:12]}, "
            f"{MANIFEST} says {manifest.parts[name].sha256[:12]:.12}."
        )
