// Counts of bytes: atomics in shared memory, then in global memory.
#include "device.h"
KERNEL histogram(const unsigned char *data, unsigned *counts, int n) {
  __shared__ int local[256];
  for (int i = tid(); i < 256; i += threads()) local[i] = 0;
  sync();
  for (int i = block() * threads() + tid(); i < n; i += blocks() * threads()) __nvvm_atom_add_gen_i(&local[data[i]], 1);
  sync();
  for (int i = tid(); i < 256; i += threads()) {
    if (local[i]) __nvvm_atom_add_gen_i((int *)&counts[i], local[i]);
  }
}
