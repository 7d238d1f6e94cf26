"""Instructions for bfloat16 are found by whatever torch and Linux name, and not made up."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg.runtime import bfloat16

X86 = "processor\t: 0\nflags\t\t: fpu avx512f {}\nbugs\t\t: bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd {}\nCPU part\t: 0xd40\n"


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A torch that tells nothing, as 2.3 does, on a system without /proc/cpuinfo; set what a machine has."""
    for name in ("get_capabilities", *bfloat16.PROBES):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    monkeypatch.setattr(bfloat16, "CPUINFO", tmp_path / "cpuinfo")
    return monkeypatch


def test_who_tells_nothing_has_nothing(bare):
    assert bfloat16.has_bfloat16() is False


@pytest.mark.parametrize(
    ("text", "there"),
    [
        (X86.format("avx512_bf16"), True),
        (X86.format("amx_tile amx_bf16"), True),
        (X86.format("avx512_vnni"), False),
        (ARM.format("i8mm bf16"), True),
        (ARM.format("asimdhp"), False),
        ("processor : 0\n", False),
    ],
)
def test_linux_names_it(bare, text, there):
    bfloat16.CPUINFO.write_text(text)
    assert bfloat16.has_bfloat16() is there


@pytest.mark.parametrize("name", bfloat16.PROBES)
@pytest.mark.parametrize("there", [True, False])
def test_a_probe_of_torch_tells(bare, name, there):
    bare.setattr(torch.cpu, name, lambda: there, raising=False)
    assert bfloat16.has_bfloat16() is there


@pytest.mark.parametrize("name", sorted(bfloat16.INSTRUCTIONS))
@pytest.mark.parametrize("there", [True, False])
def test_a_list_of_torch_tells(bare, name, there):
    found = {name: there, "avx2": True, "architecture": "bf16", "num_sockets": 1}
    bare.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert bfloat16.has_bfloat16() is there
