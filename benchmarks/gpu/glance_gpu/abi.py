"""The C ABI of include/glance/*.h, version 5: its constants and structs, and the functions that fail with a message."""
import ctypes
from ctypes import POINTER, c_char, c_char_p, c_float, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

ABI_VERSION = 5
OK, INVALID_ARGUMENT, UNSUPPORTED = 0, 1, 2
F32, BF16, F16 = 1, 2, 3
CPU, CUDA = 0, 1
CFG_NONE, CFG_PLAIN, CFG_RESCALED = 0, 1, 2
ROUND_ONCE, ROUND_EACH = 0, 1
NORM_LAYER, NORM_RMS = 0, 1
EPILOGUE_NONE, EPILOGUE_GELU_TANH, EPILOGUE_GATED_RESIDUAL = 0, 1, 2
MATMUL_AUTO, MATMUL_MMA, MATMUL_WGMMA, MATMUL_CUBLASLT = 0, 1, 2, 3


class CudaDevice(ctypes.Structure):
    _fields_ = [("struct_size", c_int64), ("memory_bytes", c_int64), ("compute_major", c_int32),
                ("compute_minor", c_int32), ("name", c_char * 256)]


class MatrixArgs(ctypes.Structure):
    _fields_ = [("struct_size", c_int64), ("data", c_void_p), ("rows", c_int64), ("columns", c_int64),
                ("row_stride", c_int64), ("column_stride", c_int64), ("dtype", c_int32), ("device", c_int32),
                ("device_index", c_int32), ("reserved", c_int32)]


class Segment(ctypes.Structure):
    _fields_ = [("begin", c_int64), ("end", c_int64), ("adapter", c_int32), ("reserved", c_int32)]


class Adapter(ctypes.Structure):
    _fields_ = [("down", c_void_p), ("scale", c_float), ("reserved", c_int32)]


class AdapterTable(ctypes.Structure):
    _fields_ = [("adapters", POINTER(Adapter)), ("segments", POINTER(Segment)), ("adapter_count", c_int32),
                ("segment_count", c_int32), ("selection", c_void_p)]


class Up(ctypes.Structure):
    _fields_ = [("up", c_void_p), ("first", c_int64)]


class Linear(ctypes.Structure):
    _fields_ = [("weight", c_void_p), ("bias", c_void_p), ("y", c_void_p), ("y_stride", c_int64),
                ("gate", c_void_p), ("gate_stride", c_int64), ("rows_per_gate", c_int64), ("residual", c_void_p),
                ("residual_stride", c_int64), ("epilogue", c_int32), ("reserved", c_int32)]


class LoraLinearArgs(ctypes.Structure):
    _fields_ = [("struct_size", c_int64), ("x", c_void_p), ("rows", c_int64), ("x_stride", c_int64),
                ("linears", POINTER(Linear)), ("ups", POINTER(Up)), ("adapters", AdapterTable), ("h", c_void_p),
                ("h_stride", c_int64), ("linear_count", c_int32), ("dtype", c_int32), ("device", c_int32),
                ("device_index", c_int32), ("workspace", c_void_p), ("workspace_bytes", c_int64),
                ("matmul", c_int32), ("tile_columns", c_int32)]


class LoraLinearBackwardArgs(ctypes.Structure):
    _fields_ = [("struct_size", c_int64), ("x", c_void_p), ("dy", c_void_p), ("down", c_void_p), ("up", c_void_p),
                ("weight_transposed", c_void_p), ("dx", c_void_p), ("d_down", c_void_p), ("d_up", c_void_p),
                ("rows", c_int64), ("in_features", c_int64), ("out_features", c_int64), ("rank", c_int64),
                ("x_stride", c_int64), ("dy_stride", c_int64), ("down_stride", c_int64), ("up_stride", c_int64),
                ("dx_stride", c_int64), ("d_down_stride", c_int64), ("d_up_stride", c_int64), ("scale", c_float),
                ("accumulate", c_int32), ("dtype", c_int32), ("device", c_int32), ("device_index", c_int32),
                ("reserved", c_int32), ("workspace", c_void_p), ("workspace_bytes", c_int64)]


class FlowStepArgs(ctypes.Structure):
    _fields_ = [("struct_size", c_int64), ("latents", c_void_p), ("v_pos", c_void_p), ("v_neg", c_void_p),
                ("latents_bf16", c_void_p), ("rows", c_int64), ("columns", c_int64), ("latents_stride", c_int64),
                ("v_pos_stride", c_int64), ("v_neg_stride", c_int64), ("latents_bf16_stride", c_int64),
                ("latents_dtype", c_int32), ("velocity_dtype", c_int32), ("cfg_mode", c_int32),
                ("rounding", c_int32), ("cfg_scale", c_float), ("sigma", c_float), ("sigma_next", c_float),
                ("device", c_int32), ("device_index", c_int32), ("reserved", c_int32), ("schedule", c_void_p)]


class ModulatedNormArgs(ctypes.Structure):
    _fields_ = [("struct_size", c_int64), ("x", c_void_p), ("y", c_void_p), ("scale", c_void_p),
                ("shift", c_void_p), ("h", c_void_p), ("rows", c_int64), ("columns", c_int64), ("x_stride", c_int64),
                ("y_stride", c_int64), ("scale_stride", c_int64), ("shift_stride", c_int64),
                ("rows_per_group", c_int64), ("h_stride", c_int64), ("adapters", AdapterTable),
                ("epsilon", c_float), ("norm", c_int32), ("dtype", c_int32), ("device", c_int32),
                ("device_index", c_int32), ("reserved", c_int32)]


