// Sum of n floats: shuffles within warps, shared memory between warps, one atomic for each block.
#include "device.h"
KERNEL reduce(const float *x, float *out, int n) {
  __shared__ float partial[32];
  float sum = 0;
  for (int i = block() * threads() + tid(); i < n; i += blocks() * threads()) sum += x[i];
  for (int by = 16; by > 0; by /= 2) sum += shfl_down(sum, by);
  if (tid() % 32 == 0) partial[tid() / 32] = sum;
  sync();
  if (tid() < 32) {
    sum = tid() < threads() / 32 ? partial[tid()] : 0.0f;
    for (int by = 16; by > 0; by /= 2) sum += shfl_down(sum, by);
    if (tid() == 0) __nvvm_atom_add_gen_f(out, sum);
  }
}
