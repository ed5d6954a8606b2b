"""Training steps on a CUDA device that isn't there: every operation is real in all but its numbers.

`library.load()`, before torch is imported, gives a CPU build of torch a CUDA device. On it tensors are fake:
they have shapes, types and devices, and torch chooses operations for them as on a GPU. So a trace of a step
shows what a GPU would be told to do (`trace.py`): which kernels, how many bytes, whether the CPU waits. Not
how long it takes, nor whether kernels compute what they should.

python tests/fake_cuda < cases.jsonl      one report for each case, a line of JSON (__main__.py)
"""
