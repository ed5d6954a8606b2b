"""What libraries beside torch say where its tensors have taken all of a GPU's memory."""

NCCL_MEMORY = (
    "NCCL error in: x.cpp:94, unhandled cuda error (run with NCCL_DEBUG=INFO for details)\n"
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 2 'out of memory'"
)
CUDNN_MEMORY = "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"