class GatedResidualArgs(ctypes.Structure):
    _fields_ = [("struct_size", c_int64), ("residual", c_void_p), ("update", c_void_p), ("gate", c_void_p),
                ("y", c_void_p), ("rows", c_int64), ("columns", c_int64), ("residual_stride", c_int64),
                ("update_stride", c_int64), ("gate_stride", c_int64), ("rows_per_gate", c_int64),
                ("y_stride", c_int64), ("dtype", c_int32), ("device", c_int32), ("device_index", c_int32),
                ("reserved", c_int32)]


class QkNormRopeArgs(ctypes.Structure):
    _fields_ = [("struct_size", c_int64), ("q", c_void_p), ("k", c_void_p), ("v", c_void_p), ("q_weight", c_void_p),
                ("k_weight", c_void_p), ("rotation", c_void_p), ("q_out", c_void_p), ("k_out", c_void_p),
                ("v_out", c_void_p), ("batch", c_int64), ("tokens", c_int64), ("heads", c_int64), ("dim", c_int64),
                ("in_batch_stride", c_int64), ("in_token_stride", c_int64), ("out_batch_stride", c_int64),
                ("out_head_stride", c_int64), ("out_token_stride", c_int64), ("epsilon", c_float),
                ("dtype", c_int32), ("out_dtype", c_int32), ("device", c_int32), ("device_index", c_int32),
                ("reserved", c_int32)]


# Each operation's function takes its struct and a stream.
OPERATIONS: dict[str, type[ctypes.Structure]] = {
    "lora_linear": LoraLinearArgs,
    "lora_linear_backward": LoraLinearBackwardArgs,
    "flow_step": FlowStepArgs,
    "modulated_norm": ModulatedNormArgs,
    "gated_residual": GatedResidualArgs,
    "qk_norm_rope": QkNormRopeArgs,
}
WITH_WORKSPACE = ("lora_linear", "lora_linear_backward")


class GlanceError(RuntimeError):
    """A call's status that is not OK, with the library's message."""

    def __init__(self, status: int, message: str):
        super().__init__(f"{message} (status {status})")
        self.status = status
        self.message = message


class Library:
    """The shared library; its methods raise GlanceError."""

    def __init__(self, path: Path):
        self._native = ctypes.CDLL(str(path))
        self._native.glance_last_error.restype = c_char_p
        self._native.glance_cuda_architectures.restype = c_char_p
        self._native.glance_cpu_features.restype = c_char_p
        self._functions: dict[str, Any] = {}
        self._queries: dict[str, Any] = {}
        version = self._native.glance_abi_version()
        if version != ABI_VERSION:
            raise GlanceError(INVALID_ARGUMENT, f"{path} has ABI version {version}, this kit is for {ABI_VERSION}")
        for name, struct in OPERATIONS.items():
            self._functions[name] = self._function("glance_" + name, POINTER(struct), c_void_p)
        for name in WITH_WORKSPACE:
            self._queries[name] = self._function(
                f"glance_{name}_workspace", POINTER(OPERATIONS[name]), POINTER(c_int64))
        self._create = self._function("glance_matrix_create", POINTER(MatrixArgs), POINTER(c_void_p))
        self._destroy = self._native.glance_matrix_destroy
        self._destroy.argtypes = [c_void_p]
        self._destroy.restype = None

    def _function(self, name: str, *arguments: Any) -> Any:
        function = getattr(self._native, name)
        function.argtypes = list(arguments)
        function.restype = c_int32
        return function

    def _check(self, status: int) -> None:
        if status != OK:
            raise GlanceError(status, self._native.glance_last_error().decode())

    def run(self, operation: str, args: ctypes.Structure, stream: int | None) -> None:
        status = self._functions[operation](args, stream)
        if status != OK:
            self._check(status)

    def workspace_bytes(self, operation: str, args: ctypes.Structure) -> int:
        size = c_int64()
        self._check(self._queries[operation](args, size))
        return size.value

    def create_matrix(self, args: MatrixArgs) -> int:
        handle = c_void_p()
        self._check(self._create(args, handle))
        assert handle.value is not None
        return handle.value

    def destroy_matrix(self, handle: int) -> None:
        self._destroy(handle)

    def architectures(self) -> str:
        return self._native.glance_cuda_architectures().decode()

    def cpu_features(self) -> str:
        return self._native.glance_cpu_features().decode()

    def driver_version(self) -> str:
        """The newest CUDA the driver supports; raises without one."""
        driver, count = c_int32(), c_int32()
        self._check(self._native.glance_cuda_query(ctypes.byref(driver), ctypes.byref(count)))
        return f"{driver.value // 1000}.{driver.value % 1000 // 10}"

    def check_layouts(self) -> None:
        """Every struct here has the size that the library was compiled with: it refuses any other."""
        for name, struct in OPERATIONS.items():
            args = struct()
            args.struct_size = ctypes.sizeof(struct)
            try:
                # Nothing else in it is right, which is reported only if the size is.
                self.run(name, args, None)
            except GlanceError as error:
                if "struct_size" in error.message:
                    raise GlanceError(error.status, f"the layout of {struct.__name__} here is not the library's: "
                                      + error.message) from None
