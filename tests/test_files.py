"""Files that appear whole or not at all, and readers that refuse whatever is not theirs, without running any of it."""

import errno
import json
import math
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from sfumato import disk, files, serial
from sfumato.errors import FormatError, InputError, StorageError

OLD, NEW = b"what was there before", b"what is new"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with something in it, alone in its folder."""
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def assert_untouched(path: Path) -> None:
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"


def failing(code: int) -> Callable[..., Any]:
    def fail(*arguments: object, **options: object) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_is_replaced_whole(path: Path) -> None:
    with disk.replacing(path) as beside:
        beside.write_bytes(NEW)
        assert path.read_bytes() == OLD and beside.parent == path.parent
    assert path.read_bytes() == NEW
    assert list(path.parent.iterdir()) == [path]


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a" / "b" / "c", NEW)
    assert (tmp_path / "a" / "b" / "c").read_bytes() == NEW


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_what_stops_the_writing_leaves_the_old_file(path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), disk.replacing(path) as beside:
        beside.write_bytes(NEW)
        raise error
    assert_untouched(path)


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_so_and_leaves_the_old_file(
    path: Path, where: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, where, failing(code))
    with pytest.raises(
        StorageError, match=rf"no space to write {path}: 0\.0 MB needed, [\d,.]+ MB free; what was there before is unt"
    ):
        files.write_bytes(path, NEW)
    assert_untouched(path)


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda path: files.write_bytes(path, NEW), "write_bytes"),
        (lambda path: files.write_json(path, {"a": 1}), "write_bytes"),
    ],
    ids=["bytes", "json"],
)
def test_a_disk_that_fills_half_way_leaves_the_old_file(
    path: Path, write: Callable[[Path], None], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: Path, data: bytes) -> int:
        with open(self, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, text, half)
    with pytest.raises(StorageError, match="no space to write"):
        write(path)
    monkeypatch.undo()
    assert_untouched(path)


def test_tensors_on_a_full_disk_say_so_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 100

    def half(*arguments: object) -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sfumato.serial.pieces", half)
    monkeypatch.setattr("shutil.disk_usage", lambda place: Usage)
    with pytest.raises(StorageError, match=rf"no space to write {path}: 0\.4 MB needed, 0\.0 MB free;"):
        files.write_tensors(path, {"a": torch.zeros(100_000)})
    assert_untouched(path)


def test_a_place_that_cannot_be_written_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", failing(errno.EACCES))
    with pytest.raises(StorageError, match=rf"cannot write {path}: Permission denied; choose a folder that you may"):
        files.write_bytes(path, NEW)
    assert_untouched(path)


@pytest.mark.parametrize("inside", ["file/child", "file/child/grandchild"])
def test_a_file_is_no_folder(path: Path, inside: str) -> None:
    with pytest.raises(StorageError, match="cannot write .*; choose a folder that you may write to"):
        files.write_bytes(path.parent / inside, NEW)
    assert_untouched(path)


def test_a_folder_is_no_file(path: Path) -> None:
    with pytest.raises(StorageError, match=f"cannot write {path.parent}: Is a directory"):
        files.write_bytes(path.parent, NEW)
    assert_untouched(path)
    assert list(path.parent.parent.iterdir()) == [path.parent]


def test_a_storage_error_is_an_os_error_and_keeps_its_cause(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error") as caught:
        files.write_bytes(path, NEW)
    assert isinstance(caught.value, StorageError)
    assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.EIO


# JSON ---------------------------------------------------------------------------------------------------------------


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True], "ö": {"b": "…"}}
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == value
    assert "ö" in (tmp_path / "x.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": object()}])
def test_what_json_has_no_word_for_is_never_written(path: Path, value: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        files.write_json(path, value)
    assert_untouched(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not valid JSON"),
        (b'{"a": 1', "is not valid JSON"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"[1, 2]", "should hold a JSON object, and holds a list"),
        (b"3", "should hold a JSON object, and holds a int"),
        (b"9" * 10_000, "is not valid JSON: a number of 10,000 digits"),
        (b'{"a": ' + b"[" * 65 + b"]" * 65 + b"}", "is not valid JSON: nested deeper than 64"),
        (b'{"a": "half \\ud83d"}', "holds half of a surrogate pair"),
        (b'{"a": "half \xed\xa0\xbd"}', "is not valid JSON"),
        (b'{"a": [' + b"{}," * 300_000 + b"{}]}", "holds more than 300,000 values: refused"),
    ],
    ids=lambda value: repr(value[:10]),
)
def test_what_is_no_json_object_is_refused(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"{path} {message}"):
        files.read_json(path)


def test_numbers_that_json_has_not_are_refused_where_a_file_is_ours(path: Path) -> None:
    for number in ("NaN", "-Infinity", "1e999"):
        path.write_text(f'{{"a": {number}}}')
        assert not math.isfinite(files.read_json(path)["a"])  # as diffusers writes them
        with pytest.raises(FormatError, match=f"is not valid JSON: {number} is no finite number"):
            files.read_json(path, finite=True)


def test_a_long_text_is_one_value_whatever_is_in_it(path: Path) -> None:
    for text in (',[{"' * 200_000, '\\",' * 200_000):
        path.write_text(json.dumps({"a": text, "b": 1}))
        assert files.read_json(path) == {"a": text, "b": 1}
    path.write_text('{"a": "' + '\\",' * 400_000)
    with pytest.raises(FormatError, match="is not valid JSON: Unterminated string"):
        files.read_json(path)


def test_absurdly_large_json_is_refused_before_it_is_parsed(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(files.MOST_JSON + 1)
    with pytest.raises(FormatError, match="is larger than 16 MB: not a file of ours"):
        files.read_json(path)


def test_json_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"cannot read {tmp_path / 'none'}: No such file or directory"):
        files.read_json(tmp_path / "none")
    with pytest.raises(FormatError, match=f"cannot read {tmp_path}: Is a directory"):
        files.read_json(tmp_path)


# Tensors ------------------------------------------------------------------------------------------------------------


def tensors() -> dict[str, torch.Tensor]:
    conv = torch.arange(72.0).reshape(2, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    return {
        "conv": conv,
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "learned": torch.nn.Parameter(torch.ones(3)),
    }


def test_tensors_can_be_read_by_whoever_may_read_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    files.write_tensors(tmp_path / "tensors.safetensors", {"a": torch.zeros(2)})
    assert (tmp_path / "tensors.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    about = {"step": 3, "name": "ö", "of": [1, 2]}
    files.write_tensors(tmp_path / "x.safetensors", tensors(), about)
    found, metadata = files.read_tensors(tmp_path / "x.safetensors")
    assert metadata == about
    assert found.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name
    assert list(tmp_path.iterdir()) == [tmp_path / "x.safetensors"]


def test_no_metadata_is_read_as_none(tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)})
    assert files.read_tensors(tmp_path / "x.safetensors")[1] == {}


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the order, the layout in memory and the metadata given last."""
    one, other = tmp_path / "one", tmp_path / "other"
    files.write_tensors(one, tensors(), {"a": 1, "b": 2})
    turned = {name: tensor.detach().clone().contiguous() for name, tensor in reversed(tensors().items())}
    files.write_tensors(other, turned, {"b": 2, "a": 1})
    assert one.read_bytes() == other.read_bytes()
    assert files.sha256(one) == files.sha256(other)
    files.write_tensors(other, {**turned, "count": torch.tensor(8)}, {"a": 1, "b": 2})
    assert files.sha256(one) != files.sha256(other)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"ö": '{"a": "\x01\x7f\u2028\\"}'}], ids=repr)
