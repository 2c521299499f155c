"""Networks in 8 bits, by onnxruntime's own quantisation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = ["Conv", "MatMul", "Gemm"]
DENSE = ["MatMul", "Gemm"]  # what can be quantised without data: a convolution would be slower


def quantise(path: Path, arrays: dict[str, np.ndarray] | None) -> None:
    """Replace a network by one in 8 bits.

    Parameters
    ----------
    path : Path
        Its ONNX file.
    arrays : dict of str to ndarray, optional
        Samples by modality that tell how large the values between layers are. Without them the weights of dense
        layers alone are put into 8 bits.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    logging.getLogger().addFilter(_no_advice)
    props = {one.key: one.value for one in onnx.load(str(path)).metadata_props}
    written = path.with_name(f"{path.name}.8")
    try:
        if arrays is None:
            quantize_dynamic(path, written, weight_type=QuantType.QInt8, op_types_to_quantize=DENSE)
        else:
            quantize_static(
                path,
                written,
                _Samples(path, arrays),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=LAYERS,
            )
        model = onnx.load(str(written))
        onnx.helper.set_model_props(model, props)
        path.write_bytes(model.SerializeToString())
    finally:
        written.unlink(missing_ok=True)
        logging.getLogger().removeFilter(_no_advice)


def _no_advice(record: logging.LogRecord) -> bool:
    """Return whether a message is more than advice to prepare the network, which the exporter has done."""
    return "pre-processing" not in record.getMessage()


class _Samples:
    """One sample after the other, as onnxruntime asks for them."""

    def __init__(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        import onnx

        names = [one.name for one in onnx.load(str(path)).graph.input]
        count = len(next(iter(arrays.values())))
        batches = [[value[i : i + 1] for value in arrays.values()] for i in range(count)]
        self._batches = iter([dict(zip(names, batch, strict=True)) for batch in batches])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)
