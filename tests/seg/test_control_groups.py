import pytest

from seg.control_groups import cpu_quota, memory_left, memory_limit

V2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.fixture
def machine(tmp_path):
    """Writes what the kernel of a machine tells, and gives its root."""

    def of(mounts, group, files):
        told = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
        told |= {"proc/self/mountinfo": mounts, "proc/self/cgroup": group}
        for name, text in told.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return of


def test_half_a_core_of_version_2_is_half_a_core(machine):
    root = machine(V2, "0::/\n", {"cpu.max": "50000 100000\n"})
    assert cpu_quota(root) == 0.5


def test_the_narrowest_of_nested_groups_counts(machine):
    root = machine(
        V2,
        "0::/pod/container\n",
        {
            "pod/cpu.max": "150000 100000\n",
            "pod/container/cpu.max": "max 100000\n",
            "pod/memory.max": "1000\n",
            "pod/memory.current": "600\n",
            "pod/memory.stat": "anon 300\ninactive_file 200\n",
            "pod/container/memory.max": "max\n",
        },
    )
    assert cpu_quota(root) == 1.5
    assert memory_limit(root) == 1000
    assert memory_left(root) == 600


@pytest.mark.parametrize("mounted", ["/", "/docker/0123"])
def test_a_container_of_version_1_is_found_by_its_mount(machine, mounted):
    """Docker shows a container its own group at the mount, and names it from outside."""
    below = "docker/0123/" if mounted == "/" else ""
    root = machine(
        V1.format(root=mounted),
        "4:memory:/docker/0123\n1:cpu,cpuacct:/docker/0123\n0::/\n",
        {
            f"cpu,cpuacct/{below}cpu.cfs_quota_us": "250000\n",
            f"cpu,cpuacct/{below}cpu.cfs_period_us": "100000\n",
            f"memory/{below}memory.limit_in_bytes": "4096\n",
            f"memory/{below}memory.usage_in_bytes": "1024\n",
        },
    )
    assert cpu_quota(root) == 2.5
    assert memory_left(root) == 3072


def test_no_limit_is_none(machine, tmp_path):
    root = machine(
        V1.format(root="/"),
        "4:memory:/\n1:cpu,cpuacct:/\n",
        {
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/memory.usage_in_bytes": "1024\n",
        },
    )
    assert cpu_quota(root) is None
    assert memory_limit(root) is None
    assert memory_left(root) is None
    assert cpu_quota(tmp_path / "elsewhere") is None
