import sys
import time

import numpy as np
import pytest

from models.studies import memory
from models.studies.memory import PeakMemory, resident_gb

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@linux
def test_a_process_has_some_memory():
    assert 0.01 < resident_gb() < 1000


@linux
def test_the_peak_outlives_what_caused_it():
    before = resident_gb()
    with PeakMemory() as peak:
        held = np.ones(25_000_000)
        deadline = time.monotonic() + 60
        while peak.gigabytes < before + 0.15 and time.monotonic() < deadline:
            time.sleep(0.01)
        del held
        after = resident_gb()
    assert peak.gigabytes >= before + 0.15
    assert peak.gigabytes >= after + 0.1


@linux
def test_even_the_shortest_work_is_seen_and_errors_pass():
    with pytest.raises(KeyError), PeakMemory() as peak:
        raise KeyError
    assert peak.gigabytes > 0


def test_where_the_system_does_not_tell_it_is_zero(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert resident_gb() == 0
    with PeakMemory() as peak:
        pass
    assert peak.gigabytes == 0
    (tmp_path / "status").write_text("Name: x\nVmRSS:\t 2500000 kB\n")
    assert resident_gb() == 2.56
