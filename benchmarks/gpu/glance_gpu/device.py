"""Where the kernels run: a CUDA device, or, for rehearsals, the CPU."""
import ctypes
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from . import abi

Call = Callable[[], object]


class Batch:
    """Some calls that are timed together."""

    def __init__(self, calls: Sequence[Call]):
        self.calls = calls

    def run(self) -> float:
        """Seconds for one call."""
        raise NotImplementedError


class Device:
    """What the cases need of a device."""

    torch_device: torch.device
    abi_device: int
    index: int = 0
    # Sets of tensors rotate through more memory than this, so that none is found in a cache.
    cache_bytes: int

    def __init__(self) -> None:
        self._workspace: torch.Tensor | None = None

    def stream(self) -> int | None:
        raise NotImplementedError

    def synchronize(self) -> None:
        raise NotImplementedError

    def batch(self, calls: Sequence[Call]) -> Batch:
        raise NotImplementedError

    def estimate(self, calls: Sequence[Call]) -> float:
        """Seconds for one call, roughly; warms up as well."""
        raise NotImplementedError

    def kernels(self, call: Call) -> int | None:
        """How many kernels the call launches, if that can be told."""
        raise NotImplementedError

    def facts(self, library: abi.Library) -> dict[str, str]:
        raise NotImplementedError

    def free_bytes(self) -> int:
        raise NotImplementedError

    def workspace(self, size: int) -> torch.Tensor:
        """Memory that calls on one stream may share; aligned to 256 bytes."""
        if self._workspace is None or self._workspace.numel() < size:
            memory = torch.empty(size + 255, dtype=torch.uint8, device=self.torch_device)
            self._workspace = memory[-memory.data_ptr() % 256:][:size]
        return self._workspace

    def forget(self) -> None:
        """Gives back what the last case needed."""
        self._workspace = None

    def is_lost(self) -> bool:
        """Whether an error has left the device unusable for this process."""
        return False

    def how_timed(self) -> str:
        raise NotImplementedError


class CpuBatch(Batch):
    def run(self) -> float:
        start = time.perf_counter()
        for call in self.calls:
            call()
        return (time.perf_counter() - start) / len(self.calls)


class CpuDevice(Device):
    """The library's CPU backend, on PyTorch's CPU tensors."""

    torch_device = torch.device("cpu")
    abi_device = abi.CPU
    cache_bytes = 0

    def stream(self) -> int | None:
        return None

    def synchronize(self) -> None:
        pass

    def batch(self, calls: Sequence[Call]) -> Batch:
        return CpuBatch(calls)

    def estimate(self, calls: Sequence[Call]) -> float:
        return CpuBatch(calls).run()

    def kernels(self, call: Call) -> int | None:
        return None

    def facts(self, library: abi.Library) -> dict[str, str]:
        return {"device": f"CPU ({platform.processor() or platform.machine()}), a rehearsal without a GPU",
                "kernels for": library.cpu_features(), "driver": "none"}

    def free_bytes(self) -> int:
        return 1 << 30

    def how_timed(self) -> str:
        return "are timed on the CPU, which is a rehearsal: NO FIGURE HERE MEANS ANYTHING"


class GraphBatch(Batch):
    """The calls captured as one CUDA graph, so that what is timed is the device and not Python."""

    def __init__(self, calls: Sequence[Call]):
        super().__init__(calls)
        self._graph = captured(calls)
        self._start = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)

    def run(self) -> float:
        # The device is busy until the graph is queued, so that the start is not before its first kernel can run.
        torch.cuda._sleep(_QUEUEING_CYCLES)
        self._start.record()
        self._graph.replay()
        self._end.record()
        self._end.synchronize()
        return self._start.elapsed_time(self._end) / 1000 / len(self.calls)


# Some 0.3 ms.
_QUEUEING_CYCLES = 500_000


def captured(calls: Sequence[Call], **options: bool) -> torch.cuda.CUDAGraph:
    """The calls as a graph. torch.cuda.graph would collect garbage each time, which takes longer than to measure."""
    graph = torch.cuda.CUDAGraph(**options)
    torch.cuda.synchronize()
    graph.capture_begin()
    try:
        for call in calls:
            call()
    finally:
        graph.capture_end()
    return graph


class CudaDevice(Device):
    """One NVIDIA GPU."""

    abi_device = abi.CUDA

    def __init__(self, index: int = 0):
        super().__init__()
        if not torch.cuda.is_available():
            raise SystemExit("PyTorch finds no CUDA device; --dry-run rehearses on the CPU")
        torch.cuda.set_device(index)
        self.index = index
        self.torch_device = torch.device("cuda", index)
        # The default stream cannot be captured.
        torch.cuda.set_stream(torch.cuda.Stream(index))
        properties = torch.cuda.get_device_properties(index)
        self.cache_bytes = getattr(properties, "L2_cache_size", 64 << 20)
        self.capability = (properties.major, properties.minor)

    def stream(self) -> int | None:
        return torch.cuda.current_stream().cuda_stream

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def batch(self, calls: Sequence[Call]) -> Batch:
        return GraphBatch(calls)

    def estimate(self, calls: Sequence[Call]) -> float:
        for call in calls:
            call()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for call in calls:
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / len(calls)

    def kernels(self, call: Call) -> int | None:
        """The nodes of a graph that the call is captured in."""
        call()
        try:
            runtime = ctypes.CDLL(f"libcudart.so.{(torch.version.cuda or '').split('.')[0]}")
            graph = captured([call], keep_graph=True)
        except (TypeError, OSError):
            return None
        count = ctypes.c_size_t()
        status = runtime.cudaGraphGetNodes(ctypes.c_void_p(graph.raw_cuda_graph()), None, ctypes.byref(count))
        return count.value if status == 0 else None

    def facts(self, library: abi.Library) -> dict[str, str]:
        properties = torch.cuda.get_device_properties(self.index)
        return {"device": f"{properties.name}, compute capability {properties.major}.{properties.minor}, "
                          f"{properties.multi_processor_count} SMs, {properties.total_memory / 2**30:.0f} GiB, "
                          f"L2 {self.cache_bytes / 2**20:.0f} MiB",
                "kernels for": library.architectures(), "driver": _driver(library)}

    def free_bytes(self) -> int:
        return torch.cuda.mem_get_info(self.index)[0]

    def forget(self) -> None:
        super().forget()
        torch.cuda.empty_cache()

    def is_lost(self) -> bool:
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            return True
        return False

    def how_timed(self) -> str:
        return "are captured in CUDA graphs and timed with events"


def _driver(library: abi.Library) -> str:
    version: Any = ""
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8") as file:
            words = file.readline().split()
            version = next((word for word in words if word[:1].isdigit()), "")
    except OSError:
        pass
    return f"{version} (CUDA up to {library.driver_version()})".strip()