def test_the_bytes_are_those_of_the_library_of_that_name(metadata: dict[str, str] | None) -> None:
    """Of every kind of numbers, and whatever the names."""
    every = {f"{kind}/ü\n{i}": torch.arange(i).to(getattr(torch, kind)) for kind in serial.TYPES for i in (0, 1, 5)}
    mine = {name: tensor.detach().contiguous() for name, tensor in (every | tensors()).items()}
    assert b"".join(serial.pieces(mine, metadata)) == safetensors.torch.save(mine, metadata)


def test_metadata_is_in_order(tmp_path: Path) -> None:
    """The library writes it in another order each time."""
    for name in ("one", "other"):
        files.write_tensors(tmp_path / name, tensors(), {"step": 3}, {letter: letter for letter in "gfedcba"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_numbers_that_the_format_has_no_name_for_are_refused(path: Path) -> None:
    with pytest.raises(InputError, match="holds no numbers of the kind complex128, as a has"):
        files.write_tensors(path, {"a": torch.zeros(1, dtype=torch.complex128)})
    assert_untouched(path)


def test_the_hash_of_a_file_can_be_had_without_the_file(tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "x", tensors())
    assert files.tensors_sha256(tensors()) == files.sha256(tmp_path / "x")


def test_types_and_shapes_are_read_from_the_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    files.write_tensors(path, tensors(), {"step": 3})
    shapes = files.read_shapes(path)
    assert shapes == {
        "conv": ("F32", [2, 4, 3, 3]),
        "half": ("BF16", [2]),
        "count": ("I64", []),
        "none": ("F32", [0, 3]),
        "turned": ("F32", [3, 2]),
        "learned": ("F32", [3]),
    }


@pytest.mark.parametrize(
    "entry",
    [
        "3",
        "{}",
        '{"dtype":"F32"}',
        '{"dtype":3,"shape":[],"data_offsets":[0,0]}',
        f'{{"dtype":"F{"1" * 5000}","shape":[],"data_offsets":[0,0]}}',
        '{"dtype":"F32","shape":[true],"data_offsets":[0,0]}',
        '{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}',
        '{"dtype":"F32","shape":[1e200,1e200],"data_offsets":[0,0]}',
        f'{{"dtype":"F32","shape":[{10**18},{10**18}],"data_offsets":[0,0]}}',
        '{"dtype":"F32","shape":[1]}',
        '{"dtype":"F32","shape":[1],"data_offsets":[0]}',
        '{"dtype":"F32","shape":[1],"data_offsets":[8,4]}',
        '{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}',
    ],
    ids=lambda entry: entry[:60],
)
def test_a_tensor_without_type_or_shape_is_refused(tmp_path: Path, entry: str) -> None:
    (tmp_path / "x").write_bytes(headed(b'{"a":' + entry.encode() + b"}"))
    with pytest.raises(FormatError, match="the header of .* is damaged: 'a' has no type, shape and place"):
        files.read_shapes(tmp_path / "x")


def test_a_number_changed_on_the_disk_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    files.write_tensors(path, tensors(), {"step": 3})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"{path} is damaged: its numbers do not match their hash; restore it from a"):
        files.read_tensors(path)


# What killed writers leave --------------------------------------------------------------------------------------------

DEAD = 2**22 + 1
"""A number that no process has: Linux counts to 2²²."""


def left(path: Path, pid: int = DEAD, host: str | None = None, ending: str = "part") -> Path:
    """What a writer of ours, in that process, leaves of `path` when it is killed."""
    return path.with_name(f".{path.name}.sfumato-{host or disk.host()}-{pid}-0123abcd.{ending}")


def test_a_part_is_known_as_ours(path: Path) -> None:
    with disk.replacing(path) as beside:
        assert beside.name.startswith(".file.sfumato-") and beside.suffix == ".part"
        disk.clear_parts(path.parent)
        assert beside.exists(), "whose writer lives"
        os.rename(beside, path.parent / beside.name.replace(f"-{os.getpid()}-", f"-{DEAD}-"))
        disk.clear_parts(path.parent)
        assert os.listdir(path.parent) == ["file"], "whose writer has died"
        beside.write_bytes(NEW)


def test_what_killed_writers_left_is_cleared_and_nothing_of_others(path: Path) -> None:
    inner = path.parent / "inner"
    inner.mkdir()
    ours = [left(path), left(inner / "other")]
    of_others = [path.parent / name for name in (".film.part", ".file.17.part", "file.part", ".x.sfumato-1-2-3.part")]
    for one in [*ours, *of_others]:
        one.write_bytes(NEW)
    (path.parent / ".x.part").mkdir()
    left(path.parent / "folder").mkdir()
    disk.clear_parts(path.parent)
    assert [one.exists() for one in ours] == [False, True], "in the folder itself"
    disk.clear_parts(inner, alone=True)
    assert not ours[1].exists() and all(one.read_bytes() == NEW for one in of_others)
    assert (path.parent / ".x.part").is_dir() and left(path.parent / "folder").is_dir()


def test_what_may_still_be_written_is_not_cleared(path: Path) -> None:
    """A part of a process that lives, or of another machine; unless nobody else can be there, or it is a day old."""
    mine, there, live = left(path, os.getpid()), left(path, host="00000000"), left(path, os.getppid())
    for one in (mine, there, live):
        one.write_bytes(NEW)
    disk.clear_parts(path.parent)
    assert mine.exists() and there.exists() and live.exists()
    disk.clear_parts(path.parent, alone=True)
    assert not mine.exists() and not there.exists() and live.exists()
    os.utime(live, (1, 1))
    disk.clear_parts(path.parent)
    assert_untouched(path)


def test_threads_and_processes_share_no_part(path: Path) -> None:
    with disk.replacing(path) as one, disk.replacing(path) as other:
        assert one != other
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one", "which was put last"


def test_a_new_file_has_the_mode_of_any_new_file(path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_bytes(path.parent / "new", NEW)
    finally:
        os.umask(before)
    assert (path.parent / "new").stat().st_mode & 0o777 == 0o640


def test_a_long_name_leaves_room_for_the_part(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / ("ö" * 120), NEW)
    assert (tmp_path / ("ö" * 120)).read_bytes() == NEW


def test_a_file_can_be_put_only_where_nothing_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for links in (True, False):
        if not links:
            monkeypatch.setattr(os, "link", failing(errno.EPERM))
        with pytest.raises(disk.Taken, match=f"{path} is there already"):
            files.write_bytes(path, NEW, new=True)
        assert_untouched(path)
        files.write_bytes(path.parent / "new", NEW, new=True)
        assert (path.parent / "new").read_bytes() == NEW
        (path.parent / "new").unlink()


# Folders ------------------------------------------------------------------------------------------------------------


def fill(folder: Path) -> None:
    (folder / "part").mkdir()
    (folder / "part" / "weights").write_bytes(NEW)
    (folder / "index").write_bytes(NEW)


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_appears_whole(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / ".DS_Store").write_bytes(OLD)
    with disk.replacing_folder(out) as beside:
        fill(beside)
        assert not disk.in_use(out)
    assert sorted(os.listdir(out)) == [*([".DS_Store"] if there else []), "index", "part"]
    assert (out / "part" / "weights").read_bytes() == NEW and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_fails_is_not_there(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
    with pytest.raises(StorageError, match="no space to write"), disk.replacing_folder(out) as beside:
        fill(beside)
        failing(errno.ENOSPC)()
    assert list(tmp_path.rglob("*")) == ([out] if there else [])


def test_a_folder_that_cannot_be_removed_can_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a mount point, whose parent may be of another disk, or closed."""
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "rmdir", failing(errno.EBUSY))
    rename = os.rename

    def within(one: Path, other: Path) -> None:
        if tmp_path / "out" not in one.parents or tmp_path / "out" not in other.parents:
            failing(errno.EXDEV)()
        rename(one, other)

    monkeypatch.setattr(os, "rename", within)
    with disk.replacing_folder(tmp_path / "out") as beside:
        fill(beside)
    assert (tmp_path / "out" / "index").read_bytes() == NEW


@pytest.mark.parametrize("there", [False, True])
def test_what_a_killed_writer_left_of_a_folder_is_cleared(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
    parent = out if there else tmp_path
    for one in (mine := left(parent / "out", ending="new"), other := left(parent / "other", ending="new")):
        one.mkdir()
        fill(one)
    with disk.replacing_folder(out) as beside:
        fill(beside)
    assert not mine.exists() and other.exists()


def test_a_folder_with_hidden_files_alone_is_free(tmp_path: Path) -> None:
    assert not disk.in_use(tmp_path / "none") and not disk.in_use(tmp_path)
    (tmp_path / ".DS_Store").touch()
    assert not disk.in_use(tmp_path)
    (tmp_path / "letter").touch()
    assert disk.in_use(tmp_path) and disk.in_use(tmp_path / "letter")


# Headers ------------------------------------------------------------------------------------------------------------


def whole(tmp_path: Path) -> bytes:
    path = tmp_path / "whole.safetensors"
    files.write_tensors(path, tensors(), {"step": 3})
    return path.read_bytes()


def headed(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is not a whole safetensors file \(0 bytes\); restore it from a copy"),
        (b"\x05\0\0", r"is not a whole safetensors file \(3 bytes\)"),
        (struct.pack("<Q", 2**63), "is not a whole safetensors file"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", "is not a whole safetensors file"),
        (struct.pack("<Q", 100) + b"{}", "is not a whole safetensors file"),
        (struct.pack("<Q", 0) + b"{}", "is not a whole safetensors file"),
        (headed(b"[]"), "the header of .* should hold a JSON object, and holds a list"),
        (headed(b"{]"), "the header of .* is not valid JSON"),
        (headed(b"\x80\x04K\x01."), "the header of .* is not valid JSON"),
        (headed(b'{"__metadata__": 3}'), "its metadata should map names to text"),
        (headed(b'{"__metadata__": {"sfumato": 3}}'), "its metadata should map names to text"),
        (headed(b"[" * 100_000), "is not valid JSON"),
    ],
    ids=lambda value: repr(value[:16]),
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    for read in (files.read_header, files.read_tensors):
        with pytest.raises(FormatError, match=message):
            read(path)


def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", files.MOST_HEADER + 1))
        file.truncate(files.MOST_HEADER + 100)
    with pytest.raises(FormatError, match="is not a whole safetensors file"):
        files.read_header(path)


def test_a_header_with_too_many_tensors_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    entry = '"{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    header = "{" + ",".join(entry.format(i) for i in range(files.MOST_TENSORS + 1)) + "}"
    path = tmp_path / "many.safetensors"
    path.write_bytes(headed(header.encode()))
    with pytest.raises(FormatError, match="names more than 20,000 tensors: refused"):
        files.read_header(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    data = whole(tmp_path)
    path = tmp_path / "cut.safetensors"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FormatError, match=r"cut.safetensors is (not a whole safetensors file|damaged: )"):
        files.read_tensors(path)


def test_tensors_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"cannot read {tmp_path / 'none'}: No such file or directory"):
        files.read_tensors(tmp_path / "none")
    with pytest.raises(FormatError, match=f"cannot read {tmp_path}: Is a directory"):
        files.read_tensors(tmp_path)


def test_the_metadata_must_be_an_object(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(headed(json.dumps({"__metadata__": {"sfumato": "[1]"}}).encode()))
    with pytest.raises(FormatError, match="the header of .* should hold a JSON object, and holds a list"):
        files.read_tensors(path)


class Canary:
    """Sings when unpickled."""

    def __init__(self, song: Path) -> None:
        self.song = song

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.song,)


@pytest.mark.parametrize("form", ["pickle", "torch", "headed"])
def test_a_pickle_under_our_name_is_refused_and_never_runs(tmp_path: Path, form: str) -> None:
    song, path = tmp_path / "song", tmp_path / "network.safetensors"
    data = pickle.dumps(Canary(song))
    if form == "torch":
        torch.save({"weight": Canary(song)}, path)
    else:
        path.write_bytes(headed(data) if form == "headed" else data)
    for read in (files.read_header, files.read_tensors, files.read_json):
        with pytest.raises(FormatError):
            read(path)
    assert not song.exists()
    pickle.loads(data)
    assert song.exists(), "the canary does sing"


# Folders that can be written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["read_json", "read_tensors", "read_header", "sha256"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(FormatError, match=r"cannot read .*x: a device or pipe, and not a file"):
        getattr(files, name)(tmp_path / "x")


def test_a_folder_to_be_is_checked_without_making_it(tmp_path: Path) -> None:
    disk.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_named(path: Path) -> None:
    with pytest.raises(StorageError, match=f"{path} is a file, not a folder; choose a folder that you may write to"):
        disk.check_writable(path / "a")


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(StorageError, match=f"cannot write {tmp_path}: permission denied"):
        disk.check_writable(tmp_path)
