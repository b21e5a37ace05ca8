from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from topwork.engines.machine import Machine, installed, limited_to, survey
from topwork.errors import UsageError

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return root


def test_this_machine_can_be_surveyed() -> None:
    machine = survey()
    assert 1 <= machine.n_cores <= CORES
    assert machine.memory_bytes > 1 << 28 or sys.platform != "linux"
    assert machine.engines == {"openvino", "onnxruntime", "torch"} == installed()


def test_a_system_that_tells_nothing_is_taken_as_plain(tmp_path: Path) -> None:
    machine = survey(tmp_path)
    assert (machine.n_cores, machine.cpu_flags, machine.memory_bytes) == (CORES, frozenset(), 0)


def test_flags_and_memory_are_read(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        {
            "proc/cpuinfo": "processor : 0\nmodel name: X\nflags\t\t: fpu avx512_bf16 amx_bf16\n\nflags: fpu\n",
            "proc/meminfo": "MemTotal:       16384 kB\nMemFree: 1 kB\n",
        },
    )
    machine = survey(root)
    assert machine.cpu_flags == {"fpu", "avx512_bf16", "amx_bf16"}
    assert machine.memory_bytes == 16 << 20


def test_features_of_an_arm_cpu_are_read(tmp_path: Path) -> None:
    assert survey(lay(tmp_path, {"proc/cpuinfo": "Features : fp asimd bf16\n"})).cpu_flags == {
        "fp",
        "asimd",
        "bf16",
    }


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, CORES),
        ({"sys/fs/cgroup/cpu.max": "99900000 100000\n"}, CORES),
        ({"sys/fs/cgroup/cpu.max": "garbage"}, CORES),
        ({"sys/fs/cgroup/cpu.max": "100000 0"}, CORES),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "100000 100000"}, 1),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/c/cpu.max": "100000 100000"}, CORES),
        (
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            1,
        ),
        (
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            CORES,
        ),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    assert survey(lay(tmp_path, files)).n_cores == limit


@pytest.mark.parametrize("name", ["sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"])
def test_the_memory_of_a_container_counts(tmp_path: Path, name: str) -> None:
    root = lay(tmp_path, {"proc/meminfo": "MemTotal: 16384 kB\n", name: "1048576\n"})
    assert survey(root).memory_bytes == 1 << 20


def test_a_container_without_a_limit_has_the_machines_memory(tmp_path: Path) -> None:
    root = lay(tmp_path, {"proc/meminfo": "MemTotal: 16384 kB\n", "sys/fs/cgroup/memory.max": "max\n"})
    assert survey(root).memory_bytes == 16 << 20


WITH_GPU = Machine(2, frozenset({"avx2"}), 1 << 34, frozenset({"torch"}), has_cuda=True, has_cuda_bf16=True)


def test_a_gpu_can_be_left_alone() -> None:
    without = replace(WITH_GPU, has_cuda=False, has_cuda_bf16=False)
    assert limited_to(WITH_GPU, "cpu") == limited_to(without, "cpu") == limited_to(without, "auto") == without
    assert limited_to(WITH_GPU, "auto") == limited_to(WITH_GPU, "cuda") == WITH_GPU


def test_a_gpu_that_is_not_there_is_not_replaced() -> None:
    with pytest.raises(UsageError, match="sees no GPU"):
        limited_to(replace(WITH_GPU, has_cuda=False), "cuda")


def test_a_survey_without_a_gpus_driver_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from topwork.engines.machine import survey;"
        "survey(Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=False, env={**os.environ, "PATH": ""}
    )
    assert done.returncode == 0


def test_keeping_memory_works_on_glibc_and_is_harmless_elsewhere() -> None:
    code = (
        "import sys; from topwork.engines.memory import keep_memory; kept = keep_memory();"
        "import numpy as np; [np.ones(1 << 24).sum() for _ in range(4)]; print(kept)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")


def test_keeping_memory_spares_page_faults() -> None:
    pytest.importorskip("resource")
    code = (
        "import resource, sys, numpy as np; from topwork.engines.memory import keep_memory\n"
        "kept = sys.argv[1] == 'kept' and keep_memory()\n"
        "for _ in range(20): np.ones(1 << 23)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): np.ones(1 << 23)\n"
        "print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )

    def faults(mode: str) -> tuple[int, int]:
        done = subprocess.run([sys.executable, "-c", code, mode], check=True, capture_output=True, text=True)
        took, count = done.stdout.split()
        return int(took), int(count)

    took, few = faults("kept")
    if not took:
        pytest.skip("this system's malloc is not glibc's")
    assert few * 10 < faults("plain")[1]


def test_a_user_who_chose_how_a_gpu_sums_is_not_overruled() -> None:
    program = (
        "import os; from topwork.engines.memory import sum_in_order;"
        "sum_in_order(); print(os.environ['CUBLAS_WORKSPACE_CONFIG'])"
    )
    name = "CUBLAS_WORKSPACE_CONFIG"
    for chosen, expected in ({}, ":4096:8"), ({name: ":16:8"}, ":16:8"):
        around = {key: value for key, value in os.environ.items() if key != name} | chosen
        command = [sys.executable, "-c", program]
        said = subprocess.run(command, env=around, capture_output=True, text=True, check=True)
        assert said.stdout.strip() == expected


def test_a_user_who_chose_how_threads_wait_is_not_overruled() -> None:
    program = (
        "import os; from topwork.engines.memory import rest_while_waiting;"
        "rest_while_waiting(); print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"
    )
    for chosen, expected in ({}, "PASSIVE 20000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"):
        set_before = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
        around = {name: value for name, value in os.environ.items() if name not in set_before} | chosen
        said = subprocess.run(
            [sys.executable, "-c", program], env=around, capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == expected
