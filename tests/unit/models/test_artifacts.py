from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from models import artifacts
from models.artifacts import (
    BundleError,
    Manifest,
    StringColumn,
    atomic_folder,
    list_files,
    read_manifest,
    sha256_file,
    verify,
    write_bytes,
    write_json,
    write_manifest,
    write_strings,
)


def write_bundle(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "a.npy").write_bytes(b"one")
    (folder / "deep" / "b").write_bytes(b"")
    write_manifest(
        folder,
        Manifest("v1", "2024-01-01T00:00:00Z", {"name": "tiny"}, "0" * 64, list_files(folder)),
    )
    return folder


class TestWholeFiles:
    def test_a_file_is_replaced(self, tmp_path):
        path = tmp_path / "new" / "file"
        write_bytes(path, b"one")
        write_bytes(path, b"two")
        assert path.read_bytes() == b"two"
        assert [each.name for each in path.parent.iterdir()] == ["file"]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_an_interrupted_write_keeps_what_was_there(self, tmp_path, monkeypatch, step):
        path = tmp_path / "file"
        write_bytes(path, b"one")

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os if step == "fsync" else Path, step, full)
        with pytest.raises(OSError, match="No space left"):
            write_bytes(path, b"two")
        assert path.read_bytes() == b"one"
        assert [each.name for each in tmp_path.iterdir()] == ["file"]

    def test_json_is_the_same_for_the_same_content(self, tmp_path):
        write_json(tmp_path / "a", {"b": 1, "a": [1.5]})
        write_json(tmp_path / "b", {"a": [1.5], "b": 1})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        assert json.loads((tmp_path / "a").read_bytes()) == {"a": [1.5], "b": 1}


class TestWholeFolders:
    def test_a_folder_appears_at_the_end(self, tmp_path):
        target = tmp_path / "sub" / "run"
        with atomic_folder(target) as folder:
            (folder / "inside").write_bytes(b"x")
            assert not target.exists()
            assert folder.name.startswith(".")
        assert (target / "inside").read_bytes() == b"x"
        assert [each.name for each in target.parent.iterdir()] == ["run"]
        assert target.stat().st_mode & 0o777 == 0o755

    @pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()])
    def test_what_was_interrupted_leaves_nothing(self, tmp_path, error):
        def interrupted() -> None:
            with atomic_folder(tmp_path / "run") as folder:
                (folder / "deep").mkdir()
                (folder / "deep" / "file").write_bytes(b"x")
                raise error

        with pytest.raises(type(error)):
            interrupted()
        assert list(tmp_path.iterdir()) == []

    def test_what_is_there_is_not_overwritten(self, tmp_path):
        (tmp_path / "run").mkdir()
        with pytest.raises(FileExistsError, match="run exists already"), atomic_folder(tmp_path / "run"):
            pytest.fail("the block must not run")
        assert [each.name for each in tmp_path.iterdir()] == ["run"]

    def test_of_two_writers_of_one_name_the_later_fails_and_leaves_nothing(self, tmp_path):
        target = tmp_path / "run"

        def race() -> None:
            with atomic_folder(target) as late, atomic_folder(target) as early:
                (late / "late").write_bytes(b"x")
                (early / "early").write_bytes(b"x")

        with pytest.raises(OSError, match="run"):
            race()
        assert [each.name for each in tmp_path.iterdir()] == ["run"]
        assert [each.name for each in target.iterdir()] == ["early"]


