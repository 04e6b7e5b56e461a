"""A CUDA device that is none: arithmetic of the CPU on tensors that say they are on a GPU, with the errors CUDA would raise.

``with pretend_cuda(): ...`` finds on any machine what else only a GPU would: tensors of two devices in one call, ``.numpy()``
of a GPU's tensor, a generator of the wrong device. The memory-efficient attention operator pads its log-normaliser as CUDA's
does. Random numbers are those of the CPU, so that answers can be compared with it. What a backward pass does is not judged, for
autograd hands its functions tensors without their device; nor is what is compiled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
_aten = torch.ops.aten

_ANYWHERE = {"copy_", "type_as", "result_type", "can_cast", "set_", "is_set_to", "__set__", "__deepcopy__"}
"""What takes tensors of several devices."""
_NO_SCALARS = {"cat", "stack", "searchsorted", "gather", "index_select", "matmul", "__matmul__", "bmm", "mm", "solve", "einsum"}
"""What does not take even a number of the CPU beside tensors of a GPU."""
_VIEWS = {"T", "mT", "H", "mH", "real", "imag", "data", "grad"}
_PLAIN = {int, float, bool, str, type(None), torch.dtype, torch.device, slice, type(...)}


class OnGPU(Tensor):
    """A tensor that counts as on the GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __reduce_ex__(self, protocol: int) -> Any:
        return _untag(self).__reduce_ex__(protocol)  # what a file holds goes where its reader wants it

    def __format__(self, spec: str) -> str:
        return format(_untag(self), spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        with torch._C.DisableTorchFunction():
            copied = _tag(self.detach().clone()).requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            copied._is_param = True  # by which modules know parameters of other types than their own
        return memo.setdefault(id(self), copied)


class Generator(torch._C.Generator):
    """A generator that says on which device it is."""

    def __new__(cls, device: torch.device | str = "cpu") -> Generator:
        made = super().__new__(cls, "cpu")
        made._here = GPU if _is_gpu(device) else CPU
        return made

    def __init__(self, device: torch.device | str = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:
        return self._here


def _is_gpu(device: torch.device | str) -> bool:
    return torch.device(device).type == "cuda"


def _tag(tensor: Tensor) -> Tensor:
    return tensor if type(tensor) is OnGPU else tensor.as_subclass(OnGPU)


def _untag(value: Any) -> Any:
    return value.as_subclass(Tensor) if type(value) is OnGPU else value


def _tagged(answer: Any) -> Any:
    """An answer with all its tensors on the GPU."""
    if isinstance(answer, Tensor):
        return _tag(answer)
    if not isinstance(answer, (list, tuple)):
        return answer
    parts = [_tagged(part) for part in answer]
    return type(answer)(*parts) if hasattr(answer, "_fields") else type(answer)(parts)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if type(value) in _PLAIN:
            continue
        if isinstance(value, (list, tuple)):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value


# What is not done by the function itself; each is called with it and its arguments.


def _attribute(func: Any, tensor: Tensor) -> Any:
    name = func.__self__.__name__
    if type(tensor) is not OnGPU:
        return func(tensor)
    if name in ("device", "is_cuda", "is_cpu"):
        return {"device": GPU, "is_cuda": True, "is_cpu": False}[name]
    return _tagged(func(tensor)) if name in _VIEWS else func(tensor)


def _same(func: Any, *args: Any) -> Any:
    return func(*args)


def _numpy(func: Any, tensor: Tensor, *args: Any, **options: Any) -> Any:
    if type(tensor) is OnGPU:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it to host memory first")
    return func(tensor, *args, **options)


def _parse_to(func: Any, *args: Any, **options: Any) -> Any:
    device, *rest = func(*args, **options)
    return (GPU if any(type(value) is OnGPU for value in args) else device, *rest)


def _moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor itself where it is there already."""
    if _is_gpu(device) == (type(tensor) is OnGPU):
        return tensor
    return _untag(tensor).clone() if type(tensor) is OnGPU else _tag(tensor.clone())


def _to(_: Any, source: Tensor, *args: Any, device: Any = None, dtype: Any = None, copy: bool = False, **__: Any) -> Tensor:
    for value in args:
        if isinstance(value, Tensor):
            device, dtype = GPU if type(value) is OnGPU else CPU, value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, (str, torch.device)):
            device = value
    changed = source.to(dtype or source.dtype, copy=copy)
    changed = _tag(changed) if type(source) is OnGPU else changed
    return changed if device is None else _moved(changed, device)


def _gradients(func: Any, outputs: Any, inputs: Any, *args: Any, **options: Any) -> Any:
    grads = func(outputs, inputs, *args, **options)
    inputs = [inputs] if isinstance(inputs, Tensor) else inputs
    return tuple(_tagged(g) if type(x) is OnGPU else g for g, x in zip(grads, inputs, strict=True))


def _attention(_: Any, q: Tensor, k: Tensor, v: Tensor, *__: Any, scale: float) -> tuple[Tensor, ...]:
    out, lse = _aten._scaled_dot_product_flash_attention_for_cpu(*map(_untag, (q, k, v)), 0.0, False, scale=scale)
    lse = torch.nn.functional.pad(lse, (0, -q.shape[2] % 32), value=float("inf"))
    seed = torch.zeros((), dtype=torch.int64, device="cpu")
    return _tag(out), _tag(lse), _tag(seed), _tag(seed.clone())


def _attention_backward(_: Any, *args: Any, scale: float) -> tuple[Tensor | None, ...]:
    grad, q, k, v, _mask, out, lse = map(_untag, args[:7])
    assert lse.shape[-1] % 32 == 0, "the log-normaliser is wanted back with its padding"
    lse = lse[..., : q.shape[2]].contiguous()
    grads = _aten._scaled_dot_product_flash_attention_for_cpu_backward(grad, q, k, v, out, lse, 0.0, False, scale=scale)
    return (*map(_tag, grads), None)


_OWN: dict[str, Callable[..., Any]] = {
    "__get__": _attribute,
    **dict.fromkeys(("_has_compatible_shallow_copy_type", "is_floating_point", "is_complex", "is_same_size"), _same),
    **dict.fromkeys(("numpy", "__array__"), _numpy),
    "_parse_to": _parse_to,
    "to": _to,
    "cpu": lambda func, tensor: _moved(tensor, CPU),
    "cuda": lambda func, tensor: _moved(tensor, GPU),
    "grad": _gradients,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_efficient_attention_backward": _attention_backward,
}


class _Mode(TorchFunctionMode):
    """Every call of torch, judged and answered."""

    backward = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        own = _OWN.get(name)
        return self._run(func, name, args, kwargs) if own is None else own(func, *args, **kwargs)

    def _run(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        tensors = [*_tensors(args), *_tensors(kwargs.values())]
        mixed = any(type(tensor) is OnGPU for tensor in tensors)
        device = kwargs.get("device")
        if device is None and func in _device_constructors():
            device = _default()
        here = mixed if device is None else _is_gpu(device)
        if name == "__getitem__":
            here = type(args[0]) is OnGPU
        if device is not None:
            kwargs["device"] = CPU if here else device
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch._C.Generator) and (value.device.type == "cuda") != here:
                raise RuntimeError(f"Expected a {GPU if here else CPU} generator in {name}, found one of {value.device}")
        if mixed and device is None and not self.backward and name not in _ANYWHERE:
            _check_devices(name, args, tensors)
        answer = func(*args, **kwargs)
        return _tagged(answer) if here else _untag(answer)


def _default() -> torch.device | None:
    """What ``torch.set_default_device`` set."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else context.device


def _check_devices(name: str, args: Any, tensors: list[Tensor]) -> None:
    """Raises RuntimeError where CUDA would find two devices in one call; numbers of the CPU go with most things."""
    if name in ("__getitem__", "__setitem__"):
        indices = [*_tensors(args[1] if isinstance(args[1], tuple) else args[1:2])]
        # Indices of the CPU do for tensors of the GPU, but not the other way round; a slice is copied into.
        tensors = [args[0], *(index for index in indices if type(index) is OnGPU and index.ndim)]
        tensors += _tensors(args[2:]) if indices else ()
    least = 0 if name in _NO_SCALARS else 1
    shapes = [tuple(t.shape) for t in tensors if type(t) is not OnGPU and t.ndim >= least]
    if shapes and any(type(t) is OnGPU for t in tensors):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, found cuda:0 and cpu in {name}: {shapes} of the CPU"
        )


@contextmanager
def pretend_cuda() -> Iterator[None]:
    """Lets ``cuda`` be a device, for tensors and generators made inside."""
    mode, run, future = _Mode(), torch.autograd._engine_run_backward, torch.__future__

    def backward(*args: Any, **kwargs: Any) -> Any:
        # Whoever asked for gradients did so from inside the mode, which is off there.
        mode.backward, before = True, mode.backward
        try:
            with mode:
                return run(*args, **kwargs)
        finally:
            mode.backward = before

    overwrites = future.get_overwrite_module_params_on_conversion()
    future.set_overwrite_module_params_on_conversion(True)  # or a parameter's type would stay what it was
    try:
        with (
            mock.patch.object(torch, "Generator", Generator),
            mock.patch.object(torch.autograd, "_engine_run_backward", backward),
            mock.patch.object(torch.cuda, "mem_get_info", return_value=(2**34, 2**34)),
            warnings.catch_warnings(),
            mode,
        ):
            warnings.filterwarnings("ignore", ".*CUDA is not available.*")  # autocast, which then does nothing
            yield
    finally:
        future.set_overwrite_module_params_on_conversion(overwrites)