class TestManifest:
    def test_it_reads_back(self, tmp_path):
        manifest = verify(write_bundle(tmp_path / "v1"))
        assert manifest == read_manifest(tmp_path / "v1")
        assert manifest.version == "v1"
        assert set(manifest.files) == {"a.npy", "deep/b"}
        assert manifest.files["a.npy"].bytes == 3

    def test_a_changed_file_is_named_with_both_hashes(self, tmp_path):
        folder = write_bundle(tmp_path / "v1")
        before = sha256_file(folder / "a.npy")
        (folder / "a.npy").write_bytes(b"two")
        after = sha256_file(folder / "a.npy")
        with pytest.raises(BundleError) as caught:
            verify(folder)
        assert str(caught.value) == f"{folder / 'a.npy'}: sha256 is {after}, the manifest says {before}"

    def test_a_missing_file_is_named_with_its_hash(self, tmp_path):
        folder = write_bundle(tmp_path / "v1")
        before = sha256_file(folder / "deep" / "b")
        (folder / "deep" / "b").unlink()
        with pytest.raises(
            BundleError, match=rf"deep/b: missing; the manifest lists it with sha256 {before}"
        ):
            verify(folder)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"{", "not a bundle manifest"),
            (b"\xff\xfe", "not a bundle manifest"),
            (b"[]", "not a bundle manifest"),
            (b'{"format": 2}', "format 2; this version of cascada reads 1"),
            (b'{"format": 1}', "not a bundle manifest"),
            (b'{"format": 1, "files": {"a": {"sha256": "x"}}}', "not a bundle manifest"),
            (b'{"format": 1, "files": {}, "version": "v", "magic": 1}', "not a bundle manifest"),
        ],
    )
    def test_what_is_no_manifest_is_refused_by_file(self, tmp_path, content, said):
        (tmp_path / artifacts.MANIFEST).write_bytes(content)
        with pytest.raises(BundleError, match=said) as caught:
            read_manifest(tmp_path)
        assert artifacts.MANIFEST in str(caught.value)

    def test_a_folder_without_a_manifest_is_no_bundle(self, tmp_path):
        with pytest.raises(BundleError, match=r"no manifest\.json; is this a bundle folder"):
            read_manifest(tmp_path)


class TestStrings:
    @pytest.mark.parametrize("values", [[], [""], ["a", "", "Ärger", "日本", "a\nb"]])
    def test_they_read_back(self, tmp_path, values):
        write_strings(tmp_path, "ids", values)
        column = StringColumn.open(tmp_path, "ids")
        assert len(column) == len(values)
        assert column.tolist() == values
        assert [column[row] for row in range(len(values))] == values
        assert column.take(np.arange(len(values))[::-1]) == values[::-1]


def test_what_is_written_whole_can_be_read_by_another_user(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"content")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


class TestSingle:
    HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)

    def test_every_finite_half_is_what_a_cast_gives_bit_for_bit(self):
        finite = self.HALVES[np.isfinite(self.HALVES)]
        assert len(finite) == (1 << 16) - 2 * (1 << 10)
        expected = finite.astype(np.float32)
        assert np.array_equal(artifacts.single(finite).view(np.int32), expected.view(np.int32))

    def test_every_half_that_is_no_number_is_known(self):
        for half in self.HALVES.reshape(-1, 1):
            assert artifacts.is_finite(half) == np.isfinite(half[0])

    def test_one_that_is_no_number_is_found_among_others(self):
        assert artifacts.is_finite(np.array([[1.5, 65504.0], [0.0, -65504.0]], np.float16))
        assert artifacts.is_finite(np.zeros((0, 3), np.float16))
        for odd in (np.nan, -np.nan, np.inf, -np.inf):
            assert not artifacts.is_finite(np.array([[1.5, odd], [0.0, -2.0]], np.float16))

    @pytest.mark.parametrize("shape", [(0, 3), (2, 3), (2, 1, 3)])
    def test_any_shape_and_the_given_stay_as_they_are(self, shape):
        halves = np.full(shape, -1.5, np.float16)
        found = artifacts.single(halves)
        assert (found.shape, found.dtype) == (shape, np.float32)
        assert (found == -1.5).all()
        assert (halves == -1.5).all()

    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_other_precisions_are_cast(self, kind):
        assert artifacts.single(np.array([0.5, 3.0], kind)).tolist() == [0.5, 3.0]
        assert artifacts.single(np.array([0.5], kind)).dtype == np.float32
